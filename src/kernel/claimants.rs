//! Hears who else says that an address of ours is at his interface.
//!
//! Two packet sockets for all links, one for ARP and one for neighbour advertisements, with a
//! `filter` each, so that they wake us only for frames about our addresses: answers to what
//! `Announcer::probe` asks, and announcements of others. `apply` tells the protocol of those that
//! are about a group that is held here or was asked about.
//!
//! ```text
//!   link --> filter (in the kernel) --> Claimants::receive --> apply --> KernelEvent::Claimed
//! ```
//!
//! A flood is no danger: at most [`CLAIMS_PER_SECOND`] frames are read, the rest fills a small
//! buffer and is dropped by the kernel at the price of the filter; that is counted. Where the
//! sockets cannot be opened nobody is heard, which is told once: then nothing is known of others,
//! as if nobody answered.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::counters::Counters;
use super::reconcile::Reconciler;
use super::{arp, filter, ndp};
use crate::protocol::{GroupKey, HardwareAddress, Instant};

/// Frames read in a second at most, of both families together. Twice what a takeover of 64 nodes'
/// worth of groups makes; about a thousandth of a core.
const CLAIMS_PER_SECOND: u32 = 1000;
/// Frames read before other work gets its turn.
const READ_MAX: usize = 64;
/// What waits unread: some hundred frames. Older ones say nothing any more.
const BUFFER: usize = 64 * 1024;
/// An answer that comes so long after its question is still told, however late it is read. ARP is
/// answered within a millisecond (0.5 ms measured); a host that takes longer has other troubles,
/// but exists.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// Ethernet protocol numbers.
pub(super) const ARP: u16 = 0x0806;
/// See [`ARP`].
pub(super) const IPV6: u16 = 0x86dd;
/// An advertisement with all its options is shorter.
pub(super) const FRAME_MAX: usize = 512;

/// Somebody's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    /// What he says he has.
    address: IpAddr,
    /// Where.
    hardware: HardwareAddress,
    /// The index of the link on which it was said, if the kernel told.
    link: Option<u32>,
    /// Whom it answers, if it has the form of an answer to a question to one host alone.
    asker: Option<IpAddr>,
}

/// A question about a group.
#[derive(Clone, Copy, Debug)]
struct Question {
    at: Instant,
    /// Whether answers show by themselves that they are to a question to one host alone: none could
    /// be sent otherwise, and then every answer counts as one.
    told_apart: bool,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Claimants {
    arp: Option<AsyncFd<Socket>>,
    advertisements: Option<AsyncFd<Socket>>,
    /// The addresses that the filters are made for.
    addresses: BTreeSet<IpAddr>,
    /// When each group was last asked about.
    asked: BTreeMap<GroupKey, Question>,
    /// The second for which is counted, and how much was read in it.
    second: Instant,
    read: u32,
}

impl Claimants {
    /// Begins to listen, for no address yet. To be called within the runtime.
    pub(super) fn open() -> Self {
        let mut claimants = Self {
            arp: None,
            advertisements: None,
            addresses: BTreeSet::new(),
            asked: BTreeMap::new(),
            second: Instant::START,
            read: 0,
        };
        let none = BTreeSet::new();
        let opened = listen(ARP, &filter::arp(&none)).and_then(|arp| {
            claimants.arp = Some(arp);
            claimants.advertisements = Some(listen(IPV6, &filter::advertisement(&none))?);
            Ok(())
        });
        if let Err(error) = opened {
            tracing::warn!(%error, "address conflicts are not detected");
        }
        claimants
    }

    /// Listens for these addresses from now on.
    pub(super) fn listen_for(&mut self, addresses: BTreeSet<IpAddr>) {
        if self.addresses == addresses {
            return;
        }
        let attach = |socket: &Option<AsyncFd<Socket>>, program: Vec<SockFilter>| match socket {
            Some(socket) => socket.get_ref().attach_filter(&program),
            None => Ok(()),
        };
        let attached = attach(&self.arp, filter::arp(&addresses))
            .and_then(|()| attach(&self.advertisements, filter::advertisement(&addresses)));
        match attached {
            Ok(()) => self.addresses = addresses,
            Err(error) => tracing::warn!(%error, "conflicts of new addresses are not detected"),
        }
    }

    /// Waits until there is something to read, and leave to read it. May be cancelled at any time.
    pub(super) async fn readable(&self) {
        let (Some(arp), Some(advertisements)) = (&self.arp, &self.advertisements) else {
            return std::future::pending().await;
        };
        if self.is_flooded() {
            return std::future::pending().await;
        }
        let guard = tokio::select! {
            guard = arp.readable() => guard,
            guard = advertisements.readable() => guard,
        };
        if let Ok(mut guard) = guard {
            guard.retain_ready();
        }
    }

    /// When reading goes on after a flood, or an answer that can still be read would be too late.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.is_flooded() {
            return Some(self.second + Duration::from_secs(1));
        }
        self.asked.values().map(|asked| asked.at + ANSWERS_WITHIN).min()
    }

    /// Whether the time of a question is over: [`Claimants::hear`] reads its last answers.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        !self.is_flooded() && self.asked.values().any(|asked| now.since(asked.at) >= ANSWERS_WITHIN)
    }

    fn is_flooded(&self) -> bool {
        self.read >= CLAIMS_PER_SECOND
    }

    /// Counts again when a second has passed. To be called before [`Claimants::readable`].
    pub(super) fn note_time(&mut self, now: Instant) {
        if now.since(self.second) >= Duration::from_secs(1) {
            (self.second, self.read) = (now, 0);
        }
    }

    /// Notes that the group is being asked about, and whether answers to questions to one host alone
    /// are told apart from others.
    pub(super) fn asked(&mut self, group: GroupKey, told_apart: bool, now: Instant) {
        self.asked.insert(group, Question { at: now, told_apart });
    }

    /// Reads what is there, without waiting. Tells of those who are not this host and claim what
    /// is here, or what was asked about, and whether that answers a question to one host alone.
    pub(super) fn hear(
        &mut self,
        reconciler: &Reconciler,
        counters: &Counters,
        now: Instant,
    ) -> BTreeMap<(GroupKey, HardwareAddress), bool> {
        let (claims, all) = self.receive(counters);
        let host = reconciler.host();
        let told = |claim: &Claim| {
            let (group, wanted) = reconciler.meant(claim.address, claim.link)?;
            let asked = self.asked.get(&group);
            let direct = claim.asker.is_some_and(|asker| host.has_own(asker))
                || asked.is_some_and(|asked| !asked.told_apart);
            let told = (wanted || asked.is_some()) && !host.is_own(claim.hardware.0);
            told.then_some((group, claim.hardware, direct))
        };
        let mut claimants = BTreeMap::new();
        for (group, hardware, direct) in claims.iter().filter_map(told) {
            *claimants.entry((group, hardware)).or_default() |= direct;
        }
        // Only now: on a busy host what was answered in time may be read much later.
        if all {
            self.asked.retain(|_, asked| now.since(asked.at) < ANSWERS_WITHIN);
        }
        claimants
    }

    /// Returns what is said, and whether no more waits to be read.
    fn receive(&mut self, counters: &Counters) -> (BTreeSet<Claim>, bool) {
        let (mut claims, mut left) = (BTreeSet::new(), 0);
        for socket in [&self.arp, &self.advertisements].into_iter().flatten() {
            left += 1;
            for _ in 0..READ_MAX {
                let mut frame = [0; FRAME_MAX];
                // At first without the runtime, which may not know yet that something came.
                let read = read(socket.get_ref(), &mut frame).or_else(|_| {
                    socket.try_io(Interest::READABLE, |socket| read(socket, &mut frame))
                });
                // What cannot be read now may be read later; an interface that went down is told
                // here once.
                let Ok((length, from)) = read else {
                    left -= 1;
                    break;
                };
                self.read += 1;
                let packet = frame.get(..length).unwrap_or_default();
                claims
                    .extend(claim(packet, from).filter(|it| self.addresses.contains(&it.address)));
            }
        }
        counters.claims_heard.add(claims.len());
        counters.claims_floods.add(usize::from(self.is_flooded()));
        (claims, left == 0)
    }
}

/// Listens for what some hosts say of themselves, for a single question.
#[derive(Debug)]
pub(super) struct Answers {
    arp: AsyncFd<Socket>,
    advertisements: AsyncFd<Socket>,
    addresses: BTreeSet<IpAddr>,
}

impl Answers {
    /// Listens from now on. To be called within the runtime.
    pub(super) fn listen(addresses: BTreeSet<IpAddr>) -> io::Result<Self> {
        Ok(Self {
            arp: listen(ARP, &filter::arp(&addresses))?,
            advertisements: listen(IPV6, &filter::advertisement(&addresses))?,
            addresses,
        })
    }

    /// Ends it, without making the caller wait for the kernel.
    pub(super) fn close(self) {
        close([self.arp.into_inner(), self.advertisements.into_inner()]);
    }

    /// Waits until one of the hosts says something; returns which, and on which link.
    pub(super) async fn next(&self) -> (IpAddr, Option<u32>) {
        loop {
            let (mut one, mut other) = ([0; FRAME_MAX], [0; FRAME_MAX]);
            let (heard, frame) = tokio::select! {
                heard = next_frame(&self.arp, &mut one) => (heard, &one),
                heard = next_frame(&self.advertisements, &mut other) => (heard, &other),
            };
            match heard {
                Ok((length, from)) => {
                    let said = claim(frame.get(..length).unwrap_or_default(), from);
                    if let Some(said) = said.filter(|it| self.addresses.contains(&it.address)) {
                        return (said.address, said.link);
                    }
                }
                // Told once when an interface goes down; the limit passes all the same.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }
}

async fn next_frame(
    socket: &AsyncFd<Socket>,
    frame: &mut [u8],
) -> io::Result<(usize, Option<LinkAddr>)> {
    socket.async_io(Interest::READABLE, |socket| read(socket, frame)).await
}

/// Reads what is there, without waiting.
pub(super) fn read(socket: &Socket, frame: &mut [u8]) -> io::Result<(usize, Option<LinkAddr>)> {
    Ok(recvfrom::<LinkAddr>(socket.as_raw_fd(), frame)?)
}

/// What a packet says. IPv6 begins with its version, ARP with the kind of hardware.
fn claim(packet: &[u8], from: Option<LinkAddr>) -> Option<Claim> {
    let link = from.and_then(|from| u32::try_from(from.ifindex()).ok());
    let (address, hardware, asker) = if packet.first().is_some_and(|first| first >> 4 == 6) {
        let (address, hardware) = ndp::advertised(packet)?;
        let hardware = hardware.or_else(|| from?.addr())?;
        (IpAddr::from(address), hardware, ndp::answered(packet).map(IpAddr::from))
    } else {
        let (address, hardware) = arp::sender(packet)?;
        (IpAddr::from(address), hardware, arp::answered(packet).map(IpAddr::from))
    };
    Some(Claim { address, hardware: HardwareAddress(hardware), link, asker })
}

/// A socket for one protocol on all links, which sees nothing before its filter is there but what
/// came in between.
fn listen(protocol: u16, program: &[SockFilter]) -> io::Result<AsyncFd<Socket>> {
    let socket = open(protocol, program)?;
    #[expect(deprecated, reason = "the new name is unsafe; this socket owns its descriptor")]
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// The kernel takes 10 to 20 ms to close a packet socket. To be called within the runtime.
pub(super) fn close(sockets: [Socket; 2]) {
    drop(tokio::task::spawn_blocking(move || drop(sockets)));
}

/// The same for who looks into it by himself.
pub(super) fn open(protocol: u16, program: &[SockFilter]) -> io::Result<Socket> {
    let number = i32::from(protocol.to_be());
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(number)))?;
    socket.attach_filter(program)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_are_understood_and_noise_is_not() {
        let hardware = [2, 0, 0, 0, 0, 7];
        let frame = arp::announcement(hardware, [10, 0, 0, 1].into(), arp::Operation::Request);
        let heard = claim(&frame[14..], None);
        let wanted = Claim {
            address: IpAddr::from([10, 0, 0, 1]),
            hardware: HardwareAddress(hardware),
            link: None,
            asker: None,
        };
        assert_eq!(heard, Some(wanted));
        let source = "fe80::7".parse().unwrap();
        let speaker = ndp::Speaker { hardware, source, router: false };
        let frame = ndp::announcement(&speaker, "fd77::100".parse().unwrap());
        let heard = claim(&frame[14..], None).map(|claim| (claim.address, claim.hardware));
        assert_eq!(heard, Some(("fd77::100".parse().unwrap(), HardwareAddress(hardware))));
        for length in 0..=28 {
            assert_eq!(claim(&vec![0x60; length], None), None);
            assert_eq!(claim(&vec![0; length], None), None);
        }
    }
}
