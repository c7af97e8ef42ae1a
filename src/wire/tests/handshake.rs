//! Which life of a peer is believed: starts, restarts, losses, recordings, forgeries, clones.

use std::collections::VecDeque;
use std::time::Duration;

use super::sample::{heartbeat, key, random_heartbeat, ring, sessions};
use crate::protocol::{Heartbeat, Incarnation, Instant, Message, NodeId, NodePhase, Random};
use crate::wire::{DATAGRAM_MAX, Key, KeyRing, Local, Opened, RefusedDatagram, Sessions};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn a(incarnation: u64) -> Sessions {
    sessions(1, incarnation, &[2])
}

fn b(incarnation: u64) -> Sessions {
    sessions(2, incarnation, &[1])
}

fn at(milli: u64) -> Instant {
    Instant::from_millis(10_000 + milli)
}

fn beat(interval: u64, phase: NodePhase) -> Message {
    let sample = random_heartbeat(&mut Random::new(1), 0);
    let interval = Duration::from_millis(interval);
    Message::Heartbeat(Heartbeat { interval, phase, ..sample })
}

fn sealed(from: &mut Sessions, to: NodeId) -> Vec<u8> {
    let mut datagram = Vec::new();
    from.seal(to, &beat(100, NodePhase::Active), &mut datagram);
    datagram
}

fn reply(opened: Opened) -> Vec<u8> {
    let Opened::Reply { datagram, .. } = opened else {
        panic!("wanted a reply, got {opened:?}");
    };
    datagram
}

fn refused(reason: RefusedDatagram) -> Opened {
    Opened::Refused(reason)
}

fn is_message(opened: &Opened) -> bool {
    matches!(opened, Opened::Message { .. })
}

/// One heartbeat of `from` and all that follows from it; the outcome of the heartbeat's last.
fn exchange(milli: u64, from: &mut Sessions, to: &mut Sessions) -> Vec<Opened> {
    let mut outcomes = Vec::new();
    let destination = to.local.me;
    let mut datagram = sealed(from, destination);
    let mut receiver_is_to = true;
    loop {
        let receiver = if receiver_is_to { &mut *to } else { &mut *from };
        let opened = receiver.open(at(milli), &mut datagram);
        receiver_is_to = !receiver_is_to;
        match opened {
            Opened::Reply { datagram: next, .. } => datagram = next,
            Opened::Message { .. } | Opened::Consumed | Opened::Refused(_) => {
                outcomes.push(opened);
                return outcomes;
            }
        }
    }
}

fn acquainted(first: &mut Sessions, second: &mut Sessions) {
    assert_eq!(exchange(0, first, second), [Opened::Consumed]);
    assert!(is_message(&exchange(1, first, second)[0]));
    assert!(is_message(&exchange(1, second, first)[0]));
}

#[test]
fn one_heartbeat_introduces_both_sides() {
    let (mut a, mut b) = (a(10), b(20));
    acquainted(&mut a, &mut b);
    assert_eq!(a.present(B), Some(Incarnation(20)));
    assert_eq!(b.present(A), Some(Incarnation(10)));
}

#[test]
fn both_start_at_once() {
    let (mut a, mut b) = (a(10), b(20));
    let (mut from_a, mut from_b) = (sealed(&mut a, B), sealed(&mut b, A));
    let mut hello_b = reply(b.open(at(0), &mut from_a));
    let mut hello_a = reply(a.open(at(0), &mut from_b));
    let mut answer_a = reply(a.open(at(1), &mut hello_b));
    let mut answer_b = reply(b.open(at(1), &mut hello_a));
    for (receiver, datagram) in [(&mut a, &mut answer_b), (&mut b, &mut answer_a)] {
        let opened = receiver.open(at(2), datagram);
        assert!(matches!(opened, Opened::Reply { .. } | Opened::Consumed), "{opened:?}");
    }
    assert!(is_message(&exchange(3, &mut a, &mut b)[0]));
    assert!(is_message(&exchange(3, &mut b, &mut a)[0]));
}

/// Any subset of the first datagrams is lost; a few heartbeats later all is well.
#[test]
fn lost_hellos_are_made_good_by_the_next_heartbeats() {
    for losses in 0..256_u32 {
        let (mut a, mut b) = (a(10), b(20));
        let mut carried = 0;
        for turn in 0..6 {
            let mut queue = VecDeque::from([(B, sealed(&mut a, B)), (A, sealed(&mut b, A))]);
            while let Some((to, mut datagram)) = queue.pop_front() {
                carried += 1;
                if carried <= 8 && losses & (1 << (carried - 1)) != 0 {
                    continue;
                }
                let receiver = if to == A { &mut a } else { &mut b };
                match receiver.open(at(turn * 100), &mut datagram) {
                    Opened::Reply { to, datagram, .. } => queue.push_back((to, datagram)),
                    Opened::Message { .. } | Opened::Consumed => {}
                    Opened::Refused(reason) => panic!("losses {losses:b}: {reason}"),
                }
            }
        }
        assert!(is_message(&exchange(600, &mut a, &mut b)[0]), "losses {losses:b}");
        assert!(is_message(&exchange(600, &mut b, &mut a)[0]), "losses {losses:b}");
    }
}

#[test]
fn the_second_path_brings_duplicates() {
    let (mut a, mut b) = (a(10), b(20));
    let first = sealed(&mut a, B);
    let mut hello = reply(b.open(at(0), &mut first.clone()));
    assert_eq!(b.open(at(0), &mut first.clone()), refused(RefusedDatagram::Duplicate));
    let answer = reply(a.open(at(0), &mut hello));
    reply(b.open(at(0), &mut answer.clone()));
    assert_eq!(b.open(at(0), &mut answer.clone()), refused(RefusedDatagram::Duplicate));
    let second = sealed(&mut a, B);
    assert!(is_message(&b.open(at(1), &mut second.clone())));
    assert_eq!(b.open(at(1), &mut second.clone()), refused(RefusedDatagram::Duplicate));
}

#[test]
fn a_restarted_peer_is_recognised_after_two_intervals() {
    let (mut a1, mut b) = (a(10), b(20));
    acquainted(&mut a1, &mut b);
    let mut a2 = a(11);
    assert_eq!(exchange(60, &mut a2, &mut b), [refused(RefusedDatagram::IncumbentHeard)]);
    assert_eq!(exchange(160, &mut a2, &mut b), [refused(RefusedDatagram::IncumbentHeard)]);
    assert_eq!(exchange(201, &mut a2, &mut b), [Opened::Consumed]);
    assert_eq!(b.present(A), Some(Incarnation(11)));
    assert!(is_message(&exchange(202, &mut a2, &mut b)[0]));
    assert!(is_message(&exchange(202, &mut b, &mut a2)[0]));
}

#[test]
fn a_peer_that_said_good_bye_may_be_back_at_once() {
    let (mut a1, mut b) = (a(10), b(20));
    acquainted(&mut a1, &mut b);
    let mut bye = Vec::new();
    a1.seal(B, &beat(100, NodePhase::Left), &mut bye);
    assert!(is_message(&b.open(at(2), &mut bye)));
    assert_eq!(exchange(3, &mut a(11), &mut b), [Opened::Consumed]);
    assert_eq!(b.present(A), Some(Incarnation(11)));
}

/// Everything that either side ever sent is played to a later life of the receiver: nothing but
/// a few hellos comes of it, and no life is believed.
#[test]
fn recordings_of_a_past_life_convince_nobody() {
    let (mut a1, mut b1) = (a(10), b(20));
    let mut tape = Vec::new();
    let mut first = sealed(&mut a1, B);
    tape.push(first.clone());
    let mut hello = reply(b1.open(at(0), &mut first));
    tape.push(hello.clone());
    let mut answer = reply(a1.open(at(0), &mut hello));
    tape.push(answer.clone());
    tape.push(reply(b1.open(at(0), &mut answer)));
    for milli in 3..50 {
        tape.push(sealed(&mut a1, B));
        b1.open(at(milli), &mut sealed(&mut a1, B));
    }

    let mut b2 = b(21);
    let mut replies = 0;
    for pass in 0..3 {
        for recorded in &tape {
            match b2.open(at(100 + pass), &mut recorded.clone()) {
                Opened::Reply { .. } => replies += 1,
                Opened::Refused(_) => {}
                other @ (Opened::Message { .. } | Opened::Consumed) => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(b2.present(A), None);
    // Eight to messages, and one to the only challenge on the tape.
    assert!((1..=9).contains(&replies), "{replies} replies");
    // And the living one is believed in spite of it, with the recordings still refused.
    assert_eq!(exchange(300, &mut a1, &mut b2), [Opened::Consumed]);
    for recorded in &tape {
        let opened = b2.open(at(301), &mut recorded.clone());
        assert!(matches!(opened, Opened::Refused(_)), "{opened:?}");
    }
}

/// The answer of a life that was believed once is played again after the next life took over.
#[test]
fn a_used_answer_is_no_answer() {
    let (mut a1, mut b) = (a(10), b(20));
    let mut hello = reply(b.open(at(0), &mut sealed(&mut a1, B)));
    let answer = reply(a1.open(at(0), &mut hello));
    reply(b.open(at(0), &mut answer.clone()));
    assert_eq!(b.present(A), Some(Incarnation(10)));

    let mut a2 = a(11);
    assert_eq!(exchange(1100, &mut a2, &mut b), [Opened::Consumed]);
    assert_eq!(b.present(A), Some(Incarnation(11)));
    // Even once the new life is silent as well.
    let opened = b.open(at(5000), &mut answer.clone());
    assert!(matches!(opened, Opened::Reply { .. }), "{opened:?}");
    assert_eq!(b.present(A), Some(Incarnation(11)));
    assert!(is_message(&exchange(5001, &mut a2, &mut b)[0]));
}

/// The peer is taken out of the configuration and put back: its first answer is played again.
#[test]
fn an_answer_from_before_a_reload_is_no_answer() {
    let (mut a, mut b) = (a(10), b(20));
    let mut hello = reply(b.open(at(0), &mut sealed(&mut a, B)));
    let answer = reply(a.open(at(0), &mut hello));
    reply(b.open(at(0), &mut answer.clone()));
    assert_eq!(b.present(A), Some(Incarnation(10)));
    // One that lives stays a peer meanwhile; one that has left is forgotten.
    let mut farewell = Vec::new();
    a.seal(B, &beat(100, NodePhase::Left), &mut farewell);
    for left in [false, true] {
        if left {
            assert!(is_message(&b.open(at(1), &mut farewell)));
        }
        b.reconfigure(&[], ring(&[1], 1));
        b.reconfigure(&[A], ring(&[1], 1));
        let opened = b.open(at(1), &mut answer.clone());
        let expected = if left {
            matches!(opened, Opened::Reply { .. })
        } else {
            matches!(opened, Opened::Refused(_))
        };
        assert!(expected, "{left} {opened:?}");
        assert_eq!(b.present(A), (!left).then_some(Incarnation(10)));
    }
}

#[test]
fn a_clone_is_refused_while_the_first_is_heard() {
    let (mut first, mut b) = (a(10), b(20));
    acquainted(&mut first, &mut b);
    let mut clone = a(11);
    let mut duplicates = 0;
    for turn in 1..100 {
        let milli = turn * 100;
        assert!(is_message(&exchange(milli, &mut first, &mut b)[0]), "turn {turn}");
        match exchange(milli + 50, &mut clone, &mut b)[..] {
            [Opened::Refused(RefusedDatagram::DuplicateNode)] => duplicates += 1,
            [Opened::Refused(RefusedDatagram::IncumbentHeard)] => assert_eq!(turn, 1),
            ref other => panic!("{other:?}"),
        }
    }
    assert_eq!(duplicates, 98);
    assert_eq!(b.present(A), Some(Incarnation(10)));
    // The first dies: now the clone is nothing but a restart, which shows after a while.
    for turn in 1..19 {
        let answer = exchange(9_950 + turn * 100, &mut clone, &mut b);
        assert_eq!(answer, [Opened::Refused(RefusedDatagram::DuplicateNode)], "turn {turn}");
    }
    assert_eq!(exchange(11_850, &mut clone, &mut b), [Opened::Consumed]);
    assert_eq!(b.present(A), Some(Incarnation(11)));
}

/// The machine stands still with all of them for half a second, again and again, and the clone is
/// the first to be heard each time (c33 in docs/faults.md).
#[test]
fn a_clone_that_is_heard_first_after_a_stall_is_refused() {
    for late in [50, 150] {
        let (mut first, mut b) = (a(10), b(20));
        acquainted(&mut first, &mut b);
        let mut clone = a(11);
        for turn in 1..100 {
            let milli = turn * 600;
            assert!(is_message(&exchange(milli, &mut first, &mut b)[0]), "turn {turn}");
            let refused = exchange(milli + 50, &mut clone, &mut b);
            assert!(matches!(refused[..], [Opened::Refused(_)]), "turn {turn}: {refused:?}");
            if turn > 1 {
                let refused = exchange(milli + 600 - late, &mut clone, &mut b);
                assert!(matches!(refused[..], [Opened::Refused(_)]), "turn {turn}: {refused:?}");
            }
        }
        assert_eq!(b.present(A), Some(Incarnation(10)));
    }
}

/// 20,000 forged datagrams, half with the life that is present and half with unknown ones,
/// between two heartbeats: the second is taken, and only a handful of keys were derived.
#[test]
fn forgeries_neither_close_nor_delay_a_session() {
    let (mut a, mut b) = (a(10), b(20));
    acquainted(&mut a, &mut b);
    let template = sealed(&mut a, B);
    let mut counts = [0_u32; RefusedDatagram::COUNT];
    for forgery in 0..20_000_u64 {
        let mut datagram = template.clone();
        if forgery % 2 == 0 {
            datagram[20..28].copy_from_slice(&(1 << 40 | forgery).to_be_bytes());
        }
        datagram[28..36].copy_from_slice(&(1000 + forgery).to_be_bytes());
        match b.open(at(2), &mut datagram) {
            Opened::Refused(reason) => counts[reason.index()] += 1,
            other @ (Opened::Message { .. } | Opened::Reply { .. } | Opened::Consumed) => {
                panic!("{other:?}")
            }
        }
    }
    let many_lives = counts[RefusedDatagram::TooManyLives.index()];
    let bad_seals = counts[RefusedDatagram::BadSeal.index()];
    assert_eq!(many_lives + bad_seals, 20_000);
    assert!((9_990..10_000).contains(&many_lives), "{many_lives}");
    assert!(is_message(&b.open(at(3), &mut template.clone())));
}

#[test]
fn hellos_to_unproven_lives_are_limited() {
    let (mut a, mut b) = (a(10), b(20));
    let mut replies = 0;
    for milli in 0..1000 {
        match b.open(at(milli), &mut sealed(&mut a, B)) {
            Opened::Reply { .. } => replies += 1,
            Opened::Refused(reason) => assert_eq!(reason, RefusedDatagram::TooManyHellos),
            other @ (Opened::Message { .. } | Opened::Consumed) => panic!("{other:?}"),
        }
    }
    assert!((15..=19).contains(&replies), "{replies} hellos in a second");
}

#[test]
fn another_cluster_another_destination_an_unknown_sender() {
    let mut b = b(20);
    let mut other = Sessions::new(
        Local {
            cluster: "other".to_owned(),
            me: A,
            incarnation: Incarnation(10),
            peers: vec![B],
            challenge_secret: [0; 32],
        },
        ring(&[1], 1),
    );
    let opened = b.open(at(0), &mut sealed(&mut other, B));
    assert_eq!(opened, refused(RefusedDatagram::OtherCluster));
    let opened = b.open(at(0), &mut sealed(&mut a(10), NodeId(3)));
    assert_eq!(opened, refused(RefusedDatagram::NotForMe));
    let mut unknown = sessions(9, 1, &[2]);
    unknown.reconfigure(&[B], ring(&[2], 2));
    let opened = b.open(at(0), &mut sealed(&mut unknown, B));
    assert_eq!(opened, refused(RefusedDatagram::UnknownSource));
}

/// The cluster's name goes into the keys, so that two clusters whose names share a hash stay
/// apart; so does the node, so that one node cannot speak for another by accident.
#[test]
fn the_seal_binds_cluster_node_and_destination() {
    let mut b = b(20);
    for range in [12..16_usize, 16..20, 20..28, 28..36] {
        let mut datagram = sealed(&mut a(10), B);
        datagram[range.start] ^= 1;
        let opened = b.open(at(0), &mut datagram);
        assert!(matches!(opened, Opened::Refused(_)), "{range:?} {opened:?}");
    }
    let ring = KeyRing::new(vec![Key { id: 1, ..key(2) }], 1).unwrap();
    let mut outsider = a(10);
    outsider.reconfigure(&[B], ring);
    let opened = b.open(at(0), &mut sealed(&mut outsider, B));
    assert_eq!(opened, refused(RefusedDatagram::BadSeal));
}

#[test]
fn noise_is_refused() {
    let (mut a, mut b) = (a(10), b(20));
    acquainted(&mut a, &mut b);
    let mut random = Random::new(3);
    for _ in 0..20_000 {
        let length = super::sample::small(&mut random, DATAGRAM_MAX as u64 + 100);
        let mut noise: Vec<u8> =
            (0..length).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        let opened = b.open(at(5), &mut noise);
        assert!(matches!(opened, Opened::Refused(_)), "{opened:?}");
    }
    let mut out = Vec::new();
    a.seal(B, &heartbeat(), &mut out);
    assert!(is_message(&b.open(at(6), &mut out)));
}

/// Sealed at the start, sent at the end: taken once, nothing of that life after it, a new life at
/// once. Two of them never share a nonce, also if their content differs.
#[test]
fn last_words_come_after_everything() {
    let (mut a1, mut b) = (a(10), b(20));
    let mut first = a1.seal_last(B, &beat(100, NodePhase::Left));
    let mut second = a1.seal_last(B, &beat(200, NodePhase::Left));
    assert_ne!(first[28..36], second[28..36]);
    acquainted(&mut a1, &mut b);
    assert!(is_message(&b.open(at(2), &mut second)));
    assert_eq!(b.open(at(3), &mut sealed(&mut a1, B)), refused(RefusedDatagram::TooOld));
    assert!(!matches!(b.open(at(3), &mut second), Opened::Message { .. }));
    let _ = b.open(at(4), &mut first);
    assert_eq!(exchange(5, &mut a(11), &mut b), [Opened::Consumed]);
    assert_eq!(b.present(A), Some(Incarnation(11)));
}

#[test]
fn what_a_peer_does_not_tell_to_understand_is_not_sent_to_it() {
    let (mut a, mut b) = (a(1), b(1));
    let neighbours = Message::Neighbours(Vec::new());
    let mut datagram = vec![1];
    a.seal(B, &neighbours, &mut datagram);
    assert!(datagram.is_empty(), "nobody has told anything yet");
    exchange(0, &mut b, &mut a);
    let last = exchange(100, &mut b, &mut a);
    assert!(is_message(&last[0]), "{last:?}");
    a.seal(B, &neighbours, &mut datagram);
    assert!(!datagram.is_empty(), "its heartbeat tells the feature");
    b.seal(A, &neighbours, &mut datagram);
    assert!(datagram.is_empty(), "b has not heard a");
}
