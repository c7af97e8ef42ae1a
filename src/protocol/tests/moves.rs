//! Placement and planned moves.

use super::*;

#[test]
fn a_lone_node_takes_everything() {
    let mut cluster = Cluster::start(1, 5);
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.share(NodeId(1)), 5);
}

#[test]
fn three_nodes_share_thirty_groups_and_nothing_moves_any_more() {
    let mut cluster = Cluster::start(3, 30);
    cluster.run(Duration::from_secs(3));
    assert_eq!([1, 2, 3].map(|node| cluster.share(NodeId(node))), [10, 10, 10]);
    cluster.reports.clear();
    cluster.run(Duration::from_secs(60));
    assert_eq!(cluster.reports, []);
}

#[test]
fn survivors_take_over_within_the_detection_time_and_share_alike() {
    let mut cluster = Cluster::start(3, 30);
    cluster.run(Duration::from_secs(3));
    cluster.kill(NodeId(2));
    cluster.run(Duration::from_millis(310));
    assert_eq!(cluster.covered(), 30);
    assert_eq!([1, 3].map(|node| cluster.share(NodeId(node))), [15, 15]);
}

#[test]
fn a_pair_survives_the_death_of_one() {
    let mut cluster = Cluster::start(2, 4);
    cluster.run(Duration::from_secs(3));
    cluster.kill(NodeId(1));
    cluster.run(Duration::from_millis(310));
    assert_eq!(cluster.share(NodeId(2)), 4);
}

#[test]
fn a_returning_node_gets_its_share_back_and_no_more() {
    let mut cluster = Cluster::start(3, 30);
    cluster.run(Duration::from_secs(3));
    cluster.kill(NodeId(2));
    cluster.run(Duration::from_secs(2));
    cluster.reports.clear();
    cluster.restart(2, 3, 30);
    cluster.run(Duration::from_secs(20));
    assert_eq!([1, 2, 3].map(|node| cluster.share(NodeId(node))), [10, 10, 10]);
    let acquired = cluster.reports.iter();
    let acquired = acquired.filter(|(_, report)| matches!(report, Report::Acquired { .. }));
    assert_eq!(acquired.count(), 10, "{}", cluster.told());
}

#[test]
fn a_drained_node_ends_empty_and_fills_again() {
    let mut cluster = Cluster::start(3, 30);
    cluster.run(Duration::from_secs(3));
    cluster.step(NodeId(1), Event::Ordered { ticket: 1, order: Order::Drain(NodeId(2)) });
    cluster.run(Duration::from_millis(100));
    assert_eq!((cluster.share(NodeId(2)), cluster.covered()), (0, 30));
    assert_eq!(cluster.answers, [Ok(())]);
    cluster.step(NodeId(3), Event::Ordered { ticket: 2, order: Order::Undrain(NodeId(2)) });
    cluster.run(Duration::from_secs(20));
    assert_eq!(cluster.share(NodeId(2)), 10);
}

#[test]
fn a_stopped_node_hands_over_and_says_good_bye() {
    let mut cluster = Cluster::start(2, 8);
    cluster.run(Duration::from_secs(3));
    cluster.step(NodeId(1), Event::Stop);
    cluster.run(Duration::from_millis(200));
    assert_eq!((cluster.share(NodeId(2)), cluster.stopped.as_slice()), (8, &[NodeId(1)][..]));
    assert_eq!(cluster.nodes[&NodeId(2)].verdict(NodeId(1)), Verdict::Left);
}

#[test]
fn a_moved_group_stays_where_the_operator_put_it() {
    let mut cluster = Cluster::start(2, 2);
    cluster.run(Duration::from_secs(3));
    let group = *cluster.open.iter().find(|(_, at)| **at == [NodeId(1)]).expect("one each").0;
    let order = Order::Move { group, to: NodeId(2) };
    cluster.step(NodeId(2), Event::Ordered { ticket: 1, order });
    cluster.run(Duration::from_secs(30));
    assert_eq!(cluster.answers, [Ok(())]);
    assert_eq!(cluster.open[&group], [NodeId(2)]);
}

#[test]
fn a_guardians_farewell_moves_everything_at_once() {
    let mut cluster = Cluster::start(3, 9);
    cluster.run(Duration::from_secs(5));
    let message = cluster.nodes[&NodeId(1)].farewell();
    let (from, incarnation) = (NodeId(1), cluster.incarnation(NodeId(1)));
    cluster.kill(NodeId(1));
    for to in [2, 3] {
        let received_at = cluster.now;
        let event = Event::Heard { from, incarnation, received_at, message: message.clone() };
        cluster.step(NodeId(to), event);
    }
    cluster.run(Duration::from_millis(5));
    assert_eq!(cluster.covered(), 9);
    cluster.restart(1, 3, 9);
    cluster.run(Duration::from_secs(20));
    assert_eq!([1, 2, 3].map(|node| cluster.share(NodeId(node))), [3, 3, 3]);
}

#[test]
fn claims_are_repeated_to_the_silent_but_not_to_those_who_have_left() {
    for (leaves, repeats) in [(true, 0..1), (false, 30..61)] {
        let mut cluster = Cluster::start(2, 6);
        cluster.run(Duration::from_secs(5));
        assert_eq!(cluster.share(NodeId(2)), 3);
        let (from, incarnation) = (NodeId(2), cluster.incarnation(NodeId(2)));
        let message = cluster.nodes.get_mut(&from).expect("it lives").farewell();
        cluster.kill(from);
        if leaves {
            let received_at = cluster.now;
            cluster.step(NodeId(1), Event::Heard { from, incarnation, received_at, message });
        }
        cluster.run(Duration::from_secs(2));
        assert_eq!(cluster.share(NodeId(1)), 6, "it has told all this to nobody");
        let survivor = cluster.nodes.get_mut(&NodeId(1)).expect("it lives");
        let end = cluster.now + Duration::from_secs(6);
        let mut sent = 0;
        loop {
            let now = survivor.next_deadline();
            if now > end {
                break;
            }
            let claims = |action: &Action| {
                matches!(action, Action::Send { message: Message::Claims(_), .. })
            };
            sent += survivor.step(now, Event::Timer).iter().filter(|action| claims(action)).count();
        }
        assert!(repeats.contains(&sent), "leaves: {leaves}, {sent} times in 6 s");
    }
}
