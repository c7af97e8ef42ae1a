//! The start of a program: user, environment, group, pipes. May wait for a disk or a directory
//! service, so it is called in a thread that may block.
//!
//! Capabilities that systemd gives the daemon as ambient ones would pass to every program. They
//! are per thread: [`shed_capabilities`] takes them from the thread that calls it, before it makes
//! the threads that call [`start`].

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::{Gid, Uid, User};

use super::{Program, children};

/// Where programs that a program calls by name are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a program was not started.
#[derive(Debug)]
pub enum Refused {
    /// The kernel did not start it.
    NotRun(io::Error),
    /// There is no such user on this host.
    NoSuchUser(String),
    /// Its user could not be looked up.
    UserUnknown(String, nix::Error),
    /// Starting it took longer than it has.
    TooSlow(Duration),
    /// Its last run cannot be ended; the kernel waits for something.
    StillRunning,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun(error) => write!(out, "cannot be run: {error}"),
            Self::NoSuchUser(user) => write!(out, "cannot be run: there is no user {user}"),
            Self::UserUnknown(user, error) => {
                write!(out, "cannot be run: user {user} cannot be looked up: {error}")
            }
            Self::TooSlow(limit) => {
                write!(out, "could not be started within {} ms", limit.as_millis())
            }
            Self::StillRunning => out.write_str("its last run cannot be killed and still runs"),
        }
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotRun(source) => Some(source),
            Self::UserUnknown(_, source) => Some(source),
            Self::NoSuchUser(_) | Self::TooSlow(_) | Self::StillRunning => None,
        }
    }
}

/// Takes from the calling thread, and from threads that it makes later, what would pass to
/// programs. What the thread itself may do stays.
///
/// # Errors
/// When the kernel refuses; then programs would have the daemon's rights.
pub fn shed_capabilities() -> Result<(), io::Error> {
    caps::clear(None, caps::CapSet::Ambient).map_err(io::Error::other)
}

/// Starts the program; returns it with the reading end of what it prints.
pub(super) fn start(program: &Program) -> Result<(Child, OwnedFd), Refused> {
    let user = program.user.as_deref().map(look_up).transpose()?.flatten();
    let (reader, writer) = io::pipe().map_err(Refused::NotRun)?;
    let again = writer.try_clone().map_err(Refused::NotRun)?;
    // A command without words is refused by the configuration; the kernel refuses it as well.
    let mut command = Command::new(program.command.first().map_or("", String::as_str));
    command
        .args(program.command.iter().skip(1))
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C.UTF-8")
        .envs(program.environment.iter().map(|(key, value)| (key, value)))
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(again);
    if let Some((uid, gid)) = user {
        // As root this drops the supplementary groups too.
        command.uid(uid.as_raw()).gid(gid.as_raw());
    }
    let child = children::spawn(&mut command).map_err(Refused::NotRun)?;
    Ok((child, OwnedFd::from(reader)))
}

/// The numbers of a user; nothing if that is who we are.
fn look_up(name: &str) -> Result<Option<(Uid, Gid)>, Refused> {
    let found = User::from_name(name).map_err(|error| Refused::UserUnknown(name.into(), error))?;
    let user = found.ok_or_else(|| Refused::NoSuchUser(name.to_owned()))?;
    Ok((user.uid != Uid::effective()).then_some((user.uid, user.gid)))
}
