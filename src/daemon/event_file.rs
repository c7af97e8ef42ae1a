//! Keeps the events of this node over restarts: two files of bounded size in the state directory.
//!
//! ```text
//!  recorder (a ring in memory) --> thread `events` --> DIRECTORY/events     one JSON object per line
//!                                                      DIRECTORY/events.1   those before, when it was full
//! ```
//!
//! The thread reads the ring as any client of the control socket does, so nothing waits for the disk:
//! what comes faster than the disk takes it is overwritten in the ring, and the file says how many
//! events are missing. What cannot be written is counted. Nothing is synchronised: a host that loses
//! power loses its last half minute of events, which its peers have seen too. A line that is torn or
//! is no event is left out when the files are read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use nix::libc::O_NONBLOCK;
use tokio::sync::watch;

use super::clock;
use crate::control::events;
use crate::control::names::NamesInForce;
use crate::control::recorder::{EVENTS_MAX, Filter, Recorder};
use crate::control::response::Event;

/// Name of the file; the one before has `.1` behind it.
const NAME: &str = "events";
/// A file that has reached this size becomes the one before: some 10,000 events.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// So much of the end of the files is read at a start: some 2500 events, in a few milliseconds.
const READ_BYTES_MAX: u64 = 1024 * 1024;
/// At the end of the daemon the disk gets so long to take the last events.
const END_WITHIN: Duration = Duration::from_millis(100);

/// The files.
#[derive(Clone, Debug)]
pub(crate) struct EventFile {
    directory: PathBuf,
    bytes_max: u64,
}

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct EventWriter {
    end: watch::Sender<bool>,
    ended: Receiver<()>,
}

impl EventFile {
    /// In this directory, which is made when there is something to write.
    pub(crate) fn within(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), bytes_max: FILE_BYTES_MAX }
    }

    /// Returns the last events of former processes, oldest first; of files that cannot be read, none.
    pub(crate) fn read(&self) -> Vec<Event> {
        let newest = tail(&self.path(), READ_BYTES_MAX).unwrap_or_default();
        let left = READ_BYTES_MAX.saturating_sub(newest.len() as u64);
        let mut text = tail(&self.path_before(), left).unwrap_or_default();
        text.push(b'\n');
        text.extend(newest);
        let lines = text.split(|byte| *byte == b'\n');
        let mut events: Vec<Event> =
            lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let first = events.len().saturating_sub(EVENTS_MAX);
        events.drain(..first);
        events
    }

    /// Returns a recorder that goes on with the events of former processes, says where those of this
    /// one begin, and is written from then on.
    pub(crate) fn begin(
        self,
        names: &NamesInForce,
        not_written: &Arc<AtomicU64>,
    ) -> io::Result<(Arc<Recorder>, EventWriter)> {
        let recorder = Arc::new(Recorder::going_on(names.clone(), self.read()));
        let version = env!("CARGO_PKG_VERSION");
        let started = events::started(version, recorder.former() > 0, &names.current());
        recorder.note(SystemTime::UNIX_EPOCH + clock::wall(), &started);
        let writer = self.keep(Arc::clone(&recorder), Arc::clone(not_written))?;
        Ok((recorder, writer))
    }

    /// Starts to write what the recorder gets from now on, and to count what cannot be written.
    pub(crate) fn keep(
        self,
        recorder: Arc<Recorder>,
        not_written: Arc<AtomicU64>,
    ) -> io::Result<EventWriter> {
        let (end, mut ending) = watch::channel(false);
        let (tell, ended) = sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let after = recorder.former();
        thread::Builder::new().name("events".to_owned()).spawn(move || {
            let mut pen = Pen { files: self, after, not_written, failing: false };
            let mut newest = recorder.subscribe();
            runtime.block_on(async {
                loop {
                    pen.write_all(&recorder);
                    tokio::select! {
                        changed = newest.changed() => if changed.is_err() { break },
                        _ = ending.changed() => break,
                    }
                }
            });
            pen.write_all(&recorder);
            // The caller may have given up.
            let _ = tell.send(());
        })?;
        Ok(EventWriter { end, ended })
    }

    fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    fn path_before(&self) -> PathBuf {
        self.directory.join(format!("{NAME}.1"))
    }

    /// Adds whole lines at the end.
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o750).create(&self.directory)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true).mode(0o640);
        let mut file = options.custom_flags(O_NONBLOCK).open(self.path())?;
        let mut size = regular(&file)?;
        if size > 0 && size + lines.len() as u64 > self.bytes_max {
            fs::rename(self.path(), self.path_before())?;
            file = options.open(self.path())?;
            size = 0;
        }
        let mut last = [b'\n'];
        if size > 0 {
            file.read_exact_at(&mut last, size - 1)?;
        }
        if last != [b'\n'] {
            // The process before was killed within a line, or the disk was full.
            file.write_all(b"\n")?;
        }
        file.write_all(lines)
    }
}

impl EventWriter {
    /// Has the last events written, and waits for that for a tenth of a second at most.
    pub(crate) fn end(self) {
        let _ = self.end.send(true);
        let _ = self.ended.recv_timeout(END_WITHIN);
    }
}

/// What the thread works with.
struct Pen {
    files: EventFile,
    /// Number of the last event that was taken from the recorder.
    after: u64,
    not_written: Arc<AtomicU64>,
    failing: bool,
}

impl Pen {
    /// Writes everything that is new.
    fn write_all(&mut self, recorder: &Recorder) {
        loop {
            let page = recorder.page(self.after, Filter::default());
            self.after = page.after;
            self.write(&page.events);
            if page.complete {
                return;
            }
        }
    }

    fn write(&mut self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        let mut lines = Vec::new();
        for event in events {
            // Strings and numbers only: this cannot fail.
            if serde_json::to_writer(&mut lines, event).is_ok() {
                lines.push(b'\n');
            }
        }
        let written = self.files.append(&lines);
        if let Err(error) = &written {
            self.not_written.fetch_add(events.len() as u64, Ordering::Relaxed);
            if !self.failing {
                let file = self.files.path();
                tracing::warn!(%error, file = %file.display(),
                    "events cannot be saved: 'buoy events' forgets them at a restart");
            }
        }
        self.failing = written.is_err();
    }
}

/// Returns the size of a regular file; anything else, such as a FIFO, is refused.
fn regular(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok(metadata.len())
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// Returns the end of a file, this long at most; what is left of a line at its beginning is no event.
fn tail(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let size = regular(&file)?;
    file.seek(SeekFrom::Start(size.saturating_sub(most)))?;
    let mut text = Vec::new();
    file.take(most).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixture;

    /// A directory of its own, removed at the end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = format!("buoy-events-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(path);
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }

        fn files(&self, bytes_max: u64) -> EventFile {
            EventFile { directory: self.0.clone(), bytes_max }
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn note(recorder: &Recorder, sentence: &str) {
        let mut event = events::started("", false, &fixture::names());
        event.event.sentence = sentence.to_owned();
        recorder.note(SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_210_096), &event);
    }

    /// One process: what it found, after which it notes these and ends.
    fn live(files: &EventFile, notes: &[&str]) -> Vec<String> {
        let former = files.read();
        let found = former.iter().map(|event| event.sentence.clone()).collect();
        let names = NamesInForce::new(fixture::names());
        let recorder = Arc::new(Recorder::going_on(names, former));
        let writer = files.clone().keep(Arc::clone(&recorder), Arc::default()).unwrap();
        for sentence in notes {
            note(&recorder, sentence);
        }
        writer.end();
        found
    }

    #[test]
    fn events_survive_their_process_and_are_written_once() {
        let directory = Directory::new("survive");
        let files = directory.files(FILE_BYTES_MAX);
        assert!(live(&files, &["a", "b"]).is_empty());
        assert_eq!(live(&files, &["c"]), ["a", "b"]);
        let read = files.read();
        let told: Vec<_> = read.iter().map(|event| (event.seq, &*event.sentence)).collect();
        assert_eq!(told, [(1, "a"), (2, "b"), (3, "c")]);
    }

    #[test]
    fn a_torn_line_is_left_out_and_the_next_is_whole() {
        let directory = Directory::new("torn");
        let files = directory.files(FILE_BYTES_MAX);
        live(&files, &["a", "b"]);
        let text = fs::read(files.path()).unwrap();
        for torn in [&text[..text.len() - 9], &b"\xff\0garbage"[..], b"\n\n{}\n"] {
            fs::write(files.path(), torn).unwrap();
            live(&files, &["c"]);
            assert_eq!(files.read().last().unwrap().sentence, "c", "{torn:?}");
        }
    }

    #[test]
    fn files_do_not_grow_beyond_their_size() {
        let directory = Directory::new("size");
        let files = directory.files(2000);
        let texts: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        for text in &texts {
            live(&files, &[text]);
        }
        let size = |path| fs::metadata(path).unwrap().len();
        assert!(size(files.path()) <= 2000 && size(files.path_before()) <= 2000);
        let read = files.read();
        assert_eq!(read.last().unwrap().sentence, "39");
        assert!((5..25).contains(&read.len()), "{}", read.len());
        let numbers: Vec<u64> = read.iter().map(|event| event.seq).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_blocks_nothing() {
        let directory = Directory::new("refused");
        fs::create_dir_all(&directory.0).unwrap();
        let files = directory.files(FILE_BYTES_MAX);
        // Without a reader: an open that waits would wait for ever.
        nix::unistd::mkfifo(&files.path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let names = NamesInForce::new(fixture::names());
        let recorder = Arc::new(Recorder::going_on(names, files.read()));
        let lost = Arc::new(AtomicU64::new(0));
        let writer = files.keep(Arc::clone(&recorder), Arc::clone(&lost)).unwrap();
        note(&recorder, "a");
        note(&recorder, "b");
        writer.end();
        assert_eq!(lost.load(Ordering::Relaxed), 2);
    }
}
