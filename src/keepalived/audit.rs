//! Goes through every statement of a host: each gets an entry, and what is wrong with its form a fault.
//!
//! What a keyword means is for `host`; it changes entries that turn out otherwise. Here is decided
//! what keepalived does with a keyword that it does not know: it logs a line and goes on. That is
//! taken as it is, unless the word looks like one that would have mattered, or has a block whose
//! closing brace keepalived would take for that of the block around it.

use std::collections::BTreeMap;

use super::definitions::undefined;
use super::keywords::{self, Block, Form, Row};
use super::report::{Entry, Findings, Verdict};
use super::tree::Node;

/// What became of the statements of a host, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<usize, Entry>,
    /// For sentences about several statements: what each is called there.
    words: BTreeMap<usize, String>,
}

impl Ledger {
    fn add(&mut self, node: &Node, path: &str, row: &Row) {
        let keyword = joined(path, &node.keyword);
        let how = row.how.to_owned();
        let entry = Entry { place: node.place.clone(), keyword, verdict: row.verdict, how };
        self.entries.insert(node.id, entry);
        let word = match row.alias {
            "" => node.keyword.clone(),
            keywords::WITH_VALUE => format!("{} {}", node.keyword, node.word()),
            alias => alias.to_owned(),
        };
        self.words.insert(node.id, word);
    }

    /// Says otherwise what became of a statement; `how` is a sentence of its own.
    pub(super) fn set(&mut self, node: &Node, verdict: Verdict, how: impl Into<String>) {
        self.set_number(node.id, verdict, how);
    }

    /// The same by the number of the statement.
    pub(super) fn set_number(&mut self, id: usize, verdict: Verdict, how: impl Into<String>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.verdict = verdict;
            entry.how = how.into();
            self.words.remove(&id);
        }
    }

    /// Says otherwise what became of statements of which nothing special was said yet.
    pub(super) fn restate(&mut self, row: impl Fn(&str) -> Option<(Verdict, &'static str)>) {
        for (id, entry) in &mut self.entries {
            let known = self.words.contains_key(id);
            if let Some((verdict, how)) = row(&entry.keyword).filter(|_| known) {
                entry.verdict = verdict;
                entry.how = how.to_owned();
                self.words.remove(id);
            }
        }
    }

    /// What there is to tell, each with the word for it in a sentence about several.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&Entry, Option<&String>)> {
        self.entries.iter().map(|(id, entry)| (entry, self.words.get(id)))
    }
}

/// Makes an entry for each statement.
pub(super) fn audit(nodes: &[Node], ledger: &mut Ledger, findings: &mut Findings) {
    Auditor { ledger, findings }.block(nodes, Block::Top, "", None);
}

struct Auditor<'a> {
    ledger: &'a mut Ledger,
    findings: &'a mut Findings,
}

impl Auditor<'_> {
    fn block(&mut self, nodes: &[Node], block: Block, path: &str, around: Option<&Node>) {
        for node in nodes {
            match keywords::find(block, &node.keyword) {
                Some(row) => self.known(node, row, path),
                None => self.unknown(node, block, path, around),
            }
        }
        if block != Block::Servers {
            self.repeated(nodes, block);
        }
    }

    fn known(&mut self, node: &Node, row: &Row, path: &str) {
        self.ledger.add(node, path, row);
        let command = node.keyword == "script" || node.keyword.starts_with("notify");
        if row.verdict <= Verdict::Otherwise && !command {
            self.undefined(node, node.word());
        }
        let inner = joined(path, &node.keyword);
        match (row.form, &node.block) {
            (Form::Value, None) | (Form::Any, _) => {
                for inside in node.inside() {
                    self.ledger.add(inside, &inner, row);
                }
            }
            (Form::Block(block), Some(nodes)) => self.block(nodes, block, &inner, Some(node)),
            (Form::List(entry), Some(nodes)) => self.list(nodes, entry, &inner, row),
            (Form::Value, Some(nodes)) => {
                let problem = "takes no block";
                let remedy = "write its value after it, without braces";
                self.findings.refuse(&node.place, &node.keyword, problem, remedy);
                self.list(nodes, "", &inner, row);
            }
            (Form::Block(_) | Form::List(_), None) => {
                let (problem, remedy) = if node.words.is_empty() {
                    ("its block is missing", "write { after it and } at its end")
                } else {
                    ("parameters stand on the keyword's line", "write them in a block: { ... }")
                };
                // Names of instances and the like stand on the line of the keyword.
                let named = matches!(row.form, Form::Block(_)) && !node.words.is_empty();
                let problem = if named { "its block is missing" } else { problem };
                self.findings.refuse(&node.place, &node.keyword, problem, remedy);
            }
        }
    }

    /// A name that nothing defines stays as it is, and means nothing to anybody.
    fn undefined(&mut self, node: &Node, word: &str) {
        if let Some(name) = word.strip_prefix('$').and_then(|_| undefined(word)) {
            let problem = format!("${name} is not defined before this line");
            let remedy = format!("write ${name}=VALUE before it, without a blank before the =");
            self.findings.refuse(&node.place, &node.keyword, problem, remedy);
        }
    }

    /// Entries of a list: what becomes of them is what becomes of the list.
    fn list(&mut self, nodes: &[Node], entry: &str, path: &str, row: &Row) {
        for node in nodes {
            // An entry may be the start of a forgotten block, whose words are no secret.
            let place = node.place.clone();
            let keyword = joined(path, entry);
            let told = Entry { place, keyword, verdict: row.verdict, how: row.how.to_owned() };
            self.ledger.entries.insert(node.id, told);
            self.ledger.words.insert(node.id, last(path).to_owned());
            self.list(node.inside(), entry, path, row);
        }
    }

    fn unknown(&mut self, node: &Node, block: Block, path: &str, around: Option<&Node>) {
        let row = Row {
            name: "",
            form: Form::Any,
            verdict: Verdict::NotNeeded,
            how: "{are} ignored by keepalived already",
            alias: "",
        };
        if block == Block::Servers {
            let parent = Row { verdict: Verdict::NotPossible, how: keywords::BALANCED, ..row };
            self.ledger.add(node, path, &parent);
            self.block(node.inside(), Block::Servers, &joined(path, &node.keyword), Some(node));
            return;
        }
        // A password may stand on a line of its own.
        let secret = block == Block::Authentication;
        let hidden = Node { keyword: "(not shown)".to_owned(), ..node.clone() };
        let shown = if secret { &hidden } else { node };
        self.ledger.add(shown, path, &row);
        self.list(node.inside(), "", &joined(path, &shown.keyword), &row);
        if let (Some(_), Some(around)) = (&node.block, around) {
            let problem = format!(
                "is not known in {}: keepalived takes its closing brace for that of {}",
                keywords::name_of(block),
                keywords::shown(around)
            );
            let remedy = "remove the block, or move it to where it belongs";
            self.findings.refuse(&node.place, &shown.keyword, problem, remedy);
            return;
        }
        if node.keyword.starts_with('$') && !secret {
            self.undefined(node, &node.keyword);
            return;
        }
        let near = keywords::nearest(block, &node.keyword);
        let mattered = near.filter(|row| row.verdict <= Verdict::Otherwise);
        if let Some(near) = mattered.filter(|_| !secret) {
            let problem = "is not a keyword: keepalived ignores the line";
            let remedy = format!("did you mean {}? Write that, or take the line out", near.name);
            self.findings.refuse(&node.place, &node.keyword, problem, remedy);
            return;
        }
        let name = keywords::name_of(block);
        let global = format!("vrrp_{}", node.keyword);
        let problem = match keywords::home(&node.keyword).filter(|_| !secret) {
            _ if keywords::find(Block::Globals, &global).is_some() => {
                format!("is a global keyword ({global}), and ignored in {name} by keepalived")
            }
            Some(home) => format!(
                "is a keyword of {}, and ignored in {name} by keepalived",
                keywords::name_of(home)
            ),
            None => format!("is not a keyword of {name}: keepalived ignores it"),
        };
        self.findings.warn(&node.place, &shown.keyword, problem);
    }

    /// A value that stands twice: the last counts, of scripts and processes the first.
    fn repeated(&mut self, nodes: &[Node], block: Block) {
        let mut seen: BTreeMap<&str, &Node> = BTreeMap::new();
        for node in nodes.iter().filter(|node| node.block.is_none()) {
            let value = keywords::find(block, &node.keyword).map(|row| row.form);
            if value != Some(Form::Value) {
                continue;
            }
            let Some(before) = seen.insert(&node.keyword, node) else { continue };
            let first = first_counts(&node.keyword);
            let (dead, counts) = if first { (node, before) } else { (before, node) };
            if first {
                seen.insert(&node.keyword, before);
            }
            let how = format!(
                "{} appears twice: keepalived uses line {}",
                node.keyword, counts.place.line
            );
            self.findings.warn(&dead.place, &dead.keyword, format!("{how}, not this"));
            self.ledger.set(dead, Verdict::NotNeeded, how);
        }
    }
}

/// Keywords that keepalived does not take a second time in a block.
pub(super) fn first_counts(keyword: &str) -> bool {
    keyword.starts_with("notify") || keyword == "process"
}

fn joined(path: &str, keyword: &str) -> String {
    match (path, keyword) {
        ("", keyword) => keyword.to_owned(),
        (path, "") => path.to_owned(),
        (path, keyword) => format!("{path}.{keyword}"),
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}
