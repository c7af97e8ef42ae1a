//! Mode majority at reloads, and what a voter says: A1, A8, A9, A12 and L7 in docs/faults.md.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_millis(600);

/// All nodes reload: their groups are in this mode, and this node has no vote.
fn reload(cluster: &mut Cluster, mode: Mode, silent: u32) {
    let nodes: Vec<NodeId> = cluster.nodes.keys().copied().collect();
    for node in nodes {
        let mut next = configuration(node.0, 3, 2);
        next.groups.values_mut().for_each(|group| group.mode = mode);
        if let Some(member) = next.nodes.get_mut(&NodeId(silent)) {
            member.votes = false;
        }
        cluster.step(node, Event::Reconfigured(Box::new(next)));
    }
}

fn granted(cluster: &Cluster) -> usize {
    cluster.nodes.values().filter(|node| node.granted().is_some()).count()
}

#[test]
fn groups_that_are_held_get_a_lease_when_their_mode_becomes_majority() {
    let mut cluster = Cluster::start(3, 2);
    cluster.run(10 * SECOND);
    let owners: Vec<_> = cluster.open.values().cloned().collect();
    // The kernel says nothing: it has all addresses already.
    reload(&mut cluster, Mode::Majority, 0);
    cluster.run(5 * SECOND);
    assert!(granted(&cluster) > 0, "{}", cluster.told());
    for (group, owners) in &cluster.open {
        let node = &cluster.nodes[&owners[0]];
        assert!(node.leased(*group), "{group} has no lease");
    }
    assert_eq!(cluster.open.values().cloned().collect::<Vec<_>>(), owners);
}

#[test]
fn voters_throw_nothing_out_that_is_no_longer_in_mode_majority() {
    let mut cluster = Cluster::start(3, 2);
    reload(&mut cluster, Mode::Majority, 0);
    cluster.run(15 * SECOND);
    let owners = cluster.open.clone();
    let before = cluster.reports.len();
    reload(&mut cluster, Mode::Availability, 0);
    for node in cluster.nodes.values() {
        assert_eq!((node.quorum.wanted().count(), node.granted()), (0, None));
    }
    // Each in turn goes by another list.
    for silent in [1, 2, 3] {
        let node = NodeId(silent);
        let mut next = configuration(silent, 3, 2);
        next.nodes.get_mut(&node).expect("configured").votes = false;
        cluster.step(node, Event::Reconfigured(Box::new(next)));
        cluster.run(2 * SECOND);
    }
    assert_eq!(cluster.open, owners);
    let said = &cluster.reports[before..];
    let wrong =
        |report: &Report| matches!(report, Report::MajorityLost { .. } | Report::Released { .. });
    assert!(!said.iter().any(|(_, report)| wrong(report)), "{}", cluster.told());
}

#[test]
fn a_promise_outlasts_the_longer_lease_of_both() {
    let at = Instant::from_millis;
    let slow = Duration::from_secs(4);
    let mut cluster = Cluster::start(3, 1);
    let mut next = configuration(1, 3, 1);
    next.groups.values_mut().for_each(|group| group.mode = Mode::Majority);
    cluster.step(NodeId(1), Event::Reconfigured(Box::new(next)));
    cluster.run(10 * SECOND);
    let node = cluster.nodes.get_mut(&NodeId(1)).expect("it runs");
    let digest = node.quorum.digest();
    let ask = |node: &mut Node, lease| {
        let bid = Some(Bid { lease, answered: None });
        let wishes = Vec::new();
        let asked_at = at(1).as_nanos();
        let request = LeaseRequest { asked_at, voters: digest, base: 0, upto: 0, wishes, bid };
        let peer = node.peer_view(NodeId(2));
        let grant = node.quorum.vote(&node.env, &peer, &request).remove(0);
        (grant.vote, grant.backing.expect("it was asked with a bid").lease)
    };
    // What is longer than what is stored is not vouched for before that is stored.
    assert_eq!(ask(node, slow), (Vote::Granted, LEASE));
    cluster.run(SECOND);
    let node = cluster.nodes.get_mut(&NodeId(1)).expect("it runs");
    assert_eq!(ask(node, slow), (Vote::Granted, slow));
    assert_eq!(ask(node, Duration::from_millis(300)), (Vote::Granted, LEASE));
}
