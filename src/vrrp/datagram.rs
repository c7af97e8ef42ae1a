//! An IP packet, as far as VRRP looks at it.
//!
//! ```text
//!  IPv4: | 4, length of the header in words | TOS | total length | id | flags, offset | TTL | 112 |
//!        | checksum | source 4 | destination 4 | options |
//!  IPv6: | 6, class, flow | payload length | 112 | hop limit | source 16 | destination 16 |
//! ```
//!
//! What follows the length that the header tells is padding of the Ethernet frame (46 bytes at
//! least) and cut off: the advertisement must have exactly its length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::refusal::Refusal;

/// The IP protocol number of VRRP.
pub const PROTOCOL: u8 = 112;
/// What an advertisement is sent with (RFC 9568 5.1.1.3).
pub const HOP_LIMIT: u8 = 255;
/// Where advertisements for IPv4 go (RFC 9568 5.1.1.2).
pub const MULTICAST_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where advertisements for IPv6 go (RFC 9568 5.1.2.2).
pub const MULTICAST_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// Of an IPv4 header without options.
const HEADER_V4: usize = 20;
/// Of an IPv6 header.
const HEADER_V6: usize = 40;

/// An IP packet with an advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who says to have sent it.
    pub source: IpAddr,
    /// Where it was sent to.
    pub destination: IpAddr,
    /// What is left of its hops.
    pub hop_limit: u8,
    /// The advertisement.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads a packet from its IP header on. IPv6 extension headers are not VRRP's.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotWhole`] for whatever is not a whole unfragmented packet of protocol 112.
    pub fn read(packet: &'a [u8]) -> Result<Self, Refusal> {
        let read = match packet.first().map(|first| first >> 4) {
            Some(4) => Self::read_v4(packet),
            Some(6) => Self::read_v6(packet),
            Some(_) | None => None,
        };
        read.ok_or(Refusal::NotWhole)
    }

    fn read_v4(packet: &'a [u8]) -> Option<Self> {
        let header: &[u8; HEADER_V4] = packet.first_chunk()?;
        let length = usize::from(header[0] & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        // Everything but "do not fragment".
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0xbfff;
        if length < HEADER_V4 || fragment != 0 || header[9] != PROTOCOL {
            return None;
        }
        let source: [u8; 4] = *header[12..].first_chunk()?;
        let destination: [u8; 4] = *header[16..].first_chunk()?;
        Some(Self {
            source: source.into(),
            destination: destination.into(),
            hop_limit: header[8],
            payload: packet.get(length..total)?,
        })
    }

    fn read_v6(packet: &'a [u8]) -> Option<Self> {
        let header: &[u8; HEADER_V6] = packet.first_chunk()?;
        if header[6] != PROTOCOL {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let source: [u8; 16] = *header[8..].first_chunk()?;
        let destination: [u8; 16] = *header[24..].first_chunk()?;
        Some(Self {
            source: source.into(),
            destination: destination.into(),
            hop_limit: header[7],
            payload: packet.get(HEADER_V6..HEADER_V6 + length)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: [u8; 24] = [
        0x45, 0xc0, 0, 22, 0, 1, 0, 0, 255, 112, 0, 0, 192, 0, 2, 11, 224, 0, 0, 18, //
        0xaa, 0xbb, 0, 0,
    ];

    #[test]
    fn padding_is_cut_and_options_are_skipped() {
        let read = Datagram::read(&V4).unwrap();
        let expected = Datagram {
            source: IpAddr::from([192, 0, 2, 11]),
            destination: MULTICAST_V4.into(),
            hop_limit: 255,
            payload: &[0xaa, 0xbb],
        };
        assert_eq!(read, expected);
        let mut options = V4.to_vec();
        options[0] = 0x46;
        options[3] = 24;
        assert_eq!(Datagram::read(&options).map(|read| read.payload.len()), Ok(0));
    }

    #[test]
    fn fragments_other_protocols_and_pieces_are_no_packets() {
        for (at, value) in [(0, 0x44), (0, 0x55), (3, 25), (3, 19), (6, 0x20), (7, 1), (9, 17)] {
            let mut bad = V4;
            bad[at] = value;
            assert_eq!(Datagram::read(&bad), Err(Refusal::NotWhole), "byte {at} is {value}");
        }
        let mut whole = V4;
        whole[6] = 0x40;
        assert!(Datagram::read(&whole).is_ok(), "do not fragment");
        for length in 0..22 {
            assert_eq!(Datagram::read(&V4[..length]), Err(Refusal::NotWhole), "{length} bytes");
        }
    }
}
