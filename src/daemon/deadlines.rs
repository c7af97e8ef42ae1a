//! Until when the kernel may answer: said by the protocol thread, acted upon by the lease thread.
//!
//! ```text
//!   protocol thread --- vouch, grant ---> two atomic numbers ---> lease thread
//!                    \-- unpark ------------------------------------^
//! ```
//!
//! The lease thread looks now and then, which is enough while a deadline only moves on. It is woken
//! when a door has to open that was closed, so that a take-over does not wait for it, and when a
//! deadline has come nearer, because what was given up must not be answered. Never waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::thread::Thread;

use crate::kernel::Door;
use crate::protocol::Instant;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    vouched: AtomicU64,
    granted: AtomicU64,
    reader: OnceLock<Waker>,
}

/// Wakes a thread that is parked.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

impl Deadlines {
    /// This node answers on its own word until then; not asked for again, that simply passes.
    pub(crate) fn vouch(&self, now: Instant, until: Instant) {
        self.say(&self.vouched, now, until);
    }

    /// The voters' leases end then; without any, what was granted is over now.
    pub(crate) fn grant(&self, now: Instant, until: Option<Instant>) {
        self.say(&self.granted, now, until.unwrap_or(Instant::START));
    }

    fn say(&self, deadline: &AtomicU64, now: Instant, until: Instant) {
        let before = Instant::from_nanos(deadline.swap(until.as_nanos(), Ordering::Relaxed));
        let opens = before <= now && until > now;
        if opens || until < before {
            self.wake_reader();
        }
    }

    /// Has the lease thread look at once, because what it is to do has changed.
    pub(crate) fn wake_reader(&self) {
        if let Some(reader) = self.reader.get() {
            reader.wake_by_ref();
        }
    }

    /// Until when a door may be open.
    pub(crate) fn until(&self, door: Door) -> Instant {
        let deadline = match door {
            Door::Vouched => &self.vouched,
            Door::Granted => &self.granted,
        };
        Instant::from_nanos(deadline.load(Ordering::Relaxed))
    }

    /// When both are over.
    pub(crate) fn last(&self) -> Instant {
        self.until(Door::Vouched).max(self.until(Door::Granted))
    }

    /// The calling thread is the one to be woken; it parks when it has nothing to do. The first
    /// stays it.
    pub(crate) fn wake_this_thread(&self) {
        self.wake(Waker::from(Arc::new(Parked(std::thread::current()))));
    }

    fn wake(&self, reader: Waker) {
        // One lease thread is started.
        let _ = self.reader.set(reader);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Sleeper(AtomicU32);

    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn the_reader_is_woken_when_a_door_opens_or_is_given_up() {
        let (deadlines, sleeper) = (Deadlines::default(), Arc::new(Sleeper::default()));
        deadlines.wake(Waker::from(Arc::clone(&sleeper)));
        let woken = |what: &str, times: u32| {
            assert_eq!(sleeper.0.swap(0, Ordering::Relaxed), times, "{what}");
        };
        deadlines.vouch(at(1000), at(1600));
        woken("opens for the first time", 1);
        deadlines.vouch(at(1100), at(1700));
        woken("only moves on", 0);
        deadlines.grant(at(1100), None);
        woken("there was nothing", 0);
        deadlines.grant(at(1200), Some(at(3000)));
        woken("is granted", 1);
        assert_eq!(deadlines.last(), at(3000));
        deadlines.grant(at(1300), Some(at(3100)));
        woken("is prolonged", 0);
        deadlines.grant(at(1400), Some(at(2000)));
        woken("is shortened", 1);
        deadlines.grant(at(1500), None);
        woken("is given up", 1);
        assert_eq!(deadlines.until(Door::Granted), Instant::START);
        assert_eq!(deadlines.last(), at(1700));
        deadlines.vouch(at(1700), at(2300));
        woken("opens again after an end", 1);
    }
}
