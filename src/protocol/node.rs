//! The door of the protocol: one event in, a list of actions out.

use super::action::Action;
use super::configuration::Configuration;
use super::event::Event;
use super::identity::GroupKey;
use super::instant::Instant;
use super::message::NodePhase;
use super::status::{Explanation, Status};

/// One node of the cluster.
#[derive(Debug)]
pub struct Node {
    configuration: Configuration,
}

impl Node {
    /// Starts a node that owns nothing and listens.
    #[must_use]
    pub fn new(_now: Instant, configuration: Configuration) -> Self {
        Self { configuration }
    }

    /// Takes in one event and tells what to do, in this order. Time must not run backwards;
    /// an earlier `now` than the last counts as the last.
    #[must_use]
    pub fn step(&mut self, _now: Instant, _event: Event) -> Vec<Action> {
        Vec::new()
    }

    /// When [`Event::Timer`] is due next. Later is a stall, which the node notices by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        Instant::NEVER
    }

    /// What this node knows now.
    #[must_use]
    pub fn status(&self, _now: Instant) -> Status {
        Status {
            me: self.configuration.me,
            incarnation: self.configuration.incarnation,
            phase: NodePhase::Listening,
            nodes: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Why a group is where it is; `None` if the configuration has no such group.
    #[must_use]
    pub fn explain(&self, _now: Instant, _group: GroupKey) -> Option<Explanation> {
        None
    }
}
