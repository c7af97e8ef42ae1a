//! What the rules of placement of a pool say of nodes: `requires`.
//!
//! A node without a label that a pool requires says of that pool, in its heartbeats, what it says
//! when a required check fails: others know it from the node itself and not from their files, so
//! files that differ make no node offer or take what another keeps away from. `fitness` and
//! `succession` do the rest, and `last_resort` says what happens where no node with the label lives.
//!
//! What such a node has as a last resort goes back when a node with the label can have it: looked
//! at with the balance, by `remedy`, and damped as moves for balance are.

use std::collections::{BTreeMap, BTreeSet};

use super::node::Node;
use super::types::{Fitness, GroupKey, NodeId, PoolId, Rule};

/// Nodes that lack a label, by the pool that requires it.
pub(super) type Lacking = BTreeMap<PoolId, BTreeSet<NodeId>>;

impl Node {
    /// Returns whether a node lacks a label that a pool requires, by the file of this node.
    pub(super) fn lacks_label(&self, node: NodeId, pool: PoolId) -> bool {
        let rules = self.env.configuration.placement.get(&pool);
        rules.is_some_and(|rules| rules.lacking.contains(&node))
            && self.enforces(Rule::RequiredLabels)
    }

    /// Returns the pools that require a label which this node lacks.
    pub(super) fn pools_without_label(&self) -> Vec<PoolId> {
        let me = self.env.configuration.me;
        let pools = self.env.configuration.placement.keys().copied();
        pools.filter(|pool| self.lacks_label(me, *pool)).collect()
    }

    /// Returns whether nothing but a label keeps this node from being fit for a pool.
    pub(super) fn lacks_only_label(&self, pool: PoolId) -> bool {
        let checks = self.checks_say.get(&pool).copied().unwrap_or_default();
        checks < Fitness::Unfit && self.lacks_label(self.env.configuration.me, pool)
    }

    /// Returns whether a group may be moved now so that a rule holds again: nothing is on hold, no
    /// peer has just come back, and the group has rested as for balance.
    pub(super) fn may_restore(&self, group: GroupKey) -> bool {
        self.enforces(Rule::PlacementRestored)
            && !self.holds_still()
            && !self.hears_newcomer()
            && !self.ordered(group)
            && self.settled(group)
            && self.is_present(group)
    }

    /// Returns who lacks labels by the file of this node.
    pub(super) fn labels_lacking(&self) -> Lacking {
        let pools = self.env.configuration.placement.iter();
        pools.map(|(pool, rules)| (*pool, rules.lacking.clone())).collect()
    }

    /// Has every peer say what it will say of its labels with the file of this node. By the file
    /// before, peers lacked these.
    pub(super) fn suppose_labels(&mut self, before: &Lacking) {
        let after = self.labels_lacking();
        let lacks = |of: &Lacking, node, pool| {
            of.get(pool).is_some_and(|nodes: &BTreeSet<NodeId>| nodes.contains(node))
        };
        let pools: BTreeSet<PoolId> = before.keys().chain(after.keys()).copied().collect();
        for (node, peer) in &mut self.peers {
            for pool in &pools {
                let fitness = match (lacks(before, node, pool), lacks(&after, node, pool)) {
                    (_, true) => Fitness::Unfit,
                    (true, false) => Fitness::Fit,
                    (false, false) => continue,
                };
                peer.checks.suppose(self.env.now, *pool, fitness);
            }
        }
    }
}
