//! Whether nodes are fit to own the groups of a pool, as the checks of their hosts say.
//!
//! The checks themselves are made outside: the shell gives in the list of pools that are not fit
//! whenever it changes, each heartbeat carries it, and every node keeps the last list of each peer.
//! A peer that says nothing, such as older software, is fit. From these levels follows who comes
//! first: `succession` puts the fitter before the others, `balance` and `tally` give to the fittest
//! only, and `remedy` moves groups from an owner that others are fitter than. A level never keeps a
//! group from being taken when its owner has died: who is less fit stands further back in the line,
//! so if those before it do not take it does. All comparisons are strict, so nodes that fail alike
//! move nothing between each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::node::Node;
use super::types::{
    FITNESS_MAX, Fitness, GroupKey, Instant, LastResort, MoveReason, NodeId, NodePhase, PoolId,
    Report, Rule,
};

/// Falls within [`FALLS_WINDOW`] that make a node one whose checks flap.
const FALLS_MAX: usize = 3;
/// See [`FALLS_MAX`].
const FALLS_WINDOW: Duration = Duration::from_secs(60);
/// Pools remembered of a peer: those of its list and as many that have been on it lately.
const REMEMBERED_MAX: usize = 2 * FITNESS_MAX;

/// What one node says: the pools that are not fit.
pub(super) type FitnessList = BTreeMap<PoolId, Fitness>;

/// Pools whose level is another in the second list, with both levels.
fn changes(before: &FitnessList, after: &FitnessList) -> Vec<(PoolId, Fitness, Fitness)> {
    let pools: BTreeSet<PoolId> = before.keys().chain(after.keys()).copied().collect();
    let level = |list: &FitnessList, pool| list.get(&pool).copied().unwrap_or_default();
    let both = pools.into_iter().map(|pool| (pool, level(before, pool), level(after, pool)));
    both.filter(|(_, was, is)| was != is).collect()
}

/// What a peer says of its checks, and what it said lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pools: BTreeMap<PoolId, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    fitness: Fitness,
    since: Instant,
    /// When it became worse lately, after its first looks; the oldest first.
    falls: VecDeque<Instant>,
}

impl Record {
    /// What a node says of itself, as others would know it.
    pub(super) fn of(now: Instant, list: &FitnessList) -> Self {
        let list: Vec<(PoolId, Fitness)> = list.iter().map(|(pool, it)| (*pool, *it)).collect();
        let mut record = Self::default();
        record.hear(now, &list, false);
        record
    }

    /// What the peer last said of a pool.
    pub(super) fn fitness(&self, pool: PoolId) -> Fitness {
        self.pools.get(&pool).map_or(Fitness::Fit, |entry| entry.fitness)
    }

    /// Pools that are not fit.
    pub(super) fn unfit(&self) -> impl Iterator<Item = (PoolId, Fitness)> + '_ {
        let all = self.pools.iter().map(|(pool, entry)| (*pool, entry.fitness));
        all.filter(|(_, fitness)| *fitness != Fitness::Fit)
    }

    /// Takes in a full list; tells what has changed. What a peer says that has just `begun` is no
    /// fall: before its first looks it is reluctant, and nobody has given it anything.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        list: &[(PoolId, Fitness)],
        begun: bool,
    ) -> Vec<(PoolId, Fitness)> {
        if list.is_empty() && self.pools.is_empty() {
            return Vec::new();
        }
        let list: FitnessList = list.iter().copied().take(FITNESS_MAX).collect();
        let better = self.pools.keys().filter(|pool| !list.contains_key(pool));
        let all = list.iter().map(|(pool, fitness)| (*pool, *fitness));
        let all = all.chain(better.map(|pool| (*pool, Fitness::Fit)));
        let changed: Vec<_> = all.filter(|(pool, is)| self.fitness(*pool) != *is).collect();
        for (pool, fitness) in &changed {
            self.note(now, (*pool, *fitness), begun);
        }
        while self.pools.len() > REMEMBERED_MAX {
            let fit = self.pools.iter().filter(|(_, entry)| entry.fitness == Fitness::Fit);
            let Some((oldest, _)) = fit.min_by_key(|(_, entry)| entry.since) else { break };
            let oldest = *oldest;
            self.pools.remove(&oldest);
        }
        changed
    }

    fn note(&mut self, now: Instant, (pool, fitness): (PoolId, Fitness), begun: bool) {
        let entry = self.pools.entry(pool).or_insert_with(|| Entry {
            fitness: Fitness::Fit,
            since: now,
            falls: VecDeque::new(),
        });
        if fitness > entry.fitness && !begun {
            if entry.falls.len() == FALLS_MAX {
                entry.falls.pop_front();
            }
            entry.falls.push_back(now);
        }
        (entry.fitness, entry.since) = (fitness, now);
    }

    /// Replaces what is known of a pool, as if it had always been so.
    pub(super) fn suppose(&mut self, now: Instant, pool: PoolId, fitness: Fitness) {
        self.pools.insert(pool, Entry { fitness, since: now, falls: VecDeque::new() });
    }

    /// Whether a pool has become worse too often lately to be trusted with more.
    pub(super) fn flaps(&self, pool: PoolId, now: Instant) -> bool {
        self.pools.get(&pool).is_some_and(|entry| {
            entry.falls.len() == FALLS_MAX
                && entry.falls.front().is_some_and(|first| now.since(*first) < FALLS_WINDOW)
        })
    }

    /// Since when a pool is what it is; `None` if it has been so for as long as is known.
    pub(super) fn since(&self, pool: PoolId) -> Option<Instant> {
        self.pools.get(&pool).map(|entry| entry.since)
    }
}

/// Which nodes share the groups of which pools: pools for which the same nodes are the fittest are
/// balanced together, the others apart. While everybody is fit that is one class with all.
#[derive(Clone, Debug)]
pub(super) struct Classes {
    /// The nodes of each class; the first one has all.
    pub(super) nodes: Vec<Vec<NodeId>>,
    of: BTreeMap<PoolId, usize>,
}

impl Classes {
    /// The class that the pool of a group belongs to.
    pub(super) fn of_group(&self, node: &Node, group: GroupKey) -> usize {
        let wanted = node.env.configuration.groups.get(&group);
        wanted.map_or(0, |wanted| self.of(wanted.pool))
    }

    /// The class that a pool belongs to.
    pub(super) fn of(&self, pool: PoolId) -> usize {
        self.of.get(&pool).copied().unwrap_or(0)
    }
}

impl Node {
    /// Takes in what the checks of this host say; peers are told at once.
    pub(super) fn checked(&mut self, unfit: Vec<(PoolId, Fitness)>) {
        let unfit = unfit.into_iter().filter(|(_, fitness)| *fitness != Fitness::Fit);
        let unfit: FitnessList = unfit.take(FITNESS_MAX).collect();
        let before = std::mem::replace(&mut self.checks_say, unfit);
        let me = self.env.configuration.me;
        for (pool, _, fitness) in changes(&before, &self.checks_say) {
            if !self.lacks_label(me, pool) {
                self.report(Report::FitnessChanged { node: me, pool, fitness });
            }
        }
        if self.revise_fitness() {
            self.evaluate = true;
            self.beat(false);
        }
    }

    /// Makes what this node says of itself from what its checks say and from the labels that it
    /// lacks; tells whether that has changed.
    pub(super) fn revise_fitness(&mut self) -> bool {
        let mut unfit = self.checks_say.clone();
        for pool in self.pools_without_label() {
            unfit.insert(pool, Fitness::Unfit);
        }
        let before = std::mem::replace(&mut self.fitness, unfit);
        let changed = changes(&before, &self.fitness);
        if changed.iter().any(|(_, was, _)| *was == Fitness::Unfit) {
            self.passing_since = self.env.now;
        }
        !changed.is_empty()
    }

    /// Takes in what a peer says of its checks.
    pub(super) fn hear_checks(&mut self, from: NodeId, list: &[(PoolId, Fitness)]) {
        let now = self.env.now;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let begun = peer.said.phase == Some(NodePhase::Listening);
        let changed = peer.checks.hear(now, list, begun);
        if changed.is_empty() {
            return;
        }
        for (pool, fitness) in changed {
            if !self.lacks_label(from, pool) {
                self.report(Report::FitnessChanged { node: from, pool, fitness });
            }
        }
        self.evaluate = true;
        self.heirs_among.clear();
        self.heirs_due = self.heirs_due.min(now + self.env.configuration.timing.retry);
    }

    /// What a node says of a pool.
    pub(super) fn fitness_of(&self, node: NodeId, pool: PoolId) -> Fitness {
        if node == self.env.configuration.me {
            return self.fitness.get(&pool).copied().unwrap_or_default();
        }
        self.peers.get(&node).map_or(Fitness::Fit, |peer| peer.checks.fitness(pool))
    }

    /// The best level among the nodes that act and may own; the worst if there are none.
    pub(super) fn best_level(&self, pool: PoolId) -> Fitness {
        let me = self.may_take().then(|| self.fitness_of(self.env.configuration.me, pool));
        let peers = self.peers.values().filter(|peer| peer.takes());
        let levels = peers.map(|peer| peer.checks.fitness(pool));
        levels.chain(me).min().unwrap_or(Fitness::Unfit)
    }

    /// Whether a node is among the fittest for a pool, so that it may be given more.
    pub(super) fn among_fittest(&self, node: NodeId, pool: PoolId) -> bool {
        let level = self.fitness_of(node, pool);
        !self.enforces(Rule::UnfitGetsNothing) || level <= self.best_level(pool)
    }

    /// Whether the checks of a peer flap for a pool: nothing that can wait is given to it.
    pub(super) fn checks_flap(&self, node: NodeId, pool: PoolId) -> bool {
        self.enforces(Rule::FlappingChecks)
            && self.peers.get(&node).is_some_and(|peer| peer.checks.flaps(pool, self.env.now))
    }

    /// What a node says of the pool of a group.
    pub(super) fn fitness_for(&self, node: NodeId, group: GroupKey) -> Fitness {
        let wanted = self.env.configuration.groups.get(&group);
        wanted.map_or(Fitness::Fit, |wanted| self.fitness_of(node, wanted.pool))
    }

    /// Whether this node would be no worse a place than `from` for a group that is offered.
    pub(super) fn fit_for_offer(&self, from: NodeId, group: GroupKey, reason: MoveReason) -> bool {
        let mine = self.fitness_for(self.env.configuration.me, group);
        let its = self.fitness_for(from, group);
        if mine == Fitness::Fit || !self.enforces(Rule::UnfitGetsNothing) {
            return true;
        }
        match reason {
            // The list of the sender may still be under way, and it is not fit.
            MoveReason::Checks => mine < Fitness::Unfit && (its == Fitness::Fit || mine < its),
            MoveReason::Balance
            | MoveReason::Failback
            | MoveReason::Operator
            | MoveReason::Placement => mine <= its,
            MoveReason::Drain => !self.refuses(group, mine),
        }
    }

    /// Whether nobody of this level is to own a group.
    pub(super) fn refuses(&self, group: GroupKey, level: Fitness) -> bool {
        level == Fitness::Unfit && self.last_resort(group) == LastResort::Release
    }

    /// What becomes of a group when nobody is fit for it.
    pub(super) fn last_resort(&self, group: GroupKey) -> LastResort {
        let wanted = self.env.configuration.groups.get(&group);
        let wanted = wanted.map(|wanted| wanted.last_resort).unwrap_or_default();
        match (wanted, self.enforces(Rule::LastResort)) {
            (LastResort::Keep, true) | (LastResort::Release, false) => LastResort::Keep,
            (LastResort::Release, true) | (LastResort::Keep, false) => LastResort::Release,
        }
    }

    /// Sorts nodes that could take a group: the fitter first, else as they stand. Where nobody is
    /// to own it, nobody is left.
    pub(super) fn fittest_first(&self, group: GroupKey, line: &mut Vec<NodeId>) {
        if self.enforces(Rule::FitterFirst) {
            line.retain(|node| !self.refuses(group, self.fitness_for(*node, group)));
            line.sort_by_key(|node| self.fitness_for(*node, group));
        }
    }

    /// Those of some nodes that are the fittest for a group; nobody, where nobody is to own it.
    pub(super) fn fittest(&self, group: GroupKey, mut nodes: Vec<NodeId>) -> Vec<NodeId> {
        if self.enforces(Rule::UnfitGetsNothing) {
            let level = |node: &NodeId| self.fitness_for(*node, group);
            let best = nodes.iter().map(level).min().unwrap_or_default();
            nodes.retain(|node| level(node) == best && !self.refuses(group, best));
        }
        nodes
    }

    /// Who shares which pools now.
    pub(super) fn classes(&self) -> Classes {
        let me = self.env.configuration.me;
        let peers = self.peers.iter().filter(|(_, peer)| peer.alive() && peer.owns);
        let mut all: Vec<NodeId> = peers.map(|(node, _)| *node).collect();
        if self.owns(me) {
            all.push(me);
        }
        let mut named: Vec<PoolId> = self.fitness.keys().copied().collect();
        let others = self.peers.values().filter(|peer| peer.alive());
        named.extend(others.flat_map(|peer| peer.checks.unfit().map(|(pool, _)| pool)));
        named.sort_unstable();
        named.dedup();
        let mut classes = Classes { nodes: vec![all.clone()], of: BTreeMap::new() };
        if !self.enforces(Rule::UnfitGetsNothing) {
            return classes;
        }
        for pool in named {
            let best = self.best_level(pool);
            // Where nobody is fit everything stays where it is.
            let fits =
                |node: &&NodeId| best < Fitness::Unfit && self.fitness_of(**node, pool) <= best;
            let nodes: Vec<NodeId> = all.iter().filter(fits).copied().collect();
            let known = classes.nodes.iter().position(|known| *known == nodes);
            let class = known.unwrap_or_else(|| {
                classes.nodes.push(nodes);
                classes.nodes.len() - 1
            });
            classes.of.insert(pool, class);
        }
        classes
    }
}
