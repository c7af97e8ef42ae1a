//! How many answers a network gets by UDP, so that a forged sender cannot be flooded by us. Pure.
//!
//! Each /24 and each /56 has a budget that refills; what is above it gets every second time an
//! answer that says "come again by TCP", which a real resolver can and a forged one cannot, else
//! nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

/// Answers a second, and at once after a pause of a second.
const RATE: f64 = 1000.0;
/// Networks that are remembered; beyond that all are forgotten and begin with a full budget.
const NETWORKS_MAX: usize = 16_384;

/// What becomes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is answered.
    Answer,
    /// It is told to come by TCP.
    Truncate,
    /// It is dropped.
    Drop,
}

#[derive(Clone, Copy, Debug)]
struct Budget {
    left: f64,
    at: Instant,
    /// Whether the last question above it was dropped.
    dropped: bool,
}

/// The budgets of all networks.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    budgets: HashMap<IpAddr, Budget>,
}

impl Limiter {
    pub(super) fn judge(&mut self, from: IpAddr, now: Instant) -> Verdict {
        let network = network(from);
        if self.budgets.len() >= NETWORKS_MAX && !self.budgets.contains_key(&network) {
            self.budgets.clear();
        }
        let fresh = Budget { left: RATE, at: now, dropped: false };
        let budget = self.budgets.entry(network).or_insert(fresh);
        let gained = now.saturating_duration_since(budget.at).as_secs_f64() * RATE;
        budget.left = (budget.left + gained).min(RATE);
        budget.at = now;
        if budget.left >= 1.0 {
            budget.left -= 1.0;
            return Verdict::Answer;
        }
        budget.dropped = !budget.dropped;
        if budget.dropped { Verdict::Drop } else { Verdict::Truncate }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(address) => {
            let kept = address.to_bits() & !((1_u128 << 72) - 1);
            IpAddr::from(std::net::Ipv6Addr::from_bits(kept))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_network_above_its_budget_is_sent_to_tcp_and_others_are_answered() {
        let mut limiter = Limiter::default();
        let now = tokio::time::Instant::now().into_std();
        let (one, same) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 200]));
        for _ in 0..1000 {
            assert_eq!(limiter.judge(one, now), Verdict::Answer);
        }
        assert_eq!(limiter.judge(same, now), Verdict::Drop);
        assert_eq!(limiter.judge(one, now), Verdict::Truncate);
        assert_eq!(limiter.judge(one, now), Verdict::Drop);
        assert_eq!(limiter.judge(IpAddr::from([192, 0, 3, 1]), now), Verdict::Answer);
        let later = now + Duration::from_millis(10);
        for _ in 0..10 {
            assert_eq!(limiter.judge(one, later), Verdict::Answer);
        }
        assert_ne!(limiter.judge(one, later), Verdict::Answer);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut limiter = Limiter::default();
        let now = tokio::time::Instant::now().into_std();
        for number in 0..40_000_u32 {
            let address = std::net::Ipv4Addr::from_bits(number << 8);
            assert_eq!(limiter.judge(address.into(), now), Verdict::Answer);
        }
        assert!(limiter.budgets.len() <= NETWORKS_MAX);
    }
}
