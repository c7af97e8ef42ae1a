//! Profile `auto` at its fastest, and what it has to bear then: busy loops, lost frames, a real-time hog.
//!
//! A cluster is there at once that was in profile `fast` until a reload: it goes on with those times.
//! `BUOY_LOADED=60` loads for that many seconds, `BUOY_DEATHS=20` lets so many owners die; the same is
//! done in profile `lan`, to compare with, if `BUOY_LAN=1`.

use std::env;
use std::fs;
use std::path::Path;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::fault::Fault;
use buoy::lab::filter::Rule;
use buoy::lab::plan::{Shape, vip};
use buoy::lab::process::Process;

use crate::Outcome;
use crate::adapting::AUTO;
use crate::runner::Test;
use crate::scene::{SOON, Scene, with};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("auto_finds_a_dead_owner_sooner_than_lan", auto_finds_a_dead_owner_sooner_than_lan),
    ("auto_bears_busy_loops", || each_profile(3, |scene| busy_loops(scene, true))),
    ("auto_bears_busy_loops_without_priority", || {
        each_profile(3, |scene| busy_loops(scene, false))
    }),
    ("auto_bears_lost_frames_in_a_pair", || each_profile(2, lost_frames)),
    ("auto_bears_lost_frames_among_three", || each_profile(3, lost_frames)),
    ("auto_bears_a_real_time_hog", || each_profile(3, real_time_hog)),
];

const FAST: &str = "profile = \"fast\"";
const LAN: &str = "profile = \"lan\"";
/// Eight for each core of a machine with two.
const BUSY_LOOPS: usize = 16;
const LOADED: Duration = Duration::from_secs(20);
const DEATHS: u64 = 3;
/// The least that a death takes to be noticed in profile `lan`: its detection time without an interval.
const LAN_LEAST: Duration = Duration::from_millis(200);
/// Above that of the daemon's threads.
const HOG_PRIORITY: &str = "50";
const HOG: Duration = Duration::from_secs(5);

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Does the same in profile `auto` at its fastest and, if asked to, in `lan`: then what went wrong is
/// only noted.
fn each_profile(nodes: u8, test: fn(&mut Scene) -> Outcome) -> Outcome {
    fastest(nodes, test)?;
    if number("BUOY_LAN", 0) > 0 {
        let shape = Shape { nodes, cluster: LAN, ..Shape::default() };
        if let Err(error) = with(&shape, test) {
            let text = error.to_string();
            eprint!("(lan: {}) ", text.lines().next().unwrap_or_default());
        }
    }
    Ok(())
}

/// A cluster in profile `auto` that is as fast as it may be.
fn fastest(nodes: u8, test: impl FnOnce(&mut Scene) -> Outcome) -> Outcome {
    let shape = |cluster| Shape { nodes, cluster, ..Shape::default() };
    with(&shape(FAST), |scene| {
        for node in 0..scene.cluster.nodes() {
            fs::write(scene.cluster.configuration_file(node), shape(AUTO).text())?;
            scene.command(node, &["reload"])?;
        }
        until("all have the fastest timing", SOON, || match interval(scene) {
            Some(20) => Ok(()),
            other => Err(format!("heartbeats each {other:?} ms")),
        })?;
        test(scene)
    })
}

/// The longest interval in force, in milliseconds; `None` with a fixed profile.
fn interval(scene: &Scene) -> Option<u64> {
    let of = |node| scene.cluster.status(node)?["measures"]["timing"]["heartbeat_ms"].as_u64();
    (0..scene.cluster.nodes()).filter_map(of).max()
}

/// Notes how often an address came to a host or left one while `act` happened, and fails if any did.
fn no_group_moves(
    scene: &mut Scene,
    what: &str,
    act: impl FnOnce(&mut Scene) -> Outcome,
) -> Outcome {
    let begin = clock::now();
    act(scene)?;
    let timeline = scene.cluster.watch.timeline();
    let since = |vip| timeline.of(vip).filter(|change| change.at >= begin).count();
    let changes: usize = scene.served.iter().map(|vip| since(*vip)).sum();
    let after = interval(scene).map_or_else(String::new, |it| format!(", heartbeats then {it} ms"));
    eprint!("({what}: {changes} changes of owner{after}) ");
    for node in 0..scene.cluster.nodes() {
        let events = scene.command(node, &["events"])?;
        let timing = events.lines().filter(|line| line.contains("detects failures within"));
        timing.for_each(|line| eprint!("\n    {line} "));
    }
    if changes == 0 { Ok(()) } else { Err(format!("{what}: {changes} changes of owner").into()) }
}

/// An owner's host dies when the cluster has settled.
fn auto_finds_a_dead_owner_sooner_than_lan() -> Outcome {
    let mut outages = Vec::new();
    let mut die = |scene: &mut Scene| {
        let victim = scene.owner(vip(100))?;
        let begin = clock::now();
        Fault::HostDeath.begin(&mut scene.cluster, victim)?;
        scene.away(victim)?;
        outages.push(scene.figures(begin).worst);
        Ok(())
    };
    for _ in 0..number("BUOY_DEATHS", DEATHS) {
        fastest(3, &mut die)?;
    }
    outages.sort_unstable();
    let (median, worst) = (outages[outages.len() / 2], outages[outages.len() - 1]);
    eprint!("({} deaths: out for {median:?}, at most {worst:?}) ", outages.len());
    assert!(median < LAN_LEAST, "out for {outages:?}");
    Ok(())
}

/// Eight busy loops for each core: the first are there at once, after nothing had been late.
fn busy_loops(scene: &mut Scene, priority: bool) -> Outcome {
    if !priority {
        (0..scene.cluster.nodes()).try_for_each(|node| without_priority(scene, node))?;
    }
    let length = Duration::from_secs(number("BUOY_LOADED", LOADED.as_secs()));
    no_group_moves(scene, "busy loops", |scene| {
        let loops: Vec<_> =
            (0..BUSY_LOOPS).map(|_| spin(scene, "/bin/sh", &[])).collect::<Result<_, _>>()?;
        clock::pause(length);
        drop(loops);
        Ok(())
    })?;
    scene.at_rest()
}

/// Takes real-time priority from all threads of a daemon.
fn without_priority(scene: &Scene, node: usize) -> Outcome {
    let process = scene.cluster.process(node).ok_or("it runs")?.pid().to_string();
    let namespace = scene.cluster.namespace(node);
    namespace.output("chrt", &["--all-tasks", "--other", "--pid", "0", &process])?;
    let policies = namespace.output("chrt", &["--all-tasks", "--pid", &process])?;
    assert!(policies.contains("SCHED_OTHER") && !policies.contains("SCHED_RR"), "{policies}");
    Ok(())
}

/// Starts a shell that does nothing, for ever, by way of a program.
fn spin(
    scene: &Scene,
    program: &str,
    before: &[&str],
) -> Result<Process, Box<dyn std::error::Error>> {
    let log = scene.cluster.node_directory(0).join("busy");
    let words = before.iter().copied().chain(["-c", "while :; do :; done"]);
    let words: Vec<_> = words.map(str::to_owned).collect();
    Ok(Process::start(scene.cluster.client(), Path::new(program), &words, &log)?)
}

/// One frame in ten, then one in three, of every kind, is lost on its way through the switch.
fn lost_frames(scene: &mut Scene) -> Outcome {
    for one_in in [10, 3] {
        let loss = Rule { from: None, to: None, udp_port: None, one_in: Some(one_in) };
        no_group_moves(scene, &format!("one frame in {one_in} lost"), |scene| {
            scene.cluster.network.set_rules(vec![loss])?;
            clock::pause(LOADED);
            scene.cluster.network.heal()?;
            Ok(())
        })?;
    }
    scene.at_rest()
}

/// A thread with a higher priority than the daemons' has one core for five seconds.
fn real_time_hog(scene: &mut Scene) -> Outcome {
    no_group_moves(scene, "real-time hog", |scene| {
        let words = ["--fifo", HOG_PRIORITY, "taskset", "--cpu-list", "0", "/bin/sh"];
        let hog = spin(scene, "/usr/bin/chrt", &words)?;
        clock::pause(HOG);
        drop(hog);
        Ok(())
    })?;
    scene.at_rest()
}
