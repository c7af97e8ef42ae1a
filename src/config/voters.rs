//! Who votes: how many voters mode `majority` takes, and which other list may follow.
//!
//! A lease counts when a majority of the voters has granted it, so two leases for the same group
//! would need two majorities without a voter in common. That is impossible in one list. Between
//! lists those see to it who have voted under the old one (`protocol::electorate`); so one of them
//! must be in every majority of the new one. An even number is refused since it outlasts no more
//! deaths than the odd number below it. Called by `pools` while a file is checked, by `difference`
//! at a reload and by `daemon` at both; changes nothing.

use crate::protocol::{Mode, NodeId, Recollection};

use super::Config;
use super::fault::{Findings, Place};
use super::nodes::Role;

/// Most voters: each renewal asks all of them, and seven outlast three deaths.
const VOTERS_MAX: usize = 7;

/// Refuses `mode = "majority"`, which stands at `place`, if these nodes cannot vote on anything.
pub(super) fn check_voters(place: &Place, nodes: &[(String, Role)], findings: &mut Findings) {
    let count = nodes.iter().filter(|(_, role)| role.votes()).count();
    if nodes.is_empty() {
        return;
    }
    let silent = nodes.iter().find(|(_, role)| !role.votes());
    let (problem, remedy) = match (count, silent) {
        (3 | 5 | VOTERS_MAX, _) => return,
        (0..=2, Some((name, _))) => (
            format!("needs three voters, but there {}", counted(count)),
            format!("remove voter = false from node {name:?}, or use \"availability\""),
        ),
        (0..=1, None) => (
            "cannot work with a single node: there is no other voter".to_owned(),
            "add nodes until there are three voters, or use \"availability\"".to_owned(),
        ),
        (2, None) => (
            "cannot work with two voters: a majority of two is both, so one failure stops the other"
                .to_owned(),
            "a witness is a third daemon, on a host of its own, that votes and owns nothing:\nadd \
             a \
             [[node]] with role = \"witness\", or use \"availability\""
                .to_owned(),
        ),
        (4 | 6, _) => {
            let member = nodes.iter().rfind(|(_, role)| *role == Role::Member);
            let remedy = match member {
                Some((name, _)) => format!(
                    "write voter = false for node {name:?}, or add a [[node]] with role = \
                     \"witness\""
                ),
                None => "remove a witness".to_owned(),
            };
            let fewer = count - 1;
            let problem = format!(
                "needs an odd number of voters: {count} survive no more failures than {fewer}"
            );
            (problem, remedy)
        }
        _ => (
            format!("has {count} voters, but at most {VOTERS_MAX} are allowed"),
            format!("write voter = false for {} of the nodes", count - VOTERS_MAX),
        ),
    };
    findings.refuse(place, problem, remedy);
}

fn counted(count: usize) -> String {
    match count {
        0 => "is none".to_owned(),
        1 => "is 1".to_owned(),
        _ => format!("are {count}"),
    }
}

/// Why a node that remembers these lists of voters must not go by the list of this file, if so: a
/// majority of the new list might be of nodes that none of a former list is among, and these do not
/// know of what that one has granted.
pub(crate) fn voters_refused(config: &Config, remembered: &Recollection) -> Option<String> {
    let Recollection::Record(record) = remembered else { return None };
    if config.groups.iter().all(|group| group.mode != Mode::Majority) {
        return None;
    }
    let voters: Vec<_> = config.nodes.iter().filter(|node| node.role.votes()).collect();
    let kept = |list: &[NodeId]| voters.iter().filter(|node| list.contains(&node.id)).count();
    let former = record.lists.iter().find(|list| kept(list) <= voters.len() / 2)?;
    let names = |wanted: bool| {
        let names = voters.iter().filter(|node| former.contains(&node.id) == wanted);
        let names: Vec<&str> = names.map(|node| node.name.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    Some(format!(
        "too many voters change at once in mode majority: of the voters so far the file keeps {}, \
         and {} would be new; change the list in steps, each with fewer than half new, and reload \
         every node before the next step",
        names(true),
        names(false)
    ))
}

/// The voters before and after, if they differ while leases are being granted under both files.
pub(super) fn voters_changed(old: &Config, new: &Config) -> Option<(String, String)> {
    let strict = |config: &Config| config.groups.iter().any(|group| group.mode == Mode::Majority);
    let voters = |config: &Config| {
        let voters = config.nodes.iter().filter(|node| node.role.votes());
        let mut names: Vec<&str> = voters.map(|node| node.name.as_str()).collect();
        names.sort_unstable();
        names.join(", ")
    };
    let (before, after) = (voters(old), voters(new));
    (strict(old) && strict(new) && before != after).then_some((before, after))
}
