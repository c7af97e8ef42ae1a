//! A daemon for tests: the real server on a socket of its own, and a world that tests can set.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};

use super::client::{self, Command, Error};
use super::names::NamesInForce;
use super::plan::Foreseen;
use super::recorder::Recorder;
use super::server::{INQUIRIES_MAX, Inquiry, PlanWanted, SOCKET_NAME, Server, Settings};
use super::{fixture, request};
use crate::protocol::{
    Cause, Epoch, Explanation, GroupState, MoveReason, NodeId, Order, PlanReason, PlannedMove,
    Refusal, StandingChange, Status,
};

/// No answer of a test takes so long, however busy the machine.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// What the fake daemon knows and how it behaves.
pub(super) struct World {
    pub(super) status: Status,
    pub(super) orders: Vec<Order>,
    pub(super) changes: Vec<StandingChange>,
    pub(super) outcome: Result<(), Refusal>,
    pub(super) reload: Result<Vec<String>, Vec<String>>,
    /// Where the next group of a draining node goes with each status; `None` is nowhere.
    pub(super) receiver: Option<NodeId>,
    pub(super) explanation: Explanation,
}

/// A running fake. Dropping it ends server and thread and removes the directory.
pub(super) struct FakeDaemon {
    pub(super) directory: Directory,
    pub(super) socket: PathBuf,
    pub(super) recorder: Arc<Recorder>,
    pub(super) world: Arc<Mutex<World>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A directory of one test.
pub(super) struct Directory(pub(super) PathBuf);

impl Directory {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Other test runs may have theirs beside it.
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("buoy-control-test-{number}"));
            match fs::create_dir(&path) {
                Ok(()) => return Self(path),
                Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{path:?}"),
            }
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.0.join(SOCKET_NAME)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the test's own directory");
    }
}

/// The time of the fake daemon: one hour after the first event that tests record.
pub(super) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_709_213_696)
}

/// Settings for a server at `socket`, and the daemon's end of its channel.
pub(super) fn settings(socket: PathBuf) -> (Settings, mpsc::Receiver<Inquiry>) {
    let names = NamesInForce::new(fixture::names());
    let recorder = Arc::new(Recorder::new(names.clone()));
    let (inquiries, receiver) = mpsc::channel(INQUIRIES_MAX);
    (Settings { socket, names, recorder, inquiries, wall_clock: now }, receiver)
}

impl FakeDaemon {
    pub(super) fn start() -> Self {
        let directory = Directory::new();
        let socket = directory.socket();
        let (settings, inquiries) = settings(socket.clone());
        let recorder = Arc::clone(&settings.recorder);
        let world = Arc::new(Mutex::new(World {
            status: fixture::status(),
            orders: Vec::new(),
            changes: Vec::new(),
            outcome: Ok(()),
            reload: Ok(vec!["pool web: group 10.77.0.103 added".to_owned()]),
            receiver: Some(fixture::node("lb1")),
            explanation: fixture::explanation(),
        }));
        let server = Server::bind(settings).expect("a free socket");
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&world);
        let thread = std::thread::spawn(move || live(server, inquiries, &shared, stopped));
        let (stop, thread) = (Some(stop), Some(thread));
        Self { directory, socket, recorder, world, stop, thread }
    }

    /// Ends the server; the directory stays until the drop.
    pub(super) fn stop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the fake daemon does not panic");
        }
    }

    /// Runs a command as the command line would.
    pub(super) fn run(&self, command: &Command, json: bool) -> (String, Result<(), Error>) {
        let mut out = Vec::new();
        let result = client::run(command, &self.socket, json, &mut out);
        (String::from_utf8(out).expect("answers are text"), result)
    }

    pub(super) fn connect(&self) -> RawClient {
        let stream = UnixStream::connect(&self.socket).expect("the fake daemon listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        RawClient(BufReader::new(stream))
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A client that can misbehave.
pub(super) struct RawClient(pub(super) BufReader<UnixStream>);

impl RawClient {
    pub(super) fn say(&mut self, text: &[u8]) {
        self.0.get_mut().write_all(text).expect("the server takes it");
    }

    pub(super) fn ask(&mut self, request: &request::Request) {
        let mut line = serde_json::to_vec(request).expect("a request");
        line.push(b'\n');
        self.say(&line);
    }

    /// The next line; empty at the end of the connection.
    pub(super) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer before the deadline");
        line
    }
}

fn live(
    server: Server,
    mut inquiries: mpsc::Receiver<Inquiry>,
    world: &Mutex<World>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let answering = async {
            while let Some(inquiry) = inquiries.recv().await {
                world.lock().expect("no test panicked in here").answer(inquiry);
            }
        };
        tokio::select! {
            ended = server.run() => panic!("the server ended: {ended:?}"),
            () = answering => panic!("the server dropped its channel"),
            _ = stopped => {}
        }
    });
}

impl World {
    fn answer(&mut self, inquiry: Inquiry) {
        // A client that has left does not want its answer any more.
        match inquiry {
            Inquiry::Status { reply } => {
                self.advance();
                reply.send(self.status.clone().into()).ok();
            }
            Inquiry::Explain { group, reply } => {
                let known = self.status.groups.iter().any(|one| one.group == group);
                reply.send(known.then(|| self.explanation.clone())).ok();
            }
            Inquiry::Order { order, reply } => {
                self.orders.push(order);
                if self.outcome.is_ok() {
                    self.obey(order);
                }
                reply.send(self.outcome).ok();
            }
            Inquiry::Standing { change, reply } => {
                self.changes.push(change);
                reply.send(self.outcome).ok();
            }
            Inquiry::Plan { wanted, reply } => {
                let moves = match wanted {
                    PlanWanted::Without(nodes) => {
                        let owned = self.status.groups.iter();
                        let owned =
                            owned.filter(|one| one.owner.is_some_and(|it| nodes.contains(&it)));
                        owned
                            .map(|one| PlannedMove {
                                group: one.group,
                                from: one.owner,
                                to: self.receiver,
                                why: PlanReason::Move(MoveReason::Drain),
                            })
                            .collect()
                    }
                    PlanWanted::Text(_) => Vec::new(),
                };
                reply.send(Ok(Foreseen { moves, fates: BTreeMap::new(), names: None })).ok();
            }
            Inquiry::Reload { reply } => {
                reply.send(self.reload.clone()).ok();
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Drain(node) | Order::DrainNow(node) | Order::Undrain(node) => {
                let on = !matches!(order, Order::Undrain(_));
                for one in self.status.nodes.iter_mut().filter(|one| one.node == node) {
                    one.draining = on;
                }
            }
            Order::Move { group, to } => {
                let Some(receiver) = self.receiver else { return };
                assert_eq!(receiver, to, "the test moves to its receiver");
                for one in self.status.groups.iter_mut().filter(|one| one.group == group) {
                    one.owner = Some(to);
                    one.state = GroupState::Owned;
                }
            }
        }
    }

    /// Moves one group off a node that was told to drain.
    fn advance(&mut self) {
        let ordered = |node: NodeId| {
            let mut orders = self.orders.iter();
            orders
                .any(|order| matches!(order, Order::Drain(it) | Order::DrainNow(it) if *it == node))
        };
        let nodes = self.status.nodes.iter();
        let draining = nodes.filter(|one| one.draining && ordered(one.node)).map(|one| one.node);
        let draining: Vec<NodeId> = draining.collect();
        let Some(receiver) = self.receiver else { return };
        if let Some(one) = self.status.groups.iter_mut().find(|one| {
            one.owner.is_some_and(|owner| owner != receiver && draining.contains(&owner))
        }) {
            one.cause = one.owner.map(Cause::Drain);
            one.owner = Some(receiver);
            one.epoch = Epoch(one.epoch.0 + 1);
        }
    }
}
