//! Profile `auto` in words: which timing is in force, who holds it back, and why.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration_text::{precise, span};
use super::names::Names;
use super::response::Event;
use crate::protocol::{
    NodeId, Report, Timing, TimingLevel, TimingProposal, TimingReason, TimingStatus,
};

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

/// An event in one sentence.
pub(super) fn changed(
    me: &str,
    (from, to): (TimingLevel, TimingLevel),
    (held_by, proposal): (NodeId, TimingProposal),
    names: &Names,
) -> String {
    let (was, is) = (from.timing(), to.timing());
    format!(
        "{me} detects failures within {}, was {}: {}",
        precise(is.detection()),
        precise(was.detection()),
        reason(&names.node(held_by), proposal)
    )
}

/// An event in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Heartbeat interval and misses that were in force, as `20 ms x 4`.
    pub from: String,
    /// Those that are.
    pub to: String,
    /// Who holds it back, and why.
    pub because: String,
}

/// Returns such an event in words; `None` for others.
#[must_use]
pub fn change(report: &Report, names: &Names) -> Option<Change> {
    let Report::TimingChanged { from, to, held_by, proposal } = *report else { return None };
    let because = reason(&names.node(held_by), proposal);
    Some(Change { from: short(from), to: short(to), because })
}

/// Fills the fields of such an event.
pub(super) fn fields(report: &Report, event: &mut Event, names: &Names) {
    event.node = Some(names.node(names.me()));
    if let Some(Change { from, to, because }) = change(report, names) {
        (event.from, event.to, event.cause) = (Some(from), Some(to), Some(because));
    }
}

fn short(level: TimingLevel) -> String {
    let Timing { heartbeat, misses, .. } = level.timing();
    format!("{} ms x {misses}", heartbeat.as_millis())
}

/// Why a node proposes no faster timing.
fn reason(node: &str, proposal: TimingProposal) -> String {
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

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
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
