//! Orders of planned moves: those of many groups are carried out together, since every transaction of
//! nf_tables costs as much for one address as for a thousand.

use tokio::sync::mpsc::UnboundedReceiver;

use super::{ORDERS_MAX, Shell};
use crate::kernel::{Order, handing};
use crate::protocol::{GroupKey, HardwareAddress, Ticket};

/// Orders that wait for others of their kind.
#[derive(Debug, Default)]
struct Moves {
    hands: Vec<(GroupKey, Ticket)>,
    forwards: Vec<(GroupKey, Option<HardwareAddress>)>,
}

impl Shell {
    /// Carries out an order and those that have come after it. Returns whether to go on.
    pub(super) fn obey_all(&mut self, first: Order, orders: &mut UnboundedReceiver<Order>) -> bool {
        let mut moves = Moves::default();
        let mut next = Some(first);
        for _ in 0..ORDERS_MAX {
            let Some(order) = next.take().or_else(|| orders.try_recv().ok()) else { break };
            if let Order::Hand(group, ticket) = order {
                moves.hands.push((group, ticket));
                continue;
            }
            if let Order::Forward(group, to) = order {
                moves.forwards.push((group, to));
                continue;
            }
            // The addresses of what is acquired come when all orders have been taken.
            if !(matches!(order, Order::Acquire(..)) && moves.hands.is_empty()) {
                self.carry_out(std::mem::take(&mut moves));
            }
            if !self.obey(order) {
                return false;
            }
        }
        self.carry_out(moves);
        true
    }

    fn carry_out(&mut self, moves: Moves) {
        if !moves.hands.is_empty() {
            self.hand(moves.hands);
        }
        if !moves.forwards.is_empty() {
            self.forward(moves.forwards);
        }
    }

    pub(super) fn hand(&mut self, groups: Vec<(GroupKey, Ticket)>) {
        for (group, _) in &groups {
            self.verifier.stop(*group);
            self.connections.stop(*group);
        }
        let told = self.handing.hand(groups, &mut self.reconciler, &mut self.fence);
        told.into_iter().for_each(|event| self.tell(event));
    }

    pub(super) fn forward(&mut self, orders: Vec<(GroupKey, Option<HardwareAddress>)>) {
        handing::forward(orders, &self.reconciler, &mut self.fence);
    }
}
