//! What the sender of a heartbeat hears on each heartbeat path.
//!
//! ```text
//!   paths: for each path of the sender, in their order, 1 byte
//!          bit 0: it hears the receiver there    bit 1: it hears another node there
//! ```
//!
//! Other bits are for later versions. Software that does not know the field tells nothing, and
//! nothing is concluded from that.

use crate::protocol::{PATHS_MAX, PathReport};

use super::decode::DecodeError;
use super::encode::check_count;
use super::field::{self, Value};

const RECEIVER: u8 = 1;
const OTHERS: u8 = 2;

/// Appends the list, unless there is nothing to tell.
pub(super) fn write(paths: &[PathReport], out: &mut Vec<u8>) {
    check_count(paths.len(), PATHS_MAX);
    if !paths.is_empty() {
        let byte = |path: &PathReport| {
            let receiver = if path.receiver { RECEIVER } else { 0 };
            let others = if path.others { OTHERS } else { 0 };
            receiver | others
        };
        field::put(out, field::PATHS, |out| out.extend(paths.iter().map(byte)));
    }
}

pub(super) fn read(paths: Option<Value<'_>>) -> Result<Vec<PathReport>, DecodeError> {
    let Some(paths) = paths else { return Ok(Vec::new()) };
    let bytes = paths.bytes();
    if bytes.len() > PATHS_MAX {
        return Err(DecodeError::TooMany(field::PATHS));
    }
    let report =
        |byte: &u8| PathReport { receiver: byte & RECEIVER != 0, others: byte & OTHERS != 0 };
    Ok(bytes.iter().map(report).collect())
}
