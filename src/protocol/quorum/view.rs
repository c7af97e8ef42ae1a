//! What the quorum is told of the rest of the node when it is asked to do something.

use std::time::Duration;

use super::super::types::{Incarnation, Instant, NodeId, VOTERS_MAX};

/// What must be known of a node that grants, or is granted, a lease.
#[derive(Clone, Copy, Debug)]
pub(in crate::protocol) struct PeerView {
    /// Which.
    pub(in crate::protocol) node: NodeId,
    /// The life last heard; `None` for this node itself, and for a peer never heard.
    pub(in crate::protocol) incarnation: Option<Incarnation>,
    /// Whether it has said that it hears nobody.
    pub(in crate::protocol) isolated: bool,
    /// How long its leases are, by its heartbeats.
    pub(in crate::protocol) lease: Duration,
}

/// What the asking depends on beside the leases themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::protocol) struct Situation {
    /// Of the voters, by place in their list: whether this node hears it and is heard by it.
    pub(in crate::protocol) near: [bool; VOTERS_MAX],
    /// Since when the latest group is contested that another node has claimed too.
    pub(in crate::protocol) contested_since: Option<Instant>,
}
