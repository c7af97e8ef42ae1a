//! Which parts of the core are closed: they name only what their arrows allow, and no file of theirs
//! names, by way of others, itself.
//!
//! ```text
//!  types <- env <- claims, quorum, preservation -> group      closed: a line of the table for each
//!  everything else of protocol                               names what it likes, and is named by
//!                                                            none of these
//! ```
//!
//! Looks at tokens as `arrows` does: `super::x`, `self::x` and `crate::protocol::x`, and the first
//! names of a group. What is not a module (`super::Node`) counts as the module that has it.

use std::collections::{BTreeMap, BTreeSet};

use super::arrows::{begins_path, first_segments};
use super::source::{Fault, Source, Token};

/// A closed part of `src/protocol`: a file, or a directory.
pub(crate) struct Machine {
    /// Its name.
    pub(crate) name: &'static str,
    /// Those that it may name.
    pub(crate) names: &'static [&'static str],
}

/// A module, from the crate's root.
type Path = Vec<String>;

/// All faults in the files of `src/protocol`.
pub(crate) fn check(sources: &[Source], table: &[Machine]) -> Vec<Fault> {
    let modules: BTreeMap<Path, &Source> = sources
        .iter()
        .filter(|source| !source.is_test())
        .filter_map(|source| Some((source.module()?, source)))
        .filter(|(path, _)| path.first().is_some_and(|name| name == "protocol"))
        .collect();
    let mut faults = Vec::new();
    let mut arrows: BTreeMap<Path, BTreeSet<Path>> = BTreeMap::new();
    for (path, source) in &modules {
        let Some(machine) = machine_of(path, table) else { continue };
        for (line, named) in named(&source.tokens(), path, &modules) {
            let allowed = machine_of(&named, table)
                .is_some_and(|to| to.name == machine.name || machine.names.contains(&to.name));
            if !allowed {
                let (name, named) = (machine.name, named.join("::"));
                faults.push(source.fault(line, format!("`{name}` must not name `{named}`")));
            } else if named != *path {
                arrows.entry(path.clone()).or_default().insert(named);
            }
        }
    }
    for path in arrows.keys().filter(|path| reaches_itself(path, &arrows)) {
        let problem = format!("`{}` names itself by way of others", path.join("::"));
        faults.push(modules[path].fault(1, problem));
    }
    faults
}

/// The first part of the table that may name one that stands after it, or none at all.
pub(crate) fn find_disorder(table: &[Machine]) -> Option<&'static str> {
    let ordered = |(place, machine): &(usize, &Machine)| {
        machine.names.iter().all(|name| table[..*place].iter().any(|before| before.name == *name))
    };
    table.iter().enumerate().find(|entry| !ordered(entry)).map(|(_, machine)| machine.name)
}

fn machine_of<'a>(path: &Path, table: &'a [Machine]) -> Option<&'a Machine> {
    let name = path.get(1)?;
    table.iter().find(|machine| machine.name == name)
}

fn reaches_itself(start: &Path, arrows: &BTreeMap<Path, BTreeSet<Path>>) -> bool {
    let mut seen: BTreeSet<&Path> = BTreeSet::new();
    let mut next: Vec<&Path> = vec![start];
    while let Some(path) = next.pop() {
        for named in arrows.get(path).into_iter().flatten() {
            if named == start {
                return true;
            }
            if seen.insert(named) {
                next.push(named);
            }
        }
    }
    false
}

/// The modules of `protocol` that a file names.
fn named(tokens: &[Token], path: &Path, modules: &BTreeMap<Path, &Source>) -> Vec<(usize, Path)> {
    let mut found = Vec::new();
    let (mut braces, mut inline) = (0, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        let word = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map_or("", |it| &it.text);
        match token.text.as_str() {
            "{" => {
                braces += 1;
                inline.extend((word(at.checked_sub(2)) == "mod").then_some(braces));
            }
            "}" => {
                inline.pop_if(|opened| *opened == braces);
                braces -= 1;
            }
            _ => {}
        }
        // `pub(in crate::protocol)` names nothing.
        let before = word(at.checked_sub(1));
        if word(Some(at + 1)) != "::" || before == "in" || !begins_path(tokens, at) {
            continue;
        }
        let (base, rest) = match token.text.as_str() {
            "self" => (path.clone(), at + 2),
            "super" => {
                let climbs = tokens[at..].chunks(2).take_while(|it| it[0].text == "super").count();
                let up = climbs.saturating_sub(inline.len());
                (path[..path.len().saturating_sub(up)].to_vec(), at + 2 * climbs)
            }
            "crate" => (Vec::new(), at + 2),
            _ if before == "use" => (path.clone(), at),
            _ => continue,
        };
        for (line, segment) in first_segments(tokens, rest) {
            let module: Path = base.iter().cloned().chain([segment]).collect();
            let is_module = modules.contains_key(&module);
            // What is used from a crate is no module of ours.
            if is_module || rest > at {
                found.push((line, if is_module { module } else { base.clone() }));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Machine, check, find_disorder};
    use crate::source::Source;

    const TABLE: &[Machine] =
        &[Machine { name: "types", names: &[] }, Machine { name: "quorum", names: &["types"] }];

    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        let mut sources: Vec<Source> = files
            .iter()
            .map(|(path, text)| Source::new(&format!("src/protocol/{path}"), text))
            .collect();
        for path in ["mod.rs", "node.rs", "types.rs", "quorum/mod.rs", "quorum/voter.rs"] {
            if !files.iter().any(|(changed, _)| *changed == path) {
                sources.push(Source::new(&format!("src/protocol/{path}"), ""));
            }
        }
        check(&sources, TABLE).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_closed_part_must_not_name_is_found() {
        for (path, text) in [
            ("types.rs", "use super::quorum::Quorum;"),
            ("types.rs", "use super::Node;"),
            ("quorum/mod.rs", "use super::node::Node;"),
            ("quorum/mod.rs", "use super::{node::Node, types::Instant};"),
            ("quorum/voter.rs", "use super::super::node::Node;"),
            ("quorum/voter.rs", "use crate::protocol::Node;"),
            ("quorum/voter.rs", "fn f() { super::super::node::g() }"),
        ] {
            let found = faults(&[(path, text)]);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].starts_with(&format!("src/protocol/{path}:1: ")), "{found:?}");
        }
    }

    #[test]
    fn circles_inside_of_a_closed_part_are_found() {
        for files in [
            &[
                ("quorum/mod.rs", "use self::voter::Voter;"),
                ("quorum/voter.rs", "use super::View;"),
            ][..],
            &[
                ("quorum/voter.rs", "use super::leases::Leases;"),
                ("quorum/leases.rs", "use super::voter::Voter;"),
            ],
        ] {
            assert_eq!(faults(files).len(), 2, "{files:?}");
        }
    }

    #[test]
    fn what_is_allowed_is_left_alone() {
        let files = [
            ("node.rs", "use super::quorum::Quorum; use super::orders::Order;"),
            ("quorum/mod.rs", "use super::types::Instant; use self::voter::Voter;"),
            (
                "quorum/voter.rs",
                "use super::super::types::{Instant, NodeId}; use super::leases::A;",
            ),
            ("quorum/leases.rs", "use crate::protocol::types::Instant; // super::super::Node"),
        ];
        let allowed = &files[..2];
        assert_eq!(faults(allowed), Vec::<String>::new());
        let problem = faults(&files);
        assert_eq!(problem.len(), 1, "a path by way of the crate's root is refused: {problem:?}");
    }

    #[test]
    fn a_table_out_of_order_is_found() {
        assert_eq!(find_disorder(TABLE), None);
        let turned = [Machine { name: "a", names: &["b"] }, Machine { name: "b", names: &[] }];
        assert_eq!(find_disorder(&turned), Some("a"));
    }
}
