//! Messages of rtnetlink as they come, and what is read from them.

use super::*;
use crate::netlink::append_attribute;

fn link_body(flags: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend(HARDWARE_ETHERNET.to_ne_bytes());
    body.extend(7_u32.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(0_u32.to_ne_bytes());
    attributes.iter().for_each(|(kind, value)| append_attribute(&mut body, *kind, value));
    body
}

fn address_body(flags: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![FAMILY_V4, 32, flags, 0];
    body.extend(7_u32.to_ne_bytes());
    attributes.iter().for_each(|(kind, value)| append_attribute(&mut body, *kind, value));
    body
}

fn read(kind: u16, body: &[u8]) -> Option<Observation> {
    Observation::read(&Message { kind, sequence: 0, body }, Mark::default())
}

fn read_as_ours(body: &[u8]) -> Option<Address> {
    read_address(body, Mark::default()).map(|(address, _)| address)
}

const ALL: u32 = FLAG_UP | FLAG_RUNNING | FLAG_LOWER_UP;

#[test]
fn a_link_is_usable_when_it_carries_and_is_no_port() {
    let mut vrf = Vec::new();
    append_attribute(&mut vrf, LINK_INFO_PORT_KIND, b"vrf\0");
    let mut bridge = Vec::new();
    append_attribute(&mut bridge, LINK_INFO_PORT_KIND, b"bridge\0");
    let master = 9_u32.to_ne_bytes();
    let none = 0_u32.to_ne_bytes();
    type Case<'a> = (u32, &'a [(u16, &'a [u8])], bool);
    let table: [Case<'_>; 8] = [
        (ALL, &[], true),
        (FLAG_RUNNING | FLAG_LOWER_UP, &[], false),
        (FLAG_UP | FLAG_LOWER_UP, &[], false),
        (FLAG_UP | FLAG_RUNNING, &[], false),
        (ALL, &[(LINK_MASTER, &master)], false),
        (ALL, &[(LINK_MASTER, &none)], true),
        (ALL, &[(LINK_MASTER, &master), (LINK_INFO, &bridge)], false),
        (ALL, &[(LINK_MASTER, &master), (LINK_INFO, &vrf)], true),
    ];
    for (flags, attributes, usable) in table {
        let link = read_link(&link_body(flags, attributes)).unwrap();
        assert_eq!(link.usable, usable, "{flags:#x} {attributes:?}");
    }
}

#[test]
fn what_is_known_is_read_and_what_is_not_is_passed_over() {
    let attributes: [(u16, &[u8]); 3] =
        [(LINK_NAME, b"eth0\0"), (LINK_ADDRESS, &[2, 0, 0, 0, 0, 7]), (999, b"news")];
    let body = link_body(ALL, &attributes);
    let expected = Link {
        index: 7,
        name: "eth0".to_owned(),
        hardware: Some([2, 0, 0, 0, 0, 7]),
        usable: true,
        ..Link::default()
    };
    assert_eq!(read(NEW_LINK, &body), Some(Observation::Link(expected)));
    assert_eq!(read(DELETE_LINK, &body), Some(Observation::LinkGone(7)));
    let mut of_bridge = body.clone();
    of_bridge[0] = 7;
    assert_eq!(read(DELETE_LINK, &of_bridge), None, "a port left its bridge");
    for length in 0..body.len() {
        drop(read(NEW_LINK, &body[..length]));
    }
}

#[test]
fn an_address_is_ours_by_either_mark() {
    let own: (u16, &[u8]) = (ADDRESS_LOCAL, &[10, 0, 0, 1]);
    let priority = Mark::default().value().to_ne_bytes();
    let other = 7_u32.to_ne_bytes();
    type Case<'a> = (&'a [(u16, &'a [u8])], bool);
    let table: [Case<'_>; 5] = [
        (&[own], false),
        (&[own, (ADDRESS_PROTOCOL, &[mark::PROTOCOL_TAG])], true),
        (&[own, (ADDRESS_PROTOCOL, &[2])], false),
        (&[own, (ADDRESS_PRIORITY, &priority)], true),
        (&[own, (ADDRESS_PRIORITY, &other)], false),
    ];
    for (attributes, ours) in table {
        let address = read_as_ours(&address_body(0, attributes)).unwrap();
        assert_eq!(address.ours, ours, "{attributes:?}");
    }
    assert_eq!(read(NEW_ADDRESS, &address_body(0, &[])), None);
    let tentative = read_as_ours(&address_body(0x40, &[own])).unwrap();
    assert_eq!(tentative.readiness, Readiness::Tentative);
    let flags = 0xc8_u32.to_ne_bytes();
    let failed = read_as_ours(&address_body(0, &[own, (ADDRESS_FLAGS, &flags)])).unwrap();
    assert_eq!(failed.readiness, Readiness::Duplicate);
}

#[test]
fn the_longest_prefix_decides_and_loopback_never() {
    let link = |index, loopback| {
        let name = format!("eth{index}");
        Observation::Link(Link { index, name, usable: true, loopback, ..Link::default() })
    };
    let network = |address: &str, link, prefix| {
        let address: IpAddr = address.parse().unwrap();
        let place = Place { address, link, prefix };
        let readiness = Readiness::Ready;
        let (network, ours, primary) = (address, false, true);
        Observation::Address(Address { place, network, ours, readiness, primary })
    };
    let mut host = Host::default();
    let told = [
        link(1, true),
        link(2, false),
        link(3, false),
        network("10.0.0.1", 1, 30),
        network("10.0.0.2", 2, 24),
        network("10.0.7.3", 3, 16),
        network("10.0.0.4", 3, 32),
        network("fd00::3", 3, 64),
    ];
    for observation in told {
        host.observe(observation);
    }
    let towards = |text: &str| host.link_towards(text.parse().unwrap()).map(|link| link.index);
    assert_eq!(towards("10.0.0.3"), Some(2));
    assert_eq!(towards("10.0.9.3"), Some(3));
    assert_eq!(towards("fd00::77"), Some(3));
    assert_eq!(towards("192.0.2.1"), None);
    assert_eq!(towards("fd01::1"), None);
}
