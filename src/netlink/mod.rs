//! Netlink datagrams: the framing, and a socket for questions that the kernel answers at once.
//!
//! Used by `kernel` for events, dumps, addresses and the gate, and by `lab` for the rules of its
//! switch; messages to nf_tables are in [`nftables`]. No part of the library's interface. Only the few fields that are needed are read, and unknown attributes are passed over: a newer
//! kernel that says more must never make this host unable to hold an address.
//!
//! ```text
//!  0        4      6       8          12      16
//!  +--------+------+-------+----------+-------+------ - - - ------+ padding to 4
//!  | length | kind | flags | sequence | port  | body              |
//!  +--------+------+-------+----------+-------+------ - - - ------+
//!  attribute:  | length 2 | kind 2 | value ... | padding to 4
//! ```
//!
//! A dump is produced by the kernel inside our own `recv`, so a [`Conversation`] never waits; if
//! nothing is there although something should be, that is an error and the caller starts again.

mod expressions;
pub(crate) mod nftables;
pub(crate) mod tables;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use netlink_sys::{Socket, SocketAddr};

/// Length of the header drawn above.
pub(crate) const HEADER: usize = 16;
/// The kernel never builds a larger datagram than 32 KiB for a reader with such a buffer.
pub(crate) const DATAGRAM_MAX: usize = 64 * 1024;
/// A question.
pub(crate) const REQUEST: u16 = 0x1;
/// Answer even if there is nothing to tell.
pub(crate) const ACKNOWLEDGE: u16 = 0x4;
/// Tell everything there is.
pub(crate) const DUMP: u16 = 0x300;
const KIND_ERROR: u16 = 2;
const KIND_DONE: u16 = 3;
/// Attribute kinds carry two flag bits at the top.
const ATTRIBUTE_KIND: u16 = 0x3fff;

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// What it is.
    pub(crate) kind: u16,
    /// Of the question that it answers; 0 for events.
    pub(crate) sequence: u32,
    /// What follows the header.
    pub(crate) body: &'a [u8],
}

/// The messages of a datagram; ends at the first one that is malformed.
pub(crate) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let message = Message {
            kind: u16_at(rest, 4)?,
            sequence: u32_at(rest, 8)?,
            body: rest.get(HEADER..length)?,
        };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes in `bytes`; ends at the first one that is malformed.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let attribute = (u16_at(rest, 2)? & ATTRIBUTE_KIND, rest.get(4..length)?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(attribute)
    })
}

/// The number of two bytes, in the byte order of this host, at `offset`.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

/// The number of four bytes, in the byte order of this host, at `offset`.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// Appends one message to `out`.
pub(crate) fn append_message(out: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, body: &[u8]) {
    let length = u32::try_from(HEADER + body.len()).expect("messages of ours are short");
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&0_u32.to_ne_bytes());
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Appends one attribute to `out`.
pub(crate) fn append_attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).expect("attributes of ours are short");
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Questions to the kernel, answered within the call.
#[derive(Debug)]
pub(crate) struct Conversation {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Conversation {
    /// Opens a socket of the given netlink protocol.
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; DATAGRAM_MAX] })
    }

    /// The same socket once more, for another process.
    pub(crate) fn copy(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// Asks one question; `take` gets every message of the answer and says whether more is wanted.
    /// What came in the same datagram it gets all the same: the kernel has done that work.
    ///
    /// After an error, or when `take` stopped an answer of several messages, a new conversation must
    /// be opened.
    pub(crate) fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut take: impl FnMut(Message<'_>) -> bool,
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = Vec::with_capacity(HEADER + body.len());
        append_message(&mut request, kind, flags | REQUEST, self.sequence, body);
        self.socket.send(&request, 0)?;
        loop {
            let length = self.socket.recv(&mut self.buffer.as_mut_slice(), 0)?;
            let mut more = true;
            for message in messages(self.buffer.get(..length).unwrap_or_default()) {
                if message.sequence != self.sequence {
                    continue;
                }
                if message.kind == KIND_DONE {
                    return error_in(message.body);
                }
                if message.kind == KIND_ERROR {
                    return error_in(message.body);
                }
                more &= take(message);
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Sends messages whose refusals are counted later by [`Conversation::refusals`].
    pub(crate) fn send(&self, datagram: &[u8]) -> io::Result<()> {
        self.socket.send(datagram, 0).map(drop)
    }

    /// Reads what is waiting; returns the codes of refusals.
    pub(crate) fn refusals(&mut self) -> Vec<i32> {
        self.answers().map(|(_, refusals)| refusals).unwrap_or_default()
    }

    /// Reads what is waiting; returns how many messages were acknowledged, and the codes of
    /// refusals.
    ///
    /// # Errors
    ///
    /// When answers were lost and none of those that came is a refusal.
    pub(crate) fn answers(&mut self) -> io::Result<(usize, Vec<i32>)> {
        let (mut acknowledged, mut refusals) = (0, Vec::new());
        for (_, code) in self.outcomes()? {
            match code {
                0 => acknowledged += 1,
                code => refusals.push(code),
            }
        }
        Ok((acknowledged, refusals))
    }

    /// Has questions checked in all their fields, so that the kernel tells only what is asked for;
    /// before Linux 4.20 it does not.
    pub(crate) fn have_questions_checked(&self) {
        drop(self.socket.set_netlink_get_strict_chk(true));
    }

    /// Reads what is waiting; returns the number of each message that was answered, with the code of
    /// its refusal or 0.
    ///
    /// # Errors
    ///
    /// When answers were lost and none of those that came is a refusal.
    pub(crate) fn outcomes(&mut self) -> io::Result<Vec<(u32, i32)>> {
        let mut outcomes = Vec::new();
        loop {
            let length = match self.socket.recv(&mut self.buffer.as_mut_slice(), 0) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if outcomes.iter().all(|(_, code)| *code == 0) => return Err(error),
                Err(_) => break,
            };
            let datagram = self.buffer.get(..length).unwrap_or_default();
            for message in messages(datagram).filter(|message| message.kind == KIND_ERROR) {
                let code = error_in(message.body).map_or_else(|it| it.raw_os_error(), |()| Some(0));
                outcomes.extend(code.map(|code| (message.sequence, code)));
            }
        }
        Ok(outcomes)
    }
}

/// Both the end of a dump and an acknowledgement begin with a negative error number or zero.
fn error_in(body: &[u8]) -> io::Result<()> {
    match u32_at(body, 0).map_or(0, u32::cast_signed) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_attributes_come_back_as_they_were_written() {
        let mut body = Vec::new();
        append_attribute(&mut body, 7, b"abc");
        append_attribute(&mut body, 0x8000 | 9, b"abcd");
        let mut datagram = Vec::new();
        append_message(&mut datagram, 20, REQUEST, 5, &body);
        append_message(&mut datagram, 21, REQUEST, 6, b"");

        let found: Vec<_> = messages(&datagram).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind, found[0].sequence), (20, 5));
        assert_eq!((found[1].kind, found[1].sequence, found[1].body.len()), (21, 6, 0));
        let read: Vec<_> = attributes(found[0].body).collect();
        assert_eq!(read, [(7, &b"abc"[..]), (9, &b"abcd"[..])]);
    }

    #[test]
    fn nonsense_ends_the_reading_and_never_panics() {
        let mut datagram = Vec::new();
        append_message(&mut datagram, 20, 0, 1, b"12345678");
        for length in 0..datagram.len() {
            assert_eq!(messages(&datagram[..length]).count(), 0, "cut to {length}");
        }
        for wrong_length in [0_u32, 1, 15, 25, u32::MAX] {
            datagram[..4].copy_from_slice(&wrong_length.to_ne_bytes());
            assert_eq!(messages(&datagram).count(), 0, "length {wrong_length}");
        }
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[3, 0, 1, 0, 9]).count(), 0);
        assert_eq!(attributes(&[255, 255, 1, 0, 9]).count(), 0);
    }
}
