//! One advertisement of each kind, to the owner and to a member that only listens.
//!
//! The kinds are those that were tried with keepalived and FRR. What they do with them is beside
//! each row; where this cluster does otherwise the row says so.

use std::net::IpAddr;
use std::time::Duration;

use buoy::protocol::Outside;
use buoy::vrrp::{
    Advertisement, Authentication, Form, HOP_LIMIT, MULTICAST_V4, Password, Refusal, Settings,
    Version, encode,
};

use super::bench::{ABOVE, BELOW, Bench, HERE, SECOND, THEIRS, advertisement, packet, settings};

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    /// The group is left to the sender; nothing is said.
    Yields,
    /// The sender is to give way; the owner answers at once and announces.
    Answers,
    /// Nothing is said, because the sender is configured otherwise.
    FallsSilent,
    /// As if it had not come, but for the counter.
    Refuses(Refusal),
    /// The owner answers; nothing else.
    AnswersOnly,
}

type Change = fn(&mut Advertisement);

fn heard_as(owner: bool, change: &Sent) -> Reaction {
    let ours = change.ours.clone();
    let mut bench = if owner { Bench::owner(ours) } else { Bench::idle(ours) };
    let before = bench.router().refusals().counts().map(|(_, count)| count).sum::<u64>();
    assert_eq!(before, 0);
    bench.hear(&change.packet);
    let refused = bench.refused();
    let (outside, sent) = (bench.outside(), bench.priorities());
    let mut expected: Vec<u8> = Vec::new();
    let reaction = match (outside, refused.as_slice()) {
        (Outside::Nobody, [(refusal, 1)]) => Reaction::Refuses(*refusal),
        (Outside::Nobody, []) => {
            expected.extend(owner.then_some(150));
            Reaction::AnswersOnly
        }
        (Outside::GivesWay(Some(THEIRS)), []) => {
            expected.extend(owner.then_some(150));
            Reaction::Answers
        }
        (Outside::Prevails(Some(THEIRS)), []) => Reaction::Yields,
        (Outside::Differs(Some(THEIRS)), []) => Reaction::FallsSilent,
        other => panic!("{}: {other:?}", change.name),
    };
    assert_eq!(sent, expected, "{}", change.name);
    assert_eq!(bench.announces(), sent.len(), "{}: it announces when it answers", change.name);
    // What was refused changes nothing; whoever is heard is gone when he has been silent for long.
    bench.done.clear();
    bench.pass(Duration::from_secs(9));
    assert_eq!(bench.router().speakers().count(), 0, "{}", change.name);
    let again = bench.sent().len();
    let expected = match (owner, reaction) {
        (false, _) => 0..1,
        (true, Reaction::Refuses(_) | Reaction::Answers | Reaction::AnswersOnly) => 9..10,
        (true, Reaction::Yields | Reaction::FallsSilent) => 1..7,
    };
    assert!(expected.contains(&again), "{}: {again} in 9 s", change.name);
    reaction
}

/// One row's packet, and what the cluster is configured as.
struct Sent {
    name: &'static str,
    ours: Settings,
    packet: Vec<u8>,
}

fn plain(name: &'static str, version: Version, source: [u8; 4], change: Change) -> Sent {
    let ours = settings(version);
    let mut theirs = advertisement(&ours);
    change(&mut theirs);
    let multicast = MULTICAST_V4.into();
    let payload = encode(&theirs, Form::Pseudo, source.into(), multicast);
    Sent { name, ours, packet: packet(source.into(), multicast, HOP_LIMIT, &payload) }
}

fn check(rows: Vec<(Sent, Reaction, Reaction)>) {
    for (sent, owner, listener) in rows {
        assert_eq!(heard_as(true, &sent), owner, "owner: {}", sent.name);
        assert_eq!(heard_as(false, &sent), listener, "listener: {}", sent.name);
    }
}

#[test]
fn priorities_decide_and_addresses_break_ties() {
    use Reaction::{Answers, AnswersOnly, Yields};
    for version in [Version::V2, Version::V3] {
        let row = |name, source, change: Change| plain(name, version, source, change);
        check(vec![
            (row("200", BELOW, |it| it.priority = 200), Yields, Yields),
            (row("255", BELOW, |it| it.priority = 255), Yields, Yields),
            (row("equal, higher address", ABOVE, |_| ()), Yields, Yields),
            (row("equal, lower address", BELOW, |_| ()), Answers, Yields),
            (row("100", ABOVE, |it| it.priority = 100), Answers, Answers),
            (row("0", ABOVE, |it| it.priority = 0), AnswersOnly, AnswersOnly),
        ]);
    }
}

#[test]
fn what_is_not_for_this_router_is_let_be() {
    let other = |it: &mut Advertisement| it.id = 52;
    let rows = vec![
        (plain("our own address", Version::V3, HERE, |_| ()), Refusal::OwnSource),
        (plain("other VRID", Version::V3, ABOVE, other), Refusal::OtherRouter),
    ];
    for (sent, refusal) in rows {
        assert_eq!(heard_as(true, &sent), Reaction::Refuses(refusal), "{}", sent.name);
        assert_eq!(heard_as(false, &sent), Reaction::Refuses(refusal), "{}", sent.name);
    }
    let mut bench = Bench::idle(settings(Version::V3));
    bench.hear(&plain("", Version::V3, ABOVE, other).packet);
    let overheard: Vec<u8> = bench.routers.overheard().keys().map(|(_, _, id)| *id).collect();
    assert_eq!(overheard, [52], "people can see it");
}

/// keepalived drops all of these, and is muted by them while it has the address.
#[test]
fn whoever_is_configured_otherwise_is_not_spoken_to() {
    use Reaction::FallsSilent;
    let row = |name, version, change: Change| plain(name, version, ABOVE, change);
    let (v2, v3) = (Version::V2, Version::V3);
    let mut rows = vec![
        row("other address", v3, |it| it.addresses = vec![[192, 0, 2, 101].into()]),
        row("one address more", v2, |it| it.addresses.push([192, 0, 2, 101].into())),
        row("interval doubled", v2, |it| it.interval = SECOND * 2),
        row("version 3 for 2", v2, |it| it.version = Version::V3),
        row("version 2 for 3", v3, |it| it.version = Version::V2),
        row("a password", v2, |it| {
            it.authentication = Authentication::Password(Password::new("s3cr"));
        }),
    ];
    for theirs in [Authentication::None, Authentication::Password(Password::new("other"))] {
        let mut ours = settings(v2);
        ours.authentication = Authentication::Password(Password::new("s3cr"));
        let said = Advertisement { authentication: theirs, ..advertisement(&ours) };
        let multicast = MULTICAST_V4.into();
        let payload = encode(&said, Form::Plain, ABOVE.into(), multicast);
        let packet = packet(ABOVE.into(), multicast, HOP_LIMIT, &payload);
        rows.push(Sent { name: "no password, another password", ours, packet });
    }
    // To one host, for a router that is configured for multicast: keepalived does not get it.
    let ours = settings(v3);
    let payload = encode(&advertisement(&ours), Form::Pseudo, ABOVE.into(), HERE.into());
    let to_us = packet(ABOVE.into(), HERE.into(), HOP_LIMIT, &payload);
    rows.push(Sent { name: "unicast to multicast", ours, packet: to_us });
    // And the reverse.
    let mut multicast = plain("multicast to unicast", v3, ABOVE, |_| ());
    multicast.ours.peers = vec![ABOVE.into()];
    rows.push(multicast);
    for row in rows {
        check(vec![(row, FallsSilent, FallsSilent)]);
    }
}

#[test]
fn what_may_differ_is_accepted() {
    use Reaction::Answers;
    let weaker: Change = |it| it.priority = 100;
    let doubled: Change = |it| (it.priority, it.interval) = (100, SECOND * 2);
    let mut order = plain("another order", Version::V3, ABOVE, weaker);
    order.ours.addresses.insert(0, [192, 0, 2, 101].into());
    let mut theirs = advertisement(&order.ours);
    theirs.priority = 100;
    theirs.addresses.reverse();
    let multicast: IpAddr = MULTICAST_V4.into();
    let payload = encode(&theirs, Form::Pseudo, ABOVE.into(), multicast);
    order.packet = packet(ABOVE.into(), multicast, HOP_LIMIT, &payload);
    // FRR 8.4.4 takes these bits for a part of the interval.
    let mut reserved = plain("reserved bits", Version::V3, ABOVE, weaker);
    reserved.packet[20 + 4] |= 0xf0;
    reserved.packet[26..28].fill(0);
    let sum = Form::Pseudo.sum(&reserved.packet[20..], ABOVE.into(), MULTICAST_V4.into());
    reserved.packet[26..28].copy_from_slice(&sum.to_be_bytes());
    check(vec![
        (plain("interval doubled", Version::V3, ABOVE, doubled), Answers, Answers),
        (order, Answers, Answers),
        (reserved, Answers, Answers),
    ]);
}

/// All three forms of checksum are read, and answered in the one that was heard.
#[test]
fn checksums_follow_what_is_heard() {
    for (form, peers) in [
        (Form::Plain, vec![]),
        (Form::Pseudo, vec![]),
        (Form::Multicast, vec![IpAddr::from(BELOW)]),
        (Form::Plain, vec![IpAddr::from(BELOW)]),
    ] {
        let mut ours = settings(Version::V3);
        ours.peers.clone_from(&peers);
        let mut bench = Bench::owner(ours.clone());
        let mut theirs = advertisement(&ours);
        theirs.priority = 100;
        let to: IpAddr = if peers.is_empty() { MULTICAST_V4.into() } else { HERE.into() };
        let payload = encode(&theirs, form, BELOW.into(), to);
        bench.hear(&packet(BELOW.into(), to, HOP_LIMIT, &payload));
        assert_eq!(bench.router().form(), form);
        assert_eq!(bench.priorities(), [150], "{form:?}");
    }
}

/// keepalived takes what comes to one host from anywhere and with any hop limit.
#[test]
fn peers_are_heard_with_any_hop_limit_and_others_not_at_all() {
    use Reaction::{Refuses, Yields};
    let mut ours = settings(Version::V3);
    ours.peers = vec![ABOVE.into()];
    let from = |name, source: [u8; 4], hops| {
        let mut theirs = advertisement(&ours);
        theirs.priority = 200;
        let payload = encode(&theirs, Form::Pseudo, source.into(), HERE.into());
        let packet = packet(source.into(), HERE.into(), hops, &payload);
        Sent { name, ours: ours.clone(), packet }
    };
    let refused = Refuses(Refusal::NotAPeer);
    check(vec![
        (from("hop limit 64", ABOVE, 64), Yields, Yields),
        (from("no peer", BELOW, 255), refused, refused),
    ]);
}

#[test]
fn what_cannot_be_right_is_refused_and_counted() {
    let (v2, v3) = (Version::V2, Version::V3);
    let bytes = |name, version, change: fn(&mut Vec<u8>)| {
        let ours = settings(version);
        let mut theirs = advertisement(&ours);
        theirs.priority = 200;
        let mut payload = encode(&theirs, Form::Pseudo, ABOVE.into(), MULTICAST_V4.into());
        change(&mut payload);
        // The checksum in the plain form, which both versions take, unless the change is of it.
        if name != "bad checksum" {
            payload[6..8].fill(0);
            let sum = Form::Plain.sum(&payload, ABOVE.into(), HERE.into());
            payload[6..8].copy_from_slice(&sum.to_be_bytes());
        }
        let packet = packet(ABOVE.into(), MULTICAST_V4.into(), HOP_LIMIT, &payload);
        Sent { name, ours, packet }
    };
    let mut forwarded = plain("hop limit 254", v3, ABOVE, |it| it.priority = 200);
    forwarded.packet[8] = 254;
    let mut summed = plain("version 2 with pseudo-header", v2, ABOVE, |it| it.priority = 200);
    summed.packet[26..28].fill(0);
    let sum = Form::Pseudo.sum(&summed.packet[20..], ABOVE.into(), MULTICAST_V4.into());
    summed.packet[26..28].copy_from_slice(&sum.to_be_bytes());
    let rows = vec![
        (bytes("count 0", v2, |it| it[3] = 0), Refusal::NoAddress),
        (bytes("count 0", v3, |it| it[3] = 0), Refusal::NoAddress),
        (bytes("interval 0", v2, |it| it[5] = 0), Refusal::Interval),
        (bytes("interval 0", v3, |it| it[4..6].fill(0)), Refusal::Interval),
        (bytes("bad checksum", v3, |it| it[6] ^= 1), Refusal::Checksum),
        (bytes("type 2", v3, |it| it[0] = 0x32), Refusal::Type),
        (bytes("version 1", v2, |it| it[0] = 0x11), Refusal::Version),
        (bytes("4 bytes too many", v3, |it| it.extend([0; 4])), Refusal::Length),
        (bytes("one address short", v3, |it| it[3] = 2), Refusal::Length),
        (bytes("authentication by header", v2, |it| it[4] = 2), Refusal::Authentication),
        (forwarded, Refusal::HopLimit),
        (summed, Refusal::Checksum),
    ];
    for (sent, refusal) in rows {
        let refuses = Reaction::Refuses(refusal);
        check(vec![(sent, refuses, refuses)]);
    }
}
