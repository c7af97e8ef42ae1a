//! The only reader of clocks.
//!
//! Two clocks are read and never mixed up: `CLOCK_BOOTTIME` for everything that is decided (it
//! never steps, and unlike `CLOCK_MONOTONIC` it counts a suspended host, whose peers went on
//! without it), and `CLOCK_REALTIME` for what people read and for the one place where the kernel
//! speaks it: the receive time of a datagram. That time is turned into an age at once, so that a
//! step of the wall clock can spoil at most the age of the datagrams then in the queue, and
//! those only within [`RECEIVE_AGE_MAX`].

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use crate::protocol::Instant;

/// A datagram cannot be older than this: socket buffers hold less, and a larger figure means
/// that the wall clock was stepped while the datagram waited.
pub(crate) const RECEIVE_AGE_MAX: Duration = Duration::from_secs(60);

/// The time of now, for the protocol.
pub(crate) fn now() -> Instant {
    let nanos = since_zero(ClockId::CLOCK_BOOTTIME).as_nanos();
    Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Wall-clock time since the Unix epoch.
pub(crate) fn wall() -> Duration {
    since_zero(ClockId::CLOCK_REALTIME)
}

/// `CLOCK_MONOTONIC`, which the service manager wants with a reload message.
pub(crate) fn monotonic() -> Duration {
    since_zero(ClockId::CLOCK_MONOTONIC)
}

/// Processor time that the calling thread has used.
pub(crate) fn of_this_thread() -> Duration {
    since_zero(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// When the kernel received a datagram, in the protocol's time; `now` if the kernel did not say.
///
/// `now` and `wall_now` are readings of the same moment.
pub(crate) fn received_at(
    now: Instant,
    wall_now: Duration,
    kernel_time: Option<Duration>,
) -> Instant {
    let age = kernel_time.map_or(Duration::ZERO, |time| wall_now.saturating_sub(time));
    now.before(age.min(RECEIVE_AGE_MAX))
}

fn since_zero(clock: ClockId) -> Duration {
    let time = clock_gettime(clock).expect("these clocks are in every Linux since 2.6.39");
    duration(time)
}

/// Times before the epoch (a host with a broken wall clock) count as the epoch.
fn duration(time: TimeSpec) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec()).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// A duration as `ppoll` wants it.
pub(crate) fn time_spec(length: Duration) -> TimeSpec {
    TimeSpec::from_duration(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(500_000);
    const WALL: Duration = Duration::from_secs(1_700_000_000);

    #[test]
    fn clock_moves_forward() {
        let first = now();
        let second = now();
        assert!(second >= first);
        assert!(first > Instant::START);
    }

    #[test]
    fn age_of_a_datagram_is_taken_from_the_kernel() {
        let at = received_at(NOW, WALL, Some(WALL - Duration::from_millis(250)));
        assert_eq!(at, Instant::from_millis(499_750));
    }

    #[test]
    fn datagram_without_time_was_received_now() {
        assert_eq!(received_at(NOW, WALL, None), NOW);
    }

    #[test]
    fn wall_clock_stepped_back_makes_no_datagram_from_the_future() {
        assert_eq!(received_at(NOW, WALL, Some(WALL + Duration::from_secs(3600))), NOW);
    }

    #[test]
    fn wall_clock_stepped_forward_ages_a_datagram_by_a_minute_at_most() {
        let at = received_at(NOW, WALL, Some(Duration::ZERO));
        assert_eq!(at, NOW.before(RECEIVE_AGE_MAX));
    }

    #[test]
    fn time_before_the_epoch_counts_as_the_epoch() {
        assert_eq!(duration(TimeSpec::new(-5, 0)), Duration::ZERO);
    }
}
