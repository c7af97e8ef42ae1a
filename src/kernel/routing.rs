//! Routes and rules of groups: here while their group is here.
//!
//! Called by `apply` at each of its turns. What is wanted follows from the groups (see
//! `group/routed`): when all addresses of a group are here its routes and rules are added, and the
//! group is present only with them; when the group goes they go first. Whatever is different is
//! looked at and done within the call, and looked at again: 57 ms for 1000 routes and 1000 rules on a
//! busy machine.
//!
//! ```text
//!   groups -> wanted --+
//!                      +--> compare --> remove, add --> dump --> here, or refused with a reason
//!   kernel -> dump ----+
//! ```
//!
//! Compared when a group comes or goes, when links or addresses change, when the kernel tells that a
//! route or a rule of ours changed, and each [`EVERY`], because it does not tell of routes that go
//! with a link. What somebody removes is put back; what somebody else has added is left alone.
//!
//! Everything bears a number of our cluster as its protocol, by which the start and the guardian
//! find what a dead daemon left. Two clusters on one host may have the same number; so only what
//! this daemon has added or found at its start is removed later.

mod compare;
mod events;
mod message;
mod missing;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use tokio::time::Instant as Moment;

use self::compare::{Orders, Wanted, compare};
use self::events::Events;
use self::message::{Entry, GET_ROUTE, GET_RULE, Key, RouteEntry, RuleEntry};
pub(super) use self::missing::Missing;
pub use self::missing::MissingRoute;
use super::group::{Routed, RoutingPhase};
use super::links::Host;
use super::mark::Mark;
use super::reconcile::Reconciler;
use crate::netlink::{ACKNOWLEDGE, Conversation, DUMP, REQUEST, append_message};
use crate::protocol::GroupKey;
use crate::routing::{Device, Route, Routing, Rule};

/// Between two looks while a group with routes is here and nothing is known to have changed.
const EVERY: Duration = Duration::from_secs(5);
/// Between two looks of a host on which much changes: a flush is one event for each route.
const GAP: Duration = Duration::from_millis(20);
/// What was refused is tried again after this, as long as the group is here.
const RETRY: Duration = Duration::from_millis(100);
/// Messages sent at once: their answers must fit into the socket's buffer.
const BATCH: usize = 64;
const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;

/// See the module's text.
#[derive(Debug)]
pub(super) struct GroupRouting {
    protocol: u8,
    /// Added by this daemon, or found at its start.
    made: BTreeSet<Key>,
    phases: Vec<(GroupKey, RoutingPhase)>,
    /// When to look next, if nothing happens before.
    due: Option<Moment>,
    looked: Option<Moment>,
    events: Option<Events>,
    missing: Missing,
}

/// What became of looking.
#[derive(Debug, Default)]
struct Looked {
    present: BTreeMap<Key, Entry>,
    refused: BTreeMap<Key, i32>,
    added: usize,
}

impl GroupRouting {
    pub(super) fn new(mark: Mark, missing: Missing) -> Self {
        Self {
            protocol: mark.protocol(),
            made: BTreeSet::new(),
            phases: Vec::new(),
            due: None,
            looked: None,
            events: None,
            missing,
        }
    }

    /// Notes that something changed on which routes depend.
    pub(super) fn doubt(&mut self) {
        let soon = self.looked.map_or_else(Moment::now, |looked| looked + GAP);
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }

    /// Notes that other routes or rules are configured.
    pub(super) fn reconfigure(&mut self, reconciler: &Reconciler) {
        self.due = Some(Moment::now());
        self.missing.retain(|group| reconciler.routing(*group).is_some());
    }

    /// When [`GroupRouting::proceed`] has to be called.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.due
    }

    /// Waits until something has changed; for ever without a socket.
    pub(super) async fn readable(&self) {
        match &self.events {
            Some(events) => events.readable().await,
            None => std::future::pending().await,
        }
    }

    /// Takes in that something has changed.
    pub(super) fn receive(&mut self) {
        if self.events.as_mut().is_some_and(|events| !events.drain()) {
            self.events = None;
        }
        self.doubt();
    }

    /// Does what is to be done. Returns whether groups have to be settled again, and how often
    /// something was put back.
    pub(super) fn proceed(&mut self, reconciler: &mut Reconciler) -> (bool, usize) {
        let phases = reconciler.routing_phases();
        let now = Moment::now();
        let due = self.due.is_some_and(|due| due <= now);
        if phases.is_empty() && self.made.is_empty() {
            self.due = None;
            return (false, 0);
        }
        if phases == self.phases && !due {
            return (false, 0);
        }
        if self.made.is_empty() && phases.iter().all(|(_, phase)| *phase == RoutingPhase::Gone) {
            self.due = None;
            let gone = phases.iter();
            let news = gone.map(|(group, _)| reconciler.set_routed(*group, Routed::Pending));
            let news = news.fold(false, |any, news| any | news);
            self.phases = phases;
            return (news, 0);
        }
        if self.events.is_none() {
            let opened = Events::open(self.protocol);
            let opened = opened.inspect_err(|error| {
                tracing::debug!(%error, "changes of routes are not heard");
            });
            self.events = opened.ok();
        }
        let (wanted, lacking) = wanted(&phases, reconciler);
        self.looked = Some(now);
        match self.look(&wanted) {
            Ok(looked) => {
                let back = self.restored(&phases, &looked, reconciler);
                self.phases.clone_from(&phases);
                let news = self.tell(&phases, (&wanted, lacking), &looked, reconciler);
                (news, back)
            }
            Err(error) => {
                tracing::warn!(%error, "routes of groups cannot be read or changed");
                self.due = Some(now + RETRY);
                (false, 0)
            }
        }
    }

    /// How much was put back that somebody had taken from groups that were whole.
    fn restored(
        &self,
        phases: &[(GroupKey, RoutingPhase)],
        looked: &Looked,
        reconciler: &Reconciler,
    ) -> usize {
        let whole = phases == self.phases
            && phases.iter().all(|(group, phase)| {
                *phase != RoutingPhase::Wanted || reconciler.is_routed(*group)
            });
        if !whole || looked.added == 0 {
            return 0;
        }
        tracing::info!(count = looked.added, "routes of groups restored");
        looked.added
    }

    /// Compares, does the difference, and looks again.
    fn look(&mut self, wanted: &[Wanted]) -> io::Result<Looked> {
        let present = dump(self.protocol)?;
        let orders = compare(wanted, &present, &self.made);
        let mut looked = Looked { present, ..Looked::default() };
        if !orders.removals.is_empty() || !orders.additions.is_empty() {
            self.made.extend(orders.additions.iter().map(Entry::key));
            looked.refused = carry_out(&orders, self.protocol)?;
            looked.added = orders.additions.len() - looked.refused.len();
            looked.present = dump(self.protocol)?;
        }
        let stays: BTreeSet<Key> = wanted.iter().map(|it| it.entry.key()).collect();
        self.made.retain(|key| looked.present.contains_key(key) || stays.contains(key));
        Ok(looked)
    }

    /// Has the groups know how far they are.
    fn tell(
        &mut self,
        phases: &[(GroupKey, RoutingPhase)],
        (wanted, mut lacking): (&[Wanted], BTreeMap<GroupKey, Vec<MissingRoute>>),
        looked: &Looked,
        reconciler: &mut Reconciler,
    ) -> bool {
        let mut refused: BTreeSet<GroupKey> = lacking.keys().copied().collect();
        for it in wanted.iter().filter(|it| it.added) {
            let key = it.entry.key();
            if !looked.present.get(&key).is_some_and(|found| it.entry.is(found)) {
                // Added, and gone again: somebody is at work, and it is added again.
                let code = looked.refused.get(&key).copied().unwrap_or(0);
                refused.extend((code != 0).then_some(it.group));
                let (what, why) = (it.shown.clone(), missing::why(&it.entry, code));
                lacking.entry(it.group).or_default().push(MissingRoute { what, why });
            }
        }
        let (mut news, mut next) = (false, None);
        for (group, phase) in phases {
            let routed = match phase {
                RoutingPhase::Gone => Routed::Pending,
                RoutingPhase::Kept => {
                    next = next.or(Some(EVERY));
                    continue;
                }
                RoutingPhase::Wanted => {
                    let missing = lacking.remove(group).unwrap_or_default();
                    let whole = missing.is_empty();
                    next = if whole { next.or(Some(EVERY)) } else { Some(RETRY) };
                    let first = missing.first().cloned();
                    if self.missing.note(*group, missing)
                        && let Some(MissingRoute { what, why }) = first
                    {
                        let group = reconciler.name(*group);
                        tracing::warn!(group, route = what, why, "a route cannot be added");
                    }
                    match (whole, refused.contains(group)) {
                        (true, _) => Routed::Here,
                        (false, true) => Routed::Refused,
                        (false, false) => continue,
                    }
                }
            };
            news |= reconciler.set_routed(*group, routed);
        }
        self.due = next.map(|after| Moment::now() + after);
        news
    }

    /// Removes what bears our number, but for that of groups that are kept. Returns how much was
    /// removed.
    pub(super) fn sweep(&mut self, kept: &[Routing]) -> usize {
        match sweep(self.protocol, kept) {
            Ok((count, left)) => {
                self.made = left;
                count
            }
            Err(error) => {
                tracing::warn!(%error, "routes of a previous daemon cannot be removed");
                0
            }
        }
    }
}

/// Removes all routes and rules with this mark.
pub(super) fn remove_all(mark: Mark) -> io::Result<()> {
    sweep(mark.protocol(), &[]).map(drop)
}

/// Why the host cannot have some route of a group: it has no such interface.
pub(super) fn hindrance(routing: &Routing, host: &Host) -> Option<String> {
    routing.routes.iter().find_map(|route| {
        let why = route_entry(route, host).err()?;
        Some(format!("route {route}: {why}"))
    })
}

fn sweep(protocol: u8, kept: &[Routing]) -> io::Result<(usize, BTreeSet<Key>)> {
    let kept: BTreeSet<Key> = kept.iter().flat_map(keys).collect();
    let present: BTreeSet<Key> = dump(protocol)?.into_keys().collect();
    let removals: Vec<Key> = present.difference(&kept).cloned().collect();
    let count = removals.len();
    if count > 0 {
        carry_out(&Orders { removals, additions: Vec::new() }, protocol)?;
    }
    Ok((count, present.intersection(&kept).cloned().collect()))
}

/// What identifies the routes and rules of a group, wherever its interfaces are.
fn keys(routing: &Routing) -> Vec<Key> {
    let route = |it: &Route| Key::Route(it.table, it.to, it.metric);
    let rule = |it: &Rule| Key::Rule(rule_entry(it));
    routing.routes.iter().map(route).chain(routing.rules.iter().map(rule)).collect()
}

/// What all groups want, in the order of the file, and what cannot even be asked for.
fn wanted(
    phases: &[(GroupKey, RoutingPhase)],
    reconciler: &Reconciler,
) -> (Vec<Wanted>, BTreeMap<GroupKey, Vec<MissingRoute>>) {
    let (mut all, mut lacking) = (Vec::new(), BTreeMap::new());
    for (group, phase) in phases {
        let added = match phase {
            RoutingPhase::Gone => continue,
            RoutingPhase::Kept => false,
            RoutingPhase::Wanted => true,
        };
        let Some(routing) = reconciler.routing(*group) else { continue };
        for route in &routing.routes {
            let shown = route.to_string();
            match route_entry(route, reconciler.host()) {
                Ok(entry) => {
                    all.push(Wanted { group: *group, entry: Entry::Route(entry), shown, added });
                }
                Err(why) => {
                    let missing: &mut Vec<_> = lacking.entry(*group).or_default();
                    missing.push(MissingRoute { what: shown, why });
                }
            }
        }
        all.extend(routing.rules.iter().map(|rule| Wanted {
            group: *group,
            entry: Entry::Rule(rule_entry(rule)),
            shown: rule.to_string(),
            added,
        }));
    }
    (all, lacking)
}

fn route_entry(route: &Route, host: &Host) -> Result<RouteEntry, String> {
    let Route { to, kind, via, dev, onlink, source, table, metric } = route;
    let link = dev.as_ref().map(|dev| {
        let names = dev.names();
        let like = host.links().filter(|link| link.is_like(names));
        let best = like.max_by_key(|link| (link.usable, std::cmp::Reverse(&link.name)));
        let why = || {
            let names = names.replace(' ', " or ");
            format!("this host has no interface {names}: write the right one, or make it")
        };
        best.map(|link| link.index).ok_or_else(why)
    });
    Ok(RouteEntry {
        to: *to,
        table: *table,
        metric: *metric,
        kind: *kind,
        via: *via,
        link: link.transpose()?,
        onlink: *onlink,
        source: *source,
    })
}

fn rule_entry(rule: &Rule) -> RuleEntry {
    let name = |dev: &Option<Device>| dev.as_ref().map(|dev| dev.names().to_owned());
    RuleEntry {
        priority: rule.priority,
        from: rule.from,
        to: rule.to,
        iif: name(&rule.iif),
        oif: name(&rule.oif),
        fwmark: rule.fwmark,
        table: rule.table,
    }
}

/// Carries orders out. Returns what could not be added, with the kernel's reason.
fn carry_out(orders: &Orders, protocol: u8) -> io::Result<BTreeMap<Key, i32>> {
    let removals = orders.removals.iter().map(|key| (None, key.removal(protocol), 0));
    let flags = CREATE | EXCLUSIVE;
    let additions =
        orders.additions.iter().map(|entry| (Some(entry), entry.addition(protocol), flags));
    let messages: Vec<_> = removals.chain(additions).collect();
    let mut conversation = Conversation::open(NETLINK_ROUTE)?;
    let mut refused = BTreeMap::new();
    for batch in messages.chunks(BATCH) {
        let mut datagram = Vec::new();
        for (sequence, (_, (kind, body), flags)) in (1..).zip(batch) {
            append_message(&mut datagram, *kind, REQUEST | ACKNOWLEDGE | flags, sequence, body);
        }
        conversation.send(&datagram)?;
        for (sequence, code) in conversation.outcomes()? {
            let place = usize::try_from(sequence).ok().and_then(|it| it.checked_sub(1));
            if let Some((Some(entry), _, _)) = place.and_then(|place| batch.get(place))
                && code != 0
            {
                refused.insert(entry.key(), code);
            }
        }
    }
    Ok(refused)
}

/// Asks for all routes and rules that bear the number.
fn dump(protocol: u8) -> io::Result<BTreeMap<Key, Entry>> {
    let mut found = BTreeMap::new();
    for v4 in [true, false] {
        let mut conversation = Conversation::open(NETLINK_ROUTE)?;
        // Older kernels tell of all routes.
        conversation.have_questions_checked();
        let asked = conversation.ask(GET_ROUTE, DUMP, &message::question(v4, protocol), |it| {
            let entry = message::read_route(it.body, protocol);
            found.extend(entry.map(|entry| (entry.key(), entry)));
            true
        });
        none_without_support(asked)?;
        let mut conversation = Conversation::open(NETLINK_ROUTE)?;
        let asked = conversation.ask(GET_RULE, DUMP, &message::question(v4, 0), |it| {
            let entry = message::read_rule(it.body, protocol);
            found.extend(entry.map(|entry| (entry.key(), entry)));
            true
        });
        none_without_support(asked)?;
    }
    Ok(found)
}

/// A kernel without IPv6, or without rules, has none.
fn none_without_support(asked: io::Result<()>) -> io::Result<()> {
    const EOPNOTSUPP: i32 = 95;
    const EAFNOSUPPORT: i32 = 97;
    match asked {
        Err(error) if matches!(error.raw_os_error(), Some(EOPNOTSUPP | EAFNOSUPPORT)) => Ok(()),
        other => other,
    }
}
