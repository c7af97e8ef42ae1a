//! What peers say to each other, typed. `wire` turns these into datagrams and back.
//!
//! | message | says |
//! |---|---|
//! | [`Heartbeat`] | I live, this is whom I hear, and this is how far our claim logs have come |
//! | [`Claims`] | who owns which groups, as a slice of a log that the receiver acknowledges |
//! | [`ClaimsAck`] | how far of your log I have |
//! | [`Offer`], [`OfferAnswer`] | a planned move, pushed by the owner and accepted by the receiver |
//! | [`Errand`], [`ErrandAnswer`] | an operator's order carried to the node that can do it |
//! | [`LeaseRequest`], [`LeaseGrant`] | for which groups in mode majority a voter vouches |
//! | [`Message::Neighbours`] | which hosts an owner has to do with |
//! | [`Message::Connections`] | which connections an owner has |
//! | [`Message::Kept`] | how many connections a former owner still serves |

use std::time::Duration;

use super::condition::{Inability, NodePhase, SoftwareVersion};
use super::configuration::NODES_MAX;
use super::connection::Connection;
use super::connection::Kept;
use super::connection::Waiting;
use super::fitness::Fitness;
use super::identity::{Epoch, GroupKey, HardwareAddress, Incarnation, NodeId, PoolId};
use super::load::Load;
use super::neighbour::Neighbour;
use super::path::PathReport;
use super::preserving::Preserving;
use super::standing_order::StandingOrder;
use super::timing_level::TimingProposal;

/// A message between two nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Sent every heartbeat interval to every peer on every path, and at once when solicited.
    Heartbeat(Heartbeat),
    /// A slice of the sender's claim log.
    Claims(Claims),
    /// Answers [`Message::Claims`] at once.
    ClaimsAck(ClaimsAck),
    /// Asks the receiver to take groups that the sender owns.
    Offer(Offer),
    /// Answers [`Message::Offer`].
    OfferAnswer(OfferAnswer),
    /// Carries an operator's order to the node that can execute it.
    Errand(Errand),
    /// Answers [`Message::Errand`].
    ErrandAnswer(ErrandAnswer),
    /// Asks a voter for leases, every heartbeat interval and at once when the wishes change.
    LeaseRequest(LeaseRequest),
    /// Answers [`Message::LeaseRequest`] at once.
    LeaseGrant(LeaseGrant),
    /// Hosts with which the sender, an owner, has to do; the list replaces its last one. At most
    /// [`NEIGHBOURS_V4_MAX`](super::NEIGHBOURS_V4_MAX) and
    /// [`NEIGHBOURS_V6_MAX`](super::NEIGHBOURS_V6_MAX).
    Neighbours(Vec<Neighbour>),
    /// Connections to groups of the sender, an owner; adds to what it told before. At most
    /// [`CONNECTIONS_V4_MAX`](super::CONNECTIONS_V4_MAX), or
    /// [`CONNECTIONS_V6_MAX`](super::CONNECTIONS_V6_MAX), of one family.
    Connections(Vec<Connection>),
    /// Connections that the sender still serves to groups that it has handed to the receiver. At
    /// most [`KEPT_MAX`](super::KEPT_MAX); only to who has said that it forwards.
    Kept(Vec<Kept>),
}

/// How far a claim log has come. A new `stream` starts the log again at version 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogPosition {
    /// Which log; drawn again when the sender must repeat what it once sent.
    pub stream: u32,
    /// Version of the last entry.
    pub version: u32,
}

/// Heartbeat. About 60 bytes plus 10 for each peer that the sender hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Phase of the sender.
    pub phase: NodePhase,
    /// Whether the operator drains the sender.
    pub draining: bool,
    /// Asks for a heartbeat and for unacknowledged claims at once.
    pub solicit: bool,
    /// The sender's own monotonic clock; a jump of all peers' clocks against ours is an own stall.
    pub clock_ms: u64,
    /// The sender's heartbeat interval; a receiver counts silence in these (RFC 9568 5.2.7).
    pub interval: Duration,
    /// Missed heartbeats after which the sender declares a peer dead.
    pub misses: u8,
    /// Weight of the sender, 1 to 1000.
    pub weight: u16,
    /// Version of the sender's software.
    pub software: SoftwareVersion,
    /// Digest of the sender's configuration, by which different files are noticed.
    pub config_digest: u64,
    /// Worst lateness of the sender's protocol loop in the last minute.
    pub loop_lag: Duration,
    /// The newest entry of the claim log that the sender keeps for the receiver.
    pub log: LogPosition,
    /// How far the sender has the receiver's log.
    pub acknowledged: LogPosition,
    /// Peers that the sender hears directly, with the age of what it heard last.
    pub heard: Vec<Heard>,
    /// What the sender waits for before it hands its groups over, if it drains and waits.
    pub waiting: Option<Waiting>,
    /// Whether the sender can preserve connections of groups that move. Software before 0.2 neither
    /// sends nor reads it.
    pub preserving: Preserving,
    /// Hardware addresses of the interfaces that the sender's groups are on; at most
    /// [`HARDWARE_MAX`](super::HARDWARE_MAX), none if the sender does not know.
    pub hardware: Vec<HardwareAddress>,
    /// The pools that the sender's checks do not find fit, all of them; at most
    /// [`FITNESS_MAX`](super::FITNESS_MAX).
    pub fitness: Vec<(PoolId, Fitness)>,
    /// Load of the sender, if known.
    pub load: Option<Load>,
    /// Whether the sender's file does not list the receiver. Older software neither sends nor
    /// reads this.
    pub unlisted: bool,
    /// Name of the sender, told to a receiver whose file does not list it; checked by `wire`
    /// against the sender's id.
    pub name: Option<String>,
    /// Groups that the sender cannot hold, and why; at most [`unable_max`](super::unable_max) of
    /// them, the others it declines.
    pub unable: Vec<(GroupKey, Inability)>,
    /// What the sender hears on each of its paths, in their order; at most
    /// [`PATHS_MAX`](super::PATHS_MAX). Older software tells none, nor does a node with one path.
    pub paths: Vec<PathReport>,
    /// One of the standing orders that the sender knows, in turn. Software before 0.2 neither sends
    /// nor reads it.
    pub standing_order: Option<Box<StandingOrder>>,
    /// What the sender proposes with profile `auto`. Not in a heartbeat with a name, for want of room;
    /// software before 0.2 neither sends nor reads it.
    pub timing: Option<TimingProposal>,
}

/// A peer that the sender of a heartbeat hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Peer that is heard.
    pub node: NodeId,
    /// Low half of the incarnation heard.
    pub incarnation_low: u32,
    /// Time since the last datagram of that peer; carried in milliseconds, at most 65535.
    pub age: Duration,
}

/// A slice of a claim log: entries after `base`, up to and with `upto`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The receiver must have the log up to here, else it ignores the slice.
    pub base: LogPosition,
    /// Version of the last entry of this slice.
    pub upto: u32,
    /// At most [`CLAIMS_PER_MESSAGE`].
    pub claims: Vec<Claim>,
}

/// Claims that fit one datagram of 1200 bytes.
pub const CLAIMS_PER_MESSAGE: usize = 18;

/// Acknowledges the receiver's claim log up to a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimsAck {
    /// Last entry applied.
    pub position: LogPosition,
}

/// Who owns a group, written by the owner only and kept by everybody after its death: the claim
/// is its testament.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The group.
    pub group: GroupKey,
    /// Number of this taking; the highest wins.
    pub epoch: Epoch,
    /// Owner, which writes the claim.
    pub owner: NodeId,
    /// The life of the owner that writes it; another life does not hold the group.
    pub incarnation: Incarnation,
    /// Counts what the owner has written under this epoch.
    pub revision: u32,
    /// Whether the owner holds the group or has released it.
    pub tenure: Tenure,
    /// How many nodes the owner was in touch with when it took, itself included. Frozen, so that
    /// all who compare it decide alike.
    pub support: u16,
    /// Heirs in the order in which they take the group.
    pub heirs: [Option<NodeId>; 2],
    /// Cause of the claim.
    pub cause: Cause,
}

/// What the writer of a claim says of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tenure {
    /// The owner answers for it or is about to.
    Held,
    /// The owner's kernel has let go, and this node was promised the group.
    MovingTo(NodeId),
    /// The owner's kernel has let go, and whoever is next may take it at once.
    Free,
}

/// Why a group came to its owner; carried in the claim so that every node can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// No node had claimed it.
    FirstClaim,
    /// The owner fell silent.
    Silence(NodeId),
    /// The owner restarted and no longer has it.
    Restart(NodeId),
    /// The owner sends but does not receive.
    Deaf(NodeId),
    /// The owner left cleanly.
    Departure(NodeId),
    /// The owner could not hold it: link down, kernel refused, address taken away.
    Inability(NodeId),
    /// The owner's configuration has it no more. In the claim of that owner itself it says why the
    /// group is free.
    Removed(NodeId),
    /// The owner let it go because a host outside the cluster answers for it. In the claim of that
    /// owner itself it says why the group is free.
    AddressConflict(NodeId),
    /// Handed over for balance.
    Balance(NodeId),
    /// Handed over because its owner drains.
    Drain(NodeId),
    /// Handed over at the operator's request.
    Operator(NodeId),
    /// Handed back to a preferred node.
    Failback(NodeId),
    /// Handed over because its owner's checks fail.
    Checks(NodeId),
    /// Handed over; the reason is no longer known because the offer is too long ago.
    HandedOver(NodeId),
    /// Two owners met after a split; this one had the larger side or the later claim.
    Conflict(NodeId),
    /// Offered to this node, which did not take it.
    TakenBack(NodeId),
    /// Handed over because a rule of placement of its pool did not hold at its owner.
    Placement(NodeId),
}

/// Proposes a planned move. Repeated until answered; the token makes repeats harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Identifies this offer among those of the sender.
    pub token: u32,
    /// Reason of the move.
    pub reason: MoveReason,
    /// At most [`GROUPS_PER_OFFER`].
    pub groups: Vec<GroupKey>,
    /// For each of them, where the sender would keep its connections; all zero for nowhere. Empty
    /// if it would keep none.
    pub keepers: Vec<HardwareAddress>,
}

/// Groups moved in one step: more would lengthen the gap of the first by the deletes of the last.
pub const GROUPS_PER_OFFER: usize = 64;

/// Reason of a planned move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MoveReason {
    /// The receiver carries less than its share.
    Balance,
    /// The owner drains or leaves.
    Drain,
    /// The operator requested it.
    Operator,
    /// The receiver is preferred.
    Failback,
    /// Checks of the owner fail that pass at the receiver.
    Checks,
    /// A rule of placement holds at the receiver that does not hold at the owner.
    Placement,
}

/// Answers an offer: the groups accepted, room for them reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferAnswer {
    /// Token of the offer.
    pub token: u32,
    /// Accepted groups; the others are declined.
    pub accepted: Vec<GroupKey>,
    /// Whether the sender will forward what belongs to connections that are kept.
    pub forwards: bool,
    /// Declined groups that the sender could not hold, and why. Software before 0.2 tells none.
    pub unable: Vec<(GroupKey, Inability)>,
}

/// An order under way to the node that can execute it. Repeated until answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errand {
    /// Identifies this errand among those of the sender.
    pub ticket: u64,
    /// Order to carry out.
    pub order: Order,
}

/// Answers an errand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrandAnswer {
    /// Ticket of the errand.
    pub ticket: u64,
    /// Whether the order was carried out.
    pub outcome: Result<(), Refusal>,
}

/// Asks a voter to vouch for the groups that the sender wants to answer for. The wishes are a log
/// of changes, sent from where the voter has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseRequest {
    /// The sender's clock when it asked, in nanoseconds; comes back with the grant, and the lease
    /// counts from here.
    pub asked_at: u64,
    /// Digest of the list of voters that the sender goes by.
    pub voters: u64,
    /// The receiver must have the wishes up to here, else it ignores those of this request.
    pub base: u32,
    /// Number of the last wish of this request.
    pub upto: u32,
    /// At most [`WISHES_PER_MESSAGE`], by number.
    pub wishes: Vec<Wish>,
    /// What software before 0.2 does not say.
    pub bid: Option<Bid>,
}

/// For how long a node asks to be vouched for, and that it hears the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bid {
    /// The length of the sender's lease; at most [`LEASE_MAX`](super::LEASE_MAX).
    pub lease: Duration,
    /// When the sender asked what the receiver has last answered to it; `None` before the first
    /// answer has arrived.
    pub answered: Option<u64>,
}

/// Wishes that fit one datagram of 1200 bytes.
pub const WISHES_PER_MESSAGE: usize = 80;

/// One change of the leases that a node wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wish {
    /// Its number among the wishes of this life of the sender.
    pub version: u32,
    /// The group.
    pub group: GroupKey,
    /// Whether it is wanted; if not, the sender's kernel has let go of it.
    pub wanted: bool,
}

/// Answer of a voter to a request for leases.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseGrant {
    /// As it was in the request.
    pub asked_at: u64,
    /// How far the voter has the sender's wishes.
    pub have: u32,
    /// Whether it vouches at all.
    pub vote: Vote,
    /// It vouches for wishes up to this number, but for those refused.
    pub upto: u32,
    /// Wanted, but promised to another; at most [`REFUSED_PER_MESSAGE`].
    pub refused: Vec<GroupKey>,
    /// What software before 0.2 does not say.
    pub backing: Option<Backing>,
}

/// How far a voter vouches, and on what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backing {
    /// The longest lease that the promise outlasts; a shorter one of the receiver's is shorter.
    pub lease: Duration,
    /// The grant is for wishes with a number above this; more of them may be refused than one
    /// message can name.
    pub after: u32,
    /// The longest lease that this voter has granted to anybody and that may run.
    pub longest: Duration,
    /// Digests of the lists of voters that the sender remembers: first the one it goes by. Empty
    /// while it goes by none; at most [`LISTS_MAX`].
    pub lists: Vec<u64>,
}

/// Lists of voters that one node remembers at most.
pub const LISTS_MAX: usize = 8;

/// Refused groups that are named in one message.
pub const REFUSED_PER_MESSAGE: usize = 128;

/// Whether a voter vouches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vote {
    /// For a lease from when it was asked.
    Granted,
    /// Not yet: it has just started and does not know what it promised in its former life, or it
    /// does not know whether the node that asks hears it.
    Starting,
    /// Not while its list of voters is another one.
    VotersDiffer,
    /// Not while those who voted under a list that it remembers may go on under that.
    Waiting,
}

/// What an operator may order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Move every group off this node and keep them off; wait for connections as configured.
    Drain(NodeId),
    /// The same without waiting.
    DrainNow(NodeId),
    /// Let this node own groups again.
    Undrain(NodeId),
    /// Move one group now.
    Move {
        /// The group.
        group: GroupKey,
        /// Receiving node.
        to: NodeId,
    },
}

/// Why an order was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The configuration has no such node.
    UnknownNode,
    /// The configuration has no such group.
    UnknownGroup,
    /// The group has no owner now.
    NobodyOwns,
    /// The node that must act is not reachable.
    Unreachable,
    /// The receiver is not up.
    ReceiverDown,
    /// The receiver is draining or leaving.
    ReceiverDraining,
    /// The receiver is a witness.
    ReceiverIsWitness,
    /// Checks that pass on the owner fail on the receiver.
    ReceiverUnfit,
    /// The receiver has reported that it cannot hold the group.
    ReceiverUnable,
    /// The receiver declined the offer or did not answer.
    ReceiverDeclined,
    /// The node is busy with another move of the same group.
    Busy,
    /// The node has just started or resumed and does not act yet.
    NotReady,
}

/// Groups that fit the heartbeat of a node that hears 63 others and has checks in 32 pools.
pub(in crate::protocol) const UNABLE_LEAST: usize = 2;
/// Groups that a heartbeat names at most.
pub(in crate::protocol) const UNABLE_MAX: usize = 32;

/// How many groups that it cannot hold fit the heartbeat of a node that hears so many others.
#[must_use]
pub fn unable_max(heard: usize) -> usize {
    (UNABLE_LEAST + NODES_MAX.saturating_sub(heard + 1)).min(UNABLE_MAX)
}

/// Bytes of the two texts of a standing order that fit the heartbeat of a node that hears so many
/// others and names so many groups that it cannot hold.
#[must_use]
pub fn standing_text_max(heard: usize, unable: usize) -> usize {
    // One line of the table of peers for each peer that is not heard, and what is left of the room
    // for groups; in the fullest heartbeat there is room for an order without texts.
    let lines = 10 * NODES_MAX.saturating_sub(heard + 1);
    (lines + 9 * UNABLE_LEAST).saturating_sub(9 * unable)
}
