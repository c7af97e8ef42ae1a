//! What one process of a node leaves to the next when it is restarted in place.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::condition::{NodePhase, Verdict};
use super::configuration::{Configuration, Mode};
use super::event::Ticket;
use super::fitness::Fitness;
use super::identity::{Epoch, GroupKey, Incarnation, NodeId, PoolId};
use super::instant::Instant;
use super::message::{Claim, LogPosition};

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
    /// The peers that have been heard.
    pub peers: BTreeMap<NodeId, Acquaintance>,
    /// What the checks of this host say.
    pub fitness: Vec<(PoolId, Fitness)>,
    /// Number of the last offer.
    pub last_token: u32,
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
        if self.at > now || age >= configuration.timing.lease() {
            return Err(Misfit::Untimely { age });
        }
        for group in self.held.keys() {
            let Some(wanted) = configuration.groups.get(group) else {
                return Err(Misfit::NotConfigured(*group));
            };
            if wanted.mode == Mode::Majority {
                return Err(Misfit::Majority(*group));
            }
            if !present.contains(group) {
                return Err(Misfit::NotPresent(*group));
            }
        }
        Ok(())
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
    Stranger(GroupKey),
    /// Groups in mode majority need leases that go on without a gap.
    Majority,
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
    /// This group is in mode majority now.
    Majority(GroupKey),
    /// The kernel does not have all addresses of this group.
    NotPresent(GroupKey),
}
