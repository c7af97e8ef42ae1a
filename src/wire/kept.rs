//! Connections that a former owner keeps: where, in an offer, and later how many.
//!
//! ```text
//!   offer, keepers: hardware address 6, one for each of its groups; zeros for none
//!   kept (12 bytes): group 8 | connections 4, all ones if not counted
//! ```
//!
//! Software that does not know this skips the keepers of an offer and answers without saying that
//! it forwards; so it is never told of what is kept.

use crate::protocol::{GROUPS_PER_OFFER, GroupKey, HardwareAddress, KEPT_MAX, Kept};

use super::decode::DecodeError;
use super::encode::{UNKNOWN, check_count};
use super::field::{self, Value, gather, required};

const LENGTH: usize = 12;

/// Appends where connections would be kept, if anywhere.
pub(super) fn write_keepers(keepers: &[HardwareAddress], out: &mut Vec<u8>) {
    check_count(keepers.len(), GROUPS_PER_OFFER);
    if !keepers.is_empty() {
        field::put_list(out, field::KEEPERS, keepers.iter().map(|keeper| keeper.0));
    }
}

pub(super) fn read_keepers(list: Option<Value<'_>>) -> Result<Vec<HardwareAddress>, DecodeError> {
    list.map_or(Ok(Vec::new()), |list| {
        list.list::<6, _>(GROUPS_PER_OFFER, |mut record| record.take().map(HardwareAddress))
    })
}

/// Appends how many connections are kept.
pub(super) fn write(list: &[Kept], out: &mut Vec<u8>) {
    check_count(list.len(), KEPT_MAX);
    field::put_list(out, field::KEPT, list.iter().map(record));
}

fn record(kept: &Kept) -> [u8; LENGTH] {
    let mut record = [0; LENGTH];
    record[..8].copy_from_slice(&kept.group.0.to_be_bytes());
    record[8..].copy_from_slice(&kept.connections.unwrap_or(UNKNOWN).to_be_bytes());
    record
}

pub(super) fn read(fields: &[u8]) -> Result<Vec<Kept>, DecodeError> {
    let [list] = gather(fields, [field::KEPT])?;
    required(list, field::KEPT)?.list::<LENGTH, _>(KEPT_MAX, |mut record| {
        let group = GroupKey(record.u64()?);
        Ok(Kept { group, connections: Some(record.u32()?).filter(|count| *count != UNKNOWN) })
    })
}
