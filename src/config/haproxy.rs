//! `[haproxy]`: the balancer on this host that is told which addresses are being drained.
//!
//! Read while a file is checked; changes nothing and asks nobody. What it is told, and why by a
//! list of addresses, is in `balancer`.

use super::check_kinds::required_endpoint;
use super::document::Section;
use super::endpoint::Endpoint;
use super::fault::Findings;
use super::file::WRITE_STRING;

/// The keys of the table.
pub(super) const KEYS: &[&str] = &["socket", "draining_list", "master_socket"];
/// Of a path: 50 commands with it and an address must fit one line of 16 KiB.
const LIST_MAX: usize = 200;

/// The HAProxy that is informed of a drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaproxyConfig {
    /// Stats socket.
    pub at: Endpoint,
    /// The list of the addresses that are being drained, by the name of the file that a rule of its
    /// own configuration reads. Nothing in it ends a command.
    pub list: String,
    /// Socket of its master process, which is asked to reload once groups have been handed over; `None` is
    /// never.
    pub master: Option<Endpoint>,
}

/// Reads the table.
pub(super) fn read(section: &Section<'_>, findings: &mut Findings) -> Option<HaproxyConfig> {
    section.finish(findings);
    let at = required_endpoint(section, "socket", findings);
    let has_master = section.entry("master_socket").is_some();
    let master = has_master.then(|| required_endpoint(section, "master_socket", findings));
    let wanted = "write the file in HAProxy's rule, like \"/etc/haproxy/draining.lst\"";
    let list = section.required("draining_list", wanted, findings)?;
    let list = list.text(WRITE_STRING, findings)?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+@".contains(letter);
    let whole = list.value.starts_with('/') && list.value.len() <= LIST_MAX;
    if !whole || !list.value.chars().all(plain) {
        let problem =
            format!("is not an absolute path of at most {LIST_MAX} letters, digits and /._-+@");
        findings.refuse(&list.place, problem, wanted);
        return None;
    }
    Some(HaproxyConfig { at: at?, list: list.value, master: master.flatten() })
}
