//! `buoy plan`: what would move, as an answer and as text.
//!
//! The protocol foresees it (`protocol::Node::foresee`), the daemon has it done beside its own
//! work; here it gets names. Pure. A group that only the new file has is named as there, one that
//! it no longer has as in the file in force.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration_text::{millis, span};
use super::names::{GroupName, Names};
use super::preserving;
use super::response::SCHEMA;
use super::sentences::counted;
use super::table::{Table, words};
use crate::protocol::{ConnectionsFate, GroupKey, MoveReason, PlanReason, PlannedMove};

/// Answer to `plan`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the node that answers.
    pub node: String,
    /// Groups that would have another owner, in the order of the file.
    pub moves: Vec<Move>,
    /// Groups that would have to move but have no possible receiver.
    pub stays: Vec<Move>,
}

/// One group that would move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Name of its pool.
    pub pool: String,
    /// Name of the group.
    pub group: String,
    /// Owner now; `null` while there is none.
    pub from: Option<String>,
    /// Owner then; `null` if there would be none.
    pub to: Option<String>,
    /// Reason in words.
    pub reason: String,
    /// What becomes of connections: `preserved` or `reset`; left out if that is not known, and if there can
    /// be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<String>,
    /// For how long they are preserved at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserved_for_ms: Option<u64>,
    /// Why they are reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_because: Option<String>,
}

/// Result of the planning functions of the core.
#[derive(Clone, Debug)]
pub struct Foreseen {
    /// By group.
    pub moves: Vec<PlannedMove>,
    /// What becomes of their connections.
    pub fates: BTreeMap<GroupKey, ConnectionsFate>,
    /// Of the new file, if there is one.
    pub names: Option<Names>,
}

/// The answer for these moves.
pub(super) fn answer(foreseen: &Foreseen, in_force: &Names) -> Plan {
    let names = foreseen.names.as_ref().unwrap_or(in_force);
    let mut moves: Vec<&PlannedMove> = foreseen.moves.iter().collect();
    moves.sort_by_key(|one| (names.group_place(one.group), one.group));
    let (mut all, mut stays) = (Vec::new(), Vec::new());
    for one in moves {
        let group = named(one.group, names, in_force);
        let node = |node| names.node(node);
        let fate = foreseen.fates.get(&one.group).copied().unwrap_or(ConnectionsFate::Unknown);
        let (preserved_for_ms, reset_because) = match fate {
            ConnectionsFate::None | ConnectionsFate::Unknown => (None, None),
            ConnectionsFate::Preserved(limit) => (Some(millis(limit)), None),
            ConnectionsFate::Reset(why) => (None, Some(preserving::because(why, names))),
        };
        let told = Move {
            pool: group.pool,
            group: group.group,
            from: one.from.map(node),
            to: one.to.map(node),
            reason: reason(one, names),
            connections: preserving::fate(fate).map(str::to_owned),
            preserved_for_ms,
            reset_because,
        };
        if one.why == PlanReason::Stays { stays.push(told) } else { all.push(told) }
    }
    Plan { schema: SCHEMA, node: in_force.node(in_force.me()), moves: all, stays }
}

fn named(group: GroupKey, names: &Names, in_force: &Names) -> GroupName {
    let name = names.group(group);
    if name.addresses.is_empty() { in_force.group(group) } else { name }
}

fn reason(one: &PlannedMove, names: &Names) -> String {
    let from = one.from.map_or_else(|| "its owner".to_owned(), |from| names.node(from));
    let to = one.to.map_or_else(|| "no node".to_owned(), |to| names.node(to));
    match one.why {
        PlanReason::Move(MoveReason::Drain) => format!("{from} would drain"),
        PlanReason::Move(MoveReason::Balance) => format!("{from} has more than its share"),
        PlanReason::Move(MoveReason::Failback) => format!("{to} is preferred"),
        PlanReason::Move(MoveReason::Checks) => format!("checks of {from} fail"),
        PlanReason::Move(MoveReason::Placement) => names.rules().why_moved(one, names),
        PlanReason::Move(MoveReason::Operator) => "ordered".to_owned(),
        PlanReason::New => "no node owns it yet".to_owned(),
        PlanReason::Removed => "removed from the file".to_owned(),
        PlanReason::Stays => "no other node can own it".to_owned(),
    }
}

/// One table, and what stays.
pub(super) fn text(plan: &Plan) -> String {
    let mut text = match plan.moves.len() {
        0 => "nothing would move\n".to_owned(),
        number => {
            let number = counted(number as u64, "group");
            format!("{number} would move; nothing has been changed\n")
        }
    };
    if !plan.moves.is_empty() {
        text.push('\n');
        text.push_str(&table(&plan.moves));
    }
    if !plan.stays.is_empty() {
        text.push_str(&format!(
            "\n{} cannot move: no other node can own it\n\n",
            counted(plan.stays.len() as u64, "group")
        ));
        text.push_str(&table(&plan.stays));
    }
    text
}

fn table(moves: &[Move]) -> String {
    let columns = ["POOL", "GROUP", "FROM", "TO", "WHY", "CONNECTIONS"];
    let mut table = Table::new(columns.map(words).into_iter().collect());
    let or_dash = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
    for one in moves {
        let (pool, group) = (one.pool.clone(), one.group.clone());
        let (from, to) = (or_dash(&one.from), or_dash(&one.to));
        table.row(vec![pool, group, from, to, one.reason.clone(), connections(one)]);
    }
    table.text()
}

fn connections(one: &Move) -> String {
    match (&one.preserved_for_ms, &one.reset_because) {
        (Some(limit), _) => format!("preserved, at most {}", span(Duration::from_millis(*limit))),
        (None, Some(why)) => format!("reset: {why}"),
        (None, None) => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{group, names, node};
    use super::*;
    use crate::protocol::{Preserving, ResetReason};

    fn foreseen() -> Foreseen {
        let moved = |first, from: Option<&str>, to: Option<&str>, why| PlannedMove {
            group: group(first),
            from: from.map(node),
            to: to.map(node),
            why,
        };
        let drained = PlanReason::Move(MoveReason::Drain);
        Foreseen {
            moves: vec![
                moved("10.77.0.102", Some("lb1"), Some("lb1"), PlanReason::Stays),
                moved("10.77.0.101", None, Some("lb2"), PlanReason::New),
                moved("10.77.0.100", Some("lb1"), Some("lb2"), drained),
            ],
            fates: BTreeMap::new(),
            names: None,
        }
    }

    #[test]
    fn a_plan_has_its_golden_json() {
        let golden = concat!(
            r#"{"schema":1,"node":"lb1","moves":[{"pool":"web","group":"10.77.0.100","#,
            r#""from":"lb1","to":"lb2","reason":"lb1 would drain"},"#,
            r#"{"pool":"web","group":"10.77.0.101","from":null,"to":"lb2","#,
            r#""reason":"no node owns it yet"}],"stays":[{"pool":"web","group":"10.77.0.102","#,
            r#""from":"lb1","to":"lb1","reason":"no other node can own it"}]}"#,
        );
        let plan = answer(&foreseen(), &names());
        assert_eq!(serde_json::to_string(&plan).unwrap(), golden);
        assert_eq!(serde_json::from_str::<Plan>(golden).unwrap(), plan);
    }

    #[test]
    fn a_plan_has_its_golden_text() {
        let mut foreseen = foreseen();
        let limit = Duration::from_secs(2);
        foreseen.fates.insert(group("10.77.0.100"), ConnectionsFate::Preserved(limit));
        let golden = "\
2 groups would move; nothing has been changed

POOL  GROUP        FROM  TO   WHY                  CONNECTIONS
web   10.77.0.100  lb1   lb2  lb1 would drain      preserved, at most 2.0s
web   10.77.0.101  -     lb2  no node owns it yet  -

1 group cannot move: no other node can own it

POOL  GROUP        FROM  TO   WHY                       CONNECTIONS
web   10.77.0.102  lb1   lb1  no other node can own it  -
";
        assert_eq!(text(&answer(&foreseen, &names())), golden);
        let off = ResetReason::Node(node("lb2"), Preserving::Off);
        foreseen.fates.insert(group("10.77.0.100"), ConnectionsFate::Reset(off));
        let told = answer(&foreseen, &names());
        assert_eq!(told.moves[0].connections.as_deref(), Some("reset"));
        let row = "lb1 would drain      reset: lb2 has preserve_connections = false\n";
        assert!(text(&told).contains(row), "{}", text(&told));
        let nothing = Foreseen { moves: Vec::new(), fates: BTreeMap::new(), names: None };
        assert_eq!(text(&answer(&nothing, &names())), "nothing would move\n");
    }
}
