//! Whether a node can leave connections where they are when a group moves, and what becomes of them.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::identity::NodeId;

/// Whether a node can preserve the connections of groups that move from it or to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preserving {
    /// It has not said: its software is older, or it has not been heard.
    #[default]
    Unknown,
    /// It can, for groups of any mode.
    Able,
    /// It can, but not for groups in mode `majority`: its kernel lets others remove the gate.
    AvailabilityOnly,
    /// Its configuration says that it does not.
    Off,
    /// It has no gate in nf_tables.
    NoGate,
    /// Its kernel lacks something else.
    NoKernelSupport,
}

impl Preserving {
    /// Returns whether it can; `None` if that is not known.
    #[must_use]
    pub const fn is_able(self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Able | Self::AvailabilityOnly => Some(true),
            Self::Off | Self::NoGate | Self::NoKernelSupport => Some(false),
        }
    }
}

impl Hash for Preserving {
    /// What is not known adds nothing: recorded runs without it keep their hashes.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let number: u8 = match self {
            Self::Unknown => return,
            Self::Able => 1,
            Self::AvailabilityOnly => 2,
            Self::Off => 3,
            Self::NoGate => 4,
            Self::NoKernelSupport => 5,
        };
        number.hash(state);
    }
}

/// What would become of the connections of a group that is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionsFate {
    /// No node has any: the group has no owner, or does not move.
    None,
    /// It is not known, because a node has not said what it can.
    Unknown,
    /// They stay at the old owner until they end, for so long at most.
    Preserved(Duration),
    /// They are reset, as soon as requests have had a moment to end.
    Reset(ResetReason),
}

/// Why connections would not be preserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// This node, the old owner or the next one, cannot.
    Node(NodeId, Preserving),
    /// Checks of the owner fail, and its connections get no time then.
    ChecksFail,
    /// A former owner still serves connections.
    FormerOwner,
    /// The owner has no address of its own in each family on the link, with which to speak for itself.
    NoOwnAddress,
    /// No node takes the group.
    NoReceiver,
}
