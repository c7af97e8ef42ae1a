//! Sentences about addresses that nodes have in different groups.

use super::names::Names;
use crate::protocol::{GroupKey, NodeId, Withheld};

/// An address is not served with its group because another node has it.
pub(super) fn withheld(address: GroupKey, owner: NodeId, group: GroupKey, names: &Names) -> String {
    let (me, owner) = (names.node(names.me()), names.node(owner));
    let (address, group) = (names.address(address), names.group(group).group);
    format!(
        "{me} serves {group} without {address}, which {owner} has in another group: the files of \
         {me} and {owner} differ; reload the one that is older"
    )
}

/// An address that was withheld is served.
pub(super) fn admitted(address: GroupKey, group: GroupKey, names: &Names) -> String {
    let (me, group) = (names.node(names.me()), names.group(group).group);
    format!("{me} serves {group} with {} again: no other node owns it", names.address(address))
}

/// What a node withholds from a group that it has.
pub(super) fn missing(withheld: &Withheld, names: &Names) -> String {
    let address = names.address(withheld.address);
    let more = match withheld.count {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    match withheld.owner {
        Some(owner) => {
            let (me, owner) = (names.node(names.me()), names.node(owner));
            format!(
                "without {address}{more}: {owner} has it in another group; reload the older \
                 file of {me} and {owner}"
            )
        }
        None => format!("without {address}{more}, which is being taken"),
    }
}
