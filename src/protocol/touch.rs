//! Who hears this node, as far as its peers tell.

use super::membership::low;
use super::node::Node;
use super::types::{NodeId, NodePhase, Rule, Verdict};

impl Node {
    /// Peers that live, and hear this node as far as they can tell: a peer that is heard
    /// directly and does not list this node is not in touch with it.
    pub(super) fn in_touch(&self) -> u16 {
        let count = self.peers.values().filter(|peer| self.touches(peer)).count();
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    /// Whether a peer is heard directly and says that it hears this node.
    pub(super) fn hears_and_is_heard(&self, node: NodeId) -> bool {
        let heard = |peer: &&super::peers::Peer| peer.verdict == Verdict::Up;
        self.peers.get(&node).filter(heard).is_some_and(|peer| self.touches(peer))
    }

    pub(super) fn touches(&self, peer: &super::peers::Peer) -> bool {
        let within = self.env.configuration.timing.detection();
        let life = low(self.env.configuration.incarnation);
        match peer.verdict {
            Verdict::Up => peer.hears(self.env.configuration.me, Some(life), within),
            Verdict::Indirect => true,
            Verdict::Suspect | Verdict::Unknown | Verdict::Dead | Verdict::Left => false,
        }
    }

    /// Revises whether this node is mute. What it may take depends on that, so a change has every
    /// group examined (seed 30859).
    pub(super) fn revise_mute(&mut self) {
        let mute = self.is_mute();
        self.evaluate |= mute != self.mute;
        self.mute = mute;
    }

    /// Whether acting peers are heard, for as long as they would need to hear this node, and
    /// none of them does.
    fn is_mute(&self) -> bool {
        let within = self.env.configuration.timing.detection();
        let mut acting = self.peers.values().filter(|peer| {
            peer.verdict == Verdict::Up
                && peer.said.phase == Some(NodePhase::Active)
                && self.env.now.since(peer.up_since) > within
        });
        let mut any = false;
        let heard = acting.any(|peer| {
            any = true;
            self.touches(peer)
        });
        (any && !heard) || (self.senses_only() && self.enforces(Rule::SensedIsThere))
    }
}
