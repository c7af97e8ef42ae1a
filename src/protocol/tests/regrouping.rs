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

/// A reload takes an address out of a group and makes it one of its own: it was taken when the group was
/// taken, and a conflicting host that had it before may say so late.
#[test]
fn what_becomes_a_group_of_its_own_was_taken_when_its_group_was() {
    for (later, keeps) in [(400, false), (1200, true)] {
        let mut cluster = Cluster::start(1, 2);
        let [first, third] = [1, 3].map(|number| GroupKey(mix(number)));
        let mut merged = configuration(1, 1, 2);
        merged.groups.get_mut(&first).unwrap().addresses.push(third);
        cluster.step(NODE, Event::Reconfigured(Box::new(merged)));
        while !cluster.groups_of(1).contains(&first) {
            cluster.run(Duration::from_millis(10));
        }
        cluster.run(Duration::from_millis(100));
        cluster.step(NODE, Event::Reconfigured(Box::new(configuration(1, 1, 3))));
        cluster.run(Duration::from_millis(later));
        assert!(cluster.groups_of(1).contains(&third), "it goes on with it");
        let hardware = HardwareAddress([2, 0xee, 0, 0, 0, 0]);
        let event = KernelEvent::Claimed { group: third, hardware, direct: false };
        cluster.step(NODE, Event::Kernel(event));
        cluster.run(Duration::from_millis(100));
        assert_eq!(cluster.groups_of(1).contains(&third), keeps, "{later} ms");
    }
}
