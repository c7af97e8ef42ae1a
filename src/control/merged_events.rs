//! The records of several nodes as one story in one order.
//!
//! Every node writes events under its own clock. How far a clock is ahead of that of the first record
//! is estimated from changes of ownership that both nodes have seen: each is known to all nodes a
//! network delay after it happened, so the median of the differences is the offset of the clocks, and
//! their spread says how certain that is. Events keep the order of their own node; those of different
//! nodes are ordered by corrected time. What several nodes report of the cluster
//! ([`Scope::Cluster`]) with the same words within a second is one line that names them all. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::events::{Kind, Scope};
use super::response::{Event, SCHEMA};
use super::timestamp;

/// The same sentence of another node within this time is the same event.
const SAME_WITHIN_MS: i64 = 1000;
/// So many lines are searched for it.
const LINES_SEARCHED: usize = 256;
/// No estimate is better than this: times are written in milliseconds, and hearing takes some.
const UNCERTAINTY_MIN_MS: i64 = 2;

/// What one node has recorded.
#[derive(Clone, Debug)]
pub struct Record {
    /// Name of the node.
    pub node: String,
    /// Its events in its order, or why there are none.
    pub events: Result<Vec<Event>, String>,
}

/// What is known of a record and of the clock behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the node.
    pub record: String,
    /// Number of events.
    pub events: usize,
    /// How far its clock is ahead of that of the first record, in milliseconds; `null` if unknown.
    pub clock_ahead_ms: Option<i64>,
    /// The estimate may be wrong by this much, in milliseconds.
    pub clock_uncertainty_ms: Option<i64>,
    /// Number of changes of ownership that both have seen.
    pub in_common: usize,
    /// Why there is no record.
    pub error: Option<String>,
}

/// An event with the nodes that report it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MergedEvent {
    /// As the first of them reports it.
    #[serde(flatten)]
    pub event: Event,
    /// When it happened by the clock of the first record, RFC 3339.
    pub corrected_time: String,
    /// The nodes that report it.
    pub observers: Vec<String>,
}

/// The result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// One for each record, in the order given.
    pub origins: Vec<Origin>,
    /// Oldest first.
    pub lines: Vec<MergedEvent>,
}

/// An event under the clock of the first record.
struct Dated {
    at: i64,
    event: Event,
}

/// Merges records. The first is that whose clock is the reference.
#[must_use]
pub fn merge(records: Vec<Record>) -> Story {
    let mut reference = None;
    let mut origins = Vec::new();
    let mut queues = Vec::new();
    for Record { node, events } in records {
        let (events, error) = match events {
            Ok(events) => (events, None),
            Err(error) => (Vec::new(), Some(plain(&error))),
        };
        let seen = changes(&events);
        let first = reference.get_or_insert_with(|| seen.clone());
        let offset = if origins.is_empty() { Some((0, 0)) } else { offset(first, &seen) };
        let in_common = seen.keys().filter(|change| first.contains_key(*change)).count();
        queues.push(dated(events, offset.map_or(0, |(ahead, _)| ahead)));
        origins.push(Origin {
            schema: SCHEMA,
            record: node,
            events: queues.last().map_or(0, Vec::len),
            clock_ahead_ms: offset.map(|(ahead, _)| ahead),
            clock_uncertainty_ms: offset.map(|(_, uncertainty)| uncertainty),
            in_common,
            error,
        });
    }
    let names: Vec<&str> = origins.iter().map(|origin| &*origin.record).collect();
    let lines = interleave(queues, &names);
    Story { origins, lines }
}

/// What every node sees of a change of ownership.
type Change = (Option<String>, Option<String>, Option<String>, Option<u64>);

/// When each change was recorded. One that a record has twice says nothing.
fn changes(events: &[Event]) -> BTreeMap<Change, i64> {
    let mut found: BTreeMap<Change, Option<i64>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.kind == "owner_changed") {
        let Some(at) = millis(&event.time) else { continue };
        let change = (event.pool.clone(), event.group.clone(), event.to.clone(), event.epoch);
        found.entry(change).and_modify(|at| *at = None).or_insert(Some(at));
    }
    found.into_iter().filter_map(|(change, at)| Some((change, at?))).collect()
}

/// How far one clock is ahead of the reference, and the uncertainty.
fn offset(reference: &BTreeMap<Change, i64>, seen: &BTreeMap<Change, i64>) -> Option<(i64, i64)> {
    let difference = |(change, at): (&Change, &i64)| Some(at - reference.get(change)?);
    let mut differences: Vec<i64> = seen.iter().filter_map(difference).collect();
    differences.sort_unstable();
    let median = *differences.get(differences.len() / 2)?;
    // A node that was cut off learns of some changes much later: the outer tenths say nothing.
    let outer = differences.len() / 10;
    let (low, high) = (differences[outer], differences[differences.len() - 1 - outer]);
    Some((median, (high - median).max(median - low).max(UNCERTAINTY_MIN_MS)))
}

fn dated(events: Vec<Event>, ahead: i64) -> Vec<Dated> {
    let mut last = 0;
    let date = |event: Event| {
        last = millis(&event.time).map_or(last, |at| at - ahead);
        Dated { at: last, event }
    };
    events.into_iter().map(date).collect()
}

/// Takes the earliest of what each record tells next.
fn interleave(queues: Vec<Vec<Dated>>, names: &[&str]) -> Vec<MergedEvent> {
    let mut queues: Vec<_> = queues.into_iter().map(|queue| queue.into_iter().peekable()).collect();
    let mut lines: Vec<(i64, MergedEvent)> = Vec::new();
    loop {
        let heads = queues.iter_mut().enumerate();
        let heads = heads.filter_map(|(place, queue)| Some((queue.peek()?.at, place)));
        let Some((_, place)) = heads.min() else { break };
        let Some(Dated { at, event }) = queues[place].next() else { break };
        let observer = names[place];
        let searched = lines.len().saturating_sub(LINES_SEARCHED);
        let same = lines[searched..].iter_mut().rev().find(|(then, merged)| {
            is_shared(&event)
                && at - then <= SAME_WITHIN_MS
                && merged.event.kind == event.kind
                && merged.event.sentence == event.sentence
                && merged.event.epoch == event.epoch
                && !merged.observers.iter().any(|name| name == observer)
        });
        if let Some((_, merged)) = same {
            merged.observers.push(observer.to_owned());
            continue;
        }
        let since_1970 = Duration::from_millis(u64::try_from(at).unwrap_or(0));
        let corrected_time = timestamp::rfc3339(UNIX_EPOCH + since_1970);
        let observers = vec![observer.to_owned()];
        lines.push((at, MergedEvent { event, corrected_time, observers }));
    }
    lines.into_iter().map(|(_, merged)| merged).collect()
}

/// Whether all nodes record such an event. Of all others each node has its own.
fn is_shared(event: &Event) -> bool {
    Kind::with_word(&event.kind).is_some_and(|kind| kind.scope() == Scope::Cluster)
}

fn millis(time: &str) -> Option<i64> {
    timestamp::parse(time).and_then(|millis| i64::try_from(millis).ok())
}

/// Without anything that a terminal would obey: records come from other hosts.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

impl Origin {
    /// Returns one line for people.
    #[must_use]
    pub fn text(&self, first: bool) -> String {
        let Self { record, events, in_common, .. } = self;
        match (&self.error, self.clock_ahead_ms, self.clock_uncertainty_ms) {
            (Some(error), ..) => format!("{record}: no record: {error}\n"),
            (None, ..) if first => format!("{record}: {events} events; times are of its clock\n"),
            (None, Some(ahead), Some(uncertainty)) => {
                let (by, word) = (ahead.abs(), if ahead < 0 { "behind" } else { "ahead" });
                format!(
                    "{record}: {events} events; its clock is {by} ms {word}, give or take \
                     {uncertainty} ms ({in_common} events in common)\n"
                )
            }
            (None, ..) => format!(
                "{record}: {events} events; its clock cannot be compared (no event in common)\n"
            ),
        }
    }
}

impl Story {
    /// Returns all of it for people.
    #[must_use]
    pub fn text(&self) -> String {
        let origins = self.origins.iter().enumerate();
        let mut text: String = origins.map(|(place, it)| it.text(place == 0)).collect();
        let known = self.origins.iter().filter(|origin| origin.error.is_none()).count();
        if let Some(worst) = self.origins.iter().filter_map(|it| it.clock_uncertainty_ms).max()
            && known > 1
        {
            let _ = writeln!(
                text,
                "Events of different nodes within {worst} ms may have happened in the other order."
            );
        }
        text.push('\n');
        let observers = |merged: &MergedEvent| merged.observers.join(",");
        let width = self.lines.iter().map(|merged| observers(merged).len()).max().unwrap_or(0);
        for merged in &self.lines {
            let epoch =
                merged.event.epoch.map_or_else(String::new, |epoch| format!(" (epoch {epoch})"));
            let _ = writeln!(
                text,
                "{}  {:<width$}  {:<14}  {}{epoch}",
                merged.corrected_time,
                observers(merged),
                plain(&merged.event.kind),
                plain(&merged.event.sentence),
            );
        }
        text
    }

    /// Returns all of it for programs: one object for each record, then one for each event.
    ///
    /// # Errors
    /// None that is known: there is nothing in it that JSON cannot say.
    pub fn json(&self) -> serde_json::Result<String> {
        let mut text = String::new();
        for origin in &self.origins {
            text.push_str(&serde_json::to_string(origin)?);
            text.push('\n');
        }
        for merged in &self.lines {
            text.push_str(&serde_json::to_string(merged)?);
            text.push('\n');
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event of a node at a time of its own clock, in milliseconds of a minute.
    fn event(node: &str, millis: u64, kind: &str, sentence: &str) -> Event {
        let at = UNIX_EPOCH + Duration::from_secs(1_709_210_096) + Duration::from_millis(millis);
        Event {
            seq: 1,
            time: timestamp::rfc3339(at),
            kind: kind.to_owned(),
            observer: node.to_owned(),
            node: None,
            pool: Some("web".to_owned()),
            group: Some("10.77.0.100".to_owned()),
            from: None,
            to: None,
            epoch: None,
            cause: None,
            sentence: sentence.to_owned(),
        }
    }

    fn moved(node: &str, millis: u64, epoch: u64) -> Event {
        let epoch = Some(epoch);
        Event { epoch, ..event(node, millis, "owner_changed", "10.77.0.100 moved") }
    }

    fn record(node: &str, events: Vec<Event>) -> Record {
        Record { node: node.to_owned(), events: Ok(events) }
    }

    #[test]
    fn two_records_are_one_story_in_the_order_of_corrected_clocks() {
        let lb1 = vec![
            moved("lb1", 1000, 1),
            moved("lb1", 2003, 2),
            event("lb1", 3010, "stalled", "lb1 stood still"),
            moved("lb1", 4001, 3),
        ];
        // The clock of lb2 is 500 ms ahead.
        let lb2 = vec![
            moved("lb2", 1502, 1),
            moved("lb2", 2500, 2),
            event("lb2", 3500, "check_changed", "the check web fails at lb2"),
            moved("lb2", 4501, 3),
        ];
        let story = merge(vec![
            record("lb1", lb1),
            record("lb2", lb2),
            Record { node: "lb3".to_owned(), events: Err("ssh: no route\u{1b}[2J".to_owned()) },
        ]);
        assert_eq!(
            story.text(),
            "lb1: 4 events; times are of its clock\n\
             lb2: 4 events; its clock is 500 ms ahead, give or take 3 ms (3 events in common)\n\
             lb3: no record: ssh: no route [2J\n\
             Events of different nodes within 3 ms may have happened in the other order.\n\
             \n\
             2024-02-29T12:34:57.000Z  lb1,lb2  owner_changed   10.77.0.100 moved (epoch 1)\n\
             2024-02-29T12:34:58.000Z  lb2,lb1  owner_changed   10.77.0.100 moved (epoch 2)\n\
             2024-02-29T12:34:59.000Z  lb2      check_changed   the check web fails at lb2\n\
             2024-02-29T12:34:59.010Z  lb1      stalled         lb1 stood still\n\
             2024-02-29T12:35:00.001Z  lb1,lb2  owner_changed   10.77.0.100 moved (epoch 3)\n"
        );
        let json = story.json().unwrap();
        assert!(json.starts_with(concat!(
            r#"{"schema":1,"record":"lb1","events":4,"clock_ahead_ms":0,"#,
            r#""clock_uncertainty_ms":0,"in_common":3,"error":null}"#
        )));
        assert!(json.contains(r#""observers":["lb2","lb1"]"#), "{json}");
    }

    #[test]
    fn clocks_that_cannot_be_compared_are_said_to_be() {
        let story = merge(vec![
            record("lb1", vec![moved("lb1", 0, 1)]),
            record("lb2", vec![moved("lb2", 0, 9)]),
        ]);
        let expected = "lb2: 1 events; its clock cannot be compared (no event in common)\n";
        assert_eq!(story.origins[1].text(false), expected);
    }

    #[test]
    fn a_node_whose_clock_was_put_back_keeps_its_own_order() {
        let events = vec![
            event("lb1", 5000, "stalled", "first"),
            event("lb1", 1000, "stalled", "second"),
            Event { time: "never".to_owned(), ..event("lb1", 0, "stalled", "third") },
        ];
        let other = vec![event("lb2", 4000, "stalled", "other")];
        let story = merge(vec![record("lb1", events), record("lb2", other)]);
        let merged: Vec<_> = story.lines.iter().map(|merged| &*merged.event.sentence).collect();
        assert_eq!(merged, ["other", "first", "second", "third"]);
    }

    #[test]
    fn the_same_words_are_one_line_only_if_they_are_close_and_of_others() {
        let twice =
            vec![event("lb1", 0, "peer_changed", "x"), event("lb1", 10, "peer_changed", "x")];
        let later =
            vec![event("lb2", 20, "peer_changed", "x"), event("lb2", 5000, "peer_changed", "x")];
        let story = merge(vec![record("lb1", twice), record("lb2", later)]);
        let merged: Vec<_> = story.lines.iter().map(|merged| merged.observers.join(",")).collect();
        assert_eq!(merged, ["lb1", "lb1,lb2", "lb2"]);
        let own = |node| vec![event(node, 0, "hook_failed", "hook a failed")];
        let story = merge(vec![record("lb1", own("lb1")), record("lb2", own("lb2"))]);
        assert_eq!(story.lines.len(), 2, "each has a hook of its own");
    }
}
