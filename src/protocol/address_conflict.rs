//! Looks before it takes, and watches while it holds: who else answers for a group?
//!
//! ```text
//!   suspicion, or half a heartbeat        answer           wait, ask again
//!   before the group would be taken ----> of a conflicting host --> until nobody answers
//!                |      ask                                       |
//!                +----------------------- silence -------------> take
//!
//!   held: claim of a conflicting host --> at once after taking: it was there first, let go
//!                             --> later: defend, once in ten seconds
//! ```
//!
//! A *conflicting host* is one whose hardware address no node has reported as its own. Taking
//! never waits for the answer: where there was no time to ask ahead it is asked while taking, and
//! an answer that comes within [`SETTLING`] is as good. The claim that frees the group then says so,
//! and the others ask before they take: one node at most has it for the time of an answer. An owner never yields to one who comes
//! later: the address was configured for it (RFC 5227 2.4(c)). What peers say of the group by
//! their frames is told and not answered: their claims decide (`conflict`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::conflicting_hosts::{ConflictingHosts, Shunned};
use super::group::Holding;
use super::node::Node;
use super::ownership::GroupHere;
use super::types::{
    Action, Group, GroupKey, HardwareAddress, Inability, Instant, NodeId, NodePhase, Outside,
    Report, Rule, Tenure, Verdict,
};

/// Between two announcements by which a group is defended (RFC 5227 1.1, `DEFEND_INTERVAL`).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// A router outside that has announced its address advertises within this (milliseconds with FRR): a
/// defence would send clients back to a node that gives way.
const ADVERTISED_WITHIN: Duration = Duration::from_millis(50);
/// Between two rounds in which clients are told one by one, which RFC 5227 does not limit: a round of
/// a group is at most some 64 frames.
const CORRECT_INTERVAL: Duration = Duration::from_secs(1);
/// A conflicting host's claim so long after taking was there before: an answer that came late, or its own
/// defence.
const SETTLING: Duration = Duration::from_secs(1);
/// A conflicting host's answer keeps the first in line from taking for so long, or for a detection time.
const SHUNNED: Duration = Duration::from_secs(1);
/// It keeps all others for so long: that many nodes would otherwise ask twice a second for ever.
const SHUNNED_BY_OTHERS: Duration = Duration::from_secs(10);
/// What a router answers that has said that it stops keeps the group for so long only, for
/// [`STOPS_WITHIN`]: keepalived removes its addresses 1 to 10 ms after it has said so.
const SHUNNED_WHILE_IT_STOPS: Duration = Duration::from_millis(50);
/// One that still answers after this does not stop.
const STOPS_WITHIN: Duration = Duration::from_secs(1);
/// A second claimant is shown for so long.
const SHOWN: Duration = Duration::from_secs(60);

/// What is known of others who answer for a group.
#[derive(Clone, Debug, Default)]
pub(super) struct ConflictDetection {
    /// What routers outside have of it; `None` if it is no virtual router.
    pub(super) outside: Option<Outside>,
    /// It is being given to a router outside, until then at most.
    pub(super) yields_until: Option<Instant>,
    /// When the network was last asked.
    asked_at: Option<Instant>,
    /// When it should be asked next.
    ask_at: Option<Instant>,
    /// The conflicting hosts to which the group is left for now.
    hosts: ConflictingHosts,
    /// The router outside that last said that it stops, and when.
    stops: Option<(HardwareAddress, Instant)>,
    /// When this node took the group without having been given it.
    took_at: Option<Instant>,
    /// The conflicting hosts that claimed it while it was held here.
    claimants: ConflictingHosts,
    /// When that was last told.
    claimant_told_at: Option<Instant>,
    /// When it was last defended, or will be next.
    defended_at: Option<Instant>,
    /// When clients were last told one by one that it is here.
    corrected_at: Option<Instant>,
    /// When they are to be told next.
    correct_at: Option<Instant>,
    /// When a peer's claim was last told.
    told_at: Option<Instant>,
}

impl ConflictDetection {
    /// The conflicting host to which the group is left now.
    pub(super) fn conflicting_host(&self, now: Instant) -> Option<HardwareAddress> {
        self.hosts.longest(now).map(|shunned| shunned.hardware)
    }

    /// A router outside has said that it stops: what it answered before does not count any more,
    /// and what it answers yet counts for a short time.
    pub(super) fn conflict_stops(&mut self, hardware: HardwareAddress, now: Instant) {
        self.hosts.forget(&[hardware]);
        self.stops = Some((hardware, now));
    }

    /// Whether the group is being given to a router outside.
    const fn yields(&self) -> bool {
        self.yields_until.is_some()
    }

    fn is_stopping(&self, hardware: HardwareAddress, now: Instant) -> bool {
        self.stops.is_some_and(|(who, at)| who == hardware && now.since(at) < STOPS_WITHIN)
    }

    /// Who has claimed the group lately although it is held here.
    pub(super) fn claimant(&self, now: Instant) -> Option<HardwareAddress> {
        self.claimants.heard_within(now, SHOWN).last()
    }

    /// Whether a conflicting host has been heard, and it may be there still.
    pub(super) fn is_disputed(&self, now: Instant, detection: Duration) -> bool {
        self.claimants.heard_within(now, detection).next().is_some()
            || self.conflicting_host(now).is_some()
    }

    /// The process before has had the group since then; a conflicting host may say yet that it was first
    /// (seed 2456). A group that was given counts as one that was taken: that is not remembered.
    pub(super) fn recall_taking(&mut self, at: Instant) {
        self.took_at = Some(at);
    }

    /// Returns when this node took the group last, if it had not been given it.
    pub(super) fn took_at(&self) -> Option<Instant> {
        self.took_at
    }

    /// Returns when the group was taken, if that was later than `since` and so lately that a
    /// conflicting host may still say that it was first.
    pub(super) fn taken_after(&self, since: Instant, now: Instant) -> Option<Instant> {
        self.took_at.filter(|at| *at > since && now.since(*at) <= SETTLING)
    }

    fn asked_since(&self, at: Instant) -> bool {
        self.asked_at.is_some_and(|asked_at| asked_at >= at)
    }
}

/// Whose a hardware address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Own,
    Peer(NodeId),
    Nobodys,
}

impl Node {
    fn whose(&self, hardware: HardwareAddress) -> Whose {
        if self.hardware.contains(&hardware) {
            return Whose::Own;
        }
        let mut peers = self.peers.iter();
        let peer = peers.find(|(_, peer)| peer.hardware.contains(&hardware));
        peer.map_or(Whose::Nobodys, |(node, _)| Whose::Peer(*node))
    }

    /// How long before taking the network is asked: as long as a silent peer is suspected.
    pub(super) fn foresight(&self) -> Duration {
        self.env.configuration.timing.heartbeat / 2
    }

    /// Whether the group is being handed to this node: then its owner has looked.
    fn is_handed_over(&self, group: GroupKey) -> bool {
        let tenure = self.claims.latest(group).map(|claim| claim.tenure);
        tenure == Some(Tenure::MovingTo(self.env.configuration.me))
    }

    /// Plans when the network is asked about a group that would be taken at `take_at`, and puts
    /// that off while a conflicting host has the group.
    pub(super) fn look_ahead(&mut self, group: GroupKey, take_at: Instant) -> Instant {
        let shunned = self.shunned_by_rank(group);
        let (take_at, ask_at) = if take_at == Instant::NEVER {
            (take_at, self.suspected_since(group))
        } else if self.is_handed_over(group) {
            (take_at, None)
        } else {
            match shunned.filter(|shunned| take_at < shunned.until()) {
                Some(shunned) => (shunned.until(), Some(shunned.since + shunned.length / 2)),
                None => (take_at, Some(take_at.before(self.foresight()))),
            }
        };
        let Some(here) = self.groups.get_mut(&group) else { return take_at };
        here.conflict.ask_at = ask_at.filter(|at| !here.conflict.asked_since(*at));
        take_at
    }

    /// The conflicting host to which the group is left now, for as long as this node's place in line wants
    /// it: places change, and two nodes must not take it in the same moment (seed 45687).
    fn shunned_by_rank(&mut self, group: GroupKey) -> Option<Shunned> {
        let hosts = &self.groups.get(&group)?.conflict.hosts;
        let hosts: Vec<HardwareAddress> = hosts.hardware().collect();
        if hosts.is_empty() {
            return None;
        }
        let place = self.line(group).iter().position(|node| *node == self.env.configuration.me);
        let lengths = hosts.iter().map(|host| (*host, self.shunned_for(group, *host, place)));
        let lengths: BTreeMap<HardwareAddress, Duration> = lengths.collect();
        let hosts = &mut self.groups.get_mut(&group)?.conflict.hosts;
        hosts.last_for(|host| lengths[&host]);
        hosts.longest(self.env.now)
    }

    fn shunned_for(
        &self,
        group: GroupKey,
        hardware: HardwareAddress,
        place: Option<usize>,
    ) -> Duration {
        let timing = &self.env.configuration.timing;
        let conflict = self.groups.get(&group).map(|here| &here.conflict);
        let stops = conflict.is_some_and(|it| it.is_stopping(hardware, self.env.now));
        let length = match place {
            _ if stops => SHUNNED_WHILE_IT_STOPS,
            Some(0) => SHUNNED.max(timing.detection()),
            Some(_) | None => SHUNNED_BY_OTHERS.max(timing.detection()),
        };
        let place = place.and_then(|place| u32::try_from(place).ok()).unwrap_or(0);
        length + timing.rank_skew.saturating_mul(place)
    }

    /// These are a peer's: what answered there was no conflicting host (seed 67036).
    pub(super) fn recognise(&mut self, hardware: &[HardwareAddress]) {
        for here in self.groups.values_mut() {
            self.evaluate |= here.conflict.hosts.forget(hardware);
            here.conflict.claimants.forget(hardware);
        }
    }

    /// Since when the owner of the group is suspected, if this node is the next in line.
    fn suspected_since(&self, group: GroupKey) -> Option<Instant> {
        let claim = self.claims.latest(group)?;
        let owner = self.peers.get(&claim.owner)?;
        if owner.verdict != Verdict::Suspect || claim.tenure != Tenure::Held {
            return None;
        }
        let line = self.line(group);
        let next = line.into_iter().find(|node| *node != claim.owner);
        (next == Some(self.env.configuration.me)).then_some(owner.kernel.suspected_at)
    }

    /// Asks about every group for which it is time.
    pub(super) fn ask_what_is_due(&mut self) {
        if self.env.now < self.asks_due {
            return;
        }
        let now = self.env.now;
        let due = self.groups.iter().filter(|(_, here)| here.conflict.ask_at <= Some(now));
        let due = due.filter(|(_, here)| here.conflict.ask_at.is_some());
        let due: Vec<GroupKey> = due.map(|(group, _)| *group).collect();
        for group in due {
            self.ask(group);
        }
        let due = |here: &GroupHere| here.conflict.correct_at.is_some_and(|at| at <= now);
        let due = self.groups.iter().filter(|(_, here)| due(here)).map(|(group, _)| *group);
        for group in due.collect::<Vec<GroupKey>>() {
            self.correct(group);
        }
        self.plan_asking();
    }

    /// Has the clients of a held group told one by one that it is here, at most once in
    /// [`CORRECT_INTERVAL`], else when that is over.
    fn correct(&mut self, group: GroupKey) {
        let now = self.env.now;
        let sure = matches!(self.phase, NodePhase::Active | NodePhase::Leaving);
        let Some(here) = self.groups.get_mut(&group) else { return };
        here.conflict.correct_at = None;
        let Holding::Held { epoch, .. } = here.holding else { return };
        let next = here.conflict.corrected_at.map_or(now, |at| at + CORRECT_INTERVAL);
        if next > now {
            here.conflict.correct_at = Some(next);
            self.asks_due = self.asks_due.min(next);
        } else if sure {
            here.conflict.corrected_at = Some(now);
            self.env.actions.push(Action::Correct { group, epoch });
        }
    }

    /// The same then, unless the group is held here no more by that time.
    fn correct_at(&mut self, group: GroupKey, at: Instant) {
        if at <= self.env.now {
            return self.correct(group);
        }
        let Some(here) = self.groups.get_mut(&group) else { return };
        let at = *here.conflict.correct_at.get_or_insert(at);
        self.asks_due = self.asks_due.min(at);
    }

    /// Notes when [`Node::ask_what_is_due`] has something to do.
    pub(super) fn plan_asking(&mut self) {
        let asks = self.groups.values().filter_map(|here| here.conflict.ask_at).min();
        let corrects = self.groups.values().filter_map(|here| here.conflict.correct_at).min();
        self.asks_due = asks.into_iter().chain(corrects).min().unwrap_or(Instant::NEVER);
    }

    /// Asks the network about a group, unless too much has been asked lately: then it is as if
    /// nobody had answered. Tells whether it has been asked.
    pub(super) fn ask(&mut self, group: GroupKey) -> bool {
        let (now, rate) = (self.env.now, self.pace().rate);
        let addresses = self.env.configuration.groups.get(&group).map_or(1, Group::address_count);
        let Some(here) = self.groups.get_mut(&group) else { return false };
        here.conflict.ask_at = None;
        here.conflict.asked_at = Some(now);
        let asks =
            self.enforces(Rule::LookBeforeTake) && self.questions.spend(now, addresses, rate);
        if asks {
            let at = self.asked_directly(group);
            self.env.actions.push(Action::Probe { group, at });
        }
        asks
    }

    /// Called when a group is about to be taken.
    pub(super) fn look_while_taking(&mut self, group: GroupKey) {
        let handed_over = self.is_handed_over(group);
        let since = self.env.now.before(self.env.configuration.timing.heartbeat);
        let asked = self.groups.get(&group).is_none_or(|here| here.conflict.asked_since(since));
        if !handed_over && !asked {
            self.ask(group);
        }
        let now = self.env.now;
        if let Some(here) = self.groups.get_mut(&group) {
            here.conflict.took_at = (!handed_over).then_some(now);
        }
    }

    /// Somebody else says that the group is at this hardware address, as the answer to a question
    /// that was sent there alone, or not.
    pub(super) fn claimed(&mut self, group: GroupKey, hardware: HardwareAddress, direct: bool) {
        match self.whose(hardware) {
            Whose::Own => {}
            // Where no claim of the group is known, what that peer has claimed has not come: a node
            // that peers hear in another life is not sent it (c33 in docs/faults.md).
            Whose::Peer(node)
                if self.left_to_a_router(node, group) || self.claims.latest(group).is_none() =>
            {
                self.conflict_claims(group, hardware);
            }
            Whose::Peer(node) => {
                if direct || !self.enforces(Rule::AskedDirectly) {
                    self.kernel_answered(node, group, hardware);
                }
                self.peer_claims(node, group, hardware);
            }
            Whose::Nobodys => self.conflict_claims(group, hardware),
        }
    }

    fn conflict_claims(&mut self, group: GroupKey, hardware: HardwareAddress) {
        let now = self.env.now;
        let force = self.env.configuration.groups.get(&group).is_some_and(|group| group.force);
        let yields = !force && self.enforces(Rule::ConflictNotDisplaced);
        let gives_way = self.is_to_give_way(group, hardware);
        let yields = yields && !gives_way;
        let Some(here) = self.groups.get(&group) else { return };
        let was_first = here.conflict.took_at.is_some_and(|at| now.since(at) <= SETTLING);
        match here.holding {
            Holding::Idle | Holding::Removing { .. } if yields => self.shun(group, hardware),
            Holding::Asking { .. } if yields => {
                self.shun(group, hardware);
                self.let_go(group, super::group::Purpose::Free);
            }
            Holding::Adding { .. } | Holding::Held { .. } if was_first && yields => {
                self.shun(group, hardware);
                self.let_go(group, super::group::Purpose::Free);
            }
            // The router outside that this node, which leaves, has given the group to.
            Holding::Adding { .. } | Holding::Held { .. } if here.conflict.yields() => {
                self.shun(group, hardware);
                self.let_go(group, super::group::Purpose::Free);
            }
            // It goes on until it has heard this node.
            Holding::Adding { .. } | Holding::Held { .. } if was_first && gives_way => {}
            Holding::Adding { .. } | Holding::Held { .. } => self.defend(group, hardware),
            // It will be taken all the same, which is told.
            Holding::Idle | Holding::Asking { .. } | Holding::Removing { .. } => {
                self.defend(group, hardware);
            }
        }
    }

    /// Leaves a group to a conflicting host, until it has not answered for a while.
    fn shun(&mut self, group: GroupKey, hardware: HardwareAddress) {
        let now = self.env.now;
        let length = self.shunned_for(group, hardware, Some(0));
        let Some(here) = self.groups.get_mut(&group) else { return };
        let conflict = &mut here.conflict;
        let known = conflict.hosts.holds_back(hardware, now) || conflict.is_stopping(hardware, now);
        conflict.hosts.note(Shunned { hardware, since: now, length });
        self.evaluate = true;
        if !known {
            self.report(Report::Unable { group, why: Inability::Conflict(hardware) });
        }
    }

    /// The group is held here no more: a conflicting host that has claimed it until a moment ago has it as far
    /// as is known, whatever this node did about it while it held the group (seed 1038).
    pub(super) fn remember_claimant(&mut self, group: GroupKey) {
        let force = self.env.configuration.groups.get(&group).is_none_or(|group| group.force);
        let lately = self.env.configuration.timing.detection();
        if force || !self.enforces(Rule::ConflictNotDisplaced) {
            return;
        }
        let Some(here) = self.groups.get(&group) else { return };
        let claimants = here.conflict.claimants.heard_within(self.env.now, lately);
        for hardware in claimants.collect::<Vec<HardwareAddress>>() {
            self.shun(group, hardware);
        }
    }

    /// Announces a group that a conflicting host claims too, at most once in [`DEFEND_INTERVAL`]. What comes
    /// sooner is answered to the clients that are known, each alone, and to all when the interval is
    /// over.
    fn defend(&mut self, group: GroupKey, hardware: HardwareAddress) {
        let now = self.env.now;
        let sure = matches!(self.phase, NodePhase::Active | NodePhase::Leaving);
        let awaits = self.enforces(Rule::AdvertisementAwaited);
        let Some(here) = self.groups.get_mut(&group) else { return };
        here.conflict.claimants.note(Shunned { hardware, since: now, length: SHOWN });
        if !sure {
            return;
        }
        let conflict = &mut here.conflict;
        // A router outside may announce before it advertises.
        let virtual_router = conflict.outside.is_some() && awaits;
        let soonest = if virtual_router { now + ADVERTISED_WITHIN } else { now };
        let next = conflict.defended_at.map_or(soonest, |at| soonest.max(at + DEFEND_INTERVAL));
        let planned = conflict.defended_at.is_some_and(|at| at > now);
        let waits = conflict.defended_at.is_some_and(|at| at > now && at <= soonest);
        let told = lately(conflict.claimant_told_at, now);
        if !planned {
            conflict.defended_at = Some(next);
        }
        if !told {
            conflict.claimant_told_at = Some(now);
            self.report(Report::SecondClaimant { group, hardware, node: None });
        }
        if !planned && self.enforces(Rule::Defence) {
            self.announcements.hasten(next, group);
        }
        if next > soonest && !waits && self.enforces(Rule::DirectedDefence) {
            self.correct_at(group, soonest);
        }
    }

    fn peer_claims(&mut self, node: NodeId, group: GroupKey, hardware: HardwareAddress) {
        let now = self.env.now;
        let Some(here) = self.groups.get_mut(&group) else { return };
        let settled = here.conflict.took_at.is_none_or(|at| now.since(at) > SETTLING);
        let held = matches!(here.holding, Holding::Held { .. });
        if held && settled && !lately(here.conflict.told_at, now) {
            here.conflict.told_at = Some(now);
            self.report(Report::SecondClaimant { group, hardware, node: Some(node) });
        }
    }
}

fn lately(at: Option<Instant>, now: Instant) -> bool {
    at.is_some_and(|at| now.since(at) < DEFEND_INTERVAL)
}

impl GroupHere {
    /// Why this node would not take the group now, if so.
    pub(super) fn inability(&self, now: Instant) -> Option<Inability> {
        self.obstacle(now, false)
            .or_else(|| self.conflict.conflicting_host(now).map(Inability::Conflict))
    }
}
