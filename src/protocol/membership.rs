//! Who lives. Failure is detected by silence, and silence is corroborated before it counts.
//!
//! ```text
//!            silence > T - h/2             silence > T, nobody else hears it
//!   Up ----------------------> Suspect ------------------------------------> Dead
//!    ^ \   a peer hears it        | ^                                          |
//!    |  +------------------> Indirect                                          |
//!    +------------------------------+------------------------------------------+
//!                                heard again                   Left: it said good-bye
//! ```
//!
//! `T` is the detection time, `h` the heartbeat interval. From `Suspect` on, the peer and all who
//! may hear it are solicited: they answer with a heartbeat at once, so that the evidence is there
//! when `T` ends and a single lost datagram accuses nobody. The peer alone is solicited as soon as a
//! heartbeat of it is overdue by `h/2`: where a third of all datagrams gets lost, three heartbeats in
//! a row do so every few seconds. Silence of everybody at once is more likely an own fault: see
//! `health`.

use std::time::Duration;

use super::health::ReachState;
use super::node::Node;
use super::types::{
    Heard, Heartbeat, Incarnation, Instant, NodeId, NodePhase, Report, Rule, Verdict,
};

/// Heartbeats that say good-bye: one may be lost.
pub(super) const FAREWELLS: u8 = 3;

impl Node {
    /// Takes in that a datagram of a peer has come, whatever it says.
    pub(super) fn hear(&mut self, from: NodeId, incarnation: Incarnation, received_at: Instant) {
        let now = self.env.now;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if peer.incarnation != Some(incarnation) {
            self.meet(from, incarnation);
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if peer.incarnation_low != Some(low(incarnation)) {
            // A witness that had missed its restart told of its former life while it was silent.
            peer.incarnation_low = Some(low(incarnation));
            peer.relayed_at = None;
            self.evaluate = true;
        }
        let received_at = received_at.min(now);
        if peer.heard_at.is_none_or(|heard_at| heard_at < received_at) {
            peer.heard_at = Some(received_at);
        }
    }

    /// A new life of a peer: what the old one said is void, but its claims stay.
    fn meet(&mut self, from: NodeId, incarnation: Incarnation) {
        let now = self.env.now;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let known = peer.incarnation.is_some();
        peer.incarnation = Some(incarnation);
        peer.incarnation_low = Some(low(incarnation));
        peer.heard_at = None;
        peer.relayed_at = None;
        peer.hears.clear();
        peer.clock_ahead = None;
        peer.clock_said = 0;
        self.claims.begin_life(from);
        peer.said.phase = None;
        peer.up_since = now;
        peer.unable.clear();
        peer.errands = super::orders::ErrandsIn::default();
        self.paths.forget(from);
        if known {
            // A restart after a good-bye was planned, and one after a death is the same fall.
            if !matches!(peer.verdict, Verdict::Left | Verdict::Dead) {
                peer.flapped(now);
            }
            self.report(Report::PeerRestarted { peer: from });
        }
        if peer_left(self.verdict(from)) {
            self.set_verdict(from, Verdict::Unknown, Duration::ZERO);
        }
        self.restart_log(from);
        self.evaluate = true;
    }

    /// Takes in a heartbeat.
    pub(super) fn on_heartbeat(&mut self, from: NodeId, received_at: Instant, beat: Heartbeat) {
        let received_at = received_at.min(self.env.now);
        let within = self.env.configuration.timing.detection();
        if beat.phase == NodePhase::Left {
            // Nothing else of it matters; it may have been sealed long ago, for this day.
            self.set_verdict(from, Verdict::Left, Duration::ZERO);
            self.release_promises(from);
            return;
        }
        self.watch_clock(from, received_at, &beat);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if peer.heartbeat_at.is_some_and(|at| at > received_at) || beat.clock_ms < peer.clock_said {
            // Overtaken on the way: what it says was true once.
            return;
        }
        peer.clock_said = beat.clock_ms;
        peer.heartbeat_at = Some(received_at);
        if beat.phase == NodePhase::Isolated {
            self.evaluate = true;
        } else if peer.said.phase == Some(NodePhase::Isolated) {
            // It may have spoken for what was taken from it.
            peer.returning = true;
        }
        let moved = !beat.hardware.is_empty() && peer.hardware != beat.hardware;
        if moved {
            peer.hardware.clone_from(&beat.hardware);
        }
        if peer.listen(&beat) {
            self.evaluate = true;
            self.heirs_due =
                self.heirs_due.min(self.env.now + self.env.configuration.timing.heartbeat);
        }
        let trusted = matches!(beat.phase, NodePhase::Active | NodePhase::Leaving);
        let mut hears = std::collections::BTreeMap::new();
        for line in &beat.heard {
            hears.insert(line.node, (line.incarnation_low, received_at.before(line.age)));
        }
        let lost = |node: &NodeId, at: &Instant, peer: &super::peers::Peer| {
            received_at.since(*at) > within && peer.hears(*node, None, within)
        };
        let lost_some = hears.iter().any(|(node, (_, at))| lost(node, at, peer));
        peer.hears = hears;
        self.claims.aim(from, beat.log);
        if trusted {
            self.corroborate(from, &beat.heard, received_at);
        }
        if lost_some && self.enforces(Rule::Relay) {
            self.restart_log(from);
        }
        self.learn_name(from, beat.name);
        if let Some(order) = &beat.standing_order {
            self.learn_standing(from, order);
        }
        if moved {
            self.recognise(&beat.hardware);
        }
        self.hear_checks(from, &beat.fitness);
        self.hear_inabilities(from, &beat.unable);
        self.paths.reported(from, beat.paths);
        self.learn_what_is_claimed(from);
        self.acknowledged(from, beat.acknowledged);
        if beat.solicit {
            self.answer_solicitation(from);
        }
    }

    /// Learns from a live peer's table when others were last heard.
    fn corroborate(&mut self, witness: NodeId, heard: &[Heard], received_at: Instant) {
        if !self.enforces(Rule::Corroboration) {
            return;
        }
        let detection = self.env.configuration.timing.detection();
        for line in heard.iter().filter(|line| line.node != witness) {
            let at = received_at.before(line.age);
            if line.age <= detection {
                self.enrol(line.node);
            }
            let Some(peer) = self.peers.get_mut(&line.node) else { continue };
            if peer.incarnation_low != Some(line.incarnation_low) {
                // Another life: believed only where our own ears have been deaf to it for long.
                let deaf = peer.heard_at.is_none_or(|heard| at.since(heard) > detection);
                if !deaf || line.age > detection || peer.verdict == Verdict::Left {
                    continue;
                }
                peer.incarnation_low = Some(line.incarnation_low);
                peer.relayed_at = None;
                self.evaluate = true;
            }
            if let Some(peer) = self.peers.get_mut(&line.node)
                && peer.relayed_at.is_none_or(|relayed_at| relayed_at < at)
            {
                peer.relayed_at = Some(at);
            }
        }
    }

    fn answer_solicitation(&mut self, from: NodeId) {
        let pause = self.env.configuration.timing.retry / 4;
        let now = self.env.now;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if now.since(peer.answered_at) < pause {
            return;
        }
        peer.answered_at = now;
        self.send_heartbeat(from, false);
        self.resend_log(from);
    }

    /// Revises the verdict on every peer and solicits where silence is suspicious.
    pub(super) fn judge(&mut self) {
        self.solicit_overdue();
        let peers: Vec<NodeId> = self.peers.keys().copied().collect();
        let mut suspects = Vec::new();
        for node in &peers {
            let (verdict, silence) = self.opinion(*node);
            if verdict == Verdict::Suspect || verdict == Verdict::Dead {
                suspects.push((*node, verdict, silence));
            } else {
                self.set_verdict(*node, verdict, silence);
            }
        }
        for (node, verdict, silence) in suspects {
            let was_alive = self.peers.get(&node).is_some_and(super::peers::Peer::alive);
            if !was_alive && verdict == Verdict::Dead {
                continue;
            }
            let alone = !self.hears_others(node);
            let answers = verdict == Verdict::Dead && self.answering_kernel(node).is_some();
            if answers {
                self.tell_answering_kernel(node);
            }
            let may_accuse = verdict == Verdict::Dead && !answers && self.may_accuse(alone);
            let verdict = if may_accuse { Verdict::Dead } else { Verdict::Suspect };
            self.set_verdict(node, verdict, silence);
            self.kernel_stands_in(node, answers);
            if verdict == Verdict::Suspect {
                self.solicit(node);
                self.ask_kernel(node);
                if alone {
                    self.test_reach();
                }
            }
        }
    }

    /// Whether anybody has been heard well after the suspect was: if not, the silence may be of
    /// our own ears. The peers of a node that goes deaf fall silent within one heartbeat, and a
    /// half for those that were late.
    fn hears_others(&self, suspect: NodeId) -> bool {
        let last = |peer: &super::peers::Peer| peer.heard_at.max(peer.relayed_at);
        let Some(silent_since) = self.peers.get(&suspect).and_then(last) else { return false };
        let after = silent_since + self.env.configuration.timing.heartbeat * 3 / 2;
        let others = self.peers.iter().filter(|(node, _)| **node != suspect);
        others.filter_map(|(_, peer)| peer.heard_at).any(|heard_at| heard_at > after)
    }

    /// Whether this node may call a silent peer dead, given whether it hears nobody else.
    fn may_accuse(&mut self, alone: bool) -> bool {
        if self.phase == NodePhase::Active && alone && self.enforces(Rule::SelfTest) {
            // One peer that falls silent is likely dead; several at once are likely cut off.
            let several = self.peers.values().filter(|peer| peer.alive()).count() > 1;
            return match self.reach_state() {
                ReachState::Works => true,
                ReachState::Unknown if !several => true,
                ReachState::Asked | ReachState::Unasked => false,
                ReachState::Silent | ReachState::Unknown => {
                    self.set_phase(NodePhase::Isolated);
                    false
                }
            };
        }
        matches!(self.phase, NodePhase::Active | NodePhase::Leaving | NodePhase::Left)
    }

    /// What the silence of a peer looks like, before this node doubts itself.
    fn opinion(&self, node: NodeId) -> (Verdict, Duration) {
        let Some(peer) = self.peers.get(&node) else { return (Verdict::Unknown, Duration::ZERO) };
        if peer.verdict == Verdict::Left {
            return (Verdict::Left, Duration::ZERO);
        }
        let Some(freshest) = peer.heard_at.max(peer.relayed_at) else {
            return (peer.verdict, Duration::ZERO);
        };
        let detection = peer.detection(self.env.configuration.timing.detection());
        let silence = self.env.now.since(freshest);
        if peer.verdict == Verdict::Dead && silence > detection {
            return (Verdict::Dead, silence);
        }
        let counted = self.env.now.since(freshest.max(peer.credit_until));
        let verdict = if counted > detection {
            Verdict::Dead
        } else if counted > detection.saturating_sub(self.suspicion()) {
            Verdict::Suspect
        } else if self.env.now.since(peer.heard_at.unwrap_or(Instant::START).max(peer.credit_until))
            <= detection
        {
            Verdict::Up
        } else {
            Verdict::Indirect
        };
        (verdict, silence)
    }

    /// How long before its death a silent peer is suspected.
    fn suspicion(&self) -> Duration {
        self.env.configuration.timing.heartbeat / 2
    }

    /// When the verdict on some peer may change next by silence alone.
    pub(super) fn verdict_deadline(&self) -> Instant {
        let ours = self.env.configuration.timing.detection();
        let deadline = |peer: &super::peers::Peer| {
            let freshest = peer.heard_at.max(peer.relayed_at)?.max(peer.credit_until);
            let direct = peer.heard_at.unwrap_or(Instant::START).max(peer.credit_until);
            let detection = peer.detection(ours);
            let after = Duration::from_nanos(1);
            let suspected = freshest + detection.saturating_sub(self.suspicion()) + after;
            match peer.verdict {
                Verdict::Up => {
                    Some(suspected.min(direct + detection + after).min(self.overdue_at(peer)))
                }
                Verdict::Indirect => Some(suspected.min(self.overdue_at(peer))),
                Verdict::Suspect => {
                    let death = freshest + detection + after;
                    let again = peer.solicited_at + self.pause(peer);
                    Some(if death > self.env.now { death.min(again) } else { again })
                }
                Verdict::Unknown | Verdict::Dead | Verdict::Left => None,
            }
        };
        self.peers.values().filter_map(deadline).min().unwrap_or(Instant::NEVER)
    }

    /// Between two solicitations of a suspect: short until its time is over.
    fn pause(&self, peer: &super::peers::Peer) -> Duration {
        let timing = &self.env.configuration.timing;
        let heard = peer.heard_at.max(peer.relayed_at).unwrap_or(Instant::START);
        let over =
            self.env.now.since(heard.max(peer.credit_until)) > peer.detection(timing.detection());
        if over { timing.heartbeat } else { timing.retry }
    }

    /// When a peer that is not suspected is to be asked for a sign of life, again or for the first
    /// time.
    fn overdue_at(&self, peer: &super::peers::Peer) -> Instant {
        let timing = &self.env.configuration.timing;
        let living = matches!(peer.verdict, Verdict::Up | Verdict::Indirect);
        // With a second path a heartbeat is lost only if both its copies are.
        let asks = self.phase == NodePhase::Active
            && self.env.configuration.paths < 2
            && self.enforces(Rule::Solicitation);
        let Some(heard) = peer.heard_at.max(peer.relayed_at).filter(|_| living && asks) else {
            return Instant::NEVER;
        };
        let interval = timing.heartbeat.max(peer.said.interval);
        let overdue = heard.max(peer.credit_until) + interval * 3 / 2 + Duration::from_nanos(1);
        overdue.max(peer.solicited_at + timing.retry / 2)
    }

    /// Asks peers whose heartbeats are overdue for a sign of life.
    fn solicit_overdue(&mut self) {
        let now = self.env.now;
        let overdue = self.peers.iter().filter(|(_, peer)| self.overdue_at(peer) <= now);
        let overdue: Vec<NodeId> = overdue.map(|(node, _)| *node).collect();
        for node in &overdue {
            if let Some(peer) = self.peers.get_mut(node) {
                peer.solicited_at = now;
            }
            if overdue.len() <= OVERDUE_MAX {
                self.send_heartbeat(*node, true);
            }
        }
    }

    /// Asks the suspect and all who may hear it for a sign of life.
    fn solicit(&mut self, suspect: NodeId) {
        let now = self.env.now;
        let pause = self.peers.get(&suspect).map_or(Duration::ZERO, |peer| self.pause(peer));
        let Some(peer) = self.peers.get_mut(&suspect) else { return };
        if now.since(peer.solicited_at) < pause {
            return;
        }
        peer.solicited_at = now;
        if !self.enforces(Rule::Solicitation) {
            return;
        }
        self.send_heartbeat(suspect, true);
        let witnesses: Vec<NodeId> = self
            .peers
            .iter()
            .filter(|(node, peer)| **node != suspect && peer.verdict == Verdict::Up)
            .map(|(node, _)| *node)
            .take(WITNESSES_MAX)
            .collect();
        for witness in witnesses {
            self.send_heartbeat(witness, true);
        }
    }

    fn set_verdict(&mut self, node: NodeId, verdict: Verdict, silence: Duration) {
        let now = self.env.now;
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let from = peer.verdict;
        if from == verdict {
            return;
        }
        peer.verdict = verdict;
        peer.kernel.judged(now, verdict);
        let rose =
            !matches!(from, Verdict::Up | Verdict::Suspect | Verdict::Indirect) && peer.alive();
        if rose {
            peer.up_since = now;
            peer.awaited_since = Some(now);
            peer.returning = from == Verdict::Dead;
            self.claims.hasten(node);
        }
        if verdict == Verdict::Dead {
            peer.flapped(now);
        }
        if rose {
            self.send_heartbeat(node, false);
        }
        self.evaluate = true;
        self.heirs_due = self.heirs_due.min(now + self.env.configuration.timing.heartbeat);
        self.report(Report::PeerChanged { peer: node, from, to: verdict, silence });
    }

    /// What this node thinks of a peer; `Up` of itself.
    pub(super) fn verdict(&self, node: NodeId) -> Verdict {
        if node == self.env.configuration.me {
            return Verdict::Up;
        }
        self.peers.get(&node).map_or(Verdict::Unknown, |peer| peer.verdict)
    }
}

/// Peers asked about a suspect: enough for one of them to hear it, few enough for 64 nodes.
const WITNESSES_MAX: usize = 4;

/// With more peers overdue at once it is likely that this host is late, and asking all of them would
/// make that worse.
const OVERDUE_MAX: usize = 4;

/// Low half of an incarnation.
pub(super) fn low(incarnation: Incarnation) -> u32 {
    u32::try_from(incarnation.0 & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

const fn peer_left(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Left)
}
