//! Finds hosts near us that may answer: gateways, and neighbours that the kernel knows.
//!
//! Called by `probe` for `reach`, and by `verify` for the whole table. Other nodes of the cluster are left out, by their addresses and
//! by the hardware addresses behind these, because a node has more addresses than are configured.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;

use super::links::ip;
use crate::netlink::{
    ACKNOWLEDGE, Conversation, DUMP, Message, append_attribute, attributes, u16_at, u32_at,
};

const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;
const ROUTE_DESTINATION: u16 = 1;
const ROUTE_LINK: u16 = 4;
const ROUTE_GATEWAY: u16 = 5;
const NEIGHBOUR_ADDRESS: u16 = 1;
const NEIGHBOUR_HARDWARE: u16 = 2;
const NEIGHBOUR_TIMES: u16 = 3;
/// The kernel tells these times in hundredths of a second (USER_HZ).
const TICK: Duration = Duration::from_millis(10);
/// Reachable, stale, delayed or being probed: it was there not long ago.
const STATES: u16 = 0x02 | 0x04 | 0x08 | 0x10;
/// Addresses reserved for documentation: only a default route leads there.
const OUTSIDE_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// See [`OUTSIDE_V4`].
const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

#[derive(Debug, PartialEq, Eq)]
struct Neighbour {
    address: IpAddr,
    link: u32,
    hardware: Option<Vec<u8>>,
    alive: bool,
}

/// An entry of the kernel's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) address: IpAddr,
    pub(super) link: u32,
    /// If it is known, and Ethernet.
    pub(super) hardware: Option<[u8; 6]>,
    /// Whether it was there not long ago.
    pub(super) alive: bool,
    /// Time since it was used, confirmed or changed last.
    pub(super) idle: Duration,
}

/// The kernel's table of these links.
pub(super) fn table(links: &BTreeSet<u32>) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut conversation = Conversation::open(NETLINK_ROUTE)?;
    conversation.ask(GET_NEIGHBOUR, DUMP, &[0; 12], |message| {
        entries.extend(read_entry(&message).filter(|entry| links.contains(&entry.link)));
        true
    })?;
    Ok(entries)
}

fn read_entry(message: &Message<'_>) -> Option<Entry> {
    let Neighbour { address, link, hardware, alive } = read(message)?;
    let mut found = attributes(message.body.get(12..)?);
    let times = found.find(|(kind, _)| *kind == NEIGHBOUR_TIMES).map(|(_, value)| value);
    // Confirmed, used, updated.
    let ticks = times.and_then(|times| (0..3).filter_map(|at| u32_at(times, at * 4)).min());
    let idle = TICK.saturating_mul(ticks.unwrap_or(u32::MAX));
    let hardware = hardware.and_then(|hardware| hardware.as_slice().try_into().ok());
    Some(Entry { address, link, hardware, alive, idle })
}

/// The gateways of both families on a link.
pub(super) fn gateways(link: u32) -> Vec<IpAddr> {
    // Without such a route the kernel refuses, which is the answer.
    let outside = [IpAddr::V4(OUTSIDE_V4), IpAddr::V6(OUTSIDE_V6)];
    let Ok(mut routes) = Conversation::open(NETLINK_ROUTE) else { return Vec::new() };
    let found = outside.map(|outside| gateway(&mut routes, link, outside).ok().flatten());
    let found = found.into_iter().flatten();
    found.map(|gateway| gateway.ip()).collect()
}

/// Hosts on these links that are not excluded, gateways first.
pub(super) fn candidates(
    links: &BTreeSet<u32>,
    excluded: &BTreeSet<IpAddr>,
) -> io::Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    // One for all questions: while nobody is known who answers, this is asked twice a second.
    let mut conversation = Conversation::open(NETLINK_ROUTE)?;
    for link in links {
        // Without such a route the kernel refuses, which is the answer.
        found.extend(gateway(&mut conversation, *link, OUTSIDE_V4.into()).unwrap_or_default());
        found.extend(gateway(&mut conversation, *link, OUTSIDE_V6.into()).unwrap_or_default());
    }
    let mut neighbours = Vec::new();
    conversation.ask(GET_NEIGHBOUR, DUMP, &[0; 12], |message| {
        neighbours.extend(read(&message).filter(|neighbour| links.contains(&neighbour.link)));
        true
    })?;
    Ok(choose(found, &neighbours, excluded))
}

/// Leaves out the cluster itself, and link-local neighbours: they may be nodes under another name.
fn choose(
    gateways: Vec<SocketAddr>,
    neighbours: &[Neighbour],
    excluded: &BTreeSet<IpAddr>,
) -> Vec<SocketAddr> {
    let nodes: BTreeSet<&Vec<u8>> = neighbours
        .iter()
        .filter(|neighbour| excluded.contains(&neighbour.address))
        .filter_map(|neighbour| neighbour.hardware.as_ref())
        .collect();
    let is_node = |address: IpAddr| {
        let of_node = |it: &Neighbour| {
            it.address == address && it.hardware.as_ref().is_some_and(|mac| nodes.contains(mac))
        };
        excluded.contains(&address) || neighbours.iter().any(of_node)
    };
    let mut chosen: Vec<_> = gateways.into_iter().filter(|it| !is_node(it.ip())).collect();
    for neighbour in neighbours.iter().filter(|neighbour| neighbour.alive) {
        let link_local = match neighbour.address {
            IpAddr::V4(address) => address.is_link_local() || address.is_multicast(),
            IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
        };
        let node = neighbour.hardware.as_ref().is_none_or(|mac| nodes.contains(mac));
        let target = on_link(neighbour.address, neighbour.link);
        if !link_local && !node && !is_node(neighbour.address) && !chosen.contains(&target) {
            chosen.push(target);
        }
        if chosen.len() >= super::reach::TARGETS_MAX {
            break;
        }
    }
    chosen
}

/// The gateway that packets to `outside` would take on this link.
fn gateway(
    conversation: &mut Conversation,
    link: u32,
    outside: IpAddr,
) -> io::Result<Option<SocketAddr>> {
    let (family, octets) = match outside {
        IpAddr::V4(address) => (FAMILY_V4, address.octets().to_vec()),
        IpAddr::V6(address) => (FAMILY_V6, address.octets().to_vec()),
    };
    let bits = if family == FAMILY_V4 { 32 } else { 128 };
    let mut body = vec![family, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    append_attribute(&mut body, ROUTE_DESTINATION, &octets);
    append_attribute(&mut body, ROUTE_LINK, &link.to_ne_bytes());
    let mut gateway = None;
    conversation.ask(GET_ROUTE, ACKNOWLEDGE, &body, |message| {
        gateway = gateway.or_else(|| gateway_in(&message, link));
        true
    })?;
    Ok(gateway)
}

fn gateway_in(message: &Message<'_>, link: u32) -> Option<SocketAddr> {
    if message.kind != NEW_ROUTE {
        return None;
    }
    let family = *message.body.first()?;
    let mut found = attributes(message.body.get(12..)?);
    let (_, value) = found.find(|(kind, _)| *kind == ROUTE_GATEWAY)?;
    Some(on_link(ip(family, value)?, link))
}

fn on_link(address: IpAddr, link: u32) -> SocketAddr {
    match address {
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            SocketAddr::V6(SocketAddrV6::new(address, 0, 0, link))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => SocketAddr::new(address, 0),
    }
}

fn read(message: &Message<'_>) -> Option<Neighbour> {
    if message.kind != NEW_NEIGHBOUR {
        return None;
    }
    let family = *message.body.first()?;
    let mut address = None;
    let mut hardware = None;
    for (kind, value) in attributes(message.body.get(12..)?) {
        match kind {
            NEIGHBOUR_ADDRESS => address = ip(family, value),
            NEIGHBOUR_HARDWARE => hardware = Some(value.to_vec()),
            _ => {}
        }
    }
    let alive = u16_at(message.body, 8)? & STATES != 0;
    Some(Neighbour { address: address?, link: u32_at(message.body, 4)?, hardware, alive })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_recognised_by_their_hardware_under_any_address() {
        let neighbour = |address: &str, hardware: u8, alive| Neighbour {
            address: address.parse().unwrap(),
            link: 2,
            hardware: Some(vec![2, 0, 0, 0, 0, hardware]),
            alive,
        };
        let neighbours = [
            neighbour("10.0.0.2", 2, false),
            neighbour("fd00::2", 2, true),
            neighbour("10.0.0.9", 9, true),
            neighbour("10.0.0.8", 8, false),
            neighbour("fe80::7", 7, true),
            neighbour("10.0.0.1", 1, true),
        ];
        let gateways = vec![SocketAddr::new([10, 0, 0, 1].into(), 0)];
        let peer = BTreeSet::from([IpAddr::from([10, 0, 0, 2])]);
        let chosen = choose(gateways.clone(), &neighbours, &peer);
        let hosts: Vec<String> = chosen.iter().map(|it| it.ip().to_string()).collect();
        assert_eq!(hosts, ["10.0.0.1", "10.0.0.9"]);

        let peer_is_gateway = BTreeSet::from([IpAddr::from([10, 0, 0, 1])]);
        assert!(!choose(gateways.clone(), &neighbours, &peer_is_gateway).contains(&gateways[0]));
    }
}
