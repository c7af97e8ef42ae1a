//! Who is next: computed by every node alike, from the last claim and from who lives.
//!
//! Nothing is elected. The owner has named two heirs in its claim; after them all nodes stand in
//! a weighted rendezvous order of (group, node), the same everywhere. The first who can take
//! takes at once; each further one waits one rank skew longer, in case the one before knows
//! something that others do not (its link is down, it lacks the group, it believes otherwise).

use std::time::Duration;

use super::claims::Entry;
use super::membership::low;
use super::node::Node;
use super::types::{
    Cause, Claim, GroupKey, Instant, LastResort, NodeId, NodePhase, Rule, Strategy, Tenure,
    Verdict, mix,
};

/// Why a group may be taken by whoever is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vacancy {
    /// Becomes the cause of the claim.
    pub(super) cause: Cause,
    /// Waited by the first in line already.
    pub(super) grace: Duration,
}

/// Place of a node in the common order of a group: lower is earlier. Weighted rendezvous hashing
/// by -ln(u)/weight, in integers: log2 of the hash by its leading zeros and following bits.
pub(super) fn rendezvous(group: GroupKey, node: NodeId, weight: u16) -> (u64, NodeId) {
    let hash = mix(group.0 ^ mix(u64::from(node.0)));
    let zeros = u64::from(hash.leading_zeros().min(62));
    let fraction = (hash << (zeros + 1)) >> 32;
    let minus_log2 = ((zeros + 1) << 32) - fraction;
    (minus_log2 / u64::from(weight.max(1)), node)
}

impl Node {
    /// Whether the group may be taken by the next in line, and why; `None` while its owner has it.
    pub(super) fn vacancy(&self, group: GroupKey) -> Option<Vacancy> {
        let timing = &self.env.configuration.timing;
        let Some(entry) = self.claims.entry(group) else {
            return Some(Vacancy { cause: Cause::FirstClaim, grace: timing.unclaimed_wait });
        };
        let claim = &entry.claim;
        let at_once = |cause| Some(Vacancy { cause, grace: Duration::ZERO });
        let gone = self.gone(claim);
        match claim.tenure {
            Tenure::Held => gone.and_then(at_once),
            Tenure::Free if claim.cause == Cause::Removed(claim.owner) => at_once(claim.cause),
            // Time to ask who answers, also for the first in line.
            Tenure::Free if claim.cause == Cause::AddressConflict(claim.owner) => {
                Some(Vacancy { cause: claim.cause, grace: self.foresight() })
            }
            Tenure::Free => {
                let cause = gone.unwrap_or(Cause::Inability(claim.owner));
                Some(Vacancy { cause, grace: self.grace_of_a_holder(entry) })
            }
            Tenure::MovingTo(to) => self.vacancy_under_way(entry, to, gone),
        }
    }

    /// How long it is waited for a node that lives and held the group when the claim came that frees
    /// it now: it goes on, and says so as soon as it hears of that. One that was displaced long ago has
    /// heard of it, and has given way.
    fn grace_of_a_holder(&self, entry: &Entry) -> Duration {
        let timing = &self.env.configuration.timing;
        let Some((node, life, at)) = entry.displaced else { return Duration::ZERO };
        let peer = self.peers.get(&node).filter(|peer| peer.alive());
        let lives = peer.is_some_and(|peer| peer.incarnation_low == Some(low(life)));
        let goes_on = lives
            && entry.since.since(at) <= timing.detection()
            && self.enforces(Rule::HolderGoesOn);
        if goes_on { timing.offer_wait } else { Duration::ZERO }
    }

    /// A group between two nodes: the receiver's, while it lives; else it goes back.
    fn vacancy_under_way(&self, entry: &Entry, to: NodeId, gone: Option<Cause>) -> Option<Vacancy> {
        let me = self.env.configuration.me;
        let claim = &entry.claim;
        let wait = self.env.configuration.timing.offer_wait * 2;
        let cause = gone.unwrap_or(Cause::TakenBack(to));
        let at_once = Some(Vacancy { cause, grace: Duration::ZERO });
        if !self.enforces(Rule::MovingIsOwned) {
            return at_once;
        }
        if to == me {
            let cause = self.promised_cause(claim.group, claim.owner);
            return Some(Vacancy { cause, grace: Duration::ZERO });
        }
        let receiver_lives =
            matches!(self.verdict(to), Verdict::Up | Verdict::Suspect | Verdict::Indirect);
        if claim.owner == me {
            let overdue = self.env.now.since(entry.since) >= wait && self.enforces(Rule::TakeBack);
            return if !receiver_lives || overdue { at_once } else { None };
        }
        match (gone, receiver_lives) {
            (None, _) => None,
            (Some(_), false) => at_once,
            (Some(cause), true) => Some(Vacancy { cause, grace: wait }),
        }
    }

    /// Why the writer of a claim does not have the group any more; `None` if it has.
    pub(super) fn gone(&self, claim: &Claim) -> Option<Cause> {
        let owner = claim.owner;
        if owner == self.env.configuration.me {
            let this_life = claim.incarnation == self.env.configuration.incarnation;
            return (!this_life).then_some(Cause::Restart(owner));
        }
        let Some(peer) = self.peers.get(&owner) else {
            return Some(Cause::Silence(owner));
        };
        let same_life = peer.incarnation_low.is_none_or(|life| life == low(claim.incarnation));
        match peer.verdict {
            Verdict::Left => Some(Cause::Departure(owner)),
            Verdict::Dead | Verdict::Unknown => Some(Cause::Silence(owner)),
            Verdict::Up | Verdict::Suspect | Verdict::Indirect
                if !same_life && self.enforces(Rule::IncarnationChecked) =>
            {
                Some(Cause::Restart(owner))
            }
            Verdict::Up
                if self.isolated_since(peer, claim) && self.enforces(Rule::IsolatedIsGone) =>
            {
                Some(Cause::Deaf(owner))
            }
            Verdict::Up if self.cannot_lease(peer, claim) && self.enforces(Rule::HeardByHolder) => {
                Some(Cause::Deaf(owner))
            }
            Verdict::Suspect if self.is_unprotected(owner, peer, claim.group) => {
                Some(Cause::Silence(owner))
            }
            Verdict::Up | Verdict::Suspect | Verdict::Indirect => None,
        }
    }

    /// Whether a group may be taken although the kernel of its silent owner answers.
    fn is_unprotected(&self, owner: NodeId, peer: &super::peers::Peer, group: GroupKey) -> bool {
        peer.kernel.stands_in()
            && (self.taken_at_once(group, owner) || self.is_without(peer, group))
    }

    /// Whether the owner of a group in mode majority has said since its claim came that it hears no
    /// majority of the voters. It cannot answer then, and a node with such a majority can (L7 in
    /// docs/faults.md).
    fn cannot_lease(&self, peer: &super::peers::Peer, claim: &Claim) -> bool {
        let known = self.claims.entry(claim.group).map(|entry| entry.since);
        peer.lacks_voters
            && peer.heartbeat_at > known
            && self.strict(claim.group)
            && self.majority_in_touch()
    }

    /// Whether the owner has said that it is isolated since its claim came: an isolated node takes
    /// nothing, so a claim that comes later was written when it was not (seed 18178).
    fn isolated_since(&self, peer: &super::peers::Peer, claim: &Claim) -> bool {
        let known = self.claims.entry(claim.group).map(|entry| entry.since);
        peer.said.phase == Some(NodePhase::Isolated) && peer.heartbeat_at > known
    }

    /// Whether this node may own more: acting, not draining, heard by others.
    pub(super) fn may_take(&self) -> bool {
        self.acts() && !(self.drains() && self.enforces(Rule::DrainingTakesNothing))
    }

    /// The same, drained or not.
    pub(super) fn acts(&self) -> bool {
        let mute = self.mute && self.enforces(Rule::MuteTakesNothing);
        self.owns(self.env.configuration.me) && self.phase == NodePhase::Active && !mute
    }

    /// Whether a node may own groups at all; a witness may not.
    pub(super) fn owns(&self, node: NodeId) -> bool {
        self.env.configuration.nodes.get(&node).is_some_and(|member| member.owns)
    }

    /// Those who can take the group, the next first, as this node sees it. Of peers it is known
    /// whether they act; whether they have the link and know the group shows when they do not
    /// take.
    pub(super) fn line(&self, group: GroupKey) -> Vec<NodeId> {
        let mut line = self.able(group);
        match self.claims.latest(group).map(|claim| claim.tenure) {
            // Who was promised it takes it, and moves it on if need be.
            Some(Tenure::MovingTo(to)) if line.first() == Some(&to) => {
                let mut others = line.split_off(1);
                self.fittest_first(group, &mut others);
                line.extend(others);
            }
            Some(_) | None => self.fittest_first(group, &mut line),
        }
        line
    }

    /// The same whatever their checks say.
    fn able(&self, group: GroupKey) -> Vec<NodeId> {
        let me = self.env.configuration.me;
        let claim = self.claims.latest(group);
        let mut line: Vec<NodeId> = Vec::new();
        if let Some(claim) = claim {
            if let Tenure::MovingTo(to) = claim.tenure {
                line.push(to);
                line.push(claim.owner);
            }
            line.extend(claim.heirs.into_iter().flatten());
        } else {
            line.extend(self.first_choice(group));
        }
        line.extend(self.common_order(group));
        let freed = claim.filter(|claim| claim.tenure == Tenure::Free).map(|claim| claim.owner);
        let mut seen = std::collections::BTreeSet::new();
        line.retain(|node| {
            let can = if *node == me {
                self.can_take(group)
            } else {
                Some(*node) != freed && self.peers.get(node).is_some_and(super::peers::Peer::takes)
            };
            can && seen.insert(*node)
        });
        if freed == Some(me) && self.last_resort(group) == LastResort::Release {
            // To the others it is not in the line at all.
            line.retain(|node| *node != me);
            line.extend(self.can_take(group).then_some(me));
        }
        line
    }

    /// Nodes before this one in the line that are not to own the group, as far as known here. They
    /// keep their place: when checks pass at several nodes at once none has heard of the others,
    /// and all would be the first (seed 700455).
    fn refused_before(&self, group: GroupKey) -> usize {
        let released = self.last_resort(group) == LastResort::Release;
        if !released || !self.enforces(Rule::RefusedKeepPlace) {
            return 0;
        }
        let line = self.able(group);
        let before = line.iter().take_while(|node| **node != self.env.configuration.me);
        before.filter(|node| self.refuses(group, self.fitness_for(**node, group))).count()
    }

    /// Who should have a group that nobody has claimed.
    fn first_choice(&self, group: GroupKey) -> Vec<NodeId> {
        let Some(wanted) = self.env.configuration.groups.get(&group) else { return Vec::new() };
        let mut line = Vec::new();
        for nodes in wanted.prefer.places() {
            let mut nodes = nodes.to_vec();
            nodes.sort_by_cached_key(|node| rendezvous(group, *node, self.weight(*node)));
            line.extend(nodes);
        }
        if wanted.strategy == Strategy::Balance {
            line.extend(self.deal.takers.get(&group));
        }
        line
    }

    /// All nodes by the weighted order that every node computes alike.
    pub(super) fn common_order(&self, group: GroupKey) -> Vec<NodeId> {
        let nodes = self.env.configuration.nodes.keys().copied();
        let mut order: Vec<NodeId> = nodes.filter(|node| self.owns(*node)).collect();
        let salt =
            if self.enforces(Rule::CommonOrder) { 0 } else { self.env.configuration.incarnation.0 };
        order.sort_by_cached_key(|node| {
            rendezvous(GroupKey(group.0 ^ salt), *node, self.weight(*node))
        });
        order
    }

    /// When this node should take a group that has been vacant since then; `None` if never.
    pub(super) fn due(&self, group: GroupKey, vacancy: Vacancy, since: Instant) -> Option<Instant> {
        let line = self.line(group);
        let place = line.iter().position(|node| *node == self.env.configuration.me)?;
        if place > 0 && !self.enforces(Rule::RankFallback) {
            return None;
        }
        let refused = self.refused_before(group);
        // It may have been vacant for long, because nobody was to own it.
        let released = self.last_resort(group) == LastResort::Release;
        let since = if released { since.max(self.passing_since) } else { since };
        let place = u32::try_from(place + refused).unwrap_or(u32::MAX);
        let skew = self.env.configuration.timing.rank_skew;
        // Nodes that start together do not act in the same instant: the one to which the group
        // was dealt may need as long as this one has waited.
        let skew = if vacancy.cause == Cause::FirstClaim { skew + vacancy.grace } else { skew };
        Some(since + vacancy.grace + skew.saturating_mul(place))
    }

    /// The two nodes that should take a group of this node if it dies, given how much each node
    /// would carry by then; counts them in.
    pub(super) fn heirs(
        &self,
        group: GroupKey,
        tally: &mut super::tally::Tally,
    ) -> [Option<NodeId>; 2] {
        let wanted = self.env.configuration.groups.get(&group);
        let priority = wanted.filter(|wanted| wanted.strategy == Strategy::Priority);
        let mut able: Vec<NodeId> =
            self.peers.iter().filter(|(_, peer)| peer.takes()).map(|(node, _)| *node).collect();
        if able.iter().any(|node| self.unable(*node, group).is_none()) {
            able.retain(|node| self.unable(*node, group).is_none());
        }
        able = self.fittest(group, able);
        let spread = self.enforces(Rule::HeirsSpread);
        able.sort_by_cached_key(|node| {
            let preferred = priority.and_then(|wanted| wanted.prefer.place(*node));
            let preferred = preferred.unwrap_or(usize::MAX);
            let load = if spread { tally.load_with_one_more(*node) } else { 0 };
            let me = self.env.configuration.me;
            let company = self.company_order(group, *node, Some(me), &tally.at);
            (company, preferred, load, rendezvous(group, *node, self.weight(*node)))
        });
        let heirs = [able.first().copied(), able.get(1).copied()];
        if let Some(heir) = heirs[0] {
            tally.add(heir);
            self.place(&mut tally.at, group, heir);
        }
        heirs
    }

    /// When a group that is owned may become vacant by time alone.
    pub(super) fn vacancy_deadline(&self, group: GroupKey) -> Instant {
        let Some(entry) = self.claims.entry(group) else { return Instant::NEVER };
        let overdue = entry.since + self.env.configuration.timing.offer_wait * 2;
        match entry.claim.tenure {
            Tenure::MovingTo(_)
                if entry.claim.owner == self.env.configuration.me && overdue > self.env.now =>
            {
                overdue
            }
            Tenure::MovingTo(_) | Tenure::Held | Tenure::Free => Instant::NEVER,
        }
    }
}
