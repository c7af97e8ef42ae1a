//! One daemon as a child process in its host's namespace.
//!
//! A thread of its own enters the namespace, starts the program and waits for its end. The
//! program is started through `setpriv --pdeathsig` where util-linux has it, so that no daemon
//! outlives the lab, not even one that was killed; without it the lab cleans up when it ends in
//! any other way.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::clock;
use super::namespace::{Namespace, NamespaceError};

/// A killed process is gone after so long, or the kernel is stuck.
const END_MAX: Duration = Duration::from_secs(10);

/// A started program; killed and reaped when dropped.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    ended: Arc<Mutex<Option<ExitStatus>>>,
}

impl Process {
    /// Starts a program inside a namespace; what it prints is appended to the log file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        namespace: &Namespace,
        program: &Path,
        arguments: &[String],
        log: &Path,
    ) -> Result<Self, NamespaceError> {
        let cannot = |error| NamespaceError::System("start a process", error);
        let log = File::options().create(true).append(true).open(log).map_err(cannot)?;
        let errors = log.try_clone().map_err(cannot)?;
        let mut command = dying_with_us(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log).stderr(errors);
        // A group of its own: Ctrl-C is for the lab, which ends its daemons itself.
        command.process_group(0);
        let (tell, told) = mpsc::channel();
        let ended = Arc::new(Mutex::new(None));
        let (namespace, end) = (namespace.clone(), Arc::clone(&ended));
        thread::Builder::new()
            .name("process".to_owned())
            .spawn(move || {
                let started = namespace.enter().and_then(|()| command.spawn().map_err(cannot));
                let (id, child) = match started {
                    Ok(child) => (Ok(child.id()), Some(child)),
                    Err(error) => (Err(error), None),
                };
                // The receiver waits for this; it cannot be gone.
                let _ = tell.send(id);
                if let Some(child) = child {
                    await_end(child, &end);
                }
            })
            .map_err(cannot)?;
        let gone = |_| cannot(io::Error::other("the thread ended unexpectedly"));
        let id = told.recv().map_err(gone)??;
        Ok(Self { pid: Pid::from_raw(id.cast_signed()), ended })
    }

    /// Its process id; another process may have it once this one has ended.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// How it ended; `None` while it runs.
    #[must_use]
    pub fn ended(&self) -> Option<ExitStatus> {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a signal, if it still runs.
    pub fn signal(&self, signal: Signal) {
        if self.ended().is_none() {
            // It may end at this moment; then the signal has no one to reach, as wanted.
            let _ = kill(self.pid, signal);
        }
    }

    /// Sends a signal to what it has started, then to itself: also its guardian stands still.
    pub fn signal_family(&self, signal: Signal) {
        for child in children(self.pid) {
            // It may end at this moment, as above.
            let _ = kill(child, signal);
        }
        self.signal(signal);
    }

    /// Waits for its end at most so long.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        clock::until(limit, || self.ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        // Reaped here, so that its namespace and sockets are free when the next one starts.
        let _ = self.wait(END_MAX);
    }
}

/// Kills every process that runs in a namespace, such as the one that holds the tables of a daemon
/// whose guardian was killed as well: it would keep the namespace for as long as addresses are in it.
pub(super) fn end_all_in(namespace: &Namespace) {
    let file = |path: String| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let Some(wanted) = file(namespace.path()) else { return };
    for process in processes() {
        if file(format!("/proc/{process}/ns/net")) == Some(wanted) {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
    }
}

/// The numbers of all processes.
fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The processes whose parent is this one, by `/proc/PID/stat`.
fn children(parent: Pid) -> Vec<Pid> {
    let of_parent = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which may contain anything: state, then parent.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let id = rest.split_whitespace().nth(1).and_then(|id| id.parse().ok());
        id == Some(parent.as_raw())
    };
    processes().filter(of_parent).map(Pid::from_raw).collect()
}

fn await_end(mut child: Child, end: &Mutex<Option<ExitStatus>>) {
    // Waiting fails only for a process that is not our child.
    if let Ok(status) = child.wait() {
        *end.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }
}

/// A command that the kernel kills when the thread that started it ends.
fn dying_with_us(program: &Path) -> Command {
    let setpriv = ["/usr/bin/setpriv", "/bin/setpriv"].into_iter().find(|path| {
        // Busybox has a program of this name without the option.
        let help = Command::new(path).arg("--help").output();
        help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--pdeathsig"))
    });
    let Some(setpriv) = setpriv else { return Command::new(program) };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}
