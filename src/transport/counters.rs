//! What happened on each path. Kept by `Transport`, shown by `status`.

use std::io;

use nix::errno::Errno;

/// Counters of all paths, in the order of the paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// One for each path.
    pub paths: Vec<PathCounters>,
}

/// Counters of one path since its socket was bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathCounters {
    /// Bytes that the kernel keeps for what has come and was not taken yet.
    pub receive_buffer: usize,
    /// Datagrams handed to the kernel.
    pub sent: u64,
    /// Not sent: no room in the socket or the interface.
    pub send_full: u64,
    /// Not sent: no route, or the network or host is down.
    pub send_unreachable: u64,
    /// Not sent: nobody listened there a moment ago.
    pub send_refused: u64,
    /// Not sent: a firewall on this host forbids it.
    pub send_not_permitted: u64,
    /// Not sent: this node's own address is not on the host.
    pub send_address_missing: u64,
    /// Not sent for any other reason.
    pub send_other: u64,
    /// Datagrams received from peers' addresses.
    pub received: u64,
    /// Datagrams received from other addresses.
    pub unknown_senders: u64,
    /// Errors while receiving; most are echoes of failed sends.
    pub receive_errors: u64,
    /// Datagrams that the kernel dropped because this node did not take them in time; modulo
    /// 2^32, told with the next datagram that arrives.
    pub dropped_by_kernel: u32,
}

impl PathCounters {
    pub(super) fn new(receive_buffer: usize) -> Self {
        Self { receive_buffer, ..Self::default() }
    }

    pub(super) fn count_send_error(&mut self, error: &io::Error) {
        let counter = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => &mut self.send_full,
            Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ENETDOWN | Errno::EHOSTDOWN) => {
                &mut self.send_unreachable
            }
            Some(Errno::ECONNREFUSED) => &mut self.send_refused,
            Some(Errno::EPERM | Errno::EACCES) => &mut self.send_not_permitted,
            // The kernel says EINVAL when the bound source address is not on the host.
            Some(Errno::EINVAL | Errno::EADDRNOTAVAIL) => &mut self.send_address_missing,
            Some(_) | None => &mut self.send_other,
        };
        *counter += 1;
    }
}

/// Whether a send was refused because this node's own address, and with it the route, is not on the host.
pub(super) fn lacks_address(error: &io::Error) -> bool {
    let error = error.raw_os_error().map(Errno::from_raw);
    matches!(error, Some(Errno::EINVAL | Errno::EADDRNOTAVAIL | Errno::ENETUNREACH))
}

/// Whether a send was refused because of what became of an earlier one.
pub(super) fn is_old_news(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_counter() {
        let mut counters = PathCounters::default();
        for error in [
            Errno::EAGAIN,
            Errno::ENETUNREACH,
            Errno::EHOSTUNREACH,
            Errno::ECONNREFUSED,
            Errno::EPERM,
            Errno::EINVAL,
            Errno::EMSGSIZE,
        ] {
            counters.count_send_error(&io::Error::from(error));
        }
        let wanted = PathCounters {
            send_full: 1,
            send_unreachable: 2,
            send_refused: 1,
            send_not_permitted: 1,
            send_address_missing: 1,
            send_other: 1,
            ..PathCounters::default()
        };
        assert_eq!(counters, wanted);
    }
}
