//! What each module needs to know of the configuration file.

use std::net::{IpAddr, SocketAddr};

use crate::config::{Config, NodeConfig};
use crate::control::names::{GroupName, Names, NodeName};
use crate::kernel;
use crate::protocol::NodeId;
use crate::transport::Path;
use crate::wire::{Key, KeyRing, KeyRingError};

/// One heartbeat path for each address of this node.
pub(crate) fn paths(config: &Config, me: NodeId) -> Vec<Path> {
    let Some(here) = config.nodes.iter().find(|node| node.id == me) else { return Vec::new() };
    let path = |(place, local): (usize, &IpAddr)| Path {
        local: SocketAddr::new(*local, config.port),
        peers: others(config, me)
            .filter_map(|node| {
                let address = node.addresses.get(place)?;
                Some((node.id, SocketAddr::new(*address, config.port)))
            })
            .collect(),
    };
    here.addresses.iter().enumerate().map(path).collect()
}

/// The other nodes.
pub(crate) fn peers(config: &Config, me: NodeId) -> Vec<NodeId> {
    others(config, me).map(|node| node.id).collect()
}

fn others(config: &Config, me: NodeId) -> impl Iterator<Item = &NodeConfig> {
    config.nodes.iter().filter(move |node| node.id != me)
}

/// The keys.
pub(crate) fn ring(config: &Config) -> Result<KeyRing, KeyRingError> {
    let keys = config.keys.all.iter().map(|(id, secret)| Key { id: *id, secret: *secret });
    KeyRing::new(keys.collect(), config.keys.active)
}

/// What the kernel side acts upon.
pub(crate) fn kernel(config: &Config, me: NodeId) -> kernel::Settings {
    kernel::Settings {
        groups: groups(config, me),
        peer_addresses: peer_addresses(config, me),
        gate: Some(kernel::table_name(&config.cluster)),
    }
}

/// Every address of the other nodes.
pub(crate) fn peer_addresses(config: &Config, me: NodeId) -> Vec<IpAddr> {
    others(config, me).flat_map(|node| node.addresses.clone()).collect()
}

/// The groups with their addresses; none for a witness, which needs no link for them.
pub(crate) fn groups(config: &Config, me: NodeId) -> Vec<kernel::GroupAddresses> {
    if config.nodes.iter().any(|node| node.id == me && !node.role.owns()) {
        return Vec::new();
    }
    let group = |group: &crate::config::GroupConfig| kernel::GroupAddresses {
        key: group.key,
        name: group.name.clone(),
        interface: group.interface.clone(),
        addresses: group.vips.iter().map(|vip| (vip.address, vip.prefix)).collect(),
    };
    config.groups.iter().map(group).collect()
}

/// The names that operators use.
pub(crate) fn names(config: &Config, me: NodeId) -> Names {
    let node = |node: &NodeConfig| {
        let (owns, votes) = (node.role.owns(), node.role.votes());
        (node.id, NodeName { node: node.name.clone(), owns, votes })
    };
    let group = |group: &crate::config::GroupConfig| {
        let name = GroupName {
            pool: group.pool.clone(),
            group: group.name.clone(),
            addresses: group.vips.iter().map(|vip| vip.address).collect(),
            mode: group.mode,
        };
        (group.key, name)
    };
    let (nodes, groups) = (config.nodes.iter().map(node), config.groups.iter().map(group));
    Names::new(config.cluster.clone(), me, nodes.collect(), groups.collect())
}
