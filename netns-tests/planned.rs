//! What an operator does on purpose: nobody should notice.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use std::{fs, thread};

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, READING, SOON, Scene, with, with_unstarted};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("drain_and_undrain", drain_and_undrain),
    ("undo_takes_back_what_was_ordered", undo_takes_back_what_was_ordered),
    ("persistent_drain_outlasts_a_loss_of_power", persistent_drain_outlasts_a_loss_of_power),
    ("move_resets_tcp_connections", move_resets_tcp_connections),
    ("reload_under_traffic", reload_under_traffic),
    ("lists_differ_during_a_rollout", lists_differ_during_a_rollout),
];

/// Clients of one address.
const CONNECTIONS: u64 = 4000;

/// The operator drains the owner: the command returns when the node has nothing; nobody loses
/// more than a probe or two, and no moment has two owners. Undrained, it gets its share back.
fn drain_and_undrain() -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(100))?;
        let other = (victim + 1) % 3;
        let begin = clock::now();
        scene.command(victim, &["drain"])?;
        let kernel = scene.cluster.kernel(victim)?;
        let left: Vec<_> = scene.served.iter().filter(|vip| kernel.holds(**vip)).collect();
        assert!(left.is_empty(), "drain returned while it had {left:?}");
        scene.away(victim)?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        assert!(figures.two_owners <= READING, "two owners for {:?}", figures.two_owners);
        assert_eq!(figures.by_turns, Duration::ZERO, "two nodes answered at once");
        let draining = |scene: &Scene, node: usize| {
            let status = scene.cluster.status(node)?;
            let nodes = status["nodes"].as_array()?;
            let name = scene.cluster.name(victim);
            nodes.iter().find(|entry| entry["name"] == name)?["draining"].as_bool()
        };
        until("the others know", SOON, || match draining(scene, other) {
            Some(true) => Ok(()),
            seen => Err(format!("draining: {seen:?}")),
        })?;
        let begin = clock::now();
        scene.command(victim, &["undrain"])?;
        scene.back(victim)?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        assert!(figures.two_owners <= READING, "two owners for {:?}", figures.two_owners);
        Ok(())
    })
}

/// In a pool without fail-back nothing returns by itself: the drain is taken back together with what
/// it has moved, and then the move before it.
fn undo_takes_back_what_was_ordered() -> Outcome {
    let pool = "strategy = \"priority\"\nprefer = [\"lb1\"]";
    with_unstarted(&Shape { pool, ..Shape::default() }, |scene| {
        scene.cluster.start_all()?;
        let all_but = |scene: &Scene, elsewhere: &[(u8, usize)]| {
            let groups = 100..=105_u8;
            let wrong: Vec<_> = groups
                .filter_map(|last| {
                    let moved = elsewhere.iter().find(|(one, _)| *one == last);
                    let owner = scene.owner(vip(last)).ok();
                    (owner != Some(moved.map_or(0, |(_, node)| *node))).then_some((last, owner))
                })
                .collect();
            if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong:?}")) }
        };
        until("lb1 has everything", SOON, || all_but(scene, &[]))?;
        scene.at_rest()?;
        let begin = clock::now();
        scene.command(0, &["move", &vip(103).to_string(), "lb3"])?;
        scene.command(0, &["drain"])?;
        scene.away(0)?;
        let said = scene.command(0, &["undo"])?;
        assert!(said.starts_with("undone: lb1 may own groups again"), "{said}");
        until("the drain is taken back", SOON, || all_but(scene, &[(103, 2)]))?;
        scene.command(0, &["undo"])?;
        until("the move is taken back", SOON, || all_but(scene, &[]))?;
        let refused = scene.cluster.command(0, &["undo"])?;
        assert_eq!(refused.status.code(), Some(5), "nothing is left to take back");
        let figures = scene.figures(begin);
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        assert!(figures.two_owners <= READING, "two owners for {:?}", figures.two_owners);
        Ok(())
    })
}

/// A drain that is to outlast restarts of the host is ordered, and all hosts lose their power at
/// once: what is in the runtime directory is gone, and no node remembers anything. The drained node
/// stays drained, says who wants that, and owns groups again when the drain is ended.
fn persistent_drain_outlasts_a_loss_of_power() -> Outcome {
    with(&Shape::default(), |scene| {
        let order = ["drain", "--persist", "--for", "1h", "--reason", "new disks"];
        scene.command(0, &order)?;
        scene.away(0)?;
        let on_disk = scene.cluster.runtime_directory(0).join("drained");
        until("it is on disk", SOON, || match on_disk.exists() {
            true => Ok(()),
            false => Err("it is not there".to_owned()),
        })?;
        for node in 0..scene.cluster.nodes() {
            scene.cluster.signal_family(node, Signal::SIGKILL);
            scene.cluster.process(node).ok_or("it was started")?.wait(SOON).ok_or("it goes on")?;
        }
        fs::remove_file(scene.cluster.runtime_directory(0).join("draining"))?;
        scene.cluster.start_all()?;
        scene.away(0)?;
        let status = scene.command(0, &["status"])?;
        assert!(status.contains("new disks"), "{status}");
        scene.command(0, &["undrain"])?;
        scene.back(0)?;
        until("it is on disk no more", SOON, || match on_disk.exists() {
            true => Err("it is there".to_owned()),
            false => Ok(()),
        })
    })
}

/// A reset comes within this.
const RESET_WITHIN: Duration = Duration::from_secs(1);

/// Whether a connection is reset within so long.
fn is_reset(stream: &mut TcpStream, wait: Duration) -> Result<bool, String> {
    stream.set_read_timeout(Some(wait)).map_err(|error| error.to_string())?;
    match stream.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        other => Err(format!("expected a reset, got {other:?}")),
    }
}

/// Thousands of clients have a connection to the address and only read. The group is moved, and no
/// connection is to be kept: every one is reset at once, so that its client can connect again, instead of hanging for
/// ever; and who probes the address meanwhile notices no more than of any move.
fn move_resets_tcp_connections() -> Outcome {
    with(&Shape { cluster: "preserve_connections = false\n", ..Shape::default() }, |scene| {
        allow_descriptors()?;
        for node in 0..scene.cluster.nodes() {
            let listener =
                scene.cluster.namespace(node).run(|| TcpListener::bind("0.0.0.0:8080"))??;
            thread::spawn(move || {
                let mut open = Vec::new();
                while let Ok((mut stream, _)) = listener.accept() {
                    // A client that is gone already is no matter here.
                    let _ = stream.write_all(b"hello");
                    open.push(stream);
                }
            });
        }
        let connect = || -> std::io::Result<TcpStream> {
            let mut stream = TcpStream::connect((vip(100), 8080))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.read_exact(&mut [0; 5])?;
            Ok(stream)
        };
        let client = scene.cluster.client();
        let clients: Result<Vec<_>, _> =
            client.run(|| (0..CONNECTIONS).map(|_| connect()).collect())?;
        let from = scene.owner(vip(100))?;
        let to = (from + 1) % 3;
        let begin = clock::now();
        scene.command(from, &["move", "10.77.0.100", scene.cluster.name(to)])?;
        let mut late = 0;
        for mut stream in clients? {
            // All are reset together: once one was not, the others are not waited for.
            let wait = if late == 0 { RESET_WITHIN } else { Duration::from_millis(2) };
            if !is_reset(&mut stream, wait)? {
                // Where the machine is too busy for the budget of a release, the rest learn of it
                // from the new owner, when they say something.
                late += 1;
                stream.write_all(b"?")?;
                assert!(
                    is_reset(&mut stream, RESET_WITHIN)?,
                    "the new owner does not reset it either"
                );
            }
        }
        if late > 0 {
            let status = scene.cluster.status(from).ok_or("no status")?;
            let left = status["counters"]["connections_left"].as_u64();
            assert!(left > Some(0), "{late} were left, and it does not know of any");
        } else {
            let took = clock::now().duration_since(begin);
            assert!(took < Duration::from_secs(1), "all were reset only after {took:?}");
        }
        until("a new connection is to the new owner", SOON, || {
            if scene.owner(vip(100))? != to {
                return Err("it has not moved".to_owned());
            }
            let connected = client.run(connect).map_err(|e| e.to_string())?;
            connected.map(drop).map_err(|e| e.to_string())
        })?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        assert!(figures.two_owners <= READING, "two owners for {:?}", figures.two_owners);
        Ok(())
    })
}

/// Both ends of every connection are files of this process.
fn allow_descriptors() -> Outcome {
    let wanted = 2 * CONNECTIONS + 1024;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted))?;
    }
    Ok(())
}

/// A group is added to the files and every daemon is told to reload, while the client probes: the
/// new group is served, and the others do not lose one probe.
fn reload_under_traffic() -> Outcome {
    let shape = Shape::default();
    with(&shape, |scene| {
        let mut grown = shape.clone();
        grown.groups.push(vec![vip(120)]);
        let begin = clock::now();
        for node in 0..scene.cluster.nodes() {
            fs::write(scene.cluster.configuration_file(node), grown.text())?;
            scene.command(node, &["reload"])?;
        }
        until("one node has the new address", SOON, || {
            match scene.cluster.watch.holders(vip(120)).len() {
                1 => Ok(()),
                other => Err(format!("{other} hold it")),
            }
        })?;
        clock::pause(Duration::from_millis(500));
        scene.nothing_happened(begin)?;
        // A file with a fault changes nothing, and the reason is told.
        fs::write(scene.cluster.configuration_file(0), grown.text().replace("vips", "vip"))?;
        let begin = clock::now();
        let output = scene.cluster.command(0, &["reload"])?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "a file with a fault was accepted");
        assert!(said.contains("vip"), "it does not name the fault: {said}");
        clock::pause(Duration::from_millis(500));
        scene.nothing_happened(begin)
    })
}

/// During a rollout the files differ: one node knows a new group and no longer knows an old one.
/// Every address that somebody knows is served, what all know is not touched, and when the last
/// node has the new file, the old address is gone everywhere.
fn lists_differ_during_a_rollout() -> Outcome {
    let shape = Shape::default();
    with(&shape, |scene| {
        let mut next = shape.clone();
        next.groups.remove(0);
        next.groups.push(vec![vip(121)]);
        scene.served.retain(|served| *served != vip(100));
        let begin = clock::now();
        let owner = scene.owner(vip(100))?;
        // The owner last: until then the old address has to be served by somebody.
        for node in [(owner + 1) % 3, (owner + 2) % 3, owner] {
            let old = scene.cluster.watch.holders(vip(100));
            assert!(!old.is_empty(), "the old address is served while its owner knows it");
            fs::write(scene.cluster.configuration_file(node), next.text())?;
            scene.command(node, &["reload"])?;
            until("one node has the new address", SOON, || {
                match scene.cluster.watch.holders(vip(121)).len() {
                    1 => Ok(()),
                    other => Err(format!("{other} hold it")),
                }
            })?;
        }
        until("nobody has the old address", SOON, || {
            match scene.cluster.watch.holders(vip(100)).len() {
                0 => Ok(()),
                other => Err(format!("{other} hold it")),
            }
        })?;
        let timeline = scene.cluster.watch.timeline();
        for address in [vip(121), vip(101), vip(105)] {
            let both = timeline.two_owners(address, begin, clock::now());
            assert!(both <= READING, "{address} had two owners for {both:?}");
        }
        // What all know may be balanced again, but without an outage.
        let seen = scene.cluster.prober.seen(begin, buoy::lab::probe::Prober::judged_until());
        for (address, seen) in seen.iter().filter(|(address, _)| *address != vip(100)) {
            assert!(seen.outage <= PLANNED_OUTAGE_MAX, "{address}: {seen:?}");
        }
        Ok(())
    })
}
