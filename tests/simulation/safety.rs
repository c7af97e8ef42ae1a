//! What must never be, checked on simulated kernels, caches and messages (docs/invariants.md).
//!
//! Where a rule speaks of nodes that hear each other, the observer goes by datagrams that the
//! daemons have really processed, so lost ones and stopped daemons are never an injustice. A host
//! is *calm* if no fault has concerned it for a while and the network is fair to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use buoy::protocol::{
    Claim, Epoch, Group, GroupKey, Incarnation, Message, NodeId, NodePhase, Report, Ticket, Verdict,
};

use crate::cluster::{Cluster, Happening};
use crate::draw::{MILLISECOND, SECOND};
use crate::operators::Orders;

/// A host is calm so long after the last fault that concerned it.
pub(crate) const CALM: u64 = 5 * SECOND;
/// Latency that no rule complains about: scheduling, kernel threads, the observer's own grid.
pub(crate) const SLACK: u64 = 60 * MILLISECOND;
/// Between two audits.
const AUDIT: u64 = 20 * MILLISECOND;

/// What the observer remembers of one host.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The last fault that concerns it ends then.
    pub(crate) disturbed: u64,
    /// Its phase, as it reports.
    pub(crate) phase: NodePhase,
    /// When it last processed a datagram of each host.
    pub(crate) heard: Vec<u64>,
    /// Since when it has heard each host without a gap.
    steady: Vec<u64>,
    /// When it last went on after a stop.
    pub(crate) resumed_at: u64,
    /// How long the daemon had been stopped then; its own clock has seen it.
    pub(crate) stall: u64,
    /// How long its machine had stood still then, if its own clock has not seen it.
    pub(crate) pause: u64,
    /// Hosts heard since then by something sent since then.
    pub(crate) fresh: BTreeSet<usize>,
    /// Those whose clock was in it.
    pub(crate) clocks: BTreeSet<usize>,
    /// Addresses that may be announced now, in parts of a second.
    bucket: u64,
    bucket_at: u64,
    /// By group: the order to add that stands.
    pub(crate) ordered: Vec<Option<Ticket>>,
    /// By group: the daemon was told that this order is done, and nothing else since.
    pub(crate) confirmed: Vec<bool>,
    /// By group: the last epoch that ended here in this life.
    released: BTreeMap<GroupKey, Epoch>,
    /// By group: the highest epoch that its status has shown in this life.
    epochs: BTreeMap<GroupKey, Epoch>,
    /// Since when it has no usable link.
    pub(crate) link_lost_at: Option<u64>,
    /// The configuration its core has.
    pub(crate) plan: usize,
    /// Since when.
    pub(crate) adopted_at: u64,
    /// Kernel events are told in order: the last one arrives then.
    pub(crate) told_until: u64,
    /// Timers of this second.
    pub(crate) timer_second: u64,
    /// See `timer_second`.
    pub(crate) timer_count: u64,
}

/// What the observer remembers.
#[derive(Debug)]
pub(crate) struct Safety {
    /// Of each host.
    pub(crate) hosts: Vec<Memory>,
    /// Orders that wait for an answer.
    pub(crate) orders: Orders,
    /// Ticket of the last one.
    pub(crate) last_order: u64,
    /// By group: who opened it last.
    pub(crate) last_open: Vec<Option<usize>>,
    /// By group: since when each host that is OPEN for it has been so.
    pub(crate) opened: BTreeMap<(usize, usize), u64>,
    /// Since when pairs of hosts are OPEN for the same group.
    pub(crate) together: BTreeMap<(usize, usize, usize), u64>,
    /// How often a group was opened by another host than before.
    pub(crate) moves: u64,
    /// Orders to add, since the last mark of a story.
    pub(crate) acquisitions: u64,
    /// How often a group was opened that another host had open.
    pub(crate) doublings: u64,
    /// When a group was last opened by another host than before.
    pub(crate) moved_at: u64,
    /// The same by group.
    group_moved_at: Vec<u64>,
    /// The shortest time between two such openings of a group, since the last mark of a story.
    pub(crate) shortest_rest: u64,
    /// Peers declared dead that ran and were connected.
    pub(crate) accusations: u64,
    /// How often a node said that nobody is fit.
    pub(crate) last_resorts: u64,
    /// Datagrams sent.
    pub(crate) datagrams: u64,
    /// Every claim that its owner has sent.
    claims: BTreeMap<(GroupKey, Epoch, NodeId, Incarnation, u32), Claim>,
    audits: usize,
    /// When datagrams were last lost or late.
    pub(crate) storm_until: u64,
    /// Silence longer than this is a gap: two and a half heartbeats.
    gap: u64,
}

impl Safety {
    /// An observer that has seen nothing.
    pub(crate) fn new(hosts: usize, groups: usize, heartbeat: Duration) -> Self {
        let memory = |_| Memory {
            disturbed: 0,
            phase: NodePhase::Listening,
            heard: vec![0; hosts],
            steady: vec![u64::MAX; hosts],
            resumed_at: 0,
            stall: 0,
            pause: 0,
            fresh: BTreeSet::new(),
            clocks: BTreeSet::new(),
            bucket: 0,
            bucket_at: 0,
            ordered: vec![None; groups],
            confirmed: vec![false; groups],
            released: BTreeMap::new(),
            epochs: BTreeMap::new(),
            link_lost_at: None,
            plan: 0,
            adopted_at: 0,
            told_until: 0,
            timer_second: 0,
            timer_count: 0,
        };
        Self {
            hosts: (0..hosts).map(memory).collect(),
            orders: Orders::new(),
            last_order: 0,
            last_open: vec![None; groups],
            opened: BTreeMap::new(),
            together: BTreeMap::new(),
            moves: 0,
            acquisitions: 0,
            doublings: 0,
            moved_at: 0,
            group_moved_at: vec![0; groups],
            shortest_rest: u64::MAX,
            accusations: 0,
            last_resorts: 0,
            datagrams: 0,
            claims: BTreeMap::new(),
            audits: 0,
            storm_until: 0,
            gap: u64::try_from(heartbeat.as_nanos() * 5 / 2).expect("at most 25 s"),
        }
    }

    /// A daemon starts: what it knew is gone.
    pub(crate) fn begin_life(&mut self, host: usize, now: u64, plan: usize) {
        let memory = &mut self.hosts[host];
        memory.disturbed = memory.disturbed.max(now);
        memory.phase = NodePhase::Listening;
        memory.steady.fill(u64::MAX);
        memory.heard.fill(0);
        (memory.stall, memory.pause) = (0, 0);
        memory.resumed_at = now;
        memory.ordered.fill(None);
        memory.confirmed.fill(false);
        memory.released.clear();
        memory.epochs.clear();
        (memory.plan, memory.adopted_at) = (plan, now);
        (memory.bucket, memory.bucket_at) = (u64::MAX, now);
        memory.told_until = now;
    }

    /// A daemon processes a datagram.
    pub(crate) fn note_heard(
        &mut self,
        (host, from): (usize, usize),
        (sent_at, received_at): (u64, u64),
        now: u64,
    ) {
        let (gap, memory) = (self.gap, &mut self.hosts[host]);
        if now - sent_at > gap && sent_at >= memory.resumed_at {
            // It was under way for so long: its sender may have been cut off since (seed 3866).
            return;
        }
        if now - memory.heard[from] > gap || memory.steady[from] == u64::MAX {
            memory.steady[from] = now;
        }
        memory.heard[from] = now;
        // What was under way when the daemon went on is as good, if its machine did not stand still.
        if sent_at >= memory.resumed_at || memory.pause == 0 && received_at >= memory.resumed_at {
            memory.fresh.insert(from);
        }
    }

    /// A fault, not the weather, has swallowed a datagram: what both heard before does not count
    /// (seed 94442: deaf for 180 ms, then apart for 166 ms, each shorter than a silence).
    pub(crate) fn note_cut(&mut self, (host, from): (usize, usize), now: u64) {
        let steady = &mut self.hosts[host].steady[from];
        if *steady != u64::MAX {
            *steady = now;
        }
    }

    /// Since when both have heard each other without a gap; `None` if they do not.
    pub(crate) fn audible_since(&self, one: usize, other: usize, now: u64) -> Option<u64> {
        let since = |host: usize, from: usize| {
            let memory = &self.hosts[host];
            let fresh = now - memory.heard[from] <= self.gap;
            (fresh && memory.steady[from] != u64::MAX).then_some(memory.steady[from])
        };
        let resumed = self.hosts[one].resumed_at.max(self.hosts[other].resumed_at);
        Some(since(one, other)?.max(since(other, one)?).max(resumed))
    }
}

impl Cluster {
    /// Whether no fault has concerned the host for a while.
    pub(crate) fn is_calm(&self, host: usize) -> bool {
        self.hosts[host].is_running()
            && self.now > self.safety.hosts[host].disturbed + CALM
            && self.network.weather.is_tame()
            && self.options.lag == 0
    }

    /// Heartbeat interval in nanoseconds.
    pub(crate) fn heartbeat(&self) -> u64 {
        u64::try_from(self.options.slowest().heartbeat.as_nanos()).expect("at most 10 s")
    }

    /// Detection time in nanoseconds.
    pub(crate) fn detection(&self) -> u64 {
        u64::try_from(self.options.slowest().detection().as_nanos()).expect("at most 200 s")
    }

    /// A host has become OPEN. S2: in calm nobody else is.
    pub(crate) fn check_opened(&mut self, host: usize, group: usize) {
        if self.safety.last_open[group] != Some(host) {
            if self.safety.last_open[group].is_some() {
                self.safety.moves += 1;
                self.safety.moved_at = self.now;
                let rested = self.now - self.safety.group_moved_at[group];
                self.safety.shortest_rest = self.safety.shortest_rest.min(rested);
                self.safety.group_moved_at[group] = self.now;
            }
            self.safety.last_open[group] = Some(host);
        }
        self.safety.opened.insert((group, host), self.now);
        self.check_strict(group);
        let calm = (0..self.hosts.len()).all(|host| self.is_calm(host));
        let other = self.open[group].iter().copied().find(|other| *other != host);
        self.safety.doublings += u64::from(other.is_some());
        if let (true, Some(other)) = (calm, other) {
            let text = format!("n{host} and n{other} answer for g{group} in calm");
            self.flag("S2", text);
        }
    }

    /// S5, S12, S14: what is announced is confirmed, verified, and paced.
    pub(crate) fn check_announce(&mut self, host: usize, group: usize) {
        if !self.safety.hosts[host].confirmed[group] {
            self.flag("S12", format!("n{host} announces g{group}, which is not confirmed"));
        }
        self.check_leased(host, group);
        self.check_verified(host, group);
        let rate = u64::from(self.options.timing.announce_rate);
        let plan = &self.plans[self.safety.hosts[host].plan];
        let addresses = plan.groups.get(&self.groups[group]).map_or(1, Group::address_count);
        let cost = u64::from(addresses) * SECOND;
        // A host counts by its own clock.
        let drift = 2 * self.options.drift;
        let memory = &mut self.safety.hosts[host];
        let full = rate * SECOND / 2 + SECOND;
        let gained =
            (self.now - memory.bucket_at).saturating_mul(rate + rate * drift / 1_000_000 + 1);
        let bucket = memory.bucket.saturating_add(gained).min(full);
        (memory.bucket, memory.bucket_at) = (bucket.saturating_sub(cost.min(full)), self.now);
        if bucket < cost.min(full) {
            self.flag("S14", format!("n{host} announces more than {rate} addresses a second"));
        }
    }

    /// S6, S7: accusations and epochs, as reported.
    pub(crate) fn check_report(&mut self, host: usize, report: &Report) {
        let memory = &mut self.safety.hosts[host];
        match report {
            Report::PhaseChanged { to, .. } => memory.phase = *to,
            Report::PeerChanged { peer, to: Verdict::Dead, .. } => {
                let peer = self.index[peer];
                self.check_accusation(host, peer);
            }
            // As an address of another group it stays, and its claim with it (seed 5551).
            Report::Released { group, .. }
                if self.hosts[host].kernel.present[self.group_index[group]] => {}
            Report::Released { group, epoch } => {
                memory.released.insert(*group, *epoch);
            }
            Report::Acquired { group, epoch } => {
                if memory.released.get(group).is_some_and(|released| released >= epoch) {
                    let text = format!("n{host} acquires {group} again under {epoch:?}");
                    self.flag("S9", text);
                }
            }
            Report::LastResort { .. } => self.safety.last_resorts += 1,
            Report::PeerChanged { .. }
            | Report::PeerRestarted { .. }
            | Report::OwnerChanged { .. }
            | Report::GaveWay { .. }
            | Report::AddressWithheld { .. }
            | Report::AddressAdmitted { .. }
            | Report::Unable { .. }
            | Report::Repaired { .. }
            | Report::Stalled { .. }
            | Report::KeptEnded { .. }
            | Report::OfferFailed { .. }
            | Report::GateOverdue { .. }
            | Report::VotersDiffer { .. }
            | Report::MajorityLost { .. }
            | Report::MajorityBack { .. }
            | Report::KernelAnswers { .. }
            | Report::SecondClaimant { .. }
            | Report::FitnessChanged { .. }
            | Report::Converged { .. }
            | Report::NotConverged { .. }
            | Report::WentOn { .. }
            | Report::NotInPlace { .. }
            | Report::Unlisted { .. }
            | Report::StandingOrder(_)
            | Report::TimingChanged { .. }
            | Report::Draining { .. } => {}
        }
    }

    fn check_accusation(&mut self, host: usize, peer: usize) {
        let (memory, phase) = (&self.safety.hosts[host], self.safety.hosts[host].phase);
        // Its clock may run fast: a detection time is over there before it is here (seed 78102).
        let shown = self.hosts[host].clock.shown(self.now - memory.resumed_at);
        let own = self.timing_of(host).detection().as_nanos();
        let detection = u64::try_from(own).expect("at most 200 s");
        // Lateness is counted from the deadline asked for, which is a heartbeat away at most.
        let stalled = memory.stall > 2 * self.heartbeat() + SLACK;
        let sick =
            matches!(phase, NodePhase::Listening | NodePhase::Resuming | NodePhase::Isolated);
        if sick {
            self.flag("S6", format!("n{host} declares n{peer} dead while it is {phase:?}"));
        } else if stalled && shown + MILLISECOND < detection {
            self.flag("S6", format!("n{host} declares n{peer} dead just after its own stop"));
        }
        if self.hosts[peer].is_running() && self.network.connects(peer, host) {
            self.safety.accusations += 1;
        }
    }

    /// S10: a claim is written by its owner, and passed on as it was written.
    pub(crate) fn check_claims(&mut self, host: usize, message: &Message) {
        let Message::Claims(slice) = message else { return };
        let (me, life) = (self.hosts[host].id, self.hosts[host].incarnation);
        for claim in &slice.claims {
            let key = (claim.group, claim.epoch, claim.owner, claim.incarnation, claim.revision);
            let written = self.safety.claims.get(&key);
            let own = claim.owner == me && claim.incarnation == life;
            if written.is_some_and(|written| written != claim) || (written.is_none() && !own) {
                let text = format!("n{host} sends {claim:?}, its owner wrote {written:?}");
                return self.flag("S10", text);
            }
            if written.is_none() {
                self.safety.claims.insert(key, *claim);
            }
        }
    }

    /// S9: a daemon that has stopped leaves nothing behind.
    pub(crate) fn check_stopped(&mut self, host: usize) {
        let held = &self.hosts[host].kernel.present;
        if let Some(group) = held.iter().position(|held| *held) {
            self.flag("S9", format!("n{host} has stopped and still has g{group}"));
        }
    }

    /// Looks at everything that time alone may turn into a violation.
    pub(crate) fn audit(&mut self) {
        self.close_gates();
        if !self.network.weather.is_tame() {
            self.safety.storm_until = self.now;
        }
        self.check_overlaps();
        self.check_given_back();
        for host in 0..self.hosts.len() {
            self.check_belongings(host);
        }
        self.safety.audits += 1;
        if self.safety.audits.is_multiple_of(5) {
            self.check_patience();
            let host = self.safety.audits / 5 % self.hosts.len();
            self.check_epochs(host);
        }
        self.schedule(self.now + AUDIT, Happening::Audit);
    }

    /// S13, S16: what a host has in its table.
    fn check_belongings(&mut self, host: usize) {
        if !self.hosts[host].is_running() {
            return;
        }
        let memory = &self.safety.hosts[host];
        let plan = &self.plans[memory.plan];
        let settled = self.now - memory.adopted_at.max(memory.resumed_at) > SECOND;
        let cut_for = memory.link_lost_at.map_or(0, |lost| self.now - lost.max(memory.resumed_at));
        let cut = cut_for > self.detection() + 50 * MILLISECOND + SLACK;
        if !settled && !cut {
            return;
        }
        let foreign = settled && plan.groups.len() < self.groups.len();
        if !foreign && !cut {
            return;
        }
        let kernel = &self.hosts[host].kernel;
        let held =
            (0..self.groups.len()).filter(|g| kernel.present[*g] && !kernel.is_releasing(*g));
        let mut wrong = held.filter(|g| cut || !plan.has(&self.groups[*g]));
        if let Some(group) = wrong.next() {
            let rule = if cut { "S16" } else { "S13" };
            self.flag(rule, format!("n{host} keeps g{group}, which it should not have"));
        }
    }

    /// S7: the epochs that a node shows never go back in one life.
    fn check_epochs(&mut self, host: usize) {
        let Some(node) = &self.hosts[host].node else { return };
        let status = node.status(self.hosts[host].clock.read(self.now));
        let seen = &mut self.safety.hosts[host].epochs;
        let mut back = None;
        for group in status.groups {
            let before = seen.insert(group.group, group.epoch);
            if before.is_some_and(|before| before > group.epoch) {
                back = Some((group.group, before, group.epoch));
            }
        }
        if let Some(back) = back {
            self.flag("S7", format!("n{host} shows an older epoch: {back:?}"));
        }
    }
}
