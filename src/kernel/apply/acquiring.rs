//! Orders to make a group present: with some of its further addresses, or with all.

use std::collections::BTreeSet;

use super::Shell;
use crate::kernel::{Kernel, Order};
use crate::protocol::{GroupKey, Instant, Ticket};

impl Shell {
    /// Has the group present with these further addresses. An address may have come from, or gone
    /// to, another group, whose mode may be another: who claims it is listened for, and the gate's
    /// doors follow.
    pub(super) fn acquire(
        &mut self,
        (group, ticket): (GroupKey, Ticket),
        further: Option<BTreeSet<GroupKey>>,
        now: Instant,
    ) {
        self.handing.end(group, true, (&self.reconciler, &mut self.fence));
        if self.reconciler.acquire((group, ticket), further, now) {
            self.claimants.listen_for(self.reconciler.addresses().collect());
            self.fence.change_doors(&mut self.reconciler);
        }
    }
}

impl Kernel {
    /// Makes every address of the group present; ends in `Present` or `Failed`.
    pub fn acquire(&self, group: GroupKey, ticket: Ticket) {
        self.withdrawals.acquire(group);
        self.order(Order::Acquire(group, ticket, None));
    }

    /// The same of the first address and of these further ones only; the others are removed.
    pub fn acquire_with(&self, group: GroupKey, ticket: Ticket, further: Vec<GroupKey>) {
        self.withdrawals.acquire(group);
        self.order(Order::Acquire(group, ticket, Some(further.into_iter().collect())));
    }
}
