//! How claims travel: a log for each peer, acknowledged, sent again until it is.
//!
//! Changes of the claim table are numbered. A peer is sent, in order, the changes it needs: what
//! this node owns, and what is owned by nodes that the peer does not hear (so claims cross a
//! one-way cut). Slices are chained by `base` and `upto`; the receiver acknowledges how far it
//! has come, in a message of its own at once and in every heartbeat. When a peer restarts or
//! loses sight of an owner its log starts anew under the next stream number.

use super::claims::{Acceptance, ClaimTable, Entry};
use super::membership::low;
use super::node::Node;
use super::peers::{Outbound, Peer};
use super::types::{
    Action, CLAIMS_PER_MESSAGE, Claim, Claims, ClaimsAck, GroupKey, Incarnation, Instant,
    LogPosition, Message, NodeId, NodePhase, Report, Rule, Tenure,
};

/// Slices sent in one go; more wait for the acknowledgement. A burst above this would overrun
/// the receiver's socket buffer.
const SLICES_MAX: usize = 64;

/// Where this life of the node begins to number its logs: elsewhere than its other lives, or a
/// peer that still acknowledges the log of the last one would be thought to have this one's.
/// In the lower half of the numbers, so that they do not run out.
pub(super) fn first_stream(life: Incarnation) -> u32 {
    (low(life) >> 1).max(1)
}

impl Node {
    /// Whether the peer must be sent this claim.
    fn needs(&self, to: NodeId, peer: &Peer, claim: &Claim) -> bool {
        if claim.owner == self.env.configuration.me {
            return true;
        }
        if claim.owner == to {
            return peer.incarnation.is_some_and(|life| life != claim.incarnation);
        }
        let within = self.env.configuration.timing.detection();
        self.holds(Rule::Relay) && !peer.hears(claim.owner, None, within)
    }

    /// Starts the log to a peer anew, from the first change.
    pub(super) fn restart_log(&mut self, to: NodeId) {
        let Some(peer) = self.peers.get(&to) else { return };
        let target = self
            .claims
            .changed_after(0)
            .filter(|entry| self.needs(to, peer, &entry.claim))
            .map(|entry| entry.version)
            .max()
            .unwrap_or(0);
        let stream = peer.outbound.stream.wrapping_add(1).max(1);
        let outbound = Outbound { stream, target, ..Outbound::default() };
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.outbound = outbound;
        }
    }

    /// Writes a claim of this node and sends it to all who need it.
    pub(super) fn publish(&mut self, claim: Claim) {
        self.enter(claim);
        self.gossip = true;
    }

    /// Takes in a claim from whatever source. Peers are sent it where they need it.
    fn enter(&mut self, claim: Claim) -> Acceptance {
        let acceptance = self.claims.accept(self.env.now, claim);
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
        let version = self.claims.version();
        let needed_by: Vec<NodeId> = self
            .peers
            .iter()
            .filter(|(node, peer)| self.needs(**node, peer, &claim))
            .map(|(node, _)| *node)
            .collect();
        for node in needed_by {
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.outbound.target = version;
            }
        }
        if claim.tenure != Tenure::Free {
            self.enrol_owner(&claim);
        }
        self.evaluate = true;
        self.gossip = true;
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
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let have = peer.inbound.have;
        let starts = slice.base.version == 0 && slice.base.stream > have.stream;
        let follows = slice.base.stream == have.stream && slice.base.version <= have.version;
        if starts {
            peer.inbound.have = LogPosition { stream: slice.base.stream, version: slice.upto };
        } else if follows {
            peer.inbound.have.version = have.version.max(slice.upto);
        }
        let position = peer.inbound.have;
        let message = Message::ClaimsAck(ClaimsAck { position });
        self.env.actions.push(Action::Send { to: from, message });
        self.learn_what_is_claimed(from);
    }

    /// A peer that began to be heard has told all that it has.
    pub(super) fn learn_what_is_claimed(&mut self, from: NodeId) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let Some(since) = peer.awaited_since else { return };
        if peer.heartbeat_at >= Some(since) && peer.inbound.complete() {
            peer.awaited_since = None;
            self.evaluate = true;
        }
    }

    /// Until when this node waits for the claims of peers that it has begun to hear, before it takes
    /// a group that nobody hands to it: they may have it.
    pub(super) fn claims_awaited_until(&self, group: GroupKey) -> Instant {
        let tenure = self.claims.latest(group).map(|claim| claim.tenure);
        let promised = tenure == Some(Tenure::MovingTo(self.env.configuration.me));
        if promised || !self.holds(Rule::ClaimsBeforeTaking) {
            return Instant::START;
        }
        let most = self.env.configuration.timing.maturity_min;
        let awaited = self.peers.values().filter(|peer| peer.alive());
        let awaited = awaited.filter_map(|peer| peer.awaited_since.map(|since| since + most));
        awaited.max().unwrap_or(Instant::START)
    }

    /// Takes in how far a peer has our log.
    pub(super) fn acknowledged(&mut self, from: NodeId, position: LogPosition) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let log = &mut peer.outbound;
        if position == LogPosition::default() && log.acknowledged > 0 {
            // It had the log, and has forgotten that this node exists (seed 4).
            return self.restart_log(from);
        }
        if position.stream == log.stream && position.version > log.acknowledged {
            log.acknowledged = position.version.min(log.target);
            if log.acknowledged < log.target && log.sent <= log.acknowledged {
                self.gossip = true;
            }
        }
    }

    /// Sends what is new to every peer, and again what has not been acknowledged in time.
    pub(super) fn spread(&mut self) {
        let fresh = std::mem::take(&mut self.gossip);
        let peers: Vec<NodeId> = self.peers.keys().copied().collect();
        for to in peers {
            let Some(peer) = self.peers.get(&to) else { continue };
            let log = peer.outbound;
            if !peer.lacks_claims() {
                continue;
            }
            let patience = self.patience(peer);
            if self.env.now.since(log.sent_at) >= patience && self.holds(Rule::Retransmission) {
                self.send_log(to, log.acknowledged);
            } else if (fresh && log.sent < log.target) || log.sent == 0 {
                self.send_log(to, log.sent.max(log.acknowledged));
            }
        }
    }

    /// Sends what has not been acknowledged, now: the peer asked for it.
    pub(super) fn resend_log(&mut self, to: NodeId) {
        let Some(log) = self.peers.get(&to).map(|peer| peer.outbound) else { return };
        if log.acknowledged < log.target {
            self.send_log(to, log.acknowledged);
        }
    }

    /// Repeats are quick towards the living and as slow as heartbeats towards the silent.
    fn patience(&self, peer: &Peer) -> std::time::Duration {
        let timing = &self.env.configuration.timing;
        if peer.alive() { timing.retry } else { timing.heartbeat }
    }

    /// When an unacknowledged log must be sent again.
    pub(super) fn gossip_deadline(&self) -> Instant {
        if !self.holds(Rule::Retransmission) {
            return Instant::NEVER;
        }
        self.peers
            .values()
            .filter(|peer| peer.lacks_claims())
            .map(|peer| peer.outbound.sent_at + self.patience(peer))
            .min()
            .unwrap_or(Instant::NEVER)
    }

    fn send_log(&mut self, to: NodeId, base: u32) {
        let Some(peer) = self.peers.get(&to) else { return };
        let log = peer.outbound;
        let slices = slices(&self.claims, base, log, |entry| self.needs(to, peer, &entry.claim));
        let sent = slices.last().map_or(log.target, |slice| slice.upto);
        for slice in slices {
            self.env.actions.push(Action::Send { to, message: Message::Claims(slice) });
        }
        let now = self.env.now;
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.outbound.sent = sent;
            peer.outbound.sent_at = now;
        }
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

/// Cuts what changed after `base` into slices. The last one ends at the target even where its
/// last claims were not needed.
fn slices(
    table: &ClaimTable,
    base: u32,
    log: Outbound,
    needed: impl Fn(&Entry) -> bool,
) -> Vec<Claims> {
    let mut slices: Vec<Claims> = Vec::new();
    let mut base = base;
    let mut claims = Vec::new();
    let mut entries = table.changed_after(base).filter(|entry| needed(entry)).peekable();
    while let Some(entry) = entries.next() {
        claims.push(entry.claim);
        let last = entries.peek().is_none();
        if claims.len() < CLAIMS_PER_MESSAGE && !last {
            continue;
        }
        let upto = if last { log.target.max(entry.version) } else { entry.version };
        let position = LogPosition { stream: log.stream, version: base };
        slices.push(Claims { base: position, upto, claims: std::mem::take(&mut claims) });
        base = upto;
        if slices.len() == SLICES_MAX {
            return slices;
        }
    }
    if slices.is_empty() && base < log.target {
        let position = LogPosition { stream: log.stream, version: base };
        slices.push(Claims { base: position, upto: log.target, claims });
    }
    slices
}
