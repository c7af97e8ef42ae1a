//! What this node wants of the voters, and what they have granted.
//!
//! ```text
//!   want, give up --> wishes, numbered --> request to each voter, from where it has them
//!                                                              |
//!   lease of a group = the majority-th latest of <-- grants: asked at + L, for each voter
//! ```
//!
//! A grant counts from when it was asked for, not from when it came: how long the voter keeps its
//! promise begins later. It counts for a group only if the voter had the wish for it: one that
//! was given before the group was let go says nothing about it (H63 in docs/invariants.md). Nothing
//! that is late, lost, doubled or overtaken makes a lease longer.
//!
//! Pure, without a clock of its own; `lease_holder` feeds it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::types::{
    Bid, GroupKey, Instant, LeaseGrant, LeaseMemory, LeaseRequest, NodeId, VOTERS_MAX, Vote,
    WISHES_PER_MESSAGE, Wish, WishMemory, mix,
};

/// Requests sent to one voter in one go; more wishes wait for its answer.
const REQUESTS_MAX: usize = 16;

/// A group that was wanted once in this life.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Wanted {
    version: u32,
    wanted: bool,
    /// By place of the voter in the list: until when it vouches.
    until: [Instant; VOTERS_MAX],
}

/// How it stands with one voter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Voice {
    /// How far it has our wishes.
    have: u32,
    /// The latest request of ours that it has answered, and how.
    answered: Option<(Instant, Vote)>,
    /// When it was last asked.
    asked_at: Option<Instant>,
    /// The last wish it was told.
    told: u32,
    /// The latest request of ours of which an answer has arrived.
    heard: Option<Instant>,
}

/// The leases of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Leases {
    voters: Vec<NodeId>,
    voices: BTreeMap<NodeId, Voice>,
    groups: BTreeMap<GroupKey, Wanted>,
    changes: BTreeMap<u32, GroupKey>,
    version: u32,
    /// What was asked before this is not counted: our clock stood still meanwhile.
    forgotten_until: Instant,
}

impl Leases {
    /// Follows the list of voters. What was granted under another one, or is on its way, counts no
    /// more: a majority of the one list is none of the other.
    pub(super) fn set_voters(&mut self, now: Instant, voters: Vec<NodeId>) {
        let voters: Vec<NodeId> = voters.into_iter().take(VOTERS_MAX).collect();
        if voters == self.voters {
            return;
        }
        self.forget(now);
        self.voices.retain(|voter, _| voters.contains(voter));
        for voice in self.voices.values_mut() {
            voice.answered = None;
        }
        self.voters = voters;
    }

    /// Returns what the next process needs, to go on; `None` if nothing was ever wanted.
    pub(super) fn memory(&self) -> Option<LeaseMemory> {
        let places = self.voters.len();
        let wish = |it: &Wanted| WishMemory {
            version: it.version,
            wanted: it.wanted,
            until: it.until[..places].to_vec(),
        };
        let heard = self.voices.iter().filter_map(|(voter, it)| Some((*voter, it.heard?)));
        (self.version > 0).then(|| LeaseMemory {
            list: self.voters.clone(),
            version: self.version,
            wishes: self.groups.iter().map(|(group, it)| (*group, wish(it))).collect(),
            heard: heard.collect(),
        })
    }

    /// Goes on from what the process before has left; what other voters had granted counts no more.
    /// Its wishes are told from the first; the voters leave out what they have. What it has asked for
    /// and is still on its way does not count.
    pub(super) fn recall(&mut self, now: Instant, memory: &LeaseMemory) {
        self.forgotten_until = now;
        self.version = memory.version;
        let same = memory.list == self.voters;
        for (group, wish) in &memory.wishes {
            let mut until = [Instant::START; VOTERS_MAX];
            for (place, it) in until.iter_mut().zip(&wish.until).filter(|_| same) {
                *place = *it;
            }
            let wanted = Wanted { version: wish.version, wanted: wish.wanted, until };
            self.groups.insert(*group, wanted);
            self.changes.insert(wish.version, *group);
        }
        for (voter, heard) in &memory.heard {
            self.voices.entry(*voter).or_default().heard = Some(*heard);
        }
    }

    /// Whether a majority has granted what it was asked for at this moment or later.
    pub(super) fn is_renewed(&self, since: Instant) -> bool {
        let granted = |voter: &&NodeId| {
            let answered = self.answered(**voter);
            answered.is_some_and(|(at, vote)| at >= since && vote == Vote::Granted)
        };
        self.voters.iter().filter(granted).count() >= self.majority()
    }

    /// The list of voters.
    pub(super) fn voters(&self) -> &[NodeId] {
        &self.voters
    }

    /// How many of them are a majority.
    pub(super) fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// Stands for the list, so that voters can tell whether theirs is the same.
    pub(super) fn digest(&self) -> u64 {
        digest(&self.voters)
    }

    /// Wants a group from now on. No grant from before counts for it.
    pub(super) fn want(&mut self, group: GroupKey) {
        if !self.wants(group) {
            self.change(group, true);
        }
    }

    /// Wants a group no more: the kernel has let go of it.
    pub(super) fn give_up(&mut self, group: GroupKey) {
        if self.wants(group) {
            self.change(group, false);
        }
    }

    fn change(&mut self, group: GroupKey, wanted: bool) {
        self.version += 1;
        let until = [Instant::START; VOTERS_MAX];
        let now = Wanted { version: self.version, wanted, until };
        if let Some(before) = self.groups.insert(group, now) {
            self.changes.remove(&before.version);
        }
        self.changes.insert(self.version, group);
    }

    /// Whether a group is wanted.
    pub(super) fn wants(&self, group: GroupKey) -> bool {
        self.groups.get(&group).is_some_and(|it| it.wanted)
    }

    /// All groups that are wanted.
    pub(super) fn wanted(&self) -> impl Iterator<Item = GroupKey> {
        self.groups.iter().filter(|(_, it)| it.wanted).map(|(group, _)| *group)
    }

    /// Whether a voter has to be asked at all.
    pub(super) fn concerns(&self, voter: NodeId) -> bool {
        self.lacks(voter) || self.groups.values().any(|it| it.wanted)
    }

    /// Whether a voter does not have all wishes.
    pub(super) fn lacks(&self, voter: NodeId) -> bool {
        self.voices.get(&voter).map_or(0, |voice| voice.have) < self.version
    }

    /// Whether a voter has not even been told all wishes.
    pub(super) fn has_news_for(&self, voter: NodeId) -> bool {
        self.voices.get(&voter).map_or(0, |voice| voice.told) < self.version
    }

    /// When a voter was last asked.
    pub(super) fn asked_at(&self, voter: NodeId) -> Option<Instant> {
        self.voices.get(&voter)?.asked_at
    }

    /// The latest request that a voter has answered, and how.
    pub(super) fn answered(&self, voter: NodeId) -> Option<(Instant, Vote)> {
        self.voices.get(&voter)?.answered
    }

    /// What to ask a voter now: at least one request, with the wishes that it lacks.
    pub(super) fn requests(
        &mut self,
        now: Instant,
        voter: NodeId,
        lease: Duration,
    ) -> Vec<LeaseRequest> {
        let (asked_at, voters) = (now.as_nanos(), self.digest());
        let voice = self.voices.entry(voter).or_default();
        voice.asked_at = Some(now);
        let bid = Some(Bid { lease, answered: voice.heard.map(Instant::as_nanos) });
        let mut base = voice.have;
        let mut requests = Vec::new();
        loop {
            let lacking = self.changes.range(base.saturating_add(1)..).take(WISHES_PER_MESSAGE);
            let wishes: Vec<Wish> = lacking
                .filter_map(|(version, group)| {
                    let wanted = self.groups.get(group)?.wanted;
                    Some(Wish { version: *version, group: *group, wanted })
                })
                .collect();
            let upto = wishes.last().map_or(self.version, |wish| wish.version);
            voice.told = voice.told.max(upto);
            requests.push(LeaseRequest { asked_at, voters, base, upto, wishes, bid });
            if upto >= self.version || requests.len() == REQUESTS_MAX {
                return requests;
            }
            base = upto;
        }
    }

    /// Takes in what a voter says. `from` is when its lease counts from.
    pub(super) fn grant(&mut self, voter: NodeId, grant: &LeaseGrant, terms: GrantTerms) {
        let Some(place) = self.voters.iter().position(|known| *known == voter) else { return };
        let asked_at = Instant::from_nanos(grant.asked_at);
        let voice = self.voices.entry(voter).or_default();
        if grant.have > self.version || voice.asked_at.is_none_or(|asked| asked_at > asked) {
            // Not an answer to anything that this life has asked.
            return;
        }
        voice.heard = voice.heard.max(Some(asked_at));
        if voice.answered.is_none_or(|(latest, _)| latest <= asked_at)
            && asked_at >= self.forgotten_until
        {
            voice.answered = Some((asked_at, grant.vote));
            voice.have = grant.have;
        }
        if grant.vote != Vote::Granted || asked_at < self.forgotten_until {
            return;
        }
        let refused: BTreeSet<GroupKey> = grant.refused.iter().copied().collect();
        let until = terms.from.unwrap_or(asked_at) + terms.lease;
        let after = grant.backing.as_ref().map_or(0, |backing| backing.after);
        let known =
            |it: &Wanted| (it.version <= grant.upto || !terms.floored) && it.version > after;
        for (_, it) in self
            .groups
            .iter_mut()
            .filter(|(group, it)| it.wanted && known(it) && !refused.contains(group))
        {
            it.until[place] = it.until[place].max(until);
        }
    }

    /// Until when a majority of the voters vouches for a group.
    pub(super) fn until(&self, group: GroupKey) -> Instant {
        let Some(it) = self.groups.get(&group).filter(|it| it.wanted) else {
            return Instant::START;
        };
        let mut until = it.until;
        let until = &mut until[..self.voters.len()];
        until.sort_unstable();
        let place = until.len().checked_sub(self.majority());
        place.and_then(|place| until.get(place)).copied().unwrap_or(Instant::START)
    }

    /// What was granted for what was asked before now counts no more: our clock has stood still, so
    /// it cannot tell which lease is over, or there are other voters.
    pub(super) fn forget(&mut self, now: Instant) {
        self.forgotten_until = now;
        for it in self.groups.values_mut() {
            it.until = [Instant::START; VOTERS_MAX];
        }
    }
}

/// How a grant is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct GrantTerms {
    /// `L`.
    pub(super) lease: Duration,
    /// When it counts from, if not from when it was asked for: a mistake that a test makes.
    pub(super) from: Option<Instant>,
    /// Whether it counts only for wishes that the voter had; the other mistake.
    pub(super) floored: bool,
}

/// Stands for a list of voters.
pub(super) fn digest(voters: &[NodeId]) -> u64 {
    voters.iter().fold(0, |digest, voter| mix(digest ^ u64::from(voter.0)))
}
