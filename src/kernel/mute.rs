//! Addresses that have been handed to another host and stay here for their connections, mute.
//!
//! After a planned move the old owner's kernel goes on serving the connections that it had (see
//! `handing`). For everything else the address is not here any more: a chain of the gate decides,
//! and what it does not know it drops. When the daemon vouches for itself no more, the connections
//! stand still like everything else of ours.
//!
//! ```text
//!   chain muted {                                  (inet, in and out)
//!     tcp flags & (fin|syn|rst|ack) == syn,        no new connection, but for those that a client
//!       not in @late4 or 6: drop                   begins before it knows the new owner
//!     tcp, vouched: accept                         those that are there
//!     icmp type 3, icmpv6 type 2, vouched: accept  the path carries less
//!     drop }                                       solicitations, all else
//!   chain out, before it goes to muted:
//!     udp from @answering4 or 6, vouched: accept   answers to what came before, for a moment
//!   chain muted { drop }                           (arp, in and out)
//!   chain disguise { hook output or postrouting, before the gate; for each link that bears some
//!     arp saddr ip @muted4: write own address      a question names its asker, and whoever hears
//!     ip6 saddr @muted6, solicitation: the same }  it would learn that the address is here }
//! ```

use std::time::Duration;

use super::forward;
use super::gate::{Door, Gate};
use super::ruleset::{
    ICMPV6, IPV4, IPV6, Kind, NEIGHBOUR_SOLICITATION, RUNS, UDP, add_timed, from, to,
};
use super::scoped::Scoped;
use crate::netlink::nftables::{Batch, Family, Field, Hook, Step};

/// The chain that decides on frames of muted addresses.
pub(super) const CHAIN: &str = "muted";
/// The set of those of IPv4.
pub(super) const ADDRESSES_V4: &str = "muted4";
/// The set of those of IPv6.
pub(super) const ADDRESSES_V6: &str = "muted6";

/// The set of those of IPv6 that are of one link.
pub(super) const ADDRESSES_LINK_LOCAL: &str = "mutedL";

/// The sets of those whose clients may not know yet that another host has them.
const LATE: [&str; 3] = ["late4", "late6", "lateL"];
/// For so long they may begin connections here, which are then kept like those that were there: the
/// new owner sends here all that has not begun at it. It answers for the address within 5 ms.
pub(super) const LATE_FOR: Duration = Duration::from_millis(100);

/// The sets of those from which answers over UDP may leave, to what came before they were muted.
const ANSWERING: [&str; 3] = ["answering4", "answering6", "answeringL"];
/// For so long; see `ANSWERS_WITHIN` in `protocol/preservation`.
const ANSWERING_FOR: Duration = Duration::from_millis(300);

/// The chain that puts other addresses into questions.
const DISGUISE: &str = "disguise";
/// Before the gate, which would hold back what is disguised here.
const BEFORE: [(Family, Hook<'_>, i32); 2] =
    [(Family::Inet, Hook::Postrouting, 440), (Family::Arp, Hook::ArpOutput, -460)];
pub(super) const TCP: u8 = 6;
pub(super) const ICMP: u8 = 1;
pub(super) const DESTINATION_UNREACHABLE: u8 = 3;
pub(super) const PACKET_TOO_BIG: u8 = 2;

/// The segment begins a connection: of FIN, SYN, RST and ACK it has SYN alone.
pub(super) const BEGINS: Step<'static> = Step::Masked(Field::Transport(13), 0x17, 0x02);

/// A link and what it may say of itself when it asks on behalf of a muted address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disguise {
    /// Index of the link.
    pub(super) index: u32,
    /// Addresses of this host there that never move.
    pub(super) own4: Option<[u8; 4]>,
    pub(super) own6: Option<[u8; 16]>,
}

impl Disguise {
    /// Puts the own addresses into questions.
    fn rules<'a>(&self, mut batch: Batch<'a>) -> Batch<'a> {
        let leaves = Step::GoesOut(self.index);
        if let Some(own) = &self.own4 {
            let sender = Field::Network(14);
            let muted = Step::In(sender, 4, ADDRESSES_V4);
            let steps = [leaves, muted, Step::Write(sender, own)];
            batch = batch.of(Family::Arp).new_rule(DISGUISE, &steps);
        }
        if let Some(own) = &self.own6 {
            let sender = Field::Network(8);
            let solicits = Step::Is(Field::Transport(0), &[NEIGHBOUR_SOLICITATION]);
            let write = Step::WriteAddress(sender, own);
            for muted in
                [Step::In(sender, 16, ADDRESSES_V6), Step::OutBy(sender, ADDRESSES_LINK_LOCAL)]
            {
                let steps =
                    [leaves, Step::EtherType(IPV6), Step::Carries(ICMPV6), solicits, muted, write];
                batch = batch.of(Family::Inet).new_rule(DISGUISE, &steps);
            }
        }
        batch
    }
}

/// Replaces what the links say of themselves.
pub(super) fn disguise<'a, 'd>(
    mut batch: Batch<'a>,
    links: impl Iterator<Item = &'d Disguise>,
) -> Batch<'a> {
    for (family, ..) in BEFORE {
        batch = batch.of(family).delete_rules(DISGUISE);
    }
    links.fold(batch, |batch, link| link.rules(batch))
}

/// Adds the chains of a family.
pub(super) fn chains(batch: Batch<'_>, family: Family) -> Batch<'_> {
    let mut batch = batch.of(family);
    for (_, hook, priority) in BEFORE.into_iter().filter(|(of, ..)| *of == family) {
        batch = batch.new_chain(DISGUISE, Some((hook, priority)));
    }
    batch = batch.new_chain(CHAIN, None);
    if family == Family::Inet {
        let vouched = Step::Holds(Door::Vouched.lease(), RUNS);
        let news = |family, protocol, kind| {
            let kind = Step::Is(Field::Transport(0), kind);
            [Step::EtherType(family), Step::Carries(protocol), kind, vouched, Step::Accept]
        };
        for (set, kind) in LATE.into_iter().zip(Kind::ALL) {
            batch = batch.new_set(set, kind.key(), true);
            let mut steps = to(kind, set);
            steps.extend([Step::Carries(TCP), BEGINS, vouched, Step::Accept]);
            batch = batch.new_rule(CHAIN, &steps);
        }
        for (set, kind) in ANSWERING.into_iter().zip(Kind::ALL) {
            batch = batch.new_set(set, kind.key(), true);
        }
        batch = batch
            .new_rule(CHAIN, &[Step::Carries(TCP), BEGINS, Step::Drop])
            .new_rule(CHAIN, &[Step::Carries(TCP), vouched, Step::Accept])
            .new_rule(CHAIN, &news(IPV4, ICMP, &[DESTINATION_UNREACHABLE]))
            .new_rule(CHAIN, &news(IPV6, ICMPV6, &[PACKET_TOO_BIG]));
    }
    batch.new_rule(CHAIN, &[Step::Drop])
}

/// Lets connections to these addresses begin for a while although they are muted, and answers to earlier
/// datagrams leave.
pub(super) fn allow_late<'a>(batch: Batch<'a>, addresses: &[Scoped]) -> Batch<'a> {
    let sets = [(LATE, LATE_FOR), (ANSWERING, ANSWERING_FOR)];
    sets.into_iter().fold(batch.of(Family::Inet), |batch, (sets, time)| {
        add_timed(batch, (sets, addresses), u64::try_from(time.as_millis()).ok())
    })
}

/// Lets answers leave over UDP from addresses that have just been muted.
pub(super) fn answers<'a>(mut batch: Batch<'a>, chain: &str) -> Batch<'a> {
    let vouched = Step::Holds(Door::Vouched.lease(), RUNS);
    for (set, kind) in ANSWERING.into_iter().zip(Kind::ALL) {
        let mut steps = from(kind, set);
        steps.extend([Step::Carries(UDP), vouched, Step::Accept]);
        batch = batch.new_rule(chain, &steps);
    }
    batch
}

/// Tries on tables that are not in use yet all that preserving needs of this kernel; what was made
/// for the trial is gone then.
///
/// # Errors
///
/// What is missing.
pub(super) fn try_all(gate: &mut Gate) -> Result<(), String> {
    let said = |what: &str, error| format!("this kernel has no {what} ({error})");
    gate.allow_muting().map_err(|error| said("matching of TCP in nf_tables", error))?;
    let link = Disguise { index: 0, own4: Some([127, 0, 0, 1]), own6: Some([0; 16]) };
    gate.change(|batch| disguise(batch, [&link].into_iter()))
        .map_err(|error| said("rules of nf_tables that can write into packets", error))?;
    try_forwarding(gate)
}

/// Tries the part of that which tables in use are not changed by.
///
/// # Errors
///
/// What is missing.
pub(super) fn try_forwarding(gate: &mut Gate) -> Result<(), String> {
    forward::attempt(gate).map_err(|error| forward::lacks(&error))
}
