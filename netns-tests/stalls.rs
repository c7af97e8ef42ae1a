//! Whether the machine itself stood still during a test.
//!
//! The tests measure time. Where the whole machine does not run for a third of a second, as virtual
//! ones at times do, every bound fails and says nothing of buoy. `runner` asks for the longest pause
//! that this thread saw, and runs a test that failed beside a long one again; a fault of ours
//! fails again without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use buoy::lab::clock;

/// How often the thread looks at the clock.
const LOOK: Duration = Duration::from_millis(5);

/// The longest pause of late.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stalls(Arc<AtomicU64>);

impl Stalls {
    /// Watches until the process ends.
    pub(crate) fn watch() -> std::io::Result<Self> {
        let stalls = Self::default();
        let longest = Arc::clone(&stalls.0);
        thread::Builder::new().name("stalls".to_owned()).spawn(move || {
            loop {
                let before = clock::now();
                clock::pause(LOOK);
                let pause = clock::now().duration_since(before).saturating_sub(LOOK);
                let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                longest.fetch_max(pause, Ordering::Relaxed);
            }
        })?;
        Ok(stalls)
    }

    /// The longest pause since this was last asked.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_millis(self.0.swap(0, Ordering::Relaxed))
    }
}
