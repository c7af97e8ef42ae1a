//! Ends the TCP connections of addresses that are about to go.
//!
//! A connection whose local address vanishes falls silent on both sides; a client that only reads
//! would wait for ever. Ended while the address is still there, the kernel sends a reset, and the
//! client connects again at once, to the next owner. So `apply` calls this right before it deletes.
//!
//! One dump of the sockets (see `sockets`), then one message for each connection:
//!
//! ```text
//!   destroy (56 bytes): | family | TCP | 0 | 0 | all states 4 | socket id 48 |
//! ```
//!
//! Works in slices, so that `closing` decides how long the address stays for it, and looks again
//! until nothing is found, because a client that was reset may have connected again. A slice always
//! makes progress, however late the thread is called: a look that the slice cuts short has found
//! something, and what was found is ended before the next look. What is left is left alone: the next
//! owner's kernel resets it when the client sends something. So it is on kernels without
//! `CONFIG_INET_DIAG_DESTROY`.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use tokio::time::Instant as Moment;

use super::scoped::Scoped;
use super::sockets::{self, GET_SOCKETS, Socket};
use crate::netlink::{Conversation, DUMP, REQUEST, append_message};

/// Connections ended between two looks at the clock: 0.1 ms.
const BATCH: usize = 16;
const DESTROY_SOCKET: u16 = 21;
const TCP: u8 = 6;
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
    /// Connections that were there when the work began may be left.
    Work,
    /// All that a complete look found have been ended; those that began since then may be left.
    Newcomers,
    /// What is there cannot be ended.
    Stuck,
}

/// Ends connections.
#[derive(Debug, Default)]
pub(super) struct Destroyer {
    conversation: Option<Conversation>,
    /// Not yet ended.
    found: Vec<Socket>,
    /// The look that found them saw every socket.
    complete: bool,
    /// All that such a look found have been ended since the last [`Destroyer::forget`].
    through: bool,
    unsupported: bool,
}

impl Destroyer {
    /// Ends connections with these local addresses until then, and a few in any case. Waits for
    /// nobody.
    pub(super) fn end(&mut self, addresses: &BTreeSet<Scoped>, until: Moment) -> Slice {
        if self.unsupported {
            return Slice { ended: 0, rest: Rest::Stuck };
        }
        let mut ended = 0;
        let rest = self.try_end(addresses, until, &mut ended).unwrap_or_else(|error| {
            self.forget();
            self.conversation = None;
            tracing::debug!(%error, "connections cannot be closed");
            Rest::Stuck
        });
        Slice { ended, rest }
    }

    /// Forgets what was found: the addresses are others from now on.
    pub(super) fn forget(&mut self) {
        self.found.clear();
        self.complete = false;
        self.through = false;
    }

    fn try_end(
        &mut self,
        addresses: &BTreeSet<Scoped>,
        until: Moment,
        ended: &mut usize,
    ) -> io::Result<Rest> {
        loop {
            if self.found.is_empty() {
                self.complete = self.look(addresses, until)?;
                if self.found.is_empty() {
                    return Ok(if self.complete { Rest::Nothing } else { self.left() });
                }
            }
            let conversation = match &mut self.conversation {
                Some(conversation) => conversation,
                none => none.insert(Conversation::open(NETLINK_SOCK_DIAG)?),
            };
            let batch = self.found.split_off(self.found.len().saturating_sub(BATCH));
            conversation.send(&destruction(&batch))?;
            let refusals = conversation.refusals();
            *ended += batch.len().saturating_sub(refusals.len());
            self.unsupported = refusals.contains(&EOPNOTSUPP);
            // Those that ended by themselves meanwhile are no failure.
            if refusals.iter().filter(|code| **code != ENOENT).count() == batch.len() {
                return Ok(Rest::Stuck);
            }
            self.through |= self.complete && self.found.is_empty();
            if Moment::now() >= until {
                return Ok(self.left());
            }
        }
    }

    const fn left(&self) -> Rest {
        if self.through { Rest::Newcomers } else { Rest::Work }
    }

    /// Whether there is any connection with these local addresses, as far as that can be seen until
    /// then.
    pub(super) fn any(&mut self, addresses: &BTreeSet<Scoped>, until: Moment) -> bool {
        let kept = std::mem::take(&mut self.found);
        if let Err(error) = self.look(addresses, until) {
            self.conversation = None;
            tracing::debug!(%error, "connections cannot be inspected");
        }
        !std::mem::replace(&mut self.found, kept).is_empty()
    }

    /// Looks for connections; returns whether there was time to see all of them.
    fn look(&mut self, addresses: &BTreeSet<Scoped>, until: Moment) -> io::Result<bool> {
        let mut conversation = match self.conversation.take() {
            Some(conversation) => conversation,
            None => Conversation::open(NETLINK_SOCK_DIAG)?,
        };
        let found = &mut self.found;
        let mut complete = true;
        let here: BTreeSet<IpAddr> = addresses.iter().map(Scoped::address).collect();
        let here: Vec<IpAddr> = here.into_iter().collect();
        let request = sockets::request(&here, sockets::OPEN);
        conversation.ask(GET_SOCKETS, DUMP, &request, |message| {
            let of_these = |socket: &Socket| {
                socket.scopes().is_some_and(|scopes| addresses.range(scopes).next().is_some())
            };
            found.extend(Socket::read(&message).filter(of_these));
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

fn destruction(sockets: &[Socket]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(sockets.len() * 72);
    for Socket { family, identity } in sockets {
        let mut body = vec![*family, TCP, 0, 0];
        body.extend_from_slice(&u32::MAX.to_ne_bytes());
        body.extend_from_slice(identity);
        append_message(&mut datagram, DESTROY_SOCKET, REQUEST, 0, &body);
    }
    datagram
}
