//! One group at one node: the transition table.
//!
//! ```text
//!            take            Present                   let go            Absent
//!   Idle ----------> Adding ---------> Held ----------------> Removing --------> Idle
//!    |                 ^ |  Failed                               ^   what was let go for
//!    | ask             | +-----------------> Idle, unable        |   is published now,
//!    v                 | +------------- let go ------------------+   not before (S9)
//!   Asking ------------+
//!           granted         (mode majority: nothing is in the kernel before there is a lease)
//! ```
//!
//! Pure: `ownership` feeds it and carries out what it returns. S9: see docs/invariants.md.

use super::types::{Epoch, Failure, NodeId, Ticket};

/// What this node has of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holding {
    /// Nothing; the kernel has none of its addresses.
    Idle,
    /// Nothing yet: a lease is being asked for.
    Asking { epoch: Epoch },
    /// The kernel is adding the addresses.
    Adding { ticket: Ticket, epoch: Epoch },
    /// The kernel answers for the group.
    Held { ticket: Ticket, epoch: Epoch },
    /// The kernel is removing the addresses.
    Removing { ticket: Ticket, epoch: Epoch, purpose: Purpose },
}

/// What a group is let go for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To hand it to this node.
    MoveTo(NodeId),
    /// For whoever is next.
    Free,
    /// Another owner holds it under a later epoch; nothing is to be said.
    GiveWay,
}

/// What happens to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occurrence {
    /// This node decided to take it under this epoch.
    Take(Ticket, Epoch),
    /// The same, but it needs a lease first.
    Ask(Epoch),
    /// It has the lease.
    Granted(Ticket),
    /// This node holds it under a new epoch: it won a conflict.
    Renew(Epoch),
    /// This node decided to let it go.
    LetGo(Ticket, Purpose),
    /// Other addresses of it than before are to be here.
    Reshape(Ticket),
    /// The kernel has all addresses.
    Present(Ticket),
    /// The kernel has none.
    Absent(Ticket),
    /// The kernel could not, and has none.
    Failed(Ticket, Failure),
}

/// What follows from a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consequence {
    /// Nothing.
    None,
    /// Ask the kernel to add.
    Acquire(Ticket),
    /// Ask the kernel to remove.
    Release(Ticket),
    /// The group is answered for: announce.
    Opened(Epoch),
    /// The group is gone from here: publish what it was let go for.
    Closed(Epoch, Purpose),
    /// The group was never here: publish what it was let go for.
    Withdrawn(Purpose),
    /// The kernel could not hold it: free for others, not for this node.
    Lost(Epoch, Failure),
}

impl Holding {
    /// Whether this node means to have the group.
    pub(super) const fn meant(self) -> bool {
        match self {
            Self::Asking { .. } | Self::Adding { .. } | Self::Held { .. } => true,
            Self::Idle | Self::Removing { .. } => false,
        }
    }

    /// The transition. An outcome with another ticket than the current one is of an order that
    /// has been replaced, and changes nothing.
    pub(super) fn on(self, occurrence: Occurrence) -> (Self, Consequence) {
        use Consequence as C;
        use Occurrence as O;
        match (self, occurrence) {
            (Self::Idle, O::Take(ticket, epoch)) => {
                (Self::Adding { ticket, epoch }, C::Acquire(ticket))
            }
            (Self::Idle, O::Ask(epoch)) => (Self::Asking { epoch }, C::None),
            (Self::Idle, O::Granted(_) | O::Renew(_) | O::LetGo(..) | O::Reshape(_)) => {
                (self, C::None)
            }
            (Self::Idle, O::Present(_) | O::Absent(_) | O::Failed(..)) => (self, C::None),

            (Self::Asking { epoch }, O::Granted(ticket)) => {
                (Self::Adding { ticket, epoch }, C::Acquire(ticket))
            }
            (Self::Asking { .. }, O::Renew(epoch)) => (Self::Asking { epoch }, C::None),
            (Self::Asking { .. }, O::LetGo(_, purpose)) => (Self::Idle, C::Withdrawn(purpose)),
            (
                Self::Asking { .. },
                O::Take(..)
                | O::Ask(_)
                | O::Reshape(_)
                | O::Present(_)
                | O::Absent(_)
                | O::Failed(..),
            ) => (self, C::None),

            (
                Self::Adding { .. } | Self::Held { .. } | Self::Removing { .. },
                O::Take(..) | O::Ask(_) | O::Granted(_),
            ) => (self, C::None),
            (Self::Adding { ticket, .. }, O::Renew(epoch)) => {
                (Self::Adding { ticket, epoch }, C::None)
            }
            (Self::Held { ticket, .. }, O::Renew(epoch)) => {
                (Self::Held { ticket, epoch }, C::Opened(epoch))
            }
            (Self::Removing { .. }, O::Renew(_) | O::Reshape(_)) => (self, C::None),

            (Self::Adding { epoch, .. } | Self::Held { epoch, .. }, O::LetGo(ticket, purpose)) => {
                (Self::Removing { ticket, epoch, purpose }, C::Release(ticket))
            }
            (Self::Removing { ticket, epoch, .. }, O::LetGo(_, Purpose::GiveWay)) => {
                (Self::Removing { ticket, epoch, purpose: Purpose::GiveWay }, C::None)
            }
            (Self::Removing { .. }, O::LetGo(_, Purpose::MoveTo(_) | Purpose::Free)) => {
                (self, C::None)
            }

            (Self::Adding { epoch, .. }, O::Reshape(ticket)) => {
                (Self::Adding { ticket, epoch }, C::Acquire(ticket))
            }
            (Self::Held { epoch, .. }, O::Reshape(ticket)) => {
                (Self::Held { ticket, epoch }, C::Acquire(ticket))
            }

            (Self::Adding { ticket, epoch }, O::Present(of)) if of == ticket => {
                (Self::Held { ticket, epoch }, C::Opened(epoch))
            }
            (Self::Held { ticket, epoch }, O::Present(of)) if of == ticket => {
                (self, C::Opened(epoch))
            }
            (Self::Removing { ticket, epoch, purpose }, O::Absent(of)) if of == ticket => {
                (Self::Idle, C::Closed(epoch, purpose))
            }
            (Self::Adding { ticket, epoch } | Self::Held { ticket, epoch }, O::Failed(of, why))
                if of == ticket =>
            {
                (Self::Idle, C::Lost(epoch, why))
            }
            (
                Self::Adding { .. } | Self::Held { .. } | Self::Removing { .. },
                O::Present(_) | O::Absent(_) | O::Failed(..),
            ) => (self, C::None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T1: Ticket = Ticket(1);
    const T2: Ticket = Ticket(2);
    const E1: Epoch = Epoch(1);
    const E2: Epoch = Epoch(2);
    const WHY: Failure = Failure::Refused;
    const MOVE: Purpose = Purpose::MoveTo(NodeId(2));

    #[test]
    fn every_pair_of_holding_and_occurrence() {
        use Consequence as C;
        use Occurrence as O;
        let idle = Holding::Idle;
        let asking = Holding::Asking { epoch: E1 };
        let adding = Holding::Adding { ticket: T1, epoch: E1 };
        let held = Holding::Held { ticket: T1, epoch: E1 };
        let removing = |purpose| Holding::Removing { ticket: T1, epoch: E1, purpose };
        let leaving = |ticket, purpose| Holding::Removing { ticket, epoch: E1, purpose };
        let table = [
            (idle, O::Take(T2, E2), Holding::Adding { ticket: T2, epoch: E2 }, C::Acquire(T2)),
            (idle, O::Ask(E2), Holding::Asking { epoch: E2 }, C::None),
            (idle, O::Granted(T2), idle, C::None),
            (asking, O::Take(T2, E2), asking, C::None),
            (asking, O::Ask(E2), asking, C::None),
            (asking, O::Granted(T1), Holding::Adding { ticket: T1, epoch: E1 }, C::Acquire(T1)),
            (asking, O::Renew(E2), Holding::Asking { epoch: E2 }, C::None),
            (asking, O::LetGo(T2, MOVE), idle, C::Withdrawn(MOVE)),
            (asking, O::Present(T1), asking, C::None),
            (asking, O::Absent(T1), asking, C::None),
            (asking, O::Failed(T1, WHY), asking, C::None),
            (idle, O::Reshape(T2), idle, C::None),
            (asking, O::Reshape(T2), asking, C::None),
            (adding, O::Reshape(T2), Holding::Adding { ticket: T2, epoch: E1 }, C::Acquire(T2)),
            (held, O::Reshape(T2), Holding::Held { ticket: T2, epoch: E1 }, C::Acquire(T2)),
            (removing(MOVE), O::Reshape(T2), removing(MOVE), C::None),
            (adding, O::Ask(E2), adding, C::None),
            (adding, O::Granted(T2), adding, C::None),
            (held, O::Ask(E2), held, C::None),
            (held, O::Granted(T2), held, C::None),
            (removing(MOVE), O::Ask(E2), removing(MOVE), C::None),
            (removing(MOVE), O::Granted(T2), removing(MOVE), C::None),
            (idle, O::Renew(E2), idle, C::None),
            (idle, O::LetGo(T2, MOVE), idle, C::None),
            (idle, O::Present(T1), idle, C::None),
            (idle, O::Absent(T1), idle, C::None),
            (idle, O::Failed(T1, WHY), idle, C::None),
            (adding, O::Take(T2, E2), adding, C::None),
            (adding, O::Renew(E2), Holding::Adding { ticket: T1, epoch: E2 }, C::None),
            (adding, O::LetGo(T2, MOVE), leaving(T2, MOVE), C::Release(T2)),
            (adding, O::Present(T1), held, C::Opened(E1)),
            (adding, O::Present(T2), adding, C::None),
            (adding, O::Absent(T1), adding, C::None),
            (adding, O::Failed(T1, WHY), idle, C::Lost(E1, WHY)),
            (adding, O::Failed(T2, WHY), adding, C::None),
            (held, O::Take(T2, E2), held, C::None),
            (held, O::Renew(E2), Holding::Held { ticket: T1, epoch: E2 }, C::Opened(E2)),
            (held, O::LetGo(T2, Purpose::Free), leaving(T2, Purpose::Free), C::Release(T2)),
            (held, O::Present(T1), held, C::Opened(E1)),
            (held, O::Present(T2), held, C::None),
            (held, O::Absent(T1), held, C::None),
            (held, O::Failed(T1, WHY), idle, C::Lost(E1, WHY)),
            (held, O::Failed(T2, WHY), held, C::None),
            (removing(MOVE), O::Take(T2, E2), removing(MOVE), C::None),
            (removing(MOVE), O::Renew(E2), removing(MOVE), C::None),
            (removing(MOVE), O::LetGo(T2, Purpose::GiveWay), removing(Purpose::GiveWay), C::None),
            (removing(MOVE), O::LetGo(T2, Purpose::Free), removing(MOVE), C::None),
            (removing(MOVE), O::Present(T1), removing(MOVE), C::None),
            (removing(MOVE), O::Absent(T1), idle, C::Closed(E1, MOVE)),
            (removing(MOVE), O::Absent(T2), removing(MOVE), C::None),
            (removing(MOVE), O::Failed(T1, WHY), removing(MOVE), C::None),
        ];
        for (holding, occurrence, expected, consequence) in table {
            let actual = holding.on(occurrence);
            assert_eq!(actual, (expected, consequence), "{holding:?} on {occurrence:?}");
        }
    }
}
