//! Unsolicited neighbour advertisement (RFC 4861 4.4 and 7.2.6): the bytes only.
//!
//! ```text
//!  Ethernet: | 33:33:00:00:00:01 | own MAC | 0x86dd |
//!  IPv6:     | 6 ... | length 32 | next 58 | hop limit 255 | source | ff02::1 |
//!  ICMPv6:   | 136 | 0 | checksum 2 | R S O 0... 4 | target: VIP 16 | 2 | 1 | own MAC 6 |
//! ```
//!
//! Override is set and the target's hardware address is given: without either, Linux does not
//! replace the entry it has. The router flag has to say what is true of this host: a neighbour that
//! used the VIP as its router drops it when told that it is none.

use std::net::Ipv6Addr;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_HARDWARE: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ETHER_TYPE: [u8; 2] = [0x86, 0xdd];
const NEXT_HEADER: u8 = 58;
const ADVERTISEMENT: u8 = 136;
const LENGTH: u8 = 32;
const FLAG_ROUTER: u8 = 0x80;
const FLAG_OVERRIDE: u8 = 0x20;
/// Target link-layer address, in units of eight bytes.
const OPTION: [u8; 2] = [2, 1];

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Speaker {
    /// The hardware address of the link.
    pub(super) hardware: [u8; 6],
    /// An address of the link, best its link-local one.
    pub(super) source: Ipv6Addr,
    /// Whether this host forwards packets on the link.
    pub(super) router: bool,
}

/// One frame to all nodes that says that `address` is at the speaker.
pub(super) fn announcement(speaker: &Speaker, address: Ipv6Addr) -> Vec<u8> {
    directed(speaker, address, (ALL_NODES, ALL_NODES_HARDWARE))
}

/// The same to one neighbour: nobody else hears it, and no switch holds it back.
pub(super) fn directed(
    speaker: &Speaker,
    address: Ipv6Addr,
    (to, to_hardware): (Ipv6Addr, [u8; 6]),
) -> Vec<u8> {
    let router = if speaker.router { FLAG_ROUTER } else { 0 };
    let mut message = Vec::with_capacity(usize::from(LENGTH));
    message.extend_from_slice(&[ADVERTISEMENT, 0, 0, 0]);
    message.extend_from_slice(&[router | FLAG_OVERRIDE, 0, 0, 0]);
    message.extend_from_slice(&address.octets());
    message.extend_from_slice(&OPTION);
    message.extend_from_slice(&speaker.hardware);
    let checksum = checksum(speaker.source, to, &message);
    message.splice(2..4, checksum.to_be_bytes());

    let mut frame = Vec::with_capacity(54 + message.len());
    frame.extend_from_slice(&to_hardware);
    frame.extend_from_slice(&speaker.hardware);
    frame.extend_from_slice(&ETHER_TYPE);
    frame.extend_from_slice(&[0x60, 0, 0, 0, 0, LENGTH, NEXT_HEADER, 255]);
    frame.extend_from_slice(&speaker.source.octets());
    frame.extend_from_slice(&to.octets());
    frame.extend_from_slice(&message);
    frame
}

/// The Internet checksum over the pseudo header (RFC 8200 8.1) and the message.
fn checksum(source: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let mut bytes = Vec::with_capacity(40 + message.len());
    bytes.extend_from_slice(&source.octets());
    bytes.extend_from_slice(&to.octets());
    bytes.extend_from_slice(&[0, 0, 0, LENGTH, 0, 0, 0, NEXT_HEADER]);
    bytes.extend_from_slice(message);
    super::internet_checksum(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEAKER: Speaker = Speaker {
        hardware: [2, 0, 0, 0, 0, 7],
        source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 7),
        router: false,
    };
    const ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 0x100);

    #[test]
    fn the_frame_is_these_bytes() {
        let expected = [
            0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 7, 0x86, 0xdd, // Ethernet
            0x60, 0, 0, 0, 0, 32, 58, 255, // IPv6
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 7, // source
            0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // destination
            136, 0, 0x58, 0x99, 0x20, 0, 0, 0, // advertisement, override
            0xfd, 0, 0, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, // target
            2, 1, 2, 0, 0, 0, 0, 7, // its hardware address
        ];
        assert_eq!(announcement(&SPEAKER, ADDRESS), expected);
    }

    #[test]
    fn a_directed_one_has_its_receiver_and_checksum() {
        let to = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 9);
        let frame = directed(&SPEAKER, ADDRESS, (to, [2, 0, 0, 0, 0, 9]));
        assert_eq!(frame[..6], [2, 0, 0, 0, 0, 9]);
        assert_eq!(frame[38..54], to.octets());
        let mut covered = frame[22..54].to_vec();
        covered.extend([0, 0, 0, 32, 0, 0, 0, 58]);
        covered.extend(&frame[54..]);
        assert_eq!(super::super::internet_checksum(&covered), 0);
    }

    #[test]
    fn a_router_says_that_it_is_one() {
        let frame = announcement(&Speaker { router: true, ..SPEAKER }, ADDRESS);
        assert_eq!(frame[58], 0xa0);
    }
}
