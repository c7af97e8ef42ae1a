//! The guardian: a second process that acts when the daemon cannot.
//!
//! ```text
//!   waiting --- end of file -------> close the gate, say farewell, remove addresses and gate, end
//!      |  \---- "done" ------------> end
//!      |  \---- "stand by", then end of file -> wait for another process; act if none comes
//!      \------- lease is over -----> remove addresses; wait on (the daemon may go on)
//! ```
//!
//! It does one thing, so that nothing can keep it from it: it reads lines from its standard input,
//! and the end of that input is the death of the daemon, however that came about. Peers that are
//! told so take over at once instead of after a detection time. With the gate closed first, the
//! farewell does not wait for the addresses.
//!
//! It cannot outlive its use: without a daemon it acts and ends. It is not told of signals that
//! are meant for the daemon. If it is killed the daemon starts another.

use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};

use super::clock;
use super::realtime;
use super::will::{Farewell, Line, Word};
use crate::kernel::{self, Door, Lease, Renewal};
use crate::protocol::Instant;

/// A farewell may be lost: it is sent so often.
const FAREWELLS: u32 = 3;
/// Between two farewells.
const PAUSE: Duration = Duration::from_millis(5);
/// A guardian that was itself late by more than this has stood still together with the daemon,
/// and first gives it the time to speak.
const LATE: Duration = Duration::from_millis(50);
/// How often to look for another process.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the guardian until it has nothing more to do.
pub fn run() {
    let mut kept = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR2] {
        kept.add(signal);
    }
    // Without these a guardian still guards, only less surely.
    let _ = kept.thread_block();
    let _ = realtime::take_precedence();
    let _ = realtime::lock_memory();
    let mut guard = Guard::default();
    while guard.watch() == Watch::On {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    On,
    Over,
}

#[derive(Default)]
struct Guard {
    gate: Option<Lease>,
    table: Option<String>,
    farewells: Vec<Farewell>,
    /// When the daemon last said that it lives.
    alive_at: Instant,
    /// Until when the daemon may be silent.
    until: Option<Instant>,
    /// The file that another process takes, and until when it may.
    stand_by: Option<(PathBuf, Instant)>,
    /// What has come of a line.
    unread: Vec<u8>,
}

/// Whether another process has gone on with what the daemon left. Waits until that is certain:
/// whoever renames the file has it.
fn taken(file: &Path, until: Instant) -> bool {
    let marked = file.with_extension("taken");
    while clock::now() < until {
        if marked.exists() {
            return true;
        }
        std::thread::park_timeout(until.since(clock::now()).min(LOOK));
    }
    let expired = file.with_extension("expired");
    if std::fs::rename(file, &expired).is_ok() {
        let _ = std::fs::remove_file(expired);
        return false;
    }
    marked.exists()
}

impl Guard {
    /// Waits once.
    fn watch(&mut self) -> Watch {
        let deadline = self.until.unwrap_or(Instant::NEVER);
        let wait = (deadline != Instant::NEVER)
            .then(|| clock::time_spec(deadline.since(clock::now()) + Duration::from_millis(1)));
        let input = io::stdin();
        let mut source = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        let ready = ppoll(&mut source, wait, None).is_ok_and(|count| count > 0);
        if ready {
            return self.read();
        }
        let now = clock::now();
        if now <= deadline {
            return Watch::On;
        }
        if now.since(deadline) > LATE {
            self.until = Some(now + LATE * 2);
        } else {
            self.stuck();
        }
        Watch::On
    }

    fn read(&mut self) -> Watch {
        let mut bytes = [0; 4096];
        match io::stdin().lock().read(&mut bytes) {
            Ok(0) => {
                if self.stand_by.take().is_none_or(|(file, until)| !taken(&file, until)) {
                    self.dead();
                }
                return Watch::Over;
            }
            Ok(length) => self.unread.extend_from_slice(&bytes[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Watch::On,
            Err(_) => return Watch::Over,
        }
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = std::str::from_utf8(&line).ok().and_then(Line::read);
            if line.is_some_and(|line| self.take(line) == Watch::Over) {
                return Watch::Over;
            }
        }
        Watch::On
    }

    fn take(&mut self, line: Line) -> Watch {
        match line {
            Line::Gate(table) => {
                self.gate = table.as_deref().and_then(|table| Lease::open(table).ok());
                self.table = table;
            }
            Line::Forget => self.farewells.clear(),
            Line::Farewell(farewell) => self.farewells.push(farewell),
            Line::Alive(until) => {
                self.until = Some(Instant::from_nanos(until));
                self.alive_at = clock::now();
            }
            Line::Done => return Watch::Over,
            Line::StandBy(file, until) => {
                self.stand_by = Some((file, Instant::from_nanos(until)));
            }
        }
        Watch::On
    }

    /// The daemon does not run, or is stuck; its lease is over. It may go on.
    fn stuck(&mut self) {
        self.until = None;
        // First, so that whoever misses an address finds out who took it.
        let unrenewed = clock::now().since(self.alive_at).as_nanos();
        let word = Word::Removing { unrenewed: u64::try_from(unrenewed).unwrap_or(u64::MAX) };
        // A daemon that has not read a thousand of these does not wonder who it was.
        let _ = io::stdout().write_all(word.text().as_bytes());
        let _ = kernel::remove_leftovers();
    }

    /// The daemon is gone.
    fn dead(&mut self) {
        let closed = self.gate.as_mut().is_some_and(|gate| {
            let closed = Door::ALL.map(|door| gate.close(door));
            closed.iter().all(|closed| matches!(closed, Renewal::Done))
        });
        if !closed {
            let _ = kernel::remove_leftovers();
        }
        let sockets: Vec<(UdpSocket, &Farewell)> = self
            .farewells
            .iter()
            .filter_map(|farewell| Some((UdpSocket::bind((farewell.from.ip(), 0)).ok()?, farewell)))
            .collect();
        for round in 0..FAREWELLS {
            for (socket, farewell) in &sockets {
                // A network that is down hears nothing; the other path may.
                let _ = socket.send_to(&farewell.datagram, farewell.to);
            }
            if round == 0 {
                let _ = kernel::remove_leftovers();
            }
            std::thread::park_timeout(PAUSE);
        }
        if let Some(table) = &self.table {
            let _ = kernel::remove_gate(table);
        }
    }
}
