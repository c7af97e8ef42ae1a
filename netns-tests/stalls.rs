//! Whether the machine itself stood still during a test, or lost its processors to other guests.
//!
//! The tests measure time. Where the whole machine does not run for a third of a second, as virtual
//! ones at times do, every bound fails and says nothing of buoy. `runner` asks for the longest pause
//! that was seen, and for the share of the processors that the host gave to others; a test that
//! failed beside a long pause or a large share runs again, and a fault of ours fails again without
//! them. Each processor is watched by a thread of its own: one may stand still while the other runs,
//! and those on it are not moved away.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use buoy::lab::clock;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// How often the thread looks at the clock.
const LOOK: Duration = Duration::from_millis(5);

/// The longest pause of late.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stalls(Arc<AtomicU64>);

impl Stalls {
    /// Watches until the process ends.
    pub(crate) fn watch() -> std::io::Result<Self> {
        let stalls = Self::default();
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        for processor in 0..CpuSet::count() {
            if allowed.is_set(processor)? {
                stalls.watch_one(processor)?;
            }
        }
        Ok(stalls)
    }

    fn watch_one(&self, processor: usize) -> std::io::Result<()> {
        let longest = Arc::clone(&self.0);
        let mut only = CpuSet::new();
        only.set(processor)?;
        thread::Builder::new().name(format!("stalls {processor}")).spawn(move || {
            // Where that is not allowed the thread sees what it can.
            let _pinned = sched_setaffinity(Pid::from_raw(0), &only);
            loop {
                let before = clock::now();
                clock::pause(LOOK);
                let pause = clock::now().duration_since(before).saturating_sub(LOOK);
                let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                longest.fetch_max(pause, Ordering::Relaxed);
            }
        })?;
        Ok(())
    }

    /// The longest pause since this was last asked.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_millis(self.0.swap(0, Ordering::Relaxed))
    }
}

/// What the processors have done since the machine began, in ticks (proc_stat(5)).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processors {
    all: u64,
    stolen: u64,
}

impl Processors {
    pub(crate) fn now() -> std::io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/stat")?))
    }

    fn parse(text: &str) -> Self {
        /// user nice system idle iowait irq softirq steal; guests are part of user and nice.
        const FIELDS: usize = 8;
        let ticks = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
        let ticks: Vec<u64> = ticks.take(FIELDS).map_while(|word| word.parse().ok()).collect();
        Self { all: ticks.iter().sum(), stolen: ticks.get(FIELDS - 1).copied().unwrap_or(0) }
    }

    /// How much of them other guests have had since then, in hundredths.
    pub(crate) fn stolen_since(self, before: Self) -> u64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.stolen.saturating_sub(before.stolen) * 100 / all
    }
}
