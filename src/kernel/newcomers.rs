//! Connections that begin while their address moves on.
//!
//! In a planned move requests that are under way get their time (see `closing`), and the gate drops
//! the first packet of every connection that would begin meanwhile: it would have to be reset a
//! moment later. Its client sends that packet again a whole second later (RFC 6298 2.1). Packet
//! sockets of all protocols see what arrives before the gate does (those of one see it after): they
//! keep it, and when another host announces the address it goes on there, unchanged but for the
//! hardware addresses.
//!
//! ```text
//!   SYN --> filter --> socket, unread ----+--> frame to whoever announced the address
//!   announcement by another host ---------+    (again after LATER, for what was on its way)
//! ```
//!
//! `apply` says which addresses are about to go and what `claimants` hear of them. If anything fails
//! the packet is lost, as without all this. The sockets are there while addresses go only; what
//! they keep is limited by their buffers, and is forgotten after [`KEPT`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::time::Instant as Moment;

use super::announce::Announcer;
use super::links::Host;
use super::{filter, internet_checksum};

/// Clients try again after a second themselves.
const KEPT: Duration = Duration::from_secs(1);
/// After the announcement: who had not read it yet has sent here.
const LATER: Duration = Duration::from_millis(20);
/// Some hundred first packets; the kernel may allow less (`net.core.rmem_max`).
const BUFFER: usize = 256 * 1024;
/// Packets sent on at a stretch; what is left waits for the next.
const SENT_MAX: usize = 500;
/// A first packet is shorter: two headers and the options of TCP.
const PACKET_MAX: usize = 256;
/// Of packet sockets that see every packet, and of frames.
const EVERY: u16 = 0x0003;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    sockets: [Socket; 2],
    addresses: BTreeSet<IpAddr>,
    /// Who announced an address, and on which link.
    owners: BTreeMap<IpAddr, (u32, [u8; 6])>,
    /// Read, but nobody has announced the address yet.
    waiting: Vec<First>,
    /// When what has come is sent on.
    send_at: VecDeque<Moment>,
    until: Moment,
}

/// The first packet of a connection, from its network header on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct First {
    to: IpAddr,
    packet: Vec<u8>,
}

impl Newcomers {
    /// Keeps what begins to these addresses too, from now on.
    pub(super) fn keep(&mut self, addresses: &[IpAddr]) {
        let until = Moment::now() + KEPT;
        let kept = match &mut self.kept {
            Some(kept) => kept.extend(addresses, until),
            none => Kept::open(addresses, until).map(|kept| *none = Some(kept)),
        };
        if let Err(error) = kept {
            tracing::debug!(%error, "connections that begin now will have to try again");
        }
    }

    /// Another host says on this link that it has the address.
    pub(super) fn announced(&mut self, address: IpAddr, link: Option<u32>, hardware: [u8; 6]) {
        if let (Some(kept), Some(link)) = (&mut self.kept, link)
            && kept.addresses.contains(&address)
            && kept.owners.insert(address, (link, hardware)).is_none()
        {
            let now = Moment::now();
            kept.send_at.extend([now, now + LATER]);
        }
    }

    /// When to [`Newcomers::proceed`].
    pub(super) fn deadline(&self) -> Option<Moment> {
        let kept = self.kept.as_ref()?;
        kept.send_at.iter().copied().chain([kept.until]).min()
    }

    /// Sends on what can be sent on, and forgets what is too old.
    pub(super) fn proceed(&mut self, host: &Host, announcer: &mut Announcer) {
        let now = Moment::now();
        let Some(kept) = &mut self.kept else { return };
        let before = kept.send_at.len();
        kept.send_at.retain(|at| *at > now);
        if kept.send_at.len() < before {
            kept.send(host, announcer);
        }
        let all_announced = kept.owners.len() == kept.addresses.len() && kept.send_at.is_empty();
        if all_announced || kept.until <= now {
            self.kept = None;
        }
    }
}

impl Kept {
    fn open(addresses: &[IpAddr], until: Moment) -> io::Result<Self> {
        let addresses: BTreeSet<IpAddr> = addresses.iter().copied().collect();
        let [four, six] = filter::first_packets(&addresses);
        let sockets = [listen(&four)?, listen(&six)?];
        let (owners, waiting, send_at) = (BTreeMap::new(), Vec::new(), VecDeque::new());
        Ok(Self { sockets, addresses, owners, waiting, send_at, until })
    }

    fn extend(&mut self, addresses: &[IpAddr], until: Moment) -> io::Result<()> {
        // Those that have come back since are announced anew.
        self.owners.retain(|address, _| !addresses.contains(address));
        self.addresses.extend(addresses);
        self.until = until;
        let filters = filter::first_packets(&self.addresses);
        let mut both = self.sockets.iter().zip(filters);
        both.try_for_each(|(socket, program)| socket.attach_filter(&program))
    }

    fn send(&mut self, host: &Host, announcer: &mut Announcer) {
        self.read();
        let (go, wait): (Vec<_>, Vec<_>) =
            self.waiting.drain(..).partition(|first| self.owners.contains_key(&first.to));
        self.waiting = wait;
        for first in go {
            let owner = self.owners.get(&first.to);
            let place = owner.and_then(|(link, theirs)| Some((host.link(*link)?, theirs)));
            let Some((link, theirs)) = place else { continue };
            let Some(own) = link.hardware else { continue };
            if let Err(error) = announcer.send(link, &frame(&first, own, *theirs)) {
                tracing::debug!(link = %link.name, to = %first.to, %error, "not sent on");
            }
        }
    }

    fn read(&mut self) {
        for socket in &self.sockets {
            while self.waiting.len() < SENT_MAX {
                let mut packet = [0; PACKET_MAX];
                let Ok((length, _)) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut packet) else {
                    break;
                };
                let first = first(packet.get(..length).unwrap_or_default());
                // It is seen on a link and on what is above it, a VLAN for example.
                self.waiting.extend(first.filter(|first| !self.waiting.contains(first)));
            }
        }
    }
}

/// A socket that keeps what passes the filter, on all links.
fn listen(program: &[SockFilter]) -> io::Result<Socket> {
    let every = Protocol::from(i32::from(EVERY.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(every))?;
    socket.attach_filter(program)?;
    socket.set_nonblocking(true)?;
    // What came before the filter was there.
    while recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut [0; 1]).is_ok() {}
    socket.set_recv_buffer_size(BUFFER)?;
    Ok(socket)
}

/// What came, without the padding of its frame, and with its checksum; `None` if it is cut off.
fn first(packet: &[u8]) -> Option<First> {
    let six = packet.first()? >> 4 == 6;
    let (length, header, addresses) = if six { (4, 40, 8..40) } else { (2, 20, 12..20) };
    let length = u16::from_be_bytes(packet.get(length..length + 2)?.try_into().ok()?);
    let whole = usize::from(length) + if six { header } else { 0 };
    let mut packet = packet.get(..whole)?.to_vec();
    let (network, segment) = packet.split_at_mut_checked(header)?;
    let mut pseudo = network.get(addresses)?.to_vec();
    pseudo.extend(u32::try_from(segment.len()).ok()?.to_be_bytes());
    pseudo.extend([0, 0, 0, TCP]);
    complete(segment, &pseudo)?;
    let to = if six {
        IpAddr::from(<[u8; 16]>::try_from(network.get(24..40)?).ok()?)
    } else {
        IpAddr::from(<[u8; 4]>::try_from(network.get(16..20)?).ok()?)
    };
    Some(First { to, packet })
}

/// A host that shares memory with this one (a container, another guest) leaves the checksum to a
/// network card that never comes: there is the sum of the pseudo header instead.
fn complete(segment: &mut [u8], pseudo: &[u8]) -> Option<()> {
    let place = segment.get(16..18)?;
    if place == (!internet_checksum(pseudo)).to_be_bytes() {
        segment.get_mut(16..18)?.fill(0);
        let checksum = internet_checksum(&[pseudo, segment].concat());
        segment.get_mut(16..18)?.copy_from_slice(&checksum.to_be_bytes());
    }
    Some(())
}

fn frame(first: &First, own: [u8; 6], theirs: [u8; 6]) -> Vec<u8> {
    let protocol = if first.to.is_ipv6() { IPV6 } else { IPV4 };
    [&theirs[..], &own, &protocol.to_be_bytes(), &first.packet].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From 10.0.0.9:4660 to 10.0.0.100:80, with the sum of the pseudo header, or the right one.
    fn packet(checksum: [u8; 2]) -> Vec<u8> {
        let mut packet =
            vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 9, 10, 0, 0, 100];
        packet.extend([0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0]);
        packet.extend(checksum);
        packet.extend([0, 0]);
        packet
    }

    /// 0x0a00 + 9 + 0x0a00 + 100 + 6 + 20.
    const PSEUDO: [u8; 2] = [0x14, 0x87];
    /// That, and 0x1234 + 80 + 1 + 0x5002 + 0x0400, inverted.
    const RIGHT: [u8; 2] = [0x84, 0xf1];

    #[test]
    fn packets_lose_their_padding_and_get_their_checksum() {
        let mut padded = packet(PSEUDO);
        padded.extend([0; 6]);
        let to = IpAddr::from([10, 0, 0, 100]);
        assert_eq!(first(&padded), Some(First { to, packet: packet(RIGHT) }));
        // Whatever else is there is for the receiver to judge.
        for checksum in [RIGHT, [1, 2]] {
            assert_eq!(first(&packet(checksum)).unwrap().packet, packet(checksum));
        }
        for length in 0..40 {
            assert_eq!(first(&packet(RIGHT)[..length]), None);
        }
    }

    #[test]
    fn those_of_ipv6_too() {
        let mut packet = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
        packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100]);
        packet.extend([0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0]);
        // Twice 0xfd00, and 9 + 100 + 20 + 6.
        packet.extend([0xfa, 0x88, 0, 0]);
        let made = first(&packet).unwrap();
        assert_eq!(made.to, "fd00::64".parse::<IpAddr>().unwrap());
        let pseudo = [&made.packet[8..], &[0, 0, 0, 20, 0, 0, 0, 6]].concat();
        assert_eq!(internet_checksum(&pseudo), 0);
    }

    #[test]
    fn the_frame_goes_to_the_next_owner() {
        let first = First { to: [10, 0, 0, 100].into(), packet: vec![0x45] };
        let expected = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45];
        assert_eq!(frame(&first, [2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]), expected);
    }
}
