//! Daemons of several clusters, and of former names, on one host: whose is what.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};
use buoy::lab::process::Process;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Outcome;
use crate::fence::kill_both;
use crate::runner::Test;
use crate::scene::{PROGRAM, SOON, Scene, with};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("another_cluster_on_the_host", another_cluster_on_the_host),
    ("dead_cluster_of_another_name", dead_cluster_of_another_name),
    ("cluster_renamed_in_place", cluster_renamed_in_place),
    ("frozen_neighbour_keeps_what_is_its_own", frozen_neighbour_keeps_what_is_its_own),
];

/// A daemon of a cluster of its own, on the host of a node.
struct Other {
    process: Process,
    arguments: Vec<String>,
    directory: PathBuf,
}

impl Other {
    /// Where its address is.
    const VIP: u8 = 200;

    fn start(scene: &Scene, node: usize, role: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let directory = scene.cluster.node_directory(node).join(format!("other-{role}"));
        fs::create_dir_all(directory.join("run"))?;
        let key = scene.cluster.node_directory(node).join("cluster.key");
        let own = Shape::node_address(u8::try_from(node)?, 0);
        let text = format!(
            "[cluster]\nname = \"other\"\nport = 4750\nkey_file = \"{}\"\n\n\
             [[node]]\nname = \"x1\"\naddresses = [\"{own}\"]\nrole = \"{role}\"\n\n\
             [[node]]\nname = \"x2\"\naddresses = [\"10.77.0.98\"]\n\n\
             [[pool]]\nname = \"web\"\nvips = [\"10.77.0.{}\"]\n",
            key.display(),
            Self::VIP
        );
        fs::write(directory.join("buoy.toml"), text)?;
        let path = |name: &str| directory.join(name).display().to_string();
        let words = ["run", "--config", &path("buoy.toml"), "--node", "x1", "--runtime-dir"];
        let mut arguments: Vec<String> = words.map(str::to_owned).into();
        arguments.push(path("run"));
        let process = Self::run(scene, node, &arguments, &directory)?;
        let other = Self { process, arguments, directory };
        other.started(1)?;
        Ok(other)
    }

    fn run(
        scene: &Scene,
        node: usize,
        arguments: &[String],
        directory: &Path,
    ) -> Result<Process, Box<dyn std::error::Error>> {
        let namespace = scene.cluster.namespace(node);
        Ok(Process::start(namespace, Path::new(PROGRAM), arguments, &directory.join("log"))?)
    }

    fn started(&self, times: usize) -> Outcome {
        until("the other daemon has started", SOON, || {
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            let found = log.matches(" started").count();
            if found >= times { Ok(()) } else { Err(log) }
        })
    }

    /// Kills it and starts it again, so often, the guardian acting in between.
    fn crash(&mut self, scene: &Scene, node: usize, times: usize) -> Outcome {
        for time in 0..times {
            self.process.signal(Signal::SIGKILL);
            self.process.wait(SOON).ok_or("it does not end")?;
            self.process = Self::run(scene, node, &self.arguments, &self.directory)?;
            self.started(time + 2)?;
        }
        Ok(())
    }
}

/// The names of the tables of clusters; a cluster has one in each family that it needs.
fn tables(scene: &Scene, node: usize) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let listed = scene.cluster.namespace(node).output("nft", &["list", "tables"])?;
    let names = listed.lines().filter_map(|line| line.rsplit(' ').find(|word| !word.is_empty()));
    let names: BTreeSet<&str> = names.filter(|name| name.starts_with("buoy_")).collect();
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// A witness and then an owner of another cluster start, crash and end on the host of an owner, and
/// the owner crashes beside them. Neither touches what is the other's.
fn another_cluster_on_the_host() -> Outcome {
    with(&Shape::default(), |scene| {
        let node = scene.owner(vip(100))?;
        let begin = clock::now();
        let mut witness = Other::start(scene, node, "witness")?;
        witness.crash(scene, node, 2)?;
        witness.process.signal(Signal::SIGTERM);
        witness.process.wait(SOON).ok_or("the witness does not end")?;
        scene.nothing_happened(begin)?;
        let mut owner = Other::start(scene, node, "member")?;
        let holds = |scene: &Scene| -> Outcome {
            until("the other cluster serves its address", SOON * 3, || {
                let kernel = scene.cluster.kernel(node).map_err(|error| error.to_string())?;
                let held = kernel.holds(vip(Other::VIP));
                if held { Ok(()) } else { Err("it is not here".to_owned()) }
            })
        };
        holds(scene)?;
        scene.nothing_happened(begin)?;
        let events = scene.command(node, &["events"])?;
        assert!(!events.contains("removed an address"), "{events}");
        owner.crash(scene, node, 1)?;
        holds(scene)?;
        scene.nothing_happened(begin)?;
        scene.cluster.signal(node, Signal::SIGKILL);
        scene.away(node)?;
        assert!(scene.cluster.kernel(node)?.holds(vip(Other::VIP)), "it took what is not its own");
        scene.cluster.start(node)?;
        scene.back(node)?;
        assert!(scene.cluster.kernel(node)?.holds(vip(Other::VIP)), "it swept what is not its own");
        owner.process.signal(Signal::SIGTERM);
        owner.process.wait(SOON).ok_or("the owner does not end")?;
        assert_eq!(tables(scene, node)?.len(), 1, "the table of the other is left");
        Ok(())
    })
}

fn rename(scene: &Scene, node: usize) -> Outcome {
    let file = scene.cluster.configuration_file(node);
    let text = fs::read_to_string(&file)?.replacen("name = \"lab\"", "name = \"renamed\"", 1);
    Ok(fs::write(file, text)?)
}

/// All daemons are killed with their guardians, and start again under another cluster name: what the
/// dead ones left is removed, and every address is answered.
fn dead_cluster_of_another_name() -> Outcome {
    with(&Shape::default(), |scene| {
        for node in 0..3 {
            kill_both(scene, node)?;
            rename(scene, node)?;
        }
        for node in 0..3 {
            scene.cluster.start(node)?;
        }
        scene.at_rest()?;
        for node in 0..3 {
            let tables = tables(scene, node)?;
            assert!(matches!(&tables[..], [one] if one.contains("buoy_renamed")), "{tables:?}");
        }
        Ok(())
    })
}

/// The cluster is renamed, and each daemon is restarted in place, one after the other.
fn cluster_renamed_in_place() -> Outcome {
    let shape = Shape { cluster: "restart = \"in-place\"", ..Shape::default() };
    with(&shape, |scene| {
        for node in 0..3 {
            rename(scene, node)?;
            scene.cluster.signal(node, Signal::SIGUSR2);
            let process = scene.cluster.process(node).ok_or("it was not started")?;
            process.wait(SOON).ok_or("it does not end")?;
            scene.cluster.start(node)?;
        }
        scene.at_rest()?;
        for node in 0..3 {
            let tables = tables(scene, node)?;
            assert!(matches!(&tables[..], [one] if one.contains("buoy_renamed")), "{tables:?}");
        }
        Ok(())
    })
}

/// A daemon of another cluster that stands still is not dead: what is its own stays, closed.
fn frozen_neighbour_keeps_what_is_its_own() -> Outcome {
    with(&Shape::default(), |scene| {
        let node = scene.owner(vip(100))?;
        let other = Other::start(scene, node, "witness")?;
        kill(Pid::from_raw(other.process.pid()), Signal::SIGSTOP)?;
        scene.cluster.signal(node, Signal::SIGKILL);
        scene.away(node)?;
        scene.cluster.start(node)?;
        scene.back(node)?;
        let tables = tables(scene, node);
        kill(Pid::from_raw(other.process.pid()), Signal::SIGCONT)?;
        assert_eq!(tables?.len(), 2, "the table of the frozen daemon was removed");
        Ok(())
    })
}
