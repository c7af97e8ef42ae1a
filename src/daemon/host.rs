//! What the daemon learns from the host once, at its start.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::gethostname;

use crate::protocol::SoftwareVersion;

/// Every address on this host, in this network namespace.
pub(crate) fn addresses() -> io::Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for interface in getifaddrs()? {
        let Some(address) = interface.address else { continue };
        if let Some(address) = address.as_sockaddr_in() {
            addresses.push(IpAddr::V4(address.ip()));
        } else if let Some(address) = address.as_sockaddr_in6() {
            addresses.push(IpAddr::V6(address.ip()));
        }
    }
    Ok(addresses)
}

/// The host name, without a domain; empty if there is none that can be written.
pub(crate) fn name() -> String {
    let name = gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// Random bytes that nobody can guess. Waits, early at boot, until the kernel has collected enough
/// for that: `/dev/random` is readable then, and `/dev/urandom` does not wait by itself.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let ready = File::open("/dev/random")?;
    let mut wanted = [PollFd::new(ready.as_fd(), PollFlags::POLLIN)];
    while let Err(error) = poll(&mut wanted, PollTimeout::NONE) {
        if error != Errno::EINTR {
            return Err(error.into());
        }
    }
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A random number that is not zero.
pub(crate) fn random_number() -> io::Result<u64> {
    Ok(u64::from_ne_bytes(random()?).max(1))
}

/// The version of this executable.
pub(crate) fn software() -> SoftwareVersion {
    let part = |text: &str| text.parse().unwrap_or(u8::MAX);
    SoftwareVersion {
        major: part(env!("CARGO_PKG_VERSION_MAJOR")),
        minor: part(env!("CARGO_PKG_VERSION_MINOR")),
        patch: part(env!("CARGO_PKG_VERSION_PATCH")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_on_every_host() {
        assert!(addresses().unwrap().iter().any(IpAddr::is_loopback));
    }

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random::<32>().unwrap(), random::<32>().unwrap());
        assert_ne!(random_number().unwrap(), random_number().unwrap());
    }

    #[test]
    fn host_name_has_no_domain() {
        assert!(!name().contains('.'));
    }
}
