//! A cluster and a real keepalived have one address between them (VRRP).
//!
//! keepalived is on a host of its own on the clients' network. Who answers is seen by a client that
//! asks each millisecond, and by the kernels of all hosts.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::echo::Mac;
use buoy::lab::fault::Fault;
use buoy::lab::namespace::Namespace;
use buoy::lab::ownership::Watch;
use buoy::lab::plan::{Configuration, Shape, vip};
use buoy::lab::process::Process;
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, SOON, Scene, with_plan};
use crate::until::{throughout, until};
use crate::web::say;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("cluster_takes_from_a_weaker_keepalived", cluster_takes_from_a_weaker_keepalived),
    ("keepalived_takes_over_a_dead_cluster_only", keepalived_takes_over_a_dead_cluster_only),
    ("stronger_keepalived_has_it_until_it_is_gone", stronger_keepalived_has_it),
    ("guardian_of_the_last_member_says_that_it_stops", guardian_says_that_it_stops),
    ("last_member_gives_it_to_keepalived", last_member_gives_it_to_keepalived),
    ("keepalived_that_differs_is_named_and_not_muted", keepalived_that_differs_is_named),
];

const PROGRAM: &str = "/usr/sbin/keepalived";
const MAC: &str = "02:ee:00:00:00:02";
const MAC_BYTES: [u8; 6] = [0x02, 0xee, 0, 0, 0, 2];
/// 3 s of silence and its skew, for a busy machine.
const SILENCE: Duration = Duration::from_secs(3);
/// keepalived adds some ms after it advertises, and removes some ms after it hears (6 to 14 ms
/// measured on a quiet machine); both hosts share two processors here.
pub(crate) const OVERLAP_MAX: Duration = PLANNED_OUTAGE_MAX;

/// Two nodes with one group, which is virtual router 51 with priority 150.
pub(crate) fn with_router(keys: &str, test: impl FnOnce(&mut Scene) -> Outcome) -> Outcome {
    let shape = Shape { nodes: 2, groups: vec![vec![vip(100)]], ..Shape::default() };
    let mut plan = shape.plan();
    let group = format!(
        "{{ name = \"gw\", addresses = [\"{0}\"], vrrp = {{ id = 51, priority = 150, {keys} }} }}",
        vip(100)
    );
    let text = shape.text().replace(&format!("\"{}\"", vip(100)), &group);
    assert!(text.contains("vrrp"), "{text}");
    plan.configuration = Configuration::Text(text);
    with_plan(plan, test)
}

/// keepalived on a host of its own.
struct Keepalived {
    namespace: Namespace,
    directory: PathBuf,
    process: Option<Process>,
    watch: Watch,
}

impl Keepalived {
    fn host(scene: &Scene) -> Result<Self, Box<dyn std::error::Error>> {
        if !Path::new(PROGRAM).exists() {
            return Err(format!("{PROGRAM} is missing: install the package keepalived").into());
        }
        let namespace = Namespace::new("keepalived")?;
        let path = namespace.path();
        scene.cluster.network.switch().ip(&format!(
            "link add keepalived type veth peer name eth0 address {MAC} netns {path}\n\
             link set keepalived master n0 up\n"
        ))?;
        namespace.ip("link set lo up\nlink set eth0 up\naddr add 10.77.0.200/24 dev eth0\n")?;
        let watch = Watch::start(&[&namespace])?;
        let directory = scene.cluster.node_directory(0).join("keepalived");
        std::fs::create_dir_all(&directory)?;
        Ok(Self { namespace, directory, process: None, watch })
    }

    fn start(&mut self, priority: u8, password: &str) -> Outcome {
        let text = format!(
            "global_defs {{\n  router_id ka\n  vrrp_garp_master_delay 1\n}}\n\
             vrrp_instance gw {{\n  state BACKUP\n  interface eth0\n  virtual_router_id 51\n  \
             priority {priority}\n  advert_int 1\n  authentication {{\n    auth_type PASS\n    \
             auth_pass {password}\n  }}\n  virtual_ipaddress {{\n    {}/32\n  }}\n}}\n",
            vip(100)
        );
        let file = self.directory.join("keepalived.conf");
        std::fs::write(&file, text)?;
        let name = |name: &str| self.directory.join(name).display().to_string();
        let arguments = [
            "-n",
            "-l",
            "-D",
            "-P",
            "-f",
            &name("keepalived.conf"),
            "-p",
            &name("pid"),
            "-r",
            &name("vrrp-pid"),
        ]
        .map(str::to_owned);
        let log = self.directory.join("log");
        let process = Process::start(&self.namespace, Path::new(PROGRAM), &arguments, &log)?;
        self.process = Some(process);
        Ok(())
    }

    /// In good order, or not.
    fn stop(&mut self, signal: Signal) {
        if let Some(process) = self.process.take() {
            process.signal_family(signal);
            assert!(process.wait(SOON).is_some(), "keepalived does not end");
        }
        if signal == Signal::SIGKILL {
            // As on a host that has died: nobody answers.
            let gone = self.namespace.ip(&format!("addr del {}/32 dev eth0\n", vip(100)));
            drop(gone);
        }
    }

    fn holds(&self) -> bool {
        !self.watch.holders(vip(100)).is_empty()
    }

    fn takes(&self, what: &str, within: Duration) -> Outcome {
        until(what, within, || if self.holds() { Ok(()) } else { Err(self.log()) })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

/// The answers that the client has got since then: from this hardware address, from the cluster; first
/// and last.
fn answers(scene: &Scene, since: Instant, outside: Mac) -> [Option<(Instant, Instant)>; 2] {
    let record = scene.cluster.prober.record(vip(100));
    let recent = record.probes().iter().filter(|probe| probe.sent >= since);
    let mut seen = [None, None];
    for (at, mac) in recent.filter_map(|probe| probe.answer) {
        let side = usize::from(mac != outside);
        let span: &mut Option<(Instant, Instant)> = &mut seen[side];
        let (first, last) = span.unwrap_or((at, at));
        *span = Some((first.min(at), last.max(at)));
    }
    seen
}

/// How long nobody answered, or both did, when the address went from one side to the other.
fn change(scene: &Scene, since: Instant, to_cluster: bool) -> Result<(Duration, Duration), String> {
    change_with(scene, since, MAC_BYTES, to_cluster)
}

/// The same with a router that answers from this hardware address.
pub(crate) fn change_with(
    scene: &Scene,
    since: Instant,
    outside: Mac,
    to_cluster: bool,
) -> Result<(Duration, Duration), String> {
    until("both sides have answered", SOON, || match answers(scene, since, outside) {
        [Some(_), Some(_)] => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .map_err(|error| error.to_string())?;
    clock::pause(buoy::lab::record::ANSWER_LIMIT);
    let [theirs, ours] = answers(scene, since, outside);
    let (theirs, ours) = theirs.zip(ours).ok_or("one side never answered")?;
    let (old, new) = if to_cluster { (theirs, ours) } else { (ours, theirs) };
    let gap = new.0.saturating_duration_since(old.1);
    let overlap = old.1.saturating_duration_since(new.0);
    say(&format!("nobody answered for {gap:?}, both for {overlap:?}"));
    Ok((gap, overlap))
}

pub(crate) fn owner(scene: &Scene) -> Option<usize> {
    scene.cluster.watch.holders(vip(100)).into_iter().next()
}

pub(crate) fn served_by_cluster(scene: &Scene, within: Duration) -> Outcome {
    until("a member has it", within, || owner(scene).map(drop).ok_or_else(|| "nobody".to_owned()))
}

pub(crate) fn stop(scene: &Scene, node: usize) {
    scene.cluster.signal(node, Signal::SIGTERM);
    let ended = scene.cluster.process(node).and_then(|process| process.wait(SOON));
    assert!(ended.is_some(), "node {node} does not end");
}

pub(crate) fn router(scene: &Scene, node: usize) -> Option<serde_json::Value> {
    scene.cluster.status(node)?["virtual_routers"].as_array()?.first().cloned()
}

/// keepalived has the address; the cluster is started beside it, listens, takes and speaks, and
/// keepalived gives way to the first word.
fn cluster_takes_from_a_weaker_keepalived() -> Outcome {
    with_router("password = \"s3cr\"", |scene| {
        let mut other = Keepalived::host(scene)?;
        other.start(100, "s3cr")?;
        other.takes("keepalived has it alone", SOON)?;
        let begin = clock::now();
        scene.cluster.start_all()?;
        served_by_cluster(scene, SOON)?;
        until("keepalived has given way", SOON, || {
            if other.holds() { Err(other.log()) } else { Ok(()) }
        })?;
        let (gap, overlap) = change(scene, begin, true)?;
        assert!(gap <= PLANNED_OUTAGE_MAX, "nobody answered for {gap:?}");
        assert!(overlap <= OVERLAP_MAX, "both answered for {overlap:?}");
        let at = owner(scene).ok_or("somebody has it")?;
        until("status says that it speaks", SOON, || match router(scene, at) {
            Some(router) if router["state"] == "speaking" => Ok(()),
            seen => Err(format!("{seen:?}")),
        })?;
        throughout("keepalived stays away", SILENCE * 2, || {
            if other.holds() { Err(other.log()) } else { Ok(()) }
        })?;
        other.stop(Signal::SIGTERM);
        Ok(())
    })
}

/// The owner dies and a member follows before keepalived notices; when nobody is left it takes.
fn keepalived_takes_over_a_dead_cluster_only() -> Outcome {
    with_router("password = \"s3cr\"", |scene| {
        let mut other = Keepalived::host(scene)?;
        scene.cluster.start_all()?;
        served_by_cluster(scene, SOON)?;
        other.start(100, "s3cr")?;
        let first = owner(scene).ok_or("somebody has it")?;
        until("the owner advertises", SOON, || match router(scene, first) {
            Some(router) if router["state"] == "speaking" => Ok(()),
            seen => Err(format!("{seen:?}")),
        })?;
        scene.command(first, &["drain"])?;
        throughout("a drain is nothing to keepalived", SILENCE * 2, || {
            if other.holds() { Err(other.log()) } else { Ok(()) }
        })?;
        scene.command(first, &["undrain"])?;
        let first = owner(scene).ok_or("somebody has it")?;
        Fault::HostDeath.begin(&mut scene.cluster, first)?;
        throughout("the death of a member is nothing to keepalived", SILENCE * 2, || {
            if other.holds() { Err(other.log()) } else { Ok(()) }
        })?;
        let second = 1 - first;
        assert!(scene.cluster.watch.holders(vip(100)).contains(&second), "the other has it");
        Fault::HostDeath.begin(&mut scene.cluster, second)?;
        other.takes("keepalived takes what a dead cluster had", SOON)?;
        other.stop(Signal::SIGTERM);
        Ok(())
    })
}

/// A stronger keepalived comes: it is left the address, which `status` says, and followed when it
/// stops, in good order or not.
fn stronger_keepalived_has_it() -> Outcome {
    with_router("password = \"s3cr\"", |scene| {
        let mut other = Keepalived::host(scene)?;
        scene.cluster.start_all()?;
        served_by_cluster(scene, SOON)?;
        let mut gaps = Vec::new();
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let begin = clock::now();
            other.start(200, "s3cr")?;
            other.takes("the stronger has it", SOON)?;
            until("no member has it", SOON, || match owner(scene) {
                None => Ok(()),
                Some(node) => Err(format!("node {node} has it")),
            })?;
            let (gap, overlap) = change(scene, begin, false)?;
            assert!(gap <= PLANNED_OUTAGE_MAX, "nobody answered for {gap:?}");
            assert!(overlap <= OVERLAP_MAX, "both answered for {overlap:?}");
            for node in [0, 1] {
                let text = scene.command(node, &["status"])?;
                assert!(text.contains("10.77.0.200 with priority 200, heard "), "{text}");
                let text = scene.command(node, &["explain", "gw"])?;
                assert!(
                    text.contains("a router outside the cluster has it and takes precedence"),
                    "{text}"
                );
            }
            throughout("it is left to it", SILENCE * 2, || match owner(scene) {
                None => Ok(()),
                Some(node) => Err(format!("node {node} has it")),
            })?;
            let begin = clock::now();
            // keepalived itself ends a second after it has said that it stops.
            other.stop(signal);
            served_by_cluster(scene, SOON)?;
            say(&format!("after {signal}:"));
            gaps.push(change(scene, begin, true)?.0);
        }
        let [stopped, killed] = gaps[..] else { return Err("two gaps".into()) };
        assert!(killed >= SILENCE / 2, "it was not gone: {killed:?}");
        assert!(stopped * 4 <= killed, "{stopped:?} after it said so, {killed:?} after silence");
        Ok(())
    })
}

/// The last member is stopped: it answers until keepalived does.
fn last_member_gives_it_to_keepalived() -> Outcome {
    with_router("password = \"s3cr\"", |scene| {
        let mut other = Keepalived::host(scene)?;
        scene.cluster.start_all()?;
        served_by_cluster(scene, SOON)?;
        other.start(100, "s3cr")?;
        until("a member advertises", SOON, || {
            let speaks = |node| router(scene, node).is_some_and(|it| it["state"] == "speaking");
            if speaks(0) || speaks(1) { Ok(()) } else { Err("nobody does".to_owned()) }
        })?;
        let first = owner(scene).ok_or("somebody has it")?;
        stop(scene, first);
        served_by_cluster(scene, SOON)?;
        assert!(!other.holds(), "it went to the other member");
        let begin = clock::now();
        stop(scene, 1 - first);
        other.takes("keepalived has it", SOON)?;
        let (gap, overlap) = change(scene, begin, false)?;
        assert!(gap <= PLANNED_OUTAGE_MAX, "nobody answered for {gap:?}");
        assert!(overlap <= OVERLAP_MAX, "both answered for {overlap:?}");
        other.stop(Signal::SIGTERM);
        Ok(())
    })
}

/// Another password: the cluster says nothing, so that keepalived goes on advertising, and names
/// the difference. It does not take what keepalived answers for.
fn keepalived_that_differs_is_named() -> Outcome {
    with_router("password = \"s3cr\"", |scene| {
        let mut other = Keepalived::host(scene)?;
        other.start(100, "another")?;
        other.takes("keepalived has it alone", SOON)?;
        scene.cluster.start_all()?;
        until("both name the difference", SOON, || {
            for node in [0, 1] {
                let text = scene.command(node, &["status"]).map_err(|error| error.to_string())?;
                if !text.contains("10.77.0.200 advertises VRID 51 with another password") {
                    return Err(text);
                }
            }
            Ok(())
        })?;
        throughout("nobody takes it or speaks", SILENCE * 3, || {
            let sent = |node| router(scene, node).and_then(|it| it["sent"].as_u64());
            match (owner(scene), sent(0), sent(1)) {
                (None, Some(0), Some(0)) => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        })?;
        let heard = router(scene, 0).and_then(|it| it["outside"][0]["age_ms"].as_u64());
        assert!(heard.is_some_and(|age| age < 3000), "keepalived is not muted: {heard:?}");
        for node in [0, 1] {
            let log = scene.cluster.log(node);
            assert!(!log.contains("s3cr") && !log.contains("another\""), "{log}");
        }
        other.stop(Signal::SIGTERM);
        Ok(())
    })
}

/// The daemon of the only member is killed: its guardian says so, and keepalived follows after its skew
/// (0.61 s) instead of after silence. While another member lives nothing is said.
fn guardian_says_that_it_stops() -> Outcome {
    with_router("password = \"s3cr\"", |scene| {
        let mut other = Keepalived::host(scene)?;
        scene.cluster.start_all()?;
        served_by_cluster(scene, SOON)?;
        other.start(100, "s3cr")?;
        let speaks = |scene: &Scene| {
            until("a member advertises", SOON, || {
                let speaks = |node| router(scene, node).is_some_and(|it| it["state"] == "speaking");
                if speaks(0) || speaks(1) { Ok(()) } else { Err("nobody does".to_owned()) }
            })
        };
        speaks(scene)?;
        let first = owner(scene).ok_or("somebody has it")?;
        scene.cluster.signal(first, Signal::SIGKILL);
        throughout("the other member follows, and not keepalived", SILENCE, || {
            if other.holds() { Err(other.log()) } else { Ok(()) }
        })?;
        served_by_cluster(scene, SOON)?;
        speaks(scene)?;
        // Its guardian is told within 200 ms.
        throughout("nothing happens", Duration::from_secs(1), || Ok(()))?;
        let begin = clock::now();
        scene.cluster.signal(1 - first, Signal::SIGKILL);
        other.takes("keepalived follows", SOON)?;
        let took = clock::now().duration_since(begin);
        say(&format!("keepalived had it after {took:?}"));
        assert!(took < SILENCE * 2 / 3, "it has waited for silence: {took:?}");
        other.stop(Signal::SIGTERM);
        Ok(())
    })
}
