//! Who names whom: our modules, the crates we use, and the parts of std that pure modules must not.
//!
//! Looks at tokens, not at resolved names. It sees `crate::x`, `crate::{x, y}`, `buoy::x` and any
//! chain of `super` that climbs to the crate's root, inline modules counted; and a crate's name
//! where a path begins. It does not see through a `pub use` of another module's item; the module
//! that re-exports has been judged for it.

use super::source::{Fault, Source, Token};

/// What one module of `src` may name.
pub(crate) struct Module {
    /// Name: a directory of `src`, or a file.
    pub(crate) name: &'static str,
    /// Modules of ours.
    pub(crate) modules: &'static [&'static str],
    /// Crates, with underscores.
    pub(crate) crates: &'static [&'static str],
    /// Parts of std it must not name, because it is pure: modules (`fs`) where they follow `std::`,
    /// types (`HashMap`) wherever they stand.
    pub(crate) refused: &'static [&'static str],
}

/// Stands for every module, respectively every crate.
pub(crate) const EVERYTHING: &[&str] = &["*"];

/// Faults of one file of `src`. `crates` are all dependencies of the package.
pub(crate) fn check(source: &Source, table: &[Module], crates: &[String]) -> Vec<Fault> {
    let Some(path) = source.module() else { return Vec::new() };
    let Some(name) = path.first() else { return Vec::new() };
    let Some(module) = table.iter().find(|module| module.name == name) else {
        let problem = format!("module `{name}` has no line in the table of tests/architecture.rs");
        return vec![source.fault(1, problem)];
    };
    let tokens = source.tokens();
    let mut faults = Vec::new();
    for (line, named) in modules_named(&tokens, path.len()) {
        if named != *name && !admits(module.modules, &named) {
            faults.push(source.fault(line, format!("`{name}` must not name `crate::{named}`")));
        }
    }
    for (line, named) in crates_named(&tokens, crates) {
        if !admits(module.crates, &named) {
            faults.push(source.fault(line, format!("`{name}` must not use the crate `{named}`")));
        }
    }
    for (line, named) in after(&tokens, &|word| word == "std" || word == "core") {
        if module.refused.contains(&named.as_str()) {
            faults.push(source.fault(line, format!("`{name}` is pure: no `std::{named}`")));
        }
    }
    for token in tokens.iter().filter(|token| token.text.starts_with(char::is_uppercase)) {
        if module.refused.contains(&token.text.as_str()) {
            faults.push(source.fault(token.line, format!("`{name}` is pure: no `{}`", token.text)));
        }
    }
    faults
}

/// Whether a module may, by way of others, name itself; tells the first such module.
pub(crate) fn find_circle(table: &[Module]) -> Option<&'static str> {
    let reaches_itself = |start: &Module| {
        let mut seen: Vec<&str> = Vec::new();
        let mut next: Vec<&str> = start.modules.to_vec();
        while let Some(name) = next.pop() {
            if !seen.contains(&name) {
                seen.push(name);
                let module = table.iter().find(|module| module.name == name);
                next.extend(module.map_or(&[][..], |module| module.modules));
            }
        }
        seen.contains(&start.name)
    };
    table.iter().find(|module| reaches_itself(module)).map(|module| module.name)
}

fn admits(list: &[&str], name: &str) -> bool {
    list == EVERYTHING || list.contains(&name)
}

/// Modules of ours named in a file whose module is `depth` below the root.
fn modules_named(tokens: &[Token], depth: usize) -> Vec<(usize, String)> {
    let mut named = after(tokens, &|word| word == "crate" || word == "buoy");
    let mut braces = 0;
    let mut inline_modules = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" => {
                braces += 1;
                if at >= 2 && tokens[at - 2].text == "mod" {
                    inline_modules.push(braces);
                }
            }
            "}" => {
                if inline_modules.last() == Some(&braces) {
                    inline_modules.pop();
                }
                braces -= 1;
            }
            "super" if at == 0 || tokens[at - 1].text != "::" => {
                let chain = tokens[at..].chunks(2);
                let climbs = chain.take_while(|pair| pair[0].text == "super").count();
                if climbs >= depth + inline_modules.len() {
                    named.extend(first_segments(tokens, at + 2 * climbs));
                }
            }
            _ => {}
        }
    }
    named
}

/// Crates named where a path begins, or imported as a whole.
fn crates_named(tokens: &[Token], crates: &[String]) -> Vec<(usize, String)> {
    let text = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map_or("", |t| t.text.as_str());
    let mut named = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let (before, next) = (text(at.checked_sub(1)), text(Some(at + 1)));
        let imported = ["use", "crate"].contains(&before) && [";", "as"].contains(&next);
        let begins = next == "::" && before != "." && begins_path(tokens, at);
        if (imported || begins) && crates.contains(&token.text) {
            named.push((token.line, token.text.clone()));
        }
    }
    named
}

/// Whether no earlier segment stands before the token.
pub(crate) fn begins_path(tokens: &[Token], at: usize) -> bool {
    if at == 0 || tokens[at - 1].text != "::" {
        return true;
    }
    let earlier = at.checked_sub(2).map_or("", |earlier| tokens[earlier].text.as_str());
    let is_segment = |character: char| character.is_alphanumeric() || "_>$".contains(character);
    !earlier.ends_with(is_segment) || earlier == "use"
}

/// The segments right after `root::`, for every root that `is_root` knows.
fn after(tokens: &[Token], is_root: &dyn Fn(&str) -> bool) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        if is_root(&pair[0].text) && pair[1].text == "::" && begins_path(tokens, at) {
            named.extend(first_segments(tokens, at + 2));
        }
    }
    named
}

/// The name at `at`, or the first name of each path of the group that opens there.
pub(crate) fn first_segments(tokens: &[Token], at: usize) -> Vec<(usize, String)> {
    let Some(first) = tokens.get(at) else { return Vec::new() };
    if first.text != "{" {
        return vec![(first.line, first.text.clone())];
    }
    let mut named = Vec::new();
    let mut depth = 0;
    let mut expects_name = true;
    for token in &tokens[at..] {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => expects_name = true,
            "self" if depth == 1 => expects_name = false,
            _ if expects_name && depth == 1 => {
                named.push((token.line, token.text.clone()));
                expects_name = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::{EVERYTHING, Module, check, find_circle};
    use crate::source::Source;

    const TABLE: &[Module] = &[
        Module {
            name: "protocol",
            modules: &[],
            crates: &[],
            refused: &["fs", "UdpSocket", "HashMap"],
        },
        Module { name: "wire", modules: &["protocol"], crates: &["sha2"], refused: &[] },
        Module { name: "cli", modules: EVERYTHING, crates: EVERYTHING, refused: &[] },
    ];

    fn faults(path: &str, text: &str) -> Vec<String> {
        let crates = ["sha2", "tokio", "serde"].map(str::to_owned);
        let faults = check(&Source::new(path, text), TABLE, &crates);
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn broken_arrows_are_found_with_their_line() {
        for (path, text, line) in [
            ("src/protocol/node.rs", "\nuse crate::wire::Sessions;", 2),
            ("src/protocol/node.rs", "\n\nuse crate::{protocol::Node, wire::Sessions};", 3),
            ("src/protocol/node.rs", "fn f() { crate::wire::open() }", 1),
            ("src/protocol/node.rs", "use super::super::wire;", 1),
            ("src/protocol/mod.rs", "use super::wire;", 1),
            ("src/protocol/mod.rs", "mod a { use super::super::wire; }", 1),
            ("src/protocol/mod.rs", "mod a {}\nuse super::{protocol::x, wire::y};", 2),
            ("src/protocol/node.rs", "use crate::*;", 1),
            ("src/wire/open.rs", "use buoy::kernel::start;", 1),
            ("src/surprise.rs", "", 1),
        ] {
            let found = faults(path, text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].starts_with(&format!("{path}:{line}: ")), "{text}: {found:?}");
        }
    }

    #[test]
    fn refused_crates_and_parts_of_std_are_found() {
        for text in [
            "use tokio::net;",
            "use tokio;",
            "use tokio as t;",
            "use {tokio::net, std::fmt};",
            "fn f() { ::tokio::spawn(g()) }",
            "#[tokio::main] fn f() {}",
            "extern crate serde;",
            "use std::fs;",
            "use std::{fmt, fs::File};",
            "use std::net::{IpAddr, UdpSocket};",
            "fn f(a: &HashMap<u8, u8>) {}",
        ] {
            assert_eq!(faults("src/protocol/node.rs", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn allowed_names_are_left_alone() {
        for (path, text) in [
            ("src/wire/open.rs", "use crate::protocol::Node; use sha2::Sha256; use std::fs;"),
            (
                "src/wire/open.rs",
                "use super::seal; use super::super::protocol; use crate::wire::x;",
            ),
            ("src/wire/mod.rs", "pub(crate) fn f() {} mod tests { use super::f; }"),
            ("src/protocol/node.rs", "use super::tokio::x; fn f(a: A) { a.tokio(); b::tokio() }"),
            ("src/protocol/node.rs", "use std::net::IpAddr; fn fs() {}"),
            ("src/protocol/node.rs", "// crate::wire\nconst A: &str = \"crate::wire\";"),
            ("src/cli.rs", "use crate::wire; use tokio::net;"),
            ("tests/a.rs", "use buoy::wire; use tokio::net;"),
        ] {
            assert_eq!(faults(path, text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn circles_in_the_table_are_found() {
        let module = |name, modules| Module { name, modules, crates: &[], refused: &[] };
        assert_eq!(find_circle(TABLE), None);
        let circle = [module("a", &["b"]), module("b", &["c"]), module("c", &["b"])];
        assert_eq!(find_circle(&circle), Some("b"));
    }
}
