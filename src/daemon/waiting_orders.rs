//! Orders of operators whose outcome the core does not know yet, and who waits for each.

use std::collections::BTreeMap;

use super::inbox::OrderReply;
use crate::protocol::Refusal;

/// People give orders one at a time.
const ORDERS_MAX: usize = 64;

/// Who waits, by the ticket under which the core has the order.
#[derive(Default)]
pub(super) struct WaitingOrders {
    waiting: BTreeMap<u64, OrderReply>,
    last: u64,
}

impl WaitingOrders {
    /// Returns the ticket for an order, or refuses it as one too many.
    pub(super) fn admit(&mut self, reply: OrderReply) -> Option<u64> {
        if self.waiting.len() >= ORDERS_MAX {
            self.waiting.retain(|_, waiting| !waiting.is_closed());
        }
        if self.waiting.len() >= ORDERS_MAX {
            // Whoever asked may be gone when the answer comes; that is no concern of the loop.
            let _ = reply.send(Err(Refusal::Busy));
            return None;
        }
        self.last += 1;
        self.waiting.insert(self.last, reply);
        Some(self.last)
    }

    /// Answers whoever waits for this order.
    pub(super) fn answer(&mut self, ticket: u64, outcome: Result<(), Refusal>) {
        if let Some(reply) = self.waiting.remove(&ticket) {
            let _ = reply.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn one_order_too_many_is_refused_and_those_who_left_make_room() {
        let mut orders = WaitingOrders::default();
        let mut replies = Vec::new();
        for ticket in 1..=64 {
            let (reply, outcome) = oneshot::channel();
            assert_eq!(orders.admit(reply), Some(ticket));
            replies.push(outcome);
        }
        let (reply, mut outcome) = oneshot::channel();
        assert_eq!(orders.admit(reply), None);
        assert_eq!(outcome.try_recv(), Ok(Err(Refusal::Busy)));
        drop(replies.pop());
        let (reply, mut outcome) = oneshot::channel();
        assert_eq!(orders.admit(reply), Some(65));
        orders.answer(65, Ok(()));
        assert_eq!(outcome.try_recv(), Ok(Ok(())));
    }
}
