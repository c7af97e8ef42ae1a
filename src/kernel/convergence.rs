//! Which neighbours resolve an address to this host, and who has to be told: bookkeeping.
//!
//! Pure: `verify` sends what [`Verification::next`] says and feeds in what comes back. For each
//! group under verification a *course* holds pairs of an address and a neighbour. Each announcement
//! of the group begins a round: every pair that is not *proved* is asked (see `echo`), and from
//! the second round on the neighbour is told first, by frames to it alone. Beside that every
//! neighbour is asked from an address of this host that never moves: who does not answer that
//! either can show nothing and is not counted.
//!
//! ```text
//!   order --> course --> round --> ready, paced --> task --> frames
//!               ^          ^                                    |
//!               |     announcement                              v
//!             proved, or known to answer <------------------ replies
//! ```
//!
//! A course ends when all pairs are proved, at the latest after [`COURSE`]. What was found is told
//! as soon as all who can answer have, and again at the end if it has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::echo::Mark;
use crate::protocol::{Convergence, Epoch, GroupKey, Instant, MISSING_TOLD};

/// The last announcement of a course comes after 5 s; its answers may take a while.
const COURSE: Duration = Duration::from_secs(6);
/// Hosts that have not answered at all until now probably never do. The fourth round comes after
/// 200 ms, and hosts that have to resolve our address first may take a little.
const PATIENCE: Duration = Duration::from_millis(300);
/// Tasks per second: with at most one announcement each, half of what is announced to all.
const RATE: u64 = 1000;
/// Tasks that may go at once.
const BURST: u64 = 128;
const TOKEN: u64 = 1_000_000_000;
/// Pairs of all courses together, about: each gets its part, and not fewer than [`PAIRS_MIN`].
const PAIRS_SHARED: usize = 256;
/// The gateway, and one more in case that one says nothing.
const PAIRS_MIN: usize = 2;
/// Pairs of one course: all that a peer can tell of.
pub(super) const PAIRS_MAX: usize = 64;
/// Whoever answered within this need not be asked from the address that never moves.
const ANSWERED_LATELY: Duration = Duration::from_secs(1);
/// Between two such questions to one host.
const CONTROL_PAUSE: Duration = Duration::from_millis(30);

/// A neighbour on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) link: u32,
    pub(super) address: IpAddr,
    pub(super) hardware: [u8; 6],
}

/// Something to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) group: GroupKey,
    /// The address that is asked about.
    pub(super) vip: IpAddr,
    pub(super) target: Target,
    /// Whether the neighbour is told first where the address is.
    pub(super) tell: bool,
    /// The question is to bear this mark.
    pub(super) mark: Mark,
    /// So is the question from the address that never moves, if it is to be asked.
    pub(super) control: Option<Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    vip: IpAddr,
    target: Target,
    asked: bool,
    proved: bool,
}

#[derive(Debug)]
struct Course {
    /// Names it in marks.
    token: u32,
    epoch: Epoch,
    begun: Instant,
    /// Announcements so far.
    rounds: usize,
    /// The pair that comes next in the round under way.
    cursor: usize,
    pairs: Vec<Pair>,
    /// Whether there are IPv4 and IPv6 addresses among the pairs.
    families: (bool, bool),
    proved_at: Instant,
    told: Option<Convergence>,
}

/// What is known of a host beside the pairs.
#[derive(Clone, Copy, Debug, Default)]
struct Host {
    answered_at: Option<Instant>,
    asked_at: Option<Instant>,
}

/// All courses.
#[derive(Debug)]
pub(super) struct Verification {
    /// Drawn at random, counted up for each course: what no outsider can guess.
    token: u32,
    courses: BTreeMap<GroupKey, Course>,
    hosts: BTreeMap<(u32, IpAddr), Host>,
    /// Rounds under way, by round and place in it: of every group the first pair, the gateway,
    /// goes before the second.
    ready: BTreeSet<(usize, usize, GroupKey)>,
    /// When courses have to be looked at; may be outdated, which does no harm.
    wakes: BTreeSet<(Instant, GroupKey)>,
    tokens: u64,
    filled_at: Instant,
}

impl Verification {
    /// With a number that no outsider can guess, so that only who was asked can answer.
    pub(super) fn new(token: u32) -> Self {
        Self {
            token,
            courses: BTreeMap::new(),
            hosts: BTreeMap::new(),
            ready: BTreeSet::new(),
            wakes: BTreeSet::new(),
            tokens: BURST * TOKEN,
            filled_at: Instant::START,
        }
    }

    /// How many pairs a course that begins now may have.
    pub(super) fn room(&self) -> usize {
        (PAIRS_SHARED / (self.courses.len() + 1)).clamp(PAIRS_MIN, PAIRS_MAX)
    }

    /// Begins the course of a group, or begins it again; the pairs come in this order.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        (group, epoch): (GroupKey, Epoch),
        pairs: Vec<(IpAddr, Target)>,
    ) {
        self.stop(group);
        self.token = self.token.wrapping_add(1);
        let pair = |(vip, target)| Pair { vip, target, asked: false, proved: false };
        let pairs: Vec<Pair> = pairs.into_iter().take(PAIRS_MAX).map(pair).collect();
        if pairs.is_empty() {
            return;
        }
        let has = |v6| pairs.iter().any(|pair| pair.vip.is_ipv6() == v6);
        let course = Course {
            token: self.token,
            epoch,
            begun: now,
            rounds: 0,
            cursor: 0,
            families: (has(false), has(true)),
            pairs,
            proved_at: now,
            told: None,
        };
        self.courses.insert(group, course);
        self.wakes.extend([(now + PATIENCE, group), (now + COURSE, group)]);
    }

    /// Ends the course of a group; nothing more is sent or told.
    pub(super) fn stop(&mut self, group: GroupKey) {
        if let Some(course) = self.courses.remove(&group) {
            self.ready.remove(&(course.rounds, course.cursor, group));
        }
        if self.courses.is_empty() {
            self.hosts.clear();
        }
    }

    /// The group was announced: a round begins. One that is still under way goes on instead.
    pub(super) fn announced(&mut self, group: GroupKey) {
        let Some(course) = self.courses.get_mut(&group) else { return };
        let under_way = self.ready.remove(&(course.rounds, course.cursor, group));
        course.rounds += 1;
        if !under_way {
            course.cursor = 0;
        }
        self.ready.insert((course.rounds, course.cursor, group));
    }

    /// The next thing to send now, if there is one and the pace allows.
    pub(super) fn next(&mut self, now: Instant) -> Option<Task> {
        self.fill(now);
        while self.tokens >= TOKEN {
            let (rounds, cursor, group) = self.ready.pop_first()?;
            let Some(course) = self.courses.get_mut(&group) else { continue };
            let (token, count) = (course.token, course.pairs.len());
            let Some(pair) = course.pairs.get_mut(cursor) else { continue };
            course.cursor = cursor + 1;
            if course.cursor < count {
                self.ready.insert((rounds, course.cursor, group));
            }
            if pair.proved {
                continue;
            }
            pair.asked = true;
            let (vip, target) = (pair.vip, pair.target);
            self.tokens -= TOKEN;
            let mark = |control| mark(group, token, cursor, control);
            let control = self.hosts.entry((target.link, target.address)).or_default().ask(now);
            let control = control.then(|| mark(true));
            let tell = rounds > 1;
            return Some(Task { group, vip, target, tell, mark: mark(false), control });
        }
        None
    }

    /// The neighbour that a question with this mark went to, if it is one of ours.
    pub(super) fn asked(&self, mark: &Mark) -> Option<Target> {
        self.find(mark).map(|(_, course, place, _)| course.pairs[place].target)
    }

    /// Takes in the answer to a question; the caller has checked who gave it.
    pub(super) fn answered(&mut self, now: Instant, mark: &Mark) {
        let Some((group, _, place, control)) = self.find(mark) else { return };
        let Some(course) = self.courses.get_mut(&group) else { return };
        let Some(pair) = course.pairs.get_mut(place) else { return };
        let host = self.hosts.entry((pair.target.link, pair.target.address)).or_default();
        host.answered_at = Some(now);
        if !control && !pair.proved {
            pair.proved = true;
            course.proved_at = now;
            self.wakes.insert((now, group));
        }
    }

    fn find(&self, mark: &Mark) -> Option<(GroupKey, &Course, usize, bool)> {
        let (group, rest) = mark.split_first_chunk::<8>()?;
        let (token, rest) = rest.split_first_chunk::<4>()?;
        let (place, rest) = rest.split_first_chunk::<2>()?;
        let group = GroupKey(u64::from_be_bytes(*group));
        let place = usize::from(u16::from_be_bytes(*place));
        let course = self.courses.get(&group)?;
        let ours = course.token == u32::from_be_bytes(*token) && place < course.pairs.len();
        ours.then_some((group, course, place, rest.first() == Some(&1)))
    }

    /// What has been found out since the last call, and ends what is over.
    pub(super) fn outcomes(&mut self, now: Instant) -> Vec<(GroupKey, Epoch, Convergence)> {
        let mut found = Vec::new();
        while let Some((_, group)) = self.wakes.first().copied().filter(|(at, _)| *at <= now) {
            self.wakes.pop_first();
            let Some(course) = self.courses.get_mut(&group) else { continue };
            let all_proved = course.pairs.iter().all(|pair| pair.proved);
            let over = all_proved || now >= course.begun + COURSE;
            let outcome = course.outcome(&self.hosts);
            let patient = now >= course.begun + PATIENCE;
            let settled = patient && outcome.answered == outcome.asked && outcome.asked > 0;
            let seen = course.told.map(|told| (told.asked, told.answered));
            if (over || settled) && seen != Some((outcome.asked, outcome.answered)) {
                course.told = Some(outcome);
                found.push((group, course.epoch, outcome));
            }
            if over {
                self.stop(group);
            }
        }
        found
    }

    /// When [`Verification::next`] or [`Verification::outcomes`] has to be called.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let lacking = TOKEN.saturating_sub(self.tokens);
        let paced = (!self.ready.is_empty()).then(|| now + Duration::from_nanos(lacking / RATE));
        paced.into_iter().chain(self.wakes.first().map(|(at, _)| *at)).min()
    }

    /// Whether answers are awaited: of IPv4, of IPv6.
    pub(super) fn listens(&self) -> (bool, bool) {
        let v4 = self.courses.values().any(|course| course.families.0);
        (v4, self.courses.values().any(|course| course.families.1))
    }

    fn fill(&mut self, now: Instant) {
        let nanos = u64::try_from(now.since(self.filled_at).as_nanos()).unwrap_or(u64::MAX);
        self.filled_at = now;
        self.tokens = self.tokens.saturating_add(nanos.saturating_mul(RATE)).min(BURST * TOKEN);
    }
}

impl Host {
    /// Whether it is to be asked from the address that never moves; if so it counts as asked.
    fn ask(&mut self, now: Instant) -> bool {
        let within = |at: Option<Instant>, time| at.is_some_and(|at| now.since(at) < time);
        let wanted = !within(self.answered_at, ANSWERED_LATELY);
        let ask = wanted && !within(self.asked_at, CONTROL_PAUSE);
        if ask {
            self.asked_at = Some(now);
        }
        ask
    }
}

impl Course {
    /// As things stand. A host counts if it answered anything since the course began, or shortly
    /// before.
    fn outcome(&self, hosts: &BTreeMap<(u32, IpAddr), Host>) -> Convergence {
        let mut standing: BTreeMap<(u32, IpAddr), bool> = BTreeMap::new();
        for pair in self.pairs.iter().filter(|pair| pair.asked) {
            let key = (pair.target.link, pair.target.address);
            let answered_at = hosts.get(&key).and_then(|host| host.answered_at);
            if answered_at.is_some_and(|at| at + ANSWERED_LATELY >= self.begun) {
                *standing.entry(key).or_insert(true) &= pair.proved;
            }
        }
        let count = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let mut astray = standing.iter().filter(|(_, proved)| !**proved).map(|(key, _)| key.1);
        let mut missing = [None; MISSING_TOLD];
        missing.fill_with(|| astray.next());
        Convergence {
            asked: count(standing.len()),
            answered: count(standing.values().filter(|proved| **proved).count()),
            after: self.proved_at.since(self.begun),
            missing,
        }
    }
}

fn mark(group: GroupKey, token: u32, place: usize, control: bool) -> Mark {
    let mut mark = [0; 16];
    mark[..8].copy_from_slice(&group.0.to_be_bytes());
    mark[8..12].copy_from_slice(&token.to_be_bytes());
    mark[12..14].copy_from_slice(&u16::try_from(place).unwrap_or(u16::MAX).to_be_bytes());
    mark[14] = u8::from(control);
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupKey = GroupKey(7);
    const EPOCH: Epoch = Epoch(3);

    fn target(last: u8) -> Target {
        Target { link: 2, address: [10, 0, 0, last].into(), hardware: [2, 0, 0, 0, 0, last] }
    }

    fn vip() -> IpAddr {
        [10, 0, 0, 100].into()
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn with(hosts: &[u8]) -> Verification {
        let mut verification = Verification::new(5);
        let pairs = hosts.iter().map(|last| (vip(), target(*last))).collect();
        verification.begin(at(0), (GROUP, EPOCH), pairs);
        verification
    }

    fn round(verification: &mut Verification, now: Instant) -> Vec<Task> {
        verification.announced(GROUP);
        std::iter::from_fn(|| verification.next(now)).collect()
    }

    fn found(outcomes: Vec<(GroupKey, Epoch, Convergence)>) -> Vec<(u16, u16, u128)> {
        let shown = |(_, _, it): (_, _, Convergence)| (it.answered, it.asked, it.after.as_millis());
        outcomes.into_iter().map(shown).collect()
    }

    #[test]
    fn all_that_answer_through_the_address_end_the_course_at_once() {
        let mut verification = with(&[1, 2]);
        let tasks = round(&mut verification, at(0));
        assert!(tasks.iter().all(|task| !task.tell && task.control.is_some()), "{tasks:?}");
        verification.answered(at(1), &tasks[0].mark);
        assert_eq!(found(verification.outcomes(at(1))), []);
        verification.answered(at(2), &tasks[1].mark);
        assert_eq!(found(verification.outcomes(at(2))), [(2, 2, 2)]);
        assert_eq!(verification.listens(), (false, false), "it is over");
        assert_eq!(round(&mut verification, at(10)), []);
    }

    #[test]
    fn who_does_not_follow_is_told_directly_until_it_does() {
        let mut verification = with(&[1, 2]);
        let first = round(&mut verification, at(0));
        verification.answered(at(0), &first[0].mark);
        verification.answered(at(0), &first[1].control.unwrap());
        for time in [10, 50, 200] {
            let again = round(&mut verification, at(time));
            assert_eq!(again.len(), 1, "at {time}: {again:?}");
            assert_eq!((again[0].target, again[0].tell), (target(2), true));
            assert_eq!(again[0].control, None, "it is known to answer");
        }
        assert_eq!(found(verification.outcomes(at(400))), [], "one that can answer is astray");
        let last = round(&mut verification, at(1400));
        verification.answered(at(1401), &last[0].mark);
        assert_eq!(found(verification.outcomes(at(1401))), [(2, 2, 1401)]);
    }

    #[test]
    fn who_answers_nothing_is_told_but_not_counted() {
        let mut verification = with(&[1, 2]);
        let first = round(&mut verification, at(0));
        verification.answered(at(1), &first[0].mark);
        let second = round(&mut verification, at(50));
        assert!(second[0].tell && second[0].control.is_some(), "{second:?}");
        assert_eq!(verification.deadline(at(51)), Some(at(1)), "an answer has come");
        assert_eq!(found(verification.outcomes(at(51))), []);
        assert_eq!(verification.deadline(at(51)), Some(at(300)));
        assert_eq!(found(verification.outcomes(at(300))), [(1, 1, 1)]);
        assert_eq!(round(&mut verification, at(1400)).len(), 1, "it is told for the whole course");
        assert_eq!(found(verification.outcomes(at(6000))), [], "nothing new");
        assert_eq!(verification.deadline(at(6000)), None);
    }

    #[test]
    fn who_does_not_follow_to_the_end_is_named() {
        let mut verification = with(&[1, 2, 3, 4, 5]);
        let tasks = round(&mut verification, at(0));
        for task in &tasks {
            verification.answered(at(1), &task.control.unwrap());
        }
        verification.answered(at(3), &tasks[0].mark);
        assert_eq!(found(verification.outcomes(at(5999))), []);
        let outcomes = verification.outcomes(at(6000));
        assert_eq!(outcomes[0].2.missing, [2, 3, 4].map(|last| Some(target(last).address)));
        assert_eq!(found(outcomes), [(1, 5, 3)]);
    }

    #[test]
    fn nobody_who_answers_is_not_knowing() {
        let mut verification = with(&[1]);
        round(&mut verification, at(0));
        assert_eq!(found(verification.outcomes(at(5999))), []);
        assert_eq!(found(verification.outcomes(at(6000))), [(0, 0, 0)]);
    }

    #[test]
    fn answers_of_another_course_or_of_outsiders_show_nothing() {
        let mut verification = with(&[1]);
        let old = round(&mut verification, at(0));
        verification.begin(at(5), (GROUP, Epoch(4)), vec![(vip(), target(1))]);
        round(&mut verification, at(5));
        assert_eq!(verification.asked(&old[0].mark), None);
        verification.answered(at(6), &old[0].mark);
        verification.answered(at(6), &[0; 16]);
        assert_eq!(found(verification.outcomes(at(6))), []);
        verification.stop(GROUP);
        assert_eq!(round(&mut verification, at(9)), []);
    }

    #[test]
    fn a_thousand_groups_are_asked_gateways_first_and_at_the_pace() {
        let mut verification = Verification::new(5);
        let mut pairs = 0;
        for group in 0..1000 {
            let room = verification.room();
            let hosts = (1..=60).map(|last| (vip(), target(last)));
            verification.begin(at(0), (GroupKey(group), EPOCH), hosts.take(room).collect());
            verification.announced(GroupKey(group));
            pairs += room.min(60);
        }
        assert!((2000..5000).contains(&pairs), "{pairs}");
        let mut sent = Vec::new();
        let mut now = at(0);
        while sent.len() < pairs {
            sent.extend(std::iter::from_fn(|| verification.next(now)).map(|task| (now, task)));
            let allowed = BURST + now.as_millis() * RATE / 1000 + 1;
            assert!(sent.len() as u64 <= allowed, "{} at {now:?}", sent.len());
            now = verification.deadline(now).expect("more is to come").max(now + CONTROL_PAUSE);
        }
        assert!(sent[..1000].iter().all(|(_, task)| task.target == target(1)), "gateways first");
    }
}
