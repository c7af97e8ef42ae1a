//! What the daemon answers: one JSON object on one line for each answer.
//!
//! [`Status`] is fixed by the published contract (schema 1); fields may be added, never renamed.
//! Every request may also be answered by [`Rejected`], which is told from the rest by its only
//! key `refused`. Readers ignore fields they do not know, and added fields have defaults, so that
//! a client and a daemon of neighbouring versions understand each other during an upgrade.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::awaited::Awaited;

pub use super::local::{Check, Hook};
pub use super::measures::Measures;
pub use super::missing_routes::{MISSING_SHOWN_MAX, MissingRoute, MissingRoutes};
pub use super::virtual_routers::{OutsideRouter, OverheardRouter, VirtualRouter};

/// Version of the JSON schema.
pub const SCHEMA: u32 = 1;

/// Answer to `status`: the cluster as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the node that answers.
    pub node: String,
    /// Phase of that node: `listening`, `active`, `resuming`, `isolated`, `leaving`, `left`.
    #[serde(default)]
    pub phase: String,
    /// Every configured node, in the order of the file.
    pub nodes: Vec<Node>,
    /// Every configured group, in the order of the file.
    pub groups: Vec<Group>,
    /// What keeps a dead or frozen daemon of this node from answering.
    #[serde(default)]
    pub fence: Fence,
    /// Why connections of the asked node end at planned moves, though `preserve_connections` is set;
    /// `null` if they are kept, or if it is not set.
    #[serde(default)]
    pub not_preserving: Option<String>,
    /// The checks of the asked node, in the order of the file.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// The hooks of the asked node, in the order of the file.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// The groups that are virtual routers to hosts outside; left out without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub virtual_routers: Vec<VirtualRouter>,
    /// Virtual routers that others advertise and this node's file does not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overheard_routers: Vec<OverheardRouter>,
    /// Routes and rules that the asked node lacks; left out without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_routes: Vec<MissingRoutes>,
    /// Orders that stand; absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<StandingOrder>,
    /// What a restart of the daemon would do now; absent from daemons that do not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// Counters since the start of the daemon, by name.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// Measurements since the start of the daemon; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measures: Option<Measures>,
}

/// An order that stands until it is ended or its time is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingOrder {
    /// `hold`, `drain` or `upgrade`.
    pub order: String,
    /// The node that is drained; `null` for a hold.
    pub node: Option<String>,
    /// The user who gave it; `null` if that is not known.
    pub by: Option<String>,
    /// The node at which it was given.
    pub at: String,
    /// Why, in the words of that user; `null` if none was given.
    pub reason: Option<String>,
    /// Whether a drain outlasts a restart of the host.
    #[serde(default)]
    pub persists: bool,
    /// Time after which it ends by itself; `null` if it does not.
    pub left_ms: Option<u64>,
}

/// What a restart of a daemon would do to the addresses of its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// Whether every address would stay.
    pub in_place: bool,
    /// Why they would be handed over instead; `null` if they would stay.
    pub hindered_by: Option<String>,
    /// Digest of the configuration in force, as in `buoy check --json`: a process that starts with
    /// another one need not continue in place.
    pub digest: String,
}

/// What stops a host whose daemon has died from answering, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// Mechanism in force.
    pub kind: FenceKind,
    /// Longest time in milliseconds for which the host answers after its daemon has died; `null` if
    /// unbounded.
    pub bound_ms: Option<u64>,
}

/// See [`Fence`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FenceKind {
    /// A lease in nf_tables that the daemon renews.
    Gate,
    /// Lifetimes of the addresses, because this kernel has no nf_tables.
    Lifetime,
    /// Nothing.
    #[default]
    None,
}

/// One node as seen by the node that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Name in the configuration.
    pub name: String,
    /// Verdict of the asked node.
    pub state: NodeState,
    /// Time since it was heard directly; `null` if never, 0 for the asked node itself.
    pub last_heard_ms: Option<u64>,
    /// Whether the operator keeps groups off it.
    pub draining: bool,
    /// What it waits for before it gives its groups away; `null` if it does not drain or does not
    /// wait.
    #[serde(default)]
    pub waits: Option<Waits>,
    /// Version of its software; `null` if never heard.
    pub version: Option<String>,
    /// Features that it does not tell to understand, and that are not used towards it; left out
    /// if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_back: Vec<String>,
    /// Phase that it reports; `null` if never heard.
    #[serde(default)]
    pub phase: Option<String>,
    /// Member or witness.
    #[serde(default)]
    pub role: Role,
    /// Whether it grants leases for groups in mode `majority`.
    #[serde(default = "usual")]
    pub voter: bool,
    /// Weight in the configuration, 1 to 1000.
    #[serde(default)]
    pub weight: u16,
    /// Number of groups that it owns.
    #[serde(default)]
    pub owns: u16,
    /// Worst lateness of its protocol loop in the last minute, in microseconds.
    #[serde(default)]
    pub loop_lag_us: u64,
    /// Whether it runs with another configuration than the asked node.
    #[serde(default)]
    pub config_differs: bool,
    /// Whether it can preserve connections of groups that move: `able`, `availability_only` (not in mode
    /// `majority`), `off` (by its file), `no_gate` or `no_kernel_support`; left out if it has not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserving: Option<String>,
    /// A group, with the hardware address, for which its kernel answers although it is silent, so
    /// that nothing of it is taken; `null` if that is not so.
    #[serde(default)]
    pub kernel_answers: Option<String>,
    /// What is wrong between it and the asked node, with the remedy; left out if nothing is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// How much of what the host can bear is used, per mille, as it says; `null` if it does not.
    #[serde(default)]
    pub load_permille: Option<u16>,
    /// Pools of which a required check fails there: it owns their groups only if nobody better
    /// can, or not at all (`last_resort`).
    #[serde(default)]
    pub unfit: Vec<String>,
    /// Pools of which a preferred check fails there: it owns their groups only if nobody better
    /// can.
    #[serde(default)]
    pub reluctant: Vec<String>,
}

/// What a draining node waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// Connections that were there when it began to drain and have not ended; `null` before they
    /// have been counted.
    pub connections: Option<u32>,
    /// Time after which it waits no more.
    pub left_ms: u64,
    /// Whose connections they are; left out at other nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited: Option<Awaited>,
}

/// A node of a daemon that does not tell yet.
fn usual() -> bool {
    true
}

/// What a node is there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It may own groups.
    #[default]
    Member,
    /// It votes and owns nothing.
    Witness,
}

/// Verdict on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Heard directly.
    Up,
    /// Silent for longer than usual.
    Suspect,
    /// Heard by a peer only.
    Indirect,
    /// Heard by nobody.
    Dead,
    /// Left in good order.
    Left,
    /// Never heard yet.
    Unknown,
}

impl NodeState {
    /// The word of the contract.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Indirect => "indirect",
            Self::Dead => "dead",
            Self::Left => "left",
            Self::Unknown => "unknown",
        }
    }
}

/// One group as seen by the node that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The pool it stands in.
    pub pool: String,
    /// Name in the configuration.
    pub group: String,
    /// Addresses in the order of the configuration.
    pub addresses: Vec<String>,
    /// What must not happen to it.
    #[serde(default)]
    pub mode: Mode,
    /// Who owns it; `null` while nobody does.
    pub owner: Option<String>,
    /// How it stands.
    pub state: GroupState,
    /// The highest epoch heard of.
    pub epoch: u64,
    /// Time since the owner took it, or since it has had none.
    pub since_ms: u64,
    /// One sentence: why it is there.
    pub reason: String,
    /// How long after the asked node had added it all neighbours that can show it resolved it to
    /// that node; `null` while that is not known, and at nodes that do not hold it.
    #[serde(default)]
    pub converged_ms: Option<u64>,
    /// Established TCP connections to its addresses at the asked node, if that owns it; else, and
    /// before they have been counted, `null`.
    #[serde(default)]
    pub connections: Option<u64>,
    /// Why the asked node could not hold it; `null` if it could.
    #[serde(default)]
    pub unable_here: Option<String>,
    /// The same in one word: `link`, `network`, `kernel`, `removed`, `stranger`; left out if it
    /// could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unable: Option<String>,
    /// How often the asked node became its owner since it started, by cause; left out if never.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub acquired: BTreeMap<String, u64>,
    /// How often the asked node stopped being its owner, by the cause of the next; left out if
    /// never.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub released: BTreeMap<String, u64>,
    /// Hardware address of a host outside the cluster that has claimed it in the last minute
    /// although the asked node has it; `null` if none has.
    #[serde(default)]
    pub claimant: Option<String>,
    /// What of it the asked node, which has it, does not answer for and why; left out if it answers
    /// for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
    /// Its former owner, which still serves connections to it; told by that node and by the present
    /// owner, else, and if there is none, `null`.
    #[serde(default)]
    pub preserved: Option<Preserved>,
}

/// Connections that a former owner of a group still serves (`preserve_connections`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preserved {
    /// The former owner.
    pub by: String,
    /// How many it has; `null` before they have been counted.
    pub connections: Option<u32>,
    /// Time after which it ends them; left out at other nodes, as is what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
    /// Whose connections they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited: Option<Awaited>,
}

/// What a group is given up for when nodes cannot talk to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Every set of nodes that hear each other serves it.
    #[default]
    Availability,
    /// It is answered under a lease from a majority of the voters, or not at all.
    Majority,
}

impl Mode {
    /// The word of the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Availability => "availability",
            Self::Majority => "majority",
        }
    }
}

/// How a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// Its owner answers for it.
    Owned,
    /// Under way from or to its owner.
    Moving,
    /// Its owner waits for a lease from a majority of the voters.
    Waiting,
    /// Its owner has no lease from a majority of the voters: nobody answers.
    Closed,
    /// Nobody has it.
    Unowned,
}

impl GroupState {
    /// The word of the contract.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Owned => "owned",
            Self::Moving => "moving",
            Self::Waiting => "waiting",
            Self::Closed => "closed",
            Self::Unowned => "unowned",
        }
    }
}

/// One line of the flight recorder. Fields that an event does not have are `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts the events of this node from 1, over restarts of its daemon too for as long as its files
    /// are there; a gap is told by an event of kind `overwritten`.
    pub seq: u64,
    /// Wall-clock time, RFC 3339, UTC, milliseconds.
    pub time: String,
    /// What kind: the word of one of [`Kind::ALL`](super::events::Kind::ALL).
    pub kind: String,
    /// The node that noticed it.
    pub observer: String,
    /// The node it is about.
    pub node: Option<String>,
    /// Pool of the group it is about.
    pub pool: Option<String>,
    /// The group it is about.
    pub group: Option<String>,
    /// Owner, verdict or phase before.
    pub from: Option<String>,
    /// Owner, verdict or phase after.
    pub to: Option<String>,
    /// Epoch of the claim.
    pub epoch: Option<u64>,
    /// Why, if that is known.
    pub cause: Option<String>,
    /// All of it in one sentence.
    pub sentence: String,
}

/// Ends the answer to `events` without `follow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How many events came before this line.
    pub end: u64,
}

/// Why a group is where it is, and who would be next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the node that answers.
    pub node: String,
    /// The group as in [`Status`].
    pub group: Group,
    /// Who would take it if the owner fell silent now, best first; then those who would not.
    pub line: Vec<Candidate>,
}

/// One node in the line of succession.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Place in the line from 1; `null` for a node that would not take the group.
    pub place: Option<u32>,
    /// Name of the node.
    pub node: String,
    /// Why it stands there.
    pub reason: String,
}

/// An order was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The request: `drain`, `undrain`, `move`, `hold` or `release`; of `undo` what took the order back.
    pub done: String,
    /// The node it concerns.
    pub node: String,
    /// Pool of the group it concerns.
    pub pool: Option<String>,
    /// The group it concerns.
    pub group: Option<String>,
}

/// A configuration was read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The differences that were applied, one sentence each; empty if there was none.
    pub applied: Vec<String>,
}

/// A request was refused; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Why.
    pub refused: Refused,
    /// [`SCHEMA`]. Behind the other, which is what a line is known by.
    #[serde(default)]
    pub schema: u32,
}

/// Code of a refusal that says that the daemon came to no answer in time.
pub const NO_ANSWER: &str = "no_answer";

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// One word for scripts.
    pub code: String,
    /// One sentence for people, with the remedy.
    pub reason: String,
    /// More sentences, such as the faults of a configuration file.
    #[serde(default)]
    pub details: Vec<String>,
}

impl Rejected {
    /// Refuses with a code and a sentence.
    #[must_use]
    pub fn new(code: &str, reason: impl Into<String>) -> Self {
        let details = Vec::new();
        let refused = Refused { code: code.to_owned(), reason: reason.into(), details };
        Self { refused, schema: SCHEMA }
    }
}
