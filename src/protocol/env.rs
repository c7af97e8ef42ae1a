//! What every machine of the core is handed: the time, the configuration, the generator, and the
//! list that actions are added to.
//!
//! A machine reads the first two and writes the last two. Only `node` moves the time, follows a
//! reload and takes the actions out; nothing of this is state that two machines share.

#[cfg(test)]
use std::collections::BTreeMap;
#[cfg(test)]
use std::time::Duration;

use super::types::{Action, Configuration, Instant, Message, NodeId, Random, Report, Rule};
#[cfg(test)]
use super::types::{Incarnation, Preserving, SoftwareVersion, Timing};

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct Env {
    /// The time of the event that is being handled.
    pub(super) now: Instant,
    /// As of the last reload.
    pub(super) configuration: Configuration,
    /// For jitter.
    pub(super) random: Random,
    /// What this step returns, in this order.
    pub(super) actions: Vec<Action>,
}

impl Env {
    /// Returns the environment of a node that starts now.
    pub(super) fn new(now: Instant, configuration: Configuration) -> Self {
        let random = Random::new(configuration.seed);
        Self { now, configuration, random, actions: Vec::new() }
    }

    /// Adds a report to the actions.
    pub(super) fn report(&mut self, report: Report) {
        self.actions.push(Action::Report(report));
    }

    /// Adds a message to a peer to the actions.
    pub(super) fn send(&mut self, to: NodeId, message: Message) {
        self.actions.push(Action::Send { to, message });
    }

    /// Returns whether this rule is in force. Always, but for one under test.
    #[cfg(not(feature = "mutations"))]
    #[expect(clippy::unused_self, reason = "the same call asks the configuration under test")]
    pub(super) const fn enforces(&self, _rule: Rule) -> bool {
        true
    }

    /// Returns whether this rule is in force. Always, but for the one under test.
    #[cfg(feature = "mutations")]
    pub(super) fn enforces(&self, rule: Rule) -> bool {
        self.configuration.broken != Some(rule)
    }
}

#[cfg(test)]
impl Env {
    /// Returns the environment of a node without peers and groups, at 10 s, for tests of a machine
    /// by itself.
    pub(super) fn alone(me: NodeId) -> Self {
        let configuration = Configuration {
            me,
            incarnation: Incarnation(1),
            seed: 1,
            software: SoftwareVersion::default(),
            name: String::new(),
            digest: 0,
            nodes: BTreeMap::new(),
            groups: BTreeMap::new(),
            placement: BTreeMap::new(),
            load_aware: false,
            paths: 1,
            timing: Timing::LAN,
            adaptive: false,
            drain_timeout: Duration::ZERO,
            preserve: None,
            preserving: Preserving::Unknown,
            draining: false,
            #[cfg(feature = "mutations")]
            broken: None,
        };
        Self::new(Instant::from_millis(10_000), configuration)
    }
}
