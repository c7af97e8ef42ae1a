//! How late the protocol loop runs: the worst of the last minute, kept in slots of ten seconds.
//!
//! Lateness is the time between the deadline that the protocol asked for and the moment the loop
//! looked at its clock. It tells a host that is too busy, or one that was suspended, before its
//! peers notice; every heartbeat carries it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::control::measures::{self, COUNTS, Histogram};
use crate::protocol::Instant;

const SLOTS: usize = 6;
const SLOT_LENGTH: Duration = Duration::from_secs(10);

/// The worst lateness in each of the last slots.
#[derive(Debug)]
pub(crate) struct Lateness {
    /// Newest first.
    slots: [Duration; SLOTS],
    slot_began: Instant,
}

impl Lateness {
    /// Nothing was late yet.
    pub(crate) const fn new(now: Instant) -> Self {
        Self { slots: [Duration::ZERO; SLOTS], slot_began: now }
    }

    /// Takes in one wake-up and tells the worst of the last minute, this one included.
    pub(crate) fn note(&mut self, now: Instant, late: Duration) -> Duration {
        while now.since(self.slot_began) >= SLOT_LENGTH {
            if now.since(self.slot_began) >= SLOT_LENGTH * 10 {
                self.slot_began = now;
                self.slots = [Duration::ZERO; SLOTS];
                break;
            }
            self.slot_began = self.slot_began + SLOT_LENGTH;
            self.slots.rotate_right(1);
            self.slots[0] = Duration::ZERO;
        }
        self.slots[0] = self.slots[0].max(late);
        self.slots.into_iter().max().unwrap_or_default()
    }
}

/// All wake-ups since the start, by their lateness. The loop adds to it and waits for nobody.
#[derive(Debug, Default)]
pub(crate) struct LatenessCounts {
    counts: [AtomicU64; COUNTS],
    sum_us: AtomicU64,
}

impl LatenessCounts {
    /// Takes in one.
    pub(crate) fn count(&self, late: Duration) {
        self.counts[measures::place(late)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(measures::micros(late), Ordering::Relaxed);
    }

    /// What was counted; while the loop runs, its last wake-up may be there in half.
    pub(crate) fn read(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|place| self.counts[place].load(Ordering::Relaxed)),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(1000 + seconds * 1000)
    }

    #[test]
    fn worst_is_kept_for_a_minute_and_then_forgotten() {
        let mut lateness = Lateness::new(at(0));
        assert_eq!(lateness.note(at(1), MS * 7), MS * 7);
        assert_eq!(lateness.note(at(30), MS * 2), MS * 7);
        assert_eq!(lateness.note(at(59), MS), MS * 7);
        assert_eq!(lateness.note(at(61), MS), MS * 2);
        assert_eq!(lateness.note(at(95), MS), MS);
    }

    #[test]
    fn long_sleep_counts_itself_and_nothing_older() {
        let mut lateness = Lateness::new(at(0));
        lateness.note(at(1), MS * 900);
        let slept = Duration::from_secs(86_000);
        assert_eq!(lateness.note(at(86_400), slept), slept);
        assert_eq!(lateness.note(at(86_470), MS), MS);
    }
}
