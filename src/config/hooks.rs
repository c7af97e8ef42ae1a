//! `[[hook]]`: programs to run, or lines to write, when something happens.
//!
//! Every hook has the events it is for, and either a command or a FIFO. What a program is told is
//! documented in `hooks`. Called while a file is checked; changes nothing, and does not look
//! whether the program exists: the file is the same on every node, and `buoy check` may run
//! elsewhere.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::check_kinds::{absolute, read_command};
use super::checks::check_pool_name;
use super::document::Section;
use super::fault::{At, Findings, Place};
use super::file::{WRITE_DURATION, WRITE_STRING};
use super::nodes::valid_name;
use super::pools::suggestion;
use super::timing::{Range, length};

/// Hooks of one node; an event looks through all of them.
pub const HOOKS_MAX: usize = 64;
const TIMEOUT: Range = Range { least: Duration::from_millis(100), most: Duration::from_secs(600) };
const GATHER: Range = Range { least: Duration::from_millis(50), most: Duration::from_secs(60) };
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// One hook, without illegal values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookConfig {
    /// Unique name.
    pub name: String,
    /// Events that run it; at least one, in the order of [`Occasion::ALL`].
    pub on: Vec<Occasion>,
    /// Program to run, or FIFO to write to.
    pub deed: Deed,
    /// Pools to whose groups it applies, sorted; `None` is all. Events without a group always run
    /// it.
    pub pools: Option<Vec<String>>,
    /// Events that come within this time after the first are one run; `None` is a run for each.
    pub gather: Option<Duration>,
}

impl HookConfig {
    /// How long this may hold a planned move of a group of the pool; `None` if it does not.
    fn holds(&self, pool: &str) -> Option<Duration> {
        let meant = self.pools.as_ref().is_none_or(|pools| pools.iter().any(|it| it == pool));
        match &self.deed {
            Deed::Run { timeout, .. } if meant && self.on.contains(&Occasion::Gate) => {
                Some(*timeout)
            }
            Deed::Run { .. } | Deed::Line(_) => None,
        }
    }
}

/// How long all gates of a pool, one after the other, may hold a planned move of a group; `None`
/// if there are none.
pub(super) fn gate(hooks: &[HookConfig], pool: &str) -> Option<Duration> {
    let times: Vec<Duration> = hooks.iter().filter_map(|hook| hook.holds(pool)).collect();
    (!times.is_empty()).then(|| times.into_iter().sum::<Duration>() + GATE_SLACK)
}

/// A program that hangs is killed by its own timeout, which is told with its name, before the move
/// waits no longer.
const GATE_SLACK: Duration = Duration::from_millis(200);

/// Action of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Run a program.
    Run {
        /// Absolute path of the program and its arguments.
        command: Vec<String>,
        /// User to run it as; `None` is the user of the daemon.
        user: Option<String>,
        /// Time after which its process group is killed, 100 ms to 10 min.
        timeout: Duration,
        /// What is appended to its arguments.
        style: Style,
    },
    /// Write a line in keepalived's form to this FIFO.
    Line(PathBuf),
}

/// What is appended to the arguments of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Nothing; everything is in the environment.
    Buoy,
    /// `INSTANCE NAME STATE PRIORITY`, as for keepalived's `notify`.
    Keepalived,
}

/// Events that hooks can be run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Occasion {
    /// A planned move is about to take the group from this node, and waits for the hook.
    Gate,
    /// The addresses of the group are about to be added here.
    BeforeAcquire,
    /// This node answers for the group.
    Acquired,
    /// The addresses of the group are about to be removed here.
    BeforeRelease,
    /// This node no longer answers for the group.
    Released,
    /// A planned move has taken the group from this node, and the next owner has it.
    HandedOver,
    /// This node cannot hold the group.
    Unable,
    /// The group has another owner, here or elsewhere, or none.
    OwnerChanged,
    /// The verdict on another node changed.
    PeerChanged,
    /// The phase of this node changed.
    PhaseChanged,
    /// Draining of this node was switched on or off.
    Draining,
    /// This node drains, owns nothing, and serves no connection of what it had.
    Drained,
    /// Draining of this node was switched off.
    Undrained,
    /// A check of this node began to pass or to fail.
    CheckChanged,
}

impl Occasion {
    /// All events, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::Gate,
        Self::BeforeAcquire,
        Self::Acquired,
        Self::BeforeRelease,
        Self::Released,
        Self::HandedOver,
        Self::Unable,
        Self::OwnerChanged,
        Self::PeerChanged,
        Self::PhaseChanged,
        Self::Draining,
        Self::Drained,
        Self::Undrained,
        Self::CheckChanged,
    ];

    /// Returns the word in the file, which programs get as `BUOY_EVENT`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::BeforeAcquire => "before_acquire",
            Self::Acquired => "acquired",
            Self::BeforeRelease => "before_release",
            Self::Released => "released",
            Self::HandedOver => "handed_over",
            Self::Unable => "unable",
            Self::OwnerChanged => "owner_changed",
            Self::PeerChanged => "peer_changed",
            Self::PhaseChanged => "phase_changed",
            Self::Draining => "draining",
            Self::Drained => "drained",
            Self::Undrained => "undrained",
            Self::CheckChanged => "check_changed",
        }
    }

    /// Returns the event with this word; `None` if hooks cannot be run for it.
    #[must_use]
    pub fn with_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|occasion| occasion.word() == word)
    }

    /// Returns the state in keepalived's terms: `MASTER`, `BACKUP` or `FAULT`.
    #[must_use]
    pub const fn keepalived(self) -> Option<&'static str> {
        match self {
            Self::Acquired => Some("MASTER"),
            Self::Released => Some("BACKUP"),
            Self::Unable => Some("FAULT"),
            Self::Gate
            | Self::BeforeAcquire
            | Self::BeforeRelease
            | Self::HandedOver
            | Self::OwnerChanged
            | Self::PeerChanged
            | Self::PhaseChanged
            | Self::Draining
            | Self::Drained
            | Self::Undrained
            | Self::CheckChanged => None,
        }
    }
}

/// One `[[hook]]` as written; what does not need the rest of the file has been checked.
#[derive(Debug)]
pub(super) struct Raw {
    place: Place,
    name: Option<At<String>>,
    on: Vec<Occasion>,
    deed: Option<Deed>,
    pools: Option<Vec<At<String>>>,
    gather: Option<Duration>,
}

/// Reads one table.
pub(super) fn read(section: &Section<'_>, findings: &mut Findings) -> Raw {
    section.finish(findings);
    let name = section.required("name", "name the hook, like name = \"tell-router\"", findings);
    let deed = read_deed(section, findings);
    let keepalived = match &deed {
        Some(Deed::Line(_)) => true,
        Some(Deed::Run { style, .. }) => *style == Style::Keepalived,
        None => false,
    };
    let wanted = "write a list of pool names, like [\"web\"], or leave the key out for all pools";
    let pools = section.entry("pools").and_then(|list| {
        let elements = list.list(wanted, findings)?;
        if elements.is_empty() {
            findings.refuse(&list.place(), "is empty: the hook would never run", wanted);
        }
        let names = elements.iter().filter_map(|element| element.text(WRITE_STRING, findings));
        Some(names.collect())
    });
    let on = read_occasions(section, keepalived, findings);
    Raw {
        gather: read_gather(section, (keepalived, &on), findings),
        place: section.place().clone(),
        name: name.and_then(|entry| entry.text(WRITE_STRING, findings)),
        on,
        deed,
        pools,
    }
}

fn read_occasions(
    section: &Section<'_>,
    keepalived: bool,
    findings: &mut Findings,
) -> Vec<Occasion> {
    let words: Vec<&str> = Occasion::ALL.iter().map(|occasion| occasion.word()).collect();
    let wanted = "write a list of events, like on = [\"acquired\", \"released\"]";
    let Some(list) = section.required("on", wanted, findings) else { return Vec::new() };
    let Some(elements) = list.list(wanted, findings) else { return Vec::new() };
    if elements.is_empty() {
        findings.refuse(&list.place(), "is empty: the hook would never run", wanted);
    }
    let mut on = BTreeSet::new();
    for element in &elements {
        let Some(word) = element.text(WRITE_STRING, findings) else { continue };
        let Some(occasion) = Occasion::with_word(&word.value) else {
            findings.refuse(&word.place, "is not an event", suggestion(&word.value, &words));
            continue;
        };
        if keepalived && occasion.keepalived().is_none() {
            let remedy = "write acquired (MASTER), released (BACKUP) or unable (FAULT)";
            findings.refuse(&word.place, "has no name in keepalived", remedy);
        }
        if !on.insert(occasion) {
            findings.refuse(&word.place, "is listed twice", "list each event once");
        }
    }
    on.into_iter().collect()
}

fn read_gather(
    section: &Section<'_>,
    (keepalived, on): (bool, &[Occasion]),
    findings: &mut Findings,
) -> Option<Duration> {
    let gather = section.text("gather", WRITE_DURATION, findings)?;
    let single = "leave the key out: each event is a run of its own";
    if keepalived {
        findings.refuse(&gather.place, "has no effect with keepalived's form of one group", single);
    }
    if on.contains(&Occasion::Gate) {
        findings.refuse(&gather.place, "would delay every move that waits for the gate", single);
    }
    length(Some(&gather), GATHER, findings)
}

fn read_deed(section: &Section<'_>, findings: &mut Findings) -> Option<Deed> {
    let fifo = section.text("notify_fifo", WRITE_STRING, findings);
    if let Some(fifo) = fifo {
        for key in ["command", "user", "timeout", "style"] {
            if let Some(entry) = section.entry(key) {
                let problem = "has no effect with notify_fifo: no program is run";
                findings.refuse(&entry.place(), problem, "keep one of them");
            }
        }
        return absolute(fifo, findings).map(Deed::Line);
    }
    let command = read_command(section, findings);
    let user = section.text("user", WRITE_STRING, findings).map(|user| user.value);
    let timeout = section.text("timeout", WRITE_DURATION, findings);
    let timeout = length(timeout.as_ref(), TIMEOUT, findings).unwrap_or(TIMEOUT_DEFAULT);
    let style = section.text("style", WRITE_STRING, findings);
    let style = match style.as_ref().map(|style| (style, style.value.as_str())) {
        None | Some((_, "buoy")) => Style::Buoy,
        Some((_, "keepalived")) => Style::Keepalived,
        Some((at, other)) => {
            let remedy = suggestion(other, &["buoy", "keepalived"]);
            findings.refuse(&at.place, "is not a style of hooks", remedy);
            Style::Buoy
        }
    };
    Some(Deed::Run { command: command?, user, timeout, style })
}

/// Checks all tables against the rest of the file.
pub(super) fn check(
    raw: &[Raw],
    pools: &[(String, bool)],
    findings: &mut Findings,
) -> Vec<HookConfig> {
    let mut seen = BTreeSet::new();
    let mut hooks = Vec::new();
    for (index, one) in raw.iter().enumerate() {
        if index == HOOKS_MAX {
            let problem = format!("is hook {}, but at most {HOOKS_MAX} are allowed", index + 1);
            findings.refuse(&one.place, problem, "do several things in one program");
        }
        let name = one.name.as_ref().filter(|name| valid_name(name, findings));
        if let Some(name) = name
            && !seen.insert(name.value.clone())
        {
            findings.refuse(&name.place, "is also the name of another hook", "rename one of them");
        }
        for pool in one.pools.iter().flatten() {
            check_pool_name(pool, pools, findings);
        }
        let about = one.pools.as_ref().map(|pools| {
            let names: BTreeSet<String> = pools.iter().map(|pool| pool.value.clone()).collect();
            names.into_iter().collect()
        });
        if let (Some(name), Some(deed)) = (name, &one.deed) {
            let (on, deed) = (one.on.clone(), deed.clone());
            let (name, gather) = (name.value.clone(), one.gather);
            hooks.push(HookConfig { name, on, deed, pools: about, gather });
        }
    }
    hooks
}
