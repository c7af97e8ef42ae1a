//! The wall clock, which a page and a monitor are told; nothing is decided by it.

use std::time::SystemTime;

/// Now.
#[expect(clippy::disallowed_methods, reason = "the only place of this module that reads it")]
pub(super) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Now, in milliseconds since 1970.
pub(super) fn millis() -> u64 {
    super::history::millis(wall())
}
