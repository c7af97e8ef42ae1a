//! One claim as a record of fixed length.
//!
//! ```text
//!   group 8 | epoch 8 | owner 4 | incarnation 8 | revision 4 | tenure 1 | moving to 4
//!   support 2 | which heirs are given 1 | heirs 2 x 4 | cause 1 | of node 4 | detail of cause 1
//! ```
//!
//! The last byte is there only in a list in which some claim has a detail.

use crate::protocol::{Claim, Epoch, GroupKey, Incarnation, NodeId};

use super::code;
use super::decode::DecodeError;
use super::field::Value;

/// Bytes of one claim.
pub(super) const CLAIM_LENGTH: usize = 53;

/// Whether the record of a claim needs the byte at its end.
pub(super) const fn has_detail(claim: &Claim) -> bool {
    code::cause_detail(claim.cause) != code::NO_DETAIL
}

/// The record of a claim, with the byte at its end.
pub(super) fn write_with_detail(claim: &Claim) -> [u8; CLAIM_LENGTH + 1] {
    let mut record = [code::cause_detail(claim.cause); CLAIM_LENGTH + 1];
    record[..CLAIM_LENGTH].copy_from_slice(&write(claim));
    record
}

/// The record of a claim.
pub(super) fn write(claim: &Claim) -> [u8; CLAIM_LENGTH] {
    let (tenure, to) = code::tenure(claim.tenure);
    let (cause, of) = code::cause(claim.cause);
    let [first, second] = claim.heirs;
    let given = u8::from(first.is_some()) | u8::from(second.is_some()) << 1;
    let heirs = [first, second].map(|heir| heir.unwrap_or(NodeId(0)).0.to_be_bytes());

    let mut record = [0; CLAIM_LENGTH];
    let mut at = 0;
    let parts: [&[u8]; 13] = [
        &claim.group.0.to_be_bytes(),
        &claim.epoch.0.to_be_bytes(),
        &claim.owner.0.to_be_bytes(),
        &claim.incarnation.0.to_be_bytes(),
        &claim.revision.to_be_bytes(),
        &[tenure],
        &to.0.to_be_bytes(),
        &claim.support.to_be_bytes(),
        &[given],
        &heirs[0],
        &heirs[1],
        &[cause],
        &of.0.to_be_bytes(),
    ];
    for part in parts {
        record[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    record
}

/// The claim of a record.
pub(super) fn read(mut record: Value<'_>) -> Result<Claim, DecodeError> {
    let group = GroupKey(record.u64()?);
    let epoch = Epoch(record.u64()?);
    let owner = NodeId(record.u32()?);
    let incarnation = Incarnation(record.u64()?);
    let revision = record.u32()?;
    let (tenure, to) = (record.u8()?, NodeId(record.u32()?));
    let support = record.u16()?;
    let given = record.u8()?;
    let (first, second) = (NodeId(record.u32()?), NodeId(record.u32()?));
    let (cause, of) = (record.u8()?, NodeId(record.u32()?));
    let cause = code::cause_of(cause, of).ok_or(record.out_of_range())?;
    let detail = record.u8().unwrap_or(code::NO_DETAIL);
    if given > 3 {
        return Err(record.out_of_range());
    }
    Ok(Claim {
        group,
        epoch,
        owner,
        incarnation,
        revision,
        tenure: code::tenure_of(tenure, to).ok_or(record.out_of_range())?,
        support,
        heirs: [(given & 1 != 0).then_some(first), (given & 2 != 0).then_some(second)],
        cause: code::detailed_cause(cause, detail),
    })
}
