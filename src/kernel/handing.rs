//! Groups that were handed to another node and stay here for their connections.
//!
//! ```text
//!   held --hand--> mute: the gate lets through what belongs to connections that are there, and
//!    ^              |    nothing else of the address (see `mute`); the new owner sends it here
//!    |              |    (see `forward`); how many are left is told about once a second
//!    +---acquire----+
//!                   +--release--> connections are ended, addresses removed, as ever
//! ```
//!
//! What is lost meanwhile, with a link that was down or by a flush, is put back, mute as before. If
//! the hardware address changes, the new owner sends to nobody: then the connections are reset.
//!
//! The protocol decides. It is told `Absent` when the gate is closed for all but connections: from
//! then on this host answers no question for the addresses and lets nothing begin. Like all that is
//! ours, they go when the daemon ends, or when its guardian finds it dead.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use super::connections::Connections;
use super::fence::Fence;
use super::forward::Forward;
use super::group::Group;
use super::mute::Disguise;
use super::reconcile::{Change, Reconciler, Refusal};
use super::scoped::Scoped;
use crate::protocol::{GroupKey, HardwareAddress, Instant, KernelEvent, Mode, Ticket};

/// See the module's text.
#[derive(Debug)]
pub(super) struct Handing {
    /// With the link that each is on, and its hardware address.
    groups: BTreeMap<GroupKey, Option<(u32, [u8; 6])>>,
    connections: Connections,
    /// What was told by `Keepable`.
    told: BTreeMap<GroupKey, HardwareAddress>,
}

impl Handing {
    pub(super) fn new(connections: Connections) -> Self {
        Self { groups: BTreeMap::new(), connections, told: BTreeMap::new() }
    }

    /// Hands groups over, those on one link together; where that cannot be done they are released.
    /// What is to be told follows.
    pub(super) fn hand(
        &mut self,
        groups: Vec<(GroupKey, Ticket)>,
        reconciler: &mut Reconciler,
        fence: &mut Fence,
    ) -> Vec<KernelEvent> {
        let mut links = BTreeMap::<u32, Vec<Departure>>::new();
        let mut events = Vec::new();
        for (group, ticket) in groups {
            match Departure::of((group, ticket), reconciler, fence) {
                Ok(departure) => links.entry(departure.link.index).or_default().push(departure),
                Err(error) => events.push(not_kept((group, ticket), &error, reconciler)),
            }
        }
        for departures in links.into_values() {
            let together = mute(&departures, reconciler, fence).is_ok();
            for departure in departures {
                let Departure { group, ticket, .. } = departure;
                if !together && let Err(error) = mute(&[departure], reconciler, fence) {
                    events.push(not_kept((group, ticket), &error, reconciler));
                    continue;
                }
                reconciler.hand(group);
                self.groups.insert(group, reconciler.whereabouts(group));
                events.push(KernelEvent::Absent { group, ticket });
            }
        }
        self.keep();
        events
    }

    fn keep(&self) {
        self.connections.keep(self.groups.keys().copied().collect());
    }

    /// Mutes on their new link what is to be put back there; takes from `changes` what cannot be.
    /// To be called before addresses are covered.
    pub(super) fn mute_what_comes(
        &mut self,
        changes: &mut Vec<Change>,
        reconciler: &mut Reconciler,
        (fence, now): (&mut Fence, Instant),
    ) {
        changes.retain(|change| {
            let Change::Add(place) = *change else { return true };
            let (scoped, link) = (Scoped::of(&place), place.link);
            let Some(group) = reconciler.handed(scoped) else { return true };
            let known = self.groups.get(&group).copied().flatten();
            if known.is_some_and(|(before, _)| before == link) {
                return true;
            }
            let (address, none) = (BTreeSet::from([scoped]), BTreeSet::new());
            let muted = disguise(reconciler, link, &[scoped])
                .is_some_and(|link| fence.mute(&address, &none, &link).is_ok());
            if !muted {
                // Tried again at the next look: the host may have no address of its own there yet.
                reconciler.answered(change, Err(Refusal::Other(0)), now);
            }
            muted
        });
    }

    /// Looks whether the new owners can go on to send here what they have: not to another hardware
    /// address. Then the connections are ended, once their addresses are back, so that their
    /// clients are told. To be called when links have changed.
    pub(super) fn follow_hardware(&mut self, reconciler: &mut Reconciler) -> Vec<KernelEvent> {
        let mut ended = Vec::new();
        for (group, before) in &mut self.groups {
            let Some(now) = reconciler.whereabouts(*group) else { continue };
            if before.is_none_or(|before| before.1 == now.1) {
                *before = Some(now);
            } else if reconciler.is_whole(*group) {
                ended.push(*group);
            }
        }
        for group in &ended {
            tracing::warn!(
                group = reconciler.name(*group),
                "the hardware address has changed: kept connections are reset"
            );
            self.groups.remove(group);
            reconciler.release_kept(*group);
        }
        if ended.is_empty() {
            return Vec::new();
        }
        self.keep();
        vec![KernelEvent::Kept(ended.into_iter().map(|group| (group, 0)).collect())]
    }

    /// Where the connections of groups that are held could be kept, where that was told otherwise.
    pub(super) fn keepable_news(
        &mut self,
        reconciler: &Reconciler,
        fence: &Fence,
    ) -> Vec<KernelEvent> {
        let held = reconciler.groups.keys().filter_map(|group| keepable(*group, reconciler, fence));
        let held: Vec<KernelEvent> = held.collect();
        held.into_iter().filter(|event| self.is_news(event)).collect()
    }

    /// Notes what is told; returns whether it differs from before.
    pub(super) fn is_news(&mut self, event: &KernelEvent) -> bool {
        let KernelEvent::Keepable { group, hardware } = event else { return true };
        self.told.insert(*group, *hardware) != Some(*hardware)
    }

    /// The group is acquired again, or released.
    pub(super) fn end(&mut self, group: GroupKey, acquired: bool, at: (&Reconciler, &mut Fence)) {
        if self.groups.remove(&group).is_none() {
            return;
        }
        self.keep();
        let (reconciler, fence) = at;
        if acquired && let Some((_, addresses)) = reconciler.place(group) {
            let mode = addresses.first().map(|address| reconciler.mode(*address));
            fence.unmute(&addresses, mode.unwrap_or_default());
        }
    }
}

impl Reconciler {
    /// What is here of the group shall stay as it is, for its connections only.
    pub(super) fn hand(&mut self, key: GroupKey) {
        if let Some(group) = self.groups.get_mut(&key) {
            group.hand();
        }
    }

    /// The group that keeps the address for its connections only.
    pub(super) fn handed(&self, address: Scoped) -> Option<GroupKey> {
        let owner = self.owner(address)?;
        self.groups.get(&owner).filter(|group| group.is_handed()).map(|_| owner)
    }

    /// The link on which the group belongs, and its hardware address.
    fn whereabouts(&self, key: GroupKey) -> Option<(u32, [u8; 6])> {
        let (link, _) = self.place(key)?;
        Some((link, self.host().link(link)?.hardware?))
    }

    /// Whether every address of the group is where it belongs.
    fn is_whole(&self, key: GroupKey) -> bool {
        let here = |group: &Group| {
            let mut places = group.places(self.host());
            places.all(|(_, place, _)| place.is_some_and(|place| self.host().at(&place).is_some()))
        };
        self.groups.get(&key).is_some_and(here)
    }

    /// The link on which all addresses of the group belong, with them, if it is one.
    fn place(&self, key: GroupKey) -> Option<(u32, Vec<Scoped>)> {
        self.groups.get(&key)?.place()
    }

    /// The same, if all of them are there right now.
    fn place_of_held(&self, key: GroupKey) -> Option<(u32, Vec<Scoped>)> {
        self.announceable(key).and_then(|_| self.place(key))
    }
}

/// Where the connections of a group that is held could be kept, if it were handed over.
pub(super) fn keepable(
    group: GroupKey,
    reconciler: &Reconciler,
    fence: &Fence,
) -> Option<KernelEvent> {
    let (link, addresses) = reconciler.place_of_held(group)?;
    if !kept_silent(reconciler, fence, &addresses) {
        return None;
    }
    disguise(reconciler, link, &addresses)?;
    let hardware = HardwareAddress(reconciler.host().link(link)?.hardware?);
    Some(KernelEvent::Keepable { group, hardware })
}

/// A group that is to be handed over.
struct Departure {
    group: GroupKey,
    ticket: Ticket,
    link: Disguise,
    addresses: Vec<Scoped>,
}

impl Departure {
    /// Returns an error if the connections of the group cannot be kept.
    fn of(
        (group, ticket): (GroupKey, Ticket),
        reconciler: &Reconciler,
        fence: &Fence,
    ) -> io::Result<Self> {
        let place = reconciler.place_of_held(group).and_then(|(link, addresses)| {
            Some((disguise(reconciler, link, &addresses)?, addresses))
        });
        let (link, addresses) = place.ok_or(io::ErrorKind::AddrNotAvailable)?;
        if !kept_silent(reconciler, fence, &addresses) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self { group, ticket, link, addresses })
    }

    /// Whether clients may begin connections here until they know the new owner: not in mode
    /// majority, where one host at a time takes connections.
    fn is_late(&self, reconciler: &Reconciler) -> bool {
        self.addresses.iter().all(|address| reconciler.mode(*address) == Mode::Availability)
    }
}

/// Mutes groups that are on one link.
fn mute(departures: &[Departure], reconciler: &Reconciler, fence: &mut Fence) -> io::Result<()> {
    let Some(first) = departures.first() else { return Ok(()) };
    let all = departures.iter().flat_map(|it| &it.addresses).copied().collect();
    let late = departures.iter().filter(|it| it.is_late(reconciler));
    let late = late.flat_map(|it| &it.addresses).copied().collect();
    fence.mute(&all, &late, &first.link)
}

/// Releases a group whose connections cannot be kept; returns what is to be told.
fn not_kept(
    (group, ticket): (GroupKey, Ticket),
    error: &io::Error,
    reconciler: &mut Reconciler,
) -> KernelEvent {
    tracing::warn!(group = reconciler.name(group), %error, "connections cannot be kept");
    reconciler.release(group, ticket);
    KernelEvent::Kept(vec![(group, 0)])
}

/// Whether the addresses of a group will be as silent as its mode promises.
fn kept_silent(reconciler: &Reconciler, fence: &Fence, addresses: &[Scoped]) -> bool {
    addresses.iter().all(|address| fence.preserves(reconciler.mode(*address)))
}

/// Cards by which segments for a former owner may come; the kernel takes 256.
const CARDS_MAX: usize = 64;

/// Has what is not this host's go on to the former owners of groups, or ends that; told if it cannot
/// be done. Of several orders for a group the last counts.
pub(super) fn forward(
    orders: Vec<(GroupKey, Option<HardwareAddress>)>,
    reconciler: &Reconciler,
    fence: &mut Fence,
) {
    let orders: BTreeMap<_, _> = orders.into_iter().collect();
    let over = orders.iter().filter(|(_, to)| to.is_none()).map(|(group, _)| *group);
    fence.stop_forwarding(&over.collect::<Vec<_>>());
    let mut ways = BTreeMap::<Forward, BTreeMap<GroupKey, Vec<IpAddr>>>::new();
    for (group, to) in orders {
        let Some(HardwareAddress(theirs)) = to else { continue };
        match way(group, theirs, reconciler) {
            Some((way, addresses)) => {
                ways.entry(way).or_default().insert(group, addresses);
            }
            None => not_forwarded(&io::ErrorKind::AddrNotAvailable.into()),
        }
    }
    for (way, groups) in ways {
        fence.forward(groups, &way).unwrap_or_else(|error| not_forwarded(&error));
    }
}

fn not_forwarded(error: &io::Error) {
    tracing::warn!(%error, "connections that the former owner keeps will be reset");
}

/// The way to the former owner of a group, and the addresses of the group.
fn way(
    group: GroupKey,
    theirs: [u8; 6],
    reconciler: &Reconciler,
) -> Option<(Forward, Vec<IpAddr>)> {
    let (index, addresses) = reconciler.place(group)?;
    let host = reconciler.host();
    let link = host.link(index)?;
    let others =
        host.links().filter(|it| it.hardware.is_some() && !it.loopback && it.index != index);
    // By another card comes what is meant for the other address of the same text there.
    let zoned = addresses.iter().any(|it| it.zone().is_some());
    let others = others.filter(|_| !zoned).map(|other| other.name.clone());
    let way = Forward {
        device: (index, link.name.clone()),
        others: others.take(CARDS_MAX).collect(),
        own: link.hardware?,
        theirs,
    };
    Some((way, addresses.iter().map(Scoped::address).collect()))
}

/// What the host can say of itself on this link in place of these addresses; `None` if it has no
/// address of a family there.
fn disguise(reconciler: &Reconciler, link: u32, addresses: &[Scoped]) -> Option<Disguise> {
    let host = reconciler.host();
    let (own4, own6) = host.own_on(link);
    let has = |v6| addresses.iter().any(|it| it.address().is_ipv6() == v6);
    let (v4, v6) = (own4.is_some() || !has(false), own6.is_some() || !has(true));
    (v4 && v6).then_some(Disguise { index: link, own4, own6 })
}
