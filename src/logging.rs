//! Log lines on standard error, as text or as JSON; as text with fields, if it is systemd's journal.
//!
//! Called once by the daemon at its start. The lines go through a queue to a thread of their
//! own, because a reader of our standard error that has stopped reading must never stop us:
//! when the queue is full, lines are dropped. What is in the queue when the daemon ends is
//! written if that takes no longer than a second.

mod journal;

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use tracing::Level;
use tracing::field::Field;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::{self, Writer};

use journal::{Journal, JournalFormat};

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One object for each line, for programs.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("no log format '{other}', only 'text' and 'json'")),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Keeps the writing thread alive; the rest of the queue is written when this is dropped.
#[must_use = "dropping it ends the log"]
#[derive(Debug)]
pub struct Log {
    _writer: WorkerGuard,
}

/// Name of the field that has the kind of an event, as in `buoy events --json`: for programs.
const EVENT: &str = "event";
/// Lines that wait for a slow reader. A start or a failover with hundreds of groups writes a
/// line for each; the queue holds pointers only, so room is cheap.
const LINES_MAX: usize = 4096;

/// Starts the log. `verbose` is the number of `-v` given. Does nothing but return if a log was
/// started before in this process, as in tests.
pub fn start(format: Format, verbose: u8) -> Log {
    let journal = if format == Format::Text { Journal::behind_stderr() } else { None };
    let in_journal = journal.is_some();
    let sink: Box<dyn Write + Send> = match journal {
        Some(journal) => Box::new(journal),
        None => Box::new(io::stderr()),
    };
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .lossy(true)
        .thread_name("log")
        .finish(sink);
    let lines = tracing_subscriber::fmt().with_writer(writer).with_max_level(level(verbose));
    let lines = lines.with_target(false).with_ansi(false);
    // Fails only if there is a log already, which then stays.
    let _ = match format {
        Format::Text if in_journal => lines.event_format(JournalFormat).try_init(),
        Format::Text => lines.fmt_fields(format::debug_fn(write_field)).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
    Log { _writer: guard }
}

/// Writes a field as people see it. The kind of an event is left out: the message says it.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(writer, "{value:?}"),
        EVENT => Ok(()),
        name => write!(writer, " {name}={value:?}"),
    }
}

const fn level(verbose: u8) -> Level {
    match verbose {
        0 => Level::INFO,
        1 => Level::DEBUG,
        2.. => Level::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_is_read_as_it_is_written() {
        for format in [Format::Text, Format::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!(
            "xml".parse::<Format>(),
            Err("no log format 'xml', only 'text' and 'json'".to_owned())
        );
    }

    #[test]
    fn each_v_shows_more() {
        assert_eq!([level(0), level(1), level(9)], [Level::INFO, Level::DEBUG, Level::TRACE]);
    }
}
