//! Ctrl-C at the terminal of an upgrade: a question instead of an end in the middle of a step.
//!
//! ```text
//!   SIGINT --> this thread asks --> "step": after the present step (`Drive` looks between two steps)
//!                |                  "now":  ends this process; the record, the hold and the drain stand
//!                |                  else:   the upgrade goes on
//!                +-- SIGINT again, while it asks: as "now"
//! ```
//!
//! Only where standard input and standard error are terminals: without one SIGINT ends the process, as
//! for any program. The command that runs is in a process group of its own and hears of neither.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::oneshot;

const QUESTION: &str = "\n\
buoy: Ctrl-C: what is to become of the upgrade?\n\
  step   stop after the present step; 'buoy upgrade --resume' continues\n\
  now    stop at once: the node that is being changed stays drained\n\
  Enter  continue\n\
step, now or Enter (Ctrl-C again: now): ";

/// What the operator wants at the terminal.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt {
    after_this_step: Arc<AtomicBool>,
}

/// What is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Continue,
    AfterThisStep,
    Now,
}

impl Choice {
    fn read(line: &str) -> Self {
        match line.trim().to_ascii_lowercase().as_str() {
            "step" | "s" => Self::AfterThisStep,
            "now" | "n" => Self::Now,
            _ => Self::Continue,
        }
    }
}

impl Interrupt {
    /// Asks at each Ctrl-C from now on, if there is a terminal to ask at.
    pub(super) fn watch() -> io::Result<Self> {
        let this = Self::default();
        if io::stdin().is_terminal() && io::stderr().is_terminal() {
            let asked = this.clone();
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let interrupts = {
                let _entered = runtime.enter();
                signal(SignalKind::interrupt())?
            };
            thread::Builder::new()
                .name("interrupt".to_owned())
                .spawn(move || runtime.block_on(asked.ask_at_each(interrupts)))?;
        }
        Ok(this)
    }

    /// Whether no further step is to be begun.
    pub(super) fn stops(&self) -> bool {
        self.after_this_step.load(Ordering::Relaxed)
    }

    async fn ask_at_each(self, mut interrupts: Signals) {
        while interrupts.recv().await.is_some() {
            say(QUESTION);
            let choice = tokio::select! {
                line = line() => Choice::read(&line),
                _ = interrupts.recv() => Choice::Now,
            };
            match choice {
                Choice::Continue => say("buoy: the upgrade continues\n"),
                Choice::AfterThisStep => {
                    self.after_this_step.store(true, Ordering::Relaxed);
                    say("buoy: the upgrade stops after this step\n");
                }
                Choice::Now => {
                    say("\nbuoy: stopped; 'buoy upgrade --resume' continues\n");
                    // SIGINT is caught here, and this ends the process as that would have.
                    let _ = kill(Pid::this(), Signal::SIGTERM);
                    return;
                }
            }
        }
    }
}

/// Writes to the terminal; one that is gone need not be told.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Reads a line from standard input; nothing if there is none.
async fn line() -> String {
    let (read, done) = oneshot::channel();
    let reads = move || {
        let mut line = String::new();
        let _ = io::stdin().read_line(&mut line);
        // Whoever waited has had another answer.
        let _ = read.send(line);
    };
    // The thread ends with the process if nothing is typed.
    match thread::Builder::new().name("answer".to_owned()).spawn(reads) {
        Ok(_) => done.await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for_by_name_stops_an_upgrade() {
        for (line, choice) in [
            ("\n", Choice::Continue),
            ("", Choice::Continue),
            ("yes\n", Choice::Continue),
            ("step\n", Choice::AfterThisStep),
            (" S \n", Choice::AfterThisStep),
            ("NOW\n", Choice::Now),
            ("n\r\n", Choice::Now),
        ] {
            assert_eq!(Choice::read(line), choice, "{line:?}");
        }
    }
}
