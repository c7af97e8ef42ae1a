//! Reads a file that an operator has named: a regular file of a limited size, without waiting.
//!
//! A FIFO would be waited for until somebody writes into it, a device may do anything. What nobody
//! can bound is a disk or a file server that does not answer: callers that must not stand still read
//! on a thread of its own.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// Why a file could not be read.
#[derive(Debug)]
pub enum Unread {
    /// It could not be opened or read.
    Unreadable(io::Error),
    /// It is a directory, a FIFO, a device or another thing that is not a file.
    NotAFile,
    /// It is larger than allowed.
    TooLarge,
}

/// A regular file, opened for reading.
#[derive(Debug)]
pub struct RegularFile {
    file: File,
    metadata: Metadata,
}

impl RegularFile {
    /// Opens the file. Does not wait for the other end of a FIFO or for a device.
    ///
    /// # Errors
    /// When it cannot be opened, or is not a regular file.
    pub fn open(path: &Path) -> Result<Self, Unread> {
        let mut options = OpenOptions::new();
        let options = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let file = options.open(path).map_err(Unread::Unreadable)?;
        let metadata = file.metadata().map_err(Unread::Unreadable)?;
        if metadata.is_file() { Ok(Self { file, metadata }) } else { Err(Unread::NotAFile) }
    }

    /// Returns mode and owner of the open file.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Reads the whole file, up to `size_max` bytes.
    ///
    /// # Errors
    /// When it is larger, or reading fails.
    pub fn read(self, size_max: u64) -> Result<Vec<u8>, Unread> {
        let mut bytes = Vec::new();
        let mut limited = Read::take(self.file, size_max + 1);
        limited.read_to_end(&mut bytes).map_err(Unread::Unreadable)?;
        if bytes.len() as u64 > size_max { Err(Unread::TooLarge) } else { Ok(bytes) }
    }

    /// Reads at most the first `size_max` bytes.
    ///
    /// # Errors
    /// When reading fails.
    pub fn read_beginning(self, size_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Read::take(self.file, size_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl From<Unread> for io::Error {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Unreadable(error) => error,
            Unread::NotAFile => Self::other("not a regular file"),
            Unread::TooLarge => Self::other("too large"),
        }
    }
}
