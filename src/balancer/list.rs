//! The list of drained addresses, as HAProxy's stats socket speaks of it. Pure.
//!
//! ```text
//!  > show acl LIST                          > add acl LIST 10.77.0.100;del acl LIST 10.77.0.101
//!  < 0x55c08603c540 10.77.0.100             <
//!  <                                        <
//! ```
//!
//! Entries that are not addresses are somebody else's and are left alone.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

/// Commands in one line, which may have 16 KiB by default (`tune.bufsize`).
const COMMANDS_PER_LINE: usize = 50;
/// Of an answer that is told.
const WORDS_MAX: usize = 100;

/// What an answer is that cannot be read.
pub(super) const NONSENSE: &str = "the answer is not from HAProxy";

/// Asks for the list.
pub(super) fn show(list: &str) -> String {
    format!("show acl {list}\n")
}

/// Reads what `show` was answered: the addresses in the list.
pub(super) fn read(answer: &str, list: &str) -> Result<Vec<IpAddr>, String> {
    if answer.starts_with("Unknown ACL identifier") {
        return Err(format!("no rule of it reads {list}"));
    }
    let mut found = Vec::new();
    for line in answer.lines().filter(|line| !line.is_empty()) {
        let entry = line.strip_prefix("0x").and_then(|line| line.split_once(' '));
        let (number, entry) = entry.ok_or(NONSENSE)?;
        if !number.chars().all(|letter| letter.is_ascii_hexdigit()) {
            return Err(NONSENSE.to_owned());
        }
        found.extend(entry.trim().parse::<IpAddr>());
    }
    // Even an empty list is answered by a line.
    if answer.is_empty() { Err(NONSENSE.to_owned()) } else { Ok(found) }
}

/// The lines of commands that make of the addresses in the list those that are due.
pub(super) fn difference(list: &str, found: &[IpAddr], due: &BTreeSet<IpAddr>) -> Vec<String> {
    let has: BTreeSet<IpAddr> = found.iter().copied().collect();
    let add = due.difference(&has).map(|address| ("add", address));
    let delete = has.difference(due).map(|address| ("del", address));
    let commands: Vec<String> =
        delete.chain(add).map(|(verb, address)| format!("{verb} acl {list} {address}")).collect();
    commands.chunks(COMMANDS_PER_LINE).map(|some| some.join(";") + "\n").collect()
}

/// Whether commands were carried out: nothing but empty lines is answered then.
pub(super) fn accepted(answer: &str) -> Result<(), String> {
    let Some(said) = answer.lines().map(str::trim).find(|line| !line.is_empty()) else {
        return Ok(());
    };
    let mut words = String::from("it answered: ");
    let visible = said.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    for letter in visible.take(WORDS_MAX) {
        // Writing to a string cannot fail.
        let _ = words.write_char(letter);
    }
    Err(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "/etc/haproxy/draining.lst";

    fn addresses(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn the_list_is_read_and_only_the_difference_is_made() {
        let answer = "0x55c0860419c0 10.77.0.100\n0x55c086041a60 fd77::100\n0x1f www.example\n\n";
        let found = read(answer, LIST).unwrap();
        assert_eq!(found, addresses("10.77.0.100 fd77::100"));
        let due: BTreeSet<IpAddr> = addresses("10.77.0.100 10.77.0.101").into_iter().collect();
        let lines = difference(LIST, &found, &due);
        assert_eq!(lines, [format!("del acl {LIST} fd77::100;add acl {LIST} 10.77.0.101\n")]);
        assert!(difference(LIST, &addresses("10.77.0.101 10.77.0.100"), &due).is_empty());
        assert_eq!(read("\n", LIST), Ok(Vec::new()));
    }

    #[test]
    fn many_addresses_are_many_lines_that_fit() {
        let due: BTreeSet<IpAddr> = (0..1000_u16)
            .map(|n| format!("fd77:1234:5678:9abc:1234:5678:9abc:{n:x}"))
            .map(|text| text.parse().unwrap())
            .collect();
        let lines = difference(&format!("/{}", "x".repeat(199)), &[], &due);
        assert_eq!(lines.len(), 20);
        assert!(lines.iter().all(|line| line.len() < 16 * 1024 - 1024));
    }

    #[test]
    fn nonsense_is_told_and_never_a_panic() {
        let unknown = "Unknown ACL identifier. Please use #<id> or <file>.\n\n";
        assert_eq!(read(unknown, LIST), Err(format!("no rule of it reads {LIST}")));
        for answer in ["", "HTTP/1.1 400 Bad request\n", "0x 1\nx\n", "0xzz 10.0.0.1\n", "0x12\n"] {
            assert_eq!(read(answer, LIST), Err(NONSENSE.to_owned()), "{answer:?}");
        }
        assert_eq!(accepted("\n\n\n"), Ok(()));
        let refused = Err("it answered: Permission denied".to_owned());
        assert_eq!(accepted("\nPermission denied\nmore\n"), refused);
        assert_eq!(accepted(&"x".repeat(5000)).unwrap_err().len(), 13 + WORDS_MAX);
    }
}
