//! The words of the core: what goes in and out of it, and the values of which these are made.
//!
//! Plain data, with what can be said of one value alone. Decides nothing, names nothing else of the
//! core, and is named by all of it.
//!
//! | module | what |
//! |---|---|
//! | `identity`, `instant` | names of nodes, lives and groups; moments |
//! | `condition` | how nodes stand, and why one cannot hold a group |
//! | `configuration`, `placement`, `preference` | what is configured |
//! | `rules` | the rules that a test can break |
//! | `event`, `action` | what happens to a node; what it has done, and what it reports |
//! | `message` | what nodes say to each other |
//! | `connection`, `neighbour`, `fitness`, `load` | what the host tells of its clients and itself |
//! | `outside` | what routers outside the cluster have, as VRRP tells |
//! | `path` | heartbeat paths, and what is wrong with one |
//! | `restart`, `voters` | what outlives a process |
//! | `status` | what operators are shown |
//! | `timing_level` | the timings of profile `auto`, and what a node says of its choice |
//! | `random` | the seeded generator |

mod action;
mod condition;
mod configuration;
mod connection;
mod event;
mod fitness;
mod identity;
mod instant;
mod load;
mod message;
mod neighbour;
mod outside;
mod path;
mod placement;
mod preference;
mod preserving;
mod random;
mod restart;
mod rules;
mod standing_order;
mod status;
mod timing_level;
mod voters;

pub use action::{Action, Report};
pub use condition::{Failure, Inability, NodePhase, SoftwareVersion, Verdict};
pub use configuration::{
    ADDRESSES_MAX, Configuration, GROUPS_MAX, Group, LEASE_MAX, Member, Mode, NODES_MAX, Preserve,
    Strategy, Timing, promise, shortened,
};
pub use connection::{
    CONNECTIONS_V4_MAX, CONNECTIONS_V6_MAX, Connection, KEPT_MAX, Kept, Preserved, Waiting,
};
pub use event::{
    Attachment, Convergence, Event, HARDWARE_MAX, KernelEvent, MISSING_TOLD, Reach, Remover, Ticket,
};
pub use fitness::{FITNESS_MAX, Fitness, LastResort};
pub use identity::{Epoch, GroupKey, HardwareAddress, Incarnation, NodeId, PoolId};
pub use instant::Instant;
pub use load::{Load, Measure};
pub use message::{
    Backing, Bid, CLAIMS_PER_MESSAGE, Cause, Claim, Claims, ClaimsAck, Errand, ErrandAnswer,
    GROUPS_PER_OFFER, Heard, Heartbeat, LISTS_MAX, LeaseGrant, LeaseRequest, LogPosition, Message,
    MoveReason, Offer, OfferAnswer, Order, REFUSED_PER_MESSAGE, Refusal, Tenure, Vote,
    WISHES_PER_MESSAGE, Wish, standing_text_max, unable_max,
};
pub use neighbour::{NEIGHBOURS_V4_MAX, NEIGHBOURS_V6_MAX, Neighbour};
pub use outside::{Outside, Voice};
pub use path::{PATHS_MAX, PathFault, PathReport};
pub use placement::Placement;
pub use preference::Preference;
pub use preserving::{ConnectionsFate, Preserving, ResetReason};
pub use random::{Random, mix};
pub use restart::{Acquaintance, LeaseMemory, Memory, Misfit, Obstacle, WishMemory};
pub use rules::Rule;
pub use standing_order::{
    GIVER_MAX, Lasting, REASON_MAX, STANDING_ORDERS_MAX, STANDS_MAX, StandingChange, StandingOrder,
    Text,
};
pub use status::{
    Candidate, Explanation, GroupState, GroupStatus, NodeStatus, Standing, Status, Withheld,
};
pub use timing_level::{TimingLevel, TimingProposal, TimingReason, TimingStatus};
pub use voters::{
    LifePromise, PROMISES_AGE_MAX, PromiseRecord, Recollection, VOTERS_MAX, VoterRecord,
};

pub(super) use configuration::lease_of;
pub(super) use load::WHOLE;
pub(super) use message::{UNABLE_LEAST, UNABLE_MAX};
