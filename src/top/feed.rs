//! Threads that read the daemon for a live view, and ask it what the user wants.
//!
//! Each ends when the view has ended: the channel is closed then. A daemon that is lost is asked
//! again every second.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use super::state::Effect;
use crate::control::live::{self, Events, Statuses};
use crate::control::render;
use crate::control::response::{Event, Status};

/// Between two statuses.
const EVERY: Duration = Duration::from_millis(500);
/// Between two attempts to reach the daemon.
pub(super) const AGAIN: Duration = Duration::from_secs(1);
/// Events of the past that are shown at the start.
const PAST: Duration = Duration::from_secs(3600);

/// What a view hears.
#[derive(Debug)]
pub(super) enum Heard {
    /// The present.
    Status(Box<Status>),
    /// Something happened.
    Event(Box<Event>),
    /// The daemon cannot be asked, with the reason.
    Lost(String),
    /// The answer to what the user asked for: a title and lines.
    Answer(String, String),
}

/// Starts reading the daemon at `socket`.
pub(super) fn start(socket: &Path, heard: &SyncSender<Heard>) {
    let (path, sender) = (socket.to_owned(), heard.clone());
    thread::spawn(move || read_statuses(&path, &sender));
    let (path, sender) = (socket.to_owned(), heard.clone());
    thread::spawn(move || read_events(&path, &sender));
}

fn read_statuses(socket: &Path, heard: &SyncSender<Heard>) {
    loop {
        let lost = match Statuses::open(socket, EVERY) {
            Ok(mut statuses) => loop {
                match statuses.status() {
                    Ok(status) => {
                        if heard.send(Heard::Status(Box::new(status))).is_err() {
                            return;
                        }
                    }
                    Err(error) => break error,
                }
            },
            Err(error) => error,
        };
        if heard.send(Heard::Lost(lost.to_string())).is_err() {
            return;
        }
        wait(AGAIN);
    }
}

fn read_events(socket: &Path, heard: &SyncSender<Heard>) {
    let (mut past, mut last) = (PAST, (0, String::new()));
    loop {
        if let Ok(mut events) = Events::open(socket, past) {
            while let Ok(event) = events.event() {
                // A daemon that is back has the events of the process before as well.
                if event.seq <= last.0 && event.time <= last.1 {
                    continue;
                }
                last = (event.seq, event.time.clone());
                if heard.send(Heard::Event(Box::new(event))).is_err() {
                    return;
                }
            }
            // Those before are shown already.
            past = AGAIN;
        }
        wait(AGAIN);
    }
}

/// Lets some time pass.
pub(super) fn wait(time: Duration) {
    let (_open, never) = mpsc::channel::<()>();
    let waited = never.recv_timeout(time);
    debug_assert_eq!(waited, Err(RecvTimeoutError::Timeout), "nobody sends");
}

/// Asks the daemon on a thread of its own; the answer comes as [`Heard::Answer`].
pub(super) fn ask(socket: &Path, effect: Effect, heard: &SyncSender<Heard>) {
    let (socket, heard): (PathBuf, _) = (socket.to_owned(), heard.clone());
    thread::spawn(move || {
        let (title, answer) = match &effect {
            Effect::Explain(group) => {
                let answer = live::explain(&socket, group).map(|it| render::explanation(&it));
                (format!("explain {group}"), answer)
            }
            Effect::Drain { node, on } => {
                let answer = live::drain(&socket, node, *on).map(|done| render::accepted(&done));
                (format!("{} {node}", if *on { "drain" } else { "undrain" }), answer)
            }
            Effect::Quit => return,
        };
        let text = answer.unwrap_or_else(|error| error.to_string());
        // A view that has ended wants no answer.
        let _ = heard.send(Heard::Answer(title, text));
    });
}
