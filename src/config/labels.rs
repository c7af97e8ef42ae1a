//! `labels` of a node and `requires` of a pool: which nodes may own the groups of a pool.
//!
//! A label is a word that says what a host has or where it is: a card, a rack. What must never be
//! found out in an outage is refused here: a label that no node has, labels that no node has
//! together, a preferred node without a required label. That a pool has no second node is a warning.

use std::collections::{BTreeMap, BTreeSet};

use super::checks::CheckConfig;
use super::document::nearest;
use super::fault::{At, Findings};
use super::file;
use super::nodes::{Nodes, Role, valid_name};
use crate::protocol::{FITNESS_MAX, NodeId};

/// Labels of one node; more are a mistake.
const LABELS_MAX: usize = 32;

/// Checks the labels of a node; returns them sorted.
pub(super) fn check(node: &file::Node, role: Role, findings: &mut Findings) -> Vec<String> {
    let mut labels = BTreeSet::new();
    for (index, label) in node.labels.iter().enumerate() {
        if index == LABELS_MAX {
            let problem = format!("is label {}, but at most {LABELS_MAX} are allowed", index + 1);
            findings.refuse(&label.place, problem, "leave labels out that no pool names");
        }
        if !role.owns() {
            let problem = "has no effect on a witness, which owns nothing";
            findings.refuse(&label.place, problem, "remove this key");
        }
        if valid_name(label, findings) && !labels.insert(label.value.clone()) {
            findings.refuse(&label.place, "is listed twice", "list each label once");
        }
    }
    labels.into_iter().collect()
}

/// Labels by the nodes that have any and may own groups.
pub(super) type Labelled = BTreeMap<String, Vec<String>>;

/// Refuses a label that no node has.
pub(super) fn check_known(label: &At<String>, nodes: &Nodes, findings: &mut Findings) -> bool {
    let known: BTreeSet<&str> = nodes.labels.values().flatten().map(String::as_str).collect();
    if known.contains(label.value.as_str()) {
        return true;
    }
    let known: Vec<&str> = known.into_iter().collect();
    let remedy = match nearest(&label.value, &known) {
        Some(known) => format!("did you mean {known:?}?"),
        None if known.is_empty() => {
            format!("give it to the nodes that have it: labels = [{:?}]", label.value)
        }
        None => format!("the labels are {}", known.join(", ")),
    };
    findings.refuse(&label.place, "is not a label of any node that may own", remedy);
    false
}

/// Checks which labels a pool requires; returns them sorted.
pub(super) fn check_required(
    pool: &file::Pool,
    nodes: &Nodes,
    findings: &mut Findings,
) -> Vec<String> {
    let mut required = BTreeSet::new();
    let mut known = true;
    for label in &pool.requires {
        known &= check_known(label, nodes, findings);
        if !required.insert(label.value.clone()) {
            findings.refuse(&label.place, "is listed twice", "list each label once");
        }
    }
    let required: Vec<String> = required.into_iter().collect();
    if let Some(first) = pool.requires.first().filter(|_| known) {
        check_owners(first, &required, pool, nodes, findings);
    }
    required
}

/// Checks that there is an owner, warns of a single one, and refuses preferred nodes that cannot be.
fn check_owners(
    first: &At<String>,
    required: &[String],
    pool: &file::Pool,
    nodes: &Nodes,
    findings: &mut Findings,
) {
    let fits = |name: &str| has_all(nodes.labels.get(name), required);
    let owners: Vec<&str> =
        nodes.labels.keys().map(String::as_str).filter(|name| fits(name)).collect();
    let all = required.join(", ");
    match owners.as_slice() {
        [] => {
            let problem = format!("is required with others ({all}), and no node has all of them");
            findings.refuse(
                &first.place,
                problem,
                "give all of them to two nodes, or require fewer",
            );
        }
        [only] if nodes.names.iter().filter(|(_, role)| role.owns()).count() > 1 => {
            let text = format!(
                "only {only} has what this pool requires ({all}): no second node could take over \
                 but as the last resort;\ngive the label to another node"
            );
            findings.warn(&first.place, text);
        }
        [_] | [_, _, ..] => {}
    }
    let unfit = |name: &&At<String>| {
        nodes.names.iter().any(|(known, _)| *known == name.value) && !fits(&name.value)
    };
    for name in pool.prefer.iter().filter(unfit) {
        let problem = format!("lacks a label that the pool requires ({all})");
        findings.refuse(&name.place, problem, "give it the label, or leave the node out");
    }
}

/// Checks how many pools a node may have to say that it is not fit for.
pub(super) fn check_number(pools: &[file::Pool], checks: &[CheckConfig], findings: &mut Findings) {
    let requiring = pools.iter().filter(|pool| !pool.requires.is_empty());
    let Some(first) = requiring.clone().find_map(|pool| pool.requires.first()) else { return };
    let required = requiring.filter_map(|pool| Some(&pool.name.as_ref()?.value));
    let checked = checks.iter().flat_map(|check| &check.pools);
    let count = required.chain(checked).collect::<BTreeSet<_>>().len();
    if count > FITNESS_MAX {
        let problem = format!(
            "and the others are in {count} pools with requires or a check, but at most \
             {FITNESS_MAX} are allowed"
        );
        findings.refuse(&first.place, problem, "merge pools that are placed alike");
    }
}

/// Returns the nodes that have a label and may own, by name.
pub(super) fn nodes_with(label: &String, nodes: &Nodes) -> Vec<NodeId> {
    let has = nodes.labels.iter().filter(|(_, labels)| labels.contains(label));
    has.map(|(name, _)| NodeId::from_name(name)).collect()
}

/// Returns whether a node has all of these labels.
pub(super) fn has_all(labels: Option<&Vec<String>>, required: &[String]) -> bool {
    required.iter().all(|label| labels.is_some_and(|labels| labels.contains(label)))
}
