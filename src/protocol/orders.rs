//! Operators' orders: done here, or carried as an errand to the node that can, or known to all while
//! they stand.

use std::collections::BTreeMap;
use std::time::Duration;

use super::handover::Requester;
use super::node::Node;
use super::types::{
    Action, Errand, ErrandAnswer, GroupKey, Instant, Lasting, Message, MoveReason, NodeId,
    NodePhase, Order, Refusal, Rule, StandingChange, StandingOrder,
};

/// An errand that is not answered by then has failed.
const ERRAND_WAIT: Duration = Duration::from_secs(2);
/// Errands under way at most; more are refused as busy.
const ERRANDS_MAX: usize = 64;
/// Errands of one peer that are remembered: twice as many as it can have under way.
const ERRANDS_KEPT: usize = 2 * ERRANDS_MAX;

/// An order under way to another node.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrandOut {
    to: NodeId,
    order: Order,
    first_at: Instant,
    sent_at: Instant,
}

/// Orders that a peer has carried here in one life of it, so that a repeat that comes late, or twice,
/// is not carried out again.
#[derive(Clone, Debug, Default)]
pub(super) struct ErrandsIn {
    /// The last ones by ticket, with their outcomes; `None` while they are under way.
    known: BTreeMap<u64, Option<Result<(), Refusal>>>,
    /// Tickets up to this one are forgotten: what still comes of them is late.
    forgotten: Option<u64>,
    /// The last order to drain or not to drain.
    drain: Option<u64>,
}

/// What is to be done with an errand that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// It is new: carry it out.
    New,
    /// It was carried out, or another order to this node has replaced it: this is the answer.
    Done(Result<(), Refusal>),
    /// It is under way, or so late that nobody waits for its answer.
    Ignored,
}

impl ErrandsIn {
    fn arrive(&mut self, ticket: u64, order: Order) -> Arrival {
        match self.known.get(&ticket) {
            Some(Some(outcome)) => return Arrival::Done(*outcome),
            Some(None) => return Arrival::Ignored,
            None if self.forgotten >= Some(ticket) => return Arrival::Ignored,
            None => {}
        }
        if !matches!(order, Order::Move { .. }) {
            if self.drain > Some(ticket) {
                return Arrival::Done(Ok(()));
            }
            self.drain = Some(ticket);
        }
        self.known.insert(ticket, None);
        if self.known.len() > ERRANDS_KEPT
            && let Some((oldest, _)) = self.known.pop_first()
        {
            self.forgotten = Some(oldest);
        }
        Arrival::New
    }

    fn answered(&mut self, ticket: u64, outcome: Result<(), Refusal>) {
        if let Some(known) = self.known.get_mut(&ticket) {
            *known = Some(outcome);
        }
    }
}

impl Node {
    /// Takes in an order of an operator at this node.
    pub(super) fn ordered_here(&mut self, ticket: u64, order: Order) {
        let requester = Requester::Operator(ticket);
        match self.executor(order) {
            Err(refusal) => self.answer(requester, Err(refusal)),
            Ok(node) if node == self.env.configuration.me => self.execute(requester, order),
            Ok(_) if self.errands.len() >= ERRANDS_MAX => {
                self.answer(requester, Err(Refusal::Busy));
            }
            Ok(to) => {
                let errand = ErrandOut { to, order, first_at: self.env.now, sent_at: self.env.now };
                self.errands.insert(ticket, errand);
                self.send_errand(ticket, errand);
            }
        }
    }

    /// The node that can execute an order.
    fn executor(&self, order: Order) -> Result<NodeId, Refusal> {
        let node = match order {
            Order::Drain(node) | Order::DrainNow(node) | Order::Undrain(node) => {
                if !self.env.configuration.nodes.contains_key(&node) {
                    return Err(Refusal::UnknownNode);
                }
                node
            }
            Order::Move { group, to } => {
                if !self.env.configuration.nodes.contains_key(&to) {
                    return Err(Refusal::UnknownNode);
                }
                if !self.env.configuration.groups.contains_key(&group) {
                    return Err(Refusal::UnknownGroup);
                }
                self.current_owner(group).ok_or(Refusal::NobodyOwns)?
            }
        };
        let here = node == self.env.configuration.me;
        if here || self.peers.get(&node).is_some_and(super::peers::Peer::alive) {
            Ok(node)
        } else {
            Err(Refusal::Unreachable)
        }
    }

    fn execute(&mut self, requester: Requester, order: Order) {
        match order {
            Order::Drain(_) | Order::DrainNow(_) | Order::Undrain(_) => {
                let on = !matches!(order, Order::Undrain(_));
                self.drain(on, matches!(order, Order::Drain(_)));
                self.answer(requester, Ok(()));
            }
            Order::Move { group, to } => {
                if let Err(outcome) = self.start_move(Some(requester), group, to) {
                    self.answer(requester, outcome);
                }
            }
        }
    }

    /// Starts an ordered move; `Err` is its immediate outcome.
    pub(super) fn start_move(
        &mut self,
        requester: Option<Requester>,
        group: GroupKey,
        to: NodeId,
    ) -> Result<(), Result<(), Refusal>> {
        if self.phase != NodePhase::Active {
            return Err(Err(Refusal::NotReady));
        }
        if to == self.env.configuration.me {
            return Err(Ok(()));
        }
        let Some(peer) = self.peers.get(&to) else { return Err(Err(Refusal::UnknownNode)) };
        if !self.owns(to) {
            return Err(Err(Refusal::ReceiverIsWitness));
        }
        if !peer.alive() {
            return Err(Err(Refusal::ReceiverDown));
        }
        if peer.said.draining || peer.said.phase == Some(NodePhase::Leaving) {
            return Err(Err(Refusal::ReceiverDraining));
        }
        if self.fitness_for(to, group) > self.fitness_for(self.env.configuration.me, group)
            && self.enforces(Rule::UnfitGetsNothing)
        {
            return Err(Err(Refusal::ReceiverUnfit));
        }
        if self.unable(to, group).is_some() {
            return Err(Err(Refusal::ReceiverUnable));
        }
        let meant = self.groups.get(&group).is_some_and(|here| here.holding.meant());
        let offered = self.offers.values().any(|offer| offer.groups.contains(&group));
        let rests = self.rests(group) && !self.keeps_briefly();
        if !meant || offered || rests || self.offers.contains_key(&to) {
            return Err(Err(Refusal::Busy));
        }
        if !self.may_leave(group, MoveReason::Operator) {
            self.order_at_gate(group, to);
            return Err(Ok(()));
        }
        self.offer(to, MoveReason::Operator, vec![group], requester);
        Ok(())
    }

    /// Takes in an errand from a peer. A repeat is answered as the first was, and not carried out.
    pub(super) fn on_errand(&mut self, from: NodeId, errand: Errand) {
        let requester = Requester::Peer(from, errand.ticket);
        let remembers = self.enforces(Rule::ErrandsOnce);
        if let Some(peer) = self.peers.get_mut(&from).filter(|_| remembers) {
            match peer.errands.arrive(errand.ticket, errand.order) {
                Arrival::New => {}
                Arrival::Done(outcome) => return self.answer(requester, outcome),
                Arrival::Ignored => return,
            }
        }
        match errand.order {
            Order::Move { to, group } if self.current_owner(group) == Some(to) => {
                self.answer(requester, Ok(()));
            }
            Order::Move { group, .. } if self.moving_for(requester, group) => {}
            Order::Drain(node) | Order::DrainNow(node) | Order::Undrain(node)
                if node != self.env.configuration.me =>
            {
                self.answer(requester, Err(Refusal::UnknownNode));
            }
            Order::Drain(_) | Order::DrainNow(_) | Order::Undrain(_) | Order::Move { .. } => {
                self.execute(requester, errand.order);
            }
        }
    }

    fn moving_for(&self, requester: Requester, group: GroupKey) -> bool {
        self.offers
            .values()
            .any(|offer| offer.groups.contains(&group) && offer.requester() == Some(requester))
    }

    /// Takes in the answer to an errand.
    pub(super) fn on_errand_answer(&mut self, from: NodeId, answer: ErrandAnswer) {
        if self.errands.get(&answer.ticket).is_some_and(|errand| errand.to == from) {
            self.errands.remove(&answer.ticket);
            self.answer(Requester::Operator(answer.ticket), answer.outcome);
        }
    }

    /// Tells whoever ordered something what became of it.
    pub(super) fn answer(&mut self, requester: Requester, outcome: Result<(), Refusal>) {
        let action = match requester {
            Requester::Operator(ticket) => Action::Answer { ticket, outcome },
            Requester::Peer(to, ticket) => {
                if let Some(peer) = self.peers.get_mut(&to) {
                    peer.errands.answered(ticket, outcome);
                }
                let message = Message::ErrandAnswer(ErrandAnswer { ticket, outcome });
                Action::Send { to, message }
            }
        };
        self.env.actions.push(action);
    }

    /// Repeats errands that are not answered, and gives up those that will not be.
    pub(super) fn pursue_errands(&mut self) {
        let tickets: Vec<u64> = self.errands.keys().copied().collect();
        for ticket in tickets {
            let Some(errand) = self.errands.get_mut(&ticket) else { continue };
            if self.env.now.since(errand.first_at) >= ERRAND_WAIT {
                self.errands.remove(&ticket);
                self.answer(Requester::Operator(ticket), Err(Refusal::Unreachable));
            } else if self.env.now.since(errand.sent_at) >= self.env.configuration.timing.heartbeat
            {
                errand.sent_at = self.env.now;
                let errand = *errand;
                self.send_errand(ticket, errand);
            }
        }
    }

    fn send_errand(&mut self, ticket: u64, errand: ErrandOut) {
        let message = Message::Errand(Errand { ticket, order: errand.order });
        self.env.actions.push(Action::Send { to: errand.to, message });
    }

    /// When an errand must be repeated or given up.
    pub(super) fn errand_deadline(&self) -> Instant {
        let retry = self.env.configuration.timing.heartbeat;
        self.errands
            .values()
            .map(|errand| (errand.sent_at + retry).min(errand.first_at + ERRAND_WAIT))
            .min()
            .unwrap_or(Instant::NEVER)
    }
}

impl Node {
    /// Does what an operator at this node wants of standing orders.
    pub(super) fn change_standing(&mut self, ticket: u64, change: StandingChange) {
        let unknown = |node: NodeId| !self.env.configuration.nodes.contains_key(&node);
        let refused = match change {
            StandingChange::Give { what: Lasting::Drain(node), .. } if unknown(node) => {
                Err(Refusal::UnknownNode)
            }
            StandingChange::Give { .. } | StandingChange::End(_) => {
                self.standing_orders.change(&mut self.env, change)
            }
        };
        let outcome = refused.map(|tell| {
            for id in tell {
                self.standing_orders.turn_to(id);
                self.beat(false);
            }
        });
        self.answer(Requester::Operator(ticket), outcome);
    }

    /// Takes in the standing order that a heartbeat carried. One that this node has not known, or has
    /// forgotten in a restart, is carried out if it is to outlast that.
    pub(super) fn learn_standing(&mut self, from: NodeId, said: &StandingOrder) {
        if !self.peers.get(&from).is_some_and(|peer| peer.listed) {
            return;
        }
        self.recall_standing(said);
    }

    /// Tells a node that has just been made of a standing order that was in force before its host was
    /// restarted. Called before the first step, if at all.
    pub fn recall_standing(&mut self, said: &StandingOrder) {
        let new = self.standing_orders.learn(&mut self.env, said);
        if new && said.persists && said.what == Lasting::Drain(self.env.configuration.me) {
            self.drain(true, true);
        }
    }

    /// Ends what has stood for its time: this node owns groups again if it drained for that time.
    pub(super) fn revise_standing(&mut self) {
        let me = self.env.configuration.me;
        if self.standing_orders.expire(&mut self.env).contains(&Lasting::Drain(me)) {
            self.drain(false, false);
        }
    }

    /// Returns whether no group is to be handed over for balance or as fail-back.
    pub(super) fn holds_still(&self) -> bool {
        self.standing_orders.stands(Lasting::Hold) && self.enforces(Rule::HoldStands)
    }

    /// Returns the orders that stand now, as this node knows them.
    #[must_use]
    pub fn standing_orders(&self, now: Instant) -> Vec<StandingOrder> {
        self.standing_orders.in_force(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Order = Order::Drain(NodeId(2));
    const UNDRAIN: Order = Order::Undrain(NodeId(2));
    const MOVE: Order = Order::Move { group: GroupKey(1), to: NodeId(3) };

    #[test]
    fn what_comes_of_each_errand() {
        let done = Arrival::Done;
        let busy = Err(Refusal::Busy);
        // (ticket, order, what becomes of it, how it is answered if it is carried out)
        let table = [
            (5, DRAIN, Arrival::New, Some(Ok(()))),
            (5, DRAIN, done(Ok(())), None),
            (7, UNDRAIN, Arrival::New, Some(Ok(()))),
            (5, DRAIN, done(Ok(())), None),
            (6, DRAIN, done(Ok(())), None),
            (4, MOVE, Arrival::New, None),
            (4, MOVE, Arrival::Ignored, Some(busy)),
            (4, MOVE, done(busy), None),
            (8, DRAIN, Arrival::New, Some(Ok(()))),
        ];
        let mut errands = ErrandsIn::default();
        for (line, (ticket, order, expected, answer)) in table.into_iter().enumerate() {
            assert_eq!(errands.arrive(ticket, order), expected, "line {line}");
            if let Some(outcome) = answer {
                errands.answered(ticket, outcome);
            }
        }
    }

    #[test]
    fn what_is_forgotten_is_late() {
        let mut errands = ErrandsIn::default();
        let kept = u64::try_from(ERRANDS_KEPT).unwrap();
        for ticket in 1..=kept + 2 {
            assert_eq!(errands.arrive(ticket, MOVE), Arrival::New);
        }
        assert_eq!(errands.arrive(2, MOVE), Arrival::Ignored);
        assert_eq!(errands.arrive(3, MOVE), Arrival::Ignored);
        errands.answered(3, Ok(()));
        assert_eq!(errands.arrive(3, MOVE), Arrival::Done(Ok(())));
    }
}
