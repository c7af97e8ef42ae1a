//! This node as a voter: what it answers to those who ask for leases, and what it remembers.
//!
//! `voter` keeps the promises, `electorate` the lists of voters; here is what both need to know of
//! the node. PROTOCOL.md, section 11.

use std::time::Duration;

use super::electorate::{Electorate, Standing};
use super::node::Node;
use super::types::{
    Action, Bid, Instant, LeaseGrant, LeaseRequest, Message, NodeId, NodePhase, Recollection, Rule,
    Timing, Vote, lease_of, promise,
};
use super::voter::{Holder, Terms, Voter};

impl Node {
    /// Tells a node that has just been made what the process before it has stored for
    /// [`Action::RememberVoters`]. Called before the first step, if at all.
    pub fn recall_voters(&mut self, recollection: Recollection) {
        let voters = self.leases.voters().to_vec();
        self.electorate = Electorate::recall(self.env.now, recollection);
        self.electorate.go_by(voters);
        // Where nothing is known: as long as in the slowest profile.
        let slowest = Timing::VM.lease().max(self.env.configuration.timing.lease());
        let silence = self.silence(self.electorate.longest().unwrap_or(slowest));
        self.voter = Voter::new(self.env.now + silence);
    }

    /// How long a voter is silent while leases of this length may run that it does not know of.
    fn silence(&self, lease: Duration) -> Duration {
        if self.holds(Rule::BootSilence) { self.promise(lease) } else { Duration::ZERO }
    }

    fn promise(&self, lease: Duration) -> Duration {
        if self.holds(Rule::DriftMargin) { promise(lease) } else { lease }
    }

    /// The lease of a peer, by what its heartbeats say.
    pub(super) fn lease_of_peer(&self, peer: NodeId) -> Duration {
        let said =
            self.peers.get(&peer).map(|peer| peer.said.interval * u32::from(peer.said.misses));
        said.map_or_else(|| self.env.configuration.timing.lease(), lease_of)
    }

    /// Has stored what must be remembered, and follows whether this node may vote.
    pub(super) fn follow_lists(&mut self) {
        self.electorate.concerned |= self.door.needed;
        if !self.electorate.concerned {
            return;
        }
        let (now, me) = (self.env.now, self.env.configuration.me);
        let _ = self.electorate.allow(now, self.env.configuration.timing.lease());
        let settled = self.holds(Rule::ListsSettled);
        if let Some(longest) = self.electorate.proceed(now, me, settled) {
            let silence = self.silence(longest);
            self.voter.be_silent_until(now + silence);
        }
        if let Some(record) = self.electorate.store_next(now, self.voter.longest(now)) {
            self.env.actions.push(Action::RememberVoters(record));
        }
        self.ask_lists();
    }

    /// Asks who has voted under lists that are remembered what they go by.
    fn ask_lists(&mut self) {
        let lease = self.env.configuration.timing.lease();
        for voter in self.electorate.ask_next(self.env.now) {
            if self.peers.contains_key(&voter) {
                let request = LeaseRequest {
                    asked_at: self.env.now.as_nanos(),
                    voters: self.leases.digest(),
                    base: 0,
                    upto: 0,
                    wishes: Vec::new(),
                    bid: Some(Bid { lease, answered: None }),
                };
                let message = Message::LeaseRequest(request);
                self.env.actions.push(Action::Send { to: voter, message });
            }
        }
    }

    /// What was to be remembered is stored, or could not be.
    pub(super) fn voters_stored(&mut self, done: bool) {
        self.electorate.stored(self.env.now, done);
        self.door.stale = true;
    }

    /// When [`Node::follow_lists`] has something to do.
    pub(super) fn lists_deadline(&self) -> Instant {
        if self.electorate.concerned { self.electorate.deadline() } else { Instant::NEVER }
    }

    /// A peer asks this node as a voter.
    pub(super) fn on_lease_request(&mut self, from: NodeId, request: &LeaseRequest) {
        for grant in self.vote(from, request) {
            self.env.actions.push(Action::Send { to: from, message: Message::LeaseGrant(grant) });
        }
    }

    pub(super) fn vote(&mut self, from: NodeId, request: &LeaseRequest) -> Vec<LeaseGrant> {
        self.electorate.concerned = true;
        let peer = self.peers.get(&from);
        let incarnation = peer.and_then(|peer| peer.incarnation);
        let incarnation = incarnation.unwrap_or(self.env.configuration.incarnation);
        let isolated = peer.is_some_and(|peer| peer.said.phase == Some(NodePhase::Isolated));
        let own = self.env.configuration.timing.lease();
        // Older software says only in its heartbeats what its lease is, and its clock is slewed.
        let asked = request.bid.map_or_else(|| self.lease_of_peer(from) * 5 / 4, |bid| bid.lease);
        let stated = if self.holds(Rule::LeaseStated) { asked } else { own };
        let lease = self.electorate.allow(self.env.now, own.max(stated));
        let heard = self.holds(Rule::HeardByHolder);
        let terms = Terms {
            lease,
            promise: self.promise(lease),
            refusal: self.refusal(request, lease < stated),
            isolated,
            heard,
            longest: self.electorate.longest().unwrap_or_default(),
            lists: self.electorate.lists(),
            named: self.holds(Rule::RefusedNamed),
        };
        self.voter.answer(self.env.now, Holder { node: from, incarnation }, request, &terms)
    }

    /// Why this node grants nothing at all, if so; `short` if not what is asked for.
    fn refusal(&self, request: &LeaseRequest, short: bool) -> Option<Vote> {
        let older = request.bid.is_none();
        if request.voters != self.leases.digest() {
            return Some(Vote::VotersDiffer);
        }
        match self.electorate.standing() {
            Standing::Voting if older && short => Some(Vote::Starting),
            Standing::Voting => None,
            Standing::Unwritten => Some(Vote::Starting),
            Standing::Waiting | Standing::Unable if older => Some(Vote::VotersDiffer),
            Standing::Waiting | Standing::Unable => Some(Vote::Waiting),
        }
    }

    /// A peer has said good-bye, or its guardian has: its kernel has let go of everything.
    pub(super) fn release_promises(&mut self, node: NodeId) {
        let Some(incarnation) = self.peers.get(&node).and_then(|peer| peer.incarnation) else {
            return;
        };
        self.voter.release(Holder { node, incarnation });
    }
}
