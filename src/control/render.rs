//! Answers as text for people. Pure: from the response types to a string, every line ended.
//!
//! Used by [`client`](super::client) and by whoever else shows a status to people (the live table
//! of the lab). The text may change with every release; scripts use `--json`.

use std::time::Duration;

use super::awaited;
use super::duration_text::{lateness, span};
use super::local;
use super::missing_routes;
use super::preserving;
use super::response::{
    Applied, Done, Event, Explanation, Fence, FenceKind, Group, GroupState, Node, Role, Status,
};
use super::selection::{self, GROUPS_LISTED_MAX, Selection};
use super::sentences::{self, counted};
use super::standing_orders;
use super::table::{Table, numbers, words};
use super::virtual_routers;
use crate::protocol::Fitness;

/// Addresses of a group that are written out in a table; of the rest the number.
const ADDRESSES_SHOWN: usize = 2;

/// Two tables: the nodes, and the groups.
#[must_use]
pub fn status(status: &Status) -> String {
    let mut text = circumstances(status);
    text.push_str(&groups(status.groups.iter()));
    text.push_str(&of_this_host(status));
    text
}

/// The same; of very many groups without a filter, the pools and the problems only.
#[must_use]
pub fn selected_status(told: &Status, selection: &Selection) -> String {
    if told.groups.len() <= GROUPS_LISTED_MAX || selection.is_narrow() {
        return status(told);
    }
    let (listed, note) = selection::listed(&told.groups);
    let mut text = circumstances(told);
    text.push_str(&selection::pools(&told.groups));
    text.push('\n');
    if !listed.is_empty() {
        text.push_str(&groups(listed.into_iter()));
        text.push('\n');
    }
    text.push_str(&note);
    text.push_str(&of_this_host(told));
    text
}

fn of_this_host(status: &Status) -> String {
    let mut text = missing_routes::text(&status.missing_routes);
    text.push_str(&local::checks(&status.checks));
    text.push_str(&local::hooks(&status.hooks));
    text.push_str(&virtual_routers::text(&status.virtual_routers));
    text.push_str(&virtual_routers::overheard(&status.overheard_routers));
    text
}

/// The nodes, and what is to be said of them.
fn circumstances(status: &Status) -> String {
    let mut text =
        format!("cluster {}, seen by {} ({})\n", status.cluster, status.node, status.phase);
    text.push_str(&alone(status));
    let timing = status.measures.as_ref().and_then(|measures| measures.timing.as_ref());
    text.extend(timing.map(|timing| format!("\n{}", timing.line())));
    text.push_str("\n\n");
    text.push_str(&nodes(status));
    text.push_str(&awaited::lines(status));
    for differing in status.nodes.iter().filter(|node| node.config_differs) {
        text.push_str(&format!(
            "\n{} has another configuration than {}: compare the files, then run 'buoy reload'\n",
            differing.name, status.node
        ));
    }
    for older in status.nodes.iter().filter(|node| !node.held_back.is_empty()) {
        text.push_str(&format!(
            "\n{} ({}) does not support {}: disabled for that peer\n",
            older.name,
            or_dash(older.version.as_deref()),
            older.held_back.join(", ")
        ));
    }
    if let Some(reason) = &status.not_preserving {
        text.push_str(&format!(
            "\nplanned moves off {} break connections after 50 ms: {reason}\n",
            status.node
        ));
    }
    text.push_str(&preserving::lines(status));
    text.push_str(&standing_orders::text(&status.orders));
    for problem in status.nodes.iter().flat_map(|node| &node.problems) {
        text.push_str(&format!("\n{problem}\n"));
    }
    for node in &status.nodes {
        text.push_str(&checks(node));
    }
    for silent in &status.nodes {
        if let Some(group) = &silent.kernel_answers {
            text.push_str(&format!(
                "\n{} is silent, but its kernel answers for {group}: its groups are not taken \
                 over\n",
                silent.name
            ));
        }
    }
    text.push('\n');
    text
}

/// The pools that a node is not fit for.
fn checks(node: &Node) -> String {
    let unfit = node.unfit.iter().map(|pool| sentences::fitness(Fitness::Unfit, pool));
    let reluctant = node.reluctant.iter().map(|pool| sentences::fitness(Fitness::Reluctant, pool));
    unfit.chain(reluctant).map(|what| format!("\n{} is {what}\n", node.name)).collect()
}

/// What becomes of this host's addresses without its daemon.
fn alone(status: &Status) -> String {
    let here = status.nodes.iter().find(|node| node.name == status.node);
    if here.is_some_and(|node| node.role == Role::Witness) {
        return "this host is a witness: it votes and owns nothing".to_owned();
    }
    fence(&status.fence)
}

fn fence(fence: &Fence) -> String {
    let Fence { kind, bound_ms } = *fence;
    let ends = match kind {
        FenceKind::Gate | FenceKind::None => "",
        FenceKind::Lifetime => ": its addresses expire, nf_tables is not available here",
    };
    match bound_ms {
        Some(bound) => {
            format!("if the daemon dies, this host stops answering within {bound} ms{ends}")
        }
        None => "if the daemon dies, this host keeps answering".to_owned(),
    }
}

fn role(node: &Node) -> &'static str {
    match (node.role, node.voter) {
        (Role::Member, true) => "member",
        (Role::Member, false) => "no vote",
        (Role::Witness, _) => "witness",
    }
}

fn nodes(status: &Status) -> String {
    let mut table = Table::new(vec![
        words("NODE"),
        words("ROLE"),
        words("STATE"),
        words("PHASE"),
        numbers("HEARD"),
        numbers("GROUPS"),
        numbers("WEIGHT"),
        words("DRAIN"),
        numbers("LAG/1m"),
        words("VERSION"),
    ]);
    for node in &status.nodes {
        let known = node.version.is_some() && node.phase.is_some();
        table.row(vec![
            node.name.clone(),
            role(node).to_owned(),
            node.state.word().to_owned(),
            or_dash(node.phase.as_deref()),
            heard(node, &status.node),
            node.owns.to_string(),
            node.weight.to_string(),
            awaited::column(node),
            if known { lateness(node.loop_lag_us) } else { "-".to_owned() },
            or_dash(node.version.as_deref()),
        ]);
    }
    table.text()
}

fn heard(node: &Node, asked: &str) -> String {
    match node.last_heard_ms {
        _ if node.name == asked => "-".to_owned(),
        Some(millis) => span(Duration::from_millis(millis)),
        None => "never".to_owned(),
    }
}

fn groups<'a>(groups: impl Iterator<Item = &'a Group>) -> String {
    let mut table = Table::new(vec![
        words("POOL"),
        words("GROUP"),
        words("ADDRESSES"),
        words("MODE"),
        words("OWNER"),
        words("STATE"),
        numbers("EPOCH"),
        numbers("SINCE"),
        numbers("CONVERGED"),
        numbers("CONNECTIONS"),
        words("WHY"),
    ]);
    for group in groups {
        table.row(vec![
            group.pool.clone(),
            group.group.clone(),
            addresses(&group.addresses),
            group.mode.word().to_owned(),
            or_dash(group.owner.as_deref()),
            group.state.word().to_owned(),
            group.epoch.to_string(),
            span(Duration::from_millis(group.since_ms)),
            group.converged_ms.map_or_else(|| "-".to_owned(), |ms| span(Duration::from_millis(ms))),
            group.connections.map_or_else(|| "-".to_owned(), |count| count.to_string()),
            why(group),
        ]);
    }
    table.text()
}

fn addresses(addresses: &[String]) -> String {
    let shown: Vec<&str> = addresses.iter().take(ADDRESSES_SHOWN).map(String::as_str).collect();
    match addresses.len() {
        0 => "-".to_owned(),
        all if all > ADDRESSES_SHOWN => {
            format!("{} +{}", shown.join(" "), all - ADDRESSES_SHOWN)
        }
        _ => shown.join(" "),
    }
}

fn why(group: &Group) -> String {
    let why = match (&group.unable_here, &group.claimant) {
        (Some(unable), _) => format!("{} (not possible here: {unable})", group.reason),
        (None, Some(hardware)) => {
            format!("{} (address conflict: {hardware} claims it too)", group.reason)
        }
        (None, None) => group.reason.clone(),
    };
    let why = match &group.withheld {
        None => why,
        Some(withheld) => format!("{why} ({withheld})"),
    };
    match &group.preserved {
        None => why,
        Some(preserved) => format!("{why} ({})", awaited::preserved(preserved)),
    }
}

/// One line.
#[must_use]
pub fn event(event: &Event) -> String {
    let epoch = event.epoch.map_or_else(String::new, |epoch| format!(" (epoch {epoch})"));
    format!("{}  {:<14}  {}{epoch}\n", event.time, event.kind, event.sentence)
}

/// The owner, why, and the numbered line of succession.
#[must_use]
pub fn explanation(explanation: &Explanation) -> String {
    let group = &explanation.group;
    let since = span(Duration::from_millis(group.since_ms));
    let mut text = format!(
        "{} in pool {}, seen by {}\n  addresses  {}\n",
        group.group,
        group.pool,
        explanation.node,
        group.addresses.join(" ")
    );
    let owner = match (&group.owner, group.state) {
        (Some(owner), GroupState::Moving) => format!("{owner}, for {since}, moving"),
        (Some(owner), GroupState::Waiting | GroupState::Closed) => {
            format!("{owner}, for {since}, {}", group.state.word())
        }
        (Some(owner), GroupState::Owned | GroupState::Unowned) => format!("{owner}, for {since}"),
        (None, _) => format!("none, for {since}"),
    };
    text.push_str(&format!("  owner      {owner} (epoch {})\n", group.epoch));
    text.push_str(&format!("  because    {}\n\n", why(group)));
    let silent = group.owner.as_deref().unwrap_or("the owner");
    if explanation.line.is_empty() {
        text.push_str("there is no other node\n");
        return text;
    }
    if group.owner.is_some() {
        text.push_str(&format!("if {silent} fell silent now, it would go to\n"));
    } else {
        text.push_str("it would go to\n");
    }
    text.push_str(&line_of_succession(explanation));
    text
}

fn line_of_succession(explanation: &Explanation) -> String {
    let mut table = Table::new(vec![numbers("PLACE"), words("NODE"), words("WHY")]);
    for candidate in &explanation.line {
        let place = candidate.place.map_or_else(|| "-".to_owned(), |place| place.to_string());
        table.row(vec![place, candidate.node.clone(), candidate.reason.clone()]);
    }
    table.text()
}

/// What an accepted order does from now on.
#[must_use]
pub fn accepted(done: &Done) -> String {
    let node = &done.node;
    match (done.done.as_str(), &done.group) {
        ("drain", _) => {
            format!(
                "{node} is draining: its groups move away and stay away until 'buoy undrain \
                 {node}'\n"
            )
        }
        ("undrain", _) => format!("{node} may own groups again\n"),
        ("move", Some(group)) => format!("{group} moves to {node}\n"),
        ("hold", _) => "nothing moves for balance or fail-back until 'buoy release', or until the \
                        time is up; see 'buoy status'\n"
            .to_owned(),
        ("release", _) => "groups may move for balance and fail-back again\n".to_owned(),
        ("upgrade", _) => {
            "the upgrade has ended; drained nodes stay so, see 'buoy status'\n".to_owned()
        }
        ("ready", _) => format!("{node} is ready\n"),
        (other, _) => format!("{other} {node}: accepted\n"),
    }
}

/// What an order that was waited for has reached.
#[must_use]
pub fn reached(done: &Done) -> String {
    let node = &done.node;
    match &done.group {
        Some(group) => format!("{group} is on {node}\n"),
        None => format!("{node} is drained: it owns no groups until 'buoy undrain {node}'\n"),
    }
}

/// One line of progress of a drain.
#[must_use]
pub fn left(node: &str, groups: usize) -> String {
    format!("{node} still has {}\n", counted(groups as u64, "group"))
}

/// The difference that a reload applied.
#[must_use]
pub fn applied(applied: &Applied) -> String {
    if applied.applied.is_empty() {
        return "the configuration has not changed\n".to_owned();
    }
    applied.applied.iter().map(|difference| format!("{difference}\n")).collect()
}

fn or_dash(word: Option<&str>) -> String {
    word.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::inquiry::Snapshot;
    use super::super::{fixture, translation};
    use super::*;

    #[test]
    fn status_has_its_golden_tables() {
        let connections = fixture::connections();
        let snapshot = Snapshot { connections, ..fixture::waiting_status().into() };
        let answer = translation::status(&snapshot, &fixture::names());
        let golden = "\
cluster edge, seen by lb1 (active)
if the daemon dies, this host keeps answering

NODE  ROLE     STATE    PHASE   HEARD  GROUPS  WEIGHT  DRAIN              LAG/1m  VERSION
lb1   member   up       active      -       1       1  -                   180us  0.1.0
lb2   no vote  up       active   42ms       1       2  waits for 12, 25s   180us  0.1.0
lb3   witness  unknown  -       never       0       1  -                       -  -

lb2 has another configuration than lb1: compare the files, then run 'buoy reload'

lb2 is unfit: required checks of pool web fail

POOL  GROUP        ADDRESSES              MODE          OWNER  STATE    EPOCH  SINCE  CONVERGED  CONNECTIONS  WHY
web   10.77.0.100  10.77.0.100            availability  lb1    owned        7  1m21s       12ms         2000  lb3 fell silent
web   10.77.0.101  10.77.0.101            availability  lb2    owned        7  1m21s          -            -  handed over by lb1 for balance
web   10.77.0.102  10.77.0.102 fd77::102  majority      -      unowned      0  1m21s          -            -  no node has claimed it yet (not possible here: no interface that is up is in its network; name its interface, or bring the link up)
";
        assert_eq!(status(&answer), golden, "\n{}", status(&answer));
    }

    #[test]
    fn why_connections_are_not_kept_is_told() {
        let mut answer = translation::status(&fixture::status().into(), &fixture::names());
        assert!(!status(&answer).contains("end connections"));
        answer.not_preserving = Some("this kernel has no nft_fwd_netdev".to_owned());
        let told = status(&answer);
        let line = "\nplanned moves off lb1 break connections after 50 ms: \
            this kernel has no nft_fwd_netdev\n";
        assert!(told.contains(line), "{told}");
    }

    #[test]
    fn what_ends_the_answers_of_a_dead_daemon_is_told() {
        let told = |kind, bound_ms| fence(&Fence { kind, bound_ms });
        assert_eq!(
            told(FenceKind::Gate, Some(600)),
            "if the daemon dies, this host stops answering within 600 ms"
        );
        assert_eq!(
            told(FenceKind::Lifetime, Some(3500)),
            "if the daemon dies, this host stops answering within 3500 ms: its addresses expire, \
             nf_tables is not available here"
        );
    }

    #[test]
    fn explanation_has_its_golden_text() {
        let answer = translation::explanation(&fixture::explanation(), &fixture::names());
        let golden = "\
10.77.0.100 in pool web, seen by lb1
  addresses  10.77.0.100
  owner      lb1, for 1m21s (epoch 7)
  because    lb3 fell silent

if lb1 fell silent now, it would go to
PLACE  NODE  WHY
    1  lb2   first heir in the owner's claim
    -  lb3   never heard
";
        assert_eq!(explanation(&answer), golden);
    }

    #[test]
    fn an_event_is_one_line() {
        let told = Event {
            seq: 2,
            time: "2024-02-29T12:34:56.001Z".to_owned(),
            kind: "owner_changed".to_owned(),
            observer: "lb2".to_owned(),
            node: None,
            pool: None,
            group: None,
            from: None,
            to: None,
            epoch: Some(8),
            cause: None,
            sentence: "10.77.0.100 moved from lb1 to lb2: lb1 fell silent".to_owned(),
        };
        assert_eq!(
            event(&told),
            "2024-02-29T12:34:56.001Z  owner_changed   10.77.0.100 moved from lb1 to lb2: \
             lb1 fell silent (epoch 8)\n"
        );
    }

    #[test]
    fn many_addresses_are_counted() {
        let many: Vec<String> = (1..=5).map(|last| format!("10.0.0.{last}")).collect();
        assert_eq!(addresses(&many), "10.0.0.1 10.0.0.2 +3");
        assert_eq!(addresses(&many[..2]), "10.0.0.1 10.0.0.2");
        assert_eq!(addresses(&[]), "-");
    }
}
