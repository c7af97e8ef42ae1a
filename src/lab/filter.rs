//! What the lab's switch does not forward: cuts and losses, as an nftables table.
//!
//! The switch is a bridge; each node and the client hang on a port of it. A rule in the bridge's
//! forward hook drops what comes in by one port and goes out by another, so a cut has a
//! direction. The table is sent to the kernel over netlink, so that the lab needs no `nft` program.
//! Each change replaces the whole table in one transaction: no moment between two sets of rules
//! lets a frame through that both forbid.

use super::namespace::{Namespace, NamespaceError};
use crate::netlink::nftables::{self, Batch, Family, Field, Hook, Step, carry_out};

const TABLE: &str = "lab";
const CHAIN: &str = "forward";
const UDP: u8 = 17;

/// What is dropped on its way through the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Port by which it comes in; `None` is any.
    pub from: Option<String>,
    /// Port by which it would go out; `None` is any.
    pub to: Option<String>,
    /// Only UDP over IPv4 or IPv6 to this port.
    pub udp_port: Option<u16>,
    /// Only one frame in so many, at random; `None` is every frame.
    pub one_in: Option<u32>,
}

impl Rule {
    /// Drops every frame from one port to another.
    #[must_use]
    pub fn cut(from: Option<&str>, to: Option<&str>) -> Self {
        let owned = |port: Option<&str>| port.map(str::to_owned);
        Self { from: owned(from), to: owned(to), udp_port: None, one_in: None }
    }

    /// Drops one datagram in so many to this UDP port, whoever sends it.
    #[must_use]
    pub fn loss(udp_port: u16, one_in: u32) -> Self {
        Self { from: None, to: None, udp_port: Some(udp_port), one_in: Some(one_in) }
    }
}

/// Replaces all rules of the switch by these.
///
/// # Errors
/// When the kernel has no nftables for bridges or refuses the rules; the old ones stay then.
pub fn replace(switch: &Namespace, rules: &[Rule]) -> Result<(), NamespaceError> {
    switch
        .run(|| carry_out(&mut nftables::open()?, batch(rules)))?
        .map_err(|error| NamespaceError::System("set the switch's nftables rules", error))
}

fn batch(rules: &[Rule]) -> Batch<'static> {
    // Creating before deleting makes the deletion succeed where there was no table.
    let batch = Batch::new(Family::Bridge, TABLE).new_table().delete_table().new_table();
    let mut batch = batch.new_chain(CHAIN, Some((Hook::Forward, 0)));
    for rule in rules {
        // Of UDP, the port that it is for comes third.
        let port = rule.udp_port.map(u16::to_be_bytes);
        let port = port.as_ref().map(|port| Step::Is(Field::Transport(2), port));
        let steps = [
            rule.from.as_deref().map(Step::CameBy),
            rule.to.as_deref().map(Step::GoesBy),
            port.map(|_| Step::Carries(UDP)),
            port,
            rule.one_in.map(Step::OneIn),
            Some(Step::Drop),
        ];
        batch = batch.new_rule(CHAIN, &steps.into_iter().flatten().collect::<Vec<_>>());
    }
    batch
}
