//! Hosts outside the cluster on the links that bear groups.

use std::net::IpAddr;

/// IPv4 hosts in one [`Message::Neighbours`](super::Message::Neighbours). With
/// [`NEIGHBOURS_V6_MAX`] they fit one datagram.
pub const NEIGHBOURS_V4_MAX: usize = 64;
/// IPv6 hosts in one [`Message::Neighbours`](super::Message::Neighbours).
pub const NEIGHBOURS_V6_MAX: usize = 20;

/// A host outside the cluster, on a link that bears groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Neighbour {
    /// IP address.
    pub address: IpAddr,
    /// Ethernet address.
    pub hardware: [u8; 6],
}
