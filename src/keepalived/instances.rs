//! `vrrp_instance` and `vrrp_sync_group` of one host, from statements to values.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::audit::{Ledger, first_counts};
use super::model::{Globals, Hook, Instance, OWNER, Said, SyncGroup, Track, Tracked};
use super::report::{Findings, Verdict};
use super::routing::{self, Entry, List};
use super::source::Place;
use super::tree::Node;
use super::values::{self, address, host_ip, microseconds, number, program};

/// What is told of `use_vmac`.
pub(super) const VIRTUAL_MAC: &str =
    "clients will see the node's own hardware address; remove static ARP entries";

/// The multicast groups of the standard.
pub(super) const MULTICAST: [&str; 2] = ["224.0.0.18", "ff02::12"];

/// What reads a host's statements.
pub(super) struct Reader<'a> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) findings: &'a mut Findings,
    /// Instances whose weights keepalived ignores, since they are in a sync group.
    pub(super) synced: BTreeSet<String>,
}

/// The statement that counts of those with this keyword.
pub(super) fn only<'a>(block: &'a [Node], keyword: &str) -> Option<&'a Node> {
    let mut all = block.iter().filter(|node| node.keyword == keyword);
    if first_counts(keyword) { all.next() } else { all.next_back() }
}

/// Entries of all lists with this keyword.
fn entries<'a>(block: &'a [Node], keyword: &str) -> impl Iterator<Item = &'a Node> {
    block.iter().filter(move |node| node.keyword == keyword).flat_map(Node::inside)
}

fn said<T>(node: &Node, value: T) -> Said<T> {
    Said { value, place: node.place.clone() }
}

impl Reader<'_> {
    /// Reads a `vrrp_instance`.
    pub(super) fn instance(&mut self, node: &Node, globals: &Globals) -> Option<Instance> {
        let name = self.name(node)?;
        let block = node.inside();
        let vrid = only(block, "virtual_router_id");
        if vrid.is_none() {
            let remedy = "write virtual_router_id, or remove the instance; keepalived drops it";
            self.findings.refuse(&node.place, "vrrp_instance", "has no VRID", remedy);
        }
        let vrid = vrid.and_then(|node| {
            Some(said(node, number(node, 1..=255, "; keepalived drops it", self.findings)?))
        });
        let priority = only(block, "priority").and_then(|node| {
            let otherwise = "; keepalived uses 100";
            Some(said(node, number(node, 1..=OWNER, otherwise, self.findings)?))
        });
        let interface = only(block, "interface").map(|node| said(node, node.word().to_owned()));
        let interface = interface.or_else(|| globals.default_interface.clone());
        if interface.is_none() {
            let remedy = "write interface, as \"ip link\" shows it";
            self.findings.refuse(&node.place, "vrrp_instance", "has no interface", remedy);
        }
        let mut instance = Instance {
            name,
            place: node.place.clone(),
            vrid,
            interface,
            priority: priority.unwrap_or_else(|| said(node, 100)),
            master: self.is_master(block),
            nopreempt: None,
            preempt_delay: None,
            advert: self.time(block, "advert_int"),
            version: self.count(block, "version", 2..=3),
            authentication: self.authentication(block),
            unicast_source: self.ip(block, "unicast_src_ip"),
            multicast_source: self.ip(block, "mcast_src_ip"),
            peers: self.peers(block),
            addresses: Vec::new(),
            routes: self.routing(block, List::Routes),
            rules: self.routing(block, List::Rules),
            tracks: self.tracks(block, Some(node.word())),
            hooks: self.hooks(block),
            refresh: self.seconds(block, "garp_master_refresh"),
            multicast: only(block, "mcast_dst_ip")
                .filter(|node| !MULTICAST.contains(&node.word()))
                .map(|node| node.place.clone()),
            virtual_mac: self.virtual_mac(block),
        };
        self.preemption(block, &mut instance);
        self.addresses(block, &mut instance);
        self.tell_interval(&instance, globals);
        Some(instance)
    }

    fn virtual_mac(&mut self, block: &[Node]) -> Option<Place> {
        let node = only(block, "use_vmac").or_else(|| only(block, "use_vmac_addr"))?;
        self.ledger.set(node, Verdict::NotPossible, VIRTUAL_MAC);
        Some(node.place.clone())
    }

    /// Reads a `vrrp_sync_group`.
    pub(super) fn sync_group(&mut self, node: &Node) -> Option<SyncGroup> {
        let name = self.name(node)?;
        let block = node.inside();
        let members = entries(block, "group")
            .flat_map(|entry| {
                let words = std::iter::once(&entry.keyword).chain(&entry.words);
                words.map(|word| said(entry, word.clone())).collect::<Vec<_>>()
            })
            .collect();
        let tracks = self.tracks(block, None);
        let hooks = self.hooks(block);
        Some(SyncGroup { name, place: node.place.clone(), members, tracks, hooks })
    }

    /// The name behind the keyword of a block.
    pub(super) fn name(&mut self, node: &Node) -> Option<String> {
        values::extra(node, 1, self.findings);
        if node.word().is_empty() {
            let remedy = format!("write {} NAME {{", node.keyword);
            self.findings.refuse(&node.place, &node.keyword, "has no name", remedy);
            return None;
        }
        Some(node.word().to_owned())
    }

    fn is_master(&mut self, block: &[Node]) -> bool {
        let mut master = false;
        for node in block.iter().filter(|node| node.keyword == "state") {
            match node.word() {
                "MASTER" => master = true,
                "BACKUP" => {}
                other => {
                    let problem = format!("{other} is not a state: keepalived uses BACKUP");
                    self.findings.warn(&node.place, "state", problem);
                }
            }
        }
        master
    }

    fn count(
        &mut self,
        block: &[Node],
        keyword: &str,
        bounds: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        only(block, keyword).and_then(|node| number(node, bounds, "", self.findings))
    }

    fn time(&mut self, block: &[Node], keyword: &str) -> Option<Said<u64>> {
        let node = only(block, keyword)?;
        Some(said(node, microseconds(node, self.findings)?))
    }

    /// A whole number of seconds.
    pub(super) fn seconds(&mut self, block: &[Node], keyword: &str) -> Option<Said<i64>> {
        let node = only(block, keyword)?;
        Some(said(node, number(node, 0..=i64::from(u32::MAX), "", self.findings)?))
    }

    fn ip(&mut self, block: &[Node], keyword: &str) -> Option<IpAddr> {
        let node = only(block, keyword)?;
        let address = host_ip(node.word());
        if address.is_none() {
            let problem = format!("{} is not an IP address", node.word());
            self.findings.refuse(&node.place, keyword, problem, "write an address like 192.0.2.11");
        }
        address
    }

    fn peers(&mut self, block: &[Node]) -> Vec<IpAddr> {
        let mut peers = Vec::new();
        for node in entries(block, "unicast_peer") {
            match host_ip(&node.keyword) {
                Some(peer) => peers.push(peer),
                None => {
                    let problem = format!("{} is not an IP address", node.keyword);
                    let remedy = "write one address on each line";
                    self.findings.refuse(&node.place, "unicast_peer", problem, remedy);
                }
            }
            if node.words.first().is_some_and(|word| host_ip(word).is_some()) {
                values::extra(node, 0, self.findings);
            }
        }
        peers
    }

    fn authentication(&mut self, block: &[Node]) -> Option<Said<(String, String)>> {
        let all = only(block, "authentication")?;
        let kind = only(all.inside(), "auth_type");
        if let Some(kind) = kind.filter(|kind| !["PASS", "AH"].contains(&kind.word())) {
            let problem = "is neither PASS nor AH: keepalived uses none";
            self.findings.warn(&kind.place, "auth_type", problem);
        }
        if let Some(kind) = kind.filter(|kind| kind.word() == "AH") {
            self.findings.tell("auth_type AH: dropped", &[&kind.place]);
        }
        let pass = only(all.inside(), "auth_pass");
        if let Some(pass) = pass.filter(|pass| pass.word().len() > 8) {
            let problem = "is longer than 8 characters: keepalived cuts it";
            self.findings.warn(&pass.place, "auth_pass", problem);
        }
        let word = |node: Option<&Node>| node.map(|node| node.word().to_owned());
        let cut = |word: String| word.chars().take(8).collect();
        Some(said(all, (word(kind).unwrap_or_default(), word(pass).map(cut).unwrap_or_default())))
    }

    fn preemption(&mut self, block: &[Node], instance: &mut Instance) {
        let decides = |node: &&Node| ["preempt", "nopreempt"].contains(&node.keyword.as_str());
        let last = block.iter().rfind(decides).filter(|node| node.keyword == "nopreempt");
        instance.nopreempt = last.map(|node| node.place.clone());
        instance.preempt_delay = self.time(block, "preempt_delay");
        let Some(node) = last else { return };
        let name = &instance.name;
        if instance.master || instance.priority.value == OWNER {
            let with = if instance.master { "state MASTER" } else { "priority 255" };
            let text = format!("{name}: nopreempt has no effect with {with}: keepalived clears it");
            self.findings.tell(&text, &[&node.place]);
            self.ledger.set(node, Verdict::NotNeeded, text);
            instance.nopreempt = None;
        } else if let Some(delay) = only(block, "preempt_delay") {
            let how = "preempt_delay has no effect beside nopreempt: keepalived clears it";
            self.ledger.set(delay, Verdict::NotNeeded, how);
            instance.preempt_delay = None;
        }
    }

    fn addresses(&mut self, block: &[Node], instance: &mut Instance) {
        for list in ["virtual_ipaddress", "virtual_ipaddress_excluded"] {
            for node in entries(block, list) {
                let Some(address) = address(node, list, self.findings) else { continue };
                if instance.addresses.iter().any(|other| other.ip == address.ip) {
                    let how = format!("{} is already in {}", address.ip, instance.name);
                    self.findings.warn(&node.place, list, &how);
                    self.ledger.set(node, Verdict::NotNeeded, how);
                    continue;
                }
                if !address.dropped.is_empty() {
                    let how = format!("without {}", address.dropped.join(", "));
                    self.ledger.set(node, Verdict::Otherwise, how);
                }
                instance.addresses.push(address);
            }
        }
        if instance.addresses.is_empty() {
            let title = format!("vrrp_instance {}", instance.name);
            let remedy = "write virtual_ipaddress { ... }, or remove the instance";
            let problem = "has no usable address";
            self.findings.refuse(&instance.place, &title, problem, remedy);
        }
    }

    /// Routes or rules; those that cannot be carried over are left out with a sentence.
    fn routing(&mut self, block: &[Node], list: List) -> Vec<Entry> {
        let mut found = Vec::new();
        let keyword = List::ALL.iter().find(|(_, _, it)| *it == list).map_or("", |it| it.0);
        for node in entries(block, keyword) {
            match routing::read(node, list) {
                Ok(entry) => {
                    if !entry.dropped.is_empty() {
                        let how = format!("without {}", entry.dropped.join(", "));
                        self.ledger.set(node, Verdict::Otherwise, how);
                    }
                    found.push(entry);
                }
                Err(why) => {
                    let text = format!("{keyword}: {} is left out: {why}", node.title());
                    self.findings.tell(&text, &[&node.place]);
                    self.ledger.set(node, Verdict::NotPossible, text);
                }
            }
        }
        found
    }

    fn tell_interval(&mut self, instance: &Instance, globals: &Globals) {
        let Some(advert) = &instance.advert else { return };
        let (said, taken) = (advert.value, instance.interval(globals));
        if said != taken {
            let problem = format!(
                "{} s with version 2 is rounded to {} s by keepalived",
                decimal(said),
                decimal(taken)
            );
            self.findings.warn(&advert.place, "advert_int", problem);
        }
    }

    /// What an instance or sync group tracks.
    fn tracks(&mut self, block: &[Node], instance: Option<&str>) -> Vec<Track> {
        let mut tracks: Vec<Track> = Vec::new();
        let lists = [
            ("track_script", Tracked::Script),
            ("track_process", Tracked::Process),
            ("track_file", Tracked::File),
        ];
        for (list, kind) in lists {
            for node in entries(block, list) {
                let twice = tracks.iter().any(|it| it.kind == kind && it.name == node.keyword);
                if twice {
                    let how = format!("{} appears twice: keepalived uses the first", node.keyword);
                    self.findings.warn(&node.place, list, &how);
                    self.ledger.set(node, Verdict::NotNeeded, how);
                    continue;
                }
                let (weight, reverse) = self.weight(node, list);
                let (name, place) = (node.keyword.clone(), node.place.clone());
                tracks.push(Track { kind, name, weight, reverse, place, node: node.id });
            }
        }
        self.interfaces(block, instance);
        tracks
    }

    /// `weight N [reverse]` behind the name of what is tracked.
    fn weight(&mut self, node: &Node, list: &str) -> (Option<i64>, Option<bool>) {
        let words: Vec<&str> = node.words.iter().map(String::as_str).collect();
        let (number, rest) = match words.as_slice() {
            [] => return (None, None),
            ["weight", number, rest @ ..] => (*number, rest),
            [other, ..] => {
                let problem =
                    format!("{other} is not an option: keepalived ignores the whole entry");
                let remedy = "write NAME weight NUMBER, or the name alone";
                self.findings.refuse(&node.place, list, problem, remedy);
                return (None, None);
            }
        };
        let weight = number.parse::<i64>().ok().filter(|it| (-254..=254).contains(it));
        if weight.is_none() {
            let problem = format!("the weight {number} is not a number from -253 to 253");
            self.findings.refuse(&node.place, list, problem, "write NAME weight NUMBER");
        }
        let reverse = match rest {
            [] => None,
            ["reverse"] => Some(true),
            ["noreverse"] => Some(false),
            [other, ..] => {
                let problem = format!("{other} is not an option of weight: keepalived ignores it");
                self.findings.warn(&node.place, list, problem);
                None
            }
        };
        (weight.map(|weight| weight.clamp(-253, 253)), reverse)
    }

    /// `track_interface` has no values here: what matters is told.
    fn interfaces(&mut self, block: &[Node], instance: Option<&str>) {
        let synced = instance.is_some_and(|name| self.synced.contains(name));
        let own = only(block, "interface").map(|node| node.word().to_owned());
        for node in entries(block, "track_interface") {
            let name = &node.keyword;
            let weight = node.words.get(1).map(|weight| format!(" weight {weight}"));
            let weight = weight.unwrap_or_default();
            let (verdict, text) = if own.as_ref() == Some(name) {
                let text = format!("track_interface {name}, its own interface: always watched");
                (Verdict::Otherwise, text)
            } else if synced && !weight.is_empty() {
                let text = format!(
                    "track_interface {name}{weight} is ignored by keepalived in a sync group"
                );
                (Verdict::NotNeeded, text)
            } else if synced || instance.is_none() {
                let text = format!(
                    "track_interface {name}{weight}: the interfaces of the group's own addresses \
                     are always watched; for another interface write a check of type gateway or \
                     route"
                );
                (Verdict::Otherwise, text)
            } else {
                let text = format!(
                    "track_interface {name}{weight} has no counterpart: write a check of type \
                     gateway or route over {name}"
                );
                (Verdict::NotPossible, text)
            };
            self.ledger.set(node, verdict, &text);
            self.findings.tell(text, &[&node.place]);
        }
    }

    fn hooks(&mut self, block: &[Node]) -> Vec<Hook> {
        let mut hooks = Vec::new();
        for keyword in ["notify", "notify_master", "notify_backup", "notify_fault"] {
            let Some(node) = only(block, keyword) else { continue };
            let Some(program) = program(node, self.findings) else { continue };
            let place = node.place.clone();
            hooks.push(Hook { keyword: keyword.to_owned(), program, place });
        }
        hooks
    }
}

/// Microseconds as seconds.
pub(super) fn decimal(microseconds: u64) -> String {
    let text = format!("{}.{:06}", microseconds / 1_000_000, microseconds % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
