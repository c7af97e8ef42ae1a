//! Where a check, or what informs the balancer, connects to.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Address that a check connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// IP address and TCP port.
    Tcp(SocketAddr),
    /// Path of a Unix stream socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// Returns why there is no connection, in a few words, with the remedy where it is the daemon's
    /// user that is not permitted.
    #[must_use]
    pub fn not_connected(&self, error: &io::Error) -> String {
        let text = error.to_string();
        let short = text.split(" (os error").next().unwrap_or_default().to_lowercase();
        match self {
            Self::Unix(_) if error.kind() == io::ErrorKind::PermissionDenied => format!(
                "connecting failed: {short}; add the user of the daemon to the group of the socket \
                 (usermod -aG GROUP buoy) and restart the daemon"
            ),
            Self::Unix(_) | Self::Tcp(_) => format!("connecting failed: {short}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_may_not_be_used_has_a_remedy() {
        let denied = io::Error::from_raw_os_error(13);
        let unix = Endpoint::Unix("/run/haproxy/admin.sock".into());
        let remedy = "; add the user of the daemon to the group of the socket (usermod -aG GROUP \
                      buoy) and restart the daemon";
        let words = "connecting failed: permission denied";
        assert_eq!(unix.not_connected(&denied), format!("{words}{remedy}"));
        let tcp = Endpoint::Tcp("127.0.0.1:9999".parse().unwrap());
        assert_eq!(tcp.not_connected(&denied), words);
        let absent = io::Error::from_raw_os_error(2);
        assert_eq!(unix.not_connected(&absent), "connecting failed: no such file or directory");
    }
}
