//! Keeps floating IP addresses in service on exactly one of your hosts.
//!
//! The path of a packet to an address, which is also the list of modules:
//!
//! ```text
//!  network -> transport/receive -> wire/open -> wire/decode -> protocol/types/event
//!                                                                               |
//!                                                                               v
//!  clock  -> daemon/clock ------------------------------------------> protocol/node::step
//!  kernel -> kernel/watch ------------------------------------------>           |
//!  human  -> control/request --------------------------------------->           v
//!                                                                      protocol/types/action
//!       kernel/apply (addresses, announcements) <-------------------------------+
//!       transport/send <- wire/seal <- wire/encode <----------------------------+
//! ```
//!
//! `serve` is another process: it reads the status socket of a daemon and answers over HTTP; `dns`
//! does the same and answers over DNS. `top` is
//! another, at a terminal. `upgrade` drives a cluster as an operator does, by the control socket.
//! `routing` has the routes and rules of groups as values. `confinement` takes from those that start no programs what they never need. `netlink` (private) is how `kernel` and `lab` speak to Linux. Which module may name which is listed in `tests/architecture.rs` and checked there.

pub mod balancer;
pub mod checks;
pub mod cli;
pub mod config;
pub mod confinement;
pub mod control;
pub mod daemon;
pub mod dns;
pub mod exit;
pub mod hooks;
pub mod keepalived;
pub mod kernel;
pub mod lab;
pub mod logging;
mod netlink;
pub mod programs;
pub mod protocol;
mod redaction;
pub mod routing;
pub mod serve;
pub mod top;
pub mod transport;
pub mod upgrade;
pub mod vrrp;
pub mod wire;
