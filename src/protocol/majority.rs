//! Mode majority: a group is answered only under a lease from a majority of the voters.
//!
//! ```text
//!   take --> Asking --> lease --> the kernel adds --> Held        this node may be a voter too:
//!              |                                       | lease      it asks itself like the others
//!              v claim of another, no majority         v over
//!            give way                            the gate is closed, the group stays claimed;
//!                                                it opens with the next lease
//! ```
//!
//! Everything else (who lives, who is next, planned moves) is as in mode availability; the lease
//! only decides whether the kernel may answer. Two leases for one group never overlap, because two
//! majorities share a voter and a voter promises a group to one node (`quorum`). So
//! whatever this node believes, it does not answer besides another, and when two claims meet the
//! one with a lease insists.
//!
//! The kernel has one gate for all groups of this mode at a node; it is open for as long as the
//! group with the shortest lease. PROTOCOL.md, section 11.

use std::time::Duration;

use super::group::{Holding, Occurrence, Purpose};
use super::node::Node;
use super::quorum::{PeerView, Situation};
use super::types::{
    Action, GroupKey, Instant, LeaseGrant, LeaseRequest, Memory, Message, Mode, NodeId, NodePhase,
    PromiseRecord, Recollection, Report, Rule, lease_of,
};

/// The lease of all groups in mode majority that are in the kernel: it has one gate for them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CommonLease {
    /// Until when every group behind it has a lease; `None` while there is no group behind it.
    until: Option<Instant>,
    /// Whether it was running when last looked at.
    running: bool,
}

impl Node {
    /// Tells a node that has just been made what the process before it has stored for
    /// [`Action::RememberVoters`]. Called before the first step, if
    /// at all.
    pub fn recall_voters(&mut self, recollection: Recollection) {
        self.quorum.recall(&self.env, recollection);
    }

    /// Tells a node that has just been made what the process before it had promised as a voter
    /// ([`Action::KeepPromises`]). The caller has removed the record, so
    /// that no later process finds it. Called after [`Node::recall_voters`] and before the first
    /// step, if at all. Returns whether it fits; if not, the node grants nothing for a while.
    pub fn recall_promises(&mut self, record: &PromiseRecord) -> bool {
        self.quorum.recall_promises(&self.env, record)
    }

    /// Goes on with the leases of the process before, which has left this.
    pub(super) fn recall_leases(&mut self, memory: &Memory) {
        let Some(leases) = &memory.leases else { return };
        if self.enforces(Rule::LeaseEndsAsGranted) {
            self.quorum.recall_leases(self.env.now, leases);
        } else {
            let away = self.env.now.since(memory.at);
            let mut leases = leases.clone();
            let wishes = leases.wishes.values_mut();
            wishes.flat_map(|wish| &mut wish.until).for_each(|until| *until = *until + away);
            self.quorum.recall_leases(self.env.now, &leases);
        }
        self.align_wishes();
        let held = self.quorum.wanted().filter(|group| {
            let holding = self.groups.get(group).map(|here| here.holding);
            matches!(holding, Some(Holding::Held { .. }))
        });
        let until = held.map(|group| self.leased_until(group)).min();
        self.common_lease = CommonLease { until, running: true };
    }

    /// Whether what is left of the leases of this node, if it has any, is less than a start of the
    /// next process may take.
    pub(super) fn is_lease_short(&self) -> bool {
        let enough = self.env.configuration.timing.lease() / 2;
        self.common_lease.until.is_some_and(|until| until.since(self.env.now) < enough)
    }

    /// For how long this node, which votes in this mode, grants nothing because it does not know what
    /// it had promised before it started; `None` if it does. For people.
    #[must_use]
    pub fn voter_silence(&self, now: Instant) -> Option<Duration> {
        let votes = self.quorum.voters().contains(&self.env.configuration.me);
        let silence = self.quorum.silent_until().since(now);
        (votes && self.quorum.is_needed() && !silence.is_zero()).then_some(silence)
    }

    /// The daemon may end: leaves what this node has promised as a voter to the next process.
    pub(super) fn stopped(&mut self) {
        if let Some(record) = self.quorum.retire(&self.env) {
            self.env.actions.push(Action::KeepPromises(Box::new(record)));
        }
        self.env.actions.push(Action::Stopped);
    }

    /// Whether a group may be answered only under a lease.
    pub(super) fn strict(&self, group: GroupKey) -> bool {
        let group = self.env.configuration.groups.get(&self.group_of(group));
        group.is_some_and(|it| it.mode == Mode::Majority)
    }

    /// What the quorum must know of a peer.
    pub(super) fn peer_view(&self, node: NodeId) -> PeerView {
        let peer = self.peers.get(&node);
        let own = self.env.configuration.timing.lease();
        let said = peer.map(|peer| peer.said.interval * u32::from(peer.said.misses));
        PeerView {
            node,
            incarnation: peer.and_then(|peer| peer.incarnation),
            isolated: peer.is_some_and(|peer| peer.said.phase == Some(NodePhase::Isolated)),
            lease: said.map_or(own, lease_of),
        }
    }

    /// What the quorum must know of this moment.
    fn situation(&self) -> Situation {
        let mut situation = Situation::default();
        for (near, voter) in situation.near.iter_mut().zip(self.quorum.voters()) {
            *near = *voter == self.env.configuration.me || self.hears_and_is_heard(*voter);
        }
        let contested = self.contests.keys().filter(|group| self.strict(**group));
        let contested_since = contested.map(|group| self.contested_since(*group)).max();
        // Before a restart in place every voter is asked once more.
        situation.contested_since = contested_since.max(self.resting);
        situation
    }

    /// Whether a majority of the voters would grant this node anything, as far as it can tell.
    pub(super) fn majority_in_touch(&self) -> bool {
        self.quorum.is_in_touch(&self.env, &self.situation())
    }

    /// Follows whether a majority is in touch.
    pub(super) fn watch_majority(&mut self) {
        if !self.quorum.is_needed() {
            return;
        }
        self.watch_hearing();
        let situation = self.situation();
        self.evaluate |= self.quorum.watch(&self.env, &situation);
    }

    /// Follows which peers say that they hear no majority of the voters.
    fn watch_hearing(&mut self) {
        let (voters, majority) = (self.quorum.voters(), self.quorum.majority());
        let ours = self.env.configuration.timing.detection();
        for (node, peer) in &mut self.peers {
            let within = peer.detection(ours);
            let heard = |voter: &&NodeId| **voter == *node || peer.hears(**voter, None, within);
            let lacks =
                peer.heartbeat_at.is_some() && voters.iter().filter(heard).count() < majority;
            self.evaluate |= peer.lacks_voters != lacks;
            peer.lacks_voters = lacks;
        }
    }

    /// Whether this node may claim a group of that mode: without a majority of the voters it could
    /// not answer for it, and its claim would only be in the way of others.
    pub(super) fn may_ask(&self, group: GroupKey) -> bool {
        !self.strict(group) || self.quorum.is_settled() || !self.enforces(Rule::MajorityToTake)
    }

    /// Whether a group is one of those that this node has a lease for.
    pub(super) fn leased(&self, group: GroupKey) -> bool {
        self.leased_until(group) > self.env.now
    }

    /// For how long the kernel may answer for the groups in mode majority without hearing from
    /// this node again: what is left of the leases that a majority of the voters has granted.
    /// `None` without one, or with nothing to answer for. Called by the daemon after each step;
    /// what it says now replaces what it said before.
    #[must_use]
    pub fn granted(&self) -> Option<Duration> {
        let until = self.common_lease.until?;
        (until > self.env.now).then(|| until.since(self.env.now))
    }

    /// Follows the list of voters, and which groups there are in this mode.
    pub(super) fn enlist(&mut self) {
        self.quorum.reconfigure(&self.env);
        self.align_wishes();
    }

    /// Wants a lease for what is here of every group in this mode and for no other group, whatever
    /// the configuration said when it came here.
    fn align_wishes(&mut self) {
        if !self.enforces(Rule::WishesAligned) {
            return;
        }
        let here: Vec<(GroupKey, Holding)> =
            self.groups.iter().map(|(group, here)| (*group, here.holding)).collect();
        for (group, holding) in here {
            if holding != Holding::Idle && self.strict(group) {
                self.quorum.want(group);
            } else if !self.strict(group) && self.env.configuration.groups.contains_key(&group) {
                self.quorum.give_up(group);
            }
        }
    }

    /// Follows whether this node may vote, and asks those who have voted under lists that it
    /// remembers what they go by.
    pub(super) fn follow_lists(&mut self) {
        for (voter, request) in self.quorum.follow_lists(&mut self.env) {
            if self.peers.contains_key(&voter) {
                self.env.send(voter, Message::LeaseRequest(request));
            }
        }
    }

    /// What was to be remembered is stored, or could not be.
    pub(super) fn voters_stored(&mut self, done: bool) {
        self.quorum.stored(self.env.now, done);
    }

    /// Asks every voter that is due: each heartbeat, at once when there is something new, and
    /// more often while a group waits.
    pub(super) fn ask_voters(&mut self) {
        let situation = self.situation();
        self.quorum.ask(&mut self.env, &situation);
    }

    /// A peer asks this node as a voter.
    pub(super) fn on_lease_request(&mut self, from: NodeId, request: &LeaseRequest) {
        let peer = self.peer_view(from);
        for grant in self.quorum.vote(&self.env, &peer, request) {
            self.env.send(from, Message::LeaseGrant(grant));
        }
    }

    /// A voter has answered.
    pub(super) fn on_lease_grant(&mut self, from: NodeId, grant: &LeaseGrant) {
        let peer = self.peer_view(from);
        self.quorum.on_grant(&mut self.env, &peer, grant);
    }

    /// A peer has said good-bye, or its guardian has: its kernel has let go of everything.
    pub(super) fn release_promises(&mut self, node: NodeId) {
        if let Some(incarnation) = self.peers.get(&node).and_then(|peer| peer.incarnation) {
            self.quorum.release(node, incarnation);
        }
    }

    /// When the quorum or [`Node::revise_leases`] has something to do.
    pub(super) fn lease_deadline(&self) -> Instant {
        let closes = self.common_lease.until.filter(|until| *until > self.env.now);
        let quorum = self.quorum.deadline(&self.env, &self.situation());
        quorum.min(closes.unwrap_or(Instant::NEVER))
    }

    /// Acts on what the leases have become: adds what waited for one, and follows the gate.
    pub(super) fn revise_leases(&mut self) {
        let lease = self.common_lease;
        let over = lease.until.is_some_and(|until| until <= self.env.now) && lease.running;
        if !self.quorum.take_change() && !over {
            return;
        }
        let mut waiting = false;
        let wanted: Vec<GroupKey> = self.quorum.wanted().collect();
        let mut behind: Option<Instant> = None;
        let situation = self.situation();
        let in_touch = self.quorum.is_in_touch(&self.env, &situation);
        let opposed = self.quorum.is_opposed(&self.env, &situation);
        for group in wanted {
            let Some(here) = self.groups.get(&group) else { continue };
            let (holding, until) = (here.holding, self.leased_until(group));
            match holding {
                Holding::Asking { .. } if until > self.env.now => {
                    // It has waited: who else has the group is asked again, and counted from here.
                    self.look_while_taking(group);
                    self.admit_with(group);
                    let ticket = self.ticket();
                    self.occur(group, Occurrence::Granted(ticket));
                    behind = Some(behind.map_or(until, |least| least.min(until)));
                }
                Holding::Asking { .. } if !in_touch => self.let_go(group, Purpose::Free),
                Holding::Asking { .. } => waiting = true,
                Holding::Adding { .. } | Holding::Held { .. } if opposed => {
                    self.let_go(group, Purpose::Free);
                }
                Holding::Adding { .. } | Holding::Held { .. } | Holding::Removing { .. } => {
                    self.admit(group);
                    behind = Some(behind.map_or(until, |least| least.min(until)));
                }
                Holding::Idle => {}
            }
        }
        self.quorum.set_waiting(waiting);
        self.common_lease.until = behind;
        self.follow_common_lease();
        // What has been done here changes nothing for it.
        let _ = self.quorum.take_change();
    }

    /// Tells when the gate opens or closes by the voters, and announces again what it hid.
    fn follow_common_lease(&mut self) {
        let running = self.common_lease.until.is_none_or(|until| until > self.env.now);
        if running == self.common_lease.running {
            return;
        }
        self.common_lease.running = running;
        let held: Vec<GroupKey> = self
            .quorum
            .wanted()
            .filter(|group| {
                let holding = self.groups.get(group).map(|here| here.holding);
                matches!(holding, Some(Holding::Held { .. }))
            })
            .collect();
        let groups = u16::try_from(held.len()).unwrap_or(u16::MAX);
        if !running {
            self.report(Report::MajorityLost { groups });
        } else if groups > 0 {
            self.report(Report::MajorityBack { groups });
        }
        for group in held {
            if running {
                self.start_announcing(group);
            } else {
                self.announcements.stop(group);
            }
        }
    }

    /// Follows a group that has begun, or ceased, to be in the kernel or on its way there.
    pub(super) fn note_holding(&mut self, group: GroupKey, holding: Holding) {
        if holding == Holding::Idle {
            if !self.kernel_has_elsewhere(group, group) {
                self.quorum.give_up(group);
            }
            self.quorum.note_change();
        } else if self.strict(group) && holding.meant() {
            self.quorum.want(group);
            self.want_further(group);
            self.quorum.note_change();
        }
    }
}
