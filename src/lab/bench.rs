//! `buoy lab --bench N`: each case of the table in the README, N times.
//!
//! Every run begins with a new cluster at rest; the victim is, by turns, a node that answers for
//! addresses, so that the figures are of addresses that really moved.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::Error;
use super::cluster::Cluster;
use super::experiment::{self, Figures};
use super::fault::{Fault, Phase};
use super::interruption::Interruption;
use super::plan::Shape;
use super::stage::{Stage, milliseconds};
use super::story::{next_victim, until_ready};

/// A row of the table, in the table's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    paths: usize,
    order: usize,
    phase: Phase,
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
        for run in 1..=runs {
            stage.say(&format!("run {run} of {runs}, {paths} heartbeat path(s)"))?;
            // A cluster of its own: nodes that have failed often are trusted less.
            let plan = Shape { paths, ..Shape::default() }.plan();
            let mut cluster = Cluster::build(plan, program)?;
            cluster.start_all()?;
            until_ready(&mut cluster, interruption, &mut |_| Ok::<(), Error>(()))?;
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
    let mut turns = vec![0; cluster.nodes()];
    for (order, fault) in Fault::ALL.into_iter().enumerate() {
        // With a second path the pulled cable is the case that matters; the rest is as with one.
        if paths == 2 && fault != Fault::LinkDown {
            continue;
        }
        let victim = next_victim(cluster, &mut turns);
        for phase in [Phase::Begin, Phase::End] {
            let go_on = |_: &Cluster| !interruption.wanted();
            let figures = experiment::stage_fault(cluster, (fault, phase), victim, go_on)?;
            if interruption.wanted() {
                return Err(Error::Interrupted);
            }
            table.entry(Case { paths, order, phase }).or_default().push(figures);
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
            Fault::ALL[case.order].words(case.phase),
            case.paths,
            figures.len()
        ));
    }
    text
}
