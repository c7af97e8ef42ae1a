//! What a process finds of the one before it, when it goes on with its groups.
//!
//! Nothing is changed here. [`whole_groups`] is asked before the kernel thread is started; what is
//! kept is then neither swept nor told to be present: it never went.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use super::{GroupAddresses, Mark, Settings, watch};
use crate::protocol::GroupKey;

/// The groups of which every address is on this host and bears our mark.
///
/// # Errors
///
/// When the kernel does not tell its addresses.
pub fn whole_groups(groups: &[GroupAddresses], mark: Mark) -> io::Result<BTreeSet<GroupKey>> {
    let observations = watch::dump(mark)?;
    let ours: BTreeSet<IpAddr> = watch::ours(&observations).map(|place| place.address).collect();
    let whole =
        |group: &&GroupAddresses| group.addresses.iter().all(|(address, _)| ours.contains(address));
    Ok(groups.iter().filter(whole).map(|group| group.key).collect())
}

/// The addresses of the groups that are adopted.
pub(super) fn kept(settings: &Settings) -> BTreeSet<IpAddr> {
    let adopted =
        |group: &&GroupAddresses| settings.adopted.iter().any(|(key, _)| *key == group.key);
    let groups = settings.groups.iter().filter(adopted);
    groups.flat_map(|group| group.addresses.iter().map(|(address, _)| *address)).collect()
}
