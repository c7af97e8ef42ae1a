//! Allows a burst, then ten a second: for what a sender outside can make this node do.

use std::time::Duration;

use crate::protocol::Instant;

/// How much may happen at once. A handshake with a restarted peer on two paths takes four.
const BURST: u32 = 8;
/// After a burst, one more each.
const REFILL: Duration = Duration::from_millis(100);

/// One budget.
#[derive(Clone, Debug)]
pub(super) struct Limiter {
    left: u32,
    refilled_at: Instant,
}

impl Limiter {
    pub(super) const fn new() -> Self {
        Self { left: BURST, refilled_at: Instant::START }
    }

    /// Whether one more is allowed; if so, it is taken off the budget.
    pub(super) fn allow(&mut self, now: Instant) -> bool {
        let refills = now.since(self.refilled_at).as_nanos() / REFILL.as_nanos();
        match u32::try_from(refills) {
            Ok(refills) if refills < BURST => {
                self.left = (self.left + refills).min(BURST);
                self.refilled_at = self.refilled_at + REFILL * refills;
            }
            Ok(_) | Err(_) => {
                self.left = BURST;
                self.refilled_at = now;
            }
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_ten_a_second() {
        let mut limiter = Limiter::new();
        let mut allowed = 0_u32;
        for milli in 0..10_000 {
            allowed += u32::from(limiter.allow(Instant::from_millis(5000 + milli)));
        }
        assert!((100..=100 + BURST + 1).contains(&allowed), "{allowed} allowed in ten seconds");
    }

    #[test]
    fn time_that_runs_backwards_gives_nothing() {
        let mut limiter = Limiter::new();
        while limiter.allow(Instant::from_millis(5000)) {}
        assert!(!limiter.allow(Instant::from_millis(1)));
        assert!(limiter.allow(Instant::from_millis(5100)));
    }
}
