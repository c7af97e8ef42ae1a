//! All that a node keeps to talk with its peers: keys, sequences, and which life of each peer is
//! the present one.
//!
//! Called by the daemon only, from the one thread that receives and sends. This file seals and
//! holds the state; `open` opens.
//!
//! ```text
//!                  answers a challenge, no other life heard lately
//!   life unknown --------------------------------------------------> present
//!        ^  dropped, asked with a challenge                             |
//!        |                                                              | another life answers
//!        +--------------------------------------------------------------+ while this is silent
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, Tag};

use crate::protocol::{Errand, Heartbeat, Incarnation, Instant, Message, NodeId, NodePhase, Order};

use super::encode::encode;
use super::header::{Class, Header};
use super::hello::{Challenge, Hello, challenge};
use super::keys::{KeyRing, cipher, cluster_hash};
use super::limiter::Limiter;
use super::refused::RefusedDatagram;
use super::replay::ReplayWindow;
use super::{
    DATAGRAM_MAX, FEATURE_CONNECTIONS, FEATURE_DRAIN_NOW, FEATURE_NAMES, FEATURE_NEIGHBOURS,
    HEADER_LENGTH, TAG_LENGTH,
};

/// Assumed of a peer until its first heartbeat tells.
const INTERVAL_ASSUMED: Duration = Duration::from_millis(500);

/// Unproven lives of one peer whose key is kept, so that asking again costs no derivation.
const CANDIDATES_MAX: usize = 4;

/// Who this node is.
#[derive(Clone)]
pub struct Local {
    /// Name of the cluster.
    pub cluster: String,
    /// This node.
    pub me: NodeId,
    /// This life of this node; drawn anew at every start, so that no nonce is used twice.
    pub incarnation: Incarnation,
    /// The nodes that may talk to this one.
    pub peers: Vec<NodeId>,
    /// Drawn anew at every start; challenges are made from it.
    pub challenge_secret: [u8; 32],
}

/// What became of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// A peer said something: sealed by it, new, and from its present life.
    Message {
        /// Who.
        from: NodeId,
        /// In which life.
        incarnation: Incarnation,
        /// What.
        message: Message,
    },
    /// Part of a handshake; this is to be sent to the peer on every path.
    Reply {
        /// To whom.
        to: NodeId,
        /// What, sealed.
        datagram: Vec<u8>,
    },
    /// Part of a handshake; nothing is to be done.
    Consumed,
    /// Dropped.
    Refused(RefusedDatagram),
}

/// The sessions of one node with all its peers.
pub struct Sessions {
    pub(super) local: Local,
    pub(super) cluster: u32,
    pub(super) ring: KeyRing,
    sealer: ChaCha20Poly1305,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    issued: BTreeMap<NodeId, Issued>,
}

/// What must never be issued twice in this life. Outlives the peer's place in the configuration:
/// a node that is taken out and put back must not meet the same nonces and challenges again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Issued {
    /// The last sequence.
    pub sequence: u64,
    /// Sequences issued from the other end, for last words.
    pub last_words: u64,
    /// Challenges that were answered.
    pub round: u64,
}

/// One configured peer.
pub(super) struct Peer {
    /// Its present life.
    pub(super) session: Option<Session>,
    /// Lives that were well sealed but have not shown to be the present one, oldest first.
    candidates: Vec<Candidate>,
    /// The life that last showed to be present beside the one in `session`, and since when.
    newcomer: Option<(Incarnation, Instant)>,
    /// Keys of unknown lives derived: a forged header costs an attacker nothing.
    derivations: Limiter,
    /// Hellos sent to lives that are not proven: a recording costs an attacker nothing.
    pub(super) hellos: Limiter,
}

/// A life that is proven to be the present one.
pub(super) struct Session {
    pub(super) incarnation: Incarnation,
    ciphers: Vec<(u8, ChaCha20Poly1305)>,
    window: ReplayWindow,
    last_heard: Instant,
    interval: Duration,
    /// What it can read, as it says; `None` before its first heartbeat.
    features: Option<u64>,
    left: bool,
}

struct Candidate {
    incarnation: Incarnation,
    key: u8,
    cipher: ChaCha20Poly1305,
    highest: u64,
}

impl Sessions {
    /// Sessions with nobody yet.
    #[must_use]
    pub fn new(local: Local, ring: KeyRing) -> Self {
        let cluster = cluster_hash(&local.cluster);
        let sealer = cipher(ring.active(), &local.cluster, local.me, local.incarnation);
        let peers = local.peers.iter().map(|peer| (*peer, Peer::new())).collect();
        Self { local, cluster, ring, sealer, peers, issued: BTreeMap::new() }
    }

    /// Sessions of a life that another process has begun, with what it has issued. That process
    /// must have ended: two that issue the same sequences give away what they say.
    #[must_use]
    pub fn go_on(local: Local, ring: KeyRing, issued: BTreeMap<NodeId, Issued>) -> Self {
        Self { issued, ..Self::new(local, ring) }
    }

    /// What was issued in this life.
    #[must_use]
    pub const fn issued(&self) -> &BTreeMap<NodeId, Issued> {
        &self.issued
    }

    /// Changes the set of peers and the keys. Peers that stay notice nothing.
    pub fn reconfigure(&mut self, peers: &[NodeId], ring: KeyRing) {
        self.local.peers = peers.to_vec();
        self.peers.retain(|peer, _| peers.contains(peer));
        for peer in peers {
            self.peers.entry(*peer).or_insert_with(Peer::new);
        }
        let local = &self.local;
        self.sealer = cipher(ring.active(), &local.cluster, local.me, local.incarnation);
        for (node, peer) in &mut self.peers {
            peer.candidates.clear();
            if let Some(session) = &mut peer.session {
                session.ciphers = ciphers(&ring, &local.cluster, *node, session.incarnation);
            }
        }
        self.ring = ring;
    }

    /// The life of a peer that is known to be the present one.
    #[must_use]
    pub fn present(&self, peer: NodeId) -> Option<Incarnation> {
        self.peers.get(&peer)?.session.as_ref().map(|session| session.incarnation)
    }

    /// Features of this software that peers do not tell, by name: what is not sent to them. Peers
    /// that have told nothing yet are left out, and those that lack nothing.
    #[must_use]
    pub fn held_back(&self) -> BTreeMap<NodeId, Vec<&'static str>> {
        let lacking = |peer: &Peer| {
            let told = peer.session.as_ref()?.features?;
            let lacks = FEATURE_NAMES.iter().filter(|(feature, _)| told & feature == 0);
            let names: Vec<&'static str> = lacks.map(|(_, name)| *name).collect();
            (!names.is_empty()).then_some(names)
        };
        self.peers.iter().filter_map(|(node, peer)| Some((*node, lacking(peer)?))).collect()
    }

    /// Makes one datagram of a message, to be sent as it is on every path. `out` is replaced; it is
    /// empty if the peer does not tell that it can read such a message.
    ///
    /// # Panics
    ///
    /// When a list in the message is longer than its limit.
    pub fn seal(&mut self, to: NodeId, message: &Message, out: &mut Vec<u8>) {
        let session = self.peers.get(&to).and_then(|peer| peer.session.as_ref());
        let told = session.and_then(|session| session.features).unwrap_or(0);
        if needed(message) & !told != 0 {
            out.clear();
            return;
        }
        self.seal_body(to, Class::Message, |body| encode(message, body), out);
    }

    /// Makes a datagram that is to be sent after everything else of this life, whenever that ends:
    /// its sequence is above all others, so it is taken once and nothing after it.
    ///
    /// # Panics
    ///
    /// When a list in the message is longer than its limit.
    #[must_use]
    pub fn seal_last(&mut self, to: NodeId, message: &Message) -> Vec<u8> {
        let issued = self.issued.entry(to).or_default();
        issued.last_words += 1;
        let sequence = u64::MAX - issued.last_words;
        let mut out = Vec::new();
        let write = |body: &mut Vec<u8>| encode(message, body);
        self.seal_as(to, (Class::Message, sequence), write, &mut out);
        out
    }

    /// Makes one datagram of a hello.
    pub(super) fn seal_hello(&mut self, to: NodeId, hello: &Hello) -> Vec<u8> {
        let mut out = Vec::new();
        self.seal_body(to, Class::Hello, |body| hello.write(body), &mut out);
        out
    }

    fn seal_body(
        &mut self,
        to: NodeId,
        class: Class,
        write: impl FnOnce(&mut Vec<u8>),
        out: &mut Vec<u8>,
    ) {
        let issued = self.issued.entry(to).or_default();
        issued.sequence += 1;
        let sequence = issued.sequence;
        self.seal_as(to, (class, sequence), write, out);
    }

    fn seal_as(
        &self,
        to: NodeId,
        (class, sequence): (Class, u64),
        write: impl FnOnce(&mut Vec<u8>),
        out: &mut Vec<u8>,
    ) {
        let header = Header {
            class,
            key: self.ring.active().id,
            cluster: self.cluster,
            source: self.local.me,
            destination: to,
            incarnation: self.local.incarnation,
            sequence,
        };
        out.clear();
        out.resize(HEADER_LENGTH, 0);
        write(out);
        let length = out.len() + TAG_LENGTH;
        assert!(length <= DATAGRAM_MAX, "a datagram of {length} bytes exceeds {DATAGRAM_MAX}");
        let length = u16::try_from(length).expect("a datagram is short");
        let front = header.bytes(length);
        out[..HEADER_LENGTH].copy_from_slice(&front);
        let tag = self
            .sealer
            .encrypt_in_place_detached(&header.nonce().into(), &front, &mut out[HEADER_LENGTH..])
            .expect("a datagram is far below the limit of the cipher");
        out.extend(tag);
    }

    /// The challenge that is out for a peer.
    pub(super) fn challenge(&mut self, peer: NodeId) -> Challenge {
        let round = self.issued.entry(peer).or_default().round;
        challenge(&self.local, peer, round)
    }

    /// The challenge that was out for a peer has been answered; the next will be another.
    pub(super) fn spend_challenge(&mut self, peer: NodeId) {
        self.issued.entry(peer).or_default().round += 1;
    }
}

/// The features without which a message cannot be read.
const fn needed(message: &Message) -> u64 {
    match message {
        Message::Heartbeat(_)
        | Message::Claims(_)
        | Message::ClaimsAck(_)
        | Message::Offer(_)
        | Message::OfferAnswer(_)
        | Message::Errand(Errand { order: Order::Drain(_) | Order::Undrain(_) | Order::Move { .. }, .. })
        | Message::ErrandAnswer(_)
        // Asked only of voters for mode majority, which nodes that do not know it refuse to load.
        | Message::LeaseRequest(_)
        | Message::LeaseGrant(_)
        // Told only to who has said in an answer that it forwards.
        | Message::Kept(_) => 0,
        Message::Neighbours(_) => FEATURE_NEIGHBOURS,
        Message::Errand(Errand { order: Order::DrainNow(_), .. }) => FEATURE_DRAIN_NOW,
        Message::Connections(_) => FEATURE_CONNECTIONS,
    }
}

/// The ciphers of one life under every key of the ring.
pub(super) fn ciphers(
    ring: &KeyRing,
    cluster: &str,
    node: NodeId,
    incarnation: Incarnation,
) -> Vec<(u8, ChaCha20Poly1305)> {
    ring.keys().iter().map(|key| (key.id, cipher(key, cluster, node, incarnation))).collect()
}

impl Peer {
    const fn new() -> Self {
        Self {
            session: None,
            candidates: Vec::new(),
            newcomer: None,
            derivations: Limiter::new(),
            hellos: Limiter::new(),
        }
    }

    /// The session with the life that this header names.
    pub(super) fn session_of(&mut self, header: &Header) -> Option<&mut Session> {
        self.session.as_mut().filter(|session| session.incarnation == header.incarnation)
    }

    /// Opens a datagram of a life that is not proven. `derive` makes its key, which is limited
    /// unless this life was well sealed before.
    pub(super) fn open_unproven<'a>(
        &mut self,
        now: Instant,
        header: &Header,
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
        if !self.derivations.allow(now) {
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

    /// Takes a life that has answered a challenge for the present one, unless another life was
    /// heard so lately that it may still be there.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        header: &Header,
        ciphers: Vec<(u8, ChaCha20Poly1305)>,
    ) -> Result<(), RefusedDatagram> {
        if let Some(incumbent) = &self.session
            && !incumbent.is_silent(now)
        {
            let since = match self.newcomer {
                Some((incarnation, since)) if incarnation == header.incarnation => since,
                Some(_) | None => now,
            };
            self.newcomer = Some((header.incarnation, since));
            return Err(if incumbent.last_heard > since {
                RefusedDatagram::DuplicateNode
            } else {
                RefusedDatagram::IncumbentHeard
            });
        }
        self.newcomer = None;
        self.candidates.retain(|candidate| candidate.incarnation != header.incarnation);
        self.session = Some(Session {
            incarnation: header.incarnation,
            ciphers,
            window: ReplayWindow::after(header.sequence),
            last_heard: now,
            interval: INTERVAL_ASSUMED,
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
        self.last_heard = now;
        Ok(body)
    }

    /// Remembers how often this life means to be heard, what it can read, and whether it said
    /// good-bye.
    pub(super) fn note(&mut self, heartbeat: &Heartbeat, features: u64) {
        self.features = Some(features);
        self.interval = heartbeat.interval;
        self.left = heartbeat.phase == NodePhase::Left;
    }

    /// Whether this life has been silent for two intervals, or has said good-bye: one lost
    /// heartbeat does not open the door to a clone, and a restart is recognised before the
    /// silence counts as death.
    fn is_silent(&self, now: Instant) -> bool {
        self.left || now.since(self.last_heard) >= self.interval * 2
    }
}

/// Checks the seal and decrypts in place; the datagram is untouched when the seal is bad.
fn unseal<'a>(
    cipher: &ChaCha20Poly1305,
    header: &Header,
    datagram: &'a mut [u8],
) -> Result<&'a [u8], RefusedDatagram> {
    let Some((front, rest)) = datagram.split_at_mut_checked(HEADER_LENGTH) else {
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
