//! What may hold a planned move, and what nothing holds.

use super::*;

const NODE: NodeId = NodeId(1);
const TIME: Duration = Duration::from_secs(3);

/// Node 1 of two has two groups; both nodes' groups have gates.
fn settled(broken: Option<Rule>) -> (Cluster, Vec<GroupKey>) {
    let mut cluster = Cluster::without(broken, 2, 4);
    cluster.run(Duration::from_secs(7));
    for node in [1, 2] {
        let mut gated = Configuration { broken, ..configuration(node, 2, 4) };
        gated.groups.values_mut().for_each(|group| group.gate = Some(TIME));
        cluster.step(NodeId(node), Event::Reconfigured(Box::new(gated)));
    }
    let groups = cluster.groups_of(1);
    assert_eq!(groups.len(), 2);
    (cluster, groups)
}

fn order(cluster: &mut Cluster, order: Order) {
    cluster.step(NODE, Event::Ordered { ticket: 1, order });
    cluster.run(Duration::from_millis(500));
}

fn open(cluster: &mut Cluster, place: usize) {
    let (node, group, ticket) = cluster.asked_gates[place];
    cluster.step(node, Event::GateOpened { group, ticket });
    cluster.run(Duration::from_millis(500));
}

fn overdue(cluster: &Cluster) -> usize {
    let reports = cluster.reports.iter();
    reports.filter(|(_, report)| matches!(report, Report::GateOverdue { .. })).count()
}

#[test]
fn each_group_goes_when_its_gate_is_open_and_is_asked_about_once() {
    let (mut cluster, groups) = settled(None);
    order(&mut cluster, Order::Drain(NODE));
    let asked: Vec<_> =
        cluster.asked_gates.iter().map(|(node, group, _)| (*node, *group)).collect();
    assert_eq!(asked, [(NODE, groups[0]), (NODE, groups[1])]);
    assert_eq!(cluster.groups_of(1), groups);
    open(&mut cluster, 1);
    assert_eq!(cluster.groups_of(1), groups[..1]);
    open(&mut cluster, 0);
    assert_eq!(cluster.groups_of(1), []);
    assert_eq!((cluster.asked_gates.len(), overdue(&cluster)), (2, 0));
}

#[test]
fn a_gate_that_is_never_done_holds_until_its_time_is_up() {
    let story = |broken| {
        let (mut cluster, groups) = settled(broken);
        order(&mut cluster, Order::Drain(NODE));
        cluster.run(TIME - Duration::from_millis(600));
        let held = cluster.groups_of(1) == groups;
        cluster.run(Duration::from_millis(200));
        (held, cluster.groups_of(1).is_empty(), overdue(&cluster))
    };
    assert_eq!(story(None), (true, true, 2));
    assert_eq!(story(Some(Rule::GateHolds)), (false, true, 0));
    assert_eq!(story(Some(Rule::GateEnds)), (true, false, 0));
}

#[test]
fn an_ordered_move_is_answered_at_once_and_made_when_its_gate_is_open() {
    let (mut cluster, groups) = settled(None);
    order(&mut cluster, Order::Move { group: groups[0], to: NodeId(2) });
    assert_eq!((cluster.answers.as_slice(), cluster.groups_of(1)), (&[Ok(())][..], groups.clone()));
    open(&mut cluster, 0);
    assert_eq!(cluster.groups_of(1), groups[1..]);
}

#[test]
fn what_a_gate_was_asked_for_before_opens_no_later_one() {
    let (mut cluster, groups) = settled(None);
    order(&mut cluster, Order::Drain(NODE));
    cluster.run(TIME);
    assert_eq!(cluster.groups_of(1), []);
    order(&mut cluster, Order::Undrain(NODE));
    cluster.run(Duration::from_secs(30));
    assert_eq!(cluster.groups_of(1).len(), 2);
    let before = cluster.asked_gates.len();
    order(&mut cluster, Order::Drain(NODE));
    assert_eq!(cluster.asked_gates.len(), before + 2);
    open(&mut cluster, 0);
    assert_eq!(cluster.groups_of(1).len(), 2, "{groups:?}");
}

#[test]
fn no_failover_waits_for_a_gate() {
    let (mut cluster, _) = settled(None);
    // Its checks fail.
    cluster.step(NODE, Event::Fitness(vec![(PoolId::from_name("web"), Fitness::Unfit)]));
    cluster.run(Duration::from_millis(100));
    assert_eq!((cluster.groups_of(1), cluster.asked_gates.len()), (Vec::new(), 0));
    // It ends.
    cluster.step(NodeId(2), Event::Stop);
    cluster.run(Duration::from_millis(200));
    assert_eq!(cluster.asked_gates, []);
    // It dies.
    let (mut cluster, _) = settled(None);
    cluster.kill(NODE);
    cluster.run(Duration::from_millis(310));
    assert_eq!((cluster.covered(), cluster.asked_gates.len()), (4, 0));
}
