//! Messages beside their bytes.

use std::time::Duration;

use buoy::protocol::{
    Backing, Bid, Cause, Claim, Claims, ClaimsAck, Connection, Epoch, Errand, ErrandAnswer,
    Failure, Fitness, GroupKey, HardwareAddress, Heard, Heartbeat, Inability, Incarnation, Kept,
    Lasting, LeaseGrant, LeaseRequest, Load, LogPosition, Message, MoveReason, Neighbour, NodeId,
    NodePhase, Offer, OfferAnswer, Order, PathReport, PoolId, Preserving, Refusal, SoftwareVersion,
    StandingOrder, Tenure, Text, TimingLevel, TimingProposal, TimingReason, Vote, Waiting, Wish,
};

pub(crate) const A: NodeId = NodeId(0x0a0a_0a0a);
pub(crate) const B: NodeId = NodeId(0x0b0b_0b0b);
pub(crate) const C: NodeId = NodeId(0x0c0c_0c0c);
pub(crate) const LIFE_A: Incarnation = Incarnation(0xa1a2_a3a4_a5a6_a7a8);
pub(crate) const LIFE_B: Incarnation = Incarnation(0xb1b2_b3b4_b5b6_b7b8);

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hexadecimal digits; blanks are for the reader.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

pub(crate) fn heartbeat() -> Message {
    Message::Heartbeat(Heartbeat {
        preserving: Preserving::Unknown,
        phase: NodePhase::Active,
        draining: false,
        solicit: true,
        clock_ms: 0x1234_5678,
        interval: Duration::from_millis(100),
        misses: 3,
        weight: 2,
        software: SoftwareVersion { major: 1, minor: 2, patch: 3 },
        config_digest: 0x1122_3344_5566_7788,
        unlisted: false,
        name: None,
        loop_lag: Duration::from_micros(250),
        log: LogPosition { stream: 5, version: 6 },
        acknowledged: LogPosition { stream: 7, version: 8 },
        heard: vec![
            Heard { node: B, incarnation_low: 0xb5b6_b7b8, age: Duration::from_millis(40) },
            Heard { node: C, incarnation_low: 9, age: Duration::from_millis(65_535) },
        ],
        waiting: None,
        hardware: vec![],
        fitness: vec![],
        load: None,
        unable: vec![],
        paths: vec![],
        standing_order: None,
        timing: None,
    })
}

/// The same from a node that knows its interfaces.
pub(crate) fn heartbeat_with_hardware() -> Message {
    let Message::Heartbeat(bare) = heartbeat() else { panic!("not a heartbeat") };
    let hardware = vec![HardwareAddress([2, 0, 0, 0, 0, 1]), HardwareAddress([2, 0, 0, 0, 0, 2])];
    Message::Heartbeat(Heartbeat { hardware, ..bare })
}

/// The same from a node whose checks fail.
pub(crate) fn heartbeat_with_fitness() -> Message {
    let Message::Heartbeat(bare) = heartbeat() else { panic!("not a heartbeat") };
    let fitness = vec![
        (PoolId(0x0102_0304_0506_0708), Fitness::Reluctant),
        (PoolId(0x1112_1314_1516_1718), Fitness::Unfit),
    ];
    Message::Heartbeat(Heartbeat { fitness, ..bare })
}

/// The same from a node that knows how busy it is, and how many connections it has or not.
pub(crate) fn heartbeat_with_load(connections: Option<u32>) -> Message {
    let Message::Heartbeat(bare) = heartbeat() else { panic!("not a heartbeat") };
    let load = Some(Load { utilisation: 625, groups: 3, connections });
    Message::Heartbeat(Heartbeat { load, ..bare })
}

/// The same from a node that drains and waits for connections, which it has counted or not.
pub(crate) fn heartbeat_with_waiting(connections: Option<u32>) -> Message {
    let Message::Heartbeat(bare) = heartbeat() else { panic!("not a heartbeat") };
    let waiting = Some(Waiting { connections, left: Duration::from_secs(30) });
    Message::Heartbeat(Heartbeat { waiting, ..bare })
}

/// The same from a node that cannot hold two groups.
pub(crate) fn heartbeat_with_unable() -> Message {
    let Message::Heartbeat(bare) = heartbeat() else { panic!("not a heartbeat") };
    let unable = vec![
        (GroupKey(0x0102_0304_0506_0708), Inability::LinkDown),
        (GroupKey(0x1112_1314_1516_1718), Inability::Kernel(Failure::Refused)),
    ];
    Message::Heartbeat(Heartbeat { unable, ..bare })
}

/// The same from a node with four paths, of which it hears others on two, and the receiver on two.
pub(crate) fn heartbeat_with_paths() -> Message {
    let Message::Heartbeat(bare) = heartbeat() else { panic!("not a heartbeat") };
    let both = [(false, false), (true, false), (false, true), (true, true)];
    let paths = both.map(|(receiver, others)| PathReport { receiver, others }).to_vec();
    Message::Heartbeat(Heartbeat { paths, ..bare })
}

/// The same from a node that knows a hold.
pub(crate) fn heartbeat_with_hold() -> Message {
    standing(StandingOrder {
        id: 0x0102_0304_0506_0708,
        what: Lasting::Hold,
        at: C,
        left: Some(Duration::from_secs(7200)),
        ended: false,
        persists: false,
        by: Text::cut("alice"),
        reason: Text::cut("kernel"),
    })
}

/// The same from a node that knows that a drain has been ended.
fn heartbeat_with_drain() -> Message {
    let (by, reason) = (Text::EMPTY, Text::EMPTY);
    let what = Lasting::Drain(B);
    let (ended, persists) = (true, true);
    standing(StandingOrder { id: 9, what, at: A, left: None, ended, persists, by, reason })
}

/// The sender proposes the timing of profile `lan`: it has heard a peer 93 ms late.
pub(crate) fn heartbeat_with_timing() -> Message {
    let Message::Heartbeat(bare) = heartbeat() else { panic!("not a heartbeat") };
    let lateness = Duration::from_millis(93);
    let (level, reason) = (TimingLevel::LAN, TimingReason::Spacing);
    Message::Heartbeat(Heartbeat {
        timing: Some(TimingProposal { level, reason, lateness }),
        ..bare
    })
}

fn standing(order: StandingOrder) -> Message {
    let Message::Heartbeat(bare) = heartbeat() else { panic!("not a heartbeat") };
    Message::Heartbeat(Heartbeat { standing_order: Some(Box::new(order)), ..bare })
}

/// One of the claims with a cause that later versions know.
pub(crate) fn claims_with_detail() -> Message {
    let Message::Claims(mut slice) = claims() else { panic!("not claims") };
    slice.claims[0].cause = Cause::Checks(C);
    Message::Claims(slice)
}

pub(crate) fn claims() -> Message {
    let first = Claim {
        group: GroupKey(0x0102_0304_0506_0708),
        epoch: Epoch(9),
        owner: A,
        incarnation: LIFE_A,
        revision: 2,
        tenure: Tenure::MovingTo(B),
        support: 3,
        heirs: [Some(B), Some(C)],
        cause: Cause::Silence(C),
    };
    let second = Claim {
        group: GroupKey(0x1112_1314_1516_1718),
        tenure: Tenure::Held,
        heirs: [None, Some(C)],
        cause: Cause::FirstClaim,
        ..first
    };
    Message::Claims(Claims {
        base: LogPosition { stream: 1, version: 2 },
        upto: 4,
        claims: vec![first, second],
    })
}

/// Each message beside its bytes.
pub(crate) fn vectors() -> Vec<(Message, &'static str)> {
    let mut all = first_vectors();
    all.extend(lease_vectors());
    all.extend(connection_vectors());
    all.extend(check_vectors());
    all.extend(unable_vectors());
    all.extend(standing_vectors());
    all
}

/// An answer that tells no reason.
fn answer(token: u32, accepted: Vec<GroupKey>, forwards: bool) -> Message {
    Message::OfferAnswer(OfferAnswer { token, accepted, forwards, unable: vec![] })
}

/// A field that earlier software skips.
fn standing_vectors() -> Vec<(Message, &'static str)> {
    vec![
        (
            heartbeat_with_hold(),
            "018100110202000186a0030002000000001234567882001000000005000000060000000700000008\
             0400030102030500081122334455667788060004000000fa07000201010800080000000000000007\
             10002201020304050607080c0c0c0c006ddd0001000000000005616c6963656b65726e656c\
             8300150a0b0b0b0bb5b6b7b800280c0c0c0c00000009ffff",
        ),
        (
            heartbeat_with_drain(),
            "018100110202000186a0030002000000001234567882001000000005000000060000000700000008\
             0400030102030500081122334455667788060004000000fa07000201010800080000000000000007\
             10001700000000000000090a0a0a0affffffff020b0b0b0b0300\
             8300150a0b0b0b0bb5b6b7b800280c0c0c0c00000009ffff",
        ),
    ]
}

/// Declined groups with the reason, which earlier software does not tell.
fn unable_vectors() -> Vec<(Message, &'static str)> {
    vec![(
        Message::OfferAnswer(OfferAnswer {
            token: 8,
            accepted: vec![GroupKey(3)],
            forwards: false,
            unable: vec![
                (GroupKey(1), Inability::LinkDown),
                (GroupKey(2), Inability::Conflict(HardwareAddress([2, 0, 0, 0, 0, 9]))),
            ],
        }),
        "058d00040000000818001f0f000000000000000101000000000000\
             0000000000000002030200000000098e0009080000000000000003",
    )]
}

fn first_vectors() -> Vec<(Message, &'static str)> {
    let groups = vec![GroupKey(0x0102_0304_0506_0708), GroupKey(0x1112_1314_1516_1718)];
    let position = LogPosition { stream: 0x0102_0304, version: 0x0506_0708 };
    let group = groups[0];
    vec![
        (
            heartbeat(),
            "018100110202000186a0030002000000001234567882001000000005000000060000000700000008\
             0400030102030500081122334455667788060004000000fa07000201010800080000000000000007\
             8300150a0b0b0b0bb5b6b7b800280c0c0c0c00000009ffff",
        ),
        (
            heartbeat_with_hardware(),
            "018100110202000186a0030002000000001234567882001000000005000000060000000700000008\
             0400030102030500081122334455667788060004000000fa07000201010800080000000000000007\
             09000d060200000000010200000000028300150a0b0b0b0bb5b6b7b800280c0c0c0c00000009ffff",
        ),
        (
            claims(),
            "0289000c0000000100000002000000048a006b35010203040506070800000000000000090a0a0a0a\
             a1a2a3a4a5a6a7a800000002020b0b0b0b0003030b0b0b0b0c0c0c0c020c0c0c0c11121314151617\
             1800000000000000090a0a0a0aa1a2a3a4a5a6a7a8000000020100000000000302000000000c0c0c\
             0c0100000000",
        ),
        (Message::ClaimsAck(ClaimsAck { position }), "038b00080102030405060708"),
        (
            Message::Offer(Offer {
                token: 7,
                reason: MoveReason::Drain,
                groups: groups.clone(),
                keepers: vec![],
            }),
            "048c000500000007028e00110801020304050607081112131415161718",
        ),
        (answer(7, groups, false), "058d0004000000078e00110801020304050607081112131415161718"),
        (answer(8, vec![], false), "058d0004000000088e000108"),
        (
            Message::Errand(Errand { ticket: 9, order: Order::Drain(B) }),
            "068f00150000000000000009010b0b0b0b0000000000000000",
        ),
        (
            Message::Errand(Errand { ticket: 9, order: Order::Move { group, to: B } }),
            "068f00150000000000000009030b0b0b0b0102030405060708",
        ),
        (
            Message::ErrandAnswer(ErrandAnswer { ticket: 9, outcome: Ok(()) }),
            "07900009000000000000000900",
        ),
        (
            Message::ErrandAnswer(ErrandAnswer { ticket: 9, outcome: Err(Refusal::Busy) }),
            "07900009000000000000000908",
        ),
        (
            Message::Neighbours(vec![
                Neighbour { address: [10, 77, 0, 9].into(), hardware: [2, 0, 0, 0, 0, 9] },
                Neighbour {
                    address: [0xfd77, 0, 0, 0, 0, 0, 0, 9].into(),
                    hardware: [2, 0, 0, 0, 0, 9],
                },
            ]),
            "0a95000b0a0a4d000902000000000996001716fd770000000000000000000000000009020000000009",
        ),
        (Message::Neighbours(vec![]), "0a9500010a96000116"),
    ]
}

fn connection_vectors() -> Vec<(Message, &'static str)> {
    vec![
        (
            Message::Connections(vec![
                Connection {
                    address: [10, 77, 0, 100].into(),
                    port: 443,
                    client: [10, 77, 0, 9].into(),
                    client_port: 0xabcd,
                },
                Connection {
                    address: [0xfd77, 0, 0, 0, 0, 0, 0, 0x100].into(),
                    port: 443,
                    client: [0xfd77, 0, 0, 0, 0, 0, 0, 9].into(),
                    client_port: 0xabcd,
                },
            ]),
            "0b97000d0c0a4d006401bb0a4d0009abcd\
             98002524fd77000000000000000000000000010001bb\
             fd770000000000000000000000000009abcd",
        ),
        (
            heartbeat_with_waiting(Some(7)),
            "018100110202000186a0030002000000001234567882001000000005000000060000000700000008\
             0400030102030500081122334455667788060004000000fa07000201010800080000000000000007\
             0c000800000007000075308300150a0b0b0b0bb5b6b7b800280c0c0c0c00000009ffff",
        ),
        (
            heartbeat_with_waiting(None),
            "018100110202000186a0030002000000001234567882001000000005000000060000000700000008\
             0400030102030500081122334455667788060004000000fa07000201010800080000000000000007\
             0c0008ffffffff000075308300150a0b0b0b0bb5b6b7b800280c0c0c0c00000009ffff",
        ),
        (Message::Connections(vec![]), "0b9700010c98000124"),
        (
            Message::Offer(Offer {
                token: 7,
                reason: MoveReason::Drain,
                groups: vec![GroupKey(1), GroupKey(2)],
                keepers: vec![HardwareAddress([2, 0, 0, 0, 0, 9]), HardwareAddress([0; 6])],
            }),
            "048c000500000007020d000d06020000000009000000000000\
             8e00110800000000000000010000000000000002",
        ),
        (answer(8, vec![], true), "058d0004000000080e00008e000108"),
        (
            Message::Kept(vec![
                Kept { group: GroupKey(1), connections: Some(3) },
                Kept { group: GroupKey(2), connections: None },
            ]),
            "0c9900190c0000000000000001000000030000000000000002ffffffff",
        ),
        (
            Message::Errand(Errand { ticket: 9, order: Order::DrainNow(B) }),
            "068f00150000000000000009040b0b0b0b0000000000000000",
        ),
    ]
}

fn check_vectors() -> Vec<(Message, &'static str)> {
    let groups = vec![GroupKey(0x0102_0304_0506_0708)];
    let outcome = Err(Refusal::ReceiverUnfit);
    vec![
        (
            heartbeat_with_fitness(),
            "018100110202000186a0030002000000001234567882001000000005000000060000000700000008\
             0400030102030500081122334455667788060004000000fa07000201010800080000000000000007\
             0a0013090102030405060708011112131415161718028300150a0b0b0b0bb5b6b7b800280c0c0c0c\
             00000009ffff",
        ),
        (
            heartbeat_with_unable(),
            "018100110202000186a0030002000000001234567882001000000005000000060000000700000008\
             0400030102030500081122334455667788060004000000fa07000201010800080000000000000007\
             0f0013090102030405060708011112131415161718078300150a0b0b0b0bb5b6b7b800280c0c0c0c\
             00000009ffff",
        ),
        (
            heartbeat_with_paths(),
            "018100110202000186a0030002000000001234567882001000000005000000060000000700000008\
             0400030102030500081122334455667788060004000000fa07000201010800080000000000000007\
             260004000102038300150a0b0b0b0bb5b6b7b800280c0c0c0c00000009ffff",
        ),
        (
            heartbeat_with_timing(),
            "018100110202000186a0030002000000001234567882001000000005000000060000000700000008\
             0400030102030500081122334455667788060004000000fa07000201010800080000000000000007\
             2700040203005d8300150a0b0b0b0bb5b6b7b800280c0c0c0c00000009ffff",
        ),
        (
            heartbeat_with_load(Some(70_000)),
            "018100110202000186a0030002000000001234567882001000000005000000060000000700000008\
             0400030102030500081122334455667788060004000000fa07000201010800080000000000000007\
             0b000802710003000111708300150a0b0b0b0bb5b6b7b800280c0c0c0c00000009ffff",
        ),
        (
            heartbeat_with_load(None),
            "018100110202000186a0030002000000001234567882001000000005000000060000000700000008\
             0400030102030500081122334455667788060004000000fa07000201010800080000000000000007\
             0b000802710003ffffffff8300150a0b0b0b0bb5b6b7b800280c0c0c0c00000009ffff",
        ),
        (
            claims_with_detail(),
            "0289000c0000000100000002000000048a006d36010203040506070800000000000000090a0a0a0a\
             a1a2a3a4a5a6a7a800000002020b0b0b0b0003030b0b0b0b0c0c0c0c080c0c0c0c01111213141516\
             171800000000000000090a0a0a0aa1a2a3a4a5a6a7a8000000020100000000000302000000000c0c\
             0c0c010000000000",
        ),
        (
            Message::Offer(Offer { token: 7, reason: MoveReason::Checks, groups, keepers: vec![] }),
            "048c00060000000702018e0009080102030405060708",
        ),
        (
            Message::ErrandAnswer(ErrandAnswer { ticket: 9, outcome }),
            "0790000a00000000000000090701",
        ),
    ]
}

fn lease_vectors() -> Vec<(Message, &'static str)> {
    let (group, other) = (GroupKey(0x0102_0304_0506_0708), GroupKey(0x1112_1314_1516_1718));
    vec![
        (
            Message::LeaseRequest(LeaseRequest {
                asked_at: 0x0102_0304_0506_0708,
                voters: 0x1112_1314_1516_1718,
                base: 2,
                upto: 4,
                wishes: vec![
                    Wish { version: 3, group, wanted: true },
                    Wish { version: 4, group: other, wanted: false },
                ],
                bid: None,
            }),
            "08930018010203040506070811121314151617180000000200000004\
             94001b0d0000000301020304050607080100000004111213141516171800",
        ),
        (
            Message::LeaseGrant(LeaseGrant {
                asked_at: 0x0102_0304_0506_0708,
                have: 4,
                vote: Vote::Granted,
                upto: 4,
                refused: vec![other],
                backing: None,
            }),
            "0993001101020304050607080000000401000000048e0009081112131415161718",
        ),
        (
            Message::LeaseRequest(LeaseRequest {
                asked_at: 0x0102_0304_0506_0708,
                voters: 0x1112_1314_1516_1718,
                base: 0,
                upto: 0,
                wishes: Vec::new(),
                bid: Some(Bid { lease: Duration::from_millis(600), answered: Some(0x0506) }),
            }),
            "08930018010203040506070811121314151617180000000000000000\
             2000100000000023c346000000000000000506\
             9400010d",
        ),
        (
            Message::LeaseGrant(LeaseGrant {
                asked_at: 0x0102_0304_0506_0708,
                have: 4,
                vote: Vote::Waiting,
                upto: 0,
                refused: Vec::new(),
                backing: Some(Backing {
                    lease: Duration::from_millis(600),
                    after: 2,
                    longest: Duration::from_secs(4),
                    lists: vec![0x2122_2324_2526_2728],
                }),
            }),
            "0993001101020304050607080000000404000000\
             002100140000000023c346000000000200000000ee6b2800\
             2200090821222324252627288e000108",
        ),
    ]
}
