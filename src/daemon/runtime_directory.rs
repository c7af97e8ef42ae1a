//! The directory with the control socket, what must survive a restart of the daemon, and a lock.
//!
//! ```text
//!  /run/buoy/              mode 0751: who may read the status socket must get there, not list it
//!      control.sock        made by control::server, for those who order
//!      status.sock         made by control::server, for those who only read
//!      draining            exists while the operator keeps groups off this node
//!      restart             what a process left to the next one (see in_place)
//!      lock                locked while a daemon runs here; the kernel unlocks it at its death
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::error::Error;

/// 8192 claims of 130 bytes each, as hexadecimal digits, and as much again.
const STATE_SIZE_MAX: u64 = 8 * 1024 * 1024;

/// The directory, ours alone while this exists.
#[derive(Debug)]
pub(crate) struct RuntimeDirectory {
    path: PathBuf,
    _lock: Flock<File>,
}

impl RuntimeDirectory {
    /// Makes the directory if it does not exist, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let unusable = |source| Error::RuntimeDirectory { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o751).create(path).map_err(unusable)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .open(path.join("lock"))
            .map_err(unusable)?;
        match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err((_, Errno::EWOULDBLOCK)) => Err(Error::AlreadyRunning { path: path.to_owned() }),
            Err((_, errno)) => Err(unusable(errno.into())),
        }
    }

    /// Where the control socket is.
    pub(crate) fn control_socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// Where a process leaves what the next one goes on with.
    pub(crate) fn state_file(&self) -> PathBuf {
        self.path.join("restart")
    }

    /// Leaves it there, whole or not at all.
    pub(crate) fn leave_state(&self, text: &str) -> io::Result<()> {
        let file = self.state_file();
        absent(fs::remove_file(file.with_extension("taken")))?;
        let new = file.with_extension("new");
        absent(fs::remove_file(&new))?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(&new)?.write_all(text.as_bytes())?;
        fs::rename(new, file)
    }

    /// Takes it, so that nobody else has it; `None` if there is nothing.
    pub(crate) fn take_state(&self) -> io::Result<Option<String>> {
        let file = self.state_file();
        let taken = file.with_extension("taken");
        match fs::rename(&file, &taken) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            renamed => renamed?,
        }
        let mut text = String::new();
        File::open(taken)?.take(STATE_SIZE_MAX).read_to_string(&mut text)?;
        Ok(Some(text))
    }

    /// Whether this node drained when it last ran.
    pub(crate) fn draining(&self) -> bool {
        self.path.join("draining").exists()
    }

    /// Remembers whether this node drains.
    pub(crate) fn remember_draining(&self, on: bool) -> io::Result<()> {
        let mark = self.path.join("draining");
        if on {
            return File::create(mark).map(drop);
        }
        absent(fs::remove_file(mark))
    }
}

/// That it is not there is as good as its removal.
fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_is_made_locked_and_remembers() {
        let path = std::env::temp_dir().join(format!("buoy-runtime-{}/deep", std::process::id()));
        let directory = RuntimeDirectory::open(&path).unwrap();
        assert!(matches!(RuntimeDirectory::open(&path), Err(Error::AlreadyRunning { .. })));
        assert!(!directory.draining());
        directory.remember_draining(false).unwrap();
        directory.remember_draining(true).unwrap();
        assert!(directory.draining());
        drop(directory);
        let directory = RuntimeDirectory::open(&path).unwrap();
        assert!(directory.draining(), "survives a restart");
        directory.remember_draining(false).unwrap();
        assert!(!directory.draining());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn directory_that_cannot_be_made_is_told() {
        let refused = RuntimeDirectory::open(Path::new("/proc/buoy")).unwrap_err();
        assert!(refused.to_string().starts_with("runtime directory /proc/buoy: "), "{refused}");
        assert_eq!(refused.exit_code(), 1);
    }
}
