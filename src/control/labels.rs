//! One word for each of what alerts and scripts tell apart, where people get a sentence.
//!
//! Part of the published status and of the metrics: words may be added, never changed.

use crate::protocol::{Cause, Inability};

/// Why a group went to its owner.
pub(super) const fn cause_label(cause: Cause) -> &'static str {
    match cause {
        Cause::FirstClaim => "unclaimed",
        Cause::Silence(_) => "silent",
        Cause::Restart(_) => "restart",
        Cause::Deaf(_) => "deaf",
        Cause::Departure(_) => "left",
        Cause::Inability(_) => "unable",
        Cause::Removed(_) => "removed",
        Cause::AddressConflict(_) => "stranger",
        Cause::Balance(_) => "balance",
        Cause::Drain(_) => "drain",
        Cause::Operator(_) => "operator",
        Cause::Failback(_) => "failback",
        Cause::Checks(_) => "check",
        Cause::Placement(_) => "placement",
        Cause::HandedOver(_) => "handed_over",
        Cause::Conflict(_) => "conflict",
        Cause::TakenBack(_) => "taken_back",
    }
}

/// Why a node cannot hold a group.
pub(super) const fn inability_label(why: Inability) -> &'static str {
    match why {
        Inability::LinkDown => "link",
        Inability::NoNetwork | Inability::NetworkLost => "network",
        Inability::Kernel(_) => "kernel",
        Inability::FlushWar => "removed",
        Inability::Conflict(_) => "stranger",
        Inability::Outside(_) => "router",
    }
}
