//! Reads the Rust files of the repository into a form that rules can look at.
//!
//! Comments become spaces and the inside of string and character literals becomes quotes, line by
//! line, so that a rule never mistakes prose for code and every finding keeps its line:
//!
//! ```text
//!  raw   let a = "crate::lab"; // see crate::cli
//!  code  let a = """"""""""""";
//!  tokens  let a = ;
//! ```
//!
//! A file or directory that cannot be read fails the test: what was not seen was not checked.

use std::fmt;
use std::fs;
use std::path::Path;

/// Directories that hold Rust files of ours. The first two must exist.
const ROOTS: [&str; 6] = ["src", "tests", "netns-tests", "benches", "examples", "fuzz"];

/// One Rust file.
pub(crate) struct Source {
    /// Path from the root of the repository.
    pub(crate) path: String,
    /// As it is on the disk.
    pub(crate) raw: String,
    /// The same without comments and literals.
    pub(crate) code: String,
}

/// A word, `::`, or one other character that is not space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// From 1.
    pub(crate) line: usize,
    /// The characters.
    pub(crate) text: String,
}

/// A place where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// File.
    pub(crate) path: String,
    /// Line, from 1.
    pub(crate) line: usize,
    /// Which rule, and by what.
    pub(crate) problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.problem)
    }
}

impl Source {
    /// A file of this path and text.
    pub(crate) fn new(path: &str, raw: &str) -> Self {
        Self { path: path.to_owned(), raw: raw.to_owned(), code: strip(raw) }
    }

    /// All words and signs of the code.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        let lines = self.code.lines().enumerate();
        lines.flat_map(|(index, line)| tokens_of_line(index + 1, line)).collect()
    }

    /// A fault in this file.
    pub(crate) fn fault(&self, line: usize, problem: impl Into<String>) -> Fault {
        Fault { path: self.path.clone(), line, problem: problem.into() }
    }

    /// The module this file is, from the crate's root: `src/wire/open.rs` is `wire`, `open`.
    /// `None` for files outside `src`.
    pub(crate) fn module(&self) -> Option<Vec<String>> {
        let path = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|name| ["mod", "lib", "main"].contains(&name.as_str())) {
            module.pop();
        }
        Some(module)
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test(&self) -> bool {
        !self.path.starts_with("src/")
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
    }
}

/// Every Rust file of the repository, in the order of their paths.
pub(crate) fn read_all(root: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    for (index, directory) in ROOTS.iter().enumerate() {
        let directory = root.join(directory);
        if index < 2 || directory.exists() {
            collect(&directory, &mut paths);
        }
    }
    paths.sort();
    let read = |path: &String| {
        let raw = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let prefix = format!("{}/", root.display());
        Source::new(path.strip_prefix(&prefix).expect("the path was found below the root"), &raw)
    };
    paths.iter().map(read).collect()
}

fn collect(directory: &Path, paths: &mut Vec<String>) {
    let shown = directory.display();
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{shown}: {error}"));
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{shown}: {error}"));
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "target" && name != "corpus" && name != "artifacts" {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path.to_str().expect("paths of ours are text").to_owned());
        }
    }
}

fn tokens_of_line(line: usize, text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut in_word = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let is_word = character.is_alphanumeric() || character == '_';
        if is_word && in_word {
            tokens.last_mut().expect("a word was begun").text.push(character);
        } else if !character.is_whitespace() && character != '"' {
            let mut text = character.to_string();
            if character == ':' && characters.next_if_eq(&':').is_some() {
                text.push(':');
            }
            tokens.push(Token { line, text });
        }
        in_word = is_word;
    }
    tokens
}

/// Blanks comments and literals.
fn strip(raw: &str) -> String {
    let text: Vec<char> = raw.chars().collect();
    let mut code = String::with_capacity(raw.len());
    let mut at = 0;
    while at < text.len() {
        let (length, blank) = match text[at] {
            '/' if text.get(at + 1) == Some(&'/') => (until_newline(&text[at..]), Some(' ')),
            '/' if text.get(at + 1) == Some(&'*') => (block_comment(&text[at..]), Some(' ')),
            'r' if !is_word_before(&text, at, "bc") && raw_string(&text[at..]).is_some() => {
                (raw_string(&text[at..]).unwrap_or(1), Some('"'))
            }
            '"' => (quoted(&text[at..], '"'), Some('"')),
            '\'' if text.get(at + 1) == Some(&'\\') => (quoted(&text[at..], '\''), Some('"')),
            '\'' if text.get(at + 2) == Some(&'\'') => (3, Some('"')),
            _ => (1, None),
        };
        for &character in &text[at..at + length] {
            code.push(if character == '\n' { character } else { blank.unwrap_or(character) });
        }
        at += length;
    }
    code
}

/// Whether the character at `at` continues a word, other than by one of the prefixes.
fn is_word_before(text: &[char], at: usize, prefixes: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    match at.checked_sub(1).map(|before| text[before]) {
        Some(before) if prefixes.contains(before) => {
            at.checked_sub(2).is_some_and(|earlier| is_word(text[earlier]))
        }
        Some(before) => is_word(before),
        None => false,
    }
}

fn until_newline(text: &[char]) -> usize {
    text.iter().position(|&character| character == '\n').unwrap_or(text.len())
}

fn block_comment(text: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Length of `r"..."`, `r#"..."#` and so on; `None` if it is a word or `r#name`.
fn raw_string(text: &[char]) -> Option<usize> {
    let hashes = text[1..].iter().take_while(|&&character| character == '#').count();
    if text.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = &text[2 + hashes..];
    let length = body.windows(end.len()).position(|window| window == end);
    Some(length.map_or(text.len(), |length| 2 + hashes + length + end.len()))
}

fn quoted(text: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != quote {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

#[test]
fn comments_and_literals_are_not_code() {
    let cases = [
        ("a // crate::b", "a"),
        ("a /* x /* y */ z */ b", "a b"),
        ("a(\"x \\\" // y\", b)", "a ( , b )"),
        ("a(r#\"x \" y\"#, b)", "a ( , b )"),
        ("a(br\"x\\\", b)", "a ( b , b )"),
        ("for r in 'a'..='\\'' {}", "for r in . . = { }"),
        ("fn a<'b>(c: &'b str)", "fn a < ' b > ( c : & ' b str )"),
        ("crate::x::{y}", "crate :: x :: { y }"),
        ("//! doc\n/// doc\nx", "x"),
    ];
    for (raw, expected) in cases {
        let tokens = Source::new("src/x.rs", raw).tokens();
        let text: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(text.join(" "), expected, "{raw}");
    }
}

#[test]
fn lines_are_kept() {
    let source = Source::new("src/x.rs", "/* a\nb */\nr\"\n\" c");
    assert_eq!(source.tokens(), [Token { line: 4, text: "c".to_owned() }]);
}

#[test]
fn module_of_a_file_is_its_path() {
    for (path, expected) in [
        ("src/lib.rs", Some("")),
        ("src/cli.rs", Some("cli")),
        ("src/wire/mod.rs", Some("wire")),
        ("src/wire/open.rs", Some("wire::open")),
        ("tests/a.rs", None),
    ] {
        let module = Source::new(path, "").module().map(|module| module.join("::"));
        assert_eq!(module.as_deref(), expected, "{path}");
    }
}
