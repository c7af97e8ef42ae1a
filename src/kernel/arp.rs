//! Gratuitous ARP, probes, and who says what: the bytes only.
//!
//! ```text
//!  Ethernet: | ff:ff:ff:ff:ff:ff | own MAC | 0x0806 |
//!  ARP:      | 1 | 0x0800 | 6 | 4 | operation 2 | SHA 6 | SPA 4 | THA 6 | TPA 4 |
//!              Ethernet, IPv4       1 request:   own    VIP     zero    VIP
//!                                   2 reply:     own    VIP     own     VIP
//!                                   1 probe:     own    zero    zero    VIP   (RFC 5227 2.1.1)
//!                                   1 question:  own    own     zero    VIP   to one MAC alone
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
/// Of a message without its Ethernet header.
const LENGTH: usize = 28;

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
    frame((hardware, to), code, address, (target, address))
}

/// One frame that asks who has `address` and makes nobody believe that we have it: it has no
/// sender address.
pub(super) fn probe(hardware: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    frame((hardware, BROADCAST), 1, Ipv4Addr::UNSPECIFIED, ([0; 6], address))
}

/// One frame that asks the host at one hardware address alone whether it has `address`, from a host
/// that has `sender`. The sender is named because the answer repeats it, which no answer to a
/// [`probe`] does.
pub(super) fn question(
    hardware: [u8; 6],
    sender: Ipv4Addr,
    address: Ipv4Addr,
    to: [u8; 6],
) -> Vec<u8> {
    frame((hardware, to), 1, sender, ([0; 6], address))
}

/// One frame that asks who has `address`, from a host that has `sender`.
#[cfg(test)]
pub(super) fn request(hardware: [u8; 6], sender: Ipv4Addr, address: Ipv4Addr) -> Vec<u8> {
    question(hardware, sender, address, BROADCAST)
}

/// What the sender of an ARP message, without its Ethernet header, says of itself: that this
/// address is at that hardware address.
pub(super) fn sender(message: &[u8]) -> Option<(Ipv4Addr, [u8; 6])> {
    let kinds = message.first_chunk::<6>()?;
    let hardware = *message.get(8..)?.first_chunk::<6>()?;
    let address = Ipv4Addr::from(*message.get(14..)?.first_chunk::<4>()?);
    let said = *kinds == KINDS && matches!(message.get(6..8), Some([0, 1 | 2]));
    (said && message.len() >= LENGTH).then_some((address, hardware))
}

/// Whom an ARP message, without its Ethernet header, answers who has asked in his own name; `None`
/// for what is no answer, answers a [`probe`], or announces.
pub(super) fn answered(message: &[u8]) -> Option<Ipv4Addr> {
    let (address, _) = sender(message)?;
    let asker = Ipv4Addr::from(*message.get(24..)?.first_chunk::<4>()?);
    let reply = matches!(message.get(6..8), Some([0, 2]));
    (reply && !asker.is_unspecified() && asker != address).then_some(asker)
}

fn frame(
    (hardware, to): ([u8; 6], [u8; 6]),
    code: u8,
    sender: Ipv4Addr,
    (target, wanted): ([u8; 6], Ipv4Addr),
) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend_from_slice(&to);
    frame.extend_from_slice(&hardware);
    frame.extend_from_slice(&ETHER_TYPE);
    frame.extend_from_slice(&KINDS);
    frame.extend_from_slice(&[0, code]);
    frame.extend_from_slice(&hardware);
    frame.extend_from_slice(&sender.octets());
    frame.extend_from_slice(&target);
    frame.extend_from_slice(&wanted.octets());
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
    fn a_probe_names_no_sender() {
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 7, 0x08, 0x06, // Ethernet
            0, 1, 8, 0, 6, 4, 0, 1, // Ethernet, IPv4, request
            2, 0, 0, 0, 0, 7, 0, 0, 0, 0, // sender
            0, 0, 0, 0, 0, 0, 10, 77, 0, 100, // target
        ];
        assert_eq!(probe(HARDWARE, ADDRESS), expected);
        assert_eq!(sender(&expected[14..]), Some((Ipv4Addr::UNSPECIFIED, HARDWARE)));
    }

    #[test]
    fn a_question_names_its_sender_and_goes_to_one_host() {
        let expected = [
            2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 7, 0x08, 0x06, // Ethernet
            0, 1, 8, 0, 6, 4, 0, 1, // Ethernet, IPv4, request
            2, 0, 0, 0, 0, 7, 10, 77, 0, 12, // sender
            0, 0, 0, 0, 0, 0, 10, 77, 0, 100, // target
        ];
        let sender = Ipv4Addr::new(10, 77, 0, 12);
        assert_eq!(question(HARDWARE, sender, ADDRESS, [2, 0, 0, 0, 0, 9]), expected);
    }

    #[test]
    fn an_answer_to_who_has_named_himself_is_told_from_others() {
        let reply = |to: [u8; 4]| {
            frame((HARDWARE, [2, 0, 0, 0, 0, 9]), 2, ADDRESS, ([2, 0, 0, 0, 0, 9], to.into()))
        };
        let asker = Ipv4Addr::new(10, 77, 0, 12);
        assert_eq!(answered(&reply(asker.octets())[14..]), Some(asker));
        assert_eq!(answered(&reply([0; 4])[14..]), None, "to a probe");
        assert_eq!(answered(&reply(ADDRESS.octets())[14..]), None, "an announcement");
        let request = request(HARDWARE, ADDRESS, asker);
        assert_eq!(answered(&request[14..]), None, "a request");
        for length in 0..28 {
            assert_eq!(answered(&reply(asker.octets())[14..14 + length]), None, "{length}");
        }
    }

    #[test]
    fn only_whole_requests_and_replies_name_their_sender() {
        let frame = announcement(HARDWARE, ADDRESS, Operation::Reply);
        let message = &frame[14..];
        assert_eq!(sender(message), Some((ADDRESS, HARDWARE)));
        for length in 0..message.len() {
            assert_eq!(sender(&message[..length]), None, "cut to {length}");
        }
        for (at, wrong) in [(1, 6), (2, 0x86), (4, 8), (5, 16), (7, 3), (6, 1)] {
            let mut message = message.to_vec();
            message[at] = wrong;
            assert_eq!(sender(&message), None, "byte {at}");
        }
    }

    #[test]
    fn a_directed_one_differs_in_its_receiver_only() {
        let to = [2, 0, 0, 0, 0, 9];
        let frame = directed(HARDWARE, ADDRESS, Operation::Reply, to);
        assert_eq!(frame[..6], to);
        assert_eq!(frame[6..], announcement(HARDWARE, ADDRESS, Operation::Reply)[6..]);
    }
}
