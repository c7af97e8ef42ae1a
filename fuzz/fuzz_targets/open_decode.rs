//! Whatever comes in, opening and decoding neither panic nor let anything through.
//!
//! The input is used three ways: as a datagram, opened by a node that knows its peer; as a patch
//! on a good datagram, so that the fuzzer gets past the cheap checks; and as a body, decoded as
//! if a holder of the key had sealed it. The last is where almost all paths are.
#![no_main]

use std::sync::{LazyLock, Mutex};

use buoy::protocol::{ClaimsAck, Incarnation, Instant, LogPosition, Message, NodeId};
use buoy::wire::{Key, KeyRing, Local, Opened, Sessions, decode, encode};
use libfuzzer_sys::fuzz_target;

struct Target {
    receiver: Sessions,
    /// Sealed by the peer and never delivered.
    good: Vec<u8>,
}

static TARGET: LazyLock<Mutex<Target>> = LazyLock::new(|| Mutex::new(acquainted()));

fn sessions(me: u32, peer: u32) -> Sessions {
    let local = Local {
        cluster: "fuzz".to_owned(),
        me: NodeId(me),
        incarnation: Incarnation(me.into()),
        peers: vec![NodeId(peer)],
        challenge_secret: [7; 32],
    };
    let key = Key { id: 0, secret: [9; 32] };
    Sessions::new(local, KeyRing::new(vec![key], 0).expect("one key, which is active"))
}

fn acquainted() -> Target {
    let (mut sender, mut receiver) = (sessions(1, 2), sessions(2, 1));
    let position = LogPosition { stream: 1, version: 2 };
    let message = Message::ClaimsAck(ClaimsAck { position });
    let mut datagram = Vec::new();
    sender.seal(NodeId(2), &message, &mut datagram);
    let mut turn = 0;
    let now = Instant::from_millis(1000);
    while let Opened::Reply { datagram: reply, .. } =
        [&mut receiver, &mut sender][turn % 2].open(now, &mut datagram)
    {
        datagram = reply;
        turn += 1;
    }
    assert!(receiver.present(NodeId(1)).is_some(), "the handshake is over");
    sender.seal(NodeId(2), &message, &mut datagram);
    Target { receiver, good: datagram }
}

fuzz_target!(|input: &[u8]| {
    let mut target = TARGET.lock().expect("a panic ends the process");
    let now = Instant::from_millis(1001);

    // The fuzzer learns the good datagram from the comparison itself.
    if input != target.good {
        let opened = target.receiver.open(now, &mut input.to_vec());
        assert!(matches!(opened, Opened::Refused(_)), "{opened:?}");
    }

    let mut patched = target.good.clone();
    for (at, byte) in input.iter().enumerate().take(patched.len()) {
        patched[at] ^= byte;
    }
    if patched != target.good {
        let opened = target.receiver.open(now, &mut patched);
        assert!(matches!(opened, Opened::Refused(_)), "{opened:?}");
    }

    if let Ok(message) = decode(input) {
        let mut body = Vec::new();
        encode(&message, &mut body);
        assert_eq!(decode(&body).as_ref(), Ok(&message), "what is read can be said again");
    }
});
