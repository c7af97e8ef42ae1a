//! What one process of a node leaves to the next when it is restarted in place.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::condition::{NodePhase, Verdict};
use super::configuration::{Configuration, Group, Mode, Timing};
use super::event::Ticket;
use super::fitness::Fitness;
use super::identity::{Epoch, GroupKey, Incarnation, NodeId, PoolId};
use super::instant::Instant;
use super::message::{Claim, LogPosition};
use super::timing_level::TimingLevel;
use super::voters::PromiseRecord;

/// What the next process of a node has to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    /// Whose it is.
    pub me: NodeId,
    /// The life that goes on.
    pub incarnation: Incarnation,
    /// When it was written, by the clock of all [`Instant`]s.
    pub at: Instant,
    /// The groups that the kernel answers for here, and under which epoch.
    pub held: BTreeMap<GroupKey, Epoch>,
    /// Every claim that is known and since when its holder has the group, oldest change first.
    pub claims: Vec<(Claim, Instant)>,
    /// When those groups were taken of which the claim does not say it: in mode majority a node claims
    /// a group before it has a lease, and it may take what a former life of it had. Only what was taken a
    /// moment ago.
    pub taken: BTreeMap<GroupKey, Instant>,
    /// The peers that have been heard.
    pub peers: BTreeMap<NodeId, Acquaintance>,
    /// What the checks of this host say.
    pub fitness: Vec<(PoolId, Fitness)>,
    /// Number of the last offer.
    pub last_token: u32,
    /// What is granted of groups in mode majority, if anything was ever asked for.
    pub leases: Option<LeaseMemory>,
    /// What this node has promised as a voter, if that is known.
    pub promises: Option<PromiseRecord>,
    /// With profile `auto` the level that is in force here, and the one that this node proposes.
    pub timing: Option<(TimingLevel, TimingLevel)>,
}

/// What the next process has to know of leases, to renew them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LeaseMemory {
    /// The voters, in their order.
    pub list: Vec<NodeId>,
    /// Number of the last wish.
    pub version: u32,
    /// Every address that was wanted once in this life.
    pub wishes: BTreeMap<GroupKey, WishMemory>,
    /// The latest request to each voter that it has answered.
    pub heard: BTreeMap<NodeId, Instant>,
}

/// One wish, and what was granted for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WishMemory {
    /// Number of the wish.
    pub version: u32,
    /// Whether the address is wanted, not given up.
    pub wanted: bool,
    /// Until when each voter vouches, by its place in the list.
    pub until: Vec<Instant>,
}

impl LeaseMemory {
    /// Returns until when a majority of the voters vouches for an address.
    #[must_use]
    pub fn until(&self, address: GroupKey) -> Instant {
        let Some(wish) = self.wishes.get(&address).filter(|wish| wish.wanted) else {
            return Instant::START;
        };
        let mut until = wish.until.clone();
        until.sort_unstable();
        let place = self.list.len().checked_sub(self.list.len() / 2 + 1);
        place.and_then(|place| until.get(place)).copied().unwrap_or(Instant::START)
    }
}

impl Memory {
    /// Whether the life can go on now under this configuration, given the groups of which the
    /// kernel has every address.
    ///
    /// # Errors
    ///
    /// See [`Misfit`]; then a new life has to begin.
    pub fn fits(
        &self,
        now: Instant,
        configuration: &Configuration,
        present: &BTreeSet<GroupKey>,
    ) -> Result<(), Misfit> {
        if self.me != configuration.me {
            return Err(Misfit::OtherNode);
        }
        let age = now.since(self.at);
        let timing = self.timing_in_force(configuration);
        if self.at > now || age >= timing.lease() {
            return Err(Misfit::Untimely { age });
        }
        for group in self.held.keys() {
            let Some(wanted) = configuration.groups.get(group) else {
                return Err(Misfit::NotConfigured(*group));
            };
            if wanted.mode == Mode::Majority {
                self.leased(now, configuration, wanted)?;
            }
            if !present.contains(group) {
                return Err(Misfit::NotPresent(*group));
            }
        }
        Ok(())
    }

    /// Returns the intervals with which the life goes on.
    #[must_use]
    pub fn timing_in_force(&self, configuration: &Configuration) -> Timing {
        let level = self.timing.map(|(level, _)| level).filter(|_| configuration.adaptive);
        level.map_or(configuration.timing, |level| level.applied_to(configuration.timing))
    }

    /// Whether the lease of every address of a group in mode majority still runs.
    fn leased(
        &self,
        now: Instant,
        configuration: &Configuration,
        group: &Group,
    ) -> Result<(), Misfit> {
        let key = group.addresses.first().copied().unwrap_or(GroupKey(0));
        let leases = self.leases.as_ref().ok_or(Misfit::Majority(key))?;
        let voters = configuration.nodes.iter().filter(|(_, member)| member.votes);
        if !voters.map(|(node, _)| node).eq(leases.list.iter()) {
            return Err(Misfit::OtherVoters);
        }
        let runs = |address: &GroupKey| leases.until(*address) > now;
        if group.addresses.iter().all(runs) { Ok(()) } else { Err(Misfit::LeaseOver(key)) }
    }

    /// The groups that are held, each with the ticket under which the kernel side has it now.
    pub fn tickets(&self) -> impl Iterator<Item = (GroupKey, Ticket)> + '_ {
        self.held.keys().zip(1..).map(|(group, number)| (*group, Ticket(number)))
    }
}

/// What is to be remembered of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Acquaintance {
    /// Its present life.
    pub incarnation: Incarnation,
    /// When it was last heard; `None` if only others did since its restart.
    pub heard_at: Option<Instant>,
    /// What is thought of it.
    pub verdict: Verdict,
    /// Number of the log of claims that goes to it.
    pub stream: u32,
    /// How far its log of claims has come here.
    pub have: LogPosition,
}

/// Why a node does not rest: it leaves instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Obstacle {
    /// It is not sure of itself, has just started, or leaves already.
    Phase(NodePhase),
    /// A group is on its way to or from this node.
    Busy,
    /// A host outside the cluster answers for this group.
    Conflict(GroupKey),
    /// The voters did not grant leases in time that would last for long enough.
    LeaseShort,
}

/// Why a memory is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It is another node's.
    OtherNode,
    /// It is older than the kernel's lease, or younger than now.
    Untimely {
        /// How old it is; zero if it is from the future.
        age: Duration,
    },
    /// This group is not configured any more.
    NotConfigured(GroupKey),
    /// This group is in mode majority now, and was not before.
    Majority(GroupKey),
    /// Other nodes vote now: leases do not outlive a change of the list.
    OtherVoters,
    /// The lease of this group is over.
    LeaseOver(GroupKey),
    /// The kernel does not have all addresses of this group.
    NotPresent(GroupKey),
}
