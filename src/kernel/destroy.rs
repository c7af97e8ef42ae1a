//! Ends the TCP connections of addresses that are about to go.
//!
//! A connection whose local address vanishes falls silent on both sides; a client that only reads
//! would wait for ever. Ended while the address is still there, the kernel sends a reset, and the
//! client connects anew at once, to the next owner. So `apply` calls this right before it deletes.
//!
//! One dump of the sockets, filtered within the kernel, then one message for each connection:
//!
//! ```text
//!   request (60 bytes): | family 0 | 0 | 0 | 0 | socket id 48 | states 4 | 0 |  filter attribute
//!   filter, per address:  | 7 | yes | no 2 | family | length | 0 | port -1 | address |
//!                         | 1 | 4 | to the end 2 |            (jump, not after the last one)
//!   found:   | family | state | . | . | socket id 48 | ...
//!   destroy (56 bytes): | family | TCP | 0 | 0 | all states 4 | socket id 48 |
//! ```
//!
//! The request is the older of the two that exist, because it covers IPv4 and IPv6 sockets in one
//! walk of the kernel's table; IPv4 connections of IPv6 sockets are found too. Works in slices, so
//! that `closing` decides how long the address stays for it, and looks again until nothing is
//! found, because a client that was reset may have connected anew. What is left is left alone: the
//! next owner's kernel resets it when the client sends something. So it is on kernels without
//! `CONFIG_INET_DIAG_DESTROY`.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use tokio::time::Instant as Moment;

use super::links::ip;
use crate::netlink::{Conversation, DUMP, Message, REQUEST, append_attribute, append_message};

/// With more addresses than these every connection is looked at here instead.
const FILTERED_MAX: usize = 64;
/// Connections ended between two looks at the clock: 0.1 ms.
const BATCH: usize = 16;
const GET_SOCKETS: u16 = 18;
const SOCKET: u16 = 18;
const DESTROY_SOCKET: u16 = 21;
const FILTER: u16 = 1;
const MATCH_SOURCE: u8 = 7;
const JUMP: u8 = 1;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;
const TCP: u8 = 6;
/// All but closed, listening and waiting for the end of time: established, opening, closing.
const STATES: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
const SOCKET_ID: usize = 48;
const ENOENT: i32 = 2;
const EOPNOTSUPP: i32 = 95;

/// What a slice of work came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// So many connections were ended.
    pub(super) ended: usize,
    /// What is left.
    pub(super) rest: Rest,
}

/// What is left after a slice of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// A look found no connection.
    Nothing,
    /// There is more to do, or to look at.
    Work,
    /// What is there cannot be ended.
    Stuck,
}

/// Ends connections.
#[derive(Debug, Default)]
pub(super) struct Destroyer {
    conversation: Option<Conversation>,
    /// Not yet ended.
    found: Vec<Found>,
    unsupported: bool,
}

/// The family and identity of a socket, as the kernel wrote it.
type Found = (u8, [u8; SOCKET_ID]);

impl Destroyer {
    /// Ends connections with these local addresses until then, and a few in any case. Waits for
    /// nobody.
    pub(super) fn end(&mut self, addresses: &BTreeSet<IpAddr>, until: Moment) -> Slice {
        if self.unsupported {
            return Slice { ended: 0, rest: Rest::Stuck };
        }
        let mut ended = 0;
        let rest = self.try_end(addresses, until, &mut ended).unwrap_or_else(|error| {
            self.forget();
            self.conversation = None;
            tracing::debug!(%error, "connections cannot be ended");
            Rest::Stuck
        });
        Slice { ended, rest }
    }

    /// Forgets what was found: the addresses are others from now on.
    pub(super) fn forget(&mut self) {
        self.found.clear();
    }

    fn try_end(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
        until: Moment,
        ended: &mut usize,
    ) -> io::Result<Rest> {
        loop {
            if self.found.is_empty() {
                let complete = self.look(addresses, until)?;
                if self.found.is_empty() {
                    return Ok(if complete { Rest::Nothing } else { Rest::Work });
                }
            }
            let conversation = self.conversation.as_mut().expect("a look leaves one");
            let batch = self.found.split_off(self.found.len().saturating_sub(BATCH));
            conversation.send(&destruction(&batch))?;
            let refusals = conversation.refusals();
            *ended += batch.len().saturating_sub(refusals.len());
            self.unsupported = refusals.contains(&EOPNOTSUPP);
            // Those that ended by themselves meanwhile are no failure.
            if refusals.iter().filter(|code| **code != ENOENT).count() == batch.len() {
                return Ok(Rest::Stuck);
            }
            if Moment::now() >= until {
                return Ok(Rest::Work);
            }
        }
    }

    /// Looks for connections; returns whether there was time to see all of them.
    fn look(&mut self, addresses: &BTreeSet<IpAddr>, until: Moment) -> io::Result<bool> {
        let mut conversation = match self.conversation.take() {
            Some(conversation) => conversation,
            None => Conversation::open(NETLINK_SOCK_DIAG)?,
        };
        let found = &mut self.found;
        let mut complete = true;
        conversation.ask(GET_SOCKETS, DUMP, &request(addresses), |message| {
            found.extend(read(&message, addresses));
            complete = Moment::now() < until;
            complete
        })?;
        if !complete {
            // The rest of the answer is still to come on the old one.
            conversation = Conversation::open(NETLINK_SOCK_DIAG)?;
        }
        self.conversation = Some(conversation);
        Ok(complete)
    }
}

fn request(addresses: &BTreeSet<IpAddr>) -> Vec<u8> {
    let mut body = vec![0; 4 + SOCKET_ID];
    body.extend_from_slice(&STATES.to_ne_bytes());
    body.extend_from_slice(&0_u32.to_ne_bytes());
    if addresses.len() <= FILTERED_MAX {
        append_attribute(&mut body, FILTER, &filter(addresses));
    }
    body
}

/// The kernel's little program that accepts a socket with any of the source addresses.
fn filter(addresses: &BTreeSet<IpAddr>) -> Vec<u8> {
    let mut program = Vec::new();
    // Written from the end, because each jump names the distance to the end.
    for address in addresses.iter().rev() {
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let family = if octets.len() == 4 { FAMILY_V4 } else { FAMILY_V6 };
        let bits = if octets.len() == 4 { 32 } else { 128 };
        let length: u8 = if octets.len() == 4 { 16 } else { 28 };
        let mut step = vec![MATCH_SOURCE, length];
        // Where it leads if not matched: behind the jump, or, for the last, behind the end.
        step.extend_from_slice(&(u16::from(length) + 4).to_ne_bytes());
        step.extend_from_slice(&[family, bits, 0, 0]);
        step.extend_from_slice(&(-1_i32).to_ne_bytes());
        step.extend_from_slice(&octets);
        if !program.is_empty() {
            let distance = u16::try_from(program.len() + 4).expect("FILTERED_MAX steps are short");
            step.extend_from_slice(&[JUMP, 4]);
            step.extend_from_slice(&distance.to_ne_bytes());
        }
        step.append(&mut program);
        program = step;
    }
    program
}

/// Reads one socket, if it has one of the addresses.
fn read(message: &Message<'_>, addresses: &BTreeSet<IpAddr>) -> Option<Found> {
    if message.kind != SOCKET {
        return None;
    }
    let family = *message.body.first()?;
    let identity = message.body.get(4..)?.first_chunk::<SOCKET_ID>()?;
    let source = ip(family, identity.get(4..)?)?.to_canonical();
    addresses.contains(&source).then_some((family, *identity))
}

fn destruction(sockets: &[Found]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(sockets.len() * 72);
    for (family, identity) in sockets {
        let mut body = vec![*family, TCP, 0, 0];
        body.extend_from_slice(&u32::MAX.to_ne_bytes());
        body.extend_from_slice(identity);
        append_message(&mut datagram, DESTROY_SOCKET, REQUEST, 0, &body);
    }
    datagram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_these_bytes() {
        let addresses = ["10.77.0.100", "fd77::100"].map(|text| text.parse().unwrap());
        let no = 20_u16.to_ne_bytes();
        let to_the_end = 32_u16.to_ne_bytes();
        let behind_the_end = 32_u16.to_ne_bytes();
        let mut expected =
            vec![7, 16, no[0], no[1], 2, 32, 0, 0, 255, 255, 255, 255, 10, 77, 0, 100];
        expected.extend([1, 4, to_the_end[0], to_the_end[1]]);
        expected.extend([7, 28, behind_the_end[0], behind_the_end[1], 10, 128, 0, 0]);
        expected.extend([255; 4]);
        expected.extend([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(filter(&BTreeSet::from(addresses)), expected);
    }

    #[test]
    fn only_sockets_of_the_addresses_are_taken() {
        let addresses = BTreeSet::from([IpAddr::from([10, 77, 0, 100])]);
        let mut body = vec![0; 72];
        body[0] = FAMILY_V4;
        body[8..12].copy_from_slice(&[10, 77, 0, 100]);
        let taken =
            |kind, body: &[u8]| read(&Message { kind, sequence: 1, body }, &addresses).is_some();
        assert!(taken(SOCKET, &body));
        assert!(!taken(SOCKET + 1, &body));
        assert!(!taken(SOCKET, &body[..40]));
        body[0] = FAMILY_V6;
        assert!(!taken(SOCKET, &body));
        // An IPv4 connection of an IPv6 socket.
        body[8..24].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 77, 0, 100]);
        assert!(taken(SOCKET, &body));
        body[23] = 101;
        assert!(!taken(SOCKET, &body));
    }
}
