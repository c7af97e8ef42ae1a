//! Events that are there at once, taken in together.

use super::*;

/// A node stands still for a moment while groups move; what has come for it meanwhile comes to the
/// same, one after the other or together.
#[test]
fn events_taken_in_together_come_to_the_same() {
    for still in [5, 20, 60] {
        let mut cluster = Cluster::without(None, 3, 60);
        cluster.run(Duration::from_secs(3));
        cluster.freeze(NodeId(1));
        let order = Order::Drain(NodeId(2));
        cluster.step(NodeId(3), Event::Ordered { ticket: 1, order });
        cluster.run(Duration::from_millis(still));
        let (now, node) = (cluster.now, cluster.nodes[&NodeId(1)].clone());
        let waiting = cluster.frozen[&NodeId(1)].clone();
        assert!(waiting.len() > 1, "{} wait after {still} ms", waiting.len());
        let (mut one_by_one, mut together) = (node.clone(), node);
        for event in waiting.clone() {
            let _ = one_by_one.step(now, event);
        }
        let _ = together.step_all(now, waiting);
        let groups = |node: &Node| format!("{:?}", node.status(now).groups);
        assert_eq!(groups(&one_by_one), groups(&together), "after {still} ms");
        let nodes = |node: &Node| format!("{:?}", node.status(now).nodes);
        assert_eq!(nodes(&one_by_one), nodes(&together), "after {still} ms");
    }
}
