//! What would move, before it does: the same functions, on a copy.
//!
//! A copy of this node is shown to itself as each living node in turn: with that node's groups,
//! phase, checks and load, and with all others as peers. First the groups that nobody has are dealt,
//! because that is what happens first. What `balance` and `remedy` would offer
//! then is taken as done, and it is the next node's turn, until nobody offers anything any more. So
//! there is no second opinion on placement that could differ from the first; what may differ is the
//! world, which goes on. Called on a copy of a node, on a thread that nobody waits for; nothing
//! is sent and nothing changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::claims::holder;
use super::fitness::Record;
use super::group::Holding;
use super::load::Meter;
use super::membership::low;
use super::node::Node;
use super::ownership::GroupHere;
use super::peers::Peer;
use super::types::{
    Cause, Claim, Configuration, Epoch, GroupKey, Incarnation, Instant, MoveReason, NodeId,
    NodePhase, Tenure, Verdict,
};

/// Between two looks at the same node: longer than anything rests but what has been given away.
const ROUND: Duration = Duration::from_secs(61);
/// Looks at all nodes at most; of every ten groups one may move at each.
const ROUNDS_MAX: usize = 64;

/// What is to be different from now.
#[derive(Clone, Debug)]
pub enum Hypothesis {
    /// These nodes drain.
    Without(Vec<NodeId>),
    /// All nodes have this configuration.
    Reconfigured(Box<Configuration>),
}

/// One group that would be elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlannedMove {
    /// Which.
    pub group: GroupKey,
    /// Who has it now; `None` while nobody does.
    pub from: Option<NodeId>,
    /// Who would have it; `None` if nobody would.
    pub to: Option<NodeId>,
    /// Why it would leave its owner.
    pub why: PlanReason,
}

/// Why a group would leave its owner, first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlanReason {
    /// It would be handed over for this.
    Move(MoveReason),
    /// Nobody has claimed it.
    New,
    /// The configuration has it no more.
    Removed,
    /// Its owner drains, but nobody can be offered it: it stays.
    Stays,
}

impl Node {
    /// What would move. Uses up the node, which is a copy; takes some milliseconds for each
    /// thousand groups and node.
    #[must_use]
    pub fn foresee(mut self, now: Instant, hypothesis: Hypothesis) -> Vec<PlannedMove> {
        self.env.now = self.env.now.max(now);
        self.offers.clear();
        self.promises.clear();
        let (before, load) = (self.owners(), self.meter.load(self.env.now));
        let mut reasons: BTreeMap<GroupKey, PlanReason> = BTreeMap::new();
        let leaving = self.suppose(hypothesis);
        self.suppose_dealt(&mut reasons);
        for _ in 0..ROUNDS_MAX {
            self.env.now = self.env.now + ROUND;
            self.meter = Meter::told(self.env.now, load);
            if !self.suppose_moves(&mut reasons) {
                break;
            }
        }
        let after = self.owners();
        let groups: BTreeSet<GroupKey> = before.keys().chain(after.keys()).copied().collect();
        let all = groups.into_iter().filter_map(|group| {
            let (from, to) = (before.get(&group).copied(), after.get(&group).copied());
            let stays = from == to && from.is_some_and(|from| leaving.contains(&from));
            let why = match reasons.get(&group) {
                _ if stays => PlanReason::Stays,
                Some(why) => *why,
                None => PlanReason::Removed,
            };
            (from != to || stays).then_some(PlannedMove { group, from, to, why })
        });
        all.collect()
    }

    /// Who has which configured group.
    fn owners(&self) -> BTreeMap<GroupKey, NodeId> {
        let groups = self.env.configuration.groups.keys();
        groups.filter_map(|group| Some((*group, self.current_owner(*group)?))).collect()
    }

    /// Makes it so; tells who drains by it.
    fn suppose(&mut self, hypothesis: Hypothesis) -> BTreeSet<NodeId> {
        match hypothesis {
            Hypothesis::Without(nodes) => {
                for node in &nodes {
                    if *node == self.env.configuration.me {
                        self.draining = true;
                    } else if let Some(peer) = self.peers.get_mut(node) {
                        peer.said.draining = true;
                    }
                }
                nodes.into_iter().collect()
            }
            Hypothesis::Reconfigured(configuration) => {
                let weights: BTreeMap<NodeId, u16> =
                    configuration.nodes.iter().map(|(node, it)| (*node, it.weight)).collect();
                let before = self.labels_lacking();
                self.reconfigure(*configuration);
                self.suppose_labels(&before);
                for (node, peer) in &mut self.peers {
                    peer.said.weight = weights.get(node).copied().unwrap_or(peer.said.weight);
                }
                BTreeSet::new()
            }
        }
    }

    /// Gives each group that nobody has to the first in its line. Before time goes on in the copy: in
    /// a minute in which nobody is heard this node would think that nobody hears it.
    fn suppose_dealt(&mut self, reasons: &mut BTreeMap<GroupKey, PlanReason>) {
        let mut view = self.as_seen_by(self.env.configuration.me);
        view.deal();
        for group in self.env.configuration.groups.clone().into_keys() {
            if self.claims.latest(group).and_then(holder).is_none()
                && let Some(first) = view.line(group).first()
            {
                self.suppose_owner(group, *first, Cause::FirstClaim);
                reasons.insert(group, PlanReason::New);
            }
        }
    }

    /// Lets each living node offer what it would, and takes it as done; tells whether any did.
    fn suppose_moves(&mut self, reasons: &mut BTreeMap<GroupKey, PlanReason>) -> bool {
        let me = self.env.configuration.me;
        let others = self.peers.iter().filter(|(_, peer)| peer.alive()).map(|(node, _)| *node);
        // In one order at all nodes, so that all say the same.
        let nodes: BTreeSet<NodeId> = std::iter::once(me).chain(others).collect();
        let mut moved = false;
        for node in nodes {
            let mut view = self.as_seen_by(node);
            view.plan_moves();
            for (to, offer) in std::mem::take(&mut view.offers) {
                for group in offer.groups {
                    moved = true;
                    reasons.entry(group).or_insert(PlanReason::Move(offer.reason));
                    self.suppose_owner(group, to, Cause::Drain(node));
                }
            }
            self.given.extend(view.given);
        }
        moved
    }

    /// A group is held by a node from now on.
    fn suppose_owner(&mut self, group: GroupKey, owner: NodeId, cause: Cause) {
        let epoch = self.claims.latest(group).map_or(Epoch::default(), |claim| claim.epoch).next();
        let incarnation = self.life_of(owner);
        let claim = Claim {
            group,
            epoch,
            owner,
            incarnation,
            revision: 0,
            tenure: Tenure::Held,
            support: self.support.value,
            heirs: [None, None],
            cause,
        };
        // A table that is full has no room for a group that is not configured.
        self.claims.recall(self.env.now, claim);
    }

    fn life_of(&self, node: NodeId) -> Incarnation {
        let peer = self.peers.get(&node).and_then(|peer| peer.incarnation);
        peer.unwrap_or(self.env.configuration.incarnation)
    }

    /// This node as if it were another one, which knows what this one knows.
    fn as_seen_by(&self, node: NodeId) -> Self {
        let mut view = self.clone();
        view.balance_due = view.env.now;
        // Hooks are not run for what does not happen.
        view.env.configuration.groups.values_mut().for_each(|group| group.gate = None);
        view.last_resorts.clear();
        if node != self.env.configuration.me {
            view.change_places(self, node);
        }
        view.groups =
            self.env.configuration.groups.keys().map(|key| (*key, GroupHere::new())).collect();
        for (group, here) in &mut view.groups {
            let claim = self.claims.latest(*group).filter(|claim| claim.tenure == Tenure::Held);
            if let Some(claim) = claim.filter(|claim| claim.owner == node) {
                let (ticket, epoch) = (super::types::Ticket::default(), claim.epoch);
                here.holding = Holding::Held { ticket, epoch };
            }
        }
        view
    }

    /// Puts another node in this one's place, and this one among its peers.
    fn change_places(&mut self, real: &Self, node: NodeId) {
        let me = real.env.configuration.me;
        let Some(peer) = self.peers.remove(&node) else { return };
        let timing = &real.env.configuration.timing;
        let weight = real.weight(me);
        let mut former = Peer::new(real.env.now, weight, timing.heartbeat, timing.misses);
        former.owns = real.owns(me);
        former.incarnation = Some(real.env.configuration.incarnation);
        former.incarnation_low = Some(low(real.env.configuration.incarnation));
        former.verdict = Verdict::Up;
        former.up_since = real.active_since;
        former.said.phase = Some(real.phase);
        former.said.draining = real.drains();
        former.said.software = Some(real.env.configuration.software);
        former.load = real.meter.load(real.env.now);
        former.checks = Record::of(real.env.now, &real.fitness);
        self.peers.insert(me, former);
        self.env.configuration.me = node;
        self.env.configuration.incarnation = peer.incarnation.unwrap_or(Incarnation(0));
        self.phase = peer.said.phase.unwrap_or(NodePhase::Listening);
        self.draining = peer.said.draining;
        self.unlisted_by.clear();
        self.fitness = peer.checks.unfit().collect();
        self.checks_say = self.fitness.clone();
        self.checks_say.retain(|pool, _| !real.lacks_label(node, *pool));
        self.meter = Meter::told(real.env.now, peer.load);
        if let Some(member) = self.env.configuration.nodes.get_mut(&node) {
            member.weight = peer.said.weight;
        }
    }
}
