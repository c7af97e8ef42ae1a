//! What the daemon measures, for monitors: part of the published status, under `measures`.
//!
//! Counted where it happens, since the start of the daemon; fields may be added, never renamed.
//! Lengths of time are counted in [`Histogram`]s with the same bounds everywhere, so that they can
//! be added up over nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::adaptive_timing::AdaptiveTiming;

/// Upper bounds of the counts of a histogram, in microseconds; the last count has none.
pub const BOUNDS_US: [u64; 14] = [
    100, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
    5_000_000, 10_000_000,
];

/// How many counts a histogram has.
pub const COUNTS: usize = BOUNDS_US.len() + 1;

/// Lengths of time, counted by their size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// How many were up to each bound of [`BOUNDS_US`] and above the one before; then how many were
    /// longer than all.
    pub counts: [u64; COUNTS],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Returns whether nothing has been counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// Takes in one.
    pub fn count(&mut self, length: Duration) {
        self.counts[place(length)] += 1;
        self.sum_us = self.sum_us.saturating_add(micros(length));
    }
}

/// Which count a length of time belongs to.
#[must_use]
pub fn place(length: Duration) -> usize {
    let length = micros(length);
    BOUNDS_US.iter().position(|bound| length <= *bound).unwrap_or(BOUNDS_US.len())
}

/// As a number of microseconds.
#[must_use]
pub fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

/// Everything measured that is not of a node, a group or a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measures {
    /// Profile of the times in force.
    pub profile: String,
    /// Detection time in force, in milliseconds.
    pub detection_ms: u64,
    /// What profile `auto` has chosen; absent with other profiles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timing: Option<AdaptiveTiming>,
    /// When the daemon started, milliseconds since 1970.
    pub started_ms: u64,
    /// The process of the daemon.
    pub process: Process,
    /// The last reload.
    pub reload: Reload,
    /// The heartbeat paths of this node, in the order of the file.
    pub paths: Vec<Path>,
    /// Received datagrams that were refused, by reason; with all possible reasons.
    pub refused: BTreeMap<String, u64>,
    /// Events that have happened, by kind.
    pub events: BTreeMap<String, u64>,
    /// How late the protocol loop looked at its clock, at each wake-up.
    pub lateness: Histogram,
    /// Silence of peers when they were declared dead.
    pub detection: Histogram,
    /// By pool: how long after this node added a group all neighbours resolved it to this node.
    pub convergence: BTreeMap<String, Histogram>,
}

/// A process, as the kernel tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Processor time used, in milliseconds.
    pub cpu_ms: u64,
    /// Memory in use.
    pub resident_bytes: u64,
    /// Open files and sockets.
    pub open_files: u64,
}

/// What became of the last reload of the configuration; the start counts as a good one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// Whether the file was taken.
    pub successful: bool,
    /// When one was taken last, milliseconds since 1970.
    pub successful_ms: u64,
}

impl Default for Reload {
    fn default() -> Self {
        Self { successful: true, successful_ms: 0 }
    }
}

/// One heartbeat path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Path {
    /// Own address and port.
    pub local: String,
    /// Datagrams sent, by what came of it: `ok`, `full`, `unreachable`, `refused`,
    /// `not_permitted`, `address_missing`, `other`.
    pub sent: BTreeMap<String, u64>,
    /// Datagrams received, the same way: `ok`, `stranger`, `error`, `dropped_by_kernel`.
    pub received: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_up_to_their_bounds_and_above() {
        let mut histogram = Histogram::default();
        for length in [0, 100, 101, 1000, 10_000_000, 10_000_001] {
            histogram.count(Duration::from_micros(length));
        }
        assert_eq!(histogram.counts[..3], [2, 2, 0]);
        assert_eq!(histogram.counts[COUNTS - 2..], [1, 1]);
        assert_eq!(histogram.sum_us, 20_001_202);
    }

    #[test]
    fn a_daemon_that_measures_less_is_understood() {
        let measures: Measures = serde_json::from_str(r#"{"profile":"lan","newer":1}"#).unwrap();
        assert_eq!((measures.profile.as_str(), measures.reload.successful), ("lan", true));
    }
}
