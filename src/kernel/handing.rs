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

use std::collections::BTreeMap;

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

    /// Hands a group over; where that cannot be done it is released. What is to be told follows.
    pub(super) fn hand(
        &mut self,
        (group, ticket): (GroupKey, Ticket),
        reconciler: &mut Reconciler,
        fence: &mut Fence,
    ) -> Vec<KernelEvent> {
        let place = reconciler.place_of_held(group);
        let muted = match place.and_then(|(link, addresses)| {
            Some((disguise(reconciler, link, &addresses)?, addresses))
        }) {
            Some((_, addresses)) if !kept_silent(reconciler, fence, &addresses) => {
                Err(std::io::ErrorKind::Unsupported.into())
            }
            Some((link, addresses)) => {
                allow_late(reconciler, fence, &addresses);
                fence.mute(&addresses, &link)
            }
            None => Err(std::io::ErrorKind::AddrNotAvailable.into()),
        };
        if let Err(error) = muted {
            tracing::warn!(%error, "connections cannot be kept");
            reconciler.release(group, ticket);
            return vec![KernelEvent::Kept(vec![(group, 0)])];
        }
        reconciler.hand(group);
        self.groups.insert(group, reconciler.whereabouts(group));
        self.keep();
        vec![KernelEvent::Absent { group, ticket }]
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
            let muted = disguise(reconciler, link, &[scoped])
                .is_some_and(|link| fence.mute(&[scoped], &link).is_ok());
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

/// Clients may begin connections until they know the new owner, but in mode majority, where one host
/// at a time takes connections.
fn allow_late(reconciler: &Reconciler, fence: &mut Fence, addresses: &[Scoped]) {
    if addresses.iter().all(|address| reconciler.mode(*address) == Mode::Availability) {
        fence.allow_late(addresses);
    }
}

/// Whether the addresses of a group will be as silent as its mode promises.
fn kept_silent(reconciler: &Reconciler, fence: &Fence, addresses: &[Scoped]) -> bool {
    addresses.iter().all(|address| fence.preserves(reconciler.mode(*address)))
}

/// Cards by which segments for a former owner may come; the kernel takes 256.
const CARDS_MAX: usize = 64;

/// Has what is not this host's go on to the former owner; told if it cannot be done.
pub(super) fn forward(
    group: GroupKey,
    to: Option<HardwareAddress>,
    reconciler: &Reconciler,
    fence: &mut Fence,
) {
    let Some(HardwareAddress(theirs)) = to else { return fence.stop_forwarding(group) };
    let forward = reconciler.place(group).and_then(|(index, addresses)| {
        let link = reconciler.host().link(index)?;
        let others = reconciler
            .host()
            .links()
            .filter(|other| other.hardware.is_some() && !other.loopback && other.index != index);
        // By another card comes what is meant for the other address of the same text there.
        let zoned = addresses.iter().any(|it| it.zone().is_some());
        let others = others.filter(|_| !zoned).map(|other| other.name.clone());
        Some(Forward {
            addresses: addresses.iter().map(Scoped::address).collect(),
            device: (index, link.name.clone()),
            others: others.take(CARDS_MAX).collect(),
            own: link.hardware?,
            theirs,
        })
    });
    let done = match forward {
        Some(forward) => fence.forward(group, &forward),
        None => Err(std::io::ErrorKind::AddrNotAvailable.into()),
    };
    if let Err(error) = done {
        tracing::warn!(%error, "connections that the former owner keeps will be reset");
    }
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
