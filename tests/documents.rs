//! What the documents say about themselves: links lead somewhere, complete files in them load, the
//! README stays short, what guards an invariant exists, commands are run (`documents/commands.rs`).

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use buoy::config;
use buoy::control::events::{self, Scope};
use buoy::protocol::Rule;

#[path = "documents/commands.rs"]
mod commands;

const README_LINES_MAX: usize = 160;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document that people read on the repository's pages.
fn documents() -> Vec<PathBuf> {
    let directories = [root().to_owned(), root().join("docs"), root().join("packaging")];
    let entries = directories.iter().flat_map(|it| fs::read_dir(it).expect("it is there"));
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let found: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    assert!(found.len() > 10, "{found:?}");
    found
}

/// Targets of the links `[text](target)` in a text.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// The anchor that a heading gets on the usual pages.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

/// Why a link of the document leads nowhere.
fn fault(document: &Path, text: &str, link: &str) -> Option<String> {
    if link.starts_with("http") || link.starts_with("mailto:") {
        return None;
    }
    let (file, wanted) = link.split_once('#').unwrap_or((link, ""));
    let target = document.parent()?.join(file);
    let read = || fs::read_to_string(&target).unwrap_or_default();
    let there = if file.is_empty() { text.to_owned() } else { read() };
    let named = |line: &str| line.starts_with('#') && anchor(line) == wanted;
    let leads =
        (file.is_empty() || target.exists()) && (wanted.is_empty() || there.lines().any(named));
    (!leads).then(|| format!("{}: {link}", document.display()))
}

#[test]
fn links_lead_somewhere() {
    let mut faults = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("it can be read");
        faults.extend(links(&text).filter_map(|link| fault(&document, &text, link)));
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let document = root().join("README.md");
    let text = "# One thing\n";
    for (link, bad) in [
        ("docs/README.md", false),
        ("docs/nothing.md", true),
        ("#one-thing", false),
        ("#another-thing", true),
        ("docs/limits.md#sizes", false),
        ("docs/limits.md#size", true),
        ("https://example.org/nothing", false),
    ] {
        assert_eq!(fault(&document, text, link).is_some(), bad, "{link}");
    }
}

#[test]
fn the_readme_is_short() {
    let text = fs::read_to_string(root().join("README.md")).expect("it is there");
    assert!(text.lines().count() <= README_LINES_MAX, "{} lines", text.lines().count());
}

/// Blocks between lines of three backquotes, the first of which ends with the language; and what
/// is written to a file between lines of `EOF`.
fn complete_files(text: &str) -> Vec<String> {
    let blocks = text.split("\n```toml\n").skip(1).filter_map(|rest| rest.split_once("\n```"));
    let here = text.split("buoy.toml <<'EOF'\n").skip(1);
    let here = here.filter_map(|rest| rest.split_once("\nEOF"));
    let files = blocks.chain(here).map(|(file, _)| format!("{file}\n"));
    files.filter(|file| file.contains("[cluster]\nname ") && file.contains("[[node]]")).collect()
}

#[test]
fn complete_files_in_documents_load() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("documents");
    let _ = fs::remove_dir_all(&directory);
    fs::DirBuilder::new().mode(0o700).create(&directory).expect("it can be made");
    config::write_new_key(&directory.join("cluster.key"), &[7; 32]).expect("it can be written");
    let mut found = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("it can be read");
        for file in complete_files(&text) {
            found += 1;
            let path = directory.join(format!("{found}.toml"));
            fs::write(&path, file).expect("it can be written");
            let loaded = config::load(&path);
            let config = loaded.unwrap_or_else(|why| panic!("{}: {why}", document.display()));
            assert_eq!(config.warnings, [], "{}", document.display());
        }
    }
    assert!(found >= 2, "{found} files were found");
}

/// What the word before a name in backquotes says that the name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Function,
    Story,
    Mutation,
    Fault,
}

fn kind(word: &str) -> Option<Kind> {
    match word {
        "checker" | "checkers" | "test" | "tests" => Some(Kind::Function),
        "story" | "stories" => Some(Kind::Story),
        "mutation" | "mutations" => Some(Kind::Mutation),
        "fault" | "faults" => Some(Kind::Fault),
        _ => None,
    }
}

/// The names in backquotes of a line that such a word comes before, or a list that begins with one.
fn names(line: &str) -> Vec<(Kind, &str)> {
    let mut found = Vec::new();
    let mut last = None;
    for (place, piece) in line.split('`').enumerate() {
        if place % 2 == 1 {
            found.extend(last.map(|kind| (kind, piece)));
        } else if piece != ", " {
            last = piece.split_whitespace().last().and_then(kind);
        }
    }
    found
}

/// All Rust files of the repository, one after the other.
fn sources() -> String {
    sources_of(["src", "tests", "netns-tests"].map(|name| root().join(name)))
}

/// All Rust files below some directories.
fn sources_of(directories: impl Into<Vec<PathBuf>>) -> String {
    let mut text = String::new();
    let mut directories = directories.into();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("it is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                text.push_str(&fs::read_to_string(&path).expect("it can be read"));
            }
        }
    }
    text
}

/// Whether the text has the word, and not only as the beginning of another one.
fn has_word(text: &str, word: &str) -> bool {
    let goes_on = |next: char| next.is_alphanumeric() || next == '_';
    text.match_indices(word).any(|(at, _)| !text[at + word.len()..].starts_with(goes_on))
}

fn exists(sources: &str, kind: Kind, name: &str) -> bool {
    match kind {
        // Some namespace tests have another name in their table than their function.
        Kind::Function => {
            sources.contains(&format!("fn {name}(")) || sources.contains(&format!("(\"{name}\", "))
        }
        Kind::Story => sources.contains(&format!("fn {name}(broken: Option<Rule>)")),
        Kind::Mutation => Rule::ALL.iter().any(|rule| format!("{rule:?}") == name),
        Kind::Fault => has_word(sources, &format!("Kind::{name}")),
    }
}

/// The first cell of each row of a table.
fn rows(text: &str) -> Vec<&str> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
    rows.map(|(first, _)| first.trim_matches('`')).collect()
}

fn invariants() -> String {
    fs::read_to_string(root().join("docs/invariants.md")).expect("it is there")
}

#[test]
fn what_guards_an_invariant_exists() {
    let (text, sources) = (invariants(), sources());
    let found: Vec<(Kind, &str)> = text.lines().flat_map(names).collect();
    assert!(found.len() > 400, "{} names were found", found.len());
    let missing: Vec<_> =
        found.into_iter().filter(|(kind, name)| !exists(&sources, *kind, name)).collect();
    assert!(missing.is_empty(), "not in the sources: {missing:?}");
}

#[test]
fn a_guard_that_does_not_exist_is_found() {
    let sources = sources();
    for (line, missing) in [
        ("| H1 | `lost` | stories `steady_loss`, `lossy_pair`; test `links_lead_somewhere` |", 0),
        ("| H1 | it | stories `steady_loss`, `steady_los`; test `links_lead` |", 2),
        ("| H1 | it | story `links_lead_somewhere` |", 1),
        ("| H1 | it | mutations `GiveWay`, `GiveWays`; faults `Crash`, `Cras`, `Crashes` |", 3),
        ("| H1 | it | checker `check_overlap`; not as a test, and `nothing` else |", 0),
        ("| H1 | it | checker `check_overla` |", 1),
    ] {
        let gone = names(line).into_iter().filter(|(kind, name)| !exists(&sources, *kind, name));
        assert_eq!(gone.count(), missing, "{line}");
    }
}

#[test]
fn every_hazard_invariant_and_rule_has_one_row() {
    let text = invariants();
    let rows = rows(&text);
    let numbers = [("H", 70), ("S", 16), ("L", 7)];
    let numbers = numbers
        .iter()
        .flat_map(|(letter, most)| (1..=*most).map(move |number| format!("{letter}{number}")));
    let rules = Rule::ALL.iter().map(|rule| format!("{rule:?}"));
    let wrong: Vec<String> = numbers
        .chain(rules)
        .filter(|name| rows.iter().filter(|row| *row == name).count() != 1)
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}

/// Text of the program as it is printed: where a literal goes on in the next line, its lines are joined.
fn printed() -> String {
    let outputs = fs::read_dir(root().join("tests/outputs")).expect("it is there");
    let outputs = outputs.map(|entry| entry.expect("it can be read").path());
    let mut text: String =
        outputs.map(|path| fs::read_to_string(path).expect("it can be read")).collect();
    let sources = sources_of([root().join("src")]);
    let joined = sources.split("\\\n").enumerate();
    text.extend(joined.map(|(at, part)| if at == 0 { part } else { part.trim_start() }));
    text
}

#[test]
fn sentences_of_troubleshooting_are_those_that_are_printed() {
    let document = fs::read_to_string(root().join("docs/troubleshooting.md")).expect("it is there");
    let (tables, _) = document.split_once("## Clients").expect("that chapter");
    let printed = printed();
    let sentences: Vec<&str> =
        rows(tables).into_iter().filter(|row| !["you read", "---"].contains(row)).collect();
    assert!(sentences.len() > 20, "{sentences:?}");
    let gone: Vec<_> = sentences.iter().filter(|sentence| !printed.contains(**sentence)).collect();
    assert!(gone.is_empty(), "not printed any more: {gone:?}");
}

#[test]
fn every_kind_of_event_is_documented() {
    let mut table = String::new();
    for kind in events::Kind::ALL {
        let by = match kind.scope() {
            Scope::Cluster => "every node",
            Scope::Node => "the node",
            Scope::Hooks => continue,
        };
        table.push_str(&format!("| `{}` | {by} | {} |\n", kind.word(), kind.meaning()));
    }
    let text = fs::read_to_string(root().join("docs/monitoring.md")).expect("it can be read");
    assert!(text.contains(&table), "docs/monitoring.md lacks the present table:\n{table}");
}
