//! The door of the protocol: one event in, a list of actions out.
//!
//! Called by the daemon's protocol thread and by the simulator. `step` never waits and never
//! fails; what goes wrong outside comes in as an event. The state is here; what it means and how
//! it changes is told by the modules named in `mod.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::adaptive_timing::AdaptiveTiming;
use super::announcements::Announcements;
use super::balance::Deal;
use super::bucket::Bucket;
use super::claims::ReplicatedClaims;
use super::drain::Patience;
use super::env::Env;
use super::fitness::FitnessList;
use super::gates::Gate;
use super::handover::{OfferOut, Promise};
use super::health::{ReachTest, Support};
use super::kernel_work::KernelWork;
use super::load::{Given, Meter};
use super::majority::CommonLease;
use super::orders::ErrandOut;
use super::ownership::GroupHere;
use super::paths::Paths;
use super::peers::Peer;
use super::preservation::Preservation;
use super::quorum::Quorum;
use super::standing_orders::StandingOrders;
use super::types::{
    Action, Configuration, Event, GroupKey, HardwareAddress, Inability, Instant, Message, NodeId,
    NodePhase, PoolId, Recollection, Report, Rule, TimingLevel,
};

/// One node of the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    pub(super) env: Env,
    /// The deadline last asked for; later than this is a stall.
    pub(super) promised: Instant,
    pub(super) phase: NodePhase,
    pub(super) phase_since: Instant,
    pub(super) active_since: Instant,
    pub(super) draining: bool,
    /// What the checks of this host say of the pools that are not fit.
    pub(super) fitness: FitnessList,
    /// What of that its checks say.
    pub(super) checks_say: FitnessList,
    /// Whether draining waits for connections.
    pub(super) patience: Option<Patience>,
    /// When a required check began to pass again here.
    pub(super) passing_since: Instant,
    /// Pools for which nobody better than this unfit node is known; told once.
    pub(super) last_resorts: BTreeSet<PoolId>,
    pub(super) loop_lag: Duration,
    pub(super) meter: Meter,
    pub(super) given: Given,

    pub(super) peers: BTreeMap<NodeId, Peer>,
    /// Living peers whose file does not list this node, as last told to people.
    pub(super) unlisted_by: Vec<NodeId>,
    /// Who has sent what was sealed by a life that is not proven, and when last.
    pub(super) sensed: BTreeMap<NodeId, Instant>,
    pub(super) support: Support,
    /// Whether peers are heard and none of them hears this node.
    pub(super) mute: bool,
    pub(super) reach: ReachTest,
    pub(super) paths: Paths,
    pub(super) heartbeat_due: Instant,
    /// With profile `auto`.
    pub(super) adaptive_timing: Option<AdaptiveTiming>,

    pub(super) claims: ReplicatedClaims,
    pub(super) groups: BTreeMap<GroupKey, GroupHere>,
    /// The group of each address that is not the first of one, by the file of this node.
    pub(super) covering: BTreeMap<GroupKey, GroupKey>,
    /// Groups of which further addresses are leaving the kernel; others may be among them.
    pub(super) reshaped: BTreeSet<GroupKey>,
    /// Further addresses that were given to a node, and when it should have claimed them.
    pub(super) parted: BTreeMap<GroupKey, Instant>,
    /// Something that ownership depends on has changed.
    pub(super) evaluate: bool,
    /// How often all groups were examined for that.
    pub(super) evaluations: u64,
    pub(super) takes_due: Instant,
    /// When the network is to be asked who answers for some group.
    pub(super) asks_due: Instant,
    pub(super) questions: Bucket,
    /// Hardware addresses of this host.
    pub(super) hardware: Vec<HardwareAddress>,
    /// What peers were last told that this node cannot hold.
    pub(super) unable: Vec<(GroupKey, Inability)>,
    /// Something about that may have changed.
    pub(super) unable_stale: bool,
    /// When that was last revised.
    pub(super) unable_at: Instant,
    /// How often all groups were looked at for it.
    pub(super) unable_looks: u64,
    pub(super) kernel_work: KernelWork,
    /// It shall leave as soon as it has verified what it has.
    pub(super) stopping: bool,
    /// Since when it is to leave all to the next process, and waits for fresh leases.
    pub(super) resting: Option<Instant>,
    /// The next process goes on from here; this one does nothing any more.
    pub(super) rested: bool,
    /// What is held was announced by the process before: not again when it is verified.
    pub(super) quiet: bool,
    /// Groups of this node that another has claimed, and when that must be settled.
    pub(super) contests: BTreeMap<GroupKey, Instant>,
    pub(super) last_ticket: u64,
    pub(super) announcements: Announcements,

    /// What may hold a planned move, of groups that one is wanted of.
    pub(super) gates: BTreeMap<GroupKey, Gate>,
    pub(super) offers: BTreeMap<NodeId, OfferOut>,
    pub(super) promises: BTreeMap<GroupKey, Promise>,
    pub(super) preservation: Preservation,
    /// It drains, and does not wait for requests to end.
    pub(super) hurries: bool,
    pub(super) last_token: u32,
    pub(super) balance_due: Instant,
    pub(super) heirs_due: Instant,
    pub(super) heirs_among: Vec<NodeId>,
    pub(super) deal: Deal,
    pub(super) errands: BTreeMap<u64, ErrandOut>,
    pub(super) standing_orders: StandingOrders,

    pub(super) quorum: Quorum,
    pub(super) common_lease: CommonLease,

    pub(super) leave_by: Instant,
    pub(super) farewells: u8,
    pub(super) farewell_due: Instant,
}

impl Node {
    /// Starts a node that owns nothing and listens.
    #[must_use]
    pub fn new(now: Instant, configuration: Configuration) -> Self {
        let mut node = Self {
            promised: now,
            phase: NodePhase::Listening,
            phase_since: now,
            active_since: now,
            draining: configuration.draining,
            fitness: FitnessList::default(),
            checks_say: FitnessList::default(),
            patience: None,
            passing_since: now,
            last_resorts: BTreeSet::new(),
            loop_lag: Duration::ZERO,
            meter: Meter::default(),
            given: Given::new(),
            peers: BTreeMap::new(),
            unlisted_by: Vec::new(),
            sensed: BTreeMap::new(),
            support: Support::ALONE,
            mute: false,
            reach: ReachTest::default(),
            paths: Paths::default(),
            heartbeat_due: now,
            adaptive_timing: None,
            claims: ReplicatedClaims::new(configuration.incarnation),
            groups: BTreeMap::new(),
            covering: BTreeMap::new(),
            reshaped: BTreeSet::new(),
            parted: BTreeMap::new(),
            evaluate: true,
            evaluations: 0,
            takes_due: Instant::NEVER,
            asks_due: Instant::NEVER,
            questions: Bucket::new(now),
            hardware: Vec::new(),
            unable: Vec::new(),
            unable_stale: true,
            unable_at: Instant::START,
            unable_looks: 0,
            kernel_work: KernelWork::default(),
            stopping: false,
            resting: None,
            rested: false,
            quiet: false,
            contests: BTreeMap::new(),
            last_ticket: 0,
            announcements: Announcements::new(now),
            gates: BTreeMap::new(),
            offers: BTreeMap::new(),
            promises: BTreeMap::new(),
            preservation: Preservation::default(),
            hurries: false,
            last_token: 0,
            balance_due: now,
            heirs_due: Instant::NEVER,
            heirs_among: Vec::new(),
            deal: Deal::default(),
            errands: BTreeMap::new(),
            standing_orders: StandingOrders::default(),
            quorum: Quorum::new(now),
            common_lease: CommonLease::default(),
            leave_by: Instant::NEVER,
            farewells: 0,
            farewell_due: Instant::NEVER,
            env: Env::new(now, configuration),
        };
        node.begin();
        node
    }

    /// Takes in its first configuration.
    fn begin(&mut self) {
        let timing = self.env.configuration.timing;
        self.adapt(TimingLevel::of(timing.heartbeat, timing.misses).max(TimingLevel::LAN));
        self.regroup();
        self.repeer();
        self.revise_fitness();
        self.recall_voters(Recollection::Nothing);
    }

    /// Takes in one event and tells what to do, in this order. Time must not run backwards;
    /// an earlier `now` than the last counts as the last.
    #[must_use]
    pub fn step(&mut self, now: Instant, event: Event) -> Vec<Action> {
        self.step_all(now, [event])
    }

    /// Takes in events that are there at once, in this order, and tells what to do after the last
    /// of them. What follows is worked out once, which costs as much as the node has groups.
    #[must_use]
    pub fn step_all(
        &mut self,
        now: Instant,
        events: impl IntoIterator<Item = Event>,
    ) -> Vec<Action> {
        self.env.now = self.env.now.max(now);
        self.measure_loop();
        self.notice_stall();
        for event in events {
            self.take_in(event);
        }
        if !self.rested {
            self.proceed();
        }
        self.promised = self.next_deadline();
        std::mem::take(&mut self.env.actions)
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Timer => {}
            Event::Heard { from, incarnation, received_at, message } => {
                self.enrol(from);
                if self.peers.contains_key(&from) {
                    self.measure_spacing((from, incarnation), received_at, &message);
                    self.hear(from, incarnation, received_at);
                    self.listen(from, received_at, message);
                }
            }
            Event::HeardOn { from, path, received_at } => {
                if self.peers.contains_key(&from) {
                    self.paths.heard(from, path, received_at.min(self.env.now));
                }
            }
            Event::Sensed { from } => self.sensed(from),
            Event::Kernel(event) => self.on_kernel(event),
            Event::Ordered { ticket, order } => self.ordered_here(ticket, order),
            Event::Standing { ticket, change } => self.change_standing(ticket, change),
            Event::Fitness(unfit) => self.checked(unfit),
            Event::GateOpened { group, ticket } => self.gate_opened(group, ticket),
            Event::Load(measure) => self.measured(measure),
            Event::Outside { group, outside } => self.outside(group, outside),
            Event::Reconfigured(configuration) => self.reconfigure(*configuration),
            Event::Retry => self.forget_refusals(),
            Event::VotersRemembered { stored } => self.voters_stored(stored),
            Event::Stop => self.leave(),
            Event::Rest => self.rest(),
        }
    }

    fn listen(&mut self, from: NodeId, received_at: Instant, message: Message) {
        match message {
            Message::Heartbeat(beat) => self.on_heartbeat(from, received_at, beat),
            Message::Claims(slice) => self.on_claims(from, &slice),
            Message::ClaimsAck(ack) => self.acknowledged(from, ack.position),
            Message::Offer(offer) => self.on_offer(from, &offer),
            Message::OfferAnswer(answer) => self.on_offer_answer(from, &answer),
            Message::Errand(errand) => self.on_errand(from, errand),
            Message::ErrandAnswer(answer) => self.on_errand_answer(from, answer),
            Message::LeaseRequest(request) => self.on_lease_request(from, &request),
            Message::LeaseGrant(grant) => self.on_lease_grant(from, &grant),
            Message::Neighbours(hosts) => self.on_neighbours(from, hosts),
            Message::Connections(connections) => self.on_connections(from, connections),
            Message::Kept(list) => self.on_kept(from, &list),
        }
    }

    /// Everything that is due, in the order in which one thing may follow from another.
    fn proceed(&mut self) {
        self.judge();
        self.revise_listing();
        self.revise_phase();
        self.revise_support();
        self.revise_mute();
        self.settle_contests();
        self.greet_returned();
        self.watch_majority();
        self.free_what_was_not_taken();
        self.revise_kernel_work();
        for _ in 0..2 {
            if std::mem::take(&mut self.evaluate) {
                self.evaluations += 1;
                self.evaluate();
            }
            self.ask_what_is_due();
            self.take_what_is_due();
        }
        self.revise_standing();
        self.revise_patience();
        self.revise_gates();
        self.revise_preservation();
        self.pursue_offers();
        self.plan_moves();
        self.revise_heirs();
        self.follow_lists();
        self.ask_voters();
        self.revise_leases();
        self.proceed_leaving();
        self.announce_what_is_due();
        self.pursue_errands();
        self.revise_inabilities();
        self.revise_timing();
        if self.env.now >= self.heartbeat_due {
            self.revise_paths();
            self.heartbeat_due = self.env.now + self.beat_interval();
            self.standing_orders.next_turn();
            self.beat(false);
        }
        self.spread();
        self.pursue_rest();
    }

    /// When [`Event::Timer`] is due next. Later is a stall, which the node notices by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        if self.rested {
            return Instant::NEVER;
        }
        let again = if self.evaluate { self.env.now } else { Instant::NEVER };
        [
            again,
            self.heartbeat_due,
            self.verdict_deadline(),
            self.sensed_deadline(),
            self.phase_deadline(),
            self.takes_due,
            self.asks_due,
            self.kernel_deadline(),
            self.contest_deadline(),
            self.offer_deadline(),
            self.patience_deadline(),
            self.gate_deadline(),
            self.preservation.deadline(self.env.now),
            self.announcement_deadline(),
            self.errand_deadline(),
            self.standing_orders.deadline(),
            self.claims_deadline(),
            self.lease_deadline(),
            self.parted_deadline(),
            self.leave_deadline(),
            self.rest_deadline(),
            self.kernel_work.deadline(&self.env),
            self.inability_deadline(),
        ]
        .into_iter()
        .min()
        .unwrap_or(Instant::NEVER)
        .max(self.env.now)
    }

    fn announcement_deadline(&self) -> Instant {
        match self.phase {
            NodePhase::Active | NodePhase::Leaving => {
                self.announcements.deadline(self.env.now, self.pace())
            }
            NodePhase::Listening | NodePhase::Resuming | NodePhase::Isolated | NodePhase::Left => {
                Instant::NEVER
            }
        }
    }

    /// Tells the node how late its thread has run at worst in the last minute; peers and
    /// operators are told.
    pub const fn set_loop_lag(&mut self, lag: Duration) {
        self.loop_lag = lag;
    }

    pub(super) fn reconfigure(&mut self, configuration: Configuration) {
        let kept = (self.env.configuration.me, self.env.configuration.incarnation);
        let timing = self.env.configuration.timing;
        self.env.configuration = configuration;
        (self.env.configuration.me, self.env.configuration.incarnation) = kept;
        self.adapt(TimingLevel::of(timing.heartbeat, timing.misses));
        self.deal.forget();
        self.forget_refusals();
        self.rest_after_reload();
        self.regroup();
        self.repeer();
        self.revise_fitness();
        self.heirs_among.clear();
        self.heirs_due = self.env.now + self.env.configuration.timing.heartbeat;
        self.evaluate = true;
    }

    /// Follows the configured list of nodes.
    fn repeer(&mut self) {
        self.forget_unlisted_peers();
        let me = self.env.configuration.me;
        let nodes = self.env.configuration.nodes.clone();
        let unlisted: Vec<NodeId> =
            self.offers.keys().filter(|node| !nodes.contains_key(node)).copied().collect();
        for node in unlisted {
            self.offer_failed(node);
        }
        for (node, member) in nodes.iter().filter(|(node, _)| **node != me) {
            let fresh = self.new_peer(member.weight);
            self.peers.entry(*node).or_insert(fresh);
            self.claims.enrol(*node);
        }
        for (node, peer) in &mut self.peers {
            peer.listed = nodes.contains_key(node);
            peer.owns = nodes.get(node).is_some_and(|member| member.owns);
        }
        // Who is not listed any more is told at once.
        self.heartbeat_due = self.env.now;
        self.enlist();
    }

    pub(super) fn report(&mut self, report: Report) {
        self.env.report(report);
    }

    /// See [`Env::enforces`].
    pub(super) fn enforces(&self, rule: Rule) -> bool {
        self.env.enforces(rule)
    }
}
