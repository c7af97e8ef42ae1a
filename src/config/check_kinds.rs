//! What each type of `[[check]]` looks at, and the keys that it takes.
//!
//! A key of another type is refused as unknown here, with the keys that this type has. Addresses
//! are numbers: a check that has to resolve a name first would be a check of the name service.
//! Paths are absolute, since the daemon's own directory means nothing. Called by `checks` in this
//! directory; changes nothing and looks at nothing on the host.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::document::{Entry, Section};
use super::endpoint::Endpoint;
use super::fault::{At, Findings};
use super::file::{WRITE_FLAG, WRITE_NUMBER, WRITE_STRING};
use super::http_check::{self, HttpCheck};
use super::pools::suggestion;

/// Words of a command.
const WORDS_MAX: usize = 64;
/// Frontends, or backends, of one check.
const PROXIES_MAX: usize = 64;

/// The types with their keys.
const TYPES: [(&str, &[&str]); 9] = [
    ("tcp", &["address"]),
    ("http", http_check::KEYS),
    ("haproxy", &["socket", "frontends", "backends"]),
    ("process", &["pidfile", "process"]),
    ("systemd", &["unit"]),
    ("file", &["file", "absent", "at_least", "at_most"]),
    ("gateway", &["address", "interface", "ask"]),
    ("route", &["address", "interface", "connected"]),
    ("exec", &["command", "user"]),
];

/// Type of a check and its own settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// `tcp`: a connection is accepted.
    Tcp {
        /// Where to connect to.
        at: Endpoint,
    },
    /// `http`: a server answers as expected.
    Http(Box<HttpCheck>),
    /// `haproxy`: HAProxy reports that it works.
    Haproxy {
        /// Stats socket of HAProxy.
        at: Endpoint,
        /// Names of frontends that must be open.
        frontends: Vec<String>,
        /// Names of backends that must have a server that is up.
        backends: Vec<String>,
    },
    /// `process`: a process runs.
    Process(ProcessNamed),
    /// `systemd`: a unit is active.
    Systemd {
        /// Full name of the unit, such as `haproxy.service`.
        unit: String,
    },
    /// `file`: a file exists, does not exist, or holds a number.
    File {
        /// Absolute path.
        file: PathBuf,
        /// Condition for success.
        wanted: FileWanted,
    },
    /// `gateway`: a host on the network answers.
    Gateway {
        /// Address of the host.
        address: IpAddr,
        /// Interface to ask on; `None` is that of the route to it.
        interface: Option<String>,
        /// Ping or ARP.
        ask: Question,
    },
    /// `route`: the kernel has a route.
    Route {
        /// Destination.
        address: IpAddr,
        /// Interface that the route must use; `None` is any.
        interface: Option<String>,
        /// Whether the route must be without a gateway.
        connected: bool,
    },
    /// `exec`: a program exits with status 0.
    Exec {
        /// Absolute path of the program and its arguments.
        command: Vec<String>,
        /// User to run it as; `None` is the user of the daemon.
        user: Option<String>,
    },
}

/// How the process of a check is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessNamed {
    /// By its PID file.
    Pidfile(PathBuf),
    /// By its name, at most 15 bytes, as in `/proc/PID/comm`.
    Name(String),
}

/// Condition on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileWanted {
    /// It exists.
    Present,
    /// It does not exist.
    Absent,
    /// It holds a whole number in this range, bounds included.
    Number(i64, i64),
}

/// How a check asks a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// ICMP echo request.
    Ping,
    /// ARP request; IPv4 only.
    Arp,
}

impl CheckKind {
    /// Returns the name of the type in the file.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Tcp { .. } => "tcp",
            Self::Http(_) => "http",
            Self::Haproxy { .. } => "haproxy",
            Self::Process(_) => "process",
            Self::Systemd { .. } => "systemd",
            Self::File { .. } => "file",
            Self::Gateway { .. } => "gateway",
            Self::Route { .. } => "route",
            Self::Exec { .. } => "exec",
        }
    }
}

/// Keys of all types, each once, for the list of known keys.
pub(super) fn keys() -> Vec<&'static str> {
    let mut keys: Vec<&str> = TYPES.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Reads the type and its keys.
pub(super) fn read(section: &Section<'_>, findings: &mut Findings) -> Option<CheckKind> {
    let names = TYPES.map(|(name, _)| name);
    let wanted = format!("write one of {}, like type = \"http\"", names.join(", "));
    let entry = section.required("type", &wanted, findings)?;
    let word = entry.text(WRITE_STRING, findings)?;
    let Some((name, own)) = TYPES.iter().find(|(name, _)| *name == word.value) else {
        findings.refuse(&word.place, "is not a type of check", suggestion(&word.value, &names));
        return None;
    };
    for key in keys().into_iter().filter(|key| !own.contains(key)) {
        if let Some(entry) = section.entry(key) {
            let problem = format!("is not a key of checks of type {name:?}");
            findings.refuse(&entry.place(), problem, format!("its keys are {}", own.join(", ")));
        }
    }
    match *name {
        "tcp" => Some(CheckKind::Tcp { at: required_endpoint(section, "address", findings)? }),
        "http" => http_check::read(section, findings).map(|http| CheckKind::Http(Box::new(http))),
        "haproxy" => read_haproxy(section, findings),
        "process" => read_process(section, findings).map(CheckKind::Process),
        "systemd" => read_unit(section, findings),
        "file" => read_file(section, findings),
        "gateway" => read_gateway(section, findings),
        "route" => Some(CheckKind::Route {
            interface: text(section, "interface", findings),
            connected: section.flag("connected", WRITE_FLAG, findings).is_some_and(|at| at.value),
            address: required_address(section, findings)?,
        }),
        _ => {
            let user = text(section, "user", findings);
            Some(CheckKind::Exec { command: read_command(section, findings)?, user })
        }
    }
}

fn text(section: &Section<'_>, key: &str, findings: &mut Findings) -> Option<String> {
    section.text(key, WRITE_STRING, findings).map(|text| text.value)
}

/// Reads an address with its port, or a socket in the file system.
pub(super) fn required_endpoint(
    section: &Section<'_>,
    key: &str,
    findings: &mut Findings,
) -> Option<Endpoint> {
    const WANTED: &str = "write an address with its port, like \"127.0.0.1:80\" or \"[::1]:80\", \
                          or a socket like \"/run/haproxy/admin.sock\"";
    let at = section.required(key, WANTED, findings)?.text(WRITE_STRING, findings)?;
    if at.value.starts_with('/') {
        return Some(Endpoint::Unix(PathBuf::from(at.value)));
    }
    let address = at.value.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    if address.is_none() {
        findings.refuse(&at.place, "is not an address to connect to", WANTED);
    }
    address.map(Endpoint::Tcp)
}

fn read_haproxy(section: &Section<'_>, findings: &mut Findings) -> Option<CheckKind> {
    let frontends = proxies(section, "frontends", findings);
    let backends = proxies(section, "backends", findings);
    Some(CheckKind::Haproxy {
        at: required_endpoint(section, "socket", findings)?,
        frontends,
        backends,
    })
}

fn proxies(section: &Section<'_>, key: &str, findings: &mut Findings) -> Vec<String> {
    let wanted = "write a list of names as in HAProxy's configuration, like [\"www\"]";
    let Some(entry) = section.entry(key) else { return Vec::new() };
    let names = texts(&entry, wanted, findings);
    if names.len() > PROXIES_MAX {
        let problem = format!("has {} names, but at most {PROXIES_MAX} are allowed", names.len());
        findings.refuse(&entry.place(), problem, "write several checks");
    }
    // They come back in lines separated by commas.
    for name in &names {
        if name.value.is_empty() || !name.value.chars().all(|letter| letter.is_ascii_graphic()) {
            findings.refuse(&name.place, "is not the name of a proxy", wanted);
        }
    }
    names.into_iter().map(|name| name.value).collect()
}

fn texts(entry: &Entry<'_>, wanted: &str, findings: &mut Findings) -> Vec<At<String>> {
    let elements = entry.list(wanted, findings).unwrap_or_default();
    elements.iter().filter_map(|element| element.text(WRITE_STRING, findings)).collect()
}

fn read_process(section: &Section<'_>, findings: &mut Findings) -> Option<ProcessNamed> {
    /// `TASK_COMM_LEN` of Linux with its closing zero.
    const NAME_MAX: usize = 15;
    let (pidfile, name) = (section.entry("pidfile"), section.entry("process"));
    let wanted = "write pidfile = \"/run/haproxy.pid\" or process = \"haproxy\"";
    match (pidfile, name) {
        (Some(file), None) => {
            absolute(file.text(WRITE_STRING, findings)?, findings).map(ProcessNamed::Pidfile)
        }
        (None, Some(name)) => {
            let name = name.text(WRITE_STRING, findings)?;
            let fits = (1..=NAME_MAX).contains(&name.value.len());
            if !fits {
                let remedy = format!("write 1 to {NAME_MAX} characters, as \"ps -eo comm\" shows");
                findings.refuse(&name.place, "is not the name of a process", remedy);
            }
            fits.then_some(ProcessNamed::Name(name.value))
        }
        (Some(_), Some(both)) => {
            findings.refuse(&both.place(), "cannot be combined with pidfile", "keep one of them");
            None
        }
        (None, None) => {
            findings.refuse(section.place(), "does not name the process", wanted);
            None
        }
    }
}

/// A path from the root.
pub(super) fn absolute(path: At<String>, findings: &mut Findings) -> Option<PathBuf> {
    let good = path.value.starts_with('/') && !path.value.contains('\0');
    if !good {
        findings.refuse(
            &path.place,
            "is not an absolute path",
            "write a path that begins with \"/\"",
        );
    }
    good.then(|| PathBuf::from(path.value))
}

fn read_unit(section: &Section<'_>, findings: &mut Findings) -> Option<CheckKind> {
    let wanted = "write the name of a unit, like unit = \"haproxy.service\"";
    let unit = section.required("unit", wanted, findings)?.text(WRITE_STRING, findings)?;
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || ":-_.\\@".contains(letter);
    let good = unit.value.contains('.')
        && !unit.value.starts_with('-')
        && unit.value.len() <= 255
        && unit.value.chars().all(allowed);
    if !good {
        findings.refuse(&unit.place, "is not the name of a unit", wanted);
    }
    good.then_some(CheckKind::Systemd { unit: unit.value })
}

fn read_file(section: &Section<'_>, findings: &mut Findings) -> Option<CheckKind> {
    let wanted = "write the path of a file, like file = \"/run/ready\"";
    let file = section.required("file", wanted, findings)?.text(WRITE_STRING, findings)?;
    let absent = section.flag("absent", WRITE_FLAG, findings).is_some_and(|at| at.value);
    let least = section.number("at_least", WRITE_NUMBER, findings);
    let most = section.number("at_most", WRITE_NUMBER, findings);
    let wanted = match (absent, &least, &most) {
        (false, None, None) => FileWanted::Present,
        (true, None, None) => FileWanted::Absent,
        (true, Some(at), _) | (true, None, Some(at)) => {
            let problem = "cannot be combined with absent = true: an absent file holds no number";
            findings.refuse(&at.place, problem, "keep one of them");
            FileWanted::Absent
        }
        (false, least, most) => {
            let from = least.as_ref().map_or(i64::MIN, |at| at.value);
            let to = most.as_ref().map_or(i64::MAX, |at| at.value);
            if let Some(most) = most.as_ref().filter(|_| from > to) {
                findings.refuse(
                    &most.place,
                    "is below at_least",
                    "correct one of them: no number satisfies both",
                );
            }
            FileWanted::Number(from, to)
        }
    };
    Some(CheckKind::File { file: absolute(file, findings)?, wanted })
}

fn required_address(section: &Section<'_>, findings: &mut Findings) -> Option<IpAddr> {
    let wanted = "write an IP address, like address = \"10.77.0.1\"";
    let at = section.required("address", wanted, findings)?.text(WRITE_STRING, findings)?;
    let address = at.value.parse().ok();
    if address.is_none() {
        findings.refuse(&at.place, "is not an IP address", wanted);
    }
    address
}

fn read_gateway(section: &Section<'_>, findings: &mut Findings) -> Option<CheckKind> {
    let ask = section.text("ask", WRITE_STRING, findings);
    let question = match ask.as_ref().map(|ask| ask.value.as_str()) {
        None | Some("ping") => Question::Ping,
        Some("arp") => Question::Arp,
        Some(other) => {
            let place = ask.as_ref().map(|ask| ask.place.clone()).unwrap_or_default();
            findings.refuse(&place, "is not a way to ask", suggestion(other, &["ping", "arp"]));
            Question::Ping
        }
    };
    let interface = text(section, "interface", findings);
    let address = required_address(section, findings)?;
    if let Some(ask) = ask.filter(|_| question == Question::Arp && address.is_ipv6()) {
        findings.refuse(&ask.place, "is for IPv4 only", "write ask = \"ping\"");
    }
    Some(CheckKind::Gateway { address, interface, ask: question })
}

/// Reads the program and its arguments.
pub(super) fn read_command(section: &Section<'_>, findings: &mut Findings) -> Option<Vec<String>> {
    let wanted = "write the program and its arguments, like command = [\"/usr/local/bin/well\"]; \
                  there is no shell";
    let entry = section.required("command", wanted, findings)?;
    let words = texts(&entry, wanted, findings);
    let place = entry.place();
    let Some(program) = words.first() else {
        if entry.list_if().is_some_and(|list| list.is_empty()) {
            findings.refuse(&place, "is empty", wanted);
        }
        return None;
    };
    if words.len() > WORDS_MAX {
        let problem = format!("has {} words, but at most {WORDS_MAX} are allowed", words.len());
        findings.refuse(&place, problem, "write a script");
    }
    if let Some(word) = words.iter().find(|word| word.value.contains('\0')) {
        findings.refuse(&word.place, "holds a byte of zero", "leave it out");
    }
    absolute(program.clone(), findings)?;
    Some(words.into_iter().map(|word| word.value).collect())
}
