//! Two hosts, a switch and a client, and what runs on the hosts.
//!
//! ```text
//!   client 10.77.0.1      lb1 10.77.0.11      lb2 10.77.0.12      each a network namespace
//!         |eth0               |eth0               |eth0
//!       --+-------------------+-------------------+--  bridge n0
//! ```
//!
//! The floating addresses are 10.77.1.1, 10.77.1.2 and so on, all in the hosts' /16.

use std::error::Error;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::echo::Mac;
use buoy::lab::filter::Rule;
use buoy::lab::namespace::{Namespace, NamespaceError};
use buoy::lab::network::{Direction, Host, HostPlan, Interface, Network};
use buoy::lab::ownership::Watch;
use buoy::lab::probe::Prober;
use buoy::lab::process::Process;
use buoy::lab::record::ANSWER_LIMIT;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::question::Questioner;

/// How many hosts have a daemon.
pub(crate) const HOSTS: usize = 2;
/// The host that has precedence, by configuration.
pub(crate) const OWNER: usize = 0;
/// The other one.
pub(crate) const HEIR: usize = 1;
/// keepalived needs 3.6 s with its defaults, buoy a second of listening; with a busy machine's room.
const START_MAX: Duration = Duration::from_secs(30);
/// Who answers must not change for so long before a fault is made.
const REST: Duration = Duration::from_secs(1);
const END_MAX: Duration = Duration::from_secs(10);
/// An address is answered now if a probe of so long ago was.
const RECENT: Duration = Duration::from_millis(120);

/// The hosts with their daemons; all of it is gone when it is dropped.
pub(crate) struct Rig {
    pub(crate) network: Network,
    pub(crate) prober: Prober,
    pub(crate) watch: Watch,
    pub(crate) questioner: Questioner,
    pub(crate) addresses: Vec<IpAddr>,
    processes: Vec<(usize, Process)>,
    directory: PathBuf,
}

/// The floating address with this number.
fn floating(number: usize) -> IpAddr {
    let byte = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    IpAddr::from([10, 77, byte(1 + number / 250), byte(1 + number % 250)])
}

/// The own address of a host.
pub(crate) fn own_address(host: usize) -> IpAddr {
    IpAddr::from([10, 77, 0, [11, 12, 1][host]])
}

fn plan(host: usize) -> HostPlan {
    let name = ["lb1", "lb2", "client"][host].to_owned();
    let addresses = vec![(own_address(host), 16)];
    HostPlan {
        name,
        interfaces: vec![Interface { name: "eth0".to_owned(), network: 0, addresses }],
    }
}

impl Rig {
    /// Makes the hosts and a client that probes every address once in `interval`.
    pub(crate) fn build(addresses: usize, interval: Duration) -> Result<Self, Box<dyn Error>> {
        let network = Network::build(&[plan(0), plan(1), plan(2)])?;
        let addresses: Vec<_> = (0..addresses).map(floating).collect();
        let namespaces: Vec<_> = network.hosts().iter().map(|host| &host.namespace).collect();
        let watch = Watch::start(&namespaces[..HOSTS])?;
        let prober = Prober::every(interval, namespaces[HOSTS], &addresses)?;
        let client = (network.hosts()[HOSTS].mac(0), own_address(HOSTS));
        let questioner = Questioner::start(namespaces[HOSTS], client, addresses[0])?;
        let name = format!("buoy-compare-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let _absent = fs::remove_dir_all(&directory);
        (0..HOSTS).try_for_each(|host| fs::create_dir_all(directory.join(host.to_string())))?;
        let processes = Vec::new();
        Ok(Self { network, prober, watch, questioner, addresses, processes, directory })
    }

    pub(crate) fn host(&self, host: usize) -> &Host {
        &self.network.hosts()[host]
    }

    pub(crate) fn namespace(&self, host: usize) -> &Namespace {
        &self.host(host).namespace
    }

    pub(crate) fn mac(&self, host: usize) -> Mac {
        self.host(host).mac(0)
    }

    /// The files of what runs on a host.
    pub(crate) fn directory(&self, host: usize) -> PathBuf {
        self.directory.join(host.to_string())
    }

    pub(crate) fn start(
        &mut self,
        host: usize,
        program: &Path,
        arguments: &[String],
    ) -> Result<(), NamespaceError> {
        let log = self.directory(host).join("log");
        let process = Process::start(self.namespace(host), program, arguments, &log)?;
        self.processes.push((host, process));
        Ok(())
    }

    pub(crate) fn log(&self, host: usize) -> String {
        fs::read_to_string(self.directory(host).join("log")).unwrap_or_default()
    }

    /// Waits until one host answers for all addresses and has done so for a second.
    pub(crate) fn settle(&self) -> Result<(), Box<dyn Error>> {
        let mut since: Option<(usize, Instant)> = None;
        clock::until(START_MAX, || {
            let mut answering = self.prober.answering(RECENT).into_iter().map(|(_, mac)| mac);
            let first = answering.next().flatten()?;
            let host = (0..HOSTS).find(|host| self.mac(*host) == first);
            let all = host.filter(|_| answering.all(|mac| mac == Some(first)));
            let now = clock::now();
            since = match (all, since) {
                (None, _) => None,
                (Some(host), Some((before, begin))) if before == host => Some((host, begin)),
                (Some(host), _) => Some((host, now)),
            };
            since.filter(|(_, begin)| now.duration_since(*begin) >= REST).map(drop)
        })
        .ok_or_else(|| {
            format!("no host answers for all addresses:\n{}\n{}", self.log(OWNER), self.log(HEIR))
                .into()
        })
    }

    /// The processes in a host's namespace.
    pub(crate) fn processes(&self, host: usize) -> Vec<Pid> {
        let file = |path: String| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        let wanted = file(self.namespace(host).path());
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let inside = pids.filter(|pid| file(format!("/proc/{pid}/ns/net")) == wanted);
        inside.map(Pid::from_raw).collect()
    }

    /// Sends a signal to all processes of a host.
    pub(crate) fn signal_all(&self, host: usize, signal: Signal) {
        for pid in self.processes(host) {
            // It may have ended meanwhile.
            let _ = kill(pid, signal);
        }
    }

    /// Sends a signal to what was started on a host, not to the processes that it has started.
    pub(crate) fn signal(&self, host: usize, signal: Signal) {
        let here = self.processes.iter().filter(|(at, _)| *at == host);
        here.for_each(|(_, process)| process.signal(signal));
    }

    /// A host loses power: nothing more comes from it or reaches it.
    pub(crate) fn cut(&mut self, host: usize) -> Result<(), NamespaceError> {
        self.network.cut(host, 0, Direction::FromHost)?;
        self.network.cut(host, 0, Direction::ToHost)?;
        self.signal_all(host, Signal::SIGKILL);
        self.network.set_carrier(host, 0, false)
    }

    /// The switch loses one frame in so many, at random.
    pub(crate) fn lose(&mut self, one_in: u32) -> Result<(), NamespaceError> {
        let to_daemons = (0..HOSTS).map(|host| self.host(host).port(0)).collect::<Vec<_>>();
        let between = |from: usize, to: usize| Rule {
            one_in: Some(one_in),
            ..Rule::cut(Some(&to_daemons[from]), Some(&to_daemons[to]))
        };
        self.network.set_rules(vec![between(0, 1), between(1, 0)])
    }

    /// Waits until all addresses are answered again, and for the last answers.
    pub(crate) fn recover(&self, limit: Duration) -> bool {
        let begin = clock::now();
        let done = clock::until(limit, || {
            let recent = RECENT.min(clock::now().duration_since(begin));
            self.prober.silent(recent).is_empty().then_some(())
        });
        clock::pause(ANSWER_LIMIT * 2);
        done.is_some()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for host in 0..HOSTS {
            self.signal_all(host, Signal::SIGKILL);
        }
        for (_, process) in self.processes.drain(..) {
            let _ended = process.wait(END_MAX);
        }
        let _left = fs::remove_dir_all(&self.directory);
    }
}
