//! The shape of the file: which tables and keys there are, and of which type.
//!
//! Makes a [`File`], in which every value still carries its line and is as the operator wrote it.
//! What the values mean, and whether they fit each other, is for `check` and those it calls.
//! `config/buoy.reference.toml` explains each key; a test compares it with [`known_keys`].

use toml::de::DeTable;

use super::document::{Entry, Section, Source};
use super::fault::{At, Findings, Place};
use super::haproxy::HaproxyConfig;
use super::{checks, haproxy, hooks, routes, rules, vrrp};

const ROOT: &[&str] = &["cluster", "timing", "haproxy", "node", "pool", "check", "hook"];
const CLUSTER: &[&str] = &[
    "name",
    "key_file",
    "profile",
    "port",
    "kernel_lease",
    "restart",
    "tickle_connections_max",
    "drain_timeout",
    "preserve_connections",
    "preserve_timeout",
    "load_aware",
];
const TIMING: &[&str] = &[
    "heartbeat",
    "misses",
    "offer_wait",
    "retry",
    "rank_skew",
    "unclaimed_wait",
    "maturity_min",
    "maturity_max",
    "solo_wait",
    "announce_refresh",
    "announce_rate",
];
const NODE: &[&str] = &["name", "addresses", "weight", "role", "voter", "labels"];
const POOL: &[&str] = &[
    "name",
    "interface",
    "vips",
    "mode",
    "strategy",
    "prefer",
    "requires",
    "apart_from",
    "together_with",
    "failback",
    "force",
    "last_resort",
];
const GROUP: &[&str] = &["name", "addresses", "interface", "force", "vrrp", "routes", "rules"];
const CHECK: &[&str] = &[
    "name",
    "type",
    "interval",
    "timeout",
    "rise",
    "fall",
    "dwell",
    "effect",
    "pools",
    "absent",
    "address",
    "ask",
    "at_least",
    "at_most",
    "backends",
    "body",
    "ca",
    "command",
    "connected",
    "file",
    "frontends",
    "header",
    "host",
    "interface",
    "method",
    "path",
    "pidfile",
    "process",
    "socket",
    "status",
    "tls",
    "unit",
    "user",
    "verify",
];
const HOOK: &[&str] =
    &["name", "on", "command", "user", "timeout", "style", "notify_fifo", "pools", "gather"];

const WRITE_INTERFACE: &str =
    "write \"eth0\", [\"eth0\", \"en*\"], or { lb1 = \"eth0\", lb2 = \"enp3s0\" }";
pub(super) const WRITE_STRING: &str = "write a string in double quotes";
pub(super) const WRITE_DURATION: &str =
    "write a number with its unit in quotes, like \"300ms\" or \"2s\"";
pub(super) const WRITE_NUMBER: &str = "write a whole number without quotes";
pub(super) const WRITE_FLAG: &str = "write true or false without quotes";
const WRITE_ADDRESSES: &str = "write a list of addresses, like [\"10.77.0.11\"]";
const WRITE_POOLS: &str = "write a list of pool names, like [\"web\"]";
const WRITE_LABELS: &str = "write a list of labels, like [\"tls-card\"]";
const WRITE_GROUP: &str = "write an address like \"10.77.0.100\", a list of addresses that move \
     together, or { name = \"api\", addresses = [\"10.77.0.110\"] }";

/// Every key that the file may hold, as a path such as `node.weight`; for tests and documents.
#[must_use]
pub fn known_keys() -> Vec<String> {
    [
        ("cluster", CLUSTER),
        ("timing", TIMING),
        ("haproxy", haproxy::KEYS),
        ("node", NODE),
        ("pool", POOL),
        ("pool.vips", GROUP),
        ("pool.vips.vrrp", vrrp::KEYS),
        ("pool.vips.routes", routes::KEYS),
        ("pool.vips.rules", rules::KEYS),
        ("check", CHECK),
        ("hook", HOOK),
    ]
    .iter()
    .flat_map(|(table, keys)| keys.iter().map(move |key| format!("{table}.{key}")))
    .collect()
}

/// The file as written.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) cluster: Cluster,
    pub(super) timing: TimingKeys,
    pub(super) haproxy: Option<HaproxyConfig>,
    pub(super) nodes: Vec<Node>,
    pub(super) pools: Vec<Pool>,
    pub(super) checks: Vec<checks::Raw>,
    pub(super) hooks: Vec<hooks::Raw>,
}

/// `[cluster]`.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) name: Option<At<String>>,
    pub(super) key_file: Option<At<String>>,
    pub(super) profile: Option<At<String>>,
    pub(super) port: Option<At<i64>>,
    pub(super) kernel_lease: Option<At<String>>,
    pub(super) restart: Option<At<String>>,
    pub(super) tickle_connections_max: Option<At<i64>>,
    pub(super) drain_timeout: Option<At<String>>,
    pub(super) preserve_connections: Option<bool>,
    pub(super) preserve_timeout: Option<At<String>>,
    pub(super) load_aware: Option<bool>,
}

/// `[timing]`.
#[derive(Debug, Default)]
pub(super) struct TimingKeys {
    pub(super) heartbeat: Option<At<String>>,
    pub(super) misses: Option<At<i64>>,
    pub(super) offer_wait: Option<At<String>>,
    pub(super) retry: Option<At<String>>,
    pub(super) rank_skew: Option<At<String>>,
    pub(super) unclaimed_wait: Option<At<String>>,
    pub(super) maturity_min: Option<At<String>>,
    pub(super) maturity_max: Option<At<String>>,
    pub(super) solo_wait: Option<At<String>>,
    pub(super) announce_refresh: Option<At<String>>,
    pub(super) announce_rate: Option<At<i64>>,
}

/// One `[[node]]`.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Option<At<String>>,
    /// The list itself; its faults are those of the number of addresses.
    pub(super) list: Option<Place>,
    pub(super) addresses: Vec<At<String>>,
    pub(super) weight: Option<At<i64>>,
    pub(super) role: Option<At<String>>,
    pub(super) voter: Option<At<bool>>,
    pub(super) labels: Vec<At<String>>,
}

/// One `[[pool]]`.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) place: Place,
    pub(super) name: Option<At<String>>,
    pub(super) interface: Option<Interface>,
    /// The list itself, for a pool without addresses.
    pub(super) list: Option<Place>,
    pub(super) groups: Vec<Group>,
    pub(super) mode: Option<At<String>>,
    pub(super) strategy: Option<At<String>>,
    pub(super) prefer: Vec<At<String>>,
    pub(super) requires: Vec<At<String>>,
    pub(super) apart_from: Vec<At<String>>,
    pub(super) together_with: Vec<At<String>>,
    pub(super) failback: Option<At<String>>,
    pub(super) force: Option<bool>,
    pub(super) last_resort: Option<At<String>>,
}

/// Which interface gets addresses: names or patterns for all nodes, or for each node.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) place: Place,
    pub(super) all: Vec<At<String>>,
    pub(super) by_node: Vec<(String, Vec<At<String>>)>,
}

/// One element of `vips`.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) place: Place,
    pub(super) name: Option<At<String>>,
    pub(super) interface: Option<Interface>,
    pub(super) addresses: Vec<At<String>>,
    pub(super) force: Option<bool>,
    pub(super) vrrp: Option<vrrp::Raw>,
    pub(super) routes: Vec<routes::Raw>,
    pub(super) rules: Vec<rules::Raw>,
}

/// Reads the text. Faults of TOML itself end the reading, because what follows from them would
/// be reported in the wrong places; a key that stands twice does not.
pub(super) fn read(text: &str, findings: &mut Findings) -> Option<File> {
    let source = Source::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut unreadable: Vec<usize> = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        if error.message() == "duplicate key" {
            let remedy = "keep one of them (further nodes and pools are [[node]] and [[pool]])";
            let place = source.place(span, String::new());
            findings.refuse(&place, "is a duplicate key", remedy);
            continue;
        }
        let (line, column) = source.line_and_column(span.start);
        // What follows on the same line mostly follows from the first fault.
        if !unreadable.contains(&line) {
            unreadable.push(line);
            let place = Place { line, ..Place::default() };
            let problem = format!("is not TOML at column {column}: {}", error.message());
            findings.refuse(
                &place,
                problem,
                "correct it; the rest is checked once the file can be parsed",
            );
        }
    }
    if !unreadable.is_empty() {
        return None;
    }
    let root = Section::root(&source, table.get_ref(), ROOT);
    root.finish(findings);
    let file = File {
        cluster: read_cluster(&root, findings),
        timing: read_timing(&root, findings),
        haproxy: read_haproxy(&root, findings),
        nodes: read_each(&root, "node", findings, read_node),
        pools: read_each(&root, "pool", findings, read_pool),
        checks: read_any(&root, ("check", CHECK), findings, checks::read),
        hooks: read_any(&root, ("hook", HOOK), findings, hooks::read),
    };
    Some(file)
}

fn read_cluster(root: &Section<'_>, findings: &mut Findings) -> Cluster {
    let wanted = "write [cluster] with name and key_file";
    let section = root
        .required("cluster", wanted, findings)
        .and_then(|entry| entry.section(CLUSTER, wanted, findings));
    let Some(section) = section else { return Cluster::default() };
    section.finish(findings);
    let name = section.required("name", "name the cluster, like name = \"edge\"", findings);
    let key_file = section.required(
        "key_file",
        "make a key with \"buoy keygen\" and write key_file = \"cluster.key\"",
        findings,
    );
    Cluster {
        name: name.and_then(|entry| entry.text(WRITE_STRING, findings)),
        key_file: key_file.and_then(|entry| entry.text(WRITE_STRING, findings)),
        profile: section.text("profile", WRITE_STRING, findings),
        port: section.number("port", WRITE_NUMBER, findings),
        kernel_lease: section.text("kernel_lease", WRITE_STRING, findings),
        restart: section.text("restart", WRITE_STRING, findings),
        drain_timeout: section.text("drain_timeout", WRITE_DURATION, findings),
        preserve_connections: section
            .flag("preserve_connections", WRITE_FLAG, findings)
            .map(|flag| flag.value),
        preserve_timeout: section.text("preserve_timeout", WRITE_DURATION, findings),
        tickle_connections_max: section.number("tickle_connections_max", WRITE_NUMBER, findings),
        load_aware: section.flag("load_aware", WRITE_FLAG, findings).map(|flag| flag.value),
    }
}

fn read_timing(root: &Section<'_>, findings: &mut Findings) -> TimingKeys {
    let section = root
        .entry("timing")
        .and_then(|entry| entry.section(TIMING, "write [timing] and its keys below", findings));
    let Some(section) = section else { return TimingKeys::default() };
    section.finish(findings);
    let mut duration = |key| section.text(key, WRITE_DURATION, findings);
    TimingKeys {
        heartbeat: duration("heartbeat"),
        offer_wait: duration("offer_wait"),
        retry: duration("retry"),
        rank_skew: duration("rank_skew"),
        unclaimed_wait: duration("unclaimed_wait"),
        maturity_min: duration("maturity_min"),
        maturity_max: duration("maturity_max"),
        solo_wait: duration("solo_wait"),
        announce_refresh: duration("announce_refresh"),
        misses: section.number("misses", WRITE_NUMBER, findings),
        announce_rate: section.number("announce_rate", WRITE_NUMBER, findings),
    }
}

fn read_haproxy(root: &Section<'_>, findings: &mut Findings) -> Option<HaproxyConfig> {
    let wanted = "write [haproxy] and its keys below";
    let section = root.entry("haproxy")?.section(haproxy::KEYS, wanted, findings)?;
    haproxy::read(&section, findings)
}

/// Reads each table of a `[[...]]` list, of which there must be one at least.
fn read_each<T>(
    root: &Section<'_>,
    key: &str,
    findings: &mut Findings,
    read_one: fn(&Section<'_>, &mut Findings) -> T,
) -> Vec<T> {
    let known = if key == "node" { NODE } else { POOL };
    let wanted = format!("write [[{key}]] and its keys below, once for each {key}");
    let Some(entry) = root.required(key, &wanted, findings) else { return Vec::new() };
    let entries = entry.list(&wanted, findings).unwrap_or_default();
    if entries.is_empty() && entry.list_if().is_some() {
        findings.refuse(&entry.place(), "is empty", wanted.as_str());
    }
    let sections: Vec<Section<'_>> =
        entries.iter().filter_map(|entry| entry.section(known, &wanted, findings)).collect();
    sections.iter().map(|section| read_one(section, findings)).collect()
}

/// Reads each table of a `[[...]]` list that may be absent.
fn read_any<T>(
    root: &Section<'_>,
    (key, known): (&str, &'static [&'static str]),
    findings: &mut Findings,
    read_one: fn(&Section<'_>, &mut Findings) -> T,
) -> Vec<T> {
    let wanted = format!("write [[{key}]] and its keys below, once for each {key}");
    let entries = root.entry(key).and_then(|entry| entry.list(&wanted, findings));
    let mut read = Vec::new();
    for entry in entries.iter().flatten() {
        if let Some(section) = entry.section(known, &wanted, findings) {
            read.push(read_one(&section, findings));
        }
    }
    read
}

fn read_node(section: &Section<'_>, findings: &mut Findings) -> Node {
    section.finish(findings);
    let name = section.required("name", "name the node, like name = \"lb1\"", findings);
    let list = section.required("addresses", WRITE_ADDRESSES, findings);
    Node {
        name: name.and_then(|entry| entry.text(WRITE_STRING, findings)),
        list: list.as_ref().map(Entry::place),
        addresses: read_texts(list.as_ref(), WRITE_ADDRESSES, findings),
        weight: section.number("weight", WRITE_NUMBER, findings),
        role: section.text("role", WRITE_STRING, findings),
        voter: section.flag("voter", WRITE_FLAG, findings),
        labels: read_texts(section.entry("labels").as_ref(), WRITE_LABELS, findings),
    }
}

fn read_pool(section: &Section<'_>, findings: &mut Findings) -> Pool {
    section.finish(findings);
    let name = section.required("name", "name the pool, like name = \"web\"", findings);
    let list = section.required("vips", "write vips = [\"10.77.0.100\"]", findings);
    let entries = list
        .as_ref()
        .and_then(|list| list.list("write a list, like [\"10.77.0.100\"]", findings))
        .unwrap_or_default();
    let wanted = "write a list of node names, like [\"lb1\", \"lb2\"]";
    Pool {
        place: section.place().clone(),
        name: name.and_then(|entry| entry.text(WRITE_STRING, findings)),
        interface: read_interface(section.entry("interface").as_ref(), findings),
        list: list.as_ref().map(Entry::place),
        groups: entries.iter().filter_map(|entry| read_group(entry, findings)).collect(),
        mode: section.text("mode", WRITE_STRING, findings),
        strategy: section.text("strategy", WRITE_STRING, findings),
        prefer: read_texts(section.entry("prefer").as_ref(), wanted, findings),
        requires: read_texts(section.entry("requires").as_ref(), WRITE_LABELS, findings),
        apart_from: read_texts(section.entry("apart_from").as_ref(), WRITE_POOLS, findings),
        together_with: read_texts(section.entry("together_with").as_ref(), WRITE_POOLS, findings),
        failback: section.text("failback", WRITE_DURATION, findings),
        last_resort: section.text("last_resort", WRITE_STRING, findings),
        force: section.flag("force", WRITE_FLAG, findings).map(|force| force.value),
    }
}

fn read_group(entry: &Entry<'_>, findings: &mut Findings) -> Option<Group> {
    let place = entry.place();
    if let Some(address) = entry.text_if() {
        return Some(Group::of(place, vec![address]));
    }
    if entry.list_if().is_some() {
        let addresses = read_texts(Some(entry), WRITE_ADDRESSES, findings);
        return Some(Group::of(place, addresses));
    }
    let Some(section) = entry.section_if(GROUP) else {
        entry.refuse_type("an address", WRITE_GROUP, findings);
        return None;
    };
    section.finish(findings);
    let list = section.required("addresses", WRITE_ADDRESSES, findings);
    Some(Group {
        place: list.as_ref().map_or(place, Entry::place),
        name: section.text("name", WRITE_STRING, findings),
        interface: read_interface(section.entry("interface").as_ref(), findings),
        addresses: read_texts(list.as_ref(), WRITE_ADDRESSES, findings),
        force: section.flag("force", WRITE_FLAG, findings).map(|force| force.value),
        vrrp: section.entry("vrrp").and_then(|entry| vrrp::read(&entry, findings)),
        routes: routes::read(section.entry("routes").as_ref(), findings),
        rules: rules::read(section.entry("rules").as_ref(), findings),
    })
}

impl Group {
    /// The short form.
    fn of(place: Place, addresses: Vec<At<String>>) -> Self {
        let (routes, rules) = (Vec::new(), Vec::new());
        let (name, interface, force, vrrp) = (None, None, None, None);
        Self { place, name, interface, addresses, force, vrrp, routes, rules }
    }
}

pub(super) fn read_interface(
    entry: Option<&Entry<'_>>,
    findings: &mut Findings,
) -> Option<Interface> {
    let entry = entry?;
    let mut interface = Interface { place: entry.place(), all: Vec::new(), by_node: Vec::new() };
    let names = |entry: &Entry<'_>, findings: &mut Findings| match entry.text_if() {
        Some(name) => vec![name],
        None if entry.list_if().is_some() => read_texts(Some(entry), WRITE_INTERFACE, findings),
        None => {
            entry.refuse_type("a string", WRITE_INTERFACE, findings);
            Vec::new()
        }
    };
    match entry.pairs_if() {
        None => interface.all = names(entry, findings),
        Some(pairs) => {
            let named = pairs.into_iter().map(|(node, entry)| (node, names(&entry, findings)));
            interface.by_node = named.collect();
        }
    }
    Some(interface)
}

fn read_texts(list: Option<&Entry<'_>>, wanted: &str, findings: &mut Findings) -> Vec<At<String>> {
    let elements = list.and_then(|list| list.list(wanted, findings)).unwrap_or_default();
    elements.iter().filter_map(|element| element.text(WRITE_STRING, findings)).collect()
}
