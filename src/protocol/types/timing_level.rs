//! The timings that profile `auto` chooses from, and what a node says of its choice.

use std::time::Duration;

use super::configuration::Timing;

/// The timings, the fastest first. Three of them are the profiles `fast`, `lan` and `vm`.
const LEVELS: [Timing; 5] = [
    Timing::FAST,
    Timing::profile(50, 3, 15),
    Timing::LAN,
    Timing::profile(200, 3, 50),
    Timing::VM,
];

/// A timing of profile `auto`; the greater, the slower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimingLevel(u8);

impl TimingLevel {
    /// That of profile `fast`.
    pub const FASTEST: Self = Self(0);
    /// That of profile `lan`, with which a node starts.
    pub const LAN: Self = Self(2);
    /// That of profile `vm`.
    pub const SLOWEST: Self = Self(4);

    /// Returns every level, the fastest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (Self::FASTEST.0..=Self::SLOWEST.0).map(Self)
    }

    /// Returns the level with this number; a number without a level is the slowest.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        Self(number).min(Self::SLOWEST)
    }

    /// Returns its number, from 0 for the fastest.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Returns its intervals.
    #[must_use]
    pub fn timing(self) -> Timing {
        LEVELS.get(usize::from(self.0)).copied().unwrap_or(Timing::VM)
    }

    /// Returns these intervals with what no level decides taken from a configuration.
    #[must_use]
    pub fn applied_to(self, configured: Timing) -> Timing {
        Timing {
            solo_wait: configured.solo_wait.max(self.timing().maturity_min),
            announce_refresh: configured.announce_refresh,
            announce_rate: configured.announce_rate,
            ..self.timing()
        }
    }

    /// Returns the next faster level; the fastest is its own.
    #[must_use]
    pub const fn faster(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Returns the fastest level that is not faster than a node with these heartbeats; the slowest
    /// if there is none.
    #[must_use]
    pub fn of(interval: Duration, misses: u8) -> Self {
        let as_slow = |level: &Self| {
            let timing = level.timing();
            timing.heartbeat >= interval && timing.detection() >= interval * u32::from(misses)
        };
        Self::all().find(as_slow).unwrap_or(Self::SLOWEST)
    }

    /// Returns the fastest level that bears this lateness.
    #[must_use]
    pub fn bearing(lateness: Duration) -> Self {
        Self::all().find(|level| lateness <= level.bearable()).unwrap_or(Self::SLOWEST)
    }

    /// Returns the greatest lateness that this level bears: half of the silence that it allows
    /// beyond one interval. A heartbeat that is lost, and asked for half an interval later, does not
    /// exceed it.
    #[must_use]
    pub fn bearable(self) -> Duration {
        self.spare() / 2
    }

    /// Returns the greatest lateness with which a host is calm enough for this level.
    #[must_use]
    pub fn calm(self) -> Duration {
        self.spare() / 4
    }

    /// Returns the lateness at which peers stop to wait: the silence that it allows beyond one interval.
    #[must_use]
    pub fn spare(self) -> Duration {
        let timing = self.timing();
        timing.detection().saturating_sub(timing.heartbeat)
    }
}

/// The fastest level that a node bears, by what it has measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimingProposal {
    /// That level.
    pub level: TimingLevel,
    /// Why it is not faster.
    pub reason: TimingReason,
    /// What was measured, with reason [`TimingReason::Loop`] and [`TimingReason::Spacing`]; carried
    /// in milliseconds, at most 65535.
    pub lateness: Duration,
}

/// Why a node proposes no faster timing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimingReason {
    /// There is none.
    Fastest,
    /// It has not been calm for long enough since it started or last changed.
    NotLongCalm,
    /// Its protocol loop has run late.
    Loop,
    /// A peer was heard late, or less often than it has said.
    Spacing,
    /// It would send too many datagrams.
    Datagrams,
    /// It has fixed heartbeats: another profile, or software that does not know `auto`. Never sent.
    Fixed,
}

/// How it stands with profile `auto` at one node, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimingStatus {
    /// In force here.
    pub timing: Timing,
    /// Who holds it back: of those that propose the slowest level this node itself, else the one with
    /// the least id.
    pub held_by: super::identity::NodeId,
    /// What that node proposes.
    pub proposal: TimingProposal,
    /// In how long this node proposes the next faster level, if nothing happens; `None` if it does not
    /// because there is none or it would send too much.
    pub faster_in: Option<Duration>,
}
