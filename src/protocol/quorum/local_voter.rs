//! This node as a voter: what it answers to those who ask for leases, and what it remembers.
//!
//! `voter` keeps the promises, `electorate` the lists of voters; here is what both need to know of
//! the configuration and of who asks.

use std::time::Duration;

use super::super::env::Env;
use super::super::types::{
    Action, Backing, Bid, Instant, LeaseGrant, LeaseRequest, NodeId, PromiseRecord, Recollection,
    Rule, Timing, Vote, promise,
};
use super::electorate::{Electorate, VotingState};
use super::view::PeerView;
use super::voter::{Holder, Terms, Voter};

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct LocalVoter {
    electorate: Electorate,
    voter: Voter,
    /// What it has promised is left to the next process: it grants nothing any more.
    retired: bool,
}

impl LocalVoter {
    /// Returns one that is to be told what it remembers.
    pub(super) fn new(now: Instant) -> Self {
        Self { electorate: Electorate::default(), voter: Voter::new(now), retired: false }
    }

    pub(super) fn recall(&mut self, env: &Env, recollection: Recollection, voters: Vec<NodeId>) {
        self.electorate = Electorate::recall(env.now, recollection);
        self.electorate.go_by(voters);
        // Where nothing is known: as long as in the slowest profile.
        let slowest = Timing::VM.lease().max(env.configuration.timing.lease());
        let silence = silence(env, self.electorate.longest().unwrap_or(slowest));
        self.voter = Voter::new(env.now + silence);
    }

    /// Goes on from the promises of the process before, instead of being silent; returns whether they
    /// fit. After [`LocalVoter::recall`], before anything else.
    pub(super) fn recall_promises(&mut self, env: &Env, record: &PromiseRecord) -> bool {
        let (now, me) = (env.now, env.configuration.me);
        let fits = self.electorate.only_list().is_some_and(|list| record.fits(now, me, list));
        if fits {
            let kept = env.enforces(Rule::PromisesKept);
            let promises = if kept { record.promises.as_slice() } else { &[] };
            self.voter = Voter::recall(record.silent_until, promises);
        }
        fits
    }

    /// Grants nothing from now on, and returns what the next process has to keep; `None` if that is
    /// not known for sure, or was returned before.
    pub(super) fn retire(&mut self, env: &Env) -> Option<PromiseRecord> {
        let before = std::mem::replace(&mut self.retired, true);
        let votes = self.electorate.voting_state() == VotingState::Voting;
        let list = self.electorate.only_list().filter(|_| votes && !before)?;
        Some(PromiseRecord {
            me: env.configuration.me,
            list: list.to_vec(),
            at: env.now,
            silent_until: self.voter.silent_until(),
            promises: self.voter.running(env.now),
        })
    }

    pub(super) const fn silent_until(&self) -> Instant {
        self.voter.silent_until()
    }

    pub(super) fn go_by(&mut self, voters: Vec<NodeId>) {
        self.electorate.go_by(voters);
    }

    pub(super) fn forget(&mut self) {
        self.electorate.forget();
    }

    pub(super) fn note(&mut self, from: NodeId, asked_at: Instant, backing: &Backing) {
        self.electorate.note(from, asked_at, backing);
    }

    pub(super) fn release(&mut self, holder: Holder) {
        self.voter.release(holder);
    }

    pub(super) fn stored(&mut self, now: Instant, done: bool) {
        self.electorate.stored(now, done);
    }

    pub(super) fn follow_lists(
        &mut self,
        env: &mut Env,
        needed: bool,
        digest: u64,
    ) -> Vec<(NodeId, LeaseRequest)> {
        if needed {
            self.electorate.concern();
        }
        if !self.electorate.is_concerned() {
            return Vec::new();
        }
        let (now, me, lease) = (env.now, env.configuration.me, env.configuration.timing.lease());
        let _ = self.electorate.allow(now, lease);
        let settled = env.enforces(Rule::ListsSettled);
        if let Some(longest) = self.electorate.proceed(now, me, settled) {
            self.voter.be_silent_until(now + silence(env, longest));
        }
        if let Some(record) = self.electorate.store_next(now, self.voter.longest(now)) {
            env.actions.push(Action::RememberVoters(record));
        }
        let question = LeaseRequest {
            asked_at: now.as_nanos(),
            voters: digest,
            base: 0,
            upto: 0,
            wishes: Vec::new(),
            bid: Some(Bid { lease, answered: None }),
        };
        let voters = self.electorate.ask_next(now).into_iter();
        voters.map(|voter| (voter, question.clone())).collect()
    }

    pub(super) fn deadline(&self) -> Instant {
        if self.electorate.is_concerned() { self.electorate.deadline() } else { Instant::NEVER }
    }

    /// Answers a request; `digest` stands for the list of voters of this node.
    pub(super) fn vote(
        &mut self,
        env: &Env,
        from: &PeerView,
        request: &LeaseRequest,
        digest: u64,
    ) -> Vec<LeaseGrant> {
        self.electorate.concern();
        let incarnation = from.incarnation.unwrap_or(env.configuration.incarnation);
        let own = env.configuration.timing.lease();
        // Older software says only in its heartbeats what its lease is, and its clock is slewed.
        let asked = request.bid.map_or_else(|| from.lease * 5 / 4, |bid| bid.lease);
        let stated = if env.enforces(Rule::LeaseStated) { asked } else { own };
        let lease = self.electorate.allow(env.now, own.max(stated));
        let agrees = request.voters == digest;
        let refusal = refusal(self.electorate.voting_state(), request, agrees, lease < stated);
        let terms = Terms {
            lease,
            promise: promised(env, lease),
            refusal: refusal.or(self.retired.then_some(Vote::Starting)),
            isolated: from.isolated,
            heard: env.enforces(Rule::HeardByHolder),
            idle_is_first: env.enforces(Rule::IdleIsFirst),
            longest: self.electorate.longest().unwrap_or_default(),
            lists: self.electorate.lists(),
            named: env.enforces(Rule::RefusedNamed),
        };
        self.voter.answer(env.now, Holder { node: from.node, incarnation }, request, &terms)
    }
}

/// How long a voter is silent while leases of this length may run that it does not know of.
fn silence(env: &Env, lease: Duration) -> Duration {
    if env.enforces(Rule::BootSilence) { promised(env, lease) } else { Duration::ZERO }
}

/// How long a promise for such a lease runs.
fn promised(env: &Env, lease: Duration) -> Duration {
    if env.enforces(Rule::DriftMargin) { promise(lease) } else { lease }
}

/// Why this node grants nothing at all, if so: `agrees` if the other goes by the same list of voters,
/// `short` if this node cannot vouch for as long a lease as is asked for.
const fn refusal(
    state: VotingState,
    request: &LeaseRequest,
    agrees: bool,
    short: bool,
) -> Option<Vote> {
    let older = request.bid.is_none();
    if !agrees {
        return Some(Vote::VotersDiffer);
    }
    match state {
        VotingState::Voting if older && short => Some(Vote::Starting),
        VotingState::Voting => None,
        VotingState::Unwritten => Some(Vote::Starting),
        VotingState::Waiting | VotingState::Unable if older => Some(Vote::VotersDiffer),
        VotingState::Waiting | VotingState::Unable => Some(Vote::Waiting),
    }
}
