//! What has happened, as far as a page shows it: the last events, and who owned what in the last
//! hour. In memory, bounded, and gone with this process; a daemon that still runs tells it again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::control::response::Event;
use crate::control::timestamp;

/// How far back ownership is shown.
pub(super) const SPAN: Duration = Duration::from_secs(3600);
/// Events kept for the page and for listeners that come back.
const RECENT_MAX: usize = 256;
/// Changes of owner kept: eight for each of the most groups. Then the oldest go.
const CHANGES_MAX: usize = 32 * 1024;
/// Times without the daemon that are kept.
const ABSENCES_MAX: usize = 64;

/// All that is kept.
#[derive(Debug, Default)]
pub(super) struct History {
    recent: VecDeque<Arc<Event>>,
    changes: VecDeque<Change>,
    absences: VecDeque<Absence>,
    /// Number and time of the event taken last; the same daemon tells them again.
    last: Option<(u64, String)>,
    up: Option<bool>,
}

/// A group changed its owner. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) at: u64,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    /// Pool and name.
    group: (String, String),
}

/// The daemon did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Absence {
    pub(super) from: u64,
    /// When it answered again; `None` while it does not.
    pub(super) to: Option<u64>,
}

/// Who owned a group for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stay<'a> {
    pub(super) from: u64,
    pub(super) to: u64,
    /// `None`: nobody, or not known.
    pub(super) owner: Option<&'a str>,
}

/// Milliseconds since 1970.
pub(super) fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

const fn span() -> u64 {
    SPAN.as_secs() * 1000
}

impl History {
    /// Takes in an event; `false` if it was told before.
    pub(super) fn take(&mut self, event: &Arc<Event>) -> bool {
        let known = self.last.as_ref();
        // A daemon that has started again counts from 1 again, but later.
        if known.is_some_and(|(seq, time)| event.seq <= *seq && event.time <= *time) {
            return false;
        }
        self.last = Some((event.seq, event.time.clone()));
        self.recent.push_back(Arc::clone(event));
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
        self.change(event);
        true
    }

    fn change(&mut self, event: &Event) {
        let (Some(pool), Some(group)) = (&event.pool, &event.group) else { return };
        let Some(at) = timestamp::parse(&event.time) else { return };
        if event.kind != "owner_changed" {
            return;
        }
        let group = (pool.clone(), group.clone());
        let (from, to) = (event.from.clone(), event.to.clone());
        self.changes.push_back(Change { at, from, to, group });
        let old = |change: &Change| change.at + span() < at;
        while self.changes.len() > CHANGES_MAX || self.changes.front().is_some_and(old) {
            self.changes.pop_front();
        }
    }

    /// The daemon does not answer; `true` if it did before, or was never asked.
    pub(super) fn lost(&mut self, now: u64) -> bool {
        if self.up == Some(false) {
            return false;
        }
        self.up = Some(false);
        self.absences.push_back(Absence { from: now, to: None });
        if self.absences.len() > ABSENCES_MAX {
            self.absences.pop_front();
        }
        true
    }

    /// The daemon answers; `true` if it did not before.
    pub(super) fn found(&mut self, now: u64) -> bool {
        if self.up == Some(true) {
            return false;
        }
        self.up = Some(true);
        if let Some(last) = self.absences.back_mut() {
            last.to = Some(now);
        }
        true
    }

    /// The last events, newest first.
    pub(super) fn recent(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.recent.iter().rev()
    }

    /// Times without the daemon.
    pub(super) fn absences(&self) -> impl Iterator<Item = &Absence> {
        self.absences.iter()
    }

    /// Changes of owner by group, oldest first.
    pub(super) fn changes(&self) -> BTreeMap<(&str, &str), Vec<&Change>> {
        let mut changes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for change in &self.changes {
            let (pool, group) = &change.group;
            changes.entry((pool.as_str(), group.as_str())).or_default().push(change);
        }
        changes
    }
}

/// Who owned a group in the last hour, oldest first, from its changes, its owner now, and for how
/// long that owns it.
pub(super) fn stays<'a>(
    now: u64,
    changes: &[&'a Change],
    (owner, since_ms): (Option<&'a str>, u64),
) -> Vec<Stay<'a>> {
    let begin = now.saturating_sub(span());
    let changes: Vec<&Change> = changes.iter().filter(|one| one.at > begin).copied().collect();
    let mut stays = Vec::new();
    let mut stay = |from: u64, to: u64, owner: Option<&'a str>| {
        if from < to {
            stays.push(Stay { from, to, owner });
        }
    };
    let Some(first) = changes.first() else {
        stay(now.saturating_sub(since_ms).max(begin), now, owner);
        return stays;
    };
    stay(begin, first.at, first.from.as_deref());
    for pair in changes.windows(2) {
        stay(pair[0].at, pair[1].at, pair[0].to.as_deref());
    }
    // The newest change may be younger than the status, or the other way round.
    let last = changes.last().map_or(begin, |change| change.at);
    stay(last, now, owner);
    stays
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_709_213_696_000;

    fn moved(seq: u64, time: &str, from: Option<&str>, to: Option<&str>) -> Arc<Event> {
        Arc::new(Event {
            seq,
            time: time.to_owned(),
            kind: "owner_changed".to_owned(),
            observer: "lb1".to_owned(),
            node: None,
            pool: Some("web".to_owned()),
            group: Some("g".to_owned()),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            epoch: None,
            cause: None,
            sentence: String::new(),
        })
    }

    fn told(history: &History, owner: (Option<&str>, u64)) -> Vec<(u64, u64, Option<String>)> {
        let changes = history.changes();
        let changes = changes.get(&("web", "g")).cloned().unwrap_or_default();
        let stays = stays(NOW, &changes, owner);
        let begin = NOW - span();
        let seconds = |at: u64| (at - begin) / 1000;
        let told =
            |stay: &Stay<'_>| (seconds(stay.from), seconds(stay.to), stay.owner.map(str::to_owned));
        stays.iter().map(told).collect()
    }

    #[test]
    fn the_hour_is_told_from_changes_and_the_present_owner() {
        let owner = |name: &str| Some(name.to_owned());
        let mut history = History::default();
        assert_eq!(told(&history, (Some("lb1"), 7_000_000)), [(0, 3600, owner("lb1"))]);
        assert_eq!(told(&history, (Some("lb1"), 60_000)), [(3540, 3600, owner("lb1"))]);
        // NOW is 13:34:56.
        history.take(&moved(1, "2024-02-29T12:44:56.000Z", Some("lb1"), None));
        history.take(&moved(2, "2024-02-29T12:45:06.000Z", None, Some("lb2")));
        assert_eq!(
            told(&history, (Some("lb2"), 0)),
            [(0, 600, owner("lb1")), (600, 610, None), (610, 3600, owner("lb2"))]
        );
    }

    #[test]
    fn events_told_again_are_known_and_a_new_daemon_is_heard() {
        let mut history = History::default();
        let first = moved(1, "2024-02-29T12:44:56.000Z", None, Some("lb1"));
        let second = moved(2, "2024-02-29T12:44:56.000Z", None, Some("lb1"));
        let restarted = moved(1, "2024-02-29T12:50:00.000Z", None, Some("lb1"));
        let taken = [&first, &second, &first, &second, &restarted, &restarted];
        let taken = taken.map(|event| history.take(event));
        assert_eq!(taken, [true, true, false, false, true, false]);
        assert_eq!(history.recent().count(), 3);
    }

    #[test]
    fn what_is_kept_has_its_limits() {
        let mut history = History::default();
        for seq in 1..=CHANGES_MAX as u64 + 9 {
            history.take(&moved(seq, "2024-02-29T12:44:56.000Z", None, Some("lb1")));
        }
        assert_eq!((history.recent.len(), history.changes.len()), (RECENT_MAX, CHANGES_MAX));
        history.take(&moved(u64::MAX, "2024-02-29T14:44:56.000Z", None, Some("lb1")));
        assert_eq!(history.changes.len(), 1, "older than an hour");
        for turn in 0..2 * ABSENCES_MAX as u64 {
            assert!(history.lost(turn));
            assert!(!history.lost(turn));
            assert!(history.found(turn));
            assert!(!history.found(turn));
        }
        assert_eq!(history.absences().count(), ABSENCES_MAX);
    }
}
