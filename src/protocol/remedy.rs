//! What an owner does whose checks fail: it hands its groups to a fitter node.
//!
//! Called at every step. Groups of an unfit owner are offered at once, those of a reluctant one at
//! the next look at the balance, paced as a drain: one offer for each receiver at a time. They go
//! to the fittest that can be offered anything; a node that has declined, or flaps while there is
//! another, is passed over for a while. Where no fitter node lives, a group of an unfit owner stays
//! or is let go, as `last_resort` says, and that is told once. An owner that is unfit for want of a
//! label alone (`placement`) gives its groups as for balance. Nothing here waits for a peer: a
//! group that is let go or not accepted is `succession`'s.

use std::collections::BTreeMap;

use super::balance::Parcels;
use super::group::Purpose;
use super::node::Node;
use super::types::{Fitness, GroupKey, LastResort, MoveReason, NodeId, PoolId, Report, Rule};

/// Who could have the groups of a pool instead of this node.
#[derive(Debug)]
struct Alternative {
    /// What the checks say of this node.
    mine: Fitness,
    /// It is unfit for want of a label alone.
    by_label: bool,
    /// Whether a fitter node acts, offered anything or not.
    lives: bool,
    /// Fitter nodes that can be offered groups now, or once an offer to them has been answered.
    ready: Vec<NodeId>,
    /// Those of them that are: none that flaps, where it is for a label alone.
    receivers: Vec<NodeId>,
}

impl Node {
    /// Offers groups for which another node is fitter; those for which this one is only reluctant
    /// when it `looks`.
    pub(super) fn heed_checks(&mut self, looks: bool) {
        if self.fitness.is_empty() && self.last_resorts.is_empty() {
            return;
        }
        let alternatives: BTreeMap<PoolId, Alternative> = self
            .fitness
            .iter()
            .map(|(pool, mine)| (*pool, self.alternative(*pool, *mine)))
            .collect();
        let hopeless = |pool: &PoolId| {
            let known = alternatives.get(pool);
            known.is_some_and(|other| other.mine == Fitness::Unfit && !other.lives)
        };
        self.last_resorts.retain(hopeless);
        let mut tally = None;
        let (mut parcels, mut restored) = (Parcels::default(), Parcels::default());
        let mut stays: BTreeMap<PoolId, Vec<GroupKey>> = BTreeMap::new();
        for group in self.movable() {
            let Some(wanted) = self.env.configuration.groups.get(&group) else { continue };
            let Some(other) = alternatives.get(&wanted.pool) else { continue };
            if (other.mine == Fitness::Reluctant || other.by_label) && !looks {
                continue;
            }
            if other.ready.is_empty() {
                stays.entry(wanted.pool).or_default().push(group);
                continue;
            }
            if other.by_label && !self.may_restore(group) {
                continue;
            }
            let parcels = if other.by_label { &mut restored } else { &mut parcels };
            let tally = tally.get_or_insert_with(|| self.tally());
            if let Some(to) = self.best_receiver(group, &other.receivers, tally)
                && parcels.put(to, group)
            {
                tally.add(to);
                self.place(&mut tally.at, group, to);
            }
        }
        if self.enforces(Rule::ChecksMove) {
            self.send_parcels(parcels, MoveReason::Checks);
            self.send_parcels(restored, MoveReason::Placement);
        }
        for (pool, groups) in stays {
            if let Some(other) = alternatives.get(&pool).filter(|it| it.mine == Fitness::Unfit) {
                self.resort(pool, groups, other.lives);
            }
        }
    }

    fn alternative(&self, pool: PoolId, mine: Fitness) -> Alternative {
        let better = |node: &NodeId| self.fitness_of(*node, pool) < mine;
        let mut acting = self.peers.iter().filter(|(_, peer)| peer.takes());
        let lives = acting.any(|(node, _)| better(node));
        let ready: Vec<NodeId> = self.ready().into_iter().filter(better).collect();
        let by_label = mine == Fitness::Unfit && self.lacks_only_label(pool);
        let mut receivers = ready.clone();
        receivers.retain(|node| !by_label || !(self.flaps(*node) || self.checks_flap(*node, pool)));
        Alternative { mine, by_label, lives, ready, receivers }
    }

    /// Nobody fitter can be offered these groups: they stay, or are let go.
    fn resort(&mut self, pool: PoolId, groups: Vec<GroupKey>, fitter_lives: bool) {
        let released: Vec<GroupKey> = groups
            .iter()
            .copied()
            .filter(|group| self.last_resort(*group) == LastResort::Release)
            .collect();
        let kept = released.is_empty();
        let count = if kept { groups.len() } else { released.len() };
        if !fitter_lives && self.last_resorts.insert(pool) {
            let groups = u16::try_from(count).unwrap_or(u16::MAX);
            self.report(Report::LastResort { pool, kept, groups });
        }
        for group in released {
            self.let_go(group, Purpose::Free);
        }
    }
}
