//! What the failure of a check means: weights, priorities, and whom they leave in front.
//!
//! keepalived adds a positive weight while a script passes and a negative one while it fails, within
//! 1 to 254. A check moves an address only where that turns the order of two hosts round.

use std::net::IpAddr;

use super::commands::Look;
use super::model::{Host, Track, Tracked};
use super::nodes::Node;
use super::report::{Findings, Verdict};
use super::units::{Part, Unit};

/// What its failure means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nobody has the addresses if it fails everywhere.
    Release,
    /// Somebody keeps them.
    Require,
    Prefer,
    /// It moves nothing; why.
    Nothing(String),
}

/// What the failure of a check means for a unit.
pub(super) fn effect(
    unit: &Unit<'_>,
    track: &Track,
    (look, nodes): (&Look, &[Node]),
    findings: &mut Findings,
) -> Effect {
    let weights: Vec<(i64, bool)> = unit.parts.iter().map(|part| weight(part, track)).collect();
    let own = unit.parts.first().map_or(0, |part| own_weight(part.host, track).0);
    if let Some(given) = track.weight.filter(|given| own != 0 && *given != own) {
        let text = format!("{}: weight {given} given where it is used overrides {own}", track.name);
        findings.tell(text, &[&track.place]);
    }
    if weights.iter().all(|(weight, _)| *weight == 0) {
        return Effect::Release;
    }
    if weights.iter().any(|(weight, _)| *weight == 0) {
        let problem =
            format!("{}: {} has a weight on one host and none on another", unit.name, track.name);
        let remedy = "give it the same weight, or none, in both files";
        findings.refuse(&track.place, "weight", problem, remedy);
    }
    if let Some((weight, _)) = weights.iter().find(|(_, reverse)| *reverse) {
        let text = format!(
            "{}: weight {weight} reverse adds priority when it fails: imported as preferred; \
             review it",
            track.name
        );
        findings.tell(text, &[&track.place]);
        return Effect::Prefer;
    }
    if unit.parts.len() < 2 {
        let text = "weights cannot be judged: only one host's file was given";
        findings.tell(text, &[&track.place]);
        return Effect::Require;
    }
    judge(unit, track, (&weights, look, nodes), findings)
}

/// The weight of a track at a host, and whether it is reversed.
fn weight(part: &Part<'_>, track: &Track) -> (i64, bool) {
    let own = part.instances.iter().flat_map(|instance| &instance.tracks);
    let mut all = own.chain(part.group.iter().flat_map(|group| &group.tracks));
    let here = all.find(|it| (it.kind, &it.name) == (track.kind, &track.name));
    let (weight, reverse) = own_weight(part.host, track);
    let given = here.and_then(|it| it.weight).unwrap_or(weight);
    (given, here.and_then(|it| it.reverse).unwrap_or(reverse))
}

/// What the checks of a host add to its priority while all of them pass; one that is reversed is
/// left out.
pub(super) fn while_well(part: &Part<'_>) -> i64 {
    let own = part.instances.first().into_iter().flat_map(|instance| &instance.tracks);
    let tracks = own.chain(part.group.iter().flat_map(|group| &group.tracks));
    let added = tracks.map(|track| match weight(part, track) {
        (_, true) => 0,
        (weight, false) => weight.max(0),
    });
    added.sum()
}

fn own_weight(host: &Host, track: &Track) -> (i64, bool) {
    let none = (0, false);
    match track.kind {
        Tracked::Script => {
            host.scripts.get(&track.name).map_or(none, |script| (script.weight, script.reverse))
        }
        Tracked::Process => {
            host.processes.get(&track.name).map_or(none, |it| (it.weight, it.reverse))
        }
        Tracked::File => none,
    }
}

/// A host with its priority when the check passes and when it fails.
struct Standing<'a> {
    name: &'a str,
    address: Option<&'a IpAddr>,
    base: i64,
    well: i64,
    failing: i64,
}

/// Whether a failure puts a host behind another. Of two that are equal the higher address wins.
fn turns(high: &Standing<'_>, low: &Standing<'_>) -> bool {
    high.failing < low.well || (high.failing == low.well && low.address > high.address)
}

/// Whether the weight turns the order of every pair of hosts round.
fn judge(
    unit: &Unit<'_>,
    track: &Track,
    (weights, look, nodes): (&[(i64, bool)], &Look, &[Node]),
    findings: &mut Findings,
) -> Effect {
    let mut hosts: Vec<Standing<'_>> = Vec::new();
    for (part, (weight, _)) in unit.parts.iter().zip(weights) {
        let base = part.instances.first().map_or(100, |it| it.priority.value);
        let node = nodes.iter().find(|node| node.name == part.host.name);
        let moved = (base + weight).clamp(1, 254);
        let (well, failing) = if *weight > 0 { (moved, base) } else { (base, moved) };
        let address = node.and_then(|node| node.addresses.first());
        hosts.push(Standing { name: &part.host.name, address, base, well, failing });
    }
    hosts.sort_by_key(|host| std::cmp::Reverse(host.base));
    let weight = weights.first().map_or(0, |(weight, _)| *weight);
    let below = |index: usize| hosts.iter().skip(index + 1);
    let pairs: Vec<(&Standing<'_>, &Standing<'_>)> = hosts
        .iter()
        .enumerate()
        .flat_map(|(at, high)| below(at).map(move |low| (high, low)))
        .collect();
    let (turned, kept): (Vec<_>, Vec<_>) =
        pairs.into_iter().partition(|(high, low)| turns(high, low));
    if let Some((high, low)) = kept.first() {
        let what = if weight < 0 {
            format!(
                "check {} lowers {} from {} to {}, still above {} ({})",
                track.name, high.name, high.base, high.failing, low.name, low.well
            )
        } else {
            format!(
                "check {} raises {} from {} to {}, still below {} ({})",
                track.name, low.name, low.base, low.well, high.name, high.failing
            )
        };
        let moves = match turned.first() {
            None => "it never moves the address".to_owned(),
            Some((high, low)) => {
                format!("it moves the address from {} to {} only", high.name, low.name)
            }
        };
        let text = format!(
            "{what}: {moves}; imported as required would change that, so it is commented out"
        );
        findings.decide(&track.place, Verdict::Otherwise, &text);
        findings.tell(&text, &[&track.place]);
        return Effect::Nothing(text);
    }
    if let [high, low, ..] = hosts.as_slice() {
        let gone = if let Look::Process(process) = look {
            format!("{process} is gone from {}", high.name)
        } else {
            format!("{} fails at {}", track.name, high.name)
        };
        let text = format!(
            "weight {weight} between {} and {} moves the address when {gone}: the check is required",
            high.base, low.base
        );
        findings.tell(text, &[&track.place]);
    }
    Effect::Require
}
