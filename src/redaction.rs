//! Takes out of a text whatever may be part of a cluster key, before people or logs see it.
//!
//! A key is 64 hex digits. What is read from a file or a request may be a key by mistake (a key file
//! named as the configuration, a key pasted into it), and messages go to people who may not have it:
//! members of the socket's group, readers of the log, a CI job. So every message that repeats what
//! was read passes through here first. Pure; names that were accepted are shown as they are.

use std::ops::Range;

/// Hex digits in a row from which on they are not shown: 7 are 28 of a key's 256 bits, and no
/// address, date or word of the configuration has 8.
const SHOWN_DIGITS_MAX: usize = 7;
/// Hex digits in a row that no name has: half a key.
const KEY_DIGITS_MIN: usize = 32;

/// The text with every long run of hex digits replaced by their number.
#[must_use]
pub(crate) fn redact(text: &str) -> String {
    without_runs(text, SHOWN_DIGITS_MAX + 1)
}

/// The text with every run of hex digits that is as long as half a key replaced by their number: for
/// texts full of numbers that are no secrets.
#[must_use]
pub(crate) fn withhold_keys(text: &str) -> String {
    without_runs(text, KEY_DIGITS_MIN)
}

fn without_runs(text: &str, least: usize) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut end = 0;
    for run in long_runs(text, least) {
        shown.push_str(&text[end..run.start]);
        shown.push_str(&format!("({} hex digits, not shown)", run.len()));
        end = run.end;
    }
    shown.push_str(&text[end..]);
    shown
}

/// Whether there is so much of a key in this that it is none of the things that may be shown.
#[must_use]
pub(crate) fn has_key(text: &str) -> bool {
    !long_runs(text, KEY_DIGITS_MIN).is_empty()
}

/// Where at least so many hex digits stand in a row.
fn long_runs(text: &str, least: usize) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = None;
    let ends = text.bytes().map(|byte| byte.is_ascii_hexdigit()).chain([false]);
    for (place, digit) in ends.enumerate() {
        match (start, digit) {
            (None, true) => start = Some(place),
            (Some(from), false) => {
                if place - from >= least {
                    runs.push(from..place);
                }
                start = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_of_hex_digits_are_not_shown() {
        let key = "5f0c93b7".repeat(8);
        for (text, expected) in [
            (key.clone(), "(64 hex digits, not shown)"),
            (format!("1 {key} active"), "1 (64 hex digits, not shown) active"),
            (format!("x{}y", &key[..8]), "x(8 hex digits, not shown)y"),
            (format!("{} {}", &key[..7], &key[..7]), "5f0c93b 5f0c93b"),
            (
                "fd77:db8::100/128 02:00:00:00:00:ab".to_owned(),
                "fd77:db8::100/128 02:00:00:00:00:ab",
            ),
            ("gruen \u{fc} abcdefab".to_owned(), "gruen \u{fc} (8 hex digits, not shown)"),
            (String::new(), ""),
        ] {
            assert_eq!(redact(&text), expected, "{text}");
        }
    }

    #[test]
    fn half_a_key_is_no_name() {
        assert!(has_key(&"5f0c93b7".repeat(4)));
        assert!(!has_key("i-0abcd1234ef567890"), "the name of a host in a cloud");
    }
}
