//! The wire, byte for byte. What is written here has been sent by released software: a change
//! that breaks one of these lines breaks a rolling upgrade.
//!
//! Both ways: each message is encoded to these bytes, and these bytes decode to the message. The
//! sealed datagrams were checked against an implementation of the seal that shares no code with
//! ours (Python's `cryptography`), and `seal_by_hand` below does the same from the layout.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

mod golden;
mod messages;

use std::collections::BTreeSet;
use std::time::Duration;

use buoy::protocol::{
    Cause, Errand, ErrandAnswer, GroupKey, Heartbeat, Incarnation, Instant, Message, MoveReason,
    NodeId, Offer, Order, SoftwareVersion, TimingLevel, TimingReason,
};
use buoy::wire::{
    DATAGRAM_MAX, DecodeError, HEADER_LENGTH, Key, KeyRing, Local, Opened, RefusedDatagram,
    Sessions, TAG_LENGTH, decode, encode,
};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};

use messages::{
    A, B, C, LIFE_A, LIFE_B, claims, claims_with_detail, heartbeat, heartbeat_with_fitness,
    heartbeat_with_hardware, heartbeat_with_hold, heartbeat_with_timing, hex, unhex, vectors,
};

#[test]
fn messages_are_encoded_to_these_bytes() {
    for (message, bytes) in vectors() {
        let mut body = Vec::new();
        encode(&message, &mut body);
        assert_eq!(hex(&body), hex(&unhex(bytes)), "{message:?}");
    }
}

#[test]
fn these_bytes_decode_to_the_messages() {
    for (message, bytes) in vectors() {
        assert_eq!(decode(&unhex(bytes)), Ok(message), "{bytes}");
    }
}

/// What a later version may send: unknown optional fields, longer fields and records, flags.
#[test]
fn a_later_version_is_understood() {
    let growth = [
        (
            "810011 02 02 000186a0 03 0002 0000000012345678",
            "810013 02 e2 000186a0 03 0002 0000000012345678 ffff",
        ),
        ("070002 0101", "070002 0102"),
        ("080008 0000000000000007", "080008 ffffffffffffffff 7e0003 010203"),
        (
            "830015 0a 0b0b0b0b b5b6b7b8 0028 0c0c0c0c 00000009 ffff",
            "830019 0c 0b0b0b0b b5b6b7b8 0028 eeee 0c0c0c0c 00000009 ffff eeee",
        ),
    ];
    for (was, becomes) in growth {
        assert_eq!(decode(&changed(&heartbeat(), was, becomes)), Ok(heartbeat()), "{becomes}");
    }
    let (was, becomes) = ("09000d 06 020000000001 020000000002", "");
    assert_eq!(decode(&changed(&heartbeat_with_hardware(), was, becomes)), Ok(heartbeat()));
    let becomes = "09000f 07 020000000001ee 020000000002ee";
    let grown = decode(&changed(&heartbeat_with_hardware(), was, becomes));
    assert_eq!(grown, Ok(heartbeat_with_hardware()));
    let (was, becomes) = ("1112131415161718 02", "1112131415161718 07");
    let worse = decode(&changed(&heartbeat_with_fitness(), was, becomes));
    assert_eq!(worse, Ok(heartbeat_with_fitness()), "worse than unfit is unfit");
    // A cause that only a still later version knows is the one before it in the record.
    let known = decode(&changed(&claims_with_detail(), "080c0c0c0c 01", "080c0c0c0c 63"));
    let Ok(Message::Claims(slice)) = known else { panic!("{known:?}") };
    assert_eq!(slice.claims[0].cause, Cause::Drain(C));
}

/// To a node that the sender's file does not list, and from one that the receiver's does not.
#[test]
fn a_heartbeat_says_that_the_receiver_is_not_listed_and_who_sends_it() {
    let Message::Heartbeat(bare) = heartbeat() else { panic!("not a heartbeat") };
    let name = Some("lb1".to_owned());
    let told = Message::Heartbeat(Heartbeat { unlisted: true, name, ..bare });
    let flags = changed(&told, "810011 02 12 000186a0", "810011 02 02 000186a0");
    let (was, becomes) = ("230003 6c6231 830015", "830015");
    assert_eq!(hex(&flags).replace(&hex(&unhex(was)), &hex(&unhex(becomes))), {
        let mut body = Vec::new();
        encode(&heartbeat(), &mut body);
        hex(&body)
    });
    assert_eq!(decode(&changed(&told, was, was)), Ok(told.clone()));
    // A name that no file could have is none.
    let Ok(Message::Heartbeat(odd)) = decode(&changed(&told, was, "230003 6c0a31 830015")) else {
        panic!("not a heartbeat")
    };
    assert_eq!(odd.name, None);
}

/// An earlier version looks at the front of a record and of a field.
#[test]
fn an_earlier_version_understands_what_has_a_detail() {
    let (was, becomes) = ("080c0c0c0c 01", "080c0c0c0c 00");
    let seen = decode(&changed(&claims_with_detail(), was, becomes));
    let Ok(Message::Claims(slice)) = seen else { panic!("{seen:?}") };
    assert_eq!(slice.claims[0].cause, Cause::Drain(C));
}

/// What an earlier version leaves out.
#[test]
fn an_earlier_version_is_understood() {
    let Message::Heartbeat(whole) = heartbeat() else { panic!("not a heartbeat") };
    let wanted = Heartbeat {
        software: SoftwareVersion::default(),
        config_digest: 0,
        unlisted: false,
        name: None,
        loop_lag: Duration::ZERO,
        ..whole
    };
    let optional = "040003 010203 050008 1122334455667788 060004 000000fa 070002 0101 \
                    080008 0000000000000007";
    let body = changed(&heartbeat(), optional, "");
    assert_eq!(decode(&body), Ok(Message::Heartbeat(wanted)));
}

/// Levels and reasons of a later version are read as the most careful ones.
#[test]
fn a_timing_of_a_later_version_is_the_slowest() {
    let (was, becomes) = ("270004 02 03 005d", "270005 09 63 005d ee");
    let read = decode(&changed(&heartbeat_with_timing(), was, becomes));
    let Ok(Message::Heartbeat(beat)) = read else { panic!("{read:?}") };
    let proposal = beat.timing.expect("there is one");
    assert_eq!(proposal.level, TimingLevel::SLOWEST);
    assert_eq!(proposal.reason, TimingReason::NotLongCalm);
    let without = decode(&changed(&heartbeat_with_timing(), was, ""));
    assert_eq!(without, Ok(heartbeat()));
}

/// A standing order of a kind that only later software knows is left aside.
#[test]
fn a_standing_order_of_a_later_version_is_left_aside() {
    let (was, becomes) = ("006ddd00 01", "006ddd00 09");
    assert_eq!(decode(&changed(&heartbeat_with_hold(), was, becomes)), Ok(heartbeat()));
    // A name that is longer than the field, and texts that are none.
    let broken = changed(&heartbeat_with_hold(), "05 616c696365", "ff 616c696365");
    assert_eq!(decode(&broken), Err(DecodeError::OutOfRange(0x10)));
    let Ok(Message::Heartbeat(beat)) =
        decode(&changed(&heartbeat_with_hold(), "05 616c696365", "05 ff6c696365"))
    else {
        panic!("not a heartbeat")
    };
    let order = beat.standing_order.expect("it is one");
    assert_eq!((order.by.as_str(), order.reason.as_str()), ("", "kernel"));
}

/// Every reason for which a body is refused.
#[test]
fn bodies_are_refused_for_these_reasons() {
    use DecodeError::{
        BadList, Empty, Missing, OutOfRange, Repeated, ShortField, TooLong, TooMany, Truncated,
        UnknownCritical, UnknownKind,
    };
    let state = "810011 02 02 000186a0 03 0002 0000000012345678";
    let front = "02 02 000186a0 03 0002";
    let offer = Message::Offer(Offer {
        token: 7,
        reason: MoveReason::Drain,
        groups: vec![GroupKey(1); 2],
        keepers: vec![],
    });
    let errand = Message::Errand(Errand { ticket: 9, order: Order::Drain(B) });
    let answer = Message::ErrandAnswer(ErrandAnswer { ticket: 9, outcome: Ok(()) });
    let cases = [
        (vec![], Empty),
        (vec![1; 1149], TooLong),
        (unhex("7f"), UnknownKind(0x7f)),
        (unhex("01 81"), Truncated),
        (unhex("01 8100"), Truncated),
        (unhex("01 810009 02"), Truncated),
        (unhex("03 ff0000"), UnknownCritical(0xff)),
        (changed(&heartbeat(), state, &format!("{state}{state}")), Repeated(0x81)),
        (unhex("01"), Missing(0x81)),
        (changed(&heartbeat(), state, ""), Missing(0x81)),
        (
            changed(&heartbeat(), state, "810010 02 02 000186a0 03 0002 00000000123456"),
            ShortField(0x81),
        ),
        (changed(&heartbeat(), front, "00 02 000186a0 03 0002"), OutOfRange(0x81)),
        (changed(&heartbeat(), front, "07 02 000186a0 03 0002"), OutOfRange(0x81)),
        // An interval of zero, of more than a minute; no misses; no share, too large a share.
        (changed(&heartbeat(), front, "02 02 00000000 03 0002"), OutOfRange(0x81)),
        (changed(&heartbeat(), front, "02 02 03938701 03 0002"), OutOfRange(0x81)),
        (changed(&heartbeat(), front, "02 02 000186a0 00 0002"), OutOfRange(0x81)),
        (changed(&heartbeat(), front, "02 02 000186a0 03 0000"), OutOfRange(0x81)),
        (changed(&heartbeat(), front, "02 02 000186a0 03 03e9"), OutOfRange(0x81)),
        (changed(&heartbeat(), "830015 0a", "830015 09"), BadList(0x83)),
        (changed(&heartbeat(), "830015 0a", "830015 00"), BadList(0x83)),
        (changed(&heartbeat(), "830015 0a", "830015 05"), BadList(0x83)),
        (list(1, &format!("{state} 820010 {}", "00".repeat(16)), 0x83, 10, 64), TooMany(0x83)),
        (list(1, &format!("{state} 820010 {} 830001 0a", "00".repeat(16)), 9, 6, 9), TooMany(9)),
        (list(1, &format!("{state} 820010 {} 830001 0a", "00".repeat(16)), 10, 9, 33), TooMany(10)),
        (changed(&heartbeat_with_hardware(), "09000d 06", "09000d 05"), BadList(9)),
        (list(2, "89000c 000000010000000200000004", 0x8a, 53, 19), TooMany(0x8a)),
        (list(4, "8c0005 00000007 02", 0x8e, 8, 65), TooMany(0x8e)),
        (list(5, "8d0004 00000007", 0x8e, 8, 65), TooMany(0x8e)),
        (changed(&offer, "00000007 02", "00000007 05"), OutOfRange(0x8c)),
        (
            changed(&errand, "8f0015 0000000000000009 01", "8f0015 0000000000000009 05"),
            OutOfRange(0x8f),
        ),
        (changed(&answer, "0000000000000009 00", "0000000000000009 0b"), OutOfRange(0x90)),
        (changed(&claims(), "02 0b0b0b0b 0003 03", "04 0b0b0b0b 0003 03"), OutOfRange(0x8a)),
        (changed(&claims(), "02 0b0b0b0b 0003 03", "02 0b0b0b0b 0003 04"), OutOfRange(0x8a)),
        (changed(&claims(), "02 0c0c0c0c", "0d 0c0c0c0c"), OutOfRange(0x8a)),
        (unhex("0a 950001 0a"), Missing(0x96)),
        (list(10, "960001 16", 0x95, 10, 65), TooMany(0x95)),
        (list(10, "950001 0a", 0x96, 22, 21), TooMany(0x96)),
        // A group address, and hardware of many.
        (unhex("0a 95000b 0a e0000001 020000000009 960001 16"), OutOfRange(0x95)),
        (unhex("0a 95000b 0a 0a4d0009 010000000009 960001 16"), OutOfRange(0x95)),
    ];
    for (body, reason) in cases {
        assert_eq!(decode(&body), Err(reason), "{}", hex(&body));
    }
}

/// The body of a message with some of its bytes replaced.
fn changed(message: &Message, was: &str, becomes: &str) -> Vec<u8> {
    let (was, becomes) = (hex(&unhex(was)), hex(&unhex(becomes)));
    let mut body = Vec::new();
    encode(message, &mut body);
    let body = hex(&body);
    assert_eq!(body.matches(&was).count(), 1, "{was} is not once in {body}");
    unhex(&body.replace(&was, &becomes))
}

/// A body with the given fields and a list of `count` records.
fn list(kind: u8, fields: &str, field: u8, record: u8, count: u8) -> Vec<u8> {
    let length = u16::from(record) * u16::from(count);
    let mut body = vec![kind];
    body.extend(unhex(fields));
    body.push(field);
    body.extend((length + 1).to_be_bytes());
    body.push(record);
    body.resize(body.len() + usize::from(length), 0);
    body
}

fn ring() -> KeyRing {
    let secret = std::array::from_fn(|at| u8::try_from(at).unwrap());
    KeyRing::new(vec![Key { id: 7, secret }], 7).unwrap()
}

fn sessions(me: NodeId, incarnation: Incarnation, peers: &[NodeId]) -> Sessions {
    let local = Local {
        cluster: "edge".to_owned(),
        me,
        incarnation,
        peers: peers.to_vec(),
        challenge_secret: [0x5a; 32],
    };
    Sessions::new(local, ring())
}

fn at(milli: u64) -> Instant {
    Instant::from_millis(milli)
}

/// A handshake and the first heartbeat after it, as they look on the network.
const STORY: [&str; 5] = [
    "627901000007009ca1cb100f0a0a0a0a0b0b0b0ba1a2a3a4a5a6a7a8000000000000000173ccac4e\
     6f4692ce1d9c81926be76c58aeba19f331c24ad81bcedf6b582938909212331442b38ad6f22796c2\
     c2edcc541c27d8ea2530e55adb1dd5e736b0b9157a4db5e217c11ec886365782416ebf298a4f1617\
     4b0bf6e6c7247bd810591579d7725a6d72e3ac15bd5ef4bfa2494874daa2087710ebf9e3",
    "6279010100070047a1cb100f0b0b0b0b0a0a0a0ab1b2b3b4b5b6b7b8000000000000000169a31b2b\
     86056a526d788485bf38a4ea394d4bc938f29fe2063d77eda8ccd0898185c7",
    "627901010007005aa1cb100f0a0a0a0a0b0b0b0ba1a2a3a4a5a6a7a80000000000000002a29ee93d\
     4938444bfce5ba8ef475d1bb0ab37fa89444af60ca1cf0e6055f9dc65a6cb46f8ce71c9941dc58bc\
     b7b911d8a92bb7b347ad",
    "6279010100070047a1cb100f0b0b0b0b0a0a0a0ab1b2b3b4b5b6b7b800000000000000024d45b49d\
     ccf36c4bec8b280923a44a829823d84bdf33334295220998164f7d8e0863ce",
    "627901000007009ca1cb100f0a0a0a0a0b0b0b0ba1a2a3a4a5a6a7a800000000000000037f64e7ff\
     9007707c3b5b58ce78fc483fc599467a6983d778bb6234448fc628486b6845c98f1952a486c0330d\
     a44088ff82536e5a231692ee0531cb8454eeda536f39319d190e1767c347d212e2d9a1a9d96d4c5a\
     4a28a62068a688bb1c0ddb780938dca75bd17511dac0bc11fc3cdbade9eed3982e17bda8",
];

#[test]
fn a_handshake_looks_like_this() {
    let (mut a, mut b) = (sessions(A, LIFE_A, &[B]), sessions(B, LIFE_B, &[A]));
    let mut datagram = Vec::new();
    a.seal(B, &heartbeat(), &mut datagram);
    for (step, bytes) in STORY[..4].iter().enumerate() {
        assert_eq!(hex(&datagram), hex(&unhex(bytes)), "step {step}");
        let receiver = if step % 2 == 0 { &mut b } else { &mut a };
        match receiver.open(at(1000), &mut unhex(bytes)) {
            Opened::Reply { datagram: reply, .. } if step < 3 => datagram = reply,
            Opened::Consumed if step == 3 => {}
            other @ (Opened::Message { .. }
            | Opened::Reply { .. }
            | Opened::Consumed
            | Opened::Refused(_)) => panic!("step {step}: {other:?}"),
        }
    }
    a.seal(B, &heartbeat(), &mut datagram);
    assert_eq!(hex(&datagram), hex(&unhex(STORY[4])));
    let opened = b.open(at(1001), &mut datagram);
    let wanted = Opened::Message { from: A, incarnation: LIFE_A, message: heartbeat() };
    assert_eq!(opened, wanted);
    let by_hand = seal_by_hand(0, LIFE_A, 3, &unhex(vectors()[0].1));
    assert_eq!(hex(&by_hand), hex(&unhex(STORY[4])));
}

/// A datagram from A to B, from the drawing of the layout and nothing of ours.
fn seal_by_hand(class: u8, life: Incarnation, sequence: u64, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER_LENGTH + body.len() + TAG_LENGTH).unwrap();
    let mut datagram = unhex("6279 01");
    datagram.extend([class, 0, 7]);
    datagram.extend(length.to_be_bytes());
    datagram.extend(unhex("a1cb100f"));
    datagram.extend(unhex("0a0a0a0a 0b0b0b0b"));
    datagram.extend(life.0.to_be_bytes());
    datagram.extend(sequence.to_be_bytes());
    let secret: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let mut key = [0; 32];
    let mut label = b"buoy sender".to_vec();
    label.extend(&datagram[12..16]);
    label.extend(life.0.to_be_bytes());
    hkdf::Hkdf::<sha2::Sha256>::new(Some(b"edge"), &secret).expand(&label, &mut key).unwrap();
    let mut nonce = unhex("0b0b0b0b");
    nonce.extend(sequence.to_be_bytes());
    let payload = Payload { msg: body, aad: &datagram };
    let sealed = chacha20poly1305::ChaCha20Poly1305::new(&key.into())
        .encrypt(nonce.as_slice().into(), payload)
        .unwrap();
    datagram.extend(sealed);
    datagram
}

/// B after the handshake of the story; the next sequence of A is 4.
fn acquainted() -> Sessions {
    let mut b = sessions(B, LIFE_B, &[A]);
    for step in [0, 2] {
        let opened = b.open(at(1000), &mut unhex(STORY[step]));
        assert!(matches!(opened, Opened::Reply { .. }), "{opened:?}");
    }
    assert_eq!(b.present(A), Some(LIFE_A));
    b
}

#[test]
fn a_datagram_cut_short_is_refused_at_every_length() {
    let (mut b, mut newborn) = (acquainted(), sessions(B, LIFE_B, &[A]));
    let whole = unhex(STORY[4]);
    for length in 0..whole.len() {
        for receiver in [&mut b, &mut newborn] {
            let opened = receiver.open(at(1001), &mut whole[..length].to_vec());
            assert!(matches!(opened, Opened::Refused(_)), "{length} {opened:?}");
        }
    }
    assert!(matches!(b.open(at(1001), &mut whole.clone()), Opened::Message { .. }));
}

#[test]
fn a_datagram_with_one_bit_wrong_is_refused() {
    let mut b = acquainted();
    let whole = unhex(STORY[4]);
    for bit in 0..whole.len() * 8 {
        // A new one for each: who gets many of them calls the sender, as a flood makes it.
        let mut newborn = sessions(B, LIFE_B, &[A]);
        for receiver in [&mut b, &mut newborn] {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let opened = receiver.open(at(1001), &mut damaged);
            assert!(matches!(opened, Opened::Refused(_)), "bit {bit} {opened:?}");
        }
    }
    assert!(matches!(b.open(at(1001), &mut whole.clone()), Opened::Message { .. }));
}

/// Datagrams with bytes at a place replaced.
fn with(datagram: &str, place: usize, bytes: &str) -> Vec<u8> {
    let (mut datagram, bytes) = (unhex(datagram), unhex(bytes));
    datagram[place..place + bytes.len()].copy_from_slice(&bytes);
    datagram
}

/// Every reason for which a datagram is refused, each from a datagram made for it.
#[test]
fn datagrams_are_refused_for_these_reasons() {
    let mut b = acquainted();
    let body = unhex(vectors()[0].1);
    let good = |sequence| seal_by_hand(0, LIFE_A, sequence, &body);
    let other_life = Incarnation(1);
    let mut seen = BTreeSet::new();
    let mut expect = |b: &mut Sessions, milli, mut datagram: Vec<u8>, reason: RefusedDatagram| {
        assert_eq!(b.open(at(milli), &mut datagram), Opened::Refused(reason));
        seen.insert(reason.name());
    };

    expect(&mut b, 1001, vec![0; HEADER_LENGTH + TAG_LENGTH - 1], RefusedDatagram::TooShort);
    expect(&mut b, 1001, vec![0; DATAGRAM_MAX + 1], RefusedDatagram::TooLong);
    expect(&mut b, 1001, with(STORY[4], 0, "6278"), RefusedDatagram::BadMagic);
    expect(&mut b, 1001, with(STORY[4], 2, "02"), RefusedDatagram::UnknownVersion);
    expect(&mut b, 1001, with(STORY[4], 3, "03"), RefusedDatagram::UnknownClass);
    expect(&mut b, 1001, with(STORY[4], 6, "0001"), RefusedDatagram::WrongLength);
    expect(&mut b, 1001, with(STORY[4], 8, "00000000"), RefusedDatagram::OtherCluster);
    expect(&mut b, 1001, with(STORY[4], 16, "0c0c0c0c"), RefusedDatagram::NotForMe);
    expect(&mut b, 1001, with(STORY[4], 12, "0c0c0c0c"), RefusedDatagram::UnknownSource);
    expect(&mut b, 1001, with(STORY[4], 5, "08"), RefusedDatagram::UnknownKey);
    expect(&mut b, 1001, with(STORY[4], 40, "00000000"), RefusedDatagram::BadSeal);
    expect(&mut b, 1001, unhex(STORY[2]), RefusedDatagram::Duplicate);
    assert!(matches!(b.open(at(1002), &mut good(2000)), Opened::Message { .. }));
    expect(&mut b, 1002, good(2000), RefusedDatagram::Duplicate);
    expect(&mut b, 1002, good(976), RefusedDatagram::TooOld);
    let malformed = RefusedDatagram::Malformed(DecodeError::UnknownKind(0x7f));
    expect(&mut b, 1002, seal_by_hand(0, LIFE_A, 2001, &[0x7f]), malformed);
    let malformed = RefusedDatagram::Malformed(DecodeError::UnknownCritical(0xff));
    expect(&mut b, 1002, seal_by_hand(1, LIFE_A, 2002, &unhex("ff0000")), malformed);

    // A second life that answers challenges, while the first is heard.
    let mut clone = sessions(A, other_life, &[B]);
    for (milli, reason) in
        [(1003, RefusedDatagram::IncumbentHeard), (1005, RefusedDatagram::DuplicateNode)]
    {
        let mut datagram = Vec::new();
        clone.seal(B, &heartbeat(), &mut datagram);
        let Opened::Reply { datagram: mut hello, .. } = b.open(at(milli), &mut datagram) else {
            panic!("no challenge");
        };
        let Opened::Reply { datagram: answer, .. } = clone.open(at(milli), &mut hello) else {
            panic!("no answer");
        };
        expect(&mut b, milli, answer, reason);
        assert!(matches!(b.open(at(milli + 1), &mut good(2000 + milli)), Opened::Message { .. }));
    }

    // More lives, and more of one life, than is worth an answer.
    let recorded = |sequence| seal_by_hand(0, other_life, sequence, &body);
    let mut answered = 0;
    while matches!(b.open(at(1006), &mut recorded(100 + answered)), Opened::Reply { .. }) {
        answered += 1;
    }
    expect(&mut b, 1006, recorded(500), RefusedDatagram::TooManyHellos);
    let lives = (100..120).map(|life| with(STORY[4], 20, &format!("00000000{life:08x}")));
    for mut datagram in lives {
        b.open(at(1006), &mut datagram);
    }
    let one_more = with(STORY[4], 20, "ffffffffffffffff");
    expect(&mut b, 1006, one_more, RefusedDatagram::TooManyLives);

    assert_eq!(seen, BTreeSet::from(RefusedDatagram::NAMES));
    assert!(matches!(b.open(at(1007), &mut good(9000)), Opened::Message { .. }));
}
