//! All virtual routers of this host: which of them a packet is about, and what goes to whom.
//!
//! A group with addresses of both families is two virtual routers with one fate: what is told of the
//! group is the weightier of both, and what is said to the outside when it goes is said for both.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::advertisement::{self, Heard};
use super::datagram::{Datagram, MULTICAST_V4, MULTICAST_V6};
use super::members::{Hosts, Members};
use super::refusal::{Refusal, Refusals};
use super::router::{Note, Origin, Router, Standing, Step, Whose};
use super::settings::Settings;
use crate::protocol::{GroupKey, HardwareAddress, Instant, Outside};

/// Virtual routers that others speak of and nobody has configured here, kept for people to see.
pub const OVERHEARD_MAX: usize = 16;

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Returns the family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Returns where advertisements of the family go when there are no peers.
    #[must_use]
    pub fn multicast(self) -> IpAddr {
        match self {
            Self::V4 => MULTICAST_V4.into(),
            Self::V6 => MULTICAST_V6.into(),
        }
    }
}

/// Where a virtual router speaks and listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The index of the link.
    pub link: u32,
    /// What it speaks from, an address of this host that never moves; `None` while there is none.
    pub source: Option<IpAddr>,
}

/// A virtual router of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overheard {
    /// Who spoke of it last.
    pub source: IpAddr,
    /// With which priority.
    pub priority: u8,
    /// The number of the version.
    pub version: u8,
    /// When.
    pub heard_at: Instant,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this payload with protocol 112 and hop limit 255.
    Send {
        /// The index of the link that it goes out of.
        link: u32,
        /// From where.
        source: IpAddr,
        /// Where to.
        destination: IpAddr,
        /// The advertisement.
        payload: Vec<u8>,
    },
    /// Announce the addresses of the group again.
    Announce(GroupKey),
    /// Tell the protocol what is outside.
    Tell(GroupKey, Outside),
    /// Tell the protocol that the group is no virtual router any more.
    Forget(GroupKey),
    /// Tell people.
    Note(GroupKey, Family, Note),
}

/// One group.
#[derive(Debug)]
struct Pair {
    routers: BTreeMap<Family, (Router, Option<Seat>)>,
    standing: Standing,
    told: Option<Outside>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Routers {
    groups: BTreeMap<GroupKey, Pair>,
    members: Members,
    /// What could not be read, or is of no virtual router of this host.
    refusals: Refusals,
    overheard: BTreeMap<(u32, Family, u8), Overheard>,
}

impl Routers {
    /// Follows a list of groups. What did not change goes on, also where only the priority is another;
    /// else it begins to listen. Groups that `resumed` names are held by the process before and were
    /// so as virtual routers.
    pub fn configure(
        &mut self,
        now: Instant,
        wanted: BTreeMap<GroupKey, Vec<Settings>>,
        resumed: &BTreeSet<GroupKey>,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let gone: Vec<GroupKey> =
            self.groups.keys().filter(|group| !wanted.contains_key(group)).copied().collect();
        for group in gone {
            // Nothing is said: the addresses stay where they are.
            self.groups.remove(&group);
            actions.push(Action::Forget(group));
        }
        for (group, settings) in wanted {
            let pair = self.groups.entry(group).or_insert_with(|| Pair {
                routers: BTreeMap::new(),
                standing: Standing::Away,
                told: None,
            });
            let mut routers = BTreeMap::new();
            for settings in settings {
                let Some(first) = settings.addresses.first() else { continue };
                let family = Family::of(*first);
                let known = pair.routers.remove(&family);
                let seat = known.as_ref().and_then(|(_, seat)| seat.clone());
                let router = match known {
                    Some((router, _)) if router.settings().hears_alike(&settings) => {
                        router.with(settings)
                    }
                    _ => Router::new(now, settings, resumed.contains(&group)),
                };
                routers.insert(family, (router, seat));
            }
            pair.routers = routers;
            actions.extend(self.stand_in_both(now, group));
        }
        actions
    }

    /// Takes in who belongs to the cluster. Who was taken for a router outside is none.
    pub fn know_members(&mut self, now: Instant, members: Members) -> Vec<Action> {
        self.members = members;
        for (router, _) in self.groups.values_mut().flat_map(|pair| pair.routers.values_mut()) {
            router.forget(&self.members.living);
        }
        self.proceed(now)
    }

    /// Takes in where a group's virtual router of one family is.
    pub fn seat(
        &mut self,
        now: Instant,
        group: GroupKey,
        family: Family,
        seat: Option<Seat>,
    ) -> Vec<Action> {
        let Some(pair) = self.groups.get_mut(&group) else { return Vec::new() };
        let Some((router, known)) = pair.routers.get_mut(&family) else { return Vec::new() };
        if *known == seat {
            return Vec::new();
        }
        let source = seat.as_ref().and_then(|seat| seat.source);
        *known = seat;
        let steps = router.speak_from(now, source);
        self.carry_out(now, group, family, steps)
    }

    /// Takes in what this node has of a group.
    pub fn stand(&mut self, now: Instant, group: GroupKey, standing: Standing) -> Vec<Action> {
        let Some(pair) = self.groups.get_mut(&group) else { return Vec::new() };
        if pair.standing == standing {
            return Vec::new();
        }
        pair.standing = standing;
        self.stand_in_both(now, group)
    }

    fn stand_in_both(&mut self, now: Instant, group: GroupKey) -> Vec<Action> {
        let Some(pair) = self.groups.get_mut(&group) else { return Vec::new() };
        let (standing, left) = (pair.standing, matches!(pair.told, Some(Outside::Prevails(_))));
        let stand = |(family, (router, seat)): (&Family, &mut (Router, Option<Seat>))| {
            let source = seat.as_ref().and_then(|seat| seat.source);
            let mut steps = router.speak_from(now, source);
            steps.extend(router.stand(now, standing, left));
            (*family, steps)
        };
        let steps: Vec<(Family, Vec<Step>)> = pair.routers.iter_mut().map(stand).collect();
        let each = steps.into_iter();
        each.flat_map(|(family, steps)| self.carry_out(now, group, family, steps)).collect()
    }

    /// Takes in a packet that came on a link, from its IP header on.
    pub fn receive(
        &mut self,
        now: Instant,
        link: u32,
        hardware: Option<HardwareAddress>,
        packet: &[u8],
    ) -> Vec<Action> {
        let datagram = match Datagram::read(packet) {
            Ok(datagram) => datagram,
            Err(refusal) => {
                self.refusals.count(refusal);
                return Vec::new();
            }
        };
        let family = Family::of(datagram.source);
        let Some(id) = datagram.payload.get(1).copied() else {
            self.refusals.count(Refusal::Length);
            return Vec::new();
        };
        let heard = advertisement::decode(&datagram);
        let Some(group) = self.meant(link, family, id) else {
            self.overhear(now, (link, family, id), heard, datagram.source);
            return Vec::new();
        };
        let priority = heard.as_ref().ok().map(|heard| heard.advertisement.priority);
        let whose = self.whose((datagram.source, hardware, priority), (group, family));
        let pair = self.groups.get_mut(&group).and_then(|pair| pair.routers.get_mut(&family));
        let Some((router, _)) = pair else { return Vec::new() };
        let steps = match heard {
            Err(refusal) => {
                router.refuse(refusal);
                Vec::new()
            }
            Ok(heard) => {
                let Datagram { source, destination, .. } = datagram;
                router.hear(now, heard, Origin { source, destination, hardware, whose })
            }
        };
        self.carry_out(now, group, family, steps)
    }

    fn meant(&self, link: u32, family: Family, id: u8) -> Option<GroupKey> {
        let is = |pair: &Pair| {
            pair.routers.get(&family).is_some_and(|(router, seat)| {
                router.settings().id == id && seat.as_ref().is_some_and(|seat| seat.link == link)
            })
        };
        self.groups.iter().find(|(_, pair)| is(pair)).map(|(group, _)| *group)
    }

    fn whose(
        &self,
        (source, hardware, priority): (IpAddr, Option<HardwareAddress>, Option<u8>),
        (group, family): (GroupKey, Family),
    ) -> Whose {
        let router = self.groups.get(&group).and_then(|pair| pair.routers.get(&family));
        let Some((router, seat)) = router else { return Whose::Outside };
        if seat.as_ref().is_some_and(|seat| seat.source == Some(source)) {
            return Whose::Own;
        }
        let ours = router.settings().priority;
        let member = self.members.speak((source, hardware), (priority, ours));
        if member { Whose::Member } else { Whose::Outside }
    }

    fn overhear(
        &mut self,
        now: Instant,
        key: (u32, Family, u8),
        heard: Result<Heard, Refusal>,
        source: IpAddr,
    ) {
        let heard = match heard {
            Ok(heard) => heard.advertisement,
            Err(refusal) => return self.refusals.count(refusal),
        };
        self.refusals.count(Refusal::OtherRouter);
        if self.overheard.len() >= OVERHEARD_MAX && !self.overheard.contains_key(&key) {
            let oldest = self.overheard.iter().min_by_key(|(_, heard)| heard.heard_at);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.overheard.remove(&key);
            }
        }
        let (priority, version) = (heard.priority, heard.version.number());
        self.overheard.insert(key, Overheard { source, priority, version, heard_at: now });
    }

    /// Does what time has made due.
    pub fn proceed(&mut self, now: Instant) -> Vec<Action> {
        let due = |pair: &Pair| pair.routers.keys().copied().collect::<Vec<Family>>();
        let all: Vec<(GroupKey, Vec<Family>)> =
            self.groups.iter().map(|(group, pair)| (*group, due(pair))).collect();
        let mut actions = Vec::new();
        for (group, families) in all {
            for family in families {
                let pair = self.groups.get_mut(&group);
                let router = pair.and_then(|pair| pair.routers.get_mut(&family));
                let steps = router.map(|(router, _)| router.proceed(now)).unwrap_or_default();
                actions.extend(self.carry_out(now, group, family, steps));
            }
        }
        actions
    }

    /// Returns when [`Routers::proceed`] has something to do.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Instant {
        let routers = self.groups.values().flat_map(|pair| pair.routers.values());
        routers.map(|(router, _)| router.deadline(now)).min().unwrap_or(Instant::NEVER)
    }

    fn carry_out(
        &mut self,
        now: Instant,
        group: GroupKey,
        family: Family,
        steps: Vec<Step>,
    ) -> Vec<Action> {
        let Some(pair) = self.groups.get_mut(&group) else { return Vec::new() };
        let mut actions = Vec::new();
        if let Some((router, seat)) = pair.routers.get(&family) {
            for step in steps {
                match step {
                    Step::Send(priority) => actions.extend(send(router, seat.as_ref(), priority)),
                    Step::Announce => actions.push(Action::Announce(group)),
                    Step::Note(note) => actions.push(Action::Note(group, family, note)),
                }
            }
        }
        let outside = pair.routers.values().map(|(router, _)| router.outside(now)).max();
        let outside = outside.unwrap_or_default();
        if pair.told != Some(outside) {
            pair.told = Some(outside);
            actions.push(Action::Tell(group, outside));
        }
        actions
    }

    /// Returns each virtual router, with its group and where it is.
    pub fn each(&self) -> impl Iterator<Item = (GroupKey, Family, &Router, Option<&Seat>)> {
        self.groups.iter().flat_map(|(group, pair)| {
            let of = pair.routers.iter();
            of.map(|(family, (router, seat))| (*group, *family, router, seat.as_ref()))
        })
    }

    /// Returns the virtual routers that this node speaks for while no other member lives that could go
    /// on with them: if it dies, nobody says that the cluster stops.
    pub fn alone(&self) -> impl Iterator<Item = (GroupKey, Family)> {
        let alone = self.members.living == Hosts::default();
        let speaks = self.each().filter(move |(_, _, router, _)| alone && router.speaks());
        speaks.map(|(group, family, ..)| (group, family))
    }

    /// Returns what says to the outside that these stop: packets with priority 0, for when this node
    /// cannot make them any more.
    #[must_use]
    pub fn last_words(&self, of: &[(GroupKey, Family)]) -> Vec<Action> {
        let routers = self.each().filter(|(group, family, ..)| of.contains(&(*group, *family)));
        routers.flat_map(|(_, _, router, seat)| send(router, seat, 0)).collect()
    }

    /// Returns the virtual routers that others speak of and nobody has configured here, by link,
    /// family and number.
    #[must_use]
    pub fn overheard(&self) -> &BTreeMap<(u32, Family, u8), Overheard> {
        &self.overheard
    }

    /// Returns what was refused and belongs to no virtual router of this host.
    #[must_use]
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }
}

/// The packets of one advertisement.
fn send(router: &Router, seat: Option<&Seat>, priority: u8) -> Vec<Action> {
    let Some((link, source)) = seat.and_then(|seat| Some((seat.link, seat.source?))) else {
        return Vec::new();
    };
    let settings = router.settings();
    let advertisement = settings.advertisement(priority);
    let to = if settings.peers.is_empty() {
        vec![Family::of(source).multicast()]
    } else {
        settings.peers.clone()
    };
    // In a file for all nodes the peers are all hosts, this one among them.
    to.into_iter()
        .filter(|destination| *destination != source)
        .map(|destination| {
            let form = router.form();
            let payload = advertisement::encode(&advertisement, form, source, destination);
            Action::Send { link, source, destination, payload }
        })
        .collect()
}
