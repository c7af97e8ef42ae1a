//! Which addresses of which pools are in service, as the daemons' statuses say. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::control::response::{Group, GroupState, Node, Status};

/// An address that a node owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct InService {
    pub(super) address: IpAddr,
    /// Whether the required checks of its pool pass at its owner.
    pub(super) healthy: bool,
    /// Whether its owner drains, so that the address will move soon.
    pub(super) leaving: bool,
    /// Weight of the owner, 1 to 1000.
    pub(super) weight: u16,
}

/// The addresses in service of each pool; a pool without any has an empty list.
pub(super) type Pools = BTreeMap<String, Vec<InService>>;

/// What is known of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cluster {
    /// Its name.
    pub(super) name: String,
    pub(super) pools: Pools,
}

/// What is known of all clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    /// `None` while nothing is known of any.
    pub(super) pools: Option<Pools>,
    /// Grows with each change: the serial number of the zone (RFC 1982).
    pub(super) serial: u32,
}

impl Cluster {
    /// What a status says; `None` while its node does not know the state of the cluster.
    pub(super) fn of(status: &Status) -> Option<Self> {
        // An isolated node knows what it serves itself.
        if !matches!(status.phase.as_str(), "active" | "isolated") {
            return None;
        }
        let nodes: BTreeMap<&str, &Node> =
            status.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
        let mut pools = Pools::new();
        for group in &status.groups {
            let pool = pools.entry(group.pool.clone()).or_default();
            pool.extend(in_service(group, &nodes));
        }
        pools.values_mut().for_each(|pool| pool.sort_unstable());
        Some(Self { name: status.cluster.clone(), pools })
    }
}

/// The addresses of a group, if a node owns and answers for it.
fn in_service(group: &Group, nodes: &BTreeMap<&str, &Node>) -> Vec<InService> {
    // While it moves its owner still answers; without a lease nobody does.
    let answered = matches!(group.state, GroupState::Owned | GroupState::Moving);
    let owner = group.owner.as_deref().and_then(|owner| nodes.get(owner));
    let Some(owner) = owner.filter(|_| answered && group.withheld.is_none()) else {
        return Vec::new();
    };
    let of = |address: IpAddr| InService {
        address,
        healthy: !owner.unfit.contains(&group.pool),
        leaving: owner.draining,
        weight: owner.weight.max(1),
    };
    // An address of one link means nothing to clients elsewhere.
    let global = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_link_local(),
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    let addresses = group.addresses.iter().filter_map(|text| text.parse().ok());
    addresses.filter(global).map(of).collect()
}

/// What several sources know together: of each cluster the first that knows something counts, and
/// pools of one name are one pool.
pub(super) fn together<'a>(known: impl Iterator<Item = &'a Option<Cluster>>) -> Option<Pools> {
    let mut clusters: BTreeMap<&str, &Cluster> = BTreeMap::new();
    for cluster in known.flatten() {
        clusters.entry(&cluster.name).or_insert(cluster);
    }
    if clusters.is_empty() {
        return None;
    }
    let mut pools = Pools::new();
    for (name, addresses) in clusters.values().flat_map(|cluster| &cluster.pools) {
        pools.entry(name.clone()).or_default().extend(addresses);
    }
    for pool in pools.values_mut() {
        pool.sort_unstable();
        pool.dedup_by_key(|in_service| in_service.address);
    }
    Some(pools)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `lb1` is asked; `lb2` drains, and a check of `api` fails there.
    fn status(phase: &str) -> Status {
        let text = r#"{"schema":1,"cluster":"edge","node":"lb1","phase":"PHASE","nodes":[
            {"name":"lb1","state":"up","last_heard_ms":0,"draining":false,"version":null,"weight":3},
            {"name":"lb2","state":"up","last_heard_ms":4,"draining":true,"version":null,"weight":1,
             "unfit":["api"]}],"groups":[
            {"pool":"web","group":"a","addresses":["10.77.0.100","fe80::1","fd77::100"],"owner":"lb1",
             "state":"owned","epoch":7,"since_ms":1,"reason":"-"},
            {"pool":"web","group":"b","addresses":["10.77.0.101"],"owner":"lb2",
             "state":"owned","epoch":7,"since_ms":1,"reason":"-"},
            {"pool":"web","group":"c","addresses":["10.77.0.102"],"owner":null,
             "state":"unowned","epoch":7,"since_ms":1,"reason":"-"},
            {"pool":"web","group":"d","addresses":["10.77.0.103"],"owner":"lb1",
             "state":"owned","epoch":7,"since_ms":1,"reason":"-","withheld":"lb2 has it"},
            {"pool":"web","group":"f","addresses":["10.77.0.106"],"owner":"lb1",
             "state":"closed","epoch":7,"since_ms":1,"reason":"-"},
            {"pool":"api","group":"e","addresses":["10.77.0.104"],"owner":"lb2",
             "state":"owned","epoch":1,"since_ms":1,"reason":"-"},
            {"pool":"none","group":"g","addresses":["10.77.0.105"],"owner":null,
             "state":"unowned","epoch":1,"since_ms":1,"reason":"-"}]}"#;
        serde_json::from_str(&text.replace("PHASE", phase)).expect("a status")
    }

    fn in_service(address: &str, healthy: bool, leaving: bool, weight: u16) -> InService {
        InService { address: address.parse().expect("an address"), healthy, leaving, weight }
    }

    #[test]
    fn what_is_owned_is_in_service_and_nothing_else() {
        let cluster = Cluster::of(&status("active")).expect("it is known");
        let web = [
            in_service("10.77.0.100", true, false, 3),
            in_service("10.77.0.101", true, true, 1),
            in_service("fd77::100", true, false, 3),
        ];
        assert_eq!(cluster.pools["web"], web);
        assert_eq!(cluster.pools["api"], [in_service("10.77.0.104", false, true, 1)]);
        assert_eq!(cluster.pools["none"], []);
    }

    #[test]
    fn a_node_that_is_starting_or_leaving_knows_nothing() {
        for phase in ["listening", "resuming", "leaving", "left", ""] {
            assert_eq!(Cluster::of(&status(phase)), None, "{phase}");
        }
        assert!(Cluster::of(&status("isolated")).is_some());
    }

    #[test]
    fn of_one_cluster_the_first_source_counts_and_pools_of_several_are_one() {
        let cluster = |name: &str, pool: &str, addresses: &[&str]| {
            let list = addresses.iter().map(|address| in_service(address, true, false, 1));
            let pools = [(pool.to_owned(), list.collect())].into();
            Some(Cluster { name: name.to_owned(), pools })
        };
        let (eu, also_eu) =
            (cluster("eu", "web", &["192.0.2.1"]), cluster("eu", "web", &["192.0.2.2"]));
        let us = cluster("us", "web", &["198.51.100.1", "192.0.2.1"]);
        let list = |known: &[&Option<Cluster>]| {
            let pools = together(known.iter().copied())?;
            Some(pools["web"].iter().map(|one| one.address.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(list(&[&eu, &also_eu]), Some(vec!["192.0.2.1".to_owned()]));
        assert_eq!(list(&[&None, &also_eu]), Some(vec!["192.0.2.2".to_owned()]));
        let both = vec!["192.0.2.1".to_owned(), "198.51.100.1".to_owned()];
        assert_eq!(list(&[&eu, &us]), Some(both));
        assert_eq!(list(&[&None, &None]), None);
    }
}
