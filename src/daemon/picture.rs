//! What the protocol thread knows, as the main thread shows it to people.

use std::collections::BTreeMap;
use std::time::Duration;

use super::refused::Obstacle;
use crate::protocol::{self, NodeId, StandingOrder, Status, TimingStatus};
use crate::transport::Counters;
use crate::wire::RefusedDatagram;

/// What the loop knows, for people.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// From the core.
    pub status: Status,
    /// What keeps peers from being heard.
    pub obstacles: Vec<Obstacle>,
    /// Who knows another node of this one's name.
    pub twin: Option<NodeId>,
    /// For how long this node still grants nothing as a voter.
    pub voter_silence: Option<Duration>,
    /// What profile `auto` has chosen, and why.
    pub timing: Option<TimingStatus>,
    /// Datagrams refused, by reason.
    pub refused: [u64; RefusedDatagram::COUNT],
    /// From the transport.
    pub transport: Counters,
    /// Features that peers do not tell, by name.
    pub held_back: BTreeMap<NodeId, Vec<&'static str>>,
    /// Orders that stand.
    pub orders: Vec<StandingOrder>,
    /// Why a restart now would not be in place.
    pub obstacle_to_rest: Option<protocol::Obstacle>,
}
