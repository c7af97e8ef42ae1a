//! `vrrp` of a group: what it is as a virtual router to hosts that do not run buoy.
//!
//! Both families of a group are one entry: IPv4 speaks the version that is written, IPv6 always
//! version 3, as keepalived does. What is refused here would harm others on the wire, or could
//! never be agreed upon by two keepalived.

use std::net::IpAddr;
use std::time::Duration;

use crate::protocol::Mode;
use crate::vrrp::{
    ADDRESSES_V4_MAX, ADDRESSES_V6_MAX, Authentication, Form, PASSWORD_MAX, PRIORITY_MAX, Password,
    Settings, Version,
};

use super::addresses::Vip;
use super::document::{Entry, Section};
use super::duration::{parse_duration, show_duration};
use super::fault::{At, Findings, Place};
use super::file::{WRITE_DURATION, WRITE_FLAG, WRITE_NUMBER, WRITE_STRING};
use super::timing::count;

/// The keys of the table.
pub(super) const KEYS: &[&str] = &[
    "id", "version", "priority", "interval", "password", "checksum", "preempt", "peers", "excluded",
];

const WRITE_TABLE: &str = "write vrrp = { id = 51, version = 2, priority = 150 }";
const WRITE_PEERS: &str = "write a list of addresses, like [\"192.0.2.12\"]";
const WRITE_EXCLUDED: &str = "write addresses of the group, without a prefix";
/// An owner's death must be mended inside before others call the cluster silent.
const DETECTIONS_MIN: u32 = 3;
/// Others that are told one by one.
const PEERS_MAX: usize = 32;
const FORMS: [Form; 3] = [Form::Pseudo, Form::Plain, Form::Multicast];

/// The table as written.
#[derive(Debug)]
pub(super) struct Raw {
    place: Place,
    id: Option<At<i64>>,
    version: Option<At<i64>>,
    priority: Option<At<i64>>,
    interval: Option<At<String>>,
    password: Option<At<String>>,
    checksum: Option<At<String>>,
    preempt: Option<bool>,
    peers: Vec<At<String>>,
    excluded: Vec<At<String>>,
}

/// Settings of a group as a virtual router, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VrrpConfig {
    /// The virtual router (VRID), 1 to 255.
    pub id: u8,
    /// Version over IPv4; IPv6 always uses 3.
    pub version: Version,
    /// Priority of the cluster, 1 to 254.
    pub priority: u8,
    /// Time between two advertisements.
    pub interval: Duration,
    /// Simple text password (version 2 only).
    pub password: Option<Password>,
    /// Form of the checksum until another router is heard.
    pub checksum: Form,
    /// Whether the group is taken from a router of lower priority.
    pub preempt: bool,
    /// Routers to send unicast to; an address family without one uses multicast.
    pub peers: Vec<IpAddr>,
    /// Addresses of the group that are not advertised.
    pub excluded: Vec<IpAddr>,
}

impl VrrpConfig {
    /// Returns the virtual routers of a group with these addresses: one for each family.
    #[must_use]
    pub fn routers(&self, addresses: &[IpAddr]) -> Vec<Settings> {
        let of = |v4: bool| {
            let own = |address: &&IpAddr| address.is_ipv4() == v4;
            let said = |address: &&IpAddr| own(address) && !self.excluded.contains(address);
            let addresses: Vec<IpAddr> = addresses.iter().filter(said).copied().collect();
            let version = if v4 { self.version } else { Version::V3 };
            let password = self.password.filter(|_| version == Version::V2);
            (!addresses.is_empty()).then(|| Settings {
                version,
                id: self.id,
                priority: self.priority,
                interval: self.interval,
                authentication: password.map_or(Authentication::None, Authentication::Password),
                addresses,
                peers: self.peers.iter().filter(own).copied().collect(),
                form: self.checksum,
                preempt: self.preempt,
            })
        };
        [true, false].into_iter().filter_map(of).collect()
    }

    /// Returns the settings as text for the digest, with the password.
    pub(super) fn meaning(&self) -> String {
        format!(" vrrp {self:?} {:?}", self.password.map(Password::to_wire))
    }
}

/// Reads the table.
pub(super) fn read(entry: &Entry<'_>, findings: &mut Findings) -> Option<Raw> {
    let section: Section<'_> = entry.section(KEYS, WRITE_TABLE, findings)?;
    section.finish(findings);
    let id = section.required("id", "write the number that the other routers use", findings);
    // What may be a password by mistake, or is one, is not shown.
    let password = section.entry("password").and_then(|entry| match entry.text_if() {
        Some(text) => Some(At { value: text.value, place: hidden(text.place) }),
        None => {
            let place = hidden(entry.place());
            findings.refuse(&place, "is not a string", WRITE_STRING);
            None
        }
    });
    let mut texts = |key: &str, wanted| -> Vec<At<String>> {
        let list = section.entry(key).and_then(|list| list.list(wanted, findings));
        let list = list.unwrap_or_default();
        list.iter().filter_map(|text| text.text(WRITE_STRING, findings)).collect()
    };
    let (peers, excluded) = (texts("peers", WRITE_PEERS), texts("excluded", WRITE_EXCLUDED));
    Some(Raw {
        place: entry.place(),
        id: id.and_then(|entry| entry.number(WRITE_NUMBER, findings)),
        version: section.number("version", WRITE_NUMBER, findings),
        priority: section.number("priority", WRITE_NUMBER, findings),
        interval: section.text("interval", WRITE_DURATION, findings),
        password,
        checksum: section.text("checksum", WRITE_STRING, findings),
        preempt: section.flag("preempt", WRITE_FLAG, findings).map(|flag| flag.value),
        peers,
        excluded,
    })
}

fn hidden(place: Place) -> Place {
    Place { shown: String::new(), ..place }
}

/// What a group has besides.
pub(super) struct Around<'a> {
    pub(super) vips: &'a [Vip],
    pub(super) mode: Mode,
    pub(super) force: bool,
    /// After how long a dead owner is followed.
    pub(super) detection: Duration,
}

/// Checks the table.
pub(super) fn check(raw: &Raw, around: &Around<'_>, findings: &mut Findings) -> Option<VrrpConfig> {
    let before = findings.faults.len();
    let excluded = check_excluded(raw, around.vips, findings);
    check_around(raw, around, &excluded, findings);
    let id = raw.id.as_ref().and_then(|id| count(id, (1, u8::MAX), findings));
    let version = check_version(raw.version.as_ref(), findings);
    let priority = raw.priority.as_ref().map_or(Some(100), |priority| {
        if priority.value == i64::from(u8::MAX) {
            let problem = "is reserved for the owner of the addresses, which never gives way";
            findings.refuse(&priority.place, problem, "write 254 or less");
            return None;
        }
        count(priority, (1, PRIORITY_MAX), findings)
    });
    let interval = check_interval(raw, (version, around), findings);
    let password = check_password(raw.password.as_ref(), version, findings);
    let checksum = check_checksum(raw.checksum.as_ref(), findings);
    let peers = check_peers(raw, around.vips, findings);
    if findings.faults.len() > before {
        return None;
    }
    warn(raw, around.vips, findings);
    let preempt = raw.preempt.unwrap_or(true);
    let (id, priority, interval) = (id?, priority?, interval?);
    Some(VrrpConfig {
        id,
        version,
        priority,
        interval,
        password,
        checksum,
        preempt,
        peers,
        excluded,
    })
}

/// What `buoy check` has to say of every group that is a virtual router.
fn warn(raw: &Raw, vips: &[Vip], findings: &mut Findings) {
    let Some(first) = vips.first() else { return };
    let text = format!(
        "VRRP is not authenticated: any host of this segment can take {} with one packet every \
         interval, or\nsilence a keepalived; passwords of version 2 are sent in clear. Use it for \
         the migration, then remove it",
        first.address
    );
    findings.warn(&raw.place, text);
}

fn check_excluded(raw: &Raw, vips: &[Vip], findings: &mut Findings) -> Vec<IpAddr> {
    let mut excluded = Vec::new();
    for text in &raw.excluded {
        let address = text.value.parse::<IpAddr>().ok();
        match address.filter(|address| vips.iter().any(|vip| vip.address == *address)) {
            Some(address) => excluded.push(address),
            None => {
                findings.refuse(&text.place, "is not an address of the group", WRITE_EXCLUDED);
            }
        }
    }
    if vips.iter().all(|vip| excluded.contains(&vip.address)) && !vips.is_empty() {
        let problem = "excludes every address, so there is nothing to advertise";
        findings.refuse(&raw.place, problem, "leave one of them out of excluded");
    }
    excluded
}

fn check_around(raw: &Raw, around: &Around<'_>, excluded: &[IpAddr], findings: &mut Findings) {
    if around.mode == Mode::Majority {
        let problem = "cannot be combined with mode \"majority\": a router outside the cluster grants no \
             lease, so two owners would be possible";
        findings.refuse(&raw.place, problem, "leave it out, or use mode \"availability\"");
    }
    if around.force {
        let problem = "cannot be combined with force: VRRP decides which router has the address";
        findings.refuse(&raw.place, problem, "leave one of them out");
    }
    let said = around.vips.iter().filter(|vip| !excluded.contains(&vip.address));
    let (v4, v6): (Vec<&Vip>, Vec<&Vip>) = said.partition(|vip| vip.address.is_ipv4());
    for (count, most, family) in
        [(v4.len(), ADDRESSES_V4_MAX, "IPv4"), (v6.len(), ADDRESSES_V6_MAX, "IPv6")]
    {
        if count > most {
            let problem =
                format!("would advertise {count} {family} addresses, but at most {most} fit");
            findings.refuse(&raw.place, problem, "split them into several groups");
        }
    }
}

fn check_version(version: Option<&At<i64>>, findings: &mut Findings) -> Version {
    match version.map(|version| version.value) {
        None | Some(2) => Version::V2,
        Some(3) => Version::V3,
        Some(_) => {
            if let Some(version) = version {
                findings.refuse(&version.place, "is not a version of VRRP", "write 2 or 3");
            }
            Version::V2
        }
    }
}

fn check_interval(
    raw: &Raw,
    (version, around): (Version, &Around<'_>),
    findings: &mut Findings,
) -> Option<Duration> {
    let default = Duration::from_secs(1);
    let place = raw.interval.as_ref().map_or(&raw.place, |interval| &interval.place);
    let interval = match raw.interval.as_ref().map(|text| parse_duration(&text.value)) {
        None => default,
        Some(Ok(interval)) => interval,
        Some(Err(error)) => {
            findings.refuse(place, error.to_string(), WRITE_DURATION);
            return None;
        }
    };
    let (unit, most) = match version {
        Version::V2 => (Duration::from_secs(1), Duration::from_secs(255)),
        Version::V3 => (Duration::from_millis(10), Duration::from_millis(40_950)),
    };
    if interval < unit || interval > most || !interval.as_millis().is_multiple_of(unit.as_millis())
    {
        let problem = format!(
            "is not possible in version {}, which allows {} to {} in steps of {}",
            version.number(),
            show_duration(unit),
            show_duration(most),
            show_duration(unit)
        );
        findings.refuse(place, problem, "write such an interval, the same as on the other routers");
        return None;
    }
    let v6 = around.vips.iter().any(|vip| vip.address.is_ipv6());
    if v6 && interval > Duration::from_millis(40_950) {
        findings.refuse(place, "is longer than VRRP over IPv6 allows", "write \"40s\" or less");
        return None;
    }
    let least = around.detection * DETECTIONS_MIN;
    if interval < least {
        let problem = format!(
            "is shorter than {DETECTIONS_MIN} detection times ({}): if the owner dies, other \
             routers would take the group before the cluster does",
            show_duration(least)
        );
        let remedy = "write a longer interval on all routers, or use a faster profile";
        findings.refuse(place, problem, remedy);
        return None;
    }
    Some(interval)
}

fn check_password(
    password: Option<&At<String>>,
    version: Version,
    findings: &mut Findings,
) -> Option<Password> {
    let password = password?;
    if version == Version::V3 {
        let problem = "does not exist in version 3";
        findings.refuse(&password.place, problem, "leave it out, or write version = 2");
    }
    if password.value.is_empty() {
        findings.refuse(&password.place, "is empty", "write it, or leave it out");
    }
    if password.value.len() > PASSWORD_MAX {
        let text = format!("only the first {PASSWORD_MAX} bytes are used, as keepalived does");
        findings.warn(&password.place, text);
    }
    Some(Password::new(&password.value))
}

fn check_checksum(checksum: Option<&At<String>>, findings: &mut Findings) -> Form {
    let Some(checksum) = checksum else { return Form::Pseudo };
    let form = FORMS.into_iter().find(|form| form.name() == checksum.value);
    form.unwrap_or_else(|| {
        let remedy = "write \"pseudo-header\", \"plain\" or \"multicast-pseudo-header\"";
        findings.refuse(&checksum.place, "is not a form of checksum", remedy);
        Form::Pseudo
    })
}

fn check_peers(raw: &Raw, vips: &[Vip], findings: &mut Findings) -> Vec<IpAddr> {
    let mut peers: Vec<IpAddr> = Vec::new();
    for text in &raw.peers {
        let Ok(peer) = text.value.parse::<IpAddr>() else {
            findings.refuse(&text.place, "is not an address", WRITE_PEERS);
            continue;
        };
        let family = vips.iter().any(|vip| vip.address.is_ipv4() == peer.is_ipv4());
        if peer.is_multicast() || peer.is_unspecified() || peer.is_loopback() {
            findings.refuse(&text.place, "is not the address of a host", WRITE_PEERS);
        } else if vips.iter().any(|vip| vip.address == peer) {
            findings.refuse(&text.place, "is an address of the group", "name the other hosts");
        } else if !family {
            let problem = "has an address family of which the group has no address";
            findings.refuse(&text.place, problem, "leave it out");
        } else if peers.contains(&peer) {
            findings.refuse(&text.place, "is listed twice", "list each host once");
        }
        peers.push(peer);
    }
    if peers.len() > PEERS_MAX {
        let problem = format!("names {} peers, but at most {PEERS_MAX} are allowed", peers.len());
        findings.refuse(&raw.place, problem, "leave peers out to use multicast");
    }
    peers
}

/// Returns the differences in words, without passwords.
pub(super) fn changed(old: Option<&VrrpConfig>, new: Option<&VrrpConfig>) -> Option<String> {
    if old == new {
        return None;
    }
    Some(match (old, new) {
        (None, Some(new)) => format!("now virtual router {}", new.id),
        (Some(old), None) => format!("no longer virtual router {}", old.id),
        (Some(_), Some(new)) => format!("virtual router {} changed", new.id),
        (None, None) => return None,
    })
}
