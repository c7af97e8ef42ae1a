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
//! answers. `W` follows from the longer one of what the holder says its lease is and what the
//! voter's own would be; it is longer than `L` by more than two clocks drift apart and kernels are
//! late, so a promise is never over before the lease that follows from it. What was promised is
//! left to the next process at a stop in good order, which goes on from there ([`Voter::running`],
//! [`Voter::recall`]); a voter that starts without that promises nothing for as long as the longest
//! promise of its former life may run (`electorate`). A node that says that its kernel has
//! let go, or of which a good-bye has come, is owed nothing any more.
//!
//! A request says which answer has come last. Who does not hear the answers cannot use what it is
//! promised, so for a holder whose last answer is older than half a lease nothing is renewed (L7 in
//! docs/faults.md): it hears that, if it hears, and is promised again with the next request. Whom
//! nothing has been promised for a while is promised at once, as a node that asks for the first time, but
//! not what another node waits for.
//!
//! Pure, without a clock of its own; `local_voter` feeds it. Nothing that a peer says makes it grow
//! beyond [`WANTED_MAX`] addresses for each of few lives of each node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::types::{
    ADDRESSES_MAX, Backing, Bid, GroupKey, Incarnation, Instant, LeaseGrant, LeaseRequest,
    LifePromise, NodeId, REFUSED_PER_MESSAGE, Vote,
};

/// Addresses that one life may want: as many as there are claims at most.
const WANTED_MAX: usize = 2 * ADDRESSES_MAX;

/// One life of a node, to which something may be promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Holder {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
}

/// On what a voter promises.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// `L`, as far as this voter vouches for it.
    pub(super) lease: Duration,
    /// `W`: how long a promise runs after an answer.
    pub(super) promise: Duration,
    /// Why it does not vouch at all, if so.
    pub(super) refusal: Option<Vote>,
    /// Whether the holder is known to hear nobody.
    pub(super) isolated: bool,
    /// Whether who does not hear the answers is promised nothing.
    pub(super) heard: bool,
    /// Whether a holder that has had nothing for a while counts as one that asks for the first time.
    pub(super) idle_is_first: bool,
    /// The longest lease that was granted here to anybody and may run.
    pub(super) longest: Duration,
    /// Digests of the lists of voters that are remembered here.
    pub(super) lists: Vec<u64>,
    /// Whether all that is refused is named.
    pub(super) named: bool,
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
    /// The longest lease that was promised for.
    lease: Duration,
    /// Until then it need not have heard of the first promise, or of the first after a while.
    first_until: Instant,
}

impl Wishes {
    /// Whether the holder hears what it is promised, as far as it says.
    fn hears(&self, now: Instant, asked_at: u64, bid: Option<Bid>) -> bool {
        let Some(bid) = bid else { return true };
        let lately = |answered: u64| {
            u128::from(asked_at.saturating_sub(answered)) <= bid.lease.as_nanos() / 2
        };
        bid.answered.is_some_and(lately) || now <= self.first_until
    }
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

    /// A voter that goes on from what the process before it has left. Of wishes only those that are
    /// promised are known; their holders ask for all of theirs again.
    pub(super) fn recall(silent_until: Instant, promises: &[LifePromise]) -> Self {
        let mut voter = Self::new(silent_until);
        for LifePromise { node, incarnation, until, lease, addresses } in promises {
            let holder = Holder { node: *node, incarnation: *incarnation };
            let wishes = Wishes { promised_until: *until, lease: *lease, ..Wishes::default() };
            voter.lives.insert(holder, wishes);
            voter.promised.extend(addresses.iter().map(|address| (*address, holder)));
        }
        voter
    }

    /// Until when it is silent.
    pub(super) const fn silent_until(&self) -> Instant {
        self.silent_until
    }

    /// The promises that run now.
    pub(super) fn running(&self, now: Instant) -> Vec<LifePromise> {
        let running = self.lives.iter().filter(|(_, wishes)| wishes.promised_until > now);
        let promises = running.map(|(holder, wishes)| {
            let theirs = self.promised.iter().filter(|(_, to)| *to == holder);
            LifePromise {
                node: holder.node,
                incarnation: holder.incarnation,
                until: wishes.promised_until,
                lease: wishes.lease,
                addresses: theirs.map(|(address, _)| *address).collect(),
            }
        });
        promises.filter(|promise| !promise.addresses.is_empty()).collect()
    }

    /// Another list of voters is in force: what the others promised under theirs is not known.
    pub(super) fn be_silent_until(&mut self, until: Instant) {
        self.silent_until = self.silent_until.max(until);
    }

    /// Takes in a request and answers it: with one grant, or more if more is refused than one can
    /// name.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        holder: Holder,
        request: &LeaseRequest,
        terms: &Terms,
    ) -> Vec<LeaseGrant> {
        self.forget_former_lives(now, holder);
        self.note_wishes(holder, request);
        let wishes = self.lives.entry(holder).or_default();
        let have = wishes.have;
        let heard = wishes.hears(now, request.asked_at, request.bid);
        let over = wishes.promised_until <= now;
        let new = wishes.promised_until == Instant::START;
        let first = new || over && terms.idle_is_first && !self.is_awaited(holder);
        let hears = (heard || first) && !terms.isolated;
        let starting = now < self.silent_until || !hears && terms.heard;
        let refusal = terms.refusal.or(starting.then_some(Vote::Starting));
        if let Some(vote) = refusal {
            return vec![grant(request, terms, (have, vote))];
        }
        let wishes = self.lives.entry(holder).or_default();
        if !wishes.wanted.is_empty() {
            wishes.promised_until = wishes.promised_until.max(now + terms.promise);
            wishes.lease = wishes.lease.max(terms.lease);
            if first {
                wishes.first_until = now + terms.lease / 2;
            }
        }
        let mut refused: Vec<(u32, GroupKey)> = Vec::new();
        for group in wishes.waiting.clone() {
            if !self.promise(now, group, holder) {
                let number = self.lives.get(&holder).and_then(|it| it.wanted.get(&group));
                refused.push((number.copied().unwrap_or(0), group));
            }
        }
        refused.sort_unstable();
        grants(&grant(request, terms, (have, Vote::Granted)), &refused, terms.named)
    }

    /// Whether another life waits for anything that this one wants.
    fn is_awaited(&self, holder: Holder) -> bool {
        let Some(wishes) = self.lives.get(&holder) else { return false };
        let others = self.lives.iter().filter(|(other, _)| **other != holder);
        others.flat_map(|(_, theirs)| &theirs.waiting).any(|it| wishes.wanted.contains_key(it))
    }

    /// The longest lease that a promise of now was made for.
    pub(super) fn longest(&self, now: Instant) -> Duration {
        let running = self.lives.values().filter(|wishes| wishes.promised_until > now);
        running.map(|wishes| wishes.lease).max().unwrap_or_default()
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
                if wishes.wanted.len() >= WANTED_MAX {
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

/// What a voter says if it refuses nothing.
fn grant(request: &LeaseRequest, terms: &Terms, (have, vote): (u32, Vote)) -> LeaseGrant {
    let backing = request.bid.map(|_| Backing {
        lease: terms.lease,
        after: 0,
        longest: terms.longest,
        lists: terms.lists.clone(),
    });
    let upto = if vote == Vote::Granted { have } else { 0 };
    LeaseGrant { asked_at: request.asked_at, have, vote, upto, refused: Vec::new(), backing }
}

/// The same with what is refused, by number: each part names some, and is for the wishes from one
/// of these to the next.
fn grants(whole: &LeaseGrant, refused: &[(u32, GroupKey)], named: bool) -> Vec<LeaseGrant> {
    let mut parts = Vec::new();
    let mut after = 0;
    let mut rest = refused;
    loop {
        let (part, later) = rest.split_at(rest.len().min(REFUSED_PER_MESSAGE));
        let upto = later.first().map_or(whole.have, |(number, _)| number.saturating_sub(1));
        let refused = part.iter().map(|(_, group)| *group).collect();
        let backing = whole.backing.clone().map(|backing| Backing { after, ..backing });
        parts.push(LeaseGrant { upto, refused, backing, ..whole.clone() });
        if later.is_empty() || whole.backing.is_none() || !named {
            // Older software takes a second part for all there is.
            return parts;
        }
        (after, rest) = (upto, later);
    }
}
