//! `buoy status --watch`: the text of `buoy status`, again each second.
//!
//! On a terminal it replaces itself, cut to the size of the window; elsewhere one text follows the
//! other, each ended by an empty line. While the daemon is lost that is said, with the age of what is
//! shown.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use ratatui::crossterm::terminal;

use super::feed::{AGAIN, wait};
use super::now;
use crate::control::client::Error;
use crate::control::live::Statuses;
use crate::control::render;
use crate::control::selection::Selection;

/// Between two statuses.
const EVERY: Duration = Duration::from_secs(1);
/// Cursor to the first cell, and everything from there erased.
const ERASE: &str = "\x1b[H\x1b[J";

/// How statuses are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Each replaces the one before.
    Terminal,
    /// One text after the other.
    Text,
    /// One object on each line.
    Json,
}

impl Form {
    /// For people, at a terminal or not.
    #[must_use]
    pub fn of(is_terminal: bool) -> Self {
        if is_terminal { Self::Terminal } else { Self::Text }
    }
}

/// Writes statuses until the reader goes away.
///
/// # Errors
/// If the selection names what does not exist, or nothing can be written. A daemon that is not there
/// is an error for [`Form::Json`] only: programs are not to take an old status for a new one.
pub fn watch(
    socket: &Path,
    selection: &Selection,
    form: Form,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mut page = Page { form, out, shown: String::new(), at: None };
    let ended = repeat(socket, selection, &mut page);
    match ended {
        Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

fn repeat(socket: &Path, selection: &Selection, page: &mut Page<'_>) -> Result<(), Error> {
    let form = page.form;
    loop {
        let lost = match Statuses::open(socket, EVERY) {
            Ok(mut statuses) => loop {
                let mut status = match statuses.status() {
                    Ok(status) => status,
                    Err(error) => break error,
                };
                selection.apply(&mut status).map_err(Error::Refused)?;
                let text = match form {
                    Form::Json => serde_json::to_string(&status).map_err(Error::NotUnderstood)?,
                    Form::Terminal | Form::Text => render::selected_status(&status, selection),
                };
                page.show(text, now()).map_err(Error::Output)?;
            },
            Err(error) => error,
        };
        if form == Form::Json {
            return Err(lost);
        }
        page.lose(&lost.to_string(), now()).map_err(Error::Output)?;
        wait(AGAIN);
    }
}

/// Where it is written.
struct Page<'a> {
    form: Form,
    out: &'a mut dyn Write,
    /// The last status.
    shown: String,
    /// When that came.
    at: Option<Instant>,
}

impl Page<'_> {
    fn show(&mut self, text: String, now: Instant) -> io::Result<()> {
        self.shown = text;
        self.at = Some(now);
        if self.form == Form::Terminal {
            return self.replace(&self.shown.clone());
        }
        writeln!(self.out, "{}", self.shown)?;
        self.out.flush()
    }

    fn lose(&mut self, why: &str, now: Instant) -> io::Result<()> {
        let age = match self.at {
            Some(at) => format!("what follows is {} s old", now.duration_since(at).as_secs()),
            None => "nothing is known yet".to_owned(),
        };
        if self.form == Form::Terminal {
            let text = format!("DAEMON LOST: {why}; {age}\n{}", self.shown);
            return self.replace(&text);
        }
        writeln!(self.out, "daemon lost: {why}")?;
        self.out.flush()
    }

    fn replace(&mut self, text: &str) -> io::Result<()> {
        let (columns, rows) = terminal::size().unwrap_or((80, 24));
        let (columns, rows) = (usize::from(columns), usize::from(rows).saturating_sub(1));
        write!(self.out, "{ERASE}{}", cut(text, columns, rows))?;
        self.out.flush()
    }
}

/// Returns as much of a text as fits; the last line says how much does not.
fn cut(text: &str, columns: usize, rows: usize) -> String {
    let line = |line: &str| line.chars().take(columns).collect::<String>();
    let all: Vec<&str> = text.lines().collect();
    let kept = if all.len() > rows { rows.saturating_sub(1) } else { all.len() };
    let mut lines: Vec<String> = all.iter().take(kept).map(|it| line(it)).collect();
    if kept < all.len() {
        lines.push(line(&format!("... {} lines more: --problems, or buoy top", all.len() - kept)));
    }
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_to_the_window_and_says_so() {
        assert_eq!(cut("abc\ndef\n", 80, 24), "abc\r\ndef\r\n");
        assert_eq!(cut("abcdef\nb\n", 3, 2), "abc\r\nb\r\n");
        assert_eq!(cut("a\nb\nc\nd\n", 20, 3), "a\r\nb\r\n... 2 lines more: --\r\n");
    }

    #[test]
    fn a_lost_daemon_is_said_with_the_age_of_what_is_shown() {
        let mut out = Vec::new();
        let shown = String::new();
        let mut page = Page { form: Form::Terminal, out: &mut out, shown, at: None };
        let start = now();
        page.lose("there is no socket", start).unwrap();
        page.show("cluster edge\n".to_owned(), start).unwrap();
        page.lose("it ended", start + Duration::from_secs(7)).unwrap();
        let text = String::from_utf8(out).unwrap();
        let pictures: Vec<&str> = text.split(ERASE).collect();
        assert_eq!(pictures[1], "DAEMON LOST: there is no socket; nothing is known yet\r\n");
        assert_eq!(pictures[2], "cluster edge\r\n");
        assert_eq!(
            pictures[3],
            "DAEMON LOST: it ended; what follows is 7 s old\r\ncluster edge\r\n"
        );
    }
}
