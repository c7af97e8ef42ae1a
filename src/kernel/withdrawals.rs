//! Which addresses are not answered for any more although they may still be here.
//!
//! ```text
//!   protocol thread: withdraw, acquire, release --> wanted --> lease thread (see gate) --> nf_tables
//!   kernel thread: the addresses have gone ---------^
//! ```
//!
//! A node that gives way for a group must not answer until its kernel thread gets to the removal:
//! another node has the group, and on a starved host that thread may be seconds late. So the
//! thread that keeps the doors closes the group at once, and what is wanted is compared with what
//! the table holds at each of its turns. A withdrawal ends with the removal, which is known by its
//! ticket, or when the group is acquired again. Nothing here waits for the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::GroupAddresses;
use super::renewal::{Lease, Renewal};
use super::scoped::{Scoped, Zones};
use crate::protocol::{GroupKey, Ticket};

/// Shared by the threads named above. Held for a few map operations only.
#[derive(Clone, Debug, Default)]
pub(super) struct Withdrawals(Arc<Mutex<Wanted>>);

#[derive(Debug, Default)]
struct Wanted {
    groups: BTreeMap<GroupKey, Vec<IpAddr>>,
    zones: Zones,
    /// With the order that removes the addresses, once that is given.
    withdrawn: BTreeMap<GroupKey, (Option<Ticket>, Vec<Scoped>)>,
}

impl Withdrawals {
    /// For these groups, whose links are in `zones`.
    pub(super) fn new(groups: &[GroupAddresses], zones: Zones) -> Self {
        let withdrawals = Self::default();
        withdrawals.wanted_mut().zones = zones;
        withdrawals.regroup(groups);
        withdrawals
    }

    /// Makes this the list of groups. What is withdrawn stays so.
    pub(super) fn regroup(&self, groups: &[GroupAddresses]) {
        let addresses = |group: &GroupAddresses| {
            group.addresses.iter().map(|(address, _)| *address).collect::<Vec<_>>()
        };
        self.wanted_mut().groups =
            groups.iter().map(|group| (group.key, addresses(group))).collect();
    }

    /// The group is another node's.
    pub(super) fn withdraw(&self, group: GroupKey) {
        let mut wanted = self.wanted_mut();
        let ticket = wanted.withdrawn.get(&group).and_then(|(ticket, _)| *ticket);
        if let Some(addresses) = wanted.groups.get(&group) {
            let scoped = addresses.iter().filter_map(|it| wanted.zones.scoped(group, *it));
            let addresses = scoped.collect();
            wanted.withdrawn.insert(group, (ticket, addresses));
        }
    }

    /// This order removes the addresses.
    pub(super) fn release(&self, group: GroupKey, ticket: Ticket) {
        if let Some((removal, _)) = self.wanted_mut().withdrawn.get_mut(&group) {
            *removal = Some(ticket);
        }
    }

    /// The group is this node's again.
    pub(super) fn acquire(&self, group: GroupKey) {
        self.wanted_mut().withdrawn.remove(&group);
    }

    /// What the order with this ticket was to do has ended, with no address left.
    pub(super) fn gone(&self, group: GroupKey, ticket: Ticket) {
        let mut wanted = self.wanted_mut();
        let removal = wanted.withdrawn.get(&group).and_then(|(removal, _)| *removal);
        if removal == Some(ticket) {
            wanted.withdrawn.remove(&group);
        }
    }

    /// The addresses that are to be withdrawn.
    pub(super) fn wanted(&self) -> BTreeSet<Scoped> {
        let wanted = self.wanted_mut();
        wanted.withdrawn.values().flat_map(|(_, addresses)| addresses.iter().copied()).collect()
    }

    fn wanted_mut(&self) -> MutexGuard<'_, Wanted> {
        // No thread panics while it holds this; what is there is whole all the same.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Makes the addresses that the gate holds as withdrawn those that are to be. To be called
    /// again until it is done; without a change it costs no call of the kernel.
    pub fn withdraw(&mut self) -> Renewal {
        let wanted = self.withdrawals.wanted();
        if wanted == self.withdrawn {
            return Renewal::Done;
        }
        let done = self.change_tables(|tables| tables.withdraw(&wanted));
        if matches!(done, Renewal::Done) {
            self.withdrawn = wanted;
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Mode;

    const GROUP: GroupKey = GroupKey(7);
    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn withdrawals() -> Withdrawals {
        let groups = [GroupAddresses {
            key: GROUP,
            name: "web".to_owned(),
            mode: Mode::Availability,
            interface: None,
            addresses: vec![(ADDRESS, 32)],
            keys: BTreeMap::new(),
            routing: Default::default(),
        }];
        Withdrawals::new(&groups, Zones::default())
    }

    fn here() -> BTreeSet<Scoped> {
        [Scoped::at(ADDRESS, 2)].into()
    }

    #[test]
    fn a_withdrawal_ends_with_its_own_removal_only() {
        let withdrawals = withdrawals();
        withdrawals.release(GROUP, Ticket(1));
        assert!(withdrawals.wanted().is_empty(), "an ordinary release");
        withdrawals.withdraw(GROUP);
        withdrawals.release(GROUP, Ticket(2));
        assert_eq!(withdrawals.wanted(), here());
        withdrawals.gone(GROUP, Ticket(1));
        assert_eq!(withdrawals.wanted(), here(), "that was an earlier one");
        withdrawals.gone(GROUP, Ticket(2));
        assert!(withdrawals.wanted().is_empty());
    }

    #[test]
    fn a_group_that_comes_back_is_answered_again() {
        let withdrawals = withdrawals();
        withdrawals.withdraw(GROUP);
        withdrawals.acquire(GROUP);
        assert!(withdrawals.wanted().is_empty());
        withdrawals.withdraw(GroupKey(8));
        assert!(withdrawals.wanted().is_empty(), "a group that is not known");
    }

    #[test]
    fn a_link_local_address_is_withdrawn_on_its_own_link() {
        let (one, other) = (GroupKey(1), GroupKey(2));
        let gateway: IpAddr = "fe80::1".parse().unwrap();
        let group = |key| GroupAddresses {
            key,
            name: "gateway".to_owned(),
            mode: Mode::Availability,
            interface: Some("eth*".to_owned()),
            addresses: vec![(gateway, 64)],
            keys: [(gateway, key)].into(),
            routing: Default::default(),
        };
        let zones = Zones::default();
        let withdrawals = Withdrawals::new(&[group(one), group(other)], zones.clone());
        zones.replace([((one, gateway), 2), ((other, gateway), 3)].into());
        withdrawals.withdraw(other);
        assert_eq!(withdrawals.wanted(), [Scoped::at(gateway, 3)].into());
        zones.replace([((one, gateway), 2)].into());
        assert_eq!(withdrawals.wanted(), [Scoped::at(gateway, 3)].into(), "where it was");
    }

    #[test]
    fn a_group_that_is_not_configured_any_more_stays_withdrawn() {
        let withdrawals = withdrawals();
        withdrawals.withdraw(GROUP);
        withdrawals.regroup(&[]);
        assert_eq!(withdrawals.wanted(), here());
    }
}
