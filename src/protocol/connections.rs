//! Clients of a dead owner are told: owners tell their heirs which TCP connections they have.
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

use super::group::Holding;
use super::node::Node;
use super::types::{Action, Cause, Connection, Epoch, GroupKey, Message, NodeId, Rule};

impl Node {
    /// Tells who would have to tell their clients of connections to a group; as many as fit one
    /// message, of one family.
    pub(super) fn share_connections(&mut self, group: GroupKey, connections: &[Connection]) {
        if !self.holds(Rule::ShareConnections) {
            return;
        }
        let living = |node: &NodeId| self.peers.get(node).is_some_and(super::peers::Peer::alive);
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
        heirs.into_iter().flatten().chain(self.kept_for(group))
    }

    /// Hands on what a peer tells; the kernel side keeps it for a while.
    pub(super) fn on_connections(&mut self, from: NodeId, connections: Vec<Connection>) {
        self.env.actions.push(Action::Remember { from, connections });
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
        | Cause::HandedOver(_)
        | Cause::Operator(_)
        | Cause::Failback(_)
        | Cause::Conflict(_)
        | Cause::TakenBack(_) => false,
    }
}

/// Before any taking.
pub(super) const NEVER_TICKLED: Epoch = Epoch(0);
