//! Addresses that nodes have in different groups, because their files differ while a new one is
//! rolled out.
//!
//! ```text
//!   lb1: group 10.0.0.101 has .101 and .100        claims 101 and 100 (epoch, owner, as always)
//!   lb2: group 10.0.0.100 is .100 alone            claims 100
//!        the claims of 100 meet: one ranks higher; lb1 withholds .100 and serves .101, or lb2
//!        gives the group .100 away. Whoever is left without takes it when it is free.
//! ```
//!
//! The unit of ownership is the group, named by its first address. But what must have one owner is
//! an address, and which group has it is read by each node from its own file. So the further
//! addresses of a group are claimed, and in mode majority leased, each under its own key, in the
//! same table, by the same log and in the same order as groups. A claim of `100` means the same to
//! a node whose file has it as a group of its own and to one that has it inside of another; which
//! group it is, is nobody's business but the holder's.
//!
//! A further address is *admitted* when this node has claimed it, and in mode majority has the
//! lease; only then the kernel adds it. It is *withheld* while another living node has claimed it,
//! and the rest of the group is served. It is *leaving* from when the kernel was told to remove it
//! until the kernel has confirmed that.
//!
//! Where files agree the claims of the further addresses go the way of their group's and nothing
//! here decides anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::group::{Holding, Occurrence, Purpose};
use super::node::Node;
use super::ownership::GroupHere;
use super::types::{
    Cause, Claim, Epoch, GroupKey, Instant, NodeId, Report, Rule, Tenure, Withheld,
};

/// How it stands with the further addresses of a group at this node.
#[derive(Clone, Debug, Default)]
pub(super) struct Further {
    /// Those that the kernel was told to have.
    pub(super) admitted: BTreeSet<GroupKey>,
    /// Those that it was told to remove, and has not confirmed yet.
    pub(super) leaving: BTreeSet<GroupKey>,
    /// Those that another node has, as was reported.
    pub(super) withheld: BTreeMap<GroupKey, NodeId>,
    /// Since when they could be taken.
    pub(super) vacant_since: BTreeMap<GroupKey, Instant>,
}

impl Further {
    /// Those that the kernel may answer for.
    pub(super) fn in_kernel(&self) -> impl Iterator<Item = GroupKey> + '_ {
        self.admitted.iter().chain(&self.leaving).copied()
    }
}

impl Node {
    /// The group that has the address by the file of this node; the key itself if none has.
    pub(super) fn group_of(&self, address: GroupKey) -> GroupKey {
        self.covering.get(&address).copied().unwrap_or(address)
    }

    /// Whether the key is that of a further address here, and so of no group.
    pub(super) fn is_further(&self, address: GroupKey) -> bool {
        self.covering.contains_key(&address)
    }

    /// The group that has the address, as it stands here.
    pub(super) fn here(&self, address: GroupKey) -> Option<&GroupHere> {
        self.groups.get(&self.group_of(address))
    }

    /// Whether another's claim of a further address concerns this node: it has the address, or asks
    /// for its lease.
    pub(super) fn has_further(&self, address: GroupKey) -> bool {
        let here = self.here(address);
        let in_kernel = here.is_some_and(|it| it.further.in_kernel().any(|one| one == address));
        in_kernel || self.quorum.wants(address)
    }

    /// Whether this life has claimed the address and has not let it go.
    pub(super) fn claimed_here(&self, address: GroupKey) -> bool {
        let claim = self.claims.latest(address);
        claim.is_some_and(|claim| self.ours(claim) && claim.tenure == Tenure::Held)
    }

    /// Whether the kernel has the address here with another group than this.
    pub(super) fn is_elsewhere(&self, address: GroupKey, than: GroupKey) -> bool {
        let group = self.group_of(address);
        group != than
            && self.groups.get(&group).is_some_and(|here| {
                here.holding.meant()
                    && (group == address || here.further.admitted.contains(&address))
            })
    }

    /// Whether the kernel has the address with another group than this, or may still have it: it is
    /// being removed with its former group, or is leaving it.
    pub(super) fn kernel_has_elsewhere(&mut self, address: GroupKey, than: GroupKey) -> bool {
        if self.is_elsewhere(address, than) || !self.enforces(Rule::GoneEverywhere) {
            return self.is_elsewhere(address, than);
        }
        let groups = &self.groups;
        let leaving = |group: &GroupKey| groups.get(group).map(|here| &here.further.leaving);
        self.reshaped.retain(|group| leaving(group).is_some_and(|leaving| !leaving.is_empty()));
        let mut others = self.reshaped.iter().filter(|group| **group != than).filter_map(leaving);
        let own = groups.get(&address).filter(|_| address != than).map(|here| here.holding);
        others.any(|leaving| leaving.contains(&address))
            || !matches!(own, None | Some(Holding::Idle | Holding::Asking { .. }))
    }

    /// The kernel has nothing of a group any more, unless another group goes on with it.
    pub(super) fn report_released(&mut self, group: GroupKey, epoch: Epoch) {
        if !self.is_elsewhere(group, group) {
            self.report(Report::Released { group, epoch });
        }
    }

    /// Claims, with a group that is being taken, those of its further addresses that nobody has.
    pub(super) fn take_further(&mut self, taken: &Claim) {
        let group = taken.group;
        let further = self.further(group);
        let mut covered = BTreeSet::new();
        for address in further {
            if !self.enforces(Rule::AddressesClaimed) {
                covered.insert(address);
                continue;
            }
            let vacancy = self.vacancy(address);
            let free = vacancy.is_some_and(|vacancy| {
                vacancy.grace.is_zero() || vacancy.cause == Cause::FirstClaim
            });
            if free {
                self.claim_further(address, taken);
            }
            if free || self.claimed_here(address) {
                covered.insert(address);
            }
        }
        let needs_leases = self.strict(group) && self.enforces(Rule::LeaseFirst);
        if let Some(here) = self.groups.get_mut(&group) {
            here.further.admitted = if needs_leases { BTreeSet::new() } else { covered };
            here.further.vacant_since.clear();
        }
    }

    pub(super) fn further(&self, group: GroupKey) -> Vec<GroupKey> {
        let wanted = self.env.configuration.groups.get(&group);
        wanted.map(|wanted| wanted.further().to_vec()).unwrap_or_default()
    }

    fn claim_further(&mut self, address: GroupKey, with: &Claim) {
        let latest = self.claims.latest(address);
        let epoch = latest.map(|claim| claim.epoch).unwrap_or_default().next();
        self.publish(Claim { group: address, epoch, revision: 0, tenure: Tenure::Held, ..*with });
    }

    /// Brings the further addresses of a group that is held in line with what others have claimed.
    /// Returns when to look again.
    pub(super) fn revise_further(&mut self, group: GroupKey) -> Instant {
        let meant = self.groups.get(&group).is_some_and(|here| here.holding.meant());
        let Some(claim) = self.claims.latest(group).copied() else { return Instant::NEVER };
        if !meant || !self.ours(&claim) || !self.enforces(Rule::AddressesClaimed) {
            return Instant::NEVER;
        }
        let mut again = Instant::NEVER;
        for address in self.further(group) {
            if self.claimed_here(address) {
                continue;
            }
            let at = self.may_claim_at(group, address);
            if at <= self.env.now {
                self.claim_further(address, &claim);
            } else {
                again = again.min(at);
            }
        }
        self.admit(group);
        again
    }

    /// When this node, which holds the group, should claim one of its further addresses. Other nodes
    /// compete for it only if their file is another one; of these all compute the same order.
    fn may_claim_at(&mut self, group: GroupKey, address: GroupKey) -> Instant {
        let Some(vacancy) = self.vacancy(address) else {
            self.note_withheld(group, address);
            return self.vacancy_deadline(address);
        };
        let now = self.env.now;
        let Some(here) = self.groups.get_mut(&group) else { return Instant::NEVER };
        let since = *here.further.vacant_since.entry(address).or_insert(now);
        if self.mute && self.enforces(Rule::MuteTakesNothing) || !self.may_ask(group) {
            return Instant::NEVER;
        }
        let mut order: Vec<NodeId> = Vec::new();
        if let Some(claim) = self.claims.latest(address) {
            if let Tenure::MovingTo(to) = claim.tenure {
                order.push(to);
            }
            order.extend(claim.heirs.into_iter().flatten());
        }
        order.extend(self.common_order(address));
        let me = self.env.configuration.me;
        let freed = self.claims.latest(address).filter(|claim| claim.tenure == Tenure::Free);
        let freed = freed.map(|claim| claim.owner);
        let before: BTreeSet<NodeId> = order
            .into_iter()
            .take_while(|node| *node != me)
            .filter(|it| Some(*it) != freed && self.competes(*it))
            .collect();
        let place = u32::try_from(before.len()).unwrap_or(u32::MAX);
        let grace = if vacancy.cause == Cause::FirstClaim { Duration::ZERO } else { vacancy.grace };
        since + grace + self.env.configuration.timing.rank_skew.saturating_mul(place)
    }

    /// Whether a peer that could take groups goes by another file.
    fn competes(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|peer| {
            peer.takes() && peer.said.config_digest != self.env.configuration.digest
        })
    }

    fn note_withheld(&mut self, group: GroupKey, address: GroupKey) {
        let Some(owner) = self.current_owner(address) else { return };
        let Some(here) = self.groups.get_mut(&group) else { return };
        here.further.vacant_since.remove(&address);
        if owner != self.env.configuration.me
            && here.further.withheld.insert(address, owner) != Some(owner)
        {
            self.report(Report::AddressWithheld { group, address, owner });
        }
    }

    /// Has the kernel add what this node has claimed and, in mode majority, has the lease of.
    pub(super) fn admit(&mut self, group: GroupKey) {
        let Some(here) = self.groups.get(&group) else { return };
        let (holding, admitted) = (here.holding, here.further.admitted.clone());
        if !holding.meant() {
            return;
        }
        let further = self.further(group);
        let needs_leases = self.strict(group) && self.enforces(Rule::AddressesLeased);
        let mut news = Vec::new();
        for address in further.into_iter().filter(|address| !admitted.contains(address)) {
            if !self.claimed_here(address) {
                continue;
            }
            if needs_leases {
                self.quorum.want(address);
            }
            if !needs_leases || self.quorum.until(address) > self.env.now {
                news.push(address);
            }
        }
        // Nothing is in the kernel before the group is; then it comes with it.
        if news.is_empty() || self.strict(group) && matches!(holding, Holding::Asking { .. }) {
            return;
        }
        self.admit_these(group, &news);
        self.reshape(group);
    }

    pub(super) fn admit_these(&mut self, group: GroupKey, addresses: &[GroupKey]) {
        let Some(here) = self.groups.get_mut(&group) else { return };
        let mut freed = Vec::new();
        for address in addresses {
            here.further.admitted.insert(*address);
            here.further.leaving.remove(address);
            here.further.vacant_since.remove(address);
            freed.extend(here.further.withheld.remove(address).map(|_| *address));
        }
        for address in freed {
            self.report(Report::AddressAdmitted { group, address });
        }
    }

    /// A group in mode majority has its lease: what else of it has one comes with it.
    pub(super) fn admit_with(&mut self, group: GroupKey) {
        let leased = |address: &GroupKey| {
            self.claimed_here(*address)
                && (self.quorum.until(*address) > self.env.now
                    || !self.enforces(Rule::AddressesLeased))
        };
        let leased: Vec<GroupKey> = self.further(group).into_iter().filter(leased).collect();
        self.admit_these(group, &leased);
    }

    /// Until when this node has the leases of a group and of all its addresses in the kernel.
    pub(super) fn leased_until(&self, group: GroupKey) -> Instant {
        let own = self.quorum.until(group);
        if !self.enforces(Rule::AddressesLeased) {
            return own;
        }
        let Some(here) = self.groups.get(&group) else { return own };
        here.further.in_kernel().map(|address| self.quorum.until(address)).fold(own, Instant::min)
    }

    /// Asks for the leases of what this node has claimed with a group.
    pub(super) fn want_further(&mut self, group: GroupKey) {
        if !self.enforces(Rule::AddressesLeased) {
            return;
        }
        for address in self.further(group) {
            if self.claimed_here(address) {
                self.quorum.want(address);
            }
        }
    }

    pub(super) fn reshape(&mut self, group: GroupKey) {
        let ticket = self.ticket();
        self.occur(group, Occurrence::Reshape(ticket));
    }

    /// What the kernel shall have of a group but for its first address.
    pub(super) fn admitted(&self, group: GroupKey) -> Vec<GroupKey> {
        let here = self.groups.get(&group);
        here.map(|here| here.further.admitted.iter().copied().collect()).unwrap_or_default()
    }

    /// Another node has an address that this one has in a group: the group goes on without it.
    pub(super) fn withhold(&mut self, address: GroupKey) {
        let group = self.group_of(address);
        self.note_withheld(group, address);
        let Some(here) = self.groups.get_mut(&group) else { return };
        if here.further.admitted.remove(&address) {
            here.further.leaving.insert(address);
            self.reshaped.insert(group);
            self.reshape(group);
        } else if !here.further.leaving.contains(&address) {
            self.quorum.give_up(address);
        }
    }

    /// The kernel has confirmed that it has just what it was told to have of the group.
    pub(super) fn confirm_shape(&mut self, group: GroupKey) {
        let Some(here) = self.groups.get_mut(&group) else { return };
        for address in std::mem::take(&mut here.further.leaving) {
            self.address_is_gone(group, address, Purpose::Free);
        }
    }

    /// The kernel has nothing of the group any more, nor is it on its way: what was claimed with it
    /// goes where the group goes.
    pub(super) fn release_further(&mut self, group: GroupKey, purpose: Purpose) {
        let Some(here) = self.groups.get_mut(&group) else { return };
        let further = std::mem::take(&mut here.further);
        let mut addresses: BTreeSet<GroupKey> = further.in_kernel().collect();
        addresses.extend(self.further(group));
        for address in addresses {
            self.address_is_gone(group, address, purpose);
        }
    }

    pub(super) fn address_is_gone(&mut self, group: GroupKey, address: GroupKey, purpose: Purpose) {
        if self.kernel_has_elsewhere(address, group) {
            return;
        }
        self.quorum.give_up(address);
        self.quorum.note_change();
        let Some(claim) = self.claims.latest(address).copied() else { return };
        if !self.ours(&claim) || claim.tenure != Tenure::Held {
            return;
        }
        let tenure = match purpose {
            Purpose::MoveTo(to) => Tenure::MovingTo(to),
            Purpose::Free | Purpose::GiveWay => self.successor(address),
        };
        self.give_further(&claim, tenure);
    }

    pub(super) fn give_further(&mut self, claim: &Claim, tenure: Tenure) {
        if tenure != Tenure::Free {
            let overdue = self.env.now + self.env.configuration.timing.offer_wait * 2;
            self.parted.insert(claim.group, overdue);
        }
        let revised = self.revised(claim, tenure);
        self.publish(revised);
    }

    /// Who shall have an address that the new file of this node has in a group of another node: that
    /// one, without the others having to find out.
    pub(super) fn successor(&self, address: GroupKey) -> Tenure {
        let group = self.group_of(address);
        let owner = if group == address { None } else { self.current_owner(group) };
        match owner.filter(|owner| *owner != self.env.configuration.me) {
            Some(owner) => Tenure::MovingTo(owner),
            None => Tenure::Free,
        }
    }

    /// What was given to a node that has not claimed it is free for everybody: its file may have it
    /// in no group that it holds.
    pub(super) fn free_what_was_not_taken(&mut self) {
        let now = self.env.now;
        let due: Vec<GroupKey> =
            self.parted.iter().filter(|(_, at)| **at <= now).map(|(address, _)| *address).collect();
        for address in due {
            self.parted.remove(&address);
            let Some(claim) = self.claims.latest(address).copied() else { continue };
            let waiting = self.ours(&claim) && matches!(claim.tenure, Tenure::MovingTo(_));
            // A group that this node could have it takes back by itself.
            if waiting && !self.env.configuration.groups.contains_key(&address) {
                let revised = self.revised(&claim, Tenure::Free);
                self.publish(revised);
            }
        }
    }

    /// When [`Node::free_what_was_not_taken`] has something to do.
    pub(super) fn parted_deadline(&self) -> Instant {
        self.parted.values().copied().min().unwrap_or(Instant::NEVER)
    }

    /// Whether every group held here has all its addresses.
    pub(super) fn is_whole(&self) -> bool {
        self.groups.iter().all(|(group, here)| {
            let further =
                self.env.configuration.groups.get(group).map_or(0, |it| it.further().len());
            here.holding == Holding::Idle
                || here.further.leaving.is_empty() && here.further.admitted.len() == further
        })
    }

    /// The addresses of a group held here that this node does not answer for.
    pub(super) fn withheld(&self, group: GroupKey) -> Option<Withheld> {
        let here = self.groups.get(&group)?;
        if !matches!(here.holding, Holding::Adding { .. } | Holding::Held { .. }) {
            return None;
        }
        let missing = |address: &GroupKey| !here.further.admitted.contains(address);
        let missing: Vec<GroupKey> = self.further(group).into_iter().filter(missing).collect();
        let address = *missing.first()?;
        let owner = self.current_owner(address).filter(|owner| *owner != self.env.configuration.me);
        let count = u16::try_from(missing.len()).unwrap_or(u16::MAX);
        Some(Withheld { address, owner, count })
    }
}
