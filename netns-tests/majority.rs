//! Groups in mode majority: answered under a lease from a majority of the voters, or not at all.
//!
//! That no two hosts answer is judged from both ends: when the new owner's kernel has the address,
//! and when the old one has last answered the client, whose probes go to it until then.

use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::fault::Fault;
use buoy::lab::plan::{Configuration, Plan, Shape, vip};
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::fence::kill_both;
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, SOON, Scene, with, with_plan};
use crate::until::{throughout, until};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("majority_frozen_owner", majority_frozen_owner),
    ("majority_split_owner", majority_split_owner),
    ("majority_killed_owner", majority_killed_owner),
    ("majority_killed_with_its_guardian", majority_killed_with_its_guardian),
    ("majority_everybody_alone", majority_everybody_alone),
    ("majority_witness", majority_witness),
    ("majority_drain", majority_drain),
];

/// The longest promise of a voter, and what a busy machine may add; the bench measures it.
const TAKEN_WITHIN: Duration = Duration::from_millis(1500);
/// The lease, and what the kernel's timers and the probes may add.
const CLOSED_WITHIN: Duration = Duration::from_millis(600 + 20);

fn shape() -> Shape {
    Shape { pool: "mode = \"majority\"", ..Shape::default() }
}

/// Two members and a witness.
fn pair() -> Plan {
    let text = shape().text();
    let third = format!("[\"{}\"]\n", Shape::node_address(2, 0));
    let text = text.replace(&third, &format!("{third}role = \"witness\"\n"));
    Plan { configuration: Configuration::Text(text), ..shape().plan() }
}

/// No host has answered after another had added the address, and nobody was out for long.
fn one_after_the_other(scene: &Scene, since: std::time::Instant) -> Outcome {
    let figures = scene.figures(since);
    assert_eq!(figures.both_answer, Duration::ZERO, "two hosts answered");
    assert!(figures.worst <= TAKEN_WITHIN, "out for {:?}", figures.worst);
    Ok(())
}

/// The owner stands still with its guardian for ten seconds. Its kernel is silent before the others
/// add what it had; thawed, it gives way.
fn majority_frozen_owner() -> Outcome {
    with(&shape(), |scene| {
        let victim = scene.owner(vip(100))?;
        let frozen = clock::now();
        Fault::Freeze.begin(&mut scene.cluster, victim)?;
        // Its kernel keeps the addresses, behind a gate.
        scene.served_by_others(victim)?;
        one_after_the_other(scene, frozen)?;
        clock::pause(Duration::from_secs(10));
        let thawed = clock::now();
        Fault::Freeze.end(&mut scene.cluster, victim)?;
        scene.back(victim)?;
        one_after_the_other(scene, thawed)
    })
}

/// The owner and the others do not hear each other, the client hears all. The minority is silent
/// before the majority adds, says so, and takes nothing back when the network heals.
fn majority_split_owner() -> Outcome {
    with(&shape(), |scene| {
        let victim = scene.owner(vip(100))?;
        let cut = clock::now();
        Fault::Split.begin(&mut scene.cluster, victim)?;
        scene.served_by_others(victim)?;
        one_after_the_other(scene, cut)?;
        until("the minority says that it is closed", SOON, || {
            let status = scene.cluster.status(victim).ok_or("no status")?;
            let groups = status["groups"].as_array().ok_or("no groups")?;
            let closed = groups.iter().any(|group| group["state"] == "closed");
            if closed { Ok(()) } else { Err(status["groups"].to_string()) }
        })?;
        let events = scene.command(victim, &["events"])?;
        assert!(events.contains("no majority of the voters"), "{events}");
        let healed = clock::now();
        Fault::Split.end(&mut scene.cluster, victim)?;
        scene.back(victim)?;
        one_after_the_other(scene, healed)
    })
}

/// The owner's daemon is killed. Its guardian tells the voters: nobody waits for a promise.
fn majority_killed_owner() -> Outcome {
    with(&shape(), |scene| {
        let victim = scene.owner(vip(100))?;
        let killed = clock::now();
        scene.cluster.signal(victim, Signal::SIGKILL);
        scene.away(victim)?;
        let figures = scene.figures(killed);
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        one_after_the_other(scene, killed)?;
        scene.cluster.start(victim)?;
        scene.back(victim)
    })
}

/// Daemon and guardian are killed, and started again at once: the new life has none of the leases
/// of the old one.
fn majority_killed_with_its_guardian() -> Outcome {
    with(&shape(), |scene| {
        let victim = scene.owner(vip(100))?;
        let killed = clock::now();
        kill_both(scene, victim)?;
        scene.served_by_others(victim)?;
        one_after_the_other(scene, killed)?;
        scene.cluster.start(victim)?;
        scene.back(victim)
    })
}

/// Nobody hears anybody: nobody answers. Healed, everything is served again.
fn majority_everybody_alone() -> Outcome {
    with(&shape(), |scene| {
        let cut = clock::now();
        for node in 0..3 {
            Fault::Split.begin(&mut scene.cluster, node)?;
        }
        clock::pause(CLOSED_WITHIN.saturating_sub(clock::now().duration_since(cut)));
        throughout("nobody answers", Duration::from_secs(2), || {
            let answering = scene.cluster.answering(Duration::from_millis(20));
            match answering.iter().filter(|(_, who)| who.is_some()).count() {
                0 => Ok(()),
                some => Err(format!("{some} are answered")),
            }
        })?;
        let healed = clock::now();
        Fault::Split.end(&mut scene.cluster, 0)?;
        scene.at_rest()?;
        let figures = scene.figures(healed);
        assert_eq!(figures.both_answer, Duration::ZERO, "two hosts answered");
        Ok(())
    })
}

/// A pair with a witness. Without the witness nothing happens; when a member goes as well the other
/// one is silent, and serves everything as soon as the witness is back.
fn majority_witness() -> Outcome {
    with_plan(pair(), |scene| {
        scene.cluster.start_all()?;
        scene.at_rest()?;
        let begin = clock::now();
        kill_both(scene, 2)?;
        clock::pause(Duration::from_secs(2));
        scene.nothing_happened(begin)?;
        kill_both(scene, 0)?;
        clock::pause(CLOSED_WITHIN);
        throughout("nobody answers", Duration::from_secs(2), || {
            let answering = scene.cluster.answering(Duration::from_millis(20));
            match answering.iter().filter(|(_, who)| who.is_some()).count() {
                0 => Ok(()),
                some => Err(format!("{some} are answered")),
            }
        })?;
        scene.cluster.start(2)?;
        until("the member serves everything", SOON, || match scene.owned_by(1).len() {
            all if all == scene.served.len() => Ok(()),
            some => Err(format!("it serves {some}")),
        })
    })
}

/// A drain costs one group no more than in the other mode, and two never answer.
fn majority_drain() -> Outcome {
    with(&shape(), |scene| {
        let victim = scene.owner(vip(100))?;
        let begin = clock::now();
        Fault::Drain.begin(&mut scene.cluster, victim)?;
        scene.away(victim)?;
        Fault::Drain.end(&mut scene.cluster, victim)?;
        scene.back(victim)?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        assert_eq!(figures.both_answer, Duration::ZERO, "two hosts answered");
        Ok(())
    })
}
