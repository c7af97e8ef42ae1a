//! Sends the former owner of a group the segments of connections that it still serves.
//!
//! The new owner knows its own connections by their first segment, which it has seen. Whatever else
//! comes over TCP for the group, by any card, goes on to the hardware address of the former owner,
//! out of the device that bears the group, before anything else of this host sees it: no route, no connection
//! tracking, no check of its source. That host answers the client directly (see `handing`).
//!
//! ```text
//!   chain forwardN { hook ingress, before the gate
//!     ether saddr THEIRS accept                the loop guard: what it sends never goes back
//!     tcp to the group: goto flow4_N or flow6_N
//!     icmp type 3, icmpv6 type 2: a copy }     it may concern a connection of either
//!   chain flow4_N {
//!     begins a connection: add to @flows4_N, accept
//!     in @flows4_N: accept
//!     write both hardware addresses, forward }
//! ```
//!
//! N numbers the former owners, not the groups. Made before the group's addresses are added, and removed
//! when its former owner has nothing left or is gone. If another program flushes the table, what is not
//! known here is reset, as without all this.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use super::gate::Gate;
use super::mute::{BEGINS, DESTINATION_UNREACHABLE, ICMP, PACKET_TOO_BIG, TCP};
use super::ruleset::{ICMPV6, IPV4, IPV6};
use crate::netlink::nftables::{self, Batch, Family, Field, Hook, Key, Step, carry_out};
use crate::protocol::GroupKey;

/// Before the gate and before other tables.
const PRIORITY: i32 = -500;
/// Connections that can begin while the former owner still has some: 100 MB of kernel memory. What
/// begins beyond that is reset, so a flood of SYNs does harm here.
const FLOWS_MAX: u32 = 1 << 20;
/// The table of a trial, which is not one of a cluster.
const TRIAL: &str = "buoy-trial";
/// Enough to see whether the kernel can learn any.
const FLOWS_TRIED: u32 = 16;
/// Elements in one message, which holds 64 KiB.
const ADDRESSES_AT_ONCE: usize = 1000;
const DESTINATION: Field = Field::Link(0);
const SOURCE: Field = Field::Link(6);

/// The way to a former owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Forward {
    /// Index and name of the device.
    pub(super) device: (u32, String),
    /// Others by which segments may come, because the host answers for the groups there as well.
    pub(super) others: Vec<String>,
    /// Its hardware address.
    pub(super) own: [u8; 6],
    /// That of the former owner.
    pub(super) theirs: [u8; 6],
}

/// The rules for one former owner, and the groups whose addresses are in its sets.
#[derive(Debug)]
struct Lane {
    forward: Forward,
    groups: BTreeMap<GroupKey, Vec<IpAddr>>,
    /// Those that it had and has no more: their connections are still among the flows.
    ended: BTreeSet<GroupKey>,
}

impl Lane {
    /// Whether the rules do for these groups what is wanted, without flows of an earlier time.
    fn suits(&self, groups: &BTreeMap<GroupKey, Vec<IpAddr>>, wanted: &Forward) -> bool {
        self.forward == *wanted && !groups.keys().any(|group| self.ended.contains(group))
    }
}

/// The groups for which this is done. All that come from one host share rules: the kernel takes 1024
/// chains at a device, and every set of flows has megabytes.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    /// By the number in the names of its chains.
    lanes: BTreeMap<u32, Lane>,
}

impl Forwards {
    /// Begins, in place of what was done for the groups before.
    pub(super) fn begin(
        &mut self,
        gate: &mut Gate,
        groups: BTreeMap<GroupKey, Vec<IpAddr>>,
        forward: &Forward,
    ) -> io::Result<()> {
        self.end(gate, &groups.keys().copied().collect::<Vec<_>>());
        let mut some = BTreeMap::new();
        let mut addresses = 0;
        for (group, those) in groups {
            addresses += those.len();
            some.insert(group, those);
            if addresses >= ADDRESSES_AT_ONCE {
                self.begin_together(gate, std::mem::take(&mut some), forward)?;
                addresses = 0;
            }
        }
        if some.is_empty() { Ok(()) } else { self.begin_together(gate, some, forward) }
    }

    /// Begins for groups that fit into one transaction.
    fn begin_together(
        &mut self,
        gate: &mut Gate,
        groups: BTreeMap<GroupKey, Vec<IpAddr>>,
        forward: &Forward,
    ) -> io::Result<()> {
        let addresses: Vec<IpAddr> = groups.values().flatten().copied().collect();
        let suits = |(_, lane): &(&u32, &mut Lane)| lane.suits(&groups, forward);
        if let Some((number, lane)) = self.lanes.iter_mut().find(suits)
            && gate.change_at_devices(|batch| add(batch, *number, &addresses)).is_ok()
        {
            lane.groups.extend(groups);
            return Ok(());
        }
        let number = gate.number();
        let all =
            gate.change_at_devices(|batch| add(forward.rules(batch, number), number, &addresses));
        if all.is_err() {
            // One of them may have gone just now, or this kernel takes one for a hook.
            let own = Forward { others: Vec::new(), ..forward.clone() };
            gate.change_at_devices(|batch| add(own.rules(batch, number), number, &addresses))?;
        }
        let forward = forward.clone();
        self.lanes.insert(number, Lane { forward, groups, ended: BTreeSet::new() });
        Ok(())
    }

    /// Ends for these groups, where it has begun.
    pub(super) fn end(&mut self, gate: &mut Gate, groups: &[GroupKey]) {
        for (number, lane) in &mut self.lanes {
            let mut gone = Vec::new();
            for group in groups {
                if let Some(addresses) = lane.groups.remove(group) {
                    lane.ended.insert(*group);
                    gone.extend(addresses);
                }
            }
            if lane.groups.is_empty() {
                close(gate, *number);
                continue;
            }
            for some in gone.chunks(ADDRESSES_AT_ONCE) {
                let left = gate.change_at_devices(|batch| delete(batch, *number, some));
                if let Err(error) = left {
                    // Gone with the table, if somebody has flushed it.
                    tracing::debug!(%error, "addresses of a former owner are removed");
                }
            }
        }
        self.lanes.retain(|_, lane| !lane.groups.is_empty());
    }
}

/// Removes the rules for a former owner.
fn close(gate: &mut Gate, number: u32) {
    if gate.change_at_devices(|batch| remove(remove_hook(batch, number), number)).is_ok() {
        return;
    }
    // The kernel removes the hook with its device. Without it nothing is forwarded, also if
    // somebody has made use of the rest, which then has to stay.
    let hook = gate.change_at_devices(|batch| remove_hook(batch, number));
    match gate.change_at_devices(|batch| remove(batch, number)) {
        Ok(()) => {}
        Err(error) if hook.is_ok() => {
            tracing::warn!(%error, number, "unused rules for a former owner remain");
        }
        // Gone with the table, if somebody has flushed it.
        Err(error) => tracing::debug!(%error, "the rules for a former owner are removed"),
    }
}

/// Adds to a batch what is to be done with these addresses and the set that they belong to.
fn each_set<'a>(
    mut batch: Batch<'a>,
    (number, addresses): (u32, &[IpAddr]),
    act: impl Fn(Batch<'a>, &str, &[&[u8]]) -> Batch<'a>,
) -> Batch<'a> {
    let octets = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    for v6 in [false, true] {
        let [_, _, to] = names(number, v6);
        let those = addresses.iter().filter(|address| address.is_ipv6() == v6);
        let those: Vec<Vec<u8>> = those.map(octets).collect();
        for some in those.chunks(ADDRESSES_AT_ONCE) {
            let keys: Vec<&[u8]> = some.iter().map(Vec::as_slice).collect();
            batch = act(batch, &to, &keys);
        }
    }
    batch
}

fn sets(batch: Batch<'_>, (number, v6): (u32, bool), max: u32) -> Batch<'_> {
    let [flow, flows, to] = names(number, v6);
    let (kind, key) = if v6 { (Key::Ipv6, Key::Flow6) } else { (Key::Ipv4, Key::Flow4) };
    batch.new_set(&to, kind, false).new_learned_set(&flows, key, max).new_chain(&flow, None)
}

/// Puts the addresses of groups into the sets.
fn add<'a>(batch: Batch<'a>, number: u32, addresses: &[IpAddr]) -> Batch<'a> {
    each_set(batch, (number, addresses), |batch, set, keys| batch.add(set, keys, None))
}

fn delete<'a>(batch: Batch<'a>, number: u32, addresses: &[IpAddr]) -> Batch<'a> {
    each_set(batch, (number, addresses), Batch::delete)
}

/// Tries whether the kernel takes the rules.
pub(super) fn attempt(gate: &mut Gate) -> io::Result<()> {
    let forward = Forward::trial();
    gate.change_at_devices(|batch| forward.rules_unused(batch))?;
    gate.change(|batch| batch.of(Family::Netdev).delete_table())
}

/// Returns what this kernel lacks to send connections on to their former owner; `None` if nothing. Makes
/// a table of its own and removes it, in one step.
///
/// # Errors
///
/// When the kernel does not let this process try.
pub fn preserving_hindrance() -> io::Result<Option<String>> {
    let forward = Forward::trial();
    let batch = Batch::new(Family::Netdev, TRIAL).new_table();
    let batch = forward.rules_unused(batch).delete_table();
    match carry_out(&mut nftables::open()?, batch) {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        Err(error) => Ok(Some(lacks(&error))),
    }
}

/// What the kernel lacks that has refused the rules.
pub(super) fn lacks(error: &io::Error) -> String {
    format!("this kernel has no forwarding at a device: module nft_fwd_netdev ({error})")
}

/// The names of chain and sets, for IPv6 or not.
fn names(number: u32, v6: bool) -> [String; 3] {
    let version = if v6 { 6 } else { 4 };
    ["flow", "flows", "to"].map(|name| format!("{name}{version}_{number}"))
}

fn hook(number: u32) -> String {
    format!("forward{number}")
}

fn remove_hook(batch: Batch<'_>, number: u32) -> Batch<'_> {
    batch.delete_rules(&hook(number)).delete_chain(&hook(number))
}

fn remove(mut batch: Batch<'_>, number: u32) -> Batch<'_> {
    for v6 in [false, true] {
        let [flow, flows, to] = names(number, v6);
        batch = batch.delete_rules(&flow).delete_chain(&flow).delete_set(&flows).delete_set(&to);
    }
    batch
}

impl Forward {
    /// One that does nothing, to see whether the kernel takes it.
    fn trial() -> Self {
        // The loopback device has this index in every network namespace.
        let device = (1, "lo".to_owned());
        Self { device, others: Vec::new(), own: [2, 0, 0, 0, 0, 1], theirs: [2, 0, 0, 0, 0, 2] }
    }

    /// Makes chains and sets.
    fn rules<'a>(&self, batch: Batch<'a>, number: u32) -> Batch<'a> {
        let devices: Vec<&str> =
            [&self.device.1].into_iter().chain(&self.others).map(String::as_str).collect();
        let place = (Hook::Ingress(&devices), PRIORITY);
        self.chains(batch.new_chain(&hook(number), Some(place)), number, FLOWS_MAX)
    }

    /// Makes them without a hook, which takes the kernel 20 ms to remove, and small: they see nothing.
    fn rules_unused<'a>(&self, batch: Batch<'a>) -> Batch<'a> {
        self.chains(batch.new_chain(&hook(0), None), 0, FLOWS_TRIED)
    }

    fn chains<'a>(&self, batch: Batch<'a>, number: u32, flows: u32) -> Batch<'a> {
        let chain = hook(number);
        let mut batch = batch;
        batch = batch.new_rule(&chain, &[Step::Is(SOURCE, &self.theirs), Step::Accept]);
        for v6 in [false, true] {
            batch = self.family(sets(batch, (number, v6), flows), number, v6);
        }
        batch
    }

    fn family<'a>(&self, batch: Batch<'a>, number: u32, v6: bool) -> Batch<'a> {
        let (chain, [flow, flows, to]) = (hook(number), names(number, v6));
        let family = Step::EtherType(if v6 { IPV6 } else { IPV4 });
        let (offset, length) = if v6 { (24, 16) } else { (16, 4) };
        let ours = Step::Addressed;
        let addressed = Step::In(Field::Network(offset), length, &to);
        let (protocol, kind): (u8, &[u8]) =
            if v6 { (ICMPV6, &[PACKET_TOO_BIG]) } else { (ICMP, &[DESTINATION_UNREACHABLE]) };
        let [from_here, there] =
            [Step::Write(SOURCE, &self.own), Step::Write(DESTINATION, &self.theirs)];
        let news = [
            family,
            ours,
            addressed,
            Step::Carries(protocol),
            Step::Is(Field::Transport(0), kind),
            from_here,
            there,
            Step::CopyTo(self.device.0),
            Step::Write(DESTINATION, &self.own),
            Step::Accept,
        ];
        batch
            .new_rule(&chain, &[family, ours, addressed, Step::Carries(TCP), Step::Goto(&flow)])
            .new_rule(&chain, &news)
            .new_rule(&flow, &[BEGINS, Step::LearnFlow(v6, &flows)])
            // Also where there was no room.
            .new_rule(&flow, &[BEGINS, Step::Accept])
            .new_rule(&flow, &[Step::FlowIn(v6, &flows), Step::Accept])
            .new_rule(&flow, &[from_here, there, Step::SendTo(self.device.0)])
    }
}
