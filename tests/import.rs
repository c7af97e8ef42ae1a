//! Imports of keepalived's files: what each set of input files means, and that nothing is dropped.
//!
//! `tests/keepalived/inputs` holds sets of files; `meaning` what each means, as a file of buoy;
//! `written` what is written for it, and `told` the sentences and faults. After a deliberate change
//! `BUOY_BLESS=1 cargo test --test import` writes the last two again, to be reviewed as a difference.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use buoy::config::{self, Config, Keys};
use buoy::keepalived::{Content, Files, Here, HostFile, Import, Request, import};

#[path = "keepalived/bad_input.rs"]
mod bad_input;
#[path = "keepalived/every_keyword.rs"]
mod every_keyword;
#[path = "keepalived/routing.rs"]
mod routing;
#[path = "keepalived/rules.rs"]
mod rules;
#[path = "keepalived/scripts.rs"]
mod scripts;
#[path = "keepalived/vrrp.rs"]
mod vrrp;

/// Files below `tests/keepalived/inputs`.
struct Inputs;

fn inputs(name: &str) -> PathBuf {
    repository("inputs").join(name)
}

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keepalived").join(name)
}

impl Files for Inputs {
    fn read(&self, path: &str, _: u64) -> Result<Content, String> {
        let bytes = fs::read(inputs(path)).map_err(|error| error.to_string())?;
        Ok(Content { bytes, executable: false })
    }

    fn list(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(inputs(directory)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

/// Files in memory.
#[derive(Default)]
struct Memory(BTreeMap<String, Vec<u8>>);

impl Memory {
    fn of(files: &[(&str, &str)]) -> Self {
        let pair = |(name, text): &(&str, &str)| ((*name).to_owned(), text.as_bytes().to_vec());
        Self(files.iter().map(pair).collect())
    }
}

impl Files for Memory {
    fn read(&self, path: &str, most: u64) -> Result<Content, String> {
        let bytes = self.0.get(path).cloned().ok_or("it is not there")?;
        if u64::try_from(bytes.len()).unwrap() > most {
            return Err("it is too large".to_owned());
        }
        Ok(Content { bytes, executable: path.ends_with(".sh") })
    }

    fn list(&self, directory: &str) -> Vec<String> {
        let start = if directory == "." { "" } else { directory };
        let names = self.0.keys().filter_map(|path| path.strip_prefix(start));
        names.map(|name| name.split('/').next().unwrap_or(name).to_owned()).collect()
    }
}

/// Imports `[NAME=]FILE[@ID]`, with nodes as `NAME=ADDRESS[,ADDRESS]`.
fn run(files: &dyn Files, hosts: &[&str], nodes: &[&str]) -> Import {
    run_for(files, hosts, nodes, false)
}

/// The same, with or without `--vrrp`.
fn run_for(files: &dyn Files, hosts: &[&str], nodes: &[&str], vrrp: bool) -> Import {
    let host = |text: &&str| {
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) => (Some(name.to_owned()), rest),
            None => (None, *text),
        };
        let (path, id) = match rest.split_once('@') {
            Some((path, id)) => (path.to_owned(), Some(id.to_owned())),
            None => (rest.to_owned(), None),
        };
        HostFile { name, path, id }
    };
    let node = |text: &&str| {
        let (name, list) = text.split_once('=').unwrap();
        let addresses: Vec<IpAddr> = list.split(',').map(|it| it.parse().unwrap()).collect();
        (name.to_owned(), addresses)
    };
    let request = Request {
        hosts: hosts.iter().map(host).collect(),
        nodes: nodes.iter().map(node).collect(),
        cluster: "imported".to_owned(),
        vrrp,
    };
    let interfaces = ["lo", "eth0", "eth1"].map(str::to_owned);
    let here = Here { name: "here", interfaces: &interfaces, address_of: &|_| None };
    import(&request, files, &here)
}

/// Everything that is told apart from the entries.
fn told(import: &Import) -> String {
    let mut text = String::new();
    for fault in &import.faults {
        let kind = if fault.refuses { "fault" } else { "repaired" };
        writeln!(text, "{kind} {fault}").unwrap();
    }
    for note in &import.notes {
        writeln!(text, "- {}", note.text).unwrap();
    }
    text
}

fn parsed(text: &str) -> Config {
    config::parse_with_keys(text, Path::new("buoy.toml"), Keys::withheld())
        .unwrap_or_else(|refused| panic!("{refused}\n{text}"))
}

/// Parts of a file that two texts must have alike.
fn meaning(config: &Config) -> String {
    format!(
        "{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:?}",
        config.nodes, config.groups, config.checks, config.hooks, config.timing
    )
}

fn expect(path: PathBuf, text: &str) {
    if std::env::var_os("BUOY_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "left: now, right: {}", path.display());
}

const SETS: [(&str, &[&str], &[&str]); 9] = [
    (
        "01-pair",
        &["lb1=01-pair/lb1.conf", "lb2=01-pair/lb2.conf"],
        &["lb1=192.0.2.11", "lb2=192.0.2.12"],
    ),
    (
        "02-pair-in-conflict",
        &["a=02-pair-in-conflict/a.conf", "b=02-pair-in-conflict/b.conf"],
        &["a=192.0.2.11", "b=192.0.2.12"],
    ),
    (
        "03-unicast-v3-dual-stack",
        &["03-unicast-v3-dual-stack/n1.conf", "03-unicast-v3-dual-stack/n2.conf"],
        &[],
    ),
    ("04-sync-group-router", &["04-sync-group-router/gw1.conf"], &["gw2=192.0.2.12"]),
    ("05-scripts-and-tracking", &["05-scripts-and-tracking/lb.conf"], &["lb=192.0.2.11"]),
    ("06-lvs-director", &["06-lvs-director/director.conf"], &["director=192.0.2.11"]),
    ("08-includes", &["08-includes/keepalived.conf"], &["frame=192.0.2.11"]),
    ("09-mail-notify-fifo", &["09-mail-notify-fifo/host.conf"], &[]),
    ("11-broken", &["11-broken/broken.conf"], &["broken=192.0.2.11"]),
];

#[test]
fn each_set_of_files_means_what_keepalived_does_with_it() {
    for (name, hosts, nodes) in SETS {
        let import = run(&Inputs, hosts, nodes);
        let path = repository("meaning").join(format!("{name}.toml"));
        match (&import.text, path.exists()) {
            (Some(text), true) => {
                let (now, expected) = (parsed(text), parsed(&fs::read_to_string(path).unwrap()));
                assert_eq!(meaning(&now), meaning(&expected), "{name}");
            }
            (None, false) => {}
            (text, there) => panic!("{name}: {:?}, {there}\n{}", text.is_some(), told(&import)),
        }
    }
}

#[test]
fn each_set_of_files_is_written_and_told_as_before() {
    for (name, hosts, nodes) in SETS {
        let import = run(&Inputs, hosts, nodes);
        if let Some(text) = &import.text {
            expect(repository("written").join(format!("{name}.toml")), text);
        }
        expect(repository("told").join(format!("{name}.txt")), &told(&import));
    }
}

#[test]
fn a_refused_import_names_every_line_and_no_password() {
    let import = run(&Inputs, &["11-broken/broken.conf"], &[]);
    let lines: Vec<usize> =
        import.faults.iter().filter_map(|fault| Some(fault.place.as_ref()?.line)).collect();
    let expected = [4, 8, 9, 10, 11, 12, 13, 14, 16, 17, 20, 21, 22, 23, 26, 29, 36];
    assert_eq!(lines, expected, "{}", told(&import));
    for (_, hosts, nodes) in SETS {
        let import = run(&Inputs, hosts, nodes);
        let all = format!("{import:?}");
        for secret in ["letmein", "firstkey", "secondke", "onetwo", "with space", "muchlonger"] {
            assert!(!all.contains(secret), "{secret}");
        }
    }
}

#[test]
fn every_line_of_a_set_is_accounted_for() {
    for (_, hosts, nodes) in SETS {
        let import = run(&Inputs, hosts, nodes);
        let mut files: Vec<String> =
            import.entries.iter().map(|entry| entry.place.file.to_string()).collect();
        files.sort();
        files.dedup();
        for file in files {
            let text = fs::read_to_string(inputs(&file)).unwrap();
            for (index, line) in text.lines().enumerate() {
                let bare = line.split(['#', '!']).next().unwrap_or(line);
                if bare.trim().trim_matches(['{', '}']).is_empty() {
                    continue;
                }
                let here = |place: &buoy::keepalived::Place| {
                    *place.file == *file && place.line == index + 1
                };
                let known = import.entries.iter().any(|entry| here(&entry.place))
                    || import.faults.iter().any(|fault| fault.place.as_ref().is_some_and(here));
                assert!(known, "{file}:{}: {line} is not told", index + 1);
            }
        }
    }
}
