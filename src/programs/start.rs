//! The start of a program: user, environment, group, pipes. May wait for a disk or a directory
//! service, so it is called in a thread that may block.
//!
//! Capabilities would pass to programs in three ways: ambient and inheritable ones, which systemd or
//! a container gives the daemon, and the bounding set, all of which a program of root has. Sets are
//! per thread: [`shed_capabilities`] takes the first two from the thread that calls it, before it
//! makes the threads that call [`start`]; that empties the bounding set of a thread of its own. A
//! program whose `user` is root by the word of the file keeps that set: it is meant to have it.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
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
            Self::StillRunning => {
                out.write_str("its previous run cannot be killed and is still running")
            }
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
    for set in [caps::CapSet::Ambient, caps::CapSet::Inheritable] {
        keep_only(set, &caps::CapsHashSet::new())?;
    }
    Ok(())
}

/// Changes a set of the calling thread, unless it is as wanted already: a filter of system calls may
/// refuse even that, where there is nothing to give up.
fn keep_only(set: caps::CapSet, kept: &caps::CapsHashSet) -> Result<(), io::Error> {
    if caps::read(None, set).map_err(io::Error::other)? == *kept {
        return Ok(());
    }
    caps::set(None, set, kept).map_err(io::Error::other)
}

/// Gives up, for the calling thread and those that it makes later, every capability but that of root
/// to use files of other users: a page started by root must reach the socket of the daemon's user.
///
/// # Errors
/// When the kernel refuses; then the thread may do what it could before.
pub fn drop_capabilities() -> Result<(), io::Error> {
    shed_capabilities()?;
    let held = caps::read(None, caps::CapSet::Permitted).map_err(io::Error::other)?;
    let kept = held.into_iter().filter(|one| *one == caps::Capability::CAP_DAC_OVERRIDE).collect();
    // Only root may; others have nothing out of the set either.
    let _ = caps::clear(None, caps::CapSet::Bounding);
    for set in [caps::CapSet::Effective, caps::CapSet::Permitted] {
        keep_only(set, &kept)?;
    }
    Ok(())
}

/// Starts the program; returns it with the reading end of what it prints.
pub(super) fn start(program: &Program) -> Result<(Child, OwnedFd), Refused> {
    let named = program.user.as_deref().map(look_up).transpose()?;
    let is_root = named.is_some_and(|(uid, _)| uid.is_root());
    let user = named.filter(|(uid, _)| *uid != Uid::effective());
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
    let child = if is_root { children::spawn(&mut command) } else { spawn_bounded(&mut command) };
    Ok((child.map_err(Refused::NotRun)?, OwnedFd::from(reader)))
}

/// Starts it from a thread that has no bounding set, and so leaves none to it.
fn spawn_bounded(command: &mut Command) -> io::Result<Child> {
    thread::scope(|scope| {
        let spawn = || {
            // Only root may. Without that right a program gets nothing out of the set either, but
            // by executables whose files say so.
            let _ = caps::clear(None, caps::CapSet::Bounding);
            children::spawn(command)
        };
        let thread = thread::Builder::new().spawn_scoped(scope, spawn)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts it ended")))
    })
}

/// The numbers of a user.
fn look_up(name: &str) -> Result<(Uid, Gid), Refused> {
    let found = User::from_name(name).map_err(|error| Refused::UserUnknown(name.into(), error))?;
    let user = found.ok_or_else(|| Refused::NoSuchUser(name.to_owned()))?;
    Ok((user.uid, user.gid))
}
