//! Messages come back as they went, whatever their size, and nothing else comes through.

use super::sample::{
    random_claims, random_connections, random_heartbeat, random_message, random_neighbours,
    random_offer, random_standing_order, small,
};
use crate::protocol::unable_max;
use crate::protocol::{
    CLAIMS_PER_MESSAGE, CONNECTIONS_V4_MAX, CONNECTIONS_V6_MAX, FITNESS_MAX, Fitness,
    GROUPS_PER_OFFER, GroupKey, HARDWARE_MAX, HardwareAddress, Heartbeat, Inability, Load, Message,
    NEIGHBOURS_V4_MAX, NEIGHBOURS_V6_MAX, PATHS_MAX, PathReport, PoolId, Random, TimingLevel,
    TimingProposal, TimingReason,
};
use crate::wire::{BODY_MAX, HEARD_MAX, decode, encode, encoded_length};

fn encoded(message: &Message) -> Vec<u8> {
    let mut body = Vec::new();
    encode(message, &mut body);
    body
}

#[test]
fn every_message_comes_back_as_it_went() {
    for seed in 0..4000 {
        let message = random_message(&mut Random::new(seed));
        let body = encoded(&message);
        assert_eq!(decode(&body), Ok(message), "seed {seed}");
    }
}

#[test]
fn the_largest_messages_fit_one_datagram() {
    let mut random = Random::new(7);
    let hardware = vec![HardwareAddress([1; 6]); HARDWARE_MAX];
    let fitness = vec![(PoolId(u64::MAX), Fitness::Unfit); FITNESS_MAX];
    let load = Some(Load::default());
    let unable = vec![(GroupKey(u64::MAX), Inability::LinkDown); unable_max(HEARD_MAX)];
    let paths = vec![PathReport { receiver: true, others: true }; PATHS_MAX];
    let heartbeat = random_heartbeat(&mut random, HEARD_MAX);
    let order = Some(Box::new(random_standing_order(&mut random, HEARD_MAX, unable.len())));
    let standing = Heartbeat { standing_order: order, name: None, ..heartbeat.clone() };
    let (hw, unfit, busy, not) = (hardware.clone(), fitness.clone(), load, unable.clone());
    let standing = Heartbeat { hardware: hw, fitness: unfit, load: busy, unable: not, ..standing };
    let (level, lateness) = (TimingLevel::SLOWEST, std::time::Duration::from_millis(65_535));
    let timing = Some(TimingProposal { level, reason: TimingReason::Spacing, lateness });
    let standing = Heartbeat { paths: paths.clone(), timing, ..standing };
    let largest = [
        Message::Heartbeat(Heartbeat {
            hardware,
            fitness,
            load,
            unable,
            paths,
            standing_order: None,
            timing: None,
            ..heartbeat
        }),
        Message::Heartbeat(standing),
        random_claims(&mut random, CLAIMS_PER_MESSAGE),
        random_offer(&mut random, GROUPS_PER_OFFER),
        random_neighbours(&mut random, NEIGHBOURS_V4_MAX, NEIGHBOURS_V6_MAX),
        random_connections(&mut random, CONNECTIONS_V4_MAX, 0),
        random_connections(&mut random, 0, CONNECTIONS_V6_MAX),
    ];
    for message in largest {
        let length = encoded_length(&message);
        assert!(length <= BODY_MAX, "{length} bytes for {message:?}");
        assert_eq!(decode(&encoded(&message)), Ok(message));
    }
    for _ in 0..4000 {
        assert!(encoded_length(&random_message(&mut random)) <= BODY_MAX);
    }
}

#[test]
fn a_message_cut_short_is_an_error() {
    for seed in 0..200 {
        let body = encoded(&random_message(&mut Random::new(seed)));
        for length in 0..body.len() {
            assert!(decode(&body[..length]).is_err(), "seed {seed} cut to {length}");
        }
    }
}

/// Bytes of a holder of the key may be anything: the only demand is that decoding ends, and that
/// what it accepts can be encoded and read again.
#[test]
fn damaged_messages_are_refused_or_read_as_something_sound() {
    let mut accepted = 0;
    for seed in 0..20_000 {
        let mut random = Random::new(seed);
        let mut body = encoded(&random_message(&mut random));
        for _ in 0..=random.below(4) {
            let at = small(&mut random, body.len() as u64);
            body[at] = u8::try_from(random.below(256)).unwrap();
        }
        if let Ok(message) = decode(&body) {
            accepted += 1;
            assert_eq!(decode(&encoded(&message)), Ok(message), "seed {seed}");
        }
    }
    assert!(accepted > 1000, "only {accepted} were accepted: the damage is too crude");
}
