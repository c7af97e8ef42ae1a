//! One advertisement: bytes to meaning and back.
//!
//! ```text
//!  version 2: | 2, 1 | VRID | priority | count | auth type | interval, s | checksum |
//!             | addresses, 4 each | authentication data, 8 |              (RFC 3768 5.1)
//!  version 3: | 3, 1 | VRID | priority | count | reserved 4 bits, interval, cs 12 bits | checksum |
//!             | addresses, 4 or 16 each |                                 (RFC 9568 5.1)
//! ```
//!
//! Reserved bits are sent as zero and not looked at. What is read can be written again, and what
//! is written can be read: the golden frames in `tests/vrrp` go both ways.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::checksum::Form;
use super::datagram::{Datagram, HOP_LIMIT};
use super::password::{PASSWORD_MAX, Password};
use super::refusal::Refusal;

/// Addresses of one advertisement over IPv4 at most: the count has one byte.
pub const ADDRESSES_V4_MAX: usize = 255;
/// The same over IPv6: more do not fit a packet of 1500 bytes.
pub const ADDRESSES_V6_MAX: usize = 90;

/// The only type of message.
const ADVERTISEMENT: u8 = 1;
/// Before the addresses.
const HEADER: usize = 8;
/// Where the checksum stands.
const CHECKSUM_AT: usize = 6;
/// The bits of a version 3 interval.
const INTERVAL_MASK: u16 = 0x0fff;
/// Codes of version 2.
const NO_AUTHENTICATION: u8 = 0;
const SIMPLE_PASSWORD: u8 = 1;

/// Which protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RFC 3768: IPv4 only.
    V2,
    /// RFC 9568.
    V3,
}

impl Version {
    /// Returns its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

/// How an advertisement of version 2 says whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all. Version 3 knows no other.
    None,
    /// By a password in clear.
    Password(Password),
}

/// What a virtual router says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// Which protocol it is in.
    pub version: Version,
    /// The virtual router (VRID), 1 to 255; 0 may be heard.
    pub id: u8,
    /// 0 when the sender stops, 255 when it owns the addresses.
    pub priority: u8,
    /// The time to the next: whole seconds to 255 s in version 2, hundredths to 40.95 s in
    /// version 3; never zero.
    pub interval: Duration,
    /// What it answers for, of one family, at least one.
    pub addresses: Vec<IpAddr>,
    /// Whose it is.
    pub authentication: Authentication,
}

/// An advertisement, and how its checksum was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What it says.
    pub advertisement: Advertisement,
    /// The form of its checksum. [`Form::Pseudo`] if several fit.
    pub form: Form,
}

/// Writes an advertisement. Fields that its version does not have are left out, addresses of
/// another family than the source's too; an interval is cut to what the version can say.
#[must_use]
pub fn encode(
    advertisement: &Advertisement,
    form: Form,
    source: IpAddr,
    destination: IpAddr,
) -> Vec<u8> {
    let Advertisement { version, id, priority, interval, addresses, authentication } =
        advertisement;
    let family = addresses.iter().filter(|address| address.is_ipv4() == source.is_ipv4());
    let addresses: Vec<&IpAddr> = family.take(ADDRESSES_V4_MAX).collect();
    let count = u8::try_from(addresses.len()).unwrap_or(u8::MAX);
    let mut bytes = vec![version.number() << 4 | ADVERTISEMENT, *id, *priority, count];
    match version {
        Version::V2 => {
            let code = match authentication {
                Authentication::None => NO_AUTHENTICATION,
                Authentication::Password(_) => SIMPLE_PASSWORD,
            };
            let seconds = interval.as_secs().clamp(1, u8::MAX.into());
            bytes.extend([code, u8::try_from(seconds).unwrap_or(u8::MAX)]);
        }
        Version::V3 => {
            let hundredths = (interval.as_millis() / 10).clamp(1, INTERVAL_MASK.into());
            bytes.extend(u16::try_from(hundredths).unwrap_or(INTERVAL_MASK).to_be_bytes());
        }
    }
    bytes.extend([0, 0]);
    for address in addresses {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    if *version == Version::V2 {
        bytes.extend(match authentication {
            Authentication::None => [0; PASSWORD_MAX],
            Authentication::Password(password) => password.to_wire(),
        });
    }
    let form = match (version, source) {
        (Version::V2, _) => Form::Plain,
        (Version::V3, IpAddr::V4(_)) => form,
        (Version::V3, IpAddr::V6(_)) => Form::Pseudo,
    };
    let sum = form.sum(&bytes, source, destination).to_be_bytes();
    bytes[CHECKSUM_AT..HEADER].copy_from_slice(&sum);
    bytes
}

/// Reads an advertisement, with every check that needs no knowledge of the virtual router (RFC 9568
/// 7.1). A hop limit other than 255 is allowed in what came to one address alone: keepalived sends
/// 64 there over IPv6.
///
/// # Errors
///
/// The first [`Refusal`] that applies; then nothing of it may be used.
pub fn decode(datagram: &Datagram<'_>) -> Result<Heard, Refusal> {
    if datagram.destination.is_multicast() && datagram.hop_limit != HOP_LIMIT {
        return Err(Refusal::HopLimit);
    }
    let bytes = datagram.payload;
    let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(Refusal::Length)?;
    let version = match (header[0] >> 4, datagram.source) {
        (2, IpAddr::V4(_)) => Version::V2,
        (3, _) => Version::V3,
        _ => return Err(Refusal::Version),
    };
    if header[0] & 0xf != ADVERTISEMENT {
        return Err(Refusal::Type);
    }
    if header[3] == 0 {
        return Err(Refusal::NoAddress);
    }
    let (width, tail) = match (version, datagram.source) {
        (Version::V2, _) => (4, PASSWORD_MAX),
        (Version::V3, IpAddr::V4(_)) => (4, 0),
        (Version::V3, IpAddr::V6(_)) => (16, 0),
    };
    if rest.len() != usize::from(header[3]) * width + tail {
        return Err(Refusal::Length);
    }
    let form = form_of(version, datagram).ok_or(Refusal::Checksum)?;
    let (list, tail) = rest.split_at(rest.len() - tail);
    let (interval, authentication) = match version {
        Version::V2 => {
            let authentication = match header[4] {
                NO_AUTHENTICATION => Authentication::None,
                SIMPLE_PASSWORD => {
                    let data = tail.first_chunk().ok_or(Refusal::Length)?;
                    Authentication::Password(Password::from_wire(*data))
                }
                _ => return Err(Refusal::Authentication),
            };
            (Duration::from_secs(header[5].into()), authentication)
        }
        Version::V3 => {
            let hundredths = u16::from_be_bytes([header[4], header[5]]) & INTERVAL_MASK;
            (Duration::from_millis(u64::from(hundredths) * 10), Authentication::None)
        }
    };
    if interval.is_zero() {
        return Err(Refusal::Interval);
    }
    let addresses = list.chunks_exact(width).filter_map(address).collect();
    let (id, priority) = (header[1], header[2]);
    let advertisement =
        Advertisement { version, id, priority, interval, addresses, authentication };
    Ok(Heard { advertisement, form })
}

/// Returns the form in which the checksum is right.
fn form_of(version: Version, datagram: &Datagram<'_>) -> Option<Form> {
    let forms: &[Form] = match (version, datagram.source) {
        (Version::V2, _) => &[Form::Plain],
        (Version::V3, IpAddr::V4(_)) => &[Form::Pseudo, Form::Plain, Form::Multicast],
        (Version::V3, IpAddr::V6(_)) => &[Form::Pseudo],
    };
    let Datagram { source, destination, payload, .. } = *datagram;
    forms.iter().copied().find(|form| form.sum(payload, source, destination) == 0)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    let v6 = || <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
    v4.or_else(|_| v6()).ok()
}
