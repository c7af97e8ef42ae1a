//! Rules that only a certain order of events shows to be needed: each story must end well with all
//! rules, and must not without the one that it is about.

use super::*;

/// Tells a story twice. It tells whether it ended well.
fn needs(rule: Rule, story: fn(Option<Rule>) -> bool) {
    assert!(story(None), "the story ends badly although all rules hold");
    assert!(!story(Some(rule)), "{rule:?} is not needed for this");
}

fn settled(broken: Option<Rule>, nodes: u32, groups: u64) -> Cluster {
    let mut cluster = Cluster::without(broken, nodes, groups);
    cluster.run(Duration::from_secs(5));
    cluster.split = true;
    cluster.doubled = false;
    cluster.reports.clear();
    cluster.announced.clear();
    cluster
}

#[test]
fn a_drained_survivor_takes_nothing() {
    needs(Rule::DrainingTakesNothing, |broken| {
        let mut cluster = settled(broken, 2, 4);
        cluster.step(NodeId(2), Event::Ordered { ticket: 1, order: Order::Drain(NodeId(2)) });
        cluster.run(Duration::from_secs(1));
        cluster.kill(NodeId(1));
        cluster.run(Duration::from_secs(5));
        cluster.share(NodeId(2)) == 0
    });
}

#[test]
fn a_repaired_address_is_announced() {
    needs(Rule::AnnounceRepaired, |broken| {
        let mut cluster = settled(broken, 2, 4);
        cluster.run(Duration::from_secs(10));
        cluster.announced.clear();
        let group = cluster.groups_of(1)[0];
        cluster.step(
            NodeId(1),
            Event::Kernel(KernelEvent::Repaired { group, remover: Remover::Somebody }),
        );
        cluster.run(Duration::from_millis(100));
        cluster.announced.iter().any(|(_, _, announced)| *announced == group)
    });
}

#[test]
fn a_refusing_kernel_is_not_asked_all_the_time() {
    needs(Rule::InabilityBackoff, |broken| {
        let mut cluster = Cluster::without(broken, 1, 1);
        cluster.refusing.insert(NodeId(1));
        cluster.run(Duration::from_secs(10));
        cluster.acquired <= 5
    });
}

#[test]
fn a_slow_kernel_lets_go_before_the_receiver_is_told() {
    needs(Rule::BreakBeforeMake, |broken| {
        let mut cluster = settled(broken, 3, 6);
        cluster.removal = Duration::from_millis(20);
        cluster.step(NodeId(1), Event::Ordered { ticket: 1, order: Order::Drain(NodeId(1)) });
        cluster.run(Duration::from_secs(1));
        assert_eq!(cluster.share(NodeId(1)), 0);
        !cluster.doubled
    });
}

#[test]
fn a_machine_that_stood_still_with_its_clock_learns_of_it_from_its_peers() {
    needs(Rule::ClockJump, |broken| {
        let mut cluster = settled(broken, 3, 6);
        cluster.freeze(NodeId(1));
        cluster.run(Duration::from_secs(2));
        cluster.frozen.remove(&NodeId(1));
        cluster.behind.insert(NodeId(1), Duration::from_secs(2));
        cluster.run(Duration::from_millis(300));
        first_has_stalled(&cluster)
    });
}

fn first_has_stalled(cluster: &Cluster) -> bool {
    let mut reports = cluster.reports.iter();
    reports.any(|(node, report)| *node == NodeId(1) && matches!(report, Report::Stalled { .. }))
}

/// A lead that the peers' clocks have lost since does not hide that this one has lost as much.
#[test]
fn clocks_that_drift_do_not_hide_a_stop() {
    let mut cluster = settled(None, 3, 6);
    for behind in 1..=200 {
        for peer in [2, 3] {
            cluster.behind.insert(NodeId(peer), Duration::from_millis(behind));
        }
        cluster.run(Duration::from_secs(1));
    }
    cluster.freeze(NodeId(1));
    cluster.run(Duration::from_millis(240));
    cluster.frozen.remove(&NodeId(1));
    cluster.behind.insert(NodeId(1), Duration::from_millis(240));
    cluster.run(Duration::from_millis(300));
    assert!(first_has_stalled(&cluster), "{:?}", cluster.reports);
}
