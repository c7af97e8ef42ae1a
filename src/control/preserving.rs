//! Which nodes can preserve connections in planned moves, and what a plan says of them. Pure.

use super::names::Names;
use super::response::Status;
use crate::protocol::{ConnectionsFate, Preserving, ResetReason};

const ABLE: &str = "able";
const AVAILABILITY_ONLY: &str = "availability_only";
const OFF: &str = "off";
const NO_GATE: &str = "no_gate";
const NO_KERNEL_SUPPORT: &str = "no_kernel_support";

/// Returns the word of the published status; `None` if the node has not said.
pub(super) fn label(preserving: Preserving) -> Option<String> {
    let label = match preserving {
        Preserving::Unknown => return None,
        Preserving::Able => ABLE,
        Preserving::AvailabilityOnly => AVAILABILITY_ONLY,
        Preserving::Off => OFF,
        Preserving::NoGate => NO_GATE,
        Preserving::NoKernelSupport => NO_KERNEL_SUPPORT,
    };
    Some(label.to_owned())
}

/// What a node lacks, by that word; `None` if nothing, and if it is not to.
fn lacks(label: &str, node: &str) -> Option<String> {
    match label {
        NO_GATE => Some(format!("{node} has no gate in nf_tables")),
        NO_KERNEL_SUPPORT => {
            Some(format!("the kernel of {node} lacks something; 'buoy check' there says what"))
        }
        _ => None,
    }
}

/// One line for each other node that cannot although its file does not say so, under the table of
/// nodes. What the asked node lacks is said more precisely.
pub(super) fn lines(status: &Status) -> String {
    let others = status.nodes.iter().filter(|node| node.name != status.node);
    let lines = others.filter_map(|node| {
        let why = lacks(node.preserving.as_deref()?, &node.name)?;
        Some(format!(
            "\nplanned moves off and to {} break connections after 50 ms: {why}\n",
            node.name
        ))
    });
    lines.collect()
}

/// Returns why connections would be reset.
pub(super) fn because(reason: ResetReason, names: &Names) -> String {
    match reason {
        ResetReason::Node(node, Preserving::Off) => {
            format!("{} has preserve_connections = false", names.node(node))
        }
        ResetReason::Node(node, Preserving::AvailabilityOnly) => {
            format!("in mode majority the kernel of {} cannot preserve them", names.node(node))
        }
        ResetReason::Node(node, other) => {
            let node = names.node(node);
            let why = label(other).and_then(|label| lacks(&label, &node));
            why.unwrap_or_else(|| format!("{node} cannot preserve them"))
        }
        ResetReason::ChecksFail => "checks fail, and connections get no time then".to_owned(),
        ResetReason::FormerOwner => "a former owner still serves connections".to_owned(),
        ResetReason::NoOwnAddress => {
            format!("{} has no address of its own there", names.node(names.me()))
        }
        ResetReason::NoReceiver => "no node takes it".to_owned(),
    }
}

/// Returns `preserved`, `reset` or, where there are none or nothing is known, `None`.
pub(super) fn fate(fate: ConnectionsFate) -> Option<&'static str> {
    match fate {
        ConnectionsFate::None | ConnectionsFate::Unknown => None,
        ConnectionsFate::Preserved(_) => Some("preserved"),
        ConnectionsFate::Reset(_) => Some("reset"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{names, node};
    use super::super::translation;
    use super::super::{fixture, inquiry::Snapshot};
    use super::*;

    #[test]
    fn status_says_which_other_nodes_cannot_and_why() {
        let mut picture = fixture::status();
        let told = |picture: &crate::protocol::Status| {
            let snapshot: Snapshot = picture.clone().into();
            lines(&translation::status(&snapshot, &names()))
        };
        assert_eq!(told(&picture), "");
        for (one, is) in [
            ("lb1", Preserving::NoGate),
            ("lb2", Preserving::NoKernelSupport),
            ("lb3", Preserving::Off),
        ] {
            let found = picture.nodes.iter_mut().find(|it| it.node == node(one));
            found.expect("it is there").preserving = is;
        }
        assert_eq!(
            told(&picture),
            "\nplanned moves off and to lb2 break connections after 50 ms: the kernel of lb2 lacks \
             something; 'buoy check' there says what\n"
        );
    }

    #[test]
    fn each_reason_has_its_words() {
        let lb2 = node("lb2");
        for (reason, words) in [
            (ResetReason::Node(lb2, Preserving::Off), "lb2 has preserve_connections = false"),
            (ResetReason::Node(lb2, Preserving::NoGate), "lb2 has no gate in nf_tables"),
            (
                ResetReason::Node(lb2, Preserving::AvailabilityOnly),
                "in mode majority the kernel of lb2 cannot preserve them",
            ),
            (ResetReason::NoOwnAddress, "lb1 has no address of its own there"),
        ] {
            assert_eq!(because(reason, &names()), words);
        }
    }
}
