//! Decides who owns which group: time and events in, actions out.
//!
//! No IO, no clock, no randomness but a seeded generator, no logging, and nothing of ours imported:
//! one sequence of events gives one sequence of actions. Called by `daemon` in production and by
//! `tests/simulation`. [`Node`] is the door; behind it, in the order of a life:
//!
//! | module | decides |
//! |---|---|
//! | `membership` | who lives: silence, corroborated |
//! | `heartbeats` | what a node says of itself |
//! | `unlisted` | members that files do not agree on |
//! | `silent_kernel` | whether a silent peer is dead, by what its kernel answers |
//! | `touch` | who hears this node |
//! | `inability`, `progress` | what nodes cannot hold; whether the kernel side gets on |
//! | `health` | whether this node itself is well: stalls, maturity, isolation |
//! | `claims`, `gossip` | who claims what, and how claims travel |
//! | `succession` | whether a group is vacant and who is next |
//! | `group`, `ownership` | the machine of one group; taking, letting go |
//! | `conflict` | which of two owners gives way |
//! | `majority`, `leases`, `voter` | mode majority: asking for leases, having them, granting them |
//! | `layout` | addresses that files have in different groups |
//! | `regrouping` | reloads of a file that has them in other groups |
//! | `lookout` | who outside the cluster has a group, before taking and while holding it |
//! | `outside` | what routers outside have of groups that are virtual routers (VRRP) |
//! | `handover`, `balance`, `tally` | planned moves: how, and which; who carries how much |
//! | `load` | how busy nodes are |
//! | `fitness`, `remedy` | what checks say of nodes; what an owner does whose checks fail |
//! | `announcements`, `bucket` | when to announce, how much at once |
//! | `connections` | whose connections are known to whom, and when their clients are told |
//! | `continuation` | how a life goes on in another process |
//! | `gates` | what may hold a planned move for a while |
//! | `drain` | giving everything away, and waiting for connections to end |
//! | `preservation` | connections that stay with the old owner of a group that was moved |
//! | `neighbours` | whether the neighbourhood follows, and who is told of whom |
//! | `orders`, `picture`, `plan` | what operators want, see and ask for in advance |
//!
#![doc = include_str!("PROTOCOL.md")]

mod action;
mod announcements;
mod attachment;
mod balance;
mod ballot;
mod bucket;
mod claims;
mod configuration;
mod conflict;
mod connections;
mod continuation;
mod drain;
mod electorate;
mod event;
mod fitness;
mod gates;
mod gossip;
mod group;
mod handover;
mod health;
mod heartbeats;
mod identity;
mod inability;
mod instant;
mod layout;
mod leases;
mod load;
mod lookout;
mod majority;
mod membership;
mod message;
mod neighbours;
mod node;
mod orders;
mod outside;
mod ownership;
mod peers;
mod picture;
mod plan;
mod preservation;
mod progress;
mod random;
mod regrouping;
mod remedy;
mod rules;
mod silent_kernel;
mod status;
mod succession;
mod tally;
mod touch;
mod unlisted;
mod voter;

pub use action::{Action, Inability, Report, Verdict};
pub use configuration::{
    ADDRESSES_MAX, Configuration, GROUPS_MAX, Group, LEASE_MAX, Member, Mode, NODES_MAX, Strategy,
    Timing, promise, shortened,
};
pub use connections::{CONNECTIONS_V4_MAX, CONNECTIONS_V6_MAX, Connection};
pub use continuation::{Acquaintance, Memory, Misfit, Obstacle};
pub use drain::Waiting;
pub use electorate::{Recollection, VoterRecord};
pub use event::{
    Attachment, Convergence, Event, Failure, HARDWARE_MAX, KernelEvent, MISSING_TOLD, Reach,
    Remover, Ticket,
};
pub use fitness::{FITNESS_MAX, Fitness, LastResort};
pub use identity::{Epoch, GroupKey, HardwareAddress, Incarnation, NodeId, PoolId};
pub use inability::unable_max;
pub use instant::Instant;
pub use leases::VOTERS_MAX;
pub use load::{Load, Measure};
pub use message::{
    Backing, Bid, CLAIMS_PER_MESSAGE, Cause, Claim, Claims, ClaimsAck, Errand, ErrandAnswer,
    GROUPS_PER_OFFER, Heard, Heartbeat, LISTS_MAX, LeaseGrant, LeaseRequest, LogPosition, Message,
    MoveReason, NodePhase, Offer, OfferAnswer, Order, REFUSED_PER_MESSAGE, Refusal,
    SoftwareVersion, Tenure, Vote, WISHES_PER_MESSAGE, Wish,
};
pub use neighbours::{NEIGHBOURS_V4_MAX, NEIGHBOURS_V6_MAX, Neighbour};
pub use node::Node;
pub use outside::{Outside, Voice};
pub use plan::{Hypothesis, PlanReason, PlannedMove};
pub use preservation::{KEPT_MAX, Kept, Preserved};
pub use random::{Random, mix};
pub use rules::Rule;
pub use status::{
    Candidate, Explanation, GroupState, GroupStatus, NodeStatus, Standing, Status, Withheld,
};

#[cfg(test)]
mod tests;
