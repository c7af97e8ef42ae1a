//! Operators' orders: done here, or carried as an errand to the node that can.

use std::time::Duration;

use super::action::Action;
use super::handover::Requester;
use super::identity::{GroupKey, NodeId};
use super::instant::Instant;
use super::message::{Errand, ErrandAnswer, Message, MoveReason, NodePhase, Order, Refusal};
use super::node::Node;
use super::rules::Rule;

/// An errand that is not answered by then has failed.
const ERRAND_WAIT: Duration = Duration::from_secs(2);
/// Errands under way at most; more are refused as busy.
const ERRANDS_MAX: usize = 64;

/// An order under way to another node.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrandOut {
    to: NodeId,
    order: Order,
    first_at: Instant,
    sent_at: Instant,
}

impl Node {
    /// Takes in an order of an operator at this node.
    pub(super) fn ordered_here(&mut self, ticket: u64, order: Order) {
        let requester = Requester::Operator(ticket);
        match self.executor(order) {
            Err(refusal) => self.answer(requester, Err(refusal)),
            Ok(node) if node == self.configuration.me => self.execute(requester, order),
            Ok(_) if self.errands.len() >= ERRANDS_MAX => {
                self.answer(requester, Err(Refusal::Busy));
            }
            Ok(to) => {
                let errand = ErrandOut { to, order, first_at: self.now, sent_at: self.now };
                self.errands.insert(ticket, errand);
                self.send_errand(ticket, errand);
            }
        }
    }

    /// The node that can execute an order.
    fn executor(&self, order: Order) -> Result<NodeId, Refusal> {
        let node = match order {
            Order::Drain(node) | Order::DrainNow(node) | Order::Undrain(node) => {
                if !self.configuration.nodes.contains_key(&node) {
                    return Err(Refusal::UnknownNode);
                }
                node
            }
            Order::Move { group, to } => {
                if !self.configuration.nodes.contains_key(&to) {
                    return Err(Refusal::UnknownNode);
                }
                if !self.configuration.groups.contains_key(&group) {
                    return Err(Refusal::UnknownGroup);
                }
                self.current_owner(group).ok_or(Refusal::NobodyOwns)?
            }
        };
        let here = node == self.configuration.me;
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
        if to == self.configuration.me {
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
        if self.fitness_for(to, group) > self.fitness_for(self.configuration.me, group)
            && self.holds(Rule::UnfitGetsNothing)
        {
            return Err(Err(Refusal::ReceiverUnfit));
        }
        let meant = self.groups.get(&group).is_some_and(|here| here.holding.meant());
        let offered = self.offers.values().any(|offer| offer.groups.contains(&group));
        if !meant || offered || self.rests(group) || self.offers.contains_key(&to) {
            return Err(Err(Refusal::Busy));
        }
        if !self.may_leave(group, MoveReason::Operator) {
            self.order_at_gate(group, to);
            return Err(Ok(()));
        }
        self.offer(to, MoveReason::Operator, vec![group], requester);
        Ok(())
    }

    /// Takes in an errand from a peer. Repeats do no harm: what is done already is answered so.
    pub(super) fn on_errand(&mut self, from: NodeId, errand: Errand) {
        let requester = Requester::Peer(from, errand.ticket);
        match errand.order {
            Order::Move { to, group } if self.current_owner(group) == Some(to) => {
                self.answer(requester, Ok(()));
            }
            Order::Move { group, .. } if self.moving_for(requester, group) => {}
            Order::Drain(node) | Order::DrainNow(node) | Order::Undrain(node)
                if node != self.configuration.me =>
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
                let message = Message::ErrandAnswer(ErrandAnswer { ticket, outcome });
                Action::Send { to, message }
            }
        };
        self.actions.push(action);
    }

    /// Repeats errands that are not answered, and gives up those that will not be.
    pub(super) fn pursue_errands(&mut self) {
        let tickets: Vec<u64> = self.errands.keys().copied().collect();
        for ticket in tickets {
            let Some(errand) = self.errands.get_mut(&ticket) else { continue };
            if self.now.since(errand.first_at) >= ERRAND_WAIT {
                self.errands.remove(&ticket);
                self.answer(Requester::Operator(ticket), Err(Refusal::Unreachable));
            } else if self.now.since(errand.sent_at) >= self.configuration.timing.heartbeat {
                errand.sent_at = self.now;
                let errand = *errand;
                self.send_errand(ticket, errand);
            }
        }
    }

    fn send_errand(&mut self, ticket: u64, errand: ErrandOut) {
        let message = Message::Errand(Errand { ticket, order: errand.order });
        self.actions.push(Action::Send { to: errand.to, message });
    }

    /// When an errand must be repeated or given up.
    pub(super) fn errand_deadline(&self) -> Instant {
        let retry = self.configuration.timing.heartbeat;
        self.errands
            .values()
            .map(|errand| (errand.sent_at + retry).min(errand.first_at + ERRAND_WAIT))
            .min()
            .unwrap_or(Instant::NEVER)
    }
}
