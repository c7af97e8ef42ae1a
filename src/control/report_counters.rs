//! Counts of all that was reported since the start: the recorder's ring forgets, these do not.
//!
//! Filled by the recorder, one increment for each report; read with each status. Bounded by the
//! kinds of events, the pools and the groups that files had.

use std::collections::BTreeMap;

use super::events::Kind;
use super::labels::cause_label;
use super::measures::Histogram;
use super::names::Names;
use crate::protocol::{GroupKey, NodeId, Report, Verdict};

/// Groups that are counted: as many as a file may have, and those of the files before. Then groups
/// that no file has are forgotten.
const GROUPS_MAX: usize = 8192;

/// Counts by their causes; there are some twenty.
pub type Causes = BTreeMap<&'static str, u64>;

/// How often a group came to this node and left it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// This node became its owner.
    pub acquired: Causes,
    /// It was the owner and is not any more.
    pub released: Causes,
}

/// What has happened, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportCounters {
    /// Events by kind.
    pub events: BTreeMap<&'static str, u64>,
    /// Moves of groups.
    pub groups: BTreeMap<GroupKey, Moves>,
    /// Silence of peers when they were given up.
    pub detection: Histogram,
    /// By pool, until neighbours followed a group to this node.
    pub convergence: BTreeMap<String, Histogram>,
}

impl ReportCounters {
    /// Counts what a report says besides its kind.
    pub(super) fn report(&mut self, report: &Report, names: &Names) {
        if let Report::OwnerChanged { group, from, to, cause, .. } = *report {
            let me = Some(names.me());
            self.moved(group, (from, to), (me, cause_label(cause)), names);
        } else if let Report::PeerChanged { to: Verdict::Dead, silence, .. } = *report {
            self.detection.count(silence);
        } else if let Report::Converged { group, after, .. } = *report {
            let pool = names.pool_of(group).unwrap_or("unknown");
            if let Some(known) = self.convergence.get_mut(pool) {
                known.count(after);
            } else if self.convergence.len() < GROUPS_MAX {
                self.convergence.entry(pool.to_owned()).or_default().count(after);
            }
        }
    }

    /// Counts an event of this kind.
    pub(super) fn event(&mut self, kind: Kind) {
        *self.events.entry(kind.word()).or_default() += 1;
    }

    fn moved(
        &mut self,
        group: GroupKey,
        (from, to): (Option<NodeId>, Option<NodeId>),
        (me, cause): (Option<NodeId>, &'static str),
        names: &Names,
    ) {
        if (from == me) == (to == me) {
            return;
        }
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&group) {
            self.groups.retain(|group, _| names.pool_of(*group).is_some());
        }
        let moves = self.groups.entry(group).or_default();
        let causes = if to == me { &mut moves.acquired } else { &mut moves.released };
        *causes.entry(cause).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixture::{group, names, node};
    use super::*;
    use crate::protocol::{Cause, Epoch};

    fn moved(from: Option<&str>, to: Option<&str>, cause: Cause) -> Report {
        Report::OwnerChanged {
            group: group("10.77.0.100"),
            from: from.map(node),
            to: to.map(node),
            epoch: Epoch(1),
            cause,
        }
    }

    #[test]
    fn moves_to_and_from_this_node_are_counted_by_cause() {
        let (mut counters, names) = (ReportCounters::default(), names());
        for report in [
            moved(None, Some("lb1"), Cause::FirstClaim),
            moved(Some("lb1"), Some("lb2"), Cause::Drain(node("lb1"))),
            moved(Some("lb2"), Some("lb1"), Cause::Silence(node("lb2"))),
            moved(Some("lb1"), Some("lb1"), Cause::FirstClaim),
            moved(Some("lb2"), Some("lb3"), Cause::FirstClaim),
        ] {
            counters.report(&report, &names);
        }
        let moves = &counters.groups[&group("10.77.0.100")];
        assert_eq!(moves.acquired, Causes::from([("silent", 1), ("unclaimed", 1)]));
        assert_eq!(moves.released, Causes::from([("drain", 1)]));
        counters.event(Kind::OwnerChanged);
        assert_eq!(counters.events, BTreeMap::from([("owner_changed", 1)]));
    }

    #[test]
    fn times_of_deaths_and_of_followers_are_counted() {
        let (mut counters, names) = (ReportCounters::default(), names());
        let silence = Duration::from_millis(312);
        let peer = node("lb2");
        let (from, to) = (Verdict::Suspect, Verdict::Dead);
        counters.report(&Report::PeerChanged { peer, from, to, silence }, &names);
        let (from, to) = (Verdict::Dead, Verdict::Up);
        counters.report(&Report::PeerChanged { peer, from, to, silence }, &names);
        assert_eq!(counters.detection.counts.iter().sum::<u64>(), 1);
        let (group, after) = (group("10.77.0.100"), Duration::from_millis(3));
        counters.report(&Report::Converged { group, epoch: Epoch(1), hosts: 2, after }, &names);
        assert_eq!(counters.convergence["web"].sum_us, 3000);
    }
}
