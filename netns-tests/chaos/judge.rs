//! Judges a transcript by what was true when: nothing of what the daemons say is used.
//!
//! | mode | two hosts for one address | nobody although somebody could |
//! |---|---|---|
//! | majority | never | at most [`OUTAGE_MAX`] |
//! | availability | while both hear each other, run and keep their links: at most [`BOTH_MAX`] | the same |
//!
//! "Somebody could" is told of an address while the hosts fall into groups that hear each other
//! fully, no frames are lost, and the client's group has a node that has run undisturbed for
//! [`SETTLED`], with a majority of the voters in mode majority.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use buoy::lab::echo::Mac;
use buoy::protocol::Mode;

use super::asker::{INTERVAL, Transcript};
use super::schedule::NODES;
use super::world::World;

/// Two hosts that answer, in mode availability, undisturbed.
const BOTH_MAX: Duration = Duration::from_secs(1);
/// Detection 300 ms, lease 600 ms, 1 s; and what a test machine takes.
const OUTAGE_MAX: Duration = Duration::from_millis(2500);
/// After a start a node listens for 3 s at most; and a second.
const SETTLED: Duration = Duration::from_secs(4);
/// What has just ended may still show: a lease, and the news of it.
const LINGERS: Duration = Duration::from_millis(1500);

/// What was seen that must not be.
#[derive(Clone, Debug)]
pub(crate) struct Violation(pub(crate) String);

/// One round of questions for one address.
struct Round {
    at: Instant,
    hosts: BTreeSet<usize>,
}

/// All that was wrong.
pub(crate) fn judge(
    transcript: &Transcript,
    history: &[(Instant, World)],
    addresses: &[IpAddr],
    mode: Mode,
) -> Vec<Violation> {
    let begin = history.first().map(|(at, _)| *at);
    let Some(begin) = begin else { return Vec::new() };
    let mut violations = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        let rounds = rounds_of(transcript, number);
        let said = |at: Instant| at.saturating_duration_since(begin).as_secs_f64();
        for (from, to, hosts) in both(&rounds, history, mode) {
            let length = to.duration_since(from) + INTERVAL;
            violations.push(Violation(format!(
                "{address}: hosts {hosts:?} answered both from {:.3} s for {length:.0?}",
                said(from)
            )));
        }
        for (from, to) in nobody(&rounds, history, mode) {
            violations.push(Violation(format!(
                "{address}: nobody answered from {:.3} s to {:.3} s although somebody could",
                said(from),
                said(to)
            )));
        }
    }
    violations
}

fn rounds_of(transcript: &Transcript, number: usize) -> Vec<Round> {
    let sent = &transcript.rounds;
    let mut rounds: Vec<Round> =
        sent.iter().map(|at| Round { at: *at, hosts: BTreeSet::new() }).collect();
    for (at, _, mac) in transcript.answers.iter().filter(|(_, of, _)| *of == number) {
        let round = sent.partition_point(|sent| sent <= at).checked_sub(1);
        if let (Some(round), Some(host)) = (round.and_then(|at| rounds.get_mut(at)), host_of(*mac))
        {
            round.hosts.insert(host);
        }
    }
    rounds
}

/// The cards of the lab carry the number of their host; the second byte tells a changed one.
fn host_of(mac: Mac) -> Option<usize> {
    match mac {
        [2, 0xb0 | 0xb1, 0, 0, _, host] => usize::from(host).checked_sub(1),
        _ => None,
    }
}

fn at(history: &[(Instant, World)], moment: Instant) -> &World {
    let next = history.partition_point(|(at, _)| *at <= moment);
    &history[next.saturating_sub(1)].1
}

/// What was true at any time within so long before.
fn recently(
    history: &[(Instant, World)],
    moment: Instant,
    time: Duration,
) -> impl Iterator<Item = &World> {
    let since = moment.checked_sub(time).unwrap_or(moment);
    let next = history.partition_point(|(at, _)| *at <= since);
    let first = next.saturating_sub(1);
    history[first..].iter().take_while(move |(at, _)| *at <= moment).map(|(_, world)| world)
}

/// Stretches in which two hosts answered, one round after the other.
fn both(
    rounds: &[Round],
    history: &[(Instant, World)],
    mode: Mode,
) -> Vec<(Instant, Instant, BTreeSet<usize>)> {
    let longest = match mode {
        // One late answer to the question before looks like two hosts for one round.
        Mode::Majority => INTERVAL,
        Mode::Availability => BOTH_MAX,
    };
    let wrong = |round: &&Round| {
        round.hosts.len() > 1 && (mode == Mode::Majority || !excused(round, history))
    };
    let mut stretches: Vec<(Instant, Instant, BTreeSet<usize>)> = Vec::new();
    let mut before = None;
    for (number, round) in rounds.iter().enumerate().filter(|(_, round)| wrong(round)) {
        match stretches.last_mut().filter(|_| before == Some(number.wrapping_sub(1))) {
            Some((_, to, hosts)) => {
                *to = round.at;
                hosts.extend(&round.hosts);
            }
            None => stretches.push((round.at, round.at, round.hosts.clone())),
        }
        before = Some(number);
    }
    stretches.retain(|(from, to, _)| to.duration_since(*from) >= longest);
    stretches
}

/// Whether two of those that answered did not hear each other of late, or one did not run.
fn excused(round: &Round, history: &[(Instant, World)]) -> bool {
    let disturbed = |world: &World| {
        let node = |node: &usize| {
            let node = world.nodes[*node];
            node.down || node.frozen || node.unlinked
        };
        let apart = |a: &usize| round.hosts.iter().any(|b| world.cut[*a][*b]);
        world.lossy || round.hosts.iter().any(node) || round.hosts.iter().any(apart)
    };
    recently(history, round.at, LINGERS).any(disturbed)
}

/// Stretches in which nobody answered for longer than it may take, although somebody could.
fn nobody(rounds: &[Round], history: &[(Instant, World)], mode: Mode) -> Vec<(Instant, Instant)> {
    let mut found = Vec::new();
    let mut since: Option<Instant> = None;
    for round in rounds {
        if !round.hosts.is_empty() || !somebody_could(history, round.at, mode) {
            since = None;
            continue;
        }
        let from = *since.get_or_insert(round.at);
        if round.at.duration_since(from) > OUTAGE_MAX {
            match found.last_mut() {
                Some((known, to)) if *known == from => *to = round.at,
                _ => found.push((from, round.at)),
            }
        }
    }
    found
}

fn somebody_could(history: &[(Instant, World)], moment: Instant, mode: Mode) -> bool {
    let now = at(history, moment);
    let hosts = 0..=NODES;
    let hears = |world: &World, a: usize, b: usize| !world.cut[a][b];
    let whole = hosts.clone().all(|a| {
        hosts.clone().all(|b| {
            hears(now, a, b) == hears(now, b, a)
                && hosts
                    .clone()
                    .all(|c| !(hears(now, a, b) && hears(now, b, c)) || hears(now, a, c))
        })
    });
    if !whole || now.lossy {
        return false;
    }
    let with_client = |node: &usize| hears(now, *node, NODES);
    let settled = |node: &usize| {
        recently(history, moment, SETTLED).all(|world| {
            let it = world.nodes[*node];
            !(it.down || it.frozen || it.unlinked || it.drained)
        })
    };
    let votes = |node: &usize| {
        let it = now.nodes[*node];
        !(it.down || it.frozen) && settled(node)
    };
    let near: Vec<usize> = (0..NODES).filter(with_client).collect();
    let able = near.iter().any(settled);
    let majority = near.iter().filter(|node| votes(node)).count() > NODES / 2;
    able && (mode == Mode::Availability || majority)
}
