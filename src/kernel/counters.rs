//! What the kernel thread counts, for `status`.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number; but for those that say what is kept now, it only grows. Reading it costs nothing and disturbs nobody.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The count so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// For what may shrink as well.
    pub(super) fn set(&self, value: usize) {
        self.0.store(u64::try_from(value).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn add(&self, count: usize) {
        self.0.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// Addresses announced.
    pub announcements: Counter,
    /// Neighbours told one by one where an address is, because they had not shown that they knew.
    pub told_directly: Counter,
    /// Lists of neighbours that peers told.
    pub neighbour_lists: Counter,
    /// Questions to neighbours about an address.
    pub questions: Counter,
    /// Announcements asked for while the group was not present.
    pub announcements_ignored: Counter,
    /// Frames that could not be sent.
    pub announcement_errors: Counter,
    /// Times that somebody else's removal of addresses was undone.
    pub repairs: Counter,
    /// Times that the kernel's events came faster than they were read.
    pub overruns: Counter,
    /// Changes that the kernel refused, and breakdowns of the connection to it.
    pub errors: Counter,
    /// Addresses of a dead predecessor that were removed at start.
    pub swept: Counter,
    /// TCP connections ended because their address went.
    pub connections_ended: Counter,
    /// Releases that could not end every connection: too many, or not supported by the kernel.
    pub connections_left: Counter,
    /// Connections told to peers, each again from time to time.
    pub connections_told: Counter,
    /// Connections of peers that are kept now.
    pub connections_remembered: Counter,
    /// Connections of peers that found no room.
    pub connections_refused: Counter,
    /// Notes to the thread of connections that found no room.
    pub connection_notes_lost: Counter,
    /// Packets that had clients of a dead owner learn of its death.
    pub tickles_sent: Counter,
    /// Such packets that could not be sent.
    pub tickles_failed: Counter,
    /// Times that the gate was gone and built again.
    pub gates_rebuilt: Counter,
    /// Tests of whether anybody outside the cluster answers.
    pub reach_tests: Counter,
    /// Groups asked about: who answers for them?
    pub probes: Counter,
    /// Frames in which somebody else claimed an address of ours, or answered for it.
    pub claims_heard: Counter,
    /// Times that more such frames came than were read; the rest was dropped.
    pub claims_floods: Counter,
}
