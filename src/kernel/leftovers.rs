//! Removes the addresses of a daemon that cannot do it any more.
//!
//! Called by the guardian process, which has no runtime and no state of its own: one dump, then
//! one message for each address that bears our mark. What is asked for is done within the call.
//!
//! ```text
//!   delete (8 bytes): | family | prefix | 0 | 0 | link index 4 |  local address, address
//! ```

use std::io;
use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_ROUTE;

use super::links::Place;
use super::watch;
use crate::netlink::{ACKNOWLEDGE, Conversation, REQUEST, append_attribute, append_message};

pub(super) const DELETE_ADDRESS: u16 = 21;
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;
/// Messages sent at once: their refusals must fit into the socket's buffer.
const BATCH: usize = 64;

/// Removes every address that bears our mark. Returns how many there were.
///
/// # Errors
///
/// When the kernel does not tell its addresses, or refuses; some may be gone then.
pub fn remove_leftovers() -> io::Result<usize> {
    let observations = watch::dump()?;
    let places: Vec<Place> = watch::ours(&observations).collect();
    let mut conversation = Conversation::open(NETLINK_ROUTE)?;
    for batch in places.chunks(BATCH) {
        let mut datagram = Vec::new();
        for place in batch {
            append_message(&mut datagram, DELETE_ADDRESS, REQUEST | ACKNOWLEDGE, 0, &body(place));
        }
        conversation.send(&datagram)?;
        // An address that went by itself meanwhile is no failure; the next start sweeps the rest.
        drop(conversation.refusals());
    }
    Ok(places.len())
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
