//! Does the faults of a schedule to a cluster, and keeps what was true when.

use std::fmt::{self, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use buoy::lab::clock;
use buoy::lab::filter::Rule;
use buoy::lab::network::mac_text;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::schedule::{CARDS, Fault, Kind, Meddling, NODES, Part};
use crate::Outcome;
use crate::scene::Scene;

/// What is wrong at a time, as far as it matters to who can serve.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    /// From host to host, the client last: frames do not get through.
    pub(crate) cut: [[bool; NODES + 1]; NODES + 1],
    /// Some frames are lost.
    pub(crate) lossy: bool,
    pub(crate) nodes: [Node; NODES],
}

/// One node of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Node {
    /// No daemon runs.
    pub(crate) down: bool,
    /// It stands still.
    pub(crate) frozen: bool,
    /// Its card on the clients' network has no carrier, or its own addresses are gone.
    pub(crate) unlinked: bool,
    /// It is drained, or may be.
    pub(crate) drained: bool,
}

impl fmt::Display for World {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = 0..=NODES;
        for (from, to) in hosts.clone().flat_map(|a| hosts.clone().map(move |b| (a, b))) {
            if self.cut[from][to] {
                write!(out, "{from}-/->{to} ")?;
            }
        }
        if self.lossy {
            write!(out, "loss ")?;
        }
        for (number, node) in self.nodes.iter().enumerate() {
            let Node { down, frozen, unlinked, drained } = *node;
            let wrong =
                [(down, "down"), (frozen, "frozen"), (unlinked, "unlinked"), (drained, "drained")];
            for (_, word) in wrong.iter().filter(|(is, _)| *is) {
                write!(out, "{number}:{word} ")?;
            }
        }
        Ok(())
    }
}

/// The cluster with what is being done to it.
pub(crate) struct Stage<'a> {
    pub(crate) scene: &'a mut Scene,
    active: Vec<Fault>,
    frozen: [bool; NODES],
    busy: Vec<Child>,
    /// What was true from when on.
    pub(crate) history: Vec<(Instant, World)>,
}

impl<'a> Stage<'a> {
    /// Nothing is wrong yet.
    pub(crate) fn new(scene: &'a mut Scene) -> Self {
        let history = vec![(clock::now(), World::default())];
        Self { scene, active: Vec::new(), frozen: [false; NODES], busy: Vec::new(), history }
    }

    /// Goes through the schedule in real time, then ends what has not ended.
    pub(crate) fn play(&mut self, schedule: &[Fault]) -> Outcome {
        let begin = clock::now();
        let mut acts: Vec<_> = schedule
            .iter()
            .flat_map(|fault| [(fault.at, true, *fault), (fault.at + fault.length, false, *fault)])
            .collect();
        acts.sort_by_key(|(at, begins, _)| (*at, *begins));
        for (at, begins, fault) in acts {
            clock::pause((begin + at).saturating_duration_since(clock::now()));
            if begins {
                self.begin(fault)?;
            } else {
                self.end(fault)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, fault: Fault) -> Outcome {
        self.active.push(fault);
        if let Kind::Freeze(node, _) = fault.kind {
            self.frozen[node] = true;
        }
        // What is about to be wrong counts as wrong from before it is.
        self.note();
        let carried = |node| self.active.iter().all(|it| it.kind != Kind::Carrier(node, 0));
        let cluster = &self.scene.cluster;
        match fault.kind {
            Kind::Partition(_)
            | Kind::Mute(_)
            | Kind::Deaf(_)
            | Kind::OneWay(..)
            | Kind::Loss(_) => self.set_rules()?,
            Kind::Kill(node, Part::Daemon) => cluster.signal(node, Signal::SIGKILL),
            Kind::Kill(node, Part::Both) => cluster.signal_family(node, Signal::SIGKILL),
            Kind::KillGuardian(node) => self.kill_guardian(node),
            Kind::Stop(node) => cluster.signal(node, Signal::SIGTERM),
            Kind::Freeze(node, Part::Daemon) => cluster.signal(node, Signal::SIGSTOP),
            Kind::Freeze(node, Part::Both) => cluster.signal_family(node, Signal::SIGSTOP),
            Kind::Carrier(node, card) => cluster.network.set_carrier(node, card, false)?,
            Kind::FlushAddresses(node) => self.ip(node, "addr flush dev eth0"),
            Kind::Rules(node, meddling) => self.meddle(node, meddling),
            Kind::Recreate(node) if carried(node) => cluster.network.recreate(node, 0)?,
            Kind::Hardware(node) => {
                let mut other = cluster.network.hosts()[node].mac(0);
                other[1] = 0xb1;
                self.ip(node, &format!("link set eth0 address {}", mac_text(other)));
            }
            Kind::Reload(node) => cluster.signal(node, Signal::SIGHUP),
            Kind::Drain(node) => self.order(node, &["drain", "--no-wait"]),
            Kind::Move(group, node) => {
                let first = cluster.plan.groups[group][0].to_string();
                let to = cluster.name(node).to_owned();
                self.order(node, &["move", &first, &to]);
            }
            Kind::Busy(loops) => {
                for _ in 0..loops {
                    let spin = ["-c", "while :; do :; done"];
                    self.busy
                        .push(Command::new("/bin/sh").args(spin).stdin(Stdio::null()).spawn()?);
                }
            }
            Kind::Recreate(_) => {}
        }
        self.note();
        Ok(())
    }

    fn end(&mut self, fault: Fault) -> Outcome {
        let place = self.active.iter().position(|active| *active == fault);
        place.map(|place| self.active.swap_remove(place));
        let cluster = &self.scene.cluster;
        match fault.kind {
            Kind::Partition(_)
            | Kind::Mute(_)
            | Kind::Deaf(_)
            | Kind::OneWay(..)
            | Kind::Loss(_) => self.set_rules()?,
            Kind::Kill(node, _) | Kind::Stop(node) if !self.is_down(node) => {
                self.scene.cluster.start(node)?;
                self.frozen[node] = false;
            }
            Kind::Freeze(node, _) => {
                cluster.signal_family(node, Signal::SIGCONT);
                self.frozen[node] = false;
            }
            Kind::Carrier(node, card) if !self.active.iter().any(|it| it.kind == fault.kind) => {
                self.scene.cluster.network.set_carrier(node, card, true)?;
            }
            Kind::FlushAddresses(node) => self.give_addresses(node),
            Kind::Hardware(node) => {
                let own = mac_text(cluster.network.hosts()[node].mac(0));
                self.ip(node, &format!("link set eth0 address {own}"));
            }
            Kind::Drain(node) => self.order(node, &["undrain", "--no-wait"]),
            Kind::Busy(_) => self.rest(),
            Kind::Kill(..)
            | Kind::Stop(_)
            | Kind::Carrier(..)
            | Kind::KillGuardian(_)
            | Kind::Rules(..)
            | Kind::Recreate(_)
            | Kind::Reload(_)
            | Kind::Move(..) => {}
        }
        self.note();
        Ok(())
    }

    fn note(&mut self) {
        let mut world = World::default();
        for fault in &self.active {
            match fault.kind {
                Kind::Freeze(node, _) => world.nodes[node].frozen |= self.frozen[node],
                Kind::Kill(node, _) | Kind::Stop(node) => world.nodes[node].down = true,
                Kind::Carrier(node, 0) | Kind::FlushAddresses(node) => {
                    world.nodes[node].unlinked = true;
                }
                Kind::Drain(node) => world.nodes[node].drained = true,
                Kind::Loss(_) => world.lossy = true,
                Kind::Partition(_)
                | Kind::Mute(_)
                | Kind::Deaf(_)
                | Kind::OneWay(..)
                | Kind::KillGuardian(_)
                | Kind::Carrier(..)
                | Kind::Rules(..)
                | Kind::Recreate(_)
                | Kind::Hardware(_)
                | Kind::Reload(_)
                | Kind::Move(..)
                | Kind::Busy(_) => {}
            }
        }
        for (from, to) in self.cuts() {
            world.cut[from][to] = true;
        }
        self.history.push((clock::now(), world));
    }

    /// Which host does not reach which.
    fn cuts(&self) -> Vec<(usize, usize)> {
        let hosts = 0..=NODES;
        let pairs: Vec<_> =
            hosts.clone().flat_map(|a| hosts.clone().map(move |b| (a, b))).collect();
        let cut = |kind: Kind, (from, to): (usize, usize)| match kind {
            Kind::Partition(mask) => (mask >> from & 1) != (mask >> to & 1),
            Kind::Mute(node) => from == node,
            Kind::Deaf(node) => to == node,
            Kind::OneWay(a, b) => (a, b) == (from, to),
            Kind::Loss(_)
            | Kind::Kill(..)
            | Kind::KillGuardian(_)
            | Kind::Stop(_)
            | Kind::Freeze(..)
            | Kind::Carrier(..)
            | Kind::FlushAddresses(_)
            | Kind::Rules(..)
            | Kind::Recreate(_)
            | Kind::Hardware(_)
            | Kind::Reload(_)
            | Kind::Drain(_)
            | Kind::Move(..)
            | Kind::Busy(_) => false,
        };
        let is_cut = |pair: &(usize, usize)| self.active.iter().any(|it| cut(it.kind, *pair));
        pairs.into_iter().filter(|(from, to)| from != to).filter(is_cut).collect()
    }

    fn set_rules(&mut self) -> Outcome {
        let network = &self.scene.cluster.network;
        let mut rules = Vec::new();
        for (from, to) in self.cuts() {
            // A second card lies on the same wire: frames cross from one to the other.
            for (out, into) in (0..CARDS).flat_map(|a| (0..CARDS).map(move |b| (a, b))) {
                let (from, to) = (network.hosts()[from].port(out), network.hosts()[to].port(into));
                rules.push(Rule::cut(Some(&from), Some(&to)));
            }
        }
        for fault in &self.active {
            if let Kind::Loss(one_in) = fault.kind {
                rules.push(Rule { one_in: Some(one_in), ..Rule::cut(None, None) });
            }
        }
        self.scene.cluster.network.set_rules(rules)?;
        Ok(())
    }

    fn is_down(&self, node: usize) -> bool {
        let of_node = |kind| matches!(kind, Kind::Kill(it, _) | Kind::Stop(it) if it == node);
        self.active.iter().any(|fault| of_node(fault.kind))
    }

    fn kill_guardian(&self, node: usize) {
        let status = self.scene.cluster.status(node);
        let pid = status.and_then(|status| status["counters"]["guardian_pid"].as_i64());
        if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0) {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Runs `ip`; a card or address that is not there at the moment needs nothing.
    fn ip(&self, node: usize, words: &str) {
        let words: Vec<&str> = words.split(' ').collect();
        let _ = self.scene.cluster.namespace(node).output("ip", &words);
    }

    fn give_addresses(&self, node: usize) {
        let host = &self.scene.cluster.network.hosts()[node].plan;
        let card = host.interfaces.iter().find(|interface| interface.network == 0);
        for (address, prefix) in card.iter().flat_map(|card| &card.addresses) {
            let nodad = if address.is_ipv6() { " nodad" } else { "" };
            self.ip(node, &format!("addr replace {address}/{prefix} dev eth0{nodad}"));
        }
    }

    fn meddle(&self, node: usize, meddling: Meddling) {
        let host = self.scene.cluster.namespace(node);
        let tables = host.output("nft", &["list", "tables"]).unwrap_or_default();
        let verb = match meddling {
            Meddling::FlushRuleset => {
                let _ = host.output("nft", &["flush", "ruleset"]);
                return;
            }
            Meddling::FlushTables => "flush",
            Meddling::DeleteTables => "delete",
        };
        for table in tables.lines() {
            // "table netdev NAME"; one that refuses protects itself.
            let words: Vec<&str> = std::iter::once(verb).chain(table.split(' ')).collect();
            let _ = host.output("nft", &words);
        }
    }

    /// An operator's order; a daemon that is not there does not take it.
    fn order(&self, node: usize, words: &[&str]) {
        if !self.is_down(node) && !self.frozen[node] {
            let cluster = &self.scene.cluster;
            let socket = cluster.runtime_directory(node).join("control.sock");
            let program = crate::scene::PROGRAM;
            // Not waited for: it ends by itself within seconds.
            let _ = cluster.namespace(node).run(|| {
                let mut command = Command::new(program);
                command.arg("--socket").arg(socket).args(words);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
            });
        }
    }

    fn rest(&mut self) {
        for mut spinning in self.busy.drain(..) {
            let _ = spinning.kill();
            let _ = spinning.wait();
        }
    }

    /// What the nodes look like, for a report.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        let begin = self.history.first().map(|(at, _)| *at);
        for (at, world) in &self.history {
            let since = begin.map_or(0.0, |begin| at.duration_since(begin).as_secs_f64());
            let _ = writeln!(text, "{since:7.3} s {world}");
        }
        text
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.rest();
    }
}
