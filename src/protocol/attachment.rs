//! Links and networks of the groups at this node: what comes and goes of them, and what follows.
//!
//! A group is let go when its link is down. So it is when the host has lost the network of it while
//! the link is up (its own address was removed, the lease of DHCP was lost, the link carries in one
//! direction only), if another node was heard lately that has not said that it cannot hold the group
//! either: neighbours outside of the network cannot be answered, and a host that has lost its
//! own address mostly hears no other node by then. While no other node is better off it goes on
//! serving, and takes what is vacant: a fault common to all moves nothing.

use std::time::Duration;

use super::group::{Holding, Purpose};
use super::node::Node;
use super::ownership::GroupHere;
use super::paths::Living;
use super::peers::Peer;
use super::types::{
    Attachment, GroupKey, Inability, Instant, NodeId, NodePhase, PathReport, Report, Rule, Verdict,
};

/// Whoever was heard within this, besides the time of detection, is expected to take what a node
/// lets go that has lost the network of it: longer than the kernel side waits before it tells the
/// loss.
const RELIEF: Duration = Duration::from_secs(2);

impl GroupHere {
    /// What its links and networks lack.
    pub(super) fn unconnected(&self) -> Option<Inability> {
        match (self.usable, self.attachment) {
            (_, Attachment::Unknown) => Some(Inability::NoNetwork),
            (false, Attachment::Attached | Attachment::Lost) => Some(Inability::LinkDown),
            (true, Attachment::Lost) => Some(Inability::NetworkLost),
            (true, Attachment::Attached) => None,
        }
    }
}

impl Node {
    /// Lets go what cannot be answered here.
    pub(super) fn let_go_of_what_is_down(&mut self) {
        let releases = self.enforces(Rule::LostNetworkReleases);
        let why = |group: GroupKey, here: &GroupHere| match (here.usable, here.attachment) {
            (false, _) => Some(Inability::LinkDown),
            (true, Attachment::Lost) if releases && self.relieved(group) => {
                Some(Inability::NetworkLost)
            }
            (true, _) => None,
        };
        let held = self.groups.iter().filter(|(_, here)| here.holding.meant());
        let down: Vec<(GroupKey, Inability)> =
            held.filter_map(|(group, here)| Some((*group, why(*group, here)?))).collect();
        for (group, why) in down {
            self.report(Report::Unable { group, why });
            self.let_go(group, Purpose::Free);
        }
    }

    /// Whether another node can be expected to take a group whose network this node has lost. What it
    /// lets go for this it does not take again.
    pub(super) fn relieved(&self, group: GroupKey) -> bool {
        self.relieved_until(group) > self.env.now
    }

    /// Until when another node, as last heard, can be expected to do that. A host that has lost its own
    /// address often hears no node from then on.
    pub(super) fn relieved_until(&self, group: GroupKey) -> Instant {
        let lately = self.env.configuration.timing.detection() + RELIEF;
        let better =
            self.peers.iter().filter(|(node, peer)| self.is_better_off(**node, peer, group));
        let heard = better.filter_map(|(_, peer)| peer.heard_at);
        heard.max().map_or(Instant::START, |at| at + lately)
    }

    /// When a vacant group that this node cannot take is to be examined again.
    pub(super) fn retry_at(&self, group: GroupKey) -> Instant {
        let now = self.env.now;
        let here = self.groups.get(&group);
        let at =
            here.filter(|here| here.holding == Holding::Idle && here.usable).and_then(|here| {
                let refused = here.refused.map(|refused| refused.retry_at).filter(|at| *at > now);
                let lost = here.attachment == Attachment::Lost;
                refused.or_else(|| lost.then(|| self.relieved_until(group)).filter(|at| *at > now))
            });
        at.unwrap_or(Instant::NEVER)
    }

    fn is_better_off(&self, node: NodeId, peer: &Peer, group: GroupKey) -> bool {
        let takes = peer.owns
            && peer.verdict != Verdict::Left
            && peer.said.phase == Some(NodePhase::Active)
            && !peer.said.draining
            && self.unable(node, group).is_none()
            && self.paths.hears_more(node);
        takes || !self.enforces(Rule::LostNetworkKept)
    }

    /// Peers that are heard, for what is made of the paths on which they are.
    fn living(&self) -> Vec<Living> {
        let heard = self.peers.iter().filter(|(_, peer)| peer.verdict == Verdict::Up);
        let living = |(node, peer): (&NodeId, &Peer)| {
            let acts = matches!(peer.said.phase, Some(NodePhase::Active | NodePhase::Leaving));
            Living { node: *node, lease: peer.lease(), acts }
        };
        heard.map(living).collect()
    }

    /// What a peer is to know of the paths on which it is heard here.
    pub(super) fn path_reports(&self, to: NodeId) -> Vec<PathReport> {
        if self.env.configuration.paths < 2 {
            return Vec::new();
        }
        self.paths.report(&self.env, to, &self.living())
    }

    /// Follows which paths of this node work in one direction only.
    pub(super) fn revise_paths(&mut self) {
        let alone = !self.peers.values().any(Peer::alive);
        let living = self.living();
        self.paths.revise(&mut self.env, &living, alone);
    }

    /// A link went or came. One that comes may be behind a port that does not forward yet, and
    /// what was taken meanwhile on the other side of it is not known: alone, listen first (H45 in
    /// docs/invariants.md).
    pub(super) fn link_changed(&mut self, group: GroupKey, usable: bool) {
        let Some(here) = self.groups.get_mut(&group) else { return };
        let came = usable && !here.usable;
        here.usable = usable;
        here.connection_since = self.env.now;
        here.refused = None;
        self.unable_stale = true;
        self.evaluate = true;
        let alone = !self.peers.is_empty() && !self.peers.values().any(Peer::alive);
        let acts = matches!(self.phase, NodePhase::Active | NodePhase::Isolated);
        if came && alone && acts && self.enforces(Rule::ListenAfterLink) {
            self.set_phase(NodePhase::Listening);
        }
    }

    /// The host has got, or lost, the network of a group.
    pub(super) fn attached(&mut self, group: GroupKey, attachment: Attachment) {
        if let Some(here) = self.groups.get_mut(&group) {
            here.attachment = attachment;
            here.connection_since = self.env.now;
            here.refused = None;
            self.unable_stale = true;
            self.evaluate = true;
        }
    }

    /// Neighbours find the addresses of a group elsewhere now.
    pub(super) fn moved(&mut self, group: GroupKey) {
        let holding = self.groups.get(&group).map(|here| here.holding);
        if matches!(holding, Some(Holding::Held { .. })) {
            self.start_announcing(group);
        }
    }
}
