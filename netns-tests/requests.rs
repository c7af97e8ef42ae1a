//! What planned moves do to connections where nothing is configured: requests end.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};
use buoy::lab::stalls::Stalls;
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::dead_owner::{readers, serve};
use crate::following::{owns_a_thousand, with_a_thousand_groups};
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, READING, SOON, Scene, with};
use crate::until::until;
use crate::web::say;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("a_download_outlasts_a_planned_move", a_download_outlasts_a_planned_move),
    ("a_group_moves_back_while_it_is_kept", a_group_moves_back_while_it_is_kept),
    ("what_has_no_end_is_reset_after_two_seconds", what_has_no_end_is_reset),
    ("a_stop_waits_for_a_download_and_for_nothing_else", a_stop_waits_for_a_download),
    ("thousand_groups_are_drained_at_once", thousand_groups_are_drained_at_once),
];

const PORT: u16 = 8080;
/// A download of a second and a half.
const PIECES: usize = 30;
const PIECE: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(50);
const HUNG: Duration = Duration::from_secs(10);

/// Serves downloads on every node, at a fixed pace.
fn serve_downloads(scene: &Scene) -> Outcome {
    for node in 0..scene.cluster.nodes() {
        let bind = || TcpListener::bind(SocketAddr::from(([0_u16; 8], PORT)));
        let listener = scene.cluster.namespace(node).run(bind)??;
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                thread::spawn(move || {
                    for _ in 0..PIECES {
                        if stream.write_all(&[7; PIECE]).is_err() {
                            return;
                        }
                        clock::pause(PAUSE);
                    }
                });
            }
        });
    }
    Ok(())
}

/// Begins a download and reads its first piece.
fn begin(scene: &Scene) -> Result<TcpStream, Box<dyn std::error::Error>> {
    let client = scene.cluster.client();
    let mut stream = client.run(|| TcpStream::connect((vip(100), PORT)))??;
    stream.set_read_timeout(Some(HUNG))?;
    stream.read_exact(&mut [0; PIECE])?;
    Ok(stream)
}

/// Reads the rest of a download; returns how much came, and how it ended.
fn rest_of(mut stream: TcpStream) -> (usize, std::io::Result<usize>) {
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    (rest.len(), read)
}

/// Panics if the rest of a download was not whole.
fn whole((length, read): (usize, std::io::Result<usize>)) {
    let due = (PIECES - 1) * PIECE;
    assert!(read.is_ok(), "{read:?} after {length} of {due}");
    assert_eq!(length, due);
}

fn move_to(scene: &Scene, from: usize, to: usize) -> Outcome {
    scene.command(from, &["move", "10.77.0.100", scene.cluster.name(to)])?;
    until("it is there", SOON, || match scene.owner(vip(100)) {
        Ok(owner) if owner == to => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

/// A download of 1.5 s is whole although its address moves in the middle of it, and the move is no
/// longer than without it.
fn a_download_outlasts_a_planned_move() -> Outcome {
    with(&Shape::default(), |scene| {
        serve_downloads(scene)?;
        let mut outages = Vec::new();
        for _ in 0..5 {
            let stream = begin(scene)?;
            let from = scene.owner(vip(100))?;
            let since = clock::now();
            move_to(scene, from, (from + 1) % 3)?;
            whole(rest_of(stream));
            let figures = scene.figures(since);
            assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
            assert!(figures.two_owners <= READING, "two owners for {:?}", figures.two_owners);
            assert_eq!(figures.by_turns, Duration::ZERO, "two nodes answered at once");
            outages.push(figures.worst);
            until("nothing is kept", SOON, || nothing_is_kept(scene))?;
        }
        say(&format!("outages: {outages:.1?}"));
        scene.at_rest()
    })
}

fn nothing_is_kept(scene: &Scene) -> Result<(), String> {
    for node in 0..scene.cluster.nodes() {
        let status = scene.cluster.status(node).ok_or("no status")?;
        let groups = status["groups"].as_array().ok_or("no groups")?;
        if let Some(kept) = groups.iter().find(|group| !group["preserved"].is_null()) {
            return Err(kept.to_string());
        }
    }
    Ok(())
}

/// While the former owner keeps a download the group is moved back to it: it goes on.
fn a_group_moves_back_while_it_is_kept() -> Outcome {
    with(&Shape::default(), |scene| {
        serve_downloads(scene)?;
        let from = scene.owner(vip(100))?;
        let (stream, since) = (begin(scene)?, clock::now());
        move_to(scene, from, (from + 1) % 3)?;
        move_to(scene, (from + 1) % 3, from)?;
        whole(rest_of(stream));
        let figures = scene.figures(since);
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        until("nothing is kept", SOON, || nothing_is_kept(scene))?;
        scene.at_rest()
    })
}

/// Clients that only read are reset when the two seconds are over, and not before.
fn what_has_no_end_is_reset() -> Outcome {
    with(&Shape::default(), |scene| {
        serve(scene, PORT)?;
        let mut clients = readers(scene, vip(100), PORT, 100)?;
        let from = scene.owner(vip(100))?;
        let since = clock::now();
        move_to(scene, from, (from + 1) % 3)?;
        for client in &mut clients {
            client.set_read_timeout(Some(HUNG))?;
            let read = client.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(read, Err(ErrorKind::ConnectionReset));
        }
        let took = clock::now().duration_since(since);
        assert!(took >= Duration::from_millis(1900), "reset after {took:?}");
        say(&format!("100 connections reset after {took:.1?}"));
        scene.at_rest()
    })
}

/// A daemon is stopped: with a download it ends when that has, without one at once, and with clients
/// that never go within two seconds.
fn a_stop_waits_for_a_download() -> Outcome {
    with(&Shape::default(), |scene| {
        serve_downloads(scene)?;
        serve(scene, PORT + 1)?;
        let mut took = Vec::new();
        for case in ["nothing", "a download", "a reader"] {
            let victim = scene.owner(vip(100))?;
            let stream = if case == "a download" { Some(begin(scene)?) } else { None };
            // It reads all the time: else the server waits for it.
            let reader = stream.map(|stream| thread::spawn(|| rest_of(stream)));
            let count = usize::from(case == "a reader");
            let there = readers(scene, vip(100), PORT + 1, count)?;
            if reader.is_some() {
                // What is left of it fits into the time that a stop has.
                clock::pause(Duration::from_millis(500));
            }
            let since = clock::now();
            scene.cluster.signal(victim, Signal::SIGTERM);
            let process = scene.cluster.process(victim).ok_or("it was started")?;
            let status = process.wait(Duration::from_secs(4)).ok_or("it did not end in 4 s")?;
            assert_eq!(status.code(), Some(0), "{status}");
            took.push((case, clock::now().duration_since(since)));
            if let Some(reader) = reader {
                whole(reader.join().map_err(|_| "the reader panicked")?);
            }
            drop(there);
            scene.away(victim)?;
            let figures = scene.figures(since);
            assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
            scene.cluster.start(victim)?;
            scene.back(victim)?;
        }
        say(&format!("stops with {took:.2?}"));
        Ok(())
    })
}

/// A node gives a thousand groups away at once: the command returns when all are elsewhere, and the
/// new owner needs no more rules for them than for one.
fn thousand_groups_are_drained_at_once() -> Outcome {
    with_a_thousand_groups(|scene| {
        // Both daemons write a thousand rules with real-time priority, on this one machine: the client is
        // not asked to run meanwhile.
        let stalls = Stalls::watch()?;
        let since = clock::now();
        scene.command(0, &["drain", "--no-wait"])?;
        let mut chains = 0;
        until("the second node has them all", SOON, || {
            let there = scene.cluster.namespace(1).output("nft", &["list", "chains", "netdev"]);
            let there = there.map_err(|error| error.to_string())?;
            chains = chains.max(there.matches("chain forward").count());
            owns_a_thousand(scene, 1)
        })?;
        let moved = clock::now().duration_since(since);
        scene.command(0, &["drain"])?;
        let took = clock::now().duration_since(since);
        let figures = scene.figures(since);
        let slack = stalls.longest();
        say(&format!(
            "moved in {moved:.1?}, drained in {took:.1?}, {chains} chains, worst {:.1?} (pauses {slack:.1?})",
            figures.worst
        ));
        assert!((1..=2).contains(&chains), "{chains} chains at the device");
        assert!(figures.worst <= PLANNED_OUTAGE_MAX + slack, "out for {:?}", figures.worst);
        Ok(())
    })
}
