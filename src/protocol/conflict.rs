//! Two owners meet: one gives way, the other speaks last.
//!
//! ```text
//!   later claim of another comes        (mode majority: "larger" is to have the lease, asked
//!                                        for and granted after the other claim had come)
//!     |-- it frees the group: nobody answers by it -------------------> take again, later epoch
//!     |-- its side was at least as large -----------------------------> give way
//!     |-- ours was larger, and it hears us ---------------------------> take again, later epoch
//!     `-- ours was larger, not known whether it hears us: wait 1.5 h -> then give way
//! ```
//!
//! Only the one with the earlier epoch decides; the other learns of the outcome by a still later
//! claim, or by nothing. Every taking over a conflict has more support than the one before, so
//! there are at most as many as nodes. See section 7 of the specification.

use super::claims::holder;
use super::group::{Holding, Occurrence, Purpose};
use super::node::Node;
use super::types::{Cause, Claim, GroupKey, Instant, NodeId, NodePhase, Report, Rule, Tenure};

impl Node {
    /// A claim that outranks the one before has come: if this node has the group it gives way,
    /// unless it is on the larger side: then the contest is settled as soon as it is known
    /// whether the other hears this node at all.
    pub(super) fn challenged(&mut self, claim: &Claim) {
        let group = self.group_of(claim.group);
        let Some(here) = self.groups.get(&group) else { return };
        if here.holding == Holding::Idle || !self.enforces(Rule::GiveWay) {
            return;
        }
        if self.is_further(claim.group) && !self.has_further(claim.group) {
            return;
        }
        let until = self.env.now + self.contest_length();
        self.contests.entry(claim.group).or_insert(until);
        self.settle_contests();
    }

    /// Settles what can be settled: see [`Node::challenged`].
    pub(super) fn settle_contests(&mut self) {
        let contests: Vec<(GroupKey, Instant)> =
            self.contests.iter().map(|(group, until)| (*group, *until)).collect();
        for (group, until) in contests {
            let Some(claim) = self.claims.latest(group).copied() else { continue };
            if self.ours(&claim) {
                self.contests.remove(&group);
            } else if claim.owner == self.env.configuration.me {
                // A claim of a former life of this node: nobody holds it any more.
                self.contests.remove(&group);
                if self.here(group).is_some_and(|here| here.holding.meant()) {
                    self.renew(&claim);
                }
            } else if !self.stronger(&claim) && !self.may_be_confirmed(&claim, until) {
                self.contests.remove(&group);
                self.give_way(&claim);
            } else if self.stronger(&claim)
                && (claim.tenure == Tenure::Free || self.in_touch_lately(claim.owner))
                && self.phase == NodePhase::Active
            {
                self.contests.remove(&group);
                self.renew(&claim);
            } else if self.env.now >= until {
                self.contests.remove(&group);
                self.give_way(&claim);
            }
        }
    }

    /// Whether this node may take again over a later claim of another.
    fn stronger(&self, claim: &Claim) -> bool {
        let here = self.here(claim.group);
        if self.strict(claim.group) {
            let can = here.is_some_and(|here| here.usable && here.holding.meant());
            let confirmed = self.quorum.until(claim.group)
                >= self.contested_since(claim.group) + self.env.configuration.timing.lease();
            return can && confirmed && self.enforces(Rule::LeaseInsists);
        }
        let larger = self.support.value > claim.support && self.enforces(Rule::Support);
        let goes_on = match claim.tenure {
            Tenure::Held => larger,
            Tenure::Free => self.enforces(Rule::HolderGoesOn),
            Tenure::MovingTo(_) => false,
        };
        goes_on
            && self.phase == NodePhase::Active
            && !self.mute
            && here.is_some_and(|here| here.usable && here.holding.meant())
    }

    /// Whether the voters may still confirm a lease that this node has, as far as it knows.
    fn may_be_confirmed(&self, claim: &Claim, until: Instant) -> bool {
        let here = self.here(claim.group);
        self.strict(claim.group)
            && self.env.now < until
            && self.leased(claim.group)
            && self.enforces(Rule::LeaseInsists)
            && here.is_some_and(|here| here.usable && here.holding.meant())
    }

    /// How long a contest may stay open.
    fn contest_length(&self) -> std::time::Duration {
        self.env.configuration.timing.heartbeat * 3 / 2
    }

    /// Since when a group is contested; now if it is not.
    pub(super) fn contested_since(&self, group: GroupKey) -> Instant {
        self.contests.get(&group).map_or(self.env.now, |until| until.before(self.contest_length()))
    }

    /// Whether the other has said lately that it hears this node: it will hear the answer too.
    fn in_touch_lately(&self, node: NodeId) -> bool {
        let life = super::membership::low(self.env.configuration.incarnation);
        let lately = self.env.configuration.timing.heartbeat * 3 / 2;
        self.peers.get(&node).is_some_and(|peer| {
            let just_heard = peer.heartbeat_at.is_some_and(|at| self.env.now.since(at) <= lately);
            just_heard && peer.hears(self.env.configuration.me, Some(life), lately)
        })
    }

    fn give_way(&mut self, claim: &Claim) {
        if self.is_further(claim.group) {
            return self.withhold(claim.group);
        }
        let to = holder(claim).unwrap_or(claim.owner);
        self.report(Report::GaveWay { group: claim.group, to, epoch: claim.epoch });
        self.let_go(claim.group, Purpose::GiveWay);
    }

    /// When a contest must be settled.
    pub(super) fn contest_deadline(&self) -> Instant {
        self.contests.values().copied().min().unwrap_or(Instant::NEVER)
    }

    /// Takes again over a claim of the smaller side.
    fn renew(&mut self, over: &Claim) {
        let mut tally = self.tally();
        let former = over.owner == self.env.configuration.me;
        let claim = Claim {
            group: over.group,
            epoch: over.epoch.next(),
            owner: self.env.configuration.me,
            incarnation: self.env.configuration.incarnation,
            revision: 0,
            tenure: Tenure::Held,
            support: self.support.value,
            heirs: self.heirs(over.group, &mut tally),
            cause: if former { Cause::Restart(over.owner) } else { Cause::Conflict(over.owner) },
        };
        self.publish(claim);
        if self.is_further(over.group) {
            return self.announce_if_held(self.group_of(over.group));
        }
        self.occur(over.group, Occurrence::Renew(claim.epoch));
    }

    /// A claim that does not outrank ours has come: its writer may answer for the group until it
    /// hears of ours, so clients are told again.
    pub(super) fn outranks(&mut self, claim: &Claim) {
        if claim.tenure == Tenure::Held && self.enforces(Rule::AnnounceAfterSplit) {
            self.announce_if_held(self.group_of(claim.group));
        }
    }

    fn announce_if_held(&mut self, group: GroupKey) {
        let here = self.groups.get(&group);
        if here.is_some_and(|here| matches!(here.holding, Holding::Held { .. })) {
            self.start_announcing(group);
        }
    }

    /// When peers that were dead are back and their claims are known, everything still held is
    /// announced again, not before: a node that lost a conflict must not speak last.
    pub(super) fn greet_returned(&mut self) {
        let mut returned = false;
        for (node, peer) in &mut self.peers {
            if peer.returning && peer.heartbeat_at.is_some() && self.claims.is_complete(*node) {
                peer.returning = false;
                returned = true;
            }
        }
        if returned && self.phase == NodePhase::Active && self.enforces(Rule::AnnounceAfterSplit) {
            self.announce_everything();
        }
    }
}
