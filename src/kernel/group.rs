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
//! are until it is acquired again or released.
//!
//! Any order is taken in any state and replaces what was wanted before. Level-triggered: `settle`
//! compares wanted with present and returns the difference; calling it twice returns nothing new,
//! because a place at which a change is under way is left alone until its effect has been seen.
//! Whatever of ours is in the wrong place is removed in every state. Pure: `reconcile` feeds it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::GroupAddresses;
use super::links::{Host, Link, Place, Readiness};
use super::reconcile::{Change, UnderWay};
use crate::protocol::{Failure, Instant, KernelEvent, Mode, Remover, Ticket};

/// Adding, and putting back, must have ended after this.
const ADD_TIMEOUT: Duration = Duration::from_secs(1);
/// So many addresses share one [`ADD_TIMEOUT`]; 1000 of IPv6 were measured to take up to 0.3 s.
const ADDRESSES_PER_TIMEOUT: usize = 100;
/// Addresses of a group that are asked about: they are on the same few links and hosts, so that
/// these tell of all.
const ASKED_MAX: usize = 64;
/// Repairs are told at most this often: a flush takes the addresses one by one, and each is put
/// back at once, but it is one deed of somebody and counts as one.
const REPAIRED_GAP: Duration = Duration::from_millis(100);

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

/// How the host differs from the wanted presence of a group.
#[derive(Debug, Default)]
struct Survey {
    /// To be added, on links that can carry it.
    missing: Vec<Place>,
    /// Some address has no link, or is missing on a link that cannot carry it.
    stuck: bool,
    /// Some address has no link at all.
    homeless: bool,
    /// Some link is missing or cannot carry its addresses, or nothing may be added.
    blocked: bool,
    /// Some address is not usable yet, or a change is under way.
    unsettled: bool,
    /// Duplicate address detection failed.
    duplicate: bool,
    /// Some address is on this host without being ours.
    foreign: bool,
    /// Such an address stands exactly where ours should be.
    supplanted: bool,
    /// Ours, but not where it belongs; with whether the address itself is no longer wanted.
    misplaced: Vec<(Place, bool)>,
}

impl Survey {
    fn whole(&self) -> bool {
        self.missing.is_empty() && !self.blocked && !self.unsettled && self.misplaced.is_empty()
    }
}

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    configured: GroupAddresses,
    /// Addresses that the group had before a reconfiguration and that may still be here.
    former: BTreeSet<IpAddr>,
    /// No longer configured; forgotten once nothing of it is here.
    retired: bool,
    state: State,
    /// Where each address belongs; keeps the last known link.
    links: Vec<Option<u32>>,
    /// What was last told by `Usable`; `None` for a group that was configured again, of which the
    /// protocol may remember either.
    usable: Option<bool>,
    /// When a repair was last told.
    repaired: Option<Instant>,
    /// Who took away what is missing.
    remover: Remover,
    /// What the kernel refused since the last order.
    refusal: Option<Failure>,
}

impl Group {
    pub(super) fn new(configured: GroupAddresses) -> Self {
        Self {
            links: vec![None; configured.addresses.len()],
            configured,
            former: BTreeSet::new(),
            retired: false,
            state: State::Idle,
            usable: Some(true),
            repaired: None,
            remover: Remover::Somebody,
            refusal: None,
        }
    }

    pub(super) fn acquire(&mut self, ticket: Ticket, now: Instant) {
        self.refusal = self.retired.then_some(Failure::Refused);
        self.state = State::Adding { ticket, deadline: now + self.add_timeout() };
    }

    /// A process before this one has added it; nothing is to be told but what changes.
    pub(super) const fn adopt(&mut self, ticket: Ticket) {
        self.state = State::Held { ticket, repair: Repair::None };
    }

    pub(super) fn release(&mut self, ticket: Option<Ticket>) {
        self.refusal = None;
        self.state = State::Removing { ticket };
    }

    /// What is here shall stay as it is, for its connections only.
    pub(super) fn hand(&mut self) {
        self.refusal = None;
        self.state = State::Handed;
    }

    /// Takes in the new configuration of the group.
    pub(super) fn reconfigure(&mut self, configured: GroupAddresses, now: Instant) {
        if std::mem::take(&mut self.retired) {
            self.usable = None;
        }
        if self.configured == configured {
            return;
        }
        self.former.extend(self.configured.addresses.iter().map(|(address, _)| *address));
        for (address, _) in &configured.addresses {
            self.former.remove(address);
        }
        self.links = vec![None; configured.addresses.len()];
        self.configured = configured;
        if let State::Held { ticket, .. } = self.state {
            let repair = Repair::Growing { deadline: now + self.add_timeout() };
            self.state = State::Held { ticket, repair };
        }
    }

    fn add_timeout(&self) -> Duration {
        let shares = self.configured.addresses.len().div_ceil(ADDRESSES_PER_TIMEOUT).max(1);
        ADD_TIMEOUT * u32::try_from(shares).unwrap_or(u32::MAX)
    }

    /// The group is no longer configured.
    pub(super) fn retire(&mut self) {
        self.retired = true;
        match self.state {
            State::Adding { .. } | State::Held { .. } | State::Handed => self.release(None),
            State::Idle | State::Removing { .. } | State::Withdrawing { .. } => {}
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
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let configured = self.configured.addresses.iter().map(|(address, _)| *address);
        configured.chain(self.former.iter().copied())
    }

    /// The links that bear the group.
    pub(super) fn links(&self) -> impl Iterator<Item = u32> + '_ {
        self.links.iter().flatten().copied()
    }

    /// Finds anew where each address belongs. To be called when links or networks changed.
    pub(super) fn relocate(&mut self, host: &Host) {
        for ((address, _), known) in self.configured.addresses.iter().zip(&mut self.links) {
            let found = match &self.configured.interface {
                Some(name) => host.link_named(name),
                // The host's own address may be lost (IPv6, when the link was down) although the
                // link is still the right one.
                None => {
                    host.link_towards(*address).or_else(|| known.and_then(|index| host.link(index)))
                }
            };
            *known = found.map(|link| link.index);
        }
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

    /// Each address with the link on which it can be asked who has it, held here or not.
    pub(super) fn askable<'a>(&self, host: &'a Host) -> Vec<(&'a Link, IpAddr)> {
        let askable = self.places(host).filter_map(|(address, _, link)| {
            link.filter(|link| link.usable).map(|link| (link, address))
        });
        askable.take(ASKED_MAX).collect()
    }

    /// The link on which all its addresses belong, with them, if it is one.
    pub(super) fn place(&self) -> Option<(u32, Vec<IpAddr>)> {
        let first = self.links.first().copied().flatten()?;
        let addresses = self.configured.addresses.iter().map(|(address, _)| *address);
        self.links.iter().all(|link| *link == Some(first)).then(|| (first, addresses.collect()))
    }

    /// Whether it is here, or about to be.
    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.state, State::Adding { .. } | State::Held { .. })
    }

    /// Whether the address belongs on this link.
    pub(super) fn is_on(&self, address: IpAddr, link: u32) -> bool {
        let mut places = self.configured.addresses.iter().zip(&self.links);
        places.any(|((known, _), known_link)| *known == address && *known_link == Some(link))
    }

    fn places<'a>(
        &self,
        host: &'a Host,
    ) -> impl Iterator<Item = (IpAddr, Option<Place>, Option<&'a Link>)> {
        self.configured.addresses.iter().zip(&self.links).map(|((address, prefix), index)| {
            let link = index.and_then(|index| host.link(index));
            let (address, prefix) = (*address, *prefix);
            (address, link.map(|link| Place { address, link: link.index, prefix }), link)
        })
    }

    /// Compares wanted with present.
    pub(super) fn settle(&mut self, host: &Host, under_way: &UnderWay, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        let usable = self.places(host).all(|(_, _, link)| link.is_some_and(|link| link.usable));
        if self.usable != Some(usable) && !self.retired {
            self.usable = Some(usable);
            outcome.events.push(KernelEvent::Usable { group: self.configured.key, usable });
        }
        match self.state {
            State::Adding { ticket, deadline } => {
                let survey = self.survey(host, under_way);
                self.settle_adding(ticket, deadline, &survey, now);
                self.apply(&survey, under_way, &mut outcome);
            }
            State::Held { ticket, repair } => {
                let survey = self.survey(host, under_way);
                let whole = matches!(repair, Repair::None | Repair::Untold { .. });
                if whole && (survey.stuck || !survey.missing.is_empty()) {
                    self.remover = host.remover(now);
                }
                self.settle_held(ticket, repair, &survey, now);
                self.apply(&survey, under_way, &mut outcome);
            }
            State::Idle | State::Handed | State::Removing { .. } | State::Withdrawing { .. } => {}
        }
        self.tell(now, &mut outcome);
        self.settle_gone(host, under_way, &mut outcome);
        outcome
    }

    fn survey(&self, host: &Host, under_way: &UnderWay) -> Survey {
        let mut survey = Survey::default();
        for (address, place, link) in self.places(host) {
            survey.foreign |= host.places(address).any(|found| !found.ours);
            let misplaced = host.places(address).filter(|it| it.ours && Some(it.place) != place);
            survey.misplaced.extend(misplaced.map(|it| (it.place, false)));
            let (Some(place), Some(link)) = (place, link) else {
                (survey.homeless, survey.blocked, survey.stuck) = (true, true, true);
                continue;
            };
            let kept_out = host.closed && host.at(&place).is_none();
            survey.blocked |= !link.usable || kept_out;
            survey.stuck |= kept_out || !link.usable && host.at(&place).is_none();
            survey.unsettled |= under_way.removing(&place);
            survey.supplanted |= host.at(&place).is_some_and(|found| !found.ours);
            match host.at(&place).map(|it| it.readiness) {
                Some(Readiness::Ready) => {}
                Some(Readiness::Tentative) => survey.unsettled = true,
                Some(Readiness::Duplicate) => survey.duplicate = true,
                None if link.usable && !kept_out => survey.missing.push(place),
                None => {}
            }
        }
        for address in &self.former {
            let ours = host.places(*address).filter(|it| it.ours);
            survey.misplaced.extend(ours.map(|it| (it.place, true)));
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
        let missing = !survey.missing.is_empty();
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
        let repair = if survey.stuck { Repair::Waiting } else { next };
        self.state = State::Held { ticket, repair };
    }

    /// Orders what `survey` found to be done, as far as the state still wants it.
    fn apply(&self, survey: &Survey, under_way: &UnderWay, outcome: &mut Outcome) {
        let (State::Adding { .. } | State::Held { .. }) = self.state else { return };
        let free = |place: &Place| !under_way.contains(place);
        let missing = survey.missing.iter().copied().filter(free);
        outcome.changes.extend(missing.map(Change::Add));
        for (place, connections) in &survey.misplaced {
            if free(place) {
                let (place, connections) = (*place, *connections);
                outcome.changes.push(Change::Remove { place, connections });
            }
        }
        if let State::Held { ticket, repair: Repair::Growing { .. } } = self.state
            && survey.whole()
        {
            let group = self.configured.key;
            outcome.events.push(KernelEvent::Present { group, ticket });
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
                }
                Repair::Untold { at } if at <= now => {
                    let remover = self.remover;
                    outcome.events.push(KernelEvent::Repaired { group, remover });
                    self.repaired = Some(now);
                    self.state = State::Held { ticket, repair: Repair::None };
                }
                Repair::Untold { at: later }
                | Repair::Missing { deadline: later }
                | Repair::Growing { deadline: later } => outcome.again = Some(later),
                Repair::None | Repair::Waiting => {}
            },
            State::Idle | State::Handed | State::Removing { .. } | State::Withdrawing { .. } => {}
        }
    }

    /// Removes everything of ours if nothing shall be here, and tells when nothing is.
    fn settle_gone(&mut self, host: &Host, under_way: &UnderWay, outcome: &mut Outcome) {
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
        for address in self.addresses() {
            gone &= !under_way.touches(address);
            for found in host.places(address).filter(|found| found.ours) {
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
