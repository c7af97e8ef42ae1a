//! Orders that stand, orders on terms, and readiness, over a real socket.

use std::time::Duration;

use super::client::{Command, Error};
use super::fake_daemon::FakeDaemon;
use super::fixture::node;
use super::giver;
use super::ready::Readiness;
use super::response::Event;
use super::terms::Terms;
use crate::protocol::{Fitness, Lasting, Order, SpareTerms, StandingChange, Text};

fn drain(name: &str, terms: Terms) -> Command {
    Command::Drain { node: Some(name.to_owned()), wait: false, now: false, terms }
}

fn changes(daemon: &FakeDaemon) -> Vec<StandingChange> {
    daemon.world.lock().unwrap().changes.clone()
}

/// The user that runs the test.
fn me() -> String {
    giver::name(nix::unistd::getuid().as_raw())
}

fn given(what: Lasting, reason: &str, persists: bool, seconds: u64) -> StandingChange {
    let (by, reason) = (Text::cut(&me()), Text::cut(reason));
    StandingChange::Give { what, by, reason, persists, lasts: Some(Duration::from_secs(seconds)) }
}

#[test]
fn a_drain_that_leaves_too_little_is_refused_and_changes_nothing() {
    let daemon = FakeDaemon::start();
    for (spare, reason) in [
        (SpareTerms { alone: true, keep: None }, "lb1 stays: lb2 is drained already"),
        (SpareTerms { alone: false, keep: Some(50) }, "lb1 stays: no other node is in service"),
    ] {
        let (_, result) = daemon.run(&drain("lb1", Terms { spare, ..Terms::default() }), false);
        let Err(error @ Error::Refused(_)) = &result else { panic!("{result:?}") };
        assert_eq!((error.exit_code(), error.code()), (5, "not_safe"));
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert_eq!(daemon.world.lock().unwrap().orders, []);
    assert_eq!(changes(&daemon), []);
    for one in &mut daemon.world.lock().unwrap().status.nodes {
        (one.draining, one.unfit) = (false, Vec::new());
    }
    let keep = Terms { spare: SpareTerms { alone: false, keep: Some(66) }, ..Terms::default() };
    let (_, result) = daemon.run(&drain("lb1", keep), false);
    assert!(result.is_ok(), "lb2 has two thirds of the weight: {result:?}");
    assert_eq!(daemon.world.lock().unwrap().orders, [Order::Drain(node("lb1"))]);
}

#[test]
fn every_node_hears_who_drains_why_and_for_how_long() {
    let daemon = FakeDaemon::start();
    let terms = Terms {
        reason: Some("broken fan".to_owned()),
        persist: true,
        lasts: Some(Duration::from_secs(90)),
        ..Terms::default()
    };
    let (_, result) = daemon.run(&drain("lb2", terms), false);
    assert!(result.is_ok(), "{result:?}");
    let what = Lasting::Drain(node("lb2"));
    assert_eq!(changes(&daemon), [given(what, "broken fan", true, 90)]);
    let (_, result) = daemon.run(&Command::Undrain { node: Some("lb2".to_owned()) }, false);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(changes(&daemon)[1..], [StandingChange::End(what)]);
}

#[test]
fn a_hold_ends_by_itself_or_is_ended_and_the_giver_is_told() {
    let daemon = FakeDaemon::start();
    let (text, result) = daemon.run(&Command::Hold { terms: Terms::default() }, false);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        text,
        "nothing moves for balance or fail-back until 'buoy release', or until the time is up; \
         see 'buoy status'\n"
    );
    let (json, result) = daemon.run(&Command::Release, true);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        json,
        "{\"schema\":1,\"done\":\"release\",\"node\":\"lb1\",\"pool\":null,\"group\":null}\n"
    );
    let wanted = [given(Lasting::Hold, "", false, 7200), StandingChange::End(Lasting::Hold)];
    assert_eq!(changes(&daemon), wanted);
    let (json, result) =
        daemon.run(&Command::Events { since: None, group: None, follow: false }, true);
    assert!(result.is_ok(), "{result:?}");
    let events: Vec<Event> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = events.iter().map(|it| (it.kind.as_str(), it.sentence.clone())).collect();
    assert_eq!(told, [("ordered", format!("{} ended the hold", me()))]);
}

#[test]
fn ready_is_who_has_been_so_for_the_time_and_why_not_is_told() {
    let daemon = FakeDaemon::start();
    let wanted = |node: &str, soak, within| {
        let [soak, within] = [soak, within].map(Duration::from_millis);
        Command::Ready(Readiness { node: node.to_owned(), soak, within })
    };
    let (text, result) = daemon.run(&wanted("lb2", 0, 200), false);
    let Err(error) = result else { panic!("{text}") };
    assert_eq!((error.exit_code(), error.code()), (1, "stuck"));
    let reason = "its configuration differs from that of lb1";
    assert_eq!(error.details(), [reason]);
    assert_eq!(text, format!("lb2 is not ready: {reason}\n"));
    {
        let mut world = daemon.world.lock().unwrap();
        for one in &mut world.status.nodes {
            one.config_differs = false;
            one.unfit.retain(|(_, fitness)| *fitness != Fitness::Unfit);
        }
    }
    let (text, result) = daemon.run(&wanted("lb2", 300, 20_000), false);
    assert!(result.is_ok(), "{text}: {result:?}");
    // The first status may be one that was kept from before.
    assert!(text.ends_with("lb2 is ready, for 300ms at least\nlb2 is ready\n"), "{text}");
    let (json, result) = daemon.run(&wanted("lb2", 0, 20_000), true);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        json,
        "{\"schema\":1,\"done\":\"ready\",\"node\":\"lb2\",\"pool\":null,\"group\":null}\n"
    );
}

#[test]
fn an_order_is_taken_back_by_who_gave_it() {
    let daemon = FakeDaemon::start();
    let (_, result) = daemon.run(&Command::Undo, false);
    let Err(error @ Error::Refused(_)) = &result else { panic!("{result:?}") };
    assert_eq!((error.exit_code(), error.code()), (5, "nothing_to_undo"));
    for one in &mut daemon.world.lock().unwrap().status.nodes {
        one.draining = false;
    }
    let had: Vec<_> = {
        let mut world = daemon.world.lock().unwrap();
        world.receiver = Some(node("lb1"));
        let groups = world.status.groups.iter().filter(|one| one.owner == Some(node("lb1")));
        groups.map(|one| one.group).collect()
    };
    assert!(!had.is_empty());
    daemon.run(&drain("lb1", Terms::default()), false).1.unwrap();
    // They are elsewhere by the time that it is taken back.
    for one in &mut daemon.world.lock().unwrap().status.groups {
        if had.contains(&one.group) {
            one.owner = Some(node("lb2"));
        }
    }
    let (text, result) = daemon.run(&Command::Undo, false);
    result.unwrap();
    assert_eq!(text, "undone: lb1 may own groups again\n");
    let orders = daemon.world.lock().unwrap().orders.clone();
    assert_eq!(orders[..2], [Order::Drain(node("lb1")), Order::Undrain(node("lb1"))]);
    let back = had.iter().map(|group| Order::Move { group: *group, to: node("lb1") });
    assert_eq!(orders[2..], back.collect::<Vec<_>>());
    assert!(daemon.run(&Command::Undo, false).1.is_err(), "it is taken back once");
}
