//! Daemons that stop, die or starve while their host's kernel goes on answering.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::fault::Fault;
use buoy::lab::plan::{Shape, vip};
use buoy::lab::process::Process;

use crate::Outcome;
use crate::fence::kill_both;
use crate::runner::Test;
use crate::scene::{SOON, with};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("freeze_and_thaw", freeze_and_thaw),
    ("restart_with_leftovers", restart_with_leftovers),
    ("busy_loops_starve_both_cores", busy_loops_starve_both_cores),
];

/// How long a thawed node may go on with what it no longer owns; for a busy machine.
const GIVES_WAY_MAX: Duration = Duration::from_millis(1000);

/// The owner's daemon and guardian are frozen for ten seconds, its kernel is not. The others take
/// over and the client follows them. Thawed, the daemon gives way at once instead of taking the
/// client back with old knowledge.
fn freeze_and_thaw() -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(100))?;
        let had = scene.owned_by(victim);
        Fault::Freeze.begin(&mut scene.cluster, victim)?;
        until("the others answer", SOON, || match scene.owned_by(victim).len() {
            0 => Ok(()),
            some => Err(format!("it answers for {some}")),
        })?;
        clock::pause(Duration::from_secs(10));
        assert!(scene.cluster.prober.silent(Duration::from_millis(100)).is_empty());
        let thawed = clock::now();
        Fault::Freeze.end(&mut scene.cluster, victim)?;
        until("it gives way", SOON, || {
            let two = had.iter().find(|vip| scene.cluster.watch.holders(**vip).len() > 1);
            two.map_or(Ok(()), |vip| Err(format!("{vip} has two owners")))
        })?;
        let took = clock::now().duration_since(thawed);
        assert!(took <= GIVES_WAY_MAX, "gave way only after {took:?}");
        scene.back(victim)?;
        let figures = scene.figures(thawed);
        assert!(figures.worst <= GIVES_WAY_MAX, "thawing cost {:?}", figures.worst);
        Ok(())
    })
}

/// The daemon is killed with its guardian and its addresses stay in the kernel; an address of somebody else is
/// there too. The new daemon removes what the old one left, and nothing else.
fn restart_with_leftovers() -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(100))?;
        let foreign = vip(77);
        scene.cluster.namespace(victim).ip("addr add 10.77.0.77/32 dev eth0\n")?;
        kill_both(scene, victim)?;
        until("the others have taken over", SOON, || {
            let holders = scene.cluster.watch.holders(vip(100));
            if holders.len() == 2 { Ok(()) } else { Err(format!("held by {holders:?}")) }
        })?;
        let kernel = scene.cluster.kernel(victim)?;
        assert!(kernel.holds(vip(100)), "nobody is there to remove it");
        scene.cluster.start(victim)?;
        until("the leftovers are gone", SOON, || {
            let both: BTreeSet<_> = scene
                .served
                .iter()
                .filter(|vip| scene.cluster.watch.holders(**vip).len() > 1)
                .collect();
            if both.is_empty() { Ok(()) } else { Err(format!("{both:?}")) }
        })?;
        scene.back(victim)?;
        assert!(scene.cluster.kernel(victim)?.holds(foreign), "it removed a foreign address");
        Ok(())
    })
}

/// Eight busy loops for five seconds on two cores: no group moves, because a node that was not
/// scheduled in time suspects itself before it suspects others. (Probes may be lost: the client
/// starves as well.)
fn busy_loops_starve_both_cores() -> Outcome {
    with(&Shape::default(), |scene| {
        let begin = clock::now();
        let log = scene.cluster.node_directory(0).join("busy");
        let arguments = ["-c".to_owned(), "while :; do :; done".to_owned()];
        let mut loops = Vec::new();
        for _ in 0..8 {
            let namespace = scene.cluster.client();
            loops.push(Process::start(namespace, Path::new("/bin/sh"), &arguments, &log)?);
        }
        clock::pause(Duration::from_secs(5));
        drop(loops);
        let timeline = scene.cluster.watch.timeline();
        for vip in &scene.served {
            let changes: Vec<_> = timeline.of(*vip).filter(|change| change.at >= begin).collect();
            assert!(changes.is_empty(), "{vip} moved: {changes:?}");
        }
        scene.at_rest()
    })
}
