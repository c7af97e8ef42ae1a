//! The daemon's end of its guardian: starts it, tells it what it needs, starts it anew.
//!
//! Used by the lease thread only. What the guardian does is told in `guard`.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::clock;
use super::event_loop::Vital;
use super::will::{Farewell, Line};
use crate::protocol::Instant;

/// A guardian that cannot live is not started more often.
const AGAIN: Duration = Duration::from_secs(1);
/// The command that the guardian is, hidden from people.
pub(crate) const COMMAND: &str = "guard";

/// A guardian, or the place of one that could not be started.
pub(crate) struct Guardian {
    gate: Option<String>,
    farewells: Vec<Farewell>,
    running: Option<(Child, File)>,
    started_at: Option<Instant>,
}

impl Guardian {
    /// Nothing is started yet.
    pub(crate) const fn new(gate: Option<String>) -> Self {
        Self { gate, farewells: Vec::new(), running: None, started_at: None }
    }

    /// Replaces what is to be sent when the daemon is dead.
    pub(crate) fn set_farewells(&mut self, farewells: Vec<Farewell>) {
        self.farewells = farewells;
        self.tell_farewells();
    }

    /// Tells that the daemon lives, after looking whether the guardian does.
    pub(crate) fn alive(&mut self, until: Instant, vital: &Vital) {
        self.look_after(vital);
        self.tell(&Line::Alive(until.as_nanos()));
    }

    /// Ends the guardian: there is nothing left to guard.
    pub(crate) fn dismiss(mut self) {
        self.tell(&Line::Done);
        if let Some((mut child, pipe)) = self.running.take() {
            drop(pipe);
            // It ends at once; should it not, nothing is lost by not waiting for it.
            let _ = child.try_wait();
        }
    }

    fn look_after(&mut self, vital: &Vital) {
        if let Some((child, _)) = &mut self.running {
            if matches!(child.try_wait(), Ok(None)) {
                return;
            }
            self.running = None;
            vital.guardian.store(0, Ordering::Relaxed);
            vital.guardians_lost.fetch_add(1, Ordering::Relaxed);
        }
        let now = clock::now();
        if self.started_at.is_some_and(|at| now.since(at) < AGAIN) {
            return;
        }
        self.started_at = Some(now);
        match start() {
            Ok((child, pipe)) => {
                vital.guardian.store(u64::from(child.id()), Ordering::Relaxed);
                self.running = Some((child, pipe));
                self.tell(&Line::Gate(self.gate.clone()));
                self.tell_farewells();
            }
            Err(error) => tracing::warn!(%error, "no guardian can be started"),
        }
    }

    fn tell_farewells(&mut self) {
        self.tell(&Line::Forget);
        for farewell in self.farewells.clone() {
            self.tell(&Line::Farewell(farewell));
        }
    }

    fn tell(&mut self, line: &Line) {
        if let Some((_, pipe)) = &mut self.running {
            // A guardian that does not read is not waited for; one that is dead is seen by its
            // end.
            let _ = pipe.write_all(line.text().as_bytes());
        }
    }
}

/// The same program, in a process group of its own, so that the keyboard's Ctrl-C is ours alone.
fn start() -> std::io::Result<(Child, File)> {
    let mut child = Command::new("/proc/self/exe")
        .arg(COMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()?;
    let Some(stdin) = child.stdin.take() else { return Err(std::io::ErrorKind::BrokenPipe.into()) };
    let pipe = File::from(OwnedFd::from(stdin));
    fcntl(pipe.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((child, pipe))
}
