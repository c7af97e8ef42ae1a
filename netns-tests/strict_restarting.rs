//! Restarts in place in mode majority: leases and promises go on with the next process, nobody notices,
//! and two hosts never answer, whatever becomes of the next process.

use std::fs;
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::restarting::{acts, once, rest};
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, Scene, with};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("majority_restart_in_place", majority_restart_in_place),
    ("majority_restart_in_place_of_all", majority_restart_in_place_of_all),
    ("majority_nobody_comes_to_go_on", majority_nobody_comes_to_go_on),
    ("majority_next_process_fails", majority_next_process_fails),
    ("majority_killed_between_restarts", majority_killed_between_restarts),
];

/// The lease, after which the guardian tells the others, and what taking takes.
const NOBODY_WITHIN: Duration = Duration::from_millis(661 + 250);

fn shape() -> Shape {
    Shape { cluster: "restart = \"in-place\"", pool: "mode = \"majority\"", ..Shape::default() }
}

fn nobody_twice(scene: &Scene, since: Instant, most: Duration) {
    let figures = scene.figures(since);
    assert_eq!(figures.both_answer, Duration::ZERO, "two hosts answered");
    assert!(figures.worst <= most, "out for {:?}", figures.worst);
}

/// The owner is restarted in place under traffic, five times: no probe is lost, nothing is announced,
/// and the others see no other owner and no other epoch. Afterwards a clean stop hands over.
fn majority_restart_in_place() -> Outcome {
    with(&shape(), |scene| {
        let victim = scene.owner(vip(100))?;
        let begin = clock::now();
        for _ in 0..5 {
            let took = once(scene, victim)?;
            eprint!("({took:?}) ");
        }
        nobody_twice(scene, begin, PLANNED_OUTAGE_MAX);
        let begin = clock::now();
        scene.cluster.signal(victim, Signal::SIGTERM);
        scene.away(victim)?;
        nobody_twice(scene, begin, PLANNED_OUTAGE_MAX);
        Ok(())
    })
}

/// Every host is restarted in place, one right after the other: each votes as soon as it goes on.
fn majority_restart_in_place_of_all() -> Outcome {
    with(&shape(), |scene| {
        let begin = clock::now();
        for node in 0..3 {
            rest(scene, node)?;
            scene.cluster.start(node)?;
            acts(scene, node)?;
        }
        scene.nothing_happened(begin)
    })
}

/// Nobody goes on: the guardian acts when the lease is over, and the others take over.
fn majority_nobody_comes_to_go_on() -> Outcome {
    with(&shape(), |scene| {
        let victim = scene.owner(vip(100))?;
        let begin = clock::now();
        rest(scene, victim)?;
        scene.served_by_others(victim)?;
        nobody_twice(scene, begin, NOBODY_WITHIN);
        scene.cluster.start(victim)?;
        scene.back(victim)
    })
}

/// The next process ends at once, because its file is refused: it is as if nobody had come.
fn majority_next_process_fails() -> Outcome {
    with(&shape(), |scene| {
        let victim = scene.owner(vip(100))?;
        let file = scene.cluster.configuration_file(victim);
        let text = fs::read_to_string(&file)?;
        let begin = clock::now();
        rest(scene, victim)?;
        fs::write(&file, "nonsense")?;
        // It may be gone before anybody sees it.
        let _ = scene.cluster.start(victim);
        scene.served_by_others(victim)?;
        nobody_twice(scene, begin, NOBODY_WITHIN);
        fs::write(&file, text)?;
        scene.cluster.start(victim)?;
        scene.back(victim)
    })
}

/// A daemon that has gone on is killed: its guardian acts as ever, and the next process begins a new
/// life.
fn majority_killed_between_restarts() -> Outcome {
    with(&shape(), |scene| {
        let victim = scene.owner(vip(100))?;
        once(scene, victim)?;
        let begin = clock::now();
        scene.cluster.signal(victim, Signal::SIGKILL);
        scene.served_by_others(victim)?;
        nobody_twice(scene, begin, PLANNED_OUTAGE_MAX);
        scene.cluster.start(victim)?;
        scene.back(victim)
    })
}
