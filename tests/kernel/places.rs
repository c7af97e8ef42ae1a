//! Where addresses are, and what that does to the addresses and routes of the host itself. J1 to J9
//! and E3 are faults of docs/faults.md.

use buoy::protocol::{Attachment, KernelEvent, Ticket};

use crate::fixture::{Fixture, group, key};
use crate::namespace::{ip, isolated};
use crate::until::until;

fn held(interface: &str, address: &str) -> Fixture {
    let fixture = Fixture::start(vec![group(interface, &[address])]);
    let group = key(address.split('/').next().expect("an address"));
    fixture.kernel.acquire(group, Ticket(1));
    loop {
        if fixture.next() == (KernelEvent::Present { group, ticket: Ticket(1) }) {
            return fixture;
        }
    }
}

fn own_is_whole() -> bool {
    let routed = ip("-4 route").contains("10.77.0.0/24 dev eth0 proto kernel");
    routed && ip("-4 addr show dev eth0").contains("10.77.0.1/24")
}

/// J1: as `ifdown` and `ifup` do it, in every order, and at a stop.
#[test]
fn a_written_prefix_leaves_the_address_of_the_host_alone() {
    isolated("places::a_written_prefix_leaves_the_address_of_the_host_alone", |_| {
        let fixture = held("eth0", "10.77.0.100/24");
        assert!(ip("-4 addr show dev eth0").contains("10.77.0.100/24"));
        for _ in 0..5 {
            ip("addr del 10.77.0.1/24 dev eth0");
            until("the address is back", || ip("-4 addr show dev eth0").contains("10.77.0.100/"));
            ip("addr add 10.77.0.1/24 dev eth0");
            until("the host is whole", own_is_whole);
        }
        until("the prefix is used again", || {
            ip("-4 addr show dev eth0").contains("10.77.0.100/24")
        });
        assert!(own_is_whole());
        fixture.stop();
        assert!(own_is_whole());
    });
}

/// The same with addresses that the kernel promotes when the first of them goes.
#[test]
fn a_promoted_address_leaves_the_address_of_the_host_alone() {
    isolated("places::a_promoted_address_leaves_the_address_of_the_host_alone", |_| {
        std::fs::write("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", "1").expect("root");
        let fixture = held("eth0", "10.77.0.100/24");
        for _ in 0..5 {
            ip("addr del 10.77.0.1/24 dev eth0");
            ip("addr add 10.77.0.1/24 dev eth0");
            until("the host is whole", own_is_whole);
        }
        fixture.stop();
        assert!(own_is_whole());
    });
}

/// J1: the address is the only one of its network.
#[test]
fn a_written_prefix_brings_a_route_where_the_host_has_none() {
    isolated("places::a_written_prefix_brings_a_route_where_the_host_has_none", |neighbour| {
        neighbour.ip("addr add 192.0.2.50/24 dev eth0");
        let fixture = held("eth0", "192.0.2.10/24");
        let routed = || ip("-4 route").contains("192.0.2.0/24 dev eth0");
        until("the route is there", routed);
        assert!(neighbour.reaches("192.0.2.10"));
        ip("addr add 192.0.2.1/24 dev eth0");
        until("that of the host has replaced it", || !ip("-4 route").contains("metric"));
        ip("addr del 192.0.2.1/24 dev eth0");
        until("the route is back", routed);
        fixture.stop();
        assert!(!ip("-4 route").contains("192.0.2.0/24"));
    });
}

/// E3: a host whose own address is a /32 and came after ours.
#[test]
fn an_address_of_ours_is_no_source_of_the_hosts_own_traffic() {
    isolated("places::an_address_of_ours_is_no_source_of_the_hosts_own_traffic", |neighbour| {
        ip("addr flush dev eth0");
        let fixture = held("eth0", "10.77.0.100/32");
        ip("addr add 10.77.0.1/32 dev eth0");
        ip("route add 10.77.0.0/24 dev eth0 scope link");
        ip("route add default via 10.77.0.9 dev eth0");
        for to in ["10.77.0.9", "203.0.113.7"] {
            let route = ip(&format!("route get {to}"));
            assert!(route.contains("src 10.77.0.1 "), "{route}");
        }
        assert!(neighbour.reaches("10.77.0.100"));
        fixture.stop();
    });
}

/// J6: LVS-DR and kube-proxy have the same address on links where nobody asks for it.
#[test]
fn an_address_on_the_loopback_hinders_nothing_and_stays() {
    isolated("places::an_address_on_the_loopback_hinders_nothing_and_stays", |neighbour| {
        ip("addr add 10.77.0.100/32 dev lo");
        let fixture = held("", "10.77.0.100/32");
        assert!(neighbour.reaches("10.77.0.100"));
        assert!(ip("addr show dev eth0").contains("10.77.0.100/32"));
        fixture.stop();
        assert!(!ip("addr show dev eth0").contains("10.77.0.100/32"));
        assert!(ip("addr show dev lo").contains("10.77.0.100/32"));
    });
}

/// J5: the network is connected by a route alone.
#[test]
fn a_route_of_the_link_tells_where_an_address_belongs() {
    isolated("places::a_route_of_the_link_tells_where_an_address_belongs", |neighbour| {
        ip("addr flush dev eth0");
        ip("addr add 10.77.0.1/32 dev eth0");
        ip("route add 10.77.0.0/24 dev eth0 scope link");
        let fixture = held("", "10.77.0.100/32");
        assert!(neighbour.reaches("10.77.0.100"));
        fixture.stop();
    });
}

/// J4: what is put back soon is not told, what stays away is.
#[test]
fn a_network_that_is_lost_is_told() {
    isolated("places::a_network_that_is_lost_is_told", |_| {
        let group = key("10.77.0.100");
        let fixture = held("eth0", "10.77.0.100/32");
        let told = |attachment| KernelEvent::Attached { group, attachment };
        ip("addr del 10.77.0.1/24 dev eth0");
        assert_eq!(fixture.next(), told(Attachment::Lost));
        ip("addr add 10.77.0.1/24 dev eth0");
        assert_eq!(fixture.next(), told(Attachment::Attached));
        fixture.stop();
    });
}

/// J9: neighbours have to be told of another hardware address.
#[test]
fn another_hardware_address_is_told() {
    isolated("places::another_hardware_address_is_told", |_| {
        let group = key("10.77.0.100");
        let fixture = held("eth0", "10.77.0.100/32");
        ip("link set eth0 address 02:00:00:00:00:99");
        assert_eq!(fixture.next(), KernelEvent::Moved { group });
        fixture.stop();
    });
}
