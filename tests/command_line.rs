//! The real executable, as users and scripts call it: what it prints where, and its exit codes.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;

#[path = "command_line/answers.rs"]
mod answers;
#[path = "command_line/restart.rs"]
mod restart;

const COMMANDS: [&str; 21] = [
    "run",
    "status",
    "events",
    "explain",
    "plan",
    "drain",
    "undrain",
    "move",
    "check",
    "import",
    "keygen",
    "reload",
    "serve",
    "lab",
    "ready",
    "hold",
    "release",
    "upgrade",
    "completions",
    "top",
    "report",
];

const GOOD: &str = "[cluster]\nname = \"edge\"\nkey_file = \"cluster.key\"\n\
    [[node]]\nname = \"lb1\"\naddresses = [\"192.0.2.11\"]\n\
    [[node]]\nname = \"lb2\"\naddresses = [\"192.0.2.12\"]\nweight = 2\n\
    [[pool]]\nname = \"web\"\nvips = [\"192.0.2.100\", [\"192.0.2.101\", \"2001:db8::101\"]]\n";

fn directory(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("command_line").join(test);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// A directory with a good file, a bad one, and a key.
fn with_files(test: &str) -> PathBuf {
    let path = directory(test);
    fs::write(path.join("good.toml"), GOOD).unwrap();
    let bad = GOOD.replace("weight", "wieght").replace("192.0.2.100", "192.0.2.300");
    fs::write(path.join("bad.toml"), bad).unwrap();
    assert_eq!(code(&buoy(&path, &["keygen", "cluster.key"])), 0);
    path
}

fn buoy(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_buoy"));
    command.current_dir(directory).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn check_of_a_good_file_says_what_it_means() {
    let here = with_files("check_good");
    let output = buoy(&here, &["check", "good.toml"]);
    assert_eq!((code(&output), err(&output).as_str()), (0, ""));
    let said = out(&output);
    for part in ["good.toml is valid", "2 nodes", "2 groups with 3 addresses", "300ms", "lb2"] {
        assert!(said.contains(part), "{part:?} is missing in\n{said}");
    }
    let output = buoy(&here, &["--config", "good.toml", "check"]);
    assert_eq!((code(&output), out(&output)), (0, said.clone()));
    let output = buoy(&here, &["check", "--config", "good.toml"]);
    assert_eq!((code(&output), out(&output)), (0, said));
}

#[test]
fn check_of_a_bad_file_lists_all_faults_and_exits_with_3() {
    let here = with_files("check_bad");
    let output = buoy(&here, &["check", "bad.toml"]);
    assert_eq!((code(&output), out(&output).as_str()), (3, ""));
    let said = err(&output);
    for part in ["2 faults", "line 10: node[1].wieght", "line 13: pool[0].vips[0]", "\"weight\""] {
        assert!(said.contains(part), "{part:?} is missing in\n{said}");
    }
    let output = buoy(&here, &["check", "absent.toml"]);
    assert_eq!(code(&output), 3);
    assert!(err(&output).contains("No such file"), "{}", err(&output));
}

#[test]
fn json_is_understood_before_and_after_the_command() {
    let here = with_files("check_json");
    for arguments in [["--json", "check", "bad.toml"], ["check", "bad.toml", "--json"]] {
        let output = buoy(&here, &arguments);
        assert_eq!((code(&output), err(&output).as_str()), (3, ""), "{arguments:?}");
        let said = json(&output);
        assert_eq!(said["valid"], false);
        let faults = said["faults"].as_array().unwrap();
        assert_eq!(faults.len(), 2);
        let fault = &faults[1];
        assert_eq!((&fault["line"], &fault["key"]), (&13.into(), &"pool[0].vips[0]".into()));
        assert_eq!(fault["value"], "\"192.0.2.300\"");
        for field in ["problem", "remedy"] {
            assert!(fault[field].as_str().is_some_and(|text| !text.is_empty()), "{fault}");
        }
    }
    let output = buoy(&here, &["--json", "check", "good.toml"]);
    let said = json(&output);
    assert_eq!((code(&output), &said["valid"]), (0, &true.into()));
    assert_eq!(said["groups"][1]["addresses"][1], "2001:db8::101");
    assert_eq!(said["nodes"][1]["weight"], 2);
}

#[test]
fn a_key_exposed_to_others_is_refused() {
    let here = with_files("exposed");
    let key = here.join("cluster.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let output = buoy(&here, &["check", "good.toml"]);
    assert_eq!(code(&output), 3);
    assert!(err(&output).contains("chmod 600 cluster.key"), "{}", err(&output));
}

#[test]
fn keygen_writes_a_private_key_and_never_overwrites() {
    let here = directory("keygen");
    let output = buoy(&here, &["keygen", "a.key"]);
    assert_eq!((code(&output), err(&output).as_str()), (0, ""));
    let first = fs::read_to_string(here.join("a.key")).unwrap();
    assert_eq!(fs::metadata(here.join("a.key")).unwrap().permissions().mode() & 0o7777, 0o600);
    let line = first.lines().last().unwrap();
    let secret = line.split_whitespace().nth(1).unwrap();
    assert_eq!(secret.len(), 64);
    assert!(!out(&output).contains(secret), "the secret is on the screen");

    let output = buoy(&here, &["keygen", "a.key"]);
    assert_eq!((code(&output), out(&output).as_str()), (1, ""));
    assert!(err(&output).contains("a.key exists"), "{}", err(&output));
    assert_eq!(fs::read_to_string(here.join("a.key")).unwrap(), first);

    let output = buoy(&here, &["keygen", "--json", "b.key"]);
    assert_eq!((code(&output), &json(&output)["path"]), (0, &"b.key".into()));
    assert_ne!(fs::read_to_string(here.join("b.key")).unwrap(), first);

    let output = buoy(&here, &["keygen", "absent/c.key"]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("absent/c.key cannot be written"), "{}", err(&output));
}

const KEEPALIVED: &str = "vrrp_instance V {\n interface eth0\n virtual_router_id 51\n \
    priority 100\n authentication {\n  auth_type PASS\n  auth_pass s3cr3t\n }\n \
    virtual_ipaddress {\n  192.0.2.100/24\n }\n}\n";

#[test]
fn import_writes_a_file_that_check_takes_and_never_overwrites_one() {
    let here = with_files("import");
    fs::write(here.join("lb1.conf"), KEEPALIVED).unwrap();
    fs::write(here.join("lb2.conf"), KEEPALIVED.replace("100\n auth", "90\n auth")).unwrap();
    let both = ["import", "lb1=lb1.conf", "lb2=lb2.conf"];
    let nodes = ["--node", "lb1=192.0.2.11", "--node", "lb2=192.0.2.12"];
    let output = buoy(&here, &[&both[..], &nodes, &["--output", "new.toml"]].concat());
    assert_eq!((code(&output), out(&output).as_str()), (0, ""), "{}", err(&output));
    let report = err(&output);
    for part in ["carried over", "not needed", "auth_pass is dropped", "wrote new.toml"] {
        assert!(report.contains(part), "{part:?} is missing in\n{report}");
    }
    assert!(!report.contains("s3cr3t"), "{report}");
    let written = fs::read_to_string(here.join("new.toml")).unwrap();
    assert_eq!(code(&buoy(&here, &["check", "new.toml"])), 0, "{written}");

    let output = buoy(&here, &[&both[..], &nodes, &["--output", "new.toml"]].concat());
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("new.toml exists"), "{}", err(&output));
    assert_eq!(fs::read_to_string(here.join("new.toml")).unwrap(), written);

    let output = buoy(&here, &[&both[..], &nodes].concat());
    assert_eq!((code(&output), out(&output)), (0, written.clone()));
    let output = buoy(&here, &[&["--json"], &both[..], &nodes].concat());
    let said = json(&output);
    assert_eq!((code(&output), said["config"].as_str()), (0, Some(written.as_str())));
    // Nine statements in each file.
    assert_eq!(said["keywords"].as_array().unwrap().len(), 18, "{said}");
}

#[test]
fn import_refuses_all_faults_at_once_and_writes_nothing() {
    let here = directory("import_bad");
    let bad = KEEPALIVED.replace("51", "300").replace("192.0.2.100", "192.0.2.300");
    fs::write(here.join("k.conf"), bad).unwrap();
    let output = buoy(&here, &["import", "k=k.conf", "--output", "new.toml"]);
    assert_eq!((code(&output), out(&output).as_str()), (3, ""));
    let said = err(&output);
    for part in ["k.conf:3: virtual_router_id", "k.conf:10: virtual_ipaddress", "--node k=ADDRESS"]
    {
        assert!(said.contains(part), "{part:?} is missing in\n{said}");
    }
    assert!(!here.join("new.toml").exists());
    let output = buoy(&here, &["import", "k=k.conf", "--json"]);
    assert_eq!((code(&output), &json(&output)["imported"]), (3, &false.into()));
    assert_eq!(code(&buoy(&here, &["import", "absent.conf"])), 3);
}

#[test]
fn check_of_a_file_of_keepalived_says_what_it_is() {
    let here = directory("check_keepalived");
    fs::write(here.join("keepalived.conf"), KEEPALIVED).unwrap();
    let output = buoy(&here, &["check", "keepalived.conf"]);
    assert_eq!((code(&output), out(&output).as_str()), (3, ""));
    let said = err(&output);
    assert!(said.contains("is a configuration of keepalived"), "{said}");
    assert!(said.contains("buoy import keepalived.conf"), "{said}");
}

#[test]
fn wrong_usage_exits_with_2() {
    let here = directory("usage");
    let cases: [&[&str]; 15] = [
        &["import"],
        &["import", "a.conf", "--node", "lb1"],
        &["plan"],
        &["plan", "--without", "lb1", "--config", "a.toml"],
        &["lab", "--bench", "0"],
        &["lab", "a.toml", "--bench", "3"],
        &[],
        &["frobnicate"],
        &["check", "--frobnicate"],
        &["explain"],
        &["move", "10.0.0.1"],
        &["events", "--since", "10"],
        &["run", "--log-format", "xml"],
        &["check", "a.toml", "--config", "b.toml"],
        &["status", "surplus"],
    ];
    for arguments in cases {
        let output = buoy(&here, arguments);
        assert_eq!((code(&output), out(&output).as_str()), (2, ""), "{arguments:?}");
        assert!(err(&output).contains("--help"), "{arguments:?}: {}", err(&output));
    }
}

#[test]
fn every_command_explains_itself() {
    let here = directory("help");
    let output = buoy(&here, &["--help"]);
    assert_eq!((code(&output), err(&output).as_str()), (0, ""));
    let overview = out(&output);
    let mut all = overview.clone();
    for command in COMMANDS {
        assert!(overview.contains(&format!("\n  {command} ")), "{command} in\n{overview}");
        let output = buoy(&here, &[command, "--help"]);
        assert_eq!((code(&output), err(&output).as_str()), (0, ""), "{command}");
        let help = out(&output);
        for part in [&format!("Usage: buoy {command}"), "Example", "--config", "--json"] {
            assert!(help.contains(part), "{part:?} is missing in\n{help}");
        }
        let longest = help.lines().map(str::len).max().unwrap_or_default();
        assert!(longest <= 100, "{longest} columns in\n{help}");
        all.push_str(&format!("\n{}\n\n{help}", "=".repeat(72)));
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outputs/help.txt");
    if std::env::var_os("BUOY_BLESS").is_some() {
        fs::write(&golden, &all).unwrap();
    }
    assert_eq!(all, fs::read_to_string(&golden).unwrap_or_default(), "left: now, right: help.txt");
    let output = buoy(&here, &["--version"]);
    let version = format!("buoy {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((code(&output), out(&output)), (0, version));
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let here = with_files("pipe");
    for arguments in [["check", "good.toml"], ["check", "--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_buoy"));
        command.current_dir(&here).args(arguments).stdout(writer).stderr(Stdio::piped());
        let output = command.output().unwrap();
        assert_eq!((code(&output), err(&output).as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn without_a_daemon_every_question_exits_with_4() {
    let here = directory("unreachable");
    let cases: [&[&str]; 8] = [
        &["plan", "--without", "lb1,lb2"],
        &["status"],
        &["events", "--since", "10m"],
        &["explain", "10.0.0.1"],
        &["drain", "--no-wait"],
        &["undrain", "lb1"],
        &["move", "10.0.0.1", "lb1"],
        &["reload"],
    ];
    for words in cases {
        for arguments in
            [["--socket", "absent.sock"].as_slice(), &["--json", "--socket=absent.sock"]]
        {
            let output = buoy(&here, &[arguments, words].concat());
            assert_eq!(code(&output), 4, "{words:?}: {output:?}");
            assert!(err(&output).contains("absent.sock"), "{words:?}: {}", err(&output));
            let output = buoy(&here, &[words, arguments].concat());
            assert_eq!(code(&output), 4, "{words:?}: {output:?}");
        }
    }
}

/// A daemon that says one line, whatever it is asked; tells what it was asked.
fn canned(socket: &Path, answer: &'static str) -> JoinHandle<String> {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut question = String::new();
        BufReader::new(&stream).read_line(&mut question).unwrap();
        (&stream).write_all(answer.as_bytes()).unwrap();
        question
    })
}

#[test]
fn a_refusal_of_the_daemon_exits_with_5_and_its_reason() {
    let here = directory("refused");
    let answer = "{\"refused\":{\"code\":\"unknown_group\",\"reason\":\"there is no group x\"}}\n";
    let daemon = canned(&here.join("a.sock"), answer);
    let output = buoy(&here, &["move", "x", "lb1", "--socket", "a.sock"]);
    assert_eq!((code(&output), out(&output).as_str()), (5, ""), "{output:?}");
    assert!(err(&output).contains("there is no group x"), "{}", err(&output));
    let asked: Value = serde_json::from_str(&daemon.join().unwrap()).unwrap();
    assert_eq!((&asked["request"], &asked["node"]), (&"move".into(), &"lb1".into()));
}

#[test]
fn answers_of_the_daemon_are_passed_on_as_json() {
    let here = directory("answered");
    let answer = "{\"schema\":1,\"applied\":[\"group a added\"]}\n";
    let daemon = canned(&here.join("a.sock"), answer);
    let output = buoy(&here, &["--json", "--socket", "a.sock", "reload"]);
    assert_eq!((code(&output), out(&output).as_str()), (0, answer), "{output:?}");
    assert!(daemon.join().unwrap().contains("reload"));
}

#[test]
fn lab_refuses_a_bad_file_with_3_and_builds_nothing() {
    let here = with_files("lab_bad");
    for arguments in [["lab", "bad.toml"].as_slice(), &["--config", "bad.toml", "lab"]] {
        let output = buoy(&here, arguments);
        assert_eq!((code(&output), out(&output).as_str()), (3, ""), "{output:?}");
        assert!(err(&output).contains("node[1].wieght"), "{}", err(&output));
    }
}

/// 64 hex digits in which no run of eight stands twice.
const KEY: &str = "5f0c93b7a1e2d4867b3c9d0e1f2a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c";

/// Texts that have a key, or a piece of one, where it may have come by mistake.
fn texts_with_the_key() -> Vec<String> {
    let upper = KEY.to_uppercase();
    let (half, nearly) = (&KEY[..32], &KEY[..63]);
    let mut texts = vec![
        KEY.to_owned(),
        format!("{KEY}\n"),
        format!("1 {KEY} active\n2 {upper}\n"),
        format!("# a comment\n\n1 {KEY} active\n"),
        format!("key = {KEY}\n"),
        format!("\"{KEY}\" = \"{KEY}\"\n"),
        format!("{KEY} = 1\n[{KEY}]\n[[{KEY}]]\n"),
        format!("[cluster]\n{KEY} = {{ {KEY} = [\"{KEY}\"] }}\n"),
        format!("{GOOD}{KEY}\n"),
        format!("{GOOD}1 {KEY} active\n"),
        format!("{GOOD}interface = \"\"\"{KEY}\n{KEY}\n\"\"\"\n"),
        format!("{GOOD}interface = '{KEY}\n"),
        format!("{GOOD}[timing]\nheartbeat = 0x{}\n", &KEY[..16]),
        format!("{GOOD}[timing]\nmisses = \"0x{KEY}\"\n"),
        format!("{GOOD}[{KEY}]\nname = \"x\"\n"),
        GOOD.replace("cluster.key", KEY),
        GOOD.replace("cluster.key", &format!("{KEY}/{KEY}.key")),
    ];
    for word in ["edge", "lb1", "web", "192.0.2.11", "192.0.2.100", "2001:db8::101"] {
        texts.extend([KEY, half, nearly, &upper].map(|key| GOOD.replace(word, key)));
    }
    for setting in
        ["interface", "mode", "strategy", "failback", "force", "last_resort", "prefer", "vips"]
    {
        texts.push(format!("{GOOD}{setting} = \"{KEY}\"\n"));
        texts.push(format!("{GOOD}{setting} = [\"{KEY}\", \"{nearly}\"]\n"));
    }
    for (table, key) in [
        ("timing", "heartbeat"),
        ("[check]", "type"),
        ("[check]", "name"),
        ("[hook]", "on"),
        ("[hook]", "command"),
        ("[hook]", "name"),
        ("haproxy", "socket"),
        ("[node]", "role"),
    ] {
        texts.push(format!("{GOOD}[{table}]\n{key} = \"{KEY}\"\n"));
        texts.push(format!("{GOOD}[{table}]\n{key} = [\"{KEY}\"]\nname = \"{KEY}\"\n"));
    }
    texts
}

/// The first piece of the key, of eight digits, that stands in a text.
fn piece_of_the_key(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    (0..=KEY.len() - 8).map(|start| &KEY[start..start + 8]).find(|piece| text.contains(piece))
}

#[test]
fn no_message_about_a_file_shows_a_key_that_stands_in_it() {
    let here = with_files("keys_in_files");
    for (number, text) in texts_with_the_key().iter().enumerate() {
        let (as_file, key_file) = (format!("{number}.toml"), format!("{number}.key"));
        fs::write(here.join(&as_file), text).unwrap();
        fs::write(here.join(&key_file), text).unwrap();
        fs::set_permissions(here.join(&key_file), fs::Permissions::from_mode(0o600)).unwrap();
        let keyed = format!("{number}.keyed.toml");
        fs::write(here.join(&keyed), GOOD.replace("cluster.key", &key_file)).unwrap();
        let runs: [&[&str]; 6] = [
            &["check", &as_file],
            &["check", "--json", &as_file],
            &["check", &keyed],
            &["check", "--json", &keyed],
            &["plan", "--socket", "absent.sock", "--config", &as_file],
            &["run", "--runtime-dir", "run", "--config", &as_file],
        ];
        for arguments in runs {
            let output = buoy(&here, arguments);
            let said = format!("{}{}", out(&output), err(&output));
            assert!(code(&output) != 0 || arguments.contains(&keyed.as_str()), "{text}: {said}");
            let shown = piece_of_the_key(&said);
            assert_eq!(shown, None, "{arguments:?} of {text:?} says {said}");
        }
    }
}

#[test]
fn a_file_is_a_regular_file() {
    let here = with_files("fifos");
    nix::unistd::mkfifo(&here.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::write(here.join("keyed.toml"), GOOD.replace("cluster.key", "fifo")).unwrap();
    for arguments in [
        ["check", "fifo"].as_slice(),
        &["check", "keyed.toml"],
        &["check", "/dev/zero"],
        &["check", "/"],
        &["plan", "--config", "fifo"],
        &["run", "--config", "fifo"],
    ] {
        let output = buoy(&here, arguments);
        assert_eq!(code(&output), 3, "{arguments:?}: {output:?}");
        assert!(err(&output).contains("is not a regular file"), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_plan_is_made_of_the_text_of_the_file() {
    let here = with_files("plan_text");
    // Whoever plans need not be able to read the key.
    fs::remove_file(here.join("cluster.key")).unwrap();
    let daemon =
        canned(&here.join("a.sock"), "{\"schema\":1,\"node\":\"lb1\",\"moves\":[],\"stays\":[]}\n");
    let output = buoy(&here, &["plan", "--config", "good.toml", "--socket", "a.sock"]);
    assert_eq!((code(&output), out(&output).as_str()), (0, "nothing would move\n"), "{output:?}");
    let asked: Value = serde_json::from_str(&daemon.join().unwrap()).unwrap();
    assert_eq!((&asked["text"], asked.get("config")), (&GOOD.into(), None));
}
