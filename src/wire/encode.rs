//! Messages to bytes: the kind, then fields.
//!
//! Called for what this node itself says, so a list that is too long is a broken invariant and
//! not an error.

use std::time::Duration;

use crate::protocol::{
    CLAIMS_PER_MESSAGE, Claims, FITNESS_MAX, Fitness, GROUPS_PER_OFFER, GroupKey, HARDWARE_MAX,
    Heard, Heartbeat, Inability, LogPosition, Message, NEIGHBOURS_V4_MAX, NEIGHBOURS_V6_MAX,
    PoolId, unable_max,
};

use super::{FEATURES, HEARD_MAX, WIRE_VERSION_MAX, WIRE_VERSION_MIN};
use super::{
    claim, code, connection, field, kept, lease, neighbour, path, standing_order, timing, unable,
};

pub(super) const HEARTBEAT: u8 = 1;
pub(super) const CLAIMS: u8 = 2;
pub(super) const CLAIMS_ACK: u8 = 3;
pub(super) const OFFER: u8 = 4;
pub(super) const OFFER_ANSWER: u8 = 5;
pub(super) const ERRAND: u8 = 6;
pub(super) const ERRAND_ANSWER: u8 = 7;
pub(super) const LEASE_REQUEST: u8 = 8;
pub(super) const LEASE_GRANT: u8 = 9;
pub(super) const NEIGHBOURS: u8 = 10;
pub(super) const CONNECTIONS: u8 = 11;
pub(super) const KEPT: u8 = 12;

pub(super) const DRAINING: u8 = 1;
pub(super) const SOLICIT: u8 = 2;
pub(super) const UNLISTED: u8 = 0x10;
/// The upper three bits of the flags are a number: whether the sender can preserve connections. Older
/// software sends zero and does not look at them.
pub(super) const PRESERVING_SHIFT: u32 = 5;

/// Bytes of one line of the table of peers.
pub(super) const HEARD_LENGTH: usize = 10;
/// Longest name of a node.
pub(super) const NAME_MAX: usize = 63;
/// Connections that nobody has counted.
pub(super) const UNKNOWN: u32 = u32::MAX;
/// Bytes of one pool that is not fit.
pub(super) const FITNESS_LENGTH: usize = 9;
pub(super) const UNABLE_LENGTH: usize = 9;

/// Appends the body of a datagram that carries this message; at most
/// [`BODY_MAX`](super::BODY_MAX) bytes.
///
/// # Panics
///
/// When a list is longer than its limit, which the limits of the configuration rule out.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::Heartbeat(heartbeat) => encode_heartbeat(heartbeat, out),
        Message::Claims(claims) => encode_claims(claims, out),
        Message::ClaimsAck(ack) => {
            out.push(CLAIMS_ACK);
            field::put(out, field::POSITION, |out| put_position(out, ack.position));
        }
        Message::Offer(offer) => {
            out.push(OFFER);
            field::put(out, field::OFFER, |out| {
                out.extend(offer.token.to_be_bytes());
                out.push(code::move_reason(offer.reason));
                put_detail(out, code::move_reason_detail(offer.reason));
            });
            // What must be there comes last, so that a message cut short is seen to be.
            kept::write_keepers(&offer.keepers, out);
            put_groups(out, &offer.groups);
        }
        Message::OfferAnswer(answer) => {
            out.push(OFFER_ANSWER);
            field::put(out, field::OFFER_ANSWER, |out| out.extend(answer.token.to_be_bytes()));
            if answer.forwards {
                field::put(out, field::FORWARDS, |_| {});
            }
            unable::write(&answer.unable, out);
            put_groups(out, &answer.accepted);
        }
        Message::Errand(errand) => {
            let (order, node, group) = code::order(errand.order);
            out.push(ERRAND);
            field::put(out, field::ERRAND, |out| {
                out.extend(errand.ticket.to_be_bytes());
                out.push(order);
                out.extend(node.0.to_be_bytes());
                out.extend(group.to_be_bytes());
            });
        }
        Message::LeaseRequest(request) => lease::encode_request(request, out),
        Message::LeaseGrant(grant) => lease::encode_grant(grant, out),
        Message::ErrandAnswer(answer) => {
            out.push(ERRAND_ANSWER);
            field::put(out, field::ERRAND_ANSWER, |out| {
                out.extend(answer.ticket.to_be_bytes());
                out.push(code::outcome(answer.outcome));
                put_detail(out, code::outcome_detail(answer.outcome));
            });
        }
        Message::Neighbours(hosts) => {
            let v4 = hosts.iter().filter(|host| host.address.is_ipv4()).count();
            check_count(v4, NEIGHBOURS_V4_MAX);
            check_count(hosts.len() - v4, NEIGHBOURS_V6_MAX);
            out.push(NEIGHBOURS);
            neighbour::write(hosts, out);
        }
        Message::Connections(connections) => {
            let v4 = connections.iter().filter(|one| one.address.is_ipv4()).count();
            let v6 = connections.len() - v4;
            assert!(connection::fits(v4, v6), "{v4} and {v6} connections in a message");
            out.push(CONNECTIONS);
            connection::write(connections, out);
        }
        Message::Kept(list) => {
            out.push(KEPT);
            kept::write(list, out);
        }
    }
}

/// How many bytes [`encode`] appends.
#[must_use]
pub fn encoded_length(message: &Message) -> usize {
    let mut out = Vec::new();
    encode(message, &mut out);
    out.len()
}

fn encode_heartbeat(heartbeat: &Heartbeat, out: &mut Vec<u8>) {
    check_count(heartbeat.heard.len(), HEARD_MAX);
    let said = [
        (heartbeat.draining, DRAINING),
        (heartbeat.solicit, SOLICIT),
        (heartbeat.unlisted, UNLISTED),
    ];
    let preserving = code::preserving(heartbeat.preserving) << PRESERVING_SHIFT;
    let flags = said.iter().filter(|(is, _)| *is).fold(preserving, |flags, (_, bit)| flags | bit);
    out.push(HEARTBEAT);
    field::put(out, field::STATE, |out| {
        out.push(code::phase(heartbeat.phase));
        out.push(flags);
        out.extend(micros(heartbeat.interval).to_be_bytes());
        out.push(heartbeat.misses);
        out.extend(heartbeat.weight.to_be_bytes());
        out.extend(heartbeat.clock_ms.to_be_bytes());
    });
    field::put(out, field::LOG, |out| {
        put_position(out, heartbeat.log);
        put_position(out, heartbeat.acknowledged);
    });
    field::put(out, field::SOFTWARE, |out| {
        let software = heartbeat.software;
        out.extend([software.major, software.minor, software.patch]);
    });
    field::put(out, field::CONFIG_DIGEST, |out| out.extend(heartbeat.config_digest.to_be_bytes()));
    field::put(out, field::LOOP_LAG, |out| out.extend(micros(heartbeat.loop_lag).to_be_bytes()));
    field::put(out, field::WIRE_RANGE, |out| out.extend([WIRE_VERSION_MIN, WIRE_VERSION_MAX]));
    field::put(out, field::FEATURES, |out| out.extend(FEATURES.to_be_bytes()));
    if let Some(waiting) = heartbeat.waiting {
        field::put(out, field::WAITING, |out| {
            let left = u32::try_from(waiting.left.as_millis()).unwrap_or(u32::MAX);
            // No count yet is the one number that no host can have.
            out.extend(waiting.connections.unwrap_or(u32::MAX).to_be_bytes());
            out.extend(left.to_be_bytes());
        });
    }
    if !heartbeat.hardware.is_empty() {
        check_count(heartbeat.hardware.len(), HARDWARE_MAX);
        field::put_list(out, field::HARDWARE, heartbeat.hardware.iter().map(|address| address.0));
    }
    if !heartbeat.fitness.is_empty() {
        check_count(heartbeat.fitness.len(), FITNESS_MAX);
        field::put_list(out, field::FITNESS, heartbeat.fitness.iter().map(fitness_record));
    }
    if !heartbeat.unable.is_empty() {
        check_count(heartbeat.unable.len(), unable_max(heartbeat.heard.len()));
        field::put_list(out, field::UNABLE, heartbeat.unable.iter().map(unable_record));
    }
    if let Some(load) = &heartbeat.load {
        field::put(out, field::LOAD, |out| {
            out.extend(load.utilisation.to_be_bytes());
            out.extend(load.groups.to_be_bytes());
            out.extend(load.connections.unwrap_or(UNKNOWN).to_be_bytes());
        });
    }
    if let Some(name) = heartbeat.name.as_ref().filter(|name| name.len() <= NAME_MAX) {
        field::put(out, field::NAME, |out| out.extend(name.as_bytes()));
    }
    path::write(&heartbeat.paths, out);
    if let Some(order) = &heartbeat.standing_order {
        standing_order::write(order, out);
    }
    if let Some(proposal) = &heartbeat.timing {
        timing::write(proposal, out);
    }
    field::put_list(out, field::HEARD, heartbeat.heard.iter().map(heard_record));
}

fn fitness_record((pool, fitness): &(PoolId, Fitness)) -> [u8; FITNESS_LENGTH] {
    let mut record = [code::fitness(*fitness); FITNESS_LENGTH];
    record[..8].copy_from_slice(&pool.0.to_be_bytes());
    record
}

fn unable_record((group, why): &(GroupKey, Inability)) -> [u8; UNABLE_LENGTH] {
    let mut record = [code::inability(*why); UNABLE_LENGTH];
    record[..8].copy_from_slice(&group.0.to_be_bytes());
    record
}

fn heard_record(heard: &Heard) -> [u8; HEARD_LENGTH] {
    let age = u16::try_from(heard.age.as_millis()).unwrap_or(u16::MAX);
    let mut record = [0; HEARD_LENGTH];
    record[..4].copy_from_slice(&heard.node.0.to_be_bytes());
    record[4..8].copy_from_slice(&heard.incarnation_low.to_be_bytes());
    record[8..].copy_from_slice(&age.to_be_bytes());
    record
}

fn encode_claims(claims: &Claims, out: &mut Vec<u8>) {
    check_count(claims.claims.len(), CLAIMS_PER_MESSAGE);
    out.push(CLAIMS);
    field::put(out, field::SLICE, |out| {
        put_position(out, claims.base);
        out.extend(claims.upto.to_be_bytes());
    });
    if claims.claims.iter().any(claim::has_detail) {
        field::put_list(out, field::CLAIMS, claims.claims.iter().map(claim::write_with_detail));
    } else {
        field::put_list(out, field::CLAIMS, claims.claims.iter().map(claim::write));
    }
}

fn put_position(out: &mut Vec<u8>, position: LogPosition) {
    out.extend(position.stream.to_be_bytes());
    out.extend(position.version.to_be_bytes());
}

fn put_detail(out: &mut Vec<u8>, detail: u8) {
    if detail != code::NO_DETAIL {
        out.push(detail);
    }
}

fn put_groups(out: &mut Vec<u8>, groups: &[GroupKey]) {
    check_count(groups.len(), GROUPS_PER_OFFER);
    field::put_list(out, field::GROUPS, groups.iter().map(|group| group.0.to_be_bytes()));
}

pub(super) fn check_count(count: usize, limit: usize) {
    assert!(count <= limit, "a message lists {count} things where {limit} fit");
}

/// Whole microseconds; 71 minutes stand for all that is longer.
fn micros(length: Duration) -> u32 {
    u32::try_from(length.as_micros()).unwrap_or(u32::MAX)
}
