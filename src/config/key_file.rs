//! The file with the cluster's keys: what may stand in it, who may read it, how it is made.
//!
//! ```text
//! # anything after a number sign is a comment
//! 1 5f0c...64 hex digits...e1
//! 2 93b7...64 hex digits...0a active
//! ```
//!
//! One line for each key: its id (1 to 255), 32 bytes in hex, and `active` on the one that this
//! node seals with; all are accepted. With a single key the mark may be left out, and a line with
//! nothing but 64 hex digits is key 1. To change the key without an outage: add the new one
//! everywhere and reload, then move the mark everywhere and reload, then remove the old one.
//!
//! The file is refused when anyone but its owner may read it. Secrets are never shown: the types
//! here have no Debug that would print them, and faults name only the line.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::regular_file::{RegularFile, Unread};

/// Keys accepted at once: the old, the new, and room for a rotation that was left half done.
pub const KEYS_MAX: usize = 8;
/// A key file is a few hundred bytes; what is larger is another file.
const SIZE_MAX: u64 = 16 * 1024;

/// Keys that this node accepts, and the one it encrypts with.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Id and secret of each, sorted by id; 1 to [`KEYS_MAX`].
    pub all: Vec<(u8, [u8; 32])>,
    /// Id of the key to encrypt with; it is among them.
    pub active: u8,
}

impl Keys {
    /// Returns a placeholder for keys that the caller may not read and does not need.
    #[must_use]
    pub fn withheld() -> Self {
        Self { all: Vec::new(), active: 0 }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u8> = self.all.iter().map(|(id, _)| *id).collect();
        out.debug_struct("Keys").field("ids", &ids).field("active", &self.active).finish()
    }
}

/// Why a key file was refused.
#[derive(Debug)]
pub enum KeyFileFault {
    /// It could not be opened or read.
    Unreadable(io::Error),
    /// It is a directory, a device or another thing that is not a file.
    NotAFile,
    /// Users other than its owner may read or write it.
    Exposed(u32),
    /// It is larger than any key file.
    TooLarge,
    /// A line is not a key.
    Line(usize, LineFault),
    /// There is no key in it.
    Empty,
    /// There are several keys, none marked active.
    NoneActive,
}

/// What is wrong with a line of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFault {
    /// The id is not 1 to 255.
    Id,
    /// The secret has another number of characters than 64.
    Length(usize),
    /// The secret has a character that is no hex digit, or is all zero.
    Digits,
    /// The third word is not `active`, or there is a fourth.
    Mark,
    /// An earlier line has the same id.
    SameId,
    /// An earlier line is also marked active.
    SecondActive,
    /// There are more keys than [`KEYS_MAX`].
    TooMany,
}

impl fmt::Display for KeyFileFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(out, "cannot be read: {error}"),
            Self::NotAFile => out.write_str("is not a regular file"),
            Self::Exposed(mode) => {
                write!(out, "can be read by users other than its owner (mode {mode:04o})")
            }
            Self::TooLarge => out.write_str("is too large for a key file"),
            Self::Line(line, fault) => write!(out, "has a bad line {line}: {fault}"),
            Self::Empty => out.write_str("has no key in it"),
            Self::NoneActive => out.write_str("has several keys and none marked active"),
        }
    }
}

impl std::error::Error for KeyFileFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(error) => Some(error),
            Self::NotAFile
            | Self::Exposed(_)
            | Self::TooLarge
            | Self::Line(..)
            | Self::Empty
            | Self::NoneActive => None,
        }
    }
}

impl KeyFileFault {
    /// Returns the remedy. `path` is used in commands.
    #[must_use]
    pub fn remedy(&self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Unreadable(error) if error.kind() == io::ErrorKind::NotFound => {
                format!("create it with \"buoy keygen {path}\" and copy it to every node")
            }
            Self::Unreadable(_) => {
                format!("change its owner to the user that the daemon runs as: chown USER {path}")
            }
            Self::NotAFile => "name a file made by \"buoy keygen\"".to_owned(),
            Self::Exposed(_) => {
                format!("chmod 600 {path}; if it was exposed, make a new one")
            }
            Self::TooLarge | Self::Line(..) | Self::Empty => {
                "each line is ID, 64 hex digits, and \"active\" on one of them".to_owned()
            }
            Self::NoneActive => "write \"active\" after the key to encrypt with".to_owned(),
        }
    }
}

impl fmt::Display for LineFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => out.write_str("the id is not a number from 1 to 255"),
            Self::Length(length) => write!(out, "the key has {length} characters, not 64"),
            Self::Digits => out.write_str("the key is not 64 hex digits, or all of them zero"),
            Self::Mark => out.write_str("only the word \"active\" may follow the key"),
            Self::SameId => out.write_str("another key has the same id"),
            Self::SecondActive => out.write_str("another key is active already"),
            Self::TooMany => write!(out, "there are more than {KEYS_MAX} keys"),
        }
    }
}

/// Reads and checks the file.
///
/// # Errors
/// When it is absent, unreadable, readable by others, or not a key file.
pub fn read_keys(path: &Path) -> Result<Keys, KeyFileFault> {
    let file = RegularFile::open(path)?;
    let mode = file.metadata().permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileFault::Exposed(mode));
    }
    parse_keys(&String::from_utf8_lossy(&file.read(SIZE_MAX)?))
}

impl From<Unread> for KeyFileFault {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Unreadable(error) => Self::Unreadable(error),
            Unread::NotAFile => Self::NotAFile,
            Unread::TooLarge => Self::TooLarge,
        }
    }
}

/// Writes a new file that only its owner may read, and never over an existing one.
///
/// # Errors
/// When the file exists, or cannot be written; a file that was begun is removed again.
pub fn write_new_key(path: &Path, secret: &[u8; 32]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = write_key(&mut file, secret);
    if written.is_err() {
        // The error to report is that of the writing.
        let _ = std::fs::remove_file(path);
    }
    written
}

fn write_key(file: &mut File, secret: &[u8; 32]) -> io::Result<()> {
    let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        "# buoy cluster key: the same file on every node, readable by its owner only.\n\
         # To change it without an outage, see \"key_file\" in buoy.reference.toml.\n\
         1 {digits} active\n"
    );
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn parse_keys(text: &str) -> Result<Keys, KeyFileFault> {
    let mut all: Vec<(u8, [u8; 32])> = Vec::new();
    let mut active = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
        if line.is_empty() {
            continue;
        }
        let refuse = |fault| KeyFileFault::Line(index + 1, fault);
        let (id, secret, marked) = parse_line(line).map_err(refuse)?;
        if all.iter().any(|(other, _)| *other == id) {
            return Err(refuse(LineFault::SameId));
        }
        if marked && active.is_some() {
            return Err(refuse(LineFault::SecondActive));
        }
        if all.len() == KEYS_MAX {
            return Err(refuse(LineFault::TooMany));
        }
        active = if marked { Some(id) } else { active };
        all.push((id, secret));
    }
    let active = match (active, all.as_slice()) {
        (_, []) => return Err(KeyFileFault::Empty),
        (Some(id), _) => id,
        (None, [(id, _)]) => *id,
        (None, _) => return Err(KeyFileFault::NoneActive),
    };
    all.sort_by_key(|(id, _)| *id);
    Ok(Keys { all, active })
}

fn parse_line(line: &str) -> Result<(u8, [u8; 32], bool), LineFault> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (id, digits, mark) = match words.as_slice() {
        [digits] => ("1", digits, None),
        [id, digits] => (*id, digits, None),
        [id, digits, mark] => (*id, digits, Some(*mark)),
        _ => return Err(LineFault::Mark),
    };
    let id = id.parse().ok().filter(|id| *id != 0).ok_or(LineFault::Id)?;
    if mark.is_some_and(|mark| mark != "active") {
        return Err(LineFault::Mark);
    }
    Ok((id, parse_secret(digits)?, mark.is_some()))
}

fn parse_secret(digits: &str) -> Result<[u8; 32], LineFault> {
    let count = digits.chars().count();
    if count != 64 {
        return Err(LineFault::Length(count));
    }
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(LineFault::Digits);
    }
    let mut secret = [0; 32];
    for (byte, pair) in secret.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| LineFault::Digits)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| LineFault::Digits)?;
    }
    if secret == [0; 32] { Err(LineFault::Digits) } else { Ok(secret) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const B: &str = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn a_bare_key_is_key_one() {
        let keys = parse_keys(A).unwrap();
        assert_eq!((keys.active, keys.all.len(), keys.all[0].0), (1, 1, 1));
        assert_eq!(keys.all[0].1[..3], [0x00, 0x11, 0x22]);
    }

    #[test]
    fn a_ring_has_one_active_key() {
        let text = format!("# comment\n\n 9 {B} active # new\n3 {A}\n");
        let keys = parse_keys(&text).unwrap();
        assert_eq!(keys.active, 9);
        assert_eq!(keys.all.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [3, 9]);
    }

    #[test]
    fn refuses_what_is_not_a_key_file() {
        let nine: String = (1..=9).map(|id| format!("{id} {}{id}\n", &A[..63])).collect();
        let cases = [
            (String::new(), "no key"),
            ("# only a comment\n".to_owned(), "no key"),
            ("1 abc".to_owned(), "line 1: the key has 3 characters"),
            (format!("\n0 {A}"), "line 2: the id"),
            (format!("300 {A}"), "line 1: the id"),
            (format!("1 {}zz", &A[..62]), "64 hex digits"),
            ("0".repeat(64), "all of them zero"),
            (format!("1 {A} passive"), "only the word"),
            (format!("1 {A} active now"), "only the word"),
            (format!("1 {A} active\n1 {B}"), "line 2: another key has the same id"),
            (format!("1 {A} active\n2 {B} active"), "line 2: another key is active"),
            (format!("1 {A}\n2 {B}"), "none marked"),
            (nine, "line 9: there are more than 8"),
        ];
        for (text, expected) in cases {
            let fault = parse_keys(&text).unwrap_err().to_string();
            assert!(fault.contains(expected), "{expected}: {fault}");
        }
    }

    #[test]
    fn secrets_are_not_in_debug_output() {
        let keys = parse_keys(&format!("7 {B}")).unwrap();
        assert_eq!(format!("{keys:?}"), "Keys { ids: [7], active: 7 }");
    }
}
