//! What routers outside the cluster have of a group, as VRRP tells.
//!
//! `vrrp` makes it of advertisements, the same at every member that hears them; `lookout` acts upon
//! it. For a group that is no virtual router it is [`Outside::Nobody`] for ever.

use super::identity::HardwareAddress;

/// Who has a group outside; what weighs more is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outside {
    /// Nobody.
    #[default]
    Nobody,
    /// A router that gives it to the owner of the group as soon as it hears it: the group is to be
    /// taken although this hardware address answers for it.
    GivesWay(Option<HardwareAddress>),
    /// That is not known yet.
    Unknown,
    /// A router with which nothing can be agreed, because it is configured otherwise. Whoever has the
    /// group keeps it; nobody takes it.
    Differs(Option<HardwareAddress>),
    /// A router to which the group is left.
    Prevails(Option<HardwareAddress>),
}

impl Outside {
    /// Returns whether no member may take the group.
    #[must_use]
    pub const fn withholds(self) -> bool {
        match self {
            Self::Nobody | Self::GivesWay(_) => false,
            Self::Unknown | Self::Differs(_) | Self::Prevails(_) => true,
        }
    }
}
