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
//!     chain inN { hook ingress device "eth0"; arp daddr ip, ip daddr, nd target, ip6 daddr
//!                 in vouched4 or 6: goto vouched; in granted4 or 6: goto granted }
//!     chain outN { hook egress device "eth0"; the same by source }   (Linux 5.16)
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

use crate::netlink::Conversation;
use crate::netlink::nftables::{self, Batch, Family, Field, Hook, Key, Step, carry_out};
use crate::protocol::Mode;

/// Before other tables see the frames.
const PRIORITY: i32 = -450;
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// All there is in a lease while it runs.
const LEASED: [&[u8]; 3] = [&ARP.to_be_bytes(), &IPV4.to_be_bytes(), &IPV6.to_be_bytes()];
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const ENOENT: i32 = 2;
/// Addresses covered by one batch: a list of elements holds 64 KiB, which are 2000 of IPv6.
const COVERED_AT_ONCE: usize = 1000;

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
    const fn lease(self) -> &'static str {
        match self {
            Self::Vouched => "vouched",
            Self::Granted => "granted",
        }
    }

    /// The set of the addresses behind it.
    const fn addresses(self, v6: bool) -> &'static str {
        match (self, v6) {
            (Self::Vouched, false) => "vouched4",
            (Self::Vouched, true) => "vouched6",
            (Self::Granted, false) => "granted4",
            (Self::Granted, true) => "granted6",
        }
    }
}

/// The name of the table of a cluster, another one for each: of what names of clusters are made
/// of, `nft` does not read the colon, and reads the slash, which they do not have.
#[must_use]
pub fn table_name(cluster: &str) -> String {
    format!("buoy_{}", cluster.replace(':', "/"))
}

/// The table, as the kernel thread keeps it.
#[derive(Debug)]
pub(super) struct Gate {
    table: String,
    conversation: Conversation,
    covered: BTreeMap<IpAddr, Door>,
    /// Devices at which frames are looked at, by index, under the name they had.
    devices: BTreeMap<u32, String>,
    /// What the table covered when it was lost, and where; not yet brought back.
    lost: (BTreeMap<IpAddr, Door>, BTreeMap<u32, String>),
    chains: u32,
}

impl Gate {
    /// Builds the table, closed and covering nothing; one that a predecessor left is replaced.
    ///
    /// # Errors
    ///
    /// When this kernel has no nf_tables, or not its netdev family; then nothing was changed.
    pub(super) fn open(table: String) -> io::Result<Self> {
        let conversation = nftables::open()?;
        let (covered, devices) = (BTreeMap::new(), BTreeMap::new());
        let lost = Default::default();
        let mut gate = Self { table, conversation, covered, devices, lost, chains: 0 };
        let built = gate.build().and_then(|()| gate.try_hook()).and_then(|()| gate.build());
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
        covered: BTreeMap<IpAddr, Door>,
        left: Duration,
    ) -> io::Result<Self> {
        let conversation = nftables::open()?;
        let (chains, lost) = (0, Default::default());
        let mut gate = Self { table, conversation, covered, devices, lost, chains };
        match gate.replace(true, left) {
            Err(error) if is_missing(&error) => gate.replace(false, left)?,
            replaced => replaced?,
        }
        for name in gate.devices.clone().into_values() {
            gate.chains += 1;
            gate.watch_outgoing(&name);
        }
        Ok(gate)
    }

    fn replace(&mut self, present: bool, left: Duration) -> io::Result<()> {
        let table = self.table.clone();
        let batch = Batch::new(Family::Netdev, &table);
        let mut batch = layout(if present { batch.delete_table() } else { batch });
        if let Some(left) = milliseconds(left) {
            batch = batch.add(Door::Vouched.lease(), &LEASED, Some(left));
        }
        let covered: Vec<(IpAddr, Door)> =
            self.covered.iter().map(|(address, door)| (*address, *door)).collect();
        for some in covered.chunks(COVERED_AT_ONCE) {
            batch = each_set(some, batch, |batch, set, keys| batch.add(set, keys, None));
        }
        for (number, name) in (1..).zip(self.devices.values()) {
            let (chain, hook) = (format!("in{number}"), Hook::Ingress(name));
            batch = rules(batch.new_chain(&chain, Some((hook, PRIORITY))), &chain, hook);
        }
        carry_out(&mut self.conversation, batch)
    }

    fn build(&mut self) -> io::Result<()> {
        self.remove()?;
        let table = self.table.clone();
        let batch = layout(Batch::new(Family::Netdev, &table));
        carry_out(&mut self.conversation, batch)
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
        self.chains += 1;
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
        carry_out(&mut self.conversation, rules(batch, &chain, hook))
    }

    /// Puts addresses behind their doors; one that is behind the other changes over at once.
    pub(super) fn cover(
        &mut self,
        addresses: impl Iterator<Item = (IpAddr, Door)>,
    ) -> io::Result<()> {
        let table = self.table.clone();
        let moving: BTreeMap<IpAddr, Door> =
            addresses.filter(|(address, door)| self.covered.get(address) != Some(door)).collect();
        let moving: Vec<(IpAddr, Door)> = moving.into_iter().collect();
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

    /// Lets addresses alone that are not here any more.
    pub(super) fn uncover(&mut self, addresses: &BTreeSet<IpAddr>) -> io::Result<()> {
        self.lost.0.retain(|address, _| !addresses.contains(address));
        let table = self.table.clone();
        let covered = |address: &IpAddr| self.covered.get(address).map(|door| (*address, *door));
        let gone: Vec<(IpAddr, Door)> = addresses.iter().filter_map(covered).collect();
        for some in gone.chunks(COVERED_AT_ONCE) {
            let batch = each_set(some, Batch::new(Family::Netdev, &table), Batch::delete);
            carry_out(&mut self.conversation, batch)?;
            for (address, _) in some {
                self.covered.remove(address);
            }
        }
        Ok(())
    }

    /// Addresses under the gate, or to come back there.
    pub(super) fn covered(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.covered.keys().chain(self.lost.0.keys()).copied()
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

/// The table with its doors, closed and with nothing behind them.
fn layout(batch: Batch<'_>) -> Batch<'_> {
    let mut batch = batch.new_table();
    for door in Door::ALL {
        let lease = door.lease();
        batch = batch
            .new_set(door.addresses(false), Key::Ipv4, false)
            .new_set(door.addresses(true), Key::Ipv6, false)
            .new_set(lease, Key::EtherType, true)
            .new_chain(lease, None)
            .new_rule(lease, &[Step::EtherTypeIn(lease), Step::Accept])
            .new_rule(lease, &[Step::Drop]);
    }
    batch
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

/// Adds to a batch what is to be done to each of the sets that these addresses are in.
fn each_set<'a>(
    addresses: &[(IpAddr, Door)],
    mut batch: Batch<'a>,
    act: impl Fn(Batch<'a>, &str, &[&[u8]]) -> Batch<'a>,
) -> Batch<'a> {
    for (door, v6) in Door::ALL.into_iter().flat_map(|door| [(door, false), (door, true)]) {
        let those = addresses.iter().filter(|(address, of)| *of == door && address.is_ipv6() == v6);
        let keys: Vec<Vec<u8>> = those.map(|(address, _)| octets(*address)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        if !keys.is_empty() {
            batch = act(batch, door.addresses(v6), &keys);
        }
    }
    batch
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The rules of a chain: which frames concern an address behind a door.
fn rules<'a>(mut batch: Batch<'a>, chain: &str, hook: Hook<'_>) -> Batch<'a> {
    // Where the address is in ARP, IPv4 and IPv6: whom it is for, or who sent it.
    let incoming = matches!(hook, Hook::Ingress(_));
    let (arp, v4, v6) = if incoming { (24, 16, 24) } else { (14, 12, 8) };
    for door in Door::ALL {
        let gate = Step::Goto(door.lease());
        let covered4 = |offset| Step::In(Field::Network(offset), 4, door.addresses(false));
        let covered6 = |field| Step::In(field, 16, door.addresses(true));
        batch = batch
            .new_rule(chain, &[Step::EtherType(ARP), covered4(arp), gate])
            .new_rule(chain, &[Step::EtherType(IPV4), covered4(v4), gate])
            .new_rule(chain, &[Step::EtherType(IPV6), covered6(Field::Network(v6)), gate]);
        if incoming {
            let solicits = Step::Is(Field::Transport(0), &[NEIGHBOUR_SOLICITATION]);
            let target = covered6(Field::Transport(8));
            let asks = [Step::EtherType(IPV6), Step::Carries(ICMPV6), solicits, target, gate];
            batch = batch.new_rule(chain, &asks);
        }
    }
    batch
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
    table: String,
    conversation: Conversation,
}

impl Lease {
    /// For the gate that is this table; whether it is there shows when it is renewed.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be spoken to.
    pub fn open(table: &str) -> io::Result<Self> {
        Ok(Self { table: table.to_owned(), conversation: nftables::open()? })
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
            Err(error) if is_missing(&error) => self.look(),
            closed => renewal(closed),
        }
    }

    /// Looks whether the gate is there, whatever its doors are.
    pub fn look(&mut self) -> Renewal {
        renewal(nftables::find_table(&mut self.conversation, Family::Netdev, &self.table))
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ENOENT)
}

fn renewal(outcome: io::Result<()>) -> Renewal {
    match outcome {
        Ok(()) => Renewal::Done,
        Err(error) if is_missing(&error) => Renewal::Gone,
        Err(error) => Renewal::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::table_name;

    #[test]
    fn clusters_with_similar_names_have_tables_of_their_own() {
        let clusters = ["a-b", "a_b", "a.b", "a:b", "ab", "A_b"];
        let tables: BTreeSet<String> = clusters.map(table_name).into();
        assert_eq!(tables.len(), clusters.len(), "{tables:?}");
        assert!(tables.iter().all(|table| !table.contains(':')), "{tables:?}");
    }
}
