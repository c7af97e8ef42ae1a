//! Downloads survive planned moves (`preserve_connections`).

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{iter, thread};

use buoy::lab::clock;
use buoy::lab::fault::Fault;
use buoy::lab::namespace::Namespace;
use buoy::lab::plan::{Shape, vip, vip6};

use crate::Outcome;
use crate::dead_owner::{self, readers};
use crate::runner::Test;
use crate::scene::{SOON, Scene, with};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("downloads_survive_a_rolling_drain", downloads_survive_a_rolling_drain),
    ("what_a_killed_daemon_kept_is_gone_with_it", what_a_killed_daemon_kept_is_gone_with_it),
    ("a_move_says_whose_connections_stay", a_move_says_whose_connections_stay),
];

/// One piece of a download, and the pause behind it.
const PIECE: usize = 64 * 1024;
const PAUSE: Duration = Duration::from_millis(50);
/// Nothing is heard of a server for so long: the download is broken.
const HUNG: Duration = Duration::from_secs(10);
/// Downloads at the same time.
const CLIENTS: usize = 12;
const PORT: u16 = 8080;

fn preserving() -> Shape {
    Shape {
        groups: vec![vec![vip(100)], vec![vip(101)], vec![vip(102), vip6(0x102)]],
        cluster: "preserve_connections = true\n",
        ..Shape::default()
    }
}

/// How long a download takes: six seconds, or as many as `BUOY_DOWNLOAD` says.
fn length() -> Duration {
    let told = std::env::var("BUOY_DOWNLOAD").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(told.unwrap_or(6))
}

fn pieces() -> usize {
    usize::try_from(length().as_millis() / PAUSE.as_millis()).expect("a number of pieces")
}

fn byte(at: usize) -> u8 {
    u8::try_from((at ^ at >> 8 ^ at >> 16) & 0xff).unwrap_or_default()
}

/// Serves downloads on every node, at a fixed pace.
fn serve(scene: &Scene) -> Outcome {
    for node in 0..scene.cluster.nodes() {
        let bind = || TcpListener::bind(SocketAddr::from(([0_u16; 8], PORT)));
        let listener = scene.cluster.namespace(node).run(bind)??;
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                thread::spawn(move || send(stream));
            }
        });
    }
    Ok(())
}

fn send(mut stream: TcpStream) {
    for piece in 0..pieces() {
        let bytes: Vec<u8> = (piece * PIECE..(piece + 1) * PIECE).map(byte).collect();
        if stream.write_all(&bytes).is_err() {
            return;
        }
        clock::pause(PAUSE);
    }
}

/// Downloads once; says what was wrong, and what every host knows of the connection then.
fn download(client: &Namespace, hosts: &[Namespace], from: IpAddr) -> Result<(), String> {
    let said = |error: std::io::Error| error.to_string();
    let connect = || TcpStream::connect_timeout(&(from, PORT).into(), HUNG);
    let mut stream = client.run(connect).map_err(|error| error.to_string())?.map_err(said)?;
    stream.set_read_timeout(Some(HUNG)).map_err(said)?;
    let port = stream.local_addr().map_err(said)?.port();
    let mut all = Vec::with_capacity(pieces() * PIECE);
    stream.read_to_end(&mut all).map_err(|error| {
        let known = iter::once(client).chain(hosts).map(|host| known_of(host, port));
        format!("{error} after {}\n{}", all.len(), known.collect::<String>())
    })?;
    match all.iter().enumerate().find(|(at, found)| **found != byte(*at)) {
        _ if all.len() != pieces() * PIECE => Err(format!("ended after {}", all.len())),
        Some((at, _)) => Err(format!("byte {at} is wrong")),
        None => Ok(()),
    }
}

/// What a host knows of the connection from this port, and of its neighbours.
fn known_of(host: &Namespace, port: u16) -> String {
    let either = format!("sport = :{port} or dport = :{port}");
    let asked = [
        host.output("ss", &["-Htnoi", &either]),
        host.output("ip", &["neighbour"]),
        host.output("ip", &["-brief", "address"]),
        host.output("nft", &["list", "ruleset"]),
    ];
    let answers = asked.into_iter().map(|asked| asked.unwrap_or_else(|error| error.to_string()));
    format!("{}:\n{}", host.name(), answers.collect::<String>())
}

/// Groups whose connections `node` says that it keeps.
fn keeps(scene: &Scene, node: usize) -> Option<usize> {
    let status = scene.cluster.status(node)?;
    let name = scene.cluster.name(node);
    let kept = status["groups"].as_array()?.iter();
    Some(kept.filter(|group| group["preserved"]["by"] == name).count())
}

/// Clients download all the time, over IPv4 and IPv6. Node after node is drained, restarted when it
/// keeps nothing any more, and undrained: no download breaks, each is right to the last byte.
fn downloads_survive_a_rolling_drain() -> Outcome {
    with(&preserving(), |scene| {
        serve(scene)?;
        let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
        let from = [vip(100), vip(101), vip(102), vip6(0x102)];
        let client = scene.cluster.client().clone();
        let nodes = 0..scene.cluster.nodes();
        let hosts: Vec<_> = nodes.map(|node| scene.cluster.namespace(node).clone()).collect();
        let (outcome, broken) = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    let (over, done, client, hosts) = (&over, &done, &client, &hosts);
                    scope.spawn(move || {
                        let mut broken = Vec::new();
                        while !over.load(Ordering::Relaxed) {
                            let from = from[number % from.len()];
                            match download(client, hosts, from) {
                                Ok(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
                                Err(said) => broken.push(format!("{from}: {said}")),
                            }
                        }
                        broken
                    })
                })
                .collect();
            let outcome = roll(scene, &done).map_err(|error| error.to_string());
            over.store(true, Ordering::Relaxed);
            let broken: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
            (outcome, broken)
        });
        outcome?;
        let broken: Vec<String> = broken.into_iter().flatten().flatten().collect();
        let done = done.load(Ordering::Relaxed);
        assert!(broken.is_empty(), "{} of {done} broken: {}", broken.len(), broken.join("\n"));
        drop(writeln!(std::io::stderr(), "  {done} downloads, none broken"));
        scene.at_rest()
    })
}

fn roll(scene: &mut Scene, done: &AtomicU64) -> Outcome {
    for node in 0..scene.cluster.nodes() {
        // Every client is in the middle of something when the next move comes.
        let before = done.load(Ordering::Relaxed);
        let patience = SOON + 2 * length();
        until("downloads go on", patience, || {
            let now = done.load(Ordering::Relaxed);
            if now >= before + 4 { Ok(()) } else { Err(format!("{before}, {now}")) }
        })?;
        until("it has something", patience, || match scene.owned_by(node).len() {
            0 => Err("nothing".to_owned()),
            _ => Ok(()),
        })?;
        scene.command(node, &["drain", "--no-wait"])?;
        until("it keeps connections", patience, || match keeps(scene, node) {
            Some(some) if some > 0 => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
        // Comes back when the last download from here has ended.
        let output = scene.cluster.command(node, &["drain"])?;
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("still serves connections"), "{said}");
        assert_eq!(keeps(scene, node), Some(0), "the command came back too early");
        Fault::Stop.begin(&mut scene.cluster, node)?;
        Fault::Stop.end(&mut scene.cluster, node)?;
        is_back(scene, node)?;
        scene.command(node, &["undrain"])?;
    }
    Ok(())
}

fn is_back(scene: &Scene, node: usize) -> Outcome {
    until("it is back", SOON, || {
        scene.cluster.status(node).map(|_| ()).ok_or_else(|| "no status".to_owned())
    })
}

/// Every node says of every node that it can preserve connections, a plan that they would be, and after the
/// move the old owner whose they are and for how long.
fn a_move_says_whose_connections_stay() -> Outcome {
    with(&preserving(), |scene| {
        dead_owner::serve(scene, PORT)?;
        let old = scene.owner(vip(100))?;
        let new = (old + 1) % scene.cluster.nodes();
        let [from, to] = [old, new].map(|node| scene.cluster.name(node).to_owned());
        until("all nodes can", SOON, || {
            let status = scene.cluster.status(old).ok_or("no status")?;
            let nodes = status["nodes"].as_array().ok_or("no nodes")?;
            let able = nodes.iter().all(|node| node["preserving"] == "able");
            if able { Ok(()) } else { Err(format!("{nodes:?}")) }
        })?;
        let planned = scene.command(new, &["plan", "--without", &from])?;
        assert!(planned.contains("preserved, at most 10m00s"), "{planned}");
        let reader = readers(scene, vip(100), PORT, 1)?.remove(0);
        let address = vip(100).to_string();
        scene.command(old, &["move", &address, &to])?;
        let client = reader.local_addr()?.to_string();
        until("it says whose connection it keeps", SOON, || {
            let status = scene.cluster.status(old).ok_or("no status")?;
            let groups = status["groups"].as_array().into_iter().flatten();
            let kept: Vec<_> = groups.filter(|it| it["preserved"]["by"] == *from).collect();
            let oldest = kept.iter().map(|it| &it["preserved"]["awaited"]["oldest"]["client"]);
            if oldest.clone().any(|it| *it == *client) { Ok(()) } else { Err(format!("{kept:?}")) }
        })?;
        // It is there already; the command says what is left of the move.
        let output = scene.cluster.command(old, &["move", &address, &to])?;
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        for words in ["still serves 1 connection, at most 9m", ": 1 on port 8080; ", &client] {
            assert!(said.contains(words), "{words}: {said}");
        }
        Ok(())
    })
}

/// Two looks at the connections, or until all are told again.
const TOLD_AGAIN: Duration = Duration::from_secs(15);
/// A client that only reads learns that its connection is gone within this after the death of
/// who kept it: that is noticed within 500 ms (profile `lan`), and told within 300.
const TOLD_WITHIN: Duration = Duration::from_millis(900);

/// The old owner's daemon is killed: its guardian removes what it kept, no node answers for the
/// address but the new owner, and the client, which only reads, is told that its connection is gone.
fn what_a_killed_daemon_kept_is_gone_with_it() -> Outcome {
    with(&preserving(), |scene| {
        dead_owner::serve(scene, PORT)?;
        let old = scene.owner(vip(100))?;
        let mut stream = readers(scene, vip(100), PORT, 1)?.remove(0);
        scene.command(old, &["drain", "--no-wait"])?;
        until("it keeps the connection", SOON, || match keeps(scene, old) {
            Some(some) if some > 0 => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
        scene.served_by_others(old)?;
        let new = scene.owner(vip(100))?;
        until("the new owner knows of the connection", TOLD_AGAIN, || {
            let status = scene.cluster.status(new).ok_or("no status")?;
            match status["counters"]["connections_remembered"].as_u64() {
                Some(1) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })?;
        assert!(scene.cluster.kernel(old)?.holds(vip(100)), "for its connections");
        let killed = clock::now();
        Fault::Kill.begin(&mut scene.cluster, old)?;
        let told = stream.read(&mut [0]).map_err(|error| error.kind());
        let after = clock::now().duration_since(killed);
        assert_eq!(told, Err(ErrorKind::ConnectionReset), "after {after:?}");
        assert!(after <= TOLD_WITHIN, "told {after:?} after the death");
        assert!(!scene.cluster.kernel(old)?.holds(vip(100)), "its guardian has removed it");
        Fault::Kill.end(&mut scene.cluster, old)?;
        is_back(scene, old)?;
        scene.command(old, &["undrain"])?;
        scene.at_rest()
    })
}
