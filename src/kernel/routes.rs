//! Routes: which of the host's connect a network, and those of ours.
//!
//! An address that is written with its prefix brings its network along, as users of other daemons
//! know it. On a link where that network is not connected, a route to it is made while the address
//! is here; its source is the address, which the kernel accepts only while it is here. With the
//! metric of our mark (see `mark`) it comes last: no route of the host's own is ever worse off for it, and
//! one that comes later wins at once. Wanted routes are compared with those that are there at every
//! change, and whenever the host's routes are asked for.
//!
//! The host's own are asked for only while they matter: an address of a group has no link, or is on
//! one where the host has no address of its network. Then after every change, and once a second,
//! because the kernel does not tell of routes that go with a link or an address.
//!
//! ```text
//!   route (12 bytes): | family | prefix | 0 | 0 | table | protocol | scope | type | flags 4 |
//!   attributes: destination, device, source, metric, gateway and others that say "not connected"
//! ```

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use tokio::time::Instant as Moment;

use super::links::{Network, ip};
use super::mark::{Found, Mark, PROTOCOL_TAG};
use super::reconcile::Reconciler;
use crate::netlink::{
    ACKNOWLEDGE, Conversation, DUMP, REQUEST, append_attribute, append_message, attributes, u32_at,
};

const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;
const REPLACE: u16 = 0x100;
const CREATE: u16 = 0x400;
const DESTINATION: u16 = 1;
const DEVICE: u16 = 4;
const GATEWAY: u16 = 5;
const METRIC: u16 = 6;
const SOURCE: u16 = 7;
const MULTIPATH: u16 = 9;
const TABLE: u16 = 15;
const VIA: u16 = 18;
const MAIN: u8 = 254;
const UNICAST: u8 = 1;
const SCOPE_LINK: u8 = 253;
/// Copies that the kernel made of routes for single destinations.
const CLONED: u32 = 0x200;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;
/// Between two dumps while routes matter and nothing is known to have changed.
const EVERY: Duration = Duration::from_secs(1);
/// Between two dumps of a host on which much changes.
const GAP: Duration = Duration::from_millis(20);

/// A route as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Route {
    network: Network,
    source: Option<IpAddr>,
    /// The metric with which a daemon made it, of whatever cluster.
    made: Option<u32>,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Routes {
    mark: Mark,
    /// Those of ours by network and metric, with their sources.
    made: BTreeMap<(Network, u32), Option<IpAddr>>,
    /// When to ask next; `None` before the first time.
    due: Option<Moment>,
    asked: Option<Moment>,
}

impl Routes {
    /// To make those with this mark.
    pub(super) const fn new(mark: Mark) -> Self {
        Self { mark, made: BTreeMap::new(), due: None, asked: None }
    }

    /// Notes that links or addresses changed, and routes perhaps with them.
    pub(super) fn doubt(&mut self) {
        let soon = self.asked.map_or_else(Moment::now, |asked| asked + GAP);
        self.due = self.due.map(|due| due.min(soon));
    }

    /// When [`Routes::proceed`] has to be called.
    pub(super) fn deadline(&self, reconciler: &Reconciler) -> Option<Moment> {
        self.due.filter(|_| reconciler.routes_matter())
    }

    /// Asks for the host's routes if it is time, and makes and removes those of ours.
    pub(super) fn proceed(&mut self, reconciler: &mut Reconciler) {
        let now = Moment::now();
        if !reconciler.routes_matter() && self.due.is_some() && self.made.is_empty() {
            return;
        }
        if self.due.is_none_or(|due| due <= now) {
            (self.due, self.asked) = (Some(now + EVERY), Some(now));
            match dump() {
                Ok(routes) => self.take_in(routes, reconciler),
                Err(error) => tracing::warn!(%error, "routes cannot be read from the kernel"),
            }
        }
        let wanted = reconciler.wanted_routes();
        if let Err(error) = self.make(&wanted) {
            tracing::warn!(%error, "the route to the network of an address cannot be added");
        }
    }

    fn take_in(&mut self, routes: Vec<Route>, reconciler: &mut Reconciler) {
        self.made.clear();
        let mut others = Vec::new();
        for Route { network, source, made } in routes {
            let Some(metric) = made else {
                others.push(network);
                continue;
            };
            // Without a source it is of nobody any more (IPv6).
            if source.is_none() || self.mark.owns(Some(Found::Of(metric))) {
                self.made.insert((network, metric), source);
            }
        }
        reconciler.route(others);
    }

    fn make(&mut self, wanted: &BTreeMap<Network, IpAddr>) -> io::Result<()> {
        let metric = self.mark.value();
        let is_made = |(network, source): &(&Network, &IpAddr)| {
            self.made.get(&(**network, metric)).copied().flatten() == Some(**source)
        };
        let missing = wanted.iter().filter(|route| !is_made(route));
        let mut orders: Vec<_> =
            missing.map(|(n, source)| (NEW_ROUTE, (*n, metric), Some(*source))).collect();
        let stays = |(n, with): &(Network, u32)| *with == metric && wanted.contains_key(n);
        let over = self.made.keys().filter(|made| !stays(made));
        orders.extend(over.map(|made| (DELETE_ROUTE, *made, None)));
        if orders.is_empty() {
            return Ok(());
        }
        let mut conversation = Conversation::open(NETLINK_ROUTE)?;
        for (kind, route, source) in orders {
            let flags = if kind == NEW_ROUTE { CREATE | REPLACE } else { 0 };
            let mut datagram = Vec::new();
            let body = body(&route, source);
            append_message(&mut datagram, kind, REQUEST | ACKNOWLEDGE | flags, 0, &body);
            conversation.send(&datagram)?;
            match (conversation.refusals().first(), kind) {
                (None, NEW_ROUTE) => drop(self.made.insert(route, source)),
                // The kernel removes routes with their source or their link.
                (_, DELETE_ROUTE) => drop(self.made.remove(&route)),
                (Some(code), _) => return Err(io::Error::from_raw_os_error(*code)),
                (None, _) => {}
            }
        }
        Ok(())
    }
}

fn body((network, metric): &(Network, u32), source: Option<IpAddr>) -> Vec<u8> {
    let (family, scope, destination) = match network.address {
        IpAddr::V4(address) => (FAMILY_V4, SCOPE_LINK, address.octets().to_vec()),
        IpAddr::V6(address) => (FAMILY_V6, 0, address.octets().to_vec()),
    };
    let mut body = vec![family, network.prefix, 0, 0, MAIN, PROTOCOL_TAG, scope, UNICAST];
    body.extend_from_slice(&0_u32.to_ne_bytes());
    append_attribute(&mut body, DESTINATION, &destination);
    append_attribute(&mut body, DEVICE, &network.link.to_ne_bytes());
    append_attribute(&mut body, METRIC, &metric.to_ne_bytes());
    match source {
        Some(IpAddr::V4(source)) => append_attribute(&mut body, SOURCE, &source.octets()),
        Some(IpAddr::V6(source)) => append_attribute(&mut body, SOURCE, &source.octets()),
        None => {}
    }
    body
}

/// The networks that routes of others connect.
pub(super) fn connected() -> io::Result<Vec<Network>> {
    Ok(dump()?
        .into_iter()
        .filter(|route| route.made.is_none())
        .map(|route| route.network)
        .collect())
}

/// Asks for the routes of the main table that lead out of a device without a gateway.
fn dump() -> io::Result<Vec<Route>> {
    let mut found = Vec::new();
    for family in [FAMILY_V4, FAMILY_V6] {
        let mut question = [0_u8; 12];
        question[0] = family;
        let mut conversation = Conversation::open(NETLINK_ROUTE)?;
        conversation.ask(GET_ROUTE, DUMP, &question, |message| {
            found.extend(read(message.body));
            true
        })?;
    }
    Ok(found)
}

fn read(body: &[u8]) -> Option<Route> {
    let (family, prefix) = (*body.first()?, *body.get(1)?);
    let mut table = u32::from(*body.get(4)?);
    let (protocol, kind) = (*body.get(5)?, *body.get(7)?);
    let cloned = u32_at(body, 8)? & CLONED != 0;
    let (mut address, mut link, mut source, mut metric) = (None, None, None, None);
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            DESTINATION => address = ip(family, value),
            DEVICE => link = u32_at(value, 0),
            SOURCE => source = ip(family, value),
            METRIC => metric = u32_at(value, 0),
            TABLE => table = u32_at(value, 0)?,
            GATEWAY | VIA | MULTIPATH => return None,
            _ => {}
        }
    }
    if table != u32::from(MAIN) || kind != UNICAST || cloned || prefix == 0 {
        return None;
    }
    let made = match Mark::read(metric, Some(protocol)) {
        Some(Found::Of(metric)) => Some(metric),
        Some(Found::Earlier) | None => None,
    };
    Some(Route { network: Network { address: address?, prefix, link: link? }, source, made })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str, prefix: u8) -> Network {
        Network { address: address.parse().unwrap(), prefix, link: 3 }
    }

    #[test]
    fn a_route_of_ours_is_read_as_it_was_written() {
        for (address, prefix, source) in
            [("192.0.2.0", 24, "192.0.2.10"), ("fd99::", 64, "fd99::7")]
        {
            let (network, source) = (network(address, prefix), source.parse().unwrap());
            let metric = Mark::default().value();
            let body = body(&(network, metric), Some(source));
            let made = Some(metric);
            assert_eq!(read(&body), Some(Route { network, source: Some(source), made }));
            assert_eq!(read(&body[..20]), None, "cut off");
        }
    }

    #[test]
    fn only_networks_that_a_device_reaches_by_itself_are_connected() {
        let written = body(&(network("192.0.2.0", 24), Mark::default().value()), None);
        let changed = |at: usize, to: u8| {
            let mut body = written.clone();
            body[at] = to;
            read(&body)
        };
        assert_eq!(changed(5, 3).map(|route| route.made), Some(None), "by ip route");
        assert_eq!(changed(1, 0), None, "the default route");
        assert_eq!(changed(4, 255), None, "of the table local");
        assert_eq!(changed(7, 7), None, "unreachable");
        let mut gateway = written.clone();
        append_attribute(&mut gateway, GATEWAY, &[192, 0, 2, 1]);
        assert_eq!(read(&gateway), None);
    }
}
