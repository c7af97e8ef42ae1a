//! Mode majority at reloads, and what a voter says: A1, A8, A9, A12 and L7 in docs/faults.md.

use super::super::leases::{GrantTerms, Leases};
use super::super::message::{Backing, Bid};
use super::super::voter::{Holder, Terms, Voter};
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
        assert_eq!((node.leases.wanted().count(), node.granted()), (0, None));
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

fn terms(lease: Duration) -> Terms {
    Terms {
        lease,
        promise: promise(lease),
        refusal: None,
        isolated: false,
        heard: true,
        longest: lease,
        lists: vec![1],
        named: true,
    }
}

fn holder(node: u32) -> Holder {
    Holder { node: NodeId(node), incarnation: Incarnation(1) }
}

/// Asks at `at` milliseconds for groups that were not asked for before; the answer to what was asked
/// at `answered` has come.
fn request(at: u64, answered: Option<u64>, groups: u32) -> LeaseRequest {
    let wish = |version| Wish { version, group: GroupKey(version.into()), wanted: true };
    LeaseRequest {
        asked_at: at * 1_000_000,
        voters: 0,
        base: 0,
        upto: groups,
        wishes: (1..=groups).map(wish).collect(),
        bid: Some(Bid { lease: LEASE, answered: answered.map(|at| at * 1_000_000) }),
    }
}

fn votes(grants: &[LeaseGrant]) -> Vec<Vote> {
    grants.iter().map(|grant| grant.vote).collect()
}

#[test]
fn all_that_is_refused_is_named_in_as_many_messages_as_it_takes() {
    let (now, mut voter) = (Instant::from_millis(10_000), Voter::new(Instant::START));
    let (first, second) = (holder(1), holder(2));
    let _ = voter.answer(now, first, &request(1, None, 300), &terms(LEASE));
    let grants = voter.answer(now, second, &request(1, None, 310), &terms(LEASE));
    let bounds = |grant: &LeaseGrant| {
        let after = grant.backing.as_ref().map(|it: &Backing| it.after);
        (after, grant.upto, grant.refused.len())
    };
    let parts: Vec<_> = grants.iter().map(bounds).collect();
    assert_eq!(parts, [(Some(0), 128, 128), (Some(128), 256, 128), (Some(256), 310, 44)]);
    // Whoever takes in all of them has what was not refused, and nothing else.
    let me = NodeId(9);
    let mut leases = Leases::default();
    leases.set_voters(Instant::START, vec![me]);
    (1..=310).for_each(|group| leases.want(GroupKey(group)));
    let asked = leases.requests(Instant::from_millis(1), me, LEASE);
    assert!(!asked.is_empty());
    for grant in &grants {
        let terms = GrantTerms { lease: LEASE, from: None, floored: true };
        leases.grant(me, grant, terms);
    }
    let leased = |group: &u64| leases.until(GroupKey(*group)) > Instant::START;
    assert_eq!((1..=310).filter(leased).collect::<Vec<_>>(), (301..=310).collect::<Vec<_>>());
    // Older software would take the second message for a grant of what the first refuses.
    let older = LeaseRequest { bid: None, ..request(2, None, 310) };
    let grants = voter.answer(now, second, &older, &terms(LEASE));
    assert_eq!((grants.len(), grants[0].upto), (1, 128));
}

#[test]
fn who_does_not_hear_the_answers_is_promised_nothing_more() {
    let at = Instant::from_millis;
    let mut voter = Voter::new(Instant::START);
    let (deaf, other) = (holder(1), holder(2));
    let mut ask = |now, holder, answered| {
        votes(&voter.answer(at(now), holder, &request(now, answered, 1), &terms(LEASE)))[0]
    };
    assert_eq!(ask(1_000, deaf, None), Vote::Granted, "the first");
    assert_eq!(ask(1_100, deaf, Some(1_000)), Vote::Granted);
    assert_eq!(ask(1_390, deaf, Some(1_100)), Vote::Granted, "it may hear the next");
    for now in [1_410, 1_500, 1_900] {
        assert_eq!(ask(now, deaf, Some(1_100)), Vote::Starting, "at {now}");
    }
    // The promise of 1390 is over after 661 ms.
    assert_eq!(ask(2_052, other, None), Vote::Granted);
    let grants = voter.answer(at(2_060), deaf, &request(2_060, Some(2_055), 1), &terms(LEASE));
    assert_eq!(grants[0].refused, [GroupKey(1)], "it hears again");
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
    let digest = node.leases.digest();
    let ask = |node: &mut Node, lease| {
        let bid = Some(Bid { lease, answered: None });
        let wishes = Vec::new();
        let asked_at = at(1).as_nanos();
        let request = LeaseRequest { asked_at, voters: digest, base: 0, upto: 0, wishes, bid };
        let grant = node.vote(NodeId(2), &request).remove(0);
        (grant.vote, grant.backing.expect("it was asked with a bid").lease)
    };
    // What is longer than what is stored is not vouched for before that is stored.
    assert_eq!(ask(node, slow), (Vote::Granted, LEASE));
    cluster.run(SECOND);
    let node = cluster.nodes.get_mut(&NodeId(1)).expect("it runs");
    assert_eq!(ask(node, slow), (Vote::Granted, slow));
    assert_eq!(ask(node, Duration::from_millis(300)), (Vote::Granted, LEASE));
}
