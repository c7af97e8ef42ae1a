//! Small stories on a perfect network: every datagram arrives after one millisecond, the kernel
//! obeys at once. Faults of all kinds are the business of `tests/simulation`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use super::*;

mod batches;
mod causes;
mod checks;
mod claimants;
mod connections;
mod continuation;
mod drain;
mod faults;
mod gates;
mod majority;
mod moves;
mod neighbours;
mod outside;
mod placement;
mod preservation;
mod regrouping;
mod rest;
mod rules;

/// What disks say, at once.
const STORED: Event = Event::VotersRemembered { stored: true };

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
    announced: Vec<(Instant, NodeId, GroupKey)>,
    stopped: Vec<NodeId>,
    /// What resting nodes have left.
    memories: Vec<Memory>,
    /// Who has a group verified, and who had it before.
    verified: Vec<(NodeId, Option<NodeId>)>,
    /// Who is told by whom of which hosts.
    acquainted: Vec<(NodeId, NodeId, Vec<Neighbour>)>,
    /// Who keeps which connections of whom.
    remembered: Vec<(NodeId, NodeId, Vec<Connection>)>,
    /// Who has the end of connections watched from then on, or no more.
    watching: Vec<(NodeId, bool)>,
    /// Whose gates are to be opened.
    asked_gates: Vec<(NodeId, GroupKey, Ticket)>,
    /// Who has the clients of which group told.
    tickled: Vec<(NodeId, GroupKey)>,
    /// Links on which everything is lost.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Nodes that do not run, and what waits for them.
    frozen: BTreeMap<NodeId, Vec<Event>>,
    /// How often a node has been started.
    lives: BTreeMap<NodeId, u64>,
    /// What the self-test of a node says, if anything.
    reach: BTreeMap<NodeId, Option<Reach>>,
    /// How long the self-test takes.
    reach_takes: Duration,
    /// Whether two owners of one group are tolerated for now.
    split: bool,
    /// Whether there ever were two.
    doubled: bool,
    /// How long kernels take to remove an address.
    removal: Duration,
    /// Nodes whose kernel refuses to add.
    refusing: BTreeSet<NodeId>,
    /// Orders to add.
    acquired: usize,
    /// How much the clock of a node is behind, because its machine stood still.
    behind: BTreeMap<NodeId, Duration>,
    /// The last heartbeat from one node to another.
    last_beat: BTreeMap<(NodeId, NodeId), Heartbeat>,
    /// Whether kernels answer for what they have. Where heartbeats are cut, so is all else, unless
    /// this is set.
    kernels_answer: bool,
    /// Who outside the cluster answers for a group.
    conflicts: BTreeMap<GroupKey, HardwareAddress>,
    /// The switch lets no host hear a question to everybody.
    suppresses: bool,
    /// It answers such a question so.
    answered_for: BTreeMap<GroupKey, HardwareAddress>,
    /// Groups that kernels keep for their connections only.
    kept: BTreeSet<(NodeId, GroupKey)>,
    /// Where kernels were told to forward, in this order.
    forwarded: Vec<(NodeId, GroupKey, Option<HardwareAddress>)>,
    /// Groups that any node has asked about.
    asked: Vec<(Instant, NodeId, GroupKey)>,
    /// Groups whose clients were told one by one.
    corrected: Vec<(Instant, NodeId, GroupKey)>,
}

/// Of the only interface of a node.
fn hardware(node: NodeId) -> HardwareAddress {
    let [.., last] = node.0.to_be_bytes();
    HardwareAddress([2, 0, 0, 0, 0, last])
}

fn configuration(me: u32, nodes: u32, groups: u64) -> Configuration {
    Configuration {
        me: NodeId(me),
        incarnation: Incarnation(1000 + u64::from(me)),
        seed: u64::from(me),
        software: SoftwareVersion::default(),
        name: String::new(),
        digest: 0,
        nodes: (1..=nodes).map(|node| (NodeId(node), Member::of_weight(1))).collect(),
        groups: (1..=groups)
            .map(|group| {
                let wanted = Group {
                    pool: PoolId::from_name("web"),
                    addresses: vec![GroupKey(mix(group))],
                    strategy: Strategy::Balance,
                    mode: Mode::Availability,
                    prefer: Preference::default(),
                    failback: None,
                    force: false,
                    last_resort: LastResort::Keep,
                    gate: None,
                };
                (GroupKey(mix(group)), wanted)
            })
            .collect(),
        placement: [].into(),
        load_aware: false,
        paths: 1,
        timing: Timing::LAN,
        adaptive: false,
        drain_timeout: Duration::ZERO,
        preserve: None,
        preserving: Preserving::Unknown,
        draining: false,
        broken: None,
    }
}

impl Cluster {
    fn start(nodes: u32, groups: u64) -> Self {
        Self::without(None, nodes, groups)
    }

    fn without(broken: Option<Rule>, nodes: u32, groups: u64) -> Self {
        let now = Instant::from_millis(1000);
        Self {
            now,
            nodes: (1..=nodes)
                .map(|node| {
                    (
                        NodeId(node),
                        Node::new(
                            now,
                            Configuration { broken, ..configuration(node, nodes, groups) },
                        ),
                    )
                })
                .collect(),
            open: BTreeMap::new(),
            inbox: BinaryHeap::new(),
            events: BTreeMap::new(),
            serial: 0,
            answers: Vec::new(),
            reports: Vec::new(),
            announced: Vec::new(),
            stopped: Vec::new(),
            memories: Vec::new(),
            verified: Vec::new(),
            acquainted: Vec::new(),
            remembered: Vec::new(),
            tickled: Vec::new(),
            asked_gates: Vec::new(),
            watching: Vec::new(),
            cut: BTreeSet::new(),
            frozen: BTreeMap::new(),
            lives: BTreeMap::new(),
            reach: BTreeMap::new(),
            reach_takes: Duration::ZERO,
            split: false,
            doubled: false,
            removal: Duration::ZERO,
            refusing: BTreeSet::new(),
            acquired: 0,
            behind: BTreeMap::new(),
            last_beat: BTreeMap::new(),
            kernels_answer: false,
            conflicts: BTreeMap::new(),
            suppresses: false,
            answered_for: BTreeMap::new(),
            kept: BTreeSet::new(),
            forwarded: Vec::new(),
            asked: Vec::new(),
            corrected: Vec::new(),
        }
    }

    /// Tells every node its hardware address.
    fn with_hardware(mut self) -> Self {
        for node in self.nodes.keys().copied().collect::<Vec<_>>() {
            let mut told = [None; HARDWARE_MAX];
            told[0] = Some(hardware(node));
            self.step(node, Event::Kernel(KernelEvent::Hardware(told)));
        }
        self
    }

    /// Everybody answers who has the group.
    fn answer(&mut self, asking: NodeId, group: GroupKey, at: &[HardwareAddress]) {
        self.asked.push((self.now, asking, group));
        let owners = self.open.get(&group).filter(|_| self.kernels_answer).into_iter().flatten();
        let others = owners.filter(|owner| **owner != asking).map(|owner| hardware(*owner));
        let others = others.map(|hardware| (hardware, at.contains(&hardware)));
        let others = others.filter(|(_, direct)| *direct || !self.suppresses);
        let foreign = self.conflicts.get(&group).map(|hardware| (*hardware, false));
        let answered = self.answered_for.get(&group).map(|hardware| (*hardware, false));
        let answers: Vec<_> = others.chain(foreign).chain(answered).collect();
        for (hardware, direct) in answers {
            let event = KernelEvent::Claimed { group, hardware, direct };
            self.post(self.now + Duration::from_millis(1), asking, Event::Kernel(event));
        }
    }

    fn post(&mut self, at: Instant, to: NodeId, event: Event) {
        self.serial += 1;
        self.inbox.push(Reverse((at, self.serial, to)));
        self.events.insert(self.serial, event);
    }

    fn step(&mut self, node: NodeId, mut event: Event) {
        if let Some(waiting) = self.frozen.get_mut(&node) {
            return waiting.push(event);
        }
        if let Event::Kernel(KernelEvent::Absent { group, .. }) = &event {
            self.open.entry(*group).or_default().retain(|owner| *owner != node);
        }
        let incarnation = self.incarnation(node);
        let behind = self.behind.get(&node).copied().unwrap_or_default();
        if let Event::Heard { received_at, .. } = &mut event {
            *received_at = received_at.before(behind);
        }
        let Some(machine) = self.nodes.get_mut(&node) else { return };
        for action in machine.step(self.now.before(behind), event) {
            let soon = self.now + Duration::from_millis(1);
            match action {
                Action::Send { to, .. } if self.cut.contains(&(node, to)) => {}
                Action::Send { to, message } => {
                    if let Message::Heartbeat(beat) = &message {
                        self.last_beat.insert((node, to), beat.clone());
                    }
                    let event =
                        Event::Heard { from: node, incarnation, received_at: soon, message };
                    self.post(soon, to, event);
                }
                Action::Acquire { group, ticket, .. } if self.refusing.contains(&node) => {
                    self.acquired += 1;
                    let event = KernelEvent::Failed { group, ticket, failure: Failure::Refused };
                    self.post(soon, node, Event::Kernel(event));
                }
                Action::Acquire { group, ticket, .. } => {
                    self.kept.remove(&(node, group));
                    self.acquired += 1;
                    let open = self.open.entry(group).or_default();
                    // A group that is held already gets other addresses.
                    open.retain(|owner| *owner != node);
                    open.push(node);
                    let event = KernelEvent::Present { group, ticket };
                    self.post(self.now, node, Event::Kernel(event));
                }
                Action::Release { group, ticket } => {
                    self.kept.remove(&(node, group));
                    let event = KernelEvent::Absent { group, ticket };
                    self.post(self.now + self.removal, node, Event::Kernel(event));
                }
                Action::Hand { group, ticket } => {
                    self.kept.insert((node, group));
                    self.post(self.now, node, Event::Kernel(KernelEvent::Absent { group, ticket }));
                }
                Action::Forward { group, to } => self.forwarded.push((node, group, to)),
                Action::TestReach => self.test_reach(node),
                Action::Probe { group, at } => self.answer(node, group, &at),
                Action::Answer { outcome, .. } => self.answers.push(outcome),
                Action::Report(report) => self.reports.push((node, report)),
                Action::Stopped => self.stopped.push(node),
                Action::GoOn(memory) => self.memories.push(*memory),
                other @ (Action::Verify { .. }
                | Action::Announce { .. }
                | Action::Acquaint { .. }
                | Action::Remember { .. }
                | Action::WatchConnections(_)
                | Action::Withdraw { .. }
                | Action::Correct { .. }
                | Action::DoubtPaths(_)
                | Action::Tickle { .. }) => self.note(node, other),
                Action::OpenGate { group, ticket } => self.asked_gates.push((node, group, ticket)),
                Action::RememberVoters(_) => self.post(soon, node, STORED),
                Action::Named { .. } | Action::RememberDraining(_) | Action::LetFinish { .. } => {}
                Action::KeepPromises(_) => {}
            }
        }
        self.count_owners();
    }

    fn count_owners(&mut self) {
        for (group, owners) in &self.open {
            self.doubled |= owners.len() > 1;
            assert!(self.split || owners.len() <= 1, "{group} at {owners:?} at {:?}", self.now);
        }
    }

    fn test_reach(&mut self, node: NodeId) {
        let reach = self.reach.get(&node).copied().unwrap_or(Some(Reach::Answered));
        if let Some(reach) = reach {
            let at = self.now + self.reach_takes;
            self.post(at, node, Event::Kernel(KernelEvent::Reach(reach)));
        }
    }

    fn note(&mut self, node: NodeId, action: Action) {
        if let Action::Announce { group } = action {
            self.announced.push((self.now, node, group));
        } else if let Action::Verify { before, .. } = action {
            self.verified.push((node, before));
        } else if let Action::Acquaint { from, hosts } = action {
            self.acquainted.push((node, from, hosts));
        } else if let Action::WatchConnections(on) = action {
            self.watching.push((node, on));
        } else if let Action::Tickle { group } = action {
            self.tickled.push((node, group));
        } else if let Action::Correct { group, .. } = action {
            self.corrected.push((self.now, node, group));
        } else if let Action::Remember { from, connections } = action {
            self.remembered.push((node, from, connections));
        }
    }

    fn run(&mut self, length: Duration) {
        let end = self.now + length;
        loop {
            let awake = self.nodes.iter().filter(|(id, _)| !self.frozen.contains_key(id));
            let timer = awake
                .map(|(id, node)| {
                    let behind = self.behind.get(id).copied().unwrap_or_default();
                    (node.next_deadline() + behind, *id)
                })
                .min();
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

    fn incarnation(&self, node: NodeId) -> Incarnation {
        let life = self.lives.get(&node).copied().unwrap_or(0);
        Incarnation(1000 * (1 + life) + u64::from(node.0))
    }

    fn restart(&mut self, node: u32, nodes: u32, groups: u64) {
        *self.lives.entry(NodeId(node)).or_default() += 1;
        let incarnation = self.incarnation(NodeId(node));
        let configuration = Configuration { incarnation, ..configuration(node, nodes, groups) };
        self.nodes.insert(NodeId(node), Node::new(self.now, configuration));
    }

    fn freeze(&mut self, node: NodeId) {
        self.frozen.insert(node, Vec::new());
    }

    fn thaw(&mut self, node: NodeId) {
        for event in self.frozen.remove(&node).expect("only frozen nodes thaw") {
            self.step(node, event);
        }
    }

    fn cut(&mut self, from: u32, to: u32) {
        self.cut.insert((NodeId(from), NodeId(to)));
    }

    fn owner(&self, group: GroupKey) -> &[NodeId] {
        &self.open[&group]
    }

    fn owner_count(&self, group: GroupKey) -> usize {
        self.open.get(&group).map_or(0, Vec::len)
    }

    fn groups_of(&self, node: u32) -> Vec<GroupKey> {
        let node = NodeId(node);
        self.open.iter().filter(|(_, at)| at.contains(&node)).map(|(group, _)| *group).collect()
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
