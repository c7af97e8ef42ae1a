//! Messages to nf_tables: just what we need of it, written by hand.
//!
//! Used by the gate of `kernel` and the switch of `lab`; needs no `nft` program. Several messages make one batch, which the kernel carries out entirely or not
//! at all, within the call that sends it. Numbers are big-endian, unlike elsewhere in netlink.
//!
//! ```text
//!   batch:      begin | message ... | end        (each with a netlink header)
//!   message:    | family 1 | 0 | resource 2 |  attributes ...
//!   expression: list element { name, data { attributes } }; results go by register
//! ```

use std::io;

use super::{
    ACKNOWLEDGE, Conversation, DUMP, REQUEST, append_attribute, append_message, attributes,
    expressions,
};

/// `NETLINK_NETFILTER`.
const NETFILTER: isize = 12;
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// Make it, and do not mind if it is there.
const CREATE: u16 = 0x400;
/// Behind the rules that are there.
const APPEND: u16 = 0x800;
pub(super) const NESTED: u16 = 0x8000;

const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DELETE_RULES: u16 = 8;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;

/// What the tables of a family see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Frames at a device, ARP included.
    Netdev,
    /// Frames in a bridge.
    Bridge,
    /// Any other, by its number.
    Other(u8),
}

impl Family {
    const fn number(self) -> u8 {
        match self {
            Self::Netdev => 5,
            Self::Bridge => 7,
            Self::Other(number) => number,
        }
    }

    const fn of(number: u8) -> Self {
        match number {
            5 => Self::Netdev,
            7 => Self::Bridge,
            other => Self::Other(other),
        }
    }
}

/// Where a chain looks at frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook<'a> {
    /// What comes in at this device.
    Ingress(&'a str),
    /// What goes out of it (Linux 5.16).
    Egress(&'a str),
    /// What a bridge passes from one port to another.
    Forward,
}

impl<'a> Hook<'a> {
    const fn number_and_device(self) -> (u32, Option<&'a str>) {
        match self {
            Self::Ingress(device) => (0, Some(device)),
            Self::Egress(device) => (1, Some(device)),
            Self::Forward => (2, None),
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
    /// `ether_type`.
    EtherType,
    /// `ipv4_addr . ipv4_addr . inet_service . inet_service`.
    Flow4,
    /// The same of `ipv6_addr`.
    Flow6,
}

impl Key {
    const fn number_and_length(self) -> (u32, u32) {
        match self {
            Self::Ipv4 => (7, 4),
            Self::Ipv6 => (8, 16),
            Self::EtherType => (10, 2),
            // Six bits for each type; each value is padded to four bytes.
            Self::Flow4 => (7 << 18 | 7 << 12 | 13 << 6 | 13, 16),
            Self::Flow6 => (8 << 18 | 8 << 12 | 13 << 6 | 13, 40),
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
    /// The protocol of the frame is an element of the set.
    EtherTypeIn(&'a str),
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
}

impl<'a> Batch<'a> {
    pub(crate) fn new(family: Family, table: &'a str) -> Self {
        let mut bytes = Vec::new();
        append_message(&mut bytes, BATCH_BEGIN, REQUEST, 0, &[0, 0, 0, SUBSYSTEM.to_be_bytes()[1]]);
        Self { family, table, bytes, sequence: 0 }
    }

    pub(crate) fn new_table(self) -> Self {
        let body = text(1, self.table);
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
            let (number, device) = hook.number_and_device();
            let mut place = number_attribute(1, number);
            place.extend(attribute(2, &priority.to_be_bytes()));
            place.extend(device.map(|device| text(3, device)).unwrap_or_default());
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
        let flags = flags | REQUEST | ACKNOWLEDGE;
        append_message(&mut self.bytes, kind, flags, self.sequence, &body);
        self
    }

    fn finished(mut self) -> Vec<u8> {
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
/// The first refusal; nothing of the batch was done.
pub(crate) fn carry_out(conversation: &mut Conversation, batch: Batch<'_>) -> io::Result<()> {
    // What an earlier batch left unread says nothing about this one.
    drop(conversation.refusals());
    conversation.send(&batch.finished())?;
    match conversation.refusals().first() {
        None => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(*code)),
    }
}

/// Looks for a table.
///
/// # Errors
///
/// That it does not exist, or cannot be asked for.
pub(crate) fn find_table(
    conversation: &mut Conversation,
    family: Family,
    table: &str,
) -> io::Result<()> {
    let mut body = vec![family.number(), 0, 0, 0];
    body.extend(text(1, table));
    conversation.ask(SUBSYSTEM << 8 | GET_TABLE, ACKNOWLEDGE, &body, |_| true)
}

/// Every table there is.
///
/// # Errors
///
/// When the kernel does not tell.
pub(crate) fn tables(conversation: &mut Conversation) -> io::Result<Vec<(Family, String)>> {
    let mut found = Vec::new();
    conversation.ask(SUBSYSTEM << 8 | GET_TABLE, DUMP, &[0; 4], |message| {
        let family = message.body.first().copied().map(Family::of);
        let name = attributes(message.body.get(4..).unwrap_or_default())
            .find_map(|(kind, value)| (kind == 1).then(|| text_of(value)));
        found.extend(family.zip(name));
        true
    })?;
    Ok(found)
}

/// How long the element of a set that ends last has left, in milliseconds; 0 if there is none.
///
/// # Errors
///
/// That the set does not exist, or cannot be asked for.
pub(crate) fn longest_left(
    conversation: &mut Conversation,
    family: Family,
    table: &str,
    set: &str,
) -> io::Result<u64> {
    const GET_ELEMENTS: u16 = 13;
    let mut body = vec![family.number(), 0, 0, 0];
    body.extend(text(1, table));
    body.extend(text(2, set));
    let mut longest = 0;
    conversation.ask(SUBSYSTEM << 8 | GET_ELEMENTS, DUMP, &body, |message| {
        let lists = attributes(message.body.get(4..).unwrap_or_default());
        let elements = lists.filter(|(kind, _)| *kind == 3).flat_map(|(_, list)| attributes(list));
        longest = elements.map(|(_, element)| left(element)).fold(longest, u64::max);
        true
    })?;
    Ok(longest)
}

/// Of one element; one that does not end has for ever.
fn left(element: &[u8]) -> u64 {
    let expiration = attributes(element).find(|(kind, _)| *kind == 5);
    let bytes = expiration.and_then(|(_, value)| value.first_chunk::<8>().copied());
    bytes.map_or(u64::MAX, u64::from_be_bytes)
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

/// A string without its end.
fn text_of(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
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
    fn a_rule_is_these_bytes() {
        let rule = expressions::of(&Step::EtherTypeIn("lease"));
        let mut expected = vec![36, 0, 1, 0x80, 9, 0, 1, 0, b'm', b'e', b't', b'a', 0, 0, 0, 0];
        expected.extend([20, 0, 2, 0x80, 8, 0, 2, 0, 0, 0, 0, 1, 8, 0, 1, 0, 0, 0, 0, 1]);
        expected.extend([40, 0, 1, 0x80, 11, 0, 1, 0]);
        expected.extend(*b"lookup\0\0");
        expected.extend([24, 0, 2, 0x80, 10, 0, 1, 0]);
        expected.extend(*b"lease\0\0\0");
        expected.extend([8, 0, 2, 0, 0, 0, 0, 1]);
        assert_eq!(rule, expected);
    }
}
