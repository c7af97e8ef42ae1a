//! The host as it is known: its links, addresses and connected networks, and where addresses
//! belong.
//!
//! A network is *connected* by an address of the host that is not ours, or by a route of the main
//! table that leads out of a device without a gateway (see `routes`), as hosts have it whose own
//! address is a /32.
//!
//! Which link an unplaced address belongs on: the one with a connected network that contains it; of
//! several the one with the longest prefix, then the usable one, then the oldest. Links on which
//! nobody outside of this host can ask come last whatever their prefix is: tunnels and dummies, and
//! bridges that have only ports of containers and virtual machines, unless peers are reached there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::{Address, Link, Observation, Place, Readiness};
use crate::kernel::scoped::Scoped;
use crate::protocol::{Instant, Remover};

/// Addresses up to febf::/16 never leave their link.
const LINK_LOCAL_FIRST: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);

/// How well a link can carry an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kernel) enum Carries {
    /// The host has no address of the family there.
    #[default]
    Alone,
    /// The host has an address of the family there, of another network.
    Family,
    /// The network of the address is connected there.
    Network,
}

/// A network that the host is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kernel) struct Network {
    /// Any address of it.
    pub(in crate::kernel) address: IpAddr,
    /// Leading bits that its addresses have in common.
    pub(in crate::kernel) prefix: u8,
    /// The link.
    pub(in crate::kernel) link: u32,
}

impl Network {
    /// Whether the address is of this network.
    pub(in crate::kernel) fn contains(&self, address: IpAddr) -> bool {
        common_bits(self.address, address) >= Some(u32::from(self.prefix))
    }
}

/// Everything known of the host.
#[derive(Debug, Default)]
pub(in crate::kernel) struct Host {
    links: BTreeMap<u32, Link>,
    addresses: BTreeMap<Place, Address>,
    /// Those that are not ours.
    own: Vec<Address>,
    /// Those of ours that the kernel has as the first of a network.
    leading: Vec<Address>,
    connected: Vec<Network>,
    /// Of the main table, not ours and without a gateway, as last asked for.
    routes: Vec<Network>,
    /// Addresses of the other nodes.
    peers: Vec<IpAddr>,
    /// Nothing may be added for now.
    pub(in crate::kernel) closed: bool,
    /// Links on which this host hears nobody.
    pub(in crate::kernel) deaf: BTreeSet<u32>,
    /// Who of this daemon's own has removed addresses of late, and when that was known.
    pub(in crate::kernel) removed: Option<(Remover, Instant)>,
}

/// What goes missing within this time after the daemon's own have removed addresses is their doing.
const REMOVED_LATELY: Duration = Duration::from_secs(2);

impl Host {
    /// Takes in one observation. Returns whether links, or addresses that are not ours, differ
    /// now: then every group has to be looked at again.
    pub(in crate::kernel) fn observe(&mut self, observation: Observation) -> bool {
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
                // Another program that changes an address of ours in place thereby removes the mark.
                let before = self.addresses.get(&address.place).copied();
                address.ours |= before.is_some_and(|before| before.ours);
                self.addresses.insert(address.place, address);
                let news = matters(&address) && before != Some(address);
                if news || before.is_some_and(|before| matters(&before) && !matters(&address)) {
                    self.reconnect();
                }
                news
            }
            Observation::AddressGone(place) => {
                let news = self.addresses.remove(&place).is_some_and(|before| matters(&before));
                if news {
                    self.reconnect();
                }
                news
            }
        }
    }

    /// Forgets everything and takes in a complete dump.
    pub(in crate::kernel) fn replace(&mut self, observations: Vec<Observation>) {
        let (routes, peers) = (std::mem::take(&mut self.routes), std::mem::take(&mut self.peers));
        let (closed, removed) = (self.closed, self.removed);
        *self = Self { closed, removed, routes, peers, ..Self::default() };
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

    /// Takes in the routes that connect networks. Returns whether they are others than before.
    pub(in crate::kernel) fn route(&mut self, routes: Vec<Network>) -> bool {
        let differ = self.routes != routes;
        self.routes = routes;
        self.reconnect();
        differ
    }

    /// Takes in the addresses of the other nodes.
    pub(in crate::kernel) fn acquaint(&mut self, peers: Vec<IpAddr>) {
        self.peers = peers;
    }

    /// Who has removed what is found to be missing now.
    pub(in crate::kernel) fn remover(&self, now: Instant) -> Remover {
        let lately = self.removed.filter(|(_, at)| now.since(*at) < REMOVED_LATELY);
        lately.map_or(Remover::Somebody, |(remover, _)| remover)
    }

    fn reconnect(&mut self) {
        let all = self.addresses.values().copied().filter(matters);
        (self.leading, self.own) = all.partition(|address| address.ours);
        let networks = self.own.iter().filter(|own| own.place.prefix < bits(own.network));
        let connected = networks.map(|own| Network {
            address: own.network,
            prefix: own.place.prefix,
            link: own.place.link,
        });
        self.connected = connected.chain(self.routes.iter().copied()).collect();
    }

    /// All links.
    pub(in crate::kernel) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// The link with this index.
    pub(in crate::kernel) fn link(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    /// Whether this is the hardware address of any link of this host.
    pub(in crate::kernel) fn is_own(&self, hardware: [u8; 6]) -> bool {
        self.links.values().any(|link| link.hardware == Some(hardware))
    }

    /// Usable addresses of this host on the link that never move, of both families; of IPv6 the
    /// one that only the link knows, if there is one.
    pub(in crate::kernel) fn own_on(&self, link: u32) -> (Option<[u8; 4]>, Option<[u8; 16]>) {
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

    /// The link that an address without a place belongs on; see the module's text.
    pub(in crate::kernel) fn link_towards(&self, address: IpAddr) -> Option<&Link> {
        self.network_of(address).map(|(link, _)| link)
    }

    /// The same, with the length of the prefix of the network.
    pub(in crate::kernel) fn network_of(&self, address: IpAddr) -> Option<(&Link, u8)> {
        let fitting = self.connected.iter().filter(|network| network.contains(address));
        let known = fitting.filter_map(|network| Some((network, self.links.get(&network.link)?)));
        let unlooped = known.filter(|(_, link)| !link.loopback);
        let best = unlooped.max_by_key(|(network, link)| {
            (self.leads_out(link), network.prefix, link.usable, Reverse(link.index))
        });
        best.map(|(network, link)| (link, network.prefix))
    }

    /// The link whose name fits one of the patterns: the one that carries the address best, then a
    /// usable one, then the first by name.
    pub(in crate::kernel) fn link_like(&self, patterns: &str, address: IpAddr) -> Option<&Link> {
        let like = self.links.values().filter(|link| link.is_like(patterns));
        like.max_by_key(|link| {
            (self.carries(link.index, address), link.usable, Reverse(&link.name))
        })
    }

    /// Whether anybody outside of this host can be expected on the link.
    fn leads_out(&self, link: &Link) -> bool {
        let mut ports = self.links.values().filter(|port| port.master == Some(link.index));
        let inner = link.bridge && ports.all(|port| port.inner);
        !link.silent && (!inner || self.peers.iter().any(|peer| self.connects(link.index, *peer)))
    }

    /// Whether the network of the address is connected on the link.
    fn connects(&self, link: u32, address: IpAddr) -> bool {
        self.connected.iter().any(|network| network.link == link && network.contains(address))
    }

    /// How well the link can carry the address.
    pub(in crate::kernel) fn carries(&self, link: u32, address: IpAddr) -> Carries {
        let of_family = |own: &IpAddr| match (own, address) {
            (IpAddr::V4(_), IpAddr::V4(_)) => true,
            (IpAddr::V6(own), IpAddr::V6(address)) => {
                own.is_unicast_link_local() == address.is_unicast_link_local()
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        };
        let mut own = self.own.iter().filter(|it| it.place.link == link);
        if self.connects(link, address) {
            Carries::Network
        } else if own.any(|it| of_family(&it.place.address)) {
            Carries::Family
        } else {
            Carries::Alone
        }
    }

    /// The prefix with which the address is to be added on the link: of IPv4 the one that was
    /// written only where the host has an address of its own with the same network, of which the
    /// kernel then makes ours a secondary one. Otherwise ours would be the primary one, and the
    /// host's own address would get no route when it comes, and go when ours goes.
    pub(in crate::kernel) fn prefix_on(&self, link: u32, address: IpAddr, written: u8) -> u8 {
        if address.is_ipv6() {
            return written;
        }
        let alike = |it: &Address| {
            let network = Network { address: it.network, prefix: written, link };
            it.place.link == link && it.place.prefix == written && network.contains(address)
        };
        let own = self.own.iter().any(alike) && !self.leading.iter().any(alike);
        if own { written } else { bits(address) }
    }

    /// The link of this address of ours, if the kernel would remove addresses that are not ours
    /// with it because it is their primary one.
    pub(in crate::kernel) fn drags(&self, place: &Place) -> Option<&Link> {
        let lead = self.leading.iter().find(|it| it.place == *place)?;
        let network = Network { address: lead.network, prefix: place.prefix, link: place.link };
        let drags = self.own.iter().filter(|it| !it.primary).any(|it| {
            let alike = it.place.link == place.link && it.place.prefix == place.prefix;
            alike && network.contains(it.place.address)
        });
        self.links.get(&place.link).filter(|_| drags)
    }

    /// Whether the network of the address is connected on the link by an address of the host's own.
    pub(in crate::kernel) fn owns_network_of(&self, link: u32, address: IpAddr) -> bool {
        self.own.iter().filter(|own| own.place.link == link).any(|own| {
            let prefix = own.place.prefix;
            let network = Network { address: own.network, prefix, link };
            prefix < bits(own.network) && network.contains(address)
        })
    }

    /// The network of the address by a prefix of this length, if it has to be connected on the link
    /// by a route of ours.
    pub(in crate::kernel) fn lacks(
        &self,
        link: u32,
        address: IpAddr,
        prefix: u8,
    ) -> Option<Network> {
        if prefix >= bits(address) || self.connects(link, address) {
            return None;
        }
        let cut = |value: u128, bits: u32| value >> bits.min(127) << bits.min(127);
        let address = match address {
            IpAddr::V4(v4) => {
                let kept = cut(v4.to_bits().into(), 32 - u32::from(prefix));
                Ipv4Addr::from_bits(u32::try_from(kept).unwrap_or(0)).into()
            }
            IpAddr::V6(v6) => {
                Ipv6Addr::from_bits(cut(v6.to_bits(), 128 - u32::from(prefix))).into()
            }
        };
        Some(Network { address, prefix, link })
    }

    /// Whether both are in one network that the host is connected to.
    pub(in crate::kernel) fn share_network(&self, one: IpAddr, other: IpAddr) -> bool {
        self.connected.iter().any(|network| network.contains(one) && network.contains(other))
    }

    /// Every place at which the address is.
    pub(in crate::kernel) fn places(&self, address: IpAddr) -> impl Iterator<Item = &Address> {
        let first = Place { address, link: 0, prefix: 0 };
        let last = Place { address, link: u32::MAX, prefix: u8::MAX };
        self.addresses.range(first..=last).map(|(_, address)| address)
    }

    /// Every place at which the address means this one.
    pub(in crate::kernel) fn places_of(&self, address: Scoped) -> impl Iterator<Item = &Address> {
        self.places(address.address()).filter(move |found| address.reaches(found.place.link))
    }

    /// The address at exactly this place.
    pub(in crate::kernel) fn at(&self, place: &Place) -> Option<&Address> {
        self.addresses.get(place)
    }

    /// A link-local address of the link that can be used.
    pub(in crate::kernel) fn link_local(&self, link: u32) -> Option<Ipv6Addr> {
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

    /// Whether the host has this address for good: it is usable, and none that moves.
    pub(in crate::kernel) fn has_own(&self, address: IpAddr) -> bool {
        self.places(address).any(|it| !it.ours && it.readiness == Readiness::Ready)
    }

    /// An address of this host on the link that never moves, of the network of another address.
    pub(in crate::kernel) fn own_beside(&self, link: u32, address: Ipv4Addr) -> Option<Ipv4Addr> {
        let own = self.own.iter().filter(|it| {
            it.place.link == link
                && it.readiness == Readiness::Ready
                && self.share_network(it.place.address, address.into())
        });
        own.filter_map(|it| match it.place.address {
            IpAddr::V4(own) => Some(own),
            IpAddr::V6(_) => None,
        })
        .next()
    }

    /// All addresses.
    pub(in crate::kernel) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.addresses.values()
    }
}

impl Link {
    /// Whether its name fits one of these patterns, which are separated by spaces.
    pub(in crate::kernel) fn is_like(&self, patterns: &str) -> bool {
        patterns.split(' ').any(|pattern| fits(pattern, &self.name))
    }
}

/// Whether the name fits the pattern, in which each `*` stands for any letters.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    let mut starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    starts.any(|at| rest.get(at..).is_some_and(|rest| fits(tail, rest)))
}

/// Whether anything depends on the address but itself: it is not ours, or it is the first of its
/// network.
fn matters(address: &Address) -> bool {
    let place = &address.place;
    !address.ours || address.primary && place.address.is_ipv4() && place.prefix < 32
}

/// Length of an address of this family.
pub(in crate::kernel) const fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
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
