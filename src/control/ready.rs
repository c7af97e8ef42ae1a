//! `buoy ready`: waits until a node may have groups again, and has been so for a while.
//!
//! The daemon that is asked sends a status every 100 ms and thereby is the clock, as in
//! `wait`. Ask another node than the one that is being changed: its daemon answers
//! all the time. A drained node can be ready; it is what is waited for before it is undrained.

use std::path::Path;
use std::time::Duration;

use super::client::{Error, Link, understand};
use super::duration_text::span;
use super::request::Request;
use super::response::{Node, NodeState, Status};

/// Between two statuses.
const EVERY: Duration = Duration::from_millis(100);

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The node.
    pub node: String,
    /// How long it must have been ready without a break.
    pub soak: Duration,
    /// How long to wait for that.
    pub within: Duration,
}

/// Returns why a node is not ready, by the status of any node; `None` if it is.
#[must_use]
pub fn obstacle(status: &Status, name: &str) -> Option<String> {
    let Some(node) = status.nodes.iter().find(|node| node.name == name) else {
        let known: Vec<&str> = status.nodes.iter().map(|node| node.name.as_str()).collect();
        return Some(format!("there is no node '{name}'; nodes are {}", known.join(", ")));
    };
    let phase = node.phase.as_deref().unwrap_or("not heard yet");
    let failing = |node: &Node| {
        let pools: Vec<&str> =
            node.unfit.iter().chain(&node.reluctant).map(String::as_str).collect();
        (!pools.is_empty()).then(|| format!("checks of {} fail there", pools.join(", ")))
    };
    if node.state != NodeState::Up {
        return Some(format!("it is {}", node.state.word()));
    }
    if phase != "active" {
        return Some(format!("it is {phase}"));
    }
    if let Some(other) = differs(status, node) {
        return Some(format!("its configuration differs from that of {other}"));
    }
    failing(node).or_else(|| node.problems.first().cloned())
}

/// Returns a living node with another configuration: the asked node compares all with its own.
fn differs<'a>(status: &'a Status, node: &Node) -> Option<&'a str> {
    if node.name != status.node {
        return node.config_differs.then_some(status.node.as_str());
    }
    let others = status.nodes.iter().filter(|other| other.state == NodeState::Up);
    let mut others = others.filter(|other| other.name != node.name);
    let (first, all) = (others.next()?, others);
    // If all others differ it is this one that is different.
    (first.config_differs && all.into_iter().all(|other| other.config_differs))
        .then_some(first.name.as_str())
}

/// How far the waiting has come: so many statuses in a row were good, of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    good: u64,
    seen: u64,
}

impl Progress {
    /// Counts one status. Returns `true` when it is ready, `false` when the time is up.
    fn count(&mut self, good: bool, wanted: &Readiness) -> Option<bool> {
        let statuses = |length: Duration| {
            u64::try_from(length.as_millis().div_ceil(EVERY.as_millis())).unwrap_or(u64::MAX)
        };
        self.seen += 1;
        self.good = if good { self.good + 1 } else { 0 };
        // The first good one begins the time.
        if self.good > statuses(wanted.soak) {
            return Some(true);
        }
        (self.seen > statuses(wanted.within)).then_some(false)
    }
}

/// Waits, telling what stands against it each time that changes.
pub(super) fn until(
    socket: &Path,
    wanted: &Readiness,
    tell: &mut dyn FnMut(&str) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut link = Link::open(socket)?;
    let every = u32::try_from(EVERY.as_millis()).unwrap_or(u32::MAX);
    link.ask(&Request::Status { watch_ms: Some(every) })?;
    let (mut progress, mut told) = (Progress::default(), None);
    loop {
        let status: Status = understand(&link.line()?)?;
        let obstacle = obstacle(&status, &wanted.node);
        match progress.count(obstacle.is_none(), wanted) {
            Some(true) => return Ok(()),
            Some(false) => {
                let node = &wanted.node;
                let waited_for = format!("{node} was not ready within {}", span(wanted.within));
                let soaks = || format!("it is ready, but not for {} yet", span(wanted.soak));
                return Err(Error::Stuck {
                    waited_for,
                    reasons: vec![obstacle.unwrap_or_else(soaks)],
                });
            }
            None => {}
        }
        let now = match &obstacle {
            Some(obstacle) => format!("{} is not ready: {obstacle}\n", wanted.node),
            None => format!("{} is ready, for {} at least\n", wanted.node, span(wanted.soak)),
        };
        if told.as_ref() != Some(&now) {
            tell(&now)?;
            told = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::{inquiry::Snapshot, translation};
    use super::*;

    /// A status of lb1 in which all is well.
    fn status() -> Status {
        let snapshot: Snapshot = fixture::status().into();
        let mut status = translation::status(&snapshot, &fixture::names());
        for node in &mut status.nodes {
            node.state = NodeState::Up;
            node.phase = Some("active".to_owned());
            (node.config_differs, node.draining) = (false, true);
            node.unfit.clear();
            node.reluctant.clear();
            node.problems.clear();
        }
        status
    }

    fn changed(change: impl FnOnce(&mut Node)) -> Status {
        let mut status = status();
        change(status.nodes.iter_mut().find(|node| node.name == "lb2").expect("a node"));
        status
    }

    #[test]
    fn each_obstacle_is_named() {
        let cases = [
            (changed(|_| {}), None),
            (changed(|node| node.state = NodeState::Dead), Some("it is dead")),
            (changed(|node| node.phase = Some("listening".to_owned())), Some("it is listening")),
            (
                changed(|node| node.config_differs = true),
                Some("its configuration differs from that of lb1"),
            ),
            (changed(|node| node.unfit.push("web".to_owned())), Some("checks of web fail there")),
            (
                changed(|node| node.reluctant.push("api".to_owned())),
                Some("checks of api fail there"),
            ),
            (changed(|node| node.problems.push("clocks differ".to_owned())), Some("clocks differ")),
        ];
        for (status, wanted) in cases {
            assert_eq!(obstacle(&status, "lb2").as_deref(), wanted);
            let others = obstacle(&status, "lb1");
            let differs = wanted.is_some_and(|wanted| wanted.starts_with("its configuration"));
            let all = status.nodes.iter().filter(|node| node.name != "lb1").count() == 1;
            assert_eq!(others.is_some(), differs && all, "{others:?}");
        }
        assert!(obstacle(&status(), "lb9").is_some_and(|text| text.contains("no node 'lb9'")));
    }

    #[test]
    fn a_break_begins_the_time_again_and_the_limit_holds() {
        let wanted = Readiness {
            node: "lb2".to_owned(),
            soak: Duration::from_millis(200),
            within: Duration::from_millis(800),
        };
        for (looks, end) in [("+++", Some(true)), ("++-++", None), ("++-+++", Some(true))] {
            let mut progress = Progress::default();
            let last = looks.chars().map(|look| progress.count(look == '+', &wanted)).last();
            assert_eq!(last, Some(end), "{looks}");
        }
        let mut progress = Progress::default();
        let ends: Vec<_> = (0..9).map(|_| progress.count(false, &wanted)).collect();
        assert_eq!((ends[7], ends[8]), (None, Some(false)));
        let at_once = Readiness { soak: Duration::ZERO, ..wanted };
        assert_eq!(Progress::default().count(true, &at_once), Some(true));
    }
}
