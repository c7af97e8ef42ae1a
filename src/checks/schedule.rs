//! When each check looks: at its own phase of the interval, never twice at once.
//!
//! All first looks are made within [`FIRST_WITHIN`] of the start, because the node waits for them;
//! after that the looks of checks with the same interval are spread over it in [`SLOTS`] places.
//! Those of one place begin together, for waking up is dear: a hundred HTTP checks a second cost
//! 3.0% of a busy core when each had a place of its own, and 0.9% so. A look that took as long as
//! the interval or longer is followed by the next one at once, not by all that were missed: so
//! `fall` looks that get no answer take `fall` timeouts.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::Look;
use super::look::Looker;
use crate::config::CheckConfig;

/// First looks are made within this time: less than any node takes to start.
const FIRST_WITHIN: Duration = Duration::from_millis(200);

/// Places in an interval.
const SLOTS: usize = 10;

/// The place of a check among all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Its number.
    pub(super) index: usize,
    /// How many there are.
    pub(super) count: usize,
    /// When they began.
    pub(super) start: Instant,
}

impl Place {
    fn part(self, of: Duration) -> Duration {
        let slot = self.index.min(1 << 16) * SLOTS / self.count.clamp(1, 1 << 16);
        of / u32::try_from(SLOTS).unwrap_or(1) * u32::try_from(slot).unwrap_or(0)
    }

    /// When to look first.
    fn first(self, interval: Duration) -> Instant {
        self.start + self.part(interval.min(FIRST_WITHIN))
    }

    /// The next time in phase after the first look, which ended now.
    fn second(self, interval: Duration, now: Instant) -> Instant {
        let phase = self.start + self.part(interval);
        let passed = now.saturating_duration_since(phase).as_nanos();
        let nanos = interval.as_nanos().max(1);
        let turns = if now < phase { 0 } else { passed / nanos + 1 };
        let after = Duration::from_nanos(u64::try_from(turns * nanos).unwrap_or(u64::MAX));
        let due = phase + after;
        // Both may fall together.
        if due.duration_since(now) < interval / 4 { due + interval } else { due }
    }
}

/// Looks again and again, and tells what each look found and how long it took. Ends only by being dropped, which may happen at any time.
pub(super) async fn repeat<T: AsyncFn(Look, Duration)>(check: CheckConfig, place: Place, tell: T) {
    let mut looker = Looker::new(&check);
    let mut due = place.first(check.interval);
    let mut first = true;
    loop {
        sleep_until(due).await;
        let began = Instant::now();
        let look = timeout(check.timeout + looker.grace(), looker.look()).await;
        let late = || Err(format!("no answer within {} ms", check.timeout.as_millis()));
        tell(look.unwrap_or_else(|_| late()), began.elapsed()).await;
        let now = Instant::now();
        due = if first { place.second(check.interval, now) } else { now.max(due + check.interval) };
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "some seconds")]
    fn looks_are_spread_over_the_interval() {
        let start = Instant::now();
        let mut dues: Vec<u64> = (0..100)
            .map(|index| {
                let place = Place { index, count: 100, start };
                assert!(place.first(SECOND) <= start + FIRST_WITHIN);
                place.second(SECOND, start).duration_since(start).as_millis() as u64 % 1000
            })
            .collect();
        dues.sort();
        for (index, due) in dues.iter().enumerate() {
            assert_eq!(*due, index as u64 / 10 * 100, "{dues:?}");
        }
        let alone = |index| Place { index, count: 3, start }.first(SECOND) - start;
        assert_eq!([0, 1, 2].map(|index| alone(index).as_millis()), [0, 60, 120]);
    }
}
