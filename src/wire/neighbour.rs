//! Neighbours as records of fixed length, a list for each family.
//!
//! ```text
//!   IPv4: address 4 | hardware 6        IPv6: address 16 | hardware 6
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::protocol::{NEIGHBOURS_V4_MAX, NEIGHBOURS_V6_MAX, Neighbour};

use super::decode::DecodeError;
use super::field::{self, Value, gather, required};

const V4_LENGTH: usize = 10;
const V6_LENGTH: usize = 22;

/// Appends both lists.
pub(super) fn write(hosts: &[Neighbour], out: &mut Vec<u8>) {
    let v4 = hosts.iter().filter_map(|host| match host.address {
        IpAddr::V4(address) => Some(record::<4, V4_LENGTH>(address.octets(), host.hardware)),
        IpAddr::V6(_) => None,
    });
    field::put_list(out, field::NEIGHBOURS_V4, v4);
    let v6 = hosts.iter().filter_map(|host| match host.address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(record::<16, V6_LENGTH>(address.octets(), host.hardware)),
    });
    field::put_list(out, field::NEIGHBOURS_V6, v6);
}

fn record<const A: usize, const N: usize>(address: [u8; A], hardware: [u8; 6]) -> [u8; N] {
    let mut record = [0; N];
    record[..A].copy_from_slice(&address);
    record[A..].copy_from_slice(&hardware);
    record
}

/// Reads both lists, IPv4 first.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Neighbour>, DecodeError> {
    let [v4, v6] = gather(bytes, [field::NEIGHBOURS_V4, field::NEIGHBOURS_V6])?;
    let (v4, v6) = (required(v4, field::NEIGHBOURS_V4)?, required(v6, field::NEIGHBOURS_V6)?);
    let mut hosts = v4.list::<V4_LENGTH, _>(NEIGHBOURS_V4_MAX, |record| {
        host(record, |record| record.take().map(|octets: [u8; 4]| Ipv4Addr::from(octets).into()))
    })?;
    hosts.extend(v6.list::<V6_LENGTH, _>(NEIGHBOURS_V6_MAX, |record| {
        host(record, |record| record.take().map(|octets: [u8; 16]| Ipv6Addr::from(octets).into()))
    })?);
    Ok(hosts)
}

/// No host is a group of hosts, and frames go to it alone.
fn host(
    mut record: Value<'_>,
    address: impl Fn(&mut Value<'_>) -> Result<IpAddr, DecodeError>,
) -> Result<Neighbour, DecodeError> {
    let address = address(&mut record)?;
    let hardware: [u8; 6] = record.take()?;
    if address.is_multicast() || address.is_unspecified() || hardware[0] & 1 != 0 {
        return Err(record.out_of_range());
    }
    Ok(Neighbour { address, hardware })
}
