//! A read-only picture of a node, for operators and tests. Made on request, never kept.

use std::time::Duration;

use super::condition::{Inability, NodePhase, SoftwareVersion, Verdict};
use super::connection::Preserved;
use super::connection::Waiting;
use super::fitness::Fitness;
use super::identity::{Epoch, GroupKey, HardwareAddress, Incarnation, NodeId, PoolId};
use super::load::Load;
use super::message::Cause;

/// What one node knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// The node that knows it.
    pub me: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// What it is doing.
    pub phase: NodePhase,
    /// Every configured node, by id, this one included.
    pub nodes: Vec<NodeStatus>,
    /// Every configured group, by key.
    pub groups: Vec<GroupStatus>,
}

/// A node as seen from here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeStatus {
    /// Which.
    pub node: NodeId,
    /// What this node thinks of it; `Up` for itself.
    pub verdict: Verdict,
    /// What it says it is doing; `None` if never heard.
    pub phase: Option<NodePhase>,
    /// Time since it was last heard directly; `None` if never, zero for itself.
    pub last_heard: Option<Duration>,
    /// Whether the operator keeps groups off it.
    pub draining: bool,
    /// Whether the file of the asked node lists it.
    pub listed: bool,
    /// Whether it says that its file does not list the asked node.
    pub unlists_me: bool,
    /// What it waits for before it gives its groups away, if it drains and waits.
    pub waiting: Option<Waiting>,
    /// The pools that its checks do not find fit.
    pub unfit: Vec<(PoolId, Fitness)>,
    /// How busy it is, as it says; `None` if it does not.
    pub load: Option<Load>,
    /// Its share.
    pub weight: u16,
    /// Groups it owns.
    pub owns: u16,
    /// Its software; `None` if never heard.
    pub software: Option<SoftwareVersion>,
    /// Worst lateness of its protocol loop in the last minute, as it says.
    pub loop_lag: Duration,
    /// Whether its configuration has another digest than ours.
    pub config_differs: bool,
    /// A group for which its kernel answers although it is silent, and where.
    pub kernel_answers: Option<(GroupKey, HardwareAddress)>,
}

/// A group as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupStatus {
    /// Which.
    pub group: GroupKey,
    /// Who owns it; `None` while nobody does.
    pub owner: Option<NodeId>,
    /// How it stands.
    pub state: GroupState,
    /// The highest epoch heard of.
    pub epoch: Epoch,
    /// Time since the owner took it, or since it has had none.
    pub since: Duration,
    /// Why the owner has it; `None` if never claimed.
    pub cause: Option<Cause>,
    /// How long after this node had added it all neighbours resolved it to this node; `None` while
    /// that is not known, and at nodes that do not hold it.
    pub converged: Option<Duration>,
    /// Why this node could not hold it now, if so.
    pub unable_here: Option<Inability>,
    /// The stranger who has claimed it lately although this node holds it.
    pub claimant: Option<HardwareAddress>,
    /// What of it this node, which has it, does not answer for; `None` if it does for all.
    pub withheld: Option<Withheld>,
    /// The former owner, which still serves connections, as this node, which is either it or the
    /// owner, knows it.
    pub preserved: Option<Preserved>,
}

/// Addresses that a node withholds from a group that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Withheld {
    /// One of them.
    pub address: GroupKey,
    /// Who has that one, by its file in another group; `None` while nobody has and it is asked for.
    pub owner: Option<NodeId>,
    /// How many they are.
    pub count: u16,
}

/// How a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupState {
    /// Its owner answers for it.
    Owned,
    /// It is being handed over, or added, or removed.
    Moving,
    /// Its owner waits for a lease from a majority of the voters (mode majority).
    Waiting,
    /// Its owner has no lease from a majority of the voters: nobody answers (mode majority).
    Closed,
    /// Nobody has it.
    Unowned,
}

/// Why a group is where it is, and who would be next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Explanation {
    /// The group.
    pub group: GroupStatus,
    /// Who would take it if the owner fell silent now, best first, with the owner left out; then
    /// those who would not, with the reason.
    pub candidates: Vec<Candidate>,
}

/// One node's place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Which.
    pub node: NodeId,
    /// Why it stands where it stands.
    pub standing: Standing,
    /// For how long it is known that it cannot hold the group, if that is why.
    pub unable_for: Option<Duration>,
    /// For so long yet it is offered nothing that can wait, for balance or as fail-back, because it
    /// fell too often.
    pub damped: Option<Duration>,
}

/// Why a node would, or would not, be next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Named in the claim of the owner, first or second.
    Heir(u8),
    /// Place in the configured preference, from 1.
    Preferred(u8),
    /// By the weighted order that all nodes compute alike.
    Ranked,
    /// Not up.
    Down(Verdict),
    /// Kept free by the operator.
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
}
