//! What becomes of connections in a planned move, before it is made: for `buoy plan`.
//!
//! The same conditions as those by which a move decides it (`client_connections`), as far as this node can
//! know them: each node says in its heartbeats whether it can preserve connections at all
//! ([`Preserving`]); whether an owner has the addresses that it takes is known of this node only.

use super::node::Node;
use super::plan::{PlanReason, PlannedMove};
use super::types::{ConnectionsFate, GroupKey, Mode, MoveReason, NodeId, Preserving, ResetReason};

impl Node {
    /// Returns whether a node can preserve connections, as it says; of this node as configured.
    pub(super) fn preserving(&self, node: NodeId) -> Preserving {
        if node == self.env.configuration.me {
            return self.env.configuration.preserving;
        }
        self.peers.get(&node).map_or(Preserving::Unknown, |peer| peer.said.preserving)
    }

    /// Returns what would become of the connections of a group if it were moved so.
    #[must_use]
    pub fn fate_of_connections(&self, planned: &PlannedMove) -> ConnectionsFate {
        let reason = match planned.why {
            PlanReason::Move(reason) => reason,
            PlanReason::Removed => MoveReason::Operator,
            PlanReason::New | PlanReason::Stays => return ConnectionsFate::None,
        };
        let Some(from) = planned.from else { return ConnectionsFate::None };
        let Some(to) = planned.to else { return ConnectionsFate::Reset(ResetReason::NoReceiver) };
        let nodes = [from, to].map(|node| (node, self.preserving(node)));
        let unable = nodes.iter().find(|(_, it)| !self.suffices(*it, planned.group));
        if let Some((node, it)) = unable {
            return ConnectionsFate::Reset(ResetReason::Node(*node, *it));
        }
        if nodes.iter().any(|(_, it)| *it == Preserving::Unknown) {
            return ConnectionsFate::Unknown;
        }
        let Some(preserve) = self.env.configuration.preserve else {
            return ConnectionsFate::Unknown;
        };
        if preserve.brief && reason == MoveReason::Checks {
            return ConnectionsFate::Reset(ResetReason::ChecksFail);
        }
        if self.preservation.is_forwarding(planned.group) {
            return ConnectionsFate::Reset(ResetReason::FormerOwner);
        }
        let here = self.groups.get(&planned.group).filter(|_| from == self.env.configuration.me);
        if here.is_some_and(|here| here.keeper.is_none()) {
            return ConnectionsFate::Reset(ResetReason::NoOwnAddress);
        }
        ConnectionsFate::Preserved(preserve.limit)
    }

    /// Whether a node that says this can preserve connections of the group, as far as is known.
    fn suffices(&self, it: Preserving, group: GroupKey) -> bool {
        let wanted = self.env.configuration.groups.get(&group);
        let strict = wanted.is_some_and(|wanted| wanted.mode == Mode::Majority);
        it.is_able() != Some(false) && !(strict && it == Preserving::AvailabilityOnly)
    }
}
