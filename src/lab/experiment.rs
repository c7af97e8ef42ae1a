//! One fault, from the moment it is made until the cluster has come to rest, and its figures.
//!
//! What is measured is what a client and the kernels saw; no daemon is asked. The cluster is at
//! rest when every address is answered, by nodes that have not changed for a while.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::clock;
use super::cluster::Cluster;
use super::fault::{Fault, Phase};
use super::namespace::NamespaceError;
use super::ownership::Change;
use super::probe::Prober;
use super::record::ANSWER_LIMIT;

/// Who answers must not change for so long: longer than a repeat of anything in the protocol.
const REST: Duration = Duration::from_millis(700);
/// A cluster that is not at rest by then is reported as it is.
const REST_MAX: Duration = Duration::from_secs(15);
/// A node that has got nothing by then is meant to have nothing: the file says so, or it has
/// failed too often lately.
const BACK_MAX: Duration = Duration::from_secs(6);
/// An address is answered now if a probe of so long ago was.
const RECENT: Duration = Duration::from_millis(60);

/// What is expected of the node to which something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// It answers for nothing in the end.
    Away,
    /// It answers for something in the end, unless the file has it otherwise.
    Back,
    /// Nothing in particular.
    Rest,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Addresses that moved, or of which probes were lost.
    pub affected: usize,
    /// The longest outage of any address.
    pub worst: Duration,
    /// The median of the outages of the affected addresses.
    pub median: Duration,
    /// Probes lost, of all addresses.
    pub lost: usize,
    /// The longest time that two nodes held the same address.
    pub two_owners: Duration,
    /// The longest time for which a node still answered for an address after another had added it,
    /// as far as the client asked it.
    pub both_answer: Duration,
    /// The longest time, from the beginning on, during which one node answered for an address
    /// although another one had already answered for it.
    pub by_turns: Duration,
    /// How many addresses each node answers for in the end, by name.
    pub answering: BTreeMap<String, usize>,
    /// Whether what was expected came about and the cluster came to rest.
    pub settled: bool,
    /// The same of the addresses in mode `majority`, which are counted nowhere above; `None` if
    /// the plan has none.
    pub majority: Option<Majority>,
}

/// What was measured of addresses in mode `majority`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Majority {
    /// The longest outage of any address.
    pub worst: Duration,
    /// Probes lost, of all addresses.
    pub lost: usize,
    /// As [`Figures::both_answer`].
    pub both_answer: Duration,
}

/// Measures what `act` does. `look` is called again and again while the cluster comes to rest;
/// when it tells that the operator wants to end, the waiting ends.
///
/// # Errors
/// When `act` fails.
pub fn measure<E>(
    cluster: &mut Cluster,
    expect: (usize, Expectation),
    act: impl FnOnce(&mut Cluster) -> Result<(), E>,
    mut look: impl FnMut(&Cluster) -> bool,
) -> Result<Figures, E> {
    let from = clock::now();
    act(cluster)?;
    let settled = come_to_rest(cluster, expect, &mut look);
    clock::pause(ANSWER_LIMIT);
    Ok(figures(cluster, from, settled))
}

/// Lets a fault happen to a node, or end, and measures it. `look` is as for [`measure`].
///
/// # Errors
/// When the lab cannot do it.
pub fn stage_fault(
    cluster: &mut Cluster,
    (fault, phase): (Fault, Phase),
    victim: usize,
    look: impl FnMut(&Cluster) -> bool,
) -> Result<Figures, NamespaceError> {
    let expectation = match (fault, phase) {
        // Both sides of a split serve, and a single node has nobody to give its groups to.
        (Fault::Split, Phase::Begin) => Expectation::Rest,
        // One group of several.
        (Fault::Move, _) => Expectation::Rest,
        (_, Phase::Begin) if cluster.nodes() < 2 => Expectation::Rest,
        (_, Phase::Begin) => Expectation::Away,
        (_, Phase::End) => Expectation::Back,
    };
    let act = |cluster: &mut Cluster| match phase {
        Phase::Begin => fault.begin(cluster, victim),
        Phase::End => fault.end(cluster, victim),
    };
    measure(cluster, (victim, expectation), act, look)
}

/// Waits until the cluster is at rest; tells whether it is.
pub fn come_to_rest(
    cluster: &Cluster,
    (node, expectation): (usize, Expectation),
    look: &mut impl FnMut(&Cluster) -> bool,
) -> bool {
    let mut last = Vec::new();
    let begin = clock::now();
    let mut since = begin;
    let rest = clock::until(REST_MAX, || {
        if !look(cluster) {
            return Some(false);
        }
        let answering = cluster.answering(RECENT);
        let has = answering.iter().any(|(_, who)| *who == Some(node));
        let expected = match expectation {
            Expectation::Away => !has,
            Expectation::Back => has || clock::now().duration_since(begin) > BACK_MAX,
            Expectation::Rest => true,
        };
        let complete = answering.iter().all(|(_, who)| who.is_some());
        if answering != last || !expected || !complete {
            last = answering;
            since = clock::now();
        }
        (clock::now().duration_since(since) >= REST).then_some(true)
    });
    rest.unwrap_or(false)
}

/// What the probes and the watch say since `from`.
#[must_use]
pub fn figures(cluster: &Cluster, from: Instant, settled: bool) -> Figures {
    let to = Prober::judged_until();
    let timeline = cluster.watch.timeline();
    let mut outages = Vec::new();
    let mut lost = 0;
    let (mut two_owners, mut turns) = (Duration::ZERO, Duration::ZERO);
    let mut both_answer = Duration::ZERO;
    let strict = &cluster.plan.majority;
    let mut majority = (!strict.is_empty()).then(Majority::default);
    for (vip, seen) in cluster.prober.seen(from, to) {
        let added: Vec<Change> =
            timeline.of(vip).filter(|change| change.at >= from).copied().collect();
        let both = still_answered(cluster, vip, &added);
        if let Some(figures) = majority.as_mut().filter(|_| strict.contains(&vip)) {
            figures.worst = figures.worst.max(seen.outage);
            figures.lost += seen.lost;
            figures.both_answer = figures.both_answer.max(both);
            continue;
        }
        lost += seen.lost;
        if seen.lost > 0 || seen.answered_by.len() > 1 {
            outages.push(seen.outage);
        }
        two_owners = two_owners.max(timeline.two_owners(vip, from, clock::now()));
        both_answer = both_answer.max(both);
        turns = turns.max(by_turns(cluster, vip, from, to));
    }
    outages.sort_unstable();
    let mut answering = BTreeMap::new();
    for node in 0..cluster.nodes() {
        answering.insert(cluster.name(node).to_owned(), 0);
    }
    for (_, who) in cluster.answering(RECENT) {
        if let Some(node) = who {
            *answering.entry(cluster.name(node).to_owned()).or_default() += 1;
        }
    }
    Figures {
        affected: outages.len(),
        worst: outages.last().copied().unwrap_or_default(),
        median: outages.get(outages.len() / 2).copied().unwrap_or_default(),
        lost,
        two_owners,
        both_answer,
        by_turns: turns,
        answering,
        settled,
        majority,
    }
}

/// For how long after a node had added the address another one answered, until the next change.
fn still_answered(cluster: &Cluster, vip: IpAddr, changes: &[Change]) -> Duration {
    let record = cluster.prober.record(vip);
    let mut longest = Duration::ZERO;
    for (place, change) in changes.iter().enumerate().filter(|(_, change)| change.held) {
        // The loser of a conflict, or who has handed over, removes it later: that is no end.
        let later = changes[place + 1..].iter();
        let mut ends = later.filter(|later| later.held || later.node == change.node);
        let end = ends.next().map_or_else(clock::now, |later| later.at);
        let probes = record.probes().iter();
        let within = probes.filter(|probe| (change.at..end).contains(&probe.sent));
        let mut others = within.filter(|probe| {
            let who = probe.answered_by().and_then(|mac| cluster.network.host_of(mac));
            who.is_some_and(|who| who != change.node)
        });
        let last = others.next_back().map_or(Duration::ZERO, |last| last.sent - change.at);
        longest = longest.max(last);
    }
    longest
}

/// From the first answer of a second node until the last answer of a node before it.
fn by_turns(cluster: &Cluster, vip: IpAddr, from: Instant, to: Instant) -> Duration {
    let record = cluster.prober.record(vip);
    let mut spans: BTreeMap<_, (Instant, Instant)> = BTreeMap::new();
    for probe in record.probes().iter().filter(|probe| (from..to).contains(&probe.sent)) {
        if let Some(mac) = probe.answered_by() {
            spans.entry(mac).or_insert((probe.sent, probe.sent)).1 = probe.sent;
        }
    }
    let mut spans: Vec<_> = spans.into_values().collect();
    spans.sort_unstable();
    let overlaps = spans.windows(2).map(|pair| {
        let ((_, earlier_end), (later_begin, later_end)) = (pair[0], pair[1]);
        earlier_end.min(later_end).saturating_duration_since(later_begin)
    });
    overlaps.max().unwrap_or_default()
}
