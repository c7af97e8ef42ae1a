//! The flight recorder: the last events of this node, in memory, for `buoy events`.
//!
//! It begins with the events of former processes that the daemon has found on disk, and counts on
//! from their numbers.
//!
//! The daemon calls [`Recorder::record`] for each `Report`, with the wall-clock time it read, and
//! [`Recorder::note`] for what the protocol has no part in. An event is rendered once, when it is
//! recorded, for readers, log and hooks, and so keeps the names that were in force when it happened.
//! The ring holds [`EVENTS_MAX`] events; when it is full the oldest goes, and a reader that is
//! overtaken gets an event that says how many it missed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::events::EventRecord;
use super::names::{Names, NamesInForce};
use super::report_counters::ReportCounters;
use super::response::Event;
use super::{events, timestamp};
use crate::protocol::{Cause, GroupKey, NodeId, Report, Verdict};

/// Events kept: a failover of 1000 groups makes about 1000, so this tells of the last few.
pub const EVENTS_MAX: usize = 4096;
/// A number above this was not written by a recorder.
const SEQ_MAX: u64 = 1 << 53;
/// Events copied out under one lock, so that a reader never holds up the daemon for long.
const PAGE: usize = 256;

/// The ring. Shared as `Arc<Recorder>` between the daemon and the server.
#[derive(Debug)]
pub struct Recorder {
    names: NamesInForce,
    ring: Mutex<Ring>,
    /// How long each node that is dead now had been silent when it was given up.
    silences: Mutex<BTreeMap<NodeId, Duration>>,
    counters: Mutex<ReportCounters>,
    newest: watch::Sender<u64>,
    /// Number of the last event of former processes.
    former: u64,
}

#[derive(Debug, Default)]
struct Ring {
    /// Number of the event recorded last; the first is 1.
    newest: u64,
    entries: VecDeque<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    seq: u64,
    at: SystemTime,
    group: Option<GroupKey>,
    event: Arc<Event>,
}

/// Which events a reader wants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Not those before this time.
    pub since: Option<SystemTime>,
    /// Only those about this group.
    pub group: Option<GroupKey>,
}

/// Some events, oldest first, and where to go on.
#[derive(Debug)]
pub struct Page {
    /// What was found; may be empty although more follows, if the filter passed none.
    pub events: Vec<Event>,
    /// Give this to the next call.
    pub after: u64,
    /// Whether the newest event has been reached.
    pub complete: bool,
}

impl Recorder {
    /// Starts empty.
    #[must_use]
    pub fn new(names: NamesInForce) -> Self {
        Self::going_on(names, Vec::new())
    }

    /// Starts with these events of former processes, oldest first.
    #[must_use]
    pub fn going_on(names: NamesInForce, former: Vec<Event>) -> Self {
        let ring = Ring::after(former, &names.current());
        let former = ring.newest;
        let (silences, counters) = (Mutex::default(), Mutex::default());
        let newest = watch::Sender::new(former);
        Self { names, ring: Mutex::new(ring), silences, counters, newest, former }
    }

    /// Number of the last event of former processes; 0 if there is none.
    #[must_use]
    pub fn former(&self) -> u64 {
        self.former
    }

    /// Adds a report that was made at this wall-clock time, and returns it as an event. Never blocks
    /// for long.
    pub fn record(&self, at: SystemTime, report: &Report) -> EventRecord {
        let names = self.names.current();
        let record = events::describe(report, self.silence(report), &names);
        self.counts().report(report, &names);
        self.note(at, &record);
        record
    }

    /// Adds an event that happened at this wall-clock time.
    pub fn note(&self, at: SystemTime, record: &EventRecord) {
        self.counts().event(record.kind);
        let newest = {
            let mut ring = self.lock();
            ring.newest += 1;
            let (seq, group, time) = (ring.newest, record.group, timestamp::rfc3339(at));
            let event = Arc::new(Event { seq, time, ..record.event.clone() });
            if ring.entries.len() == EVENTS_MAX {
                ring.entries.pop_front();
            }
            ring.entries.push_back(Entry { seq, at, group, event });
            seq
        };
        self.newest.send_replace(newest);
    }

    /// Returns the names in force.
    pub(super) fn names(&self) -> Arc<Names> {
        self.names.current()
    }

    /// Remembers silences that meant death and finds the one that explains this report.
    fn silence(&self, report: &Report) -> Option<Duration> {
        let mut silences = self.silences.lock().unwrap_or_else(PoisonError::into_inner);
        if let Report::PeerChanged { peer, to: Verdict::Dead, silence, .. } = *report {
            silences.insert(peer, silence);
        } else if let Report::PeerChanged { peer, .. } | Report::PeerRestarted { peer } = *report {
            silences.remove(&peer);
        } else if let Report::OwnerChanged { cause: Cause::Silence(node), .. } = *report {
            return silences.get(&node).copied();
        }
        None
    }

    /// Counts of all that was recorded.
    #[must_use]
    pub fn counters(&self) -> ReportCounters {
        self.counts().clone()
    }

    fn counts(&self) -> MutexGuard<'_, ReportCounters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of the newest event, now and whenever it changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Ends as soon as nobody subscribes any more.
    #[cfg(test)]
    pub(super) async fn unsubscribed(&self) {
        self.newest.closed().await;
    }

    /// Reads on after event number `after`; 0 is the beginning.
    #[must_use]
    pub fn page(&self, after: u64, filter: Filter) -> Page {
        let (oldest, newest, entries) = self.copy(after);
        let mut events = Vec::new();
        let mut reached = newest;
        // A reader that starts at 0 did not miss what was overwritten before it came.
        if after != 0 && oldest > after + 1 {
            events.push(self.overwritten(oldest - 1, oldest - 1 - after, &entries));
        }
        for entry in entries {
            reached = entry.seq;
            if filter.passes(&entry) {
                events.push(Event::clone(&entry.event));
            }
        }
        Page { events, after: reached, complete: reached >= newest }
    }

    /// The numbers of the oldest and the newest event, and up to a page of those after `after`.
    fn copy(&self, after: u64) -> (u64, u64, Vec<Entry>) {
        let ring = self.lock();
        let oldest = ring.entries.front().map_or(ring.newest + 1, |entry| entry.seq);
        let skip = usize::try_from((after + 1).saturating_sub(oldest)).unwrap_or(usize::MAX);
        (oldest, ring.newest, ring.entries.iter().skip(skip).take(PAGE).cloned().collect())
    }

    fn overwritten(&self, seq: u64, missed: u64, next: &[Entry]) -> Event {
        let record = events::overwritten(missed, &self.names.current());
        let time = next.first().map_or_else(String::new, |entry| timestamp::rfc3339(entry.at));
        Event { seq, time, ..record.event }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// With the last of these. Their numbers are made to follow each other.
    fn after(mut former: Vec<Event>, names: &Names) -> Self {
        former.drain(..former.len().saturating_sub(EVENTS_MAX));
        let last = former.last().map_or(0, |event| event.seq).min(SEQ_MAX);
        let newest = last.max(former.len() as u64);
        let first = newest - former.len() as u64 + 1;
        let entries = (first..).zip(former).map(|(seq, event)| {
            let since_1970 = timestamp::parse(&event.time).unwrap_or_default();
            let at = UNIX_EPOCH + Duration::from_millis(since_1970);
            let group = event.pool.as_ref().zip(event.group.as_ref());
            let group =
                group.and_then(|(pool, group)| names.find_group(&format!("{pool}/{group}")).ok());
            Entry { seq, at, group, event: Arc::new(Event { seq, ..event }) }
        });
        Self { newest, entries: entries.collect() }
    }
}

impl Filter {
    fn passes(&self, entry: &Entry) -> bool {
        self.since.is_none_or(|since| entry.at >= since)
            && self.group.is_none_or(|group| entry.group == Some(group))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{group, names, node};
    use super::*;
    use crate::protocol::Epoch;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_709_210_096) + Duration::from_millis(millis)
    }

    fn recorder() -> Recorder {
        Recorder::new(NamesInForce::new(names()))
    }

    fn death() -> Report {
        Report::PeerChanged {
            peer: node("lb1"),
            from: Verdict::Suspect,
            to: Verdict::Dead,
            silence: Duration::from_millis(312),
        }
    }

    fn takeover() -> Report {
        Report::OwnerChanged {
            group: group("10.77.0.100"),
            from: Some(node("lb1")),
            to: Some(node("lb2")),
            epoch: Epoch(8),
            cause: Cause::Silence(node("lb1")),
        }
    }

    #[test]
    fn a_takeover_has_its_golden_json_with_the_silence_that_caused_it() {
        let recorder = recorder();
        recorder.record(at(0), &death());
        recorder.record(at(1), &takeover());
        let page = recorder.page(0, Filter::default());
        assert_eq!(
            serde_json::to_string(&page.events[1]).unwrap(),
            concat!(
                r#"{"seq":2,"time":"2024-02-29T12:34:56.001Z","kind":"owner_changed","#,
                r#""observer":"lb1","node":"lb2","pool":"web","group":"10.77.0.100","#,
                r#""from":"lb1","to":"lb2","epoch":8,"cause":"lb1 was silent for 312 ms","#,
                r#""sentence":"10.77.0.100 moved from lb1 to lb2: lb1 was silent for 312 ms"}"#,
            )
        );
        assert_eq!(page.events[0].sentence, "lb1 is dead: silent for 312 ms");
        assert!(page.complete);
    }

    #[test]
    fn an_old_silence_does_not_explain_a_later_takeover() {
        let recorder = recorder();
        recorder.record(at(0), &death());
        recorder.record(at(1), &Report::PeerRestarted { peer: node("lb1") });
        recorder.record(at(2), &takeover());
        let page = recorder.page(0, Filter::default());
        assert_eq!(page.events[2].cause.as_deref(), Some("lb1 fell silent"));
    }

    #[test]
    fn events_of_former_processes_come_first_and_are_counted_on_from() {
        let before = recorder();
        before.record(at(0), &death());
        before.record(at(1), &takeover());
        let mut former = before.page(0, Filter::default()).events;
        former[1].seq = u64::MAX;
        former[0].time = "yesterday".to_owned();
        let recorder = Recorder::going_on(NamesInForce::new(names()), former);
        let first = recorder.former();
        recorder.record(at(2), &takeover());
        let told = |after, group| {
            let page = recorder.page(after, Filter { since: None, group });
            page.events.into_iter().map(|event| event.seq - first).collect::<Vec<_>>()
        };
        assert_eq!(first, SEQ_MAX, "no number overflows");
        assert_eq!(told(first, None), [1], "a writer goes on behind what it has read");
        let page = recorder.page(0, Filter { since: Some(at(1)), group: None });
        let sentences: Vec<_> = page.events.iter().map(|event| &*event.sentence).collect();
        let (told_then, now) = ("lb1 was silent for 312 ms", "lb1 fell silent");
        let moved = |cause| format!("10.77.0.100 moved from lb1 to lb2: {cause}");
        assert_eq!(sentences, [moved(told_then), moved(now)]);
        assert_eq!(recorder.page(0, Filter::default()).events.len(), 3);
        let group = Some(group("10.77.0.100"));
        assert_eq!(recorder.page(0, Filter { since: None, group }).events.len(), 2);
        assert!(recorder.counters().events.values().sum::<u64>() == 1, "of this process only");
    }

    #[test]
    fn filters_by_time_and_by_group() {
        let recorder = recorder();
        recorder.record(at(0), &takeover());
        recorder.record(at(5), &death());
        recorder.record(at(9), &takeover());
        let seen = |filter| -> Vec<u64> {
            recorder.page(0, filter).events.iter().map(|event| event.seq).collect()
        };
        assert_eq!(seen(Filter { since: Some(at(5)), group: None }), [2, 3]);
        let first = Some(group("10.77.0.100"));
        assert_eq!(seen(Filter { since: None, group: first }), [1, 3]);
        assert_eq!(seen(Filter { since: Some(at(1)), group: first }), [3]);
        assert!(seen(Filter { since: None, group: Some(group("10.77.0.101")) }).is_empty());
    }

    #[test]
    fn the_ring_keeps_the_newest_and_tells_a_reader_what_it_missed() {
        let recorder = recorder();
        recorder.record(at(0), &death());
        let first = recorder.page(0, Filter::default());
        for step in 1..=EVENTS_MAX as u64 + 9 {
            recorder.record(at(step), &takeover());
        }
        let mut page = recorder.page(first.after, Filter::default());
        assert_eq!(page.events[0].kind, "overwritten");
        assert_eq!(
            page.events[0].sentence,
            "9 events were lost: they came faster than they could be read"
        );
        let mut expected = 11;
        let mut events: Vec<Event> = page.events.drain(1..).collect();
        loop {
            for event in &events {
                assert_eq!(event.seq, expected);
                expected += 1;
            }
            assert!(events.len() <= PAGE);
            if page.complete {
                break;
            }
            page = recorder.page(page.after, Filter::default());
            events = page.events.drain(..).collect();
        }
        assert_eq!(expected, EVENTS_MAX as u64 + 11, "all that is kept was read once");
        let fresh = recorder.page(0, Filter::default());
        assert_eq!(fresh.events[0].kind, "owner_changed", "a new reader missed nothing");
    }

    #[test]
    fn an_event_keeps_the_names_of_its_time() {
        let in_force = NamesInForce::new(names());
        let recorder = Recorder::new(in_force.clone());
        recorder.record(at(0), &takeover());
        in_force.replace(Names::new("edge".to_owned(), node("lb1"), Vec::new(), Vec::new()));
        assert_eq!(recorder.page(0, Filter::default()).events[0].to.as_deref(), Some("lb2"));
    }

    #[test]
    fn followers_learn_of_each_event() {
        let recorder = recorder();
        let newest = recorder.subscribe();
        recorder.record(at(0), &death());
        assert!(newest.has_changed().unwrap());
        assert_eq!(*newest.borrow(), 1);
    }
}
