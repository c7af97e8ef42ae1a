//! Unsolicited neighbour advertisements (RFC 4861 4.4 and 7.2.6), solicitations (4.3), and what
//! advertisements of others say: the bytes only.
//!
//! ```text
//!  Ethernet: | 33:33:00:00:00:01 | own MAC | 0x86dd |
//!  IPv6:     | 6 ... | length 32 | next 58 | hop limit 255 | source | ff02::1 |
//!  ICMPv6:   | 136 | 0 | checksum 2 | R S O 0... 4 | target: VIP 16 | 2 | 1 | own MAC 6 |
//!
//!  question: to 33:33:ff:.., ff02::1:ff..: | 135 | 0 | checksum | 0 4 | VIP 16 | 1 | 1 | own MAC |
//! ```
//!
//! to one host: its MAC, the VIP                                                    the same
//!
//! Override is set and the target's hardware address is given: without either, Linux does not
//! replace the entry it has. The router flag has to say what is true of this host: a neighbour that
//! used the VIP as its router drops it when told that it is none.

use std::net::Ipv6Addr;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_HARDWARE: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ETHER_TYPE: [u8; 2] = [0x86, 0xdd];
const NEXT_HEADER: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const LENGTH: u8 = 32;
/// Of an IPv6 header.
const HEADER: usize = 40;
const HOP_LIMIT: u8 = 255;
const FLAG_ROUTER: u8 = 0x80;
const FLAG_OVERRIDE: u8 = 0x20;
/// Target link-layer address, in units of eight bytes.
const OPTION: [u8; 2] = [2, 1];
/// The same of the source.
const SOURCE_OPTION: [u8; 2] = [1, 1];

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
    frame(speaker, (to_hardware, to), message)
}

/// One frame that asks who has `address`. The answer comes to the speaker's source.
pub(super) fn solicitation(speaker: &Speaker, address: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = address.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    frame(speaker, ([0x33, 0x33, 0xff, a, b, c], group), question(speaker, address))
}

/// One frame that asks the host at one hardware address alone whether it has `address`, as a
/// neighbour does that wants to know whether it is still there (RFC 4861 7.3.3).
pub(super) fn directed_solicitation(speaker: &Speaker, address: Ipv6Addr, to: [u8; 6]) -> Vec<u8> {
    frame(speaker, (to, address), question(speaker, address))
}

fn question(speaker: &Speaker, address: Ipv6Addr) -> Vec<u8> {
    let mut message = Vec::with_capacity(usize::from(LENGTH));
    message.extend_from_slice(&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
    message.extend_from_slice(&address.octets());
    message.extend_from_slice(&SOURCE_OPTION);
    message.extend_from_slice(&speaker.hardware);
    message
}

/// What an IPv6 packet says if it is an advertisement: that the address is at the hardware address
/// named in it, or else at that of its sender.
pub(super) fn advertised(packet: &[u8]) -> Option<(Ipv6Addr, Option<[u8; 6]>)> {
    let header = packet.first_chunk::<HEADER>()?;
    let message = packet.get(HEADER..)?;
    if (header[6], header[7]) != (NEXT_HEADER, HOP_LIMIT) || message.first() != Some(&ADVERTISEMENT)
    {
        return None;
    }
    let target = Ipv6Addr::from(*message.get(8..)?.first_chunk::<16>()?);
    let mut options = message.get(24..).unwrap_or_default();
    while let [kind, units, ..] = options {
        let length = usize::from(*units) * 8;
        if [*kind, *units] == OPTION {
            let hardware = options.get(2..).and_then(|rest| rest.first_chunk::<6>());
            return Some((target, hardware.copied()));
        }
        // An option without length would never end.
        options = options.get(length.max(8)..).unwrap_or_default();
    }
    Some((target, None))
}

/// Whom an advertisement answers that may answer a [`directed_solicitation`]: it names no hardware
/// address, which Linux names in every other (`ndisc_recv_ns`), and switches that answer for hosts
/// have to name (RFC 4861 7.2.4).
pub(super) fn answered(packet: &[u8]) -> Option<Ipv6Addr> {
    let (_, hardware) = advertised(packet)?;
    let receiver = Ipv6Addr::from(*packet.get(24..)?.first_chunk::<16>()?);
    (hardware.is_none() && !receiver.is_multicast()).then_some(receiver)
}

/// Who asks in an IPv6 packet, if it is a solicitation.
pub(super) fn solicitor(packet: &[u8]) -> Option<Ipv6Addr> {
    let header = packet.first_chunk::<HEADER>()?;
    let message = packet.get(HEADER..)?;
    let asks = (header[6], header[7]) == (NEXT_HEADER, HOP_LIMIT)
        && message.first() == Some(&SOLICITATION);
    let source = *packet.get(8..)?.first_chunk::<16>()?;
    asks.then_some(Ipv6Addr::from(source))
}

fn frame(
    speaker: &Speaker,
    (hardware, destination): ([u8; 6], Ipv6Addr),
    mut message: Vec<u8>,
) -> Vec<u8> {
    let checksum = checksum(speaker.source, destination, &message);
    message.splice(2..4, checksum.to_be_bytes());

    let mut frame = Vec::with_capacity(54 + message.len());
    frame.extend_from_slice(&hardware);
    frame.extend_from_slice(&speaker.hardware);
    frame.extend_from_slice(&ETHER_TYPE);
    frame.extend_from_slice(&[0x60, 0, 0, 0, 0, LENGTH, NEXT_HEADER, HOP_LIMIT]);
    frame.extend_from_slice(&speaker.source.octets());
    frame.extend_from_slice(&destination.octets());
    frame.extend_from_slice(&message);
    frame
}

/// The Internet checksum over the pseudo header (RFC 8200 8.1) and the message.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let mut bytes = Vec::with_capacity(40 + message.len());
    bytes.extend_from_slice(&source.octets());
    bytes.extend_from_slice(&destination.octets());
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

    #[test]
    fn a_question_goes_to_the_group_of_the_address_alone() {
        let frame = solicitation(&SPEAKER, ADDRESS);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0, 1, 0]);
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0x100);
        assert_eq!(frame[38..54], group.octets());
        assert_eq!(frame[54], SOLICITATION);
        assert_eq!(frame[62..78], ADDRESS.octets());
        assert_eq!(frame[78..], [1, 1, 2, 0, 0, 0, 0, 7]);
        // Over a message that holds its checksum the checksum is zero.
        assert_eq!(checksum(SPEAKER.source, group, &frame[54..]), 0);
    }

    #[test]
    fn a_question_to_one_host_goes_to_its_hardware_and_to_the_address() {
        let to = [2, 0, 0, 0, 0, 9];
        let frame = directed_solicitation(&SPEAKER, ADDRESS, to);
        assert_eq!(frame[..6], to);
        assert_eq!(frame[38..54], ADDRESS.octets());
        let question = solicitation(&SPEAKER, ADDRESS);
        assert_eq!(frame[58..], question[58..], "the same but for the checksum");
        assert_eq!(checksum(SPEAKER.source, ADDRESS, &frame[54..]), 0);
    }

    #[test]
    fn an_answer_that_names_no_hardware_is_to_a_question_to_one_host() {
        let of = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
        let frame = directed(&SPEAKER, ADDRESS, (of, [2, 0, 0, 0, 0, 9]));
        assert_eq!(answered(&frame[14..]), None, "it names its hardware address");
        assert_eq!(answered(&frame[14..78]), Some(of));
        let frame = announcement(&SPEAKER, ADDRESS);
        assert_eq!(answered(&frame[14..78]), None, "to all nodes");
        assert_eq!(answered(&frame[14..77]), None, "cut off");
    }

    #[test]
    fn advertisements_are_understood_and_nothing_else_is() {
        let frame = announcement(&SPEAKER, ADDRESS);
        let packet = &frame[14..];
        assert_eq!(advertised(packet), Some((ADDRESS, Some(SPEAKER.hardware))));
        assert_eq!(advertised(&packet[..64]), Some((ADDRESS, None)), "it names no hardware");
        for length in 0..64 {
            assert_eq!(advertised(&packet[..length]), None, "cut to {length}");
        }
        for (at, wrong) in [(6, 17), (7, 64), (40, 135)] {
            let mut packet = packet.to_vec();
            packet[at] = wrong;
            assert_eq!(advertised(&packet), None, "byte {at}");
        }
        let mut endless = packet[..64].to_vec();
        endless.extend([14, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(advertised(&endless), Some((ADDRESS, None)));
    }
}
