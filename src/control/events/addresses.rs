//! What happens to the addresses of a group on this host.

use super::{EventRecord, Kind, Level};
use crate::control::names::Names;
use crate::control::sentences::{inability, removed_by};
use crate::protocol::{GroupKey, Inability, NodeId, Remover};

pub(super) fn withheld(
    group: GroupKey,
    address: GroupKey,
    owner: NodeId,
    names: &Names,
) -> EventRecord {
    let (me, owner) = (names.node(names.me()), names.node(owner));
    let (address, name) = (names.address(address), names.group(group).group);
    let sentence = format!(
        "{me} serves {name} without {address}, which {owner} has in another group: the files of \
         {me} and {owner} differ; reload the one that is older"
    );
    EventRecord::new(Kind::AddressWithheld, (Level::Warn, "address withheld"), sentence, names)
        .group(group, names)
        .because(format!("{owner} has {address} in another group: reload the older file"))
        .to(owner.clone())
        .peer(owner)
}

pub(super) fn admitted(group: GroupKey, address: GroupKey, names: &Names) -> EventRecord {
    let (me, name) = (names.node(names.me()), names.group(group).group);
    let address = names.address(address);
    let sentence = format!("{me} serves {name} with {address} again: no other node owns it");
    let line = (Level::Info, "address no longer withheld");
    EventRecord::new(Kind::AddressAdmitted, line, sentence, names)
        .group(group, names)
        .because(format!("no other node has {address}"))
}

pub(super) fn unable(group: GroupKey, why: Inability, names: &Names) -> EventRecord {
    let (me, name) = (names.node(names.me()), names.group(group).group);
    let cause = inability(why, group, names);
    let sentence = format!("{me} cannot hold {name}: {cause}");
    let line = (Level::Warn, "this node cannot hold the group");
    EventRecord::new(Kind::Unable, line, sentence, names).group(group, names).cause(cause)
}

pub(super) fn repaired(
    group: GroupKey,
    remover: Remover,
    times: u32,
    names: &Names,
) -> EventRecord {
    let (me, name) = (names.node(names.me()), names.group(group).group);
    let because = removed_by(remover, times);
    let sentence = match remover {
        Remover::Somebody => format!(
            "another program removed an address of {name} on {me}; buoy restored it ({times} in \
             the last minute)"
        ),
        Remover::Guardian { .. } | Remover::Lifetime => {
            format!("{name} was restored on {me}: {because}")
        }
    };
    EventRecord::new(Kind::Repaired, (Level::Warn, "address restored"), sentence, names)
        .group(group, names)
        .because(because)
}
