//! What routers outside the cluster have of a group, as VRRP tells, and what becomes of the group.
//!
//! `vrrp` makes it of advertisements, the same at every member that hears them. While it is not known,
//! or one prevails, no member takes the group; the owner lets go of it at the first word of one that
//! prevails. Of one that is to give way the group is taken although it answers: it hears the owner
//! and goes. Who is configured otherwise is nobody to agree with: then the answers of the network
//! decide, as for a group that is no virtual router.
//!
//! A node that leaves and has no member to hand over to says outside that it stops and answers on until
//! a router there says that it has the group, or for [`YIELD_WITHIN`].

use std::time::Duration;

use super::group::{Holding, Purpose};
use super::node::Node;
use super::ownership::GroupHere;
use super::peers::Peer;
use super::types::{
    GroupKey, HardwareAddress, Inability, Instant, NodeId, NodePhase, Outside, Report, Rule,
    Verdict, Voice,
};

/// The last router outside has waited for its skew after this: 1 s at priority 1 and an interval of
/// 1 s (0.998 s measured with keepalived). A stop of the daemon takes 2 s at most.
const YIELD_WITHIN: Duration = Duration::from_millis(1100);

impl GroupHere {
    /// Whether no member may take it. When that ends all know it in the same moment, so places in
    /// line count from then.
    pub(super) fn is_withheld(&self) -> bool {
        self.conflict.outside.is_some_and(Outside::withholds)
    }
}

impl Node {
    /// Takes in what routers outside have of a group.
    pub(super) fn outside(&mut self, group: GroupKey, outside: Option<Outside>) {
        let heeded = self.enforces(Rule::RouterPrevails);
        let outside =
            outside.map(|it| if heeded || !it.withholds() { it } else { Outside::Nobody });
        let Some(here) = self.groups.get_mut(&group) else { return };
        let before = std::mem::replace(&mut here.conflict.outside, outside);
        if before == outside {
            return;
        }
        if let (Some(Outside::Prevails(Some(hardware))), Some(Outside::Nobody)) = (before, outside)
        {
            here.conflict.conflict_stops(hardware, self.env.now);
        }
        let meant = here.holding.meant();
        self.evaluate = true;
        let Some(outside) = outside else { return };
        match outside {
            Outside::Nobody | Outside::GivesWay(_) | Outside::Unknown => {}
            Outside::Differs(_) => {
                self.report(Report::Unable { group, why: Inability::Outside(outside) });
            }
            Outside::Prevails(_) => {
                self.report(Report::Unable { group, why: Inability::Outside(outside) });
                if meant {
                    self.let_go(group, Purpose::Free);
                }
            }
        }
    }

    /// Whether a host that answers for the group, and whose node has left, is a router outside: during a
    /// migration keepalived is started where buoy was stopped.
    pub(super) fn left_to_a_router(&self, node: NodeId, group: GroupKey) -> bool {
        let router = self.groups.get(&group).is_some_and(|here| here.conflict.outside.is_some());
        router && self.peers.get(&node).is_some_and(|peer| peer.verdict == Verdict::Left)
    }

    /// Whether whoever answers for the group at this hardware address gives it to its owner.
    pub(super) fn is_to_give_way(&self, group: GroupKey, hardware: HardwareAddress) -> bool {
        let outside = self.groups.get(&group).and_then(|here| here.conflict.outside);
        outside == Some(Outside::GivesWay(Some(hardware))) && self.enforces(Rule::RouterGivesWay)
    }

    /// Whether the group, which no member can be handed, is first given to whoever is next outside.
    pub(super) fn yields_first(&mut self, group: GroupKey) -> bool {
        let (now, enforced) = (self.env.now, self.enforces(Rule::YieldsFirst));
        let Some(here) = self.groups.get_mut(&group) else { return false };
        let held = matches!(here.holding, Holding::Held { .. });
        match here.conflict.outside {
            Some(Outside::Nobody | Outside::GivesWay(_)) if held && enforced => {}
            Some(_) | None => return false,
        }
        let until = *here.conflict.yields_until.get_or_insert(now + YIELD_WITHIN);
        now < until
    }

    /// When a group that is being given to the outside goes in any case.
    pub(super) fn yield_deadline(&self) -> Instant {
        let held = self.groups.values().filter(|here| here.holding.meant());
        held.filter_map(|here| here.conflict.yields_until).min().unwrap_or(Instant::NEVER)
    }

    /// Returns what this node is to routers outside, for this group.
    #[must_use]
    pub fn voice(&self, group: GroupKey) -> Voice {
        let sure = matches!(self.phase, NodePhase::Active | NodePhase::Leaving);
        match self.groups.get(&group) {
            Some(here) if sure && matches!(here.holding, Holding::Held { .. }) => {
                match here.conflict.yields_until {
                    Some(_) => Voice::Yields,
                    None => Voice::Speaks,
                }
            }
            Some(_) | None => Voice::Silent,
        }
    }

    /// Returns the other members that have been heard and have not left, each with the hardware
    /// addresses that it has told, and whether it lives.
    pub fn members(&self) -> impl Iterator<Item = (NodeId, bool, &[HardwareAddress])> {
        let there = |peer: &Peer| peer.alive() || peer.verdict == Verdict::Dead;
        let peers = self.peers.iter().filter(move |(_, peer)| there(peer));
        peers.map(|(node, peer)| (*node, peer.alive(), peer.hardware.as_slice()))
    }
}
