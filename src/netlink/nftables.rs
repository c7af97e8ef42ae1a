//! Messages to nf_tables: just what we need of it, written by hand.
//!
//! Used by the gate of `kernel` and the switch of `lab`; needs no `nft` program. Several messages
//! make one batch, which the kernel carries out entirely or not at all, within the call that sends
//! it; its last message asks for an acknowledgement, and without that nothing counts as done. What
//! is there is read by `tables`. Numbers are big-endian, unlike elsewhere in netlink.
//!
//! ```text
//!   batch:      begin | message ... | end        (each with a netlink header)
//!   message:    | family 1 | 0 | resource 2 |  attributes ...
//!   expression: list element { name, data { attributes } }; results go by register
//! ```

use std::io;

use super::{ACKNOWLEDGE, Conversation, REQUEST, append_attribute, append_message, expressions};

/// `NETLINK_NETFILTER`.
const NETFILTER: isize = 12;
pub(super) const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// Make it, and do not mind if it is there.
const CREATE: u16 = 0x400;
/// Behind the rules that are there.
const APPEND: u16 = 0x800;
pub(super) const NESTED: u16 = 0x8000;

const NEW_TABLE: u16 = 0;
pub(super) const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DELETE_RULES: u16 = 8;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
pub(super) const NEW_ELEMENTS: u16 = 12;
pub(super) const DELETE_ELEMENTS: u16 = 14;

/// What the tables of a family see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4 and IPv6 packets of the whole host, whatever device they pass.
    Inet,
    /// ARP packets of the whole host, likewise.
    Arp,
    /// Frames at a device, ARP included.
    Netdev,
    /// Frames in a bridge.
    Bridge,
    /// Any other, by its number.
    Other(u8),
}

impl Family {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Arp => 3,
            Self::Netdev => 5,
            Self::Bridge => 7,
            Self::Other(number) => number,
        }
    }

    pub(super) const fn of(number: u8) -> Self {
        match number {
            1 => Self::Inet,
            3 => Self::Arp,
            5 => Self::Netdev,
            7 => Self::Bridge,
            other => Self::Other(other),
        }
    }
}

/// Where a chain looks at frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook<'a> {
    /// What comes in at these devices.
    Ingress(&'a [&'a str]),
    /// What comes to this host, before anything is done with it (IPv4 and IPv6).
    Prerouting,
    /// What processes and the kernel of this host send, before it has left them.
    Output,
    /// What leaves this host, also what it forwards.
    Postrouting,
    /// ARP that comes to this host.
    ArpInput,
    /// ARP that this host's kernel sends.
    ArpOutput,
    /// What a bridge passes from one port to another.
    Forward,
}

impl<'a> Hook<'a> {
    const fn number_and_devices(self) -> (u32, &'a [&'a str]) {
        match self {
            Self::Ingress(devices) => (0, devices),
            Self::Prerouting | Self::ArpInput => (0, &[]),
            Self::ArpOutput => (1, &[]),
            Self::Forward => (2, &[]),
            Self::Output => (3, &[]),
            Self::Postrouting => (4, &[]),
        }
    }
}

/// What the elements of a set are, as the `nft` program names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// `ipv4_addr`.
    Ipv4,
    /// `ipv6_addr`.
    Ipv6,
    /// `mark`: any number of four bytes.
    Number,
    /// `ipv4_addr . ipv4_addr . inet_service . inet_service`.
    Flow4,
    /// The same of `ipv6_addr`.
    Flow6,
    /// `ipv6_addr . iface_index`.
    LinkLocal,
}

impl Key {
    const fn number_and_length(self) -> (u32, u32) {
        match self {
            Self::Ipv4 => (7, 4),
            Self::Ipv6 => (8, 16),
            Self::Number => (19, 4),
            // Six bits for each type; each value is padded to four bytes.
            Self::Flow4 => (7 << 18 | 7 << 12 | 13 << 6 | 13, 16),
            Self::Flow6 => (8 << 18 | 8 << 12 | 13 << 6 | 13, 40),
            Self::LinkLocal => (8 << 6 | 20, 20),
        }
    }
}

/// From where in a frame a value is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// So many bytes behind the beginning of the Ethernet header.
    Link(u32),
    /// So many bytes behind the beginning of the network header (also that of ARP).
    Network(u32),
    /// So many bytes behind the beginning of what the network header carries.
    Transport(u32),
}

/// One step of a rule. A comparison or lookup that fails ends the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// The frame is of this protocol.
    EtherType(u16),
    /// It came in by the device with this index.
    CameIn(u32),
    /// It goes out by the one with this index.
    GoesOut(u32),
    /// It was sent to this host's hardware address.
    Addressed,
    /// The packet carries this protocol.
    Carries(u8),
    /// These bytes are there, 16 at most.
    Is(Field, &'a [u8]),
    /// The frame came in by the device of this name.
    CameBy(&'a str),
    /// The frame goes out by it.
    GoesBy(&'a str),
    /// One frame in so many, at random; 1 or more.
    OneIn(u32),
    /// So many bytes are an element of the set.
    In(Field, u32, &'a str),
    /// The IPv6 address there with the device by which the frame came in is one.
    InBy(Field, &'a str),
    /// The same with the device by which it goes out.
    OutBy(Field, &'a str),
    /// This number is an element of the set.
    Holds(&'a str, u32),
    /// It is from now on, for so many milliseconds.
    HoldFor(&'a str, u32, u64),
    /// It is no more.
    LetGo(&'a str, u32),
    /// The byte there is this one, as far as the mask goes.
    Masked(Field, u8, u8),
    /// The flow of a TCP segment (of IPv6 or not) is an element of the set.
    FlowIn(bool, &'a str),
    /// It is from now on; where there is no room the rule ends.
    LearnFlow(bool, &'a str),
    /// These bytes are put there, up to 16.
    Write(Field, &'a [u8]),
    /// The same for an IPv6 address; checksums that cover it follow.
    WriteAddress(Field, &'a [u8; 16]),
    /// A copy of the frame, as it is now, goes out of the device with this index.
    CopyTo(u32),
    /// The frame itself does; nobody else sees it.
    SendTo(u32),
    /// The frame may go on.
    Accept,
    /// The frame is lost.
    Drop,
    /// This chain decides.
    Goto(&'a str),
}

/// A batch under construction, for one table.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    family: Family,
    table: &'a str,
    bytes: Vec<u8>,
    sequence: u32,
    /// Where its last message begins.
    last: Option<usize>,
}

/// Whoever holds the socket is the only one who can change the table, and it stays when that is
/// closed (Linux 6.9).
const OWNED: u32 = 0x2 | 0x4;

impl<'a> Batch<'a> {
    pub(crate) fn new(family: Family, table: &'a str) -> Self {
        let mut bytes = Vec::new();
        append_message(&mut bytes, BATCH_BEGIN, REQUEST, 0, &[0, 0, 0, SUBSYSTEM.to_be_bytes()[1]]);
        Self { family, table, bytes, sequence: 0, last: None }
    }

    /// What follows is done to the table of the same name in this family.
    pub(crate) fn of(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// What is in it so far, in bytes: the kernel takes some 200 KiB at once.
    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn new_table(self) -> Self {
        let body = text(1, self.table);
        self.message(NEW_TABLE, CREATE, &body)
    }

    /// One that nobody else can change as long as this socket is open.
    pub(crate) fn new_owned_table(self) -> Self {
        let mut body = text(1, self.table);
        body.extend(number_attribute(2, OWNED));
        self.message(NEW_TABLE, CREATE, &body)
    }

    /// Fails if it does not exist.
    pub(crate) fn delete_table(self) -> Self {
        let body = text(1, self.table);
        self.message(DELETE_TABLE, 0, &body)
    }

    /// A set whose elements end by themselves if `timed`.
    pub(crate) fn new_set(self, name: &str, key: Key, timed: bool) -> Self {
        const TIMED: u32 = 0x10;
        self.set((name, key), if timed { TIMED } else { 0 }, None)
    }

    /// A set to which rules add, up to so many elements.
    pub(crate) fn new_learned_set(self, name: &str, key: Key, max: u32) -> Self {
        const LEARNED: u32 = 0x20;
        self.set((name, key), LEARNED, Some(max))
    }

    /// A set whose elements end by themselves, and to which rules add.
    pub(crate) fn new_held_set(self, name: &str, key: Key) -> Self {
        const TIMED_AND_LEARNED: u32 = 0x30;
        self.set((name, key), TIMED_AND_LEARNED, None)
    }

    fn set(self, (name, key): (&str, Key), flags: u32, max: Option<u32>) -> Self {
        let (number, length) = key.number_and_length();
        let mut body = text(1, self.table);
        body.extend(text(2, name));
        body.extend(number_attribute(3, flags));
        body.extend(number_attribute(4, number));
        body.extend(number_attribute(5, length));
        if let Some(max) = max {
            body.extend(attribute(9 | NESTED, &number_attribute(1, max)));
        }
        // A number that refers to the set within the batch; nothing here does.
        body.extend(number_attribute(10, self.sequence + 1));
        self.message(NEW_SET, CREATE, &body)
    }

    /// Fails if it does not exist, or is used by a rule.
    pub(crate) fn delete_set(self, name: &str) -> Self {
        let mut body = text(1, self.table);
        body.extend(text(2, name));
        self.message(DELETE_SET, 0, &body)
    }

    /// Empties a chain. Fails if it does not exist.
    pub(crate) fn delete_rules(self, chain: &str) -> Self {
        let mut body = text(1, self.table);
        body.extend(text(2, chain));
        self.message(DELETE_RULES, 0, &body)
    }

    /// Fails if it does not exist, or is gone to by a rule.
    pub(crate) fn delete_chain(self, chain: &str) -> Self {
        let mut body = text(1, self.table);
        body.extend(text(3, chain));
        self.message(DELETE_CHAIN, 0, &body)
    }

    /// A chain that others go to, or one that sees frames itself, in the order of priorities.
    pub(crate) fn new_chain(self, name: &str, hook: Option<(Hook<'_>, i32)>) -> Self {
        let mut body = text(1, self.table);
        body.extend(text(3, name));
        if let Some((hook, priority)) = hook {
            let (number, devices) = hook.number_and_devices();
            let mut place = number_attribute(1, number);
            place.extend(attribute(2, &priority.to_be_bytes()));
            match devices {
                [] => {}
                [device] => place.extend(text(3, device)),
                // Several in one hook: Linux 5.5.
                devices => {
                    let names: Vec<u8> =
                        devices.iter().flat_map(|device| text(1, device)).collect();
                    place.extend(attribute(4 | NESTED, &names));
                }
            }
            body.extend(attribute(4 | NESTED, &place));
            body.extend(text(7, "filter"));
        }
        self.message(NEW_CHAIN, CREATE, &body)
    }

    pub(crate) fn new_rule(self, chain: &str, steps: &[Step<'_>]) -> Self {
        let mut body = text(1, self.table);
        body.extend(text(2, chain));
        let expressions: Vec<u8> = steps.iter().flat_map(expressions::of).collect();
        body.extend(attribute(4 | NESTED, &expressions));
        self.message(NEW_RULE, CREATE | APPEND, &body)
    }

    /// Elements that end after so many milliseconds, if given.
    pub(crate) fn add(self, set: &str, keys: &[&[u8]], milliseconds: Option<u64>) -> Self {
        self.elements(NEW_ELEMENTS, CREATE, (set, keys, milliseconds))
    }

    /// Fails if one of them does not exist.
    pub(crate) fn delete(self, set: &str, keys: &[&[u8]]) -> Self {
        self.elements(DELETE_ELEMENTS, 0, (set, keys, None))
    }

    /// Makes a set empty. Fails if there is no such set.
    pub(crate) fn empty(self, set: &str) -> Self {
        let mut body = text(1, self.table);
        body.extend(text(2, set));
        self.message(DELETE_ELEMENTS, 0, &body)
    }

    fn elements(
        self,
        kind: u16,
        flags: u16,
        (set, keys, milliseconds): (&str, &[&[u8]], Option<u64>),
    ) -> Self {
        let mut list = Vec::new();
        for key in keys {
            let mut element = attribute(1 | NESTED, &attribute(1, key));
            if let Some(milliseconds) = milliseconds {
                element.extend(attribute(4, &milliseconds.to_be_bytes()));
            }
            list.extend(attribute(1 | NESTED, &element));
        }
        let mut body = text(1, self.table);
        body.extend(text(2, set));
        body.extend(attribute(3 | NESTED, &list));
        self.message(kind, flags, &body)
    }

    fn message(mut self, kind: u16, flags: u16, attributes: &[u8]) -> Self {
        self.sequence += 1;
        let mut body = vec![self.family.number(), 0, 0, 0];
        body.extend_from_slice(attributes);
        let kind = SUBSYSTEM << 8 | kind;
        self.last = Some(self.bytes.len());
        append_message(&mut self.bytes, kind, flags | REQUEST, self.sequence, &body);
        self
    }

    fn finished(mut self) -> Vec<u8> {
        // Refusals come unasked. One acknowledgement is enough: it comes when all was done, and
        // those of many messages would not fit into the socket's buffer.
        const FLAGS: usize = 6;
        if let Some(flags) = self.last.and_then(|last| self.bytes.get_mut(last + FLAGS..))
            && let Some(flags) = flags.first_chunk_mut()
        {
            *flags = (u16::from_ne_bytes(*flags) | ACKNOWLEDGE).to_ne_bytes();
        }
        let body = [0, 0, 0, SUBSYSTEM.to_be_bytes()[1]];
        append_message(&mut self.bytes, BATCH_END, REQUEST, 0, &body);
        self.bytes
    }
}

/// Opens the way to nf_tables.
pub(crate) fn open() -> io::Result<Conversation> {
    Conversation::open(NETFILTER)
}

/// Has the kernel carry out a batch.
///
/// # Errors
///
/// The first refusal, or that nothing was acknowledged; nothing of the batch was done then, as far
/// as is known.
pub(crate) fn carry_out(conversation: &mut Conversation, batch: Batch<'_>) -> io::Result<()> {
    if batch.last.is_none() {
        return Ok(());
    }
    // What an earlier batch left unread says nothing about this one.
    drop(conversation.answers());
    conversation.send(&batch.finished())?;
    let (acknowledged, refusals) = conversation.answers()?;
    match refusals.first() {
        Some(code) => Err(io::Error::from_raw_os_error(*code)),
        None if acknowledged == 0 => {
            Err(io::Error::other("the kernel has not acknowledged a change of nf_tables"))
        }
        None => Ok(()),
    }
}

/// Removes a table with all that is in it.
///
/// # Errors
///
/// What the kernel says; then it is still there.
pub(crate) fn remove_table(
    conversation: &mut Conversation,
    family: Family,
    table: &str,
) -> io::Result<()> {
    carry_out(conversation, Batch::new(family, table).delete_table())
}

pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + value.len().next_multiple_of(4));
    append_attribute(&mut bytes, kind, value);
    bytes
}

pub(super) fn number_attribute(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

/// A string with its end.
pub(super) fn text(kind: u16, value: &str) -> Vec<u8> {
    let mut bytes = value.as_bytes().to_vec();
    bytes.push(0);
    attribute(kind, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewing_one_element_is_these_bytes() {
        let batch = Batch::new(Family::Netdev, "t").add("s", &[&[8, 6]], Some(600)).finished();
        let mut expected = vec![20, 0, 0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10];
        expected.extend([68, 0, 0, 0, 12, 10, 5, 4, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0]);
        expected.extend([6, 0, 1, 0, b't', 0, 0, 0, 6, 0, 2, 0, b's', 0, 0, 0]);
        expected.extend([32, 0, 3, 0x80, 28, 0, 1, 0x80]);
        expected.extend([12, 0, 1, 0x80, 6, 0, 1, 0, 8, 6, 0, 0]);
        expected.extend([12, 0, 4, 0, 0, 0, 0, 0, 0, 0, 2, 88]);
        expected.extend([20, 0, 0, 0, 17, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10]);
        assert_eq!(batch, expected);
    }

    #[test]
    fn a_batch_asks_for_one_acknowledgement_behind_everything() {
        let batch = Batch::new(Family::Inet, "t").new_owned_table().of(Family::Arp).new_table();
        let bytes = batch.finished();
        let found: Vec<_> = super::super::messages(&bytes).collect();
        let flags = |at: usize| u16::from_ne_bytes([bytes[at + 6], bytes[at + 7]]);
        let table = [20, 0, 0, 0];
        assert_eq!(found.len(), 4);
        assert_eq!(found[1].body, [&[1, 0, 0, 0, 6, 0, 1, 0, b't', 0, 0, 0], OWNED_T].concat());
        assert_eq!(found[2].body, [3, 0, 0, 0, 6, 0, 1, 0, b't', 0, 0, 0]);
        assert_eq!(bytes[..4], table);
        assert_eq!([20, 56].map(flags), [0x401, 0x405], "begin, table, table, end");
    }

    /// The flags of a table that has an owner and outlives it.
    const OWNED_T: &[u8] = &[8, 0, 2, 0, 0, 0, 0, 6];
}
