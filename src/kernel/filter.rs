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

// Load a word, a half, a byte at a fixed offset; mask; jump if equal; return.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// One instruction: code, jump if true, jump if false, operand.
type Instruction = (u16, u8, u8, u32);

/// Passes ARP of Ethernet and IPv4 whose sender has one of these addresses.
pub(super) fn arp(addresses: &BTreeSet<IpAddr>) -> Vec<SockFilter> {
    let kind = [(LOAD_WORD, 0, 0x0001_0800), (LOAD_HALF, 4, 0x0604)];
    assemble(&program(&kind, 14, &keys(addresses, false)))
}

/// Passes ARP requests for one of these addresses.
pub(super) fn arp_request(addresses: &BTreeSet<IpAddr>) -> Vec<SockFilter> {
    let kind = [(LOAD_WORD, 0, 0x0001_0800), (LOAD_HALF, 4, 0x0604), (LOAD_HALF, 6, 1)];
    assemble(&program(&kind, 24, &keys(addresses, false)))
}

/// Passes neighbour solicitations for one of these addresses.
pub(super) fn solicitation(addresses: &BTreeSet<IpAddr>) -> Vec<SockFilter> {
    let kind = [(LOAD_BYTE, 6, 58), (LOAD_BYTE, 7, 255), (LOAD_BYTE, 40, 135)];
    assemble(&program(&kind, 60, &keys(addresses, true)))
}

/// Passes neighbour advertisements of one of these addresses.
pub(super) fn advertisement(addresses: &BTreeSet<IpAddr>) -> Vec<SockFilter> {
    let kind = [(LOAD_BYTE, 6, 58), (LOAD_BYTE, 7, 255), (LOAD_BYTE, 40, 136)];
    assemble(&program(&kind, 60, &keys(addresses, true)))
}

/// Passes VRRP, whose number stands here in the IP header.
pub(super) fn router(at: u32) -> Vec<SockFilter> {
    let protocol = u32::from(crate::vrrp::PROTOCOL);
    assemble(&[
        (LOAD_BYTE, 0, 0, at),
        (JUMP_EQUAL, 0, 1, protocol),
        (RETURN, 0, 0, ALL),
        (RETURN, 0, 0, 0),
    ])
}

/// Passes nothing.
pub(super) fn nothing() -> Vec<SockFilter> {
    assemble(&[(RETURN, 0, 0, 0)])
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

fn program(kind: &[(u16, u32, u32)], at: u32, keys: &BTreeSet<u32>) -> Vec<Instruction> {
    let (mask, keys) = coarsened(keys);
    let mut program = Vec::new();
    for (load, offset, wanted) in kind {
        program.push((*load, 0, 0, *offset));
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
        program(&[(LOAD_WORD, 0, 0x0001_0800), (LOAD_HALF, 4, 0x0604)], 14, &keys(addresses, false))
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
            &[(LOAD_BYTE, 6, 58), (LOAD_BYTE, 7, 255), (LOAD_BYTE, 40, 136)],
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
