//! The keys of a `[[check]]` of type `http`.
//!
//! ```text
//!  address = "127.0.0.1:8404"  path = "/health"  host = "www.example.com"
//!  status = "200-399"  header = "X-Role: active"  body = "ready"
//!  tls = true  ca = "/etc/ssl/own.pem"  verify = true
//! ```
//!
//! Without `ca` the certificates that the host's system trusts are used. `verify = false` takes any
//! certificate and is never the default. Whatever goes into the request is refused if it could
//! begin another line of it.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::check_kinds::{absolute, required_endpoint};
use super::document::Section;
use super::endpoint::Endpoint;
use super::fault::{At, Findings};
use super::file::{WRITE_FLAG, WRITE_STRING};

/// Keys of the type.
pub(super) const KEYS: &[&str] =
    &["address", "path", "host", "method", "status", "header", "body", "tls", "ca", "verify"];
/// Bytes of any text that is sent or looked for.
const TEXT_MAX: usize = 1024;

/// Request of an HTTP check and the expected answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// Where to connect to.
    pub at: Endpoint,
    /// Path of the request; begins with a slash.
    pub path: String,
    /// Header `Host` and, with TLS, name in the certificate.
    pub host: String,
    /// Method: `GET` or `HEAD`.
    pub method: &'static str,
    /// Accepted status codes; at least one range.
    pub status: Vec<RangeInclusive<u16>>,
    /// Name of a required header, and its required value if one is given.
    pub header: Option<(String, Option<String>)>,
    /// Text that must occur in the first 64 KiB of the body.
    pub body: Option<String>,
    /// Trusted certificates; `None` is without TLS.
    pub tls: Option<Tls>,
}

/// Certificates that are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Those that the system of this host trusts.
    System,
    /// Those issued by the authorities in this PEM file.
    Authority(PathBuf),
    /// Any: `verify = false`.
    Anybody,
}

/// Reads the keys.
pub(super) fn read(section: &Section<'_>, findings: &mut Findings) -> Option<HttpCheck> {
    let path = plain(section, "path", findings).unwrap_or_else(|| "/".to_owned());
    if !path.starts_with('/')
        && let Some(entry) = section.entry("path")
    {
        let remedy = "begin it with a slash, like path = \"/health\"";
        findings.refuse(&entry.place(), "is not the path of a request", remedy);
    }
    let host = plain(section, "host", findings);
    let method = read_method(section, findings);
    let status = section.text("status", WRITE_STRING, findings);
    let status = status.map_or_else(|| vec![200..=399], |status| ranges(&status, findings));
    let header = plain(section, "header", findings).map(|header| split_header(&header));
    let body = section.text("body", WRITE_STRING, findings);
    if let Some(body) = body.as_ref().filter(|body| !(1..=TEXT_MAX).contains(&body.value.len())) {
        let remedy = format!("write 1 to {TEXT_MAX} bytes that occur in the answer");
        findings.refuse(&body.place, "is not a text to look for", remedy);
    }
    if let Some(body) = body.as_ref().filter(|_| method == "HEAD") {
        findings.refuse(&body.place, "is not sent in answer to HEAD", "write method = \"GET\"");
    }
    let tls = read_tls(section, findings);
    let at = required_endpoint(section, "address", findings)?;
    let host = host.unwrap_or_else(|| match &at {
        Endpoint::Tcp(address) => address.ip().to_string(),
        Endpoint::Unix(_) => "localhost".to_owned(),
    });
    let body = body.map(|body| body.value);
    Some(HttpCheck { at, path, host, method, status, header, body, tls })
}

/// A text that can stand in a line of a request.
fn plain(section: &Section<'_>, key: &str, findings: &mut Findings) -> Option<String> {
    let text = section.text(key, WRITE_STRING, findings)?;
    let header = key == "header";
    let allowed = |letter: char| letter.is_ascii_graphic() || (header && letter == ' ');
    let good = (1..=TEXT_MAX).contains(&text.value.len()) && text.value.chars().all(allowed);
    if !good {
        let remedy = format!("write 1 to {TEXT_MAX} visible ASCII characters");
        findings.refuse(&text.place, "is not allowed in a request", remedy);
    }
    good.then_some(text.value)
}

fn read_method(section: &Section<'_>, findings: &mut Findings) -> &'static str {
    let Some(method) = section.text("method", WRITE_STRING, findings) else { return "GET" };
    match method.value.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        _ => {
            let remedy = "write \"GET\" or \"HEAD\": a check must not change anything";
            findings.refuse(&method.place, "is not a method of checks", remedy);
            "GET"
        }
    }
}

/// Reads `"200"`, `"200-299"` or `"200-299,304"`.
fn ranges(text: &At<String>, findings: &mut Findings) -> Vec<RangeInclusive<u16>> {
    let code = |text: &str| text.trim().parse::<u16>().ok().filter(|it| (100..=599).contains(it));
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (code(from)?, code(to)?);
        (from <= to).then_some(from..=to)
    };
    let read: Option<Vec<_>> = text.value.split(',').map(range).collect();
    read.unwrap_or_else(|| {
        let remedy = "write codes from 100 to 599, like \"200\" or \"200-299,304\"";
        findings.refuse(&text.place, "is not a list of status codes", remedy);
        Vec::new()
    })
}

fn split_header(header: &str) -> (String, Option<String>) {
    match header.split_once(':') {
        Some((name, value)) => (name.trim().to_owned(), Some(value.trim().to_owned())),
        None => (header.trim().to_owned(), None),
    }
}

fn read_tls(section: &Section<'_>, findings: &mut Findings) -> Option<Tls> {
    let tls = section.flag("tls", WRITE_FLAG, findings).is_some_and(|tls| tls.value);
    let ca = section.text("ca", WRITE_STRING, findings);
    let verify = section.flag("verify", WRITE_FLAG, findings);
    if !tls {
        let places = [ca.map(|ca| ca.place), verify.map(|verify| verify.place)];
        for place in places.into_iter().flatten() {
            findings.refuse(&place, "has no effect without TLS", "add tls = true, or remove it");
        }
        return None;
    }
    if verify.is_some_and(|verify| !verify.value) {
        if let Some(ca) = ca {
            findings.refuse(&ca.place, "has no effect with verify = false", "keep one of them");
        }
        return Some(Tls::Anybody);
    }
    let Some(ca) = ca else { return Some(Tls::System) };
    absolute(ca, findings).map(Tls::Authority)
}
