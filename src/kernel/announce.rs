//! Tells the neighbourhood where addresses are.
//!
//! `apply` asks for one round for one group, and only while the group is present; repeats and
//! pacing are decided in `protocol`. One packet socket per link is opened when it is first needed
//! and kept; a link that was deleted and made again has another index, hence another socket. The
//! sockets receive nothing (their protocol is 0, so the kernel never copies a packet for them) and
//! never make us wait: what does not fit is counted and lost, as any frame may be, but some thousand
//! frames fit. The hardware address is taken from what was last told of the link, so it may change at
//! any time.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::IntoRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};
use pnet_datalink::{Channel, ChannelType, DataLinkSender, NetworkInterface};

use super::arp::{self, Operation};
use super::counters::Counters;
use super::links::{Host, Link};
use super::ndp::{self, Speaker};
use super::{StartError, Vouched};
use crate::protocol::HardwareAddress;

/// Frames to hosts alone for one question at most: all cards of a host that is told of
/// ([`HARDWARE_MAX`](crate::protocol::HARDWARE_MAX)) for two addresses. One that it answers is enough.
const DIRECTED_MAX: usize = 16;

/// Bytes that may wait for a link: two frames of 768 bytes, as the kernel counts them, for each of 2700
/// addresses. The kernel's default has room for 138.
const ON_ITS_WAY: usize = 4 * 1024 * 1024;

/// Sends announcements.
///
/// What it says of addresses is no packet of the host that the gate would see: so nothing is said
/// while nobody vouches for this node, as after a moment in which this process stood still.
#[derive(Default)]
pub(super) struct Announcer {
    /// `None` without a fence.
    pub(super) vouched: Option<Vouched>,
    senders: BTreeMap<u32, Box<dyn DataLinkSender>>,
}

impl Announcer {
    /// Announces each address once on its link.
    pub(super) fn announce(
        &mut self,
        addresses: &[(&Link, IpAddr)],
        host: &Host,
        counters: &Counters,
    ) {
        self.senders.retain(|index, _| host.link(*index).is_some());
        let mut routers = BTreeMap::new();
        for (link, address) in addresses {
            let Some(hardware) = link.hardware.filter(|_| !link.loopback) else { continue };
            if !self.may_speak() {
                counters.announcements_ignored.add(1);
                continue;
            }
            let sent = match *address {
                IpAddr::V4(address) => {
                    let request = arp::announcement(hardware, address, Operation::Request);
                    let reply = arp::announcement(hardware, address, Operation::Reply);
                    self.send(link, &request).and_then(|()| self.send(link, &reply))
                }
                IpAddr::V6(address) => {
                    let router = *routers.entry(link.index).or_insert_with(|| forwards(link));
                    let source = host.link_local(link.index).unwrap_or(address);
                    let speaker = Speaker { hardware, source, router };
                    self.send(link, &ndp::announcement(&speaker, address))
                }
            };
            match sent {
                Ok(()) => counters.announcements.add(1),
                Err(error) => {
                    counters.announcement_errors.add(1);
                    tracing::debug!(link = %link.name, %address, %error, "announcement not sent");
                }
            }
        }
    }

    /// Asks once who has each address, on its link, and then the hosts at some hardware addresses,
    /// each by frames to it alone. Returns whether there was any such frame.
    pub(super) fn probe(
        &mut self,
        addresses: &[(&Link, IpAddr)],
        at: &[HardwareAddress],
        host: &Host,
        counters: &Counters,
    ) -> bool {
        self.senders.retain(|index, _| host.link(*index).is_some());
        let to_all = addresses.iter().filter_map(|(link, address)| {
            question(link, *address, host).map(|frame| (*link, *address, frame))
        });
        // All hosts first: where a switch has lost the way to one, its answer shows it.
        let mut frames: Vec<(&Link, IpAddr, Vec<u8>)> = to_all.collect();
        let broadcast = frames.len();
        let to_one = addresses.iter().flat_map(|(link, address)| {
            at.iter().filter_map(|to| {
                let frame = directed_question(link, *address, to.0, host)?;
                Some((*link, *address, frame))
            })
        });
        frames.extend(to_one.take(DIRECTED_MAX));
        let directed = frames.len() > broadcast;
        for (link, address, frame) in frames {
            if let Err(error) = self.send(link, &frame) {
                counters.announcement_errors.add(1);
                tracing::debug!(link = %link.name, %address, %error, "probe not sent");
            }
        }
        directed
    }

    /// Tells one neighbour where an address is.
    pub(super) fn tell(
        &mut self,
        (link, address): (&Link, IpAddr),
        neighbour: (IpAddr, [u8; 6]),
        host: &Host,
    ) -> io::Result<()> {
        let Some(hardware) = link.hardware.filter(|_| self.may_speak()) else { return Ok(()) };
        match (address, neighbour) {
            (IpAddr::V4(address), (_, to)) => {
                let request = arp::directed(hardware, address, Operation::Request, to);
                let reply = arp::directed(hardware, address, Operation::Reply, to);
                self.send(link, &request).and_then(|()| self.send(link, &reply))
            }
            (IpAddr::V6(address), (IpAddr::V6(of), to)) => {
                let source = host.link_local(link.index).unwrap_or(address);
                let speaker = Speaker { hardware, source, router: forwards(link) };
                self.send(link, &ndp::directed(&speaker, address, (of, to)))
            }
            (IpAddr::V6(_), (IpAddr::V4(_), _)) => Ok(()),
        }
    }

    fn may_speak(&self) -> bool {
        self.vouched.as_ref().is_none_or(Vouched::holds)
    }

    /// Sends one frame, through a new socket if the old one does not work any more.
    pub(super) fn send(&mut self, link: &Link, frame: &[u8]) -> io::Result<()> {
        if let Some(sender) = self.senders.get_mut(&link.index) {
            match send_on(sender, frame) {
                Err(error) if error.kind() != io::ErrorKind::TimedOut => {
                    self.senders.remove(&link.index);
                }
                sent => return sent,
            }
        }
        let mut sender = open_on(&link.name, link.index)?;
        let sent = send_on(&mut sender, frame);
        self.senders.insert(link.index, sender);
        sent
    }
}

/// One frame that asks who has an address, on its link.
pub(super) fn question(link: &Link, address: IpAddr, host: &Host) -> Option<Vec<u8>> {
    let hardware = link.hardware.filter(|_| !link.loopback)?;
    Some(match address {
        IpAddr::V4(address) => arp::probe(hardware, address),
        IpAddr::V6(address) => {
            // Without a source it would be duplicate address detection (RFC 4862 5.4.2), which
            // could make somebody give up an address that is his.
            let source = host.link_local(link.index)?;
            ndp::solicitation(&Speaker { hardware, source, router: false }, address)
        }
    })
}

/// One frame that asks one host alone whether it has an address. `None` where this host has no address
/// of its own in that network: whoever checks where packets come from would not answer it.
fn directed_question(link: &Link, address: IpAddr, to: [u8; 6], host: &Host) -> Option<Vec<u8>> {
    let hardware = link.hardware.filter(|_| !link.loopback)?;
    Some(match address {
        IpAddr::V4(address) => {
            arp::question(hardware, host.own_beside(link.index, address)?, address, to)
        }
        IpAddr::V6(address) => {
            let source = host.link_local(link.index)?;
            let speaker = Speaker { hardware, source, router: false };
            ndp::directed_solicitation(&speaker, address, to)
        }
    })
}

fn send_on(sender: &mut Box<dyn DataLinkSender>, frame: &[u8]) -> io::Result<()> {
    sender.send_to(frame, None).unwrap_or(Ok(()))
}

/// Opens a way to send frames on a device.
pub(super) fn open_on(name: &str, index: u32) -> io::Result<Box<dyn DataLinkSender>> {
    let interface = NetworkInterface {
        name: name.to_owned(),
        description: String::new(),
        index,
        mac: None,
        ips: Vec::new(),
        flags: 0,
    };
    let config = pnet_datalink::linux::Config {
        // Protocol 0 on a socket of protocol 0: sends whole frames, receives none.
        channel_type: ChannelType::Layer3(0),
        promiscuous: false,
        write_timeout: Some(Duration::ZERO),
        socket_fd: Some(packet_socket()?),
        ..Default::default()
    };
    match pnet_datalink::linux::channel(&interface, config)? {
        Channel::Ethernet(sender, _) => Ok(sender),
        _ => Err(io::Error::from(io::ErrorKind::Unsupported)),
    }
}

fn packet_socket() -> io::Result<i32> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    // With the usual buffer less is on its way at most, and the rest is lost.
    if let Err(error) = setsockopt(&socket, sockopt::SndBufForce, &ON_ITS_WAY) {
        tracing::debug!(%error, "announcements of many addresses may get lost");
    }
    Ok(socket.into_raw_fd())
}

/// Whether the kernel lets us send frames of our own making.
pub(super) fn permitted() -> Result<(), StartError> {
    match socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None) {
        Ok(_) => Ok(()),
        Err(Errno::EPERM | Errno::EACCES) => {
            Err(StartError::NotPermitted { capability: "CAP_NET_RAW" })
        }
        Err(error) => Err(StartError::Netlink(error.into())),
    }
}

/// Whether the host forwards IPv6 packets that arrive on the link.
fn forwards(link: &Link) -> bool {
    let setting = format!("/proc/sys/net/ipv6/conf/{}/forwarding", link.name);
    fs::read_to_string(setting).is_ok_and(|text| text.trim_end() != "0")
}
