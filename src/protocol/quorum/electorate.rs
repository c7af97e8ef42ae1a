//! Under which list of voters this node may vote, so that two lists never have a majority each.
//!
//! ```text
//!   list of the file --> Unwritten --> Waiting ----------------------> Voting, silent for W first
//!                          | stored      | of every other list that is      | the others are
//!                          | on disk     | remembered, a majority says      | forgotten
//!                          v             | that it goes by the new one      v
//!                     grants nothing   grants nothing                  grants
//! ```
//!
//! A node remembers, over restarts, each list that it has voted under or said that it goes by. It
//! votes under another list only when of each that it remembers a majority goes by the new one and
//! remembers none that it does not: they vote under no other, so the old lists have no majority any
//! more. It grants nothing meanwhile, under no list. Going back is a change like any other. After
//! it may vote it is silent for the longest lease that those have granted who went with it.
//!
//! What others go by is known from answers to questions of now: an answer counts for [`FRESH`] from
//! when it was asked for, and a node that has changed its list waits [`SETTLING`], which is longer,
//! before it votes. So of two nodes that each rely on what the other went by a moment ago, and that
//! have both changed back since, one is always the later, and it finds the other.
//!
//! Pure; what is stored on disk is done by the shell, which says when it is done. `local_voter`
//! feeds this. Nothing that peers say makes it grow: statements are kept of configured nodes only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::types::{Backing, Instant, LISTS_MAX, NodeId, Recollection, VoterRecord};
use super::leases::digest;

/// What another node says it goes by counts for so long from when it was asked.
pub(super) const FRESH: Duration = Duration::from_millis(250);
/// Before it votes under another list a node goes by it for so long.
pub(super) const SETTLING: Duration = Duration::from_millis(300);
/// While it waits, others are asked as often as this.
const ASK: Duration = Duration::from_millis(100);
/// What could not be stored is tried again after so long.
const AGAIN: Duration = Duration::from_secs(5);
/// A longest lease that nobody has had for so long is forgotten.
const UNUSED: Duration = Duration::from_secs(60);

/// What another node has said of its lists.
#[derive(Clone, Debug)]
struct Statement {
    asked_at: Instant,
    lists: Vec<u64>,
    longest: Duration,
}

/// Whether this node votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VotingState {
    /// What it has to remember is not stored yet.
    Unwritten,
    /// It cannot be stored, or read.
    Unable,
    /// A majority of a list that is remembered may go on under that.
    Waiting,
    /// It votes.
    Voting,
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(super) struct Electorate {
    /// The list of the configuration.
    mine: Vec<NodeId>,
    /// What is on disk.
    stored: Option<VoterRecord>,
    /// What is being stored.
    storing: Option<VoterRecord>,
    unreadable: bool,
    /// Storing has failed; it is tried again then.
    failed: Option<Instant>,
    /// Since when `mine` is on disk, in this stay of it.
    since: Option<Instant>,
    voting: bool,
    /// Whether this node has anything to do with leases.
    concerned: bool,
    /// The longest lease that is asked for, and when it was last.
    wanted: (Duration, Instant),
    /// When a lease as long as what is stored was last asked for.
    longest_at: Instant,
    statements: BTreeMap<NodeId, Statement>,
    asks_at: Instant,
}

impl Electorate {
    /// What the process before has left; before anything else.
    pub(super) fn recall(now: Instant, recollection: Recollection) -> Self {
        let unreadable = recollection == Recollection::Unreadable;
        let stored = match recollection {
            Recollection::Record(record) => Some(record),
            Recollection::Nothing | Recollection::Unreadable => None,
        };
        Self { stored, unreadable, longest_at: now, ..Self::default() }
    }

    /// Follows the list of the configuration.
    pub(super) fn go_by(&mut self, list: Vec<NodeId>) {
        if self.mine != list {
            self.mine = list;
            self.since = None;
            self.voting = false;
            self.asks_at = Instant::START;
            self.statements.clear();
        }
    }

    /// Notes that this node has to do with leases.
    pub(super) const fn concern(&mut self) {
        self.concerned = true;
    }

    /// Whether it has.
    pub(super) const fn is_concerned(&self) -> bool {
        self.concerned
    }

    /// Whether this node votes, and why not.
    pub(super) const fn voting_state(&self) -> VotingState {
        if self.voting {
            VotingState::Voting
        } else if self.unreadable || self.failed.is_some() {
            VotingState::Unable
        } else if self.since.is_some() {
            VotingState::Waiting
        } else {
            VotingState::Unwritten
        }
    }

    /// The list of the configuration, if no other is remembered.
    pub(super) fn only_list(&self) -> Option<&[NodeId]> {
        let lists = &self.stored.as_ref()?.lists;
        (lists.as_slice() == std::slice::from_ref(&self.mine)).then_some(self.mine.as_slice())
    }

    /// The longest lease that may have been granted here; `None` if that is not known.
    pub(super) fn longest(&self) -> Option<Duration> {
        self.stored.as_ref().map(|record| record.longest)
    }

    /// Leases of this length are asked for; says how much of it this node may grant.
    pub(super) fn allow(&mut self, now: Instant, lease: Duration) -> Duration {
        let longest = self.longest().unwrap_or_default();
        if lease >= longest {
            self.longest_at = now;
        }
        if lease >= self.wanted.0 || now.since(self.wanted.1) > UNUSED {
            self.wanted = (lease, now);
        }
        lease.min(longest)
    }

    /// What must be stored now, if anything: it is to be told by [`Electorate::stored`].
    pub(super) fn store_next(&mut self, now: Instant, running: Duration) -> Option<VoterRecord> {
        if self.unreadable || self.storing.is_some() || self.failed.is_some_and(|at| at > now) {
            return None;
        }
        let before = self.stored.clone().unwrap_or_default();
        let mut lists = if self.voting { Vec::new() } else { before.lists.clone() };
        if !lists.contains(&self.mine) {
            if lists.len() >= LISTS_MAX {
                return None;
            }
            lists.push(self.mine.clone());
        }
        let used = self.wanted.0.max(running);
        let unused = now.since(self.longest_at) > UNUSED;
        let longest = if unused { used } else { used.max(before.longest) };
        let record = VoterRecord { lists, longest };
        if self.stored.as_ref() == Some(&record) && self.failed.is_none() {
            return None;
        }
        self.storing = Some(record.clone());
        Some(record)
    }

    /// What was to be stored is, or could not be.
    pub(super) fn stored(&mut self, now: Instant, done: bool) {
        let Some(record) = self.storing.take() else { return };
        if done {
            self.stored = Some(record);
            self.failed = None;
        } else {
            self.failed = Some(now + AGAIN);
        }
    }

    /// Notes since when the list of the configuration is stored; says how long to be silent when
    /// this node may vote from now on.
    pub(super) fn proceed(&mut self, now: Instant, me: NodeId, settled: bool) -> Option<Duration> {
        let stored = self.stored.as_ref().filter(|it| it.lists.contains(&self.mine))?;
        let since = *self.since.get_or_insert(now);
        if self.voting {
            return None;
        }
        let others = stored.lists.iter().filter(|list| **list != self.mine);
        let mut longest = stored.longest;
        if settled && others.clone().next().is_some() {
            if now.since(since) < SETTLING {
                return None;
            }
            for list in others {
                let with = list.iter().filter_map(|voter| self.goes_with(now, *voter, me));
                let with: Vec<Duration> = with.collect();
                if with.len() <= list.len() / 2 {
                    return None;
                }
                longest = with.into_iter().fold(longest, Duration::max);
            }
            self.voting = true;
            return Some(longest);
        }
        self.voting = true;
        None
    }

    /// The longest lease that a voter may have granted, if it goes by this list now.
    fn goes_with(&self, now: Instant, voter: NodeId, me: NodeId) -> Option<Duration> {
        let stored = self.stored.as_ref()?;
        if voter == me {
            return Some(stored.longest);
        }
        let said = self.statements.get(&voter)?;
        let known: BTreeSet<u64> = stored.lists.iter().map(|list| digest(list)).collect();
        let with = now.since(said.asked_at) <= FRESH
            && said.lists.first() == Some(&digest(&self.mine))
            && said.lists.iter().all(|list| known.contains(list));
        with.then_some(said.longest)
    }

    /// Our clock has stood still: what was asked before may be older than it seems.
    pub(super) fn forget(&mut self) {
        self.statements.clear();
    }

    /// Takes in what a node says of its lists, in answer to what was asked then.
    pub(super) fn note(&mut self, from: NodeId, asked_at: Instant, backing: &Backing) {
        let asked_since = self.since.is_some_and(|since| asked_at >= since);
        let newer = self.statements.get(&from).is_none_or(|before| before.asked_at <= asked_at);
        if !self.voting && asked_since && newer {
            let (lists, longest) = (backing.lists.clone(), backing.longest);
            self.statements.insert(from, Statement { asked_at, lists, longest });
        }
    }

    /// Digests of what this node goes by and remembers; nothing before it is stored.
    pub(super) fn lists(&self) -> Vec<u64> {
        let Some(stored) = self.stored.as_ref().filter(|_| self.since.is_some()) else {
            return Vec::new();
        };
        let others = stored.lists.iter().filter(|list| **list != self.mine);
        std::iter::once(&self.mine).chain(others).map(|list| digest(list)).collect()
    }

    /// Voters of lists that are remembered, to be asked now what they go by.
    pub(super) fn ask_next(&mut self, now: Instant) -> Vec<NodeId> {
        if now < self.asks_at() {
            return Vec::new();
        }
        self.asks_at = now + ASK;
        let lists = self.stored.iter().flat_map(|it| &it.lists);
        let voters: BTreeSet<NodeId> = lists.flatten().copied().collect();
        voters.into_iter().collect()
    }

    /// When that is due.
    pub(super) fn asks_at(&self) -> Instant {
        if self.voting_state() == VotingState::Waiting { self.asks_at } else { Instant::NEVER }
    }

    /// When there is something to do without being told anything.
    pub(super) fn deadline(&self) -> Instant {
        let again = self.failed.filter(|_| self.storing.is_none() && !self.unreadable);
        self.asks_at().min(again.unwrap_or(Instant::NEVER))
    }
}
