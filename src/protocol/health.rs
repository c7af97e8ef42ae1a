//! Suspect yourself first: stalls, maturity, isolation.
//!
//! ```text
//!              enough heard            stalled for long
//!   Listening -------------> Active --------------------> Resuming
//!                             ^  ^ \                          |  all peers heard again,
//!                             |  |  \ all peers silent and    |  their claims known
//!                             |  |   \ nobody else answers    |
//!                             |  +----- Isolated              |
//!                             +-------------------------------+
//!   any -- stop --> Leaving -- nothing held --> Left
//! ```
//!
//! A node that did not run, for whatever reason, finds old datagrams in its queue and all its
//! peers "silent". It accuses nobody until it has listened for a full detection time, and after a
//! long stall it verifies what it owns before it announces or takes anything: the others may have
//! taken over meanwhile. A stall is a timer served late or, where the whole machine with its
//! clocks stood still, a jump of the clocks of the peers.

use std::time::Duration;

use super::node::Node;
use super::types::{Action, Heartbeat, Instant, NodeId, NodePhase, Reach, Report, Rule, Verdict};

/// The self-test: does anybody outside the cluster answer?
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReachTest {
    /// When a test was last asked for, if it has not ended.
    asked_at: Option<Instant>,
    /// Since when no test has ended.
    waiting_since: Option<Instant>,
    /// Until when this node trusts its network without an answer.
    believed_until: Instant,
    /// The last outcome and when it came.
    last: Option<(Instant, Reach)>,
}

/// What the self-test says now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReachState {
    /// Somebody answers.
    Works,
    /// There was never anybody who did.
    Unknown,
    /// Those who used to answer do not.
    Silent,
    /// Not known yet.
    Asked,
    /// Not known, and not asked.
    Unasked,
}

/// How many nodes this one was in touch with when it last lost one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Support {
    /// Itself included.
    pub(super) value: u16,
    /// Since when it has been in touch with more.
    rising_since: Option<Instant>,
}

impl Support {
    pub(super) const ALONE: Self = Self { value: 1, rising_since: None };
}

/// The lead of a peer's clock sinks by so many milliseconds with each heartbeat: faster than clocks
/// drift apart (0.1 %), and much slower than delays come and go.
const LEAD_SINKS: i64 = 1;
/// A test that has not ended after so many heartbeats is asked again.
const REACH_PATIENCE: u32 = 5;

impl Node {
    /// Notices from the deadline it asked for that this node has not run.
    pub(super) fn notice_stall(&mut self) {
        let late = self.env.now.since(self.promised);
        if late > self.env.configuration.timing.heartbeat {
            self.stalled(late);
        }
    }

    /// Gives every peer a full detection time to be heard again.
    fn credit_everybody(&mut self) {
        for peer in self.peers.values_mut() {
            peer.credit_until = self.env.now;
        }
    }

    fn stalled(&mut self, length: Duration) {
        self.report(Report::Stalled { length });
        self.heartbeat_due = self.env.now;
        if self.enforces(Rule::StallCredit) {
            self.credit_everybody();
        }
        self.reach = ReachTest::default();
        self.paths.excuse(self.env.now);
        self.kernel_work.excuse(self.env.now);
        // It was in touch with nobody: what others took meanwhile it does not dispute.
        self.support = Support::ALONE;
        let timing = &self.env.configuration.timing;
        let long = timing.heartbeat * u32::from(timing.misses)
            - timing.heartbeat.min(timing.detection() / 2) * 3 / 2;
        match self.phase {
            NodePhase::Active | NodePhase::Resuming | NodePhase::Isolated if length > long => {
                if self.enforces(Rule::VerifyAfterStall) {
                    self.resume();
                }
            }
            NodePhase::Listening => self.phase_since = self.env.now,
            // What is to be let go now still takes its time (seed 3407). Others may have taken it
            // meanwhile, and it goes in any case: it is not announced any more (seed 50415).
            NodePhase::Leaving => {
                self.leave_by = self.leave_by.max(self.env.now);
                if length > long {
                    self.announcements.stop_all();
                }
            }
            NodePhase::Active | NodePhase::Resuming | NodePhase::Isolated | NodePhase::Left => {}
        }
    }

    pub(super) fn resume(&mut self) {
        self.set_phase(NodePhase::Resuming);
        self.phase_since = self.env.now;
        for peer in self.peers.values_mut() {
            peer.heartbeat_at = None;
        }
        self.beat(true);
    }

    /// Compares the peer's clock with ours. Delay only makes it look behind, so its lead creeps
    /// up as delays shrink and jumps by what our clock has lost. What waited for this machine
    /// while it stood still comes all at once: then the lead does not creep, but has jumped.
    /// It sinks as clocks drift apart and as the peer's own stands still: a lead that is gone would
    /// hide as much of a stop of ours (seed 56490).
    pub(super) fn watch_clock(&mut self, from: NodeId, received_at: Instant, beat: &Heartbeat) {
        let ahead = i64::try_from(beat.clock_ms)
            .unwrap_or(i64::MAX)
            .saturating_sub(i64::try_from(received_at.as_millis()).unwrap_or(i64::MAX));
        let threshold = self.env.configuration.timing.heartbeat;
        let now = self.env.now;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let Some((before, at)) = peer.clock_ahead else {
            peer.clock_ahead = Some((ahead, received_at));
            return;
        };
        let creep = i64::try_from(received_at.since(at).as_millis() / 2).unwrap_or(i64::MAX);
        let jump = Duration::from_millis(u64::try_from(ahead.saturating_sub(before)).unwrap_or(0));
        if jump <= threshold {
            let most = before.saturating_add(creep);
            let least = before.saturating_sub(LEAD_SINKS);
            peer.clock_ahead = Some((ahead.clamp(least, most), received_at));
            return;
        }
        peer.clock_ahead = Some((ahead, received_at));
        peer.clock_jump = Some((now, jump));
        // One clock is enough to doubt the leases: asking again costs a round trip.
        self.quorum.forget(now);
        // And to doubt that it was in touch with those whom it has not heard since (seed 21068).
        if self.enforces(Rule::JumpEndsSupport) {
            self.support = Support::ALONE;
        }
        let recent = |jump: &(Instant, Duration)| now.since(jump.0) <= threshold * 2;
        let jumps = self.peers.values().filter_map(|peer| peer.clock_jump.filter(recent));
        let (count, least) = jumps
            .fold((0, Duration::MAX), |(count, least), (_, jump)| (count + 1, least.min(jump)));
        let alive = self.peers.values().filter(|peer| peer.verdict == Verdict::Up).count();
        let needed = if alive < 3 { alive } else { alive.div_ceil(2) };
        if count >= needed.max(1) && self.enforces(Rule::ClockJump) {
            for peer in self.peers.values_mut() {
                peer.clock_jump = None;
                peer.clock_ahead = None;
            }
            self.stalled(least);
        }
    }

    /// How long the kernel may go on to answer for this node's addresses without hearing from it
    /// again; `None` while it is not sure that they are still its own. Called by the daemon after
    /// each step.
    #[must_use]
    pub fn lease(&self) -> Option<Duration> {
        (self.phase != NodePhase::Resuming)
            .then(|| self.timing_to_peers().lease().min(self.env.configuration.timing.lease()))
    }

    /// Moves on from the phases that end by themselves.
    pub(super) fn revise_phase(&mut self) {
        match self.phase {
            NodePhase::Listening => self.mature(),
            NodePhase::Resuming => self.verify(),
            NodePhase::Isolated => self.reconnect(),
            NodePhase::Active | NodePhase::Leaving | NodePhase::Left => {}
        }
        if self.stopping && self.phase != NodePhase::Resuming {
            self.stopping = false;
            self.leave();
        }
    }

    fn mature(&mut self) {
        let timing = self.env.configuration.timing;
        let age = self.env.now.since(self.phase_since);
        if self.peers.is_empty() || !self.enforces(Rule::Maturity) {
            self.activate();
            return;
        }
        let mut heard = self.peers.iter().filter(|(_, peer)| peer.alive()).peekable();
        if heard.peek().is_some() {
            let known = heard
                .all(|(node, peer)| peer.heartbeat_at.is_some() && self.claims.is_complete(*node));
            if (known && age >= timing.maturity_min) || age >= timing.maturity_max {
                self.activate();
            }
        } else if age >= timing.solo_wait || !self.enforces(Rule::SoloWait) {
            if age >= timing.maturity_max {
                self.activate();
            }
        } else if age >= timing.maturity_max {
            self.test_reach();
            if matches!(self.reach.last, Some((_, Reach::Answered))) {
                self.activate();
            }
        }
    }

    /// Resuming ends when every peer that lived has been heard since and its claims are known, or
    /// when some have and time is up. When none has for a detection time this node may be the one
    /// that hears nothing: isolation ends by a test.
    fn verify(&mut self) {
        let timing = self.env.configuration.timing;
        let age = self.env.now.since(self.phase_since);
        let since = self.phase_since;
        let answered = |(node, peer): (&NodeId, &super::peers::Peer)| {
            peer.heartbeat_at.is_some_and(|at| at >= since) && self.claims.is_complete(*node)
        };
        let alive = || self.peers.iter().filter(|(_, peer)| peer.alive());
        let alone = alive().next().is_none();
        let done = alive().all(answered) && !alone;
        let enough = age >= timing.heartbeat * 2 && alive().any(answered);
        let over = age >= timing.detection();
        if done || enough || (over && alone) || self.peers.is_empty() {
            self.activate();
            // Of who knows that nobody else has taken anything nobody has to be told again.
            if !(std::mem::take(&mut self.quiet) && done) {
                self.announce_everything();
            }
        } else if over {
            self.quiet = false;
            self.set_phase(NodePhase::Isolated);
        }
    }

    /// Isolation ends when a peer is heard again, or somebody else answers.
    fn reconnect(&mut self) {
        let since = self.phase_since;
        let heard = |peer: &super::peers::Peer| peer.heard_at.max(peer.relayed_at) > Some(since);
        if self.peers.values().any(|peer| peer.alive() && heard(peer)) {
            self.resume();
            return;
        }
        let state = self.reach_state();
        let waited = self.env.now.since(since) >= self.env.configuration.timing.solo_wait;
        let several = self.peers.values().filter(|peer| peer.alive()).count() > 1;
        match state {
            ReachState::Unknown if several && !waited => self.test_reach(),
            ReachState::Works | ReachState::Unknown => {
                if state == ReachState::Works {
                    // Its peers will be heard again too, if they are there.
                    self.credit_everybody();
                }
                // Having waited is as good as an answer for the verdicts that follow.
                self.reach.believed_until =
                    self.env.now + self.env.configuration.timing.detection();
                self.activate();
                self.announce_everything();
            }
            ReachState::Silent | ReachState::Asked | ReachState::Unasked => self.test_reach(),
        }
    }

    fn activate(&mut self) {
        self.set_phase(NodePhase::Active);
        self.active_since = self.env.now;
        self.evaluate = true;
        self.heirs_due = self.heirs_due.min(self.env.now + self.env.configuration.timing.heartbeat);
    }

    /// Changes the phase; peers are told at once.
    pub(super) fn set_phase(&mut self, phase: NodePhase) {
        let from = self.phase;
        if from == phase {
            return;
        }
        self.phase = phase;
        self.phase_since = self.env.now;
        self.evaluate = true;
        self.report(Report::PhaseChanged { from, to: phase });
        self.beat(false);
    }

    /// Asks whether anybody outside the cluster answers, unless just asked.
    pub(super) fn test_reach(&mut self) {
        let heartbeat = self.env.configuration.timing.heartbeat;
        let asked = self
            .reach
            .asked_at
            .is_some_and(|at| self.env.now.since(at) < heartbeat * REACH_PATIENCE);
        let fresh = self.reach.last.is_some_and(|(at, _)| self.env.now.since(at) < heartbeat);
        if !asked && !fresh {
            self.reach.asked_at = Some(self.env.now);
            self.reach.waiting_since.get_or_insert(self.env.now);
            self.env.actions.push(Action::TestReach);
        }
    }

    /// Takes in the outcome of a self-test.
    pub(super) fn reached(&mut self, reach: Reach) {
        self.reach = ReachTest {
            asked_at: None,
            waiting_since: None,
            last: Some((self.env.now, reach)),
            ..self.reach
        };
    }

    /// What the self-test says; an outcome is good for one detection time. One from before the
    /// peers fell silent says nothing about the silence: they do within one heartbeat of each
    /// other.
    pub(super) fn reach_state(&self) -> ReachState {
        let timing = &self.env.configuration.timing;
        let silent = self.peers.values().filter_map(|peer| peer.heard_at).max();
        let silent = silent.map_or(Instant::START, |last| last + timing.heartbeat);
        let stands = |at: Instant| at > silent && self.env.now.since(at) <= timing.detection();
        match self.reach.last {
            _ if self.env.now < self.reach.believed_until => ReachState::Works,
            Some((at, reach)) if stands(at) => match reach {
                Reach::Answered => ReachState::Works,
                Reach::NobodyToAsk => ReachState::Unknown,
                Reach::Silent => ReachState::Silent,
            },
            Some(_) | None if self.never_told() => ReachState::Unknown,
            Some(_) | None if self.reach.asked_at.is_some() => ReachState::Asked,
            Some(_) | None => ReachState::Unasked,
        }
    }

    /// Whether tests have been asked for in vain: the kernel side is stuck, and a survivor must
    /// not wait for it.
    fn never_told(&self) -> bool {
        let patience = self.env.configuration.timing.heartbeat * REACH_PATIENCE * 2;
        self.reach.waiting_since.is_some_and(|since| self.env.now.since(since) > patience)
    }

    /// Follows the number of nodes in touch: down at once, up when it has held for a while, so
    /// that a conflict after a split is decided by the sides as they were.
    pub(super) fn revise_support(&mut self) {
        let hold = self.env.configuration.timing.heartbeat * SUPPORT_HOLD;
        let current = self.in_touch() + 1;
        let held = self.enforces(Rule::SupportHeld);
        if current <= self.support.value {
            self.support = Support { value: current, rising_since: None };
            return;
        }
        let since = *self.support.rising_since.get_or_insert(self.env.now);
        if !held || self.env.now.since(since) >= hold {
            self.support = Support { value: current, rising_since: None };
        }
    }

    /// When a phase may end by time alone.
    pub(super) fn phase_deadline(&self) -> Instant {
        let timing = &self.env.configuration.timing;
        let since = self.phase_since;
        match self.phase {
            NodePhase::Listening => [timing.maturity_min, timing.maturity_max, timing.solo_wait]
                .into_iter()
                .map(|length| since + length)
                .find(|due| *due > self.env.now)
                .unwrap_or(Instant::NEVER),
            NodePhase::Resuming => [timing.heartbeat * 2, timing.detection()]
                .into_iter()
                .map(|length| since + length)
                .find(|due| *due > self.env.now)
                .unwrap_or(Instant::NEVER),
            NodePhase::Isolated | NodePhase::Active | NodePhase::Leaving | NodePhase::Left => {
                Instant::NEVER
            }
        }
    }
}

/// Heartbeats for which a gain must hold before it counts as support.
const SUPPORT_HOLD: u32 = 10;
