//! When a draining node gives its groups away, as far as connections have a say.

use super::*;

const NODE: NodeId = NodeId(1);
const TIMEOUT: Duration = Duration::from_secs(30);

/// Two nodes, node 1 with at least two groups, which waits when it drains.
fn settled() -> (Cluster, Vec<GroupKey>) {
    let mut cluster = Cluster::start(2, 4);
    cluster.run(Duration::from_secs(7));
    let patient = Configuration { drain_timeout: TIMEOUT, ..configuration(1, 2, 4) };
    cluster.step(NODE, Event::Reconfigured(Box::new(patient)));
    let groups = cluster.groups_of(1);
    assert_eq!(groups.len(), 2);
    (cluster, groups)
}

fn order(cluster: &mut Cluster, order: Order) {
    cluster.step(NODE, Event::Ordered { ticket: 1, order });
}

fn remain(cluster: &mut Cluster, remaining: &[(GroupKey, u32)]) {
    let event = KernelEvent::ConnectionsRemain(remaining.to_vec());
    cluster.step(NODE, Event::Kernel(event));
    cluster.run(Duration::from_secs(1));
}

fn waiting(cluster: &Cluster, seen_by: u32) -> Option<Waiting> {
    let status = cluster.nodes[&NodeId(seen_by)].status(cluster.now);
    status.nodes.iter().find(|one| one.node == NODE)?.waiting
}

#[test]
fn each_group_goes_when_its_connections_have_ended() {
    let (mut cluster, groups) = settled();
    order(&mut cluster, Order::Drain(NODE));
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.watching, [(NODE, true)]);
    assert_eq!(cluster.groups_of(1), groups, "nothing is known of connections yet");
    assert_eq!(waiting(&cluster, 1).unwrap().connections, None);
    remain(&mut cluster, &[(groups[0], 2), (groups[1], 5)]);
    assert_eq!(cluster.groups_of(1), groups);
    for node in [1, 2] {
        let told = waiting(&cluster, node).expect("everybody knows");
        assert_eq!(told.connections, Some(7));
        assert!(told.left < TIMEOUT && told.left > TIMEOUT - Duration::from_secs(4), "{told:?}");
    }
    remain(&mut cluster, &[(groups[1], 1)]);
    assert_eq!(cluster.groups_of(1), groups[1..]);
    assert!(!cluster.nodes[&NODE].is_drained(), "it has a group");
    remain(&mut cluster, &[]);
    assert_eq!(cluster.groups_of(1), []);
    assert_eq!(waiting(&cluster, 2), None);
    assert_eq!(cluster.watching, [(NODE, true), (NODE, false)]);
    assert!(cluster.nodes[&NODE].is_drained());
    cluster.run(Duration::from_secs(60));
    assert_eq!(cluster.groups_of(1), [], "it takes nothing");
}

#[test]
fn what_outlasts_the_time_moves_all_the_same() {
    let (mut cluster, groups) = settled();
    order(&mut cluster, Order::Drain(NODE));
    remain(&mut cluster, &[(groups[0], 2), (groups[1], 5)]);
    cluster.run(TIMEOUT - Duration::from_secs(2));
    assert_eq!(cluster.groups_of(1), groups);
    cluster.run(Duration::from_secs(2));
    assert_eq!(cluster.groups_of(1), []);
    assert_eq!(cluster.watching, [(NODE, true), (NODE, false)]);
}

#[test]
fn ordered_now_it_does_not_wait_or_waits_no_longer() {
    let (mut cluster, groups) = settled();
    order(&mut cluster, Order::DrainNow(NODE));
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.groups_of(1), []);
    assert_eq!(cluster.watching, [], "there was nothing to wait for");
    order(&mut cluster, Order::Undrain(NODE));
    cluster.run(Duration::from_secs(10));
    order(&mut cluster, Order::Drain(NODE));
    remain(&mut cluster, &[(groups[0], 1), (groups[1], 1)]);
    let held = cluster.groups_of(1).len();
    assert!(held > 0);
    order(&mut cluster, Order::DrainNow(NODE));
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.groups_of(1), []);
}

#[test]
fn undrained_it_keeps_what_it_has() {
    let (mut cluster, groups) = settled();
    order(&mut cluster, Order::Drain(NODE));
    remain(&mut cluster, &[(groups[0], 1), (groups[1], 1)]);
    order(&mut cluster, Order::Undrain(NODE));
    cluster.run(TIMEOUT * 2);
    assert_eq!(cluster.groups_of(1), groups);
    assert_eq!(cluster.watching, [(NODE, true), (NODE, false)]);
}

#[test]
fn a_stop_does_not_wait() {
    let (mut cluster, groups) = settled();
    order(&mut cluster, Order::Drain(NODE));
    remain(&mut cluster, &[(groups[0], 1), (groups[1], 1)]);
    cluster.step(NODE, Event::Stop);
    cluster.run(Duration::from_secs(2));
    assert_eq!(cluster.groups_of(1), []);
    assert_eq!(cluster.stopped, [NODE]);
}
