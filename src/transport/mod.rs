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
//! the datagram had been lost. Sockets are bound before their address need exist.
//!
//! ```text
//!    peer ---- path 0 ----> socket 0 --+
//!    peer ---- path 1 ----> socket 1 --+--> receive: one of each in turn, up to a limit
//! ```
//!
//! Nothing is trusted that came in; datagrams from addresses of no peer are dropped here, so
//! that a stranger who does not forge addresses never reaches `wire`.

mod counters;
mod receive;
mod socket;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use crate::protocol::NodeId;

pub use counters::{Counters, PathCounters};
pub use receive::Received;
pub use socket::BindError;

use receive::Intake;

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
    /// that waits in it, and its counters.
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
        let peers = paths.iter().flat_map(|path| path.peers.values());
        self.peer_addresses = peers.map(|peer| peer.ip().to_canonical()).collect();

        let mut bound = Vec::with_capacity(paths.len());
        let mut counters = Vec::with_capacity(paths.len());
        for mut path in paths {
            let (socket, counted) = if let Some(at) = self.at(path.local) {
                (self.paths.swap_remove(at).socket, self.counters.paths.swap_remove(at))
            } else if let Some(opened) = fresh.remove(&path.local) {
                path.local = opened.local;
                (opened.socket, PathCounters::new(opened.receive_buffer))
            } else {
                continue; // The same local address twice is one path.
            };
            bound.push(BoundPath { path, socket });
            counters.push(counted);
        }
        self.paths = bound;
        self.counters.paths = counters;
        Ok(())
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
            let peers = bound.path.peers.iter();
            peers.map(move |(peer, address)| (*peer, local, *address)).collect::<Vec<_>>()
        };
        self.paths.iter().flat_map(ways).collect()
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
                receive::Outcome::Datagram { length, kernel_time, from } => {
                    idle = 0;
                    left -= 1;
                    let datagram = self.intake.datagram(length);
                    take(Received { datagram, kernel_time, from, path });
                }
            }
            path = (path + 1) % self.paths.len();
        }
    }

    /// Sends a datagram to a peer on every path that leads to it. What cannot be sent is lost and
    /// counted.
    pub fn send(&mut self, to: NodeId, datagram: &[u8]) {
        for (bound, counters) in self.paths.iter().zip(&mut self.counters.paths) {
            let Some(address) = bound.path.peers.get(&to) else {
                continue;
            };
            let mut outcome = bound.socket.send_to(datagram, address);
            if matches!(&outcome, Err(error) if counters::is_old_news(error)) {
                // The answer to an earlier datagram; this one has not been tried yet.
                outcome = bound.socket.send_to(datagram, address);
            }
            match outcome {
                Ok(_) => counters.sent += 1,
                Err(error) => counters.count_send_error(&error),
            }
        }
    }

    /// What was sent, received and lost so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
