//! Who is told of connections, and after which takings clients are told.

use super::*;

const GROUP: GroupKey = GroupKey(mix(1));

fn settled(nodes: u32) -> Cluster {
    let mut cluster = Cluster::start(nodes, 1);
    cluster.run(Duration::from_secs(7));
    assert_eq!(cluster.covered(), 1);
    cluster
}

fn connection() -> Connection {
    let (address, client) = ([10, 0, 0, 100].into(), [10, 0, 0, 9].into());
    Connection { address, port: 80, client, client_port: 40_000 }
}

fn found() -> Event {
    let connections = vec![connection()];
    Event::Kernel(KernelEvent::Connections { group: GROUP, connections })
}

#[test]
fn an_owner_tells_its_heirs_and_nobody_else_tells() {
    let mut cluster = settled(4);
    let owner = cluster.owner(GROUP)[0];
    let others: Vec<NodeId> = cluster.nodes.keys().copied().filter(|it| *it != owner).collect();
    cluster.step(others[0], found());
    cluster.run(Duration::from_millis(5));
    assert_eq!(cluster.remembered, [], "it does not own the group");
    cluster.step(owner, found());
    cluster.run(Duration::from_millis(5));
    assert_eq!(cluster.remembered.len(), 2, "a claim has two heirs: {:?}", cluster.remembered);
    let told: Vec<NodeId> = cluster.remembered.iter().map(|(at, _, _)| *at).collect();
    assert!(cluster.remembered.iter().all(|(_, from, _)| *from == owner));
    assert!(cluster.remembered.iter().all(|(_, _, told)| *told == [connection()]));
    cluster.kill(owner);
    cluster.run(Duration::from_secs(7));
    assert!(told.contains(&cluster.owner(GROUP)[0]), "whoever was told takes it");
}

#[test]
fn clients_are_told_once_after_a_death_when_the_group_has_been_announced() {
    let mut cluster = settled(3);
    assert_eq!(cluster.tickled, [], "nobody had it before");
    let owner = cluster.owner(GROUP)[0];
    cluster.kill(owner);
    cluster.announced.clear();
    while cluster.tickled.is_empty() {
        assert!(cluster.now < Instant::from_millis(10_000));
        cluster.run(Duration::from_millis(1));
    }
    let heir = cluster.owner(GROUP)[0];
    assert_eq!(cluster.announced.len(), 1, "not before it is announced");
    cluster.run(Duration::from_secs(120));
    assert_eq!(cluster.tickled, [(heir, GROUP)], "repeats of the announcement do not tell again");
}

#[test]
fn clients_of_a_group_that_is_handed_over_are_not_told() {
    let mut cluster = settled(3);
    let owner = cluster.owner(GROUP)[0];
    cluster.step(owner, Event::Ordered { ticket: 1, order: Order::Drain(owner) });
    cluster.run(Duration::from_secs(7));
    assert_ne!(cluster.owner(GROUP), [owner]);
    assert_eq!(cluster.tickled, [], "its owner has ended the connections");
    // The new owner dies: that is another matter.
    let second = cluster.owner(GROUP)[0];
    cluster.kill(second);
    cluster.run(Duration::from_secs(7));
    assert_eq!(cluster.tickled.len(), 1);
}
