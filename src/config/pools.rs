//! `[[pool]]`: the groups of virtual addresses and where they should be.
//!
//! A group is known to the protocol by its first address, and to people by its name or by that
//! address; both must be unique over all pools, and so must every single address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// Addresses in all; the kernel's cost per address grows with their number.
pub use crate::protocol::ADDRESSES_MAX;
use crate::protocol::{GROUPS_MAX, GroupKey, LastResort, Mode, NodeId, Preference, Strategy};
use crate::routing::Routing;

use super::addresses::{Vip, is_link_local_v6, vip};
use super::company;
use super::document::nearest;
use super::fault::{At, Findings, Place};
use super::file;
use super::interfaces::{self, Interfaces};
use super::labels;
use super::nodes::{Nodes, valid_name};
use super::preference;
use super::rules;
use super::voters::check_voters;
use super::vrrp::{self, VrrpConfig};
use super::zones::{self, Zones};

/// Addresses of one group; each move handles all of them at once.
pub const ADDRESSES_PER_GROUP_MAX: usize = 1024;
/// The word for [`Mode::Majority`].
const MAJORITY: &str = "majority";
/// Above these a takeover takes more than some 15 and 100 ms, as measured.
const COMFORTABLE_V4: usize = 1000;
const COMFORTABLE_V6: usize = 300;
/// Neighbours that a Linux client keeps unless told otherwise (`gc_thresh3`; H66 in
/// docs/invariants.md).
const CLIENT_NEIGHBOURS: usize = 1024;

/// A group of addresses that move together, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// Name of its pool.
    pub pool: String,
    /// Name as written, else its first address.
    pub name: String,
    /// Identity in the protocol, a hash of its first address.
    pub key: GroupKey,
    /// Addresses as written, 1 to [`ADDRESSES_PER_GROUP_MAX`].
    pub vips: Vec<Vip>,
    /// Keys of its link-local addresses that another group has on another link; those of all other
    /// addresses follow from the address.
    pub keys: BTreeMap<IpAddr, GroupKey>,
    /// Interfaces for the addresses: names and patterns (`en*`), separated by spaces; `None` is the
    /// interface with a connected route to the address.
    pub interface: Option<String>,
    /// The same for nodes with an entry of their own.
    pub interface_of: BTreeMap<NodeId, String>,
    /// Availability, or a single owner under leases.
    pub mode: Mode,
    /// Rule of placement.
    pub strategy: Strategy,
    /// Preferred nodes, best first.
    pub prefer: Preference,
    /// Labels that a node must have to own it, sorted.
    pub requires: Vec<String>,
    /// Pools that it shares no node with, sorted.
    pub apart_from: Vec<String>,
    /// Pools that it is on one node with, its own included, sorted; none if it is with none.
    pub together_with: Vec<String>,
    /// How long a preferred node must have been well before the group returns; `None` is never.
    pub failback: Option<Duration>,
    /// Whether it is taken although another host answers for it.
    pub force: bool,
    /// What happens to it when no node passes the required checks of its pool.
    pub last_resort: LastResort,
    /// Settings of its virtual router (VRRP), if it is one.
    pub vrrp: Option<VrrpConfig>,
    /// Routes and rules that a node has only while it has the group.
    pub routing: Routing,
}

impl GroupConfig {
    /// Returns the key of one of its addresses.
    #[must_use]
    pub fn key_of(&self, address: IpAddr) -> GroupKey {
        let special = self.keys.get(&address).copied();
        special.unwrap_or_else(|| GroupKey::from_first_address(address))
    }

    /// Returns the interfaces for its addresses on this node; `None` as in
    /// [`GroupConfig::interface`].
    #[must_use]
    pub fn interface_at(&self, node: NodeId) -> Option<&str> {
        self.interface_of.get(&node).or(self.interface.as_ref()).map(String::as_str)
    }

    /// Calls a group without a name of its own by its first address and its interface, if others
    /// have the same address on other links.
    fn name_by_link(&mut self, zones: &Zones) {
        let Some(first) = self.vips.first().map(|vip| vip.address) else { return };
        let all = Interfaces { all: self.interface.clone(), by_node: self.interface_of.clone() };
        if let Some(interface) = all.only()
            && self.name == first.to_string()
            && zones.are_several(first)
        {
            self.name = format!("{first}%{interface}");
        }
    }

    /// Returns whether its addresses are answered only under leases from a majority of the voters.
    #[must_use]
    pub fn needs_majority(&self) -> bool {
        self.mode == Mode::Majority
    }
}

/// What has been seen so far, to tell what stands twice.
#[derive(Default)]
struct Seen {
    pools: Vec<String>,
    names: BTreeMap<String, Place>,
    keys: BTreeMap<GroupKey, IpAddr>,
    addresses: BTreeMap<IpAddr, Place>,
    zones: Zones,
    /// Virtual routers by number, family (whether IPv4) and interface.
    routers: BTreeMap<(u8, bool, Option<String>), Place>,
    routing: rules::Seen,
    /// After how long a dead owner is followed.
    detection: Duration,
}

/// What all groups of a pool share.
struct Shared {
    pool: String,
    interface: Interfaces,
    mode: Mode,
    strategy: Strategy,
    prefer: Preference,
    requires: Vec<String>,
    failback: Option<Duration>,
    force: bool,
    last_resort: LastResort,
}

/// Checks all pools.
pub(super) fn check(
    raw: &[file::Pool],
    (nodes, detection): (&Nodes, Duration),
    findings: &mut Findings,
) -> Vec<GroupConfig> {
    let mut seen = Seen { detection, ..Seen::default() };
    let mut groups = Vec::new();
    let mut number = 0;
    for pool in raw {
        let shared = check_pool(pool, nodes, &mut seen, findings);
        for group in &pool.groups {
            number += 1;
            if number == GROUPS_MAX + 1 {
                let problem = format!("is group {number}, but at most {GROUPS_MAX} are allowed");
                let remedy =
                    "put addresses that can move together into inner lists, or use two clusters";
                findings.refuse(&group.place, problem, remedy);
            }
            groups.extend(check_group(group, &shared, nodes, &mut seen, findings));
        }
    }
    for group in &mut groups {
        group.name_by_link(&seen.zones);
    }
    let strict = |mode: &&At<String>| mode.value == MAJORITY;
    if let Some(mode) = raw.iter().filter_map(|pool| pool.mode.as_ref()).find(strict) {
        check_voters(&mode.place, &nodes.names, findings);
    }
    company::check(raw, nodes, &mut groups, findings);
    check_numbers(raw, &groups, findings);
    groups
}

fn check_pool(
    pool: &file::Pool,
    nodes: &Nodes,
    seen: &mut Seen,
    findings: &mut Findings,
) -> Shared {
    let mut name = String::new();
    if let Some(text) = &pool.name
        && valid_name(text, findings)
    {
        name.clone_from(&text.value);
        if seen.pools.contains(&name) {
            findings.refuse(&text.place, "is also the name of another pool", "rename one of them");
        }
        seen.pools.push(name.clone());
    }
    if let Some(list) = pool.list.as_ref().filter(|list| pool.groups.is_empty() && empty(list)) {
        findings.refuse(list, "is empty", "write at least one address, or remove the pool");
    }
    let mode = check_mode(pool.mode.as_ref(), findings);
    let prefer = preference::check_prefer(&pool.prefer, nodes, findings);
    let requires = labels::check_required(pool, nodes, findings);
    let strategy = check_strategy(pool.strategy.as_ref(), &pool.prefer, findings);
    let failback = preference::check_failback(pool.failback.as_ref(), &pool.prefer, findings);
    let interface = interfaces::check(pool.interface.as_ref(), nodes, findings).unwrap_or_default();
    let force = pool.force.unwrap_or(false);
    let last_resort = check_last_resort(pool.last_resort.as_ref(), findings);
    Shared { pool: name, interface, mode, strategy, prefer, requires, failback, force, last_resort }
}

/// Whether a list holds nothing, as opposed to nothing that could be read.
fn empty(list: &Place) -> bool {
    list.shown.starts_with('[') && list.shown.trim_matches(['[', ']', ' ']).is_empty()
}

fn check_mode(mode: Option<&At<String>>, findings: &mut Findings) -> Mode {
    let Some(mode) = mode else { return Mode::Availability };
    match mode.value.as_str() {
        "availability" => Mode::Availability,
        MAJORITY => Mode::Majority,
        other => {
            let remedy = suggestion(other, &["availability", MAJORITY]);
            findings.refuse(&mode.place, "is not a mode", remedy);
            Mode::Availability
        }
    }
}

fn check_last_resort(wanted: Option<&At<String>>, findings: &mut Findings) -> LastResort {
    let Some(wanted) = wanted else { return LastResort::Keep };
    match wanted.value.as_str() {
        "keep" => LastResort::Keep,
        "release" => LastResort::Release,
        other => {
            let remedy = suggestion(other, &["keep", "release"]);
            findings.refuse(&wanted.place, "is not a last resort", remedy);
            LastResort::Keep
        }
    }
}

fn check_strategy(
    strategy: Option<&At<String>>,
    prefer: &[At<String>],
    findings: &mut Findings,
) -> Strategy {
    let Some(strategy) = strategy else { return Strategy::Balance };
    match strategy.value.as_str() {
        "balance" => Strategy::Balance,
        "priority" => {
            if prefer.is_empty() {
                let remedy = "write prefer = [\"lb1\", \"lb2\"] with the best node first";
                findings.refuse(&strategy.place, "needs a list of preferred nodes", remedy);
            }
            Strategy::Priority
        }
        other => {
            let remedy = suggestion(other, &["balance", "priority"]);
            findings.refuse(&strategy.place, "is not a strategy", remedy);
            Strategy::Balance
        }
    }
}

fn check_group(
    group: &file::Group,
    shared: &Shared,
    nodes: &Nodes,
    seen: &mut Seen,
    findings: &mut Findings,
) -> Option<GroupConfig> {
    let interface = interfaces::check(group.interface.as_ref(), nodes, findings);
    let interface = interface.unwrap_or_else(|| shared.interface.clone());
    let count = group.addresses.len();
    if empty(&group.place) {
        findings.refuse(&group.place, "is empty", "write at least one address");
    }
    if count > ADDRESSES_PER_GROUP_MAX {
        let problem =
            format!("has {count} addresses, but at most {ADDRESSES_PER_GROUP_MAX} are allowed");
        findings.refuse(&group.place, problem, "split it into several groups");
    }
    let (mut vips, mut elsewhere) = (Vec::new(), Vec::new());
    for text in &group.addresses {
        let Some(vip) = vip(text, interface.is_said(), findings) else { continue };
        if check_address(vip.address, &text.place, (nodes, &interface), seen, findings) {
            elsewhere.push(vip.address);
        }
        vips.push(vip);
    }
    let first = vips.first()?.address;
    let name =
        check_group_name(group, (first, elsewhere.contains(&first)), &interface, seen, findings);
    let zoned = |address| (address, zones::key(address, &interface, &name));
    let keys: BTreeMap<IpAddr, GroupKey> = elsewhere.into_iter().map(zoned).collect();
    let key = keys.get(&first).copied().unwrap_or_else(|| GroupKey::from_first_address(first));
    if let Some(other) = seen.keys.insert(key, first).filter(|other| *other != first) {
        let problem = format!("has by coincidence the same 64-bit number as the group of {other}");
        findings.refuse(&group.place, problem, "list its addresses in another order");
    }
    let force = group.force.unwrap_or(shared.force);
    let around = vrrp::Around { vips: &vips, mode: shared.mode, force, detection: seen.detection };
    let raw = group.vrrp.as_ref();
    let vrrp = raw.and_then(|raw| vrrp::check(raw, &around, findings));
    check_router(vrrp.as_ref(), group, (&vips, interface.all.as_ref()), seen, findings);
    let routing = rules::check_both(group, (&vips, nodes), &mut seen.routing, findings);
    Some(GroupConfig {
        pool: shared.pool.clone(),
        name,
        key,
        vips,
        keys,
        interface: interface.all,
        interface_of: interface.by_node,
        mode: shared.mode,
        strategy: shared.strategy,
        prefer: shared.prefer.clone(),
        requires: shared.requires.clone(),
        apart_from: Vec::new(),
        together_with: Vec::new(),
        failback: shared.failback,
        force,
        last_resort: shared.last_resort,
        vrrp,
        routing,
    })
}

/// Refuses a second virtual router of the same number on one link: each would take the other for a
/// router outside that differs.
fn check_router(
    vrrp: Option<&VrrpConfig>,
    group: &file::Group,
    (vips, interface): (&[Vip], Option<&String>),
    seen: &mut Seen,
    findings: &mut Findings,
) {
    let Some(vrrp) = vrrp else { return };
    let families: BTreeSet<bool> = vips.iter().map(|vip| vip.address.is_ipv4()).collect();
    for family in families {
        let key = (vrrp.id, family, interface.cloned());
        if let Some(other) = seen.routers.insert(key, group.place.clone()) {
            let problem =
                format!("uses virtual router {} on the same link as line {}", vrrp.id, other.line);
            findings.refuse(&group.place, problem, "put the addresses into one group");
        }
    }
}

/// Returns whether the address is link-local and another group has it on another link.
fn check_address(
    address: IpAddr,
    place: &Place,
    (nodes, interface): (&Nodes, &Interfaces),
    seen: &mut Seen,
    findings: &mut Findings,
) -> bool {
    if let Some(node) = nodes.addresses.get(&address) {
        let problem = format!("is an address of node {node:?}");
        findings.refuse(place, problem, "write an address that belongs to no host");
    }
    if is_link_local_v6(address) {
        return seen.zones.add(address, (interface, nodes), place, findings);
    }
    if let Some(other) = seen.addresses.get(&address) {
        let problem = format!("is also in {} (line {})", other.key, other.line);
        findings.refuse(place, problem, "keep one of them");
    } else {
        seen.addresses.insert(address, place.clone());
    }
    false
}

/// The name people use for a group; refused if another group could be meant by it.
fn check_group_name(
    group: &file::Group,
    (first, elsewhere): (IpAddr, bool),
    interface: &Interfaces,
    seen: &mut Seen,
    findings: &mut Findings,
) -> String {
    let (name, place) = match &group.name {
        None => match interface.only().filter(|_| elsewhere) {
            Some(interface) => (format!("{first}%{interface}"), &group.place),
            None => {
                if elsewhere {
                    let problem =
                        format!("begins with {first}, as one on another link, without a name");
                    let remedy = "give it one, the same at all nodes: name = \"...\"";
                    findings.refuse(&group.place, problem, remedy);
                }
                (first.to_string(), &group.place)
            }
        },
        Some(name) => {
            let is_address = name.value.parse::<IpAddr>().is_ok_and(|address| address != first);
            if is_address {
                let problem = "is an address, but not the first of this group";
                findings.refuse(&name.place, problem, "choose a word, or leave the name out");
            } else {
                valid_name(name, findings);
            }
            (name.value.clone(), &name.place)
        }
    };
    let other = seen.names.insert(name.clone(), place.clone());
    if let (Some(other), true) = (other, group.name.is_some()) {
        let problem = format!("is also the name of another group (line {})", other.line);
        findings.refuse(place, problem, "rename one of them");
    }
    name
}

/// Limits and warnings that concern all groups together.
fn check_numbers(raw: &[file::Pool], groups: &[GroupConfig], findings: &mut Findings) {
    let Some(pool) = raw.first() else { return };
    let place = pool.list.as_ref().unwrap_or(&pool.place);
    let total: usize = groups.iter().map(|group| group.vips.len()).sum();
    if total > ADDRESSES_MAX {
        let problem = format!(
            "and the other pools have {total} addresses, but at most {ADDRESSES_MAX} are allowed"
        );
        findings.refuse(place, problem, "use two clusters");
    }
    if total > CLIENT_NEIGHBOURS {
        let text = format!(
            "{total} addresses in one network do not fit into the neighbour table of a Linux \
             client or router:\nraise net.ipv4.neigh.default.gc_thresh3 (default \
             {CLIENT_NEIGHBOURS}) there"
        );
        findings.warn(place, text);
    }
    let mut loads: BTreeMap<Option<&str>, (usize, usize)> = BTreeMap::new();
    for group in groups {
        let (v4, v6) = loads.entry(group.interface.as_deref()).or_default();
        *v4 += group.vips.iter().filter(|vip| vip.address.is_ipv4()).count();
        *v6 += group.vips.iter().filter(|vip| vip.address.is_ipv6()).count();
    }
    for (interface, (v4, v6)) in loads {
        let interface = interface.unwrap_or("the routed interface");
        if v4 > COMFORTABLE_V4 {
            let text = format!(
                "{v4} IPv4 addresses on {interface}: above {COMFORTABLE_V4} a takeover of all of \
                 them takes\nlonger than about 15 ms in the kernel; spread them over interfaces"
            );
            findings.warn(place, text);
        }
        if v6 > COMFORTABLE_V6 {
            let text = format!(
                "{v6} IPv6 addresses on {interface}: above {COMFORTABLE_V6} a takeover of all of \
                 them takes\nlonger than about 100 ms in the kernel, unless they share the last 24 \
                 bits (fd80:0:0:N::1)"
            );
            findings.warn(place, text);
        }
    }
}

/// What to write instead of a word that is none of the known ones.
pub(super) fn suggestion(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(known) => format!("did you mean {known:?}?"),
        None => {
            let known: Vec<String> = known.iter().map(|known| format!("{known:?}")).collect();
            format!("write {}", known.join(" or "))
        }
    }
}
