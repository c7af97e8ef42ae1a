//! Groups in mode majority: answered under a lease from a majority of the voters, or not at all.
//!
//! That no two hosts answer is judged from both ends: when the new owner's kernel has the address,
//! and when the old one has last answered the client, whose probes go to it until then.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::fault::Fault;
use buoy::lab::plan::{Configuration, Plan, Shape, vip};

use crate::Outcome;
use crate::fence::{kill_both, nft};
use crate::runner::Test;
use crate::scene::{BALANCED_MAX, PLANNED_OUTAGE_MAX, READING, SOON, Scene, with, with_plan};
use crate::until::{throughout, until};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("majority_frozen_owner", majority_frozen_owner),
    ("majority_split_owner", majority_split_owner),
    ("majority_killed_owner", majority_killed_owner),
    ("majority_killed_with_its_guardian", majority_killed_with_its_guardian),
    ("majority_rules_flushed_without_a_daemon", majority_rules_flushed_without_a_daemon),
    ("majority_everybody_alone", majority_everybody_alone),
    ("majority_witness", majority_witness),
    ("majority_drain", majority_drain),
    ("majority_voter_starts_again", majority_voter_starts_again),
    ("majority_lists_of_voters_differ", majority_lists_of_voters_differ),
    ("majority_thousand_addresses", majority_thousand_addresses),
];

/// The longest promise of a voter, and what a busy machine may add; the bench measures it.
const TAKEN_WITHIN: Duration = Duration::from_millis(1500);
/// The lease, and what the kernel's timers and the probes may add.
pub(crate) const CLOSED_WITHIN: Duration = Duration::from_millis(600 + 20);

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
fn one_after_the_other(scene: &Scene, since: Instant) -> Outcome {
    let figures = scene.figures(since);
    assert_eq!(figures.both_answer, Duration::ZERO, "two hosts answered");
    assert!(figures.worst <= TAKEN_WITHIN, "out for {:?}", figures.worst);
    Ok(())
}

/// The owner stands still with its guardian for ten seconds. Its kernel is silent before the others
/// add what it had; thawed, it gives way.
fn majority_frozen_owner() -> Outcome {
    lost_and_back(Fault::Freeze, |_, _, _| {
        // Its kernel keeps the addresses, behind a gate.
        clock::pause(Duration::from_secs(10));
        Ok(())
    })
}

/// The owner and the others do not hear each other, the client hears all. The minority is silent
/// before the majority adds, says so, and takes nothing back when the network heals.
fn majority_split_owner() -> Outcome {
    lost_and_back(Fault::Split, |scene, victim, _| {
        until("the minority says that it is closed", SOON, || {
            let status = scene.cluster.status(victim).ok_or("no status")?;
            let groups = status["groups"].as_array().ok_or("no groups")?;
            let closed = groups.iter().any(|group| group["state"] == "closed");
            if closed { Ok(()) } else { Err(status["groups"].to_string()) }
        })?;
        let events = scene.command(victim, &["events"])?;
        assert!(events.contains("no majority of the voters"), "{events}");
        Ok(())
    })
}

/// The owner's daemon is killed. Its guardian tells the voters: nobody waits for a promise.
fn majority_killed_owner() -> Outcome {
    lost_and_back(Fault::Kill, |scene, _, killed| {
        let figures = scene.figures(killed);
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        Ok(())
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

/// Daemon and guardian are killed, and somebody flushes all rules again and again before the next
/// start: whoever asks where an address is hears one host.
fn majority_rules_flushed_without_a_daemon() -> Outcome {
    with(&shape(), |scene| {
        let victim = scene.owner(vip(100))?;
        let killed = clock::now();
        kill_both(scene, victim)?;
        nft(scene, victim, "flush ruleset")?;
        scene.served_by_others(victim)?;
        throughout("the old host is silent", Duration::from_secs(3), || {
            let text = |error: &dyn std::fmt::Display| error.to_string();
            nft(scene, victim, "flush ruleset").map_err(|error| text(&error))?;
            // The client asks again.
            scene.cluster.client().ip("neigh flush dev eth0\n").map_err(|error| text(&error))?;
            let answering = scene.cluster.answering(Duration::from_millis(20));
            let old = answering.iter().find(|(_, who)| *who == Some(victim));
            old.map_or(Ok(()), |(vip, _)| Err(format!("{vip} is answered by the old one")))
        })?;
        one_after_the_other(scene, killed)?;
        scene.cluster.start(victim)?;
        scene.back(victim)
    })
}

/// An owner is lost and comes back; `meanwhile` tells more of the time between.
fn lost_and_back(
    fault: Fault,
    meanwhile: impl FnOnce(&Scene, usize, Instant) -> Outcome,
) -> Outcome {
    with(&shape(), |scene| {
        let victim = scene.owner(vip(100))?;
        let lost = clock::now();
        fault.begin(&mut scene.cluster, victim)?;
        scene.served_by_others(victim)?;
        one_after_the_other(scene, lost)?;
        meanwhile(scene, victim, lost)?;
        let back = clock::now();
        fault.end(&mut scene.cluster, victim)?;
        scene.back(victim)?;
        one_after_the_other(scene, back)
    })
}

pub(crate) fn nobody_answers(scene: &Scene) -> Outcome {
    throughout("nobody answers", Duration::from_secs(2), || {
        let answering = scene.cluster.answering(Duration::from_millis(20));
        match answering.iter().filter(|(_, who)| who.is_some()).count() {
            0 => Ok(()),
            some => Err(format!("{some} are answered")),
        }
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
        nobody_answers(scene)?;
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
        nobody_answers(scene)?;
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
        let drained = scene.figures(begin);
        // Judged apart: what moves to another and back is answered by its first owner again.
        let begin = clock::now();
        Fault::Drain.end(&mut scene.cluster, victim)?;
        scene.back(victim)?;
        for figures in [drained, scene.figures(begin)] {
            assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
            assert_eq!(figures.both_answer, Duration::ZERO, "two hosts answered");
        }
        Ok(())
    })
}

/// A voter that owns nothing dies and starts again, twice. It grants nothing while it may have
/// forgotten a promise; nobody else notices.
fn majority_voter_starts_again() -> Outcome {
    with_plan(pair(), |scene| {
        scene.cluster.start_all()?;
        scene.at_rest()?;
        let begin = clock::now();
        for _ in 0..2 {
            kill_both(scene, 2)?;
            scene.cluster.start(2)?;
            until("it votes again", SOON, || {
                let status = scene.cluster.status(2).ok_or("no status")?;
                let active = status["phase"] == "active";
                if active { Ok(()) } else { Err(status["phase"].to_string()) }
            })?;
        }
        scene.nothing_happened(begin)
    })
}

/// One node's file names other voters than those of the others. It is granted nothing, and says
/// whom it disagrees with; the others go on.
fn majority_lists_of_voters_differ() -> Outcome {
    let shape = Shape { nodes: 4, ..shape() };
    let voting = |silent: u8| {
        let address = format!("[\"{}\"]\n", Shape::node_address(silent, 0));
        shape.text().replace(&address, &format!("{address}voter = false\n"))
    };
    let plan = Plan { configuration: Configuration::Text(voting(3)), ..shape.plan() };
    with_plan(plan, |scene| {
        std::fs::write(scene.cluster.configuration_file(3), voting(2))?;
        scene.cluster.start_all()?;
        until("every address is served by one node", SOON, || scene.each_on_one_node())?;
        until("the odd one says so", SOON, || {
            let events = scene.command(3, &["events"]).map_err(|error| error.to_string())?;
            let named = ["lb1", "lb2"].iter().all(|voter| {
                events.lines().any(|line| line.contains("voters_differ") && line.contains(voter))
            });
            if named { Ok(()) } else { Err(events) }
        })?;
        let status = scene.command(0, &["status"])?;
        assert!(status.contains("lb4 has another configuration"), "{status}");
        let begin = clock::now();
        clock::pause(Duration::from_secs(3));
        let timeline = scene.cluster.watch.timeline();
        for vip in &scene.served {
            assert!(timeline.of(*vip).all(|change| change.node != 3), "{vip} was at the odd one");
        }
        one_after_the_other(scene, begin)
    })
}

/// What it takes to read a kernel's message of one address, on a processor that others want too.
const READ_EACH: Duration = Duration::from_micros(10);

/// A thousand addresses in a hundred groups move with one lease each, and none is at two places.
fn majority_thousand_addresses() -> Outcome {
    let vips: Vec<IpAddr> = (0..4_u8)
        .flat_map(|third| (1..=250_u8).map(move |last| IpAddr::from([10, 79, third, last])))
        .collect();
    let groups: Vec<Vec<IpAddr>> = vips.chunks(10).map(<[_]>::to_vec).collect();
    let pool = "mode = \"majority\"\ninterface = \"eth0\"";
    let plan = Shape { groups, pool, ..Shape::default() }.plan();
    // The client does not probe them: a thousand every 2 ms would be what is measured.
    with_plan(Plan { groups: Vec::new(), ..plan }, |scene| {
        scene.cluster.start_all()?;
        let each_at_one = |scene: &Scene, nodes: &[usize]| {
            let mut held = 0;
            for node in nodes {
                let kernel = scene.cluster.kernel(*node).map_err(|error| error.to_string())?;
                held += vips.iter().filter(|vip| kernel.holds(**vip)).count();
            }
            if held == vips.len() { Ok(()) } else { Err(format!("{held} are there")) }
        };
        until("all are there", SOON, || each_at_one(scene, &[0, 1, 2]))?;
        until("each node has some", BALANCED_MAX, || {
            let kernel = scene.cluster.kernel(0).map_err(|error| error.to_string())?;
            let held = vips.iter().filter(|vip| kernel.holds(**vip)).count();
            if held > 200 { Ok(()) } else { Err(format!("{held} are at the first")) }
        })?;
        let killed = clock::now();
        scene.cluster.signal(0, nix::sys::signal::Signal::SIGKILL);
        until("the others have all", SOON, || each_at_one(scene, &[1, 2]))?;
        eprint!("(taken within {:?}) ", clock::now().duration_since(killed));
        let timeline = scene.cluster.watch.timeline();
        // Each of them is removed and added, and the messages are read one after the other.
        let was_there = |vip: &&IpAddr| timeline.of(**vip).any(|change| change.node == 0);
        let moved = vips.iter().filter(was_there).count();
        let reading = READING + READ_EACH * u32::try_from(2 * moved)?;
        for vip in &vips {
            let two = timeline.two_owners(*vip, killed, clock::now());
            assert!(two <= reading, "two had {vip} for {two:?}");
        }
        Ok(())
    })
}
