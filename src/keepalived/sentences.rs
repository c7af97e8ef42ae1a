//! Sentences about several statements of all hosts, and the entry of each statement.
//!
//! What a row of the keyword tables says is written once for all keywords that share it:
//! "virtual_router_id 51, advert_int 1 are not needed between buoys".

use std::collections::BTreeMap;

use crate::redaction::redact;

use super::instances::VIRTUAL_MAC;
use super::keywords::{self, BLOCKS, Block};
use super::model::Host;
use super::report::{Entry, Findings, Verdict};
use super::source::{Place, directory};

/// The entry of each statement of all hosts, in the order of the files.
pub(super) fn entries(hosts: &[Host], findings: &Findings) -> Vec<Entry> {
    let mut all = Vec::new();
    for host in hosts {
        let statements = host.ledger.rows().map(|(entry, _)| Entry {
            how: redact(filled(&entry.how, 1).trim_start_matches([':', ' '])),
            keyword: redact(&entry.keyword),
            ..entry.clone()
        });
        let mut here: Vec<Entry> = statements.chain(host.entries.iter().cloned()).collect();
        let file = |entry: &Entry| host.read.iter().position(|file| **file == *entry.place.file);
        here.sort_by_key(|entry| (file(entry), entry.place.line));
        for (place, verdict, how) in &findings.decided {
            for entry in here.iter_mut().filter(|entry| entry.place == *place) {
                (entry.verdict, entry.how) = (*verdict, how.clone());
            }
        }
        all.extend(here);
    }
    all
}

/// The rank of a word among the keywords, the word, and where it stands.
type Told = (usize, String, Place);

/// One sentence for all keywords of which the same is to be told.
pub(super) fn about_keywords(hosts: &[Host], findings: &mut Findings) {
    let mut groups: BTreeMap<(Verdict, String), Vec<Told>> = BTreeMap::new();
    for (entry, word) in hosts.iter().flat_map(|host| host.ledger.rows()) {
        let Some(word) = word else { continue };
        if entry.verdict <= Verdict::Otherwise || entry.how == keywords::BALANCED {
            continue;
        }
        let row = (rank(word), word.clone(), entry.place.clone());
        groups.entry((entry.verdict, entry.how.clone())).or_default().push(row);
    }
    for ((_, how), mut rows) in groups {
        rows.sort_by_key(|row| row.0);
        let mut words: Vec<&str> = Vec::new();
        for (_, word, _) in &rows {
            if !words.contains(&word.as_str()) {
                words.push(word);
            }
        }
        let subject = words.join(", ");
        let end = filled(&how, words.len());
        let blank = if end.starts_with([':', ',']) { "" } else { " " };
        let mut places: Vec<&Place> = rows.iter().map(|row| &row.2).collect();
        places.sort();
        places.dedup();
        findings.tell(format!("{subject}{blank}{end}"), &places);
    }
}

/// Where a word stands in the tables: sentences name keywords in that order.
fn rank(word: &str) -> usize {
    let keyword = word.split(' ').next().unwrap_or(word);
    // That of global_defs tells in which order things are dropped.
    let blocks = [Block::Globals].into_iter().chain(BLOCKS);
    let mut rows = blocks.flat_map(keywords::rows);
    rows.position(|row| row.alias == keyword || row.name == keyword).unwrap_or(usize::MAX)
}

/// Verbs for one keyword or several.
fn filled(how: &str, count: usize) -> String {
    const VERBS: [(&str, &str, &str); 6] = [
        ("{are}", "is", "are"),
        ("{concern}", "concerns", "concern"),
        ("{have}", "has", "have"),
        ("{belong}", "belongs", "belong"),
        ("{go}", "goes", "go"),
        ("{follow}", "follows", "follow"),
    ];
    let mut text = how.to_owned();
    for (mark, one, several) in VERBS {
        text = text.replace(mark, if count == 1 { one } else { several });
    }
    text
}

/// Sentences about a host as a whole.
pub(super) fn about_hosts(hosts: &[Host], findings: &mut Findings) {
    for host in hosts {
        if host.read.len() > 1 {
            let who = if hosts.len() > 1 { format!("{}: ", host.name) } else { String::new() };
            findings.tell(format!("{who}read: {}", files(&host.read)), &[]);
        }
    }
    let servers = |host: &Host| {
        host.ledger.rows().filter(|(entry, _)| entry.keyword == "virtual_server").count()
    };
    let count = hosts.iter().map(servers).max().unwrap_or_default();
    if count > 0 {
        let text = format!(
            "{count} virtual_server block{}: buoy does not balance load; keep keepalived for them \
             with `keepalived -C` (health checkers only; not tested with ipvs) on every node, or \
             move to HAProxy",
            if count == 1 { "" } else { "s" }
        );
        let all = hosts.iter().flat_map(|host| host.ledger.rows());
        let places: Vec<&Place> = all
            .filter(|(entry, _)| entry.keyword == "virtual_server")
            .map(|(entry, _)| &entry.place)
            .collect();
        findings.tell(text, &places);
    }
    about_virtual_macs(hosts, findings);
}

fn about_virtual_macs(hosts: &[Host], findings: &mut Findings) {
    let (mut routers, mut interfaces, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for instance in hosts.iter().flat_map(|host| &host.instances) {
        let Some(place) = &instance.virtual_mac else { continue };
        places.push(place);
        let vrid = instance.vrid.as_ref().map_or(0, |vrid| vrid.value).to_string();
        if !routers.contains(&vrid) {
            routers.push(vrid);
        }
        if let Some(interface) = &instance.interface
            && !interfaces.contains(&interface.value)
        {
            interfaces.push(interface.value.clone());
        }
    }
    if routers.is_empty() {
        return;
    }
    let text = format!("use_vmac (VRID {}): {VIRTUAL_MAC}", routers.join(", "));
    findings.tell(text, &places);
    let text = format!(
        "after use_vmac keepalived leaves arp_ignore=1 and arp_filter=1 on {}: reset both (sysctl \
         -w net.ipv4.conf.{}.arp_ignore=0)",
        interfaces.join(", "),
        interfaces.first().map_or("eth0", String::as_str)
    );
    findings.tell(text, &places);
}

/// Files in the order of reading; a directory is named where it changes.
fn files(paths: &[String]) -> String {
    let start = paths.first().map_or("", |path| directory(path));
    let mut words = Vec::new();
    let mut before = start;
    for path in paths {
        let here = directory(path);
        let word = if here == before {
            path.get(here.len()..).unwrap_or(path)
        } else {
            path.strip_prefix(start).unwrap_or(path)
        };
        words.push(word.to_owned());
        before = here;
    }
    words.join(", ")
}
