//! What a node sends for a moment after its own address was taken off the host.
//!
//! Without the address there is no route to the peers either. They would miss the node only after the
//! detection time, and then ask its kernel, which answers for its groups. For [`FOR`] the datagrams leave
//! all the same: by the device by which the peers were last heard, as from the address that was there. So
//! the groups that the node lets go are taken at once. The node cannot be answered; after that time it is
//! silent, since one that hears nobody has no say in who owns what.
//!
//! Over IPv4 only: of a device that is given, its kernel takes every address to be on the link
//! (`ip_route_output_key_hash_rcu`). Takes `CAP_NET_RAW` or `CAP_NET_ADMIN`; without it, nothing is sent.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg, setsockopt, sockopt};

use crate::protocol::Instant;

/// Longer than it takes to let all groups go, and shorter than a host without its address waits before it
/// takes what is vacant.
const FOR: Duration = Duration::from_millis(500);

/// See the module's text. One for each path.
#[derive(Debug, Default)]
pub(super) struct LastWords {
    /// Index of the device by which a peer was last heard.
    device: Option<i32>,
    /// Since when nothing could be sent the usual way.
    since: Option<Instant>,
}

impl LastWords {
    /// Takes in by which device a peer was heard.
    pub(super) fn note_device(&mut self, device: Option<i32>) {
        if device.is_some() {
            self.device = device;
        }
    }

    /// Something could be sent the usual way.
    pub(super) fn end(&mut self) {
        self.since = None;
    }

    /// Sends from an address that is not on the host; `None` if the time for that is over, or it is not
    /// known by which device.
    pub(super) fn send(
        &mut self,
        (socket, from, to): (&UdpSocket, IpAddr, SocketAddr),
        datagram: &[u8],
        now: Instant,
    ) -> Option<io::Result<usize>> {
        let since = *self.since.get_or_insert(now);
        let (IpAddr::V4(from), SocketAddr::V4(to), Some(device)) = (from, to, self.device) else {
            return None;
        };
        if now.since(since) > FOR {
            return None;
        }
        let address = |octets: [u8; 4]| in_addr { s_addr: u32::from_ne_bytes(octets) };
        let by = in_pktinfo {
            ipi_ifindex: device,
            ipi_spec_dst: address(from.octets()),
            ipi_addr: address([0; 4]),
        };
        // The source is not checked of a transparent socket.
        if setsockopt(socket, sockopt::IpTransparent, &true).is_err() {
            return None;
        }
        let control = [ControlMessage::Ipv4PacketInfo(&by)];
        let (data, to) = ([IoSlice::new(datagram)], SockaddrIn::from(to));
        let (socket_number, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let sent = sendmsg(socket_number, &data, &control, flags, Some(&to));
        // Fails only for want of the capability, which was there.
        let _ = setsockopt(socket, sockopt::IpTransparent, &false);
        Some(sent.map_err(io::Error::from))
    }
}
