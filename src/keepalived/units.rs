//! What moves together, over all hosts: sync groups, and instances that are in none.
//!
//! An instance of one host is that of another if it has the same name, else if it has the same VRID
//! and family. What must be equal is compared, and every contradiction is a fault with both places:
//! an import that took one side would give or take an address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::model::{Globals, Host, Instance, SyncGroup};
use super::report::{Findings, counted, listed};
use super::source::Place;
use super::text;

/// A sync group or a single instance.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    /// Its name in keepalived.
    pub(super) name: String,
    /// The name of its pool and group.
    pub(super) pool: String,
    /// What each host has of it.
    pub(super) parts: Vec<Part<'a>>,
}

/// What one host has of a unit.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) host: &'a Host,
    pub(super) group: Option<&'a SyncGroup>,
    pub(super) instances: Vec<&'a Instance>,
}

impl<'a> Unit<'a> {
    /// All instances of all hosts.
    pub(super) fn instances(&self) -> impl Iterator<Item = &'a Instance> + '_ {
        self.parts.iter().flat_map(|part| part.instances.iter().copied())
    }

    /// Where it begins at each host.
    pub(super) fn places(&self) -> Vec<&'a Place> {
        let place = |part: &Part<'a>| match (part.group, part.instances.first()) {
            (Some(group), _) => Some(&group.place),
            (None, Some(instance)) => Some(&instance.place),
            (None, None) => None,
        };
        self.parts.iter().filter_map(place).collect()
    }
}

/// Finds the units of all hosts.
pub(super) fn find<'a>(hosts: &'a [Host], findings: &mut Findings) -> Vec<Unit<'a>> {
    let mut units: Vec<Unit<'a>> = Vec::new();
    for host in hosts {
        for (name, part) in parts(host, findings) {
            let known = units.iter_mut().find(|unit| matches(unit, &name, &part));
            match known {
                Some(unit) => {
                    rename(unit, &name, &part, findings);
                    unit.parts.push(part);
                }
                None => {
                    let pool = text::name(&name);
                    units.push(Unit { name, pool, parts: vec![part] });
                }
            }
        }
    }
    shared_addresses(&units, findings);
    let mut seen = BTreeSet::new();
    for unit in &units {
        if unit.pool != unit.name {
            let text = format!(
                "{} becomes {}: names consist of letters, digits and . _ - : only, and scripts \
                 receive that name",
                unit.name, unit.pool
            );
            findings.tell(text, &unit.places());
        }
        if let (false, Some(place)) = (seen.insert(unit.pool.clone()), unit.places().first()) {
            let problem = format!("{} appears twice", unit.pool);
            findings.refuse(place, "vrrp_instance", problem, "rename one of them");
        }
        missing(unit, hosts, findings);
    }
    units
}

/// An address of two units, which keepalived would add and remove twice. A link-local one is another
/// on each interface.
fn shared_addresses(units: &[Unit<'_>], findings: &mut Findings) {
    let mut seen: BTreeMap<(IpAddr, Option<&str>), (&Instance, &Place)> = BTreeMap::new();
    let first = units.iter().filter_map(|unit| unit.parts.first());
    for instance in first.flat_map(|part| &part.instances) {
        for address in &instance.addresses {
            let own = instance.interface.as_ref().map(|own| own.value.as_str());
            let link = address.dev.as_deref().or(own).filter(|_| is_link_local(address.ip));
            let before = *seen.entry((address.ip, link)).or_insert((instance, &address.place));
            if std::ptr::eq(before.0, *instance) {
                continue;
            }
            let problem = format!("{} is also in {} ({})", address.ip, before.0.name, before.1);
            let remedy = "keep it in one instance: two would take it from each other";
            findings.refuse(&address.place, "virtual_ipaddress", problem, remedy);
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Units of one host, in the order of the file.
fn parts<'a>(host: &'a Host, findings: &mut Findings) -> Vec<(String, Part<'a>)> {
    let mut found = Vec::new();
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for group in &host.groups {
        let mut instances = Vec::new();
        for member in &group.members {
            if let Some(other) = taken.insert(&member.value, &group.name) {
                let problem = format!("{} is in {other} already", member.value);
                findings.refuse(&member.place, "group", problem, "keep it in one group");
                continue;
            }
            match host.instances.iter().find(|instance| instance.name == member.value) {
                Some(instance) => instances.push(instance),
                None => {
                    let problem = format!("there is no vrrp_instance {}", member.value);
                    let remedy = "write one, or remove the line";
                    findings.refuse(&member.place, "group", problem, remedy);
                }
            }
        }
        if instances.is_empty() {
            continue;
        }
        let names: Vec<String> = instances.iter().map(|it| it.name.clone()).collect();
        let addresses = instances.iter().map(|instance| instance.addresses.len()).sum();
        let text = format!(
            "{} are a sync group: one group of {} addresses",
            listed(&names),
            counted(addresses)
        );
        findings.tell(text, &[&group.place]);
        found.push((group.name.clone(), Part { host, group: Some(group), instances }));
    }
    for instance in host.instances.iter().filter(|it| !taken.contains_key(it.name.as_str())) {
        let part = Part { host, group: None, instances: vec![instance] };
        found.push((instance.name.clone(), part));
    }
    found
}

/// Whether a part of another host belongs to a unit.
fn matches(unit: &Unit<'_>, name: &str, part: &Part<'_>) -> bool {
    let Some(first) = unit.parts.first() else { return false };
    let another = !std::ptr::eq(first.host, part.host)
        && !unit.parts.iter().any(|it| std::ptr::eq(it.host, part.host));
    let routers =
        |part: &Part<'_>| part.instances.iter().map(|it| router(it)).collect::<BTreeSet<_>>();
    another && (unit.name == name || routers(first) == routers(part))
}

/// VRID and family of an instance, which is what keepalived knows another host's by.
fn router(instance: &Instance) -> (Option<i64>, bool) {
    let v6 = instance.addresses.first().is_some_and(|address| address.ip.is_ipv6());
    (instance.vrid.as_ref().map(|vrid| vrid.value), v6)
}

fn rename(unit: &Unit<'_>, name: &str, part: &Part<'_>, findings: &mut Findings) {
    let Some(first) = unit.parts.first().filter(|_| unit.name != name) else { return };
    let text = format!(
        "{} of {} is called {name} at {}: the group is called {}, and scripts receive that name",
        unit.name, first.host.name, part.host.name, unit.pool
    );
    findings.tell(text, &unit.places());
}

/// A unit that a host does not have.
fn missing(unit: &Unit<'_>, hosts: &[Host], findings: &mut Findings) {
    let Some(place) = unit.places().first().copied() else { return };
    let without: Vec<String> = hosts
        .iter()
        .filter(|host| !unit.parts.iter().any(|part| std::ptr::eq(part.host, *host)))
        .map(|host| host.name.clone())
        .collect();
    let with: Vec<String> = unit.parts.iter().map(|part| part.host.name.clone()).collect();
    if !without.is_empty() {
        let problem = format!(
            "{} has {}, {} has not: every node of a buoy cluster may own every group",
            listed(&with),
            unit.name,
            listed(&without)
        );
        let remedy = "import hosts that share their instances, each set as a cluster of its own";
        findings.refuse(place, "vrrp_instance", problem, remedy);
    }
}

/// Compares what each host says of a unit with what the first says.
pub(super) fn compare(unit: &Unit<'_>, findings: &mut Findings) {
    let Some((first, others)) = unit.parts.split_first() else { return };
    for other in others {
        for (index, instance) in first.instances.iter().enumerate() {
            let twin = other.instances.iter().find(|it| it.name == instance.name);
            let twin =
                twin.or_else(|| other.instances.iter().find(|it| router(it) == router(instance)));
            let Some(twin) = twin.or(other.instances.get(index)) else {
                let problem = format!(
                    "{}: {} has {}, {} has not: which is right?",
                    unit.name, first.host.name, instance.name, other.host.name
                );
                let remedy = "make the sync groups equal";
                findings.refuse(&instance.place, "group", problem, remedy);
                continue;
            };
            Pair { name: &instance.name, one: (first.host, instance), other: (other.host, twin) }
                .compare(findings);
        }
        for twin in other.instances.iter().skip(first.instances.len()) {
            let problem = format!(
                "{}: {} has {}, {} has not: which is right?",
                unit.name, other.host.name, twin.name, first.host.name
            );
            findings.refuse(&twin.place, "group", problem, "make the sync groups equal");
        }
    }
}

/// One instance at two hosts.
struct Pair<'a> {
    name: &'a str,
    one: (&'a Host, &'a Instance),
    other: (&'a Host, &'a Instance),
}

impl Pair<'_> {
    fn compare(&self, findings: &mut Findings) {
        self.compare_addresses(findings);
        let ((host, one), (twin, other)) = (self.one, self.other);
        let vrid = |it: &Instance| it.vrid.as_ref().map_or(0, |vrid| vrid.value).to_string();
        let version = |it: &Instance, globals: &Globals| {
            if it.speaks_version_3(globals) { "3" } else { "2" }.to_owned()
        };
        let interval =
            |it: &Instance, host: &Host| super::instances::decimal(it.interval(&host.globals));
        let cast = |it: &Instance| if it.peers.is_empty() { "multicast" } else { "unicast" };
        let version_3 = one.speaks_version_3(&host.globals);
        let advert = |it: &Instance, host: &Host| {
            // In version 3 the interval of the master is taken by all.
            if version_3 { String::new() } else { interval(it, host) }
        };
        let rows = [
            ("virtual_router_id", vrid(one), vrid(other)),
            ("version", version(one, &host.globals), version(other, &twin.globals)),
            ("advert_int", advert(one, host), advert(other, twin)),
            ("messages by", cast(one).to_owned(), cast(other).to_owned()),
        ];
        let drops = "keepalived 2.2.7 drops the other's advertisements, so today both hold the \
                     addresses";
        let mut said = false;
        for (keyword, here, there) in rows.into_iter().filter(|(_, here, there)| here != there) {
            let end = if said { "the same" } else { drops };
            let problem = format!(
                "{}: {keyword} {here} at {}, {there} at {}: {end}",
                self.name, host.name, twin.name
            );
            self.refuse(keyword, &problem, "make them equal in both files", findings);
            said = true;
        }
        let secret = |it: &Instance| it.authentication.as_ref().map(|it| it.value.clone());
        if !version_3 && secret(one) != secret(other) {
            let end = if said { "the same" } else { drops };
            let problem = format!("{}: auth_pass differs: {end}", self.name);
            self.refuse("auth_pass", &problem, "make them equal in both files", findings);
        }
    }

    fn compare_addresses(&self, findings: &mut Findings) {
        for ((host, one), (twin, other)) in [(self.one, self.other), (self.other, self.one)] {
            for address in &one.addresses {
                let there = other.addresses.iter().find(|it| it.ip == address.ip);
                let problem = match there {
                    None => format!(
                        "{}: {} has {}, {} has not: which is right?",
                        self.name,
                        host.name,
                        address.shown(),
                        twin.name
                    ),
                    Some(it) if it.prefix != address.prefix && std::ptr::eq(one, self.one.1) => {
                        format!(
                            "{}: {} at {}, {} at {}: which is right?",
                            self.name,
                            address.shown(),
                            host.name,
                            it.shown(),
                            twin.name
                        )
                    }
                    Some(_) => continue,
                };
                let remedy = format!("make both files equal ({}, {})", address.place, other.place);
                findings.refuse(&address.place, "virtual_ipaddress", problem, remedy);
            }
        }
    }

    fn refuse(&self, keyword: &str, problem: &str, remedy: &str, findings: &mut Findings) {
        let (one, other) = (&self.one.1.place, &self.other.1.place);
        findings.refuse(one, keyword, problem, format!("{remedy} ({one}, {other})"));
    }
}
