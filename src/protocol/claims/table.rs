//! Who claims what: the latest claim of every group, and the order in which they changed.
//!
//! Each node keeps one table. A claim that ranks higher replaces the one before; equal or lower
//! ones change nothing, so claims may come twice, late, in any order and by any way, and all
//! tables that have seen the same claims are equal. Changes are numbered, so that peers can be
//! sent what they lack (`log`).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::super::types::{
    ADDRESSES_MAX, Claim, Epoch, GroupKey, Incarnation, Instant, NodeId, Tenure,
};

/// Claims kept at most. Twice the addresses of a configuration, each of which is claimed: during a
/// rollout peers may know addresses that are not in ours.
pub(super) const CLAIMS_MAX: usize = 2 * ADDRESSES_MAX;

/// A claim and when it changed here.
#[derive(Clone, Copy, Debug)]
pub(in crate::protocol) struct Entry {
    pub(in crate::protocol) claim: Claim,
    /// Number of the change that brought it.
    pub(super) version: u32,
    /// When its holder changed.
    pub(in crate::protocol) since: Instant,
    /// The claim of another node that held the group when this owner's came, and when that was. It
    /// may not have heard of this one yet.
    pub(in crate::protocol) displaced: Option<(NodeId, Incarnation, Instant)>,
}

impl Entry {
    /// Who has been displaced when this claim comes in the place of the entry's.
    fn displaced_by(&self, claim: &Claim, now: Instant) -> Option<(NodeId, Incarnation, Instant)> {
        let before = &self.claim;
        if before.owner == claim.owner {
            return self.displaced.filter(|_| before.epoch == claim.epoch);
        }
        (before.tenure == Tenure::Held).then_some((before.owner, before.incarnation, now))
    }
}

/// What became of a claim that was offered to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum Acceptance {
    /// It replaced this one, or was the first.
    Newer(Option<Claim>),
    /// The table already had it.
    Same,
    /// The table has one of higher rank.
    Older(Claim),
    /// There is no room for one more group.
    NoRoom,
}

/// The table.
#[derive(Clone, Debug, Default)]
pub(super) struct ClaimTable {
    entries: BTreeMap<GroupKey, Entry>,
    changes: BTreeMap<u32, GroupKey>,
    version: u32,
}

/// Orders claims of one group. The epoch decides; two nodes that took under the same epoch in
/// different halves of a split are told apart by id; revisions order what one owner wrote under
/// one epoch. Support has no part in it: it may fall with a revision, and the order must be the
/// same at all nodes whatever they saw first.
const fn rank(claim: &Claim) -> (Epoch, Reverse<NodeId>, u64, u32) {
    (claim.epoch, Reverse(claim.owner), claim.incarnation.0, claim.revision)
}

/// The node that others should consider the owner by this claim: the receiver while it moves.
pub(in crate::protocol) const fn holder(claim: &Claim) -> Option<NodeId> {
    match claim.tenure {
        Tenure::Held => Some(claim.owner),
        Tenure::MovingTo(to) => Some(to),
        Tenure::Free => None,
    }
}

impl ClaimTable {
    /// Takes in a claim if it ranks above the one the table has.
    pub(super) fn accept(&mut self, now: Instant, claim: Claim) -> Acceptance {
        let previous = self.entries.get(&claim.group).copied();
        let since = match previous {
            Some(entry) if entry.claim == claim => return Acceptance::Same,
            Some(entry) if rank(&entry.claim) >= rank(&claim) => {
                return Acceptance::Older(entry.claim);
            }
            Some(entry) if holder(&entry.claim) == holder(&claim) => entry.since,
            Some(_) => now,
            None if self.entries.len() >= CLAIMS_MAX => return Acceptance::NoRoom,
            None => now,
        };
        if let Some(entry) = previous {
            self.changes.remove(&entry.version);
        }
        self.version += 1;
        self.changes.insert(self.version, claim.group);
        let displaced = previous.and_then(|entry| entry.displaced_by(&claim, now));
        self.entries.insert(claim.group, Entry { claim, version: self.version, since, displaced });
        Acceptance::Newer(previous.map(|entry| entry.claim))
    }

    /// The latest claim of a group.
    pub(super) fn latest(&self, group: GroupKey) -> Option<&Claim> {
        self.entries.get(&group).map(|entry| &entry.claim)
    }

    /// The latest claim of a group, with its change.
    pub(super) fn entry(&self, group: GroupKey) -> Option<&Entry> {
        self.entries.get(&group)
    }

    /// Number of the last change.
    pub(super) const fn version(&self) -> u32 {
        self.version
    }

    /// All claims, by group.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Claim> {
        self.entries.values().map(|entry| &entry.claim)
    }

    /// Claims that changed after `version`, oldest change first.
    pub(super) fn changed_after(&self, version: u32) -> impl Iterator<Item = &Entry> {
        self.changes
            .range(version.saturating_add(1)..)
            .filter_map(|(_, group)| self.entries.get(group))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::types::Cause;
    use super::*;

    fn claim(epoch: u64, owner: u32, support: u16, revision: u32) -> Claim {
        Claim {
            group: GroupKey(1),
            epoch: Epoch(epoch),
            owner: NodeId(owner),
            incarnation: Incarnation(9),
            revision,
            tenure: Tenure::Held,
            support,
            heirs: [None; 2],
            cause: Cause::FirstClaim,
        }
    }

    #[test]
    fn higher_epoch_then_lower_id_then_revision_wins() {
        let ascending = [
            claim(1, 1, 9, 9),
            claim(2, 9, 9, 5),
            claim(2, 3, 2, 0),
            claim(2, 3, 1, 1),
            claim(3, 9, 0, 0),
        ];
        for (place, low) in ascending.iter().enumerate() {
            for high in &ascending[place + 1..] {
                let mut table = ClaimTable::default();
                assert_eq!(table.accept(Instant::START, *low), Acceptance::Newer(None));
                assert_eq!(table.accept(Instant::START, *high), Acceptance::Newer(Some(*low)));
                assert_eq!(table.accept(Instant::START, *low), Acceptance::Older(*high));
                assert_eq!(table.accept(Instant::START, *high), Acceptance::Same);
            }
        }
    }

    #[test]
    fn a_change_moves_its_group_to_the_end_of_the_log() {
        let mut table = ClaimTable::default();
        let first = claim(1, 1, 1, 0);
        let second = Claim { group: GroupKey(2), ..first };
        let _ = table.accept(Instant::START, first);
        let _ = table.accept(Instant::START, second);
        let _ = table.accept(Instant::START, Claim { revision: 1, ..first });
        let order: Vec<_> = table.changed_after(0).map(|entry| entry.claim.group.0).collect();
        assert_eq!(order, [2, 1]);
        assert_eq!(table.changed_after(2).count(), 1);
        assert_eq!(table.version(), 3);
    }

    #[test]
    fn a_full_table_still_takes_newer_claims_of_known_groups() {
        let mut table = ClaimTable::default();
        for group in 0..CLAIMS_MAX {
            let claim = Claim { group: GroupKey(group as u64), ..claim(1, 1, 1, 0) };
            let _ = table.accept(Instant::START, claim);
        }
        let unknown = Claim { group: GroupKey(u64::MAX), ..claim(1, 1, 1, 0) };
        assert_eq!(table.accept(Instant::START, unknown), Acceptance::NoRoom);
        let known = Claim { group: GroupKey(0), ..claim(2, 1, 1, 0) };
        assert!(matches!(table.accept(Instant::START, known), Acceptance::Newer(Some(_))));
    }
}
