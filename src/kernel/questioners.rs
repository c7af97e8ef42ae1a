//! Hosts that ask for our addresses: somebody whom a self-test can ask.
//!
//! A node that has just started, or whose link has just come back, may know nobody outside the
//! cluster, while a client asks for its addresses all the time. Nobody answers that client, so the
//! kernel's neighbour table does not have it either. As long as no host is known that answers, the
//! ARP requests and neighbour solicitations for our addresses are read, each time before hosts are
//! looked for, and their senders are asked first. That they speak shows nothing yet: what counts is
//! that they answer.
//!
//! The sockets wake nobody and keep some hundred frames; what does not fit is dropped. Probes
//! without a sender, and link-local senders, who may be nodes under another name, are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use socket2::Socket;

use super::claimants::{ARP, FRAME_MAX, IPV6, close, open, read};
use super::reach::TARGETS_MAX;
use super::{arp, filter, ndp};
use crate::protocol::Instant;

/// Frames read at once; more say nothing new.
const READ_MAX: usize = 256;
/// A host that has asked is somebody to ask for so long.
const ASKED_FOR: std::time::Duration = std::time::Duration::from_secs(30);

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Questioners {
    /// The sockets, while they are wanted, and the addresses that their filters are made for.
    sockets: Option<([Socket; 2], BTreeSet<IpAddr>)>,
    asked: BTreeMap<IpAddr, Instant>,
}

impl Questioners {
    /// Listens for questions about these addresses, or not any more.
    pub(super) fn listen_for(&mut self, addresses: Option<BTreeSet<IpAddr>>) {
        let before = self.sockets.as_ref().map(|(_, addresses)| addresses);
        if before == addresses.as_ref() {
            return;
        }
        if let Some((sockets, _)) = self.sockets.take() {
            close(sockets);
        }
        let Some(addresses) = addresses else { return };
        let opened = open(ARP, &filter::arp_request(&addresses))
            .and_then(|arp| Ok([arp, open(IPV6, &filter::solicitation(&addresses))?]));
        // Without them the hosts of the neighbour table are asked.
        self.sockets = opened.ok().map(|sockets| (sockets, addresses));
    }

    /// Those who asked lately, the latest first.
    pub(super) fn hear(&mut self, now: Instant) -> Vec<SocketAddr> {
        for socket in self.sockets.iter().flat_map(|(sockets, _)| sockets) {
            let mut frame = [0; FRAME_MAX];
            for _ in 0..READ_MAX {
                let Ok((length, _)) = read(socket, &mut frame) else { break };
                let asked = questioner(frame.get(..length).unwrap_or_default());
                self.asked.extend(asked.map(|address| (address, now)));
            }
        }
        self.asked.retain(|_, at| now.since(*at) < ASKED_FOR);
        let mut latest: Vec<(Instant, IpAddr)> =
            self.asked.iter().map(|(address, at)| (*at, *address)).collect();
        latest.sort_unstable_by(|one, other| other.cmp(one));
        latest.truncate(TARGETS_MAX);
        self.asked.retain(|address, _| latest.iter().any(|(_, kept)| kept == address));
        latest.into_iter().map(|(_, address)| SocketAddr::new(address, 0)).collect()
    }
}

/// Who asks in this packet, if it can be asked back. IPv6 begins with its version.
fn questioner(packet: &[u8]) -> Option<IpAddr> {
    let address: IpAddr = if packet.first().is_some_and(|first| first >> 4 == 6) {
        ndp::solicitor(packet)?.into()
    } else {
        arp::sender(packet)?.0.into()
    };
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let usable = !address.is_unspecified() && !address.is_multicast() && !link_local;
    usable.then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_be_asked_back_is_somebody_to_ask() {
        let hardware = [2, 0, 0, 0, 0, 7];
        let wanted = [10, 0, 0, 9].into();
        let asks = |from: [u8; 4]| arp::request(hardware, from.into(), wanted)[14..].to_vec();
        assert_eq!(questioner(&asks([10, 0, 0, 1])), Some([10, 0, 0, 1].into()));
        assert_eq!(questioner(&asks([169, 254, 0, 1])), None, "link-local");
        assert_eq!(questioner(&arp::probe(hardware, wanted)[14..]), None, "a probe");
        let asks = |from: &str| {
            let source = from.parse().unwrap();
            let speaker = ndp::Speaker { hardware, source, router: false };
            ndp::solicitation(&speaker, "fd77::100".parse().unwrap())[14..].to_vec()
        };
        assert_eq!(questioner(&asks("fd77::1")), Some("fd77::1".parse().unwrap()));
        assert_eq!(questioner(&asks("fe80::1")), None, "link-local");
        assert_eq!(questioner(&asks("::")), None, "duplicate address detection");
        for length in 0..40 {
            assert_eq!(questioner(&asks("fd77::1")[..length]), None, "cut to {length}");
        }
    }
}
