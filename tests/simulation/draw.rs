//! Draws from the one seeded generator of a run: indices, ranges, chances.

use buoy::protocol::Random;

/// One millisecond in the simulator's unit.
pub(crate) const MILLISECOND: u64 = 1_000_000;
/// One microsecond in the simulator's unit.
pub(crate) const MICROSECOND: u64 = 1_000;
/// One second in the simulator's unit.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// The generator behind every choice of a run.
#[derive(Clone, Debug)]
pub(crate) struct Draw(Random);

impl Draw {
    /// Starts the sequence of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Random::new(buoy::protocol::mix(seed)))
    }

    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.below(high.saturating_sub(low) + 1)
    }

    /// An index into something of this length, which is not empty.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        let bound = u64::try_from(length).expect("lengths fit 64 bits");
        usize::try_from(self.0.below(bound)).expect("below a length")
    }

    /// True in `millionths` of a million cases.
    pub(crate) fn chance(&mut self, millionths: u32) -> bool {
        millionths > 0 && self.0.below(1_000_000) < u64::from(millionths)
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }
}
