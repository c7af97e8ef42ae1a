//! Connections that stay with the old owner of a group.

use super::*;

const LIMIT: Duration = Duration::from_secs(60);
const LONG: Preserve = Preserve { limit: LIMIT, brief: false };
const FIRST: NodeId = NodeId(1);

/// Nodes that preserve connections, and kernels that can.
fn preserving(nodes: u32) -> Cluster {
    let mut cluster = Cluster::start(nodes, 6).with_hardware();
    cluster.run(Duration::from_secs(5));
    for node in 1..=nodes {
        preserve(&mut cluster, node, nodes);
    }
    cluster
}

fn preserve(cluster: &mut Cluster, node: u32, nodes: u32) {
    let groups: Vec<GroupKey> = cluster.open.keys().copied().collect();
    let wanted = Configuration { preserve: Some(LONG), ..configuration(node, nodes, 6) };
    cluster.step(NodeId(node), Event::Reconfigured(Box::new(wanted)));
    for group in groups {
        let hardware = hardware(NodeId(node));
        let keepable = KernelEvent::Keepable { group, hardware };
        cluster.step(NodeId(node), Event::Kernel(keepable));
    }
}

/// Moves a group from the first node to another.
fn moved(cluster: &mut Cluster, to: u32) -> GroupKey {
    let group = cluster.groups_of(1)[0];
    let order = Order::Move { group, to: NodeId(to) };
    cluster.step(FIRST, Event::Ordered { ticket: 1, order });
    cluster.run(Duration::from_millis(100));
    assert_eq!(cluster.owner(group), [NodeId(to)]);
    group
}

fn left(cluster: &mut Cluster, group: GroupKey, count: u32) {
    cluster.step(FIRST, Event::Kernel(KernelEvent::Kept(vec![(group, count)])));
    cluster.run(Duration::from_millis(1100));
}

fn preserved(cluster: &Cluster, node: u32, group: GroupKey) -> Option<Preserved> {
    let status = cluster.nodes[&NodeId(node)].status(cluster.now);
    status.groups.iter().find(|one| one.group == group)?.preserved
}

fn is_kept(cluster: &Cluster, group: GroupKey) -> bool {
    cluster.kept.contains(&(FIRST, group))
}

#[test]
fn a_planned_move_keeps_connections_until_the_last_has_ended() {
    let mut cluster = preserving(3);
    let group = moved(&mut cluster, 2);
    let two = NodeId(2);
    assert!(is_kept(&cluster, group));
    assert_eq!(cluster.forwarded, [(two, group, Some(hardware(FIRST)))]);
    left(&mut cluster, group, 3);
    let seen = Preserved { by: FIRST, connections: Some(3), left: None };
    let told = [1, 2, 3].map(|node| preserved(&cluster, node, group));
    let until = told[0].and_then(|told| told.left);
    assert!(until.is_some_and(|left| left > Duration::from_secs(20)), "until when: {until:?}");
    assert_eq!(told, [Some(Preserved { left: until, ..seen }), Some(seen), None]);
    cluster.run(Duration::from_secs(20));
    assert!(is_kept(&cluster, group));
    left(&mut cluster, group, 0);
    assert!(!is_kept(&cluster, group));
    assert_eq!(cluster.forwarded.last(), Some(&(two, group, None)));
    assert_eq!([1, 2].map(|node| preserved(&cluster, node, group)), [None, None]);
    assert_eq!(cluster.owner(group), [two]);
    assert_eq!(cluster.tickled, [], "the former owner has ended them itself");
}

#[test]
fn what_outlasts_the_limit_is_ended() {
    let mut cluster = preserving(2);
    let group = moved(&mut cluster, 2);
    left(&mut cluster, group, 3);
    cluster.run(LIMIT - Duration::from_secs(2));
    assert!(is_kept(&cluster, group));
    cluster.run(Duration::from_secs(2));
    assert!(!is_kept(&cluster, group));
    let ended = Report::KeptEnded { group, to: NodeId(2), left: Some(3) };
    assert!(cluster.reports.contains(&(FIRST, ended)), "{}", cluster.told());
}

#[test]
fn nothing_is_kept_for_a_receiver_that_does_not_forward() {
    let mut cluster = preserving(2);
    let old = configuration(2, 2, 6);
    cluster.step(NodeId(2), Event::Reconfigured(Box::new(old)));
    let group = moved(&mut cluster, 2);
    assert!(!is_kept(&cluster, group));
    assert_eq!(cluster.forwarded, []);
}

#[test]
fn nothing_is_forwarded_to_a_former_owner_that_has_died() {
    let mut cluster = preserving(3);
    let group = moved(&mut cluster, 2);
    left(&mut cluster, group, 3);
    cluster.kill(FIRST);
    cluster.run(Duration::from_millis(400));
    assert!(cluster.forwarded.contains(&(NodeId(2), group, None)));
    assert!(cluster.tickled.contains(&(NodeId(2), group)), "its clients may only read");
}

/// Whoever forwards has to tell their clients when the former owner dies; nobody else has.
#[test]
fn who_forwards_is_told_of_the_connections_that_are_kept() {
    let mut cluster = preserving(3);
    let group = moved(&mut cluster, 2);
    let (address, client) = ([10, 0, 0, 100].into(), [10, 0, 0, 9].into());
    let connections = vec![Connection { address, port: 80, client, client_port: 40_000 }];
    let found = || KernelEvent::Connections { group, connections: connections.clone() };
    cluster.remembered.clear();
    cluster.step(FIRST, Event::Kernel(found()));
    cluster.run(Duration::from_millis(5));
    assert_eq!(cluster.remembered, [(NodeId(2), FIRST, connections.clone())]);
    left(&mut cluster, group, 0);
    cluster.remembered.clear();
    cluster.step(FIRST, Event::Kernel(found()));
    cluster.run(Duration::from_millis(5));
    assert_eq!(cluster.remembered, [], "it keeps nothing any more");
}

#[test]
fn a_group_rests_while_connections_to_it_are_kept() {
    let mut cluster = preserving(3);
    let group = moved(&mut cluster, 2);
    left(&mut cluster, group, 3);
    let two = NodeId(2);
    let order = Order::Move { group, to: NodeId(3) };
    cluster.answers.clear();
    cluster.step(two, Event::Ordered { ticket: 2, order });
    assert_eq!(cluster.answers, [Err(Refusal::Busy)]);
    cluster.step(two, Event::Ordered { ticket: 3, order: Order::Drain(two) });
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.groups_of(2), [group]);
    left(&mut cluster, group, 0);
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.groups_of(2), []);
}

/// A stop waits until the connections have ended, for as long as it may take to hand over.
#[test]
fn a_stop_waits_for_connections_within_its_time() {
    for (case, ends, waited) in [("they end", true, 500), ("they do not", false, 1400)] {
        let mut cluster = preserving(2);
        cluster.step(FIRST, Event::Stop);
        cluster.run(Duration::from_millis(100));
        assert_eq!((cluster.share(NodeId(2)), cluster.share(FIRST)), (6, 0), "{case}");
        let kept: Vec<GroupKey> = cluster.kept.iter().map(|(_, group)| *group).collect();
        assert_eq!(kept.len(), 3, "{case}");
        cluster.run(Duration::from_millis(waited - 200));
        assert_eq!((cluster.kept.len(), cluster.stopped.len()), (3, 0), "{case}");
        if ends {
            let none = kept.iter().map(|group| (*group, 0)).collect();
            cluster.step(FIRST, Event::Kernel(KernelEvent::Kept(none)));
        }
        cluster.run(Duration::from_millis(if ends { 50 } else { 150 }));
        assert_eq!(cluster.kept.len(), 0, "{case}");
        cluster.run(Duration::from_millis(200));
        assert_eq!(cluster.stopped, [FIRST], "{case}");
    }
}

/// What was kept before a stop began ends within the time of the stop.
#[test]
fn a_stop_ends_what_was_kept_before() {
    let mut cluster = preserving(2);
    let group = moved(&mut cluster, 2);
    left(&mut cluster, group, 3);
    cluster.step(FIRST, Event::Stop);
    cluster.run(Duration::from_millis(1300));
    assert!(is_kept(&cluster, group));
    cluster.run(Duration::from_millis(200));
    assert!(!is_kept(&cluster, group));
    assert_eq!(cluster.stopped, [FIRST]);
}

/// Without connections a stop does not wait.
#[test]
fn a_stop_with_nothing_to_keep_takes_no_time() {
    let mut cluster = Cluster::start(2, 6);
    cluster.run(Duration::from_secs(5));
    cluster.step(FIRST, Event::Stop);
    cluster.run(Duration::from_millis(200));
    assert_eq!(cluster.stopped, [FIRST]);
}

/// Nodes that keep connections for as long as requests take.
fn brief(nodes: u32) -> Cluster {
    let mut cluster = preserving(nodes);
    for node in 1..=nodes {
        let preserve = Some(Preserve { limit: Duration::from_secs(2), brief: true });
        let wanted = Configuration { preserve, ..configuration(node, nodes, 6) };
        cluster.step(NodeId(node), Event::Reconfigured(Box::new(wanted)));
    }
    cluster
}

#[test]
fn what_is_kept_briefly_ends_after_its_limit_and_says_what_was_left() {
    for (left, told) in [(0, false), (3, true)] {
        let mut cluster = brief(2);
        let group = moved(&mut cluster, 2);
        assert!(is_kept(&cluster, group));
        cluster.step(FIRST, Event::Kernel(KernelEvent::Kept(vec![(group, left)])));
        cluster.run(Duration::from_millis(2100));
        assert!(!is_kept(&cluster, group));
        let ended = Report::KeptEnded { group, to: NodeId(2), left: Some(left) };
        assert_eq!(cluster.reports.contains(&(FIRST, ended)), told, "{}", cluster.told());
    }
}

/// An operator's order does not wait for what is kept briefly: back to the former owner its
/// connections go on, to a third node they end. Those of the second move are not kept.
#[test]
fn an_order_does_not_wait_for_what_is_kept_briefly() {
    for to in [1, 3] {
        let mut cluster = brief(3);
        let group = moved(&mut cluster, 2);
        let order = Order::Move { group, to: NodeId(to) };
        cluster.answers.clear();
        cluster.step(NodeId(2), Event::Ordered { ticket: 2, order });
        cluster.run(Duration::from_millis(100));
        assert_eq!(cluster.owner(group), [NodeId(to)]);
        assert_eq!(cluster.kept.len(), 0);
        assert_eq!(cluster.forwarded.last(), Some(&(NodeId(2), group, None)));
        assert_eq!(preserved(&cluster, to, group), None);
        let reset = Report::KeptEnded { group, to: NodeId(2), left: None };
        assert_eq!(cluster.reports.contains(&(FIRST, reset)), to == 3, "{}", cluster.told());
    }
}

/// An order to drain at once keeps nothing briefly, and ends what is kept.
#[test]
fn a_drain_that_is_not_to_wait_keeps_nothing_briefly() {
    let mut cluster = brief(3);
    let group = moved(&mut cluster, 2);
    assert!(is_kept(&cluster, group));
    cluster.step(FIRST, Event::Ordered { ticket: 2, order: Order::DrainNow(FIRST) });
    cluster.run(Duration::from_millis(100));
    assert_eq!((cluster.share(FIRST), cluster.kept.len()), (0, 0));
    cluster.step(NodeId(2), Event::Ordered { ticket: 3, order: Order::Drain(NodeId(2)) });
    cluster.run(Duration::from_millis(100));
    assert_ne!(cluster.kept.len(), 0, "another drain is none of it");
}

/// A node whose checks fail gives its groups away at once, also one that rests, and its clients are
/// reset at once: they would go on asking a node that cannot answer.
#[test]
fn failing_checks_keep_nothing_briefly_and_do_not_wait() {
    let mut cluster = brief(3);
    let group = moved(&mut cluster, 2);
    cluster.step(NodeId(2), Event::Fitness(vec![(PoolId::from_name("web"), Fitness::Unfit)]));
    cluster.run(Duration::from_millis(500));
    assert_eq!(cluster.groups_of(2), []);
    assert_ne!(cluster.owner(group), [NodeId(2)]);
    let kept: Vec<_> = cluster.kept.iter().filter(|(node, _)| *node == NodeId(2)).collect();
    assert!(kept.is_empty(), "{kept:?}");
}

/// The new owner dies, and the old one has the group again with its connections.
#[test]
fn who_takes_a_group_back_has_its_connections() {
    let mut cluster = preserving(2);
    let group = moved(&mut cluster, 2);
    left(&mut cluster, group, 3);
    cluster.kill(NodeId(2));
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.owner(group), [FIRST]);
    let ended = |(_, report): &(NodeId, Report)| matches!(report, Report::KeptEnded { .. });
    assert!(!cluster.reports.iter().any(ended), "{}", cluster.told());
    assert_eq!(preserved(&cluster, 1, group), None);
}

/// What each node has said decides, and nothing is said of those that have said nothing.
#[test]
fn a_plan_says_what_becomes_of_connections() {
    let fate = |says: [Preserving; 2], why, preserve: Preserve| {
        let mut cluster = preserving(2);
        for (node, says) in [1, 2].into_iter().zip(says) {
            let wanted = Configuration {
                preserve: Some(preserve),
                preserving: says,
                ..configuration(node, 2, 6)
            };
            cluster.step(NodeId(node), Event::Reconfigured(Box::new(wanted)));
        }
        cluster.run(Duration::from_secs(1));
        let group = cluster.groups_of(1)[0];
        let (from, to) = (Some(FIRST), Some(NodeId(2)));
        let planned = PlannedMove { group, from, to, why };
        let seen = |node| cluster.nodes[&NodeId(node)].fate_of_connections(&planned);
        assert_eq!(seen(1), seen(2), "both know what the other can");
        seen(1)
    };
    let drain = PlanReason::Move(MoveReason::Drain);
    let (able, no_gate) = (Preserving::Able, Preserving::NoGate);
    let reset = ConnectionsFate::Reset;
    let lacks = |node| reset(ResetReason::Node(NodeId(node), no_gate));
    let brief = Preserve { limit: Duration::from_secs(2), brief: true };
    for (says, why, preserve, due) in [
        ([able, able], drain, LONG, ConnectionsFate::Preserved(LIMIT)),
        ([able, Preserving::AvailabilityOnly], drain, LONG, ConnectionsFate::Preserved(LIMIT)),
        ([no_gate, able], drain, LONG, lacks(1)),
        ([able, no_gate], drain, LONG, lacks(2)),
        ([able, Preserving::Unknown], drain, LONG, ConnectionsFate::Unknown),
        ([able, able], PlanReason::Move(MoveReason::Checks), brief, reset(ResetReason::ChecksFail)),
        ([able, able], PlanReason::New, LONG, ConnectionsFate::None),
    ] {
        assert_eq!(fate(says, why, preserve), due, "{says:?} {why:?}");
    }
}
