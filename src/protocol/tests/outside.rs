//! Groups that routers outside have, or want (VRRP).

use super::*;

const THEIRS: HardwareAddress = HardwareAddress([2, 0xee, 0, 0, 0, 1]);

fn key() -> GroupKey {
    GroupKey(mix(1))
}

/// Every member hears the same.
fn tell(cluster: &mut Cluster, outside: Outside) {
    let nodes: Vec<NodeId> = cluster.nodes.keys().copied().collect();
    for node in nodes {
        cluster.step(node, Event::Outside { group: key(), outside: Some(outside) });
    }
}

fn settled(nodes: u32) -> Cluster {
    let mut cluster = Cluster::without(None, nodes, 3).with_hardware();
    cluster.kernels_answer = true;
    tell(&mut cluster, Outside::Nobody);
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.covered(), 3);
    cluster.reports.clear();
    cluster
}

fn voices(cluster: &Cluster) -> Vec<Voice> {
    let voices = cluster.nodes.values().map(|node| node.voice(key()));
    voices.filter(|voice| *voice != Voice::Silent).collect()
}

#[test]
fn nobody_takes_a_group_before_it_is_known_who_has_it_outside() {
    let mut cluster = Cluster::without(None, 3, 3).with_hardware();
    tell(&mut cluster, Outside::Unknown);
    cluster.run(Duration::from_secs(60));
    assert_eq!((cluster.owner_count(key()), cluster.covered()), (0, 2));
    tell(&mut cluster, Outside::Nobody);
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.covered(), 3, "{:?}", cluster.open);
    assert_eq!(voices(&cluster), [Voice::Speaks]);
}

#[test]
fn a_router_that_prevails_is_left_the_group_until_it_is_gone() {
    let mut cluster = settled(3);
    let prevails = Outside::Prevails(Some(THEIRS));
    cluster.conflicts.insert(key(), THEIRS);
    tell(&mut cluster, prevails);
    cluster.run(Duration::from_millis(10));
    assert_eq!(cluster.owner_count(key()), 0, "at once");
    assert_eq!(voices(&cluster), []);
    cluster.run(Duration::from_secs(60));
    assert_eq!((cluster.owner_count(key()), cluster.covered()), (0, 2));
    let why = Report::Unable { group: key(), why: Inability::Outside(prevails) };
    let told = cluster.reports.iter().filter(|(_, report)| *report == why).count();
    assert_eq!(told, 3, "once by each: {}", cluster.told());
    let shown = cluster.nodes.values().filter(|node| {
        let status = node.status(cluster.now);
        status.groups.iter().any(|it| it.unable_here == Some(Inability::Outside(prevails)))
    });
    assert_eq!(shown.count(), 3);
    cluster.conflicts.clear();
    tell(&mut cluster, Outside::Nobody);
    cluster.run(Duration::from_millis(100));
    assert_eq!(cluster.owner_count(key()), 1, "{}", cluster.told());
}

/// It says that it stops before it removes its addresses, and its kernel answers meanwhile.
#[test]
fn a_router_that_stops_is_followed_soon_after_its_last_answer() {
    let mut cluster = settled(3);
    cluster.conflicts.insert(key(), THEIRS);
    tell(&mut cluster, Outside::Prevails(Some(THEIRS)));
    cluster.run(Duration::from_secs(5));
    tell(&mut cluster, Outside::Nobody);
    cluster.run(Duration::from_millis(120));
    assert_eq!(cluster.owner_count(key()), 0, "it still answers: {}", cluster.told());
    cluster.conflicts.clear();
    cluster.run(Duration::from_millis(120));
    assert_eq!(cluster.owner_count(key()), 1, "{}", cluster.told());
}

/// Its kernel answers until it hears the owner, so what it answers hinders nobody.
#[test]
fn a_group_is_taken_from_a_router_that_gives_way() {
    let mut cluster = Cluster::without(None, 3, 3).with_hardware();
    tell(&mut cluster, Outside::Prevails(Some(THEIRS)));
    cluster.conflicts.insert(key(), THEIRS);
    cluster.run(Duration::from_secs(10));
    assert_eq!(cluster.owner_count(key()), 0);
    tell(&mut cluster, Outside::GivesWay(Some(THEIRS)));
    cluster.run(Duration::from_millis(1100));
    assert_eq!(cluster.owner_count(key()), 1, "{}", cluster.told());
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.owner_count(key()), 1);
}

/// Who is configured otherwise decides nothing: whoever has the group keeps it, and before it is
/// taken the network is asked.
#[test]
fn a_router_that_differs_neither_takes_nor_hinders() {
    let mut cluster = settled(3);
    let owner = cluster.owner(key())[0];
    tell(&mut cluster, Outside::Differs(Some(THEIRS)));
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.owner(key()), [owner]);
    cluster.kill(owner);
    cluster.run(Duration::from_millis(500));
    assert_eq!(cluster.owner_count(key()), 1, "nobody answers: {}", cluster.told());
    let owner = cluster.owner(key())[0];
    cluster.conflicts.insert(key(), THEIRS);
    cluster.kill(owner);
    cluster.run(Duration::from_secs(3));
    assert_eq!(cluster.owner_count(key()), 0, "it answers");
}

#[test]
fn a_move_inside_is_made_as_ever() {
    let mut cluster = settled(3);
    let owner = cluster.owner(key())[0];
    cluster.kill(owner);
    cluster.run(Duration::from_millis(500));
    assert_eq!(voices(&cluster), [Voice::Speaks], "{}", cluster.told());
    let owner = cluster.owner(key())[0];
    cluster.step(owner, Event::Stop);
    cluster.run(Duration::from_millis(500));
    assert_eq!(voices(&cluster), [Voice::Speaks], "it was handed over: {}", cluster.told());
}

/// The last of a cluster goes on answering until somebody outside does.
#[test]
fn the_last_member_gives_the_group_to_the_outside_before_it_stops() {
    let mut cluster = settled(1);
    cluster.step(NodeId(1), Event::Stop);
    cluster.run(Duration::from_millis(600));
    assert_eq!((voices(&cluster), cluster.owner_count(key())), (vec![Voice::Yields], 1));
    assert_eq!(cluster.covered(), 1, "the others are gone");
    tell(&mut cluster, Outside::Prevails(Some(THEIRS)));
    cluster.run(Duration::from_millis(100));
    assert_eq!(cluster.owner_count(key()), 0);
    assert_eq!(cluster.stopped, [NodeId(1)]);

    let mut cluster = settled(1);
    cluster.step(NodeId(1), Event::Stop);
    cluster.run(Duration::from_millis(1300));
    assert_eq!((cluster.owner_count(key()), &cluster.stopped[..]), (0, &[NodeId(1)][..]));
}

/// Its announcement is often there before its first advertisement. A defence would send the clients
/// back to a host that leaves.
#[test]
fn the_router_that_the_last_member_has_given_the_group_to_is_not_answered() {
    let mut cluster = settled(1);
    cluster.step(NodeId(1), Event::Stop);
    cluster.run(Duration::from_millis(600));
    cluster.announced.clear();
    let claimed = KernelEvent::Claimed { group: key(), hardware: THEIRS, direct: false };
    cluster.step(NodeId(1), Event::Kernel(claimed));
    cluster.run(Duration::from_millis(100));
    assert_eq!(cluster.announced, []);
    assert_eq!((cluster.owner_count(key()), &cluster.stopped[..]), (0, &[NodeId(1)][..]));
}

/// A member that has taken in a new file listens again; the owner does not wait for it.
#[test]
fn a_member_that_listens_again_is_offered_nothing() {
    let mut cluster = settled(2);
    let owner = cluster.owner(key())[0];
    let other = *cluster.nodes.keys().find(|node| **node != owner).unwrap();
    cluster.step(other, Event::Outside { group: key(), outside: Some(Outside::Unknown) });
    cluster.step(owner, Event::Stop);
    cluster.run(Duration::from_millis(800));
    assert_eq!(cluster.owner(key()), [owner], "it keeps what the other cannot have yet");
    cluster.step(other, Event::Outside { group: key(), outside: Some(Outside::Nobody) });
    cluster.run(Duration::from_millis(1000));
    assert_eq!(cluster.owner(key()), [other], "{}", cluster.told());
}

#[test]
fn a_group_that_is_no_virtual_router_any_more_is_given_to_nobody() {
    let mut cluster = settled(1);
    cluster.step(NodeId(1), Event::Outside { group: key(), outside: None });
    cluster.step(NodeId(1), Event::Stop);
    cluster.run(Duration::from_millis(100));
    assert_eq!((cluster.owner_count(key()), &cluster.stopped[..]), (0, &[NodeId(1)][..]));
}

/// During a migration buoy is stopped on a host, and keepalived is started there.
#[test]
fn the_host_of_a_node_that_left_may_be_a_router_that_gives_way() {
    let mut cluster = settled(2);
    let gone = cluster.owner(key())[0];
    let other = *cluster.nodes.keys().find(|node| **node != gone).unwrap();
    cluster.step(gone, Event::Stop);
    cluster.run(Duration::from_millis(500));
    let there = hardware(gone);
    cluster.step(
        other,
        Event::Outside { group: key(), outside: Some(Outside::Prevails(Some(there))) },
    );
    cluster.conflicts.insert(key(), there);
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.owner_count(key()), 0);
    cluster.step(
        other,
        Event::Outside { group: key(), outside: Some(Outside::GivesWay(Some(there))) },
    );
    cluster.run(Duration::from_millis(1100));
    assert_eq!(cluster.owner(key()), [other], "{}", cluster.told());
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.owner(key()), [other], "{}", cluster.told());
}

/// FRR announces the address, and its first advertisement comes a moment later: an owner that defends
/// the group in between sends clients back to a node that gives way.
#[test]
fn who_announces_and_then_prevails_is_not_answered() {
    let claimed =
        Event::Kernel(KernelEvent::Claimed { group: key(), hardware: THEIRS, direct: false });
    for prevails in [true, false] {
        let mut cluster = settled(1);
        // The repeats of the takeover are over.
        cluster.run(Duration::from_secs(10));
        cluster.announced.clear();
        // keepalived announces five times.
        for _ in 0..5 {
            cluster.step(NodeId(1), claimed.clone());
            cluster.run(Duration::from_millis(1));
        }
        if prevails {
            tell(&mut cluster, Outside::Prevails(Some(THEIRS)));
        }
        cluster.run(Duration::from_millis(200));
        let of_group = cluster.announced.iter().filter(|(_, _, group)| *group == key());
        assert_eq!(of_group.count() == 0, prevails, "{}", cluster.told());
    }
}

/// The same when the group was defended a moment ago, so that it is not announced once more: nor are its
/// clients told one by one before it is known whether the router prevails.
#[test]
fn who_announces_soon_again_and_then_prevails_is_not_answered_to_clients_either() {
    let claimed =
        Event::Kernel(KernelEvent::Claimed { group: key(), hardware: THEIRS, direct: false });
    for prevails in [true, false] {
        let mut cluster = settled(1);
        cluster.run(Duration::from_secs(10));
        cluster.step(NodeId(1), claimed.clone());
        cluster.run(Duration::from_secs(4));
        cluster.corrected.clear();
        cluster.step(NodeId(1), claimed.clone());
        assert_eq!(cluster.corrected, []);
        cluster.run(Duration::from_millis(1));
        if prevails {
            tell(&mut cluster, Outside::Prevails(Some(THEIRS)));
        }
        cluster.run(Duration::from_millis(200));
        assert_eq!(cluster.corrected.is_empty(), prevails, "{:?}", cluster.corrected);
    }
}
