//! `prefer` and `failback`: which nodes a pool would rather be at, and when it goes back there.

use std::collections::BTreeSet;
use std::time::Duration;

use super::document::nearest;
use super::fault::{At, Findings};
use super::labels;
use super::nodes::Nodes;
use super::timing::duration;
use crate::protocol::{NodeId, Preference};

/// Stands before a label, which no name of a node may hold.
const LABEL: char = '@';

/// Checks the preferred nodes of a pool. A label stands for all nodes that have it, of which none is
/// preferred to the others.
pub(super) fn check_prefer(
    prefer: &[At<String>],
    nodes: &Nodes,
    findings: &mut Findings,
) -> Preference {
    let mut preference = Preference::default();
    let mut seen = BTreeSet::new();
    for name in prefer {
        if !seen.insert(&name.value) {
            findings.refuse(&name.place, "is listed twice", "list each node once");
        }
        if let Some(label) = name.value.strip_prefix(LABEL) {
            let label = At { value: label.to_owned(), place: name.place.clone() };
            labels::check_known(&label, nodes, findings);
            preference.add(&labels::nodes_with(&label.value, nodes));
            continue;
        }
        if let Some(id) = check_name(name, nodes, findings) {
            preference.add(&[id]);
        }
    }
    preference
}

fn check_name(name: &At<String>, nodes: &Nodes, findings: &mut Findings) -> Option<NodeId> {
    let Some((_, role)) = nodes.names.iter().find(|(known, _)| *known == name.value) else {
        let known: Vec<&str> = nodes.names.iter().map(|(known, _)| known.as_str()).collect();
        let remedy = if nodes.labels.values().flatten().any(|label| *label == name.value) {
            format!("write \"{LABEL}{}\" for the nodes with this label", name.value)
        } else {
            match nearest(&name.value, &known) {
                Some(known) => format!("did you mean {known:?}?"),
                None => format!("the nodes are {}", known.join(", ")),
            }
        };
        findings.refuse(&name.place, "is not a node of this file", remedy);
        return None;
    };
    if !role.owns() {
        findings.refuse(&name.place, "is a witness, which owns nothing", "leave it out");
    }
    Some(NodeId::from_name(&name.value))
}

/// Checks when groups go back to preferred nodes; `None` is never.
pub(super) fn check_failback(
    failback: Option<&At<String>>,
    prefer: &[At<String>],
    findings: &mut Findings,
) -> Option<Duration> {
    let failback = failback.filter(|failback| failback.value != "never")?;
    if !failback.value.starts_with(|first: char| first.is_ascii_digit()) {
        let remedy = "write \"never\" or a duration like \"10m\"";
        findings.refuse(&failback.place, "is not a duration", remedy);
        return None;
    }
    let after = duration(failback, findings)?;
    if prefer.is_empty() {
        let problem = "has no effect without preferred nodes";
        findings.refuse(&failback.place, problem, "add prefer = [...], or write \"never\"");
    }
    Some(after)
}
