//! What the lab's switch does not forward: cuts and losses, as an nftables table.
//!
//! The switch is a bridge; each node and the client hang on a port of it. A rule in the bridge's
//! forward hook drops what comes in by one port and goes out by another, so a cut has a
//! direction. The table is sent to the kernel over netlink by this file, so that the lab needs no
//! `nft` program. Each change replaces the whole table in one transaction: no moment between two
//! sets of rules lets a frame through that both forbid.
//!
//! ```text
//!   nfgenmsg | NFTA_RULE_EXPRESSIONS [ meta iifname -> reg 1 ; cmp reg 1 == "p1" ; ... ; drop ]
//! ```

use std::io;

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;

use super::namespace::{Namespace, NamespaceError};

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
    let batch = batch(rules);
    switch
        .run(|| send(&batch))?
        .map_err(|error| NamespaceError::System("set the switch's nftables rules", error))
}

/// Sends a transaction; the kernel has worked it off when `send` returns.
fn send(batch: &[u8]) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.set_non_blocking(true)?;
    socket.send(batch, 0)?;
    loop {
        match socket.recv_from_full() {
            // Only refusals are answered, because no message asks for an acknowledgement.
            Ok((answer, _)) => refusal(&answer)?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn refusal(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok());
    let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok());
    match (kind.map(u16::from_ne_bytes), code.map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(code)) if code != 0 => {
            Err(Errno::from_raw(code.saturating_neg()).into())
        }
        _ => Ok(()),
    }
}

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;
const NLA_F_NESTED: u16 = 0x8000;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NFPROTO_UNSPEC: u8 = 0;
const NFPROTO_BRIDGE: u8 = 7;
const SUBSYSTEM_NFTABLES: u16 = 10;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const HOOK_FORWARD: u32 = 2;
const META_INPUT_NAME: u32 = 6;
const META_OUTPUT_NAME: u32 = 7;
const META_PROTOCOL_OF_TRANSPORT: u32 = 16;
const PAYLOAD_TRANSPORT: u32 = 2;
const NUMGEN_RANDOM: u32 = 1;
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
const DROP: u32 = 0;
const INTERFACE_NAME_LENGTH: usize = 16;
const TABLE: &[u8] = b"lab\0";
const CHAIN: &[u8] = b"forward\0";

fn batch(rules: &[Rule]) -> Vec<u8> {
    let mut out = Vec::new();
    let subsystem = SUBSYSTEM_NFTABLES;
    message(&mut out, BATCH_BEGIN, 0, (NFPROTO_UNSPEC, subsystem), &[]);
    let table = attribute(1, TABLE);
    let nft = |kind: u16| (SUBSYSTEM_NFTABLES << 8) | kind;
    let bridge = (NFPROTO_BRIDGE, 0);
    // Creating before deleting makes the deletion succeed where there was no table.
    message(&mut out, nft(NEW_TABLE), NLM_F_CREATE, bridge, &table);
    message(&mut out, nft(DELETE_TABLE), 0, bridge, &table);
    message(&mut out, nft(NEW_TABLE), NLM_F_CREATE, bridge, &table);
    let hook = [number(1, HOOK_FORWARD), number(2, 0)].concat();
    let chain =
        [attribute(1, TABLE), attribute(3, CHAIN), nested(4, &hook), attribute(7, b"filter\0")]
            .concat();
    message(&mut out, nft(NEW_CHAIN), NLM_F_CREATE, bridge, &chain);
    for rule in rules {
        let body =
            [attribute(1, TABLE), attribute(2, CHAIN), nested(4, &expressions(rule))].concat();
        message(&mut out, nft(NEW_RULE), NLM_F_CREATE | NLM_F_APPEND, bridge, &body);
    }
    message(&mut out, BATCH_END, 0, (NFPROTO_UNSPEC, subsystem), &[]);
    out
}

fn expressions(rule: &Rule) -> Vec<u8> {
    let mut list = Vec::new();
    for (key, name) in [(META_INPUT_NAME, &rule.from), (META_OUTPUT_NAME, &rule.to)] {
        if let Some(name) = name {
            let mut padded = [0; INTERFACE_NAME_LENGTH];
            let length = name.len().min(INTERFACE_NAME_LENGTH - 1);
            padded[..length].copy_from_slice(&name.as_bytes()[..length]);
            list.extend(expression("meta", &[number(2, key), number(1, REGISTER)]));
            list.extend(equals(&padded));
        }
    }
    if let Some(port) = rule.udp_port {
        let meta = [number(2, META_PROTOCOL_OF_TRANSPORT), number(1, REGISTER)];
        list.extend(expression("meta", &meta));
        list.extend(equals(&[17]));
        list.extend(payload(PAYLOAD_TRANSPORT, 2, 2));
        list.extend(equals(&port.to_be_bytes()));
    }
    if let Some(one_in) = rule.one_in {
        let draw = [number(1, REGISTER), number(2, one_in.max(1)), number(3, NUMGEN_RANDOM)];
        list.extend(expression("numgen", &draw));
        list.extend(equals(&[0; 4]));
    }
    let verdict = nested(2, &number(1, DROP));
    list.extend(expression("immediate", &[number(1, VERDICT_REGISTER), nested(2, &verdict)]));
    list
}

fn payload(base: u32, offset: u32, length: u32) -> Vec<u8> {
    let fields = [number(1, REGISTER), number(2, base), number(3, offset), number(4, length)];
    expression("payload", &fields)
}

fn equals(value: &[u8]) -> Vec<u8> {
    let data = nested(3, &attribute(1, value));
    expression("cmp", &[number(1, REGISTER), number(2, 0), data])
}

fn expression(name: &str, fields: &[Vec<u8>]) -> Vec<u8> {
    let name = format!("{name}\0");
    let body = [attribute(1, name.as_bytes()), nested(2, &fields.concat())].concat();
    nested(1, &body)
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, value)
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).expect("our rules are a few hundred bytes");
    let mut out = Vec::with_capacity(value.len() + 8);
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn message(out: &mut Vec<u8>, kind: u16, flags: u16, family: (u8, u16), body: &[u8]) {
    let length = u32::try_from(20 + body.len()).expect("our rules are a few hundred bytes");
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    // Sequence number and port are of no use here: a refusal is read at once.
    out.extend([0; 8]);
    out.extend([family.0, 0]);
    out.extend(family.1.to_be_bytes());
    out.extend(body);
}
