//! Client and server over a real socket: every command, waited for and not.

use std::io::{self, ErrorKind, Write};
use std::sync::mpsc;
use std::time::{Duration, UNIX_EPOCH};

use super::client::{self, Command, Error};
use super::fake_daemon::{DEADLINE, FakeDaemon, now};
use super::fixture::{self, group, node};
use super::response::{Explanation, Status};
use super::selection::Selection;
use super::terms::Terms;
use super::wait::{self, Goal, Patience};
use crate::protocol::{Candidate, Cause, Order, Refusal, Remover, Report, Standing};

const GROUP: &str = "10.77.0.100";

fn drain(node: &str, wait: bool) -> Command {
    Command::Drain { node: Some(node.to_owned()), wait, now: false, terms: Terms::default() }
}

fn move_group(node: &str, wait: bool) -> Command {
    Command::Move { group: GROUP.to_owned(), node: node.to_owned(), wait }
}

fn all_events() -> Command {
    Command::Events { since: None, group: None, follow: false }
}

#[test]
fn a_selected_status_has_what_was_asked_for() {
    let daemon = FakeDaemon::start();
    let of = |node: &str| {
        Command::Status(Selection { node: Some(node.to_owned()), ..Selection::default() })
    };
    let (json, result) = daemon.run(&of("lb1"), true);
    result.unwrap();
    let status: Status = serde_json::from_str(&json).unwrap();
    let nodes: Vec<&str> = status.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(nodes, ["lb1"]);
    assert!(status.groups.iter().all(|group| group.owner.as_deref() == Some("lb1")));
    let (text, result) = daemon.run(&of("lb1"), false);
    result.unwrap();
    assert!(text.contains("10.77.0.100") && !text.contains("lb2 "), "{text}");
    let (json, result) = daemon.run(&of("x"), true);
    assert_eq!(result.unwrap_err().exit_code(), 5);
    assert!(json.starts_with(r#"{"refused":{"code":"unknown_node""#), "{json}");
}

#[test]
fn status_is_the_published_json_and_a_table() {
    let daemon = FakeDaemon::start();
    let (json, result) = daemon.run(&Command::Status(Selection::default()), true);
    assert!(result.is_ok(), "{result:?}");
    let status: Status = serde_json::from_str(&json).unwrap();
    assert_eq!((status.schema, status.cluster.as_str(), status.node.as_str()), (1, "edge", "lb1"));
    assert_eq!(status.groups[0].owner.as_deref(), Some("lb1"));
    assert_eq!(json.lines().count(), 1, "one line of JSON");
    let (text, result) = daemon.run(&Command::Status(Selection::default()), false);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(text, super::render::status(&status));
}

#[test]
fn explain_answers_by_name_and_by_address() {
    let daemon = FakeDaemon::start();
    for name in [GROUP, "web/10.77.0.100"] {
        let (json, result) = daemon.run(&Command::Explain { group: name.to_owned() }, true);
        assert!(result.is_ok(), "{name}: {result:?}");
        let told: Explanation = serde_json::from_str(&json).unwrap();
        assert_eq!(told.line[0].node, "lb2");
    }
    let (out, result) = daemon.run(&Command::Explain { group: "api".to_owned() }, true);
    let Err(Error::Refused(refused)) = result else { panic!("{result:?}") };
    assert_eq!(refused.code, "unknown_group");
    assert!(out.starts_with(r#"{"refused":{"code":"unknown_group","#), "{out}");
}

#[test]
fn drain_without_a_node_means_the_asked_one() {
    let daemon = FakeDaemon::start();
    let here = Command::Drain { node: None, wait: false, now: false, terms: Terms::default() };
    let (text, result) = daemon.run(&here, false);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        text,
        "lb1 is draining: its groups move away and stay away until 'buoy undrain lb1'\n"
    );
    let (json, result) = daemon.run(&Command::Undrain { node: None }, true);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        json,
        "{\"schema\":1,\"done\":\"undrain\",\"node\":\"lb1\",\"pool\":null,\"group\":null}\n"
    );
    let orders = daemon.world.lock().unwrap().orders.clone();
    assert_eq!(orders, [Order::Drain(node("lb1")), Order::Undrain(node("lb1"))]);
}

#[test]
fn drain_waits_until_the_node_has_nothing_and_shows_progress() {
    let daemon = FakeDaemon::start();
    for one in &mut daemon.world.lock().unwrap().status.groups {
        one.owner = Some(node("lb2"));
    }
    let (text, result) = daemon.run(&drain("lb2", true), false);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        text,
        concat!(
            "lb2 still has 2 groups\n",
            "lb2 still has 1 group\n",
            "lb2 is drained: it owns no groups until 'buoy undrain lb2'\n",
        )
    );
    let world = daemon.world.lock().unwrap();
    assert!(world.status.groups.iter().all(|one| one.owner == Some(node("lb1"))));
}

#[test]
fn drain_that_is_waited_for_says_one_line_of_json() {
    let daemon = FakeDaemon::start();
    let (json, result) = daemon.run(&drain("lb2", true), true);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        json,
        "{\"schema\":1,\"done\":\"drain\",\"node\":\"lb2\",\"pool\":null,\"group\":null}\n"
    );
}

const IMPATIENT: Patience = Patience { every_ms: 1, doubt: 2, despair: 6 };

#[test]
fn a_drain_with_nowhere_to_go_tells_which_groups_stay_and_why() {
    let daemon = FakeDaemon::start();
    {
        let mut world = daemon.world.lock().unwrap();
        world.receiver = None;
        world.explanation.group = fixture::owned("10.77.0.101", "lb2", Cause::FirstClaim);
        let (node, standing) = (node("lb1"), Standing::Draining);
        world.explanation.candidates =
            vec![Candidate { node, standing, unable_for: None, damped: None }];
    }
    let (_, result) = daemon.run(&drain("lb2", false), false);
    assert!(result.is_ok(), "{result:?}");
    let goal = Goal::Drained { node: "lb2".to_owned() };
    let error = wait::until(&daemon.socket, &goal, IMPATIENT, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert_eq!(
        error.to_string(),
        concat!(
            "lb2 still has 1 group and keeps draining (cancel with 'buoy undrain lb2'):\n",
            "  10.77.0.101 is on lb2 (no node had claimed it); ",
            "lb1: draining (operator request)",
        )
    );
}

#[test]
fn a_drain_with_hope_waits_longer_but_not_for_ever() {
    let daemon = FakeDaemon::start();
    daemon.world.lock().unwrap().receiver = None;
    let (_, result) = daemon.run(&drain("lb2", false), false);
    assert!(result.is_ok(), "{result:?}");
    let goal = Goal::Drained { node: "lb2".to_owned() };
    // The explanation of the fixture has an heir, so only despair ends this.
    let patience = Patience { despair: u32::MAX, ..IMPATIENT };
    let (progress, seen) = mpsc::channel();
    let socket = daemon.socket.clone();
    let (waited, ended) = (goal.clone(), progress.clone());
    let waiting = std::thread::spawn(move || {
        let result = wait::until(&socket, &waited, patience, &mut |text| {
            progress.send(text.to_owned()).expect("the test listens");
            Ok(())
        });
        ended.send(format!("{result:?}")).expect("the test listens");
    });
    assert_eq!(seen.recv_timeout(DEADLINE).unwrap(), "lb2 still has 1 group\n");
    let error = wait::until(&daemon.socket, &goal, IMPATIENT, &mut |_| Ok(())).unwrap_err();
    assert!(matches!(error, Error::Stuck { .. }), "{error:?}");
    assert!(seen.try_recv().is_err(), "the patient one gave up");
    daemon.world.lock().unwrap().receiver = Some(node("lb1"));
    assert_eq!(seen.recv_timeout(DEADLINE).unwrap(), "Ok(())");
    waiting.join().unwrap();
}

#[test]
fn move_waits_until_the_group_is_there() {
    let daemon = FakeDaemon::start();
    daemon.world.lock().unwrap().receiver = Some(node("lb2"));
    let (text, result) = daemon.run(&move_group("lb2", true), false);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(text, "10.77.0.100 is on lb2\n");
    let orders = daemon.world.lock().unwrap().orders.clone();
    assert_eq!(orders, [Order::Move { group: group(GROUP), to: node("lb2") }]);
}

#[test]
fn a_move_that_stays_away_is_an_error_with_the_owners_reason() {
    let daemon = FakeDaemon::start();
    let goal =
        Goal::At { pool: Some("web".to_owned()), group: GROUP.to_owned(), node: "lb2".to_owned() };
    let error = wait::until(&daemon.socket, &goal, IMPATIENT, &mut |_| Ok(())).unwrap_err();
    assert_eq!(
        error.to_string(),
        concat!(
            "10.77.0.100 did not move to lb2:\n  10.77.0.100 is on lb1 (lb3 fell silent); ",
            "lb2: first heir in the owner's claim; lb3: never heard",
        )
    );
}

#[test]
fn refusals_of_the_protocol_reach_the_operator_with_their_remedy() {
    let daemon = FakeDaemon::start();
    daemon.world.lock().unwrap().outcome = Err(Refusal::ReceiverDraining);
    let (out, result) = daemon.run(&move_group("lb2", true), false);
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert_eq!(
        error.to_string(),
        "refused: lb2 is draining or leaving; run 'buoy undrain lb2' first"
    );
    assert!(out.is_empty(), "{out}");
    let (_, result) = daemon.run(&drain("lb9", true), false);
    assert_eq!(
        result.unwrap_err().to_string(),
        "refused: the configuration has no node 'lb9'; its nodes are lb1, lb2, lb3"
    );
}

#[test]
fn reload_prints_the_difference_or_all_faults() {
    let daemon = FakeDaemon::start();
    let (text, result) = daemon.run(&Command::Reload, false);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(text, "pool web: group 10.77.0.103 added\n");
    daemon.world.lock().unwrap().reload = Ok(Vec::new());
    let (json, result) = daemon.run(&Command::Reload, true);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(json, "{\"schema\":1,\"applied\":[]}\n");
    daemon.world.lock().unwrap().reload = Err(vec!["line 3: unknown key".to_owned()]);
    let (_, result) = daemon.run(&Command::Reload, false);
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert!(error.to_string().ends_with("\n  line 3: unknown key"), "{error}");
}

fn record_two(daemon: &FakeDaemon) {
    let start = UNIX_EPOCH + Duration::from_secs(1_709_210_096);
    daemon.recorder.record(start, &Report::PeerRestarted { peer: node("lb3") });
    let repaired = Report::Repaired { group: group(GROUP), remover: Remover::Somebody, times: 1 };
    daemon.recorder.record(now() - Duration::from_secs(5), &repaired);
}

#[test]
fn events_are_filtered_by_time_and_group() {
    let daemon = FakeDaemon::start();
    let (none, result) = daemon.run(&all_events(), false);
    assert!(result.is_ok() && none.is_empty(), "{result:?} {none}");
    record_two(&daemon);
    let (text, result) = daemon.run(&all_events(), false);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        text,
        concat!(
            "2024-02-29T12:34:56.000Z  peer_restarted  lb3 restarted\n",
            "2024-02-29T13:34:51.000Z  repaired        another program removed an address of ",
            "10.77.0.100 on lb1; buoy restored it (1 in the last minute)\n",
        )
    );
    let kinds = |since, group: Option<&str>| {
        let group = group.map(str::to_owned);
        let (json, result) = daemon.run(&Command::Events { since, group, follow: false }, true);
        assert!(result.is_ok(), "{result:?}");
        let kind = |line| serde_json::from_str::<super::response::Event>(line).unwrap().kind;
        json.lines().map(kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(Some(Duration::from_secs(600)), None), ["repaired"]);
    assert_eq!(kinds(None, Some(GROUP)), ["repaired"]);
    assert_eq!(kinds(Some(Duration::from_secs(4)), None), [""; 0]);
    assert_eq!(kinds(Some(Duration::MAX), None), ["peer_restarted", "repaired"]);
    let unknown = Some("api".to_owned());
    let (_, result) =
        daemon.run(&Command::Events { since: None, group: unknown, follow: false }, false);
    assert_eq!(result.unwrap_err().exit_code(), 5);
}

/// Hands each write to the test.
struct Lines(mpsc::Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        self.0.send(text).map_err(|_| io::Error::from(ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn following_shows_what_was_and_what_comes_until_the_daemon_ends() {
    let mut daemon = FakeDaemon::start();
    record_two(&daemon);
    let (sender, lines) = mpsc::channel();
    let socket = daemon.socket.clone();
    let following = std::thread::spawn(move || {
        let command = Command::Events { since: None, group: None, follow: true };
        client::run(&command, &socket, false, &mut Lines(sender))
    });
    let next = || lines.recv_timeout(DEADLINE).expect("an event before the deadline");
    assert!(next().contains("lb3 restarted"));
    assert!(next().contains("buoy restored it"));
    daemon.recorder.record(now(), &Report::Draining { on: true });
    assert!(next().contains("lb1 is draining"));
    daemon.stop();
    let error = following.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::Lost(_)), "{error:?}");
    assert_eq!(error.exit_code(), 4);
}

#[test]
fn a_reader_of_our_output_that_goes_away_is_no_error() {
    let daemon = FakeDaemon::start();
    record_two(&daemon);
    let (sender, lines) = mpsc::channel();
    drop(lines);
    for command in [Command::Status(Selection::default()), all_events()] {
        let result = client::run(&command, &daemon.socket, false, &mut Lines(sender.clone()));
        assert!(result.is_ok(), "{command:?}: {result:?}");
    }
}
