//! How far an upgrade has come, who is next, and why it must not go on. Pure.
//!
//! The record of it is a standing order, which every node knows and which has room for 64 bytes: it
//! names the nodes that are done by their places among all names in order, one bit each, in
//! hexadecimal. So any node can say how far it is, and whoever resumes it knows.

use std::collections::BTreeSet;

use crate::control::response::{Node, NodeState, Role, StandingOrder, Status};

/// How many nodes are upgraded at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupSize {
    /// So many.
    Nodes(usize),
    /// This part of all that are upgraded, in percent; one at least.
    Percent(u8),
}

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Course {
    /// All that are upgraded, in this order.
    pub(super) nodes: Vec<String>,
    pub(super) done: BTreeSet<String>,
    size: GroupSize,
    keep: Option<u8>,
}

/// The record of an upgrade in a status, if there is one.
pub(super) fn record(status: &Status) -> Option<&StandingOrder> {
    status.orders.iter().find(|order| order.order == "upgrade")
}

fn names(status: &Status) -> BTreeSet<&str> {
    status.nodes.iter().map(|node| node.name.as_str()).collect()
}

impl Course {
    /// Returns the course over these nodes, or over all members; the asked node comes last, because
    /// its daemon is the one that is asked.
    ///
    /// # Errors
    ///
    /// When a name is no node's.
    pub(super) fn new(
        status: &Status,
        wanted: &[String],
        size: GroupSize,
        keep: Option<u8>,
    ) -> Result<Self, String> {
        let known = names(status);
        if let Some(unknown) = wanted.iter().find(|name| !known.contains(name.as_str())) {
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            return Err(format!("there is no node '{unknown}'; nodes are {known}"));
        }
        let nodes = if wanted.is_empty() {
            let members = status.nodes.iter().filter(|node| node.role == Role::Member);
            let mut nodes: Vec<String> = members.map(|node| node.name.clone()).collect();
            nodes.sort_by_key(|name| *name == status.node);
            nodes
        } else {
            wanted.to_vec()
        };
        Ok(Self { nodes, done: BTreeSet::new(), size, keep })
    }

    /// Goes on where the record says that it was; a record without places is of no use.
    pub(super) fn resume(&mut self, status: &Status) -> bool {
        let reason = record(status).and_then(|order| order.reason.as_deref()).unwrap_or_default();
        let bits = reason.split(' ').next().and_then(|word| u64::from_str_radix(word, 16).ok());
        let Some(bits) = bits else { return false };
        let places = names(status).into_iter().zip(0..64);
        let done = places.filter(|(_, place)| bits & (1 << place) != 0);
        self.done = done.map(|(name, _)| name.to_owned()).collect();
        true
    }

    /// The words of the record.
    pub(super) fn words(&self, status: &Status, now: &[String]) -> String {
        let places = names(status).into_iter().zip(0..64);
        let done = places.filter(|(name, _)| self.done.contains(*name));
        let bits = done.fold(0_u64, |bits, (_, place)| bits | 1 << place);
        let count = self.nodes.iter().filter(|name| self.done.contains(*name)).count();
        let now = if now.is_empty() { String::new() } else { format!(", now {}", now.join(" ")) };
        format!("{bits:x} {count} of {} done{now}", self.nodes.len())
    }

    /// The nodes that are next, together; none when all are done.
    pub(super) fn next(&self) -> Vec<String> {
        let size = match self.size {
            GroupSize::Nodes(nodes) => nodes,
            GroupSize::Percent(percent) => self.nodes.len() * usize::from(percent) / 100,
        };
        // The first is the canary: it goes alone.
        let size = if self.done.is_empty() { 1 } else { size.max(1) };
        let left = self.nodes.iter().filter(|name| !self.done.contains(*name));
        left.take(size).cloned().collect()
    }

    /// Why these nodes must not be taken out of service now, if so.
    pub(super) fn refusal(&self, status: &Status, next: &[String]) -> Option<String> {
        let members = || status.nodes.iter().filter(|node| node.role == Role::Member);
        let others = || members().filter(|node| !next.contains(&node.name));
        if let Some((name, why)) = others().find_map(|node| Some((&node.name, out(node)?))) {
            return Some(format!("{name} {why}"));
        }
        let weight = |node: &Node| u64::from(node.weight);
        let (left, of) = (others().map(weight).sum::<u64>(), members().map(weight).sum::<u64>());
        if left == 0 {
            return Some("no other node would be in service".to_owned());
        }
        if let Some(keep) = self.keep.filter(|keep| left * 100 < of * u64::from(*keep)) {
            let percent = left * 100 / of.max(1);
            return Some(format!("{percent} % of the weight would be left, {keep} % must stay"));
        }
        let voters = || status.nodes.iter().filter(|node| node.voter);
        let left = voters().filter(|node| node.state == NodeState::Up);
        let left = left.filter(|node| !next.contains(&node.name)).count();
        let strict = status
            .groups
            .iter()
            .any(|group| group.mode == crate::control::response::Mode::Majority);
        let of = voters().count();
        (strict && left * 2 <= of)
            .then(|| format!("{left} of {of} voters would be left, which is no majority"))
    }
}

/// Why a node is out of service, if it is.
fn out(node: &Node) -> Option<String> {
    match node.state {
        NodeState::Up | NodeState::Suspect | NodeState::Indirect => {}
        NodeState::Dead | NodeState::Left | NodeState::Unknown => {
            return Some(format!("is {}", node.state.word()));
        }
    }
    if node.draining {
        return Some("is drained".to_owned());
    }
    if node.phase.as_deref() != Some("active") {
        return Some("is not active".to_owned());
    }
    (!node.unfit.is_empty()).then(|| format!("fails checks of {}", node.unfit.join(", ")))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A status of `lb1` of these nodes, which are all well.
    pub(in crate::upgrade) fn status(nodes: &[&str]) -> Status {
        let node = |name: &&str| {
            serde_json::json!({
                "name": name, "state": "up", "last_heard_ms": 1, "draining": false,
                "version": "0.1.0", "phase": "active", "weight": 100
            })
        };
        serde_json::from_value(serde_json::json!({
            "schema": 1, "cluster": "edge", "node": "lb1", "phase": "active",
            "nodes": nodes.iter().map(node).collect::<Vec<_>>(), "groups": []
        }))
        .expect("the published status")
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn course(size: GroupSize, keep: Option<u8>) -> Course {
        let status = status(&["lb1", "lb2", "lb3", "lb4", "lb5"]);
        Course::new(&status, &[], size, keep).expect("names of nodes")
    }

    #[test]
    fn the_asked_node_is_last_and_the_first_goes_alone() {
        let mut course = course(GroupSize::Nodes(2), None);
        assert_eq!(course.nodes, strings(&["lb2", "lb3", "lb4", "lb5", "lb1"]));
        for next in [&["lb2"][..], &["lb3", "lb4"], &["lb5", "lb1"], &[]] {
            assert_eq!(course.next(), strings(next));
            course.done.extend(strings(next));
        }
        let mut course = self::course(GroupSize::Percent(40), None);
        course.done.insert("lb2".to_owned());
        assert_eq!(course.next(), strings(&["lb3", "lb4"]));
        let mut course = self::course(GroupSize::Percent(5), None);
        course.done.insert("lb2".to_owned());
        assert_eq!(course.next(), strings(&["lb3"]));
        let seen = status(&["lb1", "lb2"]);
        let unknown = Course::new(&seen, &strings(&["lb9"]), GroupSize::Nodes(1), None);
        assert_eq!(unknown.unwrap_err(), "there is no node 'lb9'; nodes are lb1, lb2");
    }

    #[test]
    fn a_record_says_how_far_it_is_and_is_resumed() {
        let mut seen = status(&["lb1", "lb2", "lb3", "lb4", "lb5"]);
        let mut course = course(GroupSize::Nodes(1), None);
        course.done = strings(&["lb2", "lb5"]).into_iter().collect();
        let words = course.words(&seen, &strings(&["lb3"]));
        assert_eq!(words, "12 2 of 5 done, now lb3");
        let mut resumed = self::course(GroupSize::Nodes(1), None);
        assert!(!resumed.resume(&seen), "there is none");
        seen.orders.push(StandingOrder {
            order: "upgrade".to_owned(),
            node: None,
            by: None,
            at: "lb1".to_owned(),
            reason: Some(words),
            persists: false,
            left_ms: None,
        });
        assert!(resumed.resume(&seen));
        assert_eq!(resumed, course);
        assert_eq!(resumed.next(), strings(&["lb3"]));
    }

    #[test]
    fn a_step_that_leaves_too_little_is_refused() {
        let nodes = ["lb1", "lb2", "lb3", "lb4", "lb5"];
        let next = strings(&["lb2"]);
        let changed = |change: fn(&mut Node)| {
            let mut status = status(&nodes);
            change(&mut status.nodes[2]);
            course(GroupSize::Nodes(1), Some(76)).refusal(&status, &next)
        };
        assert_eq!(changed(|_| {}), None);
        for (change, refusal) in [
            ((|node| node.draining = true) as fn(&mut Node), "lb3 is drained"),
            (|node| node.state = NodeState::Dead, "lb3 is dead"),
            (|node| node.phase = Some("listening".to_owned()), "lb3 is not active"),
            (|node| node.unfit.push("web".to_owned()), "lb3 fails checks of web"),
            (|node| node.weight = 1, "75 % of the weight would be left, 76 % must stay"),
        ] {
            assert_eq!(changed(change).as_deref(), Some(refusal));
        }
        let two = status(&["lb1"]);
        let alone = Course::new(&two, &[], GroupSize::Nodes(1), None).expect("a name");
        let refusal = alone.refusal(&two, &strings(&["lb1"]));
        assert_eq!(refusal.as_deref(), Some("no other node would be in service"));
    }
}
