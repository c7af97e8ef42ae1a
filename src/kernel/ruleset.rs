//! What is in the gate's tables: their sets, their chains and their rules.
//!
//! Called by [`super::table`]; [`super::gate`] says what it is for and draws it. Nothing is asked of
//! the kernel here: batches come in and go out with more in them.

use std::net::IpAddr;
use std::time::Duration;

use super::gate::Door;
use super::mute;
use super::scoped::Scoped;
use crate::netlink::nftables::{Batch, Family, Field, Hook, Key, Step};

/// Before other tables see the packets, and before addresses are translated.
const FIRST: i32 = -450;
/// When other tables have seen them, and addresses have been translated.
const LAST: i32 = 450;
/// The families that have a table each.
pub(super) const FAMILIES: [Family; 2] = [Family::Inet, Family::Arp];
pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const ICMPV6: u8 = 58;
pub(super) const NEIGHBOUR_SOLICITATION: u8 = 135;
const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
/// Index of the loopback device, in every network namespace.
pub(super) const LOOPBACK: u32 = 1;
/// What a lease holds while it runs.
pub(super) const RUNS: u32 = 1;
/// The flags of a segment that begins a connection, without and with congestion notification.
const BEGINNINGS: [&[u8]; 2] = [&[0x02], &[0xc2]];
/// Addresses that are about to go.
pub(super) const HUSHED: [&str; 3] = ["hushed4", "hushed6", "hushedL"];
/// The chain of what renews the leases.
const RENEW: &str = "renew";
/// For how long a packet can open a door, in milliseconds: these, and ten, a hundred and a thousand
/// times these. Ten to the decade, so that no more than a quarter of what is left is given away.
const GRADES: [u64; 10] = [10, 12, 16, 20, 25, 31, 40, 50, 63, 80];
const DECADES: u32 = 4;

/// What a packet that renews a lease has to know: nobody else does.
pub(super) type Secret = [u8; 16];

/// What link-local addresses of IPv6 begin with; spares other packets the look into the set.
const LINK_LOCAL: &[u8] = &[0xfe];
/// The chain of addresses that are withdrawn.
const WITHDRAWN: &str = "withdrawn";
/// A segment that resets its connection.
const RESETS: Step<'static> = Step::Masked(Field::Transport(13), 0x04, 0x04);

/// What decides on the packets of an address.
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

    /// The set of the addresses of this kind.
    pub(super) const fn addresses(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::Behind(Door::Vouched), Kind::V4) => "vouched4",
            (Self::Behind(Door::Vouched), Kind::V6) => "vouched6",
            (Self::Behind(Door::Vouched), Kind::LinkLocal) => "vouchedL",
            (Self::Behind(Door::Granted), Kind::V4) => "granted4",
            (Self::Behind(Door::Granted), Kind::V6) => "granted6",
            (Self::Behind(Door::Granted), Kind::LinkLocal) => "grantedL",
            (Self::Withdrawn, Kind::V4) => "withdrawn4",
            (Self::Withdrawn, Kind::V6) => "withdrawn6",
            (Self::Withdrawn, Kind::LinkLocal) => "withdrawnL",
            (Self::Muted, Kind::V4) => mute::ADDRESSES_V4,
            (Self::Muted, Kind::V6) => mute::ADDRESSES_V6,
            (Self::Muted, Kind::LinkLocal) => mute::ADDRESSES_LINK_LOCAL,
        }
    }

    /// The sets of these covers that a family has.
    pub(super) fn sets(covers: &[Self], family: Family) -> impl Iterator<Item = (Self, Kind)> + '_ {
        let kinds = if family == Family::Arp { &Kind::ALL[..1] } else { &Kind::ALL[..] };
        covers.iter().flat_map(move |cover| kinds.iter().map(move |kind| (*cover, *kind)))
    }
}

/// Kinds of addresses, each of which has sets of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    V4,
    V6,
    /// Of IPv6 and one link: the set has both.
    LinkLocal,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::V4, Self::V6, Self::LinkLocal];

    pub(super) fn of(address: &Scoped) -> Self {
        match (address.address(), address.zone()) {
            (IpAddr::V4(_), _) => Self::V4,
            (IpAddr::V6(_), None) => Self::V6,
            (IpAddr::V6(_), Some(_)) => Self::LinkLocal,
        }
    }

    pub(super) const fn key(self) -> Key {
        match self {
            Self::V4 => Key::Ipv4,
            Self::V6 => Key::Ipv6,
            Self::LinkLocal => Key::LinkLocal,
        }
    }
}

/// The length of lease that a packet can ask for that is next below this one, and its number.
pub(super) fn grade(length: Duration) -> Option<(u8, Duration)> {
    grades().take_while(|(_, grade)| *grade <= length).last()
}

fn grades() -> impl Iterator<Item = (u8, Duration)> {
    let lengths = (0..DECADES).flat_map(|decade| GRADES.map(|grade| grade * 10_u64.pow(decade)));
    // Number 0 closes.
    (1..).zip(lengths.map(Duration::from_millis))
}

/// The tables with their doors, closed and with nothing under their covers; with a secret, packets
/// renew the leases.
pub(super) fn layout<'a>(
    batch: Batch<'a>,
    covers: &[Cover],
    (owned, secret): (bool, Option<&Secret>),
) -> Batch<'a> {
    let mut batch = batch;
    for family in FAMILIES {
        batch = batch.of(family);
        batch = if owned { batch.new_owned_table() } else { batch.new_table() };
        for (cover, kind) in Cover::sets(covers, family) {
            batch = batch.new_set(cover.addresses(kind), kind.key(), false);
        }
        for lease in Door::ALL.map(Door::lease) {
            batch = batch
                .new_held_set(lease, Key::Number)
                .new_chain(lease, None)
                .new_rule(lease, &[Step::Holds(lease, RUNS), Step::Accept])
                .new_rule(lease, &[Step::Drop]);
        }
        batch = withdrawing(batch, family);
        if secret.is_some() {
            batch = renewing(batch);
        }
        if covers.contains(&Cover::Muted) {
            batch = mute::chains(batch, family);
        }
    }
    batch = packets(hushing(batch), covers);
    batch = questions(batch.of(Family::Arp), covers, secret);
    match secret {
        Some(secret) => trigger(batch.of(Family::Inet), secret),
        None => batch,
    }
}

/// What is another host's is not answered; connections to it may be told that they have ended.
fn withdrawing(batch: Batch<'_>, family: Family) -> Batch<'_> {
    let batch = batch.new_chain(WITHDRAWN, None);
    let batch = match family {
        Family::Arp => batch,
        Family::Inet | Family::Netdev | Family::Bridge | Family::Other(_) => {
            batch.new_rule(WITHDRAWN, &[Step::Carries(TCP), RESETS, Step::Accept])
        }
    };
    batch.new_rule(WITHDRAWN, &[Step::Drop])
}

/// The chain that carries out what a packet asks for, and lets it go no further.
fn renewing(batch: Batch<'_>) -> Batch<'_> {
    let mut batch = batch.new_chain(RENEW, None);
    // Where ARP and UDP from the loopback device have it, behind the secret.
    let asks = Field::Network(44);
    for (door, lease) in Door::ALL.into_iter().map(|door| (door as u8, door.lease())) {
        let closes = [Step::Is(asks, &[door, 0]), Step::LetGo(lease, RUNS), Step::Drop];
        batch = batch.new_rule(RENEW, &closes);
        for (number, length) in grades() {
            let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
            let asked = [door, number];
            let step = Step::HoldFor(lease, RUNS, length);
            batch = batch.new_rule(RENEW, &[Step::Is(asks, &asked), step, Step::Drop]);
        }
    }
    batch.new_rule(RENEW, &[Step::Drop])
}

/// Sees UDP that this host sends to itself.
fn trigger<'a>(batch: Batch<'a>, secret: &Secret) -> Batch<'a> {
    let steps = [
        Step::GoesOut(LOOPBACK),
        Step::EtherType(IPV4),
        Step::Carries(UDP),
        Step::Is(Field::Network(28), secret),
        Step::Goto(RENEW),
    ];
    batch.new_chain("trigger", Some((Hook::Output, FIRST))).new_rule("trigger", &steps)
}

/// What comes and what leaves over IPv4 and IPv6, but for what this host sends to itself.
fn packets<'a>(batch: Batch<'a>, covers: &[Cover]) -> Batch<'a> {
    let mut batch = batch
        .new_chain("in", Some((Hook::Prerouting, FIRST)))
        .new_rule("in", &[Step::CameIn(LOOPBACK), Step::Accept]);
    for flags in BEGINNINGS {
        let begins = [Step::Carries(TCP), Step::Is(Field::Transport(13), flags), Step::Drop];
        for (set, kind) in HUSHED.into_iter().zip(Kind::ALL) {
            batch = batch.new_rule("in", &[to(kind, set).as_slice(), &begins].concat());
        }
    }
    for cover in covers {
        let solicits = Step::Is(Field::Transport(0), &[NEIGHBOUR_SOLICITATION]);
        batch = addressed(batch, "in", to, *cover);
        let target = Field::Transport(8);
        for target in [
            Step::In(target, 16, cover.addresses(Kind::V6)),
            Step::InBy(target, cover.addresses(Kind::LinkLocal)),
        ] {
            let decides = Step::Goto(cover.chain());
            let asks = [Step::EtherType(IPV6), Step::Carries(ICMPV6), solicits, target, decides];
            batch = batch.new_rule("in", &asks);
        }
    }
    batch = batch
        .new_chain("out", Some((Hook::Postrouting, LAST)))
        .new_rule("out", &[Step::GoesOut(LOOPBACK), Step::Accept]);
    if covers.contains(&Cover::Muted) {
        batch = mute::answers(batch, "out");
    }
    for cover in covers {
        batch = addressed(batch, "out", from, *cover);
    }
    batch
}

/// Has the cover decide on packets that these steps find.
fn addressed<'a>(
    mut batch: Batch<'a>,
    chain: &str,
    find: impl Fn(Kind, &'static str) -> Vec<Step<'static>>,
    cover: Cover,
) -> Batch<'a> {
    for kind in Kind::ALL {
        let mut steps = find(kind, cover.addresses(kind));
        steps.push(Step::Goto(cover.chain()));
        batch = batch.new_rule(chain, &steps);
    }
    batch
}

/// The packet goes to an address in the set.
pub(super) fn to(kind: Kind, set: &'static str) -> Vec<Step<'static>> {
    match kind {
        Kind::V4 => vec![Step::EtherType(IPV4), Step::In(Field::Network(16), 4, set)],
        Kind::V6 => vec![Step::EtherType(IPV6), Step::In(Field::Network(24), 16, set)],
        Kind::LinkLocal => {
            let to = Field::Network(24);
            vec![Step::EtherType(IPV6), Step::Is(to, LINK_LOCAL), Step::InBy(to, set)]
        }
    }
}

/// The packet comes from an address in the set.
pub(super) fn from(kind: Kind, set: &'static str) -> Vec<Step<'static>> {
    match kind {
        Kind::V4 => vec![Step::EtherType(IPV4), Step::In(Field::Network(12), 4, set)],
        Kind::V6 => vec![Step::EtherType(IPV6), Step::In(Field::Network(8), 16, set)],
        Kind::LinkLocal => {
            let from = Field::Network(8);
            vec![Step::EtherType(IPV6), Step::Is(from, LINK_LOCAL), Step::OutBy(from, set)]
        }
    }
}

/// Who asks for an address, and who is told to have one.
fn questions<'a>(batch: Batch<'a>, covers: &[Cover], secret: Option<&Secret>) -> Batch<'a> {
    let mut batch = batch.new_chain("in", Some((Hook::ArpInput, FIRST)));
    if let Some(secret) = secret {
        let known = Step::Is(Field::Network(28), secret);
        batch = batch.new_rule("in", &[Step::CameIn(LOOPBACK), known, Step::Goto(RENEW)]);
    }
    batch = batch.new_chain("out", Some((Hook::ArpOutput, FIRST)));
    for (chain, offset) in [("in", 24), ("out", 14)] {
        for cover in covers {
            let address = Step::In(Field::Network(offset), 4, cover.addresses(Kind::V4));
            batch = batch.new_rule(chain, &[address, Step::Goto(cover.chain())]);
        }
    }
    batch
}

/// The sets of connections that shall not begin.
pub(super) fn hushing(batch: Batch<'_>) -> Batch<'_> {
    let batch = batch.of(Family::Inet);
    let sets = HUSHED.into_iter().zip(Kind::ALL);
    sets.fold(batch, |batch, (set, kind)| batch.new_set(set, kind.key(), true))
}

/// Adds to a batch these addresses, each to the set of its kind, for so many milliseconds.
pub(super) fn add_timed<'a>(
    mut batch: Batch<'a>,
    (sets, addresses): ([&str; 3], &[Scoped]),
    milliseconds: Option<u64>,
) -> Batch<'a> {
    for (set, kind) in sets.into_iter().zip(Kind::ALL) {
        let those = addresses.iter().filter(|address| Kind::of(address) == kind);
        let keys: Vec<Vec<u8>> = those.map(octets).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        if !keys.is_empty() {
            batch = batch.add(set, &keys, milliseconds);
        }
    }
    batch
}

/// Adds to a batch what is to be done to each of the sets that these addresses are in.
pub(super) fn each_set<'a>(
    addresses: &[(Scoped, Cover)],
    mut batch: Batch<'a>,
    act: impl Fn(Batch<'a>, &str, &[&[u8]]) -> Batch<'a>,
) -> Batch<'a> {
    for family in FAMILIES {
        for (cover, kind) in Cover::sets(&Cover::ALL, family) {
            let those =
                addresses.iter().filter(|(address, of)| *of == cover && Kind::of(address) == kind);
            let keys: Vec<Vec<u8>> = those.map(|(address, _)| octets(address)).collect();
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            if !keys.is_empty() {
                batch = act(batch.of(family), cover.addresses(kind), &keys);
            }
        }
    }
    batch
}

/// The element of a set that stands for the address.
pub(super) fn octets(address: &Scoped) -> Vec<u8> {
    let mut octets = match address.address() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    octets.extend(address.zone().into_iter().flat_map(u32::to_ne_bytes));
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_never_asks_for_more_than_is_left_nor_for_much_less() {
        assert_eq!(grade(Duration::from_millis(9)), None);
        for left in 10..99_000 {
            let left = Duration::from_millis(left);
            let (number, length) = grade(left).expect("there is one");
            assert!(length <= left && length * 5 >= left * 3, "{left:?}: {length:?}");
            assert_ne!(number, 0, "this closes");
        }
        assert_eq!(grades().count(), 40);
        assert_eq!(grade(Duration::from_secs(3600)), Some((40, Duration::from_secs(80))));
    }
}
