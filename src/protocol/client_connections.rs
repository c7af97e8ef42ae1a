//! What is done for the TCP connections of clients when a group changes its owner: they stay with the
//! old one (`preservation`), or their clients are told.
//!
//! Owners tell their heirs which connections they have.
//!
//! A client that only reads would wait for a dead owner until its own keep-alive ends. Its
//! connection is unknown at the new owner, whose kernel resets it as soon as the client says
//! anything; so the new owner has it say something (`kernel/tickle`). What is decided here is who
//! is told of what, and when that is done: after the first announcement of a group that was not
//! handed over. A former owner that still serves connections tells whoever forwards to it, which has
//! them told when it stops that because the former owner is gone (`preservation`).
//!
//! A list is told without acknowledgement and adds to what was told before; the kernel side tells
//! every connection again from time to time, and forgets what is not told again. Lost are
//! connections younger than about a second, those of which a datagram was lost until they are told
//! again, and all of a group whose heirs died with its owner.

use std::collections::BTreeMap;

use super::claims::{ReplicatedClaims, holder};
use super::group::{Holding, Purpose};
use super::node::Node;
use super::ownership::GroupHere;
use super::peers::Peer;
use super::preservation::{Ended, Groups};
use super::types::{
    Action, Cause, Connection, Epoch, Fitness, GroupKey, HardwareAddress, Kept, Message,
    MoveReason, NodeId, NodePhase, Report, Rule, Tenure, Ticket,
};

/// Stands in an offer for a group whose connections are not kept.
pub(super) const NOT_KEPT: HardwareAddress = HardwareAddress([0; 6]);

/// How groups and peers stand at a node.
struct Surroundings<'a> {
    groups: &'a BTreeMap<GroupKey, GroupHere>,
    claims: &'a ReplicatedClaims,
    peers: &'a BTreeMap<NodeId, Peer>,
}

impl Groups for Surroundings<'_> {
    fn holding(&self, group: GroupKey) -> Holding {
        self.groups.get(&group).map_or(Holding::Idle, |here| here.holding)
    }

    fn owner(&self, group: GroupKey) -> Option<NodeId> {
        self.claims.latest(group).and_then(holder)
    }

    fn is_alive(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(Peer::alive)
    }
}

impl Node {
    /// Tells who would have to tell their clients of connections to a group; as many as fit one
    /// message, of one family.
    pub(super) fn share_connections(&mut self, group: GroupKey, connections: &[Connection]) {
        if !self.enforces(Rule::ShareConnections) {
            return;
        }
        let living = |node: &NodeId| self.peers.get(node).is_some_and(Peer::alive);
        let those: Vec<NodeId> = self.those_to_tell(group).filter(living).collect();
        for to in those {
            let message = Message::Connections(connections.to_vec());
            self.env.actions.push(Action::Send { to, message });
        }
    }

    /// The heirs of a group that is held, or whoever forwards to this node what it still serves.
    fn those_to_tell(&self, group: GroupKey) -> impl Iterator<Item = NodeId> + use<> {
        let here = self.groups.get(&group);
        let held = here.is_some_and(|here| matches!(here.holding, Holding::Held { .. }));
        let claim = self.claims.latest(group).filter(|claim| held && self.ours(claim));
        let heirs = claim.map(|claim| claim.heirs).unwrap_or_default();
        heirs.into_iter().flatten().chain(self.preservation.kept_for(group))
    }

    /// Hands on what a peer tells; the kernel side keeps it for a while.
    pub(super) fn on_connections(&mut self, from: NodeId, connections: Vec<Connection>) {
        self.env.actions.push(Action::Remember { from, connections });
    }

    /// Where the connections of these groups would be kept, for an offer; empty if none would. Those
    /// of a group that has a former owner are not.
    pub(super) fn keepers(&self, groups: &[GroupKey], reason: MoveReason) -> Vec<HardwareAddress> {
        let brief = match self.env.configuration.preserve {
            Some(preserve) if self.may_keep() => preserve.brief,
            Some(_) | None => return Vec::new(),
        };
        if brief && (reason == MoveReason::Checks || self.hurries) {
            return Vec::new();
        }
        let keeper = |group: &GroupKey| {
            let free = !self.preservation.is_forwarding(*group);
            self.groups.get(group).filter(|_| free).and_then(|here| here.keeper)
        };
        let keepers: Vec<_> = groups.iter().map(|one| keeper(one).unwrap_or(NOT_KEPT)).collect();
        let any = keepers.iter().any(|keeper| *keeper != NOT_KEPT);
        if any { keepers } else { Vec::new() }
    }

    /// Whether this node may keep the connections of a group that it gives away.
    pub(super) const fn may_keep(&self) -> bool {
        match self.phase {
            NodePhase::Active | NodePhase::Leaving => true,
            NodePhase::Listening | NodePhase::Resuming | NodePhase::Isolated | NodePhase::Left => {
                false
            }
        }
    }

    /// How the kernel lets a group go: it hands it over if its connections are to be kept.
    pub(super) fn parting(&mut self, group: GroupKey, ticket: Ticket) -> Action {
        let here = self.groups.get_mut(&group);
        let handed = here.and_then(|here| match here.holding {
            Holding::Removing { purpose: Purpose::MoveTo(to), .. } => {
                std::mem::take(&mut here.hands).then_some(to)
            }
            Holding::Removing { .. }
            | Holding::Idle
            | Holding::Asking { .. }
            | Holding::Adding { .. }
            | Holding::Held { .. } => None,
        });
        let (Some(to), Some(preserve)) = (handed, self.env.configuration.preserve) else {
            return Action::Release { group, ticket };
        };
        self.preservation.keep(self.env.now, group, to, preserve.limit);
        if self.phase == NodePhase::Leaving {
            self.preservation.end_by(self.leave_by);
        }
        Action::Hand { group, ticket }
    }

    /// Has the kernel forward, before it adds a group that comes with connections kept there.
    pub(super) fn forward(&mut self, group: GroupKey, from: NodeId, keeper: HardwareAddress) {
        let handed = self.claims.latest(group).is_some_and(|claim| {
            claim.owner == from && claim.tenure == Tenure::MovingTo(self.env.configuration.me)
        });
        if handed {
            self.preservation.forward(&mut self.env, group, from, keeper);
        }
    }

    /// Takes in what a former owner tells.
    pub(super) fn on_kept(&mut self, from: NodeId, list: &[Kept]) {
        self.preservation.hear(self.env.now, from, list);
    }

    /// Whether a group is not to be moved because a former owner still keeps connections to it. From
    /// a node whose checks fail, or that is to drain at once, it goes all the same, unless they are
    /// kept for long.
    pub(super) fn rests(&self, group: GroupKey) -> bool {
        let me = self.env.configuration.me;
        self.phase != NodePhase::Leaving
            && self.preservation.is_forwarding(group)
            && !(self.keeps_briefly()
                && (self.hurries || self.fitness_for(me, group) == Fitness::Unfit))
            && self.enforces(Rule::OneKeeper)
    }

    /// An operator has this node drain, and does not want to wait.
    pub(super) fn hurry(&mut self) {
        self.hurries = true;
        if self.keeps_briefly() {
            self.preservation.end_by(self.env.now);
        }
    }

    /// Whether connections are kept for no longer than requests take.
    pub(super) fn keeps_briefly(&self) -> bool {
        self.env.configuration.preserve.is_none_or(|preserve| preserve.brief)
    }

    /// Ends what is over, and tells receivers what is not.
    pub(super) fn revise_preservation(&mut self) {
        let (groups, claims, peers) = (&self.groups, &self.claims, &self.peers);
        let standing = Surroundings { groups, claims, peers };
        self.preservation.end_forwarding(&mut self.env, &standing);
        for Ended { group, to, left } in self.preservation.end_keeping(&self.env, &standing) {
            let ticket = self.ticket();
            self.env.actions.push(Action::Release { group, ticket });
            self.env.send(to, Message::Kept(vec![Kept { group, connections: Some(0) }]));
            // That requests have ended is what they do.
            if left != Some(0) || !self.keeps_briefly() {
                self.report(Report::KeptEnded { group, to, left });
            }
        }
        self.preservation.tell(&mut self.env);
    }

    /// Has the clients of the former owner told, once, when the group has just been announced.
    pub(super) fn tickle_after_announcement(&mut self, group: GroupKey) {
        let unplanned = self.claims.latest(group).is_some_and(|claim| left_behind(claim.cause));
        let Some(here) = self.groups.get_mut(&group) else { return };
        let Holding::Held { epoch, .. } = here.holding else { return };
        if here.tickled < epoch {
            here.tickled = epoch;
            if unplanned {
                self.env.actions.push(Action::Tickle { group });
            }
        }
    }
}

/// Whether whoever had the group before had no time to end its connections.
const fn left_behind(cause: Cause) -> bool {
    match cause {
        Cause::Silence(_)
        | Cause::Restart(_)
        | Cause::Deaf(_)
        | Cause::Departure(_)
        | Cause::Inability(_)
        | Cause::Removed(_)
        | Cause::AddressConflict(_) => true,
        // Of a planned move the owner has ended them, and so does the loser of a conflict.
        Cause::FirstClaim
        | Cause::Balance(_)
        | Cause::Drain(_)
        | Cause::Checks(_)
        | Cause::Placement(_)
        | Cause::HandedOver(_)
        | Cause::Operator(_)
        | Cause::Failback(_)
        | Cause::Conflict(_)
        | Cause::TakenBack(_) => false,
    }
}

/// Before any taking.
pub(super) const NEVER_TICKLED: Epoch = Epoch(0);
