//! A whole cluster on this machine: network, daemons, a probing client, a watch of all kernels.
//!
//! Each node has a directory with its configuration, key, runtime directory and log. Dropping the
//! cluster ends the daemons and removes the directories; the namespaces go by themselves. What a
//! killed lab left in the temporary directory is removed by the next one.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::dump::KernelState;
use super::namespace::{Namespace, NamespaceError};
use super::network::Network;
use super::ownership::Watch;
use super::plan::{Configuration, Plan};
use super::probe::Prober;
use super::process::{self, Process};

const DIRECTORY_PREFIX: &str = "buoy-lab-";

/// Distinguishes the clusters of one process.
static CLUSTERS: AtomicU32 = AtomicU32::new(0);

/// A cluster; its daemons run once they are started.
#[derive(Debug)]
pub struct Cluster {
    /// What it was built from.
    pub plan: Plan,
    /// Its wires; faults are made here.
    pub network: Network,
    /// The client that probes every address.
    pub prober: Prober,
    /// Who holds what.
    pub watch: Watch,
    processes: Vec<Option<Process>>,
    program: PathBuf,
    directory: PathBuf,
}

impl Cluster {
    /// Builds everything but starts no daemon yet. `program` is the `buoy` executable.
    ///
    /// # Errors
    /// When namespaces are not permitted, `ip` is missing, or the temporary directory cannot be
    /// written.
    pub fn build(plan: Plan, program: &Path) -> Result<Self, NamespaceError> {
        sweep();
        let mut hosts = plan.nodes.clone();
        hosts.push(plan.client.clone());
        let network = Network::build(&hosts)?;
        let nodes: Vec<&Namespace> =
            network.hosts().iter().take(plan.nodes.len()).map(|host| &host.namespace).collect();
        let watch = Watch::start(&nodes)?;
        let client = &network.hosts()[plan.nodes.len()].namespace;
        let prober = Prober::start(client, &plan.vips())?;
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{DIRECTORY_PREFIX}{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let processes = plan.nodes.iter().map(|_| None).collect();
        let program = program.to_owned();
        let made = Self { plan, network, prober, watch, processes, program, directory };
        made.write_files()
            .map_err(|error| NamespaceError::System("write the lab's files", error))?;
        Ok(made)
    }

    fn write_files(&self) -> io::Result<()> {
        // Keys are in it; and a directory that is there already is somebody else's.
        fs::DirBuilder::new().mode(0o700).create(&self.directory)?;
        let Configuration::Text(text) = &self.plan.configuration else {
            for node in 0..self.nodes() {
                fs::create_dir_all(self.runtime_directory(node))?;
            }
            return Ok(());
        };
        let key = self.directory.join("cluster.key");
        let made = Command::new(&self.program).arg("keygen").arg(&key).output()?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        for node in 0..self.nodes() {
            fs::create_dir_all(self.runtime_directory(node))?;
            // Copying keeps the mode, which must be readable by the owner only.
            fs::copy(&key, self.node_directory(node).join("cluster.key"))?;
            fs::write(self.configuration_file(node), text)?;
        }
        Ok(())
    }

    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.plan.nodes.len()
    }

    /// The name of a node.
    #[must_use]
    pub fn name(&self, node: usize) -> &str {
        &self.plan.nodes[node].name
    }

    /// Where a node's files are.
    #[must_use]
    pub fn node_directory(&self, node: usize) -> PathBuf {
        self.directory.join(self.name(node))
    }

    /// The file that a node's daemon reads.
    #[must_use]
    pub fn configuration_file(&self, node: usize) -> PathBuf {
        match &self.plan.configuration {
            Configuration::Text(_) => self.node_directory(node).join("buoy.toml"),
            Configuration::File(file) => file.clone(),
        }
    }

    /// The daemon's runtime directory.
    #[must_use]
    pub fn runtime_directory(&self, node: usize) -> PathBuf {
        self.node_directory(node).join("run")
    }

    /// What the node's daemons have printed so far.
    #[must_use]
    pub fn log(&self, node: usize) -> String {
        fs::read_to_string(self.node_directory(node).join("log")).unwrap_or_default()
    }

    /// A node's namespace.
    #[must_use]
    pub fn namespace(&self, node: usize) -> &Namespace {
        &self.network.hosts()[node].namespace
    }

    /// The client's namespace.
    #[must_use]
    pub fn client(&self) -> &Namespace {
        self.namespace(self.nodes())
    }

    /// What a node's kernel has now.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn kernel(&self, node: usize) -> Result<KernelState, NamespaceError> {
        KernelState::read(self.namespace(node))
    }

    /// Starts a node's daemon, ending one that runs.
    ///
    /// # Errors
    /// When it cannot be started; what it does then shows in its log.
    pub fn start(&mut self, node: usize) -> Result<(), NamespaceError> {
        let program = self.program.clone();
        self.start_as(node, &program)
    }

    /// Starts a node's daemon as another executable, an earlier version for example.
    ///
    /// # Errors
    /// When it cannot be started; what it does then shows in its log.
    pub fn start_as(&mut self, node: usize, program: &Path) -> Result<(), NamespaceError> {
        self.processes[node] = None;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let arguments = [
            "run".to_owned(),
            "--config".to_owned(),
            text(self.configuration_file(node)),
            "--node".to_owned(),
            self.name(node).to_owned(),
            "--runtime-dir".to_owned(),
            text(self.runtime_directory(node)),
        ];
        let log = self.node_directory(node).join("log");
        let process = Process::start(self.namespace(node), program, &arguments, &log)?;
        self.processes[node] = Some(process);
        Ok(())
    }

    /// Starts every node's daemon.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start_all(&mut self) -> Result<(), NamespaceError> {
        (0..self.nodes()).try_for_each(|node| self.start(node))
    }

    /// A node's daemon, if it was started.
    #[must_use]
    pub fn process(&self, node: usize) -> Option<&Process> {
        self.processes[node].as_ref()
    }

    /// Sends a signal to a node's daemon, if it runs.
    pub fn signal(&self, node: usize, signal: Signal) {
        if let Some(process) = self.process(node) {
            process.signal(signal);
        }
    }

    /// Sends a signal to the daemon of a node and to its guardian.
    pub fn signal_family(&self, node: usize, signal: Signal) {
        if let Some(process) = self.process(node) {
            process.signal_family(signal);
        }
    }

    /// Runs a command of the executable against a node's daemon.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn command(&self, node: usize, words: &[&str]) -> Result<Output, NamespaceError> {
        let socket = self.runtime_directory(node).join("control.sock");
        self.namespace(node)
            .run(|| {
                Command::new(&self.program)
                    .arg("--socket")
                    .arg(socket)
                    .args(words)
                    .stdin(Stdio::null())
                    .output()
            })?
            .map_err(|error| NamespaceError::System("run a buoy command", error))
    }

    /// What a node says of the cluster; `None` while it does not answer.
    #[must_use]
    pub fn status(&self, node: usize) -> Option<serde_json::Value> {
        let output = self.command(node, &["status", "--json"]).ok()?;
        // A failure is told as JSON too.
        let output = Some(output).filter(|output| output.status.success())?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// The node that sent an answer.
    #[must_use]
    pub fn node_of(&self, mac: super::echo::Mac) -> Option<usize> {
        self.network.host_of(mac).filter(|host| *host < self.nodes())
    }

    /// Who answers for each address now, by the probes of the last `recent`.
    #[must_use]
    pub fn answering(&self, recent: std::time::Duration) -> Vec<(IpAddr, Option<usize>)> {
        let answering = self.prober.answering(recent).into_iter();
        answering.map(|(vip, mac)| (vip, mac.and_then(|mac| self.node_of(mac)))).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let started = self.processes.iter().any(Option::is_some);
        self.processes.clear();
        if started {
            self.network.hosts().iter().for_each(|host| process::end_all_in(&host.namespace));
        }
        // What cannot be removed now is removed by the next lab.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Removes the directories of labs that are no more.
fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(DIRECTORY_PREFIX));
        let owner = owner.and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse().ok());
        let Some(owner) = owner else { continue };
        if kill(Pid::from_raw(owner), None) == Err(Errno::ESRCH) {
            // Somebody else's stays: it is not ours to remove.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
