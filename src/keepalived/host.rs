//! The file of one host: from text to its meaning, with every fault of it.
//!
//! Called once for each file of an import. Faults and sentences go into the findings of the whole
//! import; the host is read to its end whatever is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use super::audit::{Ledger, audit};
use super::instances::{MULTICAST, Reader, only};
use super::lines;
use super::model::{Bfd, Globals, Host, Process, Said, Script, TrackFile, Tracked};
use super::report::{Findings, Verdict, listed};
use super::source::Files;
use super::tree::{Node, grow};
use super::values::{host_ip, microseconds, number, program};

/// Reads a host's file and what it includes.
pub(super) fn read(
    files: &dyn Files,
    path: &str,
    id: Option<&str>,
    findings: &mut Findings,
) -> Host {
    let lexed = lines::read(files, path, id, findings);
    if !lexed.ids.is_empty() {
        let ids: Vec<String> = lexed.ids.iter().map(|id| format!("@{id}")).collect();
        let text = format!(
            "{path} has lines for {}, which keepalived skips without -i: {path}{} includes them",
            listed(&ids),
            ids.first().map_or("@ID", String::as_str)
        );
        findings.tell(text, &[]);
    }
    let (nodes, _) = grow(&lexed.lines, findings);
    let mut ledger = Ledger::default();
    audit(&nodes, &mut ledger, findings);
    let mut host = Host { entries: lexed.entries, read: lexed.read, ..Host::default() };
    let synced = synced(&nodes);
    let mut reader = Reader { ledger: &mut ledger, findings, synced };
    host.globals = reader.globals(&nodes);
    for node in &nodes {
        reader.top(node, &mut host);
    }
    reader.drop_weights(&mut host);
    reader.users(&nodes, &host);
    host.ledger = ledger;
    host
}

/// Instances in sync groups that do not say `sync_group_tracking_weight`.
fn synced(nodes: &[Node]) -> BTreeSet<String> {
    let groups = nodes.iter().filter(|node| node.keyword == "vrrp_sync_group");
    let groups = groups.filter(|node| only(node.inside(), "sync_group_tracking_weight").is_none());
    let lists = groups.flat_map(Node::inside).filter(|node| node.keyword == "group");
    let entries = lists.flat_map(Node::inside);
    entries.flat_map(|entry| std::iter::once(&entry.keyword).chain(&entry.words)).cloned().collect()
}

impl Reader<'_> {
    /// keepalived takes tracked scripts with a weight out of instances in a sync group.
    fn drop_weights(&mut self, host: &mut Host) {
        let (scripts, processes) = (&host.scripts, &host.processes);
        let instances = host.instances.iter_mut();
        for instance in instances.filter(|instance| self.synced.contains(&instance.name)) {
            instance.tracks.retain(|track| {
                let own = match track.kind {
                    Tracked::Script => scripts.get(&track.name).map(|script| script.weight),
                    Tracked::Process => processes.get(&track.name).map(|it| it.weight),
                    Tracked::File => None,
                };
                let weight = track.weight.or(own).unwrap_or_default();
                if weight == 0 {
                    return true;
                }
                let text = format!(
                    "{} weight {weight} is ignored by keepalived in a sync group",
                    track.name
                );
                self.ledger.set_number(track.node, Verdict::NotNeeded, &text);
                self.findings.tell(text, &[&track.place]);
                false
            });
        }
    }

    fn top(&mut self, node: &Node, host: &mut Host) {
        match node.keyword.as_str() {
            "vrrp_instance" => {
                let instance = self.instance(node, &host.globals);
                if let Some(instance) = instance {
                    if host.instances.iter().any(|other| other.name == instance.name) {
                        let problem = format!("{} appears twice", instance.name);
                        let remedy = "rename one of them; scripts receive the name";
                        self.findings.refuse(&node.place, "vrrp_instance", problem, remedy);
                    } else {
                        host.instances.push(instance);
                    }
                }
            }
            "vrrp_sync_group" => host.groups.extend(self.sync_group(node)),
            "vrrp_script" => {
                let script = self.script(node);
                self.define(node, script, &mut host.scripts);
            }
            "vrrp_track_process" => {
                let process = self.process(node);
                self.define(node, process, &mut host.processes);
            }
            "vrrp_track_file" | "track_file" => {
                let file = self.track_file(node);
                self.define(node, file, &mut host.files);
            }
            "bfd_instance" => host.bfd.push(Bfd {
                name: node.word().to_owned(),
                neighbour: ["neighbor_ip", "neighbour_ip"]
                    .iter()
                    .find_map(|keyword| host_ip(only(node.inside(), keyword)?.word())),
                source: only(node.inside(), "source_ip").and_then(|node| host_ip(node.word())),
            }),
            "garp_group" => {
                let times = self.times(node.inside(), &["garp_interval", "gna_interval"]);
                host.globals.garp.extend(times);
            }
            _ => {}
        }
    }

    fn define<T>(&mut self, node: &Node, made: Option<T>, all: &mut BTreeMap<String, T>) {
        let Some(made) = made else { return };
        if all.insert(node.word().to_owned(), made).is_some() {
            let problem = format!("{} appears twice", node.word());
            self.findings.refuse(&node.place, &node.keyword, problem, "rename one of them");
        }
    }

    fn globals(&mut self, nodes: &[Node]) -> Globals {
        // Several blocks are one.
        let blocks = nodes.iter().filter(|node| node.keyword == "global_defs");
        let all: Vec<Node> = blocks.flat_map(Node::inside).cloned().collect();
        let word = |keyword: &str| {
            let node = only(&all, keyword)?;
            Some(Said { value: node.word().to_owned(), place: node.place.clone() })
        };
        let fifos = ["notify_fifo", "vrrp_notify_fifo"].into_iter().filter_map(|keyword| {
            let said = word(keyword)?;
            Some(Said { value: (keyword.to_owned(), said.value), place: said.place })
        });
        let groups = ["vrrp_mcast_group4", "vrrp_mcast_group6"].into_iter().filter_map(|keyword| {
            let said = word(keyword).filter(|it| !MULTICAST.contains(&it.value.as_str()))?;
            Some(Said { value: keyword.to_owned(), place: said.place })
        });
        let multicast = groups.collect();
        let version = only(&all, "vrrp_version");
        Globals {
            router_id: word("router_id"),
            script_user: word("script_user"),
            default_interface: word("default_interface"),
            version: version.and_then(|node| number(node, 2..=3, "", self.findings)),
            refresh: self.seconds(&all, "vrrp_garp_master_refresh"),
            garp: self.times(&all, &["vrrp_garp_interval", "vrrp_gna_interval"]),
            multicast,
            fifos: fifos.collect(),
        }
    }

    fn times(&mut self, block: &[Node], keywords: &[&str]) -> Vec<Said<(String, u64)>> {
        let mut times = Vec::new();
        for keyword in keywords {
            let Some(node) = only(block, keyword) else { continue };
            let Some(time) = microseconds(node, self.findings) else { continue };
            let value = (format!("{keyword} {}", node.word()), time);
            times.push(Said { value, place: node.place.clone() });
        }
        times
    }

    fn script(&mut self, node: &Node) -> Option<Script> {
        self.name(node)?;
        let block = node.inside();
        let Some(script) = only(block, "script") else {
            let remedy = "write script \"/path/to/program\"";
            self.findings.refuse(&node.place, "vrrp_script", "has no script", remedy);
            return None;
        };
        let mut count = |keyword: &str, least: i64, otherwise: i64| {
            let node = only(block, keyword)?;
            let most = i64::from(u32::MAX) / 1_000_000;
            Some(number(node, least..=most, "", self.findings)?.max(otherwise))
        };
        let seconds = |count: Option<i64>| count.map(|count| u64::try_from(count).unwrap_or(1));
        let interval = seconds(count("interval", 0, 1)).unwrap_or(1);
        let timeout = seconds(count("timeout", 1, 1));
        let (rise, fall) = (count("rise", 1, 1), count("fall", 1, 1));
        let weight = only(block, "weight");
        let (weight, reverse) = self.own_weight(weight, "vrrp_script", 0);
        let user = only(block, "user");
        if let Some(word) = user.and_then(|user| user.words.get(1)) {
            let text = format!(
                "user: the group {word} is dropped: a program runs with the user's own groups"
            );
            self.findings.tell(text, &[&node.place]);
        }
        let place = script.place.clone();
        let program = Said { value: program(script, self.findings)?, place };
        let user = user.map(|node| node.word().to_owned());
        let place = node.place.clone();
        let (rise, fall) = (rise.unwrap_or(1), fall.unwrap_or(1));
        Some(Script { place, program, interval, timeout, rise, fall, weight, reverse, user })
    }

    /// `weight N [reverse]` in the block of what is tracked.
    fn own_weight(&mut self, node: Option<&Node>, title: &str, otherwise: i64) -> (i64, bool) {
        let Some(node) = node else { return (otherwise, false) };
        let weight = node.word().parse::<i64>().ok().filter(|it| (-254..=254).contains(it));
        if weight.is_none() {
            let problem = format!("the weight {} is not a number from -253 to 253", node.word());
            self.findings.refuse(&node.place, title, problem, "write weight NUMBER");
        }
        let reverse = node.words.get(1).is_some_and(|word| word == "reverse");
        (weight.unwrap_or(otherwise).clamp(-253, 253), reverse)
    }

    fn process(&mut self, node: &Node) -> Option<Process> {
        self.name(node)?;
        let block = node.inside();
        let Some(process) = only(block, "process").filter(|node| !node.word().is_empty()) else {
            let remedy = "write process NAME";
            self.findings.refuse(&node.place, "vrrp_track_process", "has no process", remedy);
            return None;
        };
        if process.words.len() > 1 {
            let how = "without the parameters: the name of the process decides";
            self.ledger.set(process, Verdict::Otherwise, how);
        }
        let quorum = only(block, "quorum");
        let quorum =
            quorum.and_then(|node| Some((node, number(node, 0..=65_535, "", self.findings)?)));
        if let Some((node, 0 | 1)) = quorum {
            self.ledger.set(node, Verdict::Carried, "one process is enough");
        }
        let told = ["quorum", "quorum_max", "fork_delay", "terminate_delay", "delay"];
        let dropped: Vec<&str> = told
            .into_iter()
            .chain(["param_match", "full_command"])
            .filter(|keyword| only(block, keyword).is_some())
            .filter(|keyword| *keyword != "quorum" || quorum.is_some_and(|it| it.1 > 1))
            .collect();
        for keyword in &dropped {
            if let Some(node) = only(block, keyword) {
                self.ledger.set(node, Verdict::NotPossible, "dropped: see the check");
            }
        }
        if let Some(text) = super::commands::dropped(node.word(), &dropped) {
            self.findings.tell(text, &[&node.place]);
        }
        let (weight, reverse) = self.own_weight(only(block, "weight"), "vrrp_track_process", 0);
        let process = process.word().to_owned();
        Some(Process { place: node.place.clone(), process, weight, reverse })
    }

    fn track_file(&mut self, node: &Node) -> Option<TrackFile> {
        self.name(node)?;
        let file = only(node.inside(), "file").map(|file| file.word().to_owned());
        let file = file.filter(|file| !file.is_empty());
        if file.is_none() {
            let remedy = "write file /path";
            self.findings.refuse(&node.place, &node.keyword, "names no file", remedy);
        }
        let (weight, _) = self.own_weight(only(node.inside(), "weight"), "vrrp_track_file", 1);
        Some(TrackFile { place: node.place.clone(), file: file?, weight })
    }

    /// Tells of what nothing uses, and refuses to track what is not there.
    fn users(&mut self, nodes: &[Node], host: &Host) {
        let tracks = host.instances.iter().flat_map(|instance| &instance.tracks);
        let tracks: Vec<_> = tracks.chain(host.groups.iter().flat_map(|it| &it.tracks)).collect();
        for track in &tracks {
            let (there, list, keyword) = match track.kind {
                Tracked::Script => {
                    (host.scripts.contains_key(&track.name), "track_script", "vrrp_script")
                }
                Tracked::Process => {
                    let there = host.processes.contains_key(&track.name);
                    (there, "track_process", "vrrp_track_process")
                }
                Tracked::File => {
                    (host.files.contains_key(&track.name), "track_file", "vrrp_track_file")
                }
            };
            let faulty = nodes.iter().any(|it| it.keyword == keyword && it.word() == track.name);
            if !there && !faulty {
                let problem = format!("there is no {keyword} {}", track.name);
                let remedy = "write one, or remove the line: keepalived ignores it";
                self.findings.refuse(&track.place, list, problem, remedy);
            }
        }
        let kinds = ["vrrp_script", "vrrp_track_process", "vrrp_track_file", "track_file"];
        let defined = nodes.iter().filter(|node| kinds.contains(&node.keyword.as_str()));
        for node in defined.filter(|node| !tracks.iter().any(|it| it.name == node.word())) {
            let how = format!("nothing tracks {}", node.word());
            for inner in std::iter::once(node).chain(node.inside()) {
                self.ledger.set(inner, Verdict::NotNeeded, &how);
            }
        }
    }
}
