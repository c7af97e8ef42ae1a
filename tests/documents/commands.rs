//! The commands in the documents: every block of shell commands is run somewhere, or it is said why not,
//! and every command of buoy in a document is one that the executable understands.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::Command;

use super::{documents, root};

/// What runs a block.
enum Runner {
    /// This file of the repository, in which "DOCUMENT NUMBER" stands.
    File(&'static str),
    /// A function here, given the block.
    Here(fn(&str)),
    /// Nothing, for this reason; this test, which exists, does something like it.
    No(&'static str, &'static str),
}

use Runner::{File, Here, No};

/// Every block of shell commands (`sh`): document, and its number there.
const BLOCKS: [(&str, usize, Runner); 16] = [
    ("README.md", 1, File(".ci/fresh")),
    ("README.md", 2, File("packaging/test")),
    (
        "docs/dns.md",
        1,
        No("it needs name servers of other sites", "resolvers_get_what_is_in_service"),
    ),
    ("docs/from-keepalived.md", 1, Here(import)),
    ("docs/from-keepalived.md", 2, Here(import)),
    ("docs/installation.md", 1, File("packaging/test")),
    ("docs/installation.md", 2, File("packaging/documented.sh")),
    ("docs/installation.md", 3, File("packaging/documented.sh")),
    ("docs/installation.md", 4, File("packaging/documented.sh")),
    ("docs/installation.md", 5, File("packaging/documented.sh")),
    ("docs/installation.md", 6, File("packaging/documented.sh")),
    ("docs/installation.md", 7, File("packaging/documented.sh")),
    ("docs/monitoring.md", 1, File("packaging/documented.sh")),
    ("docs/operations.md", 1, File("packaging/documented.sh")),
    ("docs/operations.md", 2, File("packaging/documented.sh")),
    ("packaging/README.md", 1, File(".ci/run")),
];
/// With one of these a line begins that is to be typed.
const PROGRAMS: [&str; 9] =
    ["$", "apt", "buoy", "cargo", "install", "journalctl", "scp", "sudo", "systemctl"];

/// The blocks of a document: language and text, without the indentation of the block.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut open: Option<usize> = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        match (line.trim_start().strip_prefix("```"), open) {
            (Some(language), None) => {
                found.push((language.to_owned(), String::new()));
                open = Some(indent);
            }
            (Some(_), Some(_)) => open = None,
            (None, Some(indent)) => {
                let line = line.get(indent..).unwrap_or_default();
                let (_, block) = found.last_mut().expect("one is open");
                block.push_str(&format!("{line}\n"));
            }
            (None, None) => {}
        }
    }
    found
}

/// All blocks of all documents, each with its document and its number among those of its language.
fn all_blocks() -> Vec<(String, usize, String, String)> {
    let mut found = Vec::new();
    for document in documents() {
        let name = document.strip_prefix(root()).expect("below the root").display().to_string();
        let text = fs::read_to_string(&document).expect("it can be read");
        let mut languages: Vec<String> = Vec::new();
        for (language, block) in blocks(&text) {
            languages.push(language.clone());
            let number = languages.iter().filter(|other| **other == language).count();
            found.push((name.clone(), number, language, block));
        }
    }
    found
}

#[test]
fn every_block_of_commands_is_run_or_says_why_not() {
    let directories = ["src", "netns-tests"].map(|it| root().join(it));
    let sources = super::sources_of(directories);
    let mut found: Vec<(String, usize)> = Vec::new();
    for (document, number, language, block) in all_blocks() {
        if language != "sh" {
            let typed = block.lines().find(|line| {
                let first = line.split_whitespace().next();
                first.is_some_and(|first| PROGRAMS.contains(&first)) && language.is_empty()
            });
            assert_eq!(typed, None, "{document}: a block of commands is neither sh nor console");
            continue;
        }
        let known = BLOCKS.iter().find(|known| (known.0, known.1) == (&document, number));
        match known.map(|(_, _, runner)| runner) {
            Some(File(file)) => {
                let text = fs::read_to_string(root().join(file)).expect("it is there");
                let named = format!("{document} {number}");
                assert!(text.contains(&named), "{file} does not run {named}");
            }
            Some(Here(run)) => run(&block),
            Some(No(reason, test)) => {
                assert!(sources.contains(test), "{document} {number}, as {reason}: no test {test}");
            }
            None => panic!("what runs block {number} of {document}?\n{block}"),
        }
        found.push((document, number));
    }
    let known: Vec<_> =
        BLOCKS.iter().map(|(file, number, _)| ((*file).to_owned(), *number)).collect();
    found.sort();
    assert_eq!(found, known, "left: in the documents, right: in the list");
}

/// The words of one line of a shell, without a comment; quotes are single ones.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '#' if !quoted && word.is_none() => break,
            ' ' if !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_command_of_buoy_in_a_document_is_understood() {
    let mut count = 0;
    for (document, _, language, block) in all_blocks() {
        for line in block.replace("\\\n", " ").lines() {
            let typed = if language == "console" { line.strip_prefix("$ ") } else { Some(line) };
            let Some(line) = typed.filter(|line| line.starts_with("buoy ")) else { continue };
            let line = line.split(" > ").next().expect("the first part");
            count += 1;
            // Arguments are looked at in their order: an unknown one is found before the question for help.
            let arguments = words(line).split_off(1);
            let output = Command::new(env!("CARGO_BIN_EXE_buoy"))
                .args(&arguments)
                .arg("--help")
                .output()
                .expect("the executable was built for this test");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{document}: {line}\n{errors}");
        }
    }
    assert!(count > 20, "{count} commands were found");
}

#[test]
fn a_command_that_is_not_understood_is_found() {
    for wrong in
        ["buoy drain lb1 --if-save --help", "buoy dran --help", "buoy hold --for 4x --help"]
    {
        let output =
            Command::new(env!("CARGO_BIN_EXE_buoy")).args(words(wrong).split_off(1)).output();
        assert!(!output.expect("it runs").status.success(), "{wrong}");
    }
}

/// The files of two hosts that the document speaks of.
fn keepalived(priority: u8) -> String {
    format!(
        "vrrp_instance web {{\n    interface eth0\n    state BACKUP\n    virtual_router_id 51\n    \
         priority {priority}\n    advert_int 1\n    virtual_ipaddress {{\n        192.0.2.100/24\n    \
         }}\n}}\n"
    )
}

/// Runs the commands of a block in a directory with `lb1.conf` and `lb2.conf`.
fn import(block: &str) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("commands");
    let _ = fs::remove_dir_all(&directory);
    fs::DirBuilder::new().mode(0o700).create(&directory).expect("it can be made");
    for (host, priority) in [("lb1", 150), ("lb2", 100)] {
        fs::write(directory.join(format!("{host}.conf")), keepalived(priority)).expect("a file");
    }
    let executable = Path::new(env!("CARGO_BIN_EXE_buoy")).parent().expect("its directory");
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", executable.display());
    let output = Command::new("bash")
        .args(["-euc", block])
        .current_dir(&directory)
        .env("PATH", path)
        .output()
        .expect("bash runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{block}{errors}");
    assert!(directory.join("cluster.key").exists() && directory.join("buoy.toml").exists());
}
