//! Guards the shape of the source: who may name whom, and what the house style bans.
//!
//! ```text
//!  config -----------> protocol <-- wire <-- transport
//!  config, kernel ---> vrrp routing          (both name protocol)
//!  config, control --> redaction
//!  keepalived -------> config, redaction
//!  kernel, control --> protocol              (transport names protocol too)
//!  checks, hooks ----> config programs       (checks names protocol, kernel and control too)
//!  balancer ---------> config
//!  daemon -----------> all of these, control, logging
//!  lab --------------> config
//!  kernel, lab ------> netlink
//!  serve, daemon ----> confinement
//!  serve ------------> control logging programs
//!  top --------------> control
//!  cli --------------> everything            (so may main.rs and lib.rs)
//! ```
//!
//! A failure lists `file:line` of every place. To add an arrow or a crate, change the table below
//! and say in the commit why; a new module of `src` needs a line of its own. The rules themselves
//! are tried on bad source in the files beside this one, so that they are known to be able to fail.

use std::path::Path;

use self::arrows::{EVERYTHING, Module};
use self::machines::Machine;
use self::source::{Fault, Source};

#[path = "architecture/arrows.rs"]
mod arrows;
#[path = "architecture/machines.rs"]
mod machines;
#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/style.rs"]
mod style;

/// The arrows: left may name right, nothing else.
const TABLE: &[Module] = &[
    // Decides. Given the same events it must do the same again: no world, no clock, no log, and no
    // map whose order differs from run to run.
    Module {
        name: "protocol",
        modules: &[],
        crates: &[],
        refused: &[
            "env",
            "fs",
            "io",
            "os",
            "process",
            "thread",
            "HashMap",
            "HashSet",
            "SystemTime",
            "TcpListener",
            "TcpStream",
            "UdpSocket",
        ],
    },
    // Bytes to messages and back, for one key; the clock and the entropy are arguments.
    Module {
        name: "wire",
        modules: &["protocol"],
        crates: &["chacha20poly1305", "hkdf", "sha2"],
        refused: &[
            "env",
            "fs",
            "os",
            "process",
            "thread",
            "SystemTime",
            "TcpListener",
            "TcpStream",
            "UdpSocket",
        ],
    },
    // Advertisements of VRRP to decisions and back; no socket, no clock.
    Module {
        name: "vrrp",
        modules: &["protocol"],
        crates: &[],
        refused: &[
            "env",
            "fs",
            "io",
            "os",
            "process",
            "thread",
            "HashMap",
            "HashSet",
            "SystemTime",
            "TcpListener",
            "TcpStream",
            "UdpSocket",
        ],
    },
    // Routes and rules of groups, as values.
    Module {
        name: "routing",
        modules: &["protocol"],
        crates: &[],
        refused: &["env", "fs", "io", "os", "process", "thread", "HashMap", "HashSet"],
    },
    // One file to one checked value.
    Module {
        name: "config",
        modules: &["protocol", "redaction", "routing", "vrrp"],
        crates: &["nix", "serde", "sha2", "toml"],
        refused: &["process", "thread"],
    },
    // Files of another program to a file of ours, which `config` then checks; the caller reads them.
    Module {
        name: "keepalived",
        modules: &["config", "redaction"],
        crates: &["toml"],
        refused: &[
            "env",
            "fs",
            "io",
            "os",
            "process",
            "thread",
            "SystemTime",
            "HashMap",
            "HashSet",
        ],
    },
    Module {
        name: "transport",
        modules: &["wire", "protocol"],
        crates: &["nix", "socket2", "tracing"],
        refused: &["fs", "process", "thread"],
    },
    // Messages to Linux and back, for those two that send them.
    Module {
        name: "netlink",
        modules: &[],
        crates: &["netlink_sys"],
        refused: &["env", "fs", "process", "thread", "SystemTime"],
    },
    // The only one that changes the host and puts frames on the link.
    Module {
        name: "kernel",
        modules: &["netlink", "protocol", "routing", "vrrp"],
        crates: &[
            "futures",
            "netlink_packet_core",
            "netlink_packet_route",
            "netlink_packet_sock_diag",
            "netlink_sys",
            "nix",
            "pnet_base",
            "pnet_datalink",
            "rtnetlink",
            "socket2",
            "tokio",
            "tracing",
        ],
        refused: &["process"],
    },
    // Runs programs of others so that nothing they do can harm.
    Module { name: "programs", modules: &[], crates: &["caps", "nix", "tokio"], refused: &[] },
    // Looks at servers, files and processes; writes nothing. Counts in the form of the status.
    Module {
        name: "checks",
        modules: &["config", "control", "kernel", "programs", "protocol"],
        crates: &["futures", "nix", "tokio", "tokio_rustls", "zbus"],
        refused: &["SystemTime"],
    },
    // Tells the balancer of this host of a drain.
    Module { name: "balancer", modules: &["config"], crates: &["tokio"], refused: &["SystemTime"] },
    Module {
        name: "hooks",
        modules: &["config", "programs"],
        crates: &["nix", "tokio"],
        refused: &["SystemTime"],
    },
    Module {
        name: "control",
        modules: &["protocol", "redaction"],
        crates: &["nix", "serde", "serde_json", "socket2", "tokio", "tracing"],
        refused: &["process"],
    },
    Module {
        name: "daemon",
        modules: &[
            "balancer",
            "checks",
            "config",
            "confinement",
            "control",
            "hooks",
            "kernel",
            "logging",
            "programs",
            "protocol",
            "transport",
            "vrrp",
            "wire",
        ],
        crates: &[
            "nix",
            "serde",
            "serde_json",
            "sha2",
            "socket2",
            "thread_priority",
            "tokio",
            "tracing",
        ],
        refused: &[],
    },
    // Sees buoy as a user does: by its executable and its file.
    Module {
        name: "lab",
        modules: &["config", "netlink"],
        crates: &[
            "netlink_packet_core",
            "netlink_packet_route",
            "netlink_sys",
            "nix",
            "serde_json",
            "socket2",
            "tokio",
        ],
        refused: &[],
    },
    // Another process than the daemon: sees it as serve does, and the network by DNS.
    Module {
        name: "dns",
        modules: &["control", "logging", "programs", "serve"],
        crates: &[
            "domain",
            "http_body_util",
            "hyper",
            "hyper_util",
            "serde_json",
            "tokio",
            "tracing",
        ],
        refused: &[],
    },
    // Another process than the daemon: sees it by its status socket, and the network by HTTP.
    Module {
        name: "serve",
        modules: &["confinement", "control", "logging", "programs"],
        crates: &[
            "axum",
            "futures",
            "hyper",
            "hyper_util",
            "prometheus_client",
            "serde",
            "serde_json",
            "tokio",
            "tracing",
        ],
        refused: &[],
    },
    // Drives a cluster as a person does: by the control socket, and by running a command. Hears the
    // signals of its terminal by tokio.
    Module {
        name: "upgrade",
        modules: &["config", "control"],
        crates: &["nix", "serde_json", "tokio"],
        refused: &["fs"],
    },
    // Another process as well, at a terminal: sees the daemon by its control socket.
    Module {
        name: "top",
        modules: &["control"],
        crates: &["nix", "ratatui", "serde_json"],
        refused: &["fs", "process"],
    },
    Module {
        name: "logging",
        modules: &[],
        crates: &["tracing", "tracing_appender", "tracing_subscriber"],
        refused: &[],
    },
    // Landlock, for processes that start no programs of others.
    Module { name: "confinement", modules: &[], crates: &["landlock"], refused: &[] },
    Module { name: "exit", modules: &[], crates: &[], refused: &[] },
    // What every message that repeats what was read passes through.
    Module { name: "redaction", modules: &[], crates: &[], refused: &["env", "fs", "io", "os"] },
    Module { name: "cli", modules: EVERYTHING, crates: EVERYTHING, refused: &[] },
];

/// The closed parts of the core, the lowest first: each names those that it says and nothing else of
/// `protocol`, and none of its files names itself by way of others.
const MACHINES: &[Machine] = &[
    Machine { name: "types", names: &[] },
    Machine { name: "env", names: &["types"] },
    Machine { name: "bucket", names: &["types"] },
    Machine { name: "announcements", names: &["types", "bucket"] },
    Machine { name: "claims", names: &["types", "env"] },
    Machine { name: "quorum", names: &["types", "env"] },
    Machine { name: "group", names: &["types"] },
    Machine { name: "kernel_work", names: &["types", "env", "group"] },
    Machine { name: "standing_orders", names: &["types", "env"] },
    Machine { name: "preservation", names: &["types", "env", "group"] },
    Machine { name: "paths", names: &["types", "env"] },
    Machine { name: "adaptive_timing", names: &["types"] },
];

/// Fewer files than this were not read from the right place.
const SOURCES_MIN: usize = 20;

#[test]
fn modules_name_only_what_their_arrows_allow() {
    let crates = dependencies();
    let faults = sources().into_iter().flat_map(|source| arrows::check(&source, TABLE, &crates));
    report(faults.collect());
}

#[test]
fn arrows_make_no_circle() {
    assert_eq!(arrows::find_circle(TABLE), None);
}

#[test]
fn closed_parts_of_the_core_name_only_what_their_arrows_allow() {
    assert_eq!(machines::find_disorder(MACHINES), None);
    report(machines::check(&sources(), MACHINES));
}

#[test]
fn house_style_is_kept() {
    report(sources().iter().flat_map(style::check).collect());
}

#[test]
fn files_beside_the_source_are_ascii() {
    let mut faults = Vec::new();
    for path in [
        "Cargo.toml",
        "clippy.toml",
        "deny.toml",
        "rustfmt.toml",
        ".ci/run",
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "docs/architecture.md",
        "docs/benchmark.md",
        "docs/concepts.md",
        "docs/dns.md",
        "docs/installation.md",
        "docs/invariants.md",
        "docs/limits.md",
        "docs/operations.md",
        "docs/testing.md",
        "packaging/systemd/buoy.service",
        "packaging/systemd/buoy-dns.service",
        "packaging/systemd/buoy-web.service",
        "src/serve/live.js",
        "src/serve/style.css",
    ] {
        let text = read(path);
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_ascii()) {
            faults.push(Source::new(path, "").fault(index + 1, format!("not ASCII: {line}")));
        }
    }
    report(faults);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn sources() -> Vec<Source> {
    let sources = source::read_all(root());
    assert!(sources.len() >= SOURCES_MIN, "only {} Rust files were found", sources.len());
    sources
}

/// Names of all dependencies, as source spells them; the crate itself is none.
fn dependencies() -> Vec<String> {
    let file: toml::Table = toml::from_str(&read("Cargo.toml")).expect("Cargo.toml is TOML");
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = sections.iter().filter_map(|section| file.get(*section)?.as_table());
    let names = tables.flat_map(|table| table.keys()).filter(|name| *name != "buoy");
    let names: Vec<String> = names.map(|name| name.replace('-', "_")).collect();
    assert!(names.len() > 5, "Cargo.toml: only {} dependencies were found", names.len());
    names
}

fn report(faults: Vec<Fault>) {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), lines.join("\n"));
}
