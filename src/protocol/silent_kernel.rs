//! A silent peer whose kernel still answers is not dead.
//!
//! Two nodes have no third to ask. When one falls silent the other asks its kernel, by what
//! clients would see: who answers for the addresses that it has? If it does, only the heartbeats
//! are lost, or its daemon stands still and its kernel's lease still runs: taking its groups would
//! make two owners. The same where more nodes fall silent together.
//!
//! ```text
//!   T - h/2       T                      last answer + T
//!   suspect ------+---- not dead, told once ----+----> dead, unless the self-test says otherwise
//!     ask each h/4    ask each h/2
//! ```
//!
//! A kernel that has never answered is as dead as its daemon: the first two questions are over
//! before `T`, so a dead host is relieved as soon as without all this. One that has answered must be
//! silent for a detection time `T`, as its daemon was: six questions, so that an asker that is late
//! itself, on a busy machine, does not take it for dead (with `h` instead, two nodes had an address
//! while others took the processors away). So a frozen host is relieved up to `T` after its lease
//! has ended. A live peer's word goes before: who has one asks no kernel.

use std::time::Duration;

use super::action::{Report, Verdict};
use super::claims::holder;
use super::identity::{GroupKey, HardwareAddress, NodeId};
use super::instant::Instant;
use super::node::Node;
use super::rules::Rule;

/// Groups about which a silent kernel is asked each time: of one some frame may get lost, and its
/// link may be down.
const ASKED_AT_ONCE: usize = 4;

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
}

impl SilentKernel {
    pub(super) const UNKNOWN: Self = Self {
        suspected_at: Instant::START,
        asked_at: Instant::START,
        asked_last: GroupKey(0),
        answered: None,
        told: false,
    };

    /// Whether it has been told that only the daemon is silent.
    pub(super) const fn told(&self) -> bool {
        self.told
    }

    /// The verdict on the peer has changed.
    pub(super) fn judged(&mut self, now: Instant, verdict: Verdict) {
        match verdict {
            Verdict::Suspect => self.suspected_at = now,
            Verdict::Up | Verdict::Indirect | Verdict::Left => self.told = false,
            Verdict::Unknown | Verdict::Dead => {}
        }
    }
}

impl Node {
    /// Takes in a sign of life of a peer's kernel.
    pub(super) fn kernel_answered(
        &mut self,
        node: NodeId,
        group: GroupKey,
        hardware: HardwareAddress,
    ) {
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.kernel.answered = Some((now, group, hardware));
        }
    }

    /// Whether nobody else is there who could tell whether the suspect lives.
    fn is_sole_witness(&self, suspect: NodeId) -> bool {
        let mut others = self.peers.iter().filter(|(node, _)| **node != suspect);
        !others.any(|(_, peer)| matches!(peer.verdict, Verdict::Up | Verdict::Indirect))
            && self.holds(Rule::SilentKernel)
    }

    /// The group for which the kernel of a silent peer answers, and where, if it does.
    pub(super) fn answering_kernel(&self, suspect: NodeId) -> Option<(GroupKey, HardwareAddress)> {
        let kernel = self.peers.get(&suspect)?.kernel;
        let (at, group, hardware) = kernel.answered?;
        let stands = at >= kernel.suspected_at
            && self.now.since(at) <= self.configuration.timing.detection();
        (stands && self.is_sole_witness(suspect)).then_some((group, hardware))
    }

    /// Asks the kernel of a suspect, when it is time.
    pub(super) fn ask_kernel(&mut self, suspect: NodeId) {
        let Some(peer) = self.peers.get(&suspect) else { return };
        let kernel = peer.kernel;
        if self.now.since(kernel.asked_at) < self.kernel_pause(peer)
            || !self.is_sole_witness(suspect)
        {
            return;
        }
        let groups = self.groups_to_ask(suspect, kernel.asked_last);
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&suspect) {
            peer.kernel.asked_at = now;
            peer.kernel.asked_last = groups.last().copied().unwrap_or(GroupKey(0));
        }
        for group in groups {
            self.ask(group);
        }
    }

    /// The next groups of a node that this one could ask about. Those that are to be taken whoever
    /// answers are not asked about.
    fn groups_to_ask(&self, suspect: NodeId, after: GroupKey) -> Vec<GroupKey> {
        let groups = self.claims.iter().filter(|claim| holder(claim) == Some(suspect));
        let known = groups.map(|claim| claim.group).filter(|group| {
            self.configuration.groups.get(group).is_some_and(|group| !group.force)
                && self.groups.get(group).is_some_and(|here| here.usable)
        });
        let mut known: Vec<GroupKey> = known.collect();
        let next = known.iter().position(|group| *group > after).unwrap_or(0);
        known.rotate_left(next);
        known.truncate(ASKED_AT_ONCE);
        known
    }

    /// Tells once that a peer is silent and not dead.
    pub(super) fn tell_answering_kernel(&mut self, suspect: NodeId) {
        let Some((group, hardware)) = self.answering_kernel(suspect) else { return };
        let Some(peer) = self.peers.get_mut(&suspect) else { return };
        if !std::mem::replace(&mut peer.kernel.told, true) {
            self.report(Report::KernelAnswers { peer: suspect, group, hardware });
        }
    }

    /// Between two questions: two before the detection time is over, so that one may get lost.
    fn kernel_pause(&self, peer: &super::peers::Peer) -> Duration {
        let heartbeat = self.configuration.timing.heartbeat;
        let over = self.now.since(peer.kernel.suspected_at) > heartbeat / 2;
        if over { heartbeat / 2 } else { heartbeat / 4 }
    }

    /// When a kernel must be asked again, or its last answer is too old.
    pub(super) fn kernel_deadline(&self) -> Instant {
        let silence = self.configuration.timing.detection();
        let suspects = self.peers.iter().filter(|(node, peer)| {
            peer.verdict == Verdict::Suspect && self.is_sole_witness(**node)
        });
        let deadline = |(_, peer): (&NodeId, &super::peers::Peer)| {
            let again = peer.kernel.asked_at + self.kernel_pause(peer);
            let ends = peer.kernel.answered.map(|(at, ..)| at + silence + Duration::from_nanos(1));
            again.min(ends.filter(|ends| *ends > self.now).unwrap_or(Instant::NEVER))
        };
        suspects.map(deadline).min().unwrap_or(Instant::NEVER)
    }
}
