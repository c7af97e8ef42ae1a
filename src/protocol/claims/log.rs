//! The log of claims to one peer, and the one from it: how far each has come.
//!
//! ```text
//!              acknowledged        sent          target           the table's version
//!   outbound ------|----------------|--------------|-----------------------|
//!                   sent again when  sent when there
//!                   time is up       is news       the last change that this peer needs
//! ```
//!
//! A log has a stream number. It begins again, at change 0 of the next stream, when the peer must be
//! sent what it was not sent before. Nothing is sent again that was acknowledged, and no
//! acknowledgement of an earlier stream counts.

use std::time::Duration;

use super::super::types::{CLAIMS_PER_MESSAGE, Claims, Instant, LogPosition};
use super::table::{ClaimTable, Entry};

/// Slices sent in one go; more wait for the acknowledgement. A burst above this would overrun
/// the receiver's socket buffer.
const SLICES_MAX: usize = 64;

/// The log of a peer as it has come here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Inbound {
    /// How far it is here.
    have: LogPosition,
    /// How far it goes, as the peer says.
    target: LogPosition,
}

impl Inbound {
    /// Returns the log of a peer that has come this far in another process.
    pub(super) fn recalled(have: LogPosition) -> Self {
        Self { have, ..Self::default() }
    }

    /// Returns how far it is here.
    pub(super) const fn have(&self) -> LogPosition {
        self.have
    }

    /// Notes how far it goes.
    pub(super) const fn aim(&mut self, target: LogPosition) {
        self.target = target;
    }

    /// Takes in a slice, if it follows on what is here or begins a later stream.
    pub(super) fn append(&mut self, slice: &Claims) {
        let have = self.have;
        let starts = slice.base.version == 0 && slice.base.stream > have.stream;
        let follows = slice.base.stream == have.stream && slice.base.version <= have.version;
        if starts {
            self.have = LogPosition { stream: slice.base.stream, version: slice.upto };
        } else if follows {
            self.have.version = have.version.max(slice.upto);
        }
    }

    /// Returns whether nothing is missing.
    pub(super) const fn is_complete(&self) -> bool {
        self.target.version == 0
            || (self.have.stream == self.target.stream && self.have.version >= self.target.version)
    }
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acknowledged {
    /// Nothing more is to be sent for it.
    Noted,
    /// There is more, which has waited for it.
    GoOn,
    /// The peer had the log and has it no more: it must begin again.
    Forgotten,
}

/// The log of this node as it goes to a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outbound {
    stream: u32,
    /// Last change that the peer must have.
    target: u32,
    /// Last change sent.
    sent: u32,
    /// Last change acknowledged.
    acknowledged: u32,
    sent_at: Instant,
}

impl Outbound {
    /// Returns an empty log of this stream.
    pub(super) fn new(stream: u32) -> Self {
        Self { stream, ..Self::default() }
    }

    /// Begins again; the last change that the peer needs is this one.
    pub(super) fn restart(&mut self, target: u32) {
        *self = Self { target, ..Self::new(self.stream.wrapping_add(1).max(1)) };
    }

    /// Adds a change that the peer needs.
    pub(super) const fn extend(&mut self, version: u32) {
        self.target = version;
    }

    /// Returns the number of the stream.
    pub(super) const fn stream(&self) -> u32 {
        self.stream
    }

    /// Returns how far it goes.
    pub(super) const fn end(&self) -> LogPosition {
        LogPosition { stream: self.stream, version: self.target }
    }

    /// Returns whether the peer lacks something.
    pub(super) const fn is_lacking(&self) -> bool {
        self.acknowledged < self.target
    }

    /// Takes in how far the peer has it.
    pub(super) fn acknowledge(&mut self, position: LogPosition) -> Acknowledged {
        if position == LogPosition::default() && self.acknowledged > 0 {
            return Acknowledged::Forgotten;
        }
        if position.stream == self.stream && position.version > self.acknowledged {
            self.acknowledged = position.version.min(self.target);
            if self.acknowledged < self.target && self.sent <= self.acknowledged {
                return Acknowledged::GoOn;
            }
        }
        Acknowledged::Noted
    }

    /// Returns after which change to send now, if anything: again what has not been acknowledged
    /// within `patience`, which may be for ever, or what is new if there is news.
    pub(super) fn due(&self, now: Instant, patience: Option<Duration>, news: bool) -> Option<u32> {
        if patience.is_some_and(|patience| now.since(self.sent_at) >= patience) {
            Some(self.acknowledged)
        } else if (news && self.sent < self.target) || self.sent == 0 {
            Some(self.sent.max(self.acknowledged))
        } else {
            None
        }
    }

    /// Returns what has not been acknowledged.
    pub(super) const fn unacknowledged(&self) -> u32 {
        self.acknowledged
    }

    /// Returns when what was sent is sent again.
    pub(super) fn repeats_at(&self, patience: Duration) -> Instant {
        self.sent_at + patience
    }

    /// Forgets when it was sent: the peer is back.
    pub(super) const fn hasten(&mut self) {
        self.sent_at = Instant::START;
    }

    /// Cuts what changed after `base` into slices, and notes them as sent. The last one ends at the
    /// target even where its last claims are not needed.
    pub(super) fn send(
        &mut self,
        now: Instant,
        table: &ClaimTable,
        base: u32,
        needed: impl Fn(&Entry) -> bool,
    ) -> Vec<Claims> {
        let slices = self.slices(table, base, needed);
        self.sent = slices.last().map_or(self.target, |slice| slice.upto);
        self.sent_at = now;
        slices
    }

    fn slices(
        &self,
        table: &ClaimTable,
        base: u32,
        needed: impl Fn(&Entry) -> bool,
    ) -> Vec<Claims> {
        let mut slices: Vec<Claims> = Vec::new();
        let mut base = base;
        let mut claims = Vec::new();
        let mut entries = table.changed_after(base).filter(|entry| needed(entry)).peekable();
        while let Some(entry) = entries.next() {
            claims.push(entry.claim);
            let last = entries.peek().is_none();
            if claims.len() < CLAIMS_PER_MESSAGE && !last {
                continue;
            }
            let upto = if last { self.target.max(entry.version) } else { entry.version };
            let position = LogPosition { stream: self.stream, version: base };
            slices.push(Claims { base: position, upto, claims: std::mem::take(&mut claims) });
            base = upto;
            if slices.len() == SLICES_MAX {
                return slices;
            }
        }
        if slices.is_empty() && base < self.target {
            let position = LogPosition { stream: self.stream, version: base };
            slices.push(Claims { base: position, upto: self.target, claims });
        }
        slices
    }
}
