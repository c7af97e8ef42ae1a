//! The sockets: who may connect, how many, and where the files are.
//!
//! ```text
//!  control.sock   0660, group of the daemon    questions and orders
//!  status.sock    0660, group buoy-observe     questions only: what monitors and pages are given
//! ```
//!
//! The daemon calls [`Server::bind`] early at its start, so that a second daemon in the same
//! runtime directory is refused before it touches anything, and spawns [`Server::run`] on a tokio
//! runtime that is not the protocol's thread. `run` ends only by being dropped; that drops all
//! clients and removes the socket files.
//!
//! A file has mode 0660 and its group from the first moment it has its name: the socket is bound
//! under a temporary name, given both, and then renamed, which also replaces the file of a daemon
//! that died. More than [`CLIENTS_MAX`] clients of either socket are told so and let go, so that
//! those who only read never keep out those who order; what a single client may do is limited in
//! `connection`.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connection::{self, Desk, Pace, Rights};
use super::inquiry::{Inquirer, json_line};
use super::names::NamesInForce;
use super::recorder::Recorder;
use super::response::Rejected;
use super::undo::OrdersGiven;

pub use super::inquiry::{INQUIRIES_MAX, Inquiry, PlanWanted, STATUS_AGE_MAX, Snapshot};

/// Name of the socket in the runtime directory.
pub const SOCKET_NAME: &str = "control.sock";
/// Name of the read-only socket, in the same directory.
pub const OBSERVERS_SOCKET_NAME: &str = "status.sock";
/// Who may read there, if the host has such a group and the daemon is in it.
pub const OBSERVERS_GROUP: &str = "buoy-observe";
/// Clients of one socket at a time: far more than people and monitors there are, far fewer than descriptors.
pub const CLIENTS_MAX: usize = 32;
/// Owner and group may connect; who is in the group is the operator's choice.
const MODE: u32 = 0o660;
/// Wait after an accept that failed, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the server needs from the daemon.
#[derive(Debug)]
pub struct Settings {
    /// Where the socket shall be: [`SOCKET_NAME`] in the runtime directory, which must exist.
    pub socket: PathBuf,
    /// Names of the configuration in force.
    pub names: NamesInForce,
    /// Source of past events.
    pub recorder: Arc<Recorder>,
    /// Where inquiries go; a channel of depth [`INQUIRIES_MAX`].
    pub inquiries: mpsc::Sender<Inquiry>,
    /// Reads the wall clock, for "the last ten minutes".
    pub wall_clock: fn() -> SystemTime,
}

/// Both sockets, bound.
#[derive(Debug)]
pub struct Server {
    control: Entrance,
    observers: Entrance,
    desk: Arc<Desk>,
}

/// One bound socket.
#[derive(Debug)]
struct Entrance {
    listener: StdListener,
    file: SocketFile,
}

/// The file, removed when the server goes, unless another daemon has replaced it since.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

/// Why there is no control socket. Nothing was changed, except that a stale file may be gone.
#[derive(Debug)]
pub enum BindError {
    /// A daemon answers at this socket.
    InUse {
        /// Path of the socket.
        socket: PathBuf,
    },
    /// Something that is not a socket has this name.
    NotASocket {
        /// Path of that file.
        socket: PathBuf,
    },
    /// A system call failed.
    Refused {
        /// Path of the socket.
        socket: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
}

impl Server {
    /// Binds both sockets. Needs no runtime.
    ///
    /// # Errors
    /// If a daemon listens there already, or a file cannot be made.
    pub fn bind(settings: Settings) -> Result<Self, BindError> {
        let observers = settings.socket.with_file_name(OBSERVERS_SOCKET_NAME);
        let control = Entrance::bind(&settings.socket, None)?;
        let observers = Entrance::bind(&observers, observers_group())?;
        let desk = Arc::new(Desk {
            inquirer: Inquirer::new(settings.names.clone(), settings.inquiries),
            given: OrdersGiven::default(),
            names: settings.names,
            recorder: settings.recorder,
            wall_clock: settings.wall_clock,
            pace: Pace::default(),
        });
        Ok(Self { control, observers, desk })
    }

    /// Serves clients until dropped.
    ///
    /// # Errors
    /// Only at once, if the runtime does not take the sockets.
    pub async fn run(self) -> io::Result<()> {
        let Self { control, observers, desk } = self;
        let orders = control.serve(Rights::Order, Arc::clone(&desk));
        let questions = observers.serve(Rights::Read, desk);
        tokio::try_join!(orders, questions).map(|_| ())
    }
}

impl Entrance {
    fn bind(socket: &Path, group: Option<u32>) -> Result<Self, BindError> {
        refuse_if_in_use(socket)?;
        let (listener, file) = listen(socket, group)
            .map_err(|source| BindError::Refused { socket: socket.to_owned(), source })?;
        Ok(Self { listener, file })
    }

    async fn serve(self, rights: Rights, desk: Arc<Desk>) -> io::Result<()> {
        let Self { listener, file: _removed_at_the_end } = self;
        let listener = UnixListener::from_std(listener)?;
        let mut clients = JoinSet::new();
        loop {
            // Those who have left are counted out before the next is let in.
            let accepted = tokio::select! {
                biased;
                Some(_) = clients.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) if clients.len() < CLIENTS_MAX => {
                    clients.spawn(connection::serve(stream, rights, Arc::clone(&desk)));
                }
                Ok((stream, _)) => turn_away(&stream),
                Err(error) => {
                    tracing::warn!(%error, "control socket cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// The number of [`OBSERVERS_GROUP`]. Read from the file: a directory service may keep a start
/// waiting.
fn observers_group() -> Option<u32> {
    group_number(&fs::read_to_string("/etc/group").ok()?, OBSERVERS_GROUP)
}

fn group_number(groups: &str, name: &str) -> Option<u32> {
    let mut lines = groups.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| (fields.next() == Some(name)).then(|| fields.nth(1)))??.parse().ok()
}

fn refuse_if_in_use(socket: &Path) -> Result<(), BindError> {
    let refused = |source| BindError::Refused { socket: socket.to_owned(), source };
    match fs::symlink_metadata(socket) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(error)),
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => return Err(BindError::NotASocket { socket: socket.to_owned() }),
    }
    match StdStream::connect(socket) {
        Ok(_) => Err(BindError::InUse { socket: socket.to_owned() }),
        // Nobody listens: the file of a daemon that died. It is replaced by the rename.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(refused(error)),
    }
}

fn listen(socket: &Path, group: Option<u32>) -> io::Result<(StdListener, SocketFile)> {
    let mut temporary = socket.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    let listener = StdListener::bind(&temporary)?;
    listener.set_nonblocking(true)?;
    if let Some(group) = group
        && let Err(error) = std::os::unix::fs::chown(&temporary, None, Some(group))
    {
        // The daemon is not in that group, or may not give files away: then its unit does it.
        tracing::info!(%error, socket = %socket.display(), "the daemon cannot give it to the group {OBSERVERS_GROUP}");
    }
    fs::set_permissions(&temporary, Permissions::from_mode(MODE))?;
    fs::rename(&temporary, socket)?;
    let metadata = fs::symlink_metadata(socket)?;
    let device_and_inode = (metadata.dev(), metadata.ino());
    Ok((listener, SocketFile { path: socket.to_owned(), device_and_inode }))
}

fn turn_away(stream: &UnixStream) {
    let reason =
        format!("{CLIENTS_MAX} clients are connected, which is the limit; disconnect one of them");
    // One try is enough: the buffer of a new connection is empty, and nobody is waited for.
    if let Err(error) = stream.try_write(&json_line(&Rejected::new("too_many_clients", reason))) {
        tracing::debug!(%error, "client disconnected before it was rejected");
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.device_and_inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, socket = %self.path.display(), "control socket could not be removed");
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { socket } => write!(
                out,
                "another daemon answers at {}; stop it, or start this one with another \
                 --runtime-dir",
                socket.display()
            ),
            Self::NotASocket { socket } => write!(
                out,
                "{} is not a socket; move it away, or choose another --runtime-dir",
                socket.display()
            ),
            Self::Refused { socket, source } => write!(
                out,
                "control socket {}: {source}; its directory must exist and be writable",
                socket.display()
            ),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InUse { .. } | Self::NotASocket { .. } => None,
            Self::Refused { source, .. } => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_groups_are_those_of_the_file() {
        let groups = "root:x:0:\nbuoy:x:990:\nbuoy-observe:x:991:anna,prometheus\nbroken\nx:y:z:\n";
        assert_eq!(group_number(groups, "buoy"), Some(990));
        assert_eq!(group_number(groups, OBSERVERS_GROUP), Some(991));
        assert_eq!(["absent", "broken", "x", ""].map(|name| group_number(groups, name)), [None; 4]);
    }
}
