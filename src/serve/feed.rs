//! What is known of the daemon: its status, asked for when somebody wants it, and its events.
//!
//! ```text
//!  status.sock <-- status   at most once a second, after an event four times; one for all who ask
//!              <-- events   followed all the time --> history, those who listen
//! ```
//!
//! Nothing is told longer than that: a daemon that does not answer within [`ANSWER_WAIT`] is told
//! as one that does not answer, and nothing that it said before.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, broadcast};
use tokio::time::{Instant, sleep, timeout};

use super::clock;
use super::history::{History, SPAN, millis};
use super::metrics::{self, Format};
use crate::control::request::Request;
use crate::control::response::{Event, Rejected, SCHEMA, Status};

/// A status this old is asked for again.
const AGE_MAX: Duration = Duration::from_secs(1);
/// The same, if something has happened since.
const AGE_AFTER_NEWS_MAX: Duration = Duration::from_millis(250);
/// A daemon that has not answered by then does not answer.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Longest status taken: one of the most groups has about 2 MB.
const STATUS_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest event taken.
const EVENT_BYTES_MAX: u64 = 64 * 1024;
/// Between two tries to follow the events of a daemon that does not answer.
const AGAIN: Duration = Duration::from_millis(500);
/// Events that may wait for a listener; whoever is slower loses the oldest.
const TOLD_MAX: usize = 1024;

/// The one source of everything that is served.
#[derive(Debug)]
pub(crate) struct Feed {
    socket: PathBuf,
    /// Held while a status is asked for, so that one answer is for all who wait.
    kept: Mutex<Option<Kept>>,
    /// Events told so far.
    news: AtomicU64,
    history: StdMutex<History>,
    told: broadcast::Sender<Told>,
}

#[derive(Debug)]
struct Kept {
    snapshot: Arc<Snapshot>,
    /// Events told before it was asked for.
    news: u64,
}

/// What listeners are told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// Something has happened.
    Event(Arc<Event>),
    /// The daemon answers, or does not answer, any more.
    Daemon {
        /// Whether it does.
        up: bool,
    },
}

/// One answer of the daemon, or that there was none.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// When it was asked for.
    asked: Instant,
    /// The same by the clock.
    pub(super) at: SystemTime,
    /// What it said, or why nothing.
    pub(crate) answer: Result<Answer, String>,
    /// Metrics of it, as they were asked for: by format, with and without groups.
    written: [OnceLock<Bytes>; 4],
}

/// A status, read and as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Arc<Status>,
    pub(super) line: Bytes,
}

impl Snapshot {
    fn new(asked: Instant, answer: Result<Answer, String>) -> Self {
        Self { asked, at: clock::wall(), answer, written: Default::default() }
    }

    /// How old it is.
    pub(super) fn age(&self) -> Duration {
        self.asked.elapsed()
    }

    /// All metrics as text. Written once, however many ask.
    pub(super) fn metrics(&self, groups: bool, format: Format) -> Bytes {
        let place = usize::from(groups) + 2 * usize::from(format == Format::Text);
        let write = || {
            let taken = Duration::from_millis(millis(self.at)).as_secs_f64();
            let known = self.answer.as_ref().ok().map(|answer| (&answer.status, taken));
            Bytes::from(metrics::write(known, groups, format))
        };
        self.written[place].get_or_init(write).clone()
    }
}

impl Feed {
    /// Of the daemon that listens there, now or later.
    pub(crate) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            kept: Mutex::new(None),
            news: AtomicU64::new(0),
            history: StdMutex::new(History::default()),
            told: broadcast::Sender::new(TOLD_MAX),
        }
    }

    /// What the daemon says now, not older than [`AGE_MAX`]. Whoever asks may go away meanwhile.
    pub(crate) async fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot_of(AGE_MAX, AGE_AFTER_NEWS_MAX).await
    }

    /// What the daemon says now, not older than this.
    pub(crate) async fn snapshot_not_older_than(&self, age_max: Duration) -> Arc<Snapshot> {
        self.snapshot_of(age_max, age_max).await
    }

    async fn snapshot_of(&self, quiet: Duration, after_news: Duration) -> Arc<Snapshot> {
        let mut kept = self.kept.lock().await;
        let news = self.news.load(Ordering::Relaxed);
        if let Some(kept) = &*kept {
            let age_max = if kept.news == news { quiet } else { after_news };
            if kept.snapshot.age() < age_max {
                return Arc::clone(&kept.snapshot);
            }
        }
        let asked = Instant::now();
        let answer = match timeout(ANSWER_WAIT, ask(&self.socket)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("it did not answer within {} s", ANSWER_WAIT.as_secs())),
        };
        let snapshot = Arc::new(Snapshot::new(asked, answer));
        *kept = Some(Kept { snapshot: Arc::clone(&snapshot), news });
        snapshot
    }

    /// What has happened, for reading.
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears what happens from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Told> {
        self.told.subscribe()
    }

    /// Follows the events, and again whenever the daemon has gone; ends only by being dropped.
    pub(crate) async fn follow(&self) {
        loop {
            let followed = self.follow_once().await;
            if self.history().lost(clock::millis()) {
                let why =
                    followed.err().map_or_else(|| "it has gone".to_owned(), |e| e.to_string());
                tracing::warn!(socket = %self.socket.display(), why, "the daemon does not answer");
                self.tell(Told::Daemon { up: false });
            }
            sleep(AGAIN).await;
        }
    }

    async fn follow_once(&self) -> io::Result<()> {
        let since_ms = u64::try_from(SPAN.as_millis()).ok();
        let request = Request::Events { since_ms, group: None, follow: true };
        let mut stream = request_of(&self.socket, &request).await?;
        if self.history().found(clock::millis()) {
            tracing::info!(socket = %self.socket.display(), "the daemon answers");
            self.tell(Told::Daemon { up: true });
        }
        let mut line = Vec::new();
        loop {
            line.clear();
            (&mut stream).take(EVENT_BYTES_MAX).read_until(b'\n', &mut line).await?;
            if !line.ends_with(b"\n") {
                return Ok(());
            }
            // What a newer daemon says besides is not for us.
            let Ok(event) = serde_json::from_slice::<Event>(&line) else { continue };
            let event = Arc::new(event);
            if self.history().take(&event) {
                self.tell(Told::Event(event));
            }
        }
    }

    fn tell(&self, told: Told) {
        self.news.fetch_add(1, Ordering::Relaxed);
        // Nobody may listen.
        let _ = self.told.send(told);
    }
}

async fn request_of(socket: &Path, request: &Request) -> io::Result<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(socket).await?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    Ok(BufReader::new(stream))
}

async fn ask(socket: &Path) -> Result<Answer, String> {
    let told = |error: io::Error| format!("{}: {error}", socket.display());
    let request = Request::Status { watch_ms: None };
    let stream = request_of(socket, &request).await.map_err(told)?;
    let mut line = Vec::new();
    stream.take(STATUS_BYTES_MAX).read_until(b'\n', &mut line).await.map_err(told)?;
    if !line.ends_with(b"\n") {
        return Err("it closed the connection before it had answered".to_owned());
    }
    if let Ok(rejected) = serde_json::from_slice::<Rejected>(&line) {
        return Err(rejected.refused.reason);
    }
    let status: Status = serde_json::from_slice(&line)
        .map_err(|error| format!("its answer cannot be parsed: {error}"))?;
    if status.schema != SCHEMA {
        return Err(format!("its answer has schema {}, not {SCHEMA}", status.schema));
    }
    Ok(Answer { status: Arc::new(status), line: line.into() })
}
