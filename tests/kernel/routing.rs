//! Routes and rules of a group: added after its addresses, removed before them, put back.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use buoy::kernel::{GroupAddresses, Settings};
use buoy::protocol::{Failure, KernelEvent, Ticket};
use buoy::routing::{Device, METRIC_V6, Network, Route, RouteKind, Routing, Rule};

use crate::fixture::{Fixture, group, key};
use crate::namespace::{alone, ip, isolated};
use crate::until::until;

const ADDRESSES: [&str; 2] = ["10.77.0.100/32", "fd77::100/128"];
/// Between order and answer of 1000 routes and as many rules, of which each family has a half;
/// 57 ms were measured on a busy machine.
const THOUSAND_MAX: Duration = Duration::from_millis(500);

fn network(text: &str) -> Network {
    let (address, prefix) = text.split_once('/').expect("written with a prefix");
    let (address, prefix) = (address.parse().expect("an address"), prefix.parse());
    Network { address, prefix: prefix.expect("a prefix") }
}

/// A route to the neighbour.
fn route(to: &str) -> Route {
    let to = network(to);
    let v4 = to.address.is_ipv4();
    let (via, source) = if v4 { ("10.77.0.9", "10.77.0.100") } else { ("fd77::9", "fd77::100") };
    let (via, source): (IpAddr, IpAddr) =
        (via.parse().expect("an address"), source.parse().expect("an address"));
    Route {
        to,
        kind: RouteKind::Unicast,
        via: Some(via),
        dev: Some(Device::Everywhere("eth*".to_owned())),
        onlink: false,
        source: Some(source),
        table: 100,
        metric: if v4 { 50 } else { METRIC_V6 },
    }
}

fn rule(priority: u32, from: &str) -> Rule {
    let from = network(from);
    let any: IpAddr = if from.address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let to = Network { address: any, prefix: 0 };
    Rule { priority, from, to, iif: None, oif: None, fwmark: None, table: 100 }
}

fn routed(routes: Vec<Route>, rules: Vec<Rule>) -> GroupAddresses {
    GroupAddresses { routing: Routing { routes, rules }, ..group("eth0", &ADDRESSES) }
}

fn both_families() -> GroupAddresses {
    let blackhole = Route {
        kind: RouteKind::Blackhole,
        via: None,
        dev: None,
        source: None,
        ..route("10.9.0.0/16")
    };
    routed(
        vec![route("10.8.0.0/16"), route("::/0"), blackhole],
        vec![rule(1000, "10.77.0.100/32"), rule(1000, "fd77::100/128")],
    )
}

/// Everything of the group that `ip` shows, one a line.
fn shown() -> String {
    let all = ["-4 route", "-6 route"].map(|family| {
        let (kind, table) = (family, "show table all");
        let text = ip(&format!("{kind} {table}"));
        text.lines().filter(|line| line.contains("table 100")).collect::<Vec<_>>().join("\n")
    });
    let rules = ["-4 rule", "-6 rule"].map(|family| {
        let text = ip(&format!("{family} show"));
        text.lines().filter(|line| line.contains("lookup 100")).collect::<Vec<_>>().join("\n")
    });
    [all, rules].concat().join("\n")
}

fn is_whole() -> bool {
    let shown = shown();
    let parts = ["10.8.0.0/16 via 10.77.0.9", "default via fd77::9", "blackhole 10.9.0.0/16"];
    let rules = ["from 10.77.0.100 lookup", "from fd77::100 lookup"];
    parts.iter().chain(&rules).all(|part| shown.contains(part))
}

fn is_empty() -> bool {
    shown().trim().is_empty()
}

fn acquired(fixture: &Fixture, ticket: u64) {
    let group = key("10.77.0.100");
    fixture.kernel.acquire(group, Ticket(ticket));
    assert_eq!(fixture.next(), KernelEvent::Present { group, ticket: Ticket(ticket) });
}

#[test]
fn routes_and_rules_come_and_go_with_their_group() {
    isolated("routing::routes_and_rules_come_and_go_with_their_group", |_| {
        ip("route add 10.8.0.0/16 via 10.77.0.9 table 100 metric 51");
        let fixture = Fixture::start(vec![both_families()]);
        assert!(!is_whole(), "nothing is here before the group");
        acquired(&fixture, 1);
        assert!(is_whole(), "present only with all of it: {}", shown());
        let group = key("10.77.0.100");
        fixture.kernel.release(group, Ticket(2));
        assert_eq!(fixture.next(), KernelEvent::Absent { group, ticket: Ticket(2) });
        assert!(shown().trim().ends_with("metric 51"), "only that of the host: {}", shown());
        acquired(&fixture, 3);
        assert!(is_whole(), "{}", shown());
        fixture.stop();
        assert!(shown().trim().ends_with("metric 51"), "{}", shown());
    });
}

#[test]
fn what_somebody_flushes_is_put_back_and_the_group_stays() {
    isolated("routing::what_somebody_flushes_is_put_back_and_the_group_stays", |_| {
        let fixture = Fixture::start(vec![both_families()]);
        acquired(&fixture, 1);
        for flush in [
            "route flush table 100",
            "-6 route flush table 100",
            "rule del priority 1000",
            "-6 rule del priority 1000",
        ] {
            ip(flush);
            until("it is back", is_whole);
        }
        assert_eq!(fixture.next_within(Duration::from_millis(100)), None, "the group is as it was");
        assert!(fixture.kernel.missing_routes().is_empty());
        // Routes go with their link, of which the kernel does not tell for each.
        ip("link set eth0 down");
        ip("link set eth0 up");
        ip("addr replace fd77::1/64 dev eth0 nodad");
        until("it is back with the link", is_whole);
        fixture.stop();
        assert!(is_empty(), "{}", shown());
    });
}

#[test]
fn a_route_that_cannot_be_added_fails_the_group_and_is_named() {
    isolated("routing::a_route_that_cannot_be_added_fails_the_group_and_is_named", |_| {
        let group = key("10.77.0.100");
        let unreachable = Route {
            via: Some([203, 0, 113, 1].into()),
            dev: None,
            source: None,
            ..route("10.8.0.0/16")
        };
        let missing =
            Route { dev: Some(Device::Everywhere("eth9".to_owned())), ..route("10.8.0.0/16") };
        let table = [
            (unreachable, "no network of this host has the gateway 203.0.113.1"),
            (missing, "no interface eth9"),
        ];
        for (wrong, why) in table {
            let groups = vec![routed(vec![route("::/0"), wrong], vec![rule(9, "10.77.0.100/32")])];
            let fixture = Fixture::start(groups);
            fixture.kernel.acquire(group, Ticket(1));
            let failure = Failure::Route;
            assert_eq!(fixture.next(), KernelEvent::Failed { group, ticket: Ticket(1), failure });
            assert!(is_empty(), "the others went with it: {}", shown());
            assert!(!ip("addr show dev eth0").contains("10.77.0.100"), "and the addresses");
            let lacking = fixture.kernel.missing_routes();
            let [lacking] = lacking[&group].as_slice() else { panic!("{lacking:?}") };
            assert!(lacking.what.starts_with("10.8.0.0/16"), "{lacking:?}");
            assert!(lacking.why.contains(why), "{lacking:?}");
            fixture.stop();
        }
    });
}

#[test]
fn a_route_of_somebody_else_is_left_alone() {
    isolated("routing::a_route_of_somebody_else_is_left_alone", |_| {
        let group = key("10.77.0.100");
        ip("route add 10.8.0.0/16 via 10.77.0.9 table 100 metric 50");
        let fixture = Fixture::start(vec![both_families()]);
        fixture.kernel.acquire(group, Ticket(1));
        let failure = Failure::Route;
        assert_eq!(fixture.next(), KernelEvent::Failed { group, ticket: Ticket(1), failure });
        let lacking = fixture.kernel.missing_routes();
        assert!(lacking[&group][0].why.contains("another route"), "{lacking:?}");
        assert!(shown().contains("10.8.0.0/16 via 10.77.0.9"), "{}", shown());
        ip("route del 10.8.0.0/16 table 100 metric 50");
        acquired(&fixture, 2);
        assert!(fixture.kernel.missing_routes().is_empty());
        fixture.stop();
    });
}

#[test]
fn a_held_group_that_loses_a_route_for_good_fails() {
    isolated("routing::a_held_group_that_loses_a_route_for_good_fails", |_| {
        let group = key("10.77.0.100");
        ip("link add tail type veth peer name other");
        ip("link set tail up");
        ip("link set other up");
        ip("addr add 10.88.0.1/24 dev tail");
        let behind = Route {
            via: Some([10, 88, 0, 9].into()),
            dev: Some(Device::Everywhere("tail".to_owned())),
            ..route("10.8.0.0/16")
        };
        let fixture = Fixture::start(vec![routed(vec![behind], Vec::new())]);
        acquired(&fixture, 1);
        ip("link set tail down");
        let failure = Failure::Route;
        assert_eq!(fixture.next(), KernelEvent::Failed { group, ticket: Ticket(1), failure });
        let lacking = fixture.kernel.missing_routes();
        assert!(lacking[&group][0].why.contains("bring it up"), "{lacking:?}");
        fixture.stop();
    });
}

#[test]
fn other_routes_are_applied_without_touching_addresses() {
    isolated("routing::other_routes_are_applied_without_touching_addresses", |_| {
        let fixture = Fixture::start(vec![both_families()]);
        acquired(&fixture, 1);
        let mut monitor = std::process::Command::new("ip")
            .args(["monitor", "address"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("these tests need `ip`");
        let moved = Route { table: 100, metric: 60, ..route("10.8.0.0/16") };
        let rules = vec![rule(1001, "10.77.0.100/32")];
        let changed = routed(vec![moved, route("::/0")], rules);
        fixture.kernel.reconfigure(vec![changed], Vec::new());
        until("the difference is applied", || {
            let shown = shown();
            let there = ["metric 60", "default via fd77::9", "1001:"];
            let gone = ["metric 50", "blackhole", "1000:"];
            there.iter().all(|it| shown.contains(it)) && !gone.iter().any(|it| shown.contains(it))
        });
        fixture.kernel.reconfigure(vec![group("eth0", &ADDRESSES)], Vec::new());
        until("all are removed", is_empty);
        assert_eq!(fixture.next_within(Duration::from_millis(100)), None, "nothing else");
        monitor.kill().expect("it runs");
        let output = monitor.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "no address was touched");
        fixture.stop();
    });
}

#[test]
fn what_a_dead_daemon_left_is_removed_at_start_and_by_the_guardian() {
    isolated("routing::what_a_dead_daemon_left_is_removed_at_start_and_by_the_guardian", |_| {
        let fixture = Fixture::start(vec![both_families()]);
        acquired(&fixture, 1);
        // As the process that dies does: everything stays.
        fixture.kernel.leave();
        fixture.kernel.join();
        assert!(is_whole(), "{}", shown());
        let mark = buoy::kernel::Mark::default();
        assert_eq!(buoy::kernel::remove_leftovers(mark).expect("the kernel answers"), 0);
        assert!(is_empty(), "{}", shown());

        let fixture = Fixture::start(vec![both_families()]);
        acquired(&fixture, 2);
        fixture.kernel.leave();
        fixture.kernel.join();
        let fixture = Fixture::start(vec![group("eth0", &ADDRESSES)]);
        assert!(is_empty(), "{}", shown());
        fixture.stop();
    });
}

#[test]
fn the_next_process_goes_on_with_routes_that_are_here() {
    isolated("routing::the_next_process_goes_on_with_routes_that_are_here", |_| {
        let group = key("10.77.0.100");
        let fixture = Fixture::start(vec![both_families()]);
        acquired(&fixture, 1);
        fixture.kernel.leave();
        fixture.kernel.join();
        let mut monitor = std::process::Command::new("ip")
            .args(["monitor", "route", "rule"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("these tests need `ip`");
        let adopted = vec![(group, Ticket(1))];
        let groups = vec![both_families()];
        let fixture = Fixture::start_with(Settings { groups, adopted, ..Settings::default() });
        assert_eq!(fixture.next_within(Duration::from_millis(100)), None);
        assert!(is_whole(), "{}", shown());
        monitor.kill().expect("it runs");
        let output = monitor.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nothing was touched");
        fixture.kernel.release(group, Ticket(2));
        assert_eq!(fixture.next(), KernelEvent::Absent { group, ticket: Ticket(2) });
        assert!(is_empty(), "{}", shown());
        fixture.stop();
    });
}

#[test]
fn a_thousand_routes_and_rules_are_no_burden() {
    alone("routing::a_thousand_routes_and_rules_are_no_burden", |_| {
        let group = key("10.77.0.100");
        let v4 = (0..500).map(|it| route(&format!("10.{}.{}.0/24", 100 + it / 250, it % 250)));
        let v6 = (0..500).map(|it| route(&format!("fd00:{it:x}::/48")));
        let rules = (0..500)
            .flat_map(|it| [rule(1000 + it, "10.77.0.100/32"), rule(1000 + it, "fd77::100/128")]);
        let fixture = Fixture::start(vec![routed(v4.chain(v6).collect(), rules.collect())]);
        let begin = Instant::now();
        acquired(&fixture, 1);
        let took = begin.elapsed();
        let count = |text: String| text.lines().count();
        assert_eq!(count(shown()), 2000);
        ip("route flush table 100");
        ip("-6 route flush table 100");
        until("all are back", || count(shown()) == 2000);
        let begin = Instant::now();
        fixture.kernel.release(group, Ticket(2));
        assert_eq!(fixture.next(), KernelEvent::Absent { group, ticket: Ticket(2) });
        let left = begin.elapsed();
        assert!(took < THOUSAND_MAX && left < THOUSAND_MAX, "{took:?}, {left:?}");
        assert!(is_empty());
        fixture.stop();
    });
}
