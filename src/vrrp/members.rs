//! Which advertisements are the cluster's own voice, by who sent them.
//!
//! A node of the file need not run buoy: during a migration its host still runs keepalived, at the same
//! address. So an advertisement is a member's if that member lives. A member that has fallen silent
//! may be cut off from this node only; it is believed to speak for the cluster as long as it speaks
//! with the cluster's priority. One that has left, or was never heard, is a router outside.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::protocol::HardwareAddress;

/// Addresses of some hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Sources of their frames.
    pub hardware: BTreeSet<HardwareAddress>,
    /// Sources of their packets.
    pub addresses: BTreeSet<IpAddr>,
}

impl Hosts {
    /// Whether a host with one of these is among them.
    pub(super) fn has(&self, source: IpAddr, hardware: Option<HardwareAddress>) -> bool {
        self.addresses.contains(&source)
            || hardware.is_some_and(|hardware| self.hardware.contains(&hardware))
    }
}

/// The other members of the cluster; those that have left are not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Those that live.
    pub living: Hosts,
    /// Those that have fallen silent without a good-bye.
    pub silent: Hosts,
}

impl Members {
    /// Whether an advertisement speaks for the cluster, whose priority is `ours`.
    pub(super) fn speak(
        &self,
        (source, hardware): (IpAddr, Option<HardwareAddress>),
        (priority, ours): (Option<u8>, u8),
    ) -> bool {
        let alike = priority.is_some_and(|priority| priority == ours || priority == 0);
        self.living.has(source, hardware) || alike && self.silent.has(source, hardware)
    }
}
