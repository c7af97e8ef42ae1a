//! What the lab prints: lines that stay and, on a terminal, a live table below them.
//!
//! Elsewhere (a file, a pipe) there is no live table; the lines that stay tell the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::clock;
use super::cluster::Cluster;

/// Between two drawings of the live table.
const REDRAW: Duration = Duration::from_millis(100);
/// An address that no probe of this long answered shows as silent.
const RECENT: Duration = Duration::from_millis(60);
/// In the column of the node that answers for the group: the widest word there.
const ANSWERS: &str = "answers";
/// More groups than this are not listed one by one.
const ROWS_MAX: usize = 16;

/// The output.
pub struct Stage<'a, W> {
    out: &'a mut W,
    terminal: bool,
    /// Lines of the live table that are on the screen now.
    drawn: usize,
    drawn_at: Option<Instant>,
}

impl<'a, W: Write> Stage<'a, W> {
    /// Prints to `out`; with a live table if the process's output is a terminal.
    pub fn new(out: &'a mut W) -> Self {
        Self { out, terminal: io::stdout().is_terminal(), drawn: 0, drawn_at: None }
    }

    /// Prints a line that stays.
    ///
    /// # Errors
    /// When the output is gone.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        self.wipe()?;
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }

    /// Draws the live table again, if it is time to.
    ///
    /// # Errors
    /// When the output is gone.
    pub fn live(&mut self, cluster: &Cluster) -> io::Result<()> {
        let now = clock::now();
        let fresh = self.drawn_at.is_some_and(|at| now.duration_since(at) < REDRAW);
        if !self.terminal || fresh {
            return Ok(());
        }
        self.wipe()?;
        let table = table(cluster);
        self.out.write_all(table.as_bytes())?;
        self.out.flush()?;
        self.drawn = table.lines().count();
        self.drawn_at = Some(now);
        Ok(())
    }

    /// Prints the live table once, so that it stays.
    ///
    /// # Errors
    /// When the output is gone.
    pub fn table(&mut self, cluster: &Cluster) -> io::Result<()> {
        self.wipe()?;
        self.out.write_all(table(cluster).as_bytes())?;
        self.out.flush()
    }

    fn wipe(&mut self) -> io::Result<()> {
        if self.drawn > 0 {
            write!(self.out, "\x1b[{}A\x1b[J", self.drawn)?;
            self.drawn = 0;
            self.drawn_at = None;
        }
        Ok(())
    }
}

/// Who answers for what, one group a line.
fn table(cluster: &Cluster) -> String {
    let answering: BTreeMap<_, _> = cluster.answering(RECENT).into_iter().collect();
    let names: Vec<_> = (0..cluster.nodes()).map(|node| cluster.name(node)).collect();
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0).max(ANSWERS.len());
    let first = cluster.plan.groups.iter().filter_map(|group| group.first());
    let wide = first.map(|vip| vip.to_string().len()).max().unwrap_or(16).max(16);
    let mut table = format!("  {:wide$}", "VIP group");
    for name in &names {
        let _ = write!(table, "  {name:width$}");
    }
    table.truncate(table.trim_end().len());
    table.push('\n');
    for group in cluster.plan.groups.iter().take(ROWS_MAX) {
        let Some(vip) = group.first() else { continue };
        let more = if group.len() > 1 { format!(" +{}", group.len() - 1) } else { String::new() };
        let _ = write!(table, "  {:wide$}", format!("{vip}{more}"));
        let who = answering.get(vip).copied().flatten();
        for node in 0..names.len() {
            let holds = cluster.watch.holders(*vip).contains(&node);
            let cell = match (who == Some(node), holds) {
                (true, _) => ANSWERS,
                (false, true) => "holds",
                (false, false) => "-",
            };
            let _ = write!(table, "  {cell:width$}");
        }
        if who.is_none() {
            table.push_str("  no answer");
        }
        table.truncate(table.trim_end().len());
        table.push('\n');
    }
    if cluster.plan.groups.len() > ROWS_MAX {
        let _ = writeln!(table, "  ... and {} more", cluster.plan.groups.len() - ROWS_MAX);
    }
    table
}

/// A duration as the tables show it.
#[must_use]
pub fn milliseconds(time: Duration) -> String {
    let time = time.as_secs_f64() * 1000.0;
    if time == 0.0 {
        "0".to_owned()
    } else if time < 10.0 {
        format!("{time:.1}")
    } else {
        format!("{time:.0}")
    }
}
