//! Others who answer for a group: a silent peer's kernel, and conflicting hosts.

use super::*;

const CONFLICTING: HardwareAddress = HardwareAddress([2, 0xee, 0, 0, 0, 0]);

fn without(broken: Option<Rule>, nodes: u32, groups: u64) -> Cluster {
    let mut cluster = Cluster::without(broken, nodes, groups).with_hardware();
    cluster.kernels_answer = true;
    cluster
}

fn settled(broken: Option<Rule>, nodes: u32, groups: u64) -> Cluster {
    let mut cluster = without(broken, nodes, groups);
    cluster.run(Duration::from_secs(5));
    cluster.reports.clear();
    cluster.announced.clear();
    cluster
}

fn key(group: u64) -> GroupKey {
    GroupKey(mix(group))
}

fn told(cluster: &Cluster, wanted: impl Fn(&Report) -> bool) -> usize {
    cluster.reports.iter().filter(|(_, report)| wanted(report)).count()
}

fn cut_both_ways(cluster: &mut Cluster) {
    cluster.cut(1, 2);
    cluster.cut(2, 1);
}

#[test]
fn of_a_pair_nobody_takes_while_only_the_heartbeats_are_lost() {
    let mut cluster = settled(None, 2, 9);
    cut_both_ways(&mut cluster);
    cluster.run(Duration::from_secs(60));
    assert_eq!(cluster.covered(), 9, "{:?}", cluster.open);
    let answers = |report: &Report| matches!(report, Report::KernelAnswers { .. });
    assert_eq!(told(&cluster, answers), 2, "once by each: {}", cluster.told());
    let status = cluster.nodes[&NodeId(1)].status(cluster.now);
    let other = status.nodes.iter().find(|node| node.node == NodeId(2)).expect("it is known");
    let (_, hardware_seen) = other.kernel_answers.expect("it answers");
    assert_eq!((hardware_seen, other.verdict), (hardware(NodeId(2)), Verdict::Suspect));
    let asked = cluster.asked.len();
    assert!(asked < 2 * 60 * 20 * 4 + 100, "{asked} questions in a minute");
    cluster.cut.clear();
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.nodes[&NodeId(1)].verdict(NodeId(2)), Verdict::Up);
}

/// On a busy machine the asker hears nothing for a while, though the kernel answers.
#[test]
fn answers_that_come_late_make_nobody_dead() {
    let mut cluster = settled(None, 2, 9);
    cut_both_ways(&mut cluster);
    cluster.run(Duration::from_secs(1));
    for _ in 0..20 {
        cluster.kernels_answer = false;
        cluster.run(Duration::from_millis(220));
        cluster.kernels_answer = true;
        cluster.run(Duration::from_millis(100));
    }
    assert_eq!(cluster.covered(), 9, "{:?}", cluster.open);
}

#[test]
fn a_kernel_that_stops_answering_is_relieved_within_a_detection_time() {
    let mut cluster = settled(None, 2, 9);
    let theirs = cluster.groups_of(1);
    cluster.freeze(NodeId(1));
    cluster.run(Duration::from_millis(900));
    assert_eq!(cluster.groups_of(1), theirs, "its kernel answers");
    for group in &theirs {
        assert_eq!(cluster.owner(*group), [NodeId(1)]);
    }
    cluster.kill(NodeId(1));
    cluster.run(Duration::from_millis(310));
    assert_eq!(cluster.share(NodeId(2)), 9, "{}", cluster.told());
}

#[test]
fn a_dead_host_is_relieved_as_soon_as_if_no_kernel_were_asked() {
    let took = |broken, nodes| {
        let mut cluster = settled(broken, nodes, 9);
        cluster.kill(NodeId(1));
        let begin = cluster.now;
        while cluster.covered() < 9 {
            cluster.run(Duration::from_millis(1));
        }
        cluster.now.since(begin)
    };
    for nodes in [2, 3, 5] {
        assert_eq!(took(None, nodes), took(Some(Rule::SilentKernel), nodes));
        assert_eq!(took(None, nodes), took(Some(Rule::LookBeforeTake), nodes));
        assert_eq!(took(None, nodes), took(Some(Rule::KernelOutweighsPeers), nodes));
    }
}

#[test]
fn of_many_nobody_takes_while_the_kernel_of_the_silent_answers() {
    for nodes in [3, 5] {
        let mut cluster = settled(None, nodes, 15);
        let before = cluster.open.clone();
        for other in 2..=nodes {
            cluster.cut(1, other);
            cluster.cut(other, 1);
        }
        cluster.run(Duration::from_secs(60));
        assert_eq!(cluster.open, before, "{}", cluster.told());
        let answers = |report: &Report| matches!(report, Report::KernelAnswers { peer, .. } if *peer == NodeId(1));
        assert_eq!(told(&cluster, answers), nodes as usize - 1, "once by each");
        cluster.cut.clear();
        cluster.run(Duration::from_secs(1));
        assert_eq!(cluster.open, before, "{}", cluster.told());
    }
}

#[test]
fn the_groups_of_a_frozen_owner_are_taken_when_its_lease_has_ended() {
    let mut cluster = settled(None, 3, 9);
    let theirs = cluster.groups_of(1);
    cluster.freeze(NodeId(1));
    cluster.run(Duration::from_millis(599));
    for group in &theirs {
        assert_eq!(cluster.owner(*group), [NodeId(1)], "its kernel answers");
    }
    (cluster.kernels_answer, cluster.split) = (false, true);
    cluster.run(Duration::from_millis(220));
    for group in &theirs {
        assert_eq!(cluster.owner(*group).len(), 2, "{}", cluster.told());
    }
    let answers = |report: &Report| matches!(report, Report::KernelAnswers { .. });
    assert_eq!(told(&cluster, answers), 0, "its daemon did not run");
}

/// A switch answers for hosts that are gone, and lets no host hear a question to everybody.
fn suppressing(nodes: u32) -> Cluster {
    let mut cluster = settled(None, nodes, 9);
    cluster.suppresses = true;
    let owners = cluster.open.iter().map(|(group, owners)| (*group, hardware(owners[0])));
    cluster.answered_for = owners.collect();
    cluster
}

#[test]
fn who_is_dead_is_relieved_although_a_switch_answers_for_it() {
    for nodes in [2, 3, 5] {
        let mut cluster = suppressing(nodes);
        cluster.kill(NodeId(1));
        cluster.run(Duration::from_millis(310));
        assert_eq!(cluster.covered(), 9, "{}", cluster.told());
        cluster.run(Duration::from_secs(10));
        assert_eq!(cluster.covered(), 9, "{}", cluster.told());
        let heard = |report: &Report| matches!(report, Report::KernelAnswers { .. });
        assert_eq!(told(&cluster, heard), 0);
    }
}

#[test]
fn who_lives_behind_such_a_switch_is_asked_alone_and_keeps_its_groups() {
    for remembers in [true, false] {
        let mut cluster = suppressing(2);
        if !remembers {
            cluster.answered_for.clear();
        }
        let before = cluster.open.clone();
        cut_both_ways(&mut cluster);
        cluster.run(Duration::from_secs(60));
        assert_eq!(cluster.open, before, "{}", cluster.told());
    }
}

/// Of a pair without heartbeats one has had to free a group: its kernel answers for the others.
#[test]
fn a_group_that_an_answering_kernel_does_not_have_is_taken() {
    let mut cluster = settled(None, 2, 9);
    cut_both_ways(&mut cluster);
    cluster.run(Duration::from_secs(2));
    let theirs = cluster.groups_of(1);
    let down = theirs[0];
    let event = Event::Kernel(KernelEvent::Usable { group: down, usable: false });
    cluster.step(NodeId(1), event);
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.owner(down), [NodeId(2)], "{}", cluster.told());
    for group in &theirs[1..] {
        assert_eq!(cluster.owner(*group), [NodeId(1)]);
    }
}

#[test]
fn a_kernel_is_asked_twice_before_its_host_is_given_up() {
    let mut cluster = settled(None, 2, 4);
    cluster.asked.clear();
    cluster.kill(NodeId(1));
    cluster.run(Duration::from_millis(299));
    let mut times: Vec<Instant> = cluster.asked.iter().map(|(at, ..)| *at).collect();
    times.dedup();
    assert_eq!(times.len(), 2, "{:?}", cluster.asked);
}

#[test]
fn a_group_in_conflict_is_not_taken_until_the_host_is_gone() {
    let mut cluster = without(None, 3, 4);
    cluster.conflicts.insert(key(1), CONFLICTING);
    cluster.run(Duration::from_secs(60));
    assert_eq!((cluster.owner_count(key(1)), cluster.covered()), (0, 3));
    let unable = Inability::Conflict(CONFLICTING);
    let shunned = |report: &Report| *report == Report::Unable { group: key(1), why: unable };
    assert!((1..=3).contains(&told(&cluster, shunned)), "{}", cluster.told());
    let shown = cluster.nodes.values().filter(|node| {
        let status = node.status(cluster.now);
        status.groups.iter().any(|group| group.unable_here == Some(unable))
    });
    assert_eq!(shown.count(), 3, "every node tells who it is");
    let asked = cluster.asked.iter().filter(|(_, _, group)| *group == key(1)).count();
    assert!(asked < 60 * 2 + 2 * 60 / 5 + 10, "{asked} questions in a minute");
    cluster.conflicts.clear();
    cluster.run(Duration::from_millis(1100));
    assert_eq!(cluster.covered(), 4, "{:?}", cluster.open);
}

/// Two hosts answer, and one of them is a peer by an address that it has not told yet (seed 78682).
#[test]
fn a_second_host_that_turns_out_to_be_a_peer_does_not_hide_the_first() {
    let mut cluster = without(None, 3, 4);
    cluster.conflicts.insert(key(1), CONFLICTING);
    cluster.run(Duration::from_secs(5));
    let nodes: Vec<NodeId> = cluster.nodes.keys().copied().collect();
    let claims = |cluster: &mut Cluster, hardware: HardwareAddress| {
        for node in &nodes {
            let claimed = KernelEvent::Claimed { group: key(1), hardware, direct: false };
            cluster.step(*node, Event::Kernel(claimed));
        }
    };
    let theirs = HardwareAddress([2, 0, 0, 0, 1, 2]);
    claims(&mut cluster, CONFLICTING);
    claims(&mut cluster, theirs);
    cluster.conflicts.clear();
    let mut hardware = [None; HARDWARE_MAX];
    hardware[0] = Some(theirs);
    cluster.step(NodeId(2), Event::Kernel(KernelEvent::Hardware(hardware)));
    cluster.run(Duration::from_millis(500));
    assert_eq!(cluster.owner_count(key(1)), 0, "{}", cluster.told());
    cluster.run(Duration::from_secs(2));
    assert_eq!(cluster.covered(), 4, "{:?}", cluster.open);
}

#[test]
fn a_dead_owners_group_is_left_to_a_conflicting_host() {
    let mut cluster = settled(None, 3, 9);
    let group = cluster.groups_of(1)[0];
    cluster.conflicts.insert(group, CONFLICTING);
    cluster.kill(NodeId(1));
    cluster.run(Duration::from_secs(3));
    assert_eq!((cluster.owner_count(group), cluster.covered()), (0, 8));
    assert_eq!(cluster.announced.iter().filter(|(.., announced)| *announced == group).count(), 0);
}

#[test]
fn where_there_was_no_time_to_ask_the_answer_still_counts() {
    let mut cluster = settled(None, 3, 9);
    let group = cluster.groups_of(1)[0];
    cluster.conflicts.insert(group, CONFLICTING);
    // Its link goes down: the others take at once.
    let event = KernelEvent::Usable { group, usable: false };
    cluster.step(NodeId(1), Event::Kernel(event));
    cluster.run(Duration::from_millis(200));
    assert_eq!(cluster.owner_count(group), 0, "{}", cluster.told());
    assert_eq!(cluster.covered(), 8);
}

#[test]
fn a_planned_move_does_not_ask() {
    let mut cluster = settled(None, 2, 4);
    cluster.asked.clear();
    let group = cluster.groups_of(1)[0];
    cluster.conflicts.insert(group, CONFLICTING);
    let order = Order::Move { group, to: NodeId(2) };
    cluster.step(NodeId(1), Event::Ordered { ticket: 1, order });
    cluster.run(Duration::from_secs(2));
    assert_eq!(cluster.owner(group), [NodeId(2)]);
    assert_eq!(cluster.asked, []);
}

#[test]
fn force_takes_from_a_conflicting_host_and_says_so() {
    let mut cluster = without(None, 2, 2);
    cluster.conflicts.insert(key(1), CONFLICTING);
    for node in [1, 2] {
        let mut forced = configuration(node, 2, 2);
        forced.groups.get_mut(&key(1)).expect("it is configured").force = true;
        cluster.step(NodeId(node), Event::Reconfigured(Box::new(forced)));
    }
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.covered(), 2, "{}", cluster.told());
    let said = |report: &Report| matches!(report, Report::SecondClaimant { node: None, .. });
    assert!(told(&cluster, said) >= 1, "{}", cluster.told());
}

#[test]
fn an_owner_defends_itself_once_in_ten_seconds_and_keeps_what_it_has() {
    let mut cluster = settled(None, 2, 2);
    cluster.run(Duration::from_secs(10));
    cluster.announced.clear();
    let group = cluster.groups_of(1)[0];
    let claim = KernelEvent::Claimed { group, hardware: CONFLICTING, direct: false };
    for _ in 0..250 {
        cluster.step(NodeId(1), Event::Kernel(claim.clone()));
        cluster.run(Duration::from_millis(100));
    }
    assert_eq!(cluster.owner(group), [NodeId(1)]);
    let announced = cluster.announced.iter().filter(|(.., announced)| *announced == group);
    assert_eq!(announced.count(), 3, "{:?}", cluster.announced);
    let said = |report: &Report| matches!(report, Report::SecondClaimant { node: None, .. });
    assert_eq!(told(&cluster, said), 3, "{}", cluster.told());
    let status = cluster.nodes[&NodeId(1)].status(cluster.now);
    assert!(status.groups.iter().any(|group| group.claimant == Some(CONFLICTING)));
}

/// What comes too soon is answered when that is allowed again, though nothing more comes.
#[test]
fn a_claim_soon_after_a_defence_is_answered_later() {
    let mut cluster = settled(None, 2, 2);
    cluster.run(Duration::from_secs(10));
    cluster.announced.clear();
    let group = cluster.groups_of(1)[0];
    let claim = KernelEvent::Claimed { group, hardware: CONFLICTING, direct: false };
    for _ in 0..2 {
        cluster.step(NodeId(1), Event::Kernel(claim.clone()));
        cluster.run(Duration::from_secs(1));
    }
    let defences = |cluster: &Cluster| {
        cluster.announced.iter().filter(|(.., announced)| *announced == group).count()
    };
    assert_eq!(defences(&cluster), 1, "{:?}", cluster.announced);
    cluster.run(Duration::from_secs(9));
    assert_eq!(defences(&cluster), 2, "{:?}", cluster.announced);
}

#[test]
fn a_peers_claim_is_told_and_not_answered() {
    let mut cluster = settled(None, 2, 2);
    cluster.run(Duration::from_secs(10));
    cluster.announced.clear();
    let group = cluster.groups_of(1)[0];
    let claim = KernelEvent::Claimed { group, hardware: hardware(NodeId(2)), direct: false };
    for _ in 0..3 {
        cluster.step(NodeId(1), Event::Kernel(claim.clone()));
        cluster.run(Duration::from_millis(100));
    }
    assert_eq!(cluster.announced, []);
    let peer =
        Report::SecondClaimant { group, hardware: hardware(NodeId(2)), node: Some(NodeId(2)) };
    assert_eq!(told(&cluster, |report| *report == peer), 1, "{}", cluster.told());
}

#[test]
fn questions_are_limited_and_what_is_not_asked_about_is_taken() {
    let mut cluster = settled(None, 2, 3000);
    cluster.asked.clear();
    cluster.kill(NodeId(1));
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.share(NodeId(2)), 3000);
    let asked = cluster.asked.len();
    assert!((1000..=3100).contains(&asked), "{asked} questions");
}

/// A copy of a host that has its address too receives now and then what peers send to that: it knows
/// a peer, and not what that has claimed (c33). When it hears the peer no more it takes nothing for
/// which that one's kernel answers.
#[test]
fn what_a_peer_answers_for_and_nobody_is_known_to_have_claimed_is_left_to_it() {
    let cluster = settled(None, 2, 4);
    let beat = cluster.last_beat[&(NodeId(2), NodeId(1))].clone();
    let begun = cluster.now;
    for answers in [true, false] {
        let mut node = Node::new(begun, configuration(1, 2, 4));
        let mut now = begun;
        let mut pending = vec![Event::Heard {
            from: NodeId(2),
            incarnation: Incarnation(1002),
            received_at: now,
            message: Message::Heartbeat(beat.clone()),
        }];
        let mut acquired = 0;
        while now < begun + Duration::from_secs(60) {
            let event = pending.pop().unwrap_or(Event::Timer);
            for action in node.step(now, event) {
                if let Action::Probe { group, .. } = action
                    && answers
                {
                    let (hardware, direct) = (hardware(NodeId(2)), false);
                    let claimed = KernelEvent::Claimed { group, hardware, direct };
                    pending.push(Event::Kernel(claimed));
                } else if let Action::TestReach = action {
                    pending.push(Event::Kernel(KernelEvent::Reach(Reach::Answered)));
                } else if let Action::Acquire { .. } = action {
                    acquired += 1;
                }
            }
            if pending.is_empty() {
                now = node.next_deadline().max(now + Duration::from_millis(1));
            }
        }
        assert_eq!(acquired > 0, !answers, "{acquired} orders to add");
    }
}
