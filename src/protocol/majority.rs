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
//! majorities share a voter and a voter promises a group to one node (`voter`, `leases`). So
//! whatever this node believes, it does not answer besides another, and when two claims meet the
//! one with a lease insists.
//!
//! The kernel has one gate for all groups of this mode at a node; it is open for as long as the
//! group with the shortest lease. PROTOCOL.md, section 11.

use std::time::Duration;

use super::group::{Holding, Occurrence, Purpose};
use super::leases::GrantTerms;
use super::node::Node;
use super::types::{
    Action, GroupKey, Instant, LeaseGrant, Message, Mode, NodeId, Report, Rule, Vote, promise,
};

/// A voter that goes by another list is asked again after so many heartbeats: files are mended.
const AGREED_AFTER: u32 = 3;

/// How it stands with the gate of the groups in mode majority.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Door {
    /// Until when every group behind it has a lease; `None` while there is no group behind it.
    until: Option<Instant>,
    /// Something that it depends on has changed.
    pub(super) stale: bool,
    /// Whether it was open when last looked at.
    open: bool,
    /// Whether there is any group of that mode.
    pub(super) needed: bool,
    /// When a majority that is in touch will have been so for long enough.
    settles: Option<Instant>,
    /// Whether it has.
    settled: bool,
}

impl Node {
    /// Whether a group may be answered only under a lease.
    pub(super) fn strict(&self, group: GroupKey) -> bool {
        let group = self.env.configuration.groups.get(&self.group_of(group));
        group.is_some_and(|it| it.mode == Mode::Majority)
    }

    /// Whether a majority of the voters would grant this node anything, as far as it can tell.
    pub(super) fn majority_in_touch(&self) -> bool {
        let voters = self.leases.voters().iter();
        let near = voters.filter(|voter| self.is_near(**voter) && !self.disagrees(**voter));
        near.count() >= self.leases.majority()
    }

    fn is_near(&self, voter: NodeId) -> bool {
        voter == self.env.configuration.me || self.hears_and_is_heard(voter)
    }

    /// Whether a voter goes by another list of voters, or waits for others to go by the same, as far
    /// as it has said.
    fn disagrees(&self, voter: NodeId) -> bool {
        let answered = self.leases.answered(voter);
        matches!(answered, Some((_, Vote::VotersDiffer | Vote::Waiting)))
            && self.holds(Rule::VotersAgree)
    }

    /// Whether no group here can have a lease while those who are near disagree: others may.
    fn majority_disagrees(&self) -> bool {
        let mut voters = self.leases.voters().iter();
        let against = voters.any(|voter| self.is_near(*voter) && self.disagrees(*voter));
        against && !self.majority_in_touch()
    }

    /// Follows whether a majority is in touch. Of nodes that come back together one is heard first:
    /// those that are not heard yet are not dead, so nothing is taken for two heartbeats.
    pub(super) fn watch_majority(&mut self) {
        if !self.door.needed {
            return;
        }
        self.watch_hearing();
        let wait = self.env.configuration.timing.heartbeat * 2;
        self.door.settles = if self.majority_in_touch() {
            Some(self.door.settles.unwrap_or(self.env.now + wait))
        } else {
            None
        };
        let settled = self.door.settles.is_some_and(|at| at <= self.env.now);
        if self.door.settled != settled {
            self.door.settled = settled;
            self.door.stale = true;
            self.evaluate = true;
        }
    }

    /// Follows which peers say that they hear no majority of the voters.
    fn watch_hearing(&mut self) {
        let (voters, majority) = (self.leases.voters().to_vec(), self.leases.majority());
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
        !self.strict(group) || self.door.settled || !self.holds(Rule::MajorityToTake)
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
        let until = self.door.until?;
        (until > self.env.now).then(|| until.since(self.env.now))
    }

    /// Follows the list of voters, and which groups there are in this mode.
    pub(super) fn enlist(&mut self) {
        let nodes = &self.env.configuration.nodes;
        let voters = nodes.iter().filter(|(_, member)| member.votes).map(|(node, _)| *node);
        self.leases.set_voters(self.env.now, voters.collect());
        self.electorate.go_by(self.leases.voters().to_vec());
        self.door.stale = true;
        let mut groups = self.env.configuration.groups.values();
        self.door.needed = groups.any(|group| group.mode == Mode::Majority);
        self.align_wishes();
    }

    /// Wants a lease for what is here of every group in this mode and for no other group, whatever
    /// the configuration said when it came here.
    fn align_wishes(&mut self) {
        if !self.holds(Rule::WishesAligned) {
            return;
        }
        let here: Vec<(GroupKey, Holding)> =
            self.groups.iter().map(|(group, here)| (*group, here.holding)).collect();
        for (group, holding) in here {
            if holding != Holding::Idle && self.strict(group) {
                self.leases.want(group);
            } else if !self.strict(group) && self.env.configuration.groups.contains_key(&group) {
                self.leases.give_up(group);
            }
        }
    }

    /// Asks every voter that is due: each heartbeat, at once when there is something new, and
    /// more often while a group waits.
    pub(super) fn ask_voters(&mut self) {
        let voters = self.leases.voters().to_vec();
        for voter in voters {
            if self.env.now < self.ask_at(voter) {
                continue;
            }
            // Whether a majority is in touch may have changed without anything else.
            self.door.stale |= self.asking;
            let lease = self.env.configuration.timing.lease();
            for request in self.leases.requests(self.env.now, voter, lease) {
                if voter == self.env.configuration.me {
                    for grant in self.vote(voter, &request) {
                        self.on_lease_grant(voter, &grant);
                    }
                } else {
                    let message = Message::LeaseRequest(request);
                    self.env.actions.push(Action::Send { to: voter, message });
                }
            }
        }
    }

    /// When a voter is to be asked next.
    fn ask_at(&self, voter: NodeId) -> Instant {
        let timing = &self.env.configuration.timing;
        let idle = !self.leases.concerns(voter);
        if idle && !(self.door.needed && self.is_near(voter)) {
            return Instant::NEVER;
        }
        let Some(asked_at) = self.leases.asked_at(voter) else { return self.env.now };
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
            return self.env.now;
        }
        let contested = self.contests.keys().filter(|group| self.strict(**group));
        let contested = contested.map(|group| self.contested_since(*group)).max();
        if contested.is_some_and(|since| asked_at < since) {
            return self.env.now;
        }
        let unheard = matches!(self.leases.answered(voter), Some((_, Vote::Starting)));
        let urgent = self.leases.lacks(voter) || self.asking || contested.is_some() || unheard;
        asked_at + if urgent && self.is_near(voter) { timing.retry } else { timing.heartbeat }
    }

    /// When [`Node::ask_voters`] or [`Node::revise_leases`] has something to do.
    pub(super) fn lease_deadline(&self) -> Instant {
        let asks = self.leases.voters().iter().map(|voter| self.ask_at(*voter)).min();
        let closes = self.door.until.filter(|until| *until > self.env.now);
        let settles = self.door.settles.filter(|at| *at > self.env.now);
        let times = [asks, closes, settles];
        times.into_iter().flatten().min().unwrap_or(Instant::NEVER)
    }

    /// A voter has answered.
    pub(super) fn on_lease_grant(&mut self, from: NodeId, grant: &LeaseGrant) {
        let before = self.leases.answered(from).map(|(_, vote)| vote);
        let from_receipt = (!self.holds(Rule::LeaseFromAsking)).then_some(self.env.now);
        if let Some(backing) = &grant.backing {
            self.electorate.note(
                from,
                Instant::from_nanos(grant.asked_at).min(self.env.now),
                backing,
            );
        }
        let lease = self.backed(from, grant);
        let floored = self.holds(Rule::LeaseFloor);
        self.leases.grant(from, grant, GrantTerms { lease, from: from_receipt, floored });
        self.door.stale = true;
        let vote = self.leases.answered(from).map(|(_, vote)| vote);
        if vote == Some(Vote::VotersDiffer) && before != Some(Vote::VotersDiffer) {
            self.report(Report::VotersDiffer { voter: from });
        }
    }

    /// How long a lease is that follows from a grant: as long as the voter vouches for it.
    fn backed(&self, from: NodeId, grant: &LeaseGrant) -> Duration {
        let lease = self.env.configuration.timing.lease();
        if !self.holds(Rule::LeaseStated) {
            return lease;
        }
        match &grant.backing {
            Some(backing) => lease.min(backing.lease),
            // Older software promises for its own lease, and for kernels that are never late.
            None => lease.min(self.lease_of_peer(from)).saturating_sub(promise(Duration::ZERO)),
        }
    }

    /// Acts on what the leases have become: adds what waited for one, and follows the gate.
    pub(super) fn revise_leases(&mut self) {
        let over = self.door.until.is_some_and(|until| until <= self.env.now) && self.door.open;
        if !std::mem::take(&mut self.door.stale) && !over {
            return;
        }
        self.asking = false;
        let wanted: Vec<GroupKey> = self.leases.wanted().collect();
        let mut behind: Option<Instant> = None;
        let (in_touch, opposed) = (self.majority_in_touch(), self.majority_disagrees());
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
                Holding::Asking { .. } => self.asking = true,
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
        self.door.until = behind;
        self.follow_door();
        self.door.stale = false;
    }

    /// Tells when the gate opens or closes by the voters, and announces anew what it hid.
    fn follow_door(&mut self) {
        let open = self.door.until.is_none_or(|until| until > self.env.now);
        if open == self.door.open {
            return;
        }
        self.door.open = open;
        let held: Vec<GroupKey> = self
            .leases
            .wanted()
            .filter(|group| {
                let holding = self.groups.get(group).map(|here| here.holding);
                matches!(holding, Some(Holding::Held { .. }))
            })
            .collect();
        let groups = u16::try_from(held.len()).unwrap_or(u16::MAX);
        if !open {
            self.report(Report::MajorityLost { groups });
        } else if groups > 0 {
            self.report(Report::MajorityBack { groups });
        }
        for group in held {
            if open {
                self.start_announcing(group);
            } else {
                self.announcements.stop(group);
            }
        }
    }

    /// Follows a group that has begun, or ceased, to be in the kernel or on its way there.
    pub(super) fn note_holding(&mut self, group: GroupKey, holding: Holding) {
        if holding == Holding::Idle {
            if !self.is_elsewhere(group, group) {
                self.leases.give_up(group);
            }
            self.door.stale = true;
        } else if self.strict(group) && holding.meant() {
            self.leases.want(group);
            self.want_further(group);
            self.door.stale = true;
        }
    }
}
