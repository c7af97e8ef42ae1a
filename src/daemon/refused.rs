//! Datagrams that were refused: counted by reason, told at a bounded pace, and remembered by the
//! peer that they say to be from, because people look there for why it is not heard.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::protocol::{Instant, NodeId};
use crate::wire::RefusedDatagram;

/// Refused datagrams are told at most so often; all are counted.
const REFUSED_TOLD_EVERY: Duration = Duration::from_secs(10);
/// What was refused is shown for so long.
const SHOWN_FOR: Duration = Duration::from_secs(30);

/// One datagram that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// Why.
    pub(crate) reason: RefusedDatagram,
    /// The peer that its header names; nothing proves that.
    pub(crate) peer: Option<NodeId>,
    /// Where it came from.
    pub(crate) from: IpAddr,
}

/// Counts refused datagrams; anybody on the network can make these, so telling is rationed.
/// Duplicates are normal with several paths and not told at all.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) counts: [u64; RefusedDatagram::COUNT],
    untold: u64,
    last: Option<Obstacle>,
    told_at: Option<Instant>,
    /// What keeps a configured peer from being heard.
    obstacles: BTreeMap<NodeId, (Obstacle, Instant)>,
    /// Who knows another node of this one's name, and when it said so.
    twin: Option<(NodeId, Instant)>,
}

impl Refused {
    /// Counts one. `named` is the configured peer that it says to be from. What comes from an
    /// address of no peer and names none does not concern the cluster.
    pub(super) fn note(
        &mut self,
        now: Instant,
        reason: RefusedDatagram,
        (peer, from): (Option<NodeId>, IpAddr),
        known: bool,
    ) {
        if !known && peer.is_none() {
            return;
        }
        self.counts[reason.index()] += 1;
        let obstacle = Obstacle { reason, peer, from };
        if reason != RefusedDatagram::Duplicate {
            self.untold += 1;
            self.last = Some(obstacle);
        }
        if let Some(peer) = peer.filter(|_| hinders(reason)) {
            self.obstacles.insert(peer, (obstacle, now));
        }
    }

    /// A datagram of a peer was taken: but for a second node of its name nothing is in its way.
    pub(super) fn opened(&mut self, peer: NodeId) {
        let reason = self.obstacles.get(&peer).map(|(obstacle, _)| obstacle.reason);
        if reason.is_some_and(|reason| reason != RefusedDatagram::DuplicateNode) {
            self.obstacles.remove(&peer);
        }
    }

    /// What was lately refused of peers that are not heard for it.
    pub(super) fn obstacles(&self, now: Instant) -> Vec<Obstacle> {
        let lately = self.obstacles.values().filter(|(_, at)| now.since(*at) < SHOWN_FOR);
        lately.map(|(obstacle, _)| *obstacle).collect()
    }

    /// Takes in that a peer knows another node of this name; whether that is to be told.
    pub(super) fn twin(&mut self, now: Instant, by: NodeId) -> bool {
        let known = self.twin.is_some_and(|(_, at)| now.since(at) < REFUSED_TOLD_EVERY);
        if !known {
            self.twin = Some((by, now));
        }
        !known
    }

    /// Who lately knew another node of this name.
    pub(super) fn lately_twin(&self, now: Instant) -> Option<NodeId> {
        self.twin.filter(|(_, at)| now.since(*at) < SHOWN_FOR).map(|(by, _)| by)
    }

    /// What the last was and how many were since this last told, if it is time to.
    pub(super) fn due(&mut self, now: Instant) -> Option<(Obstacle, u64)> {
        let last = self.last?;
        let rested = self.told_at.is_none_or(|at| now.since(at) >= REFUSED_TOLD_EVERY);
        (self.untold > 0 && rested).then(|| {
            self.told_at = Some(now);
            (last, std::mem::take(&mut self.untold))
        })
    }
}

/// Whether what is refused for this is all that the peer sends, so that it is not heard at all.
const fn hinders(reason: RefusedDatagram) -> bool {
    matches!(
        reason,
        RefusedDatagram::BadSeal
            | RefusedDatagram::UnknownKey
            | RefusedDatagram::OtherCluster
            | RefusedDatagram::UnknownVersion
            | RefusedDatagram::DuplicateNode
    )
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    #[test]
    fn what_hinders_a_peer_is_shown_until_it_is_heard_or_old() {
        let mut refused = Refused::default();
        let peer = NodeId(1);
        refused.note(at(1), RefusedDatagram::BadSeal, (Some(peer), FROM), true);
        let obstacle = Obstacle { reason: RefusedDatagram::BadSeal, peer: Some(peer), from: FROM };
        assert_eq!(refused.obstacles(at(20)), [obstacle]);
        assert_eq!(refused.obstacles(at(31)), []);
        refused.opened(peer);
        assert_eq!(refused.obstacles(at(2)), []);
        refused.note(at(1), RefusedDatagram::TooOld, (Some(peer), FROM), true);
        assert_eq!(refused.obstacles(at(2)), []);
    }

    #[test]
    fn what_comes_from_outside_and_names_no_peer_is_neither_told_nor_counted() {
        let mut refused = Refused::default();
        refused.note(at(1), RefusedDatagram::BadMagic, (None, FROM), false);
        assert_eq!(refused.due(at(2)), None);
        assert_eq!(refused.counts, [0; RefusedDatagram::COUNT]);
        refused.note(at(1), RefusedDatagram::BadMagic, (None, FROM), true);
        assert!(refused.due(at(2)).is_some());
        refused.note(at(3), RefusedDatagram::BadMagic, (None, FROM), true);
        assert!(refused.due(at(4)).is_none() && refused.due(at(12)).is_some());
    }
}
