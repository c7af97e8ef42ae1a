//! Checks what packages ship: the systemd unit, its user and directories, the manual pages.
//!
//! The unit is compared with what buoy relies on (capabilities, directories, time limits of the
//! protocol), with `CONTRACT` below, and with the executable itself, so that no file can promise an
//! option or a command that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use buoy::protocol::Timing;

#[path = "packaging/hardening.rs"]
mod hardening;
#[path = "packaging/metadata.rs"]
mod metadata;

/// Commands that users, scripts and unit files rely on, with their own options.
const CONTRACT: [(&str, &[&str]); 21] = [
    ("run", &["--config", "--node", "--runtime-dir", "--state-dir", "--log-format"]),
    ("status", &["--pool", "--node", "--problems", "--watch"]),
    ("top", &[]),
    ("events", &["--follow", "--group", "--since", "--all-nodes", "--via"]),
    ("explain", &[]),
    ("plan", &["--without"]),
    ("drain", &["--no-wait", "--if-safe", "--keep", "--for", "--persist", "--reason"]),
    ("ready", &["--soak", "--timeout"]),
    ("hold", &["--for", "--reason"]),
    (
        "upgrade",
        &[
            "--run",
            "--nodes",
            "--group",
            "--soak",
            "--timeout",
            "--keep",
            "--on-failure",
            "--rollback",
            "--dry-run",
            "--resume",
            "--abort",
        ],
    ),
    ("release", &[]),
    ("undrain", &["--no-wait"]),
    ("move", &[]),
    ("check", &["--restart", "--without-key"]),
    ("completions", &[]),
    ("keygen", &[]),
    ("reload", &[]),
    ("serve", &["--listen", "--allow-host", "--print", "--log-format"]),
    ("lab", &[]),
    ("report", &["--output"]),
    ("import", &["--node", "--cluster", "--output"]),
];
/// Options understood before and after every command.
const GLOBAL_OPTIONS: [&str; 3] = ["--config", "--socket", "--json"];
/// The daemon hands over within this time after SIGTERM.
const LEAVING_MAX: Duration = Duration::from_secs(2);

/// What confinement by Landlock needs of the filter of system calls.
const LANDLOCK: &str = "landlock_create_ruleset landlock_add_rule landlock_restrict_self";

/// Section and key of a unit file, with all values given, in order.
type Unit = BTreeMap<(String, String), Vec<String>>;

#[test]
fn unit_has_every_directive_buoy_relies_on() {
    let unit = unit();
    let required = [
        ("Unit", "StartLimitIntervalSec", "0"),
        ("Unit", "Wants", "network-online.target"),
        ("Service", "Type", "notify"),
        ("Service", "Restart", "always"),
        ("Service", "RestartPreventExitStatus", "2 3"),
        ("Service", "KillMode", "process"),
        ("Service", "RestartKillSignal", "SIGUSR2"),
        ("Service", "User", "buoy"),
        ("Service", "Group", "buoy"),
        ("Service", "ExecStartPost", "-+/usr/bin/chgrp -h buoy-observe /run/buoy/status.sock"),
        ("Service", "UMask", "0077"),
        ("Service", "AmbientCapabilities", "CAP_NET_ADMIN CAP_NET_RAW"),
        ("Service", "CapabilityBoundingSet", "CAP_NET_ADMIN CAP_NET_RAW"),
        ("Service", "NoNewPrivileges", "yes"),
        ("Service", "LimitRTPRIO", "10"),
        ("Service", "LimitMEMLOCK", "infinity"),
        ("Service", "LimitCORE", "0"),
        ("Service", "OOMScoreAdjust", "-900"),
        ("Service", "RuntimeDirectory", "buoy"),
        ("Service", "RuntimeDirectoryMode", "0751"),
        ("Service", "RuntimeDirectoryPreserve", "restart"),
        ("Service", "StateDirectory", "buoy"),
        ("Service", "StateDirectoryMode", "0750"),
        ("Service", "ProtectSystem", "strict"),
        ("Service", "ProtectHome", "yes"),
        ("Service", "MemoryDenyWriteExecute", "yes"),
        ("Service", "RestrictNamespaces", "yes"),
        ("Service", "SystemCallErrorNumber", "EPERM"),
        ("Service", "RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET"),
        ("Install", "WantedBy", "multi-user.target"),
    ];
    for (section, key, value) in required {
        assert_eq!(values(&unit, section, key), [value], "[{section}] {key}=");
    }
    for key in ["RestrictRealtime", "PrivateNetwork", "PrivateUsers", "DynamicUser"] {
        assert!(values(&unit, "Service", key).is_empty(), "{key}= would take away what buoy needs");
    }
    let calls = values(&unit, "Service", "SystemCallFilter");
    assert_eq!((calls[0].as_str(), calls[2].as_str()), ("@system-service", "capset"));
    assert_eq!(calls[3], LANDLOCK);
}

#[test]
fn the_page_may_read_the_status_and_nothing_else() {
    let web = parse_unit(&read("packaging/systemd/buoy-web.service"));
    let required = [
        ("DynamicUser", "yes"),
        ("SupplementaryGroups", buoy::control::server::OBSERVERS_GROUP),
        ("CapabilityBoundingSet", ""),
        ("AmbientCapabilities", ""),
        ("NoNewPrivileges", "yes"),
        ("InaccessiblePaths", "-/etc/buoy -/var/lib/buoy -/run/buoy/control.sock"),
        ("ProtectSystem", "strict"),
        ("PrivateDevices", "yes"),
        ("MemoryMax", "256M"),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
        ("IPAddressDeny", "any"),
        ("IPAddressAllow", "localhost"),
        ("MemoryDenyWriteExecute", "yes"),
    ];
    for (key, value) in required {
        assert_eq!(values(&web, "Service", key), [value], "{key}=");
    }
    assert_eq!(values(&web, "Service", "SystemCallFilter")[2], LANDLOCK);
    let line = &values(&web, "Service", "ExecStart")[0];
    let (command, options) = command_line(line).unwrap_or_else(|e| panic!("{e}"));
    let option = |name: &str| options.get(name).cloned().flatten();
    assert_eq!(command, "serve");
    assert_eq!(option("--listen").as_deref(), Some("127.0.0.1:4749"));
    assert_eq!(option("--socket").as_deref(), Some("/run/buoy/status.sock"));
    let groups = read("packaging/sysusers/buoy.conf");
    let group = buoy::control::server::OBSERVERS_GROUP;
    assert!(lines(&groups).any(|line| line[..2] == ["g", group]), "sysusers: no group {group}");
}

#[test]
fn the_name_server_may_bind_its_port_and_read_the_status() {
    let dns = parse_unit(&read("packaging/systemd/buoy-dns.service"));
    let required = [
        ("DynamicUser", "yes"),
        ("SupplementaryGroups", buoy::control::server::OBSERVERS_GROUP),
        ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
        ("AmbientCapabilities", "CAP_NET_BIND_SERVICE"),
        ("NoNewPrivileges", "yes"),
        ("InaccessiblePaths", "-/etc/buoy -/var/lib/buoy -/run/buoy/control.sock"),
        ("ProtectSystem", "strict"),
        ("MemoryMax", "256M"),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
        ("MemoryDenyWriteExecute", "yes"),
        // Not quoted, so that systemd splits the words of the variable.
        ("ExecStart", "/usr/bin/buoy dns $BUOY_DNS"),
    ];
    for (key, value) in required {
        assert_eq!(values(&dns, "Service", key), [value], "{key}=");
    }
}

#[test]
fn alert_rules_tell_the_stories_of_their_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus");
    let output = promtool(&folder, &["test", "rules", "buoy.rules.test.yml"]);
    assert!(output.contains("SUCCESS"), "{output}");
}

#[test]
fn queries_of_the_dashboard_are_understood() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("packaging/grafana/buoy.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    for (number, query) in queries.enumerate() {
        let query = query["expr"].as_str().expect("a query").replace("$__rate_interval", "5m");
        rules.push_str(&format!("  - record: buoy:query:{number}\n    expr: {query:?}\n"));
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(folder.join("dashboard.yml"), rules).expect("a file");
    let output = promtool(folder, &["check", "rules", "dashboard.yml"]);
    assert!(output.contains("SUCCESS"), "{output}");
}

#[test]
fn the_list_of_metrics_is_the_one_that_is_served() {
    let documentation = read("docs/monitoring.md");
    let list = buoy::serve::metric_names();
    assert!(documentation.contains(&list), "docs/monitoring.md lacks the present list:\n{list}");
}

/// What promtool says, which comes with Debian's package prometheus.
fn promtool(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("promtool").current_dir(folder).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("promtool (package prometheus): {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    said
}

#[test]
fn the_template_is_the_unit_but_for_its_paths() {
    let text = read("packaging/systemd/buoy.service")
        .replace("/etc/buoy/buoy.toml", "/etc/buoy/%i.toml")
        .replace("/run/buoy", "/run/buoy-%i")
        .replace("RuntimeDirectory=buoy", "RuntimeDirectory=buoy-%i")
        .replace("StateDirectory=buoy", "StateDirectory=buoy-%i");
    let mut expected = parse_unit(&text);
    let mut template = parse_unit(&read("packaging/systemd/buoy@.service"));
    let description = ("Unit".to_owned(), "Description".to_owned());
    assert_ne!(expected.remove(&description), template.remove(&description));
    assert_eq!(template, expected, "left: buoy@.service, right: buoy.service with its paths");
}

#[test]
fn addresses_are_released_before_the_network_and_the_balancer_go() {
    let unit = unit();
    let after = values(&unit, "Unit", "After").join(" ");
    for name in ["network.target", "network-online.target", "haproxy.service", "nginx.service"] {
        assert!(after.split(' ').any(|one| one == name), "After={name} is missing: {after}");
    }
}

#[test]
fn times_of_the_unit_fit_those_of_the_protocol() {
    let unit = unit();
    let time = |key: &str| duration(&values(&unit, "Service", key)[0]);
    let detection = Timing::LAN.detection();
    assert!(time("RestartSec") < detection, "a restart should sweep before peers take over");
    assert!(time("WatchdogSec") > Timing::VM.detection(), "the watchdog must not end a busy host");
    assert!(time("TimeoutStopSec") > LEAVING_MAX, "the hand-over at stop would be cut short");
    let hooks = buoy::daemon::HOOKS_END_WITHIN + Duration::from_millis(500);
    assert!(time("TimeoutStopSec") > hooks, "hooks would be killed unnamed");
}

#[test]
fn command_lines_of_the_unit_keep_to_the_contract() {
    let unit = unit();
    for (key, expected) in [("ExecStart", "run"), ("ExecReload", "reload")] {
        let line = values(&unit, "Service", key)[0].clone();
        let (command, options) = command_line(&line).unwrap_or_else(|e| panic!("{key}: {e}"));
        assert_eq!(command, expected, "{key}={line}");
        for (option, value) in options {
            let place = match option.as_str() {
                "--config" => "/etc/buoy/buoy.toml",
                "--runtime-dir" => "/run/buoy",
                "--socket" => "/run/buoy/control.sock",
                other => panic!("{key}: {other} is not checked here, say what it must be"),
            };
            assert_eq!(value.as_deref(), Some(place), "{key}={line}");
        }
    }
    let condition = &values(&unit, "Unit", "ConditionPathExists")[0];
    assert_eq!(condition, "/etc/buoy/buoy.toml");
}

#[test]
fn command_lines_outside_the_contract_are_refused() {
    for bad in [
        "/usr/sbin/buoy run",
        "/usr/bin/buoy",
        "/usr/bin/buoy start",
        "/usr/bin/buoy run --conf /x",
        "/usr/bin/buoy reload --runtime-dir /run/buoy",
        "/usr/bin/buoy run now",
    ] {
        assert!(command_line(bad).is_err(), "{bad} was accepted");
    }
}

#[test]
fn executable_has_every_command_and_option_of_the_contract() {
    for (command, options) in CONTRACT {
        let help = help(&[command, "--help"]);
        for option in options.iter().chain(&GLOBAL_OPTIONS) {
            let known = help.split_whitespace().any(|word| word.trim_end_matches(',') == *option);
            assert!(known, "buoy {command} --help does not name {option}:\n{help}");
        }
    }
}

#[test]
fn manual_and_operations_name_every_command() {
    let manual = read("packaging/man/buoy.8.md");
    let operations = read("docs/operations.md");
    for (command, options) in CONTRACT {
        assert!(manual.contains(&format!("**{command}**")), "buoy.8.md: {command} is missing");
        let named = operations.contains(&format!("`buoy {command}"));
        assert!(named, "docs/operations.md: {command} is missing");
        for option in options.iter().chain(&GLOBAL_OPTIONS) {
            assert!(manual.contains(&format!("**{option}**")), "buoy.8.md: {option} is missing");
        }
    }
}

#[test]
fn manual_of_the_file_has_the_keys_of_the_reference_and_no_others() {
    let text = read("config/buoy.reference.toml");
    let reference: toml::Table = toml::from_str(&text).expect("the reference is TOML");
    let mut known = BTreeSet::new();
    for (section, value) in &reference {
        let tables = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        let brackets =
            if value.is_array() { format!("[[{section}]]") } else { format!("[{section}]") };
        let keys = tables.iter().filter_map(toml::Value::as_table).flat_map(toml::Table::keys);
        known.extend(keys.map(|key| format!("{brackets} {key}")));
    }
    let mut described = BTreeSet::new();
    let mut section = String::new();
    for line in read("packaging/man/buoy.toml.5.md").lines() {
        if let Some(title) = line.strip_prefix("# ") {
            title.clone_into(&mut section);
        } else if line.starts_with("**") && section.starts_with('[') && !line.contains("buoy") {
            let keys = line.split("**").skip(1).step_by(2);
            described.extend(keys.map(|key| format!("{section} {key}")));
        }
    }
    assert!(known.len() > 15, "only {} keys were found in the reference", known.len());
    assert_eq!(described, known, "left: packaging/man/buoy.toml.5.md, right: the reference");
}

#[test]
fn user_and_directories_are_those_of_the_unit() {
    let unit = unit();
    let user = &values(&unit, "Service", "User")[0];
    let users = read("packaging/sysusers/buoy.conf");
    assert!(lines(&users).any(|line| line[..2] == ["u", user]), "sysusers: no user {user}");
    let places = read("packaging/tmpfiles/buoy.conf");
    let expected = [
        ["d", "/etc/buoy", "0750", "root", user],
        ["z", "/etc/buoy/buoy.toml", "0640", "root", user],
        ["z", "/etc/buoy/cluster.key", "0600", user, user],
    ];
    let found: Vec<Vec<&str>> = lines(&places).map(|line| line[..5].to_vec()).collect();
    assert_eq!(found, expected);
    // The socket of Debian's HAProxy; packaging/test uses it.
    assert!(lines(&users).any(|line| line == ["m", user, "haproxy"]), "sysusers: HAProxy's group");
}

fn read(path: &str) -> String {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(full).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Fields of all lines that are not comments.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().collect())
}

fn unit() -> Unit {
    parse_unit(&read("packaging/systemd/buoy.service"))
}

fn parse_unit(text: &str) -> Unit {
    let mut unit = Unit::new();
    let mut section = String::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("no directive: {line}"));
        unit.entry((section.clone(), key.to_owned())).or_default().push(value.to_owned());
    }
    unit
}

fn values(unit: &Unit, section: &str, key: &str) -> Vec<String> {
    unit.get(&(section.to_owned(), key.to_owned())).cloned().unwrap_or_default()
}

/// A time span as systemd writes it; only the units the file uses.
fn duration(text: &str) -> Duration {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let number = digits.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    match &text[digits.len()..] {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        other => panic!("{text}: unit {other:?} is not known here"),
    }
}

/// Command and options, with their values, of a line that keeps to the contract.
fn command_line(line: &str) -> Result<(String, BTreeMap<String, Option<String>>), String> {
    let mut words = line.split(' ');
    if words.next() != Some("/usr/bin/buoy") {
        return Err("does not start /usr/bin/buoy".to_owned());
    }
    let mut command = None;
    let mut options = BTreeMap::new();
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            let value = if word == "--json" { None } else { words.next().map(str::to_owned) };
            options.insert(word.to_owned(), value);
        } else if command.replace(word).is_some() {
            return Err(format!("{word} is one word too many"));
        }
    }
    let command = command.ok_or("has no command")?;
    let (_, own) = CONTRACT
        .iter()
        .find(|(name, _)| *name == command)
        .ok_or_else(|| format!("{command} is not a command"))?;
    let is_known = |option: &&str| own.contains(option) || GLOBAL_OPTIONS.contains(option);
    match options.keys().find(|option| !is_known(&option.as_str())) {
        Some(option) => Err(format!("{command} has no option {option}")),
        None => Ok((command.to_owned(), options)),
    }
}

/// What the executable prints on standard output.
fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_buoy")).args(arguments).output();
    let output = output.expect("the executable was built for this test");
    assert!(output.status.success(), "buoy {arguments:?} ended with {}", output.status);
    String::from_utf8(output.stdout).expect("help is text")
}
