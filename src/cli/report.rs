//! `buoy report`: everything that is asked for when a fault is reported, as one text without keys.
//!
//! A part that cannot be had says why instead. The key file is not opened. The configuration is shown
//! without the values of lines that look as if they had a secret, and nothing anywhere is shown that
//! is as long as half a key and of the same digits.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::config;
use crate::control::client::{self, Command as Question};
use crate::control::response::Status;
use crate::control::selection::Selection;
use crate::exit::Exit;
use crate::redaction::{redact, withhold_keys};

use super::{Streams, outside};

/// A program that has not ended by then is killed, and its part is missing.
const PROGRAM_WITHIN: Duration = Duration::from_secs(10);
/// Longest part.
const PART_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// So many groups are explained; the status has all.
const EXPLAINED_MAX: usize = 64;
/// Lines of the journal.
const JOURNAL_LINES: &str = "2000";
/// Words that stand beside secrets.
const SECRET_WORDS: [&str; 7] =
    ["pass", "secret", "token", "auth", "credential", "bearer", "private"];
/// Programs of the host, each a part of its own.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("date", &["--utc", "--iso-8601=seconds"]),
    ("uptime", &[]),
    ("systemctl", &["show", "buoy.service", "--no-pager"]),
    ("systemctl", &["cat", "buoy.service", "--no-pager"]),
    ("ip", &["-d", "address", "show"]),
    ("ip", &["-s", "link", "show"]),
    ("ip", &["-4", "route", "show", "table", "all"]),
    ("ip", &["-6", "route", "show", "table", "all"]),
    ("ip", &["-4", "rule", "show"]),
    ("ip", &["-6", "rule", "show"]),
    ("ip", &["neighbour", "show"]),
    (
        "journalctl",
        &["-u", "buoy.service", "-n", JOURNAL_LINES, "--no-pager", "-o", "short-iso-precise"],
    ),
];
/// Files of the host, each a part of its own.
const FILES: [&str; 5] = [
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/version",
    "/etc/os-release",
    "/proc/loadavg",
    "/proc/pressure/cpu",
];
/// Settings of the kernel, below `/proc/sys`, that decide what becomes of an address.
const SETTINGS: [&str; 6] = [
    "net/ipv4/ip_nonlocal_bind",
    "net/ipv4/ip_forward",
    "net/ipv6/ip_nonlocal_bind",
    "net/ipv6/bindv6only",
    "kernel/sched_rt_runtime_us",
    "kernel/sched_rt_period_us",
];
/// Those of each link.
const LINK_SETTINGS: [(&str, &[&str]); 2] = [
    (
        "net/ipv4/conf",
        &[
            "accept_local",
            "arp_accept",
            "arp_announce",
            "arp_filter",
            "arp_ignore",
            "arp_notify",
            "forwarding",
            "promote_secondaries",
            "rp_filter",
        ],
    ),
    (
        "net/ipv6/conf",
        &["accept_dad", "accept_ra", "dad_transmits", "disable_ipv6", "forwarding", "use_tempaddr"],
    ),
];

/// Where things are.
pub(super) struct Wanted {
    /// The configuration.
    pub(super) config: PathBuf,
    /// The daemon.
    pub(super) socket: PathBuf,
    /// The file to make; standard output if there is none.
    pub(super) output: Option<PathBuf>,
}

/// Writes the report.
pub(super) fn run(wanted: &Wanted, streams: &mut Streams<'_>) -> io::Result<Exit> {
    let Some(path) = &wanted.output else {
        streams.out.write_all(text(wanted).as_bytes())?;
        return Ok(Exit::Done);
    };
    // Made first, so that a refusal comes at once. For the owner only: it has what the journal has.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made.and_then(|mut file| file.write_all(text(wanted).as_bytes())) {
        Ok(()) => {
            let path = path.display();
            writeln!(streams.out, "wrote {path}; look through it before you send it")?;
            Ok(Exit::Done)
        }
        Err(error) => {
            writeln!(streams.err, "buoy: {}: {error}", path.display())?;
            Ok(Exit::Failed)
        }
    }
}

/// Returns all parts.
fn text(wanted: &Wanted) -> String {
    let mut report = Report(format!("report of buoy {}\n", env!("CARGO_PKG_VERSION")));
    let config = config::read(&wanted.config).map_err(|refused| refused.to_string());
    let title = format!("configuration {}", wanted.config.display());
    report.part(&title, config.map(|text| without_secrets(&text)));
    ask_daemon(&mut report, &wanted.socket);
    for file in FILES {
        report.part(file, fs::read_to_string(file).map_err(|error| error.to_string()));
    }
    report.part("sysctl", Ok(settings(Path::new("/proc/sys"))));
    for (program, arguments) in PROGRAMS {
        report.part(&format!("{program} {}", arguments.join(" ")), run_program(program, arguments));
    }
    report.part("nft list table, of buoy", tables());
    report.0
}

fn ask_daemon(report: &mut Report, socket: &Path) {
    let ask = |question: Question, json| {
        let mut answer = Vec::new();
        client::run(&question, socket, json, &mut answer).map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    report.part("buoy status", ask(Question::Status(Selection::default()), false));
    let status = ask(Question::Status(Selection::default()), true);
    let known: Option<Status> =
        status.as_ref().ok().and_then(|text| serde_json::from_str(text).ok());
    report.part("buoy status --json", status);
    let groups = known.map(|status| status.groups).unwrap_or_default();
    for group in groups.iter().take(EXPLAINED_MAX) {
        let name = format!("{}/{}", group.pool, group.group);
        report.part(
            &format!("buoy explain {name}"),
            ask(Question::Explain { group: name.clone() }, false),
        );
    }
    if groups.len() > EXPLAINED_MAX {
        let left = groups.len() - EXPLAINED_MAX;
        report.part("buoy explain", Err(format!("{left} more groups are not explained here")));
    }
    let (since, group) = (None, None);
    report.part("buoy events", ask(Question::Events { since, group, follow: false }, false));
}

/// The parts so far.
struct Report(String);

impl Report {
    fn part(&mut self, title: &str, text: Result<String, String>) {
        let text = text.unwrap_or_else(|why| format!("not available: {why}"));
        let text = withhold_keys(&text);
        self.0.push_str(&format!("\n==== {title}\n{}\n", text.trim_end()));
    }
}

fn run_program(program: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    let output = outside::output(command.args(arguments), PROGRAM_WITHIN, PART_BYTES_MAX)?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Returns the tables of all daemons of this host.
fn tables() -> Result<String, String> {
    let mut text = String::new();
    for line in run_program("nft", &["list", "tables"])?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["table", family, name] = words[..] else { continue };
        if name.starts_with("buoy_") {
            text.push_str(&run_program("nft", &["list", "table", family, name])?);
        }
    }
    if text.is_empty() { Err("there is no such table".to_owned()) } else { Ok(text) }
}

/// Returns a line for each setting that the kernel has.
fn settings(root: &Path) -> String {
    let mut text = String::new();
    let mut add = |name: &str| {
        if let Ok(value) = fs::read_to_string(root.join(name)) {
            text.push_str(&format!("{} = {}\n", name.replace('/', "."), value.trim()));
        }
    };
    SETTINGS.iter().for_each(|name| add(name));
    for (directory, names) in LINK_SETTINGS {
        let links = fs::read_dir(root.join(directory)).into_iter().flatten().flatten();
        let mut links: Vec<_> = links.map(|entry| entry.file_name()).collect();
        links.sort();
        for link in links {
            for name in names {
                add(&format!("{directory}/{}/{name}", link.to_string_lossy()));
            }
        }
    }
    text
}

/// Takes out of a configuration what may be a secret: long runs of hex digits, what stands before the
/// host in a URL, and the value of every line that has a word for a secret.
fn without_secrets(text: &str) -> String {
    let mut shown = String::new();
    for line in text.lines() {
        let line = redact(line);
        let small = line.to_ascii_lowercase();
        let suspect = SECRET_WORDS.iter().any(|word| small.contains(word));
        let with_user = line.contains("://") && line.contains('@');
        if suspect || with_user {
            let key = line.split_once('=').map_or("", |(key, _)| key.trim_end());
            let key = if key.trim_start().starts_with('#') { "#" } else { key };
            shown.push_str(&format!("{key} = (removed)\n"));
        } else {
            shown.push_str(&line);
            shown.push('\n');
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "5f0c93b75f0c93b75f0c93b75f0c93b75f0c93b75f0c93b75f0c93b75f0c93b7";

    #[test]
    fn no_key_and_no_secret_is_in_it_and_what_is_missing_says_why() {
        let directory = std::env::temp_dir().join(format!("buoy-report-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (config, key) = (directory.join("buoy.toml"), directory.join("cluster.key"));
        fs::write(&key, KEY).unwrap();
        fs::write(
            &config,
            format!(
                "[cluster]\nkey_file = \"cluster.key\" # {KEY}\n\n[[check]]\nprogram = [\"psql\", \
                 \"--password=hunter2\"]\nurl = \"http://anna:hunter3@db/\"\n# token hunter4\n\
                 PASSWORD = 'hunter5'\n{KEY}\n  \"Authorization: hunter6\",\n"
            ),
        )
        .unwrap();
        let socket = directory.join("control.sock");
        let text = text(&Wanted { config: config.clone(), socket, output: None });
        for secret in [&KEY[..8], "hunter"] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
        for part in [
            "key_file = \"cluster.key\" # (64 hex digits, not shown)\n",
            "program = (removed)\n",
            "==== buoy status\nnot available: ",
            "==== /proc/sys/kernel/osrelease\n",
            "net.ipv4.conf.all.rp_filter = ",
            "==== nft list table, of buoy\n",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn no_part_shows_a_key() {
        let mut report = Report(String::new());
        report.part("journal", Ok(format!("key {KEY}, time 1709210096123\n")));
        report.part("other", Err(format!("cannot open {KEY}")));
        assert_eq!(
            report.0,
            "\n==== journal\nkey (64 hex digits, not shown), time 1709210096123\n\n==== other\nnot \
             available: cannot open (64 hex digits, not shown)\n"
        );
    }
}
