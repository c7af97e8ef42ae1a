//! What routers outside the cluster have of a group that is a virtual router, and what this node is
//! to them.

use super::identity::HardwareAddress;

/// State of a group at routers outside the cluster, in ascending order of importance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outside {
    /// No router has it.
    #[default]
    Nobody,
    /// A router that gives it to the owner of the group as soon as it hears it: the group is to be
    /// taken although this hardware address answers for it.
    GivesWay(Option<HardwareAddress>),
    /// Not known yet.
    Unknown,
    /// A router with which nothing can be agreed, because it is configured otherwise.
    Differs(Option<HardwareAddress>),
    /// A router that takes precedence: the group is left to it.
    Prevails(Option<HardwareAddress>),
}

impl Outside {
    /// Returns whether no member may take the group.
    #[must_use]
    pub const fn withholds(self) -> bool {
        match self {
            Self::Nobody | Self::GivesWay(_) | Self::Differs(_) => false,
            Self::Unknown | Self::Prevails(_) => true,
        }
    }
}

/// What this node is to routers outside, for a group that is a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// Silent: it does not answer for the group, or is not sure that it may.
    Silent,
    /// It answers for the group and has announced it.
    Speaks,
    /// It answers for the group until a router outside does.
    Yields,
}
