//! Who holds which address over time, as the nodes' kernels tell it.
//!
//! One thread listens to the address and link messages of every node's kernel and keeps the
//! history. It asks no daemon: an address counts as held while the kernel has it on an interface
//! that is up and has carrier, and does not mute it (see `muted`), whatever anybody believes. When a kernel says that messages were
//! lost, its whole state is read again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netlink_packet_core::NetlinkPayload;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::clock;
use super::dump::{KernelState, parse};
use super::muted::Muted;
use super::namespace::{Namespace, NamespaceError};

/// Multicast groups of rtnetlink: links, IPv4 addresses, IPv6 addresses.
const GROUPS: [u32; 3] = [1, 5, 9];
/// How soon the thread notices that it is to end.
const NOTICE_STOP_MS: u16 = 50;
/// Room for the messages of 1000 addresses added at once.
const RECEIVE_BUFFER: usize = 1 << 20;

/// One change: from `at` on `node` holds `address`, or no longer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When the kernel's message was read.
    pub at: Instant,
    /// Index of the node.
    pub node: usize,
    /// The address.
    pub address: IpAddr,
    /// Whether it is held from now on.
    pub held: bool,
}

/// Every change since the watch began, oldest first. Pure.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    changes: Vec<Change>,
}

impl Timeline {
    /// Takes note of a change; they must come in order of time.
    pub fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Every change of one address.
    pub fn of(&self, address: IpAddr) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.address == address)
    }

    /// The nodes that hold the address at the end of the history.
    #[must_use]
    pub fn holders(&self, address: IpAddr) -> BTreeSet<usize> {
        let mut holders = BTreeSet::new();
        for change in self.of(address) {
            if change.held {
                holders.insert(change.node);
            } else {
                holders.remove(&change.node);
            }
        }
        holders
    }

    /// For how long within the stretch two nodes or more held the address.
    #[must_use]
    pub fn two_owners(&self, address: IpAddr, from: Instant, to: Instant) -> Duration {
        let mut holders = BTreeSet::new();
        let mut since: Option<Instant> = None;
        let mut total = Duration::ZERO;
        let within =
            |begin: Instant, end: Instant| end.min(to).saturating_duration_since(begin.max(from));
        for change in self.of(address) {
            if change.held {
                holders.insert(change.node);
            } else {
                holders.remove(&change.node);
            }
            match (holders.len() > 1, since) {
                (true, None) => since = Some(change.at),
                (false, Some(begin)) => {
                    total += within(begin, change.at);
                    since = None;
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
        total + since.map_or(Duration::ZERO, |begin| within(begin, to))
    }
}

/// A running watch over several nodes; ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    timeline: Arc<Mutex<Timeline>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to watch; the order of the namespaces is the numbering of the nodes. Every address
    /// that is there already counts as taken now.
    ///
    /// # Errors
    /// When a namespace cannot be entered or its kernel's messages not be subscribed to.
    pub fn start(nodes: &[&Namespace]) -> Result<Self, NamespaceError> {
        let mut watched = Vec::new();
        for (node, namespace) in nodes.iter().enumerate() {
            watched.push(Watched::new(node, namespace)?);
        }
        let timeline = Arc::new(Mutex::new(Timeline::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (ours, ending) = (Arc::clone(&timeline), Arc::clone(&stop));
        for node in &mut watched {
            node.resynchronize();
            node.note(&timeline, &node.muted.addresses());
        }
        let thread = thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || watch(&mut watched, &ours, &ending))
            .map_err(|error| NamespaceError::System("start a thread", error))?;
        Ok(Self { timeline, stop, thread: Some(thread) })
    }

    /// The history so far.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        lock(&self.timeline).clone()
    }

    /// The nodes that hold the address now.
    #[must_use]
    pub fn holders(&self, address: IpAddr) -> BTreeSet<usize> {
        lock(&self.timeline).holders(address)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; the history up to it is kept.
            let _ = thread.join();
        }
    }
}

fn lock(timeline: &Mutex<Timeline>) -> MutexGuard<'_, Timeline> {
    timeline.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One kernel under watch.
struct Watched {
    node: usize,
    namespace: Namespace,
    socket: Socket,
    muted: Muted,
    state: KernelState,
    reachable: BTreeSet<IpAddr>,
}

impl Watched {
    fn new(node: usize, namespace: &Namespace) -> Result<Self, NamespaceError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            for group in GROUPS {
                socket.add_membership(group)?;
            }
            socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
            socket.set_non_blocking(true)?;
            Ok(socket)
        };
        let socket = namespace
            .run(open)?
            .map_err(|error| NamespaceError::System("listen to a kernel", error))?;
        let (state, reachable) = (KernelState::default(), BTreeSet::new());
        let muted = Muted::listen(namespace)?;
        Ok(Self { node, namespace: namespace.clone(), socket, muted, state, reachable })
    }

    /// Reads all that is waiting. What the kernel says of nf_tables and of addresses comes by two
    /// sockets: of an address that was removed and then no longer muted, the latter may be read first. So
    /// what was muted counts as muted until the addresses are read too.
    fn receive(&mut self, timeline: &Mutex<Timeline>) {
        let mut muted = self.muted.addresses();
        self.muted.receive();
        muted.extend(self.muted.addresses());
        loop {
            match self.socket.recv_from_full() {
                Ok((datagram, _)) => {
                    let state = &mut self.state;
                    // The closure never refuses.
                    let _ = parse(&datagram, |payload| {
                        if let NetlinkPayload::InnerMessage(message) = payload {
                            state.apply(&message);
                        }
                        Ok(())
                    });
                    self.note(timeline, &muted);
                }
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    self.resynchronize();
                }
                Err(_) => break,
            }
        }
        self.note(timeline, &self.muted.addresses());
    }

    fn resynchronize(&mut self) {
        // If the kernel does not answer, what is known stays; the next message tries again.
        if let Ok(state) = KernelState::read(&self.namespace) {
            self.state = state;
        }
    }

    /// Writes down what is different from before.
    fn note(&mut self, timeline: &Mutex<Timeline>, muted: &BTreeSet<IpAddr>) {
        let mut reachable = self.state.reachable();
        reachable.retain(|address| !muted.contains(address));
        let at = clock::now();
        let mut timeline = lock(timeline);
        for address in self.reachable.symmetric_difference(&reachable) {
            let held = reachable.contains(address);
            timeline.push(Change { at, node: self.node, address: *address, held });
        }
        self.reachable = reachable;
    }
}

fn watch(nodes: &mut [Watched], timeline: &Mutex<Timeline>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let listens = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let sockets = nodes.iter().flat_map(|node| [node.socket.as_fd(), node.muted.as_fd()]);
        let mut waiting: Vec<_> = sockets.map(listens).collect();
        if poll(&mut waiting, PollTimeout::from(NOTICE_STOP_MS)).is_err() {
            continue;
        }
        let ready = |some: &[PollFd<'_>]| some.iter().any(|fd| fd.any().unwrap_or(false));
        let ready: Vec<bool> = waiting.chunks(2).map(ready).collect();
        for (node, _) in nodes.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            node.receive(timeline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 0, 100));

    /// Builds a history out of (milliseconds, node, held).
    fn history(changes: &[(u64, usize, bool)]) -> (Timeline, Instant) {
        let start = clock::now();
        let mut timeline = Timeline::default();
        for (at, node, held) in changes {
            let at = start + Duration::from_millis(*at);
            timeline.push(Change { at, node: *node, address: VIP, held: *held });
        }
        (timeline, start)
    }

    #[test]
    fn only_the_time_with_two_holders_counts() {
        let (timeline, start) =
            history(&[(0, 0, true), (10, 1, true), (25, 0, false), (40, 2, true), (45, 1, false)]);
        let all = timeline.two_owners(VIP, start, start + Duration::from_secs(1));
        assert_eq!(all, Duration::from_millis(15 + 5));
        assert_eq!(timeline.holders(VIP), BTreeSet::from([2]));
    }

    #[test]
    fn time_outside_the_stretch_does_not_count() {
        let (timeline, start) = history(&[(0, 0, true), (10, 1, true)]);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(timeline.two_owners(VIP, at(20), at(50)), Duration::from_millis(30));
        assert_eq!(timeline.two_owners(VIP, at(0), at(5)), Duration::ZERO);
    }

    #[test]
    fn other_addresses_do_not_count() {
        let (timeline, start) = history(&[(0, 0, true), (10, 1, true)]);
        let other = IpAddr::from([10, 77, 0, 101]);
        assert_eq!(
            timeline.two_owners(other, start, start + Duration::from_secs(1)),
            Duration::ZERO
        );
    }
}
