//! What happened is known after daemons have died, of every node, in one story.

use buoy::lab::plan::{Shape, vip};
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{PROGRAM, SOON, with};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] =
    &[("killed_daemons_are_not_forgotten", killed_daemons_are_not_forgotten)];

fn killed_daemons_are_not_forgotten() -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(100))?;
        let name = scene.cluster.name(victim).to_owned();
        // The thread that writes is not waited for by anything.
        let file = scene.cluster.runtime_directory(victim).join("events");
        let took = format!("{name} answers for 10.77.0.100");
        until("it is on the disk", SOON, || {
            let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
            if text.contains(&took) { Ok(()) } else { Err(text) }
        })?;
        scene.cluster.signal(victim, Signal::SIGKILL);
        scene.away(victim)?;
        scene.cluster.start(victim)?;
        scene.back(victim)?;
        let own = scene.command(victim, &["events", "--group", "10.77.0.100"])?;
        assert!(own.contains(&took), "what the killed daemon did is forgotten:\n{own}");
        let own = scene.command(victim, &["events"])?;
        let boundary = format!("the daemon of {name} started");
        assert_eq!(own.matches(&boundary).count(), 2, "{own}");
        let (before, _) = own.rsplit_once(&boundary).ok_or("no boundary")?;
        assert!(before.contains(&took), "it did that before it was killed:\n{own}");

        let run = scene.cluster.runtime_directory(0);
        let run = run.to_str().ok_or("an odd path")?.replace(scene.cluster.name(0), "{node}");
        let via = format!("{PROGRAM} --socket {run}/control.sock events --json");
        let story = scene.command(victim, &["events", "--all-nodes", "--via", &via])?;
        for node in 0..3 {
            let name = scene.cluster.name(node);
            let record = story.lines().find(|line| line.starts_with(&format!("{name}: ")));
            let record = record.ok_or_else(|| format!("no record of {name}:\n{story}"))?;
            let compared = record.contains("times are of its clock") || record.contains(" ms ");
            assert!(compared, "its clock is not compared: {record}");
        }
        // Its guardian said farewell, or its silence was noticed.
        let gone = [format!("{name} left"), format!("{name} is dead")];
        let of_both = story.lines().any(|line| {
            let observers = line.split_whitespace().nth(1).unwrap_or_default();
            observers.contains(',') && gone.iter().any(|words| line.contains(words))
        });
        assert!(of_both, "its end is no line of both others:\n{story}");
        Ok(())
    })
}
