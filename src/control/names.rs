//! What the operator calls the things that the protocol knows by number.
//!
//! Made by the daemon from the configuration, replaced as a whole at a reload; what the new one has
//! no more keeps its last name. A number that no configuration of this daemon had (a peer with a
//! newer file speaks of a group we do not know yet) is shown as the number itself, never hidden.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use super::pool_rules::PoolRules;
use crate::protocol::{GroupKey, Mode, NODES_MAX, NodeId, PoolId};

/// Nodes that are remembered by name though the file does not have them.
const LEARNED_MAX: usize = 2 * NODES_MAX;

/// Names of one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    cluster: String,
    me: NodeId,
    nodes: BTreeMap<NodeId, Placed<NodeName>>,
    groups: BTreeMap<GroupKey, Placed<GroupName>>,
    /// Nodes that no file has had, as they call themselves.
    learned: BTreeMap<NodeId, String>,
    /// Interfaces that the file names for groups.
    links: BTreeMap<GroupKey, String>,
    /// Addresses whose keys are not those of the address alone.
    zoned: BTreeMap<GroupKey, String>,
    /// Rules of placement.
    rules: PoolRules,
    /// What earlier files had: events of what they took away still come, and stay to be read.
    former: Former,
}

/// Names that are not in force any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Former {
    nodes: BTreeMap<NodeId, NodeName>,
    groups: BTreeMap<GroupKey, GroupName>,
}

/// Former names kept: as many as one file may have. Then the oldest files' are forgotten.
const FORMER_MAX: usize = 4096;

/// Name and role of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeName {
    /// Name in the configuration.
    pub node: String,
    /// Whether it may own groups; a witness may not.
    pub owns: bool,
    /// Whether it grants leases for groups in mode `majority`.
    pub votes: bool,
}

/// Name, pool and addresses of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupName {
    /// Name of its pool.
    pub pool: String,
    /// Name within the pool: as configured, or its first address.
    pub group: String,
    /// Addresses in the order of the configuration.
    pub addresses: Vec<IpAddr>,
    /// Mode of the group.
    pub mode: Mode,
}

/// A name and its place in the file, which is the order people expect to read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Placed<T> {
    place: usize,
    name: T,
}

/// Why a name does not identify one group or node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// No group or node has this name.
    Unknown,
    /// Several groups have this name; with the pool in front it is one.
    Ambiguous,
}

impl Names {
    /// Takes nodes and groups in the order of the file.
    #[must_use]
    pub fn new(
        cluster: String,
        me: NodeId,
        nodes: Vec<(NodeId, NodeName)>,
        groups: Vec<(GroupKey, GroupName)>,
    ) -> Self {
        let (nodes, groups, learned) = (placed(nodes), placed(groups), BTreeMap::new());
        let (links, zoned, former) = (BTreeMap::new(), BTreeMap::new(), Former::default());
        let rules = PoolRules::default();
        Self { cluster, me, nodes, groups, learned, links, zoned, rules, former }
    }

    /// With the interfaces that the file names for groups.
    #[must_use]
    pub fn with_links(self, links: BTreeMap<GroupKey, String>) -> Self {
        Self { links, ..self }
    }

    /// With link-local addresses that several groups have, each by its key.
    #[must_use]
    pub fn with_zoned(self, zoned: BTreeMap<GroupKey, String>) -> Self {
        Self { zoned, ..self }
    }

    /// With the rules of placement of pools.
    #[must_use]
    pub fn with_rules(self, rules: PoolRules) -> Self {
        Self { rules, ..self }
    }

    /// Returns the rules of placement of pools.
    #[must_use]
    pub fn rules(&self) -> &PoolRules {
        &self.rules
    }

    /// The interface that the file names for a group.
    #[must_use]
    pub fn link(&self, group: GroupKey) -> Option<&str> {
        self.links.get(&group).map(String::as_str)
    }

    /// With what the names before these had, and these do not.
    fn after(mut self, before: &Self) -> Self {
        self.learned.clone_from(&before.learned);
        let nodes = before.nodes.iter().map(|(node, placed)| (*node, placed.name.clone()));
        self.former.nodes = before.former.nodes.clone();
        self.former.nodes.extend(nodes);
        self.former.nodes.retain(|node, _| !self.nodes.contains_key(node));
        let groups = before.groups.iter().map(|(group, placed)| (*group, placed.name.clone()));
        let groups: BTreeMap<_, _> =
            groups.filter(|(group, _)| !self.groups.contains_key(group)).collect();
        if before.former.groups.len() + groups.len() <= FORMER_MAX {
            self.former.groups = before.former.groups.clone();
        }
        self.former.groups.extend(groups);
        self.former.groups.retain(|group, _| !self.groups.contains_key(group));
        self
    }

    /// Returns the name of the cluster.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Returns the node of this daemon.
    #[must_use]
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// Returns the name of a node, or `node-` with its number in hex.
    #[must_use]
    pub fn node(&self, node: NodeId) -> String {
        let listed = self.nodes.get(&node).map(|placed| &placed.name.node);
        let name = listed.or_else(|| self.learned.get(&node));
        let name = name.or_else(|| self.former.nodes.get(&node).map(|name| &name.node));
        name.cloned().unwrap_or_else(|| node.to_string())
    }

    /// What the node is there for; a node that is not configured counts as an ordinary one.
    #[must_use]
    pub fn role(&self, node: NodeId) -> NodeName {
        let unknown = || NodeName::member(&self.node(node));
        self.nodes.get(&node).map_or_else(unknown, |placed| placed.name.clone())
    }

    /// Pool, name and addresses of a group.
    #[must_use]
    pub fn group(&self, group: GroupKey) -> GroupName {
        let name = self.groups.get(&group).map(|placed| &placed.name);
        let unknown = || GroupName {
            pool: "unknown".to_owned(),
            group: group.to_string(),
            addresses: Vec::new(),
            mode: Mode::default(),
        };
        name.or_else(|| self.former.groups.get(&group)).cloned().unwrap_or_else(unknown)
    }

    /// The pool of a group that the file has.
    #[must_use]
    pub fn pool_of(&self, group: GroupKey) -> Option<&str> {
        self.groups.get(&group).map(|placed| placed.name.pool.as_str())
    }

    /// The address with this key: of a group, or a further one of it.
    #[must_use]
    pub fn address(&self, key: GroupKey) -> String {
        if let Some(zoned) = self.zoned.get(&key) {
            return zoned.clone();
        }
        let mut addresses = self.groups.values().flat_map(|placed| &placed.name.addresses);
        let found = addresses.find(|address| GroupKey::from_first_address(**address) == key);
        found.map_or_else(|| key.to_string(), ToString::to_string)
    }

    /// Returns the name of a pool, or its number in hex.
    #[must_use]
    pub fn pool(&self, pool: PoolId) -> String {
        let groups = self.groups.values().map(|placed| &placed.name);
        let mut pools = groups.chain(self.former.groups.values()).map(|name| &name.pool);
        let named = pools.find(|name| PoolId::from_name(name) == pool);
        named.cloned().unwrap_or_else(|| pool.to_string())
    }

    /// Where the node stands in the file; those that do not come last.
    #[must_use]
    pub fn node_place(&self, node: NodeId) -> usize {
        self.nodes.get(&node).map_or(usize::MAX, |placed| placed.place)
    }

    /// Where the group stands in the file; those that do not come last.
    #[must_use]
    pub fn group_place(&self, group: GroupKey) -> usize {
        self.groups.get(&group).map_or(usize::MAX, |placed| placed.place)
    }

    /// Returns all nodes in the order of the file.
    #[must_use]
    pub fn node_names(&self) -> Vec<&str> {
        let mut nodes: Vec<_> = self.nodes.values().collect();
        nodes.sort_by_key(|placed| placed.place);
        nodes.into_iter().map(|placed| placed.name.node.as_str()).collect()
    }

    /// Returns the groups of a pool in the order of the file.
    #[must_use]
    pub fn groups_of(&self, pool: &str) -> Vec<&str> {
        let mut groups: Vec<_> =
            self.groups.values().filter(|placed| placed.name.pool == pool).collect();
        groups.sort_by_key(|placed| placed.place);
        groups.into_iter().map(|placed| placed.name.group.as_str()).collect()
    }

    /// Finds a node by its name.
    #[must_use]
    pub fn find_node(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().find(|(_, placed)| placed.name.node == name).map(|(node, _)| *node)
    }

    /// Finds a group by its name, by `pool/name`, or by any of its addresses; a link-local address
    /// may be followed by `%` and the interface that the file names for the group (RFC 4007, section
    /// 11).
    ///
    /// # Errors
    /// If no group, or more than one, goes by that name.
    pub fn find_group(&self, wanted: &str) -> Result<GroupKey, Unresolved> {
        let (address, zone) = match wanted.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (wanted, None),
        };
        let address: Option<IpAddr> = address.parse().ok();
        let is_on = |group: &GroupKey| zone.is_none() || self.link(*group) == zone;
        let mut found = self
            .groups
            .iter()
            .filter(|(key, placed)| placed.name.goes_by(wanted, address.filter(|_| is_on(key))))
            .map(|(group, _)| *group);
        match (found.next(), found.next()) {
            (None, _) => Err(Unresolved::Unknown),
            (Some(group), None) => Ok(group),
            (Some(_), Some(_)) => Err(Unresolved::Ambiguous),
        }
    }
}

impl NodeName {
    /// A node that owns and votes.
    #[must_use]
    pub fn member(name: &str) -> Self {
        Self { node: name.to_owned(), owns: true, votes: true }
    }
}

impl GroupName {
    fn goes_by(&self, wanted: &str, address: Option<IpAddr>) -> bool {
        self.group == wanted
            || address.is_some_and(|address| self.addresses.contains(&address))
            || wanted
                .split_once('/')
                .is_some_and(|(pool, group)| self.pool == pool && self.group == group)
    }
}

fn placed<K: Ord, T>(list: Vec<(K, T)>) -> BTreeMap<K, Placed<T>> {
    list.into_iter().enumerate().map(|(place, (key, name))| (key, Placed { place, name })).collect()
}

/// The names in force, shared by recorder, server and daemon; a reload replaces them for all.
#[derive(Clone, Debug)]
pub struct NamesInForce {
    current: Arc<RwLock<Arc<Names>>>,
}

impl NamesInForce {
    /// Starts with the names of the first configuration.
    #[must_use]
    pub fn new(names: Names) -> Self {
        Self { current: Arc::new(RwLock::new(Arc::new(names))) }
    }

    /// The names as of now.
    #[must_use]
    pub fn current(&self) -> Arc<Names> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in the name of a node that the file does not have.
    pub fn learn(&self, node: NodeId, name: String) {
        let mut names = Names::clone(&self.current());
        if names.learned.len() < LEARNED_MAX {
            names.learned.insert(node, name);
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(names);
        }
    }

    /// Puts the names of a new configuration in force.
    pub fn replace(&self, names: Names) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(names.after(&current));
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn groups_are_found_by_name_pool_and_name_and_every_address() {
        let names = fixture::names();
        let pair = fixture::group("10.77.0.102");
        assert_eq!(names.find_group("10.77.0.102"), Ok(pair));
        assert_eq!(names.find_group("fd77::102"), Ok(pair));
        assert_eq!(names.find_group("FD77:0::102"), Ok(pair), "same address, other spelling");
        assert_eq!(names.find_group("web/10.77.0.102"), Ok(pair));
        assert_eq!(names.find_group("mail/10.77.0.102"), Err(Unresolved::Unknown));
        assert_eq!(names.find_group("10.77.0.250"), Err(Unresolved::Unknown));
    }

    #[test]
    fn a_name_in_two_pools_needs_its_pool() {
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        let named = |pool: &str, first: &str| {
            let group = GroupKey::from_first_address(address(first));
            let addresses = vec![address(first)];
            let (pool, mode) = (pool.to_owned(), Mode::Availability);
            (group, GroupName { pool, group: "api".to_owned(), addresses, mode })
        };
        let groups = vec![named("web", "10.0.0.1"), named("mail", "10.0.0.2")];
        let mail = groups[1].0;
        let names = Names::new("edge".to_owned(), NodeId(1), Vec::new(), groups);
        assert_eq!(names.find_group("api"), Err(Unresolved::Ambiguous));
        assert_eq!(names.find_group("mail/api"), Ok(mail));
    }

    #[test]
    fn a_link_local_address_of_several_groups_needs_its_interface() {
        let gateway: IpAddr = "fe80::1".parse().unwrap();
        let named = |key, group: &str| {
            let (pool, group) = ("gateways".to_owned(), group.to_owned());
            (key, GroupName { pool, group, addresses: vec![gateway], mode: Mode::Availability })
        };
        let (one, other) = (GroupKey::from_first_address(gateway), GroupKey(7));
        let groups = vec![named(one, "fe80::1%eth0"), named(other, "guests")];
        let names = Names::new("edge".to_owned(), NodeId(1), Vec::new(), groups)
            .with_links([(one, "eth0".to_owned()), (other, "eth1".to_owned())].into())
            .with_zoned([(other, "fe80::1%eth1".to_owned())].into());
        assert_eq!(names.find_group("fe80::1"), Err(Unresolved::Ambiguous));
        assert_eq!(names.find_group("fe80::1%eth0"), Ok(one));
        assert_eq!(names.find_group("fe80::1%eth1"), Ok(other));
        assert_eq!(names.find_group("fe80:0::1%eth1"), Ok(other));
        assert_eq!(names.find_group("guests"), Ok(other));
        assert_eq!(names.find_group("fe80::1%eth2"), Err(Unresolved::Unknown));
        assert_eq!(names.address(one), "fe80::1");
        assert_eq!(names.address(other), "fe80::1%eth1");
    }

    #[test]
    fn what_the_configuration_does_not_have_is_shown_by_number() {
        let names = fixture::names();
        assert_eq!(names.node(NodeId(0xbeef)), "node-0000beef");
        assert_eq!(names.group(GroupKey(1)).group, "group-0000000000000001");
        assert_eq!(names.group_place(GroupKey(1)), usize::MAX);
    }

    #[test]
    fn what_a_reload_took_away_keeps_its_last_name() {
        let held = NamesInForce::new(fixture::names());
        let (group, node) = (fixture::group("10.77.0.100"), fixture::node("lb3"));
        let empty = || Names::new("edge".to_owned(), fixture::node("lb1"), Vec::new(), Vec::new());
        for _ in 0..2 {
            held.replace(empty());
            let names = held.current();
            assert_eq!(names.group(group).group, "10.77.0.100");
            assert_eq!((names.group(group).pool, names.node(node)), ("web".into(), "lb3".into()));
            assert_eq!(names.pool(PoolId::from_name("web")), "web");
            assert_eq!(names.find_group("10.77.0.100"), Err(Unresolved::Unknown));
            assert_eq!(names.find_node("lb3"), None);
        }
        held.replace(fixture::names());
        assert_eq!(*held.current(), fixture::names(), "it is in force again, and former no more");
    }

    #[test]
    fn names_in_force_are_replaced_for_every_holder() {
        let held = NamesInForce::new(fixture::names());
        let other = held.clone();
        held.replace(Names::new("core".to_owned(), NodeId(1), Vec::new(), Vec::new()));
        assert_eq!(other.current().cluster(), "core");
    }
}
