//! Daemons that die, stand still or lose their gate or their guardian.
//!
//! With the guardian others take over at once. Without it, and without peers, because everything
//! is done to all nodes at once, the kernel answers for no longer than the lease, and then not at
//! all.

use std::fs;
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, SOON, Scene, with};
use crate::until::{throughout, until};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("killed_daemon_is_relieved_at_once", killed_daemon_is_relieved_at_once),
    ("killed_guardian_is_replaced", killed_guardian_is_replaced),
    ("guardian_ends_with_its_daemon", guardian_ends_with_its_daemon),
    ("killed_daemons_stop_answering", killed_daemons_stop_answering),
    ("frozen_daemons_stop_answering", frozen_daemons_stop_answering),
    ("gate_flushed_by_others", gate_flushed_by_others),
    ("gate_is_gone_after_a_clean_stop", gate_is_gone_after_a_clean_stop),
];

/// The lease of the profile `lan`, and what the kernel's timers and the probes may add.
const CLOSED_WITHIN: Duration = Duration::from_millis(600 + 20);
/// Less than it takes to notice a death by silence: 250 ms at the least.
const RELIEVED_WITHIN: Duration = PLANNED_OUTAGE_MAX;
const TABLE: &str = "buoy_lab";
/// `SCHED_RR`.
const ROUND_ROBIN: u32 = 2;
/// What somebody else has in nf_tables; it must be there to the end, and count.
const FOREIGN: &str =
    "table inet foreign { chain in { type filter hook input priority 0; counter; }; }";

/// The owner's daemon is killed. Its guardian says so, the others take over before they could have
/// noticed by silence, and nothing is left behind on the old host.
fn killed_daemon_is_relieved_at_once() -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(100))?;
        let killed = clock::now();
        scene.cluster.signal(victim, Signal::SIGKILL);
        scene.away(victim)?;
        let figures = scene.figures(killed);
        assert!(figures.worst <= RELIEVED_WITHIN, "out for {:?}", figures.worst);
        let kernel = scene.cluster.kernel(victim)?;
        let left = scene.served.iter().find(|vip| kernel.holds(**vip));
        assert_eq!(left, None, "it is still there");
        until("the gate is gone", SOON, || match gated(scene, victim) {
            false => Ok(()),
            true => Err("it is there".to_owned()),
        })?;
        scene.cluster.start(victim)?;
        scene.back(victim)
    })
}

/// The guardian is killed. Nothing happens but that there is another one, which does its work.
fn killed_guardian_is_replaced() -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(100))?;
        let begin = clock::now();
        let first = guardian(scene, victim)?;
        kill(first, Signal::SIGKILL)?;
        until("there is another guardian", SOON, || match guardian(scene, victim) {
            Ok(second) if second != first => Ok(()),
            seen => Err(format!("{seen:?}")),
        })?;
        scene.nothing_happened(begin)?;
        let second = guardian(scene, victim)?;
        if counter(scene, victim, "real_time_priority") == Some(1) {
            until("it has taken real-time priority", SOON, || match policy(second) {
                Some(ROUND_ROBIN) => Ok(()),
                seen => Err(format!("{seen:?}")),
            })?;
        }
        let killed = clock::now();
        scene.cluster.signal(victim, Signal::SIGKILL);
        scene.away(victim)?;
        let figures = scene.figures(killed);
        assert!(figures.worst <= RELIEVED_WITHIN, "out for {:?}", figures.worst);
        Ok(())
    })
}

/// Field 41 of `/proc/PID/stat`: how its main thread is scheduled.
fn policy(pid: Pid) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(38)?.parse().ok()
}

/// A clean stop leaves no guardian behind, nor does a kill.
fn guardian_ends_with_its_daemon() -> Outcome {
    with(&Shape::default(), |scene| {
        for (node, signal) in [(0, Signal::SIGTERM), (1, Signal::SIGKILL)] {
            let pid = guardian(scene, node)?;
            scene.cluster.signal(node, signal);
            until("the guardian has ended", SOON, || match runs(pid) {
                false => Ok(()),
                true => Err("it runs".to_owned()),
            })?;
        }
        Ok(())
    })
}

/// A process that nobody has asked how it ended (a zombie) has ended all the same.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// The process that guards a node's daemon.
fn guardian(scene: &Scene, node: usize) -> Result<Pid, String> {
    let pid = counter(scene, node, "guardian_pid").and_then(|pid| i32::try_from(pid).ok());
    pid.filter(|pid| *pid > 0).map(Pid::from_raw).ok_or_else(|| "it has no guardian".to_owned())
}

fn counter(scene: &Scene, node: usize, name: &str) -> Option<u64> {
    scene.cluster.status(node)?["counters"][name].as_u64()
}

/// Kills the guardian, then the daemon before it can start another.
pub(crate) fn kill_both(scene: &Scene, node: usize) -> Outcome {
    let guardian = guardian(scene, node)?;
    scene.cluster.signal(node, Signal::SIGSTOP);
    kill(guardian, Signal::SIGKILL)?;
    scene.cluster.signal(node, Signal::SIGKILL);
    Ok(())
}

/// All daemons are killed with their guardians. Nobody is there to do anything; the addresses
/// stay, and their kernels do not answer. Started again, all is served again.
fn killed_daemons_stop_answering() -> Outcome {
    with(&Shape::default(), |scene| {
        for node in 0..3 {
            kill_both(scene, node)?;
        }
        let killed = clock::now();
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
        for node in 0..3 {
            scene.cluster.signal(node, Signal::SIGSTOP);
        }
        let frozen = clock::now();
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
        for node in 0..3 {
            kill_both(scene, node)?;
        }
        let killed = clock::now();
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
