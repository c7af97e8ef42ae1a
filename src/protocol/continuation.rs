//! A restart in place: one process of a node ends, and the next goes on with its life.
//!
//! ```text
//!   first process                                     second process
//!   Active -- Rest --> heartbeat, Memory   (silence)  fits? -- go_on --> Resuming --> Active
//!                      addresses stay; the kernel answers for what is left of the lease
//! ```
//!
//! To everybody else this is a stall and nothing more: the same life, the same epochs, the same
//! addresses, and silence for as long as a start takes. So nobody has to know of it, older
//! software included, and what keeps a node that has stood still from being a second owner keeps
//! this one too: it comes back as `Resuming`, vouches for nothing, takes nothing and announces
//! nothing until its peers have told what they know (see `health`). Whoever has taken a group
//! meanwhile has a later claim, and this node gives way.
//!
//! With groups in mode majority the node first asks every voter once more, so that the leases that it
//! leaves are fresh. They end when they would have ended: the next process has its wishes by the same
//! numbers, and asks for more at once. As a voter the node grants nothing from then on, and leaves
//! its promises ([`Node::recall_promises`]).
//!
//! A node that is not at rest (a group on its way, a contest, an offer), that is not sure of
//! itself, that knows of a conflicting host, or that is not granted leases that last for long enough leaves
//! in the ordinary way instead: the next process would take what the conflicting host has (seed 1872). A
//! memory that does not fit is of no use, and the next process begins a new life.

use super::announcements::jittered;
use super::group::Holding;
use super::membership::low;
use super::node::Node;
use super::types::{
    Acquaintance, Action, Configuration, Group, Instant, Memory, NodeId, NodePhase, Obstacle,
    Report, Verdict,
};

impl Node {
    /// Goes on with the life of a process that has rested. The memory fits.
    #[must_use]
    pub fn go_on(now: Instant, configuration: Configuration, memory: &Memory) -> Self {
        let incarnation = memory.incarnation;
        let mut node = Self::new(now, Configuration { incarnation, ..configuration });
        node.recall_timing(memory);
        for (claim, since) in &memory.claims {
            node.claims.recall(*since, *claim);
        }
        for (peer, known) in &memory.peers {
            node.enrol(*peer);
            node.recall(*peer, known);
        }
        for ((group, ticket), epoch) in memory.tickets().zip(memory.held.values()) {
            let addresses =
                node.env.configuration.groups.get(&group).map_or(1, Group::address_count);
            let wanted = node.env.configuration.groups.get(&group);
            let further =
                wanted.map(|it| it.further().iter().copied().collect()).unwrap_or_default();
            let Some(here) = node.groups.get_mut(&group) else { continue };
            here.holding = Holding::Held { ticket, epoch: *epoch };
            here.further.admitted = further;
            // Whoever had to be told was told in the process before.
            here.tickled = *epoch;
            let since = node.claims.entry(group).map_or(memory.at, |entry| entry.since);
            here.conflict.recall_taking(memory.taken.get(&group).copied().unwrap_or(since));
            node.last_ticket = ticket.0;
            let wait =
                jittered(node.env.configuration.timing.announce_refresh, &mut node.env.random);
            node.announcements.keep((now, group), addresses, wait);
        }
        node.checks_say = memory.fitness.iter().copied().collect();
        node.revise_fitness();
        node.last_token = memory.last_token;
        node.recall_leases(memory);
        let groups = u16::try_from(memory.held.len()).unwrap_or(u16::MAX);
        node.report(Report::WentOn { groups, after: now.since(memory.at) });
        node.quiet = true;
        node.resume();
        node
    }

    fn recall(&mut self, node: NodeId, known: &Acquaintance) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.incarnation = Some(known.incarnation);
        peer.incarnation_low = Some(low(known.incarnation));
        self.claims.recall_logs(node, known.stream, known.have);
        peer.verdict = match known.verdict {
            Verdict::Up | Verdict::Suspect | Verdict::Indirect => Verdict::Up,
            Verdict::Unknown | Verdict::Dead | Verdict::Left => known.verdict,
        };
        if peer.alive() {
            peer.heard_at = known.heard_at;
        }
        // How far it had ours is not known for sure: all of it again, under the next number.
        self.restart_log(node);
    }

    /// Leaves everything as it is to the next process, if this node is at rest; else it leaves. With
    /// leases of voters it waits until they are fresh, for a heartbeat at most.
    pub(super) fn rest(&mut self) {
        if self.resting.is_some() || self.rested {
            return;
        }
        if let Some(why) = self.obstacle_to_rest() {
            self.give_up_rest(why);
        } else if self.quorum.wanted().next().is_some() {
            self.resting = Some(self.env.now);
        } else {
            self.hand_on();
        }
    }

    /// Follows a rest that waits for leases.
    pub(super) fn pursue_rest(&mut self) {
        let Some(since) = self.resting else { return };
        let obstacle = self.obstacle_to_rest();
        let waits = !self.quorum.is_renewed(since) && self.env.now < self.rest_deadline();
        if obstacle.is_none() && waits {
            return;
        }
        self.resting = None;
        let short = self.is_lease_short().then_some(Obstacle::LeaseShort);
        match obstacle.or(short) {
            Some(why) => self.give_up_rest(why),
            None => self.hand_on(),
        }
    }

    /// When such a wait is over.
    pub(super) fn rest_deadline(&self) -> Instant {
        let heartbeat = self.env.configuration.timing.heartbeat;
        self.resting.map_or(Instant::NEVER, |since| since + heartbeat)
    }

    fn give_up_rest(&mut self, why: Obstacle) {
        self.report(Report::NotInPlace { why });
        self.leave();
    }

    fn hand_on(&mut self) {
        // The silence of this node begins now.
        self.beat(false);
        self.rested = true;
        let promises = self.quorum.retire(&self.env);
        let memory = Box::new(Memory { promises, ..self.memory() });
        self.env.actions.push(Action::GoOn(memory));
    }

    /// Returns why a restart now would not be in place; `None` if it would. The daemon shows it to
    /// those who are about to restart it.
    #[must_use]
    pub fn obstacle_to_rest(&self) -> Option<Obstacle> {
        if self.phase != NodePhase::Active {
            return Some(Obstacle::Phase(self.phase));
        }
        let settled = |holding| matches!(holding, Holding::Idle | Holding::Held { .. });
        let calm = self.groups.values().all(|here| settled(here.holding))
            && self.is_whole()
            && self.offers.is_empty()
            && self.promises.is_empty()
            && self.contests.is_empty()
            && self.patience.is_none();
        if !calm {
            return Some(Obstacle::Busy);
        }
        let detection = self.env.configuration.timing.detection();
        let mut groups = self.groups.iter();
        let disputed = groups.find(|(_, here)| here.conflict.is_disputed(self.env.now, detection));
        disputed.map(|(group, _)| Obstacle::Conflict(*group))
    }

    fn memory(&self) -> Memory {
        let held = self.groups.iter().filter_map(|(group, here)| match here.holding {
            Holding::Held { epoch, .. } => Some((*group, epoch)),
            Holding::Idle
            | Holding::Asking { .. }
            | Holding::Adding { .. }
            | Holding::Removing { .. } => None,
        });
        let peers = self.peers.iter().filter_map(|(node, peer)| {
            let (stream, have) = self.claims.memory(*node);
            let known = Acquaintance {
                incarnation: peer.incarnation?,
                heard_at: peer.heard_at,
                verdict: peer.verdict,
                stream,
                have,
            };
            Some((*node, known))
        });
        let taken = self.groups.iter().filter_map(|(group, here)| {
            let since = self.claims.entry(*group)?.since;
            Some((*group, here.conflict.taken_after(since, self.env.now)?))
        });
        Memory {
            me: self.env.configuration.me,
            incarnation: self.env.configuration.incarnation,
            at: self.env.now,
            held: held.collect(),
            taken: taken.collect(),
            claims: self.claims.history().map(|entry| (entry.claim, entry.since)).collect(),
            peers: peers.collect(),
            fitness: self.checks_say.iter().map(|(pool, fitness)| (*pool, *fitness)).collect(),
            last_token: self.last_token,
            leases: self.quorum.lease_memory(),
            promises: None,
            timing: self.timing_memory(),
        }
    }
}
