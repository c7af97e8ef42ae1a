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
            format!("{node} is not in the configuration of the node that had to act; reload there"),
        ),
        Refusal::UnknownGroup => (
            "unknown_group",
            format!(
                "{group} is not in the configuration of the node that had to act; reload there"
            ),
        ),
        Refusal::NobodyOwns => {
            ("nobody_owns", format!("nobody owns {group} now; see why with 'buoy explain {group}'"))
        }
        Refusal::Unreachable => (
            "unreachable",
            "the node that would have to act is not heard; see 'buoy status', or ask there"
                .to_owned(),
        ),
        Refusal::ReceiverDown => {
            ("receiver_down", format!("{node} is not up; start it first, see 'buoy status'"))
        }
        Refusal::ReceiverDraining => (
            "receiver_draining",
            format!("{node} is draining or leaving; allow it with 'buoy undrain {node}' first"),
        ),
        Refusal::ReceiverIsWitness => {
            ("receiver_is_witness", format!("{node} is a witness: it votes and owns nothing"))
        }
        Refusal::ReceiverUnfit => (
            "receiver_unfit",
            format!("checks fail at {node} that pass at the owner; see which with 'buoy status'"),
        ),
        Refusal::ReceiverUnable => (
            "receiver_unable",
            format!("{node} says that it cannot hold {group}; see why with 'buoy explain {group}'"),
        ),
        Refusal::ReceiverDeclined => (
            "receiver_declined",
            format!(
                "{node} did not take {group}; 'buoy explain {group}' at its owner says why if \
                 {node} has said so, and at {node} in any case"
            ),
        ),
        Refusal::Busy => {
            ("busy", format!("{group} is already being moved; try again when that is done"))
        }
        Refusal::NotReady => (
            "not_ready",
            "the node has just started or resumed and does not act yet; try again in a few seconds"
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
        assert_eq!(sentence, "lb2 is draining or leaving; allow it with 'buoy undrain lb2' first");
        let (_, sentence) = refusal(Refusal::NobodyOwns, order, &names);
        assert_eq!(
            sentence,
            "nobody owns 10.77.0.100 now; see why with 'buoy explain 10.77.0.100'"
        );
    }
}
