//! Random messages and a pair of nodes that talk.

use std::net::IpAddr;
use std::time::Duration;

use crate::protocol::{
    Backing, Bid, CLAIMS_PER_MESSAGE, CONNECTIONS_V4_MAX, CONNECTIONS_V6_MAX, Cause, Claim, Claims,
    ClaimsAck, Connection, Epoch, Errand, ErrandAnswer, FITNESS_MAX, Failure, Fitness,
    GROUPS_PER_OFFER, GroupKey, HARDWARE_MAX, HardwareAddress, Heard, Heartbeat, Inability,
    Incarnation, KEPT_MAX, Kept, LISTS_MAX, Lasting, LeaseGrant, LeaseRequest, Load, LogPosition,
    Message, MoveReason, NEIGHBOURS_V4_MAX, NEIGHBOURS_V6_MAX, Neighbour, NodeId, NodePhase, Offer,
    OfferAnswer, Order, PATHS_MAX, PathReport, PoolId, Preserving, REFUSED_PER_MESSAGE, Random,
    Refusal, SoftwareVersion, StandingOrder, Tenure, Text, TimingLevel, TimingProposal,
    TimingReason, Vote, WISHES_PER_MESSAGE, Waiting, Wish,
};
use crate::protocol::{standing_text_max, unable_max};
use crate::wire::{HEARD_MAX, Key, KeyRing, Local, Sessions};

pub(super) const CLUSTER: &str = "edge";

pub(super) fn key(id: u8) -> Key {
    Key { id, secret: [id; 32] }
}

pub(super) fn ring(ids: &[u8], active: u8) -> KeyRing {
    KeyRing::new(ids.iter().map(|id| key(*id)).collect(), active).unwrap()
}

/// One life of a node with its secret made from the life, as a real one is drawn with it.
pub(super) fn sessions(me: u32, incarnation: u64, peers: &[u32]) -> Sessions {
    let mut challenge_secret = [0; 32];
    challenge_secret[..8].copy_from_slice(&incarnation.to_be_bytes());
    let local = Local {
        cluster: CLUSTER.to_owned(),
        me: NodeId(me),
        incarnation: Incarnation(incarnation),
        peers: peers.iter().map(|peer| NodeId(*peer)).collect(),
        challenge_secret,
    };
    Sessions::new(local, ring(&[1], 1))
}

pub(super) fn heartbeat() -> Message {
    Message::Heartbeat(random_heartbeat(&mut Random::new(1), 2))
}

pub(super) fn small(random: &mut Random, bound: u64) -> usize {
    usize::try_from(random.below(bound)).unwrap()
}

fn low<T: TryFrom<u64>>(random: &mut Random, bits: u32) -> T {
    let Ok(value) = T::try_from(random.next_u64() >> (64 - bits)) else {
        panic!("{bits} bits do not fit");
    };
    value
}

fn node(random: &mut Random) -> NodeId {
    NodeId(low(random, 32))
}

fn position(random: &mut Random) -> LogPosition {
    LogPosition { stream: low(random, 32), version: low(random, 32) }
}

fn groups(random: &mut Random, count: usize) -> Vec<GroupKey> {
    (0..count).map(|_| GroupKey(random.next_u64())).collect()
}

/// With the longest texts that fit.
pub(super) fn random_standing_order(
    random: &mut Random,
    heard: usize,
    unable: usize,
) -> StandingOrder {
    let text = "\u{e4}".repeat(50);
    let text = &text[..standing_text_max(heard, unable).min(96) / 2 * 2];
    let (by, reason) = text.split_at(text.len().min(32));
    StandingOrder {
        id: random.next_u64(),
        what: if random.below(2) == 1 { Lasting::Hold } else { Lasting::Drain(node(random)) },
        at: node(random),
        left: (random.below(2) == 1).then(|| Duration::from_millis(low::<u16>(random, 16).into())),
        ended: random.below(2) == 1,
        persists: random.below(2) == 1,
        by: Text::cut(by),
        reason: Text::cut(reason),
    }
}

const REASONS: [TimingReason; 5] = [
    TimingReason::Fastest,
    TimingReason::NotLongCalm,
    TimingReason::Loop,
    TimingReason::Spacing,
    TimingReason::Datagrams,
];

const PHASES: [NodePhase; 6] = [
    NodePhase::Listening,
    NodePhase::Active,
    NodePhase::Resuming,
    NodePhase::Isolated,
    NodePhase::Leaving,
    NodePhase::Left,
];

pub(super) fn random_heartbeat(random: &mut Random, heard: usize) -> Heartbeat {
    let mut heartbeat = Heartbeat {
        phase: PHASES[small(random, 6)],
        draining: random.below(2) == 1,
        solicit: random.below(2) == 1,
        clock_ms: random.next_u64(),
        interval: Duration::from_micros(1 + random.below(60_000_000)),
        misses: u8::try_from(1 + random.below(255)).unwrap(),
        weight: u16::try_from(1 + random.below(1000)).unwrap(),
        software: SoftwareVersion {
            major: low(random, 8),
            minor: low(random, 8),
            patch: low(random, 8),
        },
        config_digest: random.next_u64(),
        loop_lag: Duration::from_micros(low::<u32>(random, 32).into()),
        log: position(random),
        acknowledged: position(random),
        heard: (0..heard)
            .map(|_| Heard {
                node: node(random),
                incarnation_low: low(random, 32),
                age: Duration::from_millis(low::<u16>(random, 16).into()),
            })
            .collect(),
        preserving: PRESERVING[usize::from(low::<u8>(random, 8)) % PRESERVING.len()],
        waiting: (random.below(2) == 1).then(|| Waiting {
            connections: (random.below(2) == 1).then(|| low::<u16>(random, 16).into()),
            left: Duration::from_millis(low::<u32>(random, 32).into()),
        }),
        hardware: (0..small(random, HARDWARE_MAX as u64 + 1))
            .map(|_| HardwareAddress(std::array::from_fn(|_| low(random, 8))))
            .collect(),
        load: (random.below(2) == 1).then(|| Load {
            utilisation: u16::try_from(random.below(1001)).unwrap(),
            groups: low(random, 16),
            connections: Some(low(random, 32)).filter(|count| *count != u32::MAX),
        }),
        unlisted: random.below(2) == 1,
        name: (random.below(2) == 1).then(|| "lb-1.example_2".to_owned()),
        paths: (0..small(random, PATHS_MAX as u64 + 1))
            .map(|_| PathReport { receiver: random.below(2) == 1, others: random.below(2) == 1 })
            .collect(),
        standing_order: None,
        timing: None,
        unable: (0..small(random, unable_max(heard) as u64 + 1))
            .map(|_| {
                let why = [Inability::LinkDown, Inability::Kernel(Failure::Refused)];
                (GroupKey(random.next_u64()), why[small(random, 2)])
            })
            .collect(),
        fitness: (0..small(random, FITNESS_MAX as u64 + 1))
            .map(|_| {
                (PoolId(random.next_u64()), [Fitness::Reluctant, Fitness::Unfit][small(random, 2)])
            })
            .collect(),
    };
    // There is no room for both.
    if heartbeat.name.is_none() {
        let order = random_standing_order(random, heard, heartbeat.unable.len());
        heartbeat.standing_order = Some(Box::new(order));
        heartbeat.timing = (random.below(2) == 1).then(|| TimingProposal {
            level: TimingLevel::from_number(low(random, 8)),
            reason: REASONS[small(random, 5)],
            lateness: Duration::from_millis(low::<u16>(random, 16).into()),
        });
    }
    heartbeat
}

fn random_claim(random: &mut Random) -> Claim {
    let about = node(random);
    let causes = [
        Cause::FirstClaim,
        Cause::Silence(about),
        Cause::Restart(about),
        Cause::Deaf(about),
        Cause::Departure(about),
        Cause::Inability(about),
        Cause::Balance(about),
        Cause::Drain(about),
        Cause::Operator(about),
        Cause::Failback(about),
        Cause::Conflict(about),
        Cause::TakenBack(about),
        Cause::Checks(about),
        Cause::Placement(about),
        Cause::HandedOver(about),
        Cause::Removed(about),
        Cause::AddressConflict(about),
    ];
    let tenures = [Tenure::Held, Tenure::MovingTo(node(random)), Tenure::Free];
    let mut heir = || (random.below(2) == 1).then(|| node(random));
    Claim {
        heirs: [heir(), heir()],
        group: GroupKey(random.next_u64()),
        epoch: Epoch(random.next_u64()),
        owner: node(random),
        incarnation: Incarnation(random.next_u64()),
        revision: low(random, 32),
        tenure: tenures[small(random, 3)],
        support: low(random, 16),
        cause: causes[small(random, causes.len() as u64)],
    }
}

pub(super) fn random_claims(random: &mut Random, count: usize) -> Message {
    Message::Claims(Claims {
        base: position(random),
        upto: low(random, 32),
        claims: (0..count).map(|_| random_claim(random)).collect(),
    })
}

fn random_offer_answer(random: &mut Random) -> Message {
    let count = small(random, GROUPS_PER_OFFER as u64 + 1);
    let (accepted, forwards) = (groups(random, count), count % 2 == 1);
    let unable = groups(random, GROUPS_PER_OFFER - count);
    let unable = unable.into_iter().map(|group| (group, inability(random))).collect();
    Message::OfferAnswer(OfferAnswer { token: low(random, 32), accepted, forwards, unable })
}

fn inability(random: &mut Random) -> Inability {
    let hardware = HardwareAddress(random.next_u64().to_be_bytes()[..6].try_into().unwrap());
    let all = [
        Inability::LinkDown,
        Inability::Conflict(hardware),
        Inability::Kernel(Failure::Duplicate),
        Inability::FlushWar,
    ];
    all[small(random, all.len() as u64)]
}

pub(super) fn random_offer(random: &mut Random, count: usize) -> Message {
    const REASONS: [MoveReason; 6] = [
        MoveReason::Balance,
        MoveReason::Drain,
        MoveReason::Operator,
        MoveReason::Failback,
        MoveReason::Checks,
        MoveReason::Placement,
    ];
    Message::Offer(Offer {
        token: low(random, 32),
        reason: REASONS[small(random, REASONS.len() as u64)],
        groups: groups(random, count),
        keepers: (0..small(random, 2) * count).map(|_| hardware(random)).collect(),
    })
}

pub(super) fn random_kept(random: &mut Random, count: usize) -> Message {
    let mut kept = || Kept {
        group: GroupKey(random.next_u64()),
        connections: (small(random, 3) > 0).then(|| low(random, 31)),
    };
    Message::Kept((0..count).map(|_| kept()).collect())
}

fn any_kept(random: &mut Random) -> Message {
    let count = small(random, KEPT_MAX as u64 + 1);
    random_kept(random, count)
}

fn hardware(random: &mut Random) -> HardwareAddress {
    let [first, second, third, fourth, fifth, sixth, ..] = random.next_u64().to_be_bytes();
    HardwareAddress([first, second, third, fourth, fifth, sixth])
}

pub(super) fn random_neighbours(random: &mut Random, v4: usize, v6: usize) -> Message {
    let mut neighbour = |address: IpAddr| {
        let [_, _, first, rest @ ..] = random.next_u64().to_be_bytes();
        let [second, third, fourth, fifth, sixth] = rest;
        Neighbour { address, hardware: [first & !1, second, third, fourth, fifth, sixth] }
    };
    let v4 = (0..v4).map(|last| IpAddr::from([10, 0, 1, u8::try_from(last).unwrap()]));
    let v6 = (0..v6).map(|last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 1, last.try_into().unwrap()]));
    Message::Neighbours(v4.chain(v6).map(&mut neighbour).collect())
}

pub(super) fn random_connections(random: &mut Random, v4: usize, v6: usize) -> Message {
    let mut connection = |(address, client): (IpAddr, IpAddr)| Connection {
        address,
        port: 1 + u16::try_from(random.below(65_535)).unwrap(),
        client,
        client_port: 1 + u16::try_from(random.below(65_535)).unwrap(),
    };
    let last = |at: usize| u8::try_from(at).unwrap();
    let v4 = (0..v4).map(|at| ([10, 0, 1, 1].into(), [10, 0, 2, last(at)].into()));
    let v6 = (0..v6).map(|at| {
        let client = [0xfd00, 0, 0, 0, 0, 0, 2, u16::from(last(at))];
        ([0xfd00, 0, 0, 0, 0, 0, 1, 1].into(), client.into())
    });
    Message::Connections(v4.chain(v6).map(&mut connection).collect())
}

fn any_connections(random: &mut Random) -> Message {
    let v6 = small(random, CONNECTIONS_V6_MAX as u64 + 1);
    let v4 = small(random, (CONNECTIONS_V4_MAX - 3 * v6) as u64 + 1);
    random_connections(random, v4, v6)
}

fn wish(random: &mut Random) -> Wish {
    let (version, group) = (low(random, 32), GroupKey(random.next_u64()));
    Wish { version, group, wanted: random.below(2) == 1 }
}

fn random_request(random: &mut Random) -> Message {
    Message::LeaseRequest(LeaseRequest {
        asked_at: random.next_u64(),
        voters: random.next_u64(),
        base: low(random, 32),
        upto: low(random, 32),
        wishes: (0..small(random, WISHES_PER_MESSAGE as u64 + 1)).map(|_| wish(random)).collect(),
        bid: (small(random, 2) == 1).then(|| Bid {
            lease: Duration::from_millis(small(random, 400_001) as u64),
            answered: Some(random.next_u64()).filter(|_| small(random, 2) == 1),
        }),
    })
}

fn random_grant(random: &mut Random) -> Message {
    const VOTES: [Vote; 4] = [Vote::Granted, Vote::Starting, Vote::VotersDiffer, Vote::Waiting];
    let count = small(random, REFUSED_PER_MESSAGE as u64 + 1);
    Message::LeaseGrant(LeaseGrant {
        asked_at: random.next_u64(),
        have: low(random, 32),
        vote: VOTES[small(random, 4)],
        upto: low(random, 32),
        refused: groups(random, count),
        backing: (small(random, 2) == 1).then(|| Backing {
            lease: Duration::from_millis(small(random, 400_001) as u64),
            after: low(random, 32),
            longest: Duration::from_millis(small(random, 400_001) as u64),
            lists: (0..small(random, LISTS_MAX as u64 + 1)).map(|_| random.next_u64()).collect(),
        }),
    })
}

/// Any message, lists of any length up to their limits.
pub(super) fn random_message(random: &mut Random) -> Message {
    const OUTCOMES: [Result<(), Refusal>; 11] = [
        Ok(()),
        Err(Refusal::UnknownNode),
        Err(Refusal::UnknownGroup),
        Err(Refusal::NobodyOwns),
        Err(Refusal::Unreachable),
        Err(Refusal::ReceiverDown),
        Err(Refusal::ReceiverDraining),
        Err(Refusal::ReceiverDeclined),
        Err(Refusal::Busy),
        Err(Refusal::NotReady),
        Err(Refusal::ReceiverIsWitness),
    ];
    match random.below(12) {
        0 => {
            let heard = small(random, HEARD_MAX as u64 + 1);
            Message::Heartbeat(random_heartbeat(random, heard))
        }
        1 => {
            let count = small(random, CLAIMS_PER_MESSAGE as u64 + 1);
            random_claims(random, count)
        }
        2 => Message::ClaimsAck(ClaimsAck { position: position(random) }),
        3 => {
            let count = small(random, GROUPS_PER_OFFER as u64 + 1);
            random_offer(random, count)
        }
        4 => random_offer_answer(random),
        5 => {
            let to = node(random);
            let moved = Order::Move { group: GroupKey(random.next_u64()), to };
            let orders = [Order::Drain(to), Order::DrainNow(to), Order::Undrain(to), moved];
            Message::Errand(Errand { ticket: random.next_u64(), order: orders[small(random, 4)] })
        }
        6 => random_request(random),
        7 => random_grant(random),
        8 => {
            let v4 = small(random, NEIGHBOURS_V4_MAX as u64 + 1);
            let v6 = small(random, NEIGHBOURS_V6_MAX as u64 + 1);
            random_neighbours(random, v4, v6)
        }
        9 => any_connections(random),
        10 => any_kept(random),
        _ => Message::ErrandAnswer(ErrandAnswer {
            ticket: random.next_u64(),
            outcome: OUTCOMES[small(random, 10)],
        }),
    }
}

const PRESERVING: [Preserving; 6] = [
    Preserving::Unknown,
    Preserving::Able,
    Preserving::AvailabilityOnly,
    Preserving::Off,
    Preserving::NoGate,
    Preserving::NoKernelSupport,
];
