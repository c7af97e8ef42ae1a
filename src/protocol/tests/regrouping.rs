//! Reloads of files that have the same addresses in other groups.

use super::*;

const NODE: NodeId = NodeId(1);

/// A group becomes part of another one while the kernel adds it: its own addition is not waited for
/// any more. The node would call its kernel overdue for ever (seed 12040 of the simulation).
#[test]
fn what_a_reload_merges_away_while_it_is_added_is_not_waited_for() {
    let mut cluster = Cluster::start(1, 2);
    cluster.run(Duration::from_secs(60));
    assert_eq!(cluster.share(NODE), 2);
    let mut now = cluster.now;
    let node = cluster.nodes.get_mut(&NODE).unwrap();
    let [first, third] = [1, 3].map(|number| GroupKey(mix(number)));
    let adds = |actions: &[Action]| {
        actions.iter().any(|it| matches!(it, Action::Acquire { group, .. } if *group == third))
    };
    let mut actions = node.step(now, Event::Reconfigured(Box::new(configuration(1, 1, 3))));
    while !adds(&actions) {
        now = node.next_deadline().max(now + Duration::from_millis(1));
        assert!(now < cluster.now + Duration::from_secs(60), "it is never taken");
        actions = node.step(now, Event::Timer);
    }
    assert_ne!(
        node.kernel_work.deadline(&node.env),
        Instant::NEVER,
        "the kernel has something to do"
    );

    let mut merged = configuration(1, 1, 2);
    merged.groups.get_mut(&first).unwrap().addresses.push(third);
    let actions = node.step(now, Event::Reconfigured(Box::new(merged)));
    let released = |it: &Action| matches!(it, Action::Release { group, .. } if *group == third);
    assert!(actions.iter().any(released), "{actions:?}");
    assert_eq!(node.kernel_work.deadline(&node.env), Instant::NEVER);
}
