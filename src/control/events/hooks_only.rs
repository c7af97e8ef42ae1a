//! What hooks are run for besides the events that are recorded.

use super::{EventRecord, Kind, Level};
use crate::control::names::Names;
use crate::control::sentences;
use crate::protocol::{Cause, GroupKey, Report};

/// A planned move of the group waits for its gate.
pub(crate) fn gate(group: GroupKey, names: &Names) -> EventRecord {
    of_group(Kind::Gate, "is about to hand over", group, names)
}

/// The kernel has been ordered to add the addresses of the group.
pub(crate) fn before_acquire(group: GroupKey, names: &Names) -> EventRecord {
    of_group(Kind::BeforeAcquire, "takes", group, names)
}

/// The kernel has been ordered to remove the addresses of the group.
pub(crate) fn before_release(group: GroupKey, names: &Names) -> EventRecord {
    of_group(Kind::BeforeRelease, "releases", group, names)
}

/// Returns what hooks are run for besides a report: that the next owner has a group that this node has handed over, and
/// that this node drains no more. `None` of any other report.
pub(crate) fn after_a_move(report: &Report, names: &Names) -> Option<EventRecord> {
    let me = names.me();
    if let Report::Draining { on: false } = *report {
        let sentence = format!("{} is not drained any more", names.node(me));
        return Some(EventRecord::with_sentence(Kind::Undrained, Level::Info, sentence, names));
    }
    let Report::OwnerChanged { group, from, to: Some(to), epoch, cause } = *report else {
        return None;
    };
    if from != Some(me) || to == me || !is_planned(cause) {
        return None;
    }
    let (me, to, name) = (names.node(me), names.node(to), names.group(group).group);
    let sentence = format!("{me} has handed {name} over to {to}");
    let event = EventRecord::with_sentence(Kind::HandedOver, Level::Info, sentence, names);
    let why = sentences::cause(cause, None, names);
    let event = event.group(group, names).from(me).to(to.clone()).owner(Some(to));
    Some(event.epoch(epoch).cause(why))
}

/// This node has been drained.
pub(crate) fn drained(names: &Names) -> EventRecord {
    let sentence =
        format!("{} is drained: it owns nothing and serves nothing", names.node(names.me()));
    EventRecord::with_sentence(Kind::Drained, Level::Info, sentence, names)
}

/// Whether the owner before has given the group away in good order.
const fn is_planned(cause: Cause) -> bool {
    match cause {
        Cause::Balance(_)
        | Cause::Drain(_)
        | Cause::Checks(_)
        | Cause::HandedOver(_)
        | Cause::Operator(_)
        | Cause::Failback(_)
        | Cause::Placement(_) => true,
        Cause::FirstClaim
        | Cause::Silence(_)
        | Cause::Restart(_)
        | Cause::Deaf(_)
        | Cause::Departure(_)
        | Cause::Inability(_)
        | Cause::Removed(_)
        | Cause::AddressConflict(_)
        | Cause::Conflict(_)
        | Cause::TakenBack(_) => false,
    }
}

/// This process begins without the group, whatever the one before it had and however that ended.
pub(crate) fn started_without(group: GroupKey, names: &Names) -> EventRecord {
    of_group(Kind::Released, "started without", group, names).cause("the daemon started".to_owned())
}

fn of_group(kind: Kind, does: &str, group: GroupKey, names: &Names) -> EventRecord {
    let sentence = format!("{} {does} {}", names.node(names.me()), names.group(group).group);
    EventRecord::with_sentence(kind, Level::Info, sentence, names).group(group, names)
}
