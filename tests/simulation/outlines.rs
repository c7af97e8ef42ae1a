//! Messages in short, as text for the trace of a run.

use buoy::protocol::Message;

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
