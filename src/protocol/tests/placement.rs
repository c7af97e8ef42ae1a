//! Rules of placement: who gets what, what is told and shown, and plans.

use super::*;
use crate::protocol::types::Placement;

fn web() -> PoolId {
    PoolId::from_name("web")
}

/// A file by which these nodes lack a label that the pool requires.
fn labelled(me: u32, nodes: u32, groups: u64, lacking: &[u32]) -> Configuration {
    let lacking = lacking.iter().map(|node| NodeId(*node)).collect();
    let placement = [(web(), Placement { lacking })].into();
    Configuration { placement, ..configuration(me, nodes, groups) }
}

impl Cluster {
    /// All nodes have this file.
    fn label(&mut self, nodes: u32, groups: u64, lacking: &[u32]) {
        for node in 1..=nodes {
            let file = labelled(node, nodes, groups, lacking);
            self.step(NodeId(node), Event::Reconfigured(Box::new(file)));
        }
    }
}

#[test]
fn groups_are_where_the_label_is_and_shared_there() {
    let table: [(u32, &[u32], &[(u32, usize)]); 5] = [
        (3, &[], &[(1, 4), (2, 4), (3, 4)]),
        (3, &[3], &[(1, 6), (2, 6), (3, 0)]),
        (3, &[1, 3], &[(1, 0), (2, 12), (3, 0)]),
        (4, &[1, 2], &[(1, 0), (2, 0), (3, 6), (4, 6)]),
        // No node has it: nothing moves.
        (3, &[1, 2, 3], &[(1, 4), (2, 4), (3, 4)]),
    ];
    for (nodes, lacking, expected) in table {
        let mut cluster = Cluster::start(nodes, 12);
        cluster.run(Duration::from_secs(5));
        cluster.label(nodes, 12, lacking);
        cluster.run(Duration::from_secs(200));
        let found: Vec<(u32, usize)> =
            (1..=nodes).map(|node| (node, cluster.groups_of(node).len())).collect();
        assert_eq!(found, expected, "without {lacking:?}");
    }
}

#[test]
fn what_a_node_lacks_is_told_as_its_own_and_no_outcome_of_checks() {
    let mut cluster = Cluster::start(3, 6);
    cluster.run(Duration::from_secs(5));
    cluster.reports.clear();
    cluster.label(3, 6, &[2]);
    cluster.run(Duration::from_secs(5));
    let beat = &cluster.last_beat[&(NodeId(2), NodeId(1))];
    assert_eq!(beat.fitness, [(web(), Fitness::Unfit)]);
    let told = cluster.reports.iter().any(|(_, it)| matches!(it, Report::FitnessChanged { .. }));
    assert!(!told, "{:?}", cluster.reports);
    let group = cluster.groups_of(1)[0];
    let explained = cluster.nodes[&NodeId(1)].explain(cluster.now, group).expect("configured");
    let standings: Vec<(NodeId, Standing)> =
        explained.candidates.iter().map(|one| (one.node, one.standing)).collect();
    let lacking = Standing::Lacking { last_resort: false };
    assert_eq!(standings, [(NodeId(3), Standing::Heir(1)), (NodeId(2), lacking)]);
    let causes: Vec<Option<Cause>> =
        cluster.nodes[&NodeId(1)].status(cluster.now).groups.iter().map(|it| it.cause).collect();
    assert!(causes.contains(&Some(Cause::Placement(NodeId(2)))), "{causes:?}");
}

#[test]
fn a_plan_names_the_rule_and_says_what_comes() {
    let mut cluster = Cluster::start(3, 6);
    cluster.run(Duration::from_secs(5));
    let file = Hypothesis::Reconfigured(Box::new(labelled(1, 3, 6, &[3])));
    let plan = cluster.nodes[&NodeId(1)].clone().foresee(cluster.now, file);
    let reason = PlanReason::Move(MoveReason::Placement);
    assert_eq!(plan.len(), 2, "{plan:?}");
    let from = |it: &PlannedMove| it.from == Some(NodeId(3)) && it.why == reason;
    assert!(plan.iter().all(from), "{plan:?}");
    cluster.label(3, 6, &[3]);
    cluster.run(Duration::from_secs(200));
    for one in plan {
        let owner = cluster.nodes[&NodeId(1)].current_owner(one.group);
        assert_eq!(owner, one.to, "{one:?}");
    }
    assert!(cluster.groups_of(3).is_empty());
}

/// A file of another host that does not know the label gives nothing to a node that says itself
/// that it lacks it.
#[test]
fn a_node_with_an_older_file_gives_nothing_to_one_without_the_label() {
    let mut cluster = Cluster::start(3, 9);
    cluster.run(Duration::from_secs(5));
    let file = labelled(3, 3, 9, &[3]);
    cluster.step(NodeId(3), Event::Reconfigured(Box::new(file)));
    cluster.run(Duration::from_secs(200));
    assert!(cluster.groups_of(3).is_empty(), "the others have taken what it gave");
    cluster.kill(NodeId(1));
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.groups_of(2).len(), 9);
}
