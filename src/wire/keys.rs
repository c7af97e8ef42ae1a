//! The cluster's keys, and what is derived from them.
//!
//! A ring holds every key that is accepted and names the one that seals. To change a key without
//! losing a datagram, three sweeps over the nodes, each at any pace: add the new key everywhere,
//! make it the active one everywhere, remove the old one.
//!
//! No key of the cluster seals anything itself. Each life of each node seals under a key of its
//! own: HKDF-SHA256 with the cluster's name as salt, and node and incarnation as info.

use std::fmt;

use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};

use crate::protocol::{Incarnation, NodeId};

/// Most keys in a ring; a change of keys needs two.
pub const KEYS_MAX: usize = 8;

/// A key of the cluster. It has no `Debug`, so that it cannot end up in a log.
#[derive(Clone)]
pub struct Key {
    /// Names the key in datagrams; the same on every node.
    pub id: u8,
    /// The key itself.
    pub secret: [u8; 32],
}

/// All keys that are accepted, one of them used to seal.
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<Key>,
    active: u8,
}

/// Why a set of keys is no ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRingError {
    /// No key at all.
    Empty,
    /// More than [`KEYS_MAX`] keys.
    TooMany(usize),
    /// Two keys of this id.
    Repeated(u8),
    /// No key of the id that was named active.
    NoActive(u8),
}

impl fmt::Display for KeyRingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(out, "no key"),
            Self::TooMany(count) => write!(out, "{count} keys, at most {KEYS_MAX} are allowed"),
            Self::Repeated(id) => write!(out, "two keys with id {id}"),
            Self::NoActive(id) => write!(out, "no key with the active id {id}"),
        }
    }
}

impl std::error::Error for KeyRingError {}

impl KeyRing {
    /// A ring of these keys that seals with the key of id `active`.
    ///
    /// # Errors
    ///
    /// When ids repeat, the active key is not among them, or there are none or too many.
    pub fn new(keys: Vec<Key>, active: u8) -> Result<Self, KeyRingError> {
        if keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        if keys.len() > KEYS_MAX {
            return Err(KeyRingError::TooMany(keys.len()));
        }
        for (at, key) in keys.iter().enumerate() {
            if keys[..at].iter().any(|earlier| earlier.id == key.id) {
                return Err(KeyRingError::Repeated(key.id));
            }
        }
        if !keys.iter().any(|key| key.id == active) {
            return Err(KeyRingError::NoActive(active));
        }
        Ok(Self { keys, active })
    }

    pub(super) fn key(&self, id: u8) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }

    pub(super) fn active(&self) -> &Key {
        self.key(self.active).expect("a ring has its active key")
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }
}

/// First half of the hash of the cluster's name.
pub(super) fn cluster_hash(cluster: &str) -> u32 {
    let hash = Sha256::digest(cluster.as_bytes());
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// The cipher of one life of one node under one key of the cluster.
pub(super) fn cipher(
    key: &Key,
    cluster: &str,
    node: NodeId,
    incarnation: Incarnation,
) -> ChaCha20Poly1305 {
    let mut secret = [0; 32];
    Hkdf::<Sha256>::new(Some(cluster.as_bytes()), &key.secret)
        .expand_multi_info(
            &[b"buoy sender", &node.0.to_be_bytes(), &incarnation.0.to_be_bytes()],
            &mut secret,
        )
        .expect("HKDF-SHA256 gives up to 8160 bytes");
    ChaCha20Poly1305::new(&secret.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u8) -> Key {
        Key { id, secret: [id; 32] }
    }

    #[test]
    fn a_ring_names_what_is_wrong_with_it() {
        let fault = |keys, active| KeyRing::new(keys, active).err();
        assert_eq!(fault(vec![], 1), Some(KeyRingError::Empty));
        assert_eq!(fault(vec![key(1), key(1)], 1), Some(KeyRingError::Repeated(1)));
        assert_eq!(fault(vec![key(1)], 2), Some(KeyRingError::NoActive(2)));
        assert_eq!(fault((0..9).map(key).collect(), 1), Some(KeyRingError::TooMany(9)));
        assert_eq!(fault((0..8).map(key).collect(), 7), None);
    }
}
