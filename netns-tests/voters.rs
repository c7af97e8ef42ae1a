//! Mode majority where the files of the hosts do not say the same: other times, other voters, another
//! mode. Two hosts never answer, and what can be served is.

use std::fs;
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::fault::Fault;
use buoy::lab::plan::{Configuration, Plan, Shape, vip};

use crate::Outcome;
use crate::fence::kill_both;
use crate::runner::Test;
use crate::scene::{SOON, Scene, with, with_plan};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("voters_profiles_differ", voters_profiles_differ),
    ("voters_change_by_restart", voters_change_by_restart),
    ("voters_mostly_new_are_refused", voters_mostly_new_are_refused),
    ("voters_that_cannot_remember_do_not_vote", voters_that_cannot_remember_do_not_vote),
    ("voters_change_by_way_of_availability", voters_change_by_way_of_availability),
];

fn shape(nodes: u8) -> Shape {
    Shape { nodes, pool: "mode = \"majority\"", ..Shape::default() }
}

/// These nodes have no vote.
fn without(text: &str, silent: &[u8]) -> String {
    silent.iter().fold(text.to_owned(), |text, node| {
        let address = format!("[\"{}\"]\n", Shape::node_address(*node, 0));
        text.replace(&address, &format!("{address}voter = false\n"))
    })
}

fn write(scene: &Scene, node: usize, text: &str) -> Outcome {
    fs::write(scene.cluster.configuration_file(node), text)?;
    Ok(())
}

fn nobody_twice(scene: &Scene, since: Instant) {
    assert_eq!(scene.figures(since).both_answer, Duration::ZERO, "two hosts answered");
}

/// The owner's file says the times of a slower profile, by reload. Its cable is cut: it answers for
/// the longer of the leases, and the others wait for the end of that.
fn voters_profiles_differ() -> Outcome {
    with(&shape(3), |scene| {
        let owner = scene.owner(vip(100))?;
        let slow = Shape { cluster: "profile = \"vm\"", ..shape(3) };
        write(scene, owner, &slow.text())?;
        scene.command(owner, &["reload"])?;
        clock::pause(Duration::from_secs(2));
        let cut = clock::now();
        Fault::Split.begin(&mut scene.cluster, owner)?;
        scene.served_by_others(owner)?;
        nobody_twice(scene, cut);
        Fault::Split.end(&mut scene.cluster, owner)?;
        scene.at_rest()?;
        nobody_twice(scene, cut);
        Ok(())
    })
}

/// Three of five vote; the file lets all vote, and daemons are restarted one after the other. After
/// three of them the network falls apart: two of the old voters here, the new ones with the third
/// there. One side serves at most.
fn voters_change_by_restart() -> Outcome {
    let text = without(&shape(5).text(), &[3, 4]);
    let plan = Plan { configuration: Configuration::Text(text), ..shape(5).plan() };
    with_plan(plan, |scene| {
        scene.cluster.start_all()?;
        scene.at_rest()?;
        let begin = clock::now();
        for node in [2, 3, 4] {
            write(scene, node, &shape(5).text())?;
            kill_both(scene, node)?;
            scene.cluster.start(node)?;
        }
        for node in [0, 1] {
            Fault::Split.begin(&mut scene.cluster, node)?;
        }
        clock::pause(Duration::from_secs(8));
        nobody_twice(scene, begin);
        for node in [0, 1] {
            Fault::Split.end(&mut scene.cluster, node)?;
            write(scene, node, &shape(5).text())?;
            scene.command(node, &["reload"])?;
        }
        scene.at_rest()?;
        nobody_twice(scene, begin);
        Ok(())
    })
}

/// A list of which most would be new is refused at a reload, and at a start.
fn voters_mostly_new_are_refused() -> Outcome {
    let text = without(&shape(5).text(), &[3, 4]);
    let other = without(&shape(5).text(), &[0, 1]);
    let plan = Plan { configuration: Configuration::Text(text), ..shape(5).plan() };
    with_plan(plan, |scene| {
        scene.cluster.start_all()?;
        scene.at_rest()?;
        write(scene, 2, &other)?;
        let refused = scene.command(2, &["reload"]).err().ok_or("it was applied")?.to_string();
        assert!(refused.contains("lb4, lb5 would be new"), "{refused}");
        assert!(refused.contains("in steps"), "{refused}");
        Ok(())
    })
}

/// A voter whose record cannot be read does not vote, and says so; the others go on.
fn voters_that_cannot_remember_do_not_vote() -> Outcome {
    with(&shape(3), |scene| {
        let victim = scene.owner(vip(100))?;
        let begin = clock::now();
        kill_both(scene, victim)?;
        fs::write(scene.cluster.runtime_directory(victim).join("voters"), "nonsense")?;
        scene.cluster.start(victim)?;
        scene.served_by_others(victim)?;
        until("everything is served", SOON, || scene.each_on_one_node())?;
        nobody_twice(scene, begin);
        Ok(())
    })
}

/// The mode is changed to availability at each node, then the voters, one after the other, then back.
/// No group is thrown out by voters while they do not count, nobody says that a majority is lost.
fn voters_change_by_way_of_availability() -> Outcome {
    let strict = shape(5);
    let loose = Shape { pool: "", ..strict.clone() };
    let plan = Plan {
        configuration: Configuration::Text(without(&strict.text(), &[3, 4])),
        ..strict.plan()
    };
    with_plan(plan, |scene| {
        scene.cluster.start_all()?;
        scene.at_rest()?;
        let reload = |scene: &Scene, text: &str| {
            for node in 0..5 {
                write(scene, node, text)?;
                scene.command(node, &["reload"])?;
            }
            Ok::<(), Box<dyn std::error::Error>>(())
        };
        reload(scene, &without(&loose.text(), &[3, 4]))?;
        let begin = clock::now();
        reload(scene, &without(&loose.text(), &[0, 4]))?;
        clock::pause(Duration::from_secs(2));
        scene.nothing_happened(begin)?;
        for node in 0..5 {
            let events = scene.command(node, &["events"])?;
            assert!(!events.contains("majority_lost"), "{events}");
        }
        reload(scene, &without(&strict.text(), &[0, 4]))?;
        scene.at_rest()?;
        until("everything is answered", SOON, || {
            let answering = scene.cluster.answering(Duration::from_millis(20));
            match answering.iter().filter(|(_, who)| who.is_none()).count() {
                0 => Ok(()),
                some => Err(format!("{some} are not")),
            }
        })
    })
}
