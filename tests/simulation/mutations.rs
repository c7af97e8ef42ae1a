//! That the simulator notices a broken rule: every rule of the protocol is broken once.
//!
//! For each rule the first seeds are run without it until one fails. A rule that no seed misses
//! is either not needed or not watched, and fails this test.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use buoy::protocol::Rule;

use crate::options::Options;
use crate::run::run;
use crate::seeds::{number, say};

/// Seeds tried for each rule before it counts as not missed.
const SEEDS: u64 = 3_000;

/// The seed that misses the rule, and what it finds violated.
fn missed(rule: Rule, seeds: u64) -> Option<(u64, String)> {
    (1..=seeds).find_map(|seed| {
        let options = Options { broken: Some(rule), ..Options::drawn(seed) };
        let violation = run(options).err()?;
        Some((seed, format!("{}: {}", violation.rule, violation.text)))
    })
}

#[test]
fn every_broken_rule_is_noticed() {
    let seeds = number("BUOY_MUTATION_SEEDS", SEEDS);
    let found: Mutex<BTreeMap<Rule, Option<(u64, String)>>> = Mutex::new(BTreeMap::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(rule) = Rule::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let miss = missed(*rule, seeds);
                    found.lock().expect("no thread panics").insert(*rule, miss);
                }
            });
        }
    });
    let found = found.into_inner().expect("no thread panics");
    for (rule, miss) in &found {
        match miss {
            Some((seed, text)) => say(&format!("{rule:?} is missed by seed {seed}: {text}")),
            None => say(&format!("{rule:?} is missed by none of {seeds} seeds")),
        }
    }
    let unnoticed: Vec<Rule> =
        found.iter().filter(|(_, miss)| miss.is_none()).map(|(rule, _)| *rule).collect();
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}
