//! `vrrp` of a group, with which the nodes go on speaking to hosts that still run keepalived.
//!
//! Written with `--vrrp` only. To the keepalived hosts the cluster takes the place of the weakest of
//! them, with the priority that this has while its checks pass: it takes nothing from a healthy
//! keepalived until somebody raises the priority. What buoy cannot speak is refused, since a
//! keepalived that hears what it rejects stops to advertise and keeps the addresses.

use std::net::IpAddr;

use super::audit::Ledger;
use super::instances::decimal;
use super::model::{Host, Instance};
use super::report::{Findings, Verdict, listed};
use super::source::Place;
use super::text::{list, quoted};
use super::units::{Part, Unit};
use super::weights;

/// Three detection times of the profile that an imported file has, in microseconds.
const INTERVAL_MIN: u64 = 900_000;
/// The highest priority that can be configured; 255 belongs to the owner of the addresses.
const PRIORITY_MAX: i64 = 254;
const AT_ONCE: &str =
    "change it on all hosts first, or import without --vrrp and change all hosts at once";

/// The table and what to say of it.
pub(super) struct Written<'a> {
    /// As TOML.
    pub(super) value: String,
    /// Where it comes from.
    pub(super) places: Vec<&'a Place>,
    /// Comments above the pool.
    pub(super) comments: Vec<String>,
}

/// What becomes of the keywords of the wire, if they are carried over.
pub(super) fn restate(ledger: &mut Ledger) {
    const ROWS: [(&str, Verdict, &str); 14] = [
        ("virtual_router_id", Verdict::Carried, ": id of vrrp"),
        ("version", Verdict::Carried, ": version of vrrp"),
        ("vrrp_version", Verdict::Carried, ": version of vrrp"),
        ("advert_int", Verdict::Carried, ": interval of vrrp"),
        ("authentication", Verdict::Carried, ": password of vrrp"),
        ("auth_type", Verdict::Otherwise, ": PASS is written as password of vrrp"),
        ("auth_pass", Verdict::Carried, ": password of vrrp; version 3 has none"),
        ("priority", Verdict::Otherwise, ": the order of prefer; the lowest is that of vrrp"),
        ("unicast_peer", Verdict::Otherwise, ": the addresses of the nodes, and peers of vrrp"),
        (
            "unicast_peer.peer",
            Verdict::Otherwise,
            ": the addresses of the nodes, and peers of vrrp",
        ),
        (
            "unicast_src_ip",
            Verdict::Otherwise,
            ": the address of the node, and one of peers of vrrp",
        ),
        (
            "virtual_ipaddress_excluded.address",
            Verdict::Carried,
            ": addresses of the group, excluded of vrrp",
        ),
        ("old_unicast_checksum", Verdict::Otherwise, ": the form that is heard is used"),
        ("v3_checksum_as_v2", Verdict::Otherwise, ": the form that is heard is used"),
    ];
    ledger.restate(|keyword| {
        let is = |end: &str| keyword == end || keyword.ends_with(&format!(".{end}"));
        let here = |row: &&(&str, Verdict, &'static str)| is(row.0);
        let block = keyword.starts_with("vrrp_instance.") || keyword.starts_with("global_defs.");
        ROWS.iter().filter(|_| block).find(here).map(|(_, verdict, how)| (*verdict, *how))
    });
}

/// Makes the table of a unit. A fault says what buoy cannot speak.
pub(super) fn table<'a>(unit: &Unit<'a>, findings: &mut Findings) -> Option<Written<'a>> {
    let first = unit.parts.first()?;
    let faults = findings.faults.len();
    families(unit, first, findings);
    for part in &unit.parts {
        destinations(part.host, findings);
        part.instances.iter().for_each(|instance| authentication(instance, findings));
    }
    let instance = first.instances.first()?;
    let id = instance.vrid.as_ref()?;
    let version_3 = instance.speaks_version_3(&first.host.globals);
    let mut places = vec![&id.place];
    let (lowest, highest) = priorities(unit);
    let mut keys = vec![
        format!("id = {}", id.value),
        format!("version = {}", if version_3 { 3 } else { 2 }),
        format!("priority = {lowest}"),
        format!("interval = {}", quoted(&interval(unit, findings))),
    ];
    let secret = instance.authentication.as_ref().filter(|it| it.value.0 == "PASS" && !version_3);
    if let Some(secret) = secret.filter(|it| !it.value.1.is_empty()) {
        keys.push(format!("password = {}", quoted(&secret.value.1)));
        places.push(&secret.place);
        let text = "the password of keepalived is in the new file: keep the file from other users, \
                    and remove vrrp after the migration";
        findings.tell(text, &[&secret.place]);
    }
    for (key, addresses) in [("peers", peers(unit)), ("excluded", excluded(first))] {
        if !addresses.is_empty() {
            keys.push(format!("{key} = {}", list(&addresses)));
        }
    }
    if findings.faults.iter().skip(faults).any(|fault| fault.refuses) {
        return None;
    }
    let comments = comments(unit, (lowest, highest), findings);
    Some(Written { value: format!("{{ {} }}", keys.join(", ")), places, comments })
}

/// A group is one virtual router for each family, with one number.
fn families(unit: &Unit<'_>, part: &Part<'_>, findings: &mut Findings) {
    let v6 = |instance: &Instance| instance.addresses.first().is_some_and(|it| it.ip.is_ipv6());
    let ids: Vec<i64> =
        part.instances.iter().filter_map(|it| Some(it.vrid.as_ref()?.value)).collect();
    let both = part.instances.iter().filter(|it| v6(it)).count();
    let several = both > 1 || part.instances.len() - both > 1;
    if !several && ids.iter().all(|id| Some(id) == ids.first()) {
        return;
    }
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let problem = format!(
        "{} has the virtual routers {}: buoy speaks VRRP for one of each address family in a group, \
         with the same number",
        unit.name,
        listed(&ids)
    );
    if let Some(place) = unit.places().first() {
        let remedy = "import without --vrrp and change all hosts at once, or take the instances out of \
                      the sync group on all hosts first";
        findings.refuse(place, "vrrp_sync_group", problem, remedy);
    }
}

/// Multicast groups other than those of the standard.
fn destinations(host: &Host, findings: &mut Findings) {
    let global = host.globals.multicast.iter().map(|it| (it.value.as_str(), &it.place));
    let own = host.instances.iter().filter_map(|it| Some(("mcast_dst_ip", it.multicast.as_ref()?)));
    for (keyword, place) in global.chain(own) {
        let problem = "buoy speaks VRRP to 224.0.0.18 and ff02::12 only";
        findings.refuse(place, keyword, problem, AT_ONCE);
    }
    for (entry, _) in host.ledger.rows() {
        let last = entry.keyword.rsplit('.').next().unwrap_or_default();
        if last.starts_with("auth_hmac") {
            let problem = "buoy speaks VRRP without authentication or with a password only";
            findings.refuse(&entry.place, last, problem, AT_ONCE);
        }
    }
}

fn authentication(instance: &Instance, findings: &mut Findings) {
    if let Some(secret) = instance.authentication.as_ref().filter(|it| it.value.0 == "AH") {
        let problem = "buoy does not speak AH: it would not be heard";
        let remedy = "change auth_type to PASS on all hosts first, or import without --vrrp";
        findings.refuse(&secret.place, "auth_type", problem, remedy);
    }
}

/// The priorities of the weakest and of the strongest host while all checks pass.
fn priorities(unit: &Unit<'_>) -> (i64, i64) {
    let of = |part: &Part<'_>| {
        let base = part.instances.first().map_or(100, |it| it.priority.value);
        (base + weights::while_well(part)).clamp(1, PRIORITY_MAX)
    };
    let all = unit.parts.iter().map(of);
    (all.clone().min().unwrap_or(100), all.max().unwrap_or(100))
}

/// As the nodes can keep it: in version 3 the others take over the interval that they hear.
fn interval(unit: &Unit<'_>, findings: &mut Findings) -> String {
    let of = |part: &Part<'_>| {
        let globals = &part.host.globals;
        part.instances.iter().map(|it| it.interval(globals)).max()
    };
    let asked = unit.parts.iter().filter_map(of).max().unwrap_or(1_000_000);
    if asked >= INTERVAL_MIN {
        return super::pools::milliseconds(asked / 1000);
    }
    let text = format!(
        "{}: advert_int {} is shorter than three detection times (0.9 s): the nodes advertise every \
         second; in version 3 keepalived takes over the interval of the master",
        unit.name,
        decimal(asked)
    );
    let adverts = unit.instances().filter_map(|it| Some(&it.advert.as_ref()?.place));
    findings.tell(text, &adverts.collect::<Vec<_>>());
    "1s".to_owned()
}

/// All hosts that speak to each other one by one.
fn peers(unit: &Unit<'_>) -> Vec<IpAddr> {
    let mut peers = Vec::new();
    for instance in unit.instances().filter(|instance| !instance.peers.is_empty()) {
        for peer in instance.unicast_source.iter().chain(&instance.peers) {
            if !peers.contains(peer) {
                peers.push(*peer);
            }
        }
    }
    peers.sort_unstable();
    peers
}

fn excluded(part: &Part<'_>) -> Vec<IpAddr> {
    let all = part.instances.iter().flat_map(|instance| &instance.addresses);
    all.filter(|address| address.excluded).map(|address| address.ip).collect()
}

fn comments(
    unit: &Unit<'_>,
    (lowest, highest): (i64, i64),
    findings: &mut Findings,
) -> Vec<String> {
    let above = (highest + 1).min(PRIORITY_MAX);
    let text = format!(
        "{}: with vrrp the nodes are one router to keepalived, with priority {lowest}; priority = \
         {above} takes the addresses from keepalived; remove vrrp when no host runs keepalived any more \
         (docs/from-keepalived.md)",
        unit.name
    );
    findings.tell(text, &unit.places());
    if highest == PRIORITY_MAX {
        let text = format!(
            "{}: a keepalived has priority {PRIORITY_MAX} or more, which the nodes cannot exceed: \
             stop it to take the addresses, or lower its priority first",
            unit.name
        );
        findings.tell(text, &unit.places());
    }
    vec![format!(
        "vrrp: for the time of the migration. Raise priority to {above} to take the addresses from \
         keepalived."
    )]
}
