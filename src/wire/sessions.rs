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

use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::AeadInPlace;

use crate::protocol::{Errand, Incarnation, Instant, Message, NODES_MAX, NodeId, Order};

use super::encode::encode;
use super::header::{Class, Header};
use super::hello::{Challenge, Hello, challenge};
use super::keys::{KeyRing, cipher, cluster_hash};
use super::limiter::Limiter;
use super::lives::Peer;
use super::refused::RefusedDatagram;
use super::{
    DATAGRAM_MAX, FEATURE_CONNECTIONS, FEATURE_DRAIN_NOW, FEATURE_NAMES, FEATURE_NEIGHBOURS,
    HEADER_LENGTH, TAG_LENGTH,
};

/// Datagrams to one peer in a millisecond at most: more than any processor seals.
const ISSUED_PER_MILLISECOND: u64 = 1_000;

/// Above this are the sequences of last words.
const SEQUENCE_MAX: u64 = u64::MAX >> 1;

/// Who this node is.
#[derive(Clone)]
pub struct Local {
    /// Name of the cluster.
    pub cluster: String,
    /// This node.
    pub me: NodeId,
    /// This life of this node; drawn again at every start, so that no nonce is used twice.
    pub incarnation: Incarnation,
    /// The nodes that may talk to this one.
    pub peers: Vec<NodeId>,
    /// Drawn again at every start; challenges are made from it.
    pub challenge_secret: [u8; 32],
}

/// What became of a datagram.
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are messages, and one is looked at once: a box would only cost"
)]
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
    /// Part of a handshake; this is to be sent to the peer on every path, and to where the
    /// datagram came from.
    Reply {
        /// To whom.
        to: NodeId,
        /// What, sealed.
        datagram: Vec<u8>,
        /// Whether what came was sealed under the cluster's key, by a life that has not shown to
        /// be the present one: somebody is there, and nothing that it says is known.
        sensed: bool,
    },
    /// Part of a handshake; nothing is to be done.
    Consumed,
    /// Dropped.
    Refused(RefusedDatagram),
}

/// Why keys must not be changed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingRefusal {
    /// Another key under this id: nodes with the one could not read those with the other.
    Replaced(u8),
    /// A key is missing with which a node seals that is heard.
    InUse {
        /// Id of the key.
        key: u8,
        /// The node.
        by: NodeId,
    },
}

/// The sessions of one node with all its peers.
pub struct Sessions {
    pub(super) local: Local,
    pub(super) cluster: u32,
    pub(super) ring: KeyRing,
    sealer: ChaCha20Poly1305,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) issued: BTreeMap<NodeId, Issued>,
    /// Keys derived for datagrams of nodes that are not peers.
    pub(super) others: Limiter,
    /// A peer that knows another node of this one's name.
    pub(super) twin: Option<NodeId>,
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

impl Sessions {
    /// Sessions with nobody yet.
    #[must_use]
    pub fn new(local: Local, ring: KeyRing) -> Self {
        let cluster = cluster_hash(&local.cluster);
        let sealer = cipher(ring.active(), &local.cluster, local.me, local.incarnation);
        let peers = local.peers.iter().map(|peer| (*peer, Peer::new())).collect();
        let (issued, others) = (BTreeMap::new(), Limiter::new());
        Self { local, cluster, ring, sealer, peers, issued, others, twin: None }
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

    /// Whether the configuration names this node.
    #[must_use]
    pub fn is_listed(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.listed)
    }

    /// Why the keys must not become these now: a peer that is heard could not be heard any more.
    #[must_use]
    pub fn refusal(&self, now: Instant, ring: &KeyRing) -> Option<RingRefusal> {
        let replaced = self
            .ring
            .keys()
            .iter()
            .find(|key| ring.key(key.id).is_some_and(|other| other.secret != key.secret));
        if let Some(key) = replaced {
            return Some(RingRefusal::Replaced(key.id));
        }
        let heard =
            self.peers.iter().filter_map(|(node, peer)| Some((node, peer.session.as_ref()?)));
        let mut heard = heard.filter(|(_, session)| !session.is_silent(now));
        let (node, session) = heard.find(|(_, session)| ring.key(session.key).is_none())?;
        Some(RingRefusal::InUse { key: session.key, by: *node })
    }

    /// Changes the set of peers and the keys. Peers that stay notice nothing; one that is taken
    /// out and has not said good-bye stays too, as one that is not listed.
    pub fn reconfigure(&mut self, peers: &[NodeId], ring: KeyRing) {
        self.local.peers = peers.to_vec();
        let lives = |peer: &Peer| peer.session.as_ref().is_some_and(|session| !session.left);
        self.peers.retain(|node, peer| peers.contains(node) || lives(peer));
        for peer in peers {
            self.peers.entry(*peer).or_insert_with(Peer::new);
        }
        for (node, peer) in &mut self.peers {
            peer.listed = peers.contains(node);
        }
        while self.peers.len() >= NODES_MAX && self.forget_unlisted() {}
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

    /// A peer that has said, since this was last asked, that it knows another node of this one's
    /// name: a cloned machine, or a name used twice.
    pub fn take_twin(&mut self) -> Option<NodeId> {
        self.twin.take()
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
        if features_needed(message) & !told != 0 {
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

    /// Answers a hello; in clear as well if it asks for that.
    pub(super) fn seal_answer(&mut self, to: NodeId, hello: &Hello, asked: &Hello) -> Vec<u8> {
        let Some(echo) = asked.challenge.filter(|_| asked.in_clear) else {
            return self.seal_hello(to, hello);
        };
        let issued = self.issued.entry(to).or_default();
        issued.sequence += 1;
        let sequence = issued.sequence;
        let mut out = Vec::new();
        let write = |body: &mut Vec<u8>| hello.write(body);
        self.seal_front((to, Class::Answer, sequence), &echo, write, &mut out);
        out
    }

    /// Forgets a node that is not listed, one that is silent first; whether there was one.
    pub(super) fn forget_unlisted(&mut self) -> bool {
        let unlisted = self.peers.iter().filter(|(_, peer)| !peer.listed);
        let heard = |peer: &Peer| peer.session.as_ref().map(|it| (!it.left, it.last_heard));
        let oldest = unlisted.min_by_key(|(_, peer)| heard(peer)).map(|(node, _)| *node);
        oldest.is_some_and(|node| self.peers.remove(&node).is_some())
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
        self.seal_front((to, class, sequence), &[], write, out);
    }

    /// Seals what stands after the header and `clear`, and these with it.
    fn seal_front(
        &self,
        (to, class, sequence): (NodeId, Class, u64),
        clear: &[u8],
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
        out.extend(clear);
        write(out);
        let length = out.len() + TAG_LENGTH;
        assert!(length <= DATAGRAM_MAX, "a datagram of {length} bytes exceeds {DATAGRAM_MAX}");
        let length = u16::try_from(length).expect("a datagram is short");
        out[..HEADER_LENGTH].copy_from_slice(&header.bytes(length));
        let (front, body) = out.split_at_mut(HEADER_LENGTH + clear.len());
        let tag = self
            .sealer
            .encrypt_in_place_detached(&header.nonce().into(), front, body)
            .expect("a datagram is far below the limit of the cipher");
        out.extend(tag);
    }

    /// The challenge that is out for a peer.
    pub(super) fn challenge(&mut self, peer: NodeId) -> Challenge {
        let round = self.issued.entry(peer).or_default().round;
        let kept = self.peers.get(&peer).and_then(|peer| peer.challenge);
        if let Some((_, kept)) = kept.filter(|(of, _)| *of == round) {
            return kept;
        }
        let made = challenge(&self.local, peer, round);
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.challenge = Some((round, made));
        }
        made
    }

    /// Leaves out all that may have been issued in so many milliseconds that this host does not
    /// know of: a virtual machine that was put back to a snapshot would issue it again, and say
    /// two things under one nonce.
    pub(super) fn skip(&mut self, milliseconds: u64) {
        let most = milliseconds.saturating_mul(ISSUED_PER_MILLISECOND);
        for issued in self.issued.values_mut() {
            issued.sequence = issued.sequence.saturating_add(most).min(SEQUENCE_MAX);
            issued.round = issued.round.saturating_add(most);
        }
    }

    /// The challenge that was out for a peer has been answered; the next will be another.
    pub(super) fn spend_challenge(&mut self, peer: NodeId) {
        self.issued.entry(peer).or_default().round += 1;
    }
}

/// The features without which a message cannot be read, of [`FEATURES`](super::FEATURES): it is sent
/// to no peer that does not tell them all.
#[must_use]
pub const fn features_needed(message: &Message) -> u64 {
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
