//! TCP sockets of this host by local address, as the kernel's socket diagnosis tells of them.
//!
//! The common form of those who ask: `destroy` ends connections of addresses that go, `connections`
//! counts those of all groups. One dump, filtered within the kernel:
//!
//! ```text
//!   request (60 bytes): | family 0 | 0 | 0 | 0 | socket id 48 | states 4 | 0 |  filter attribute
//!   filter, per address:  | 7 | yes | no 2 | family | length | 0 | port -1 | address |
//!                         | 1 | 4 | to the end 2 |            (jump, not after the last one)
//!   found:     | family | state | . | . | socket id 48 | ...
//!   socket id: | port 2 | peer's port 2 | address 16 | peer's address 16 | interface 4 | cookie 8 |
//! ```
//!
//! The request is the older of the two that exist, because it covers IPv4 and IPv6 sockets in one
//! walk of the kernel's table; IPv4 connections of IPv6 sockets are found too, and told as IPv4.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::links::ip;
use super::scoped::Scoped;
use crate::netlink::{Message, append_attribute};
use crate::protocol::Connection;

/// Asks for sockets; also the kind of each answer.
pub(super) const GET_SOCKETS: u16 = 18;
/// Data can flow in both directions.
pub(super) const ESTABLISHED: u32 = 1 << 1;
/// All but closed, listening and waiting for the end of time: established, opening, closing.
pub(super) const OPEN: u32 =
    ESTABLISHED | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
/// Bytes that name a socket.
pub(super) const SOCKET_ID: usize = 48;

/// With more addresses than these every socket is looked at here instead.
const FILTERED_MAX: usize = 64;
const FILTER: u16 = 1;
const MATCH_SOURCE: u8 = 7;
const JUMP: u8 = 1;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;

/// One socket, as the kernel wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) family: u8,
    pub(super) identity: [u8; SOCKET_ID],
}

impl Socket {
    /// Reads one answer; `None` if it is none.
    pub(super) fn read(message: &Message<'_>) -> Option<Self> {
        if message.kind != GET_SOCKETS {
            return None;
        }
        let family = *message.body.first()?;
        let identity = *message.body.get(4..)?.first_chunk::<SOCKET_ID>()?;
        Some(Self { family, identity })
    }

    /// The address and port here.
    pub(super) fn local(&self) -> Option<(IpAddr, u16)> {
        self.end(0, 4)
    }

    /// What the address here can mean. A connection to a link-local address knows its link, unless
    /// its client is elsewhere; then it can be that of any.
    pub(super) fn scopes(&self) -> Option<RangeInclusive<Scoped>> {
        let (address, _) = self.local()?;
        let link = self.identity.get(36..)?.first_chunk().copied().map(u32::from_ne_bytes)?;
        let last = if link == 0 { u32::MAX } else { link };
        Some(Scoped::at(address, link)..=Scoped::at(address, last))
    }

    /// The address and port of the other side.
    pub(super) fn remote(&self) -> Option<(IpAddr, u16)> {
        self.end(2, 20)
    }

    /// Both ends, as the protocol names them.
    pub(super) fn connection(&self) -> Option<Connection> {
        let ((address, port), (client, client_port)) = (self.local()?, self.remote()?);
        Some(Connection { address, port, client, client_port })
    }

    fn end(&self, port: usize, address: usize) -> Option<(IpAddr, u16)> {
        let port = u16::from_be_bytes(*self.identity.get(port..)?.first_chunk()?);
        Some((ip(self.family, self.identity.get(address..)?)?.to_canonical(), port))
    }
}

/// The body of a request for the sockets in these states with any of these local addresses. Of
/// other addresses some may be told all the same: the caller looks at [`Socket::local`].
pub(super) fn request(addresses: &[IpAddr], states: u32) -> Vec<u8> {
    let mut body = vec![0; 4 + SOCKET_ID];
    body.extend_from_slice(&states.to_ne_bytes());
    body.extend_from_slice(&0_u32.to_ne_bytes());
    if addresses.len() <= FILTERED_MAX {
        append_attribute(&mut body, FILTER, &filter(addresses));
    }
    body
}

/// The kernel's little program that accepts a socket with any of the source addresses.
fn filter(addresses: &[IpAddr]) -> Vec<u8> {
    let mut program = Vec::new();
    // Written from the end, because each jump names the distance to the end.
    for address in addresses.iter().rev() {
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let family = if octets.len() == 4 { FAMILY_V4 } else { FAMILY_V6 };
        let bits = if octets.len() == 4 { 32 } else { 128 };
        let length: u8 = if octets.len() == 4 { 16 } else { 28 };
        let mut step = vec![MATCH_SOURCE, length];
        // Where it leads if not matched: behind the jump, or, for the last, behind the end.
        step.extend_from_slice(&(u16::from(length) + 4).to_ne_bytes());
        step.extend_from_slice(&[family, bits, 0, 0]);
        step.extend_from_slice(&(-1_i32).to_ne_bytes());
        step.extend_from_slice(&octets);
        if !program.is_empty() {
            let distance = u16::try_from(program.len() + 4).expect("FILTERED_MAX steps are short");
            step.extend_from_slice(&[JUMP, 4]);
            step.extend_from_slice(&distance.to_ne_bytes());
        }
        step.append(&mut program);
        program = step;
    }
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_these_bytes() {
        let addresses = ["10.77.0.100", "fd77::100"].map(|text| text.parse().unwrap());
        let no = 20_u16.to_ne_bytes();
        let to_the_end = 32_u16.to_ne_bytes();
        let behind_the_end = 32_u16.to_ne_bytes();
        let mut expected =
            vec![7, 16, no[0], no[1], 2, 32, 0, 0, 255, 255, 255, 255, 10, 77, 0, 100];
        expected.extend([1, 4, to_the_end[0], to_the_end[1]]);
        expected.extend([7, 28, behind_the_end[0], behind_the_end[1], 10, 128, 0, 0]);
        expected.extend([255; 4]);
        expected.extend([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(filter(&addresses), expected);
    }

    #[test]
    fn a_connection_to_a_link_local_address_is_of_its_link() {
        let mut body = vec![0; 72];
        body[0] = FAMILY_V6;
        let gateway: IpAddr = "fe80::1".parse().unwrap();
        body[8..10].copy_from_slice(&[0xfe, 0x80]);
        body[23] = 1;
        let scopes = |body: &[u8]| {
            let socket = Socket::read(&Message { kind: GET_SOCKETS, sequence: 1, body });
            socket.unwrap().scopes().unwrap()
        };
        body[40..44].copy_from_slice(&3_u32.to_ne_bytes());
        assert_eq!(scopes(&body), Scoped::at(gateway, 3)..=Scoped::at(gateway, 3));
        body[40..44].fill(0);
        let any = scopes(&body);
        assert!([1, 2, 3].into_iter().all(|link| any.contains(&Scoped::at(gateway, link))));
        assert!(!any.contains(&Scoped::at("fe80::2".parse().unwrap(), 2)));
    }

    #[test]
    fn both_ends_of_a_socket_are_read() {
        let mut body = vec![0; 72];
        body[0] = FAMILY_V4;
        body[4..8].copy_from_slice(&[0x1f, 0x90, 0xab, 0xcd]);
        body[8..12].copy_from_slice(&[10, 77, 0, 100]);
        body[24..28].copy_from_slice(&[10, 77, 0, 9]);
        let read = |kind, body: &[u8]| Socket::read(&Message { kind, sequence: 1, body });
        let ends = |body: &[u8]| {
            let socket = read(GET_SOCKETS, body).unwrap();
            (socket.local().unwrap(), socket.remote().unwrap())
        };
        let local = ([10, 77, 0, 100].into(), 8080);
        let remote = ([10, 77, 0, 9].into(), 0xabcd);
        assert_eq!(ends(&body), (local, remote));
        assert_eq!(read(GET_SOCKETS + 1, &body), None);
        assert_eq!(read(GET_SOCKETS, &body[..40]), None);
        // An IPv4 connection of an IPv6 socket.
        body[0] = FAMILY_V6;
        for (at, last) in [(8, 100), (24, 9)] {
            let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 77, 0, last];
            body[at..at + 16].copy_from_slice(&mapped);
        }
        assert_eq!(ends(&body), (local, remote));
        body[0] = 77;
        assert_eq!(read(GET_SOCKETS, &body).unwrap().local(), None, "no such family");
    }
}
