//! Keeps the tables owned when the daemon and its guardian are both dead.
//!
//! Tables belong to the netlink socket that made them, and the socket lives for as long as any
//! process has it. So a third process has a copy of it and does nothing else: what a dead daemon left
//! closed stays closed, whoever says `flush ruleset`.
//!
//! ```text
//!   holder:                  listen on @buoy/MARK/tables ---- closes the socket, then the connection
//!   guardian, next start:    connect ---- wait for the end of the connection ---- change the tables
//! ```
//!
//! It ends when it is asked to, and by itself when the daemon is dead and none of its addresses is
//! left. The name is abstract, and one of the network namespace, as that of `presence`.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::dup2_stdin;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::time::Instant as Moment;

use super::mark::Mark;
use super::{Kernel, tables, watch};

/// How long the name of another holder, which ends, is waited for.
const NAMED_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(20);
/// How long a holder may take to let go: it has nothing else to do.
const LETS_GO_WITHIN: Duration = Duration::from_millis(500);
/// How often a holder without a daemon looks whether any address is left, in milliseconds.
const LEFT_EACH: u16 = 1000;

impl Kernel {
    /// A copy of the socket that owns the tables of the gate; `None` where nobody owns them.
    ///
    /// # Errors
    ///
    /// When it cannot be copied.
    pub fn tables_socket(&self) -> io::Result<Option<OwnedFd>> {
        self.tables.as_ref().map_or(Ok(None), |tables| tables::take(tables).socket())
    }
}

/// Holds the socket that is the standard input of this process, until somebody else needs the
/// tables or nothing is behind them. The standard output ends with the daemon.
///
/// # Errors
///
/// When there can be no socket, or another process holds the tables of this cluster.
pub fn hold_tables(mark: Mark) -> io::Result<()> {
    let listener = listen(mark)?;
    let output = io::stdout();
    let mut orphaned = false;
    loop {
        let asked = PollFd::new(listener.as_fd(), PollFlags::POLLIN);
        // Asked for nothing, it tells that nobody reads it any more.
        let daemon = PollFd::new(output.as_fd(), PollFlags::empty());
        let mut sources = [asked, daemon];
        let (sources, wait) = match orphaned {
            true => (sources.get_mut(..1).unwrap_or_default(), Some(LEFT_EACH)),
            false => (sources.get_mut(..).unwrap_or_default(), None),
        };
        match poll(sources, wait) {
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        if sources.first().and_then(PollFd::any) == Some(true) {
            return let_go(&listener);
        }
        orphaned = orphaned || sources.get(1).and_then(PollFd::any) == Some(true);
        if orphaned && watch::ours(&watch::dump(mark)?).next().is_none() {
            return Ok(());
        }
    }
}

fn listen(mark: Mark) -> io::Result<Socket> {
    let begun = Moment::now();
    loop {
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        match listener.bind(&name(mark)?) {
            Ok(()) => {
                listener.listen(1)?;
                return Ok(listener);
            }
            Err(error) if begun.elapsed() > NAMED_WITHIN => return Err(error),
            Err(_) => std::thread::park_timeout(LOOK),
        }
    }
}

/// Closes the tables' socket before whoever asked sees the end of the connection, which comes with
/// that of this process.
fn let_go(listener: &Socket) -> io::Result<()> {
    dup2_stdin(listener.as_fd()).map_err(Into::into)
}

/// Has the process that holds the tables of a cluster let go of them, if there is one.
pub fn release_tables(mark: Mark) {
    if let Err(error) = ask(mark) {
        // The tables tell whether they can be changed.
        tracing::debug!(%error, "no process releases the tables");
    }
}

fn ask(mark: Mark) -> io::Result<()> {
    let mut socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_read_timeout(Some(LETS_GO_WITHIN))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&name(mark)?) {
        // Nobody holds them.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(()),
        connected => connected?,
    }
    socket.set_nonblocking(false)?;
    match socket.read(&mut [0]) {
        // It was reset: the listener ended without taking the connection.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        read => read.map(drop),
    }
}

fn name(mark: Mark) -> io::Result<SockAddr> {
    SockAddr::unix(format!("\0buoy/{:08x}/tables", mark.value()))
}
