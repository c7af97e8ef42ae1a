//! `buoy import`: the files of keepalived hosts to one file of buoy, and a report of each statement.
//!
//! The new file goes to standard output or to a file that is not there yet, the report to standard
//! error. With a fault that refuses there is no file and the exit code is 3.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write};
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::ifaddrs::getifaddrs;
use nix::unistd::gethostname;
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::keepalived::{
    self, Content, Fault, Files, Here, HostFile, Import, Place, Request, Verdict,
};

use super::Streams;

/// What was typed.
pub(super) struct Wanted {
    /// `[NAME=]FILE[@ID]`.
    pub(super) files: Vec<String>,
    /// `NAME=ADDRESS[,ADDRESS]`.
    pub(super) nodes: Vec<(String, Vec<IpAddr>)>,
    pub(super) cluster: String,
    /// Whether groups become virtual routers.
    pub(super) vrrp: bool,
    pub(super) output: Option<PathBuf>,
    pub(super) json: bool,
}

/// Files of this host.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &str, most: u64) -> Result<Content, String> {
        // Without O_NONBLOCK a FIFO would wait for somebody who writes.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(path)
            .map_err(|error| error.to_string())?;
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("it is not a regular file".to_owned());
        }
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most {
            return Err(format!("it is larger than {most} bytes"));
        }
        Ok(Content { bytes, executable: metadata.permissions().mode() & 0o111 != 0 })
    }

    fn list(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

/// Imports, and writes the file and the report.
pub(super) fn run(wanted: &Wanted, streams: &mut Streams<'_>) -> io::Result<Exit> {
    let request = Request {
        hosts: wanted.files.iter().map(|text| host_file(text)).collect(),
        nodes: wanted.nodes.clone(),
        cluster: wanted.cluster.clone(),
        vrrp: wanted.vrrp,
    };
    let host_name = gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let name = host_name.split('.').next().unwrap_or_default();
    let addresses = interfaces();
    let interfaces: Vec<String> = addresses.iter().map(|(name, _)| name.clone()).collect();
    let address_of = |wanted: &str| {
        let mut all = addresses.iter().filter(|(name, _)| name == wanted).filter_map(|it| it.1);
        all.next()
    };
    let here = Here { name, interfaces: &interfaces, address_of: &address_of };
    let import = keepalived::import(&request, &Disk, &here);
    let Some(text) = &import.text else {
        if wanted.json {
            writeln!(streams.out, "{}", as_json(&import, None))?;
        } else {
            write_refusal(&import, streams.err)?;
        }
        return Ok(Exit::Configuration);
    };
    if let Some(output) = &wanted.output
        && let Err(reason) = write_new(output, text)
    {
        writeln!(streams.err, "buoy: {reason}")?;
        if wanted.json {
            let failure = super::Failure { code: "not_written", details: &[] };
            failure.write(Exit::Failed, &reason, streams)?;
        }
        return Ok(Exit::Failed);
    }
    if wanted.json {
        writeln!(streams.out, "{}", as_json(&import, wanted.output.as_deref()))?;
        return Ok(Exit::Done);
    }
    write_report(&import, streams.err)?;
    match &wanted.output {
        Some(output) => writeln!(streams.err, "\nwrote {}", output.display())?,
        None => write!(streams.out, "{text}")?,
    }
    Ok(Exit::Done)
}

/// Reads `[NAME=]FILE[@ID]`; a file that has these signs in its own name is taken as it is.
fn host_file(text: &str) -> HostFile {
    let exists = |path: &str| Path::new(path).exists();
    let whole = HostFile { path: text.to_owned(), ..HostFile::default() };
    if exists(text) {
        return whole;
    }
    let (name, rest) = match text.split_once('=') {
        Some((name, rest)) if !name.is_empty() && !name.contains('/') => {
            (Some(name.to_owned()), rest)
        }
        _ => (None, text),
    };
    match rest.rsplit_once('@') {
        Some((path, id)) if !exists(rest) && !path.is_empty() && !id.is_empty() => {
            HostFile { name, path: path.to_owned(), id: Some(id.to_owned()) }
        }
        _ => HostFile { name, path: rest.to_owned(), id: None },
    }
}

/// Reads `NAME=ADDRESS[,ADDRESS]`.
pub(super) fn node(text: &str) -> Result<(String, Vec<IpAddr>), String> {
    let wanted = "write NAME=ADDRESS, like lb1=192.0.2.11, or NAME=ADDRESS,ADDRESS";
    let (name, list) = text.split_once('=').ok_or(wanted)?;
    let addresses: Result<Vec<IpAddr>, _> = list.split(',').map(str::parse).collect();
    match addresses {
        Ok(addresses) if !name.is_empty() => Ok((name.to_owned(), addresses)),
        _ => Err(wanted.to_owned()),
    }
}

/// Every interface with each of its addresses that another host can reach.
fn interfaces() -> Vec<(String, Option<IpAddr>)> {
    let all = getifaddrs().into_iter().flatten();
    let row = |it: nix::ifaddrs::InterfaceAddress| {
        let v4 = it.address.and_then(|at| at.as_sockaddr_in().map(|at| IpAddr::V4(at.ip())));
        let v6 = it.address.and_then(|at| at.as_sockaddr_in6().map(|at| IpAddr::V6(at.ip())));
        let usable = |ip: &IpAddr| match ip {
            IpAddr::V4(_) => true,
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        };
        (it.interface_name, v4.or(v6).filter(usable))
    };
    all.map(row).collect()
}

/// Writes a file that is not there yet.
fn write_new(path: &Path, text: &str) -> Result<(), String> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o640).open(path);
    let mut file = opened.map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            format!("{} exists and is never overwritten; name another file", path.display())
        } else {
            format!("{} cannot be written: {error}", path.display())
        }
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // Half a file is worse than none; that it cannot be removed either changes nothing.
        let _ = fs::remove_file(path);
        format!("{} cannot be written: {error}", path.display())
    })
}

fn write_refusal(import: &Import, err: &mut dyn Write) -> io::Result<()> {
    let count = import.faults.iter().filter(|fault| fault.refuses).count();
    let plural = if count == 1 { "" } else { "s" };
    writeln!(err, "buoy: not imported, {count} fault{plural}; no file was written")?;
    for fault in import.faults.iter().filter(|fault| fault.refuses) {
        writeln!(err, "{fault}")?;
    }
    write_repaired(import, err)?;
    write_notes(import, err)
}

/// What keepalived ignores or repairs itself.
fn write_repaired(import: &Import, err: &mut dyn Write) -> io::Result<()> {
    let mut repaired = import.faults.iter().filter(|fault| !fault.refuses).peekable();
    if repaired.peek().is_some() {
        writeln!(err, "\nwhat keepalived itself repairs or ignores:")?;
    }
    for fault in repaired {
        writeln!(err, "{fault}")?;
    }
    Ok(())
}

fn write_notes(import: &Import, err: &mut dyn Write) -> io::Result<()> {
    if !import.notes.is_empty() {
        writeln!(err, "\nnotes:")?;
    }
    for note in &import.notes {
        writeln!(err, "- {}{}", note.text, places(&note.places))?;
    }
    Ok(())
}

/// Up to four places in brackets.
fn places(places: &[Place]) -> String {
    const SHOWN_MAX: usize = 4;
    let shown: Vec<String> = places.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    match places.len() {
        0 => String::new(),
        count if count > SHOWN_MAX => {
            format!(" ({} and {} more)", shown.join(", "), count - SHOWN_MAX)
        }
        _ => format!(" ({})", shown.join(", ")),
    }
}

fn write_report(import: &Import, err: &mut dyn Write) -> io::Result<()> {
    writeln!(err, "every statement and what became of it:")?;
    for verdict in Verdict::ALL {
        let entries: Vec<_> =
            import.entries.iter().filter(|entry| entry.verdict == verdict).collect();
        if entries.is_empty() {
            continue;
        }
        writeln!(err, "\n{} ({}):", verdict.words(), entries.len())?;
        for entry in entries {
            writeln!(err, "  {}: {}: {}", entry.place, entry.keyword, entry.how)?;
        }
    }
    write_repaired(import, err)?;
    write_notes(import, err)
}

fn as_json(import: &Import, written: Option<&Path>) -> Value {
    let entries: Vec<Value> = import
        .entries
        .iter()
        .map(|entry| {
            json!({
                "file": &*entry.place.file,
                "line": entry.place.line,
                "keyword": entry.keyword,
                "verdict": entry.verdict.code(),
                "how": entry.how,
            })
        })
        .collect();
    let notes: Vec<Value> = import
        .notes
        .iter()
        .map(|note| {
            let places: Vec<String> = note.places.iter().map(ToString::to_string).collect();
            json!({ "text": note.text, "places": places })
        })
        .collect();
    let faults: Vec<Value> = import.faults.iter().map(fault_json).collect();
    // Of a refused file everything is to be mended, also what keepalived repairs itself.
    let refused = import.text.is_none();
    let (faults, warnings) = if refused { (faults, vec![]) } else { (vec![], faults) };
    json!({
        "schema": 1,
        "imported": import.text.is_some(),
        "config": if written.is_none() { import.text.as_deref() } else { None },
        "written": written,
        "keywords": entries,
        "notes": notes,
        "faults": faults,
        "warnings": warnings,
    })
}

fn fault_json(fault: &Fault) -> Value {
    json!({
        "file": fault.place.as_ref().map(|place| &*place.file),
        "line": fault.place.as_ref().map(|place| place.line),
        "keyword": fault.keyword,
        "problem": fault.problem,
        "remedy": fault.remedy,
        "refuses": fault.refuses,
    })
}
