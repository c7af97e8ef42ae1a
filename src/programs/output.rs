//! What a program prints: the beginning is kept, the rest is read and dropped, a flood ends it.
//!
//! A program that nobody reads from would stand still in the middle of its work, so everything is
//! read; and one that prints without end would cost a processor, so there is a limit. Standard
//! output and standard error are one pipe, as on a terminal.

use std::io;
use std::os::fd::OwnedFd;

use tokio::net::unix::pipe::Receiver;

/// Bytes kept: enough for a stack trace, little enough to keep it for each check.
pub const OUTPUT_KEPT: usize = 4096;
/// Bytes read at all. A check or hook that prints more is broken; reading it took 1 ms.
const OUTPUT_MAX: usize = 1024 * 1024;
/// Bytes read at once, the size of a pipe in Linux.
const CHUNK: usize = 64 * 1024;

/// Why reading ended.
pub(super) enum Drained {
    /// More than the limit.
    Flooded,
}

/// The reading end.
pub(super) struct Output {
    pipe: Option<Receiver>,
    kept: Vec<u8>,
    read: usize,
}

impl Output {
    /// Without a pipe nothing is read: it could not be made, and the program prints to nobody.
    pub(super) fn new(pipe: OwnedFd) -> Self {
        Self { pipe: Receiver::from_owned_fd(pipe).ok(), kept: Vec::new(), read: 0 }
    }

    /// Reads until there is too much; never ends otherwise, for the end of the output is not that
    /// of the program. Nothing is lost if this is dropped.
    pub(super) async fn drain(&mut self) -> Drained {
        loop {
            let Some(pipe) = &self.pipe else { return std::future::pending().await };
            if pipe.readable().await.is_err() {
                self.pipe = None;
            } else if !self.take() {
                return Drained::Flooded;
            }
        }
    }

    /// Takes what is there now, after the end of the program. The runtime may not have heard yet
    /// that there is something, so the kernel is asked.
    pub(super) fn take_rest(&mut self) {
        let Some(pipe) = self.pipe.take() else { return };
        let mut chunk = vec![0; CHUNK];
        while let Ok(length @ 1..) = nix::unistd::read(&pipe, &mut chunk) {
            if !self.keep(chunk.get(..length).unwrap_or_default()) {
                return;
            }
        }
    }

    /// Reads once; `false` when there was too much.
    fn take(&mut self) -> bool {
        let Some(pipe) = &self.pipe else { return true };
        let mut chunk = vec![0; CHUNK];
        match pipe.try_read(&mut chunk) {
            Ok(0) => self.pipe = None,
            Ok(length) => return self.keep(chunk.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.pipe = None,
        }
        true
    }

    fn keep(&mut self, printed: &[u8]) -> bool {
        let room = OUTPUT_KEPT.saturating_sub(self.kept.len()).min(printed.len());
        self.kept.extend_from_slice(printed.get(..room).unwrap_or_default());
        self.read += printed.len();
        self.read <= OUTPUT_MAX
    }

    /// What was kept, as text without the white space around it.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).trim().to_owned()
    }
}
