//! Opens the socket of one path.
//!
//! What makes a socket better but is not needed (a large buffer, priority in the network, times
//! of arrival, a count of drops) is asked for and done without where the kernel refuses.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Holds what 63 peers send in a stall of one second, at about 2 KiB of kernel memory for each of
/// 630 heartbeats, and the claims on top.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Class selector 6 (RFC 2474), as routing protocols have it: switches drop it last.
const TRAFFIC_CLASS: u32 = 0xc0;

/// Why a path has no socket. Nothing was changed.
#[derive(Debug)]
pub enum BindError {
    /// Another program has the port.
    Busy {
        /// Address and port.
        local: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The port may not be used by this user.
    NotPermitted {
        /// Address and port.
        local: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The address cannot be used on this host.
    Unusable {
        /// Address and port.
        local: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { local, .. } => write!(
                out,
                "UDP port {} on {} is in use: stop the other program (another buoy?) or set \
                 another [cluster] port on every node",
                local.port(),
                local.ip()
            ),
            Self::NotPermitted { local, .. } => write!(
                out,
                "no permission for UDP port {} on {}: choose a [cluster] port above 1023 or \
                 grant CAP_NET_BIND_SERVICE",
                local.port(),
                local.ip()
            ),
            Self::Unusable { local, source } => write!(
                out,
                "UDP port {} on {} cannot be used ({source}): check this node's addresses, and \
                 for an IPv6 address that this host has IPv6 enabled",
                local.port(),
                local.ip()
            ),
        }
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Busy { source, .. }
            | Self::NotPermitted { source, .. }
            | Self::Unusable { source, .. } => Some(source),
        }
    }
}

/// A bound socket.
pub(super) struct OpenSocket {
    pub(super) socket: UdpSocket,
    /// With the port that the kernel chose if it was left to.
    pub(super) local: SocketAddr,
    /// Bytes granted.
    pub(super) receive_buffer: usize,
}

/// Opens and binds.
pub(super) fn open(local: SocketAddr) -> Result<OpenSocket, BindError> {
    open_raw(local).map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            BindError::Busy { local, source }
        } else if source.kind() == io::ErrorKind::PermissionDenied {
            BindError::NotPermitted { local, source }
        } else {
            BindError::Unusable { local, source }
        }
    })
}

fn open_raw(local: SocketAddr) -> io::Result<OpenSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
        // Refusals cost priority in the network, nothing else.
        let _ = socket.set_tclass_v6(TRAFFIC_CLASS);
    } else {
        socket.set_freebind_v4(true)?;
        let _ = socket.set_tos_v4(TRAFFIC_CLASS);
        // By which device datagrams come, for when there is no route (see `last_words`).
        let _ = setsockopt(&socket, sockopt::Ipv4PacketInfo, &true);
    }
    // Beyond the limit for everybody if this process may, else up to it.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    }
    // Without these, arrival times and drops are told as unknown.
    let _ = setsockopt(&socket, sockopt::ReceiveTimestampns, &true);
    let _ = setsockopt(&socket, sockopt::RxqOvfl, &1);
    socket.bind(&SockAddr::from(local))?;
    let receive_buffer = socket.recv_buffer_size()?;
    let socket = UdpSocket::from(socket);
    let local = SocketAddr::new(local.ip(), socket.local_addr()?.port());
    Ok(OpenSocket { socket, local, receive_buffer })
}
