//! What checks say: where groups go, what is told and shown; and plans, which say it before.

use super::*;

fn web() -> PoolId {
    PoolId::from_name("web")
}

impl Cluster {
    fn check(&mut self, node: u32, fitness: Fitness) {
        let list = if fitness == Fitness::Fit { Vec::new() } else { vec![(web(), fitness)] };
        self.step(NodeId(node), Event::Fitness(list));
    }

    fn settled(nodes: u32, groups: u64) -> Self {
        let mut cluster = Self::start(nodes, groups);
        cluster.run(Duration::from_secs(5));
        cluster.reports.clear();
        cluster
    }

    fn foreseen(&self, by: u32, without: &[u32]) -> Vec<PlannedMove> {
        let without = without.iter().map(|node| NodeId(*node)).collect();
        self.nodes[&NodeId(by)].clone().foresee(self.now, Hypothesis::Without(without))
    }

    fn standings(&self, by: u32, group: GroupKey) -> Vec<(NodeId, Standing)> {
        let told = self.nodes[&NodeId(by)].explain(self.now, group).expect("a known group");
        told.candidates.iter().map(|one| (one.node, one.standing)).collect()
    }
}

#[test]
fn a_change_is_told_by_every_node_once() {
    let mut cluster = Cluster::settled(3, 6);
    cluster.check(2, Fitness::Unfit);
    cluster.check(2, Fitness::Unfit);
    cluster.run(Duration::from_secs(5));
    let told = Report::FitnessChanged { node: NodeId(2), pool: web(), fitness: Fitness::Unfit };
    let by: Vec<NodeId> =
        cluster.reports.iter().filter(|(_, it)| *it == told).map(|(by, _)| *by).collect();
    assert_eq!(by.iter().copied().collect::<BTreeSet<_>>().len(), 3, "{by:?}");
    assert_eq!(by.len(), 3, "{by:?}");
    let status = cluster.nodes[&NodeId(1)].status(cluster.now);
    let shown = status.nodes.iter().find(|node| node.node == NodeId(2)).expect("it is configured");
    assert_eq!(shown.unfit, [(web(), Fitness::Unfit)]);
    let causes: BTreeSet<String> =
        status.groups.iter().map(|group| format!("{:?}", group.cause)).collect();
    assert!(causes.contains("Some(Checks(NodeId(2)))"), "{causes:?}");
}

/// Every node is reluctant until its first looks. In a run of all tests peers that had heard that
/// counted it as one of three falls in a minute, and offered the node nothing.
#[test]
fn reluctance_before_the_first_looks_is_no_fall() {
    let mut cluster = Cluster::settled(3, 6);
    let flaps = |cluster: &Cluster| cluster.nodes[&NodeId(1)].checks_flap(NodeId(2), web());
    let fall = |cluster: &mut Cluster| {
        cluster.check(2, Fitness::Unfit);
        cluster.run(Duration::from_secs(2));
        cluster.check(2, Fitness::Fit);
        cluster.run(Duration::from_secs(2));
    };
    cluster.kill(NodeId(2));
    cluster.restart(2, 3, 6);
    cluster.check(2, Fitness::Reluctant);
    cluster.run(Duration::from_millis(300));
    let heard = cluster.nodes[&NodeId(1)].fitness_of(NodeId(2), web());
    assert_eq!(heard, Fitness::Reluctant);
    cluster.check(2, Fitness::Fit);
    cluster.run(Duration::from_secs(5));
    fall(&mut cluster);
    fall(&mut cluster);
    assert!(!flaps(&cluster), "it has failed twice");
    fall(&mut cluster);
    assert!(flaps(&cluster), "it has failed three times");
}

#[test]
fn explanations_put_the_unfit_last_unless_all_are() {
    let mut cluster = Cluster::settled(3, 3);
    let group = cluster.groups_of(1)[0];
    cluster.check(2, Fitness::Unfit);
    cluster.check(3, Fitness::Reluctant);
    cluster.run(Duration::from_secs(1));
    let line = cluster.standings(1, group);
    assert_eq!(line, [(NodeId(3), Standing::Reluctant), (NodeId(2), Standing::Unfit)]);
    cluster.check(3, Fitness::Unfit);
    cluster.run(Duration::from_secs(1));
    let line = cluster.standings(1, group);
    assert!(line.iter().all(|(_, standing)| *standing == Standing::LastResort), "{line:?}");
}

#[test]
fn an_order_to_an_unfit_node_is_refused() {
    let mut cluster = Cluster::settled(3, 3);
    let group = cluster.groups_of(1)[0];
    cluster.check(2, Fitness::Unfit);
    cluster.run(Duration::from_secs(1));
    let order = Order::Move { group, to: NodeId(2) };
    cluster.step(NodeId(3), Event::Ordered { ticket: 1, order });
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.answers, [Err(Refusal::ReceiverUnfit)]);
    cluster.check(1, Fitness::Unfit);
    cluster.check(3, Fitness::Unfit);
    cluster.run(Duration::from_secs(1));
    cluster.step(NodeId(3), Event::Ordered { ticket: 2, order });
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.answers.last(), Some(&Ok(())), "where all are unfit the operator chooses");
}

#[test]
fn more_pools_than_fit_a_heartbeat_are_not_taken_in() {
    let mut cluster = Cluster::settled(2, 2);
    let many = (0..100).map(|pool| (PoolId(pool), Fitness::Unfit)).collect();
    cluster.step(NodeId(1), Event::Fitness(many));
    cluster.run(Duration::from_secs(1));
    let beat = &cluster.last_beat[&(NodeId(1), NodeId(2))];
    assert_eq!(beat.fitness.len(), FITNESS_MAX);
}

#[test]
fn a_plan_says_what_a_drain_then_does() {
    for (nodes, drained) in [(2, 1), (3, 2), (5, 4)] {
        for by in 1..=nodes {
            let mut cluster = Cluster::settled(nodes, 23);
            let plan = cluster.foreseen(by, &[drained]);
            let before = cluster.open.clone();
            cluster.step(
                NodeId(1),
                Event::Ordered { ticket: 1, order: Order::Drain(NodeId(drained)) },
            );
            cluster.run(Duration::from_secs(10));
            assert_eq!(plan.len(), before.values().filter(|at| at[0] == NodeId(drained)).count());
            for (group, owners) in &cluster.open {
                let planned = plan.iter().find(|one| one.group == *group);
                let expected = planned.map_or(before[group][0], |one| one.to.expect("somebody"));
                assert_eq!(owners[..], [expected], "{group} of {nodes}, asked n{by}");
            }
        }
    }
}

#[test]
fn a_plan_without_all_nodes_leaves_everything_where_it_is() {
    let cluster = Cluster::settled(2, 6);
    let plan = cluster.foreseen(1, &[1, 2]);
    assert_eq!(plan.len(), 6);
    assert!(plan.iter().all(|one| one.why == PlanReason::Stays && one.from == one.to), "{plan:?}");
}

#[test]
fn a_plan_with_another_file_names_new_and_removed_groups_and_other_shares() {
    let cluster = Cluster::settled(3, 30);
    let mut other = configuration(1, 3, 31);
    other.groups.remove(&GroupKey(mix(1)));
    other.nodes.insert(NodeId(3), Member::of_weight(4));
    let node = cluster.nodes[&NodeId(1)].clone();
    let plan = node.foresee(cluster.now, Hypothesis::Reconfigured(Box::new(other)));
    let of = |group: u64| plan.iter().find(|one| one.group == GroupKey(mix(group)));
    let removed = of(1).expect("it goes");
    assert_eq!((removed.to, removed.why), (None, PlanReason::Removed));
    let new = of(31).expect("it comes");
    assert_eq!((new.from, new.why), (None, PlanReason::New));
    let gained = plan.iter().filter(|one| one.to == Some(NodeId(3)) && one.from.is_some()).count();
    assert!((9..=11).contains(&gained), "n3 had 10 of 30 and should have 20: {plan:?}");
    let calm = cluster.nodes[&NodeId(1)].clone();
    let same = Hypothesis::Reconfigured(Box::new(configuration(1, 3, 30)));
    assert_eq!(calm.foresee(cluster.now, same), [], "the same file moves nothing");
}
