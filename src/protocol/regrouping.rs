//! A reload of a file that has the same addresses in other groups.
//!
//! What this node's kernel has, and this life has claimed, it goes on to have, in whichever group it
//! is now: nothing is removed and added again. What is in no group of this node any more, or in one
//! that another node has, is let go. So is a group that has become a part of another one: the kernel
//! keeps the addresses that the other group has been acquired with, and what was claimed with them
//! stays claimed until the kernel has them in neither. `layout` tells what else follows from that.

use std::collections::BTreeSet;

use super::group::{Holding, Occurrence, Purpose};
use super::node::Node;
use super::types::{GroupKey, Rule};

impl Node {
    /// Forgets a group, which the kernel side does not add any more.
    pub(super) fn forget(&mut self, group: GroupKey) {
        if let Some(here) = self.groups.remove(&group) {
            self.kernel_work.note(self.env.now, here.holding, Holding::Idle);
        }
    }

    /// Follows a new list of groups: what this node has of them already it goes on to have, in
    /// whichever group it is now.
    pub(super) fn relayout(&mut self) {
        let groups = &self.env.configuration.groups;
        let pairs = groups
            .iter()
            .flat_map(|(group, wanted)| wanted.further().iter().map(|address| (*address, *group)));
        self.covering = pairs.collect();
        let here = self.in_kernel();
        let wanted: Vec<GroupKey> = self.env.configuration.groups.keys().copied().collect();
        for group in &wanted {
            self.go_on_with(*group, &here);
        }
        for (group, configured) in &self.env.configuration.groups {
            self.announcements.resize(*group, configured.address_count());
        }
        for group in wanted {
            self.drop_what_is_not_configured(group);
        }
    }

    /// The addresses that this node's kernel has and that this life has claimed.
    fn in_kernel(&self) -> BTreeSet<GroupKey> {
        let held = self.groups.iter().filter(|(_, here)| {
            matches!(here.holding, Holding::Adding { .. } | Holding::Held { .. })
        });
        held.flat_map(|(group, here)| {
            let further = here.further.admitted.iter().copied();
            further.chain([*group]).collect::<Vec<_>>()
        })
        .filter(|address| self.claimed_here(*address))
        .collect()
    }

    /// A group of which this node has the first address as a further one of another group begins
    /// with that; one that it has already gets what it has of others.
    fn go_on_with(&mut self, group: GroupKey, in_kernel: &BTreeSet<GroupKey>) {
        let Some(holding) = self.groups.get(&group).map(|here| here.holding) else { return };
        let further = self.further(group);
        let claims = self.enforces(Rule::AddressesClaimed);
        let comes = |address: &GroupKey| !claims || in_kernel.contains(address);
        let comes: Vec<GroupKey> = further.into_iter().filter(comes).collect();
        match holding {
            Holding::Idle if in_kernel.contains(&group) => {
                let epoch = self.claims.latest(group).map(|claim| claim.epoch).unwrap_or_default();
                self.admit_these(group, &comes);
                self.keep_time_of_taking(group);
                let lacks_lease = self.strict(group) && self.quorum.until(group) <= self.env.now;
                let occurrence = if lacks_lease && self.enforces(Rule::LeaseFirst) {
                    Occurrence::Ask(epoch)
                } else {
                    Occurrence::Take(self.ticket(), epoch)
                };
                self.occur(group, occurrence);
            }
            Holding::Adding { .. } | Holding::Held { .. } => {
                let Some(here) = self.groups.get(&group) else { return };
                let news = comes.iter().any(|address| !here.further.admitted.contains(address));
                if news {
                    self.admit_these(group, &comes);
                    self.reshape(group);
                }
            }
            Holding::Idle | Holding::Asking { .. } | Holding::Removing { .. } => {}
        }
    }

    /// A group has been taken when its first address was, in whichever group: a conflicting host that
    /// had it before may say so yet.
    fn keep_time_of_taking(&mut self, group: GroupKey) {
        let had = self.groups.values().filter(|here| here.further.admitted.contains(&group));
        let took_at = had.filter_map(|here| here.conflict.took_at()).max();
        if let (Some(at), Some(here)) = (took_at, self.groups.get_mut(&group)) {
            here.conflict.recall_taking(at);
        }
    }

    /// What the group does not have any more leaves the kernel, unless another group has it.
    fn drop_what_is_not_configured(&mut self, group: GroupKey) {
        let further: BTreeSet<GroupKey> = self.further(group).into_iter().collect();
        let Some(here) = self.groups.get_mut(&group) else { return };
        here.further.withheld.retain(|address, _| further.contains(address));
        here.further.vacant_since.retain(|address, _| further.contains(address));
        let (stay, go) = here.further.admitted.iter().partition(|it| further.contains(it));
        here.further.admitted = stay;
        let go: BTreeSet<GroupKey> = go;
        if !go.is_empty() {
            here.further.leaving.extend(go);
            self.reshaped.insert(group);
            self.reshape(group);
        }
    }

    /// What this life has claimed and is neither in the kernel nor on its way there, because its group
    /// has gone or has become another before it came so far, is free for others.
    pub(super) fn free_what_is_not_here(&mut self) {
        let mut here: BTreeSet<GroupKey> = BTreeSet::new();
        for (group, it) in self.groups.iter().filter(|(_, it)| it.holding != Holding::Idle) {
            here.insert(*group);
            here.extend(it.further.in_kernel());
            if it.holding.meant() {
                here.extend(self.further(*group));
            }
        }
        let claimed = self.claims.iter().map(|claim| claim.group);
        let orphans: Vec<GroupKey> =
            claimed.filter(|it| !here.contains(it) && self.claimed_here(*it)).collect();
        for address in orphans {
            self.address_is_gone(self.group_of(address), address, Purpose::Free);
        }
    }
}
