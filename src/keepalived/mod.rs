//! From the `keepalived.conf` of one or several hosts to one `buoy.toml`, and what became of each
//! statement.
//!
//! ```text
//!  FILE -> lines -> tree -> audit -> host -+
//!  FILE -> lines -> tree -> audit -> host -+-> units -> nodes pools checks hooks -> text -> config
//!            |        |       |        |         |                                           |
//!            +--------+-------+--------+---------+--> entries, sentences, faults <-----------+
//! ```
//!
//! The rules are those of keepalived 2.2.7, measured and read in its source. Nothing is dropped in
//! silence, and nothing is guessed that could move an address: what is not in the files is asked
//! for, and what contradicts itself is refused with both places. With a fault that refuses there is
//! no text. The text has been checked as `buoy check` does it. Pure but for the files that the
//! caller reads for it ([`Files`]), with limits on their size, number and depth. Called by `buoy
//! import`; `buoy check` asks [`looks_like`] about a file that is no TOML.

mod audit;
mod checks;
mod commands;
mod definitions;
mod hooks;
mod host;
mod instances;
mod keywords;
mod lines;
mod model;
mod nodes;
mod pools;
mod report;
mod routing;
mod sentences;
mod sequences;
mod source;
mod text;
mod timing;
mod tree;
mod units;
mod values;
mod vrrp;
mod weights;
mod words;

use std::net::IpAddr;
use std::path::Path;

use crate::config::{self, Keys};

pub use report::{Entry, Fault, Note, Verdict};
pub use source::{Content, Files, Place};

use model::Host;
use report::Findings;
use text::{Table, quoted};

/// What to import.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The files, one for each host.
    pub hosts: Vec<HostFile>,
    /// Addresses of nodes that are given, also of nodes without a file.
    pub nodes: Vec<(String, Vec<IpAddr>)>,
    /// Name of the cluster.
    pub cluster: String,
    /// Whether the nodes speak VRRP to hosts that still run keepalived.
    pub vrrp: bool,
}

/// The file of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFile {
    /// The name of its node, unless the file says it.
    pub name: Option<String>,
    /// The path.
    pub path: String,
    /// What keepalived is started with after `-i`.
    pub id: Option<String>,
}

/// The host on which the import runs.
pub struct Here<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its interfaces; empty if they are not known.
    pub interfaces: &'a [String],
    /// The first address of an interface.
    pub address_of: &'a dyn Fn(&str) -> Option<IpAddr>,
}

/// What came of an import.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// The new file; none if there is a fault that refuses.
    pub text: Option<String>,
    /// Each statement of each file.
    pub entries: Vec<Entry>,
    /// What to know and to do.
    pub notes: Vec<Note>,
    /// What is wrong, and what keepalived repairs or ignores, by place.
    pub faults: Vec<Fault>,
}

/// Imports the files of a request.
#[must_use]
pub fn import(request: &Request, files: &dyn Files, here: &Here<'_>) -> Import {
    let mut findings = Findings::default();
    let mut hosts: Vec<Host> = Vec::new();
    for file in &request.hosts {
        hosts.push(host::read(files, &file.path, file.id.as_deref(), &mut findings));
    }
    nodes::name_hosts(&mut hosts, request, here, &mut findings);
    let text = merge(&mut hosts, request, here, &mut findings);
    sentences::about_hosts(&hosts, &mut findings);
    sentences::about_keywords(&hosts, &mut findings);
    if findings.refused() {
        absent_interfaces(&hosts, here, &mut findings);
    }
    let text = text.filter(|_| !findings.refused());
    findings.faults.sort_by(|one, other| one.place.cmp(&other.place));
    findings.faults.dedup();
    Import {
        text,
        entries: sentences::entries(&hosts, &findings),
        notes: findings.notes,
        faults: findings.faults,
    }
}

/// Whether a text is a configuration of keepalived rather than one of buoy.
#[must_use]
pub fn looks_like(text: &str) -> bool {
    let block = |line: &str| {
        let word = line.split([' ', '\t', '{']).find(|word| !word.is_empty());
        word.is_some_and(|word| keywords::closes_all(word) || word == "include")
    };
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.starts_with(['#', '!'])).any(block)
}

/// Makes one file of all hosts.
fn merge(
    hosts: &mut [Host],
    request: &Request,
    here: &Here<'_>,
    findings: &mut Findings,
) -> Option<String> {
    if hosts.iter().all(|host| host.instances.is_empty()) && !findings.refused() {
        let problem = "there is no vrrp_instance in these files: nothing to import";
        let remedy = "name the file that keepalived is started with; buoy does not balance load: keep \
             virtual_server in keepalived, or move it to HAProxy";
        findings.refuse_all(problem, remedy);
        return None;
    }
    let nodes = nodes::find(hosts, request, here, findings);
    if request.vrrp {
        hosts.iter_mut().for_each(|host| vrrp::restate(&mut host.ledger));
    }
    let hosts = &*hosts;
    let units = units::find(hosts, findings);
    let (mut checks, mut pools, mut hooks) = (Vec::new(), Vec::new(), Vec::new());
    for unit in &units {
        units::compare(unit, findings);
        let release = checks::add(unit, &nodes, &mut checks, findings);
        let vrrp = if request.vrrp { vrrp::table(unit, findings) } else { None };
        pools.push(pools::pool(unit, (&nodes, release), vrrp, findings));
        hooks.extend(hooks::of_unit(unit, findings));
        if let Some(first) = unit.parts.first() {
            pools::tell_detection(unit, first.host, findings);
        }
    }
    hooks.extend(hooks::fifos(hosts, findings));
    checks::finish(&mut checks, findings);
    let mut cluster = Table::new("[cluster]");
    cluster.explain("name", quoted(&request.cluster), "");
    cluster.explain("key_file", quoted("cluster.key"), "create it with: buoy keygen");
    let mut tables = vec![cluster];
    tables.extend(timing::table(hosts, findings));
    tables.extend(nodes.iter().map(nodes::Node::table));
    tables.extend(pools);
    tables.extend(checks.iter().map(checks::Check::table));
    tables.extend(hooks);
    let paths: Vec<&str> = request.hosts.iter().map(|file| file.path.as_str()).collect();
    let head = [
        format!("Made by buoy import from {}.", paths.join(", ")),
        "Each line names its origin. Read the report of the import before using this file.".into(),
    ];
    let text = text::write(&head, &tables);
    if !findings.refused() {
        verify(&text, findings);
    }
    Some(text)
}

/// Checks the text as `buoy check` does; what it refuses is told with the line that it came from.
fn verify(text: &str, findings: &mut Findings) {
    let parsed = config::parse_with_keys(text, Path::new("buoy.toml"), Keys::withheld());
    let Err(refused) = parsed else { return };
    for fault in refused.faults {
        let line = text.lines().nth(fault.line.saturating_sub(1)).unwrap_or_default();
        let from = line.rsplit_once("  # ").map_or("", |(_, from)| from);
        let problem = format!(
            "buoy check would refuse {} = {} ({from}): it {}",
            fault.key, fault.value, fault.problem
        );
        findings.refuse_all(problem, fault.remedy);
    }
}

/// Interfaces that this host does not have: no fault, since the file may be another host's.
fn absent_interfaces(hosts: &[Host], here: &Here<'_>, findings: &mut Findings) {
    for instance in hosts.iter().flat_map(|host| &host.instances) {
        let Some(interface) = &instance.interface else { continue };
        if !here.interfaces.is_empty() && !here.interfaces.contains(&interface.value) {
            let problem = format!(
                "there is no interface {} on this host, which is correct if the file is for \
                 another host",
                interface.value
            );
            findings.warn(&interface.place, "interface", problem);
        }
    }
}
