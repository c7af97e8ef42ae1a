//! One link-local address on two links: each is a group of its own, and has a place of its own under
//! the gate.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use buoy::kernel::{Door, FenceSettings, GroupAddresses, Lease, Renewal, Settings, Vouched};
use buoy::protocol::{GroupKey, KernelEvent, Mode, Ticket};

use crate::fixture::Fixture;
use crate::namespace::{Neighbour, ip, isolated, run};
use crate::until::{PATIENCE, until};

const TABLE: &str = "buoy_zones";
const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// A connection does not begin within this: the gate is closed, or no host has the address.
const SILENCE: Duration = Duration::from_millis(100);
const ONE: GroupKey = GroupKey(1);
const OTHER: GroupKey = GroupKey(2);

fn group(key: GroupKey, interface: &str, mode: Mode) -> GroupAddresses {
    GroupAddresses {
        key,
        name: format!("fe80::1%{interface}"),
        mode,
        interface: Some(interface.to_owned()),
        addresses: vec![(GATEWAY.into(), 128)],
        keys: BTreeMap::from([(IpAddr::from(GATEWAY), key)]),
        routing: buoy::routing::Routing::default(),
    }
}

/// Makes the second link, and both groups present: one on this node's word, one in mode majority.
fn held(neighbour: &Neighbour) -> (Fixture, Lease) {
    ip(&format!("link add eth1 type veth peer name eth1 netns {}", neighbour.thread_id()));
    ip("link set eth1 up");
    neighbour.ip("link set eth1 up");
    until("the second link is ready", || {
        let ready = |shown: String| shown.contains("fe80") && !shown.contains("tentative");
        ready(ip("-6 addr show dev eth1")) && ready(neighbour.ip("-6 addr show dev eth1"))
    });
    let vouched = Vouched(Arc::new(|| Duration::from_secs(1)));
    let table = TABLE.to_owned();
    let fixture = Fixture::start_with(Settings {
        groups: vec![group(ONE, "eth0", Mode::Availability), group(OTHER, "eth1", Mode::Majority)],
        fence: Some(FenceSettings { table, vouched, lifetime: None, preserve: false }),
        ..Settings::default()
    });
    for (group, ticket) in [(ONE, Ticket(1)), (OTHER, Ticket(2))] {
        fixture.kernel.acquire(group, ticket);
        assert_eq!(fixture.next(), KernelEvent::Present { group, ticket });
    }
    let lease = fixture.kernel.lease().expect("netlink").expect("this kernel has nf_tables");
    (fixture, lease)
}

fn open(lease: &mut Lease, door: Door) {
    assert!(matches!(lease.renew(door, PATIENCE), Renewal::Done), "{door:?}");
}

/// On which of the two links the address answers: a closed port refuses.
fn answering(neighbour: &Neighbour) -> [bool; 2] {
    ["eth0", "eth1"].map(|name| {
        // An address must not be silent only because it was not found.
        drop(neighbour.ip(&format!("neigh flush dev {name}")));
        neighbour.perform(move || {
            let link = nix::net::if_::if_nametoindex(name).expect("it has both links");
            let to = SocketAddrV6::new(GATEWAY, 9, 0, link).into();
            let refused = TcpStream::connect_timeout(&to, SILENCE);
            refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        })
    })
}

fn has_it(link: &str) -> bool {
    ip(&format!("-6 addr show dev {link}")).contains("fe80::1/128")
}

#[test]
fn one_link_is_closed_and_the_other_stays_open() {
    isolated("zones::one_link_is_closed_and_the_other_stays_open", |neighbour| {
        let (fixture, mut lease) = held(neighbour);
        assert_eq!(answering(neighbour), [false; 2], "both doors are closed");
        open(&mut lease, Door::Vouched);
        assert_eq!(answering(neighbour), [true, false]);
        open(&mut lease, Door::Granted);
        assert_eq!(answering(neighbour), [true; 2]);
        assert!(matches!(lease.close(Door::Vouched), Renewal::Done));
        assert_eq!(answering(neighbour), [false, true]);
        open(&mut lease, Door::Vouched);
        fixture.kernel.withdraw(OTHER);
        assert!(matches!(lease.withdraw(), Renewal::Done));
        assert_eq!(answering(neighbour), [true, false], "one is withdrawn");
        fixture.kernel.release(OTHER, Ticket(3));
        assert_eq!(fixture.next(), KernelEvent::Absent { group: OTHER, ticket: Ticket(3) });
        assert!(has_it("eth0") && !has_it("eth1"));
        assert_eq!(answering(neighbour), [true, false], "one is released");
        fixture.stop();
        assert!(!has_it("eth0"));
        assert!(!run("nft", "list tables").contains(TABLE));
    });
}

#[test]
fn connections_of_one_link_end_and_those_of_the_other_stay() {
    isolated("zones::connections_of_one_link_end_and_those_of_the_other_stay", |neighbour| {
        let (fixture, mut lease) = held(neighbour);
        Door::ALL.into_iter().for_each(|door| open(&mut lease, door));
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a port");
        let port = listener.local_addr().expect("it has a port").port();
        let connected = ["eth0", "eth1"].map(|name| {
            let stream = neighbour.perform(move || {
                let link = nix::net::if_::if_nametoindex(name).expect("it has both links");
                TcpStream::connect(SocketAddrV6::new(GATEWAY, port, 0, link)).expect("it answers")
            });
            (listener.accept().expect("it has connected").0, stream)
        });
        let counts = || [ONE, OTHER].map(|group| fixture.kernel.connections().get(&group).copied());
        until("each group has its own connection", || counts() == [Some(1), Some(1)]);
        fixture.kernel.release(ONE, Ticket(3));
        assert_eq!(fixture.next(), KernelEvent::Absent { group: ONE, ticket: Ticket(3) });
        let [(_, ended), (_, stays)] = &connected;
        let state = |stream: &TcpStream| {
            stream.set_nonblocking(true).expect("a setting");
            stream.peek(&mut [0]).map_err(|error| error.kind())
        };
        until("the connection of the first is reset", || {
            state(ended) == Err(ErrorKind::ConnectionReset)
        });
        assert_eq!(state(stays), Err(ErrorKind::WouldBlock));
        fixture.stop();
    });
}

#[test]
fn an_address_of_the_host_on_another_link_does_not_matter() {
    isolated("zones::an_address_of_the_host_on_another_link_does_not_matter", |neighbour| {
        let (fixture, mut lease) = held(neighbour);
        Door::ALL.into_iter().for_each(|door| open(&mut lease, door));
        ip(&format!("link add eth2 type veth peer name eth2 netns {}", neighbour.thread_id()));
        ip("link set eth2 up");
        ip("-6 addr add fe80::1/64 dev eth2 nodad");
        run("nft", &format!("list set inet {TABLE} vouchedL"));
        ip("-6 addr del fe80::1/128 dev eth0");
        let repaired = fixture.next();
        assert!(matches!(repaired, KernelEvent::Repaired { group: ONE, .. }), "{repaired:?}");
        assert!(has_it("eth0") && has_it("eth1"));
        assert_eq!(answering(neighbour), [true; 2]);
        fixture.stop();
        assert!(ip("-6 addr show dev eth2").contains("fe80::1/64"), "it is not ours to remove");
    });
}
