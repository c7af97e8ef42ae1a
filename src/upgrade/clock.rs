//! The clock of an upgrade, and its only waiting: it works on a running system from outside.

use std::time::{Duration, Instant, SystemTime};

/// Now.
#[expect(clippy::disallowed_methods, reason = "the only place of this module that reads it")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Now, for people.
#[expect(clippy::disallowed_methods, reason = "the only place of this module that reads it")]
pub(super) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Lets time pass before something is tried again.
#[expect(clippy::disallowed_methods, reason = "the pause between two attempts with a deadline")]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}
