//! Which hardware addresses peers are told: whoever says with one of these that it has an address
//! is this host.
//!
//! A host answers for its addresses on all of its cards, so all are told, as far as there is room:
//! first those of links that bear groups, then of links in the same networks, then the others.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::links::Host;
use crate::protocol::{HARDWARE_MAX, HardwareAddress};

/// What is told, in order.
pub(super) fn told(
    host: &Host,
    bearing: &BTreeSet<u32>,
    addresses: &[IpAddr],
) -> [Option<HardwareAddress>; HARDWARE_MAX] {
    let near: BTreeSet<u32> = host
        .addresses()
        .filter(|own| !own.ours)
        .filter(|own| {
            let own = own.place.address;
            addresses.iter().any(|address| host.share_network(own, *address))
        })
        .map(|own| own.place.link)
        .collect();
    let ranked: BTreeSet<(bool, bool, u32, HardwareAddress)> = host
        .links()
        .filter_map(|link| {
            let index = link.index;
            let hardware = HardwareAddress(link.hardware.filter(|_| !link.loopback)?);
            Some((!bearing.contains(&index), !near.contains(&index), index, hardware))
        })
        .collect();
    let (mut told, mut seen) = (Vec::new(), BTreeSet::new());
    for (.., hardware) in ranked {
        if seen.insert(hardware) {
            told.push(hardware);
        }
    }
    told.truncate(HARDWARE_MAX);
    // The same ones are the same news.
    told.sort_unstable();
    let mut news = [None; HARDWARE_MAX];
    news.iter_mut().zip(told).for_each(|(place, address)| *place = Some(address));
    news
}

#[cfg(test)]
mod tests {
    use super::super::links::{Address, Link, Observation, Place, Readiness};
    use super::*;

    fn link(index: u32) -> Observation {
        Observation::Link(Link {
            index,
            name: format!("eth{index}"),
            hardware: Some(hardware(index).0),
            usable: true,
            ..Link::default()
        })
    }

    fn hardware(index: u32) -> HardwareAddress {
        HardwareAddress([2, 0, 0, 0, 0, u8::try_from(index).unwrap()])
    }

    #[test]
    fn the_cards_that_can_answer_are_told_first() {
        let mut host = Host::default();
        for index in 2..22 {
            host.observe(link(index));
        }
        let address = IpAddr::from([10, 0, 0, 7]);
        let place = Place { address, prefix: 24, link: 20 };
        let network = IpAddr::from([10, 0, 0, 0]);
        let readiness = Readiness::Ready;
        let own = Address { place, network, ours: false, readiness, primary: true };
        host.observe(Observation::Address(own));
        let group = [IpAddr::from([10, 0, 0, 100])];

        let told: Vec<_> = told(&host, &[15].into(), &group).into_iter().flatten().collect();
        let expected = [2, 3, 4, 5, 6, 7, 15, 20].map(hardware);
        assert_eq!(told, expected, "of the rest the oldest");
    }
}
