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
//! its way down passes no limit, and only a life that answers a challenge takes its place.

use crate::protocol::{Instant, Message};

use super::decode::decode_with_features;
use super::header::{Class, Header};
use super::hello::Hello;
use super::keys::cipher;
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
        let peer = self.peers.get_mut(&header.source).ok_or(RefusedDatagram::UnknownSource)?;
        if self.ring.key(header.key).is_none() {
            return Err(RefusedDatagram::UnknownKey);
        }
        if let Some(session) = peer.session_of(&header) {
            let body = session.open(now, &header, datagram)?;
            match header.class {
                Class::Message => {
                    let decoded = decode_with_features(body);
                    let (message, features) = decoded.map_err(RefusedDatagram::Malformed)?;
                    if let Message::Heartbeat(heartbeat) = &message {
                        session.note(heartbeat, features.unwrap_or(0));
                    }
                    let (from, incarnation) = (header.source, header.incarnation);
                    Ok(Opened::Message { from, incarnation, message })
                }
                Class::Hello => {
                    let hello = Hello::read(body).map_err(RefusedDatagram::Malformed)?;
                    Ok(self.answer(&header, &hello))
                }
            }
        } else {
            self.open_unproven(now, &header, datagram)
        }
    }

    /// A life that is not known to be the present one: ask it, or hear its answer.
    fn open_unproven(
        &mut self,
        now: Instant,
        header: &Header,
        datagram: &mut [u8],
    ) -> Result<Opened, RefusedDatagram> {
        let node = header.source;
        let cluster = &self.local.cluster;
        let peer = self.peers.get_mut(&node).ok_or(RefusedDatagram::UnknownSource)?;
        let key = self.ring.key(header.key).ok_or(RefusedDatagram::UnknownKey)?;
        let derive = || cipher(key, cluster, node, header.incarnation);
        let body = peer.open_unproven(now, header, datagram, derive)?;
        let hello = match header.class {
            Class::Message => Hello::default(),
            Class::Hello => Hello::read(body).map_err(RefusedDatagram::Malformed)?,
        };

        let challenge = self.challenge(node);
        let peer = self.peers.get_mut(&node).ok_or(RefusedDatagram::UnknownSource)?;
        if hello.answer == Some(challenge) {
            let ciphers = ciphers(&self.ring, &self.local.cluster, node, header.incarnation);
            let admitted = peer.admit(now, header, ciphers);
            self.spend_challenge(node);
            admitted?;
            return Ok(self.answer(header, &hello));
        }
        if !peer.hellos.allow(now) {
            return Err(RefusedDatagram::TooManyHellos);
        }
        let reply = Hello { challenge: Some(challenge), answer: hello.challenge };
        Ok(Opened::Reply { to: node, datagram: self.seal_hello(node, &reply) })
    }

    /// Sends back what a proven life asked to be sent back.
    fn answer(&mut self, header: &Header, hello: &Hello) -> Opened {
        match hello.challenge {
            None => Opened::Consumed,
            Some(_) => {
                let to = header.source;
                let reply = Hello { challenge: None, answer: hello.challenge };
                Opened::Reply { to, datagram: self.seal_hello(to, &reply) }
            }
        }
    }
}
