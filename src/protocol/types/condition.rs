//! How nodes stand, and why one cannot hold a group.

use super::identity::HardwareAddress;
use super::outside::Outside;

/// What a node is doing with itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodePhase {
    /// Just started: listens, owns nothing.
    Listening,
    /// Owns groups and may take more.
    Active,
    /// Came back from a stall and verifies before it speaks; accuses nobody.
    Resuming,
    /// Hears nobody and could not show that its own network works; takes nothing.
    Isolated,
    /// Hands its groups over and will leave.
    Leaving,
    /// Holds nothing any more and says good-bye.
    Left,
}

/// What a node thinks of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Never heard since this node started.
    Unknown,
    /// Heard directly.
    Up,
    /// Silent for longer than usual; peers are being asked.
    Suspect,
    /// Not heard here, but by a peer that is.
    Indirect,
    /// Heard by nobody.
    Dead,
    /// Left in good order.
    Left,
}

/// Version of the software a node runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SoftwareVersion {
    /// Incompatible changes.
    pub major: u8,
    /// Additions.
    pub minor: u8,
    /// Corrections.
    pub patch: u8,
}

/// Why this node cannot hold a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Inability {
    /// A link is down or missing.
    LinkDown,
    /// No interface of the host has a network with an address of it, and the file names none.
    NoNetwork,
    /// The host has lost its own address, or its route, in the network of the group, or its link
    /// there carries in one direction at most.
    NetworkLost,
    /// The kernel refused.
    Kernel(Failure),
    /// Somebody keeps removing the address.
    FlushWar,
    /// A host outside the cluster answers for it.
    Stranger(HardwareAddress),
    /// What routers outside have of it (VRRP).
    Outside(Outside),
}

/// Why the kernel could not hold a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// The interface does not exist.
    NoInterface,
    /// The daemon lacks the permission, or IPv6 is off on the link.
    NotPermitted,
    /// The address is already on this host and is not ours.
    ForeignAddress,
    /// The address was added but is not usable (duplicate address detection failed).
    Duplicate,
    /// Any other refusal of the kernel.
    Refused,
    /// The kernel did not answer in time.
    Timeout,
}
