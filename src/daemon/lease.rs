//! Renews the kernel's leases for as long as the protocol thread lives and is sure of itself, and
//! lets the guardian know.
//!
//! ```text
//!   protocol thread: after each step, "this node may answer until then"   (see deadlines)
//!                                             |
//!   this thread, now and then, and when woken: --> renew for what is left --> doors (kernel::gate)
//!                                              \-> tell ------------------> the guardian
//! ```
//!
//! A thread of its own, because the way to the kernel may be held up, and heartbeats must not be;
//! that others change their rules does not hold up a renewal (see `kernel::renewal`). It also looks
//! whether the gate is whole, and puts it back. If it is late, or the protocol thread is, the kernel closes
//! the doors by itself; nobody has to notice anything for that. No door is ever left open for
//! longer than its deadline: a write that took long is done again with what is left then.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::clock;
use super::event_loop::Vital;
use super::guardian::Pulse;
use super::realtime;
use crate::kernel::{Door, Kernel, Lease, Renewal};
use crate::protocol::{Instant, shortened};

/// Between two renewals: a quarter of what is left of the shorter lease, so that three may fail, but
/// not so often that an idle daemon costs more than it must. With profile `lan` the doors are then
/// open for at least as long as peers wait before they take over, also if this thread stands still
/// right before a renewal.
const PACE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
const PACE_DIVISOR: u32 = 4;
/// A gate that others can flush is looked at more often: it is to be back within 150 ms.
const WATCHED_PACE: Duration = Duration::from_millis(100);
/// What a write to the kernel may take, and is taken off what is left of a lease for that: the
/// kernel counts from when it carries it out.
const WRITE: Duration = Duration::from_millis(1);
/// A gate that cannot be put back is tried again after so long.
const AGAIN: Duration = Duration::from_millis(20);

/// What the thread works with.
pub(crate) struct Parts {
    /// `None` where there is no gate.
    pub(crate) lease: Option<Lease>,
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) vital: Arc<Vital>,
    /// To the guardian.
    pub(crate) pulse: Pulse,
}

/// The running thread.
pub(crate) struct LeaseKeeper {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl LeaseKeeper {
    /// Starts to renew.
    pub(crate) fn spawn(parts: Parts) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let body = move || {
            // The protocol thread has told why, if it is not permitted.
            let _ = realtime::take_precedence();
            parts.keep(&told);
        };
        let thread = thread::Builder::new().name("lease".to_owned()).spawn(body)?;
        Ok(Self { ended, thread })
    }

    /// Ends it; what was granted runs out.
    pub(crate) fn stop(self) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the lease thread panicked");
        }
    }
}

impl Parts {
    fn keep(mut self, ended: &AtomicBool) {
        self.vital.deadlines.wake_this_thread();
        // What the process before has left open counts as opened here.
        let open = Door::ALL.map(|door| self.vital.deadlines.until(door));
        let open = open.map(|until| Some(until).filter(|until| *until > Instant::START));
        let mut doors = self.lease.take().map(|lease| Doors { lease, open, lost: false });
        loop {
            let over = ended.load(Ordering::Relaxed);
            let back = doors.as_mut().and_then(|doors| doors.keep(&self.vital, &self.kernel));
            let deadlines = Door::ALL.map(|door| self.vital.deadlines.until(door));
            let owned = doors.as_ref().is_none_or(|doors| doors.lease.is_owned());
            let pause = back.unwrap_or_else(|| pace(deadlines, clock::now(), owned));
            let last = self.vital.deadlines.last();
            if last > clock::now() {
                self.pulse.alive(last);
            }
            if over {
                // Once more since it was told to end: nothing that was vouched for is missing.
                return;
            }
            thread::park_timeout(pause);
        }
    }
}

/// What of the kernel this thread holds.
struct Doors {
    lease: Lease,
    /// Until when each door is open, as far as is known; `None` if it is closed.
    open: [Option<Instant>; Door::ALL.len()],
    /// The gate is gone and could not be put back.
    lost: bool,
}

impl Doors {
    /// Brings every door to where it shall be; returns when to look again if not at the usual pace.
    fn keep(&mut self, vital: &Vital, kernel: &Kernel) -> Option<Duration> {
        // While there is no gate there is no door either; it comes back with its doors open.
        let kept = if self.lost { Vec::new() } else { self.keep_doors(vital) };
        let mut gone = self.lost;
        // A gate that is not whole holds nothing back, also while nothing is to be let through.
        // What is another node's is asked for at once, but waits for whoever changes his rules.
        let withdrawn = if self.lost { Renewal::Done } else { self.lease.withdraw() };
        for kept in kept.into_iter().chain([withdrawn, self.lease.look()]) {
            match kept {
                Renewal::Done => {}
                Renewal::Gone => gone = true,
                Renewal::Failed(error) => {
                    tracing::warn!(%error, "the lease in the kernel cannot be renewed");
                }
            }
        }
        if gone { self.repair(vital, kernel) } else { None }
    }

    fn keep_doors(&mut self, vital: &Vital) -> Vec<Renewal> {
        Door::ALL.map(|door| self.keep_door(door, vital)).into()
    }

    /// Puts the gate back; while that fails, groups that must not be without it are given up.
    fn repair(&mut self, vital: &Vital, kernel: &Kernel) -> Option<Duration> {
        let begun = clock::now();
        let untils = Door::ALL.map(|door| vital.deadlines.until(door));
        match self.lease.repair(untils.map(|until| left(until, begun, WRITE))) {
            Ok(()) => {
                self.open = untils.map(Some);
                if clock::now().since(begun) > WRITE {
                    // The kernel counts from when it has carried this out.
                    self.keep_doors(vital);
                }
                self.lost = false;
                kernel.gate_is_back();
                tracing::warn!(
                    "another program changed or removed the gate's tables in nf_tables: restored"
                );
                None
            }
            Err(error) => {
                if !self.lost {
                    tracing::error!(
                        %error,
                        "another program changed or removed the gate's tables in nf_tables, and \
                         they cannot be restored: until they can, groups in mode majority are \
                         released and others are served without a gate"
                    );
                }
                self.lost = true;
                kernel.lose_gate();
                Some(AGAIN)
            }
        }
    }

    fn keep_door(&mut self, door: Door, vital: &Vital) -> Renewal {
        let mut allowed = WRITE;
        let before = self.open[door as usize];
        let mut first = true;
        loop {
            let begun = clock::now();
            vital.removals.renewal_begins(begun);
            let until = vital.deadlines.until(door);
            let left = left(until, begun, allowed);
            let open = &mut self.open[door as usize];
            let renewal = match left {
                Some(left) => {
                    *open = Some(until);
                    self.lease.renew(door, left)
                }
                None if open.is_some() => self.lease.close(door),
                None => return Renewal::Done,
            };
            vital.removals.renewal_ended(clock::now());
            if left.is_none() {
                if !matches!(renewal, Renewal::Failed(_)) {
                    *open = None;
                }
                return renewal;
            }
            let now = clock::now();
            if std::mem::take(&mut first) {
                tell_late(door, before, (begun, now));
            }
            let took = now.since(begun);
            if took <= allowed {
                return renewal;
            }
            allowed = took * 2;
        }
    }
}

/// Tells of a door that has closed because its renewal took so long.
fn tell_late(door: Door, open: Option<Instant>, (begun, now): (Instant, Instant)) {
    if let Some(until) = open.filter(|until| begun < *until && *until < now) {
        tracing::warn!(
            ?door,
            late_ms = now.since(until).as_millis(),
            nf_tables_ms = now.since(begun).as_millis(),
            "a lease was renewed after it had expired, and its addresses did not answer \
             meanwhile: nf_tables was slow, usually because another program changes a large rule \
             set"
        );
    }
}

/// For how long a door may be opened by a write that takes no longer than allowed, by the clock of
/// the kernel's sets.
fn left(until: Instant, now: Instant, allowed: Duration) -> Option<Duration> {
    let left = shortened(until.since(now).saturating_sub(allowed));
    (left >= Duration::from_millis(1)).then_some(left)
}

/// When to renew again; what is over does not hurry, whoever opens it again wakes this thread. `owned`
/// is whether nobody else can change the gate.
fn pace(deadlines: [Instant; Door::ALL.len()], now: Instant, owned: bool) -> Duration {
    let longest = if owned { PACE.1 } else { WATCHED_PACE };
    let left = deadlines.iter().map(|until| until.since(now)).filter(|left| !left.is_zero()).min();
    left.map_or(longest, |left| (left / PACE_DIVISOR).clamp(PACE.0, longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_lease_sets_the_pace() {
        let at = Instant::from_millis;
        let of = |until: [u64; 2], owned| pace(until.map(at), at(1000), owned).as_millis();
        let paced = |vouched, granted| of([vouched, granted], true);
        assert_eq!(paced(1300, 0), 75, "profile fast");
        assert_eq!(paced(1600, 0), 150, "profile lan");
        assert_eq!(paced(1560, 0), 140, "the same, some time after a heartbeat");
        assert_eq!(paced(5000, 0), 1000, "profile vm");
        assert_eq!(paced(5000, 1300), 75, "the other door");
        assert_eq!(paced(1600, 1010), 50, "almost over");
        assert_eq!(paced(1000, 900), 1000, "both are over");
        assert_eq!(of([1300, 0], false), 75, "profile fast, tables that others can flush");
        assert_eq!(of([5000, 0], false), 100, "profile vm, the same");
        assert_eq!(of([1000, 900], false), 100);
    }

    #[test]
    fn a_door_is_never_opened_for_longer_than_is_left() {
        let millis = Duration::from_millis;
        let now = Instant::from_millis(10_000);
        assert_eq!(left(Instant::from_millis(10_601), now, millis(1)), Some(millis(540)));
        assert_eq!(left(Instant::from_millis(10_600), now, millis(400)), Some(millis(180)));
        assert_eq!(left(Instant::from_millis(10_600), now, millis(600)), None);
        assert_eq!(left(Instant::from_millis(10_002), now, millis(1)), None);
        assert_eq!(left(Instant::START, now, millis(1)), None);
    }
}
