//! Requests for leases and grants: their fields.
//!
//! ```text
//!   request: LEASE   asked_at u64, voters u64, base u32, upto u32
//!            BID     lease u64 in nanoseconds, answered u64 or 0; optional
//!            WISHES  of { version u32, group u64, wanted u8 }
//!   grant:   LEASE   asked_at u64, have u32, vote u8, upto u32
//!            BACKING lease u64, after u32, longest u64; optional
//!            LISTS   of u64; optional
//!            GROUPS  refused, of u64
//! ```

use std::time::Duration;

use crate::protocol::{
    Backing, Bid, GroupKey, LEASE_MAX, LISTS_MAX, LeaseGrant, LeaseRequest, REFUSED_PER_MESSAGE,
    WISHES_PER_MESSAGE, Wish,
};

use super::code;
use super::decode::DecodeError;
use super::encode::{LEASE_GRANT, LEASE_REQUEST, check_count};
use super::field::{self, Value, gather, required};

/// Bytes of one wish.
const WISH_LENGTH: usize = 13;

pub(super) fn encode_request(request: &LeaseRequest, out: &mut Vec<u8>) {
    check_count(request.wishes.len(), WISHES_PER_MESSAGE);
    out.push(LEASE_REQUEST);
    field::put(out, field::LEASE, |out| {
        out.extend(request.asked_at.to_be_bytes());
        out.extend(request.voters.to_be_bytes());
        out.extend(request.base.to_be_bytes());
        out.extend(request.upto.to_be_bytes());
    });
    if let Some(bid) = request.bid {
        field::put(out, field::BID, |out| {
            out.extend(nanos(bid.lease).to_be_bytes());
            out.extend(bid.answered.unwrap_or(0).to_be_bytes());
        });
    }
    field::put_list(out, field::WISHES, request.wishes.iter().map(wish_record));
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// A length of a lease; none is longer than configurations allow.
fn read_lease(value: &mut Value<'_>) -> Result<Duration, DecodeError> {
    let length = Duration::from_nanos(value.u64()?);
    if length > LEASE_MAX { Err(value.out_of_range()) } else { Ok(length) }
}

fn wish_record(wish: &Wish) -> [u8; WISH_LENGTH] {
    let mut record = [0; WISH_LENGTH];
    record[..4].copy_from_slice(&wish.version.to_be_bytes());
    record[4..12].copy_from_slice(&wish.group.0.to_be_bytes());
    record[12] = u8::from(wish.wanted);
    record
}

pub(super) fn encode_grant(grant: &LeaseGrant, out: &mut Vec<u8>) {
    check_count(grant.refused.len(), REFUSED_PER_MESSAGE);
    out.push(LEASE_GRANT);
    field::put(out, field::LEASE, |out| {
        out.extend(grant.asked_at.to_be_bytes());
        out.extend(grant.have.to_be_bytes());
        out.push(code::vote(grant.vote));
        out.extend(grant.upto.to_be_bytes());
    });
    if let Some(backing) = &grant.backing {
        check_count(backing.lists.len(), LISTS_MAX);
        field::put(out, field::BACKING, |out| {
            out.extend(nanos(backing.lease).to_be_bytes());
            out.extend(backing.after.to_be_bytes());
            out.extend(nanos(backing.longest).to_be_bytes());
        });
        field::put_list(out, field::LISTS, backing.lists.iter().map(|list| list.to_be_bytes()));
    }
    field::put_list(out, field::GROUPS, grant.refused.iter().map(|group| group.0.to_be_bytes()));
}

pub(super) fn decode_request(bytes: &[u8]) -> Result<LeaseRequest, DecodeError> {
    let [lease, wishes, bid] = gather(bytes, [field::LEASE, field::WISHES, field::BID])?;
    let mut lease = required(lease, field::LEASE)?;
    let wishes = required(wishes, field::WISHES)?;
    Ok(LeaseRequest {
        asked_at: lease.u64()?,
        voters: lease.u64()?,
        base: lease.u32()?,
        upto: lease.u32()?,
        wishes: wishes.list::<WISH_LENGTH, _>(WISHES_PER_MESSAGE, |mut record| {
            let (version, group) = (record.u32()?, GroupKey(record.u64()?));
            let wanted = match record.u8()? {
                0 => false,
                1 => true,
                _ => return Err(record.out_of_range()),
            };
            Ok(Wish { version, group, wanted })
        })?,
        bid: bid.map(read_bid).transpose()?,
    })
}

fn read_bid(mut bid: Value<'_>) -> Result<Bid, DecodeError> {
    let lease = read_lease(&mut bid)?;
    Ok(Bid { lease, answered: Some(bid.u64()?).filter(|at| *at != 0) })
}

pub(super) fn decode_grant(bytes: &[u8]) -> Result<LeaseGrant, DecodeError> {
    let known = [field::LEASE, field::GROUPS, field::BACKING, field::LISTS];
    let [lease, refused, backing, lists] = gather(bytes, known)?;
    let mut lease = required(lease, field::LEASE)?;
    let refused = required(refused, field::GROUPS)?;
    Ok(LeaseGrant {
        asked_at: lease.u64()?,
        have: lease.u32()?,
        vote: code::vote_of(lease.u8()?).ok_or(lease.out_of_range())?,
        upto: lease.u32()?,
        refused: refused
            .list::<8, _>(REFUSED_PER_MESSAGE, |mut record| record.u64().map(GroupKey))?,
        backing: backing.map(|backing| read_backing(backing, lists)).transpose()?,
    })
}

fn read_backing(mut backing: Value<'_>, lists: Option<Value<'_>>) -> Result<Backing, DecodeError> {
    Ok(Backing {
        lease: read_lease(&mut backing)?,
        after: backing.u32()?,
        longest: read_lease(&mut backing)?,
        lists: lists.map_or(Ok(Vec::new()), |lists| {
            lists.list::<8, _>(LISTS_MAX, |mut record| record.u64())
        })?,
    })
}
