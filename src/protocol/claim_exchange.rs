//! What a node does with claims that come and go: writes its own, takes in those of others, and waits
//! for what a peer that begins to be heard has to tell.
//!
//! How claims travel is told in `claims`; here is what that must know of the peers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::claims::{Acceptance, Audience};
use super::env::Env;
use super::node::Node;
use super::peers::Peer;
use super::types::{
    Claim, Claims, ClaimsAck, GroupKey, Instant, LogPosition, Message, NodeId, NodePhase, Report,
    Rule, Tenure, Verdict,
};

/// The peers of a node, as far as claims go.
struct Listeners<'a> {
    peers: &'a BTreeMap<NodeId, Peer>,
    /// Whether claims are sent to those who do not hear the owner.
    relays: bool,
    detection: Duration,
    retry: Duration,
    heartbeat: Duration,
}

impl<'a> Listeners<'a> {
    fn of(env: &Env, peers: &'a BTreeMap<NodeId, Peer>) -> Self {
        let timing = &env.configuration.timing;
        Self {
            peers,
            relays: env.enforces(Rule::Relay),
            detection: timing.detection(),
            retry: timing.retry,
            heartbeat: timing.heartbeat,
        }
    }
}

impl Audience for Listeners<'_> {
    fn needs(&self, to: NodeId, claim: &Claim) -> bool {
        let Some(peer) = self.peers.get(&to) else { return false };
        if claim.owner == to {
            return peer.incarnation.is_some_and(|life| life != claim.incarnation);
        }
        self.relays && !peer.hears(claim.owner, None, self.detection)
    }

    /// Repeats are quick towards the living and as slow as heartbeats towards the silent: one that
    /// counts as dead may be cut off. The life of one that has left is over, and its next one begins
    /// with a log of its own.
    fn patience(&self, to: NodeId) -> Option<Duration> {
        let peer = self.peers.get(&to)?;
        let reachable = peer.incarnation.is_some() && peer.verdict != Verdict::Left;
        reachable.then_some(if peer.alive() { self.retry } else { self.heartbeat })
    }
}

impl Node {
    /// Starts the log to a peer again, from the first change.
    pub(super) fn restart_log(&mut self, to: NodeId) {
        let audience = Listeners::of(&self.env, &self.peers);
        self.claims.restart_log(&self.env, &audience, to);
    }

    /// Writes a claim of this node and sends it to all who need it.
    pub(super) fn publish(&mut self, claim: Claim) {
        self.enter(claim);
        self.claims.note_written();
    }

    /// Takes in a claim from whatever source. Peers are sent it where they need it.
    fn enter(&mut self, claim: Claim) -> Acceptance {
        let audience = Listeners::of(&self.env, &self.peers);
        let acceptance = self.claims.enter(&self.env, &audience, claim);
        let Acceptance::Newer(previous) = acceptance else { return acceptance };
        let (was, is) = (previous.as_ref().and_then(writer), writer(&claim));
        let learning = self.phase == NodePhase::Listening;
        if was != is && !learning && !self.is_further(claim.group) {
            self.report(Report::OwnerChanged {
                group: claim.group,
                from: was,
                to: is,
                epoch: claim.epoch,
                cause: claim.cause,
            });
        }
        if claim.tenure != Tenure::Free {
            self.enrol_owner(&claim);
        }
        self.evaluate = true;
        acceptance
    }

    /// Takes in a slice of a peer's log.
    pub(super) fn on_claims(&mut self, from: NodeId, slice: &Claims) {
        for claim in &slice.claims {
            if self.ours(claim) {
                continue;
            }
            match self.enter(*claim) {
                Acceptance::Newer(_) => self.challenged(claim),
                Acceptance::Older(_) => self.outranks(claim),
                Acceptance::Same | Acceptance::NoRoom => {}
            }
        }
        let Some(position) = self.claims.append(from, slice) else { return };
        self.env.send(from, Message::ClaimsAck(ClaimsAck { position }));
        self.learn_what_is_claimed(from);
    }

    /// A peer that began to be heard has told all that it has.
    pub(super) fn learn_what_is_claimed(&mut self, from: NodeId) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let Some(since) = peer.awaited_since else { return };
        if peer.heartbeat_at >= Some(since) && self.claims.is_complete(from) {
            peer.awaited_since = None;
            self.evaluate = true;
        }
    }

    /// Until when this node waits for the claims of peers that it has begun to hear, before it takes
    /// a group that nobody hands to it: they may have it.
    pub(super) fn claims_awaited_until(&self, group: GroupKey) -> Instant {
        let tenure = self.claims.latest(group).map(|claim| claim.tenure);
        let promised = tenure == Some(Tenure::MovingTo(self.env.configuration.me));
        if promised || !self.enforces(Rule::ClaimsBeforeTaking) {
            return Instant::START;
        }
        let most = self.env.configuration.timing.maturity_min;
        let awaited = self.peers.values().filter(|peer| peer.alive());
        let awaited = awaited.filter_map(|peer| peer.awaited_since.map(|since| since + most));
        awaited.max().unwrap_or(Instant::START)
    }

    /// Takes in how far a peer has our log.
    pub(super) fn acknowledged(&mut self, from: NodeId, position: LogPosition) {
        let audience = Listeners::of(&self.env, &self.peers);
        self.claims.acknowledge(&self.env, &audience, from, position);
    }

    /// Sends what is new to every peer, and again what has not been acknowledged in time.
    pub(super) fn spread(&mut self) {
        let audience = Listeners::of(&self.env, &self.peers);
        self.claims.spread(&mut self.env, &audience);
    }

    /// Sends what has not been acknowledged, now: the peer asked for it.
    pub(super) fn resend_log(&mut self, to: NodeId) {
        let audience = Listeners::of(&self.env, &self.peers);
        self.claims.resend(&mut self.env, &audience, to);
    }

    /// When an unacknowledged log must be sent again.
    pub(super) fn claims_deadline(&self) -> Instant {
        self.claims.deadline(&self.env, &Listeners::of(&self.env, &self.peers))
    }

    /// A claim of this node with its next revision.
    pub(super) fn revised(&self, claim: &Claim, tenure: Tenure) -> Claim {
        Claim { tenure, revision: claim.revision.saturating_add(1), ..*claim }
    }
}

/// The owner that is told to people: the giver until the receiver has claimed.
const fn writer(claim: &Claim) -> Option<NodeId> {
    match claim.tenure {
        Tenure::Held | Tenure::MovingTo(_) => Some(claim.owner),
        Tenure::Free => None,
    }
}
