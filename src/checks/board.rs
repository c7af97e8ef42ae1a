//! All checks with their states, and what follows for each pool. Pure.
//!
//! A pool is as fit as the worst of its checks: a required one that fails makes it unfit, a
//! preferred one reluctant. Rows are for `buoy status`, changes for the log and `buoy events`.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Look;
use super::state::{Limits, Machine, State};
use crate::config::{CheckConfig, Effect};
use crate::control::measures::Histogram;
use crate::protocol::Fitness;

/// Characters kept of what a look tells: a line of a terminal, or what a program printed.
const WORDS_MAX: usize = 200;

/// A change of the state of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Name of the check.
    pub check: String,
    /// State before.
    pub from: State,
    /// State now.
    pub to: State,
    /// Result of its last run in words.
    pub words: String,
    /// Consequence of its failure.
    pub effect: Effect,
    /// Names of the pools to which it applies.
    pub pools: Vec<String>,
}

/// State and results of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name of the check.
    pub check: String,
    /// Type, as in the configuration.
    pub kind: &'static str,
    /// State now.
    pub state: State,
    /// Time in this state.
    pub since: Duration,
    /// Result of the last run in words; empty before the first.
    pub last: String,
    /// Result of the last failed run and its age; may be the last run.
    pub last_failure: Option<(String, Duration)>,
    /// Number of changes of its state.
    pub transitions: u64,
    /// How long its runs took.
    pub durations: Histogram,
    /// Consequence of its failure.
    pub effect: Effect,
    /// Names of the pools to which it applies.
    pub pools: Vec<String>,
}

/// All checks.
#[derive(Debug)]
pub(super) struct Board {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    config: CheckConfig,
    machine: Machine,
    last: String,
    last_failure: Option<(String, Instant)>,
    transitions: u64,
    durations: Histogram,
    /// What a required check counts as before it is known.
    until_known: Option<Fitness>,
}

impl Board {
    /// Of a node that starts.
    pub(super) fn new(checks: &[CheckConfig], now: Instant) -> Self {
        let entry = |check: &CheckConfig| Entry::new(check, now, Some(Fitness::Reluctant));
        Self { entries: checks.iter().map(entry).collect() }
    }

    /// Keeps what is known of checks that are as before.
    pub(super) fn reconfigure(&mut self, checks: &[CheckConfig], now: Instant) {
        let entries = checks.iter().map(|check| {
            let same = self.entries.iter().find(|entry| entry.config == *check);
            same.cloned().unwrap_or_else(|| Entry::new(check, now, None))
        });
        self.entries = entries.collect();
    }

    /// Takes in how long a look took.
    pub(super) fn timed(&mut self, check: usize, took: Duration) {
        if let Some(entry) = self.entries.get_mut(check) {
            entry.durations.count(took);
        }
    }

    /// Takes in what a look found.
    pub(super) fn observe(&mut self, now: Instant, check: usize, look: Look) -> Option<Change> {
        let entry = self.entries.get_mut(check)?;
        let from = entry.machine.state();
        let good = look.is_ok();
        entry.last = one_line(&look.unwrap_or_else(|words| words));
        if !good {
            entry.last_failure = Some((entry.last.clone(), now));
        }
        if !entry.machine.observe(now, good) {
            return None;
        }
        entry.transitions += 1;
        Some(Change {
            check: entry.config.name.clone(),
            from,
            to: entry.machine.state(),
            words: entry.last.clone(),
            effect: entry.config.effect,
            pools: entry.config.pools.clone(),
        })
    }

    /// Returns the pools for which not all checks pass, sorted by name.
    pub(super) fn unfit(&self) -> Vec<(String, Fitness)> {
        let mut worst: BTreeMap<&str, Fitness> = BTreeMap::new();
        for entry in &self.entries {
            let Some(fitness) = entry.fitness() else { continue };
            for pool in &entry.config.pools {
                let known = worst.entry(pool).or_insert(fitness);
                *known = fitness.max(*known);
            }
        }
        worst.into_iter().map(|(pool, fitness)| (pool.to_owned(), fitness)).collect()
    }

    pub(super) fn rows(&self, now: Instant) -> Vec<Row> {
        let row = |entry: &Entry| Row {
            check: entry.config.name.clone(),
            kind: entry.config.kind.word(),
            state: entry.machine.state(),
            since: now.duration_since(entry.machine.since()),
            last: entry.last.clone(),
            last_failure: entry
                .last_failure
                .as_ref()
                .map(|(words, at)| (words.clone(), now.duration_since(*at))),
            transitions: entry.transitions,
            durations: entry.durations.clone(),
            effect: entry.config.effect,
            pools: entry.config.pools.clone(),
        };
        self.entries.iter().map(row).collect()
    }
}

impl Entry {
    fn new(check: &CheckConfig, now: Instant, until_known: Option<Fitness>) -> Self {
        let limits = Limits { rise: check.rise, fall: check.fall, dwell: check.dwell };
        Self {
            config: check.clone(),
            machine: Machine::new(limits, now),
            last: String::new(),
            last_failure: None,
            transitions: 0,
            durations: Histogram::default(),
            until_known,
        }
    }

    fn fitness(&self) -> Option<Fitness> {
        match (self.machine.state(), self.config.effect) {
            (State::Passing, _) | (State::Unknown, Effect::Prefer) => None,
            (State::Unknown, Effect::Require) => self.until_known,
            (State::Failing, Effect::Prefer) => Some(Fitness::Reluctant),
            (State::Failing, Effect::Require) => Some(Fitness::Unfit),
        }
    }
}

/// What goes into one line of a terminal and a log: programs and servers print what they like.
fn one_line(words: &str) -> String {
    let visible = words.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    visible.take(WORDS_MAX).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{CheckKind, FileWanted};

    fn check(name: &str, effect: Effect, pools: &[&str]) -> CheckConfig {
        CheckConfig {
            name: name.to_owned(),
            kind: CheckKind::File { file: PathBuf::from("/x"), wanted: FileWanted::Present },
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: 1,
            fall: 1,
            dwell: Duration::ZERO,
            effect,
            pools: pools.iter().map(|pool| (*pool).to_owned()).collect(),
        }
    }

    fn unfit(board: &Board) -> Vec<(String, Fitness)> {
        board.unfit()
    }

    fn pool(name: &str, fitness: Fitness) -> (String, Fitness) {
        (name.to_owned(), fitness)
    }

    #[test]
    fn a_pool_is_as_fit_as_the_worst_of_its_checks() {
        let now = Instant::now();
        let checks =
            [check("a", Effect::Require, &["web", "api"]), check("b", Effect::Prefer, &["web"])];
        let mut board = Board::new(&checks, now);
        let reluctant = |name| pool(name, Fitness::Reluctant);
        assert_eq!(unfit(&board), [reluctant("api"), reluctant("web")], "a is not known yet");
        let table = [
            ("+", "+", Vec::new()),
            ("+", "-", vec![reluctant("web")]),
            ("-", "+", vec![pool("api", Fitness::Unfit), pool("web", Fitness::Unfit)]),
            ("-", "-", vec![pool("api", Fitness::Unfit), pool("web", Fitness::Unfit)]),
        ];
        let look = |sign: &str| if sign == "+" { Ok("well".into()) } else { Err("bad".into()) };
        for (a, b, expected) in table {
            board.observe(now, 0, look(a));
            board.observe(now, 1, look(b));
            assert_eq!(unfit(&board), expected, "{a} {b}");
        }
    }

    #[test]
    fn a_reload_moves_nothing_before_new_checks_are_known() {
        let now = Instant::now();
        let old = check("a", Effect::Require, &["web"]);
        let mut board = Board::new(std::slice::from_ref(&old), now);
        board.observe(now, 0, Err("refused".to_owned()));
        let new = check("b", Effect::Require, &["api"]);
        board.reconfigure(&[new.clone(), old], now);
        assert_eq!(unfit(&board), [pool("web", Fitness::Unfit)], "a is as before, b is not known");
        board.reconfigure(&[new], now);
        assert_eq!(unfit(&board), []);
    }

    #[test]
    fn changes_and_rows_tell_what_was_found_in_one_line() {
        let now = Instant::now();
        let mut board = Board::new(&[check("a", Effect::Require, &["web"])], now);
        let noise = format!("first\nsecond \x1b[31m{}", "x".repeat(1000));
        let change = board.observe(now, 0, Err(noise)).unwrap();
        assert_eq!((change.from, change.to), (State::Unknown, State::Failing));
        assert!(change.words.starts_with("first second  [31mxx"), "{}", change.words);
        assert_eq!(change.words.len(), WORDS_MAX);
        assert_eq!(board.observe(now, 0, Err("again".to_owned())), None);
        let later = now + Duration::from_secs(2);
        assert!(board.observe(later, 0, Ok("200".to_owned())).is_some());
        board.timed(0, Duration::from_millis(30));
        board.timed(7, Duration::from_millis(30));
        let row = board.rows(later + Duration::from_secs(1)).remove(0);
        assert_eq!((row.durations.counts.iter().sum::<u64>(), row.durations.sum_us), (1, 30_000));
        assert_eq!(
            (row.state, row.since, row.last.as_str(), row.transitions),
            (State::Passing, Duration::from_secs(1), "200", 2)
        );
        assert_eq!(row.last_failure, Some(("again".to_owned(), Duration::from_secs(3))));
        assert_eq!(board.observe(now, 7, Ok(String::new())), None, "of no check");
    }
}
