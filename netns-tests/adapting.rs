//! Profile `auto`: real daemons go by the slowest, get faster when they may, and slower when one is late.

use std::fs;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::plan::Shape;
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{Scene, with};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[("auto_follows_the_slowest", auto_follows_the_slowest)];

/// One level each ten seconds, and what a busy machine adds.
const FASTER_WITHIN: Duration = Duration::from_secs(60);
const SLOWER_WITHIN: Duration = Duration::from_secs(10);
/// Longer than a cluster in profile `lan` or with heartbeats of 200 ms bears, shorter than a lease.
const STALL: Duration = Duration::from_millis(500);
/// Two of them are two times of trouble, and not one.
const APART: Duration = Duration::from_secs(11);

pub(crate) const AUTO: &str = "profile = \"auto\"";

fn shape(cluster: &'static str) -> Shape {
    Shape { cluster, ..Shape::default() }
}

fn reload(scene: &Scene, node: usize, cluster: &'static str) -> Outcome {
    fs::write(scene.cluster.configuration_file(node), shape(cluster).text())?;
    scene.command(node, &["reload"])?;
    Ok(())
}

/// Waits until the heartbeats of a node have an interval that fits, in milliseconds.
fn beats(
    scene: &Scene,
    node: usize,
    within: Duration,
    (what, fits): (&str, fn(u64) -> bool),
) -> Outcome {
    let name = scene.cluster.name(node).to_owned();
    until(&format!("heartbeats of {name} come {what}"), within, || {
        let status = scene.cluster.status(node).ok_or("no status")?;
        let timing = &status["measures"]["timing"];
        match timing["heartbeat_ms"].as_u64() {
            Some(interval) if fits(interval) => Ok(()),
            _ => Err(timing.to_string()),
        }
    })
}

/// A node with the slow fixed profile holds the others back. When it has another one they get faster,
/// and slower again when a daemon has stood still; no group moves for that.
fn auto_follows_the_slowest() -> Outcome {
    const SLOWEST: (&str, fn(u64) -> bool) = ("every 500 ms", |interval| interval == 500);
    const FASTER: (&str, fn(u64) -> bool) = ("more often", |interval| interval < 500);
    with(&shape(AUTO), |scene| {
        reload(scene, 2, "profile = \"vm\"")?;
        for node in [0, 1] {
            beats(scene, node, SLOWER_WITHIN, SLOWEST)?;
        }
        let said = scene.command(0, &["status"])?;
        assert!(said.contains("timing: auto, heartbeat 500 ms, detection 2000 ms"), "{said}");
        reload(scene, 2, "profile = \"lan\"")?;
        for node in [0, 1] {
            beats(scene, node, FASTER_WITHIN, FASTER)?;
        }
        for _ in 0..2 {
            scene.cluster.signal(1, Signal::SIGSTOP);
            clock::pause(STALL);
            scene.cluster.signal(1, Signal::SIGCONT);
            clock::pause(APART);
        }
        for node in [0, 1] {
            beats(scene, node, SLOWER_WITHIN, SLOWEST)?;
        }
        let told = scene.command(1, &["events"])?;
        assert!(told.contains("detects failures within 2000 ms"), "{told}");
        assert!(told.contains(" ms late"), "{told}");
        scene.at_rest()
    })
}
