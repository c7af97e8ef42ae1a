//! All that a node may ask of the shell around it.
//!
//! Actions are executed in order. What fails comes back as an [`Event`](super::Event); what is
//! merely worth telling is a [`Report`].

use std::time::Duration;

use super::condition::{Inability, NodePhase, Verdict};
use super::connection::Connection;
use super::event::{Convergence, Remover, Ticket};
use super::fitness::Fitness;
use super::identity::{Epoch, GroupKey, HardwareAddress, NodeId, PoolId};
use super::message::{Cause, Message, Refusal};
use super::neighbour::Neighbour;
use super::path::PathFault;
use super::restart::{Memory, Obstacle};
use super::standing_order::StandingOrder;
use super::timing_level::{TimingLevel, TimingProposal};
use super::voters::{PromiseRecord, VoterRecord};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Seal the message and send it to the peer on every path. It may be lost.
    Send {
        /// Receiver.
        to: NodeId,
        /// Content.
        message: Message,
    },
    /// Add the first address of the group and the named further ones, and remove all others of the
    /// group. Ends in `Present` or `Failed` with the ticket; a later order for the same group
    /// replaces it.
    Acquire {
        /// Group to add.
        group: GroupKey,
        /// Returned with the outcome.
        ticket: Ticket,
        /// The further addresses of the group that this node may answer for.
        further: Vec<GroupKey>,
    },
    /// Remove every address of the group and close its connections, except the addresses that
    /// another group has been acquired with. Ends in `Absent` with the ticket; the shell repeats it
    /// until the kernel confirms it.
    Release {
        /// Group to remove.
        group: GroupKey,
        /// Returned with the outcome.
        ticket: Ticket,
    },
    /// Stop answering for the group at once, before the kernel has removed its addresses, because
    /// another node owns it. Ends with the removal, or with the next order to acquire the group.
    Withdraw {
        /// Group to withdraw.
        group: GroupKey,
    },
    /// Stop answering for the group and accept no new connections to it, but keep serving the
    /// present ones and report their number (`KernelEvent::Kept`). Ends in `Absent` with the
    /// ticket. Where that is not possible, the group is released. Ends with the next order to
    /// acquire or release the group.
    Hand {
        /// Group that is handed over.
        group: GroupKey,
        /// Returned with the outcome.
        ticket: Ticket,
    },
    /// From before the addresses of the group are added, forward every segment that does not belong
    /// to a new connection to the former owner; or stop that.
    Forward {
        /// Group that was taken over.
        group: GroupKey,
        /// Hardware address of the former owner; `None` stops forwarding.
        to: Option<HardwareAddress>,
    },
    /// Send one round of gratuitous ARP and unsolicited neighbour advertisements for every address
    /// of the group, now.
    Announce {
        /// Group to announce.
        group: GroupKey,
    },
    /// Find out whether the neighbours resolve the addresses of the group to this host: probe them
    /// with the next [`Action::Announce`] of the group; with the following ones send unicast
    /// announcements to those that have not confirmed it, and probe them again. Ends in
    /// `KernelEvent::Verified`, unless the group is released or this is ordered again.
    Verify {
        /// Group to verify.
        group: GroupKey,
        /// Returned with the outcome.
        epoch: Epoch,
        /// Former owner, whose neighbours are probed first.
        before: Option<NodeId>,
    },
    /// Send a unicast announcement of the group to every known neighbour, now, and find out whether
    /// it follows. Otherwise as [`Action::Verify`], which it replaces.
    Correct {
        /// Group to announce.
        group: GroupKey,
        /// Returned with the outcome.
        epoch: Epoch,
    },
    /// Use this list of hosts in later verifications, in place of the last list from that peer.
    Acquaint {
        /// Peer that has seen the hosts.
        from: NodeId,
        /// Hosts outside the cluster.
        hosts: Vec<Neighbour>,
    },
    /// Keep these connections of a peer for a while, in addition to those reported before.
    Remember {
        /// Peer that has the connections.
        from: NodeId,
        /// Connections to groups of that peer.
        connections: Vec<Connection>,
    },
    /// Note the present connections to all groups, and report several times a second how many of
    /// them remain (`KernelEvent::ConnectionsRemain`); or stop that.
    WatchConnections(bool),
    /// Run the hooks of event `gate`, which must end before the group may be handed over; ends in
    /// [`Event::GateOpened`](super::Event::GateOpened) with the ticket.
    OpenGate {
        /// Group that is about to move.
        group: GroupKey,
        /// Returned with the outcome.
        ticket: Ticket,
    },
    /// The following release of the group is a planned move: for a bounded time the present
    /// connections may end first, while new ones are neither accepted nor refused.
    LetFinish {
        /// Group that moves.
        group: GroupKey,
    },
    /// Send tickle ACKs to the clients of all remembered connections to the group, which has been
    /// announced, so that they reset them.
    Tickle {
        /// Group that was taken over.
        group: GroupKey,
    },
    /// Find out whether any host outside the cluster answers; ends in `KernelEvent::Reach`.
    TestReach,
    /// Send one ARP or neighbour probe for each address of the group, whether it is held here or
    /// not, and the same question to each of these hardware addresses alone. Every answer, however
    /// late, is a `KernelEvent::Claimed`.
    Probe {
        /// Group to probe for.
        group: GroupKey,
        /// Hardware addresses of its silent owner; [`HARDWARE_MAX`](super::HARDWARE_MAX) at most.
        at: Vec<HardwareAddress>,
    },
    /// These paths are in doubt from now on, and no others: test the links that they are on with
    /// hosts outside the cluster. While those that used to answer do not, or, of a path with
    /// `others_heard`, while there is no host to ask, the network of the groups on that link is lost
    /// (`KernelEvent::Attached`).
    DoubtPaths(Vec<(u8, PathFault)>),
    /// The answer to an [`Event::Ordered`](super::Event::Ordered).
    Answer {
        /// Ticket of the order.
        ticket: u64,
        /// Whether the order was carried out.
        outcome: Result<(), Refusal>,
    },
    /// Inform people: log, events and hooks.
    Report(Report),
    /// A node that is not in the configuration has this name.
    Named {
        /// Identity of the node.
        node: NodeId,
        /// Name from its heartbeats.
        name: String,
    },
    /// Save whether this node drains, so that it still does after a restart.
    RememberDraining(bool),
    /// Store this for [`Node::recall_voters`](crate::protocol::Node::recall_voters) of the next process, so that it is there
    /// after a loss of power, in place of what was stored before. Ends in
    /// [`Event::VotersRemembered`](super::Event::VotersRemembered).
    RememberVoters(VoterRecord),
    /// Keep this for [`Node::recall_promises`](crate::protocol::Node::recall_promises) of the next
    /// process; at most once, right before [`Action::Stopped`]. This node grants nothing any more.
    KeepPromises(Box<PromiseRecord>),
    /// No group is held any more and the peers are informed: the daemon may exit.
    Stopped,
    /// Everything stays as it is: this process may exit, and the next one continues from here. The
    /// last action.
    GoOn(Box<Memory>),
}

/// Something an operator would want to read later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// The verdict on a peer changed.
    PeerChanged {
        /// Peer that was judged.
        peer: NodeId,
        /// Verdict before.
        from: Verdict,
        /// Verdict now.
        to: Verdict,
        /// Silence of the peer at that moment.
        silence: Duration,
    },
    /// A peer has a new incarnation.
    PeerRestarted {
        /// Peer that restarted.
        peer: NodeId,
    },
    /// The phase of this node changed.
    PhaseChanged {
        /// Phase before.
        from: NodePhase,
        /// Phase now.
        to: NodePhase,
    },
    /// The group has a new owner, as seen from here; reported once for each change.
    OwnerChanged {
        /// Group that changed its owner.
        group: GroupKey,
        /// Owner before; `None` if there was none.
        from: Option<NodeId>,
        /// Owner now; `None` while there is none.
        to: Option<NodeId>,
        /// Epoch of the claim.
        epoch: Epoch,
        /// Cause of the claim.
        cause: Cause,
    },
    /// The kernel confirmed that this node answers for the group.
    Acquired {
        /// Group whose addresses are present.
        group: GroupKey,
        /// Epoch of the claim of this node.
        epoch: Epoch,
    },
    /// The kernel confirmed that this node no longer answers for the group.
    Released {
        /// Group whose addresses are removed.
        group: GroupKey,
        /// Epoch of the claim that has ended.
        epoch: Epoch,
    },
    /// This node gave way to another owner, whose claim has the higher rank.
    GaveWay {
        /// Group with two owners.
        group: GroupKey,
        /// Owner that remains.
        to: NodeId,
        /// Epoch of its claim.
        epoch: Epoch,
    },
    /// An address of a group that this node holds is not added, or is removed again, because
    /// another node has it in another group.
    AddressWithheld {
        /// Group of the address in the configuration of this node.
        group: GroupKey,
        /// Address that is withheld.
        address: GroupKey,
        /// Node that owns it.
        owner: NodeId,
    },
    /// An address that was withheld has no other owner any more: this node answers for it.
    AddressAdmitted {
        /// Group of the address.
        group: GroupKey,
        /// Address that was withheld.
        address: GroupKey,
    },
    /// This node cannot hold the group for a while.
    Unable {
        /// Group that cannot be held.
        group: GroupKey,
        /// Reason.
        why: Inability,
    },
    /// An address was removed, not by an order, and restored.
    Repaired {
        /// Group of the address.
        group: GroupKey,
        /// What removed it.
        remover: Remover,
        /// Number of removals by other programs in the last minute.
        times: u32,
    },
    /// All neighbours that answer probes resolve the group to this node.
    Converged {
        /// Group that was taken.
        group: GroupKey,
        /// Epoch under which it was taken.
        epoch: Epoch,
        /// Number of these neighbours.
        hosts: u16,
        /// Time since the addresses were added.
        after: Duration,
    },
    /// Some neighbours still resolve the group to another host, although they got announcements.
    NotConverged {
        /// Group that was taken.
        group: GroupKey,
        /// Epoch under which it was taken.
        epoch: Epoch,
        /// Numbers, and some of these neighbours.
        outcome: Convergence,
    },
    /// This node did not run for a while.
    Stalled {
        /// Duration of the stall.
        length: Duration,
    },
    /// The preserved connections of a group that was handed over have ended here, or those that
    /// were left have been reset.
    KeptEnded {
        /// Group that was handed over.
        group: GroupKey,
        /// Its new owner.
        to: NodeId,
        /// Number of connections that were reset, if known.
        left: Option<u32>,
    },
    /// An offer was declined or not answered.
    OfferFailed {
        /// Receiver of the offer.
        to: NodeId,
        /// Number of groups that stay.
        groups: u16,
        /// One group that the receiver cannot hold and the reason, if it reported one.
        why: Option<(GroupKey, Inability)>,
    },
    /// The hooks of event `gate` have not ended in time: the move proceeds.
    GateOverdue {
        /// Group that moves.
        group: GroupKey,
    },
    /// A voter has another list of voters and grants no leases to this node.
    VotersDiffer {
        /// Voter with the other list.
        voter: NodeId,
    },
    /// This node has no lease from a majority of the voters and stopped answering for its groups in
    /// mode majority.
    MajorityLost {
        /// Number of these groups.
        groups: u16,
    },
    /// A majority of the voters has granted the leases again.
    MajorityBack {
        /// Number of groups with a lease again.
        groups: u16,
    },
    /// A peer is silent, but its kernel answers for its groups although its lease must have ended:
    /// its daemon runs, and its groups are not taken over.
    KernelAnswers {
        /// Silent peer.
        peer: NodeId,
        /// A group for which it answers.
        group: GroupKey,
        /// Source of the answer.
        hardware: HardwareAddress,
    },
    /// Another host claims a group that is held here. The group is announced again if that host is
    /// outside the cluster.
    SecondClaimant {
        /// Group with the address conflict.
        group: GroupKey,
        /// Source of the conflicting claim.
        hardware: HardwareAddress,
        /// Peer with this hardware address; `None` for a host outside the cluster.
        node: Option<NodeId>,
    },
    /// The outcome of the checks of a node for a pool changed, as seen from here.
    FitnessChanged {
        /// Node that runs the checks; may be this one.
        node: NodeId,
        /// Pool to which they apply.
        pool: PoolId,
        /// Outcome now.
        fitness: Fitness,
    },
    /// No node is fit for groups that this node owns; reported once while that is so.
    LastResort {
        /// Pool of these groups.
        pool: PoolId,
        /// Whether they stay (`last_resort = "keep"`) or are released.
        kept: bool,
        /// Number of these groups.
        groups: u16,
    },
    /// This process continues the incarnation of the one before.
    WentOn {
        /// Number of groups that are held.
        groups: u16,
        /// Time since the former process fell silent.
        after: Duration,
    },
    /// This node was to leave its state to the next process, but leaves the cluster instead.
    NotInPlace {
        /// Reason.
        why: Obstacle,
    },
    /// A living peer does not list this node in its configuration, or lists it again.
    Unlisted {
        /// The peer with that configuration.
        by: NodeId,
        /// Whether this node is missing there now.
        on: bool,
    },
    /// Draining was switched on or off.
    Draining {
        /// Whether this node drains now.
        on: bool,
    },
    /// An order stands from now on, or, if it is not in force, does so no more.
    StandingOrder(StandingOrder),
    /// With profile `auto` other intervals are in force here from now on.
    TimingChanged {
        /// In force until now.
        from: TimingLevel,
        /// In force now.
        to: TimingLevel,
        /// Who holds it back; may be this node.
        held_by: NodeId,
        /// What that node proposes.
        proposal: TimingProposal,
    },
}
