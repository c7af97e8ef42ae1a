//! Routes and rules of groups as messages of the kernel.
//!
//! ```text
//!   route (12 bytes): | family | prefix | 0 | 0 | table | protocol | scope | type | flags 4 |
//!   rule (12 bytes):  | family | to prefix | from prefix | 0 | table | 0 | 0 | action | flags 4 |
//! ```
//!
//! Both bear the number of our cluster as their protocol (see `Mark::protocol`): a route in the
//! header, a rule in an attribute. A message that removes something names that number too, so that
//! the kernel never removes what somebody else has added.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::kernel::links::ip;
use crate::netlink::{append_attribute, attributes, u32_at};
use crate::routing::{Network, RouteKind};

pub(super) const NEW_ROUTE: u16 = 24;
pub(super) const DELETE_ROUTE: u16 = 25;
pub(super) const GET_ROUTE: u16 = 26;
pub(super) const NEW_RULE: u16 = 32;
pub(super) const DELETE_RULE: u16 = 33;
pub(super) const GET_RULE: u16 = 34;

const ROUTE_DESTINATION: u16 = 1;
const ROUTE_DEVICE: u16 = 4;
const ROUTE_GATEWAY: u16 = 5;
const ROUTE_METRIC: u16 = 6;
const ROUTE_SOURCE: u16 = 7;
const ROUTE_TABLE: u16 = 15;
const RULE_TO: u16 = 1;
const RULE_FROM: u16 = 2;
const RULE_IIF: u16 = 3;
const RULE_PRIORITY: u16 = 6;
const RULE_MARK: u16 = 10;
const RULE_TABLE: u16 = 15;
const RULE_MASK: u16 = 16;
const RULE_OIF: u16 = 17;
const RULE_PROTOCOL: u16 = 21;

const KINDS: [(u8, RouteKind); 4] = [
    (1, RouteKind::Unicast),
    (6, RouteKind::Blackhole),
    (7, RouteKind::Unreachable),
    (8, RouteKind::Prohibit),
];
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
/// Of whatever scope.
const SCOPE_NOWHERE: u8 = 255;
/// The gateway is on the link.
const ONLINK: u32 = 4;
/// Copies that the kernel made of routes for single destinations.
const CLONED: u32 = 0x200;
/// Ask the table.
const ACTION_TABLE: u8 = 1;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;

/// A route as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RouteEntry {
    pub(super) to: Network,
    pub(super) table: u32,
    pub(super) metric: u32,
    pub(super) kind: RouteKind,
    pub(super) via: Option<IpAddr>,
    pub(super) link: Option<u32>,
    pub(super) onlink: bool,
    pub(super) source: Option<IpAddr>,
}

/// A rule as the kernel has it. Interfaces are names: they need not exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RuleEntry {
    pub(super) priority: u32,
    pub(super) from: Network,
    pub(super) to: Network,
    pub(super) iif: Option<String>,
    pub(super) oif: Option<String>,
    pub(super) fwmark: Option<(u32, u32)>,
    pub(super) table: u32,
}

/// Either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Route(RouteEntry),
    Rule(RuleEntry),
}

/// By what the kernel tells one from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// Rules before the routes that they lead to: removed first, added last.
    Rule(RuleEntry),
    /// With its table and metric.
    Route(u32, Network, u32),
}

impl Entry {
    pub(super) fn key(&self) -> Key {
        match self {
            Self::Route(it) => Key::Route(it.table, it.to, it.metric),
            Self::Rule(rule) => Key::Rule(rule.clone()),
        }
    }

    /// Whether what the kernel has is what is wanted here.
    pub(super) fn is(&self, found: &Self) -> bool {
        match (self, found) {
            (Self::Route(wanted), Self::Route(found)) => {
                let link = wanted.link.or(found.link);
                // That of a route that sends nothing on is the loopback one.
                let link = if wanted.kind == RouteKind::Unicast { link } else { found.link };
                RouteEntry { link, ..wanted.clone() } == *found
            }
            (Self::Rule(wanted), Self::Rule(found)) => wanted == found,
            (Self::Route(_), Self::Rule(_)) | (Self::Rule(_), Self::Route(_)) => false,
        }
    }

    /// Returns the kind of message that adds it, and its body.
    pub(super) fn addition(&self, protocol: u8) -> (u16, Vec<u8>) {
        match self {
            Self::Route(route) => (NEW_ROUTE, route_body(route, protocol)),
            Self::Rule(rule) => (NEW_RULE, rule_body(rule, protocol)),
        }
    }
}

impl Key {
    /// Returns the kind of message that removes it, and its body.
    pub(super) fn removal(&self, protocol: u8) -> (u16, Vec<u8>) {
        match self {
            Self::Rule(rule) => (DELETE_RULE, rule_body(rule, protocol)),
            Self::Route(table, to, metric) => {
                let header = (protocol, SCOPE_NOWHERE, 0, 0);
                (DELETE_ROUTE, route_head((*table, to, *metric), header))
            }
        }
    }
}

const fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { FAMILY_V4 } else { FAMILY_V6 }
}

fn append_address(body: &mut Vec<u8>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(address) => append_attribute(body, kind, &address.octets()),
        IpAddr::V6(address) => append_attribute(body, kind, &address.octets()),
    }
}

/// What names a route; with its protocol, scope, type and flags.
fn route_head(
    (table, to, metric): (u32, &Network, u32),
    (protocol, scope, kind, flags): (u8, u8, u8, u32),
) -> Vec<u8> {
    let short = u8::try_from(table).unwrap_or(0);
    let mut body = vec![family(to.address), to.prefix, 0, 0, short, protocol, scope, kind];
    body.extend_from_slice(&flags.to_ne_bytes());
    if to.prefix > 0 {
        append_address(&mut body, ROUTE_DESTINATION, to.address);
    }
    append_attribute(&mut body, ROUTE_TABLE, &table.to_ne_bytes());
    append_attribute(&mut body, ROUTE_METRIC, &metric.to_ne_bytes());
    body
}

fn route_body(route: &RouteEntry, protocol: u8) -> Vec<u8> {
    let direct = route.to.address.is_ipv4() && route.via.is_none();
    let unicast = route.kind == RouteKind::Unicast;
    let scope = if direct && unicast { SCOPE_LINK } else { SCOPE_UNIVERSE };
    let kind = KINDS.iter().find(|(_, kind)| *kind == route.kind).map_or(0, |(code, _)| *code);
    let flags = if route.onlink { ONLINK } else { 0 };
    let head = (route.table, &route.to, route.metric);
    let mut body = route_head(head, (protocol, scope, kind, flags));
    if let Some(via) = route.via {
        append_address(&mut body, ROUTE_GATEWAY, via);
    }
    if let Some(link) = route.link {
        append_attribute(&mut body, ROUTE_DEVICE, &link.to_ne_bytes());
    }
    if let Some(source) = route.source {
        append_address(&mut body, ROUTE_SOURCE, source);
    }
    body
}

fn rule_body(rule: &RuleEntry, protocol: u8) -> Vec<u8> {
    let short = u8::try_from(rule.table).unwrap_or(0);
    let (to, from) = (rule.to, rule.from);
    let mut body = vec![family(from.address), to.prefix, from.prefix, 0, short, 0, 0, ACTION_TABLE];
    body.extend_from_slice(&0_u32.to_ne_bytes());
    for (kind, network) in [(RULE_TO, to), (RULE_FROM, from)] {
        if network.prefix > 0 {
            append_address(&mut body, kind, network.address);
        }
    }
    for (kind, name) in [(RULE_IIF, &rule.iif), (RULE_OIF, &rule.oif)] {
        if let Some(name) = name {
            append_attribute(&mut body, kind, format!("{name}\0").as_bytes());
        }
    }
    append_attribute(&mut body, RULE_PRIORITY, &rule.priority.to_ne_bytes());
    if let Some((mark, mask)) = rule.fwmark {
        append_attribute(&mut body, RULE_MARK, &mark.to_ne_bytes());
        append_attribute(&mut body, RULE_MASK, &mask.to_ne_bytes());
    }
    append_attribute(&mut body, RULE_TABLE, &rule.table.to_ne_bytes());
    append_attribute(&mut body, RULE_PROTOCOL, &[protocol]);
    body
}

/// The head of a question for all routes of a family with this protocol.
pub(super) fn question(v4: bool, protocol: u8) -> [u8; 12] {
    let mut head = [0; 12];
    head[0] = if v4 { FAMILY_V4 } else { FAMILY_V6 };
    head[5] = protocol;
    head
}

/// Reads a route with this protocol; `None` for any other.
pub(super) fn read_route(body: &[u8], protocol: u8) -> Option<Entry> {
    let (family, prefix) = (*body.first()?, *body.get(1)?);
    let mut table = u32::from(*body.get(4)?);
    let code = *body.get(7)?;
    let flags = u32_at(body, 8)?;
    if *body.get(5)? != protocol || flags & CLONED != 0 {
        return None;
    }
    let (_, kind) = KINDS.iter().find(|(known, _)| *known == code)?;
    let (mut address, mut via, mut link, mut source, mut metric) = (None, None, None, None, 0);
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            ROUTE_DESTINATION => address = ip(family, value),
            ROUTE_GATEWAY => via = ip(family, value),
            ROUTE_DEVICE => link = u32_at(value, 0),
            ROUTE_SOURCE => source = ip(family, value),
            ROUTE_METRIC => metric = u32_at(value, 0)?,
            ROUTE_TABLE => table = u32_at(value, 0)?,
            _ => {}
        }
    }
    let to = Network { address: address.or_else(|| any(family))?, prefix };
    let (kind, onlink) = (*kind, flags & ONLINK != 0);
    Some(Entry::Route(RouteEntry { to, table, metric, kind, via, link, onlink, source }))
}

/// Reads a rule with this protocol; `None` for any other.
pub(super) fn read_rule(body: &[u8], protocol: u8) -> Option<Entry> {
    let family = *body.first()?;
    let mut table = u32::from(*body.get(4)?);
    let (mut from, mut to) = (any(family)?, any(family)?);
    let (mut iif, mut oif, mut mark, mut mask) = (None, None, None, None);
    let (mut priority, mut ours) = (0, false);
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            RULE_TO => to = ip(family, value)?,
            RULE_FROM => from = ip(family, value)?,
            RULE_IIF => iif = Some(text(value)),
            RULE_OIF => oif = Some(text(value)),
            RULE_PRIORITY => priority = u32_at(value, 0)?,
            RULE_MARK => mark = u32_at(value, 0),
            RULE_MASK => mask = u32_at(value, 0),
            RULE_TABLE => table = u32_at(value, 0)?,
            RULE_PROTOCOL => ours = value.first() == Some(&protocol),
            _ => {}
        }
    }
    let (to, from) = (
        Network { address: to, prefix: *body.get(1)? },
        Network { address: from, prefix: *body.get(2)? },
    );
    let mask = mask.filter(|mask| *mask != 0);
    let fwmark = mask.map(|mask| (mark.unwrap_or(0), mask));
    ours.then_some(Entry::Rule(RuleEntry { priority, from, to, iif, oif, fwmark, table }))
}

const fn any(family: u8) -> Option<IpAddr> {
    match family {
        FAMILY_V4 => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        FAMILY_V6 => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        _ => None,
    }
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: u8 = 0xb1;

    fn network(address: &str, prefix: u8) -> Network {
        Network { address: address.parse().unwrap(), prefix }
    }

    fn route(to: Network) -> RouteEntry {
        let (via, source) = if to.address.is_ipv4() {
            ("192.0.2.1", "192.0.2.10")
        } else {
            ("fe80::1", "fd77::10")
        };
        RouteEntry {
            to,
            table: 100_000,
            metric: 50,
            kind: RouteKind::Unicast,
            via: Some(via.parse().unwrap()),
            link: Some(3),
            onlink: true,
            source: Some(source.parse().unwrap()),
        }
    }

    #[test]
    fn routes_are_read_as_they_are_written() {
        for to in [network("10.0.0.0", 8), network("::", 0), network("fd00::7", 128)] {
            let written = route(to);
            let (kind, body) = Entry::Route(written.clone()).addition(OURS);
            assert_eq!(kind, NEW_ROUTE);
            assert_eq!(read_route(&body, OURS), Some(Entry::Route(written)));
            assert_eq!(read_route(&body, OURS + 1), None, "of somebody else");
            for length in 0..12 {
                assert_eq!(read_route(&body[..length], OURS), None, "cut to {length}");
            }
        }
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        let rule = |from, to| RuleEntry {
            priority: 1000,
            from,
            to,
            iif: Some("eth1".to_owned()),
            oif: None,
            fwmark: Some((0x10, 0xff)),
            table: 100,
        };
        for (from, to) in [
            (network("192.0.2.10", 32), network("0.0.0.0", 0)),
            (network("::", 0), network("fd00::", 8)),
        ] {
            let written = rule(from, to);
            let (kind, body) = Entry::Rule(written.clone()).addition(OURS);
            assert_eq!(kind, NEW_RULE);
            assert_eq!(read_rule(&body, OURS), Some(Entry::Rule(written)));
            assert_eq!(read_rule(&body, OURS + 1), None, "of somebody else");
        }
    }

    #[test]
    fn a_removal_names_the_route_and_whose_it_is() {
        let key = Entry::Route(route(network("10.0.0.0", 8))).key();
        let (kind, body) = key.removal(OURS);
        assert_eq!((kind, body[5], body[6]), (DELETE_ROUTE, OURS, SCOPE_NOWHERE));
        assert_eq!(u32_at(&body, 8), Some(0));
        let named: Vec<u16> = attributes(&body[12..]).map(|(kind, _)| kind).collect();
        assert_eq!(named, [ROUTE_DESTINATION, ROUTE_TABLE, ROUTE_METRIC]);
    }

    #[test]
    fn what_is_not_said_may_be_anything() {
        let wanted = RouteEntry { link: None, ..route(network("10.0.0.0", 8)) };
        let found = RouteEntry { link: Some(7), ..wanted.clone() };
        assert!(Entry::Route(wanted.clone()).is(&Entry::Route(found.clone())));
        let other = RouteEntry { via: Some([192, 0, 2, 9].into()), ..found.clone() };
        assert!(!Entry::Route(wanted.clone()).is(&Entry::Route(other)));
        let elsewhere = RouteEntry { link: Some(2), ..wanted };
        assert!(!Entry::Route(elsewhere).is(&Entry::Route(found)));
    }
}
