//! What is different between two files, for `buoy reload` and its report.
//!
//! The daemon applies exactly these; a group that no change names is not touched. Everything may
//! change while the daemon runs but the name of the cluster, which its sessions are bound to.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::protocol::Timing;

use super::duration::show_duration;
use super::voters::voters_changed;
use super::vrrp;
use super::zones;
use super::{Config, GroupConfig, HaproxyConfig, KernelLease, NodeConfig, Role};

/// One difference between the file that is in use and the one to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The cluster has another name. Only a restart can apply this.
    Cluster {
        /// Name in use.
        from: String,
        /// Name in the file.
        to: String,
    },
    /// Others vote on the leases of pools in mode `majority`. Each node votes under the new list when
    /// a majority of the voters of the old one goes by it.
    Voters {
        /// Names in use.
        from: String,
        /// Names in the file.
        to: String,
    },
    /// Heartbeats go to another port.
    Port {
        /// Port in use.
        from: u16,
        /// Port in the file.
        to: u16,
    },
    /// Running without the gate in nf_tables is allowed or forbidden.
    KernelLease {
        /// In use.
        from: KernelLease,
        /// In the file.
        to: KernelLease,
    },
    /// A setting of the cluster has another value.
    Setting {
        /// Its key.
        key: &'static str,
        /// Value in use.
        from: String,
        /// Value in the file.
        to: String,
    },
    /// Placement goes by how busy nodes are, or no longer.
    LoadAware {
        /// In the file.
        to: bool,
    },
    /// Keys were added, removed or replaced, or another is active.
    Keys {
        /// Ids of the keys to accept, the active one first.
        ids: Vec<u8>,
    },
    /// One time or limit has another value.
    Timing {
        /// Its key.
        key: &'static str,
        /// Value in use.
        from: String,
        /// Value in the file.
        to: String,
    },
    /// There is a new node.
    NodeAdded {
        /// Its name.
        node: String,
    },
    /// A node is no longer there.
    NodeRemoved {
        /// Its name.
        node: String,
    },
    /// A node is described differently.
    NodeChanged {
        /// Its name.
        node: String,
        /// What is different, in words.
        what: String,
    },
    /// There is a new group.
    GroupAdded {
        /// Its name.
        group: String,
    },
    /// A group is no longer there.
    GroupRemoved {
        /// Its name.
        group: String,
    },
    /// A group with the same first address is described differently.
    GroupChanged {
        /// Its name in the file.
        group: String,
        /// What is different, in words.
        what: String,
    },
    /// A link-local address of a group would have another key than at nodes with the other file.
    Identity {
        /// Name of the group in the file.
        group: String,
        /// The address.
        address: IpAddr,
    },
    /// A check was added, removed or changed.
    Check {
        /// Its name.
        check: String,
        /// `added`, `removed` or `changed`.
        what: &'static str,
    },
    /// A hook was added, removed or changed.
    Hook {
        /// Its name; `order` if only that changed.
        hook: String,
        /// `added`, `removed` or `changed`.
        what: &'static str,
    },
}

impl Change {
    /// Whether a running daemon must not apply this; its text says what to do instead.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Cluster { .. } | Self::Identity { .. })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster { from, to } => {
                write!(out, "cluster renamed from {from} to {to}: needs a restart")
            }
            Self::Voters { from, to } => write!(
                out,
                "voters changed from {from} to {to} under mode majority: they vote when a majority \
                 of the old ones has reloaded"
            ),
            Self::Port { from, to } => write!(out, "port changed from {from} to {to}"),
            Self::KernelLease { from, to } => {
                write!(out, "kernel_lease changed from {} to {}", from.word(), to.word())
            }
            Self::LoadAware { to } => write!(out, "load_aware changed to {to}"),
            Self::Keys { ids } => {
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                write!(out, "keys changed, now {} with the first active", ids.join(", "))
            }
            Self::Setting { key, from, to } => write!(out, "{key} changed from {from} to {to}"),
            Self::Timing { key, from, to } => {
                write!(out, "timing {key} changed from {from} to {to}")
            }
            Self::NodeAdded { node } => write!(out, "node {node} added"),
            Self::NodeRemoved { node } => write!(out, "node {node} removed"),
            Self::NodeChanged { node, what } => write!(out, "node {node} changed: {what}"),
            Self::GroupAdded { group } => write!(out, "group {group} added"),
            Self::GroupRemoved { group } => write!(out, "group {group} removed"),
            Self::GroupChanged { group, what } => write!(out, "group {group} changed: {what}"),
            Self::Identity { group, address } => write!(
                out,
                "group {group} would be another group to nodes with the old file: leave the order \
                 and the names of the groups with {address} as they are, or take {address} out, \
                 reload at all nodes, and put it in again"
            ),
            Self::Check { check, what } => write!(out, "check {check} {what}"),
            Self::Hook { hook, what } => write!(out, "hook {hook} {what}"),
        }
    }
}

/// Compares the configuration in use with another; empty if they mean the same.
#[must_use]
pub fn difference(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.cluster != new.cluster {
        changes.push(Change::Cluster { from: old.cluster.clone(), to: new.cluster.clone() });
    }
    if let Some((from, to)) = voters_changed(old, new) {
        changes.push(Change::Voters { from, to });
    }
    if old.port != new.port {
        changes.push(Change::Port { from: old.port, to: new.port });
    }
    if old.kernel_lease != new.kernel_lease {
        changes.push(Change::KernelLease { from: old.kernel_lease, to: new.kernel_lease });
    }
    if old.restart != new.restart {
        let (from, to) = (old.restart.word().to_owned(), new.restart.word().to_owned());
        changes.push(Change::Setting { key: "restart", from, to });
    }
    if old.load_aware != new.load_aware {
        changes.push(Change::LoadAware { to: new.load_aware });
    }
    if old.keys != new.keys {
        let others = new.keys.all.iter().map(|(id, _)| *id).filter(|id| *id != new.keys.active);
        changes
            .push(Change::Keys { ids: std::iter::once(new.keys.active).chain(others).collect() });
    }
    if old.tickle_connections_max != new.tickle_connections_max {
        let (from, to) = (old.tickle_connections_max, new.tickle_connections_max);
        let (from, to) = (from.to_string(), to.to_string());
        changes.push(Change::Setting { key: "tickle_connections_max", from, to });
    }
    if old.drain_timeout != new.drain_timeout {
        let (from, to) = (show_duration(old.drain_timeout), show_duration(new.drain_timeout));
        changes.push(Change::Setting { key: "drain_timeout", from, to });
    }
    if old.haproxy != new.haproxy {
        let shown = |haproxy: &Option<HaproxyConfig>| {
            haproxy.as_ref().map_or("none".to_owned(), |it| it.list.clone())
        };
        let (from, to) = (shown(&old.haproxy), shown(&new.haproxy));
        changes.push(Change::Setting { key: "haproxy", from, to });
    }
    if old.preserve != new.preserve {
        let shown = |length: Option<_>| length.map_or("off".to_owned(), show_duration);
        let (from, to) = (shown(old.preserve), shown(new.preserve));
        changes.push(Change::Setting { key: "preserve_connections", from, to });
    }
    changes.extend(timing(&old.timing, &new.timing));
    changes.extend(nodes(&old.nodes, &new.nodes));
    changes.extend(groups(&old.groups, &new.groups));
    changes.extend(zones::changed(&old.groups, &new.groups));
    let checks = each(&old.checks, &new.checks, |check| &check.name);
    changes.extend(checks.into_iter().map(|(check, what)| Change::Check { check, what }));
    let hooks = each(&old.hooks, &new.hooks, |hook| &hook.name);
    let moved = hooks.is_empty() && old.hooks != new.hooks;
    let moved = moved.then(|| ("order".to_owned(), "changed"));
    let hooks = hooks.into_iter().chain(moved);
    changes.extend(hooks.map(|(hook, what)| Change::Hook { hook, what }));
    changes
}

/// What was removed, added and changed among things that have names.
fn each<T: PartialEq>(
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &String,
) -> Vec<(String, &'static str)> {
    let find = |list: &[T], wanted: &String| list.iter().position(|one| name(one) == wanted);
    let removed = old.iter().filter(|one| find(new, name(one)).is_none());
    let mut found: Vec<_> = removed.map(|one| (name(one).clone(), "removed")).collect();
    for one in new {
        match find(old, name(one)) {
            None => found.push((name(one).clone(), "added")),
            Some(place) if old[place] != *one => found.push((name(one).clone(), "changed")),
            Some(_) => {}
        }
    }
    found
}

fn timing(old: &Timing, new: &Timing) -> Vec<Change> {
    let lengths = |timing: &Timing| {
        [
            ("heartbeat", timing.heartbeat),
            ("offer_wait", timing.offer_wait),
            ("retry", timing.retry),
            ("rank_skew", timing.rank_skew),
            ("unclaimed_wait", timing.unclaimed_wait),
            ("maturity_min", timing.maturity_min),
            ("maturity_max", timing.maturity_max),
            ("solo_wait", timing.solo_wait),
            ("announce_refresh", timing.announce_refresh),
        ]
        .map(|(key, length)| (key, show_duration(length)))
    };
    let counts = |timing: &Timing| {
        [("misses", timing.misses.to_string()), ("announce_rate", timing.announce_rate.to_string())]
    };
    let old = lengths(old).into_iter().chain(counts(old));
    let new = lengths(new).into_iter().chain(counts(new));
    old.zip(new)
        .filter(|((_, from), (_, to))| from != to)
        .map(|((key, from), (_, to))| Change::Timing { key, from, to })
        .collect()
}

fn nodes(old: &[NodeConfig], new: &[NodeConfig]) -> Vec<Change> {
    let mut changes = Vec::new();
    for node in old.iter().filter(|node| new.iter().all(|other| other.id != node.id)) {
        changes.push(Change::NodeRemoved { node: node.name.clone() });
    }
    for node in new {
        let Some(before) = old.iter().find(|other| other.id == node.id) else {
            changes.push(Change::NodeAdded { node: node.name.clone() });
            continue;
        };
        let mut what = Vec::new();
        if before.addresses != node.addresses {
            let (from, to) = (list(&before.addresses), list(&node.addresses));
            what.push(format!("addresses from {from} to {to}"));
        }
        if before.weight != node.weight {
            what.push(format!("weight from {} to {}", before.weight, node.weight));
        }
        if before.role != node.role {
            what.push(format!("from {} to {}", role(before.role), role(node.role)));
        }
        if !what.is_empty() {
            changes.push(Change::NodeChanged { node: node.name.clone(), what: what.join(", ") });
        }
    }
    changes
}

fn groups(old: &[GroupConfig], new: &[GroupConfig]) -> Vec<Change> {
    let mut changes = Vec::new();
    for group in old.iter().filter(|group| new.iter().all(|other| other.key != group.key)) {
        changes.push(Change::GroupRemoved { group: group.name.clone() });
    }
    for group in new {
        let Some(before) = old.iter().find(|other| other.key == group.key) else {
            changes.push(Change::GroupAdded { group: group.name.clone() });
            continue;
        };
        let what = group_changes(before, group);
        if !what.is_empty() {
            changes.push(Change::GroupChanged { group: group.name.clone(), what: what.join(", ") });
        }
    }
    changes
}

fn shown_interface(group: &GroupConfig) -> String {
    match (&group.interface, group.interface_of.is_empty()) {
        (Some(names), _) => names.clone(),
        (None, true) => "the routed one".to_owned(),
        (None, false) => {
            let mut names: Vec<&str> = group.interface_of.values().map(String::as_str).collect();
            names.sort_unstable();
            format!("one for each node ({})", names.join(", "))
        }
    }
}

fn group_changes(old: &GroupConfig, new: &GroupConfig) -> Vec<String> {
    let mut what = Vec::new();
    if old.name != new.name {
        what.push(format!("renamed from {}", old.name));
    }
    if old.pool != new.pool {
        what.push(format!("pool from {} to {}", old.pool, new.pool));
    }
    let added = new.vips.iter().filter(|vip| !old.vips.contains(vip));
    what.extend(added.map(|vip| format!("{vip} added")));
    let removed = old.vips.iter().filter(|vip| !new.vips.contains(vip));
    what.extend(removed.map(|vip| format!("{vip} removed")));
    if (&old.interface, &old.interface_of) != (&new.interface, &new.interface_of) {
        what.push(format!("interface from {} to {}", shown_interface(old), shown_interface(new)));
    }
    if old.mode != new.mode {
        what.push(format!("mode from {:?} to {:?}", old.mode, new.mode).to_lowercase());
    }
    if old.strategy != new.strategy {
        what.push(format!("strategy from {:?} to {:?}", old.strategy, new.strategy).to_lowercase());
    }
    if old.prefer != new.prefer {
        what.push("preferred nodes".to_owned());
    }
    if old.failback != new.failback {
        let shown = |wait: Option<Duration>| wait.map_or("never".to_owned(), show_duration);
        what.push(format!("failback from {} to {}", shown(old.failback), shown(new.failback)));
    }
    if old.force != new.force {
        what.push(format!("force from {} to {}", old.force, new.force));
    }
    if old.last_resort != new.last_resort {
        let (from, to) = (old.last_resort, new.last_resort);
        what.push(format!("last_resort from {from:?} to {to:?}").to_lowercase());
    }
    what.extend(vrrp::changed(old.vrrp.as_ref(), new.vrrp.as_ref()));
    what
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::NonVoter => "member without a vote",
        Role::Witness => "witness",
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}
