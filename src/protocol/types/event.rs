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
    /// The deadline that the node asked for has come.
    Timer,
    /// A peer said something; its seal, its freshness and its form have been checked.
    Heard {
        /// Who.
        from: NodeId,
        /// In which life.
        incarnation: Incarnation,
        /// When the kernel received the datagram. After a stall the queue is old evidence.
        received_at: Instant,
        /// What.
        message: Message,
    },
    /// Something came that was sealed under the cluster's key, by a life of this node that has not
    /// shown to be the present one. Nothing that it says is known.
    Sensed {
        /// Who.
        from: NodeId,
    },
    /// The kernel did, or noticed, something.
    Kernel(KernelEvent),
    /// An operator wants something. Answered by exactly one
    /// [`Action::Answer`](super::Action::Answer) with the same ticket.
    Ordered {
        /// Chosen by the caller.
        ticket: u64,
        /// What is wanted.
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
    /// What [`Action::OpenGate`](super::Action::OpenGate) asked for has ended, well or not.
    GateOpened {
        /// The group.
        group: GroupKey,
        /// As in the action.
        ticket: Ticket,
    },
    /// What the shell measures of its host, once a second; `None` if it cannot.
    Load(Option<Measure>),
    /// What routers outside the cluster have of a group that is a virtual router. Told when it
    /// changes; until it is first told the group is none.
    Outside {
        /// The group.
        group: GroupKey,
        /// What they have; `None` if the group is no virtual router any more.
        outside: Option<Outside>,
    },
    /// The configuration changed. Only the difference is acted upon.
    Reconfigured(Box<Configuration>),
    /// What [`Action::RememberVoters`](super::Action::RememberVoters) asked for is on disk, or
    /// could not be put there. Until then it does not count.
    VotersRemembered {
        /// Whether it is.
        stored: bool,
    },
    /// The daemon shall end: hand over, then say [`Action::Stopped`](super::Action::Stopped).
    Stop,
    /// The daemon shall end and another process go on with this life: be at rest and say
    /// [`Action::GoOn`](super::Action::GoOn), or leave as for [`Event::Stop`].
    Rest,
}

/// Names one order to the kernel, so that a late outcome is not taken for that of a later order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Who removed an address that was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remover {
    /// Somebody outside of the daemon.
    Somebody,
    /// The guardian of this daemon, as it must when the lease is over.
    Guardian {
        /// How long the lease had not been renewed.
        unrenewed: Duration,
        /// How long the kernel took for one renewal of that time; zero if it took none.
        renewal: Duration,
    },
    /// The kernel, because the daemon came too late to prolong the lifetime of the address.
    Lifetime,
}

/// What a host has of the network of a group's addresses, apart from the state of its link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Attachment {
    /// All that it ever had.
    #[default]
    Attached,
    /// It had an address of its own there, or a route, and has lost it for longer than a client of
    /// DHCP takes to put it back.
    Lost,
    /// No interface of it is known for an address, and the file names none.
    Unknown,
}

/// Facts from the kernel. Nothing is assumed to have worked until one of these says so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KernelEvent {
    /// Every address of the group is present and usable, told by the address events.
    Present {
        /// The group.
        group: GroupKey,
        /// Of the [`Action::Acquire`](super::Action::Acquire) that this completes.
        ticket: Ticket,
    },
    /// No address of the group is present any more.
    Absent {
        /// The group.
        group: GroupKey,
        /// Of the [`Action::Release`](super::Action::Release) that this completes.
        ticket: Ticket,
    },
    /// The group could not be added (or not be put back), and none of it is present any more.
    Failed {
        /// The group.
        group: GroupKey,
        /// Of the acquisition that failed.
        ticket: Ticket,
        /// Why.
        failure: Failure,
    },
    /// An address of a held group was removed, not by order; it is back already.
    Repaired {
        /// The group.
        group: GroupKey,
        /// By whom.
        remover: Remover,
    },
    /// Whether the links that the group needs are there and have carrier. Groups start usable.
    Usable {
        /// The group.
        group: GroupKey,
        /// Whether it can be held here now.
        usable: bool,
    },
    /// What the host has of the network of a group. Groups start attached.
    Attached {
        /// The group.
        group: GroupKey,
        /// What it has.
        attachment: Attachment,
    },
    /// The addresses of a held group are on another link, or the link has another hardware address:
    /// neighbours must be told.
    Moved {
        /// The group.
        group: GroupKey,
    },
    /// Outcome of [`Action::TestReach`](super::Action::TestReach).
    Reach(Reach),
    /// Somebody else says that an address of the group is at this hardware address: an answer to
    /// [`Action::Probe`](super::Action::Probe), or any word of it while the group is held here.
    /// Told at most some hundred times a second.
    Claimed {
        /// The group.
        group: GroupKey,
        /// Where the address is said to be; never an interface of this host.
        hardware: HardwareAddress,
    },
    /// The hardware addresses of the interfaces that groups are on, when they changed. Gaps are at
    /// the end.
    Hardware([Option<HardwareAddress>; HARDWARE_MAX]),
    /// Outcome of [`Action::Verify`](super::Action::Verify). May come again for the same order, if
    /// more is known.
    Verified {
        /// The group.
        group: GroupKey,
        /// As in the order.
        epoch: Epoch,
        /// What was found.
        outcome: Convergence,
    },
    /// Hosts outside the cluster that had to do with this one lately, on the links of its groups;
    /// the latest first. Told every few seconds, if there are any.
    Neighbours(Vec<Neighbour>),
    /// Since [`Action::WatchConnections`](super::Action::WatchConnections): how many of the
    /// connections that were there then have not ended, by group; none of a group that is missing.
    ConnectionsRemain(Vec<(GroupKey, u32)>),
    /// The connections of this group could be kept by its kernel if it were handed over, and this
    /// is where. Told before `Present`.
    Keepable {
        /// The group.
        group: GroupKey,
        /// Of the link that it is on.
        hardware: HardwareAddress,
    },
    /// How many connections are left to groups that were handed over, by group; zero if it could
    /// not be handed over after all.
    Kept(Vec<(GroupKey, u32)>),
    /// Some connections to a group, not more than fit one message. Told as often as peers may be
    /// told: the pace is the kernel side's.
    Connections {
        /// The group.
        group: GroupKey,
        /// The connections, of one family.
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
