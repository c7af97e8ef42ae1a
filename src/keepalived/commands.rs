//! What a `vrrp_script` looks at, where it is one of the programs that everybody uses for it.
//!
//! ```text
//!  killall -0 NAME, pidof NAME, pgrep -x NAME   process     systemctl is-active UNIT   systemd
//!  curl -f http://ADDRESS:PORT/PATH             http        test -e FILE, ! -e FILE    file
//!  nc -z ADDRESS PORT                           tcp         ping -c 1 ADDRESS          gateway
//! ```
//!
//! Only forms whose every word is understood are taken; anything else stays a program (`exec`),
//! which does exactly what it did. Pure.

use std::net::{IpAddr, SocketAddr};

use super::values::{Program, ip};

/// The longest name of a process (`TASK_COMM_LEN` with its closing zero).
const NAME_MAX: usize = 15;

/// What a check looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Process(String),
    Systemd(String),
    File { file: String, absent: bool },
    Number { file: String },
    Tcp(SocketAddr),
    Http(Http),
    Gateway { address: IpAddr, interface: Option<String> },
    Exec(Vec<String>),
}

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Http {
    pub(super) address: String,
    pub(super) path: String,
    pub(super) host: Option<String>,
    pub(super) head: bool,
    /// Every status is good, as for curl without -f.
    pub(super) any_status: bool,
    pub(super) tls: bool,
    pub(super) insecure: bool,
}

impl Look {
    /// The word for it in the file.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
            Self::Systemd(_) => "systemd",
            Self::File { .. } | Self::Number { .. } => "file",
            Self::Tcp(_) => "tcp",
            Self::Http(_) => "http",
            Self::Gateway { .. } => "gateway",
            Self::Exec(_) => "exec",
        }
    }
}

/// What a script looks at, and the timeout in seconds that it has itself.
pub(super) fn look(program: &Program) -> (Look, Option<u64>) {
    let words: Vec<&str> = program.command.iter().map(String::as_str).collect();
    let (first, rest) = words.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
    let name = first.rsplit('/').next().unwrap_or(first);
    let known = match name {
        "killall" => killall(rest).map(|look| (look, None)),
        "pidof" => pidof(rest).map(|look| (look, None)),
        "pgrep" => pgrep(rest).map(|look| (look, None)),
        "systemctl" => systemctl(rest).map(|look| (look, None)),
        "test" => test(rest).map(|look| (look, None)),
        "[" => rest
            .split_last()
            .filter(|(last, _)| **last == "]")
            .and_then(|(_, rest)| test(rest).map(|look| (look, None))),
        "nc" | "ncat" | "netcat" => nc(rest),
        "ping" | "ping6" => ping(rest),
        "curl" => curl(rest),
        _ => None,
    };
    known.unwrap_or_else(|| (exec(program), None))
}

/// The program itself, found by its path as keepalived finds it.
pub(super) fn exec(program: &Program) -> Look {
    Look::Exec(absolute(&program.command))
}

/// A command whose program has a path from the root.
pub(super) fn absolute(command: &[String]) -> Vec<String> {
    let mut words = command.to_vec();
    if words.first().is_some_and(|first| !first.starts_with('/')) {
        words.insert(0, "/usr/bin/env".to_owned());
    }
    words
}

/// A command for a sentence: without directories, and a longer one by the name of its script.
pub(super) fn short(program: &Program, script: &str) -> String {
    let mut words = program.command.clone();
    if let Some(first) = words.first_mut() {
        *first = first.rsplit('/').next().unwrap_or_default().to_owned();
    }
    match words.as_slice() {
        [first, _, _, _, ..] => format!("{first} of {script}"),
        words => words.join(" "),
    }
}

/// What of a `vrrp_track_process` is dropped, as a sentence.
pub(super) fn dropped(name: &str, keywords: &[&str]) -> Option<String> {
    let are = if keywords.len() == 1 { "is" } else { "are" };
    (!keywords.is_empty()).then(|| format!("{name}: {} {are} dropped", keywords.join(", ")))
}

/// The name that a process has in `/proc/PID/comm`, if it fits there.
pub(super) fn process(name: &str) -> Option<String> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let fits = (1..=NAME_MAX).contains(&name.len()) && !name.starts_with('-');
    fits.then(|| name.to_owned())
}

fn killall(words: &[&str]) -> Option<Look> {
    let (zero, rest) = words.split_first()?;
    let name = match (*zero, rest) {
        ("-0", [name]) | ("-0", ["-q", name]) | ("-q", ["-0", name]) => name,
        ("-s" | "--signal", ["0", name]) => name,
        _ => return None,
    };
    process(name).map(Look::Process)
}

fn pidof(words: &[&str]) -> Option<Look> {
    let ([name] | ["-s" | "-q", name]) = words else { return None };
    process(name).map(Look::Process)
}

/// Without `-x` a part of the name is enough for pgrep.
fn pgrep(words: &[&str]) -> Option<Look> {
    let ["-x", name] = words else { return None };
    let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter));
    process(name).filter(|_| plain).map(Look::Process)
}

fn systemctl(words: &[&str]) -> Option<Look> {
    let words: Vec<&str> =
        words.iter().copied().filter(|word| !["-q", "--quiet"].contains(word)).collect();
    let ["is-active", unit] = words.as_slice() else { return None };
    if unit.starts_with('-') || unit.contains(['*', '?', '[']) {
        return None;
    }
    let unit = if unit.contains('.') { (*unit).to_owned() } else { format!("{unit}.service") };
    Some(Look::Systemd(unit))
}

fn test(words: &[&str]) -> Option<Look> {
    let (file, absent) = match words {
        ["-e" | "-f", file] => (file, false),
        ["!", "-e" | "-f", file] => (file, true),
        _ => return None,
    };
    file.starts_with('/').then(|| Look::File { file: (*file).to_owned(), absent })
}

fn nc(words: &[&str]) -> Option<(Look, Option<u64>)> {
    let (mut zero, mut timeout, mut rest) = (false, None, Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "-z" => zero = true,
            "-v" | "-n" | "-4" | "-6" => {}
            "-nz" | "-zn" | "-vz" | "-zv" | "-nvz" | "-vnz" | "-nzv" | "-vzn" | "-znv" | "-zvn" => {
                zero = true;
            }
            "-w" => timeout = Some(words.next()?.parse().ok()?),
            word if word.starts_with("-w") => timeout = Some(word.get(2..)?.parse().ok()?),
            word if word.starts_with('-') => return None,
            word => rest.push(word),
        }
    }
    let [address, port] = rest.as_slice() else { return None };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    zero.then_some((Look::Tcp(SocketAddr::new(ip(address)?, port)), timeout))
}

fn ping(words: &[&str]) -> Option<(Look, Option<u64>)> {
    let (mut timeout, mut interface, mut address) = (None, None, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "-q" | "-n" | "-4" | "-6" => {}
            "-c1" => {}
            "-c" => {
                words.next().filter(|count| **count == "1")?;
            }
            "-W" | "-w" => timeout = Some(words.next()?.parse().ok()?),
            "-I" => interface = Some((*words.next()?).to_owned()),
            word if word.starts_with("-W") => timeout = Some(word.get(2..)?.parse().ok()?),
            word if word.starts_with('-') => return None,
            word if address.is_none() => address = Some(ip(word)?),
            _ => return None,
        }
    }
    // An address behind -I is the source, which a check does not choose.
    let named = interface.as_ref().is_none_or(|name: &String| ip(name).is_none());
    named.then_some(())?;
    Some((Look::Gateway { address: address?, interface }, timeout))
}

fn curl(words: &[&str]) -> Option<(Look, Option<u64>)> {
    let (mut http, mut timeout, mut url) = (Http::default(), None, None);
    http.any_status = true;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--fail" => http.any_status = false,
            "--silent" | "--show-error" => {}
            "--insecure" => http.insecure = true,
            "--head" => http.head = true,
            "-o" | "--output" => {
                words.next().filter(|file| **file == "/dev/null")?;
            }
            "-m" | "--max-time" => timeout = Some(words.next()?.parse().ok()?),
            "--connect-timeout" => {
                words.next()?.parse::<u64>().ok()?;
            }
            "-H" | "--header" => {
                let host = words.next()?.strip_prefix("Host:")?.trim();
                http.host = Some(host.to_owned());
            }
            letters if letters.starts_with('-') && !letters.starts_with("--") => {
                for letter in letters.chars().skip(1) {
                    match letter {
                        'f' => http.any_status = false,
                        's' | 'S' => {}
                        'k' => http.insecure = true,
                        'I' => http.head = true,
                        _ => return None,
                    }
                }
            }
            word if word.starts_with('-') || url.is_some() => return None,
            word => url = Some(word),
        }
    }
    let url = url?;
    let (tls, rest) = match url.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        Some(_) => return None,
        None => (false, url),
    };
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let port = if tls { 443 } else { 80 };
    let address = place.parse::<SocketAddr>().ok().or_else(|| {
        let inner = place.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(place);
        Some(SocketAddr::new(ip(inner)?, port))
    })?;
    http.address = address.to_string();
    http.path = format!("/{}", path.split('#').next().unwrap_or(path));
    http.tls = tls;
    http.insecure &= tls;
    http.path.chars().all(|letter| letter.is_ascii_graphic()).then_some(())?;
    Some((Look::Http(http), timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(command: &str) -> String {
        let command = command.split(' ').map(str::to_owned).collect();
        let (look, timeout) = look(&Program { command, user: None });
        let timeout = timeout.map(|timeout| format!(" {timeout}s")).unwrap_or_default();
        let shown = match look {
            Look::Process(name) => name,
            Look::Systemd(unit) => unit,
            Look::File { file, absent } => format!("{file} {absent}"),
            Look::Number { file } => file,
            Look::Tcp(at) => format!("tcp {at}"),
            Look::Http(http) => format!("{}{}", http.address, http.path),
            Look::Gateway { address, interface } => format!("gw {address} {interface:?}"),
            Look::Exec(words) => format!("exec {}", words.join(" ")),
        };
        shown + &timeout
    }

    #[test]
    fn programs_that_everybody_uses_become_checks_of_their_own() {
        for (command, expected) in [
            ("/usr/bin/killall -0 haproxy", "haproxy"),
            ("killall -0 haproxy", "haproxy"),
            ("/usr/bin/killall haproxy", "exec /usr/bin/killall haproxy"),
            ("killall -0 a b", "exec /usr/bin/env killall -0 a b"),
            ("/bin/pidof haproxy", "haproxy"),
            ("/bin/pidof /usr/sbin/haproxy", "haproxy"),
            ("/usr/bin/pgrep haproxy", "exec /usr/bin/pgrep haproxy"),
            ("/usr/bin/pgrep -x haproxy", "haproxy"),
            ("/usr/bin/systemctl is-active --quiet nginx", "nginx.service"),
            ("/usr/bin/systemctl status nginx", "exec /usr/bin/systemctl status nginx"),
            ("/usr/bin/test ! -e /run/down", "/run/down true"),
            ("[ -f /run/up ]", "/run/up false"),
            ("[ -f /run/up", "exec /usr/bin/env [ -f /run/up"),
            ("/bin/nc -z -w 1 127.0.0.1 3306", "tcp 127.0.0.1:3306 1s"),
            ("/bin/nc -z localhost 80", "exec /bin/nc -z localhost 80"),
            ("/bin/nc 127.0.0.1 80", "exec /bin/nc 127.0.0.1 80"),
            ("/bin/ping -c 1 -W 1 192.0.2.1", "gw 192.0.2.1 None 1s"),
            ("/bin/ping -c 3 192.0.2.1", "exec /bin/ping -c 3 192.0.2.1"),
            ("/bin/ping -c 1 -I eth1 192.0.2.1", "gw 192.0.2.1 Some(\"eth1\")"),
            ("/usr/bin/curl -fsS -m 2 http://127.0.0.1:8080/health", "127.0.0.1:8080/health 2s"),
            ("/usr/bin/curl -f http://[::1]/", "[::1]:80/"),
            ("/usr/bin/curl -fL http://127.0.0.1/", "exec /usr/bin/curl -fL http://127.0.0.1/"),
            ("/usr/bin/curl -f http://www/", "exec /usr/bin/curl -f http://www/"),
            ("/usr/local/bin/check a", "exec /usr/local/bin/check a"),
            ("check a", "exec /usr/bin/env check a"),
        ] {
            assert_eq!(looked(command), expected, "{command}");
        }
    }
}
