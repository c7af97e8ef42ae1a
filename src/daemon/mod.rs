//! Wires the modules together and decides nothing.
//!
//! ```text
//!   main thread (one tokio runtime)        protocol thread            kernel thread
//!   signals, control socket, reload --->   inbox
//!   log, flight recorder            <---   reports
//!                                          orders            --->     netlink, announcements
//!                                          inbox             <---     kernel events
//! ```
//!
//! A restart in place is told in `in_place`.
//!
//! Start: file, identity, runtime directory, sockets, sweep of leftovers, protocol, control
//! socket, ready. Stop: the protocol hands over and says so, the kernel side removes all that is
//! ours, bounded by [`STOP_WITHIN`]; then hooks are run to their end, bounded by
//! [`HOOKS_END_WITHIN`]. A start that fails leaves nothing behind. If the
//! protocol thread should ever end by itself the daemon ends with an error, and the kernel side
//! still removes every address.

mod arrival;
mod clock;
mod deadlines;
mod drain_record;
mod ending;
mod error;
mod event_file;
mod event_loop;
mod figures;
mod foresight;
mod front_desk;
mod guard;
mod guardian;
mod host;
mod host_load;
mod in_place;
mod inbox;
mod keepalived_here;
mod kernel_orders;
mod lateness;
mod lease;
mod lease_record;
mod local_events;
mod local_services;
#[cfg(test)]
mod loopback_test;
mod picture;
mod predecessor;
mod promise_record;
mod realtime;
mod reception;
mod refused;
mod reload;
mod removals;
mod routers;
mod runtime_directory;
mod service_notify;
pub(crate) mod setup;
mod state_directory;
mod state_file;
mod table_holder;
mod turns;
mod unusable_state;
mod vital;
mod voices;
mod voter_record;
mod waiting_orders;
mod whereabouts;
mod will;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant as Deadline;

use crate::config;
use crate::control::names::NamesInForce;
use crate::control::recorder::Recorder;
use crate::control::server;
use crate::kernel::{self, Kernel, Presence};
use crate::logging;
use crate::protocol::{Event, Incarnation, Instant, Node, NodeId};
use crate::transport::Transport;
use crate::wire::{Local, Sessions};

use drain_record::{DrainFile, Drained};
use ending::{Held, Left, end};
pub use error::Error;
use event_file::{EventFile, EventWriter};
use event_loop::{EventLoop, Outbox, Parts, Told, Vital};
use front_desk::FrontDesk;
pub use guard::run as guard;
use guardian::Guardian;
use inbox::Mailbox;
use lease::LeaseKeeper;
use local_services::LocalServices;
use predecessor::take_presence;
use promise_record::{PromiseFile, Promises};
use routers::RouterThread;
use runtime_directory::RuntimeDirectory;
use service_notify::ServiceNotify;
use state_directory::state_directory;
use state_file::{Estate, Unusable};
use table_holder::TableHolder;
pub use table_holder::run as hold_tables;
use voices::Voices;
use voter_record::VoterFile;
use whereabouts::Whereabouts;
use will::{Farewell, Host, LastWord};

/// From the signal to the end; the service manager is told a little more.
pub const STOP_WITHIN: Duration = Duration::from_secs(2);
/// From the signal to the end of hooks that are not done by themselves. The unit gives 5 s; what is
/// left is for killing them, for naming them in the log, and for writing that.
pub const HOOKS_END_WITHIN: Duration = Duration::from_secs(4);
/// Then threads that wait for something get so long to end.
const THREADS_WITHIN: Duration = Duration::from_millis(100);
/// Reports that may wait for the main thread: a failover of a thousand groups makes two each.
const TOLD_MAX: usize = 4096;

/// What `buoy run` was told on its command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Which node this is; found by address or host name if not given.
    pub node: Option<String>,
    /// Where the control socket lies.
    pub runtime_dir: PathBuf,
    /// Where what outlasts a reboot lies, if told.
    pub state_dir: Option<PathBuf>,
    /// How log lines look.
    pub log_format: logging::Format,
    /// How many `-v`.
    pub verbose: u8,
}

/// A protocol thread that has been started, and what talks to it.
struct Running {
    mailbox: Mailbox,
    ended: oneshot::Receiver<Left>,
    told: mpsc::Receiver<Told>,
    draining: watch::Receiver<bool>,
    vital: Arc<Vital>,
    will: Option<std::sync::mpsc::Receiver<Vec<Farewell>>>,
    last_words: Option<std::sync::mpsc::Receiver<Vec<LastWord>>>,
    routers: RouterThread,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
///
/// See [`Error`]; no address of ours is left behind.
pub fn run(options: Options) -> Result<(), Error> {
    let _log = logging::start(options.log_format, options.verbose);
    let config = config::load(&options.config).map_err(Error::Configuration)?;
    for warning in &config.warnings {
        tracing::warn!(file = %options.config.display(), "{warning}");
    }
    let system = |wanted| move |source| Error::System { wanted, source };
    let me = arrival::find_me(&config, options.node.as_deref())?;
    let directory = RuntimeDirectory::open(&options.runtime_dir)?;
    let (voters, promises) = open_voters(&options, &config, me)?;
    if let Err(refused) = realtime::lock_memory() {
        tracing::info!("{refused}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("event loop"))?;
    let outcome = runtime.block_on(serve(options, config, me, (directory, voters, promises)));
    // What still waits for a disk, or for an answer that nobody wants any more, is left behind.
    runtime.shutdown_timeout(THREADS_WITHIN);
    outcome
}

/// Reads under which lists of voters this host has voted, and refuses a list that has little to do
/// with those.
fn open_voters(
    options: &Options,
    config: &config::Config,
    me: NodeId,
) -> Result<(VoterFile, Promises), Error> {
    let state_dir = state_directory(options.state_dir.as_deref(), &options.runtime_dir);
    let promises = Promises::take(PromiseFile::new(state_dir.clone(), &config.cluster));
    let file = state_dir.join("voters");
    let voters = VoterFile::open(state_dir, (&config.cluster, me), |why| {
        tracing::error!(
            "this node does not vote in mode majority: {}: {why}; stop buoy on every node and \
             remove the file, or restore what was in it",
            file.display()
        );
    });
    match config::voters_refused(config, &voters.known()) {
        Some(refusal) => Err(Error::Voters { refusal, file: voters.path() }),
        None => Ok((voters, promises)),
    }
}

async fn serve(
    options: Options,
    config: config::Config,
    me: NodeId,
    (directory, voters, promises): (RuntimeDirectory, VoterFile, Promises),
) -> Result<(), Error> {
    let system = |wanted| move |source| Error::System { wanted, source };
    let mut stop = StopSignals::new().map_err(system("signals"))?;
    let mut reload = signal(SignalKind::hangup()).map_err(system("signals"))?;
    let notify = service_manager();
    let state_dir = state_directory(options.state_dir.as_deref(), &options.runtime_dir);
    let whereabouts = Whereabouts::within(&state_dir);
    let (drain, drained) = DrainFile::open(&state_dir, (&config.cluster, me), &directory)?;
    let transport = bind(&config, me, &whereabouts)?;
    let (mailbox, inbox) = inbox::inbox().map_err(|errno| system("eventfd")(errno.into()))?;
    let vital = Arc::new(Vital::default());
    let names = NamesInForce::new(setup::names(&config, me));
    let (recorder, events) = begin_record(&state_dir, &names, &vital)?;
    let tell = |why: &Unusable| in_place::tell(why, &recorder, &names.current());
    let host = setup::host(&config);
    let presence = take_presence(host.mark()).await;
    let left = in_place::take(&directory, &config, me, (host.mark(), tell));
    let (kernel, estate) = start_kernel((&config, me), (&mailbox, &vital), left, tell)?;
    let (without, had) = setup::groups_at_start(&config, me, estate.as_ref());
    let promise_file = promises.file.clone();
    let start = Start { estate, drained, voters: voters.clone(), promises };
    let (inquiries, asked) = mpsc::channel(server::INQUIRIES_MAX);
    let settings = settings(&directory, &names, &recorder, inquiries);
    let sides = (transport, &kernel, vital);
    let mut running = start_protocol((&config, me), start, (mailbox, inbox), sides);
    let kept = running.as_mut().ok().map(|running| keep_lease(&kernel, running, host));
    let kept = kept.transpose().map_err(system("lease"))?;
    announce(presence.as_ref());
    let attend = |running: &Running| {
        let parts = local_services::Parts {
            mailbox: running.mailbox.clone(),
            recorder: Arc::clone(&recorder),
            names: names.clone(),
            draining: directory.draining(),
            without,
            had,
        };
        LocalServices::spawn(&config, parts).map_err(system("checks and hooks"))
    };
    let services = running.as_ref().ok().map(attend).transpose()?;
    let outcome = match (running, server::Server::bind(settings)) {
        (Ok(running), Ok(server)) => {
            let server = tokio::spawn(server.run());
            tell_started(&names.current().node(me), &options, &config, &notify);
            let desk = FrontDesk {
                options,
                config,
                me,
                names,
                recorder,
                kernel: Arc::clone(&kernel),
                notify,
                directory,
                voters,
                drain,
                whereabouts,
                calls: services.as_ref().map(LocalServices::calls),
                life: figures::Life::begin(),
            };
            let outcome = desk.serve(running, asked, &mut stop, &mut reload).await;
            server.abort();
            outcome
        }
        (Err(error), _) => Err(error),
        (_, Err(refused)) => Err(Error::Control(refused)),
    };
    let patience = (stop.began() + HOOKS_END_WITHIN).saturating_duration_since(Deadline::now());
    let held = Held { kernel, kept };
    end(held, (services.zip(Some(patience)), events), (outcome, promise_file)).await
}

/// Binds the paths, and those of the process before that others may still use.
fn bind(config: &config::Config, me: NodeId, last: &Whereabouts) -> Result<Transport, Error> {
    arrival::tell_missing(config, me);
    let mut transport = Transport::bind(setup::paths(config, me)).map_err(Error::Bind)?;
    transport.recall(last.recall());
    Ok(transport)
}

fn settings(
    directory: &RuntimeDirectory,
    names: &NamesInForce,
    recorder: &Arc<Recorder>,
    inquiries: mpsc::Sender<server::Inquiry>,
) -> server::Settings {
    server::Settings {
        socket: directory.control_socket(),
        names: names.clone(),
        recorder: Arc::clone(recorder),
        inquiries,
        wall_clock: || SystemTime::UNIX_EPOCH + clock::wall(),
    }
}

fn service_manager() -> ServiceNotify {
    ServiceNotify::from_environment().unwrap_or_else(|error| {
        tracing::warn!(%error, "NOTIFY_SOCKET cannot be used: the service manager gets no notifications");
        ServiceNotify::nobody()
    })
}

/// Goes on with the record of events of former processes.
fn begin_record(
    state_dir: &Path,
    names: &NamesInForce,
    vital: &Vital,
) -> Result<(Arc<Recorder>, EventWriter), Error> {
    let begun = EventFile::within(state_dir).begin(names, &vital.events_not_written);
    begun.map_err(|source| Error::System { wanted: "events thread", source })
}

/// Writes to the log, and to the service manager, that the daemon has started.
fn tell_started(node: &str, options: &Options, config: &config::Config, notify: &ServiceNotify) {
    tracing::info!(node, config = %options.config.display(), "started");
    notify.ready(&format!("node {node} of cluster {}", config.cluster));
}

/// Shows other processes that this daemon has started.
fn announce(presence: Option<&Presence>) {
    if let Some(Err(error)) = presence.map(Presence::announce) {
        tracing::warn!(%error, "other processes cannot see that this daemon runs");
    }
}

/// What a process begins with.
struct Start {
    /// Of the process before, if this one goes on with its life.
    estate: Option<Estate>,
    drained: Drained,
    voters: VoterFile,
    promises: Promises,
}

/// Starts the kernel side, with what the process before has left if the kernel lets us; if not,
/// tells why and sweeps.
fn start_kernel(
    (config, me): (&config::Config, NodeId),
    (mailbox, vital): (&Mailbox, &Arc<Vital>),
    mut left: Option<Estate>,
    tell: impl Fn(&Unusable),
) -> Result<(Arc<Kernel>, Option<Estate>), Error> {
    let start = |estate: Option<&Estate>| {
        let until = estate.map_or(Instant::START, |estate| estate.open_until);
        vital.deadlines.vouch(clock::now(), until);
        vital.deadlines.grant(clock::now(), estate.and_then(|estate| estate.granted_until));
        let facts = mailbox.clone();
        let sink = Box::new(move |event| facts.deliver(Event::Kernel(event)));
        kernel::start(setup::kernel(config, me, vital, estate), sink)
    };
    let kernel = match start(left.as_ref()) {
        Err(error) if left.take().is_some() => {
            tell(&Unusable::Kernel(error));
            start(None)
        }
        started => started,
    };
    let kernel = Arc::new(kernel.map_err(Error::Kernel)?);
    kernel.share_connections(config.tickle_connections_max);
    Ok((kernel, left))
}

/// Starts to renew the kernel's lease, where there is a gate, and to look after the guardian, which
/// is to be dismissed when all is removed.
fn keep_lease(
    kernel: &Arc<Kernel>,
    running: &mut Running,
    mut host: Host,
) -> std::io::Result<(LeaseKeeper, Guardian)> {
    host.gate = kernel.gate().is_some();
    let socket = kernel.tables_socket()?;
    let tables = socket.map(|socket| TableHolder::new(socket, host.table.clone()));
    let (guardian, pulse) = Guardian::spawn(guardian::Parts {
        host,
        tables,
        will: running.will.take(),
        last_words: running.last_words.take(),
        vital: Arc::clone(&running.vital),
    })?;
    let keeper = LeaseKeeper::spawn(lease::Parts {
        lease: kernel.lease()?,
        kernel: Arc::clone(kernel),
        vital: Arc::clone(&running.vital),
        pulse,
    })?;
    Ok((keeper, guardian))
}

fn start_protocol(
    (config, me): (&config::Config, NodeId),
    Start { estate, drained, voters, promises }: Start,
    (mailbox, inbox): (Mailbox, inbox::Inbox),
    (transport, kernel, vital): (Transport, &Arc<Kernel>, Arc<Vital>),
) -> Result<Running, Error> {
    let random = |source| Error::System { wanted: "random numbers", source };
    let drawn = Incarnation(host::random_number().map_err(random)?);
    let incarnation = estate.as_ref().map_or(drawn, |estate| estate.memory.incarnation);
    let seed = host::random_number().map_err(random)?;
    let ring = setup::ring(config).map_err(Error::Keys)?;
    let local = Local {
        cluster: config.cluster.clone(),
        me,
        incarnation,
        peers: setup::peers(config, me),
        challenge_secret: host::random().map_err(random)?,
    };
    let mut configuration = config.protocol(me, incarnation, seed, host::software(), drained.on);
    if let (Some(_), Some(reason)) = (config.preserve, kernel.no_preserving()) {
        tracing::warn!(reason, "planned moves reset connections after 50 ms");
    }
    setup::note_preserving(&mut configuration, kernel);
    let (told, reports) = mpsc::channel(TOLD_MAX);
    let (draining, drains) = watch::channel(drained.on);
    let (will, left) = std::sync::mpsc::channel();
    let had = setup::groups_had(estate.as_ref());
    let recollection = promises.qualify(voters.known());
    let left_promises = estate.as_ref().and_then(|estate| estate.memory.promises.clone());
    let voters = voters
        .keep(mailbox.clone())
        .map_err(|source| Error::System { wanted: "voters thread", source })?;
    let (mut node, sessions) = match estate {
        Some(Estate { memory, issued, .. }) => (
            Node::go_on(clock::now(), configuration, &memory),
            Sessions::go_on(local, ring, issued),
        ),
        None => (Node::new(clock::now(), configuration), Sessions::new(local, ring)),
    };
    node.recall_voters(recollection);
    promises.recall(&mut node, left_promises.as_ref());
    drained.order.iter().for_each(|order| node.recall_standing(order));
    let (routers, last_words) =
        RouterThread::spawn(kernel.router_desk(), mailbox.clone(), had.clone())
            .map_err(|source| Error::System { wanted: "thread of virtual routers", source })?;
    let voices = Voices::begin(routers.clone(), (config, me), (&mailbox, &had));
    let parts = Parts { node, sessions, transport, kernel: Arc::clone(kernel), voices };
    let outbox = Outbox { told, draining, will, voters, vital: Arc::clone(&vital) };
    let ended = EventLoop::new(parts, inbox, outbox)
        .spawn()
        .map_err(|source| Error::System { wanted: "protocol thread", source })?;
    let (draining, will, last_words) = (drains, Some(left), Some(last_words));
    Ok(Running { mailbox, ended, told: reports, draining, vital, will, last_words, routers })
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// The daemon shall leave.
    Leave,
    /// Another process of this node comes at once.
    Rest,
}

/// The signals that end the daemon.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    restart: Signal,
    /// When the first of them came.
    heard: Option<Deadline>,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let restart = signal(SignalKind::user_defined2())?;
        Ok(Self { terminate, interrupt, restart, heard: None })
    }

    /// When the daemon began to end.
    fn began(&self) -> Deadline {
        self.heard.unwrap_or_else(Deadline::now)
    }

    async fn recv(&mut self) -> Asked {
        let asked = tokio::select! {
            _ = self.terminate.recv() => Asked::Leave,
            _ = self.interrupt.recv() => Asked::Leave,
            _ = self.restart.recv() => Asked::Rest,
        };
        self.heard.get_or_insert_with(Deadline::now);
        asked
    }
}
