//! Changes that were ordered and whose effect has not been seen yet. Pure, part of `reconcile`.

use std::collections::BTreeMap;

use crate::kernel::change::Change;
use crate::kernel::links::{Observation, Place, Readiness};
use crate::kernel::scoped::Scoped;
use crate::protocol::{GroupKey, Instant};

/// A group with fewer changes under way is looked through at every event. With more, that would
/// cost the square of their number; then only at unexpected events and when all were seen.
const LOOKED_THROUGH: usize = 32;

/// A change that was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct Ordered {
    /// Of which group.
    pub(in crate::kernel) group: GroupKey,
    /// Or removing.
    pub(in crate::kernel) adding: bool,
    /// When.
    pub(in crate::kernel) at: Instant,
    /// When it was given to the kernel; until then it waits for others.
    pub(in crate::kernel) given: Option<Instant>,
    /// The effect was seen.
    pub(in crate::kernel) seen: bool,
    /// The kernel answered; the effect must be seen by then.
    pub(in crate::kernel) until: Option<Instant>,
}

/// How many changes of a group are under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Open {
    all: usize,
    unseen: usize,
    unanswered: usize,
}

impl Open {
    fn progress(self) -> Progress {
        let little = self.all < LOOKED_THROUGH || self.unseen == 0;
        if little { Progress::Complete } else { Progress::Partial }
    }
}

/// The changes whose effect has not been seen, or which the kernel has not answered.
#[derive(Debug, Default)]
pub(in crate::kernel) struct UnderWay {
    pub(in crate::kernel) places: BTreeMap<Place, Ordered>,
    /// Counted, so that a group of 1000 addresses is not looked through at every event.
    open: BTreeMap<GroupKey, Open>,
    /// When the kernel last answered to any of them.
    answered: Instant,
}

/// Whether something expected happened, and what it means for the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) enum Progress {
    /// It was not expected: look at once.
    Unexpected,
    /// Many more of the kind are to come: nothing follows yet.
    Partial,
    /// Few are left: look at once.
    Complete,
}

impl UnderWay {
    /// Whether a change is under way at this place.
    pub(in crate::kernel) fn contains(&self, place: &Place) -> bool {
        self.places.contains_key(place)
    }

    /// Whether the address is being removed from this place.
    pub(in crate::kernel) fn removing(&self, place: &Place) -> bool {
        self.places.get(place).is_some_and(|ordered| !ordered.adding)
    }

    /// Whether a change is under way at any place of the address.
    pub(in crate::kernel) fn touches(&self, address: Scoped) -> bool {
        self.places_of(address).next().is_some()
    }

    fn places_of(&self, scoped: Scoped) -> impl Iterator<Item = (&Place, &Ordered)> {
        let address = scoped.address();
        let first = Place { address, link: 0, prefix: 0 };
        let last = Place { address, link: u32::MAX, prefix: u8::MAX };
        self.places.range(first..=last).filter(move |(place, _)| scoped.reaches(place.link))
    }

    /// Whether the address is being added at another place.
    pub(in crate::kernel) fn touches_beside(&self, place: &Place) -> bool {
        let mut beside = self.places_of(Scoped::of(place)).filter(|(other, _)| *other != place);
        beside.any(|(_, ordered)| ordered.adding)
    }

    pub(in crate::kernel) fn begin(&mut self, change: &Change, group: GroupKey, at: Instant) {
        let adding = matches!(change, Change::Add(_));
        let ordered = Ordered { group, adding, at, given: None, seen: false, until: None };
        self.places.insert(change.place(), ordered);
        let open = self.open.entry(group).or_default();
        open.all += 1;
        open.unseen += 1;
        open.unanswered += 1;
    }

    /// The change was given to the kernel.
    pub(in crate::kernel) fn give(&mut self, place: &Place, now: Instant) {
        if let Some(ordered) = self.places.get_mut(place) {
            ordered.given.get_or_insert(now);
        }
    }

    /// The kernel has answered to a change, whose effect must be seen by then.
    pub(in crate::kernel) fn answer(&mut self, place: &Place, (now, until): (Instant, Instant)) {
        self.answered = now;
        let Some(ordered) = self.places.get_mut(place) else { return };
        let first = ordered.until.replace(until).is_none();
        if let Some(open) = self.open.get_mut(&ordered.group) {
            open.unanswered = open.unanswered.saturating_sub(usize::from(first));
        }
    }

    /// When the kernel has last answered to anybody, if changes of the group wait for that.
    pub(in crate::kernel) fn got_on(&self, group: GroupKey) -> Option<Instant> {
        let waits = self.open.get(&group).is_some_and(|open| open.unanswered > 0);
        waits.then_some(self.answered)
    }

    pub(in crate::kernel) fn end(&mut self, place: &Place) -> Progress {
        let Some(ordered) = self.places.remove(place) else { return Progress::Unexpected };
        let Some(open) = self.open.get_mut(&ordered.group) else { return Progress::Unexpected };
        open.all = open.all.saturating_sub(1);
        open.unseen = open.unseen.saturating_sub(usize::from(!ordered.seen));
        open.unanswered = open.unanswered.saturating_sub(usize::from(ordered.until.is_none()));
        let open = *open;
        if open.all == 0 {
            self.open.remove(&ordered.group);
        }
        open.progress()
    }

    pub(in crate::kernel) fn observe(&mut self, observation: &Observation) -> Progress {
        let (place, adding, as_wanted) = match observation {
            Observation::Address(it) => (it.place, true, it.readiness != Readiness::Duplicate),
            Observation::AddressGone(place) => (*place, false, true),
            Observation::LinkGone(index) => {
                self.retain(|place, ordered| place.link != *index || ordered.until.is_none());
                return Progress::Unexpected;
            }
            Observation::Link(_) => return Progress::Unexpected,
        };
        let Some(ordered) = self.places.get_mut(&place).filter(|it| it.adding == adding) else {
            return Progress::Unexpected;
        };
        let first = !std::mem::replace(&mut ordered.seen, true);
        let Some(open) = self.open.get_mut(&ordered.group) else { return Progress::Unexpected };
        open.unseen = open.unseen.saturating_sub(usize::from(first));
        let progress = open.progress();
        let ended = ordered.until.map(|_| self.end(&place));
        if as_wanted { ended.unwrap_or(progress) } else { Progress::Unexpected }
    }

    pub(in crate::kernel) fn retain(&mut self, keep: impl Fn(&Place, &Ordered) -> bool) {
        self.places.retain(|place, ordered| keep(place, ordered));
        self.open.clear();
        for ordered in self.places.values() {
            let open = self.open.entry(ordered.group).or_default();
            open.all += 1;
            open.unseen += usize::from(!ordered.seen);
            open.unanswered += usize::from(ordered.until.is_none());
        }
    }
}
