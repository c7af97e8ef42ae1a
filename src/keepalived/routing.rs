//! `virtual_routes` and `virtual_rules`: routes and rules of a group, or why they cannot be.
//!
//! Options that only say how keepalived handles a route are dropped. An entry with one that changes
//! where packets go, and that buoy does not have, is left out as a whole, with a sentence.

use std::net::IpAddr;

use super::nodes::Node as Member;
use super::report::{Findings, Verdict};
use super::source::Place;
use super::text::quoted;
use super::tree::Node;
use super::units::{Part, Unit};
use super::values::ip;

/// A route or rule as buoy has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Keys with their values, in the order of the reference file.
    keys: Vec<(&'static str, Value)>,
    /// Words that are dropped.
    pub(super) dropped: Vec<String>,
    pub(super) place: Place,
    /// As written.
    line: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// As TOML.
    Plain(String),
    /// A name of an interface, which may be another one on each host.
    Device(String),
    Source(IpAddr),
}

const IN_A_HOOK: &str = "add it in a hook";

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Routes,
    Rules,
}

impl List {
    /// Both with the keyword of keepalived and the key of buoy.
    pub(super) const ALL: [(&'static str, &'static str, Self); 2] =
        [("virtual_routes", "routes", Self::Routes), ("virtual_rules", "rules", Self::Rules)];
}

/// Reads an entry; an error is why it cannot be carried over, and what to do.
pub(super) fn read(node: &Node, list: List) -> Result<Entry, String> {
    let words: Vec<&str> =
        std::iter::once(&node.keyword).chain(&node.words).map(String::as_str).collect();
    let mut reading = Reading { words: words.iter().copied(), found: Found::default() };
    match list {
        List::Routes => reading.route()?,
        List::Rules => reading.rule()?,
    }
    let Found { keys, dropped } = reading.found;
    Ok(Entry { keys, dropped, place: node.place.clone(), line: words.join(" ") })
}

#[derive(Default)]
struct Found {
    keys: Vec<(&'static str, Value)>,
    dropped: Vec<String>,
}

impl Found {
    fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|(known, _)| *known == key)
    }
}

struct Reading<W> {
    words: W,
    found: Found,
}

impl<'a, W: Iterator<Item = &'a str>> Reading<W> {
    fn value(&mut self, word: &str) -> Result<&'a str, String> {
        self.words.next().ok_or_else(|| format!("{word} has no value: complete it"))
    }

    /// A later word counts instead of an earlier one.
    fn set(&mut self, key: &'static str, value: Value) {
        self.found.keys.retain(|(known, _)| *known != key);
        self.found.keys.push((key, value));
    }

    fn plain(&mut self, key: &'static str, value: String) {
        self.set(key, Value::Plain(value));
    }

    fn number(&mut self, key: &'static str, word: &str) -> Result<(), String> {
        let text = self.value(word)?;
        let number: u32 = text.parse().map_err(|_| format!("{word} {text} is not a number"))?;
        self.plain(key, number.to_string());
        Ok(())
    }

    fn table(&mut self) -> Result<(), String> {
        let number = match self.value("table")? {
            "main" => "254".to_owned(),
            "default" => "253".to_owned(),
            text if text.parse::<u32>().is_ok() => text.to_owned(),
            text => {
                return Err(format!(
                    "write the number of the table {text}, as in /etc/iproute2/rt_tables"
                ));
            }
        };
        self.plain("table", number);
        Ok(())
    }

    fn device(&mut self, key: &'static str, word: &str) -> Result<(), String> {
        let name = self.value(word)?.to_owned();
        self.set(key, Value::Device(name));
        Ok(())
    }

    fn network(&mut self, key: &'static str, text: &str) -> Result<(), String> {
        let (host, prefix) = text.split_once('/').unwrap_or((text, ""));
        let known = text == "default" || ip(host).is_some();
        if !known || !prefix.is_empty() && prefix.parse::<u8>().is_err() {
            return Err(format!("{text} has no counterpart: {IN_A_HOOK}"));
        }
        self.plain(key, quoted(text));
        Ok(())
    }

    fn address(&mut self, word: &str) -> Result<IpAddr, String> {
        let mut text = self.value(word)?;
        if ["inet", "inet6"].contains(&text) {
            text = self.value(word)?;
        }
        ip(text).ok_or_else(|| format!("{word} {text} is not an address"))
    }

    fn route(&mut self) -> Result<(), String> {
        let mut scope = None;
        while let Some(word) = self.words.next() {
            match word {
                "unicast" => {}
                "blackhole" | "unreachable" | "prohibit" => self.plain("type", quoted(word)),
                "to" => {
                    let text = self.value(word)?;
                    self.network("to", text)?;
                }
                "via" | "gw" => {
                    let via = self.address(word)?;
                    self.plain("via", quoted(&via.to_string()));
                }
                "dev" | "oif" => self.device("dev", word)?,
                "src" => {
                    let source = self.address(word)?;
                    self.set("source", Value::Source(source));
                }
                "table" => self.table()?,
                "metric" | "priority" | "preference" => self.number("metric", word)?,
                "onlink" => self.plain("onlink", "true".to_owned()),
                "scope" => scope = Some(self.value(word)?),
                "no_track" => self.found.dropped.push(word.to_owned()),
                "track_group" | "protocol" | "proto" => {
                    let value = self.value(word)?;
                    self.found.dropped.push(format!("{word} {value}"));
                }
                text if !self.found.has("to") => self.network("to", text)?,
                _ => return Err(format!("{word} has no counterpart: {IN_A_HOOK}")),
            }
        }
        if !self.found.has("to") {
            return Err("it has no destination: complete it".to_owned());
        }
        if !["via", "dev", "type"].iter().any(|key| self.found.has(key)) {
            return Err("it leads nowhere: write via or dev".to_owned());
        }
        let usual = if self.found.has("via") || self.found.has("type") { "global" } else { "link" };
        match scope {
            Some(scope) if scope != usual => {
                Err(format!("scope {scope} has no counterpart: {IN_A_HOOK}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn rule(&mut self) -> Result<(), String> {
        while let Some(word) = self.words.next() {
            match word {
                "from" | "to" => {
                    let key = if word == "from" { "from" } else { "to" };
                    let text = self.value(word)?;
                    if text != "all" && text != "any" && text != "default" {
                        self.network(key, text)?;
                    }
                }
                "iif" | "dev" => self.device("iif", word)?,
                "oif" => self.device("oif", word)?,
                "fwmark" => {
                    let mark = self.value(word)?;
                    self.plain("fwmark", quoted(mark));
                }
                "table" | "lookup" => self.table()?,
                "priority" | "preference" | "pref" | "order" => self.number("priority", word)?,
                "no_track" => self.found.dropped.push(word.to_owned()),
                "track_group" | "protocol" => {
                    let value = self.value(word)?;
                    self.found.dropped.push(format!("{word} {value}"));
                }
                text if ip(text.split('/').next().unwrap_or(text)).is_some() => {
                    self.network("from", text)?;
                }
                _ => return Err(format!("{word} has no counterpart: {IN_A_HOOK}")),
            }
        }
        if !self.found.has("from") && !self.found.has("to") {
            return Err("it has neither from nor to: write from 0.0.0.0/0 or from ::/0".to_owned());
        }
        for key in ["table", "priority"] {
            if !self.found.has(key) {
                return Err(format!("it has no {key}: write it"));
            }
        }
        Ok(())
    }
}

impl Entry {
    /// Whether both mean the same, perhaps on other interfaces.
    fn is_like(&self, other: &Self) -> bool {
        let plain = |entry: &Self| {
            let mut keys = entry.keys.clone();
            for (_, value) in &mut keys {
                if let Value::Device(name) = value {
                    name.clear();
                }
            }
            keys.sort_by_key(|(key, _)| *key);
            keys
        };
        plain(self) == plain(other)
    }

    /// As TOML; `twins` are the same entry on each host with a file.
    fn written(&self, twins: &[(&str, &Self)], nodes: &[Member]) -> String {
        let order = ["to", "from", "via", "dev", "onlink", "source", "type", "iif", "oif"];
        let rank = |key: &str| order.iter().position(|known| *known == key).unwrap_or(order.len());
        let mut keys: Vec<_> = self.keys.iter().collect();
        keys.sort_by_key(|(key, _)| rank(key));
        let shown = |(key, value): &&(&'static str, Value)| {
            let value = match value {
                Value::Plain(text) => text.clone(),
                Value::Source(address) => quoted(&address.to_string()),
                Value::Device(name) => device((key, name), twins, nodes),
            };
            format!("{key} = {value}")
        };
        let words: Vec<String> = keys.iter().map(shown).collect();
        format!("{{ {} }}", words.join(", "))
    }

    fn source(&self) -> Option<IpAddr> {
        self.keys.iter().find_map(|(_, value)| match value {
            Value::Source(address) => Some(*address),
            Value::Plain(_) | Value::Device(_) => None,
        })
    }

    fn device(&self, wanted: &str) -> Option<&str> {
        self.keys.iter().find_map(|(key, value)| match value {
            Value::Device(name) if *key == wanted => Some(name.as_str()),
            Value::Device(_) | Value::Plain(_) | Value::Source(_) => None,
        })
    }
}

/// One name, or one for each node if the hosts differ.
fn device((key, name): (&str, &str), twins: &[(&str, &Entry)], nodes: &[Member]) -> String {
    if twins.iter().all(|(_, twin)| twin.device(key) == Some(name)) {
        return quoted(name);
    }
    let of_node = |node: &Member| {
        let twin = twins.iter().find(|(host, _)| *host == node.name);
        let own = twin.and_then(|(_, twin)| twin.device(key)).unwrap_or(name);
        format!("{} = {}", quoted(&node.name), quoted(own))
    };
    format!("{{ {} }}", nodes.iter().map(of_node).collect::<Vec<_>>().join(", "))
}

fn entries<'a>(part: &Part<'a>, list: List) -> impl Iterator<Item = &'a Entry> + use<'a> {
    let instances = part.instances.clone();
    instances.into_iter().flat_map(move |instance| match list {
        List::Routes => &instance.routes,
        List::Rules => &instance.rules,
    })
}

/// The keys `routes` and `rules` of the group of a unit, each with a comma before it; empty without.
pub(super) fn written(unit: &Unit<'_>, nodes: &[Member], findings: &mut Findings) -> String {
    let mut text = String::new();
    for (keyword, key, list) in List::ALL {
        let lines = lines(unit, nodes, (keyword, list), findings);
        if !lines.is_empty() {
            text.push_str(&format!(", {key} = [\n{}]", lines.concat()));
        }
    }
    text
}

fn lines(
    unit: &Unit<'_>,
    nodes: &[Member],
    (keyword, list): (&str, List),
    findings: &mut Findings,
) -> Vec<String> {
    let Some((first, others)) = unit.parts.split_first() else { return Vec::new() };
    let mut lines = Vec::new();
    for entry in entries(first, list) {
        let mut twins = vec![(first.host.name.as_str(), entry)];
        for other in others {
            match entries(other, list).find(|twin| twin.is_like(entry)) {
                Some(twin) => twins.push((&other.host.name, twin)),
                None => refuse(unit, (keyword, entry), (first, other), findings),
            }
        }
        if let Some(source) = entry.source().filter(|source| !has(first, *source)) {
            let text = format!(
                "{keyword}: {} is left out: src {source} is not among the addresses of {}; take src \
                 out, or {IN_A_HOOK}",
                entry.line, unit.name
            );
            findings.decide(&entry.place, Verdict::NotPossible, &text);
            findings.tell(text, &[&entry.place]);
            continue;
        }
        lines.push(format!("    {},  # {}\n", entry.written(&twins, nodes), entry.place));
    }
    for other in others {
        for entry in entries(other, list) {
            if !entries(first, list).any(|twin| twin.is_like(entry)) {
                refuse(unit, (keyword, entry), (other, first), findings);
            }
        }
    }
    lines
}

fn has(part: &Part<'_>, address: IpAddr) -> bool {
    let mut all = part.instances.iter().flat_map(|instance| &instance.addresses);
    all.any(|known| known.ip == address)
}

fn refuse(
    unit: &Unit<'_>,
    (keyword, entry): (&str, &Entry),
    (has, lacks): (&Part<'_>, &Part<'_>),
    findings: &mut Findings,
) {
    let (has, lacks) = (&has.host.name, &lacks.host.name);
    let problem =
        format!("{}: {has} has {}, {lacks} has not: which is right?", unit.name, entry.line);
    findings.refuse(&entry.place, keyword, problem, "make both files equal");
}
