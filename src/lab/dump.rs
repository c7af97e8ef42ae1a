//! One kernel's links and addresses, read over netlink.
//!
//! Used to begin a history of ownership, to begin it again after lost messages, and by tests that
//! ask what a kernel holds at this moment. It reads only; nothing here changes a kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::namespace::{Namespace, NamespaceError};

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// Index of the interface.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
}

/// What a kernel has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelState {
    /// Every address, with its prefix length and the mark of who added it (0: nobody said).
    pub addresses: BTreeMap<Held, (u8, u8)>,
    /// Interfaces that are up and have carrier.
    pub running: BTreeSet<u32>,
    /// Names of all interfaces.
    pub names: BTreeMap<u32, String>,
}

impl KernelState {
    /// Reads all of it.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel refuses to tell.
    pub fn read(namespace: &Namespace) -> Result<Self, NamespaceError> {
        namespace
            .run(|| {
                let mut state = Self::default();
                let links = RouteNetlinkMessage::GetLink(LinkMessage::default());
                let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
                for request in [links, addresses] {
                    request_dump(request, |message| {
                        state.apply(message);
                    })?;
                }
                Ok(state)
            })?
            .map_err(|error| NamespaceError::System("read links and addresses", error))
    }

    /// Applies what a kernel has told, in a dump or as an event.
    pub fn apply(&mut self, message: &RouteNetlinkMessage) {
        // The messages are another crate's open enumeration: all others are not for us.
        if let RouteNetlinkMessage::NewLink(link) = message {
            let up = LinkFlags::Up | LinkFlags::LowerUp;
            if link.header.flags.contains(up) {
                self.running.insert(link.header.index);
            } else {
                self.running.remove(&link.header.index);
            }
            for attribute in &link.attributes {
                if let LinkAttribute::IfName(name) = attribute {
                    self.names.insert(link.header.index, name.clone());
                }
            }
        } else if let RouteNetlinkMessage::DelLink(link) = message {
            self.running.remove(&link.header.index);
            self.names.remove(&link.header.index);
        } else if let RouteNetlinkMessage::NewAddress(address) = message {
            if let Some(held) = held(address) {
                self.addresses.insert(held, (address.header.prefix_len, mark(address)));
            }
        } else if let RouteNetlinkMessage::DelAddress(address) = message
            && let Some(held) = held(address)
        {
            self.addresses.remove(&held);
        }
    }

    /// Every address that others can reach here: on an interface that is up and has carrier.
    #[must_use]
    pub fn reachable(&self) -> BTreeSet<IpAddr> {
        let on_running = |held: &&Held| self.running.contains(&held.interface);
        self.addresses.keys().filter(on_running).map(|held| held.address).collect()
    }

    /// Whether the kernel has the address, reachable or not.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        self.addresses.keys().any(|held| held.address == address)
    }
}

fn held(message: &AddressMessage) -> Option<Held> {
    let mut found = None;
    for attribute in &message.attributes {
        // The local address is the one that is held; the other may be a peer's.
        if let AddressAttribute::Local(address) = attribute {
            found = Some(*address);
        } else if let AddressAttribute::Address(address) = attribute {
            found = found.or(Some(*address));
        }
    }
    found.map(|address| Held { interface: message.header.index, address })
}

fn mark(message: &AddressMessage) -> u8 {
    for attribute in &message.attributes {
        if let AddressAttribute::Protocol(mark) = attribute {
            return u8::from(*mark);
        }
    }
    0
}

/// Sends one dump request and hands over each message of the answer.
fn request_dump(
    request: RouteNetlinkMessage,
    mut take: impl FnMut(&RouteNetlinkMessage),
) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut message = NetlinkMessage::from(request);
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.header.sequence_number = 1;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut done = false;
        parse(&datagram, |payload| {
            done |= matches!(payload, NetlinkPayload::Done(_));
            if let NetlinkPayload::InnerMessage(message) = &payload {
                take(message);
            }
            if let NetlinkPayload::Error(error) = &payload
                && error.code.is_some()
            {
                return Err(error.to_io());
            }
            Ok(())
        })?;
        if done {
            return Ok(());
        }
    }
}

/// Splits a datagram of netlink into its messages; what cannot be read is left out.
pub(crate) fn parse(
    datagram: &[u8],
    mut take: impl FnMut(NetlinkPayload<RouteNetlinkMessage>) -> io::Result<()>,
) -> io::Result<()> {
    let mut rest = datagram;
    while let Some(length) = rest.first_chunk::<4>() {
        let length = usize::try_from(u32::from_ne_bytes(*length)).unwrap_or(usize::MAX);
        let Some(bytes) = rest.get(..length).filter(|_| length >= 16) else { return Ok(()) };
        if let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) {
            take(message.payload)?;
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}
