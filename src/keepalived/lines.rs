//! From the file of a host to its lines as keepalived sees them, each with where it stands.
//!
//! ```text
//!  line -> comment off -> @condition -> $NAME= -> ~SEQ ~LST -> $NAME -> include -> braces -> Line
//!             ^                                                  |         |          |
//!             |           more lines of a value, and what stands behind a brace, once more
//!             +---------------------------------------------------- the included file
//! ```
//!
//! The order and the rules are those of `read_line` in keepalived 2.2.7. A brace ends a line wherever
//! it stands and is a line of its own. What does not reach the tree (conditions that do not hold,
//! definitions, includes) is told by an entry here. Limits hold for files, depth and lines; beyond
//! them the import is refused.

use std::sync::Arc;

use super::definitions::{Definitions, Endless, LINE_MAX, Replaced, definition, undefined};
use super::report::{Entry, Findings, Verdict};
use super::sequences::{Sequence, sequence};
use super::source::{
    DEPTH_MAX, FILE_SIZE_MAX, FILES_MAX, Files, LINES_MAX, Place, beside, directory, is_pattern,
    matches,
};
use super::words::without_comment;

/// A line, a brace, or what stands between braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Without comment, replaced, never empty.
    pub(super) text: String,
    /// Where it began.
    pub(super) place: Place,
}

/// What was read for one host.
#[derive(Debug, Default)]
pub(super) struct Lexed {
    /// The lines.
    pub(super) lines: Vec<Line>,
    /// What became of lines that are not here.
    pub(super) entries: Vec<Entry>,
    /// Files in the order of reading.
    pub(super) read: Vec<String>,
    /// Names of conditions, where keepalived has no name itself.
    pub(super) ids: Vec<String>,
}

/// A definition of several lines that has not ended.
struct Unfinished {
    name: String,
    lines: Vec<String>,
}

struct Lexer<'a> {
    files: &'a dyn Files,
    id: Option<&'a str>,
    definitions: Definitions,
    unfinished: Option<Unfinished>,
    open: Vec<String>,
    /// Lines of values and sequences that are being looked at, one in the other.
    depth: usize,
    /// Whether nothing more is read: a limit, or a template.
    stopped: bool,
    found: Lexed,
    findings: &'a mut Findings,
}

/// Reads a file and what it includes, as `keepalived -i id` does.
pub(super) fn read(
    files: &dyn Files,
    path: &str,
    id: Option<&str>,
    findings: &mut Findings,
) -> Lexed {
    let mut lexer = Lexer {
        files,
        id,
        definitions: Definitions::standard(id),
        unfinished: None,
        open: Vec::new(),
        depth: 0,
        stopped: false,
        found: Lexed::default(),
        findings,
    };
    match files.read(path, FILE_SIZE_MAX) {
        Ok(content) => lexer.file(path, &content.bytes),
        Err(error) => {
            let problem = format!("{path} cannot be read: {error}");
            lexer.findings.refuse_all(problem, "name keepalived's configuration file");
        }
    }
    lexer.found
}

impl Lexer<'_> {
    fn file(&mut self, path: &str, bytes: &[u8]) {
        let file: Arc<str> = Arc::from(path);
        self.found.read.push(path.to_owned());
        let place = |line| Place { file: Arc::clone(&file), line };
        if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
            let line = bytes.iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
            let remedy = "name keepalived's configuration file";
            self.findings.refuse(&place(line), "", "holds a zero byte: it is not text", remedy);
            return;
        }
        self.set_directory(path);
        self.open.push(path.to_owned());
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if self.stopped {
                break;
            }
            // Comments in an old character set are no fault; in values such bytes are found later.
            let line = String::from_utf8_lossy(line);
            self.raw(line.trim_end_matches('\r'), &place(index + 1));
        }
        self.open.pop();
    }

    /// What `${_PWD}` stands for, if it is known: where a file lies at the host.
    fn set_directory(&mut self, path: &str) {
        if let Some(here) = Some(directory(path)).filter(|here| here.starts_with('/')) {
            self.definitions.set("_PWD", here.trim_end_matches('/'));
        }
    }

    /// One line as it stands in a file.
    fn raw(&mut self, line: &str, place: &Place) {
        if line.is_empty() {
            self.finish_definition();
            return;
        }
        if line.len() > LINE_MAX {
            let problem = format!("the line is longer than {LINE_MAX} bytes");
            let remedy = "shorten it: keepalived reads the rest as another line";
            self.findings.refuse(place, "", problem, remedy);
        }
        if line.contains("{{") || line.contains("{%") || line.contains("<%") {
            let remedy =
                "import the file that is generated from it, on the host where keepalived runs";
            self.findings.refuse(place, "", "this is a template, not a configuration", remedy);
            self.stopped = true;
            return;
        }
        let bare = without_comment(line);
        if bare.quote_open {
            let remedy = "close the quotation; keepalived drops what follows it";
            self.findings.refuse(place, "", "a quote (\") is not closed in this line", remedy);
        }
        if bare.text.is_empty() {
            return;
        }
        match &mut self.unfinished {
            None => self.text(bare.text, place),
            Some(unfinished) => {
                let line = bare.text.strip_suffix('\\');
                let text = line.unwrap_or(&bare.text).trim_end_matches([' ', '\t']);
                if !text.is_empty() {
                    unfinished.lines.push(text.to_owned());
                }
                if line.is_none() {
                    self.finish_definition();
                }
            }
        }
    }

    fn finish_definition(&mut self) {
        if let Some(Unfinished { name, lines }) = self.unfinished.take() {
            self.definitions.set_lines(&name, lines);
        }
    }

    /// A text that may begin with a condition and hold names, an include or braces.
    fn text(&mut self, text: String, place: &Place) {
        if self.stopped {
            return;
        }
        if self.depth > 4 * DEPTH_MAX || self.found.lines.len() > LINES_MAX {
            let problem = format!("more than {LINES_MAX} lines, or definitions without an end");
            self.findings.refuse(
                place,
                "",
                problem,
                "look for definitions that refer to each other",
            );
            self.stopped = true;
            return;
        }
        self.depth += 1;
        if let Some((text, more)) = self.replaced(text, place) {
            match include(&text) {
                Some(pattern) => self.include(pattern, place),
                None => self.split(&text, place),
            }
            for line in more {
                self.text(line, place);
            }
        }
        self.depth -= 1;
    }

    /// Applies conditions, definitions and sequences; `None` if nothing is left to look at.
    fn replaced(&mut self, mut text: String, place: &Place) -> Option<(String, Vec<String>)> {
        let mut more = Vec::new();
        loop {
            if text.starts_with('@') {
                text = self.condition(&text, place)?;
            }
            if let Some((name, value)) = definition(&text) {
                self.define(name, value, place);
                return None;
            }
            if text.starts_with("~SEQ") || text.starts_with("~LST") {
                self.sequence(&text, place);
                return None;
            }
            if text.starts_with('~') || !text.contains('$') {
                break;
            }
            match self.definitions.replace(&text) {
                Err(Endless) => {
                    let problem = "definitions refer to each other, or make the line too long";
                    let remedy = "write the values instead of the names";
                    self.findings.refuse(place, "", problem, remedy);
                    return None;
                }
                Ok(None) => break,
                Ok(Some(Replaced { text: new, more: lines })) => {
                    more.splice(0..0, lines);
                    text = without_comment(&new).text;
                }
            }
        }
        Some((text, more))
    }

    /// The text behind `@id` or `@^id`, if it applies.
    fn condition(&mut self, text: &str, place: &Place) -> Option<String> {
        let (wanted, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let (name, reversed) = match wanted.strip_prefix("@^") {
            Some(name) => (name, true),
            None => (wanted.strip_prefix('@').unwrap_or_default(), false),
        };
        let holds = (self.id == Some(name)) != reversed;
        if self.id.is_none() && !reversed && !self.found.ids.iter().any(|id| id == name) {
            self.found.ids.push(name.to_owned());
        }
        let rest = rest.trim_start_matches([' ', '\t']);
        if holds && !rest.is_empty() {
            return Some(rest.to_owned());
        }
        let keyword = rest.split([' ', '\t', '=']).next().unwrap_or_default();
        let who = self.id.map_or("keepalived without -i".to_owned(), |id| format!("-i {id}"));
        let how = format!("the line does not apply to {who}; FILE@ID says another");
        self.entry(place, &format!("{wanted} {keyword}"), Verdict::NotNeeded, how);
        None
    }

    fn define(&mut self, name: &str, value: &str, place: &Place) {
        let how = "its value stands where it is used".to_owned();
        self.entry(place, &format!("${name}="), Verdict::Otherwise, how);
        match value.strip_suffix('\\') {
            None => self.definitions.set(name, value),
            Some(first) => {
                let first = first.trim_end_matches([' ', '\t']);
                let lines = if first.is_empty() { vec![] } else { vec![first.to_owned()] };
                self.unfinished = Some(Unfinished { name: name.to_owned(), lines });
            }
        }
    }

    fn sequence(&mut self, text: &str, place: &Place) {
        let Some(Sequence { names, values, text }) = sequence(text, &self.definitions) else {
            let remedy = "write ~SEQ(NAME, FROM, TO) TEXT, or write the lines out";
            self.findings.refuse(place, "~SEQ", "is not a valid sequence", remedy);
            return;
        };
        let how = "its lines are written out".to_owned();
        self.entry(place, "~SEQ ~LST", Verdict::Otherwise, how);
        for set in values {
            for (name, value) in names.iter().zip(set) {
                self.definitions.set(name, &value);
            }
            self.text(text.clone(), place);
        }
    }

    fn include(&mut self, pattern: &str, place: &Place) {
        let including = self.open.last().cloned().unwrap_or_default();
        let full = beside(&including, pattern);
        let paths = if is_pattern(&full) { matches(self.files, &full) } else { vec![full.clone()] };
        let mut count = 0;
        for path in paths {
            if self.open.len() >= DEPTH_MAX || self.open.contains(&path) {
                let problem = format!("{path} includes itself, or more than {DEPTH_MAX} deep");
                self.findings.refuse(place, "include", problem, "remove the include");
                continue;
            }
            if self.found.read.len() >= FILES_MAX {
                let problem = format!("more than {FILES_MAX} files");
                self.findings.refuse(place, "include", problem, "merge them");
                self.stopped = true;
                return;
            }
            match self.files.read(&path, FILE_SIZE_MAX) {
                Ok(content) if content.executable => {
                    let problem = format!("{path} is executable: keepalived skips such files");
                    self.findings.warn(place, "include", problem);
                }
                Ok(content) => {
                    count += 1;
                    self.file(&path, &content.bytes);
                    self.set_directory(&including);
                }
                Err(error) => {
                    let problem = format!("{path} cannot be read ({error})");
                    self.findings.warn(place, "include", format!("{problem}: keepalived skips it"));
                }
            }
        }
        if count == 0 && is_pattern(&full) {
            self.findings.tell(format!("{pattern} matched nothing"), &[place]);
        }
        let how = match count {
            0 => "there is no file, which keepalived ignores silently".to_owned(),
            1 => "the file was read here".to_owned(),
            _ => format!("{count} files were read here"),
        };
        self.entry(place, "include", Verdict::Otherwise, how);
    }

    /// Braces outside of quotes are lines of their own.
    fn split(&mut self, text: &str, place: &Place) {
        if text.contains("${")
            && let Some(name) = undefined(text)
        {
            let problem = format!("${{{name}}} is not defined before this line");
            let remedy = match name {
                "_PWD" => "it is the directory of the file on its host: write the absolute path",
                "_RANDOM" => {
                    "it is a different number at each start: write the number that is meant"
                }
                _ => {
                    "define it, or import the file that defines it; keepalived splits the line at \
                     its braces"
                }
            };
            self.findings.refuse(place, "", problem, remedy);
            return;
        }
        let at = if text.starts_with(['{', '}']) { Some(0) } else { brace(text) };
        let (head, rest) = match at {
            None => (text, ""),
            Some(0) => text.split_at(1),
            Some(at) => text.split_at(at),
        };
        let head = head.trim_end_matches([' ', '\t']);
        if !head.is_empty() {
            self.found.lines.push(Line { text: head.to_owned(), place: place.clone() });
        }
        let rest = rest.trim_matches([' ', '\t']);
        if !rest.is_empty() {
            self.text(rest.to_owned(), place);
        }
    }

    fn entry(&mut self, place: &Place, keyword: &str, verdict: Verdict, how: String) {
        let (keyword, place) = (crate::redaction::redact(keyword), place.clone());
        self.found.entries.push(Entry { place, keyword, verdict, how });
    }
}

/// Where the first brace outside of quotes stands.
fn brace(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, letter)| {
        quoted ^= letter == '"';
        (!quoted && matches!(letter, '{' | '}')).then_some(at)
    })
}

/// What an `include` names; `includer`, `includem`, `includew`, `includeb` and `includea` differ in
/// what they complain about.
fn include(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("include")?;
    let plain = rest.trim_start_matches(['r', 'm', 'w', 'b', 'a']);
    let rest = if rest.len() - plain.len() <= 1 { plain } else { rest };
    rest.starts_with([' ', '\t']).then(|| rest.trim_start_matches([' ', '\t']))
}
