//! VRRP: the bytes of others, and what the cluster makes of what it hears.
//!
//! Everything here is decided by `buoy::vrrp` alone, without sockets and clocks; with real
//! keepalived it is tried in the namespace tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

mod bench;
mod migration;
mod reactions;
mod stories;
mod vectors;
