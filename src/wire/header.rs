//! The first bytes of every datagram: readable without a key, trusted only after the seal.
//!
//! Reading checks what costs nothing (length, magic, version, class) so that garbage is gone
//! before anything is looked up.

use crate::protocol::{Incarnation, NodeId};

use super::refused::RefusedDatagram;
use super::{DATAGRAM_MAX, HEADER_LENGTH, TAG_LENGTH, WIRE_VERSION};

const MAGIC: [u8; 2] = *b"by";

/// What the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A message of the protocol.
    Message,
    /// Part of the handshake that shows that a life is the present one.
    Hello,
    /// A hello in front of which stands in clear the challenge that it answers: only who has
    /// that challenge can have sent it, which is seen without deriving a key.
    Answer,
}

/// Everything in front of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) class: Class,
    /// Which key of the ring sealed it.
    pub(super) key: u8,
    /// First half of the hash of the cluster's name: tells two clusters on one network apart.
    pub(super) cluster: u32,
    pub(super) source: NodeId,
    pub(super) destination: NodeId,
    /// Life of the source.
    pub(super) incarnation: Incarnation,
    /// Counts what this life has sent to this destination.
    pub(super) sequence: u64,
}

impl Header {
    /// The bytes in front of a datagram of `length` bytes in all.
    pub(super) fn bytes(&self, length: u16) -> [u8; HEADER_LENGTH] {
        let class = match self.class {
            Class::Message => 0,
            Class::Hello => 1,
            Class::Answer => 2,
        };
        let mut bytes = [0; HEADER_LENGTH];
        bytes[0..2].copy_from_slice(&MAGIC);
        bytes[2] = WIRE_VERSION;
        bytes[3] = class;
        bytes[5] = self.key;
        bytes[6..8].copy_from_slice(&length.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.cluster.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.source.0.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.destination.0.to_be_bytes());
        bytes[20..28].copy_from_slice(&self.incarnation.0.to_be_bytes());
        bytes[28..36].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }

    /// Reads and checks the front of a whole datagram.
    pub(super) fn read(datagram: &[u8]) -> Result<Self, RefusedDatagram> {
        if datagram.len() > DATAGRAM_MAX {
            return Err(RefusedDatagram::TooLong);
        }
        let Some((bytes, rest)) = datagram.split_first_chunk::<HEADER_LENGTH>() else {
            return Err(RefusedDatagram::TooShort);
        };
        if rest.len() < TAG_LENGTH {
            return Err(RefusedDatagram::TooShort);
        }
        if bytes[0..2] != MAGIC {
            return Err(RefusedDatagram::BadMagic);
        }
        if bytes[2] != WIRE_VERSION {
            return Err(RefusedDatagram::UnknownVersion);
        }
        let class = match bytes[3] {
            0 => Class::Message,
            1 => Class::Hello,
            2 => Class::Answer,
            _ => return Err(RefusedDatagram::UnknownClass),
        };
        if usize::from(u16::from_be_bytes(chunk(bytes, 6))) != datagram.len() {
            return Err(RefusedDatagram::WrongLength);
        }
        Ok(Self {
            class,
            key: bytes[5],
            cluster: u32::from_be_bytes(chunk(bytes, 8)),
            source: NodeId(u32::from_be_bytes(chunk(bytes, 12))),
            destination: NodeId(u32::from_be_bytes(chunk(bytes, 16))),
            incarnation: Incarnation(u64::from_be_bytes(chunk(bytes, 20))),
            sequence: u64::from_be_bytes(chunk(bytes, 28)),
        })
    }

    /// Used once under the key of one life, because sequences are counted for each destination.
    pub(super) fn nonce(&self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.destination.0.to_be_bytes());
        nonce[4..].copy_from_slice(&self.sequence.to_be_bytes());
        nonce
    }
}

fn chunk<const N: usize>(bytes: &[u8; HEADER_LENGTH], at: usize) -> [u8; N] {
    let mut chunk = [0; N];
    chunk.copy_from_slice(&bytes[at..at + N]);
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            class: Class::Hello,
            key: 3,
            cluster: 0x0102_0304,
            source: NodeId(5),
            destination: NodeId(6),
            incarnation: Incarnation(7),
            sequence: 8,
        }
    }

    #[test]
    fn reads_what_it_wrote() {
        let mut datagram = sample().bytes(60).to_vec();
        datagram.resize(60, 0);
        assert_eq!(Header::read(&datagram), Ok(sample()));
        datagram.push(0);
        assert_eq!(Header::read(&datagram), Err(RefusedDatagram::WrongLength));
    }

    #[test]
    fn nonces_differ_by_destination_and_by_sequence() {
        let here = sample();
        let there = Header { destination: NodeId(9), ..here };
        let later = Header { sequence: 9, ..here };
        assert_ne!(here.nonce(), there.nonce());
        assert_ne!(here.nonce(), later.nonce());
    }
}
