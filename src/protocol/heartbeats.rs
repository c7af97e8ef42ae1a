//! What a node says of itself: every heartbeat interval to every peer, and at the end.

use std::time::Duration;

use super::membership::low;
use super::node::Node;
use super::types::{
    Action, Heard, Heartbeat, LogPosition, Message, NodeId, NodePhase, standing_text_max,
};

impl Node {
    /// Sends one heartbeat to one peer.
    pub(super) fn send_heartbeat(&mut self, to: NodeId, solicit: bool) {
        let now = self.env.now;
        let heard =
            self.peers.iter().filter(|(node, _)| **node != to).filter_map(|(node, peer)| {
                Some(Heard {
                    node: *node,
                    incarnation_low: low(peer.incarnation?),
                    age: now.since(peer.heard_at?),
                })
            });
        let mut heard: Vec<Heard> = heard.collect();
        let Some(peer) = self.peers.get(&to) else { return };
        if let (Some(incarnation), Some(at)) = (peer.incarnation, peer.heard_at) {
            let age = now.since(at);
            heard.push(Heard { node: to, incarnation_low: low(incarnation), age });
        }
        let timing = &self.env.configuration.timing;
        let (log, acknowledged) = self.claims.positions(to);
        let name = self.name_for(peer);
        let proposal = self.timing_proposal().filter(|_| name.is_none());
        // The two are never needed at once, and there is no room for both.
        let text_max = standing_text_max(heard.len(), self.unable.len());
        let standing = self.standing_orders.told(now, text_max).filter(|_| name.is_none());
        let beat = Heartbeat {
            phase: self.phase,
            draining: self.drains(),
            solicit,
            interval: timing.heartbeat,
            misses: timing.misses,
            weight: self.weight(self.env.configuration.me),
            software: self.env.configuration.software,
            config_digest: self.env.configuration.digest,
            loop_lag: self.loop_lag,
            clock_ms: now.as_millis(),
            log,
            acknowledged,
            heard,
            waiting: self.waiting(now),
            preserving: self.env.configuration.preserving,
            hardware: self.hardware.clone(),
            fitness: self.fitness.iter().map(|(pool, fitness)| (*pool, *fitness)).collect(),
            load: self.meter.load(now),
            unlisted: !peer.listed,
            name,
            unable: self.unable.clone(),
            paths: self.path_reports(to),
            standing_order: standing.map(Box::new),
            timing: proposal,
        };
        self.env.actions.push(Action::Send { to, message: Message::Heartbeat(beat) });
    }

    /// Sends a heartbeat to every peer now and plans the next.
    pub(super) fn beat(&mut self, solicit: bool) {
        let peers: Vec<NodeId> = self.peers.keys().copied().collect();
        for peer in peers {
            self.send_heartbeat(peer, solicit);
        }
    }

    /// What a guardian says for this node when it cannot any more; the same to every peer, at any
    /// time of this life.
    #[must_use]
    pub fn farewell(&self) -> Message {
        let timing = &self.env.configuration.timing;
        Message::Heartbeat(Heartbeat {
            phase: NodePhase::Left,
            draining: self.draining,
            solicit: false,
            interval: timing.heartbeat,
            misses: timing.misses,
            weight: self.weight(self.env.configuration.me),
            software: self.env.configuration.software,
            config_digest: self.env.configuration.digest,
            loop_lag: Duration::ZERO,
            clock_ms: 0,
            log: LogPosition::default(),
            acknowledged: LogPosition::default(),
            heard: Vec::new(),
            waiting: None,
            preserving: self.env.configuration.preserving,
            hardware: Vec::new(),
            fitness: Vec::new(),
            load: None,
            unlisted: false,
            name: None,
            unable: Vec::new(),
            paths: Vec::new(),
            standing_order: None,
            timing: None,
        })
    }
}
