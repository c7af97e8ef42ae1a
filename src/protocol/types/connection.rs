//! TCP connections of clients to addresses of groups, and how many of them something waits for.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use super::identity::{GroupKey, NodeId};

/// IPv4 connections in one [`Message::Connections`](super::Message::Connections) that has none of
/// IPv6: 1080 bytes.
pub const CONNECTIONS_V4_MAX: usize = 90;
/// IPv6 connections in one [`Message::Connections`](super::Message::Connections) that has none of
/// IPv4: 1080 bytes.
pub const CONNECTIONS_V6_MAX: usize = 30;
/// Groups in one [`Message::Kept`](super::Message::Kept): 960 bytes.
pub const KEPT_MAX: usize = 80;

/// An established TCP connection of a client to an address of a group. Both addresses are of the
/// same family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    /// Address of the group, the local end.
    pub address: IpAddr,
    /// Local port.
    pub port: u16,
    /// The client's address.
    pub client: IpAddr,
    /// The client's port.
    pub client_port: u16,
}

/// What a draining node waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Waiting {
    /// Connections that were there when it began and have not ended; `None` before they have been
    /// counted.
    pub connections: Option<u32>,
    /// Time after which it waits no more; in whole milliseconds at other nodes.
    pub left: Duration,
}

/// How many connections to a group the sender still has, which has handed it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kept {
    /// Group that was handed over.
    pub group: GroupKey,
    /// Number of connections; `None` before they have been counted, zero when all have ended.
    pub connections: Option<u32>,
}

/// Connections that are served by a former owner, as `status` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preserved {
    /// Node that serves them; may be this one.
    pub by: NodeId,
    /// Number of connections as last counted.
    pub connections: Option<u32>,
    /// Time after which it ends them; `None` at other nodes. It follows from when the group was handed
    /// over, so it is not part of the hash.
    pub left: Option<Duration>,
}

impl Hash for Preserved {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { by, connections, left: _ } = self;
        (by, connections).hash(state);
    }
}
