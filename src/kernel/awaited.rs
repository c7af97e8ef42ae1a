//! Connections whose end something waits for, by local port, and the oldest of them. Pure.
//!
//! Made by the thread that looks at the connections (`connections`), only while a drain waits or a former
//! owner still serves connections, and read for `status`. The kernel does not tell how old a connection is;
//! its age is counted from the look that found it first, so it is right to about a second where looks
//! follow each other (5 s on an idle host), and less than the true one for what was there before the daemon.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::time::Instant as Moment;

use crate::protocol::{Connection, GroupKey};

/// Local ports that are counted apart; connections to further ones are counted together.
const PORTS_MAX: usize = 16;

/// Connections that something waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Awaited {
    /// Number of connections by local port; of at most 16 ports.
    pub ports: BTreeMap<u16, u32>,
    /// Number of connections to other ports.
    pub others: u32,
    /// The one that was found first.
    pub oldest: Option<Oldest>,
}

/// The oldest connection that something waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oldest {
    /// When a look found it first.
    pub since: Moment,
    /// The client's end.
    pub client: SocketAddr,
    /// The end here: an address of a group.
    pub local: SocketAddr,
}

impl Awaited {
    /// Takes in one connection.
    pub(super) fn count(&mut self, connection: &Connection, since: Moment) {
        let full = self.ports.len() >= PORTS_MAX && !self.ports.contains_key(&connection.port);
        let count =
            if full { &mut self.others } else { self.ports.entry(connection.port).or_default() };
        *count = count.saturating_add(1);
        if self.oldest.is_none_or(|oldest| since < oldest.since) {
            let client = SocketAddr::new(connection.client, connection.client_port);
            let local = SocketAddr::new(connection.address, connection.port);
            self.oldest = Some(Oldest { since, client, local });
        }
    }
}

/// All connections that something on this host waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwaitedHere {
    /// Those that a drain waits for, of all groups together; `None` while none waits, and before the
    /// first look.
    pub drain: Option<Awaited>,
    /// Those of each group that was handed over which are still served here.
    pub kept: BTreeMap<GroupKey, Awaited>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn connection(port: u16, client_port: u16) -> Connection {
        let (address, client) = ([10, 77, 0, 100].into(), [10, 77, 0, 9].into());
        Connection { address, port, client, client_port }
    }

    #[test]
    fn ports_are_counted_and_the_oldest_is_known() {
        let (mut awaited, begin) = (Awaited::default(), Moment::now());
        for (port, client_port, age) in [(443, 1, 5), (80, 2, 70), (443, 3, 60)] {
            let since = begin - Duration::from_secs(age);
            awaited.count(&connection(port, client_port), since);
        }
        assert_eq!(awaited.ports, BTreeMap::from([(80, 1), (443, 2)]));
        let oldest = awaited.oldest.map(|oldest| (oldest.client.port(), oldest.local.port()));
        assert_eq!(oldest, Some((2, 80)));
    }

    #[test]
    fn a_host_with_very_many_ports_costs_no_more() {
        let mut awaited = Awaited::default();
        (1..=1000).for_each(|port| awaited.count(&connection(port, 1), Moment::now()));
        awaited.count(&connection(1, 2), Moment::now());
        assert_eq!((awaited.ports.len(), awaited.others), (PORTS_MAX, 1000 - 16));
        assert_eq!(awaited.ports[&1], 2);
    }
}
