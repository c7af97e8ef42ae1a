//! Lines for the reader of a FIFO. Never waits for one: opened without blocking, a line that has no
//! reader is lost and reported. The FIFO stays open between lines, so that a reader does not see
//! an end after each. Opening may wait for a disk and is done on a thread that may.
//!
//! A reader that comes, at the start or later, first gets the present state of every group: the last
//! line of each. That a reader has come or gone is looked for ten times a second ([`Line::greet`]) and
//! before every line; one that takes the place of another in between is not noticed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// As many as a file may have, and those of the files before.
const GROUPS_MAX: usize = 8192;

/// A FIFO, open or not; clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Line {
    path: PathBuf,
    end: Arc<Mutex<End>>,
    /// Whether a reader is being looked for now.
    greeting: Arc<AtomicBool>,
}

/// Our end of it.
#[derive(Debug, Default)]
struct End {
    /// Open while there is a reader.
    file: Option<File>,
    /// The last line of each group.
    present: BTreeMap<String, String>,
}

impl Line {
    /// Opens nothing yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, end: Arc::default(), greeting: Arc::default() }
    }

    pub(super) fn is_for(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Writes one line whole or not at all. If it is the state of a group it is kept for later readers.
    pub(super) async fn write(self, group: Option<String>, line: String) -> Result<String, String> {
        let written = tokio::task::spawn_blocking(move || self.write_now(group, &line)).await;
        written.map_err(|error| error.to_string())?
    }

    /// Keeps the state of a group for later readers, unless it has one already.
    pub(super) fn remember(&self, group: &str, line: String) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.present.entry(group.to_owned()).or_insert(line);
    }

    /// Looks for a reader that has come, on a thread of its own, and gives it the present state.
    pub(super) fn greet(&self) {
        if self.greeting.swap(true, Ordering::AcqRel) {
            // Still being opened: a disk does not answer.
            return;
        }
        let line = self.clone();
        tokio::task::spawn_blocking(move || {
            line.greet_now();
            line.greeting.store(false, Ordering::Release);
        });
    }

    fn greet_now(&self) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        // What is not a FIFO, or has no reader, is reported with the next line.
        let _ = end.open(&self.path);
    }

    fn write_now(&self, group: Option<String>, line: &str) -> Result<String, String> {
        let lost = |error: &io::Error| {
            let path = self.path.display();
            match error.raw_os_error() {
                Some(nix::libc::ENXIO) => format!("no process reads {path}: line dropped"),
                _ if error.kind() == ErrorKind::WouldBlock => {
                    format!("the reader of {path} is too slow: line dropped")
                }
                _ if error.kind() == ErrorKind::InvalidInput => {
                    format!("{path} is not a FIFO; create it with mkfifo")
                }
                _ => format!("{path}: {error}"),
            }
        };
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        // The state before this line: a new reader gets the line itself once.
        let opened = end.open(&self.path);
        if let Some(group) = group
            && (end.present.len() < GROUPS_MAX || end.present.contains_key(&group))
        {
            end.present.insert(group, line.to_owned());
        }
        opened.and_then(|()| end.put(line)).map_err(|error| lost(&error))?;
        Ok("written".to_owned())
    }
}

impl End {
    /// Sees to it that the FIFO is open if there is a reader. One that has just come gets the present
    /// state, as far as it fits the pipe.
    fn open(&mut self, path: &Path) -> io::Result<()> {
        if let Some(file) = self.file.take_if(|file| has_no_reader(file)) {
            drop(file);
        }
        if self.file.is_some() {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        let options = options.write(true).custom_flags(nix::libc::O_NONBLOCK);
        let file = options.open(path)?;
        if !file.metadata()?.file_type().is_fifo() {
            return Err(ErrorKind::InvalidInput.into());
        }
        self.file = Some(file);
        let present = std::mem::take(&mut self.present);
        let written = present.values().try_for_each(|line| self.put(line));
        self.present = present;
        written
    }

    /// Less than PIPE_BUF bytes go into a FIFO at once or not at all.
    fn put(&mut self, line: &str) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = file.write_all(line.as_bytes());
        if written.as_ref().is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
            self.file = None;
        }
        written
    }
}

/// Whether the last reader has closed its end.
fn has_no_reader(file: &File) -> bool {
    let mut polled = [PollFd::new(file.as_fd(), PollFlags::empty())];
    poll(&mut polled, PollTimeout::ZERO).is_ok()
        && polled[0].revents().is_some_and(|found| found.contains(PollFlags::POLLERR))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn a_missing_reader_loses_lines_and_blocks_nobody() {
        let path = std::env::temp_dir().join(format!("buoy-fifo-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let line = Line::new(path.clone());
        let shown = path.display();
        let missing = line.write_now(None, "a\n").unwrap_err();
        assert!(missing.contains("No such file"), "{missing}");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let lost = Err(format!("no process reads {shown}: line dropped"));
        assert_eq!(line.write_now(None, "a\n"), lost);
        let open = || {
            OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&path).unwrap()
        };
        let mut reader = open();
        for text in ["b\n", "c\n"] {
            assert_eq!(line.write_now(None, text), Ok("written".to_owned()));
        }
        let mut read = [0; 16];
        let length = reader.read(&mut read).unwrap();
        assert_eq!(&read[..length], b"b\nc\n");
        drop(reader);
        assert_eq!(line.write_now(None, "d\n"), lost);
        let mut reader = open();
        assert_eq!(line.write_now(None, "e\n"), Ok("written".to_owned()));
        let slow = (0..100_000).find_map(|_| line.write_now(None, "filled\n").err());
        let slow = slow.expect("a FIFO has an end");
        assert_eq!(slow, format!("the reader of {shown} is too slow: line dropped"));
        let length = reader.read(&mut read).unwrap();
        assert!(read[..length].starts_with(b"e\nfilled\n"));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        drop(reader);
        let file = line.write_now(None, "f\n").unwrap_err();
        assert_eq!(file, format!("{shown} is not a FIFO; create it with mkfifo"));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_reader_that_comes_gets_the_present_state_first() {
        let path = std::env::temp_dir().join(format!("buoy-fifo-state-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let line = Line::new(path.clone());
        let tell = |group: &str, text: &str| line.write_now(Some(group.to_owned()), text);
        let open = || {
            OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&path).unwrap()
        };
        let text = |reader: &mut File| {
            let mut read = [0; 256];
            let length = reader.read(&mut read).unwrap();
            String::from_utf8_lossy(&read[..length]).into_owned()
        };
        // Lost for the reader, but not forgotten.
        for (group, text) in [("b", "b BACKUP\n"), ("a", "a BACKUP\n"), ("b", "b MASTER\n")] {
            tell(group, text).unwrap_err();
        }
        let mut reader = open();
        line.greet_now();
        assert_eq!(text(&mut reader), "a BACKUP\nb MASTER\n", "although nothing happens");
        line.greet_now();
        tell("a", "a MASTER\n").unwrap();
        assert_eq!(text(&mut reader), "a MASTER\n", "once");
        drop(reader);
        let mut reader = open();
        line.greet_now();
        tell("a", "a BACKUP\n").unwrap();
        let told = text(&mut reader);
        assert_eq!(told, "a BACKUP\n", "it came before anything saw that the other had gone");
        drop(reader);
        line.greet_now();
        let mut reader = open();
        line.write_now(None, "other\n").unwrap();
        assert_eq!(text(&mut reader), "a BACKUP\nb MASTER\nother\n");
        std::fs::remove_file(&path).unwrap();
    }
}
