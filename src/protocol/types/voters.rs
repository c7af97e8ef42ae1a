//! What is stored of the voters of mode majority, so that a node may vote after a restart.

use std::time::Duration;

use super::identity::NodeId;

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
