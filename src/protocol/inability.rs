//! Groups that nodes cannot hold: what each tells its peers, and what they make of it.
//!
//! A node cannot hold a group whose link is down, whose network is lost or unknown, or which its
//! kernel has refused lately. It says so in every heartbeat, and at once when that changes. Nobody
//! offers it such a group, in whatever kind of planned move, nor names it as heir, until it says so
//! no more: a refusal is forgotten when the group was held, when its link has changed, at a reload,
//! or after a time that doubles with each refusal. That a node cannot hold what it could before is a
//! fall, like a death or a restart: who falls too often is offered nothing that can wait (`Damping`).
//! A group that nobody owns is taken as ever: whoever cannot, does not.

use std::collections::BTreeMap;
use std::time::Duration;

use super::action::Inability;
use super::configuration::NODES_MAX;
use super::identity::{GroupKey, NodeId};
use super::instant::Instant;
use super::message::NodePhase;
use super::node::Node;
use super::ownership::GroupHere;
use super::rules::Rule;

/// Groups that a heartbeat names at most.
const UNABLE_MAX: usize = 32;
/// Groups that fit the heartbeat of a node that hears 63 others and has checks in 32 pools.
const UNABLE_LEAST: usize = 4;
/// After the first refusal of the kernel, nothing is offered for twice this; doubled each time.
const REFUSED_MIN: Duration = Duration::from_secs(15);
/// The doubling of [`REFUSED_MIN`] ends here.
const REFUSED_MAX: Duration = Duration::from_secs(3600);

/// How many groups that it cannot hold fit the heartbeat of a node that hears so many others.
#[must_use]
pub fn unable_max(heard: usize) -> usize {
    (UNABLE_LEAST + NODES_MAX.saturating_sub(heard + 1)).min(UNABLE_MAX)
}

/// How long a group is not offered to a node whose kernel has refused it so many times in a row.
pub(super) fn refused_for(failures: u32) -> Duration {
    REFUSED_MIN.saturating_mul(2_u32.saturating_pow(failures.min(8))).min(REFUSED_MAX)
}

impl GroupHere {
    /// Why peers should not offer the group to this node.
    fn told(&self, now: Instant) -> Option<Inability> {
        let refused = self.refused.filter(|(_, until)| now < *until).map(|(why, _)| why);
        self.unconnected().or(refused)
    }
}

impl Node {
    /// Follows what this node cannot hold. Peers are told a change at once, but not each of many
    /// groups by a heartbeat of its own.
    pub(super) fn revise_inabilities(&mut self) {
        let now = self.now;
        let pause = self.configuration.timing.retry;
        let stale = self.unable_stale && now.since(self.unable_at) >= pause;
        if !stale && now < self.heartbeat_due {
            return;
        }
        (self.unable_stale, self.unable_at) = (false, now);
        let known = |group: &GroupKey| self.configuration.groups.contains_key(group);
        let told = self.groups.iter().filter(|(group, _)| known(group));
        let told = told.filter_map(|(group, here)| Some((*group, here.told(now)?)));
        let told: Vec<(GroupKey, Inability)> = told.take(unable_max(self.peers.len())).collect();
        let tells = told != self.unable;
        self.unable = told;
        if tells && now < self.heartbeat_due {
            self.beat(false);
        }
    }

    /// When a change of that is to be told.
    pub(super) fn inability_deadline(&self) -> Instant {
        let due = self.unable_at + self.configuration.timing.retry;
        if self.unable_stale { due } else { Instant::NEVER }
    }

    /// Takes in what a peer says that it cannot hold.
    pub(super) fn hear_inabilities(&mut self, from: NodeId, list: &[(GroupKey, Inability)]) {
        let now = self.now;
        let counts = self.holds(Rule::InabilityIsFall);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let list: BTreeMap<GroupKey, Inability> = list.iter().copied().take(UNABLE_MAX).collect();
        if peer.unable == list {
            return;
        }
        let begun = peer.said.phase == Some(NodePhase::Listening);
        let fell = list.keys().any(|group| !peer.unable.contains_key(group));
        peer.unable = list;
        if fell && !begun && counts {
            peer.flapped(now);
        }
        self.evaluate = true;
        self.heirs_among.clear();
        self.heirs_due = self.heirs_due.min(now + self.configuration.timing.heartbeat);
    }

    /// Why a node cannot hold a group, as it says.
    pub(super) fn unable(&self, node: NodeId, group: GroupKey) -> Option<Inability> {
        if node == self.configuration.me {
            return self.groups.get(&group).and_then(|here| here.told(self.now));
        }
        self.peers.get(&node).and_then(|peer| peer.unable.get(&group)).copied()
    }

    /// For how long yet a node is offered nothing that can wait, because it fell too often.
    pub(super) fn damped_for(&self, now: Instant, node: NodeId) -> Option<Duration> {
        let until = self.peers.get(&node)?.damped_until(now)?;
        Some(until.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_doubles_the_time_up_to_an_hour() {
        let seconds = |failures| refused_for(failures).as_secs();
        let table = [(1, 30), (2, 60), (3, 120), (4, 240), (7, 1920), (8, 3600), (99, 3600)];
        for (failures, expected) in table {
            assert_eq!(seconds(failures), expected, "{failures}");
        }
    }

    #[test]
    fn the_more_are_heard_the_fewer_groups_are_named() {
        assert_eq!([0, 2, 35, 40, 63].map(unable_max), [32, 32, 32, 27, 4]);
    }
}
