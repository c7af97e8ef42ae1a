//! `[cluster] kernel_lease`: whether the daemon may run where nf_tables cannot be used.

use super::document::nearest;
use super::fault::{At, Findings};

/// What to do on a host where the gate in nf_tables is not possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelLease {
    /// Addresses get lifetimes of seconds.
    #[default]
    Auto,
    /// The daemon does not start.
    Required,
}

const WORDS: [(&str, KernelLease); 2] =
    [("auto", KernelLease::Auto), ("required", KernelLease::Required)];

impl KernelLease {
    /// Returns the word in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Required => "required",
        }
    }
}

/// Reads the word.
pub(super) fn check(word: Option<&At<String>>, findings: &mut Findings) -> KernelLease {
    let Some(word) = word else { return KernelLease::default() };
    if let Some((_, meant)) = WORDS.iter().find(|(known, _)| *known == word.value) {
        return *meant;
    }
    let remedy = match nearest(&word.value, &WORDS.map(|(known, _)| known)) {
        Some(known) => format!("did you mean {known:?}?"),
        None => "write \"auto\" or \"required\"".to_owned(),
    };
    findings.refuse(&word.place, "is not a way to lease addresses from the kernel", remedy);
    KernelLease::default()
}
