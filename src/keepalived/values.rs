//! Values of statements: numbers, times, addresses, commands, with keepalived's bounds.
//!
//! A value that keepalived replaces by a default of its own is a fault here that refuses, because
//! nobody can tell what was meant; what it only cuts or rounds is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::report::Findings;
use super::source::Place;
use super::tree::Node;
use super::words::command_line;

/// A virtual address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// The address.
    pub(super) ip: IpAddr,
    /// The prefix length if one is written; keepalived takes all bits otherwise.
    pub(super) prefix: Option<u8>,
    /// The interface if one is named for this address.
    pub(super) dev: Option<String>,
    /// Options that have no counterpart, such as `label eth0:web`.
    pub(super) dropped: Vec<String>,
    /// Where it stands.
    pub(super) place: Place,
    /// Whether it is not advertised.
    pub(super) excluded: bool,
}

impl Address {
    /// As buoy writes it.
    pub(super) fn shown(&self) -> String {
        match self.prefix.filter(|prefix| *prefix != if self.ip.is_ipv4() { 32 } else { 128 }) {
            Some(prefix) => format!("{}/{prefix}", self.ip),
            None => self.ip.to_string(),
        }
    }
}

/// Reads an IP address as `inet_pton` does.
pub(super) fn ip(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    } else {
        text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    }
}

/// Reads the address of a host; keepalived takes a range or a prefix length off.
pub(super) fn host_ip(text: &str) -> Option<IpAddr> {
    ip(text.split(['-', '/']).next().unwrap_or(text))
}

/// Reads an entry of `virtual_ipaddress`.
pub(super) fn address(node: &Node, list: &str, findings: &mut Findings) -> Option<Address> {
    let (host, prefix) = match node.keyword.split_once('/') {
        Some((host, prefix)) => (host, Some(prefix)),
        None => (node.keyword.as_str(), None),
    };
    let Some(ip) = ip(host) else {
        let (problem, remedy) = not_an_address(node);
        findings.refuse(&node.place, list, problem, remedy);
        return None;
    };
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix.map(str::parse::<u8>) {
        None => None,
        Some(Ok(prefix)) if (1..=bits).contains(&prefix) => Some(prefix),
        Some(_) => {
            let problem = format!("the prefix length of {ip} is not 1 to {bits}");
            findings.refuse(&node.place, list, problem, "write it like 192.0.2.100/24");
            return None;
        }
    };
    let (place, excluded) = (node.place.clone(), list == "virtual_ipaddress_excluded");
    let mut address = Address { ip, prefix, dev: None, dropped: Vec::new(), place, excluded };
    options(node, list, &mut address, findings);
    Some(address)
}

fn not_an_address(node: &Node) -> (String, String) {
    let word = &node.keyword;
    if word.contains('$') {
        let problem = format!("{word} is not an address, and no definition is replaced in it");
        let remedy =
            "write ${NAME} if the name is followed by other characters, and define it before";
        return (problem, remedy.to_owned());
    }
    let later = node.words.iter().find(|word| ip(word.split('/').next().unwrap_or(word)).is_some());
    let remedy = match later {
        Some(address) => format!("write the address first: {address} dev {word}"),
        None => "write an address like 192.0.2.100/24 or 2001:db8::100/64".to_owned(),
    };
    (format!("{word} is not an IP address"), remedy)
}

fn options(node: &Node, list: &str, address: &mut Address, findings: &mut Findings) {
    const ALONE: [&str; 9] = [
        "home",
        "nodad",
        "-nodad",
        "mngtmpaddr",
        "noprefixroute",
        "autojoin",
        "no_track",
        "use_vmac",
        "default",
    ];
    let mut words = node.words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "dev" | "label" | "brd" | "broadcast" | "scope" | "peer" | "preferred_lft"
            | "valid_lft" | "metric" | "track_group" => {
                let Some(value) = words.next() else {
                    let problem = format!("{word} has no value: keepalived drops {}", address.ip);
                    findings.refuse(&node.place, list, problem, format!("write {word} VALUE"));
                    return;
                };
                match word.as_str() {
                    "dev" => address.dev = Some(value.clone()),
                    "label" => address.dropped.push(format!("label {value}")),
                    "broadcast" => address.dropped.push("brd".to_owned()),
                    other => address.dropped.push(other.to_owned()),
                }
            }
            alone if ALONE.contains(&alone) => address.dropped.push(alone.to_owned()),
            other => {
                let what = if ip(other.split('/').next().unwrap_or(other)).is_some() {
                    "is a second address on the line"
                } else {
                    "is not an option of an address"
                };
                let problem = format!("{other} {what}: keepalived ignores it");
                findings.warn(&node.place, list, problem);
            }
        }
    }
}

/// Reads a whole number within keepalived's bounds.
pub(super) fn number(
    node: &Node,
    bounds: RangeInclusive<i64>,
    otherwise: &str,
    findings: &mut Findings,
) -> Option<i64> {
    extra(node, 1, findings);
    let value = node.word().parse::<i64>().ok().filter(|value| bounds.contains(value));
    // A name that nothing defines has been told already.
    if value.is_none() && !node.word().starts_with('$') {
        // Ten digits in a row could be part of a key, and are not shown.
        let to = match *bounds.end() {
            4_294_967_295 => "2^32-1".to_owned(),
            end => end.to_string(),
        };
        let from = bounds.start();
        let problem = match node.word() {
            "" => "has no value".to_owned(),
            word => format!("{word} is not a number from {from} to {to}{otherwise}"),
        };
        findings.refuse(&node.place, &node.keyword, problem, format!("write {from} to {to}"));
    }
    value
}

/// Reads a time in seconds, with up to six decimals, as microseconds.
pub(super) fn microseconds(node: &Node, findings: &mut Findings) -> Option<u64> {
    extra(node, 1, findings);
    let text = node.word();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let value = || {
        let part: String = part.chars().chain("000000".chars()).take(6).collect();
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        (whole <= 1_000_000_000).then_some(whole * 1_000_000 + part.parse::<u64>().ok()?)
    };
    let value = if digits(whole) && digits(part) && !text.is_empty() { value() } else { None };
    if value.is_none() {
        let problem = match text {
            "" => "has no value".to_owned(),
            text => format!("{text} is not a number of seconds"),
        };
        findings.refuse(&node.place, &node.keyword, problem, "write it like 1 or 0.5");
    }
    value
}

/// Tells of words behind a value, which keepalived does not look at.
pub(super) fn extra(node: &Node, count: usize, findings: &mut Findings) {
    if let Some(word) = node.words.get(count) {
        let problem = format!("keepalived ignores {word} and the rest of the line");
        findings.warn(&node.place, &node.keyword, problem);
    }
}

/// A program with its arguments, and the user that is named behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Program and arguments.
    pub(super) command: Vec<String>,
    /// The user.
    pub(super) user: Option<String>,
}

impl Program {
    /// As somebody would type it.
    pub(super) fn shown(&self) -> String {
        self.command.join(" ")
    }
}

/// Reads the command of `script` or `notify...`.
pub(super) fn program(node: &Node, findings: &mut Findings) -> Option<Program> {
    let line = command_line(&node.text);
    let command = line.as_ref().and_then(|line| command_line(line.get(1)?));
    let Some(command) = command.filter(|command| !command.is_empty()) else {
        // A quote that is not closed has been told where the line was read.
        if node.text.matches('"').count().is_multiple_of(2) {
            let remedy = "write it in quotes, with an absolute path: \"/usr/bin/program arg\"";
            findings.refuse(&node.place, &node.keyword, "is not a command", remedy);
        }
        return None;
    };
    let line = line.unwrap_or_default();
    if node.keyword == "script" {
        extra(node, 1, findings);
    }
    if let Some(word) = line.get(3) {
        let word = word.clone();
        findings.tell(
            format!(
                "{}: the group {word} is dropped: a program runs with the user's own groups",
                node.keyword
            ),
            &[&node.place],
        );
    }
    let user = line.get(2).filter(|_| node.keyword != "script").cloned();
    Some(Program { command, user })
}

#[cfg(test)]
mod tests {
    use super::super::lines::Line;
    use super::super::tree::grow;
    use super::*;

    fn node(text: &str) -> Node {
        let place = Place { file: "k.conf".into(), line: 7 };
        let line = Line { text: text.to_owned(), place };
        grow(&[line], &mut Findings::default()).0.remove(0)
    }

    #[test]
    fn times_have_up_to_six_decimals() {
        for (text, expected) in [
            ("t 1", Some(1_000_000)),
            ("t 0.5", Some(500_000)),
            ("t .01", Some(10_000)),
            ("t 1.2345678", Some(1_234_567)),
            ("t", None),
            ("t 1s", None),
            ("t -1", None),
        ] {
            assert_eq!(microseconds(&node(text), &mut Findings::default()), expected, "{text}");
        }
    }

    #[test]
    fn numbers_out_of_bounds_are_named_with_the_bounds() {
        for (text, to, expected) in [
            ("n 7", 10, None),
            ("n 11", 10, Some("11 is not a number from 0 to 10")),
            ("n x", 4_294_967_295, Some("x is not a number from 0 to 2^32-1")),
            ("n", 10, Some("has no value")),
        ] {
            let mut findings = Findings::default();
            let _ = number(&node(text), 0..=to, "", &mut findings);
            let said: Vec<String> = findings.faults.iter().map(ToString::to_string).collect();
            assert_eq!(said.is_empty(), expected.is_none(), "{text}: {said:?}");
            assert!(said.concat().contains(expected.unwrap_or_default()), "{text}: {said:?}");
        }
    }

    #[test]
    fn addresses_have_keepalived_s_options() {
        let mut findings = Findings::default();
        let it = node("192.0.2.1/24 brd 192.0.2.255 dev eth0 scope global label eth0:x no_track");
        let it = address(&it, "virtual_ipaddress", &mut findings).unwrap();
        assert_eq!((it.shown().as_str(), it.dev.as_deref()), ("192.0.2.1/24", Some("eth0")));
        assert_eq!(it.dropped, ["brd", "scope", "label eth0:x", "no_track"]);
        assert!(findings.faults.is_empty());
        for (text, expected) in [
            ("192.0.2./24", "192.0.2./24 is not"),
            ("192.0.2.300", "not an IP address"),
            ("eth0 192.0.2.102", "eth0 is not an IP address"),
            ("192.0.2.1/33", "prefix length"),
            ("192.0.2.1/255.255.255.0", "prefix length"),
            ("192.0.2.1 dev", "dev has no value"),
            ("192.0.2.100 192.0.2.101", "second address"),
            ("$V/24", "no definition is replaced"),
        ] {
            let mut findings = Findings::default();
            let _ = address(&node(text), "virtual_ipaddress", &mut findings);
            let said: Vec<String> = findings.faults.iter().map(ToString::to_string).collect();
            assert!(said.concat().contains(expected), "{text}: {said:?}");
        }
    }

    #[test]
    fn commands_are_what_keepalived_runs() {
        let mut findings = Findings::default();
        for (text, command, user) in [
            ("notify \"/bin/a b\" root", "/bin/a|b", Some("root")),
            ("notify '/bin/a' root wheel", "/bin/a", Some("root")),
            ("script \"/bin/sh -c 'exit 1'\"", "/bin/sh|-c|exit 1", None),
            ("script /bin/a b", "/bin/a", None),
        ] {
            let it = program(&node(text), &mut findings).unwrap();
            assert_eq!((it.command.join("|").as_str(), it.user.as_deref()), (command, user));
        }
        assert_eq!(program(&node("script"), &mut findings), None);
    }
}
