//! What the protocol needs to know of the configuration; made by `config` from the file.

use std::collections::BTreeMap;
use std::time::Duration;

use super::condition::SoftwareVersion;
use super::fitness::LastResort;
use super::identity::{GroupKey, Incarnation, NodeId, PoolId};
use super::placement::Placement;
use super::preference::Preference;
use super::preserving::Preserving;

/// Most nodes that may be configured: a heartbeat's table of peers must fit one datagram.
pub const NODES_MAX: usize = 64;
/// Most groups that may be configured.
pub const GROUPS_MAX: usize = 4096;
/// Most addresses that may be configured, in all groups together.
pub const ADDRESSES_MAX: usize = 8192;

/// Everything a node is told at its start and at each reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// This node.
    pub me: NodeId,
    /// This life of this node.
    pub incarnation: Incarnation,
    /// Seed of the generator for jitter.
    pub seed: u64,
    /// Version to advertise.
    pub software: SoftwareVersion,
    /// Name of this node, for peers whose files do not list it.
    pub name: String,
    /// Digest of the file, to tell when files differ.
    pub digest: u64,
    /// Every configured node, this one included; at most [`NODES_MAX`].
    pub nodes: BTreeMap<NodeId, Member>,
    /// Every configured group; at most [`GROUPS_MAX`].
    pub groups: BTreeMap<GroupKey, Group>,
    /// Rules of placement of the pools that have any.
    pub placement: BTreeMap<PoolId, Placement>,
    /// Whether placement goes by how busy nodes are.
    pub load_aware: bool,
    /// Heartbeat paths of each node; at most [`PATHS_MAX`](super::PATHS_MAX).
    pub paths: u8,
    /// Intervals and limits.
    pub timing: Timing,
    /// Profile `auto`: the intervals follow what the nodes measure.
    pub adaptive: bool,
    /// How long a drain waits for connections to end; zero does not wait.
    pub drain_timeout: Duration,
    /// How connections are kept through planned moves; `None` where they are not, or where the kernel
    /// cannot.
    pub preserve: Option<Preserve>,
    /// Whether this node can preserve connections, as its heartbeats say.
    pub preserving: Preserving,
    /// Whether this node starts drained, as it was when it last ran. Read at start only.
    pub draining: bool,
    /// The one rule that does not hold, for tests.
    #[cfg(feature = "mutations")]
    pub broken: Option<super::rules::Rule>,
}

/// How the former owner of a group that was moved keeps its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preserve {
    /// For so long at most.
    pub limit: Duration,
    /// Requests that are under way get time to end, and nothing more: what a node gives away because
    /// its checks fail is not kept, and an operator's order to move a group does not wait for what is
    /// kept.
    pub brief: bool,
}

/// A configured node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Share of the groups it should carry, 1 to 1000.
    pub weight: u16,
    /// Whether it may own groups; a witness may not.
    pub owns: bool,
    /// Whether it grants leases for groups in mode [`Mode::Majority`].
    pub votes: bool,
}

impl Member {
    /// A node that owns and votes.
    #[must_use]
    pub const fn of_weight(weight: u16) -> Self {
        Self { weight, owns: true, votes: true }
    }
}

/// A configured group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its pool: the checks of a pool are those of each of its groups.
    pub pool: PoolId,
    /// Its addresses, the first of which names the group; at least one.
    pub addresses: Vec<GroupKey>,
    /// Availability, or a single owner under leases.
    pub mode: Mode,
    /// Rule of placement.
    pub strategy: Strategy,
    /// Preferred nodes, best first; may be empty.
    pub prefer: Preference,
    /// How long a preferred node must have been well before the group returns; `None` is never.
    pub failback: Option<Duration>,
    /// Whether it is taken although another host answers for it.
    pub force: bool,
    /// What happens to it when every node that could own it fails a required check.
    pub last_resort: LastResort,
    /// How long a planned move of it may be held by what is to be done first; `None` if nothing is.
    pub gate: Option<Duration>,
}

impl Group {
    /// How many addresses it has; announcements are paced by these.
    #[must_use]
    pub fn address_count(&self) -> u16 {
        u16::try_from(self.addresses.len()).unwrap_or(u16::MAX)
    }

    /// Its addresses but for the first.
    pub(in crate::protocol) fn further(&self) -> &[GroupKey] {
        self.addresses.get(1..).unwrap_or_default()
    }
}

/// What a group is given up for when nodes cannot talk to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Every set of nodes that hear each other serves it.
    #[default]
    Availability,
    /// It is answered under a lease from a majority of the voters, or not at all.
    Majority,
}

/// How groups are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Each node carries its weighted share.
    Balance,
    /// The first live node of `prefer`.
    Priority,
}

/// Times and limits, from the profile and `[timing]`. Source of each: PROTOCOL.md, section Timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// Time between two heartbeats, 10 ms to 10 s.
    pub heartbeat: Duration,
    /// Heartbeats missed in a row after which a peer is dead, 2 to 20.
    pub misses: u8,
    /// How long an offer may stay unanswered.
    pub offer_wait: Duration,
    /// Time between two transmissions of an unacknowledged message.
    pub retry: Duration,
    /// How long each node in line waits for the one before it.
    pub rank_skew: Duration,
    /// How long the first node in line waits before it takes a group without a claim.
    pub unclaimed_wait: Duration,
    /// Shortest time for which a starting node listens.
    pub maturity_min: Duration,
    /// Longest time for which a starting node that hears peers listens.
    pub maturity_max: Duration,
    /// A starting node that hears nobody, and sees no sign that its link works, waits so long
    /// (twice the spanning-tree forward delay of 15 s, and some).
    pub solo_wait: Duration,
    /// Time between two announcements of a held address.
    pub announce_refresh: Duration,
    /// Maximum number of addresses announced per second.
    pub announce_rate: u32,
}

impl Timing {
    /// Profile `lan`: death after 300 ms.
    pub const LAN: Self = Self::profile(100, 3, 25);
    /// Profile `fast`: death after 80 ms; wants real-time priority and an idle host.
    pub const FAST: Self = Self::profile(20, 4, 10);
    /// Profile `vm`: death after 2 s; outlasts snapshots and live migrations.
    pub const VM: Self = Self::profile(500, 4, 125);

    pub(super) const fn profile(heartbeat_ms: u64, misses: u8, skew_ms: u64) -> Self {
        Self {
            heartbeat: Duration::from_millis(heartbeat_ms),
            misses,
            offer_wait: Duration::from_millis(heartbeat_ms * 5 / 2),
            retry: Duration::from_millis(heartbeat_ms / 5),
            rank_skew: Duration::from_millis(skew_ms),
            unclaimed_wait: Duration::from_millis(heartbeat_ms * 2),
            maturity_min: Duration::from_millis(heartbeat_ms * 10),
            maturity_max: Duration::from_millis(heartbeat_ms * 30),
            solo_wait: Duration::from_secs(35),
            announce_refresh: Duration::from_secs(60),
            announce_rate: 2000,
        }
    }

    /// Silence that means death.
    #[must_use]
    pub fn detection(&self) -> Duration {
        self.heartbeat * u32::from(self.misses)
    }

    /// How long the kernel answers for a node that does not run: twice the time after which the
    /// others have taken over, so that a stall that they forgive does not close the gate; and not
    /// so short that an ordinary stall of a machine does (69 ms seen at full load).
    #[must_use]
    pub fn lease(&self) -> Duration {
        lease_of(self.detection())
    }
}

/// The lease of a node whose death is known after this time.
pub(in crate::protocol) fn lease_of(detection: Duration) -> Duration {
    (detection * 2).clamp(LEASE_MIN, LEASE_MAX)
}

/// How long a voter keeps what it has promised for a lease after it last said so: longer than the
/// lease by what two clocks may drift apart, each by one part in a thousand; and by how late a
/// kernel may close its gate. Protocol time is not slewed, so 0.1 % is ten times what crystals are
/// off; jiffies are, and what the kernel is given for it is [`shortened`].
#[must_use]
pub fn promise(lease: Duration) -> Duration {
    lease * 1001 / 999 + PROMISE_SLACK
}

/// For how long the kernel is told to answer of what is left of a lease. It counts in jiffies, which
/// a time daemon slows by up to a twelfth (chrony: 83333 ppm), and adjtimex by up to a tenth.
#[must_use]
pub fn shortened(left: Duration) -> Duration {
    left * 9 / 10
}

/// The clock of the kernel's timers is late by five ticks at most when the processor that drives it
/// is not run (`MAX_STALLED_JIFFIES`), and rounds by one: 60 ms at HZ=100.
const PROMISE_SLACK: Duration = Duration::from_millis(60);
/// See [`Timing::lease`].
const LEASE_MIN: Duration = Duration::from_millis(300);
/// The longest lease that a configuration makes: twice 20 heartbeats of 10 s.
pub const LEASE_MAX: Duration = Duration::from_secs(400);
