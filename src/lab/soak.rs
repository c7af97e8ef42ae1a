//! `buoy lab --soak`: what long quiet looks like, as figures for docs/benchmark.md.
//!
//! Three nodes and thirty groups at rest. First the daemons' own cost is read from the kernel
//! over a minute, then eight busy loops starve the processors for half a minute, then one
//! heartbeat datagram in fifty is lost for ten minutes. In the last two no group may move.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::filter::Rule;
use super::interruption::Interruption;
use super::plan::{Shape, vip};
use super::process::Process;
use super::stage::Stage;
use super::story::until_ready;
use super::{Error, clock};

const IDLE: Duration = Duration::from_secs(60);
const STARVED: Duration = Duration::from_secs(30);
const LOSSY: Duration = Duration::from_secs(600);
/// One in fifty is 2 %.
const LOST_ONE_IN: u32 = 50;
/// Four for each core of a machine with two.
const BUSY_LOOPS: usize = 8;
/// The default port of heartbeats.
const PORT: u16 = 4748;

/// Runs it and prints the figures.
///
/// # Errors
/// See [`Error`].
pub(super) fn run(
    program: &Path,
    interruption: &Interruption,
    out: &mut impl Write,
) -> Result<(), Error> {
    let mut stage = Stage::new(out);
    let plan =
        Shape { groups: (100..130).map(|last| vec![vip(last)]).collect(), ..Shape::default() }
            .plan();
    let mut cluster = Cluster::build(plan, program)?;
    cluster.start_all()?;
    until_ready(&mut cluster, interruption, &mut |_| Ok::<(), Error>(()))?;
    rest(interruption, Duration::from_secs(10))?;

    let before: Vec<Option<u64>> = costs(&cluster);
    let begin = clock::now();
    rest(interruption, IDLE)?;
    let length = clock::now().duration_since(begin);
    for (node, (before, after)) in before.iter().zip(costs(&cluster)).enumerate() {
        let (Some(before), Some(after)) = (before, after) else { continue };
        let share = Duration::from_nanos(after - before).as_secs_f64() / length.as_secs_f64();
        let resident = resident(&cluster, node).unwrap_or_default();
        let name = cluster.name(node);
        stage.say(&format!("idle: {name} uses {:.2} % of a core, {resident}", share * 100.0))?;
    }

    let begin = clock::now();
    let log = cluster.node_directory(0).join("busy");
    let words = ["-c".to_owned(), "while :; do :; done".to_owned()];
    let mut loops = Vec::new();
    for _ in 0..BUSY_LOOPS {
        loops.push(Process::start(cluster.client(), Path::new("/bin/sh"), &words, &log)?);
    }
    rest(interruption, STARVED)?;
    drop(loops);
    let moves = moves(&cluster, begin);
    stage.say(&format!("{BUSY_LOOPS} busy loops for {} s: {moves} changes", STARVED.as_secs()))?;

    let begin = clock::now();
    cluster.network.add_rule(Rule::loss(PORT, LOST_ONE_IN))?;
    rest(interruption, LOSSY)?;
    let moves = self::moves(&cluster, begin);
    let lost = 100 / LOST_ONE_IN;
    stage.say(&format!("{lost} % random loss for {} s: {moves} changes", LOSSY.as_secs()))?;
    Ok(())
}

/// Lets time pass, unless it is interrupted.
fn rest(interruption: &Interruption, length: Duration) -> Result<(), Error> {
    let end = clock::now() + length;
    while clock::now() < end {
        if interruption.wanted() {
            return Err(Error::Interrupted);
        }
        clock::pause(Duration::from_millis(100));
    }
    Ok(())
}

/// Addresses that came to a node or left one since then.
fn moves(cluster: &Cluster, since: Instant) -> usize {
    let timeline = cluster.watch.timeline();
    let targets = cluster.prober.targets().iter();
    targets.map(|vip| timeline.of(*vip).filter(|change| change.at >= since).count()).sum()
}

/// Processor time of each daemon in nanoseconds, all threads.
fn costs(cluster: &Cluster) -> Vec<Option<u64>> {
    (0..cluster.nodes()).map(|node| cost(cluster.process(node)?.pid())).collect()
}

fn cost(pid: i32) -> Option<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        sum += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(sum)
}

fn resident(cluster: &Cluster, node: usize) -> Option<String> {
    let pid = cluster.process(node)?.pid();
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(format!("{} resident", line.trim()))
}
