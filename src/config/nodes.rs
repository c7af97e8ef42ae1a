//! `[[node]]`: names, heartbeat addresses, weights and roles, and whether they fit each other.
//!
//! The first address of each node is the first heartbeat path, the second the second, and so on:
//! all nodes must therefore have equally many, and a path must be of one address family.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::protocol::{NODES_MAX, NodeId};
use crate::redaction::has_key;

use super::addresses::node_address;
use super::fault::{At, Findings, Place};
use super::file;
use super::labels::{self, Labelled};
use super::pools::suggestion;
use super::timing::count;

/// Heartbeat paths; two are usual, and each costs a socket and a datagram per peer and beat.
pub const PATHS_MAX: usize = crate::protocol::PATHS_MAX;
/// Most weight a node may have, and the least is 1.
const WEIGHT: (u16, u16) = (1, 1000);
/// Longest name of a cluster, node, pool or group.
const NAME_MAX: usize = 63;

/// A node, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Unique name, 1 to 63 characters.
    pub name: String,
    /// Identity in the protocol, a hash of the name.
    pub id: NodeId,
    /// One address for each heartbeat path, in the order of the paths.
    pub addresses: Vec<IpAddr>,
    /// Relative share of the groups, 1 to 1000; 1 for a witness, which owns none.
    pub weight: u16,
    /// Whether it owns groups and votes.
    pub role: Role,
    /// What pools may require of it, sorted.
    pub labels: Vec<String>,
}

/// Whether a node owns groups and whether it votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Owns groups and votes.
    Member,
    /// Owns groups and does not vote.
    NonVoter,
    /// Votes and owns nothing.
    Witness,
}

impl Role {
    /// Returns whether it may own groups.
    #[must_use]
    pub fn owns(self) -> bool {
        match self {
            Self::Member | Self::NonVoter => true,
            Self::Witness => false,
        }
    }

    /// Returns whether it grants leases for groups in mode `majority`.
    #[must_use]
    pub fn votes(self) -> bool {
        match self {
            Self::Member | Self::Witness => true,
            Self::NonVoter => false,
        }
    }
}

/// What else must know the nodes while the file is checked.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// Nodes without a fault of their own.
    pub(super) checked: Vec<NodeConfig>,
    /// Every name that stands in the file, also of nodes with faults, and what it is there for.
    pub(super) names: Vec<(String, Role)>,
    /// Labels of nodes that may own.
    pub(super) labels: Labelled,
    /// Every address and the node that has it.
    pub(super) addresses: BTreeMap<IpAddr, String>,
}

/// Checks all nodes.
pub(super) fn check(raw: &[file::Node], findings: &mut Findings) -> Nodes {
    let mut nodes = Nodes::default();
    let mut ids: BTreeMap<NodeId, String> = BTreeMap::new();
    let mut rows = Vec::new();
    for (index, node) in raw.iter().enumerate() {
        if index == NODES_MAX
            && let Some(name) = &node.name
        {
            let problem = format!("is node {}, but at most {NODES_MAX} are allowed", index + 1);
            findings.refuse(&name.place, problem, "split the cluster in two");
        }
        let id = node.name.as_ref().and_then(|name| check_name(name, &mut ids, findings));
        let label = node.name.as_ref().map_or("another node", |name| &name.value).to_owned();
        let role = check_role(node, findings);
        nodes.names.extend(node.name.as_ref().map(|name| (name.value.clone(), role)));
        let labels = labels::check(node, role, findings);
        if let Some(name) = node.name.as_ref().filter(|_| role.owns() && !labels.is_empty()) {
            nodes.labels.insert(name.value.clone(), labels.clone());
        }
        let row = check_addresses(node, &label, &mut nodes.addresses, findings);
        let weight = node.weight.as_ref().map_or(Some(1), |weight| count(weight, WEIGHT, findings));
        if let (Some(id), Some(weight)) = (id, weight) {
            let addresses = row.iter().map(|(address, _)| *address).collect();
            nodes.checked.push(NodeConfig { name: label, id, addresses, weight, role, labels });
        }
        if let Some(list) = &node.list {
            rows.push((list, row));
        }
    }
    check_paths(&rows, findings);
    check_somebody_owns(raw, &nodes, findings);
    nodes
}

fn check_role(node: &file::Node, findings: &mut Findings) -> Role {
    let votes = node.voter.as_ref().is_none_or(|voter| voter.value);
    let Some(role) = &node.role else { return if votes { Role::Member } else { Role::NonVoter } };
    match role.value.as_str() {
        "member" if votes => Role::Member,
        "member" => Role::NonVoter,
        "witness" => {
            if let Some(voter) = node.voter.as_ref().filter(|voter| !voter.value) {
                let problem = "leaves a witness nothing to do: it votes and owns nothing";
                findings.refuse(&voter.place, problem, "remove this key, or the node");
            }
            if let Some(weight) = &node.weight {
                let problem = "has no effect on a witness, which owns nothing";
                findings.refuse(&weight.place, problem, "remove this key");
            }
            Role::Witness
        }
        other => {
            let remedy = suggestion(other, &["member", "witness"]);
            findings.refuse(&role.place, "is not a role", remedy);
            Role::Member
        }
    }
}

fn check_somebody_owns(raw: &[file::Node], nodes: &Nodes, findings: &mut Findings) {
    let Some(role) = raw.first().and_then(|node| node.role.as_ref()) else { return };
    if nodes.names.iter().all(|(_, role)| !role.owns()) {
        let problem = "is the role of every node: no node could own the addresses";
        findings.refuse(
            &role.place,
            problem,
            "remove this key from the nodes that should own addresses",
        );
    }
}

fn check_name(
    name: &At<String>,
    ids: &mut BTreeMap<NodeId, String>,
    findings: &mut Findings,
) -> Option<NodeId> {
    if !valid_name(name, findings) {
        return None;
    }
    let id = NodeId::from_name(&name.value);
    match ids.insert(id, name.value.clone()) {
        None => Some(id),
        Some(other) if other == name.value => {
            findings.refuse(&name.place, "is also the name of another node", "rename one of them");
            None
        }
        Some(other) => {
            let problem = format!("has by coincidence the same 32-bit number as node {other:?}");
            findings.refuse(&name.place, problem, "rename one of them");
            None
        }
    }
}

fn check_addresses<'a>(
    node: &'a file::Node,
    label: &str,
    known: &mut BTreeMap<IpAddr, String>,
    findings: &mut Findings,
) -> Vec<(IpAddr, &'a Place)> {
    let count = node.addresses.len();
    if let Some(list) = node.list.as_ref().filter(|_| count > PATHS_MAX) {
        let problem =
            format!("has {count} addresses, but at most {PATHS_MAX} heartbeat paths are allowed");
        findings.refuse(list, problem, "leave some out");
    }
    let mut row = Vec::new();
    for text in &node.addresses {
        let Some(address) = node_address(text, findings) else { continue };
        if let Some(other) = known.insert(address, label.to_owned()) {
            let problem = format!("is already an address of node {other:?}");
            findings.refuse(&text.place, problem, "give each node its own");
        }
        row.push((address, &text.place));
    }
    row
}

/// Compares all nodes with the first: equally many paths, each of one kind.
fn check_paths(rows: &[(&Place, Vec<(IpAddr, &Place)>)], findings: &mut Findings) {
    for (list, row) in rows {
        if row.is_empty() && list.shown.trim_matches(['[', ']', ' ']).is_empty() {
            findings.refuse(list, "is empty", "write one address for each heartbeat path");
        }
    }
    let Some((_, first)) = rows.iter().find(|(_, row)| !row.is_empty()) else { return };
    for (list, row) in rows.iter().filter(|(_, row)| !row.is_empty()) {
        if row.len() != first.len() {
            let problem =
                format!("has {}, but the first node has {}", paths(row.len()), paths(first.len()));
            let remedy = "write one address for each path, in the same order on every node";
            findings.refuse(list, problem, remedy);
            continue;
        }
        for (number, ((address, place), (other, _))) in row.iter().zip(first).enumerate() {
            let number = number + 1;
            if address.is_ipv4() != other.is_ipv4() {
                let problem = format!("has another address family than {other} on path {number}");
                let remedy = "list the paths in the same order on every node";
                findings.refuse(place, problem, remedy);
            } else if address.is_loopback() != other.is_loopback() {
                let problem =
                    format!("cannot reach {other}: only one of the two is a loopback address");
                findings.refuse(place, problem, "write addresses that the nodes can reach");
            }
        }
    }
}

fn paths(count: usize) -> String {
    if count == 1 { "1 address".to_owned() } else { format!("{count} addresses") }
}

/// Whether this may be the name of a cluster, node, pool or group.
pub(super) fn valid_name(name: &At<String>, findings: &mut Findings) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-:".contains(letter);
    let valid =
        !name.value.is_empty() && name.value.len() <= NAME_MAX && name.value.chars().all(allowed);
    if !valid {
        let remedy = format!("write 1 to {NAME_MAX} of letters, digits, and . _ - :");
        findings.refuse(&name.place, "is not a name", remedy);
        return false;
    }
    let key = has_key(&name.value);
    if key {
        // Names are shown to everybody.
        findings.refuse(
            &name.place,
            "looks like a key",
            "write a name; keys stand in the key file",
        );
    }
    !key
}
