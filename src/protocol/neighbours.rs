//! Whether the neighbourhood follows: verified takeovers, and hosts that owners tell each other of.
//!
//! After the first announcement the kernel side finds out which neighbours resolve the addresses to
//! this host, and tells those that do not, one by one (`kernel/convergence`). What is decided here
//! is when to ask, what the outcome means, and who is told of which hosts. An owner's neighbour
//! table knows who talks to its addresses; its successor may know nobody, and a switch that holds
//! back broadcasts would leave the clients of a dead owner in the dark until their own timers end.
//! So owners tell each other, from time to time and unacknowledged; a lost list comes again.

use std::time::Duration;

use super::announcements::REPEATS;
use super::group::Holding;
use super::node::Node;
use super::types::{
    Action, Cause, Convergence, Epoch, GroupKey, Instant, Message, NEIGHBOURS_V4_MAX,
    NEIGHBOURS_V6_MAX, Neighbour, NodeId, Report, Rule,
};

/// What is known of whether the neighbours resolve a group to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Following {
    /// When the kernel had the addresses.
    added_at: Instant,
    /// When the kernel side was asked last.
    asked_at: Instant,
    known: Known,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Nobody has answered yet, or nobody ever does.
    Nothing,
    /// Some neighbours do not follow.
    Short,
    /// All followed, so long after the addresses were added.
    Converged(Duration),
}

impl Following {
    pub(super) const fn new(added_at: Instant) -> Self {
        Self { added_at, asked_at: added_at, known: Known::Nothing }
    }

    /// How long after the addresses were added all neighbours resolved them to this host.
    pub(super) const fn converged(&self) -> Option<Duration> {
        match self.known {
            Known::Converged(after) => Some(after),
            Known::Nothing | Known::Short => None,
        }
    }
}

impl Node {
    /// Has a group verified that is about to be announced: at the beginning of each course, and at
    /// each refresh as long as not all are known to follow.
    pub(super) fn verify_what_is_announced(&mut self, group: GroupKey) {
        let rounds = self.announcements.rounds(group);
        let now = self.env.now;
        let before = self.claims.latest(group).and_then(|claim| former_owner(claim.cause));
        let Some(here) = self.groups.get_mut(&group) else { return };
        let Holding::Held { epoch, .. } = here.holding else { return };
        let refresh = rounds > REPEATS.len() + 1;
        let wanted = rounds == 1 || refresh && here.following.converged().is_none();
        if wanted {
            here.following.asked_at = now;
            if self.enforces(Rule::VerifyFollowing) {
                self.env.actions.push(Action::Verify { group, epoch, before });
            }
        }
    }

    /// Takes in what the kernel side found out.
    pub(super) fn verified(&mut self, group: GroupKey, epoch: Epoch, outcome: Convergence) {
        let Some(here) = self.groups.get_mut(&group) else { return };
        let current = matches!(here.holding, Holding::Held { epoch: held, .. } if held == epoch);
        if !current || outcome.asked == 0 {
            return;
        }
        let following = &mut here.following;
        let known = following.known;
        if outcome.answered < outcome.asked {
            following.known = Known::Short;
            if known != Known::Short {
                self.report(Report::NotConverged { group, epoch, outcome });
            }
        } else if following.converged().is_none() {
            let after = following.asked_at.since(following.added_at) + outcome.after;
            following.known = Known::Converged(after);
            self.report(Report::Converged { group, epoch, hosts: outcome.asked, after });
        }
    }

    /// Tells the peers which hosts this node has to do with, if it owns something.
    pub(super) fn share_neighbours(&mut self, hosts: &[Neighbour]) {
        let owns = self.groups.values().any(|here| matches!(here.holding, Holding::Held { .. }));
        if !owns || !self.enforces(Rule::ShareNeighbours) {
            return;
        }
        let v4 = hosts.iter().filter(|host| host.address.is_ipv4()).take(NEIGHBOURS_V4_MAX);
        let v6 = hosts.iter().filter(|host| host.address.is_ipv6()).take(NEIGHBOURS_V6_MAX);
        let hosts: Vec<Neighbour> = v4.chain(v6).copied().collect();
        let living = self.peers.iter().filter(|(_, peer)| peer.alive());
        let living: Vec<NodeId> = living.map(|(node, _)| *node).collect();
        for to in living {
            let message = Message::Neighbours(hosts.clone());
            self.env.actions.push(Action::Send { to, message });
        }
    }

    /// Hands on what a peer tells; the kernel side keeps the last list of each.
    pub(super) fn on_neighbours(&mut self, from: NodeId, hosts: Vec<Neighbour>) {
        self.env.actions.push(Action::Acquaint { from, hosts });
    }
}

/// Who had the group before the one whose claim gives this cause.
const fn former_owner(cause: Cause) -> Option<NodeId> {
    match cause {
        Cause::FirstClaim => None,
        Cause::Silence(node)
        | Cause::Restart(node)
        | Cause::Deaf(node)
        | Cause::Departure(node)
        | Cause::Inability(node)
        | Cause::Balance(node)
        | Cause::Drain(node)
        | Cause::Operator(node)
        | Cause::Failback(node)
        | Cause::Checks(node)
        | Cause::Placement(node)
        | Cause::HandedOver(node)
        | Cause::Removed(node)
        | Cause::AddressConflict(node)
        | Cause::Conflict(node)
        | Cause::TakenBack(node) => Some(node),
    }
}
