//! Events of hooks with `gather`, collected until they are one run. Pure.
//!
//! The first event of a hook opens a collection, which is closed after the time of the hook, however many
//! come meanwhile; so a move of a thousand groups reloads a balancer once or twice, and the first of
//! them does not wait for the last. What is collected runs as one event without a group: the variables
//! that name things have all values that came, each once, separated by blanks, and the others have that
//! of the last event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Happening;
use super::queues::Job;
use crate::config::HookConfig;

/// Variables that have the values of all events.
const LISTS: [&str; 6] =
    ["BUOY_EVENT", "BUOY_POOL", "BUOY_GROUP", "BUOY_ADDRESSES", "BUOY_FROM", "BUOY_TO"];
/// Bytes of one of them: Linux takes 128 KiB. What comes later is only counted.
const LIST_BYTES_MAX: usize = 64 * 1024;
/// How many events one run is for.
const COUNT: &str = "BUOY_COUNT";

/// All open collections, by the name of their hook.
#[derive(Debug, Default)]
pub(super) struct Gathering(BTreeMap<String, Collection>);

#[derive(Debug)]
struct Collection {
    hook: Arc<HookConfig>,
    due: Instant,
    last: Happening,
    lists: BTreeMap<&'static str, Words>,
    count: u64,
}

/// Words, each once, in the order in which they came.
#[derive(Debug, Default)]
struct Words {
    text: String,
    known: std::collections::BTreeSet<String>,
}

impl Words {
    fn add(&mut self, words: &str) {
        for word in words.split(' ').filter(|word| !word.is_empty()) {
            let fits = self.text.len() + word.len() < LIST_BYTES_MAX;
            if fits && self.known.insert(word.to_owned()) {
                if !self.text.is_empty() {
                    self.text.push(' ');
                }
                self.text.push_str(word);
            }
        }
    }
}

impl Collection {
    fn take_in(&mut self, happening: &Happening) {
        for (name, value) in &happening.environment {
            if let Some(list) = LISTS.iter().find(|list| **list == name.as_str()) {
                self.lists.entry(*list).or_default().add(value);
            }
        }
        self.count += 1;
        self.last = happening.clone();
    }

    /// One run for all of it.
    fn job(self) -> Job {
        let Self { hook, last, mut lists, count, .. } = self;
        let whole = |(name, value): (String, String)| {
            let list = lists.remove(name.as_str()).map(|words| words.text);
            (name, list.unwrap_or(value))
        };
        let mut environment: Vec<_> = last.environment.into_iter().map(whole).collect();
        environment.push((COUNT.to_owned(), count.to_string()));
        let happening = Happening { group: None, pool: None, ticket: None, environment, ..last };
        Job { hook, happening: Arc::new(happening) }
    }
}

impl Gathering {
    /// Adds an event to the collection of a hook, which is opened if there is none.
    pub(super) fn add(
        &mut self,
        (now, time): (Instant, Duration),
        hook: &Arc<HookConfig>,
        happening: &Happening,
    ) {
        let collection = self.0.entry(hook.name.clone()).or_insert_with(|| Collection {
            hook: Arc::clone(hook),
            due: now + time,
            last: happening.clone(),
            lists: BTreeMap::new(),
            count: 0,
        });
        collection.take_in(happening);
    }

    /// Returns when the first collection is to be closed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().map(|collection| collection.due).min()
    }

    /// Closes what is due, and returns its runs.
    pub(super) fn close(&mut self, now: Instant) -> Vec<Job> {
        let all = std::mem::take(&mut self.0).into_iter();
        let (due, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            all.partition(|(_, collection)| collection.due <= now);
        self.0 = rest;
        due.into_values().map(Collection::job).collect()
    }

    /// Closes everything.
    pub(super) fn close_all(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.0).into_values().map(Collection::job).collect()
    }

    /// Returns how many events of a hook are being collected.
    pub(super) fn count(&self, hook: &str) -> u64 {
        self.0.get(hook).map_or(0, |collection| collection.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Deed, Occasion, Style};

    const TIME: Duration = Duration::from_millis(500);

    fn hook() -> Arc<HookConfig> {
        let timeout = Duration::from_secs(1);
        let command = vec!["/bin/true".to_owned()];
        let deed = Deed::Run { command, user: None, timeout, style: Style::Buoy };
        let on = vec![Occasion::HandedOver];
        Arc::new(HookConfig { name: "soft".to_owned(), on, deed, pools: None, gather: Some(TIME) })
    }

    fn event(group: &str, to: &str) -> Happening {
        let environment = [
            ("BUOY_EVENT", "handed_over"),
            ("BUOY_GROUP", group),
            ("BUOY_ADDRESSES", group),
            ("BUOY_TO", to),
            ("BUOY_CAUSE", group),
        ];
        Happening {
            occasion: Occasion::HandedOver,
            group: Some(group.to_owned()),
            pool: Some("web".to_owned()),
            ticket: None,
            environment: environment
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        }
    }

    fn told(job: &Job, name: &str) -> String {
        let mut known = job.happening.environment.iter();
        known.find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap()
    }

    #[test]
    fn what_comes_within_the_time_is_one_run() {
        let (mut gathering, begin, hook) = (Gathering::default(), Instant::now(), hook());
        assert_eq!(gathering.due(), None);
        for (after, group, to) in
            [(0, "10.0.0.1", "lb2"), (1, "10.0.0.2", "lb3"), (400, "10.0.0.1", "lb2")]
        {
            let now = begin + Duration::from_millis(after);
            gathering.add((now, TIME), &hook, &event(group, to));
        }
        assert_eq!(gathering.due(), Some(begin + TIME), "the first does not wait for the last");
        assert_eq!(gathering.count("soft"), 3);
        assert!(gathering.close(begin + TIME - Duration::from_millis(1)).is_empty());
        let jobs = gathering.close(begin + TIME);
        let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
        let variables = ["BUOY_GROUP", "BUOY_ADDRESSES", "BUOY_TO", "BUOY_CAUSE", "BUOY_COUNT"];
        let both = "10.0.0.1 10.0.0.2";
        assert_eq!(variables.map(|name| told(job, name)), [both, both, "lb2 lb3", "10.0.0.1", "3"]);
        assert_eq!(job.happening.group, None);
        assert_eq!((gathering.due(), gathering.count("soft")), (None, 0));
    }

    #[test]
    fn very_many_groups_fit_the_environment() {
        let (mut gathering, now, hook) = (Gathering::default(), Instant::now(), hook());
        for number in 0..4096 {
            let group = format!("fd77:1234:5678:9abc:1234:5678:9abc:{number:x}");
            gathering.add((now, TIME), &hook, &event(&group, "lb2"));
        }
        let jobs = gathering.close_all();
        assert_eq!(told(&jobs[0], "BUOY_COUNT"), "4096");
        assert!((60_000..=LIST_BYTES_MAX).contains(&told(&jobs[0], "BUOY_GROUP").len()));
    }
}
