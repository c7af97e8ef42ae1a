//! What is kept of one peer: its present life, and those that may be its next.

use std::time::Duration;

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, Tag};

use crate::protocol::{Heartbeat, Incarnation, Instant, NodePhase};

use super::header::{Class, Header};
use super::hello::Challenge;
use super::limiter::Limiter;
use super::refused::RefusedDatagram;
use super::replay::ReplayWindow;
use super::{HEADER_LENGTH, TAG_LENGTH};

/// Assumed of a peer until its first heartbeat tells.
const INTERVAL_ASSUMED: Duration = Duration::from_millis(500);

/// Unproven lives of one peer whose key is kept, so that asking again costs no derivation.
const CANDIDATES_MAX: usize = 4;

/// A life that was there beside the present one takes its place when it has answered so often since
/// that was heard last, which takes some two seconds. A machine that stands still, with one of them or
/// with all, makes the present one silent for two intervals as well, and a copy may be the first to be
/// heard then.
const TWIN_ANSWERS: u32 = 20;

/// A clock that gains less than this on ours drifts, in milliseconds.
const JUMP_LEAST: u64 = 1_000;

/// One configured peer.
pub(super) struct Peer {
    /// Its present life.
    pub(super) session: Option<Session>,
    /// Whether the configuration names it.
    pub(super) listed: bool,
    /// Lives that were well sealed but have not shown to be the present one, oldest first.
    pub(super) candidates: Vec<Candidate>,
    /// The life that last showed to be present beside the one in `session`, and since when.
    newcomer: Option<(Incarnation, Instant)>,
    /// The life that was last refused because another of this node is there.
    pub(super) duplicate: Option<Incarnation>,
    /// When that last answered a challenge, and how often since the other was heard last.
    twin_answered: (Instant, u32),
    /// Keys of unknown lives derived: a forged header costs an attacker nothing.
    derivations: Limiter,
    /// Hellos sent to lives that are not proven: a recording costs an attacker nothing.
    hellos: Limiter,
    /// Those of them that answer a challenge. Heartbeats of a life that is not proven come often
    /// and in step with the budget above, so they would leave nothing of it for a challenge.
    answering_hellos: Limiter,
    /// Hellos sent because too many lives were tried to look at each.
    pub(super) calls: Limiter,
    /// Keys derived for answers to those.
    answers: Limiter,
    /// The challenge that is out, with its number.
    pub(super) challenge: Option<(u64, Challenge)>,
}

/// A life that is proven to be the present one.
pub(super) struct Session {
    pub(super) incarnation: Incarnation,
    pub(super) ciphers: Vec<(u8, ChaCha20Poly1305)>,
    window: ReplayWindow,
    pub(super) last_heard: Instant,
    interval: Duration,
    /// With which key it sealed what came last.
    pub(super) key: u8,
    /// How far its clock is ahead of ours, in milliseconds: the most that was seen.
    ahead: Option<i64>,
    /// What it can read, as it says; `None` before its first heartbeat.
    pub(super) features: Option<u64>,
    pub(super) left: bool,
}

pub(super) struct Candidate {
    incarnation: Incarnation,
    key: u8,
    cipher: ChaCha20Poly1305,
    highest: u64,
}

impl Peer {
    pub(super) const fn new() -> Self {
        Self {
            session: None,
            listed: true,
            candidates: Vec::new(),
            newcomer: None,
            duplicate: None,
            twin_answered: (Instant::START, 0),
            derivations: Limiter::new(),
            hellos: Limiter::new(),
            answering_hellos: Limiter::new(),
            calls: Limiter::new(),
            answers: Limiter::new(),
            challenge: None,
        }
    }

    /// The session with the life that this header names.
    pub(super) fn session_of(&mut self, header: &Header) -> Option<&mut Session> {
        self.session.as_mut().filter(|session| session.incarnation == header.incarnation)
    }

    /// Opens a datagram of a life that is not proven. `derive` makes its key, which is limited
    /// unless this life was well sealed before; `answers` if it has the challenge in clear.
    pub(super) fn open_unproven<'a>(
        &mut self,
        now: Instant,
        (header, answers): (&Header, bool),
        datagram: &'a mut [u8],
        derive: impl FnOnce() -> ChaCha20Poly1305,
    ) -> Result<&'a [u8], RefusedDatagram> {
        let known = self.candidates.iter_mut().find(|candidate| {
            candidate.incarnation == header.incarnation && candidate.key == header.key
        });
        if let Some(candidate) = known {
            if header.sequence <= candidate.highest {
                return Err(RefusedDatagram::Duplicate);
            }
            let body = unseal(&candidate.cipher, header, datagram)?;
            candidate.highest = header.sequence;
            return Ok(body);
        }
        let budget = if answers { &mut self.answers } else { &mut self.derivations };
        if !budget.allow(now) {
            return Err(RefusedDatagram::TooManyLives);
        }
        let cipher = derive();
        let body = unseal(&cipher, header, datagram)?;
        if self.candidates.len() == CANDIDATES_MAX {
            self.candidates.remove(0);
        }
        self.candidates.push(Candidate {
            incarnation: header.incarnation,
            key: header.key,
            cipher,
            highest: header.sequence,
        });
        Ok(body)
    }

    /// Whether a life that is not proven may be sent a hello; `challenged` if it asks for an
    /// answer.
    pub(super) fn may_be_sent_hello(&mut self, now: Instant, challenged: bool) -> bool {
        let budget = if challenged { &mut self.answering_hellos } else { &mut self.hellos };
        budget.allow(now)
    }

    /// Whether there is room for a life other than the present one.
    pub(super) fn is_vacant(&self, now: Instant) -> bool {
        self.session.as_ref().is_none_or(|session| session.is_silent(now))
    }

    /// Whether a life that has answered a challenge may be a copy of the node: it was there beside
    /// the present one, and has not outlasted that yet.
    fn may_be_copy(&mut self, now: Instant, life: Incarnation) -> bool {
        let Some(incumbent) = self.session.as_ref().filter(|session| !session.left) else {
            return false;
        };
        if self.duplicate != Some(life) {
            return false;
        }
        let (at, times) = self.twin_answered;
        let times = if incumbent.last_heard > at { 1 } else { times.saturating_add(1) };
        self.twin_answered = (now, times);
        times < TWIN_ANSWERS
    }

    /// Takes a life that has answered a challenge for the present one, unless another life was
    /// heard so lately that it may still be there.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        header: &Header,
        ciphers: Vec<(u8, ChaCha20Poly1305)>,
    ) -> Result<(), RefusedDatagram> {
        let copy = self.may_be_copy(now, header.incarnation);
        if let Some(incumbent) = &self.session
            && (copy || !incumbent.is_silent(now))
        {
            let since = match self.newcomer {
                Some((incarnation, since)) if incarnation == header.incarnation => since,
                Some(_) | None => now,
            };
            self.newcomer = Some((header.incarnation, since));
            return Err(if incumbent.last_heard > since {
                self.duplicate = Some(header.incarnation);
                RefusedDatagram::DuplicateNode
            } else {
                RefusedDatagram::IncumbentHeard
            });
        }
        (self.newcomer, self.duplicate) = (None, None);
        self.candidates.retain(|candidate| candidate.incarnation != header.incarnation);
        self.session = Some(Session {
            incarnation: header.incarnation,
            ciphers,
            window: ReplayWindow::after(header.sequence),
            last_heard: now,
            interval: INTERVAL_ASSUMED,
            key: header.key,
            ahead: None,
            features: None,
            left: false,
        });
        Ok(())
    }
}

impl Session {
    /// Opens a datagram of the present life and takes its sequence.
    pub(super) fn open<'a>(
        &mut self,
        now: Instant,
        header: &Header,
        datagram: &'a mut [u8],
    ) -> Result<&'a [u8], RefusedDatagram> {
        self.window.check(header.sequence)?;
        let (_, cipher) = self
            .ciphers
            .iter()
            .find(|(key, _)| *key == header.key)
            .ok_or(RefusedDatagram::UnknownKey)?;
        let body = unseal(cipher, header, datagram)?;
        self.window.mark(header.sequence);
        (self.last_heard, self.key) = (now, header.key);
        Ok(body)
    }

    /// Whether this life has sealed a datagram, which may have come before.
    pub(super) fn has_sealed(&self, header: &Header, datagram: &mut [u8]) -> bool {
        let cipher = self.ciphers.iter().find(|(key, _)| *key == header.key);
        cipher.is_some_and(|(_, cipher)| unseal(cipher, header, datagram).is_ok())
    }

    /// Remembers how often this life means to be heard, what it can read, and whether it said
    /// good-bye. Tells by how many milliseconds our clock has fallen behind its clock since then,
    /// if that is no drift: this host stood still, or was put back to what it was.
    pub(super) fn note(&mut self, now: Instant, heartbeat: &Heartbeat, features: u64) -> u64 {
        let clock = |milli: u64| i64::try_from(milli).unwrap_or(i64::MAX);
        let ahead = clock(heartbeat.clock_ms).saturating_sub(clock(now.as_millis()));
        let gained = ahead.saturating_sub(self.ahead.unwrap_or(ahead));
        let last_word = heartbeat.phase == NodePhase::Left;
        if !last_word {
            self.ahead = Some(self.ahead.unwrap_or(ahead).max(ahead));
        }
        self.features = Some(features);
        self.interval = heartbeat.interval;
        self.left = last_word;
        let jump = u64::try_from(gained).unwrap_or(0);
        if last_word || jump < JUMP_LEAST { 0 } else { jump }
    }

    /// Whether this life has been silent for two intervals, or has said good-bye: one lost
    /// heartbeat does not open the door to a clone, and a restart is recognised before the
    /// silence counts as death.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.left || now.since(self.last_heard) >= self.interval * 2
    }
}

/// Checks the seal and decrypts in place; the datagram is untouched when the seal is bad.
fn unseal<'a>(
    cipher: &ChaCha20Poly1305,
    header: &Header,
    datagram: &'a mut [u8],
) -> Result<&'a [u8], RefusedDatagram> {
    let clear = if header.class == Class::Answer { size_of::<Challenge>() } else { 0 };
    let Some((front, rest)) = datagram.split_at_mut_checked(HEADER_LENGTH + clear) else {
        return Err(RefusedDatagram::TooShort);
    };
    let Some((body, tag)) = rest.split_last_chunk_mut::<TAG_LENGTH>() else {
        return Err(RefusedDatagram::TooShort);
    };
    let tag = Tag::from(*tag);
    cipher
        .decrypt_in_place_detached(&header.nonce().into(), front, body, &tag)
        .map_err(|_| RefusedDatagram::BadSeal)?;
    Ok(body)
}
