//! Daemons that come to their end in ways that no signal of an operator brings about.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::Outcome;
use crate::fence::freeze_both;
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, SOON, Scene, with};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("deadlocked_loop", deadlocked_loop),
    ("kernel_thread_that_comes_late", kernel_thread_that_comes_late),
    ("stalls_of_the_last_node", stalls_of_the_last_node),
    ("killed_for_its_memory", killed_for_its_memory),
];

/// Detection by silence, for a busy machine.
const OUTAGE_MAX: Duration = Duration::from_secs(1);
/// The lease, and what the kernel's timers and the probes may add.
const CLOSED_WITHIN: Duration = Duration::from_millis(600 + 20);

/// The protocol thread does not go on, as in a deadlock, while every other thread of the daemon
/// does. Nobody vouches for the addresses: the gate closes, the guardian removes them, the others
/// serve them. When it goes on it gives way.
fn deadlocked_loop() -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(100))?;
        let pid = scene.cluster.process(victim).ok_or("it does not run")?.pid();
        let thread = thread_of(pid, "protocol")?;
        let stuck = clock::now();
        ptrace::seize(thread, ptrace::Options::empty())?;
        ptrace::interrupt(thread)?;
        waitpid(thread, Some(WaitPidFlag::__WALL))?;
        let outcome = nothing_is_left(scene, victim);
        let figures = scene.figures(stuck);
        // Before anything may fail: a thread that is held cannot be ended.
        ptrace::detach(thread, None)?;
        outcome?;
        assert!(figures.worst <= OUTAGE_MAX, "out for {:?}", figures.worst);
        assert!(figures.both_answer <= CLOSED_WITHIN, "two for {:?}", figures.both_answer);
        scene.back(victim)
    })
}

fn nothing_is_left(scene: &Scene, node: usize) -> Outcome {
    scene.served_by_others(node)?;
    until("the guardian has removed the addresses", SOON, || {
        let holds = |vip| scene.cluster.watch.holders(vip).contains(&node);
        let held = scene.served.iter().filter(|vip| holds(**vip)).count();
        if held == 0 { Ok(()) } else { Err(format!("{held} are there")) }
    })
}

/// One exchange of claims between hosts that hear each other.
const EXCHANGE: Duration = Duration::from_millis(10);

/// The thread of the owner that changes addresses gets no processor, and the whole daemon stands
/// still for half a second, so that its groups are taken. When it goes on it gives way; its
/// addresses stay, because nobody removes them, and are not answered all the same.
fn kernel_thread_that_comes_late() -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(100))?;
        let pid = scene.cluster.process(victim).ok_or("it does not run")?.pid();
        let begin = clock::now();
        // A guardian that ran would remove them, as it must.
        let guardian = freeze_both(scene, victim)?;
        // Nobody takes what its kernel answers for before its lease has ended.
        clock::pause(Duration::from_secs(1));
        let thread = thread_of(pid, "kernel")?;
        ptrace::seize(thread, ptrace::Options::empty())?;
        ptrace::interrupt(thread)?;
        waitpid(thread, Some(WaitPidFlag::__WALL))?;
        kill(Pid::from_raw(pid), Signal::SIGCONT)?;
        let outcome = scene.served_by_others(victim);
        let held = scene.cluster.kernel(victim)?;
        let held = scene.served.iter().filter(|vip| held.holds(**vip)).count();
        let figures = scene.figures(begin);
        // Before anything may fail: a thread that is held cannot be ended.
        ptrace::detach(thread, None)?;
        kill(guardian, Signal::SIGCONT)?;
        outcome?;
        assert!(held > 0, "it has removed its addresses: this shows nothing");
        assert!(figures.both_answer <= EXCHANGE, "two for {:?}", figures.both_answer);
        scene.back(victim)
    })
}

/// The last node alive stands still for 0.9 s, seven times in a row. Its guardian removes the
/// addresses each time, the daemon puts them back and says who it was; the groups stay.
fn stalls_of_the_last_node() -> Outcome {
    with(&Shape::default(), |scene| {
        let last = scene.owner(vip(100))?;
        for other in (0..3).filter(|other| *other != last) {
            scene.cluster.signal(other, Signal::SIGTERM);
        }
        scene.at_rest()?;
        let pid = Pid::from_raw(scene.cluster.process(last).ok_or("it does not run")?.pid());
        for _ in 0..7 {
            kill(pid, Signal::SIGSTOP)?;
            until("the guardian has removed the address", SOON, || {
                let holders = scene.cluster.watch.holders(vip(100));
                if holders.is_empty() { Ok(()) } else { Err(format!("held by {holders:?}")) }
            })?;
            kill(pid, Signal::SIGCONT)?;
            scene.at_rest()?;
        }
        let told = scene.command(last, &["events"])?;
        assert!(told.contains("the guardian removed the address"), "{told}");
        assert!(!told.contains("another program"), "another program is blamed:\n{told}");
        assert!(!told.contains("cannot hold"), "a group was given up:\n{told}");
        Ok(())
    })
}

/// A thread of a process, by its name.
fn thread_of(pid: i32, name: &str) -> Result<Pid, Box<dyn std::error::Error>> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?.path();
        if fs::read_to_string(thread.join("comm"))?.trim_end() == name {
            let id = thread.file_name().and_then(|id| id.to_str()).ok_or("no number")?;
            return Ok(Pid::from_raw(id.parse()?));
        }
    }
    Err(format!("process {pid} has no thread {name}").into())
}

/// The kernel kills the owner's daemon because its memory is used up. The guardian does what it
/// does after any kill.
fn killed_for_its_memory() -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(100))?;
        let confined = Confined::new()?;
        scene.cluster.signal(victim, Signal::SIGTERM);
        scene.away(victim)?;
        confined.around(|| scene.cluster.start(victim))??;
        scene.back(victim)?;
        let begin = clock::now();
        confined.close()?;
        until("the daemon is killed", SOON, || {
            // Whatever needs memory: the answer does not matter, and there may be none.
            let _ = scene.cluster.status(victim);
            let ended = scene.cluster.process(victim).and_then(|process| process.ended());
            ended.map(|_| ()).ok_or_else(|| "it runs".to_owned())
        })?;
        assert!(confined.kills()? > 0, "it has ended, but not for its memory");
        scene.away(victim)?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        scene.cluster.start(victim)?;
        scene.back(victim)
    })
}

/// A control group with a limit of memory, of the first version or the second.
struct Confined {
    parent: PathBuf,
    directory: PathBuf,
    limit: &'static str,
    events: &'static str,
}

/// Whoever is started there may use so much before it is closed.
const ROOMY: &str = "268435456";
/// A daemon has more than this already.
const TIGHT: &str = "1048576";

impl Confined {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let first = Path::new("/sys/fs/cgroup/memory");
        let second = Path::new("/sys/fs/cgroup");
        let (parent, limit, events) = if first.join("cgroup.procs").exists() {
            (first, "memory.limit_in_bytes", "memory.oom_control")
        } else {
            fs::write(second.join("cgroup.subtree_control"), "+memory")?;
            (second, "memory.max", "memory.events")
        };
        let directory = parent.join(format!("buoy-test-{}", std::process::id()));
        fs::create_dir(&directory)?;
        fs::write(directory.join(limit), ROOMY)?;
        Ok(Self { parent: parent.to_owned(), directory, limit, events })
    }

    /// What is started meanwhile by this process stays in the group.
    fn around<T>(&self, start: impl FnOnce() -> T) -> std::io::Result<T> {
        let me = std::process::id().to_string();
        fs::write(self.directory.join("cgroup.procs"), &me)?;
        let started = start();
        fs::write(self.parent.join("cgroup.procs"), &me)?;
        Ok(started)
    }

    /// Leaves no room. The first version of control groups refuses a limit below what is in use
    /// and cannot be freed: then the least that it takes, and whoever wants more is killed.
    fn close(&self) -> std::io::Result<()> {
        let limit = self.directory.join(self.limit);
        if fs::write(&limit, TIGHT).is_ok() {
            return Ok(());
        }
        let used = fs::read_to_string(self.directory.join("memory.usage_in_bytes"))?;
        fs::write(limit, used.trim_end())
    }

    /// How many processes have been killed for it.
    fn kills(&self) -> Result<u64, Box<dyn std::error::Error>> {
        let text = fs::read_to_string(self.directory.join(self.events))?;
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok(line.ok_or("kills are not told")?.parse()?)
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        // Fails while somebody is in it; an empty directory harms nobody.
        let _ = fs::remove_dir(&self.directory);
    }
}
