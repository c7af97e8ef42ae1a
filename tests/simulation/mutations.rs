//! That the simulator notices a broken rule: every rule of the protocol is broken once.
//!
//! For each rule the stories are told without it until one ends otherwise, then the first seeds
//! are run until one fails. A rule that nothing misses is either not needed or not watched, and
//! fails this test.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use buoy::protocol::Rule;

use crate::options::Options;
use crate::run::run;
use crate::scenarios::STORIES;
use crate::seeds::{number, say};

/// Seeds tried for each rule before it counts as not missed.
const SEEDS: u64 = 400;

/// The story that misses the rule, and how it ended.
fn story(rule: Rule) -> Option<String> {
    STORIES.iter().find_map(|(name, story)| {
        let text = story(Some(rule)).err()?;
        let found = text.lines().last().unwrap_or_default().to_owned();
        Some(format!("story {name}: {found}"))
    })
}

/// The seed that misses the rule, and what it finds violated.
fn seed(rule: Rule, seeds: u64) -> Option<String> {
    (1..=seeds).find_map(|seed| {
        let options = Options { broken: Some(rule), ..Options::drawn(seed) };
        let violation = run(options).err()?;
        Some(format!("seed {seed}: {}: {}", violation.rule, violation.text))
    })
}

#[test]
fn every_broken_rule_is_noticed() {
    let seeds = number("BUOY_MUTATION_SEEDS", SEEDS);
    let only = std::env::var("BUOY_RULE").ok();
    let found: Mutex<BTreeMap<Rule, Option<String>>> = Mutex::new(BTreeMap::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(rule) = Rule::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if only.as_ref().is_some_and(|only| !format!("{rule:?}").contains(only)) {
                        continue;
                    }
                    let miss = story(*rule).or_else(|| seed(*rule, seeds));
                    found.lock().expect("no thread panics").insert(*rule, miss);
                }
            });
        }
    });
    let found = found.into_inner().expect("no thread panics");
    for (rule, miss) in &found {
        match miss {
            Some(text) => say(&format!("{rule:?} is missed by {text}")),
            None => say(&format!("{rule:?} is missed by no story and none of {seeds} seeds")),
        }
    }
    let unnoticed: Vec<Rule> =
        found.iter().filter(|(_, miss)| miss.is_none()).map(|(rule, _)| *rule).collect();
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}
