//! Who owns a group, and whether its neighbours follow.

use std::time::Duration;

use super::{EventRecord, Kind, Level};
use crate::control::duration_text::precise;
use crate::control::names::Names;
use crate::control::sentences;
use crate::protocol::{Cause, Convergence, Epoch, GroupKey, HardwareAddress, NodeId};

/// A change of ownership.
pub(super) struct Change {
    /// Owner before.
    pub(super) from: Option<NodeId>,
    /// Owner now.
    pub(super) to: Option<NodeId>,
    /// Epoch of the claim.
    pub(super) epoch: Epoch,
    /// Cause of the claim.
    pub(super) cause: Cause,
    /// How long the node of the cause had been silent, if known.
    pub(super) silence: Option<Duration>,
}

pub(super) fn changed(group: GroupKey, change: Change, names: &Names) -> EventRecord {
    let Change { from, to, epoch, cause, silence } = change;
    let (from, to) = (from.map(|node| names.node(node)), to.map(|node| names.node(node)));
    let (name, why) = (names.group(group).group, sentences::cause(cause, silence, names));
    let sentence = match (&from, &to) {
        (Some(from), Some(to)) if from == to => format!("{to} took {name} again: {why}"),
        (Some(from), Some(to)) => format!("{name} moved from {from} to {to}: {why}"),
        (None, Some(to)) => format!("{to} took {name}: {why}"),
        (Some(gone), None) => format!("{gone} released {name}; no node owns it now"),
        (None, None) => format!("no node owns {name}"),
    };
    // The cause is why the former owner once took it, not why it is gone.
    let (level, cause) = if to.is_some() { (Level::Info, Some(why)) } else { (Level::Warn, None) };
    EventRecord::new(Kind::OwnerChanged, (level, "owner changed"), sentence, names)
        .node(to.clone().or_else(|| from.clone()))
        .group(group, names)
        .from(from)
        .to(to.clone())
        .owner(to)
        .epoch(epoch)
        .cause(cause)
}

pub(super) fn acquired(group: GroupKey, epoch: Epoch, names: &Names) -> EventRecord {
    let me = names.node(names.me());
    let sentence = format!("{me} answers for {}", names.group(group).group);
    EventRecord::new(Kind::Acquired, (Level::Info, "addresses added"), sentence, names)
        .group(group, names)
        .owner(Some(me))
        .epoch(epoch)
}

pub(super) fn released(group: GroupKey, epoch: Epoch, names: &Names) -> EventRecord {
    let sentence =
        format!("{} no longer answers for {}", names.node(names.me()), names.group(group).group);
    EventRecord::new(Kind::Released, (Level::Info, "addresses removed"), sentence, names)
        .group(group, names)
        .epoch(epoch)
}

pub(super) fn gave_way(group: GroupKey, to: NodeId, epoch: Epoch, names: &Names) -> EventRecord {
    let to = names.node(to);
    let sentence =
        format!("{} gave way to {to} for {}", names.node(names.me()), names.group(group).group);
    EventRecord::new(Kind::GaveWay, (Level::Warn, "gave way"), sentence, names)
        .group(group, names)
        .because(format!("{to} has a claim of higher rank"))
        .to(to)
        .epoch(epoch)
}

pub(super) fn second_claimant(
    group: GroupKey,
    hardware: HardwareAddress,
    node: Option<NodeId>,
    names: &Names,
) -> EventRecord {
    let (me, name) = (names.node(names.me()), names.group(group).group);
    let node = node.map(|node| names.node(node));
    let sentence = match &node {
        None => format!(
            "address conflict: {hardware}, a host outside the cluster, claims {name} too; {me} \
             defends it"
        ),
        Some(node) => {
            format!("address conflict: {node} ({hardware}) claims {name} too, which {me} owns")
        }
    };
    EventRecord::new(Kind::SecondClaimant, (Level::Warn, "address conflict"), sentence, names)
        .group(group, names)
        .from(node.clone().unwrap_or_else(|| hardware.to_string()))
        .peer(node)
        .because(format!("{hardware} claims the group too"))
}

pub(super) fn converged(
    group: GroupKey,
    epoch: Epoch,
    (hosts, after): (u16, Duration),
    names: &Names,
) -> EventRecord {
    let (me, name, after) = (names.node(names.me()), names.group(group).group, precise(after));
    let sentence = format!(
        "{name}: {hosts} of {hosts} neighbours resolve it to {me}, {after} after it was added"
    );
    let message = "all neighbours resolve it to this node";
    EventRecord::new(Kind::Converged, (Level::Info, message), sentence, names)
        .group(group, names)
        .epoch(epoch)
        .because(format!("{hosts} neighbours, {after} after it was added"))
}

pub(super) fn not_converged(
    group: GroupKey,
    epoch: Epoch,
    outcome: &Convergence,
    names: &Names,
) -> EventRecord {
    let (me, name, missing) = (names.node(names.me()), names.group(group).group, missing(outcome));
    let Convergence { asked, answered, .. } = outcome;
    let sentence =
        format!("{name}: {answered} of {asked} neighbours resolve it to {me}, not {missing}");
    let message = "some neighbours do not resolve it to this node";
    EventRecord::new(Kind::NotConverged, (Level::Warn, message), sentence, names)
        .group(group, names)
        .epoch(epoch)
        .because(format!("{answered} of {asked} neighbours do; missing: {missing}"))
}

/// Who does not follow a takeover: the names of some, and how many more.
fn missing(outcome: &Convergence) -> String {
    let named: Vec<String> = outcome.missing.iter().flatten().map(ToString::to_string).collect();
    let all = usize::from(outcome.asked.saturating_sub(outcome.answered));
    match all.saturating_sub(named.len()) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
