//! What is different between two files, for `buoy reload` and its report.
//!
//! The daemon applies exactly these; a group that no change names is not touched. A running daemon
//! can apply everything except a new name of the cluster, to which its sessions are bound.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::duration::show_duration;
use super::routes;
use super::voters::voters_changed;
use super::vrrp;
use super::zones;
use super::{
    CheckConfig, Config, Endpoint, GroupConfig, HaproxyConfig, HookConfig, NodeConfig, Role,
};
use crate::protocol::Preserve;

/// One difference between the configuration in use and another, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    text: String,
    refused: bool,
}

impl Change {
    /// Returns whether a running daemon cannot apply this; its text says what to do instead.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        self.refused
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// Compares the configuration in use with another; empty if they mean the same.
#[must_use]
pub fn difference(old: &Config, new: &Config) -> Vec<Change> {
    let (from, to) = (&old.cluster, &new.cluster);
    let renamed = (from != to).then(|| Change {
        text: format!("cluster renamed from {from} to {to}: needs a restart"),
        refused: true,
    });
    let voters = voters_changed(old, new).map(|(from, to)| {
        format!(
            "voters changed from {from} to {to} in mode majority: the new list takes effect when a \
             majority of the old voters has reloaded"
        )
    });
    let keys = (old.keys != new.keys).then(|| keys(new));
    let (checks, hooks) = (checks(&old.checks, &new.checks), hooks(&old.hooks, &new.hooks));
    let zones = zones::changed(&old.groups, &new.groups).into_iter().map(|(group, address)| {
        let text = format!(
            "group {group} would be another group to nodes with the old file: keep the order and the \
             names of the groups with {address}, or remove {address}, reload on all nodes, and add it \
             again"
        );
        Change { text, refused: true }
    });
    let texts = voters
        .into_iter()
        .chain(settings(old, new))
        .chain(keys)
        .chain(nodes(&old.nodes, &new.nodes))
        .chain(groups(&old.groups, &new.groups))
        .chain(checks)
        .chain(hooks);
    let refused = renamed.into_iter().chain(zones);
    refused.chain(texts.map(|text| Change { text, refused: false })).collect()
}

/// The single values of `[cluster]`, `[haproxy]` and `[timing]`, as they are shown.
fn shown(config: &Config) -> [(&'static str, String); 20] {
    let timing = &config.timing;
    [
        ("port", config.port.to_string()),
        ("kernel_lease", config.kernel_lease.word().to_owned()),
        ("adaptive timing", if config.is_adaptive() { "on" } else { "off" }.to_owned()),
        ("restart", config.restart.word().to_owned()),
        ("load_aware", config.load_aware.to_string()),
        ("tickle_connections_max", config.tickle_connections_max.to_string()),
        ("drain_timeout", show_duration(config.drain_timeout)),
        ("haproxy", config.haproxy.as_ref().map_or("none".to_owned(), haproxy)),
        ("preserve_connections", config.preserve.map_or("off".to_owned(), preserve)),
        ("timing heartbeat", show_duration(timing.heartbeat)),
        ("timing offer_wait", show_duration(timing.offer_wait)),
        ("timing retry", show_duration(timing.retry)),
        ("timing rank_skew", show_duration(timing.rank_skew)),
        ("timing unclaimed_wait", show_duration(timing.unclaimed_wait)),
        ("timing maturity_min", show_duration(timing.maturity_min)),
        ("timing maturity_max", show_duration(timing.maturity_max)),
        ("timing solo_wait", show_duration(timing.solo_wait)),
        ("timing announce_refresh", show_duration(timing.announce_refresh)),
        ("timing misses", timing.misses.to_string()),
        ("timing announce_rate", timing.announce_rate.to_string()),
    ]
}

fn preserve(preserve: Preserve) -> String {
    let limit = show_duration(preserve.limit);
    if preserve.brief { format!("not written, for {limit}") } else { limit }
}

fn haproxy(haproxy: &HaproxyConfig) -> String {
    let shown = |at: &Endpoint| match at {
        Endpoint::Tcp(at) => at.to_string(),
        Endpoint::Unix(at) => at.display().to_string(),
    };
    let (list, at) = (&haproxy.list, shown(&haproxy.at));
    match &haproxy.master {
        Some(master) => format!("{list} of {at}, master {}", shown(master)),
        None => format!("{list} of {at}"),
    }
}

fn settings(old: &Config, new: &Config) -> impl Iterator<Item = String> {
    let pairs = shown(old).into_iter().zip(shown(new));
    pairs
        .filter(|((_, from), (_, to))| from != to)
        .map(|((key, from), (_, to))| format!("{key} changed from {from} to {to}"))
}

fn keys(new: &Config) -> String {
    let others = new.keys.all.iter().map(|(id, _)| *id).filter(|id| *id != new.keys.active);
    let ids = std::iter::once(new.keys.active).chain(others).map(|id| id.to_string());
    format!("keys changed, now {} with the first active", ids.collect::<Vec<_>>().join(", "))
}

fn checks(old: &[CheckConfig], new: &[CheckConfig]) -> Vec<String> {
    let found = each(old, new, |check| &check.name).into_iter();
    found.map(|(check, what)| format!("check {check} {what}")).collect()
}

fn hooks(old: &[HookConfig], new: &[HookConfig]) -> Vec<String> {
    let mut found = each(old, new, |hook| &hook.name);
    if found.is_empty() && old != new {
        found.push(("order".to_owned(), "changed"));
    }
    found.into_iter().map(|(hook, what)| format!("hook {hook} {what}")).collect()
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

fn nodes(old: &[NodeConfig], new: &[NodeConfig]) -> Vec<String> {
    let mut changes = Vec::new();
    for node in old.iter().filter(|node| new.iter().all(|other| other.id != node.id)) {
        changes.push(format!("node {} removed", node.name));
    }
    for node in new {
        let Some(before) = old.iter().find(|other| other.id == node.id) else {
            changes.push(format!("node {} added", node.name));
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
        if before.labels != node.labels {
            let shown = |labels: &[String]| match labels {
                [] => "none".to_owned(),
                labels => labels.join(" and "),
            };
            what.push(format!("labels from {} to {}", shown(&before.labels), shown(&node.labels)));
        }
        if before.role != node.role {
            what.push(format!("from {} to {}", role(before.role), role(node.role)));
        }
        if !what.is_empty() {
            changes.push(format!("node {} changed: {}", node.name, what.join(", ")));
        }
    }
    changes
}

fn groups(old: &[GroupConfig], new: &[GroupConfig]) -> Vec<String> {
    let mut changes = Vec::new();
    for group in old.iter().filter(|group| new.iter().all(|other| other.key != group.key)) {
        changes.push(format!("group {} removed", group.name));
    }
    for group in new {
        let Some(before) = old.iter().find(|other| other.key == group.key) else {
            changes.push(format!("group {} added", group.name));
            continue;
        };
        let what = group_changes(before, group);
        if !what.is_empty() {
            changes.push(format!("group {} changed: {}", group.name, what.join(", ")));
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
    if old.requires != new.requires {
        what.push("required labels".to_owned());
    }
    if old.apart_from != new.apart_from {
        what.push("pools that it is kept apart from".to_owned());
    }
    if old.together_with != new.together_with {
        what.push("pools that it is kept together with".to_owned());
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
    let (before, after) = (&old.routing, &new.routing);
    what.extend(routes::changed("routes", (&before.routes, &after.routes)));
    what.extend(routes::changed("rules", (&before.rules, &after.rules)));
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
