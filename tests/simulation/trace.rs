//! What happened in a run: a hash of everything, and the last lines of text for a failure report.
//!
//! Text is made only when asked for: a failing seed is simply run again with it.

use std::collections::VecDeque;
use std::fmt;
use std::hash::Hash as _;

use crate::draw::{MICROSECOND, MILLISECOND};
use crate::fingerprint::Fingerprint;

/// Lines kept.
const LINES: usize = 400_000;

/// A rule that did not hold, or an expectation that was not met.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// The invariant (`S4`, `L1`; docs/invariants.md) or expectation.
    pub(crate) rule: &'static str,
    /// When.
    pub(crate) at: u64,
    /// What was seen.
    pub(crate) text: String,
    /// Faults made up to then.
    pub(crate) faults: u64,
    /// The last lines of the trace.
    pub(crate) lines: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(out, "    {line}")?;
        }
        write!(out, "{} violated at {}: {}", self.rule, Moment(self.at), self.text)
    }
}

/// A time of the simulation, as text.
pub(crate) struct Moment(pub(crate) u64);

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0 % MILLISECOND / MICROSECOND;
        write!(out, "{:>6}.{micros:03} ms", self.0 / MILLISECOND)
    }
}

/// The running hash and the last lines.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// Over every event and action, in order.
    pub(crate) hash: Fingerprint,
    /// Whether lines are kept.
    pub(crate) on: bool,
    lines: VecDeque<String>,
}

impl Trace {
    /// An empty trace, with lines of text or without.
    pub(crate) fn new(on: bool) -> Self {
        Self { on, ..Self::default() }
    }

    /// Adds that something happens.
    pub(crate) fn note_time(&mut self, now: u64, order: u64) {
        (now, order).hash(&mut self.hash);
    }

    /// Keeps a line.
    pub(crate) fn push(&mut self, now: u64, line: &str) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{} {line}", Moment(now)));
    }

    /// The lines kept.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

/// Keeps a line of text of a cluster, if text is wanted.
macro_rules! note {
    ($cluster:expr, $($text:tt)+) => {
        if $cluster.trace.on {
            let line = format!($($text)+);
            $cluster.trace.push($cluster.now, &line);
        }
    };
}
pub(crate) use note;
