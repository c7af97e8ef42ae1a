//! `[[check]]`: what a node must be well for, or should be, before it owns the groups of a pool.
//!
//! What stands here is looked at by `checks` on every node for itself. This file reads the keys
//! that all types share and refuses what could never move anything: a check of no pool, and a check
//! in a cluster in which only one node may own. What each type takes is in `check_kinds`. Called
//! while a file is checked; changes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::protocol::FITNESS_MAX;

use super::check_kinds::{self, CheckKind};
use super::document::{Section, nearest};
use super::endpoint::Endpoint;
use super::fault::{At, Findings, Place};
use super::file::{WRITE_DURATION, WRITE_NUMBER, WRITE_STRING};
use super::nodes::{Nodes, valid_name};
use super::pools::{GroupConfig, suggestion};
use super::timing::{Range, count, length};

/// Checks of one node: each is a task and at times a socket; a hundred a second cost 1% of a core.
pub const CHECKS_MAX: usize = 256;
/// Checks of type `exec` among them: each may be a process at any time.
pub const EXEC_CHECKS_MAX: usize = 32;

const INTERVAL: Range = Range { least: Duration::from_millis(50), most: Duration::from_secs(3600) };
const TIMEOUT: Range = Range { least: Duration::from_millis(10), most: Duration::from_secs(60) };
const DWELL: Range = Range { least: Duration::ZERO, most: Duration::from_secs(24 * 3600) };
const COUNTS: (u16, u16) = (1, 100);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
const DWELL_DEFAULT: Duration = Duration::from_secs(5);
const RISE_DEFAULT: u16 = 2;
const FALL_DEFAULT: u16 = 3;

/// One check, without illegal values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckConfig {
    /// Unique name.
    pub name: String,
    /// What is checked.
    pub kind: CheckKind,
    /// Time between two runs, 50 ms to 1 h.
    pub interval: Duration,
    /// Time after which a run counts as failed, 10 ms to 60 s.
    pub timeout: Duration,
    /// Successful runs in a row after which a failing check passes, 1 to 100.
    pub rise: u16,
    /// Failed runs in a row after which a passing check fails, 1 to 100.
    pub fall: u16,
    /// Shortest time for which it fails once it does, 0 to 24 h.
    pub dwell: Duration,
    /// Consequence of its failure.
    pub effect: Effect,
    /// Names of the pools to which it applies; at least one, sorted.
    pub pools: Vec<String>,
}

/// Consequence of a failing check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// The node must not own the groups of the pools.
    #[default]
    Require,
    /// The node owns them only if no node that passes can.
    Prefer,
}

impl Effect {
    /// Returns the word in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Require => "require",
            Self::Prefer => "prefer",
        }
    }
}

/// One `[[check]]` as written; what does not need the rest of the file has been checked.
#[derive(Debug)]
pub(super) struct Raw {
    place: Place,
    name: Option<At<String>>,
    kind: Option<CheckKind>,
    interval: Option<At<String>>,
    timeout: Option<At<String>>,
    rise: Option<At<i64>>,
    fall: Option<At<i64>>,
    dwell: Option<At<String>>,
    effect: Option<At<String>>,
    pools: Option<(Place, Vec<At<String>>)>,
}

/// Reads one table.
pub(super) fn read(section: &Section<'_>, findings: &mut Findings) -> Raw {
    section.finish(findings);
    let wanted = "write a list of pool names, like [\"web\"], or leave the key out for all pools";
    let list = section.entry("pools");
    let pools = list.and_then(|list| {
        let elements = list.list(wanted, findings)?;
        let names =
            elements.iter().filter_map(|element| element.text(WRITE_STRING, findings)).collect();
        Some((list.place(), names))
    });
    let name = section.required("name", "name the check, like name = \"haproxy\"", findings);
    Raw {
        place: section.place().clone(),
        name: name.and_then(|entry| entry.text(WRITE_STRING, findings)),
        kind: check_kinds::read(section, findings),
        interval: section.text("interval", WRITE_DURATION, findings),
        timeout: section.text("timeout", WRITE_DURATION, findings),
        rise: section.number("rise", WRITE_NUMBER, findings),
        fall: section.number("fall", WRITE_NUMBER, findings),
        dwell: section.text("dwell", WRITE_DURATION, findings),
        effect: section.text("effect", WRITE_STRING, findings),
        pools,
    }
}

/// Warns of checks that ask through an address of the cluster: they look at its owner, whichever
/// node they run on.
pub(super) fn warn_of_vips(raw: &[Raw], groups: &[GroupConfig], findings: &mut Findings) {
    for one in raw {
        let address = match &one.kind {
            Some(CheckKind::Tcp { at: Endpoint::Tcp(at) }) => at.ip(),
            Some(CheckKind::Http(http)) => match &http.at {
                Endpoint::Tcp(at) => at.ip(),
                Endpoint::Unix(_) => continue,
            },
            Some(CheckKind::Gateway { address, .. }) => *address,
            Some(_) | None => continue,
        };
        if groups.iter().flat_map(|group| &group.vips).any(|vip| vip.address == address) {
            let text = format!(
                "asks {address}, which is a VIP: on every node but its owner the check looks at the \
                 owner's service;\ncheck this node's own service, at 127.0.0.1 or ::1"
            );
            findings.warn(&one.place, text);
        }
    }
}

/// Checks all tables against the rest of the file. `pools` has the names of all pools, each with
/// whether it lets go of its groups when nobody can own them.
pub(super) fn check(
    raw: &[Raw],
    pools: &[(String, bool)],
    nodes: &Nodes,
    findings: &mut Findings,
) -> Vec<CheckConfig> {
    let mut seen = BTreeSet::new();
    let mut checks = Vec::new();
    let mut execs = 0;
    for (index, one) in raw.iter().enumerate() {
        if index == CHECKS_MAX {
            let problem = format!("is check {}, but at most {CHECKS_MAX} are allowed", index + 1);
            findings.refuse(&one.place, problem, "do several checks in one program");
        }
        execs += usize::from(matches!(one.kind, Some(CheckKind::Exec { .. })));
        if execs == EXEC_CHECKS_MAX + 1 && matches!(one.kind, Some(CheckKind::Exec { .. })) {
            let problem =
                format!("is check {execs} of type exec, but at most {EXEC_CHECKS_MAX} are allowed");
            findings.refuse(&one.place, problem, "do several checks in one program");
        }
        checks.extend(check_one(one, pools, &mut seen, findings));
    }
    let about: BTreeSet<&String> = checks.iter().flat_map(|check| &check.pools).collect();
    if let Some(first) = raw.first().filter(|_| about.len() > FITNESS_MAX) {
        let problem = format!(
            "and the other checks apply to {} pools, but at most {FITNESS_MAX} are allowed",
            about.len()
        );
        let remedy = "name only the pools that need a check, or merge pools";
        findings.refuse(&first.place, problem, remedy);
    }
    check_movable(raw, &checks, (pools, nodes), findings);
    checks
}

fn check_one(
    raw: &Raw,
    pools: &[(String, bool)],
    seen: &mut BTreeSet<String>,
    findings: &mut Findings,
) -> Option<CheckConfig> {
    let name = raw.name.as_ref().filter(|name| valid_name(name, findings));
    if let Some(name) = name
        && !seen.insert(name.value.clone())
    {
        findings.refuse(&name.place, "is also the name of another check", "rename one of them");
    }
    let interval = length(raw.interval.as_ref(), INTERVAL, findings).unwrap_or(INTERVAL_DEFAULT);
    let timeout = length(raw.timeout.as_ref(), TIMEOUT, findings);
    let mut counted = |given: Option<&At<i64>>, otherwise| {
        given.map_or(otherwise, |given| count(given, COUNTS, findings).unwrap_or(otherwise))
    };
    let (rise, fall) =
        (counted(raw.rise.as_ref(), RISE_DEFAULT), counted(raw.fall.as_ref(), FALL_DEFAULT));
    let dwell = length(raw.dwell.as_ref(), DWELL, findings).unwrap_or(DWELL_DEFAULT);
    let effect = check_effect(raw.effect.as_ref(), findings);
    let about = check_pools(raw, pools, findings);
    Some(CheckConfig {
        name: name?.value.clone(),
        kind: raw.kind.clone()?,
        interval,
        timeout: timeout.unwrap_or(interval.min(TIMEOUT.most)),
        rise,
        fall,
        dwell,
        effect,
        pools: about,
    })
}

fn check_effect(effect: Option<&At<String>>, findings: &mut Findings) -> Effect {
    let Some(effect) = effect else { return Effect::default() };
    let known = [Effect::Require, Effect::Prefer];
    if let Some(meant) = known.into_iter().find(|known| known.word() == effect.value) {
        return meant;
    }
    let remedy = suggestion(&effect.value, &known.map(Effect::word));
    findings.refuse(&effect.place, "is not an effect of a check", remedy);
    Effect::default()
}

fn check_pools(raw: &Raw, pools: &[(String, bool)], findings: &mut Findings) -> Vec<String> {
    let all = || pools.iter().map(|(name, _)| name.clone());
    let Some((place, names)) = &raw.pools else { return all().collect() };
    if place.shown.trim_matches(['[', ']', ' ']).is_empty() {
        let remedy = "name the pools to which it applies, or leave the key out for all pools";
        findings.refuse(place, "is empty: the check could never move anything", remedy);
    }
    let mut about = BTreeSet::new();
    for name in names {
        check_pool_name(name, pools, findings);
        if !about.insert(name.value.clone()) {
            findings.refuse(&name.place, "is listed twice", "list each pool once");
        }
    }
    about.into_iter().collect()
}

/// Refuses the name of a pool that the file does not have.
pub(super) fn check_pool_name(
    name: &At<String>,
    pools: &[(String, bool)],
    findings: &mut Findings,
) {
    if pools.iter().any(|(known, _)| *known == name.value) {
        return;
    }
    let known: Vec<&str> = pools.iter().map(|(known, _)| known.as_str()).collect();
    let remedy = match nearest(&name.value, &known) {
        Some(known) => format!("did you mean {known:?}?"),
        None => format!("the pools are {}", known.join(", ")),
    };
    findings.refuse(&name.place, "is not a pool of this file", remedy);
}

/// With one possible owner a failure changes something only where it makes that owner let go.
fn check_movable(
    raw: &[Raw],
    checks: &[CheckConfig],
    (pools, nodes): (&[(String, bool)], &Nodes),
    findings: &mut Findings,
) {
    let owners: Vec<&str> =
        nodes.names.iter().filter(|(_, role)| role.owns()).map(|(name, _)| name.as_str()).collect();
    let [only] = owners.as_slice() else { return };
    let released = |pool: &String| pools.iter().any(|(name, release)| name == pool && *release);
    let moves =
        |check: &CheckConfig| check.effect == Effect::Require && check.pools.iter().any(released);
    let stuck: Vec<&str> =
        checks.iter().filter(|check| !moves(check)).map(|check| check.name.as_str()).collect();
    let named =
        |raw: &&Raw| raw.name.as_ref().map(|name| name.value.as_str()) == stuck.first().copied();
    if let Some(first) = raw.iter().find(named).filter(|_| !stuck.is_empty()) {
        let problem = format!(
            "can never move anything ({}): {only} is the only node that may own",
            stuck.join(", ")
        );
        let remedy = "add a [[node]] that may own, remove the checks, or write last_resort = \"release\" \
             in the pool so that its addresses are not answered while a required check fails";
        findings.refuse(&first.place, problem, remedy);
    }
}
