//! Profile `auto`: which timing a node proposes by what it has measured, and which is in force.
//!
//! ```text
//!   own loop late, peer heard late  --- more than the level bears ---> proposal: slower, at once
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

/// How long all must be calm before a node proposes the next faster level; doubled each time it
/// proposes a slower one, so that it does not go to and fro.
const CALM_MIN: Duration = Duration::from_secs(300);
/// See [`CALM_MIN`]: four times doubled.
const CALM_MAX: Duration = Duration::from_secs(4800);
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
        let level = TimingLevel::bearing(lateness);
        // What is longer than any level allows is an outage, which no timing could have borne.
        let borne = lateness <= TimingLevel::SLOWEST.timing().detection();
        if lateness > bearing.bearable() && level > self.own.level && borne {
            self.own = TimingProposal { level, reason, lateness };
            self.calm = (self.calm * 2).min(CALM_MAX);
        }
    }

    /// Follows time and the proposals of all.
    pub(super) fn revise(&mut self, now: Instant, around: Surroundings) -> Changes {
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
        let floor = fastest_for(around.datagrams);
        if self.own.level < floor {
            let reason = TimingReason::Datagrams;
            self.own = TimingProposal { level: floor, reason, lateness: Duration::ZERO };
        }
        if !around.quiet && around.tightens_slowly {
            self.calm_since = now;
        }
        let calm = if around.tightens_slowly { self.calm } else { Duration::from_secs(1) };
        if now.since(self.calm_since) < calm {
            return;
        }
        self.calm_since = now;
        if self.own.level <= floor {
            // It has borne the fastest that it may have.
            self.calm = (self.calm / 2).max(CALM_MIN);
        }
        let level = self.own.level.faster().max(floor);
        let reason = if level == TimingLevel::FASTEST {
            TimingReason::Fastest
        } else if level == floor {
            TimingReason::Datagrams
        } else {
            TimingReason::NotLongCalm
        };
        self.own = TimingProposal { level, reason, lateness: Duration::ZERO };
    }

    /// Returns in how long this node proposes the next faster level if nothing happens.
    pub(super) fn faster_in(&self, now: Instant, datagrams: usize) -> Option<Duration> {
        let faster = self.own.level > fastest_for(datagrams);
        faster.then(|| (self.calm_since + self.calm).since(now))
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
mod tests {
    use super::*;

    const FAST: TimingLevel = TimingLevel::FASTEST;
    const LAN: TimingLevel = TimingLevel::LAN;
    const VM: TimingLevel = TimingLevel::SLOWEST;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn secs(count: u64) -> Instant {
        Instant::from_millis(count * 1000)
    }

    fn around() -> Surroundings {
        Surroundings {
            datagrams: 2,
            quiet: true,
            slowest: None,
            slowest_counts: true,
            tightens_slowly: true,
        }
    }

    /// A rule that proposes this, and follows only itself.
    fn at(level: TimingLevel) -> AdaptiveTiming {
        AdaptiveTiming::new(secs(0), (level, level))
    }

    /// Looks once each second, and returns what was in force at the end of each.
    fn run(it: &mut AdaptiveTiming, seconds: std::ops::Range<u64>, around: Surroundings) {
        for second in seconds {
            let _ = it.revise(secs(second), around);
        }
    }

    #[test]
    fn the_levels_are_those_of_the_table() {
        let row = |level: TimingLevel| {
            let timing = level.timing();
            let lengths = [timing.heartbeat, timing.detection(), level.bearable(), level.calm()];
            lengths.map(|length| length.as_millis())
        };
        let rows: Vec<_> = TimingLevel::all().map(row).collect();
        let expected = [
            [20, 80, 30, 15],
            [50, 150, 50, 25],
            [100, 300, 100, 50],
            [200, 600, 200, 100],
            [500, 2000, 750, 375],
        ];
        assert_eq!(rows, expected);
        let protocol = include_str!("PROTOCOL.md");
        for [heartbeat, detection, bears, calm] in expected {
            let row = format!("| {heartbeat} ms | {detection} ms | {bears} ms | {calm} ms |");
            assert!(protocol.contains(&row), "PROTOCOL.md does not have: {row}");
        }
    }

    #[test]
    fn a_lateness_is_answered_with_the_level_that_bears_it() {
        let table = [
            // At this level, late by so many milliseconds: proposes this.
            (FAST, 15, 0),
            (FAST, 30, 0),
            (FAST, 31, 1),
            (FAST, 51, 2),
            (FAST, 101, 3),
            (FAST, 201, 4),
            (FAST, 2000, 4),
            (FAST, 2001, 0),
            (LAN, 31, 2),
            (LAN, 100, 2),
            (LAN, 101, 3),
            (LAN, 60_000, 2),
            (VM, 1999, 4),
        ];
        for (level, late, expected) in table {
            let mut it = at(level);
            it.note_loop(secs(1), millis(late));
            assert_eq!(it.proposal().level.number(), expected, "{level:?} late by {late} ms");
            let changed = expected != level.number();
            let reason = if changed { TimingReason::Loop } else { TimingReason::NotLongCalm };
            assert_eq!(it.proposal().reason, reason);
            let changes = it.revise(secs(1), around());
            let from = changed.then_some(level);
            assert_eq!(changes, Changes { from, slower: changed }, "at once");
        }
    }

    #[test]
    fn minutes_of_calm_make_it_faster_by_one_level() {
        let mut it = at(LAN);
        run(&mut it, 0..300, around());
        assert_eq!(it.level(), LAN);
        run(&mut it, 300..301, around());
        assert_eq!((it.proposal().level.number(), it.level()), (1, LAN));
        run(&mut it, 301..311, around());
        assert_eq!(it.level().number(), 1, "ten seconds later it is in force");
        run(&mut it, 311..600, around());
        assert_eq!(it.proposal().level.number(), 1);
        run(&mut it, 600..620, around());
        assert_eq!(it.level(), FAST);
        assert_eq!(it.proposal().reason, TimingReason::Fastest);
    }

    #[test]
    fn what_is_too_late_for_the_next_level_begins_the_calm_again() {
        for (late, begins_again) in [(25, false), (26, true)] {
            let mut it = at(LAN);
            run(&mut it, 0..200, around());
            it.note_spacing(secs(200), millis(late));
            run(&mut it, 200..310, around());
            assert_eq!(it.proposal().level == LAN, begins_again, "{late} ms");
            run(&mut it, 310..501, around());
            assert_eq!(it.proposal().level.number(), 1, "{late} ms");
        }
    }

    #[test]
    fn nothing_gets_faster_while_anything_is_suspected() {
        let mut it = at(LAN);
        run(&mut it, 0..5000, Surroundings { quiet: false, ..around() });
        assert_eq!(it.proposal().level, LAN);
        let mut it = AdaptiveTiming::new(secs(0), (VM, LAN));
        run(&mut it, 0..200, Surroundings { quiet: false, ..around() });
        assert_eq!(it.level(), VM, "what was held back by a peer that is gone");
        run(&mut it, 200..210, around());
        assert_eq!(it.level(), VM);
        run(&mut it, 210..211, around());
        assert_eq!(it.level().number(), 3);
        run(&mut it, 211..222, around());
        assert_eq!(it.level(), LAN);
    }

    #[test]
    fn the_slowest_peer_decides_at_once() {
        let mut it = at(FAST);
        let slow = Surroundings { slowest: Some(VM), ..around() };
        let changes = it.revise(secs(1), slow);
        assert_eq!(changes, Changes { from: Some(FAST), slower: true });
        assert_eq!((it.level(), it.proposal().level), (VM, FAST));
        let until = secs(1) + millis(200);
        let former = |it: &AdaptiveTiming, at| it.former(at);
        assert_eq!(former(&it, secs(1)), Some(FAST), "peers may not have heard of it");
        assert_eq!(former(&it, until), None);
    }

    #[test]
    fn a_host_that_is_late_now_and_then_does_not_go_to_and_fro() {
        let mut it = at(LAN);
        let mut changes = 0;
        for second in 0..24 * 3600 {
            if second % 1200 == 1199 {
                it.note_loop(secs(second), millis(90));
            }
            changes += u32::from(it.revise(secs(second), around()).from.is_some());
        }
        assert!(changes <= 8, "{changes} changes in a day");
        assert_eq!(it.level(), LAN);
    }

    #[test]
    fn a_lost_datagram_is_borne_at_every_level() {
        for level in TimingLevel::all() {
            // Asked for half an interval later, and answered after 5 ms.
            let mut it = at(level);
            it.note_spacing(secs(1), level.timing().heartbeat / 2 + millis(5));
            assert_eq!(it.proposal().level, level);
            // What is normal at the level in force says nothing against a faster one.
            let mut it = AdaptiveTiming::new(secs(0), (VM, level));
            it.note_spacing(secs(1), millis(250));
            assert_eq!(it.proposal().level, level);
        }
    }

    #[test]
    fn a_large_cluster_does_not_send_too_much() {
        let table = [(1, 0), (16, 0), (17, 1), (40, 1), (41, 2), (63, 2), (504, 2)];
        for (datagrams, expected) in table {
            let mut it = at(FAST);
            let _ = it.revise(secs(1), Surroundings { datagrams, ..around() });
            assert_eq!(it.proposal().level.number(), expected, "{datagrams}");
            let mut it = at(LAN);
            run(&mut it, 0..5000, Surroundings { datagrams, ..around() });
            assert_eq!(it.level().number(), expected, "{datagrams}");
            assert_eq!(it.faster_in(secs(5000), datagrams), None);
        }
    }

    #[test]
    fn a_peer_with_fixed_heartbeats_counts_as_the_level_that_is_as_slow() {
        let table = [(20, 4, 0), (10, 2, 0), (20, 5, 1), (100, 3, 2), (100, 4, 3), (10_000, 20, 4)];
        for (interval, misses, expected) in table {
            let level = TimingLevel::of(millis(interval), misses);
            assert_eq!(level.number(), expected, "{interval} ms, {misses}");
        }
    }

    #[test]
    fn who_holds_back_is_this_node_unless_a_peer_is_slower() {
        let it = at(LAN);
        let proposal = |level| TimingProposal { level, ..it.proposal() };
        let peers = [(NodeId(2), LAN), (NodeId(3), FAST), (NodeId(4), VM), (NodeId(5), VM)];
        let peers = peers.map(|(node, level)| (node, proposal(level)));
        let of = |count| it.held_by(NodeId(1), peers.into_iter().take(count)).0;
        assert_eq!((of(0), of(2), of(4)), (NodeId(1), NodeId(1), NodeId(4)));
    }
}
