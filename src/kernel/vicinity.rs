//! The hosts around: those this host has to do with, and those that peers have told of.
//!
//! Filled by `verify` from the kernel's neighbour table and with the lists of peers; asked for the
//! hosts that should be asked, and told, where an address is now. The table knows with whom this
//! host has talked on a link, not through which address: with thousands of connections that is as
//! good, and it costs one look every few seconds. A host behind a gateway is not in it, but its
//! gateway is.
//!
//! Nodes of the cluster are left out, by address and by the hardware address behind it; so are
//! link-local addresses, which may be nodes under another name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::convergence::Target;
use super::links::Host;
use super::neighbours::Entry;
use crate::protocol::{
    Instant, NEIGHBOURS_V4_MAX, NEIGHBOURS_V6_MAX, NODES_MAX, Neighbour, NodeId,
};

/// Who was not used, confirmed or changed for so long is not told of.
const LATELY: Duration = Duration::from_secs(600);
/// Lists of peers are kept for so long: the successor of a dead owner may be needed much later.
const KEPT: Duration = Duration::from_secs(3600);

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Vicinity {
    /// What the kernel told last, the latest used first.
    entries: Vec<Entry>,
    gateways: Vec<(u32, IpAddr)>,
    /// Addresses that are no neighbours: our own, those of groups, those of nodes.
    excluded: BTreeSet<IpAddr>,
    /// Hardware addresses of nodes.
    nodes: BTreeSet<[u8; 6]>,
    told: BTreeMap<NodeId, (Instant, Vec<Neighbour>)>,
}

impl Vicinity {
    /// Takes in the kernel's table, its gateways by link, and what is no neighbour.
    pub(super) fn observe(
        &mut self,
        mut entries: Vec<Entry>,
        gateways: Vec<(u32, IpAddr)>,
        excluded: BTreeSet<IpAddr>,
    ) {
        entries.sort_by_key(|entry| (entry.idle, entry.address));
        let of_nodes = entries.iter().filter(|entry| excluded.contains(&entry.address));
        self.nodes = of_nodes.filter_map(|entry| entry.hardware).collect();
        self.entries = entries;
        self.gateways = gateways;
        self.excluded = excluded;
    }

    /// Takes in the list of a peer, in place of its last.
    pub(super) fn acquaint(&mut self, now: Instant, from: NodeId, hosts: Vec<Neighbour>) {
        self.told.retain(|_, (at, _)| now.since(*at) < KEPT);
        if self.told.len() < NODES_MAX || self.told.contains_key(&from) {
            self.told.insert(from, (now, hosts));
        }
    }

    /// The hosts that peers should know of, the latest first.
    pub(super) fn to_tell(&self) -> Vec<Neighbour> {
        let lately = self.entries.iter().filter(|entry| entry.idle < LATELY);
        let known: Vec<Neighbour> = lately.filter_map(|entry| self.outside(entry)).collect();
        let v4 = known.iter().filter(|host| host.address.is_ipv4()).take(NEIGHBOURS_V4_MAX);
        let v6 = known.iter().filter(|host| host.address.is_ipv6()).take(NEIGHBOURS_V6_MAX);
        v4.chain(v6).copied().collect()
    }

    /// At most `room` hosts that should know where an address on a link is, the most important
    /// first: gateways, then those of the former owner, of this host, of everybody else. But for
    /// gateways they are in the network of the address: others send to a gateway of theirs.
    pub(super) fn targets(
        &self,
        (link, vip): (u32, IpAddr),
        before: Option<NodeId>,
        host: &Host,
        room: usize,
    ) -> Vec<Target> {
        let here = || self.entries.iter().filter(move |entry| entry.link == link);
        let gateways = self.gateways.iter().filter(|(of, _)| *of == link);
        let gateways = gateways.filter_map(|(_, address)| {
            // Routers of IPv6 go by their link-local address.
            let known = here().find(|entry| entry.address == *address && entry.alive);
            let neighbour = |hardware| Neighbour { address: *address, hardware };
            known.and_then(|entry| entry.hardware).map(neighbour).or_else(|| self.told_of(*address))
        });
        let towards = |known: &Neighbour| {
            host.link_towards(known.address).is_some_and(|towards| towards.index == link)
        };
        let former = before.and_then(|node| self.told.get(&node));
        let others = self.told.iter().filter(|(node, _)| Some(**node) != before);
        let former = former.into_iter().flat_map(|(_, told)| told.iter().copied()).filter(towards);
        let own = here().filter_map(|entry| self.outside(entry));
        let others = others.flat_map(|(_, (_, told))| told.iter().copied()).filter(towards);
        let clients = former.chain(own).chain(others);
        let clients = clients.filter(|known| host.share_network(vip, known.address));

        let mut seen = BTreeSet::new();
        let fitting = gateways.chain(clients).filter(|known| {
            known.address.is_ipv6() == vip.is_ipv6()
                && !self.excluded.contains(&known.address)
                && !self.nodes.contains(&known.hardware)
                && seen.insert(known.address)
        });
        let target = |known: Neighbour| {
            // The kernel's own table is nearer to the truth than what a peer once saw.
            let same = |entry: &&Entry| entry.address == known.address && entry.alive;
            let hardware = here().find(same).and_then(|entry| entry.hardware);
            let hardware = hardware.unwrap_or(known.hardware);
            Target { link, address: known.address, hardware }
        };
        fitting.take(room).map(target).collect()
    }

    fn told_of(&self, address: IpAddr) -> Option<Neighbour> {
        let mut hosts = self.told.values().flat_map(|(_, hosts)| hosts);
        hosts.find(|host| host.address == address).copied()
    }

    /// The entry as a host outside the cluster that was there not long ago.
    fn outside(&self, entry: &Entry) -> Option<Neighbour> {
        let hardware = entry.hardware?;
        let link_local = match entry.address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        let outside = entry.alive
            && !link_local
            && !entry.address.is_multicast()
            && !self.excluded.contains(&entry.address)
            && !self.nodes.contains(&hardware);
        outside.then_some(Neighbour { address: entry.address, hardware })
    }
}

#[cfg(test)]
mod tests {
    use super::super::links::{Address, Link, Observation, Place, Readiness};
    use super::*;

    const LINK: u32 = 2;
    const PEER: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn hardware(last: u8) -> [u8; 6] {
        [2, 0, 0, 0, 0, last]
    }

    fn entry(last: u8, idle: u64) -> Entry {
        Entry {
            address: ip(last),
            link: LINK,
            hardware: Some(hardware(last)),
            alive: true,
            idle: Duration::from_secs(idle),
        }
    }

    fn host() -> Host {
        let mut host = Host::default();
        let name = "eth0".to_owned();
        let link = Link { index: LINK, name, usable: true, ..Link::default() };
        host.observe(Observation::Link(link));
        let place = Place { address: ip(50), link: LINK, prefix: 24 };
        let readiness = Readiness::Ready;
        let address = Address { place, network: ip(50), ours: false, readiness, primary: true };
        host.observe(Observation::Address(address));
        host
    }

    fn known(last: u8) -> Neighbour {
        Neighbour { address: ip(last), hardware: hardware(last) }
    }

    /// The last byte of each target.
    fn targets(vicinity: &Vicinity, before: Option<NodeId>, room: usize) -> Vec<u8> {
        let targets = vicinity.targets((LINK, ip(200)), before, &host(), room);
        targets.iter().map(|target| target.hardware[5]).collect()
    }

    fn vicinity() -> Vicinity {
        let mut vicinity = Vicinity::default();
        let entries = vec![entry(7, 9), entry(1, 5), entry(8, 1), entry(12, 0)];
        let gateways = vec![(LINK, ip(1)), (9, ip(8))];
        vicinity.observe(entries, gateways, BTreeSet::from([ip(12), ip(100)]));
        vicinity.acquaint(Instant::START, OTHER, vec![known(20), known(7)]);
        vicinity.acquaint(Instant::START, PEER, vec![known(30), known(100)]);
        vicinity
    }

    #[test]
    fn gateways_come_first_then_those_of_the_former_owner() {
        let vicinity = vicinity();
        assert_eq!(targets(&vicinity, Some(PEER), 9), [1, 30, 8, 7, 20]);
        assert_eq!(targets(&vicinity, Some(OTHER), 9), [1, 20, 7, 8, 30]);
        assert_eq!(targets(&vicinity, None, 2), [1, 8]);
        let none = |place| vicinity.targets(place, None, &host(), 9);
        assert_eq!(none((LINK, "fd00::1".parse().unwrap())), [], "another family");
        assert_eq!(none((3, ip(200))), [], "another link");
    }

    #[test]
    fn of_another_network_only_gateways_are_asked() {
        let vicinity = vicinity();
        let targets = vicinity.targets((LINK, [10, 9, 0, 1].into()), Some(PEER), &host(), 9);
        assert_eq!(targets.iter().map(|target| target.hardware[5]).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn nodes_are_left_out_under_any_address() {
        let mut vicinity = vicinity();
        let as_node = Neighbour { address: ip(40), hardware: hardware(12) };
        vicinity.acquaint(Instant::START, PEER, vec![as_node, known(12)]);
        assert_eq!(targets(&vicinity, Some(PEER), 9), [1, 8, 7, 20]);
        assert_eq!(vicinity.to_tell(), [8, 1, 7].map(known));
    }

    #[test]
    fn a_gateway_that_only_a_peer_knows_is_found() {
        let mut vicinity = vicinity();
        let gateways = vec![(LINK, ip(30))];
        vicinity.observe(Vec::new(), gateways, BTreeSet::new());
        assert_eq!(targets(&vicinity, Some(OTHER), 1), [30]);
    }

    #[test]
    fn what_the_kernel_knows_goes_before_what_peers_saw() {
        let mut vicinity = vicinity();
        let moved = Neighbour { address: ip(7), hardware: hardware(77) };
        vicinity.acquaint(Instant::START, PEER, vec![moved]);
        assert_eq!(targets(&vicinity, Some(PEER), 9), [1, 7, 8, 20]);
    }

    #[test]
    fn old_lists_and_hosts_are_forgotten() {
        let mut vicinity = vicinity();
        vicinity.observe(vec![entry(9, 600), entry(10, 599)], Vec::new(), BTreeSet::new());
        assert_eq!(vicinity.to_tell(), [known(10)]);
        vicinity.acquaint(Instant::START + KEPT, PEER, Vec::new());
        assert_eq!(targets(&vicinity, None, 9), [10, 9]);
    }

    #[test]
    fn no_more_is_told_than_fits_one_message() {
        let mut vicinity = Vicinity::default();
        let entries = (0..200).map(|last| entry(last, u64::from(last))).collect();
        vicinity.observe(entries, Vec::new(), BTreeSet::new());
        assert_eq!(vicinity.to_tell().len(), NEIGHBOURS_V4_MAX);
        assert_eq!(vicinity.to_tell()[0], known(0));
    }
}
