//! Every sentence that people read of events, causes and refusals, in files to be read as a whole.
//!
//! `tests/outputs/events.txt`, `log.txt` and `errors.txt` are written by
//! `BUOY_BLESS=1 cargo test --lib wording` and compared otherwise.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Error as IoError, ErrorKind};
use std::path::Path;
use std::time::Duration;

use super::events::{self, Check, EventRecord, HookRun, Kind, Level};
use super::failure::{Error, unreachable};
use super::fixture::{group, names, node};
use super::refusals::refusal;
use super::response::{Done, Rejected, SCHEMA};
use super::{restart_in_place, sentences};
use crate::protocol::{
    Candidate, Cause, Convergence, Epoch, Failure, Fitness, GroupKey, HardwareAddress, Inability,
    Lasting, Misfit, NodeId, NodePhase, Obstacle, Order, Outside, PoolId, Refusal, Remover, Report,
    Standing, StandingOrder, Text, TimingLevel, TimingProposal, TimingReason, Verdict,
};

const HARDWARE: HardwareAddress = HardwareAddress([2, 0, 0, 0, 0, 0xab]);

/// Compares a text with the file of this name in `tests/outputs`.
fn expect(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outputs").join(name);
    if std::env::var_os("BUOY_BLESS").is_some() {
        fs::write(&path, text).expect("the file can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "left: now, right: {}", path.display());
}

/// Reports of every kind; of those with several sentences one for each.
fn reports() -> Vec<Report> {
    [of_peers(), of_ownership(), of_addresses(), of_moves(), of_the_node()].concat()
}

/// Events that are no reports of the core and have a line in the log.
fn of_services() -> Vec<EventRecord> {
    let names = names();
    let run = |group| HookRun {
        hook: "router",
        event: "acquired 10.77.0.100".to_owned(),
        group,
        pool: None,
    };
    let check = |to, level, pools: &[&str]| {
        let pools: Vec<String> = pools.iter().map(|pool| (*pool).to_owned()).collect();
        let (from, cause) = match level {
            Level::Warn => ("passing", "connecting failed: connection refused"),
            Level::Info => ("failing", "process 7 works"),
        };
        let check = Check { name: "proxy".to_owned(), effect: "require", pools };
        events::check_changed(check, (from, to), level, cause, &names)
    };
    vec![
        events::not_continued("the state file is cut off or was changed".to_owned(), &names),
        check("failing", Level::Warn, &["web"]),
        check("passing", Level::Info, &["web", "api"]),
        events::hook_failed(run(Some(web())), "did not end within 500 ms", &names),
        events::hook_dropped(run(None), "was not run: its queue is full", &names),
        events::balancer_failed("connection refused", &names),
        events::balancer_back(&names),
        events::balancer_finishes(None, &names),
        events::balancer_finishes(Some("connection refused"), &names),
        events::balancer_told(3, &names),
        events::balancer_told(0, &names),
    ]
}

/// Events that are recorded only.
fn of_the_daemon() -> Vec<EventRecord> {
    let names = names();
    let ordered = |done: &str, group: Option<&str>| {
        let (done, node) = (done.to_owned(), "lb2".to_owned());
        let group = group.map(str::to_owned);
        let done = Done { schema: SCHEMA, done, node, pool: None, group };
        events::ordered(&done, "alice", &names)
    };
    vec![
        events::started("0.1.0", false, &names),
        events::started("0.1.0", true, &names),
        ordered("drain", None),
        ordered("undrain", None),
        ordered("move", Some("10.77.0.100")),
        ordered("release", None),
        ordered("upgrade", None),
        events::overwritten(9, &names),
    ]
}

/// Events that only hooks get.
fn for_hooks() -> Vec<EventRecord> {
    let names = names();
    let all =
        [events::gate, events::before_acquire, events::before_release, events::started_without];
    let mut all: Vec<EventRecord> = all.map(|event| event(web(), &names)).into();
    let (from, to) = (Some(names.me()), Some(node("lb2")));
    let cause = Cause::Operator(names.me());
    let moved = Report::OwnerChanged { group: web(), from, to, epoch: Epoch(8), cause };
    let reports = [moved, Report::Draining { on: false }];
    all.extend(reports.iter().filter_map(|report| events::after_a_move(report, &names)));
    all.push(events::drained(&names));
    all
}

fn of_peers() -> Vec<Report> {
    let changed = |from, to| Report::PeerChanged {
        peer: node("lb2"),
        from,
        to,
        silence: Duration::from_millis(312),
    };
    let fitness = |fitness| Report::FitnessChanged {
        node: node("lb2"),
        pool: PoolId::from_name("web"),
        fitness,
    };
    vec![
        changed(Verdict::Unknown, Verdict::Up),
        changed(Verdict::Up, Verdict::Suspect),
        changed(Verdict::Suspect, Verdict::Indirect),
        changed(Verdict::Suspect, Verdict::Dead),
        changed(Verdict::Dead, Verdict::Up),
        changed(Verdict::Up, Verdict::Left),
        changed(Verdict::Left, Verdict::Unknown),
        Report::PeerRestarted { peer: node("lb2") },
        Report::VotersDiffer { voter: node("lb3") },
        Report::KernelAnswers { peer: node("lb2"), group: web(), hardware: HARDWARE },
        fitness(Fitness::Fit),
        fitness(Fitness::Reluctant),
        fitness(Fitness::Unfit),
        Report::Unlisted { by: node("lb2"), on: true },
        Report::Unlisted { by: node("lb2"), on: false },
    ]
}

fn of_ownership() -> Vec<Report> {
    let changed = |from: Option<&str>, to: Option<&str>, cause| Report::OwnerChanged {
        group: web(),
        from: from.map(node),
        to: to.map(node),
        epoch: Epoch(8),
        cause,
    };
    let silent = Cause::Silence(node("lb1"));
    let (group, epoch) = (web(), Epoch(8));
    vec![
        changed(None, Some("lb2"), Cause::FirstClaim),
        changed(Some("lb1"), Some("lb2"), silent),
        changed(Some("lb2"), Some("lb2"), Cause::TakenBack(node("lb1"))),
        changed(Some("lb2"), None, silent),
        changed(None, None, silent),
        Report::Acquired { group, epoch },
        Report::Released { group, epoch },
        Report::GaveWay { group, to: node("lb2"), epoch },
        Report::SecondClaimant { group, hardware: HARDWARE, node: None },
        Report::SecondClaimant { group, hardware: HARDWARE, node: Some(node("lb2")) },
        Report::Converged { group, epoch, hosts: 5, after: Duration::from_millis(12) },
        Report::NotConverged { group, epoch, outcome: outcome() },
    ]
}

fn outcome() -> Convergence {
    let missing = [1, 2, 3].map(|last| Some([10, 77, 0, last].into()));
    Convergence { asked: 9, answered: 4, after: Duration::from_millis(300), missing }
}

fn of_addresses() -> Vec<Report> {
    let (group, address) = (group("10.77.0.102"), group("10.77.0.101"));
    let repaired = |remover| Report::Repaired { group: web(), remover, times: 2 };
    let guardian = |renewal| Remover::Guardian { unrenewed: Duration::from_millis(640), renewal };
    let mut all = vec![
        Report::AddressWithheld { group, address, owner: node("lb2") },
        Report::AddressAdmitted { group, address },
        repaired(Remover::Somebody),
        repaired(guardian(Duration::ZERO)),
        repaired(guardian(Duration::from_millis(520))),
        repaired(Remover::Lifetime),
    ];
    all.extend(inabilities().map(|why| Report::Unable { group: web(), why }));
    all
}

fn inabilities() -> impl Iterator<Item = Inability> {
    let failures = [
        Failure::NoInterface,
        Failure::NotPermitted,
        Failure::ForeignAddress,
        Failure::Duplicate,
        Failure::Refused,
        Failure::Timeout,
        Failure::Route,
    ];
    let outside = [
        Outside::Nobody,
        Outside::GivesWay(Some(HARDWARE)),
        Outside::Unknown,
        Outside::Differs(Some(HARDWARE)),
        Outside::Prevails(None),
    ];
    let others = [
        Inability::LinkDown,
        Inability::NoNetwork,
        Inability::NetworkLost,
        Inability::FlushWar,
        Inability::Conflict(HARDWARE),
    ];
    let failures = failures.into_iter().map(Inability::Kernel);
    others.into_iter().chain(failures).chain(outside.into_iter().map(Inability::Outside))
}

fn of_moves() -> Vec<Report> {
    let kept = |left| Report::KeptEnded { group: web(), to: node("lb2"), left };
    let failed = |groups, why| Report::OfferFailed { to: node("lb2"), groups, why };
    let resort = |kept| Report::LastResort { pool: PoolId::from_name("web"), kept, groups: 2 };
    vec![
        kept(Some(0)),
        kept(Some(3)),
        kept(None),
        failed(2, None),
        failed(1, Some((web(), Inability::LinkDown))),
        Report::GateOverdue { group: web() },
        resort(true),
        resort(false),
        Report::MajorityLost { groups: 1 },
        Report::MajorityBack { groups: 2 },
    ]
}

fn standing(what: Lasting, ended: bool) -> Report {
    Report::StandingOrder(StandingOrder {
        id: 1,
        what,
        at: node("lb2"),
        left: Some(Duration::from_secs(7200)),
        ended,
        persists: false,
        by: Text::cut("alice"),
        reason: Text::cut("kernel 6.1.99"),
    })
}

fn timing(to: u8, (held_by, reason): (&str, TimingReason)) -> Report {
    let (from, to) = (TimingLevel::from_number(1), TimingLevel::from_number(to));
    let lateness = Duration::from_millis(93);
    let proposal = TimingProposal { level: to, reason, lateness };
    Report::TimingChanged { from, to, held_by: node(held_by), proposal }
}

fn of_the_node() -> Vec<Report> {
    let not_in_place = |why| Report::NotInPlace { why };
    vec![
        Report::PhaseChanged { from: NodePhase::Listening, to: NodePhase::Active },
        Report::Stalled { length: Duration::from_millis(412) },
        Report::Draining { on: true },
        Report::Draining { on: false },
        Report::WentOn { groups: 3, after: Duration::from_millis(90) },
        not_in_place(Obstacle::Phase(NodePhase::Listening)),
        not_in_place(Obstacle::Busy),
        not_in_place(Obstacle::Conflict(web())),
        not_in_place(Obstacle::LeaseShort),
        standing(Lasting::Hold, false),
        standing(Lasting::Hold, true),
        standing(Lasting::Drain(node("lb1")), false),
        standing(Lasting::Drain(node("lb1")), true),
        standing(Lasting::Upgrade, false),
        standing(Lasting::Upgrade, true),
        timing(4, ("lb2", TimingReason::Loop)),
        timing(2, ("lb1", TimingReason::Spacing)),
        timing(1, ("lb1", TimingReason::NotLongCalm)),
        timing(0, ("lb1", TimingReason::Fastest)),
        timing(2, ("lb2", TimingReason::Datagrams)),
        timing(3, ("lb2", TimingReason::Fixed)),
    ]
}

fn web() -> GroupKey {
    group("10.77.0.100")
}

fn causes() -> Vec<Cause> {
    let of = |cause: fn(NodeId) -> Cause| cause(node("lb1"));
    vec![
        Cause::FirstClaim,
        of(Cause::Silence),
        of(Cause::Restart),
        of(Cause::Deaf),
        of(Cause::Departure),
        of(Cause::Inability),
        of(Cause::Removed),
        of(Cause::AddressConflict),
        of(Cause::Balance),
        of(Cause::Drain),
        of(Cause::Operator),
        of(Cause::Failback),
        of(Cause::Checks),
        of(Cause::HandedOver),
        of(Cause::Conflict),
        of(Cause::TakenBack),
        of(Cause::Placement),
    ]
}

fn standings() -> Vec<Standing> {
    vec![
        Standing::Heir(1),
        Standing::Heir(2),
        Standing::Preferred(1),
        Standing::Ranked,
        Standing::Down(Verdict::Unknown),
        Standing::Down(Verdict::Dead),
        Standing::Draining,
        Standing::NotActive(NodePhase::Isolated),
        Standing::Unable(Inability::LinkDown),
        Standing::Reluctant,
        Standing::Unfit,
        Standing::LastResort,
        Standing::Lacking { last_resort: false },
        Standing::Lacking { last_resort: true },
        Standing::IllCompany,
    ]
}

#[test]
fn every_event_has_its_golden_sentence_and_line() {
    let names = names();
    let silence = Some(Duration::from_millis(312));
    let reports = reports().into_iter().map(|report| events::describe(&report, silence, &names));
    let logged: Vec<EventRecord> = reports.chain(of_services()).collect();
    let recorded = [logged.clone(), of_the_daemon()].concat();
    let all = [recorded.clone(), for_hooks()].concat();
    let shown: BTreeSet<Kind> = all.iter().map(|event| event.kind).collect();
    let missing: Vec<_> = Kind::ALL.iter().filter(|kind| !shown.contains(kind)).collect();
    assert!(missing.is_empty(), "no example above of {missing:?}");
    let mut log = String::from("# Log: level, message and because of every event\n\n");
    for event in logged {
        log.push_str(&format!("{}\n", event.log_text()));
    }
    expect("log.txt", &log);
    let mut text = String::from("# Events: kind and sentence\n\n");
    for event in recorded {
        text.push_str(&format!("{:<16} {}\n", event.event.kind, event.event.sentence));
    }
    text.push_str("\n# Events that only hooks get\n\n");
    for event in for_hooks() {
        text.push_str(&format!("{:<16} {}\n", event.event.kind, event.event.sentence));
    }
    text.push_str("\n# Why a group came to its owner\n\n");
    for cause in causes() {
        text.push_str(&format!("{}\n", sentences::cause(cause, None, &names)));
    }
    text.push_str("\n# Why a node would, or would not, be next for a group\n\n");
    for standing in standings() {
        text.push_str(&format!("{}\n", sentences::standing(node("lb2"), standing, web(), &names)));
    }
    let minute = Some(Duration::from_secs(60));
    let standing = Standing::Unable(Inability::LinkDown);
    let damped = Candidate { node: node("lb2"), standing, unable_for: minute, damped: minute };
    text.push_str(&format!("{}\n", sentences::candidate(&damped, web(), &names)));
    text.push_str("\n# Why a process does not continue with the state of the one before\n\n");
    for why in [
        Misfit::OtherNode,
        Misfit::Untimely { age: Duration::ZERO },
        Misfit::Untimely { age: Duration::from_secs(3) },
        Misfit::NotConfigured(web()),
        Misfit::Majority(web()),
        Misfit::NotPresent(web()),
    ] {
        text.push_str(&format!("{}\n", restart_in_place::misfit(why, &names)));
    }
    expect("events.txt", &text);
}

#[test]
fn every_refusal_and_error_has_its_golden_sentence() {
    let names = names();
    let order = Order::Move { group: web(), to: node("lb2") };
    let mut text = String::from("# Refused orders: code and sentence\n\n");
    for why in [
        Refusal::UnknownNode,
        Refusal::UnknownGroup,
        Refusal::NobodyOwns,
        Refusal::Unreachable,
        Refusal::ReceiverDown,
        Refusal::ReceiverDraining,
        Refusal::ReceiverIsWitness,
        Refusal::ReceiverUnfit,
        Refusal::ReceiverUnable,
        Refusal::ReceiverDeclined,
        Refusal::Busy,
        Refusal::NotReady,
    ] {
        let (code, sentence) = refusal(why, order, &names);
        text.push_str(&format!("{code:<20} {sentence}\n"));
    }
    text.push_str("\n# Errors of commands: exit status and text\n\n");
    let socket = Path::new("/run/buoy/control.sock");
    let io = |kind| unreachable(socket, IoError::from(kind));
    let refused = Rejected::new("busy", "the reason").refused;
    for error in [
        io(ErrorKind::NotFound),
        io(ErrorKind::ConnectionRefused),
        io(ErrorKind::PermissionDenied),
        io(ErrorKind::Other),
        Error::NoAnswer(socket.to_owned()),
        Error::Lost(socket.to_owned()),
        Error::Refused(refused),
    ] {
        text.push_str(&format!("{} {error}\n", error.exit_code()));
    }
    expect("errors.txt", &text);
}
