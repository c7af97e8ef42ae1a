//! Why an advertisement was not taken in, and how often each happened.

use std::fmt;

/// Why something that came as VRRP says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It is no whole IP packet, or a fragment of one.
    NotWhole,
    /// It has been forwarded: the hop limit of what came by multicast is not 255.
    HopLimit,
    /// Shorter or longer than its count of addresses says.
    Length,
    /// Neither version 2 nor version 3, or version 2 over IPv6.
    Version,
    /// Not an advertisement.
    Type,
    /// It is about no address.
    NoAddress,
    /// The checksum is wrong in every form.
    Checksum,
    /// The interval is zero.
    Interval,
    /// Version 2 with an authentication other than none and a password.
    Authentication,
    /// An address of this host is its source, and this host did not send it.
    OwnSource,
    /// Sent to one address although the virtual router is configured for multicast, or from a host
    /// that is not one of its peers.
    NotAPeer,
    /// Of a virtual router that is not configured on this link.
    OtherRouter,
    /// More came than is read in a second, or more routers speak than are kept apart.
    TooMany,
}

impl Refusal {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 13] = [
        Self::NotWhole,
        Self::HopLimit,
        Self::Length,
        Self::Version,
        Self::Type,
        Self::NoAddress,
        Self::Checksum,
        Self::Interval,
        Self::Authentication,
        Self::OwnSource,
        Self::NotAPeer,
        Self::OtherRouter,
        Self::TooMany,
    ];

    /// Returns the name of its counter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotWhole => "not_whole",
            Self::HopLimit => "hop_limit",
            Self::Length => "length",
            Self::Version => "version",
            Self::Type => "type",
            Self::NoAddress => "no_address",
            Self::Checksum => "checksum",
            Self::Interval => "interval",
            Self::Authentication => "authentication",
            Self::OwnSource => "own_source",
            Self::NotAPeer => "not_a_peer",
            Self::OtherRouter => "other_router",
            Self::TooMany => "too_many",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NotWhole => "it is truncated",
            Self::HopLimit => "its hop limit is not 255",
            Self::Length => "its length does not fit its count of addresses",
            Self::Version => "its version is neither 2 nor 3",
            Self::Type => "it is not an advertisement",
            Self::NoAddress => "it has no address",
            Self::Checksum => "its checksum is wrong",
            Self::Interval => "its interval is zero",
            Self::Authentication => "its authentication is neither none nor a password",
            Self::OwnSource => "its source is an address of this host",
            Self::NotAPeer => "it was not sent as configured, by multicast or by a peer",
            Self::OtherRouter => "its virtual router is not configured here",
            Self::TooMany => "rate limit exceeded",
        })
    }
}

/// How often each reason occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals([u64; Refusal::ALL.len()]);

impl Refusals {
    /// Counts one more.
    pub fn count(&mut self, refusal: Refusal) {
        for (known, count) in Refusal::ALL.into_iter().zip(&mut self.0) {
            *count = count.saturating_add(u64::from(known == refusal));
        }
    }

    /// Returns the count of each reason that occurred.
    pub fn counts(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_counter_and_a_name_of_its_own() {
        let mut refusals = Refusals::default();
        for refusal in Refusal::ALL {
            refusals.count(refusal);
            refusals.count(refusal);
        }
        let counts: Vec<(Refusal, u64)> = refusals.counts().collect();
        assert_eq!(counts, Refusal::ALL.map(|refusal| (refusal, 2)));
        let mut names = Refusal::ALL.map(Refusal::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refusal::ALL.len());
    }
}
