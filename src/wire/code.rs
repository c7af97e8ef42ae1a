//! The number of each choice. A number, once released, keeps its meaning for ever.
//!
//! A reader that does not know a number refuses the message. So a new choice is either sent only
//! to peers that tell a feature for it, or it is a *detail*: the number of the old choice that says
//! nearly the same stands where it always stood, and the number of the new one at the end of the
//! field or record, where readers that do not know it do not look. A detail that is not known is
//! left aside.

use crate::protocol::{
    Cause, Failure, Fitness, Inability, MoveReason, NodeId, NodePhase, Order, Preserving, Refusal,
    Tenure, Vote,
};

/// Stands for no detail; then none is sent, unless other records of the list have one.
pub(super) const NO_DETAIL: u8 = 0;

const DETAIL_CHECKS: u8 = 1;
const DETAIL_HANDED_OVER: u8 = 2;
const DETAIL_REMOVED: u8 = 3;
const DETAIL_ADDRESS_CONFLICT: u8 = 4;
const DETAIL_PLACEMENT: u8 = 5;
const DETAIL_RECEIVER_UNFIT: u8 = 1;
const DETAIL_RECEIVER_UNABLE: u8 = 2;

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
        MoveReason::Balance | MoveReason::Placement => 1,
        MoveReason::Drain | MoveReason::Checks => 2,
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

pub(super) const fn move_reason_detail(reason: MoveReason) -> u8 {
    match reason {
        MoveReason::Checks => DETAIL_CHECKS,
        MoveReason::Placement => DETAIL_PLACEMENT,
        MoveReason::Balance | MoveReason::Drain | MoveReason::Operator | MoveReason::Failback => {
            NO_DETAIL
        }
    }
}

pub(super) const fn detailed_move_reason(reason: MoveReason, detail: u8) -> MoveReason {
    match (reason, detail) {
        (MoveReason::Drain, DETAIL_CHECKS) => MoveReason::Checks,
        (MoveReason::Balance, DETAIL_PLACEMENT) => MoveReason::Placement,
        (other, _) => other,
    }
}

/// Zero stands for nothing to say and is not sent.
pub(super) const fn fitness(fitness: Fitness) -> u8 {
    match fitness {
        Fitness::Fit => 0,
        Fitness::Reluctant => 1,
        Fitness::Unfit => 2,
    }
}

/// What is worse than what this version knows is at least as bad as the worst of it.
pub(super) const fn fitness_of(code: u8) -> Fitness {
    match code {
        0 => Fitness::Fit,
        1 => Fitness::Reluctant,
        _ => Fitness::Unfit,
    }
}

/// Why a node cannot hold a group. What a host outside the cluster does is not told: all nodes see
/// it by themselves.
pub(super) const fn inability(inability: Inability) -> u8 {
    match inability {
        Inability::LinkDown => 1,
        Inability::Kernel(Failure::NoInterface) => 2,
        Inability::Kernel(Failure::NotPermitted) => 3,
        Inability::Kernel(Failure::ForeignAddress) => 4,
        Inability::Kernel(Failure::Duplicate) => 5,
        Inability::Kernel(Failure::Timeout) => 6,
        // What is outside each node hears for itself.
        Inability::Kernel(Failure::Refused) | Inability::Conflict(_) | Inability::Outside(_) => 7,
        Inability::FlushWar => 8,
        Inability::NoNetwork => 9,
        Inability::NetworkLost => 10,
        Inability::Kernel(Failure::Route) => 11,
    }
}

/// A reason that this version does not know is a refusal like any other.
pub(super) const fn inability_of(code: u8) -> Inability {
    match code {
        1 => Inability::LinkDown,
        2 => Inability::Kernel(Failure::NoInterface),
        3 => Inability::Kernel(Failure::NotPermitted),
        4 => Inability::Kernel(Failure::ForeignAddress),
        5 => Inability::Kernel(Failure::Duplicate),
        6 => Inability::Kernel(Failure::Timeout),
        8 => Inability::FlushWar,
        9 => Inability::NoNetwork,
        10 => Inability::NetworkLost,
        11 => Inability::Kernel(Failure::Route),
        _ => Inability::Kernel(Failure::Refused),
    }
}

/// In three bits; zero is what older software sends.
pub(super) const fn preserving(preserving: Preserving) -> u8 {
    match preserving {
        Preserving::Unknown => 0,
        Preserving::Able => 1,
        Preserving::AvailabilityOnly => 2,
        Preserving::Off => 3,
        Preserving::NoGate => 4,
        Preserving::NoKernelSupport => 5,
    }
}

/// A number of later software is as good as none.
pub(super) const fn preserving_of(code: u8) -> Preserving {
    match code {
        1 => Preserving::Able,
        2 => Preserving::AvailabilityOnly,
        3 => Preserving::Off,
        4 => Preserving::NoGate,
        5 => Preserving::NoKernelSupport,
        _ => Preserving::Unknown,
    }
}

pub(super) const fn vote(vote: Vote) -> u8 {
    match vote {
        Vote::Granted => 1,
        Vote::Starting => 2,
        Vote::VotersDiffer => 3,
        Vote::Waiting => 4,
    }
}

pub(super) const fn vote_of(code: u8) -> Option<Vote> {
    Some(match code {
        1 => Vote::Granted,
        2 => Vote::Starting,
        3 => Vote::VotersDiffer,
        4 => Vote::Waiting,
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
        Err(Refusal::ReceiverDeclined | Refusal::ReceiverUnfit | Refusal::ReceiverUnable) => 7,
        Err(Refusal::Busy) => 8,
        Err(Refusal::NotReady) => 9,
        Err(Refusal::ReceiverIsWitness) => 10,
    }
}

pub(super) const fn outcome_detail(outcome: Result<(), Refusal>) -> u8 {
    match outcome {
        Err(Refusal::ReceiverUnfit) => DETAIL_RECEIVER_UNFIT,
        Err(Refusal::ReceiverUnable) => DETAIL_RECEIVER_UNABLE,
        Ok(()) | Err(_) => NO_DETAIL,
    }
}

pub(super) const fn detailed_outcome(
    outcome: Result<(), Refusal>,
    detail: u8,
) -> Result<(), Refusal> {
    match (outcome, detail) {
        (Err(Refusal::ReceiverDeclined), DETAIL_RECEIVER_UNFIT) => Err(Refusal::ReceiverUnfit),
        (Err(Refusal::ReceiverDeclined), DETAIL_RECEIVER_UNABLE) => Err(Refusal::ReceiverUnable),
        (other, _) => other,
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
        Cause::Inability(node) | Cause::Removed(node) | Cause::AddressConflict(node) => (6, node),
        Cause::Balance(node) | Cause::Placement(node) => (7, node),
        Cause::Drain(node) | Cause::Checks(node) | Cause::HandedOver(node) => (8, node),
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

pub(super) const fn cause_detail(cause: Cause) -> u8 {
    match cause {
        Cause::Checks(_) => DETAIL_CHECKS,
        Cause::HandedOver(_) => DETAIL_HANDED_OVER,
        Cause::Removed(_) => DETAIL_REMOVED,
        Cause::AddressConflict(_) => DETAIL_ADDRESS_CONFLICT,
        Cause::Placement(_) => DETAIL_PLACEMENT,
        Cause::FirstClaim
        | Cause::Silence(_)
        | Cause::Restart(_)
        | Cause::Deaf(_)
        | Cause::Departure(_)
        | Cause::Inability(_)
        | Cause::Balance(_)
        | Cause::Drain(_)
        | Cause::Operator(_)
        | Cause::Failback(_)
        | Cause::Conflict(_)
        | Cause::TakenBack(_) => NO_DETAIL,
    }
}

pub(super) const fn detailed_cause(cause: Cause, detail: u8) -> Cause {
    match (cause, detail) {
        (Cause::Drain(node), DETAIL_CHECKS) => Cause::Checks(node),
        (Cause::Drain(node), DETAIL_HANDED_OVER) => Cause::HandedOver(node),
        (Cause::Balance(node), DETAIL_PLACEMENT) => Cause::Placement(node),
        (Cause::Inability(node), DETAIL_REMOVED) => Cause::Removed(node),
        (Cause::Inability(node), DETAIL_ADDRESS_CONFLICT) => Cause::AddressConflict(node),
        (other, _) => other,
    }
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

    #[test]
    fn a_choice_with_a_detail_comes_back_and_is_its_neighbour_without() {
        let node = NodeId(7);
        let (code, of) = cause(Cause::Checks(node));
        let plain = cause_of(code, of).unwrap();
        assert_eq!(plain, Cause::Drain(node));
        assert_eq!(detailed_cause(plain, cause_detail(Cause::Checks(node))), Cause::Checks(node));
        for (detailed, plain) in [
            (Cause::HandedOver(node), Cause::Drain(node)),
            (Cause::Removed(node), Cause::Inability(node)),
            (Cause::AddressConflict(node), Cause::Inability(node)),
            (Cause::Placement(node), Cause::Balance(node)),
        ] {
            let (code, of) = cause(detailed);
            assert_eq!(cause_of(code, of), Some(plain));
            assert_eq!(detailed_cause(plain, cause_detail(detailed)), detailed);
        }
        for code in 1..=10 {
            assert_eq!(inability(inability_of(code)), code);
        }
        assert_eq!(inability_of(200), Inability::Kernel(Failure::Refused));
        let unable = Err(Refusal::ReceiverUnable);
        assert_eq!(outcome_of(outcome(unable)), Some(Err(Refusal::ReceiverDeclined)));
        let plain = Err(Refusal::ReceiverDeclined);
        assert_eq!(detailed_outcome(plain, outcome_detail(unable)), unable);
        let plain = move_reason_of(move_reason(MoveReason::Checks)).unwrap();
        assert_eq!(plain, MoveReason::Drain);
        let detail = move_reason_detail(MoveReason::Checks);
        assert_eq!(detailed_move_reason(plain, detail), MoveReason::Checks);
        let plain = move_reason_of(move_reason(MoveReason::Placement)).unwrap();
        assert_eq!(plain, MoveReason::Balance);
        let detail = move_reason_detail(MoveReason::Placement);
        assert_eq!(detailed_move_reason(plain, detail), MoveReason::Placement);
        let unfit = Err(Refusal::ReceiverUnfit);
        let plain = outcome_of(outcome(unfit)).unwrap();
        assert_eq!(plain, Err(Refusal::ReceiverDeclined));
        assert_eq!(detailed_outcome(plain, outcome_detail(unfit)), unfit);
        for detail in [NO_DETAIL, 200] {
            assert_eq!(detailed_cause(Cause::Drain(node), detail), Cause::Drain(node));
            assert_eq!(detailed_cause(Cause::FirstClaim, detail), Cause::FirstClaim);
            assert_eq!(detailed_move_reason(MoveReason::Drain, detail), MoveReason::Drain);
            assert_eq!(detailed_outcome(Ok(()), detail), Ok(()));
        }
    }
}
