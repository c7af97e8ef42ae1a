//! Compares what is wanted with what the host has, for all groups.
//!
//! Pure: `apply` feeds it with orders, with what the kernel told and with what became of changes,
//! then calls [`Reconciler::settle`] and does what it returns. Nothing is believed to have worked
//! until an event of the kernel says so: a place at which a change was made stays *under way*
//! until its effect has been seen. If that does not happen within [`RETRY`], the whole host is
//! looked at again, and what is still different is done again.
//!
//! An address of ours that belongs to no group is left to the sweeps at start and stop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use self::under_way::Progress;
pub(super) use self::under_way::UnderWay;
use super::GroupAddresses;
pub(super) use super::change::{Change, Refusal};
use super::group::Better;
use super::group::Group;
use super::hardware;
use super::links::{Host, Link, Network, Observation, Place};
use super::owners::Owners;
use super::scoped::Scoped;
use crate::protocol::{
    Failure, GroupKey, HARDWARE_MAX, HardwareAddress, Instant, KernelEvent, Mode, Remover, Ticket,
};

mod routing;
mod under_way;

/// A change whose effect is not seen after this is looked into.
pub(super) const RETRY: Duration = Duration::from_millis(50);

/// A change that is not even answered is taken for lost after this. Thousands of addresses, each
/// slower than the one before, may take seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A change that was answered only after this has waited for others, or for the processor; the time
/// of its group begins with the answer.
const LONG: Duration = Duration::from_millis(500);

/// What has to be done and told now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// In this order.
    pub(super) changes: Vec<Change>,
    /// In this order.
    pub(super) events: Vec<KernelEvent>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Reconciler {
    host: Host,
    pub(super) groups: BTreeMap<GroupKey, Group>,
    owners: Owners,
    under_way: UnderWay,
    /// Groups to be settled.
    dirty: BTreeSet<GroupKey>,
    /// When groups want to be settled again; may be outdated, which does no harm.
    wakes: BTreeSet<(Instant, GroupKey)>,
    /// When effects must have been seen; may be outdated, which does no harm.
    limits: BTreeSet<(Instant, Place)>,
    /// Answers to orders for groups that are not known.
    answers: Vec<KernelEvent>,
    resynchronise: bool,
    /// Groups may be on other links than before, or links have other hardware addresses.
    moved: bool,
    /// Links that look better than those that bear groups.
    better: Vec<Better>,
    /// See [`Reconciler::routes_matter`].
    routes_matter: bool,
    /// Groups with routes or rules of their own.
    routed: Vec<GroupKey>,
    /// The hardware addresses last told.
    hardware: [Option<HardwareAddress>; HARDWARE_MAX],
}

impl Reconciler {
    /// With these groups, none of which is wanted yet.
    pub(super) fn new(groups: Vec<GroupAddresses>, now: Instant) -> Self {
        let mut reconciler = Self::default();
        reconciler.reconfigure(groups, now);
        reconciler
    }

    /// Makes this the list of groups. What is not in it any more is removed.
    pub(super) fn reconfigure(&mut self, groups: Vec<GroupAddresses>, now: Instant) {
        let kept: BTreeSet<GroupKey> = groups.iter().map(|group| group.key).collect();
        for (key, group) in &mut self.groups {
            if !kept.contains(key) {
                group.retire(now);
                self.dirty.insert(*key);
            }
        }
        for configured in groups {
            let key = configured.key;
            self.groups
                .entry(key)
                .or_insert_with(|| Group::new(configured.clone()))
                .reconfigure(configured, now);
        }
        self.owners.rebuild(&self.groups);
        self.note_routing();
        self.relocate();
    }

    /// The group shall be here, with these of its further addresses or with all. Returns whether the
    /// addresses of groups are others than before.
    pub(super) fn acquire(
        &mut self,
        (key, ticket): (GroupKey, Ticket),
        further: Option<BTreeSet<GroupKey>>,
        now: Instant,
    ) -> bool {
        let Some(group) = self.groups.get_mut(&key) else {
            let failure = Failure::Refused;
            self.answers.push(KernelEvent::Failed { group: key, ticket, failure });
            return false;
        };
        let other = group.admit(further, now);
        group.acquire(ticket, now);
        self.dirty.insert(key);
        if other {
            group.relocate(&self.host);
            self.moved = true;
        }
        if other || self.owners.shared() {
            self.owners.rebuild(&self.groups);
            self.dirty.extend(self.groups.keys().filter(|_| self.owners.shared()));
        }
        other
    }

    /// These groups are here already and shall stay, as of these tickets.
    pub(super) fn adopt(&mut self, groups: &[(GroupKey, Ticket)]) {
        for (key, ticket) in groups {
            if let Some(group) = self.groups.get_mut(key) {
                group.adopt(*ticket);
                self.dirty.insert(*key);
            }
        }
    }

    /// The group shall not be here.
    pub(super) fn release(&mut self, key: GroupKey, ticket: Ticket) {
        if let Some(group) = self.groups.get_mut(&key) {
            group.release(Some(ticket));
            self.dirty.insert(key);
            if self.owners.shared() {
                self.owners.rebuild(&self.groups);
                self.dirty.extend(self.groups.keys());
            }
        } else {
            self.answers.push(KernelEvent::Absent { group: key, ticket });
        }
    }

    /// No group shall be here any more, and nobody waits for the outcome.
    pub(super) fn release_everything(&mut self) {
        for (key, group) in &mut self.groups {
            group.release(None);
            self.dirty.insert(*key);
        }
    }

    /// Takes in one thing that the kernel told. An address that was prolonged is as it was.
    pub(super) fn observe(&mut self, observation: Observation) {
        if let Observation::Address(it) = &observation
            && self.host.at(&it.place) == Some(it)
            && !self.under_way.contains(&it.place)
        {
            return;
        }
        let progress = self.under_way.observe(&observation);
        let place = match &observation {
            Observation::Address(address) => Some(address.place),
            Observation::AddressGone(place) => Some(*place),
            Observation::Link(_) | Observation::LinkGone(_) => None,
        };
        let owner = place.and_then(|place| self.owners.get(&Scoped::of(&place)));
        if progress != Progress::Partial {
            self.dirty.extend(owner);
        }
        if self.host.observe(observation) {
            self.relocate();
        }
    }

    /// Nothing may be added while this is so; what is missing is put back afterwards.
    pub(super) fn set_closed(&mut self, closed: bool) {
        if std::mem::replace(&mut self.host.closed, closed) != closed {
            self.relocate();
        }
    }

    /// On these links this host hears nobody.
    pub(super) fn set_deaf(&mut self, links: BTreeSet<u32>) {
        if links != self.host.deaf {
            self.host.deaf = links;
            self.relocate();
        }
    }

    /// The daemon's own have removed addresses.
    pub(super) fn note_removal(&mut self, remover: Remover, now: Instant) {
        self.host.removed = Some((remover, now));
    }

    /// Whether the address is here and is to stay.
    pub(super) fn holds(&self, place: &Place) -> bool {
        let ours = self.host.at(place).is_some_and(|found| found.ours);
        ours && !self.under_way.contains(place) && self.owners.get(&Scoped::of(place)).is_some()
    }

    /// Every address that is here and is to stay.
    pub(super) fn held(&self) -> impl Iterator<Item = Place> + '_ {
        self.host.addresses().map(|found| found.place).filter(|place| self.holds(place))
    }

    /// Takes in a complete view of the host.
    pub(super) fn resynchronised(&mut self, observations: Vec<Observation>) {
        self.host.replace(observations);
        self.under_way.retain(|_, ordered| ordered.until.is_none());
        self.resynchronise = false;
        self.relocate();
    }

    fn relocate(&mut self) {
        self.moved = true;
        self.routes_matter = false;
        for (key, group) in &mut self.groups {
            self.better.extend(group.relocate(&self.host));
            self.routes_matter |= group.depends_on_routes(&self.host);
            self.dirty.insert(*key);
        }
        if self.owners.zoned() {
            self.owners.rebuild(&self.groups);
        }
    }

    /// Whether links or addresses have changed since the hardware addresses were told.
    pub(super) fn has_moved(&self) -> bool {
        self.moved
    }

    /// Links that look better than those that bear groups, each once.
    pub(super) fn better(&mut self) -> Vec<Better> {
        std::mem::take(&mut self.better)
    }

    /// Takes in the addresses of the other nodes.
    pub(super) fn acquaint(&mut self, peers: Vec<IpAddr>) {
        self.host.acquaint(peers);
        self.relocate();
    }

    /// Takes in the routes that connect networks.
    pub(super) fn route(&mut self, routes: Vec<Network>) {
        if self.host.route(routes) {
            self.relocate();
        }
    }

    /// Notes that a change was given to the kernel, which may be long after it was ordered.
    pub(super) fn given(&mut self, change: &Change, now: Instant) {
        self.under_way.give(&change.place(), now);
        self.limits.insert((now + ANSWER_TIMEOUT, change.place()));
    }

    /// Takes in what the kernel answered to a change.
    pub(super) fn answered(&mut self, change: &Change, answer: Result<(), Refusal>, now: Instant) {
        let place = change.place();
        let owner = self.owners.get(&Scoped::of(&place)).copied();
        let refused_add = answer.is_err() && matches!(change, Change::Add(_));
        let mut progress = Progress::Partial;
        let ordered = self.under_way.places.get(&place).copied();
        self.under_way.answer(&place, (now, now + RETRY));
        if let Some(ordered) = ordered {
            if ordered.seen || refused_add {
                progress = self.under_way.end(&place);
            } else {
                // Removals are repeated after this too, until nothing is there.
                self.limits.insert((now + RETRY, place));
            }
            if let Some(group) = self.groups.get_mut(&ordered.group)
                && now.since(ordered.at) >= LONG
            {
                group.postpone(now);
            }
        }
        if answer.is_err() || progress != Progress::Partial {
            self.dirty.extend(owner);
        }
        let Err(refusal) = answer else { return };
        let failure = match refusal {
            Refusal::Exists | Refusal::Missing | Refusal::Disconnected => None,
            Refusal::NoLink => Some(Failure::NoInterface),
            Refusal::NotPermitted => Some(Failure::NotPermitted),
            Refusal::Other(_) => Some(Failure::Refused),
        };
        self.resynchronise |= !matches!(refusal, Refusal::NotPermitted | Refusal::Other(_));
        let group = owner.and_then(|owner| self.groups.get_mut(&owner));
        if let (Some(group), Some(failure), true) = (group, failure, refused_add) {
            group.refused(failure);
        }
    }

    /// Whether the view of the host is in doubt, so that a complete one is needed.
    pub(super) fn needs_resynchronising(&self) -> bool {
        self.resynchronise
    }

    /// Notes that the view of the host is in doubt.
    pub(super) fn doubt(&mut self) {
        self.resynchronise = true;
    }

    /// Compares wanted with present. What is returned is taken to be done.
    pub(super) fn settle(&mut self, now: Instant) -> Settled {
        self.note_time(now);
        let mut settled =
            Settled { events: std::mem::take(&mut self.answers), ..Settled::default() };
        for key in std::mem::take(&mut self.dirty) {
            let Some(group) = self.groups.get_mut(&key) else { continue };
            let outcome = group.settle(&self.host, (&self.under_way, &self.owners), now);
            for change in &outcome.changes {
                self.under_way.begin(change, key, now);
            }
            settled.changes.extend(outcome.changes);
            settled.events.extend(outcome.events);
            self.wakes.extend(outcome.again.map(|again| (again, key)));
            if group.is_forgettable() {
                self.groups.remove(&key);
            }
            if self.owners.shared() || !self.groups.contains_key(&key) {
                self.owners.rebuild(&self.groups);
            }
        }
        settled
    }

    fn note_time(&mut self, now: Instant) {
        while let Some((_, key)) = self.wakes.first().copied().filter(|(at, _)| *at <= now) {
            self.wakes.pop_first();
            self.dirty.insert(key);
        }
        while let Some((_, place)) = self.limits.first().copied().filter(|(at, _)| *at <= now) {
            self.limits.pop_first();
            let Some(ordered) = self.under_way.places.get(&place) else { continue };
            if ordered.until.is_some_and(|until| until <= now) {
                self.resynchronise = true;
            } else if ordered.until.is_none()
                && ordered.given.is_some_and(|given| given + ANSWER_TIMEOUT <= now)
            {
                self.under_way.end(&place);
                self.resynchronise = true;
            }
        }
    }

    /// When [`Reconciler::settle`] has to be called at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let wake = self.wakes.first().map(|(at, _)| *at);
        let limit = self.limits.first().map(|(at, _)| *at);
        wake.into_iter().chain(limit).min()
    }

    /// What to announce for the group, if it is present right now.
    pub(super) fn announceable(&self, key: GroupKey) -> Option<Vec<(&Link, IpAddr)>> {
        self.groups.get(&key)?.announceable(&self.host)
    }

    /// Whom to ask for the group, and on which links.
    pub(super) fn askable(&self, key: GroupKey) -> Vec<(&Link, IpAddr)> {
        self.groups.get(&key).map(|group| group.askable(&self.host)).unwrap_or_default()
    }

    /// The group that somebody else means who says on this link that he has the address, and
    /// whether it is wanted here; `None` for links that it is not on.
    pub(super) fn meant(&self, address: IpAddr, link: Option<u32>) -> Option<(GroupKey, bool)> {
        let key = *self.owners.get(&Scoped::on(address, link)?)?;
        let group = self.groups.get(&key)?;
        let here = link.is_none_or(|link| group.is_on(address, link));
        here.then(|| (key, group.is_wanted()))
    }

    /// The hardware addresses that peers are to know, if they are others than last told.
    pub(super) fn hardware_news(&mut self) -> Option<[Option<HardwareAddress>; HARDWARE_MAX]> {
        if !std::mem::take(&mut self.moved) {
            return None;
        }
        let addresses: Vec<IpAddr> = self.addresses().collect();
        let news = hardware::told(&self.host, &self.links(), &addresses);
        (std::mem::replace(&mut self.hardware, news) != news).then_some(news)
    }

    /// What is here of the group shall go, connections and all; nobody waits for it.
    pub(super) fn release_kept(&mut self, key: GroupKey) {
        if let Some(group) = self.groups.get_mut(&key) {
            group.release(None);
            self.dirty.insert(key);
        }
    }

    /// Whether the address is, or is about to be, at another place than this one: it was moved, and
    /// must stay behind the gate.
    pub(super) fn is_elsewhere(&self, place: &Place) -> bool {
        let mut here = self.host.places_of(Scoped::of(place)).filter(|found| found.ours);
        here.any(|found| found.place != *place) || self.under_way.touches_beside(place)
    }

    /// The group that has, or had, the address.
    pub(super) fn owner(&self, address: Scoped) -> Option<GroupKey> {
        self.owners.get(&address).copied()
    }

    /// Whether places depend on routes of the host.
    pub(super) fn routes_matter(&self) -> bool {
        self.routes_matter
    }

    /// The routes that written prefixes of groups that are here need, each with its source.
    pub(super) fn wanted_routes(&self) -> BTreeMap<Network, IpAddr> {
        if !self.routes_matter {
            return BTreeMap::new();
        }
        let groups = self.groups.values().rev();
        groups.flat_map(|group| group.wanted_routes(&self.host)).collect()
    }

    /// Whether nothing of ours is left and nothing is under way.
    pub(super) fn is_clean(&self) -> bool {
        self.under_way.places.is_empty() && !self.host.addresses().any(|address| address.ours)
    }

    /// The name of the group.
    pub(super) fn name(&self, key: GroupKey) -> &str {
        self.groups.get(&key).map_or("", Group::name)
    }

    /// The mode of the group that has, or had, the address.
    pub(super) fn mode(&self, address: Scoped) -> Mode {
        let owner = self.owners.get(&address).and_then(|owner| self.groups.get(owner));
        owner.map(Group::mode).unwrap_or_default()
    }

    /// What is here of groups in this mode must go, and none may come until it is asked for again.
    pub(super) fn give_up(&mut self, mode: Mode) {
        for (key, group) in self.groups.iter_mut().filter(|(_, group)| group.mode() == mode) {
            group.refused(Failure::Refused);
            self.dirty.insert(*key);
        }
    }

    /// The host as it is known.
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// The links that bear groups.
    pub(super) fn links(&self) -> BTreeSet<u32> {
        self.groups.values().flat_map(Group::links).collect()
    }

    /// The addresses of all groups; one that is on several links comes several times.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.groups.values().flat_map(Group::known)
    }

    /// On which links groups have link-local addresses.
    pub(super) fn zones(&self) -> BTreeMap<(GroupKey, IpAddr), u32> {
        let zones = |(key, group): (&GroupKey, &Group)| {
            group.zones().map(|(address, link)| ((*key, address), link)).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(zones).collect()
    }
}
