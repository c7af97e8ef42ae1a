//! A node's own clock: it starts anywhere, runs a little fast, and stands still with its machine.

use buoy::protocol::Instant;

/// Turns the simulator's time into what one node reads, and back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    /// What it shows at the simulator's zero.
    pub(crate) offset: u64,
    /// Parts per million that it runs fast.
    pub(crate) ppm: u64,
    /// Time for which it has stood still.
    stopped: u64,
    /// Since when it stands still.
    stopped_since: Option<u64>,
}

impl Clock {
    /// A clock with this start and rate.
    pub(crate) fn new(offset: u64, ppm: u64) -> Self {
        Self { offset, ppm, stopped: 0, stopped_since: None }
    }

    /// What the node reads at `now`.
    pub(crate) fn read(&self, now: u64) -> Instant {
        let now = self.stopped_since.unwrap_or(now);
        let ran = now.saturating_sub(self.stopped);
        Instant::from_nanos(self.offset + ran + scale(ran, self.ppm))
    }

    /// The first moment at which the node reads `local` or more, if its clock runs on.
    pub(crate) fn moment(&self, local: Instant) -> u64 {
        if local == Instant::NEVER {
            return u64::MAX;
        }
        let shown = local.as_nanos().saturating_sub(self.offset);
        let ran = u128::from(shown) * 1_000_000 / u128::from(1_000_000 + self.ppm);
        let mut moment = u64::try_from(ran).unwrap_or(u64::MAX).saturating_add(self.stopped);
        while moment < u64::MAX && self.running(moment) < local {
            moment += 1;
        }
        moment
    }

    /// What the node reads of this length.
    pub(crate) fn shown(&self, length: u64) -> u64 {
        length + scale(length, self.ppm)
    }

    /// Runs at another rate from now on.
    pub(crate) fn hasten(&mut self, now: u64, ppm: u64) {
        let shown = self.read(now).as_nanos();
        let ran = now.saturating_sub(self.stopped);
        self.ppm = ppm;
        self.offset = shown - ran - scale(ran, ppm);
    }

    /// Stands still from `now` on.
    pub(crate) fn stop(&mut self, now: u64) {
        self.stopped_since.get_or_insert(now);
    }

    /// Goes on where it stood.
    pub(crate) fn go_on(&mut self, now: u64) {
        if let Some(since) = self.stopped_since.take() {
            self.stopped += now - since;
        }
    }

    fn running(&self, moment: u64) -> Instant {
        let ran = moment.saturating_sub(self.stopped);
        Instant::from_nanos(self.offset + ran + scale(ran, self.ppm))
    }
}

fn scale(ran: u64, ppm: u64) -> u64 {
    u64::try_from(u128::from(ran) * u128::from(ppm) / 1_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use crate::draw::{Draw, SECOND};

    #[test]
    fn moment_is_the_first_at_which_the_clock_reads_so_much() {
        let mut draw = Draw::new(1);
        for _ in 0..1_000 {
            let mut clock = Clock::new(draw.between(0, SECOND), draw.between(0, 400));
            clock.stop(SECOND);
            clock.go_on(3 * SECOND);
            let moment = draw.between(3 * SECOND + 1, 1_000 * SECOND);
            let shown = clock.read(moment);
            let found = clock.moment(shown);
            assert!(clock.read(found) >= shown && found <= moment, "{found} {moment}");
            assert!(clock.read(found - 1) < shown, "{found} is not the first");
        }
    }

    #[test]
    fn a_stopped_clock_stands_still_and_goes_on_where_it_stood() {
        let mut clock = Clock::new(5, 0);
        clock.stop(100);
        assert_eq!(clock.read(900).as_nanos(), 105);
        clock.go_on(1_000);
        assert_eq!(clock.read(1_001).as_nanos(), 106);
    }
}
