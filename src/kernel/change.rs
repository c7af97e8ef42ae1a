//! One change of the host's addresses, and why the kernel may refuse it.

use super::links::Place;

/// Something to be done to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// Add the address.
    Add(Place),
    /// Remove the address.
    Remove {
        /// Where it is.
        place: Place,
        /// Whether its connections shall be ended first: not if it only moves to another link.
        connections: bool,
    },
}

impl Change {
    /// Where the change is made.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Add(place) | Self::Remove { place, .. } => *place,
        }
    }
}

/// Why a change was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The address is there already.
    Exists,
    /// The address is not there.
    Missing,
    /// The link does not exist.
    NoLink,
    /// The daemon lacks the permission, or IPv6 is off on the link.
    NotPermitted,
    /// The connection to the kernel broke; the change may or may not have been made.
    Disconnected,
    /// Any other error number.
    Other(i32),
}
