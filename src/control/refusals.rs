//! Why an order was refused, and what to do about it.

use super::names::Names;
use crate::protocol::{Order, Refusal};

/// Why an order was refused and what to do; `(code, sentence)`.
#[must_use]
pub(super) fn refusal(refusal: Refusal, order: Order, names: &Names) -> (&'static str, String) {
    let (group, node) = match order {
        Order::Drain(node) | Order::DrainNow(node) | Order::Undrain(node) => {
            ("the group".to_owned(), names.node(node))
        }
        Order::Move { group, to } => (names.group(group).group, names.node(to)),
    };
    match refusal {
        Refusal::UnknownNode => (
            "unknown_node",
            format!(
                "{node} is not in the configuration of the node that must act; reload its file"
            ),
        ),
        Refusal::UnknownGroup => (
            "unknown_group",
            format!(
                "{group} is not in the configuration of the node that must act; reload its file"
            ),
        ),
        Refusal::NobodyOwns => {
            ("nobody_owns", format!("no node owns {group} now; 'buoy explain {group}' shows why"))
        }
        Refusal::Unreachable => (
            "unreachable",
            "the node that must act is not reachable; see 'buoy status', or run the command on \
             that node"
                .to_owned(),
        ),
        Refusal::ReceiverDown => {
            ("receiver_down", format!("{node} is not up; start it first, see 'buoy status'"))
        }
        Refusal::ReceiverDraining => (
            "receiver_draining",
            format!("{node} is draining or leaving; run 'buoy undrain {node}' first"),
        ),
        Refusal::ReceiverIsWitness => {
            ("receiver_is_witness", format!("{node} is a witness: it votes and owns nothing"))
        }
        Refusal::ReceiverUnfit => (
            "receiver_unfit",
            format!("checks that pass on the owner fail on {node}; 'buoy status' shows which"),
        ),
        Refusal::ReceiverUnable => (
            "receiver_unable",
            format!("{node} reports that it cannot hold {group}; 'buoy explain {group}' shows why"),
        ),
        Refusal::ReceiverDeclined => (
            "receiver_declined",
            format!("{node} did not take {group}; run 'buoy explain {group}' on {node} to see why"),
        ),
        Refusal::Busy => {
            ("busy", format!("{group} is already being moved; try again when that move has ended"))
        }
        Refusal::NotReady => (
            "not_ready",
            "the node has just started or resumed and does not accept requests yet; try again in \
             a few seconds"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{group, names, node};
    use super::*;

    #[test]
    fn refusals_carry_a_remedy() {
        let names = names();
        let order = Order::Move { group: group("10.77.0.100"), to: node("lb2") };
        let (code, sentence) = refusal(Refusal::ReceiverDraining, order, &names);
        assert_eq!(code, "receiver_draining");
        assert_eq!(sentence, "lb2 is draining or leaving; run 'buoy undrain lb2' first");
        let (_, sentence) = refusal(Refusal::NobodyOwns, order, &names);
        assert_eq!(sentence, "no node owns 10.77.0.100 now; 'buoy explain 10.77.0.100' shows why");
    }
}
