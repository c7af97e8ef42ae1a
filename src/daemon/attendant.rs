//! The thread in which checks and hooks run, beside everything else.
//!
//! ```text
//!   main thread --- what happened, reload, look, stop ---> this thread (a runtime of its own)
//!                                                            | checks --> unfit pools --> inbox
//!                                                            | hooks
//!                                                            \ changes, troubles --> log, recorder
//! ```
//!
//! Checks speak to servers and files that may be slow or mad, hooks are programs of others: here
//! they can delay each other and nothing else. What the checks found goes to the protocol's inbox
//! by the shortest way; if that is full it is offered again, the newest list only. At the end hooks
//! that wait are run for [`HOOKS_WITHIN`] at most, checks end at once.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::clock;
use super::inbox::{Input, Mailbox};
use super::local_words::{changed, check_row, happened, hook_row, log_change, trouble};
use crate::checks::{Change, Watch};
use crate::config::{CheckConfig, Config, HookConfig, Occasion};
use crate::control::local::{Check, Hook};
use crate::control::names::NamesInForce;
use crate::control::recorder::Recorder;
use crate::hooks::{Happening, Hooks};
use crate::programs;
use crate::protocol::PoolId;

/// Orders that may wait: all that a failover of a thousand groups reports.
const ORDERS_MAX: usize = 4096;
/// Threads that wait for disks and for programs to start. Each hung disk takes one.
const WAITING_THREADS_MAX: usize = 48;
/// How often a full inbox is tried again.
const AGAIN: Duration = Duration::from_millis(20);
/// How long hooks may take at the end: the service manager allows 5 s for all of it.
const HOOKS_WITHIN: Duration = Duration::from_secs(1);
/// Programs that are killed then are waited for so long.
const REAPED_WITHIN: Duration = Duration::from_millis(300);
/// Then the runtime is given so long to let go of what waits for a disk.
const THREADS_WITHIN: Duration = Duration::from_millis(100);

/// What the thread is told.
enum Order {
    Happened(Box<Happening>),
    Reconfigure(Vec<CheckConfig>, Vec<HookConfig>),
    Look(oneshot::Sender<(Vec<Check>, Vec<Hook>)>),
    Stop,
}

/// What the thread works with.
pub(super) struct Parts {
    /// The way to the protocol.
    pub(super) mailbox: Mailbox,
    /// The flight recorder.
    pub(super) recorder: Arc<Recorder>,
    /// In force.
    pub(super) names: NamesInForce,
}

/// The running thread.
pub(super) struct Attendant {
    calls: Calls,
    thread: JoinHandle<()>,
}

/// The way to it; cheap to clone. Calls return at once.
#[derive(Clone)]
pub(super) struct Calls(mpsc::Sender<Order>);

impl Attendant {
    /// Starts checks and hooks.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub(super) fn spawn(config: &Config, parts: Parts) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let (checks, hooks) = (config.checks.clone(), config.hooks.clone());
        let body = move || {
            if let Err(error) = programs::shed_capabilities() {
                tracing::warn!(%error, "programs have this daemon's capabilities");
            }
            // After the line above: the threads that start programs are made by this one.
            let mut builder = Builder::new_current_thread();
            match builder.enable_all().max_blocking_threads(WAITING_THREADS_MAX).build() {
                Ok(runtime) => {
                    runtime.block_on(Care::serve(parts, inbox, (checks, hooks)));
                    runtime.shutdown_timeout(THREADS_WITHIN);
                }
                Err(error) => tracing::error!(%error, "no checks and no hooks"),
            }
        };
        let thread = thread::Builder::new().name("attendant".to_owned()).spawn(body)?;
        Ok(Self { calls: Calls(orders), thread })
    }

    pub(super) fn calls(&self) -> Calls {
        self.calls.clone()
    }

    /// Ends it: hooks first, for a bounded time.
    pub(super) async fn stop(self) {
        // Refused when it has ended.
        let _ = self.calls.0.send(Order::Stop).await;
        let thread = self.thread;
        let ended = tokio::task::spawn_blocking(move || thread.join());
        let _ = ended.await;
    }
}

impl Calls {
    /// Tells hooks that something happened; `false` if too much waits.
    pub(super) fn happened(&self, happening: Happening) -> bool {
        self.0.try_send(Order::Happened(Box::new(happening))).is_ok()
    }

    /// Goes on with what this file says.
    pub(super) async fn reconfigure(&self, config: &Config) {
        let order = Order::Reconfigure(config.checks.clone(), config.hooks.clone());
        // Refused when it has ended.
        let _ = self.0.send(order).await;
    }

    /// What is known of checks and hooks, for people; nothing if the thread is too busy to say.
    pub(super) async fn look(&self) -> (Vec<Check>, Vec<Hook>) {
        let (answer, rows) = oneshot::channel();
        if self.0.try_send(Order::Look(answer)).is_err() {
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
    /// The newest list was not taken yet.
    untold: bool,
}

impl Care {
    async fn serve(
        parts: Parts,
        mut orders: mpsc::Receiver<Order>,
        (checks, hooks): (Vec<CheckConfig>, Vec<HookConfig>),
    ) {
        let (watch, hooks) = (Watch::start(&checks), Hooks::new(&hooks));
        let mut care = Self { parts, watch, hooks, untold: !checks.is_empty() };
        let mut again = interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            care.tell_unfit();
            tokio::select! {
                change = care.watch.next() => care.changed(&change),
                found = care.hooks.next() => {
                    let notice = trouble(&found, &care.parts.names.current());
                    tracing::warn!(because = notice.cause, "{}", notice.sentence);
                    care.parts.recorder.note(SystemTime::UNIX_EPOCH + clock::wall(), notice);
                }
                order = orders.recv() => match order {
                    Some(Order::Happened(happening)) => care.hooks.tell(*happening),
                    Some(Order::Reconfigure(checks, hooks)) => {
                        care.watch.reconfigure(&checks);
                        care.hooks.reconfigure(&hooks);
                        care.untold = true;
                    }
                    Some(Order::Look(answer)) => {
                        let checks = care.watch.rows().into_iter().map(check_row).collect();
                        let hooks = care.hooks.rows().into_iter().map(hook_row).collect();
                        // Whoever asked may have gone.
                        let _ = answer.send((checks, hooks));
                    }
                    Some(Order::Stop) | None => break,
                },
                _ = again.tick(), if care.untold => {}
            }
        }
        // Checks end here; nobody acts upon them any more.
        drop(care.watch);
        care.hooks.finish(HOOKS_WITHIN).await;
        programs::all_reaped(REAPED_WITHIN).await;
    }

    fn changed(&mut self, change: &Change) {
        self.untold = true;
        // First, so that the groups are on their way before anybody reads why.
        self.tell_unfit();
        log_change(change);
        let notice = changed(change, &self.parts.names.current());
        if self.hooks.wants(Occasion::CheckChanged) {
            self.hooks.tell(happened(change, &notice, &self.parts.names.current()));
        }
        self.parts.recorder.note(SystemTime::UNIX_EPOCH + clock::wall(), notice);
    }

    fn tell_unfit(&mut self) {
        if self.untold {
            let unfit = self.watch.unfit();
            let list = unfit.iter().map(|(pool, fitness)| (PoolId::from_name(pool), *fitness));
            self.untold = self.parts.mailbox.offer(Input::Fitness(list.collect())).is_err();
        }
    }
}
