//! When to announce which group: first at once, then repeats, then a slow refresh, all paced.
//!
//! A single frame may be lost, a switch may be learning, an old client may be inside its one
//! second of ARP locktime, so the first announcement is repeated at [`REPEATS`]; afterwards an
//! address is announced from time to time so that no switch forgets where it is (H67 in
//! docs/invariants.md). Gratuitous ARP floods every port, so addresses are paced by a token bucket.
//! First announcements go before repeats when tokens are short, also those of groups that the kernel
//! has yet to add: repeats leave as many tokens as these need.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::bucket::{Bucket, TOKEN, needed};
use super::types::{GroupKey, Instant, Random};

/// Announcements of one group after its first, counted from it. The last but one comes more
/// than 1.1 s after the burst, for clients with ARP locktime (H68 in docs/invariants.md).
pub(super) const REPEATS: [Duration; 5] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(1400),
    Duration::from_secs(5),
];

#[derive(Clone, Copy, Debug)]
struct Course {
    started: Instant,
    round: usize,
    due: Instant,
    addresses: u16,
}

/// How announcements go, from the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Addresses per second.
    pub(super) rate: u32,
    /// Between two refreshes.
    pub(super) refresh: Duration,
    /// Whether the first announcement is repeated.
    pub(super) repeats: bool,
    /// Groups that are being added: their first announcements are to come.
    pub(super) coming: usize,
}

/// The schedule of one node.
#[derive(Clone, Debug)]
pub(super) struct Announcements {
    courses: BTreeMap<GroupKey, Course>,
    /// By: repeats after firsts, then time.
    queue: BTreeSet<(bool, Instant, GroupKey)>,
    bucket: Bucket,
}

impl Announcements {
    pub(super) const fn new(now: Instant) -> Self {
        let bucket = Bucket::new(now);
        Self { courses: BTreeMap::new(), queue: BTreeSet::new(), bucket }
    }

    /// Starts the course of a group, or starts it again.
    pub(super) fn start(&mut self, now: Instant, group: GroupKey, addresses: u16) {
        self.stop(group);
        let course = Course { started: now, round: 0, due: now, addresses };
        self.courses.insert(group, course);
        self.queue.insert((false, now, group));
    }

    /// Goes on with a course that has had its repeats: only refreshes follow.
    pub(super) fn keep(
        &mut self,
        (now, group): (Instant, GroupKey),
        addresses: u16,
        wait: Duration,
    ) {
        self.stop(group);
        let (round, due) = (REPEATS.len() + 1, now + wait);
        self.courses.insert(group, Course { started: now, round, due, addresses });
        self.queue.insert((true, due, group));
    }

    /// The group has so many addresses from now on; without a course nothing is noted.
    pub(super) fn resize(&mut self, group: GroupKey, addresses: u16) {
        if let Some(course) = self.courses.get_mut(&group) {
            course.addresses = addresses;
        }
    }

    /// Ends the course of a group: nothing is announced any more.
    pub(super) fn stop(&mut self, group: GroupKey) {
        if let Some(course) = self.courses.remove(&group) {
            self.queue.remove(&(course.round > 0, course.due, group));
        }
    }

    /// Ends the courses of all groups.
    pub(super) fn stop_all(&mut self) {
        self.courses.clear();
        self.queue.clear();
    }

    /// Brings the next announcement of a group forward to now; without a course there is none.
    pub(super) fn hasten(&mut self, now: Instant, group: GroupKey) {
        let Some(course) = self.courses.get_mut(&group) else { return };
        let repeat = course.round > 0;
        self.queue.remove(&(repeat, course.due, group));
        course.due = course.due.min(now);
        self.queue.insert((repeat, course.due, group));
    }

    /// The next group to announce now, if one is due and there is room in the bucket.
    pub(super) fn next(
        &mut self,
        now: Instant,
        pace: Pace,
        random: &mut Random,
    ) -> Option<GroupKey> {
        let group = self.due(now)?;
        let course = self.courses.get(&group).copied()?;
        let left = if course.round > 0 { pace.coming } else { 0 };
        if !self.bucket.spend_leaving(now, course.addresses, pace.rate, left) {
            return None;
        }
        self.queue.remove(&(course.round > 0, course.due, group));
        let due = match REPEATS.get(course.round) {
            Some(after) if pace.repeats => {
                (course.started + *after).max(now + Duration::from_millis(1))
            }
            Some(_) | None => now + jittered(pace.refresh, random),
        };
        let course = Course { round: course.round + 1, due, ..course };
        self.courses.insert(group, course);
        self.queue.insert((true, due, group));
        Some(group)
    }

    /// How often the present course of a group has announced it.
    pub(super) fn rounds(&self, group: GroupKey) -> usize {
        self.courses.get(&group).map_or(0, |course| course.round)
    }

    /// When [`Announcements::next`] should be asked again.
    pub(super) fn deadline(&self, now: Instant, pace: Pace) -> Instant {
        // Firsts come before all repeats: the rest of a long queue is not looked at.
        let first = self.queue.first().filter(|(repeat, _, _)| !repeat).map(|(_, due, _)| *due);
        let repeat =
            self.queue.range((true, Instant::START, GroupKey(0))..).next().map(|(_, due, _)| *due);
        let due = first.into_iter().chain(repeat).min().unwrap_or(Instant::NEVER);
        if due > now {
            return due;
        }
        let needs = |course: &Course| {
            let left = if course.round > 0 { pace.coming } else { 0 };
            needed(course.addresses, pace.rate, left)
        };
        let course = self.due(now).and_then(|group| self.courses.get(&group));
        let lacking = self.bucket.lacking(course.map_or(TOKEN, needs));
        now + Duration::from_nanos(lacking / u64::from(pace.rate.max(1)) + 1)
    }

    fn due(&self, now: Instant) -> Option<GroupKey> {
        let first = self.queue.iter().next().filter(|(repeat, due, _)| !repeat && *due <= now);
        let repeat = || {
            let mut repeats = self.queue.range((true, Instant::START, GroupKey(0))..);
            repeats.next().filter(|(_, due, _)| *due <= now)
        };
        first.or_else(repeat).map(|(_, _, group)| *group)
    }
}

/// Ten percent more or less, so that nodes do not refresh in step.
pub(super) fn jittered(length: Duration, random: &mut Random) -> Duration {
    length * 9 / 10 + length / 5 * u32::try_from(random.below(1000)).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace =
        Pace { rate: 10, refresh: Duration::from_secs(60), repeats: true, coming: 0 };

    fn drain(announcements: &mut Announcements, now: Instant, pace: Pace) -> Vec<u64> {
        let mut random = Random::new(1);
        std::iter::from_fn(|| announcements.next(now, pace, &mut random)).map(|g| g.0).collect()
    }

    #[test]
    fn a_course_repeats_and_then_refreshes() {
        let mut announcements = Announcements::new(Instant::START);
        let mut random = Random::new(1);
        announcements.start(Instant::START, GroupKey(1), 1);
        let mut times = Vec::new();
        while times.len() < 8 {
            let now = announcements.deadline(Instant::START, PACE);
            assert_eq!(announcements.next(now, PACE, &mut random), Some(GroupKey(1)));
            times.push(now.as_millis());
        }
        assert_eq!(times[..6], [0, 10, 50, 200, 1400, 5000]);
        assert!((59_000..=71_000).contains(&times[6]), "{times:?}");
        assert!((times[6] + 54_000..=times[6] + 66_000).contains(&times[7]), "{times:?}");
    }

    #[test]
    fn first_announcements_go_before_repeats_when_tokens_are_short() {
        let mut announcements = Announcements::new(Instant::START);
        for group in 0..5 {
            announcements.start(Instant::START, GroupKey(group), 1);
        }
        assert_eq!(drain(&mut announcements, Instant::START, PACE), [0, 1, 2, 3, 4]);
        let later = Instant::from_millis(100);
        announcements.start(later, GroupKey(9), 1);
        assert_eq!(drain(&mut announcements, later, PACE), [9]);
        let wait = announcements.deadline(later, PACE).since(later);
        assert!((99..=101).contains(&wait.as_millis()), "{wait:?}");
    }

    #[test]
    fn repeats_leave_what_first_announcements_to_come_will_need() {
        let sent = |coming: usize| {
            let mut announcements = Announcements::new(Instant::START);
            let pace = Pace { coming, ..PACE };
            announcements.start(Instant::START, GroupKey(1), 1);
            assert_eq!(drain(&mut announcements, Instant::START, pace), [1], "the first of five");
            drain(&mut announcements, Instant::from_millis(10), pace).len()
        };
        assert_eq!(sent(0), 1, "its first repeat");
        assert_eq!(sent(3), 1, "one more than are needed");
        assert_eq!(sent(4), 0, "four are left for four");
        let mut announcements = Announcements::new(Instant::START);
        let pace = Pace { coming: 4000, ..PACE };
        announcements.start(Instant::START, GroupKey(1), 1);
        assert_eq!(drain(&mut announcements, Instant::START, pace), [1]);
        let later = Instant::from_millis(10);
        assert_eq!(drain(&mut announcements, later, pace), [0_u64; 0]);
        let full = announcements.deadline(later, pace);
        assert!((80..=95).contains(&full.since(later).as_millis()), "{full:?}");
        assert_eq!(drain(&mut announcements, full, pace), [1], "a full bucket is enough for any");
    }

    #[test]
    fn a_hastened_course_announces_once_more() {
        let mut announcements = Announcements::new(Instant::START);
        announcements.start(Instant::START, GroupKey(1), 1);
        let later = Instant::from_millis(20_000);
        while !drain(&mut announcements, later, PACE).is_empty() {}
        announcements.hasten(later, GroupKey(2));
        announcements.hasten(later, GroupKey(1));
        assert_eq!(drain(&mut announcements, later, PACE), [1]);
    }

    #[test]
    fn a_course_costs_what_its_group_has_now() {
        let sent = |resized: bool| {
            let mut announcements = Announcements::new(Instant::START);
            for group in [1, 2] {
                announcements.start(Instant::START, GroupKey(group), 1);
            }
            if resized {
                announcements.resize(GroupKey(1), 6);
            }
            announcements.resize(GroupKey(3), 6);
            drain(&mut announcements, Instant::START, PACE)
        };
        assert_eq!(sent(false), [1, 2]);
        assert_eq!(sent(true), [1], "nothing is left in the bucket");
    }

    #[test]
    fn a_stopped_course_is_silent() {
        let mut announcements = Announcements::new(Instant::START);
        announcements.start(Instant::START, GroupKey(1), 1);
        announcements.stop(GroupKey(1));
        assert_eq!(drain(&mut announcements, Instant::from_millis(9), PACE), [0_u64; 0]);
        assert_eq!(announcements.deadline(Instant::START, PACE), Instant::NEVER);
    }
}
