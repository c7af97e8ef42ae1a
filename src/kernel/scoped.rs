//! Addresses together with the link on which they mean something (RFC 4007, section 6).
//!
//! A link-local address of IPv6 is another address on every link: routers have `fe80::1` on each of
//! their networks. All other addresses are the host's, on whatever link they are. Wherever this
//! side of the daemon looks something up by address, it does so by [`Scoped`]; nothing else knows
//! the difference. Which link that is, is known when a group has found its links (see
//! `group/seats`); threads that know groups and not links read it from [`Zones`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::GroupAddresses;
use super::links::Place;
use crate::protocol::GroupKey;

/// An address, and for a link-local one of IPv6 the index of its link, its zone. Ordered by address
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Scoped {
    address: IpAddr,
    zone: Option<u32>,
}

impl Scoped {
    /// The address on this link; `None` for a link-local one without a link: it is nowhere.
    pub(super) fn on(address: IpAddr, link: Option<u32>) -> Option<Self> {
        if !is_link_local(address) {
            return Some(Self { address, zone: None });
        }
        link.map(|link| Self { address, zone: Some(link) })
    }

    /// The address on this link.
    pub(super) fn at(address: IpAddr, link: u32) -> Self {
        Self { address, zone: is_link_local(address).then_some(link) }
    }

    /// The address at this place.
    pub(super) fn of(place: &Place) -> Self {
        Self::at(place.address, place.link)
    }

    /// The address alone.
    pub(super) const fn address(&self) -> IpAddr {
        self.address
    }

    /// The only link on which it means this; `None` if it means the same on all.
    pub(super) const fn zone(&self) -> Option<u32> {
        self.zone
    }

    /// Whether it means this on the link as well.
    pub(super) fn reaches(&self, link: u32) -> bool {
        self.zone.is_none_or(|zone| zone == link)
    }
}

impl fmt::Display for Scoped {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.zone {
            Some(zone) => write!(out, "{}%{zone}", self.address),
            None => self.address.fmt(out),
        }
    }
}

/// Whether the address means another one on every link. Those of IPv4 (169.254.0.0/16) do not: Linux
/// has one table of them for all links.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// On which links groups have their link-local addresses, as the kernel thread has found last, for
/// the other threads. Held for a few map operations only.
#[derive(Clone, Debug, Default)]
pub(super) struct Zones(Arc<Mutex<BTreeMap<(GroupKey, IpAddr), u32>>>);

impl Zones {
    /// Makes these the links.
    pub(super) fn replace(&self, links: BTreeMap<(GroupKey, IpAddr), u32>) {
        *self.held() = links;
    }

    /// The address of a group, on its link; `None` for a link-local one that has none here.
    pub(super) fn scoped(&self, group: GroupKey, address: IpAddr) -> Option<Scoped> {
        if !is_link_local(address) {
            return Scoped::on(address, None);
        }
        Scoped::on(address, self.held().get(&(group, address)).copied())
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<(GroupKey, IpAddr), u32>> {
        // No thread panics while it holds this; what is there is whole all the same.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GroupAddresses {
    /// The key of one of its addresses.
    pub(super) fn key_of(&self, address: IpAddr) -> GroupKey {
        let special = self.keys.get(&address).copied();
        special.unwrap_or_else(|| GroupKey::from_first_address(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_link_local_addresses_of_ipv6_are_others_on_other_links() {
        let gateway = address("fe80::1");
        assert_ne!(Scoped::at(gateway, 2), Scoped::at(gateway, 3));
        assert_eq!(Scoped::on(gateway, None), None, "it is nowhere");
        assert!(Scoped::at(gateway, 2).reaches(2) && !Scoped::at(gateway, 2).reaches(3));
        assert_eq!(Scoped::at(gateway, 2).to_string(), "fe80::1%2");
        for other in ["10.0.0.1", "169.254.0.1", "fd00::1", "fec0::1", "2001:db8::1"] {
            let other = address(other);
            assert_eq!(Scoped::at(other, 2), Scoped::at(other, 3));
            assert_eq!(Scoped::on(other, None), Some(Scoped::at(other, 2)));
            assert!(Scoped::at(other, 2).reaches(3));
            assert_eq!(Scoped::at(other, 2).to_string(), other.to_string());
        }
        assert!(Scoped::at(address("febf::1"), 2).zone().is_some(), "fe80::/10");
    }

    #[test]
    fn threads_that_know_groups_get_the_links() {
        let (zones, gateway) = (Zones::default(), address("fe80::1"));
        let (one, other) = (GroupKey(1), GroupKey(2));
        assert_eq!(zones.scoped(one, gateway), None);
        zones.replace([((one, gateway), 2), ((other, gateway), 3)].into());
        assert_eq!(zones.scoped(one, gateway), Some(Scoped::at(gateway, 2)));
        assert_eq!(zones.scoped(other, gateway), Some(Scoped::at(gateway, 3)));
        assert_eq!(zones.scoped(one, address("fd00::1")), Scoped::on(address("fd00::1"), None));
    }
}
