//! Removes what dead daemons of other names left: of a cluster that was renamed, or is not run here
//! any more.
//!
//! Called at the start, before anything is added. An address bears the mark of its cluster and a
//! table its name; the name that goes with either (see `presence`) is free when no daemon and no
//! guardian of it lives, and is held while what it left is removed. A closed table that nobody
//! renews would hold back an address that this host serves under another name, for ever.
//!
//! A table whose lease is renewed is somebody's, whatever its name says: a daemon of an earlier
//! version has no name that could be taken. The lease of a dead one is waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use tokio::time::Instant as Moment;

use super::gate::Door;
use super::holding::release_tables;
use super::leftovers;
use super::links::Place;
use super::mark::{Found, Mark};
use super::presence::{self, Presence};
use super::watch;
use crate::netlink::Conversation;
use crate::netlink::nftables::{self, Family};
use crate::netlink::tables;

/// No lease is longer (profile vm).
const LEASE_MAX: Duration = Duration::from_secs(6);
/// How often to look whether one has ended.
const LOOK: Duration = Duration::from_millis(20);
/// What all tables of ours begin with.
const PREFIX: &str = "buoy_";

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) addresses: usize,
    pub(super) tables: usize,
}

/// One dead daemon's.
#[derive(Debug, Default)]
struct Estate {
    places: Vec<Place>,
    tables: Vec<(Family, String)>,
}

/// Removes it, as far as nobody lives whose it is. What cannot be told or removed stays, and is
/// told in the log.
pub(super) fn remove(own_table: &str) -> Removed {
    let mut removed = Removed::default();
    let estates = match estates(own_table) {
        Ok(estates) => estates,
        Err(error) => {
            tracing::warn!(%error, "leftovers of other daemons on this host cannot be found");
            return removed;
        }
    };
    for (value, estate) in estates {
        match remove_one(value, &estate) {
            Ok(true) => {
                removed.addresses += estate.places.len();
                removed.tables += estate.tables.len();
                let (addresses, tables) = (estate.places.len(), estate.tables);
                tracing::warn!(
                    addresses,
                    ?tables,
                    "removed leftovers of a dead daemon of another name"
                );
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, ?estate, "leftovers of a dead daemon of another name cannot be removed");
            }
        }
    }
    removed
}

/// Whether addresses that earlier versions added may be taken for ours: nobody else's table is in
/// use here.
///
/// # Errors
///
/// When the kernel does not tell.
pub(super) fn earlier_are_ours(own_table: &str) -> io::Result<bool> {
    let mut conversation = nftables::open()?;
    for (family, table) in tables_of_others(own_table)? {
        if in_use(&mut conversation, family, &table) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn tables_of_others(own_table: &str) -> io::Result<Vec<(Family, String)>> {
    let all = tables::tables(&mut nftables::open()?)?;
    let others = |(_, name): &(Family, String)| name.starts_with(PREFIX) && name != own_table;
    Ok(all.into_iter().filter(others).collect())
}

fn estates(own_table: &str) -> io::Result<BTreeMap<u32, Estate>> {
    let own = Mark::of(own_table).value();
    let mut estates: BTreeMap<u32, Estate> = BTreeMap::new();
    // A kernel without nf_tables has no table of ours, and may have addresses.
    for (family, table) in tables_of_others(own_table).unwrap_or_default() {
        let value = Mark::of(&table).value();
        estates.entry(value).or_default().tables.push((family, table));
    }
    for (place, found) in watch::dump_marks()? {
        match found {
            Found::Of(value) if value != own => {
                estates.entry(value).or_default().places.push(place);
            }
            Found::Of(_) | Found::Earlier => {}
        }
    }
    Ok(estates)
}

/// Returns whether it was a dead daemon's; then it is gone.
fn remove_one(value: u32, estate: &Estate) -> io::Result<bool> {
    let presence::Found::Nobody(_held) = Presence::take_value(value)? else { return Ok(false) };
    let mut conversation = (!estate.tables.is_empty()).then(nftables::open).transpose()?;
    if conversation.as_mut().is_some_and(|conversation| !ends(conversation, &estate.tables)) {
        return Ok(false);
    }
    leftovers::remove(&estate.places)?;
    let left: BTreeSet<Place> = watch::dump_marks()?.into_iter().map(|(place, _)| place).collect();
    if estate.places.iter().any(|place| left.contains(place)) {
        // Its table keeps them closed.
        return Err(io::Error::other("addresses cannot be removed"));
    }
    if let Some(conversation) = &mut conversation {
        release_tables(Mark::from_value(value));
        for (family, table) in &estate.tables {
            nftables::remove_table(conversation, *family, table)?;
        }
    }
    Ok(true)
}

/// Waits until no lease of these tables runs: the dead daemon's does for a moment. Returns `false` if
/// somebody renews one, or it lasts too long to be that.
fn ends(conversation: &mut Conversation, tables: &[(Family, String)]) -> bool {
    let begun = Moment::now();
    let mut before = Duration::MAX;
    loop {
        let left = tables.iter().map(|(family, table)| left(conversation, *family, table)).max();
        match left.unwrap_or_default() {
            Duration::ZERO => return true,
            left if left > before || begun.elapsed() > LEASE_MAX => return false,
            left => before = left,
        }
        std::thread::park_timeout(LOOK);
    }
}

/// Whether a lease of the table runs.
fn in_use(conversation: &mut Conversation, family: Family, table: &str) -> bool {
    left(conversation, family, table) > Duration::ZERO
}

/// How long the leases of the table have left.
fn left(conversation: &mut Conversation, family: Family, table: &str) -> Duration {
    let left = |door: Door| tables::longest_left(conversation, family, (table, door.lease()));
    Door::ALL.map(left).into_iter().filter_map(Result::ok).max().unwrap_or_default()
}
