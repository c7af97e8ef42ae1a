//! The protocol thread: receive -> open -> step -> seal -> send, and nothing else.
//!
//! ```text
//!              +-----------------------------------------------+
//!  sockets --->| receive, open --+                             |
//!  inbox ----->| orders, kernel, +--> step --> seal, send -----|---> sockets
//!  clock ----->| deadline -------+        \--> orders ---------|---> kernel thread
//!              |                           --> answers, reports|---> main thread
//!              +-----------------------------------------------+
//! ```
//!
//! It waits in one place, for its sockets, its inbox and the deadline of the core. Whatever it
//! has for others goes into their queues without waiting; a report that finds the queue full is
//! dropped and counted, because a heartbeat that comes late costs an address and a log line that
//! is missing does not. It does not log, read files, resolve names or allocate by what a peer
//! says. Work per turn is limited, so that a flood of datagrams delays a timer by one budget at
//! most.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use tokio::sync::{mpsc, oneshot, watch};

use super::clock;
use super::ending::Left;
use super::inbox::{Inbox, Input, Reconfiguration, Request, Unchanged};
use super::lateness::Lateness;
use super::picture::Picture;
use super::realtime;
use super::refused::{Obstacle, Refused};
use super::state_file::Estate;
pub(crate) use super::vital::Vital;
use super::voices::Voices;
use super::waiting_orders::WaitingOrders;
use super::will::Farewell;
use crate::kernel::{Door, GroupAddresses};
use crate::protocol::{
    Action, Connection, Epoch, Event, GroupKey, HardwareAddress, Instant, Neighbour, Node, NodeId,
    Outside, PathFault, Report, Ticket, VoterRecord,
};
use crate::transport::{Path, Transport};
use crate::wire::Sessions;

/// Datagrams opened in one turn: two heartbeats of each of 32 peers, about 1 ms of work.
pub(super) const DATAGRAMS_PER_TURN: usize = 64;

/// Inputs taken in one turn; a hundred kernel events are about 1 ms of work too.
const INPUTS_PER_TURN: usize = 128;

/// The loop needs no deep recursion; with memory locked, a small stack is a small bill.
const STACK: usize = 256 * 1024;

/// What the loop asks of the kernel module. A seam: tests put their own behind it.
pub(crate) trait KernelOrders: Send + 'static {
    /// Groups and addresses of other nodes are these from now on.
    fn reconfigure(&self, groups: Vec<GroupAddresses>, peer_addresses: Vec<IpAddr>);
    /// Make the first address of the group and these further ones present.
    fn acquire(&self, group: GroupKey, ticket: Ticket, further: Vec<GroupKey>);
    /// Remove every address of the group.
    fn release(&self, group: GroupKey, ticket: Ticket);
    /// Answer for the group no more, from now on.
    fn withdraw(&self, group: GroupKey);
    /// Let requests end before the group goes.
    fn let_finish(&self, group: GroupKey);
    /// Answer for the group no more, but keep its connections.
    fn hand(&self, group: GroupKey, ticket: Ticket);
    /// Send what belongs to the former owner of the group there, or stop that.
    fn forward(&self, group: GroupKey, to: Option<HardwareAddress>);
    /// Send one round of announcements.
    fn announce(&self, group: GroupKey);
    /// Ask once who answers for the group.
    fn probe(&self, group: GroupKey, at: Vec<HardwareAddress>);
    /// Find out whether the neighbours follow; whose come first.
    fn verify(&self, group: GroupKey, epoch: Epoch, before: Option<NodeId>);
    /// Keep the hosts that a peer has to do with.
    fn acquaint(&self, from: NodeId, hosts: Vec<Neighbour>);
    /// Keep connections that a peer has.
    fn remember(&self, from: NodeId, connections: Vec<Connection>);
    /// Tell how many of the present connections remain, or stop that.
    fn watch_connections(&self, on: bool);
    /// Have the clients of a dead owner told.
    fn tickle(&self, group: GroupKey);
    /// Find out whether anybody outside the cluster answers.
    fn test_reach(&self);
    /// Tell each known neighbour where the group is.
    fn correct(&self, group: GroupKey, epoch: Epoch);
    /// Test the links with these addresses of this host, and no others.
    fn doubt(&self, addresses: Vec<(IpAddr, PathFault)>);
}

/// Something worth telling people, on its way to the main thread.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// The core reports.
    Report {
        /// Wall-clock time of the report.
        at: Duration,
        /// What.
        report: Report,
    },
    /// A peer knows another node of this one's name.
    Twin {
        /// Who.
        by: NodeId,
    },
    /// The name of a node that the file does not list.
    Named {
        /// The node.
        node: NodeId,
        /// Its name.
        name: String,
    },
    /// Peers, or this node, are elsewhere than before, or known to be.
    Whereabouts(Vec<Path>),
    /// Datagrams were refused since this was last told.
    Refused {
        /// The last of them.
        what: Obstacle,
        /// How many.
        count: u64,
    },
    /// The kernel has been told to add or remove the addresses of a group.
    Ordered {
        /// The group.
        group: GroupKey,
        /// Add, not remove.
        acquire: bool,
    },
    /// This node has been drained: nothing of what it had is left.
    Drained,
    /// A planned move of a group waits for what is to be done first.
    Gate {
        /// The group.
        group: GroupKey,
        /// Comes back when it is done.
        ticket: Ticket,
    },
    /// What [`realtime::take_precedence`] says against real-time priority.
    NoPrecedence(String),
}

/// Where the loop puts what it has to say.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Reports; what does not fit is dropped and counted.
    pub told: mpsc::Sender<Told>,
    /// Whether this node drains; the last value counts.
    pub draining: watch::Sender<bool>,
    /// Farewells for the guardian; the last ones count.
    pub will: std::sync::mpsc::Sender<Vec<Farewell>>,
    /// What must be remembered of the lists of voters.
    pub voters: std::sync::mpsc::Sender<VoterRecord>,
    /// Shared with other threads.
    pub vital: Arc<Vital>,
}

/// The thread's whole state. Built by the main thread, then given away to [`EventLoop::spawn`].
pub(crate) struct EventLoop<K> {
    pub(super) node: Node,
    pub(super) sessions: Sessions,
    pub(super) transport: Transport,
    pub(super) kernel: K,
    voices: Voices,
    inbox: Inbox,
    outbox: Outbox,
    orders: WaitingOrders,
    /// Groups that were handed over: that they go was told then.
    handed: BTreeSet<GroupKey>,
    /// Whether the last step left this node drained.
    drained: bool,
    lateness: Lateness,
    turn_began: Instant,
    pub(super) refused: Refused,
    sealed: Vec<u8>,
    inputs_left: bool,
    ended: bool,
    left: Left,
}

/// The modules that the loop drives.
pub(crate) struct Parts<K> {
    /// The core.
    pub node: Node,
    /// Seals and opens.
    pub sessions: Sessions,
    /// The sockets.
    pub transport: Transport,
    /// Where orders to the kernel go.
    pub kernel: K,
    /// What routers outside are told.
    pub voices: Voices,
}

impl<K: KernelOrders> EventLoop<K> {
    /// Puts the parts together; nothing runs yet.
    pub(crate) fn new(parts: Parts<K>, inbox: Inbox, outbox: Outbox) -> Self {
        let (now, drained) = (clock::now(), parts.node.is_drained());
        Self {
            node: parts.node,
            sessions: parts.sessions,
            transport: parts.transport,
            kernel: parts.kernel,
            voices: parts.voices,
            inbox,
            outbox,
            orders: WaitingOrders::default(),
            handed: BTreeSet::new(),
            drained,
            lateness: Lateness::new(now),
            turn_began: now,
            refused: Refused::default(),
            sealed: Vec::new(),
            inputs_left: false,
            ended: false,
            left: Left::Nothing,
        }
    }

    /// Runs the loop in a thread of its own until the core says that it has stopped. The
    /// receiver is told when the loop has ended, and what it leaves to the next process if so, or
    /// finds the other end gone if it panicked.
    pub(crate) fn spawn(self) -> std::io::Result<oneshot::Receiver<Left>> {
        let (ended, when_ended) = oneshot::channel();
        thread::Builder::new().name("protocol".to_owned()).stack_size(STACK).spawn(move || {
            // Nobody to tell when main gave up waiting.
            let _ = ended.send(self.run());
        })?;
        Ok(when_ended)
    }

    fn run(mut self) -> Left {
        match realtime::take_precedence() {
            Ok(()) => self.outbox.vital.real_time.store(true, Ordering::Relaxed),
            Err(refused) => self.tell(Told::NoPrecedence(refused.to_string())),
        }
        self.tell_whereabouts();
        while !self.ended {
            self.turn();
        }
        self.left
    }

    /// Waits once and does all that is due.
    fn turn(&mut self) {
        let deadline = self.node.next_deadline();
        let ready = self.wait(deadline);
        self.outbox.vital.turns.fetch_add(1, Ordering::Relaxed);
        let now = clock::now();
        if now >= deadline {
            // A deadline older than the last turn was asked for in that turn, not before.
            let late = now.since(deadline.max(self.turn_began));
            let worst = self.lateness.note(now, late);
            self.outbox.vital.lateness.count(late);
            self.node.set_loop_lag(worst);
            self.step(now, Event::Timer);
        }
        self.turn_began = now;
        if ready.inbox {
            self.take_inputs();
        }
        if ready.datagrams {
            self.take_datagrams();
        }
    }

    /// Seals what is to be said when this process is dead. At the start and after a reload, not in
    /// the course of things.
    pub(super) fn bequeath(&mut self) {
        let message = self.node.farewell();
        let mut sealed: BTreeMap<NodeId, Vec<u8>> = BTreeMap::new();
        let mut farewells = Vec::new();
        for (peer, from, to) in self.transport.destinations() {
            let sessions = &mut self.sessions;
            let datagram = sealed.entry(peer).or_insert_with(|| sessions.seal_last(peer, &message));
            farewells.push(Farewell { from, to, datagram: datagram.clone() });
        }
        // Nobody takes them where there is no guardian, as in tests.
        let _ = self.outbox.will.send(farewells);
        self.outbox.vital.guardian_thread.get().into_iter().for_each(thread::Thread::unpark);
    }

    /// The only place where the thread waits.
    fn wait(&self, deadline: Instant) -> Ready {
        let length = if self.inputs_left { Duration::ZERO } else { deadline.since(clock::now()) };
        let timeout =
            (deadline != Instant::NEVER || self.inputs_left).then(|| clock::time_spec(length));
        let mut sources = vec![PollFd::new(self.inbox.descriptor(), PollFlags::POLLIN)];
        let sockets = self.transport.descriptors();
        sources.extend(sockets.map(|socket| PollFd::new(socket, PollFlags::POLLIN)));
        // An error is an interruption by a signal, or memory short in the kernel: go round.
        let _ = ppoll(&mut sources, timeout, None);
        let mut ready = sources.iter().map(|source| source.any().unwrap_or(true));
        let inbox = ready.next().unwrap_or(true) || self.inputs_left;
        Ready { inbox, datagrams: ready.any(|socket| socket) }
    }

    fn take_inputs(&mut self) {
        self.inbox.rest();
        self.inputs_left = true;
        // Taken in together, because what follows is worked out for all groups each time.
        let mut events = Vec::new();
        for _ in 0..INPUTS_PER_TURN {
            match self.inbox.take() {
                Some(Input::Event(event)) => events.push(*event),
                Some(Input::Request(request)) => {
                    self.step_all(std::mem::take(&mut events));
                    self.answer(request);
                }
                None => {
                    self.inputs_left = false;
                    break;
                }
            }
        }
        self.step_all(events);
    }

    fn answer(&mut self, request: Request) {
        let now = clock::now();
        // Whoever asked may be gone when the answer comes; that is no concern of the loop.
        match request {
            Request::Order { order, answer } => {
                let Some(ticket) = self.orders.admit(answer) else { return };
                self.step(now, order.event(ticket));
            }
            Request::Look(answer) => {
                let _ = answer.send(self.picture(now));
            }
            Request::Copy(answer) => {
                let _ = answer.send(Box::new(self.node.clone()));
            }
            Request::Explain { group, answer } => {
                let _ = answer.send(self.node.explain(now, group));
            }
            Request::Reconfigure(change) => self.reconfigure(now, *change),
            Request::Abandon => self.ended = true,
        }
    }

    fn reconfigure(&mut self, now: Instant, change: Reconfiguration) {
        let keys = self.sessions.refusal(now, &change.ring).map(Unchanged::Keys);
        let paths = || self.transport.reconfigure(change.paths).err().map(Unchanged::Bind);
        if let Some(refused) = keys.or_else(paths) {
            let _ = change.answer.send(Err(refused));
            return;
        }
        self.sessions.reconfigure(&change.peers, change.ring);
        // Before what the core asks of new groups; what the kernel says of it the core hears after.
        let new = self.voices.configure(change.routers, change.whereabouts);
        self.kernel.reconfigure(change.groups, change.peer_addresses);
        self.step(now, Event::Reconfigured(Box::new(change.protocol)));
        for group in new {
            let outside = Some(Outside::Unknown);
            self.step(now, Event::Outside { group, outside });
        }
        self.tell_whereabouts();
        let _ = change.answer.send(Ok(()));
    }

    fn picture(&self, now: Instant) -> Picture {
        Picture {
            status: self.node.status(now),
            obstacles: self.refused.obstacles(now),
            twin: self.refused.lately_twin(now),
            voter_silence: self.node.voter_silence(now),
            timing: self.node.timing_status(now),
            refused: self.refused.counts,
            transport: self.transport.counters().clone(),
            held_back: self.sessions.held_back(),
            orders: self.node.standing_orders(now),
            obstacle_to_rest: self.node.obstacle_to_rest(),
        }
    }

    pub(super) fn step(&mut self, now: Instant, event: Event) {
        let actions = self.node.step(now, event);
        self.carry_out(now, actions);
    }

    /// The same for events that are there at once.
    pub(super) fn step_all(&mut self, events: Vec<Event>) {
        if !events.is_empty() {
            let now = clock::now();
            let actions = self.node.step_all(now, events);
            self.carry_out(now, actions);
        }
    }

    fn carry_out(&mut self, now: Instant, actions: Vec<Action>) {
        // First, so that a door is on its way to where it shall be before anybody hears why.
        self.vouch(now);
        for action in actions {
            self.act(action);
        }
        self.voices.follow(&self.node);
        let drained = self.node.is_drained();
        if drained && !std::mem::replace(&mut self.drained, drained) {
            self.tell(Told::Drained);
        }
        self.drained = drained;
    }

    /// Says for how long this node may answer for its addresses: on its own word, if it is sure of
    /// itself, and by what was granted to it. `now` is that of the step that the core has just made.
    fn vouch(&self, now: Instant) {
        let deadlines = &self.outbox.vital.deadlines;
        if let Some(lease) = self.node.lease() {
            deadlines.vouch(now, now + lease);
        }
        deadlines.grant(now, self.node.granted().map(|left| now + left));
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send { to, message } => {
                self.sealed.clear();
                self.sessions.seal(to, &message, &mut self.sealed);
                if !self.sealed.is_empty() {
                    self.transport.send(to, &self.sealed, clock::now());
                }
            }
            Action::Acquire { group, ticket, further } => {
                self.handed.remove(&group);
                self.kernel.acquire(group, ticket, further);
                self.outbox.vital.deadlines.wake_reader();
                self.tell(Told::Ordered { group, acquire: true });
            }
            Action::Release { group, ticket } => {
                self.kernel.release(group, ticket);
                if !self.handed.remove(&group) {
                    self.tell(Told::Ordered { group, acquire: false });
                }
            }
            Action::Withdraw { group } => {
                self.kernel.withdraw(group);
                self.outbox.vital.deadlines.wake_reader();
            }
            Action::Hand { group, ticket } => {
                self.handed.insert(group);
                self.kernel.hand(group, ticket);
                self.tell(Told::Ordered { group, acquire: false });
            }
            Action::Forward { group, to } => self.kernel.forward(group, to),
            Action::Announce { group } => self.kernel.announce(group),
            Action::Probe { group, at } => self.kernel.probe(group, at),
            Action::Verify { group, epoch, before } => self.kernel.verify(group, epoch, before),
            Action::Correct { group, epoch } => self.kernel.correct(group, epoch),
            Action::Acquaint { from, hosts } => self.kernel.acquaint(from, hosts),
            Action::Remember { from, connections } => self.kernel.remember(from, connections),
            Action::Tickle { group } => self.kernel.tickle(group),
            Action::WatchConnections(on) => self.kernel.watch_connections(on),
            Action::OpenGate { group, ticket } => self.tell(Told::Gate { group, ticket }),
            Action::LetFinish { group } => self.kernel.let_finish(group),
            Action::TestReach => self.kernel.test_reach(),
            Action::DoubtPaths(doubted) => self.doubt_paths(&doubted),
            Action::Answer { ticket, outcome } => self.orders.answer(ticket, outcome),
            Action::Report(report) => self.tell(Told::Report { at: clock::wall(), report }),
            Action::Named { node, name } => self.tell(Told::Named { node, name }),
            Action::RememberDraining(on) => {
                self.outbox.draining.send_replace(on);
            }
            Action::RememberVoters(record) => {
                // The thread that stores lives for as long as this one.
                let _ = self.outbox.voters.send(record);
            }
            Action::KeepPromises(record) => self.left = Left::Promises(record),
            Action::Stopped => self.ended = true,
            Action::GoOn(memory) => {
                let deadlines = &self.outbox.vital.deadlines;
                let open_until = deadlines.until(Door::Vouched);
                let granted_until = deadlines.until(Door::Granted);
                let granted_until = Some(granted_until).filter(|it| *it > Instant::START);
                let issued = self.sessions.issued().clone();
                let estate = Estate { memory: *memory, issued, open_until, granted_until };
                self.left = Left::Estate(Box::new(estate));
                self.ended = true;
            }
        }
    }

    pub(super) fn tell(&self, told: Told) {
        if self.outbox.told.try_send(told).is_err() {
            self.outbox.vital.reports_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the poll found.
#[derive(Clone, Copy, Debug)]
struct Ready {
    inbox: bool,
    datagrams: bool,
}
