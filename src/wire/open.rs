//! What happens to a datagram that came in, cheapest check first.
//!
//! ```text
//!   length, magic, version, class, cluster, destination, source, key   no cryptography
//!     present life of the source?
//!       yes: replay window -> seal -> window takes the sequence -> message or hello
//!       no:  key of that life (limited) -> seal -> challenge (limited), or the answer to one
//! ```
//!
//! A present life is never made to wait or forgotten by datagrams that claim to be of another:
//! its way down passes no limit, and only a life that answers a challenge takes its place. A node
//! that the configuration does not name becomes a peer when a datagram of it opens: files that
//! differ, or are being rolled out, must not make nodes deaf to each other.

use crate::protocol::{Instant, Message, NODES_MAX, NodeId};

use super::HEADER_LENGTH;
use super::decode::decode_with_features;
use super::header::{Class, Header};
use super::hello::{Challenge, Hello};
use super::keys::cipher;
use super::lives::Peer;
use super::refused::RefusedDatagram;
use super::sessions::{Opened, Sessions, ciphers};

impl Sessions {
    /// Opens what was received. `now` serves limits and the silence of lives; it must not depend
    /// on the datagram. The bytes are decrypted in place.
    pub fn open(&mut self, now: Instant, datagram: &mut [u8]) -> Opened {
        match self.open_checked(now, datagram) {
            Ok(opened) => opened,
            Err(reason) => Opened::Refused(reason),
        }
    }

    /// Returns who has sealed a datagram that [`open`](Self::open) has refused as a duplicate, if
    /// that is the present life of a peer: where there are several paths, all but the first copy
    /// are refused. A copy shows that its path carries, if no one repeats what it has overheard;
    /// nothing is taken from it. The bytes are decrypted in place.
    pub fn copy_from(&mut self, datagram: &mut [u8]) -> Option<NodeId> {
        let header = Header::read(datagram).ok()?;
        let here = header.cluster == self.cluster && header.destination == self.local.me;
        let session = self.peers.get_mut(&header.source)?.session_of(&header)?;
        (here && session.has_sealed(&header, datagram)).then_some(header.source)
    }

    /// Who a datagram says to be from. Nothing of it is proven.
    #[must_use]
    pub fn named_source(datagram: &[u8]) -> Option<NodeId> {
        Header::read(datagram).ok().map(|header| header.source)
    }

    fn open_checked(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
    ) -> Result<Opened, RefusedDatagram> {
        let header = Header::read(datagram)?;
        if header.cluster != self.cluster {
            return Err(RefusedDatagram::OtherCluster);
        }
        if header.destination != self.local.me {
            return Err(RefusedDatagram::NotForMe);
        }
        let Some(peer) = self.peers.get_mut(&header.source) else {
            return self.open_unlisted(now, &header, datagram);
        };
        if self.ring.key(header.key).is_none() {
            return Err(RefusedDatagram::UnknownKey);
        }
        if let Some(session) = peer.session_of(&header) {
            let body = session.open(now, &header, datagram)?;
            match header.class {
                Class::Message => {
                    let decoded = decode_with_features(body);
                    let (mut message, features) = decoded.map_err(RefusedDatagram::Malformed)?;
                    let mut lost = 0;
                    if let Message::Heartbeat(heartbeat) = &mut message {
                        lost = session.note(now, heartbeat, features.unwrap_or(0));
                        let own = |name: &String| NodeId::from_name(name) == header.source;
                        heartbeat.name = heartbeat.name.take().filter(own);
                    }
                    if lost > 0 {
                        self.skip(lost);
                    }
                    let (from, incarnation) = (header.source, header.incarnation);
                    Ok(Opened::Message { from, incarnation, message })
                }
                Class::Hello | Class::Answer => {
                    let hello = Hello::read(body).map_err(RefusedDatagram::Malformed)?;
                    Ok(self.answer(&header, &hello))
                }
            }
        } else {
            self.open_unproven(now, &header, datagram)
        }
    }

    /// A node that the configuration does not name: a peer if its datagram opens.
    fn open_unlisted(
        &mut self,
        now: Instant,
        header: &Header,
        datagram: &mut [u8],
    ) -> Result<Opened, RefusedDatagram> {
        let key = self.ring.key(header.key).ok_or(RefusedDatagram::UnknownSource)?;
        if header.source == self.local.me || !self.others.allow(now) {
            return Err(RefusedDatagram::UnknownSource);
        }
        let derive = || cipher(key, &self.local.cluster, header.source, header.incarnation);
        let mut peer = Peer::new();
        peer.listed = false;
        let body = peer.open_unproven(now, (header, false), datagram, derive);
        let body = body.map_err(|_| RefusedDatagram::UnknownSource)?;
        // This node is one of those.
        if self.peers.len() + 1 >= NODES_MAX && !self.forget_unlisted() {
            return Err(RefusedDatagram::UnknownSource);
        }
        self.peers.insert(header.source, peer);
        self.welcome(now, header, body)
    }

    /// A life that is not known to be the present one: ask it, or hear its answer.
    fn open_unproven(
        &mut self,
        now: Instant,
        header: &Header,
        datagram: &mut [u8],
    ) -> Result<Opened, RefusedDatagram> {
        let node = header.source;
        let answers = echo(header, datagram).is_some_and(|echo| echo == self.challenge(node));
        let cluster = &self.local.cluster;
        let peer = self.peers.get_mut(&node).ok_or(RefusedDatagram::UnknownSource)?;
        let key = self.ring.key(header.key).ok_or(RefusedDatagram::UnknownKey)?;
        let derive = || cipher(key, cluster, node, header.incarnation);
        match peer.open_unproven(now, (header, answers), datagram, derive) {
            Ok(body) => self.welcome(now, header, body),
            Err(RefusedDatagram::TooManyLives) if peer.is_vacant(now) && peer.calls.allow(now) => {
                Ok(self.call(node))
            }
            Err(reason) => Err(reason),
        }
    }

    /// Too many lives of a peer are tried to look at each: whichever is there is to answer in a
    /// way that no forger can.
    fn call(&mut self, node: NodeId) -> Opened {
        let challenge = Some(self.challenge(node));
        let hello = Hello { challenge, in_clear: true, ..Hello::default() };
        Opened::Reply { to: node, datagram: self.seal_hello(node, &hello), sensed: false }
    }

    /// Asks a life whose datagram opened, or takes it for the present one.
    fn welcome(
        &mut self,
        now: Instant,
        header: &Header,
        body: &[u8],
    ) -> Result<Opened, RefusedDatagram> {
        let node = header.source;
        let hello = match header.class {
            Class::Message => Hello::default(),
            Class::Hello | Class::Answer => {
                Hello::read(body).map_err(RefusedDatagram::Malformed)?
            }
        };
        if hello.twin {
            self.twin = Some(node);
        }
        let challenge = self.challenge(node);
        let peer = self.peers.get_mut(&node).ok_or(RefusedDatagram::UnknownSource)?;
        if hello.answer == Some(challenge) {
            let ciphers = ciphers(&self.ring, &self.local.cluster, node, header.incarnation);
            let admitted = peer.admit(now, header, ciphers);
            self.spend_challenge(node);
            admitted?;
            return Ok(self.answer(header, &hello));
        }
        if !peer.may_be_sent_hello(now, hello.challenge.is_some()) {
            return Err(RefusedDatagram::TooManyHellos);
        }
        // It goes to the other node of that name too, so that both know.
        let twin = peer.duplicate == Some(header.incarnation);
        let challenge = Some(challenge);
        let reply = Hello { challenge, answer: hello.challenge, in_clear: false, twin };
        let datagram = self.seal_answer(node, &reply, &hello);
        Ok(Opened::Reply { to: node, datagram, sensed: true })
    }

    /// Sends back what a proven life asked to be sent back.
    fn answer(&mut self, header: &Header, hello: &Hello) -> Opened {
        let to = header.source;
        if hello.twin {
            self.twin = Some(to);
        }
        match hello.challenge {
            None => Opened::Consumed,
            Some(_) => {
                let reply = Hello { answer: hello.challenge, ..Hello::default() };
                let datagram = self.seal_answer(to, &reply, hello);
                Opened::Reply { to, datagram, sensed: false }
            }
        }
    }
}

/// What stands in clear before the seal of an answer.
fn echo(header: &Header, datagram: &[u8]) -> Option<Challenge> {
    let rest = datagram.get(HEADER_LENGTH..).filter(|_| header.class == Class::Answer)?;
    rest.first_chunk().copied()
}
