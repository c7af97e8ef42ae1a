//! How much each node carries, and what would be even.
//!
//! Counted again from the claims whenever somebody asks, promises to this node included; pure
//! arithmetic of groups and weights. Used by `balance` for what to give and accept, by
//! `succession` for heirs.

use std::collections::BTreeMap;

use super::claims::holder;
use super::company::Whereabouts;
use super::fitness::Classes;
use super::node::Node;
use super::types::{Group, Load, NodeId, Strategy, Tenure, WHOLE};

/// How much each node carries.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    nodes: BTreeMap<NodeId, Burden>,
    /// Where groups are, for rules about company.
    pub(super) at: Whereabouts,
}

/// What one node carries.
#[derive(Clone, Copy, Debug, Default)]
struct Burden {
    /// Groups that are counted.
    groups: u32,
    /// Groups of any kind.
    all: u32,
    /// Weight as configured.
    plain: u32,
    /// The same times what the node has left, per mille.
    weight: u32,
    /// How busy it is, if that is known and counts.
    load: Option<Load>,
}

/// Loads are compared by groups divided by weight, in parts of this.
const SCALE: u64 = 1_000_000 * WHOLE as u64;
/// A receiver that stays below this may become busier than the giver, in millionths: a quarter of
/// what a host can bear is no burden.
const UNBURDENED: u64 = 250_000;

impl Tally {
    /// Counts a node in, with nothing.
    pub(super) fn enter(&mut self, node: NodeId, weight: u16, load: Option<Load>) {
        let plain = u32::from(weight.max(1));
        let left = load.map_or(WHOLE, |load| load.headroom());
        let burden = Burden { plain, weight: plain * left, load, ..Burden::default() };
        self.nodes.entry(node).or_insert(burden);
    }

    /// One more group for a node; nodes not entered are not counted.
    pub(super) fn add(&mut self, node: NodeId) {
        if let Some(burden) = self.nodes.get_mut(&node) {
            burden.groups += 1;
            burden.all += 1;
        }
    }

    /// One more group that only makes a node busy.
    fn burden(&mut self, node: NodeId) {
        if let Some(burden) = self.nodes.get_mut(&node) {
            burden.all += 1;
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
            load.all = load.all.saturating_sub(1);
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
            && self.bearable(from, to)
    }

    /// Whether the receiver of a group stays less busy than its giver becomes, or is hardly busy;
    /// where that is not known it is taken to be so. Each group is taken to cost its owner the
    /// same, which is too much if other things make it busy too.
    fn bearable(&self, from: Burden, to: Burden) -> bool {
        let mean = self.mean_cost();
        let (Some((giver, cost)), Some((receiver, _))) = (from.busy(mean), to.busy(mean)) else {
            return true;
        };
        let costs_there = cost * u64::from(from.plain) / u64::from(to.plain.max(1));
        receiver + costs_there <= giver.saturating_sub(cost).max(UNBURDENED)
    }

    /// What a group costs its owner, in millionths of what a host can bear, over all nodes.
    fn mean_cost(&self) -> u64 {
        let loads = self.nodes.values().filter_map(|burden| burden.load);
        let (used, groups) = loads.fold((0, 0), |(used, groups), load| {
            (used + u64::from(load.utilisation) * 1000, groups + u64::from(load.groups))
        });
        used / groups.max(1)
    }
}

impl Burden {
    /// How busy the node is with what it has now, and what each group costs it, in millionths of
    /// what a host can bear; predicted from when it was last counted.
    fn busy(&self, mean_cost: u64) -> Option<(u64, u64)> {
        let load = self.load?;
        let (used, then) = (u64::from(load.utilisation) * 1000, u64::from(load.groups));
        let now = u64::from(self.all);
        if then == 0 {
            return Some((used + now * mean_cost, mean_cost));
        }
        Some((used * now / then, used / then))
    }
}

impl Node {
    /// The weight of a node: as it says itself, else as configured.
    pub(super) fn weight(&self, node: NodeId) -> u16 {
        let configured = self.env.configuration.nodes.get(&node).map_or(1, |member| member.weight);
        self.peers.get(&node).map_or(configured, |peer| {
            if peer.said.phase.is_some() { peer.said.weight } else { configured }
        })
    }

    /// What each living node carries now, promises to this node included.
    pub(super) fn tally(&self) -> Tally {
        let me = self.owns(self.env.configuration.me).then_some(self.env.configuration.me);
        let peers = self.peers.iter().filter(|(_, peer)| peer.alive() && peer.owns);
        self.tally_among(peers.map(|(node, _)| *node).chain(me), |_| true)
    }

    /// The same of the nodes and the groups of one class.
    pub(super) fn tally_of(&self, classes: &Classes, class: usize) -> Tally {
        let nodes = classes.nodes.get(class).into_iter().flatten().copied();
        self.tally_among(nodes, |group| classes.of(group.pool) == class)
    }

    fn tally_among(
        &self,
        nodes: impl Iterator<Item = NodeId>,
        counts: impl Fn(&Group) -> bool,
    ) -> Tally {
        let me = self.env.configuration.me;
        let wanted =
            |group| self.env.configuration.groups.get(group).filter(|wanted| counts(wanted));
        let mut tally = Tally { at: self.whereabouts(), ..Tally::default() };
        for node in nodes {
            tally.enter(node, self.weight(node), self.counted_load(node));
        }
        for claim in self.claims.iter().filter(|claim| !self.is_further(claim.group)) {
            let stands = claim.tenure != Tenure::Held || self.gone(claim).is_none();
            let balanced = |wanted: &Group| wanted.strategy == Strategy::Balance;
            match holder(claim).filter(|_| stands) {
                Some(holder) if wanted(&claim.group).is_some_and(balanced) => tally.add(holder),
                Some(holder) => tally.burden(holder),
                None => {}
            }
        }
        for (group, promise) in self.promises.iter().filter(|(group, _)| wanted(group).is_some()) {
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
            tally.enter(NodeId(*node), *weight, None);
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

    /// A tally of (node, groups, utilisation when it had these groups).
    fn loaded(nodes: &[(u32, u16, u16)]) -> Tally {
        let mut tally = Tally::default();
        for (node, groups, utilisation) in nodes {
            let load = Load { utilisation: *utilisation, groups: *groups, connections: None };
            tally.enter(NodeId(*node), 100, Some(load));
            for _ in 0..*groups {
                tally.add(NodeId(*node));
            }
        }
        tally
    }

    #[test]
    fn busy_nodes_have_smaller_shares_and_moves_make_both_better() {
        let (one, two) = (NodeId(1), NodeId(2));
        let cases = [
            ("even", [(1, 4, 400), (2, 4, 400)], 0),
            ("twice as busy", [(1, 6, 600), (2, 6, 300)], 1),
            ("hardly busy", [(1, 6, 120), (2, 6, 60)], 0),
            ("emptier but busier", [(1, 8, 400), (2, 2, 700)], 0),
            ("emptier and as busy", [(1, 8, 500), (2, 2, 500)], 0),
            ("both overloaded", [(1, 6, 990), (2, 6, 900)], 0),
            ("a full and an empty one", [(1, 8, 800), (2, 0, 50)], 3),
        ];
        for (name, nodes, expected) in cases {
            let mut tally = loaded(&nodes);
            let mut moves = 0;
            while tally.improves(one, two) {
                tally.remove(one);
                tally.add(two);
                moves += 1;
                assert!(moves < 20, "{name}: {tally:?}");
            }
            assert_eq!(moves, expected, "{name}");
            assert!(!tally.improves(two, one), "{name}: it would come back");
        }
    }

    #[test]
    fn a_node_that_tells_no_load_counts_by_its_weight() {
        let mut tally = loaded(&[(1, 6, 600)]);
        tally.enter(NodeId(2), 100, None);
        assert!(tally.improves(NodeId(1), NodeId(2)));
    }
}
