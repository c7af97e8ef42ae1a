//! Profile `auto`: which timing a node proposes by what it has measured, and which is in force.
//!
//! ```text
//!   own loop late, peer heard late  --- more than the level bears ---> proposal: slower, at once
//!                                   --- as long as peers wait -------> nothing faster than lan for days
//!   calm for minutes, nothing suspected -----------------------------> proposal: one level faster
//!
//!   in force: the slowest proposal of this node and all living peers
//!     slower than before: at once. This node still beats, and the kernel still answers for it, as
//!                         before for ten heartbeats: peers may not have heard of it yet
//!     faster:             one level, after ten seconds in which nothing is suspected
//! ```
//!
//! No order of events makes two nodes count with different lengths: each counts the silence of a
//! peer in the slower of its own timing and the one that the peer has stated (`membership`), so what
//! is slower counts as soon as either end knows it, and what is faster when both have said so.
//!
//! PROTOCOL.md, section 20, has the numbers.

use std::time::Duration;

use super::types::{Instant, NodeId, TimingLevel, TimingProposal, TimingReason};

/// How long all must be calm before a node proposes the next faster level; doubled when it proposes a
/// slower one after a faster one, so that it does not go to and fro.
const CALM_MIN: Duration = Duration::from_secs(300);
/// See [`CALM_MIN`]: four times doubled.
const CALM_MAX: Duration = Duration::from_secs(4800);
/// How long a node proposes nothing faster than `lan` after a lateness that lasted as long as peers
/// wait: a host that stands still each night, or each weekend, is taken over from once, not each time.
const WORST_KEPT: Duration = Duration::from_secs(8 * 24 * 3600);
/// Latenesses within this are of one time of trouble.
const ONE_TIME: Duration = Duration::from_secs(10);
/// Everybody has proposed something faster for so long before it is in force.
const FASTER_AFTER: Duration = Duration::from_secs(10);
/// Heartbeats at the former interval that still follow when a slower one is in force.
const FORMER_HEARTBEATS: u32 = 10;
/// Datagrams that a node sends per second with a level that is faster than `lan`, on all paths to all
/// peers together: `fast` to 16 peers on one path.
const DATAGRAMS_MAX: u128 = 800;

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct AdaptiveTiming {
    own: TimingProposal,
    /// In force.
    level: TimingLevel,
    /// Since when nothing was too late for the next faster level.
    calm_since: Instant,
    /// How long that must last.
    calm: Duration,
    /// Whether a faster level has been proposed since that was last doubled.
    tried_faster: bool,
    /// The latest time of trouble that `lan` would not have borne either.
    outage: Option<Instant>,
    /// Whether the first of them makes nothing slower than `lan`; not, in a test.
    excuses: bool,
    /// What is proposed at most because of the worst lateness, until when.
    worst: Option<(TimingProposal, Instant)>,
    /// Since when everybody has proposed something faster than what is in force.
    faster_since: Option<Instant>,
    /// How this node goes on to beat until then.
    former: Option<(TimingLevel, Instant)>,
}

/// What the rule must know of the rest of the node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    /// Datagrams that each heartbeat takes: one for each peer on each path.
    pub(super) datagrams: usize,
    /// Nothing is suspected, and no takeover is going on.
    pub(super) quiet: bool,
    /// The slowest level of the living peers.
    pub(super) slowest: Option<TimingLevel>,
    /// Whether the slowest proposal counts; not, in one test.
    pub(super) slowest_counts: bool,
    /// Whether the rule waits before anything faster; not, in another.
    pub(super) tightens_slowly: bool,
    /// Whether the worst lateness is remembered for days; not, in a third.
    pub(super) worst_kept: bool,
    /// Whether the first outage makes nothing slower than `lan`; not, in a fourth.
    pub(super) outages_excused: bool,
}

/// What has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// The level that was in force, if another is now.
    pub(super) from: Option<TimingLevel>,
    /// Peers must hear of it at once.
    pub(super) slower: bool,
}

impl AdaptiveTiming {
    /// Returns the rule of a node that starts, or that goes on with these levels: in force, and
    /// proposed.
    pub(super) fn new(now: Instant, (level, own): (TimingLevel, TimingLevel)) -> Self {
        let reason = TimingReason::NotLongCalm;
        Self {
            own: TimingProposal { level: own, reason, lateness: Duration::ZERO },
            level: level.max(own),
            calm_since: now,
            calm: CALM_MIN,
            tried_faster: false,
            outage: None,
            excuses: true,
            worst: None,
            faster_since: None,
            former: None,
        }
    }

    /// Returns what this node proposes.
    pub(super) const fn proposal(&self) -> TimingProposal {
        self.own
    }

    /// Returns what is in force.
    pub(super) const fn level(&self) -> TimingLevel {
        self.level
    }

    /// Returns the level at which this node still beats although a slower one is in force.
    pub(super) fn former(&self, now: Instant) -> Option<TimingLevel> {
        self.former.filter(|(_, until)| now < *until).map(|(level, _)| level)
    }

    /// Takes in how late this node has run.
    pub(super) fn note_loop(&mut self, now: Instant, lateness: Duration) {
        self.note(now, lateness, (TimingReason::Loop, self.own.level));
    }

    /// Takes in how much later than it had said a peer was heard. A datagram that gets lost makes this
    /// longer the slower the heartbeats in force are, so these must not bear it.
    pub(super) fn note_spacing(&mut self, now: Instant, lateness: Duration) {
        self.note(now, lateness, (TimingReason::Spacing, self.own.level.max(self.level)));
    }

    fn note(
        &mut self,
        now: Instant,
        lateness: Duration,
        (reason, bearing): (TimingReason, TimingLevel),
    ) {
        if lateness <= self.own.level.faster().calm() {
            return;
        }
        self.calm_since = now;
        // What is longer than any level allows is an outage, which no timing could have borne.
        if lateness > TimingLevel::SLOWEST.timing().detection() {
            return;
        }
        if lateness > bearing.spare() {
            let most = TimingProposal { level: TimingLevel::LAN, reason, lateness };
            self.worst = Some((most, now + WORST_KEPT));
        }
        if lateness <= bearing.bearable() {
            return;
        }
        let level = self.bearing(now, lateness);
        if level > self.own.level {
            self.own = TimingProposal { level, reason, lateness };
            if std::mem::take(&mut self.tried_faster) {
                self.calm = (self.calm * 2).min(CALM_MAX);
            }
        }
    }

    /// Returns the fastest level that bears this lateness. What `lan` would not have borne either is an
    /// outage there: it makes nothing slower than `lan` until it happens again.
    fn bearing(&mut self, now: Instant, lateness: Duration) -> TimingLevel {
        let bearing = TimingLevel::bearing(lateness);
        if lateness <= TimingLevel::LAN.spare() || !self.excuses {
            return bearing;
        }
        let apart = self.outage.map_or(Duration::MAX, |outage| now.since(outage));
        if apart >= ONE_TIME {
            self.outage = Some(now);
        }
        if (ONE_TIME..CALM_MAX).contains(&apart) { bearing } else { TimingLevel::LAN }
    }

    /// Follows time and the proposals of all.
    pub(super) fn revise(&mut self, now: Instant, around: Surroundings) -> Changes {
        self.excuses = around.outages_excused;
        let before = self.own.level;
        self.revise_proposal(now, around);
        let target = around.slowest.filter(|_| around.slowest_counts).unwrap_or_default();
        let target = target.max(self.own.level);
        let from = self.level;
        if target > from {
            let former = self.former(now).unwrap_or(from).min(from);
            let hold = former.timing().heartbeat * FORMER_HEARTBEATS;
            self.former = Some((former, now + hold));
            self.level = target;
            self.faster_since = None;
        } else if target < from && (around.quiet || !around.tightens_slowly) {
            let since = *self.faster_since.get_or_insert(now);
            if now.since(since) >= FASTER_AFTER || !around.tightens_slowly {
                self.level = from.faster();
                self.faster_since = None;
            }
        } else {
            self.faster_since = None;
        }
        let slower = self.level > from || self.own.level > before;
        Changes { from: (self.level != from).then_some(from), slower }
    }

    fn revise_proposal(&mut self, now: Instant, around: Surroundings) {
        let fastest = self.fastest(now, around);
        if self.own.level < fastest.level {
            self.own = fastest;
        }
        if !around.quiet && around.tightens_slowly {
            self.calm_since = now;
        }
        let calm = if around.tightens_slowly { self.calm } else { Duration::from_secs(1) };
        if now.since(self.calm_since) < calm {
            return;
        }
        self.calm_since = now;
        if self.own.level <= fastest.level {
            // It has borne the fastest that it may have.
            self.calm = (self.calm / 2).max(CALM_MIN);
            self.own = fastest;
            return;
        }
        let level = self.own.level.faster();
        let reason = TimingReason::NotLongCalm;
        let between = TimingProposal { level, reason, lateness: Duration::ZERO };
        self.own = if level == fastest.level { fastest } else { between };
        self.tried_faster = true;
    }

    /// Returns the fastest that this node may propose, and why that is the fastest.
    fn fastest(&self, now: Instant, around: Surroundings) -> TimingProposal {
        let level = fastest_for(around.datagrams);
        let fastest = level == TimingLevel::FASTEST;
        let reason = if fastest { TimingReason::Fastest } else { TimingReason::Datagrams };
        let worst = self.worst_until(now).filter(|_| around.worst_kept);
        let worst = worst.map(|(proposal, _)| proposal).filter(|worst| worst.level > level);
        worst.unwrap_or(TimingProposal { level, reason, lateness: Duration::ZERO })
    }

    /// Returns what is remembered of the worst lateness, if it still counts.
    fn worst_until(&self, now: Instant) -> Option<(TimingProposal, Instant)> {
        self.worst.filter(|(_, until)| now < *until)
    }

    /// Returns in how long this node proposes the next faster level if nothing happens.
    pub(super) fn faster_in(&self, now: Instant, datagrams: usize) -> Option<Duration> {
        let faster = self.own.level > fastest_for(datagrams);
        let worst = self.worst_until(now).filter(|(worst, _)| self.own.level <= worst.level);
        let barred = worst.map_or(now, |(_, until)| until);
        faster.then(|| (self.calm_since + self.calm).max(barred).since(now))
    }

    /// Returns the reason and the level of the slowest proposal, given the peers: that of this node, unless
    /// a peer proposes something slower.
    pub(super) fn held_by(
        &self,
        me: NodeId,
        peers: impl Iterator<Item = (NodeId, TimingProposal)>,
    ) -> (NodeId, TimingProposal) {
        peers.fold(
            (me, self.own),
            |slowest, peer| {
                if peer.1.level > slowest.1.level { peer } else { slowest }
            },
        )
    }
}

/// Returns the fastest level with which so many datagrams each heartbeat are not too many. Every
/// number is permitted with `lan`, which has always had it: 630 a second to 63 peers.
fn fastest_for(datagrams: usize) -> TimingLevel {
    let few = |level: &TimingLevel| {
        let interval = level.timing().heartbeat.as_millis().max(1);
        let second = u128::try_from(datagrams).unwrap_or(u128::MAX).saturating_mul(1000) / interval;
        second <= DATAGRAMS_MAX || *level >= TimingLevel::LAN
    };
    TimingLevel::all().find(few).unwrap_or(TimingLevel::LAN)
}

#[cfg(test)]
mod tests;
