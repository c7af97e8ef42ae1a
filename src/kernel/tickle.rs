//! Has clients of a dead owner notice that their connections are gone.
//!
//! A bare ACK with a sequence number out of the blue, from the address and port that the client
//! knows, makes the client's kernel answer with an ACK of its own (RFC 9293 3.10.7.4: "send an
//! acknowledgement, drop the segment"). That comes here, where no socket knows it, so this kernel
//! resets the connection with numbers that the client accepts. CTDB calls it a tickle.
//!
//! ```text
//!   here  -- ACK, wrong sequence -->  client   (this file)
//!   here  <-- ACK, right sequence --  client   (kernel, at most one in 500 ms for a connection)
//!   here  -- RST, right sequence -->  client   (our kernel: no such socket)
//! ```
//!
//! A client that has no such connection any more answers with a reset, which nobody here minds; one
//! that has a new connection with the same ports to this host answers, and its connection goes on.
//! So nothing is lost by asking too often, and each list is gone through [`ROUNDS`] times: frames
//! get lost, and the first answers may still go to where the address was. The sequence numbers of
//! two rounds lie half a circle apart, so that they are not both within the client's window.
//!
//! A firewall here that drops what it does not know (`nf_conntrack_tcp_loose = 0` with `ct state
//! invalid drop`) drops the clients' answers too; then they are told by nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::Instant as Moment;

use super::internet_checksum;
use crate::protocol::{Connection, GroupKey, NODES_MAX, NodeId};

/// After the first announcement, and its repeats. Answers to the same connection are 500 ms apart
/// at least (`net.ipv4.tcp_invalid_ratelimit`).
const ROUNDS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(700),
    Duration::from_millis(2500),
];
/// What is not told again for so long has ended: peers tell each connection every 10 s.
const KEPT: Duration = Duration::from_secs(25);
/// Connections of peers that are remembered, as a multiple of what one node tells at most.
const PEERS_KEPT: usize = 4;
/// Sent at a stretch.
const BURST: usize = 50;
/// Between two stretches: 20,000 each second, so that 2000 clients are through after 100 ms.
const PACE: Duration = Duration::from_micros(2500);
/// Protocol 255 sends packets with their header, and receives nothing.
const RAW: i32 = 255;
const TCP: u8 = 6;
const ACK: u8 = 0x10;

/// What became of a stretch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) sent: usize,
    pub(super) failed: usize,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Tickler {
    max: usize,
    told: BTreeMap<NodeId, BTreeMap<Connection, Moment>>,
    rounds: VecDeque<Round>,
    next_at: Option<Moment>,
}

/// One way through a list, sorted by address.
#[derive(Debug)]
struct Round {
    group: GroupKey,
    due: Moment,
    sequence: u32,
    list: Arc<[Connection]>,
    done: usize,
}

impl Tickler {
    /// Remembers connections of peers up to four times what one node tells at most.
    pub(super) fn limit(&mut self, max: usize) {
        self.max = max;
        if max == 0 {
            self.told.clear();
        }
    }

    /// Remembers what a peer tells; returns how many found no room.
    pub(super) fn remember(
        &mut self,
        now: Moment,
        from: NodeId,
        connections: Vec<Connection>,
    ) -> usize {
        if !self.told.contains_key(&from) && self.told.len() >= NODES_MAX {
            self.told.retain(|_, told| !told.is_empty());
        }
        let mut room = (PEERS_KEPT * self.max).saturating_sub(self.remembered());
        let told = self.told.entry(from).or_default();
        let mut refused = 0;
        for connection in connections {
            let known = told.contains_key(&connection);
            if known || room > 0 {
                room -= usize::from(!known);
                told.insert(connection, now);
            } else {
                refused += 1;
            }
        }
        refused
    }

    /// Forgets what has not been told again.
    pub(super) fn forget(&mut self, now: Moment) {
        for told in self.told.values_mut() {
            told.retain(|_, at| now.saturating_duration_since(*at) < KEPT);
        }
        self.told.retain(|_, told| !told.is_empty());
    }

    /// How many are remembered.
    pub(super) fn remembered(&self) -> usize {
        self.told.values().map(BTreeMap::len).sum()
    }

    /// Begins to tell the clients of these addresses; returns how many connections that are.
    pub(super) fn begin(
        &mut self,
        now: Moment,
        group: GroupKey,
        addresses: &BTreeSet<IpAddr>,
    ) -> usize {
        self.stop(group);
        let all = self.told.values().flat_map(BTreeMap::keys);
        let of_these = all.filter(|connection| addresses.contains(&connection.address));
        let list: BTreeSet<Connection> = of_these.copied().collect();
        let list: Arc<[Connection]> = list.into_iter().collect();
        if !list.is_empty() {
            for (number, after) in ROUNDS.into_iter().enumerate() {
                let sequence = if number % 2 == 0 { 0 } else { 1 << 31 };
                let list = Arc::clone(&list);
                let round = Round { group, due: now + after, sequence, list, done: 0 };
                self.rounds.push_back(round);
            }
            self.rounds.make_contiguous().sort_by_key(|round| round.due);
        }
        list.len()
    }

    /// The group goes.
    pub(super) fn stop(&mut self, group: GroupKey) {
        self.rounds.retain(|round| round.group != group);
    }

    /// When [`Tickler::proceed`] has something to do.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let due = self.rounds.front()?.due;
        Some(self.next_at.map_or(due, |at| at.max(due)))
    }

    /// Sends a stretch, if one is due.
    pub(super) fn proceed(&mut self, now: Moment) -> Sent {
        if self.deadline().is_none_or(|at| now < at) {
            return Sent::default();
        }
        self.next_at = Some(now + PACE);
        let mut all = Sent::default();
        while let Some(round) = self.rounds.front_mut().filter(|round| round.due <= now) {
            let room = BURST - all.sent - all.failed;
            let rest = round.list.get(round.done..).unwrap_or_default();
            let stretch = rest.get(..room).unwrap_or(rest);
            let failed = send(stretch, round.sequence);
            all.sent += stretch.len() - failed;
            all.failed += failed;
            round.done += stretch.len();
            if round.done < round.list.len() {
                break;
            }
            self.rounds.pop_front();
        }
        all
    }
}

/// Sends one packet for each connection; returns how many could not be sent.
fn send(connections: &[Connection], sequence: u32) -> usize {
    let mut failed = 0;
    let mut socket: Option<(IpAddr, io::Result<Socket>)> = None;
    for connection in connections {
        let address = connection.address;
        let (_, socket) = match &mut socket {
            Some(known) if known.0 == address => known,
            other => other.insert((address, open(address))),
        };
        let client = SocketAddr::new(connection.client, 0);
        let sent = match socket {
            Ok(socket) => socket.send_to(&packet(connection, sequence), &client.into()),
            Err(_) => Ok(0),
        };
        failed += usize::from(!sent.is_ok_and(|length| length > 0));
    }
    failed
}

/// Bound, so that nothing leaves from an address that is not here any more, and rules for the
/// choice of a route by source are kept.
fn open(address: IpAddr) -> io::Result<Socket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(RAW)))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(address, 0).into())?;
    Ok(socket)
}

/// The packet with its headers.
fn packet(connection: &Connection, sequence: u32) -> Vec<u8> {
    let mut segment = Vec::with_capacity(20);
    segment.extend(connection.port.to_be_bytes());
    segment.extend(connection.client_port.to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    // Acknowledges nothing; 5 words of header; a window that nobody will use; checksum, urgent.
    segment.extend([0, 0, 0, 0, 5 << 4, ACK, 4, 0, 0, 0, 0, 0]);
    let (mut header, pseudo) = match (connection.address, connection.client) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            // The kernel fills in length, identification and checksum.
            let mut header = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, TCP, 0, 0];
            header.extend(from.octets().into_iter().chain(to.octets()));
            let mut pseudo = header.get(12..).unwrap_or_default().to_vec();
            pseudo.extend([0, TCP, 0, 20]);
            (header, pseudo)
        }
        (from, to) => {
            let octets = |address: IpAddr| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            let mut header = vec![0x60, 0, 0, 0, 0, 20, TCP, 64];
            header.extend(octets(from).into_iter().chain(octets(to)));
            let mut pseudo = header.get(8..).unwrap_or_default().to_vec();
            pseudo.extend([0, 0, 0, 20, 0, 0, 0, TCP]);
            (header, pseudo)
        }
    };
    let checksum = internet_checksum(&[pseudo, segment.clone()].concat());
    if let Some(place) = segment.get_mut(16..18) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
    header.append(&mut segment);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupKey = GroupKey(7);
    const PEER: NodeId = NodeId(1);

    fn connection(address: [u8; 4], client_port: u16) -> Connection {
        let (address, client) = (address.into(), [10, 77, 0, 9].into());
        Connection { address, port: 80, client, client_port }
    }

    fn of_peer(ports: std::ops::Range<u16>) -> Vec<Connection> {
        ports.map(|port| connection([192, 0, 2, 1], port)).collect()
    }

    #[test]
    fn packets_are_these_bytes() {
        let v4 = packet(&connection([10, 77, 0, 100], 0xabcd), 1 << 31);
        let expected = [
            0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 77, 0, 100, 10, 77, 0, 9, 0, 80, 0xab,
            0xcd, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 4, 0,
        ];
        assert_eq!(v4[..36], expected);
        assert_eq!(v4[38..], [0, 0]);
        let v6 = Connection {
            address: "fd77::100".parse().unwrap(),
            client: "fd77::9".parse().unwrap(),
            ..connection([0; 4], 0xabcd)
        };
        let v6 = packet(&v6, 0);
        assert_eq!(v6[..8], [0x60, 0, 0, 0, 0, 20, 6, 64]);
        assert_eq!(v6.len(), 60);
        // A sum over everything that is summed, with its own checksum in it, is nothing.
        let pseudo = |packet: &[u8], at: usize, rest: &[u8]| {
            internet_checksum(&[&packet[at..], rest].concat())
        };
        assert_eq!(pseudo(&v4, 12, &[0, 6, 0, 20]), 0);
        assert_eq!(pseudo(&v6, 8, &[0, 0, 0, 20, 0, 0, 0, 6]), 0);
    }

    #[test]
    fn every_round_goes_through_the_list_at_the_pace() {
        let (mut tickler, begin) = (Tickler::default(), Moment::now());
        tickler.limit(1000);
        assert_eq!(tickler.remember(begin, PEER, of_peer(1..121)), 0);
        assert_eq!(tickler.remember(begin, NodeId(2), of_peer(100..131)), 0);
        let addresses = BTreeSet::from([[192, 0, 2, 1].into()]);
        assert_eq!(tickler.begin(begin, GROUP, &BTreeSet::new()), 0);
        assert_eq!(tickler.deadline(), None);
        assert_eq!(tickler.begin(begin, GROUP, &addresses), 130, "what two tell is told once");
        assert_eq!(tickler.begin(begin, GROUP, &addresses), 130, "the last begin counts");
        let mut at = Vec::new();
        while let Some(due) = tickler.deadline() {
            assert_eq!(tickler.proceed(due - Duration::from_micros(1)), Sent::default());
            // The address is not here: nothing can be sent from it.
            at.push(((due - begin).as_millis(), tickler.proceed(due).failed));
        }
        let rounds = [0, 100, 700, 2500].map(|at| [(at, 50), (at + 2, 50), (at + 5, 30)]);
        assert_eq!(at, rounds.concat());
    }

    #[test]
    fn many_small_groups_share_a_stretch() {
        let (mut tickler, begin) = (Tickler::default(), Moment::now());
        tickler.limit(1000);
        tickler.remember(begin, PEER, of_peer(1..13));
        let addresses = BTreeSet::from([[192, 0, 2, 1].into()]);
        (0..5).for_each(|group| {
            tickler.begin(begin, GroupKey(group), &addresses);
        });
        assert_eq!(tickler.proceed(begin).failed, 50, "four groups, and some of the fifth");
        assert_eq!(tickler.proceed(begin + PACE).failed, 10);
    }

    #[test]
    fn a_group_that_goes_is_told_no_further() {
        let (mut tickler, begin) = (Tickler::default(), Moment::now());
        tickler.limit(1000);
        tickler.remember(begin, PEER, of_peer(1..61));
        tickler.begin(begin, GROUP, &BTreeSet::from([[192, 0, 2, 1].into()]));
        tickler.proceed(begin);
        tickler.stop(GroupKey(8));
        assert!(tickler.deadline().is_some());
        tickler.stop(GROUP);
        assert_eq!(tickler.deadline(), None);
    }

    #[test]
    fn what_peers_tell_is_bounded_and_forgotten() {
        let (mut tickler, begin) = (Tickler::default(), Moment::now());
        assert_eq!(tickler.remember(begin, PEER, of_peer(1..11)), 10, "it is switched off");
        tickler.limit(10);
        assert_eq!(tickler.remember(begin, PEER, of_peer(1..61)), 20);
        assert_eq!(tickler.remember(begin + KEPT / 2, PEER, of_peer(1..11)), 0, "known ones");
        tickler.forget(begin + KEPT);
        assert_eq!(tickler.remembered(), 10);
        tickler.limit(0);
        assert_eq!(tickler.remembered(), 0);
    }
}
