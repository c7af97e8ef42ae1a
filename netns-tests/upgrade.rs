//! A cluster under load is worked on, node by node: no request may fail.
//!
//! `BUOY_BEFORE` names an executable of an earlier version with which the nodes run until they are
//! upgraded; then neighbouring versions run side by side. Without it they are upgraded to the same.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};
use buoy::lab::process::Process;
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::crowd::{Crowd, Tally, crowded};
use crate::runner::Test;
use crate::scene::{PROGRAM, SOON, Scene};
use crate::until::until;
use crate::web::{haproxy_table, say, start, start_haproxy, start_nginx, started, with_tables};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("rolling_upgrade_behind_haproxy_fails_no_request", behind_haproxy),
    ("rolling_upgrade_behind_nginx_fails_no_request", behind_nginx),
    ("rolling_upgrade_without_configuration_is_late_for_no_request", without_configuration),
    ("requests_under_way_end_before_a_planned_move", requests_end_first),
    ("haproxy_is_reloaded_with_addresses_in_place", haproxy_is_reloaded),
];

/// At least 2000 requests a second, where the machine can do that many.
const CROWD: Crowd = Crowd { keeping: 34, renewing: 34, every: Duration::from_millis(20) };

/// How often each node is upgraded: once, or as often as `BUOY_UPGRADES` says.
fn rounds() -> usize {
    std::env::var("BUOY_UPGRADES").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// What the nodes run before they are upgraded, if it is another version.
fn before() -> Option<PathBuf> {
    std::env::var_os("BUOY_BEFORE").map(PathBuf::from)
}

fn behind_haproxy() -> Outcome {
    upgraded(("drain_timeout = \"5s\"", &haproxy_table()?), start_haproxy)
}

/// It is told nothing: whoever keeps a connection finds it closed, between two requests.
fn behind_nginx() -> Outcome {
    upgraded(("drain_timeout = \"500ms\"", ""), start_nginx)
}

/// Nothing is configured. Who begins a connection while its address moves is served at once: by the
/// former owner as long as the client sends there, then by the new one.
fn without_configuration() -> Outcome {
    let crowd = Crowd { keeping: 0, renewing: 68, every: Duration::from_millis(20) };
    with_tables(&Shape::default(), "", |scene| {
        let tally = upgrade_all(scene, start_haproxy, &crowd)?;
        assert_eq!(tally.repeated, 0, "of new connections none is cut");
        Ok(())
    })
}

type Start = fn(&Scene, usize) -> Result<Process, Box<dyn std::error::Error>>;

/// Upgrades every node of a cluster with these keys and tables while a crowd asks.
fn upgraded((cluster, tables): (&'static str, &str), balancer: Start) -> Outcome {
    // An earlier version may refuse keys that are new: the file changes after the software.
    let (cluster, tables) = if before().is_some() { ("", "") } else { (cluster, tables) };
    let shape = Shape { cluster, ..Shape::default() };
    with_tables(&shape, tables, |scene| upgrade_all(scene, balancer, &CROWD).map(drop))
}

fn upgrade_all(
    scene: &mut Scene,
    balancer: Start,
    crowd: &Crowd,
) -> Result<Tally, Box<dyn std::error::Error>> {
    let balancers = (0..scene.cluster.nodes()).map(|node| balancer(scene, node));
    let _balancers = balancers.collect::<Result<Vec<_>, _>>()?;
    let program = before().unwrap_or_else(|| PathBuf::from(PROGRAM));
    for node in 0..scene.cluster.nodes() {
        scene.cluster.start_as(node, &program)?;
    }
    started(scene)?;
    let tally = crowded(scene, crowd, |scene| {
        for round in 0..rounds() * scene.cluster.nodes() {
            upgrade(scene, round % scene.cluster.nodes())?;
            say_what_is_held_back(scene);
        }
        Ok(())
    })?;
    say(&tally.line());
    tally.none_failed()?;
    Ok(tally)
}

/// What nodes do not use towards others, because these do not know it.
fn say_what_is_held_back(scene: &Scene) {
    for node in 0..scene.cluster.nodes() {
        let Some(status) = scene.cluster.status(node) else { continue };
        for other in status["nodes"].as_array().into_iter().flatten() {
            if let Some(held_back) = other.get("held_back") {
                let (name, other) = (scene.cluster.name(node), &other["name"]);
                say(&format!("{name} uses towards {other} not {held_back}"));
            }
        }
    }
}

/// Drains a node, has its daemon replaced, and undrains it.
fn upgrade(scene: &mut Scene, node: usize) -> Outcome {
    scene.command(node, &["drain"])?;
    until("it answers for nothing", SOON, || match scene.owned_by(node).len() {
        0 => Ok(()),
        some => Err(format!("it answers for {some}")),
    })?;
    scene.cluster.signal(node, Signal::SIGTERM);
    let process = scene.cluster.process(node).ok_or("it was started")?;
    let status = process.wait(Duration::from_secs(4)).ok_or("it did not end in 4 s")?;
    assert_eq!(status.code(), Some(0), "{status}");
    scene.cluster.start(node)?;
    let other = (node + 1) % scene.cluster.nodes();
    scene.sees(other, node, "up")?;
    until("it can be asked", SOON, || match scene.cluster.status(node) {
        Some(_) => Ok(()),
        None => Err("no status".to_owned()),
    })?;
    scene.command(node, &["undrain"])?;
    until("it answers for something", SOON, || match scene.owned_by(node).len() {
        0 => Err("it answers for nothing".to_owned()),
        _ => Ok(()),
    })?;
    let all: Vec<usize> = (0..scene.cluster.nodes()).collect();
    until("the groups are balanced", SOON, || scene.balanced(&all))
}

/// How long the servers below think.
const THOUGHT: Duration = Duration::from_millis(20);

/// A port on every node at which each request is answered after [`THOUGHT`].
fn serve_slowly(scene: &Scene) -> Outcome {
    for node in 0..scene.cluster.nodes() {
        let bind = || TcpListener::bind(SocketAddr::from(([0_u16; 8], 80)));
        let listener = scene.cluster.namespace(node).run(bind)??;
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                thread::spawn(move || {
                    // A client that has gone is counted by the client.
                    let _ = stream.read(&mut [0; 1024]);
                    clock::pause(THOUGHT);
                    let answer =
                        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    let _ = stream.write_all(answer);
                });
            }
        });
    }
    Ok(())
}

/// Almost always some request is under way to the address that is moved to and fro: all end well.
fn requests_end_first() -> Outcome {
    let shape = Shape { groups: vec![vec![vip(100)]], ..Shape::default() };
    with_tables(&shape, "", |scene| {
        serve_slowly(scene)?;
        start(scene)?;
        let crowd = Crowd { keeping: 0, renewing: 10, every: Duration::from_millis(25) };
        let tally = crowded(scene, &crowd, |scene| {
            for _ in 0..6 {
                let from = scene.owner(vip(100))?;
                let to = (from + 1) % scene.cluster.nodes();
                scene.command(from, &["move", "10.77.0.100", scene.cluster.name(to)])?;
                until("it is there", SOON, || match scene.owner(vip(100)) {
                    Ok(owner) if owner == to => Ok(()),
                    other => Err(format!("{other:?}")),
                })?;
                // The clients that were kept away come back.
                clock::pause(Duration::from_millis(1200));
            }
            Ok(())
        })?;
        say(&tally.line());
        tally.none_failed()
    })
}

/// A reload of the balancer is no reason for anything to move, nor for a request to fail: the new
/// process takes over the listening sockets of the old one.
fn haproxy_is_reloaded() -> Outcome {
    const CHECK: &str = "[[check]]\nname = \"proxy\"\ntype = \"haproxy\"\n\
        socket = \"127.0.0.1:9999\"\nfrontends = [\"www\"]\ninterval = \"100ms\"\nfall = 2\n";
    with_tables(&Shape::default(), CHECK, |scene| {
        let mut proxies = Vec::new();
        for node in 0..scene.cluster.nodes() {
            proxies.push(start_haproxy(scene, node)?);
        }
        start(scene)?;
        let mut quiet = clock::now();
        let crowd = Crowd { keeping: 6, renewing: 6, ..CROWD };
        let tally = crowded(scene, &crowd, |scene| {
            quiet = clock::now();
            for (node, old) in proxies.iter_mut().enumerate() {
                let directory = scene.cluster.node_directory(node);
                let file = |name: &str| directory.join(name).display().to_string();
                let words = ["-db", "-f", &file("haproxy.cfg"), "-x", &file("haproxy.sock"), "-sf"];
                let mut words: Vec<String> = words.map(str::to_owned).to_vec();
                words.push(old.pid().to_string());
                let namespace = scene.cluster.namespace(node);
                let program = Path::new("/usr/sbin/haproxy");
                let new =
                    Process::start(namespace, program, &words, &directory.join("haproxy.log"))?;
                until("the old one has ended", SOON, || match old.ended() {
                    Some(_) => Ok(()),
                    None => Err("it runs".to_owned()),
                })?;
                *old = new;
            }
            Ok(())
        })?;
        say(&tally.line());
        tally.none_failed()?;
        scene.nothing_happened(quiet)
    })
}
