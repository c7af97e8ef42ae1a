//! Removes the addresses of a daemon that cannot do it any more.
//!
//! Called by the guardian process, which has no runtime and no state of its own: one dump, then
//! one message for each address that bears the mark of its cluster. What is asked for is done within the call.
//!
//! ```text
//!   delete (8 bytes): | family | prefix | 0 | 0 | link index 4 |  local address, address
//! ```

use std::io;
use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_ROUTE;

use super::links::Place;
use super::mark::Mark;
use super::routing;
use super::watch;
use crate::netlink::{ACKNOWLEDGE, Conversation, REQUEST, append_attribute, append_message};

pub(super) const DELETE_ADDRESS: u16 = 21;
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;
/// Messages sent at once: their refusals must fit into the socket's buffer.
const BATCH: usize = 64;

/// Removes every address with this mark, then every route and rule of groups: that the addresses
/// are not answered for comes first. Returns how many addresses are still there.
///
/// # Errors
///
/// When the kernel does not tell its addresses, or takes no messages; some may be gone then.
pub fn remove_leftovers(mark: Mark) -> io::Result<usize> {
    let places: Vec<Place> = watch::ours(&watch::dump(mark)?).collect();
    let mut left = 0;
    if !places.is_empty() {
        remove(&places)?;
        left = watch::ours(&watch::dump(mark)?).count();
    }
    // What cannot be removed is left to the next start: it misleads no client.
    drop(routing::remove_all(mark));
    Ok(left)
}

/// Asks for the removal of addresses. That one went by itself meanwhile is no failure; what is left
/// shows in the next dump.
pub(super) fn remove(places: &[Place]) -> io::Result<()> {
    let mut conversation = Conversation::open(NETLINK_ROUTE)?;
    for batch in places.chunks(BATCH) {
        let mut datagram = Vec::new();
        for place in batch {
            append_message(&mut datagram, DELETE_ADDRESS, REQUEST | ACKNOWLEDGE, 0, &body(place));
        }
        conversation.send(&datagram)?;
        drop(conversation.refusals());
    }
    Ok(())
}

/// The message that names an address and nothing else.
pub(super) fn body(place: &Place) -> Vec<u8> {
    let (family, octets) = match place.address {
        IpAddr::V4(address) => (FAMILY_V4, address.octets().to_vec()),
        IpAddr::V6(address) => (FAMILY_V6, address.octets().to_vec()),
    };
    let mut body = vec![family, place.prefix, 0, 0];
    body.extend_from_slice(&place.link.to_ne_bytes());
    append_attribute(&mut body, LOCAL, &octets);
    append_attribute(&mut body, ADDRESS, &octets);
    body
}
