//! Rules of placement: who gets what, what is told and shown, and plans.

use super::*;
use crate::protocol::types::Placement;

fn web() -> PoolId {
    PoolId::from_name("web")
}

/// A file by which these nodes lack a label that the pool requires.
fn labelled(me: u32, nodes: u32, groups: u64, lacking: &[u32]) -> Configuration {
    let lacking = lacking.iter().map(|node| NodeId(*node)).collect();
    let placement = [(web(), Placement { lacking, ..Placement::default() })].into();
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

/// How many groups each node has.
type Shares = &'static [(u32, usize)];

#[test]
fn groups_are_where_the_label_is_and_shared_there() {
    let table: [(u32, &[u32], Shares); 5] = [
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

/// A file with two pools in turns, each with these rules.
fn in_two_pools(me: u32, nodes: u32, groups: u64, rules: &[Placement; 2]) -> Configuration {
    let mut file = configuration(me, nodes, groups);
    let pools = [PoolId::from_name("shop"), PoolId::from_name("mail")];
    for (place, group) in file.groups.values_mut().enumerate() {
        group.pool = pools[place % 2];
    }
    file.placement = pools.into_iter().zip(rules.clone()).collect();
    file
}

impl Cluster {
    fn ruled(nodes: u32, groups: u64, rules: &[Placement; 2]) -> Self {
        let mut cluster = Self::start(nodes, groups);
        cluster.run(Duration::from_secs(5));
        for node in 1..=nodes {
            let file = in_two_pools(node, nodes, groups, rules);
            cluster.step(NodeId(node), Event::Reconfigured(Box::new(file)));
        }
        cluster.run(Duration::from_secs(400));
        cluster
    }

    /// How many groups of the two pools each node has.
    fn stock(&self, nodes: u32) -> Vec<[usize; 2]> {
        let file = in_two_pools(1, nodes, 6, &[Placement::default(), Placement::default()]);
        let of = |node: u32, pool: &str| {
            let pool = PoolId::from_name(pool);
            let has = |group: &&GroupKey| {
                file.groups.get(*group).is_some_and(|wanted| wanted.pool == pool)
            };
            self.groups_of(node).iter().filter(has).count()
        };
        (1..=nodes).map(|node| [of(node, "shop"), of(node, "mail")]).collect()
    }
}

fn apart(pools: &[&str]) -> Placement {
    let apart_from = pools.iter().map(|pool| PoolId::from_name(pool)).collect();
    Placement { apart_from, ..Placement::default() }
}

#[test]
fn groups_that_are_apart_share_no_node_while_there_are_enough() {
    let both = [apart(&["mail"]), apart(&["shop"])];
    for nodes in [2, 3, 4] {
        let stock = Cluster::ruled(nodes, 6, &both).stock(nodes);
        assert!(stock.iter().all(|[shop, mail]| *shop == 0 || *mail == 0), "{nodes}: {stock:?}");
    }
    let alone = Cluster::ruled(1, 6, &both).stock(1);
    assert_eq!(alone, [[3, 3]], "rules do not keep an address from being served");
    let one_pool = [apart(&["shop"]), Placement::default()];
    let stock = Cluster::ruled(3, 6, &one_pool).stock(3);
    assert!(stock.iter().all(|[shop, _]| *shop == 1), "{stock:?}");
}

#[test]
fn groups_that_are_together_are_on_one_node_before_and_after_a_death() {
    let together_with: BTreeSet<PoolId> = ["shop", "mail"].map(PoolId::from_name).into();
    let rule = Placement { together_with, ..Placement::default() };
    let mut cluster = Cluster::ruled(3, 6, &[rule.clone(), rule]);
    let has_all = |cluster: &Cluster| (1..=3).find(|node| cluster.groups_of(*node).len() == 6);
    let first = has_all(&cluster).expect("one node has all");
    cluster.kill(NodeId(first));
    cluster.run(Duration::from_secs(2));
    let next = has_all(&cluster).expect("one node has all at once");
    assert_ne!(first, next);
}

#[test]
fn an_explanation_says_for_which_rule_a_node_is_the_last_to_take_a_group() {
    let cluster = Cluster::ruled(3, 6, &[apart(&["shop"]), Placement::default()]);
    let shop = in_two_pools(1, 3, 6, &[Placement::default(), Placement::default()]);
    let shop = shop.groups.iter().find(|(_, it)| it.pool == PoolId::from_name("shop"));
    let group = *shop.expect("every second group").0;
    let told = cluster.nodes[&NodeId(1)].explain(cluster.now, group).expect("configured");
    let standings: Vec<Standing> = told.candidates.iter().map(|one| one.standing).collect();
    assert_eq!(standings, [Standing::IllCompany, Standing::IllCompany]);
}

#[test]
fn nodes_of_one_place_in_the_preference_share_the_groups() {
    let mut cluster = Cluster::start(3, 6);
    cluster.run(Duration::from_secs(5));
    for node in 1..=3 {
        let mut file = configuration(node, 3, 6);
        for group in file.groups.values_mut() {
            group.strategy = Strategy::Priority;
            group.failback = Some(Duration::from_secs(1));
            group.prefer.add(&[NodeId(1), NodeId(2)]);
        }
        cluster.step(NodeId(node), Event::Reconfigured(Box::new(file)));
    }
    cluster.run(Duration::from_secs(60));
    let counts = [1, 2, 3].map(|node| cluster.groups_of(node).len());
    assert_eq!(counts[2], 0, "{counts:?}");
    assert!(counts[0] >= 2 && counts[1] >= 2, "each keeps what it had: {counts:?}");
    cluster.kill(NodeId(1));
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.groups_of(2).len(), 6);
}
