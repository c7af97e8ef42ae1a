//! Addresses that are to go, and stay until their connections have been ended.
//!
//! While it is here an address answers, so a client loses nothing by its staying: the outage of a
//! move begins with the removal. What bounds it is work: every connection that was there is ended,
//! however late this thread is called, for [`BOUND`] of its own processor time; those that clients
//! begin again meanwhile are ended for [`BUDGET`]. How long this thread does nothing else is bounded
//! too ([`SLICE`]): with few connections all is done within the call that admits the change, with
//! thousands one slice follows the other, and between them `apply` does the rest of its work.
//! Removals that end no connections never wait. In a planned move requests that are under way get
//! [`GRACE`] to end by themselves first; new connections are kept away meanwhile (see `gate`), so
//! that mostly there is nothing left to be ended.
//!
//! ```text
//!   admit --> spared: none left, or the grace is over --+
//!         \-> waiting <--------------------------------+
//!             waiting --> one slice after the other --> nothing found, or only newcomers and the
//!                                                        budget is spent, or so is the bound
//!                                                        --> the removals may be made
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant as Moment;

use super::counters::Counters;
use super::destroy::{Destroyer, Rest};
use super::reconcile::Change;
use super::scoped::Scoped;

/// At a stretch. A clean move may take 5 ms in all.
const SLICE: Duration = Duration::from_millis(3);
/// For connections that begin while those that were there are ended: clients that were reset and
/// connect again, to an address that still answers. A fifth of what an offered move may take in
/// profile `lan`.
const BUDGET: Duration = Duration::from_millis(50);
/// For the connections that were there, in processor time of this thread: time in which a busy host
/// lets it wait does not count. 4000 connections with both ends on this host took 37 ms.
const BOUND: Duration = Duration::from_secs(1);
/// For a daemon that starts or stops, whatever this thread has got of the processor: a stopping one
/// may take 2 s, and what is left is reset by the next owner's kernel.
const SWEEP_BOUND: Duration = Duration::from_secs(1);

/// Requests that are under way when an address goes in a planned move may take so long. Balancers
/// answer most within some milliseconds; whoever has just been sent away tries again a second later.
const GRACE: Duration = Duration::from_millis(50);
/// Between two looks whether any is left.
const GRACE_LOOK: Duration = Duration::from_millis(2);
/// The removal comes at once after it has been told that it is planned.
const SPARED: Duration = Duration::from_millis(100);

/// Removals that wait; those admitted at once are one batch.
#[derive(Debug, Default)]
pub(super) struct Closing {
    destroyer: Destroyer,
    batches: VecDeque<Batch>,
    /// Addresses whose next removal is planned, and until when that is so.
    planned: BTreeMap<Scoped, Moment>,
    spared: Vec<Spared>,
}

/// Removals that wait for requests to end.
#[derive(Debug)]
struct Spared {
    removals: Vec<Change>,
    addresses: BTreeSet<Scoped>,
    look_at: Moment,
    until: Moment,
}

#[derive(Debug)]
struct Batch {
    removals: Vec<Change>,
    addresses: BTreeSet<Scoped>,
    /// Whether its first slice has begun.
    begun: bool,
    /// Processor time of its slices.
    spent: Duration,
    /// Since when all connections that were there at first have been ended.
    through: Option<Moment>,
}

impl Closing {
    /// Takes in what is to be done and returns what may be done now.
    pub(super) fn admit(&mut self, changes: Vec<Change>) -> Vec<Change> {
        let (removals, others): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .partition(|change| matches!(change, Change::Remove { connections: true, .. }));
        let now = Moment::now();
        self.planned.retain(|_, until| *until > now);
        let planned = |change: &Change| self.planned.contains_key(&Scoped::of(&change.place()));
        let (spared, removals): (Vec<_>, Vec<_>) = removals.into_iter().partition(planned);
        if !spared.is_empty() {
            let (addresses, until) = (addresses_of(&spared), now + GRACE);
            self.spared.push(Spared { removals: spared, addresses, look_at: now, until });
        }
        self.queue(removals);
        others
    }

    /// The next removal of these addresses is planned: requests may end first.
    pub(super) fn spare(&mut self, addresses: Vec<Scoped>) {
        let until = Moment::now() + SPARED;
        self.planned.extend(addresses.into_iter().map(|address| (address, until)));
    }

    /// When to [`Closing::proceed`] although nothing is waiting.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.spared.iter().map(|spared| spared.look_at).min()
    }

    /// Lets those go on whose requests have ended, or have had their time.
    fn revise_spared(&mut self) {
        let now = Moment::now();
        let due = self.spared.extract_if(.., |spared| spared.look_at <= now);
        for mut spared in due.collect::<Vec<_>>() {
            if now < spared.until && self.destroyer.any(&spared.addresses, now + SLICE) {
                spared.look_at = now + GRACE_LOOK;
                self.spared.push(spared);
            } else {
                self.queue(spared.removals);
            }
        }
    }

    fn queue(&mut self, removals: Vec<Change>) {
        if !removals.is_empty() {
            let addresses = addresses_of(&removals);
            match self.batches.back_mut().filter(|batch| !batch.begun) {
                Some(batch) => {
                    batch.removals.extend(removals);
                    batch.addresses.extend(&addresses);
                }
                None => self.batches.push_back(Batch {
                    removals,
                    addresses,
                    begun: false,
                    spent: Duration::ZERO,
                    through: None,
                }),
            }
        }
    }

    /// Whether [`Closing::proceed`] has something to do.
    pub(super) fn is_waiting(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Works for a slice of time; returns the removals that may be made now.
    pub(super) fn proceed(&mut self, counters: &Counters) -> Vec<Change> {
        self.revise_spared();
        let until = Moment::now() + SLICE;
        let mut ready = Vec::new();
        while let Some(batch) = self.batches.front_mut() {
            batch.begun = true;
            let before = processor_time();
            let slice = self.destroyer.end(&batch.addresses, until);
            batch.spent += processor_time().saturating_sub(before);
            counters.connections_ended.add(slice.ended);
            let goes_on = match slice.rest {
                Rest::Work => batch.spent < BOUND,
                // The first time they are only presumed: another look tells whether there are any.
                Rest::Newcomers => batch.through.get_or_insert_with(Moment::now).elapsed() < BUDGET,
                Rest::Nothing | Rest::Stuck => false,
            };
            if goes_on {
                break;
            }
            counters.connections_left.add(usize::from(slice.rest != Rest::Nothing));
            self.destroyer.forget();
            ready.extend(self.batches.pop_front().into_iter().flat_map(|batch| batch.removals));
        }
        ready
    }

    /// Ends the connections of addresses that are about to go, without pause, within
    /// [`SWEEP_BOUND`].
    pub(super) fn proceed_to_the_end(&mut self, changes: Vec<Change>, counters: &Counters) {
        self.admit(changes);
        let until = Moment::now() + SWEEP_BOUND;
        while self.is_waiting() && Moment::now() < until {
            self.proceed(counters);
        }
        self.batches.clear();
        self.destroyer.forget();
    }
}

/// What the calling thread has had of the processor.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.map(Duration::from).expect("this clock is in every Linux since 2.6.12")
}

fn addresses_of(removals: &[Change]) -> BTreeSet<Scoped> {
    removals.iter().map(|change| Scoped::of(&change.place())).collect()
}
