//! The process that keeps the tables owned when daemon and guardian are dead (see
//! `kernel::hold_tables`).
//!
//! ```text
//!   daemon ---- starts ---> hold-tables ---- starts ---> hold-tables --detached
//!      \--- pipe: its end tells the other's                 has the socket of the tables
//! ```
//!
//! It is no child of the daemon: whoever kills the daemon with all that it has started leaves it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::clock;
use crate::confinement::{self, Right};
use crate::kernel::{self, Mark};
use crate::programs::children;
use crate::protocol::Instant;

/// The command that it is, hidden from people.
pub(crate) const COMMAND: &str = "hold-tables";
const DETACHED: &str = "--detached";
/// One that cannot live is not started more often.
const AGAIN: Duration = Duration::from_secs(1);

/// Looks after it.
pub(crate) struct TableHolder {
    /// The socket that the tables belong to.
    socket: OwnedFd,
    table: String,
    /// What ends when it does.
    running: Option<File>,
    started_at: Option<Instant>,
}

impl TableHolder {
    /// Starts nothing yet.
    pub(crate) const fn new(socket: OwnedFd, table: String) -> Self {
        Self { socket, table, running: None, started_at: None }
    }

    /// Starts it if it does not run.
    pub(crate) fn look_after(&mut self) {
        if self.running.as_mut().is_some_and(has_ended) {
            tracing::warn!("the process that holds the tables of nf_tables has ended");
            self.running = None;
        }
        let now = clock::now();
        if self.running.is_some() || self.started_at.is_some_and(|at| now.since(at) < AGAIN) {
            return;
        }
        self.started_at = Some(now);
        match self.start() {
            Ok(pipe) => self.running = Some(pipe),
            Err(error) => {
                tracing::warn!(%error, "the process that holds the tables cannot be started")
            }
        }
    }

    /// Ends it: nothing is left that the tables could hold back.
    pub(crate) fn dismiss(self) {
        if self.running.is_some() {
            kernel::release_tables(Mark::of(&self.table));
        }
    }

    fn start(&self) -> io::Result<File> {
        let mut command = Command::new("/proc/self/exe");
        command.args([COMMAND, &self.table]).process_group(0);
        command.stdin(self.socket.try_clone()?).stdout(Stdio::piped());
        let mut child = children::spawn(&mut command)?;
        let output = child.stdout.take();
        let ended = child.wait();
        children::forget(child.id());
        match (output, ended?.success()) {
            (Some(output), true) => {
                let pipe = File::from(OwnedFd::from(output));
                fcntl(pipe.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
                Ok(pipe)
            }
            _ => Err(io::Error::other("it exited at once")),
        }
    }
}

fn has_ended(pipe: &mut File) -> bool {
    // It says nothing.
    matches!(pipe.read(&mut [0]), Ok(0))
}

/// Holds the tables; `detached` is the process that does, the other starts it and ends.
///
/// # Errors
///
/// When it cannot.
pub fn run(table: &str, detached: bool) -> io::Result<()> {
    if detached {
        // It waits, and reads in which network it is. Without Landlock it does the same.
        let _ = confinement::confine(&[("/", Right::Read)]);
        return kernel::hold_tables(Mark::of(table));
    }
    let mut command = Command::new("/proc/self/exe");
    // It inherits the socket and the pipe; nobody waits for it.
    children::spawn(command.args([COMMAND, table, DETACHED])).map(drop)
}
