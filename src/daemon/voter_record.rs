//! The record of the lists of voters, which outlasts restarts and losses of power, as text.
//!
//! ```text
//!   protocol thread --- RememberVoters ---> this thread ---> DIR/voters.new, synced, renamed
//!         ^------------ VotersRemembered ------/
//!
//!   buoy-voters 1 2f5d...(SHA-256 of the rest, 64 hexadecimal digits)
//!   {"cluster":"edge","node":...,"longest":...,"lists":[[...],...]}         one line of JSON
//! ```
//!
//! 1 is the version of this layout; fields may be added. A thread of its own, because a disk may
//! take seconds and heartbeats must not. What cannot be stored is told loudly, and the core votes
//! on nothing that is not stored.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::inbox::Mailbox;
use super::{state_directory, state_file};
use crate::protocol::{Event, LEASE_MAX, LISTS_MAX, NodeId, Recollection, VOTERS_MAX, VoterRecord};

const MAGIC: &str = "buoy-voters";
const LAYOUT: &str = "1";
/// Eight lists of seven numbers, and much room for fields of later versions.
const SIZE_MAX: u64 = 64 * 1024;

/// Where the record is, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct VoterFile {
    directory: PathBuf,
    cluster: String,
    node: NodeId,
    /// What is stored, for those who check a new configuration.
    known: Arc<Mutex<Recollection>>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    cluster: String,
    node: u32,
    /// In nanoseconds.
    longest: u64,
    lists: Vec<Vec<u32>>,
}

impl VoterFile {
    /// Reads what the process before has stored. Says `tell` why it cannot be read, if so.
    pub(crate) fn open(
        directory: PathBuf,
        (cluster, node): (&str, NodeId),
        tell: impl Fn(&str),
    ) -> Self {
        let file = Self { directory, cluster: cluster.to_owned(), node, known: Arc::default() };
        let found = match file.read() {
            Ok(found) => found,
            Err(why) => {
                tell(&why);
                Recollection::Unreadable
            }
        };
        *file.lock() = found;
        file
    }

    /// What is stored.
    pub(crate) fn known(&self) -> Recollection {
        self.lock().clone()
    }

    /// Where it is stored.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join("voters")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Recollection> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<Recollection, String> {
        let mut text = String::new();
        match File::open(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Recollection::Nothing);
            }
            opened => opened
                .and_then(|file| file.take(SIZE_MAX).read_to_string(&mut text))
                .map_err(|error| error.to_string())?,
        };
        let written = parse(&text)?;
        if (written.cluster.as_str(), written.node) != (self.cluster.as_str(), self.node.0) {
            // What was promised in the name of another is not owed by this node.
            return Ok(Recollection::Nothing);
        }
        let lists: Vec<Vec<NodeId>> =
            written.lists.iter().map(|list| list.iter().copied().map(NodeId).collect()).collect();
        let longest = Duration::from_nanos(written.longest);
        if lists.len() > LISTS_MAX
            || lists.iter().any(|list| list.len() > VOTERS_MAX)
            || longest > LEASE_MAX
        {
            return Err("its content is invalid".to_owned());
        }
        Ok(Recollection::Record(VoterRecord { lists, longest }))
    }

    /// Puts a record in place of the last one, so that it is there after a loss of power.
    fn store(&self, record: &VoterRecord) -> io::Result<()> {
        state_directory::replace(&self.path(), self.text(record).as_bytes())?;
        *self.lock() = Recollection::Record(record.clone());
        Ok(())
    }

    fn text(&self, record: &VoterRecord) -> String {
        let lists = record.lists.iter().map(|list| list.iter().map(|voter| voter.0).collect());
        let written = Written {
            cluster: self.cluster.clone(),
            node: self.node.0,
            longest: u64::try_from(record.longest.as_nanos()).unwrap_or(u64::MAX),
            lists: lists.collect(),
        };
        let body = serde_json::to_string(&written).expect("a record is plain data");
        format!("{MAGIC} {LAYOUT} {}\n{body}\n", state_file::digest(&body))
    }

    /// Starts the thread that stores; it ends when nobody can ask it any more.
    pub(crate) fn keep(self, mailbox: Mailbox) -> io::Result<Sender<VoterRecord>> {
        let (sender, wanted) = mpsc::channel::<VoterRecord>();
        thread::Builder::new().name("voters".to_owned()).spawn(move || {
            while let Ok(record) = wanted.recv() {
                let stored = self.store(&record);
                if let Err(error) = &stored {
                    tracing::error!(
                        "this node does not vote in mode majority: {}: {error}; make it \
                         writable for the daemon or choose another directory with --state-dir",
                        self.path().display()
                    );
                }
                mailbox.deliver(Event::VotersRemembered { stored: stored.is_ok() });
            }
        })?;
        Ok(sender)
    }
}

fn parse(text: &str) -> Result<Written, String> {
    let damaged = || "it is cut off or was changed".to_owned();
    let (head, body) = text.split_once('\n').ok_or_else(damaged)?;
    let words: Vec<&str> = head.split(' ').collect();
    let sum = match words.as_slice() {
        [MAGIC, LAYOUT, sum] => *sum,
        [MAGIC, layout, ..] => {
            return Err(format!("it has layout {layout:?}, this version knows {LAYOUT}"));
        }
        _ => return Err(damaged()),
    };
    let body = body.strip_suffix('\n').ok_or_else(damaged)?;
    if state_file::digest(body) != sum {
        return Err(damaged());
    }
    serde_json::from_str(body).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const CLUSTER: &str = "edge";

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("buoy-voters-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn open(directory: &Path, cluster: &str) -> Recollection {
        VoterFile::open(directory.to_owned(), (cluster, NodeId(1)), |_| {}).known()
    }

    #[test]
    fn what_is_stored_is_found_by_the_next_process_of_the_same_node() {
        let directory = directory("stored");
        let file = VoterFile::open(directory.clone(), (CLUSTER, NodeId(1)), |_| {});
        assert_eq!(file.known(), Recollection::Nothing);
        let lists = vec![vec![NodeId(1), NodeId(2), NodeId(3)], vec![NodeId(1)]];
        let record = VoterRecord { lists, longest: Duration::from_millis(4000) };
        file.store(&record).unwrap();
        assert_eq!(file.known(), Recollection::Record(record.clone()));
        assert_eq!(open(&directory, CLUSTER), Recollection::Record(record));
        assert_eq!(open(&directory, "other"), Recollection::Nothing);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_was_cut_or_changed_is_not_taken_for_nothing() {
        let directory = directory("cut");
        let file = VoterFile::open(directory.clone(), (CLUSTER, NodeId(1)), |_| {});
        let record = VoterRecord { lists: vec![vec![NodeId(7)]], longest: Duration::ZERO };
        file.store(&record).unwrap();
        let whole = fs::read_to_string(file.path()).unwrap();
        for bad in [&whole[..whole.len() - 1], &whole.replace('7', "8"), "", "buoy-voters 2 x\n"] {
            fs::write(file.path(), bad).unwrap();
            assert_eq!(open(&directory, CLUSTER), Recollection::Unreadable, "{bad:?}");
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error() {
        let file = VoterFile::open("/proc/nothing".into(), (CLUSTER, NodeId(1)), |_| {});
        assert!(file.store(&VoterRecord::default()).is_err());
        assert_eq!(file.known(), Recollection::Nothing);
    }
}
