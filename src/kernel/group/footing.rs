//! Whether a group still has what its links and networks gave it, as far as the protocol is told.
//!
//! Pure, part of `group`. A network that is lost is told after a while: some programs remove an address to
//! add it again at once. That it is back is told at once.

use std::time::Duration;

use crate::protocol::{Attachment, GroupKey, Instant, KernelEvent};

/// How long the host's own address must be gone: longer than it takes to replace one. `ifup` and clients of
/// DHCP that restart take 50 to 300 ms; until then nobody is answered here, and a move takes 10 ms.
const HOLD: Duration = Duration::from_millis(20);
/// How long a link must have carried in one direction only, by tests that can be lost.
const HOLD_DEAF: Duration = Duration::from_millis(400);

/// What a link gives to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) usable: bool,
    pub(super) attachment: Attachment,
    /// It carries in one direction only, and that is why the network is lost.
    pub(super) deaf: bool,
}

/// What was last told of a group.
#[derive(Debug)]
pub(super) struct Footing {
    /// `None` for a group that was configured again, of which the protocol may remember either.
    usable: Option<bool>,
    attachment: Option<Attachment>,
    lost: Option<Instant>,
    hold: Duration,
}

impl Footing {
    /// What the protocol takes for granted.
    pub(super) const fn new() -> Self {
        Self { usable: Some(true), attachment: Some(Attachment::Attached), lost: None, hold: HOLD }
    }

    /// The protocol may remember anything.
    pub(super) fn forget(&mut self) {
        (self.usable, self.attachment) = (None, None);
    }

    /// Compares with what is so now; returns what is to be told.
    pub(super) fn settle(
        &mut self,
        group: GroupKey,
        found: Found,
        now: Instant,
    ) -> Vec<KernelEvent> {
        let Found { usable, attachment, deaf } = found;
        let mut events = Vec::new();
        if self.usable != Some(usable) {
            self.usable = Some(usable);
            events.push(KernelEvent::Usable { group, usable });
        }
        let lost = attachment == Attachment::Lost;
        self.lost = lost.then(|| self.lost.unwrap_or(now));
        self.hold = if deaf { HOLD_DEAF } else { HOLD };
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
        self.lost.filter(|_| !told).map(|since| since + self.hold)
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
            (0, Attachment::Attached, false, vec![]),
            (10, Attachment::Lost, false, vec![]),
            (29, Attachment::Attached, false, vec![]),
            (40, Attachment::Lost, false, vec![]),
            (59, Attachment::Lost, false, vec![]),
            (60, Attachment::Lost, false, told(Attachment::Lost)),
            (90, Attachment::Lost, false, vec![]),
            (91, Attachment::Attached, false, told(Attachment::Attached)),
            (100, Attachment::Lost, true, vec![]),
            (499, Attachment::Lost, true, vec![]),
            (500, Attachment::Lost, true, told(Attachment::Lost)),
            (501, Attachment::Attached, false, told(Attachment::Attached)),
        ];
        for (at, attachment, deaf, expected) in table {
            let found = Found { usable: true, attachment, deaf };
            let now = Instant::from_millis(at);
            assert_eq!(footing.settle(group, found, now), expected, "at {at} ms");
        }
        assert_eq!(footing.deadline(), None);
    }
}
