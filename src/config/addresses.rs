//! Addresses as written in the file: which are refused, and why.
//!
//! A virtual address may carry a prefix length, `10.77.0.100/24`; without one it is a host
//! address (/32, /128), which is what the kernel should get unless the address is to bring its
//! network along.

use std::net::{AddrParseError, IpAddr};

use super::fault::{At, Findings};

const WRITE_ADDRESS: &str = "write it like \"10.77.0.100\" or \"fd77::100\"";

/// A virtual address with its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vip {
    /// IP address, without a zone.
    pub address: IpAddr,
    /// Prefix length to add it with; 32 or 128 unless written.
    pub prefix: u8,
}

impl std::fmt::Display for Vip {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.prefix == bits(self.address) {
            write!(out, "{}", self.address)
        } else {
            write!(out, "{}/{}", self.address, self.prefix)
        }
    }
}

/// Reads a virtual address. `interface` tells whether one is named for it.
pub(super) fn vip(text: &At<String>, interface: bool, findings: &mut Findings) -> Option<Vip> {
    let (host, prefix) = match text.value.split_once('/') {
        Some((host, prefix)) => (host, Some(prefix)),
        None => (text.value.as_str(), None),
    };
    let address = address(text, host, findings)?;
    if address.is_loopback() {
        let remedy = "write an address in the network of the clients";
        findings.refuse(&text.place, "is a loopback address, which no client reaches", remedy);
        return None;
    }
    if is_link_local_v6(address) && !interface {
        let problem = "is link-local, so it needs an interface";
        findings.refuse(&text.place, problem, "write interface = \"...\" for this pool or group");
        return None;
    }
    let prefix = match prefix {
        None => bits(address),
        Some(prefix) => prefix_length(text, address, prefix, findings)?,
    };
    if let IpAddr::V4(v4) = address
        && (1..31).contains(&prefix)
        && (v4.to_bits() << prefix == 0 || !v4.to_bits() << prefix == 0)
    {
        let problem = "is the network or broadcast address of its prefix, not one of a host";
        findings.refuse(&text.place, problem, "write the address that clients use, then /prefix");
        return None;
    }
    Some(Vip { address, prefix })
}

/// Reads the address of a node on one heartbeat path.
pub(super) fn node_address(text: &At<String>, findings: &mut Findings) -> Option<IpAddr> {
    if text.value.contains('/') {
        let remedy = "write the address alone; only vips have prefix lengths";
        findings.refuse(&text.place, "has a prefix length", remedy);
        return None;
    }
    let address = address(text, &text.value, findings)?;
    if is_link_local_v6(address) {
        let problem = "is link-local, which means a different interface on every node";
        findings.refuse(&text.place, problem, "give the nodes unique local addresses (fd00::/8)");
        return None;
    }
    Some(address)
}

fn address(text: &At<String>, host: &str, findings: &mut Findings) -> Option<IpAddr> {
    if let Some((_, scope)) = host.split_once('%') {
        let remedy =
            format!("write the address without it and interface = {scope:?} beside the vips");
        findings.refuse(&text.place, "names an interface after %", remedy);
        return None;
    }
    let parsed: Result<IpAddr, AddrParseError> = host.trim().parse();
    let Ok(address) = parsed else {
        findings.refuse(&text.place, "is not an IP address", WRITE_ADDRESS);
        return None;
    };
    let problem = match address {
        _ if address.is_unspecified() => "is the unspecified address",
        _ if address.is_multicast() => "is a multicast address",
        IpAddr::V4(v4) if v4.is_broadcast() => "is the broadcast address",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "is an IPv4 address in IPv6 form",
        IpAddr::V4(_) | IpAddr::V6(_) => return Some(address),
    };
    findings.refuse(&text.place, problem, WRITE_ADDRESS);
    None
}

fn prefix_length(
    text: &At<String>,
    address: IpAddr,
    prefix: &str,
    findings: &mut Findings,
) -> Option<u8> {
    let most = bits(address);
    match prefix.parse() {
        Ok(prefix) if (1..=most).contains(&prefix) => Some(prefix),
        Ok(_) | Err(_) => {
            let problem = format!("has the prefix length {prefix:?}");
            findings.refuse(&text.place, problem, format!("write /1 to /{most}, or none"));
            None
        }
    }
}

/// Length of an address of this family.
fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

pub(super) fn is_link_local_v6(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, interface: bool) -> Result<Vip, String> {
        let mut findings = Findings::default();
        let at = At { value: text.to_owned(), place: Default::default() };
        vip(&at, interface, &mut findings)
            .ok_or_else(|| findings.faults.iter().map(|fault| fault.problem.clone()).collect())
    }

    #[test]
    fn takes_addresses_with_and_without_prefix() {
        for text in ["10.0.0.5", "10.0.0.5/24", "10.0.0.0/31", "fd77::100", "fd77::100/64"] {
            assert_eq!(read(text, false).unwrap().to_string(), text);
        }
        assert_eq!(read("10.0.0.0/32", false).unwrap().prefix, 32);
        assert_eq!(read("fe80::1", true).unwrap().prefix, 128);
    }

    #[test]
    fn refuses_what_no_client_could_use() {
        let cases = [
            ("10.0.0.300", "not an IP"),
            ("", "not an IP"),
            ("/24", "not an IP"),
            ("127.0.0.1", "loopback"),
            ("::1", "loopback"),
            ("0.0.0.0", "unspecified"),
            ("::", "unspecified"),
            ("224.0.0.18", "multicast"),
            ("ff02::12", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("::ffff:10.0.0.1", "IPv6 form"),
            ("fe80::1", "link-local"),
            ("fe80::1%eth0", "after %"),
            ("10.0.0.0/24", "network or broadcast"),
            ("10.0.0.255/24", "network or broadcast"),
            ("10.0.0.5/0", "prefix length"),
            ("10.0.0.5/33", "prefix length"),
            ("10.0.0.5/x", "prefix length"),
            ("fd77::1/129", "prefix length"),
        ];
        for (text, expected) in cases {
            let problem = read(text, false).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
