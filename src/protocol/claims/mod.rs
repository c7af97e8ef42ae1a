//! Who claims what, and how claims travel: one table at every node, and a log of its changes to
//! each peer, acknowledged, and sent again until it is.
//!
//! ```text
//!   claim written here --+                              Claims --> peer
//!                        +--> table --> log to each peer             |
//!   Claims from a peer --+    (latest     (what it needs)  <-- ClaimsAck, and in every heartbeat
//!                              claim of
//!                              each address)
//! ```
//!
//! A peer is sent, in order, the changes it needs: what this node owns, and what is owned by nodes
//! that the peer does not hear, so that claims cross a one-way cut. Slices are chained by `base` and
//! `upto`. When a peer restarts or loses sight of an owner its log begins again in the next stream.
//!
//! What a claim means is decided by others, which read the table. Peers are known by
//! [`Audience`] only. All tables that have seen the same claims are equal, in whatever order.

use std::collections::BTreeMap;
use std::time::Duration;

use super::env::Env;
use super::types::{
    Claim, Claims, GroupKey, Incarnation, Instant, LogPosition, Message, NodeId, Rule,
};

mod log;
mod table;

#[cfg(test)]
mod tests;

use self::log::{Acknowledged, Inbound, Outbound};
use self::table::ClaimTable;

pub(super) use self::table::{Acceptance, Entry, holder};

/// The peers, as far as claims go.
pub(super) trait Audience {
    /// Returns whether the peer must be sent the claim of another node than this one.
    fn needs(&self, to: NodeId, claim: &Claim) -> bool;

    /// Returns after how long what the peer has not acknowledged is sent again; `None` while it
    /// cannot be told anything.
    fn patience(&self, to: NodeId) -> Option<Duration>;
}

/// Both logs between this node and a peer.
#[derive(Clone, Copy, Debug)]
struct Logs {
    inbound: Inbound,
    outbound: Outbound,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct ReplicatedClaims {
    table: ClaimTable,
    logs: BTreeMap<NodeId, Logs>,
    /// Stream of the log to the next new peer: another one for each that was forgotten.
    stream: u32,
    /// Something is to be sent.
    news: bool,
}

impl ReplicatedClaims {
    /// Returns an empty table in this life. The numbers of its streams begin elsewhere than in other
    /// lives, or a peer that still acknowledges the log of the last one would be thought to have
    /// this one's; and in the lower half, so that they do not run out.
    pub(super) fn new(life: Incarnation) -> Self {
        let stream = ((life.0 & u64::from(u32::MAX)) >> 1).max(1);
        let stream = u32::try_from(stream).expect("31 bits");
        Self { table: ClaimTable::default(), logs: BTreeMap::new(), stream, news: false }
    }

    /// Returns the latest claim of an address.
    pub(super) fn latest(&self, address: GroupKey) -> Option<&Claim> {
        self.table.latest(address)
    }

    /// Returns the latest claim of an address with when it changed.
    pub(super) fn entry(&self, address: GroupKey) -> Option<&Entry> {
        self.table.entry(address)
    }

    /// Returns all claims, by address.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Claim> {
        self.table.iter()
    }

    /// Returns all claims with when they changed, oldest change first.
    pub(super) fn history(&self) -> impl Iterator<Item = &Entry> {
        self.table.changed_after(0)
    }

    /// Takes in a claim that no peer is told of.
    pub(super) fn recall(&mut self, since: Instant, claim: Claim) {
        let _ = self.table.accept(since, claim);
    }

    /// Takes in a claim from whatever source. Peers are sent it where they need it.
    pub(super) fn enter(
        &mut self,
        env: &Env,
        audience: &impl Audience,
        claim: Claim,
    ) -> Acceptance {
        let acceptance = self.table.accept(env.now, claim);
        if matches!(acceptance, Acceptance::Newer(_)) {
            self.news = true;
            for (to, logs) in &mut self.logs {
                if needs(env, audience, *to, &claim) {
                    logs.outbound.extend(self.table.version());
                }
            }
        }
        acceptance
    }

    /// Notes that a claim of this node was written: what is new is sent with this step.
    pub(super) const fn note_written(&mut self) {
        self.news = true;
    }

    /// Begins logs to and from a peer, if there are none.
    pub(super) fn enrol(&mut self, peer: NodeId) {
        let outbound = Outbound::new(self.stream);
        self.logs.entry(peer).or_insert(Logs { inbound: Inbound::default(), outbound });
    }

    /// Ends the logs of all peers but these: one that comes back is sent a log of another stream.
    pub(super) fn keep_only(&mut self, kept: impl Fn(NodeId) -> bool) {
        let before = self.logs.len();
        self.logs.retain(|peer, _| kept(*peer));
        let gone = u32::try_from(before - self.logs.len()).unwrap_or(u32::MAX);
        self.stream = self.stream.wrapping_add(gone);
    }

    /// Begins the log from a peer again: it is in a new life.
    pub(super) fn begin_life(&mut self, peer: NodeId) {
        if let Some(logs) = self.logs.get_mut(&peer) {
            logs.inbound = Inbound::default();
        }
    }

    /// Goes on with logs from another process.
    pub(super) fn recall_logs(&mut self, peer: NodeId, stream: u32, have: LogPosition) {
        if let Some(logs) = self.logs.get_mut(&peer) {
            *logs = Logs { inbound: Inbound::recalled(have), outbound: Outbound::new(stream) };
        }
    }

    /// Begins the log to a peer again, from the first change.
    pub(super) fn restart_log(&mut self, env: &Env, audience: &impl Audience, to: NodeId) {
        let Some(logs) = self.logs.get_mut(&to) else { return };
        let changes = self.table.changed_after(0);
        let needed = changes.filter(|entry| needs(env, audience, to, &entry.claim));
        logs.outbound.restart(needed.map(|entry| entry.version).max().unwrap_or(0));
    }

    /// Takes in a slice of a peer's log, of which the claims have been entered; returns how far it is
    /// here.
    pub(super) fn append(&mut self, from: NodeId, slice: &Claims) -> Option<LogPosition> {
        let logs = self.logs.get_mut(&from)?;
        logs.inbound.append(slice);
        Some(logs.inbound.have())
    }

    /// Takes in how far a peer says that its log goes.
    pub(super) fn aim(&mut self, from: NodeId, target: LogPosition) {
        if let Some(logs) = self.logs.get_mut(&from) {
            logs.inbound.aim(target);
        }
    }

    /// Returns whether the log of a peer is here in whole, as far as it has said.
    pub(super) fn is_complete(&self, from: NodeId) -> bool {
        self.logs.get(&from).is_none_or(|logs| logs.inbound.is_complete())
    }

    /// Returns whether a peer has acknowledged all that it needs.
    pub(super) fn is_acknowledged(&self, by: NodeId) -> bool {
        self.logs.get(&by).is_none_or(|logs| !logs.outbound.is_lacking())
    }

    /// Returns how far the log to a peer goes, and how far the one from it is here.
    pub(super) fn positions(&self, peer: NodeId) -> (LogPosition, LogPosition) {
        self.logs.get(&peer).map(|it| (it.outbound.end(), it.inbound.have())).unwrap_or_default()
    }

    /// Returns what another process needs for [`ReplicatedClaims::recall_logs`].
    pub(super) fn memory(&self, peer: NodeId) -> (u32, LogPosition) {
        let known = self.logs.get(&peer).map(|it| (it.outbound.stream(), it.inbound.have()));
        known.unwrap_or_default()
    }

    /// Takes in how far a peer has the log of this node.
    pub(super) fn acknowledge(
        &mut self,
        env: &Env,
        audience: &impl Audience,
        from: NodeId,
        position: LogPosition,
    ) {
        let Some(logs) = self.logs.get_mut(&from) else { return };
        match logs.outbound.acknowledge(position) {
            Acknowledged::Noted => {}
            Acknowledged::GoOn => self.news = true,
            // It has forgotten that this node exists (seed 4).
            Acknowledged::Forgotten => self.restart_log(env, audience, from),
        }
    }

    /// Sends with this step what the peer has not acknowledged: it is back.
    pub(super) fn hasten(&mut self, to: NodeId) {
        if let Some(logs) = self.logs.get_mut(&to) {
            logs.outbound.hasten();
        }
    }

    /// Sends what is new to every peer, and again what has not been acknowledged in time.
    pub(super) fn spread(&mut self, env: &mut Env, audience: &impl Audience) {
        let news = std::mem::take(&mut self.news);
        let repeats = env.enforces(Rule::Retransmission);
        let peers: Vec<NodeId> = self.logs.keys().copied().collect();
        for to in peers {
            let Some(patience) = audience.patience(to) else { continue };
            let log = self.logs.get(&to).map(|logs| logs.outbound).filter(Outbound::is_lacking);
            let due = log.and_then(|log| log.due(env.now, repeats.then_some(patience), news));
            if let Some(base) = due {
                self.send(env, audience, to, base);
            }
        }
    }

    /// Sends what has not been acknowledged, now: the peer asked for it.
    pub(super) fn resend(&mut self, env: &mut Env, audience: &impl Audience, to: NodeId) {
        let Some(log) = self.logs.get(&to).map(|logs| logs.outbound) else { return };
        if log.is_lacking() {
            self.send(env, audience, to, log.unacknowledged());
        }
    }

    fn send(&mut self, env: &mut Env, audience: &impl Audience, to: NodeId, base: u32) {
        let Some(logs) = self.logs.get_mut(&to) else { return };
        let needed = |entry: &Entry| needs(env, audience, to, &entry.claim);
        for slice in logs.outbound.send(env.now, &self.table, base, needed) {
            env.send(to, Message::Claims(slice));
        }
    }

    /// Returns when an unacknowledged log must be sent again.
    pub(super) fn deadline(&self, env: &Env, audience: &impl Audience) -> Instant {
        if !env.enforces(Rule::Retransmission) {
            return Instant::NEVER;
        }
        let lacking = self.logs.iter().filter(|(_, logs)| logs.outbound.is_lacking());
        let repeats = lacking
            .filter_map(|(to, logs)| Some(logs.outbound.repeats_at(audience.patience(*to)?)));
        repeats.min().unwrap_or(Instant::NEVER)
    }
}

/// Whether the peer must be sent this claim.
fn needs(env: &Env, audience: &impl Audience, to: NodeId, claim: &Claim) -> bool {
    claim.owner == env.configuration.me || audience.needs(to, claim)
}
