//! Sockets of the heartbeat paths: datagrams out on every path, datagrams in with their time.
//!
//! Runs in the protocol's thread, so nothing here blocks. Each path is one network: one UDP
//! socket bound to this node's address there, and the peers' addresses there. The daemon polls
//! [`Transport::descriptors`], takes what came with [`Transport::receive`] and sends with
//! [`Transport::send`].
//!
//! A start fails only when a socket cannot be bound, and says what to do. After that nothing
//! stops a path: a peer that is down, a network that is down, a firewall, an address that is
//! taken off the host and put back are counted and tried again with the next datagram, as if
//! the datagram had been lost. Sockets are bound before their address need exist. When the address is
//! taken off the host, what this node has to say of it still leaves (see `last_words`).
//!
//! ```text
//!    peer ---- path 0 ----> socket 0 --+
//!    peer ---- path 1 ----> socket 1 --+--> receive: one of each in turn, up to a limit
//! ```
//!
//! Nothing is trusted that came in, least of all the address that it came from: who sent it shows
//! in `wire`. A peer is sent to at its configured address, and besides where it was last heard
//! from, because files that name ports and addresses reach the hosts one after the other.
//! For the same reason a path whose local address or port a reload takes away goes on as it was,
//! until every peer has been heard from where the new file has it.

mod counters;
mod last_words;
mod receive;
mod socket;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use crate::protocol::{Instant, NodeId};

pub use counters::{Counters, PathCounters};
pub use receive::Received;
pub use socket::BindError;

use last_words::LastWords;
use receive::Intake;

/// Paths kept that the configuration has no more.
const FORMER_MAX: usize = 4;

/// One network that carries heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// This node's address and port on it. Port 0 lets the kernel choose.
    pub local: SocketAddr,
    /// The peers' addresses and ports on it.
    pub peers: BTreeMap<NodeId, SocketAddr>,
}

/// All paths.
#[derive(Debug)]
pub struct Transport {
    paths: Vec<BoundPath>,
    peer_addresses: BTreeSet<IpAddr>,
    intake: Intake,
    counters: Counters,
}

#[derive(Debug)]
struct BoundPath {
    path: Path,
    socket: UdpSocket,
    /// Where peers were last heard from, if that is not their configured address.
    heard: BTreeMap<NodeId, SocketAddr>,
    /// Of a path that the configuration has no more: peers that were not yet heard from where the
    /// configuration has them now.
    awaited: Option<BTreeSet<NodeId>>,
    last_words: LastWords,
}

impl Transport {
    /// Binds one socket for each path.
    ///
    /// # Errors
    ///
    /// When one of them cannot be bound; then none is kept.
    pub fn bind(paths: Vec<Path>) -> Result<Self, BindError> {
        let mut transport = Self {
            paths: Vec::new(),
            peer_addresses: BTreeSet::new(),
            intake: Intake::new(),
            counters: Counters::default(),
        };
        transport.reconfigure(paths)?;
        Ok(transport)
    }

    /// Changes the paths. A path whose local address stays keeps its socket, with everything
    /// that waits in it, and its counters. Peers that were somewhere else before are sent to there
    /// as well, until they are heard from where they are now.
    ///
    /// # Errors
    ///
    /// When a new path cannot be bound; then nothing has changed.
    pub fn reconfigure(&mut self, paths: Vec<Path>) -> Result<(), BindError> {
        let mut fresh = BTreeMap::new();
        for path in &paths {
            if self.at(path.local).is_none() && !fresh.contains_key(&path.local) {
                fresh.insert(path.local, socket::open(path.local)?);
            }
        }
        let peers: BTreeSet<NodeId> =
            paths.iter().flat_map(|path| path.peers.keys().copied()).collect();
        let mut bound = Vec::with_capacity(paths.len());
        let mut counters = Vec::with_capacity(paths.len());
        for mut path in paths {
            let (mut heard, mut last_words) = (BTreeMap::new(), LastWords::default());
            let (socket, counted) = if let Some(at) = self.at(path.local) {
                let before = self.paths.remove(at);
                heard = before.moved(&path);
                last_words = before.last_words;
                (before.socket, self.counters.paths.remove(at))
            } else if let Some(opened) = fresh.remove(&path.local) {
                path.local = opened.local;
                (opened.socket, PathCounters::new(opened.receive_buffer))
            } else {
                continue; // The same local address twice is one path.
            };
            bound.push(BoundPath { path, socket, heard, awaited: None, last_words });
            counters.push(counted);
        }
        let former = self.paths.drain(..).zip(self.counters.paths.drain(..));
        for (path, counted) in former.filter(|_| !peers.is_empty()).take(FORMER_MAX) {
            bound.push(BoundPath { awaited: Some(peers.clone()), ..path });
            counters.push(counted);
        }
        self.paths = bound;
        self.counters.paths = counters;
        self.know_addresses();
        Ok(())
    }

    /// Binds what a process before this one used, as far as that can be bound: the paths of now
    /// are then a change from these.
    pub fn recall(&mut self, paths: Vec<Path>) {
        let configured: Vec<Path> = self.paths.iter().map(|bound| bound.path.clone()).collect();
        for path in paths.into_iter().take(FORMER_MAX) {
            if let Some(at) = self.at(path.local) {
                self.paths[at].path.peers = path.peers;
            } else if let Ok(opened) = socket::open(path.local) {
                let (socket, heard) = (opened.socket, BTreeMap::new());
                self.paths.push(BoundPath {
                    path,
                    socket,
                    heard,
                    awaited: None,
                    last_words: LastWords::default(),
                });
                self.counters.paths.push(PathCounters::new(opened.receive_buffer));
            }
        }
        // Nothing new is bound by this.
        let _ = self.reconfigure(configured);
    }

    /// The paths with where each peer was last: what [`recall`](Self::recall) wants.
    #[must_use]
    pub fn in_use(&self) -> Vec<Path> {
        let used = |bound: &BoundPath| {
            let mut path = bound.path.clone();
            path.peers.extend(bound.heard.clone());
            path
        };
        self.paths.iter().map(used).collect()
    }

    /// Takes in where an authentic datagram of a peer came from; whether anything has changed by
    /// it that [`destinations`](Self::destinations) tells.
    pub fn heard(&mut self, peer: NodeId, path: usize, from: SocketAddr) -> bool {
        let Some(bound) = self.paths.get_mut(path) else { return false };
        if bound.path.peers.get(&peer) != Some(&from) {
            let elsewhere = self.is_configured(peer, from);
            let Some(bound) = self.paths.get_mut(path).filter(|_| !elsewhere) else { return false };
            let changed = bound.heard.insert(peer, from) != Some(from);
            if changed {
                self.know_addresses();
            }
            return changed;
        }
        let mut changed = bound.heard.remove(&peer).is_some();
        if bound.awaited.is_none() {
            for former in self.paths.iter_mut().filter_map(|bound| bound.awaited.as_mut()) {
                former.remove(&peer);
            }
            changed |= self.close_former();
        }
        changed
    }

    fn is_configured(&self, peer: NodeId, address: SocketAddr) -> bool {
        self.paths.iter().any(|bound| bound.path.peers.get(&peer) == Some(&address))
    }

    fn close_former(&mut self) -> bool {
        let before = self.paths.len();
        for at in (0..before).rev() {
            if self.paths[at].awaited.as_ref().is_some_and(BTreeSet::is_empty) {
                self.paths.remove(at);
                self.counters.paths.remove(at);
            }
        }
        self.paths.len() != before
    }

    fn know_addresses(&mut self) {
        let addresses = |bound: &BoundPath| {
            let all = bound.path.peers.values().chain(bound.heard.values());
            all.map(|peer| peer.ip().to_canonical()).collect::<Vec<_>>()
        };
        self.peer_addresses = self.paths.iter().flat_map(addresses).collect();
    }

    fn at(&self, local: SocketAddr) -> Option<usize> {
        self.paths.iter().position(|bound| bound.path.local == local)
    }

    /// This node's address on each path, with the port that the kernel chose if it was left to.
    pub fn locals(&self) -> impl Iterator<Item = SocketAddr> {
        self.paths.iter().map(|bound| bound.path.local)
    }

    /// All ways to the peers: whom, from this node's address, to the peer's.
    #[must_use]
    pub fn destinations(&self) -> Vec<(NodeId, SocketAddr, SocketAddr)> {
        let ways = |bound: &BoundPath| {
            let local = bound.path.local;
            let peers = bound.path.peers.iter().chain(&bound.heard);
            peers.map(move |(peer, address)| (*peer, local, *address)).collect::<Vec<_>>()
        };
        self.paths.iter().flat_map(ways).collect()
    }

    /// This node's address on a path.
    #[must_use]
    pub fn local(&self, path: usize) -> Option<SocketAddr> {
        self.paths.get(path).map(|bound| bound.path.local)
    }

    /// Whether that is this node's address on a path.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.paths.iter().any(|bound| bound.path.local.ip() == address)
    }

    /// To poll for input.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.paths.iter().map(|bound| bound.socket.as_fd())
    }

    /// Takes what has come, one of each path in turn, until there is no more or `limit` datagrams
    /// were looked at. The rest stays in the sockets.
    pub fn receive(&mut self, limit: usize, mut take: impl FnMut(Received<'_>)) {
        let mut left = limit;
        let mut idle = 0;
        let mut path = 0;
        while left > 0 && idle < self.paths.len() {
            let counters = &mut self.counters.paths[path];
            let known = |address: IpAddr| self.peer_addresses.contains(&address.to_canonical());
            match self.intake.receive(&self.paths[path].socket, counters, known) {
                receive::Outcome::Empty => idle += 1,
                receive::Outcome::Dropped => {
                    idle = 0;
                    left -= 1;
                }
                receive::Outcome::Datagram { length, kernel_time, from, known, device } => {
                    idle = 0;
                    left -= 1;
                    if known {
                        self.paths[path].last_words.note_device(device);
                    }
                    let datagram = self.intake.datagram(length);
                    take(Received { datagram, kernel_time, from, known, path });
                }
            }
            path = (path + 1) % self.paths.len();
        }
    }

    /// Answers a datagram: on every path that leads to the peer, and to where it came from.
    pub fn reply(
        &mut self,
        to: NodeId,
        datagram: &[u8],
        (path, from): (usize, SocketAddr),
        now: Instant,
    ) {
        self.send(to, datagram, now);
        let there = |(node, local, address): &(NodeId, SocketAddr, SocketAddr)| {
            *node == to
                && *address == from
                && self.paths.get(path).map(|it| it.path.local) == Some(*local)
        };
        if !self.destinations().iter().any(there)
            && let (Some(bound), Some(counters)) =
                (self.paths.get_mut(path), self.counters.paths.get_mut(path))
        {
            bound.send(&from, (datagram, now), counters);
        }
    }

    /// Sends a datagram to a peer on every path that leads to it. What cannot be sent is lost and
    /// counted.
    pub fn send(&mut self, to: NodeId, datagram: &[u8], now: Instant) {
        for (bound, counters) in self.paths.iter_mut().zip(&mut self.counters.paths) {
            let there = bound.path.peers.get(&to).into_iter().chain(bound.heard.get(&to));
            for address in there.copied().collect::<Vec<_>>() {
                bound.send(&address, (datagram, now), counters);
            }
        }
    }

    /// What was sent, received and lost so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl BoundPath {
    /// Where peers were that the new paths have elsewhere, or not at all.
    fn moved(&self, to: &Path) -> BTreeMap<NodeId, SocketAddr> {
        let before = self.path.peers.iter().chain(&self.heard);
        let elsewhere = before.filter(|(peer, address)| to.peers.get(*peer) != Some(*address));
        elsewhere.map(|(peer, address)| (*peer, *address)).collect()
    }

    fn send(
        &mut self,
        address: &SocketAddr,
        (datagram, now): (&[u8], Instant),
        counters: &mut PathCounters,
    ) {
        let mut outcome = self.socket.send_to(datagram, address);
        if matches!(&outcome, Err(error) if counters::is_old_news(error)) {
            // The answer to an earlier datagram; this one has not been tried yet.
            outcome = self.socket.send_to(datagram, address);
        }
        match outcome {
            Ok(_) => self.last_words.end(),
            Err(error) if counters::lacks_address(&error) => {
                let way = (&self.socket, self.path.local.ip(), *address);
                outcome = self.last_words.send(way, datagram, now).unwrap_or(Err(error));
            }
            Err(_) => {}
        }
        match outcome {
            Ok(_) => counters.sent += 1,
            Err(error) => counters.count_send_error(&error),
        }
    }
}
