//! The gate: the kernel answers for our addresses only while a live daemon renews a lease.
//!
//! Tables of our own in nf_tables with two doors. What comes for, or leaves from, an address behind
//! a door passes only while the door's lease runs, and that ends by itself. So a daemon that is
//! dead, stopped or stuck stops answering without doing anything, and its lease is renewed for all
//! addresses at once. The gate is one of the host and not of a device: what it holds back is not
//! answered on any other card either, whatever that is called, when it comes, and what it is a part
//! of.
//!
//! ```text
//!   table inet buoy_CLUSTER { flags owner, persist         nobody else can change it
//!     set vouched4 { type ipv4_addr }    set vouched6 { type ipv6_addr }
//!     set vouched { type mark; flags dynamic, timeout }    the lease: holds 1 while it runs
//!     chain vouched { 1 in @vouched: accept; drop }
//!     sets and chain of the other door: granted4, granted6, granted
//!     set withdrawn4, withdrawn6                           addresses that another host has
//!     chain withdrawn { tcp flags rst accept; drop }       asked before all doors
//!     set hushed4, hushed6 { flags timeout }               addresses that are about to go
//!     chain in { hook prerouting; from lo: accept; tcp syn to hushed4 or 6: drop; ip daddr,
//!                nd target, ip6 daddr in vouched4 or 6: goto vouched; in granted4 or 6: ... }
//!     chain out { hook postrouting; the same by source }
//!     chains trigger and renew: see `renewal`
//!     addresses that have been handed over are in muted4 and muted6, see `mute`;
//!     link-local ones of IPv6 are in vouchedL and so on, { type ipv6_addr . iface_index }, and
//!     are compared together with the device by which a packet comes or goes }
//!   table arp buoy_CLUSTER { the same for ARP, in chains at its hooks input and output }
//!   table netdev buoy_CLUSTER { what is sent on to former owners, see `forward` }
//! ```
//!
//! `apply` covers addresses before it adds them and uncovers them when they are gone; it never
//! opens a door, the thread that holds the [`Lease`](super::Lease) does, in `daemon`. Tables of
//! others are never touched. What is wanted of ours is in `tables`, and whoever finds them changed
//! puts them back from there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::mute;
use super::ruleset::{Cover, HUSHED, add_timed};
use super::scoped::Scoped;
use super::tables::{Shared, Tables, take};
use crate::netlink::nftables::{Batch, Family};
use crate::protocol::Mode;

/// Why addresses are not muted where that was not tried, or refused when tables were taken over.
const NOT_WANTED: &str = "this kernel cannot mute addresses in nf_tables";
/// How long they are hushed: longer than requests are waited for and connections are ended, and not
/// so long that it would matter if they stay after all.
const HUSH: u64 = 250;
/// Addresses covered by one batch: a list of elements holds 64 KiB, which are 2000 of IPv6.
pub(super) const COVERED_AT_ONCE: usize = 1000;
const CLOSED: [Option<Duration>; Door::ALL.len()] = [None; Door::ALL.len()];

/// Which lease opens the gate for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// The node's own word, for groups in mode `Availability`.
    Vouched,
    /// What the voters have granted, for groups in mode `Majority`.
    Granted,
}

impl Door {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Vouched, Self::Granted];

    /// The door of the groups in this mode.
    #[must_use]
    pub const fn of(mode: Mode) -> Self {
        match mode {
            Mode::Availability => Self::Vouched,
            Mode::Majority => Self::Granted,
        }
    }

    /// The set that is the lease, and the chain that asks it.
    pub(super) const fn lease(self) -> &'static str {
        match self {
            Self::Vouched => "vouched",
            Self::Granted => "granted",
        }
    }
}

/// The tables, as the kernel thread works with them.
#[derive(Debug)]
pub(super) struct Gate {
    tables: Shared,
    /// Why addresses cannot be muted; `None` if they can.
    unmutable: Option<String>,
    numbers: u32,
}

impl Gate {
    /// Builds the tables, closed and covering nothing; those that a predecessor left are replaced.
    /// With `mutes`, addresses can be muted if this kernel lets us.
    ///
    /// # Errors
    ///
    /// When this kernel has no nf_tables, or not its families inet and arp; then nothing was
    /// changed.
    pub(super) fn open(name: String, mutes: bool) -> io::Result<Self> {
        let mut gate = Self::new(name, false)?;
        let mut built = take(&gate.tables).establish(BTreeMap::new(), CLOSED);
        if built.is_ok() && mutes {
            gate.unmutable = mute::try_all(&mut gate).err();
            let mut tables = take(&gate.tables);
            tables.allow_muting(gate.unmutable.is_none());
            built = tables.establish(BTreeMap::new(), CLOSED);
        }
        if built.is_err() {
            // What was built before the refusal is of no use.
            let _ = take(&gate.tables).remove();
        }
        built.map(|()| gate)
    }

    /// Goes on with the gate of a process before this one: in one step it is replaced by one that
    /// covers these addresses and whose doors are open for so long, so that no packet finds them
    /// closed between, or gone.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; then nothing was changed.
    pub(super) fn adopt(
        name: String,
        covered: BTreeMap<Scoped, Cover>,
        (lefts, mutes): ([Option<Duration>; Door::ALL.len()], bool),
    ) -> io::Result<Self> {
        // That was tried by the process before this one; where it cannot be, this is refused.
        let gate = Self::new(name, mutes)?;
        take(&gate.tables).establish(covered, lefts)?;
        Ok(gate)
    }

    fn new(name: String, mutes: bool) -> io::Result<Self> {
        let tables = Arc::new(Mutex::new(Tables::new(name, mutes)?));
        let unmutable = (!mutes).then(|| NOT_WANTED.to_owned());
        Ok(Self { tables, unmutable, numbers: 0 })
    }

    /// Tries what was not tried when the tables were taken over, because it takes time.
    pub(super) fn try_forwarding(&mut self) {
        if self.unmutable.is_none() {
            self.unmutable = mute::try_forwarding(self).err();
        }
    }

    /// For whoever renews its leases.
    pub(super) fn tables(&self) -> &Shared {
        &self.tables
    }

    /// Whether nobody else can change it.
    pub(super) fn owned(&self) -> bool {
        take(&self.tables).owned()
    }

    /// Why addresses cannot be muted, if so.
    pub(super) fn unmutable(&self) -> Option<&str> {
        self.unmutable.as_deref()
    }

    /// Has the kernel carry out one more batch.
    pub(super) fn change(
        &mut self,
        build: impl for<'b> FnOnce(Batch<'b>) -> Batch<'b>,
    ) -> io::Result<()> {
        take(&self.tables).change(build)
    }

    /// The same for the table of what is sent on at devices.
    pub(super) fn change_at_devices(
        &mut self,
        build: impl for<'b> FnOnce(Batch<'b>) -> Batch<'b>,
    ) -> io::Result<()> {
        let owned = self.owned();
        self.change(|batch| {
            let batch = batch.of(Family::Netdev);
            build(if owned { batch.new_owned_table() } else { batch.new_table() })
        })
    }

    /// A number for the names of chains and sets that no others here have.
    pub(super) fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// Builds the tables with what muting needs, to see whether the kernel takes it.
    pub(super) fn allow_muting(&mut self) -> io::Result<()> {
        let mut tables = take(&self.tables);
        tables.allow_muting(true);
        tables.replace(CLOSED)
    }

    /// Mutes addresses of a link. Connections may begin for a while at those that are `late`, if the
    /// kernel can do that.
    pub(super) fn mute(
        &mut self,
        addresses: &BTreeSet<Scoped>,
        late: &BTreeSet<Scoped>,
        link: &mute::Disguise,
    ) -> io::Result<()> {
        let mut tables = take(&self.tables);
        tables.disguise(link)?;
        match tables.mute(addresses, late) {
            Err(error) if !late.is_empty() => {
                tracing::debug!(%error, "connections that begin during the move are lost");
                tables.mute(addresses, &BTreeSet::new())
            }
            done => done,
        }
    }

    /// Those that are muted go behind this door again; others stay as they are.
    pub(super) fn unmute(&mut self, addresses: &[Scoped], door: Door) -> io::Result<()> {
        let mut tables = take(&self.tables);
        let muted = |it: &&Scoped| tables.cover_of(it) == Some(Cover::Muted);
        let muted: Vec<Scoped> = addresses.iter().filter(muted).copied().collect();
        tables.cover(muted.into_iter().map(|address| (address, Cover::Behind(door))))
    }

    /// Builds the tables again with all that they cover, closed.
    pub(super) fn rebuild(&mut self) -> io::Result<()> {
        take(&self.tables).replace(CLOSED)
    }

    /// Puts addresses under their covers; one that is under another changes over at once.
    pub(super) fn cover(
        &mut self,
        addresses: impl Iterator<Item = (Scoped, Cover)>,
    ) -> io::Result<()> {
        take(&self.tables).cover(addresses)
    }

    /// Has the beginnings of TCP connections to these addresses get lost for a moment. Whoever sent
    /// one sends it again after a second, to whoever has the address then; a refusal, which it would
    /// get otherwise between the end of the sockets and the coming of the next owner, is final.
    pub(super) fn hush(&mut self, addresses: &[Scoped]) -> io::Result<()> {
        for some in addresses.chunks(COVERED_AT_ONCE) {
            self.change(|batch| add_timed(batch, (HUSHED, some), Some(HUSH)))?;
        }
        Ok(())
    }

    /// Lets addresses alone that are not here any more.
    pub(super) fn uncover(&mut self, addresses: &BTreeSet<Scoped>) -> io::Result<()> {
        take(&self.tables).uncover(addresses)
    }

    /// Addresses behind a door.
    pub(super) fn covered(&self) -> Vec<Scoped> {
        let tables = take(&self.tables);
        let covered = tables.covered().filter(|(_, cover)| *cover != Cover::Muted);
        covered.map(|(address, _)| address).collect()
    }

    /// Those under any cover that are of one link.
    pub(super) fn zoned(&self) -> Vec<Scoped> {
        let tables = take(&self.tables);
        tables.covered().map(|(address, _)| address).filter(|it| it.zone().is_some()).collect()
    }

    /// Removes the tables, if they are there.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        take(&self.tables).remove()
    }
}
