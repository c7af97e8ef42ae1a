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
//! The protocol decides. It is told `Absent` when the gate is closed for all but connections: from
//! then on this host answers no question for the addresses and lets nothing begin. Like all that is
//! ours, they go when the daemon ends, or when its guardian finds it dead.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::connections::Connections;
use super::fence::Fence;
use super::forward::Forward;
use super::mute::Disguise;
use super::reconcile::Reconciler;
use crate::protocol::{GroupKey, HardwareAddress, KernelEvent, Ticket};

/// See the module's text.
#[derive(Debug)]
pub(super) struct Handing {
    groups: BTreeSet<GroupKey>,
    connections: Connections,
}

impl Handing {
    pub(super) fn new(connections: Connections) -> Self {
        Self { groups: BTreeSet::new(), connections }
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
            Some((link, addresses)) => fence.mute(&addresses, &link),
            None => Err(std::io::ErrorKind::AddrNotAvailable.into()),
        };
        if let Err(error) = muted {
            tracing::warn!(%error, "connections cannot be kept");
            reconciler.release(group, ticket);
            return vec![KernelEvent::Kept(vec![(group, 0)])];
        }
        reconciler.hand(group);
        self.groups.insert(group);
        self.connections.keep(self.groups.clone());
        vec![KernelEvent::Absent { group, ticket }]
    }

    /// The group is acquired again, or released.
    pub(super) fn end(&mut self, group: GroupKey, acquired: bool, at: (&Reconciler, &mut Fence)) {
        if !self.groups.remove(&group) {
            return;
        }
        self.connections.keep(self.groups.clone());
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

    /// The link on which all addresses of the group belong, with them, if it is one.
    fn place(&self, key: GroupKey) -> Option<(u32, Vec<IpAddr>)> {
        self.groups.get(&key)?.place()
    }

    /// The same, if all of them are there right now.
    fn place_of_held(&self, key: GroupKey) -> Option<(u32, Vec<IpAddr>)> {
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

/// Whether the addresses of a group will be as silent as its mode promises.
fn kept_silent(reconciler: &Reconciler, fence: &Fence, addresses: &[IpAddr]) -> bool {
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
        Some(Forward {
            addresses,
            device: (index, link.name.clone()),
            others: others.map(|other| other.name.clone()).take(CARDS_MAX).collect(),
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
fn disguise(reconciler: &Reconciler, link: u32, addresses: &[IpAddr]) -> Option<Disguise> {
    let host = reconciler.host();
    let (own4, own6) = host.own_on(link);
    let v4 = own4.is_some() || !addresses.iter().any(IpAddr::is_ipv4);
    let v6 = own6.is_some() || !addresses.iter().any(IpAddr::is_ipv6);
    (v4 && v6).then_some(Disguise { index: link, own4, own6 })
}
