//! Gates: what may hold a planned move until it is done, but no longer than it may take.
//!
//! ```text
//!   a move is wanted --> held: the group is not offered --> open: it may be offered --> it has gone
//!                          |   its hooks have ended, or the time is up  ^  | it was not moved
//!                          +--------------------------------------------+  v after all: closed
//! ```
//!
//! A gate belongs to a group that is held here and is asked when this node would give it away
//! although it could keep it: at a drain, for balance, at a fail-back, by order. What cannot wait
//! asks no gate: a failover does not come by here at all, a node whose checks fail gives its groups
//! away at once, and so does one that ends. Which hooks a gate has is the shell's to know; it tells
//! when they have ended, and if it never does the time is up all the same. An order that has to wait
//! is answered at once and carried out when the gate is open.

use std::time::Duration;

use super::node::Node;
use super::types::{
    Action, GroupKey, Instant, MoveReason, NodeId, NodePhase, Refusal, Report, Rule, Ticket,
};

/// An open gate that nobody has gone through closes after this: things have changed.
const OPEN_FOR: Duration = Duration::from_secs(10);

/// The gate of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate {
    state: State,
    /// When it opens, or closes, by itself.
    until: Instant,
    /// Where an operator wants the group.
    ordered: Option<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its hooks run.
    Held(Ticket),
    /// The group may go.
    Open,
}

impl Node {
    /// Whether a group may be given away now for this reason; if not, its gate is being opened.
    pub(super) fn may_leave(&mut self, group: GroupKey, reason: MoveReason) -> bool {
        let wanted = self.env.configuration.groups.get(&group);
        let Some(time) = wanted.and_then(|wanted| wanted.gate) else { return true };
        let waits = match reason {
            MoveReason::Drain => self.phase != NodePhase::Leaving,
            MoveReason::Balance
            | MoveReason::Operator
            | MoveReason::Failback
            | MoveReason::Placement => true,
            MoveReason::Checks => false,
        };
        if !waits || !self.enforces(Rule::GateHolds) {
            return true;
        }
        if let Some(gate) = self.gates.get(&group) {
            return gate.state == State::Open;
        }
        let ticket = self.ticket();
        let gate = Gate { state: State::Held(ticket), until: self.env.now + time, ordered: None };
        self.gates.insert(group, gate);
        self.env.actions.push(Action::OpenGate { group, ticket });
        false
    }

    /// An operator wants a group elsewhere whose gate is held.
    pub(super) fn order_at_gate(&mut self, group: GroupKey, to: NodeId) {
        if let Some(gate) = self.gates.get_mut(&group) {
            gate.ordered = Some(to);
        }
    }

    /// The hooks of a gate have ended, however they did.
    pub(super) fn gate_opened(&mut self, group: GroupKey, ticket: Ticket) {
        if self.gates.get(&group).is_some_and(|gate| gate.state == State::Held(ticket)) {
            self.open(group);
        }
    }

    fn open(&mut self, group: GroupKey) {
        if let Some(gate) = self.gates.get_mut(&group) {
            (gate.state, gate.until) = (State::Open, self.env.now + OPEN_FOR);
            // Whoever wanted it to move looks again at once.
            self.balance_due = self.env.now;
        }
    }

    /// Opens gates whose time is up, closes those that nobody needs, and carries out orders.
    pub(super) fn revise_gates(&mut self) {
        let (now, groups) = (self.env.now, &self.groups);
        self.gates.retain(|group, gate| {
            let here = groups.get(group).is_some_and(|here| here.holding.meant());
            here && (gate.state != State::Open || now < gate.until)
        });
        let overdue = self.gates.iter().filter(|(_, gate)| gate.until <= now);
        let overdue: Vec<GroupKey> = overdue.map(|(group, _)| *group).collect();
        if self.enforces(Rule::GateEnds) {
            for group in overdue {
                self.report(Report::GateOverdue { group });
                self.open(group);
            }
        }
        let ordered = self.gates.iter().filter(|(_, gate)| gate.state == State::Open);
        let ordered = ordered.filter_map(|(group, gate)| Some((*group, gate.ordered?)));
        for (group, to) in ordered.collect::<Vec<_>>() {
            match self.start_move(None, group, to) {
                // Another offer is under way: as long as the gate is open there is time.
                Err(Err(Refusal::Busy)) => continue,
                Err(Err(_)) => self.report(Report::OfferFailed { to, groups: 1, why: None }),
                Err(Ok(())) | Ok(()) => {}
            }
            if let Some(gate) = self.gates.get_mut(&group) {
                gate.ordered = None;
            }
        }
    }

    /// When a gate opens or closes by time alone.
    pub(super) fn gate_deadline(&self) -> Instant {
        let due = self.gates.values().map(|gate| gate.until).filter(|until| *until > self.env.now);
        due.min().unwrap_or(Instant::NEVER)
    }
}
