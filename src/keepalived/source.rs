//! Where text comes from: files behind a small trait, places in them, patterns of names, limits.
//!
//! keepalived changes into the directory of each file that it includes, so that a name means what it
//! means beside the including file. A pattern may hold `*`, `?`, `[abc]` and `{a,b}` in any part.
//! Nothing here reads the disk: whoever calls the import says how, and tests say it in memory.

use std::fmt;
use std::sync::Arc;

/// How files are read and directories listed.
pub trait Files {
    /// The bytes of a file and whether it may be executed; the text of an error otherwise.
    ///
    /// # Errors
    /// When it is no regular file, cannot be read or is larger than `most` bytes.
    fn read(&self, path: &str, most: u64) -> Result<Content, String>;

    /// Names of what is in a directory, in any order; none if it cannot be read.
    fn list(&self, directory: &str) -> Vec<String>;
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Whether anybody may execute it; keepalived skips such files where they are included.
    pub executable: bool,
}

/// One file; the largest of 686 real ones has 200 KiB.
pub(super) const FILE_SIZE_MAX: u64 = 1024 * 1024;
/// Files of one host.
pub(super) const FILES_MAX: usize = 256;
/// Files that include each other, one in the other.
pub(super) const DEPTH_MAX: usize = 16;
/// Lines of one host after all includes, definitions and sequences.
pub(super) const LINES_MAX: usize = 50_000;
/// Names that one pattern may be compared with.
const MATCHES_MAX: usize = 4096;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was named.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.file, self.line)
    }
}

/// The directory that a file is in, with its closing slash; empty for the current one.
pub(super) fn directory(path: &str) -> &str {
    path.rfind('/').map_or("", |slash| path.get(..=slash).unwrap_or_default())
}

/// Puts a name beside the file that mentions it.
pub(super) fn beside(including: &str, name: &str) -> String {
    if name.starts_with('/') { name.to_owned() } else { format!("{}{name}", directory(including)) }
}

/// Whether a name is a pattern.
pub(super) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '[', '{'])
}

/// Files that fit a pattern, sorted as `glob` does within each alternative of braces.
pub(super) fn matches(files: &dyn Files, pattern: &str) -> Vec<String> {
    let mut found = Vec::new();
    for alternative in alternatives(pattern) {
        let (mut paths, rest) = match alternative.strip_prefix('/') {
            Some(rest) => (vec!["/".to_owned()], rest.to_owned()),
            None => (vec![String::new()], alternative.clone()),
        };
        let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
        for (index, part) in parts.iter().enumerate() {
            let end = if index + 1 < parts.len() { "/" } else { "" };
            paths = paths.iter().flat_map(|path| step(files, path, part, end)).collect();
            paths.truncate(MATCHES_MAX);
        }
        found.extend(paths);
    }
    found
}

fn step(files: &dyn Files, path: &str, part: &str, end: &str) -> Vec<String> {
    if !is_pattern(part) {
        return vec![format!("{path}{part}{end}")];
    }
    let here = if path.is_empty() { "." } else { path };
    let mut names = files.list(here);
    names.retain(|name| fits(part.as_bytes(), name.as_bytes(), MATCHES_MAX));
    names.retain(|name| !name.starts_with('.') || part.starts_with('.'));
    names.sort();
    names.iter().map(|name| format!("{path}{name}{end}")).collect()
}

/// Each way to read `{a,b}`; braces in braces are taken from the inside out.
fn alternatives(pattern: &str) -> Vec<String> {
    let mut open = vec![pattern.to_owned()];
    let mut done = Vec::new();
    while let Some(text) = open.pop() {
        let inner = text.find('}').and_then(|end| Some((text.get(..end)?.rfind('{')?, end)));
        let Some((start, end)) = inner.filter(|_| open.len() + done.len() < MATCHES_MAX) else {
            done.push(text);
            continue;
        };
        let (head, tail) = (&text[..start], &text[end + 1..]);
        let middle = text[start + 1..end].split(',').rev();
        open.extend(middle.map(|choice| format!("{head}{choice}{tail}")));
    }
    done
}

/// Whether a name fits a pattern of `*`, `?` and `[...]`; `left` bounds the work.
fn fits(pattern: &[u8], name: &[u8], left: usize) -> bool {
    let Some(left) = left.checked_sub(1) else { return false };
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            (0..=name.len()).any(|skip| fits(&pattern[1..], &name[skip..], left / 2))
        }
        (Some(b'?'), Some(_)) => fits(&pattern[1..], &name[1..], left),
        (Some(b'['), Some(letter)) => {
            let Some(end) = pattern.iter().skip(2).position(|it| *it == b']').map(|at| at + 2)
            else {
                return *letter == b'[' && fits(&pattern[1..], &name[1..], left);
            };
            in_set(&pattern[1..end], *letter) && fits(&pattern[end + 1..], &name[1..], left)
        }
        (Some(expected), Some(letter)) => {
            expected == letter && fits(&pattern[1..], &name[1..], left)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn in_set(set: &[u8], letter: u8) -> bool {
    let (set, wanted) = match set.first() {
        Some(b'!' | b'^') => (&set[1..], false),
        _ => (set, true),
    };
    let range = set.windows(3).any(|it| it[1] == b'-' && (it[0]..=it[2]).contains(&letter));
    (range || set.contains(&letter)) == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree;

    impl Files for Tree {
        fn read(&self, _: &str, _: u64) -> Result<Content, String> {
            Ok(Content::default())
        }

        fn list(&self, directory: &str) -> Vec<String> {
            let names: &[&str] = match directory {
                "conf.d/" => &["b.conf", "a.conf", ".hidden.conf", "c.inc"],
                "." => &["conf.d", "more.d"],
                _ => &[],
            };
            names.iter().map(|name| (*name).to_owned()).collect()
        }
    }

    #[test]
    fn patterns_find_what_glob_finds() {
        for (pattern, expected) in [
            ("conf.d/*.conf", "conf.d/a.conf conf.d/b.conf"),
            ("conf.d/{c.inc,a*}", "conf.d/c.inc conf.d/a.conf"),
            ("conf.d/[!a].*", "conf.d/b.conf conf.d/c.inc"),
            ("conf.d/[a-b].c?nf", "conf.d/a.conf conf.d/b.conf"),
            ("conf*/c*", "conf.d/c.inc"),
            ("none/*", ""),
        ] {
            assert_eq!(matches(&Tree, pattern).join(" "), expected, "{pattern}");
        }
    }

    #[test]
    fn names_stand_beside_the_file_that_mentions_them() {
        assert_eq!(beside("/etc/k/k.conf", "a/b"), "/etc/k/a/b");
        assert_eq!(beside("k.conf", "b"), "b");
        assert_eq!(beside("k/k.conf", "/b"), "/b");
    }
}
