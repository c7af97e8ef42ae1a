//! What a node does while nothing happens.

use super::*;

/// Heartbeats that say nothing new have no group examined, however many groups there are.
#[test]
fn a_heartbeat_that_says_nothing_new_examines_no_group() {
    let mut cluster = Cluster::without(None, 3, 60);
    // Until the balance is found, and heirs are named.
    cluster.run(Duration::from_secs(20));
    let looks = |cluster: &Cluster| -> Vec<(u64, u64)> {
        cluster.nodes.values().map(|node| (node.evaluations, node.unable_looks)).collect()
    };
    let before = looks(&cluster);
    assert!(before.iter().all(|(evaluations, _)| *evaluations > 0), "{before:?}");
    // A hundred heartbeats from and to each.
    cluster.run(Duration::from_secs(10));
    assert_eq!(looks(&cluster), before);
    cluster.step(NodeId(1), Event::Ordered { ticket: 1, order: Order::Drain(NodeId(1)) });
    cluster.run(Duration::from_secs(1));
    assert_ne!(looks(&cluster), before, "a drain changes what others may take");
}
