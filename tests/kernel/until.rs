//! Waits for a condition, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// Nothing here takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until the condition holds; panics after [`PATIENCE`].
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "never happened: {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}
