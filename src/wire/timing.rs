//! What the sender of a heartbeat proposes with profile `auto`: an optional field, which software that
//! does not know it skips. Who sends none counts as what its heartbeats state.
//!
//! ```text
//!   timing: level 1 | reason 1 | lateness in milliseconds 2
//! ```
//!
//! A level that the reader does not have counts as the slowest, another reason as "not calm for long".

use std::time::Duration;

use crate::protocol::{TimingLevel, TimingProposal, TimingReason};

use super::decode::DecodeError;
use super::field::{self, Value};

const FASTEST: u8 = 0;
const NOT_LONG_CALM: u8 = 1;
const LOOP: u8 = 2;
const SPACING: u8 = 3;
const DATAGRAMS: u8 = 4;

/// Appends the field.
pub(super) fn write(proposal: &TimingProposal, out: &mut Vec<u8>) {
    let reason = match proposal.reason {
        TimingReason::Fastest => FASTEST,
        TimingReason::NotLongCalm | TimingReason::Fixed => NOT_LONG_CALM,
        TimingReason::Loop => LOOP,
        TimingReason::Spacing => SPACING,
        TimingReason::Datagrams => DATAGRAMS,
    };
    let lateness = u16::try_from(proposal.lateness.as_millis()).unwrap_or(u16::MAX);
    field::put(out, field::TIMING, |out| {
        out.extend([proposal.level.number(), reason]);
        out.extend(lateness.to_be_bytes());
    });
}

/// Reads the field.
pub(super) fn read(mut value: Value<'_>) -> Result<TimingProposal, DecodeError> {
    let level = TimingLevel::from_number(value.u8()?);
    let reason = match value.u8()? {
        FASTEST => TimingReason::Fastest,
        LOOP => TimingReason::Loop,
        SPACING => TimingReason::Spacing,
        DATAGRAMS => TimingReason::Datagrams,
        _ => TimingReason::NotLongCalm,
    };
    let lateness = Duration::from_millis(value.u16()?.into());
    Ok(TimingProposal { level, reason, lateness })
}
