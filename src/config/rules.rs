//! `rules` of a group: which routing table is asked, on a node only while it has the group.
//!
//! ```text
//!   { from = "192.0.2.10", table = 100, priority = 1000 }
//!   { to = "10.0.0.0/8", iif = "eth1", fwmark = "0x1/0xff", table = 100, priority = 1001 }
//! ```
//!
//! The priority must be written: one that the kernel chooses depends on what else the node has.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::routing::{Network, Routing, Rule};

use super::addresses::Vip;
use super::document::Entry;
use super::fault::{At, Findings, Place};
use super::file::{self, WRITE_NUMBER, WRITE_STRING, read_interface};
use super::nodes::Nodes;
use super::routes::{self, Around, check_table, device, limit, network, number};

/// The keys of an entry.
pub(super) const KEYS: &[&str] = &["from", "to", "iif", "oif", "fwmark", "table", "priority"];

const WRITE_LIST: &str =
    "write a list, like [{ from = \"192.0.2.10\", table = 100, priority = 1000 }]";
const WRITE_MARK: &str = "write it in quotes, like \"1\" or \"0x10/0xff\"";

/// An entry as written.
#[derive(Debug)]
pub(super) struct Raw {
    place: Place,
    from: Option<At<String>>,
    to: Option<At<String>>,
    iif: Option<file::Interface>,
    oif: Option<file::Interface>,
    fwmark: Option<At<String>>,
    table: Option<At<i64>>,
    priority: Option<At<i64>>,
}

/// Reads the list.
pub(super) fn read(list: Option<&Entry<'_>>, findings: &mut Findings) -> Vec<Raw> {
    let entries = list.and_then(|list| list.list(WRITE_LIST, findings)).unwrap_or_default();
    entries.iter().filter_map(|entry| read_one(entry, findings)).collect()
}

fn read_one(entry: &Entry<'_>, findings: &mut Findings) -> Option<Raw> {
    let section = entry.section(KEYS, WRITE_LIST, findings)?;
    section.finish(findings);
    let table = section.required("table", "write the number of the table to ask", findings);
    let order = "write a number, like 1000; rules with smaller numbers are asked first";
    let priority = section.required("priority", order, findings);
    Some(Raw {
        place: entry.place(),
        from: section.text("from", WRITE_STRING, findings),
        to: section.text("to", WRITE_STRING, findings),
        iif: read_interface(section.entry("iif").as_ref(), findings),
        oif: read_interface(section.entry("oif").as_ref(), findings),
        fwmark: section.text("fwmark", WRITE_STRING, findings),
        table: table.and_then(|entry| entry.number(WRITE_NUMBER, findings)),
        priority: priority.and_then(|entry| entry.number(WRITE_NUMBER, findings)),
    })
}

/// Routes and rules of groups before.
#[derive(Default)]
pub(super) struct Seen {
    routes: routes::Seen,
    rules: BTreeMap<Rule, Place>,
}

/// Checks the routes and the rules of a group with these addresses.
pub(super) fn check_both(
    group: &file::Group,
    (vips, nodes): (&[Vip], &Nodes),
    seen: &mut Seen,
    findings: &mut Findings,
) -> Routing {
    let around = Around { vips, nodes };
    Routing {
        routes: routes::check(&group.routes, &around, &mut seen.routes, findings),
        rules: check(&group.rules, &around, &mut seen.rules, findings),
    }
}

fn check(
    raw: &[Raw],
    around: &Around<'_>,
    seen: &mut BTreeMap<Rule, Place>,
    findings: &mut Findings,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for raw in raw {
        let Some(rule) = check_one(raw, around, findings) else { continue };
        if let Some(other) = seen.insert(rule.clone(), raw.place.clone()) {
            let problem = format!("is also in {} (line {})", other.key, other.line);
            findings.refuse(&raw.place, problem, "keep one of them");
        }
        rules.push(rule);
    }
    limit(("rules", raw.first().map(|raw| &raw.place)), (raw.len(), seen.len()), findings);
    rules
}

fn check_one(raw: &Raw, around: &Around<'_>, findings: &mut Findings) -> Option<Rule> {
    let before = findings.faults.len();
    let from = raw.from.as_ref().and_then(|text| network(text, None, findings));
    let to = raw.to.as_ref().and_then(|text| network(text, None, findings));
    if raw.from.is_none() && raw.to.is_none() {
        let remedy = "write from or to; from = \"0.0.0.0/0\" or from = \"::/0\" is any address";
        findings.refuse(&raw.place, "is of no family", remedy);
    }
    if let (Some(text), Some(from), Some(to)) = (&raw.to, from, to)
        && from.address.is_ipv4() != to.address.is_ipv4()
    {
        let problem = format!("is of another family than from, {from}");
        findings.refuse(&text.place, problem, "write one rule for each family");
    }
    let (iif, oif) = (
        device(raw.iif.as_ref(), around.nodes, findings),
        device(raw.oif.as_ref(), around.nodes, findings),
    );
    let patterns = [&raw.iif, &raw.oif].into_iter().flatten();
    for place in patterns.filter_map(pattern) {
        let problem = "is a pattern, but a rule is for one interface";
        findings.refuse(place, problem, "write one name, or one for each node");
    }
    let fwmark = raw.fwmark.as_ref().map(|mark| check_mark(mark, findings));
    let table = check_table(raw.table.as_ref(), findings);
    let priority = raw.priority.as_ref().and_then(|it| number(it, 1, findings));
    if findings.faults.len() > before {
        return None;
    }
    let any = any_like(from.or(to)?);
    let (from, to) = (from.unwrap_or(any), to.unwrap_or(any));
    let (table, priority) = (table?, priority?);
    Some(Rule { priority, from, to, iif, oif, fwmark: fwmark.flatten(), table })
}

/// Where a name stands that may fit several interfaces.
fn pattern(raw: &file::Interface) -> Option<&Place> {
    let each = raw.by_node.iter().map(|(_, names)| names);
    let mut lists = std::iter::once(&raw.all).chain(each);
    let several = |names: &&Vec<At<String>>| {
        names.len() > 1 || names.iter().any(|name| name.value.contains('*'))
    };
    lists.any(|names| several(&names)).then_some(&raw.place)
}

fn any_like(network: Network) -> Network {
    let address = match network.address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    Network { address, prefix: 0 }
}

/// The mark and the bits of it that are compared.
fn check_mark(text: &At<String>, findings: &mut Findings) -> Option<(u32, u32)> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let (mark, mask) = text.value.split_once('/').unwrap_or((&text.value, "0xffffffff"));
    let found = number(mark).zip(number(mask)).filter(|(_, mask)| *mask != 0);
    if found.is_none() {
        findings.refuse(&text.place, "is not a mark", WRITE_MARK);
    }
    found.map(|(mark, mask)| (mark & mask, mask))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use super::super::key_file::Keys;
    use super::super::{Change, Config, Refused, difference, parse_with_keys};
    use crate::protocol::NodeId;

    const HEAD: &str = "[cluster]\nname = \"edge\"\nkey_file = \"k\"\n\
         [[node]]\nname = \"lb1\"\naddresses = [\"10.77.0.11\"]\n\
         [[node]]\nname = \"lb2\"\naddresses = [\"10.77.0.12\"]\n\
         [[pool]]\nname = \"a\"\n[[pool.vips]]\nname = \"gw\"\n\
         addresses = [\"10.77.0.100\", \"fd77::100\"]\n";

    fn parse(routing: &str) -> Result<Config, Refused> {
        let key = (0, [7; 32]);
        let keys = Keys { active: key.0, all: vec![key] };
        parse_with_keys(&format!("{HEAD}{routing}\n"), Path::new("/etc/buoy.toml"), keys)
    }

    fn shown(routing: &str, node: &str) -> Vec<String> {
        let config = parse(routing).unwrap_or_else(|refused| panic!("{refused}"));
        let routing = config.groups[0].routing.at(NodeId::from_name(node));
        let routes = routing.routes.iter().map(ToString::to_string);
        routes.chain(routing.rules.iter().map(ToString::to_string)).collect()
    }

    #[test]
    fn routes_and_rules_mean_what_iproute_would_make_of_them() {
        let routing = "routes = [\n\
             { to = \"default\", via = \"10.77.0.1\", source = \"10.77.0.100\", table = 100 },\n\
             { to = \"default\", via = \"fe80::1\", dev = { lb1 = \"eth0\", lb2 = \"ens9\" } },\n\
             { to = \"10.9.0.7\", type = \"unreachable\", metric = 7 },\n]\n\
             rules = [\n\
             { from = \"10.77.0.100\", table = 100, priority = 1000 },\n\
             { to = \"fd00::/8\", iif = \"eth1\", fwmark = \"17/0xf\", table = 5, priority = 2 },\n]";
        assert_eq!(
            shown(routing, "lb2"),
            [
                "0.0.0.0/0 via 10.77.0.1 src 10.77.0.100 table 100",
                "::/0 via fe80::1 dev ens9",
                "unreachable 10.9.0.7 metric 7",
                "rule 1000: from 10.77.0.100 table 100",
                "rule 2: to fd00::/8 iif eth1 fwmark 0x1/0xf table 5",
            ]
        );
        let config = parse(routing).unwrap();
        let [warning] = config.warnings.as_slice() else { panic!("{:?}", config.warnings) };
        assert!(warning.text.contains("default route of its own"), "{warning:?}");
    }

    #[test]
    fn a_reload_names_what_differs_and_order_means_nothing() {
        let one = "{ to = \"10.1.0.0/16\", via = \"10.77.0.1\" }";
        let other = "{ to = \"10.2.0.0/16\", via = \"10.77.0.1\" }";
        let with = |routes: &[&str]| parse(&format!("routes = [{}]", routes.join(", "))).unwrap();
        let (none, both) = (with(&[]), with(&[one, other]));
        assert_eq!(none.digest, parse("").unwrap().digest, "as software that knows no routes");
        assert_eq!(both.digest, with(&[other, one]).digest);
        assert_ne!(both.digest, with(&[one]).digest);
        let changes = |old: &Config, new: &Config| -> Vec<String> {
            difference(old, new).iter().map(Change::to_string).collect()
        };
        assert_eq!(
            changes(&both, &with(&[one])),
            ["group gw changed: 10.2.0.0/16 via 10.77.0.1 removed"]
        );
        assert_eq!(changes(&none, &both), ["group gw changed: 2 routes added"]);
    }

    #[test]
    fn no_more_than_can_be_handled() {
        let mut routes = String::from("routes = [");
        for it in 0..=super::super::ROUTES_PER_GROUP_MAX {
            let (high, low) = (it / 256, it % 256);
            let _ = write!(routes, "{{ to = \"10.{high}.{low}.0/24\", type = \"blackhole\" }},");
        }
        let refused = parse(&(routes + "]")).unwrap_err().to_string();
        assert!(refused.contains("at most 1024 routes"), "{refused}");
    }
}
