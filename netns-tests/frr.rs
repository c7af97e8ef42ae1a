//! A cluster and a real vrrpd of FRR have one address between them (VRRP).
//!
//! FRR has the address on a macvlan with the hardware address of the virtual router, which is there all
//! the time and turned off while FRR is backup. So who has it is seen by a client that asks each
//! millisecond who answers.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::echo::Mac;
use buoy::lab::namespace::Namespace;
use buoy::lab::plan::vip;
use buoy::lab::process::Process;
use nix::sys::signal::Signal;
use nix::unistd::{User, chown};

use crate::Outcome;
use crate::routers::{
    OVERLAP_MAX, change_with, owner, router, served_by_cluster, stop, with_router,
};
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, SOON, Scene};
use crate::until::{throughout, until};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("cluster_and_frr_take_from_each_other", cluster_and_frr_take_from_each_other),
    ("virtual_routers_of_others_are_overheard", virtual_routers_of_others_are_overheard),
];

const DIRECTORY: &str = "/usr/lib/frr";
/// Of its host, which its answers come from; questions go to that of the virtual router.
const ANSWERS_FROM: Mac = [0x02, 0xee, 0, 0, 0, 3];
/// 3 s of silence and its skew, for a busy machine.
const SILENCE: Duration = Duration::from_secs(3);
const RECENT: Duration = Duration::from_millis(60);

/// FRR on a host of its own on the clients' network.
pub(crate) struct Frr {
    namespace: Namespace,
    directory: PathBuf,
    processes: Vec<Process>,
}

impl Frr {
    fn host(scene: &Scene) -> Result<Self, Box<dyn std::error::Error>> {
        let namespace = Namespace::new("frr")?;
        scene.cluster.network.switch().ip(&format!(
            "link add frr type veth peer name eth0 address 02:ee:00:00:00:03 netns {}\n\
             link set frr master n0 up\n",
            namespace.path()
        ))?;
        namespace.ip("link set lo up\nlink set eth0 up\naddr add 10.77.0.201/24 dev eth0\n")?;
        Self::on(namespace)
    }

    /// On a host that is there already.
    pub(crate) fn on(namespace: Namespace) -> Result<Self, Box<dyn std::error::Error>> {
        if !Path::new(DIRECTORY).join("vrrpd").exists() {
            return Err(format!("{DIRECTORY}/vrrpd is missing: install the package frr").into());
        }
        // Else the interface below answers for what the macvlan has.
        namespace.run(|| fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "1"))??;
        // FRR does not run as root, and the directory of the cluster is for root only.
        let directory = std::env::temp_dir().join(format!("buoy-frr-{}", std::process::id()));
        let user =
            User::from_name("frr")?.ok_or("there is no user frr: install the package frr")?;
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        chown(&directory, Some(user.uid), Some(user.gid))?;
        Ok(Self { namespace, directory, processes: Vec::new() })
    }

    /// Starts it as virtual router `id` of this address and priority.
    pub(crate) fn start(&mut self, (id, address): (u8, IpAddr), priority: u8) -> Outcome {
        self.namespace.ip(&format!(
            "link add vrrp4 link eth0 type macvlan mode bridge\n\
             link set vrrp4 address 00:00:5e:00:01:{id:02x}\naddr add {address}/32 dev \
             vrrp4\nlink set vrrp4 up\n"
        ))?;
        let text = format!(
            "interface eth0\n vrrp {id} version 3\n vrrp {id} priority {priority}\n vrrp {id} \
             advertisement-interval 1000\n vrrp {id} ip {address}\n"
        );
        let user = User::from_name("frr")?.ok_or("there is no user frr")?;
        for (program, text) in [("zebra", ""), ("vrrpd", text.as_str())] {
            let place = self.directory.display();
            let file = self.directory.join(format!("{program}.conf"));
            fs::write(&file, text)?;
            chown(&file, Some(user.uid), Some(user.gid))?;
            let words = format!(
                "-u frr -g frr -P 0 --vty_socket {place} -z {place}/zserv.api -i \
                 {place}/{program}.pid -f {}",
                file.display()
            );
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let log = self.directory.join(format!("{program}.log"));
            let program = Path::new(DIRECTORY).join(program);
            self.processes.push(Process::start(&self.namespace, &program, &words, &log)?);
            let socket = self.directory.join("zserv.api");
            until(
                "zebra listens",
                SOON,
                || {
                    if socket.exists() { Ok(()) } else { Err(self.log()) }
                },
            )?;
        }
        Ok(())
    }

    /// Ends it on a host that does not answer, without a moment in which it does.
    pub(crate) fn leave(&mut self) -> Outcome {
        self.namespace.ip("link del vrrp4\n")?;
        self.end()
    }

    fn stop(&mut self) -> Outcome {
        self.end()?;
        // FRR turns it on when it ends, and then a host without VRRP answers.
        Ok(self.namespace.ip("link del vrrp4\n")?)
    }

    fn end(&mut self) -> Outcome {
        for process in self.processes.drain(..).rev() {
            process.signal(Signal::SIGTERM);
            assert!(process.wait(SOON).is_some(), "FRR does not end");
        }
        Ok(fs::remove_file(self.directory.join("zserv.api"))?)
    }

    fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        read("zebra.log") + &read("vrrpd.log")
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        self.processes.clear();
        // What cannot be removed stays in the directory of temporary files.
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Who answers now.
fn answers(scene: &Scene) -> Option<Mac> {
    let since = clock::now().checked_sub(RECENT)?;
    scene.cluster.prober.record(vip(100)).answers_since(since)
}

fn frr_has_it(scene: &Scene, frr: &Frr) -> Outcome {
    until("FRR has it", SOON, || match answers(scene) {
        Some(ANSWERS_FROM) => Ok(()),
        seen => Err(format!("{seen:?} {}", frr.log())),
    })
}

fn frr_stays_away(scene: &Scene, since: Instant) -> Outcome {
    throughout("FRR stays backup", SILENCE * 2, || {
        let record = scene.cluster.prober.record(vip(100));
        let late = record.probes().iter().filter(|probe| probe.sent >= since);
        match late.filter(|probe| probe.answered_by() == Some(ANSWERS_FROM)).count() {
            0 => Ok(()),
            some => Err(format!("it answered {some} times")),
        }
    })
}

fn short((gap, overlap): (Duration, Duration)) {
    assert!(gap <= PLANNED_OUTAGE_MAX, "nobody answered for {gap:?}");
    assert!(overlap <= OVERLAP_MAX, "both answered for {overlap:?}");
}

/// FRR has the address and gives it to the cluster; members change without FRR taking part; the last
/// one gives it to FRR; a stronger FRR takes it.
fn cluster_and_frr_take_from_each_other() -> Outcome {
    with_router("version = 3", |scene| {
        let mut frr = Frr::host(scene)?;
        frr.start((51, vip(100)), 100)?;
        frr_has_it(scene, &frr)?;
        let begin = clock::now();
        scene.cluster.start_all()?;
        served_by_cluster(scene, SOON)?;
        short(change_with(scene, begin, ANSWERS_FROM, true)?);
        let at = owner(scene).ok_or("somebody has it")?;
        until("status names FRR, or it has fallen silent", SOON, || match router(scene, at) {
            Some(router) if router["state"] == "speaking" => Ok(()),
            seen => Err(format!("{seen:?}")),
        })?;
        scene.command(at, &["drain"])?;
        frr_stays_away(scene, clock::now())?;
        scene.command(at, &["undrain"])?;
        let first = owner(scene).ok_or("somebody has it")?;
        stop(scene, first);
        served_by_cluster(scene, SOON)?;
        let begin = clock::now();
        stop(scene, 1 - first);
        frr_has_it(scene, &frr)?;
        short(change_with(scene, begin, ANSWERS_FROM, false)?);
        frr.stop()?;

        scene.cluster.start_all()?;
        served_by_cluster(scene, SOON * 2)?;
        let begin = clock::now();
        frr.start((51, vip(100)), 200)?;
        frr_has_it(scene, &frr)?;
        until("no member has it", SOON, || match owner(scene) {
            None => Ok(()),
            Some(node) => Err(format!("node {node} has it")),
        })?;
        short(change_with(scene, begin, ANSWERS_FROM, false)?);
        let begin = clock::now();
        frr.stop()?;
        served_by_cluster(scene, SOON)?;
        let (gap, _) = change_with(scene, begin, ANSWERS_FROM, true)?;
        assert!(gap < SILENCE, "it was not followed when it said that it stops: {gap:?}");
        Ok(())
    })
}

/// Another number on the same link: `status` shows it, and nothing follows from it.
fn virtual_routers_of_others_are_overheard() -> Outcome {
    with_router("version = 3", |scene| {
        let mut frr = Frr::host(scene)?;
        scene.cluster.start_all()?;
        served_by_cluster(scene, SOON)?;
        frr.start((52, vip(110)), 120)?;
        until("both list it", SOON, || {
            for node in [0, 1] {
                let text = scene.command(node, &["status"]).map_err(|error| error.to_string())?;
                let line = text.lines().find(|line| line.contains("10.77.0.201"));
                let line = line.ok_or_else(|| format!("{text}{}", frr.log()))?;
                let words: Vec<&str> = line.split_whitespace().collect();
                assert_eq!(words[..5], ["eth0", "(ipv4)", "52", "3", "120"], "{text}");
            }
            Ok(())
        })?;
        let at = owner(scene).ok_or("somebody has it")?;
        let heard = router(scene, at).map(|router| router["outside"].clone());
        assert_eq!(heard, Some(serde_json::json!([])));
        Ok(())
    })
}
