//! What an import has to tell: an entry for each keyword, sentences, and faults.
//!
//! Nothing of a file is dropped in silence: each statement gets one [`Entry`]. What concerns several
//! statements, or what somebody must do, is a sentence of its own ([`Note`]). A [`Fault`] names the
//! line, the keyword and the remedy; with one that refuses there is no file. No text here holds a
//! value that may be a secret, and all pass through `redaction`, since the file may be a key file.

use std::fmt;

use crate::redaction::redact;

use super::source::Place;

/// What became of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It stands in the new file and means the same.
    Carried,
    /// It stands there in another form, or is done by buoy in another way.
    Otherwise,
    /// buoy does without it.
    NotNeeded,
    /// buoy has no counterpart; the entry says what to do.
    NotPossible,
}

impl Verdict {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 4] = [Self::Carried, Self::Otherwise, Self::NotNeeded, Self::NotPossible];

    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Carried => "carried over",
            Self::Otherwise => "carried over differently",
            Self::NotNeeded => "not needed",
            Self::NotPossible => "not possible",
        }
    }

    /// As programs read it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Carried => "carried",
            Self::Otherwise => "carried_otherwise",
            Self::NotNeeded => "not_needed",
            Self::NotPossible => "not_possible",
        }
    }
}

/// One statement of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub place: Place,
    /// The keyword with the blocks that it is in, such as `vrrp_instance.priority`.
    pub keyword: String,
    /// What became of it.
    pub verdict: Verdict,
    /// How, why, or what to do.
    pub how: String,
}

/// A sentence about several statements, or about what somebody must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The sentence.
    pub text: String,
    /// What it is about; may be empty.
    pub places: Vec<Place>,
}

/// What is wrong with the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where; `None` if it is not about a line.
    pub place: Option<Place>,
    /// The keyword; empty if it is not about one.
    pub keyword: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
    /// Whether it refuses the import; otherwise keepalived's own repair is taken.
    pub refuses: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(out, "{place}: ")?;
        }
        if !self.keyword.is_empty() {
            write!(out, "{}: ", self.keyword)?;
        }
        write!(out, "{}", self.problem)?;
        if !self.remedy.is_empty() {
            write!(out, "\n    {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Collects what is found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) faults: Vec<Fault>,
    pub(super) notes: Vec<Note>,
    /// Statements of which all hosts together decide what becomes, by their lines.
    pub(super) decided: Vec<(Place, Verdict, String)>,
}

impl Findings {
    /// Notes a fault that refuses the import.
    pub(super) fn refuse(
        &mut self,
        place: &Place,
        keyword: &str,
        problem: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) {
        self.add(Some(place), keyword, problem.as_ref(), remedy.as_ref());
    }

    /// Notes a fault that is not about a line.
    pub(super) fn refuse_all(&mut self, problem: impl AsRef<str>, remedy: impl AsRef<str>) {
        self.add(None, "", problem.as_ref(), remedy.as_ref());
    }

    fn add(&mut self, place: Option<&Place>, keyword: &str, problem: &str, remedy: &str) {
        self.faults.push(Fault {
            place: place.cloned(),
            keyword: redact(keyword),
            problem: redact(problem),
            remedy: redact(remedy),
            refuses: true,
        });
    }

    /// Notes what keepalived repairs or ignores itself, as the import does.
    pub(super) fn warn(&mut self, place: &Place, keyword: &str, problem: impl AsRef<str>) {
        self.add(Some(place), keyword, problem.as_ref(), "");
        if let Some(fault) = self.faults.last_mut() {
            fault.refuses = false;
        }
    }

    /// Says what became of the statements of a line, now that all hosts are known.
    pub(super) fn decide(&mut self, place: &Place, verdict: Verdict, how: impl AsRef<str>) {
        self.decided.push((place.clone(), verdict, redact(how.as_ref())));
    }

    /// Adds a sentence, once.
    pub(super) fn tell(&mut self, text: impl AsRef<str>, places: &[&Place]) {
        let text = redact(text.as_ref());
        let index = self.notes.iter().position(|note| note.text == text).unwrap_or_else(|| {
            self.notes.push(Note { text, places: Vec::new() });
            self.notes.len() - 1
        });
        let known = &mut self.notes[index].places;
        for place in places {
            if !known.contains(place) {
                known.push((*place).clone());
            }
        }
    }

    /// Whether the import is refused.
    pub(super) fn refused(&self) -> bool {
        self.faults.iter().any(|fault| fault.refuses)
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Small numbers as words.
pub(super) fn counted(count: usize) -> String {
    const WORDS: [&str; 13] = [
        "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
        "eleven", "twelve",
    ];
    WORDS.get(count).map_or_else(|| count.to_string(), |word| (*word).to_owned())
}
