//! The live views at a terminal: `buoy top`, and `buoy status --watch`.
//!
//! ```text
//!  daemon ==== control.sock ====> feed (threads) -- Heard, bounded --> state --> view --> terminal
//!    ^                                                    keys ------>  |
//!    +--------------- explain, drain (a thread each, one at a time) <---+
//! ```
//!
//! A process of its own, like every command. `state` is pure: keys and what was heard go in, effects
//! come out; `view` draws it. Nothing here waits for the daemon: the screen is drawn `FRAME` after
//! the last time at the latest, with the age of what it shows, and says so when the daemon is lost.
//! A daemon is asked for two statuses a second, and a terminal is written 20 times a second at most.

mod feed;
mod state;
mod view;
mod watch;

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event as Input, KeyEventKind};

use self::feed::Heard;
use self::state::{Effect, Key, Screen};

pub use self::watch::{Form, watch};

/// Longest time between two pictures.
const FRAME: Duration = Duration::from_millis(250);
/// Shortest time between two pictures, however fast somebody types.
const FRAME_MIN: Duration = Duration::from_millis(50);
/// Keys of one picture; more wait for the next.
const KEYS_MAX: usize = 64;
/// What was heard and is not shown yet; who reads the daemon waits then.
const HEARD_MAX: usize = 256;

/// Why there is no live view.
#[derive(Debug)]
pub enum Error {
    /// Standard input or output is something else.
    NoTerminal,
    /// The terminal refused.
    Terminal(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTerminal => {
                write!(out, "top needs a terminal; 'buoy status --watch' writes to anything")
            }
            Self::Terminal(error) => write!(out, "the terminal cannot be used: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// Returns whether a terminal is to be given colours, by <https://no-color.org> and `TERM`.
#[must_use]
pub fn colours(no_color: Option<&str>, term: Option<&str>) -> bool {
    no_color.is_none_or(str::is_empty) && !matches!(term, None | Some("" | "dumb"))
}

/// Shows the cluster until the user ends it.
///
/// # Errors
/// Without a terminal, or if it fails.
pub fn run(socket: &Path) -> Result<(), Error> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Error::NoTerminal);
    }
    let variable = |name| std::env::var(name).ok();
    let colours = colours(variable("NO_COLOR").as_deref(), variable("TERM").as_deref());
    let terminated = terminated()?;
    let (sender, heard) = mpsc::sync_channel(HEARD_MAX);
    feed::start(socket, &sender);
    // Also has a panic restore the terminal before its message is printed.
    let mut terminal = ratatui::try_init().map_err(Error::Terminal)?;
    let ends = || terminated.load(Ordering::Relaxed);
    let ended = serve(&mut terminal, Screen::new(colours), socket, (&sender, &heard), ends);
    let restored = ratatui::try_restore();
    ended.and(restored).map_err(Error::Terminal)
}

/// Returns what becomes true when the process is told to end: the terminal is restored first. Called
/// before any other thread is started, which then leaves these signals alone too.
fn terminated() -> Result<Arc<AtomicBool>, Error> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGHUP);
    let refused = |errno: nix::errno::Errno| Error::Terminal(errno.into());
    signals.thread_block().map_err(refused)?;
    let terminated = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&terminated);
    thread::spawn(move || {
        // Whatever ends the wait, the view must not outlive it.
        let _signal = signals.wait();
        told.store(true, Ordering::Relaxed);
    });
    Ok(terminated)
}

fn serve(
    terminal: &mut DefaultTerminal,
    mut screen: Screen,
    socket: &Path,
    (sender, heard): (&SyncSender<Heard>, &Receiver<Heard>),
    ends: impl Fn() -> bool,
) -> io::Result<()> {
    while !ends() {
        let drawn = now();
        terminal.draw(|frame| view::draw(frame, &screen, drawn))?;
        if event::poll(FRAME)? {
            for _ in 0..KEYS_MAX {
                if let Input::Key(key) = event::read()?
                    && key.kind == KeyEventKind::Press
                    && let Some(effect) = Key::of(key).and_then(|key| screen.key(key))
                {
                    if effect == Effect::Quit {
                        return Ok(());
                    }
                    feed::ask(socket, effect, sender);
                }
                if !event::poll(FRAME_MIN.saturating_sub(now().duration_since(drawn)))? {
                    break;
                }
            }
        }
        for heard in heard.try_iter().take(HEARD_MAX) {
            screen.hear(heard, now());
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the age of what is shown; nothing is decided by it")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_have_them_and_users_who_want_them() {
        assert!(colours(None, Some("xterm-256color")));
        assert!(colours(Some(""), Some("xterm")));
        for (no_color, term) in
            [(Some("1"), Some("xterm")), (None, Some("dumb")), (None, None), (None, Some(""))]
        {
            assert!(!colours(no_color, term), "{no_color:?} {term:?}");
        }
    }
}
