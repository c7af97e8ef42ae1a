//! Bytes to messages. The seal has been checked, but the sender may be another version, or wrong.
//!
//! Nothing here panics, and no value outside its range comes through: what the protocol gets can
//! be computed with.

use std::fmt;
use std::time::Duration;

use crate::protocol::{
    CLAIMS_PER_MESSAGE, Claims, ClaimsAck, Errand, ErrandAnswer, FITNESS_MAX, Fitness,
    GROUPS_PER_OFFER, GroupKey, HARDWARE_MAX, HardwareAddress, Heard, Heartbeat, Inability, Load,
    LogPosition, Message, NodeId, Offer, OfferAnswer, Order, PoolId, SoftwareVersion, Waiting,
    unable_max,
};

use super::claim::{self, CLAIM_LENGTH};
use super::encode::{self, FITNESS_LENGTH, HEARD_LENGTH, UNABLE_LENGTH};
use super::field::{self, Value, gather, required};
use super::{
    BODY_MAX, HEARD_MAX, code, connection, kept, lease, neighbour, path, standing_order, timing,
    unable,
};

/// Longest heartbeat interval believed; six times what the configuration allows.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Largest share, as the configuration has it.
const WEIGHT_MAX: u16 = 1000;

/// Why a body is not a message. Fields are told by their type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// No byte at all.
    Empty,
    /// More bytes than one datagram can carry.
    TooLong,
    /// A kind of message that this version does not know.
    UnknownKind(u8),
    /// A field ends after the message.
    Truncated,
    /// A field that this version does not know, and that must be known.
    UnknownCritical(u8),
    /// The same field twice.
    Repeated(u8),
    /// A field is missing.
    Missing(u8),
    /// A field or record is shorter than what it must hold.
    ShortField(u8),
    /// A list whose length is no multiple of its records' length.
    BadList(u8),
    /// A list with more records than its limit.
    TooMany(u8),
    /// A value that is not allowed.
    OutOfRange(u8),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(out, "empty message"),
            Self::TooLong => write!(out, "message longer than a datagram"),
            Self::UnknownKind(kind) => write!(out, "message of unknown kind {kind}"),
            Self::Truncated => write!(out, "message ends within a field"),
            Self::UnknownCritical(field) => write!(out, "unknown critical field {field:#04x}"),
            Self::Repeated(field) => write!(out, "field {field:#04x} given twice"),
            Self::Missing(field) => write!(out, "field {field:#04x} missing"),
            Self::ShortField(field) => write!(out, "field {field:#04x} too short"),
            Self::BadList(field) => write!(out, "list {field:#04x} of uneven length"),
            Self::TooMany(field) => write!(out, "list {field:#04x} too long"),
            Self::OutOfRange(field) => write!(out, "value in field {field:#04x} not allowed"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Reads the body of a datagram.
///
/// # Errors
///
/// When the bytes are not a message that this version understands in whole.
pub fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
    decode_with_features(bytes).map(|(message, _)| message)
}

/// As [`decode`]; with a heartbeat come the features that its sender understands.
pub(super) fn decode_with_features(bytes: &[u8]) -> Result<(Message, Option<u64>), DecodeError> {
    if bytes.len() > BODY_MAX {
        return Err(DecodeError::TooLong);
    }
    let Some((kind, fields)) = bytes.split_first() else {
        return Err(DecodeError::Empty);
    };
    let message = match *kind {
        encode::HEARTBEAT => {
            let (heartbeat, features) = decode_heartbeat(fields)?;
            return Ok((Message::Heartbeat(heartbeat), Some(features)));
        }
        encode::CLAIMS => decode_claims(fields).map(Message::Claims),
        encode::CLAIMS_ACK => decode_claims_ack(fields).map(Message::ClaimsAck),
        encode::OFFER => decode_offer(fields).map(Message::Offer),
        encode::OFFER_ANSWER => decode_offer_answer(fields).map(Message::OfferAnswer),
        encode::ERRAND => decode_errand(fields).map(Message::Errand),
        encode::ERRAND_ANSWER => decode_errand_answer(fields).map(Message::ErrandAnswer),
        encode::LEASE_REQUEST => lease::decode_request(fields).map(Message::LeaseRequest),
        encode::LEASE_GRANT => lease::decode_grant(fields).map(Message::LeaseGrant),
        encode::NEIGHBOURS => neighbour::read(fields).map(Message::Neighbours),
        encode::KEPT => kept::read(fields).map(Message::Kept),
        encode::CONNECTIONS => connection::read(fields).map(Message::Connections),
        unknown => Err(DecodeError::UnknownKind(unknown)),
    };
    message.map(|message| (message, None))
}

/// The fields of a heartbeat, in the order in which they are taken apart.
const HEARTBEAT_FIELDS: [u8; 16] = [
    field::STATE,
    field::LOG,
    field::HEARD,
    field::SOFTWARE,
    field::CONFIG_DIGEST,
    field::LOOP_LAG,
    field::HARDWARE,
    field::FEATURES,
    field::FITNESS,
    field::LOAD,
    field::WAITING,
    field::NAME,
    field::UNABLE,
    field::PATHS,
    field::STANDING_ORDER,
    field::TIMING,
];

fn decode_heartbeat(bytes: &[u8]) -> Result<(Heartbeat, u64), DecodeError> {
    let found = gather(bytes, HEARTBEAT_FIELDS)?;
    let [state, log, heard, software, digest, lag, hardware, features, fitness, load, ..] = found;
    let [.., waiting, name, unable, paths, standing, proposal] = found;

    let mut state = required(state, field::STATE)?;
    let phase = code::phase_of(state.u8()?).ok_or(state.out_of_range())?;
    let flags = state.u8()?;
    let interval = Duration::from_micros(state.u32()?.into());
    let misses = state.u8()?;
    let weight = state.u16()?;
    let clock_ms = state.u64()?;
    // RFC 9568 erratum 8301: an interval of zero would make every peer dead at once.
    if interval.is_zero() || interval > INTERVAL_MAX || misses == 0 {
        return Err(state.out_of_range());
    }
    if weight == 0 || weight > WEIGHT_MAX {
        return Err(state.out_of_range());
    }

    let mut log = required(log, field::LOG)?;
    let software = match software {
        Some(mut software) => {
            let [major, minor, patch] = software.take()?;
            SoftwareVersion { major, minor, patch }
        }
        None => SoftwareVersion::default(),
    };
    let heard = required(heard, field::HEARD)?;
    let features = features.map_or(Ok(0), |mut features| features.u64())?;
    let heartbeat = Heartbeat {
        phase,
        draining: flags & encode::DRAINING != 0,
        solicit: flags & encode::SOLICIT != 0,
        clock_ms,
        interval,
        misses,
        weight,
        software,
        config_digest: digest.map_or(Ok(0), |mut digest| digest.u64())?,
        loop_lag: Duration::from_micros(lag.map_or(Ok(0), |mut lag| lag.u32())?.into()),
        log: read_position(&mut log)?,
        acknowledged: read_position(&mut log)?,
        waiting: waiting.map(read_waiting).transpose()?,
        heard: heard.list::<HEARD_LENGTH, Heard>(HEARD_MAX, read_heard)?,
        hardware: hardware.map_or(Ok(Vec::new()), |list| {
            list.list::<6, _>(HARDWARE_MAX, |mut record| record.take().map(HardwareAddress))
        })?,
        fitness: fitness.map_or(Ok(Vec::new()), |list| {
            list.list::<FITNESS_LENGTH, _>(FITNESS_MAX, read_fitness)
        })?,
        load: load.map(read_load).transpose()?,
        unlisted: flags & encode::UNLISTED != 0,
        preserving: code::preserving_of(flags >> encode::PRESERVING_SHIFT),
        name: name.and_then(read_name),
        unable: unable.map_or(Ok(Vec::new()), |list| {
            list.list::<UNABLE_LENGTH, _>(unable_max(0), read_unable)
        })?,
        paths: path::read(paths)?,
        standing_order: standing.map(standing_order::read).transpose()?.flatten().map(Box::new),
        timing: proposal.map(timing::read).transpose()?,
    };
    Ok((heartbeat, features))
}

fn read_waiting(mut value: Value<'_>) -> Result<Waiting, DecodeError> {
    let connections = Some(value.u32()?).filter(|count| *count != u32::MAX);
    Ok(Waiting { connections, left: Duration::from_millis(value.u32()?.into()) })
}

/// A name that a file could give a node; anything else is as good as none.
fn read_name(value: Value<'_>) -> Option<String> {
    let bytes = value.bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let valid = (1..=encode::NAME_MAX).contains(&bytes.len()) && bytes.iter().all(plain);
    valid.then(|| String::from_utf8_lossy(bytes).into_owned())
}

fn read_unable(mut record: Value<'_>) -> Result<(GroupKey, Inability), DecodeError> {
    Ok((GroupKey(record.u64()?), code::inability_of(record.u8()?)))
}

fn read_load(mut load: Value<'_>) -> Result<Load, DecodeError> {
    Ok(Load {
        utilisation: load.u16()?.min(1000),
        groups: load.u16()?,
        connections: Some(load.u32()?).filter(|count| *count != encode::UNKNOWN),
    })
}

fn read_fitness(mut record: Value<'_>) -> Result<(PoolId, Fitness), DecodeError> {
    Ok((PoolId(record.u64()?), code::fitness_of(record.u8()?)))
}

fn read_heard(mut record: Value<'_>) -> Result<Heard, DecodeError> {
    Ok(Heard {
        node: NodeId(record.u32()?),
        incarnation_low: record.u32()?,
        age: Duration::from_millis(record.u16()?.into()),
    })
}

fn decode_claims(bytes: &[u8]) -> Result<Claims, DecodeError> {
    let [slice, claims] = gather(bytes, [field::SLICE, field::CLAIMS])?;
    let mut slice = required(slice, field::SLICE)?;
    let claims = required(claims, field::CLAIMS)?;
    Ok(Claims {
        base: read_position(&mut slice)?,
        upto: slice.u32()?,
        claims: claims.list::<CLAIM_LENGTH, _>(CLAIMS_PER_MESSAGE, claim::read)?,
    })
}

fn decode_claims_ack(bytes: &[u8]) -> Result<ClaimsAck, DecodeError> {
    let [position] = gather(bytes, [field::POSITION])?;
    let position = read_position(&mut required(position, field::POSITION)?)?;
    Ok(ClaimsAck { position })
}

fn decode_offer(bytes: &[u8]) -> Result<Offer, DecodeError> {
    let known = [field::OFFER, field::GROUPS, field::KEEPERS];
    let [offer, groups, keepers] = gather(bytes, known)?;
    let mut offer = required(offer, field::OFFER)?;
    let token = offer.u32()?;
    let reason = code::move_reason_of(offer.u8()?).ok_or(offer.out_of_range())?;
    let detail = offer.u8().unwrap_or(code::NO_DETAIL);
    let reason = code::detailed_move_reason(reason, detail);
    let keepers = kept::read_keepers(keepers)?;
    Ok(Offer { token, reason, groups: read_groups(groups)?, keepers })
}

fn decode_offer_answer(bytes: &[u8]) -> Result<OfferAnswer, DecodeError> {
    let known = [field::OFFER_ANSWER, field::GROUPS, field::FORWARDS, field::DECLINED_FOR];
    let [answer, groups, forwards, unable] = gather(bytes, known)?;
    let (forwards, unable) = (forwards.is_some(), unable::read(unable)?);
    let token = required(answer, field::OFFER_ANSWER)?.u32()?;
    Ok(OfferAnswer { token, accepted: read_groups(groups)?, forwards, unable })
}

fn decode_errand(bytes: &[u8]) -> Result<Errand, DecodeError> {
    let [errand] = gather(bytes, [field::ERRAND])?;
    let mut errand = required(errand, field::ERRAND)?;
    let ticket = errand.u64()?;
    let order = errand.u8()?;
    let node = NodeId(errand.u32()?);
    let group = GroupKey(errand.u64()?);
    let order = match order {
        1 => Order::Drain(node),
        2 => Order::Undrain(node),
        3 => Order::Move { group, to: node },
        4 => Order::DrainNow(node),
        _ => return Err(errand.out_of_range()),
    };
    Ok(Errand { ticket, order })
}

fn decode_errand_answer(bytes: &[u8]) -> Result<ErrandAnswer, DecodeError> {
    let [answer] = gather(bytes, [field::ERRAND_ANSWER])?;
    let mut answer = required(answer, field::ERRAND_ANSWER)?;
    let ticket = answer.u64()?;
    let outcome = code::outcome_of(answer.u8()?).ok_or(answer.out_of_range())?;
    let outcome = code::detailed_outcome(outcome, answer.u8().unwrap_or(code::NO_DETAIL));
    Ok(ErrandAnswer { ticket, outcome })
}

fn read_position(value: &mut Value<'_>) -> Result<LogPosition, DecodeError> {
    Ok(LogPosition { stream: value.u32()?, version: value.u32()? })
}

fn read_groups(groups: Option<Value<'_>>) -> Result<Vec<GroupKey>, DecodeError> {
    let groups = required(groups, field::GROUPS)?;
    groups.list::<8, _>(GROUPS_PER_OFFER, |mut record| record.u64().map(GroupKey))
}
