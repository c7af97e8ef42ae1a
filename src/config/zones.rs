//! Link-local addresses of IPv6 that stand in several groups, each on a link of its own.
//!
//! `fe80::1` is another address on every link, so groups on different links may have it, as routers
//! do that are the gateway of several networks. Its key on the wire must be the same number at every
//! node, while the same link may have another name there; and it must stay what it was in files that
//! have the address once. So the group that comes first in the file has the key of the address
//! alone, as ever, and each further one that of the address with the name of its interface as it is
//! written, or with its own name where that is not one name at all nodes:
//!
//! ```text
//!   pool 1, interface = "eth0":                     fe80::1         called fe80::1%eth0
//!   pool 2, interface = "eth1":                     fe80::1%eth1    called the same
//!   pool 3, interface = { lb1 = "eth2", ... }:      fe80::1@guests  called guests, its name
//! ```
//!
//! While a new file is rolled out, an owner by the old file and one by the new file keep apart as
//! long as each key means the same link in both: groups may be added behind the others and removed,
//! but the first must stay the first. A reload that gives a link another key is refused.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::addresses::is_link_local_v6;
use super::fault::{Findings, Place};
use super::interfaces::Interfaces;
use super::nodes::Nodes;
use super::pools::GroupConfig;
use crate::protocol::{GroupKey, NodeId};

/// Which links have each link-local address.
#[derive(Debug, Default)]
pub(super) struct Zones(BTreeMap<IpAddr, Vec<(Interfaces, Place)>>);

impl Zones {
    /// Takes in an address; returns whether another group has it on another link. On the same link
    /// it is refused.
    pub(super) fn add(
        &mut self,
        address: IpAddr,
        (interface, nodes): (&Interfaces, &Nodes),
        place: &Place,
        findings: &mut Findings,
    ) -> bool {
        let others = self.0.entry(address).or_default();
        let met = others.iter().find_map(|(other, at)| Some((at, other.meets(interface, nodes)?)));
        let is_refused = met.is_some();
        if let Some((other, node)) = met {
            let (key, line) = (&other.key, other.line);
            let problem = format!("stands in {key} (line {line}) too, on the same link of {node}");
            let remedy = "keep one of them, or name interfaces that do not overlap";
            findings.refuse(place, problem, remedy);
        }
        others.push((interface.clone(), place.clone()));
        others.len() > 1 && !is_refused
    }

    /// Whether several groups have the address.
    pub(super) fn are_several(&self, address: IpAddr) -> bool {
        self.0.get(&address).is_some_and(|links| links.len() > 1)
    }
}

/// The key of an address that an earlier group has on another link.
pub(super) fn key(address: IpAddr, interface: &Interfaces, group: &str) -> GroupKey {
    match interface.only() {
        Some(interface) => GroupKey::of_address_on(address, &format!("%{interface}")),
        None => GroupKey::of_address_on(address, &format!("@{group}")),
    }
}

/// What must not come into force by a reload: on the same interface another key. Returns the names of
/// the groups with their addresses.
pub(super) fn changed(old: &[GroupConfig], new: &[GroupConfig]) -> Vec<(String, IpAddr)> {
    let mut changes = Vec::new();
    for group in new {
        for address in group.vips.iter().map(|vip| vip.address).filter(|it| is_link_local_v6(*it)) {
            let before = old.iter().find(|other| {
                let links = (&other.interface, &other.interface_of);
                links == (&group.interface, &group.interface_of)
                    && other.vips.iter().any(|vip| vip.address == address)
            });
            if before.is_some_and(|before| before.key_of(address) != group.key_of(address)) {
                changes.push((group.name.clone(), address));
            }
        }
    }
    changes
}

impl Interfaces {
    /// The interface, if it is one name and the same at all nodes.
    pub(super) fn only(&self) -> Option<&str> {
        let all = self.all.as_deref().filter(|_| self.by_node.is_empty());
        all.filter(|names| !names.contains([' ', '*']))
    }

    fn at(&self, node: &str) -> Option<&str> {
        self.by_node.get(&NodeId::from_name(node)).or(self.all.as_ref()).map(String::as_str)
    }

    /// A node at which both can be the same link.
    fn meets<'n>(&self, other: &Self, nodes: &'n Nodes) -> Option<&'n str> {
        let meets = |node: &&str| {
            let (Some(one), Some(other)) = (self.at(node), other.at(node)) else { return false };
            one.split(' ').any(|one| other.split(' ').any(|other| overlap(one, other)))
        };
        nodes.names.iter().map(|(name, _)| name.as_str()).find(meets)
    }
}

/// Whether some name fits both patterns, in which `*` stands for any letters.
fn overlap(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    // Whether what is left of each from these letters on overlaps.
    let mut meet = vec![vec![false; other.len() + 1]; one.len() + 1];
    for i in (0..=one.len()).rev() {
        for j in (0..=other.len()).rev() {
            meet[i][j] = match (one.get(i), other.get(j)) {
                (None, None) => true,
                (Some(b'*'), _) => meet[i + 1][j] || j < other.len() && meet[i][j + 1],
                (_, Some(b'*')) => meet[i][j + 1] || i < one.len() && meet[i + 1][j],
                (Some(one), Some(other)) => one == other && meet[i + 1][j + 1],
                (None, Some(_)) | (Some(_), None) => false,
            };
        }
    }
    meet[0][0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_overlap_that_some_name_fits() {
        let table = [
            ("eth0", "eth0", true),
            ("eth0", "eth1", false),
            ("eth0", "eth01", false),
            ("eth*", "eth0", true),
            ("eth*", "eth", true),
            ("eth*", "en*", false),
            ("e*", "*0", true),
            ("*", "eth0", true),
            ("*a", "*b", false),
            ("e*1", "eth*", true),
            ("vlan1*", "vlan2*", false),
            ("a*c", "ab", false),
            ("*a*b*", "b*a", true),
        ];
        for (one, other, expected) in table {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn keys_differ_by_interface_or_name() {
        let gateway: IpAddr = "fe80::1".parse().unwrap();
        let named =
            |all: Option<&str>| Interfaces { all: all.map(str::to_owned), ..Default::default() };
        let on_eth1 = key(gateway, &named(Some("eth1")), "guests");
        assert_eq!(on_eth1, key(gateway, &named(Some("eth1")), "renamed"));
        assert_ne!(on_eth1, key(gateway, &named(Some("eth2")), "guests"));
        assert_ne!(on_eth1, GroupKey::from_first_address(gateway));
        for several in [Some("eth1 eth2"), Some("eth*"), None] {
            assert_eq!(named(several).only(), None);
            let by_name = key(gateway, &named(several), "eth1");
            assert_ne!(by_name, on_eth1);
            assert_ne!(by_name, key(gateway, &named(several), "guests"));
        }
    }
}
