//! Groups come, are announced, and go.

use buoy::protocol::{Failure, KernelEvent, Ticket};

use crate::fixture::{Fixture, group, key};
use crate::namespace::{Neighbour, alone, ip, isolated};
use crate::until::until;

const TRUE_HARDWARE: &str = "02:00:00:00:00:01";
const FALSE_HARDWARE: &str = "02:00:00:00:00:ee";

/// Makes the neighbour believe that the address is elsewhere.
fn mislead(neighbour: &Neighbour, address: &str) {
    let lie = format!("neigh replace {address} lladdr {FALSE_HARDWARE} nud reachable dev eth0");
    neighbour.ip(&lie);
    assert_eq!(neighbour.knows(address), FALSE_HARDWARE);
}

#[test]
fn a_group_comes_is_announced_and_goes() {
    isolated("holding::a_group_comes_is_announced_and_goes", |neighbour| {
        let fixture = Fixture::start(vec![group("eth0", &["10.77.0.100/32"])]);
        let web = key("10.77.0.100");

        fixture.kernel.acquire(web, Ticket(1));
        assert_eq!(fixture.next(), KernelEvent::Present { group: web, ticket: Ticket(1) });
        assert!(ip("addr show dev eth0").contains("inet 10.77.0.100/32"));
        assert!(neighbour.reaches("10.77.0.100"));

        mislead(neighbour, "10.77.0.100");
        fixture.kernel.announce(web);
        until("the neighbour has learned", || neighbour.knows("10.77.0.100") == TRUE_HARDWARE);
        assert_eq!(fixture.kernel.counters().announcements.value(), 1);

        fixture.kernel.release(web, Ticket(2));
        assert_eq!(fixture.next(), KernelEvent::Absent { group: web, ticket: Ticket(2) });
        assert!(!ip("addr show dev eth0").contains("10.77.0.100"));

        mislead(neighbour, "10.77.0.100");
        fixture.kernel.announce(web);
        let counters = fixture.kernel.counters();
        until("the announcement is refused", || counters.announcements_ignored.value() == 1);
        assert_eq!(neighbour.knows("10.77.0.100"), FALSE_HARDWARE);
        fixture.stop();
    });
}

#[test]
fn ipv6_comes_at_once_is_announced_and_is_no_source() {
    isolated("holding::ipv6_comes_at_once_is_announced_and_is_no_source", |neighbour| {
        let addresses = ["10.77.0.100/32", "fd77::100/128"];
        let fixture = Fixture::start(vec![group("eth0", &addresses)]);
        let web = key("10.77.0.100");
        fixture.kernel.acquire(web, Ticket(1));
        assert_eq!(fixture.next(), KernelEvent::Present { group: web, ticket: Ticket(1) });

        let shown = ip("-6 addr show dev eth0");
        let line = shown.lines().find(|line| line.contains("fd77::100/128"));
        let line = line.expect("the address is there");
        assert!(line.contains("nodad") && line.contains("noprefixroute"), "{line}");
        assert!(!line.contains("tentative"), "{line}");
        let route = ip("-6 route get fd77::9");
        assert!(route.contains("src fd77::1 "), "chosen as source: {route}");
        assert!(neighbour.reaches("fd77::100"));

        mislead(neighbour, "fd77::100");
        mislead(neighbour, "10.77.0.100");
        fixture.kernel.announce(web);
        for address in ["fd77::100", "10.77.0.100"] {
            until("the neighbour has learned", || neighbour.knows(address) == TRUE_HARDWARE);
        }
        fixture.stop();
        assert!(!ip("addr show").contains("fd77::100"));
        assert!(!ip("addr show").contains("10.77.0.100"));
    });
}

#[test]
fn an_address_of_another_program_is_refused_and_stays() {
    isolated("holding::an_address_of_another_program_is_refused_and_stays", |_| {
        let fixture = Fixture::start(vec![group("eth0", &["10.77.0.100/32", "10.77.0.101/32"])]);
        let web = key("10.77.0.100");
        let failed =
            KernelEvent::Failed { group: web, ticket: Ticket(1), failure: Failure::ForeignAddress };
        ip("link add eth1 type veth peer name far1");
        ip("link set eth1 up");
        ip("addr add 10.77.0.101/32 dev eth1");
        fixture.kernel.acquire(web, Ticket(1));
        assert_eq!(fixture.next(), failed);
        assert!(!ip("addr show").contains("10.77.0.100"));

        fixture.kernel.release(web, Ticket(2));
        assert_eq!(fixture.next(), KernelEvent::Absent { group: web, ticket: Ticket(2) });
        fixture.stop();
        assert!(ip("addr show dev eth1").contains("10.77.0.101/32"));
    });
}

#[test]
fn without_an_interface_given_the_network_decides() {
    isolated("holding::without_an_interface_given_the_network_decides", |_| {
        ip("link add eth1 type veth peer name far1");
        ip("link set far1 up");
        ip("link set eth1 up");
        ip("addr add 10.78.0.1/24 dev eth1");
        until("the second cable carries", || ip("link show eth1").contains("LOWER_UP"));
        let groups = vec![group("", &["10.78.0.100/32", "fd77::100/128"])];
        let fixture = Fixture::start(groups);
        let web = key("10.78.0.100");
        fixture.kernel.acquire(web, Ticket(1));
        assert_eq!(fixture.next(), KernelEvent::Present { group: web, ticket: Ticket(1) });
        assert!(ip("addr show dev eth1").contains("10.78.0.100/32"));
        assert!(ip("addr show dev eth0").contains("fd77::100/128"));
        fixture.stop();
    });
}

#[test]
fn a_changed_configuration_leaves_the_rest_alone() {
    isolated("holding::a_changed_configuration_leaves_the_rest_alone", |_| {
        let (web, mail) = (key("10.77.0.100"), key("10.77.0.110"));
        let fixture = Fixture::start(vec![
            group("eth0", &["10.77.0.100/32"]),
            group("eth0", &["10.77.0.110/32"]),
        ]);
        for (group, ticket) in [(web, Ticket(1)), (mail, Ticket(2))] {
            fixture.kernel.acquire(group, ticket);
            assert_eq!(fixture.next(), KernelEvent::Present { group, ticket });
        }
        let grown = vec![
            group("eth0", &["10.77.0.100/32"]),
            group("eth0", &["10.77.0.110/32", "10.77.0.111/32"]),
            group("eth0", &["10.77.0.120/32"]),
        ];
        fixture.kernel.reconfigure(grown, Vec::new());
        assert_eq!(fixture.next(), KernelEvent::Present { group: mail, ticket: Ticket(2) });
        assert!(ip("addr show dev eth0").contains("10.77.0.111/32"));

        fixture.kernel.reconfigure(vec![group("eth0", &["10.77.0.100/32"])], Vec::new());
        fixture.kernel.release(mail, Ticket(3));
        assert_eq!(fixture.next(), KernelEvent::Absent { group: mail, ticket: Ticket(3) });
        let shown = ip("addr show dev eth0");
        assert!(shown.contains("10.77.0.100/32"), "{shown}");
        assert!(!shown.contains("10.77.0.11"), "{shown}");
        assert_eq!(fixture.kernel.counters().repairs.value(), 0);
        fixture.stop();
    });
}

/// The kernel takes seconds for all of them, and each waits for those before it: none is given up.
#[test]
fn thousands_of_groups_wait_for_each_other() {
    alone("holding::thousands_of_groups_wait_for_each_other", |_| {
        let groups: Vec<_> =
            (0..4096).map(|at| group("eth0", &[&format!("fd77::1:{at:x}/128")])).collect();
        let fixture = Fixture::start(groups.clone());
        for group in &groups {
            fixture.kernel.acquire(group.key, Ticket(1));
        }
        for _ in &groups {
            let event = fixture.next();
            assert!(matches!(event, KernelEvent::Present { .. }), "{event:?}");
        }
        fixture.stop();
    });
}
