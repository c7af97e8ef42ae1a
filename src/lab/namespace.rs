//! Network namespaces without names, and the way to become allowed to make them.
//!
//! A namespace is held open by a descriptor and nothing else: no file under `/run/netns`, so any
//! number of labs and tests run side by side, no mount is needed without root, and when the lab
//! ends, however it ends, the kernel takes back its namespaces with all links in them. To work
//! inside one, a thread of its own enters it; what that thread spawns is inside as well.
//!
//! Without root, [`enter_user_namespace`] first makes the process root of a namespace of its own.
//! That must happen before the process has a second thread; the kernel refuses it later.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::{fmt, thread};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getegid, geteuid};

/// A network namespace; freed when the last clone is dropped and no process is left in it.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    file: Arc<File>,
}

/// Why something in a namespace could not be done.
#[derive(Debug)]
pub enum NamespaceError {
    /// Neither root nor user namespaces: nothing in the lab is possible.
    Refused(Errno),
    /// A namespace could not be made or entered.
    System(&'static str, io::Error),
    /// The `ip` program is not installed, or not executable.
    NoIp(io::Error),
    /// A program refused these commands, with these words.
    Refusal(String, String),
}

impl fmt::Display for NamespaceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_) => out.write_str(
                "this user may not create network namespaces (user namespaces are disabled here): \
                 run it with sudo",
            ),
            Self::System(what, _) => out.write_str(what),
            Self::NoIp(_) => {
                out.write_str("the program `ip` cannot be run: install the package iproute2")
            }
            Self::Refusal(commands, said) => write!(out, "`{commands}` was refused: {said}"),
        }
    }
}

impl std::error::Error for NamespaceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(error) => Some(error),
            Self::System(_, error) | Self::NoIp(error) => Some(error),
            Self::Refusal(..) => None,
        }
    }
}

/// Makes sure that this process may make network namespaces, and takes it off the host's network:
/// into a network namespace of its own where it may, else into a user namespace in which it is
/// root as well.
///
/// # Errors
/// When the kernel allows neither, or the process already has several threads. The process is
/// unchanged then.
pub fn enter_user_namespace() -> Result<(), NamespaceError> {
    let (user, group) = (geteuid(), getegid());
    // The process itself needs no network: leaving the host's is the trial and a safeguard.
    if unshare(CloneFlags::CLONE_NEWNET).is_ok() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(NamespaceError::Refused)?;
    let write = |path: &str, text: String| {
        fs::write(path, text).map_err(|error| NamespaceError::System("map the user", error))
    };
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {user} 1"))?;
    write("/proc/self/gid_map", format!("0 {group} 1"))
}

impl Namespace {
    /// Makes a namespace in which only loopback exists, and that is down.
    ///
    /// # Errors
    /// When this process may not make namespaces.
    pub fn new(name: &str) -> Result<Self, NamespaceError> {
        let made = thread::scope(|scope| {
            scope
                .spawn(|| {
                    unshare(CloneFlags::CLONE_NEWNET).map_err(NamespaceError::Refused)?;
                    File::open("/proc/thread-self/ns/net")
                        .map_err(|error| NamespaceError::System("open the new namespace", error))
                })
                .join()
        });
        let file = Arc::new(joined(made)?);
        Ok(Self { name: name.to_owned(), file })
    }

    /// What it was called when it was made; for messages only.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path by which other programs started by this process find the namespace.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Moves the calling thread into the namespace, for the rest of its life.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter(&self) -> Result<(), NamespaceError> {
        setns(self.file.as_ref(), CloneFlags::CLONE_NEWNET)
            .map_err(|errno| NamespaceError::System("enter a namespace", errno.into()))
    }

    /// Does `work` inside: sockets it opens belong to the namespace and keep working outside.
    ///
    /// # Errors
    /// When the namespace cannot be entered; `work` has not run then.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        joined(thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.enter()?;
                    Ok(work())
                })
                .join()
        }))
    }

    /// Runs `ip` commands inside, one a line, in one process; the first refusal ends it.
    ///
    /// # Errors
    /// When `ip` is missing or refuses one of them; those before it stay in effect.
    pub fn ip(&self, commands: &str) -> Result<(), NamespaceError> {
        self.run(|| {
            let mut child = Command::new("ip")
                .args(["-batch", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(NamespaceError::NoIp)?;
            if let Some(mut input) = child.stdin.take() {
                // A refusal shows in the exit code; the broken pipe it may cause says nothing.
                let _ = input.write_all(commands.as_bytes());
            }
            let output = child.wait_with_output().map_err(NamespaceError::NoIp)?;
            if output.status.success() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            Err(NamespaceError::Refusal(
                format!("ip {}", commands.trim().replace('\n', "; ")),
                said,
            ))
        })?
    }

    /// What a program prints when it is run inside: for `ip -j` and for diagnoses.
    ///
    /// # Errors
    /// When it cannot be started or says that it failed.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Result<String, NamespaceError> {
        self.run(|| {
            let output = Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .output()
                .map_err(NamespaceError::NoIp)?;
            if output.status.success() {
                return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
            }
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(NamespaceError::Refusal(format!("{program} {}", arguments.join(" ")), said))
        })?
    }

    /// Sets a value under `/proc/sys/net` as it is seen inside.
    ///
    /// # Errors
    /// When there is no such value or it may not be set.
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<(), NamespaceError> {
        self.run(|| fs::write(format!("/proc/sys/net/{name}"), value))?
            .map_err(|error| NamespaceError::System("set a network sysctl", error))
    }
}

/// Gives what a thread gave; a panic in it goes on in the caller.
fn joined<T>(ended: thread::Result<T>) -> T {
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
