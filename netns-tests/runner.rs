//! Runs named tests and prints what cargo's own runner prints.

use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::Duration;

use buoy::lab::stalls::{Processors, Stalls};
use buoy::lab::{clock, namespace};

use crate::Outcome;

/// A test that fails while the machine stood still for so long says nothing; half of what a planned
/// move may take.
const STALL: Duration = Duration::from_millis(100);
/// So does one that fails while other guests have so much of the processors, in hundredths: whatever
/// runs then takes longer, and threads that must answer within 20 ms do not.
const STOLEN: u64 = 5;
/// A machine that always does has to be told all the same.
const RUNS_MAX: u32 = 3;

/// A test: its name and what it does.
pub(crate) type Test = (&'static str, fn() -> Outcome);

#[derive(Default)]
struct Arguments {
    filters: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
    ignored_only: bool,
}

impl Arguments {
    fn parse(words: impl Iterator<Item = String>) -> Self {
        let mut arguments = Self::default();
        let mut words = words;
        while let Some(word) = words.next() {
            match word.as_str() {
                "--exact" => arguments.exact = true,
                "--list" => arguments.list = true,
                "--ignored" => arguments.ignored_only = true,
                "--skip" => arguments.skip.extend(words.next()),
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => {
                    // Their value is not a filter.
                    words.next();
                }
                word if word.starts_with("--skip=") => {
                    arguments.skip.push(word["--skip=".len()..].to_owned());
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
    match run(tests, &arguments, &mut out) {
        Ok(true) => ExitCode::SUCCESS,
        // A reader that has gone away is no reason to call a test passed.
        Ok(false) | Err(_) => ExitCode::from(101),
    }
}

fn run(tests: &[Test], arguments: &Arguments, out: &mut impl Write) -> io::Result<bool> {
    let wanted: Vec<_> = tests.iter().filter(|(name, _)| arguments.wants(name)).collect();
    if arguments.list {
        for (name, _) in &wanted {
            writeln!(out, "{name}: test")?;
        }
        writeln!(out, "\n{} tests, 0 benchmarks", wanted.len())?;
        return Ok(true);
    }
    writeln!(out, "\nrunning {} tests", wanted.len())?;
    if !wanted.is_empty()
        && let Err(error) = namespace::enter_user_namespace()
    {
        writeln!(out, "error: the network tests cannot run: {error}")?;
        return Ok(false);
    }
    let begin = clock::now();
    let mut failures = Vec::new();
    let mut repeats = Vec::new();
    let stalls = Stalls::watch()?;
    for (name, test) in &wanted {
        write!(out, "test {name} ... ")?;
        out.flush()?;
        let begin = clock::now();
        let failure = run_undisturbed((name, *test), &stalls, (out, &mut repeats))?;
        let took = clock::now().duration_since(begin).as_secs_f64();
        let word = if failure.is_none() { "ok" } else { "FAILED" };
        writeln!(out, "{word} ({took:.1} s)")?;
        failures.extend(failure.map(|failure| (*name, failure)));
    }
    let took = clock::now().duration_since(begin).as_secs_f64();
    writeln!(out, "\n{} tests were run again", repeats.len())?;
    for repeat in &repeats {
        writeln!(out, "    {repeat}")?;
    }
    summary(out, (tests.len(), wanted.len()), &failures, took)
}

/// Returns why it failed, also without a disturbance of the machine if there is such a run; each
/// repeat is written at once and noted with its reason.
fn run_undisturbed(
    (name, test): (&str, fn() -> Outcome),
    stalls: &Stalls,
    (out, repeats): (&mut impl Write, &mut Vec<String>),
) -> io::Result<Option<String>> {
    let mut failure = None;
    for run in 1..=RUNS_MAX {
        let (_, processors) = (stalls.longest(), Processors::now()?);
        failure = run_once(test);
        let stall = stalls.longest();
        let stolen = Processors::now()?.stolen_since(processors);
        let Some(said) = failure.as_ref().filter(|_| stall >= STALL || stolen >= STOLEN) else {
            break;
        };
        if run == RUNS_MAX {
            break;
        }
        let said = said.lines().next().unwrap_or_default();
        let why = format!("the machine stood still for {stall:?}, others had {stolen}% of it");
        write!(out, "(failed: {said}; {why}: again) ")?;
        out.flush()?;
        repeats.push(format!("{name} (run {run} failed: {said}; {why})"));
    }
    Ok(failure)
}

/// Tells why it failed.
fn run_once(test: fn() -> Outcome) -> Option<String> {
    match panic::catch_unwind(AssertUnwindSafe(test)) {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("it panicked; see above".to_owned()),
    }
}

fn summary(
    out: &mut impl Write,
    (all, ran): (usize, usize),
    failures: &[(&str, String)],
    took: f64,
) -> io::Result<bool> {
    if !failures.is_empty() {
        writeln!(out, "\nfailures:")?;
        for (name, failure) in failures {
            writeln!(out, "\n---- {name} ----\n{failure}")?;
        }
        writeln!(out, "\nfailures:")?;
        for (name, _) in failures {
            writeln!(out, "    {name}")?;
        }
    }
    let word = if failures.is_empty() { "ok" } else { "FAILED" };
    let (failed, filtered) = (failures.len(), all - ran);
    writeln!(
        out,
        "\ntest result: {word}. {} passed; {failed} failed; 0 ignored; 0 measured; \
         {filtered} filtered out; finished in {took:.2}s\n",
        ran - failed
    )?;
    Ok(failures.is_empty())
}
