//! Taking groups and letting them go: carries out what `group` (the table), `succession` (who is
//! next) and conflicts decide.
//!
//! A claim is published when the taking is decided, before the kernel has done it, so that the
//! next in line sees it; that a group is let go is published only when the kernel has confirmed
//! it. What happens when two live claims meet is told in `conflict`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::address_conflict::ConflictDetection;
use super::claims::holder;
use super::client_connections::NEVER_TICKLED;
use super::group::{Consequence, Holding, Occurrence, Purpose};
use super::handover::Promise;
use super::inability::Refused;
use super::layout::Further;
use super::neighbours::Following;
use super::node::Node;
use super::types::{
    Action, Attachment, Cause, Claim, Epoch, Group, GroupKey, HardwareAddress, Inability, Instant,
    KernelEvent, NodeId, NodePhase, Remover, Report, Rule, Tenure, Ticket,
};

/// Repairs within [`REPAIRS_WINDOW`] that mean that somebody else manages the address (H42 in
/// docs/invariants.md).
const REPAIRS_MAX: usize = 5;
/// See [`REPAIRS_MAX`].
const REPAIRS_WINDOW: Duration = Duration::from_secs(60);

/// A group as it stands at this node.
#[derive(Clone, Debug)]
pub(super) struct GroupHere {
    pub(super) holding: Holding,
    /// Whether its links are up.
    pub(super) usable: bool,
    /// What the host has of its network.
    pub(super) attachment: Attachment,
    /// Since when these two are as they are.
    pub(super) connection_since: Instant,
    /// Why this node was not able to hold it lately.
    pub(super) refused: Option<Refused>,
    failures: u32,
    repairs: VecDeque<Instant>,
    /// Since when it has been vacant, as far as known here.
    vacant_since: Option<Instant>,
    /// When this node should take it.
    pub(super) take_at: Instant,
    /// Its addresses but for the first.
    pub(super) further: Further,
    /// Who else answers for it.
    pub(super) conflict: ConflictDetection,
    /// Whether the neighbours resolve it to this node, while it is held.
    pub(super) following: Following,
    /// Where this host's kernel could keep its connections if it were handed over.
    pub(super) keeper: Option<HardwareAddress>,
    /// Whether it does when the group is let go next.
    pub(super) hands: bool,
    /// The last taking after which clients of the former owner were told, or had not to be.
    pub(super) tickled: Epoch,
}

impl GroupHere {
    pub(super) fn new() -> Self {
        Self {
            holding: Holding::Idle,
            usable: true,
            attachment: Attachment::Attached,
            connection_since: Instant::START,
            refused: None,
            failures: 0,
            repairs: VecDeque::new(),
            vacant_since: None,
            take_at: Instant::NEVER,
            further: Further::default(),
            conflict: ConflictDetection::default(),
            following: Following::new(Instant::START),
            keeper: None,
            hands: false,
            tickled: NEVER_TICKLED,
        }
    }
}

impl Node {
    /// Whether this node could add the group now.
    pub(super) fn can_take(&self, group: GroupKey) -> bool {
        (self.may_take() || self.acts() && self.is_last_resort(group))
            && !self.kernel_work.hangs()
            && self.may_ask(group)
            && self.env.configuration.groups.contains_key(&group)
            && self.groups.get(&group).is_some_and(|here| {
                let kept = here.attachment == Attachment::Lost && !self.relieved(group);
                here.holding == Holding::Idle && here.obstacle(self.env.now, kept).is_none()
            })
    }

    /// Looks at every group after anything that ownership depends on has changed.
    pub(super) fn evaluate(&mut self) {
        if self.enforces(Rule::LinkDownReleases) {
            self.let_go_of_what_is_down();
        }
        self.quorum.note_change();
        if self.phase != NodePhase::Active {
            return;
        }
        self.deal();
        let groups: Vec<GroupKey> = self.env.configuration.groups.keys().copied().collect();
        for group in groups {
            let at = self.consider(group);
            let at = self.look_ahead(group, at).min(self.revise_further(group));
            if let Some(here) = self.groups.get_mut(&group) {
                here.take_at = at;
            }
        }
        self.plan_takes();
        self.plan_asking();
    }

    /// When this node should take a group, as things stand.
    fn consider(&mut self, group: GroupKey) -> Instant {
        let now = self.env.now;
        let vacancy = self.vacancy(group);
        let since = match (&vacancy, self.groups.get_mut(&group)) {
            (Some(_), Some(here)) if here.is_withheld() => {
                here.vacant_since = None;
                return Instant::NEVER;
            }
            (Some(_), Some(here)) => *here.vacant_since.get_or_insert(now.max(self.active_since)),
            (None, Some(here)) => {
                here.vacant_since = None;
                return self.vacancy_deadline(group);
            }
            (_, None) => return Instant::NEVER,
        };
        let Some(vacancy) = vacancy else { return Instant::NEVER };
        if self.can_take(group) {
            let due = self.due(group, vacancy, since).unwrap_or(Instant::NEVER);
            due.max(self.claims_awaited_until(group))
        } else {
            self.retry_at(group)
        }
    }

    /// Takes what is due, and notes when the next is.
    pub(super) fn take_what_is_due(&mut self) {
        if self.env.now < self.takes_due {
            return;
        }
        let now = self.env.now;
        let due = self.groups.iter().filter(|(_, here)| here.take_at <= now);
        let due: Vec<GroupKey> = due.map(|(group, _)| *group).collect();
        if !due.is_empty() {
            let mut tally = self.tally();
            for group in due {
                if let Some(here) = self.groups.get_mut(&group) {
                    here.take_at = Instant::NEVER;
                }
                match self.vacancy(group) {
                    Some(vacancy) if self.can_take(group) => {
                        self.take(group, vacancy.cause, &mut tally);
                    }
                    Some(_) | None => self.evaluate = true,
                }
            }
        }
        self.plan_takes();
    }

    fn plan_takes(&mut self) {
        let due = self.groups.values().map(|here| here.take_at).min();
        self.takes_due = due.unwrap_or(Instant::NEVER);
    }

    /// Claims a group and has the kernel add it.
    fn take(&mut self, group: GroupKey, cause: Cause, tally: &mut super::tally::Tally) {
        self.look_while_taking(group);
        let epoch = self.claims.latest(group).map_or(Epoch::default(), |claim| claim.epoch).next();
        let claim = Claim {
            group,
            epoch,
            owner: self.env.configuration.me,
            incarnation: self.env.configuration.incarnation,
            revision: 0,
            tenure: Tenure::Held,
            support: self.support.value,
            heirs: self.heirs(group, tally),
            cause,
        };
        if let Some((from, keeper)) = self.promises.remove(&group).and_then(Promise::keeper) {
            self.forward(group, from, keeper);
        }
        self.publish(claim);
        self.take_further(&claim);
        if self.strict(group) && self.enforces(Rule::LeaseFirst) {
            self.occur(group, Occurrence::Ask(epoch));
        } else {
            let ticket = self.ticket();
            self.occur(group, Occurrence::Take(ticket, epoch));
        }
        if !self.enforces(Rule::AnnounceConfirmed) {
            self.env.actions.push(Action::Announce { group });
        }
    }

    /// Lets a group go; what for is published when the kernel has confirmed it.
    pub(super) fn let_go(&mut self, group: GroupKey, purpose: Purpose) {
        let Some(holding) = self.groups.get(&group).map(|here| here.holding) else { return };
        if purpose == Purpose::GiveWay
            && holding != Holding::Idle
            && self.enforces(Rule::WithdrawAtOnce)
        {
            self.env.actions.push(Action::Withdraw { group });
        }
        if !holding.meant() {
            if purpose == Purpose::GiveWay {
                self.occur(group, Occurrence::LetGo(Ticket::default(), purpose));
            }
            return;
        }
        let ticket = self.ticket();
        self.occur(group, Occurrence::LetGo(ticket, purpose));
        if !self.enforces(Rule::BreakBeforeMake) {
            self.published_release(group, purpose);
        }
    }

    /// Runs the transition table for one group and carries out what follows.
    pub(super) fn occur(&mut self, group: GroupKey, occurrence: Occurrence) {
        let Some(here) = self.groups.get_mut(&group) else { return };
        let before = here.holding;
        let (holding, consequence) = before.on(occurrence);
        here.holding = holding;
        self.kernel_work.note(self.env.now, before, holding);
        self.note_holding(group, holding);
        match consequence {
            Consequence::None => {}
            Consequence::Acquire(ticket) => {
                let further = self.admitted(group);
                self.env.actions.push(Action::Acquire { group, ticket, further });
            }
            Consequence::Release(ticket) => {
                self.announcements.stop(group);
                let action = self.parting(group, ticket);
                self.env.actions.push(action);
            }
            Consequence::Opened(epoch) => {
                self.confirm_shape(group);
                if let Some(here) = self.groups.get_mut(&group) {
                    self.unable_stale |= here.refused.take().is_some();
                    here.failures = 0;
                    here.following = Following::new(self.env.now);
                }
                self.report(Report::Acquired { group, epoch });
                self.start_announcing(group);
            }
            Consequence::Closed(epoch, purpose) => {
                self.report_released(group, epoch);
                self.remember_claimant(group);
                self.release_further(group, purpose);
                if self.enforces(Rule::BreakBeforeMake) {
                    self.published_release(group, purpose);
                }
                self.evaluate = true;
            }
            Consequence::Withdrawn(purpose) => {
                self.release_further(group, purpose);
                self.published_release(group, purpose);
                self.evaluate = true;
            }
            Consequence::Lost(epoch, failure) => {
                self.announcements.stop(group);
                self.report(Report::Released { group, epoch });
                self.disable(group, Inability::Kernel(failure));
                self.remember_claimant(group);
                self.release_further(group, Purpose::Free);
                self.published_release(group, Purpose::Free);
            }
        }
    }

    /// Publishes that a group has been let go, unless another has claimed it meanwhile.
    pub(super) fn published_release(&mut self, group: GroupKey, purpose: Purpose) {
        let tenure = match purpose {
            Purpose::MoveTo(to) => Tenure::MovingTo(to),
            Purpose::Free => self.successor(group),
            Purpose::GiveWay => return,
        };
        if self.kernel_has_elsewhere(group, group) {
            return;
        }
        let Some(claim) = self.claims.latest(group).copied() else { return };
        if self.ours(&claim) && claim.tenure == Tenure::Held {
            if tenure != Tenure::Free && !self.env.configuration.groups.contains_key(&group) {
                return self.give_further(&claim, tenure);
            }
            let mut revised = self.revised(&claim, tenure);
            if let Some(cause) = self.cause_of_release(group).filter(|_| tenure == Tenure::Free) {
                revised.cause = cause;
            }
            self.publish(revised);
        }
    }

    /// What those who could take a group that this node frees must know of it.
    fn cause_of_release(&self, group: GroupKey) -> Option<Cause> {
        let me = self.env.configuration.me;
        if !self.env.configuration.groups.contains_key(&group) {
            return Some(Cause::Removed(me));
        }
        let here = self.groups.get(&group)?;
        let conflicting = here.conflict.conflicting_host(self.env.now).is_some();
        (conflicting || here.is_withheld()).then_some(Cause::AddressConflict(me))
    }

    /// Whether a claim was written by this life of this node.
    pub(super) fn ours(&self, claim: &Claim) -> bool {
        claim.owner == self.env.configuration.me
            && claim.incarnation == self.env.configuration.incarnation
    }

    pub(super) fn disable(&mut self, group: GroupKey, why: Inability) {
        let backs_off = self.enforces(Rule::InabilityBackoff);
        let now = self.env.now;
        let Some(here) = self.groups.get_mut(&group) else { return };
        here.refused = Some(Refused::new(now, why, here.failures, backs_off));
        here.failures = here.failures.saturating_add(1);
        self.unable_stale = true;
        self.report(Report::Unable { group, why });
        self.evaluate = true;
    }

    /// Takes in a fact from the kernel.
    pub(super) fn on_kernel(&mut self, event: KernelEvent) {
        if let KernelEvent::Present { .. }
        | KernelEvent::Absent { .. }
        | KernelEvent::Failed { .. } = event
        {
            self.evaluate |= self.kernel_work.hangs();
            self.kernel_work.got_on(self.env.now);
        }
        match event {
            KernelEvent::Present { group, ticket } => {
                self.occur(group, Occurrence::Present(ticket));
            }
            KernelEvent::Absent { group, ticket } => {
                self.occur(group, Occurrence::Absent(ticket));
                self.forget_removed(group);
            }
            KernelEvent::Failed { group, ticket, failure } => {
                self.occur(group, Occurrence::Failed(ticket, failure));
                self.forget_removed(group);
            }
            KernelEvent::Repaired { group, remover } => self.repaired(group, remover),
            KernelEvent::Usable { group, usable } => self.link_changed(group, usable),
            KernelEvent::Attached { group, attachment } => self.attached(group, attachment),
            KernelEvent::Moved { group } => self.moved(group),
            KernelEvent::Reach(reach) => self.reached(reach),
            KernelEvent::Claimed { group, hardware, direct } => {
                self.claimed(group, hardware, direct);
            }
            KernelEvent::Hardware(told) => self.hardware = told.into_iter().flatten().collect(),
            KernelEvent::Verified { group, epoch, outcome } => {
                self.verified(group, epoch, outcome);
            }
            KernelEvent::Neighbours(hosts) => self.share_neighbours(&hosts),
            KernelEvent::ConnectionsRemain(remaining) => self.connections_remain(remaining),
            KernelEvent::Keepable { group, hardware } => {
                if let Some(here) = self.groups.get_mut(&group) {
                    here.keeper = Some(hardware);
                }
            }
            KernelEvent::Kept(counted) => self.preservation.note_counted(&counted),
            KernelEvent::Connections { group, connections } => {
                self.share_connections(group, &connections);
            }
        }
    }

    /// After a reload what was refused may be possible.
    pub(super) fn forget_refusals(&mut self) {
        self.groups.values_mut().for_each(|here| here.refused = None);
        (self.unable_stale, self.evaluate) = (true, true);
    }

    fn forget_removed(&mut self, group: GroupKey) {
        let idle = self.groups.get(&group).is_some_and(|here| here.holding == Holding::Idle);
        if idle && !self.env.configuration.groups.contains_key(&group) {
            self.forget(group);
        }
    }

    /// An address was taken away and put back: clients may have learned otherwise meanwhile. What
    /// this daemon's own guardian or lifetimes took is nobody's doing.
    fn repaired(&mut self, group: GroupKey, remover: Remover) {
        let now = self.env.now;
        let counts = remover == Remover::Somebody || !self.enforces(Rule::OwnRemovalsExcused);
        let Some(here) = self.groups.get_mut(&group) else { return };
        here.repairs.retain(|at| now.since(*at) < REPAIRS_WINDOW);
        if counts {
            here.repairs.push_back(now);
        }
        let (times, held) = (here.repairs.len(), matches!(here.holding, Holding::Held { .. }));
        let reported = u32::try_from(times).unwrap_or(u32::MAX);
        self.report(Report::Repaired { group, remover, times: reported });
        if !held {
            return;
        }
        if counts && times >= REPAIRS_MAX {
            self.disable(group, Inability::FlushWar);
            self.let_go(group, Purpose::Free);
        } else if self.enforces(Rule::AnnounceRepaired) {
            self.start_announcing(group);
        }
    }

    pub(super) fn start_announcing(&mut self, group: GroupKey) {
        if self.strict(group) && !self.leased(group) && self.enforces(Rule::LeaseFirst) {
            // When it has a lease again it is announced.
            return;
        }
        let addresses = self.env.configuration.groups.get(&group).map_or(1, Group::address_count);
        self.announcements.start(self.env.now, group, addresses);
    }

    /// Announces everything held again: others may have answered for it meanwhile.
    pub(super) fn announce_everything(&mut self) {
        let held: Vec<GroupKey> = self
            .groups
            .iter()
            .filter(|(_, here)| matches!(here.holding, Holding::Held { .. }))
            .map(|(group, _)| *group)
            .collect();
        for group in held {
            self.start_announcing(group);
        }
    }

    /// Sends the announcements that are due. A node that is not sure of itself is silent.
    pub(super) fn announce_what_is_due(&mut self) {
        if !matches!(self.phase, NodePhase::Active | NodePhase::Leaving) {
            return;
        }
        let pace = self.pace();
        while let Some(group) = self.announcements.next(self.env.now, pace, &mut self.env.random) {
            self.verify_what_is_announced(group);
            self.env.actions.push(Action::Announce { group });
            self.tickle_after_announcement(group);
        }
    }

    pub(super) fn pace(&self) -> super::announcements::Pace {
        let timing = &self.env.configuration.timing;
        let paced = self.enforces(Rule::AnnouncePacing);
        let refreshed = self.enforces(Rule::AnnounceRefresh);
        super::announcements::Pace {
            rate: if paced { timing.announce_rate } else { u32::MAX },
            refresh: if refreshed { timing.announce_refresh } else { Duration::from_secs(1 << 30) },
            repeats: self.enforces(Rule::AnnounceRepeats),
            coming: self.kernel_work.adding(),
        }
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// Follows a new list of groups.
    pub(super) fn regroup(&mut self) {
        let groups: Vec<GroupKey> = self.env.configuration.groups.keys().copied().collect();
        for group in groups {
            self.groups.entry(group).or_insert_with(GroupHere::new);
        }
        self.relayout();
        let removed: BTreeMap<GroupKey, Holding> = self
            .groups
            .iter()
            .filter(|(group, _)| !self.env.configuration.groups.contains_key(group))
            .map(|(group, here)| (*group, here.holding))
            .collect();
        for (group, holding) in removed {
            if holding == Holding::Idle {
                self.forget(group);
            } else {
                self.let_go(group, Purpose::Free);
            }
        }
        self.free_what_is_not_here();
    }

    /// Who is considered the owner of a group now, if that node lives.
    pub(super) fn current_owner(&self, group: GroupKey) -> Option<NodeId> {
        if self.vacancy(group).is_some() {
            return None;
        }
        self.claims.latest(group).and_then(holder)
    }
}
