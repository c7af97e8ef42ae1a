//! The number of each choice. A number, once released, keeps its meaning for ever.
//!
//! A new choice is a new number, sent only to peers that tell a feature for it: a reader that
//! does not know a number refuses the message.

use crate::protocol::{Cause, MoveReason, NodeId, NodePhase, Order, Refusal, Tenure, Vote};

pub(super) const fn phase(phase: NodePhase) -> u8 {
    match phase {
        NodePhase::Listening => 1,
        NodePhase::Active => 2,
        NodePhase::Resuming => 3,
        NodePhase::Isolated => 4,
        NodePhase::Leaving => 5,
        NodePhase::Left => 6,
    }
}

pub(super) const fn phase_of(code: u8) -> Option<NodePhase> {
    Some(match code {
        1 => NodePhase::Listening,
        2 => NodePhase::Active,
        3 => NodePhase::Resuming,
        4 => NodePhase::Isolated,
        5 => NodePhase::Leaving,
        6 => NodePhase::Left,
        _ => return None,
    })
}

pub(super) const fn move_reason(reason: MoveReason) -> u8 {
    match reason {
        MoveReason::Balance => 1,
        MoveReason::Drain => 2,
        MoveReason::Operator => 3,
        MoveReason::Failback => 4,
    }
}

pub(super) const fn move_reason_of(code: u8) -> Option<MoveReason> {
    Some(match code {
        1 => MoveReason::Balance,
        2 => MoveReason::Drain,
        3 => MoveReason::Operator,
        4 => MoveReason::Failback,
        _ => return None,
    })
}

pub(super) const fn vote(vote: Vote) -> u8 {
    match vote {
        Vote::Granted => 1,
        Vote::Starting => 2,
        Vote::VotersDiffer => 3,
    }
}

pub(super) const fn vote_of(code: u8) -> Option<Vote> {
    Some(match code {
        1 => Vote::Granted,
        2 => Vote::Starting,
        3 => Vote::VotersDiffer,
        _ => return None,
    })
}

/// Zero stands for an order that was executed.
pub(super) const fn outcome(outcome: Result<(), Refusal>) -> u8 {
    match outcome {
        Ok(()) => 0,
        Err(Refusal::UnknownNode) => 1,
        Err(Refusal::UnknownGroup) => 2,
        Err(Refusal::NobodyOwns) => 3,
        Err(Refusal::Unreachable) => 4,
        Err(Refusal::ReceiverDown) => 5,
        Err(Refusal::ReceiverDraining) => 6,
        Err(Refusal::ReceiverDeclined) => 7,
        Err(Refusal::Busy) => 8,
        Err(Refusal::NotReady) => 9,
        Err(Refusal::ReceiverIsWitness) => 10,
    }
}

pub(super) const fn outcome_of(code: u8) -> Option<Result<(), Refusal>> {
    Some(Err(match code {
        0 => return Some(Ok(())),
        1 => Refusal::UnknownNode,
        2 => Refusal::UnknownGroup,
        3 => Refusal::NobodyOwns,
        4 => Refusal::Unreachable,
        5 => Refusal::ReceiverDown,
        6 => Refusal::ReceiverDraining,
        7 => Refusal::ReceiverDeclined,
        8 => Refusal::Busy,
        9 => Refusal::NotReady,
        10 => Refusal::ReceiverIsWitness,
        _ => return None,
    }))
}

/// The number and the node it is about; node 0 where there is none.
pub(super) const fn tenure(tenure: Tenure) -> (u8, NodeId) {
    match tenure {
        Tenure::Held => (1, NodeId(0)),
        Tenure::MovingTo(node) => (2, node),
        Tenure::Free => (3, NodeId(0)),
    }
}

pub(super) const fn tenure_of(code: u8, node: NodeId) -> Option<Tenure> {
    Some(match code {
        1 => Tenure::Held,
        2 => Tenure::MovingTo(node),
        3 => Tenure::Free,
        _ => return None,
    })
}

/// The number and the node it is about; node 0 where there is none.
pub(super) const fn cause(cause: Cause) -> (u8, NodeId) {
    match cause {
        Cause::FirstClaim => (1, NodeId(0)),
        Cause::Silence(node) => (2, node),
        Cause::Restart(node) => (3, node),
        Cause::Deaf(node) => (4, node),
        Cause::Departure(node) => (5, node),
        Cause::Inability(node) => (6, node),
        Cause::Balance(node) => (7, node),
        Cause::Drain(node) => (8, node),
        Cause::Operator(node) => (9, node),
        Cause::Failback(node) => (10, node),
        Cause::Conflict(node) => (11, node),
        Cause::TakenBack(node) => (12, node),
    }
}

pub(super) const fn cause_of(code: u8, node: NodeId) -> Option<Cause> {
    Some(match code {
        1 => Cause::FirstClaim,
        2 => Cause::Silence(node),
        3 => Cause::Restart(node),
        4 => Cause::Deaf(node),
        5 => Cause::Departure(node),
        6 => Cause::Inability(node),
        7 => Cause::Balance(node),
        8 => Cause::Drain(node),
        9 => Cause::Operator(node),
        10 => Cause::Failback(node),
        11 => Cause::Conflict(node),
        12 => Cause::TakenBack(node),
        _ => return None,
    })
}

/// The number, the node and the group of an order; group 0 where there is none.
pub(super) const fn order(order: Order) -> (u8, NodeId, u64) {
    match order {
        Order::Drain(node) => (1, node, 0),
        Order::Undrain(node) => (2, node, 0),
        Order::Move { group, to } => (3, to, group.0),
        Order::DrainNow(node) => (4, node, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every number from 0 to 255 is either unknown or comes back as itself; the counts fail
    /// when a choice was given a number that cannot be read.
    #[test]
    fn every_number_comes_back_as_itself() {
        let node = NodeId(7);
        let mut known = [0; 5];
        for code in 0..=u8::MAX {
            let back = [
                phase_of(code).map(phase),
                move_reason_of(code).map(move_reason),
                outcome_of(code).map(outcome),
                tenure_of(code, node).map(|known| tenure(known).0),
                cause_of(code, node).map(|known| cause(known).0),
            ];
            for (count, back) in known.iter_mut().zip(back) {
                if let Some(back) = back {
                    assert_eq!(back, code);
                    *count += 1;
                }
            }
        }
        assert_eq!(known, [6, 4, 11, 3, 12]);
    }
}
