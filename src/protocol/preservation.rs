//! Connections that stay with the old owner of a group when the group is moved in good order.
//!
//! ```text
//!   old owner                                     new owner
//!     | Offer(groups, where they are kept) --------> |  notes where
//!     | <------------- OfferAnswer(will forward)     |
//!     | its kernel: no answer for the address,       |
//!     |   no new connection, those there go on       |
//!     | Claims(MovingTo) --------------------------> |  its kernel: what begins is its own, what
//!     |                                              |  is not its own goes to the old owner;
//!     | Kept(so many are left), every second ------> |  then the address is added
//!     | Kept(0): none is left, time is up,           |
//!     |   or a third node has the group -----------> |  forwards no more
//! ```
//!
//! The old owner decides when it ends: it counts. The new owner ends it by itself when it hears
//! nothing for [`KEPT_FORGOTTEN`], or the old owner is gone: then its own kernel resets what it
//! does not know, and clients that only read are told (`connections`). There is one former owner at most: a group rests until what its former owner
//! keeps has ended (`Rule::OneKeeper`). A stop does not wait; what it moves is reset.

use std::collections::BTreeMap;
use std::time::Duration;

use super::claims::holder;
use super::group::{Holding, Purpose};
use super::node::Node;
use super::types::{
    Action, GroupKey, HardwareAddress, Instant, KEPT_MAX, Kept, Message, NodeId, NodePhase,
    Preserved, Report, Rule, Tenure, Ticket,
};

/// The receiver is told so often how many are left.
const KEPT_EVERY: Duration = Duration::from_secs(1);
/// Not told for so long, it forgets: four messages may be lost.
const KEPT_FORGOTTEN: Duration = Duration::from_secs(5);
/// Stands in an offer for a group whose connections are not kept.
pub(super) const NOT_KEPT: HardwareAddress = HardwareAddress([0; 6]);

/// At the old owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keeping {
    to: NodeId,
    until: Instant,
    connections: Option<u32>,
}

/// At the new owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forwarding {
    from: NodeId,
    until: Instant,
    connections: Option<u32>,
}

impl Forwarding {
    /// Whether the former owner has said that nothing is left.
    fn is_done(&self) -> bool {
        self.connections == Some(0)
    }
}

/// All that a node has to do with connections of former owners, its own included.
#[derive(Clone, Debug, Default)]
pub(super) struct Preservation {
    keeping: BTreeMap<GroupKey, Keeping>,
    forwarding: BTreeMap<GroupKey, Forwarding>,
    tell_at: Instant,
}

impl Node {
    /// Where the connections of these groups would be kept, for an offer; empty if none would.
    pub(super) fn keepers(&self, groups: &[GroupKey]) -> Vec<HardwareAddress> {
        if self.env.configuration.preserve.is_none() || self.phase != NodePhase::Active {
            return Vec::new();
        }
        let keeper = |group| self.groups.get(group).and_then(|here| here.keeper);
        let keepers: Vec<_> = groups.iter().map(|one| keeper(one).unwrap_or(NOT_KEPT)).collect();
        let any = keepers.iter().any(|keeper| *keeper != NOT_KEPT);
        if any { keepers } else { Vec::new() }
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
        let (Some(to), Some(limit)) = (handed, self.env.configuration.preserve) else {
            return Action::Release { group, ticket };
        };
        let keeping = Keeping { to, until: self.env.now + limit, connections: None };
        self.preservation.keeping.insert(group, keeping);
        self.preservation.tell_at = self.env.now;
        Action::Hand { group, ticket }
    }

    /// Takes in how many connections of groups that were handed over are left here.
    pub(super) fn kept_here(&mut self, counted: &[(GroupKey, u32)]) {
        for (group, connections) in counted {
            if let Some(keeping) = self.preservation.keeping.get_mut(group) {
                keeping.connections = Some(*connections);
            }
        }
    }

    /// Has the kernel forward, before it adds a group that comes with connections kept there.
    pub(super) fn forward(&mut self, group: GroupKey, from: NodeId, keeper: HardwareAddress) {
        let handed = self.claims.latest(group).is_some_and(|claim| {
            claim.owner == from && claim.tenure == Tenure::MovingTo(self.env.configuration.me)
        });
        if !handed {
            return;
        }
        let until = self.env.now + KEPT_FORGOTTEN;
        let forwarding = Forwarding { from, until, connections: None };
        self.preservation.forwarding.insert(group, forwarding);
        self.env.actions.push(Action::Forward { group, to: Some(keeper) });
    }

    /// Takes in what a former owner tells.
    pub(super) fn on_kept(&mut self, from: NodeId, list: &[Kept]) {
        let until = self.env.now + KEPT_FORGOTTEN;
        for kept in list {
            let known = self.preservation.forwarding.get_mut(&kept.group);
            if let Some(forwarding) = known.filter(|known| known.from == from) {
                forwarding.connections = kept.connections;
                forwarding.until = if forwarding.is_done() { self.env.now } else { until };
            }
        }
    }

    /// Whether a group is not to be moved because a former owner still keeps connections to it.
    pub(super) fn rests(&self, group: GroupKey) -> bool {
        self.phase != NodePhase::Leaving
            && self.preservation.forwarding.contains_key(&group)
            && self.holds(Rule::OneKeeper)
    }

    /// Who forwards to this node what it still serves of a group.
    pub(super) fn kept_for(&self, group: GroupKey) -> Option<NodeId> {
        self.preservation.keeping.get(&group).map(|keeping| keeping.to)
    }

    /// Who still serves connections to a group that others, or none, have now.
    pub(super) fn preserved(&self, group: GroupKey) -> Option<Preserved> {
        let (keeping, forwarding) = (&self.preservation.keeping, &self.preservation.forwarding);
        let here = keeping.get(&group).map(|keeping| Preserved {
            by: self.env.configuration.me,
            connections: keeping.connections,
        });
        here.or_else(|| {
            forwarding
                .get(&group)
                .map(|known| Preserved { by: known.from, connections: known.connections })
        })
    }

    /// Ends what is over, and tells receivers what is not.
    pub(super) fn revise_preservation(&mut self) {
        self.revise_forwarding();
        self.revise_keeping();
        if self.env.now < self.preservation.tell_at || self.preservation.keeping.is_empty() {
            return;
        }
        self.preservation.tell_at = self.env.now + KEPT_EVERY;
        let mut lists: BTreeMap<NodeId, Vec<Kept>> = BTreeMap::new();
        for (group, keeping) in &self.preservation.keeping {
            // Zero says that it is over, which is said when it is.
            let connections = keeping.connections.filter(|count| *count > 0);
            lists.entry(keeping.to).or_default().push(Kept { group: *group, connections });
        }
        for (to, list) in lists {
            for some in list.chunks(KEPT_MAX) {
                self.env.actions.push(Action::Send { to, message: Message::Kept(some.to_vec()) });
            }
        }
    }

    fn revise_keeping(&mut self) {
        let all: Vec<(GroupKey, Keeping)> =
            self.preservation.keeping.iter().map(|(group, keeping)| (*group, *keeping)).collect();
        for (group, keeping) in all {
            let holding = self.groups.get(&group).map_or(Holding::Idle, |here| here.holding);
            if holding.meant() {
                // It is this node's again, connections and all.
                self.preservation.keeping.remove(&group);
                continue;
            }
            let other = self.claims.latest(group).and_then(holder);
            let passed_on =
                other.is_some_and(|owner| owner != keeping.to) && self.holds(Rule::KeptForReceiver);
            let over = keeping.connections == Some(0) || self.env.now >= keeping.until || passed_on;
            // Not before the kernel has confirmed that it does not answer any more.
            if over && holding == Holding::Idle {
                self.preservation.keeping.remove(&group);
                let ticket = self.ticket();
                self.env.actions.push(Action::Release { group, ticket });
                let list = vec![Kept { group, connections: Some(0) }];
                self.env
                    .actions
                    .push(Action::Send { to: keeping.to, message: Message::Kept(list) });
                let left = keeping.connections;
                self.report(Report::KeptEnded { group, to: keeping.to, left });
            }
        }
    }

    fn revise_forwarding(&mut self) {
        let lives = |node: NodeId| self.peers.get(&node).is_some_and(super::peers::Peer::alive);
        let over = |(group, known): (&GroupKey, &Forwarding)| {
            let holding = self.groups.get(group).map_or(Holding::Idle, |here| here.holding);
            let over =
                self.env.now >= known.until || !lives(known.from) || holding == Holding::Idle;
            // Who has it told in good order that it is over has ended the connections itself.
            let left = !known.is_done() && matches!(holding, Holding::Held { .. });
            over.then_some((*group, left))
        };
        let over: Vec<_> = self.preservation.forwarding.iter().filter_map(over).collect();
        for (group, left) in over {
            self.preservation.forwarding.remove(&group);
            self.env.actions.push(Action::Forward { group, to: None });
            if left {
                self.env.actions.push(Action::Tickle { group });
            }
        }
    }

    /// When something ends, or is to be told, by time alone.
    pub(super) fn preservation_deadline(&self) -> Instant {
        let Preservation { keeping, forwarding, tell_at } = &self.preservation;
        let tell = (!keeping.is_empty()).then_some(*tell_at);
        // What is over stays until the kernel has confirmed; its event wakes the node.
        let kept = keeping.values().map(|keeping| keeping.until).filter(|at| *at > self.env.now);
        let forwarded = forwarding.values().map(|known| known.until);
        kept.chain(forwarded).chain(tell).min().unwrap_or(Instant::NEVER)
    }
}
