//! Questions and answers as bytes, for each rule of the zone.

use std::net::IpAddr;
use std::time::Duration;

use domain::base::iana::{OptRcode, Rcode};
use domain::base::{Message, MessageBuilder, Rtype};
use domain::rdata::{A, Aaaa, Soa};

use super::answer::{DATAGRAM_MAX, Transport, answer, truncated};
use super::view::{InService, Pools, View};
use super::zone::{Names, Server, WhenUnhealthy, Zone, name};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn in_service(text: &str) -> InService {
    InService { address: address(text), healthy: true, leaving: false, weight: 1 }
}

fn zone(names: Option<Names>) -> Zone {
    let server =
        Server { name: name("ns.ha.test").unwrap(), addresses: vec![address("192.0.2.53")] };
    Zone::new(name("ha.test").unwrap(), vec![server], names).unwrap()
}

fn view(pools: &[(&str, Vec<InService>)]) -> View {
    let pools: Pools =
        pools.iter().map(|(pool, list)| ((*pool).to_owned(), list.clone())).collect();
    View { pools: Some(pools), serial: 7 }
}

fn two() -> View {
    view(&[(
        "web",
        vec![in_service("192.0.2.1"), in_service("192.0.2.2"), in_service("2001:db8::1")],
    )])
}

fn question(name_text: &str, kind: Rtype) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(0x1234);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((name(name_text).unwrap(), kind)).unwrap();
    builder.finish()
}

fn with_edns(name_text: &str, kind: Rtype, size: u16, version: u8) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec().question();
    builder.push((name(name_text).unwrap(), kind)).unwrap();
    let mut builder = builder.additional();
    builder
        .opt(|opt| {
            opt.set_udp_payload_size(size);
            opt.set_version(version);
            Ok(())
        })
        .unwrap();
    builder.finish()
}

fn ask(query: &[u8], zone: &Zone, view: &View) -> Message<Vec<u8>> {
    let reply = answer(query, Transport::Udp, zone, view, |index| !(index as u64)).unwrap();
    Message::from_octets(reply).unwrap()
}

/// Code, truncated, addresses, and whether there is a SOA in the authority section.
fn seen(reply: &Message<Vec<u8>>) -> (Rcode, bool, Vec<IpAddr>, bool) {
    let records = reply.answer().unwrap();
    let mut addresses: Vec<IpAddr> =
        records.limit_to::<A>().map(|record| record.unwrap().data().addr().into()).collect();
    let records = reply.answer().unwrap().limit_to::<Aaaa>();
    addresses.extend(records.map(|record| IpAddr::from(record.unwrap().data().addr())));
    let soa = reply.authority().unwrap().limit_to::<Soa<_>>().count() > 0;
    (reply.header().rcode(), reply.header().tc(), addresses, soa)
}

#[test]
fn each_question_has_its_answer() {
    let none: Vec<IpAddr> = Vec::new();
    let (four, six) =
        (vec![address("192.0.2.1"), address("192.0.2.2")], vec![address("2001:db8::1")]);
    let server = vec![address("192.0.2.53")];
    for (asked, kind, code, addresses, soa) in [
        ("web.ha.test", Rtype::A, Rcode::NOERROR, &four, false),
        ("WEB.Ha.TesT", Rtype::A, Rcode::NOERROR, &four, false),
        ("web.ha.test", Rtype::AAAA, Rcode::NOERROR, &six, false),
        ("web.ha.test", Rtype::MX, Rcode::NOERROR, &none, true),
        ("api.ha.test", Rtype::A, Rcode::NXDOMAIN, &none, true),
        ("x.web.ha.test", Rtype::A, Rcode::NXDOMAIN, &none, true),
        ("ns.ha.test", Rtype::A, Rcode::NOERROR, &server, false),
        ("ns.ha.test", Rtype::AAAA, Rcode::NOERROR, &none, true),
        ("ha.test", Rtype::A, Rcode::NOERROR, &none, true),
        ("ha.test", Rtype::SOA, Rcode::NOERROR, &none, false),
        ("ha.test", Rtype::NS, Rcode::NOERROR, &none, false),
        ("test", Rtype::A, Rcode::REFUSED, &none, false),
        ("example.org", Rtype::A, Rcode::REFUSED, &none, false),
        ("web.ha.test", Rtype::ANY, Rcode::REFUSED, &none, false),
        ("ha.test", Rtype::AXFR, Rcode::REFUSED, &none, false),
        ("ha.test", Rtype::IXFR, Rcode::REFUSED, &none, false),
    ] {
        let reply = ask(&question(asked, kind), &zone(None), &two());
        let mut found = seen(&reply);
        found.2.sort_unstable();
        assert_eq!(found, (code, false, addresses.clone(), soa), "{asked} {kind}");
        let header = reply.header();
        assert_eq!(
            (header.id(), header.qr(), header.rd(), header.ra()),
            (0x1234, true, true, false)
        );
        assert_eq!(header.aa(), code != Rcode::REFUSED, "{asked} {kind}");
    }
}

#[test]
fn names_that_are_given_hide_those_of_pools() {
    let names = [
        (name("www.ha.test").unwrap(), vec!["web".to_owned(), "api".to_owned()]),
        (name("a.deep.ha.test").unwrap(), vec!["web".to_owned()]),
        (name("ha.test").unwrap(), vec!["web".to_owned()]),
    ];
    let zone = zone(Some(names.into_iter().collect()));
    let view =
        view(&[("web", vec![in_service("192.0.2.1")]), ("api", vec![in_service("192.0.2.9")])]);
    for (asked, code, count) in [
        ("www.ha.test", Rcode::NOERROR, 2),
        ("ha.test", Rcode::NOERROR, 1),
        ("a.deep.ha.test", Rcode::NOERROR, 1),
        ("deep.ha.test", Rcode::NOERROR, 0),
        ("web.ha.test", Rcode::NXDOMAIN, 0),
    ] {
        let found = seen(&ask(&question(asked, Rtype::A), &zone, &view));
        assert_eq!((found.0, found.2.len()), (code, count), "{asked}");
    }
}

#[test]
fn while_nothing_is_known_the_next_server_is_asked() {
    let unknown = View::default();
    for (asked, code) in [
        ("web.ha.test", Rcode::SERVFAIL),
        ("other.ha.test", Rcode::SERVFAIL),
        ("ns.ha.test", Rcode::NOERROR),
        ("example.org", Rcode::REFUSED),
    ] {
        let reply = ask(&question(asked, Rtype::A), &zone(None), &unknown);
        assert_eq!(reply.header().rcode(), code, "{asked}");
    }
    assert_eq!(
        seen(&ask(&question("ha.test", Rtype::SOA), &zone(None), &unknown)).0,
        Rcode::NOERROR
    );
}

#[test]
fn what_is_healthy_and_stays_is_preferred() {
    let sick = |text| InService { healthy: false, ..in_service(text) };
    let leaving = |text| InService { leaving: true, ..in_service(text) };
    let cases = [
        (vec![in_service("192.0.2.1"), sick("192.0.2.2")], vec!["192.0.2.1"]),
        (vec![in_service("192.0.2.1"), leaving("192.0.2.2")], vec!["192.0.2.1"]),
        (vec![leaving("192.0.2.2")], vec!["192.0.2.2"]),
        (vec![sick("192.0.2.1"), leaving("192.0.2.2")], vec!["192.0.2.2"]),
        (vec![sick("192.0.2.1")], vec!["192.0.2.1"]),
        (vec![], vec![]),
    ];
    for (list, expected) in cases {
        let expected: Vec<_> = expected.into_iter().map(address).collect();
        let reply =
            ask(&question("web.ha.test", Rtype::A), &zone(None), &view(&[("web", list.clone())]));
        assert_eq!(seen(&reply).2, expected, "{list:?}");
    }
    for (policy, code) in
        [(WhenUnhealthy::Empty, Rcode::NOERROR), (WhenUnhealthy::Fail, Rcode::SERVFAIL)]
    {
        let zone = zone(None).with_unhealthy(policy);
        let view = view(&[("web", vec![sick("192.0.2.1")])]);
        let found = seen(&ask(&question("web.ha.test", Rtype::A), &zone, &view));
        assert_eq!((found.0, found.2), (code, vec![]), "{policy:?}");
    }
}

#[test]
fn few_addresses_are_drawn_by_weight() {
    let heavy = InService { weight: 3, ..in_service("192.0.2.1") };
    let view = view(&[("web", vec![heavy, in_service("192.0.2.2")])]);
    let zone = zone(None).with_at_most(1);
    let mut first = 0;
    for number in 0_u64..4000 {
        // splitmix64, "Fast splittable pseudorandom number generators".
        let draw = |index: usize| {
            let mut state = (number * 2 + index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
        };
        let query = question("web.ha.test", Rtype::A);
        let reply = answer(&query, Transport::Udp, &zone, &view, draw).unwrap();
        let found = seen(&Message::from_octets(reply).unwrap()).2;
        assert_eq!(found.len(), 1);
        first += usize::from(found[0] == address("192.0.2.1"));
    }
    assert!((2800..3200).contains(&first), "{first} of 4000, and 3000 are expected");
}

#[test]
fn what_does_not_fit_is_truncated_by_udp_and_whole_by_tcp() {
    let many: Vec<_> = (1..=200_u8).map(|last| in_service(&format!("192.0.2.{last}"))).collect();
    let view = view(&[("web", many)]);
    let zone = zone(None);
    for (query, room) in [
        (question("web.ha.test", Rtype::A), 512),
        (with_edns("web.ha.test", Rtype::A, 100, 0), 512),
        (with_edns("web.ha.test", Rtype::A, 4096, 0), usize::from(DATAGRAM_MAX)),
    ] {
        let reply = answer(&query, Transport::Udp, &zone, &view, |_| 1).unwrap();
        assert!(reply.len() <= room, "{} of {room}", reply.len());
        let found = seen(&Message::from_octets(reply).unwrap());
        assert_eq!((found.0, found.1), (Rcode::NOERROR, true));
        let reply = answer(&query, Transport::Tcp, &zone, &view, |_| 1).unwrap();
        let found = seen(&Message::from_octets(reply).unwrap());
        assert_eq!((found.1, found.2.len()), (false, 200));
    }
}

#[test]
fn edns_is_answered_with_edns() {
    let reply = ask(&with_edns("web.ha.test", Rtype::A, 4096, 0), &zone(None), &two());
    assert_eq!(reply.opt().map(|opt| opt.udp_payload_size()), Some(DATAGRAM_MAX));
    let reply = ask(&with_edns("no.ha.test", Rtype::A, 4096, 0), &zone(None), &two());
    assert!(reply.opt().is_some() && reply.header().rcode() == Rcode::NXDOMAIN);
    let reply = ask(&with_edns("web.ha.test", Rtype::A, 4096, 1), &zone(None), &two());
    let code = reply.opt().map(|opt| opt.rcode(reply.header()));
    assert_eq!(code, Some(OptRcode::BADVERS));
    let reply = ask(&question("web.ha.test", Rtype::A), &zone(None), &two());
    assert!(reply.opt().is_none(), "a client that says nothing of it is told nothing of it");
}

#[test]
fn hostile_messages_are_refused_or_dropped() {
    let (zone, view) = (zone(None), two());
    let ask = |query: &[u8]| answer(query, Transport::Udp, &zone, &view, |_| 1);
    let query = question("web.ha.test", Rtype::A);
    for length in 0..query.len() {
        let reply = ask(&query[..length]).map(|reply| Message::from_octets(reply).unwrap());
        let code = reply.map(|reply| reply.header().rcode());
        let expected = (length >= 12).then_some(Rcode::FORMERR);
        assert_eq!(code, expected, "the first {length} bytes");
    }
    let changed = |at: usize, to: u8| {
        let mut query = query.clone();
        query[at] = to;
        query
    };
    assert_eq!(ask(&changed(2, 0x81)), None, "an answer");
    assert_eq!(truncated(&changed(2, 0x81)), None, "an answer");
    let code = |query: &[u8]| Message::from_octets(ask(query).unwrap()).unwrap().header().rcode();
    assert_eq!(code(&changed(2, 0x29)), Rcode::NOTIMP, "an update");
    assert_eq!(code(&changed(5, 2)), Rcode::FORMERR, "two questions");
    assert_eq!(code(&changed(5, 0)), Rcode::FORMERR, "no question");
    assert_eq!(code(&changed(query.len() - 1, 3)), Rcode::REFUSED, "class CH");
    // A name that points to itself.
    assert_eq!(code(&[&query[..12], &[0xc0, 12, 0, 1, 0, 1]].concat()), Rcode::FORMERR);
    let reply = Message::from_octets(truncated(&query).unwrap()).unwrap();
    assert!(reply.header().tc() && reply.header_counts().ancount() == 0);
    // Every byte, every value: an answer or none, and nothing worse.
    for at in 0..query.len() {
        for value in 0..=255 {
            let _any = ask(&changed(at, value));
        }
    }
}

#[test]
fn an_answer_byte_by_byte() {
    let one = view(&[("web", vec![in_service("192.0.2.1")])]);
    let zone = zone(None).with_ttl(Duration::from_secs(5));
    let reply =
        answer(&question("web.ha.test", Rtype::A), Transport::Udp, &zone, &one, |_| 1).unwrap();
    #[rustfmt::skip]
    let expected: &[u8] = &[
        0x12, 0x34, 0x85, 0x00, 0, 1, 0, 1, 0, 0, 0, 0, // QR AA RD; one question, one answer
        3, b'w', b'e', b'b', 2, b'h', b'a', 4, b't', b'e', b's', b't', 0, 0, 1, 0, 1,
        0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 192, 0, 2, 1,
    ];
    assert_eq!(reply, expected);
}

#[test]
fn zones_that_cannot_be_served_are_refused() {
    let name = |text: &str| name(text).unwrap();
    let server = |text: &str, addresses: &[&str]| Server {
        name: name(text),
        addresses: addresses.iter().map(|text| address(text)).collect(),
    };
    let names = |text: &str| Some([(name(text), vec!["web".to_owned()])].into_iter().collect());
    for (servers, names, expected) in [
        (vec![], None, "the zone has no name server: give --server"),
        (
            vec![server("ns.ha.test", &[])],
            None,
            "ns.ha.test is in the zone: give --server ns.ha.test=",
        ),
        (
            vec![server("ns.other.test", &[])],
            names("www.other.test"),
            "www.other.test is not in the zone",
        ),
        (
            vec![server("ns.ha.test", &["192.0.2.1"])],
            names("ns.ha.test"),
            "of a name server and of a pool",
        ),
    ] {
        let fault = Zone::new(name("ha.test"), servers, names).unwrap_err().to_string();
        assert!(fault.contains(expected), "{fault}");
    }
    let elsewhere = vec![server("ns.other.test", &[])];
    assert!(Zone::new(name("ha.test"), elsewhere, None::<Names>).is_ok());
}
