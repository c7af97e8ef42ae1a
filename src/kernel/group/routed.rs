//! What a group means for its routes and rules, and how far those are. Pure, part of `group`.

use super::survey::Survey;
use super::{Group, State};
use crate::routing::Routing;

/// What is to be done with the routes and rules of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) enum RoutingPhase {
    /// None shall be here.
    Gone,
    /// What is here stays: not all addresses are here that they need.
    Kept,
    /// All shall be here.
    Wanted,
}

/// How far they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::kernel) enum Routed {
    /// Not tried yet.
    #[default]
    Pending,
    /// All are here.
    Here,
    /// Some could not be added.
    Refused,
}

impl Group {
    /// Its routes and rules with what is to be done with them; `None` if it has none.
    pub(in crate::kernel) fn routing_phase(&self) -> Option<RoutingPhase> {
        if self.configured.routing.is_empty() {
            return None;
        }
        Some(match self.state {
            State::Adding { .. } | State::Held { .. } if self.based => RoutingPhase::Wanted,
            State::Adding { .. } | State::Held { .. } | State::Handed => RoutingPhase::Kept,
            State::Idle | State::Removing { .. } | State::Withdrawing { .. } => RoutingPhase::Gone,
        })
    }

    /// Its routes and rules.
    pub(in crate::kernel) fn routing(&self) -> &Routing {
        &self.configured.routing
    }

    /// Whether all its routes and rules are here.
    pub(in crate::kernel) fn is_routed(&self) -> bool {
        self.configured.routing.is_empty() || self.routed == Routed::Here
    }

    /// Takes in how far they are. Returns whether that is news.
    pub(in crate::kernel) fn set_routed(&mut self, routed: Routed) -> bool {
        std::mem::replace(&mut self.routed, routed) != routed
    }

    /// Replaces them, without looking at the addresses.
    pub(super) fn reroute(&mut self, routing: &Routing) {
        if self.configured.routing != *routing {
            self.configured.routing.clone_from(routing);
            self.routed = Routed::Pending;
        }
    }

    /// Notes in what was found of the addresses how far routes and rules are, and whether the
    /// addresses that they need are here.
    pub(super) fn note_routed(&mut self, survey: &mut Survey) {
        self.based = survey.has_all_addresses();
        survey.unrouted = !self.is_routed();
        survey.misrouted = survey.unrouted && self.routed == Routed::Refused && self.based;
    }
}
