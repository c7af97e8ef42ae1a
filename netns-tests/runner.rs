//! Runs named tests and prints what cargo's own runner prints.
//!
//! Every test is a process of its own, this program with `--one NAME`: it has its own threads, its own
//! namespaces and its own standard error, and one that dies is one that failed. The tests wait most of
//! their time, so several run beside each other; those that load or measure the machine ([`ALONE`]) run
//! one after the other when the rest has ended. With `--nocapture` nothing runs beside anything, in this
//! process.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use buoy::lab::stalls::{Processors, Stalls};
use buoy::lab::{clock, namespace};
use serde::{Deserialize, Serialize};

use crate::Outcome;

/// A test that fails while the machine stood still for so long says nothing; half of what a planned
/// move may take.
const STALL: Duration = Duration::from_millis(100);
/// So does one that fails while other guests have so much of the processors, in hundredths: whatever
/// runs then takes longer, and threads that must answer within 20 ms do not.
const STOLEN: u64 = 5;
/// A machine that always does has to be told all the same.
const RUNS_MAX: u32 = 3;
/// Tests beside each other for each processor: one of them needs about a tenth of one.
const PER_PROCESSOR: usize = 2;

/// Tests that load all processors, or whose figures are those of processors.
const ALONE: &[&str] = &[
    "a_flapping_check_moves_groups_twice_a_dwell",
    "a_hundred_checks_cost_little",
    "a_prometheus_sees_a_node_die_and_come_back",
    "auto_bears_a_real_time_hog",
    "auto_bears_busy_loops",
    "auto_bears_busy_loops_without_priority",
    "auto_bears_lost_frames_among_three",
    "auto_bears_lost_frames_in_a_pair",
    "auto_finds_a_dead_owner_sooner_than_lan",
    "busy_loops_starve_both_cores",
    "chaos_in_mode_availability",
    "chaos_in_mode_majority",
    "connections_that_outlast_the_drain_are_reset",
    "forged_datagrams_change_nothing",
    "four_thousand_groups",
    "killed_for_its_memory",
    "majority_thousand_addresses",
    "migration_from_frr",
    "migration_from_keepalived_and_back",
    "migration_from_keepalived_with_use_vmac",
    "restarted_node_is_heard_through_a_flood",
    "rolling_upgrade_behind_haproxy_fails_no_request",
    "rolling_upgrade_behind_nginx_fails_no_request",
    "rolling_upgrade_without_configuration_is_late_for_no_request",
    "thousand_addresses_of_a_killed_daemon",
    "thousand_addresses_taken_at_once",
    "thousand_groups_are_drained_at_once",
];

/// A test: its name and what it does.
pub(crate) type Test = (&'static str, fn() -> Outcome);

/// What became of a test; the only thing that its process writes to standard output.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Verdict {
    /// Why it failed.
    failure: Option<String>,
    /// Why it was run again, each time.
    repeats: Vec<String>,
}

/// A test that has ended.
struct Ended {
    name: &'static str,
    verdict: Verdict,
    /// What it has written to standard error.
    notes: String,
    took: Duration,
}

struct Arguments {
    filters: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
    ignored_only: bool,
    /// The test of which this is the process.
    one: Option<String>,
    /// Whether everything runs in this process.
    here: bool,
    lanes: usize,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let mut arguments = Self {
            filters: Vec::new(),
            skip: Vec::new(),
            exact: false,
            list: false,
            ignored_only: false,
            one: None,
            here: false,
            lanes: PER_PROCESSOR * processors,
        };
        while let Some(word) = words.next() {
            let (word, mut value) = match word.split_once('=') {
                Some((word, value)) if word.starts_with("--") => {
                    (word.to_owned(), Some(value.to_owned()))
                }
                Some(_) | None => (word, None),
            };
            let mut value = || value.take().or_else(|| words.next());
            match word.as_str() {
                "--exact" => arguments.exact = true,
                "--list" => arguments.list = true,
                "--ignored" => arguments.ignored_only = true,
                "--nocapture" => arguments.here = true,
                "--one" => arguments.one = value(),
                "--skip" => arguments.skip.extend(value()),
                "--test-threads" => {
                    let lanes = value().and_then(|value| value.parse().ok());
                    arguments.lanes = lanes.unwrap_or(arguments.lanes).max(1);
                }
                "--format" | "--color" | "--logfile" | "-Z" => {
                    // Their value is not a filter.
                    let _ignored = value();
                }
                word if word.starts_with('-') => {}
                _ => arguments.filters.push(word),
            }
        }
        arguments
    }

    fn wants(&self, name: &str) -> bool {
        let fits = |pattern: &String| match self.exact {
            true => name == pattern,
            false => name.contains(pattern.as_str()),
        };
        // None of these tests is marked as ignored.
        !self.ignored_only
            && (self.filters.is_empty() || self.filters.iter().any(fits))
            && !self.skip.iter().any(fits)
    }
}

/// Runs the tests that the process arguments ask for.
pub(crate) fn main(tests: &[Test]) -> ExitCode {
    let arguments = Arguments::parse(std::env::args().skip(1));
    let mut out = io::stdout();
    let done = match &arguments.one {
        Some(name) => run_one(tests, name, &mut out),
        None => run(tests, &arguments, &mut out),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(101),
        Err(error) => {
            // A reader that has gone away is no reason to call a test passed.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(101)
        }
    }
}

/// This is the process of a test.
fn run_one(tests: &[Test], name: &str, out: &mut impl Write) -> io::Result<bool> {
    let test = tests.iter().find(|(of, _)| *of == name);
    let test = *test.ok_or_else(|| io::Error::other(format!("there is no test {name}")))?;
    namespace::enter_user_namespace().map_err(io::Error::other)?;
    let verdict = run_undisturbed(test, &Stalls::watch()?)?;
    serde_json::to_writer(out, &verdict)?;
    Ok(verdict.failure.is_none())
}

fn run(tests: &[Test], arguments: &Arguments, out: &mut impl Write) -> io::Result<bool> {
    if let Some(name) = ALONE.iter().find(|name| tests.iter().all(|(of, _)| of != *name)) {
        return Err(io::Error::other(format!("there is no test {name}, which is to run alone")));
    }
    let wanted: Vec<Test> =
        tests.iter().filter(|(name, _)| arguments.wants(name)).copied().collect();
    if arguments.list {
        for (name, _) in &wanted {
            writeln!(out, "{name}: test")?;
        }
        writeln!(out, "\n{} tests, 0 benchmarks", wanted.len())?;
        return Ok(true);
    }
    writeln!(out, "\nrunning {} tests", wanted.len())?;
    let begin = clock::now();
    let mut ended = Vec::new();
    if arguments.here {
        if !wanted.is_empty() {
            namespace::enter_user_namespace().map_err(io::Error::other)?;
        }
        let stalls = Stalls::watch()?;
        for test in &wanted {
            ended.push(run_here(*test, &stalls, out)?);
        }
    } else {
        let (alone, beside) = wanted.iter().partition(|(name, _)| ALONE.contains(name));
        run_processes(beside, arguments.lanes, (out, &mut ended))?;
        run_processes(alone, 1, (out, &mut ended))?;
    }
    let took = clock::now().duration_since(begin).as_secs_f64();
    let repeats: Vec<&String> = ended.iter().flat_map(|ended| &ended.verdict.repeats).collect();
    writeln!(out, "\n{} tests were run again", repeats.len())?;
    for repeat in repeats {
        writeln!(out, "    {repeat}")?;
    }
    summary(out, tests.len(), &ended, took)
}

/// Runs tests in processes of their own, so many beside each other.
fn run_processes(
    tests: Vec<Test>,
    lanes: usize,
    (out, ended): (&mut impl Write, &mut Vec<Ended>),
) -> io::Result<()> {
    let waiting = Mutex::new(VecDeque::from(tests));
    thread::scope(|scope| {
        let (sender, results) = mpsc::channel();
        for _ in 0..lanes {
            let (waiting, sender) = (&waiting, sender.clone());
            scope.spawn(move || run_lane(waiting, &sender));
        }
        drop(sender);
        for result in results {
            let one = result?;
            write!(out, "test {} ... ", one.name)?;
            write_end(out, &one)?;
            ended.push(one);
        }
        Ok(())
    })
}

fn run_lane(waiting: &Mutex<VecDeque<Test>>, sender: &Sender<io::Result<Ended>>) {
    loop {
        let next = waiting.lock().map_or(None, |mut waiting| waiting.pop_front());
        let Some((name, _)) = next else { return };
        if sender.send(run_process(name)).is_err() {
            return;
        }
    }
}

fn run_process(name: &'static str) -> io::Result<Ended> {
    let begin = clock::now();
    let output = Command::new(std::env::current_exe()?).args(["--one", name]).output()?;
    let verdict = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| Verdict {
        failure: Some(format!("its process told no result: {}", output.status)),
        repeats: Vec::new(),
    });
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(Ended { name, verdict, notes, took: clock::now().duration_since(begin) })
}

/// Runs a test in this process; what it writes comes at once.
fn run_here(test: Test, stalls: &Stalls, out: &mut impl Write) -> io::Result<Ended> {
    let begin = clock::now();
    write!(out, "test {} ... ", test.0)?;
    out.flush()?;
    let verdict = run_undisturbed(test, stalls)?;
    let took = clock::now().duration_since(begin);
    let ended = Ended { name: test.0, verdict, notes: String::new(), took };
    write_end(out, &ended)?;
    Ok(ended)
}

fn write_end(out: &mut impl Write, ended: &Ended) -> io::Result<()> {
    let failed = ended.verdict.failure.is_some();
    for repeat in &ended.verdict.repeats {
        write!(out, "({repeat}: again) ")?;
    }
    if !failed {
        write!(out, "{}", ended.notes)?;
    }
    let word = if failed { "FAILED" } else { "ok" };
    writeln!(out, "{word} ({:.1} s)", ended.took.as_secs_f64())?;
    out.flush()
}

/// Returns why it failed, also without a disturbance of the machine if there is such a run; each
/// repeat is noted with its reason.
fn run_undisturbed((name, test): Test, stalls: &Stalls) -> io::Result<Verdict> {
    let mut verdict = Verdict::default();
    for run in 1..=RUNS_MAX {
        let (_, processors) = (stalls.longest(), Processors::now()?);
        verdict.failure = run_once(test);
        let stall = stalls.longest();
        let stolen = Processors::now()?.stolen_since(processors);
        let disturbed = stall >= STALL || stolen >= STOLEN;
        let Some(said) = verdict.failure.as_ref().filter(|_| disturbed && run < RUNS_MAX) else {
            break;
        };
        let said = said.lines().next().unwrap_or_default();
        let why = format!("the machine stood still for {stall:?}, others had {stolen}% of it");
        verdict.repeats.push(format!("{name} (run {run} failed: {said}; {why})"));
    }
    Ok(verdict)
}

/// Tells why it failed.
fn run_once(test: fn() -> Outcome) -> Option<String> {
    match panic::catch_unwind(AssertUnwindSafe(test)) {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("it panicked; see above".to_owned()),
    }
}

fn summary(out: &mut impl Write, all: usize, ended: &[Ended], took: f64) -> io::Result<bool> {
    let failures = ended.iter().filter_map(|one| Some((one, one.verdict.failure.as_ref()?)));
    let failures: Vec<(&Ended, &String)> = failures.collect();
    if !failures.is_empty() {
        writeln!(out, "\nfailures:")?;
        for (one, failure) in &failures {
            writeln!(out, "\n---- {} ----\n{}{failure}", one.name, one.notes)?;
        }
        writeln!(out, "\nfailures:")?;
        for (one, _) in &failures {
            writeln!(out, "    {}", one.name)?;
        }
    }
    let word = if failures.is_empty() { "ok" } else { "FAILED" };
    let (failed, filtered) = (failures.len(), all - ended.len());
    writeln!(
        out,
        "\ntest result: {word}. {} passed; {failed} failed; 0 ignored; 0 measured; \
         {filtered} filtered out; finished in {took:.2}s\n",
        ended.len() - failed
    )?;
    Ok(failures.is_empty())
}
