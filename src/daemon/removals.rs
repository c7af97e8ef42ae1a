//! What the guardian removed, and why: so that nobody else is blamed for it.
//!
//! ```text
//!   guardian: says so --- pipe ---> here <--- asked by the kernel thread that misses an address
//!             then removes                    |
//!   lease thread: begins, ends a renewal -----+--> "nf_tables took 472 ms"
//! ```
//!
//! The guardian writes before it acts, so whoever sees an address missing finds its word. The pipe
//! is read by the kernel thread itself, which therefore waits for no other thread.

use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::clock;
use super::will::Word;
use crate::protocol::{Instant, Remover};

/// A renewal that took less does not explain why a lease was over.
const LONG: Duration = Duration::from_millis(100);
/// One that ended longer ago does not either.
const LATELY: Duration = Duration::from_secs(2);

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    said: Mutex<Said>,
    /// When the renewal under way began, in nanoseconds of the daemon's clock; 0 without one.
    begun: AtomicU64,
    /// How long the last long one took, and when it ended.
    took: AtomicU64,
    ended: AtomicU64,
}

#[derive(Debug, Default)]
struct Said {
    pipe: Option<File>,
    unread: Vec<u8>,
    /// Told by a guardian and not asked for yet.
    word: Option<Word>,
}

impl Said {
    /// Reads what is there; the pipe does not wait.
    fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut bytes = [0; 512];
        while let Ok(length @ 1..) = pipe.read(&mut bytes) {
            self.unread.extend_from_slice(&bytes[..length]);
        }
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let word = std::str::from_utf8(&line).ok().and_then(Word::read);
            self.word = word.or(self.word.take());
        }
    }
}

impl Removals {
    /// A guardian speaks through this pipe from now on, which does not wait.
    pub(crate) fn hear(&self, pipe: File) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.read();
        said.unread.clear();
        said.pipe = Some(pipe);
    }

    /// A renewal begins.
    pub(crate) fn renewal_begins(&self, now: Instant) {
        self.begun.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// It has ended.
    pub(crate) fn renewal_ended(&self, now: Instant) {
        let begun = Instant::from_nanos(self.begun.swap(0, Ordering::Relaxed));
        let took = now.since(begun);
        if took >= LONG {
            self.took.store(nanos(took), Ordering::Relaxed);
            self.ended.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// What a guardian has removed since this was last asked.
    pub(crate) fn take(&self) -> Option<Remover> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.read();
        let Word::Removing { unrenewed } = said.word.take()?;
        let renewal = self.long_renewal(clock::now());
        Some(Remover::Guardian { unrenewed: Duration::from_nanos(unrenewed), renewal })
    }

    /// The long renewal of late, or the one under way.
    fn long_renewal(&self, now: Instant) -> Duration {
        let begun = Instant::from_nanos(self.begun.load(Ordering::Relaxed));
        if begun > Instant::START && now.since(begun) >= LONG {
            return now.since(begun);
        }
        let ended = Instant::from_nanos(self.ended.load(Ordering::Relaxed));
        let lately = ended > Instant::START && now.since(ended) < LATELY;
        let took = Duration::from_nanos(self.took.load(Ordering::Relaxed));
        if lately { took } else { Duration::ZERO }
    }
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use nix::fcntl::OFlag;
    use nix::unistd::pipe2;

    use super::*;

    fn pipe() -> (File, File) {
        let (reads, writes) = pipe2(OFlag::O_NONBLOCK).unwrap();
        (File::from(reads), File::from(writes))
    }

    fn word(unrenewed: u64) -> String {
        Word::Removing { unrenewed }.text()
    }

    #[test]
    fn the_last_word_is_told_once_and_survives_its_guardian() {
        let removals = Removals::default();
        assert_eq!(removals.take(), None, "there is no guardian");
        let (reads, mut writes) = pipe();
        removals.hear(reads);
        assert_eq!(removals.take(), None, "it has said nothing");
        writes.write_all((word(1) + &word(550_000_000)).as_bytes()).unwrap();
        let unrenewed = Duration::from_millis(550);
        let expected = Remover::Guardian { unrenewed, renewal: Duration::ZERO };
        assert_eq!(removals.take(), Some(expected));
        assert_eq!(removals.take(), None);
        writes.write_all(word(550_000_000).as_bytes()).unwrap();
        drop(writes);
        removals.hear(pipe().0);
        assert_eq!(removals.take(), Some(expected), "said by the one before");
    }

    #[test]
    fn a_long_renewal_is_the_cause_while_it_lasts_and_for_a_while() {
        let removals = Removals::default();
        let at = Instant::from_millis;
        removals.renewal_begins(at(1000));
        assert_eq!(removals.long_renewal(at(1050)), Duration::ZERO, "it is not long yet");
        assert_eq!(removals.long_renewal(at(1400)), Duration::from_millis(400));
        removals.renewal_ended(at(1472));
        assert_eq!(removals.long_renewal(at(1500)), Duration::from_millis(472));
        removals.renewal_begins(at(1500));
        removals.renewal_ended(at(1501));
        assert_eq!(removals.long_renewal(at(1600)), Duration::from_millis(472));
        assert_eq!(removals.long_renewal(at(4000)), Duration::ZERO);
    }
}
