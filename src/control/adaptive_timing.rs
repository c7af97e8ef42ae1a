//! Profile `auto` in words: which timing is in force, who holds it back, and why.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration_text::{millis, span};
use super::names::Names;
use crate::protocol::{Timing, TimingLevel, TimingProposal, TimingReason, TimingStatus};

/// What profile `auto` has chosen; part of the published status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdaptiveTiming {
    /// Heartbeat interval in force, in milliseconds.
    pub heartbeat_ms: u64,
    /// Missed heartbeats after which a peer is dead.
    pub misses: u8,
    /// The node that proposes the slowest timing; this node if no other is slower.
    pub held_by: String,
    /// Why that node proposes no faster one.
    pub because: String,
    /// In how long this node proposes the next faster timing, if nothing happens, in milliseconds;
    /// `None` if it does not.
    pub faster_in_ms: Option<u64>,
}

impl AdaptiveTiming {
    /// Returns what the core says, with names.
    #[must_use]
    pub fn new(status: &TimingStatus, names: &Names) -> Self {
        let held_by = names.node(status.held_by);
        Self {
            heartbeat_ms: millis(status.timing.heartbeat),
            misses: status.timing.misses,
            because: reason(&held_by, status.proposal),
            held_by,
            faster_in_ms: status.faster_in.map(millis),
        }
    }

    /// Returns the line of `buoy status`.
    #[must_use]
    pub fn line(&self) -> String {
        let detection = self.heartbeat_ms.saturating_mul(u64::from(self.misses));
        let faster = match self.faster_in_ms {
            Some(left) => format!("; faster in {} at the earliest", wait(left)),
            None => String::new(),
        };
        format!(
            "timing: auto, heartbeat {} ms, detection {detection} ms: {}{faster}",
            self.heartbeat_ms, self.because
        )
    }
}

/// Returns a time in milliseconds in words: seconds, or more than two hours as days and hours.
fn wait(left: u64) -> String {
    match left.div_ceil(1000) {
        seconds @ 0..7200 => format!("{seconds} s"),
        seconds => span(Duration::from_secs(seconds)),
    }
}

/// Returns heartbeat interval and misses, as `20 ms x 4`.
pub(super) fn short(level: TimingLevel) -> String {
    let Timing { heartbeat, misses, .. } = level.timing();
    format!("{} ms x {misses}", heartbeat.as_millis())
}

/// Returns why a node proposes no faster timing.
pub(super) fn reason(node: &str, proposal: TimingProposal) -> String {
    let late = proposal.lateness.as_millis();
    match proposal.reason {
        TimingReason::Fastest => "no node holds it back".to_owned(),
        TimingReason::NotLongCalm => format!("{node} has not been calm for long enough"),
        TimingReason::Loop => format!("the daemon of {node} ran {late} ms late"),
        TimingReason::Spacing => format!("{node} heard another node {late} ms late"),
        TimingReason::Datagrams => format!("{node} would send too many datagrams"),
        TimingReason::Fixed => format!("{node} has a fixed profile"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_in_force_and_who_holds_it_back() {
        let slow = AdaptiveTiming {
            heartbeat_ms: 100,
            misses: 3,
            held_by: "lb2".to_owned(),
            because: "the daemon of lb2 ran 93 ms late".to_owned(),
            faster_in_ms: Some(299_400),
        };
        let text = "timing: auto, heartbeat 100 ms, detection 300 ms: the daemon of lb2 ran 93 ms \
                    late; faster in 300 s at the earliest";
        assert_eq!(slow.line(), text);
        let late = AdaptiveTiming { faster_in_ms: Some(615_600_000), ..slow.clone() };
        assert!(late.line().ends_with("late; faster in 7d03h at the earliest"), "{}", late.line());
        let fastest = AdaptiveTiming {
            heartbeat_ms: 20,
            misses: 4,
            because: "no node holds it back".to_owned(),
            faster_in_ms: None,
            ..slow
        };
        let text = "timing: auto, heartbeat 20 ms, detection 80 ms: no node holds it back";
        assert_eq!(fastest.line(), text);
    }
}
