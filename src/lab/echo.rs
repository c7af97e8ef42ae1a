//! Echo requests and what is recognised as their answer. Pure bytes.
//!
//! The payload says which probe it is, because the 16-bit sequence number of ICMP is too short
//! for a long run and the kernel returns the payload unchanged:
//!
//! ```text
//!  0       1       2               4               6               8
//! +-------+-------+---------------+---------------+---------------+
//! | type  | code  |   checksum    |  identifier   |   sequence    |   ICMP, ICMPv6
//! +-------+-------+---------------+---------------+---------------+
//! |     target (index, 4)         |       number of probe (4)     |   payload
//! +-------------------------------+-------------------------------+
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of one request.
pub const REQUEST_LENGTH: usize = 16;

const ETHERNET_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_ICMPV6: u8 = 58;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// An answered probe, as a frame told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which of the probed addresses was meant.
    pub target: u32,
    /// Which probe to it.
    pub number: u32,
    /// The address that answered.
    pub address: IpAddr,
    /// The interface that sent the frame.
    pub mac: Mac,
}

/// Builds a request. The checksum of ICMPv6 is left to the kernel, which insists on it.
#[must_use]
pub fn request(ipv6: bool, identifier: u16, target: u32, number: u32) -> [u8; REQUEST_LENGTH] {
    let mut bytes = [0; REQUEST_LENGTH];
    bytes[0] = if ipv6 { 128 } else { 8 };
    bytes[4..6].copy_from_slice(&identifier.to_be_bytes());
    let [_, _, high, low] = number.to_be_bytes();
    bytes[6..8].copy_from_slice(&[high, low]);
    bytes[8..12].copy_from_slice(&target.to_be_bytes());
    bytes[12..16].copy_from_slice(&number.to_be_bytes());
    if !ipv6 {
        let sum = checksum(&bytes);
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}

/// Reads an answer to a request with our identifier out of an Ethernet frame.
#[must_use]
pub fn answer(frame: &[u8], identifier: u16) -> Option<Answer> {
    let mac: Mac = frame.get(6..12)?.try_into().ok()?;
    let packet = frame.get(ETHERNET_HEADER..)?;
    let (address, icmp, reply) = match frame.get(12..14)? {
        [0x08, 0x00] => {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
            if *packet.get(9)? != PROTOCOL_ICMP {
                return None;
            }
            (IpAddr::V4(Ipv4Addr::from(source)), packet.get(header..)?, 0)
        }
        [0x86, 0xdd] => {
            let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
            if *packet.get(6)? != PROTOCOL_ICMPV6 {
                return None;
            }
            (IpAddr::V6(Ipv6Addr::from(source)), packet.get(IPV6_HEADER..)?, 129)
        }
        _ => return None,
    };
    let ours = *icmp.first()? == reply && *icmp.get(4..6)? == identifier.to_be_bytes();
    let target = u32::from_be_bytes(icmp.get(8..12)?.try_into().ok()?);
    let number = u32::from_be_bytes(icmp.get(12..16)?.try_into().ok()?);
    ours.then_some(Answer { target, number, address, mac })
}

/// Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks_exact(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = sum.to_be_bytes();
    !u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ethertype: [u8; 2], header: &[u8], icmp: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 7];
        frame.extend(ethertype);
        frame.extend(header);
        frame.extend(icmp);
        frame
    }

    fn header_v4(source: [u8; 4]) -> [u8; 20] {
        let mut header = [0; 20];
        header[0] = 0x45;
        header[9] = PROTOCOL_ICMP;
        header[12..16].copy_from_slice(&source);
        header
    }

    #[test]
    fn checksum_of_a_request_verifies_to_zero() {
        let bytes = request(false, 0xabcd, 7, 100_000);
        assert_eq!(checksum(&bytes), 0);
    }

    #[test]
    fn answer_is_read_with_its_sender() {
        let mut icmp = request(false, 5, 3, 70_001);
        icmp[0] = 0;
        let read = answer(&frame([8, 0], &header_v4([10, 77, 0, 100]), &icmp), 5).unwrap();
        assert_eq!((read.target, read.number, read.mac), (3, 70_001, [2, 0, 0, 0, 0, 7]));
        assert_eq!(read.address, IpAddr::from([10, 77, 0, 100]));
    }

    #[test]
    fn answer_over_ipv6_is_read() {
        let mut header = [0; 40];
        header[6] = PROTOCOL_ICMPV6;
        header[8] = 0xfd;
        let mut icmp = request(true, 5, 0, 1);
        icmp[0] = 129;
        let read = answer(&frame([0x86, 0xdd], &header, &icmp), 5).unwrap();
        assert_eq!(read.address, "fd00::".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn foreign_and_short_frames_are_not_answers() {
        let icmp = request(false, 5, 3, 1);
        let whole = frame([8, 0], &header_v4([10, 0, 0, 1]), &icmp);
        assert_eq!(answer(&whole, 5), None, "a request is not an answer");
        let mut reply = icmp;
        reply[0] = 0;
        let whole = frame([8, 0], &header_v4([10, 0, 0, 1]), &reply);
        assert_eq!(answer(&whole, 6), None, "somebody else's identifier");
        for length in 0..whole.len() {
            assert_eq!(answer(&whole[..length], 5), None, "cut to {length} bytes");
        }
    }
}
