//! `buoy upgrade`: every node of a cluster changed by one command, one group after the other.
//!
//! Drives the cluster by the control socket of one node, as a person would by hand; what it does when
//! is `drive`, how far it has come is `course`. Its record and its hold are standing orders, so every
//! node shows them, a second upgrade is refused, and one whose terminal is lost is resumed from any
//! node. The asked daemon may be away while its own node is changed: it is asked again then.

mod clock;
mod course;
mod drive;
mod interrupt;

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::json;

use crate::config::show_duration;
use crate::control::client::{self, Command};
use crate::control::ready::Readiness;
use crate::control::response::Status;
use crate::control::selection::Selection;
use crate::control::terms::Terms;
use crate::control::timestamp::rfc3339;

pub use course::GroupSize;
pub use drive::OnFailure;

use course::Course;
use drive::{Drive, Step, Stopped, Work, World};
use interrupt::Interrupt;

/// The record and the hold of an upgrade that is not ended are over after this.
pub const STANDS: Duration = Duration::from_secs(86_400);
/// Between two attempts to reach a daemon that is away.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Between two looks whether a command has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Options {
    /// Socket of the daemon that is asked.
    pub socket: PathBuf,
    /// Whether to write JSON.
    pub json: bool,
    /// Run for each node by the shell, `{node}` replaced.
    pub run: String,
    /// The nodes; all members if empty.
    pub nodes: Vec<String>,
    /// How many at the same time.
    pub group: GroupSize,
    /// How long a node must have been ready.
    pub soak: Duration,
    /// How long a node may take to be so.
    pub timeout: Duration,
    /// How long the command may run for one node.
    pub command_timeout: Duration,
    /// Percent of the weight that must stay in service.
    pub keep: Option<u8>,
    /// What becomes of a failure.
    pub on_failure: OnFailure,
    /// Takes a node back.
    pub rollback: Option<String>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Go on with the one that stands.
    pub resume: bool,
}

/// Why an upgrade did not come to its end.
#[derive(Debug)]
pub enum Failure {
    /// It did not begin, or ended between two steps. Nothing is drained by it.
    Refused(String),
    /// It stopped within a step: that node is drained, the record and the hold stand.
    Failed(String),
    /// All was taken back.
    RolledBack(String),
    /// The output could not be written.
    Output(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(out, "the upgrade does not go on: {why}"),
            Self::Failed(why) => write!(
                out,
                "the upgrade has stopped: {why}\nwhat is drained stays so, see 'buoy status'; go on \
                 with 'buoy upgrade --resume', or end it with 'buoy upgrade --abort' and \
                 'buoy undrain NODE'"
            ),
            Self::RolledBack(why) => write!(out, "the upgrade was rolled back: {why}"),
            Self::Output(error) => write!(out, "the result cannot be written: {error}"),
        }
    }
}

/// The command for one node.
fn command_for(command: &str, node: &str) -> String {
    command.replace("{node}", node)
}

/// Upgrades; returns when all nodes are done.
///
/// # Errors
///
/// See [`Failure`].
pub fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let began = clock::now();
    let interrupt = Interrupt::default();
    let mut world = Cluster { options, out, broken: None, last: None, interrupt };
    let status = world.status().map_err(Failure::Refused)?;
    let (nodes, size, keep) = (&options.nodes, options.group, options.keep);
    let mut course = Course::new(&status, nodes, size, keep).map_err(Failure::Refused)?;
    if options.resume && !course.resume(&status) {
        return Err(Failure::Refused("no upgrade stands that could be resumed".to_owned()));
    }
    if options.dry_run {
        return world.foretell(&course, &status);
    }
    world.interrupt = Interrupt::watch().map_err(|error| Failure::Refused(error.to_string()))?;
    let work = Work {
        run: options.run.clone(),
        roll_back: options.rollback.clone(),
        soak: options.soak,
        on_failure: options.on_failure,
    };
    let nodes = course.nodes.len();
    let outcome = Drive { world: &mut world, course, work: &work }.go(options.resume);
    if let Some(error) = world.broken.take() {
        return Err(Failure::Output(error));
    }
    outcome.map_err(|stopped| match stopped {
        Stopped::Refused(why) => Failure::Refused(why),
        Stopped::Failed(why) => Failure::Failed(why),
        Stopped::RolledBack(why) => Failure::RolledBack(why),
    })?;
    let after = world.last.take().unwrap_or_else(|| status.clone());
    let seconds = began.elapsed().as_secs();
    let text = format!("done in {seconds} s: {nodes} nodes, {} moves", moves(&status, &after));
    world.tell(&Step { done: nodes, of: nodes, node: None, word: "end", text: &text });
    Ok(())
}

/// How often groups have changed their owners in between.
fn moves(before: &Status, after: &Status) -> u64 {
    let epochs = |status: &Status| status.groups.iter().map(|group| group.epoch).sum::<u64>();
    epochs(after).saturating_sub(epochs(before))
}

/// The real one.
struct Cluster<'a> {
    options: &'a Options,
    out: &'a mut dyn Write,
    /// Why nothing can be written any more.
    broken: Option<io::Error>,
    /// What was known when the hold ended.
    last: Option<Status>,
    interrupt: Interrupt,
}

impl Cluster<'_> {
    /// Asks until the daemon is there; while its node is changed it is not.
    fn ask(&self, command: &Command) -> Result<Vec<u8>, String> {
        let until = clock::now() + self.options.timeout;
        loop {
            let mut answer = Vec::new();
            match client::run(command, &self.options.socket, true, &mut answer) {
                Ok(()) => return Ok(answer),
                Err(error) if error.exit_code() == 4 && clock::now() < until => {
                    clock::pause(ASK_AGAIN);
                }
                Err(error) => {
                    let mut text = error.to_string();
                    for detail in error.details() {
                        text.push_str(": ");
                        text.push_str(detail);
                    }
                    return Err(text);
                }
            }
        }
    }

    fn foretell(&mut self, course: &Course, status: &Status) -> Result<(), Failure> {
        let mut course = course.clone();
        loop {
            let next = course.next();
            if next.is_empty() {
                return self.broken.take().map_or(Ok(()), |error| Err(Failure::Output(error)));
            }
            let names = next.join(", ");
            let text = match course.refusal(status, &next) {
                Some(why) => format!("{names}: would be refused: {why}"),
                None => format!("{names}: drain, run, wait until ready, undrain"),
            };
            let (done, of) = (course.done.len(), course.nodes.len());
            self.tell(&Step { done, of, node: None, word: "plan", text: &text });
            course.done.extend(next);
        }
    }

    fn start(command: &str) -> io::Result<Child> {
        let errors = io::stderr().as_fd().try_clone_to_owned()?;
        let mut shell = Process::new("/bin/sh");
        // Its own group, so that an interrupt at the terminal ends this program and not a half of it.
        shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(errors).process_group(0).spawn()
    }
}

/// Waits for a command, and kills it with all that it has started when its time is up. Returns how it
/// ended; `None` if it was killed.
fn wait_until(mut child: Child, until: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if clock::now() >= until {
            // It may have ended just now.
            let group = i32::try_from(child.id()).map(Pid::from_raw);
            let killed = group.map(|group| killpg(group, Signal::SIGKILL));
            child.wait()?;
            return match killed {
                Ok(Ok(()) | Err(Errno::ESRCH)) => Ok(None),
                Ok(Err(errno)) => Err(errno.into()),
                Err(_) => Err(io::ErrorKind::InvalidData.into()),
            };
        }
        clock::pause(LOOK_AGAIN);
    }
}

impl World for Cluster<'_> {
    fn status(&mut self) -> Result<Status, String> {
        let answer = self.ask(&Command::Status(Selection::default()))?;
        serde_json::from_slice(&answer).map_err(|error| error.to_string())
    }

    fn hold(&mut self) -> Result<(), String> {
        let reason = Some("upgrade".to_owned());
        let terms = Terms { reason, lasts: Some(STANDS), ..Terms::default() };
        self.ask(&Command::Hold { terms }).map(drop)
    }

    fn release(&mut self) -> Result<(), String> {
        self.last = self.status().ok();
        self.ask(&Command::Release).map(drop)
    }

    fn record(&mut self, words: &str, again: bool) -> Result<(), String> {
        let words = Some(words.to_owned());
        self.ask(&Command::Upgrade { words, again, lasts: STANDS }).map(drop)
    }

    fn end_record(&mut self) -> Result<(), String> {
        self.ask(&Command::Upgrade { words: None, again: true, lasts: STANDS }).map(drop)
    }

    fn drain(&mut self, node: &str) -> Result<(), String> {
        let reason = Some("upgrade".to_owned());
        let terms = Terms { reason, persist: true, ..Terms::default() };
        let node = Some(node.to_owned());
        self.ask(&Command::Drain { node, wait: true, now: false, terms }).map(drop)
    }

    fn undrain(&mut self, node: &str) -> Result<(), String> {
        self.ask(&Command::Undrain { node: Some(node.to_owned()) }).map(drop)
    }

    fn run(&mut self, command: &str, nodes: &[String]) -> Vec<(String, String)> {
        let limit = self.options.command_timeout;
        let until = clock::now() + limit;
        let started: Vec<_> =
            nodes.iter().map(|node| (node, Self::start(&command_for(command, node)))).collect();
        let ended = started
            .into_iter()
            .map(|(node, child)| (node, child.and_then(|child| wait_until(child, until))));
        let failed = ended.filter_map(|(node, ended)| match ended {
            Ok(Some(status)) if status.success() => None,
            Ok(Some(status)) => Some((node.clone(), status.to_string())),
            Ok(None) => {
                let limit = show_duration(limit);
                Some((node.clone(), format!("it was killed: it had not ended within {limit}")))
            }
            Err(error) => Some((node.clone(), error.to_string())),
        });
        failed.collect()
    }

    fn ready(&mut self, node: &str, soak: Duration) -> Result<(), String> {
        let (node, within) = (node.to_owned(), self.options.timeout);
        self.ask(&Command::Ready(Readiness { node, soak, within })).map(drop)
    }

    fn stop_is_wanted(&self) -> bool {
        self.interrupt.stops()
    }

    fn tell(&mut self, step: &Step<'_>) {
        let time = rfc3339(clock::wall());
        let Step { done, of, node, word, text } = *step;
        let line = if self.options.json {
            json!({ "schema": 1, "time": time, "done": done, "of": of, "node": node, "step": word,
                "text": text })
            .to_string()
        } else {
            let clock = time.get(11..19).unwrap_or(&time);
            let node = node.map_or_else(String::new, |node| format!("{node}  "));
            format!("{clock}Z [{done}/{of}] {node}{text}")
        };
        let written = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
        // The upgrade goes on without a reader: to stop in the middle of a step is worse.
        if let Err(error) = written {
            self.broken.get_or_insert(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a command ends that may take so long.
    fn outcome(command: &str, limit: Duration) -> Option<ExitStatus> {
        let child = Cluster::start(command).expect("there is a shell");
        wait_until(child, clock::now() + limit).expect("it can be waited for")
    }

    #[test]
    fn a_command_has_its_time_and_is_killed_after_it_with_what_it_has_started() {
        let minute = Duration::from_secs(60);
        assert_eq!(outcome("exit 3", minute).and_then(|status| status.code()), Some(3));
        let began = clock::now();
        // The shell waits for a child of its own.
        assert_eq!(outcome("sleep 60; exit 0", Duration::from_millis(100)), None);
        assert!(began.elapsed() < minute / 2, "{:?}", began.elapsed());
    }
}
