//! Placeholder.
pub mod clock;
pub mod cluster;
pub mod dump;
pub mod echo;
pub mod experiment;
pub mod fault;
pub mod filter;
pub mod namespace;
pub mod network;
pub mod ownership;
pub mod plan;
pub mod probe;
pub mod process;
pub mod record;
