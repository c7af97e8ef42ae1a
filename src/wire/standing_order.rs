//! One standing order in a heartbeat: an optional field, which software that does not know it skips.
//!
//! ```text
//!   id 8 | asked node 4 | milliseconds left 4, all ones for no end | what 1 | its node 4 |
//!   flags 1 | length of the giver's name 1 | giver | reason
//! ```

use std::time::Duration;

use crate::protocol::{Lasting, NodeId, StandingOrder, Text};

use super::decode::DecodeError;
use super::encode::UNKNOWN;
use super::field::{self, Value};

const HOLD: u8 = 1;
const DRAIN: u8 = 2;
const UPGRADE: u8 = 3;
/// Flag of an order that is ended.
const ENDED: u8 = 1;
/// Flag of an order that outlasts restarts of the host.
const PERSISTS: u8 = 2;

/// Appends the field.
pub(super) fn write(order: &StandingOrder, out: &mut Vec<u8>) {
    let (what, node) = match order.what {
        Lasting::Hold => (HOLD, NodeId(0)),
        Lasting::Drain(node) => (DRAIN, node),
        Lasting::Upgrade => (UPGRADE, NodeId(0)),
    };
    let millis = |left: Duration| u32::try_from(left.as_millis()).unwrap_or(UNKNOWN - 1);
    let by = order.by.as_str();
    field::put(out, field::STANDING_ORDER, |out| {
        out.extend(order.id.to_be_bytes());
        out.extend(order.at.0.to_be_bytes());
        out.extend(order.left.map_or(UNKNOWN, millis).to_be_bytes());
        out.push(what);
        out.extend(node.0.to_be_bytes());
        out.push((if order.ended { ENDED } else { 0 }) | if order.persists { PERSISTS } else { 0 });
        out.push(u8::try_from(by.len()).expect("a name of at most 32 bytes"));
        out.extend(by.as_bytes());
        out.extend(order.reason.as_str().as_bytes());
    });
}

/// Reads the field. Returns `None` for an order of a kind that this version does not know.
pub(super) fn read(mut value: Value<'_>) -> Result<Option<StandingOrder>, DecodeError> {
    let id = value.u64()?;
    let at = NodeId(value.u32()?);
    let left = Some(value.u32()?).filter(|left| *left != UNKNOWN);
    let what = value.u8()?;
    let node = NodeId(value.u32()?);
    let flags = value.u8()?;
    let length = usize::from(value.u8()?);
    let Some((by, reason)) = value.bytes().split_at_checked(length) else {
        return Err(value.out_of_range());
    };
    let what = match what {
        HOLD => Lasting::Hold,
        DRAIN => Lasting::Drain(node),
        UPGRADE => Lasting::Upgrade,
        _ => return Ok(None),
    };
    let text = |bytes| str::from_utf8(bytes).unwrap_or_default();
    Ok(Some(StandingOrder {
        id,
        what,
        at,
        left: left.map(|left| Duration::from_millis(left.into())),
        ended: flags & ENDED != 0,
        persists: flags & PERSISTS != 0,
        by: Text::cut(text(by)),
        reason: Text::cut(text(reason)),
    }))
}
