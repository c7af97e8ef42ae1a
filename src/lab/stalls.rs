//! Whether the machine itself stood still, or lost its processors to other guests.
//!
//! The lab and the tests measure time. Where the whole machine does not run for a third of a second,
//! as virtual ones at times do, every figure is one of the machine and not of buoy. The story of the
//! lab says so; the runner of the namespace tests repeats a test that failed beside a long pause or a
//! large share of stolen time. Each processor is watched by a thread of its own: one may stand still
//! while the other runs, and those on it are not moved away.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::clock;

/// How often each thread looks at the clock.
const LOOK: Duration = Duration::from_millis(5);

/// The longest pause of any processor since it was last asked for.
#[derive(Clone, Debug, Default)]
pub struct Stalls(Arc<AtomicU64>);

impl Stalls {
    /// Watches until the process ends.
    ///
    /// # Errors
    /// When the kernel does not tell the processors of this process, or refuses a thread.
    pub fn watch() -> std::io::Result<Self> {
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

    /// Returns the longest pause since this was last called, and begins again.
    #[must_use]
    pub fn longest(&self) -> Duration {
        Duration::from_millis(self.0.swap(0, Ordering::Relaxed))
    }
}

/// What the processors have done since the machine began, in ticks (proc_stat(5)).
#[derive(Clone, Copy, Debug)]
pub struct Processors {
    all: u64,
    stolen: u64,
}

impl Processors {
    /// Reads what they have done until now.
    ///
    /// # Errors
    /// When `/proc/stat` cannot be read.
    pub fn now() -> std::io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/stat")?))
    }

    fn parse(text: &str) -> Self {
        /// user nice system idle iowait irq softirq steal; guests are part of user and nice.
        const FIELDS: usize = 8;
        let ticks = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
        let ticks: Vec<u64> = ticks.take(FIELDS).map_while(|word| word.parse().ok()).collect();
        Self { all: ticks.iter().sum(), stolen: ticks.get(FIELDS - 1).copied().unwrap_or(0) }
    }

    /// Returns how much of them other guests have had since then, in hundredths.
    #[must_use]
    pub fn stolen_since(self, before: Self) -> u64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.stolen.saturating_sub(before.stolen) * 100 / all
    }
}
