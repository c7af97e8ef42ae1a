//! The state of one check. Pure.
//!
//! ```text
//!            first look good                 fall bad looks in a row
//!  Unknown ------------------> Passing ----------------------------------> Failing
//!     \                           ^                                          | |
//!      \  first look bad          +--- rise good looks in a row, not -------+ |
//!       +-----------------------------  before dwell has passed               |
//!                            \------------------------------------------------+
//! ```
//!
//! `dwell` is for one direction only. A node that has become unwell gives its groups away without
//! waiting; it must stay so for a while before it counts as well again. So a check that flaps
//! moves groups at most twice in each `dwell`, and never keeps them where they are not served.

use std::time::Duration;

use tokio::time::Instant;

/// What is known of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No look has ended yet.
    Unknown,
    /// It is as it should be.
    Passing,
    /// It is not.
    Failing,
}

impl State {
    /// In one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Passing => "passing",
            Self::Failing => "failing",
        }
    }
}

/// When a state is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Good looks in a row.
    pub(super) rise: u16,
    /// Bad looks in a row.
    pub(super) fall: u16,
    /// Shortest time in `Failing`.
    pub(super) dwell: Duration,
}

/// A state and how near it is to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    limits: Limits,
    state: State,
    since: Instant,
    /// Looks in a row that speak against the state.
    against: u16,
}

impl Machine {
    /// Knows nothing.
    pub(super) const fn new(limits: Limits, now: Instant) -> Self {
        Self { limits, state: State::Unknown, since: now, against: 0 }
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// When the state began.
    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    /// Takes in one look; whether the state is another one now.
    pub(super) fn observe(&mut self, now: Instant, good: bool) -> bool {
        let due = match (self.state, good) {
            (State::Unknown, _) => true,
            (State::Passing, true) | (State::Failing, false) => {
                self.against = 0;
                false
            }
            (State::Passing, false) => self.enough(self.limits.fall),
            (State::Failing, true) => {
                self.enough(self.limits.rise) && now.duration_since(self.since) >= self.limits.dwell
            }
        };
        if due {
            self.state = if good { State::Passing } else { State::Failing };
            self.since = now;
            self.against = 0;
        }
        due
    }

    fn enough(&mut self, wanted: u16) -> bool {
        self.against = self.against.saturating_add(1);
        self.against >= wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { rise: 2, fall: 3, dwell: Duration::from_secs(5) };

    /// Looks, one a second: `+` is good. Returns the states after each: `u`, `p`, `f`.
    fn states(limits: Limits, looks: &str) -> String {
        let start = Instant::now();
        let mut machine = Machine::new(limits, start);
        let mut told = machine.state();
        let letters = looks.chars().enumerate().map(|(second, look)| {
            let now = start + Duration::from_secs(second as u64);
            let changed = machine.observe(now, look == '+');
            assert_eq!(
                changed,
                machine.state() != told,
                "a change is told exactly when there is one"
            );
            told = machine.state();
            told.word().chars().next().unwrap()
        });
        letters.collect()
    }

    #[test]
    fn rise_fall_and_dwell_are_counted() {
        let cases = [
            // The first look decides alone.
            ("+", "p"),
            ("-", "f"),
            // The third bad one in a row; a good one between begins again.
            ("+---", "pppf"),
            ("+--+--+---", "pppppppppf"),
            // Two good ones, but not before it has failed for 5 s.
            ("+---++++++", "pppfffffpp"),
            // A bad one within begins again.
            ("+---+++-++++", "pppffffffppp"),
            // Flapping: however it goes, failing lasts for 5 s at least.
            ("+---++---++---++---++", "pppfffffffpppfffffffp"),
        ];
        for (looks, expected) in cases {
            assert_eq!(states(LIMITS, looks), expected, "{looks}");
        }
    }

    #[test]
    fn without_dwell_only_the_counts_matter() {
        let limits = Limits { rise: 1, fall: 1, dwell: Duration::ZERO };
        assert_eq!(states(limits, "+-+-+"), "pfpfp");
    }

    #[test]
    fn failing_is_never_waited_out_and_lasts_at_least_for_the_dwell() {
        let start = Instant::now();
        let mut machine = Machine::new(LIMITS, start);
        let mut failed_at = None;
        for second in 0..1000_u64 {
            let now = start + Duration::from_secs(second);
            // Changes its mind every fourth second.
            if machine.observe(now, second % 8 < 4) {
                match machine.state() {
                    State::Failing => failed_at = Some(now),
                    State::Passing | State::Unknown => {
                        let lasted = failed_at.map_or(LIMITS.dwell, |at| now.duration_since(at));
                        assert!(lasted >= LIMITS.dwell, "failing lasted {lasted:?} only");
                    }
                }
            }
        }
        assert!(failed_at.is_some(), "it never failed");
    }
}
