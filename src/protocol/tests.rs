//! Small stories on a perfect network: every datagram arrives after one millisecond, the kernel
//! obeys at once. Faults of all kinds are the business of `tests/simulation`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::*;

struct Cluster {
    now: Instant,
    nodes: BTreeMap<NodeId, Node>,
    /// Who has which group in its kernel.
    open: BTreeMap<GroupKey, Vec<NodeId>>,
    inbox: BinaryHeap<Reverse<(Instant, u64, NodeId)>>,
    events: BTreeMap<u64, Event>,
    serial: u64,
    answers: Vec<Result<(), Refusal>>,
    reports: Vec<(NodeId, Report)>,
    stopped: Vec<NodeId>,
}

fn configuration(me: u32, nodes: u32, groups: u64) -> Configuration {
    Configuration {
        me: NodeId(me),
        incarnation: Incarnation(1000 + u64::from(me)),
        seed: u64::from(me),
        software: SoftwareVersion::default(),
        digest: 0,
        nodes: (1..=nodes).map(|node| (NodeId(node), Member { weight: 1 })).collect(),
        groups: (1..=groups)
            .map(|group| {
                let wanted = Group {
                    addresses: 1,
                    strategy: Strategy::Balance,
                    prefer: Vec::new(),
                    failback: None,
                };
                (GroupKey(mix(group)), wanted)
            })
            .collect(),
        timing: Timing::LAN,
        draining: false,
        broken: None,
    }
}

impl Cluster {
    fn start(nodes: u32, groups: u64) -> Self {
        let now = Instant::from_millis(1000);
        Self {
            now,
            nodes: (1..=nodes)
                .map(|node| (NodeId(node), Node::new(now, configuration(node, nodes, groups))))
                .collect(),
            open: BTreeMap::new(),
            inbox: BinaryHeap::new(),
            events: BTreeMap::new(),
            serial: 0,
            answers: Vec::new(),
            reports: Vec::new(),
            stopped: Vec::new(),
        }
    }

    fn post(&mut self, at: Instant, to: NodeId, event: Event) {
        self.serial += 1;
        self.inbox.push(Reverse((at, self.serial, to)));
        self.events.insert(self.serial, event);
    }

    fn step(&mut self, node: NodeId, event: Event) {
        let Some(machine) = self.nodes.get_mut(&node) else { return };
        let incarnation = Incarnation(1000 + u64::from(node.0));
        for action in machine.step(self.now, event) {
            let soon = self.now + Duration::from_millis(1);
            match action {
                Action::Send { to, message } => {
                    let event =
                        Event::Heard { from: node, incarnation, received_at: soon, message };
                    self.post(soon, to, event);
                }
                Action::Acquire { group, ticket } => {
                    self.open.entry(group).or_default().push(node);
                    self.post(
                        self.now,
                        node,
                        Event::Kernel(KernelEvent::Present { group, ticket }),
                    );
                }
                Action::Release { group, ticket } => {
                    self.open.entry(group).or_default().retain(|owner| *owner != node);
                    self.post(self.now, node, Event::Kernel(KernelEvent::Absent { group, ticket }));
                }
                Action::TestReach => {
                    self.post(self.now, node, Event::Kernel(KernelEvent::Reach(Reach::Answered)));
                }
                Action::Answer { outcome, .. } => self.answers.push(outcome),
                Action::Report(report) => self.reports.push((node, report)),
                Action::Stopped => self.stopped.push(node),
                Action::Announce { .. } | Action::RememberDraining(_) => {}
            }
        }
        for (group, owners) in &self.open {
            assert!(owners.len() <= 1, "{group} at {owners:?} at {:?}", self.now);
        }
    }

    fn run(&mut self, length: Duration) {
        let end = self.now + length;
        loop {
            let timer = self.nodes.iter().map(|(id, node)| (node.next_deadline(), *id)).min();
            let message = self.inbox.peek().map(|Reverse((at, _, _))| *at);
            let next = timer.map(|timer| timer.0).into_iter().chain(message).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if message == Some(next) {
                let Some(Reverse((_, serial, to))) = self.inbox.pop() else { break };
                let event = self.events.remove(&serial).expect("every posted event is kept");
                self.step(to, event);
            } else if let Some((_, id)) = timer {
                self.step(id, Event::Timer);
            }
        }
        self.now = end;
    }

    fn kill(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        for owners in self.open.values_mut() {
            owners.retain(|owner| *owner != node);
        }
    }

    fn told(&self) -> String {
        self.reports.iter().map(|(node, report)| format!("{node}: {report:?}\n")).collect()
    }

    fn share(&self, node: NodeId) -> usize {
        self.open.values().filter(|owners| owners.contains(&node)).count()
    }

    fn covered(&self) -> usize {
        self.open.values().filter(|owners| owners.len() == 1).count()
    }
}

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
    let configuration = Configuration { incarnation: Incarnation(1002), ..configuration(2, 3, 30) };
    cluster.nodes.insert(NodeId(2), Node::new(cluster.now, configuration));
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
