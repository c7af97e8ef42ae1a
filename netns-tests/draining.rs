//! A drain that waits for connections to end.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};
use serde_json::Value;

use crate::Outcome;
use crate::dead_owner::{readers, serve};
use crate::runner::Test;
use crate::scene::{SOON, Scene, with};
use crate::until::{throughout, until};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("drain_waits_until_connections_have_ended", drain_waits_until_connections_have_ended),
    ("connections_that_outlast_the_drain_are_reset", connections_that_outlast_the_drain_are_reset),
];

/// Has every daemon wait for so long.
fn be_patient(scene: &Scene, timeout: &str) -> Outcome {
    for node in 0..scene.cluster.nodes() {
        let file = scene.cluster.configuration_file(node);
        let text = fs::read_to_string(&file)?;
        let key = format!("[cluster]\ndrain_timeout = \"{timeout}\"");
        fs::write(&file, text.replacen("[cluster]", &key, 1))?;
        let said = scene.command(node, &["reload"])?;
        assert!(said.contains("drain_timeout changed from 0s to"), "{said}");
    }
    Ok(())
}

/// What `node` says that `of` waits for.
fn waits(scene: &Scene, node: usize, of: usize) -> Option<Value> {
    let status = scene.cluster.status(node)?;
    let nodes = status["nodes"].as_array()?;
    let one = nodes.iter().find(|one| one["name"] == scene.cluster.name(of))?;
    Some(one["waits"].clone())
}

/// Waits until everybody says that `of` waits for so many connections.
fn all_see(scene: &Scene, of: usize, count: u64) -> Outcome {
    for node in 0..scene.cluster.nodes() {
        until("everybody knows what it waits for", SOON, || match waits(scene, node, of) {
            Some(waits) if waits["connections"] == count => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
    }
    Ok(())
}

/// Only the drained node says by port, which is the oldest, and of whom.
fn says_whose(scene: &Scene, victim: usize, count: u64) -> Outcome {
    let here = waits(scene, victim, victim).ok_or("it has no status")?;
    let awaited = &here["awaited"];
    assert_eq!(awaited["ports"], serde_json::json!([{"port": 8080, "connections": count}]));
    assert_eq!(awaited["oldest"]["to"], format!("{}:8080", vip(100)), "{here}");
    assert!(awaited["oldest"]["client"].as_str().is_some_and(|client| client.contains(':')));
    assert!(awaited["oldest"]["known_ms"].is_u64(), "{here}");
    let text = scene.command(victim, &["status"])?;
    assert!(text.contains(&format!("{count} on port 8080; the oldest for ")), "{text}");
    Ok(())
}

fn ended(stream: &mut TcpStream) -> Result<ErrorKind, String> {
    let read = stream.read(&mut [0]);
    read.map_or_else(|error| Ok(error.kind()), |length| Err(format!("{length} bytes")))
}

/// The drained owner keeps the group whose clients are at work, gives the others away, and tells
/// everybody how many are left; the command returns when the last has gone. Nobody was reset.
fn drain_waits_until_connections_have_ended() -> Outcome {
    with(&Shape::default(), |scene| {
        serve(scene, 8080)?;
        be_patient(scene, "10m")?;
        let mut clients = readers(scene, vip(100), 8080, 20)?;
        let victim = scene.owner(vip(100))?;
        let begin = clock::now();
        scene.command(victim, &["drain", "--no-wait"])?;
        all_see(scene, victim, 20)?;
        says_whose(scene, victim, 20)?;
        until("it has only what clients are at work with", SOON, || {
            let had = scene.owned_by(victim);
            if had == [vip(100)] { Ok(()) } else { Err(format!("{had:?}")) }
        })?;
        clients.truncate(5);
        all_see(scene, victim, 5)?;
        // A new client is served and not waited for.
        let late = readers(scene, vip(100), 8080, 1)?;
        throughout("it keeps the group", Duration::from_millis(500), || {
            match waits(scene, victim, victim) {
                Some(waits) if waits["connections"] == 5 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })?;
        for client in &mut clients {
            client.set_nonblocking(true)?;
            assert_eq!(ended(client)?, ErrorKind::WouldBlock, "it was ended");
        }
        let name = scene.cluster.name(victim).to_owned();
        let other = (victim + 1) % 3;
        let output = thread::scope(|scope| {
            // The same order again, from another node: it shows the countdown and waits to the end.
            let waiting = scope.spawn(|| scene.cluster.command(other, &["drain", &name]));
            clock::pause(Duration::from_millis(500));
            drop(clients);
            waiting.join()
        });
        let output = output.map_err(|_| "the command panicked")??;
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("waits for 5 connections to end"), "{said}");
        drop(late);
        scene.away(victim)?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= crate::scene::PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        scene.command(victim, &["undrain"])?;
        scene.back(victim)
    })
}

/// After the time the group moves, whoever is still there; so it does at once with --now.
fn connections_that_outlast_the_drain_are_reset() -> Outcome {
    with(&Shape::default(), |scene| {
        serve(scene, 8080)?;
        be_patient(scene, "2s")?;
        for now in [false, true] {
            let mut clients = readers(scene, vip(100), 8080, 20)?;
            let victim = scene.owner(vip(100))?;
            let begin = clock::now();
            scene.command(victim, if now { &["drain", "--now"] } else { &["drain"] })?;
            let took = clock::now().duration_since(begin);
            let second = Duration::from_secs(1);
            assert_eq!(took < 2 * second, now, "the drain took {took:?}");
            assert!(took < 10 * second, "the drain took {took:?}");
            for client in &mut clients {
                assert_eq!(ended(client)?, ErrorKind::ConnectionReset);
            }
            scene.command(victim, &["undrain"])?;
            scene.back(victim)?;
        }
        Ok(())
    })
}
