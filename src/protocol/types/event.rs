//! All that can happen to a node.

use std::net::IpAddr;
use std::time::Duration;

use super::condition::Failure;
use super::configuration::Configuration;
use super::connection::Connection;
use super::fitness::Fitness;
use super::identity::{Epoch, GroupKey, HardwareAddress, Incarnation, NodeId, PoolId};
use super::instant::Instant;
use super::load::Measure;
use super::message::{Message, Order};
use super::neighbour::Neighbour;
use super::outside::Outside;
use super::standing_order::StandingChange;

/// Something happened. Each is given to [`Node::step`](crate::protocol::Node::step) with the time of now.
#[derive(Clone, Debug)]
pub enum Event {
    /// The deadline that the node asked for is reached.
    Timer,
    /// A message of a peer; its seal, freshness and form have been checked.
    Heard {
        /// Sender.
        from: NodeId,
        /// Incarnation of the sender.
        incarnation: Incarnation,
        /// When the kernel received the datagram; after a stall of this node that may be long ago.
        received_at: Instant,
        /// Content.
        message: Message,
    },
    /// A copy of a peer's message has come on one of several paths. Every message is sent on all
    /// paths; the first copy is [`Event::Heard`], before this.
    HeardOn {
        /// Sender.
        from: NodeId,
        /// Place of the path among those of this node.
        path: u8,
        /// When the kernel received the datagram.
        received_at: Instant,
    },
    /// A datagram under the cluster's key from an incarnation that has not yet proved to be the
    /// present one. Its content is not used.
    Sensed {
        /// Sender.
        from: NodeId,
    },
    /// The kernel side reports an outcome or an observation.
    Kernel(KernelEvent),
    /// A request of an operator. Answered by exactly one [`Action::Answer`](super::Action::Answer)
    /// with the same ticket.
    Ordered {
        /// Chosen by the caller.
        ticket: u64,
        /// Request.
        order: Order,
    },
    /// An operator gives a standing order or ends one. Answered as [`Event::Ordered`].
    Standing {
        /// Chosen by the caller, from the same numbers as those of orders.
        ticket: u64,
        /// What is wanted.
        change: StandingChange,
    },
    /// What the checks of this host say: the full list of the pools that are not
    /// [`Fitness::Fit`], in place of the last list; a pool that is not named is fit. At most
    /// [`FITNESS_MAX`](super::FITNESS_MAX), more are not taken in. A node starts fit for all.
    Fitness(Vec<(PoolId, Fitness)>),
    /// The hooks that [`Action::OpenGate`](super::Action::OpenGate) started have ended, whatever
    /// their status.
    GateOpened {
        /// Group that may move.
        group: GroupKey,
        /// Ticket of the action.
        ticket: Ticket,
    },
    /// Measured load of this host, once a second; `None` if it cannot be measured.
    Load(Option<Measure>),
    /// State of a group that is a virtual router at routers outside the cluster. Reported when it
    /// changes; until the first report the group is not a virtual router.
    Outside {
        /// Group that is a virtual router.
        group: GroupKey,
        /// State; `None` if the group is no longer a virtual router.
        outside: Option<Outside>,
    },
    /// The configuration changed. Only the difference has an effect.
    Reconfigured(Box<Configuration>),
    /// An operator has reloaded a file that has not changed: what the kernel refused may be possible
    /// now.
    Retry,
    /// [`Action::RememberVoters`](super::Action::RememberVoters) is on disk, or has failed. Until
    /// then the record does not count.
    VotersRemembered {
        /// Whether it is on disk.
        stored: bool,
    },
    /// The daemon must exit: hand over, then return [`Action::Stopped`](super::Action::Stopped).
    Stop,
    /// The daemon must exit and another process continue its incarnation: return
    /// [`Action::GoOn`](super::Action::GoOn), or leave as for [`Event::Stop`].
    Rest,
}

/// Names one order to the kernel, so that a late outcome is not taken for that of a later order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Who removed an address that was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remover {
    /// Another program or an operator.
    Somebody,
    /// The guardian of this daemon, because the lease had expired.
    Guardian {
        /// Time since the last renewal of the lease.
        unrenewed: Duration,
        /// How long the kernel took for a renewal in that time; zero if none was tried.
        renewal: Duration,
    },
    /// The kernel, because the daemon did not extend the lifetime of the address in time.
    Lifetime,
}

/// What a host has of the network of a group's addresses, apart from the state of its link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Attachment {
    /// The addresses and routes that it had at first.
    #[default]
    Attached,
    /// It has lost its own address or its route there, for longer than a DHCP client takes to
    /// restore it; or its link there carries in one direction at most.
    Lost,
    /// No interface is known for an address, and the configuration names none.
    Unknown,
}

/// Facts from the kernel. Nothing is assumed to have worked until one of these says so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KernelEvent {
    /// Every address of the group is present and usable, as address events have confirmed.
    Present {
        /// Group that was acquired.
        group: GroupKey,
        /// Ticket of the [`Action::Acquire`](super::Action::Acquire) that this completes.
        ticket: Ticket,
    },
    /// No address of the group is present any more.
    Absent {
        /// Group that was released.
        group: GroupKey,
        /// Ticket of the [`Action::Release`](super::Action::Release) that this completes.
        ticket: Ticket,
    },
    /// The group could not be added or restored, and none of its addresses is present.
    Failed {
        /// Group that was to be acquired.
        group: GroupKey,
        /// Ticket of the acquisition.
        ticket: Ticket,
        /// Reason.
        failure: Failure,
    },
    /// An address of a held group was removed, not by an order, and is already restored.
    Repaired {
        /// Group of the address.
        group: GroupKey,
        /// What removed it.
        remover: Remover,
    },
    /// Whether the links of the group exist and have carrier. Groups start usable.
    Usable {
        /// Group on these links.
        group: GroupKey,
        /// Whether it can be held here now.
        usable: bool,
    },
    /// Attachment of the host to the network of a group. Groups start attached.
    Attached {
        /// Group in that network.
        group: GroupKey,
        /// State now.
        attachment: Attachment,
    },
    /// The addresses of a held group are on another link, or the link has another hardware address:
    /// the group must be announced.
    Moved {
        /// Group that is held.
        group: GroupKey,
    },
    /// Outcome of [`Action::TestReach`](super::Action::TestReach).
    Reach(Reach),
    /// Another host claims an address of the group: an answer to
    /// [`Action::Probe`](super::Action::Probe), or any such frame while the group is held here. At
    /// most some hundred times a second.
    Claimed {
        /// Group of the address.
        group: GroupKey,
        /// Hardware address in the claim; never one of this host.
        hardware: HardwareAddress,
        /// Whether it answers a question that was sent to a hardware address alone, so that the
        /// host itself answers, and no switch for it. True as well of every answer to a question
        /// that this host could send to nobody alone, although it was told to.
        direct: bool,
    },
    /// Hardware addresses of the interfaces of the groups, when they have changed. Unused places
    /// are at the end.
    Hardware([Option<HardwareAddress>; HARDWARE_MAX]),
    /// Outcome of [`Action::Verify`](super::Action::Verify). May be repeated for the same order
    /// when more is known.
    Verified {
        /// Group that was verified.
        group: GroupKey,
        /// Epoch of the order.
        epoch: Epoch,
        /// What the probes have shown.
        outcome: Convergence,
    },
    /// Hosts outside the cluster that recently exchanged packets with this host on the links of its
    /// groups, the latest first. Reported every few seconds, if there are any.
    Neighbours(Vec<Neighbour>),
    /// How many of the connections that existed at
    /// [`Action::WatchConnections`](super::Action::WatchConnections) remain, by group; groups
    /// without any are missing.
    ConnectionsRemain(Vec<(GroupKey, u32)>),
    /// The kernel of this host can keep the connections of this group when it is handed over.
    /// Reported before `Present`.
    Keepable {
        /// Group that can be handed over so.
        group: GroupKey,
        /// Hardware address of its link.
        hardware: HardwareAddress,
    },
    /// Number of preserved connections of groups that were handed over, by group; zero if they
    /// could not be preserved.
    Kept(Vec<(GroupKey, u32)>),
    /// Some connections to a group, at most as many as fit one message. The kernel side limits the
    /// rate to what peers may be sent.
    Connections {
        /// Group of the connections.
        group: GroupKey,
        /// Connections of one address family.
        connections: Vec<Connection>,
    },
}

/// Hardware addresses that a node tells of itself at most: pools are on fewer interfaces, and a
/// heartbeat has to fit one datagram.
pub const HARDWARE_MAX: usize = 8;

/// Which neighbours resolve the addresses of a group to this host. A host that answers no question
/// at all can show nothing and is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Convergence {
    /// Hosts that answer questions; 0 means that nothing is known.
    pub asked: u16,
    /// Those of them that answered through every address they were asked from.
    pub answered: u16,
    /// From the order to the last of these answers.
    pub after: Duration,
    /// Some of those that did not.
    pub missing: [Option<IpAddr>; MISSING_TOLD],
}

/// Hosts named in a [`Convergence`]: enough to know where to look, and of fixed size.
pub const MISSING_TOLD: usize = 3;

/// Whether anybody outside the cluster answers this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// At least one host answered.
    Answered,
    /// Hosts that used to answer do not.
    Silent,
    /// There is nobody to ask: no host outside the cluster is known to answer.
    NobodyToAsk,
}
