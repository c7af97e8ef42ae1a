//! Voters that are stopped in good order and start again: they keep what they had promised, and vote
//! at once, so that hosts may be restarted one right after the other.

use std::fs;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{SOON, Scene, with};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("voters_restarted_in_a_row", voters_restarted_in_a_row),
    ("voter_without_its_promises", voter_without_its_promises),
];

/// Of two voters one has just been heard: it says with its next heartbeat that it hears the other, and
/// a majority counts two heartbeats later; the rest is for taking, on a busy machine.
const MAJORITY_WITHIN: Duration = Duration::from_millis(300 + 150);
/// A voter that does not know what it had promised grants nothing for 661 ms.
const SILENCE_AND_MORE: Duration = Duration::from_millis(661 + 300);

fn shape() -> Shape {
    Shape { pool: "mode = \"majority\"", ..Shape::default() }
}

/// The daemon is told to stop, and has ended.
fn stop(scene: &Scene, node: usize) -> Outcome {
    scene.cluster.signal(node, Signal::SIGTERM);
    let process = scene.cluster.process(node).ok_or("it was not started")?;
    let ended = process.wait(SOON).ok_or("it does not end")?;
    if ended.success() { Ok(()) } else { Err(format!("it failed: {ended}").into()) }
}

/// Starts a node and waits until each of the others hears it.
fn start(scene: &mut Scene, node: usize) -> Outcome {
    scene.cluster.start(node)?;
    (0..3).filter(|other| *other != node).try_for_each(|other| scene.sees(other, node, "up"))
}

/// The owner is restarted; as soon as the others hear it, the next owner is killed, whose guardian
/// says so. Of three voters two are left, and one of them has just started: it grants at once what it
/// had not promised to anybody else.
fn voters_restarted_in_a_row() -> Outcome {
    with(&shape(), |scene| {
        for _ in 0..3 {
            let first = scene.owner(vip(100))?;
            let record = scene.cluster.runtime_directory(first).join("promises");
            stop(scene, first)?;
            assert!(record.exists(), "it has left no promises");
            scene.served_by_others(first)?;
            start(scene, first)?;
            assert!(!record.exists(), "its promises are still there");
            let log = scene.cluster.log(first);
            assert!(log.contains("goes on from its promises"), "it does not know them:\n{log}");
            let next = scene.owner(vip(100))?;
            let begin = clock::now();
            scene.cluster.signal(next, Signal::SIGKILL);
            scene.served_by_others(next)?;
            let figures = scene.figures(begin);
            eprint!("(out for {:?}) ", figures.worst);
            assert_eq!(figures.both_answer, Duration::ZERO, "two hosts answered");
            assert!(figures.worst <= MAJORITY_WITHIN, "out for {:?}", figures.worst);
            scene.cluster.start(next)?;
            scene.back(next)?;
            scene.back(first)?;
        }
        Ok(())
    })
}

/// The same with a record that is cut off: it is as if there were none. Then the
/// voter grants nothing while its promises may run, and two hosts never answer.
fn voter_without_its_promises() -> Outcome {
    with(&shape(), |scene| {
        let first = scene.owner(vip(100))?;
        let record = scene.cluster.runtime_directory(first).join("promises");
        stop(scene, first)?;
        let text = fs::read_to_string(&record)?;
        fs::write(&record, &text[..text.len() / 2])?;
        scene.served_by_others(first)?;
        start(scene, first)?;
        assert!(!record.exists(), "what is of no use is still there");
        let next = scene.owner(vip(100))?;
        let begin = clock::now();
        scene.cluster.signal(next, Signal::SIGKILL);
        scene.served_by_others(next)?;
        let figures = scene.figures(begin);
        eprint!("(out for {:?}) ", figures.worst);
        assert_eq!(figures.both_answer, Duration::ZERO, "two hosts answered");
        assert!(figures.worst <= SILENCE_AND_MORE, "out for {:?}", figures.worst);
        scene.cluster.start(next)?;
        scene.back(next)
    })
}
