//! A drain that tells HAProxy first, and planned moves that wait for a hook.

use std::net::IpAddr;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::crowd::{Crowd, crowded};
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, SOON, Scene, with_plan};
use crate::until::{throughout, until};
use crate::web::{drained_at, haproxy_table, say, start, start_haproxy, with_tables};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("haproxy_told_of_a_drain_ends_connections_between_requests", haproxy_is_told),
    ("haproxy_forgets_nothing_and_is_put_right_after_a_crash", haproxy_is_put_right),
    ("a_drain_goes_on_where_haproxy_cannot_be_told", haproxy_cannot_be_told),
    ("a_gate_that_hangs_holds_until_its_timeout", a_gate_that_hangs),
];

const KEEPING: Crowd = Crowd { keeping: 12, renewing: 0, every: Duration::from_millis(20) };
/// A drain that does not wait for its time: connections end with their next response.
const PATIENT: &str = "drain_timeout = \"10m\"";

fn lists(scene: &Scene, node: usize) -> Result<Vec<String>, String> {
    drained_at(scene, node).map_err(|error| error.to_string())
}

/// Waits until the HAProxy of a node has so many drained addresses.
fn has_drained(scene: &Scene, node: usize, count: usize) -> Outcome {
    until("HAProxy knows", SOON, || match lists(scene, node)? {
        list if list.len() == count => Ok(()),
        list => Err(format!("{list:?}")),
    })
}

/// Clients that keep their connections for ever: told, HAProxy ends them one by one with a response,
/// no request fails or has to be made again, and the drain ends long before its time.
fn haproxy_is_told() -> Outcome {
    let shape = Shape { cluster: PATIENT, ..Shape::default() };
    with_tables(&shape, &haproxy_table()?, |scene| {
        let proxies = (0..scene.cluster.nodes()).map(|node| start_haproxy(scene, node));
        let _proxies = proxies.collect::<Result<Vec<_>, _>>()?;
        start(scene)?;
        let victim = scene.owner(vip(100))?;
        let mut drained = Duration::MAX;
        let tally = crowded(scene, &KEEPING, |scene| {
            clock::pause(Duration::from_millis(500));
            let begun = clock::now();
            scene.command(victim, &["drain"])?;
            drained = clock::now().duration_since(begun);
            scene.away(victim)?;
            has_drained(scene, victim, scene.served.len())
        })?;
        say(&format!("drained in {drained:?}; {}", tally.line()));
        assert!(drained < Duration::from_secs(10), "the drain took {drained:?}");
        tally.none_failed()?;
        assert_eq!(tally.repeated, 0, "connections were cut");
        scene.command(victim, &["undrain"])?;
        has_drained(scene, victim, 0)?;
        scene.back(victim)
    })
}

/// HAProxy is restarted during the drain, and learns of it again. The daemon is killed and comes
/// back drained: so it stays. Undrained and killed, what the list still has is taken away.
fn haproxy_is_put_right() -> Outcome {
    let shape = Shape { cluster: PATIENT, ..Shape::default() };
    with_tables(&shape, &haproxy_table()?, |scene| {
        let proxies = (0..scene.cluster.nodes()).map(|node| start_haproxy(scene, node));
        let mut proxies = proxies.collect::<Result<Vec<_>, _>>()?;
        start(scene)?;
        let (victim, all) = (scene.owner(vip(100))?, scene.served.len());
        scene.command(victim, &["drain"])?;
        has_drained(scene, victim, all)?;
        proxies[victim].signal(Signal::SIGKILL);
        proxies[victim] = start_haproxy(scene, victim)?;
        has_drained(scene, victim, all)?;
        scene.cluster.signal(victim, Signal::SIGKILL);
        scene.cluster.start(victim)?;
        scene.sees((victim + 1) % 3, victim, "up")?;
        throughout("it stays drained", Duration::from_secs(2), || match lists(scene, victim)? {
            list if list.len() == all => Ok(()),
            list => Err(format!("{list:?}")),
        })?;
        // As if it had been undrained, and killed before it could say so.
        scene.cluster.signal(victim, Signal::SIGKILL);
        std::fs::remove_file(scene.cluster.runtime_directory(victim).join("draining"))?;
        scene.cluster.start(victim)?;
        has_drained(scene, victim, 0)?;
        scene.back(victim)
    })
}

/// Nobody listens at the stats socket: an event says so, and the drain goes on.
fn haproxy_cannot_be_told() -> Outcome {
    let shape = Shape { cluster: PATIENT, ..Shape::default() };
    with_tables(&shape, &haproxy_table()?, |scene| {
        start(scene)?;
        let victim = scene.owner(vip(100))?;
        scene.command(victim, &["drain"])?;
        scene.away(victim)?;
        until("it is told", SOON, || {
            let events = scene.command(victim, &["events"]).map_err(|error| error.to_string())?;
            let words = "cannot be notified of a drain: connecting failed: connection refused";
            let told = events.lines().filter(|line| line.contains(words)).count();
            if told == 1 { Ok(()) } else { Err(format!("{told} times in:\n{events}")) }
        })
    })
}

/// How long the gate below may take.
const GATE: Duration = Duration::from_secs(2);

/// A hook that never ends holds a drain until its timeout, and then nobody notices the move. The
/// death of a daemon does not wait for any hook.
fn a_gate_that_hangs() -> Outcome {
    let tables = r#"
[[hook]]
name = "hangs"
on = ["gate"]
command = ["/bin/sh", "-c", "exec tail -f /dev/null"]
timeout = "2s"
"#;
    let mut plan = Shape::default().plan();
    plan.configuration =
        buoy::lab::plan::Configuration::Text(format!("{}\n{tables}\n", Shape::default().text()));
    with_plan(plan, |scene| {
        start(scene)?;
        let victim = scene.owner(vip(100))?;
        let had: Vec<IpAddr> = scene.owned_by(victim);
        let begun = clock::now();
        scene.command(victim, &["drain", "--no-wait"])?;
        let held = GATE - Duration::from_millis(200);
        throughout("the gate holds", held, || match scene.owned_by(victim) {
            now if now == had => Ok(()),
            now => Err(format!("it has {now:?}, had {had:?}")),
        })?;
        until("the gate has had its time", GATE, || match scene.owned_by(victim).len() {
            0 => Ok(()),
            some => Err(format!("it answers for {some}")),
        })?;
        scene.away(victim)?;
        let figures = scene.figures(begun);
        say(&format!("worst outage of the drain {:?}", figures.worst));
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        let events = scene.command(victim, &["events"])?;
        let words = "hook hangs, for gate 10.77.0.100: did not end within 2000 ms";
        assert!(events.contains(words), "{events}");
        let other = scene.owner(vip(100))?;
        let died = clock::now();
        scene.cluster.signal(other, Signal::SIGKILL);
        scene.served_by_others(other)?;
        scene.at_rest()?;
        let figures = scene.figures(died);
        say(&format!("of the death {:?}", figures.worst));
        assert!(figures.worst < Duration::from_secs(1), "out for {:?}", figures.worst);
        Ok(())
    })
}
