//! What is known of the host's links and addresses, and which link an address belongs on.
//!
//! Filled by `watch` with what the kernel told (by event or by dump), asked by `reconcile`. Pure:
//! nothing here talks to the kernel. Reading is lenient, see `netlink`.
//!
//! An address is *ours* when it bears the mark of our cluster, see `mark`.
//!
//! A link is *usable* when it is up, has carrier, and is not the port of a bridge, bond or team
//! (addresses stay on such a port but are not reachable there).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::mark::{self, Mark};
use crate::netlink::{Message, attributes, u32_at};
use crate::protocol::{Instant, Remover};

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
const FLAG_LOWER_UP: u32 = 1 << 16;
const HARDWARE_ETHERNET: u16 = 1;
const LINK_ADDRESS: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_MASTER: u16 = 10;
const LINK_INFO: u16 = 18;
const LINK_INFO_PORT_KIND: u16 = 4;
const ADDRESS_ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ADDRESS_FLAGS: u16 = 8;
const ADDRESS_PRIORITY: u16 = 9;
const ADDRESS_PROTOCOL: u16 = 11;
const ADDRESS_FLAG_DUPLICATE: u32 = 0x08;
const ADDRESS_FLAG_TENTATIVE: u32 = 0x40;

/// Addresses up to febf::/16 never leave their link.
const LINK_LOCAL_FIRST: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);

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
}

/// A link of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    let mut enslaved = false;
    let mut routed_master = false;
    let mut link = Link {
        index: u32_at(body, 4)?,
        name: String::new(),
        hardware: None,
        usable: false,
        loopback: flags & FLAG_LOOPBACK != 0,
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            LINK_NAME => link.name = text(value),
            LINK_ADDRESS if hardware_kind == HARDWARE_ETHERNET => {
                link.hardware = value.try_into().ok();
            }
            LINK_MASTER => enslaved = u32_at(value, 0) != Some(0),
            LINK_INFO => {
                let mut kinds = attributes(value).filter(|(kind, _)| *kind == LINK_INFO_PORT_KIND);
                // The port of a VRF keeps its addresses and answers for them.
                routed_master = kinds.any(|(_, kind)| text(kind) == "vrf");
            }
            _ => {}
        }
    }
    let needed = FLAG_UP | FLAG_RUNNING | FLAG_LOWER_UP;
    link.usable = flags & needed == needed && (!enslaved || routed_master);
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
    Some((Address { place, network, ours, readiness }, found))
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

/// A network that the host is connected to by an address that is not ours.
#[derive(Clone, Copy, Debug)]
struct Connected {
    network: IpAddr,
    prefix: u8,
    link: u32,
}

/// Everything known of the host.
#[derive(Debug, Default)]
pub(super) struct Host {
    links: BTreeMap<u32, Link>,
    addresses: BTreeMap<Place, Address>,
    connected: Vec<Connected>,
    /// Nothing may be added for now.
    pub(super) closed: bool,
    /// Who of this daemon's own has removed addresses of late, and when that was known.
    pub(super) removed: Option<(Remover, Instant)>,
}

/// What goes missing within this time after the daemon's own have removed addresses is their doing.
const REMOVED_LATELY: Duration = Duration::from_secs(2);

impl Host {
    /// Takes in one observation. Returns whether links, or addresses that are not ours, differ
    /// now: then every group has to be looked at anew.
    pub(super) fn observe(&mut self, observation: Observation) -> bool {
        match observation {
            Observation::Link(link) => {
                let before = self.links.insert(link.index, link.clone());
                before.as_ref() != Some(&link)
            }
            // The kernel tells of the loss of each address, but before or after this: in between
            // nothing must be sent to the dead index.
            Observation::LinkGone(index) => {
                self.addresses.retain(|place, _| place.link != index);
                self.reconnect();
                self.links.remove(&index).is_some()
            }
            Observation::Address(mut address) => {
                // A stranger who changes an address of ours in place thereby removes the mark.
                let before = self.addresses.get(&address.place).copied();
                address.ours |= before.is_some_and(|before| before.ours);
                self.addresses.insert(address.place, address);
                let foreign_news = !address.ours && before != Some(address);
                if foreign_news {
                    self.reconnect();
                }
                foreign_news
            }
            Observation::AddressGone(place) => {
                let foreign = self.addresses.remove(&place).is_some_and(|before| !before.ours);
                if foreign {
                    self.reconnect();
                }
                foreign
            }
        }
    }

    /// Forgets everything and takes in a complete dump.
    pub(super) fn replace(&mut self, observations: Vec<Observation>) {
        *self = Self { closed: self.closed, removed: self.removed, ..Self::default() };
        for observation in observations {
            match observation {
                Observation::Link(link) => {
                    self.links.insert(link.index, link);
                }
                Observation::Address(address) => {
                    self.addresses.insert(address.place, address);
                }
                Observation::LinkGone(_) | Observation::AddressGone(_) => {}
            }
        }
        self.reconnect();
    }

    /// Who has removed what is found to be missing now.
    pub(super) fn remover(&self, now: Instant) -> Remover {
        let lately = self.removed.filter(|(_, at)| now.since(*at) < REMOVED_LATELY);
        lately.map_or(Remover::Somebody, |(remover, _)| remover)
    }

    fn reconnect(&mut self) {
        let strangers = self.addresses.values().filter(|address| !address.ours);
        let networks = strangers.filter(|address| {
            let longest = if address.network.is_ipv4() { 32 } else { 128 };
            address.place.prefix < longest
        });
        let connected = networks.map(|address| Connected {
            network: address.network,
            prefix: address.place.prefix,
            link: address.place.link,
        });
        self.connected = connected.collect();
    }

    /// All links.
    pub(super) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// The link with this index.
    pub(super) fn link(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    /// Whether this is the hardware address of any link of this host.
    pub(super) fn is_own(&self, hardware: [u8; 6]) -> bool {
        self.links.values().any(|link| link.hardware == Some(hardware))
    }

    /// Usable addresses of this host on the link that never move, of both families; of IPv6 the
    /// one that only the link knows, if there is one.
    pub(super) fn own_on(&self, link: u32) -> (Option<[u8; 4]>, Option<[u8; 16]>) {
        let own = self.addresses.values().filter(|address| {
            !address.ours && address.place.link == link && address.readiness == Readiness::Ready
        });
        let (mut v4, mut v6): (Option<Ipv4Addr>, Option<Ipv6Addr>) = (None, None);
        for address in own {
            match address.place.address {
                IpAddr::V4(own) => v4 = v4.or(Some(own)),
                IpAddr::V6(own) => {
                    v6 = v6.filter(|_| !own.is_unicast_link_local()).or(Some(own));
                }
            }
        }
        (v4.map(|own| own.octets()), v6.map(|own| own.octets()))
    }

    /// The link with this name.
    pub(super) fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// The link on whose network the address is; of several the one with the longest prefix, then
    /// the usable one, then the oldest.
    pub(super) fn link_towards(&self, address: IpAddr) -> Option<&Link> {
        let fitting = self.connected.iter().filter(|network| {
            common_bits(network.network, address) >= Some(u32::from(network.prefix))
        });
        let known = fitting.filter_map(|network| Some((network, self.links.get(&network.link)?)));
        let unlooped = known.filter(|(_, link)| !link.loopback);
        let best = unlooped.max_by_key(|(network, link)| {
            (network.prefix, link.usable, std::cmp::Reverse(link.index))
        });
        best.map(|(_, link)| link)
    }

    /// Whether both are in one network that the host is connected to.
    pub(super) fn share_network(&self, one: IpAddr, other: IpAddr) -> bool {
        self.connected.iter().any(|network| {
            let bits = Some(u32::from(network.prefix));
            [one, other].iter().all(|it| common_bits(network.network, *it) >= bits)
        })
    }

    /// Every place at which the address is.
    pub(super) fn places(&self, address: IpAddr) -> impl Iterator<Item = &Address> {
        let first = Place { address, link: 0, prefix: 0 };
        let last = Place { address, link: u32::MAX, prefix: u8::MAX };
        self.addresses.range(first..=last).map(|(_, address)| address)
    }

    /// The address at exactly this place.
    pub(super) fn at(&self, place: &Place) -> Option<&Address> {
        self.addresses.get(place)
    }

    /// A link-local address of the link that can be used.
    pub(super) fn link_local(&self, link: u32) -> Option<Ipv6Addr> {
        let first = Place { address: LINK_LOCAL_FIRST.into(), link: 0, prefix: 0 };
        let candidates = self.addresses.range(first..).map(|(_, address)| address);
        let ready = candidates.filter(|it| it.readiness == Readiness::Ready && !it.ours);
        let here = ready.filter(|it| it.place.link == link);
        here.map_while(|it| match it.place.address {
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        })
        .next()
    }

    /// All addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.addresses.values()
    }
}

/// How many leading bits are the same; `None` for different families.
fn common_bits(one: IpAddr, other: IpAddr) -> Option<u32> {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            Some((one.to_bits() ^ other.to_bits()).leading_zeros())
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            Some((one.to_bits() ^ other.to_bits()).leading_zeros())
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

#[cfg(test)]
mod tests;
