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

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

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
    let value = ThreadPriorityValue::try_from(PRIORITY).expect("PRIORITY is between 0 and 99");
    set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(value),
        ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin),
    )
    .map_err(NotPermitted::Precedence)
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
