//! Routes and rules of groups, as far as `reconcile` knows of them. Pure.

use super::Reconciler;
use crate::kernel::group::{Routed, RoutingPhase};
use crate::protocol::GroupKey;
use crate::routing::Routing;

impl Reconciler {
    /// Every group with routes or rules, and what is to be done with them.
    pub(in crate::kernel) fn routing_phases(&self) -> Vec<(GroupKey, RoutingPhase)> {
        let phase = |key: &GroupKey| Some((*key, self.groups.get(key)?.routing_phase()?));
        self.routed.iter().filter_map(phase).collect()
    }

    /// Notes which groups have routes or rules: few, so that the others are not looked at for that.
    pub(super) fn note_routing(&mut self) {
        let groups = self.groups.iter().filter(|(_, group)| !group.routing().is_empty());
        self.routed = groups.map(|(key, _)| *key).collect();
    }

    /// Its routes and rules; `None` for a group that is not known.
    pub(in crate::kernel) fn routing(&self, key: GroupKey) -> Option<&Routing> {
        self.groups.get(&key).map(|group| group.routing())
    }

    /// Whether all routes and rules of the group are here.
    pub(in crate::kernel) fn is_routed(&self, key: GroupKey) -> bool {
        self.groups.get(&key).is_some_and(|group| group.is_routed())
    }

    /// Takes in how far the routes and rules of the group are. Returns whether it has to be settled
    /// for that.
    pub(in crate::kernel) fn set_routed(&mut self, key: GroupKey, routed: Routed) -> bool {
        let news = self.groups.get_mut(&key).is_some_and(|group| group.set_routed(routed));
        if news {
            self.dirty.insert(key);
        }
        news
    }
}
