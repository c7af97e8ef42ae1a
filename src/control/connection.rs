//! One client of the control socket, from its first line to its end.
//!
//! ```text
//!  read a line -> answer it -> read a line ...      each line within IDLE_MAX
//!      |              |
//!      |              +-- `follow` or `watch_ms`: answers until the client says anything or goes
//!      +-- too long, or nothing: the connection ends
//! ```
//!
//! A line that is no request is refused and the next one read. Whatever a client does not read
//! within [`WRITE_WAIT`] ends its connection: it waits on nobody but itself, because its task is its
//! own and events are read from the recorder's ring instead of being queued for it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::events;
use super::giver;
use super::inquiry::{Inquirer, STATUS_AGE_MAX, find_group, json_line};
use super::names::NamesInForce;
use super::recorder::{Filter, Recorder};
use super::request::{REQUEST_BYTES_MAX, Request};
use super::response::{Done, End, Rejected};
use super::terms::Terms;
use super::undo::OrdersGiven;
use crate::protocol::SpareTerms;
use crate::redaction::redact;

/// A client that takes longer to read an answer is dropped.
pub(super) const WRITE_WAIT: Duration = Duration::from_secs(1);
/// A client that says nothing for so long gives its place to another.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Room made for each read; nearly every request is shorter.
const READ_BYTES: usize = 1024;

/// Longest request of those who only read.
const OBSERVERS_REQUEST_BYTES_MAX: usize = 4096;
/// A status this old is still given to those who only read: however many ask and how often, the
/// daemon makes four a second for them.
const OBSERVERS_STATUS_AGE_MAX: Duration = Duration::from_millis(250);
/// Time between two answers of other kinds to all who only read.
const OBSERVERS_PACE: Duration = Duration::from_millis(100);

/// What clients of a socket may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    /// Ask and order.
    Order,
    /// Ask for what is known: `status`, `events`, `explain`.
    Read,
}

/// Makes those who only read wait for each other.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// Ends when it is the turn of the caller.
    async fn turn(&self) {
        let mut last = self.0.lock().await;
        if let Some(last) = *last {
            sleep_until(last + OBSERVERS_PACE).await;
        }
        *last = Some(Instant::now());
    }
}

impl Rights {
    const fn request_bytes_max(self) -> usize {
        match self {
            Self::Order => REQUEST_BYTES_MAX,
            Self::Read => OBSERVERS_REQUEST_BYTES_MAX,
        }
    }

    const fn status_age_max(self) -> Duration {
        match self {
            Self::Order => STATUS_AGE_MAX,
            Self::Read => OBSERVERS_STATUS_AGE_MAX,
        }
    }

    const fn permit(self, request: &Request) -> bool {
        match request {
            Request::Status { .. } | Request::Events { .. } | Request::Explain { .. } => true,
            Request::Drain { .. }
            | Request::Undrain { .. }
            | Request::Hold { .. }
            | Request::Release {}
            | Request::Upgrade { .. }
            | Request::Move { .. }
            | Request::Undo {}
            | Request::Plan { .. }
            | Request::Reload {} => matches!(self, Self::Order),
        }
    }
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) names: NamesInForce,
    pub(super) recorder: Arc<Recorder>,
    pub(super) inquirer: Inquirer,
    pub(super) given: OrdersGiven,
    pub(super) wall_clock: fn() -> SystemTime,
    pub(super) pace: Pace,
}

/// Why a connection is over. None of these is a fault of the daemon.
#[derive(Debug)]
enum Ended {
    /// The client closed its end, or said more while it followed.
    ByClient,
    /// The client sent nothing, or did not read, for too long.
    TooSlow,
    /// The client sent a line longer than it may be.
    TooLong,
    /// The socket failed.
    Broken(io::Error),
}

impl fmt::Display for Ended {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByClient => out.write_str("ended by the client"),
            Self::TooSlow => out.write_str("the client was too slow"),
            Self::TooLong => out.write_str("the client's request was too long"),
            Self::Broken(error) => write!(out, "{error}"),
        }
    }
}

/// Serves one client to its end.
pub(super) async fn serve(stream: UnixStream, rights: Rights, desk: Arc<Desk>) {
    let user = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
    let (input, output) = stream.into_split();
    let input = Input { stream: input, buffer: Vec::new(), limit: rights.request_bytes_max() };
    let mut connection = Connection { input, output, rights, desk, user };
    let ended = connection.serve().await;
    tracing::debug!(%ended, user, "control client is gone");
}

struct Connection {
    input: Input,
    output: OwnedWriteHalf,
    rights: Rights,
    desk: Arc<Desk>,
    user: u32,
}

impl Connection {
    async fn serve(&mut self) -> Ended {
        loop {
            let line = match timeout(IDLE_MAX, self.input.line()).await {
                Ok(Ok(line)) => line,
                Ok(Err(Ended::TooLong)) => {
                    let reason = format!("a request has at most {} bytes", self.input.limit);
                    let told = self.say(&Rejected::new("request_too_long", reason)).await;
                    return told.err().unwrap_or(Ended::TooLong);
                }
                Ok(Err(ended)) => return ended,
                Err(_) => return Ended::TooSlow,
            };
            let answered = match serde_json::from_slice(&line) {
                Ok(request) if self.rights.permit(&request) => self.answer(request).await,
                Ok(request) => {
                    let word = request.word();
                    let reason =
                        format!("'{word}' is not allowed on this socket; use control.sock");
                    self.say(&Rejected::new("read_only", reason)).await
                }
                Err(error) => {
                    let error = redact(&error.to_string());
                    let reason = format!("not a valid request: {error}");
                    self.say(&Rejected::new("malformed", reason)).await
                }
            };
            if let Err(ended) = answered {
                return ended;
            }
        }
    }

    async fn answer(&mut self, request: Request) -> Result<(), Ended> {
        let desk = Arc::clone(&self.desk);
        if self.rights == Rights::Read && !matches!(request, Request::Status { .. }) {
            desk.pace.turn().await;
        }
        match &request {
            Request::Status { watch_ms: None } => self.status().await,
            Request::Status { watch_ms: Some(every) } => self.watch(*every).await,
            Request::Events { since_ms, group, follow } => {
                let filter = Filter { since: self.since(*since_ms), group: None };
                let group = group.as_deref();
                match group.map(|name| find_group(&desk.names.current(), name)).transpose() {
                    Ok(group) => self.events(Filter { group, ..filter }, *follow).await,
                    Err(rejected) => self.say(&rejected).await,
                }
            }
            Request::Explain { group } => self.tell(desk.inquirer.explain(group).await).await,
            Request::Drain { .. }
            | Request::Undrain { .. }
            | Request::Hold { .. }
            | Request::Release {}
            | Request::Upgrade { .. }
            | Request::Move { .. }
            | Request::Undo {} => {
                let by = self.note_order(&request);
                let undo = desk.inquirer.foresee_undo(&request).await;
                let done = self.order(&request, &by).await;
                if let (Ok(_), Some(undo)) = (&done, undo) {
                    desk.given.remember(self.user, undo);
                }
                self.tell(done).await
            }
            Request::Plan { config: Some(_), .. } => {
                let reason = "the daemon reads no file for a client; send the text of the file as \
                     \"text\" (buoy plan --config FILE of this version does)";
                self.say(&Rejected::new("path_refused", reason)).await
            }
            Request::Plan { without, text, config: None } => {
                self.tell(desk.inquirer.plan(without, text.clone()).await).await
            }
            Request::Reload {} => {
                self.note_order(&request);
                self.tell(desk.inquirer.reload().await).await
            }
        }
    }

    /// Carries out one of the requests that end in [`Done`].
    async fn order(&self, request: &Request, by: &str) -> Result<Done, Rejected> {
        let inquirer = &self.desk.inquirer;
        let done = match request {
            Request::Drain { node, now, if_safe, keep, reason, for_ms, persist } => {
                let spare = SpareTerms { alone: *if_safe, keep: *keep };
                let terms = Terms::of(spare, reason.as_ref(), *for_ms)?;
                let terms = Terms { persist: *persist, ..terms };
                return inquirer.drain(node.as_deref(), *now, (&terms, by)).await;
            }
            Request::Hold { for_ms, reason } => {
                let terms = Terms::of(SpareTerms::default(), reason.as_ref(), *for_ms)?;
                return inquirer.hold(&terms, by).await;
            }
            Request::Upgrade { words: Some(words), again, for_ms } => {
                let terms = Terms::of(SpareTerms::default(), Some(words), Some(*for_ms))?;
                return inquirer.upgrade(&terms, *again, by).await;
            }
            Request::Upgrade { words: None, .. } => inquirer.upgraded().await?,
            Request::Undrain { node } => inquirer.undrain(node.as_deref()).await?,
            Request::Release {} => inquirer.release().await?,
            Request::Move { group, node } => inquirer.move_group(group, node).await?,
            Request::Undo {} => inquirer.undo(&self.desk.given, self.user).await?,
            Request::Status { .. }
            | Request::Events { .. }
            | Request::Explain { .. }
            | Request::Plan { .. }
            | Request::Reload {} => unreachable!("not an order: {}", request.word()),
        };
        let recorder = &self.desk.recorder;
        let ordered = events::ordered(&done, by, &recorder.names());
        recorder.note((self.desk.wall_clock)(), &ordered);
        Ok(done)
    }

    /// Writes an order into the log. Returns who gives it.
    fn note_order(&self, request: &Request) -> String {
        // Names are as the client wrote them.
        let request_text = redact(&format!("{request:?}"));
        let (order, user) = (request.word(), self.user);
        let by = giver::name(user);
        tracing::info!(order, request = request_text, user, by, "operator's order");
        by
    }

    fn since(&self, since_ms: Option<u64>) -> Option<SystemTime> {
        let back = Duration::from_millis(since_ms?);
        // A span that reaches before the beginning of time is all of it.
        (self.desk.wall_clock)().checked_sub(back)
    }

    async fn status(&mut self) -> Result<(), Ended> {
        match self.desk.inquirer.status(self.rights.status_age_max()).await {
            Ok(line) => self.write(&line).await,
            Err(rejected) => self.say(&rejected).await,
        }
    }

    async fn watch(&mut self, every_ms: u32) -> Result<(), Ended> {
        let every = Duration::from_millis(u64::from(every_ms)).max(self.rights.status_age_max());
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.status().await?,
                ended = self.input.anything() => return Err(ended),
            }
        }
    }

    async fn events(&mut self, filter: Filter, follow: bool) -> Result<(), Ended> {
        let mut newest = self.desk.recorder.subscribe();
        let (mut after, mut told) = (0, 0_u64);
        loop {
            newest.mark_unchanged();
            loop {
                let page = self.desk.recorder.page(after, filter);
                after = page.after;
                told += page.events.len() as u64;
                let lines: Vec<u8> = page.events.iter().flat_map(json_line).collect();
                self.write(&lines).await?;
                if page.complete {
                    break;
                }
            }
            if !follow {
                return self.say(&End { end: told }).await;
            }
            tokio::select! {
                changed = newest.changed() => changed.map_err(|_| Ended::ByClient)?,
                ended = self.input.anything() => return Err(ended),
            }
        }
    }

    async fn tell<T: serde::Serialize>(
        &mut self,
        answer: Result<T, Rejected>,
    ) -> Result<(), Ended> {
        match answer {
            Ok(answer) => self.say(&answer).await,
            Err(rejected) => self.say(&rejected).await,
        }
    }

    async fn say<T: serde::Serialize>(&mut self, answer: &T) -> Result<(), Ended> {
        self.write(&json_line(answer)).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        match timeout(WRITE_WAIT, self.output.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Ended::Broken(error)),
            Err(_) => Err(Ended::TooSlow),
        }
    }
}

/// What the client says, in lines. Every await here may be cancelled: bytes read stay in `buffer`.
struct Input {
    stream: OwnedReadHalf,
    buffer: Vec<u8>,
    /// Longest line.
    limit: usize,
}

impl Input {
    /// The next line. What stands at the end without a newline counts as a line, too.
    async fn line(&mut self) -> Result<Vec<u8>, Ended> {
        let mut searched = 0;
        loop {
            if let Some(found) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(searched + found + 1);
                return Ok(std::mem::replace(&mut self.buffer, rest));
            }
            if self.buffer.len() >= self.limit {
                return Err(Ended::TooLong);
            }
            searched = self.buffer.len();
            if self.fill().await? == 0 {
                if self.buffer.is_empty() {
                    return Err(Ended::ByClient);
                }
                return Ok(std::mem::take(&mut self.buffer));
            }
        }
    }

    /// Ends as soon as the client says anything or goes away.
    async fn anything(&mut self) -> Ended {
        if self.buffer.is_empty()
            && let Err(ended) = self.fill().await
        {
            return ended;
        }
        Ended::ByClient
    }

    async fn fill(&mut self) -> Result<usize, Ended> {
        let room = self.limit - self.buffer.len();
        self.buffer.reserve(room.min(READ_BYTES));
        let mut limited = (&mut self.stream).take(room as u64);
        limited.read_buf(&mut self.buffer).await.map_err(Ended::Broken)
    }
}
