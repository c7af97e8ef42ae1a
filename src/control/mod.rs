//! What operators ask and read: the control socket, its client, tables and the flight recorder.
//!
//! ```text
//!  protocol::Report -> events -> recorder ------+
//!                                               v
//!  cli -> client ==== control.sock ====> connection -> inquiry -> (channel) -> daemon
//!  monitors, pages ==  status.sock ====>   (asks only)
//!          |                                    ^                                |
//!          v                                    +-- translation <- protocol::Status
//!       render -> people                             (names, sentences)
//! ```
//!
//! The daemon starts a [`server::Server`] in any tokio runtime that is *not* the protocol's own
//! thread, answers [`server::Inquiry`] with plain protocol types, and hands each `Report` to the
//! [`recorder::Recorder`]. The command line calls [`client::run`]. Nothing here decides anything;
//! whatever a client does, or does not do, costs the daemon at most one question per 20 ms.

pub mod adaptive_timing;
pub mod awaited;
pub mod client;
mod connection;
pub(crate) mod duration_text;
pub mod events;
mod failure;
mod giver;
mod inquiry;
mod labels;
pub mod live;
pub mod local;
pub mod measures;
pub mod merged_events;
mod missing_routes;
pub mod names;
pub(crate) mod peer_problems;
pub mod plan;
pub mod pool_rules;
mod preserving;
pub mod ready;
pub mod recorder;
mod refusals;
pub mod render;
pub mod report_counters;
pub mod request;
pub mod response;
pub mod restart_in_place;
pub mod selection;
pub mod sentences;
pub mod server;
mod standing;
pub mod standing_orders;
mod table;
pub mod terms;
pub(crate) mod timestamp;
mod translation;
mod undo;
mod virtual_routers;
mod wait;

#[cfg(test)]
mod fake_daemon;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod loopback_test;
#[cfg(test)]
mod misuse_test;
#[cfg(test)]
mod observers_test;
#[cfg(test)]
mod orders_test;
#[cfg(test)]
mod wording_test;
