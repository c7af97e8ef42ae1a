//! The drain of this node that outlasts restarts of its host (`buoy drain --persist`), as a file.
//!
//! ```text
//!   report of a standing order ---> this thread ---> DIR/drained, or none
//!   next process: reads it before its node takes the first step; the node drains from then on
//!
//!   {"cluster":"edge","node":...,"id":...,"at":...,"by":"...","reason":"...","ends":...,"left_ms":...}
//! ```
//!
//! Other nodes remember the order too, but not when all lose their power at once. The drain of this
//! node alone is on disk: a hold, or the drain of another node, that was ended while this host was off
//! would come back from here. A file of another cluster or node, one that cannot be read, and one
//! whose time is up, are as good as none. How long the drain still lasts is counted by the wall
//! clock, and is never longer than it was when the file was written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use nix::libc::O_NONBLOCK;
use serde::{Deserialize, Serialize};

use super::runtime_directory::RuntimeDirectory;
use super::{Error, clock, state_directory};
use crate::control::duration_text::millis;
use crate::protocol::{Lasting, NodeId, Report, StandingOrder, Text};

/// A giver, a reason, a name of a cluster, and numbers.
const SIZE_MAX: u64 = 4096;

/// Where the record is, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct DrainFile {
    file: PathBuf,
    cluster: String,
    node: NodeId,
}

/// How a process begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drained {
    /// Whether this node drains.
    pub(crate) on: bool,
    /// The order that says so, if it was to outlast restarts of the host.
    pub(crate) order: Option<StandingOrder>,
}

/// Follows what operators order about this node.
#[derive(Debug)]
pub(crate) struct DrainKeeper {
    node: NodeId,
    orders: Sender<Option<StandingOrder>>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    cluster: String,
    node: u32,
    id: u64,
    at: u32,
    by: String,
    reason: String,
    /// When its time is up, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<u64>,
    /// What was left then.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_ms: Option<u64>,
}

impl DrainFile {
    /// Begins to keep the record in this directory. Returns what was in force before the restart; the
    /// runtime directory, which is lost with the power, is told of it too.
    pub(crate) fn open(
        directory: &Path,
        (cluster, node): (&str, NodeId),
        runtime: &RuntimeDirectory,
    ) -> Result<(DrainKeeper, Drained), Error> {
        let system = |source| Error::System { wanted: "record of the drain", source };
        let file = Self::within(directory, (cluster, node));
        let order = file.recall(clock::wall());
        if order.is_some() && !runtime.draining() {
            tracing::info!("this node drains, as before the restart of its host");
            runtime.remember_draining(true).map_err(system)?;
        }
        let drained = Drained { on: runtime.draining(), order };
        Ok((file.keep().map_err(system)?, drained))
    }

    fn within(directory: &Path, (cluster, node): (&str, NodeId)) -> Self {
        Self { file: directory.join("drained"), cluster: cluster.to_owned(), node }
    }

    /// Returns the drain that is in force, if the record says so. `now` counts from 1970, as in the file.
    fn recall(&self, now: Duration) -> Option<StandingOrder> {
        // A FIFO must not make the daemon wait.
        let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&self.file).ok()?;
        let mut text = String::new();
        if file.metadata().ok()?.is_file() {
            file.take(SIZE_MAX).read_to_string(&mut text).ok()?;
        }
        let written: Written = serde_json::from_str(&text).ok()?;
        let left = match (written.ends, written.left_ms) {
            (Some(ends), Some(most)) => {
                let left = ends.saturating_sub(millis(now)).min(most);
                Some(Duration::from_millis(left))
            }
            _ => None,
        };
        let order = StandingOrder {
            id: written.id,
            what: Lasting::Drain(self.node),
            at: NodeId(written.at),
            left,
            ended: false,
            persists: true,
            by: Text::cut(&written.by),
            reason: Text::cut(&written.reason),
        };
        let ours = (written.cluster.as_str(), written.node) == (&*self.cluster, self.node.0);
        (ours && order.is_in_force()).then_some(order)
    }

    fn store(&self, order: Option<&StandingOrder>, now: Duration) -> io::Result<()> {
        let Some(order) = order else {
            return match fs::remove_file(&self.file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Err(_) => Ok(()),
                Ok(()) => match self.file.parent() {
                    Some(directory) => File::open(directory)?.sync_all(),
                    None => Ok(()),
                },
            };
        };
        let written = Written {
            cluster: self.cluster.clone(),
            node: self.node.0,
            id: order.id,
            at: order.at.0,
            by: order.by.as_str().to_owned(),
            reason: order.reason.as_str().to_owned(),
            ends: order.left.map(|left| millis(now + left)),
            left_ms: order.left.map(millis),
        };
        state_directory::replace(&self.file, serde_json::to_string(&written)?.as_bytes())
    }

    /// Starts the thread that stores; it ends when nobody can ask it any more. A disk may take
    /// seconds, and the main loop must not.
    fn keep(self) -> io::Result<DrainKeeper> {
        let (orders, wanted) = mpsc::channel::<Option<StandingOrder>>();
        let node = self.node;
        thread::Builder::new().name("drain".to_owned()).spawn(move || {
            while let Ok(order) = wanted.recv() {
                if let Err(error) = self.store(order.as_ref(), clock::wall()) {
                    tracing::warn!(%error,
                        "{} cannot be written: whether this node drains after a restart of its host \
                         is up to what other nodes remember",
                        self.file.display());
                }
            }
        })?;
        Ok(DrainKeeper { node, orders })
    }
}

impl DrainKeeper {
    /// Follows a report of the protocol.
    pub(crate) fn follow(&self, report: &Report) {
        let Report::StandingOrder(order) = report else { return };
        if order.what == Lasting::Drain(self.node) {
            let lasting = Some(*order).filter(|it| it.is_in_force() && it.persists);
            // The thread ends with the process.
            let _ = self.orders.send(lasting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);
    const HOUR: Duration = Duration::from_secs(3600);

    fn order(left: Option<Duration>) -> StandingOrder {
        let (by, reason) = (Text::cut("alice"), Text::cut("kernel \"6.1\""));
        let what = Lasting::Drain(NODE);
        StandingOrder { id: 7, what, at: NodeId(2), left, ended: false, persists: true, by, reason }
    }

    fn file(name: &str) -> DrainFile {
        let name = format!("buoy-drain-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&directory);
        DrainFile::within(&directory, ("edge", NODE))
    }

    #[test]
    fn what_is_stored_is_recalled_for_as_long_as_it_lasts() {
        let file = file("lasts");
        let now = 100 * HOUR;
        assert_eq!(file.recall(now), None);
        file.store(Some(&order(Some(2 * HOUR))), now).expect("a directory");
        let left = |at| file.recall(at).map(|order| order.left.expect("it ends"));
        assert_eq!(left(now + HOUR), Some(HOUR));
        assert_eq!(left(now - HOUR), Some(2 * HOUR), "a clock that was put back");
        assert_eq!(left(now + 2 * HOUR), None);
        file.store(Some(&order(None)), now).expect("a directory");
        assert_eq!(file.recall(now + 1000 * HOUR), Some(order(None)));
        for _ in 0..2 {
            file.store(None, now).expect("it is removed, or not there");
            assert_eq!(file.recall(now), None);
        }
    }

    #[test]
    fn what_is_not_of_this_node_or_damaged_is_none() {
        let file = file("damaged");
        let now = HOUR;
        file.store(Some(&order(None)), now).expect("a directory");
        let directory = file.file.parent().expect("it is in one").to_owned();
        for other in [("edge", NodeId(2)), ("core", NODE)] {
            assert_eq!(DrainFile::within(&directory, other).recall(now), None);
        }
        let text = fs::read_to_string(&file.file).expect("it is there");
        for end in 0..text.len() {
            fs::write(&file.file, &text[..end]).expect("it is ours");
            assert_eq!(file.recall(now), None, "{}", &text[..end]);
        }
    }

    #[test]
    fn only_what_persists_of_this_node_is_kept() {
        let (orders, kept) = mpsc::channel();
        let keeper = DrainKeeper { node: NODE, orders };
        let given = order(Some(HOUR));
        let other = StandingOrder { what: Lasting::Drain(NodeId(2)), ..given };
        let hold = StandingOrder { what: Lasting::Hold, ..given };
        let once = StandingOrder { persists: false, ..given };
        let ended = StandingOrder { ended: true, ..given };
        for told in [given, other, hold, once, given, ended] {
            keeper.follow(&Report::StandingOrder(told));
        }
        drop(keeper);
        assert_eq!(kept.iter().collect::<Vec<_>>(), [Some(given), None, Some(given), None]);
    }
}
