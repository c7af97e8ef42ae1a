//! Daemons that die, stand still or lose their gate or their guardian.
//!
//! With the guardian others take over at once. Without it, and without peers, because everything
//! is done to all nodes at once, the kernel answers for no longer than the lease, and then not at
//! all.

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::plan::{Plan, Shape, vip};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, READING, SOON, Scene, with, with_plan};
use crate::until::{throughout, until};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("killed_daemon_is_relieved_at_once", killed_daemon_is_relieved_at_once),
    ("killed_guardian_is_replaced", killed_guardian_is_replaced),
    ("guardian_ends_with_its_daemon", guardian_ends_with_its_daemon),
    ("killed_daemons_stop_answering", killed_daemons_stop_answering),
    ("frozen_daemons_stop_answering", frozen_daemons_stop_answering),
    ("thousand_addresses_of_a_killed_daemon", thousand_addresses_of_a_killed_daemon),
    ("gate_flushed_by_others", gate_flushed_by_others),
    ("gate_is_gone_after_a_clean_stop", gate_is_gone_after_a_clean_stop),
];

/// The lease of the profile `lan`, and what the kernel's timers and the probes may add.
const CLOSED_WITHIN: Duration = Duration::from_millis(600 + 20);
/// Less than it takes to notice a death by silence: 250 ms at the least.
const RELIEVED_WITHIN: Duration = PLANNED_OUTAGE_MAX;
/// The kernel needs some 25 ms to remove a thousand addresses and as much to add them.
const THOUSAND_WITHIN: Duration = Duration::from_millis(600);
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
pub(crate) fn guardian(scene: &Scene, node: usize) -> Result<Pid, String> {
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

/// Stops the guardian, then the daemon: neither does anything any more. Gives the guardian.
pub(crate) fn freeze_both(scene: &Scene, node: usize) -> Result<Pid, Box<dyn std::error::Error>> {
    let guardian = guardian(scene, node)?;
    kill(guardian, Signal::SIGSTOP)?;
    scene.cluster.signal(node, Signal::SIGSTOP);
    Ok(guardian)
}

/// All daemons are killed with their guardians: one guardian first, one last, two at once. Nobody is
/// there to do anything; where a guardian came to do nothing the addresses stay, and no kernel
/// answers. Started again, all is served again.
fn killed_daemons_stop_answering() -> Outcome {
    with(&Shape::default(), |scene| {
        let stay = scene.owned_by(0);
        let second = guardian(scene, 1)?;
        kill_both(scene, 0)?;
        scene.cluster.signal(1, Signal::SIGKILL);
        kill(second, Signal::SIGKILL)?;
        scene.cluster.signal(2, Signal::SIGSTOP);
        scene.cluster.signal_family(2, Signal::SIGKILL);
        let killed = clock::now();
        nobody_answers(scene, killed, Duration::from_secs(2))?;
        let gone = stay.iter().find(|vip| !scene.cluster.watch.holders(**vip).contains(&0));
        assert_eq!(gone, None, "nobody was there to remove it");
        scene.cluster.start_all()?;
        scene.at_rest()
    })
}

/// All daemons stand still for ten seconds, then go on. They do not answer before each has
/// heard from the others.
fn frozen_daemons_stop_answering() -> Outcome {
    with(&Shape::default(), |scene| {
        for node in 0..3 {
            scene.cluster.signal(node, Signal::SIGSTOP);
        }
        let frozen = clock::now();
        nobody_answers(scene, frozen, Duration::from_secs(10))?;
        until("the guardians have removed the addresses", SOON, || {
            let holds = |vip| !scene.cluster.watch.holders(vip).is_empty();
            let held = scene.served.iter().filter(|vip| holds(**vip)).count();
            if held == 0 { Ok(()) } else { Err(format!("{held} are there")) }
        })?;
        for node in 0..3 {
            scene.cluster.signal(node, Signal::SIGCONT);
        }
        scene.at_rest()
    })
}

fn nobody_answers(scene: &Scene, since: Instant, length: Duration) -> Outcome {
    clock::pause(CLOSED_WITHIN);
    throughout("nobody answers", length, || {
        let answering = scene.cluster.answering(Duration::from_millis(20)).into_iter();
        match answering.filter(|(_, who)| who.is_some()).count() {
            0 => Ok(()),
            some => Err(format!("{some} are answered")),
        }
    })?;
    let mut longest = Duration::ZERO;
    for vip in &scene.served {
        let record = scene.cluster.prober.record(*vip);
        let last = record.probes().iter().rev().find(|probe| probe.answered_by().is_some());
        let after = last.map_or(Duration::ZERO, |last| last.sent.saturating_duration_since(since));
        assert!(after <= CLOSED_WITHIN, "{vip} was answered until {after:?} after");
        longest = longest.max(after);
    }
    // The figure of docs/benchmark.md.
    eprint!("(answered for {} ms) ", longest.as_millis());
    Ok(())
}

/// A daemon with a thousand addresses in a hundred groups is killed. They are all removed there,
/// and all taken by the other node, each at one place only.
fn thousand_addresses_of_a_killed_daemon() -> Outcome {
    let vips: Vec<IpAddr> = (0..4_u8)
        .flat_map(|third| (1..=250_u8).map(move |last| IpAddr::from([10, 79, third, last])))
        .collect();
    let groups: Vec<Vec<IpAddr>> = vips.chunks(10).map(<[_]>::to_vec).collect();
    let pool = "interface = \"eth0\"\nstrategy = \"priority\"\nprefer = [\"lb1\"]";
    let plan = Shape { nodes: 2, groups, pool, ..Shape::default() }.plan();
    // The client does not probe them: a thousand every 2 ms would be what is measured.
    with_plan(Plan { groups: Vec::new(), ..plan }, |scene| {
        scene.cluster.start_all()?;
        let all_at = |node: usize| {
            let (one, other) = (scene.cluster.kernel(node), scene.cluster.kernel(1 - node));
            let (one, other) = (one.map_err(|e| e.to_string())?, other.map_err(|e| e.to_string())?);
            let held = vips.iter().filter(|vip| one.holds(**vip)).count();
            let left = vips.iter().filter(|vip| other.holds(**vip)).count();
            match (held, left) {
                (1000, 0) => Ok(()),
                seen => Err(format!("{seen:?} are here and at the other")),
            }
        };
        until("the first node has all", SOON, || all_at(0))?;
        let killed = clock::now();
        scene.cluster.signal(0, Signal::SIGKILL);
        until("the second node has all", SOON, || all_at(1))?;
        let timeline = scene.cluster.watch.timeline();
        let (mut gone, mut taken, mut two) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        for vip in &vips {
            for change in timeline.of(*vip).filter(|change| change.at > killed) {
                let last = if change.held { &mut taken } else { &mut gone };
                *last = (*last).max(change.at.duration_since(killed));
            }
            two = two.max(timeline.two_owners(*vip, killed, clock::now()));
        }
        assert!(gone <= THOUSAND_WITHIN, "the last was gone only after {gone:?}");
        assert!(taken <= THOUSAND_WITHIN, "the last was taken only after {taken:?}");
        assert!(two <= READING, "two had an address for {two:?}");
        Ok(())
    })
}

/// Somebody flushes all tables. Ours is another's and stays as it is, or is back before anybody
/// notices, still open, and still closes.
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
        nobody_answers(scene, killed, Duration::from_secs(2))
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

pub(crate) fn nft(scene: &Scene, node: usize, commands: &str) -> Outcome {
    scene.cluster.namespace(node).output("nft", &[commands])?;
    Ok(())
}

fn tables(scene: &Scene, node: usize) -> String {
    scene.cluster.namespace(node).output("nft", &["list", "tables"]).unwrap_or_default()
}

fn gated(scene: &Scene, node: usize) -> bool {
    tables(scene, node).contains(TABLE)
}
