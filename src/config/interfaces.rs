//! `interface`: the links that get addresses, by name or pattern, the same at all nodes or not.
//!
//! ```text
//!   "eth0"    "en*"    ["eth0", "ens*"]    { lb1 = "eth0", lb2 = ["ens9", "ens10"] }
//! ```
//!
//! In a pattern `*` stands for any letters. Of several links that fit, the kernel side takes the
//! one that carries the address best, then one that is up, then the first by name.

use std::collections::BTreeMap;

use super::document::nearest;
use super::fault::{At, Findings};
use super::file;
use super::nodes::Nodes;
use crate::protocol::NodeId;

/// Interface names of Linux (IFNAMSIZ with its closing zero).
const INTERFACE_NAME_MAX: usize = 15;

/// Names and patterns, separated by spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interfaces {
    pub(super) all: Option<String>,
    pub(super) by_node: BTreeMap<NodeId, String>,
}

impl Interfaces {
    /// Whether it is said at all.
    pub(super) fn is_said(&self) -> bool {
        self.all.is_some() || !self.by_node.is_empty()
    }
}

/// Checks what is said; `None` if nothing is.
pub(super) fn check(
    raw: Option<&file::Interface>,
    nodes: &Nodes,
    findings: &mut Findings,
) -> Option<Interfaces> {
    let raw = raw?;
    let all = joined(&raw.all, findings);
    let mut by_node = BTreeMap::new();
    for (node, names) in &raw.by_node {
        let known: Vec<&str> = nodes.names.iter().map(|(name, _)| name.as_str()).collect();
        if !known.contains(&node.as_str()) {
            let remedy = match nearest(node, &known) {
                Some(known) => format!("did you mean {known:?}?"),
                None => format!("the nodes are {}", known.join(", ")),
            };
            findings.refuse(&raw.place, format!("names {node:?}, which is not a node"), remedy);
        }
        by_node.extend(joined(names, findings).map(|names| (NodeId::from_name(node), names)));
    }
    let owners = nodes.names.iter().filter(|(_, role)| role.owns());
    let mut missing = owners.filter(|(name, _)| !raw.by_node.iter().any(|(node, _)| node == name));
    if !raw.by_node.is_empty()
        && let Some((name, _)) = missing.next()
    {
        let problem = format!("has no entry for node {name:?}");
        findings.refuse(&raw.place, problem, format!("add {name} = \"...\""));
    }
    if raw.all.is_empty() && raw.by_node.is_empty() {
        findings.refuse(&raw.place, "is empty", "name an interface, or leave it out");
    }
    Some(Interfaces { all, by_node })
}

fn joined(names: &[At<String>], findings: &mut Findings) -> Option<String> {
    let names: Vec<&str> =
        names.iter().filter(|name| valid(name, findings)).map(|name| name.value.as_str()).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

fn valid(name: &At<String>, findings: &mut Findings) -> bool {
    let text = name.value.as_str();
    let allowed = |letter: char| letter.is_ascii_graphic() && !"/:%".contains(letter);
    let valid = (1..=INTERFACE_NAME_MAX).contains(&text.len())
        && text.chars().all(allowed)
        && text != "."
        && text != "..";
    if !valid {
        let remedy = format!("write 1 to {INTERFACE_NAME_MAX} characters, as in \"ip link\"");
        findings.refuse(&name.place, "is not the name of an interface", remedy);
    }
    valid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::NodeId;

    fn at(text: &str) -> At<String> {
        At { value: text.to_owned(), place: Default::default() }
    }

    fn checked(all: &[&str], by_node: &[(&str, &str)]) -> (Option<Interfaces>, usize) {
        let role = super::super::Role::Member;
        let names = ["lb1", "lb2"].map(|name| (name.to_owned(), role)).to_vec();
        let nodes = Nodes { names, ..Nodes::default() };
        let raw = file::Interface {
            place: Default::default(),
            all: all.iter().map(|name| at(name)).collect(),
            by_node: by_node.iter().map(|(node, it)| ((*node).to_owned(), vec![at(it)])).collect(),
        };
        let mut findings = Findings::default();
        let found = check(Some(&raw), &nodes, &mut findings);
        (found, findings.faults.len())
    }

    #[test]
    fn names_patterns_lists_and_tables_are_taken() {
        let (found, faults) = checked(&["eth0", "en*"], &[]);
        assert_eq!((found.unwrap().all.as_deref(), faults), (Some("eth0 en*"), 0));
        let (found, faults) = checked(&[], &[("lb1", "eth0"), ("lb2", "ens9")]);
        let name = found.unwrap().by_node.get(&NodeId::from_name("lb2")).cloned();
        assert_eq!((name.as_deref(), faults), (Some("ens9"), 0));
    }

    #[test]
    fn a_table_that_leaves_a_node_out_or_names_an_unknown_node_is_refused() {
        assert_eq!(checked(&[], &[("lb1", "eth0")]).1, 1);
        assert_eq!(checked(&[], &[("lb1", "eth0"), ("lb2", "eth0"), ("lb3", "eth0")]).1, 1);
        assert_eq!(checked(&[], &[]).1, 1);
        assert_eq!(checked(&["a/b"], &[]).1, 1);
    }
}
