//! A check for each script, process and file that is tracked, and what its failure means.
//!
//! Without a weight keepalived goes to FAULT: the check is required, and nobody has the addresses if
//! it fails everywhere. With a weight somebody keeps them; the check is required if the weight turns
//! the order of every pair of hosts round, and otherwise it moves nothing, so that it is written as
//! a comment.

use super::commands::{self, Http, Look};
use super::model::{Host, Script, Track, Tracked};
use super::nodes::Node;
use super::pools::milliseconds;
use super::report::{Findings, Verdict};
use super::source::Place;
use super::text::{self, Table, list, quoted};
use super::units::{Part, Unit};
use super::weights::{Effect, effect};

/// One check, as the first host has it.
#[derive(Debug)]
pub(super) struct Check {
    name: String,
    kind: Tracked,
    look: Look,
    /// Interval and timeout in seconds; none for what keepalived is told of at once.
    times: Option<(u64, u64)>,
    rise: i64,
    fall: i64,
    user: Option<String>,
    places: Vec<Place>,
    effect: Effect,
    pools: Vec<String>,
}

/// The checks of a unit. Returns whether one of them must hold whatever happens.
pub(super) fn add(
    unit: &Unit<'_>,
    nodes: &[Node],
    checks: &mut Vec<Check>,
    findings: &mut Findings,
) -> bool {
    let mut release = false;
    for track in tracked(unit, findings) {
        let Some(part) = unit.parts.first() else { continue };
        let Some(check) = check(part.host, track, findings) else { continue };
        let effect = effect(unit, track, (&check.look, nodes), findings);
        release |= effect == Effect::Release;
        let same = |other: &&mut Check| {
            let requires = |effect: &Effect| matches!(effect, Effect::Release | Effect::Require);
            other.kind == check.kind
                && other.name == check.name
                && (other.effect == effect || (requires(&other.effect) && requires(&effect)))
        };
        match checks.iter_mut().find(same) {
            Some(known) => known.pools.push(unit.pool.clone()),
            None => {
                let pools = vec![unit.pool.clone()];
                checks.push(Check { effect, pools, ..check });
            }
        }
    }
    release
}

/// What the unit tracks, once each; hosts that differ are a fault.
fn tracked<'a>(unit: &Unit<'a>, findings: &mut Findings) -> Vec<&'a Track> {
    let all = |part: &Part<'a>| {
        let own = part.instances.iter().flat_map(|instance| &instance.tracks);
        let mut found: Vec<&'a Track> = Vec::new();
        for track in own.chain(part.group.iter().flat_map(|group| &group.tracks)) {
            if !found.iter().any(|it| (it.kind, &it.name) == (track.kind, &track.name)) {
                found.push(track);
            }
        }
        found
    };
    let Some((first, others)) = unit.parts.split_first() else { return Vec::new() };
    let here = all(first);
    for other in others {
        let there = all(other);
        let has = |list: &[&Track], track: &Track| {
            list.iter().any(|it| (it.kind, &it.name) == (track.kind, &track.name))
        };
        let only_here = here.iter().filter(|track| !has(&there, track));
        let only_there = there.iter().filter(|track| !has(&here, track));
        let sides = only_here.map(|track| (track, first, other));
        for (track, with, without) in sides.chain(only_there.map(|track| (track, other, first))) {
            let problem = format!(
                "{}: {} tracks {}, {} does not: which is right?",
                unit.name, with.host.name, track.name, without.host.name
            );
            let remedy = "track it at both, or at none: a check of buoy is made at every node";
            findings.refuse(&track.place, "track_script", problem, remedy);
        }
        for track in here.iter().filter(|track| has(&there, track)) {
            differ(track, first.host, other.host, findings);
        }
    }
    here
}

/// A script that is another one at the other host.
fn differ(track: &Track, one: &Host, other: &Host, findings: &mut Findings) {
    let mut rows: Vec<(&str, String, String, &Place)> = Vec::new();
    match track.kind {
        Tracked::Script => {
            let (Some(it), Some(twin)) =
                (one.scripts.get(&track.name), other.scripts.get(&track.name))
            else {
                return;
            };
            let user = |script: &Script, host: &Host| user(script, host).unwrap_or_default();
            let timeout = |script: &Script| script.timeout.unwrap_or(script.interval).to_string();
            let place = &twin.place;
            let (command, theirs) = (it.program.value.shown(), twin.program.value.shown());
            rows.push(("script", command, theirs, &twin.program.place));
            rows.push(("interval", it.interval.to_string(), twin.interval.to_string(), place));
            rows.push(("timeout", timeout(it), timeout(twin), place));
            rows.push(("rise", it.rise.to_string(), twin.rise.to_string(), place));
            rows.push(("fall", it.fall.to_string(), twin.fall.to_string(), place));
            rows.push(("user", user(it, one), user(twin, other), place));
        }
        Tracked::Process => {
            let pair = (one.processes.get(&track.name), other.processes.get(&track.name));
            let (Some(it), Some(twin)) = pair else { return };
            rows.push(("process", it.process.clone(), twin.process.clone(), &twin.place));
        }
        Tracked::File => {
            let (Some(it), Some(twin)) = (one.files.get(&track.name), other.files.get(&track.name))
            else {
                return;
            };
            rows.push(("file", it.file.clone(), twin.file.clone(), &twin.place));
        }
    }
    for (keyword, here, there, place) in rows.into_iter().filter(|row| row.1 != row.2) {
        // Arguments of a program may be a secret: they are not shown.
        let shown = |text: &str| if keyword == "script" { "" } else { text }.to_owned();
        let sides = match (shown(&here), shown(&there)) {
            (here, there) if here.is_empty() && there.is_empty() => {
                format!("at {} and {}", one.name, other.name)
            }
            (here, there) => format!("{here} at {}, {there} at {}", one.name, other.name),
        };
        let problem = format!("{}: {keyword} differs: {sides}", track.name);
        let remedy = format!("make both files equal ({}, {place})", track.place);
        findings.refuse(place, keyword, problem, remedy);
    }
}

fn user(script: &Script, host: &Host) -> Option<String> {
    let global = host.globals.script_user.as_ref().map(|user| user.value.clone());
    script.user.clone().or(global)
}

fn check(host: &Host, track: &Track, findings: &mut Findings) -> Option<Check> {
    let name = text::name(&track.name);
    let none = Check {
        name,
        kind: track.kind,
        look: Look::Exec(Vec::new()),
        times: None,
        rise: 1,
        fall: 1,
        user: None,
        places: vec![track.place.clone()],
        effect: Effect::Require,
        pools: Vec::new(),
    };
    match track.kind {
        Tracked::Script => {
            let script = host.scripts.get(&track.name)?;
            Some(of_script(none, script, host, findings))
        }
        Tracked::Process => {
            let it = host.processes.get(&track.name)?;
            let Some(process) = commands::process(&it.process) else {
                let text = format!(
                    "{}: the name of the process is longer than 15 bytes: write a check with \
                     pidfile",
                    track.name
                );
                findings.decide(&track.place, Verdict::NotPossible, &text);
                findings.tell(text, &[&it.place]);
                return None;
            };
            let places = vec![it.place.clone(), track.place.clone()];
            Some(Check { look: Look::Process(process), places, ..none })
        }
        Tracked::File => {
            let it = host.files.get(&track.name)?;
            let weight = track.weight.unwrap_or(it.weight);
            if weight != 0 || !it.file.starts_with('/') {
                let text = format!(
                    "{}: a number from a file times {weight} added to the priority has no \
                     counterpart: write a check of type file with at_least or at_most",
                    track.name
                );
                findings.decide(&track.place, Verdict::NotPossible, &text);
                findings.tell(text, &[&track.place]);
                return None;
            }
            let text = format!(
                "{}: the number in {} must be 0, as before; the file must be there",
                track.name, it.file
            );
            findings.tell(text, &[&track.place]);
            let places = vec![it.place.clone(), track.place.clone()];
            Some(Check { look: Look::Number { file: it.file.clone() }, places, ..none })
        }
    }
}

fn of_script(none: Check, script: &Script, host: &Host, findings: &mut Findings) -> Check {
    let program = &script.program.value;
    let (mut look, own) = commands::look(program);
    if script.timeout.is_some_and(|timeout| own.is_some_and(|own| own > timeout)) {
        look = commands::exec(program);
    }
    let exec = matches!(look, Look::Exec(_));
    let timeout = script.timeout.unwrap_or(script.interval);
    let timeout = if exec { timeout } else { own.unwrap_or(timeout).min(timeout) };
    if exec && program.command.first().is_some_and(|first| !first.starts_with('/')) {
        let text = format!(
            "{}: its program has no path: it is found with /usr/bin/env, as keepalived does",
            none.name
        );
        findings.tell(text, &[&script.program.place]);
    }
    if !exec {
        let command = commands::short(program, &none.name);
        let text = format!("{command} became a check of type {}", look.word());
        findings.tell(text, &[&script.program.place]);
    }
    let user = user(script, host).filter(|_| exec);
    if exec && user.is_none() {
        let text = format!(
            "{}: no user is named: keepalived uses keepalived_script, else root; buoy uses the \
             user of its daemon unless you write user",
            none.name
        );
        findings.tell(text, &[&script.place]);
    }
    if exec && shell(&program.command) {
        let text = format!(
            "{}: neither keepalived 2 nor buoy uses a shell: | & ; < > are passed as arguments",
            none.name
        );
        findings.tell(text, &[&script.program.place]);
    }
    let (interval, rise, fall) = bounded(&none.name, script, findings);
    Check {
        look,
        times: Some((interval, timeout.clamp(1, 60))),
        rise,
        fall,
        user,
        places: vec![script.place.clone()],
        ..none
    }
}

fn shell(command: &[String]) -> bool {
    command.iter().any(|word| word.starts_with(['|', '&', ';', '<', '>']))
}

/// Within what buoy takes.
fn bounded(name: &str, script: &Script, findings: &mut Findings) -> (u64, i64, i64) {
    let taken =
        (script.interval.clamp(1, 3600), script.rise.clamp(1, 100), script.fall.clamp(1, 100));
    let timeout = script.timeout.unwrap_or(script.interval);
    if taken != (script.interval, script.rise, script.fall) || timeout > 60 {
        let text = format!("{name}: limited to interval 3600 s, timeout 60 s, rise and fall 100");
        findings.tell(text, &[&script.place]);
    }
    taken
}

/// Tells of checks that look at the same, and names those that share a name apart.
pub(super) fn finish(checks: &mut [Check], findings: &mut Findings) {
    for index in 0..checks.len() {
        let (before, rest) = checks.split_at_mut(index);
        let Some(check) = rest.first_mut() else { return };
        let twin = before.iter().find(|it| it.look == check.look && it.name != check.name);
        if let (Some(twin), Look::Process(_)) = (twin, &check.look) {
            let text = format!("{} and {} check the same process", twin.name, check.name);
            findings.tell(text, &[]);
        }
        if before.iter().any(|it| it.name == check.name) {
            let pool = check.pools.first().map_or("again", String::as_str);
            check.name = text::name(&format!("{}-{pool}", check.name));
        }
    }
}

impl Check {
    /// Its table.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new("[[check]]");
        let from: Vec<&Place> = self.places.iter().collect();
        table.add("name", quoted(&self.name), &from);
        table.explain("type", quoted(self.look.word()), "");
        self.look.write(&mut table);
        if let Some(user) = &self.user {
            table.explain("user", quoted(user), "");
        }
        if let Some((interval, timeout)) = self.times {
            table.explain("interval", quoted(&milliseconds(interval * 1000)), "");
            table.explain("timeout", quoted(&milliseconds(timeout * 1000)), "");
        }
        table.explain("rise", self.rise.to_string(), "");
        table.explain("fall", self.fall.to_string(), "");
        match &self.effect {
            Effect::Release | Effect::Require => {}
            Effect::Prefer => table.explain("effect", quoted("prefer"), "weight is reversed"),
            Effect::Nothing(why) => {
                table.comments.push(why.clone());
                table.off = true;
            }
        }
        table.explain("pools", list(&self.pools), "");
        table
    }
}

impl Look {
    fn write(&self, table: &mut Table) {
        let mut add = |key: &str, value: String| table.explain(key, value, "");
        match self {
            Self::Process(name) => add("process", quoted(name)),
            Self::Systemd(unit) => add("unit", quoted(unit)),
            Self::File { file, absent } => {
                add("file", quoted(file));
                if *absent {
                    add("absent", "true".to_owned());
                }
            }
            Self::Number { file } => {
                add("file", quoted(file));
                add("at_least", "0".to_owned());
                add("at_most", "0".to_owned());
            }
            Self::Tcp(at) => add("address", quoted(&at.to_string())),
            Self::Http(Http { address, path, host, head, any_status, tls, insecure }) => {
                add("address", quoted(address));
                add("path", quoted(path));
                if let Some(host) = host {
                    add("host", quoted(host));
                }
                if *head {
                    add("method", quoted("HEAD"));
                }
                if *any_status {
                    add("status", quoted("100-599"));
                }
                if *tls {
                    add("tls", "true".to_owned());
                }
                if *insecure {
                    add("verify", "false".to_owned());
                }
            }
            Self::Gateway { address, interface } => {
                add("address", quoted(&address.to_string()));
                if let Some(interface) = interface {
                    add("interface", quoted(interface));
                }
                add("ask", quoted("ping"));
            }
            Self::Exec(command) => add("command", list(command)),
        }
    }
}
