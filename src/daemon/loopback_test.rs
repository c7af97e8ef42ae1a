//! Whole protocol threads on the loopback network: real sockets, real seals, the real core, and
//! a kernel that only says what it was told.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::clock;
use super::ending::Left;
use super::event_loop::{EventLoop, KernelOrders, Outbox, Parts, Told, Vital};
use super::inbox::{Mailbox, Reconfiguration, Request, Unchanged, Wanted, inbox};
use super::picture::Picture;
use super::routers::RouterThread;
use super::voices::Voices;
use crate::kernel::GroupAddresses;
use crate::protocol::{
    Configuration, Connection, Epoch, Event, Group, GroupKey, HardwareAddress, Incarnation,
    KernelEvent, LastResort, Member, Mode, Neighbour, Node, NodeId, Order, PathFault, PoolId,
    Preference, Preserving, Reach, Refusal, SoftwareVersion, Strategy, Ticket, Timing,
};
use crate::transport::{Path, Transport};
use crate::wire::{Key, KeyRing, Local, Sessions};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const GROUP: GroupKey = GroupKey(7);

/// Long enough for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a kernel did: which node, and whether it now holds the group.
type Done = (NodeId, bool);

/// Obeys at once.
struct Obedient {
    me: NodeId,
    mailbox: Mailbox,
    done: Sender<Done>,
    /// Whoever locks this has the loop stuck as soon as it wants an address.
    jam: Arc<Mutex<()>>,
}

impl Obedient {
    fn answer(&self, event: KernelEvent, holds: bool) {
        self.mailbox.offer(Event::Kernel(event)).unwrap();
        // The test may have ended.
        let _ = self.done.send((self.me, holds));
    }
}

impl KernelOrders for Obedient {
    fn withdraw(&self, _: GroupKey) {}
    fn reconfigure(&self, _: Vec<GroupAddresses>, _: Vec<IpAddr>) {}

    fn acquire(&self, group: GroupKey, ticket: Ticket, _further: Vec<GroupKey>) {
        drop(self.jam.lock().unwrap());
        self.answer(KernelEvent::Present { group, ticket }, true);
    }

    fn release(&self, group: GroupKey, ticket: Ticket) {
        self.answer(KernelEvent::Absent { group, ticket }, false);
    }

    fn let_finish(&self, _group: GroupKey) {}

    fn hand(&self, group: GroupKey, ticket: Ticket) {
        self.release(group, ticket);
    }

    fn forward(&self, _group: GroupKey, _to: Option<HardwareAddress>) {}
    fn announce(&self, _group: GroupKey) {}
    fn correct(&self, _group: GroupKey, _epoch: Epoch) {}
    fn doubt(&self, _addresses: Vec<(IpAddr, PathFault)>) {}

    fn probe(&self, _group: GroupKey, _at: Vec<HardwareAddress>) {}
    fn verify(&self, _group: GroupKey, _epoch: Epoch, _before: Option<NodeId>) {}

    fn acquaint(&self, _from: NodeId, _hosts: Vec<Neighbour>) {}

    fn remember(&self, _from: NodeId, _connections: Vec<Connection>) {}

    fn tickle(&self, _group: GroupKey) {}

    fn watch_connections(&self, _on: bool) {}

    fn test_reach(&self) {
        self.mailbox.offer(Event::Kernel(KernelEvent::Reach(Reach::Answered))).unwrap();
    }
}

/// One node that runs, until this is dropped.
struct Running {
    me: NodeId,
    mailbox: Mailbox,
    ended: Option<oneshot::Receiver<Left>>,
    told: mpsc::Receiver<Told>,
    draining: watch::Receiver<bool>,
    vital: Arc<Vital>,
    jam: Arc<Mutex<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Refused if the loop has ended.
        let _ = self.mailbox.offer(Request::Abandon);
    }
}

impl Running {
    fn wait_for_end(&mut self) {
        let ended = self.ended.take().unwrap().blocking_recv();
        let left = ended.expect("the loop ends by itself");
        assert!(matches!(left, Left::Nothing), "it leaves something");
    }

    fn look(&self) -> Picture {
        let (answer, picture) = oneshot::channel();
        self.mailbox.offer(Request::Look(answer)).unwrap();
        picture.blocking_recv().unwrap()
    }

    fn order(&self, order: Order) -> Result<(), Refusal> {
        let (answer, outcome) = oneshot::channel();
        assert!(self.mailbox.offer_order(Wanted::Once(order), answer).is_ok());
        outcome.blocking_recv().unwrap()
    }

    fn reconfigure(&self, paths: Vec<Path>) -> Result<(), Unchanged> {
        let (answer, applied) = oneshot::channel();
        let protocol = configuration(self.me);
        let peers = vec![other(self.me)];
        let change = Reconfiguration {
            protocol,
            groups: Vec::new(),
            peer_addresses: Vec::new(),
            routers: BTreeMap::new(),
            whereabouts: BTreeMap::new(),
            paths,
            peers,
            ring: ring(),
            answer,
        };
        self.mailbox.offer(Request::Reconfigure(Box::new(change))).unwrap();
        applied.blocking_recv().unwrap()
    }
}

fn other(node: NodeId) -> NodeId {
    if node == A { B } else { A }
}

fn ring() -> KeyRing {
    KeyRing::new(vec![Key { id: 1, secret: [9; 32] }], 1).unwrap()
}

fn configuration(me: NodeId) -> Configuration {
    let group = Group {
        pool: PoolId::from_name("web"),
        addresses: vec![GROUP],
        mode: Mode::Availability,
        strategy: Strategy::Balance,
        prefer: Preference::default(),
        failback: None,
        force: false,
        last_resort: LastResort::Keep,
        gate: None,
    };
    Configuration {
        me,
        incarnation: Incarnation(u64::from(me.0)),
        seed: 1,
        software: SoftwareVersion::default(),
        name: String::new(),
        digest: 1,
        nodes: [A, B].map(|node| (node, Member::of_weight(1))).into(),
        groups: [(GROUP, group)].into(),
        placement: [].into(),
        load_aware: false,
        timing: Timing { heartbeat: Duration::from_millis(50), misses: 10, ..Timing::LAN },
        adaptive: false,
        paths: 1,
        drain_timeout: Duration::ZERO,
        preserve: None,
        preserving: Preserving::Unknown,
        draining: false,
        #[cfg(feature = "mutations")]
        broken: None,
    }
}

fn start(me: NodeId, transport: Transport, done: &Sender<Done>) -> Running {
    let (mailbox, inbox) = inbox().unwrap();
    let (vital, jam) = (Arc::new(Vital::default()), Arc::default());
    let local = Local {
        cluster: "test".to_owned(),
        me,
        incarnation: Incarnation(u64::from(me.0)),
        peers: vec![other(me)],
        challenge_secret: [3; 32],
    };
    let parts = Parts {
        node: Node::new(clock::now(), configuration(me)),
        sessions: Sessions::new(local, ring()),
        transport,
        kernel: Obedient {
            me,
            mailbox: mailbox.clone(),
            done: done.clone(),
            jam: Arc::clone(&jam),
        },
        voices: Voices::new(RouterThread::nobody()),
    };
    let (told, reports) = mpsc::channel(64);
    let (draining, drains) = watch::channel(false);
    let (will, _) = channel();
    let (voters, _) = channel();
    let outbox = Outbox { told, draining, will, voters, vital: Arc::clone(&vital) };
    let ended = EventLoop::new(parts, inbox, outbox).spawn().unwrap();
    Running { me, mailbox, ended: Some(ended), told: reports, draining: drains, vital, jam }
}

/// Two nodes that hear each other.
fn pair() -> (Running, Running, Receiver<Done>) {
    let bind = || {
        let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
        Transport::bind(vec![Path { local, peers: BTreeMap::new() }]).unwrap()
    };
    let (mut a, mut b) = (bind(), bind());
    let at = |transport: &Transport| transport.locals().next().unwrap();
    let (at_a, at_b) = (at(&a), at(&b));
    a.reconfigure(vec![Path { local: at_a, peers: [(B, at_b)].into() }]).unwrap();
    b.reconfigure(vec![Path { local: at_b, peers: [(A, at_a)].into() }]).unwrap();
    let (done, when_done) = channel();
    (start(A, a, &done), start(B, b, &done), when_done)
}

/// Waits for a kernel to be told to hold the group.
fn holder(done: &Receiver<Done>) -> NodeId {
    loop {
        let (node, holds) = done.recv_timeout(PATIENCE).expect("somebody takes the group");
        if holds {
            return node;
        }
    }
}

fn by_role(owner: NodeId, a: Running, b: Running) -> (Running, Running) {
    if owner == A { (a, b) } else { (b, a) }
}

#[test]
fn group_is_held_by_one_and_handed_over_at_a_clean_stop() {
    let (a, b, done) = pair();
    let (mut owner, mut heir) = by_role(holder(&done), a, b);
    owner.mailbox.deliver(Event::Stop);
    assert_eq!(done.recv_timeout(PATIENCE), Ok((owner.me, false)), "let go first");
    assert_eq!(done.recv_timeout(PATIENCE), Ok((heir.me, true)), "then taken");
    owner.wait_for_end();
    assert_eq!(heir.look().status.groups[0].owner, Some(heir.me));
    heir.mailbox.deliver(Request::Abandon);
    heir.wait_for_end();
}

#[test]
fn group_of_a_node_that_died_is_taken_over_and_told() {
    let (a, b, done) = pair();
    let (owner, mut heir) = by_role(holder(&done), a, b);
    owner.mailbox.deliver(Request::Abandon);
    assert_eq!(done.recv_timeout(PATIENCE), Ok((heir.me, true)));
    let picture = heir.look();
    assert_eq!(picture.status.groups[0].owner, Some(heir.me));
    assert!(picture.transport.paths[0].received > 0);
    let mut reports = 0;
    while heir.told.try_recv().is_ok() {
        reports += 1;
    }
    assert!(reports >= 3, "up, dead and taken were told, not only {reports} reports");
}

#[test]
fn orders_are_answered_and_draining_is_remembered() {
    let (a, b, done) = pair();
    let (mut owner, heir) = by_role(holder(&done), a, b);
    assert_eq!(owner.order(Order::Drain(NodeId(99))), Err(Refusal::UnknownNode));
    assert_eq!(heir.order(Order::Drain(owner.me)), Ok(()), "carried to the peer");
    assert_eq!(holder(&done), heir.me);
    assert!(*owner.draining.borrow_and_update());
    let (answer, explained) = oneshot::channel();
    owner.mailbox.offer(Request::Explain { group: GroupKey(1), answer }).unwrap();
    assert_eq!(explained.blocking_recv().unwrap(), None);
}

#[test]
fn path_that_cannot_be_bound_changes_nothing() {
    let (a, b, done) = pair();
    let (owner, heir) = by_role(holder(&done), a, b);
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let busy = taken.local_addr().unwrap();
    let path = |local| vec![Path { local, peers: BTreeMap::new() }];
    assert!(owner.reconfigure(path(busy)).is_err(), "{busy} is in use");
    let before = owner.look().transport.paths[0].received;
    owner.mailbox.deliver(Event::Stop);
    assert_eq!(holder(&done), heir.me, "they still hear each other");
    assert!(before > 0);
}

#[test]
fn loop_tells_how_late_it_runs() {
    let (a, b, done) = pair();
    holder(&done);
    let lag = a.look().status.nodes.iter().find(|node| node.node == A).unwrap().loop_lag;
    assert!(lag > Duration::ZERO, "no wake-up is exact");
    assert!(lag < PATIENCE, "{lag:?}");
    drop(b);
}

/// The thread is there, holds its sockets and hangs in a call. The lease that it has vouched for
/// runs out, so the lease thread renews nothing more; when it goes on it vouches again.
#[test]
fn a_stuck_loop_vouches_for_nothing() {
    let (a, b, done) = pair();
    let (owner, heir) = by_role(holder(&done), a, b);
    let vouched = || heir.vital.deadlines.until(crate::kernel::Door::Vouched);
    let until = |what: &str, held: &dyn Fn() -> bool| {
        let given_up = clock::now() + PATIENCE;
        while !held() {
            assert!(clock::now() < given_up, "waited in vain until {what}");
            thread::yield_now();
        }
    };
    until("it vouches", &|| vouched() > clock::now());
    let jammed = heir.jam.lock().unwrap();
    owner.mailbox.deliver(Request::Abandon);
    until("its lease is over", &|| vouched() < clock::now());
    let turns = heir.vital.turns.load(Ordering::Relaxed);
    let (last, later) = (vouched(), clock::now() + Duration::from_millis(200));
    until("some time has passed", &|| clock::now() > later);
    assert_eq!((vouched(), heir.vital.turns.load(Ordering::Relaxed)), (last, turns));
    drop(jammed);
    assert_eq!(done.recv_timeout(PATIENCE), Ok((heir.me, true)));
    until("it vouches again", &|| vouched() > clock::now());
}
