//! Which addresses a group has: by the file, and by what the protocol admits.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::seats::reseated;
use super::{Group, Repair, State};
use crate::kernel::GroupAddresses;
use crate::kernel::scoped::Scoped;
use crate::protocol::{GroupKey, Instant};

/// The protocol hears of a new file just after the kernel side and orders what follows from it, at
/// once; an address may change its group in between and is not to go for that.
const TOLD_WITHIN: Duration = Duration::from_millis(200);

impl Group {
    /// Of the further addresses only these may be here, or all. Returns whether that changes what
    /// the group is; then it has to be located again.
    pub(in crate::kernel) fn admit(
        &mut self,
        further: Option<BTreeSet<GroupKey>>,
        now: Instant,
    ) -> bool {
        self.admitted = further;
        self.reshape(now)
    }

    /// Makes the group what is admitted of what is configured.
    fn reshape(&mut self, now: Instant) -> bool {
        let mut configured = self.whole.clone();
        if let Some(admitted) = &self.admitted {
            configured.addresses.retain(|(address, _)| {
                let key = self.whole.key_of(*address);
                key == self.whole.key || admitted.contains(&key)
            });
        }
        if self.configured == configured {
            return false;
        }
        let before: Vec<Scoped> = self.seated().collect();
        self.former.extend(before);
        self.seats = reseated(&configured, (&self.configured, &self.seats));
        self.configured = configured;
        self.drop_from_former();
        if let State::Held { ticket, .. } = self.state {
            let repair = Repair::Growing { deadline: now + self.add_timeout() };
            self.state = State::Held { ticket, repair };
        }
        true
    }

    /// Takes in the new configuration of the group.
    pub(in crate::kernel) fn reconfigure(&mut self, configured: GroupAddresses, now: Instant) {
        if std::mem::take(&mut self.retired) {
            self.footing.forget();
        }
        self.reroute(&configured.routing);
        self.whole = configured;
        if self.reshape(now) && self.is_wanted() {
            self.until_told = Some(now + TOLD_WITHIN);
        }
    }

    /// The group is no longer configured.
    pub(in crate::kernel) fn retire(&mut self, now: Instant) {
        self.retired = true;
        match self.state {
            State::Adding { .. } | State::Held { .. } => self.until_told = Some(now + TOLD_WITHIN),
            State::Handed => self.release(None),
            State::Idle | State::Removing { .. } | State::Withdrawing { .. } => {}
        }
    }

    /// Nobody has said what becomes of what is not configured any more: it goes.
    pub(super) fn note_time(&mut self, now: Instant) {
        if self.until_told.is_none_or(|until| until > now) {
            return;
        }
        self.until_told = None;
        if self.retired && self.is_wanted() {
            self.release(None);
        }
    }

    /// The addresses that are admitted, and those that were.
    pub(in crate::kernel) fn known(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let configured = self.configured.addresses.iter().map(|(address, _)| *address);
        configured.chain(self.former.iter().map(Scoped::address))
    }
}
