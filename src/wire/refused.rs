//! Every reason for which a datagram is dropped, in the order in which they are looked for.
//!
//! The daemon counts by [`RefusedDatagram::index`] and names counters by
//! [`RefusedDatagram::name`]. None of these changes a session.

use std::fmt;

use super::decode::DecodeError;

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedDatagram {
    /// Shorter than header and tag.
    TooShort,
    /// Longer than [`DATAGRAM_MAX`](super::DATAGRAM_MAX).
    TooLong,
    /// Not of this protocol.
    BadMagic,
    /// A layout that this software does not know.
    UnknownVersion,
    /// A class of body that this software does not know.
    UnknownClass,
    /// Longer or shorter than its header says.
    WrongLength,
    /// Of another cluster.
    OtherCluster,
    /// For another node.
    NotForMe,
    /// From a node that is not configured here.
    UnknownSource,
    /// Sealed with a key that is not in the ring.
    UnknownKey,
    /// Seen before; normal with several paths, since each carries every datagram.
    Duplicate,
    /// Older than the replay window, or than the proof that this life is the present one.
    TooOld,
    /// From an unknown life, and too many of those were tried lately.
    TooManyLives,
    /// Forged, or damaged, or sealed with another secret under the same key id.
    BadSeal,
    /// Well sealed but not understood.
    Malformed(DecodeError),
    /// From a life that has not shown to be the present one, and it was asked too often lately.
    TooManyHellos,
    /// A new life has shown to be present, but the old one was heard a moment ago; it will be
    /// accepted when the old one has been silent for two of its intervals.
    IncumbentHeard,
    /// Two lives of one node are present: a cloned machine, or one name used twice. The one
    /// that was here first stays.
    DuplicateNode,
}

impl RefusedDatagram {
    /// How many reasons there are.
    pub const COUNT: usize = 18;

    /// The place of this reason in an array of [`COUNT`](Self::COUNT) counters.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::TooShort => 0,
            Self::TooLong => 1,
            Self::BadMagic => 2,
            Self::UnknownVersion => 3,
            Self::UnknownClass => 4,
            Self::WrongLength => 5,
            Self::OtherCluster => 6,
            Self::NotForMe => 7,
            Self::UnknownSource => 8,
            Self::UnknownKey => 9,
            Self::Duplicate => 10,
            Self::TooOld => 11,
            Self::TooManyLives => 12,
            Self::BadSeal => 13,
            Self::Malformed(_) => 14,
            Self::TooManyHellos => 15,
            Self::IncumbentHeard => 16,
            Self::DuplicateNode => 17,
        }
    }

    /// The names of all reasons, by [`index`](Self::index).
    pub const NAMES: [&'static str; Self::COUNT] = [
        "too_short",
        "too_long",
        "bad_magic",
        "unknown_version",
        "unknown_class",
        "wrong_length",
        "other_cluster",
        "not_for_me",
        "unknown_source",
        "unknown_key",
        "duplicate",
        "too_old",
        "too_many_lives",
        "bad_seal",
        "malformed",
        "too_many_hellos",
        "incumbent_heard",
        "duplicate_node",
    ];

    /// The name of this reason, for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

impl fmt::Display for RefusedDatagram {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => write!(out, "shorter than any datagram of buoy"),
            Self::TooLong => write!(out, "longer than any datagram of buoy"),
            Self::BadMagic => write!(out, "not a buoy datagram"),
            Self::UnknownVersion => write!(out, "unknown wire version"),
            Self::UnknownClass => write!(out, "unknown class of datagram"),
            Self::WrongLength => write!(out, "length differs from what the header says"),
            Self::OtherCluster => write!(out, "of a cluster with another name"),
            Self::NotForMe => write!(out, "for another node"),
            Self::UnknownSource => write!(out, "from a node that is not configured here"),
            Self::UnknownKey => write!(out, "sealed with a key that is not in the ring"),
            Self::Duplicate => write!(out, "seen before"),
            Self::TooOld => write!(out, "older than the replay window"),
            Self::TooManyLives => write!(out, "too many unknown incarnations of this node"),
            Self::BadSeal => write!(out, "forged, damaged or sealed with another secret"),
            Self::Malformed(error) => write!(out, "malformed: {error}"),
            Self::TooManyHellos => write!(out, "unproven incarnation, challenged too often"),
            Self::IncumbentHeard => write!(out, "new incarnation while the old one is still heard"),
            Self::DuplicateNode => write!(out, "second node of the same name"),
        }
    }
}
