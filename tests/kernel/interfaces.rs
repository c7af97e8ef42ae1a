//! Links go down, vanish and come back.

use buoy::protocol::{Failure, KernelEvent, Remover, Ticket};

use crate::fixture::{Fixture, group, key};
use crate::namespace::{ip, isolated};
use crate::until::until;

const ADDRESSES: [&str; 2] = ["10.77.0.100/32", "fd77::100/128"];

fn held() -> Fixture {
    let fixture = Fixture::start(vec![group("eth0", &ADDRESSES)]);
    let group = key("10.77.0.100");
    fixture.kernel.acquire(group, Ticket(1));
    assert_eq!(fixture.next(), KernelEvent::Present { group, ticket: Ticket(1) });
    fixture
}

fn usable(usable: bool) -> KernelEvent {
    KernelEvent::Usable { group: key("10.77.0.100"), usable }
}

fn repaired() -> KernelEvent {
    KernelEvent::Repaired { group: key("10.77.0.100"), remover: Remover::Somebody }
}

fn assert_all_there() {
    let shown = ip("addr show dev eth0");
    assert!(ADDRESSES.iter().all(|address| shown.contains(address)), "{shown}");
}

#[test]
fn a_link_that_was_down_gets_back_what_it_lost() {
    isolated("interfaces::a_link_that_was_down_gets_back_what_it_lost", |_| {
        let fixture = held();
        ip("link set eth0 down");
        assert_eq!(fixture.next(), usable(false));
        assert!(!ip("addr show dev eth0").contains("fd77::100"));
        ip("link set eth0 up");
        assert_eq!(fixture.next(), usable(true));
        assert_eq!(fixture.next(), repaired());
        assert_all_there();
        fixture.stop();
    });
}

#[test]
fn a_pulled_cable_is_told() {
    isolated("interfaces::a_pulled_cable_is_told", |neighbour| {
        let fixture = held();
        neighbour.ip("link set eth0 down");
        assert_eq!(fixture.next(), usable(false));
        fixture.kernel.announce(key("10.77.0.100"));
        neighbour.ip("link set eth0 up");
        assert_eq!(fixture.next(), usable(true));
        assert_eq!(fixture.kernel.counters().announcements_ignored.value(), 1);
        fixture.stop();
    });
}

#[test]
fn a_port_of_a_bridge_is_not_usable() {
    isolated("interfaces::a_port_of_a_bridge_is_not_usable", |_| {
        let fixture = held();
        ip("link add br0 type bridge");
        ip("link set eth0 master br0");
        assert_eq!(fixture.next(), usable(false));
        ip("link set eth0 nomaster");
        assert_eq!(fixture.next(), usable(true));
        fixture.stop();
    });
}

#[test]
fn a_link_made_again_under_its_name_gets_everything() {
    isolated("interfaces::a_link_made_again_under_its_name_gets_everything", |_| {
        let fixture = held();
        ip("link del eth0");
        assert_eq!(fixture.next(), usable(false));
        ip("link add eth0 type veth peer name far0");
        ip("link set far0 up");
        ip("link set eth0 up");
        assert_eq!(fixture.next(), usable(true));
        assert_eq!(fixture.next(), repaired());
        assert_all_there();
        fixture.kernel.announce(key("10.77.0.100"));
        fixture.kernel.release(key("10.77.0.100"), Ticket(2));
        let absent = KernelEvent::Absent { group: key("10.77.0.100"), ticket: Ticket(2) };
        assert_eq!(fixture.next(), absent);
        let counters = fixture.kernel.counters();
        assert_eq!(counters.announcements.value(), 2);
        assert_eq!(counters.announcement_errors.value(), 0);
        fixture.stop();
    });
}

/// The file names no interface: the network decides, whatever its link is called.
#[test]
fn a_renamed_link_goes_on_with_what_it_has() {
    isolated("interfaces::a_renamed_link_goes_on_with_what_it_has", |_| {
        let fixture = Fixture::start(vec![group("", &ADDRESSES)]);
        let group = key("10.77.0.100");
        fixture.kernel.acquire(group, Ticket(1));
        assert_eq!(fixture.next(), KernelEvent::Present { group, ticket: Ticket(1) });
        ip("link set eth0 name wan0");
        ip("addr del 10.77.0.100/32 dev wan0");
        // The name was no event, and what is put back goes to the link that has another by now.
        assert_eq!(fixture.next(), repaired());
        let shown = ip("addr show dev wan0");
        assert!(ADDRESSES.iter().all(|address| shown.contains(address)), "{shown}");
        fixture.stop();
    });
}

/// The file names the interface: what is on the link that is not called so any more goes.
#[test]
fn a_link_that_is_renamed_away_is_told_and_comes_back() {
    isolated("interfaces::a_link_that_is_renamed_away_is_told_and_comes_back", |_| {
        let fixture = held();
        ip("link set eth0 name wan0");
        assert_eq!(fixture.next(), usable(false));
        ip("link set wan0 name eth0");
        assert_eq!(fixture.next(), usable(true));
        until("everything is there", || {
            let shown = ip("addr show dev eth0");
            ADDRESSES.iter().all(|address| shown.contains(address))
        });
        fixture.stop();
    });
}

#[test]
fn a_link_that_vanished_can_be_let_go() {
    isolated("interfaces::a_link_that_vanished_can_be_let_go", |_| {
        let group = key("10.77.0.100");
        let fixture = held();
        ip("link del eth0");
        assert_eq!(fixture.next(), usable(false));
        fixture.kernel.release(group, Ticket(2));
        assert_eq!(fixture.next(), KernelEvent::Absent { group, ticket: Ticket(2) });
        fixture.kernel.acquire(group, Ticket(3));
        let failure = Failure::NoInterface;
        assert_eq!(fixture.next(), KernelEvent::Failed { group, ticket: Ticket(3), failure });
        fixture.stop();
    });
}

#[test]
fn a_link_that_is_down_at_first_is_told_at_once() {
    isolated("interfaces::a_link_that_is_down_at_first_is_told_at_once", |_| {
        ip("link set eth0 down");
        let fixture =
            Fixture::start(vec![group("eth0", &ADDRESSES), group("eth7", &["10.77.0.101/32"])]);
        let told = [fixture.next(), fixture.next()];
        assert!(told.contains(&usable(false)), "{told:?}");
        let missing = KernelEvent::Usable { group: key("10.77.0.101"), usable: false };
        assert!(told.contains(&missing), "{told:?}");
        fixture.stop();
    });
}
