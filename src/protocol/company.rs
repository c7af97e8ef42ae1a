//! Which groups share a node: the rules `apart_from` and `together_with`.
//!
//! A group is apart from those of some pools: a node that has one of these gets it only if no other
//! node can have it. Pools that are together are on one node. Owners go by both when they choose whom
//! to give to and whom to name as heir, receivers when they are offered what can wait. So who is next
//! is agreed on in the claim, as always, and files that differ cost a move at most: a node gives
//! nothing to a peer whose file forbids it, because the peer declines.
//!
//! ```text
//!   apart_from:     as few as can be of the other groups on the new node
//!   together_with:  all on the node that has most of them and is fit for all: the anchor
//! ```
//!
//! No rule keeps a group from being taken: what the death of a node brings together is parted later,
//! and what it parts is brought together, by [`Node::keep_company`], as the balance would move it.
//! Each such move lowers the number of pairs that are wrong, and no move for balance or as fail-back
//! raises it, so moves end.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::balance::Parcels;
use super::claims::holder;
use super::node::Node;
use super::succession::rendezvous;
use super::tally::Tally;
use super::types::{Group, GroupKey, MoveReason, NodeId, Placement, PoolId, Rule, Tenure};

/// On which node each group is, or will be; empty where no pool has a rule about company.
#[derive(Clone, Debug, Default)]
pub(super) struct Whereabouts {
    groups: BTreeMap<GroupKey, (PoolId, NodeId)>,
    /// Groups of a pool on a node.
    counts: BTreeMap<(PoolId, NodeId), usize>,
    /// Groups of a pool anywhere.
    totals: BTreeMap<PoolId, usize>,
}

impl Whereabouts {
    /// A group of this pool is on this node, and nowhere else.
    pub(super) fn put(&mut self, group: GroupKey, pool: PoolId, node: NodeId) {
        if let Some((pool, node)) = self.groups.insert(group, (pool, node)) {
            let count = self.counts.entry((pool, node)).or_default();
            *count = count.saturating_sub(1);
        } else {
            *self.totals.entry(pool).or_default() += 1;
        }
        *self.counts.entry((pool, node)).or_default() += 1;
    }

    fn on(&self, pool: PoolId, node: NodeId) -> usize {
        self.counts.get(&(pool, node)).copied().unwrap_or_default()
    }

    fn is_on(&self, group: GroupKey, node: NodeId) -> bool {
        self.groups.get(&group).is_some_and(|(_, at)| *at == node)
    }

    /// Returns how many groups this one would meet on a node that it is to be apart from.
    pub(super) fn met(
        &self,
        rules: &Placement,
        (group, pool): (GroupKey, PoolId),
        node: NodeId,
    ) -> usize {
        let met: usize = rules.apart_from.iter().map(|other| self.on(*other, node)).sum();
        let itself = rules.apart_from.contains(&pool) && self.is_on(group, node);
        met.saturating_sub(usize::from(itself))
    }

    /// Returns how many groups this one would miss on a node that it is to be together with; those on
    /// the node `besides` are not missed.
    pub(super) fn missed(
        &self,
        rules: &Placement,
        group: GroupKey,
        node: NodeId,
        besides: Option<NodeId>,
    ) -> usize {
        let elsewhere = |pool: &PoolId| {
            let total = self.totals.get(pool).copied().unwrap_or_default();
            let besides = besides.filter(|it| *it != node).map_or(0, |it| self.on(*pool, it));
            total - self.on(*pool, node) - besides
        };
        let missed: usize = rules.together_with.iter().map(elsewhere).sum();
        let at = self.groups.get(&group).map(|(_, at)| *at);
        let itself = at.is_some_and(|at| at != node && Some(at) != besides);
        missed.saturating_sub(usize::from(itself))
    }
}

impl Node {
    /// Returns the rules about company of the pool of a group, and its pool; `None` if it has none.
    fn company_of(&self, group: GroupKey) -> Option<(&Placement, &Group)> {
        if self.env.configuration.placement.is_empty() {
            return None;
        }
        let wanted = self.env.configuration.groups.get(&group)?;
        let rules = self.env.configuration.placement.get(&wanted.pool)?;
        let any = !(rules.apart_from.is_empty() && rules.together_with.is_empty());
        any.then_some((rules, wanted))
    }

    /// Returns where the groups are, promises to this node included, if any pool has such rules.
    pub(super) fn whereabouts(&self) -> Whereabouts {
        let mut at = Whereabouts::default();
        let mut rules = self.env.configuration.placement.values();
        if rules.all(|it| it.apart_from.is_empty() && it.together_with.is_empty()) {
            return at;
        }
        for claim in self.claims.iter() {
            let stands = claim.tenure != Tenure::Held || self.gone(claim).is_none();
            if let Some(node) = holder(claim).filter(|_| stands) {
                self.place(&mut at, claim.group, node);
            }
        }
        for group in self.promises.keys() {
            self.place(&mut at, *group, self.env.configuration.me);
        }
        at
    }

    /// A group is on a node from now on.
    pub(super) fn place(&self, at: &mut Whereabouts, group: GroupKey, node: NodeId) {
        if self.env.configuration.placement.is_empty() {
            return;
        }
        if let Some(wanted) = self.env.configuration.groups.get(&group) {
            at.put(group, wanted.pool, node);
        }
    }

    /// Returns how many groups are wrong beside this one on a node: those that it is to be apart from
    /// there, and those that it is to be together with elsewhere, but on `besides`.
    pub(super) fn ill_company(
        &self,
        group: GroupKey,
        node: NodeId,
        besides: Option<NodeId>,
        at: &Whereabouts,
    ) -> usize {
        let Some((rules, wanted)) = self.company_of(group) else { return 0 };
        let met = at.met(rules, (group, wanted.pool), node);
        let missed = at.missed(rules, group, node, besides);
        let apart = if self.enforces(Rule::KeptApart) { met } else { 0 };
        let together = if self.enforces(Rule::KeptTogether) { missed } else { 0 };
        apart + together
    }

    /// Returns by what nodes are compared for a group, the least first: how many groups are wrong there,
    /// see [`Node::ill_company`], and if that cannot be helped, how many more of its pool are there, so
    /// that one pool is easily parted from the other later.
    pub(super) fn company_order(
        &self,
        group: GroupKey,
        node: NodeId,
        besides: Option<NodeId>,
        at: &Whereabouts,
    ) -> (usize, Reverse<usize>) {
        let ill = self.ill_company(group, node, besides, at);
        let Some((rules, wanted)) = self.company_of(group).filter(|_| ill > 0) else {
            return (ill, Reverse(0));
        };
        let itself = rules.apart_from.contains(&wanted.pool);
        (ill, Reverse(if itself { 0 } else { at.on(wanted.pool, node) }))
    }

    /// Returns whether a group that can wait would be in worse company on another node. What goes
    /// back to a preferred node takes those along that it is together with.
    pub(super) fn worsens(
        &self,
        group: GroupKey,
        (from, to): (NodeId, NodeId),
        reason: MoveReason,
        at: &Whereabouts,
    ) -> bool {
        let besides = (reason == MoveReason::Failback).then_some(from);
        self.ill_company(group, to, besides, at) > self.ill_company(group, from, None, at)
    }

    /// Returns whether a group would be in worse company at the heir that is named than at this one.
    pub(super) fn is_ill_heir(
        &self,
        group: GroupKey,
        named: Option<NodeId>,
        heir: Option<NodeId>,
        at: &Whereabouts,
    ) -> bool {
        let me = self.env.configuration.me;
        let ill = |node| self.ill_company(group, node, Some(me), at);
        named.zip(heir).is_some_and(|(named, heir)| ill(named) > ill(heir))
    }

    /// Returns whether this node finds too that a group is better here than at its owner, where a rule
    /// of its own file says so.
    pub(super) fn accepts_for_company(
        &self,
        from: NodeId,
        group: GroupKey,
        at: &Whereabouts,
    ) -> bool {
        let me = self.env.configuration.me;
        let Some((rules, wanted)) = self.company_of(group) else { return true };
        if self.fitness_of(me, wanted.pool) < self.fitness_of(from, wanted.pool) {
            return true;
        }
        if !rules.together_with.is_empty() && self.enforces(Rule::KeptTogether) {
            return self.anchor(rules, wanted, at) == Some(me);
        }
        let (here, there) =
            (self.ill_company(group, me, None, at), self.ill_company(group, from, None, at));
        here < there || (here == there && self.gathers_at(rules, wanted, at) == Some(me))
    }

    /// The node on which a pool gathers where no single move makes its company better: that with most of
    /// its groups. Of pools that are apart the one with the lowest number does; the other then leaves.
    fn gathers_at(&self, rules: &Placement, wanted: &Group, at: &Whereabouts) -> Option<NodeId> {
        if !rules.apart_from.iter().all(|other| wanted.pool < *other) {
            return None;
        }
        let me = self.env.configuration.me;
        let peers = self.peers.iter().filter(|(_, peer)| peer.takes()).map(|(node, _)| *node);
        let acting = peers.chain(self.may_take().then_some(me));
        let fit = acting.filter(|node| self.among_fittest(*node, wanted.pool));
        fit.max_by_key(|node| {
            let order = rendezvous(GroupKey(wanted.pool.0), *node, self.weight(*node));
            (at.on(wanted.pool, *node), Reverse(order))
        })
    }

    /// The node on which the pools that are together with a pool should be: of those that are fit for
    /// all the one with most of their groups, preferred nodes first.
    fn anchor(&self, rules: &Placement, wanted: &Group, at: &Whereabouts) -> Option<NodeId> {
        let me = self.env.configuration.me;
        let peers = self.peers.iter().filter(|(_, peer)| peer.takes()).map(|(node, _)| *node);
        let acting = peers.chain(self.may_take().then_some(me));
        let pools = &rules.together_with;
        let fit = |node: &NodeId| pools.iter().all(|pool| self.among_fittest(*node, *pool));
        let lead = pools.first().map_or(GroupKey(0), |pool| GroupKey(pool.0));
        acting.filter(fit).max_by_key(|node| {
            let count: usize = pools.iter().map(|pool| at.on(*pool, *node)).sum();
            let place = wanted.prefer.place(*node);
            let order = rendezvous(lead, *node, self.weight(*node));
            (count, Reverse(place.unwrap_or(usize::MAX)), Reverse(order))
        })
    }

    /// Offers groups that are in bad company to nodes where they are in better.
    pub(super) fn keep_company(&mut self) {
        if self.env.configuration.placement.is_empty() {
            return;
        }
        let mut tally = self.tally();
        if tally.at.groups.is_empty() {
            return;
        }
        let me = self.env.configuration.me;
        let receivers = self.receivers();
        let mut parcels = Parcels::default();
        let mut anchors: BTreeMap<PoolId, Option<NodeId>> = BTreeMap::new();
        for group in self.movable() {
            let Some((rules, wanted)) = self.company_of(group) else { continue };
            if self.ill_company(group, me, None, &tally.at) == 0 || !self.may_restore(group) {
                continue;
            }
            let to = if rules.together_with.is_empty() || !self.enforces(Rule::KeptTogether) {
                self.better_company(group, (rules, wanted), &receivers, &tally)
            } else {
                let lead = rules.together_with.first().copied().unwrap_or(wanted.pool);
                let found = anchors.entry(lead);
                let anchor = *found.or_insert_with(|| self.anchor(rules, wanted, &tally.at));
                anchor.filter(|to| receivers.contains(to) && self.unable(*to, group).is_none())
            };
            if let Some(to) = to.filter(|to| parcels.put(*to, group)) {
                tally.remove(me);
                tally.add(to);
                self.place(&mut tally.at, group, to);
            }
        }
        self.send_parcels(parcels, MoveReason::Placement);
    }

    /// The receiver at which a group meets fewest groups that it is to be apart from, if these are
    /// fewer than here; else the one at which its pool gathers, if they are as many.
    fn better_company(
        &self,
        group: GroupKey,
        (rules, wanted): (&Placement, &Group),
        receivers: &[NodeId],
        tally: &Tally,
    ) -> Option<NodeId> {
        let me = self.env.configuration.me;
        let here = self.ill_company(group, me, None, &tally.at);
        let can = receivers.iter().copied().filter(|node| {
            self.unable(*node, group).is_none()
                && self.among_fittest(*node, wanted.pool)
                && !self.checks_flap(*node, wanted.pool)
        });
        let gathering = self.gathers_at(rules, wanted, &tally.at);
        let better = can.filter(|node| {
            let there = self.ill_company(group, *node, None, &tally.at);
            there < here || (there == here && gathering == Some(*node))
        });
        better.min_by_key(|node| {
            let place = wanted.prefer.place(*node);
            let ill = self.ill_company(group, *node, None, &tally.at);
            let order = rendezvous(group, *node, self.weight(*node));
            (ill, place.unwrap_or(usize::MAX), tally.load_with_one_more(*node), order)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: PoolId = PoolId(1);
    const DNS: PoolId = PoolId(2);
    const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    /// Groups 10 and 11 of the shop on the first two nodes, 20 and 21 of DNS on the second and third.
    fn at() -> Whereabouts {
        let mut at = Whereabouts::default();
        at.put(GroupKey(10), SHOP, NODES[2]);
        at.put(GroupKey(10), SHOP, NODES[0]);
        at.put(GroupKey(11), SHOP, NODES[1]);
        at.put(GroupKey(20), DNS, NODES[1]);
        at.put(GroupKey(21), DNS, NODES[2]);
        at
    }

    #[test]
    fn groups_that_are_met_are_counted_but_for_the_group_itself() {
        let table: [(&[PoolId], u64, PoolId, [usize; 3]); 4] = [
            (&[DNS], 10, SHOP, [0, 1, 1]),
            (&[SHOP], 10, SHOP, [0, 1, 0]),
            (&[SHOP, DNS], 10, SHOP, [0, 2, 1]),
            (&[SHOP], 20, DNS, [1, 1, 0]),
        ];
        for (apart, group, pool, expected) in table {
            let rules =
                Placement { apart_from: apart.iter().copied().collect(), ..Placement::default() };
            let met = NODES.map(|node| at().met(&rules, (GroupKey(group), pool), node));
            assert_eq!(met, expected, "{group} apart from {apart:?}");
        }
    }

    #[test]
    fn groups_that_are_missed_are_counted_but_for_those_that_come_along() {
        let rules = Placement { together_with: [SHOP, DNS].into(), ..Placement::default() };
        let missed =
            |group, besides| NODES.map(|node| at().missed(&rules, GroupKey(group), node, besides));
        assert_eq!(missed(10, None), [3, 1, 2]);
        assert_eq!(missed(10, Some(NODES[0])), [3, 1, 2], "it is itself what the first node has");
        assert_eq!(missed(11, Some(NODES[1])), [1, 2, 1], "the other group there comes along");
        assert_eq!(missed(99, None), [3, 2, 3], "one that is nowhere yet");
    }
}
