//! Links and networks of the groups at this node: what comes and goes of them, and what follows.
//!
//! A group is let go when its link is down. So it is when the host has lost the network of it while
//! the link is up (its own address was removed, the lease of DHCP was lost), if any other node was
//! heard lately: neighbours outside of the network cannot be answered, and a host that has lost its
//! own address mostly hears no other node by then. With nobody to take the group it goes on
//! serving.

use std::time::Duration;

use super::group::{Holding, Purpose};
use super::node::Node;
use super::ownership::GroupHere;
use super::types::{Attachment, GroupKey, Inability, NodePhase, Report, Rule};

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
        let relieved = self.heard_lately() && self.enforces(Rule::LostNetworkReleases);
        let why = |here: &GroupHere| match (here.usable, here.attachment) {
            (false, _) => Some(Inability::LinkDown),
            (true, Attachment::Lost) if relieved => Some(Inability::NetworkLost),
            (true, _) => None,
        };
        let held = self.groups.iter().filter(|(_, here)| here.holding.meant());
        let down: Vec<(GroupKey, Inability)> =
            held.filter_map(|(group, here)| Some((*group, why(here)?))).collect();
        for (group, why) in down {
            self.report(Report::Unable { group, why });
            self.let_go(group, Purpose::Free);
        }
    }

    /// Whether another node can be expected to take what this node lets go. A host that has lost
    /// its own address often hears nobody from then on.
    fn heard_lately(&self) -> bool {
        let lately = self.env.configuration.timing.detection() + RELIEF;
        let mut heard = self.peers.values().filter_map(|peer| peer.heard_at);
        heard.any(|at| self.env.now.since(at) <= lately)
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
        let alone = !self.peers.is_empty() && !self.peers.values().any(super::peers::Peer::alive);
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
