//! The simulated world: hosts, network, clients, and one heap of what happens next.
//!
//! Everything happens in order of time, and in order of making at equal times; every choice comes
//! from one generator. So a seed is a run. Checks sit where things change (`safety.rs`), faults in
//! `faults.rs`, the daemons' loops in `process.rs`, the kernels' in `machine.rs`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr};

use buoy::protocol::{
    GroupKey, HardwareAddress, Incarnation, KernelEvent, Message, NodeId, Ticket, VoterRecord,
};

use crate::clients::Client;
use crate::clock::Clock;
use crate::conflicts::Conflicts;
use crate::draw::{Draw, SECOND};
use crate::faults::{Ending, Faults};
use crate::host::Host;
use crate::network::Network;
use crate::options::Options;
use crate::plan::Plan;
use crate::recorded;
use crate::safety::Safety;
use crate::suppression::Switch;
use crate::trace::{Trace, Violation};
use crate::virtual_routers::{VirtualRouters, Vrrp};

/// Something that will happen. `life` names the daemon that it belongs to.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A datagram reaches a host.
    Arrive { from: usize, to: usize, life: Incarnation, sent_at: u64, message: Message },
    /// A copy of a datagram reaches a host on one of several paths.
    ArriveOn { from: usize, to: usize, copy: (Incarnation, u8) },
    /// The scheduler lets the daemon's loop run.
    Wake { host: usize, life: u64 },
    /// The daemon's timer fires.
    Timer { host: usize, generation: u64 },
    /// The kernel executes an order.
    Execute { host: usize, life: u64, group: usize, ticket: Ticket },
    /// The kernel thread tells the loop.
    Tell { host: usize, life: u64, event: KernelEvent },
    /// The kernel thread puts back what somebody removed.
    Restore { host: usize, life: u64, group: usize },
    /// The kernel thread sends one round of announcements.
    Broadcast { host: usize, life: u64, group: usize },
    /// The kernel thread sees the state of the links.
    SeeLinks { host: usize, life: u64 },
    /// The record of lists of voters is on the disk of a host.
    Stored { host: usize, life: u64, record: VoterRecord },
    /// The gate of the groups in mode majority may close by itself.
    CloseDoor { host: usize },
    /// The kernel thread looks who is around.
    Look { host: usize, life: u64 },
    /// The daemon measures how busy its host is.
    Measure { host: usize, life: u64 },
    /// The guardian of a dead daemon acts.
    Farewell { host: usize, life: u64, farewell: Message },
    /// A question who has a group is on the network.
    Question { host: usize, life: u64, group: usize, at: Vec<HardwareAddress> },
    /// The test of reach ends.
    ReachTested { host: usize, life: u64 },
    /// A test of the data link ends.
    TestLink { host: usize, life: u64 },
    /// A client asks for a group again.
    Ask { client: usize, group: usize, query: u64 },
    /// A daemon starts.
    Start { host: usize },
    /// A daemon starts after one that was to rest.
    NextProcess { host: usize },
    /// A configuration arrives at a host.
    Adopt { host: usize, plan: usize },
    /// The next fault is due.
    Fault,
    /// A fault ends, if nothing has healed it before.
    End { era: u64, ending: Ending },
    /// Something of the virtual routers.
    Vrrp(Vrrp),
    /// The observer looks at everything.
    Audit,
}

/// The world.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Nanoseconds since the start.
    pub(crate) now: u64,
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<Happening>>,
    free: Vec<usize>,
    order: u64,
    /// The source of every choice.
    pub(crate) draw: Draw,
    /// What the run is made of.
    pub(crate) options: Options,
    /// The hosts.
    pub(crate) hosts: Vec<Host>,
    /// What lies between them.
    pub(crate) network: Network,
    /// Who uses the addresses.
    pub(crate) clients: Vec<Client>,
    /// Host of each node.
    pub(crate) index: BTreeMap<NodeId, usize>,
    /// Every group that any configuration has.
    pub(crate) groups: Vec<GroupKey>,
    /// Place of each group in `groups`.
    pub(crate) group_index: BTreeMap<GroupKey, usize>,
    /// Configurations, oldest first.
    pub(crate) plans: Vec<Plan>,
    /// By group: hosts whose kernel answers for it now.
    pub(crate) open: Vec<Vec<usize>>,
    /// Faults under way.
    pub(crate) faults: Faults,
    /// Hosts outside the cluster that have addresses of it.
    pub(crate) conflicts: Conflicts,
    /// Groups that are virtual routers, and the router outside.
    pub(crate) virtual_routers: VirtualRouters,
    /// What carries questions.
    pub(crate) switch: Switch,
    /// What the observer remembers.
    pub(crate) safety: Safety,
    /// What happened.
    pub(crate) trace: Trace,
    /// The first rule that did not hold.
    pub(crate) violation: Option<Violation>,
    /// Events handled.
    pub(crate) events: u64,
}

impl Cluster {
    /// A world in which every daemon is about to start.
    pub(crate) fn new(options: Options) -> Self {
        let mut draw = Draw::new(options.seed);
        let (nodes, universe) = (options.nodes, options.groups + options.groups_spare);
        let groups: Vec<GroupKey> = (0..universe).map(group_key).collect();
        let hosts: Vec<Host> = (0..nodes)
            .map(|host| {
                let clock = Clock::new(
                    draw.between(SECOND, 1_000 * SECOND),
                    draw.between(0, options.drift),
                );
                Host::new(NodeId::from_name(&format!("n{host}")), nodes, universe, clock)
            })
            .collect();
        let network = Network::new(nodes, options.clients, options.paths, options.weather.clone());
        let clients = (0..options.clients)
            .map(|_| Client::new(universe, options.locktime, &mut draw))
            .collect();
        let plan = Plan::first(&options, &groups, &hosts, &mut draw);
        let mut cluster = Self {
            now: 0,
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            order: 0,
            index: hosts.iter().enumerate().map(|(index, host)| (host.id, index)).collect(),
            group_index: groups.iter().enumerate().map(|(index, key)| (*key, index)).collect(),
            open: vec![Vec::new(); universe],
            safety: Safety::new(nodes, universe, options.slowest().heartbeat),
            faults: Faults::default(),
            conflicts: Conflicts::default(),
            virtual_routers: VirtualRouters::default(),
            switch: Switch::default(),
            trace: Trace::new(options.traced),
            plans: vec![plan],
            violation: None,
            events: 0,
            draw,
            options,
            hosts,
            network,
            clients,
            groups,
        };
        cluster.schedule_beginning();
        cluster
    }

    fn schedule_beginning(&mut self) {
        for host in 0..self.hosts.len() {
            let at = self.draw.between(0, self.options.start_spread);
            self.schedule(at, Happening::Start { host });
        }
        for client in 0..self.clients.len() {
            for group in 0..self.groups.len() {
                let at = self.draw.between(0, SECOND);
                self.schedule(at, Happening::Ask { client, group, query: 0 });
            }
        }
        self.schedule(SECOND / 50, Happening::Audit);
        if self.options.fault_start < self.options.fault_end {
            self.schedule(self.options.fault_start, Happening::Fault);
        }
    }

    /// Lets something happen at `at`, or now if that is past.
    pub(crate) fn schedule(&mut self, at: u64, what: Happening) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(what);
        self.order += 1;
        self.heap.push(Reverse((at.max(self.now), self.order, slot)));
    }

    /// Runs until `end`, or until a rule is broken.
    pub(crate) fn run_to(&mut self, end: u64) -> Result<(), Violation> {
        while let Some(Reverse((at, _, slot))) = self.heap.peek().copied() {
            if at > end {
                break;
            }
            self.heap.pop();
            self.free.push(slot);
            let what = self.slots[slot].take().expect("a slot on the heap is filled");
            self.now = at;
            self.events += 1;
            self.handle(what);
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
        }
        self.now = end;
        Ok(())
    }

    fn handle(&mut self, what: Happening) {
        self.trace.note_time(self.now, self.order);
        match what {
            Happening::Arrive { from, to, life, sent_at, message } => {
                self.arrive(from, to, (life, sent_at, message));
            }
            Happening::ArriveOn { from, to, copy } => self.arrive_on(from, to, copy),
            Happening::Wake { host, life } => self.wake(host, life),
            Happening::Timer { host, generation } => self.fire_timer(host, generation),
            Happening::Execute { host, life, group, ticket } => {
                if self.lets_run(host, life, || Happening::Execute { host, life, group, ticket }) {
                    self.execute(host, group, ticket);
                }
            }
            Happening::Tell { host, life, event } => {
                let again = event.clone();
                if self.lets_run(host, life, || Happening::Tell { host, life, event: again }) {
                    self.tell(host, event);
                }
            }
            Happening::Restore { host, life, group } => {
                if self.lets_run(host, life, || Happening::Restore { host, life, group }) {
                    self.restore(host, group);
                }
            }
            Happening::Broadcast { host, life, group } => {
                if self.lets_run(host, life, || Happening::Broadcast { host, life, group }) {
                    self.broadcast(host, group);
                }
            }
            Happening::SeeLinks { host, life } => {
                if self.lets_run(host, life, || Happening::SeeLinks { host, life }) {
                    self.see_links(host);
                }
            }
            Happening::ReachTested { host, life } => {
                if self.lets_run(host, life, || Happening::ReachTested { host, life }) {
                    self.end_reach_test(host);
                }
            }
            Happening::TestLink { host, life } => self.end_link_test(host, life),
            Happening::Stored { host, life, record } => self.stored_voters(host, life, record),
            Happening::CloseDoor { host } => self.close_door(host),
            Happening::Question { host, life, group, at } => {
                let again = || Happening::Question { host, life, group, at: at.clone() };
                if self.lets_run(host, life, again) {
                    self.answer_question(host, group, &at);
                }
            }
            Happening::Look { host, life } => {
                if self.lets_run(host, life, || Happening::Look { host, life }) {
                    self.look(host);
                }
            }
            Happening::Measure { host, life } => {
                if self.lets_run(host, life, || Happening::Measure { host, life }) {
                    self.measure(host);
                }
            }
            Happening::Farewell { host, life, farewell } => {
                self.say_farewell(host, life, &farewell);
            }
            Happening::Ask { client, group, query } => self.ask(client, group, query),
            Happening::Start { host } => self.start(host),
            Happening::NextProcess { host } => self.next_process(host),
            Happening::Adopt { host, plan } => self.adopt(host, plan),
            Happening::Fault => self.next_fault(),
            Happening::End { era, ending } => self.end_fault(era, ending),
            Happening::Vrrp(what) => self.vrrp(what),
            Happening::Audit => self.audit(),
        }
    }

    /// Whether a thing of a daemon's life can happen now: void if the life is over, put off while
    /// the daemon is stopped.
    pub(crate) fn lets_run(
        &mut self,
        host: usize,
        life: u64,
        again: impl FnOnce() -> Happening,
    ) -> bool {
        let host = &mut self.hosts[host];
        if host.life != life || host.node.is_none() {
            return false;
        }
        if host.is_halted() {
            host.deferred.push(again());
            return false;
        }
        true
    }

    /// Notes a broken rule; the first one ends the run.
    pub(crate) fn flag(&mut self, rule: &'static str, text: String) {
        if self.violation.is_none() {
            self.violation = Some(self.violated(rule, text));
        }
    }

    /// A violation seen now.
    pub(crate) fn violated(&self, rule: &'static str, text: String) -> Violation {
        Violation {
            rule,
            at: self.now,
            text,
            faults: self.faults.made,
            lines: self.trace.lines().into_iter().map(|line| self.readable(line)).collect(),
        }
    }

    /// A line with hosts and groups by number instead of by hash.
    fn readable(&self, line: String) -> String {
        let hosts = self.hosts.iter().enumerate().fold(line, |line, (index, host)| {
            let name = format!("n{index}");
            line.replace(&host.id.to_string(), &name).replace(&format!("{:?}", host.id), &name)
        });
        self.groups.iter().enumerate().fold(hosts, |line, (index, group)| {
            let name = format!("g{index}");
            line.replace(&group.to_string(), &name).replace(&format!("{group:?}"), &name)
        })
    }
}

/// The hash of a story is that of the clusters that it has made.
impl Drop for Cluster {
    fn drop(&mut self) {
        recorded::note_cluster(self);
    }
}

fn group_key(group: usize) -> GroupKey {
    let third = u8::try_from(group / 250).expect("at most 1000 groups");
    let fourth = u8::try_from(group % 250 + 1).expect("below 251");
    GroupKey::from_first_address(IpAddr::V4(Ipv4Addr::new(10, 0, third, fourth)))
}
