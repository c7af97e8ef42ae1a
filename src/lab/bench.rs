//! `buoy lab --bench N`: each case of the table in the README, N times.
//!
//! Every run begins with a cluster at rest and all nodes up; the victim is the node that answers
//! for most addresses, so that the figures are of addresses that really moved.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::Error;
use super::cluster::Cluster;
use super::experiment::{self, Expectation, Figures};
use super::fault::Fault;
use super::interruption::Interruption;
use super::plan::Shape;
use super::stage::{Stage, milliseconds};
use super::story::{busiest, until_ready};

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    title: &'static str,
    paths: usize,
}

/// Runs it and prints the table.
///
/// # Errors
/// See [`Error`].
pub fn run(
    runs: u32,
    program: &Path,
    interruption: &Interruption,
    out: &mut impl Write,
) -> Result<(), Error> {
    let mut stage = Stage::new(out);
    let mut table: BTreeMap<Case, Vec<Figures>> = BTreeMap::new();
    for paths in [1, 2] {
        let plan = Shape { paths, ..Shape::default() }.plan();
        let mut cluster = Cluster::build(plan, program)?;
        cluster.start_all()?;
        until_ready(&mut cluster, interruption, &mut |_| Ok::<(), Error>(()))?;
        for run in 1..=runs {
            stage.say(&format!("run {run} of {runs}, {paths} heartbeat path(s)"))?;
            one_run(&mut cluster, paths, interruption, &mut table)?;
        }
    }
    stage.say(&show(&table))?;
    Ok(())
}

fn one_run(
    cluster: &mut Cluster,
    paths: usize,
    interruption: &Interruption,
    table: &mut BTreeMap<Case, Vec<Figures>>,
) -> Result<(), Error> {
    // With a second path the pulled cable is the case that matters; the rest is as with one.
    let faults = Fault::ALL.iter().filter(|fault| paths == 1 || **fault == Fault::LinkDown);
    for fault in faults {
        let victim = busiest(cluster);
        for begins in [true, false] {
            let title = if begins { fault.begins() } else { fault.ends() };
            let expectation = match (fault, begins) {
                (Fault::Split, _) => Expectation::Rest,
                (_, true) => Expectation::Away,
                (_, false) => Expectation::Back,
            };
            let act = |cluster: &mut Cluster| match begins {
                true => fault.begin(cluster, victim),
                false => fault.end(cluster, victim),
            };
            let figures = experiment::measure(cluster, (victim, expectation), act, |_| {
                !interruption.wanted()
            })?;
            if interruption.wanted() {
                return Err(Error::Interrupted);
            }
            table.entry(Case { title, paths }).or_default().push(figures);
        }
    }
    Ok(())
}

fn show(table: &BTreeMap<Case, Vec<Figures>>) -> String {
    let mut text = "\n| a node ... | paths | runs | outage, ms: median | worst | two owners, ms: \
                    median | worst | answers by turns, ms: worst | not at rest |\n\
                    |---|---|---|---|---|---|---|---|---|"
        .to_owned();
    for (case, figures) in table {
        let column = |pick: &dyn Fn(&Figures) -> Duration| {
            let mut values: Vec<_> = figures.iter().map(pick).collect();
            values.sort_unstable();
            let median = values.get(values.len() / 2).copied().unwrap_or_default();
            let worst = values.last().copied().unwrap_or_default();
            (milliseconds(median), milliseconds(worst))
        };
        let (median, worst) = column(&|figures| figures.worst);
        let (two_median, two_worst) = column(&|figures| figures.two_owners);
        let (_, turns) = column(&|figures| figures.by_turns);
        let restless = figures.iter().filter(|figures| !figures.settled).count();
        text.push_str(&format!(
            "\n| {} | {} | {} | {median} | {worst} | {two_median} | {two_worst} | {turns} | \
             {restless} |",
            case.title,
            case.paths,
            figures.len()
        ));
    }
    text
}
