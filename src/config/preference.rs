//! `prefer` and `failback`: which nodes a pool would rather be at, and when it goes back there.

use std::time::Duration;

use super::document::nearest;
use super::fault::{At, Findings};
use super::nodes::Nodes;
use super::timing::duration;
use crate::protocol::NodeId;

/// Checks the preferred nodes of a pool.
pub(super) fn check_prefer(
    prefer: &[At<String>],
    nodes: &Nodes,
    findings: &mut Findings,
) -> Vec<NodeId> {
    let mut ids = Vec::new();
    for name in prefer {
        let Some((_, role)) = nodes.names.iter().find(|(known, _)| *known == name.value) else {
            let known: Vec<&str> = nodes.names.iter().map(|(known, _)| known.as_str()).collect();
            let remedy = match nearest(&name.value, &known) {
                Some(known) => format!("did you mean {known:?}?"),
                None => format!("the nodes are {}", known.join(", ")),
            };
            findings.refuse(&name.place, "is not a node of this file", remedy);
            continue;
        };
        if !role.owns() {
            findings.refuse(&name.place, "is a witness, which owns nothing", "leave it out");
        }
        let id = NodeId::from_name(&name.value);
        if ids.contains(&id) {
            findings.refuse(&name.place, "is listed twice", "list each node once");
        }
        ids.push(id);
    }
    ids
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
