//! `[cluster] restart`: what becomes of a node's groups while its daemon is restarted.

use super::document::nearest;
use super::fault::{At, Findings};

/// What happens to the addresses when another process of the node takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// They are handed over to peers, and balance gives some back.
    #[default]
    HandOver,
    /// They stay, and the next process continues with them.
    InPlace,
}

const WORDS: [(&str, Restart); 2] =
    [("hand-over", Restart::HandOver), ("in-place", Restart::InPlace)];

impl Restart {
    /// Returns the word in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::HandOver => "hand-over",
            Self::InPlace => "in-place",
        }
    }
}

/// Reads the word.
pub(super) fn check(word: Option<&At<String>>, findings: &mut Findings) -> Restart {
    let Some(word) = word else { return Restart::default() };
    let Some((_, meant)) = WORDS.iter().find(|(known, _)| *known == word.value) else {
        let remedy = match nearest(&word.value, &WORDS.map(|(known, _)| known)) {
            Some(known) => format!("did you mean {known:?}?"),
            None => "write \"hand-over\" or \"in-place\"".to_owned(),
        };
        findings.refuse(&word.place, "is not a way to restart", remedy);
        return Restart::default();
    };
    *meant
}
