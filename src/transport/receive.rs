//! One datagram out of a socket, with the time at which the kernel had it.
//!
//! After a stall the queue holds old evidence: the kernel's time tells how old. Errors that a
//! socket reports while receiving are echoes of what was sent; they are counted, and the socket
//! is read again.

use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::in_pktinfo;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use nix::sys::time::TimeSpec;

use super::counters::PathCounters;
use crate::wire::DATAGRAM_MAX;

/// A datagram that came in.
#[derive(Debug)]
pub struct Received<'a> {
    /// Its bytes; one more than allowed if it was longer than that.
    pub datagram: &'a mut [u8],
    /// When the kernel had it, since 1970; `None` if the kernel does not tell.
    pub kernel_time: Option<Duration>,
    /// Who sent it, as far as its header can be believed.
    pub from: SocketAddr,
    /// Whether that is an address of a peer.
    pub known: bool,
    /// On which path it came.
    pub path: usize,
}

/// Buffers for one datagram, used again for each.
#[derive(Debug)]
pub(super) struct Intake {
    /// One byte more than a datagram may have, so that longer ones are noticed.
    datagram: [u8; DATAGRAM_MAX + 1],
    control: Vec<u8>,
}

/// What one attempt brought.
pub(super) enum Outcome {
    /// Nothing waits.
    Empty,
    /// Something waited, but no datagram.
    Dropped,
    /// A datagram, at the front of the buffer.
    Datagram {
        length: usize,
        kernel_time: Option<Duration>,
        from: SocketAddr,
        known: bool,
        /// Index of the device by which it came, over IPv4.
        device: Option<i32>,
    },
}

impl Intake {
    pub(super) fn new() -> Self {
        Self {
            datagram: [0; DATAGRAM_MAX + 1],
            control: nix::cmsg_space!(TimeSpec, u32, in_pktinfo),
        }
    }

    /// The bytes of the datagram just received.
    pub(super) fn datagram(&mut self, length: usize) -> &mut [u8] {
        let length = length.min(self.datagram.len());
        &mut self.datagram[..length]
    }

    pub(super) fn receive(
        &mut self,
        socket: &UdpSocket,
        counters: &mut PathCounters,
        known: impl Fn(IpAddr) -> bool,
    ) -> Outcome {
        let mut slices = [IoSliceMut::new(&mut self.datagram)];
        let control = Some(self.control.as_mut_slice());
        let flags = MsgFlags::MSG_DONTWAIT;
        let message =
            match recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, control, flags) {
                Ok(message) => message,
                Err(Errno::EAGAIN) => return Outcome::Empty,
                Err(Errno::EINTR) => return Outcome::Dropped,
                Err(_) => {
                    counters.receive_errors += 1;
                    return Outcome::Dropped;
                }
            };
        let (mut kernel_time, mut device) = (None, None);
        for control in message.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::ScmTimestampns(time) = control {
                kernel_time = since_epoch(time);
            } else if let ControlMessageOwned::RxqOvfl(dropped) = control {
                counters.dropped_by_kernel = dropped;
            } else if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
                device = Some(info.ipi_ifindex);
            }
        }
        match message.address.as_ref().and_then(socket_address) {
            Some(from) => {
                let known = known(from.ip());
                let counter =
                    if known { &mut counters.received } else { &mut counters.unknown_senders };
                *counter += 1;
                Outcome::Datagram { length: message.bytes, kernel_time, from, known, device }
            }
            None => Outcome::Dropped,
        }
    }
}

fn since_epoch(time: TimeSpec) -> Option<Duration> {
    let seconds = u64::try_from(time.tv_sec()).ok()?;
    let nanos = u32::try_from(time.tv_nsec()).ok()?;
    Some(Duration::new(seconds, nanos))
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(address) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4((*address).into()));
    }
    address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into()))
}
