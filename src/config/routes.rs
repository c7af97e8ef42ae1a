//! `routes` of a group: routes that a node has only while it has the group.
//!
//! ```text
//!   { to = "10.0.0.0/8", via = "192.0.2.1", dev = "eth1", source = "192.0.2.10", table = 100 }
//!   { to = "203.0.113.0/24", type = "blackhole" }
//! ```
//!
//! What is refused here the kernel would refuse at a takeover, or add as something else. Whether a
//! gateway can be reached is seen only there.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::routing::{Device, MAIN, METRIC_V6, Network, Route, RouteKind};

use super::addresses::{Vip, is_link_local_v6};
use super::document::Entry;
use super::fault::{At, Findings, Place};
use super::file::{self, WRITE_FLAG, WRITE_NUMBER, WRITE_STRING, read_interface};
use super::interfaces;
use super::nodes::Nodes;
use super::pools::suggestion;

/// The keys of an entry.
pub(super) const KEYS: &[&str] =
    &["to", "via", "dev", "onlink", "source", "table", "metric", "type"];
/// Routes of one group, and rules of one group.
pub const ROUTES_PER_GROUP_MAX: usize = 1024;
/// Routes of all groups, and rules of all groups; 1000 of each were added in 57 ms.
pub const ROUTES_MAX: usize = 4096;
/// The kernel's own, of addresses of the host.
const LOCAL: u32 = 255;

const WRITE_LIST: &str = "write a list, like [{ to = \"10.0.0.0/8\", via = \"192.0.2.1\" }]";
const WRITE_NETWORK: &str = "write a network like \"10.0.0.0/8\", or \"default\"";

/// An entry as written.
#[derive(Debug)]
pub(super) struct Raw {
    place: Place,
    to: Option<At<String>>,
    via: Option<At<String>>,
    dev: Option<file::Interface>,
    onlink: Option<At<bool>>,
    source: Option<At<String>>,
    table: Option<At<i64>>,
    metric: Option<At<i64>>,
    kind: Option<At<String>>,
}

/// Reads the list.
pub(super) fn read(list: Option<&Entry<'_>>, findings: &mut Findings) -> Vec<Raw> {
    let entries = list.and_then(|list| list.list(WRITE_LIST, findings)).unwrap_or_default();
    entries.iter().filter_map(|entry| read_one(entry, findings)).collect()
}

fn read_one(entry: &Entry<'_>, findings: &mut Findings) -> Option<Raw> {
    let section = entry.section(KEYS, WRITE_LIST, findings)?;
    section.finish(findings);
    let to = section.required("to", WRITE_NETWORK, findings);
    Some(Raw {
        place: entry.place(),
        to: to.and_then(|entry| entry.text(WRITE_STRING, findings)),
        via: section.text("via", WRITE_STRING, findings),
        dev: read_interface(section.entry("dev").as_ref(), findings),
        onlink: section.flag("onlink", WRITE_FLAG, findings),
        source: section.text("source", WRITE_STRING, findings),
        table: section.number("table", WRITE_NUMBER, findings),
        metric: section.number("metric", WRITE_NUMBER, findings),
        kind: section.text("type", WRITE_STRING, findings),
    })
}

/// What a group has besides.
pub(super) struct Around<'a> {
    pub(super) vips: &'a [Vip],
    pub(super) nodes: &'a Nodes,
}

/// Routes of groups before, by what the kernel takes for the same one.
pub(super) type Seen = BTreeMap<(u32, Network, u32), Place>;

/// Checks the routes of a group.
pub(super) fn check(
    raw: &[Raw],
    around: &Around<'_>,
    seen: &mut Seen,
    findings: &mut Findings,
) -> Vec<Route> {
    let mut routes = Vec::new();
    for raw in raw {
        let Some(route) = check_one(raw, around, findings) else { continue };
        let key = (route.table, route.to, route.metric);
        if let Some(other) = seen.insert(key, raw.place.clone()) {
            let problem = format!(
                "has the destination, table and metric of {} (line {})",
                other.key, other.line
            );
            findings.refuse(&raw.place, problem, "keep one of them, or write another metric");
        }
        routes.push(route);
    }
    limit(("routes", raw.first().map(|raw| &raw.place)), (raw.len(), seen.len()), findings);
    routes
}

/// Refuses more than there may be in this group and in all so far.
pub(super) fn limit(
    (what, place): (&str, Option<&Place>),
    (of_group, of_all): (usize, usize),
    findings: &mut Findings,
) {
    let Some(place) = place else { return };
    let (number, most, whose) = if of_group > ROUTES_PER_GROUP_MAX {
        (of_group, ROUTES_PER_GROUP_MAX, "the group has")
    } else if of_all > ROUTES_MAX {
        (of_all, ROUTES_MAX, "all groups have")
    } else {
        return;
    };
    let problem = format!("is one of {number}: {whose} at most {most} {what}");
    findings.refuse(place, problem, "write wider networks, or use two clusters");
}

fn check_one(raw: &Raw, around: &Around<'_>, findings: &mut Findings) -> Option<Route> {
    let before = findings.faults.len();
    let via = raw.via.as_ref().and_then(|via| gateway(via, findings));
    let source = raw.source.as_ref().and_then(|source| check_source(source, around, findings));
    let hint = via.or(source).or_else(|| only_family(around.vips));
    let to = raw.to.as_ref().and_then(|to| network(to, hint, findings));
    let dev = device(raw.dev.as_ref(), around.nodes, findings);
    let kind = check_kind(raw.kind.as_ref(), findings);
    let table = check_table(raw.table.as_ref(), findings);
    let metric = raw.metric.as_ref().map_or(Some(0), |it| number(it, 0, findings));
    if let Some(to) = to {
        for (text, address) in [(&raw.via, via), (&raw.source, source)] {
            if let (Some(text), Some(address)) = (text, address)
                && address.is_ipv4() != to.address.is_ipv4()
            {
                let problem = format!("is of another family than the destination {to}");
                findings.refuse(&text.place, problem, "write one route for each family");
            }
        }
    }
    if let Some(kind) = kind {
        check_way(raw, (kind, via), findings);
    }
    if findings.faults.len() > before {
        return None;
    }
    let (to, kind, table, metric) = (to?, kind?, table?, metric?);
    let metric = if metric == 0 && to.address.is_ipv6() { METRIC_V6 } else { metric };
    let onlink = raw.onlink.as_ref().is_some_and(|onlink| onlink.value);
    warn(raw, (&to, table, metric), findings);
    Some(Route { to, kind, via, dev, onlink, source, table, metric })
}

/// A default route in the main table with the metric that those of hosts mostly have.
fn warn(raw: &Raw, (to, table, metric): (&Network, u32, u32), findings: &mut Findings) {
    let usual = if to.address.is_ipv4() { 0 } else { METRIC_V6 };
    if to.prefix == 0 && table == MAIN && metric == usual {
        let text = "a node that has a default route of its own with the same metric cannot have \
                    this one, and so not the group:\nwrite metric or table, unless no node has one";
        findings.warn(&raw.place, text);
    }
}

/// Where packets go: a route that sends them on needs a gateway or an interface, any other neither.
fn check_way(raw: &Raw, (kind, via): (RouteKind, Option<IpAddr>), findings: &mut Findings) {
    if kind == RouteKind::Unicast {
        if raw.via.is_none() && raw.dev.is_none() {
            let remedy = "write via = \"192.0.2.1\", dev = \"eth0\", or type = \"blackhole\"";
            findings.refuse(&raw.place, "leads nowhere", remedy);
        }
        if let (Some(text), Some(via)) = (&raw.via, via)
            && is_link_local_v6(via)
            && raw.dev.is_none()
        {
            let problem = "is link-local, so it needs an interface";
            findings.refuse(&text.place, problem, "write dev = \"...\" beside it");
        }
        if let Some(onlink) = raw.onlink.as_ref().filter(|onlink| onlink.value)
            && (raw.via.is_none() || raw.dev.is_none())
        {
            findings.refuse(&onlink.place, "needs via and dev", "write both, or leave onlink out");
        }
        return;
    }
    let dev = raw.dev.as_ref().map(|dev| &dev.place);
    let via = raw.via.as_ref().map(|via| &via.place);
    let source = raw.source.as_ref().map(|source| &source.place);
    let onlink = raw.onlink.as_ref().map(|onlink| &onlink.place);
    for place in [via, dev, source, onlink].into_iter().flatten() {
        let problem = "has no effect: the route sends no packet on";
        findings.refuse(place, problem, "leave it out, or leave type out");
    }
}

fn check_kind(kind: Option<&At<String>>, findings: &mut Findings) -> Option<RouteKind> {
    let Some(kind) = kind else { return Some(RouteKind::Unicast) };
    if let Some((_, found)) = RouteKind::ALL.iter().find(|(word, _)| *word == kind.value) {
        return Some(*found);
    }
    let words = RouteKind::ALL.map(|(word, _)| word);
    findings.refuse(&kind.place, "is not a type of route", suggestion(&kind.value, &words));
    None
}

/// The number of a table, the main one if none is written.
pub(super) fn check_table(table: Option<&At<i64>>, findings: &mut Findings) -> Option<u32> {
    let Some(table) = table else { return Some(MAIN) };
    if table.value == i64::from(LOCAL) {
        let problem = "is the table of the kernel's own routes to addresses of the host";
        findings.refuse(&table.place, problem, "write another one, like 100");
        return None;
    }
    number(table, 1, findings)
}

/// A number of 32 bits. (The greatest one has so many digits that no message shows it.)
pub(super) fn number(text: &At<i64>, least: u32, findings: &mut Findings) -> Option<u32> {
    let found = u32::try_from(text.value).ok().filter(|number| *number >= least);
    if found.is_none() {
        let remedy = format!("write a number from {least} on that fits 32 bits");
        findings.refuse(&text.place, "is out of range", remedy);
    }
    found
}

fn gateway(text: &At<String>, findings: &mut Findings) -> Option<IpAddr> {
    match text.value.parse::<IpAddr>() {
        Ok(address) if !address.is_unspecified() && !address.is_multicast() => Some(address),
        Ok(_) | Err(_) => {
            let remedy = "write it like \"192.0.2.1\" or \"fe80::1\"";
            findings.refuse(&text.place, "is not the address of a gateway", remedy);
            None
        }
    }
}

fn check_source(text: &At<String>, around: &Around<'_>, findings: &mut Findings) -> Option<IpAddr> {
    let address = text.value.parse().ok();
    let found = around.vips.iter().find(|vip| Some(vip.address) == address);
    if found.is_none() {
        let remedy = "write one of its addresses; without source the host chooses one of its own";
        findings.refuse(&text.place, "is not an address of this group", remedy);
    }
    found.map(|vip| vip.address)
}

/// Any address of the only family of the group.
fn only_family(vips: &[Vip]) -> Option<IpAddr> {
    let first = vips.first()?.address;
    vips.iter().all(|vip| vip.address.is_ipv4() == first.is_ipv4()).then_some(first)
}

/// A network; `default` is that of the family of the other address.
pub(super) fn network(
    text: &At<String>,
    family: Option<IpAddr>,
    findings: &mut Findings,
) -> Option<Network> {
    if text.value == "default" {
        let address = match family {
            Some(IpAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
            Some(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
            None => {
                let problem = "may be of either family here";
                findings.refuse(&text.place, problem, "write \"0.0.0.0/0\" or \"::/0\"");
                return None;
            }
        };
        return Some(Network { address, prefix: 0 });
    }
    let (host, prefix) = match text.value.split_once('/') {
        Some((host, prefix)) => (host, Some(prefix)),
        None => (text.value.as_str(), None),
    };
    let Ok(address) = host.parse::<IpAddr>() else {
        findings.refuse(&text.place, "is not a network", WRITE_NETWORK);
        return None;
    };
    let most = Network { address, prefix: 0 }.bits();
    let prefix = prefix.map_or(Ok(most), str::parse).ok().filter(|prefix| *prefix <= most);
    let Some(prefix) = prefix else {
        findings.refuse(&text.place, "has no valid prefix length", format!("write /0 to /{most}"));
        return None;
    };
    let network = Network { address: first(address, prefix), prefix };
    if network.address != address {
        let problem = format!("is an address of the network {network}");
        findings.refuse(&text.place, problem, format!("write {:?}", network.to_string()));
        return None;
    }
    Some(network)
}

fn first(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// An interface, written as that of a pool is.
pub(super) fn device(
    raw: Option<&file::Interface>,
    nodes: &Nodes,
    findings: &mut Findings,
) -> Option<Device> {
    let found = interfaces::check(raw, nodes, findings)?;
    Some(match found.all {
        Some(names) => Device::Everywhere(names),
        None => Device::Each(found.by_node),
    })
}

/// What a reload changes, in words.
pub(super) fn changed<T: PartialEq + std::fmt::Display>(
    what: &str,
    (old, new): (&[T], &[T]),
) -> Vec<String> {
    let added: Vec<&T> = new.iter().filter(|it| !old.contains(it)).collect();
    let removed: Vec<&T> = old.iter().filter(|it| !new.contains(it)).collect();
    let told = |list: &[&T], done: &str| match list {
        [] => None,
        [one] => Some(format!("{one} {done}")),
        several => Some(format!("{} {what} {done}", several.len())),
    };
    told(&added, "added").into_iter().chain(told(&removed, "removed")).collect()
}
