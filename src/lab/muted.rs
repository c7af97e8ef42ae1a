//! Addresses that a kernel has and does not answer for, because the gate of a daemon mutes them.
//!
//! After a planned move the former owner keeps the addresses for the connections that it still serves.
//! It answers no question for them and nothing else reaches them, so it does not hold them. The kernel
//! tells every change of its tables; before the watch begins no daemon runs and nothing is muted.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use super::namespace::{Namespace, NamespaceError};
use crate::netlink::nftables::Family;
use crate::netlink::tables::{Notice, notices};

/// Multicast group of changes of nf_tables.
const GROUP: u32 = 7;
/// The sets of a gate that mute; of link-local addresses the device follows.
const SETS: [&str; 3] = ["muted4", "muted6", "mutedL"];
const RECEIVE_BUFFER: usize = 1 << 20;

/// What one kernel mutes.
pub(super) struct Muted {
    socket: Socket,
    /// With the name of the table.
    addresses: BTreeSet<(String, IpAddr)>,
}

impl Muted {
    /// Listens to the kernel of a namespace.
    pub(super) fn listen(namespace: &Namespace) -> Result<Self, NamespaceError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            socket.add_membership(GROUP)?;
            socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
            socket.set_non_blocking(true)?;
            Ok(socket)
        };
        let socket = namespace
            .run(open)?
            .map_err(|error: io::Error| NamespaceError::System("listen to nf_tables", error))?;
        Ok(Self { socket, addresses: BTreeSet::new() })
    }

    /// Returns what becomes readable when the kernel has something to say.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads all that is waiting.
    pub(super) fn receive(&mut self) {
        while let Ok((datagram, _)) = self.socket.recv_from_full() {
            notices(&datagram, Family::Inet).into_iter().for_each(|notice| self.take(notice));
        }
    }

    fn take(&mut self, notice: Notice) {
        match notice {
            Notice::TableGone { table } => self.addresses.retain(|(of, _)| *of != table),
            Notice::Elements { table, set, keys, come } if SETS.contains(&set.as_str()) => {
                for address in keys.iter().filter_map(|key| read(key)) {
                    if come {
                        self.addresses.insert((table.clone(), address));
                    } else {
                        self.addresses.remove(&(table.clone(), address));
                    }
                }
            }
            Notice::Elements { .. } => {}
        }
    }

    /// Returns the addresses that the kernel mutes.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        self.addresses.iter().map(|(_, address)| *address).collect()
    }
}

fn read(key: &[u8]) -> Option<IpAddr> {
    if let Some(v6) = key.first_chunk::<16>() {
        return Some(IpAddr::from(*v6));
    }
    key.first_chunk::<4>().map(|v4| IpAddr::from(*v4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(set: &str, come: bool) -> Notice {
        let (table, set) = ("buoy_edge".to_owned(), set.to_owned());
        Notice::Elements { table, set, keys: vec![vec![10, 77, 0, 100]], come }
    }

    #[test]
    fn an_address_is_muted_until_it_leaves_the_set_or_the_table_has_gone() {
        let vip: IpAddr = [10, 77, 0, 100].into();
        let gone = |table: &str| Notice::TableGone { table: table.to_owned() };
        for (case, notices, muted) in [
            ("it has come", vec![notice("muted4", true)], true),
            ("into another set", vec![notice("vouched4", true)], false),
            ("it has gone", vec![notice("muted4", true), notice("muted4", false)], false),
            ("the table has gone", vec![notice("muted4", true), gone("buoy_edge")], false),
            ("another table has", vec![notice("muted4", true), gone("other")], true),
        ] {
            let socket = Socket::new(NETLINK_NETFILTER).unwrap();
            let mut kernel = Muted { socket, addresses: BTreeSet::new() };
            notices.into_iter().for_each(|notice| kernel.take(notice));
            assert_eq!(kernel.addresses().contains(&vip), muted, "{case}");
        }
    }
}
