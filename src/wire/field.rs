//! Fields: type, length, value. How a message grows without a new version.
//!
//! A reader names the fields that it knows. Of the others, one with a type below 0x80 is
//! skipped, one above makes the message unreadable: the sender says with it that the rest would
//! be misunderstood. Order does not matter; the same known field twice is an error.
//!
//! A list carries the length of its records, so that a record may grow at its end: a reader that
//! knows less of it looks at the front only.

use super::decode::DecodeError;

/// Types from here on must be known to the reader.
pub(super) const CRITICAL: u8 = 0x80;

pub(super) const STATE: u8 = 0x81;
pub(super) const LOG: u8 = 0x82;
pub(super) const HEARD: u8 = 0x83;
pub(super) const SOFTWARE: u8 = 0x04;
pub(super) const CONFIG_DIGEST: u8 = 0x05;
pub(super) const LOOP_LAG: u8 = 0x06;
pub(super) const WIRE_RANGE: u8 = 0x07;
pub(super) const FEATURES: u8 = 0x08;
pub(super) const HARDWARE: u8 = 0x09;
pub(super) const FITNESS: u8 = 0x0a;
pub(super) const LOAD: u8 = 0x0b;
pub(super) const WAITING: u8 = 0x0c;
pub(super) const KEEPERS: u8 = 0x0d;
pub(super) const FORWARDS: u8 = 0x0e;
pub(super) const UNABLE: u8 = 0x0f;
pub(super) const STANDING_ORDER: u8 = 0x10;
pub(super) const DECLINED_FOR: u8 = 0x18;
pub(super) const BID: u8 = 0x20;
pub(super) const BACKING: u8 = 0x21;
pub(super) const LISTS: u8 = 0x22;
pub(super) const NAME: u8 = 0x23;
pub(super) const IN_CLEAR: u8 = 0x24;
pub(super) const TWIN: u8 = 0x25;
pub(super) const PATHS: u8 = 0x26;
pub(super) const TIMING: u8 = 0x27;
pub(super) const SLICE: u8 = 0x89;
pub(super) const CLAIMS: u8 = 0x8a;
pub(super) const POSITION: u8 = 0x8b;
pub(super) const OFFER: u8 = 0x8c;
pub(super) const OFFER_ANSWER: u8 = 0x8d;
pub(super) const GROUPS: u8 = 0x8e;
pub(super) const ERRAND: u8 = 0x8f;
pub(super) const ERRAND_ANSWER: u8 = 0x90;
pub(super) const CHALLENGE: u8 = 0x91;
pub(super) const ANSWER: u8 = 0x92;
pub(super) const LEASE: u8 = 0x93;
pub(super) const WISHES: u8 = 0x94;
pub(super) const NEIGHBOURS_V4: u8 = 0x95;
pub(super) const NEIGHBOURS_V6: u8 = 0x96;
pub(super) const CONNECTIONS_V4: u8 = 0x97;
pub(super) const CONNECTIONS_V6: u8 = 0x98;
pub(super) const KEPT: u8 = 0x99;

/// Appends one field whose value is what `fill` appends.
pub(super) fn put(out: &mut Vec<u8>, field: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(field);
    let length_at = out.len();
    out.extend([0, 0]);
    fill(out);
    let length = u16::try_from(out.len() - length_at - 2).expect("a field fits one datagram");
    out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
}

/// Appends one field that is a list of records of the same length.
pub(super) fn put_list<const N: usize>(
    out: &mut Vec<u8>,
    field: u8,
    records: impl Iterator<Item = [u8; N]>,
) {
    put(out, field, |out| {
        out.push(u8::try_from(N).expect("a record is short"));
        records.for_each(|record| out.extend(record));
    });
}

/// The value of one field, read from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    field: u8,
    rest: &'a [u8],
}

impl<'a> Value<'a> {
    /// The next `N` bytes. What is left at the end is for later versions and not looked at.
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(DecodeError::ShortField(self.field));
        };
        self.rest = rest;
        Ok(*taken)
    }

    /// All that is left of it.
    pub(super) fn bytes(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.take().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.take().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.take().map(u64::from_be_bytes)
    }

    /// The value is of this type but must not be what it is.
    pub(super) fn out_of_range(&self) -> DecodeError {
        DecodeError::OutOfRange(self.field)
    }

    /// Reads a list of records of at least `N` bytes, at most `limit` of them.
    pub(super) fn list<const N: usize, T>(
        mut self,
        limit: usize,
        read: impl Fn(Value<'a>) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let length = usize::from(self.u8()?);
        if length < N || !self.rest.len().is_multiple_of(length) {
            return Err(DecodeError::BadList(self.field));
        }
        if self.rest.len() / length > limit {
            return Err(DecodeError::TooMany(self.field));
        }
        let field = self.field;
        self.rest.chunks_exact(length).map(|rest| read(Value { field, rest })).collect()
    }
}

/// Finds the fields that the reader knows; `None` where one is absent.
pub(super) fn gather<const N: usize>(
    mut bytes: &[u8],
    known: [u8; N],
) -> Result<[Option<Value<'_>>; N], DecodeError> {
    let mut found = [None; N];
    while let Some((field, rest)) = bytes.split_first() {
        let field = *field;
        let Some((length, rest)) = rest.split_first_chunk::<2>() else {
            return Err(DecodeError::Truncated);
        };
        let Some((value, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        else {
            return Err(DecodeError::Truncated);
        };
        bytes = rest;
        match known.iter().position(|known| *known == field) {
            Some(at) if found[at].is_some() => return Err(DecodeError::Repeated(field)),
            Some(at) => found[at] = Some(Value { field, rest: value }),
            None if field >= CRITICAL => return Err(DecodeError::UnknownCritical(field)),
            None => {}
        }
    }
    Ok(found)
}

/// Demands a field.
pub(super) fn required<'a>(found: Option<Value<'a>>, field: u8) -> Result<Value<'a>, DecodeError> {
    found.ok_or(DecodeError::Missing(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_optional_is_skipped_and_unknown_critical_rejects() {
        let mut bytes = Vec::new();
        put(&mut bytes, 0x7f, |out| out.extend([1, 2, 3]));
        put(&mut bytes, STATE, |out| out.push(9));
        let [mut state] = gather(&bytes, [STATE]).unwrap().map(Option::unwrap);
        assert_eq!(state.u8(), Ok(9));
        put(&mut bytes, 0xff, |_| {});
        assert_eq!(gather(&bytes, [STATE]).unwrap_err(), DecodeError::UnknownCritical(0xff));
    }

    #[test]
    fn the_same_field_twice_is_refused() {
        let mut bytes = Vec::new();
        put(&mut bytes, STATE, |out| out.push(9));
        put(&mut bytes, STATE, |out| out.push(9));
        assert_eq!(gather(&bytes, [STATE]).unwrap_err(), DecodeError::Repeated(STATE));
    }

    #[test]
    fn records_may_grow_at_their_end() {
        let mut bytes = Vec::new();
        put_list(&mut bytes, GROUPS, [[0, 1, 77], [0, 2, 77]].into_iter());
        let [list] = gather(&bytes, [GROUPS]).unwrap().map(Option::unwrap);
        assert_eq!(list.list::<2, u16>(2, |mut record| record.u16()), Ok(vec![1, 2]));
        let too_many = list.list::<2, u16>(1, |mut record| record.u16());
        assert_eq!(too_many, Err(DecodeError::TooMany(GROUPS)));
        let too_short = list.list::<4, u32>(2, |mut record| record.u32());
        assert_eq!(too_short, Err(DecodeError::BadList(GROUPS)));
    }
}
