//! Listens to the kernel's events about links and addresses, and asks for complete dumps.
//!
//! Called by `apply`. Events lost to a full socket buffer, and a socket that broke, are reported
//! as such; the caller then asks for a dump. What was queued before the dump is thrown away,
//! what comes after it is newer than the dump or repeats it, so that in the end the view is right.

use std::io;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::links::{self, Observation, Place};
use super::mark::{Found, Mark};
use crate::netlink::{Conversation, DATAGRAM_MAX, DUMP, messages};

/// Room for the events of some 10 000 addresses changed at once, while this thread does not run.
const BUFFER: usize = 8 * 1024 * 1024;
/// Datagrams read before other work gets its turn.
const READ_MAX: usize = 256;
/// Multicast groups: links, IPv4 addresses, IPv6 addresses.
const GROUPS: u32 = 1 | 1 << 4 | 1 << 8;
const GET_LINK: u16 = 18;
const GET_ADDRESS: u16 = 22;
const ENOBUFS: i32 = 105;

/// What became of reading.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Everything was read.
    All,
    /// There may be more.
    More,
    /// Events were lost.
    Overrun,
    /// The socket must be opened again.
    Broken,
}

/// The socket that events arrive at.
#[derive(Debug)]
pub(super) struct Watch {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
    mark: Mark,
}

impl Watch {
    /// Begins to listen. To be called within the runtime.
    pub(super) fn open(mark: Mark) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        // Forcing needs more rights than a user namespace has; then the host's limit applies.
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &BUFFER)?;
        }
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, GROUPS))?;
        #[expect(deprecated, reason = "the new name is unsafe; this socket owns its descriptor")]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM_MAX], mark })
    }

    /// Waits until there is something to read. May be cancelled at any time.
    pub(super) async fn readable(&self) {
        if let Ok(mut guard) = self.socket.readable().await {
            guard.retain_ready();
        }
    }

    /// Reads what is there, without waiting.
    pub(super) fn receive(&mut self, mut take: impl FnMut(Observation)) -> Received {
        for _ in 0..READ_MAX {
            let Self { socket, buffer, mark } = self;
            let read = socket
                .try_io(Interest::READABLE, |socket| socket.recv(&mut buffer.as_mut_slice(), 0));
            let length = match read {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Received::All,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => return Received::Overrun,
                Err(_) => return Received::Broken,
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            messages(datagram)
                .filter_map(|message| Observation::read(&message, *mark))
                .for_each(&mut take);
        }
        Received::More
    }

    /// Throws away what is waiting, because a complete view is about to be asked for.
    pub(super) fn discard(&mut self) -> Received {
        loop {
            match self.receive(drop) {
                Received::More | Received::Overrun => {}
                Received::All => return Received::All,
                Received::Broken => return Received::Broken,
            }
        }
    }
}

/// Asks for all links and addresses; those with this mark are ours.
pub(super) fn dump(mark: Mark) -> io::Result<Vec<Observation>> {
    let mut conversation = Conversation::open(NETLINK_ROUTE)?;
    let mut found = Vec::new();
    // Both begin with a family, which is 0 for all; what follows may be 0 as well.
    for (kind, body) in [(GET_LINK, [0_u8; 16].as_slice()), (GET_ADDRESS, [0_u8; 8].as_slice())] {
        conversation.ask(kind, DUMP, body, |message| {
            found.extend(Observation::read(&message, mark));
            true
        })?;
    }
    Ok(found)
}

/// Asks for all addresses that daemons added, of whatever cluster.
pub(super) fn dump_marks() -> io::Result<Vec<(Place, Found)>> {
    let mut conversation = Conversation::open(NETLINK_ROUTE)?;
    let mut found = Vec::new();
    conversation.ask(GET_ADDRESS, DUMP, &[0; 8], |message| {
        found.extend(links::read_mark(&message));
        true
    })?;
    Ok(found)
}

/// The addresses of ours in a dump.
pub(super) fn ours(observations: &[Observation]) -> impl Iterator<Item = Place> + '_ {
    observations.iter().filter_map(|observation| match observation {
        Observation::Address(it) if it.ours => Some(it.place),
        Observation::Address(_)
        | Observation::AddressGone(_)
        | Observation::Link(_)
        | Observation::LinkGone(_) => None,
    })
}
