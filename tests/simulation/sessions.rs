//! What the wire keeps from the core, as far as the core and its peers have a part in it.
//!
//! S8: what comes from a life that has not shown to be the present one changes nothing, but that
//! somebody is there. It is compared with what would be if only time had passed: a node that hears
//! nothing else may leave a group that it would have taken (rule `SensedIsThere`, seed 34924). S15:
//! nobody is sent what its software cannot read.

use buoy::protocol::{Event, GroupKey, Instant, Message, Node, Status};
use buoy::wire::{FEATURES, features_needed};

use crate::cluster::Cluster;
use crate::outlines::outline;

impl Cluster {
    /// The features that the software of a host tells.
    pub(crate) fn features(&self, host: usize) -> u64 {
        if self.options.older.contains(&host) { 0 } else { FEATURES }
    }

    /// S15: a message reaches a host.
    pub(crate) fn check_features(&mut self, host: usize, from: usize, message: &Message) {
        if features_needed(message) & !self.features(host) != 0 {
            let what = outline(message);
            self.flag("S15", format!("n{from} sends n{host} what it cannot read: {what}"));
        }
    }

    /// S8: something comes to a daemon from a life that is not proved.
    pub(crate) fn check_sensed(&mut self, host: usize, now: Instant, event: &Event) {
        let Some(node) = &self.hosts[host].node else { return };
        let after = |event: Event| {
            let mut node: Node = node.clone();
            drop(node.step(now, event));
            node.status(now)
        };
        let (before, without) = (node.status(now), after(Event::Timer));
        if let Some(what) = difference(&after(event.clone()), [&before, &without]) {
            self.flag("S8", format!("n{host}: {what} by what is not proved"));
        }
    }
}

/// What is as it was neither before nor after the time that has passed.
fn difference(with: &Status, known: [&Status; 2]) -> Option<String> {
    let peers = with.nodes.iter().filter(|node| {
        let same = |it: &&Status| {
            let mut nodes = it.nodes.iter();
            nodes.any(|other| {
                let other = (other.node, other.verdict, other.phase, other.last_heard);
                other == (node.node, node.verdict, node.phase, node.last_heard)
            })
        };
        !known.iter().any(same)
    });
    let peer = peers.map(|node| format!("{:?} is {:?}", node.node, node.verdict)).next();
    let owners = |status: &Status, group: GroupKey| {
        let mut groups = status.groups.iter().filter(|it| it.group == group);
        groups.next().map(|it| (it.owner, it.epoch))
    };
    let mut groups = with.groups.iter().filter_map(|group| {
        let is = Some((group.owner, group.epoch));
        let [before, without] = known.map(|status| owners(status, group.group));
        let would_take = without.is_some_and(|(owner, _)| owner == Some(with.me));
        let left =
            would_take && group.owner.is_none() && before.map(|it| it.1) == is.map(|it| it.1);
        let same = is == before || is == without || left;
        (!same).then(|| format!("{:?} is {is:?}, not {before:?} or {without:?}", group.group))
    });
    peer.or_else(|| groups.next())
}
