//! The thread in which checks and hooks run, and the balancer is told, beside everything else.
//!
//! ```text
//!   main thread --- what happened, reload, look, stop ---> this thread (a runtime of its own)
//!                                                            | checks --> unfit pools --> inbox
//!                                                            | hooks --> gates --> inbox
//!                                                            | balancer
//!                                                            \ changes, troubles --> log, recorder
//! ```
//!
//! Checks speak to servers and files that may be slow or mad, hooks are programs of others: here
//! they can delay each other and nothing else. What the checks found goes to the protocol's inbox
//! by the shortest way; if that is full it is offered again, the newest list only. At the start hooks
//! are told of every group that this process begins without: the one before it may have died with
//! it. At the end hooks that wait are run for a bounded time, and each that was not run to its end is
//! told; checks end at once.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::clock;
use super::inbox::Mailbox;
use super::keepalived_here::KeepalivedHere;
use super::local_events::{
    balancer_news, check_changed, check_row, group_of, happening, hook_row, hook_trouble,
};
use crate::balancer::{Balancer, Wanted};
use crate::checks::{Change, Watch};
use crate::config::{CheckConfig, Config, HaproxyConfig, HookConfig, Occasion};
use crate::control::events::{self, EventRecord};
use crate::control::local::{Check, Hook};
use crate::control::names::NamesInForce;
use crate::control::recorder::Recorder;
use crate::hooks::{Happening, Hooks, News};
use crate::programs;
use crate::protocol::{Event, GroupKey, PoolId, Ticket};

/// Orders that may wait: all that a failover of a thousand groups reports.
const ORDERS_MAX: usize = 4096;
/// Threads that wait for disks and for programs to start. Each hung disk takes one.
const WAITING_THREADS_MAX: usize = 48;
/// How often a full inbox is tried again.
const AGAIN: Duration = Duration::from_millis(20);
/// Programs that are killed then are waited for so long.
const REAPED_WITHIN: Duration = Duration::from_millis(300);
/// Then the runtime is given so long to let go of what waits for a disk.
const THREADS_WITHIN: Duration = Duration::from_millis(100);

/// What the thread is told.
enum Order {
    Happened(Box<Happening>),
    Draining(bool),
    HandedOver,
    Reconfigure(Box<Local>),
    Look(oneshot::Sender<(Vec<Check>, Vec<Hook>)>),
    /// Hooks may take so long.
    Stop(Duration),
}

/// What the file says of this host itself.
struct Local {
    checks: Vec<CheckConfig>,
    hooks: Vec<HookConfig>,
    haproxy: Option<HaproxyConfig>,
    addresses: BTreeSet<IpAddr>,
}

impl Local {
    fn of(config: &Config) -> Self {
        let vips = config.groups.iter().flat_map(|group| &group.vips);
        Self {
            checks: config.checks.clone(),
            hooks: config.hooks.clone(),
            haproxy: config.haproxy.clone(),
            addresses: vips.map(|vip| vip.address).collect(),
        }
    }
}

/// What the thread works with.
pub(super) struct Parts {
    /// The way to the protocol.
    pub(super) mailbox: Mailbox,
    /// The flight recorder.
    pub(super) recorder: Arc<Recorder>,
    /// In force.
    pub(super) names: NamesInForce,
    /// Whether this node drains at the start.
    pub(super) draining: bool,
    /// The groups that this process begins without, in the order of the file.
    pub(super) without: Vec<GroupKey>,
    /// The groups that a process before has left to it.
    pub(super) had: BTreeSet<GroupKey>,
}

impl Parts {
    /// Writes an event to the log and the flight recorder.
    fn note(&self, event: &EventRecord) {
        event.log();
        self.recorder.note(SystemTime::UNIX_EPOCH + clock::wall(), event);
    }
}

/// The running thread.
pub(super) struct LocalServices {
    calls: Calls,
    thread: JoinHandle<()>,
}

/// The way to it; cheap to clone. Calls return at once.
#[derive(Clone)]
pub(super) struct Calls {
    orders: mpsc::Sender<Order>,
    keepalived: KeepalivedHere,
}

impl LocalServices {
    /// Starts checks and hooks.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub(super) fn spawn(config: &Config, parts: Parts) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let local = Local::of(config);
        let keepalived = KeepalivedHere::spawn(local.addresses.clone())?;
        let body = move || {
            if let Err(error) = programs::shed_capabilities() {
                tracing::warn!(%error,
                    "capabilities cannot be dropped: checks and hooks run with those of the \
                     daemon");
            }
            // After the line above: the threads that start programs are made by this one.
            let mut builder = Builder::new_current_thread();
            match builder.enable_all().max_blocking_threads(WAITING_THREADS_MAX).build() {
                Ok(runtime) => {
                    runtime.block_on(Care::serve(parts, inbox, local));
                    runtime.shutdown_timeout(THREADS_WITHIN);
                }
                Err(error) => tracing::error!(%error, "checks and hooks cannot be run"),
            }
        };
        let thread = thread::Builder::new().name("services".to_owned()).spawn(body)?;
        Ok(Self { calls: Calls { orders, keepalived }, thread })
    }

    pub(super) fn calls(&self) -> Calls {
        self.calls.clone()
    }

    /// Ends it: hooks first, for so long at most.
    pub(super) async fn stop(self, hooks_within: Duration) {
        // Refused when it has ended.
        let _ = self.calls.orders.send(Order::Stop(hooks_within)).await;
        let thread = self.thread;
        let ended = tokio::task::spawn_blocking(move || thread.join());
        let _ = ended.await;
    }
}

impl Calls {
    /// Tells hooks that something happened; `false` if too much waits.
    pub(super) fn happened(&self, happening: Happening) -> bool {
        self.orders.try_send(Order::Happened(Box::new(happening))).is_ok()
    }

    /// Whether this node drains has changed; the balancer is to know.
    pub(super) async fn draining(&self, on: bool) {
        // Refused when it has ended.
        let _ = self.orders.send(Order::Draining(on)).await;
    }

    /// A group has been handed over; the balancer is to finish its connections. Lost if too much waits.
    pub(super) fn handed_over(&self) {
        let _ = self.orders.try_send(Order::HandedOver);
    }

    /// Goes on with what this file says.
    pub(super) async fn reconfigure(&self, config: &Config) {
        let local = Local::of(config);
        self.keepalived.reconfigure(local.addresses.clone());
        // Refused when it has ended.
        let _ = self.orders.send(Order::Reconfigure(Box::new(local))).await;
    }

    /// What is known of checks and hooks, for people; nothing if the thread is too busy to say.
    pub(super) async fn look(&self) -> (Vec<Check>, Vec<Hook>) {
        let (answer, rows) = oneshot::channel();
        if self.orders.try_send(Order::Look(answer)).is_err() {
            return Default::default();
        }
        rows.await.unwrap_or_default()
    }
}

/// The thread at work.
struct Care {
    parts: Parts,
    watch: Watch,
    hooks: Hooks,
    balancer: Balancer,
    /// The newest list was not taken yet.
    untold: bool,
    /// Gates that are done and were not told yet.
    gates: Vec<(GroupKey, Ticket)>,
}

impl Care {
    async fn serve(parts: Parts, mut orders: mpsc::Receiver<Order>, local: Local) {
        let Local { checks, hooks, haproxy, addresses } = local;
        let draining = parts.draining;
        let mut care = Self {
            parts,
            watch: Watch::start(&checks),
            hooks: Hooks::new(&hooks),
            balancer: Balancer::start(Wanted { haproxy, draining, addresses }),
            untold: !checks.is_empty(),
            gates: Vec::new(),
        };
        care.tell_start();
        let mut again = interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hooks_within = loop {
            care.tell_unfit();
            care.tell_gates();
            tokio::select! {
                change = care.watch.next() => care.changed(&change),
                news = care.hooks.next() => care.tell(news),
                news = care.balancer.next() => care.parts.note(&balancer_news(&news, &care.parts.names.current())),
                order = orders.recv() => match order {
                    Some(Order::Happened(happening)) => care.hooks.tell(*happening),
                    Some(Order::HandedOver) => care.balancer.finish(),
                    Some(Order::Draining(on)) => care.balancer.change(|it| it.draining = on),
                    Some(Order::Reconfigure(local)) => care.reconfigure(*local),
                    Some(Order::Look(answer)) => {
                        let checks = care.watch.rows().into_iter().map(check_row).collect();
                        let hooks = care.hooks.rows().into_iter().map(hook_row).collect();
                        // Whoever asked may have gone.
                        let _ = answer.send((checks, hooks));
                    }
                    Some(Order::Stop(within)) => break within,
                    None => break Duration::ZERO,
                },
                _ = again.tick(), if care.untold || !care.gates.is_empty() => {}
            }
        };
        // Checks end here; nobody acts upon them any more.
        drop(care.watch);
        let names = care.parts.names.current();
        for found in care.hooks.finish(hooks_within).await {
            care.parts.note(&hook_trouble(&found, &names));
        }
        programs::all_reaped(REAPED_WITHIN).await;
    }

    /// Hooks that knew another state from the process before are told the one that holds.
    fn tell_start(&mut self) {
        let names = self.parts.names.current();
        for group in std::mem::take(&mut self.parts.had) {
            let group = names.group(group);
            self.hooks.remember(&group.pool, &group.group);
        }
        for group in std::mem::take(&mut self.parts.without) {
            let event = events::started_without(group, &names);
            self.hooks.tell(happening(Occasion::Released, &event, &names));
        }
    }

    fn reconfigure(&mut self, local: Local) {
        self.watch.reconfigure(&local.checks);
        self.hooks.reconfigure(&local.hooks);
        self.balancer.change(|wanted| {
            (wanted.haproxy, wanted.addresses) = (local.haproxy, local.addresses);
        });
        self.untold = true;
    }

    fn changed(&mut self, change: &Change) {
        self.untold = true;
        // First, so that the groups are on their way before anybody reads why.
        self.tell_unfit();
        let names = self.parts.names.current();
        let event = check_changed(change, &names);
        if self.hooks.wants(Occasion::CheckChanged) {
            self.hooks.tell(happening(Occasion::CheckChanged, &event, &names));
        }
        self.parts.note(&event);
    }

    fn tell(&mut self, news: News) {
        let names = self.parts.names.current();
        match news {
            News::Trouble(found) => {
                self.parts.note(&hook_trouble(&found, &names));
            }
            News::Gate(done) => {
                // A group that a reload took away has no gate any more.
                let ticket = done.ticket.map(Ticket);
                self.gates.extend(group_of(&done, &names).zip(ticket));
            }
        }
    }

    /// The protocol waits for these; what does not fit its inbox is told again.
    fn tell_gates(&mut self) {
        let mailbox = &self.parts.mailbox;
        self.gates.retain(|(group, ticket)| {
            let opened = Event::GateOpened { group: *group, ticket: *ticket };
            mailbox.offer(opened).is_err()
        });
    }

    fn tell_unfit(&mut self) {
        if self.untold {
            let unfit = self.watch.unfit();
            let list = unfit.iter().map(|(pool, fitness)| (PoolId::from_name(pool), *fitness));
            let unfit = Event::Fitness(list.collect());
            self.untold = self.parts.mailbox.offer(unfit).is_err();
        }
    }
}
