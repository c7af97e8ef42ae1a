//! Turns what the core reports into one line for people: in the log and in the flight recorder.
//!
//! The level follows from the consequence: `warn` when an address is without an owner or this
//! node cannot do its duty, `info` for every change of ownership or of the verdict on a peer,
//! `debug` for what only confirms an earlier line. Values are fields, the message is a constant
//! phrase, `because` is one sentence.

use std::time::Duration;

use tracing::Level;

use crate::control::membership_words;
use crate::control::names::Names;
use crate::control::orders_in_words;
use crate::control::recorder;
use crate::control::restart_words;
use crate::control::sentences::{
    astray, cause as because, declined, fitness, inability, last_resort, phase, removed_by, verdict,
};
use crate::control::timing_words;
use crate::protocol::{
    Cause, Convergence, Epoch, Fitness, GroupKey, Inability, NodeId, NodePhase, Obstacle, PoolId,
    Report, StandingOrder, Verdict,
};

/// One line. Fields that do not apply are absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// How much it matters.
    pub level: Level,
    /// What happened, a constant phrase.
    pub message: &'static str,
    /// The group concerned.
    pub group: Option<String>,
    /// The peer concerned.
    pub peer: Option<String>,
    /// The epoch of the group.
    pub epoch: Option<u64>,
    /// What it was.
    pub from: Option<String>,
    /// What it is.
    pub to: Option<String>,
    /// Why.
    pub because: Option<String>,
}

impl Line {
    fn new(level: Level, message: &'static str) -> Self {
        Self {
            level,
            message,
            group: None,
            peer: None,
            epoch: None,
            from: None,
            to: None,
            because: None,
        }
    }

    fn group(self, group: GroupKey, names: &Names) -> Self {
        Self { group: Some(names.group(group).group), ..self }
    }

    fn peer(self, peer: NodeId, names: &Names) -> Self {
        Self { peer: Some(names.node(peer)), ..self }
    }

    fn because(self, sentence: impl Into<String>) -> Self {
        Self { because: Some(sentence.into()), ..self }
    }

    fn kept(self, to: String, left: Option<u32>) -> Self {
        let line = Self { to: Some(to), ..self };
        match left {
            Some(0) => line.because("the last one has ended"),
            Some(left) => line.because(format!("{left} were cut off")),
            None => line.because("they were not counted"),
        }
    }

    fn owned(
        self,
        (from, to): (Option<NodeId>, Option<NodeId>),
        cause: Cause,
        names: &Names,
    ) -> Self {
        Self {
            from: from.map(|node| names.node(node)),
            to: to.map(|node| names.node(node)),
            // The cause tells why the last owner once took it, not why nobody has it now.
            because: to.map(|_| because(cause, None, names)),
            ..self
        }
    }

    fn epoch(self, epoch: Epoch) -> Self {
        Self { epoch: Some(epoch.0), ..self }
    }

    fn change(self, from: &str, to: &str) -> Self {
        Self { from: Some(from.to_owned()), to: Some(to.to_owned()), ..self }
    }

    /// Writes the line to the log, with the kind of event for programs.
    fn log(&self, event: &str, names: &Names) {
        macro_rules! write_at {
            ($level:ident) => {
                tracing::$level!(
                    event,
                    node = names.node(names.me()),
                    group = self.group,
                    peer = self.peer,
                    epoch = self.epoch,
                    from = self.from,
                    to = self.to,
                    because = self.because,
                    "{}",
                    self.message
                )
            };
        }
        match self.level {
            Level::ERROR => write_at!(error),
            Level::WARN => write_at!(warn),
            Level::INFO => write_at!(info),
            Level::DEBUG => write_at!(debug),
            Level::TRACE => write_at!(trace),
        }
    }
}

/// Writes one report to the log.
pub(crate) fn log(report: &Report, names: &Names) {
    line(*report, names).log(recorder::kind(report), names);
}

const NEW_LIFE: &str = "its process is new and owns nothing";
const OVERDUE: &str = "the gate hooks did not finish in time; the move proceeds";
const FOLLOWED: &str = "all neighbours resolve it to this node";
const ASTRAY: &str = "some neighbours do not resolve it to this node";
const NOT_MOVED: &str = "planned move failed";
const VOTERS_DIFFER: &str = "voter has another list of voters";
const NO_LEASE: &str =
    "it grants this node no leases until both have loaded the same configuration";

fn not_taken(groups: u16, why: Option<(GroupKey, Inability)>, names: &Names) -> String {
    match why {
        Some(why) => declined(why, names),
        None => format!("it declined or did not answer the offer of {}", counted(groups)),
    }
}

fn counted(groups: u16) -> String {
    if groups == 1 { "1 group".to_owned() } else { format!("{groups} groups") }
}

const RESTARTED: &str = "peer restarted";
const GATE: &str = "gate overdue";

/// An address that `other` has in another group, or that no other node has any more.
fn regrouped((group, address): (GroupKey, GroupKey), other: Option<NodeId>, names: &Names) -> Line {
    let address = names.address(address);
    match other.map(|other| names.node(other)) {
        Some(other) => {
            let why = format!("{other} has {address} in another group: reload the older file");
            let line = Line::new(Level::WARN, "address withheld").group(group, names).because(why);
            Line { peer: Some(other), ..line }
        }
        None => Line::new(Level::INFO, "address no longer withheld")
            .group(group, names)
            .because(format!("no other node has {address}")),
    }
}

/// Words one report.
fn line(report: Report, names: &Names) -> Line {
    let of_group = |level, message, group| Line::new(level, message).group(group, names);
    let of_peer = |level, message, peer| Line::new(level, message).peer(peer, names);
    match report {
        Report::PeerChanged { peer, from, to, silence } => {
            let line = of_peer(verdict_level(to), "peer changed", peer);
            line.change(verdict(from), verdict(to)).because(verdict_because(to, silence))
        }
        Report::PeerRestarted { peer } => of_peer(Level::INFO, RESTARTED, peer).because(NEW_LIFE),
        Report::KeptEnded { group, to, left } => {
            of_group(Level::INFO, ENDED, group).kept(names.node(to), left)
        }
        Report::OfferFailed { to, groups, why } => {
            of_peer(Level::INFO, NOT_MOVED, to).because(not_taken(groups, why, names))
        }
        Report::GateOverdue { group } => of_group(Level::WARN, GATE, group).because(OVERDUE),
        Report::OwnerChanged { group, from, to, epoch, cause } => {
            let line = of_group(owner_level(to.is_some()), "owner changed", group).epoch(epoch);
            line.owned((from, to), cause, names)
        }
        Report::Acquired { group, epoch } => of_group(Level::INFO, UP, group).epoch(epoch),
        Report::Released { group, epoch } => of_group(Level::INFO, GONE, group).epoch(epoch),
        Report::GaveWay { group, to, epoch } => of_group(Level::WARN, "gave way", group)
            .epoch(epoch)
            .because(format!("{} has a claim of higher rank", names.node(to))),
        Report::AddressWithheld { group, address, owner } => {
            regrouped((group, address), Some(owner), names)
        }
        Report::AddressAdmitted { group, address } => regrouped((group, address), None, names),
        Report::Unable { group, why } => {
            of_group(Level::WARN, "this node cannot hold the group", group)
                .because(inability(why, group, names))
        }
        Report::Repaired { group, remover, times } => {
            of_group(Level::WARN, "address restored", group).because(removed_by(remover, times))
        }
        Report::Converged { group, epoch, hosts, after } => {
            of_group(Level::INFO, FOLLOWED, group).epoch(epoch).because(followed(hosts, after))
        }
        Report::NotConverged { group, epoch, outcome } => {
            of_group(Level::WARN, ASTRAY, group).epoch(epoch).because(not_followed(&outcome))
        }
        Report::PhaseChanged { from, to } => {
            Line::new(phase_level(to), "phase changed").change(phase(from), phase(to))
        }
        Report::Stalled { length } => Line::new(Level::WARN, "this node stalled")
            .because(format!("it did not run for {}", milliseconds(length))),
        Report::VotersDiffer { voter } => {
            of_peer(Level::WARN, VOTERS_DIFFER, voter).because(NO_LEASE)
        }
        Report::MajorityLost { groups } => majority(groups, false),
        Report::MajorityBack { groups } => majority(groups, true),
        Report::KernelAnswers { peer, group, hardware } => {
            of_peer(Level::WARN, "peer is silent but its kernel answers", peer)
                .group(group, names)
                .because(format!("{hardware} answers; the groups of the peer are not taken over"))
        }
        Report::SecondClaimant { group, hardware, node } => Line {
            peer: node.map(|node| names.node(node)),
            ..of_group(Level::WARN, "address conflict", group)
                .because(format!("{hardware} claims the group too"))
        },
        Report::FitnessChanged { node, pool, fitness } => checked(node, pool, fitness, names),
        Report::LastResort { pool, kept, .. } => resorted(&names.pool(pool), kept),
        Report::Unlisted { by, on } => unlisted(by, on, names),
        Report::Draining { on } => Line::new(Level::INFO, draining(on)),
        Report::StandingOrder(order) => standing_order(&order, names),
        Report::WentOn { groups, after } => went_on(groups, after),
        Report::NotInPlace { why } => not_in_place(why, names),
        Report::TimingChanged { .. } => timing(&report, names),
    }
}

/// Other intervals are in force; slower ones are worth a look.
fn timing(report: &Report, names: &Names) -> Line {
    let slower = matches!(report, Report::TimingChanged { from, to, .. } if to > from);
    let line = Line::new(if slower { Level::WARN } else { Level::INFO }, "timing changed");
    let Some(words) = timing_words::change(report, names) else { return line };
    line.change(&words.from, &words.to).because(words.because)
}

fn standing_order(order: &StandingOrder, names: &Names) -> Line {
    let message = if order.is_in_force() { "order in force" } else { "order ended" };
    Line::new(Level::INFO, message).because(orders_in_words::sentence(order, names))
}

fn unlisted(by: NodeId, on: bool, names: &Names) -> Line {
    let (me, peer) = (names.node(names.me()), names.node(by));
    let level = if on { Level::WARN } else { Level::INFO };
    let message = if on {
        "not in the configuration of a peer"
    } else {
        "in the configuration of the peer again"
    };
    let because = membership_words::unlisted(&me, &peer, on);
    Line { peer: Some(peer), ..Line::new(level, message).because(because) }
}

fn went_on(groups: u16, after: Duration) -> Line {
    Line::new(Level::INFO, "restarted in place").because(format!(
        "{} kept, silent for {}",
        counted(groups),
        milliseconds(after)
    ))
}

fn not_in_place(why: Obstacle, names: &Names) -> Line {
    Line::new(Level::WARN, "no restart in place").because(restart_words::obstacle(why, names))
}

fn checked(node: NodeId, pool: PoolId, is: Fitness, names: &Names) -> Line {
    let line = Line::new(fitness_level(is), "outcome of checks changed");
    Line { peer: Some(names.node(node)), ..line.because(fitness(is, &names.pool(pool))) }
}

fn resorted(pool: &str, kept: bool) -> Line {
    Line::new(Level::WARN, "last resort").because(last_resort(pool, kept))
}

const fn fitness_level(fitness: Fitness) -> Level {
    match fitness {
        // Every node is reluctant until its first looks; a check that fails has a line of its own.
        Fitness::Fit | Fitness::Reluctant => Level::INFO,
        Fitness::Unfit => Level::WARN,
    }
}

const UP: &str = "addresses added";
const GONE: &str = "addresses removed";
const ENDED: &str = "kept connections have ended";

const fn draining(on: bool) -> &'static str {
    if on { "draining switched on" } else { "draining switched off" }
}

fn followed(hosts: u16, after: Duration) -> String {
    format!("{hosts} neighbours, {} after it was added", milliseconds(after))
}

fn not_followed(outcome: &Convergence) -> String {
    format!("{} of {} neighbours do; missing: {}", outcome.answered, outcome.asked, astray(outcome))
}

fn majority(groups: u16, back: bool) -> Line {
    if back {
        Line::new(Level::INFO, "majority of the voters regained")
            .because(format!("this node answers again for {}", counted(groups)))
    } else {
        Line::new(Level::WARN, "majority of the voters lost")
            .because(format!("this node stopped answering for {}", counted(groups)))
    }
}

const fn owner_level(owned: bool) -> Level {
    if owned { Level::INFO } else { Level::WARN }
}

const fn verdict_level(verdict: Verdict) -> Level {
    match verdict {
        Verdict::Dead => Level::WARN,
        Verdict::Unknown | Verdict::Up | Verdict::Suspect | Verdict::Indirect | Verdict::Left => {
            Level::INFO
        }
    }
}

fn verdict_because(verdict: Verdict, silence: Duration) -> String {
    let silent = format!("nothing heard from it for {}", milliseconds(silence));
    match verdict {
        Verdict::Unknown | Verdict::Suspect | Verdict::Dead => silent,
        Verdict::Indirect => format!("{silent}, but a peer still hears it"),
        Verdict::Up => "a heartbeat arrived".to_owned(),
        Verdict::Left => "it left cleanly".to_owned(),
    }
}

const fn phase_level(phase: NodePhase) -> Level {
    match phase {
        NodePhase::Resuming | NodePhase::Isolated => Level::WARN,
        NodePhase::Listening | NodePhase::Active | NodePhase::Leaving | NodePhase::Left => {
            Level::INFO
        }
    }
}

fn milliseconds(length: Duration) -> String {
    format!("{} ms", length.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::names::{GroupName, NodeName};
    use crate::control::wording_test;
    use crate::protocol::{
        Cause, Convergence, GroupKey, HardwareAddress, Inability, Mode, NodeId, Remover,
    };

    fn names() -> Names {
        let node = |name: &str| (NodeId::from_name(name), NodeName::member(name));
        let group = GroupName {
            pool: "web".to_owned(),
            group: "10.77.0.100".to_owned(),
            addresses: Vec::new(),
            mode: Mode::Availability,
        };
        let nodes = vec![node("lb1"), node("lb2")];
        Names::new("edge".to_owned(), NodeId::from_name("lb1"), nodes, vec![(GroupKey(7), group)])
    }

    #[test]
    fn every_report_has_its_golden_line() {
        let mut text = String::from("# Log: level, message and because of every report\n\n");
        for report in wording_test::reports() {
            let line = line(report, &wording_test::names());
            let because = line.because.map_or_else(String::new, |because| format!(": {because}"));
            text.push_str(&format!("{:<5} {}{because}\n", line.level.as_str(), line.message));
        }
        wording_test::expect("log.txt", &text);
    }

    #[test]
    fn change_of_ownership_is_one_line_with_names_and_the_cause() {
        let report = Report::OwnerChanged {
            group: GroupKey(7),
            from: Some(NodeId::from_name("lb2")),
            to: Some(NodeId::from_name("lb1")),
            epoch: Epoch(8),
            cause: Cause::Silence(NodeId::from_name("lb2")),
        };
        let expected = Line {
            group: Some("10.77.0.100".to_owned()),
            epoch: Some(8),
            from: Some("lb2".to_owned()),
            to: Some("lb1".to_owned()),
            because: Some("lb2 fell silent".to_owned()),
            ..Line::new(Level::INFO, "owner changed")
        };
        assert_eq!(line(report, &names()), expected);
    }

    #[test]
    fn group_without_an_owner_is_a_warning() {
        let report = Report::OwnerChanged {
            group: GroupKey(7),
            from: Some(NodeId::from_name("lb2")),
            to: None,
            epoch: Epoch(8),
            cause: Cause::FirstClaim,
        };
        let line = line(report, &names());
        assert_eq!((line.level, line.because), (Level::WARN, None));
    }

    #[test]
    fn every_report_about_a_group_names_it() {
        let group = GroupKey(7);
        let epoch = Epoch(1);
        let hardware = HardwareAddress([2, 0, 0, 0, 0, 7]);
        let outcome =
            Convergence { asked: 2, answered: 1, after: Duration::ZERO, missing: [None; 3] };
        let reports = [
            Report::Acquired { group, epoch },
            Report::Released { group, epoch },
            Report::GaveWay { group, to: NodeId(1), epoch },
            Report::Unable { group, why: Inability::LinkDown },
            Report::Repaired { group, remover: Remover::Somebody, times: 2 },
            Report::GateOverdue { group },
            Report::KernelAnswers { peer: NodeId(1), group, hardware },
            Report::SecondClaimant { group, hardware, node: None },
            Report::Converged { group, epoch, hosts: 2, after: Duration::ZERO },
            Report::NotConverged { group, epoch, outcome },
        ];
        for report in reports {
            assert_eq!(line(report, &names()).group.as_deref(), Some("10.77.0.100"));
        }
    }

    #[test]
    fn node_that_is_no_longer_configured_is_told_by_its_number() {
        let report = Report::PeerRestarted { peer: NodeId(0xab) };
        assert_eq!(line(report, &names()).peer.as_deref(), Some("node-000000ab"));
    }
}
