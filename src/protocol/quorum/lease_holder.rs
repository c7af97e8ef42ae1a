//! The side of a node that wants leases: which voter is asked when, and whether enough are in touch.
//!
//! ```text
//!   in touch with a majority --- two heartbeats ---> settled: groups may be taken
//!   voter: nothing wanted ----> asked until it has said that it goes by the same list
//!          wanted ------------> every heartbeat; at once if there is something new; after `retry`
//!                               while a group waits, is contested, or the voter does not hear us
//! ```
//!
//! `leases` counts what was granted.

use std::time::Duration;

use super::super::env::Env;
use super::super::types::{
    GroupKey, Instant, LeaseGrant, LeaseMemory, LeaseRequest, NodeId, Report, Rule, Vote, promise,
};
use super::leases::{GrantTerms, Leases};
use super::view::{PeerView, Situation};

/// A voter that goes by another list is asked again after so many heartbeats: files are mended.
const AGREED_AFTER: u32 = 3;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(super) struct LeaseHolder {
    leases: Leases,
    /// Whether any configured group needs a lease.
    needed: bool,
    /// Whether a group waits for its lease.
    waiting: bool,
    /// Whether something has changed on which it depends what follows from the leases.
    changed: bool,
    /// When a majority that is in touch will have been so for long enough.
    settles: Option<Instant>,
    /// Whether it has.
    settled: bool,
}

impl LeaseHolder {
    pub(super) fn reconfigure(&mut self, now: Instant, voters: Vec<NodeId>, needed: bool) {
        self.leases.set_voters(now, voters);
        self.needed = needed;
        self.changed = true;
    }

    pub(super) fn forget(&mut self, now: Instant) {
        self.leases.forget(now);
        self.changed = true;
    }

    pub(super) fn want(&mut self, address: GroupKey) {
        self.leases.want(address);
    }

    pub(super) fn give_up(&mut self, address: GroupKey) {
        self.leases.give_up(address);
    }

    /// Goes on from what the process before has left.
    pub(super) fn recall(&mut self, now: Instant, memory: &LeaseMemory) {
        self.leases.recall(now, memory);
        self.changed = true;
    }

    /// Returns what was granted.
    pub(super) const fn leases(&self) -> &Leases {
        &self.leases
    }

    pub(super) const fn is_needed(&self) -> bool {
        self.needed
    }

    pub(super) const fn is_settled(&self) -> bool {
        self.settled
    }

    pub(super) const fn note_change(&mut self) {
        self.changed = true;
    }

    pub(super) fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(super) const fn set_waiting(&mut self, waiting: bool) {
        self.waiting = waiting;
    }

    pub(super) fn is_in_touch(&self, env: &Env, situation: &Situation) -> bool {
        let voters = self.leases.voters().iter().zip(situation.near);
        let near = voters.filter(|(voter, near)| *near && !self.disagrees(env, **voter));
        near.count() >= self.leases.majority()
    }

    pub(super) fn is_opposed(&self, env: &Env, situation: &Situation) -> bool {
        let mut voters = self.leases.voters().iter().zip(situation.near);
        let against = voters.any(|(voter, near)| near && self.disagrees(env, *voter));
        against && !self.is_in_touch(env, situation)
    }

    /// Whether a voter goes by another list of voters, or waits for others to go by the same, as far
    /// as it has said.
    fn disagrees(&self, env: &Env, voter: NodeId) -> bool {
        let answered = self.leases.answered(voter);
        matches!(answered, Some((_, Vote::VotersDiffer | Vote::Waiting)))
            && env.enforces(Rule::VotersAgree)
    }

    /// Of nodes that come back together one is heard first: those that are not heard yet are not
    /// dead, so nothing is taken for two heartbeats.
    pub(super) fn watch(&mut self, env: &Env, situation: &Situation) -> bool {
        let wait = env.configuration.timing.heartbeat * 2;
        let in_touch = self.is_in_touch(env, situation);
        self.settles = in_touch.then(|| self.settles.unwrap_or(env.now + wait));
        let settled = self.settles.is_some_and(|at| at <= env.now);
        let changed = self.settled != settled;
        self.settled = settled;
        self.changed |= changed;
        changed
    }

    /// Returns what to ask the voter at this place of the list now: nothing if it is not due.
    pub(super) fn requests(
        &mut self,
        env: &Env,
        place: usize,
        situation: &Situation,
    ) -> Vec<LeaseRequest> {
        if env.now < self.ask_at(env, place, situation) {
            return Vec::new();
        }
        // Whether a majority is in touch may have changed without anything else.
        self.changed |= self.waiting;
        let voter = self.leases.voters()[place];
        self.leases.requests(env.now, voter, env.configuration.timing.lease())
    }

    /// Returns when the voter at this place of the list is to be asked next.
    fn ask_at(&self, env: &Env, place: usize, situation: &Situation) -> Instant {
        let timing = &env.configuration.timing;
        let (voter, near) = (self.leases.voters()[place], situation.near[place]);
        let idle = !self.leases.concerns(voter);
        if idle && !(self.needed && near) {
            return Instant::NEVER;
        }
        let Some(asked_at) = self.leases.asked_at(voter) else { return env.now };
        if idle {
            // Asked although nothing is wanted, a voter says whether it goes by the same list.
            return match self.leases.answered(voter) {
                None => asked_at + timing.heartbeat,
                Some((_, Vote::VotersDiffer | Vote::Waiting)) => {
                    asked_at + timing.heartbeat * AGREED_AFTER
                }
                Some((_, Vote::Granted | Vote::Starting)) => Instant::NEVER,
            };
        }
        if self.leases.has_news_for(voter) {
            return env.now;
        }
        let contested = situation.contested_since;
        if contested.is_some_and(|since| asked_at < since) {
            return env.now;
        }
        let unheard = matches!(self.leases.answered(voter), Some((_, Vote::Starting)));
        let urgent = self.leases.lacks(voter) || self.waiting || contested.is_some() || unheard;
        asked_at + if urgent && near { timing.retry } else { timing.heartbeat }
    }

    pub(super) fn on_grant(&mut self, env: &mut Env, from: &PeerView, grant: &LeaseGrant) {
        let voter = from.node;
        let before = self.leases.answered(voter).map(|(_, vote)| vote);
        let from_receipt = (!env.enforces(Rule::LeaseFromAsking)).then_some(env.now);
        let lease = backed(env, from, grant);
        let floored = env.enforces(Rule::LeaseFloor);
        self.leases.grant(voter, grant, GrantTerms { lease, from: from_receipt, floored });
        self.changed = true;
        let vote = self.leases.answered(voter).map(|(_, vote)| vote);
        if vote == Some(Vote::VotersDiffer) && before != Some(Vote::VotersDiffer) {
            env.report(Report::VotersDiffer { voter });
        }
    }

    pub(super) fn deadline(&self, env: &Env, situation: &Situation) -> Instant {
        let places = 0..self.leases.voters().len();
        let asks = places.map(|place| self.ask_at(env, place, situation)).min();
        let settles = self.settles.filter(|at| *at > env.now);
        [asks, settles].into_iter().flatten().min().unwrap_or(Instant::NEVER)
    }
}

/// How long a lease is that follows from a grant: as long as the voter vouches for it.
fn backed(env: &Env, from: &PeerView, grant: &LeaseGrant) -> Duration {
    let lease = env.configuration.timing.lease();
    if !env.enforces(Rule::LeaseStated) {
        return lease;
    }
    match &grant.backing {
        Some(backing) => lease.min(backing.lease),
        // Older software promises for its own lease, and for kernels that are never late.
        None => lease.min(from.lease).saturating_sub(promise(Duration::ZERO)),
    }
}
