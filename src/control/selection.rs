//! Which part of a status is shown: `buoy status --pool --node --problems`, and what is left out of
//! a status of very many groups.
//!
//! Pure. A selection takes rows away and never changes one, so that what is shown is what the daemon
//! said. An unknown name is refused rather than answered with an empty table.

use std::collections::BTreeMap;

use super::response::{Group, GroupState, Node, NodeState, Refused, Status};
use super::sentences::counted;
use super::table::{Table, numbers, words};

/// Groups that are listed one by one without a filter; of more, the pools and the problems are shown.
pub const GROUPS_LISTED_MAX: usize = 64;

/// What the operator wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only groups of this pool.
    pub pool: Option<String>,
    /// Only this node and the groups that it owns.
    pub node: Option<String>,
    /// Only what is not as it should be.
    pub problems: bool,
}

impl Selection {
    /// Takes away what is not wanted.
    ///
    /// # Errors
    /// If the configuration has no such pool or node.
    pub fn apply(&self, status: &mut Status) -> Result<(), Refused> {
        if let Some(pool) = &self.pool {
            let pools = status.groups.iter().map(|group| group.pool.as_str());
            known("pool", pool, pools)?;
            status.groups.retain(|group| group.pool == *pool);
        }
        if let Some(node) = &self.node {
            let nodes = status.nodes.iter().map(|one| one.name.as_str());
            known("node", node, nodes)?;
            status.nodes.retain(|one| one.name == *node);
            status.groups.retain(|group| group.owner.as_ref() == Some(node));
        }
        if self.problems {
            status.nodes.retain(has_problem);
            status.groups.retain(is_problem);
        }
        Ok(())
    }

    /// Whether groups are listed however many there are.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        *self != Self::default()
    }
}

fn known<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Refused> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    if names.contains(&name) {
        return Ok(());
    }
    let reason = format!("the configuration has no {what} '{name}'; it has {}", names.join(", "));
    Err(Refused { code: format!("unknown_{what}"), reason, details: Vec::new() })
}

/// Returns whether a group is not simply owned and answered for.
#[must_use]
pub fn is_problem(group: &Group) -> bool {
    group.state != GroupState::Owned
        || group.unable_here.is_some()
        || group.claimant.is_some()
        || group.withheld.is_some()
}

/// Returns whether a node is not simply up, of the same configuration and fit for all its pools.
#[must_use]
pub fn has_problem(node: &Node) -> bool {
    node.state != NodeState::Up
        || node.draining
        || node.config_differs
        || node.kernel_answers.is_some()
        || !(node.problems.is_empty() && node.unfit.is_empty() && node.reluctant.is_empty())
}

/// Returns one row for each pool: how many groups it has, and how they stand.
#[must_use]
pub(super) fn pools(groups: &[Group]) -> String {
    let mut pools: BTreeMap<&str, [usize; 6]> = BTreeMap::new();
    for group in groups {
        let counts = pools.entry(&group.pool).or_default();
        let state = match group.state {
            GroupState::Owned => 1,
            GroupState::Moving => 2,
            GroupState::Waiting | GroupState::Closed => 3,
            GroupState::Unowned => 4,
        };
        counts[0] += 1;
        counts[state] += 1;
        counts[5] += usize::from(is_problem(group));
    }
    let mut table = Table::new(vec![
        words("POOL"),
        numbers("GROUPS"),
        numbers("OWNED"),
        numbers("MOVING"),
        numbers("CLOSED"),
        numbers("UNOWNED"),
        numbers("PROBLEMS"),
    ]);
    for (pool, counts) in pools {
        let numbers = counts.iter().map(ToString::to_string);
        table.row(std::iter::once(pool.to_owned()).chain(numbers).collect());
    }
    table.text()
}

/// Returns the groups that are listed one by one, and a line about the others.
pub(super) fn listed(groups: &[Group]) -> (Vec<&Group>, String) {
    let problems: Vec<&Group> = groups.iter().filter(|group| is_problem(group)).collect();
    let hidden = problems.len().saturating_sub(GROUPS_LISTED_MAX);
    let mut note = match problems.len() {
        0 => format!("all {} are owned\n", counted(groups.len() as u64, "group")),
        _ if hidden == 0 => String::new(),
        _ => format!("{} more: buoy status --problems\n", counted(hidden as u64, "problem")),
    };
    note.push_str("to list groups: buoy status --pool POOL, --node NODE or --problems\n");
    (problems.into_iter().take(GROUPS_LISTED_MAX).collect(), note)
}

#[cfg(test)]
mod tests {
    use super::super::{fixture, render, translation};
    use super::*;

    fn status() -> Status {
        translation::status(&fixture::waiting_status().into(), &fixture::names())
    }

    fn selected(selection: &Selection) -> (Vec<String>, Vec<String>) {
        let mut status = status();
        selection.apply(&mut status).unwrap();
        let nodes = status.nodes.into_iter().map(|node| node.name).collect();
        (nodes, status.groups.into_iter().map(|group| group.group).collect())
    }

    #[test]
    fn a_selection_leaves_what_was_asked_for() {
        let of = |node: &str| Selection { node: Some(node.to_owned()), ..Selection::default() };
        assert_eq!(selected(&of("lb2")), (vec!["lb2".into()], vec!["10.77.0.101".into()]));
        let problems = Selection { problems: true, ..Selection::default() };
        let (nodes, groups) = selected(&problems);
        assert_eq!((nodes, groups), (vec!["lb2".into(), "lb3".into()], vec!["10.77.0.102".into()]));
        let both = Selection { problems: true, ..of("lb2") };
        assert_eq!(selected(&both), (vec!["lb2".into()], Vec::new()));
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_that_are_known() {
        for (selection, code, known) in [
            (Selection { pool: Some("x".into()), ..Selection::default() }, "unknown_pool", "web"),
            (Selection { node: Some("x".into()), ..Selection::default() }, "unknown_node", "lb1"),
        ] {
            let refused = selection.apply(&mut status()).unwrap_err();
            assert_eq!(refused.code, code);
            assert!(refused.reason.contains(known), "{}", refused.reason);
        }
    }

    #[test]
    fn of_thousands_of_groups_the_pools_and_the_problems_are_shown() {
        let mut status = status();
        let (owned, closed) = (status.groups[0].clone(), status.groups[2].clone());
        status.groups = (0..4000).map(|_| owned.clone()).collect();
        status.groups.extend((0..96).map(|_| Group { pool: "api".into(), ..closed.clone() }));
        let text = render::selected_status(&status, &Selection::default());
        assert!(text.lines().count() < 90, "{} lines", text.lines().count());
        let golden = "\
POOL  GROUPS  OWNED  MOVING  CLOSED  UNOWNED  PROBLEMS
api       96      0       0       0       96        96
web     4000   4000       0       0        0         0
";
        assert!(text.contains(golden), "{text}");
        assert!(text.contains("\n32 problems more: buoy status --problems\n"), "{text}");
        let narrow = Selection { pool: Some("web".into()), ..Selection::default() };
        assert!(render::selected_status(&status, &narrow).lines().count() > 4000);
        status.groups.truncate(4000);
        let text = render::selected_status(&status, &Selection::default());
        assert!(text.contains("\nall 4000 groups are owned\n"), "{text}");
    }
}
