//! The TCP connections of the groups: counts them, has peers told of them, tells clients of dead
//! owners. A thread of its own that nobody waits for.
//!
//! One look is one dump of the kernel's established sockets (see `sockets`). The kernel answers in
//! pieces of some hundred sockets, each within a read of ours, and this thread has no priority, so
//! a host with a million sockets costs time here and nowhere else; the pause after a look is long
//! enough that looking takes at most a hundredth of a core. The kernel walks through its whole table,
//! however few sockets are asked for (0.8 ms of an idle host with 2 GiB), so where no group has a
//! connection the next look is a while later.
//!
//! ```text
//!   sock_diag --> look --> counts (for `status`)
//!                     \--> sharing (what next?) --> the protocol --> heirs
//!   peers --> the protocol --> tickle (remembers) --> bare ACKs, after a takeover
//! ```
//!
//! Only established connections count: those that are being opened or closed say nothing of who
//! is still at work. What is counted is what the kernel has, whoever owns the group: at nodes that
//! do not, it is what is left of an earlier time. When the kernel cannot be asked nothing is known,
//! which is not the same as none.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use tokio::sync::mpsc::WeakUnboundedSender;
use tokio::time::Instant as Moment;

use super::awaited::{Awaited, AwaitedHere};
use super::counters::Counters;
use super::mute::LATE_FOR;
use super::scoped::{Scoped, Zones};
use super::sharing::Sharing;
use super::sockets::{self, ESTABLISHED, GET_SOCKETS, Socket};
use super::tickle::Tickler;
use super::{GroupAddresses, Order};
use crate::netlink::{Conversation, DUMP};
use crate::protocol::{Connection, GroupKey, KernelEvent, NodeId};

/// Between two looks at least.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks at least, where the last found no connection of any group.
const IDLE: Duration = Duration::from_secs(5);
/// The pause after a look is so many times what the look took, if that is more.
const PAUSES: u32 = 100;
/// Between two looks while the end of connections is waited for.
const WATCH: Duration = Duration::from_millis(100);
/// As [`PAUSES`], then: an operator waits, and a tenth of a core is well spent.
const WATCH_PAUSES: u32 = 10;
/// The connections of a group that was handed over are looked at that often for so long: most end
/// within it, and a stop or drain of the node waits for them.
const FRESH: Duration = Duration::from_secs(3);
/// Connections whose end is waited for at most; others are not waited for.
const WATCHED_MAX: usize = 100_000;
/// Notes that may wait: at its pace a peer tells for ten seconds what fits in here.
const NOTES_MAX: usize = 1024;
/// With memory locked, a small stack is a small bill.
const STACK: usize = 256 * 1024;

/// What is left for the thread to do.
#[derive(Debug)]
enum Note {
    /// The groups are others: look now.
    Regroup,
    /// Tell, and remember, so many at most.
    Limit(usize),
    /// A peer has these connections.
    Remember(NodeId, Vec<Connection>),
    /// The group has been taken from a dead owner and announced.
    Tickle(GroupKey),
    /// The group goes.
    Stop(GroupKey),
    /// Tell how many of the present connections remain, or stop that.
    Watch(bool),
    /// Tell how many connections are left to these groups, which others have.
    Keep(BTreeSet<GroupKey>),
}

/// What others may read while the thread works.
#[derive(Debug, Default)]
struct Shared {
    groups: Mutex<BTreeSet<(IpAddr, GroupKey)>>,
    zones: Zones,
    counts: Mutex<BTreeMap<GroupKey, u64>>,
    awaited: Mutex<AwaitedHere>,
}

/// The thread, for those who ask. It ends soon after the last of these has gone.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    notes: SyncSender<Note>,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
}

impl Connections {
    /// Starts the thread in the network namespace of the caller. Connections to be told go to the
    /// kernel thread by `orders`.
    pub(super) fn start(
        groups: &[GroupAddresses],
        orders: WeakUnboundedSender<Order>,
        (counters, zones): (Arc<Counters>, Zones),
    ) -> io::Result<Self> {
        let (notes, inbox) = sync_channel(NOTES_MAX);
        let shared = Arc::new(Shared { zones, ..Shared::default() });
        let this = Self { notes, shared: Arc::clone(&shared), counters: Arc::clone(&counters) };
        this.regroup(groups);
        let worker = Worker {
            shared,
            orders,
            counters,
            conversation: None,
            look_at: Moment::now(),
            failed: false,
            sharing: Sharing::default(),
            tickler: Tickler::default(),
            watched: Watched::Nothing,
            kept: BTreeMap::new(),
        };
        let builder = thread::Builder::new().name("connections".to_owned()).stack_size(STACK);
        builder.spawn(move || worker.run(&inbox))?;
        Ok(this)
    }

    /// Counts for these groups from now on.
    pub(super) fn regroup(&self, groups: &[GroupAddresses]) {
        let addresses = groups
            .iter()
            .flat_map(|group| group.addresses.iter().map(|(address, _)| (*address, group.key)));
        *locked(&self.shared.groups) = addresses.collect();
        self.note(Note::Regroup);
    }

    /// Tells peers of so many connections at most; 0 tells of none and remembers none.
    pub(super) fn limit(&self, max: usize) {
        self.note(Note::Limit(max));
    }

    /// Remembers connections of a peer for a while.
    pub(super) fn remember(&self, from: NodeId, connections: Vec<Connection>) {
        self.note(Note::Remember(from, connections));
    }

    /// Tells the clients of all remembered connections to the group, which has been announced.
    pub(super) fn tickle(&self, group: GroupKey) {
        self.note(Note::Tickle(group));
    }

    /// Tells from now on how many of the present connections remain, or stops that.
    pub(super) fn watch(&self, on: bool) {
        self.note(Note::Watch(on));
    }

    /// Tells from now on how many connections are left to these groups, and to no others.
    pub(super) fn keep(&self, groups: BTreeSet<GroupKey>) {
        self.note(Note::Keep(groups));
    }

    /// Ends [`Connections::tickle`]: the group goes.
    pub(super) fn stop(&self, group: GroupKey) {
        self.note(Note::Stop(group));
    }

    /// Established connections of each group; a group that is missing is not known.
    pub(super) fn counts(&self) -> BTreeMap<GroupKey, u64> {
        locked(&self.shared.counts).clone()
    }

    /// Connections that a drain, or the end of what was handed over, waits for.
    pub(super) fn awaited(&self) -> AwaitedHere {
        locked(&self.shared.awaited).clone()
    }

    /// Leaves a note; where there is no room the thread is far behind, and it is lost.
    fn note(&self, note: Note) {
        if self.notes.try_send(note).is_err() {
            self.counters.connection_notes_lost.add(1);
        }
    }
}

impl Shared {
    /// The group that has each address, as far as it has a link here.
    fn scoped(&self) -> BTreeMap<Scoped, GroupKey> {
        let groups = locked(&self.groups).clone();
        let scoped = |(address, group)| Some((self.zones.scoped(group, address)?, group));
        groups.into_iter().filter_map(scoped).collect()
    }
}

/// A map is as good as it was, whoever panicked while holding it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a look has found: the counts, and connections of each group, not more than are told.
type Found = (BTreeMap<GroupKey, u64>, BTreeMap<GroupKey, Vec<Connection>>);

/// How long to wait after a look that took so long; `any` is whether there is something to follow.
fn pause(took: Duration, watches: bool, any: bool) -> Duration {
    match (watches, any) {
        (true, _) => WATCH.max(took * WATCH_PAUSES),
        (false, true) => LOOK.max(took * PAUSES),
        (false, false) => IDLE.max(took * PAUSES),
    }
}

struct Worker {
    shared: Arc<Shared>,
    orders: WeakUnboundedSender<Order>,
    counters: Arc<Counters>,
    conversation: Option<Conversation>,
    look_at: Moment,
    /// The last look failed; that is told once.
    failed: bool,
    sharing: Sharing,
    tickler: Tickler,
    watched: Watched,
    /// Since when each is.
    kept: BTreeMap<GroupKey, Moment>,
}

/// Connections whose end is waited for.
#[derive(Debug)]
enum Watched {
    Nothing,
    /// Those that the next look finds.
    Next,
    /// Since when each is known.
    These(BTreeMap<Connection, Moment>),
}

impl Worker {
    fn run(mut self, notes: &Receiver<Note>) {
        loop {
            let now = Moment::now();
            let due = [Some(self.look_at), self.sharing.deadline(now), self.tickler.deadline()];
            let due = due.into_iter().flatten().min().unwrap_or(self.look_at);
            match notes.recv_timeout(due.saturating_duration_since(now)) {
                Ok(note) => {
                    self.take(note);
                    // One look for all that has come.
                    notes.try_iter().take(NOTES_MAX).for_each(|note| self.take(note));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Moment::now();
            let sent = self.tickler.proceed(now);
            self.counters.tickles_sent.add(sent.sent);
            self.counters.tickles_failed.add(sent.failed);
            if let Some((group, connections)) = self.sharing.next(now) {
                self.tell(KernelEvent::Connections { group, connections });
            }
            if now >= self.look_at {
                self.look();
            }
        }
    }

    fn take(&mut self, note: Note) {
        let now = Moment::now();
        match note {
            Note::Regroup => self.look_at = now,
            Note::Limit(max) => {
                self.sharing.limit(max);
                self.tickler.limit(max);
                self.look_at = now;
            }
            Note::Remember(from, connections) => {
                let refused = self.tickler.remember(now, from, connections);
                self.counters.connections_refused.add(refused);
                self.counters.connections_remembered.set(self.tickler.remembered());
            }
            Note::Tickle(group) => {
                let groups = locked(&self.shared.groups);
                let of_group = groups.iter().filter(|(_, of)| *of == group);
                let addresses: BTreeSet<IpAddr> = of_group.map(|(address, _)| *address).collect();
                drop(groups);
                let connections = self.tickler.begin(now, group, &addresses);
                if connections > 0 {
                    tracing::info!(connections, "clients of the former owner are sent tickle ACKs");
                }
                // Clients of the former owner connect to this one.
                self.look_at = self.look_at.min(now + LOOK);
            }
            Note::Stop(group) => self.tickler.stop(group),
            Note::Keep(groups) => {
                let since = |group| (group, self.kept.get(&group).copied().unwrap_or(now));
                self.kept = groups.into_iter().map(since).collect();
                locked(&self.shared.awaited).kept.retain(|group, _| self.kept.contains_key(group));
                self.look_at = self.look_at.min(now + LATE_FOR);
            }
            Note::Watch(false) => {
                self.watched = Watched::Nothing;
                locked(&self.shared.awaited).drain = None;
            }
            Note::Watch(true) => {
                self.watched = Watched::Next;
                self.look_at = now;
            }
        }
    }

    fn tell(&self, event: KernelEvent) {
        if let KernelEvent::Connections { connections, .. } = &event {
            self.counters.connections_told.add(connections.len());
        }
        // Without the kernel thread there is nobody to tell.
        if let Some(orders) = self.orders.upgrade() {
            let _ = orders.send(Order::Tell(event));
        }
    }

    /// Tells how many connections are left to groups that others have, whatever state they are in:
    /// one that its server has closed may still have much to send.
    fn look_at_kept(&mut self, groups: &BTreeMap<Scoped, GroupKey>) -> io::Result<()> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let mut left: BTreeMap<GroupKey, u32> = self.kept.keys().map(|group| (*group, 0)).collect();
        let mut awaited: BTreeMap<GroupKey, Awaited> = BTreeMap::new();
        let addresses = groups.iter().filter(|(_, group)| left.contains_key(group));
        let addresses: BTreeSet<IpAddr> = addresses.map(|(scoped, _)| scoped.address()).collect();
        let addresses: Vec<IpAddr> = addresses.into_iter().collect();
        if !addresses.is_empty() {
            let conversation = match &mut self.conversation {
                Some(conversation) => conversation,
                none => none.insert(Conversation::open(NETLINK_SOCK_DIAG)?),
            };
            let request = sockets::request(&addresses, sockets::OPEN);
            conversation.ask(GET_SOCKETS, DUMP, &request, |message| {
                let Some(socket) = Socket::read(&message) else { return true };
                let group = socket.scopes().and_then(|scopes| groups.range(scopes).next());
                let group = group.map(|(_, group)| *group);
                let Some((group, begun)) = group.and_then(|it| Some((it, *self.kept.get(&it)?)))
                else {
                    return true;
                };
                *left.entry(group).or_default() += 1;
                if let Some(connection) = socket.connection() {
                    // What is not known from before was there when the group was handed over.
                    let since = self.sharing.since(&connection).unwrap_or(begun);
                    awaited.entry(group).or_default().count(&connection, since);
                }
                true
            })?;
        }
        locked(&self.shared.awaited).kept = awaited;
        // None is not known yet where some may still begin.
        left.retain(|group, count| *count > 0 || self.kept[group].elapsed() >= LATE_FOR);
        if !left.is_empty() {
            self.tell(KernelEvent::Kept(left.into_iter().collect()));
        }
        Ok(())
    }

    fn look(&mut self) {
        let begun = Moment::now();
        let groups = self.shared.scoped();
        if self.look_at_kept(&groups).is_err() {
            self.conversation = None;
        }
        let (counts, mut found) = match self.ask(&groups) {
            Ok(found) => {
                self.failed = false;
                self.compare(&found.1);
                found
            }
            Err(error) => {
                self.conversation = None;
                if !std::mem::replace(&mut self.failed, true) {
                    tracing::warn!(%error, "connections cannot be counted");
                }
                Found::default()
            }
        };
        let any = counts.is_empty() || counts.values().any(|count| *count > 0);
        *locked(&self.shared.counts) = counts;
        let now = Moment::now();
        let mut room = self.sharing.max();
        for connections in found.values_mut() {
            connections.truncate(room);
            room -= connections.len();
        }
        self.sharing.found(now, &found);
        self.tickler.forget(now);
        self.counters.connections_remembered.set(self.tickler.remembered());
        let fresh = self.kept.values().any(|since| since.elapsed() < FRESH);
        let watches = fresh || !matches!(self.watched, Watched::Nothing);
        self.look_at = now + pause(now - begun, watches, any || !self.kept.is_empty());
    }

    /// Tells how many of the connections that are watched are still there.
    fn compare(&mut self, found: &BTreeMap<GroupKey, Vec<Connection>>) {
        let now = Moment::now();
        let watched = match std::mem::replace(&mut self.watched, Watched::Nothing) {
            Watched::Nothing => return,
            Watched::Next => None,
            Watched::These(watched) => Some(watched),
        };
        let since = |one: &Connection| match &watched {
            Some(watched) => watched.get(one).copied(),
            None => Some(self.sharing.since(one).unwrap_or(now)),
        };
        let (mut there, mut awaited) = (BTreeMap::new(), Awaited::default());
        let mut remaining = Vec::new();
        for (group, connections) in found {
            let before = there.len();
            for connection in connections {
                let Some(since) = since(connection) else { continue };
                awaited.count(connection, since);
                there.insert(*connection, since);
            }
            let count = u32::try_from(there.len() - before).unwrap_or(u32::MAX);
            if count > 0 {
                remaining.push((*group, count));
            }
        }
        self.watched = Watched::These(there);
        locked(&self.shared.awaited).drain = Some(awaited);
        self.tell(KernelEvent::ConnectionsRemain(remaining));
    }

    fn ask(&mut self, groups: &BTreeMap<Scoped, GroupKey>) -> io::Result<Found> {
        let mut counts: BTreeMap<GroupKey, u64> =
            groups.values().map(|group| (*group, 0)).collect();
        let mut found: BTreeMap<GroupKey, Vec<Connection>> = BTreeMap::new();
        if groups.is_empty() {
            return Ok((counts, found));
        }
        let mut room = match self.watched {
            Watched::Nothing => self.sharing.max(),
            Watched::Next | Watched::These(_) => WATCHED_MAX,
        };
        let conversation = match &mut self.conversation {
            Some(conversation) => conversation,
            none => none.insert(Conversation::open(NETLINK_SOCK_DIAG)?),
        };
        let addresses: BTreeSet<IpAddr> = groups.keys().map(Scoped::address).collect();
        let addresses: Vec<IpAddr> = addresses.into_iter().collect();
        let request = sockets::request(&addresses, ESTABLISHED);
        conversation.ask(GET_SOCKETS, DUMP, &request, |message| {
            let Some(socket) = Socket::read(&message) else { return true };
            let Some(scopes) = socket.scopes() else { return true };
            let Some((_, group)) = groups.range(scopes).next() else { return true };
            *counts.entry(*group).or_default() += 1;
            if let Some(connection) = socket.connection().filter(|_| room > 0) {
                room -= 1;
                found.entry(*group).or_default().push(connection);
            }
            true
        })?;
        Ok((counts, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_connections_is_looked_at_seldom() {
        let millis = Duration::from_millis;
        assert_eq!(pause(millis(1), false, false), IDLE);
        assert_eq!(pause(millis(1), false, true), LOOK);
        assert_eq!(pause(millis(100), false, true), millis(10_000), "a large table");
        assert_eq!(pause(millis(100), false, false), millis(10_000));
        assert_eq!(pause(millis(1), true, false), WATCH, "a drain waits");
        assert_eq!(pause(millis(100), true, true), millis(1000));
    }
}
