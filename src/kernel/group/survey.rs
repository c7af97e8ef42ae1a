//! How the host differs from the wanted presence of one group. Pure, part of `group`.

use std::net::IpAddr;

use super::Group;
use crate::kernel::links::{Host, Link, Place, Readiness};
use crate::kernel::owners::Owners;
use crate::kernel::reconcile::UnderWay;

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
    /// Ours, but not where it belongs; with whether the address itself is no longer wanted.
    pub(super) misplaced: Vec<(Place, bool)>,
}

impl Survey {
    /// Nothing is to be done or waited for.
    pub(super) fn whole(&self) -> bool {
        self.missing.is_empty() && !self.blocked && !self.unsettled && self.misplaced.is_empty()
    }
}

impl Group {
    /// Compares the group with the host.
    pub(super) fn survey(&self, host: &Host, (under_way, owners): (&UnderWay, &Owners)) -> Survey {
        let mut survey = Survey::default();
        for (address, place, link) in self.places(host) {
            survey.foreign |= host.places(address).any(|found| {
                let silent = host.link(found.place.link).is_some_and(|link| link.silent);
                let elsewhere = link.is_none_or(|here| here.index != found.place.link);
                !(found.ours || silent && elsewhere)
            });
            let misplaced = host.places(address).filter(|it| it.ours && Some(it.place) != place);
            survey.misplaced.extend(misplaced.map(|it| (it.place, false)));
            survey.add(place.zip(link), address, host, under_way);
        }
        let goes = |it: &&IpAddr| self.until_told.is_none() && !self.is_anothers(**it, owners);
        for address in self.former.iter().filter(goes) {
            let ours = host.places(*address).filter(|it| it.ours);
            survey.misplaced.extend(ours.map(|it| (it.place, true)));
        }
        survey
    }
}

impl Survey {
    fn add(
        &mut self,
        place: Option<(Place, &Link)>,
        address: IpAddr,
        host: &Host,
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
                self.lost |= !host.places(address).any(|it| it.ours);
            }
            None => {}
        }
    }
}
