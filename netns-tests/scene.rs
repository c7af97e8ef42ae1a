//! A running cluster for one test, and what tests ask of it.
//!
//! When a test fails, the failure carries every node's log, addresses and events.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::cluster::Cluster;
use buoy::lab::experiment::{self, Expectation, Figures};
use buoy::lab::network::mac_text;
use buoy::lab::plan::{Plan, Shape};
use buoy::lab::probe::Prober;
use buoy::lab::record::Probe;

use crate::Outcome;
use crate::until::until;

/// The executable under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_buoy");
/// Anything that must happen does so within this, or the test fails; a single node waits for 35 s.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// Balance moves one group a second off a node: thirty groups that one node took take a while.
pub(crate) const BALANCED_MAX: Duration = Duration::from_secs(45);
/// A planned move takes 2 to 6 ms on a quiet machine; 162 ms were seen at a load of 5 on 2 cores.
/// It must be less than what a death takes to be noticed, else nobody would see that it was one.
pub(crate) const PLANNED_OUTAGE_MAX: Duration = Duration::from_millis(220);
/// Two kernels' messages are read one after the other: shorter overlaps are of the reading.
pub(crate) const READING: Duration = Duration::from_millis(3);

const RECENT: Duration = Duration::from_millis(60);
const LOG_LINES: usize = 60;

/// A cluster and the addresses it is expected to serve.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) served: Vec<IpAddr>,
}

/// Builds a cluster, starts every daemon, waits until all is served and at rest, does the test.
pub(crate) fn with(shape: &Shape, test: impl FnOnce(&mut Scene) -> Outcome) -> Outcome {
    with_unstarted(shape, |scene| {
        scene.cluster.start_all()?;
        until("every address is served by one node", SOON, || scene.each_on_one_node())?;
        until("the groups are balanced", BALANCED_MAX, || {
            scene.balanced(&[0, 1, 2][..scene.cluster.nodes()])
        })?;
        scene.at_rest()?;
        test(scene)
    })
}

/// As [`with`], but starts nothing.
pub(crate) fn with_unstarted(shape: &Shape, test: impl FnOnce(&mut Scene) -> Outcome) -> Outcome {
    with_plan(shape.plan(), test)
}

/// As [`with_unstarted`], for what no shape describes.
pub(crate) fn with_plan(plan: Plan, test: impl FnOnce(&mut Scene) -> Outcome) -> Outcome {
    let served = plan.vips();
    let mut scene = Scene { cluster: Cluster::build(plan, Path::new(PROGRAM))?, served };
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| test(&mut scene)));
    let failure = match outcome {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic_text(panic.as_ref()),
    };
    Err(format!("{failure}\n{}", scene.diagnosis()).into())
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("with something that is not text"))
}

impl Scene {
    /// Whether these nodes answer for as many groups as each other, give or take one.
    pub(crate) fn balanced(&self, nodes: &[usize]) -> Result<(), String> {
        let firsts = self.cluster.plan.groups.iter().filter_map(|group| group.first());
        let owners = firsts.map(|vip| self.owner(*vip)).collect::<Result<Vec<_>, _>>()?;
        let count = |node: &usize| owners.iter().filter(|owner| *owner == node).count();
        let counts: Vec<_> = nodes.iter().map(count).collect();
        match counts.iter().max().zip(counts.iter().min()) {
            Some((most, least)) if most - least > 1 => Err(format!("the nodes have {counts:?}")),
            Some(_) | None => Ok(()),
        }
    }

    /// Fails if an address outside of `had` was out for longer than a planned move takes.
    pub(crate) fn others_undisturbed(&self, had: &[IpAddr], since: Instant) -> Outcome {
        for (vip, seen) in self.cluster.prober.seen(since, Prober::judged_until()) {
            if !had.contains(&vip) && seen.outage > PLANNED_OUTAGE_MAX {
                return Err(format!("{vip} was disturbed: {seen:?}").into());
            }
        }
        Ok(())
    }

    /// Waits until every served address is on exactly one node, which answers for it and is known
    /// to the client's neighbour cache, and nothing moves any more.
    pub(crate) fn at_rest(&self) -> Outcome {
        until("every address is served by one node", SOON, || self.each_on_one_node())?;
        experiment::come_to_rest(&self.cluster, (0, Expectation::Rest), &mut |_| {
            // Addresses that are probed but not to be served would never come to rest.
            self.served.len() == self.cluster.prober.targets().len()
        });
        until("every address is served by one node", SOON, || self.each_on_one_node())
    }

    /// As [`Scene::at_rest`], after `node` has lost everything.
    pub(crate) fn away(&self, node: usize) -> Outcome {
        until("it answers for nothing", SOON, || match self.owned_by(node).len() {
            0 => Ok(()),
            some => Err(format!("it answers for {some}")),
        })?;
        self.at_rest()
    }

    /// Waits until every served address is answered by another node than this one, whatever that
    /// has in its kernel.
    pub(crate) fn served_by_others(&self, node: usize) -> Outcome {
        until("the others serve everything", SOON, || {
            let answering = self.cluster.answering(RECENT);
            let wrong = answering.iter().find(|(_, who)| who.is_none_or(|who| who == node));
            wrong.map_or(Ok(()), |(vip, who)| Err(format!("{vip} is answered by {who:?}")))
        })
    }

    /// As [`Scene::at_rest`], after `node` has got something.
    pub(crate) fn back(&self, node: usize) -> Outcome {
        until("it answers for something", SOON, || match self.owned_by(node).len() {
            0 => Err("it answers for nothing".to_owned()),
            _ => Ok(()),
        })?;
        self.at_rest()
    }

    /// Judges by the kernels, the probes and the client's neighbour cache at this moment.
    pub(crate) fn each_on_one_node(&self) -> Result<(), String> {
        let silent = self.cluster.prober.silent(RECENT);
        match silent.iter().find(|silent| self.served.contains(silent)) {
            Some(vip) => Err(format!("nobody answers for {vip}")),
            None => self.none_misplaced(),
        }
    }

    /// As [`Scene::each_on_one_node`], but an address may be silent just now: for looking again
    /// and again where [`Scene::nothing_happened`] judges the probes afterwards, all of them. (A
    /// prober that has not run for a moment is no outage.)
    pub(crate) fn none_misplaced(&self) -> Result<(), String> {
        let answering: BTreeMap<_, _> = self.cluster.answering(RECENT).into_iter().collect();
        let mut holders: BTreeMap<IpAddr, Vec<usize>> = BTreeMap::new();
        for node in 0..self.cluster.nodes() {
            let kernel = self.cluster.kernel(node).map_err(|error| error.to_string())?;
            for address in kernel.reachable() {
                holders.entry(address).or_default().push(node);
            }
        }
        let neighbours = self.neighbours()?;
        for vip in &self.served {
            let held = holders.get(vip).cloned().unwrap_or_default();
            let [one] = held.as_slice() else {
                return Err(format!("{vip} is held by {}", self.names(&held)));
            };
            let who = answering.get(vip).copied().flatten();
            if who.is_some_and(|who| who != *one) {
                return Err(format!("{vip} is held by {one} but answered by {who:?}"));
            }
            let cached = neighbours.get(vip);
            let mac = mac_text(self.cluster.network.hosts()[*one].mac(0));
            if cached != Some(&mac) {
                return Err(format!("{vip}: the client knows {cached:?}, its owner has {mac}"));
            }
        }
        Ok(())
    }

    /// The client's neighbour cache: address to MAC.
    pub(crate) fn neighbours(&self) -> Result<BTreeMap<IpAddr, String>, String> {
        let text = self.cluster.client().output("ip", &["-j", "neigh", "show", "dev", "eth0"]);
        let text = text.map_err(|error| error.to_string())?;
        let entries: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let mut neighbours = BTreeMap::new();
        for entry in entries.as_array().into_iter().flatten() {
            let address = entry["dst"].as_str().and_then(|text| text.parse().ok());
            if let (Some(address), Some(mac)) = (address, entry["lladdr"].as_str()) {
                neighbours.insert(address, mac.to_owned());
            }
        }
        Ok(neighbours)
    }

    /// The served addresses for which a node answers now.
    pub(crate) fn owned_by(&self, node: usize) -> Vec<IpAddr> {
        let answering = self.cluster.answering(RECENT).into_iter();
        answering.filter(|(_, who)| *who == Some(node)).map(|(vip, _)| vip).collect()
    }

    /// The node that answers for an address now.
    pub(crate) fn owner(&self, vip: IpAddr) -> Result<usize, String> {
        let answering = self.cluster.answering(RECENT).into_iter();
        let who = answering.filter(|(address, _)| *address == vip).find_map(|(_, who)| who);
        who.ok_or_else(|| format!("nobody answers for {vip}"))
    }

    /// What the client and the kernels saw since then.
    pub(crate) fn figures(&self, since: Instant) -> Figures {
        clock::pause(buoy::lab::record::ANSWER_LIMIT);
        experiment::figures(&self.cluster, since, true)
    }

    /// Fails if an address moved in any kernel since then, or a probe was not answered at all. (Where
    /// the machine itself stands still for a moment, answers are late and no probe is lost.)
    pub(crate) fn nothing_happened(&self, since: Instant) -> Outcome {
        let timeline = self.cluster.watch.timeline();
        for vip in &self.served {
            if let Some(change) = timeline.of(*vip).find(|change| change.at >= since) {
                let name = self.cluster.name(change.node);
                return Err(format!("{vip} moved: {name} held={}", change.held).into());
            }
        }
        let until = clock::now();
        let figures = self.figures(since);
        self.no_probe_lost((since, until))?;
        if figures.worst > PLANNED_OUTAGE_MAX {
            return Err(format!("an address was out for {:?}", figures.worst).into());
        }
        Ok(())
    }

    /// Fails if a probe that was sent between these two moments was not answered at all; but for an
    /// address that was handed over meanwhile an outage of a planned move is allowed.
    pub(crate) fn no_probe_lost(&self, (since, until): (Instant, Instant)) -> Outcome {
        clock::pause(buoy::lab::record::ANSWER_LIMIT);
        let timeline = self.cluster.watch.timeline();
        for vip in &self.served {
            let record = self.cluster.prober.record(*vip);
            let judged = |probe: &&Probe| probe.sent >= since && probe.sent < until;
            let lost = record.probes().iter().filter(judged).filter(|probe| probe.answer.is_none());
            let lost = lost.count();
            let moved = timeline.of(*vip).any(|change| change.at >= since && change.at < until);
            let outage = record.seen(since, until).outage;
            if lost > 0 && !(moved && outage <= PLANNED_OUTAGE_MAX) {
                return Err(format!("{lost} probes to {vip} were lost (out for {outage:?})").into());
            }
        }
        Ok(())
    }

    /// Runs a command against a node's daemon; gives its output, or fails with its errors.
    pub(crate) fn command(
        &self,
        node: usize,
        words: &[&str],
    ) -> Result<String, Box<dyn std::error::Error>> {
        let output = self.cluster.command(node, words)?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("buoy {} on {}: {said}", words.join(" "), self.cluster.name(node)).into())
    }

    /// What `node` says of `other` in its status, e.g. `"up"`.
    pub(crate) fn state_of(&self, node: usize, other: usize) -> Option<String> {
        let status = self.cluster.status(node)?;
        let name = self.cluster.name(other);
        let nodes = status["nodes"].as_array()?;
        let entry = nodes.iter().find(|entry| entry["name"].as_str() == Some(name))?;
        Some(entry["state"].as_str()?.to_owned())
    }

    /// Waits until `node` says that `other` is in a state.
    pub(crate) fn sees(&self, node: usize, other: usize, state: &str) -> Outcome {
        let what = format!("{} sees {} {state}", self.cluster.name(node), self.cluster.name(other));
        until(&what, SOON, || match self.state_of(node, other) {
            Some(seen) if seen == state => Ok(()),
            seen => Err(format!("{seen:?}")),
        })
    }

    /// The names of nodes.
    pub(crate) fn names(&self, nodes: &[usize]) -> String {
        let names: Vec<_> = nodes.iter().map(|node| self.cluster.name(*node)).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(" and ") }
    }

    fn diagnosis(&self) -> String {
        let mut text = String::new();
        for node in 0..self.cluster.nodes() {
            let name = self.cluster.name(node);
            let log = self.cluster.log(node);
            let lines: Vec<_> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            let _ = writeln!(text, "==== {name}: log ({} lines)\n{last}", lines.len());
            if let Some(status) = self.cluster.process(node).and_then(|process| process.ended()) {
                let _ = writeln!(text, "==== {name}: its daemon has ended: {status}");
                continue;
            }
            let addresses = self.cluster.namespace(node).output("ip", &["-br", "address"]);
            let addresses = addresses.unwrap_or_else(|error| error.to_string());
            let _ = writeln!(text, "==== {name}: addresses\n{addresses}");
            // A frozen daemon does not answer; its log must do.
            let frozen = self.is_frozen(node);
            for words in [&["status"], &["events"]] {
                let said =
                    if frozen { Err("it is frozen".into()) } else { self.command(node, words) };
                let said = said.unwrap_or_else(|error| error.to_string());
                let _ = writeln!(text, "==== {name}: {}\n{said}", words[0]);
            }
        }
        let _ = writeln!(text, "==== client: neighbours {:?}", self.neighbours());
        let now = Prober::judged_until();
        let from = now.checked_sub(Duration::from_secs(5)).unwrap_or(now);
        for (vip, seen) in self.cluster.prober.seen(from, now) {
            let _ = writeln!(text, "client, last 5 s, {vip}: {seen:?}");
        }
        text
    }

    fn is_frozen(&self, node: usize) -> bool {
        let pid = self.cluster.process(node).map_or(0, |process| process.pid());
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && line.contains('T'))
    }
}
