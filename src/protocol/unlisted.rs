//! Members that files do not agree on.
//!
//! A file that names one node less, or more, reaches the hosts one after the other. So every node
//! that is heard under the cluster's key is a peer, listed in the own file or not: its claims count
//! while it lives. It is counted in no placement and given nothing, and every heartbeat to it says
//! that it is not listed. A node that a living peer does not list hands over what it has and takes
//! nothing, as if it were drained, until all who live list it. But what no other node can have, it
//! serves as the last resort: hosts that are restarted with the new file one right after the other
//! are not ready yet, or not any more.
//!
//! ```text
//!    lb1, lb2: "you are not in my file" ---> lb3: offers its groups, holds nothing, runs on
//!    lb1 reloads a file with lb3 -----------> lb3: as long as lb2 does not list it, the same
//!    lb2 reloads a file with lb3 -----------> lb3: takes its share again
//! ```

use super::membership::low;
use super::node::Node;
use super::peers::Peer;
use super::types::{Action, Claim, GroupKey, Instant, NODES_MAX, NodeId, Report, Rule, Verdict};

/// A heartbeat with more peers than this has no room for a name.
const NAMED_MAX: usize = 48;

impl Node {
    /// Whether this node is to own nothing: drained, or not listed by a peer that lives.
    pub(super) fn drains(&self) -> bool {
        self.draining || (!self.unlisted_by.is_empty() && self.enforces(Rule::UnlistedDrains))
    }

    /// Whether a group that this node, because it is not listed, is not to own can be had by no
    /// other node now.
    pub(super) fn is_last_resort(&self, group: GroupKey) -> bool {
        let mut peers = self.peers.iter();
        let others = peers.any(|(node, it)| it.takes() && self.unable(*node, group).is_none());
        !self.draining
            && !self.unlisted_by.is_empty()
            && !others
            && self.enforces(Rule::UnlistedServes)
    }

    /// Peers that live and whose files do not list this node.
    #[must_use]
    pub fn unlisted_by(&self) -> &[NodeId] {
        &self.unlisted_by
    }

    /// Follows what living peers say of their files.
    pub(super) fn revise_listing(&mut self) {
        self.revise_sensed();
        let says = |(_, peer): &(&NodeId, &Peer)| peer.alive() && peer.said.unlisted;
        let now: Vec<NodeId> = self.peers.iter().filter(says).map(|(node, _)| *node).collect();
        if now == self.unlisted_by {
            return;
        }
        let turned = now.is_empty() != self.unlisted_by.is_empty();
        for peer in now.iter().filter(|peer| !self.unlisted_by.contains(peer)) {
            self.env.actions.push(Action::Report(Report::Unlisted { by: *peer, on: true }));
        }
        for peer in self.unlisted_by.iter().filter(|peer| !now.contains(peer)) {
            self.env.actions.push(Action::Report(Report::Unlisted { by: *peer, on: false }));
        }
        self.unlisted_by = now;
        if turned {
            self.evaluate = true;
            self.beat(false);
        }
    }

    /// Peers that live and that the file does not list.
    pub(super) fn living_unlisted(&self) -> impl Iterator<Item = &NodeId> {
        self.peers.iter().filter(|(_, peer)| !peer.listed && peer.alive()).map(|(node, _)| node)
    }

    /// The own name, for a peer that does not list this node.
    pub(super) fn name_for(&self, peer: &Peer) -> Option<String> {
        let room = self.peers.len() <= NAMED_MAX;
        (peer.said.unlisted && room).then(|| self.env.configuration.name.clone())
    }

    /// Takes in how a peer that is not listed calls itself.
    pub(super) fn learn_name(&mut self, from: NodeId, name: Option<String>) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if let Some(name) = name.filter(|name| !peer.listed && peer.name.as_ref() != Some(name)) {
            peer.name = Some(name.clone());
            self.env.actions.push(Action::Named { node: from, name });
        }
    }

    /// Takes in that a datagram has come that was sealed under the cluster's key by a life that
    /// has not shown to be the present one: somebody may be there, and not hear this node.
    pub(super) fn sensed(&mut self, from: NodeId) {
        if !self.enforces(Rule::SensedProvesNothing)
            && let Some(peer) = self.peers.get_mut(&from)
        {
            peer.heard_at = Some(self.env.now);
        }
        let heard = self.peers.get(&from).is_some_and(Peer::alive);
        let room = self.sensed.len() < NODES_MAX || self.sensed.contains_key(&from);
        if !heard && room {
            self.sensed.insert(from, self.env.now);
        }
    }

    /// Whether somebody of the cluster is there who cannot be talked with, and nobody hears this
    /// node.
    pub(super) fn senses_only(&self) -> bool {
        !self.sensed.is_empty() && !self.peers.values().any(|peer| self.touches(peer))
    }

    /// When the last sign of somebody who cannot be talked with counts no more.
    pub(super) fn sensed_deadline(&self) -> Instant {
        let within = self.env.configuration.timing.detection();
        self.sensed.values().map(|at| *at + within).min().unwrap_or(Instant::NEVER)
    }

    fn revise_sensed(&mut self) {
        let (now, within) = (self.env.now, self.env.configuration.timing.detection());
        let before = self.sensed.len();
        let peers = &self.peers;
        self.sensed.retain(|node, at| {
            now.since(*at) < within && !peers.get(node).is_some_and(Peer::alive)
        });
        self.evaluate |= self.sensed.len() != before;
    }

    /// Makes a peer of a node that is heard, or heard of, and that the file does not list.
    pub(super) fn enrol(&mut self, node: NodeId) {
        let known = node == self.env.configuration.me || self.peers.contains_key(&node);
        if known || !self.enforces(Rule::UnlistedCounts) || !self.make_room() {
            return;
        }
        let mut peer = self.new_peer(1);
        (peer.listed, peer.owns) = (false, false);
        self.peers.insert(node, peer);
        self.claims.enrol(node);
        self.restart_log(node);
    }

    /// An owner of which only its claim is known, because this node has not heard it yet, is given a
    /// detection time to be heard: somebody has just told of it (seed 24659).
    pub(super) fn enrol_owner(&mut self, claim: &Claim) {
        let unlisted = !self.peers.contains_key(&claim.owner);
        self.enrol(claim.owner);
        let allowed = unlisted || self.enforces(Rule::ClaimedMayLive);
        let now = self.env.now;
        if let Some(peer) = self.peers.get_mut(&claim.owner)
            && peer.heard_at.max(peer.relayed_at).is_none()
            && peer.verdict == Verdict::Unknown
            && allowed
        {
            peer.incarnation_low = Some(low(claim.incarnation));
            peer.relayed_at = Some(now);
        }
    }

    /// Keeps of the peers that the file does not list those that live.
    pub(super) fn forget_unlisted_peers(&mut self) {
        let counts = self.enforces(Rule::UnlistedCounts);
        let nodes = &self.env.configuration.nodes;
        self.peers.retain(|node, peer| nodes.contains_key(node) || (counts && peer.alive()));
        let unheard = nodes.keys().filter(|node| !self.peers.contains_key(node)).count();
        // This node is one of those.
        while self.peers.len() + unheard > NODES_MAX && self.forget_unlisted(true) {}
        self.claims.keep_only(|peer| self.peers.contains_key(&peer));
        self.paths.keep_only(|peer| self.peers.contains_key(&peer));
    }

    /// Whether one peer more has a place; makes it by forgetting one that is dead and not listed.
    fn make_room(&mut self) -> bool {
        let room = self.peers.len() + 1 < NODES_MAX || self.forget_unlisted(false);
        self.claims.keep_only(|peer| self.peers.contains_key(&peer));
        self.paths.keep_only(|peer| self.peers.contains_key(&peer));
        room
    }

    fn forget_unlisted(&mut self, living: bool) -> bool {
        let unlisted = self.peers.iter().filter(|(_, peer)| !peer.listed);
        let unlisted = unlisted.filter(|(_, peer)| living || !peer.alive());
        let last = unlisted.min_by_key(|(_, peer)| (peer.alive(), peer.heard_at));
        let Some(node) = last.map(|(node, _)| *node) else { return false };
        self.peers.remove(&node).is_some()
    }

    /// A peer of which nothing is known yet.
    pub(super) fn new_peer(&self, weight: u16) -> Peer {
        let timing = &self.env.configuration.timing;
        Peer::new(self.env.now, weight, timing.heartbeat, timing.misses)
    }
}
