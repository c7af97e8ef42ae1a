//! Which group has each address, on its link if it is link-local (see `scoped`).
//!
//! An address is in one group of a file. But while a new file comes into force the group that had it
//! may still be here, and the one that is to have it may not: then both know it, and it belongs to
//! the one that wants it here, so that it stays where it is when it changes its group. Pure.

use std::collections::BTreeMap;

use super::group::Group;
use super::scoped::Scoped;
use crate::protocol::GroupKey;

/// The group that has, or had, each address.
#[derive(Debug, Default)]
pub(super) struct Owners {
    of: BTreeMap<Scoped, GroupKey>,
    shared: bool,
    zoned: bool,
}

impl Owners {
    /// Looks at all groups again.
    pub(super) fn rebuild(&mut self, groups: &BTreeMap<GroupKey, Group>) {
        self.of.clear();
        self.shared = false;
        self.zoned = groups.values().any(Group::is_zoned);
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
            self.of.extend(group.seated().map(|address| (address, *key)));
        }
    }

    /// Whether several groups have, or had, the same address.
    pub(super) const fn shared(&self) -> bool {
        self.shared
    }

    /// Whether they change with the links of groups.
    pub(super) const fn zoned(&self) -> bool {
        self.zoned
    }

    /// The group that has, or had, the address.
    pub(super) fn get(&self, address: &Scoped) -> Option<&GroupKey> {
        self.of.get(address)
    }
}
