//! What the wire promises, apart from the fixed bytes in `tests/wire_vectors`.

mod handover;
mod handshake;
mod members;
mod rotation;
mod round_trip;
mod sample;
