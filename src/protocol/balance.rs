//! Each node carries its weighted share; owners give, nobody takes.
//!
//! Every second each owner counts. While it carries more than its share it offers a group to the
//! least loaded node that carries less than its own, as long as it stays at least as loaded as
//! the receiver becomes: `(mine - 1) / my weight >= (its + 1) / its weight`. Every such move
//! lowers the sum of squares of the loads, so moves end, within one of the shares, and there are
//! no more of them than the surplus was. Receivers check the same with
//! their own count, promises included, so that two owners cannot overload one receiver. A drain,
//! an order and a fail-back use the same offers with other reasons.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::node::Node;
use super::succession::rendezvous;
use super::tally::Tally;
use super::types::{
    Cause, GROUPS_PER_OFFER, GroupKey, Instant, MoveReason, NodeId, NodePhase, Rule, Strategy,
    Tenure,
};

/// Between two looks at the balance.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// A group that was moved for balance is not moved for balance again before this: nodes may
/// disagree for a while on who flaps.
const REST: Duration = Duration::from_secs(60);
/// Of all groups, the part that one owner may give for balance at each look: one in ten.
const BUDGET_DIVISOR: usize = 10;

/// What is to be offered to whom.
#[derive(Debug, Default)]
pub(super) struct Parcels(BTreeMap<NodeId, Vec<GroupKey>>);

impl Parcels {
    /// Adds a group; tells whether there was room in the offer to that node.
    pub(super) fn put(&mut self, to: NodeId, group: GroupKey) -> bool {
        let parcel = self.0.entry(to).or_default();
        let fits = parcel.len() < GROUPS_PER_OFFER;
        if fits {
            parcel.push(group);
        }
        fits
    }
}

/// Nodes that share some groups, and those of the groups that this node could give.
struct Share<'a> {
    nodes: &'a [NodeId],
    candidates: Vec<GroupKey>,
}

/// Who should have which of the groups that nobody has claimed.
#[derive(Clone, Debug, Default)]
pub(super) struct Deal {
    among: Vec<(NodeId, u16)>,
    pub(super) takers: BTreeMap<GroupKey, NodeId>,
}

impl Deal {
    /// Forgets the deal: the configuration has changed.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Node {
    /// Deals the groups that nobody has claimed over the acting nodes: all nodes that see the
    /// same nodes deal alike. Kept until the acting nodes change.
    pub(super) fn deal(&mut self) {
        let me = self.env.configuration.me;
        let mut among: Vec<(NodeId, u16)> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.takes())
            .map(|(node, _)| (*node, self.weight(*node)))
            .collect();
        if self.may_take() {
            among.push((me, self.weight(me)));
        }
        if among == self.deal.among {
            return;
        }
        let mut tally = Tally::default();
        for (node, weight) in &among {
            tally.enter(*node, *weight, None);
        }
        let mut takers = BTreeMap::new();
        for (group, wanted) in &self.env.configuration.groups {
            if wanted.strategy != Strategy::Balance || !wanted.prefer.is_empty() {
                continue;
            }
            let taker = among.iter().min_by_key(|(node, weight)| {
                let company = self.company_order(*group, *node, None, &tally.at);
                (company, tally.load_with_one_more(*node), rendezvous(*group, *node, *weight))
            });
            if let Some((taker, _)) = taker {
                tally.add(*taker);
                self.place(&mut tally.at, *group, *taker);
                takers.insert(*group, *taker);
            }
        }
        self.deal = Deal { among, takers };
    }

    /// Looks for groups that should be elsewhere and offers them.
    pub(super) fn plan_moves(&mut self) {
        if self.drains() || self.phase == NodePhase::Leaving {
            if matches!(self.phase, NodePhase::Active | NodePhase::Leaving) {
                self.give_everything();
            }
            if self.phase == NodePhase::Active {
                // What nobody can be given, and nobody is to have.
                self.heed_checks(true);
            }
            return;
        }
        if self.phase != NodePhase::Active {
            return;
        }
        let looks = self.env.now >= self.balance_due;
        self.heed_checks(looks);
        if !looks {
            return;
        }
        let jitter = Duration::from_millis(self.env.random.below(100));
        self.balance_due = self.env.now + LOOK + jitter;
        if self.kernel_work.hangs() {
            return;
        }
        if self.holds_still() {
            return;
        }
        self.fail_back();
        self.keep_company();
        self.give_for_balance();
    }

    /// Groups that a new configuration adds are dealt and settle before the balance is looked at: who
    /// gives first and who takes first would otherwise be a matter of milliseconds, and a plan a
    /// guess.
    pub(super) fn rest_after_reload(&mut self) {
        let settled = self.env.now + self.env.configuration.timing.unclaimed_wait + LOOK * 3;
        self.balance_due = self.balance_due.max(settled);
    }

    /// Offers all groups of a draining or leaving node, each to the least loaded receiver.
    fn give_everything(&mut self) {
        let mut tally = self.tally();
        let mut parcels = Parcels::default();
        let ready = self.ready();
        for group in self.movable() {
            if self.waits_for(group) || !self.may_leave(group, MoveReason::Drain) {
                continue;
            }
            let Some(to) = self.best_receiver(group, &ready, &tally) else { continue };
            if parcels.put(to, group) {
                tally.add(to);
                self.place(&mut tally.at, group, to);
            }
        }
        self.send_parcels(parcels, MoveReason::Drain);
    }

    /// Offers what has been put together.
    pub(super) fn send_parcels(&mut self, parcels: Parcels, reason: MoveReason) {
        for (to, mut parcel) in parcels.0 {
            parcel.retain(|group| self.may_leave(*group, reason));
            if parcel.is_empty() {
                continue;
            }
            if reason == MoveReason::Balance {
                self.note_given(&parcel);
            }
            self.offer(to, reason, parcel, None);
        }
    }

    /// The one of some nodes that a group should go to now: the fittest, of those one that does not
    /// flap if there is any, of those the one where it is in the best company, preferred nodes first,
    /// then the least loaded. `None` also while it cannot be offered anything for a moment.
    pub(super) fn best_receiver(
        &self,
        group: GroupKey,
        ready: &[NodeId],
        tally: &Tally,
    ) -> Option<NodeId> {
        let wanted = self.env.configuration.groups.get(&group);
        let priority = wanted.filter(|wanted| wanted.strategy == Strategy::Priority);
        let mut able = ready.to_vec();
        able.retain(|node| self.unable(*node, group).is_none());
        let mut receivers = self.fittest(group, able);
        let steady = |node: &NodeId| !self.flaps(*node) && !self.flaps_for(*node, group);
        if receivers.iter().any(steady) {
            receivers.retain(steady);
        }
        let me = self.env.configuration.me;
        let company = |node: &NodeId| self.company_order(group, *node, Some(me), &tally.at);
        let best = receivers.iter().map(company).min();
        receivers.retain(|node| !self.offers.contains_key(node) && Some(company(node)) == best);
        receivers.sort_by_cached_key(|node| {
            let place = priority.and_then(|wanted| wanted.prefer.place(*node));
            let order = rendezvous(group, *node, self.weight(*node));
            (place.unwrap_or(usize::MAX), tally.load_with_one_more(*node), order)
        });
        receivers.first().copied()
    }

    /// Nodes that may be offered groups, but for an offer that is under way.
    pub(super) fn ready(&self) -> Vec<NodeId> {
        let ready = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.receives() && peer.declined_until <= self.env.now);
        ready.map(|(node, _)| *node).collect()
    }

    /// Nodes that may be offered groups now, without haste: those that flap are left out.
    pub(super) fn receivers(&self) -> Vec<NodeId> {
        let mut receivers = self.ready();
        receivers.retain(|node| !self.offers.contains_key(node) && !self.flaps(*node));
        receivers
    }

    pub(super) fn flaps(&self, node: NodeId) -> bool {
        self.enforces(Rule::Damping)
            && self.peers.get(&node).is_some_and(|peer| peer.flaps(self.env.now))
    }

    /// Groups this node holds that are not in an offer.
    pub(super) fn movable(&self) -> Vec<GroupKey> {
        let offered = |group| self.offers.values().any(|offer| offer.groups.contains(group));
        self.groups
            .iter()
            .filter(|(group, here)| here.holding.meant() && !offered(group) && !self.rests(**group))
            .map(|(group, _)| *group)
            .collect()
    }

    /// Offers groups to preferred nodes that have been well for long enough.
    fn fail_back(&mut self) {
        if self.env.configuration.groups.values().all(|wanted| wanted.failback.is_none()) {
            return;
        }
        let me = self.env.configuration.me;
        let mut parcels = Parcels::default();
        let receivers = self.receivers();
        let mut tally = self.tally();
        for group in self.movable() {
            let Some(wanted) = self.env.configuration.groups.get(&group) else { continue };
            let Some(after) = wanted.failback.filter(|_| self.is_present(group)) else { continue };
            let well = |node: &NodeId| {
                let since = self.peers.get(node).map(|peer| {
                    peer.up_since.max(peer.checks.since(wanted.pool).unwrap_or(Instant::START))
                });
                receivers.contains(node)
                    && self.unable(*node, group).is_none()
                    && self.among_fittest(*node, wanted.pool)
                    && !self.checks_flap(*node, wanted.pool)
                    && !self.worsens(group, (me, *node), MoveReason::Failback, &tally.at)
                    && since.is_some_and(|since| self.env.now.since(since) >= after)
            };
            if self.ordered(group) {
                continue;
            }
            let mut better = wanted.prefer.places().take_while(|nodes| !nodes.contains(&me));
            let by_load = |node: &NodeId| {
                let order = rendezvous(group, *node, self.weight(*node));
                (tally.load_with_one_more(*node), order)
            };
            let best = |nodes: &[NodeId]| {
                nodes.iter().copied().filter(|node| well(node)).min_by_key(by_load)
            };
            if let Some(to) = better.find_map(best).filter(|to| parcels.put(*to, group)) {
                tally.add(to);
                self.place(&mut tally.at, group, to);
            }
        }
        self.send_parcels(parcels, MoveReason::Failback);
    }

    /// Whether the operator put the group here: then it stays.
    pub(super) fn ordered(&self, group: GroupKey) -> bool {
        self.claims.latest(group).is_some_and(|claim| matches!(claim.cause, Cause::Operator(_)))
    }

    /// Offers what is above the share of this node; not while a peer has just come back, because
    /// its claims may conflict with others and loads are not what they seem.
    fn give_for_balance(&mut self) {
        if self.hears_newcomer() {
            return;
        }
        let mut budget = (self.env.configuration.groups.len() / BUDGET_DIVISOR).max(1);
        let classes = self.classes();
        let candidates = self.movable().into_iter().filter(|group| {
            let wanted = self.env.configuration.groups.get(group);
            wanted.is_some_and(|wanted| wanted.strategy == Strategy::Balance)
                && !self.ordered(*group)
                && self.settled(*group)
                && self.is_present(*group)
                && !self.gave_lately(*group)
        });
        let mut by_class: BTreeMap<usize, Vec<GroupKey>> = BTreeMap::new();
        for group in candidates {
            by_class.entry(classes.of_group(self, group)).or_default().push(group);
        }
        let mut parcels = Parcels::default();
        for (class, candidates) in by_class {
            let share = Share { nodes: &classes.nodes[class], candidates };
            let tally = self.tally_of(&classes, class);
            self.give_of_class(share, tally, &mut budget, &mut parcels);
        }
        self.send_parcels(parcels, MoveReason::Balance);
    }

    /// Returns whether a peer that does not flap has come back just now.
    pub(super) fn hears_newcomer(&self) -> bool {
        let now = self.env.now;
        let mut steady = self.peers.values().filter(|peer| peer.alive() && !peer.flaps(now));
        steady.any(|peer| now.since(peer.up_since) < LOOK)
    }

    /// Puts together what is above the share of this node in one class.
    fn give_of_class(
        &self,
        share: Share<'_>,
        mut tally: Tally,
        budget: &mut usize,
        parcels: &mut Parcels,
    ) {
        let me = self.env.configuration.me;
        let Share { nodes, candidates } = share;
        let acting = self.peers.iter().filter(|(_, peer)| peer.takes()).map(|(node, _)| *node);
        let acting: Vec<NodeId> = acting.filter(|node| nodes.contains(node)).collect();
        let receivers = self.receivers();
        // For each receiver what it could get, the last first; what another got is left in.
        let mut queues: BTreeMap<NodeId, Vec<GroupKey>> = BTreeMap::new();
        let mut left: BTreeSet<GroupKey> = candidates.iter().copied().collect();
        let mut kept = false;
        while *budget > 0 {
            // What would take a node above its share it would give away again, to the one that
            // cannot be offered anything by this node (seed 12726).
            let fits = |node: &NodeId| !kept || tally.stays_within_share(*node);
            let below = acting.iter().copied().filter(|node| tally.improves(me, *node));
            let below = below.filter(fits);
            let Some(to) = below.min_by_key(|node| (tally.load_with_one_more(*node), *node)) else {
                break;
            };
            let queue = queues.entry(to).or_insert_with(|| self.queue_for(to, &candidates));
            let worse = |group| self.worsens(group, (me, to), MoveReason::Balance, &tally.at);
            while queue.last().is_some_and(|group| !left.contains(group) || worse(*group)) {
                queue.pop();
            }
            let best = queue.last().copied();
            if !receivers.contains(&to) || (best.is_none() && !left.is_empty()) {
                // Kept for a node that cannot be offered it yet: given to the next best it would
                // have to move twice (seed 3770).
                kept = true;
                tally.remove(me);
                tally.add(to);
                continue;
            }
            let Some(group) = best else { break };
            left.remove(&group);
            parcels.put(to, group);
            tally.remove(me);
            tally.add(to);
            self.place(&mut tally.at, group, to);
            *budget -= 1;
        }
    }

    /// Which of some groups a node could get for balance; the one that it gets first is last.
    fn queue_for(&self, to: NodeId, candidates: &[GroupKey]) -> Vec<GroupKey> {
        let weight = self.weight(to);
        let mut queue = candidates.to_vec();
        queue.retain(|group| !self.flaps_for(to, *group) && self.unable(to, *group).is_none());
        queue.sort_by_cached_key(|group| Reverse(rendezvous(*group, to, weight)));
        queue
    }

    fn flaps_for(&self, node: NodeId, group: GroupKey) -> bool {
        let wanted = self.env.configuration.groups.get(&group);
        wanted.is_some_and(|wanted| self.checks_flap(node, wanted.pool))
    }

    /// Whether this node answers for a group already: what it has only claimed is not passed on.
    pub(super) fn is_present(&self, group: GroupKey) -> bool {
        let here = self.groups.get(&group).map(|here| here.holding);
        matches!(here, Some(super::group::Holding::Held { .. }))
    }

    /// Whether a group has been here long enough to be moved for balance.
    pub(super) fn settled(&self, group: GroupKey) -> bool {
        self.claims.entry(group).is_some_and(|entry| {
            let balanced = matches!(entry.claim.cause, Cause::Balance(_) | Cause::Placement(_));
            let rests = self.env.configuration.load_aware && self.enforces(Rule::LoadRests);
            let least = if balanced || rests { REST } else { LOOK };
            self.env.now.since(entry.since) >= least && entry.claim.tenure == Tenure::Held
        })
    }

    /// Whether a receiver that checks for itself finds that one more group from `from` improves
    /// the balance.
    pub(super) fn accepts_for_balance(&self, from: NodeId, tally: &mut Tally) -> bool {
        let me = self.env.configuration.me;
        if self.enforces(Rule::ReceiverChecksBalance) && !tally.improves(from, me) {
            return false;
        }
        tally.remove(from);
        tally.add(me);
        true
    }

    /// Names new heirs when the nodes that can take have changed, when the groups of this node would
    /// load one of them by more than one group too much, or when one would be in worse company than it
    /// needs to be; and takes back support that this node has lost since it claimed.
    pub(super) fn revise_heirs(&mut self) {
        if self.env.now < self.heirs_due || !matches!(self.phase, NodePhase::Active) {
            return;
        }
        self.heirs_due = self.env.now + LOOK;
        let able: Vec<NodeId> =
            self.peers.iter().filter(|(_, peer)| peer.takes()).map(|(node, _)| *node).collect();
        let mut tally = self.tally();
        let held: Vec<GroupKey> = self
            .groups
            .iter()
            .filter(|(_, here)| here.holding.meant())
            .map(|(group, _)| *group)
            .collect();
        let mut named = tally.clone();
        let mut revised = Vec::new();
        let mut ill_named = false;
        for group in held {
            let Some(claim) = self.claims.latest(group).copied() else { continue };
            if !self.ours(&claim) || claim.tenure != Tenure::Held {
                continue;
            }
            named.add_some(claim.heirs[0]);
            let heirs = self.heirs(group, &mut tally);
            ill_named |= self.is_ill_heir(group, claim.heirs[0], heirs[0], &tally.at);
            let support = claim.support.min(self.support.value);
            if heirs != claim.heirs || support != claim.support {
                let claim = self.revised(&claim, Tenure::Held);
                revised.push(super::types::Claim { heirs, support, ..claim });
            }
        }
        if able != self.heirs_among || named.exceeds(&tally, &able) || ill_named {
            for claim in revised {
                self.publish(claim);
            }
        }
        self.heirs_among = able;
    }
}
