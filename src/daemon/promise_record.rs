//! What this node has promised as a voter, from the stop of one process to the start of the next.
//!
//! ```text
//!   protocol thread --- KeepPromises, ends ---> addresses are removed ---> DIR/promises, the last act
//!   next process: holds the lock of its directory ---> reads, removes, syncs ---> protocol thread
//!
//!   buoy-promises 1 2f5d...(SHA-256 of the rest, 64 hexadecimal digits)
//!   {"cluster":"edge","node":...,"clock":"...",...}                        one line of JSON
//! ```
//!
//! A record counts only if it says everything: so nothing is granted after it was made (the core sees
//! to that), and it is gone before the process that reads it grants anything. What cannot be removed
//! is not used, and this node does not vote, because a later process would find it again. A record of
//! another boot or time namespace, cluster, node, list of voters or layout, one with fields that this
//! version does not know, and one older than [`PROMISES_AGE_MAX`](crate::protocol::PROMISES_AGE_MAX)
//! is not used: then the node grants nothing for as long as what it had promised may run, as after a
//! crash. It need not survive a loss of power, after which the clock is another.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{clock, state_file};
use crate::protocol::{
    GroupKey, Incarnation, Instant, LifePromise, Node, NodeId, PromiseRecord, Recollection,
};

const MAGIC: &str = "buoy-promises";
const LAYOUT: &str = "1";
/// 8192 addresses of 20 digits each for each of some lives.
const SIZE_MAX: u64 = 8 * 1024 * 1024;
/// A directory that does not answer is not waited for when the daemon ends.
const WRITTEN_WITHIN: Duration = Duration::from_millis(500);

/// Where the record is, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct PromiseFile {
    directory: PathBuf,
    cluster: String,
    /// Names the clock that its times are of.
    clock: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    cluster: String,
    clock: String,
    record: WrittenRecord,
}

/// A record as it is written, here and in the state file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenRecord {
    node: u32,
    list: Vec<u32>,
    /// In nanoseconds of the protocol's clock, as all times here.
    at: u64,
    silent_until: u64,
    promises: Vec<WrittenPromise>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPromise {
    node: u32,
    incarnation: u64,
    until: u64,
    lease: u64,
    addresses: Vec<u64>,
}

/// Why the record is of no use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It says nothing that counts now, and is gone.
    Outdated(&'static str),
    /// It may still be there.
    NotRemoved(String),
}

/// What a process has found at its start, of what the one before had promised.
pub(crate) struct Promises {
    /// Where this process leaves its own.
    pub(crate) file: PromiseFile,
    found: Option<PromiseRecord>,
    /// The record is still there.
    stays: bool,
}

impl Promises {
    /// Takes what there is, and says in the log what is of no use. The lock of the runtime directory
    /// is held.
    pub(crate) fn take(file: PromiseFile) -> Self {
        let (mut found, mut stays) = (None, false);
        match file.take() {
            Ok(record) => found = record,
            Err(Unusable::Outdated(why)) => tracing::info!(
                because = why,
                "what this voter had promised is not known: it grants nothing for a while"
            ),
            Err(Unusable::NotRemoved(why)) => {
                stays = true;
                tracing::error!(
                    "this node does not vote in mode majority: {} cannot be removed: {why}; remove \
                     it and restart the daemon",
                    file.path().display()
                );
            }
        }
        Self { file, found, stays }
    }

    /// What a node is to know of its lists of voters: one that would find outdated promises at its
    /// next start does not vote.
    pub(crate) fn qualify(&self, known: Recollection) -> Recollection {
        if self.stays { Recollection::Unreadable } else { known }
    }

    /// Has a node that knows its lists go on from what was found, or from what the process
    /// before has left in a restart in place.
    pub(crate) fn recall(&self, node: &mut Node, left: Option<&PromiseRecord>) {
        let Some(record) = left.or(self.found.as_ref()) else { return };
        if node.recall_promises(record) {
            tracing::info!(
                promises = record.promises.len(),
                "this voter goes on from its promises"
            );
        } else {
            tracing::info!(
                because = "they are old, or of another list of voters",
                "what this voter had promised is not known: it grants nothing for a while"
            );
        }
    }
}

impl PromiseFile {
    /// The record in this directory of this cluster.
    pub(crate) fn new(directory: PathBuf, cluster: &str) -> Self {
        Self { directory, cluster: cluster.to_owned(), clock: clock::epoch() }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("promises")
    }

    /// Removes the record, so that no process finds it again, and returns what it said; `None` if there
    /// was none.
    pub(crate) fn take(&self) -> Result<Option<PromiseRecord>, Unusable> {
        let mut text = String::new();
        let read = match File::open(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.and_then(|file| file.take(SIZE_MAX).read_to_string(&mut text)),
        };
        let removed = fs::remove_file(self.path())
            .and_then(|()| File::open(&self.directory))
            .and_then(|directory| directory.sync_all());
        removed.map_err(|error| Unusable::NotRemoved(error.to_string()))?;
        read.map_err(|_| Unusable::Outdated("it cannot be read"))?;
        self.parse(&text).map(Some).map_err(Unusable::Outdated)
    }

    fn parse(&self, text: &str) -> Result<PromiseRecord, &'static str> {
        const DAMAGED: &str = "it is cut off or was changed";
        let (head, body) = text.split_once('\n').ok_or(DAMAGED)?;
        let words: Vec<&str> = head.split(' ').collect();
        let sum = match words.as_slice() {
            [MAGIC, LAYOUT, sum] => *sum,
            [MAGIC, ..] => return Err("it has another layout"),
            _ => return Err(DAMAGED),
        };
        let body = body.strip_suffix('\n').ok_or(DAMAGED)?;
        if state_file::digest(body) != sum {
            return Err(DAMAGED);
        }
        let written: Written =
            serde_json::from_str(body).map_err(|_| "it has fields of another version")?;
        if written.cluster != self.cluster {
            return Err("it is of another cluster");
        }
        if written.clock != self.clock {
            return Err("it is from before this host was booted");
        }
        Ok(written.record.read())
    }

    /// Leaves a record to the next process, whole or not at all. The voter has ended.
    fn store(&self, record: &PromiseRecord) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o750).create(&self.directory)?;
        let new = self.path().with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&new)?.write_all(self.text(record).as_bytes())?;
        fs::rename(new, self.path())
    }

    /// The same for a bounded time, and says in the log if it did not work.
    pub(crate) fn leave(self, record: Box<PromiseRecord>) {
        let (done, when_done) = mpsc::channel();
        let wait = move || {
            // The wait is over if it took too long.
            let _ = done.send(self.store(&record));
        };
        let begun = thread::Builder::new().name("promises".to_owned()).spawn(wait);
        let stored = begun.and_then(|_| {
            let stored = when_done.recv_timeout(WRITTEN_WITHIN);
            stored.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        });
        if let Err(error) = stored {
            tracing::warn!(
                %error,
                "what this voter has promised is not stored: after its start it grants nothing for a \
                 while"
            );
        }
    }

    fn text(&self, record: &PromiseRecord) -> String {
        let (cluster, clock) = (self.cluster.clone(), self.clock.clone());
        let written = Written { cluster, clock, record: WrittenRecord::new(record) };
        let body = serde_json::to_string(&written).expect("a record is plain data");
        format!("{MAGIC} {LAYOUT} {}\n{body}\n", state_file::digest(&body))
    }
}

impl WrittenRecord {
    pub(crate) fn new(record: &PromiseRecord) -> Self {
        let promise = |promise: &LifePromise| WrittenPromise {
            node: promise.node.0,
            incarnation: promise.incarnation.0,
            until: promise.until.as_nanos(),
            lease: u64::try_from(promise.lease.as_nanos()).unwrap_or(u64::MAX),
            addresses: promise.addresses.iter().map(|address| address.0).collect(),
        };
        Self {
            node: record.me.0,
            list: record.list.iter().map(|voter| voter.0).collect(),
            at: record.at.as_nanos(),
            silent_until: record.silent_until.as_nanos(),
            promises: record.promises.iter().map(promise).collect(),
        }
    }

    pub(crate) fn read(&self) -> PromiseRecord {
        let promise = |promise: &WrittenPromise| LifePromise {
            node: NodeId(promise.node),
            incarnation: Incarnation(promise.incarnation),
            until: Instant::from_nanos(promise.until),
            lease: Duration::from_nanos(promise.lease),
            addresses: promise.addresses.iter().copied().map(GroupKey).collect(),
        };
        PromiseRecord {
            me: NodeId(self.node),
            list: self.list.iter().copied().map(NodeId).collect(),
            at: Instant::from_nanos(self.at),
            silent_until: Instant::from_nanos(self.silent_until),
            promises: self.promises.iter().map(promise).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> PromiseFile {
        let path =
            std::env::temp_dir().join(format!("buoy-promises-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        PromiseFile::new(path, "edge")
    }

    fn sample() -> PromiseRecord {
        let promise = LifePromise {
            node: NodeId(2),
            incarnation: Incarnation(u64::MAX),
            until: Instant::from_millis(500_661),
            lease: Duration::from_millis(600),
            addresses: vec![GroupKey(1), GroupKey(u64::MAX)],
        };
        PromiseRecord {
            me: NodeId(1),
            list: vec![NodeId(1), NodeId(2), NodeId(3)],
            at: Instant::from_millis(500_000),
            silent_until: Instant::START,
            promises: vec![promise],
        }
    }

    fn gone(file: &PromiseFile) -> bool {
        !file.path().exists()
    }

    #[test]
    fn a_record_is_found_once() {
        let file = file("once");
        assert_eq!(file.take(), Ok(None));
        file.clone().leave(Box::new(sample()));
        assert_eq!(file.take(), Ok(Some(sample())));
        assert!(gone(&file));
        assert_eq!(file.take(), Ok(None));
        fs::remove_dir_all(file.directory).unwrap();
    }

    #[test]
    fn a_record_that_was_cut_or_changed_is_gone_and_not_used() {
        let file = file("cut");
        fs::create_dir_all(&file.directory).unwrap();
        let whole = file.text(&sample());
        for length in 0..whole.len() {
            fs::write(file.path(), &whole[..length]).unwrap();
            assert!(matches!(file.take(), Err(Unusable::Outdated(_))), "cut at {length}");
            assert!(gone(&file));
        }
        let (_, body) = whole.trim_end().split_once('\n').unwrap();
        let grown = body.replacen('{', "{\"later\":1,", 1);
        let changed = [
            whole.replace("661", "662"),
            whole.replacen("promises 1", "promises 2", 1),
            format!("{MAGIC} {LAYOUT} {}\n{grown}\n", state_file::digest(&grown)),
        ];
        for bad in changed {
            fs::write(file.path(), &bad).unwrap();
            assert!(matches!(file.take(), Err(Unusable::Outdated(_))), "{bad}");
            assert!(gone(&file));
        }
        fs::remove_dir_all(file.directory).unwrap();
    }

    #[test]
    fn a_record_of_another_cluster_or_clock_is_gone_and_not_used() {
        let file = file("other");
        let cluster = PromiseFile { cluster: "other".to_owned(), ..file.clone() };
        let boot = PromiseFile { clock: "another boot".to_owned(), ..file.clone() };
        for (of, why) in [
            (cluster, "it is of another cluster"),
            (boot, "it is from before this host was booted"),
        ] {
            of.leave(Box::new(sample()));
            assert_eq!(file.take(), Err(Unusable::Outdated(why)));
            assert!(gone(&file));
        }
        fs::remove_dir_all(file.directory).unwrap();
    }

    #[test]
    fn a_record_that_cannot_be_removed_is_told() {
        let file = file("stays");
        // A directory in its place can be opened and not removed as a file.
        fs::create_dir_all(file.path()).unwrap();
        assert!(matches!(file.take(), Err(Unusable::NotRemoved(_))));
        fs::remove_dir_all(file.directory).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_costs_the_record_only() {
        let file = PromiseFile::new("/proc/nothing".into(), "edge");
        assert!(file.store(&sample()).is_err());
        file.clone().leave(Box::new(sample()));
        assert_eq!(file.take(), Ok(None));
    }
}
