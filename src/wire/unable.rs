//! Why groups that were offered could not be held, in the answer.
//!
//! ```text
//!   unable (15 bytes): group 8 | why 1 | hardware address 6, of who else answers for it; or zeros
//! ```
//!
//! Software that does not know this sees the groups missing among the accepted ones, as before. A
//! reason of a later version is not taken in.

use crate::protocol::{Failure, GROUPS_PER_OFFER, GroupKey, HardwareAddress, Inability};

use super::decode::DecodeError;
use super::encode::check_count;
use super::field::{self, Value};

const LENGTH: usize = 15;
const NOBODY: HardwareAddress = HardwareAddress([0; 6]);

/// Appends the list, unless there is nothing to tell.
pub(super) fn write(list: &[(GroupKey, Inability)], out: &mut Vec<u8>) {
    check_count(list.len(), GROUPS_PER_OFFER);
    if !list.is_empty() {
        field::put_list(out, field::DECLINED_FOR, list.iter().map(record));
    }
}

fn record((group, why): &(GroupKey, Inability)) -> [u8; LENGTH] {
    let (code, who) = code(*why);
    let mut record = [0; LENGTH];
    record[..8].copy_from_slice(&group.0.to_be_bytes());
    record[8] = code;
    record[9..].copy_from_slice(&who.0);
    record
}

pub(super) fn read(list: Option<Value<'_>>) -> Result<Vec<(GroupKey, Inability)>, DecodeError> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let read = list.list::<LENGTH, _>(GROUPS_PER_OFFER, |mut record| {
        let group = GroupKey(record.u64()?);
        let code = record.u8()?;
        let who = record.take().map(HardwareAddress)?;
        Ok(code_of(code, who).map(|why| (group, why)))
    })?;
    Ok(read.into_iter().flatten().collect())
}

const fn code(why: Inability) -> (u8, HardwareAddress) {
    match why {
        Inability::LinkDown => (1, NOBODY),
        Inability::FlushWar => (2, NOBODY),
        Inability::Conflict(who) => (3, who),
        Inability::Kernel(Failure::NoInterface) => (4, NOBODY),
        Inability::Kernel(Failure::NotPermitted) => (5, NOBODY),
        Inability::Kernel(Failure::ForeignAddress) => (6, NOBODY),
        Inability::Kernel(Failure::Duplicate) => (7, NOBODY),
        // What is outside each node hears for itself.
        Inability::Kernel(Failure::Refused) | Inability::Outside(_) => (8, NOBODY),
        Inability::Kernel(Failure::Timeout) => (9, NOBODY),
        Inability::NoNetwork => (10, NOBODY),
        Inability::NetworkLost => (11, NOBODY),
        Inability::Kernel(Failure::Route) => (12, NOBODY),
    }
}

const fn code_of(code: u8, who: HardwareAddress) -> Option<Inability> {
    Some(match code {
        1 => Inability::LinkDown,
        2 => Inability::FlushWar,
        3 => Inability::Conflict(who),
        4 => Inability::Kernel(Failure::NoInterface),
        5 => Inability::Kernel(Failure::NotPermitted),
        6 => Inability::Kernel(Failure::ForeignAddress),
        7 => Inability::Kernel(Failure::Duplicate),
        8 => Inability::Kernel(Failure::Refused),
        9 => Inability::Kernel(Failure::Timeout),
        10 => Inability::NoNetwork,
        11 => Inability::NetworkLost,
        12 => Inability::Kernel(Failure::Route),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_code_and_unknown_ones_are_left_out() {
        let who = HardwareAddress([2, 0, 0, 0, 0, 9]);
        for number in 1..=12 {
            let why = code_of(number, who).unwrap();
            assert_eq!(code(why).0, number);
        }
        assert_eq!((code_of(0, who), code_of(13, who)), (None, None));
    }
}
