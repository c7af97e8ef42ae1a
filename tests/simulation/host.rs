//! One simulated host: its kernel with the address table, its clock, its daemon.
//!
//! The kernel never lies: an order ends in what is true of the table. A thread of the daemon
//! executes orders one after the other, so a stopped daemon stops it too, while the addresses
//! that are in the table go on answering. What survives what:
//!
//! | | addresses | daemon's memory | socket buffer | clock |
//! |---|---|---|---|---|
//! | crash of the host | gone | gone | gone | new |
//! | crash of the daemon | stay until its next start | gone | gone | runs |
//! | stop of the daemon | answer | kept | keeps the oldest | runs |
//! | stop of the machine | do not answer | kept | kept outside | stands still |

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use buoy::protocol::{
    Configuration, Failure, Fitness, Incarnation, Instant, KernelEvent, Measure, Memory, Message,
    Node, NodeId, Order, PoolId, PromiseRecord, Recollection, Remover, StandingChange, Ticket,
    Timing,
};

use crate::clock::Clock;
use crate::cluster::Happening;
use crate::neighbourhood::Neighbourhood;
use crate::paths::DataLink;

/// Datagrams that the socket buffer of a stopped daemon holds; what comes later is dropped.
pub(crate) const SOCKET_BUFFER: usize = 256;

/// What waits for the daemon's loop.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// A datagram that passed the session's checks.
    Datagram {
        from: usize,
        life: Incarnation,
        sent_at: u64,
        received_at: Instant,
        message: Message,
    },
    /// One copy of a datagram, on one of several paths.
    Copy { from: usize, life: Incarnation, path: u8, received_at: Instant },
    /// From the kernel thread.
    Kernel(KernelEvent),
    /// From the checks of the host.
    Checked(Vec<(PoolId, Fitness)>),
    /// How busy the host is.
    Measured(Measure),
    /// From an operator.
    Ordered { ticket: u64, order: Order },
    /// From an operator, about standing orders.
    Standing { ticket: u64, change: StandingChange },
    /// The record of lists of voters is on disk.
    Stored,
    /// A reload.
    Reconfigured(Box<Configuration>),
    /// SIGTERM.
    Stop,
    /// The signal to leave all to the next process.
    Rest,
}

/// What one receiver holds of one sender's life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    /// The life that proved itself fresh, or is about to.
    pub(crate) life: Incarnation,
    /// When the handshake is over; datagrams before it are lost.
    pub(crate) ready_at: u64,
    /// Its guardian has said farewell: nothing of this life is taken any more.
    pub(crate) over: bool,
}

/// The address table and the thread that works on it.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    /// Whether the address is in the table. A group goes by the index of its first address.
    pub(crate) present: Vec<bool>,
    /// The addresses that each group that is held has in the table.
    pub(crate) bears: BTreeMap<usize, BTreeSet<usize>>,
    /// The order that a group waits for.
    pub(crate) pending: BTreeMap<usize, Pending>,
    /// Ticket of the last acquisition of a group that is held.
    pub(crate) acquired: BTreeMap<usize, Ticket>,
    /// Groups that were handed over: nothing of them answers but for their connections.
    pub(crate) kept: BTreeSet<usize>,
    /// Groups that answer no more although their addresses may still be in the table.
    pub(crate) withdrawn: BTreeSet<usize>,
    /// Groups whose addresses the daemon's own have removed.
    pub(crate) remover: BTreeMap<usize, Remover>,
    /// When the thread has done all it was told.
    pub(crate) busy_until: u64,
    /// Its kernel thread does nothing until it goes on.
    pub(crate) hangs: bool,
    /// What every add ends in, if so.
    pub(crate) failing: Option<Failure>,
    /// Groups to which this applies: those whose index modulo 4 is in these bits.
    pub(crate) failing_mask: u8,
    /// What the daemon has last been told of its links.
    pub(crate) usable: bool,
    /// Whether the daemon is told of its links although they are as they were.
    pub(crate) news: bool,
    /// Whether the interface exists.
    pub(crate) interface: bool,
    /// What its thread makes of the data link.
    pub(crate) data_link: DataLink,
}

/// An order under way.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// Names it.
    pub(crate) ticket: Ticket,
    /// Add or delete.
    pub(crate) acquire: bool,
    /// What is to be added beside the first address of the group.
    pub(crate) further: BTreeSet<usize>,
}

impl Kernel {
    /// An empty table.
    pub(crate) fn new(groups: usize) -> Self {
        Self { present: vec![false; groups], usable: true, interface: true, ..Self::default() }
    }

    /// When an order given at `now` will be executed: the cost grows with the table, as measured.
    pub(crate) fn schedule(&mut self, now: u64, addresses: u64, acquire: bool, extra: u64) -> u64 {
        let held = u64::try_from(self.present.iter().filter(|held| **held).count()).unwrap_or(0);
        let each = if acquire { 7_000 + 15 * held } else { 3_000 + 7 * held };
        self.busy_until = self.busy_until.max(now + 20_000) + addresses * each + extra;
        self.busy_until
    }

    /// What an add of this group runs into now.
    pub(crate) fn failure(&self, group: usize) -> Option<Failure> {
        if !self.interface {
            return Some(Failure::NoInterface);
        }
        self.failing.filter(|_| self.failing_mask & (1 << (group % 4)) != 0)
    }

    /// Whether the daemon has told the kernel to let go of the address.
    pub(crate) fn is_releasing(&self, address: usize) -> bool {
        let goes = |group: &usize| {
            self.pending.get(group).is_some_and(|pending| {
                !pending.acquire || *group != address && !pending.further.contains(&address)
            })
        };
        let mut bearers = self.bearers(address).peekable();
        bearers.peek().is_some() && bearers.all(|group| goes(&group))
    }

    /// The groups that have the address in the table, as the daemon wants it, even if somebody else
    /// has removed it.
    pub(crate) fn bearers(&self, address: usize) -> impl Iterator<Item = usize> + '_ {
        let bears = self.bears.iter().filter(move |(_, addresses)| addresses.contains(&address));
        bears.map(|(group, _)| *group)
    }

    /// Whether the group that has the address in the table is another host's.
    pub(crate) fn is_withdrawn(&self, address: usize) -> bool {
        self.bearers(address).any(|group| self.withdrawn.contains(&group))
    }

    /// A group that has the address in the table.
    pub(crate) fn bearer(&self, address: usize) -> Option<usize> {
        self.bearers(address).next()
    }

    /// From now on the group has these addresses in the table; tells which changed. What another
    /// group has too stays.
    pub(crate) fn bear(&mut self, group: usize, addresses: BTreeSet<usize>) -> BTreeSet<usize> {
        let mut changed = self.bears.remove(&group).unwrap_or_default();
        changed.extend(&addresses);
        if !addresses.is_empty() {
            self.bears.insert(group, addresses);
        }
        for address in &changed {
            self.present[*address] = self.bearer(*address).is_some();
        }
        changed
    }

    /// Empties the table; tells which groups were in it.
    pub(crate) fn clear(&mut self) -> Vec<usize> {
        self.pending.clear();
        self.acquired.clear();
        self.kept.clear();
        self.withdrawn.clear();
        let held = (0..self.present.len()).filter(|group| self.present[*group]).collect();
        self.present.fill(false);
        self.bears.clear();
        held
    }
}

/// One host.
#[derive(Debug)]
pub(crate) struct Host {
    /// The protocol's name of it.
    pub(crate) id: NodeId,
    /// Whether it has power.
    pub(crate) powered: bool,
    /// The daemon, while it runs.
    pub(crate) node: Option<Node>,
    /// Counts starts and ends of the daemon; what was scheduled for another life is void.
    pub(crate) life: u64,
    /// The life as peers see it.
    pub(crate) incarnation: Incarnation,
    /// Whether the daemon is stopped (SIGSTOP).
    pub(crate) paused: bool,
    /// Whether the whole machine is stopped, clocks included.
    pub(crate) machine_paused: bool,
    /// Since when either is so.
    pub(crate) paused_at: u64,
    /// Its clock.
    pub(crate) clock: Clock,
    /// Its kernel.
    pub(crate) kernel: Kernel,
    /// Until when the gate is open.
    pub(crate) lease_until: u64,
    /// Until when the gate of the groups in mode majority is open: a moment of the simulator, or
    /// what is left of it while the machine stands still.
    pub(crate) granted_until: u64,
    /// Whether its groups are in mode majority by the file that its daemon goes by.
    pub(crate) majority: bool,
    /// By how many millionths jiffies are slow (chrony: up to 83333), or fast if negative.
    pub(crate) slew: i64,
    /// Whether its closing is scheduled.
    pub(crate) closing: bool,
    /// What waits for the daemon's loop.
    pub(crate) inbox: VecDeque<Inbound>,
    /// Datagrams in it.
    pub(crate) datagrams: usize,
    /// Datagrams that wait outside a stopped machine.
    pub(crate) outside: VecDeque<(usize, Incarnation, u64, Message)>,
    /// What the daemon's threads will do when they go on.
    pub(crate) deferred: Vec<Happening>,
    /// Whether a wake-up is scheduled.
    pub(crate) waking: bool,
    /// When the scheduled timer fires.
    pub(crate) timer_at: u64,
    /// Names the scheduled timer.
    pub(crate) timer_generation: u64,
    /// Sessions by sender.
    pub(crate) sessions: Vec<Option<Session>>,
    /// What `RememberDraining` said last.
    pub(crate) draining: bool,
    /// What its checks say of pools that are not fit.
    pub(crate) fitness: BTreeMap<PoolId, Fitness>,
    /// What is on its disk.
    pub(crate) disk: Recollection,
    /// What its voter has left when its daemon stopped in good order.
    pub(crate) promises: Option<Box<PromiseRecord>>,
    /// Times that its file says, if not those of all.
    pub(crate) timing: Option<Timing>,
    /// The configuration it has, by number.
    pub(crate) plan: usize,
    /// When it was told to stop.
    pub(crate) stopping_since: Option<u64>,
    /// What a process that rests has left to the next.
    pub(crate) memory: Option<Box<Memory>>,
    /// Announcements ordered so far.
    pub(crate) announced: u64,
    /// What its kernel side knows of clients.
    pub(crate) neighbourhood: Neighbourhood,
}

impl Host {
    /// A host without a daemon.
    pub(crate) fn new(id: NodeId, hosts: usize, groups: usize, clock: Clock) -> Self {
        Self {
            id,
            powered: true,
            node: None,
            life: 0,
            incarnation: Incarnation(0),
            paused: false,
            machine_paused: false,
            paused_at: 0,
            clock,
            kernel: Kernel::new(groups),
            lease_until: 0,
            granted_until: 0,
            majority: false,
            slew: 0,
            closing: false,
            inbox: VecDeque::new(),
            datagrams: 0,
            outside: VecDeque::new(),
            deferred: Vec::new(),
            waking: false,
            timer_at: u64::MAX,
            timer_generation: 0,
            sessions: vec![None; hosts],
            draining: false,
            fitness: BTreeMap::new(),
            disk: Recollection::Nothing,
            promises: None,
            timing: None,
            plan: 0,
            stopping_since: None,
            memory: None,
            announced: 0,
            neighbourhood: Neighbourhood::default(),
        }
    }

    /// Whether the daemon runs and is not stopped.
    pub(crate) fn is_running(&self) -> bool {
        self.powered && self.node.is_some() && !self.paused && !self.machine_paused
    }

    /// Whether anything of the daemon can act.
    pub(crate) fn is_halted(&self) -> bool {
        self.paused || self.machine_paused
    }

    /// Forgets all that lived in the daemon's memory.
    pub(crate) fn end_daemon(&mut self) {
        self.node = None;
        self.life += 1;
        self.inbox.clear();
        self.datagrams = 0;
        self.outside.clear();
        self.deferred.clear();
        self.waking = false;
        self.timer_at = u64::MAX;
        self.timer_generation += 1;
        self.sessions.fill(None);
        self.kernel.pending.clear();
        self.kernel.acquired.clear();
        self.kernel.kept.clear();
        self.kernel.data_link = DataLink::default();
        self.kernel.news = false;
        self.stopping_since = None;
        self.neighbourhood = Neighbourhood::default();
        self.paused = false;
    }

    /// Puts a datagram into the socket buffer; drops it when a stopped daemon has let it fill.
    pub(crate) fn receive(&mut self, datagram: Inbound) -> bool {
        if self.datagrams >= SOCKET_BUFFER && self.is_halted() {
            return false;
        }
        self.datagrams += 1;
        self.inbox.push_back(datagram);
        true
    }
}

#[cfg(test)]
mod tests {
    use buoy::protocol::{ClaimsAck, Incarnation, Instant, LogPosition, Message, NodeId};

    use super::{Host, Inbound, Kernel, SOCKET_BUFFER};
    use crate::clock::Clock;

    #[test]
    fn a_full_socket_buffer_keeps_the_oldest() {
        let mut host = Host::new(NodeId(1), 2, 1, Clock::default());
        host.paused = true;
        for sent_at in 0..300 {
            let message = Message::ClaimsAck(ClaimsAck { position: LogPosition::default() });
            let (life, received_at) = (Incarnation(1), Instant::START);
            let datagram = Inbound::Datagram { from: 1, life, sent_at, received_at, message };
            assert_eq!(host.receive(datagram), sent_at < 256);
        }
        assert_eq!(host.inbox.len(), SOCKET_BUFFER);
    }

    #[test]
    fn adding_costs_more_the_fuller_the_table_is() {
        let mut kernel = Kernel::new(1_000);
        let empty = kernel.schedule(0, 100, true, 0);
        kernel.present.fill(true);
        kernel.busy_until = 0;
        assert!(kernel.schedule(0, 100, true, 0) > 2 * empty);
    }
}
