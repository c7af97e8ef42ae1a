//! Names of things as the protocol carries them: nodes, lives of nodes, groups, epochs.
//!
//! All are derived from what the operator wrote, so that two nodes whose files differ in order
//! or in length still mean the same thing by the same number.

use std::fmt;
use std::net::IpAddr;

use super::random::mix;

/// A configured node, by the hash of its name. The configuration refuses names that collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// Derives the id from the configured name.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let [a, b, c, d, ..] = hash_bytes(name.as_bytes()).to_be_bytes();
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "node-{:08x}", self.0)
    }
}

/// One life of one node: a random number drawn at every start. Zero is never drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// A VIP group, the unit of ownership, by the hash of its first address; or one of its further
/// addresses, which is claimed and leased by the same kind of key, since another file may have it in
/// another group (see `layout`).
///
/// Deliberately not by its name or pool: renaming a group or moving it to another pool must not
/// make two owners of one address while the new file is rolled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey(pub u64);

impl GroupKey {
    /// Derives the key of an address; that of the first address of a group is the group's.
    #[must_use]
    pub fn from_first_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self(hash_bytes(&address.octets())),
            IpAddr::V6(address) => Self(hash_bytes(&address.octets())),
        }
    }
}

impl GroupKey {
    /// Derives the key of a link-local address that has the plain key on another link. What tells
    /// the links apart must be the same text at every node.
    #[must_use]
    pub fn of_address_on(address: IpAddr, link: &str) -> Self {
        let mut bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        bytes.extend_from_slice(link.as_bytes());
        Self(hash_bytes(&bytes))
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "group-{:016x}", self.0)
    }
}

/// A pool, the groups that share their checks, by the hash of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u64);

impl PoolId {
    /// Derives the id from the configured name.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        Self(hash_bytes(name.as_bytes()))
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "pool-{:016x}", self.0)
    }
}

/// The address of a network interface, as in ARP and neighbour discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HardwareAddress(pub [u8; 6]);

impl fmt::Display for HardwareAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

/// Counts the takings of one group. Whoever takes a group claims it under a higher epoch than
/// any it has heard of; the highest epoch is the current one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// FNV-1a, finished with [`mix`] because FNV alone leaves short inputs close together.
fn hash_bytes(bytes: &[u8]) -> u64 {
    let folded = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(folded)
}
