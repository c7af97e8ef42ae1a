//! Whether neighbours resolve an address to this host, and what is done about those that do not.

use std::io::Write as _;
use std::time::{Duration, Instant};

use buoy::kernel::Settings;
use buoy::protocol::{Convergence, Epoch, KernelEvent, Neighbour as Known, NodeId, Ticket};

use crate::fixture::{Fixture, group, key};
use crate::namespace::{Neighbour, alone, ip, isolated, run};
use crate::until::until;

const OWN: &str = "02:00:00:00:00:01";
/// Nobody is there.
const FORMER: &str = "02:00:00:00:00:77";
/// The schedule of announcements, as `protocol` has it.
const ROUNDS: [u64; 6] = [0, 10, 50, 200, 1400, 5000];
const PEER: NodeId = NodeId(7);

fn start(addresses: &[&str]) -> Fixture {
    let groups = vec![group("eth0", addresses)];
    Fixture::start_with(Settings {
        groups,
        peer_addresses: Vec::new(),
        fence: None,
        ..Settings::default()
    })
}

/// Acquires the group of the address, has it verified and announces it by the schedule until the
/// outcome comes; tells it and how long it took.
fn take(fixture: &Fixture, first: &str) -> (Convergence, Duration) {
    let group = key(first);
    fixture.kernel.acquire(group, Ticket(1));
    assert_eq!(fixture.next(), KernelEvent::Present { group, ticket: Ticket(1) });
    let begun = Instant::now();
    fixture.kernel.verify(group, Epoch(4), Some(PEER));
    let mut rounds = ROUNDS.iter().map(|millis| Duration::from_millis(*millis)).peekable();
    loop {
        let due = rounds.peek().map(|due| due.saturating_sub(begun.elapsed()));
        let wait = due.unwrap_or(Duration::from_secs(3));
        match fixture.next_within(wait) {
            Some(KernelEvent::Verified { group: of, epoch, outcome }) => {
                assert_eq!((of, epoch), (group, Epoch(4)));
                return (outcome, begun.elapsed());
            }
            Some(other) => panic!("{other:?}"),
            None if rounds.next().is_some() => fixture.kernel.announce(group),
            None => panic!("no outcome {:?} after the first announcement", begun.elapsed()),
        }
    }
}

/// The neighbour hears no announcement that is not for it alone, of either family.
fn hold_back_broadcasts(neighbour: &Neighbour) {
    neighbour.perform(|| {
        run("nft", "add table netdev hold");
        run(
            "nft",
            "add chain netdev hold in { type filter hook ingress device eth0 priority 0 ; }",
        );
        run("nft", "add rule netdev hold in ether daddr ff:ff:ff:ff:ff:ff ether type arp drop");
        run("nft", "add rule netdev hold in ether daddr 33:33:00:00:00:01 drop");
    });
}

/// The neighbour believes the address to be with somebody else.
fn mislead(neighbour: &Neighbour, address: &str) {
    neighbour.ip(&format!("neigh replace {address} lladdr {FORMER} dev eth0 nud reachable"));
}

fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").expect("somebody reads the errors");
}

#[test]
fn neighbours_that_follow_are_counted_at_once() {
    isolated("following::neighbours_that_follow_are_counted_at_once", |neighbour| {
        assert!(neighbour.reaches("10.77.0.1"));
        assert!(neighbour.reaches("fd77::1"));
        let fixture = start(&["10.77.0.100/32", "fd77::100/128"]);
        let (outcome, took) = take(&fixture, "10.77.0.100");
        assert_eq!((outcome.answered, outcome.asked), (2, 2), "its IPv4 and its IPv6 address");
        say(&format!("both followed {:?} after the order, told after {took:?}", outcome.after));
        assert!(outcome.after < Duration::from_secs(1), "{outcome:?}");
        assert_eq!(fixture.kernel.counters().told_directly.value(), 0);
        fixture.stop();
    });
}

/// A client behind a switch that holds back broadcasts, which this host has never met: a peer has
/// told of it.
#[test]
fn broadcasts_held_back_are_made_up_for() {
    isolated("following::broadcasts_held_back_are_made_up_for", |neighbour| {
        let fixture = start(&["10.77.0.100/32", "fd77::100/128"]);
        hold_back_broadcasts(neighbour);
        mislead(neighbour, "10.77.0.100");
        mislead(neighbour, "fd77::100");
        ip("neigh flush dev eth0");
        let hardware = [2, 0, 0, 0, 0, 9];
        let known = |address: &str| Known { address: address.parse().expect("one"), hardware };
        fixture.kernel.acquaint(PEER, vec![known("10.77.0.9"), known("fd77::9")]);
        let (outcome, took) = take(&fixture, "10.77.0.100");
        say(&format!("repaired {:?} after the order, told after {took:?}", outcome.after));
        assert_eq!((outcome.answered, outcome.asked), (2, 2));
        assert_eq!(neighbour.knows("10.77.0.100"), OWN);
        assert_eq!(neighbour.knows("fd77::100"), OWN);
        assert!(fixture.kernel.counters().told_directly.value() >= 2);
        fixture.stop();
    });
}

#[test]
fn a_neighbour_that_does_not_follow_is_named() {
    isolated("following::a_neighbour_that_does_not_follow_is_named", |neighbour| {
        assert!(neighbour.reaches("10.77.0.1"));
        neighbour.ip(&format!("neigh add 10.77.0.100 lladdr {FORMER} dev eth0 nud permanent"));
        let fixture = start(&["10.77.0.100/32"]);
        let (outcome, took) = take(&fixture, "10.77.0.100");
        assert_eq!((outcome.answered, outcome.asked), (0, 1), "after {took:?}");
        assert_eq!(outcome.missing[0], Some("10.77.0.9".parse().expect("an address")));
        assert_eq!(fixture.kernel.counters().told_directly.value(), 5, "at each repeat");
        fixture.stop();
    });
}

#[test]
fn a_neighbour_that_answers_nobody_is_not_held_against_us() {
    isolated("following::a_neighbour_that_answers_nobody_is_not_held_against_us", |neighbour| {
        assert!(neighbour.reaches("10.77.0.1"));
        neighbour.perform(|| {
            let setting = "/proc/sys/net/ipv4/icmp_echo_ignore_all";
            std::fs::write(setting, "1").expect("settings of an own namespace can be changed");
        });
        mislead(neighbour, "10.77.0.100");
        hold_back_broadcasts(neighbour);
        let fixture = start(&["10.77.0.100/32"]);
        let (outcome, _) = take(&fixture, "10.77.0.100");
        assert_eq!((outcome.answered, outcome.asked), (0, 0));
        assert_eq!(neighbour.knows("10.77.0.100"), OWN, "but it was told");
        fixture.stop();
    });
}

/// Our own packet filter drops what it has not seen going out: the answers are seen before it.
#[test]
fn an_own_packet_filter_hides_no_answer() {
    isolated("following::an_own_packet_filter_hides_no_answer", |neighbour| {
        assert!(neighbour.reaches("10.77.0.1"));
        run("nft", "add table inet own");
        run("nft", "add chain inet own in { type filter hook input priority 0 ; policy drop ; }");
        run("nft", "add rule inet own in ct state established accept");
        let fixture = start(&["10.77.0.100/32"]);
        let (outcome, _) = take(&fixture, "10.77.0.100");
        assert_eq!((outcome.answered, outcome.asked), (1, 1));
        fixture.stop();
    });
}

#[test]
fn nothing_is_asked_or_told_of_a_group_that_goes() {
    isolated("following::nothing_is_asked_or_told_of_a_group_that_goes", |neighbour| {
        assert!(neighbour.reaches("10.77.0.1"));
        mislead(neighbour, "10.77.0.100");
        hold_back_broadcasts(neighbour);
        let fixture = start(&["10.77.0.100/32"]);
        let group = key("10.77.0.100");
        fixture.kernel.verify(group, Epoch(1), None);
        fixture.kernel.announce(group);
        fixture.kernel.acquire(group, Ticket(1));
        assert_eq!(fixture.next(), KernelEvent::Present { group, ticket: Ticket(1) });
        fixture.kernel.verify(group, Epoch(1), None);
        fixture.kernel.announce(group);
        fixture.kernel.release(group, Ticket(2));
        assert_eq!(fixture.next(), KernelEvent::Absent { group, ticket: Ticket(2) });
        let asked = fixture.kernel.counters().questions.value();
        for _ in 0..5 {
            fixture.kernel.announce(group);
        }
        assert_eq!(fixture.next_within(Duration::from_millis(500)), None);
        assert_eq!(fixture.kernel.counters().questions.value(), asked);
        assert_eq!(neighbour.knows("10.77.0.100"), FORMER);
        fixture.stop();
    });
}

#[test]
fn hosts_around_are_told_of_but_not_nodes() {
    isolated("following::hosts_around_are_told_of_but_not_nodes", |neighbour| {
        neighbour.ip("addr add 10.77.0.8/24 dev eth0");
        run("ip", "neigh replace 10.77.0.5 lladdr 02:00:00:00:00:05 dev eth0 nud stale");
        assert!(neighbour.reaches("10.77.0.1"));
        let groups = vec![group("eth0", &["10.77.0.100/32"])];
        let peer_addresses = vec!["10.77.0.5".parse().expect("an address")];
        let fixture = Fixture::start_with(Settings {
            groups,
            peer_addresses,
            fence: None,
            ..Settings::default()
        });
        until("the neighbour is told of", || {
            let told = fixture.neighbours();
            told.iter().any(|host| host.address.to_string() == "10.77.0.9")
                && told.iter().all(|host| host.hardware == [2, 0, 0, 0, 0, 9])
        });
        fixture.stop();
    });
}

/// A thousand addresses at once, of which the neighbour hears no broadcast: it is told of all of
/// them, at the pace.
#[test]
fn hundreds_of_addresses_keep_the_pace() {
    alone("following::hundreds_of_addresses_keep_the_pace", |neighbour| {
        // The kernel has room for 1024 neighbours of all namespaces.
        const COUNT: usize = 600;
        assert!(neighbour.reaches("10.77.0.1"));
        ip("addr add 10.77.255.1/16 dev eth0");
        neighbour.ip("addr add 10.77.255.9/16 dev eth0");
        hold_back_broadcasts(neighbour);
        let vips: Vec<String> =
            (0..COUNT).map(|at| format!("10.77.{}.{}", 1 + at / 250, 1 + at % 250)).collect();
        let commands: String = vips
            .iter()
            .map(|vip| format!("neigh replace {vip} lladdr {FORMER} dev eth0 nud stale\n"))
            .collect();
        neighbour.ip_batch(commands);
        let groups: Vec<_> =
            vips.iter().map(|vip| group("eth0", &[&format!("{vip}/32")])).collect();
        let fixture = Fixture::start(groups);
        for vip in &vips {
            fixture.kernel.acquire(key(vip), Ticket(1));
        }
        for _ in &vips {
            assert!(matches!(fixture.next(), KernelEvent::Present { .. }));
        }
        let begun = Instant::now();
        for vip in &vips {
            fixture.kernel.verify(key(vip), Epoch(1), None);
        }
        let counters = fixture.kernel.counters();
        let mut converged = 0;
        let mut rounds = ROUNDS.iter().map(|millis| Duration::from_millis(*millis)).peekable();
        while converged < COUNT {
            let due = rounds.peek().map(|due| due.saturating_sub(begun.elapsed()));
            match fixture.next_within(due.unwrap_or(Duration::from_secs(3))) {
                Some(KernelEvent::Verified { outcome, .. }) => {
                    assert_eq!((outcome.answered, outcome.asked), (1, 1));
                    converged += 1;
                }
                Some(other) => panic!("{other:?}"),
                None if rounds.next().is_some() => {
                    vips.iter().for_each(|vip| fixture.kernel.announce(key(vip)));
                }
                None => panic!("{converged} of {COUNT} after {:?}", begun.elapsed()),
            }
            let passed = begun.elapsed().as_millis();
            let told = counters.told_directly.value();
            assert!(u128::from(told) <= 130 + passed, "{told} told within {passed} ms");
        }
        let (told, asked) = (counters.told_directly.value(), counters.questions.value());
        say(&format!("{COUNT} repaired in {:?}: {told} told, {asked} asked", begun.elapsed()));
        fixture.stop();
        // Namespaces that end give their neighbours back by and by; the next test wants some.
        neighbour.ip("neigh flush dev eth0");
    });
}
