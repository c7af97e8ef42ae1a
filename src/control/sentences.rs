//! Causes, reports, standings and refusals as plain sentences with the operator's names.
//!
//! Status, events, explanations, log lines and errors all speak through here, so that the same
//! thing is always said in the same words. A sentence has no capital and no full stop: it stands
//! in a table cell, in a log field or after a colon. `refusals` has what to do about a refusal.

use std::time::Duration;

use super::duration_text::precise;
use super::names::Names;
pub use super::standing_words::{candidate, inability, removed_by, standing, would_take};
use crate::protocol::{Cause, Fitness, NodePhase, Verdict};

/// Why a group came to its owner. `silence` is how long a silent node had been so, if known.
#[must_use]
pub fn cause(cause: Cause, silence: Option<Duration>, names: &Names) -> String {
    match cause {
        Cause::FirstClaim => "no node had claimed it".to_owned(),
        Cause::Silence(node) => {
            let node = names.node(node);
            match silence {
                Some(length) => format!("{node} was silent for {}", precise(length)),
                None => format!("{node} fell silent"),
            }
        }
        Cause::Restart(node) => format!("{} restarted", names.node(node)),
        Cause::Deaf(node) => format!("{} was sending but not receiving", names.node(node)),
        Cause::Departure(node) => format!("{} left cleanly", names.node(node)),
        Cause::Inability(node) => format!("{} could not hold it", names.node(node)),
        Cause::Removed(node) => {
            format!(
                "{} owned it until the group was removed from its configuration",
                names.node(node)
            )
        }
        Cause::AddressConflict(node) => {
            format!("{} released it: a host outside the cluster answered for it", names.node(node))
        }
        Cause::HandedOver(node) => format!("handed over by {}", names.node(node)),
        Cause::Balance(node) => format!("handed over by {} for balance", names.node(node)),
        Cause::Drain(node) => format!("handed over by {}, which is draining", names.node(node)),
        Cause::Operator(node) => {
            format!("handed over by {} at the operator's request", names.node(node))
        }
        Cause::Failback(node) => {
            format!("handed back by {} to its preferred node", names.node(node))
        }
        Cause::Checks(node) => format!("handed over by {}: its checks fail", names.node(node)),
        Cause::Conflict(node) => {
            format!("{} owned it too after a network split and gave way", names.node(node))
        }
        Cause::TakenBack(node) => {
            format!("offered to {}, which did not take it", names.node(node))
        }
    }
}

/// What the checks of a node say of a pool.
#[must_use]
pub fn fitness(fitness: Fitness, pool: &str) -> String {
    match fitness {
        Fitness::Fit => format!("fit: the checks of pool {pool} pass"),
        Fitness::Reluctant => {
            format!(
                "reluctant: a preferred check of pool {pool} fails, or a required one has no \
                 result yet"
            )
        }
        Fitness::Unfit => format!("unfit: required checks of pool {pool} fail"),
    }
}

/// The word for a verdict, as in the contract.
#[must_use]
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unknown => "unknown",
        Verdict::Up => "up",
        Verdict::Suspect => "suspect",
        Verdict::Indirect => "indirect",
        Verdict::Dead => "dead",
        Verdict::Left => "left",
    }
}

/// The word for a phase.
#[must_use]
pub fn phase(phase: NodePhase) -> &'static str {
    match phase {
        NodePhase::Listening => "listening",
        NodePhase::Active => "active",
        NodePhase::Resuming => "resuming",
        NodePhase::Isolated => "isolated",
        NodePhase::Leaving => "leaving",
        NodePhase::Left => "left",
    }
}

/// A number with its noun: `"1 group"`, `"3 groups"`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{names, node};
    use super::*;
    use crate::protocol::NodeId;

    #[test]
    fn causes_name_nodes_and_silence() {
        let names = names();
        let silence = Some(Duration::from_millis(312));
        assert_eq!(
            cause(Cause::Silence(node("lb1")), silence, &names),
            "lb1 was silent for 312 ms"
        );
        assert_eq!(cause(Cause::Silence(node("lb1")), None, &names), "lb1 fell silent");
        assert_eq!(
            cause(Cause::Balance(node("lb2")), None, &names),
            "handed over by lb2 for balance"
        );
        assert_eq!(
            cause(Cause::Drain(NodeId(1)), None, &names),
            "handed over by node-00000001, which is draining"
        );
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(1, "group"), "1 group");
        assert_eq!(counted(0, "group"), "0 groups");
    }
}
