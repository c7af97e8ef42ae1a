//! Addresses that have been handed to another host and stay here for their connections, mute.
//!
//! After a planned move the old owner's kernel goes on serving the connections that it had (see
//! `handing`). For everything else the address is not here any more: a chain of the gate decides,
//! and what it does not know it drops. When the daemon vouches for itself no more, the connections
//! stand still like everything else of ours.
//!
//! ```text
//!   chain muted {                                  (in and out)
//!     tcp flags & (fin|syn|rst|ack) == syn drop    no new connection
//!     tcp, vouched: accept                         those that are there
//!     icmp type 3, icmpv6 type 2, vouched: accept  the path carries less
//!     drop }                                       ARP, solicitations, all else
//!   chain disguiseN { hook egress, before the gate
//!     arp saddr ip @muted4: write own address      a question names its asker, and whoever hears
//!     ip6 saddr @muted6, solicitation: the same }  it would learn that the address is here }
//! ```

use super::forward;
use super::gate::{Door, Gate};
use super::ruleset::{ARP, ICMPV6, IPV4, IPV6, NEIGHBOUR_SOLICITATION};
use crate::netlink::nftables::{Batch, Field, Hook, Key, Step};

/// The chain that decides on frames of muted addresses.
pub(super) const CHAIN: &str = "muted";
/// The set of those of IPv4.
pub(super) const ADDRESSES_V4: &str = "muted4";
/// The set of those of IPv6.
pub(super) const ADDRESSES_V6: &str = "muted6";

/// Before the gate, which would hold back what is disguised here.
const PRIORITY: i32 = -460;
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
    /// Its name.
    pub(super) name: String,
    /// Addresses of this host there that never move.
    pub(super) own4: Option<[u8; 4]>,
    pub(super) own6: Option<[u8; 16]>,
}

impl Disguise {
    /// Makes the chain that puts the own addresses into questions.
    pub(super) fn rules<'a>(&self, batch: Batch<'a>, chain: &str) -> Batch<'a> {
        let mut batch = batch.new_chain(chain, Some((Hook::Egress(&self.name), PRIORITY)));
        if let Some(own) = &self.own4 {
            let sender = Field::Network(14);
            let muted = Step::In(sender, 4, ADDRESSES_V4);
            batch = batch.new_rule(chain, &[Step::EtherType(ARP), muted, Step::Write(sender, own)]);
        }
        if let Some(own) = &self.own6 {
            let sender = Field::Network(8);
            let solicits = Step::Is(Field::Transport(0), &[NEIGHBOUR_SOLICITATION]);
            let muted = Step::In(sender, 16, ADDRESSES_V6);
            let write = Step::WriteAddress(sender, own);
            let steps = [Step::EtherType(IPV6), Step::Carries(ICMPV6), solicits, muted, write];
            batch = batch.new_rule(chain, &steps);
        }
        batch
    }
}

/// Adds the chain that decides.
pub(super) fn chain(batch: Batch<'_>) -> Batch<'_> {
    let vouched = Step::EtherTypeIn(Door::Vouched.lease());
    let news = |family, protocol, kind| {
        let kind = Step::Is(Field::Transport(0), kind);
        [Step::EtherType(family), Step::Carries(protocol), kind, vouched, Step::Accept]
    };
    batch
        .new_chain(CHAIN, None)
        .new_rule(CHAIN, &[Step::Carries(TCP), BEGINS, Step::Drop])
        .new_rule(CHAIN, &[Step::Carries(TCP), vouched, Step::Accept])
        .new_rule(CHAIN, &news(IPV4, ICMP, &[DESTINATION_UNREACHABLE]))
        .new_rule(CHAIN, &news(IPV6, ICMPV6, &[PACKET_TOO_BIG]))
        .new_rule(CHAIN, &[Step::Drop])
}

/// Tries on the table, which is not in use yet, all that preserving needs of this kernel. What was
/// made stays until the table is built anew.
///
/// # Errors
///
/// What is missing.
pub(super) fn try_all(gate: &mut Gate) -> Result<(), String> {
    let said = |what: &str, error| format!("this kernel has no {what} ({error})");
    gate.change(sets).map_err(|error| said("matching of TCP in nf_tables", error))?;
    let link = Disguise {
        index: 0,
        name: "lo".to_owned(),
        own4: Some([127, 0, 0, 1]),
        own6: Some([0; 16]),
    };
    gate.change(|batch| link.rules(batch, "trial_out"))
        .map_err(|error| said("egress hook of nf_tables that can write: Linux 5.16", error))?;
    let forward = forward::Forward::trial();
    gate.change(|batch| forward.rules(batch, 0))
        .map_err(|error| said("forwarding at a device: module nft_fwd_netdev", error))
}

fn sets(batch: Batch<'_>) -> Batch<'_> {
    chain(batch.new_set(ADDRESSES_V4, Key::Ipv4, false).new_set(ADDRESSES_V6, Key::Ipv6, false))
}
