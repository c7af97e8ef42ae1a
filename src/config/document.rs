//! Walks a TOML document and remembers where everything stands.
//!
//! serde stops at the first unknown key or wrong type; here each is noted and the walk goes on.
//! Callers take the keys of a [`Section`] by name and finish it, which refuses what nobody knows
//! with the nearest known key as the suggestion.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::fault::{At, Findings, Place};
use crate::redaction::redact;

/// Characters of a value that are shown in a fault.
const SHOWN_MAX: usize = 60;

/// The text of a file with the offsets of its lines.
#[derive(Debug)]
pub(super) struct Source<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let later = text.match_indices('\n').map(|(offset, _)| offset + 1);
        Self { text, line_starts: std::iter::once(0).chain(later).collect() }
    }

    fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// The place of what stands at `span`, the text of it included.
    pub(super) fn place(&self, span: Range<usize>, key: String) -> Place {
        let line = self.line(span.start);
        let text = self.text.get(span).unwrap_or_default();
        let first = text.lines().next().unwrap_or_default();
        // Before it is shortened: the rest of a key is a part of it.
        let whole = redact(first);
        let mut shown: String = whole.chars().take(SHOWN_MAX).collect();
        if shown.len() < whole.len() || first.len() < text.len() {
            shown.push_str("...");
        }
        Place { line, key, shown }
    }

    /// Line and column of a fault of TOML itself, both from 1. What stands there is not shown: that
    /// it cannot be read leaves open what it is.
    pub(super) fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(offset);
        let before = self.text.get(start..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }
}

/// A value in the document, not yet looked at.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    source: &'a Source<'a>,
    value: &'a Spanned<DeValue<'a>>,
    key: String,
}

impl<'a> Entry<'a> {
    /// Where it stands. Tables show no value: theirs would be the header line.
    pub(super) fn place(&self) -> Place {
        let mut place = self.source.place(self.value.span(), self.key.clone());
        if self.value.get_ref().is_table() {
            place.shown.clear();
        }
        place
    }

    /// The text of a string.
    pub(super) fn text(&self, wanted: &str, findings: &mut Findings) -> Option<At<String>> {
        let text = self.text_if();
        if text.is_none() {
            self.refuse_type("a string", wanted, findings);
        }
        text
    }

    /// The text of a string, when it is one.
    pub(super) fn text_if(&self) -> Option<At<String>> {
        let text = self.value.get_ref().as_str()?;
        Some(At { value: text.to_owned(), place: self.place() })
    }

    /// A whole number; what does not fit 64 bits counts as far out of range.
    pub(super) fn number(&self, wanted: &str, findings: &mut Findings) -> Option<At<i64>> {
        let Some(number) = self.value.get_ref().as_integer() else {
            self.refuse_type("a whole number", wanted, findings);
            return None;
        };
        let value = i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX);
        Some(At { value, place: self.place() })
    }

    /// Yes or no.
    pub(super) fn flag(&self, wanted: &str, findings: &mut Findings) -> Option<At<bool>> {
        let Some(value) = self.value.get_ref().as_bool() else {
            self.refuse_type("true or false", wanted, findings);
            return None;
        };
        Some(At { value, place: self.place() })
    }

    /// The elements, if this is an array.
    pub(super) fn list_if(&self) -> Option<Vec<Entry<'a>>> {
        self.value.get_ref().as_array().map(|array| self.elements(array))
    }

    /// The elements of an array.
    pub(super) fn list(&self, wanted: &str, findings: &mut Findings) -> Option<Vec<Entry<'a>>> {
        let list = self.list_if();
        if list.is_none() {
            self.refuse_type("a list", wanted, findings);
        }
        list
    }

    /// Keys that are names of something, each with what stands there, if this is a table.
    pub(super) fn pairs_if(&self) -> Option<Vec<(String, Entry<'a>)>> {
        let table = self.value.get_ref().as_table()?;
        let pairs = table.iter().map(|(name, value)| {
            let key = format!("{}.{}", self.key, name.get_ref());
            (name.get_ref().to_string(), Entry { source: self.source, value, key })
        });
        Some(pairs.collect())
    }

    /// The table under this entry, if it is one.
    pub(super) fn section_if(&self, known: &'static [&'static str]) -> Option<Section<'a>> {
        let table = self.value.get_ref().as_table()?;
        Some(Section { source: self.source, table, known, place: self.place() })
    }

    /// The table under this entry.
    pub(super) fn section(
        &self,
        known: &'static [&'static str],
        wanted: &str,
        findings: &mut Findings,
    ) -> Option<Section<'a>> {
        let section = self.section_if(known);
        if section.is_none() {
            self.refuse_type("a table", wanted, findings);
        }
        section
    }

    /// Refuses what stands here for its type.
    pub(super) fn refuse_type(&self, due: &str, wanted: &str, findings: &mut Findings) {
        let kind = article(self.value.get_ref().type_str());
        findings.refuse(&self.place(), format!("is {kind}, not {due}"), wanted);
    }

    fn elements(&self, array: &'a DeArray<'a>) -> Vec<Entry<'a>> {
        let (source, key) = (self.source, &self.key);
        array
            .iter()
            .enumerate()
            .map(|(index, value)| Entry { source, value, key: format!("{key}[{index}]") })
            .collect()
    }
}

/// A table of the document with the keys that may stand in it.
#[derive(Clone, Debug)]
pub(super) struct Section<'a> {
    source: &'a Source<'a>,
    table: &'a DeTable<'a>,
    known: &'static [&'static str],
    place: Place,
}

impl<'a> Section<'a> {
    /// The table that the whole document is.
    pub(super) fn root(
        source: &'a Source<'a>,
        table: &'a DeTable<'a>,
        known: &'static [&'static str],
    ) -> Self {
        Self { source, table, known, place: Place::default() }
    }

    /// Where the table stands.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// What stands under a key.
    pub(super) fn entry(&self, key: &str) -> Option<Entry<'a>> {
        debug_assert!(self.known.contains(&key), "{key} is missing in the list of known keys");
        let value = self.table.get(key)?;
        Some(Entry { source: self.source, value, key: self.path(key) })
    }

    /// The string under a key, which may be absent.
    pub(super) fn text(
        &self,
        key: &str,
        wanted: &str,
        findings: &mut Findings,
    ) -> Option<At<String>> {
        self.entry(key)?.text(wanted, findings)
    }

    /// The whole number under a key, which may be absent.
    pub(super) fn number(
        &self,
        key: &str,
        wanted: &str,
        findings: &mut Findings,
    ) -> Option<At<i64>> {
        self.entry(key)?.number(wanted, findings)
    }

    /// The yes or no under a key, which may be absent.
    pub(super) fn flag(
        &self,
        key: &str,
        wanted: &str,
        findings: &mut Findings,
    ) -> Option<At<bool>> {
        self.entry(key)?.flag(wanted, findings)
    }

    /// What stands under a key that must be there.
    pub(super) fn required(
        &self,
        key: &str,
        wanted: &str,
        findings: &mut Findings,
    ) -> Option<Entry<'a>> {
        let entry = self.entry(key);
        if entry.is_none() {
            let line = self.place.line;
            let absent = Place { line, key: self.path(key), shown: String::new() };
            findings.refuse(&absent, "is missing", wanted);
        }
        entry
    }

    /// Refuses every key that is not known here.
    pub(super) fn finish(&self, findings: &mut Findings) {
        for name in self.table.keys() {
            let text: &str = name.get_ref();
            if self.known.contains(&text) {
                continue;
            }
            let mut place = self.source.place(name.span(), self.path(text));
            place.shown.clear();
            let remedy = match nearest(text, self.known) {
                Some(known) => format!("did you mean {known:?}?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            findings.refuse(&place, "is not a known key", remedy);
        }
    }

    fn path(&self, key: &str) -> String {
        let bare = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
        let key = if !key.is_empty() && key.chars().all(bare) {
            key.to_owned()
        } else {
            format!("{key:?}")
        };
        if self.place.key.is_empty() { key } else { format!("{}.{key}", self.place.key) }
    }
}

/// The known word that a mistyped one most likely stands for: at most a third of it differs, or
/// two letters that changed places.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let length = word.chars().count();
    let limit = (length / 3).max(if length < 4 { 1 } else { 2 });
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, remove or change to make `b` of `a` (Levenshtein 1966). Capitals and the
/// two kinds of dash do not count.
fn distance(a: &str, b: &str) -> usize {
    let fold = |text: &str| -> Vec<char> {
        text.chars()
            .map(|letter| if letter == '-' { '_' } else { letter.to_ascii_lowercase() })
            .collect()
    };
    let (a, b) = (fold(a), fold(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, left) in a.iter().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (column, top) in b.iter().enumerate() {
            let changed = diagonal + usize::from(left != top);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn article(kind: &str) -> String {
    match kind {
        "integer" => "an integer".to_owned(),
        "array" => "a list".to_owned(),
        other => format!("a {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_key_only_when_it_is_near() {
        let known = ["name", "addresses", "weight"];
        assert_eq!(nearest("adresses", &known), Some("addresses"));
        assert_eq!(nearest("Weight", &known), Some("weight"));
        assert_eq!(nearest("nmae", &known), Some("name"));
        assert_eq!(nearest("quorum", &known), None);
        assert_eq!(nearest("nam", &known), Some("name"));
        assert_eq!(nearest("priority", &known), None);
        assert_eq!(nearest("", &known), None);
        assert_eq!(nearest("key-file", &["key_file"]), Some("key_file"));
    }

    #[test]
    fn lines_are_counted_from_one() {
        let source = Source::new("a\nb\n\nc");
        let lines: Vec<usize> = (0..6).map(|offset| source.line(offset)).collect();
        assert_eq!(lines, [1, 1, 2, 2, 3, 4]);
    }

    #[test]
    fn long_values_are_shortened() {
        let text = format!("\"{}\"", "x".repeat(100));
        let place = Source::new(&text).place(0..text.len(), String::new());
        assert_eq!(place.shown.len(), SHOWN_MAX + 3);
    }
}
