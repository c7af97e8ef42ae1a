//! Whether anybody outside the cluster answers.

use std::time::{Duration, Instant};

use buoy::kernel::Settings;
use buoy::protocol::{KernelEvent, Reach};

use crate::fixture::{Fixture, group};
use crate::namespace::{Neighbour, isolated, run, try_run};
use crate::until::PATIENCE;

fn settings(peers: &[&str]) -> Settings {
    let peer_addresses = peers.iter().map(|peer| peer.parse().expect("an address")).collect();
    Settings {
        groups: vec![group("eth0", &["10.77.0.100/32"])],
        peer_addresses,
        fence: None,
        ..Settings::default()
    }
}

/// Makes this host know its neighbour.
fn meet(neighbour: &Neighbour) {
    assert!(neighbour.reaches("10.77.0.1"));
    assert!(neighbour.reaches("fd77::1"));
}

fn ask(fixture: &Fixture) -> Reach {
    fixture.kernel.test_reach();
    let event = fixture.next();
    let KernelEvent::Reach(reach) = event else {
        panic!("{event:?} although nothing else was asked for");
    };
    reach
}

fn until(fixture: &Fixture, wanted: Reach) {
    let begun = Instant::now();
    loop {
        match ask(fixture) {
            reach if reach == wanted => return,
            reach => assert!(begun.elapsed() < PATIENCE, "{reach:?} instead of {wanted:?}"),
        }
    }
}

#[test]
fn a_neighbour_answers_and_a_deaf_host_hears_silence() {
    isolated("reach::a_neighbour_answers_and_a_deaf_host_hears_silence", |neighbour| {
        meet(neighbour);
        let fixture = Fixture::start_with(settings(&[]));
        until(&fixture, Reach::Answered);

        run("nft", "add table inet deaf");
        run("nft", "add chain inet deaf in { type filter hook input priority 0 ; policy drop ; }");
        let begun = Instant::now();
        assert_eq!(ask(&fixture), Reach::Silent);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        run("nft", "delete table inet deaf");
        until(&fixture, Reach::Answered);
        fixture.stop();
    });
}

#[test]
fn peers_are_not_asked_under_any_of_their_addresses() {
    isolated("reach::peers_are_not_asked_under_any_of_their_addresses", |neighbour| {
        meet(neighbour);
        // The neighbour's IPv6 address is not in the list, but its hardware gives it away.
        let fixture = Fixture::start_with(settings(&["10.77.0.9"]));
        assert_eq!(ask(&fixture), Reach::NobodyToAsk);
        fixture.stop();
    });
}

#[test]
fn a_gateway_is_asked_without_being_known() {
    isolated("reach::a_gateway_is_asked_without_being_known", |_| {
        drop(try_run("ip", "neigh flush dev eth0"));
        run("ip", "route add default via 10.77.0.9");
        let fixture = Fixture::start_with(settings(&[]));
        until(&fixture, Reach::Answered);
        fixture.stop();
    });
}

#[test]
fn asking_twice_is_answered_once() {
    isolated("reach::asking_twice_is_answered_once", |_| {
        let fixture = Fixture::start_with(settings(&["10.77.0.9"]));
        run("ip", "route add default via 10.77.0.8");
        fixture.kernel.test_reach();
        fixture.kernel.test_reach();
        assert_eq!(fixture.next(), KernelEvent::Reach(Reach::NobodyToAsk));
        assert_eq!(fixture.next_within(Duration::from_millis(200)), None);
        fixture.stop();
    });
}

#[test]
fn a_reload_tells_whom_not_to_ask() {
    isolated("reach::a_reload_tells_whom_not_to_ask", |neighbour| {
        meet(neighbour);
        let fixture = Fixture::start_with(settings(&[]));
        until(&fixture, Reach::Answered);
        let Settings { groups, peer_addresses, .. } = settings(&["10.77.0.9"]);
        fixture.kernel.reconfigure(groups.clone(), peer_addresses);
        assert_eq!(ask(&fixture), Reach::NobodyToAsk, "its IPv6 address is not asked either");
        fixture.kernel.reconfigure(groups, Vec::new());
        until(&fixture, Reach::Answered);
        fixture.stop();
    });
}
