//! Packets of VRRP from and to the links that groups are on, and where those are.
//!
//! ```text
//!   link --> filter (protocol 112) --> packet sockets --> next      (the frame's source is known)
//!   send --> raw sockets, hop limit 255, class 0xc0 --> link        (the kernel makes the IP header)
//!   follow --> IGMP and MLD memberships of the raw sockets          (switches snoop these)
//! ```
//!
//! For the thread of the daemon that runs virtual routers, not for the kernel thread: nothing here
//! waits for that, and it waits for nothing here. A flood is no danger: at most
//! [`PACKETS_PER_SECOND`] are read, the rest fills a small buffer and is dropped there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{ControlMessage, LinkAddr, MsgFlags, SockaddrIn, SockaddrIn6, sendmsg};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::claimants::{self, IPV6};
use super::links::{Host, Readiness};
use super::reconcile::Reconciler;
use super::{Kernel, Order, filter};
use crate::protocol::{GroupKey, HardwareAddress};
use crate::vrrp::{HOP_LIMIT, MULTICAST_V4, MULTICAST_V6, PROTOCOL};

/// The Ethernet protocol number of IPv4.
const IPV4: u16 = 0x0800;
/// The longest advertisement: 255 addresses of IPv4, or 90 of IPv6, with headers.
pub const PACKET_MAX: usize = 1600;
/// Packets read in a second: 255 virtual routers with four speakers each, each second.
const PACKETS_PER_SECOND: u32 = 1000;
/// Internetwork control, as keepalived and FRR send it.
const CLASS: u32 = 0xc0;
/// What came for another host and was seen all the same (`linux/if_packet.h`).
const OTHER_HOST: u8 = 3;

/// Where the addresses of a group are of one family, and whence this host speaks there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterSeat {
    /// The index of the link.
    pub link: u32,
    /// An address of this host that never moves; for IPv6 the one that only the link knows.
    pub source: Option<IpAddr>,
    /// For IPv6 one that hosts behind other links could answer too, for peers told one by one.
    pub wide: Option<IpAddr>,
}

/// The seats of a group: IPv4, IPv6.
pub type RouterSeats = (Option<RouterSeat>, Option<RouterSeat>);

/// What the thread of the virtual routers asks of the kernel thread. Keeps nothing alive.
#[derive(Clone, Debug)]
pub struct RouterDesk(mpsc::WeakUnboundedSender<Order>);

impl Kernel {
    /// Returns an end for the thread of the virtual routers.
    #[must_use]
    pub fn router_desk(&self) -> RouterDesk {
        RouterDesk(self.orders.downgrade())
    }
}

impl RouterDesk {
    /// Asks where the addresses of these groups belong now. Answered by the kernel thread when it
    /// gets to it; not at all if it has ended.
    #[must_use]
    pub fn seats(
        &self,
        groups: Vec<GroupKey>,
    ) -> oneshot::Receiver<BTreeMap<GroupKey, RouterSeats>> {
        let (answer, seats) = oneshot::channel();
        self.order(Order::RouterSeats(groups, answer));
        seats
    }

    /// Announces every address of the group once, if it is present right now.
    pub fn announce(&self, group: GroupKey) {
        self.order(Order::Announce(group));
    }

    fn order(&self, order: Order) {
        if let Some(orders) = self.0.upgrade() {
            drop(orders.send(order));
        }
    }
}

/// Where the addresses of these groups belong.
pub(super) fn seats(
    reconciler: &Reconciler,
    groups: Vec<GroupKey>,
) -> BTreeMap<GroupKey, RouterSeats> {
    let seats = |group: &GroupKey| {
        let askable = reconciler.askable(*group);
        let first = |v4: bool| askable.iter().find(|(_, address)| address.is_ipv4() == v4);
        let seat =
            |v4| first(v4).map(|(link, address)| seat(reconciler.host(), link.index, *address));
        (seat(true), seat(false))
    };
    groups.iter().map(|group| (*group, seats(group))).collect()
}

/// keepalived speaks from the first address of the link, over IPv6 from the link-local one. Of several
/// the one in the network of the group is taken, and a primary one.
fn seat(host: &Host, link: u32, address: IpAddr) -> RouterSeat {
    let own = host.addresses().filter(|own| {
        let place = &own.place;
        !own.ours && place.link == link && own.readiness == Readiness::Ready
    });
    let wide = own.filter(|own| match own.place.address {
        IpAddr::V4(_) => address.is_ipv4(),
        IpAddr::V6(own) => address.is_ipv6() && !own.is_unicast_link_local(),
    });
    let wide = wide.max_by_key(|own| (host.share_network(own.place.address, address), own.primary));
    let wide = wide.map(|own| own.place.address);
    match address {
        IpAddr::V4(_) => RouterSeat { link, source: wide, wide },
        IpAddr::V6(_) => {
            let source = host.link_local(link).map(IpAddr::from);
            RouterSeat { link, source, wide }
        }
    }
}

/// A packet that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedPacket {
    /// How much of the buffer it fills, from its IP header on.
    pub length: usize,
    /// The index of the link.
    pub link: u32,
    /// Where its frame came from.
    pub hardware: Option<HardwareAddress>,
}

/// The sockets of one family. A host without IPv6 has none of it.
#[derive(Debug)]
struct Pair {
    hears: AsyncFd<Socket>,
    speaks: Socket,
}

/// See the module's text.
#[derive(Debug)]
pub struct RouterSockets {
    v4: Pair,
    v6: Option<Pair>,
    joined: BTreeSet<(bool, u32)>,
    /// When the second began for which is counted, and how much was read in it.
    second: Instant,
    read: u32,
}

impl RouterSockets {
    /// Begins to listen on all links. To be called within the runtime.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a socket of IPv4.
    pub fn open() -> io::Result<Self> {
        let v4 = Pair { hears: hear(IPV4, filter::router(9))?, speaks: speak_v4()? };
        let v6 = hear(IPV6, filter::router(6))
            .and_then(|hears| Ok(Pair { hears, speaks: speak_v6()? }))
            .ok();
        Ok(Self { v4, v6, joined: BTreeSet::new(), second: Instant::now(), read: 0 })
    }

    /// Belongs to the multicast group of each family on these links (whether IPv4, index), and on no
    /// other. Returns the links on which it cannot; these are tried again by the next call.
    pub fn follow(&mut self, links: &BTreeSet<(bool, u32)>) -> Vec<(u32, io::Error)> {
        let gone: Vec<(bool, u32)> = self.joined.difference(links).copied().collect();
        for (v4, link) in gone {
            self.joined.remove(&(v4, link));
            // With the link its membership is gone already.
            drop(self.member(v4, link, false));
        }
        let mut failed = Vec::new();
        let new: Vec<(bool, u32)> = links.difference(&self.joined).copied().collect();
        for (v4, link) in new {
            match self.member(v4, link, true) {
                Ok(()) => drop(self.joined.insert((v4, link))),
                Err(error) => failed.push((link, error)),
            }
        }
        failed
    }

    fn member(&self, v4: bool, link: u32, joins: bool) -> io::Result<()> {
        let (four, six) = (&self.v4.speaks, self.v6.as_ref().map(|pair| &pair.speaks));
        let at = InterfaceIndexOrAddress::Index(link);
        match (v4, six, joins) {
            (true, _, true) => four.join_multicast_v4_n(&MULTICAST_V4, &at),
            (true, _, false) => four.leave_multicast_v4_n(&MULTICAST_V4, &at),
            (false, Some(six), true) => six.join_multicast_v6(&MULTICAST_V6, link),
            (false, Some(six), false) => six.leave_multicast_v6(&MULTICAST_V6, link),
            (false, None, _) => Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
    }

    /// Waits for the next packet. May be cancelled at any time: what was not returned is still there.
    pub async fn next(&mut self, buffer: &mut [u8]) -> ReceivedPacket {
        loop {
            if self.second.elapsed() >= Duration::from_secs(1) {
                (self.second, self.read) = (Instant::now(), 0);
            }
            if self.read >= PACKETS_PER_SECOND {
                let left = Duration::from_secs(1).saturating_sub(self.second.elapsed());
                tokio::time::sleep(left).await;
                continue;
            }
            self.readable().await;
            self.read += 1;
            let sockets = [Some(&self.v4), self.v6.as_ref()];
            let read = sockets.into_iter().flatten().find_map(|pair| {
                let read = |socket: &Socket| claimants::read(socket, buffer);
                pair.hears.try_io(Interest::READABLE, read).ok()
            });
            // Told once as an error when an interface goes down.
            let Some((length, Some(from))) = read else { continue };
            let received = received(length, from);
            if let Some(received) = received {
                return received;
            }
        }
    }

    async fn readable(&self) {
        let guard = match &self.v6 {
            Some(v6) => tokio::select! {
                guard = self.v4.hears.readable() => guard,
                guard = v6.hears.readable() => guard,
            },
            None => self.v4.hears.readable().await,
        };
        if let Ok(mut guard) = guard {
            guard.retain_ready();
        }
    }

    /// Sends one advertisement.
    ///
    /// # Errors
    ///
    /// What the kernel says: the link is down, the source is not an address of this host, nobody
    /// knows the peer.
    pub fn send(
        &self,
        link: u32,
        source: IpAddr,
        destination: IpAddr,
        payload: &[u8],
    ) -> io::Result<()> {
        let socket = match (source, &self.v6) {
            (IpAddr::V4(_), _) => &self.v4.speaks,
            (IpAddr::V6(_), Some(v6)) => &v6.speaks,
            (IpAddr::V6(_), None) => return Err(io::Error::from(io::ErrorKind::Unsupported)),
        };
        send_by(socket, link, (source, destination), payload)
    }
}

/// Sends one advertisement from a process that has no [`RouterSockets`].
///
/// # Errors
///
/// Those of [`RouterSockets::send`], or the kernel refuses the socket.
pub fn send_advertisement(
    link: u32,
    (source, destination): (IpAddr, IpAddr),
    payload: &[u8],
) -> io::Result<()> {
    let socket = if source.is_ipv4() { speak_v4()? } else { speak_v6()? };
    send_by(&socket, link, (source, destination), payload)
}

fn send_by(
    socket: &Socket,
    link: u32,
    between: (IpAddr, IpAddr),
    payload: &[u8],
) -> io::Result<()> {
    let data = [IoSlice::new(payload)];
    let flags = MsgFlags::MSG_DONTWAIT;
    match between {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let info = info_v4(link, source)?;
            let control = [ControlMessage::Ipv4PacketInfo(&info)];
            let [a, b, c, d] = destination.octets();
            let to = SockaddrIn::new(a, b, c, d, 0);
            sendmsg(socket.as_raw_fd(), &data, &control, flags, Some(&to))?;
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
                ipi6_ifindex: link,
            };
            let control = [ControlMessage::Ipv6PacketInfo(&info)];
            let to = std::net::SocketAddrV6::new(destination, 0, 0, scope(destination, link));
            let to = SockaddrIn6::from(to);
            sendmsg(socket.as_raw_fd(), &data, &control, flags, Some(&to))?;
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
    }
    Ok(())
}

fn received(length: usize, from: LinkAddr) -> Option<ReceivedPacket> {
    let link = u32::try_from(from.ifindex()).ok()?;
    let hardware = from.addr().map(HardwareAddress).filter(|HardwareAddress(it)| *it != [0; 6]);
    (from.pkttype() != OTHER_HOST).then_some(ReceivedPacket { length, link, hardware })
}

fn info_v4(link: u32, source: Ipv4Addr) -> io::Result<libc::in_pktinfo> {
    let index = libc::c_int::try_from(link).map_err(|_| io::ErrorKind::InvalidInput)?;
    let address = libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) };
    Ok(libc::in_pktinfo {
        ipi_ifindex: index,
        ipi_spec_dst: address,
        ipi_addr: libc::in_addr { s_addr: 0 },
    })
}

/// Addresses that only a link knows need it said.
fn scope(destination: Ipv6Addr, link: u32) -> u32 {
    let local = destination.is_unicast_link_local() || destination.is_multicast();
    if local { link } else { 0 }
}

fn hear(protocol: u16, program: Vec<SockFilter>) -> io::Result<AsyncFd<Socket>> {
    let socket = claimants::open(protocol, &program)?;
    #[expect(deprecated, reason = "the new name is unsafe; this socket owns its descriptor")]
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// What speaks hears nothing: the packet sockets do.
fn speak(domain: Domain) -> io::Result<Socket> {
    let protocol = Protocol::from(i32::from(PROTOCOL));
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.attach_filter(&filter::nothing())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn speak_v4() -> io::Result<Socket> {
    let socket = speak(Domain::IPV4)?;
    socket.set_multicast_ttl_v4(HOP_LIMIT.into())?;
    socket.set_ttl_v4(HOP_LIMIT.into())?;
    socket.set_multicast_loop_v4(false)?;
    socket.set_tos_v4(CLASS)?;
    Ok(socket)
}

fn speak_v6() -> io::Result<Socket> {
    let socket = speak(Domain::IPV6)?;
    socket.set_multicast_hops_v6(HOP_LIMIT.into())?;
    socket.set_unicast_hops_v6(HOP_LIMIT.into())?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_tclass_v6(CLASS)?;
    Ok(socket)
}
