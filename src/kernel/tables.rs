//! The tables that are the gate, as they are to be, and what puts them there.
//!
//! Two threads work with them, one at a time: that of the kernel, which covers and uncovers, by
//! [`super::gate`], and that of the lease, by [`super::renewal`], which looks whether they are whole
//! and puts them back. Tables that can be owned are: then nobody else can change, empty or remove
//! them, not by `flush ruleset` either, and they outlive this process, as nobody's. Where they
//! cannot (before Linux 6.9) they are looked at as soon as anything has changed in nf_tables, and
//! put back as a whole, in one step and with the doors as they shall be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant as Moment;

use super::gate::Door;
use super::holding::release_tables;
use super::mark::Mark;
use super::mute::{self, Disguise};
use super::ruleset::{Cover, FAMILIES, Kind, RUNS, Secret, each_set, layout, octets};
use super::scoped::Scoped;
use crate::netlink::Conversation;
use crate::netlink::nftables::{self, Batch, Family, carry_out};
use crate::netlink::tables::{elements, generation, print};

/// Addresses in one message: a list of elements holds 64 KiB, which are 2000 of IPv6.
const COVERED_AT_ONCE: usize = 1000;
/// Addresses go into the first batch as long as it is no longer than this, in bytes.
const BATCH_MAX: usize = 160 * 1024;
const EPERM: i32 = 1;
const ENOENT: i32 = 2;
/// A table belongs to a process that dies until its socket is closed, which its other files may
/// have been before.
const DYING: Duration = Duration::from_millis(100);
/// Between two attempts meanwhile.
const AGAIN: Duration = Duration::from_micros(200);
/// How often it is looked for a moment without changes by others.
const LOOKS: usize = 3;
/// Between two looks at tables that nobody else can change.
const OWNED_LOOK: Duration = Duration::from_secs(1);

/// The tables, for both threads.
pub(super) type Shared = Arc<Mutex<Tables>>;

/// Takes them, for as long as one batch takes; a thread that has panicked left none half done.
pub(super) fn take(shared: &Shared) -> MutexGuard<'_, Tables> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a packet has to know that renews a lease: `None` where only a change of the rules does.
/// Changes when the tables are built; never taken for longer than reading it takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<Mutex<Option<Secret>>>);

impl Known {
    pub(super) fn get(&self) -> Option<Secret> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, secret: Option<Secret>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = secret;
    }
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Tables {
    name: String,
    conversation: Conversation,
    /// Nobody else can change them.
    owned: bool,
    /// Packets renew the leases.
    renewable: bool,
    secret: Known,
    mutes: bool,
    covered: BTreeMap<Scoped, Cover>,
    /// Whatever they are under, another host has these.
    withdrawn: BTreeSet<Scoped>,
    disguises: BTreeMap<u32, Disguise>,
    /// What they look like, from [`print`]; `None` if they could not be built.
    built: Option<[u64; FAMILIES.len()]>,
    /// As of when they are known to be whole.
    seen: Option<u32>,
    /// When that was found out.
    seen_at: Option<Moment>,
}

impl Tables {
    /// Knows what is to be there; builds nothing yet.
    pub(super) fn new(name: String, mutes: bool) -> io::Result<Self> {
        Ok(Self {
            name,
            conversation: nftables::open()?,
            owned: true,
            renewable: true,
            secret: Known::default(),
            mutes,
            covered: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            disguises: BTreeMap::new(),
            built: None,
            seen: None,
            seen_at: None,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether nobody else can change them.
    pub(super) fn owned(&self) -> bool {
        self.owned
    }

    /// A copy of what they belong to; `None` if others can change them.
    pub(super) fn socket(&self) -> io::Result<Option<OwnedFd>> {
        self.owned.then(|| self.conversation.copy()).transpose()
    }

    pub(super) fn secret(&self) -> Known {
        self.secret.clone()
    }

    pub(super) fn allow_muting(&mut self, mutes: bool) {
        self.mutes = mutes;
    }

    /// Builds them for the first time, with all that this kernel can do, in place of what a
    /// predecessor left; those that it left may cover the same addresses.
    pub(super) fn establish(
        &mut self,
        covered: BTreeMap<Scoped, Cover>,
        lefts: [Option<Duration>; Door::ALL.len()],
    ) -> io::Result<()> {
        self.covered = covered;
        let mut outcome = Err(io::ErrorKind::Unsupported.into());
        for (owned, renewable) in [(true, true), (false, true), (false, false)] {
            (self.owned, self.renewable) = (owned, renewable);
            let mark = Mark::of(&self.name);
            outcome = patiently(|| {
                release_tables(mark);
                self.replace(lefts)
            });
            if outcome.is_ok() {
                break;
            }
        }
        // Here a predecessor forwarded; one of an earlier version had its gate here. Whoever else
        // has it for himself could hold back everything.
        match remove_family(&mut self.conversation, Family::Netdev, &self.name) {
            Err(error) if error.raw_os_error() == Some(EPERM) => outcome.and(Err(error)),
            _ => outcome,
        }
    }

    /// Builds them as tables that others can change, which they are before Linux 6.9.
    pub(super) fn disown(&mut self) -> io::Result<()> {
        self.owned = false;
        self.replace([None; Door::ALL.len()])
    }

    /// Puts them there as they are to be, whatever is there now: with all that is covered, and
    /// doors open for what is left, in one step.
    pub(super) fn replace(&mut self, lefts: [Option<Duration>; Door::ALL.len()]) -> io::Result<()> {
        (self.built, self.seen) = (None, None);
        let secret = if self.renewable { Some(secret()?) } else { None };
        let name = self.name.clone();
        let mut batch = Batch::new(Family::Inet, &name);
        for family in FAMILIES {
            // Creating before deleting makes the deletion succeed where there was no table.
            batch = batch.of(family).new_table().delete_table();
        }
        batch = layout(batch, self.covers(), (self.owned, secret.as_ref()));
        if self.mutes {
            batch = mute::disguise(batch, self.disguises.values());
        }
        for (door, left) in Door::ALL.into_iter().zip(lefts) {
            batch = opening(batch, door, left);
        }
        for some in self.wanted().chunks(COVERED_AT_ONCE) {
            if batch.length() > BATCH_MAX {
                carry_out(&mut self.conversation, batch)?;
                batch = Batch::new(Family::Inet, &name);
            }
            batch = each_set(some, batch, |batch, set, keys| batch.add(set, keys, None));
        }
        carry_out(&mut self.conversation, batch)?;
        self.secret.set(secret);
        self.learn()
    }

    /// Everything that is to be in their sets.
    fn wanted(&self) -> Vec<(Scoped, Cover)> {
        let withdrawn = self.withdrawn.iter().map(|address| (*address, Cover::Withdrawn));
        self.covered().chain(withdrawn).collect()
    }

    /// Makes these the addresses that another host has.
    pub(super) fn withdraw(&mut self, wanted: &BTreeSet<Scoped>) -> io::Result<()> {
        let under = |address: &Scoped| (*address, Cover::Withdrawn);
        let come: Vec<_> = wanted.difference(&self.withdrawn).map(under).collect();
        let go: Vec<_> = self.withdrawn.difference(wanted).map(under).collect();
        for some in come.chunks(COVERED_AT_ONCE) {
            self.change(|batch| {
                each_set(some, batch, |batch, set, keys| batch.add(set, keys, None))
            })?;
            self.withdrawn.extend(some.iter().map(|(address, _)| *address));
        }
        for some in go.chunks(COVERED_AT_ONCE) {
            // What is built again does not withdraw them.
            self.withdrawn.retain(|address| wanted.contains(address));
            self.change(|batch| each_set(some, batch, Batch::delete))?;
        }
        Ok(())
    }

    /// What addresses may be under here.
    fn covers(&self) -> &'static [Cover] {
        if self.mutes { &Cover::ALL } else { &Cover::DOORS }
    }

    /// Notes what they look like now.
    fn learn(&mut self) -> io::Result<()> {
        self.built = None;
        self.seen = None;
        self.seen_at = None;
        self.built = Some(self.prints()?);
        Ok(())
    }

    fn prints(&mut self) -> io::Result<[u64; FAMILIES.len()]> {
        let mut prints = [0; FAMILIES.len()];
        for (to, family) in prints.iter_mut().zip(FAMILIES) {
            *to = print(&mut self.conversation, family, &self.name)?;
        }
        Ok(prints)
    }

    /// Whether they are there as they were built, with all that is covered. Costs one question
    /// while nothing has changed in nf_tables, and mostly none where nobody else can change them.
    pub(super) fn whole(&mut self) -> io::Result<bool> {
        let lately = self.seen_at.is_some_and(|at| at.elapsed() < OWNED_LOOK);
        if self.owned && self.built.is_some() && self.seen.is_some() && lately {
            return Ok(true);
        }
        self.seen_at = Some(Moment::now());
        for _ in 0..LOOKS {
            let now = generation(&mut self.conversation)?;
            if self.built.is_some() && self.seen == Some(now) {
                return Ok(true);
            }
            let found = match self.look() {
                Err(error) if is_missing(&error) => false,
                found => found?,
            };
            if generation(&mut self.conversation)? == now {
                self.seen = found.then_some(now);
                return Ok(found);
            }
        }
        // Others change a lot; whoever removes something of ours does so before the next look.
        Ok(self.built.is_some())
    }

    fn look(&mut self) -> io::Result<bool> {
        let prints = self.prints()?;
        if self.built != Some(prints) {
            return Ok(false);
        }
        let covered = self.wanted();
        for family in FAMILIES {
            for (cover, kind) in Cover::sets(self.covers(), family) {
                let those = covered
                    .iter()
                    .filter(|(address, of)| *of == cover && Kind::of(address) == kind);
                let wanted: BTreeSet<Vec<u8>> = those.map(|(address, _)| octets(address)).collect();
                let set = (self.name.as_str(), cover.addresses(kind));
                if !wanted.is_empty()
                    && !wanted.is_subset(&elements(&mut self.conversation, family, set)?)
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Has the kernel carry out one more batch.
    pub(super) fn change(
        &mut self,
        build: impl for<'b> FnOnce(Batch<'b>) -> Batch<'b>,
    ) -> io::Result<()> {
        let batch = build(Batch::new(Family::Inet, &self.name));
        carry_out(&mut self.conversation, batch)
    }

    /// Makes questions on behalf of muted addresses name what a link has of its own.
    pub(super) fn disguise(&mut self, link: &Disguise) -> io::Result<()> {
        if self.disguises.get(&link.index) == Some(link) {
            return Ok(());
        }
        let mut disguises = self.disguises.clone();
        disguises.insert(link.index, link.clone());
        self.change(|batch| mute::disguise(batch, disguises.values()))?;
        self.disguises = disguises;
        self.learn()
    }

    /// What an address is under.
    pub(super) fn cover_of(&self, address: &Scoped) -> Option<Cover> {
        self.covered.get(address).copied()
    }

    /// Puts addresses under their covers; one that is under another changes over at once.
    pub(super) fn cover(
        &mut self,
        addresses: impl Iterator<Item = (Scoped, Cover)>,
    ) -> io::Result<()> {
        self.cover_with(addresses, |batch, _| batch)
    }

    /// The same, and what `also` adds for those that change over, in the same transaction.
    fn cover_with(
        &mut self,
        addresses: impl Iterator<Item = (Scoped, Cover)>,
        also: impl for<'b> Fn(Batch<'b>, &[(Scoped, Cover)]) -> Batch<'b>,
    ) -> io::Result<()> {
        let moving: BTreeMap<Scoped, Cover> =
            addresses.filter(|(address, cover)| self.covered.get(address) != Some(cover)).collect();
        let moving: Vec<(Scoped, Cover)> = moving.into_iter().collect();
        for some in moving.chunks(COVERED_AT_ONCE) {
            let leaving = some.iter().filter_map(|(address, _)| {
                self.covered.get(address).map(|cover| (*address, *cover))
            });
            let leaving: Vec<(Scoped, Cover)> = leaving.collect();
            self.change(|batch| {
                let batch = each_set(&leaving, batch, Batch::delete);
                let batch = each_set(some, batch, |batch, set, keys| batch.add(set, keys, None));
                also(batch, some)
            })?;
            self.covered.extend(some.iter().copied());
        }
        Ok(())
    }

    /// Mutes addresses; at those that are `late` connections may begin for a while.
    pub(super) fn mute(
        &mut self,
        addresses: &BTreeSet<Scoped>,
        late: &BTreeSet<Scoped>,
    ) -> io::Result<()> {
        let muted = addresses.iter().map(|address| (*address, Cover::Muted));
        self.cover_with(muted, |batch, some| {
            let some = some.iter().map(|(address, _)| *address);
            let some: Vec<Scoped> = some.filter(|address| late.contains(address)).collect();
            mute::allow_late(batch, &some)
        })
    }

    /// Lets addresses alone that are not here any more.
    pub(super) fn uncover(&mut self, addresses: &BTreeSet<Scoped>) -> io::Result<()> {
        let covered = |address: &Scoped| self.covered.get(address).map(|cover| (*address, *cover));
        let gone: Vec<(Scoped, Cover)> = addresses.iter().filter_map(covered).collect();
        for some in gone.chunks(COVERED_AT_ONCE) {
            // What is built again does not cover them.
            self.covered.retain(|address, _| !some.iter().any(|(gone, _)| gone == address));
            self.change(|batch| each_set(some, batch, Batch::delete))?;
        }
        Ok(())
    }

    /// Everything that is covered.
    pub(super) fn covered(&self) -> impl Iterator<Item = (Scoped, Cover)> + '_ {
        self.covered.iter().map(|(address, cover)| (*address, *cover))
    }

    /// Removes them, if they are there.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        (self.built, self.seen) = (None, None);
        remove(&mut self.conversation, &self.name)
    }
}

/// Has a door be open for so long, or closed.
pub(super) fn opening(mut batch: Batch<'_>, door: Door, left: Option<Duration>) -> Batch<'_> {
    let left = left.and_then(|left| u64::try_from(left.as_millis()).ok());
    let left = left.filter(|left| *left > 0);
    for family in FAMILIES {
        batch = batch.of(family).empty(door.lease());
        if left.is_some() {
            batch = batch.add(door.lease(), &[&RUNS.to_be_bytes()], left);
        }
    }
    batch
}

/// Removes a gate whose daemon is gone, if it is there.
///
/// # Errors
///
/// What the kernel says; then it is still there.
pub fn remove_gate(table: &str) -> io::Result<()> {
    let mut conversation = nftables::open()?;
    patiently(|| remove(&mut conversation, table))
}

fn remove(conversation: &mut Conversation, table: &str) -> io::Result<()> {
    drop(remove_family(conversation, Family::Netdev, table));
    FAMILIES.into_iter().try_for_each(|family| remove_family(conversation, family, table))
}

fn remove_family(conversation: &mut Conversation, family: Family, table: &str) -> io::Result<()> {
    match carry_out(conversation, Batch::new(family, table).delete_table()) {
        Err(error) if is_missing(&error) => Ok(()),
        removed => removed,
    }
}

/// Tries again for a moment as long as the tables belong to somebody else, who may be dying.
pub(super) fn patiently(mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let begun = Moment::now();
    loop {
        match attempt() {
            Err(error) if error.raw_os_error() == Some(EPERM) && begun.elapsed() < DYING => {
                std::thread::park_timeout(AGAIN);
            }
            outcome => return outcome,
        }
    }
}

pub(super) fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ENOENT)
}

fn secret() -> io::Result<Secret> {
    let mut secret = Secret::default();
    File::open("/dev/urandom")?.read_exact(&mut secret)?;
    Ok(secret)
}
