//! Placeholder.
pub mod clock;
pub mod dump;
pub mod echo;
pub mod filter;
pub mod namespace;
pub mod network;
pub mod ownership;
pub mod probe;
pub mod record;
