//! Asks a running daemon, for the command line.
//!
//! `cli` turns its arguments into a [`Command`], calls [`run`] with the socket, whether `--json`
//! was given, and where to write; on an error it prints the error's text to standard error and
//! ends with [`Error::exit_code`]:
//!
//! ```text
//! match client::run(&command, &socket, json, &mut stdout.lock()) {
//!     Ok(()) => 0,
//!     Err(error) => { complain(&error); error.exit_code() }
//! }
//! ```
//!
//! With `--json` the daemon's lines are written as they came, a refusal included. A reader of our
//! output that goes away (`buoy events | head`) ends the command in good order. Blocking, without
//! a runtime and without a clock: where it waits, the daemon paces it with statuses.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::duration_text::millis;
use super::failure::unreachable;
use super::ready::{self, Readiness};
use super::request::Request;
use super::response::{Applied, Done, Event, Explanation, Rejected, Restart, SCHEMA, Status};
use super::selection::Selection;
use super::terms::Terms;
use super::wait::{self, Goal};
use super::{plan, recorder, render};

pub use super::failure::Error;

/// Longer than the daemon itself waits for an answer, so that its own refusal is heard.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// As above, for a reload and a plan.
const RELOAD_WAIT: Duration = Duration::from_secs(40);
/// The groups of a drain come back before it is answered.
const UNDO_WAIT: Duration = Duration::from_secs(40);
/// Longest answer taken: a status of the most groups has about 2 MB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
const REFUSED: &str = r#"{"refused":"#;

/// A command for the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `buoy status`.
    Status(Selection),
    /// `buoy events`.
    Events {
        /// Only events of this last period.
        since: Option<Duration>,
        /// Only events of this group, by its name.
        group: Option<String>,
        /// Whether to keep printing new events.
        follow: bool,
    },
    /// `buoy explain GROUP`.
    Explain {
        /// Name of the group, `POOL/NAME`, or one of its addresses.
        group: String,
    },
    /// `buoy drain [NODE]`.
    Drain {
        /// Name of the node; `None` is the node of the daemon.
        node: Option<String>,
        /// Whether to wait until it has no groups; `--no-wait` is false.
        wait: bool,
        /// Whether to move groups without waiting for connections; `--now` is true.
        now: bool,
        /// On which terms.
        terms: Terms,
    },
    /// `buoy undrain [NODE]`.
    Undrain {
        /// Name of the node; `None` is the node of the daemon.
        node: Option<String>,
    },
    /// `buoy hold`.
    Hold {
        /// Why, and for how long.
        terms: Terms,
    },
    /// `buoy release`.
    Release,
    /// `buoy undo`.
    Undo,
    /// The record of `buoy upgrade`.
    Upgrade {
        /// How far it is; `None` ends it.
        words: Option<String>,
        /// Whether it may replace one that stands.
        again: bool,
        /// It is over by itself after this.
        lasts: Duration,
    },
    /// `buoy ready NODE`.
    Ready(Readiness),
    /// `buoy move GROUP NODE`.
    Move {
        /// Name of the group, `POOL/NAME`, or one of its addresses.
        group: String,
        /// Name of the receiving node.
        node: String,
        /// Whether to wait until it has moved; `--no-wait` is false.
        wait: bool,
    },
    /// `buoy plan`.
    Plan {
        /// Names of the nodes to plan without.
        without: Vec<String>,
        /// Text of the configuration to plan with.
        text: Option<String>,
    },
    /// `buoy reload`.
    Reload,
}

/// Runs one command against the daemon at `socket` and writes its answer to `out`.
///
/// # Errors
/// If the daemon is not reachable or refuses, or what was waited for cannot come.
pub fn run(command: &Command, socket: &Path, json: bool, out: &mut dyn Write) -> Result<(), Error> {
    match execute(command, socket, &mut Output { json, out }) {
        Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Returns what a restart of the daemon at `socket` would do now; `None` if it does not know.
///
/// # Errors
/// If the daemon is not reachable, or does not answer.
pub fn restart(socket: &Path) -> Result<Option<Restart>, Error> {
    let mut link = Link::open(socket)?;
    link.ask(&Request::Status { watch_ms: None })?;
    let status: Status = understand(&link.line()?)?;
    Ok(status.restart)
}

fn execute(command: &Command, socket: &Path, output: &mut Output<'_>) -> Result<(), Error> {
    match command {
        Command::Status(selection) => {
            let answer = ask(socket, &Request::Status { watch_ms: None }, ANSWER_WAIT, output)?;
            if !selection.is_narrow() {
                return output
                    .answer(&answer, |status: &Status| render::selected_status(status, selection));
            }
            let mut status: Status = understand(&answer)?;
            output.accept(selection.apply(&mut status).map_err(Error::Refused).map(|()| answer))?;
            if output.json {
                let line = serde_json::to_string(&status).map_err(Error::NotUnderstood)?;
                return output.write(&format!("{line}\n"));
            }
            output.write(&render::selected_status(&status, selection))
        }
        Command::Explain { group } => {
            let request = Request::Explain { group: group.clone() };
            let answer = ask(socket, &request, ANSWER_WAIT, output)?;
            output.answer(&answer, |told: &Explanation| render::explanation(told))
        }
        Command::Plan { without, text } => {
            let (without, text) = (without.clone(), text.clone());
            let request = Request::Plan { without, text, config: None };
            let answer = ask(socket, &request, RELOAD_WAIT, output)?;
            output.answer(&answer, plan::text)
        }
        Command::Reload => {
            let answer = ask(socket, &Request::Reload {}, RELOAD_WAIT, output)?;
            output.answer(&answer, |applied: &Applied| render::applied(applied))
        }
        Command::Events { since, group, follow } => {
            let since_ms = since.map(millis);
            let request = Request::Events { since_ms, group: group.clone(), follow: *follow };
            events(socket, &request, *follow, output)
        }
        Command::Undrain { node } => {
            let request = Request::Undrain { node: node.clone() };
            order(socket, &request, false, output)
        }
        Command::Drain { node, wait, now, terms } => {
            let Terms { spare, reason, persist, lasts } = terms.clone();
            let (node, now, if_safe, keep) = (node.clone(), *now, spare.alone, spare.keep);
            let for_ms = lasts.map(millis);
            let request = Request::Drain { node, now, if_safe, keep, reason, for_ms, persist };
            order(socket, &request, *wait, output)
        }
        Command::Hold { terms } => {
            let Terms { reason, lasts, .. } = terms.clone();
            order(socket, &Request::Hold { for_ms: lasts.map(millis), reason }, false, output)
        }
        Command::Upgrade { words, again, lasts } => {
            let (words, again, for_ms) = (words.clone(), *again, millis(*lasts));
            order(socket, &Request::Upgrade { words, again, for_ms }, false, output)
        }
        Command::Undo => undo(socket, output),
        Command::Release => order(socket, &Request::Release {}, false, output),
        Command::Ready(wanted) => {
            ready::until(socket, wanted, &mut |text| output.progress(text))?;
            let (done, node) = ("ready".to_owned(), wanted.node.clone());
            let done = Done { schema: SCHEMA, done, node, pool: None, group: None };
            let line = serde_json::to_string(&done).map_err(Error::NotUnderstood)?;
            output.answer(&(line + "\n"), |done: &Done| render::accepted(done))
        }
        Command::Move { group, node, wait } => {
            let request = Request::Move { group: group.clone(), node: node.clone() };
            order(socket, &request, *wait, output)
        }
    }
}

fn undo(socket: &Path, output: &mut Output<'_>) -> Result<(), Error> {
    let answer = ask(socket, &Request::Undo {}, UNDO_WAIT, output)?;
    output.answer(&answer, |done: &Done| format!("undone: {}", render::accepted(done)))
}

fn order(
    socket: &Path,
    request: &Request,
    wait: bool,
    output: &mut Output<'_>,
) -> Result<(), Error> {
    let line = ask(socket, request, ANSWER_WAIT, output)?;
    if !wait {
        return output.answer(&line, |done: &Done| render::accepted(done));
    }
    let done: Done = understand(&line)?;
    let goal = Goal::of(&done);
    wait::until(socket, &goal, wait::PATIENCE, &mut |text| output.progress(text))?;
    output.answer(&line, |done: &Done| render::reached(done))
}

fn events(
    socket: &Path,
    request: &Request,
    follow: bool,
    output: &mut Output<'_>,
) -> Result<(), Error> {
    let mut link = Link::open(socket)?;
    link.ask(request)?;
    if follow {
        link.wait_at_most(None)?;
        loop {
            let line = output.accept(link.line())?;
            output.answer(&line, |event: &Event| render::event(event))?;
        }
    }
    // Everything is read before anything is written: a pager that waits for its reader must not
    // make the daemon drop us.
    let mut lines = Vec::new();
    loop {
        let line = output.accept(link.line())?;
        if line.starts_with(r#"{"end":"#) {
            break;
        }
        lines.push(line);
        if lines.len() > recorder::EVENTS_MAX * 2 {
            return Err(Error::Lost(socket.to_owned()));
        }
    }
    lines.iter().try_for_each(|line| output.answer(line, |event: &Event| render::event(event)))
}

fn ask(
    socket: &Path,
    request: &Request,
    wait: Duration,
    output: &mut Output<'_>,
) -> Result<String, Error> {
    let mut link = Link::open(socket)?;
    link.wait_at_most(Some(wait))?;
    link.ask(request)?;
    output.accept(link.line())
}

/// Where answers go, and in which form.
struct Output<'a> {
    json: bool,
    out: &'a mut dyn Write,
}

impl Output<'_> {
    fn answer<T: DeserializeOwned>(
        &mut self,
        line: &str,
        render: impl FnOnce(&T) -> String,
    ) -> Result<(), Error> {
        if self.json { self.write(line) } else { self.write(&render(&understand(line)?)) }
    }

    /// Lines meanwhile are for people only: a script wants one answer.
    fn progress(&mut self, text: &str) -> Result<(), Error> {
        if self.json { Ok(()) } else { self.write(text) }
    }

    /// Passes an answer on; a refusal is also written if the caller wants JSON.
    fn accept(&mut self, line: Result<String, Error>) -> Result<String, Error> {
        if let Err(Error::Refused(refused)) = &line
            && self.json
        {
            let rejected = Rejected { refused: refused.clone(), schema: SCHEMA };
            let text = serde_json::to_string(&rejected).map_err(Error::NotUnderstood)?;
            self.write(&text)?;
            self.write("\n")?;
        }
        line
    }

    fn write(&mut self, text: &str) -> Result<(), Error> {
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).map_err(Error::Output)
    }
}

/// A connection to the daemon.
pub(super) struct Link {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Link {
    pub(super) fn open(socket: &Path) -> Result<Self, Error> {
        let socket = socket.to_owned();
        let stream = UnixStream::connect(&socket).map_err(|error| unreachable(&socket, error))?;
        let mut link = Self { socket, stream: BufReader::new(stream) };
        link.wait_at_most(Some(ANSWER_WAIT))?;
        Ok(link)
    }

    /// Sets how long one line may take; `None` is for ever.
    pub(super) fn wait_at_most(&mut self, wait: Option<Duration>) -> Result<(), Error> {
        self.stream
            .get_ref()
            .set_read_timeout(wait)
            .map_err(|error| Error::Unreachable(self.socket.clone(), error))
    }

    pub(super) fn ask(&mut self, request: &Request) -> Result<(), Error> {
        let mut line = serde_json::to_vec(request).map_err(Error::NotUnderstood)?;
        line.push(b'\n');
        match self.stream.get_mut().write_all(&line) {
            // The daemon may have turned us away already; its reason is still there to be read.
            Err(error) if !ended(error.kind()) => {
                Err(Error::Unreachable(self.socket.clone(), error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The next line, newline included; a refusal is an error.
    pub(super) fn line(&mut self) -> Result<String, Error> {
        let mut line = String::new();
        match (&mut self.stream).take(ANSWER_BYTES_MAX).read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => {}
            Ok(_) => return Err(Error::Lost(self.socket.clone())),
            Err(error) if ended(error.kind()) => return Err(Error::Lost(self.socket.clone())),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(Error::NoAnswer(self.socket.clone()));
            }
            Err(error) => return Err(Error::Unreachable(self.socket.clone(), error)),
        }
        if line.starts_with(REFUSED) {
            let rejected: Rejected = understand(&line)?;
            return Err(Error::Refused(rejected.refused));
        }
        Ok(line)
    }
}

fn ended(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

pub(super) fn understand<T: DeserializeOwned>(line: &str) -> Result<T, Error> {
    serde_json::from_str(line).map_err(Error::NotUnderstood)
}
