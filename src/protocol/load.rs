//! How busy nodes are, and what follows for placement (`load_aware = true`).
//!
//! ```text
//!   measured each second -> smoothed over some 16 s -> counted -> in every heartbeat
//!                                                      |
//!        follows only a change by more than a quarter; 30 s after the number of groups here has
//!        changed it is what that makes of it, if that is right by a quarter
//! ```
//!
//! The shell gives in what it measures ([`Measure`]); without it nothing is published, and a node
//! of which nothing is known counts by its weight alone. `tally` scales the weight of a node by
//! what it has left, and predicts what a move does to both ends, each group being taken to cost
//! its owner the same. `balance` moves a group only if the receiver stays less busy than the giver
//! becomes, or hardly busy at all, so moves end whatever the shares say; and no group that has
//! changed its owner in the last minute.

use std::collections::BTreeMap;
use std::time::Duration;

use super::node::Node;
use super::types::{GroupKey, Instant, Load, Measure, NodeId, Rule};

/// Measures that make a mean; with one each second, half a minute until a step is all known.
const SMOOTHED_OVER: u32 = 16;
/// A change of this part of what was counted is noise.
const NOISE_DIVISOR: u32 = 4;
/// Less than this is noise on an idle host too, per mille.
const NOISE_MIN: u32 = 50;
/// A host shows what a group costs it so long after it came or went: three times the smoothing.
const SETTLES: Duration = Duration::from_secs(30);
/// Measures older than this are no measures.
const STALE: Duration = Duration::from_secs(10);
/// A group that was given away and has come back is not given again for balance before this: it
/// may be the group that is the load.
const GIVEN_REST: Duration = Duration::from_secs(600);

/// Makes what is told to peers from what the shell measures.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    /// Mean of the last measures, in parts of 256 of a per mille.
    smooth: u32,
    samples: u32,
    last: Option<(Instant, Measure)>,
    counted: Option<Load>,
    /// How many groups there are here, and since when.
    groups: Option<(u16, Instant)>,
}

impl Meter {
    /// The meter of a node that says this.
    pub(super) fn told(now: Instant, load: Option<Load>) -> Self {
        Self { counted: load, last: Some((now, Measure::default())), ..Self::default() }
    }

    /// Takes in a measure, or that there is none any more.
    pub(super) fn measure(&mut self, now: Instant, measure: Option<Measure>, groups: u16) {
        let Some(measure) = measure else {
            *self = Self::default();
            return;
        };
        if self.last.is_some_and(|(at, _)| now.since(at) > STALE) {
            *self = Self::default();
        }
        self.last = Some((now, measure));
        self.samples = (self.samples + 1).min(SMOOTHED_OVER);
        let sample = u32::from(measure.utilisation()) * 256;
        let (mean, part) = (self.smooth, self.samples);
        self.smooth = (mean * (part - 1) + sample) / part;
        if self.groups.is_none_or(|(known, _)| known != groups) {
            self.groups = Some((groups, now));
        }
    }

    /// Revises what is counted; `damped` is whether noise is left aside.
    pub(super) fn revise(&mut self, now: Instant, damped: bool) {
        let Some((groups, since)) = self.groups.filter(|_| self.samples == SMOOTHED_OVER) else {
            return;
        };
        let utilisation = u16::try_from(self.smooth / 256).unwrap_or(u16::MAX).min(1000);
        let connections = self.last.and_then(|(_, measure)| measure.connections);
        let Some(counted) = self.counted.filter(|_| damped) else {
            self.counted = Some(Load { utilisation, groups, connections });
            return;
        };
        if counted.groups != groups && now.since(since) < SETTLES {
            self.counted = Some(Load { connections, ..counted });
            return;
        }
        let expected = counted.expected(groups);
        let noise = (u32::from(expected) / NOISE_DIVISOR).max(NOISE_MIN);
        let follows = u32::from(utilisation).abs_diff(u32::from(expected)) > noise;
        let utilisation = if follows { utilisation } else { expected };
        self.counted = Some(Load { utilisation, groups, connections });
    }

    /// What is told to peers.
    pub(super) fn load(&self, now: Instant) -> Option<Load> {
        let (at, _) = self.last?;
        self.counted.filter(|_| now.since(at) <= STALE)
    }
}

/// Groups that this node has given away lately.
pub(super) type Given = BTreeMap<GroupKey, Instant>;

impl Node {
    /// Takes in what the shell measures of this host.
    pub(super) fn measured(&mut self, measure: Option<Measure>) {
        let held = self.groups.values().filter(|here| here.holding.meant()).count();
        let held = u16::try_from(held).unwrap_or(u16::MAX);
        self.meter.measure(self.env.now, measure, held);
        self.meter.revise(self.env.now, self.enforces(Rule::LoadDamped));
    }

    /// How busy a node says it is.
    pub(super) fn load_of(&self, node: NodeId) -> Option<Load> {
        if node == self.env.configuration.me {
            return self.meter.load(self.env.now);
        }
        self.peers.get(&node).filter(|peer| peer.alive()).and_then(|peer| peer.load)
    }

    /// The same, if placement goes by it.
    pub(super) fn counted_load(&self, node: NodeId) -> Option<Load> {
        let counts = self.env.configuration.load_aware && self.enforces(Rule::LoadCounts);
        if counts { self.load_of(node) } else { None }
    }

    /// Whether this node gave the group away for balance so lately that it keeps it now.
    pub(super) fn gave_lately(&self, group: GroupKey) -> bool {
        self.env.configuration.load_aware
            && self.given.get(&group).is_some_and(|at| self.env.now.since(*at) < GIVEN_REST)
    }

    /// Remembers what is given away for balance.
    pub(super) fn note_given(&mut self, groups: &[GroupKey]) {
        let now = self.env.now;
        self.given.retain(|_, at| now.since(*at) < GIVEN_REST);
        self.given.extend(groups.iter().map(|group| (*group, now)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Instant {
        Instant::from_millis(second * 1000)
    }

    fn busy(busy: u16) -> Option<Measure> {
        Some(Measure { busy, ..Measure::default() })
    }

    /// Feeds one measure each second from `from` on; tells each change of what is counted.
    fn feed(meter: &mut Meter, from: u64, groups: u16, measures: &[u16]) -> Vec<(u64, u16)> {
        let mut changes = Vec::new();
        for (second, measure) in (from..).zip(measures) {
            let before = meter.load(at(second)).map(|load| load.utilisation);
            meter.measure(at(second), busy(*measure), groups);
            meter.revise(at(second), true);
            let after = meter.load(at(second)).map(|load| load.utilisation);
            if let Some(after) = after.filter(|_| before != after) {
                changes.push((second, after));
            }
        }
        changes
    }

    #[test]
    fn nothing_is_told_before_there_is_a_mean() {
        let mut meter = Meter::default();
        assert_eq!(feed(&mut meter, 0, 3, &[400; 15]), []);
        assert_eq!(feed(&mut meter, 15, 3, &[400]), [(15, 400)]);
    }

    #[test]
    fn noise_below_a_quarter_changes_nothing_for_an_hour() {
        for level in [40, 200, 500, 790] {
            let mut meter = Meter::default();
            feed(&mut meter, 0, 3, &[level; 16]);
            let mut random = crate::protocol::Random::new(u64::from(level));
            let wide = u64::from(level) / 2;
            let noise: Vec<u16> = (0..3600)
                .map(|_| level - level / 4 + u16::try_from(random.below(wide + 1)).unwrap())
                .collect();
            assert_eq!(feed(&mut meter, 16, 3, &noise), [], "around {level}");
        }
    }

    #[test]
    fn a_doubled_load_is_counted_within_half_a_minute() {
        let mut meter = Meter::default();
        feed(&mut meter, 0, 3, &[300; 20]);
        let changes = feed(&mut meter, 20, 3, &[600; 30]);
        assert!(!changes.is_empty() && changes.len() <= 3, "{changes:?}");
        let (_, last) = *changes.last().unwrap();
        assert!((450..=600).contains(&last), "{changes:?}");
    }

    #[test]
    fn another_number_of_groups_is_counted_with_when_it_has_settled() {
        // (measured with three groups instead of four, counted then)
        for (measured, counted) in [(300, 300), (360, 300), (390, 391), (200, 223), (240, 300)] {
            let mut meter = Meter::default();
            feed(&mut meter, 0, 4, &[400; 20]);
            let early = feed(&mut meter, 20, 3, &[measured; 30]);
            assert_eq!(early, [], "{measured}");
            feed(&mut meter, 50, 3, &[measured; 60]);
            let load = meter.load(at(109)).unwrap();
            assert_eq!((load.utilisation, load.groups), (counted, 3), "{measured}");
        }
    }

    #[test]
    fn what_is_not_measured_is_not_told() {
        let mut meter = Meter::default();
        feed(&mut meter, 0, 3, &[400; 20]);
        assert!(meter.load(at(29)).is_some());
        assert_eq!(meter.load(at(40)), None, "nothing was measured for 20 s");
        meter.measure(at(41), None, 3);
        assert_eq!(meter.load(at(41)), None);
    }

    #[test]
    fn a_check_may_say_how_busy_a_host_is() {
        let measure = Measure { average: 250, busy: 900, connections: None, given: Some(30) };
        assert_eq!(measure.utilisation(), 30);
        assert_eq!(Measure { given: None, ..measure }.utilisation(), 1000);
        assert_eq!(Measure { given: None, average: 40, ..measure }.utilisation(), 900);
    }
}
