//! A read-only picture of a node, for operators and tests. Made on request, never kept.

use std::time::Duration;

use super::condition::{Inability, NodePhase, SoftwareVersion, Verdict};
use super::connection::Preserved;
use super::connection::Waiting;
use super::fitness::Fitness;
use super::identity::{Epoch, GroupKey, HardwareAddress, Incarnation, NodeId, PoolId};
use super::load::Load;
use super::message::Cause;
use super::preserving::Preserving;

/// The cluster as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// Node that reports the status.
    pub me: NodeId,
    /// Its present incarnation.
    pub incarnation: Incarnation,
    /// Its phase.
    pub phase: NodePhase,
    /// Every configured node by id, including this one.
    pub nodes: Vec<NodeStatus>,
    /// Every configured group, by key.
    pub groups: Vec<GroupStatus>,
}

/// A node as seen from here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeStatus {
    /// Identity.
    pub node: NodeId,
    /// Verdict of this node; `Up` for itself.
    pub verdict: Verdict,
    /// Phase that it reports; `None` if never heard.
    pub phase: Option<NodePhase>,
    /// Time since it was last heard directly; `None` if never, zero for itself.
    pub last_heard: Option<Duration>,
    /// Whether the operator drains it.
    pub draining: bool,
    /// Whether the configuration of this node lists it.
    pub listed: bool,
    /// Whether it reports that its configuration does not list this node.
    pub unlists_me: bool,
    /// What it waits for before it hands its groups over, if it drains and waits.
    pub waiting: Option<Waiting>,
    /// Pools for which its checks do not all pass, with the outcome.
    pub unfit: Vec<(PoolId, Fitness)>,
    /// Load that it reports; `None` if it reports none.
    pub load: Option<Load>,
    /// Weight in the configuration, 1 to 1000.
    pub weight: u16,
    /// Number of groups that it owns.
    pub owns: u16,
    /// Version of its software; `None` if never heard.
    pub software: Option<SoftwareVersion>,
    /// Worst lateness of its protocol loop in the last minute, as it reports.
    pub loop_lag: Duration,
    /// Whether its configuration has another digest than ours.
    pub config_differs: bool,
    /// Whether it says that it can preserve connections of groups that move.
    pub preserving: Preserving,
    /// A group for which its kernel answers although it is silent, and where.
    pub kernel_answers: Option<(GroupKey, HardwareAddress)>,
}

/// A group as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupStatus {
    /// Identity.
    pub group: GroupKey,
    /// Owner; `None` while there is none.
    pub owner: Option<NodeId>,
    /// State of its ownership.
    pub state: GroupState,
    /// Highest epoch known.
    pub epoch: Epoch,
    /// Time since the owner took it, or since it has had none.
    pub since: Duration,
    /// Cause of the last claim; `None` if never claimed.
    pub cause: Option<Cause>,
    /// How long after this node had added it all neighbours resolved it to this node; `None` while
    /// that is not known, and at nodes that do not hold it.
    pub converged: Option<Duration>,
    /// Why this node cannot hold it now, if it cannot.
    pub unable_here: Option<Inability>,
    /// Host outside the cluster that has recently claimed it although this node holds it.
    pub claimant: Option<HardwareAddress>,
    /// Addresses of it that this node withholds; `None` if it answers for all.
    pub withheld: Option<Withheld>,
    /// The former owner, which still serves connections, as this node, which is either it or the
    /// owner, knows it.
    pub preserved: Option<Preserved>,
}

/// Addresses that a node withholds from a group that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Withheld {
    /// One of these addresses.
    pub address: GroupKey,
    /// Who has that one, by its file in another group; `None` while nobody has and it is asked for.
    pub owner: Option<NodeId>,
    /// Number of these addresses.
    pub count: u16,
}

/// State of the ownership of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupState {
    /// Its owner answers for it.
    Owned,
    /// It is being handed over, added or removed.
    Moving,
    /// Its owner waits for a lease from a majority of the voters (mode majority).
    Waiting,
    /// Its owner has no lease from a majority of the voters: no node answers (mode majority).
    Closed,
    /// It has no owner.
    Unowned,
}

/// Why a group is on its owner, and which nodes would be next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Explanation {
    /// Status of the group.
    pub group: GroupStatus,
    /// Who would take it if the owner fell silent now, best first, with the owner left out; then
    /// those who would not, with the reason.
    pub candidates: Vec<Candidate>,
}

/// Place of one node in the line of succession.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Identity.
    pub node: NodeId,
    /// Reason for its place.
    pub standing: Standing,
    /// How long it has been known that it cannot hold the group, if that is the reason.
    pub unable_for: Option<Duration>,
    /// For so long yet it is offered nothing that can wait, for balance or as fail-back, because it
    /// fell too often.
    pub damped: Option<Duration>,
}

/// Reason for which a node would, or would not, be next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Named in the claim of the owner, first or second.
    Heir(u8),
    /// Place in the configured preference, from 1.
    Preferred(u8),
    /// By the weighted order that every node computes.
    Ranked,
    /// Not up.
    Down(Verdict),
    /// Drained by the operator.
    Draining,
    /// Starting, resuming, isolated or leaving.
    NotActive(NodePhase),
    /// It could not hold it: known to this node of itself, or said by a peer that was offered it.
    Unable(Inability),
    /// A preferred check of the pool fails there: behind those at which it passes.
    Reluctant,
    /// A required check of the pool fails there: only if none of the others takes it.
    Unfit,
    /// As [`Standing::Unfit`], but nobody is fitter: it would take the group as a last resort.
    LastResort,
    /// It lacks a label that the pool requires; whether it would take the group as a last resort.
    Lacking {
        /// No node that is fitter could take it.
        last_resort: bool,
    },
    /// Only if no other node takes it: groups that it is to be apart from are there, or groups that it
    /// is to be together with elsewhere.
    IllCompany,
}
