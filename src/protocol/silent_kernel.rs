//! A silent peer whose kernel still answers is not dead.
//!
//! When a peer falls silent its kernel is asked, by what clients would see: who answers for the
//! addresses that the peer has? Its hardware addresses are known from its heartbeats. If it answers,
//! only the heartbeats are lost, or its daemon stands still and its kernel's lease still runs:
//! taking its groups would make two owners. What other peers hear does not change that.
//!
//! ```text
//!   T - h/2       T                 lease ends + h        last answer + T
//!   suspect ------+---- not dead --------+---- not dead, told ----+----> dead, unless the
//!     ask each h/4    ask each h/4           ask each h/2                self-test says otherwise
//! ```
//!
//! A kernel that has never answered is as dead as its daemon: the first two questions are over
//! before `T`, so a dead host is relieved as soon as without all this. The lease of a peer follows
//! from the interval and the misses that it tells: from one interval and one lease after its last
//! heartbeat its kernel answers only if its daemon runs. What was answered before counts for `h`
//! after that moment at most, so the groups of a frozen host are taken when its lease has ended.
//! What is answered later counts for a detection time `T`, as a heartbeat does: six questions, so
//! that an asker that is late itself, on a busy machine, does not take the peer for dead (with `h`
//! instead, two nodes had an address while others took the processors away).
//!
//! What answers a broadcast may be a switch that goes on answering for a host that is gone, and one
//! that keeps broadcasts back lets no living host hear them (ARP suppression). So a silent kernel is
//! asked at each of the hardware addresses that the peer has told, by frames to these alone, and what
//! it answers to those counts, and nothing else.
//!
//! Kernels are asked about each group, a few at a time: a group for which nobody answers, while the
//! same kernel answers for others, is not there any more and may be taken. Groups in mode majority
//! do not wait for what kernels answer: their leases decide.

use std::time::Duration;

use super::claims::holder;
use super::node::Node;
use super::peers::Peer;
use super::types::{GroupKey, HardwareAddress, Instant, NodeId, Report, Rule, Verdict};

/// Groups about which a silent kernel is asked each time: of one some frame may get lost, and its
/// link may be down.
const ASKED_AT_ONCE: usize = 4;
/// Questions about one group without an answer after which a kernel that answers for other groups
/// does not have it.
const UNANSWERED_MAX: u8 = 6;
/// Peers that may ask at the full pace: with more nodes each asks less often, so that a silent owner
/// does not draw more questions than eight askers send.
const ASKERS: usize = 8;

/// What a peer's kernel has said for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SilentKernel {
    /// Since when the peer is, or was last, a suspect.
    pub(super) suspected_at: Instant,
    /// When its kernel was last asked.
    asked_at: Instant,
    /// The last group asked about; the next ones come next.
    asked_last: GroupKey,
    /// When it last answered, for which group and with which address.
    answered: Option<(Instant, GroupKey, HardwareAddress)>,
    /// Whether it has been told that only the daemon is silent.
    told: bool,
    /// Whether the peer would be dead, but for what its kernel answers.
    stands_in: bool,
}

/// Questions about a group that a silent kernel has not answered, while it answered others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unanswered {
    since: Instant,
    times: u8,
}

impl SilentKernel {
    pub(super) const UNKNOWN: Self = Self {
        suspected_at: Instant::START,
        asked_at: Instant::START,
        asked_last: GroupKey(0),
        answered: None,
        told: false,
        stands_in: false,
    };

    /// Whether it has been told that only the daemon is silent.
    pub(super) const fn told(&self) -> bool {
        self.told
    }

    /// Whether the peer would be dead, but for what its kernel answers.
    pub(super) const fn stands_in(&self) -> bool {
        self.stands_in
    }

    /// The verdict on the peer has changed.
    pub(super) fn judged(&mut self, now: Instant, verdict: Verdict) {
        self.stands_in = false;
        match verdict {
            Verdict::Suspect => self.suspected_at = now,
            Verdict::Up | Verdict::Indirect | Verdict::Left => self.told = false,
            Verdict::Unknown | Verdict::Dead => {}
        }
    }
}

impl Node {
    /// Takes in a sign of life of a peer's kernel itself.
    pub(super) fn kernel_answered(
        &mut self,
        node: NodeId,
        group: GroupKey,
        hardware: HardwareAddress,
    ) {
        let now = self.env.now;
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.kernel.answered = Some((now, group, hardware));
            peer.unanswered.remove(&group);
        }
    }

    /// The hardware addresses at which the owner of a group is asked by frames to these alone, if it
    /// is silent.
    pub(super) fn asked_directly(&self, group: GroupKey) -> Vec<HardwareAddress> {
        let owner = self.claims.latest(group).and_then(holder);
        let owner = owner.and_then(|owner| self.peers.get(&owner));
        let silent = owner.filter(|peer| peer.verdict == Verdict::Suspect);
        let at = silent.filter(|_| self.enforces(Rule::AskedDirectly));
        at.map(|peer| peer.hardware.clone()).unwrap_or_default()
    }

    /// Whether another peer is heard, which does not hear the suspect either.
    fn hears_beside(&self, suspect: NodeId) -> bool {
        let mut others = self.peers.iter().filter(|(node, _)| **node != suspect);
        others.any(|(_, peer)| matches!(peer.verdict, Verdict::Up | Verdict::Indirect))
    }

    /// Whether the kernel of a suspect is asked.
    fn asks_kernel_of(&self, suspect: NodeId) -> bool {
        let alone = !self.hears_beside(suspect);
        self.enforces(Rule::SilentKernel) && (alone || self.enforces(Rule::KernelOutweighsPeers))
    }

    /// From when on a kernel answers for a peer only if its daemon runs: it may have vouched for
    /// itself until just before the next heartbeat was due.
    fn lease_ended(peer: &Peer) -> Instant {
        let heard = peer.heard_at.max(peer.relayed_at).unwrap_or(Instant::START);
        heard + peer.said.interval + peer.lease()
    }

    /// Until when an answer of a peer's kernel shows that the peer is not dead.
    fn answer_counts_until(&self, peer: &Peer, at: Instant) -> Instant {
        let timing = &self.env.configuration.timing;
        let ended = Self::lease_ended(peer);
        let until = at + timing.detection();
        let ends = at <= ended && self.enforces(Rule::AnswersUnderLease);
        if ends { until.min(ended + timing.heartbeat) } else { until }
    }

    /// The group for which the kernel of a silent peer answers, and where, if it does.
    pub(super) fn answering_kernel(&self, suspect: NodeId) -> Option<(GroupKey, HardwareAddress)> {
        let peer = self.peers.get(&suspect)?;
        let (at, group, hardware) = peer.kernel.answered?;
        let stands =
            at >= peer.kernel.suspected_at && self.env.now <= self.answer_counts_until(peer, at);
        (stands && self.asks_kernel_of(suspect)).then_some((group, hardware))
    }

    /// The peer would be dead, but for what its kernel answers, or is not in that state any more.
    pub(super) fn kernel_stands_in(&mut self, node: NodeId, stands_in: bool) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if std::mem::replace(&mut peer.kernel.stands_in, stands_in) != stands_in {
            peer.unanswered.clear();
            self.evaluate = true;
        }
    }

    /// Whether a silent peer does not have this group, although its kernel answers for others.
    pub(super) fn is_without(&self, peer: &Peer, group: GroupKey) -> bool {
        let timing = &self.env.configuration.timing;
        peer.kernel.stands_in
            && peer.unanswered.get(&group).is_some_and(|unanswered| {
                let lasts = self.env.now.since(unanswered.since) >= timing.detection();
                unanswered.times >= UNANSWERED_MAX && lasts
            })
            && self.enforces(Rule::GroupsAskedApart)
    }

    /// Asks the kernel of a suspect, when it is time.
    pub(super) fn ask_kernel(&mut self, suspect: NodeId) {
        let Some(peer) = self.peers.get(&suspect) else { return };
        let kernel = peer.kernel;
        if self.env.now.since(kernel.asked_at) < self.kernel_pause(peer)
            || !self.asks_kernel_of(suspect)
        {
            return;
        }
        let groups = self.groups_to_ask(suspect, kernel.asked_last);
        let now = self.env.now;
        if let Some(peer) = self.peers.get_mut(&suspect) {
            peer.kernel.asked_at = now;
            peer.kernel.asked_last = groups.last().copied().unwrap_or(GroupKey(0));
        }
        for group in groups {
            if self.ask(group) {
                self.note_question(suspect, group);
            }
        }
    }

    /// Counts a question that has not been answered yet.
    fn note_question(&mut self, suspect: NodeId, group: GroupKey) {
        let now = self.env.now;
        let detection = self.env.configuration.timing.detection();
        let Some(peer) = self.peers.get_mut(&suspect).filter(|peer| peer.kernel.stands_in) else {
            return;
        };
        let first = Unanswered { since: now, times: 0 };
        let unanswered = peer.unanswered.entry(group).or_insert(first);
        unanswered.times = unanswered.times.saturating_add(1);
        // The answer to this question is waited for until the next.
        let times = unanswered.times >= UNANSWERED_MAX;
        self.evaluate |= times && now.since(unanswered.since) >= detection;
    }

    /// The next groups of a node that this one could ask about. Those that are to be taken whoever
    /// answers are not asked about.
    fn groups_to_ask(&self, suspect: NodeId, after: GroupKey) -> Vec<GroupKey> {
        let groups = self.claims.iter().filter(|claim| holder(claim) == Some(suspect));
        let known = groups.map(|claim| claim.group).filter(|group| {
            !self.taken_at_once(*group, suspect)
                && self.env.configuration.groups.contains_key(group)
                && self.groups.get(group).is_some_and(|here| here.usable)
        });
        let mut known: Vec<GroupKey> = known.collect();
        let next = known.iter().position(|group| *group > after).unwrap_or(0);
        known.rotate_left(next);
        known.truncate(ASKED_AT_ONCE);
        known
    }

    /// Whether what a kernel answers does not protect its owner: the operator wants the group
    /// whoever has it, or leases see to it that one node answers. Who hears nobody else is in no
    /// majority, and need not claim.
    pub(super) fn taken_at_once(&self, group: GroupKey, owner: NodeId) -> bool {
        let forced = self.env.configuration.groups.get(&group).is_some_and(|wanted| wanted.force);
        forced || (self.strict(group) && self.hears_beside(owner))
    }

    /// Tells once that a peer is silent and not dead: its kernel answers when its lease has ended.
    pub(super) fn tell_answering_kernel(&mut self, suspect: NodeId) {
        let Some((group, hardware)) = self.answering_kernel(suspect) else { return };
        let Some(peer) = self.peers.get_mut(&suspect) else { return };
        let ended = Self::lease_ended(peer);
        let runs = peer.kernel.answered.is_some_and(|(at, ..)| at > ended);
        if runs && !std::mem::replace(&mut peer.kernel.told, true) {
            self.report(Report::KernelAnswers { peer: suspect, group, hardware });
        }
    }

    /// Between two questions: two before the detection time is over, so that one may get lost, and
    /// four within `h` after the end of the lease.
    fn kernel_pause(&self, peer: &Peer) -> Duration {
        let heartbeat = self.env.configuration.timing.heartbeat;
        let over = self.env.now.since(peer.kernel.suspected_at) > heartbeat / 2;
        let runs = self.env.now > Self::lease_ended(peer) + heartbeat;
        if !over || !runs {
            return heartbeat / 4;
        }
        let askers = u32::try_from(self.peers.len().div_ceil(ASKERS)).unwrap_or(u32::MAX);
        (heartbeat / 2)
            .saturating_mul(askers.max(1))
            .min(self.env.configuration.timing.detection() / 3)
    }

    /// When a kernel must be asked again, or its last answer is too old.
    pub(super) fn kernel_deadline(&self) -> Instant {
        let suspects = self
            .peers
            .iter()
            .filter(|(node, peer)| peer.verdict == Verdict::Suspect && self.asks_kernel_of(**node));
        let deadline = |(_, peer): (&NodeId, &Peer)| {
            let again = peer.kernel.asked_at + self.kernel_pause(peer);
            let ends = peer
                .kernel
                .answered
                .map(|(at, ..)| self.answer_counts_until(peer, at) + Duration::from_nanos(1));
            again.min(ends.filter(|ends| *ends > self.env.now).unwrap_or(Instant::NEVER))
        };
        suspects.map(deadline).min().unwrap_or(Instant::NEVER)
    }
}
