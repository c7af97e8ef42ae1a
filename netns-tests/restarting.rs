//! Restarts in place: the daemon is replaced by another process and nobody notices; and what
//! happens when that cannot be.

use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};
use buoy::lab::probe::Prober;
use nix::sys::signal::Signal;
use socket2::{Domain, Protocol, Socket, Type};

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, READING, SOON, Scene, with};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("restart_in_place", restart_in_place),
    ("restart_in_place_again_and_again", restart_in_place_again_and_again),
    ("restart_by_hand_over", restart_by_hand_over),
    ("nobody_comes_to_go_on", nobody_comes_to_go_on),
    ("killed_between_restarts", killed_between_restarts),
    ("bad_state_files", bad_state_files),
];

/// An address is out for no longer when a daemon that was to be replaced is not: the lease ends,
/// the guardian speaks, the others take over.
const NOBODY_WITHIN: Duration = Duration::from_millis(600 + 250);

fn in_place() -> Shape {
    Shape { cluster: "restart = \"in-place\"", ..Shape::default() }
}

/// Has the daemon leave everything to the next process, and waits for its end.
pub(crate) fn rest(scene: &Scene, node: usize) -> Outcome {
    scene.cluster.signal(node, Signal::SIGUSR2);
    let process = scene.cluster.process(node).ok_or("it was not started")?;
    let ended = process.wait(SOON).ok_or("it does not end")?;
    if ended.success() { Ok(()) } else { Err(format!("it failed: {ended}").into()) }
}

fn counter(scene: &Scene, node: usize, name: &str) -> Option<u64> {
    scene.cluster.status(node)?["counters"][name].as_u64()
}

/// Epochs of all groups, as a node sees them.
fn epochs(scene: &Scene, node: usize) -> Result<Vec<(String, u64, String)>, String> {
    let status = scene.cluster.status(node).ok_or("no status")?;
    let groups = status["groups"].as_array().ok_or("no groups")?;
    let row = |group: &serde_json::Value| {
        let text = |key: &str| group[key].as_str().unwrap_or_default().to_owned();
        (text("group"), group["epoch"].as_u64().unwrap_or_default(), text("owner"))
    };
    Ok(groups.iter().map(row).collect())
}

/// Waits until the node has verified what it has.
pub(crate) fn acts(scene: &Scene, node: usize) -> Outcome {
    until("it acts", SOON, || {
        let status = scene.cluster.status(node).ok_or("no status")?;
        let name = scene.cluster.name(node);
        let nodes = status["nodes"].as_array().ok_or("no nodes")?;
        let entry = nodes.iter().find(|entry| entry["name"].as_str() == Some(name));
        match entry.and_then(|entry| entry["phase"].as_str()) {
            Some("active") => Ok(()),
            phase => Err(format!("its phase is {phase:?}")),
        }
    })
}

/// What the present process has recorded.
fn events(scene: &Scene, node: usize) -> Result<String, Box<dyn std::error::Error>> {
    let all = scene.command(node, &["events"])?;
    let (_, present) = all.rsplit_once(" started ").ok_or("its start is not recorded")?;
    Ok(present.to_owned())
}

/// Reads every ARP frame that reaches the client, from now on.
fn arp_frames(scene: &Scene) -> Result<Socket, Box<dyn std::error::Error>> {
    let open = || {
        let protocol = Protocol::from(i32::from(0x0806_u16.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(socket)
    };
    Ok(scene.cluster.client().run(open)??)
}

/// How many of them came from this node and announced an address: their sender and their target are
/// the same.
fn announcements(scene: &Scene, node: usize, frames: &mut Socket) -> usize {
    let mac = scene.cluster.network.hosts()[node].mac(0);
    let (mut count, mut frame) = (0, [0; 128]);
    while let Ok(length) = frames.read(&mut frame) {
        let announces = length >= 42 && frame[28..32] == frame[38..42];
        count += usize::from(announces && frame[22..28] == mac);
    }
    count
}

/// Restarts in place once; tells how long nobody ran.
pub(crate) fn once(
    scene: &mut Scene,
    victim: usize,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let other = (victim + 1) % 3;
    let before = epochs(scene, other)?;
    let (mut frames, millis) = (arp_frames(scene)?, Duration::from_millis(1));
    let often = Prober::every(millis, scene.cluster.client(), &scene.served)?;
    until("it is answered", SOON, || match often.silent(Duration::from_millis(300)).len() {
        0 => Ok(()),
        some => Err(format!("{some} are silent")),
    })?;
    // What it took at the start it has announced more than once.
    announcements(scene, victim, &mut frames);
    let begin = clock::now();
    rest(scene, victim)?;
    scene.cluster.start(victim)?;
    acts(scene, victim)?;
    let took = clock::now().duration_since(begin);
    clock::pause(Duration::from_millis(700));
    scene.nothing_happened(begin)?;
    let seen = often.seen(begin, Prober::judged_until());
    let lost: usize = seen.iter().map(|(_, seen)| seen.lost).sum();
    let sent: usize = seen.iter().map(|(_, seen)| seen.sent).sum();
    assert_eq!(lost, 0, "of {sent} probes, one each millisecond to each address");
    assert!(u128::try_from(sent)? >= took.as_millis(), "{sent} probes in {took:?}");
    assert_eq!(announcements(scene, victim, &mut frames), 0, "frames that announce an address");
    assert_eq!(epochs(scene, other)?, before, "groups have other owners or epochs");
    assert_eq!(counter(scene, victim, "announcements"), Some(0), "it announced something");
    assert_eq!(counter(scene, victim, "addresses_swept"), Some(0), "it swept something");
    let told = events(scene, victim)?;
    assert!(told.contains("was restarted in place"), "{told}");
    Ok(took)
}

/// The owner is restarted in place under traffic: no address leaves its interface, no probe is
/// lost, nothing is announced, and the others see no other owner and no other epoch.
fn restart_in_place() -> Outcome {
    with(&in_place(), |scene| {
        let victim = scene.owner(vip(100))?;
        let took = once(scene, victim)?;
        assert!(took < Duration::from_secs(2), "it took {took:?}");
        let other = (victim + 1) % 3;
        let told = events(scene, other)?;
        let name = scene.cluster.name(victim).to_owned();
        assert!(!told.contains(&format!("{name} restarted")), "it was noticed:\n{told}");
        scene.at_rest()
    })
}

/// As often as one likes, and afterwards everything works as ever: a clean stop hands over.
fn restart_in_place_again_and_again() -> Outcome {
    with(&in_place(), |scene| {
        let victim = scene.owner(vip(100))?;
        for _ in 0..5 {
            once(scene, victim)?;
        }
        let begin = clock::now();
        scene.cluster.signal(victim, Signal::SIGTERM);
        scene.away(victim)?;
        planned(scene, begin)
    })
}

fn planned(scene: &Scene, begin: Instant) -> Outcome {
    let figures = scene.figures(begin);
    assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
    assert!(figures.two_owners <= READING, "two owners for {:?}", figures.two_owners);
    Ok(())
}

/// Without `restart = "in-place"` the same signal hands over.
fn restart_by_hand_over() -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(100))?;
        let begin = clock::now();
        rest(scene, victim)?;
        scene.away(victim)?;
        planned(scene, begin)?;
        scene.cluster.start(victim)?;
        scene.back(victim)?;
        planned(scene, begin)
    })
}

/// Nobody goes on: the guardian acts when the lease is over, and the others take over.
fn nobody_comes_to_go_on() -> Outcome {
    with(&in_place(), |scene| {
        let victim = scene.owner(vip(100))?;
        let begin = clock::now();
        rest(scene, victim)?;
        scene.away(victim)?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= NOBODY_WITHIN, "out for {:?}", figures.worst);
        let kernel = scene.cluster.kernel(victim)?;
        let left: Vec<_> = scene.served.iter().filter(|vip| kernel.holds(**vip)).collect();
        assert!(left.is_empty(), "the guardian left {left:?}");
        scene.cluster.start(victim)?;
        scene.back(victim)
    })
}

/// A daemon that has gone on is killed: its guardian acts as ever, and the next process begins a
/// new life although there was a state file once.
fn killed_between_restarts() -> Outcome {
    with(&in_place(), |scene| {
        let victim = scene.owner(vip(100))?;
        once(scene, victim)?;
        let begin = clock::now();
        scene.cluster.signal(victim, Signal::SIGKILL);
        scene.away(victim)?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        scene.cluster.start(victim)?;
        scene.back(victim)?;
        let told = events(scene, victim)?;
        assert!(!told.contains("in place"), "{told}");
        Ok(())
    })
}

/// What becomes of the state file between two processes, and what the second says of it.
type Spoiler = (&'static str, fn(&str) -> String, &'static str);

const SPOILERS: &[Spoiler] = &[
    ("truncated", |text| text[..text.len() / 2].to_owned(), "is cut off or was changed"),
    ("empty", |_| String::new(), "is cut off or was changed"),
    (
        "of another version",
        |text| text.replacen("buoy-state 1 ", "buoy-state 7 ", 1),
        "has layout 7, this version knows 1",
    ),
    ("of another cluster", |_| OTHER_CLUSTER.to_owned(), "belongs to cluster \"edge\""),
];

/// As written by the release of that version for another cluster.
const OTHER_CLUSTER: &str = include_str!("../tests/golden/0.1.0/state");

/// A state file that is cut off, of another version or of another cluster: the node begins a new
/// life as after a crash, says why, and everything is served by one node in the end.
fn bad_state_files() -> Outcome {
    with(&in_place(), |scene| {
        for (what, spoil, said) in SPOILERS {
            let victim = scene.owner(vip(100))?;
            let file = scene.cluster.runtime_directory(victim).join("restart");
            rest(scene, victim)?;
            let text = fs::read_to_string(&file)?;
            fs::write(&file, spoil(&text))?;
            scene.cluster.start(victim)?;
            acts(scene, victim)?;
            let told = events(scene, victim)?;
            let line = told.lines().find(|line| line.contains("was not restarted in place"));
            let line = line.ok_or(format!("{what}: nothing is said:\n{told}"))?;
            assert!(line.contains(said), "{what}: {line}");
            scene.back(victim)?;
        }
        Ok(())
    })
}
