//! Two fresh network namespaces joined by a cable: this host and a neighbour.
//!
//! ```text
//!   here:  eth0 10.77.0.1/24 fd77::1/64 <---- veth ----> neighbour: eth0 10.77.0.9/24 fd77::9/64
//! ```
//!
//! Each test has a thread of its own that moves into a new namespace; whatever that thread starts,
//! commands and further threads, is there too, and the kernel removes it all when they end.
//! Without root the test runs itself again inside a user namespace. Where neither is possible the
//! test fails and says what to do.

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, unshare};

use crate::until::{PATIENCE, until};

/// Set for the run inside a user namespace.
const INSIDE: &str = "BUOY_KERNEL_TEST_INSIDE";

/// Held for writing by a test that must run while no other does. Namespaces share the processors,
/// each processor's queue of received frames (`net.core.netdev_max_backlog`), and the number of
/// neighbours (`net.ipv4.neigh.default.gc_thresh3`, 1024): a flood in one of them makes the kernel
/// drop frames of another.
static MACHINE: RwLock<()> = RwLock::new(());

/// Runs `body` with fresh namespaces; `name` is the full name of the test.
pub(crate) fn isolated(name: &str, body: impl FnOnce(&Neighbour) + Send + 'static) {
    // A test that failed says nothing about the others.
    let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    run_isolated(name, body);
}

/// As [`isolated`], while no other test runs: for tests that measure, flood, fill a table, or keep
/// every processor busy.
pub(crate) fn alone(name: &str, body: impl FnOnce(&Neighbour) + Send + 'static) {
    let _exclusive = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
    run_isolated(name, body);
}

fn run_isolated(name: &str, body: impl FnOnce(&Neighbour) + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        again_as_root_of_a_user_namespace(name);
        return;
    }
    let test = thread::spawn(|| {
        enter();
        let neighbour = Neighbour::start();
        ip(&format!("link add eth0 type veth peer name eth0 netns {}", neighbour.thread_id));
        ip("link set lo up");
        ip("link set eth0 address 02:00:00:00:00:01 up");
        ip("addr add 10.77.0.1/24 dev eth0");
        ip("addr add fd77::1/64 dev eth0 nodad");
        neighbour.ip("link set lo up");
        neighbour.ip("link set eth0 address 02:00:00:00:00:09 up");
        neighbour.ip("addr add 10.77.0.9/24 dev eth0");
        neighbour.ip("addr add fd77::9/64 dev eth0 nodad");
        until("the cable carries", || ip("link show eth0").contains("LOWER_UP"));
        until("link-local addresses are ready", || {
            let ready = |shown: String| shown.contains("fe80") && !shown.contains("tentative");
            ready(ip("-6 addr show dev eth0")) && ready(neighbour.ip("-6 addr show dev eth0"))
        });
        body(&neighbour);
    });
    if let Err(panic) = test.join() {
        std::panic::resume_unwind(panic);
    }
}

fn again_as_root_of_a_user_namespace(name: &str) {
    assert!(
        std::env::var_os(INSIDE).is_none(),
        "cannot become root in a user namespace: run these tests as root"
    );
    let this = std::env::current_exe().expect("a running program has a path");
    let outcome = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(this)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let output = outcome.expect("these tests need root, or the command `unshare` of util-linux");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "failed in a user namespace (if it could not be made, run these tests as root):\n{text}{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

fn enter() {
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        panic!("no new network namespace ({error}): run these tests as root on a Linux host");
    }
    // Link-local addresses are ready at once, which saves a second for each test.
    let setting = "/proc/sys/net/ipv6/conf/default/accept_dad";
    std::fs::write(setting, "0").expect("settings of an own namespace can be changed");
}

/// Runs `ip` in the namespace of the calling thread; panics if it fails.
pub(crate) fn ip(arguments: &str) -> String {
    run("ip", arguments)
}

/// Runs a command in the namespace of the calling thread; panics if it fails.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    match try_run(program, arguments) {
        Ok(text) => text,
        Err(text) => panic!("`{program} {arguments}` failed: {text}"),
    }
}

/// Runs a command in the namespace of the calling thread.
pub(crate) fn try_run(program: &str, arguments: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    let command = command.args(arguments.split_whitespace()).stdin(Stdio::null());
    let output = command.output().map_err(|error| {
        format!("cannot run `{program}` ({error}); these tests need it to be installed")
    })?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Nobody listens here.
const CLOSED_PORT: u16 = 9;

type Job = Box<dyn FnOnce() + Send>;

/// A thread in the other namespace.
pub(crate) struct Neighbour {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    thread_id: i32,
}

impl Neighbour {
    /// In a namespace of its own, without any link.
    pub(crate) fn start() -> Self {
        let (jobs, inbox): (Sender<Job>, Receiver<Job>) = channel();
        let (told, ready) = channel();
        let thread = thread::spawn(move || {
            enter();
            told.send(nix::unistd::gettid().as_raw()).expect("the test waits for this");
            inbox.into_iter().for_each(|job| job());
        });
        let thread_id = ready.recv().expect("the neighbour has a namespace");
        Self { jobs: Some(jobs), thread: Some(thread), thread_id }
    }

    /// Names its namespace to `ip`.
    pub(crate) fn thread_id(&self) -> i32 {
        self.thread_id
    }

    /// Does something in the neighbour's namespace and waits for it.
    pub(crate) fn perform<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (told, outcome) = channel();
        let jobs = self.jobs.as_ref().expect("taken only when dropped");
        jobs.send(Box::new(move || {
            let _ = told.send(job());
        }))
        .expect("the neighbour listens");
        outcome.recv().expect("the neighbour's job did not panic")
    }

    /// Runs `ip` there.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let arguments = arguments.to_owned();
        self.perform(move || ip(&arguments))
    }

    /// Runs many commands of `ip` there.
    pub(crate) fn ip_batch(&self, commands: String) {
        self.perform(move || {
            let mut command = Command::new("ip");
            let command = command.args(["-batch", "-"]).stdin(Stdio::piped());
            let mut child = command.spawn().expect("these tests need `ip`");
            let mut input = child.stdin.take().expect("it was asked for");
            input.write_all(commands.as_bytes()).expect("it reads");
            drop(input);
            assert!(child.wait().expect("it ends").success(), "ip refused some command");
        });
    }

    /// The hardware address that it knows for the address.
    pub(crate) fn knows(&self, address: &str) -> String {
        let shown = self.ip(&format!("neigh show {address} dev eth0"));
        let mut words = shown.split_whitespace().skip_while(|word| *word != "lladdr");
        words.nth(1).unwrap_or_default().to_owned()
    }

    /// Whether the address answers: a closed port refuses, nobody at home is silence.
    pub(crate) fn reaches(&self, address: &str) -> bool {
        let closed = SocketAddr::new(address.parse().expect("an address"), CLOSED_PORT);
        self.perform(move || match TcpStream::connect_timeout(&closed, PATIENCE) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionRefused,
        })
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
