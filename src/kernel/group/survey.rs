//! How the host differs from the wanted presence of one group. Pure, part of `group`.

use std::net::IpAddr;

use super::Group;
use crate::kernel::links::{Host, Link, Place, Readiness};
use crate::kernel::owners::Owners;
use crate::kernel::reconcile::UnderWay;
use crate::kernel::scoped::Scoped;

/// How the host differs from the wanted presence of a group.
#[derive(Debug, Default)]
pub(in crate::kernel) struct Survey {
    /// To be added, on links that can carry it.
    pub(super) missing: Vec<Place>,
    /// Some address that is missing is nowhere else on this host either: it was not moved by us.
    pub(super) lost: bool,
    /// Some address has no link, or is missing on a link that cannot carry it.
    pub(super) stuck: bool,
    /// Some address has no link at all.
    pub(super) homeless: bool,
    /// Some link is missing or cannot carry its addresses, or nothing may be added.
    pub(super) blocked: bool,
    /// Some address is not usable yet, or a change is under way.
    pub(super) unsettled: bool,
    /// Duplicate address detection failed.
    pub(super) duplicate: bool,
    /// Some address is on this host without being ours, where it can be asked for.
    pub(super) foreign: bool,
    /// Such an address stands exactly where ours should be.
    pub(super) supplanted: bool,
    /// Some route or rule of the group is not known to be here.
    pub(super) unrouted: bool,
    /// Some route or rule could not be added although all addresses are here.
    pub(super) misrouted: bool,
    /// Ours, but not where it belongs; with whether the address itself is no longer wanted.
    pub(super) misplaced: Vec<(Place, bool)>,
}

impl Survey {
    /// Nothing is to be done or waited for.
    pub(super) fn whole(&self) -> bool {
        self.has_all_addresses() && !self.unrouted
    }

    /// The same of the addresses alone.
    pub(super) fn has_all_addresses(&self) -> bool {
        self.missing.is_empty() && !self.blocked && !self.unsettled && self.misplaced.is_empty()
    }
}

impl Group {
    /// Compares the group with the host.
    pub(super) fn survey(&self, host: &Host, (under_way, owners): (&UnderWay, &Owners)) -> Survey {
        let mut survey = Survey::default();
        for (address, place, link) in self.places(host) {
            let scoped = Scoped::on(address, link.map(|link| link.index));
            let places = || scoped.into_iter().flat_map(|scoped| host.places_of(scoped));
            survey.foreign |= places().any(|found| {
                let silent = host.link(found.place.link).is_some_and(|link| link.silent);
                let elsewhere = link.is_none_or(|here| here.index != found.place.link);
                !(found.ours || silent && elsewhere)
            });
            let misplaced = places().filter(|it| it.ours && Some(it.place) != place);
            survey.misplaced.extend(misplaced.map(|it| (it.place, false)));
            let here = self.is_here(address, scoped, host);
            survey.add(place.zip(link), (here, host), under_way);
        }
        let goes = |it: &&Scoped| self.until_told.is_none() && !self.is_anothers(**it, owners);
        for scoped in self.former.iter().filter(goes) {
            let ours = host.places_of(*scoped).filter(|it| it.ours);
            // A link-local address may only have changed its link.
            let goes = scoped.zone().is_none() || !self.has(scoped.address());
            survey.misplaced.extend(ours.map(|it| (it.place, goes)));
        }
        survey
    }

    /// Whether the address is on this host and ours, wherever it is of this group.
    fn is_here(&self, address: IpAddr, scoped: Option<Scoped>, host: &Host) -> bool {
        let of_this = |it: &Scoped| Some(*it) == scoped || self.former.contains(it);
        host.places(address).any(|it| it.ours && of_this(&Scoped::of(&it.place)))
    }
}

impl Survey {
    /// Takes in one address, which is `here` or is not, at the place where it belongs.
    fn add(
        &mut self,
        place: Option<(Place, &Link)>,
        (here, host): (bool, &Host),
        under_way: &UnderWay,
    ) {
        let Some((place, link)) = place else {
            (self.homeless, self.blocked, self.stuck) = (true, true, true);
            return;
        };
        let found = host.at(&place);
        let kept_out = host.closed && found.is_none();
        self.blocked |= !link.usable || kept_out;
        self.stuck |= kept_out || !link.usable && found.is_none();
        self.unsettled |= under_way.removing(&place);
        self.supplanted |= found.is_some_and(|found| !found.ours);
        match found.map(|it| it.readiness) {
            Some(Readiness::Ready) => {}
            Some(Readiness::Tentative) => self.unsettled = true,
            Some(Readiness::Duplicate) => self.duplicate = true,
            None if link.usable && !kept_out => {
                self.missing.push(place);
                self.lost |= !here;
            }
            None => {}
        }
    }
}
