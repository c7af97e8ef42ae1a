//! Profile `auto` in a node: what is measured, whose proposals count, and what follows from a change.
//!
//! The rule is that of `adaptive_timing`. A level comes into force as a reload with the profile of
//! these numbers would: `Configuration::timing` is replaced, and everything else reads that.

use std::time::Duration;

use super::adaptive_timing::{AdaptiveTiming, Surroundings};
use super::node::Node;
use super::types::{
    Incarnation, Instant, Memory, Message, NodeId, NodePhase, Report, Rule, Timing, TimingLevel,
    TimingProposal, TimingReason, TimingStatus, Verdict,
};

impl Node {
    /// Returns what is in force and why, for people; `None` with a fixed profile.
    #[must_use]
    pub fn timing_status(&self, now: Instant) -> Option<TimingStatus> {
        let rule = self.adaptive_timing.as_ref()?;
        let (held_by, proposal) = self.timing_held_by(rule);
        Some(TimingStatus {
            timing: self.env.configuration.timing,
            held_by,
            proposal,
            faster_in: rule.faster_in(now, self.datagrams()),
        })
    }

    /// Begins, goes on or ends with the rule as a configuration that was just read says. It begins with
    /// the level that is as slow as the timing before.
    pub(super) fn adapt(&mut self, before: TimingLevel) {
        if !self.env.configuration.adaptive {
            self.adaptive_timing = None;
            return;
        }
        let begun = || AdaptiveTiming::new(self.env.now, (before, before));
        let rule = self.adaptive_timing.take().unwrap_or_else(begun);
        self.env.configuration.timing = rule.level().applied_to(self.env.configuration.timing);
        self.adaptive_timing = Some(rule);
    }

    /// Goes on with the levels of the process before.
    pub(super) fn recall_timing(&mut self, memory: &Memory) {
        if let Some(levels) = memory.timing.filter(|_| self.env.configuration.adaptive) {
            self.env.configuration.timing = memory.timing_in_force(&self.env.configuration);
            self.adaptive_timing = Some(AdaptiveTiming::new(self.env.now, levels));
        }
    }

    /// Returns the levels for the next process.
    pub(super) fn timing_memory(&self) -> Option<(TimingLevel, TimingLevel)> {
        self.adaptive_timing.as_ref().map(|rule| (rule.level(), rule.proposal().level))
    }

    /// Returns what this node says to a peer of its choice.
    pub(super) fn timing_proposal(&self) -> Option<TimingProposal> {
        self.adaptive_timing.as_ref().map(AdaptiveTiming::proposal)
    }

    /// Measures how late this node runs. To be called first in each step. A start takes its time.
    pub(super) fn measure_loop(&mut self) {
        let late = self.env.now.since(self.promised);
        let starts = matches!(self.phase, NodePhase::Listening | NodePhase::Resuming);
        if !starts
            && self.enforces(Rule::LatenessCounts)
            && let Some(rule) = &mut self.adaptive_timing
        {
            rule.note_loop(self.env.now, late);
        }
    }

    /// Measures how late a peer is heard. To be called before its datagram counts.
    pub(super) fn measure_spacing(
        &mut self,
        (from, incarnation): (NodeId, Incarnation),
        received_at: Instant,
        message: &Message,
    ) {
        if self.adaptive_timing.is_none() || !self.enforces(Rule::LatenessCounts) {
            return;
        }
        let Some(peer) = self.peers.get(&from) else { return };
        let active = peer.said.phase == Some(NodePhase::Active);
        let known = peer.incarnation == Some(incarnation) && peer.verdict != Verdict::Left;
        let Some(heard_at) = peer.heard_at.filter(|_| known && active) else { return };
        // A node that resumes has measured itself; one that was restarted in place was not late.
        if let Message::Heartbeat(beat) = message
            && matches!(beat.phase, NodePhase::Left | NodePhase::Resuming)
        {
            return;
        }
        // Of a datagram that got lost here a peer tells that it heard it: that counts in `judge` as well.
        let sign = peer.relayed_at.map_or(heard_at, |relayed_at| relayed_at.max(heard_at));
        let silence = received_at.min(self.env.now).since(sign.max(peer.credit_until));
        let late = silence.saturating_sub(peer.said.interval);
        if let Some(rule) = &mut self.adaptive_timing {
            rule.note_spacing(self.env.now, late);
        }
    }

    /// Follows the proposals of all. To be called in each step, before heartbeats are sent.
    pub(super) fn revise_timing(&mut self) {
        let Some(mut rule) = self.adaptive_timing.take() else { return };
        let before = rule.level();
        let around = Surroundings {
            datagrams: self.datagrams(),
            quiet: self.is_quiet(),
            slowest: self.proposals().map(|(_, proposal)| proposal.level).max(),
            slowest_counts: self.enforces(Rule::SlowestTimingCounts),
            tightens_slowly: self.enforces(Rule::TimingTightensSlowly),
            worst_kept: self.enforces(Rule::WorstLatenessKept),
            outages_excused: self.enforces(Rule::FirstOutageExcused),
        };
        let changes = rule.revise(self.env.now, around);
        if changes.slower {
            self.heartbeat_due = self.env.now;
        }
        let changed = before != rule.level();
        if changed {
            let timing = self.env.configuration.timing;
            self.env.configuration.timing = rule.level().applied_to(timing);
            let next = self.env.now + rule.level().timing().heartbeat;
            self.heartbeat_due = self.heartbeat_due.min(next);
            let (held_by, proposal) = self.timing_held_by(&rule);
            let (from, to) = (before, rule.level());
            self.report(Report::TimingChanged { from, to, held_by, proposal });
        }
        self.adaptive_timing = Some(rule);
    }

    /// Returns the time from one heartbeat to the next.
    pub(super) fn beat_interval(&self) -> Duration {
        self.timing_to_peers().heartbeat
    }

    /// Returns the timing that all peers know of: what is in force, or what was until a moment ago.
    pub(super) fn timing_to_peers(&self) -> Timing {
        let timing = self.env.configuration.timing;
        let rule = self.adaptive_timing.as_ref().filter(|_| self.enforces(Rule::FormerHeartbeats));
        rule.and_then(|rule| rule.former(self.env.now))
            .map_or(timing, |former| former.applied_to(timing))
    }

    /// What each living peer proposes.
    fn proposals(&self) -> impl Iterator<Item = (NodeId, TimingProposal)> {
        let living =
            self.peers.iter().filter(|(_, peer)| peer.alive() && peer.said.phase.is_some());
        living.map(|(node, peer)| {
            let said = &peer.said;
            let fixed = || TimingProposal {
                level: TimingLevel::of(said.interval, said.misses),
                reason: TimingReason::Fixed,
                lateness: Duration::ZERO,
            };
            (*node, said.timing.unwrap_or_else(fixed))
        })
    }

    fn timing_held_by(&self, rule: &AdaptiveTiming) -> (NodeId, TimingProposal) {
        rule.held_by(self.env.configuration.me, self.proposals())
    }

    /// Datagrams that each heartbeat takes.
    fn datagrams(&self) -> usize {
        self.peers.len() * usize::from(self.env.configuration.paths.max(1))
    }

    /// Whether nothing is suspected, and no takeover is going on.
    fn is_quiet(&self) -> bool {
        let suspected = |verdict| matches!(verdict, Verdict::Suspect | Verdict::Indirect);
        self.phase == NodePhase::Active
            && self.contests.is_empty()
            && self.takes_due == Instant::NEVER
            && !self.peers.values().any(|peer| suspected(peer.verdict))
    }
}
