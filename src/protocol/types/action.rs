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
use super::restart::{Memory, Obstacle};
use super::voters::{PromiseRecord, VoterRecord};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Seal and send on every path to the peer. Loss is allowed.
    Send {
        /// The peer.
        to: NodeId,
        /// What to say.
        message: Message,
    },
    /// Make the first address of the group and these further ones present, and no other of it.
    /// Ends in `Present` or `Failed` with the ticket; a later order for the same group replaces it.
    Acquire {
        /// The group.
        group: GroupKey,
        /// Comes back with the outcome.
        ticket: Ticket,
        /// Of its further addresses those that this node may answer for.
        further: Vec<GroupKey>,
    },
    /// Remove every address of the group and end its connections, but for those that another group
    /// has been acquired with. Ends in `Absent` with the ticket; is repeated by the shell until
    /// the kernel confirms it.
    Release {
        /// The group.
        group: GroupKey,
        /// Comes back with the outcome.
        ticket: Ticket,
    },
    /// Answer for no address of the group from now on, without waiting for the kernel to remove
    /// them: another node has it. Ends with the removal, or by the next order to acquire the group.
    Withdraw {
        /// The group.
        group: GroupKey,
    },
    /// Answer for no address of the group any more and let no connection to it begin, but go on
    /// serving those that are there, and tell from now on how many they are
    /// (`KernelEvent::Kept`). Ends in `Absent` with the ticket. Where that cannot be done the group
    /// is released. Ends by the next order to acquire or release the group.
    Hand {
        /// The group.
        group: GroupKey,
        /// Comes back with the outcome.
        ticket: Ticket,
    },
    /// From before the addresses of the group are added, send what does not belong to a connection
    /// that begins from now on to its former owner; or end that.
    Forward {
        /// The group.
        group: GroupKey,
        /// Where the former owner has it; `None` ends it.
        to: Option<HardwareAddress>,
    },
    /// Send one round of gratuitous ARP and unsolicited neighbour advertisements for every
    /// address of the group, now.
    Announce {
        /// The group.
        group: GroupKey,
    },
    /// Find out whether the neighbours resolve the addresses of the group to this host: ask at the
    /// next [`Action::Announce`] of the group, and at those that follow tell each that has not
    /// shown it, directed, and ask it again. Ends in `KernelEvent::Verified`, unless the group goes
    /// or this is ordered again.
    Verify {
        /// The group.
        group: GroupKey,
        /// Comes back with the outcome.
        epoch: Epoch,
        /// Who had the group before: its neighbours come first.
        before: Option<NodeId>,
    },
    /// Tell each known neighbour, by frames to it alone and now, that the addresses of the group are
    /// here, and find out whether it follows. As [`Action::Verify`] otherwise, and in its place.
    Correct {
        /// The group.
        group: GroupKey,
        /// Comes back with the outcome.
        epoch: Epoch,
    },
    /// Keep this list of hosts for the verifications to come, in place of the last of that peer.
    Acquaint {
        /// The peer that has to do with them.
        from: NodeId,
        /// The hosts.
        hosts: Vec<Neighbour>,
    },
    /// Keep these connections of a peer for a while, besides those it told before.
    Remember {
        /// The peer that has them.
        from: NodeId,
        /// The connections.
        connections: Vec<Connection>,
    },
    /// Note which connections there are to all groups, and tell from now on, some times each
    /// second, how many of them remain (`KernelEvent::ConnectionsRemain`); or stop that.
    WatchConnections(bool),
    /// Run what is to be done before the group may be given away; ends in
    /// [`Event::GateOpened`](super::Event::GateOpened) with the ticket.
    OpenGate {
        /// The group.
        group: GroupKey,
        /// Comes back when it is done.
        ticket: Ticket,
    },
    /// The release of the group that follows is a planned move: requests that are under way may
    /// end first, for a bounded time, while no new connection is accepted nor refused.
    LetFinish {
        /// The group.
        group: GroupKey,
    },
    /// Have the clients of all remembered connections to the group learn that they are gone. The
    /// group has been announced.
    Tickle {
        /// The group.
        group: GroupKey,
    },
    /// Find out whether anybody outside the cluster answers; ends in `KernelEvent::Reach`.
    TestReach,
    /// Ask the network once who answers for the addresses of the group, whether it is held here or
    /// not. Each answer, however late, is a `KernelEvent::Claimed`; nobody's answer is silence.
    Probe {
        /// The group.
        group: GroupKey,
    },
    /// The answer to an [`Event::Ordered`](super::Event::Ordered).
    Answer {
        /// The ticket of the order.
        ticket: u64,
        /// What became of it.
        outcome: Result<(), Refusal>,
    },
    /// Tell whoever wants to know.
    Report(Report),
    /// The name of a node that the file does not list.
    Named {
        /// The node.
        node: NodeId,
        /// Its name.
        name: String,
    },
    /// Whether this node drains has changed; it should still be so after a restart.
    RememberDraining(bool),
    /// Store this for [`Node::recall_voters`](crate::protocol::Node::recall_voters) of the next process, so that it is there
    /// after a loss of power, in place of what was stored before. Ends in
    /// [`Event::VotersRemembered`](super::Event::VotersRemembered).
    RememberVoters(VoterRecord),
    /// Leave this to [`Node::recall_promises`](crate::protocol::Node::recall_promises) of the next
    /// process; at most once, right before [`Action::Stopped`]. This node grants nothing any more.
    KeepPromises(Box<PromiseRecord>),
    /// Nothing is held any more, good-byes are said: the daemon may end.
    Stopped,
    /// All stays as it is: this process may end, and another go on from here. The last action.
    GoOn(Box<Memory>),
}

/// Something an operator would want to read later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// The verdict on a peer changed.
    PeerChanged {
        /// The peer.
        peer: NodeId,
        /// What it was.
        from: Verdict,
        /// What it is.
        to: Verdict,
        /// Silence seen at that moment.
        silence: Duration,
    },
    /// A peer started a new life.
    PeerRestarted {
        /// The peer.
        peer: NodeId,
    },
    /// This node changed its phase.
    PhaseChanged {
        /// What it was.
        from: NodePhase,
        /// What it is.
        to: NodePhase,
    },
    /// The group has a new owner, seen from here; one line for each change of ownership.
    OwnerChanged {
        /// The group.
        group: GroupKey,
        /// Who had it.
        from: Option<NodeId>,
        /// Who has it; `None` while nobody has it.
        to: Option<NodeId>,
        /// The epoch of the claim that says so.
        epoch: Epoch,
        /// Why.
        cause: Cause,
    },
    /// The kernel confirmed that this node answers for the group.
    Acquired {
        /// The group.
        group: GroupKey,
        /// Under this epoch.
        epoch: Epoch,
    },
    /// The kernel confirmed that this node no longer answers for the group.
    Released {
        /// The group.
        group: GroupKey,
        /// The epoch that ended here.
        epoch: Epoch,
    },
    /// This node gave way to another owner.
    GaveWay {
        /// The group.
        group: GroupKey,
        /// To whom.
        to: NodeId,
        /// Under which epoch the other holds it.
        epoch: Epoch,
    },
    /// An address of a group that this node holds is not added, or taken out again, because another
    /// node has it in another group.
    AddressWithheld {
        /// The group that has it by the file of this node.
        group: GroupKey,
        /// The address.
        address: GroupKey,
        /// Who has it.
        owner: NodeId,
    },
    /// An address that was withheld is free: this node answers for it with its group.
    AddressAdmitted {
        /// The group.
        group: GroupKey,
        /// The address.
        address: GroupKey,
    },
    /// This node cannot hold the group for a while.
    Unable {
        /// The group.
        group: GroupKey,
        /// Why.
        why: Inability,
    },
    /// An address was removed, not by order, and put back.
    Repaired {
        /// The group.
        group: GroupKey,
        /// By whom.
        remover: Remover,
        /// How often somebody outside of the daemon has done so in the last minute.
        times: u32,
    },
    /// All neighbours that can show it resolve the group to this node.
    Converged {
        /// The group.
        group: GroupKey,
        /// Under this epoch.
        epoch: Epoch,
        /// How many.
        hosts: u16,
        /// How long after the addresses were added.
        after: Duration,
    },
    /// Some neighbours still resolve the group elsewhere, although they were told.
    NotConverged {
        /// The group.
        group: GroupKey,
        /// Under this epoch.
        epoch: Epoch,
        /// How many, and some of them.
        outcome: Convergence,
    },
    /// This node did not run for a while.
    Stalled {
        /// For how long.
        length: Duration,
    },
    /// The last connections that were kept here of a group that was handed over have ended, or
    /// what was left of them was ended.
    KeptEnded {
        /// The group.
        group: GroupKey,
        /// To whom it was handed.
        to: NodeId,
        /// How many were left, if that is known.
        left: Option<u32>,
    },
    /// An offer was declined or not answered.
    OfferFailed {
        /// To whom.
        to: NodeId,
        /// How many groups stay.
        groups: u16,
        /// One of them that the receiver could not hold, and why, if it said so.
        why: Option<(GroupKey, Inability)>,
    },
    /// What was to be done before the group may be given away has not ended in time: it may go.
    GateOverdue {
        /// The group.
        group: GroupKey,
    },
    /// A voter goes by another list of voters and grants this node nothing.
    VotersDiffer {
        /// Which.
        voter: NodeId,
    },
    /// Without a lease from a majority of the voters, this node answers for its groups in mode
    /// majority no more.
    MajorityLost {
        /// How many they are.
        groups: u16,
    },
    /// A majority of the voters has granted the leases again.
    MajorityBack {
        /// For how many groups.
        groups: u16,
    },
    /// A peer is silent, but its kernel still answers for its groups although its lease must have
    /// ended: its daemon runs, and its groups are not taken.
    KernelAnswers {
        /// The peer.
        peer: NodeId,
        /// A group for which it answers.
        group: GroupKey,
        /// Where.
        hardware: HardwareAddress,
    },
    /// Somebody else claims a group that is held here. A stranger is answered by an announcement.
    SecondClaimant {
        /// The group.
        group: GroupKey,
        /// Where the claim comes from.
        hardware: HardwareAddress,
        /// The peer that this is; `None` for a host outside the cluster.
        node: Option<NodeId>,
    },
    /// What the checks of a node say of a pool has changed, seen from here.
    FitnessChanged {
        /// The node; it may be this one.
        node: NodeId,
        /// The pool.
        pool: PoolId,
        /// What they say now.
        fitness: Fitness,
    },
    /// This node is not fit for groups that it has, and no node is; told once while that is so.
    LastResort {
        /// Their pool.
        pool: PoolId,
        /// Whether they stay, as configured; else they are let go.
        kept: bool,
        /// How many they are.
        groups: u16,
    },
    /// This process has gone on with the life of the one before.
    WentOn {
        /// How many groups are held.
        groups: u16,
        /// How long ago the other process fell silent.
        after: Duration,
    },
    /// This node was to leave everything to its next process, and leaves in good order instead.
    NotInPlace {
        /// Why.
        why: Obstacle,
    },
    /// A living peer does not list this node in its file, or does again.
    Unlisted {
        /// The peer.
        by: NodeId,
        /// Whether it is so now.
        on: bool,
    },
    /// Draining was switched on or off.
    Draining {
        /// Whether it is on now.
        on: bool,
    },
}
