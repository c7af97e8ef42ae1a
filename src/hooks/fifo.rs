//! Lines for whoever reads a FIFO. Never waits for a reader: opened without blocking, a line that
//! nobody takes is lost and told. The FIFO stays open between lines, so that a reader does not see
//! an end after each. Opening may wait for a disk and is done on a thread that may.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A FIFO, open or not; clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Line {
    path: PathBuf,
    open: Arc<Mutex<Option<File>>>,
}

impl Line {
    /// Opens nothing yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: Arc::new(Mutex::new(None)) }
    }

    pub(super) fn is_for(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Writes one line whole or not at all.
    pub(super) async fn write(self, line: String) -> Result<String, String> {
        let written = tokio::task::spawn_blocking(move || self.write_now(&line)).await;
        written.map_err(|error| error.to_string())?
    }

    fn write_now(&self, line: &str) -> Result<String, String> {
        let lost = |error: &io::Error| {
            let path = self.path.display();
            match error.raw_os_error() {
                Some(nix::libc::ENXIO) => format!("no process reads {path}: line dropped"),
                _ if error.kind() == io::ErrorKind::WouldBlock => {
                    format!("the reader of {path} is too slow: line dropped")
                }
                _ => format!("{path}: {error}"),
            }
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut *open {
            // Less than PIPE_BUF bytes go into a FIFO at once or not at all.
            match file.write_all(line.as_bytes()) {
                Ok(()) => return Ok("written".to_owned()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(lost(&error));
                }
                // The reader has gone; there may be another.
                Err(_) => *open = None,
            }
        }
        let mut options = OpenOptions::new();
        let options = options.write(true).custom_flags(nix::libc::O_NONBLOCK);
        let mut file = options.open(&self.path).map_err(|error| lost(&error))?;
        let kind = file.metadata().map_err(|error| lost(&error))?.file_type();
        if !kind.is_fifo() {
            return Err(format!("{} is not a FIFO; create it with mkfifo", self.path.display()));
        }
        file.write_all(line.as_bytes()).map_err(|error| lost(&error))?;
        *open = Some(file);
        Ok("written".to_owned())
    }
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
        let missing = line.write_now("a\n").unwrap_err();
        assert!(missing.contains("No such file"), "{missing}");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let lost = Err(format!("no process reads {shown}: line dropped"));
        assert_eq!(line.write_now("a\n"), lost);
        let open = || {
            OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&path).unwrap()
        };
        let mut reader = open();
        for text in ["b\n", "c\n"] {
            assert_eq!(line.write_now(text), Ok("written".to_owned()));
        }
        let mut read = [0; 16];
        let length = reader.read(&mut read).unwrap();
        assert_eq!(&read[..length], b"b\nc\n");
        drop(reader);
        assert_eq!(line.write_now("d\n"), lost);
        let mut reader = open();
        assert_eq!(line.write_now("e\n"), Ok("written".to_owned()));
        let slow = (0..100_000).find_map(|_| line.write_now("filled\n").err());
        let slow = slow.expect("a FIFO has an end");
        assert_eq!(slow, format!("the reader of {shown} is too slow: line dropped"));
        let length = reader.read(&mut read).unwrap();
        assert!(read[..length].starts_with(b"e\nfilled\n"));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        drop(reader);
        let file = line.write_now("f\n").unwrap_err();
        assert_eq!(file, format!("{shown} is not a FIFO; create it with mkfifo"));
        std::fs::remove_file(&path).unwrap();
    }
}
