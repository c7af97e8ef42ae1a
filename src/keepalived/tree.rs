//! From lines to statements and blocks, with faults of braces told where they were made.
//!
//! keepalived goes on after a brace that is missing and complains about everything that follows.
//! Here a block that only stands at the top of a file (`vrrp_instance`, `global_defs`, ...) closes
//! whatever is open, so that one brace is one fault. Pure.

use super::keywords;
use super::lines::Line;
use super::report::Findings;
use super::source::Place;
use super::words::words;

/// A statement, with its block if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Its number in the file of the host; what became of it is kept by this.
    pub(super) id: usize,
    /// The first word; in a list, such as that of addresses, the first word of the entry.
    pub(super) keyword: String,
    /// The other words.
    pub(super) words: Vec<String>,
    /// The whole line, for commands.
    pub(super) text: String,
    /// Where it stands.
    pub(super) place: Place,
    /// What is between its braces.
    pub(super) block: Option<Vec<Node>>,
}

impl Node {
    /// What is between its braces; nothing if it has none.
    pub(super) fn inside(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// The first value.
    pub(super) fn word(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Keyword and name, as in `vrrp_instance ONE`.
    pub(super) fn title(&self) -> String {
        match self.words.first() {
            Some(name) => format!("{} {name}", self.keyword),
            None => self.keyword.clone(),
        }
    }
}

/// Makes the statements of a host's lines, and tells how many there are.
pub(super) fn grow(lines: &[Line], findings: &mut Findings) -> (Vec<Node>, usize) {
    let mut tree = Tree { open: Vec::new(), root: Vec::new(), count: 0, before: None };
    for line in lines {
        match line.text.as_str() {
            "{" => tree.begin(&line.place, findings),
            "}" => tree.end(&line.place, findings),
            _ => tree.statement(line, findings),
        }
        tree.before = Some(line);
    }
    if let Some(last) = lines.last() {
        tree.close_all(&last.place, "the end", findings);
    }
    (tree.root, tree.count)
}

struct Tree<'a> {
    /// Statements whose blocks have begun, with what is in them so far.
    open: Vec<Node>,
    root: Vec<Node>,
    count: usize,
    before: Option<&'a Line>,
}

impl Tree<'_> {
    fn here(&mut self) -> &mut Vec<Node> {
        match self.open.last_mut() {
            Some(open) => open.block.get_or_insert_default(),
            None => &mut self.root,
        }
    }

    fn begin(&mut self, place: &Place, findings: &mut Findings) {
        let fits = self.before.is_some_and(|line| line.text != "{" && line.text != "}");
        match self.here().pop_if(|_| fits) {
            Some(mut node) => {
                node.block = Some(Vec::new());
                self.open.push(node);
            }
            None => {
                let remedy = "write the keyword of the block before it";
                findings.refuse(place, "{", "an opening brace without a keyword", remedy);
            }
        }
    }

    fn end(&mut self, place: &Place, findings: &mut Findings) {
        match self.open.pop() {
            Some(node) => self.here().push(node),
            None => {
                let remedy = "remove it, or open the block that it should close";
                findings.refuse(place, "}", "a closing brace without an opening one", remedy);
            }
        }
    }

    fn statement(&mut self, line: &Line, findings: &mut Findings) {
        let mut words = words(&line.text).into_iter();
        let Some(keyword) = words.next() else { return };
        if !self.open.is_empty() && keywords::closes_all(&keyword) {
            self.close_all(&line.place, "", findings);
        }
        let id = self.count;
        self.count += 1;
        let (text, place) = (line.text.clone(), line.place.clone());
        let node = Node { id, keyword, words: words.collect(), text, place, block: None };
        self.here().push(node);
    }

    fn close_all(&mut self, place: &Place, what: &str, findings: &mut Findings) {
        while let Some(node) = self.open.pop() {
            let end = match what {
                "" if place.file == node.place.file => format!("line {}", place.line),
                "" => place.to_string(),
                end => format!("{end} of {}", place.file),
            };
            let problem = format!(
                "the block {} that begins in line {} is not closed before {end}",
                keywords::shown(&node),
                node.place.line
            );
            findings.refuse(place, "", problem, "write the closing brace where the block ends");
            self.here().push(node);
        }
    }
}
