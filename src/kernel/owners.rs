//! Which group has each address.
//!
//! An address is in one group of a file. But while a new file comes into force the group that had it
//! may still be here, and the one that is to have it may not: then both know it, and it belongs to
//! the one that wants it here, so that it stays where it is when it changes its group. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::group::Group;
use crate::protocol::GroupKey;

/// The group that has, or had, each address.
#[derive(Debug, Default)]
pub(super) struct Owners {
    of: BTreeMap<IpAddr, GroupKey>,
    shared: bool,
}

impl Owners {
    /// Looks at all groups anew.
    pub(super) fn rebuild(&mut self, groups: &BTreeMap<GroupKey, Group>) {
        self.of.clear();
        self.shared = false;
        for (key, group) in groups {
            for address in group.addresses() {
                self.shared |= self.of.insert(address, *key).is_some();
            }
        }
        if !self.shared {
            return;
        }
        for (key, group) in groups.iter().filter(|(_, group)| group.is_wanted()) {
            self.of.extend(group.addresses().map(|address| (address, *key)));
        }
        for (key, group) in groups.iter().filter(|(_, group)| group.is_wanted()) {
            self.of.extend(group.configured().map(|address| (address, *key)));
        }
    }

    /// Whether several groups have, or had, the same address.
    pub(super) const fn shared(&self) -> bool {
        self.shared
    }

    /// The group that has, or had, the address.
    pub(super) fn get(&self, address: &IpAddr) -> Option<&GroupKey> {
        self.of.get(address)
    }

    /// All addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.of.keys().copied()
    }
}
