//! Files that have the same addresses in different groups while they are rolled out, host by host:
//! no two hosts have an address in their kernels at any moment, and none is out for longer than a
//! planned move takes.

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, READING, SOON, Scene, with};
use crate::until::{throughout, until};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("regrouped_on_one_node", regrouped_on_one_node),
    ("regrouped_on_one_node_under_majority", regrouped_on_one_node_under_majority),
    ("regrouped_at_home", regrouped_at_home),
];

/// A rollout is interrupted for so long.
const INTERRUPTED: Duration = Duration::from_secs(2);

fn shape(pool: &'static str, groups: &[&[u8]]) -> Shape {
    let addresses = |group: &&[u8]| group.iter().map(|last| vip(*last)).collect();
    Shape { pool, groups: groups.iter().map(addresses).collect(), ..Shape::default() }
}

fn reload(scene: &Scene, node: usize, shape: &Shape) -> Outcome {
    fs::write(scene.cluster.configuration_file(node), shape.text())?;
    scene.command(node, &["reload"])?;
    Ok(())
}

/// No address was in two kernels since then, nor out for longer than a planned move takes.
fn one_owner_each(scene: &Scene, since: Instant) -> Outcome {
    let figures = scene.figures(since);
    assert_eq!(figures.both_answer, Duration::ZERO, "two hosts answered");
    assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
    let timeline = scene.cluster.watch.timeline();
    for vip in &scene.served {
        let twice = timeline.two_owners(*vip, since, clock::now());
        assert!(twice <= READING, "{vip} was in two kernels for {twice:?}");
    }
    Ok(())
}

fn together(scene: &Scene, one: IpAddr, other: IpAddr) -> Outcome {
    until("the group is on one node", SOON, || match (scene.owner(one)?, scene.owner(other)?) {
        (one, other) if one == other => scene.each_on_one_node(),
        owners => Err(format!("it is on {owners:?}")),
    })
}

/// Two addresses become one group; the owner of the first reloads alone. The owner of the second
/// keeps it, the first says which address it withholds, for whom and what to do. Then the others
/// reload, and the group is on one node; and all the way back.
fn rolled_out(pool: &'static str) -> Outcome {
    let apart = shape(pool, &[&[100], &[101], &[102]]);
    let merged = shape(pool, &[&[101, 100], &[102]]);
    with(&apart, |scene| {
        let (first, second) = (scene.owner(vip(101))?, scene.owner(vip(100))?);
        let third = 3 - first - second;
        let begin = clock::now();
        reload(scene, first, &merged)?;
        until("it says what it withholds", SOON, || {
            let said = scene.command(first, &["status"]).map_err(|error| error.to_string())?;
            let owner = scene.cluster.name(second);
            let told = format!("without 10.77.0.100: {owner} has it in another group");
            if said.contains(&told) { Ok(()) } else { Err(said) }
        })?;
        let events = scene.command(first, &["events"])?;
        assert!(events.contains("reload the one that is older"), "{events}");
        throughout("each address is where it was", INTERRUPTED, || {
            let owners = (scene.owner(vip(101))?, scene.owner(vip(100))?);
            if owners == (first, second) {
                scene.none_misplaced()
            } else {
                Err(format!("{owners:?}"))
            }
        })?;
        reload(scene, third, &merged)?;
        reload(scene, second, &merged)?;
        together(scene, vip(101), vip(100))?;
        scene.at_rest()?;
        for node in [second, first, third] {
            reload(scene, node, &apart)?;
            clock::pause(Duration::from_millis(300));
        }
        scene.at_rest()?;
        one_owner_each(scene, begin)
    })
}

/// See [`rolled_out`].
fn regrouped_on_one_node() -> Outcome {
    rolled_out("")
}

/// See [`rolled_out`].
fn regrouped_on_one_node_under_majority() -> Outcome {
    rolled_out("mode = \"majority\"")
}

/// A node has both groups, and all reload a file in which they are one, another is the first, and
/// they are apart again: nothing leaves the kernel, and no probe is lost.
fn regrouped_at_home() -> Outcome {
    for pool in [
        "prefer = [\"lb1\"]\nstrategy = \"priority\"",
        "mode = \"majority\"\nprefer = [\"lb1\"]\nstrategy = \"priority\"",
    ] {
        let apart = shape(pool, &[&[100], &[101]]);
        let merged = shape(pool, &[&[100, 101]]);
        let turned = shape(pool, &[&[101, 100]]);
        with_both_at_one(&apart, |scene| {
            let begin = clock::now();
            for next in [&merged, &turned, &apart] {
                for node in 0..3 {
                    reload(scene, node, next)?;
                }
                clock::pause(Duration::from_millis(500));
            }
            scene.nothing_happened(begin)
        })?;
    }
    Ok(())
}

fn with_both_at_one(shape: &Shape, test: impl FnOnce(&mut Scene) -> Outcome) -> Outcome {
    crate::scene::with_unstarted(shape, |scene| {
        scene.cluster.start_all()?;
        scene.at_rest()?;
        test(scene)
    })
}
