//! Acts on Linux and watches it: addresses, links, announcements, connections.
//!
//! A thread of its own with a runtime of its own, so that heartbeats never wait for the kernel.
//! Orders go in, [`KernelEvent`]s come out; an order only says what is wanted, and whatever is
//! wanted is compared with what the host has again and again (see `reconcile`), so that it does not
//! matter who removed an address, or which event was lost.
//!
//! ```text
//!   orders --> apply --> reconcile (pure) --> apply --> addresses --> rtnetlink
//!                ^   <-- events                   \---> closing   --> destroy --> sock_diag
//!   watch (links, addresses) <-- netlink           |--> announce  --> packet sockets
//!   routing (routes, rules of groups) <--> rtnetlink
//!   claimants (who else has them) <-- packet sockets \-> verify   <--> packet sockets
//!   connections (a thread of its own) <-- sock_diag
//!   routers (VRRP, for a thread of the daemon) <--> packet and raw sockets
//!   handing (what stays for its connections) --> fence --> gate, mute, forward --> nf_tables
//! ```
//!
//! What is promised: nothing is told to be present or absent before the kernel's own events say
//! so. Addresses without our mark are never changed. What a dead predecessor left is removed
//! before [`start`] returns, and everything of ours is removed when [`Kernel::stop`] returns, or
//! soon after the [`Kernel`] is dropped. Without permission `start` fails and says what to do.

mod addresses;
mod adoption;
mod announce;
mod apply;
mod arp;
mod awaited;
mod change;
mod checksum;
mod claimants;
mod closing;
mod connections;
mod convergence;
mod counters;
mod deafness;
mod destroy;
mod echo;
mod fence;
mod filter;
mod forward;
mod gate;
mod group;
mod handing;
mod hardware;
mod holding;
mod leftovers;
mod lifetimes;
mod links;
mod mark;
mod mute;
mod ndp;
mod neighbours;
mod orphans;
mod outlook;
mod owners;
mod presence;
mod probe;
mod questioners;
mod questions;
mod reach;
mod reconcile;
mod renewal;
mod routers;
mod routes;
mod routing;
mod ruleset;
mod scoped;
mod settings;
mod sharing;
mod sockets;
#[cfg(test)]
mod stage;
mod start_error;
#[cfg(test)]
mod stories;
mod sweep;
mod tables;
mod tickle;
mod verify;
mod vicinity;
mod watch;
mod withdrawals;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, mpsc as blocking};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

pub use self::adoption::whole_groups;
pub use self::awaited::{Awaited, AwaitedHere, Oldest};
use self::checksum::internet_checksum;
use self::connections::Connections;
pub use self::counters::{Counter, Counters};
pub use self::forward::preserving_hindrance;
pub use self::gate::Door;
pub use self::holding::{hold_tables, release_tables};
pub use self::leftovers::remove_leftovers;
pub use self::mark::{Mark, table_name};
pub use self::outlook::hindrances;
pub use self::presence::{Found, Presence, is_running};
pub use self::questions::{
    Route, Unanswered, arp as ask_arp, echo as ask_echo, route as ask_route,
};
pub use self::renewal::{Lease, Renewal};
pub use self::routers::{
    PACKET_MAX, ReceivedPacket, RouterDesk, RouterSeat, RouterSeats, RouterSockets,
    send_advertisement,
};
use self::routing::Missing;
pub use self::routing::MissingRoute;
pub use self::settings::{FenceSettings, GroupAddresses, Settings, Vouched, Ward};
pub use self::start_error::{GateWanted, StartError};
use self::tables::Shared;
pub use self::tables::remove_gate;
use self::verify::Wish;
use self::withdrawals::Withdrawals;
use crate::protocol::{
    Connection, Epoch, GroupKey, HardwareAddress, KernelEvent, Neighbour, NodeId, PathFault,
    Preserving, Ticket,
};

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// Nothing: addresses stay until somebody removes them.
    Nothing,
    /// The gate that is this table.
    Gate(String),
    /// Lifetimes of so many seconds.
    Lifetimes(u32),
}

/// Takes the events, in the kernel thread; must not block.
pub type EventSink = Box<dyn Fn(KernelEvent) + Send>;

/// What is asked of the thread.
#[derive(Debug)]
enum Order {
    Acquire(GroupKey, Ticket, Option<BTreeSet<GroupKey>>),
    Release(GroupKey, Ticket),
    LetFinish(GroupKey),
    Hand(GroupKey, Ticket),
    Forward(GroupKey, Option<HardwareAddress>),
    Announce(GroupKey),
    Probe(GroupKey, Vec<HardwareAddress>),
    Verify(Wish),
    Correct(Wish),
    Doubt(Vec<(IpAddr, PathFault)>),
    Acquaint(NodeId, Vec<Neighbour>),
    TestReach,
    RouterSeats(Vec<GroupKey>, oneshot::Sender<BTreeMap<GroupKey, RouterSeats>>),
    Tickle(GroupKey),
    Tell(KernelEvent),
    Reconfigure(Vec<GroupAddresses>, Vec<IpAddr>),
    LoseGate,
    Nudge,
    Stop,
    Leave,
}

/// The running thread. All calls only leave a note for it and return at once.
#[derive(Debug)]
pub struct Kernel {
    orders: mpsc::UnboundedSender<Order>,
    thread: JoinHandle<()>,
    counters: Arc<Counters>,
    connections: Connections,
    fence: Fenced,
    no_preserving: Option<String>,
    preserving: Preserving,
    withdrawals: Withdrawals,
    missing: Missing,
    tables: Option<Shared>,
}

/// What the thread says of itself when it has started.
struct Started {
    fence: Fenced,
    no_preserving: Option<String>,
    preserving: Preserving,
    tables: Option<Shared>,
}

/// Starts the thread in the network namespace of the caller.
///
/// Addresses that a predecessor left are gone when this returns.
///
/// # Errors
///
/// See [`StartError`].
pub fn start(settings: Settings, events: EventSink) -> Result<Kernel, StartError> {
    // Orders are few: the protocol has at most one outstanding for each group.
    let (orders, inbox) = mpsc::unbounded_channel();
    let (told, ready) = blocking::channel();
    let counters = Arc::new(Counters::default());
    let counted = Arc::clone(&counters);
    let heard = orders.downgrade();
    let zones = scoped::Zones::default();
    let known = (Arc::clone(&counters), zones.clone());
    let connections = Connections::start(&settings.groups, heard, known);
    let connections = connections.map_err(StartError::Thread)?;
    let withdrawals = Withdrawals::new(&settings.groups, zones.clone());
    let missing = Missing::default();
    let shared = (counted, connections.clone(), withdrawals.clone(), zones, missing.clone());
    let body = move || apply::run(settings, events, shared, (inbox, told));
    let builder = thread::Builder::new().name("kernel".to_owned());
    let thread = builder.spawn(body).map_err(StartError::Thread)?;
    match ready.recv() {
        Ok(Ok(Started { fence, no_preserving, preserving, tables })) => Ok(Kernel {
            orders,
            thread,
            counters,
            connections,
            fence,
            no_preserving,
            preserving,
            withdrawals,
            missing,
            tables,
        }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StartError::Thread(io::Error::other("the thread ended at once"))),
    }
}

impl Kernel {
    /// Removes every address of the group and ends its connections; ends in `Absent`.
    pub fn release(&self, group: GroupKey, ticket: Ticket) {
        self.withdrawals.release(group, ticket);
        self.order(Order::Release(group, ticket));
    }

    /// Has every address of the group closed by [`Lease::withdraw`] until it has gone, or the group
    /// is acquired again. Only where there is a gate.
    pub fn withdraw(&self, group: GroupKey) {
        self.withdrawals.withdraw(group);
    }

    /// Lets requests to the group that are under way end when it is released next, for 50 ms at
    /// most, while its address answers; new connections meanwhile get no answer, so that their
    /// clients try again, a second later, at the next owner. Only where there is a gate.
    pub fn let_finish(&self, group: GroupKey) {
        self.order(Order::LetFinish(group));
    }

    /// Answers for the group no more and lets no connection to it begin, but keeps those that are
    /// there and tells how many they are, by `KernelEvent::Kept`, until the group is acquired or
    /// released; ends in `Absent`.
    pub fn hand(&self, group: GroupKey, ticket: Ticket) {
        self.order(Order::Hand(group, ticket));
    }

    /// Sends what belongs to no connection that begins from now on to the former owner of the
    /// group, there, or ends that. To be called before [`Kernel::acquire`].
    pub fn forward(&self, group: GroupKey, to: Option<HardwareAddress>) {
        self.order(Order::Forward(group, to));
    }

    /// Why connections cannot be preserved here; `None` if they can.
    #[must_use]
    pub fn no_preserving(&self) -> Option<&str> {
        self.no_preserving.as_deref()
    }

    /// Announces every address of the group once, if it is present right now.
    pub fn announce(&self, group: GroupKey) {
        self.order(Order::Announce(group));
    }

    /// Whether connections can be preserved here, for peers.
    #[must_use]
    pub const fn preserving(&self) -> Preserving {
        self.preserving
    }

    /// Asks once who answers for the addresses of the group, held or not, and the hosts at these
    /// hardware addresses, each alone; ends in any `Claimed`.
    pub fn probe(&self, group: GroupKey, at: Vec<HardwareAddress>) {
        self.order(Order::Probe(group, at));
    }

    /// Finds out, with the announcements of the group from the next on, which neighbours resolve
    /// its addresses to this host, and tells those that do not; those of the node that had it
    /// before come first. Ends in `Verified`, unless the group is not present.
    pub fn verify(&self, group: GroupKey, epoch: Epoch, before: Option<NodeId>) {
        self.order(Order::Verify(Wish { group, epoch, before }));
    }

    /// Keeps the hosts that a peer has to do with, for verifications to come.
    pub fn acquaint(&self, from: NodeId, hosts: Vec<Neighbour>) {
        self.order(Order::Acquaint(from, hosts));
    }

    /// Finds out whether anybody outside the cluster answers; ends in one `Reach`, also if asked
    /// again before.
    pub fn test_reach(&self) {
        self.order(Order::TestReach);
    }

    /// Tells peers of at most so many connections of this host, by `KernelEvent::Connections`, and
    /// remembers up to four times as many of theirs; 0, as after the start, does neither.
    pub fn share_connections(&self, max: usize) {
        self.connections.limit(max);
    }

    /// Remembers connections of a peer for 25 s, besides those it told before.
    pub fn remember(&self, from: NodeId, connections: Vec<Connection>) {
        self.connections.remember(from, connections);
    }

    /// Notes which connections there are to all groups, and tells some times each second how many of
    /// them remain, by `KernelEvent::ConnectionsRemain`; or stops that.
    pub fn watch_connections(&self, on: bool) {
        self.connections.watch(on);
    }

    /// Has the clients of all remembered connections to the group learn that they are gone, after
    /// the announcements ordered before.
    pub fn tickle(&self, group: GroupKey) {
        self.order(Order::Tickle(group));
    }

    /// Replaces the lists of groups and of the other nodes' addresses. Groups that did not change
    /// are not touched. A group that is not in the list any more is removed if it is here, and its
    /// release is still answered.
    pub fn reconfigure(&self, groups: Vec<GroupAddresses>, peer_addresses: Vec<IpAddr>) {
        self.connections.regroup(&groups);
        self.withdrawals.regroup(&groups);
        self.order(Order::Reconfigure(groups, peer_addresses));
    }

    /// Notes that somebody had changed the gate and [`Lease::repair`] has put it back.
    pub fn gate_is_back(&self) {
        self.counters.gates_rebuilt.add(1);
    }

    /// Gives up groups in mode `Majority`, because the gate is gone and cannot be put back.
    pub fn lose_gate(&self) {
        self.order(Order::LoseGate);
    }

    /// Has the thread make a turn, if it can.
    pub fn nudge(&self) {
        self.order(Order::Nudge);
    }

    /// What ends the answers of our addresses without the daemon.
    #[must_use]
    pub fn fence(&self) -> &Fenced {
        &self.fence
    }

    /// The table that is the gate, if there is one.
    #[must_use]
    pub fn gate(&self) -> Option<&str> {
        match &self.fence {
            Fenced::Gate(table) => Some(table),
            Fenced::Nothing | Fenced::Lifetimes(_) => None,
        }
    }

    /// What keeps the gate open; `None` where this kernel has no gate (the start has told why).
    ///
    /// # Errors
    ///
    /// When the kernel cannot be spoken to.
    pub fn lease(&self) -> io::Result<Option<Lease>> {
        let lease = self.tables.as_ref().map(Lease::of).transpose()?;
        Ok(lease.map(|lease| lease.follow(self.withdrawals.clone())))
    }

    /// What the thread has counted.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Established TCP connections to the addresses of each group, as of about a second ago, or five
    /// where no group had any. A group that is missing is not known yet.
    #[must_use]
    pub fn connections(&self) -> BTreeMap<GroupKey, u64> {
        self.connections.counts()
    }

    /// Connections whose end something waits for here; empty while nothing does.
    #[must_use]
    pub fn awaited(&self) -> AwaitedHere {
        self.connections.awaited()
    }

    /// Routes and rules of groups that this host lacks: of groups that it has, and of those that it
    /// could not take for that reason.
    #[must_use]
    pub fn missing_routes(&self) -> BTreeMap<GroupKey, Vec<MissingRoute>> {
        self.missing.all()
    }

    /// Removes all that is ours and ends the thread. Takes some milliseconds, at most seconds.
    pub fn stop(self) {
        self.order(Order::Stop);
        self.join();
    }

    /// Removes all that is ours and ends the thread, without waiting for it.
    pub fn remove_everything(&self) {
        self.order(Order::Stop);
    }

    /// Ends the thread and leaves everything as it is, for the next process.
    pub fn leave(&self) {
        self.order(Order::Leave);
    }

    /// Waits for the end of the thread.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the kernel thread panicked");
        }
    }

    fn order(&self, order: Order) {
        // The thread lives as long as this; if it panicked, `stop` says so.
        drop(self.orders.send(order));
    }
}
