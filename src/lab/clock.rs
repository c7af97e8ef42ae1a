//! The lab's clock, and its only waiting.
//!
//! The lab measures a running system from outside, so it needs the real clock, unlike the code
//! under test. Everything in `lab` that asks for the time or waits goes through here.

use std::time::{Duration, Instant};

/// How often a condition is looked at again while it is awaited.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Tells the time.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the lab measures real time; this is its one clock")]
pub fn now() -> Instant {
    Instant::now()
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
