//! One number for what a file means, so that nodes can tell whether they run the same.
//!
//! Comments, the order of keys, tables and groups, and spelled-out defaults do not change it. The
//! keys and the place of the key file are left out: they may differ while keys are rotated.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::addresses::Vip;
use super::connections::{BRIEF, TICKLED};
use super::vrrp::VrrpConfig;
use super::{Config, GroupConfig, HaproxyConfig, KernelLease, NodeConfig, Restart};
use crate::protocol::{LastResort, Preserve};
use crate::routing::Routing;

/// The first 64 bits of the SHA-256 of the meaning, written out in one order.
pub(super) fn digest(config: &Config) -> u64 {
    let hash = Sha256::digest(meaning(config).as_bytes());
    let bytes: [u8; 32] = hash.into();
    let [a, b, c, d, e, f, g, h, ..] = bytes;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn meaning(config: &Config) -> String {
    let mut nodes: Vec<String> = config.nodes.iter().map(node).collect();
    nodes.sort();
    let mut groups: Vec<String> = config
        .groups
        .iter()
        .map(|group| {
            let zone = |address| group.keys.get(&address).map(|key| format!(" {key}"));
            let vip = |vip: &Vip| format!("{vip}{}", zone(vip.address).unwrap_or_default());
            let mut vips: Vec<String> = group.vips.iter().map(vip).collect();
            // The first is the identity of the group; the order of the others means nothing.
            vips.iter_mut().skip(1).for_each(|vip| vip.insert(0, '+'));
            vips.sort();
            let preferred = group.prefer.nodes();
            let placed = (&group.interface, group.strategy, &preferred, group.failback);
            // Left out where it is the default, as by software that does not know it.
            let force = if group.force { " force" } else { "" };
            let mode = group.mode;
            let release = if group.last_resort == LastResort::Release { " release" } else { "" };
            let mut links: Vec<_> = group.interface_of.iter().collect();
            links.sort();
            let links = if links.is_empty() { String::new() } else { format!(" {links:?}") };
            let (pool, name) = (&group.pool, &group.name);
            let vrrp = group.vrrp.as_ref().map(VrrpConfig::meaning).unwrap_or_default();
            let routing = routing(&group.routing);
            let rules = rules(group);
            format!(
                "{pool} {name} {vips:?} {placed:?} {mode:?}{force}{release}{links}{vrrp}{routing}{rules}"
            )
        })
        .collect();
    groups.sort();
    let mut text = format!("{} {} {:?}\n", config.cluster, config.port, config.timing);
    if config.is_adaptive() {
        text.push_str("profile auto\n");
    }
    if config.kernel_lease != KernelLease::default() {
        text.push_str("kernel_lease required\n");
    }
    if config.restart != Restart::default() {
        text.push_str("restart in-place\n");
    }
    if config.tickle_connections_max != TICKLED {
        let _ = writeln!(text, "tickle_connections_max {}", config.tickle_connections_max);
    }
    if !config.drain_timeout.is_zero() {
        let _ = writeln!(text, "drain_timeout {:?}", config.drain_timeout);
    }
    if let Some(haproxy) = &config.haproxy {
        text.push_str(&of_haproxy(haproxy));
    }
    match config.preserve {
        None => text.push_str("preserve_connections no\n"),
        // As versions had it that knew no default.
        Some(Preserve { limit: BRIEF, brief: true }) => {}
        Some(Preserve { limit, brief }) => {
            let key = if brief { "preserve_timeout" } else { "preserve_connections" };
            let _ = writeln!(text, "{key} {limit:?}");
        }
    }
    if config.load_aware {
        text.push_str("load_aware\n");
    }
    // Nothing for none, as by software that does not know them. The order of hooks is theirs.
    let mut checks: Vec<String> =
        config.checks.iter().map(|check| format!("check {check:?}")).collect();
    checks.sort();
    let hooks: Vec<String> = config.hooks.iter().map(|hook| format!("hook {hook:?}")).collect();
    for line in nodes.iter().chain(&groups).chain(&checks).chain(&hooks) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

/// As versions without `master_socket` write it, and that behind.
fn of_haproxy(haproxy: &HaproxyConfig) -> String {
    let HaproxyConfig { at, list, master } = haproxy;
    let mut text = format!("HaproxyConfig {{ at: {at:?}, list: {list:?} }}\n");
    if let Some(master) = master {
        let _ = writeln!(text, "master_socket {master:?}");
    }
    text
}

/// Labels only where there are any, as by software that does not know them.
fn node(node: &NodeConfig) -> String {
    let labels: String = node.labels.iter().map(|label| format!(" {label}")).collect();
    format!("{} {:?} {} {:?}{labels}", node.name, node.addresses, node.weight, node.role)
}

/// Rules of placement; nothing for none, as by software that does not know them.
fn rules(group: &GroupConfig) -> String {
    let required = group.requires.iter().map(|label| format!(" requires {label}"));
    let apart = group.apart_from.iter().map(|pool| format!(" apart_from {pool}"));
    let with = group.together_with.iter().map(|pool| format!(" together_with {pool}"));
    let alike = group.prefer.places().any(|nodes| nodes.len() > 1);
    let alike = alike.then(|| format!(" {:?}", group.prefer));
    required.chain(apart).chain(with).chain(alike).collect()
}

/// Routes and rules in any order; nothing for none.
fn routing(routing: &Routing) -> String {
    let (mut routes, mut rules) = (routing.routes.clone(), routing.rules.clone());
    routes.sort();
    rules.sort();
    if routing.is_empty() { String::new() } else { format!(" {routes:?} {rules:?}") }
}
