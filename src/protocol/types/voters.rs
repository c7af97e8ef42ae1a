//! What is stored of the voters of mode majority, so that a node may vote after a restart.

use std::time::Duration;

use super::identity::{GroupKey, Incarnation, NodeId};
use super::instant::Instant;

/// Voters at most: with more, a lease costs more than it is worth.
pub const VOTERS_MAX: usize = 7;

/// What a node must remember over restarts, to vote.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoterRecord {
    /// The lists of voters under which it has voted, or has said that it goes by.
    pub lists: Vec<Vec<NodeId>>,
    /// The longest lease that it may have granted.
    pub longest: Duration,
}

/// A record of promises that is older is not used. Within this time no disk is put back to an earlier
/// state, and no version that does not know of such records has run in between.
pub const PROMISES_AGE_MAX: Duration = Duration::from_secs(30);

/// What a voter has promised and must keep, as one process of a node leaves it to the next. Nothing
/// was granted after it was made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PromiseRecord {
    /// Whose it is.
    pub me: NodeId,
    /// The voters under whose list it has promised.
    pub list: Vec<NodeId>,
    /// When it was made, by the clock of all [`Instant`]s, which starts again with each boot.
    pub at: Instant,
    /// Until then nothing may be granted: an earlier process may have promised what is not known.
    pub silent_until: Instant,
    /// What is promised to whom, of promises that run.
    pub promises: Vec<LifePromise>,
}

/// What is promised to one life of one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LifePromise {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// When the promise is over.
    pub until: Instant,
    /// The longest lease that it was made for.
    pub lease: Duration,
    /// What is promised.
    pub addresses: Vec<GroupKey>,
}

impl PromiseRecord {
    /// Returns whether it says all that the voter with this list has promised, so that the voter may
    /// go on from it now.
    #[must_use]
    pub fn fits(&self, now: Instant, me: NodeId, list: &[NodeId]) -> bool {
        let age = now.since(self.at);
        self.me == me && self.list == list && self.at <= now && age <= PROMISES_AGE_MAX
    }
}

/// What a process finds of the one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Recollection {
    /// There is no record: this host has not voted yet, or its record was lost.
    #[default]
    Nothing,
    /// There is one.
    Record(VoterRecord),
    /// There is one that cannot be read. The node does not vote.
    Unreadable,
}
