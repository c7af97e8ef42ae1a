//! What is configured of one virtual router.

use std::net::IpAddr;
use std::time::Duration;

use super::advertisement::{Advertisement, Authentication, Version};
use super::checksum::Form;

/// Priorities that may be configured: 0 is that of a router that stops, 255 that of a host whose own
/// addresses these are.
pub const PRIORITY_MAX: u8 = 254;

/// One virtual router of one family, as every member of the cluster has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which protocol.
    pub version: Version,
    /// The virtual router (VRID), 1 to 255.
    pub id: u8,
    /// The cluster's, 1 to [`PRIORITY_MAX`].
    pub priority: u8,
    /// Between two advertisements: whole seconds in version 2, to 40.95 s in version 3.
    pub interval: Duration,
    /// Whose the advertisements are.
    pub authentication: Authentication,
    /// What is answered for, of one family.
    pub addresses: Vec<IpAddr>,
    /// To whom it is told one by one; empty for multicast.
    pub peers: Vec<IpAddr>,
    /// How checksums are made until others are heard.
    pub form: Form,
    /// Whether the cluster takes the group from a router of lower priority.
    pub preempt: bool,
}

impl Settings {
    /// Returns whether a router with these settings would have made the same of what was heard: they
    /// differ in the priority, in what is preempted, or in nothing.
    #[must_use]
    pub(super) fn hears_alike(&self, other: &Self) -> bool {
        let Self { priority, preempt, .. } = *other;
        Self { priority, preempt, ..self.clone() } == *other
    }

    /// Returns what is said with this priority.
    pub(super) fn advertisement(&self, priority: u8) -> Advertisement {
        Advertisement {
            version: self.version,
            id: self.id,
            priority,
            interval: self.interval,
            addresses: self.addresses.clone(),
            authentication: self.authentication,
        }
    }

    /// Returns how long a router waits at the end of another's time, more for a lower priority: so
    /// the best is the first (`Skew_Time`, RFC 9568 6.1; RFC 3768 6.1 has it of one second).
    pub(super) fn skew(&self, interval: Duration) -> Duration {
        let of = match self.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => interval,
        };
        of * (256 - u32::from(self.priority)) / 256
    }

    /// Returns after how long without advertisements at this interval a router is gone
    /// (`Active_Down_Interval`).
    pub(super) fn down_interval(&self, interval: Duration) -> Duration {
        interval * 3 + self.skew(interval)
    }
}
