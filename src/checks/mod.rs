//! Looks whether this node is well enough to own the groups of each pool.
//!
//! ```text
//!   schedule: one task per check, phases spread over the interval
//!      \-- look (tcp, http, haproxy, process, ...) -- passed or failed, in a few words --+
//!                                                                                        v
//!   Watch::next <-- change <-- board (pure): rise, fall, dwell; the worst check of each pool
//! ```
//!
//! Run by the daemon in a thread of its own, so that no check can delay a heartbeat, and told to
//! the protocol as the list of pools that are not fit. Promised: a look that takes longer than its
//! timeout has failed; no look reads or keeps more than a fixed number of bytes; one check that
//! hangs does not delay another; what the operator's programs do is bounded by `programs`. A check
//! is unknown until its first look has ended, and that look decides alone.

mod board;
mod haproxy;
mod http;
mod local;
mod look;
mod network;
mod response;
mod schedule;
mod state;
mod stream;
mod systemd;
mod tls;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::CheckConfig;
use crate::protocol::Fitness;

use board::Board;
pub use board::{Change, Row};
pub use state::State;

/// Outcomes that may wait; a check whose outcome finds no room waits with its next look.
const OUTCOMES_MAX: usize = 64;

/// What a look found: the check passed or failed, in a few words.
type Look = Result<String, String>;

/// An outcome on its way to the board.
#[derive(Debug)]
struct Seen {
    /// Names the set of checks; outcomes of an older one are dropped.
    generation: u64,
    check: usize,
    look: Look,
    /// How long it took.
    took: Duration,
}

/// All checks of this node, running.
#[derive(Debug)]
pub struct Watch {
    board: Board,
    /// Cancelled when dropped: a look holds nothing but sockets, a program's end is seen to apart.
    tasks: JoinSet<()>,
    generation: u64,
    tell: mpsc::Sender<Seen>,
    seen: mpsc::Receiver<Seen>,
}

impl Watch {
    /// Starts all checks. Until one of them is known, its pools count as reluctant if it is
    /// required: somebody who is known to be well shall go first. To be called within the runtime.
    #[must_use]
    pub fn start(checks: &[CheckConfig]) -> Self {
        let (tell, seen) = mpsc::channel(OUTCOMES_MAX);
        let board = Board::new(checks, Instant::now());
        let mut watch = Self { board, tasks: JoinSet::new(), generation: 0, tell, seen };
        watch.begin(checks);
        watch
    }

    /// Goes on with these checks. One that is as before keeps its state; a new one, until it is
    /// known, counts as passing, because a reload shall move nothing by itself.
    pub fn reconfigure(&mut self, checks: &[CheckConfig]) {
        self.board.reconfigure(checks, Instant::now());
        self.generation += 1;
        self.tasks = JoinSet::new();
        self.begin(checks);
    }

    fn begin(&mut self, checks: &[CheckConfig]) {
        let generation = self.generation;
        for (index, check) in checks.iter().enumerate() {
            let place = schedule::Place { index, count: checks.len(), start: Instant::now() };
            let tell = self.tell.clone();
            self.tasks.spawn(schedule::repeat(check.clone(), place, async move |look, took| {
                // Refused only when the watch is gone.
                let _ = tell.send(Seen { generation, check: index, look, took }).await;
            }));
        }
    }

    /// Waits for the next change of a check. Nothing is lost if this is dropped while it waits.
    pub async fn next(&mut self) -> Change {
        loop {
            let Some(seen) = self.seen.recv().await else { return std::future::pending().await };
            if seen.generation != self.generation {
                continue;
            }
            self.board.timed(seen.check, seen.took);
            if let Some(change) = self.board.observe(Instant::now(), seen.check, seen.look) {
                return change;
            }
        }
    }

    /// The pools that are not fit, each with the worst of its checks; sorted.
    #[must_use]
    pub fn unfit(&self) -> Vec<(String, Fitness)> {
        self.board.unfit()
    }

    /// What is known of each check, in the order of the file.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.board.rows(Instant::now())
    }
}
