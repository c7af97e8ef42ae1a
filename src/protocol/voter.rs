//! A voter: promises each group in mode majority to one node at a time.
//!
//! ```text
//!   request: wishes of a life of a node        for each wish that is not its own yet:
//!     |                                          promised to nobody, or to one whose promise is
//!     v                                          over  -> promised to the one that asks
//!   promise to that life runs on for W           promised to another, and running -> refused
//! ```
//!
//! The holder counts its lease `L` from when it asked, the voter its promise `W` from when it
//! answers, and `W` is longer than `L` by more than two clocks drift apart, so a promise is never
//! over before the lease that follows from it. What was promised is not kept over a restart:
//! therefore a voter that has just started promises nothing for `W`. A node that says that its
//! kernel has let go, or of which a good-bye has come, is owed nothing any more.
//!
//! Pure, without a clock of its own; `majority` feeds it. Nothing that a peer says makes it grow
//! beyond [`CLAIMS_MAX`] groups for each of few lives of each node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::claims::CLAIMS_MAX;
use super::identity::{GroupKey, Incarnation, NodeId};
use super::instant::Instant;
use super::message::{LeaseGrant, LeaseRequest, REFUSED_PER_MESSAGE, Vote};

/// One life of a node, to which something may be promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Holder {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
}

/// On what a voter promises.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// `W`: how long a promise runs after an answer.
    pub(super) promise: Duration,
    /// Digest of the list of voters here.
    pub(super) voters: u64,
}

/// What one life wants, and until when it is promised what it got.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Wishes {
    have: u32,
    /// By group: the number of the wish.
    wanted: BTreeMap<GroupKey, u32>,
    /// Those of them that are promised to others.
    waiting: BTreeSet<GroupKey>,
    promised_until: Instant,
}

/// The voter of one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Voter {
    silent_until: Instant,
    lives: BTreeMap<Holder, Wishes>,
    promised: BTreeMap<GroupKey, Holder>,
}

impl Voter {
    /// A voter that knows nothing of its former life, and is silent until then.
    pub(super) const fn new(silent_until: Instant) -> Self {
        Self { silent_until, lives: BTreeMap::new(), promised: BTreeMap::new() }
    }

    /// Another list of voters is in force: what the others promised under theirs is not known.
    pub(super) fn be_silent_until(&mut self, until: Instant) {
        self.silent_until = self.silent_until.max(until);
    }

    /// Takes in a request and answers it.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        holder: Holder,
        request: &LeaseRequest,
        terms: Terms,
    ) -> LeaseGrant {
        self.forget_former_lives(now, holder);
        self.note_wishes(holder, request);
        let wishes = self.lives.entry(holder).or_default();
        let asked_at = request.asked_at;
        let no = |vote, have| LeaseGrant { asked_at, have, vote, upto: 0, refused: Vec::new() };
        if request.voters != terms.voters {
            return no(Vote::VotersDiffer, wishes.have);
        }
        if now < self.silent_until {
            return no(Vote::Starting, wishes.have);
        }
        if !wishes.wanted.is_empty() {
            wishes.promised_until = wishes.promised_until.max(now + terms.promise);
        }
        let (have, mut upto) = (wishes.have, wishes.have);
        let mut refused: Vec<(u32, GroupKey)> = Vec::new();
        for group in wishes.waiting.clone() {
            if !self.promise(now, group, holder) {
                let number = self.lives.get(&holder).and_then(|it| it.wanted.get(&group));
                refused.push((number.copied().unwrap_or(0), group));
            }
        }
        refused.sort_unstable();
        if let Some((number, _)) = refused.get(REFUSED_PER_MESSAGE) {
            // Not all can be named: it is as if the wishes from there on had not come.
            upto = number.saturating_sub(1);
            refused.truncate(REFUSED_PER_MESSAGE);
        }
        let refused = refused.into_iter().map(|(_, group)| group).collect();
        LeaseGrant { asked_at, have, vote: Vote::Granted, upto, refused }
    }

    /// Promises a group that a life waits for, if it may; says whether it did.
    fn promise(&mut self, now: Instant, group: GroupKey, to: Holder) -> bool {
        let before = self.promised.get(&group).copied();
        if let Some(before) = before.filter(|before| *before != to)
            && let Some(wishes) = self.lives.get_mut(&before)
        {
            if wishes.promised_until > now {
                return false;
            }
            if wishes.wanted.contains_key(&group) {
                wishes.waiting.insert(group);
            }
        }
        self.promised.insert(group, to);
        if let Some(wishes) = self.lives.get_mut(&to) {
            wishes.waiting.remove(&group);
        }
        true
    }

    /// Takes in what is new of the wishes; what came before, or does not follow, is left.
    fn note_wishes(&mut self, holder: Holder, request: &LeaseRequest) {
        let wishes = self.lives.entry(holder).or_default();
        if request.base > wishes.have {
            return;
        }
        for wish in &request.wishes {
            if wish.version <= wishes.have {
                continue;
            }
            if !wish.wanted {
                wishes.wanted.remove(&wish.group);
                wishes.waiting.remove(&wish.group);
                if self.promised.get(&wish.group) == Some(&holder) {
                    self.promised.remove(&wish.group);
                }
            } else {
                if wishes.wanted.len() >= CLAIMS_MAX {
                    return;
                }
                wishes.wanted.insert(wish.group, wish.version);
                if self.promised.get(&wish.group) != Some(&holder) {
                    wishes.waiting.insert(wish.group);
                }
            }
            wishes.have = wish.version;
        }
        wishes.have = wishes.have.max(request.upto);
    }

    /// Whoever said good-bye has let go of everything; its guardian says so for a dead one.
    pub(super) fn release(&mut self, holder: Holder) {
        self.lives.remove(&holder);
        self.promised.retain(|_, to| *to != holder);
    }

    /// Other lives of the same node are over when what they were promised is.
    fn forget_former_lives(&mut self, now: Instant, holder: Holder) {
        let former = |life: &Holder| life.node == holder.node && *life != holder;
        let over: Vec<Holder> = self
            .lives
            .iter()
            .filter(|(life, wishes)| former(life) && wishes.promised_until <= now)
            .map(|(life, _)| *life)
            .collect();
        for life in over {
            self.release(life);
        }
    }
}
