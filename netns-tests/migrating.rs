//! From keepalived to buoy and back, one host at a time, as `docs/from-keepalived.md` describes it.
//!
//! Two hosts run real keepalived, also with `use_vmac`, or one of them FRR. The files are imported by the
//! real command; then keepalived and buoy change places on one host after the other, while a client asks
//! every millisecond who answers and another makes requests over HTTP. Every step is a planned one: no
//! outage over 20 ms, and no 15 ms in which both hosts have the address. The machine's own pauses during a
//! step are added to both.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::echo::Mac;
use buoy::lab::plan::{Shape, vip};
use buoy::lab::probe::Prober;
use buoy::lab::process::Process;
use buoy::lab::record::ANSWER_LIMIT;
use buoy::lab::stalls::Stalls;
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::frr::Frr;
use crate::incumbents::{Incumbent, PRIORITIES, ROUTE, import, write_files};
use crate::runner::Test;
use crate::scene::{SOON, Scene, with_plan};
use crate::until::{throughout, until};
use crate::web::{say, start_nginx, under_load};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("migration_from_keepalived_and_back", migration_from_keepalived_and_back),
    ("migration_from_keepalived_with_use_vmac", migration_from_keepalived_with_use_vmac),
    ("migration_from_frr", migration_from_frr),
    ("keepalived_beside_buoy_is_warned_of", keepalived_beside_buoy_is_warned_of),
];

const KEEPALIVED: &str = "/usr/sbin/keepalived";
/// What the nodes say to take the address.
const ABOVE: u8 = 151;
const OUTAGE_MAX: Duration = Duration::from_millis(20);
const OVERLAP_MAX: Duration = Duration::from_millis(15);
/// A router that is not heard for 3 s and its skew is gone.
const SILENCE: Duration = Duration::from_secs(4);
/// A node that hears no other waits for 35 s.
const ALONE_WITHIN: Duration = Duration::from_secs(60);
/// Time in which a change that must not happen would show.
const QUIET: Duration = Duration::from_secs(2);

/// The hardware address of virtual router 51, from which keepalived with `use_vmac` answers.
const VIRTUAL: Mac = [0, 0, 0x5e, 0, 1, 51];

/// Two hosts, what runs there, and who watches.
struct Hosts<'a> {
    from: Incumbent,
    scene: &'a mut Scene,
    keepalived: [Option<Process>; 2],
    frr: Option<Frr>,
    prober: Prober,
    stalls: Stalls,
}

impl Hosts<'_> {
    fn start_keepalived(&mut self, host: usize) -> Outcome {
        let directory = self.scene.cluster.node_directory(host);
        let name = |name: &str| directory.join(name).display().to_string();
        let (file, pid, vrrp) = (name("keepalived.conf"), name("ka.pid"), name("vrrp.pid"));
        let words = ["-n", "-l", "-D", "-P", "-f", &file, "-p", &pid, "-r", &vrrp];
        let (words, log) = (words.map(str::to_owned), directory.join("keepalived.log"));
        let namespace = self.scene.cluster.namespace(host);
        let process = Process::start(namespace, Path::new(KEEPALIVED), &words, &log)?;
        self.keepalived[host] = Some(process);
        Ok(())
    }

    fn stop_keepalived(&mut self, host: usize) {
        if let Some(process) = self.keepalived[host].take() {
            process.signal(Signal::SIGTERM);
            assert!(process.wait(SOON).is_some(), "keepalived does not end");
        }
    }

    /// Starts what the first host migrates from.
    fn start_incumbent(&mut self) -> Outcome {
        if self.from != Incumbent::Frr {
            return self.start_keepalived(0);
        }
        let namespace = self.scene.cluster.namespace(0).clone();
        let frr = self.frr.insert(Frr::on(namespace)?);
        frr.start((51, vip(100)), PRIORITIES[0])
    }

    /// Stops it. FRR turns the link with the address on when it ends, so that goes first.
    fn stop_incumbent(&mut self) -> Outcome {
        match self.frr.take() {
            Some(mut frr) => frr.leave(),
            None => {
                self.stop_keepalived(0);
                Ok(())
            }
        }
    }

    fn incumbent_is_backup(&self) -> Outcome {
        match self.from {
            // It has been seen to answer no more, and says nothing of it.
            Incumbent::Frr => Ok(()),
            Incumbent::Keepalived | Incumbent::VirtualMac => self.keepalived_is_backup(0),
        }
    }

    /// Waits until it has read its file and heard who is active.
    fn keepalived_is_backup(&self, host: usize) -> Outcome {
        let log = self.scene.cluster.node_directory(host).join("keepalived.log");
        until("keepalived is backup", SOON, || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let last = text.lines().rfind(|line| line.contains("Entering"));
            match last {
                Some(line) if line.contains("BACKUP STATE") => Ok(()),
                _ => Err(text),
            }
        })
    }

    fn start_buoy(&mut self, host: usize) -> Outcome {
        Ok(self.scene.cluster.start(host)?)
    }

    fn stop_buoy(&mut self, host: usize) {
        self.scene.cluster.signal(host, Signal::SIGTERM);
        let ended = self.scene.cluster.process(host).and_then(|process| process.wait(SOON));
        assert!(ended.is_some(), "buoy on host {host} does not end");
    }

    fn write(&self, text: &str) -> Outcome {
        for host in [0, 1] {
            fs::write(self.scene.cluster.configuration_file(host), text)?;
        }
        Ok(())
    }

    fn reload(&self, hosts: &[usize]) -> Outcome {
        for host in hosts {
            self.scene.command(*host, &["reload"])?;
        }
        Ok(())
    }

    fn router(&self, host: usize) -> Option<serde_json::Value> {
        self.scene.cluster.status(host)?["virtual_routers"].as_array()?.first().cloned()
    }

    /// Waits until buoy on this host has listened, and hears as many routers outside as this.
    fn hears(&self, host: usize, others: usize) -> Outcome {
        until("buoy has listened", SOON, || {
            let router = self.router(host).ok_or("no virtual router")?;
            let heard = router["outside"].as_array().map_or(0, Vec::len);
            if heard == others && router["state"] != "listening" {
                Ok(())
            } else {
                Err(router.to_string())
            }
        })
    }

    /// Waits until buoy on this host, which hears no other member, takes part.
    fn is_active(&self, host: usize) -> Outcome {
        until("a node that is alone is active", ALONE_WITHIN, || {
            let status = self.scene.cluster.status(host).ok_or("no status")?;
            if status["phase"] == "active" { Ok(()) } else { Err(status["phase"].to_string()) }
        })
    }

    fn is_up(&self, host: usize, other: usize) -> Outcome {
        self.scene.sees(host, other, "up")
    }

    /// Whose the hardware address is: only keepalived on the first host has ever that of the router.
    fn host_of(&self, mac: Mac) -> Option<usize> {
        if mac == VIRTUAL { Some(0) } else { self.scene.cluster.node_of(mac) }
    }

    fn has_it(&self, host: usize) -> Result<(), String> {
        // FRR has the address on a link that is turned off while it is backup, so that only answers tell.
        let holders: Vec<usize> = if self.frr.is_some() {
            let record = self.prober.record(vip(100));
            let last = record.probes().iter().rev().find_map(|probe| probe.answered_by());
            last.and_then(|mac| self.host_of(mac)).into_iter().collect()
        } else {
            self.scene.cluster.watch.holders(vip(100)).into_iter().collect()
        };
        if holders == [host] { Ok(()) } else { Err(format!("{holders:?} have it")) }
    }

    /// Whether this host has the route that goes with the address, and the other has not.
    fn routes_at(&self, host: usize) -> Result<(), String> {
        for of in [0, 1].into_iter().filter(|_| self.from == Incumbent::Keepalived) {
            let host_of = self.scene.cluster.namespace(of);
            let routes = host_of.output("ip", &["route"]).map_err(|error| error.to_string())?;
            if routes.contains(ROUTE) != (of == host) {
                return Err(format!("host {of}: {routes}"));
            }
        }
        Ok(())
    }

    /// Does a step, after which this host has the address.
    fn step(&mut self, what: &str, to: usize, act: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        let _before = self.stalls.longest();
        let begin = clock::now();
        act(self)?;
        until(&format!("host {to} has the address: {what}"), SOON, || self.has_it(to))?;
        until(&format!("host {to} has the route: {what}"), SOON, || self.routes_at(to))?;
        throughout(&format!("host {to} keeps it: {what}"), QUIET, || self.has_it(to))?;
        clock::pause(ANSWER_LIMIT);
        let slack = self.stalls.longest();
        let until = Prober::judged_until();
        let record = self.prober.record(vip(100));
        let outage = record.seen(begin, until).outage;
        let both = match self.frr {
            Some(_) => Duration::ZERO,
            None => self.scene.cluster.watch.timeline().two_owners(vip(100), begin, until),
        };
        let turns = self.turns(begin);
        say(&format!(
            "{what}: out {outage:?}, both {both:?}, by turns {turns:?} (pauses {slack:?})"
        ));
        // No panic: the client of the requests ends when this returns.
        for (time, most, seen) in [
            (outage, OUTAGE_MAX, "nobody answered"),
            (both, OVERLAP_MAX, "both had it"),
            (turns, OVERLAP_MAX, "both answered"),
        ] {
            if time > most + slack {
                return Err(format!("{what}: {seen} for {time:?}").into());
            }
        }
        Ok(())
    }

    /// How long both hosts answered: from the first answer of the one that came to the last of the
    /// one that went.
    fn turns(&self, begin: Instant) -> Duration {
        let record = self.prober.record(vip(100));
        let recent = record.probes().iter().filter(|probe| probe.sent >= begin);
        let mut spans: [Option<(Instant, Instant)>; 2] = [None, None];
        for (at, mac) in recent.filter_map(|probe| probe.answer) {
            let Some(host) = self.host_of(mac) else { continue };
            let span = &mut spans[host];
            let (first, last) = span.unwrap_or((at, at));
            *span = Some((first.min(at), last.max(at)));
        }
        match spans {
            [Some(one), Some(other)] => {
                let (old, new) = if one.0 < other.0 { (one, other) } else { (other, one) };
                old.1.saturating_duration_since(new.0)
            }
            _ => Duration::ZERO,
        }
    }
}

fn with_hosts(from: Incumbent, test: impl FnOnce(&mut Hosts<'_>) -> Outcome) -> Outcome {
    if !Path::new(KEEPALIVED).exists() {
        return Err(format!("{KEEPALIVED} is missing: install the package keepalived").into());
    }
    let shape = Shape { nodes: 2, groups: vec![vec![vip(100)]], ..Shape::default() };
    with_plan(shape.plan(), |scene| {
        write_files(scene, from)?;
        for host in [0, 1] {
            scene.cluster.namespace(host).ip("link set lo up\n")?;
        }
        let interval = Duration::from_millis(1);
        let prober = Prober::every(interval, scene.cluster.client(), &[vip(100)])?;
        let stalls = Stalls::watch()?;
        test(&mut Hosts { from, scene, keepalived: [None, None], frr: None, prober, stalls })
    })
}

fn migration_from_keepalived_and_back() -> Outcome {
    migration(Incumbent::Keepalived, |hosts, text| {
        forward(hosts, text)?;
        back(hosts, text)
    })
}

fn migration_from_keepalived_with_use_vmac() -> Outcome {
    migration(Incumbent::VirtualMac, |hosts, text| {
        forward(hosts, text)?;
        // What the report has named; the addresses are served all the same.
        let setting = |name: &str| {
            let path = format!("/proc/sys/net/ipv4/conf/eth0/{name}");
            hosts.scene.cluster.namespace(0).run(|| fs::read_to_string(path))
        };
        for name in ["arp_ignore", "arp_filter"] {
            assert_eq!(setting(name)??.trim(), "1", "{name}");
        }
        Ok(())
    })
}

fn migration_from_frr() -> Outcome {
    migration(Incumbent::Frr, forward)
}

/// Does the steps under load, from two hosts that have shared the address before.
fn migration(from: Incumbent, steps: impl FnOnce(&mut Hosts<'_>, &str) -> Outcome) -> Outcome {
    with_hosts(from, |hosts| {
        let web = [start_nginx(hosts.scene, 0)?, start_nginx(hosts.scene, 1)?];
        hosts.start_incumbent()?;
        until("the first host has it", SOON, || hosts.has_it(0))?;
        hosts.start_keepalived(1)?;
        hosts.keepalived_is_backup(1)?;
        let Hosts { scene, keepalived, frr, prober, stalls, .. } = hosts;
        let load = under_load(scene, vip(100), |scene| {
            let stalls = stalls.clone();
            let interval = Duration::from_millis(1);
            let prober = Prober::every(interval, scene.cluster.client(), prober.targets())?;
            let (keepalived, frr) = (std::mem::take(keepalived), frr.take());
            let mut hosts = Hosts { from, scene, keepalived, frr, prober, stalls };
            let text = import(hosts.scene, from)?;
            steps(&mut hosts, &text)
        })?;
        say(&format!(
            "{} requests, {} failed, longest without an answer {:?}",
            load.requests,
            load.failed.len(),
            load.gap
        ));
        drop(web);
        Ok(())
    })
}

fn forward(hosts: &mut Hosts<'_>, text: &str) -> Outcome {
    let raised = text.replace("priority = 100,", &format!("priority = {ABOVE},"));
    assert_ne!(raised, text);
    hosts.write(text)?;
    hosts.step("keepalived is stopped on lb2", 0, |hosts| {
        hosts.stop_keepalived(1);
        Ok(())
    })?;
    hosts.step("buoy is started on lb2", 0, |hosts| {
        hosts.start_buoy(1)?;
        hosts.hears(1, 1)?;
        hosts.is_active(1)
    })?;
    hosts.write(&raised)?;
    hosts.step("lb2 takes it", 1, |hosts| hosts.reload(&[1]))?;
    hosts.incumbent_is_backup()?;
    hosts.write(text)?;
    hosts.step("lb1 takes it back", 0, |hosts| {
        hosts.reload(&[1])?;
        until("it is gone from lb2", SOON, || hosts.has_it(0))
    })?;
    hosts.write(&raised)?;
    hosts.step("lb2 takes it again", 1, |hosts| hosts.reload(&[1]))?;
    hosts.incumbent_is_backup()?;
    hosts.step("lb1 stops", 1, Hosts::stop_incumbent)?;
    hosts.step("buoy is started on lb1, which is preferred", 0, |hosts| {
        hosts.start_buoy(0)?;
        hosts.is_up(1, 0)
    })?;
    hosts.write(&without(&raised))?;
    hosts.step("vrrp is removed", 0, |hosts| hosts.reload(&[0, 1]))?;
    for host in [0, 1] {
        assert!(hosts.router(host).is_none(), "{:?}", hosts.router(host));
    }
    Ok(())
}

/// The file without the table of the migration.
fn without(text: &str) -> String {
    let (before, rest) = text.split_once(", vrrp = {").unwrap_or((text, ""));
    let (_, after) = rest.split_once('}').unwrap_or(("", rest));
    format!("{before}{after}")
}

fn back(hosts: &mut Hosts<'_>, text: &str) -> Outcome {
    let raised = text.replace("priority = 100,", &format!("priority = {ABOVE},"));
    hosts.write(&raised)?;
    hosts.step("vrrp is written again", 0, |hosts| {
        hosts.reload(&[1, 0])?;
        until("lb1 advertises", SOON, || match hosts.router(0) {
            Some(router) if router["state"] == "speaking" => Ok(()),
            seen => Err(format!("{seen:?}")),
        })
    })?;
    hosts.step("buoy is stopped on lb1", 1, |hosts| {
        hosts.stop_buoy(0);
        Ok(())
    })?;
    hosts.step("keepalived is started on lb1", 1, |hosts| {
        hosts.start_keepalived(0)?;
        throughout("it is backup", SILENCE, || hosts.has_it(1))
    })?;
    hosts.write(text)?;
    hosts.step("keepalived on lb1 takes it", 0, |hosts| hosts.reload(&[1]))?;
    // The host is known as that of a node, which has left.
    hosts.write(&raised)?;
    hosts.step("lb2 takes it once more", 1, |hosts| hosts.reload(&[1]))?;
    hosts.keepalived_is_backup(0)?;
    hosts.write(text)?;
    hosts.step("keepalived on lb1 takes it again", 0, |hosts| hosts.reload(&[1]))?;
    hosts.step("buoy is stopped on lb2", 0, |hosts| {
        hosts.stop_buoy(1);
        Ok(())
    })?;
    hosts.step("keepalived is started on lb2", 0, |hosts| {
        hosts.start_keepalived(1)?;
        hosts.keepalived_is_backup(1)
    })
}

/// keepalived deletes the addresses of its file when it starts, so the log names it.
fn keepalived_beside_buoy_is_warned_of() -> Outcome {
    with_hosts(Incumbent::Keepalived, |hosts| {
        hosts.start_keepalived(0)?;
        hosts.start_buoy(0)?;
        hosts.start_buoy(1)?;
        let warned = |host: usize| {
            let log = hosts.scene.cluster.log(host);
            log.lines().find(|line| line.contains("keepalived")).map(str::to_owned)
        };
        until("buoy names keepalived and the address", SOON, || match warned(0) {
            Some(line) if line.contains("10.77.0.100") && line.contains("keepalived.conf") => {
                Ok(())
            }
            seen => Err(format!("{seen:?}")),
        })?;
        assert_eq!(warned(1), None, "that host has none");
        hosts.stop_keepalived(0);
        Ok(())
    })
}
