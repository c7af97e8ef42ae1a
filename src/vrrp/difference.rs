//! How the advertisements of another router differ from those that this cluster would send.
//!
//! A router that hears what it rejects stops to advertise and keeps the address (measured with
//! keepalived 2.2.7). So nothing is said at all while somebody speaks of the virtual router
//! otherwise than the file does.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::advertisement::{Advertisement, Authentication, Version};
use super::settings::Settings;

/// The first thing in which an advertisement differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It is of another version of the protocol.
    Version {
        /// What was heard.
        heard: Version,
        /// What the file says.
        configured: Version,
    },
    /// One has a password and the other has not.
    Authentication {
        /// Whether what was heard has one.
        password: bool,
    },
    /// Both have a password, and not the same.
    Password,
    /// It is about other addresses.
    Addresses {
        /// Those that were heard.
        heard: Vec<IpAddr>,
    },
    /// Version 2 wants one interval for all routers.
    Interval {
        /// What was heard.
        heard: Duration,
        /// What the file says.
        configured: Duration,
    },
    /// One is sent by multicast and the other to each peer.
    Delivery {
        /// Whether what was heard was sent by multicast.
        multicast: bool,
    },
}

impl Difference {
    /// Returns the first difference; the order of addresses is none.
    pub(super) fn between(settings: &Settings, heard: &Advertisement, to: IpAddr) -> Option<Self> {
        let (configured, multicast) = (settings.version, to.is_multicast());
        if heard.version != configured {
            return Some(Self::Version { heard: heard.version, configured });
        }
        if multicast != settings.peers.is_empty() {
            return Some(Self::Delivery { multicast });
        }
        match (settings.authentication, heard.authentication) {
            (Authentication::None, Authentication::None) => {}
            (Authentication::None, Authentication::Password(_)) => {
                return Some(Self::Authentication { password: true });
            }
            (Authentication::Password(_), Authentication::None) => {
                return Some(Self::Authentication { password: false });
            }
            (Authentication::Password(ours), Authentication::Password(theirs)) => {
                if ours != theirs {
                    return Some(Self::Password);
                }
            }
        }
        let same = heard.addresses.len() == settings.addresses.len()
            && settings.addresses.iter().all(|address| heard.addresses.contains(address));
        if !same {
            return Some(Self::Addresses { heard: heard.addresses.clone() });
        }
        let (interval, configured) = (heard.interval, settings.interval);
        (settings.version == Version::V2 && interval != configured)
            .then_some(Self::Interval { heard: interval, configured })
    }
}

/// Addresses that a sentence names.
const ADDRESSES_SHOWN: usize = 4;

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { heard, configured } => {
                let (heard, configured) = (heard.number(), configured.number());
                write!(out, "as version {heard}; the file says version {configured}")
            }
            Self::Authentication { password: true } => {
                write!(out, "with a password; the file has none")
            }
            Self::Authentication { password: false } => {
                write!(out, "without a password; the file has one")
            }
            Self::Password => write!(out, "with another password than the file has"),
            Self::Addresses { heard } => {
                let shown = heard.iter().take(ADDRESSES_SHOWN).map(IpAddr::to_string);
                write!(out, "for {}", shown.collect::<Vec<_>>().join(", "))?;
                let more = heard.len().saturating_sub(ADDRESSES_SHOWN);
                if more > 0 {
                    write!(out, " and {more} more")?;
                }
                write!(out, "; the file has other addresses")
            }
            Self::Interval { heard, configured } => {
                write!(out, "every {heard:?}; the file says {configured:?}")
            }
            Self::Delivery { multicast: true } => {
                write!(out, "by multicast; the file names peers")
            }
            Self::Delivery { multicast: false } => {
                write!(out, "by unicast; the file names no peers")
            }
        }
    }
}
