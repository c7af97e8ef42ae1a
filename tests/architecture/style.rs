//! The parts of the house style (CONTRIBUTING.md) that neither rustfmt nor clippy checks.
//!
//! Each rule takes one file and tells every place that breaks it. clippy counts the lines of a
//! function as well; here it is done again so that `cargo test` alone tells, in test code too.

use super::source::{Fault, Source, Token};

/// A file that does not fit on a few screens is two files.
const FILE_LINES_MAX: usize = 500;
/// The same number as in `clippy.toml`; lines with code between the braces.
const FUNCTION_LINES_MAX: usize = 70;
/// Names that say nothing about what a thing explains.
const BANNED_NAMES: [&str; 11] = [
    "util", "utils", "utility", "common", "misc", "helper", "helpers", "manager", "managers",
    "handler", "handlers",
];
/// Written apart so that this file does not find itself.
const UNFINISHED_WORDS: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
/// Macros that stand where code should.
const UNFINISHED_MACROS: [&str; 2] = ["todo", "unimplemented"];
/// Ways to wait for time instead of for a condition.
const SLEEPS: [&str; 6] =
    ["sleep", "sleep_until", "sleep_ms", "nanosleep", "clock_nanosleep", "park_timeout"];

/// All rules at once.
pub(crate) fn check(source: &Source) -> Vec<Fault> {
    let tokens = source.tokens();
    let mut faults: Vec<Fault> = file_length(source).into_iter().collect();
    faults.extend(module_doc(source));
    faults.extend(ascii(source));
    faults.extend(names(source, &tokens));
    faults.extend(unfinished(source, &tokens));
    faults.extend(function_length(source, &tokens));
    faults.extend(ignored_tests(source, &tokens));
    faults.extend(sleeps_in_tests(source, &tokens));
    faults
}

fn file_length(source: &Source) -> Option<Fault> {
    let lines = source.raw.lines().count();
    (lines > FILE_LINES_MAX).then(|| {
        source.fault(FILE_LINES_MAX + 1, format!("file has {lines} lines, at most 500 are allowed"))
    })
}

/// Inner attributes may stand before it.
fn module_doc(source: &Source) -> Option<Fault> {
    let mut lines = source.raw.lines().enumerate();
    let first = lines.find(|(_, line)| !line.trim().is_empty() && !line.starts_with("#![")).unzip();
    match first.1.map(|line| line.strip_prefix("//!").map(str::trim)) {
        Some(Some("" | "Placeholder.")) => {
            Some(source.fault(first.0.unwrap_or(0) + 1, "module doc says nothing"))
        }
        Some(Some(_)) => None,
        Some(None) | None => {
            Some(source.fault(first.0.unwrap_or(0) + 1, "file begins without a module doc (//!)"))
        }
    }
}

fn ascii(source: &Source) -> Vec<Fault> {
    let lines = source.raw.lines().enumerate();
    let found = lines.filter_map(|(index, line)| {
        let character = line.chars().find(|character| !character.is_ascii())?;
        Some(source.fault(index + 1, format!("{character:?} is not ASCII")))
    });
    found.collect()
}

fn names(source: &Source, tokens: &[Token]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let is_banned = |name: &str| name.split(['_', '-']).any(|word| BANNED_NAMES.contains(&word));
    let path = source.path.strip_suffix(".rs").unwrap_or(&source.path);
    for name in path.split('/').filter(|name| is_banned(name)) {
        faults.push(source.fault(1, format!("`{name}` does not say what it explains")));
    }
    for pair in tokens.windows(2).filter(|pair| pair[0].text == "mod" && is_banned(&pair[1].text)) {
        let name = &pair[1].text;
        faults.push(source.fault(pair[1].line, format!("`mod {name}` does not say what it is")));
    }
    faults
}

fn unfinished(source: &Source, tokens: &[Token]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, line) in source.raw.lines().enumerate() {
        let mut words = line.split(|character: char| !character.is_alphanumeric());
        if let Some(word) = words.find(|word| UNFINISHED_WORDS.contains(word)) {
            faults.push(source.fault(index + 1, format!("`{word}` left in the source")));
        }
    }
    for pair in tokens.windows(2) {
        let name = pair[0].text.as_str();
        if UNFINISHED_MACROS.contains(&name) && pair[1].text == "!" {
            faults.push(source.fault(pair[0].line, format!("`{name}!` left in the source")));
        }
    }
    faults
}

fn function_length(source: &Source, tokens: &[Token]) -> Vec<Fault> {
    let code: Vec<&str> = source.code.lines().collect();
    let mut faults = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let is_type = tokens.get(at + 1).is_none_or(|next| next.text == "(");
        if token.text != "fn" || is_type {
            continue;
        }
        let Some((first, last)) = body(&tokens[at..]) else { continue };
        let lines = code.get(first..last.saturating_sub(1)).unwrap_or(&[]);
        let lines = lines.iter().filter(|line| !line.trim().is_empty()).count();
        if lines > FUNCTION_LINES_MAX {
            let name = &tokens[at + 1].text;
            let problem = format!("function `{name}` has {lines} lines, at most 70 are allowed");
            faults.push(source.fault(token.line, problem));
        }
    }
    faults
}

/// Lines of the braces of the function that begins here; `None` if it has no body.
fn body(tokens: &[Token]) -> Option<(usize, usize)> {
    let mut parentheses = 0;
    let open = tokens.iter().position(|token| {
        match token.text.as_str() {
            "(" | "[" => parentheses += 1,
            ")" | "]" => parentheses -= 1,
            _ => {}
        }
        parentheses == 0 && ["{", ";"].contains(&token.text.as_str())
    })?;
    let mut braces = 0;
    let close = tokens[open..].iter().position(|token| {
        match token.text.as_str() {
            "{" => braces += 1,
            "}" => braces -= 1,
            _ => {}
        }
        braces == 0
    })?;
    (close > 0).then(|| (tokens[open].line, tokens[open + close].line))
}

fn ignored_tests(source: &Source, tokens: &[Token]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        if pair[0].text == "#" && pair[1].text == "[" {
            let attribute = tokens[at + 2..].iter().take_while(|token| token.text != "]");
            let words: Vec<&str> = attribute.map(|token| token.text.as_str()).collect();
            let is_meant = ["ignore", "cfg_attr"].contains(words.first().unwrap_or(&""));
            if is_meant && words.contains(&"ignore") {
                faults.push(source.fault(pair[0].line, "a test is ignored; make it pass or go"));
            }
        }
    }
    faults
}

fn sleeps_in_tests(source: &Source, tokens: &[Token]) -> Vec<Fault> {
    if source.path.ends_with("/until.rs") {
        return Vec::new();
    }
    let test_code = if source.is_test() { vec![(0, usize::MAX)] } else { test_regions(tokens) };
    let is_test = |line: usize| test_code.iter().any(|&(from, to)| from <= line && line <= to);
    let found = tokens.iter().filter(|token| SLEEPS.contains(&token.text.as_str()));
    let found = found.filter(|token| is_test(token.line));
    found
        .map(|token| {
            let name = &token.text;
            source.fault(token.line, format!("`{name}` in a test: wait for a condition (until.rs)"))
        })
        .collect()
}

/// Lines of the items under `#[cfg(test)]` and `#[test]`.
fn test_regions(tokens: &[Token]) -> Vec<(usize, usize)> {
    let mut regions = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        if pair[0].text == "#" && pair[1].text == "[" {
            let attribute = tokens[at + 2..].iter().take_while(|token| token.text != "]");
            let words: Vec<&str> = attribute.map(|token| token.text.as_str()).collect();
            let is_test = words.contains(&"test") && !words.contains(&"not");
            let item = &tokens[at + 2 + words.len()..];
            if let (true, Some((_, last))) = (is_test, body(item.get(1..).unwrap_or(&[]))) {
                regions.push((pair[0].line, last));
            }
        }
    }
    regions
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::source::Source;

    /// Problems of a file that has a module doc before the text.
    fn faults(path: &str, text: &str) -> Vec<String> {
        let source = Source::new(path, &format!("//! Doc.\n{text}"));
        check(&source).iter().map(ToString::to_string).collect()
    }

    fn function(lines: usize) -> String {
        format!("fn long(a: [u8; 2]) {{\n{}}}", "x();\n\n// why\n".repeat(lines))
    }

    #[test]
    fn each_rule_finds_what_breaks_it() {
        let cases = [
            ("src/a.rs", "\n".repeat(500), "501: file has 501 lines"),
            ("src/a.rs", function(71), "2: function `long` has 71 lines"),
            ("src/a.rs", format!("// {}", super::UNFINISHED_WORDS[0]), "2: `TO"),
            ("src/a.rs", "fn f() {\n todo!() }".to_owned(), "3: `todo!` left"),
            ("src/a.rs", "fn f() { unimplemented!() }".to_owned(), "2: `unimpl"),
            ("src/a.rs", "// 5 \u{b5}s".to_owned(), "2: '\u{b5}' is not ASCII"),
            ("src/util.rs", String::new(), "1: `util` does not say"),
            ("src/kernel/signal_handler.rs", String::new(), "1: `signal_handler` does"),
            ("src/helpers/mod.rs", String::new(), "1: `helpers` does"),
            ("src/a.rs", "mod misc;".to_owned(), "2: `mod misc` does"),
            ("src/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}".to_owned(), "3: a test is"),
            ("tests/a.rs", "#[cfg_attr(x, ignore)] fn f() {}".to_owned(), "2: a test is"),
            ("tests/a.rs", "fn f() { std::thread::sleep(X) }".to_owned(), "2: `sleep` in"),
            ("src/wire/tests.rs", "fn f() { tokio::time::sleep(X) }".to_owned(), "2: `sleep`"),
            ("src/a.rs", "#[cfg(test)]\nmod tests {\n sleep(X); }".to_owned(), "4: `sleep`"),
            ("src/a.rs", "#[test]\nfn f() { sleep(X); }".to_owned(), "3: `sleep` in"),
        ];
        for (path, text, expected) in cases {
            let found = faults(path, &text);
            assert_eq!(found.len(), 1, "{path} {expected}: {found:?}");
            assert!(found[0].starts_with(&format!("{path}:{expected}")), "{found:?}");
        }
    }

    #[test]
    fn files_without_a_module_doc_are_found() {
        for text in
            ["", "fn main() {}", "// Doc.", "//!\nx", "//! Placeholder.", "#![x]\nfn f() {}"]
        {
            let found = check(&Source::new("src/a.rs", text));
            assert_eq!(found.len(), 1, "{text:?}: {found:?}");
        }
        assert!(check(&Source::new("src/a.rs", "#![allow(x)]\n\n//! Doc.")).is_empty());
    }

    #[test]
    fn what_is_allowed_is_left_alone() {
        for (path, text) in [
            ("src/a.rs", function(70)),
            ("src/a.rs", "\n".repeat(499)),
            ("src/a.rs", "trait T { fn f(a: fn(u8)); fn g(); }\nfn h() {}".to_owned()),
            ("src/a.rs", "fn f() { sleep(X) }\n#[cfg(test)]\nmod tests { fn g() {} }".to_owned()),
            ("src/a.rs", "#[cfg(not(test))]\nfn f() { sleep(X) }".to_owned()),
            ("src/a.rs", "#[cfg(test)]\nmod tests;\nfn f() { sleep(X) }".to_owned()),
            ("tests/until.rs", "fn f() { sleep(X) }".to_owned()),
            ("netns-tests/a.rs", "fn f() { Command::new(\"sleep\") }".to_owned()),
            ("src/uncommon.rs", "const A: &str = \"todo!()\";".to_owned()),
        ] {
            assert_eq!(faults(path, &text), Vec::<String>::new(), "{path}: {text}");
        }
    }
}
