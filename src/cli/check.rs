//! `buoy check`: all faults of a file, or what it means.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;

use nix::ifaddrs::getifaddrs;
use nix::unistd::gethostname;
use serde_json::{Value, json};

use crate::config::{
    self, Config, Fault, GroupConfig, Keys, NodeConfig, Refused, Role, Warning, find_me,
    show_duration,
};
use crate::control::duration_text::millis;
use crate::daemon::setup;
use crate::exit::Exit;
use crate::protocol::{Mode, NodeId, Strategy};
use crate::{keepalived, kernel};

use super::Streams;

/// Checks the file at `path`; `without_key` leaves its key file alone.
pub(super) fn run(
    path: &Path,
    without_key: bool,
    json: bool,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let checked = if without_key {
        config::read(path).and_then(|text| config::parse_with_keys(&text, path, Keys::withheld()))
    } else {
        config::load(path)
    };
    match checked {
        Ok(config) => {
            let me = this_host(&config);
            if json {
                writeln!(streams.out, "{}", taken_json(path, &config, me.as_ref()))?;
            } else {
                write_summary(path, &config, me, streams)?;
            }
            Ok(Exit::Done)
        }
        Err(refused) => {
            let refused = keepalived_instead(path).unwrap_or(refused);
            if json {
                writeln!(streams.out, "{}", refused_json(&refused))?;
            } else {
                writeln!(streams.err, "{refused}")?;
            }
            Ok(Exit::Configuration)
        }
    }
}

/// What to say of a file that is keepalived's.
fn keepalived_instead(path: &Path) -> Option<Refused> {
    let text = config::read(path).ok()?;
    if text.parse::<toml::Table>().is_ok() || !keepalived::looks_like(&text) {
        return None;
    }
    let fault = Fault {
        line: 0,
        key: String::new(),
        value: String::new(),
        problem: "is a configuration of keepalived, not of buoy".to_owned(),
        remedy: format!("convert it with: buoy import {}", path.display()),
    };
    Some(Refused { path: path.to_owned(), faults: vec![fault] })
}

/// The name of the node that this host would be, or why it would be none.
fn this_host(config: &Config) -> Result<String, String> {
    let interfaces = getifaddrs().map_err(|error| format!("addresses unknown: {error}"))?;
    let addresses: Vec<IpAddr> = interfaces
        .filter_map(|interface| interface.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .collect();
    let host_name = gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let id = find_me(config, None, &addresses, &host_name).map_err(|why| why.to_string())?;
    let named = config.nodes.iter().find(|node| node.id == id).map(|node| node.name.clone());
    Ok(named.unwrap_or_else(|| id.to_string()))
}

fn write_summary(
    path: &Path,
    config: &Config,
    me: Result<String, String>,
    streams: &mut Streams<'_>,
) -> io::Result<()> {
    let out = &mut streams.out;
    writeln!(out, "{} is valid: cluster {}, port {}", path.display(), config.cluster, config.port)?;
    writeln!(out, "\n{}", counted(config.nodes.len(), "node"))?;
    let rows = config.nodes.iter().map(node_row).collect();
    write_table(out, &["NAME", "ROLE", "WEIGHT", "ADDRESSES"], rows)?;
    let addresses: usize = config.groups.iter().map(|group| group.vips.len()).sum();
    let groups = counted(config.groups.len(), "group");
    writeln!(out, "\n{groups} with {}", counted(addresses, "address"))?;
    let rows = config.groups.iter().map(|group| group_row(config, group)).collect();
    write_table(out, &["GROUP", "POOL", "INTERFACE", "MODE", "PLACED", "ADDRESSES"], rows)?;
    let timing = &config.timing;
    write!(
        out,
        "\ntiming: profile {}, heartbeat {}, detection after {} missed, which is {}",
        config.profile,
        show_duration(timing.heartbeat),
        timing.misses,
        show_duration(timing.detection())
    )?;
    if config.is_adaptive() {
        write!(out, ", until the nodes have measured what they can do: 80 ms to 2 s")?;
    }
    writeln!(out)?;
    writeln!(
        out,
        "        a node starts to serve after {} to {}, or {} if it hears no peer",
        show_duration(timing.maturity_min),
        show_duration(timing.maturity_max),
        show_duration(timing.solo_wait)
    )?;
    let (active, count) = (config.keys.active, config.keys.all.len());
    let key_file = config.key_file.display();
    if count == 0 {
        writeln!(out, "keys:   {key_file} was not read")?;
    } else {
        writeln!(out, "keys:   {} in {key_file}, {active} is active", counted(count, "key"))?;
    }
    match &me {
        Ok(name) => writeln!(out, "here:   this host is node {name}")?,
        Err(why) => writeln!(out, "here:   {why}")?,
    }
    if me.is_ok() {
        writeln!(out, "{}", planned_moves(config))?;
    }
    for (group, text) in hindrances(config, me.as_ref()) {
        writeln!(out, "warning, group {group}: {text}")?;
    }
    for warning in &config.warnings {
        writeln!(out, "warning, {warning}")?;
    }
    Ok(())
}

/// What planned moves do to connections of this host, which is a node.
fn planned_moves(config: &Config) -> String {
    let Some(preserve) = config.preserve else {
        return "moves:  connections are reset 50 ms after a planned move".to_owned();
    };
    match kernel::preserving_hindrance() {
        Ok(None) => {
            let limit = show_duration(preserve.limit);
            format!("moves:  this host can serve connections for {limit} after a planned move")
        }
        Ok(Some(why)) => {
            format!("warning, connections are reset 50 ms after a planned move: {why}")
        }
        Err(why) => format!(
            "moves:  whether this host can serve connections after a planned move is not known \
             ({why}): run buoy check as root"
        ),
    }
}

/// What stands in the way of groups on this host, if it is a node.
fn hindrances(config: &Config, me: Result<&String, &String>) -> Vec<(String, String)> {
    let Ok(name) = me else { return Vec::new() };
    let groups = setup::groups(config, NodeId::from_name(name));
    let mark = kernel::Mark::here(&kernel::table_name(&config.cluster));
    kernel::hindrances(&groups, mark).unwrap_or_default()
}

fn node_row(node: &NodeConfig) -> Vec<String> {
    let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
    let (role, weight) = match node.role {
        Role::Member => ("member", node.weight.to_string()),
        Role::NonVoter => ("no vote", node.weight.to_string()),
        Role::Witness => ("witness", "-".to_owned()),
    };
    vec![node.name.clone(), role.to_owned(), weight, addresses.join(" ")]
}

fn group_row(config: &Config, group: &GroupConfig) -> Vec<String> {
    let vips: Vec<String> = group.vips.iter().map(ToString::to_string).collect();
    let interface = shown_interface(config, group);
    let (name, pool, mode) = (group.name.clone(), group.pool.clone(), mode(group).to_owned());
    vec![name, pool, interface, mode, placed(config, group), vips.join(" ")]
}

fn shown_interface(config: &Config, group: &GroupConfig) -> String {
    let of_node = |node: &NodeConfig| {
        Some(format!("{}={}", node.name, group.interface_of.get(&node.id)?.replace(' ', ",")))
    };
    let each: Vec<String> = config.nodes.iter().filter_map(of_node).collect();
    match &group.interface {
        Some(names) => names.replace(' ', ","),
        None if each.is_empty() => "by its network".to_owned(),
        None => each.join(" "),
    }
}

fn placed(config: &Config, group: &GroupConfig) -> String {
    let mut text = strategy(group).to_owned();
    if !group.prefer.is_empty() {
        text.push_str(&format!(": {}", prefer(config, group).join(", ")));
    }
    if !group.requires.is_empty() {
        text.push_str(&format!(", requires {}", group.requires.join(" ")));
    }
    if !group.apart_from.is_empty() {
        text.push_str(&format!(", apart from {}", group.apart_from.join(" ")));
    }
    let others: Vec<&str> = group.together_with.iter().map(String::as_str).collect();
    if !others.is_empty() {
        text.push_str(&format!(", together {}", others.join(" ")));
    }
    if let Some(after) = group.failback {
        text.push_str(&format!(", back after {}", show_duration(after)));
    }
    text
}

fn mode(group: &GroupConfig) -> &'static str {
    match group.mode {
        Mode::Availability => "availability",
        Mode::Majority => "majority",
    }
}

fn strategy(group: &GroupConfig) -> &'static str {
    match group.strategy {
        Strategy::Balance => "balance",
        Strategy::Priority => "priority",
    }
}

fn prefer(config: &Config, group: &GroupConfig) -> Vec<String> {
    let named = |id| config.nodes.iter().find(|node| node.id == id).map(|node| node.name.clone());
    group.prefer.nodes().into_iter().filter_map(named).collect()
}

/// Writes columns as wide as their widest cell; the last is not padded.
fn write_table(out: &mut dyn Write, head: &[&str], rows: Vec<Vec<String>>) -> io::Result<()> {
    let head = head.iter().map(|title| (*title).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or_default()
    };
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str("  ");
            line.push_str(cell);
            if column + 1 < row.len() {
                line.push_str(&" ".repeat(width(column) - cell.len()));
            }
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn counted(count: usize, noun: &str) -> String {
    match (count, noun) {
        (1, _) => format!("1 {noun}"),
        (_, "address") => format!("{count} addresses"),
        _ => format!("{count} {noun}s"),
    }
}

fn taken_json(path: &Path, config: &Config, me: Result<&String, &String>) -> Value {
    let nodes: Vec<Value> = config.nodes.iter().map(node_json).collect();
    let groups: Vec<Value> = config
        .groups
        .iter()
        .map(|group| {
            let vips: Vec<String> = group.vips.iter().map(ToString::to_string).collect();
            json!({
                "pool": group.pool,
                "group": group.name,
                "addresses": vips,
                "interface": group.interface,
                "mode": mode(group),
                "strategy": strategy(group),
                "prefer": prefer(config, group),
                "requires": group.requires,
                "apart_from": group.apart_from,
                "together_with": group.together_with,
                "failback_ms": group.failback.map(millis),
            })
        })
        .collect();
    let here = hindrances(config, me)
        .into_iter()
        .map(|(group, text)| json!({ "line": null, "key": group, "text": text }));
    let warnings: Vec<Value> = config.warnings.iter().map(warning_json).chain(here).collect();
    json!({
        "schema": 1,
        "valid": true,
        "file": path,
        "cluster": config.cluster,
        "port": config.port,
        "profile": config.profile,
        "detection_ms": millis(config.timing.detection()),
        "digest": format!("{:016x}", config.digest),
        "node": me.ok(),
        "nodes": nodes,
        "groups": groups,
        "faults": [],
        "warnings": warnings,
    })
}

fn node_json(node: &NodeConfig) -> Value {
    json!({
        "name": node.name,
        "addresses": node.addresses,
        "role": if node.role.owns() { "member" } else { "witness" },
        "voter": node.role.votes(),
        "weight": node.weight,
        "labels": node.labels,
    })
}

pub(super) fn refused_json(refused: &Refused) -> Value {
    let faults: Vec<Value> = refused.faults.iter().map(fault_json).collect();
    json!({ "schema": 1, "valid": false, "file": refused.path, "faults": faults, "warnings": [] })
}

fn fault_json(fault: &Fault) -> Value {
    json!({
        "line": fault.line,
        "key": fault.key,
        "value": fault.value,
        "problem": fault.problem,
        "remedy": fault.remedy,
    })
}

fn warning_json(warning: &Warning) -> Value {
    json!({ "line": warning.line, "key": warning.key, "text": warning.text })
}
