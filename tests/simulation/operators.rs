//! What people do to a cluster: drain, undrain, move, stop, roll out files.

use std::collections::BTreeMap;

use buoy::protocol::{Order, StandingChange};

use crate::cluster::{Cluster, Happening};
use crate::draw::{MILLISECOND, SECOND};
use crate::faults::Ending;
use crate::host::Inbound;
use crate::trace::note;

/// Every order gets an answer within this.
const ANSWER_WITHIN: u64 = 10 * SECOND;
/// A daemon told to stop has stopped within this.
pub(crate) const STOP_WITHIN: u64 = 3 * SECOND;

/// An order that has not been answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outstanding {
    host: usize,
    life: u64,
    since: u64,
}

/// Orders that have not been answered, by ticket.
pub(crate) type Orders = BTreeMap<u64, Outstanding>;

impl Cluster {
    /// Gives an order to the daemon of a host; tells its ticket.
    pub(crate) fn order(&mut self, host: usize, order: Order) -> Option<u64> {
        let ticket = self.next_ticket(host)?;
        note!(self, "operator at n{host}: {order:?} ({ticket})");
        self.hand_over(host, Inbound::Ordered { ticket, order });
        Some(ticket)
    }

    /// Gives a standing order to the daemon of a host, or ends one.
    pub(crate) fn stand(&mut self, host: usize, change: StandingChange) {
        let Some(ticket) = self.next_ticket(host) else { return };
        note!(self, "operator at n{host}: {change:?} ({ticket})");
        self.hand_over(host, Inbound::Standing { ticket, change });
    }

    /// Returns the number of an order that is to be answered; `None` if nobody takes it.
    fn next_ticket(&mut self, host: usize) -> Option<u64> {
        if self.hosts[host].node.is_none() || self.hosts[host].stopping_since.is_some() {
            return None;
        }
        self.safety.last_order += 1;
        let outstanding = Outstanding { host, life: self.hosts[host].life, since: self.now };
        self.safety.orders.insert(self.safety.last_order, outstanding);
        Some(self.safety.last_order)
    }

    /// An order has been answered: once, and by the daemon that was asked.
    pub(crate) fn check_answer(&mut self, host: usize, ticket: u64) {
        match self.safety.orders.remove(&ticket) {
            Some(order) if order.host == host => {}
            Some(_) | None => {
                self.flag("answer", format!("n{host} answers {ticket}, which is not open"));
            }
        }
    }

    /// Orders that wait for too long, and daemons that do not stop.
    pub(crate) fn check_patience(&mut self) {
        let hosts = &self.hosts;
        self.safety.orders.retain(|_, order| hosts[order.host].life == order.life);
        let now = self.now;
        let waits = |host: usize, since: u64, limit: u64| {
            let resumed = self.safety.hosts[host].resumed_at.max(since);
            hosts[host].is_running() && now.saturating_sub(resumed) > limit
        };
        let late = self.safety.orders.iter();
        let late = late.filter(|(_, order)| waits(order.host, order.since, ANSWER_WITHIN));
        let late = late.map(|(ticket, order)| (*ticket, order.host)).next();
        let stuck = (0..hosts.len()).find(|host| {
            hosts[*host].stopping_since.is_some_and(|since| waits(*host, since, STOP_WITHIN))
        });
        if let Some((ticket, host)) = late {
            self.flag("answer", format!("n{host} has not answered order {ticket} in time"));
        }
        if let Some(host) = stuck {
            self.flag("H54", format!("n{host} has not stopped in time"));
        }
    }

    /// SIGTERM; the daemon starts again after `length`, if one is given.
    pub(crate) fn stop(&mut self, host: usize, length: Option<u64>) {
        if let Some(length) = length.filter(|_| self.options.in_place) {
            self.restart_in_place(host, length % SECOND);
            return;
        }
        let this = &mut self.hosts[host];
        if this.node.is_none() || this.stopping_since.is_some() {
            return;
        }
        this.stopping_since = Some(self.now);
        self.hand_over(host, Inbound::Stop);
        if let Some(length) = length {
            let (era, ending) = (self.faults.era, Ending::PowerOn(host));
            self.schedule(self.now + STOP_WITHIN + length, Happening::End { era, ending });
        }
    }

    /// An operator at one host drains or undrains another.
    pub(crate) fn drain_or_undrain(&mut self, host: usize, other: usize) {
        let node = self.hosts[other].id;
        let order =
            if self.draw.chance(600_000) { Order::Drain(node) } else { Order::Undrain(node) };
        self.order(host, order);
    }

    /// An operator at one host moves a group to another.
    pub(crate) fn move_some_group(&mut self, host: usize, other: usize) {
        let group = self.draw.index(self.groups.len());
        let order = Order::Move { group: self.groups[group], to: self.hosts[other].id };
        self.order(host, order);
    }

    /// A new file reaches the hosts one after the other.
    pub(crate) fn roll_out(&mut self) {
        let next = self.plans[self.plans.len() - 1].clone().changed(self);
        note!(self, "plan {} has {}", self.plans.len(), next.outline());
        self.plans.push(next);
        let plan = self.plans.len() - 1;
        for host in 0..self.hosts.len() {
            let at = self.now + self.draw.between(0, 4_000) * MILLISECOND;
            self.schedule(at, Happening::Adopt { host, plan });
        }
    }
}
