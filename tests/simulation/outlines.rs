//! Actions and messages in short: as numbers for the hash of a run, and as text for its trace.

use buoy::protocol::{Action, Message};

/// A number for the trace's hash: the same for the same action.
pub(crate) fn kind(action: &Action) -> u64 {
    match action {
        Action::Send { to, message } => 1 + 16 * u64::from(to.0) + 2 * message_kind(message),
        Action::Acquire { group, ticket, .. } => 2 ^ group.0 ^ ticket.0.rotate_left(40),
        Action::Release { group, ticket } => 3 ^ group.0 ^ ticket.0.rotate_left(40),
        Action::Announce { group } => 4 ^ group.0,
        Action::TestReach => 5,
        Action::Answer { ticket, .. } => 6 ^ ticket.rotate_left(8),
        Action::Report(_) => 7,
        Action::RememberDraining(draining) => 8 + u64::from(*draining),
        Action::RememberVoters(record) => 22 ^ u64::try_from(record.lists.len()).unwrap_or(0),
        Action::Named { node, .. } => 23 ^ u64::from(node.0).rotate_left(8),
        Action::Stopped => 10,
        Action::GoOn(_) => 18,
        Action::Probe { group } => 13 ^ group.0,
        Action::Verify { group, epoch, .. } => 11 ^ group.0 ^ epoch.0.rotate_left(40),
        Action::Correct { group, epoch } => 24 ^ group.0 ^ epoch.0.rotate_left(40),
        Action::Acquaint { from, .. } => 12 ^ u64::from(from.0),
        Action::Remember { from, .. } => 14 ^ u64::from(from.0).rotate_left(8),
        Action::Tickle { group } => 15 ^ group.0,
        Action::WatchConnections(on) => 16 + u64::from(*on),
        Action::OpenGate { group, ticket } => 18 ^ group.0 ^ ticket.0.rotate_left(40),
        Action::LetFinish { group } => 19 ^ group.0,
        Action::Hand { group, ticket } => 20 ^ group.0 ^ ticket.0.rotate_left(40),
        Action::Withdraw { group } => 22 ^ group.0,
        Action::Forward { group, to } => 21 ^ group.0 ^ u64::from(to.is_some()).rotate_left(40),
    }
}

fn message_kind(message: &Message) -> u64 {
    match message {
        Message::Heartbeat(_) => 1,
        Message::Claims(_) => 2,
        Message::ClaimsAck(_) => 3,
        Message::Offer(_) => 4,
        Message::OfferAnswer(_) => 5,
        Message::Errand(_) => 6,
        Message::ErrandAnswer(_) => 7,
        Message::LeaseRequest(_) => 8,
        Message::LeaseGrant(_) => 9,
        Message::Neighbours(_) => 10,
        Message::Connections(_) => 11,
        Message::Kept(_) => 12,
    }
}

/// What a trace says of a message.
pub(crate) fn outline(message: &Message) -> String {
    match message {
        Message::Heartbeat(beat) => format!("heartbeat {:?}", beat.phase),
        Message::Claims(slice) => {
            let mut text =
                format!("claims {:?}+{}..{}", slice.base, slice.claims.len(), slice.upto);
            for claim in slice.claims.iter().take(3) {
                text += &format!(
                    " [{} e{} r{} {:?} s{} by {}]",
                    claim.group,
                    claim.epoch.0,
                    claim.revision,
                    claim.tenure,
                    claim.support,
                    claim.owner
                );
            }
            text
        }
        Message::ClaimsAck(ack) => format!("ack {:?}", ack.position),
        Message::Offer(offer) => format!("offers {} {:?}", offer.groups.len(), offer.reason),
        Message::OfferAnswer(answer) => format!("accepts {}", answer.accepted.len()),
        Message::Errand(errand) => format!("errand {:?}", errand.order),
        Message::ErrandAnswer(answer) => format!("errand answer {:?}", answer.outcome),
        Message::LeaseRequest(request) => {
            format!("asks for leases {}..{} {:?}", request.base, request.upto, request.wishes)
        }
        Message::LeaseGrant(grant) => {
            format!("grants {}..{} {:?} {:?}", grant.have, grant.upto, grant.vote, grant.refused)
        }
        Message::Neighbours(hosts) => format!("tells of {} neighbours", hosts.len()),
        Message::Kept(list) => format!("keeps connections of {} groups", list.len()),
        Message::Connections(list) => format!("tells of {} connections", list.len()),
    }
}
