//! Decides who owns which group. No IO, no clock, no randomness of its own; imports nothing of ours.

mod action;
mod configuration;
mod event;
mod identity;
mod instant;
mod message;
mod node;
mod random;
mod status;

pub use action::{Action, Inability, Report, Verdict};
pub use configuration::{
    Configuration, GROUPS_MAX, Group, Member, NODES_MAX, Strategy, Timing,
};
pub use event::{Event, Failure, KernelEvent, Reach, Ticket};
pub use identity::{Epoch, GroupKey, Incarnation, NodeId};
pub use instant::Instant;
pub use message::{
    CLAIMS_PER_MESSAGE, Cause, Claim, Claims, ClaimsAck, Errand, ErrandAnswer, GROUPS_PER_OFFER,
    Heard, Heartbeat, LogPosition, Message, MoveReason, NodePhase, Offer, OfferAnswer, Order,
    Refusal, SoftwareVersion, Tenure,
};
pub use node::Node;
pub use random::{Random, mix};
pub use status::{
    Candidate, Explanation, GroupState, GroupStatus, NodeStatus, Standing, Status,
};
