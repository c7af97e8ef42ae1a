//! Whether the threads that the daemon cannot do without go on: what the watchdog is fed by.
//!
//! Both are woken at each look, so that one that has nothing to do makes a turn too. The kernel
//! thread may be in the kernel for a while, which a claim that nobody else can take must not outlast
//! for ever: then the service manager ends the daemon, and others take over.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::vital::Vital;
use crate::protocol::Instant;

/// The kernel thread hangs if it makes no turn for so long: 4096 addresses of IPv6, 64 in a turn,
/// take it 9 s in all.
const KERNEL_HANGS: Duration = Duration::from_secs(30);

/// What was seen at the last looks.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    protocol: Option<u64>,
    kernel: Option<(u64, Instant)>,
}

impl Turns {
    /// Whether they do.
    pub(crate) fn go_on(&mut self, vital: &Vital, now: Instant) -> bool {
        let turns = Some(vital.turns.load(Ordering::Relaxed));
        let protocol = std::mem::replace(&mut self.protocol, turns) != turns;
        let turns = vital.kernel_turns.load(Ordering::Relaxed);
        let (seen, since) = *self.kernel.get_or_insert((turns, now));
        if seen != turns {
            self.kernel = Some((turns, now));
            return protocol;
        }
        protocol && now.since(since) < KERNEL_HANGS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_thread_that_hangs_starves_the_watchdog() {
        let (vital, mut turns) = (Vital::default(), Turns::default());
        let at = |second: u64| Instant::from_millis(second * 1000);
        let turn = || vital.turns.fetch_add(1, Ordering::Relaxed);
        assert!(turns.go_on(&vital, at(100)), "nothing is known yet");
        assert!(!turns.go_on(&vital, at(105)), "the protocol thread hangs");
        for second in (110..130).step_by(5) {
            turn();
            assert!(turns.go_on(&vital, at(second)), "the kernel thread may take a while");
        }
        turn();
        assert!(!turns.go_on(&vital, at(130)), "the kernel thread hangs");
        vital.kernel_turns.fetch_add(1, Ordering::Relaxed);
        turn();
        assert!(turns.go_on(&vital, at(135)));
    }
}
