//! Precedence for the protocol thread, and memory that is not paged out under it.
//!
//! A host whose processors are all busy must not be late with its heartbeats, or its peers bury
//! it alive. Both calls need a permission (`CAP_SYS_NICE` or `LimitRTPRIO=`, and `CAP_IPC_LOCK`
//! or `LimitMEMLOCK=infinity`); without it the daemon runs all the same and says so once.
//!
//! Only the thread that calls [`take_precedence`] gets it. It starts no threads and no processes
//! (a child would inherit the precedence); the guardian, a process of its own, calls it itself.

use std::fmt;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use thread_priority::{
    NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue,
    ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

use super::clock;
use crate::protocol::Instant;

/// Above every ordinary thread, below the kernel's own threads for interrupts (50), which we
/// need in order to receive anything.
const PRIORITY: u8 = 10;

/// `MCL_ONFAULT` (Linux 4.4), which nix does not name: lock what has been touched, so that
/// stacks and reserves that are never used do not become resident.
const ON_FAULT: i32 = 4;

/// `CAP_IPC_LOCK`.
const CAPABILITY_IPC_LOCK: u32 = 14;

/// What the host does not let us have. The daemon goes on without.
#[derive(Debug)]
pub(crate) enum NotPermitted {
    /// The kernel refused real-time priority.
    Precedence(thread_priority::Error),
    /// Locking is limited; under a limit, later allocations would fail, so it is not tried.
    MemoryLimited,
    /// The kernel refused to lock.
    Memory(nix::Error),
}

impl fmt::Display for NotPermitted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Precedence(source) => write!(
                out,
                "no real-time priority ({source}): give the service CAP_SYS_NICE or LimitRTPRIO=10"
            ),
            Self::MemoryLimited => out.write_str(
                "memory not locked (it is limited): give the service LimitMEMLOCK=infinity",
            ),
            Self::Memory(source) => write!(out, "memory not locked: {source}"),
        }
    }
}

/// Gives the calling thread real-time priority.
pub(crate) fn take_precedence() -> Result<(), NotPermitted> {
    take(PRIORITY)
}

fn take(priority: u8) -> Result<(), NotPermitted> {
    let value = ThreadPriorityValue::try_from(priority).expect("it is between 0 and 99");
    set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(value),
        ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin),
    )
    .map_err(NotPermitted::Precedence)
}

/// For a thread that carries out what those with [`take_precedence`] decide: called at each of its
/// turns, gives it real-time priority one below theirs, but no more than [`SHARE`] of a processor
/// over time: thousands of addresses may take the kernel seconds, and the host has other work.
/// Beyond that the thread goes on as any other until it has rested. Where it is not permitted,
/// nothing happens.
pub(crate) fn allowance() -> Arc<dyn Fn() + Send + Sync> {
    let allowance = Mutex::new(Allowance::default());
    let ordinary = ordinary(nice("/proc/self/stat").unwrap_or(0));
    Arc::new(move || {
        let mut allowance = allowance.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(wanted) = allowance.note(clock::now(), clock::of_this_thread()) else { return };
        let refused = match wanted {
            Wanted::Precedence => take(PRIORITY - 1).is_err(),
            Wanted::Ordinary => give_up(ordinary).is_err(),
        };
        if refused {
            allowance.state = State::Refused;
        }
    })
}

fn give_up(ordinary: ThreadPriorityValue) -> Result<(), NotPermitted> {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
    let priority = ThreadPriority::Crossplatform(ordinary);
    set_thread_priority_and_policy(thread_native_id(), priority, policy)
        .map_err(NotPermitted::Precedence)
}

/// The nice value in a `stat` file of a process or thread: field 19, see proc(5).
fn nice(stat: &str) -> Option<i8> {
    let stat = fs::read_to_string(stat).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(16)?.parse().ok()
}

/// What the library turns into this nice value: it spreads its 100 values over the 40 of nice, the
/// highest first.
fn ordinary(nice: i8) -> ThreadPriorityValue {
    // The middle of each nice value, so that rounding does not decide.
    let halves = 2 * (i32::from(nice) + 20) + 1;
    let value = (99 * (78 - halves) / 78).clamp(0, 99);
    u8::try_from(value).ok().and_then(|value| value.try_into().ok()).unwrap_or_default()
}

/// Of one processor that a thread may use with real-time priority, as one part in so many.
const SHARE: u32 = 5;
/// What it may use at once: the removal and addition of a thousand addresses of IPv4.
const AT_ONCE: Duration = Duration::from_millis(100);

/// What a thread has left of its share.
#[derive(Debug, Default)]
struct Allowance {
    state: State,
    left: Duration,
    at: Instant,
    used: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    New,
    Precedence,
    Ordinary,
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Precedence,
    Ordinary,
}

impl Allowance {
    /// Takes in how much processor time the thread has used by now; says what is to change.
    fn note(&mut self, now: Instant, used: Duration) -> Option<Wanted> {
        let spent = used.saturating_sub(self.used);
        let earned = now.since(self.at) / SHARE;
        (self.at, self.used) = (now, used);
        self.left = self.left.saturating_add(earned).min(AT_ONCE).saturating_sub(spent);
        let wanted = match self.state {
            State::New => Wanted::Precedence,
            State::Precedence if self.left.is_zero() => Wanted::Ordinary,
            State::Ordinary if self.left >= AT_ONCE / 2 => Wanted::Precedence,
            State::Precedence | State::Ordinary | State::Refused => return None,
        };
        if self.state == State::New {
            self.left = AT_ONCE;
        }
        self.state = match wanted {
            Wanted::Precedence => State::Precedence,
            Wanted::Ordinary => State::Ordinary,
        };
        Some(wanted)
    }
}

/// Keeps the memory of this process, present and future, from being paged out.
pub(crate) fn lock_memory() -> Result<(), NotPermitted> {
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(NotPermitted::Memory)?;
    if limit != RLIM_INFINITY && !may_lock_without_limit() {
        return Err(NotPermitted::MemoryLimited);
    }
    let on_fault = MlockAllFlags::from_bits_retain(ON_FAULT);
    let all = MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE;
    mlockall(all | on_fault).map_err(NotPermitted::Memory)
}

/// Reads the effective capabilities; `false` if the kernel does not tell.
fn may_lock_without_limit() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << CAPABILITY_IPC_LOCK) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields 40 and 41 of `/proc/thread-self/stat` are the priority and the policy in force.
    fn in_force() -> (u32, u32) {
        let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, after_name) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        (fields[37].parse().unwrap(), fields[38].parse().unwrap())
    }

    #[test]
    fn a_thread_that_works_too_long_goes_on_as_any_other_until_it_has_rested() {
        let (at, millis) = (Instant::from_millis, Duration::from_millis);
        let mut allowance = Allowance::default();
        assert_eq!(allowance.note(at(5000), millis(40)), Some(Wanted::Precedence), "at its start");
        assert_eq!(allowance.note(at(5010), millis(50)), None);
        assert_eq!(allowance.note(at(5100), millis(120)), None, "80 of 100 ms and some earned");
        assert_eq!(allowance.note(at(5140), millis(180)), Some(Wanted::Ordinary));
        assert_eq!(allowance.note(at(5300), millis(340)), None, "works on");
        assert_eq!(allowance.note(at(5400), millis(340)), None, "has rested for too short");
        assert_eq!(allowance.note(at(5800), millis(341)), Some(Wanted::Precedence));
        assert_eq!(allowance.note(at(9000), millis(341)), None);
        assert_eq!(allowance.left, AT_ONCE, "rest is not saved up");
    }

    #[test]
    fn a_thread_that_gives_up_its_precedence_is_as_nice_as_before() {
        let on_a_thread = |nice_before: i8| {
            let body = move || {
                give_up(ordinary(nice_before)).unwrap();
                nice("/proc/thread-self/stat")
            };
            std::thread::spawn(body).join().unwrap()
        };
        // Higher ones need no permission.
        let own = nice("/proc/self/stat").unwrap();
        for nice_before in own..=19 {
            assert_eq!(on_a_thread(nice_before), Some(nice_before));
        }
    }

    #[test]
    fn precedence_is_in_force_or_refused_with_a_remedy() {
        const ROUND_ROBIN: u32 = 2;
        let (result, after) =
            std::thread::spawn(|| (take_precedence(), in_force())).join().unwrap();
        match result {
            Ok(()) => assert_eq!(after, (u32::from(PRIORITY), ROUND_ROBIN)),
            Err(refused) => {
                assert_eq!(after.1, 0, "policy changed in spite of {refused}");
                assert!(refused.to_string().contains("LimitRTPRIO"), "{refused}");
            }
        }
        assert_eq!(in_force().1, 0, "another thread got the precedence too");
    }
}
