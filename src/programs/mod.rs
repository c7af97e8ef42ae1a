//! Runs an operator's program so that nothing it does can harm the daemon.
//!
//! ```text
//!  run --> blocking thread: look up the user, fork and exec --> child in a group of its own
//!           |                                                     |
//!           |  <---- output: the first 4 KiB kept, the rest dropped
//!           |  kill the whole group: it has ended, its time is over, it printed more than 1 MiB,
//!           |                        or nobody waits for it any more
//!           \--> reap
//! ```
//!
//! Used by checks of type `exec` and by hooks, in their thread. A program gets no
//! input, an environment of its own (`PATH`, `LANG` and what the caller gives), the directory `/`,
//! and none of the daemon's capabilities. The group is killed while its leader is a zombie, so that
//! the number cannot be that of somebody else, and every child is reaped. What leaves the group
//! (`setsid`) is not found again: systemd keeps it in the unit's control group and kills it with
//! the unit. A program that the kernel cannot end (it waits for a dead disk) is given up after its
//! time, reaped whenever it ends, and counted by [`Runner`], which starts no second one meanwhile.

pub mod children;
mod output;
mod start;
#[cfg(test)]
mod tests;

use std::fmt;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at, sleep, sleep_until, timeout};

pub use output::OUTPUT_KEPT;
use output::{Drained, Output};
pub use start::{Refused, drop_capabilities, shed_capabilities};

/// How long the end of a killed program is waited for before its outcome is told without it.
const KILLED_WITHIN: Duration = Duration::from_millis(200);
/// A child whose signal was lost is looked for so often.
const LOOK: Duration = Duration::from_millis(500);
/// How often is looked whether all are reaped.
const REAPED_LOOK: Duration = Duration::from_millis(5);

/// A program to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Absolute path and arguments; there is no shell.
    pub command: Vec<String>,
    /// Whose rights it has; `None` is the user of the daemon. Another one takes `CAP_SETUID` and
    /// `CAP_SETGID`.
    pub user: Option<String>,
    /// What it finds in its environment besides `PATH` and `LANG`.
    pub environment: Vec<(String, String)>,
    /// It is killed after so long.
    pub timeout: Duration,
}

/// How a program ended.
#[derive(Debug)]
pub enum Ending {
    /// By itself, with this status.
    Exited(i32),
    /// By a signal that was not ours.
    Killed(Signal),
    /// It was killed because its time was over.
    TimedOut(Duration),
    /// It was killed because it printed more than a megabyte.
    Flooded,
    /// It was killed because nobody waits for it any more.
    Cancelled,
    /// It was not started. Nothing has changed.
    NotStarted(Refused),
}

impl fmt::Display for Ending {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(out, "ended with status {status}"),
            Self::Killed(signal) => write!(out, "was killed by {signal}"),
            Self::TimedOut(limit) => write!(out, "did not end within {} ms", limit.as_millis()),
            Self::Flooded => out.write_str("printed more than 1 MiB"),
            Self::Cancelled => out.write_str("was stopped"),
            Self::NotStarted(refused) => write!(out, "{refused}"),
        }
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The beginning of what it printed, at most [`OUTPUT_KEPT`] bytes; what is not text is
    /// replaced.
    pub output: String,
}

/// Runs programs one after the other: a second is not started while the first cannot be ended.
#[derive(Debug, Default)]
pub struct Runner {
    last: Option<JoinHandle<()>>,
}

impl Runner {
    /// Runs a program to its end. The program is killed if the future is dropped.
    pub async fn run(&mut self, program: &Program) -> Outcome {
        if self.last.as_ref().is_some_and(|last| !last.is_finished()) {
            let ending = Ending::NotStarted(Refused::StillRunning);
            return Outcome { ending, output: String::new() };
        }
        let (tell, told) = oneshot::channel();
        self.last = Some(tokio::spawn(attend(program.clone(), tell)));
        let stopped = |_| Outcome { ending: Ending::Cancelled, output: String::new() };
        told.await.unwrap_or_else(stopped)
    }
}

/// Programs that are attended to.
static ATTENDED: AtomicUsize = AtomicUsize::new(0);

/// Waits until every program has been reaped, so long at most: for the end of the daemon, when
/// nobody waits for any of them any more.
pub async fn all_reaped(limit: Duration) {
    let reaped = async {
        while ATTENDED.load(Ordering::Relaxed) > 0 {
            sleep(REAPED_LOOK).await;
        }
    };
    // What cannot be killed is left to the service manager.
    let _ = timeout(limit, reaped).await;
}

async fn attend(program: Program, tell: oneshot::Sender<Outcome>) {
    ATTENDED.fetch_add(1, Ordering::Relaxed);
    see_to(program, tell).await;
    ATTENDED.fetch_sub(1, Ordering::Relaxed);
}

/// From start to reaping; cancelled only with the whole runtime.
async fn see_to(program: Program, mut tell: oneshot::Sender<Outcome>) {
    let limit = program.timeout;
    let deadline = Instant::now() + limit;
    // Before the start, or the end of a short program is missed.
    let ends = signal(SignalKind::child()).ok();
    let mut starting = tokio::task::spawn_blocking(move || start::start(&program));
    let started = tokio::select! {
        started = &mut starting => started,
        () = sleep_until(deadline) => {
            let ending = Ending::NotStarted(Refused::TooSlow(limit));
            // Nobody may wait any more; then there is nobody to tell.
            let _ = tell.send(Outcome { ending, output: String::new() });
            if let Ok(Ok((child, _))) = starting.await {
                Attended { child, ends }.kill_and_reap().await;
            }
            return;
        }
    };
    let (child, output) = match started {
        Ok(Ok(started)) => started,
        Ok(Err(refused)) => {
            let ending = Ending::NotStarted(refused);
            let _ = tell.send(Outcome { ending, output: String::new() });
            return;
        }
        // The runtime is ending.
        Err(_) => return,
    };
    let mut output = Output::new(output);
    let mut attended = Attended { child, ends };
    let cut_short = tokio::select! {
        () = attended.ended() => None,
        Drained::Flooded = output.drain() => Some(Ending::Flooded),
        () = sleep_until(deadline) => Some(Ending::TimedOut(limit)),
        () = tell.closed() => Some(Ending::Cancelled),
    };
    attended.kill();
    if cut_short.is_some() && timeout(KILLED_WITHIN, attended.ended()).await.is_err() {
        let ending = cut_short.unwrap_or(Ending::Cancelled);
        let _ = tell.send(Outcome { ending, output: output.text() });
        attended.ended().await;
        attended.reap();
        return;
    }
    let status = attended.reap();
    output.take_rest();
    let ending = cut_short.unwrap_or(status);
    let _ = tell.send(Outcome { ending, output: output.text() });
}

/// A child with its process group.
struct Attended {
    child: Child,
    /// Comes at the end of any child.
    ends: Option<tokio::signal::unix::Signal>,
}

impl Attended {
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// Waits for the end of the leader and leaves it a zombie. May be dropped and called again.
    async fn ended(&mut self) {
        let mut looks = interval_at(Instant::now() + LOOK, LOOK);
        loop {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            match waitid(Id::Pid(self.pid()), flags) {
                Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
                // Ended, or not there: then there is nothing to wait for.
                Ok(_) | Err(_) => return,
            }
            match &mut self.ends {
                Some(ends) => tokio::select! {
                    _ = ends.recv() => {}
                    _ = looks.tick() => {}
                },
                None => {
                    looks.tick().await;
                }
            }
        }
    }

    /// Kills the leader and all of its group. The leader is not reaped, so the number is ours.
    fn kill(&self) {
        // Refused when the group is empty or belongs to another user, who may end it.
        let _ = killpg(self.pid(), Signal::SIGKILL);
    }

    fn reap(&mut self) -> Ending {
        use std::os::unix::process::ExitStatusExt;
        let waited = self.child.wait();
        children::forget(self.child.id());
        match waited {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => Ending::Exited(code),
                (None, signal) => {
                    let signal = signal.and_then(|number| Signal::try_from(number).ok());
                    Ending::Killed(signal.unwrap_or(Signal::SIGKILL))
                }
            },
            Err(_) => Ending::Killed(Signal::SIGKILL),
        }
    }

    async fn kill_and_reap(mut self) {
        self.kill();
        self.ended().await;
        self.reap();
    }
}
