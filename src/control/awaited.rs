//! What a drain or a move waits for: whose connections, by local port, the oldest of them, and until when.
//!
//! Part of the published status: fields may be added, never renamed. The node that has the connections
//! knows all of it; other nodes know the number and the time at most.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration_text::span;
use super::response::{Group, Node, Preserved, Status, Waits};
use super::sentences::counted;

/// Ports that are written out for people; the rest are counted together.
const PORTS_SHOWN: usize = 3;

/// Connections whose end something waits for, at the node that has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// Number by local port, most connections first; of at most 16 ports.
    pub ports: Vec<Port>,
    /// Number of connections to other local ports.
    #[serde(default)]
    pub other_ports: u32,
    /// The one that the node has known for longest; `null` if it has seen none.
    #[serde(default)]
    pub oldest: Option<Oldest>,
}

/// Connections to one local port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Local port.
    pub port: u16,
    /// Number of connections.
    pub connections: u32,
}

/// The oldest connection that something waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oldest {
    /// Address and port of the client.
    pub client: String,
    /// Address and port to which it is connected.
    pub to: String,
    /// Time since the node first saw it: right to some seconds, and at most the time since the daemon
    /// started.
    pub known_ms: u64,
}

impl Awaited {
    /// Returns it in words: `9 on port 443, 3 on port 80; the oldest for 14m02s from 192.0.2.9:51000`.
    fn words(&self) -> String {
        let on = |port: &Port| format!("{} on port {}", port.connections, port.port);
        let mut parts: Vec<String> = self.ports.iter().take(PORTS_SHOWN).map(on).collect();
        let rest = self.ports.iter().skip(PORTS_SHOWN).map(|port| port.connections);
        let rest = rest.fold(self.other_ports, u32::saturating_add);
        if rest > 0 {
            parts.push(format!("{rest} on others"));
        }
        let oldest = self.oldest.as_ref().map(|oldest| {
            let known = span(Duration::from_millis(oldest.known_ms));
            format!("the oldest for {known} from {}", oldest.client)
        });
        let ports = parts.join(", ");
        [ports].into_iter().chain(oldest).filter(|it| !it.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

/// `": 9 on port 443; the oldest ..."`, or nothing.
fn detail(awaited: Option<&Awaited>) -> String {
    let words = awaited.map(Awaited::words).unwrap_or_default();
    if words.is_empty() { words } else { format!(": {words}") }
}

/// What a draining node waits for, as one line of progress.
pub(super) fn waits(node: &str, waits: &Waits) -> String {
    let left = span(Duration::from_millis(waits.left_ms));
    match waits.connections {
        Some(count) => {
            let connections = counted(u64::from(count), "connection");
            let detail = detail(waits.awaited.as_ref());
            format!("{node} waits for {connections} to end, at most {left}{detail}\n")
        }
        None => format!("{node} waits for its connections to end, at most {left}\n"),
    }
}

/// The column of a node in the table of nodes.
pub(super) fn column(node: &Node) -> String {
    match (&node.waits, node.draining) {
        (Some(waits), _) => {
            let left = span(Duration::from_millis(waits.left_ms));
            match waits.connections {
                Some(count) => format!("waits for {count}, {left}"),
                None => format!("waits, {left}"),
            }
        }
        (None, true) => "drain".to_owned(),
        (None, false) => "-".to_owned(),
    }
}

/// Lines under the table of nodes: whose connections drains wait for, as far as that is known.
pub(super) fn lines(status: &Status) -> String {
    let known = status.nodes.iter().filter_map(|node| {
        let it = node.waits.as_ref().filter(|it| it.awaited.is_some())?;
        Some(format!("\n{}", waits(&node.name, it)))
    });
    known.collect()
}

/// What a former owner still serves of a group: `lb1 still serves 3 connections, at most 9m58s: ...`.
pub(super) fn preserved(preserved: &Preserved) -> String {
    let count = match preserved.connections {
        Some(count) => counted(u64::from(count), "connection"),
        None => "connections".to_owned(),
    };
    let left = preserved.left_ms.map_or_else(String::new, |left| {
        format!(", at most {}", span(Duration::from_millis(left)))
    });
    let detail = detail(preserved.awaited.as_ref());
    format!("{} still serves {count}{left}{detail}", preserved.by)
}

/// The same of a group that has just been moved, as a line of progress.
pub(super) fn moved(group: &Group) -> Option<String> {
    let it = group.preserved.as_ref()?;
    Some(format!("of {}: {}\n", group.group, preserved(it)))
}

/// That a drained node still serves connections of groups that it has given away, and which.
pub(super) fn keeps(node: &str, groups: &[&Group]) -> String {
    const SHOWN: usize = 3;
    let number =
        if groups.len() == 1 { "one group".to_owned() } else { format!("{} groups", groups.len()) };
    let mut text =
        format!("{node} owns no groups any more and still serves connections to {number}\n");
    let most = |group: &&&Group| {
        let of = group.preserved.as_ref().and_then(|it| it.connections);
        std::cmp::Reverse(of)
    };
    let mut listed: Vec<&&Group> = groups.iter().collect();
    listed.sort_by_key(most);
    for group in listed.into_iter().take(SHOWN) {
        text.extend(moved(group).map(|line| format!("  {line}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awaited() -> Awaited {
        let port = |(port, connections)| Port { port, connections };
        let oldest = Oldest {
            client: "192.0.2.9:51000".to_owned(),
            to: "10.77.0.100:443".to_owned(),
            known_ms: 842_000,
        };
        Awaited {
            ports: [(443, 9), (80, 3), (22, 2), (25, 1)].map(port).into(),
            other_ports: 4,
            oldest: Some(oldest),
        }
    }

    #[test]
    fn a_drain_says_whom_it_waits_for() {
        let known = Waits { connections: Some(19), left_ms: 25_000, awaited: Some(awaited()) };
        assert_eq!(
            waits("lb1", &known),
            "lb1 waits for 19 connections to end, at most 25s: 9 on port 443, 3 on port 80, \
             2 on port 22, 5 on others; the oldest for 14m02s from 192.0.2.9:51000\n"
        );
        let elsewhere = Waits { awaited: None, ..known };
        let told = "lb1 waits for 19 connections to end, at most 25s\n";
        assert_eq!(waits("lb1", &elsewhere), told);
        let none = Waits { connections: Some(0), awaited: Some(Awaited::default()), ..elsewhere };
        let told = "lb1 waits for 0 connections to end, at most 25s\n";
        assert_eq!(waits("lb1", &none), told);
    }

    #[test]
    fn what_a_former_owner_serves_is_said_as_far_as_it_is_known() {
        let mut it =
            Preserved { by: "lb1".to_owned(), connections: None, left_ms: None, awaited: None };
        assert_eq!(preserved(&it), "lb1 still serves connections");
        it.connections = Some(1);
        assert_eq!(preserved(&it), "lb1 still serves 1 connection");
        it.left_ms = Some(598_000);
        let port = Port { port: 443, connections: 1 };
        it.awaited = Some(Awaited { ports: vec![port], ..Awaited::default() });
        let told = "lb1 still serves 1 connection, at most 9m58s: 1 on port 443";
        assert_eq!(preserved(&it), told);
    }

    #[test]
    fn what_is_awaited_has_its_golden_json() {
        let golden = concat!(
            r#"{"ports":[{"port":443,"connections":9}],"other_ports":4,"oldest":{"#,
            r#""client":"192.0.2.9:51000","to":"10.77.0.100:443","known_ms":842000}}"#,
        );
        let mut it = awaited();
        it.ports.truncate(1);
        assert_eq!(serde_json::to_string(&it).unwrap(), golden);
        assert_eq!(serde_json::from_str::<Awaited>(golden).unwrap(), it);
    }
}
