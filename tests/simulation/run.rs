//! One run: faults for a while, then healing.

use std::fmt::Write as _;

use crate::cluster::Cluster;
use crate::liveness::Healing;
use crate::options::Options;
use crate::trace::Violation;

/// What a run without a violation was like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    /// Over everything that happened.
    pub(crate) hash: u64,
    /// Events handled.
    pub(crate) events: u64,
    /// Datagrams sent.
    pub(crate) datagrams: u64,
    /// Faults made.
    pub(crate) faults: u64,
    /// Groups that changed their host.
    pub(crate) moves: u64,
    /// Running, connected peers declared dead.
    pub(crate) accusations: u64,
    /// How the healing went.
    pub(crate) healing: Healing,
    /// Simulated time.
    pub(crate) time: u64,
}

/// Runs a seed's options to the end, or to the first violation.
pub(crate) fn run(options: Options) -> Result<Summary, Violation> {
    let end = options.fault_end;
    let mut cluster = Cluster::new(options);
    cluster.run_to(end)?;
    let healing = cluster.demand_convergence()?;
    Ok(Summary {
        hash: cluster.fingerprint(),
        events: cluster.events,
        datagrams: cluster.safety.datagrams,
        faults: cluster.faults.made,
        moves: cluster.safety.moves,
        accusations: cluster.safety.accusations,
        healing,
        time: cluster.now,
    })
}

/// Runs a failing seed again with text, and with as few faults as still fail.
pub(crate) fn explain(options: &Options, violation: &Violation, lines: usize) -> String {
    let mut options = Options { traced: true, fault_limit: violation.faults, ..options.clone() };
    let mut last = run(options.clone()).err().unwrap_or_else(|| violation.clone());
    while options.fault_limit > 0 {
        let fewer = Options { fault_limit: options.fault_limit - 1, ..options.clone() };
        let Err(found) = run(fewer.clone()) else { break };
        (options, last) = (fewer, found);
    }
    let seed = options.seed;
    let kept = last.lines.len().min(lines);
    last.lines.drain(..last.lines.len() - kept);
    let mut text = String::new();
    let _ = writeln!(text, "{last}\n  seed {seed}, {} faults, {options:?}", options.fault_limit);
    let _ = writeln!(
        text,
        "  replay: BUOY_SEED={seed} cargo test --release --test simulation -- replay --nocapture"
    );
    text
}
