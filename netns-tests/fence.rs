//! Daemons that die, stand still or lose their gate: the kernel answers for no longer than the
//! lease, and then not at all. No guardian and no peer helps: everything is done to all nodes at
//! once.

use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{SOON, Scene, with};
use crate::until::{throughout, until};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("killed_daemons_stop_answering", killed_daemons_stop_answering),
    ("frozen_daemons_stop_answering", frozen_daemons_stop_answering),
    ("gate_flushed_by_others", gate_flushed_by_others),
    ("gate_is_gone_after_a_clean_stop", gate_is_gone_after_a_clean_stop),
];

/// The lease of the profile `lan`, and what the kernel's timers and the probes may add.
const CLOSED_WITHIN: Duration = Duration::from_millis(600 + 20);
const TABLE: &str = "buoy_lab";
/// What somebody else has in nf_tables; it must be there to the end, and count.
const FOREIGN: &str =
    "table inet foreign { chain in { type filter hook input priority 0; counter; }; }";

/// All daemons are killed. Nobody is there to do anything; the addresses stay, and their kernels
/// do not answer. Started again, all is served again.
fn killed_daemons_stop_answering() -> Outcome {
    with(&Shape::default(), |scene| {
        let killed = clock::now();
        for node in 0..3 {
            scene.cluster.signal(node, Signal::SIGKILL);
        }
        nobody_answers(scene, killed)?;
        assert!(scene.cluster.watch.holders(vip(100)).len() == 1, "the address is still there");
        scene.cluster.start_all()?;
        scene.at_rest()
    })
}

/// All daemons stand still for three seconds, then go on. They do not answer before each has
/// heard from the others.
fn frozen_daemons_stop_answering() -> Outcome {
    with(&Shape::default(), |scene| {
        let frozen = clock::now();
        for node in 0..3 {
            scene.cluster.signal(node, Signal::SIGSTOP);
        }
        nobody_answers(scene, frozen)?;
        for node in 0..3 {
            scene.cluster.signal(node, Signal::SIGCONT);
        }
        scene.at_rest()
    })
}

fn nobody_answers(scene: &Scene, since: Instant) -> Outcome {
    clock::pause(CLOSED_WITHIN);
    throughout("nobody answers", Duration::from_secs(2), || {
        let answering = scene.cluster.answering(Duration::from_millis(20)).into_iter();
        match answering.filter(|(_, who)| who.is_some()).count() {
            0 => Ok(()),
            some => Err(format!("{some} are answered")),
        }
    })?;
    for vip in &scene.served {
        let record = scene.cluster.prober.record(*vip);
        let last = record.probes().iter().rev().find(|probe| probe.answered_by().is_some());
        let after = last.map_or(Duration::ZERO, |last| last.sent.saturating_duration_since(since));
        assert!(after <= CLOSED_WITHIN, "{vip} was answered until {after:?} after");
    }
    Ok(())
}

/// Somebody flushes all tables, ours among them. It is back before anybody notices, still open,
/// and still closes.
fn gate_flushed_by_others() -> Outcome {
    with(&Shape::default(), |scene| {
        let begin = clock::now();
        for node in 0..3 {
            nft(scene, node, "flush ruleset")?;
        }
        until("the gates are back", SOON, || {
            let missing = (0..3).find(|node| !gated(scene, *node));
            missing.map_or(Ok(()), |node| Err(format!("node {node} has none")))
        })?;
        scene.nothing_happened(begin)?;
        let killed = clock::now();
        for node in 0..3 {
            scene.cluster.signal(node, Signal::SIGKILL);
        }
        nobody_answers(scene, killed)
    })
}

/// A clean stop leaves no table behind, and never touches another.
fn gate_is_gone_after_a_clean_stop() -> Outcome {
    with(&Shape::default(), |scene| {
        nft(scene, 0, FOREIGN)?;
        assert!(gated(scene, 0), "there is no gate: {}", tables(scene, 0));
        scene.cluster.signal(0, Signal::SIGTERM);
        until("the gate is gone", SOON, || match gated(scene, 0) {
            false => Ok(()),
            true => Err("it is there".to_owned()),
        })?;
        assert!(tables(scene, 0).contains("foreign"), "{}", tables(scene, 0));
        Ok(())
    })
}

fn nft(scene: &Scene, node: usize, commands: &str) -> Outcome {
    scene.cluster.namespace(node).output("nft", &[commands])?;
    Ok(())
}

fn tables(scene: &Scene, node: usize) -> String {
    scene.cluster.namespace(node).output("nft", &["list", "tables"]).unwrap_or_default()
}

fn gated(scene: &Scene, node: usize) -> bool {
    tables(scene, node).contains(TABLE)
}
