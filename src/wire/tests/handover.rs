//! Peers of other releases, and a life that goes on in another process.

use std::time::Duration;

use super::sample::{random_heartbeat, ring, sessions};
use crate::protocol::{Heartbeat, Incarnation, Instant, Message, NodeId, NodePhase, Random};
use crate::wire::{FEATURE_NEIGHBOURS, Opened, RefusedDatagram, Sessions};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn at(milli: u64) -> Instant {
    Instant::from_millis(10_000 + milli)
}

fn beat() -> Heartbeat {
    let sample = random_heartbeat(&mut Random::new(1), 0);
    Heartbeat { interval: Duration::from_millis(100), phase: NodePhase::Active, ..sample }
}

/// A heartbeat of `from` and all that follows from it; whether it was taken as a message.
fn exchange(milli: u64, from: &mut Sessions, to: &mut Sessions) -> bool {
    let mut datagram = Vec::new();
    from.seal(to.local.me, &Message::Heartbeat(beat()), &mut datagram);
    let receivers = [to, from];
    for turn in 0..8 {
        match receivers[turn % 2].open(at(milli), &mut datagram) {
            Opened::Reply { datagram: reply, .. } => datagram = reply,
            Opened::Message { .. } => return true,
            Opened::Consumed | Opened::Refused(_) => return false,
        }
    }
    panic!("it does not end");
}

/// As a release that knows less would tell: what it lacks is named, and is not sent.
#[test]
fn what_is_held_back_from_an_older_peer_is_named() {
    let (mut a, mut b) = (sessions(1, 1, &[2]), sessions(2, 1, &[1]));
    exchange(0, &mut b, &mut a);
    assert!(a.held_back().is_empty(), "it has told nothing yet");
    assert!(exchange(100, &mut b, &mut a));
    assert!(a.held_back().is_empty(), "it is the same release");
    let session = a.peers.get_mut(&B).and_then(|peer| peer.session.as_mut()).unwrap();
    session.note(at(0), &beat(), FEATURE_NEIGHBOURS);
    assert_eq!(a.held_back(), [(B, vec!["connections", "drain --now"])].into());
    let mut datagram = Vec::new();
    a.seal(B, &Message::Connections(Vec::new()), &mut datagram);
    assert!(datagram.is_empty(), "it could not read it");
    a.seal(B, &Message::Neighbours(Vec::new()), &mut datagram);
    assert!(!datagram.is_empty(), "it tells that it can");
}

/// To its peer the second process is the first: no handshake of theirs, no sequence twice. It
/// proves the peer's life itself.
#[test]
fn a_life_goes_on_in_another_process() {
    let (mut first, mut b) = (sessions(1, 7, &[2]), sessions(2, 1, &[1]));
    exchange(0, &mut first, &mut b);
    assert!(exchange(100, &mut first, &mut b) && exchange(101, &mut b, &mut first));
    let mut seen = Vec::new();
    first.seal(B, &Message::Heartbeat(beat()), &mut seen);
    let last_words = first.seal_last(B, &Message::Heartbeat(beat()));
    let (issued, local) = (first.issued().clone(), first.local.clone());
    let mut second = Sessions::go_on(local.clone(), ring(&[1], 1), issued);
    drop(first);
    let mut next = Vec::new();
    second.seal(B, &Message::Heartbeat(beat()), &mut next);
    assert!(next[28..36] > seen[28..36], "a sequence is issued twice");
    assert_ne!(second.seal_last(B, &Message::Heartbeat(beat()))[28..36], last_words[28..36]);
    assert!(matches!(b.open(at(150), &mut next), Opened::Message { .. }), "no handshake");
    assert_eq!(b.present(A), Some(Incarnation(7)));
    assert!(!exchange(200, &mut b, &mut second), "the life of the peer is proven again");
    assert!(exchange(300, &mut b, &mut second));
    // Without what was issued its sequences are those of before, and are refused.
    let mut forgetful = Sessions::new(local, ring(&[1], 1));
    let mut old = Vec::new();
    forgetful.seal(B, &Message::Heartbeat(beat()), &mut old);
    assert!(matches!(b.open(at(301), &mut old), Opened::Refused(_)));
}

/// Each path carries a copy. All but the first are refused, and known by their seal.
#[test]
fn a_copy_that_is_refused_is_known_by_its_seal() {
    let (mut a, mut b) = (sessions(1, 1, &[2]), sessions(2, 1, &[1]));
    exchange(0, &mut a, &mut b);
    assert!(exchange(100, &mut a, &mut b));
    let mut datagram = Vec::new();
    a.seal(B, &Message::Heartbeat(beat()), &mut datagram);
    let [mut first, mut copy, mut forged, mut other] = [(); 4].map(|()| datagram.clone());
    assert!(matches!(b.open(at(200), &mut first), Opened::Message { .. }));
    let duplicate = Opened::Refused(RefusedDatagram::Duplicate);
    assert_eq!(b.open(at(200), &mut copy), duplicate);
    assert_eq!(b.copy_from(&mut copy), Some(A));
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(b.open(at(200), &mut forged), duplicate);
    assert_eq!(b.copy_from(&mut forged), None);
    let mut reborn = sessions(2, 2, &[1]);
    assert_eq!(reborn.copy_from(&mut other), None, "of a life that is not proved to it");
    for length in 0..other.len() {
        assert_eq!(b.copy_from(&mut other[..length]), None, "cut to {length}");
    }
}
