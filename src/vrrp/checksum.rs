//! The checksum of an advertisement, in the forms that are in use.
//!
//! Version 2 sums the message alone (RFC 3768 5.3.8), version 3 over IPv6 also a pseudo-header (RFC
//! 9568 5.2.8). Over IPv4 routers do not agree in version 3: keepalived and FRR sum a pseudo-header
//! too, routers that follow RFC 9568 do not, and keepalived before 2.0.20 sums one of the multicast
//! address although it sends to a single peer.

use std::net::IpAddr;

use super::datagram::{MULTICAST_V4, PROTOCOL};

/// What a checksum is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// The message alone.
    Plain,
    /// The message and a pseudo-header of the addresses that it travels between.
    Pseudo,
    /// The message and a pseudo-header with the multicast address as destination.
    Multicast,
}

impl Form {
    /// Returns the word of the configuration file for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Pseudo => "pseudo-header",
            Self::Multicast => "multicast-pseudo-header",
        }
    }

    /// Returns the checksum of a message whose checksum field is zero; zero if the message is right
    /// and its checksum field is not zero.
    #[must_use]
    pub fn sum(self, message: &[u8], source: IpAddr, destination: IpAddr) -> u16 {
        let mut sum = Sum(0);
        match self {
            Self::Plain => {}
            Self::Pseudo => sum.pseudo_header(source, destination, message.len()),
            Self::Multicast => sum.pseudo_header(source, MULTICAST_V4.into(), message.len()),
        }
        sum.bytes(message);
        sum.fold()
    }
}

/// A one's complement sum under way (RFC 1071).
struct Sum(u64);

impl Sum {
    fn bytes(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks(2) {
            let high = pair.first().copied().unwrap_or(0);
            let low = pair.get(1).copied().unwrap_or(0);
            self.0 += u64::from(u16::from_be_bytes([high, low]));
        }
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.bytes(&address.octets()),
            IpAddr::V6(address) => self.bytes(&address.octets()),
        }
    }

    /// The order of the fields and the padding do not matter to the sum, so that this is the
    /// pseudo-header of both families.
    fn pseudo_header(&mut self, source: IpAddr, destination: IpAddr, length: usize) {
        self.address(source);
        self.address(destination);
        self.0 += u64::from(PROTOCOL) + u64::try_from(length).unwrap_or(0);
    }

    fn fold(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap_or(0)
    }
}
