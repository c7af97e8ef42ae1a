//! How busy a host is: as it is measured, and as its node tells it.

/// All of what a host can bear, in the unit of [`Load::utilisation`].
pub(in crate::protocol) const WHOLE: u32 = 1000;
/// The most that a node may seem to be used, per mille; so every weight stays above zero.
const UTILISATION_COUNTED_MAX: u16 = 900;

/// What the shell has measured of its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Measure {
    /// Processes that run or wait for a CPU, for each CPU, in hundredths.
    pub average: u16,
    /// Time in which the CPUs were not idle, per mille.
    pub busy: u16,
    /// Connections on the VIPs of this host, if somebody counts them; shown, not counted with.
    pub connections: Option<u32>,
    /// What a check says instead of all that: how much of what the host can bear is used, per
    /// mille.
    pub given: Option<u16>,
}

impl Measure {
    /// How much of what the host can bear is used, per mille.
    pub(in crate::protocol) fn utilisation(&self) -> u16 {
        let measured = self.busy.max(self.average.saturating_mul(10));
        self.given.unwrap_or(measured).min(1000)
    }
}

/// How busy a node is, as it tells its peers: damped, the same number for everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Load {
    /// How much of what the host can bear is used, per mille, 0 to 1000.
    pub utilisation: u16,
    /// How many groups the node had when this was counted.
    pub groups: u16,
    /// Connections on its VIPs, if known.
    pub connections: Option<u32>,
}

impl Load {
    /// How busy the node should be with another number of groups.
    pub(in crate::protocol) fn expected(&self, groups: u16) -> u16 {
        if self.groups == 0 {
            return self.utilisation;
        }
        let each = u32::from(self.utilisation) * u32::from(groups) / u32::from(self.groups);
        u16::try_from(each).unwrap_or(u16::MAX).min(1000)
    }

    /// What is left of a node, per mille, at least a tenth.
    pub(in crate::protocol) fn headroom(&self) -> u32 {
        WHOLE - u32::from(self.utilisation.min(UTILISATION_COUNTED_MAX))
    }
}
