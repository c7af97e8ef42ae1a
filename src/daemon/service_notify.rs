//! Tells the service manager how the daemon is doing: the `sd_notify` protocol.
//!
//! One datagram of `NAME=VALUE` lines to the socket named in `NOTIFY_SOCKET`, a path or an
//! abstract name (written with a leading `@`). Without that variable, which is the normal case
//! outside of systemd, every call does nothing. A service manager that does not read must not
//! stop us: the socket does not block and what does not fit is dropped.
//!
//! The watchdog message is sent at half the interval that the manager asks for, and only while
//! the protocol thread goes round: a daemon whose main thread alone is alive is dead.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::clock;

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub(crate) struct ServiceNotify {
    target: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceNotify {
    /// Takes the way from the environment. A socket that cannot be used is told in the error;
    /// the daemon can go on with [`ServiceNotify::nobody`].
    pub(crate) fn from_environment() -> io::Result<Self> {
        let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Self::nobody());
        };
        let watchdog_for_us = std::env::var("WATCHDOG_PID")
            .map_or(true, |process| process == std::process::id().to_string());
        let interval = std::env::var("WATCHDOG_USEC").ok().filter(|_| watchdog_for_us);
        Self::new(&socket, interval.as_deref())
    }

    /// Nobody wants to know.
    pub(crate) const fn nobody() -> Self {
        Self { target: None, watchdog: None }
    }

    /// `socket` as in `NOTIFY_SOCKET`, `watchdog_micros` as in `WATCHDOG_USEC`.
    fn new(socket: &OsStr, watchdog_micros: Option<&str>) -> io::Result<Self> {
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(socket)?,
        };
        let ours = UnixDatagram::unbound()?;
        ours.set_nonblocking(true)?;
        let watchdog = watchdog_micros
            .and_then(|micros| micros.parse().ok())
            .filter(|micros| *micros > 0)
            .map(Duration::from_micros);
        Ok(Self { target: Some((ours, address)), watchdog })
    }

    /// How often [`ServiceNotify::alive`] must be called; `None` if nobody watches.
    pub(crate) fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|interval| interval / 2)
    }

    /// The daemon serves.
    pub(crate) fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// The daemon waits for something before it can serve, and may go on so for this long.
    pub(crate) fn waiting(&self, status: &str, longer: Duration) {
        self.say(&format!(
            "EXTEND_TIMEOUT_USEC={}\nSTATUS={}",
            longer.as_micros(),
            one_line(status)
        ));
    }

    /// The configuration is being applied again; ends with the next [`ServiceNotify::ready`].
    pub(crate) fn reloading(&self) {
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::monotonic().as_micros()));
    }

    /// The daemon is handing over and will end.
    pub(crate) fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=handing over");
    }

    /// The protocol thread goes round.
    pub(crate) fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    fn say(&self, text: &str) {
        if let Some((ours, address)) = &self.target {
            // Nothing useful can be done about a manager that is gone or does not read.
            let _ = ours.send_to_addr(text.as_bytes(), address);
        }
    }
}

/// A line break would start another variable.
fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(name: &str) -> (UnixDatagram, String) {
        let name = format!("buoy-{name}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (socket, format!("@{name}"))
    }

    fn heard(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn life_of_a_service_is_told() {
        let (manager, name) = manager("life");
        let notify = ServiceNotify::new(OsStr::new(&name), Some("3000000")).unwrap();
        assert_eq!(notify.watchdog_interval(), Some(Duration::from_millis(1500)));
        notify.ready("node lb1\nof edge");
        assert_eq!(heard(&manager), "READY=1\nSTATUS=node lb1 of edge");
        notify.alive();
        assert_eq!(heard(&manager), "WATCHDOG=1");
        notify.reloading();
        assert!(heard(&manager).starts_with("RELOADING=1\nMONOTONIC_USEC="));
        notify.stopping();
        assert!(heard(&manager).starts_with("STOPPING=1\n"));
    }

    #[test]
    fn socket_may_be_a_path() {
        let path = std::env::temp_dir().join(format!("buoy-notify-{}", std::process::id()));
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let notify = ServiceNotify::new(path.as_os_str(), None).unwrap();
        notify.alive();
        let text = heard(&manager);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text, "WATCHDOG=1");
        assert_eq!(notify.watchdog_interval(), None);
    }

    #[test]
    fn manager_that_does_not_read_stops_nobody() {
        let (_manager, name) = manager("deaf");
        let notify = ServiceNotify::new(OsStr::new(&name), Some("0")).unwrap();
        for _ in 0..10_000 {
            notify.alive();
        }
        assert_eq!(notify.watchdog_interval(), None);
    }

    #[test]
    fn nobody_is_told_nothing() {
        ServiceNotify::nobody().ready("");
        assert_eq!(ServiceNotify::nobody().watchdog_interval(), None);
    }
}
