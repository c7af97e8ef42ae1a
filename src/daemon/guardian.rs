//! The daemon's end of its guardian: starts it, tells it what it needs, starts it again.
//!
//! ```text
//!   this thread ---- starts, tells gate and farewells ----> guardian (see guard)
//!        |                                                      ^
//!        \--- its pipe ---> lease thread --- "alive until" -----/
//! ```
//!
//! A thread of its own, of ordinary priority, because starting a program may wait for the disk and
//! renewing the kernel's lease must not. That the daemon lives is told by the lease thread itself,
//! through a copy of the pipe that it shares with nobody: nothing that this thread does, or does
//! not come to do, can make the guardian believe the daemon stuck. The guardian inherits nothing
//! of use from this thread: it takes real-time priority by itself.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::clock;
use super::event_loop::Vital;
use super::in_place::StandBy;
use super::table_holder::TableHolder;
use super::will::{Farewell, Host, LastWord, Line};
use crate::programs::children;
use crate::protocol::Instant;

/// A guardian that cannot live is not started more often.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked after if nothing wakes this thread before: the lease thread does when it
/// finds the guardian dead, the protocol thread when there are other farewells.
const LOOK: Duration = Duration::from_secs(1);
/// How soon what its pipe did not take is said again.
const SAY_AGAIN: Duration = Duration::from_millis(5);
/// What its pipe is to hold: a farewell of 565 bytes for each of 63 peers on each of three paths are
/// 107 kB, the usual 64 KiB hold 112. The kernel may refuse; then it takes a few turns.
const PIPE: i32 = 256 * 1024;
/// A thread that waits for the disk is not waited for at the end; the guardian sees ours.
const DISMISSED_WITHIN: Duration = Duration::from_secs(1);
/// The command that the guardian is, hidden from people.
pub(crate) const COMMAND: &str = "guard";

/// What is needed for a guardian.
pub(crate) struct Parts {
    /// What it has to do with.
    pub(crate) host: Host,
    /// What holds the tables when the guardian is dead as well.
    pub(crate) tables: Option<TableHolder>,
    /// Brings what is to be sent when the daemon is dead; the last counts.
    pub(crate) will: Option<Receiver<Vec<Farewell>>>,
    /// Brings what is to be said to routers outside then; the last counts.
    pub(crate) last_words: Option<Receiver<Vec<LastWord>>>,
    /// Where people see which process it is.
    pub(crate) vital: Arc<Vital>,
}

/// The thread that looks after the guardian.
pub(crate) struct Guardian {
    thread: Thread,
    ending: Arc<AtomicBool>,
    ended: Receiver<()>,
    last_words: Arc<OnceLock<Line>>,
}

/// Tells the guardian that the daemon lives. Never waits.
pub(crate) struct Pulse {
    pipes: Receiver<File>,
    pipe: Option<File>,
    thread: Thread,
}

impl Guardian {
    /// Begins to look after a guardian.
    ///
    /// # Errors
    ///
    /// When the thread cannot be made.
    pub(crate) fn spawn(parts: Parts) -> io::Result<(Self, Pulse)> {
        Self::spawn_with(parts, start)
    }

    fn spawn_with(
        parts: Parts,
        start: impl Fn() -> io::Result<Started> + Send + 'static,
    ) -> io::Result<(Self, Pulse)> {
        let ending = Arc::new(AtomicBool::new(false));
        let (told, ended) = channel();
        let (give, pipes) = channel();
        let asked = Arc::clone(&ending);
        let last_words = Arc::new(OnceLock::new());
        let said = Arc::clone(&last_words);
        let keeper = Arc::clone(&parts.vital);
        let body = move || {
            let care = Care {
                parts,
                give,
                farewells: Vec::new(),
                last_words: Vec::new(),
                unsaid: VecDeque::new(),
                running: None,
                started_at: None,
            };
            care.look_after((&*asked, &*said), &start);
            // Nobody waits for it any more if that took too long.
            let _ = told.send(());
        };
        let thread = thread::Builder::new().name("guardian".to_owned()).spawn(body)?;
        let thread = thread.thread().clone();
        // There is one guardian in the life of a daemon.
        let _ = keeper.guardian_thread.set(thread.clone());
        let pulse = Pulse { pipes, pipe: None, thread: thread.clone() };
        Ok((Self { thread, ending, ended, last_words }, pulse))
    }

    /// Ends the guardian: everything is let go of, there is nothing left to guard.
    pub(crate) fn dismiss(self) {
        self.end_with(Line::Done);
    }

    /// Leaves it to wait for another process that goes on.
    pub(crate) fn stand_by(self, wanted: StandBy) {
        self.end_with(Line::StandBy(wanted.file, wanted.until.as_nanos()));
    }

    fn end_with(self, line: Line) {
        // Nobody else sets it.
        let _ = self.last_words.set(line);
        self.ending.store(true, Ordering::Relaxed);
        self.thread.unpark();
        if self.ended.recv_timeout(DISMISSED_WITHIN).is_err() {
            tracing::warn!("the guardian has not been dismissed in time: it is still starting");
        }
    }
}

impl Pulse {
    /// The daemon lives, and its kernel may answer until then.
    pub(crate) fn alive(&mut self, until: Instant) {
        if let Some(pipe) = self.pipes.try_iter().last() {
            self.pipe = Some(pipe);
        }
        let Some(pipe) = &mut self.pipe else { return };
        let line = Line::Alive(until.as_nanos(), clock::now().as_nanos());
        match pipe.write_all(line.text().as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.pipe = None;
                self.thread.unpark();
            }
            // A guardian that does not read is not waited for.
            Ok(()) | Err(_) => {}
        }
    }
}

/// A guardian that was started.
struct Started {
    child: Child,
    /// What it is told.
    pipe: File,
    /// What it says.
    said: Option<File>,
}

/// What the thread works with.
struct Care {
    parts: Parts,
    give: Sender<File>,
    farewells: Vec<Farewell>,
    last_words: Vec<LastWord>,
    /// What its pipe has not taken yet.
    unsaid: VecDeque<Line>,
    running: Option<(Child, File)>,
    started_at: Option<Instant>,
}

impl Care {
    fn look_after(
        mut self,
        (ending, last_words): (&AtomicBool, &OnceLock<Line>),
        start: &impl Fn() -> io::Result<Started>,
    ) {
        while !ending.load(Ordering::Relaxed) {
            let farewells = self.parts.will.as_ref().and_then(|will| will.try_iter().last());
            let words = self.parts.last_words.as_ref().and_then(|words| words.try_iter().last());
            if farewells.is_some() || words.is_some() {
                self.farewells = farewells.unwrap_or(std::mem::take(&mut self.farewells));
                self.last_words = words.unwrap_or(std::mem::take(&mut self.last_words));
                self.tell_farewells();
            }
            self.bury();
            let now = clock::now();
            let rested = self.started_at.is_none_or(|at| now.since(at) >= AGAIN);
            if self.running.is_none() && rested {
                self.started_at = Some(now);
                self.begin(start());
            }
            self.say();
            if let Some(tables) = &mut self.parts.tables {
                tables.look_after();
            }
            thread::park_timeout(if self.unsaid.is_empty() { LOOK } else { SAY_AGAIN });
        }
        let last = last_words.get().unwrap_or(&Line::Done);
        self.say_last(last);
        if let Some(tables) = self.parts.tables.filter(|_| *last == Line::Done) {
            tables.dismiss();
        }
        if let Some((mut child, pipe)) = self.running.take() {
            drop(pipe);
            // It ends at once; should it not, nothing is lost by not waiting for it.
            let _ = child.try_wait();
        }
    }

    /// Takes note of a guardian that has ended.
    fn bury(&mut self) {
        let Some((child, _)) = &mut self.running else { return };
        if !matches!(child.try_wait(), Ok(None)) {
            children::forget(child.id());
            self.running = None;
            self.unsaid.clear();
            self.parts.vital.guardian.store(0, Ordering::Relaxed);
            self.parts.vital.guardians_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn begin(&mut self, started: io::Result<Started>) {
        let started = started.and_then(|started| Ok((started.pipe.try_clone()?, started)));
        match started {
            Ok((copy, Started { child, pipe, said })) => {
                said.into_iter().for_each(|said| self.parts.vital.removals.hear(said));
                self.parts.vital.guardian.store(u64::from(child.id()), Ordering::Relaxed);
                self.running = Some((child, pipe));
                self.unsaid = VecDeque::from([Line::Host(self.parts.host.clone())]);
                self.tell_farewells();
                // The lease thread ends before this one; then nobody needs it.
                let _ = self.give.send(copy);
            }
            Err(error) => tracing::warn!(%error, "the guardian cannot be started"),
        }
    }

    /// Has it told the farewells that are in force, instead of others that it was not told yet.
    fn tell_farewells(&mut self) {
        self.unsaid.retain(|line| matches!(line, Line::Host(_)));
        self.unsaid.push_back(Line::Forget);
        self.unsaid.extend(self.farewells.iter().cloned().map(Line::Farewell));
        self.unsaid.extend(self.last_words.iter().cloned().map(Line::LastWord));
        self.say();
    }

    /// Says what its pipe takes of what is to be said; the rest stays. A guardian that does not
    /// read is not waited for, one that is dead is seen by its end.
    fn say(&mut self) {
        let Some((_, pipe)) = &mut self.running else { return };
        while let Some(line) = self.unsaid.front() {
            // A line is taken as a whole or not at all.
            if pipe.write_all(line.text().as_bytes()).is_err() {
                return;
            }
            self.unsaid.pop_front();
        }
    }

    /// Says the last, for as long as there is somebody to wait for it.
    fn say_last(&mut self, line: &Line) {
        self.unsaid = VecDeque::from([line.clone()]);
        let begun = clock::now();
        while !self.unsaid.is_empty() && clock::now().since(begun) < DISMISSED_WITHIN {
            self.say();
            self.bury();
            if self.running.is_none() {
                return;
            }
            if !self.unsaid.is_empty() {
                thread::park_timeout(SAY_AGAIN);
            }
        }
    }
}

/// The same program, in a process group of its own, so that the keyboard's Ctrl-C is ours alone.
fn start() -> io::Result<Started> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let mut child = children::spawn(&mut command)?;
    let Some(stdin) = child.stdin.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
    let Some(stdout) = child.stdout.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
    let (pipe, said) = (File::from(OwnedFd::from(stdin)), File::from(OwnedFd::from(stdout)));
    fcntl(pipe.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    if let Err(error) = fcntl(pipe.as_fd(), FcntlArg::F_SETPIPE_SZ(PIPE)) {
        tracing::debug!(%error, "the guardian's pipe cannot be resized");
    }
    fcntl(said.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(Started { child, pipe, said: Some(said) })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::ChildStdout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn host() -> Host {
        Host { table: "t".to_owned(), gate: true, earlier: false }
    }

    #[test]
    fn farewells_that_do_not_fit_into_the_pipe_are_told_by_and_by() {
        const PEERS: u16 = 63 * 6;
        let (leave, will) = channel();
        let farewell = |peer: u16| Farewell {
            from: "192.0.2.1:4748".parse().unwrap(),
            to: (std::net::Ipv4Addr::new(192, 0, 2, 2), peer).into(),
            datagram: vec![255; 120],
        };
        let farewells: Vec<Farewell> = (0..PEERS).map(farewell).collect();
        leave.send(farewells.clone()).unwrap();
        let parts = Parts {
            host: host(),
            tables: None,
            will: Some(will),
            last_words: None,
            vital: Arc::default(),
        };
        let (give, parrots) = channel();
        let (guardian, _pulse) = Guardian::spawn_with(parts, move || {
            let (child, pipe, said) = parrot();
            fcntl(pipe.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            fcntl(pipe.as_fd(), FcntlArg::F_SETPIPE_SZ(4096)).map_err(io::Error::from)?;
            give.send(said).unwrap();
            Ok(Started { child, pipe, said: None })
        })
        .unwrap();
        let said = BufReader::new(parrots.recv_timeout(PATIENCE).unwrap()).lines();
        let lines = said.map(|line| Line::read(&line.unwrap()).unwrap());
        let heard = lines.filter_map(|line| match line {
            Line::Farewell(farewell) => Some(farewell),
            Line::Host(_)
            | Line::Forget
            | Line::LastWord(_)
            | Line::Alive(..)
            | Line::Done
            | Line::StandBy(..) => None,
        });
        assert_eq!(heard.take(farewells.len()).collect::<Vec<_>>(), farewells);
        guardian.dismiss();
    }

    /// A guardian that only repeats what it is told.
    fn parrot() -> (Child, File, ChildStdout) {
        let mut child =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let pipe = File::from(OwnedFd::from(child.stdin.take().unwrap()));
        let said = child.stdout.take().unwrap();
        (child, pipe, said)
    }

    #[test]
    fn a_guardian_that_does_not_start_holds_up_nobody() {
        let vital = Arc::new(Vital::default());
        let parts = Parts {
            host: host(),
            tables: None,
            will: None,
            last_words: None,
            vital: Arc::clone(&vital),
        };
        let (release, disk) = channel::<()>();
        let (give, parrots) = channel();
        let (guardian, mut pulse) = Guardian::spawn_with(parts, move || {
            // The disk is slow until the test says so.
            disk.recv_timeout(PATIENCE).map_err(io::Error::other)?;
            let (child, pipe, said) = parrot();
            give.send(said).unwrap();
            Ok(Started { child, pipe, said: None })
        })
        .unwrap();
        // With a guardian that is started by the caller this would not return, nor be told.
        pulse.alive(Instant::from_nanos(1));
        assert_eq!(vital.guardian.load(Ordering::Relaxed), 0, "it is started already");
        release.send(()).unwrap();
        let mut said = BufReader::new(parrots.recv_timeout(PATIENCE).unwrap()).lines();
        let mut next = || Line::read(&said.next().unwrap().unwrap());
        assert_eq!(next(), Some(Line::Host(host())));
        assert_eq!(next(), Some(Line::Forget));
        pulse.pipe = Some(pulse.pipes.recv_timeout(PATIENCE).unwrap());
        pulse.alive(Instant::from_nanos(2));
        assert!(matches!(next(), Some(Line::Alive(2, _))));
        drop(pulse);
        guardian.dismiss();
        assert_eq!(next(), Some(Line::Done));
    }

    #[test]
    fn a_guardian_that_died_is_noticed_by_the_pulse() {
        let vital = Arc::new(Vital::default());
        let parts = Parts {
            host: host(),
            tables: None,
            will: None,
            last_words: None,
            vital: Arc::clone(&vital),
        };
        let (guardian, mut pulse) = Guardian::spawn_with(parts, || {
            let (mut child, pipe, _) = parrot();
            child.kill()?;
            child.wait()?;
            Ok(Started { child, pipe, said: None })
        })
        .unwrap();
        pulse.pipe = Some(pulse.pipes.recv_timeout(PATIENCE).unwrap());
        pulse.alive(Instant::from_nanos(1));
        assert!(pulse.pipe.is_none(), "it was told to a dead one");
        // The next one comes after a rest.
        assert!(pulse.pipes.recv_timeout(PATIENCE).is_ok());
        assert!(vital.guardians_lost.load(Ordering::Relaxed) >= 1);
        guardian.dismiss();
    }
}
