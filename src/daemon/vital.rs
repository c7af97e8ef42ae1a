//! What the threads of the daemon may know of each other while they run.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use super::deadlines::Deadlines;
use super::lateness::LatenessCounts;
use super::removals::Removals;

/// What other threads may read of the loop while it runs.
#[derive(Debug, Default)]
pub(crate) struct Vital {
    /// Turns made.
    pub turns: AtomicU64,
    /// Turns that the kernel thread made.
    pub kernel_turns: AtomicU64,
    /// Reports dropped because nobody took the earlier ones.
    pub reports_dropped: AtomicU64,
    /// Events that could not be written to the disk.
    pub events_not_written: Arc<AtomicU64>,
    /// The process that guards this one, and how many have been lost.
    pub guardian: AtomicU64,
    /// See `guardian`.
    pub guardians_lost: AtomicU64,
    /// The thread that looks after it, to be woken when it is to be told something.
    pub guardian_thread: OnceLock<Thread>,
    /// What the guardian has said, and how the renewals of the lease go.
    pub removals: Removals,
    /// Until when the kernel may answer for our addresses.
    pub deadlines: Deadlines,
    /// Whether the thread has real-time priority.
    pub real_time: AtomicBool,
    /// How late the loop was, at each of its wake-ups.
    pub lateness: LatenessCounts,
}
