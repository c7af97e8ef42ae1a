//! Links on which this host hears nobody, although it hears its peers on others.
//!
//! The protocol thread tells on which addresses of this host no peer is heard while peers are heard
//! elsewhere. The links with these addresses are tested: hosts outside the cluster that are reached
//! through them, and that have answered before, are asked again and again. A link is *deaf* while
//! none of them answers; where nobody ever did nothing is known, and it is not. Of a deaf link the
//! network counts as lost (`group/footing`), which the protocol follows as any other loss.
//!
//! ```text
//!                     peers are silent there          nobody answers
//!   hears ---------------------------------> suspected -----------> deaf
//!     ^                                          |  ^                |
//!     +------------ peers are heard -------------+  +-- an answer ---+
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::links::Host;
use super::{Kernel, Order};
use crate::protocol::{Instant, Reach};

/// Between two tests: a host that is back is noticed within this.
const PAUSE: Duration = Duration::from_millis(200);

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Deafness {
    /// Where no peer is heard.
    unheard: Vec<IpAddr>,
    deaf: BTreeSet<u32>,
    test_at: Instant,
}

impl Kernel {
    /// Tests the links with these addresses of this host: no peer is heard there.
    pub fn unheard(&self, addresses: Vec<IpAddr>) {
        self.order(Order::Unheard(addresses));
    }
}

impl Deafness {
    /// No peer is heard on these addresses of this host, while peers are heard elsewhere.
    pub(super) fn suspect(&mut self, unheard: Vec<IpAddr>) {
        self.unheard = unheard;
    }

    fn suspected(&self, host: &Host) -> BTreeSet<u32> {
        let there = |address: &IpAddr| self.unheard.contains(address);
        let addresses = host.addresses().filter(|it| !it.ours && there(&it.place.address));
        addresses.map(|it| it.place.link).collect()
    }

    /// The links to be tested now.
    pub(super) fn due(&mut self, host: &Host, now: Instant) -> BTreeSet<u32> {
        if self.unheard.is_empty() || now < self.test_at {
            return BTreeSet::new();
        }
        self.test_at = now + PAUSE;
        self.suspected(host)
    }

    /// When [`Deafness::due`] has to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.unheard.is_empty()).then_some(self.test_at)
    }

    /// Takes in the outcome of a test.
    pub(super) fn tested(&mut self, link: u32, reach: Reach, host: &Host) {
        let changed = match reach {
            Reach::Silent => self.deaf.insert(link),
            Reach::Answered | Reach::NobodyToAsk => self.deaf.remove(&link),
        };
        if changed {
            let name = host.link(link).map_or("", |link| link.name.as_str());
            if self.deaf.contains(&link) {
                tracing::warn!(
                    link = name,
                    "this host receives nothing on a link, neither from peers nor from other \
                     hosts; its groups move to other nodes until it does"
                );
            } else {
                tracing::info!(link = name, "other hosts are heard on the link again");
            }
        }
    }

    /// The links that are deaf.
    pub(super) fn links(&mut self, host: &Host) -> BTreeSet<u32> {
        let suspected = self.suspected(host);
        self.deaf.retain(|link| suspected.contains(link));
        self.deaf.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::links::{Address, Observation, Place, Readiness};
    use super::*;

    const LINK: u32 = 3;

    #[test]
    fn a_link_is_deaf_while_no_peer_and_nobody_else_is_heard_there() {
        let mut host = Host::default();
        let address: IpAddr = [10, 0, 0, 1].into();
        let place = Place { address, link: LINK, prefix: 24 };
        let readiness = Readiness::Ready;
        let address_there =
            Address { place, network: address, ours: false, readiness, primary: true };
        host.observe(Observation::Address(address_there));
        let mut deafness = Deafness::default();
        let none = BTreeSet::new();
        assert_eq!(deafness.due(&host, Instant::START), none);
        deafness.suspect(vec![address]);
        assert_eq!(deafness.due(&host, Instant::START), [LINK].into());
        assert_eq!(deafness.due(&host, Instant::from_millis(199)), none, "paced");
        assert_eq!(deafness.links(&host), none, "not tested yet");
        for (reach, deaf) in [
            (Reach::NobodyToAsk, false),
            (Reach::Silent, true),
            (Reach::Answered, false),
            (Reach::Silent, true),
        ] {
            deafness.tested(LINK, reach, &host);
            assert_eq!(!deafness.links(&host).is_empty(), deaf, "{reach:?}");
        }
        deafness.suspect(Vec::new());
        assert_eq!((deafness.links(&host), deafness.deadline()), (none, None), "peers are heard");
    }
}
