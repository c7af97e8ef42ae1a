//! The handshake by which a life of a peer shows that it is the present one.
//!
//! A datagram that is well sealed may still be a recording, from an earlier life of the peer or
//! sent to an earlier life of this node. So the first datagram of an unknown life is dropped and
//! answered with a challenge; who sends it back, sealed as that life, has lived since. A hello
//! may carry both an answer and a challenge, so that two nodes that start at once are done
//! after three datagrams. Any of them may be lost: the next heartbeat begins again.
//!
//! ```text
//!    A                                    B
//!    | heartbeat ------------------------>|  life unknown, dropped
//!    |<------------------ hello(challenge)|
//!    | hello(answer, challenge) --------->|  life of A accepted
//!    |<--------------------- hello(answer)|
//!    | life of B accepted                 |
//! ```
//!
//! Who forges lives by the thousand makes this node run out of keys that it may derive. Then it
//! calls the peer with a challenge that is to be sent back in clear as well: the answer, of a class
//! of its own, is known from the forgeries by that, and has a budget of its own.
//!
//! A challenge is good for one answer. It names no life: it goes to the addresses of the peer,
//! and whichever life is there answers, so recordings cannot crowd out the real one.

use hkdf::Hkdf;
use sha2::Sha256;

use crate::protocol::NodeId;

use super::decode::DecodeError;
use super::field::{self, gather};
use super::sessions::Local;

/// What is to be sent back.
pub(super) type Challenge = [u8; 16];

/// Body of a datagram of class hello.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    /// The receiver shall send this back.
    pub(super) challenge: Option<Challenge>,
    /// What the receiver asked to be sent back.
    pub(super) answer: Option<Challenge>,
    /// The receiver shall answer with the challenge in clear before the seal. Older software does
    /// not look at this.
    pub(super) in_clear: bool,
    /// Another node of the receiver's name was here first.
    pub(super) twin: bool,
}

impl Hello {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (field, value) in [(field::CHALLENGE, self.challenge), (field::ANSWER, self.answer)] {
            if let Some(value) = value {
                field::put(out, field, |out| out.extend(value));
            }
        }
        for (field, is) in [(field::IN_CLEAR, self.in_clear), (field::TWIN, self.twin)] {
            if is {
                field::put(out, field, |_| {});
            }
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let known = [field::CHALLENGE, field::ANSWER, field::IN_CLEAR, field::TWIN];
        let [challenge, answer, in_clear, twin] = gather(bytes, known)?;
        Ok(Self {
            in_clear: in_clear.is_some(),
            twin: twin.is_some(),
            challenge: challenge.map(|mut value| value.take()).transpose()?,
            answer: answer.map(|mut value| value.take()).transpose()?,
        })
    }
}

/// The challenge of this round for a peer. No outsider can foresee it, none is used twice, and
/// nothing needs to be remembered but the round.
pub(super) fn challenge(local: &Local, peer: NodeId, round: u64) -> Challenge {
    let mut challenge = [0; 16];
    Hkdf::<Sha256>::new(None, &local.challenge_secret)
        .expand_multi_info(
            &[
                b"buoy challenge",
                &local.incarnation.0.to_be_bytes(),
                &peer.0.to_be_bytes(),
                &round.to_be_bytes(),
            ],
            &mut challenge,
        )
        .expect("HKDF-SHA256 gives up to 8160 bytes");
    challenge
}
