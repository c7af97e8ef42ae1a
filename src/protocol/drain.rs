//! Draining: giving everything away, and how long that waits for connections to end.
//!
//! ```text
//!   ordered --> waiting: nothing is taken; a group goes when the connections that it had when the
//!      |           |     waiting began have ended, on its own
//!      |           | time is up, nothing is left, "now", or the daemon ends
//!      +-----------+--> giving: every group is offered at once
//! ```
//!
//! Those that are waited for are those that were there at the beginning: new ones go on coming to
//! an address until it moves, and would keep it for ever. Which they are is the kernel side's to
//! know; it tells how many remain. As long as it has told nothing, every group waits. What outlasts
//! the time is reset by the move, as by any.

use std::collections::BTreeMap;

use super::node::Node;
use super::types::{Action, GroupKey, Instant, NodePhase, Report, Tenure, Waiting};

/// A drain that waits.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    until: Instant,
    /// By group, those that have any; `None` before the kernel side has counted.
    remaining: Option<BTreeMap<GroupKey, u32>>,
}

impl Node {
    /// Switches draining on or off; with `waits`, as long as is configured for connections to end.
    /// Ordered again without, it does not wait any longer.
    pub(super) fn drain(&mut self, on: bool, waits: bool) {
        if !on || !waits {
            self.stop_waiting();
        }
        self.hurries = false;
        if on && !waits {
            self.hurry();
        }
        if self.draining == on {
            return;
        }
        self.draining = on;
        self.evaluate = true;
        let time = self.env.configuration.drain_timeout;
        if on && waits && !time.is_zero() && self.holds_any() {
            self.patience = Some(Patience { until: self.env.now + time, remaining: None });
            self.env.actions.push(Action::WatchConnections(true));
        }
        self.report(Report::Draining { on });
        self.env.actions.push(Action::RememberDraining(on));
        self.beat(false);
    }

    /// Returns whether this node drains, owns nothing, and serves no connection of what it had.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let left =
            || self.claims.iter().any(|claim| self.ours(claim) && claim.tenure != Tenure::Free);
        self.draining
            && self.phase == NodePhase::Active
            && !self.holds_any()
            && !self.preservation.is_keeping()
            && !left()
    }

    /// Takes in how many connections remain; groups that are not named have none.
    pub(super) fn connections_remain(&mut self, remaining: Vec<(GroupKey, u32)>) {
        if let Some(patience) = &mut self.patience {
            patience.remaining =
                Some(remaining.into_iter().filter(|(_, some)| *some > 0).collect());
        }
    }

    /// Whether a group is not to be given away yet.
    pub(super) fn waits_for(&self, group: GroupKey) -> bool {
        self.patience.as_ref().is_some_and(|patience| {
            patience.remaining.as_ref().is_none_or(|some| some.contains_key(&group))
        })
    }

    /// Ends the waiting when there is nothing to wait for.
    pub(super) fn revise_patience(&mut self) {
        let Some(patience) = &self.patience else { return };
        let leaves = matches!(self.phase, NodePhase::Leaving | NodePhase::Left);
        if leaves || self.env.now >= patience.until || !self.holds_any() {
            self.stop_waiting();
        }
    }

    /// When the waiting ends by time alone.
    pub(super) fn patience_deadline(&self) -> Instant {
        self.patience.as_ref().map_or(Instant::NEVER, |patience| patience.until)
    }

    /// What this node waits for, if it does.
    pub(super) fn waiting(&self, now: Instant) -> Option<Waiting> {
        let patience = self.patience.as_ref()?;
        let sum = |some: &BTreeMap<GroupKey, u32>| {
            some.values().fold(0_u32, |sum, count| sum.saturating_add(*count))
        };
        let connections = patience.remaining.as_ref().map(sum);
        Some(Waiting { connections, left: patience.until.since(now) })
    }

    fn stop_waiting(&mut self) {
        if self.patience.take().is_some() {
            self.env.actions.push(Action::WatchConnections(false));
        }
    }

    fn holds_any(&self) -> bool {
        self.groups.values().any(|here| here.holding != super::group::Holding::Idle)
    }
}
