//! Reads what is in nf_tables.
//!
//! Used by the gate of `kernel`. Reading waits for nobody: the kernel answers also while somebody
//! else changes its rules, and without regard to whom a table belongs.
//!
//! ```text
//!   generation: one number of the network namespace, another one after each change of anything
//!   message:    | family 1 | 0 | changes with the generation 2 |  attributes ...
//! ```

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::io;
use std::time::Duration;

use super::nftables::{
    DELETE_ELEMENTS, DELETE_TABLE, Family, NESTED, NEW_ELEMENTS, SUBSYSTEM, attribute, text,
};
use super::{ACKNOWLEDGE, Conversation, DUMP, Message, attributes, messages};

const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
const GET_RULES: u16 = SUBSYSTEM << 8 | 7;
const GET_ELEMENTS: u16 = SUBSYSTEM << 8 | 13;
const GET_GENERATION: u16 = SUBSYSTEM << 8 | 16;
/// What comes before the attributes.
const HEADER: usize = 4;

/// Every table there is.
///
/// # Errors
///
/// When the kernel does not tell.
pub(crate) fn tables(conversation: &mut Conversation) -> io::Result<Vec<(Family, String)>> {
    let mut found = Vec::new();
    conversation.ask(GET_TABLE, DUMP, &[0; 4], |message| {
        let family = message.body.first().copied().map(Family::of);
        let name = attributes(message.body.get(4..).unwrap_or_default())
            .find_map(|(kind, value)| (kind == 1).then(|| text_of(value)));
        found.extend(family.zip(name));
        true
    })?;
    Ok(found)
}

/// For how long a set will hold the element that ends last; nothing if there is none.
///
/// # Errors
///
/// That the set does not exist, or cannot be asked for.
pub(crate) fn longest_left(
    conversation: &mut Conversation,
    family: Family,
    (table, set): (&str, &str),
) -> io::Result<Duration> {
    let mut body = about(family, table);
    body.extend(text(2, set));
    let mut longest = Duration::ZERO;
    conversation.ask(GET_ELEMENTS, DUMP, &body, |message| {
        longest =
            listed(message.body).into_iter().map(|(_, left)| left).fold(longest, Duration::max);
        true
    })?;
    Ok(longest)
}

/// The number of the latest change.
///
/// # Errors
///
/// That it cannot be asked for.
pub(crate) fn generation(conversation: &mut Conversation) -> io::Result<u32> {
    let mut found = None;
    // Without an acknowledgement, which would have to be read too.
    conversation.ask(GET_GENERATION, 0, &[0; HEADER], |message| {
        found = number(&rest(message.body), 1).or(found);
        false
    })?;
    found.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Looks for a table.
///
/// # Errors
///
/// That it does not exist, or cannot be asked for.
pub(crate) fn find(conversation: &mut Conversation, family: Family, table: &str) -> io::Result<()> {
    conversation.ask(GET_TABLE, ACKNOWLEDGE, &about(family, table), |_| true)
}

/// A number that is another one when anything but the elements of its sets has changed in a table:
/// the table itself, its rules, or the number of its chains and sets.
///
/// # Errors
///
/// That it does not exist, or cannot be asked for.
pub(crate) fn print(
    conversation: &mut Conversation,
    family: Family,
    table: &str,
) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    let body = about(family, table);
    for (kind, flags) in [(GET_TABLE, ACKNOWLEDGE), (GET_RULES, DUMP)] {
        conversation.ask(kind, flags, &body, |message| {
            rest(message.body).hash(&mut hasher);
            true
        })?;
    }
    Ok(hasher.finish())
}

/// The elements of a set.
///
/// # Errors
///
/// That it does not exist, or cannot be asked for.
pub(crate) fn elements(
    conversation: &mut Conversation,
    family: Family,
    (table, set): (&str, &str),
) -> io::Result<BTreeSet<Vec<u8>>> {
    let mut body = about(family, table);
    body.extend(text(2, set));
    let mut found = BTreeSet::new();
    conversation.ask(GET_ELEMENTS, DUMP, &body, |message| {
        found.extend(listed(message.body).into_iter().map(|(key, _)| key));
        true
    })?;
    Ok(found)
}

/// For how long a set will hold an element.
///
/// # Errors
///
/// That the element, its set or its table does not exist, or that it cannot be asked for.
pub(crate) fn remaining(
    conversation: &mut Conversation,
    family: Family,
    (table, set): (&str, &str),
    key: &[u8],
) -> io::Result<Duration> {
    let mut body = about(family, table);
    body.extend(text(2, set));
    let element = attribute(1 | NESTED, &attribute(1, key));
    body.extend(attribute(3 | NESTED, &attribute(1 | NESTED, &element)));
    let mut found = Duration::ZERO;
    // The answer is one message, or an error; an acknowledgement would have to be read too.
    conversation.ask(GET_ELEMENTS, 0, &body, |message| {
        let left = listed(message.body).into_iter().find(|(found, _)| found == key);
        found = left.map_or(found, |(_, left)| left);
        false
    })?;
    Ok(found)
}

/// What the kernel says to those who listen for changes of its tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The table has gone, with all that was in it.
    TableGone { table: String },
    /// These elements have come into the set, or have gone from it.
    Elements { table: String, set: String, keys: Vec<Vec<u8>>, come: bool },
}

/// Returns what a datagram of the multicast group of nf_tables says of tables of a family.
pub(crate) fn notices(datagram: &[u8], family: Family) -> Vec<Notice> {
    const TABLE_GONE: u16 = SUBSYSTEM << 8 | DELETE_TABLE;
    const COME: u16 = SUBSYSTEM << 8 | NEW_ELEMENTS;
    const GONE: u16 = SUBSYSTEM << 8 | DELETE_ELEMENTS;
    let of_family =
        messages(datagram).filter(|message| message.body.first() == Some(&family.number()));
    let notice = |message: Message<'_>| {
        let body = rest(message.body);
        let named = |wanted| {
            let found = attributes(&body).find(|(kind, _)| *kind == wanted);
            found.map(|(_, name)| text_of(name))
        };
        match message.kind {
            TABLE_GONE => Some(Notice::TableGone { table: named(1)? }),
            COME | GONE => {
                let keys = listed(message.body).into_iter().map(|(key, _)| key).collect();
                let come = message.kind == COME;
                Some(Notice::Elements { table: named(1)?, set: named(2)?, keys, come })
            }
            _ => None,
        }
    };
    of_family.filter_map(notice).collect()
}

fn about(family: Family, table: &str) -> Vec<u8> {
    let mut body = vec![family.number(), 0, 0, 0];
    body.extend(text(1, table));
    body
}

fn rest(body: &[u8]) -> Vec<u8> {
    body.get(HEADER..).unwrap_or_default().to_vec()
}

/// The elements in a message, each with the time that it has left.
fn listed(body: &[u8]) -> Vec<(Vec<u8>, Duration)> {
    const LIST: u16 = 3;
    const KEY: u16 = 1;
    const EXPIRES: u16 = 5;
    let rest = rest(body);
    let list = attributes(&rest).find(|(kind, _)| *kind == LIST).map(|(_, list)| list);
    let elements = attributes(list.unwrap_or_default()).filter_map(|(_, element)| {
        let (_, key) = attributes(element).find(|(kind, _)| *kind == KEY)?;
        let (_, value) = attributes(key).next()?;
        let left = attributes(element).find(|(kind, _)| *kind == EXPIRES);
        let left = left.and_then(|(_, left)| left.first_chunk()).copied();
        let left = Duration::from_millis(left.map_or(0, u64::from_be_bytes));
        Some((value.to_vec(), left))
    });
    elements.collect()
}

fn number(bytes: &[u8], wanted: u16) -> Option<u32> {
    let (_, value) = attributes(bytes).find(|(kind, _)| *kind == wanted)?;
    value.first_chunk().copied().map(u32::from_be_bytes)
}

/// A string without its end.
fn text_of(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}
