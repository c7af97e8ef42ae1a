//! What was measured, as a table for people and as lines of JSON for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::case::Figures;

/// One run of one system through one case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) system: String,
    pub(crate) case: String,
    pub(crate) addresses: usize,
    pub(crate) run: u32,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// The longest pause of any processor of this machine meanwhile.
    pub(crate) longest_stall_ms: f64,
    /// How much of the processors other guests of the host had meanwhile.
    pub(crate) stolen_percent: u64,
}

impl fmt::Display for Measured {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}: {}", self.case, self.system, cell(&[self]))?;
        if self.longest_stall_ms >= 20.0 {
            write!(out, " (the machine stood still for {:.0} ms)", self.longest_stall_ms)?;
        }
        Ok(())
    }
}

/// Writes a run as one line of JSON.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_line(measured: &Measured, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, measured)?;
    out.write_all(b"\n")
}

/// Reads the lines of former runs.
///
/// # Errors
/// When a file cannot be read or a line is none of ours.
pub(crate) fn read_lines(files: &[PathBuf]) -> io::Result<Vec<Measured>> {
    let mut results = Vec::new();
    for file in files {
        for line in std::fs::read_to_string(file)?.lines() {
            results.push(serde_json::from_str(line)?);
        }
    }
    Ok(results)
}

/// A Markdown table: one row for each case, one column for each system; medians, then the worst.
pub(crate) fn table(results: &[Measured]) -> String {
    let mut systems: Vec<&str> = Vec::new();
    let mut cases: Vec<&str> = Vec::new();
    let mut cells: BTreeMap<(&str, &str), Vec<&Measured>> = BTreeMap::new();
    for measured in results {
        for (list, name) in [(&mut systems, &measured.system), (&mut cases, &measured.case)] {
            if !list.contains(&name.as_str()) {
                list.push(name);
            }
        }
        cells.entry((&measured.case, &measured.system)).or_default().push(measured);
    }
    let mut text = format!("| | {} |\n|---|{}", systems.join(" | "), "---|".repeat(systems.len()));
    for case in cases {
        let row = systems
            .iter()
            .map(|system| cells.get(&(case, *system)).map_or_else(String::new, |runs| cell(runs)));
        text.push_str(&format!("\n| {case} | {} |", row.collect::<Vec<_>>().join(" | ")));
    }
    text
}

/// What runs of one system through one case have shown.
fn cell(runs: &[&Measured]) -> String {
    let column = |pick: fn(&Figures) -> Option<f64>| {
        let mut values: Vec<f64> = runs.iter().filter_map(|run| pick(&run.figures)).collect();
        values.sort_unstable_by(f64::total_cmp);
        Some((*values.get(values.len() / 2)?, *values.last()?))
    };
    let range = |(median, worst): (f64, f64)| {
        if runs.len() == 1 {
            number(median)
        } else {
            format!("{}, {}", number(median), number(worst))
        }
    };
    let mut parts = Vec::new();
    if let Some(outage) = column(|figures| figures.outage_ms) {
        parts.push(format!("out for {} ms", range(outage)));
    }
    if let Some((median, worst)) = column(|figures| figures.two_answer_ms)
        && worst > 0.0
    {
        parts.push(format!("two answer for {} ms", range((median, worst))));
    }
    if let Some(moves) = column(|figures| figures.false_takeovers.map(count)) {
        parts.push(format!("{} false takeovers", range(moves)));
    }
    if let Some(percent) = column(|figures| figures.processor_percent) {
        parts.push(format!("{:.2} % of a core", percent.0));
    }
    if let Some(memory) = column(|figures| figures.resident_mb) {
        parts.push(format!("{:.1} MB", memory.0));
    }
    if let Some(memory) = column(|figures| figures.proportional_mb) {
        parts.push(format!("{:.1} MB proportional", memory.0));
    }
    let faults = runs.iter().filter_map(|run| run.figures.fault.as_deref());
    if let Some(fault) = faults.clone().next() {
        parts.push(format!("{} of {} runs: {fault}", faults.count(), runs.len()));
    }
    parts.join("; ")
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

fn number(value: f64) -> String {
    if value >= 10.0 || value == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}
