//! A client that asks every address for an echo, every 2 ms usually, and writes down who answered.
//!
//! The requests go out through ordinary sockets, so that the client's own neighbour cache decides
//! where they go, as for any client. The answers are read as frames, because only the frame says
//! which interface sent it. Both happen in the client's namespace; no daemon takes part: a node's
//! kernel answers for an address exactly while it has it.
//!
//! Two threads, one sending by a kernel timer, one receiving; they end when the prober is dropped.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::clock;
use super::echo::{self, Mac};
use super::namespace::{Namespace, NamespaceError};
use super::record::{ANSWER_LIMIT, Record, Seen};

/// Between two probes of one address.
pub const INTERVAL: Duration = Duration::from_millis(2);

/// How soon the threads notice that they are to end.
const NOTICE_STOP_MS: u16 = 50;
/// Room for half a second of answers to 30 addresses.
const RECEIVE_BUFFER: usize = 8 << 20;
const FRAME_MAX: usize = 2048;

/// `ETH_P_IP` and `ETH_P_IPV6`, in network order as `socket(2)` wants them.
const FRAMES_OF: [u16; 2] = [0x0800_u16.to_be(), 0x86dd_u16.to_be()];

/// Distinguishes the probers of one process, so that none takes another's answers.
static PROBERS: AtomicU16 = AtomicU16::new(1);

/// A running client.
#[derive(Debug)]
pub struct Prober {
    targets: Vec<IpAddr>,
    records: Arc<Mutex<Vec<Record>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Prober {
    /// Begins to probe these addresses from the namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered or does not permit raw sockets.
    pub fn start(client: &Namespace, targets: &[IpAddr]) -> Result<Self, NamespaceError> {
        Self::every(INTERVAL, client, targets)
    }

    /// As [`Prober::start`], with so much between two probes of one address.
    ///
    /// # Errors
    /// As there.
    pub fn every(
        interval: Duration,
        client: &Namespace,
        targets: &[IpAddr],
    ) -> Result<Self, NamespaceError> {
        let sockets = client
            .run(|| Sockets::open(targets))?
            .map_err(|error| NamespaceError::System("open the client's raw sockets", error))?;
        let Sockets { send, receive } = sockets;
        let records = Arc::new(Mutex::new(vec![Record::default(); targets.len()]));
        let stop = Arc::new(AtomicBool::new(false));
        let identifier = PROBERS.fetch_add(1, Ordering::Relaxed);
        let mut prober =
            Self { targets: targets.to_vec(), records, stop, threads: Vec::with_capacity(2) };
        let (records, stop) = (Arc::clone(&prober.records), Arc::clone(&prober.stop));
        prober.spawn("answers", move || receive_answers(&receive, identifier, &records, &stop))?;
        let (records, stop) = (Arc::clone(&prober.records), Arc::clone(&prober.stop));
        let addresses = targets.to_vec();
        let timer = metronome(interval)
            .map_err(|error| NamespaceError::System("set the probing timer", error.into()))?;
        prober.spawn("probes", move || {
            while !stop.load(Ordering::Relaxed) && timer.wait().is_ok() {
                send_round(&send, identifier, &addresses, &records);
            }
        })?;
        Ok(prober)
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), NamespaceError> {
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(work)
            .map_err(|error| NamespaceError::System("start a thread", error))?;
        self.threads.push(thread);
        Ok(())
    }

    /// The addresses, in the order of everything else.
    #[must_use]
    pub fn targets(&self) -> &[IpAddr] {
        &self.targets
    }

    /// What has been seen of an address so far; empty for one that is not probed.
    #[must_use]
    pub fn record(&self, address: IpAddr) -> Record {
        let index = self.targets.iter().position(|target| *target == address);
        index.and_then(|index| lock(&self.records).get(index).cloned()).unwrap_or_default()
    }

    /// What was seen of each address in a stretch of time.
    #[must_use]
    pub fn seen(&self, from: Instant, to: Instant) -> Vec<(IpAddr, Seen)> {
        let records = lock(&self.records);
        let seen = records.iter().map(|record| record.seen(from, to));
        self.targets.iter().copied().zip(seen).collect()
    }

    /// Who answers now: the last answer of the last `recent`, for each address.
    #[must_use]
    pub fn answering(&self, recent: Duration) -> Vec<(IpAddr, Option<Mac>)> {
        let since = clock::now().checked_sub(recent);
        let records = lock(&self.records);
        let who = records.iter().map(|record| since.and_then(|since| record.answers_since(since)));
        self.targets.iter().copied().zip(who).collect()
    }

    /// Addresses of which no probe sent in the last `recent` was answered.
    #[must_use]
    pub fn silent(&self, recent: Duration) -> Vec<IpAddr> {
        let answering = self.answering(recent).into_iter();
        answering.filter(|(_, who)| who.is_none()).map(|(address, _)| address).collect()
    }

    /// The moment up to which probes can be judged: later ones may still be answered.
    #[must_use]
    pub fn judged_until() -> Instant {
        let now = clock::now();
        now.checked_sub(ANSWER_LIMIT).unwrap_or(now)
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic there has been printed; what was recorded up to it is kept.
            let _ = thread.join();
        }
    }
}

fn lock(records: &Mutex<Vec<Record>>) -> MutexGuard<'_, Vec<Record>> {
    records.lock().unwrap_or_else(PoisonError::into_inner)
}

fn metronome(interval: Duration) -> nix::Result<TimerFd> {
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
    timer.set(Expiration::Interval(interval.into()), TimerSetTimeFlags::empty())?;
    Ok(timer)
}

/// The client's sockets: one an address to send, one a family to receive frames.
///
/// Packets to a neighbour that does not resolve wait in the kernel at the cost of the socket that
/// sent them. With a socket in common, one silent address would keep all others from being probed.
struct Sockets {
    send: Vec<Socket>,
    receive: [Socket; 2],
}

impl Sockets {
    fn open(targets: &[IpAddr]) -> io::Result<Self> {
        if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
            // Where it may not be raised, opening the sockets says so.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
        }
        let send = |target: &IpAddr| {
            let (domain, protocol) = match target {
                IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
                IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
            };
            let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
            // Answers are read as frames; what queues up here is thrown away by the kernel.
            socket.set_recv_buffer_size(1)?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        let receive = |ethertype: u16| {
            let protocol = Protocol::from(i32::from(ethertype));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
            // Without root the kernel's own limit stays; it lasts for a few milliseconds.
            let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER);
            setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        Ok(Self {
            send: targets.iter().map(send).collect::<Result<_, _>>()?,
            receive: [receive(FRAMES_OF[0])?, receive(FRAMES_OF[1])?],
        })
    }
}

/// Probes each address once.
fn send_round(
    sockets: &[Socket],
    identifier: u16,
    targets: &[IpAddr],
    records: &Mutex<Vec<Record>>,
) {
    for (index, (address, socket)) in targets.iter().zip(sockets).enumerate() {
        // Written down before it is sent, because the answer may overtake us. One that cannot be
        // sent (no route, the neighbour does not resolve) is a lost probe like any other.
        let number = lock(records)[index].sent(clock::now());
        let target = u32::try_from(index).expect("a cluster has at most 4096 groups");
        let request = echo::request(address.is_ipv6(), identifier, target, number);
        let to = SockAddr::from(SocketAddr::new(*address, 0));
        let _ = socket.send_to(&request, &to);
    }
}

fn receive_answers(
    sockets: &[Socket; 2],
    identifier: u16,
    records: &Mutex<Vec<Record>>,
    stop: &AtomicBool,
) {
    let mut frame = [0; FRAME_MAX];
    let mut control = nix::cmsg_space!(TimeSpec);
    while !stop.load(Ordering::Relaxed) {
        let mut waiting = sockets.each_ref().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN));
        if poll(&mut waiting, PollTimeout::from(NOTICE_STOP_MS)).is_err() {
            continue;
        }
        for socket in sockets {
            while let Some((length, at)) = receive(socket, &mut frame, &mut control) {
                let Some(answer) = echo::answer(&frame[..length], identifier) else { continue };
                let index = usize::try_from(answer.target).unwrap_or(usize::MAX);
                if let Some(record) = lock(records).get_mut(index) {
                    record.answered(answer.number, at, answer.mac);
                }
            }
        }
    }
}

/// A frame and when the kernel had it: that this thread did not run is not the answer's fault.
fn receive(socket: &Socket, frame: &mut [u8], control: &mut [u8]) -> Option<(usize, Instant)> {
    let mut slices = [IoSliceMut::new(frame)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(control), flags).ok()?;
    let stamp = message.cmsgs().ok()?.find_map(|control| {
        let ControlMessageOwned::ScmTimestampns(time) = control else { return None };
        Some(Duration::from(time))
    });
    Some((message.bytes, stamp.map_or_else(clock::now, clock::stamped)))
}
