//! Links that carry in one direction only, or not at all, although they are up.
//!
//! The protocol says on which addresses of this host peers are not heard, or do not hear this host,
//! while they hear each other elsewhere. The links with these addresses are tested: hosts outside
//! the cluster that are reached through them, and that have answered before, are asked again and
//! again; an answer has passed the link in both directions. A link is *deaf* while none of them
//! answers; one for which that has lasted, until they have answered [`RECOVERED`] times in a row.
//! Where none ever did nothing is known, and it is not; unless the peers there hear each other, so
//! that only what this host sends is lost. Of a deaf link the network counts as lost
//! (`group/footing`), which the protocol follows as any other loss.
//!
//! ```text
//!                    the path is in doubt            no answer
//!   carries ---------------------------> doubted ---------------> deaf
//!     ^                                   |  ^                     |
//!     +------------ no doubt -------------+  +--- answers again ---+
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::links::{Address, Host};
use super::{Kernel, Order};
use crate::protocol::{Instant, PathFault, Reach};

/// Between two tests: a host that is back is noticed within this.
const PAUSE: Duration = Duration::from_millis(200);
/// Tests in a row that are answered before a deaf link is taken to carry again, in a second: of a
/// link that loses nearly all one is, now and then.
const RECOVERED: u8 = 5;
/// So many tests without an answer have lasted: as long as the loss of a network must before it is
/// told (`group/footing`). What ends sooner ends with the first answer.
const LASTED: u8 = 3;

/// How a deaf link has been tested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tests {
    /// Without an answer, since it is deaf.
    silent: u8,
    /// Answered, since the last of those.
    answered: u8,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Deafness {
    /// Addresses of this host that are in doubt.
    doubted: Vec<(IpAddr, PathFault)>,
    deaf: BTreeMap<u32, Tests>,
    test_at: Instant,
}

impl Kernel {
    /// Tests the links with these addresses of this host, and no others.
    pub fn doubt(&self, addresses: Vec<(IpAddr, PathFault)>) {
        self.order(Order::Doubt(addresses));
    }
}

impl Deafness {
    /// These addresses of this host are in doubt from now on, and no others.
    pub(super) fn doubt(&mut self, addresses: Vec<(IpAddr, PathFault)>) {
        self.doubted = addresses;
    }

    /// The links in doubt, each with whether peers there hear each other.
    fn suspected(&self, host: &Host) -> BTreeMap<u32, bool> {
        let mut links = BTreeMap::new();
        for (address, fault) in &self.doubted {
            let is_there = |it: &&_| is_own(it, *address);
            for link in host.addresses().filter(is_there).map(|it| it.place.link) {
                let heard = *fault == PathFault::Unheard { others_heard: true };
                *links.entry(link).or_insert(false) |= heard;
            }
        }
        links
    }

    /// The links to be tested now.
    pub(super) fn due(&mut self, host: &Host, now: Instant) -> BTreeSet<u32> {
        if self.doubted.is_empty() || now < self.test_at {
            return BTreeSet::new();
        }
        self.test_at = now + PAUSE;
        self.suspected(host).into_keys().collect()
    }

    /// When [`Deafness::due`] has to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.doubted.is_empty()).then_some(self.test_at)
    }

    /// Takes in the outcome of a test.
    pub(super) fn tested(&mut self, link: u32, reach: Reach, host: &Host) {
        let others_heard = self.suspected(host).get(&link).copied().unwrap_or(false);
        let was = self.deaf.contains_key(&link);
        let tests = self.deaf.get(&link).copied().unwrap_or_default();
        let silent = Tests { silent: tests.silent.saturating_add(1), answered: 0 };
        let answered = Tests { answered: tests.answered.saturating_add(1), ..tests };
        let recovers = tests.silent >= LASTED && answered.answered < RECOVERED;
        let deaf = match reach {
            Reach::Silent => Some(silent),
            Reach::NobodyToAsk => others_heard.then_some(silent),
            Reach::Answered => recovers.then_some(answered),
        };
        match deaf {
            Some(tests) => self.deaf.insert(link, tests),
            None => self.deaf.remove(&link),
        };
        let name = host.link(link).map_or("", |link| link.name.as_str());
        match (was, self.deaf.contains_key(&link)) {
            (false, true) => tracing::warn!(
                link = name,
                "a link of this host carries in one direction at most: peers are not heard there, \
                 or do not hear this host, and no other host answers; its groups move to other nodes"
            ),
            (true, false) => {
                tracing::info!(link = name, "the link carries in both directions again")
            }
            (true, true) | (false, false) => {}
        }
    }

    /// The links that are deaf.
    pub(super) fn links(&mut self, host: &Host) -> BTreeSet<u32> {
        let suspected = self.suspected(host);
        self.deaf.retain(|link, _| suspected.contains_key(link));
        self.deaf.keys().copied().collect()
    }
}

fn is_own(it: &Address, address: IpAddr) -> bool {
    !it.ours && it.place.address == address
}

#[cfg(test)]
mod tests {
    use super::super::links::{Observation, Place, Readiness};
    use super::*;

    const LINK: u32 = 3;

    fn host(address: IpAddr, prefix: u8) -> Host {
        let mut host = Host::default();
        let place = Place { address, link: LINK, prefix };
        let readiness = Readiness::Ready;
        let there = Address { place, network: address, ours: false, readiness, primary: true };
        host.observe(Observation::Address(there));
        host
    }

    #[test]
    fn a_link_is_deaf_while_it_is_in_doubt_and_no_host_answers_there() {
        use Reach::{Answered, NobodyToAsk, Silent};
        let silent = PathFault::Silent;
        let [heard, unheard] =
            [true, false].map(|others_heard| PathFault::Unheard { others_heard });
        let (lasted, recovering) = ([(Silent, true); 3], [(Answered, true); 4]);
        let then = |after| [&lasted[..], &recovering, &[after]].concat();
        let table = [
            (silent, vec![(NobodyToAsk, false), (Answered, false), (Silent, true)]),
            (unheard, vec![(NobodyToAsk, false), (Answered, false), (Silent, true)]),
            (heard, vec![(Answered, false), (NobodyToAsk, true), (NobodyToAsk, true)]),
            (heard, vec![(Silent, true), (Silent, true), (Answered, false)]),
            (silent, then((Answered, false))),
            (heard, then((Silent, true))),
            (heard, then((NobodyToAsk, true))),
            (silent, then((NobodyToAsk, false))),
            (silent, vec![(Silent, true), (NobodyToAsk, false)]),
        ];
        let v4: IpAddr = [10, 0, 0, 1].into();
        let v6: IpAddr = [0xfd77, 0, 0, 0, 0, 0, 0, 1].into();
        for (address, prefix) in [(v4, 24), (v6, 64)] {
            let host = host(address, prefix);
            for (fault, tests) in &table {
                let mut deafness = Deafness::default();
                assert_eq!(deafness.due(&host, Instant::START), BTreeSet::new());
                deafness.doubt(vec![(address, *fault)]);
                assert_eq!(deafness.due(&host, Instant::START), [LINK].into());
                assert!(deafness.due(&host, Instant::from_millis(199)).is_empty(), "paced");
                assert!(deafness.links(&host).is_empty(), "not tested yet");
                for (reach, deaf) in tests {
                    deafness.tested(LINK, *reach, &host);
                    assert_eq!(!deafness.links(&host).is_empty(), *deaf, "{fault:?} {tests:?}");
                }
                deafness.doubt(Vec::new());
                assert!(deafness.links(&host).is_empty() && deafness.deadline().is_none());
            }
        }
    }
}
