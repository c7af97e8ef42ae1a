//! Groups that nodes cannot hold: what each tells its peers, and what they make of it.
//!
//! A node cannot hold a group whose link is down, whose network is lost or unknown, or which its
//! kernel has refused lately. Of itself it knows that from what it notes in [`GroupHere`], of each
//! peer from one record ([`Inabilities`]), and [`Node::unable`] is where placement, heirs, orders and
//! what people are told ask for either.
//!
//! ```text
//!   heartbeat: as many as fit ---+
//!                                +--> Inabilities of the peer --> Node::unable
//!   answer to an offer: of all --+
//! ```
//!
//! Nobody offers a node such a group, in whatever kind of planned move, nor names it as heir, for
//! [`BELIEVED`] after it has said so, or until it says otherwise: a refusal is forgotten when the
//! group was held, when its link has changed, at a reload, or after a time that doubles with each
//! refusal. That a node cannot hold what it could before is a fall, like a death or a restart: who
//! falls too often is offered nothing that can wait (`Damping`). A group that nobody owns is taken as
//! ever: whoever cannot, does not.

use std::collections::BTreeMap;
use std::time::Duration;

use super::group::{Holding, Purpose};
use super::node::Node;
use super::ownership::GroupHere;
use super::types::{
    Failure, GroupKey, Inability, Instant, NodeId, NodePhase, Rule, UNABLE_LEAST, UNABLE_MAX,
    unable_max,
};

/// What a node has said is believed for so long: its heartbeats say it again and again, and an answer
/// to an offer does while an owner that drains offers again.
const BELIEVED: Duration = Duration::from_secs(60);
/// After the first failure to hold a group it is not offered for twice this; doubled each time.
const REFUSED_MIN: Duration = Duration::from_secs(15);
/// The doubling of [`REFUSED_MIN`] ends here.
const REFUSED_MAX: Duration = Duration::from_secs(3600);
/// A node that failed to hold a group tries again after this, doubled each time.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The doubling of [`BACKOFF_MIN`] ends here.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// That a node cannot hold a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) why: Inability,
    /// Since when this node knows it.
    pub(super) since: Instant,
}

/// Why this node was not able to hold a group when it tried last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    why: Inability,
    /// When it tried.
    since: Instant,
    /// Until when it does not try again by itself.
    pub(super) retry_at: Instant,
    /// Until when peers are told.
    told_until: Instant,
}

impl Refused {
    /// Refused now, after so many failures before.
    pub(super) fn new(now: Instant, why: Inability, failures: u32, backs_off: bool) -> Self {
        let pause = BACKOFF_MIN * 2_u32.saturating_pow(failures.min(6));
        let pause = if backs_off { pause.min(BACKOFF_MAX) } else { Duration::ZERO };
        let told_until = now + refused_for(why, failures.saturating_add(1));
        Self { why, since: now, retry_at: now + pause, told_until }
    }
}

/// How long a group is not offered to a node whose kernel has refused it so many times in a row. What
/// a kernel does not permit, such as IPv6 where that is off, it does not permit the next time either:
/// each try would end the group's connections where it is.
fn refused_for(why: Inability, failures: u32) -> Duration {
    if why == Inability::Kernel(Failure::NotPermitted) {
        return REFUSED_MAX;
    }
    REFUSED_MIN.saturating_mul(2_u32.saturating_pow(failures.min(8))).min(REFUSED_MAX)
}

impl GroupHere {
    /// Why this node does not try to hold the group now, whichever node has it. A lost network is
    /// none if the node is to serve without, because no other is better off.
    pub(super) fn obstacle(&self, now: Instant, without_network: bool) -> Option<Inability> {
        let refused = self.refused.filter(|refused| now < refused.retry_at);
        let refused = refused.map(|refused| refused.why);
        let outside = self.conflict.outside.filter(|outside| outside.withholds());
        let lost = |why: &Inability| *why == Inability::NetworkLost;
        let unconnected = self.unconnected().filter(|why| !(without_network && lost(why)));
        unconnected.or(outside.map(Inability::Outside)).or(refused)
    }

    /// Why this node cannot hold the group, as it tells others.
    fn told(&self, now: Instant) -> Option<Told> {
        let refused = self.refused.filter(|refused| now < refused.told_until);
        let unconnected = self.unconnected().map(|why| Told { why, since: self.connection_since });
        unconnected.or(refused.map(|refused| Told { why: refused.why, since: refused.since }))
    }
}

/// Groups that a peer cannot hold, as it has said by either message.
#[derive(Clone, Debug, Default)]
pub(super) struct Inabilities {
    known: BTreeMap<GroupKey, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Since when it is said.
    told: Told,
    /// When it was said last.
    said_at: Instant,
    /// Whether its last heartbeat named it; else an answer to an offer did.
    listed: bool,
}

/// What became known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct News {
    /// Something that placement depends on.
    changed: bool,
    /// The peer cannot hold what it could before.
    fell: bool,
}

impl Inabilities {
    /// Takes in the list of a heartbeat: what the last one named and this one does not, the peer can
    /// hold again. A list that is shorter than any that had to be cut is complete.
    fn listed(&mut self, now: Instant, list: &[(GroupKey, Inability)]) -> News {
        let list = list.get(..UNABLE_MAX).unwrap_or(list);
        let complete = list.len() < UNABLE_LEAST;
        let named = |group: &GroupKey| list.iter().any(|(named, _)| named == group);
        let before = self.known.len();
        self.known.retain(|group, known| {
            named(group) || !(known.listed || complete || is_over(known, now))
        });
        let gone = self.known.len() < before;
        let news = self.note(now, list, true);
        News { changed: news.changed || gone, ..news }
    }

    /// Takes in what the peer has answered to an offer of these groups.
    fn answered(
        &mut self,
        now: Instant,
        offered: &[GroupKey],
        list: &[(GroupKey, Inability)],
    ) -> News {
        let list: Vec<(GroupKey, Inability)> =
            list.iter().filter(|(group, _)| offered.contains(group)).copied().collect();
        let named = |group: &GroupKey| list.iter().any(|(named, _)| named == group);
        let before = self.known.len();
        self.known.retain(|group, known| {
            named(group) || !(offered.contains(group) || is_over(known, now))
        });
        let gone = self.known.len() < before;
        let news = self.note(now, &list, false);
        News { changed: news.changed || gone, ..news }
    }

    fn note(&mut self, now: Instant, list: &[(GroupKey, Inability)], listed: bool) -> News {
        let mut news = News::default();
        for (group, why) in list {
            let known = self.known.get(group).copied().filter(|known| !is_over(known, now));
            news.fell |= known.is_none();
            news.changed |= known.is_none_or(|known| known.told.why != *why);
            let since = known.map_or(now, |known| known.told.since);
            let listed = listed || known.is_some_and(|known| known.listed);
            let told = Told { why: *why, since };
            self.known.insert(*group, Known { told, said_at: now, listed });
        }
        news
    }

    /// What it has said of a group.
    fn of(&self, now: Instant, group: GroupKey) -> Option<Told> {
        self.known.get(&group).filter(|known| !is_over(known, now)).map(|known| known.told)
    }

    /// Forgets all: another life may be able to.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }
}

fn is_over(known: &Known, now: Instant) -> bool {
    now.since(known.said_at) >= BELIEVED
}

impl Node {
    /// Gives up what a kernel side that hangs has not added.
    pub(super) fn revise_kernel_work(&mut self) {
        if !self.kernel_work.revise(&self.env) {
            return;
        }
        let adding =
            self.groups.iter().filter(|(_, here)| matches!(here.holding, Holding::Adding { .. }));
        let adding: Vec<GroupKey> = adding.map(|(group, _)| *group).collect();
        for group in adding {
            self.let_go(group, Purpose::Free);
            self.published_release(group, Purpose::Free);
            self.disable(group, Inability::Kernel(Failure::Timeout));
        }
    }

    /// Follows what this node cannot hold. Peers are told a change at once, but not each of many
    /// groups by a heartbeat of its own.
    pub(super) fn revise_inabilities(&mut self) {
        let now = self.env.now;
        let pause = self.env.configuration.timing.retry;
        let stale = self.unable_stale && now.since(self.unable_at) >= pause;
        if !stale && now < self.heartbeat_due {
            return;
        }
        if !self.unable_stale && self.unable.is_empty() {
            // Without a change nothing is told that was not told before: no group is looked at.
            self.unable_at = now;
            return;
        }
        (self.unable_stale, self.unable_at) = (false, now);
        self.unable_looks += 1;
        let known = |group: &GroupKey| self.env.configuration.groups.contains_key(group);
        let told = self.groups.iter();
        let told = told.filter_map(|(group, here)| Some((*group, here.told(now)?.why)));
        let told = told.filter(|(group, _)| known(group));
        let told: Vec<(GroupKey, Inability)> = told.take(unable_max(self.peers.len())).collect();
        let tells = told != self.unable;
        self.unable = told;
        if tells && now < self.heartbeat_due {
            self.beat(false);
        }
    }

    /// When a change of that is to be told.
    pub(super) fn inability_deadline(&self) -> Instant {
        let due = self.unable_at + self.env.configuration.timing.retry;
        if self.unable_stale { due } else { Instant::NEVER }
    }

    /// Takes in what a peer says in a heartbeat that it cannot hold.
    pub(super) fn hear_inabilities(&mut self, from: NodeId, list: &[(GroupKey, Inability)]) {
        let now = self.env.now;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let news = peer.unable.listed(now, list);
        self.follow_inabilities(from, news);
    }

    /// Takes in what a peer that was offered these groups says that it cannot hold.
    pub(super) fn note_declined(
        &mut self,
        from: NodeId,
        offered: &[GroupKey],
        list: &[(GroupKey, Inability)],
    ) {
        let now = self.env.now;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let news = peer.unable.answered(now, offered, list);
        self.follow_inabilities(from, news);
    }

    fn follow_inabilities(&mut self, from: NodeId, news: News) {
        let now = self.env.now;
        let counts = self.enforces(Rule::InabilityIsFall);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let begun = peer.said.phase == Some(NodePhase::Listening);
        if news.fell && !begun && counts {
            peer.flapped(now);
        }
        if news.changed {
            self.evaluate = true;
            self.heirs_among.clear();
            self.heirs_due = self.heirs_due.min(now + self.env.configuration.timing.heartbeat);
        }
    }

    /// Why a node cannot hold a group, as it says.
    pub(super) fn unable(&self, node: NodeId, group: GroupKey) -> Option<Inability> {
        self.told_unable(self.env.now, node, group).map(|told| told.why)
    }

    /// The same with since when.
    pub(super) fn told_unable(&self, now: Instant, node: NodeId, group: GroupKey) -> Option<Told> {
        if node == self.env.configuration.me {
            return self.groups.get(&group).and_then(|here| here.told(now));
        }
        self.peers.get(&node).and_then(|peer| peer.unable.of(now, group))
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
        let seconds = |failures| refused_for(Inability::FlushWar, failures).as_secs();
        let table = [(1, 30), (2, 60), (3, 120), (4, 240), (7, 1920), (8, 3600), (99, 3600)];
        for (failures, expected) in table {
            assert_eq!(seconds(failures), expected, "{failures}");
        }
        let refused = Inability::Kernel(Failure::NotPermitted);
        assert_eq!(refused_for(refused, 1), REFUSED_MAX, "nor is it the next time");
    }

    const LINK: (GroupKey, Inability) = (GroupKey(1), Inability::LinkDown);
    const WAR: (GroupKey, Inability) = (GroupKey(2), Inability::FlushWar);

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    #[test]
    fn both_messages_feed_one_record() {
        let mut peer = Inabilities::default();
        let news = |changed, fell| News { changed, fell };
        assert_eq!(peer.listed(at(0), &[LINK]), news(true, true));
        let offered = [LINK.0, WAR.0];
        assert_eq!(peer.answered(at(1), &offered, &[LINK, WAR]), news(true, true));
        let told = |(_, why): (GroupKey, Inability), since| Some(Told { why, since });
        assert_eq!(peer.of(at(1), LINK.0), told(LINK, at(0)), "it was said before");
        assert_eq!(peer.answered(at(2), &offered, &[LINK, WAR]), news(false, false));
        assert_eq!(peer.of(at(2), WAR.0), told(WAR, at(1)));
        assert_eq!(peer.answered(at(3), &[WAR.0], &[]), news(true, false), "it takes it");
        assert_eq!((peer.of(at(3), WAR.0), peer.of(at(3), LINK.0).is_some()), (None, true));
        assert_eq!(peer.answered(at(4), &[WAR.0], &[LINK]), news(false, false), "not asked");
    }

    #[test]
    fn what_is_said_ends_when_it_is_said_no_more() {
        let mut peer = Inabilities::default();
        peer.answered(at(0), &[WAR.0], &[WAR]);
        peer.listed(at(0), &[LINK]);
        assert_eq!(peer.of(at(0), WAR.0), None, "a short list is complete");
        let long: Vec<_> = (10..20).map(|group| (GroupKey(group), LINK.1)).collect();
        peer.listed(at(1), &long);
        peer.answered(at(1), &[WAR.0], &[WAR]);
        peer.listed(at(2), &long[1..]);
        assert_eq!(peer.of(at(2), long[0].0), None, "it was listed and is not any more");
        let cut = peer.of(at(60), WAR.0).map(|told| told.since);
        assert_eq!(cut, Some(at(1)), "the list may have been cut");
        assert_eq!(peer.of(at(61), WAR.0), None, "60 seconds");
        assert_eq!(peer.of(at(62), long[1].0), None, "from heartbeats no longer");
    }

    #[test]
    fn the_more_are_heard_the_fewer_groups_are_named() {
        assert_eq!([0, 2, 35, 40, 63].map(unable_max), [32, 32, 30, 25, 2]);
    }
}
