//! Datagrams that were refused: counted by reason, and told at a bounded pace.

use std::time::Duration;

use crate::protocol::Instant;
use crate::wire::RefusedDatagram;

/// Refused datagrams are told at most so often; all are counted.
const REFUSED_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Counts refused datagrams; anybody on the network can make these, so telling is rationed.
/// Duplicates are normal with several paths and not told at all.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) counts: [u64; RefusedDatagram::COUNT],
    untold: u64,
    last: Option<RefusedDatagram>,
    told_at: Option<Instant>,
}

impl Refused {
    /// Counts one.
    pub(super) fn note(&mut self, reason: RefusedDatagram) {
        self.counts[reason.index()] += 1;
        if reason != RefusedDatagram::Duplicate {
            self.untold += 1;
            self.last = Some(reason);
        }
    }

    /// Why the last was refused and how many were since this last told, if it is time to.
    pub(super) fn due(&mut self, now: Instant) -> Option<(RefusedDatagram, u64)> {
        let reason = self.last?;
        let rested = self.told_at.is_none_or(|at| now.since(at) >= REFUSED_TOLD_EVERY);
        (self.untold > 0 && rested).then(|| {
            self.told_at = Some(now);
            (reason, std::mem::take(&mut self.untold))
        })
    }
}
