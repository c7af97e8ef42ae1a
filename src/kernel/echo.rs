//! Echo requests in whole frames, and the replies to them: the bytes only.
//!
//! ```text
//!  Ethernet: | neighbour's MAC | own MAC | type |
//!  IP:       | ... | hop limit 64 | ICMP | source: an address of ours | the neighbour's address |
//!  ICMP:     | 8 or 128 | 0 | checksum | identifier | 0 | mark 16 |
//! ```
//!
//! The reply goes to whoever the neighbour's own cache says has the source, so a reply that arrives
//! here shows that this is us, whatever else is wrong. Two exceptions were measured. A switch
//! floods frames to a dead owner, so the frame must be for our own hardware address. And a former
//! owner that forwards packets passes the reply on to us: it lowers the hop limit and is not the
//! host that was asked. [`Reply::shows`] tells both.
//!
//! Replies are read before any packet filter of this host sees them: the requests do not pass its
//! connection tracking, which would take the replies for invalid.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use socket2::SockFilter;

/// Bytes that the neighbour sends back.
pub(super) type Mark = [u8; 16];

const ETHERNET: usize = 14;
const TYPE_V4: [u8; 2] = [0x08, 0x00];
const TYPE_V6: [u8; 2] = [0x86, 0xdd];
const HEADER_V6: usize = 40;
const ICMP_V4: u8 = 1;
const ICMP_V6: u8 = 58;
const REQUEST_V4: u8 = 8;
const REQUEST_V6: u8 = 128;
const REPLY_V4: u8 = 0;
const REPLY_V6: u8 = 129;
const HOP_LIMIT: u8 = 64;
/// Type, code, checksum, identifier, sequence.
const ICMP_HEADER: usize = 8;
/// Header and mark.
const MESSAGE_LENGTH: u8 = 24;
/// What hosts begin with; one less, and somebody has forwarded it.
const HOPS_AT_FIRST: [u8; 4] = [32, 64, 128, 255];

/// The two ends of a question, each with its hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// The address of ours that is asked about, and our hardware address.
    pub(super) own: (IpAddr, [u8; 6]),
    /// The neighbour.
    pub(super) neighbour: (IpAddr, [u8; 6]),
}

/// One frame; `None` if the ends are not of one family.
pub(super) fn request(ends: &Ends, identifier: u16, mark: &Mark) -> Option<Vec<u8>> {
    let mut message = vec![0; 4];
    message.extend(identifier.to_be_bytes());
    message.extend([0, 0]);
    message.extend(mark);
    let mut frame = Vec::with_capacity(ETHERNET + HEADER_V6 + usize::from(MESSAGE_LENGTH));
    frame.extend(ends.neighbour.1);
    frame.extend(ends.own.1);
    match (ends.own.0, ends.neighbour.0) {
        (IpAddr::V4(source), IpAddr::V4(to)) => {
            message[0] = REQUEST_V4;
            let checksum = super::internet_checksum(&message);
            message[2..4].copy_from_slice(&checksum.to_be_bytes());
            frame.extend(TYPE_V4);
            frame.extend(header_v4(source, to));
        }
        (IpAddr::V6(source), IpAddr::V6(to)) => {
            message[0] = REQUEST_V6;
            let mut covered = [source.octets(), to.octets()].concat();
            covered.extend([0, 0, 0, MESSAGE_LENGTH, 0, 0, 0, ICMP_V6]);
            covered.extend(&message);
            let checksum = super::internet_checksum(&covered);
            message[2..4].copy_from_slice(&checksum.to_be_bytes());
            frame.extend(TYPE_V6);
            frame.extend([0x60, 0, 0, 0, 0, MESSAGE_LENGTH, ICMP_V6, HOP_LIMIT]);
            frame.extend(source.octets());
            frame.extend(to.octets());
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    }
    frame.extend(message);
    Some(frame)
}

fn header_v4(source: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 20 + MESSAGE_LENGTH, 0, 0, 0, 0, HOP_LIMIT, ICMP_V4, 0, 0];
    header.extend(source.octets());
    header.extend(to.octets());
    let checksum = super::internet_checksum(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// A reply that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// Who answered.
    pub(super) from: IpAddr,
    /// The mark of the question.
    pub(super) mark: Mark,
    to: [u8; 6],
    hardware: [u8; 6],
    hops: u8,
}

impl Reply {
    /// Reads a frame that [`filter`] let pass; `None` if it is no such reply.
    pub(super) fn read(frame: &[u8], identifier: u16) -> Option<Self> {
        let (to, hardware) = (*frame.first_chunk::<6>()?, *frame.get(6..)?.first_chunk::<6>()?);
        let packet = frame.get(ETHERNET..)?;
        let first = *packet.first()?;
        let (from, hops, message): (IpAddr, u8, &[u8]) = match first >> 4 {
            4 if *packet.get(9)? == ICMP_V4 => {
                let from = Ipv4Addr::from(*packet.get(12..)?.first_chunk::<4>()?);
                let message = packet.get(usize::from(first & 0x0f) * 4..)?;
                (from.into(), *packet.get(8)?, message)
            }
            6 if *packet.get(6)? == ICMP_V6 => {
                let from = Ipv6Addr::from(*packet.get(8..)?.first_chunk::<16>()?);
                (from.into(), *packet.get(7)?, packet.get(HEADER_V6..)?)
            }
            _ => return None,
        };
        let kind = if from.is_ipv4() { REPLY_V4 } else { REPLY_V6 };
        let ours = *message.first()? == kind && message.get(4..6)? == identifier.to_be_bytes();
        let mark = *message.get(ICMP_HEADER..)?.first_chunk::<16>()?;
        ours.then_some(Self { from, mark, to, hardware, hops })
    }

    /// Whether it shows that the neighbour, which is at `theirs`, sends to us, who are at `own`:
    /// it is for us and nobody has forwarded it. A virtual router may answer from another hardware
    /// address than its neighbours know.
    pub(super) fn shows(&self, own: [u8; 6], theirs: [u8; 6]) -> bool {
        self.to == own && (self.hardware == theirs || HOPS_AT_FIRST.contains(&self.hops))
    }
}

/// Lets only replies with this identifier through to a packet socket of the family; the kernel
/// runs it on every packet that comes in, for less than a microsecond.
pub(super) fn filter(v6: bool, identifier: u16) -> Vec<SockFilter> {
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HALF: u16 = 0x28;
    const LOAD_HEADER_LENGTH: u16 = 0xb1;
    const LOAD_BYTE_BEHIND: u16 = 0x50;
    const LOAD_HALF_BEHIND: u16 = 0x48;
    const IF_EQUAL: u16 = 0x15;
    const IF_ANY_BIT: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FRAGMENT: u32 = 0x1fff;
    const WHOLE: u32 = 0xffff;
    let step = SockFilter::new;
    let identifier = u32::from(identifier);
    let ethernet = 14;
    if v6 {
        vec![
            step(LOAD_BYTE, 0, 0, ethernet + 6),
            step(IF_EQUAL, 0, 5, u32::from(ICMP_V6)),
            step(LOAD_BYTE, 0, 0, ethernet + 40),
            step(IF_EQUAL, 0, 3, u32::from(REPLY_V6)),
            step(LOAD_HALF, 0, 0, ethernet + 40 + 4),
            step(IF_EQUAL, 0, 1, identifier),
            step(RETURN, 0, 0, WHOLE),
            step(RETURN, 0, 0, 0),
        ]
    } else {
        vec![
            step(LOAD_BYTE, 0, 0, ethernet + 9),
            step(IF_EQUAL, 0, 8, u32::from(ICMP_V4)),
            step(LOAD_HALF, 0, 0, ethernet + 6),
            step(IF_ANY_BIT, 6, 0, FRAGMENT),
            step(LOAD_HEADER_LENGTH, 0, 0, ethernet),
            step(LOAD_BYTE_BEHIND, 0, 0, ethernet),
            step(IF_EQUAL, 0, 3, u32::from(REPLY_V4)),
            step(LOAD_HALF_BEHIND, 0, 0, ethernet + 4),
            step(IF_EQUAL, 0, 1, identifier),
            step(RETURN, 0, 0, WHOLE),
            step(RETURN, 0, 0, 0),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const MARK: Mark = *b"0123456789abcdef";

    fn ends(own: &str, neighbour: &str) -> Ends {
        Ends { own: (own.parse().unwrap(), OWN), neighbour: (neighbour.parse().unwrap(), THEIRS) }
    }

    /// What the neighbour makes of a request.
    fn answered(ends: &Ends) -> Vec<u8> {
        let mut frame = request(ends, 0x6275, &MARK).unwrap();
        frame[..6].copy_from_slice(&OWN);
        frame[6..12].copy_from_slice(&THEIRS);
        if ends.own.0.is_ipv4() {
            let (source, to) = ([26, 27, 28, 29], [30, 31, 32, 33]);
            source.into_iter().zip(to).for_each(|(one, other)| frame.swap(one, other));
            frame[34] = REPLY_V4;
        } else {
            (22..38).for_each(|at| frame.swap(at, at + 16));
            frame[54] = REPLY_V6;
        }
        frame
    }

    #[test]
    fn the_frames_are_these_bytes() {
        let expected = [
            2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x08, 0, // Ethernet
            0x45, 0, 0, 44, 0, 0, 0, 0, 64, 1, 0x65, 0xc1, 10, 77, 0, 100, 10, 77, 0,
            9, // IPv4
            8, 0, 0xb6, 0xe7, 0x62, 0x75, 0, 0, // echo request
            b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7', b'8', b'9', b'a', b'b', b'c', b'd',
            b'e', b'f',
        ];
        let frame = request(&ends("10.77.0.100", "10.77.0.9"), 0x6275, &MARK).unwrap();
        assert_eq!(frame[..14], expected[..14]);
        assert_eq!(super::super::internet_checksum(&frame[14..34]), 0);
        assert_eq!(super::super::internet_checksum(&frame[34..]), 0);
        for (at, (found, wanted)) in frame.iter().zip(expected).enumerate() {
            let checksum = [24, 25, 36, 37].contains(&at);
            assert!(checksum || *found == wanted, "byte {at}: {found} instead of {wanted}");
        }
        assert_eq!(frame.len(), expected.len());

        let frame = request(&ends("fd77::100", "fd77::9"), 0x6275, &MARK).unwrap();
        assert_eq!(frame[12..22], [0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 64]);
        let mut covered = frame[22..54].to_vec();
        covered.extend([0, 0, 0, 24, 0, 0, 0, 58]);
        covered.extend(&frame[54..]);
        assert_eq!(super::super::internet_checksum(&covered), 0);
        assert_eq!(request(&ends("fd77::100", "10.77.0.9"), 1, &MARK), None);
    }

    #[test]
    fn a_reply_is_known_by_kind_and_identifier_at_any_length() {
        for (own, neighbour) in [("10.77.0.100", "10.77.0.9"), ("fd77::100", "fd77::9")] {
            let ends = ends(own, neighbour);
            let frame = answered(&ends);
            let reply = Reply::read(&frame, 0x6275).unwrap();
            assert_eq!((reply.from, reply.mark), (ends.neighbour.0, MARK));
            assert_eq!(Reply::read(&frame, 0x6276), None);
            assert_eq!(Reply::read(&request(&ends, 0x6275, &MARK).unwrap(), 0x6275), None);
            for length in 0..frame.len() {
                assert_eq!(Reply::read(&frame[..length], 0x6275), None, "cut to {length}");
            }
        }
    }

    #[test]
    fn a_reply_that_was_forwarded_or_flooded_shows_nothing() {
        let reply = Reply::read(&answered(&ends("10.77.0.100", "10.77.0.9")), 0x6275).unwrap();
        let former_owner = [2, 0, 0, 0, 0, 2];
        assert!(reply.shows(OWN, THEIRS));
        assert!(reply.shows(OWN, former_owner), "a virtual router answers from its own");
        let forwarded = Reply { hops: 63, hardware: former_owner, ..reply };
        assert!(!forwarded.shows(OWN, THEIRS));
        assert!(
            Reply { hops: 63, ..reply }.shows(OWN, THEIRS),
            "some hosts begin with odd numbers"
        );
        assert!(!Reply { to: former_owner, ..reply }.shows(OWN, THEIRS));
    }
}
