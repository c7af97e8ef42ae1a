//! Planned moves, and what is left where no node may own a group.

use super::{EventRecord, Kind, Level};
use crate::control::names::Names;
use crate::control::sentences::{counted, inability};
use crate::protocol::{GroupKey, Inability, NodeId, PoolId};

pub(super) fn kept_ended(
    group: GroupKey,
    to: NodeId,
    left: Option<u32>,
    names: &Names,
) -> EventRecord {
    let (me, to) = (names.node(names.me()), names.node(to));
    let (end, because) = match left {
        Some(0) => (": all have ended".to_owned(), "the last one has ended".to_owned()),
        Some(left) => (
            format!("; {} were reset", counted(u64::from(left), "connection")),
            format!("{left} were cut off"),
        ),
        None => (String::new(), "they were not counted".to_owned()),
    };
    let name = names.group(group).group;
    let sentence = format!("{me} no longer serves old connections to {name}, which {to} owns{end}");
    let line = (Level::Info, "kept connections have ended");
    EventRecord::new(Kind::KeptEnded, line, sentence, names)
        .group(group, names)
        .to(to)
        .because(because)
}

pub(super) fn offer_failed(
    to: NodeId,
    groups: u16,
    why: Option<(GroupKey, Inability)>,
    names: &Names,
) -> EventRecord {
    let (me, to, number) = (names.node(names.me()), names.node(to), groups);
    let groups = counted(u64::from(number), "group");
    let stay = if number == 1 { "stays" } else { "stay" };
    let declined = why.map(|(group, why)| {
        format!("it cannot hold {}: {}", names.group(group).group, inability(why, group, names))
    });
    let because = match &declined {
        Some(declined) => declined.clone(),
        None => format!("it declined or did not answer the offer of {groups}"),
    };
    let why = declined.map_or_else(String::new, |declined| format!(": {declined}"));
    let sentence = format!("{to} did not take {groups}, which {stay} on {me}{why}");
    EventRecord::new(Kind::OfferFailed, (Level::Info, "planned move failed"), sentence, names)
        .to(to.clone())
        .peer(to)
        .because(because)
}

pub(super) fn gate_overdue(group: GroupKey, names: &Names) -> EventRecord {
    let (me, name) = (names.node(names.me()), names.group(group).group);
    let sentence =
        format!("the gate hooks of {name} did not finish in time on {me}; the move proceeds");
    EventRecord::new(Kind::GateOverdue, (Level::Warn, "gate overdue"), sentence, names)
        .group(group, names)
        .because("the gate hooks did not finish in time; the move proceeds")
}

pub(super) fn last_resort(pool: PoolId, kept: bool, names: &Names) -> EventRecord {
    let pool = names.pool(pool);
    let lacks = !names.rules().missing(names.me(), &pool).is_empty();
    let becomes = if kept {
        "its groups stay where they are"
    } else {
        "its groups are released (last_resort)"
    };
    let sentence = if lacks {
        format!(
            "no node that is up is fit for pool {pool} and has the labels that it requires: {becomes}"
        )
    } else {
        format!("no node passes the checks of pool {pool}: {becomes}")
    };
    EventRecord::new(Kind::LastResort, (Level::Warn, "last resort"), sentence.clone(), names)
        .pool(pool)
        .because(sentence)
}

pub(super) fn majority_lost(groups: u16, names: &Names) -> EventRecord {
    let (me, groups) = (names.node(names.me()), counted(u64::from(groups), "group"));
    let sentence =
        format!("{me} stopped answering for {groups}: no majority of the voters grants it a lease");
    let line = (Level::Warn, "majority of the voters lost");
    EventRecord::new(Kind::MajorityLost, line, sentence, names)
        .because(format!("this node stopped answering for {groups}"))
}

pub(super) fn majority_back(groups: u16, names: &Names) -> EventRecord {
    let (me, groups) = (names.node(names.me()), counted(u64::from(groups), "group"));
    let sentence =
        format!("{me} answers again for {groups}: a majority of the voters grants it a lease");
    let line = (Level::Info, "majority of the voters regained");
    EventRecord::new(Kind::MajorityBack, line, sentence, names)
        .because(format!("this node answers again for {groups}"))
}
