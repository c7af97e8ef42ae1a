//! What is known of the host's links and addresses, and which link an address belongs on.
//!
//! Filled by `watch` with what the kernel told (by event or by dump), asked by `reconcile`. Pure:
//! nothing here talks to the kernel. Reading is lenient, see `netlink`.
//!
//! An address is *ours* when it bears the mark of our cluster, see `mark`.
//!
//! A link is *usable* when it is up, has carrier, and is not the port of a bridge, bond or team
//! (addresses stay on such a port but are not reachable there).

use std::net::IpAddr;

pub(super) use self::host::{Carries, Host, Network, bits};
use super::mark::{self, Mark};
use crate::netlink::{Message, attributes, u32_at};

mod host;
#[cfg(test)]
mod tests;

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
/// Bridges tell of their ports in link messages of their own family; these are not about links.
const FAMILY_UNSPECIFIED: u8 = 0;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;
const FLAG_UP: u32 = 1;
const FLAG_LOOPBACK: u32 = 1 << 3;
const FLAG_RUNNING: u32 = 1 << 6;
const FLAG_NO_ARP: u32 = 1 << 7;
const FLAG_LOWER_UP: u32 = 1 << 16;
const HARDWARE_ETHERNET: u16 = 1;
const LINK_ADDRESS: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_MASTER: u16 = 10;
const LINK_INFO: u16 = 18;
const LINK_INFO_KIND: u16 = 1;
const LINK_INFO_PORT_KIND: u16 = 4;
const ADDRESS_ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ADDRESS_FLAGS: u16 = 8;
const ADDRESS_PRIORITY: u16 = 9;
const ADDRESS_PROTOCOL: u16 = 11;
const ADDRESS_FLAG_SECONDARY: u32 = 0x01;
const ADDRESS_FLAG_DUPLICATE: u32 = 0x08;
const ADDRESS_FLAG_TENTATIVE: u32 = 0x40;

/// Where exactly an address is. Ordered by address first, so that all places of one address are
/// neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    /// The address itself.
    pub(super) address: IpAddr,
    /// The index of the link that bears it.
    pub(super) link: u32,
    /// Length of its prefix in bits.
    pub(super) prefix: u8,
}

/// Whether an address that is there can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It can.
    Ready,
    /// Duplicate address detection has not ended.
    Tentative,
    /// Somebody else has it.
    Duplicate,
}

/// An address on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Where it is.
    pub(super) place: Place,
    /// The address that names the connected network: that of the other end on point-to-point
    /// links, else the address itself.
    pub(super) network: IpAddr,
    /// Whether it bears our mark.
    pub(super) ours: bool,
    /// Whether it can be used.
    pub(super) readiness: Readiness,
    /// IPv4: the kernel has it as the first of its network and prefix on the link. The others are
    /// secondary: they make no route and, by default, are removed with it.
    pub(super) primary: bool,
}

/// A link of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// Its index, the same for its whole life and through renaming.
    pub(super) index: u32,
    /// Its name.
    pub(super) name: String,
    /// Its hardware address, if it is an Ethernet.
    pub(super) hardware: Option<[u8; 6]>,
    /// See the module's text.
    pub(super) usable: bool,
    /// Nothing is announced here.
    pub(super) loopback: bool,
    /// Nobody asks for an address here: the loopback, a dummy, a tunnel.
    pub(super) silent: bool,
    /// It is a bridge.
    pub(super) bridge: bool,
    /// Its other end is mostly on this host too: of a container or a virtual machine.
    pub(super) inner: bool,
    /// The bridge, bond or VRF that it is a port of.
    pub(super) master: Option<u32>,
}

/// One thing that the kernel told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Observation {
    /// The link exists, as told.
    Link(Link),
    /// The link with this index is gone.
    LinkGone(u32),
    /// The address exists, as told.
    Address(Address),
    /// The address is gone.
    AddressGone(Place),
}

impl Observation {
    /// Reads a message; `None` if it is none of these. Addresses with this mark are ours.
    pub(super) fn read(message: &Message<'_>, mark: Mark) -> Option<Self> {
        match message.kind {
            NEW_LINK => read_link(message.body).map(Self::Link),
            DELETE_LINK => read_link(message.body).map(|link| Self::LinkGone(link.index)),
            NEW_ADDRESS => read_address(message.body, mark).map(|(it, _)| Self::Address(it)),
            DELETE_ADDRESS => {
                read_address(message.body, mark).map(|(it, _)| Self::AddressGone(it.place))
            }
            _ => None,
        }
    }
}

fn read_link(body: &[u8]) -> Option<Link> {
    if *body.first()? != FAMILY_UNSPECIFIED {
        return None;
    }
    let hardware_kind = crate::netlink::u16_at(body, 2)?;
    let flags = u32_at(body, 8)?;
    let mut routed_master = false;
    let mut link = Link {
        index: u32_at(body, 4)?,
        loopback: flags & FLAG_LOOPBACK != 0,
        silent: flags & (FLAG_LOOPBACK | FLAG_NO_ARP) != 0,
        ..Link::default()
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            LINK_NAME => link.name = text(value),
            LINK_ADDRESS if hardware_kind == HARDWARE_ETHERNET => {
                link.hardware = value.try_into().ok();
            }
            LINK_MASTER => link.master = u32_at(value, 0).filter(|master| *master != 0),
            LINK_INFO => {
                for (kind, value) in attributes(value) {
                    match (kind, text(value).as_str()) {
                        (LINK_INFO_KIND, "bridge") => link.bridge = true,
                        (LINK_INFO_KIND, "veth" | "tun") => link.inner = true,
                        // The port of a VRF keeps its addresses and answers for them.
                        (LINK_INFO_PORT_KIND, "vrf") => routed_master = true,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let needed = FLAG_UP | FLAG_RUNNING | FLAG_LOWER_UP;
    link.usable = flags & needed == needed && (link.master.is_none() || routed_master);
    Some(link)
}

/// Reads where an address is that some daemon added, and what it bears.
pub(super) fn read_mark(message: &Message<'_>) -> Option<(Place, mark::Found)> {
    if message.kind != NEW_ADDRESS {
        return None;
    }
    let (address, found) = read_address(message.body, Mark::default())?;
    Some((address.place, found?))
}

fn read_address(body: &[u8], mark: Mark) -> Option<(Address, Option<mark::Found>)> {
    let family = *body.first()?;
    let mut flags = u32::from(*body.get(2)?);
    let (mut own, mut network, mut priority, mut protocol) = (None, None, None, None);
    for (kind, value) in attributes(body.get(8..)?) {
        match kind {
            ADDRESS_LOCAL => own = ip(family, value),
            ADDRESS_ADDRESS => network = ip(family, value),
            ADDRESS_FLAGS => flags = u32_at(value, 0)?,
            ADDRESS_PROTOCOL => protocol = value.first().copied(),
            ADDRESS_PRIORITY => priority = u32_at(value, 0),
            _ => {}
        }
    }
    let address = own.or(network)?;
    let readiness = if flags & ADDRESS_FLAG_DUPLICATE != 0 {
        Readiness::Duplicate
    } else if flags & ADDRESS_FLAG_TENTATIVE != 0 {
        Readiness::Tentative
    } else {
        Readiness::Ready
    };
    let place = Place { address, link: u32_at(body, 4)?, prefix: *body.get(1)? };
    let found = Mark::read(priority, protocol);
    let (network, ours) = (network.unwrap_or(address), mark.owns(found));
    let primary = flags & ADDRESS_FLAG_SECONDARY == 0;
    Some((Address { place, network, ours, readiness, primary }, found))
}

/// Reads an address of the family.
pub(super) fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        FAMILY_V4 => value.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        FAMILY_V6 => value.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}
