//! What released software has sent, one directory for each version: `tests/golden/VERSION`.
//!
//! ```text
//!   body HEX      a message, encoded
//!   sealed HEX    five datagrams: a handshake of A with B and A's first heartbeat
//! ```
//!
//! A file of a version that was released is never changed; a new version gets a directory of its
//! own. `state`, beside it, is read by the tests of the daemon.

use std::fs;
use std::path::PathBuf;

use buoy::wire::{Opened, decode, encode};

use crate::messages::{A, B, LIFE_B, hex, unhex, vectors};
use crate::{at, sessions};

/// A kind and its bytes.
type Line = (String, Vec<u8>);

/// Every version with the lines of its file.
fn versions() -> Vec<(String, Vec<Line>)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let version = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("datagrams")).unwrap();
        let line = |line: &str| {
            let (kind, bytes) = line.split_once(' ').unwrap();
            (kind.to_owned(), unhex(bytes))
        };
        (entry.file_name().into_string().unwrap(), text.lines().map(line).collect())
    };
    fs::read_dir(root).unwrap().map(|entry| version(entry.unwrap())).collect()
}

#[test]
fn messages_of_all_released_versions_are_understood() {
    for (version, lines) in versions() {
        for (_, body) in lines.iter().filter(|(kind, _)| kind == "body") {
            let decoded = decode(body);
            assert!(decoded.is_ok(), "{version}: {} is {decoded:?}", hex(body));
        }
    }
}

#[test]
fn datagrams_of_all_released_versions_are_opened() {
    for (version, lines) in versions() {
        let sealed: Vec<_> = lines.iter().filter(|(kind, _)| kind == "sealed").collect();
        assert_eq!(sealed.len(), 5, "{version}");
        let mut b = sessions(B, LIFE_B, &[A]);
        for (step, (_, datagram)) in sealed.iter().enumerate().step_by(2) {
            let opened = b.open(at(1000), &mut datagram.clone());
            let wanted = match step {
                4 => matches!(opened, Opened::Message { .. }),
                _ => matches!(opened, Opened::Reply { .. }),
            };
            assert!(wanted, "{version}, datagram {step}: {opened:?}");
        }
    }
}

/// The present version has its file, and what it sends is in it.
#[test]
fn this_version_sends_what_its_file_says() {
    let this = env!("CARGO_PKG_VERSION");
    let mut missing = String::new();
    let versions = versions();
    let own = versions.iter().find(|(version, _)| version == this);
    for (message, _) in vectors() {
        let mut body = Vec::new();
        encode(&message, &mut body);
        if own.is_none_or(|(_, lines)| !lines.iter().any(|(_, line)| *line == body)) {
            missing += &format!("body {}\n", hex(&body));
        }
    }
    assert!(missing.is_empty(), "not in tests/golden/{this}/datagrams:\n{missing}");
}
