//! Balancers that are asked to finish once a group has been handed over: clients of HTTP/2 that keep their
//! connection are told to open another one, which is at the next owner, and no request fails.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use buoy::lab::plan::{Shape, vip};
use buoy::lab::process::Process;

use crate::Outcome;
use crate::checking::script;
use crate::http2::{Seen, ask};
use crate::runner::Test;
use crate::scene::{SOON, Scene};
use crate::until::until;
use crate::web::{
    MASTER, haproxy_table, say, start, start_haproxy_that_reloads, start_nginx_that_reloads,
    with_tables,
};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("haproxy_finishes_http2_after_a_planned_move", behind_haproxy),
    ("nginx_finishes_http2_after_a_planned_move", behind_nginx),
    ("haproxy_finishes_http2_in_the_time_of_requests", in_the_time_of_requests),
    ("haproxy_finishes_http2_when_its_master_is_asked", when_its_master_is_asked),
];

const GROUPS: usize = 6;
/// Without the reload a connection would stay where it is for 10 minutes.
const LONG: &str = "preserve_connections = true";

type Start = fn(&Scene, usize) -> Result<Process, Box<dyn std::error::Error>>;

fn behind_haproxy() -> Outcome {
    // As 'systemctl reload haproxy' does.
    moved_and_drained(LONG, Asked::BySignal("USR2"), start_haproxy_that_reloads)
}

/// Connections are not preserved for long: their clients have gone before they would be reset.
fn in_the_time_of_requests() -> Outcome {
    // A busy machine may not reload within the 2 s of the default.
    moved_and_drained(
        "preserve_timeout = \"10s\"",
        Asked::BySignal("USR2"),
        start_haproxy_that_reloads,
    )
}

fn behind_nginx() -> Outcome {
    // As 'systemctl reload nginx' does.
    moved_and_drained(LONG, Asked::BySignal("HUP"), start_nginx_that_reloads)
}

/// The daemon itself asks, without a hook (`[haproxy] master_socket`).
fn when_its_master_is_asked() -> Outcome {
    moved_and_drained(LONG, Asked::ByMaster, start_haproxy_that_reloads)
}

/// How a balancer is asked to finish.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// By a hook that sends its process this signal.
    BySignal(&'static str),
    /// By the daemon; the hook only writes.
    ByMaster,
}

/// Where hooks write and balancers leave their number.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("buoy-soft-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// The lines of a node, each the event, the groups and their number.
    fn lines(&self, node: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join(node)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One hook that reloads, and one that only writes.
fn tables(place: &Path, asked: Asked) -> Result<String, Box<dyn std::error::Error>> {
    let (finish, note) = (place.join("finish"), place.join("note"));
    let at = place.display();
    let (then, haproxy) = match asked {
        Asked::BySignal(signal) => {
            (format!("kill -{signal} $(cat {at}/$BUOY_NODE.pid)"), String::new())
        }
        Asked::ByMaster => {
            (String::new(), format!("{}master_socket = \"{MASTER}\"\n", haproxy_table()?))
        }
    };
    let written =
        format!("echo \"$BUOY_EVENT $BUOY_GROUP $BUOY_ADDRESSES $BUOY_COUNT\" >> {at}/$BUOY_NODE");
    script(&finish, &format!("#!/bin/sh\n{written}\n{then}\n"))?;
    script(&note, &format!("#!/bin/sh\n{written}\n"))?;
    Ok(format!(
        "{haproxy}[[hook]]\nname = \"finish\"\non = [\"handed_over\"]\ncommand = [\"{}\"]\n\
         gather = \"500ms\"\n\
         [[hook]]\nname = \"note\"\non = [\"drained\", \"undrained\"]\ncommand = [\"{}\"]\n",
        finish.display(),
        note.display()
    ))
}

/// An ordered move of one group, then a drain of all groups of a node and its end.
fn moved_and_drained(cluster: &'static str, asked: Asked, balancer: Start) -> Outcome {
    let place = Place::new(&format!("{asked:?}").replace(['(', ')', '"'], ""))?;
    let tables = tables(&place.0, asked)?;
    let groups = (0..GROUPS).map(|one| vec![vip(100 + u8::try_from(one).unwrap_or(0))]).collect();
    let shape = Shape { nodes: 2, groups, cluster, ..Shape::default() };
    with_tables(&shape, &tables, |scene| {
        let mut balancers = Vec::new();
        for node in 0..2 {
            let started = balancer(scene, node)?;
            let file = place.0.join(format!("{}.pid", scene.cluster.name(node)));
            std::fs::write(file, started.pid().to_string())?;
            balancers.push(started);
        }
        start(scene)?;
        let (seen, ended) = (Mutex::new(Seen::default()), AtomicBool::new(false));
        let client = scene.cluster.client().clone();
        thread::scope(|scope| {
            let asking = scope.spawn(|| {
                client.enter().map_err(|error| error.to_string())?;
                ask(SocketAddr::new(vip(100), 80), &seen, &ended);
                Ok::<(), String>(())
            });
            let outcome = move_and_drain(scene, &place, &seen);
            ended.store(true, Ordering::Relaxed);
            asking.join().map_err(|_| "the client panicked")??;
            outcome
        })
    })
}

fn now(seen: &Mutex<Seen>) -> Seen {
    seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Waits until a node answers the client's requests.
fn served_by(seen: &Mutex<Seen>, name: &str, goaways: usize) -> Outcome {
    until("the next owner answers after a GOAWAY", SOON, || {
        let now = now(seen);
        let there = now.last == name && now.goaways == goaways;
        if there && now.answered > 5 { Ok(()) } else { Err(format!("{now:?}")) }
    })
}

fn move_and_drain(scene: &Scene, place: &Place, seen: &Mutex<Seen>) -> Outcome {
    let from = scene.owner(vip(100))?;
    let to = 1 - from;
    let [old, new] = [from, to].map(|node| scene.cluster.name(node).to_owned());
    served_by(seen, &old, 0)?;
    scene.command(from, &["move", "10.77.0.100", &new])?;
    served_by(seen, &new, 1)?;
    until("one reload for one group", SOON, || {
        let lines = place.lines(&old);
        let due = ["handed_over 10.77.0.100 10.77.0.100 1"];
        if lines == due { Ok(()) } else { Err(format!("{lines:?}")) }
    })?;
    scene.command(to, &["drain"])?;
    served_by(seen, &old, 2)?;
    let (had, reloads) = drained_once(place, &new)?;
    scene.command(to, &["undrain"])?;
    until("it says so once", SOON, || {
        let lines = place.lines(&new);
        let count = |event: &str| lines.iter().filter(|it| it.starts_with(event)).count();
        let due = (count("drained "), count("undrained "));
        if due == (1, 1) { Ok(()) } else { Err(format!("{lines:?}")) }
    })?;
    // What comes back comes by moves for balance.
    scene.back(to)?;
    until("hooks of the other node ran for each once", SOON, || {
        let status = scene.cluster.status(to).ok_or("no status")?;
        let mut nodes = status["nodes"].as_array().into_iter().flatten();
        let has = nodes.find(|node| node["name"] == *new).and_then(|it| it["owns"].as_u64());
        let lines = place.lines(&old);
        if has.is_some_and(|has| handed(&lines) as u64 == 1 + has) {
            Ok(())
        } else {
            Err(format!("{has:?}: {lines:?}"))
        }
    })?;
    let before = now(seen);
    until("the client goes on", SOON, || {
        let now = now(seen);
        let quiet = now.connections == now.goaways + 1 && now.answered > before.answered + 20;
        if quiet { Ok(()) } else { Err(format!("{now:?}")) }
    })?;
    let seen = now(seen);
    say(&format!(
        "{} requests, {} GOAWAYs, {had} groups in {reloads} reloads",
        seen.answered, seen.goaways
    ));
    assert_eq!(seen.failed, [""; 0], "{seen:?}");
    Ok(())
}

/// Groups of which these lines say that they were handed over.
fn handed(lines: &[String]) -> usize {
    let lines = lines.iter().filter(|line| line.starts_with("handed_over"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}

/// Waits until a node has nothing left; returns how many groups its hooks ran for, each once, in how many
/// runs.
fn drained_once(place: &Place, node: &str) -> Result<(usize, usize), Box<dyn std::error::Error>> {
    let mut lines = Vec::new();
    until("nothing is left", SOON, || {
        lines = place.lines(node);
        let ended = lines.last().is_some_and(|line| line.starts_with("drained"));
        if ended { Ok(()) } else { Err(format!("{lines:?}")) }
    })?;
    lines.retain(|line| line.starts_with("handed_over"));
    let words = lines.iter().flat_map(|line| line.split(' ')).filter(|word| word.contains('.'));
    let groups = words.collect::<BTreeSet<_>>().len();
    assert!(groups > 1 && handed(&lines) == groups, "each once: {lines:?}");
    assert!(lines.len() < groups, "one reload for each group: {lines:?}");
    Ok((groups, lines.len()))
}
