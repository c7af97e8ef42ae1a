//! The only reader of clocks.
//!
//! Two times are read and never mixed up. What is decided goes by `CLOCK_MONOTONIC_RAW` and the time
//! that the host was suspended, which its peers went on through: it never steps, and unlike
//! `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME` it is not slewed, by up to a tenth, so that two hosts
//! count leases and promises alike. `CLOCK_REALTIME` is for what people read and for the one place
//! where the kernel speaks it: the receive time of a datagram. That time is turned into an age at
//! once, so that a step of the wall clock can spoil at most the age of the datagrams then in the
//! queue, and those only within [`RECEIVE_AGE_MAX`].
//!
//! What the kernel is asked to wait for (`ppoll`, timers) it counts by `CLOCK_MONOTONIC`: whoever
//! waits looks at this clock again and waits for the rest. Its sets of nf_tables count in jiffies,
//! which are slewed as well: see [`shortened`](crate::protocol::shortened).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use crate::protocol::Instant;

/// A datagram cannot be older than this: socket buffers hold less, and a larger figure means
/// that the wall clock was stepped while the datagram waited.
pub(crate) const RECEIVE_AGE_MAX: Duration = Duration::from_secs(60);

/// How long the host has been suspended since it was booted, as far as this process has seen: the
/// most that two clocks read one after the other have shown.
static SUSPENDED: AtomicU64 = AtomicU64::new(0);
/// Readings further apart than this were interrupted; they are taken again, so often at most.
const READ_WITHIN: Duration = Duration::from_micros(200);
const READINGS: u32 = 16;

/// The time of now, for the protocol.
pub(crate) fn now() -> Instant {
    let suspended = SUSPENDED.fetch_max(suspended(), Ordering::Relaxed);
    let suspended = suspended.max(SUSPENDED.load(Ordering::Relaxed));
    Instant::from_nanos(nanos(since_zero(ClockId::CLOCK_MONOTONIC_RAW)).saturating_add(suspended))
}

/// Names the boot and the time namespace since whose beginning [`now`] counts: times under different
/// names cannot be compared. Where neither can be read it names this process.
pub(crate) fn epoch() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    // Kernels before 5.6 have no time namespaces.
    let namespace = std::fs::read_link("/proc/self/ns/time").unwrap_or_default();
    match boot {
        Ok(boot) => format!("{} {} raw", boot.trim(), namespace.display()),
        Err(_) => format!("process {} {}", std::process::id(), now().as_nanos()),
    }
}

/// By how much `CLOCK_BOOTTIME` is ahead of `CLOCK_MONOTONIC`, which only a suspension changes, and
/// never more than that: the clock that is behind is read last.
fn suspended() -> u64 {
    let mut most = 0;
    for _ in 0..READINGS {
        let before = since_zero(ClockId::CLOCK_MONOTONIC);
        let all = since_zero(ClockId::CLOCK_BOOTTIME);
        let after = since_zero(ClockId::CLOCK_MONOTONIC);
        most = most.max(nanos(all.saturating_sub(after)));
        if after.saturating_sub(before) <= READ_WITHIN {
            break;
        }
    }
    most
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
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
    fn the_clock_shows_what_is_not_slewed_and_the_time_of_suspensions() {
        let raw = || nanos(since_zero(ClockId::CLOCK_MONOTONIC_RAW));
        let boot = || since_zero(ClockId::CLOCK_BOOTTIME);
        let mut last = Instant::START;
        for _ in 0..10_000 {
            // What two clocks say that are read one after the other is too much by the time between.
            let (before, monotonic) = (raw(), monotonic());
            let shown = now();
            let most = nanos(boot().saturating_sub(monotonic)) + raw();
            assert!(shown >= last, "{shown:?} after {last:?}");
            assert!(shown.as_nanos() >= before, "{shown:?}, {before}");
            assert!(shown.as_nanos() <= most, "{shown:?}, {most}");
            last = shown;
        }
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
