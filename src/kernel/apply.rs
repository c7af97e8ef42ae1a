//! The kernel thread: takes orders, carries out what `reconcile` finds to be done, tells events.
//!
//! One loop in which nothing waits but the loop itself: changes run as futures (at most
//! [`CHANGES_MAX`] at once), events are read when they are there, dumps are answered by the kernel
//! within the call. Any future may be dropped at any time: what it did is seen by the events.

mod acquiring;
mod moving;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, mpsc as blocking};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use rtnetlink::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant as Moment, sleep_until};

use super::addresses;
use super::adoption::Kept;
use super::announce::{self, Announcer};
use super::claimants::Claimants;
use super::closing::Closing;
use super::connections::Connections;
use super::counters::Counters;
use super::deafness::Deafness;
use super::fence::Fence;
use super::group::Better;
use super::handing::{self, Handing};
use super::mark::Mark;
use super::orphans;
use super::probe::Probes;
use super::reconcile::{Change, Reconciler, Refusal};
use super::routers;
use super::routes::Routes;
use super::routing::{GroupRouting, Missing};
use super::scoped::{Scoped, Zones};
use super::verify::Verifier;
use super::watch::{self, Received, Watch};
use super::withdrawals::Withdrawals;
use super::{EventSink, Order, Settings, StartError, Started, Ward};
use crate::protocol::{GroupKey, Instant, KernelEvent, Mode, Remover};

mod speaking;

/// Changes asked for at once. More would only fill the sockets' buffers.
pub(super) const CHANGES_MAX: usize = 64;
/// Orders taken before their effects are computed, so that others get their turn as well.
const ORDERS_MAX: usize = 1024;
/// A connection to the kernel that broke is opened again after this.
const REOPEN: Duration = Duration::from_millis(100);

type Shared = (Arc<Counters>, Connections, Withdrawals, Zones, Missing);
type Ready = blocking::Sender<Result<Started, StartError>>;

/// The body of the thread.
pub(super) fn run(
    settings: Settings,
    events: EventSink,
    shared: Shared,
    (orders, ready): (UnboundedReceiver<Order>, Ready),
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            drop(ready.send(Err(StartError::Thread(error))));
            return;
        }
    };
    runtime.block_on(async {
        match Shell::open(settings, events, shared).await {
            Ok(mut shell) => {
                drop(ready.send(Ok(Started {
                    fence: shell.fence.in_force(),
                    no_preserving: shell.fence.no_preserving(),
                    preserving: shell.fence.preserving(),
                    tables: shell.fence.tables(),
                })));
                shell.serve(orders).await;
                if !shell.leaving {
                    shell.remove_everything().await;
                    shell.fence.remove();
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    });
}

pub(super) struct Shell {
    started: Moment,
    pub(super) mark: Mark,
    pub(super) reconciler: Reconciler,
    pub(super) watch: Watch,
    pub(super) handle: Handle,
    announcer: Announcer,
    claimants: Claimants,
    pub(super) closing: Closing,
    fence: Fence,
    handing: Handing,
    pub(super) running: FuturesUnordered<BoxFuture<'static, (Change, Result<(), Refusal>)>>,
    backlog: VecDeque<Change>,
    events: EventSink,
    pub(super) counters: Arc<Counters>,
    connections: Connections,
    withdrawals: Withdrawals,
    zones: Zones,
    ward: Ward,
    probes: Probes,
    deafness: Deafness,
    verifier: Verifier,
    pub(super) routes: Routes,
    pub(super) routing: GroupRouting,
    /// The connection broke; open it again then.
    broken: Option<Moment>,
    /// What a sweep does not remove.
    pub(super) kept: Kept,
    /// The next process goes on with all that is here.
    leaving: bool,
}

impl Shell {
    async fn open(
        settings: Settings,
        events: EventSink,
        (counters, connections, withdrawals, zones, missing): Shared,
    ) -> Result<Self, StartError> {
        announce::permitted()?;
        let handle = addresses::connect().map_err(StartError::Netlink)?;
        if !addresses::permitted(handle.clone()).await {
            return Err(StartError::NotPermitted { capability: "CAP_NET_ADMIN" });
        }
        let mark = settings.mark();
        let watch = Watch::open(mark).map_err(StartError::Netlink)?;
        let (kept, peers) = (Kept::new(&settings), settings.peer_addresses.clone());
        let serves = !settings.groups.is_empty();
        let majority = settings.groups.iter().any(|group| group.mode == Mode::Majority);
        let mut shell = Self {
            started: Moment::now(),
            mark,
            reconciler: Reconciler::new(settings.groups, Instant::START),
            watch,
            handle,
            announcer: Announcer::default(),
            claimants: Claimants::open(),
            closing: Closing::default(),
            fence: Fence::default(),
            handing: Handing::new(connections.clone()),
            running: FuturesUnordered::new(),
            backlog: VecDeque::new(),
            events,
            counters,
            connections,
            withdrawals,
            zones,
            ward: settings.ward,
            verifier: Verifier::new(settings.peer_addresses.clone()),
            routes: Routes::new(mark),
            routing: GroupRouting::new(mark, missing),
            probes: Probes::new(settings.peer_addresses),
            deafness: Deafness::default(),
            broken: None,
            kept,
            leaving: false,
        };
        shell.reconciler.acquaint(peers);
        let swept = shell.sweep().await?;
        shell.counters.swept.add(swept);
        if swept > 0 {
            tracing::info!(addresses = swept, "removed addresses of a previous daemon");
        }
        // A witness has nothing that another daemon's table could hold back.
        if let Some(fence) = settings.fence.as_ref().filter(|_| serves) {
            let removed = orphans::remove(&fence.table);
            shell.counters.swept.add(removed.addresses);
        }
        // Not before the sweep: a predecessor's gate keeps its addresses closed until then.
        shell.fence = if shell.kept.is_empty() {
            Fence::open(settings.fence, majority)?
        } else {
            shell.reconciler.adopt(&settings.adopted);
            shell.resynchronise();
            shell.zones.replace(shell.reconciler.zones());
            Fence::adopt(settings.fence, settings.granted.as_ref(), &shell.reconciler)?
        };
        shell.announcer.vouched = shell.fence.vouched();
        shell.kept = Kept::default();
        shell.reconciler.doubt();
        shell.settle();
        shell.claimants.listen_for(shell.reconciler.addresses().collect());
        Ok(shell)
    }

    fn now(&self) -> Instant {
        let passed = self.started.elapsed().as_nanos();
        Instant::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// Works until told to stop, or until nobody can order anything any more.
    async fn serve(&mut self, mut orders: UnboundedReceiver<Order>) {
        loop {
            self.ward.turn();
            self.claimants.note_time(self.now());
            let deadline = self.deadline();
            tokio::select! {
                biased;
                order = orders.recv() => {
                    let Some(order) = order else { return };
                    if !self.obey_all(order, &mut orders) {
                        return;
                    }
                }
                () = self.watch.readable() => self.receive(),
                Some((change, answer)) = self.running.next() => self.answered(change, answer),
                () = self.claimants.readable() => self.hear_claimants(),
                tested = self.probes.next() => self.tested(tested),
                () = tokio::task::yield_now(), if self.closing.is_waiting() => {}
                () = self.verifier.readable() => {
                    self.verifier.receive(&self.reconciler, self.now());
                }
                () = self.routing.readable() => self.routing.receive(),
                () = sleep_until(deadline) => {}
            }
            if self.claimants.is_overdue(self.now()) {
                self.hear_claimants();
            }
            self.settle();
            self.fence.prolong(&self.reconciler);
            self.probes.learn(&self.reconciler, self.now());
            self.test_links();
            self.verify();
        }
    }

    fn verify(&mut self) {
        let (now, reconciler) = (self.now(), &self.reconciler);
        let events = self.verifier.proceed(reconciler, &mut self.announcer, &self.counters, now);
        events.into_iter().for_each(|event| (self.events)(event));
    }

    pub(super) fn deadline(&self) -> Moment {
        let far = self.started.elapsed() + Duration::from_secs(3600);
        let wanted = self.reconciler.deadline().into_iter().chain(self.probes.deadline());
        let wanted = wanted.chain(self.claimants.deadline()).chain(self.deafness.deadline());
        let wanted = wanted.chain(self.verifier.deadline(self.now())).min();
        let wanted = wanted.map_or(far, |at| Duration::from_nanos(at.as_nanos()));
        let moment = self.started + wanted.min(far);
        let moment = self.closing.deadline().map_or(moment, |at| moment.min(at));
        let moment = self.fence.deadline().map_or(moment, |at| moment.min(at));
        let routes = self.routes.deadline(&self.reconciler);
        let routes = routes.into_iter().chain(self.routing.deadline()).min();
        let moment = routes.map_or(moment, |at| moment.min(at));
        self.broken.map_or(moment, |broken| moment.min(broken))
    }

    /// Returns whether to go on.
    fn obey(&mut self, order: Order) -> bool {
        let now = self.now();
        match order {
            Order::Acquire(group, ticket, further) => self.acquire((group, ticket), further, now),
            Order::Hand(group, ticket) => self.hand(vec![(group, ticket)]),
            Order::Forward(group, to) => self.forward(vec![(group, to)]),
            Order::Release(group, ticket) => {
                self.handing.end(group, false, (&self.reconciler, &mut self.fence));
                self.verifier.stop(group);
                self.connections.stop(group);
                self.reconciler.release(group, ticket);
            }
            Order::LetFinish(group) => self.let_finish(group),
            Order::Announce(group) => self.announce(group),
            Order::Probe(group, at) => self.probe(group, &at, now),
            Order::Tickle(group) => self.connections.tickle(group),
            Order::Tell(event) => self.tell(event),
            Order::Verify(wish) => self.verifier.begin(wish, &self.reconciler, now),
            Order::Doubt(addresses) => self.deafness.doubt(addresses),
            Order::Correct(wish) => self.verifier.correct(wish, &self.reconciler, now),
            Order::Acquaint(from, hosts) => {
                self.counters.neighbour_lists.add(1);
                self.verifier.acquaint(now, from, hosts);
            }
            Order::TestReach => {
                self.counters.reach_tests.add(1);
                self.probes.test(&self.reconciler, now);
            }
            Order::Reconfigure(groups, peer_addresses) => {
                self.reconciler.reconfigure(groups, now);
                self.claimants.listen_for(self.reconciler.addresses().collect());
                self.reconciler.acquaint(peer_addresses.clone());
                self.probes.reconfigure(peer_addresses, now);
                self.fence.change_doors(&mut self.reconciler);
                self.routing.reconfigure(&self.reconciler);
            }
            Order::LoseGate => self.fence.is_lost(&mut self.reconciler),
            Order::RouterSeats(groups, answer) => {
                // Nobody waits any more when the daemon ends.
                drop(answer.send(routers::seats(&self.reconciler, groups)));
            }
            Order::Nudge => {}
            Order::Stop => return false,
            Order::Leave => {
                self.leaving = true;
                return false;
            }
        }
        true
    }

    pub(super) fn receive(&mut self) {
        let reconciler = &mut self.reconciler;
        match self.watch.receive(|observation| reconciler.observe(observation)) {
            Received::All | Received::More => {}
            Received::Overrun => {
                self.counters.overruns.add(1);
                self.reconciler.doubt();
            }
            Received::Broken => self.note_broken(),
        }
    }

    fn note_broken(&mut self) {
        self.counters.errors.add(1);
        self.reconciler.doubt();
        self.broken.get_or_insert(Moment::now() + REOPEN);
    }

    pub(super) fn answered(&mut self, change: Change, answer: Result<(), Refusal>) {
        let now = self.now();
        let mut next = Some((change, answer));
        while let Some((change, answer)) = next {
            if let Err(refusal) = answer {
                self.counters.errors.add(1);
                tracing::debug!(?change, ?refusal, "change refused");
                if refusal == Refusal::Disconnected {
                    self.note_broken();
                }
            }
            if let (Change::Remove { place, .. }, Ok(())) = (&change, &answer)
                && !self.reconciler.is_elsewhere(place)
            {
                self.fence.is_gone(Scoped::of(place));
            }
            self.reconciler.answered(&change, answer, now);
            next = self.running.next().now_or_never().flatten();
        }
    }

    /// Does and tells what follows from all that was taken in.
    pub(super) fn settle(&mut self) {
        self.reopen();
        loop {
            if self.in_doubt() {
                self.resynchronise();
            }
            self.routes.proceed(&mut self.reconciler);
            let ended = self.handing.follow_hardware(&mut self.reconciler);
            ended.into_iter().for_each(|event| (self.events)(event));
            let now = self.now();
            self.reconciler.set_closed(!self.fence.may_add());
            let lapsed = self.fence.lapsed().then_some(Remover::Lifetime);
            if let Some(remover) = self.ward.removal().or(lapsed) {
                self.reconciler.note_removal(remover, now);
            }
            let mut settled = self.reconciler.settle(now);
            // Routes come after the addresses of their group, and go before them.
            let (routed, back) = self.routing.proceed(&mut self.reconciler);
            self.counters.repairs.add(back);
            let fence = (&mut self.fence, now);
            self.handing.mute_what_comes(&mut settled.changes, &mut self.reconciler, fence);
            self.fence.cover(&mut settled.changes, &mut self.reconciler, now);
            // Connections are ended while their address is still there.
            self.backlog.extend(self.closing.admit(settled.changes));
            self.backlog.extend(self.closing.proceed(&self.counters));
            while self.running.len() < CHANGES_MAX {
                let Some(change) = self.backlog.pop_front() else { break };
                if matches!(change, Change::Add(_)) && !self.fence.may_add() {
                    // It may be added by and by, or not at all any more: the host is looked at again.
                    self.reconciler.answered(&change, Err(Refusal::Missing), now);
                    continue;
                }
                if let Change::Remove { place, .. } = &change
                    && let Some(link) = self.reconciler.host().drags(place)
                {
                    addresses::promote_secondaries(&link.name);
                }
                self.reconciler.given(&change, now);
                let (handle, how) = (self.handle.clone(), (self.mark, self.fence.lifetime()));
                let made = addresses::make(handle, change, how);
                self.running.push(made.boxed());
            }
            for event in settled.events {
                self.tell(event);
            }
            // Settling notices when an effect was not seen in time.
            if !self.in_doubt() && !routed {
                self.fence.uncover();
                self.follow_links();
                self.reconciler.better().iter().for_each(Better::log);
                let hardware = self.reconciler.hardware_news().map(KernelEvent::Hardware);
                hardware.into_iter().for_each(|event| (self.events)(event));
                return;
            }
        }
    }

    fn tell(&self, event: KernelEvent) {
        let name = |group: &GroupKey| self.reconciler.name(*group);
        match &event {
            KernelEvent::Repaired { group, .. } => {
                self.counters.repairs.add(1);
                tracing::debug!(group = name(group), "addresses restored");
            }
            KernelEvent::Failed { group, failure, ticket } => {
                self.withdrawals.gone(*group, *ticket);
                tracing::debug!(group = name(group), ?failure, "not present");
            }
            KernelEvent::Absent { group, ticket } => self.withdrawals.gone(*group, *ticket),
            KernelEvent::Usable { group, usable } => {
                tracing::debug!(group = name(group), usable, "links changed");
            }
            KernelEvent::Present { group, .. } if self.fence.no_preserving().is_none() => {
                let keepable = handing::keepable(*group, &self.reconciler, &self.fence);
                keepable.into_iter().for_each(|event| (self.events)(event));
            }
            KernelEvent::Present { .. }
            | KernelEvent::Keepable { .. }
            | KernelEvent::Kept(_)
            | KernelEvent::Attached { .. }
            | KernelEvent::Moved { .. }
            | KernelEvent::Reach(_)
            | KernelEvent::Claimed { .. }
            | KernelEvent::Hardware(_)
            | KernelEvent::Verified { .. }
            | KernelEvent::Neighbours(_)
            | KernelEvent::Connections { .. }
            | KernelEvent::ConnectionsRemain(_) => {}
        }
        (self.events)(event);
    }

    fn in_doubt(&self) -> bool {
        self.reconciler.needs_resynchronising() && self.broken.is_none()
    }

    fn resynchronise(&mut self) {
        let dumped = match self.watch.discard() {
            Received::Broken => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
            Received::All | Received::More | Received::Overrun => watch::dump(self.mark),
        };
        match dumped {
            Ok(observations) => self.reconciler.resynchronised(observations),
            Err(error) => {
                tracing::warn!(%error, "links and addresses cannot be read from the kernel");
                self.note_broken();
            }
        }
    }

    /// Opens the connections to the kernel again, if they broke and it is time.
    fn reopen(&mut self) {
        if self.broken.is_none_or(|at| at > Moment::now()) {
            return;
        }
        match (Watch::open(self.mark), addresses::connect()) {
            (Ok(watch), Ok(handle)) => {
                (self.watch, self.handle, self.broken) = (watch, handle, None);
                self.reconciler.doubt();
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "netlink cannot be reopened");
                self.broken = Some(Moment::now() + REOPEN);
            }
        }
    }
}
