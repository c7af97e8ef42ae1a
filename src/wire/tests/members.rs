//! Nodes that the configuration does not name, floods that name a peer, clones, clocks put back.

use std::time::Duration;

use super::sample::{random_heartbeat, ring, sessions};
use crate::protocol::{Heartbeat, Incarnation, Instant, Message, NodeId, NodePhase, Random};
use crate::wire::{Key, KeyRing, Opened, RefusedDatagram, RingRefusal, Sessions};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn at(milli: u64) -> Instant {
    Instant::from_millis(10_000 + milli)
}

fn beat(clock_ms: u64) -> Message {
    let sample = random_heartbeat(&mut Random::new(1), 0);
    let (interval, phase) = (Duration::from_millis(100), NodePhase::Active);
    Message::Heartbeat(Heartbeat { interval, phase, clock_ms, ..sample })
}

fn sealed(from: &mut Sessions, to: NodeId, clock_ms: u64) -> Vec<u8> {
    let mut datagram = Vec::new();
    from.seal(to, &beat(clock_ms), &mut datagram);
    datagram
}

/// A heartbeat and all that follows from it; how the last datagram ended.
fn exchange(milli: u64, from: &mut Sessions, to: &mut Sessions) -> Opened {
    let mut datagram = sealed(from, to.local.me, 10_000 + milli);
    loop {
        let opened = to.open(at(milli), &mut datagram);
        let Opened::Reply { datagram: reply, .. } = opened else { return opened };
        datagram = reply;
        let opened = from.open(at(milli), &mut datagram);
        let Opened::Reply { datagram: reply, .. } = opened else { return opened };
        datagram = reply;
    }
}

#[test]
fn a_node_that_is_not_listed_is_a_peer_once_its_datagram_opens() {
    let (mut a, mut b) = (sessions(1, 10, &[2]), sessions(2, 20, &[]));
    assert_eq!(exchange(0, &mut a, &mut b), Opened::Consumed);
    assert!(matches!(exchange(1, &mut a, &mut b), Opened::Message { from: A, .. }));
    assert!(!b.is_listed(A) && b.present(A).is_some());
    // Taken out of the file, heard on.
    a.reconfigure(&[], ring(&[1], 1));
    assert!(matches!(exchange(2, &mut b, &mut a), Opened::Message { from: B, .. }));
}

#[test]
fn nodes_that_are_not_listed_are_bounded_and_forgeries_make_none() {
    let mut b = sessions(2, 20, &[]);
    for other in 100..400_u32 {
        let mut unknown = sessions(other, 10, &[2]);
        let milli = u64::from(other) * 200;
        let opened = b.open(at(milli), &mut sealed(&mut unknown, B, 1));
        assert!(matches!(opened, Opened::Reply { .. }), "{opened:?}");
        assert!(b.peers.len() < crate::protocol::NODES_MAX);
    }
    let before = b.peers.len();
    let mut forged = sealed(&mut sessions(999, 10, &[2]), B, 1);
    forged[50] ^= 1;
    let opened = b.open(at(100_000), &mut forged);
    assert_eq!(opened, Opened::Refused(RefusedDatagram::UnknownSource));
    assert_eq!(b.peers.len(), before);
}

/// The life of A is over. 20,000 datagrams a second claim to be of lives that never were; the next
/// life of A is believed within a few of its heartbeats, and few keys are derived.
#[test]
fn a_flood_of_forged_lives_does_not_keep_a_restarted_node_out() {
    for seed in 0..20 {
        let (mut a, mut b) = (sessions(1, 10, &[2]), sessions(2, 20, &[1]));
        assert_eq!(exchange(0, &mut a, &mut b), Opened::Consumed);
        let template = sealed(&mut a, B, 1);
        let mut a = sessions(1, 11, &[2]);
        let mut random = Random::new(seed);
        let (mut derived, mut believed_after) = (0, None);
        // B is not proven to A either, which asks it as often as it may, here and below.
        for milli in 1_900..2_000 {
            a.open(at(milli), &mut sealed(&mut b, A, 1));
        }
        for step in 0..20_000_u64 {
            // Twenty in a millisecond.
            let milli = 2_000 + step / 20;
            let mut forged = template.clone();
            forged[20..28].copy_from_slice(&random.next_u64().to_be_bytes());
            let mut towards_a = Vec::new();
            let opened = b.open(at(milli), &mut forged);
            if let Opened::Reply { datagram, .. } = opened {
                towards_a.push(datagram);
            } else if opened == Opened::Refused(RefusedDatagram::BadSeal) {
                derived += 1;
            } else {
                assert_eq!(opened, Opened::Refused(RefusedDatagram::TooManyLives));
            }
            if step % 2_000 == 1_000
                && b.present(A) != Some(Incarnation(11))
                && let Opened::Reply { datagram, .. } = b.open(at(milli), &mut sealed(&mut a, B, 1))
            {
                towards_a.push(datagram);
            }
            if step.is_multiple_of(20) {
                a.open(at(milli), &mut sealed(&mut b, A, 1));
            }
            for mut hello in towards_a {
                if let Opened::Reply { mut datagram, .. } = a.open(at(milli), &mut hello) {
                    b.open(at(milli), &mut datagram);
                }
            }
            if b.present(A) == Some(Incarnation(11)) {
                believed_after = Some(milli - 2_000);
                break;
            }
        }
        let after = believed_after.expect("the new life is never believed");
        assert!(after <= 300, "seed {seed}: {after} ms");
        assert!(derived <= 20, "{derived} keys derived");
    }
}

/// As the flood, but its datagrams have a random challenge in clear: none is right.
#[test]
fn answers_in_clear_that_are_wrong_cost_no_key() {
    let (mut a, mut b) = (sessions(1, 10, &[2]), sessions(2, 20, &[1]));
    assert_eq!(exchange(0, &mut a, &mut b), Opened::Consumed);
    let template = sealed(&mut a, B, 1);
    let mut derived = 0;
    for step in 0..2_000_u64 {
        let mut forged = template.clone();
        forged[3] = 2;
        forged[20..28].copy_from_slice(&(1000 + step).to_be_bytes());
        forged[36..44].copy_from_slice(&step.to_be_bytes());
        if b.open(at(2_000), &mut forged) == Opened::Refused(RefusedDatagram::BadSeal) {
            derived += 1;
        }
    }
    assert!(derived <= 8, "{derived}");
}

#[test]
fn both_nodes_of_one_name_are_told() {
    let (mut a, mut b) = (sessions(1, 10, &[2]), sessions(2, 20, &[1]));
    let mut clone = sessions(1, 11, &[2]);
    exchange(0, &mut a, &mut b);
    let (mut told_a, mut told_clone) = (None, None);
    for turn in 1..20 {
        exchange(turn * 100, &mut a, &mut b);
        let mut datagram = sealed(&mut clone, B, 1);
        if let Opened::Reply { mut datagram, .. } = b.open(at(turn * 100 + 50), &mut datagram) {
            // It goes to both, who have the same addresses.
            a.open(at(turn * 100 + 50), &mut datagram.clone());
            let opened = clone.open(at(turn * 100 + 50), &mut datagram);
            if let Opened::Reply { mut datagram, .. } = opened {
                b.open(at(turn * 100 + 50), &mut datagram);
            }
        }
        told_a = told_a.or(a.take_twin());
        told_clone = told_clone.or(clone.take_twin());
    }
    assert_eq!((told_a, told_clone), (Some(B), Some(B)));
    assert_eq!(b.present(A), Some(Incarnation(10)));
}

/// A is put back to what it was a minute ago: it is heard again after one heartbeat of its peer, and
/// says nothing under a sequence that it used in that minute.
#[test]
fn a_node_put_back_to_a_snapshot_skips_what_it_may_have_said() {
    let (mut a, mut b) = (sessions(1, 10, &[2]), sessions(2, 20, &[1]));
    exchange(0, &mut a, &mut b);
    exchange(1, &mut b, &mut a);
    let snapshot = a.issued().clone();
    for _ in 0..6_000 {
        b.open(at(60_000), &mut sealed(&mut a, B, 1));
    }
    let used = a.issued()[&B].sequence;
    // As memory is put back: what was issued is forgotten, and the clock is that of then.
    a.issued = snapshot;
    let opened = b.open(at(60_100), &mut sealed(&mut a, B, 1));
    assert!(matches!(opened, Opened::Refused(_)), "{opened:?}");
    let opened = a.open(at(200), &mut sealed(&mut b, A, 70_200));
    assert!(matches!(opened, Opened::Message { .. }), "{opened:?}");
    assert!(a.issued()[&B].sequence > used);
    let opened = b.open(at(60_200), &mut sealed(&mut a, B, 1));
    assert!(matches!(opened, Opened::Message { .. }), "{opened:?}");
}

#[test]
fn a_clock_that_drifts_skips_nothing() {
    let (mut a, mut b) = (sessions(1, 10, &[2]), sessions(2, 20, &[1]));
    exchange(0, &mut a, &mut b);
    exchange(1, &mut b, &mut a);
    for second in 0..5_000 {
        a.open(at(second * 1_000), &mut sealed(&mut b, A, 10_000 + second * 1_001));
    }
    assert!(a.issued()[&B].sequence < 10);
}

#[test]
fn keys_that_peers_need_are_not_taken_away() {
    let (mut a, mut b) = (sessions(1, 10, &[2]), sessions(2, 20, &[1]));
    exchange(0, &mut a, &mut b);
    exchange(1, &mut a, &mut b);
    let other = KeyRing::new(vec![Key { id: 1, secret: [99; 32] }], 1).unwrap();
    assert_eq!(b.refusal(at(2), &other), Some(RingRefusal::Replaced(1)));
    let gone = RingRefusal::InUse { key: 1, by: A };
    assert_eq!(b.refusal(at(2), &ring(&[2], 2)), Some(gone));
    assert_eq!(b.refusal(at(2), &ring(&[1, 2], 2)), None);
    // Nobody is heard who could be lost.
    assert_eq!(b.refusal(at(5_000), &ring(&[2], 2)), None);
}
