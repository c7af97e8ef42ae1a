//! The native protocol of systemd's journal: a datagram of `NAME=value` lines for each line of the log.
//!
//! Used when standard error is the journal, which `JOURNAL_STREAM` says. People see the same text as
//! on standard error; in addition every field of a line is a field of the journal, so that
//! `journalctl -u buoy BUOY_GROUP=10.77.0.100` and `BUOY_EVENT=owner_changed` find lines. Names are
//! those of the fields in capitals behind `BUOY_`. What the journal does not take is written to
//! standard error.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::EVENT;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// A longer value is cut: a datagram must fit into the buffer of the socket.
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// Writes each buffer as one datagram.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
}

/// Forms the datagram of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct JournalFormat;

impl Journal {
    /// Returns the journal if standard error is connected to it.
    pub(super) fn behind_stderr() -> Option<Self> {
        let stream = std::env::var("JOURNAL_STREAM").ok()?;
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?).metadata().ok()?;
        (parse(&stream)? == (stderr.dev(), stderr.ino())).then(|| Self::at(Path::new(SOCKET)))?.ok()
    }

    fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self { socket })
    }
}

/// Device and inode, as `8:42`.
fn parse(stream: &str) -> Option<(u64, u64)> {
    let (device, inode) = stream.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

impl Write for Journal {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.socket.send(line).is_err() {
            let text = String::from_utf8_lossy(line);
            let message = text.lines().find_map(|line| line.strip_prefix("MESSAGE="));
            writeln!(io::stderr(), "{}", message.unwrap_or_default())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S, N> FormatEvent<S, N> for JournalFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line::default();
        event.record(&mut line);
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "PRIORITY={priority}\nSYSLOG_IDENTIFIER=buoy\nMESSAGE={}", line.message)?;
        write!(writer, "{}\n{}", line.shown, line.fields)
    }
}

/// What a line consists of.
#[derive(Default)]
struct Line {
    message: String,
    /// Fields as people see them, behind the message.
    shown: String,
    /// Fields of the journal, each with its newline.
    fields: String,
}

impl Line {
    fn add(&mut self, field: &Field, shown: &str, value: &str) {
        if field.name() == "message" {
            self.message = one_line(value);
            return;
        }
        if field.name() != EVENT && self.shown.len() < VALUE_BYTES_MAX {
            // Writing to a string cannot fail.
            let _ = write!(self.shown, " {}={}", field.name(), one_line(shown));
        }
        let letter = |letter: char| {
            if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' }
        };
        let name: String = field.name().chars().map(letter).collect();
        let _ = writeln!(self.fields, "BUOY_{name}={}", one_line(value));
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, &format!("{value:?}"), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        self.add(field, &value, &value);
    }
}

/// A value ends with its line.
fn one_line(value: &str) -> String {
    let mut end = value.len().min(VALUE_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value[..end].chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(line.to_vec());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_line_is_one_datagram_with_its_fields() {
        let lines = Lines::default();
        let log = tracing_subscriber::fmt().event_format(JournalFormat);
        tracing::subscriber::with_default(log.with_writer(lines.clone()).finish(), || {
            let (group, absent) = (Some("10.77.0.100".to_owned()), None::<String>);
            let because = "lb1 was silent\nPRIORITY=0";
            tracing::warn!(event = "owner_changed", group, absent, epoch = 8, because, "new owner");
        });
        let lines = lines.0.lock().unwrap();
        assert_eq!(
            lines.iter().map(|line| String::from_utf8_lossy(line)).collect::<Vec<_>>(),
            [concat!(
                "PRIORITY=4\nSYSLOG_IDENTIFIER=buoy\nMESSAGE=new owner group=\"10.77.0.100\" ",
                "epoch=8 because=\"lb1 was silent\\nPRIORITY=0\"\nBUOY_EVENT=owner_changed\n",
                "BUOY_GROUP=10.77.0.100\nBUOY_EPOCH=8\nBUOY_BECAUSE=lb1 was silent PRIORITY=0\n",
            )]
        );
    }

    #[test]
    fn a_datagram_goes_to_the_socket() {
        let path = std::env::temp_dir().join(format!("buoy-journal-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        assert!(Journal::at(&path).is_err());
        let listener = UnixDatagram::bind(&path).unwrap();
        let mut journal = Journal::at(&path).unwrap();
        journal.write_all(b"PRIORITY=6\nMESSAGE=x\n").unwrap();
        let mut heard = [0; 64];
        let length = listener.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"PRIORITY=6\nMESSAGE=x\n");
        drop(listener);
        // Standard error takes it then.
        journal.write_all(b"PRIORITY=6\nMESSAGE=y\n").unwrap();
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn only_the_stream_of_the_journal_is_the_journal() {
        assert_eq!(parse("9:1234"), Some((9, 1234)));
        assert_eq!(["", "9", "9:x", "-1:2"].map(parse), [None; 4]);
        assert!(Journal::behind_stderr().is_none(), "tests do not write to the journal");
    }

    #[test]
    fn long_values_are_cut_between_letters() {
        let long = "\u{fc}".repeat(VALUE_BYTES_MAX);
        assert_eq!(one_line(&format!("x{long}")).len(), VALUE_BYTES_MAX - 1);
    }
}
