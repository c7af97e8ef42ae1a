//! How nodes stand, and why one cannot hold a group.

use super::identity::HardwareAddress;
use super::outside::Outside;

/// Phase of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodePhase {
    /// Just started: listens, owns nothing.
    Listening,
    /// Owns groups and may take more.
    Active,
    /// Has stalled and verifies its state before it sends; declares no peer dead.
    Resuming,
    /// Hears no peer and cannot confirm that its own network works; takes nothing.
    Isolated,
    /// Hands its groups over before it leaves.
    Leaving,
    /// Holds nothing any more and informs its peers that it leaves.
    Left,
}

/// State of a peer as a node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Never heard since this node started.
    Unknown,
    /// Heard directly.
    Up,
    /// Silent for longer than usual; other peers are asked.
    Suspect,
    /// Not heard here, but by a peer that is up.
    Indirect,
    /// Not heard by any node.
    Dead,
    /// Has left cleanly.
    Left,
}

/// Version of the software a node runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SoftwareVersion {
    /// Increased by incompatible changes.
    pub major: u8,
    /// Increased by additions.
    pub minor: u8,
    /// Increased by corrections.
    pub patch: u8,
}

/// Why this node cannot hold a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Inability {
    /// A link is down or missing.
    LinkDown,
    /// No interface of the host is in the network of one of its addresses, and the configuration
    /// names none.
    NoNetwork,
    /// The host has lost its own address, or its route, in the network of the group, or its link
    /// there carries in one direction at most.
    NetworkLost,
    /// The kernel could not add it.
    Kernel(Failure),
    /// Another program keeps removing the address.
    FlushWar,
    /// A host outside the cluster answers for it.
    Conflict(HardwareAddress),
    /// Routers outside the cluster hold it or may hold it (VRRP).
    Outside(Outside),
}

/// Why the kernel could not hold a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// The interface does not exist.
    NoInterface,
    /// The daemon lacks the permission, or IPv6 is off on the link.
    NotPermitted,
    /// The address is on this host already and was not added by buoy.
    ForeignAddress,
    /// The address was added but is not usable (duplicate address detection failed).
    Duplicate,
    /// Any other refusal of the kernel.
    Refused,
    /// The kernel did not answer in time.
    Timeout,
    /// A route or rule of the group could not be added.
    Route,
}
