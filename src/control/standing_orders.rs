//! Standing orders as sentences and parts of a status.

use std::time::Duration;

use super::duration_text::{millis, span};
use super::names::Names;
use super::response;
use crate::protocol::{Lasting, StandingOrder};

/// A standing order in one sentence: that it stands, or that it does no more.
#[must_use]
pub fn sentence(order: &StandingOrder, names: &Names) -> String {
    let by = giver(order.by.as_str(), &names.node(order.at));
    if !order.is_in_force() {
        let why = if order.ended { "has been ended" } else { "has ended: its time is up" };
        return match order.what {
            Lasting::Hold => format!("the hold of {by} {why}"),
            Lasting::Upgrade => format!("the upgrade by {by} {why}"),
            Lasting::Drain(node) => format!("the drain of {} by {by} {why}", names.node(node)),
        };
    }
    let what = match order.what {
        Lasting::Hold => "holds all moves for balance and fail-back".to_owned(),
        Lasting::Drain(node) => format!("drains {}", names.node(node)),
        Lasting::Upgrade => return format!("{by} upgrades{}", progress(order.reason.as_str())),
    };
    let lasts = order.left.map_or_else(String::new, |left| format!(" for {}", span(left)));
    format!("{by} {what}{lasts}{}", because(order.reason.as_str()))
}

/// What people read of the record of an upgrade: its first word is for programs.
fn progress(reason: &str) -> String {
    let words = reason.split_once(' ').map_or("", |(_, words)| words);
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

fn giver(user: &str, node: &str) -> String {
    if user.is_empty() { format!("an operator at {node}") } else { format!("{user} at {node}") }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// A standing order as part of a status.
pub(super) fn shown(order: &StandingOrder, names: &Names) -> response::StandingOrder {
    let (word, node) = match order.what {
        Lasting::Hold => ("hold", None),
        Lasting::Drain(node) => ("drain", Some(names.node(node))),
        Lasting::Upgrade => ("upgrade", None),
    };
    response::StandingOrder {
        order: word.to_owned(),
        node,
        by: Some(order.by.as_str().to_owned()).filter(|by| !by.is_empty()),
        at: names.node(order.at),
        reason: Some(order.reason.as_str().to_owned()).filter(|reason| !reason.is_empty()),
        persists: order.persists,
        left_ms: order.left.map(millis),
    }
}

/// The lines of a status that tell of standing orders, each with an empty line before it.
pub(super) fn text(orders: &[response::StandingOrder]) -> String {
    let line = |order: &response::StandingOrder| {
        let left = order.left_ms.map(|left| span(Duration::from_millis(left)));
        let by = giver(order.by.as_deref().unwrap_or_default(), &order.at);
        let because = because(order.reason.as_deref().unwrap_or_default());
        match &order.node {
            None if order.order == "upgrade" => {
                let progress = progress(order.reason.as_deref().unwrap_or_default());
                format!("\nan upgrade by {by} is under way{progress}\n")
            }
            Some(node) => {
                let until = left.map_or_else(String::new, |left| format!(", for {left}"));
                let reboots = if order.persists { ", over restarts of its host" } else { "" };
                format!("\n{node} is drained by {by}{until}{reboots}{because}\n")
            }
            None => {
                let until = left.map_or_else(String::new, |left| format!(" for {left}, or"));
                format!(
                    "\nnothing moves for balance or fail-back{until} until 'buoy release': \
                     ordered by {by}{because}\n"
                )
            }
        }
    };
    orders.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{names, node};
    use super::*;
    use crate::protocol::Text;

    fn order(what: Lasting, left: Option<u64>, reason: &str) -> StandingOrder {
        StandingOrder {
            id: 7,
            what,
            at: node("lb2"),
            left: left.map(Duration::from_secs),
            ended: false,
            persists: false,
            by: Text::cut("alice"),
            reason: Text::cut(reason),
        }
    }

    #[test]
    fn standing_orders_have_their_sentences() {
        let names = names();
        let drain = Lasting::Drain(node("lb1"));
        let hold = order(Lasting::Hold, Some(7200), "kernel 6.1.99");
        for (order, wanted) in [
            (
                hold,
                "alice at lb2 holds all moves for balance and fail-back for 2h00m: kernel 6.1.99",
            ),
            (order(drain, None, ""), "alice at lb2 drains lb1"),
            (
                StandingOrder { by: Text::EMPTY, ..order(drain, Some(90), "") },
                "an operator at lb2 drains lb1 for 1m30s",
            ),
            (StandingOrder { ended: true, ..hold }, "the hold of alice at lb2 has been ended"),
            (
                order(drain, Some(0), ""),
                "the drain of lb1 by alice at lb2 has ended: its time is up",
            ),
        ] {
            assert_eq!(sentence(&order, &names), wanted);
        }
    }

    #[test]
    fn standing_orders_have_their_golden_json_and_lines() {
        let names = names();
        let drain = Lasting::Drain(node("lb1"));
        let orders =
            [order(Lasting::Hold, Some(7200), "kernel 6.1.99"), order(drain, None, "broken fan")];
        let shown = orders.map(|order| shown(&order, &names));
        assert_eq!(
            serde_json::to_string(&shown).unwrap(),
            concat!(
                r#"[{"order":"hold","node":null,"by":"alice","at":"lb2","reason":"kernel 6.1.99","#,
                r#""persists":false,"left_ms":7200000},{"order":"drain","node":"lb1","by":"alice","at":"lb2","#,
                r#""reason":"broken fan","persists":false,"left_ms":null}]"#,
            )
        );
        assert_eq!(
            text(&shown),
            "\nnothing moves for balance or fail-back for 2h00m, or until 'buoy release': \
             ordered by alice at lb2: kernel 6.1.99\n\
             \nlb1 is drained by alice at lb2: broken fan\n"
        );
    }
}
