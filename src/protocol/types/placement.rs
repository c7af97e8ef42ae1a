//! Where the groups of a pool may be, beside what its checks say.

use std::collections::BTreeSet;

use super::identity::NodeId;

/// Rules of placement of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Nodes that lack a label which the pool requires.
    pub lacking: BTreeSet<NodeId>,
}
