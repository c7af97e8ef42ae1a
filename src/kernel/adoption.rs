//! What a process finds of the one before it, when it goes on with its groups.
//!
//! Nothing is changed here. [`whole_groups`] is asked before the kernel thread is started; what is
//! kept is then neither swept nor told to be present: it never went.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use super::links::{Observation, Place};
use super::scoped::is_link_local;
use super::{GroupAddresses, Mark, Settings, watch};
use crate::protocol::GroupKey;
use crate::routing::Routing;

/// The groups of which every address is on this host and bears our mark.
///
/// # Errors
///
/// When the kernel does not tell its addresses.
pub fn whole_groups(groups: &[GroupAddresses], mark: Mark) -> io::Result<BTreeSet<GroupKey>> {
    let observations = watch::dump(mark)?;
    let places: Vec<Place> = watch::ours(&observations).collect();
    let ours: BTreeSet<IpAddr> = places.iter().map(|place| place.address).collect();
    let is_here = |group: &GroupAddresses, address: IpAddr| {
        let means = |place: &Place| means(group, address, place, &observations);
        ours.contains(&address) && (!is_link_local(address) || places.iter().any(means))
    };
    let whole = |group: &&GroupAddresses| {
        group.addresses.iter().all(|(address, _)| is_here(group, *address))
    };
    Ok(groups.iter().filter(whole).map(|group| group.key).collect())
}

/// Whether it is the address of the group that is at this place, and not one of another link.
fn means(
    group: &GroupAddresses,
    address: IpAddr,
    place: &Place,
    observations: &[Observation],
) -> bool {
    let borne_by = |patterns: &str| {
        observations.iter().any(|observation| match observation {
            Observation::Link(link) => link.index == place.link && link.is_like(patterns),
            Observation::LinkGone(_) | Observation::Address(_) | Observation::AddressGone(_) => {
                false
            }
        })
    };
    place.address == address
        && (!is_link_local(address) || group.interface.as_deref().is_none_or(borne_by))
}

/// What stays of a process before this one: the addresses, routes and rules of the groups that are
/// adopted.
#[derive(Debug, Default)]
pub(super) struct Kept {
    addresses: BTreeMap<IpAddr, Vec<GroupAddresses>>,
    routing: Vec<Routing>,
}

impl Kept {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut kept: BTreeMap<IpAddr, Vec<GroupAddresses>> = BTreeMap::new();
        let mut routing = Vec::new();
        for (key, _) in &settings.adopted {
            for group in settings.groups.iter().filter(|group| group.key == *key) {
                routing.push(group.routing.clone());
                for (address, _) in &group.addresses {
                    let local = is_link_local(*address).then(|| group.clone());
                    kept.entry(*address).or_default().extend(local);
                }
            }
        }
        Self { addresses: kept, routing }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// The routes and rules of the groups that are adopted.
    pub(super) fn routing(&self) -> Vec<Routing> {
        self.routing.clone()
    }

    /// Whether it is one of these that is at this place of this host.
    pub(super) fn has(&self, place: &Place, observations: &[Observation]) -> bool {
        self.addresses.get(&place.address).is_some_and(|groups| {
            groups.is_empty()
                || groups.iter().any(|group| means(group, place.address, place, observations))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::links::Link;
    use super::*;
    use crate::protocol::{Mode, Ticket};

    #[test]
    fn of_a_link_local_address_only_that_of_the_adopted_group_is_kept() {
        let gateway: IpAddr = "fe80::1".parse().unwrap();
        let web = IpAddr::from([10, 0, 0, 1]);
        let group = |key, interface: &str, addresses| GroupAddresses {
            key,
            name: interface.to_owned(),
            mode: Mode::Availability,
            interface: Some(interface.to_owned()),
            addresses,
            keys: BTreeMap::new(),
            routing: Default::default(),
        };
        let one = group(GroupKey(1), "eth0", vec![(gateway, 64), (web, 32)]);
        let other = group(GroupKey(2), "eth1", vec![(gateway, 64)]);
        let settings = Settings {
            groups: vec![one, other],
            adopted: vec![(GroupKey(1), Ticket(1))],
            ..Settings::default()
        };
        let link = |index, name: &str| {
            Observation::Link(Link { index, name: name.to_owned(), ..Link::default() })
        };
        let links = [link(2, "eth0"), link(3, "eth1")];
        let kept = Kept::new(&settings);
        let has = |address, link| kept.has(&Place { address, link, prefix: 64 }, &links);
        assert!(has(gateway, 2) && !has(gateway, 3) && !has(gateway, 4));
        assert!(has(web, 2) && has(web, 3), "that is the same wherever it is");
        assert!(Kept::new(&Settings::default()).is_empty());
    }
}
