//! Decides who owns which group: time and events in, actions out.
//!
//! No IO, no clock, no randomness but a seeded generator, no logging, and nothing of ours imported:
//! one sequence of events gives one sequence of actions. Called by `daemon` in production and by
//! `tests/simulation`. [`Node`] is the door; behind it, in the order of a life:
//!
//! | module | decides |
//! |---|---|
//! | `types` | nothing: what everything else is said in, and the limits of it |
//! | `env` | nothing: time, configuration, generator and actions, handed to each |
//! | `membership` | who lives: silence, corroborated |
//! | `heartbeats` | what a node says of itself |
//! | `unlisted` | members that files do not agree on |
//! | `silent_kernel` | whether a silent peer is dead, by what its kernel answers |
//! | `touch` | who hears this node |
//! | `adaptive_timing`, `timing_in_force` | profile `auto`: how fast this cluster may be |
//! | `paths` | heartbeat paths that work in one direction only |
//! | `inability`, `kernel_work` | what nodes cannot hold; whether the kernel side gets on |
//! | `health` | whether this node itself is well: stalls, maturity, isolation |
//! | `claims` | who claims what, and how claims travel |
//! | `claim_exchange` | what a node does with claims that come and go |
//! | `succession` | whether a group is vacant and who is next |
//! | `group`, `ownership` | the machine of one group; taking, letting go |
//! | `conflict` | which of two owners gives way |
//! | `quorum` | leases from a majority of the voters: asking for them, having them, granting them |
//! | `majority` | mode majority: what follows from the leases for groups |
//! | `layout` | addresses that files have in different groups |
//! | `regrouping` | reloads of a file that has them in other groups |
//! | `address_conflict` | who outside the cluster has a group, before taking and while holding it |
//! | `conflicting_hosts` | to which of them a group is left, and until when |
//! | `outside` | what routers outside have of groups that are virtual routers (VRRP) |
//! | `handover`, `balance`, `tally` | planned moves: how, and which; who carries how much |
//! | `load` | how busy nodes are |
//! | `fitness`, `remedy` | what checks say of nodes; what an owner does whose checks fail |
//! | `placement`, `company` | which nodes the rules of a pool want; which groups are to share one |
//! | `announcements`, `bucket` | when to announce, how much at once |
//! | `client_connections` | whose connections are known to whom, and when their clients are told |
//! | `continuation` | how a life goes on in another process |
//! | `gates` | what may hold a planned move for a while |
//! | `drain` | giving everything away, and waiting for connections to end |
//! | `preservation` | connections that stay with the old owner of a group that was moved |
//! | `neighbours` | whether the neighbourhood follows, and who is told of whom |
//! | `orders`, `picture`, `plan` | what operators want, see and ask for in advance |
//!
#![doc = include_str!("PROTOCOL.md")]

mod adaptive_timing;
mod address_conflict;
mod announcements;
mod attachment;
mod balance;
mod bucket;
mod claim_exchange;
mod claims;
mod client_connections;
mod company;
mod conflict;
mod conflicting_hosts;
mod continuation;
mod drain;
mod env;
mod fate;
mod fitness;
mod gates;
mod group;
mod handover;
mod health;
mod heartbeats;
mod inability;
mod kernel_work;
mod layout;
mod load;
mod majority;
mod membership;
mod neighbours;
mod node;
mod orders;
mod outside;
mod ownership;
mod paths;
mod peers;
mod picture;
mod placement;
mod plan;
mod preservation;
mod quorum;
mod regrouping;
mod remedy;
mod silent_kernel;
mod spare;
mod standing_orders;
mod succession;
mod tally;
mod timing_in_force;
mod touch;
mod types;
mod unlisted;

pub use node::Node;
pub use plan::{Hypothesis, PlanReason, PlannedMove};
pub use spare::{Indispensable, OutBecause, Roster, SpareTerms};
pub use types::{
    ADDRESSES_MAX, Acquaintance, Action, Attachment, Backing, Bid, CLAIMS_PER_MESSAGE,
    CONNECTIONS_V4_MAX, CONNECTIONS_V6_MAX, Candidate, Cause, Claim, Claims, ClaimsAck,
    Configuration, Connection, ConnectionsFate, Convergence, Epoch, Errand, ErrandAnswer, Event,
    Explanation, FITNESS_MAX, Failure, Fitness, GIVER_MAX, GROUPS_MAX, GROUPS_PER_OFFER, Group,
    GroupKey, GroupState, GroupStatus, HARDWARE_MAX, HardwareAddress, Heard, Heartbeat, Inability,
    Incarnation, Instant, KEPT_MAX, Kept, KernelEvent, LEASE_MAX, LISTS_MAX, LastResort, Lasting,
    LeaseGrant, LeaseMemory, LeaseRequest, LifePromise, Load, LogPosition, MISSING_TOLD, Measure,
    Member, Memory, Message, Misfit, Mode, MoveReason, NEIGHBOURS_V4_MAX, NEIGHBOURS_V6_MAX,
    NODES_MAX, Neighbour, NodeId, NodePhase, NodeStatus, Obstacle, Offer, OfferAnswer, Order,
    Outside, PATHS_MAX, PROMISES_AGE_MAX, PathFault, PathReport, Placement, PoolId, Preference,
    Preserve, Preserved, Preserving, PromiseRecord, REASON_MAX, REFUSED_PER_MESSAGE, Random, Reach,
    Recollection, Refusal, Remover, Report, ResetReason, Rule, STANDING_ORDERS_MAX, STANDS_MAX,
    SoftwareVersion, Standing, StandingChange, StandingOrder, Status, Strategy, Tenure, Text,
    Ticket, Timing, TimingLevel, TimingProposal, TimingReason, TimingStatus, VOTERS_MAX, Verdict,
    Voice, Vote, VoterRecord, WISHES_PER_MESSAGE, Waiting, Wish, WishMemory, Withheld, mix,
    promise, shortened, standing_text_max, unable_max,
};

#[cfg(test)]
mod tests;
