//! Where the groups of a pool may be, beside what its checks say.

use std::collections::BTreeSet;

use super::identity::{NodeId, PoolId};

/// Rules of placement of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Nodes that lack a label which the pool requires.
    pub lacking: BTreeSet<NodeId>,
    /// Pools whose groups are not to be on one node with those of this one while another node can have
    /// them; may be this pool itself.
    pub apart_from: BTreeSet<PoolId>,
    /// All pools that are to be on one node, this one included; none if it may be away from any.
    pub together_with: BTreeSet<PoolId>,
}
