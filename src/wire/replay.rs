//! Remembers which sequences of one life were seen, so that each is taken once.
//!
//! ```text
//!         too old        |<------------ 1024 ------------>|
//!   ... ----------------- o x o o x ... o o o o x o o o o X   newer: always taken
//!                           x = seen                      highest
//! ```
//!
//! A window starts after the datagram that proved the life: all before it count as seen, because
//! they may have been recorded while this node was another life itself.

use super::refused::RefusedDatagram;

/// How far behind the highest a sequence may come in.
pub const REPLAY_WINDOW: u64 = 1024;

const WORDS: usize = 16;
const WORD_BITS: u64 = 64;

/// What was seen of one life.
#[derive(Clone, Debug)]
pub(super) struct ReplayWindow {
    highest: u64,
    /// A ring: sequence `s` has bit `s mod 1024`.
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// A window in which everything up to and with `sequence` counts as seen.
    pub(super) const fn after(sequence: u64) -> Self {
        Self { highest: sequence, seen: [u64::MAX; WORDS] }
    }

    /// Whether a datagram with this sequence may be new. Changes nothing.
    pub(super) fn check(&self, sequence: u64) -> Result<(), RefusedDatagram> {
        if sequence > self.highest {
            return Ok(());
        }
        if self.highest - sequence >= REPLAY_WINDOW {
            return Err(RefusedDatagram::TooOld);
        }
        let (word, bit) = place(sequence);
        if self.seen[word] & bit == 0 { Ok(()) } else { Err(RefusedDatagram::Duplicate) }
    }

    /// Remembers a sequence that passed [`check`](Self::check) and whose seal is good.
    pub(super) fn mark(&mut self, sequence: u64) {
        if sequence > self.highest {
            if sequence - self.highest >= REPLAY_WINDOW {
                self.seen = [0; WORDS];
            } else {
                for skipped in self.highest + 1..sequence {
                    let (word, bit) = place(skipped);
                    self.seen[word] &= !bit;
                }
            }
            self.highest = sequence;
        }
        let (word, bit) = place(sequence);
        self.seen[word] |= bit;
    }
}

fn place(sequence: u64) -> (usize, u64) {
    let within = sequence % REPLAY_WINDOW;
    let word = usize::try_from(within / WORD_BITS).expect("there are 16 words");
    (word, 1 << (within % WORD_BITS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::protocol::Random;

    #[test]
    fn everything_before_the_start_counts_as_seen() {
        let window = ReplayWindow::after(5000);
        assert_eq!(window.check(5000), Err(RefusedDatagram::Duplicate));
        assert_eq!(window.check(3977), Err(RefusedDatagram::Duplicate));
        assert_eq!(window.check(3976), Err(RefusedDatagram::TooOld));
        assert_eq!(window.check(0), Err(RefusedDatagram::TooOld));
        assert_eq!(window.check(5001), Ok(()));
    }

    #[test]
    fn the_last_sequence_of_all_is_no_overflow() {
        let mut window = ReplayWindow::after(0);
        window.mark(u64::MAX);
        assert_eq!(window.check(u64::MAX), Err(RefusedDatagram::Duplicate));
        assert_eq!(window.check(u64::MAX - 1), Ok(()));
    }

    /// Against a set that forgets nothing: same answer for each of many sequences that jump
    /// forwards, backwards and across the edges of the ring.
    #[test]
    fn agrees_with_a_set_that_forgets_nothing() {
        for seed in 0..50 {
            let mut random = Random::new(seed);
            let mut window = ReplayWindow::after(0);
            let mut seen = BTreeSet::from([0]);
            let mut highest = 0_u64;
            for _ in 0..2000 {
                let step = [3, 70, 1100, 2500][usize::try_from(random.below(4)).unwrap()];
                let sequence = (highest + step).saturating_sub(random.below(2 * step));
                let wanted = if sequence + REPLAY_WINDOW <= highest {
                    Err(RefusedDatagram::TooOld)
                } else if seen.contains(&sequence) {
                    Err(RefusedDatagram::Duplicate)
                } else {
                    Ok(())
                };
                assert_eq!(window.check(sequence), wanted, "seed {seed} sequence {sequence}");
                if wanted.is_ok() {
                    window.mark(sequence);
                    seen.insert(sequence);
                    highest = highest.max(sequence);
                }
            }
        }
    }
}
