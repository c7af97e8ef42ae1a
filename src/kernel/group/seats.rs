//! Where the addresses of one group belong: on which link, and with which prefix.
//!
//! Pure, part of `group`. Without a named interface an address belongs on the link that
//! `links/host` finds for it. Once it was found there it stays: a link that looks better is
//! remarked on and not followed while the group is here and its own link can carry it, and a wider
//! network never takes it from the link of a narrower one.
//!
//! What a link carried an address with best (see [`Carries`]) is remembered. When it becomes less,
//! the host has lost the network of the address, although the link is up.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Group, State};
use crate::kernel::GroupAddresses;
use crate::kernel::links::{Carries, Host, Link, Network, Place, Readiness, bits};
use crate::kernel::scoped::{Scoped, is_link_local};
use crate::protocol::Attachment;

/// Addresses of a group that are asked about: they are on the same few links and hosts, so that
/// these tell of all.
const ASKED_MAX: usize = 64;

/// The place of one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::kernel) struct Seat {
    /// The link; keeps the last known one.
    pub(in crate::kernel) link: Option<u32>,
    /// The prefix with which it is added there.
    pub(in crate::kernel) prefix: u8,
    /// How long the prefix of the network was for which the link was chosen.
    network: u8,
    /// How well the link can carry it.
    carries: Carries,
    /// The best that was ever seen of `carries`.
    best: Carries,
    /// The hardware address of the link.
    hardware: Option<[u8; 6]>,
    /// Neighbours have to be told where it is now.
    pub(in crate::kernel) moved: bool,
    /// A link that looks better and was remarked on.
    remarked: Option<u32>,
}

/// A link that looks better for an address than the one it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct Better {
    /// The address.
    pub(in crate::kernel) address: IpAddr,
    /// Name of the link it stays on.
    pub(in crate::kernel) stays: String,
    /// Name of the other.
    pub(in crate::kernel) better: String,
}

impl Better {
    /// Says so.
    pub(in crate::kernel) fn log(&self) {
        let Self { address, stays, better } = self;
        tracing::info!(
            %address,
            interface = stays,
            other = better,
            "another interface has a more specific network for the address, which stays where it \
             is; name the interface in the file to move it"
        );
    }
}

impl Seat {
    /// Nowhere yet.
    pub(in crate::kernel) fn new(address: IpAddr) -> Self {
        Self { prefix: bits(address), ..Self::default() }
    }

    /// What the host has of the network of the address.
    pub(in crate::kernel) fn attachment(&self, named: bool) -> Attachment {
        match self.link {
            None if !named => Attachment::Unknown,
            Some(_) if self.carries < self.best => Attachment::Lost,
            None | Some(_) => Attachment::Attached,
        }
    }

    /// Finds again where the address belongs; with its written prefix only if `written` is so.
    /// Whether neighbours have to be told is noted in `moved`.
    pub(in crate::kernel) fn relocate(
        &mut self,
        (address, prefix): (IpAddr, u8),
        group: &GroupAddresses,
        host: &Host,
        (here, written): (bool, bool),
    ) -> Option<Better> {
        let known = self.link;
        let better = match &group.interface {
            Some(patterns) => {
                self.choose_named(address, patterns, host, here);
                None
            }
            None => self.choose(address, host, here),
        };
        if self.link != known {
            (self.best, self.remarked) = (Carries::default(), None);
        }
        let hardware = self.link.and_then(|link| host.link(link)?.hardware);
        let elsewhere = hardware.is_some() && (self.link, hardware) != (known, self.hardware);
        self.moved |= elsewhere && known.is_some();
        self.hardware = hardware.or(self.hardware);
        if let Some(link) = self.link {
            self.carries = host.carries(link, address);
            self.best = self.best.max(self.carries);
            let written = written || address.is_ipv6();
            self.prefix =
                if written { host.prefix_on(link, address, prefix) } else { bits(address) };
        }
        better
    }

    fn choose_named(&mut self, address: IpAddr, patterns: &str, host: &Host, here: bool) {
        let known = self.link.and_then(|index| host.link(index));
        let found = host.link_like(patterns, address);
        let stays = known.filter(|known| here && known.usable && known.is_like(patterns));
        self.link = stays.or(found).map(|link| link.index);
    }

    fn choose(&mut self, address: IpAddr, host: &Host, here: bool) -> Option<Better> {
        // A process before this one may have put it elsewhere.
        let borne = || host.places(address).find(|place| place.ours).map(|place| place.place.link);
        let known = self.link.or_else(borne).and_then(|index| host.link(index));
        let Some((found, network)) = host.network_of(address) else {
            self.link = known.map(|link| link.index);
            return None;
        };
        let busy = known.filter(|known| here && known.usable && known.index != found.index);
        if network >= self.network && busy.is_none() {
            (self.link, self.network) = (Some(found.index), network);
            return None;
        }
        self.link = known.map(|link| link.index);
        let (stays, better) = (busy?, found.index);
        let news = network > self.network && self.remarked.replace(better) != Some(better);
        news.then(|| Better { address, stays: stays.name.clone(), better: found.name.clone() })
    }
}

impl Group {
    /// The links that bear the group.
    pub(in crate::kernel) fn links(&self) -> impl Iterator<Item = u32> + '_ {
        self.seats.iter().filter_map(|seat| seat.link)
    }

    /// Finds again where each address belongs. To be called when links or networks changed. Returns
    /// what is worth a remark.
    pub(in crate::kernel) fn relocate(&mut self, host: &Host) -> Option<Better> {
        let (here, written) = (self.state != State::Idle, self.plain_until.is_none());
        let mut better = None;
        let before: Vec<Scoped> =
            if self.is_zoned() { self.seated().collect() } else { Vec::new() };
        for (address, seat) in self.configured.addresses.iter().zip(&mut self.seats) {
            let found = seat.relocate(*address, &self.configured, host, (here, written));
            better = better.or(found);
        }
        if self.is_zoned() {
            self.former.extend(before);
            self.drop_from_former();
            let exists = |it: &Scoped| it.zone().is_none_or(|link| host.link(link).is_some());
            self.former.retain(exists);
        }
        better
    }

    /// What has its place now is not one of those that may be left over.
    pub(super) fn drop_from_former(&mut self) {
        if self.former.is_empty() {
            return;
        }
        for scoped in self.seated().collect::<Vec<_>>() {
            self.former.remove(&scoped);
        }
    }

    /// Each address as it is looked up; a link-local one without a link is nowhere.
    pub(in crate::kernel) fn seated(&self) -> impl Iterator<Item = Scoped> + '_ {
        let seats = self.configured.addresses.iter().zip(&self.seats);
        seats.filter_map(|((address, _), seat)| Scoped::on(*address, seat.link))
    }

    /// Whether any of its addresses is of one link.
    pub(in crate::kernel) fn is_zoned(&self) -> bool {
        self.configured.addresses.iter().any(|(address, _)| is_link_local(*address))
    }

    /// Whether this is one of its addresses now.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.configured.addresses.iter().any(|(known, _)| *known == address)
    }

    /// Its link-local addresses, each with its link.
    pub(in crate::kernel) fn zones(&self) -> impl Iterator<Item = (IpAddr, u32)> + '_ {
        self.seated().filter_map(|scoped| Some((scoped.address(), scoped.zone()?)))
    }

    /// Each address with the link on which it can be asked who has it, held here or not.
    pub(in crate::kernel) fn askable<'a>(&self, host: &'a Host) -> Vec<(&'a Link, IpAddr)> {
        let askable = self.places(host).filter_map(|(address, _, link)| {
            link.filter(|link| link.usable).map(|link| (link, address))
        });
        askable.take(ASKED_MAX).collect()
    }

    /// The link on which all its addresses belong, with them, if it is one.
    pub(in crate::kernel) fn place(&self) -> Option<(u32, Vec<Scoped>)> {
        let first = self.seats.first()?.link?;
        let is_one = self.seats.iter().all(|seat| seat.link == Some(first));
        is_one.then(|| (first, self.seated().collect()))
    }

    /// Whether the address belongs on this link.
    pub(in crate::kernel) fn is_on(&self, address: IpAddr, link: u32) -> bool {
        let mut places = self.configured.addresses.iter().zip(&self.seats);
        places.any(|((known, _), seat)| *known == address && seat.link == Some(link))
    }

    /// Each address with its prefix as written and the link that it belongs on.
    pub(in crate::kernel) fn written(
        &self,
    ) -> impl Iterator<Item = (IpAddr, u8, Option<u32>)> + '_ {
        let seats = self.configured.addresses.iter().zip(&self.seats);
        seats.map(|((address, prefix), seat)| (*address, *prefix, seat.link))
    }

    /// Each address with where it belongs.
    pub(in crate::kernel) fn places<'a>(
        &self,
        host: &'a Host,
    ) -> impl Iterator<Item = (IpAddr, Option<Place>, Option<&'a Link>)> {
        self.configured.addresses.iter().zip(&self.seats).map(|((address, _), seat)| {
            let link = seat.link.and_then(|index| host.link(index));
            let (address, prefix) = (*address, seat.prefix);
            (address, link.map(|link| Place { address, link: link.index, prefix }), link)
        })
    }

    /// Whether routes of the host tell where an address of the group belongs, or whether it can be
    /// answered there.
    pub(in crate::kernel) fn depends_on_routes(&self, host: &Host) -> bool {
        self.written()
            .any(|(address, _, link)| link.is_none_or(|link| !host.owns_network_of(link, address)))
    }

    /// What the host has of the networks of its addresses; a loss while a link is down is no news.
    pub(in crate::kernel) fn attachment(&self, usable: bool) -> Attachment {
        let named = self.configured.interface.is_some();
        let mut attachments = self.seats.iter().map(|seat| seat.attachment(named));
        let worst = attachments.find(|attachment| match attachment {
            Attachment::Attached => false,
            Attachment::Lost => usable,
            Attachment::Unknown => true,
        });
        worst.unwrap_or_default()
    }

    /// The routes that the written prefixes need of what is here, each with its source.
    pub(in crate::kernel) fn wanted_routes(&self, host: &Host) -> Vec<(Network, IpAddr)> {
        if !self.is_wanted() {
            return Vec::new();
        }
        let here = |address: &IpAddr, link| {
            let mut places = host.places(*address).filter(|it| it.ours && it.place.link == link);
            places.any(|it| it.readiness == Readiness::Ready)
        };
        let wanted = self.written().filter_map(|(address, prefix, link)| {
            let network = host.lacks(link?, address, prefix)?;
            here(&address, network.link).then_some((network, address))
        });
        wanted.collect()
    }
}

/// Places for the addresses of a group that has changed; those that it had stay where they are.
pub(super) fn reseated(
    configured: &GroupAddresses,
    (before, known): (&GroupAddresses, &[Seat]),
) -> Vec<Seat> {
    let mut seats = seats(configured);
    if configured.interface != before.interface {
        return seats;
    }
    let known: BTreeMap<IpAddr, Seat> =
        before.addresses.iter().map(|(address, _)| *address).zip(known.iter().copied()).collect();
    for ((address, _), seat) in configured.addresses.iter().zip(&mut seats) {
        *seat = known.get(address).copied().unwrap_or(*seat);
    }
    seats
}

/// Places for addresses that have none yet.
pub(super) fn seats(configured: &GroupAddresses) -> Vec<Seat> {
    configured.addresses.iter().map(|(address, _)| Seat::new(*address)).collect()
}
