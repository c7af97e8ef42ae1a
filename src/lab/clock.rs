//! The lab's clock, and its only waiting.
//!
//! The lab measures a running system from outside, so it needs the real clock, unlike the code
//! under test. Everything in `lab` that asks for the time or waits goes through here.

use std::time::{Duration, Instant, SystemTime};

/// How often a condition is looked at again while it is awaited.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Tells the time.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the lab measures real time; this is its one clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// When something happened that the kernel has stamped with its time since 1970. In the past, if
/// by nothing else than the clocks being read one after the other.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the kernel stamps packets with this clock")]
pub fn stamped(kernel_time: Duration) -> Instant {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = now();
    now.checked_sub(since_1970.saturating_sub(kernel_time)).unwrap_or(now)
}

/// Lets time pass: for holding a fault for as long as it is to last.
#[expect(clippy::disallowed_methods, reason = "the lab's one pause; nothing is assumed after it")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Looks until `condition` gives something or `limit` has passed; tells what it gave.
pub fn until<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = now() + limit;
    loop {
        if let Some(found) = condition() {
            return Some(found);
        }
        if now() >= deadline {
            return None;
        }
        pause(LOOK_AGAIN);
    }
}
