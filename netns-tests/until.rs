//! Waiting for a condition with a deadline: the only place of these tests that sleeps.

use std::fmt::Write as _;
use std::time::Duration;

use buoy::lab::clock;

use crate::Outcome;

/// Looks until `condition` holds; after `limit` the test fails, telling what was awaited and what
/// was seen last.
pub(crate) fn until(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<(), String>,
) -> Outcome {
    let begin = clock::now();
    let mut last = String::new();
    let held = clock::until(limit, || match condition() {
        Ok(()) => Some(()),
        Err(seen) => {
            last = seen;
            None
        }
    });
    if held.is_some() {
        return Ok(());
    }
    let mut message = String::new();
    let waited = clock::now().duration_since(begin);
    let _ = write!(message, "waited {:.1} s in vain until {what}", waited.as_secs_f64());
    if !last.is_empty() {
        let _ = write!(message, "; last seen: {last}");
    }
    Err(message.into())
}

/// Demands that `condition` holds the whole time: for what must not happen.
pub(crate) fn throughout(
    what: &str,
    time: Duration,
    mut condition: impl FnMut() -> Result<(), String>,
) -> Outcome {
    let broken = clock::until(time, || condition().err());
    match broken {
        Some(seen) => Err(format!("it did not stay so that {what}: {seen}").into()),
        None => Ok(()),
    }
}
