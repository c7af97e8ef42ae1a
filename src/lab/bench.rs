//! `buoy lab --bench N`: each case of the table in docs/benchmark.md, N times.
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

/// How the clusters of a bench are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// One heartbeat path.
    OnePath,
    /// Two; the pulled cable is the case that matters, the rest is as with one.
    TwoPaths,
    /// One path, groups in mode majority; the cases in which nodes cannot talk to each other.
    Majority,
}

impl Kind {
    fn shape(self) -> Shape {
        match self {
            Self::OnePath => Shape::default(),
            Self::TwoPaths => Shape { paths: 2, ..Shape::default() },
            Self::Majority => Shape { pool: "mode = \"majority\"", ..Shape::default() },
        }
    }

    fn has(self, fault: Fault) -> bool {
        match self {
            Self::OnePath => true,
            Self::TwoPaths => fault == Fault::LinkDown,
            Self::Majority => matches!(fault, Fault::Kill | Fault::Freeze | Fault::Split),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::OnePath => "1 path",
            Self::TwoPaths => "2 paths",
            Self::Majority => "majority",
        }
    }
}

/// A row of the table, in the table's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    kind: Kind,
    order: usize,
    phase: Phase,
}

/// Runs it and prints the table; in mode majority only, if so wanted.
///
/// # Errors
/// See [`Error`].
pub fn run(
    (runs, majority): (u32, bool),
    program: &Path,
    interruption: &Interruption,
    out: &mut impl Write,
) -> Result<(), Error> {
    let mut stage = Stage::new(out);
    let mut table: BTreeMap<Case, Vec<Figures>> = BTreeMap::new();
    let kinds: &[Kind] =
        if majority { &[Kind::Majority] } else { &[Kind::OnePath, Kind::TwoPaths] };
    for kind in kinds {
        for run in 1..=runs {
            stage.say(&format!("run {run} of {runs}, {}", kind.words()))?;
            // A cluster of its own: nodes that have failed often are trusted less.
            let mut cluster = Cluster::build(kind.shape().plan(), program)?;
            cluster.start_all()?;
            until_ready(&mut cluster, interruption, &mut |_| Ok::<(), Error>(()))?;
            one_run(&mut cluster, *kind, interruption, &mut table)?;
        }
    }
    stage.say(&show(&table))?;
    Ok(())
}

fn one_run(
    cluster: &mut Cluster,
    kind: Kind,
    interruption: &Interruption,
    table: &mut BTreeMap<Case, Vec<Figures>>,
) -> Result<(), Error> {
    let mut turns = vec![0; cluster.nodes()];
    for (order, fault) in Fault::ALL.into_iter().enumerate() {
        if !kind.has(fault) {
            continue;
        }
        let victim = next_victim(cluster, &mut turns);
        for phase in [Phase::Begin, Phase::End] {
            let go_on = |_: &Cluster| !interruption.wanted();
            let figures = experiment::stage_fault(cluster, (fault, phase), victim, go_on)?;
            if interruption.wanted() {
                return Err(Error::Interrupted);
            }
            table.entry(Case { kind, order, phase }).or_default().push(figures);
        }
    }
    Ok(())
}

fn show(table: &BTreeMap<Case, Vec<Figures>>) -> String {
    let mut text = "\n| a node ... | kind | runs | outage, ms: median | worst | both have it, ms: \
                    median | worst | both answer, ms: worst | answers by turns, ms: worst | not at \
                    rest |\n|---|---|---|---|---|---|---|---|---|---|"
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
        let (_, both) = column(&|figures| figures.both_answer);
        let (_, turns) = column(&|figures| figures.by_turns);
        let restless = figures.iter().filter(|figures| !figures.settled).count();
        text.push_str(&format!(
            "\n| {} | {} | {} | {median} | {worst} | {two_median} | {two_worst} | {both} | {turns} | \
             {restless} |",
            Fault::ALL[case.order].words(case.phase),
            case.kind.words(),
            figures.len()
        ));
    }
    text
}
