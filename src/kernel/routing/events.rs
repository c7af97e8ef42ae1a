//! Listens for changes of routes and rules that may be ours.
//!
//! What changed is not read: any event has the routes and rules compared again. A filter in the
//! kernel passes events of routes only with our protocol, so that a host with the routes of the
//! Internet costs nothing here.

use std::io;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use socket2::{SockFilter, SockRef};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::message::{DELETE_ROUTE, NEW_ROUTE};
use crate::netlink::DATAGRAM_MAX;

/// Multicast groups: IPv4 routes, IPv4 rules, IPv6 routes, IPv6 rules.
const GROUPS: u32 = 1 << 6 | 1 << 7 | 1 << 10 | 1 << 18;
/// Datagrams read before other work gets its turn; what is left wakes again.
const READ_MAX: usize = 1024;
/// Where a message has its kind, and a route its protocol.
const KIND_AT: u32 = 4;
const PROTOCOL_AT: u32 = 16 + 5;

/// The socket.
#[derive(Debug)]
pub(super) struct Events {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
}

impl Events {
    /// Begins to listen. To be called within the runtime.
    pub(super) fn open(protocol: u8) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        SockRef::from(&socket).attach_filter(&filter(protocol))?;
        socket.bind(&SocketAddr::new(0, GROUPS))?;
        #[expect(deprecated, reason = "the new name is unsafe; this socket owns its descriptor")]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM_MAX] })
    }

    /// Waits until there is something to read. May be cancelled at any time.
    pub(super) async fn readable(&self) {
        if let Ok(mut guard) = self.socket.readable().await {
            guard.retain_ready();
        }
    }

    /// Throws away what is there. Returns whether the socket still works; that events were lost
    /// tells as much as they would.
    pub(super) fn drain(&mut self) -> bool {
        for _ in 0..READ_MAX {
            let Self { socket, buffer } = self;
            let read = socket
                .try_io(Interest::READABLE, |socket| socket.recv(&mut buffer.as_mut_slice(), 0));
            match read {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => {}
                Err(_) => return false,
            }
        }
        true
    }
}

const ENOBUFS: i32 = 105;

/// Passes rules, and routes with this protocol.
fn filter(protocol: u8) -> Vec<SockFilter> {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    // The filter reads in network order what was written in that of this host.
    let kind = |kind: u16| u32::from(u16::from_be_bytes(kind.to_ne_bytes()));
    vec![
        SockFilter::new(LOAD_HALF, 0, 0, KIND_AT),
        SockFilter::new(JUMP_EQUAL, 1, 0, kind(NEW_ROUTE)),
        SockFilter::new(JUMP_EQUAL, 0, 2, kind(DELETE_ROUTE)),
        SockFilter::new(LOAD_BYTE, 0, 0, PROTOCOL_AT),
        SockFilter::new(JUMP_EQUAL, 0, 1, u32::from(protocol)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}
