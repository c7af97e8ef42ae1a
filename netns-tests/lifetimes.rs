//! Daemons on hosts where nf_tables cannot be used: addresses end by themselves, or nothing starts.
//!
//! On every host somebody else owns a table of the gate's name, which nf_tables then refuses to
//! everybody else, root included.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::fence::kill_both;
use crate::majority::{CLOSED_WITHIN, nobody_answers};
use crate::refusal::{refused, run_arguments};
use crate::runner::Test;
use crate::scene::{BALANCED_MAX, PROGRAM, SOON, Scene, with, with_unstarted};
use crate::until::{throughout, until};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("lifetimes_end_a_killed_daemons_addresses", lifetimes_end_a_killed_daemons_addresses),
    ("lifetimes_end_a_frozen_daemons_addresses", lifetimes_end_a_frozen_daemons_addresses),
    ("start_without_a_required_gate_is_refused", start_without_a_required_gate_is_refused),
    ("majority_is_answered_through_its_own_door", majority_is_answered_through_its_own_door),
];

/// What `buoy status` says in the profile `lan`.
const BOUND_MS: u64 = 3500;
/// The bound, and what a busy machine may add.
const ENDED_WITHIN: Duration = Duration::from_millis(BOUND_MS + 500);

/// A process that owns the table on one host.
struct Owner(Child);

impl Owner {
    fn start(scene: &Scene, node: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let namespace = scene.cluster.namespace(node);
        let start = || {
            let mut command = Command::new("nft");
            let command = command.arg("-i").stdin(Stdio::piped()).stdout(Stdio::null());
            let child = command.spawn()?;
            if let Some(mut input) = child.stdin.as_ref() {
                writeln!(input, "add table inet buoy_lab {{ flags owner; }}")?;
            }
            Ok::<_, std::io::Error>(child)
        };
        let owner = Self(namespace.run(start)??);
        until("the table is owned", SOON, || {
            let tables = namespace.output("nft", &["list", "tables"]).unwrap_or_default();
            if tables.contains("buoy_lab") { Ok(()) } else { Err(tables) }
        })?;
        Ok(owner)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Three nodes without nf_tables, at rest.
fn without_gates(test: impl FnOnce(&mut Scene) -> Outcome) -> Outcome {
    with_unstarted(&Shape::default(), |scene| {
        let owners: Result<Vec<_>, _> = (0..3).map(|node| Owner::start(scene, node)).collect();
        let _owners = owners?;
        scene.cluster.start_all()?;
        until("every address is served by one node", SOON, || scene.each_on_one_node())?;
        until("the groups are balanced", BALANCED_MAX, || scene.balanced(&[0, 1, 2]))?;
        scene.at_rest()?;
        for node in 0..3 {
            let status = scene.cluster.status(node).ok_or("no status")?;
            assert_eq!(status["fence"]["kind"].as_str(), Some("lifetime"));
            assert_eq!(status["fence"]["bound_ms"].as_u64(), Some(BOUND_MS));
            let log = scene.cluster.log(node);
            let told = log.lines().filter(|line| line.contains("the gate cannot be made"));
            assert_eq!(told.count(), 1, "{log}");
        }
        test(scene)
    })
}

/// Addresses live on for as long as their daemons do. Then all daemons are killed with their
/// guardians: nobody is there to do anything, and the addresses are gone in time.
fn lifetimes_end_a_killed_daemons_addresses() -> Outcome {
    without_gates(|scene| {
        let begin = clock::now();
        clock::pause(ENDED_WITHIN + Duration::from_secs(1));
        scene.nothing_happened(begin)?;
        demanding_a_gate_now_is_refused(scene)?;
        for node in 0..3 {
            kill_both(scene, node)?;
        }
        all_end(scene)?;
        scene.cluster.start_all()?;
        scene.at_rest()
    })
}

/// A daemon that runs without a gate cannot be told by a reload that it must have one.
fn demanding_a_gate_now_is_refused(scene: &Scene) -> Outcome {
    let path = scene.cluster.configuration_file(0);
    let text = fs::read_to_string(&path)?;
    fs::write(&path, text.replace("[cluster]", "[cluster]\nkernel_lease = \"required\""))?;
    let said = scene.command(0, &["reload"]).err().ok_or("it was applied")?.to_string();
    fs::write(&path, text)?;
    assert!(said.contains("started without a gate"), "{said}");
    Ok(())
}

/// All daemons stand still, and so do their guardians or not. Their addresses end and do not come
/// back by themselves; when the daemons go on, each is with one of them again.
fn lifetimes_end_a_frozen_daemons_addresses() -> Outcome {
    without_gates(|scene| {
        for node in 0..3 {
            scene.cluster.signal(node, Signal::SIGSTOP);
        }
        all_end(scene)?;
        throughout("nobody has an address", Duration::from_secs(1), || {
            let held =
                scene.served.iter().find(|vip| !scene.cluster.watch.holders(**vip).is_empty());
            held.map_or(Ok(()), |vip| Err(format!("{vip} is back")))
        })?;
        for node in 0..3 {
            scene.cluster.signal(node, Signal::SIGCONT);
        }
        scene.at_rest()?;
        assert_eq!(scene.cluster.watch.holders(vip(100)).len(), 1);
        Ok(())
    })
}

fn all_end(scene: &Scene) -> Outcome {
    until("every address has ended", ENDED_WITHIN, || {
        let held = scene.served.iter().find(|vip| !scene.cluster.watch.holders(**vip).is_empty());
        held.map_or(Ok(()), |vip| Err(format!("{vip} is there")))
    })
}

/// In mode majority an address is behind the door that the voters open. When the others are dead
/// the owner loses its leases and is not answered for, whatever it thinks of itself.
fn majority_is_answered_through_its_own_door() -> Outcome {
    let shape = Shape { pool: "mode = \"majority\"", ..Shape::default() };
    with(&shape, |scene| {
        let owner = scene.owner(vip(100))?;
        let set = |name: &str| {
            let words = ["list", "set", "inet", "buoy_lab", name];
            scene.cluster.namespace(owner).output("nft", &words)
        };
        assert!(set("granted4")?.contains("10.77.0.100"), "{}", set("granted4")?);
        assert!(!set("vouched4")?.contains("10.77."), "{}", set("vouched4")?);
        for node in (0..3).filter(|node| *node != owner) {
            kill_both(scene, node)?;
        }
        clock::pause(CLOSED_WITHIN);
        nobody_answers(scene)?;
        scene.cluster.start_all()?;
        scene.at_rest()
    })
}

/// The file demands the gate: the daemon says what is missing and what to do, and ends.
fn start_without_a_required_gate_is_refused() -> Outcome {
    let shape = Shape { cluster: "kernel_lease = \"required\"", ..Shape::default() };
    with_unstarted(&shape, |scene| {
        let owner = Owner::start(scene, 0)?;
        let (code, said) = refused(scene, Path::new(PROGRAM), &run_arguments(scene, 0))?;
        assert_eq!(code, Some(1), "{said}");
        for part in ["nf_tables", "kernel_lease", "table inet buoy_lab"] {
            assert!(said.contains(part), "it does not name {part}: {said}");
        }
        drop(owner);
        scene.cluster.start_all()?;
        scene.at_rest()?;
        let status = scene.cluster.status(0).ok_or("no status")?;
        assert_eq!(status["fence"]["kind"].as_str(), Some("gate"));
        Ok(())
    })
}
