//! Datagrams that were refused: counted all, told now and then.

use std::time::Duration;

use super::event_loop::Told;
use crate::protocol::Instant;
use crate::wire::RefusedDatagram;

/// Refused datagrams are told at most so often; all are counted.
const REFUSED_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Counts refused datagrams; anybody on the network can make these, so telling is rationed.
/// Duplicates are normal with several paths and not told at all.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// All, by reason.
    pub(crate) counts: [u64; RefusedDatagram::COUNT],
    untold: u64,
    last: Option<RefusedDatagram>,
    told_at: Option<Instant>,
}

impl Refused {
    /// Counts one.
    pub(crate) fn note(&mut self, reason: RefusedDatagram) {
        self.counts[reason.index()] += 1;
        if reason != RefusedDatagram::Duplicate {
            self.untold += 1;
            self.last = Some(reason);
        }
    }

    /// What is to be told now.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Told> {
        let reason = self.last?;
        let rested = self.told_at.is_none_or(|at| now.since(at) >= REFUSED_TOLD_EVERY);
        (self.untold > 0 && rested).then(|| {
            self.told_at = Some(now);
            Told::Refused { reason, count: std::mem::take(&mut self.untold) }
        })
    }
}
