//! Programs that let a packet socket see only what is said about our addresses.
//!
//! Classic BPF, run by the kernel for every frame before anything is copied: an ARP or IPv6 packet
//! that does not concern us costs some instructions and wakes nobody. `claimants` attaches them and
//! looks again at what passes, because with many addresses only their leading bits are compared.
//!
//! ```text
//!   kind of packet?  --no--> drop        (four comparisons at most)
//!   last 32 bits of the address said, masked, in the list?  --no--> drop
//!   pass
//! ```
//!
//! Offsets count from the network header: the sockets are of type `SOCK_DGRAM`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use socket2::SockFilter;

/// Keys compared one by one: 8 KiB of program, below the 20 KiB that a socket may have at least
/// (`net.core.optmem_max`), and less than a microsecond for a frame that passes no comparison.
const KEYS_MAX: usize = 500;
/// With more addresses than [`KEYS_MAX`] only so many of their leading bits are compared.
const PRECISION: [u32; 4] = [32, 24, 16, 0];
const ALL: u32 = u32::MAX;
/// TCP, and its flags (RFC 9293 3.1).
const TCP: u32 = 6;
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;
/// More fragments, and the place of a fragment (RFC 791 3.1).
const NOT_WHOLE: u32 = 0x3fff;

// Load a word, a half, a byte at a fixed offset; mask; jump if equal; return.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// One instruction: code, jump if true, jump if false, operand.
type Instruction = (u16, u8, u8, u32);

/// What a packet must have: how to load it and where, which bits, and their value.
type Mark = (u16, u32, u32, u32);

const OF_ARP: [Mark; 2] = [(LOAD_WORD, 0, ALL, 0x0001_0800), (LOAD_HALF, 4, ALL, 0x0604)];
const OF_ADVERTISEMENT: [Mark; 3] =
    [(LOAD_BYTE, 6, ALL, 58), (LOAD_BYTE, 7, ALL, 255), (LOAD_BYTE, 40, ALL, 136)];
/// What the kernel knows of a packet besides its bytes (`SKF_AD_PROTOCOL`, `SKF_AD_PKTTYPE`).
const PROTOCOL: u32 = 0xffff_f000;
const KIND: u32 = 0xffff_f004;
/// It is for this host (`PACKET_HOST`).
const FOR_US: u32 = 0;
/// A whole packet without options: its segment begins after 20 bytes.
const OF_FIRST4: [Mark; 6] = [
    (LOAD_HALF, PROTOCOL, ALL, 0x0800),
    (LOAD_BYTE, KIND, ALL, FOR_US),
    (LOAD_BYTE, 0, ALL, 0x45),
    (LOAD_HALF, 6, NOT_WHOLE, 0),
    (LOAD_BYTE, 9, ALL, TCP),
    (LOAD_BYTE, 20 + 13, SYN | ACK, SYN),
];
const OF_FIRST6: [Mark; 4] = [
    (LOAD_HALF, PROTOCOL, ALL, 0x86dd),
    (LOAD_BYTE, KIND, ALL, FOR_US),
    (LOAD_BYTE, 6, ALL, TCP),
    (LOAD_BYTE, 40 + 13, SYN | ACK, SYN),
];

/// Passes ARP of Ethernet and IPv4 whose sender has one of these addresses.
pub(super) fn arp(addresses: &BTreeSet<IpAddr>) -> Vec<SockFilter> {
    assemble(&program(&OF_ARP, 14, &keys(addresses, false)))
}

/// Passes neighbour advertisements of one of these addresses.
pub(super) fn advertisement(addresses: &BTreeSet<IpAddr>) -> Vec<SockFilter> {
    assemble(&program(&OF_ADVERTISEMENT, 60, &keys(addresses, true)))
}

/// For sockets of all protocols: pass the first packet of each TCP connection to one of these addresses (SYN and not ACK), over
/// IPv4 without options and over IPv6 without extension headers.
pub(super) fn first_packets(addresses: &BTreeSet<IpAddr>) -> [Vec<SockFilter>; 2] {
    [
        assemble(&program(&OF_FIRST4, 16, &keys(addresses, false))),
        assemble(&program(&OF_FIRST6, 36, &keys(addresses, true))),
    ]
}

/// The last 32 bits of the addresses of one family.
fn keys(addresses: &BTreeSet<IpAddr>, six: bool) -> BTreeSet<u32> {
    let key = |address: &IpAddr| match address {
        IpAddr::V4(address) => (!six).then(|| address.to_bits()),
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            six.then(|| u32::from_be_bytes([a, b, c, d]))
        }
    };
    addresses.iter().filter_map(key).collect()
}

fn program(kind: &[Mark], at: u32, keys: &BTreeSet<u32>) -> Vec<Instruction> {
    let (mask, keys) = coarsened(keys);
    let mut program = Vec::new();
    for (load, offset, bits, wanted) in kind {
        program.push((*load, 0, 0, *offset));
        if *bits != ALL {
            program.push((AND, 0, 0, *bits));
        }
        program.push((JUMP_EQUAL, 1, 0, *wanted));
        program.push((RETURN, 0, 0, 0));
    }
    program.push((LOAD_WORD, 0, 0, at));
    program.push((AND, 0, 0, mask));
    for key in keys {
        program.push((JUMP_EQUAL, 0, 1, key));
        program.push((RETURN, 0, 0, ALL));
    }
    program.push((RETURN, 0, 0, 0));
    program
}

/// As many leading bits of the keys as make them few enough, with the mask of these bits.
fn coarsened(keys: &BTreeSet<u32>) -> (u32, BTreeSet<u32>) {
    let masked = PRECISION.iter().map(|bits| {
        let mask = ALL.checked_shl(32 - bits).unwrap_or(0);
        (mask, keys.iter().map(|key| key & mask).collect::<BTreeSet<u32>>())
    });
    masked.into_iter().find(|(_, keys)| keys.len() <= KEYS_MAX).unwrap_or_default()
}

fn assemble(program: &[Instruction]) -> Vec<SockFilter> {
    program
        .iter()
        .map(|(code, yes, no, operand)| SockFilter::new(*code, *yes, *no, *operand))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel does.
    fn passes(program: &[Instruction], packet: &[u8]) -> bool {
        let (mut at, mut value) = (0, 0);
        loop {
            let (code, yes, no, operand) = program[at];
            at += 1;
            let place = usize::try_from(operand).unwrap();
            let word = |length: usize| {
                let bytes = packet.get(place..place + length)?;
                Some(bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)))
            };
            match code {
                LOAD_HALF if operand == PROTOCOL => {
                    value = if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
                }
                LOAD_BYTE if operand == KIND => value = FOR_US,
                LOAD_WORD | LOAD_HALF | LOAD_BYTE => {
                    let length =
                        if code == LOAD_WORD { 4 } else { 1 + usize::from(code == LOAD_HALF) };
                    // Reading beyond the end of a packet drops it.
                    let Some(loaded) = word(length) else { return false };
                    value = loaded;
                }
                AND => value &= operand,
                JUMP_EQUAL => at += usize::from(if value == operand { yes } else { no }),
                RETURN => return operand > 0,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn arp_from(sender: [u8; 4]) -> Vec<u8> {
        let frame = super::super::arp::announcement(
            [2, 0, 0, 0, 0, 7],
            sender.into(),
            super::super::arp::Operation::Reply,
        );
        frame[14..].to_vec()
    }

    fn arp_program(addresses: &BTreeSet<IpAddr>) -> Vec<Instruction> {
        program(&OF_ARP, 14, &keys(addresses, false))
    }

    #[test]
    fn only_senders_with_our_addresses_pass() {
        let ours = BTreeSet::from([IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 9])]);
        let program = arp_program(&ours);
        assert!(passes(&program, &arp_from([10, 0, 0, 1])));
        assert!(passes(&program, &arp_from([10, 0, 0, 9])));
        assert!(!passes(&program, &arp_from([10, 0, 0, 2])));
        assert!(!passes(&program, &arp_from([0, 0, 0, 0])), "a probe");
        assert!(!passes(&program, &arp_from([10, 0, 0, 1])[..17]), "cut short");
        let mut other = arp_from([10, 0, 0, 1]);
        other[3] = 6;
        assert!(!passes(&program, &other), "another protocol");
        assert!(!passes(&arp_program(&BTreeSet::new()), &arp_from([10, 0, 0, 1])));
    }

    #[test]
    fn only_advertisements_of_our_addresses_pass() {
        let ours: IpAddr = "fd77::100".parse().unwrap();
        let program = program(
            &OF_ADVERTISEMENT,
            60,
            &keys(&BTreeSet::from([ours, IpAddr::from([10, 0, 0, 1])]), true),
        );
        let advertised = |text: &str| {
            let speaker = super::super::ndp::Speaker {
                hardware: [2, 0, 0, 0, 0, 7],
                source: "fe80::7".parse().unwrap(),
                router: false,
            };
            super::super::ndp::announcement(&speaker, text.parse().unwrap())[14..].to_vec()
        };
        assert!(passes(&program, &advertised("fd77::100")));
        assert!(!passes(&program, &advertised("fd77::101")));
        let mut echo = advertised("fd77::100");
        echo[40] = 128;
        assert!(!passes(&program, &echo));
    }

    #[test]
    fn only_first_packets_to_our_addresses_pass() {
        const FLAGS: usize = 20 + 13;
        let packet = |to: [u8; 4], flags: u8| {
            let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 9];
            packet.extend(to);
            packet
                .extend([0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 4, 0, 0, 0, 0, 0]);
            packet
        };
        let ours = [10, 0, 0, 1];
        let four = program(&OF_FIRST4, 16, &keys(&BTreeSet::from([ours.into()]), false));
        assert!(passes(&four, &packet(ours, 0x02)));
        assert!(passes(&four, &packet(ours, 0xc2)), "with congestion notification");
        assert!(!passes(&four, &packet(ours, 0x12)), "an answer");
        assert!(!passes(&four, &packet(ours, 0x10)), "of a connection that is there");
        assert!(!passes(&four, &packet([10, 0, 0, 2], 0x02)), "another's");
        assert!(!passes(&four, &packet(ours, 0x02)[..FLAGS]), "cut short");
        for (place, value) in [(0, 0x46), (6, 0x20), (7, 1), (9, 17)] {
            let mut other = packet(ours, 0x02);
            other[place] = value;
            assert!(!passes(&four, &other), "{place}");
        }

        let address: IpAddr = "fd77::100".parse().unwrap();
        let six = program(&OF_FIRST6, 36, &keys(&BTreeSet::from([address]), true));
        let mut packet = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
        packet.extend([0; 30]);
        packet.extend([1, 0]);
        packet.extend([0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 4, 0, 0, 0, 0, 0]);
        assert!(passes(&six, &packet));
        packet[40 + 13] = 0x11;
        assert!(!passes(&six, &packet));
    }

    #[test]
    fn with_very_many_addresses_their_networks_are_compared() {
        let many: BTreeSet<IpAddr> = (0..8192_u32)
            .map(|number| std::net::Ipv4Addr::from(0x0a00_0000 + number).into())
            .collect();
        let program = arp_program(&many);
        assert!(program.len() < 2 * KEYS_MAX + 20, "{} instructions", program.len());
        assert!(passes(&program, &arp_from([10, 0, 31, 255])));
        assert!(!passes(&program, &arp_from([10, 0, 32, 0])));
    }
}
