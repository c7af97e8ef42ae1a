//! What a look at the host says of a group that shall be here.

use super::links::Place;

/// How the host differs from the wanted presence of a group.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// To be added, on links that can carry it.
    pub(super) missing: Vec<Place>,
    /// Some address has no link, or is missing on a link that cannot carry it.
    pub(super) stuck: bool,
    /// Some address has no link at all.
    pub(super) homeless: bool,
    /// Some link is missing or cannot carry its addresses, or nothing may be added.
    pub(super) blocked: bool,
    /// Some address is not usable yet, or a change is under way.
    pub(super) unsettled: bool,
    /// Duplicate address detection failed.
    pub(super) duplicate: bool,
    /// Some address is on this host without being ours.
    pub(super) foreign: bool,
    /// Such an address stands exactly where ours should be.
    pub(super) supplanted: bool,
    /// Ours, but not where it belongs; with whether the address itself is no longer wanted.
    pub(super) misplaced: Vec<(Place, bool)>,
}

impl Survey {
    pub(super) fn whole(&self) -> bool {
        self.missing.is_empty() && !self.blocked && !self.unsettled && self.misplaced.is_empty()
    }
}
