//! Leases from a majority of the voters, for groups in mode majority. PROTOCOL.md, section 11.
//!
//! ```text
//!   want, give up                                             until
//!        |                                                      ^
//!        v                                                      |
//!   lease_holder --- LeaseRequest ---> each voter --- LeaseGrant ---> leases
//!     who is asked when;                    |                           until when each voter
//!     whether enough are in touch           | this node, if it votes:   vouches for an address;
//!                                           v                           the majority-th latest
//!                                      local_voter
//!                                        electorate: under which list of voters it may vote
//!                                        voter: what is promised to whom, and until when
//! ```
//!
//! Two leases for one address never overlap: two majorities share a voter, a voter promises an
//! address to one node at a time, and a promise is over later than the lease that follows from it.
//!
//! This machine knows nothing of groups, claims or the kernel. It is told what is wanted
//! ([`Quorum::want`]), who is in touch ([`Situation`], [`PeerView`]) and what voters say, and is
//! asked until when an address is leased ([`Quorum::until`]). What follows from a lease is decided
//! by `majority`. Whatever is late, lost, doubled or overtaken makes no lease longer.

use super::env::Env;
use super::types::{
    GroupKey, Incarnation, Instant, LeaseGrant, LeaseMemory, LeaseRequest, Message, Mode, NodeId,
    PromiseRecord, Recollection,
};

mod electorate;
mod lease_holder;
mod leases;
mod local_voter;
mod view;
mod voter;

#[cfg(test)]
mod tests;

use self::lease_holder::LeaseHolder;
use self::local_voter::LocalVoter;
use self::voter::Holder;

pub(super) use self::view::{PeerView, Situation};

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct Quorum {
    holder: LeaseHolder,
    voter: LocalVoter,
}

impl Quorum {
    /// Returns a quorum without voters that asks for nothing.
    pub(super) fn new(now: Instant) -> Self {
        Self { holder: LeaseHolder::default(), voter: LocalVoter::new(now) }
    }

    /// Takes in what the process before this one has stored; before anything else happens.
    pub(super) fn recall(&mut self, env: &Env, recollection: Recollection) {
        self.voter.recall(env, recollection, self.holder.leases().voters().to_vec());
    }

    /// Goes on from what the process before this one had promised as a voter; returns whether that
    /// fits. After [`Quorum::recall`], before anything else.
    pub(super) fn recall_promises(&mut self, env: &Env, record: &PromiseRecord) -> bool {
        self.voter.recall_promises(env, record)
    }

    /// Returns what the next process needs to go on with the leases of this one.
    pub(super) fn lease_memory(&self) -> Option<LeaseMemory> {
        self.holder.leases().memory()
    }

    /// Goes on with the leases of the process before, which were granted by the voters of now.
    pub(super) fn recall_leases(&mut self, now: Instant, memory: &LeaseMemory) {
        self.holder.recall(now, memory);
    }

    /// Returns whether a majority has granted what it was asked for at this moment or later.
    pub(super) fn is_renewed(&self, since: Instant) -> bool {
        self.holder.leases().is_renewed(since)
    }

    /// Returns until when this node grants nothing, because it does not know what it has promised.
    pub(super) fn silent_until(&self) -> Instant {
        self.voter.silent_until()
    }

    /// Grants nothing from now on, and returns what the next process has to keep of it.
    pub(super) fn retire(&mut self, env: &Env) -> Option<PromiseRecord> {
        self.voter.retire(env)
    }

    /// Follows the configuration: who votes, and whether any group needs a lease.
    pub(super) fn reconfigure(&mut self, env: &Env) {
        let nodes = &env.configuration.nodes;
        let voters = nodes.iter().filter(|(_, member)| member.votes).map(|(node, _)| *node);
        let needed = env.configuration.groups.values().any(|group| group.mode == Mode::Majority);
        self.holder.reconfigure(env.now, voters.collect(), needed);
        self.voter.go_by(self.holder.leases().voters().to_vec());
    }

    /// Counts nothing any more that was granted or said before now: our clock has stood still, so
    /// it cannot tell which lease is over.
    pub(super) fn forget(&mut self, now: Instant) {
        self.holder.forget(now);
        self.voter.forget();
    }

    /// Wants a lease for an address from now on. No grant from before counts for it.
    pub(super) fn want(&mut self, address: GroupKey) {
        self.holder.want(address);
    }

    /// Wants it no more: the kernel has let go of the address.
    pub(super) fn give_up(&mut self, address: GroupKey) {
        self.holder.give_up(address);
    }

    /// Returns whether a lease is wanted for an address.
    pub(super) fn wants(&self, address: GroupKey) -> bool {
        self.holder.leases().wants(address)
    }

    /// Returns all addresses for which a lease is wanted.
    pub(super) fn wanted(&self) -> impl Iterator<Item = GroupKey> {
        self.holder.leases().wanted()
    }

    /// Returns until when a majority of the voters vouches for an address.
    pub(super) fn until(&self, address: GroupKey) -> Instant {
        self.holder.leases().until(address)
    }

    /// Returns the list of voters.
    pub(super) fn voters(&self) -> &[NodeId] {
        self.holder.leases().voters()
    }

    /// Returns how many of them are a majority.
    pub(super) fn majority(&self) -> usize {
        self.holder.leases().majority()
    }

    /// Returns a number that stands for the list of voters.
    #[cfg(test)]
    pub(super) fn digest(&self) -> u64 {
        self.holder.leases().digest()
    }

    /// Returns whether any configured group needs a lease.
    pub(super) fn is_needed(&self) -> bool {
        self.holder.is_needed()
    }

    /// Returns whether a majority of the voters has been in touch for long enough to be asked.
    pub(super) fn is_settled(&self) -> bool {
        self.holder.is_settled()
    }

    /// Returns whether a majority of the voters would grant this node anything, as far as it can
    /// tell.
    pub(super) fn is_in_touch(&self, env: &Env, situation: &Situation) -> bool {
        self.holder.is_in_touch(env, situation)
    }

    /// Returns whether no address can have a lease here, because voters who are near go by another
    /// list: others may have it.
    pub(super) fn is_opposed(&self, env: &Env, situation: &Situation) -> bool {
        self.holder.is_opposed(env, situation)
    }

    /// Notes that something has changed on which it depends what follows from the leases.
    pub(super) fn note_change(&mut self) {
        self.holder.note_change();
    }

    /// Returns whether anything of that kind has changed since this was called last.
    pub(super) fn take_change(&mut self) -> bool {
        self.holder.take_change()
    }

    /// Notes whether a group waits for its lease: voters are asked more often then.
    pub(super) fn set_waiting(&mut self, waiting: bool) {
        self.holder.set_waiting(waiting);
    }

    /// Follows whether a majority is in touch; returns whether [`Quorum::is_settled`] has changed.
    pub(super) fn watch(&mut self, env: &Env, situation: &Situation) -> bool {
        self.holder.watch(env, situation)
    }

    /// Stores what must be remembered, and follows whether this node may vote. Returns what to ask
    /// of whom for that.
    pub(super) fn follow_lists(&mut self, env: &mut Env) -> Vec<(NodeId, LeaseRequest)> {
        let (needed, digest) = (self.holder.is_needed(), self.holder.leases().digest());
        self.voter.follow_lists(env, needed, digest)
    }

    /// Takes in that what was to be remembered is stored, or could not be.
    pub(super) fn stored(&mut self, now: Instant, done: bool) {
        self.voter.stored(now, done);
        self.holder.note_change();
    }

    /// Asks every voter that is due.
    pub(super) fn ask(&mut self, env: &mut Env, situation: &Situation) {
        for (place, voter) in self.holder.leases().voters().to_vec().into_iter().enumerate() {
            for request in self.holder.requests(env, place, situation) {
                if voter == env.configuration.me {
                    self.ask_itself(env, &request);
                } else {
                    env.send(voter, Message::LeaseRequest(request));
                }
            }
        }
    }

    fn ask_itself(&mut self, env: &mut Env, request: &LeaseRequest) {
        let lease = env.configuration.timing.lease();
        let node = env.configuration.me;
        let me = PeerView { node, incarnation: None, isolated: false, lease };
        for grant in self.vote(env, &me, request) {
            self.on_grant(env, &me, &grant);
        }
    }

    /// Answers a node that asks this one as a voter.
    pub(super) fn vote(
        &mut self,
        env: &Env,
        from: &PeerView,
        request: &LeaseRequest,
    ) -> Vec<LeaseGrant> {
        self.voter.vote(env, from, request, self.holder.leases().digest())
    }

    /// Takes in the answer of a voter.
    pub(super) fn on_grant(&mut self, env: &mut Env, from: &PeerView, grant: &LeaseGrant) {
        if let Some(backing) = &grant.backing {
            let asked_at = Instant::from_nanos(grant.asked_at).min(env.now);
            self.voter.note(from.node, asked_at, backing);
        }
        self.holder.on_grant(env, from, grant);
    }

    /// Owes nothing any more to a life of a node that has left, or whose guardian says so: its
    /// kernel has let go of everything.
    pub(super) fn release(&mut self, node: NodeId, incarnation: Incarnation) {
        self.voter.release(Holder { node, incarnation });
    }

    /// Returns when there is something to do without anything happening.
    pub(super) fn deadline(&self, env: &Env, situation: &Situation) -> Instant {
        self.holder.deadline(env, situation).min(self.voter.deadline())
    }
}
