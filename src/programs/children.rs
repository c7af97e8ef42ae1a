//! Which processes are ours to wait for, and those that nobody waits for.
//!
//! As process 1 of a container the daemon is given every process whose parent has ended, such as what
//! a hook left running, and must reap it when it ends. A process that the daemon started itself is
//! waited for where it was started, and by nobody else: it is registered before anybody can look.
//!
//! ```text
//!   start --- shared --> spawn, register            reap_orphans --- alone --> zombies of ours
//!   end   --- wait, forget                                          that are not registered
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError, RwLock};

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// Starts may go on beside each other; whoever reaps looks when there is none.
static STARTING: RwLock<()> = RwLock::new(());
static STARTED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Starts a program that the caller waits for and then calls [`forget`] with its number.
///
/// # Errors
///
/// As [`Command::spawn`].
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let _shared = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let child = command.spawn()?;
    STARTED.lock().unwrap_or_else(PoisonError::into_inner).insert(child.id());
    Ok(child)
}

/// The process with this number has been waited for.
pub fn forget(id: u32) {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
}

/// Reaps children that have ended and that nobody waits for; returns how many there were. Looks
/// through all processes, and not while one is being started: then it is done the next time.
pub fn reap_orphans() -> usize {
    let Ok(_alone) = STARTING.try_write() else { return 0 };
    let started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    let orphans = zombies(std::process::id()).into_iter().filter(|id| !started.contains(id));
    let reaped = orphans.filter(|id| {
        let id = Pid::from_raw(id.cast_signed());
        waitpid(id, Some(WaitPidFlag::WNOHANG)).is_ok()
    });
    reaped.count()
}

/// Children of a process that have ended.
fn zombies(parent: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter(|id| is_zombie_of(*id, parent)).collect()
}

/// `4711 (a name) Z 1 ...`; the name may hold anything.
fn is_zombie_of(id: u32, parent: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace());
    fields.is_some_and(|mut fields| {
        fields.next() == Some("Z") && fields.next() == Some(parent.to_string().as_str())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn what_others_left_is_reaped_and_what_is_waited_for_is_not() {
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let mut left = Command::new("sh");
        let mut left = spawn(left.args(["-c", "(exit 0) & (sleep 0.2) & exit 0"])).unwrap();
        left.wait().unwrap();
        forget(left.id());
        let mut waited_for = spawn(&mut Command::new("true")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut reaped = 0;
        while reaped == 0 || !is_zombie_of(waited_for.id(), std::process::id()) {
            assert!(Instant::now() < deadline, "{reaped} were reaped");
            reaped += reap_orphans();
            std::thread::yield_now();
        }
        reap_orphans();
        assert!(waited_for.wait().unwrap().success(), "it was taken from who waits for it");
        forget(waited_for.id());
    }
}
