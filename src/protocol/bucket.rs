//! A token bucket in addresses: half a second's worth may be spent at once.
//!
//! Used by `announcements` and by `address_conflict`, one bucket each: questions before a takeover must not
//! use up what the announcements after it need.

use super::types::Instant;

/// What the bucket holds, as a part of a second's worth: half a second.
const BURST_DIVISOR: u64 = 2;
/// One address. The bucket counts in nano-addresses.
pub(super) const TOKEN: u64 = 1_000_000_000;

/// The bucket.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    tokens: u64,
    filled_at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) const fn new(now: Instant) -> Self {
        Self { tokens: u64::MAX, filled_at: now }
    }

    /// Takes out what so many addresses cost, if it is there.
    pub(super) fn spend(&mut self, now: Instant, addresses: u16, rate: u32) -> bool {
        self.spend_leaving(now, addresses, rate, 0)
    }

    /// The same, if enough is there for `left` addresses besides. A full bucket always is.
    pub(super) fn spend_leaving(
        &mut self,
        now: Instant,
        addresses: u16,
        rate: u32,
        left: usize,
    ) -> bool {
        self.fill(now, rate);
        let enough = self.tokens >= needed(addresses, rate, left);
        if enough {
            self.tokens -= cost(addresses, rate);
        }
        enough
    }

    /// How much is missing.
    pub(super) const fn lacking(&self, cost: u64) -> u64 {
        cost.saturating_sub(self.tokens)
    }

    fn fill(&mut self, now: Instant, rate: u32) {
        let nanos = u64::try_from(now.since(self.filled_at).as_nanos()).unwrap_or(u64::MAX);
        self.filled_at = now;
        self.tokens =
            self.tokens.saturating_add(nanos.saturating_mul(u64::from(rate))).min(capacity(rate));
    }
}

fn capacity(rate: u32) -> u64 {
    (u64::from(rate) * TOKEN / BURST_DIVISOR).max(TOKEN)
}

/// What must be there so that `left` addresses can be paid after these.
pub(super) fn needed(addresses: u16, rate: u32, left: usize) -> u64 {
    let left = u64::try_from(left).unwrap_or(u64::MAX).saturating_mul(TOKEN);
    cost(addresses, rate).saturating_add(left).min(capacity(rate))
}

/// A group with more addresses than the bucket holds costs a full bucket.
pub(super) fn cost(addresses: u16, rate: u32) -> u64 {
    (u64::from(addresses.max(1)) * TOKEN).min(capacity(rate))
}
