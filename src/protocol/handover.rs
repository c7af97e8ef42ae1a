//! A planned move between two live nodes: break before make, acknowledged, pushed by the owner.
//!
//! ```text
//!   owner                                   receiver
//!     | Offer(token, groups) ------------------> |  repeated until answered
//!     | <---------------- OfferAnswer(accepted)  |  room is reserved
//!     | kernel removes the addresses             |
//!     | Claims(MovingTo(receiver)) ------------> |  repeated until acknowledged
//!     |                                          |  kernel adds, announces
//!     | <---------------------- Claims(Held)     |
//! ```
//!
//! While under way the group counts as the receiver's, so nobody else sees it without owner. If
//! the receiver dies or does not take, the owner takes back; if the owner dies after its release,
//! the receiver still takes; if it dies before, its heirs do.

use std::collections::BTreeMap;
use std::time::Duration;

use super::client_connections::NOT_KEPT;
use super::group::Purpose;
use super::node::Node;
use super::tally::Tally;
use super::types::{
    Action, Cause, GROUPS_PER_OFFER, GroupKey, HardwareAddress, Instant, Message, MoveReason,
    NodeId, NodePhase, Offer, OfferAnswer, Refusal, Report,
};

/// A receiver that declined is not offered anything for so many offer waits.
const DECLINED_WAITS: u32 = 8;

/// An offer under way. At most one for each receiver.
#[derive(Clone, Debug)]
pub(super) struct OfferOut {
    token: u32,
    pub(super) reason: MoveReason,
    pub(super) groups: Vec<GroupKey>,
    /// For each of them, see [`Offer::keepers`].
    keepers: Vec<HardwareAddress>,
    first_at: Instant,
    sent_at: Instant,
    /// Who ordered it, if an operator did.
    requester: Option<Requester>,
}

impl OfferOut {
    /// Who ordered it, if an operator did.
    pub(super) const fn requester(&self) -> Option<Requester> {
        self.requester
    }
}

/// Whoever waits for the outcome of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requester {
    /// An operator at this node, by ticket.
    Operator(u64),
    /// An operator at another node, by its ticket.
    Peer(NodeId, u64),
}

/// Room reserved for a group that was accepted and has not come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    pub(super) from: NodeId,
    reason: MoveReason,
    until: Instant,
    /// Where its owner keeps its connections, if it does.
    keeper: Option<HardwareAddress>,
}

impl Promise {
    /// Who keeps the connections of the group, and where; `None` if nobody does.
    pub(super) fn keeper(self) -> Option<(NodeId, HardwareAddress)> {
        self.keeper.map(|keeper| (self.from, keeper))
    }
}

impl Node {
    /// Offers groups to a receiver that has no other offer of this node under way.
    pub(super) fn offer(
        &mut self,
        to: NodeId,
        reason: MoveReason,
        mut groups: Vec<GroupKey>,
        requester: Option<Requester>,
    ) {
        groups.truncate(GROUPS_PER_OFFER);
        self.last_token = self.last_token.wrapping_add(1);
        let offer = OfferOut {
            token: self.last_token,
            reason,
            keepers: self.keepers(&groups, reason),
            groups,
            first_at: self.env.now,
            sent_at: self.env.now,
            requester,
        };
        self.send_offer(to, &offer);
        self.offers.insert(to, offer);
    }

    fn send_offer(&mut self, to: NodeId, offer: &OfferOut) {
        let message = Message::Offer(Offer {
            token: offer.token,
            reason: offer.reason,
            groups: offer.groups.clone(),
            keepers: offer.keepers.clone(),
        });
        self.env.actions.push(Action::Send { to, message });
    }

    /// Repeats offers that are not answered, and gives up those that will not be.
    pub(super) fn pursue_offers(&mut self) {
        let timing = self.env.configuration.timing;
        let receivers: Vec<NodeId> = self.offers.keys().copied().collect();
        for to in receivers {
            let Some(offer) = self.offers.get_mut(&to) else { continue };
            let unheard = !self.peers.get(&to).is_some_and(super::peers::Peer::alive);
            if unheard || self.env.now.since(offer.first_at) >= timing.offer_wait {
                self.offer_failed(to);
            } else if self.env.now.since(offer.sent_at) >= timing.retry {
                offer.sent_at = self.env.now;
                let offer = offer.clone();
                self.send_offer(to, &offer);
            }
        }
        let now = self.env.now;
        self.promises.retain(|_, promise| promise.until > now);
    }

    /// An offer has not been answered, or is not to be: whoever ordered it is told.
    pub(super) fn offer_failed(&mut self, to: NodeId) {
        let Some(offer) = self.offers.remove(&to) else { return };
        let groups = u16::try_from(offer.groups.len()).unwrap_or(u16::MAX);
        self.declined(to);
        self.report(Report::OfferFailed { to, groups, why: None });
        if let Some(requester) = offer.requester {
            self.answer(requester, Err(Refusal::ReceiverDeclined));
        }
    }

    fn declined(&mut self, by: NodeId) {
        let until = self.env.now + self.env.configuration.timing.offer_wait * DECLINED_WAITS;
        if let Some(peer) = self.peers.get_mut(&by) {
            peer.declined_until = until;
        }
    }

    /// Answers an offer: accepts what this node can take, and reserves room for it.
    pub(super) fn on_offer(&mut self, from: NodeId, offer: &Offer) {
        let classes = self.classes();
        let mut tallies: BTreeMap<usize, Tally> = BTreeMap::new();
        let until = self.env.now + self.env.configuration.timing.offer_wait * 4;
        let mut accepted = Vec::new();
        let forwards = self.env.configuration.preserve.is_some() && !offer.keepers.is_empty();
        let can_wait = matches!(
            offer.reason,
            MoveReason::Balance | MoveReason::Failback | MoveReason::Placement
        );
        let me = self.env.configuration.me;
        let mut at = self.whereabouts();
        for (index, group) in offer.groups.iter().enumerate() {
            let again = self.promises.get(group).is_some_and(|promise| promise.from == from);
            let free = !self.promises.contains_key(group) && self.can_take(*group);
            let free = free && self.unable(self.env.configuration.me, *group).is_none();
            let free = free && self.fit_for_offer(from, *group, offer.reason);
            let free = free && !(can_wait && self.holds_still());
            let free = free
                && match offer.reason {
                    MoveReason::Placement => self.accepts_for_company(from, *group, &at),
                    MoveReason::Balance | MoveReason::Failback => {
                        !self.worsens(*group, (from, me), offer.reason, &at)
                    }
                    MoveReason::Drain | MoveReason::Operator | MoveReason::Checks => true,
                };
            let class = classes.of_group(self, *group);
            let fits = offer.reason != MoveReason::Balance
                || again
                || (free && {
                    let counted = || self.tally_of(&classes, class);
                    let tally = tallies.entry(class).or_insert_with(counted);
                    self.accepts_for_balance(from, tally)
                });
            if (again || free) && fits {
                let keeper = offer.keepers.get(index).copied();
                let keeper = keeper.filter(|keeper| forwards && *keeper != NOT_KEPT);
                let promise = Promise { from, reason: offer.reason, until, keeper };
                self.promises.insert(*group, promise);
                self.place(&mut at, *group, me);
                accepted.push(*group);
            }
        }
        let declined = offer.groups.iter().filter(|group| !accepted.contains(group));
        let unable =
            declined.filter_map(|group| Some((*group, self.unable(me, *group)?))).collect();
        let token = offer.token;
        let message = Message::OfferAnswer(OfferAnswer { token, accepted, forwards, unable });
        self.env.actions.push(Action::Send { to: from, message });
    }

    /// The receiver has answered: lets go of what it accepted.
    pub(super) fn on_offer_answer(&mut self, from: NodeId, answer: &OfferAnswer) {
        if self.offers.get(&from).is_none_or(|offer| offer.token != answer.token) {
            return;
        }
        let Some(offer) = self.offers.remove(&from) else { return };
        self.note_declined(from, &offer.groups, &answer.unable);
        let mut given = 0_usize;
        let accepted = |(_, group): &(usize, &GroupKey)| answer.accepted.contains(group);
        for (index, group) in offer.groups.iter().enumerate().filter(accepted) {
            given += 1;
            let keeps = offer.keepers.get(index).is_some_and(|keeper| *keeper != NOT_KEPT);
            let keeps = keeps && answer.forwards && self.may_keep();
            // A failover does not wait, not even for this; what is kept needs not end.
            if offer.reason != MoveReason::Checks && !keeps {
                self.env.actions.push(Action::LetFinish { group: *group });
            }
            if let Some(here) = self.groups.get_mut(group) {
                here.hands = keeps;
            }
            self.let_go(*group, Purpose::MoveTo(from));
        }
        let kept = offer.groups.len() - given;
        if kept > 0 {
            self.declined(from);
            let groups = u16::try_from(kept).unwrap_or(u16::MAX);
            let why = answer.unable.first().copied();
            self.report(Report::OfferFailed { to: from, groups, why });
        }
        if let Some(requester) = offer.requester {
            let outcome = if given > 0 { Ok(()) } else { Err(Refusal::ReceiverDeclined) };
            self.answer(requester, outcome);
        }
    }

    /// Why a group comes to this node that its owner lets go for it.
    pub(super) fn promised_cause(&self, group: GroupKey, from: NodeId) -> Cause {
        match self.promises.get(&group).map(|promise| promise.reason) {
            Some(MoveReason::Balance) => Cause::Balance(from),
            Some(MoveReason::Operator) => Cause::Operator(from),
            Some(MoveReason::Failback) => Cause::Failback(from),
            Some(MoveReason::Checks) => Cause::Checks(from),
            Some(MoveReason::Placement) => Cause::Placement(from),
            Some(MoveReason::Drain) => Cause::Drain(from),
            None => Cause::HandedOver(from),
        }
    }

    /// When an offer must be repeated or given up.
    pub(super) fn offer_deadline(&self) -> Instant {
        let timing = &self.env.configuration.timing;
        self.offers
            .values()
            .map(|offer| (offer.sent_at + timing.retry).min(offer.first_at + timing.offer_wait))
            .min()
            .unwrap_or(Instant::NEVER)
    }

    /// Starts to leave: offers everything; what cannot be handed over in time is freed.
    pub(super) fn leave(&mut self) {
        match self.phase {
            NodePhase::Listening | NodePhase::Active | NodePhase::Isolated => {
                self.set_phase(NodePhase::Leaving);
                self.leave_by = self.env.now + LEAVE_WITHIN;
                self.preservation.end_by(self.leave_by);
            }
            // First it has to know what is still its own (seed 51962).
            NodePhase::Resuming => self.stopping = true,
            NodePhase::Leaving | NodePhase::Left => {}
        }
    }

    /// Leaving ends when nothing is held, what was given has been taken, and the connections that it
    /// had have ended or had their time.
    pub(super) fn proceed_leaving(&mut self) {
        match self.phase {
            NodePhase::Leaving => {}
            NodePhase::Left => return self.say_farewell(),
            NodePhase::Listening
            | NodePhase::Active
            | NodePhase::Resuming
            | NodePhase::Isolated => return,
        }
        let nobody = !self.peers.values().any(super::peers::Peer::takes);
        if nobody || self.env.now >= self.leave_by {
            let held: Vec<GroupKey> = self
                .groups
                .iter()
                .filter(|(_, here)| here.holding.meant())
                .map(|(group, _)| *group)
                .collect();
            for group in held {
                if !(nobody && self.yields_first(group)) {
                    self.let_go(group, Purpose::Free);
                }
            }
        }
        let idle = self.groups.values().all(|here| here.holding == super::group::Holding::Idle);
        let taken = self
            .peers
            .iter()
            .all(|(node, peer)| !peer.alive() || self.claims.is_acknowledged(*node));
        let overdue = self.env.now >= self.leave_by + LEAVE_WITHIN / 4;
        if overdue && !idle {
            // The kernel still answers: a good-bye would say that it does not.
            if self.env.now >= self.leave_by + LEAVE_AT_LAST {
                self.stopped();
            }
            return;
        }
        if (idle && taken && !self.preservation.is_keeping()) || overdue {
            self.set_phase(NodePhase::Left);
            self.farewells = super::membership::FAREWELLS - 1;
            self.farewell_due = self.env.now + self.env.configuration.timing.retry;
        }
    }

    fn say_farewell(&mut self) {
        if self.env.now < self.farewell_due {
            return;
        }
        if self.farewells == 0 || self.peers.is_empty() {
            self.farewell_due = Instant::NEVER;
            self.stopped();
            return;
        }
        self.farewells -= 1;
        self.farewell_due = self.env.now + self.env.configuration.timing.retry;
        self.beat(false);
    }

    /// When leaving must go on by time alone.
    pub(super) fn leave_deadline(&self) -> Instant {
        match self.phase {
            NodePhase::Leaving => [Duration::ZERO, LEAVE_WITHIN / 4, LEAVE_AT_LAST]
                .into_iter()
                .map(|after| self.leave_by + after)
                .find(|due| *due > self.env.now)
                .unwrap_or(Instant::NEVER)
                .min(self.yield_deadline()),
            NodePhase::Left => self.farewell_due,
            NodePhase::Listening
            | NodePhase::Active
            | NodePhase::Resuming
            | NodePhase::Isolated => Instant::NEVER,
        }
    }
}

/// Time to hand over before a leaving node simply lets go; with the quarter after it and the
/// good-byes a stop stays below the 2 s that the service manager is told.
const LEAVE_WITHIN: Duration = Duration::from_millis(1400);
/// After that, a kernel that still has addresses is waited for so long; then the daemon ends without
/// a good-bye.
const LEAVE_AT_LAST: Duration = Duration::from_millis(500);
