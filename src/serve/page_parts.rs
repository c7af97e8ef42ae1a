//! Parts of the page beside the groups: drains, nodes, checks, events.

use super::history::History;
use super::html::Html;
use super::timeline::{colour, words};
use crate::control::response::{Node, NodeState, Role, Status};

/// Events on the page.
const EVENTS_SHOWN: usize = 50;

/// The drains in progress; nothing if there is none.
pub(super) fn drains(html: &mut Html, status: &Status) {
    for node in status.nodes.iter().filter(|node| node.draining) {
        html.raw("<p class=\"banner\"><strong>").text(&node.name).raw("</strong> is draining: ");
        match (node.owns, &node.waits) {
            (0, _) => html.raw("it owns no groups until it is undrained"),
            (owns, None) => html.raw("groups moving: ").number(u64::from(owns)),
            (owns, Some(waits)) => {
                html.raw("groups waiting: ").number(u64::from(owns));
                if let Some(connections) = waits.connections {
                    html.raw(", connections: ").number(u64::from(connections));
                }
                html.raw(", for ").text(&words(waits.left_ms)).raw(" at most")
            }
        };
        html.raw(".</p>");
    }
}

/// The table of nodes.
pub(super) fn nodes(html: &mut Html, status: &Status) {
    let names: Vec<&str> = status.nodes.iter().map(|node| &*node.name).collect();
    html.raw("<section><h2>Nodes</h2><table><thead><tr><th>Node<th>State<th>Groups");
    html.raw("<th>Last heard<th>Loop lag<th>Version<th>Notes</tr></thead><tbody>");
    for node in &status.nodes {
        let well = node.state == NodeState::Up && node.problems.is_empty();
        html.raw(if well { "<tr>" } else { "<tr class=\"bad\">" });
        html.raw("<th scope=\"row\"><span class=\"dot ").raw(colour(&names, &node.name));
        html.raw("\"></span>").text(&node.name);
        if node.role == Role::Witness {
            html.raw("<small>witness</small>");
        }
        html.raw("<td data-is=\"State\">").raw(node.state.word());
        let usual = ["active", node.state.word()];
        if let Some(phase) = node.phase.as_deref().filter(|phase| !usual.contains(phase)) {
            html.raw(", ").text(phase);
        }
        html.raw("<td data-is=\"Groups\">").number(u64::from(node.owns));
        html.raw("<td data-is=\"Last heard\">");
        match node.last_heard_ms {
            _ if node.name == status.node => html.raw("itself"),
            Some(heard) => html.text(&words(heard)).raw(" ago"),
            None => html.raw("never"),
        };
        html.raw("<td data-is=\"Loop lag\">").text(&lag(node.loop_lag_us));
        html.raw("<td data-is=\"Version\">").text(node.version.as_deref().unwrap_or("-"));
        html.raw("<td data-is=\"Notes\">");
        notes(html, node);
        html.raw("</tr>");
    }
    html.raw("</tbody></table></section>");
}

fn lag(micros: u64) -> String {
    format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
}

fn notes(html: &mut Html, node: &Node) {
    if node.draining {
        html.raw("drains. ");
    }
    if node.config_differs {
        html.raw("another configuration. ");
    }
    for (pools, words) in [(&node.unfit, "unfit for "), (&node.reluctant, "reluctant for ")] {
        if !pools.is_empty() {
            html.raw(words).text(&pools.join(", ")).raw(". ");
        }
    }
    if let Some(answers) = &node.kernel_answers {
        html.raw("silent, but its kernel answers for ").text(answers).raw(". ");
    }
    for problem in &node.problems {
        html.text(problem).raw(". ");
    }
}

/// The table of checks; nothing if there is none.
pub(super) fn checks(html: &mut Html, status: &Status) {
    if status.checks.is_empty() {
        return;
    }
    html.raw("<section><h2>Checks of ").text(&status.node).raw("</h2><table><thead><tr><th>Check");
    html.raw("<th>Type<th>State<th>Since<th>Effect<th>Found</tr></thead><tbody>");
    for check in &status.checks {
        let failing = check.state == "failing";
        html.raw(if failing { "<tr class=\"bad\">" } else { "<tr>" });
        html.raw("<th scope=\"row\">").text(&check.check);
        html.raw("<td data-is=\"Type\">").text(&check.kind);
        html.raw("<td data-is=\"State\">").text(&check.state);
        html.raw("<td data-is=\"Since\">").text(&words(check.since_ms));
        html.raw("<td data-is=\"Effect\">").text(&check.effect).raw(" for ");
        html.text(&check.pools.join(", ")).raw("<td data-is=\"Found\">").text(&check.last);
        html.raw("</tr>");
    }
    html.raw("</tbody></table></section>");
}

/// The last events.
pub(super) fn events(html: &mut Html, history: &History) {
    html.raw("<section><h2>Last events</h2><ol class=\"events\">");
    for event in history.recent().take(EVENTS_SHOWN) {
        html.raw("<li><time datetime=\"").text(&event.time).raw("\">");
        html.text(event.time.get(11..23).unwrap_or(&event.time)).raw("</time> ");
        html.text(&event.sentence);
    }
    html.raw("</ol></section>");
}
