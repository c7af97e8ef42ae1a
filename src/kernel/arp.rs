//! Gratuitous ARP: the bytes only.
//!
//! ```text
//!  Ethernet: | ff:ff:ff:ff:ff:ff | own MAC | 0x0806 |
//!  ARP:      | 1 | 0x0800 | 6 | 4 | operation 2 | SHA 6 | SPA 4 | THA 6 | TPA 4 |
//!              Ethernet, IPv4       1 request:   own    VIP     zero    VIP
//!                                   2 reply:     own    VIP     own     VIP
//! ```
//!
//! Both forms are sent, because some listeners believe only one of them. The target hardware
//! address is zero in the request and *our own* in the reply, as Linux demands of a gratuitous
//! reply (`arp_is_garp`): one with ff:ff:ff:ff:ff:ff is ignored for a second after the last update
//! of the entry, which was measured. Such frames override the lock time.

use std::net::Ipv4Addr;

const BROADCAST: [u8; 6] = [0xff; 6];
const ETHER_TYPE: [u8; 2] = [0x08, 0x06];
/// Ethernet, IPv4, lengths of their addresses.
const KINDS: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// Which of the two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// "Who has my address?"
    Request,
    /// "I have my address."
    Reply,
}

/// One frame to everybody that says that `address` is at `hardware`.
pub(super) fn announcement(hardware: [u8; 6], address: Ipv4Addr, operation: Operation) -> Vec<u8> {
    directed(hardware, address, operation, BROADCAST)
}

/// The same to one neighbour: nobody else hears it, and no switch holds it back.
pub(super) fn directed(
    hardware: [u8; 6],
    address: Ipv4Addr,
    operation: Operation,
    to: [u8; 6],
) -> Vec<u8> {
    let (code, target) = match operation {
        Operation::Request => (1, [0; 6]),
        Operation::Reply => (2, hardware),
    };
    let mut frame = Vec::with_capacity(42);
    frame.extend_from_slice(&to);
    frame.extend_from_slice(&hardware);
    frame.extend_from_slice(&ETHER_TYPE);
    frame.extend_from_slice(&KINDS);
    frame.extend_from_slice(&[0, code]);
    frame.extend_from_slice(&hardware);
    frame.extend_from_slice(&address.octets());
    frame.extend_from_slice(&target);
    frame.extend_from_slice(&address.octets());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARDWARE: [u8; 6] = [2, 0, 0, 0, 0, 7];
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);

    #[test]
    fn a_request_has_no_target_hardware_address() {
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 7, 0x08, 0x06, // Ethernet
            0, 1, 8, 0, 6, 4, 0, 1, // Ethernet, IPv4, request
            2, 0, 0, 0, 0, 7, 10, 77, 0, 100, // sender
            0, 0, 0, 0, 0, 0, 10, 77, 0, 100, // target
        ];
        assert_eq!(announcement(HARDWARE, ADDRESS, Operation::Request), expected);
    }

    #[test]
    fn a_reply_names_the_sender_as_target() {
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 7, 0x08, 0x06, // Ethernet
            0, 1, 8, 0, 6, 4, 0, 2, // Ethernet, IPv4, reply
            2, 0, 0, 0, 0, 7, 10, 77, 0, 100, // sender
            2, 0, 0, 0, 0, 7, 10, 77, 0, 100, // target
        ];
        assert_eq!(announcement(HARDWARE, ADDRESS, Operation::Reply), expected);
    }

    #[test]
    fn a_directed_one_differs_in_its_receiver_only() {
        let to = [2, 0, 0, 0, 0, 9];
        let frame = directed(HARDWARE, ADDRESS, Operation::Reply, to);
        assert_eq!(frame[..6], to);
        assert_eq!(frame[6..], announcement(HARDWARE, ADDRESS, Operation::Reply)[6..]);
    }
}
