//! Many seeds, one seed again, and that one seed is one run.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use buoy::protocol::mix;

use crate::draw::{MILLISECOND, SECOND};
use crate::faults::Kind;
use crate::options::Options;
use crate::recorded;
use crate::run::{Summary, explain, run};

/// Seeds run by default: about 80 seconds on two cores.
const SEEDS: u64 = 6_000;
/// Threads; the machines that run this have few cores.
const THREADS: u64 = 2;
/// Failing seeds explained in full.
const EXPLAINED: usize = 1;
/// Runs of other sizes, by the names of their tests.
pub(crate) const RUNS: [&str; 2] = ["sixty_four_nodes", "a_thousand_groups"];

pub(crate) fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[derive(Default)]
struct Totals {
    runs: u64,
    events: u64,
    time: u64,
    faults: u64,
    moves: u64,
    accusations: u64,
    datagrams: u64,
    covered: u64,
    caches: u64,
    balanced: u64,
    settled: u64,
    hashes: BTreeMap<u64, u64>,
    failed: Vec<(u64, &'static str, String)>,
}

impl Totals {
    fn add(&mut self, seed: u64, summary: &Summary) {
        self.runs += 1;
        self.hashes.insert(seed, summary.hash);
        self.events += summary.events;
        self.time += summary.time;
        self.faults += summary.faults;
        self.moves += summary.moves;
        self.accusations += summary.accusations;
        self.datagrams += summary.datagrams;
        self.settled += summary.healing.moves;
        self.caches = self.caches.max(summary.healing.caches);
        self.covered = self.covered.max(summary.healing.covered);
        self.balanced = self.balanced.max(summary.healing.balanced);
    }
}

fn run_many(options: fn(u64) -> Options, start: u64, count: u64) -> Totals {
    let totals = Mutex::new(Totals::default());
    let next = AtomicU64::new(start);
    let enough = AtomicBool::new(false);
    let keep_going = std::env::var_os("BUOY_KEEP_GOING").is_some();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= start + count {
                        break;
                    }
                    let result = run(options(seed));
                    let mut totals = totals.lock().expect("no thread panics while it counts");
                    match result {
                        Ok(summary) => totals.add(seed, &summary),
                        Err(violation) => {
                            totals.failed.push((seed, violation.rule, violation.text));
                            enough.fetch_or(!keep_going, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    totals.into_inner().expect("no thread panics while it counts")
}

/// Runs the seeds; returns their hashes.
fn demand_all(options: fn(u64) -> Options, start: u64, count: u64) -> BTreeMap<u64, u64> {
    let mut totals = run_many(options, start, count);
    say(&format!(
        "{} runs: {} s simulated, {} events, {} datagrams, {} faults, {} moves ({} after healing), \
         {} wrong accusations; worst: covered after {} ms, caches right after {} ms, balanced \
         after {} ms",
        totals.runs,
        totals.time / 1_000_000_000,
        totals.events,
        totals.datagrams,
        totals.faults,
        totals.moves,
        totals.settled,
        totals.accusations,
        totals.covered / 1_000_000,
        totals.caches / 1_000_000,
        totals.balanced / 1_000_000,
    ));
    totals.failed.sort();
    for (seed, rule, text) in &totals.failed {
        say(&format!("seed {seed}: {rule}: {text}"));
    }
    for (seed, _, _) in totals.failed.iter().take(EXPLAINED) {
        let options = options(*seed);
        if let Err(violation) = run(options.clone()) {
            let lines = number("BUOY_LINES", 60);
            let lines = usize::try_from(lines).expect("64 bits");
            say(&explain(&options, &violation, lines));
        }
    }
    assert!(totals.failed.is_empty(), "{} seeds failed", totals.failed.len());
    totals.hashes
}

fn check_run(name: &str, hashes: &BTreeMap<u64, u64>) {
    recorded::check_story(name, hashes.values().fold(0, |all, hash| mix(all ^ hash)));
}

#[test]
fn seeds() {
    let (start, count) = (number("BUOY_SEED_START", 0), number("BUOY_SEEDS", SEEDS));
    recorded::check_seeds(&demand_all(Options::drawn, start, count));
}

#[test]
fn sixty_four_nodes() {
    let short = |seed| Options {
        fault_start: 2 * SECOND,
        fault_end: 3 * SECOND,
        fault_gap: 100 * MILLISECOND,
        faults: vec![Kind::Crash, Kind::Mute, Kind::LinkFlap],
        ..Options::big(seed, 64, 24)
    };
    check_run("sixty_four_nodes", &demand_all(short, 0, 1));
}

#[test]
fn a_thousand_groups() {
    let hashes = demand_all(|seed| Options::big(seed, 3, 1_000), 0, 4);
    check_run("a_thousand_groups", &hashes);
}

#[test]
fn replay() {
    recorded::check_seeds(&demand_all(Options::drawn, number("BUOY_SEED", 0), 1));
}

#[test]
fn one_seed_is_one_run() {
    for seed in 0..20 {
        let hash = |options| match run(options) {
            Ok(summary) => (summary.hash, summary.events),
            Err(violation) => (violation.at, violation.faults),
        };
        let traced = Options { traced: true, ..Options::drawn(seed) };
        assert_eq!(hash(Options::drawn(seed)), hash(traced), "seed {seed}");
    }
}
