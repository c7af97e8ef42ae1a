//! A pool for each unit: its addresses, its interface, whom it prefers, and when it goes back.

use std::cmp::Reverse;
use std::net::IpAddr;

use super::model::{Host, Instance, OWNER};
use super::nodes::Node;
use super::report::{Findings, Verdict, listed};
use super::routing;
use super::source::Place;
use super::text::{Table, list, quoted};
use super::units::{Part, Unit};
use super::vrrp::Written;

/// Makes the pool of a unit. `release` says whether a check there must hold whatever happens, `vrrp`
/// what it is to hosts with keepalived.
pub(super) fn pool(
    unit: &Unit<'_>,
    (nodes, release): (&[Node], bool),
    vrrp: Option<Written<'_>>,
    findings: &mut Findings,
) -> Table {
    let mut table = Table::new("[[pool]]");
    let what = if unit.parts.iter().any(|part| part.group.is_some()) {
        "vrrp_sync_group"
    } else {
        "vrrp_instance"
    };
    table.comments.push(format!("{what} {}", unit.name));
    table.add("name", quoted(&unit.pool), &unit.places());
    let interface = interface(unit, nodes);
    if let Some((value, places)) = &interface {
        table.add("interface", value.clone(), places);
    }
    let (addresses, mut places) = addresses(unit, interface.is_some(), findings);
    if interface.is_none() {
        tell_devices(unit, findings);
    }
    let router = vrrp.as_ref().map(|it| format!(", vrrp = {}", it.value)).unwrap_or_default();
    let name = quoted(&unit.pool);
    let routing = routing::written(unit, nodes, findings);
    let group = format!("[{{ name = {name}, addresses = {}{router}{routing} }}]", list(&addresses));
    if let Some(written) = vrrp {
        table.comments.extend(written.comments);
        places.extend(written.places);
    }
    table.add("vips", group, &places);
    let prefer = prefer(unit, nodes, findings);
    if !prefer.is_empty() {
        let names: Vec<&str> = prefer.iter().map(|(name, _)| name.as_str()).collect();
        let priorities: Vec<String> =
            prefer.iter().map(|(name, it)| format!("{name} {it}")).collect();
        table.explain("strategy", quoted("priority"), "");
        let from = format!("priority of {}", priorities.join(", "));
        table.explain("prefer", list(&names), from);
        failback(unit, &prefer[0].0, &mut table, findings);
    }
    if release {
        let from = "a check without weight: no node has the addresses if it fails everywhere";
        table.explain("last_resort", quoted("release"), from);
    }
    table
}

/// The interface, if all addresses are on one at each node.
fn interface<'a>(unit: &Unit<'a>, nodes: &[Node]) -> Option<(String, Vec<&'a Place>)> {
    let mut of_hosts = Vec::new();
    let mut places = Vec::new();
    for part in &unit.parts {
        let mut names: Vec<&str> = Vec::new();
        for instance in &part.instances {
            let own = instance.interface.as_ref()?;
            places.push(&own.place);
            let devices = instance
                .addresses
                .iter()
                .map(|address| address.dev.as_deref().unwrap_or(own.value.as_str()));
            names.extend(devices);
        }
        names.sort_unstable();
        names.dedup();
        let [only] = names.as_slice() else { return None };
        of_hosts.push((part.host.name.as_str(), *only));
    }
    let (_, first) = of_hosts.first()?;
    if of_hosts.iter().all(|(_, name)| name == first) {
        return Some((quoted(first), places));
    }
    let of_node = |node: &Node| {
        let name = of_hosts.iter().find(|(host, _)| *host == node.name).map_or(*first, |it| it.1);
        format!("{} = {}", quoted(&node.name), quoted(name))
    };
    let all: Vec<String> = nodes.iter().map(of_node).collect();
    Some((format!("{{ {} }}", all.join(", ")), places))
}

/// Addresses of the first host; the others have been compared with it.
fn addresses<'a>(
    unit: &Unit<'a>,
    interface: bool,
    findings: &mut Findings,
) -> (Vec<String>, Vec<&'a Place>) {
    let (mut words, mut places) = (Vec::new(), Vec::new());
    let Some(first) = unit.parts.first() else { return (words, places) };
    for address in first.instances.iter().flat_map(|instance| &instance.addresses) {
        let link_local = matches!(address.ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        if link_local && !interface {
            let text = format!(
                "{} is left out: a link-local address needs an interface, and {} is on several; \
                 write a separate pool with interface for it",
                address.ip, unit.name
            );
            findings.decide(&address.place, Verdict::NotPossible, &text);
            findings.tell(text, &[&address.place]);
            continue;
        }
        words.push(address.shown());
        places.push(&address.place);
    }
    tell_dropped(unit, findings);
    (words, places)
}

fn tell_dropped(unit: &Unit<'_>, findings: &mut Findings) {
    let mut words: Vec<&str> = Vec::new();
    let mut places = Vec::new();
    for address in unit.instances().flat_map(|instance| &instance.addresses) {
        for word in &address.dropped {
            if !words.contains(&word.as_str()) {
                words.push(word);
            }
            places.push(&address.place);
        }
    }
    if words.is_empty() {
        return;
    }
    // The label says most, and the rest follows in the order of the file.
    words.sort_by_key(|word| !word.starts_with("label"));
    let are = if words.len() == 1 { "is" } else { "are" };
    let text = format!("{} {are} dropped: buoy adds addresses without a label", words.join(", "));
    findings.tell(text, &places);
}

/// Addresses on other interfaces than that of their instance.
fn tell_devices(unit: &Unit<'_>, findings: &mut Findings) {
    for instance in unit.instances() {
        let own = instance.interface.as_ref().map(|interface| interface.value.as_str());
        for address in &instance.addresses {
            if let Some(dev) = address.dev.as_deref().filter(|dev| Some(*dev) != own) {
                let text = format!(
                    "{} is on {dev}: buoy finds the interface by its route; write interface if \
                     there is none",
                    address.shown()
                );
                findings.tell(text, &[&address.place]);
            }
        }
    }
    let mut own: Vec<String> = Vec::new();
    for interface in unit.instances().filter_map(|instance| instance.interface.as_ref()) {
        if !own.contains(&interface.value) {
            own.push(interface.value.clone());
        }
    }
    if own.len() > 1 {
        let text = format!(
            "{} is on {}: buoy finds the interface of each address by its route",
            unit.name,
            listed(&own)
        );
        findings.tell(text, &unit.places());
    }
}

/// Hosts by falling priority; those that share one are left out.
fn prefer(unit: &Unit<'_>, nodes: &[Node], findings: &mut Findings) -> Vec<(String, i64)> {
    let priority = |part: &Part<'_>| part.instances.first().map_or(100, |it| it.priority.value);
    let mut order: Vec<(String, i64)> =
        unit.parts.iter().map(|part| (part.host.name.clone(), priority(part))).collect();
    order.sort_by_key(|(_, priority)| Reverse(*priority));
    disagreement(unit, findings);
    let mut kept: Vec<(String, i64)> = order
        .iter()
        .filter(|(_, priority)| order.iter().filter(|(_, other)| other == priority).count() == 1)
        .cloned()
        .collect();
    let mut levels: Vec<i64> = order.iter().map(|(_, priority)| *priority).collect();
    levels.dedup();
    for level in levels {
        let same: Vec<&(String, i64)> = order.iter().filter(|(_, it)| *it == level).collect();
        if same.len() > 1 {
            let names: Vec<String> = same.iter().map(|(name, _)| name.clone()).collect();
            let all = same.len() == order.len() && same.len() == 2;
            let who = if all { "both say".to_owned() } else { format!("{} say", listed(&names)) };
            let text = format!(
                "{}: {who} priority {level}: no node is preferred; in keepalived the higher \
                 address wins",
                unit.name
            );
            findings.tell(text, &unit.places());
        }
    }
    // Behind hosts that share a priority nobody is preferred: they come before those below.
    if let Some(shared) =
        order.iter().map(|(_, it)| *it).find(|it| !kept.iter().any(|(_, k)| k == it))
    {
        kept.retain(|(_, priority)| *priority > shared);
    }
    if unit.instances().any(|instance| instance.priority.value == OWNER) {
        let text = format!(
            "{}: priority 255 makes a keepalived the address owner, which never gives way: here \
             it is the first of prefer",
            unit.name
        );
        findings.tell(text, &unit.places());
    }
    kept.retain(|(name, _)| nodes.iter().any(|node| node.name == *name));
    kept
}

/// Instances of a sync group of which one host has the higher priority in some, another in others.
fn disagreement(unit: &Unit<'_>, findings: &mut Findings) {
    for (index, one) in unit.parts.iter().enumerate() {
        for other in unit.parts.iter().skip(index + 1) {
            let pairs = one.instances.iter().zip(&other.instances);
            let signs: Vec<i64> = pairs
                .map(|(it, twin)| (it.priority.value - twin.priority.value).signum())
                .collect();
            if let (true, Some(instance)) =
                (signs.contains(&1) && signs.contains(&-1), one.instances.first())
            {
                let problem = format!(
                    "{}: {} has the higher priority in one instance, {} in another",
                    unit.name, one.host.name, other.host.name
                );
                let remedy = "give all instances of a sync group the same order of hosts";
                findings.refuse(&instance.priority.place, "priority", problem, remedy);
            }
        }
    }
}

/// When a preferred host takes its addresses back: what that host itself says.
fn failback(unit: &Unit<'_>, best: &str, table: &mut Table, findings: &mut Findings) {
    let Some(part) = unit.parts.iter().find(|part| part.host.name == best) else { return };
    for other in unit.parts.iter().filter(|it| it.host.name != best).flat_map(|it| &it.instances) {
        let delay = other.preempt_delay.as_ref().map(|delay| &delay.place);
        for place in other.nopreempt.iter().chain(delay) {
            let how = format!("failback is taken from {best}, which is preferred");
            findings.decide(place, Verdict::NotNeeded, how);
        }
    }
    let stays = |it: &&Instance| it.stays();
    if let Some(place) =
        part.instances.iter().copied().find(stays).and_then(|it| it.nopreempt.as_ref())
    {
        table.add("failback", quoted("never"), &[place]);
        let all = part.instances.iter().copied().all(|instance| instance.stays());
        if !all {
            let text = format!("{}: nopreempt is in one instance only: used for all", unit.name);
            findings.tell(text, &[place]);
        }
        return;
    }
    let delays = part.instances.iter().filter_map(|instance| instance.preempt_delay.as_ref());
    match delays.max_by_key(|delay| delay.value) {
        Some(delay) if delay.value >= 1_000_000 => {
            let length = milliseconds(delay.value / 1000);
            table.add("failback", quoted(&length), &[&delay.place]);
        }
        _ => {
            let text = format!(
                "{}: keepalived preempts at once: failback is 1s; 10s or more prevents a node \
                 that fails repeatedly from moving the addresses back and forth",
                unit.name
            );
            findings.tell(text, &unit.places());
            table.explain(
                "failback",
                quoted("1s"),
                "no nopreempt; 10s or more moves the addresses less often",
            );
        }
    }
}

/// As buoy writes a duration, in seconds if it can.
pub(super) fn milliseconds(length: u64) -> String {
    if length.is_multiple_of(1000) { format!("{}s", length / 1000) } else { format!("{length}ms") }
}

/// Sentences about the interval of advertisements and about peers that do not hear each other.
pub(super) fn tell_detection(unit: &Unit<'_>, host: &Host, findings: &mut Findings) {
    for instance in
        unit.parts.iter().filter(|it| std::ptr::eq(it.host, host)).flat_map(|it| &it.instances)
    {
        let Some(advert) = &instance.advert else { continue };
        let interval = instance.interval(&host.globals);
        let unit_of_skew =
            if instance.speaks_version_3(&host.globals) { interval } else { 1_000_000 };
        let priority = u64::try_from(instance.priority.value).unwrap_or(100);
        let noticed = 3 * interval + (256 - priority.min(256)) * unit_of_skew / 256;
        if interval != 1_000_000 {
            let text = format!(
                "advert_int {}: a dead host was detected after {}.{} s, now after 300 ms",
                super::instances::decimal(advert.value),
                noticed / 1_000_000,
                noticed % 1_000_000 / 100_000
            );
            findings.tell(text, &[&advert.place]);
        }
    }
}
