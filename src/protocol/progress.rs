//! Whether the kernel side gets on with its work.
//!
//! A group is claimed before the kernel adds it, so that the next in line sees it. If the kernel side
//! hangs (a lock in the kernel is held, a driver is stuck) nobody would serve the group for as long as
//! this node lives. So when groups wait to be added and nothing at all has been done for some seconds,
//! they are published as free: the next in line takes them, and the kernel side is told to remove
//! what it may still add. Thousands of groups may take long to add: that the work goes on is what
//! counts, not how long one group waits for its turn.

use std::time::Duration;

use super::group::{Holding, Purpose};
use super::node::Node;
use super::types::{Failure, GroupKey, Inability, Instant, Rule};

/// Nothing done for so long, while there is something to do, means that the kernel side hangs: one
/// group takes milliseconds, and the requests to the kernel have timeouts of their own below this.
pub(super) const KERNEL_PATIENCE: Duration = Duration::from_secs(5);

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

    /// Whether the kernel side hangs: it is given nothing more to do without need.
    pub(super) const fn hangs(&self) -> bool {
        self.hangs
    }

    fn overdue(&self) -> Instant {
        if self.adding > 0 { self.since + KERNEL_PATIENCE } else { Instant::NEVER }
    }
}

impl Node {
    /// Forgets a group, which the kernel side does not add any more.
    pub(super) fn forget(&mut self, group: GroupKey) {
        if let Some(here) = self.groups.remove(&group) {
            self.kernel_work.note(self.env.now, here.holding, Holding::Idle);
        }
    }

    /// Gives up what a kernel side that hangs has not added.
    pub(super) fn revise_kernel_work(&mut self) {
        if self.env.now < self.kernel_work.overdue() || !self.enforces(Rule::KernelPatience) {
            return;
        }
        let adding =
            self.groups.iter().filter(|(_, here)| matches!(here.holding, Holding::Adding { .. }));
        let adding: Vec<GroupKey> = adding.map(|(group, _)| *group).collect();
        self.kernel_work.hangs = true;
        for group in adding {
            self.let_go(group, Purpose::Free);
            self.published_release(group, Purpose::Free);
            self.disable(group, Inability::Kernel(Failure::Timeout));
        }
    }

    /// When the kernel side must have done something.
    pub(super) fn kernel_work_deadline(&self) -> Instant {
        if self.enforces(Rule::KernelPatience) {
            self.kernel_work.overdue()
        } else {
            Instant::NEVER
        }
    }
}
