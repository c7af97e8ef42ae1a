//! Waits until an order has come to its end: a node drained, a group where it should be.
//!
//! The daemon sends a status every 100 ms and thereby is the clock. As long as something changes
//! the wait goes on. When nothing does, the groups that are left are explained one by one: if a
//! drained node has nowhere to put them, or a move stays away, the wait ends with those reasons.
//! The order itself stays in force; only the waiting ends.

use std::path::Path;

use super::awaited;
use super::client::{Error, Link, understand};
use super::render;
use super::request::Request;
use super::response::{Done, Explanation, Group, GroupState, NodeState, Status, Waits};
use super::sentences::counted;

/// How long to wait while nothing changes, in statuses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Between two statuses.
    pub(super) every_ms: u32,
    /// After so many without a change it is asked whether there is hope; and again each time.
    pub(super) doubt: u32,
    /// After so many without a change there is none.
    pub(super) despair: u32,
}

/// Doubt after 5 s, which is twice the longest offer of the slowest profile with its repeats;
/// despair after a minute.
pub(super) const PATIENCE: Patience = Patience { every_ms: 100, doubt: 50, despair: 600 };

/// Groups that are explained when a wait ends without success; of the rest the number.
const EXPLAINED_MAX: usize = 8;

/// A countdown of connections is told at most so often.
const COUNTDOWN_EVERY_MS: u64 = 1000;

/// What a drained node still serves is repeated after so many statuses, if it has changed.
const KEPT_EVERY: u32 = 100;

/// A group that has moved is watched for so many statuses, until it is counted what its former owner still
/// serves.
const COUNTED_WITHIN: u32 = 4;

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The node drains and has no group.
    Drained {
        /// The node.
        node: String,
    },
    /// The group is owned by the node.
    At {
        /// Pool of the group.
        pool: Option<String>,
        /// The group.
        group: String,
        /// The node.
        node: String,
    },
}

impl Goal {
    /// What an accepted order leads to.
    pub(super) fn of(done: &Done) -> Self {
        let node = done.node.clone();
        match &done.group {
            Some(group) => Self::At { pool: done.pool.clone(), group: group.clone(), node },
            None => Self::Drained { node },
        }
    }

    /// The groups that are not yet where they should be.
    fn left<'a>(&self, status: &'a Status) -> Vec<&'a Group> {
        let is_left = |group: &&Group| match self {
            // A group on its way has no owner for a moment and may still come back.
            Self::Drained { node } => match &group.owner {
                Some(owner) => owner == node,
                None => group.state == GroupState::Moving,
            },
            Self::At { pool, group: name, node } => {
                let same = group.group == *name && pool.as_ref().is_none_or(|p| group.pool == *p);
                let there = group.owner.as_ref() == Some(node) && group.state == GroupState::Owned;
                same && !there
            }
        };
        status.groups.iter().filter(is_left).collect()
    }

    /// Groups to which a drained node still serves connections, or may: it is not to be stopped yet. Or
    /// the group that has moved, if its former owner does. Only that node itself tells of all; they have
    /// a time limit of their own.
    fn kept<'a>(&self, status: &'a Status) -> Vec<&'a Group> {
        let groups = status.groups.iter();
        let is_kept = |group: &&Group| match (self, &group.preserved) {
            (_, None) => false,
            (Self::Drained { node }, Some(preserved)) => preserved.by == *node,
            (Self::At { pool, group: name, .. }, Some(_)) => {
                group.group == *name && pool.as_ref().is_none_or(|pool| group.pool == *pool)
            }
        };
        groups.filter(is_kept).collect()
    }

    /// Whether the status already knows of the order: it may come from a node that hears of it
    /// with the next heartbeat only.
    fn knows(&self, status: &Status) -> bool {
        match self {
            Self::At { .. } => true,
            Self::Drained { node } => status
                .nodes
                .iter()
                .find(|one| one.name == *node)
                .is_none_or(|one| one.draining || one.state != NodeState::Up),
        }
    }

    /// Whether this group will not come to where it should be, once nothing has changed for long.
    fn hopeless(&self, told: &Explanation) -> bool {
        match self {
            Self::At { .. } => true,
            Self::Drained { .. } => told.line.iter().all(|candidate| candidate.place.is_none()),
        }
    }

    /// What a node that drains waits for by itself.
    fn waits<'a>(&self, status: &'a Status) -> Option<&'a Waits> {
        let Self::Drained { node } = self else { return None };
        status.nodes.iter().find(|one| one.name == *node)?.waits.as_ref()
    }

    fn failure(&self, left: usize) -> String {
        match self {
            Self::At { group, node, .. } => format!("{group} did not move to {node}:"),
            Self::Drained { node } => format!(
                "{node} still has {} and keeps draining (cancel with 'buoy undrain {node}'):",
                counted(left as u64, "group")
            ),
        }
    }
}

/// Waits, telling each step of progress.
pub(super) fn until(
    socket: &Path,
    goal: &Goal,
    patience: Patience,
    tell: &mut dyn FnMut(&str) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut link = Link::open(socket)?;
    link.ask(&Request::Status { watch_ms: Some(patience.every_ms) })?;
    let mut before: Option<Vec<(String, GroupState, u64)>> = None;
    let mut unchanged = 0;
    let mut countdown = Countdown::default();
    let mut kept = Kept::default();
    loop {
        let status: Status = understand(&link.line()?)?;
        let left = goal.left(&status);
        if left.is_empty() && goal.knows(&status) {
            if kept.note(goal, &goal.kept(&status), tell)? {
                return Ok(());
            }
            continue;
        }
        let now = left.iter().map(|one| (one.group.clone(), one.state, one.epoch)).collect();
        if before.as_ref() == Some(&now) {
            unchanged += 1;
        } else {
            unchanged = 0;
            if let Goal::Drained { node } = goal
                && before.as_ref().map(Vec::len) != Some(now.len())
                && !now.is_empty()
            {
                tell(&render::left(node, now.len()))?;
            }
        }
        before = Some(now);
        if let (Goal::Drained { node }, Some(waits)) = (goal, goal.waits(&status)) {
            // It has a time limit of its own.
            unchanged = 0;
            if countdown.is_due(waits) {
                tell(&awaited::waits(node, waits))?;
            }
        }
        if unchanged > 0 && unchanged % patience.doubt == 0 {
            give_up_if_hopeless(socket, goal, &left, unchanged >= patience.despair)?;
        }
    }
}

/// What was said of connections that a former owner serves.
#[derive(Debug, Default)]
struct Kept {
    told: Option<Vec<(String, Option<u32>)>>,
    statuses: u32,
}

impl Kept {
    /// Says what is new of these groups; returns whether nothing is to be waited for.
    fn note(
        &mut self,
        goal: &Goal,
        groups: &[&Group],
        tell: &mut dyn FnMut(&str) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        self.statuses += 1;
        let of = |group: &&Group| group.preserved.as_ref().and_then(|it| it.connections);
        // In the first moment of a move they are not counted.
        let counted = groups.iter().any(|group| of(group).is_some());
        match goal {
            _ if groups.is_empty() => Ok(true),
            Goal::At { .. } => {
                if counted {
                    groups
                        .iter()
                        .filter_map(|group| awaited::moved(group))
                        .try_for_each(|line| tell(&line))?;
                }
                Ok(counted || self.statuses >= COUNTED_WITHIN)
            }
            Goal::Drained { node } => {
                let now: Vec<_> = groups.iter().map(|it| (it.group.clone(), of(it))).collect();
                let fewer = self.told.as_ref().is_none_or(|told| told.len() != now.len());
                let again = self.statuses >= KEPT_EVERY && self.told.as_ref() != Some(&now);
                if counted && (fewer || again) {
                    *self = Self { told: Some(now), statuses: 0 };
                    tell(&awaited::keeps(node, groups))?;
                }
                Ok(false)
            }
        }
    }
}

/// What was told of the waiting last.
#[derive(Debug, Default)]
struct Countdown {
    connections: Option<Option<u32>>,
    left_ms: u64,
}

impl Countdown {
    /// Whether to tell again: first, and when the number has changed, but not each time.
    fn is_due(&mut self, waits: &Waits) -> bool {
        let changed = self.connections != Some(waits.connections);
        let rested = self.left_ms >= waits.left_ms + COUNTDOWN_EVERY_MS;
        // The first count is told at once.
        let due = changed && (rested || self.connections.is_none_or(|told| told.is_none()));
        if due {
            *self = Self { connections: Some(waits.connections), left_ms: waits.left_ms };
        }
        due
    }
}

fn give_up_if_hopeless(
    socket: &Path,
    goal: &Goal,
    left: &[&Group],
    despair: bool,
) -> Result<(), Error> {
    let mut reasons = Vec::new();
    let mut hope = left.is_empty();
    for group in left.iter().take(EXPLAINED_MAX) {
        let told = explain(socket, group)?;
        hope |= !goal.hopeless(&told);
        reasons.push(reason(&told));
    }
    if left.len() > EXPLAINED_MAX {
        reasons.push(format!("and {} more", left.len() - EXPLAINED_MAX));
    }
    if hope && !despair {
        return Ok(());
    }
    Err(Error::Stuck { waited_for: goal.failure(left.len()), reasons })
}

fn explain(socket: &Path, group: &Group) -> Result<Explanation, Error> {
    let mut link = Link::open(socket)?;
    link.ask(&Request::Explain { group: format!("{}/{}", group.pool, group.group) })?;
    understand(&link.line()?)
}

fn reason(told: &Explanation) -> String {
    let owner = told.group.owner.as_deref().unwrap_or("no node");
    let others: Vec<String> = told
        .line
        .iter()
        .map(|candidate| format!("{}: {}", candidate.node, candidate.reason))
        .collect();
    let others =
        if others.is_empty() { "there is no other node".to_owned() } else { others.join("; ") };
    format!("{} is on {owner} ({}); {others}", told.group.group, told.group.reason)
}
