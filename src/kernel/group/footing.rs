//! Whether a group still has what its links and networks gave it, as far as the protocol is told.
//!
//! Pure, part of `group`. A network that is lost is told after [`HOLD`]: whoever flushes addresses
//! mostly puts them back, and a move would cost more than waiting. That it is back is told at once.

use std::time::Duration;

use crate::protocol::{Attachment, GroupKey, Instant, KernelEvent};

/// How long a network must be lost: `ifup` and clients of DHCP that restart were seen to take 50 to
/// 300 ms to put an address back.
const HOLD: Duration = Duration::from_millis(400);

/// What was last told of a group.
#[derive(Debug)]
pub(super) struct Footing {
    /// `None` for a group that was configured again, of which the protocol may remember either.
    usable: Option<bool>,
    attachment: Option<Attachment>,
    lost: Option<Instant>,
}

impl Footing {
    /// What the protocol takes for granted.
    pub(super) const fn new() -> Self {
        Self { usable: Some(true), attachment: Some(Attachment::Attached), lost: None }
    }

    /// The protocol may remember anything.
    pub(super) fn forget(&mut self) {
        (self.usable, self.attachment) = (None, None);
    }

    /// Compares with what is so now; returns what is to be told.
    pub(super) fn settle(
        &mut self,
        group: GroupKey,
        (usable, attachment): (bool, Attachment),
        now: Instant,
    ) -> Vec<KernelEvent> {
        let mut events = Vec::new();
        if self.usable != Some(usable) {
            self.usable = Some(usable);
            events.push(KernelEvent::Usable { group, usable });
        }
        let lost = attachment == Attachment::Lost;
        self.lost = lost.then(|| self.lost.unwrap_or(now));
        let held = self.deadline().is_some_and(|until| now < until);
        if self.attachment != Some(attachment) && !held {
            self.attachment = Some(attachment);
            events.push(KernelEvent::Attached { group, attachment });
        }
        events
    }

    /// When a loss is to be told that is not told yet.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let told = self.attachment == Some(Attachment::Lost);
        self.lost.filter(|_| !told).map(|since| since + HOLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_is_soon_back_is_not_told_lost() {
        let group = GroupKey(1);
        let mut footing = Footing::new();
        let told = |attachment| vec![KernelEvent::Attached { group, attachment }];
        let table = [
            (0, Attachment::Attached, vec![]),
            (10, Attachment::Lost, vec![]),
            (300, Attachment::Attached, vec![]),
            (310, Attachment::Lost, vec![]),
            (709, Attachment::Lost, vec![]),
            (710, Attachment::Lost, told(Attachment::Lost)),
            (900, Attachment::Lost, vec![]),
            (901, Attachment::Attached, told(Attachment::Attached)),
        ];
        for (at, attachment, expected) in table {
            let now = Instant::from_millis(at);
            assert_eq!(footing.settle(group, (true, attachment), now), expected, "at {at} ms");
        }
        assert_eq!(footing.deadline(), None);
    }
}
