//! Whether this host could bear the addresses of a file, before a daemon runs: for `buoy check`.
//!
//! Changes nothing and needs no permission. What it finds may be otherwise when the daemon starts.

use std::io;

use super::GroupAddresses;
use super::group::Group;
use super::links::{Host, Link};
use super::mark::Mark;
use super::{routes, routing, watch};

/// What stands in the way of groups here, each with the name of the group. Addresses with this mark
/// are not the host's own.
///
/// # Errors
/// When the kernel does not tell its links, addresses or routes.
pub fn hindrances(groups: &[GroupAddresses], mark: Mark) -> io::Result<Vec<(String, String)>> {
    let mut host = Host::default();
    host.replace(watch::dump(mark)?);
    host.route(routes::connected()?);
    Ok(groups.iter().filter_map(|group| hindrance(group, &host)).collect())
}

fn hindrance(configured: &GroupAddresses, host: &Host) -> Option<(String, String)> {
    let mut group = Group::new(configured.clone());
    drop(group.relocate(host));
    let Some((address, _, _)) = group.written().find(|(_, _, link)| link.is_none()) else {
        let text = routing::hindrance(&configured.routing, host)?;
        return Some((configured.name.clone(), text));
    };
    let text = match &configured.interface {
        Some(names) => format!(
            "this host has no interface {}; it has {}",
            names.replace(' ', " or "),
            host.links().map(|link: &Link| link.name.as_str()).collect::<Vec<_>>().join(", ")
        ),
        None => format!(
            "no interface of this host is in the network of {address}: name one with interface = \
             \"...\""
        ),
    };
    Some((configured.name.clone(), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::links::{Address, Observation, Place, Readiness};
    use crate::protocol::{GroupKey, Mode};

    fn told(interface: Option<&str>, address: &str) -> Option<String> {
        let mut host = Host::default();
        let name = "eth0".to_owned();
        host.observe(Observation::Link(Link { index: 2, name, usable: true, ..Link::default() }));
        let place = Place { address: [10, 0, 0, 1].into(), link: 2, prefix: 24 };
        let (network, readiness) = (place.address, Readiness::Ready);
        let own = Address { place, network, ours: false, readiness, primary: true };
        host.observe(Observation::Address(own));
        let group = GroupAddresses {
            key: GroupKey(1),
            name: "web".to_owned(),
            mode: Mode::Availability,
            interface: interface.map(str::to_owned),
            addresses: vec![(address.parse().unwrap(), 32)],
            keys: std::collections::BTreeMap::new(),
            routing: Default::default(),
        };
        hindrance(&group, &host).map(|(_, text)| text)
    }

    #[test]
    fn what_has_no_interface_here_is_told_with_the_remedy() {
        assert_eq!(told(None, "10.0.0.7"), None);
        assert_eq!(told(Some("e*"), "203.0.113.7"), None);
        assert!(told(None, "203.0.113.7").unwrap().contains("name one with interface"));
        let missing = told(Some("eth9 ens*"), "10.0.0.7").unwrap();
        assert_eq!(missing, "this host has no interface eth9 or ens*; it has eth0");
    }
}
