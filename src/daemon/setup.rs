//! What each module needs to know of the configuration file.

use std::net::SocketAddr;

use crate::config::{Config, NodeConfig};
use crate::control::names::{GroupName, Names};
use crate::kernel;
use crate::protocol::NodeId;
use crate::transport::Path;
use crate::wire::{Key, KeyRing, KeyRingError};

/// One heartbeat path for each address of this node.
pub(crate) fn paths(config: &Config, me: NodeId) -> Vec<Path> {
    let Some(here) = config.nodes.iter().find(|node| node.id == me) else { return Vec::new() };
    let path = |(place, local): (usize, &std::net::IpAddr)| Path {
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
        groups: groups(config),
        peer_addresses: others(config, me).flat_map(|node| node.addresses.clone()).collect(),
        gate: Some(kernel::table_name(&config.cluster)),
    }
}

/// The groups with their addresses.
pub(crate) fn groups(config: &Config) -> Vec<kernel::GroupAddresses> {
    let group = |group: &crate::config::GroupConfig| kernel::GroupAddresses {
        key: group.key,
        name: group.name.clone(),
        mode: group.mode,
        interface: group.interface.clone(),
        addresses: group.vips.iter().map(|vip| (vip.address, vip.prefix)).collect(),
    };
    config.groups.iter().map(group).collect()
}

/// The names that operators use.
pub(crate) fn names(config: &Config, me: NodeId) -> Names {
    let nodes = config.nodes.iter().map(|node| (node.id, node.name.clone())).collect();
    let group = |group: &crate::config::GroupConfig| {
        let name = GroupName {
            pool: group.pool.clone(),
            group: group.name.clone(),
            addresses: group.vips.iter().map(|vip| vip.address).collect(),
        };
        (group.key, name)
    };
    Names::new(config.cluster.clone(), me, nodes, config.groups.iter().map(group).collect())
}
