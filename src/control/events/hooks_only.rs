//! What hooks are run for besides the events that are recorded.

use super::{EventRecord, Kind, Level};
use crate::control::names::Names;
use crate::protocol::GroupKey;

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

/// This process begins without the group, whatever the one before it had and however that ended.
pub(crate) fn started_without(group: GroupKey, names: &Names) -> EventRecord {
    of_group(Kind::Released, "started without", group, names).cause("the daemon started".to_owned())
}

fn of_group(kind: Kind, does: &str, group: GroupKey, names: &Names) -> EventRecord {
    let sentence = format!("{} {does} {}", names.node(names.me()), names.group(group).group);
    EventRecord::with_sentence(kind, Level::Info, sentence, names).group(group, names)
}
