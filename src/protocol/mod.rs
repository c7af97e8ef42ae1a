//! Decides who owns which group: time and events in, actions out.
//!
//! No IO, no clock, no randomness but a seeded generator, no logging, and nothing of ours imported:
//! one sequence of events gives one sequence of actions. Called by `daemon` in production and by
//! `tests/simulation`. [`Node`] is the door; behind it, in the order of a life:
//!
//! | module | decides |
//! |---|---|
//! | `membership` | who lives: silence, corroborated |
//! | `health` | whether this node itself is well: stalls, maturity, isolation |
//! | `claims`, `gossip` | who claims what, and how claims travel |
//! | `succession` | whether a group is vacant and who is next |
//! | `group`, `ownership` | the machine of one group; taking, letting go |
//! | `conflict` | which of two owners gives way |
//! | `handover`, `balance` | planned moves: how, and which |
//! | `announcements` | when to announce |
//! | `neighbours` | whether the neighbourhood follows, and who is told of whom |
//! | `orders`, `picture` | what operators want and see |
//!
#![doc = include_str!("PROTOCOL.md")]

mod action;
mod announcements;
mod balance;
mod claims;
mod configuration;
mod conflict;
mod event;
mod gossip;
mod group;
mod handover;
mod health;
mod identity;
mod instant;
mod membership;
mod message;
mod neighbours;
mod node;
mod orders;
mod ownership;
mod peers;
mod picture;
mod random;
mod rules;
mod status;
mod succession;

pub use action::{Action, Inability, Report, Verdict};
pub use configuration::{
    Configuration, GROUPS_MAX, Group, Member, Mode, NODES_MAX, Strategy, Timing,
};
pub use event::{Convergence, Event, Failure, KernelEvent, MISSING_TOLD, Reach, Ticket};
pub use identity::{Epoch, GroupKey, Incarnation, NodeId};
pub use instant::Instant;
pub use message::{
    CLAIMS_PER_MESSAGE, Cause, Claim, Claims, ClaimsAck, Errand, ErrandAnswer, GROUPS_PER_OFFER,
    Heard, Heartbeat, LogPosition, Message, MoveReason, NodePhase, Offer, OfferAnswer, Order,
    Refusal, SoftwareVersion, Tenure,
};
pub use neighbours::{NEIGHBOURS_V4_MAX, NEIGHBOURS_V6_MAX, Neighbour};
pub use node::Node;
pub use random::{Random, mix};
pub use rules::Rule;
pub use status::{Candidate, Explanation, GroupState, GroupStatus, NodeStatus, Standing, Status};

#[cfg(test)]
mod tests;
