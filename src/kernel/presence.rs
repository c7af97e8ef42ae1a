//! Whether a daemon of a cluster lives on this host: a name that the kernel gives to one at a time.
//!
//! ```text
//!   daemon:    take the name ---- start ---- announce ---- run ---- die: the kernel frees it
//!   guardian:                                                        take, act, free
//!   another:   is it taken?  yes: leave alone what bears that mark;  no: take, sweep, free
//! ```
//!
//! The name is that of an abstract UNIX socket, which belongs to the network namespace as addresses
//! and tables do, and which goes with the last process that has it. So a mark on an address, or the
//! name of a table, leads to whether anybody is there to look after it. A socket that is bound and
//! does not listen shows that its daemon has not started yet.

use std::io;

use socket2::{Domain, SockAddr, Socket, Type};

use super::mark::Mark;

const EADDRINUSE: i32 = 98;

/// The name, ours for as long as this exists.
#[derive(Debug)]
pub struct Presence {
    socket: Socket,
}

/// What became of taking the name.
#[derive(Debug)]
pub enum Found {
    /// Nobody had it; it is the caller's.
    Nobody(Presence),
    /// Somebody has it who has not started yet, is ending, or sweeps.
    Starting,
    /// A daemon runs.
    Running,
}

impl Presence {
    /// Takes the name that goes with a mark, if nobody has it.
    ///
    /// # Errors
    ///
    /// When there can be no socket.
    pub fn take(mark: Mark) -> io::Result<Found> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        match socket.bind(&name(mark)?) {
            Ok(()) => Ok(Found::Nobody(Self { socket })),
            Err(error) if error.raw_os_error() == Some(EADDRINUSE) => {
                Ok(if is_running(mark)? { Found::Running } else { Found::Starting })
            }
            Err(error) => Err(error),
        }
    }

    /// As [`Presence::take`], for what addresses bear.
    pub(super) fn take_value(value: u32) -> io::Result<Found> {
        Self::take(Mark::from_value(value))
    }

    /// Shows that the daemon has started.
    ///
    /// # Errors
    ///
    /// When the socket cannot listen.
    pub fn announce(&self) -> io::Result<()> {
        self.socket.listen(1)
    }
}

/// Whether a daemon with this mark has started and lives.
///
/// # Errors
///
/// When there can be no socket.
pub fn is_running(mark: Mark) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&name(mark)?) {
        Ok(()) => Ok(true),
        // Nobody takes connections, so that they pile up.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

fn name(mark: Mark) -> io::Result<SockAddr> {
    SockAddr::unix(format!("\0buoy/{:08x}", mark.value()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other tests, and other runs of this one, are in the same namespace.
    fn unique(what: &str) -> Mark {
        let now = tokio::time::Instant::now();
        Mark::of(&format!("{what} {now:?}"))
    }

    fn taken(mark: Mark) -> Presence {
        match Presence::take(mark).unwrap() {
            Found::Nobody(presence) => presence,
            Found::Starting | Found::Running => panic!("{mark:?} is taken"),
        }
    }

    #[test]
    fn one_has_the_name_until_it_ends() {
        let mark = unique("one");
        let presence = taken(mark);
        assert!(matches!(Presence::take(mark).unwrap(), Found::Starting));
        assert!(!is_running(mark).unwrap());
        presence.announce().unwrap();
        for _ in 0..5 {
            assert!(matches!(Presence::take(mark).unwrap(), Found::Running));
            assert!(is_running(mark).unwrap(), "however often it is asked");
        }
        drop(presence);
        assert!(!is_running(mark).unwrap());
        drop(taken(mark));
    }

    #[test]
    fn clusters_do_not_know_each_other() {
        let (one, other) = (unique("a"), unique("b"));
        let presence = taken(one);
        presence.announce().unwrap();
        assert!(!is_running(other).unwrap());
        drop(taken(other));
    }
}
