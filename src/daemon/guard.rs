//! The guardian: a second process that acts when the daemon cannot.
//!
//! ```text
//!   waiting --- end of file -------> close the gate, say farewell, remove addresses and gate, end
//!      |  \---- "done" ------------> end
//!      |  \---- "stand by", then end of file -> wait for another process; act if none comes
//!      \------- lease is over -----> remove addresses; wait on (the daemon may go on)
//! ```
//!
//! What the daemon says stays in the pipe until half of its lease is over, so that an idle host does
//! not wake two processes for each renewal; the end of the input wakes at once.
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
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};

use super::clock;
use super::realtime;
use super::will::{Farewell, Host, LastWord, Line, Word};
use crate::confinement::{self, Right};
use crate::kernel::{self, Door, Found, Lease, Mark, Presence, Renewal};
use crate::protocol::Instant;

/// A farewell may be lost: it is sent so often.
const FAREWELLS: u32 = 3;
/// Between two farewells.
const PAUSE: Duration = Duration::from_millis(5);
/// A guardian that was itself late by more than this has stood still together with the daemon,
/// and first gives it the time to speak.
const LATE: Duration = Duration::from_millis(50);
/// What could not be done is tried again after this,
const AGAIN: Duration = Duration::from_millis(20);
/// and given up after this: 4096 addresses of IPv6 took 1.6 s to remove.
const ACTS_WITHIN: Duration = Duration::from_secs(10);
/// One that starts has started after this, or has ended (`TimeoutStartSec=` of the unit).
const STARTED_WITHIN: Duration = Duration::from_secs(30);
/// A dead daemon has closed its sockets after this; closing those of nf_tables and of packets waits
/// for the kernel, some 10 ms on a quiet host.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);
/// What is left of a lease is divided by this: for so long nothing is read, and half of it is left
/// for what was not in the pipe yet. Each time that this process wakes costs what a heartbeat costs.
const UNREAD_DIVISOR: u32 = 2;
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
    // It reads what tells it of processes and links, and puts away the state file of a process that
    // does not come. It starts nothing, and writes nothing but what removals of addresses need.
    let _ = confinement::confine(&[
        ("/", Right::Read),
        ("/", Right::Replace),
        ("/proc/sys/net", Right::Write),
    ]);
    let mut guard = Guard { daemon: parent_id(), ..Guard::default() };
    while guard.watch() == Watch::On {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    On,
    Over,
}

#[derive(Debug, Default)]
struct Guard {
    /// The process that is guarded.
    daemon: u32,
    host: Option<Host>,
    gate: Option<Lease>,
    farewells: Vec<Farewell>,
    last_words: Vec<LastWord>,
    /// When the daemon last said that it lives.
    alive_at: Instant,
    /// Until when only the end of the input matters: what else comes can wait in the pipe.
    unread_until: Instant,
    /// Until when the daemon may be silent.
    until: Option<Instant>,
    /// The file that another process takes, and until when it may.
    stand_by: Option<(PathBuf, Instant)>,
    /// What has come of a line.
    unread: Vec<u8>,
}

impl Guard {
    /// Waits once.
    fn watch(&mut self) -> Watch {
        let deadline = self.until.unwrap_or(Instant::NEVER);
        let (wake_at, events) = if clock::now() < self.unread_until {
            // Its end is told in any case.
            (self.unread_until, PollFlags::empty())
        } else {
            (deadline, PollFlags::POLLIN)
        };
        let wait = (wake_at != Instant::NEVER)
            .then(|| clock::time_spec(wake_at.since(clock::now()) + Duration::from_millis(1)));
        let input = io::stdin();
        let mut source = [PollFd::new(input.as_fd(), events)];
        let ready = ppoll(&mut source, wait, None).is_ok_and(|count| count > 0);
        if ready {
            return self.read();
        }
        let now = clock::now();
        if now <= deadline || events.is_empty() {
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
                let stand_by = self.stand_by.take();
                if stand_by.is_none_or(|(file, until)| !self.goes_on(&file, until)) {
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
            Line::Host(host) => {
                // Without it the addresses have to go first.
                self.gate = host.gate.then(|| Lease::open(&host.table).ok()).flatten();
                self.host = Some(host);
            }
            Line::Forget => {
                self.farewells.clear();
                self.last_words.clear();
            }
            Line::LastWord(word) => self.last_words.push(word),
            Line::Farewell(farewell) => self.farewells.push(farewell),
            Line::Alive(until, said) => {
                let (now, until) = (clock::now(), Instant::from_nanos(until));
                self.until = Some(until);
                self.alive_at = Instant::from_nanos(said).min(now);
                self.unread_until = now + until.since(now) / UNREAD_DIVISOR;
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
        // First, so that whoever misses an address finds out who took it.
        let unrenewed = clock::now().since(self.alive_at).as_nanos();
        let word = Word::Removing { unrenewed: u64::try_from(unrenewed).unwrap_or(u64::MAX) };
        // A daemon that has not read a thousand of these does not wonder who it was.
        let _ = io::stdout().write_all(word.text().as_bytes());
        // What could not be removed is tried again, until the daemon goes on.
        self.until = (!self.remove()).then(|| clock::now() + AGAIN);
    }

    /// Whether another process goes on with what the daemon left, which it may until then. A file
    /// that nobody has taken by then is taken here, so that nobody can any more.
    fn goes_on(&self, file: &Path, until: Instant) -> bool {
        let Some(mark) = self.host.as_ref().map(Host::mark) else { return false };
        while clock::now() < until {
            // The daemon that rests closes its pipe before it ends, and runs until then. Another
            // that only starts may yet fail, and then nobody would be there.
            let ended = parent_id() != self.daemon;
            if ended && kernel::is_running(mark).unwrap_or(false) {
                return true;
            }
            std::thread::park_timeout(until.since(clock::now()).min(LOOK));
        }
        let expired = file.with_extension("expired");
        if std::fs::rename(file, &expired).is_ok()
            && let Err(error) = std::fs::remove_file(&expired)
        {
            // Nobody reads it under this name.
            tracing::debug!(%error, "the state file cannot be removed");
        }
        false
    }

    /// The name of the cluster's daemon, if no other process has it: what is here is the dead
    /// one's then, and no daemon that starts changes anything meanwhile.
    fn take_over(&self, mark: Mark) -> Takes {
        let begun = clock::now();
        loop {
            // Its files are closed one after the other, and only then is it nobody's parent: a name
            // that is taken is its own until then.
            let dying = parent_id() == self.daemon;
            match Presence::take(mark) {
                Ok(Found::Nobody(presence)) => return Takes::Over(Some(presence)),
                Ok(Found::Starting | Found::Running) if dying => return Takes::Over(None),
                // Another one has removed what it did not want, and has a guardian of its own. But the
                // dead one is nobody's parent as soon as all its threads are ending, and the last of
                // them may still be closing sockets, which waits for the kernel.
                Ok(Found::Running) if clock::now().since(begun) > CLOSED_WITHIN => {
                    return Takes::Nothing;
                }
                Ok(Found::Running) => std::thread::park_timeout(LOOK),
                Ok(Found::Starting) if clock::now().since(begun) > STARTED_WITHIN => {
                    return Takes::Nothing;
                }
                Ok(Found::Starting) => std::thread::park_timeout(LOOK),
                Err(_) => return Takes::Over(None),
            }
        }
    }

    /// The daemon is gone. What is not done is tried again; the gate stays for as long as any
    /// address does.
    fn dead(&mut self) {
        let Some(host) = self.host.clone() else { return };
        let Takes::Over(mut held) = self.take_over(host.mark()) else { return };
        let begun = clock::now();
        let said = std::mem::take(&mut self.farewells);
        let mut farewells = Farewells::to(&said);
        loop {
            if host.gate {
                kernel::release_tables(host.mark());
            }
            let closed = self.close();
            if closed {
                farewells.say();
            }
            let gone = self.remove();
            while (closed || gone) && farewells.say() {
                std::thread::park_timeout(PAUSE);
            }
            if closed || gone {
                self.say_last_words();
            }
            let ungated = gone && (!host.gate || kernel::remove_gate(&host.table).is_ok());
            if ungated || clock::now().since(begun) >= ACTS_WITHIN {
                return;
            }
            if held.is_none() {
                let Takes::Over(taken) = self.take_over(host.mark()) else { return };
                held = taken;
            }
            std::thread::park_timeout(AGAIN);
        }
    }

    /// Says to routers outside, once, that this host has stopped to answer.
    fn say_last_words(&mut self) {
        for word in std::mem::take(&mut self.last_words) {
            let between = (word.source, word.destination);
            // Without it they notice by silence.
            let _ = kernel::send_advertisement(word.link, between, &word.payload());
        }
    }

    /// Closes the gate; returns whether that is certain.
    fn close(&mut self) -> bool {
        self.gate.as_mut().is_some_and(|gate| {
            let closed = Door::ALL.map(|door| gate.close(door));
            closed.iter().all(|closed| matches!(closed, Renewal::Done))
        })
    }

    /// Removes the addresses; returns whether it is certain that none is left.
    fn remove(&self) -> bool {
        let mark = self.host.as_ref().map(Host::mark);
        mark.is_none_or(|mark| matches!(kernel::remove_leftovers(mark), Ok(0)))
    }
}

/// Whether the guardian acts.
enum Takes {
    /// It does, and has the name meanwhile if there can be one.
    Over(Option<Presence>),
    /// Another daemon of the cluster looks after everything.
    Nothing,
}

/// What is said to the peers.
struct Farewells<'a> {
    sockets: Vec<(UdpSocket, &'a Farewell)>,
    left: u32,
}

impl<'a> Farewells<'a> {
    fn to(farewells: &'a [Farewell]) -> Self {
        let socket = |farewell: &'a Farewell| {
            Some((UdpSocket::bind((farewell.from.ip(), 0)).ok()?, farewell))
        };
        Self { sockets: farewells.iter().filter_map(socket).collect(), left: FAREWELLS }
    }

    /// Says it once more; returns whether it is to be said again.
    fn say(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        for (socket, farewell) in &self.sockets {
            // A network that is down hears nothing; the other path may.
            let _ = socket.send_to(&farewell.datagram, farewell.to);
        }
        self.left > 0
    }
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    use super::*;

    /// The daemon is nobody's parent any more, and one of its threads still closes sockets.
    #[test]
    fn a_dead_daemon_that_closes_its_sockets_late_is_no_other_daemon() {
        let mark = Mark::of(&format!("late {:?}", clock::now()));
        let name = format!("buoy/{:08x}", mark.value());
        let daemon = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap());
        let daemon = daemon.unwrap();
        // It has closed its sockets after the guardian has looked whether it runs.
        let closing = std::thread::spawn(move || drop(daemon.accept().unwrap()));
        // Zero is the parent of no process of a test.
        let taken = Guard::default().take_over(mark);
        assert!(matches!(taken, Takes::Over(Some(_))), "it is left alone");
        closing.join().unwrap();
    }

    /// Each wake-up costs what a heartbeat costs, and there are ten heartbeats in a second.
    #[test]
    fn what_the_daemon_says_is_read_when_half_of_the_lease_is_over() {
        let millis = Duration::from_millis;
        let mut guard = Guard::default();
        let begun = clock::now();
        let (until, said) = (begun + millis(600_000), begun.before(millis(20)));
        assert_eq!(guard.take(Line::Alive(until.as_nanos(), said.as_nanos())), Watch::On);
        assert_eq!((guard.until, guard.alive_at), (Some(until), said));
        let took = clock::now().since(begun);
        assert!(guard.unread_until >= begun + millis(300_000), "{guard:?}");
        assert!(guard.unread_until <= begun + millis(300_000) + took, "{guard:?}");
        // What is over already is not waited for.
        assert_eq!(guard.take(Line::Alive(said.as_nanos(), said.as_nanos())), Watch::On);
        assert!(guard.unread_until <= clock::now());
    }

    #[test]
    fn another_daemon_that_runs_is_left_alone() {
        let mark = Mark::of(&format!("another {:?}", clock::now()));
        let Ok(Found::Nobody(daemon)) = Presence::take(mark) else { panic!("it is taken") };
        daemon.announce().unwrap();
        assert!(matches!(Guard::default().take_over(mark), Takes::Nothing));
    }
}
