//! What a client saw: every probe to one address, and what follows from them. Pure.
//!
//! An outage is measured by the probes' own sending times: from the last answered probe before a
//! run of unanswered ones to the first answered probe after it. So a pause of the probing process
//! itself is no outage, and an outage is never reported shorter than it was.

use std::time::{Duration, Instant};

use super::echo::Mac;

/// An answer that takes longer counts as none: the neighbour cache holds packets back while it
/// resolves an address, and answers all of them late when the address is back.
pub const ANSWER_LIMIT: Duration = Duration::from_millis(50);

/// One probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// When it was sent.
    pub sent: Instant,
    /// When it was answered and by which interface.
    pub answer: Option<(Instant, Mac)>,
}

impl Probe {
    /// Who answered it in time.
    #[must_use]
    pub fn answered_by(&self) -> Option<Mac> {
        self.answer.filter(|(at, _)| *at <= self.sent + ANSWER_LIMIT).map(|(_, mac)| mac)
    }
}

/// Every probe to one address, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Record {
    probes: Vec<Probe>,
}

/// What the probes of one stretch of time say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Probes sent.
    pub sent: usize,
    /// Probes without an answer in time.
    pub lost: usize,
    /// The longest outage; zero when nothing was lost.
    pub outage: Duration,
    /// Whether the stretch ends unanswered, so that the outage is not over.
    pub open: bool,
    /// Who answered, in order, a repetition told once: more than two entries tell of answers by
    /// turns.
    pub answered_by: Vec<Mac>,
}

impl Record {
    /// Takes note of a probe being sent; tells its number.
    pub fn sent(&mut self, at: Instant) -> u32 {
        // At 500 probes a second the numbers last for 99 days.
        let number = u32::try_from(self.probes.len()).unwrap_or(u32::MAX);
        self.probes.push(Probe { sent: at, answer: None });
        number
    }

    /// Takes note of an answer; the first one to a probe counts.
    pub fn answered(&mut self, number: u32, at: Instant, by: Mac) {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(probe) = self.probes.get_mut(index) {
            probe.answer.get_or_insert((at, by));
        }
    }

    /// Every probe, oldest first.
    #[must_use]
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// Who answered last, if that was since `since`.
    #[must_use]
    pub fn answers_since(&self, since: Instant) -> Option<Mac> {
        let recent = self.probes.iter().rev().take_while(|probe| probe.sent >= since);
        recent.filter_map(Probe::answered_by).next()
    }

    /// Judges the probes sent from `from` until before `to`. The last answered one before `from`
    /// counts as the start of an outage that begins there. A probe for which the time to answer
    /// has not passed at `to` should not be in the stretch: choose `to` [`ANSWER_LIMIT`] ago.
    #[must_use]
    pub fn seen(&self, from: Instant, to: Instant) -> Seen {
        let first = self.probes.partition_point(|probe| probe.sent < from);
        let end = self.probes.partition_point(|probe| probe.sent < to).max(first);
        let before = self.probes[..first].iter().rev().find(|probe| probe.answered_by().is_some());
        let mut last_answered = before.map(|probe| probe.sent);
        let mut seen = Seen::default();
        for probe in &self.probes[first..end] {
            seen.sent += 1;
            match probe.answered_by() {
                None => {
                    seen.lost += 1;
                    seen.open = true;
                    seen.outage = seen.outage.max(since(last_answered.or(Some(from)), probe.sent));
                }
                Some(mac) => {
                    if seen.open {
                        let gap = since(last_answered.or(Some(from)), probe.sent);
                        seen.outage = seen.outage.max(gap);
                        seen.open = false;
                    }
                    last_answered = Some(probe.sent);
                    if seen.answered_by.last() != Some(&mac) {
                        seen.answered_by.push(mac);
                    }
                }
            }
        }
        seen
    }
}

fn since(earlier: Option<Instant>, later: Instant) -> Duration {
    earlier.map_or(Duration::ZERO, |earlier| later.saturating_duration_since(earlier))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = [2, 0, 0, 0, 0, 1];
    const B: Mac = [2, 0, 0, 0, 0, 2];

    /// One probe every 2 ms, answered 1 ms later by whom the letters say; `.` is no answer.
    fn train(letters: &str) -> (Record, Instant) {
        let start = super::super::clock::now();
        let mut record = Record::default();
        for (index, letter) in (0_u64..).zip(letters.chars()) {
            let sent = start + Duration::from_millis(2 * index);
            let number = record.sent(sent);
            match letter {
                'a' => record.answered(number, sent + Duration::from_millis(1), A),
                'b' => record.answered(number, sent + Duration::from_millis(1), B),
                'l' => record.answered(number, sent + Duration::from_millis(51), B),
                _ => {}
            }
        }
        (record, start)
    }

    fn seen(letters: &str) -> Seen {
        let (record, start) = train(letters);
        record.seen(start, start + Duration::from_secs(9))
    }

    #[test]
    fn nothing_lost_is_no_outage() {
        let seen = seen("aaaabbbb");
        assert_eq!((seen.lost, seen.outage, seen.open), (0, Duration::ZERO, false));
        assert_eq!(seen.answered_by, [A, B]);
    }

    #[test]
    fn outage_runs_from_the_last_answered_probe_to_the_next() {
        let seen = seen("aa...bb");
        assert_eq!((seen.lost, seen.outage), (3, Duration::from_millis(8)));
    }

    #[test]
    fn longest_of_two_outages_is_told() {
        assert_eq!(seen("a.a...a..a").outage, Duration::from_millis(8));
    }

    #[test]
    fn answers_by_turns_are_told_in_order() {
        assert_eq!(seen("aabaab").answered_by, [A, B, A, B]);
    }

    #[test]
    fn late_answers_are_no_answers() {
        let seen = seen("a.llb");
        assert_eq!((seen.lost, seen.outage), (3, Duration::from_millis(8)));
    }

    #[test]
    fn outage_that_has_not_ended_is_open() {
        let seen = seen("aa..");
        assert!(seen.open);
        assert_eq!(seen.outage, Duration::from_millis(4));
    }

    #[test]
    fn outage_that_began_just_before_the_stretch_is_told_whole() {
        let (record, start) = train("aa....b");
        let seen = record.seen(start + Duration::from_millis(6), start + Duration::from_secs(1));
        assert_eq!((seen.sent, seen.lost), (4, 3));
        assert_eq!(seen.outage, Duration::from_millis(10));
    }

    #[test]
    fn who_answers_now_is_the_last_answer_only_if_recent() {
        let (record, start) = train("ab....");
        assert_eq!(record.answers_since(start), Some(B));
        assert_eq!(record.answers_since(start + Duration::from_millis(4)), None);
    }
}
