//! `buoy undo`: what takes back the last orders of each user.
//!
//! The node that was asked for an order remembers it until its daemon restarts; nothing of it is on
//! the wire. Taking back is an order like any other, which the protocol may refuse.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::inquiry::{ANSWER_WAIT, Inquirer, Inquiry, find_group, find_node};
use super::request::Request;
use super::response::{Done, Rejected};
use crate::protocol::{GroupKey, Lasting, NodeId, Order, StandingChange};

/// Orders that are remembered, of all users together.
const ORDERS_MAX: usize = 64;
/// Time for the groups that a drain has moved to come back; what is not back then is left to
/// balance and fail-back. A planned move takes milliseconds.
pub(super) const RETURN_WAIT: Duration = Duration::from_secs(20);
/// Between two looks at which of them are back.
const LOOK: Duration = Duration::from_millis(100);

/// What takes back an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Undo {
    /// Undrain the node and move back to it what it had.
    Undrain { node: NodeId, had: Vec<GroupKey> },
    /// Drain the node again.
    Drain { node: NodeId },
    /// Move the group back to where it was.
    Move { group: GroupKey, to: NodeId },
    /// End the hold.
    Release,
}

/// The last orders and who gave them.
#[derive(Debug, Default)]
pub(super) struct OrdersGiven(Mutex<VecDeque<(u32, Undo)>>);

impl OrdersGiven {
    /// Remembers what takes back an order of this user; the oldest of all is forgotten.
    pub(super) fn remember(&self, user: u32, undo: Undo) {
        let mut orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.len() == ORDERS_MAX {
            orders.pop_front();
        }
        orders.push_back((user, undo));
    }

    /// Takes the last order of this user.
    fn take(&self, user: u32) -> Option<Undo> {
        let mut orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = orders.iter().rposition(|(by, _)| *by == user)?;
        orders.remove(at).map(|(_, undo)| undo)
    }
}

impl Inquirer {
    /// What would take back this request, to be asked before it is carried out; `None` if nothing
    /// would, because it changes nothing or is no order.
    pub(super) async fn foresee_undo(&self, request: &Request) -> Option<Undo> {
        let names = self.names();
        let seen = self.ask(ANSWER_WAIT, |reply| Inquiry::Status { reply }).await.ok()?;
        let drains =
            |node: NodeId| seen.status.nodes.iter().any(|one| one.node == node && one.draining);
        match request {
            Request::Drain { node, .. } => {
                let node = find_node(&names, node.as_deref()).ok()?;
                let groups = seen.status.groups.iter();
                let had = groups.filter(|one| one.owner == Some(node)).map(|one| one.group);
                (!drains(node)).then(|| Undo::Undrain { node, had: had.collect() })
            }
            Request::Undrain { node } => {
                let node = find_node(&names, node.as_deref()).ok()?;
                drains(node).then_some(Undo::Drain { node })
            }
            Request::Move { group, node } => {
                let group = find_group(&names, group).ok()?;
                let to = find_node(&names, Some(node)).ok()?;
                let owner = seen.status.groups.iter().find(|one| one.group == group)?.owner?;
                (owner != to).then_some(Undo::Move { group, to: owner })
            }
            Request::Hold { .. } => {
                let held = seen.orders.iter().any(|order| order.what == Lasting::Hold);
                (!held).then_some(Undo::Release)
            }
            Request::Status { .. }
            | Request::Events { .. }
            | Request::Explain { .. }
            | Request::Upgrade { .. }
            | Request::Release {}
            | Request::Undo {}
            | Request::Plan { .. }
            | Request::Reload {} => None,
        }
    }

    /// Takes back the last order that this user has given here.
    pub(super) async fn undo(&self, given: &OrdersGiven, user: u32) -> Result<Done, Rejected> {
        let Some(undo) = given.take(user) else {
            let reason = "this node remembers no order of yours that could be taken back; orders are \
                          remembered by the node that was asked, until its daemon restarts";
            return Err(Rejected::new("nothing_to_undo", reason));
        };
        match undo {
            Undo::Undrain { node, had } => {
                let done = self.order("undrain", Order::Undrain(node)).await?;
                self.stand(StandingChange::End(Lasting::Drain(node))).await?;
                self.bring_back(node, had).await?;
                Ok(done)
            }
            Undo::Drain { node } => self.order("drain", Order::Drain(node)).await,
            Undo::Move { group, to } => self.order("move", Order::Move { group, to }).await,
            Undo::Release => self.release().await,
        }
    }

    /// Moves these groups to a node, each as soon as its owner agrees: that the node does not drain
    /// any more must have reached the others first.
    async fn bring_back(&self, node: NodeId, mut had: Vec<GroupKey>) -> Result<(), Rejected> {
        let until = Instant::now() + RETURN_WAIT;
        while !had.is_empty() && Instant::now() < until {
            let seen = self.ask(ANSWER_WAIT, |reply| Inquiry::Status { reply }).await?;
            had.retain(|group| {
                let mut groups = seen.status.groups.iter();
                groups.any(|one| one.group == *group && one.owner != Some(node))
            });
            for group in &had {
                // Refused while it moves, or where the receiver cannot have it: tried again.
                let _refused = self.order("move", Order::Move { group: *group, to: node }).await;
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::node;
    use super::*;

    #[test]
    fn the_last_order_of_a_user_is_taken_and_the_oldest_is_forgotten() {
        let given = OrdersGiven::default();
        let drain = |name: &str| Undo::Drain { node: node(name) };
        given.remember(1, drain("lb1"));
        given.remember(2, drain("lb2"));
        given.remember(1, drain("lb3"));
        assert_eq!(given.take(1), Some(drain("lb3")));
        assert_eq!(given.take(1), Some(drain("lb1")));
        assert_eq!(given.take(1), None);
        for _ in 0..ORDERS_MAX {
            given.remember(3, Undo::Release);
        }
        assert_eq!(given.take(2), None);
    }
}
