//! What each module needs to know of the configuration file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::clock;
use super::event_loop::Vital;
use super::realtime;
use super::state_file::Estate;
use super::voices::VirtualRouters;
use super::will::Host;
use crate::config::{Config, KernelLease, NodeConfig};
use crate::control::duration_text::millis;
use crate::control::names::{GroupName, Names, NodeName};
use crate::control::pool_rules::{PoolRule, PoolRules};
use crate::control::response::{Fence, FenceKind};
use crate::kernel::{self, Door, Fenced, GateWanted, Kernel};
use crate::protocol::{Configuration, GroupKey, Mode, NodeId, Preserving};
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

/// What is this cluster's on this host, but for the gate, which shows at the start.
pub(crate) fn host(config: &Config) -> Host {
    let table = kernel::table_name(&config.cluster);
    let earlier = kernel::Mark::here(&table).has_earlier();
    Host { table, gate: false, earlier }
}

/// What the kernel side acts upon.
pub(crate) fn kernel(
    config: &Config,
    me: NodeId,
    vital: &Arc<Vital>,
    estate: Option<&Estate>,
) -> kernel::Settings {
    let said = Arc::clone(vital);
    let vouched = Arc::new(move || said.deadlines.last().since(clock::now()));
    let said = Arc::clone(vital);
    let granted = Arc::new(move || said.deadlines.until(Door::Granted).since(clock::now()));
    let (guardian, turning) = (Arc::clone(vital), Arc::clone(vital));
    let precedence = realtime::allowance();
    let ward = kernel::Ward {
        removal: Some(Arc::new(move || guardian.removals.take())),
        turn: Some(Arc::new(move || {
            turning.kernel_turns.fetch_add(1, Ordering::Relaxed);
            precedence();
        })),
    };
    let required = config.kernel_lease == KernelLease::Required;
    kernel::Settings {
        groups: groups(config, me),
        peer_addresses: peer_addresses(config, me),
        fence: Some(kernel::FenceSettings {
            table: kernel::table_name(&config.cluster),
            vouched: kernel::Vouched(vouched),
            lifetime: (!required).then(|| lifetime(config.slowest_timing().lease())),
            // Whatever the file says now: a reload may want it.
            preserve: true,
        }),
        ward,
        adopted: estate.iter().flat_map(|estate| estate.memory.tickets()).collect(),
        granted: Some(kernel::Vouched(granted)),
    }
}

/// How long addresses live where there is no gate, in seconds: 2, 3 and 10 with the profiles `fast`,
/// `lan` and `vm`. A stall that the lease forgives must not end them, nor the kernel's rounding.
fn lifetime(lease: Duration) -> u32 {
    2 + u32::try_from((lease * 2).as_secs()).unwrap_or(u32::MAX / 2)
}

/// What is wrong with a new configuration for the kernel side as it was started.
pub(crate) fn refusal(config: &Config, me: NodeId, fence: &Fenced) -> Option<String> {
    let majority = groups(config, me).iter().any(|group| group.mode == Mode::Majority);
    let wanted = match fence {
        Fenced::Gate(_) => None,
        Fenced::Nothing | Fenced::Lifetimes(_) if majority => Some(GateWanted::Majority),
        Fenced::Nothing | Fenced::Lifetimes(_) => {
            (config.kernel_lease == KernelLease::Required).then_some(GateWanted::Required)
        }
    };
    wanted
        .map(|wanted| format!("this daemon was started without a gate in nf_tables, and {wanted}"))
}

/// Every address of the other nodes.
pub(crate) fn peer_addresses(config: &Config, me: NodeId) -> Vec<IpAddr> {
    others(config, me).flat_map(|node| node.addresses.clone()).collect()
}

/// The other nodes, each with its addresses.
pub(crate) fn whereabouts(config: &Config, me: NodeId) -> BTreeMap<NodeId, Vec<IpAddr>> {
    others(config, me).map(|node| (node.id, node.addresses.clone())).collect()
}

/// The groups with their addresses; none for a witness, which needs no link for them.
pub(crate) fn groups(config: &Config, me: NodeId) -> Vec<kernel::GroupAddresses> {
    if config.nodes.iter().any(|node| node.id == me && !node.role.owns()) {
        return Vec::new();
    }
    let group = |group: &crate::config::GroupConfig| kernel::GroupAddresses {
        key: group.key,
        name: group.name.clone(),
        mode: group.mode,
        interface: group.interface_at(me).map(str::to_owned),
        addresses: group.vips.iter().map(|vip| (vip.address, vip.prefix)).collect(),
        keys: group.keys.clone(),
        routing: group.routing.at(me),
    };
    config.groups.iter().map(group).collect()
}

/// The groups that are virtual routers; none for a witness, which hears nobody there.
pub(crate) fn routers(config: &Config, me: NodeId) -> VirtualRouters {
    let has = |group: &kernel::GroupAddresses| {
        let group = config.groups.iter().find(|it| it.key == group.key)?;
        let addresses: Vec<IpAddr> = group.vips.iter().map(|vip| vip.address).collect();
        Some((group.key, (group.name.clone(), group.vrrp.as_ref()?.routers(&addresses))))
    };
    groups(config, me).iter().filter_map(has).collect()
}

/// The groups that a process begins without, which are all but those that one before it has left to
/// it, and these.
pub(crate) fn groups_at_start(
    config: &Config,
    me: NodeId,
    estate: Option<&Estate>,
) -> (Vec<GroupKey>, BTreeSet<GroupKey>) {
    let had = groups_had(estate);
    let groups = groups(config, me).into_iter().map(|group| group.key);
    (groups.filter(|group| !had.contains(group)).collect(), had)
}

/// The groups that a process before has left to this one.
pub(crate) fn groups_had(estate: Option<&Estate>) -> BTreeSet<GroupKey> {
    estate.iter().flat_map(|left| left.memory.tickets()).map(|(group, _)| group).collect()
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
    let links =
        config.groups.iter().filter_map(|group| Some((group.key, group.interface.clone()?)));
    Names::new(config.cluster.clone(), me, nodes.collect(), groups.collect())
        .with_links(links.collect())
        .with_zoned(zoned(config))
        .with_rules(rules(config))
}

/// The rules of placement, for explanations.
fn rules(config: &Config) -> PoolRules {
    let labels = config.nodes.iter().filter(|node| !node.labels.is_empty());
    let labels = labels.map(|node| (node.id, node.labels.iter().cloned().collect()));
    let rule = |group: &crate::config::GroupConfig| {
        let rule = PoolRule {
            requires: group.requires.clone(),
            apart_from: group.apart_from.clone(),
            together_with: group.together_with.clone(),
        };
        (group.pool.clone(), rule)
    };
    PoolRules { labels: labels.collect(), pools: config.groups.iter().map(rule).collect() }
}

/// Addresses that several groups have, each on its own link, for messages about one of them.
fn zoned(config: &Config) -> BTreeMap<GroupKey, String> {
    let of_group = |group: &crate::config::GroupConfig| {
        let link = group.interface.as_deref().filter(|names| !names.contains(' '));
        let link = link.unwrap_or(&group.name);
        let shown = |(address, key): (&IpAddr, &GroupKey)| (*key, format!("{address}%{link}"));
        group.keys.iter().map(shown).collect::<Vec<_>>()
    };
    config.groups.iter().flat_map(of_group).collect()
}

/// What ends the answers of this host without its daemon, for people.
pub(crate) fn fence(fenced: &Fenced, lease: Duration) -> Fence {
    let (kind, bound_ms) = match fenced {
        Fenced::Gate(_) => (FenceKind::Gate, Some(millis(lease))),
        // The kernel was seen to take up to 0.51 s longer; it looks at lifetimes each half second.
        Fenced::Lifetimes(seconds) => (FenceKind::Lifetime, Some(u64::from(*seconds) * 1000 + 500)),
        Fenced::Nothing => (FenceKind::None, None),
    };
    Fence { kind, bound_ms }
}

/// Has the core preserve connections, and tell peers so, only where the kernel can.
pub(super) fn note_preserving(protocol: &mut Configuration, kernel: &Kernel) {
    let wanted = protocol.preserve.is_some();
    protocol.preserving = if wanted { kernel.preserving() } else { Preserving::Off };
    if kernel.no_preserving().is_some() {
        protocol.preserve = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Timing;

    #[test]
    fn lifetimes_follow_the_profile() {
        let profiles = [Timing::FAST, Timing::LAN, Timing::VM];
        assert_eq!(profiles.map(|timing| lifetime(timing.lease())), [2, 3, 10]);
    }

    #[test]
    fn the_bound_follows_from_what_is_in_force() {
        let lease = Duration::from_millis(600);
        let told = |fenced| fence(&fenced, lease);
        let gate = told(Fenced::Gate("t".to_owned()));
        assert_eq!((gate.kind, gate.bound_ms), (FenceKind::Gate, Some(600)));
        let lifetime = told(Fenced::Lifetimes(3));
        assert_eq!((lifetime.kind, lifetime.bound_ms), (FenceKind::Lifetime, Some(3500)));
        assert_eq!(told(Fenced::Nothing), Fence::default());
    }
}
