//! Lists of voters that change in any order, while nodes hear each other or not: never do two lists
//! have a majority each that votes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::super::types::{Backing, Instant, NodeId, Random, Recollection};
use super::super::electorate::{Electorate, FRESH, SETTLING, VotingState};
use super::super::leases::digest;

const STEP: Duration = Duration::from_millis(25);
/// What a voter is silent for before it votes; longer than an answer counts.
const SILENCE: Duration = Duration::from_millis(360);
const LEASE: Duration = Duration::from_millis(300);

fn list(nodes: &[u32]) -> Vec<NodeId> {
    nodes.iter().copied().map(NodeId).collect()
}

/// One node: its lists, what its disk has, and when it may speak.
struct Host {
    lists: Electorate,
    disk: Recollection,
    mine: Vec<NodeId>,
    speaks_at: Instant,
}

struct World {
    now: Instant,
    hosts: BTreeMap<NodeId, Host>,
    /// Pairs that hear each other.
    cut: BTreeSet<(NodeId, NodeId)>,
    random: Random,
    settled: bool,
    /// Answers under way: to whom, from whom, asked when, what.
    answers: Vec<(NodeId, NodeId, Instant, Backing)>,
}

impl World {
    fn new(seed: u64, nodes: u32, first: &[u32]) -> Self {
        let now = Instant::from_millis(10_000);
        let host = |_| {
            let mut lists = Electorate::recall(now, Recollection::Nothing);
            lists.go_by(list(first));
            let speaks_at = now + SILENCE;
            Host { lists, disk: Recollection::Nothing, mine: list(first), speaks_at }
        };
        let hosts = (1..=nodes).map(|node| (NodeId(node), host(node))).collect();
        let (cut, answers) = (BTreeSet::new(), Vec::new());
        Self { now, hosts, cut, random: Random::new(seed), settled: true, answers }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.next_u64() % 100 < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let place = self.random.next_u64() % u64::try_from(from.len()).unwrap();
        from[usize::try_from(place).unwrap()]
    }

    /// Everybody does what is due; answers take a step, or several, or get lost.
    fn step(&mut self) {
        self.now = self.now + STEP;
        let now = self.now;
        let mut asks = Vec::new();
        for (node, host) in &mut self.hosts {
            let _ = host.lists.allow(now, LEASE);
            if let Some(record) = host.lists.store_next(now, Duration::ZERO) {
                host.disk = Recollection::Record(record);
                host.lists.stored(now, true);
            }
            if host.lists.proceed(now, *node, self.settled).is_some() {
                host.speaks_at = now + SILENCE;
            }
            asks.extend(host.lists.ask_next(now).into_iter().map(|to| (*node, to)));
        }
        for (from, to) in asks {
            let Some(host) = self.hosts.get(&to).filter(|_| !self.cut.contains(&(from, to))) else {
                continue;
            };
            let lists = host.lists.lists();
            let backing = Backing { lease: LEASE, after: 0, longest: LEASE, lists };
            self.answers.push((from, to, now, backing));
        }
        for (to, from, asked_at, backing) in std::mem::take(&mut self.answers) {
            match self.random.next_u64() % 8 {
                0 => {}
                1..=3 => self.answers.push((to, from, asked_at, backing)),
                _ => {
                    if let Some(host) = self.hosts.get_mut(&to) {
                        host.lists.note(from, asked_at, &backing);
                    }
                }
            }
        }
    }

    /// Lists of which a majority votes.
    fn live(&self) -> BTreeSet<Vec<NodeId>> {
        let votes = |list: &Vec<NodeId>, voter: &NodeId| {
            self.hosts.get(voter).is_some_and(|host| {
                host.mine == *list
                    && host.lists.voting_state() == VotingState::Voting
                    && host.speaks_at <= self.now
            })
        };
        let lists = self.hosts.values().map(|host| host.mine.clone());
        lists
            .filter(|list| list.iter().filter(|voter| votes(list, voter)).count() > list.len() / 2)
            .collect()
    }

    fn change(&mut self, node: NodeId, mine: &[NodeId]) {
        let host = self.hosts.get_mut(&node).unwrap();
        host.mine = mine.to_vec();
        host.lists.go_by(mine.to_vec());
    }

    fn restart(&mut self, node: NodeId) {
        let now = self.now;
        let host = self.hosts.get_mut(&node).unwrap();
        host.lists = Electorate::recall(now, host.disk.clone());
        host.lists.go_by(host.mine.clone());
        host.speaks_at = now + SILENCE;
    }

    /// Whether a node that remembers what its disk has may be given a list.
    fn allows(&self, node: NodeId, mine: &[NodeId]) -> bool {
        let Recollection::Record(record) = &self.hosts[&node].disk else { return true };
        let kept = |list: &Vec<NodeId>| mine.iter().filter(|it| list.contains(it)).count();
        record.lists.iter().all(|list| kept(list) > mine.len() / 2)
    }
}

/// Anything in any order; says when two lists had a majority, and how often any had one.
fn wander(seed: u64, settled: bool) -> Result<usize, String> {
    let lists = [list(&[1, 2, 3]), list(&[1, 2, 3, 4, 5]), list(&[2, 3, 4]), list(&[1, 3, 5])];
    let nodes: Vec<NodeId> = (1..=5).map(NodeId).collect();
    let mut world = World::new(seed, 5, &[1, 2, 3]);
    world.settled = settled;
    let mut served = 0;
    for _ in 0..40 {
        world.step();
    }
    for _ in 0..800 {
        world.step();
        if world.chance(6) {
            let (node, mine) = (world.pick(&nodes), world.pick(&[0, 1, 2, 3]));
            if world.allows(node, &lists[mine]) {
                world.change(node, &lists[mine]);
            }
        }
        if world.chance(2) {
            let node = world.pick(&nodes);
            world.restart(node);
        }
        if world.chance(3) {
            world.cut.clear();
            let side: Vec<NodeId> = nodes.iter().copied().filter(|_| world.chance(50)).collect();
            for one in &nodes {
                for other in nodes.iter().filter(|it| side.contains(it) != side.contains(one)) {
                    world.cut.insert((*one, *other));
                }
            }
        }
        if world.chance(3) {
            world.cut.clear();
        }
        let live = world.live();
        if live.len() > 1 {
            return Err(format!("seed {seed}, {:?}: {live:?}", world.now));
        }
        served += live.len();
    }
    Ok(served)
}

#[test]
fn never_do_two_lists_have_a_majority_that_votes() {
    let served: usize = (0..400).map(|seed| wander(seed, true).unwrap()).sum();
    assert!(served > 400 * 800 / 10, "{served} times anybody was served: too few to mean anything");
}

#[test]
fn they_would_if_nobody_waited_for_the_old_list() {
    assert!((0..400).any(|seed| wander(seed, false).is_err()));
}

#[test]
fn an_answer_counts_for_less_than_a_node_waits() {
    assert!(FRESH < SETTLING);
}

/// Each node after the other, and back; in the end everybody votes under the new list.
#[test]
fn a_rollout_to_each_node_after_the_other_ends_with_all_votes() {
    let mut world = World::new(1, 5, &[1, 2, 3]);
    let steps = |world: &mut World| (0..60).for_each(|_| world.step());
    steps(&mut world);
    for mine in [list(&[1, 2, 3, 4, 5]), list(&[1, 2, 3])] {
        for node in [4, 2, 5, 1, 3] {
            world.change(NodeId(node), &mine);
            steps(&mut world);
        }
        for (node, host) in &world.hosts {
            assert_eq!(host.lists.voting_state(), VotingState::Voting, "{node}");
            assert_eq!(host.lists.lists(), [digest(&mine)], "{node} has not forgotten");
        }
    }
}

#[test]
fn nothing_counts_that_is_not_stored() {
    let now = Instant::from_millis(1000);
    let mut lists = Electorate::recall(now, Recollection::Nothing);
    lists.go_by(list(&[1, 2, 3]));
    assert_eq!(lists.allow(now, LEASE), Duration::ZERO);
    let record = lists.store_next(now, Duration::ZERO).unwrap();
    assert_eq!((record.lists.len(), record.longest), (1, LEASE));
    assert_eq!(lists.store_next(now, Duration::ZERO), None, "it is being stored");
    assert_eq!(lists.proceed(now, NodeId(1), true), None);
    assert_eq!((lists.voting_state(), lists.lists()), (VotingState::Unwritten, Vec::new()));
    lists.stored(now, false);
    assert_eq!(lists.voting_state(), VotingState::Unable);
    assert_eq!(lists.store_next(now, Duration::ZERO), None, "not again at once");
    let later = now + Duration::from_secs(10);
    assert_eq!(lists.store_next(later, Duration::ZERO), Some(record));
    lists.stored(later, true);
    let _ = lists.proceed(later, NodeId(1), true);
    assert_eq!(lists.voting_state(), VotingState::Voting);
    assert_eq!(lists.allow(later, LEASE), LEASE);
    let mut unreadable = Electorate::recall(now, Recollection::Unreadable);
    unreadable.go_by(list(&[1, 2, 3]));
    assert_eq!(unreadable.store_next(now, LEASE), None);
    assert_eq!(unreadable.voting_state(), VotingState::Unable);
}
