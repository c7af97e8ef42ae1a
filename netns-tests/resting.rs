//! What a cluster costs while nothing happens, in what can be counted on a busy machine as well.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use buoy::lab::plan::Shape;

use crate::Outcome;
use crate::beats;
use crate::runner::Test;
use crate::scene::with;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[("an_idle_pair_wakes_seldom", an_idle_pair_wakes_seldom)];

/// Long enough for what happens every five seconds.
const LENGTH: Duration = Duration::from_secs(10);
/// How often threads of one node wake for each heartbeat that it sends, all its processes together.
/// One is for sending it, one for that of the peer, half of one or less for each of the lease, the
/// guardian, the kernel thread and the main thread. It was 5.6 when the lease was renewed at each
/// heartbeat and the guardian read of each renewal.
const WAKE_UPS_MAX: f64 = 4.7;

/// The process and those that it has started and that have not ended.
fn family(pid: i32) -> BTreeSet<i32> {
    let mut family = BTreeSet::from([pid]);
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        family.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    family
}

/// How often all threads of these processes have gone to sleep so far.
fn sleeps(family: &BTreeSet<i32>) -> u64 {
    let count = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let tasks = family.iter().map(|pid| fs::read_dir(format!("/proc/{pid}/task")));
    let tasks = tasks.flatten().flatten().flatten();
    tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok()).map(count).sum()
}

fn an_idle_pair_wakes_seldom() -> Outcome {
    with(&Shape { nodes: 2, ..Shape::default() }, |scene| {
        let pid = scene.cluster.process(0).ok_or("it does not run")?.pid();
        let family = family(pid);
        if family.len() < 2 {
            return Err("it has no guardian".into());
        }
        let before = sleeps(&family);
        let heartbeats = beats::gaps(scene, (0, 1), LENGTH)?.len();
        let wake_ups = sleeps(&family) - before;
        let each = wake_ups as f64 / heartbeats as f64;
        eprint!("({wake_ups} wake-ups for {heartbeats} heartbeats) ");
        if each > WAKE_UPS_MAX {
            return Err(format!("{each:.1} wake-ups for each heartbeat").into());
        }
        Ok(())
    })
}
