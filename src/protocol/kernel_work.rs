//! Whether the kernel side gets on with its work.
//!
//! A group is claimed before the kernel adds it, so that the next in line sees it. If the kernel side
//! hangs (a lock in the kernel is held, a driver is stuck) nobody would serve the group for as long as
//! this node lives. So when groups wait to be added and nothing at all has been done for some seconds,
//! they are published as free (`inability`): the next in line takes them, and the kernel side is told
//! to remove what it may still add. Thousands of groups may take long to add: that the work goes on is what
//! counts, not how long one group waits for its turn.

use std::time::Duration;

use super::env::Env;
use super::group::Holding;
use super::types::{Instant, Rule};

/// Nothing done for so long, while there is something to do, means that the kernel side hangs: one
/// group takes milliseconds, and the requests to the kernel have timeouts of their own below this.
const KERNEL_PATIENCE: Duration = Duration::from_secs(5);

/// What the kernel side has to add.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KernelWork {
    /// Groups that are being added.
    adding: usize,
    /// Since when nothing has been done of it.
    since: Instant,
    /// It hangs: nothing has been done of it for too long, nor since.
    hangs: bool,
}

impl KernelWork {
    /// A group has gone from one state to another.
    pub(super) fn note(&mut self, now: Instant, before: Holding, after: Holding) {
        let adds = |holding| matches!(holding, Holding::Adding { .. });
        match (adds(before), adds(after)) {
            (false, true) => {
                if self.adding == 0 {
                    self.since = now;
                }
                self.adding += 1;
            }
            (true, false) => self.adding = self.adding.saturating_sub(1),
            (true, true) | (false, false) => {}
        }
    }

    /// The kernel side has done something.
    pub(super) fn got_on(&mut self, now: Instant) {
        (self.since, self.hangs) = (now, false);
    }

    /// This node stood still: no more could be expected.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.since = now;
    }

    /// Returns how many groups are being added.
    pub(super) const fn adding(&self) -> usize {
        self.adding
    }

    /// Whether the kernel side hangs: it is given nothing more to do without need.
    pub(super) const fn hangs(&self) -> bool {
        self.hangs
    }

    /// Returns whether it has hung for too long: what is being added is to be given up then.
    pub(super) fn revise(&mut self, env: &Env) -> bool {
        let overdue = env.now >= self.deadline(env);
        self.hangs |= overdue;
        overdue
    }

    /// Returns when the kernel side must have done something.
    pub(super) fn deadline(&self, env: &Env) -> Instant {
        if self.adding > 0 && env.enforces(Rule::KernelPatience) {
            self.since + KERNEL_PATIENCE
        } else {
            Instant::NEVER
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::{Epoch, NodeId, Ticket};
    use super::*;

    const ADDING: Holding = Holding::Adding { ticket: Ticket(1), epoch: Epoch(1) };
    const HELD: Holding = Holding::Held { ticket: Ticket(1), epoch: Epoch(1) };

    #[test]
    fn a_kernel_side_hangs_when_it_has_something_to_do_and_does_nothing() {
        let mut env = Env::alone(NodeId(1));
        let mut work = KernelWork::default();
        let begun = env.now;
        assert_eq!(work.deadline(&env), Instant::NEVER, "nothing to do");
        work.note(begun, Holding::Idle, ADDING);
        work.note(begun + Duration::from_secs(1), Holding::Idle, ADDING);
        assert_eq!(work.deadline(&env), begun + KERNEL_PATIENCE, "it had something to do before");
        env.now = begun + Duration::from_secs(4);
        work.note(env.now, ADDING, HELD);
        work.got_on(env.now);
        assert_eq!(work.deadline(&env), env.now + KERNEL_PATIENCE, "one of two is done");
        env.now = env.now + KERNEL_PATIENCE;
        assert!(!work.hangs());
        assert!(work.revise(&env));
        assert!(work.hangs());
        work.note(env.now, ADDING, Holding::Idle);
        assert!(!work.revise(&env), "it was given up");
        assert!(work.hangs(), "nothing has been done since");
        work.got_on(env.now);
        assert!(!work.hangs());
    }

    #[test]
    fn a_node_that_stood_still_expects_no_more() {
        let mut env = Env::alone(NodeId(1));
        let mut work = KernelWork::default();
        work.note(env.now, Holding::Idle, ADDING);
        env.now = env.now + KERNEL_PATIENCE;
        work.excuse(env.now);
        assert!(!work.revise(&env));
        assert_eq!(work.deadline(&env), env.now + KERNEL_PATIENCE);
    }
}
