//! Runs verifications: sends what `convergence` says, listens for the answers, and keeps `vicinity`
//! up to date.
//!
//! Called by `apply`'s loop. Packet sockets listen only while answers are awaited. Nothing is sent
//! for an address that is not here right now, nor through a closed gate, which stops frames of
//! packet sockets as well; and without announcements ordered by `protocol` no round begins, so a
//! node that is not sure of itself is silent here too. What cannot be sent counts as not answered.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::announce::Announcer;
use super::convergence::{PAIRS_MAX, Target, Task, Verification};
use super::counters::Counters;
use super::echo::{self, Ends, Reply};
use super::links::{Host, Readiness};
use super::neighbours;
use super::reconcile::Reconciler;
use super::vicinity::Vicinity;
use super::{Kernel, Order};
use crate::protocol::{Epoch, GroupKey, Instant, KernelEvent, Neighbour, NodeId};

/// How often the kernel is asked who is around, and peers are told.
const LOOK: Duration = Duration::from_secs(5);
/// What is older is looked up again before it is relied on.
const FRESH: Duration = Duration::from_secs(1);
/// Tasks carried out in one turn of the loop, about 1 ms.
const TASKS_PER_TURN: usize = 64;
/// Answers read in one turn of the loop.
const ANSWERS_PER_TURN: usize = 256;
const FRAME_MAX: usize = 2048;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// What the verification of a group is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) group: GroupKey,
    pub(super) epoch: Epoch,
    /// Whose neighbours come first.
    pub(super) before: Option<NodeId>,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Verifier {
    peers: Vec<IpAddr>,
    vicinity: Vicinity,
    verification: Verification,
    /// For IPv4 and IPv6. Packet sockets, which are read just like those for datagrams.
    listeners: [Option<UdpSocket>; 2],
    identifier: u16,
    looked_at: Option<Instant>,
}

impl Kernel {
    /// Tells each known neighbour now, by frames to it alone, where the group is; ends as `verify`.
    pub fn correct(&self, group: GroupKey, epoch: Epoch) {
        self.order(Order::Correct(Wish { group, epoch, before: None }));
    }
}

impl Verifier {
    /// With the addresses of the other nodes.
    pub(super) fn new(peers: Vec<IpAddr>) -> Self {
        let [first, second, third, fourth, fifth, sixth, ..] =
            RandomState::new().hash_one(0).to_be_bytes();
        Self {
            peers,
            vicinity: Vicinity::default(),
            verification: Verification::new(u32::from_be_bytes([first, second, third, fourth])),
            listeners: [None, None],
            identifier: u16::from_be_bytes([fifth, sixth]),
            looked_at: None,
        }
    }

    /// Begins to verify a group with its next announcement.
    pub(super) fn begin(&mut self, wish: Wish, reconciler: &Reconciler, now: Instant) {
        let Some(addresses) = reconciler.announceable(wish.group) else { return };
        if self.looked_at.is_none_or(|at| now.since(at) >= FRESH) {
            self.look(reconciler, now);
        }
        let room = self.verification.room().min(PAIRS_MAX);
        let host = reconciler.host();
        let of_each: Vec<(IpAddr, Vec<Target>)> = addresses
            .iter()
            .take(room)
            .map(|(link, address)| {
                let place = (link.index, *address);
                (*address, self.vicinity.targets(place, wish.before, host, room))
            })
            .collect();
        // Every address with its most important neighbour first, then with the next.
        let pairs = (0..room).flat_map(|rank| {
            of_each
                .iter()
                .filter_map(move |(address, targets)| Some((*address, *targets.get(rank)?)))
        });
        let pairs = pairs.take(room).collect();
        self.verification.begin(now, (wish.group, wish.epoch), pairs);
        self.listen();
    }

    /// Tells each neighbour of a group where it is, and asks it: a second round, without the
    /// announcement to all.
    pub(super) fn correct(&mut self, wish: Wish, reconciler: &Reconciler, now: Instant) {
        self.begin(wish, reconciler, now);
        self.verification.announced(wish.group);
        self.verification.announced(wish.group);
    }

    /// The group was announced to all.
    pub(super) fn announced(&mut self, group: GroupKey) {
        self.verification.announced(group);
    }

    /// The group goes.
    pub(super) fn stop(&mut self, group: GroupKey) {
        self.verification.stop(group);
    }

    /// Keeps the hosts that a peer tells of.
    pub(super) fn acquaint(&mut self, now: Instant, from: NodeId, hosts: Vec<Neighbour>) {
        self.vicinity.acquaint(now, from, hosts);
    }

    /// Does what is due; returns what is to be told.
    pub(super) fn proceed(
        &mut self,
        reconciler: &Reconciler,
        announcer: &mut Announcer,
        counters: &Counters,
        now: Instant,
    ) -> Vec<KernelEvent> {
        for _ in 0..TASKS_PER_TURN {
            let Some(task) = self.verification.next(now) else { break };
            if let Err(error) = self.carry_out(&task, reconciler, announcer, counters) {
                tracing::debug!(vip = %task.vip, neighbour = %task.target.address, %error, "not asked");
            }
        }
        let found = self.verification.outcomes(now).into_iter();
        let verified = |(group, epoch, outcome)| KernelEvent::Verified { group, epoch, outcome };
        let mut events: Vec<KernelEvent> = found.map(verified).collect();
        if self.looked_at.is_none_or(|at| now.since(at) >= LOOK) {
            self.look(reconciler, now);
            let hosts = self.vicinity.to_tell();
            if !hosts.is_empty() {
                events.push(KernelEvent::Neighbours(hosts));
            }
        }
        self.listen();
        events
    }

    /// When [`Verifier::proceed`] has to be called.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let look = self.looked_at.map_or(now, |at| at + LOOK);
        self.verification.deadline(now).into_iter().chain([look]).min()
    }

    fn look(&mut self, reconciler: &Reconciler, now: Instant) {
        self.looked_at = Some(now);
        let links = reconciler.links();
        let own = reconciler.host().addresses().map(|address| address.place.address);
        let mut excluded: BTreeSet<IpAddr> = own.chain(reconciler.addresses()).collect();
        excluded.extend(&self.peers);
        let gateways = links.iter().flat_map(|link| {
            neighbours::gateways(*link).into_iter().map(move |address| (*link, address))
        });
        let gateways = gateways.collect();
        // Without the table, peers' lists must do.
        let entries = neighbours::table(&links).unwrap_or_default();
        self.vicinity.observe(entries, gateways, excluded);
    }

    fn carry_out(
        &mut self,
        task: &Task,
        reconciler: &Reconciler,
        announcer: &mut Announcer,
        counters: &Counters,
    ) -> io::Result<()> {
        let addresses = reconciler.announceable(task.group).unwrap_or_default();
        let here = addresses.iter().find(|(link, address)| {
            *address == task.vip && link.index == task.target.link && !link.loopback
        });
        let Some((link, hardware)) = here.and_then(|(link, _)| Some((*link, link.hardware?)))
        else {
            self.verification.stop(task.group);
            return Ok(());
        };
        let neighbour = (task.target.address, task.target.hardware);
        if task.tell {
            counters.told_directly.add(1);
            announcer.tell((link, task.vip), neighbour, reconciler.host())?;
        }
        counters.questions.add(1);
        let own_address = own_address(reconciler.host(), link.index, task.vip.is_ipv6());
        let questions = [Some((task.vip, task.mark)), own_address.zip(task.control)];
        for (own, mark) in questions.into_iter().flatten() {
            let ends = Ends { own: (own, hardware), neighbour };
            if let Some(frame) = echo::request(&ends, self.identifier, &mark) {
                announcer.send(link, &frame)?;
            }
        }
        Ok(())
    }

    /// Opens and closes sockets as answers are awaited.
    fn listen(&mut self) {
        let (v4, v6) = self.verification.listens();
        let wanted = [(v4, false), (v6, true)];
        for (listener, (wanted, v6)) in self.listeners.iter_mut().zip(wanted) {
            if !wanted {
                if let Some(listener) = listener.take() {
                    close_elsewhere(listener);
                }
            } else if listener.is_none() {
                let opened = open(v6, self.identifier);
                *listener = opened
                    .inspect_err(|error| tracing::debug!(%error, "answers cannot be received"))
                    .ok();
            }
        }
    }

    /// Waits until answers may be there; for ever if none are awaited.
    pub(super) async fn readable(&self) {
        let [v4, v6] = &self.listeners;
        tokio::select! {
            () = readable(v4.as_ref()) => {}
            () = readable(v6.as_ref()) => {}
        }
    }

    /// Takes in the answers that are there.
    pub(super) fn receive(&mut self, reconciler: &Reconciler, now: Instant) {
        let mut frame = [0; FRAME_MAX];
        for listener in self.listeners.iter().flatten() {
            for _ in 0..ANSWERS_PER_TURN {
                let Ok(length) = listener.try_recv(&mut frame) else { break };
                let frame = frame.get(..length).unwrap_or_default();
                let Some(reply) = Reply::read(frame, self.identifier) else { continue };
                let asked = self.verification.asked(&reply.mark);
                let shows = |target: Target| {
                    let own = reconciler.host().link(target.link).and_then(|link| link.hardware);
                    let by_whom = target.address == reply.from;
                    by_whom && own.is_some_and(|own| reply.shows(own, target.hardware))
                };
                if asked.is_some_and(shows) {
                    self.verification.answered(now, &reply.mark);
                }
            }
        }
    }
}

/// An address of the link that is not ours to move, to ask from.
fn own_address(host: &Host, link: u32, v6: bool) -> Option<IpAddr> {
    if v6 && let Some(address) = host.link_local(link) {
        return Some(address.into());
    }
    let own = host.addresses().filter(|it| !it.ours && it.readiness == Readiness::Ready);
    let mut fitting = own.filter(|it| it.place.link == link && it.place.address.is_ipv6() == v6);
    fitting.next().map(|it| it.place.address)
}

async fn readable(listener: Option<&UdpSocket>) {
    match listener {
        // Reading tells whether something is there.
        Some(listener) => drop(listener.readable().await),
        None => std::future::pending().await,
    }
}

/// The kernel takes 10 to 20 ms to close a packet socket; nobody here shall wait for that.
fn close_elsewhere(listener: UdpSocket) {
    if let Ok(socket) = listener.into_std() {
        drop(tokio::task::spawn_blocking(move || drop(socket)));
    }
}

/// A socket that hears answers on all links. Not bound to one: marks tell them apart.
fn open(v6: bool, identifier: u16) -> io::Result<UdpSocket> {
    let kind = if v6 { IPV6 } else { IPV4 };
    let protocol = Protocol::from(i32::from(kind.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(&echo::filter(v6, identifier))?;
    UdpSocket::from_std(socket.into())
}
