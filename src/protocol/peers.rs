//! What a node remembers of each peer. Plain state with small questions; who changes it when is
//! told in `membership` (life and death),  `handover` (offers).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::fitness::Record;
use super::inability::Inabilities;
use super::orders::ErrandsIn;
use super::silent_kernel::{SilentKernel, Unanswered};
use super::types::{
    GroupKey, HardwareAddress, Heartbeat, Incarnation, Instant, Load, NodeId, NodePhase,
    Preserving, SoftwareVersion, TimingProposal, Verdict, Waiting,
};

/// Falls within [`FLAPS_WINDOW`] that make a node one that flaps.
const FLAPS_MAX: usize = 3;
/// See [`FLAPS_MAX`]. A node that dies less often than this costs less than watching it.
const FLAPS_WINDOW: Duration = Duration::from_secs(60);
/// What comes within this is one fall: a link that is down is told group by group.
const ONE_FALL: Duration = Duration::from_secs(1);

/// One peer.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Whether it may own groups; a witness may not, nor a node that the file does not list.
    pub(super) owns: bool,
    /// Whether the file of this node lists it.
    pub(super) listed: bool,
    /// Its name as it tells it, if the file of this node does not list it.
    pub(super) name: Option<String>,
    /// The life last heard directly.
    pub(super) incarnation: Option<Incarnation>,
    /// Low half of the life last heard of, directly or by relay.
    pub(super) incarnation_low: Option<u32>,
    /// When the kernel received its last datagram.
    pub(super) heard_at: Option<Instant>,
    /// When another live peer heard it last, as far as told.
    pub(super) relayed_at: Option<Instant>,
    /// Silence before this does not count: this node was not listening itself.
    pub(super) credit_until: Instant,
    pub(super) verdict: Verdict,
    /// Since when it has been heard without a break.
    pub(super) up_since: Instant,
    /// Whether its claims must be complete again before everything held is announced again.
    pub(super) returning: bool,
    /// It began to be heard then, and what it has is not known in whole yet.
    pub(super) awaited_since: Option<Instant>,
    /// Groups that it says it cannot hold.
    pub(super) unable: Inabilities,
    /// Orders that it has carried here in this life.
    pub(super) errands: ErrandsIn,
    /// When it sent its last heartbeat that reached us after an own stall.
    pub(super) heartbeat_at: Option<Instant>,
    pub(super) said: Said,
    /// Whom it hears: low half of the life, and when it heard it last.
    pub(super) hears: BTreeMap<NodeId, (u32, Instant)>,
    /// The most that its clock has been ahead of ours, in milliseconds, and when that was.
    pub(super) clock_ahead: Option<(i64, Instant)>,
    /// What its clock said in the last heartbeat of this life that counted.
    pub(super) clock_said: u64,
    /// When and by how much that jumped.
    pub(super) clock_jump: Option<(Instant, Duration)>,
    /// When it fell lately.
    flaps: VecDeque<Instant>,
    /// It declined an offer: no other before this.
    pub(super) declined_until: Instant,
    /// When its solicitation was last answered.
    pub(super) answered_at: Instant,
    /// Whether it says that it hears no majority of the voters: it can have no lease.
    pub(super) lacks_voters: bool,
    /// When it was last solicited.
    pub(super) solicited_at: Instant,
    /// The hardware addresses it last told.
    pub(super) hardware: Vec<HardwareAddress>,
    /// How busy it says it is.
    pub(super) load: Option<Load>,
    /// What its checks say.
    pub(super) checks: Record,
    /// What its kernel says when it is silent.
    pub(super) kernel: SilentKernel,
    /// Groups of which its kernel says nothing while it answers for others.
    pub(super) unanswered: BTreeMap<GroupKey, Unanswered>,
}

/// What the peer said of itself in its last heartbeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    pub(super) phase: Option<NodePhase>,
    pub(super) draining: bool,
    pub(super) waiting: Option<Waiting>,
    pub(super) preserving: Preserving,
    pub(super) interval: Duration,
    pub(super) misses: u8,
    /// What it proposes with profile `auto`.
    pub(super) timing: Option<TimingProposal>,
    pub(super) weight: u16,
    pub(super) software: Option<SoftwareVersion>,
    pub(super) config_digest: u64,
    pub(super) loop_lag: Duration,
    /// Its file does not list this node.
    pub(super) unlisted: bool,
}

impl Peer {
    pub(super) fn new(now: Instant, weight: u16, interval: Duration, misses: u8) -> Self {
        Self {
            owns: true,
            listed: true,
            name: None,
            incarnation: None,
            incarnation_low: None,
            heard_at: None,
            relayed_at: None,
            credit_until: now,
            verdict: Verdict::Unknown,
            up_since: now,
            returning: false,
            awaited_since: None,
            unable: Inabilities::default(),
            errands: ErrandsIn::default(),
            heartbeat_at: None,
            said: Said {
                phase: None,
                draining: false,
                waiting: None,
                preserving: Preserving::Unknown,
                interval,
                misses,
                timing: None,
                weight,
                software: None,
                config_digest: 0,
                loop_lag: Duration::ZERO,
                unlisted: false,
            },
            hears: BTreeMap::new(),
            clock_ahead: None,
            clock_said: 0,
            clock_jump: None,
            flaps: VecDeque::new(),
            declined_until: Instant::START,
            answered_at: Instant::START,
            lacks_voters: false,
            solicited_at: Instant::START,
            hardware: Vec::new(),
            load: None,
            checks: Record::default(),
            kernel: SilentKernel::UNKNOWN,
            unanswered: BTreeMap::new(),
        }
    }

    /// Whether it counts as living: nobody may take its groups.
    pub(super) const fn alive(&self) -> bool {
        match self.verdict {
            Verdict::Up | Verdict::Suspect | Verdict::Indirect => true,
            Verdict::Unknown | Verdict::Dead | Verdict::Left => false,
        }
    }

    /// Whether it may be asked to take groups: heard directly, hears us, acts.
    pub(super) fn receives(&self) -> bool {
        self.owns
            && self.verdict == Verdict::Up
            && self.said.phase == Some(NodePhase::Active)
            && !self.said.draining
    }

    /// Whether it would take a group of which it is the next in line.
    pub(super) fn takes(&self) -> bool {
        self.owns
            && self.alive()
            && !self.kernel.stands_in()
            && self.said.phase == Some(NodePhase::Active)
            && !self.said.draining
    }

    /// Silence that means the death of this peer, given what means it here: a peer with slower
    /// heartbeats is given its own time (RFC 9568 counts in the advertiser's intervals).
    pub(super) fn detection(&self, ours: Duration) -> Duration {
        ours.max(self.said.interval * u32::from(self.said.misses)).min(Duration::from_secs(60))
    }

    /// How long its kernel answers for it after its last step, as it follows from what it tells.
    pub(super) fn lease(&self) -> Duration {
        super::types::lease_of(self.said.interval * u32::from(self.said.misses))
    }

    /// Whether the peer hears `node` in that life, as of its last heartbeat.
    pub(super) fn hears(&self, node: NodeId, life: Option<u32>, within: Duration) -> bool {
        let Some((low, at)) = self.hears.get(&node) else { return false };
        let latest = self.heartbeat_at.unwrap_or(Instant::START);
        life.is_none_or(|life| life == *low) && latest.since(*at) <= within
    }

    /// Takes in what it says of itself; tells whether something that placement depends on changed.
    pub(super) fn listen(&mut self, heartbeat: &Heartbeat) -> bool {
        let before = (self.said.phase, self.said.draining, self.said.weight);
        self.said = Said {
            phase: Some(heartbeat.phase),
            draining: heartbeat.draining,
            waiting: heartbeat.waiting,
            preserving: heartbeat.preserving,
            interval: heartbeat.interval,
            misses: heartbeat.misses,
            timing: heartbeat.timing,
            weight: heartbeat.weight,
            software: Some(heartbeat.software),
            config_digest: heartbeat.config_digest,
            loop_lag: heartbeat.loop_lag,
            unlisted: heartbeat.unlisted,
        };
        self.load = heartbeat.load;
        before != (self.said.phase, self.said.draining, self.said.weight)
    }

    /// Notes a fall: a death, a restart, or that it cannot hold what it could.
    pub(super) fn flapped(&mut self, now: Instant) {
        if self.flaps.back().is_some_and(|last| now.since(*last) < ONE_FALL) {
            return;
        }
        if self.flaps.len() == FLAPS_MAX {
            self.flaps.pop_front();
        }
        self.flaps.push_back(now);
    }

    /// Whether it fell too often lately to be trusted with more.
    pub(super) fn flaps(&self, now: Instant) -> bool {
        self.damped_until(now).is_some()
    }

    /// Until when it is offered nothing that can wait, if it fell too often lately.
    pub(super) fn damped_until(&self, now: Instant) -> Option<Instant> {
        let first = self.flaps.front().filter(|_| self.flaps.len() == FLAPS_MAX)?;
        let until = *first + FLAPS_WINDOW;
        (now < until).then_some(until)
    }
}
