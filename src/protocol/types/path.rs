//! Heartbeat paths: what a node hears on each, and what it makes of one on which it is cut off.
//!
//! Paths go by their place in the list of a node's addresses, which is the same in every file: the
//! first address of each node is on the first path, and so on.

/// Heartbeat paths at most.
pub const PATHS_MAX: usize = 8;

/// What a node hears on one path, as it tells one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PathReport {
    /// It hears the receiver there, or cannot tell yet.
    pub receiver: bool,
    /// It hears another node there.
    pub others: bool,
}

/// What seems to be wrong with a path of this node while another path works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathFault {
    /// No peer is heard there any more.
    Silent,
    /// Peers are heard there, and none of them hears this node.
    Unheard {
        /// One of them hears another node there, so that it does not only not listen.
        others_heard: bool,
    },
}
