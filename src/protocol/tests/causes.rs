//! Why groups are where they are, as it is told; what counts as a fall.

use super::*;
use crate::protocol::group::Holding;

fn settled(nodes: u32, groups: u64) -> Cluster {
    let mut cluster = Cluster::start(nodes, groups);
    cluster.run(Duration::from_secs(5));
    cluster.reports.clear();
    cluster
}

/// The cause of the claim of a group, as this node knows it.
fn cause(cluster: &Cluster, node: u32, group: GroupKey) -> Option<Cause> {
    let status = cluster.nodes[&NodeId(node)].status(cluster.now);
    status.groups.iter().find(|known| known.group == group).and_then(|known| known.cause)
}

fn reload(cluster: &mut Cluster, node: u32, groups: u64) {
    let configuration = configuration(node, 2, groups);
    cluster.step(NodeId(node), Event::Reconfigured(Box::new(configuration)));
}

#[test]
fn a_group_that_was_removed_and_added_again_was_not_beyond_its_owner() {
    for first in [1, 2] {
        let mut cluster = settled(2, 4);
        let group = GroupKey(mix(4));
        let owner = cluster.owner(group)[0];
        for node in [first, 3 - first] {
            reload(&mut cluster, node, 3);
            cluster.run(Duration::from_secs(1));
        }
        assert_eq!(cluster.owner_count(group), 0, "{}", cluster.told());
        for node in [first, 3 - first] {
            reload(&mut cluster, node, 4);
        }
        cluster.run(Duration::from_secs(1));
        assert_eq!(cluster.owner_count(group), 1, "{}", cluster.told());
        let told = cause(&cluster, 1, group);
        assert!(matches!(told, Some(Cause::Removed(_))), "{told:?}, it was of {owner}");
    }
}

#[test]
fn a_receiver_that_has_forgotten_the_offer_invents_no_reason() {
    let cluster = settled(2, 4);
    let node = &cluster.nodes[&NodeId(1)];
    let told = node.promised_cause(GroupKey(mix(4)), NodeId(2));
    assert_eq!(told, Cause::HandedOver(NodeId(2)));
}

/// A node with too many groups, which its kernel has not added yet: they are not passed on.
#[test]
fn what_is_only_claimed_is_not_moved_for_balance() {
    let mut cluster = settled(2, 4);
    cluster.kill(NodeId(2));
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.share(NodeId(1)), 4, "{}", cluster.told());
    let node = cluster.nodes.get_mut(&NodeId(1)).expect("it lives");
    let held: Vec<(GroupKey, Holding)> =
        node.groups.iter().map(|(group, here)| (*group, here.holding)).collect();
    for (group, holding) in &held {
        let Holding::Held { ticket, epoch } = *holding else { panic!("{holding:?}") };
        let adding = Holding::Adding { ticket, epoch };
        node.groups.get_mut(group).expect("it is known").holding = adding;
    }
    cluster.restart(2, 2, 4);
    cluster.run(Duration::from_secs(10));
    assert_eq!(cluster.share(NodeId(1)), 4, "{}", cluster.told());
    let node = cluster.nodes.get_mut(&NodeId(1)).expect("it lives");
    for (group, holding) in held {
        node.groups.get_mut(&group).expect("it is known").holding = holding;
    }
    cluster.run(Duration::from_secs(10));
    assert_eq!(cluster.share(NodeId(1)), 2, "{}", cluster.told());
}

#[test]
fn a_crash_and_the_restart_after_it_are_one_fall() {
    let mut cluster = settled(3, 6);
    let damped = |cluster: &Cluster| {
        let told = cluster.nodes[&NodeId(1)].explain(cluster.now, GroupKey(mix(1)));
        let candidates = told.expect("the group is configured").candidates;
        let mut third = candidates.iter().filter(|candidate| candidate.node == NodeId(3));
        third.find_map(|candidate| candidate.damped)
    };
    // Whether it is missed before it is back, or not.
    for (fall, away) in [(1, 500), (2, 500), (3, 100)] {
        assert_eq!(damped(&cluster), None, "before fall {fall}");
        cluster.kill(NodeId(3));
        cluster.run(Duration::from_millis(away));
        cluster.restart(3, 3, 6);
        cluster.run(Duration::from_secs(5));
    }
    let left = damped(&cluster).expect("it fell three times within a minute");
    assert!(left > Duration::from_secs(30) && left < Duration::from_secs(60), "{left:?}");
    cluster.run(left);
    assert_eq!(damped(&cluster), None, "it was told until when");
}

/// A kernel refuses a group, an operator mends that and reloads the file as it is: peers need not wait
/// until the refusal is old to give the group to this node.
#[test]
fn what_was_refused_is_forgotten_at_a_reload_that_changes_nothing() {
    let mut cluster = settled(2, 4);
    let group = cluster.groups_of(1)[0];
    let (from, to) = (NodeId(1), NodeId(2));
    cluster.refusing.insert(to);
    let order = Order::Move { group, to };
    cluster.step(from, Event::Ordered { ticket: 1, order });
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.owner(group), [from], "{}", cluster.told());
    cluster.refusing.remove(&to);
    cluster.step(from, Event::Ordered { ticket: 2, order });
    assert_eq!(cluster.answers.last(), Some(&Err(Refusal::ReceiverUnable)));
    cluster.step(to, Event::Retry);
    cluster.run(Duration::from_millis(200));
    cluster.step(from, Event::Ordered { ticket: 3, order });
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.owner(group), [to], "{}", cluster.told());
}

#[test]
fn what_a_node_cannot_hold_it_is_not_offered_and_the_order_says_why() {
    let mut cluster = settled(2, 4);
    let group = cluster.groups_of(1)[0];
    let to = NodeId(2);
    let usable = |usable| Event::Kernel(KernelEvent::Usable { group, usable });
    cluster.step(to, usable(false));
    cluster.run(Duration::from_millis(50));
    let order = Order::Move { group, to };
    cluster.step(NodeId(1), Event::Ordered { ticket: 1, order });
    assert_eq!(cluster.answers.last(), Some(&Err(Refusal::ReceiverUnable)));
    let told = cluster.nodes[&NodeId(1)].explain(cluster.now, group).expect("it is configured");
    let other = told.candidates.iter().find(|candidate| candidate.node == to);
    let standing = other.map(|candidate| candidate.standing);
    assert_eq!(standing, Some(Standing::Unable(Inability::LinkDown)));
    cluster.step(to, usable(true));
    cluster.run(Duration::from_millis(50));
    cluster.step(NodeId(1), Event::Ordered { ticket: 2, order });
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.owner(group), [to], "{}", cluster.told());
}
