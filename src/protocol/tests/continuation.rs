//! Restarts in place: when a node rests, what it leaves, and what the next process makes of it.

use super::*;

const NODE: NodeId = NodeId(1);

impl Cluster {
    /// The process of a node rests and is gone; its kernel keeps what it has.
    fn rest(&mut self, node: NodeId) -> Memory {
        self.step(node, Event::Rest);
        self.nodes.remove(&node);
        self.memories.pop().unwrap_or_else(|| panic!("it does not rest: {}", self.told()))
    }

    /// The same in mode majority, where it asks for leases first.
    fn rest_with_leases(&mut self) -> Memory {
        self.step(NODE, Event::Rest);
        self.run(Duration::from_millis(5));
        self.nodes.remove(&NODE);
        self.memories.pop().unwrap_or_else(|| panic!("it does not rest: {}", self.told()))
    }

    /// The next process goes on.
    fn go_on(&mut self, memory: &Memory, (nodes, groups): (u32, u64)) {
        let configuration = configuration(memory.me.0, nodes, groups);
        self.nodes.insert(memory.me, Node::go_on(self.now, configuration, memory));
    }

    fn obstacle(&self) -> Option<Obstacle> {
        self.reports.iter().find_map(|(_, report)| {
            let Report::NotInPlace { why } = report else { return None };
            Some(*why)
        })
    }
}

#[test]
fn the_next_process_has_the_same_groups_under_the_same_epochs_and_nobody_notices() {
    let mut cluster = Cluster::start(3, 9);
    cluster.run(Duration::from_secs(10));
    let had = cluster.groups_of(1);
    let first = cluster.rest(NODE);
    assert_eq!(first.held.keys().copied().collect::<Vec<_>>(), had);
    assert_eq!(first.incarnation, cluster.incarnation(NODE));
    cluster.run(Duration::from_millis(150));
    cluster.reports.clear();
    cluster.announced.clear();
    cluster.go_on(&first, (3, 9));
    cluster.run(Duration::from_secs(2));
    let after = Duration::from_millis(150);
    let mine = |report: &&(NodeId, Report)| report.0 == NODE;
    assert_eq!(
        cluster.reports.iter().filter(mine).map(|(_, report)| *report).collect::<Vec<_>>(),
        [
            Report::WentOn { groups: 3, after },
            Report::PhaseChanged { from: NodePhase::Listening, to: NodePhase::Resuming },
            Report::PhaseChanged { from: NodePhase::Resuming, to: NodePhase::Active },
        ]
    );
    let others: Vec<_> = cluster.reports.iter().filter(|told| !mine(told)).collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(cluster.announced, [], "nobody has to be told anything");
    // The second process remembers no less than the first.
    let second = cluster.rest(NODE);
    assert_eq!((second.held, second.incarnation), (first.held, first.incarnation));
}

#[test]
fn the_next_process_learns_what_was_claimed_meanwhile() {
    let mut cluster = Cluster::start(3, 9);
    cluster.run(Duration::from_secs(10));
    let memory = cluster.rest(NODE);
    // A group of another moves on while nobody is here to hear of it.
    let group = cluster.groups_of(2)[0];
    let order = Order::Move { group, to: NodeId(3) };
    cluster.step(NodeId(2), Event::Ordered { ticket: 1, order });
    cluster.run(Duration::from_millis(100));
    assert_eq!(cluster.answers, [Ok(())]);
    cluster.go_on(&memory, (3, 9));
    cluster.run(Duration::from_millis(300));
    assert_eq!(cluster.nodes[&NODE].current_owner(group), Some(NodeId(3)));
    assert_eq!(cluster.nodes[&NODE].phase, NodePhase::Active);
}

#[test]
fn the_next_process_vouches_for_nothing_before_it_has_heard_its_peers() {
    let mut cluster = Cluster::start(3, 9);
    cluster.run(Duration::from_secs(10));
    let memory = cluster.rest(NODE);
    cluster.run(Duration::from_millis(50));
    for other in [2, 3] {
        cluster.cut(other, 1);
    }
    cluster.go_on(&memory, (3, 9));
    cluster.run(Duration::from_millis(250));
    assert_eq!(cluster.nodes[&NODE].lease(), None);
    cluster.cut.clear();
    cluster.run(Duration::from_millis(250));
    assert!(cluster.nodes[&NODE].lease().is_some());
}

#[test]
fn a_node_that_is_not_at_rest_leaves_instead() {
    let mut young = Cluster::start(2, 4);
    young.run(Duration::from_millis(100));
    young.step(NODE, Event::Rest);
    assert_eq!(young.obstacle(), Some(Obstacle::Phase(NodePhase::Listening)));

    let mut busy = Cluster::start(2, 4);
    busy.run(Duration::from_secs(10));
    busy.removal = Duration::from_millis(50);
    let order = Order::Drain(NODE);
    busy.step(NODE, Event::Ordered { ticket: 1, order });
    busy.run(Duration::from_millis(5));
    busy.step(NODE, Event::Rest);
    assert_eq!((busy.obstacle(), busy.memories.len()), (Some(Obstacle::Busy), 0));
    busy.run(Duration::from_secs(1));
    assert_eq!((busy.share(NodeId(2)), busy.stopped.as_slice()), (4, &[NODE][..]));

    let mut strict = Cluster::start(2, 4);
    strict.run(Duration::from_secs(10));
    let mut changed = configuration(1, 2, 4);
    for group in changed.groups.values_mut() {
        group.mode = Mode::Majority;
    }
    strict.step(NODE, Event::Reconfigured(Box::new(changed)));
    strict.cut(2, 1);
    strict.step(NODE, Event::Rest);
    assert_eq!((strict.obstacle(), strict.memories.len()), (None, 0), "it asks for leases");
    strict.run(Duration::from_millis(150));
    assert_eq!((strict.obstacle(), strict.memories.len()), (Some(Obstacle::LeaseShort), 0));
}

/// Seed 2456: the answer comes late, to the process that follows.
#[test]
fn a_conflicting_host_that_was_first_is_given_way_by_the_next_process_too() {
    for (later, keeps) in [(400, false), (1200, true)] {
        let mut cluster = Cluster::start(1, 4);
        while cluster.groups_of(1).len() < 4 {
            cluster.run(Duration::from_millis(10));
        }
        let first = cluster.groups_of(1)[0];
        cluster.run(Duration::from_millis(100));
        let memory = cluster.rest(NODE);
        cluster.run(Duration::from_millis(100));
        cluster.go_on(&memory, (1, 4));
        cluster.run(Duration::from_millis(later));
        cluster.step(NODE, claimed(first));
        cluster.run(Duration::from_millis(100));
        assert_eq!(cluster.groups_of(1).contains(&first), keeps, "{later} ms");
    }
}

/// Seed 34176: in mode majority the group was claimed long before there was a lease and it was taken.
#[test]
fn the_next_process_knows_when_a_group_was_taken_that_had_waited_for_its_lease() {
    for (later, keeps) in [(400, false), (1200, true)] {
        let mut cluster = Cluster::start(3, 3);
        for node in 1..=3 {
            cluster.step(NodeId(node), Event::Reconfigured(Box::new(in_majority(node))));
        }
        while cluster.groups_of(1).is_empty() {
            cluster.run(Duration::from_millis(10));
        }
        let group = cluster.groups_of(1)[0];
        cluster.run(Duration::from_millis(50));
        let memory = cluster.rest_with_leases();
        let entry = memory.claims.iter().find(|(claim, _)| claim.group == group);
        let waited = entry.map(|(_, since)| memory.at.since(*since));
        assert!(waited > Some(Duration::from_secs(1)), "{waited:?}");
        cluster.run(Duration::from_millis(100));
        cluster.nodes.insert(NODE, Node::go_on(cluster.now, in_majority(1), &memory));
        cluster.run(Duration::from_millis(later));
        cluster.step(NODE, claimed(group));
        cluster.run(Duration::from_millis(100));
        assert_eq!(cluster.groups_of(1).contains(&group), keeps, "{later} ms");
    }
}

fn claimed(group: GroupKey) -> Event {
    let hardware = HardwareAddress([2, 0xee, 0, 0, 0, 0]);
    Event::Kernel(KernelEvent::Claimed { group, hardware, direct: false })
}

/// Seed 1872: the next process would know nothing of the conflicting host.
#[test]
fn a_node_that_knows_of_a_conflict_leaves_instead() {
    // It leaves a group to him.
    let mut told = Cluster::start(2, 4);
    told.run(Duration::from_secs(10));
    let other = told.groups_of(2)[0];
    told.step(NODE, claimed(other));
    told.step(NODE, Event::Rest);
    assert_eq!(told.obstacle(), Some(Obstacle::Conflict(other)));

    // He has claimed what it holds, a moment ago and long ago.
    for (later, why) in [(100, Some(())), (1000, None)] {
        let mut claimant = Cluster::start(2, 4);
        claimant.run(Duration::from_secs(10));
        let own = claimant.groups_of(1)[0];
        claimant.step(NODE, claimed(own));
        claimant.run(Duration::from_millis(later));
        claimant.step(NODE, Event::Rest);
        assert_eq!(claimant.obstacle(), why.map(|()| Obstacle::Conflict(own)), "{later} ms");
    }
}

/// Three nodes with three groups in mode majority.
fn strict() -> Cluster {
    let mut cluster = Cluster::start(3, 3);
    for node in 1..=3 {
        cluster.step(NodeId(node), Event::Reconfigured(Box::new(in_majority(node))));
    }
    cluster.run(Duration::from_secs(15));
    cluster
}

fn in_majority(node: u32) -> Configuration {
    let mut configuration = configuration(node, 3, 3);
    configuration.groups.values_mut().for_each(|group| group.mode = Mode::Majority);
    configuration
}

#[test]
fn leases_go_on_with_the_next_process_and_end_when_they_would_have_ended() {
    let mut cluster = strict();
    let group = cluster.groups_of(1)[0];
    let asked_at = cluster.now;
    let memory = cluster.rest_with_leases();
    let leases = memory.leases.as_ref().expect("it has asked for some");
    let until = leases.until(group);
    assert_eq!(until, asked_at + Duration::from_millis(600), "they are fresh");
    assert!(memory.promises.is_some(), "it votes");
    // The next process has what is left, whatever it hears.
    let later = cluster.now + Duration::from_millis(200);
    let node = Node::go_on(later, in_majority(1), &memory);
    assert_eq!((node.granted(), node.lease()), (Some(until.since(later)), None));
    let mut alone = node.clone();
    let _ = alone.step(until.before(Duration::from_nanos(1)), Event::Timer);
    assert!(alone.granted().is_some());
    let _ = alone.step(until, Event::Timer);
    assert_eq!(alone.granted(), None);
    // If it hears, they are renewed, and nobody notices.
    cluster.run(Duration::from_millis(200));
    cluster.reports.clear();
    cluster.nodes.insert(NODE, Node::go_on(cluster.now, in_majority(1), &memory));
    cluster.run(Duration::from_secs(2));
    assert!(cluster.nodes[&NODE].granted() > Some(Duration::from_millis(450)));
    let others: Vec<_> = cluster.reports.iter().filter(|(node, _)| *node != NODE).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn leases_that_do_not_fit_are_refused_with_the_reason() {
    let mut cluster = strict();
    let group = cluster.groups_of(1)[0];
    let memory = cluster.rest_with_leases();
    let (now, here) = (memory.at + Duration::from_millis(200), in_majority(1));
    let present: BTreeSet<GroupKey> = memory.held.keys().copied().collect();
    assert_eq!(memory.fits(now, &here, &present), Ok(()));
    let mut voters = here.clone();
    voters.nodes.get_mut(&NodeId(3)).expect("configured").votes = false;
    assert_eq!(memory.fits(now, &voters, &present), Err(Misfit::OtherVoters));
    let without = Memory { leases: None, ..memory.clone() };
    assert_eq!(without.fits(now, &here, &present), Err(Misfit::Majority(group)));
    let mut over = memory;
    let leases = over.leases.as_mut().expect("it has asked for some");
    let wish = leases.wishes.get_mut(&group).expect("it has the group");
    // One vote of three is no majority.
    wish.until[1..].fill(now);
    assert_eq!(over.fits(now, &here, &present), Err(Misfit::LeaseOver(group)));
}

#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    let mut cluster = Cluster::start(2, 4);
    cluster.run(Duration::from_secs(10));
    let memory = cluster.rest(NODE);
    let held: BTreeSet<GroupKey> = memory.held.keys().copied().collect();
    let first = *held.first().expect("it has a share");
    let (now, here) = (memory.at + Duration::from_millis(200), configuration(1, 2, 4));
    let without = |group| held.iter().copied().filter(|it| *it != group).collect();
    let mut fewer = here.clone();
    fewer.groups.remove(&first);
    let mut strict = here.clone();
    strict.groups.get_mut(&first).expect("configured").mode = Mode::Majority;
    let late = memory.at + here.timing.lease();
    let untimely = |millis| Err(Misfit::Untimely { age: Duration::from_millis(millis) });
    let table = [
        (now, here.clone(), held.clone(), Ok(())),
        (late.before(Duration::from_millis(1)), here.clone(), held.clone(), Ok(())),
        (late, here.clone(), held.clone(), untimely(600)),
        (memory.at.before(Duration::from_millis(1)), here.clone(), held.clone(), untimely(0)),
        (now, configuration(2, 2, 4), held.clone(), Err(Misfit::OtherNode)),
        (now, fewer, held.clone(), Err(Misfit::NotConfigured(first))),
        (now, strict, held.clone(), Err(Misfit::Majority(first))),
        (now, here, without(first), Err(Misfit::NotPresent(first))),
    ];
    for (now, configuration, present, wanted) in table {
        assert_eq!(memory.fits(now, &configuration, &present), wanted);
    }
}
