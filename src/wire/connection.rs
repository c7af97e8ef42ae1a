//! Connections as records of fixed length, a list for each family.
//!
//! ```text
//!   IPv4 (12 bytes): address 4  | port 2 | client 4  | port 2
//!   IPv6 (36 bytes): address 16 | port 2 | client 16 | port 2
//! ```
//!
//! A datagram holds as many of the one family as there may be, or as many of the other, not both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::protocol::{CONNECTIONS_V4_MAX, CONNECTIONS_V6_MAX, Connection};

use super::decode::DecodeError;
use super::field::{self, Value, gather, required};

const V4_LENGTH: usize = 12;
const V6_LENGTH: usize = 36;

/// Appends both lists.
///
/// # Panics
///
/// When a connection is of both families, of which the kernel knows none.
pub(super) fn write(connections: &[Connection], out: &mut Vec<u8>) {
    let ends = |connection: &Connection| match (connection.address, connection.client) {
        (IpAddr::V4(address), IpAddr::V4(client)) => Ok((address.octets(), client.octets())),
        (IpAddr::V6(address), IpAddr::V6(client)) => Err((address.octets(), client.octets())),
        (address, client) => panic!("a connection from {client} to {address}"),
    };
    let v4 = connections.iter().filter_map(|connection| {
        ends(connection).ok().map(|ends| record::<4, V4_LENGTH>(connection, ends))
    });
    field::put_list(out, field::CONNECTIONS_V4, v4);
    let v6 = connections.iter().filter_map(|connection| {
        ends(connection).err().map(|ends| record::<16, V6_LENGTH>(connection, ends))
    });
    field::put_list(out, field::CONNECTIONS_V6, v6);
}

fn record<const A: usize, const N: usize>(
    connection: &Connection,
    (address, client): ([u8; A], [u8; A]),
) -> [u8; N] {
    let mut record = [0; N];
    let (here, there) = record.split_at_mut(N / 2);
    here[..A].copy_from_slice(&address);
    here[A..].copy_from_slice(&connection.port.to_be_bytes());
    there[..A].copy_from_slice(&client);
    there[A..].copy_from_slice(&connection.client_port.to_be_bytes());
    record
}

/// Reads both lists, IPv4 first.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Connection>, DecodeError> {
    let [v4, v6] = gather(bytes, [field::CONNECTIONS_V4, field::CONNECTIONS_V6])?;
    let (v4, v6) = (required(v4, field::CONNECTIONS_V4)?, required(v6, field::CONNECTIONS_V6)?);
    let mut connections = v4.list::<V4_LENGTH, _>(CONNECTIONS_V4_MAX, |record| {
        connection(record, |end| end.take().map(|octets: [u8; 4]| Ipv4Addr::from(octets).into()))
    })?;
    connections.extend(v6.list::<V6_LENGTH, _>(CONNECTIONS_V6_MAX, |record| {
        connection(record, |end| end.take().map(|octets: [u8; 16]| Ipv6Addr::from(octets).into()))
    })?);
    let v6 = connections.iter().filter(|one| one.address.is_ipv6()).count();
    if fits(connections.len() - v6, v6) {
        Ok(connections)
    } else {
        Err(DecodeError::TooMany(field::CONNECTIONS_V6))
    }
}

/// Whether so many of each family are one message: one of IPv6 takes the place of three.
pub(super) const fn fits(v4: usize, v6: usize) -> bool {
    v4 + v6 * CONNECTIONS_V4_MAX / CONNECTIONS_V6_MAX <= CONNECTIONS_V4_MAX
}

/// Nobody has a connection to a group of hosts, or to nobody.
fn connection(
    mut record: Value<'_>,
    address: impl Fn(&mut Value<'_>) -> Result<IpAddr, DecodeError>,
) -> Result<Connection, DecodeError> {
    let (here, port) = (address(&mut record)?, record.u16()?);
    let (client, client_port) = (address(&mut record)?, record.u16()?);
    let none = |end: IpAddr| end.is_multicast() || end.is_unspecified();
    if none(here) || none(client) || port == 0 || client_port == 0 {
        return Err(record.out_of_range());
    }
    Ok(Connection { address: here, port, client, client_port })
}
