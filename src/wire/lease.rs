//! Requests for leases and grants: their fields.
//!
//! ```text
//!   request: LEASE   asked_at u64, voters u64, base u32, upto u32
//!            WISHES  of { version u32, group u64, wanted u8 }
//!   grant:   LEASE   asked_at u64, have u32, vote u8, upto u32
//!            GROUPS  refused, of u64
//! ```

use crate::protocol::{
    GroupKey, LeaseGrant, LeaseRequest, REFUSED_PER_MESSAGE, WISHES_PER_MESSAGE, Wish,
};

use super::code;
use super::decode::DecodeError;
use super::encode::{LEASE_GRANT, LEASE_REQUEST, check_count};
use super::field::{self, gather, required};

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
    field::put_list(out, field::WISHES, request.wishes.iter().map(wish_record));
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
    field::put_list(out, field::GROUPS, grant.refused.iter().map(|group| group.0.to_be_bytes()));
}

pub(super) fn decode_request(bytes: &[u8]) -> Result<LeaseRequest, DecodeError> {
    let [lease, wishes] = gather(bytes, [field::LEASE, field::WISHES])?;
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
    })
}

pub(super) fn decode_grant(bytes: &[u8]) -> Result<LeaseGrant, DecodeError> {
    let [lease, refused] = gather(bytes, [field::LEASE, field::GROUPS])?;
    let mut lease = required(lease, field::LEASE)?;
    let refused = required(refused, field::GROUPS)?;
    Ok(LeaseGrant {
        asked_at: lease.u64()?,
        have: lease.u32()?,
        vote: code::vote_of(lease.u8()?).ok_or(lease.out_of_range())?,
        upto: lease.u32()?,
        refused: refused
            .list::<8, _>(REFUSED_PER_MESSAGE, |mut record| record.u64().map(GroupKey))?,
    })
}
