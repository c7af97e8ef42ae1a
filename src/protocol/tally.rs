//! How much each node carries, and what would be even.
//!
//! Counted anew from the claims whenever somebody asks, promises to this node included; pure
//! arithmetic of groups and weights. Used by `balance` for what to give and accept, by
//! `succession` for heirs.

use std::collections::BTreeMap;

use super::claims::holder;
use super::configuration::Strategy;
use super::identity::NodeId;
use super::message::Tenure;
use super::node::Node;

/// How much each node carries.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    nodes: BTreeMap<NodeId, Load>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    groups: u32,
    weight: u32,
}

/// Loads are compared by groups divided by weight, in parts of this.
const SCALE: u64 = 1_000_000;

impl Tally {
    /// Counts a node in, with nothing.
    pub(super) fn enter(&mut self, node: NodeId, weight: u16) {
        self.nodes.entry(node).or_default().weight = u32::from(weight.max(1));
    }

    /// One more group for a node; nodes not entered are not counted.
    pub(super) fn add(&mut self, node: NodeId) {
        if let Some(load) = self.nodes.get_mut(&node) {
            load.groups += 1;
        }
    }

    pub(super) fn add_some(&mut self, node: Option<NodeId>) {
        if let Some(node) = node {
            self.add(node);
        }
    }

    /// Whether one of these carries more than one group more than in the other tally.
    pub(super) fn exceeds(&self, other: &Self, among: &[NodeId]) -> bool {
        let groups = |tally: &Self, node| tally.nodes.get(node).map_or(0, |load| load.groups);
        among.iter().any(|node| groups(self, node) > groups(other, node) + 1)
    }

    pub(super) fn remove(&mut self, node: NodeId) {
        if let Some(load) = self.nodes.get_mut(&node) {
            load.groups = load.groups.saturating_sub(1);
        }
    }

    /// Load of a node if it had one group more, to compare with others.
    pub(super) fn load_with_one_more(&self, node: NodeId) -> u64 {
        let load = self.nodes.get(&node).copied().unwrap_or_default();
        (u64::from(load.groups) + 1) * SCALE / u64::from(load.weight.max(1))
    }

    /// Whether a node does not rise above its share by one group more.
    pub(super) fn stays_within_share(&self, node: NodeId) -> bool {
        let groups: u64 = self.nodes.values().map(|load| u64::from(load.groups)).sum();
        let weights: u64 = self.nodes.values().map(|load| u64::from(load.weight)).sum();
        let load = self.nodes.get(&node).copied().unwrap_or_default();
        (u64::from(load.groups) + 1) * weights <= groups * u64::from(load.weight)
    }

    /// Whether one move from `from` to `to` brings both nearer to their shares: the giver stays
    /// at least as loaded as the receiver becomes, does not fall below its share, and the
    /// receiver does not rise above its own. So no group has to move twice.
    pub(super) fn improves(&self, from: NodeId, to: NodeId) -> bool {
        let load = |node| self.nodes.get(&node).copied().unwrap_or_default();
        let (from, to) = (load(from), load(to));
        let product = |groups: u32, weight: u32| u64::from(groups) * u64::from(weight);
        let groups: u32 = self.nodes.values().map(|load| load.groups).sum();
        let weights: u32 = self.nodes.values().map(|load| load.weight).sum();
        from.groups > 0
            && product(from.groups - 1, to.weight) >= product(to.groups + 1, from.weight)
            && product(from.groups, weights) > product(groups, from.weight)
            && product(to.groups, weights) < product(groups, to.weight)
    }
}

impl Node {
    /// The weight of a node: as it says itself, else as configured.
    pub(super) fn weight(&self, node: NodeId) -> u16 {
        let configured = self.configuration.nodes.get(&node).map_or(1, |member| member.weight);
        self.peers.get(&node).map_or(configured, |peer| {
            if peer.said.phase.is_some() { peer.said.weight } else { configured }
        })
    }

    /// What each acting node carries now, promises to this node included.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let me = self.configuration.me;
        if self.owns(me) {
            tally.enter(me, self.weight(me));
        }
        for (node, peer) in &self.peers {
            if peer.alive() && peer.owns {
                tally.enter(*node, self.weight(*node));
            }
        }
        for claim in self.claims.iter() {
            let wanted = self.configuration.groups.get(&claim.group);
            let balanced = wanted.is_some_and(|group| group.strategy == Strategy::Balance);
            let stands = claim.tenure != Tenure::Held || self.gone(claim).is_none();
            if balanced
                && stands
                && let Some(holder) = holder(claim)
            {
                tally.add(holder);
            }
        }
        for (group, promise) in &self.promises {
            let coming = self.claims.latest(*group).and_then(holder);
            if coming != Some(me) {
                tally.add(me);
                tally.remove(promise.from);
            }
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(nodes: &[(u32, u32, u16)]) -> Tally {
        let mut tally = Tally::default();
        for (node, groups, weight) in nodes {
            tally.enter(NodeId(*node), *weight);
            for _ in 0..*groups {
                tally.add(NodeId(*node));
            }
        }
        tally
    }

    #[test]
    fn a_move_improves_only_while_the_giver_stays_as_loaded() {
        let cases = [
            ((2, 1), (0, 1), true),
            ((1, 1), (0, 1), false),
            ((2, 1), (1, 1), false),
            ((3, 1), (1, 1), true),
            ((4, 2), (1, 1), false),
            ((6, 2), (1, 1), true),
            ((2, 1), (2, 2), false),
            ((3, 1), (3, 2), true),
        ];
        for ((from, from_weight), (to, to_weight), expected) in cases {
            let tally = tally(&[(1, from, from_weight), (2, to, to_weight)]);
            assert_eq!(tally.improves(NodeId(1), NodeId(2)), expected, "{from} {to}");
        }
    }

    #[test]
    fn a_share_is_kept_within_by_whole_groups() {
        let tally = tally(&[(1, 100, 100), (2, 66, 100), (3, 34, 100)]);
        assert!(!tally.stays_within_share(NodeId(2)));
        assert!(tally.stays_within_share(NodeId(3)));
    }

    #[test]
    fn moves_end_and_leave_shares_by_weight() {
        let mut tally = tally(&[(1, 40, 1), (2, 0, 2), (3, 0, 1)]);
        let mut moves = 0;
        let nodes = [NodeId(1), NodeId(2), NodeId(3)];
        let least =
            |tally: &Tally| nodes.into_iter().min_by_key(|node| tally.load_with_one_more(*node));
        while let Some(to) = least(&tally)
            && let Some(from) = nodes.into_iter().find(|from| tally.improves(*from, to))
        {
            tally.remove(from);
            tally.add(to);
            moves += 1;
            assert!(moves <= 30, "{tally:?}");
        }
        assert_eq!(nodes.map(|node| tally.nodes[&node].groups), [10, 20, 10]);
        assert_eq!(moves, 30);
    }
}
