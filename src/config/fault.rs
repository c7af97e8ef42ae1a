//! What is wrong with a file, in the operator's terms: where, what stands there, what may stand.
//!
//! Checking never stops at the first fault. Everything found goes into one [`Refused`], sorted by
//! line, so that one run of `buoy check` shows all there is to mend. A [`Warning`] does not
//! refuse anything: the file is used and the warning is shown and logged. What may be part of a key
//! is in neither: the file may be a key file, and whoever reads this need not be who may read that.
//!
//! ```text
//! line 12: pool[0].vips[1] = "10.77.0.300"
//!     is not an IP address; write it like "10.77.0.100" or "fd77::100"
//! ```

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::redaction::redact;

/// Columns for a problem and its remedy; longer ones get a line each.
const WIDTH: usize = 90;

/// A fault in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line in the file, from 1; 0 if the fault is that of the file as a whole.
    pub line: usize,
    /// Path of the key, such as `pool[0].vips[1]`; empty if the fault is not that of a key.
    pub key: String,
    /// Value as written, shortened and without keys; empty if there is none, and in
    /// faults of TOML itself.
    pub value: String,
    /// Problem, to be read after key and value.
    pub problem: String,
    /// Remedy in the imperative.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(out, self.line, &self.key)?;
        if !self.value.is_empty() {
            let sign = if self.key.is_empty() { ": " } else { " = " };
            write!(out, "{sign}{}", self.value)?;
        }
        let together = self.problem.len() + self.remedy.len() <= WIDTH;
        let between = if together { "; " } else { ";\n" };
        let text = format!("{}{between}{}", self.problem, self.remedy);
        write!(out, "\n    {}", indented(&text))
    }
}

/// A note to the operator on a valid file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Line in the file, from 1; 0 if it concerns the file as a whole.
    pub line: usize,
    /// Path of the key; empty if it does not concern a key.
    pub key: String,
    /// Text with the remedy.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(out, self.line, &self.key)?;
        write!(out, "\n    {}", indented(&self.text))
    }
}

/// Why a file was refused. Checking it has changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Path of the refused file.
    pub path: PathBuf,
    /// All faults, sorted by line; never empty.
    pub faults: Vec<Fault>,
}

impl Refused {
    /// The refusal of a file that has one fault as a whole.
    pub(super) fn whole(path: &Path, problem: String, remedy: &str) -> Self {
        let remedy = remedy.to_owned();
        let fault = Fault { line: 0, key: String::new(), value: String::new(), problem, remedy };
        Self { path: path.to_owned(), faults: vec![fault] }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(out, "{} is refused, {count} fault{plural}", self.path.display())?;
        for fault in &self.faults {
            write!(out, "\n{fault}")?;
        }
        Ok(())
    }
}

impl Error for Refused {}

/// Collects faults and warnings while a file is checked.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Warning>,
}

impl Findings {
    /// Notes that what stands at `place` cannot be taken.
    pub(super) fn refuse(
        &mut self,
        place: &Place,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        // The value is without keys already: it was shortened after that.
        self.faults.push(Fault {
            line: place.line,
            key: redact(&place.key),
            value: place.shown.clone(),
            problem: redact(&problem.into()),
            remedy: redact(&remedy.into()),
        });
    }

    /// Notes something that is taken all the same.
    pub(super) fn warn(&mut self, place: &Place, text: impl Into<String>) {
        let (key, text) = (redact(&place.key), redact(&text.into()));
        self.warnings.push(Warning { line: place.line, key, text });
    }

    /// Sorts both lists by place. The order within a line stays that of finding.
    pub(super) fn sort(&mut self) {
        self.faults.sort_by_key(|fault| fault.line);
        self.warnings.sort_by_key(|warning| warning.line);
    }
}

/// Where something stands in the file, and how it reads there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Line, from 1.
    pub(super) line: usize,
    /// Path of the key.
    pub(super) key: String,
    /// The value as written, shortened and without keys; empty for tables and for what is absent.
    pub(super) shown: String,
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

fn write_place(out: &mut fmt::Formatter<'_>, line: usize, key: &str) -> fmt::Result {
    match line {
        0 => write!(out, "whole file")?,
        _ => write!(out, "line {line}")?,
    }
    if key.is_empty() { Ok(()) } else { write!(out, ": {key}") }
}

/// Keeps further lines of a text below its first.
fn indented(text: &str) -> String {
    text.replace('\n', "\n    ")
}
