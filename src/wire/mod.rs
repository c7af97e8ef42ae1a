//! Bytes to messages and back, sealed. Pure: time, secrets and randomness come in as arguments.
//!
//! The daemon seals what the protocol wants to send, hands the datagram to `transport` for every
//! path, and opens what `transport` receives. Whatever arrives, opening never panics and never
//! changes a session unless the datagram was sealed by a holder of a cluster key, is new, and
//! comes from a life of its sender that has shown to be the present one. All else is a
//! [`RefusedDatagram`], to be counted.
//!
//! ```text
//!   0       2     3     4     5     6        8           12          16            20
//!   +-------+-----+-----+-----+-----+--------+-----------+-----------+-------------+
//!   | magic | ver |class|flags| key | length |  cluster  |  source   | destination |
//!   +-------+-----+-----+-----+-----+--------+-----------+-----------+-------------+
//!   |  incarnation of the source (8) |  sequence (8)     |  <- 36 bytes, authenticated
//!   +--------------------------------+-------------------+
//!   |  body, encrypted: class 0: kind (1), fields        |  <- at most 1148 bytes
//!   |                   class 1: fields of a hello       |
//!   +----------------------------------------------------+
//!   |  tag (16)                                          |
//!   +----------------------------------------------------+
//!
//!   field:  type (1)  length (2)  value         type >= 0x80: a reader must know it
//!   list:   record length (1)  records          longer records of a later version are cut
//! ```
//!
//! Numbers are big-endian. Flags are sent as zero and not looked at. The seal is
//! ChaCha20-Poly1305 under a key of the sender's life (`keys`) with destination and sequence as
//! the nonce: sequences are counted for each destination, and so each pair is used once.

mod claim;
mod code;
mod connection;
mod decode;
mod encode;
mod field;
mod header;
mod hello;
mod kept;
mod keys;
mod lease;
mod limiter;
mod lives;
mod neighbour;
mod open;
mod path;
mod refused;
mod replay;
mod sessions;
mod standing_order;
#[cfg(test)]
mod tests;
mod timing;
mod unable;

pub use decode::{DecodeError, decode};
pub use encode::{encode, encoded_length};
pub use keys::{KEYS_MAX, Key, KeyRing, KeyRingError};
pub use refused::RefusedDatagram;
pub use replay::REPLAY_WINDOW;
pub use sessions::{Issued, Local, Opened, RingRefusal, Sessions, features_needed};

/// Longest datagram: passes every link that IPv6 may use (1280 bytes) with room for tunnels.
pub const DATAGRAM_MAX: usize = 1200;
/// Bytes before the body.
pub const HEADER_LENGTH: usize = 36;
/// Bytes after the body.
pub const TAG_LENGTH: usize = 16;
/// Longest body.
pub const BODY_MAX: usize = DATAGRAM_MAX - HEADER_LENGTH - TAG_LENGTH;

/// Version of the layout above. Both sides must have the same; all else grows by fields.
pub const WIRE_VERSION: u8 = 1;
/// Oldest layout that this software can open, told in every heartbeat.
pub const WIRE_VERSION_MIN: u8 = 1;
/// Newest layout that this software can open, told in every heartbeat.
pub const WIRE_VERSION_MAX: u8 = 1;
/// Features that this software understands, one bit each, told in every heartbeat. A feature may
/// be used towards a peer only while that peer tells it: [`Sessions::seal`] sees to that.
pub const FEATURES: u64 = FEATURE_NEIGHBOURS | FEATURE_CONNECTIONS | FEATURE_DRAIN_NOW;
/// The message by which owners tell of their neighbours.
pub const FEATURE_NEIGHBOURS: u64 = 1;
/// The message by which owners tell of their connections.
pub const FEATURE_CONNECTIONS: u64 = 2;
/// The order to drain without waiting.
pub const FEATURE_DRAIN_NOW: u64 = 4;

/// The features by name, for people.
pub(crate) const FEATURE_NAMES: [(u64, &str); 3] = [
    (FEATURE_NEIGHBOURS, "neighbours"),
    (FEATURE_CONNECTIONS, "connections"),
    (FEATURE_DRAIN_NOW, "drain --now"),
];

/// Most lines in a heartbeat's table of peers: all nodes but the sender.
pub const HEARD_MAX: usize = crate::protocol::NODES_MAX - 1;
