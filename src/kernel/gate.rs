//! The gate: the kernel answers for our addresses only while a live daemon renews a lease.
//!
//! A table of our own in nf_tables with two doors. What is sent to, or from, an address behind a
//! door passes only while the door's lease has elements, and these end by themselves. So a daemon
//! that is dead, stopped or stuck stops answering without doing anything, and its lease is renewed
//! for all addresses at once.
//!
//! ```text
//!   table netdev buoy_CLUSTER {
//!     set vouched4 { type ipv4_addr }    set vouched6 { type ipv6_addr }
//!     set vouched { type ether_type; flags timeout }       the lease: arp, ip, ip6
//!     chain vouched { meta protocol @vouched accept; drop }
//!     sets and chain of the other door: granted4, granted6, granted
//!     set withdrawn4, withdrawn6                           addresses that another host has
//!     chain withdrawn { tcp flags rst accept; drop }       asked before all doors
//!     set hushed4, hushed6 { flags timeout }               addresses that are about to go
//!     chain inN { hook ingress device "eth0"; tcp syn to hushed4 or 6: drop; arp daddr ip, ip daddr, nd target, ip6 daddr
//!                 in vouched4 or 6: goto vouched; in granted4 or 6: goto granted }
//!     chain outN { hook egress device "eth0"; the same by source }   (Linux 5.16)
//!     addresses that have been handed over are in muted4 and muted6, see `mute`
//!   }
//! ```
//!
//! `apply` covers addresses before it adds them and uncovers them when they are gone; it never
//! opens a door, the thread that holds the [`Lease`] does, in `daemon`. Other tables are never
//! touched. Somebody may flush ours: renewing fails then, the gate is built anew, opened, and
//! only then put before the addresses again, so that no frame is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::mute;
use super::ruleset::{ARP, Cover, HUSHED, IPV4, IPV6, PRIORITY, each_set, layout, octets, rules};
use super::withdrawals::Withdrawals;
use crate::netlink::Conversation;
use crate::netlink::nftables::{self, Batch, Family, Hook, carry_out};
use crate::protocol::Mode;

/// All there is in a lease while it runs.
const LEASED: [&[u8]; 3] = [&ARP.to_be_bytes(), &IPV4.to_be_bytes(), &IPV6.to_be_bytes()];
const ENOENT: i32 = 2;
/// Why addresses are not muted where nobody asked for it.
const NOT_WANTED: &str = "it is not configured";
/// How long they are hushed: longer than requests are waited for and connections are ended, and not
/// so long that it would matter if they stay after all.
const HUSH: Duration = Duration::from_millis(250);
/// Addresses covered by one batch: a list of elements holds 64 KiB, which are 2000 of IPv6.
pub(super) const COVERED_AT_ONCE: usize = 1000;

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

/// The table, as the kernel thread keeps it.
#[derive(Debug)]
pub(super) struct Gate {
    table: String,
    conversation: Conversation,
    covered: BTreeMap<IpAddr, Cover>,
    /// Devices at which frames are looked at, by index, under the name they had.
    devices: BTreeMap<u32, String>,
    /// What the table covered when it was lost, and where; not yet brought back.
    lost: (BTreeMap<IpAddr, Cover>, BTreeMap<u32, String>),
    /// Devices that name no muted address as their own, see `mute`.
    disguised: BTreeSet<u32>,
    /// Why addresses cannot be muted; `None` if they can.
    unmutable: Option<String>,
    chains: u32,
}

impl Gate {
    /// Builds the table, closed and covering nothing; one that a predecessor left is replaced.
    /// With `mutes`, addresses can be muted if this kernel lets us.
    ///
    /// # Errors
    ///
    /// When this kernel has no nf_tables, or not its netdev family; then nothing was changed.
    pub(super) fn open(table: String, mutes: bool) -> io::Result<Self> {
        let mut gate = Self {
            table,
            conversation: nftables::open()?,
            covered: BTreeMap::new(),
            devices: BTreeMap::new(),
            lost: Default::default(),
            disguised: BTreeSet::new(),
            unmutable: Some(NOT_WANTED.to_owned()),
            chains: 0,
        };
        let tried = gate.build().and_then(|()| gate.try_hook());
        if tried.is_ok() && mutes {
            gate.unmutable = mute::try_all(&mut gate).err();
        }
        let built = tried.and_then(|()| gate.build());
        if built.is_err() {
            // What was built before the refusal is of no use.
            let _ = gate.remove();
        }
        built.map(|()| gate)
    }

    /// Goes on with the gate of a process before this one: in one step it is replaced by one that
    /// covers these addresses at these devices and is open for so long, so that no frame finds it
    /// closed between, or gone.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; then nothing was changed.
    pub(super) fn adopt(
        table: String,
        devices: BTreeMap<u32, String>,
        covered: BTreeMap<IpAddr, Cover>,
        (left, mutes): (Duration, bool),
    ) -> io::Result<Self> {
        let mut gate = Self {
            table,
            conversation: nftables::open()?,
            covered,
            devices,
            lost: Default::default(),
            disguised: BTreeSet::new(),
            // That was tried by the process before this one; where it cannot be, this is refused.
            unmutable: (!mutes).then(|| NOT_WANTED.to_owned()),
            chains: 0,
        };
        match gate.replace(true, left) {
            Err(error) if is_missing(&error) => gate.replace(false, left)?,
            replaced => replaced?,
        }
        for name in gate.devices.clone().into_values() {
            gate.number();
            gate.watch_outgoing(&name);
        }
        Ok(gate)
    }

    fn replace(&mut self, present: bool, left: Duration) -> io::Result<()> {
        let table = self.table.clone();
        let batch = Batch::new(Family::Netdev, &table);
        let batch = if present { batch.delete_table() } else { batch };
        let covers = self.covers();
        let mut batch = layout(batch, covers);
        if let Some(left) = milliseconds(left) {
            batch = batch.add(Door::Vouched.lease(), &LEASED, Some(left));
        }
        let covered: Vec<(IpAddr, Cover)> =
            self.covered.iter().map(|(address, cover)| (*address, *cover)).collect();
        for some in covered.chunks(COVERED_AT_ONCE) {
            batch = each_set(some, batch, |batch, set, keys| batch.add(set, keys, None));
        }
        for (number, name) in (1..).zip(self.devices.values()) {
            let (chain, hook) = (format!("in{number}"), Hook::Ingress(name));
            batch = rules(batch.new_chain(&chain, Some((hook, PRIORITY))), &chain, hook, covers);
        }
        carry_out(&mut self.conversation, batch)
    }

    fn build(&mut self) -> io::Result<()> {
        self.remove()?;
        self.disguised.clear();
        let table = self.table.clone();
        let batch = layout(Batch::new(Family::Netdev, &table), self.covers());
        carry_out(&mut self.conversation, batch)
    }

    /// What addresses may be under here.
    fn covers(&self) -> &'static [Cover] {
        if self.unmutable.is_none() { &Cover::ALL } else { &Cover::DOORS }
    }

    /// Why addresses cannot be muted, if so.
    pub(super) fn unmutable(&self) -> Option<&str> {
        self.unmutable.as_deref()
    }

    /// Has the kernel carry out one more batch on the table.
    pub(super) fn change(
        &mut self,
        build: impl for<'b> FnOnce(Batch<'b>) -> Batch<'b>,
    ) -> io::Result<()> {
        let batch = build(Batch::new(Family::Netdev, &self.table));
        carry_out(&mut self.conversation, batch)
    }

    /// A number for the names of chains and sets that no others here have.
    pub(super) fn number(&mut self) -> u32 {
        self.chains += 1;
        self.chains
    }

    /// Mutes addresses of a link, all at once.
    pub(super) fn mute(&mut self, addresses: &[IpAddr], link: &mute::Disguise) -> io::Result<()> {
        self.watch(link.index, &link.name)?;
        if !self.disguised.contains(&link.index) {
            let chain = format!("disguise{}", self.number());
            self.change(|batch| link.rules(batch, &chain))?;
            self.disguised.insert(link.index);
        }
        self.cover(addresses.iter().map(|address| (*address, Cover::Muted)))
    }

    /// Those that are muted go behind this door again; others stay as they are.
    pub(super) fn unmute(&mut self, addresses: &[IpAddr], door: Door) -> io::Result<()> {
        let muted = |it: &&IpAddr| self.covered.get(it) == Some(&Cover::Muted);
        let muted: Vec<IpAddr> = addresses.iter().filter(muted).copied().collect();
        self.cover(muted.into_iter().map(|address| (address, Cover::Behind(door))))
    }

    /// Tables of the family may be there without the hook (`CONFIG_NETFILTER_INGRESS`).
    fn try_hook(&mut self) -> io::Result<()> {
        let place = Some((Hook::Ingress("lo"), PRIORITY));
        let batch = Batch::new(Family::Netdev, &self.table).new_chain("trial", place);
        carry_out(&mut self.conversation, batch)
    }

    /// Builds the table anew. Until [`Gate::restore`] nothing is held back, so that its doors can
    /// be opened first.
    pub(super) fn rebuild(&mut self) -> io::Result<()> {
        self.lost.0.append(&mut self.covered);
        self.lost.1.append(&mut self.devices);
        self.build()
    }

    /// Covers again what was lost. What could not be is tried at the next time.
    pub(super) fn restore(&mut self) -> io::Result<()> {
        for (index, name) in self.lost.1.clone() {
            match self.watch(index, &name) {
                // A device that has gone meanwhile has nothing to be covered.
                Err(error) if is_missing(&error) => {}
                watched => watched?,
            }
            self.lost.1.remove(&index);
        }
        let lost = self.lost.0.clone();
        self.cover(lost.into_iter())
    }

    /// Looks at what comes in at a device, and goes out.
    pub(super) fn watch(&mut self, index: u32, name: &str) -> io::Result<()> {
        if self.devices.get(&index).is_some_and(|known| known == name) {
            return Ok(());
        }
        self.number();
        self.look_at("in", Hook::Ingress(name))?;
        self.devices.insert(index, name.to_owned());
        self.watch_outgoing(name);
        Ok(())
    }

    fn watch_outgoing(&mut self, name: &str) {
        if let Err(error) = self.look_at("out", Hook::Egress(name)) {
            tracing::debug!(%error, name, "what goes out is not gated: it needs Linux 5.16");
        }
    }

    /// Adds the chain of the device with the last number.
    fn look_at(&mut self, direction: &str, hook: Hook<'_>) -> io::Result<()> {
        let (table, chain) = (self.table.clone(), format!("{direction}{}", self.chains));
        let batch = Batch::new(Family::Netdev, &table).new_chain(&chain, Some((hook, PRIORITY)));
        let batch = rules(batch, &chain, hook, self.covers());
        carry_out(&mut self.conversation, batch)
    }

    /// Puts addresses under their covers; one that is under another changes over at once.
    pub(super) fn cover(
        &mut self,
        addresses: impl Iterator<Item = (IpAddr, Cover)>,
    ) -> io::Result<()> {
        let table = self.table.clone();
        let moving: BTreeMap<IpAddr, Cover> =
            addresses.filter(|(address, cover)| self.covered.get(address) != Some(cover)).collect();
        let moving: Vec<(IpAddr, Cover)> = moving.into_iter().collect();
        for some in moving.chunks(COVERED_AT_ONCE) {
            let leaving = some
                .iter()
                .filter_map(|(address, _)| self.covered.get(address).map(|door| (*address, *door)));
            let batch = each_set(
                &leaving.collect::<Vec<_>>(),
                Batch::new(Family::Netdev, &table),
                Batch::delete,
            );
            let batch = each_set(some, batch, |batch, set, keys| batch.add(set, keys, None));
            carry_out(&mut self.conversation, batch)?;
            self.covered.extend(some.iter().copied());
            self.lost.0.retain(|address, _| !self.covered.contains_key(address));
        }
        Ok(())
    }

    /// Has the beginnings of TCP connections to these addresses get lost for a moment. Whoever sent
    /// one sends it again after a second, to whoever has the address then; a refusal, which it would
    /// get otherwise between the end of the sockets and the coming of the next owner, is final.
    pub(super) fn hush(&mut self, addresses: &[IpAddr]) -> io::Result<()> {
        for some in addresses.chunks(COVERED_AT_ONCE) {
            let mut batch = Batch::new(Family::Netdev, &self.table);
            for (set, v6) in HUSHED.into_iter().zip([false, true]) {
                let those = some.iter().filter(|address| address.is_ipv6() == v6);
                let keys: Vec<Vec<u8>> = those.map(|address| octets(*address)).collect();
                let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                if !keys.is_empty() {
                    batch = batch.add(set, &keys, milliseconds(HUSH));
                }
            }
            carry_out(&mut self.conversation, batch)?;
        }
        Ok(())
    }

    /// Lets addresses alone that are not here any more.
    pub(super) fn uncover(&mut self, addresses: &BTreeSet<IpAddr>) -> io::Result<()> {
        self.lost.0.retain(|address, _| !addresses.contains(address));
        let table = self.table.clone();
        let covered = |address: &IpAddr| self.covered.get(address).map(|door| (*address, *door));
        let gone: Vec<(IpAddr, Cover)> = addresses.iter().filter_map(covered).collect();
        for some in gone.chunks(COVERED_AT_ONCE) {
            let batch = each_set(some, Batch::new(Family::Netdev, &table), Batch::delete);
            carry_out(&mut self.conversation, batch)?;
            for (address, _) in some {
                self.covered.remove(address);
            }
        }
        Ok(())
    }

    /// Addresses behind a door, or to come back there.
    pub(super) fn covered(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let all = self.covered.iter().chain(&self.lost.0);
        all.filter(|(_, cover)| **cover != Cover::Muted).map(|(address, _)| *address)
    }

    /// Removes the table, if it is there.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        remove(&mut self.conversation, &self.table)
    }
}

/// The kernel counts whole ones; none is nothing to lease.
fn milliseconds(length: Duration) -> Option<u64> {
    u64::try_from(length.as_millis()).ok().filter(|length| *length > 0)
}

/// Removes a gate whose daemon is gone, if it is there.
///
/// # Errors
///
/// What the kernel says; then it is still there.
pub fn remove_gate(table: &str) -> io::Result<()> {
    remove(&mut nftables::open()?, table)
}

fn remove(conversation: &mut Conversation, table: &str) -> io::Result<()> {
    match carry_out(conversation, Batch::new(Family::Netdev, table).delete_table()) {
        Err(error) if is_missing(&error) => Ok(()),
        removed => removed,
    }
}

/// What became of a renewal.
#[derive(Debug)]
pub enum Renewal {
    /// The door is open for as long as asked.
    Done,
    /// The table is gone: somebody has flushed it. The gate does not hold until it is rebuilt.
    Gone,
    /// The kernel refused; the lease runs out unless this passes.
    Failed(io::Error),
}

/// Opens and closes the doors of a gate, and nobody else does. Its own way to the kernel, so that
/// it waits for nobody.
#[derive(Debug)]
pub struct Lease {
    pub(super) table: String,
    pub(super) conversation: Conversation,
    pub(super) withdrawals: Withdrawals,
    /// Addresses that the table holds as withdrawn.
    pub(super) withdrawn: BTreeSet<IpAddr>,
}

impl Lease {
    /// For the gate that is this table; whether it is there shows when it is renewed.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be spoken to.
    pub fn open(table: &str) -> io::Result<Self> {
        Ok(Self {
            table: table.to_owned(),
            conversation: nftables::open()?,
            withdrawals: Withdrawals::default(),
            withdrawn: BTreeSet::new(),
        })
    }

    /// From now on [`Lease::withdraw`] goes by these.
    pub(super) fn follow(mut self, withdrawals: Withdrawals) -> Self {
        self.withdrawals = withdrawals;
        self
    }

    /// Opens a door for so long from now, in whole milliseconds, rounded down. The old elements go
    /// and the new ones come in one step, so that no frame finds it closed between. About 30 us.
    pub fn renew(&mut self, door: Door, length: Duration) -> Renewal {
        let Some(milliseconds) = milliseconds(length) else { return self.close(door) };
        let lease = door.lease();
        let again = Batch::new(Family::Netdev, &self.table).delete(lease, &LEASED);
        let again = again.add(lease, &LEASED, Some(milliseconds));
        match carry_out(&mut self.conversation, again) {
            Err(error) if is_missing(&error) => {
                let first =
                    Batch::new(Family::Netdev, &self.table).add(lease, &LEASED, Some(milliseconds));
                renewal(carry_out(&mut self.conversation, first))
            }
            renewed => renewal(renewed),
        }
    }

    /// Closes a door now.
    pub fn close(&mut self, door: Door) -> Renewal {
        let batch = Batch::new(Family::Netdev, &self.table).delete(door.lease(), &LEASED);
        match carry_out(&mut self.conversation, batch) {
            Err(error) if is_missing(&error) => self.close_each(door),
            closed => renewal(closed),
        }
    }

    /// The elements of a lease may end a tick apart: those that are left are deleted one by one.
    fn close_each(&mut self, door: Door) -> Renewal {
        for key in LEASED {
            let batch = Batch::new(Family::Netdev, &self.table).delete(door.lease(), &[key]);
            match carry_out(&mut self.conversation, batch) {
                Err(error) if !is_missing(&error) => return Renewal::Failed(error),
                Ok(()) | Err(_) => {}
            }
        }
        self.look()
    }

    /// Looks whether the gate is there, whatever its doors are.
    pub fn look(&mut self) -> Renewal {
        renewal(nftables::find_table(&mut self.conversation, Family::Netdev, &self.table))
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ENOENT)
}

pub(super) fn renewal(outcome: io::Result<()>) -> Renewal {
    match outcome {
        Ok(()) => Renewal::Done,
        Err(error) if is_missing(&error) => Renewal::Gone,
        Err(error) => Renewal::Failed(error),
    }
}
