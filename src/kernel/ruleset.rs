//! What is in the gate's table: its sets, its chains and the rules of a device.
//!
//! Called by [`super::gate`], which says what it is for and draws it. Nothing is asked of the kernel
//! here: batches come in and go out with more in them.

use std::net::IpAddr;

use super::gate::Door;
use super::mute;
use crate::netlink::nftables::{Batch, Field, Hook, Key, Step};

/// Before other tables see the frames.
pub(super) const PRIORITY: i32 = -450;
pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const ICMPV6: u8 = 58;
pub(super) const NEIGHBOUR_SOLICITATION: u8 = 135;
const TCP: u8 = 6;
/// The flags of a segment that begins a connection, without and with congestion notification.
const BEGINNINGS: [&[u8]; 2] = [&[0x02], &[0xc2]];
/// Addresses that are about to go.
pub(super) const HUSHED: [&str; 2] = ["hushed4", "hushed6"];

/// The chain of addresses that are withdrawn.
const WITHDRAWN: &str = "withdrawn";
/// A segment that resets its connection.
const RESETS: Step<'static> = Step::Masked(Field::Transport(13), 0x04, 0x04);

/// What decides on the frames of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cover {
    /// Another host has it; only the ends of connections leave, until it has gone from here.
    Withdrawn,
    /// They pass while this door is open.
    Behind(Door),
    /// It is another host's: only connections that were there go on (see `mute`).
    Muted,
}

impl Cover {
    /// All there are; the first that an address is under decides.
    pub(super) const ALL: [Self; 4] =
        [Self::Withdrawn, Self::Behind(Door::Vouched), Self::Behind(Door::Granted), Self::Muted];
    /// Those where nothing is muted.
    pub(super) const DOORS: [Self; 3] =
        [Self::Withdrawn, Self::Behind(Door::Vouched), Self::Behind(Door::Granted)];

    /// The chain that decides.
    const fn chain(self) -> &'static str {
        match self {
            Self::Behind(door) => door.lease(),
            Self::Muted => mute::CHAIN,
            Self::Withdrawn => WITHDRAWN,
        }
    }

    /// The set of the addresses.
    const fn addresses(self, v6: bool) -> &'static str {
        match (self, v6) {
            (Self::Behind(Door::Vouched), false) => "vouched4",
            (Self::Behind(Door::Vouched), true) => "vouched6",
            (Self::Behind(Door::Granted), false) => "granted4",
            (Self::Behind(Door::Granted), true) => "granted6",
            (Self::Withdrawn, false) => "withdrawn4",
            (Self::Withdrawn, true) => "withdrawn6",
            (Self::Muted, false) => mute::ADDRESSES_V4,
            (Self::Muted, true) => mute::ADDRESSES_V6,
        }
    }
}

/// The table with its doors, closed and with nothing under its covers.
pub(super) fn layout<'a>(batch: Batch<'a>, covers: &[Cover]) -> Batch<'a> {
    let mut batch = batch.new_table();
    for cover in covers {
        let (v4, v6) = (cover.addresses(false), cover.addresses(true));
        batch = batch.new_set(v4, Key::Ipv4, false).new_set(v6, Key::Ipv6, false);
    }
    batch = batch
        .new_chain(WITHDRAWN, None)
        .new_rule(WITHDRAWN, &[Step::Carries(TCP), RESETS, Step::Accept])
        .new_rule(WITHDRAWN, &[Step::Drop]);
    for lease in Door::ALL.map(Door::lease) {
        batch = batch
            .new_set(lease, Key::EtherType, true)
            .new_chain(lease, None)
            .new_rule(lease, &[Step::EtherTypeIn(lease), Step::Accept])
            .new_rule(lease, &[Step::Drop]);
    }
    for (set, key) in [(HUSHED[0], Key::Ipv4), (HUSHED[1], Key::Ipv6)] {
        batch = batch.new_set(set, key, true);
    }
    if covers.contains(&Cover::Muted) { mute::chain(batch) } else { batch }
}

/// Adds to a batch what is to be done to each of the sets that these addresses are in.
pub(super) fn each_set<'a>(
    addresses: &[(IpAddr, Cover)],
    mut batch: Batch<'a>,
    act: impl Fn(Batch<'a>, &str, &[&[u8]]) -> Batch<'a>,
) -> Batch<'a> {
    for (cover, v6) in Cover::ALL.into_iter().flat_map(|cover| [(cover, false), (cover, true)]) {
        let those =
            addresses.iter().filter(|(address, of)| *of == cover && address.is_ipv6() == v6);
        let keys: Vec<Vec<u8>> = those.map(|(address, _)| octets(*address)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        if !keys.is_empty() {
            batch = act(batch, cover.addresses(v6), &keys);
        }
    }
    batch
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The rules of a chain: which frames concern an address that is covered.
pub(super) fn rules<'a>(
    mut batch: Batch<'a>,
    chain: &str,
    hook: Hook<'_>,
    covers: &[Cover],
) -> Batch<'a> {
    // Where the address is in ARP, IPv4 and IPv6: whom it is for, or who sent it.
    let incoming = matches!(hook, Hook::Ingress(_));
    let (arp, v4, v6) = if incoming { (24, 16, 24) } else { (14, 12, 8) };
    if incoming {
        for flags in BEGINNINGS {
            let begins = [Step::Carries(TCP), Step::Is(Field::Transport(13), flags), Step::Drop];
            for (set, (protocol, offset, length)) in
                HUSHED.into_iter().zip([(IPV4, v4, 4), (IPV6, v6, 16)])
            {
                let to = Step::In(Field::Network(offset), length, set);
                let steps = [&[Step::EtherType(protocol), to], begins.as_slice()].concat();
                batch = batch.new_rule(chain, &steps);
            }
        }
    }
    for cover in covers {
        let gate = Step::Goto(cover.chain());
        let covered4 = |offset| Step::In(Field::Network(offset), 4, cover.addresses(false));
        let covered6 = |field| Step::In(field, 16, cover.addresses(true));
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
