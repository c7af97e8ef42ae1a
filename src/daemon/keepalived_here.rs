//! Warns of a keepalived on this host whose file names an address of this cluster.
//!
//! keepalived deletes the addresses of its file when it starts, also those that this daemon has added
//! (measured with 2.2.7), and adds them as it likes. The two cannot share an address on one host; which
//! is easily forgotten in a migration that is done host by host. A thread of its own looks at the
//! processes of this host from time to time, since files may hang: nothing waits for it. Files that
//! the file includes are not read.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// Between two looks: a start of keepalived is a rare event, and what it has deleted is restored
/// meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// A file of keepalived is much shorter.
const FILE_MAX: u64 = 1 << 20;
const DEFAULT_FILE: &str = "/etc/keepalived/keepalived.conf";

/// The way to the thread; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct KeepalivedHere(Sender<BTreeSet<IpAddr>>);

/// A keepalived that names an address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    process: u32,
    file: PathBuf,
    address: IpAddr,
}

impl KeepalivedHere {
    /// Starts to look for these addresses.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub(super) fn spawn(addresses: BTreeSet<IpAddr>) -> io::Result<Self> {
        let (sender, changes) = channel();
        let body = move || watch(Path::new("/proc"), addresses, &changes);
        thread::Builder::new().name("keepalived".to_owned()).spawn(body)?;
        Ok(Self(sender))
    }

    /// Looks for these addresses from now on.
    pub(super) fn reconfigure(&self, addresses: BTreeSet<IpAddr>) {
        // Refused when the thread has ended.
        drop(self.0.send(addresses));
    }
}

fn watch(proc: &Path, mut addresses: BTreeSet<IpAddr>, changes: &Receiver<BTreeSet<IpAddr>>) {
    let mut known: Vec<Found> = Vec::new();
    loop {
        let found = look(proc, &addresses);
        for Found { process, file, address } in found.iter().filter(|it| !known.contains(it)) {
            tracing::warn!(
                process,
                %address,
                file = %file.display(),
                "keepalived runs on this host and its file names an address of this cluster: it \
                 removes the address when it starts; stop and disable keepalived here, or take the \
                 address out of one of the files"
            );
        }
        known = found;
        match changes.recv_timeout(LOOK_EVERY) {
            Ok(changed) => addresses = changed,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Looks at each process of the host that has the name of keepalived and is not in another network
/// namespace. Of one process and file the first address is named.
fn look(proc: &Path, addresses: &BTreeSet<IpAddr>) -> Vec<Found> {
    let namespace = |process: &str| fs::read_link(proc.join(process).join("ns/net")).ok();
    let here = namespace("self");
    let mut found: Vec<Found> = Vec::new();
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(process) = name.parse::<u32>() else { continue };
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.trim() != "keepalived" {
            continue;
        }
        // That of a process with more rights cannot be read.
        if namespace(&name).zip(here.as_ref()).is_some_and(|(there, here)| there != *here) {
            continue;
        }
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let file = file_of(&words);
        let Some(text) = read(&entry.path(), &file) else { continue };
        let named = addresses.iter().find(|address| names(&text, **address));
        // Its children have the same file.
        if let Some(address) = named.filter(|_| found.iter().all(|it| it.file != file)) {
            found.push(Found { process, file, address: *address });
        }
    }
    found
}

/// The file that a command line of keepalived names.
fn file_of(command_line: &[u8]) -> PathBuf {
    let words = command_line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let mut file = None;
    let mut words = words.skip(1);
    while let Some(word) = words.next() {
        if word == "-f" || word == "--use-file" {
            file = words.next().map(|word| word.into_owned());
        } else if let Some(name) = word.strip_prefix("--use-file=") {
            file = Some(name.to_owned());
        } else if let Some(name) = word.strip_prefix("-f").filter(|name| !name.is_empty()) {
            file = Some(name.to_owned());
        }
    }
    file.unwrap_or_else(|| DEFAULT_FILE.to_owned()).into()
}

/// Reads a file as the process sees it, or as this one does if that is not permitted.
fn read(process: &Path, file: &Path) -> Option<String> {
    let relative = file.strip_prefix("/").unwrap_or(file);
    let place = if file.is_absolute() { "root" } else { "cwd" };
    let opened =
        File::open(process.join(place).join(relative)).or_else(|_| File::open(file)).ok()?;
    if !opened.metadata().is_ok_and(|it| it.is_file()) {
        return None;
    }
    let mut bytes = Vec::new();
    opened.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a line of the file, without its comment, has the address as a word.
fn names(text: &str, address: IpAddr) -> bool {
    let lines = text.lines().map(|line| line.split(['#', '!']).next().unwrap_or_default());
    let mut words = lines.flat_map(|line| line.split([' ', '\t', '{', '}', '"', '/']));
    words.any(|word| word.parse() == Ok(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_that_of_the_command_line() {
        for (words, file) in [
            ("/usr/sbin/keepalived\0-n\0", DEFAULT_FILE),
            ("keepalived\0-n\0-f\0/a.conf\0", "/a.conf"),
            ("keepalived\0-f/b.conf\0", "/b.conf"),
            ("keepalived\0--use-file=/c.conf\0", "/c.conf"),
            ("keepalived\0--use-file\0/d.conf\0", "/d.conf"),
            ("", DEFAULT_FILE),
        ] {
            assert_eq!(file_of(words.as_bytes()), PathBuf::from(file), "{words:?}");
        }
    }

    #[test]
    fn an_address_is_a_word_of_a_line_that_counts() {
        let address: IpAddr = "192.0.2.10".parse().unwrap();
        for (text, named) in [
            ("virtual_ipaddress {\n  192.0.2.10/24 dev eth0\n}", true),
            ("virtual_ipaddress { 192.0.2.10 }", true),
            ("virtual_ipaddress {\n  192.0.2.100\n}", false),
            ("  # 192.0.2.10\n! 192.0.2.10", false),
        ] {
            assert_eq!(names(text, address), named, "{text:?}");
        }
        assert!(names("2001:DB8:0::1/64", "2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn processes_are_told_by_name_namespace_and_file() {
        let proc = std::env::temp_dir().join(format!("buoy-proc-{}", std::process::id()));
        let make = |process: &str, comm: &str, namespace: &str, text: &str| {
            let directory = proc.join(process);
            fs::create_dir_all(directory.join("ns")).unwrap();
            fs::create_dir_all(directory.join("root")).unwrap();
            std::os::unix::fs::symlink(namespace, directory.join("ns/net")).unwrap();
            fs::write(directory.join("comm"), format!("{comm}\n")).unwrap();
            fs::write(directory.join("cmdline"), "keepalived\0-f\0/k.conf\0").unwrap();
            fs::write(directory.join("root/k.conf"), text).unwrap();
        };
        make("self", "buoy", "net:[1]", "");
        make("7", "keepalived", "net:[2]", "192.0.2.10");
        make("8", "haproxy", "net:[1]", "192.0.2.10");
        let addresses = BTreeSet::from(["192.0.2.10".parse().unwrap()]);
        assert_eq!(look(&proc, &addresses), []);
        make("9", "keepalived", "net:[1]", "virtual_ipaddress { 192.0.2.10 }");
        let (file, address) = (PathBuf::from("/k.conf"), "192.0.2.10".parse().unwrap());
        assert_eq!(look(&proc, &addresses), [Found { process: 9, file, address }]);
        fs::remove_dir_all(&proc).unwrap();
    }
}
