//! One group of addresses: what is wanted of it, and what follows from what the host has.
//!
//! ```text
//!           acquire              all ready             release
//!   Idle ------------> Adding ------------> Held ----------------> Removing --> Idle
//!    ^                   | refused, foreign,  | could not be                 Absent
//!    |                   | late               | put back
//!    |                   v                    v
//!    +---- Failed ---- Withdrawing <----------+
//! ```
//!
//! A group that is handed over (see `handing`) goes from Held to Handed: its addresses stay as they
//! are, and are put back, until it is acquired again or released.
//!
//! Any order is taken in any state and replaces what was wanted before. Level-triggered: `settle`
//! compares wanted with present and returns the difference; calling it twice returns nothing new,
//! because a place at which a change is under way is left alone until its effect has been seen.
//! Whatever of ours is in the wrong place is removed in every state. Pure: `reconcile` feeds it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use self::footing::{Footing, Found};
pub(super) use self::routed::{Routed, RoutingPhase};
pub(super) use self::seats::Better;
use self::seats::{Seat, seats};
use self::survey::Survey;
use super::GroupAddresses;
use super::links::{Host, Link, Place, Readiness, bits};
use super::owners::Owners;
use super::reconcile::{Change, UnderWay};
use super::scoped::Scoped;
use crate::protocol::{Attachment, Failure, GroupKey, Instant, KernelEvent, Mode, Remover, Ticket};

mod composition;
mod footing;
mod routed;
mod seats;
mod survey;

/// Adding, and putting back, must have ended after this, not counting the time in which the changes
/// of the group wait for those of others, as long as the kernel goes on answering.
const ADD_TIMEOUT: Duration = Duration::from_secs(1);
/// So many addresses share one [`ADD_TIMEOUT`]; 1000 of IPv6 were measured to take up to 0.3 s.
const ADDRESSES_PER_TIMEOUT: usize = 100;
/// Repairs are told at most this often: a flush takes the addresses one by one, and each is put
/// back at once, but it is one deed of somebody and counts as one.
const REPAIRED_GAP: Duration = Duration::from_millis(100);

/// How long addresses that were lost are here without their written prefix: longer than a client of
/// DHCP or `ifup` takes to put back the host's own addresses, with which they went.
const PLAIN: Duration = Duration::from_secs(1);

/// What is wanted of a group, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of it shall be here, and nothing is.
    Idle,
    /// It shall be here.
    Adding { ticket: Ticket, deadline: Instant },
    /// It is here.
    Held { ticket: Ticket, repair: Repair },
    /// It shall go. Nobody waits for the outcome if there is no ticket.
    Removing { ticket: Option<Ticket> },
    /// Another host has it; what is here of it is left alone.
    Handed,
    /// It could not be held and shall go.
    Withdrawing { ticket: Ticket, failure: Failure },
}

/// Whether a held group is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repair {
    /// It is, and all that was repaired has been told.
    None,
    /// Somebody took addresses away; they must be back by then.
    Missing { deadline: Instant },
    /// Addresses are missing, but so is the link: nobody can put them back.
    Waiting,
    /// The configuration changed the addresses; they must be here by then.
    Growing { deadline: Instant },
    /// It is whole again, which is told then.
    Untold { at: Instant },
}

/// What settling a group led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// To be done.
    pub(super) changes: Vec<Change>,
    /// To be told.
    pub(super) events: Vec<KernelEvent>,
    /// When the group wants to be settled again.
    pub(super) again: Option<Instant>,
}

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    /// As it is in the file.
    whole: GroupAddresses,
    /// Of its further addresses those that may be here; all if not said.
    admitted: Option<BTreeSet<GroupKey>>,
    /// The group with just its first address and these.
    configured: GroupAddresses,
    /// Addresses that the group had before and that may still be here.
    former: BTreeSet<Scoped>,
    /// No longer configured; forgotten once nothing of it is here.
    retired: bool,
    /// What is not configured any more stays until then, or until an order says what becomes of it.
    until_told: Option<Instant>,
    state: State,
    /// Where each address belongs.
    seats: Vec<Seat>,
    /// Until then addresses are added without their written prefix: they were lost, perhaps with
    /// the host's own, and must not become the primary ones before those are back.
    plain_until: Option<Instant>,
    /// What was last told of its links and networks.
    footing: Footing,
    /// When a repair was last told.
    repaired: Option<Instant>,
    /// Who took away what is missing.
    remover: Remover,
    /// What the kernel refused since the last order.
    refusal: Option<Failure>,
    /// Whether all addresses are here, so that routes and rules can be.
    based: bool,
    /// How far the routes and rules are.
    routed: Routed,
}

impl Group {
    pub(super) fn new(configured: GroupAddresses) -> Self {
        Self {
            seats: seats(&configured),
            plain_until: None,
            whole: configured.clone(),
            admitted: None,
            configured,
            former: BTreeSet::new(),
            retired: false,
            until_told: None,
            state: State::Idle,
            footing: Footing::new(),
            repaired: None,
            remover: Remover::Somebody,
            refusal: None,
            based: false,
            routed: Routed::Pending,
        }
    }

    pub(super) fn acquire(&mut self, ticket: Ticket, now: Instant) {
        self.refusal = self.retired.then_some(Failure::Refused);
        if self.routed == Routed::Refused {
            self.routed = Routed::Pending;
        }
        self.until_told = None;
        let deadline = now + self.add_timeout();
        self.state = if let State::Held { .. } = self.state {
            State::Held { ticket, repair: Repair::Growing { deadline } }
        } else {
            State::Adding { ticket, deadline }
        };
    }

    /// A process before this one has added it; nothing is to be told but what changes.
    pub(super) const fn adopt(&mut self, ticket: Ticket) {
        self.state = State::Held { ticket, repair: Repair::None };
    }

    pub(super) fn release(&mut self, ticket: Option<Ticket>) {
        self.refusal = None;
        self.until_told = None;
        self.state = State::Removing { ticket };
    }

    /// What is here shall stay as it is, for its connections only.
    pub(super) fn hand(&mut self) {
        self.refusal = None;
        self.state = State::Handed;
    }

    fn add_timeout(&self) -> Duration {
        let shares = self.configured.addresses.len().div_ceil(ADDRESSES_PER_TIMEOUT).max(1);
        ADD_TIMEOUT * u32::try_from(shares).unwrap_or(u32::MAX)
    }

    /// The time that it has been given begins no earlier than this.
    pub(super) fn postpone(&mut self, at: Instant) {
        let until = at + self.add_timeout();
        if let State::Adding { deadline, .. }
        | State::Held {
            repair: Repair::Missing { deadline } | Repair::Growing { deadline },
            ..
        } = &mut self.state
        {
            *deadline = until.max(*deadline);
        }
    }

    /// Whether nothing is lost by forgetting the group.
    pub(super) fn is_forgettable(&self) -> bool {
        self.retired && self.state == State::Idle
    }

    /// The kernel refused to add an address.
    pub(super) fn refused(&mut self, failure: Failure) {
        match self.state {
            State::Adding { .. } => self.refusal = Some(failure),
            // Without its interface a held group waits; the link's events tell the core.
            State::Held { .. } if failure != Failure::NoInterface => self.refusal = Some(failure),
            State::Held { .. } | State::Idle | State::Removing { .. } => {}
            State::Handed | State::Withdrawing { .. } => {}
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.configured.name
    }

    pub(super) fn mode(&self) -> Mode {
        self.configured.mode
    }

    /// Every address that is, or was, of the group.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Scoped> + '_ {
        self.seated().chain(self.former.iter().copied())
    }

    /// Each address with the link that it is on, if the group is held, whole, and can be reached.
    pub(super) fn announceable<'a>(&self, host: &'a Host) -> Option<Vec<(&'a Link, IpAddr)>> {
        let State::Held { .. } = self.state else { return None };
        let announceable = self.places(host).map(|(_, place, link)| {
            let (place, link) = (place?, link.filter(|link| link.usable)?);
            let address = host.at(&place)?;
            (address.ours && address.readiness == Readiness::Ready).then_some((link, place.address))
        });
        announceable.collect()
    }

    /// Whether it is here, or about to be.
    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.state, State::Adding { .. } | State::Held { .. })
    }

    /// Whether it stays here only for its connections.
    pub(super) fn is_handed(&self) -> bool {
        self.state == State::Handed
    }

    /// Compares wanted with present.
    pub(super) fn settle(
        &mut self,
        host: &Host,
        (under_way, owners): (&UnderWay, &Owners),
        now: Instant,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        self.note_time(now);
        if let Some(answered) = under_way.got_on(self.configured.key) {
            self.postpone(answered);
        }
        if self.plain_until.is_some_and(|until| until <= now) {
            self.plain_until = None;
            self.relocate(host);
        }
        let usable = self.places(host).all(|(_, _, link)| link.is_some_and(|link| link.usable));
        if !self.retired {
            let is_deaf = |link: &Link| host.deaf.contains(&link.index);
            let deaf = self.places(host).any(|(_, _, link)| link.is_some_and(is_deaf));
            let deaf = deaf && usable;
            let attachment = if deaf { Attachment::Lost } else { self.attachment(usable) };
            let found = Found { usable, attachment, deaf };
            outcome.events.extend(self.footing.settle(self.configured.key, found, now));
        }
        match self.state {
            State::Adding { ticket, deadline } => {
                let mut survey = self.survey(host, (under_way, owners));
                self.note_routed(&mut survey);
                self.settle_adding(ticket, deadline, &survey, now);
                self.apply(&survey, under_way, &mut outcome);
            }
            State::Held { ticket, repair } => {
                let mut survey = if matches!(repair, Repair::Growing { .. }) {
                    self.survey(host, (under_way, owners))
                } else {
                    self.survey_of_held(host, (under_way, owners), now)
                };
                self.note_routed(&mut survey);
                let whole = matches!(repair, Repair::None | Repair::Untold { .. });
                if whole && (survey.stuck || survey.lost || survey.misrouted) {
                    self.remover = host.remover(now);
                }
                self.settle_held(ticket, repair, &survey, now);
                self.apply(&survey, under_way, &mut outcome);
            }
            State::Handed => {
                let survey = self.survey(host, (under_way, owners));
                self.apply(&survey, under_way, &mut outcome);
            }
            State::Idle | State::Removing { .. } | State::Withdrawing { .. } => {}
        }
        self.tell(now, &mut outcome);
        let told = self.until_told.into_iter();
        let later = told.chain(self.plain_until).chain(self.footing.deadline());
        outcome.again = outcome.again.into_iter().chain(later).min();
        self.settle_gone(host, (under_way, owners), &mut outcome);
        outcome
    }

    /// Whether another group has the address now.
    fn is_anothers(&self, address: Scoped, owners: &Owners) -> bool {
        owners.get(&address).is_some_and(|owner| *owner != self.configured.key)
    }

    /// Addresses that were lost come back without their written prefix, and get it later.
    fn survey_of_held(&mut self, host: &Host, known: (&UnderWay, &Owners), now: Instant) -> Survey {
        let survey = self.survey(host, known);
        let leads = |place: &Place| place.address.is_ipv4() && place.prefix < bits(place.address);
        if survey.lost && survey.missing.iter().any(leads) {
            self.plain_until = Some(now + PLAIN);
            self.relocate(host);
            return self.survey(host, known);
        }
        survey
    }

    fn settle_adding(&mut self, ticket: Ticket, deadline: Instant, survey: &Survey, now: Instant) {
        let failure = if self.refusal.is_some() {
            self.refusal
        } else if survey.homeless {
            Some(Failure::NoInterface)
        } else if survey.foreign {
            Some(Failure::ForeignAddress)
        } else if survey.duplicate {
            Some(Failure::Duplicate)
        } else if survey.misrouted {
            Some(Failure::Route)
        } else if deadline <= now && !survey.whole() {
            Some(Failure::Timeout)
        } else {
            None
        };
        if let Some(failure) = failure {
            self.state = State::Withdrawing { ticket, failure };
        } else if survey.whole() {
            // Told as what it is: all of it is here now.
            self.state = State::Held { ticket, repair: Repair::Growing { deadline } };
        }
    }

    fn settle_held(&mut self, ticket: Ticket, repair: Repair, survey: &Survey, now: Instant) {
        let missing = survey.lost || survey.misrouted;
        let late = match repair {
            Repair::Missing { deadline } | Repair::Growing { deadline } => deadline <= now,
            Repair::None | Repair::Waiting | Repair::Untold { .. } => false,
        };
        let failure = if self.refusal.is_some() {
            self.refusal
        } else if survey.supplanted || survey.foreign && missing {
            Some(Failure::ForeignAddress)
        } else if survey.duplicate {
            Some(Failure::Duplicate)
        } else if survey.misrouted && (late || matches!(repair, Repair::Growing { .. })) {
            Some(Failure::Route)
        } else if late && !survey.whole() && !survey.blocked {
            Some(Failure::Timeout)
        } else {
            None
        };
        if let Some(failure) = failure {
            self.state = State::Withdrawing { ticket, failure };
            return;
        }
        let deadline = now + self.add_timeout();
        let earliest = self.repaired.map_or(now, |before| before + REPAIRED_GAP).max(now);
        let next = match repair {
            Repair::None | Repair::Waiting | Repair::Untold { .. } if missing => {
                Repair::Missing { deadline }
            }
            Repair::Missing { .. } | Repair::Waiting if survey.whole() => {
                Repair::Untold { at: earliest }
            }
            Repair::None
            | Repair::Missing { .. }
            | Repair::Waiting
            | Repair::Growing { .. }
            | Repair::Untold { .. } => repair,
        };
        // That it has grown has to be told, however long it has to wait.
        let waits = survey.stuck && !matches!(next, Repair::Growing { .. });
        let repair = if waits { Repair::Waiting } else { next };
        self.state = State::Held { ticket, repair };
    }

    /// Orders what `survey` found to be done, as far as the state still wants it.
    fn apply(&mut self, survey: &Survey, under_way: &UnderWay, outcome: &mut Outcome) {
        let (State::Adding { .. } | State::Held { .. } | State::Handed) = self.state else {
            return;
        };
        let free = |place: &Place| !under_way.contains(place);
        let missing = survey.missing.iter().copied().filter(free);
        outcome.changes.extend(missing.map(Change::Add));
        for (place, connections) in &survey.misplaced {
            if free(place) {
                let (place, connections) = (*place, *connections);
                outcome.changes.push(Change::Remove { place, connections });
            }
        }
        let (group, State::Held { ticket, repair }) = (self.configured.key, self.state) else {
            return;
        };
        if matches!(repair, Repair::Growing { .. }) && survey.whole() {
            self.seats.iter_mut().for_each(|seat| seat.moved = false);
            outcome.events.push(KernelEvent::Present { group, ticket });
        } else if repair == Repair::None && survey.whole() {
            let moved = self.seats.iter_mut().map(|seat| std::mem::take(&mut seat.moved));
            if moved.fold(false, |any, moved| any | moved) {
                outcome.events.push(KernelEvent::Moved { group });
            }
        }
    }

    /// Tells of what is complete, and says when to look again.
    fn tell(&mut self, now: Instant, outcome: &mut Outcome) {
        let group = self.configured.key;
        match self.state {
            State::Adding { deadline, .. } => outcome.again = Some(deadline),
            State::Held { ticket, repair } => match repair {
                Repair::Growing { .. }
                    if outcome.events.contains(&KernelEvent::Present { group, ticket }) =>
                {
                    self.state = State::Held { ticket, repair: Repair::None };
                    if self.until_told.is_none() {
                        self.former.clear();
                    }
                }
                Repair::Untold { at } if at <= now => {
                    let remover = self.remover;
                    outcome.events.push(KernelEvent::Repaired { group, remover });
                    self.repaired = Some(now);
                    self.state = State::Held { ticket, repair: Repair::None };
                }
                Repair::Untold { at: later }
                | Repair::Missing { deadline: later }
                | Repair::Growing { deadline: later } => {
                    outcome.again = Some(later).filter(|later| *later > now);
                }
                Repair::None | Repair::Waiting => {}
            },
            State::Idle | State::Handed | State::Removing { .. } | State::Withdrawing { .. } => {}
        }
    }

    /// Removes everything of ours if nothing shall be here, and tells when nothing is.
    fn settle_gone(
        &mut self,
        host: &Host,
        (under_way, owners): (&UnderWay, &Owners),
        outcome: &mut Outcome,
    ) {
        let group = self.configured.key;
        let told = match self.state {
            State::Adding { .. } | State::Held { .. } | State::Handed => return,
            State::Idle => None,
            State::Removing { ticket } => {
                ticket.map(|ticket| KernelEvent::Absent { group, ticket })
            }
            State::Withdrawing { ticket, failure } => {
                Some(KernelEvent::Failed { group, ticket, failure })
            }
        };
        let mut gone = true;
        for address in self.addresses().filter(|it| !self.is_anothers(*it, owners)) {
            gone &= !under_way.touches(address);
            for found in host.places_of(address).filter(|found| found.ours) {
                gone = false;
                if !under_way.contains(&found.place) {
                    outcome.changes.push(Change::Remove { place: found.place, connections: true });
                }
            }
        }
        if gone && self.state != State::Idle {
            self.state = State::Idle;
            self.refusal = None;
            self.former.clear();
            outcome.events.extend(told);
        }
    }
}
