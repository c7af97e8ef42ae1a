//! The main thread at work: answers people, writes the log, applies reloads, ends the daemon.
//!
//! Everything slow is here: files, the log, the control socket. Whatever is stuck here costs
//! people an answer and the protocol nothing. A reload that is refused leaves the old
//! configuration in force and says everything that is wrong with the new one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant as Deadline, interval, timeout, timeout_at};

use super::clock;
use super::drain_record::DrainKeeper;
use super::ending::Left;
use super::event_loop::Told;
use super::figures::{self, Life};
use super::in_place::{self, Parting};
use super::inbox::{Mailbox, OrderReply, Reconfiguration, Request, Unchanged, Wanted};
use super::local_events::happening;
use super::local_services::Calls;
use super::picture::Picture;
use super::refused::Obstacle;
use super::reload::{Asker, Loaded, Outcome, Reloads};
use super::runtime_directory::RuntimeDirectory;
use super::service_notify::ServiceNotify;
use super::turns::Turns;
use super::voter_record::VoterFile;
use super::whereabouts::Whereabouts;
use super::{
    Asked, Error, Options, Running, STOP_WITHIN, StopSignals, foresight, host_load, setup,
};
use crate::config::{self, Config, Occasion, Restart};
use crate::control::events::{self, EventRecord, Kind};
use crate::control::measures::Measures;
use crate::control::names::{Names, NamesInForce};
use crate::control::peer_problems;
use crate::control::recorder::Recorder;
use crate::control::restart_in_place;
use crate::control::server::{Inquiry, Snapshot};
use crate::hooks::Happening;
use crate::kernel::Kernel;
use crate::programs::children;
use crate::protocol::{Event, Incarnation, NodeId, Refusal};
use crate::transport::Path;
use crate::wire::{RefusedDatagram, RingRefusal};

/// A protocol thread that does not answer within this is told as counters of zero.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
/// Looks at the protocol thread when no service manager has given an interval.
const IDLE_LOOK: Duration = Duration::from_secs(3600);

/// What the main thread works with.
pub(crate) struct FrontDesk {
    /// As on the command line.
    pub(crate) options: Options,
    /// In force.
    pub(crate) config: Config,
    /// This node.
    pub(crate) me: NodeId,
    /// In force.
    pub(crate) names: NamesInForce,
    /// The flight recorder.
    pub(crate) recorder: Arc<Recorder>,
    /// The kernel side.
    pub(crate) kernel: Arc<Kernel>,
    /// The service manager.
    pub(crate) notify: ServiceNotify,
    /// Ours while we run.
    pub(crate) directory: RuntimeDirectory,
    /// What is remembered of lists of voters.
    pub(crate) voters: VoterFile,
    /// Whether this node drains after a restart of its host.
    pub(crate) drain: DrainKeeper,
    /// What the next process is told of addresses.
    pub(crate) whereabouts: Whereabouts,
    /// Checks and hooks.
    pub(crate) calls: Option<Calls>,
    /// Of this process.
    pub(crate) life: Life,
}

/// How often process 1 of a container looks for processes that nobody waits for.
const REAPED_EVERY: Duration = Duration::from_secs(1);

/// Reaps what programs left running, for as long as the runtime lives.
async fn reap_orphans() {
    loop {
        tokio::time::sleep(REAPED_EVERY).await;
        // The look through all processes may wait for the disk.
        if tokio::task::spawn_blocking(children::reap_orphans).await.is_err() {
            return;
        }
    }
}

fn order_or_refuse(mailbox: &Mailbox, wanted: Wanted, reply: OrderReply) {
    if let Err(reply) = mailbox.offer_order(wanted, reply) {
        let _ = reply.send(Err(Refusal::Busy));
    }
}

impl FrontDesk {
    /// Serves until a signal ends the daemon, or the protocol thread ends by itself.
    pub(crate) async fn serve(
        mut self,
        mut running: Running,
        mut asked: mpsc::Receiver<Inquiry>,
        stop: &mut StopSignals,
        reload: &mut Signal,
    ) -> Result<Parting, Error> {
        let mut watchdog = interval(self.notify.watchdog_interval().unwrap_or(IDLE_LOOK));
        let mut turns = Turns::default();
        let mut reloads = Reloads::new(self.options.config.clone());
        // Ends with the runtime; once the loop has ended nobody takes its measures any more.
        tokio::spawn(host_load::measure(running.mailbox.clone()));
        if std::process::id() == 1 {
            tokio::spawn(reap_orphans());
        }
        loop {
            tokio::select! {
                asked = stop.recv() => {
                    return Ok(self.stop(running, asked).await);
                }
                _ = reload.recv() => self.ask_for_reload(&mut reloads, Asker::Signal),
                Some(inquiry) = asked.recv() => match inquiry {
                    Inquiry::Reload { reply } => {
                        self.ask_for_reload(&mut reloads, Asker::Client(reply));
                    }
                    asked @ (Inquiry::Status { .. }
                    | Inquiry::Explain { .. }
                    | Inquiry::Order { .. }
                    | Inquiry::Standing { .. }
                    | Inquiry::Plan { .. }) => self.answer(&running, asked),
                },
                loaded = reloads.next() => self.reload(loaded, &running.mailbox).await,
                Some(told) = running.told.recv() => self.tell(told),
                Ok(()) = running.draining.changed() => {
                    let on = *running.draining.borrow_and_update();
                    self.remember_draining(on);
                    if let Some(calls) = &self.calls {
                        calls.draining(on).await;
                    }
                }
                _ = watchdog.tick() => {
                    running.mailbox.wake();
                    self.kernel.nudge();
                    if turns.go_on(&running.vital, clock::now()) {
                        self.notify.alive();
                    }
                }
                _ = &mut running.ended => return Err(Error::ProtocolEnded),
            }
        }
    }

    /// Has the protocol hand over, or leave all to the next process, for a bounded time.
    async fn stop(&self, mut running: Running, asked: Asked) -> Parting {
        self.notify.stopping();
        if asked == Asked::Rest && self.config.restart == Restart::InPlace {
            tracing::info!("stopping: the next process continues");
            running.mailbox.deliver(Event::Rest);
        } else {
            tracing::info!("stopping: handing over");
            running.mailbox.deliver(Event::Stop);
        }
        let mut left = Left::Nothing;
        let deadline = Deadline::now() + STOP_WITHIN;
        loop {
            tokio::select! {
                ended = timeout_at(deadline, &mut running.ended) => {
                    if let Ok(ended) = ended {
                        left = ended.unwrap_or_default();
                    } else {
                        tracing::warn!("stopping: not everything was handed over in time");
                        running.mailbox.deliver(Request::Abandon);
                        // The loop ends at its next turn; its kernel side is dropped with it.
                        let _ = timeout(LOOK_WITHIN, &mut running.ended).await;
                    }
                    break;
                }
                Some(told) = running.told.recv() => self.tell(told),
            }
        }
        while let Ok(told) = running.told.try_recv() {
            self.tell(told);
        }
        // An order that came just before the signal.
        let draining = *running.draining.borrow();
        if draining != self.directory.draining() {
            self.remember_draining(draining);
        }
        let parting = match left {
            Left::Nothing => Parting::Ordinary(None),
            Left::Promises(record) => Parting::Ordinary(Some(record)),
            Left::Estate(estate) => {
                in_place::leave(&self.directory, (&self.config, self.me), &estate)
            }
        };
        tracing::info!("stopped");
        parting
    }

    fn remember_paths(&self, paths: &[Path]) {
        if let Err(error) = self.whereabouts.remember(paths) {
            tracing::warn!(%error,
                "heartbeat paths cannot be saved: a changed port or address may not be recognised \
                 at the next start");
        }
    }

    fn in_words(&self, refused: Unchanged) -> String {
        match refused {
            Unchanged::Bind(refused) => refused.to_string(),
            Unchanged::Keys(RingRefusal::Replaced(id)) => peer_problems::key_replaced(id),
            Unchanged::Keys(RingRefusal::InUse { key, by }) => {
                peer_problems::key_in_use(key, &self.names.current().node(by))
            }
        }
    }

    fn remember_draining(&self, on: bool) {
        if let Err(error) = self.directory.remember_draining(on) {
            tracing::warn!(%error, "the drain cannot be saved: a restart will end it");
        }
    }

    fn tell(&self, told: Told) {
        let names = self.names.current();
        match told {
            Told::Report { at, report } => {
                let event = self.recorder.record(SystemTime::UNIX_EPOCH + at, &report);
                event.log();
                self.drain.follow(&report);
                self.run_hooks(event.kind, || (event, None), &names);
                if let Some(event) = events::after_a_move(&report, &names) {
                    let calls = self.calls.iter().filter(|_| event.kind == Kind::HandedOver);
                    calls.for_each(Calls::handed_over);
                    self.run_hooks(event.kind, || (event, None), &names);
                }
            }
            Told::Refused { what, count } => tell_refused(&what, count, &names),
            Told::Twin { by } => {
                let because = peer_problems::twin_of_me(&names.node(self.me), &names.node(by));
                tracing::warn!(because, "another host uses the name of this node");
            }
            Told::Named { node, name } => self.names.learn(node, name),
            Told::Whereabouts(paths) => self.remember_paths(&paths),
            Told::Gate { group, ticket } => {
                let event = || (events::gate(group, &names), Some(ticket.0));
                self.run_hooks(Kind::Gate, event, &names);
            }
            Told::Drained => {
                self.run_hooks(Kind::Drained, || (events::drained(&names), None), &names);
            }
            Told::NoPrecedence(text) => tracing::info!("{text}"),
            Told::Ordered { group, acquire: true } => {
                let event = || (events::before_acquire(group, &names), None);
                self.run_hooks(Kind::BeforeAcquire, event, &names);
            }
            Told::Ordered { group, acquire: false } => {
                let event = || (events::before_release(group, &names), None);
                self.run_hooks(Kind::BeforeRelease, event, &names);
            }
        }
    }

    /// Runs the hooks of an event, if there are any. A gate has a ticket.
    fn run_hooks(
        &self,
        kind: Kind,
        event: impl FnOnce() -> (EventRecord, Option<u64>),
        names: &Names,
    ) {
        let Some(occasion) = Occasion::with_word(kind.word()) else { return };
        let wanted = self.config.hooks.iter().any(|hook| hook.on.contains(&occasion));
        let (true, Some(calls)) = (wanted, &self.calls) else { return };
        let (event, ticket) = event();
        let happening = Happening { ticket, ..happening(occasion, &event, names) };
        let event = happening.words();
        if !calls.happened(happening) {
            tracing::warn!(event, "the queue of hooks is full: event dropped");
        }
    }

    fn answer(&self, running: &Running, inquiry: Inquiry) {
        // Whoever asked may have gone; whoever is refused sees its reply dropped.
        match inquiry {
            Inquiry::Status { reply } => {
                let (answer, picture) = oneshot::channel();
                if running.mailbox.offer(Request::Look(answer)).is_ok() {
                    let counters = figures::counters(&self.kernel, &running.vital);
                    let measures = self.life.measures(&self.config, &running.vital);
                    let paths = setup::paths(&self.config, self.me).into_iter();
                    let mut measures: (Vec<String>, Measures) =
                        (paths.map(|path| path.local.to_string()).collect(), measures);
                    let reported = self.recorder.counters();
                    let mut fence = setup::fence(self.kernel.fence(), self.config.timing.lease());
                    let (calls, routers) = (self.calls.clone(), running.routers.clone());
                    let (names, port) = (self.names.current(), Some(self.config.port));
                    let connections = self.kernel.connections();
                    let awaited = figures::awaited(&self.kernel);
                    let missing_routes = figures::missing_routes(&self.kernel, &names);
                    let wanted = self.config.preserve.and(self.kernel.no_preserving());
                    let not_preserving = wanted.map(str::to_owned);
                    let in_place = self.config.restart == Restart::InPlace;
                    let digest = self.config.digest;
                    tokio::spawn(async move {
                        let Ok(picture) = picture.await else { return };
                        let obstacles = obstacles(&picture, &names);
                        figures::note_timing((&mut measures.1, &mut fence), &picture, &names);
                        let why = picture.obstacle_to_rest;
                        let restart = Some(restart_in_place::now(in_place, why, digest, &names));
                        let counted = figures::snapshot(picture, fence, counters, measures);
                        let counted = Snapshot { obstacles, port, reported, restart, ..counted };
                        let mut told =
                            Snapshot { connections, not_preserving, missing_routes, ..counted };
                        (told.awaited_by_drain, told.awaited_by_group) = awaited;
                        if let Some(calls) = calls {
                            // A thread that does not answer leaves its tables out.
                            let rows = timeout(LOOK_WITHIN, calls.look()).await;
                            (told.checks, told.hooks) = rows.unwrap_or_default();
                        }
                        (told.virtual_routers, told.overheard_routers) =
                            routers.look(LOOK_WITHIN).await;
                        let _ = reply.send(told);
                    });
                }
            }
            Inquiry::Explain { group, reply } => {
                let _ = running.mailbox.offer(Request::Explain { group, answer: reply });
            }
            Inquiry::Plan { wanted, reply } => {
                let in_force = (&self.config, self.options.config.as_path());
                foresight::foresee(&running.mailbox, in_force, self.me, wanted, reply);
            }
            Inquiry::Order { order, reply } => {
                order_or_refuse(&running.mailbox, Wanted::Once(order), reply);
            }
            Inquiry::Standing { change, reply } => {
                order_or_refuse(&running.mailbox, Wanted::Lasting(Box::new(change)), reply);
            }
            // Has its own way, because it is not answered at once.
            Inquiry::Reload { reply } => drop(reply),
        }
    }

    fn ask_for_reload(&self, reloads: &mut Reloads, asker: Asker) {
        self.notify.reloading();
        reloads.ask(asker);
    }

    /// Applies the difference between the file and what is in force, and tells who asked.
    async fn reload(&mut self, Loaded { askers, config }: Loaded, mailbox: &Mailbox) {
        let outcome = match config {
            Ok(config) => self.apply_file(config, mailbox).await,
            Err(faults) => Err(faults),
        };
        self.life.reloaded(outcome.is_ok());
        match &outcome {
            Ok(changes) => tracing::info!(changes = changes.len(), "reloaded"),
            Err(_) => tracing::warn!("reload refused; the old configuration stays in force"),
        }
        let names = self.names.current();
        let node = names.node(self.me);
        self.notify.ready(&format!("node {node} of cluster {}", self.config.cluster));
        for asker in askers {
            match asker {
                // Whoever asked may have gone.
                Asker::Client(reply) => drop(reply.send(outcome.clone())),
                Asker::Signal => {
                    for fault in outcome.as_ref().err().into_iter().flatten() {
                        tracing::warn!("{fault}");
                    }
                }
            }
        }
    }

    async fn apply_file(&mut self, config: Config, mailbox: &Mailbox) -> Outcome {
        let changes = config::difference(&self.config, &config);
        if !config.nodes.iter().any(|node| node.id == self.me) {
            let name = self.names.current().node(self.me);
            return Err(vec![format!("the file no longer has this node, {name}")]);
        }
        if let Some(change) = changes.iter().find(|change| change.is_refused()) {
            return Err(vec![change.to_string()]);
        }
        if changes.is_empty() {
            let retry = mailbox.offer(Event::Retry);
            return retry
                .map(|()| Vec::new())
                .map_err(|_| vec!["the protocol thread is too busy; try again".to_owned()]);
        }
        if let Some(refusal) = config::voters_refused(&config, &self.voters.known()) {
            return Err(vec![refusal]);
        }
        if let Some(refusal) = setup::refusal(&config, self.me, self.kernel.fence()) {
            return Err(vec![refusal]);
        }
        let long = |config: &Config| config.preserve.is_some_and(|preserve| !preserve.brief);
        if let Some(reason) = self.kernel.no_preserving()
            && long(&config)
            && !long(&self.config)
        {
            return Err(vec![format!("preserve_connections is not available: {reason}")]);
        }
        let ring = setup::ring(&config).map_err(|fault| vec![fault.to_string()])?;
        let mut protocol =
            config.protocol(self.me, Incarnation(0), 0, super::host::software(), false);
        setup::note_preserving(&mut protocol, &self.kernel);
        let (answer, applied) = oneshot::channel();
        let change = Reconfiguration {
            protocol,
            groups: setup::groups(&config, self.me),
            peer_addresses: setup::peer_addresses(&config, self.me),
            routers: setup::routers(&config, self.me),
            whereabouts: setup::whereabouts(&config, self.me),
            paths: setup::paths(&config, self.me),
            peers: setup::peers(&config, self.me),
            ring,
            answer,
        };
        mailbox
            .offer(Request::Reconfigure(Box::new(change)))
            .map_err(|_| vec!["the protocol thread is too busy; try again".to_owned()])?;
        match applied.await {
            Ok(Ok(())) => {}
            Ok(Err(refused)) => return Err(vec![self.in_words(refused)]),
            Err(_) => return Err(vec!["the daemon is stopping".to_owned()]),
        }
        self.kernel.share_connections(config.tickle_connections_max);
        self.names.replace(setup::names(&config, self.me));
        if let Some(calls) = &self.calls {
            calls.reconfigure(&config).await;
        }
        self.config = config;
        Ok(changes.iter().map(ToString::to_string).collect())
    }
}

fn tell_refused(what: &Obstacle, count: u64, names: &Names) {
    let peer = what.peer.map(|peer| names.node(peer));
    let because = what.peer.and_then(|peer| obstacle(what, &names.node(peer)));
    let (reason, from) = (what.reason, what.from);
    tracing::warn!(%reason, count, %from, peer, because, "datagrams refused");
}

/// What keeps peers from being heard, and what is wrong with this node's name.
fn obstacles(picture: &Picture, names: &Names) -> BTreeMap<NodeId, String> {
    let of = |what: &Obstacle| Some((what.peer?, obstacle(what, &names.node(what.peer?))?));
    let mut obstacles: BTreeMap<NodeId, String> = picture.obstacles.iter().filter_map(of).collect();
    let me = names.me();
    if let Some(silence) = picture.voter_silence {
        obstacles.insert(me, peer_problems::silent_voter(&names.node(me), silence));
    }
    if let Some(by) = picture.twin {
        let words = peer_problems::twin_of_me(&names.node(me), &names.node(by));
        obstacles.insert(me, words);
    }
    obstacles
}

/// What keeps a peer from being heard, with the remedy.
fn obstacle(what: &Obstacle, peer: &str) -> Option<String> {
    match what.reason {
        RefusedDatagram::BadSeal | RefusedDatagram::UnknownKey => {
            Some(peer_problems::sealed_otherwise(peer, what.from))
        }
        RefusedDatagram::OtherCluster => Some(peer_problems::other_cluster(peer, what.from)),
        RefusedDatagram::UnknownVersion => Some(peer_problems::other_version(peer, what.from)),
        RefusedDatagram::DuplicateNode => Some(peer_problems::twins(peer, what.from)),
        RefusedDatagram::TooShort
        | RefusedDatagram::TooLong
        | RefusedDatagram::BadMagic
        | RefusedDatagram::UnknownClass
        | RefusedDatagram::WrongLength
        | RefusedDatagram::NotForMe
        | RefusedDatagram::UnknownSource
        | RefusedDatagram::Duplicate
        | RefusedDatagram::TooOld
        | RefusedDatagram::TooManyLives
        | RefusedDatagram::Malformed(_)
        | RefusedDatagram::TooManyHellos
        | RefusedDatagram::IncumbentHeard => None,
    }
}
