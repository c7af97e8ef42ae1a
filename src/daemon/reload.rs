//! Reads the configuration file for reloads: beside the main thread, one after the other, and for a
//! bounded time.
//!
//! ```text
//!   asked --> reading on a thread of its own --> Loaded --> applied by the main thread, or refused
//!     |          \ not read within READ_WITHIN: refused, and no other reading until that thread ends
//!     \ during a reading: waits for the next one, because the file may have changed since
//! ```
//!
//! A disk or file server that does not answer holds that thread and nothing else: signals, status
//! and the watchdog go on, and the end of the daemon does not wait for it.

use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant as Deadline, timeout_at};

use crate::config::{self, Config};

/// How long the files may take to be read: a disk that has to spin up first takes two seconds.
const READ_WITHIN: Duration = Duration::from_secs(3);

/// What was changed, or everything because of which nothing was.
pub(super) type Outcome = Result<Vec<String>, Vec<String>>;

/// Who is told the outcome.
#[derive(Debug)]
pub(super) enum Asker {
    /// A signal: the log is told.
    Signal,
    /// A client of the control socket.
    Client(oneshot::Sender<Outcome>),
}

/// A file that was read, well or not, and who asked for that.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) askers: Vec<Asker>,
    pub(super) config: Result<Config, Vec<String>>,
}

/// The readings of one file.
#[derive(Debug)]
pub(super) struct Reloads {
    path: PathBuf,
    under_way: Option<Reading>,
    /// Those who asked while one was under way.
    waiting: Vec<Asker>,
    /// What was given up and may still wait for its disk.
    stuck: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Reading {
    askers: Vec<Asker>,
    config: oneshot::Receiver<Result<Config, Vec<String>>>,
    deadline: Deadline,
    thread: Option<JoinHandle<()>>,
}

impl Reloads {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, under_way: None, waiting: Vec::new(), stuck: None }
    }

    /// Has the file read, after the reading that is under way. Returns at once.
    pub(super) fn ask(&mut self, asker: Asker) {
        self.waiting.push(asker);
        self.begin();
    }

    /// Waits for the next reading to end. Nothing is lost if this is dropped while it waits.
    pub(super) async fn next(&mut self) -> Loaded {
        let Some(reading) = &mut self.under_way else { return std::future::pending().await };
        let ended = timeout_at(reading.deadline, &mut reading.config).await;
        let (askers, thread) = (std::mem::take(&mut reading.askers), reading.thread.take());
        self.under_way = None;
        let config = match ended {
            Ok(Ok(config)) => config,
            Ok(Err(_)) => Err(vec!["the thread that reads the file ended unexpectedly".to_owned()]),
            Err(_) => {
                self.stuck = thread;
                Err(vec![format!(
                    "{} or the key file was not read within {} s; its disk or file server does \
                     not answer",
                    self.path.display(),
                    READ_WITHIN.as_secs()
                )])
            }
        };
        self.begin();
        Loaded { askers, config }
    }

    fn begin(&mut self) {
        if self.under_way.is_some() || self.waiting.is_empty() {
            return;
        }
        let (tell, config) = oneshot::channel();
        let thread = self.spawn(tell);
        let (askers, deadline) = (std::mem::take(&mut self.waiting), Deadline::now() + READ_WITHIN);
        self.under_way = Some(Reading { askers, config, deadline, thread });
    }

    fn spawn(&self, tell: oneshot::Sender<Result<Config, Vec<String>>>) -> Option<JoinHandle<()>> {
        // Nobody waits any more when the time is over, or when the daemon ends.
        if self.stuck.as_ref().is_some_and(|stuck| !stuck.is_finished()) {
            let fault =
                "an earlier reload is still waiting for its file; check its disk or file server";
            let _ = tell.send(Err(vec![fault.to_owned()]));
            return None;
        }
        let path = self.path.clone();
        let read = move || {
            let config = config::load(&path)
                .map_err(|refused| refused.faults.iter().map(ToString::to_string).collect());
            let _ = tell.send(config);
        };
        // Without a thread the sender is dropped, which is told.
        thread::Builder::new().name("reload".to_owned()).spawn(read).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    /// A reading that waits for a disk: the other end says when that answers.
    fn under_way(reloads: &mut Reloads, within: Duration) -> std::sync::mpsc::Sender<()> {
        let (answers, disk) = std::sync::mpsc::channel::<()>();
        let (tell, config) = oneshot::channel();
        let read = move || {
            let _ = disk.recv();
            drop(tell);
        };
        reloads.under_way = Some(Reading {
            askers: vec![Asker::Signal],
            config,
            deadline: Deadline::now() + within,
            thread: Some(thread::spawn(read)),
        });
        answers
    }

    #[test]
    fn a_disk_that_does_not_answer_ends_the_wait_and_holds_one_thread() {
        block_on(async {
            let mut reloads = Reloads::new("/nowhere/buoy.toml".into());
            let answers = under_way(&mut reloads, Duration::from_millis(20));
            reloads.ask(Asker::Signal);
            let loaded = reloads.next().await;
            let fault = loaded.config.unwrap_err().remove(0);
            assert!(fault.contains("not read within 3 s"), "{fault}");
            // Who asked meanwhile has a reading of their own, which is refused while that hangs.
            let fault = reloads.next().await.config.unwrap_err().remove(0);
            assert!(fault.contains("still waiting for its file"), "{fault}");
            answers.send(()).unwrap();
            let ended = async {
                while !reloads.stuck.as_ref().unwrap().is_finished() {
                    tokio::task::yield_now().await;
                }
            };
            let deadline = Deadline::now() + Duration::from_secs(20);
            timeout_at(deadline, ended).await.expect("the thread ends");
            reloads.ask(Asker::Signal);
            let fault = reloads.next().await.config.unwrap_err().remove(0);
            assert!(fault.contains("No such file"), "{fault}");
        });
    }

    #[test]
    fn who_asks_during_a_reading_waits_for_the_next() {
        block_on(async {
            let mut reloads = Reloads::new("/nowhere/buoy.toml".into());
            let answers = under_way(&mut reloads, Duration::from_secs(20));
            for _ in 0..2 {
                let (asker, _) = oneshot::channel();
                reloads.ask(Asker::Client(asker));
            }
            answers.send(()).unwrap();
            let first = reloads.next().await;
            assert!(matches!(first.askers.as_slice(), [Asker::Signal]), "{:?}", first.askers);
            let second = reloads.next().await;
            assert!(matches!(second.askers.as_slice(), [Asker::Client(_), Asker::Client(_)]));
        });
    }
}
