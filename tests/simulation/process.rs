//! The daemon's loop on a simulated host: what wakes it, what it hands to the core, and what
//! becomes of the core's actions. The core runs unmodified.

use std::collections::BTreeSet;

use buoy::protocol::{
    Action, Event, GroupKey, Incarnation, Instant, KernelEvent, Message, Node, NodeId, NodePhase,
    Rule, Ticket,
};
use buoy::wire::{BODY_MAX, encoded_length, features_needed};

use crate::cluster::{Cluster, Happening};
use crate::draw::{MICROSECOND, MILLISECOND, SECOND};
use crate::host::{Inbound, Pending, Session};
use crate::outlines::outline;
use crate::trace::note;

/// Events taken in one turn of the loop.
const TURN: usize = 64;

impl Cluster {
    /// Starts a daemon: leftovers of the one before are swept first.
    pub(crate) fn start(&mut self, host: usize) {
        if self.hosts[host].node.is_some() || !self.hosts[host].powered {
            return;
        }
        for group in self.hosts[host].kernel.clear() {
            self.refresh_open(host, group);
        }
        let incarnation = Incarnation(self.draw.bits() | 1);
        let this = &mut self.hosts[host];
        this.end_daemon();
        this.incarnation = incarnation;
        this.kernel.usable = true;
        this.kernel.busy_until = self.now;
        this.granted_until = 0;
        self.safety.begin_life(host, self.now, self.hosts[host].plan);
        self.conflicts.begin_life(host);
        let configuration = self.configuration(host);
        self.follow_mode(host, &configuration);
        let now = self.hosts[host].clock.read(self.now);
        let mut node = Node::new(now, configuration);
        node.recall_voters(self.hosts[host].disk.clone());
        self.recall_promises(host, &mut node);
        self.hosts[host].node = Some(node);
        note!(self, "n{host} starts");
        self.begin_looking_after(host);
        self.begin_virtual_routers(host);
    }

    /// What every process of a daemon begins with.
    pub(crate) fn begin_looking_after(&mut self, host: usize) {
        let life = self.hosts[host].life;
        self.schedule(self.now + MILLISECOND, Happening::SeeLinks { host, life });
        self.tell_hardware(host);
        self.begin_looking(host);
        self.begin_measuring(host);
        if !self.hosts[host].fitness.is_empty() {
            self.begin_checking(host);
        }
        self.arm_timer(host);
    }

    /// A configuration arrives at a host; its daemon reloads.
    pub(crate) fn adopt(&mut self, host: usize, plan: usize) {
        // A file that does not have the host itself is refused there.
        if plan <= self.hosts[host].plan || self.plans[plan].absent.contains(&host) {
            return;
        }
        self.hosts[host].plan = plan;
        if self.hosts[host].node.is_some() {
            let configuration = Box::new(self.configuration(host));
            self.hand_over(host, Inbound::Reconfigured(configuration));
        }
    }

    /// Puts something into the inbox of a daemon and wakes it.
    pub(crate) fn hand_over(&mut self, host: usize, what: Inbound) {
        self.hosts[host].inbox.push_back(what);
        self.wake_soon(host);
    }

    /// A datagram reaches a host's kernel.
    pub(crate) fn arrive(&mut self, from: usize, to: usize, sealed: (Incarnation, u64, Message)) {
        let now = self.now;
        let this = &mut self.hosts[to];
        if !this.powered || this.node.is_none() {
            return;
        }
        let (life, sent_at, message) = sealed;
        if this.machine_paused {
            if this.outside.len() < crate::host::SOCKET_BUFFER {
                this.outside.push_back((from, life, sent_at, message));
            }
            return;
        }
        let received_at = this.clock.read(now);
        this.receive(Inbound::Datagram { from, life, sent_at, received_at, message });
        self.wake_soon(to);
    }

    /// Lets the scheduler run a daemon after its usual latency, or a bad one.
    pub(crate) fn wake_soon(&mut self, host: usize) {
        if self.hosts[host].waking || self.hosts[host].is_halted() {
            return;
        }
        self.hosts[host].waking = true;
        let at = self.now + self.latency();
        let life = self.hosts[host].life;
        self.schedule(at, Happening::Wake { host, life });
    }

    fn latency(&mut self) -> u64 {
        if self.draw.chance(self.options.lag) {
            return self.draw.between(MILLISECOND, 20 * MILLISECOND);
        }
        self.draw.between(5 * MICROSECOND, 60 * MICROSECOND)
    }

    /// One turn of the loop.
    pub(crate) fn wake(&mut self, host: usize, life: u64) {
        if self.hosts[host].life != life {
            return;
        }
        self.hosts[host].waking = false;
        for _ in 0..TURN {
            if !self.hosts[host].is_running() {
                return;
            }
            let Some(inbound) = self.hosts[host].inbox.pop_front() else { break };
            if let Some(event) = self.unwrap(host, inbound) {
                self.step(host, event);
            }
        }
        if !self.hosts[host].inbox.is_empty() {
            self.wake_soon(host);
        }
        self.arm_timer(host);
    }

    /// Turns what waited into an event; a datagram first passes the checks of its session.
    fn unwrap(&mut self, host: usize, inbound: Inbound) -> Option<Event> {
        match inbound {
            Inbound::Datagram { from, life, sent_at, received_at, message } => {
                self.hosts[host].datagrams -= 1;
                if !self.session_admits(host, from, life) {
                    let over = self.hosts[host].sessions[from].is_some_and(|it| it.over);
                    return (!over).then_some(Event::Sensed { from: self.hosts[from].id });
                }
                self.check_features(host, from, &message);
                let arrived_at = self.hosts[host].clock.moment(received_at);
                self.safety.note_heard((host, from), (sent_at, arrived_at), self.now);
                if let Message::Heartbeat(beat) = &message {
                    self.safety.note_clock(host, from, sent_at);
                    // Only a guardian's is sealed before there is a time to tell.
                    let over = beat.phase == NodePhase::Left && beat.clock_ms == 0;
                    if let Some(session) = self.hosts[host].sessions[from].as_mut() {
                        session.over |= over;
                    }
                }
                let from = self.hosts[from].id;
                Some(Event::Heard { from, incarnation: life, received_at, message })
            }
            Inbound::Copy { from, life, path, received_at } => {
                self.copy(host, (from, life), (path, received_at))
            }
            Inbound::Kernel(event) => {
                self.note_told(host, &event);
                Some(Event::Kernel(event))
            }
            Inbound::Measured(measure) => Some(Event::Load(Some(measure))),
            Inbound::Checked(unfit) => Some(Event::Fitness(unfit)),
            Inbound::Ordered { ticket, order } => Some(Event::Ordered { ticket, order }),
            Inbound::Standing { ticket, change } => Some(Event::Standing { ticket, change }),
            Inbound::Reconfigured(configuration) => {
                self.safety.hosts[host].plan =
                    usize::try_from(configuration.digest).expect("the number of a plan");
                self.safety.hosts[host].adopted_at = self.now;
                self.forget_claims(host);
                self.follow_mode(host, &configuration);
                self.tell_usable(host);
                self.tell_lost(host);
                Some(Event::Reconfigured(configuration))
            }
            Inbound::Stored => Some(Event::VotersRemembered { stored: true }),
            Inbound::Stop => Some(Event::Stop),
            Inbound::Rest => Some(Event::Rest),
        }
    }

    /// What the wire's sessions do: a new life is heard only after a round trip has proved it
    /// fresh, and from then on the old one is refused.
    fn session_admits(&mut self, host: usize, from: usize, life: Incarnation) -> bool {
        if let Some(session) = self.hosts[host].sessions[from]
            && session.life == life
        {
            return self.now >= session.ready_at && !session.over;
        }
        if self.hosts[from].incarnation != life || !self.hosts[from].is_running() {
            return false;
        }
        let there = self.network.carry(self.now, host, from, &mut self.draw);
        let back = self.network.carry(self.now, from, host, &mut self.draw);
        if let (Some(there), Some(back)) = (there, back) {
            let ready_at = self.now + there + back + 100 * MICROSECOND;
            self.hosts[host].sessions[from] = Some(Session { life, ready_at, over: false });
        }
        false
    }

    /// Schedules the timer for the core's deadline, unless an earlier one is under way.
    pub(crate) fn arm_timer(&mut self, host: usize) {
        let late = self.latency();
        let (now, this) = (self.now, &mut self.hosts[host]);
        let Some(node) = &this.node else { return };
        let due = this.clock.moment(node.next_deadline());
        if due == u64::MAX {
            return;
        }
        let at = due.max(now) + late;
        if at < this.timer_at {
            this.timer_at = at;
            this.timer_generation += 1;
            let generation = this.timer_generation;
            self.schedule(at, Happening::Timer { host, generation });
        }
    }

    /// The timer fires.
    pub(crate) fn fire_timer(&mut self, host: usize, generation: u64) {
        let now = self.now;
        let this = &mut self.hosts[host];
        if this.timer_generation != generation || !this.is_running() {
            return;
        }
        this.timer_at = u64::MAX;
        let due = this.node.as_ref().map_or(Instant::NEVER, Node::next_deadline);
        if this.clock.read(now) >= due {
            self.step(host, Event::Timer);
            self.check_spinning(host);
        }
        self.arm_timer(host);
    }

    /// Hands one event to the core and does what it says.
    pub(crate) fn step(&mut self, host: usize, event: Event) {
        let now = self.hosts[host].clock.read(self.now);
        if matches!(event, Event::Sensed { .. }) {
            self.check_sensed(host, now, &event);
        }
        let Some(node) = &mut self.hosts[host].node else { return };
        self.trace.note_event(host, &event);
        let actions = node.step(now, event);
        for action in actions {
            self.act(host, action);
        }
        self.follow_voice(host);
        self.vouch(host);
    }

    fn act(&mut self, host: usize, action: Action) {
        self.trace.note_action(host, &action);
        match action {
            Action::Send { to, message } => self.send(host, to, message),
            Action::Acquire { group, ticket, further } => {
                let Some(group) = self.group_index.get(&group).copied() else { return };
                let further = further.iter().filter_map(|key| self.group_index.get(key).copied());
                let further: BTreeSet<usize> = further.collect();
                note!(self, "n{host} acquires g{group} with {further:?}");
                self.hosts[host].kernel.kept.remove(&group);
                self.hosts[host].kernel.withdrawn.remove(&group);
                self.check_acquires(host, group, &further);
                self.safety.hosts[host].ordered[group] = Some(ticket);
                self.order_kernel(host, group, Pending { ticket, acquire: true, further });
            }
            Action::Release { group, ticket } => self.give_back(host, (group, ticket), false),
            Action::Withdraw { group } => {
                let Some(group) = self.group_index.get(&group).copied() else { return };
                note!(self, "n{host} withdraws g{group}");
                self.hosts[host].kernel.withdrawn.insert(group);
                let borne = self.hosts[host].kernel.bears.get(&group).cloned().unwrap_or_default();
                borne.into_iter().for_each(|address| self.refresh_open(host, address));
            }
            Action::Hand { group, ticket } => self.give_back(host, (group, ticket), true),
            Action::Forward { .. } => {}
            Action::Announce { group } => {
                let Some(group) = self.group_index.get(&group).copied() else { return };
                note!(self, "n{host} announces g{group}");
                self.check_announce(host, group);
                self.hosts[host].announced += 1;
                let at = self.now + self.draw.between(20 * MICROSECOND, 200 * MICROSECOND);
                let life = self.hosts[host].life;
                self.schedule(at, Happening::Broadcast { host, life, group });
            }
            Action::Probe { group, at } => {
                let Some(group) = self.group_index.get(&group).copied() else { return };
                self.probe(host, group, at);
            }
            Action::Verify { group, epoch, .. } => {
                let Some(group) = self.group_index.get(&group).copied() else { return };
                self.verify(host, group, epoch);
            }
            Action::Correct { group, .. } => self.correct(host, group),
            Action::Acquaint { from, hosts } => self.acquaint(host, from, &hosts),
            Action::Remember { connections, .. } => self.remember(host, &connections),
            // Connections end by themselves; gates never do.
            Action::WatchConnections(_) | Action::OpenGate { .. } | Action::LetFinish { .. } => {}
            Action::Tickle { group } => {
                let Some(group) = self.group_index.get(&group).copied() else { return };
                self.tickle(host, group);
            }
            Action::TestReach => self.begin_reach_test(host),
            Action::DoubtPaths(doubted) => self.doubt_paths(host, &doubted),
            Action::Answer { ticket, outcome } => {
                note!(self, "n{host} answers {ticket}: {outcome:?}");
                self.check_answer(host, ticket);
            }
            Action::Report(report) => {
                note!(self, "n{host} reports {report:?}");
                self.check_report(host, &report);
            }
            Action::RememberVoters(record) => self.store_voters(host, record),
            Action::Named { .. } => {}
            Action::RememberDraining(draining) => self.hosts[host].draining = draining,
            Action::GoOn(memory) => self.leave_to_next(host, memory),
            Action::KeepPromises(record) => self.hosts[host].promises = Some(record),
            Action::Stopped => {
                note!(self, "n{host} has stopped");
                self.check_stopped(host);
                self.hosts[host].end_daemon();
            }
        }
    }

    /// The last of the connections that are kept ends by and by.
    fn end_kept(&mut self, host: usize, group: usize) {
        if self.options.preserve.is_some() {
            let (key, life) = (self.groups[group], self.hosts[host].life);
            let at = self.now + self.draw.between(10 * MILLISECOND, 3_000 * MILLISECOND);
            let event = KernelEvent::Kept(vec![(key, 0)]);
            self.schedule(at, Happening::Tell { host, life, event });
        }
    }

    /// The kernel lets a group go. What it keeps serves connections that no client here has.
    fn give_back(&mut self, host: usize, (group, ticket): (GroupKey, Ticket), keeps: bool) {
        let Some(group) = self.group_index.get(&group).copied() else { return };
        note!(self, "n{host} {} g{group}", if keeps { "hands over" } else { "releases" });
        let kept = &mut self.hosts[host].kernel.kept;
        if keeps {
            kept.insert(group);
            self.end_kept(host, group);
        } else {
            kept.remove(&group);
        }
        self.note_given_back(host, group);
        self.stop_verifying(host, group);
        self.safety.hosts[host].confirmed[group] = false;
        self.safety.hosts[host].ordered[group] = None;
        let further = BTreeSet::new();
        self.order_kernel(host, group, Pending { ticket, acquire: false, further });
    }

    pub(crate) fn send(&mut self, host: usize, to: NodeId, message: Message) {
        let Some(to) = self.index.get(&to).copied() else { return };
        if self.trace.on && !matches!(message, Message::Heartbeat(_) | Message::ClaimsAck(_)) {
            note!(self, "n{host} -> n{to} {}", outline(&message));
        }
        let length = encoded_length(&message);
        if length > BODY_MAX {
            self.flag("size", format!("n{host} sends {length} bytes: {}", outline(&message)));
        }
        self.check_claims(host, &message);
        // As the wire does.
        let asks = self.options.broken != Some(Rule::FeaturesAsked);
        if asks && features_needed(&message) & !self.features(to) != 0 {
            return;
        }
        self.safety.datagrams += 1;
        let copies = self.network.carry_each(self.now, (host, to), &mut self.draw);
        let Some(delay) = copies.iter().map(|(_, delay)| *delay).min() else {
            if !self.network.connects(host, to) {
                self.safety.note_cut((to, host), self.now);
            }
            return;
        };
        let (life, sent_at) = (self.hosts[host].incarnation, self.now);
        if self.draw.chance(self.network.weather.duplicate) {
            let at = self.now + delay + self.draw.between(0, MILLISECOND);
            let message = message.clone();
            self.schedule(at, Happening::Arrive { from: host, to, life, sent_at, message });
        }
        let at = self.now + delay;
        self.schedule(at, Happening::Arrive { from: host, to, life, sent_at, message });
        let copies = if self.options.paths > 1 { copies } else { Vec::new() };
        for (path, delay) in copies {
            let (at, path) = (self.now + delay, u8::try_from(path).expect("few paths"));
            self.schedule(at, Happening::ArriveOn { from: host, to, copy: (life, path) });
        }
    }

    fn order_kernel(&mut self, host: usize, group: usize, pending: Pending) {
        let (ticket, acquire) = (pending.ticket, pending.acquire);
        let slow = self.draw.chance(self.options.kernel_slow);
        let extra = if slow { self.draw.between(0, 30 * MILLISECOND) } else { 0 };
        let addresses = u64::from(self.addresses(group));
        let (now, this) = (self.now, &mut self.hosts[host]);
        this.kernel.pending.insert(group, pending);
        let at = this.kernel.schedule(now, addresses, acquire, extra);
        let life = this.life;
        self.schedule(at, Happening::Execute { host, life, group, ticket });
    }

    fn check_spinning(&mut self, host: usize) {
        let memory = &mut self.safety.hosts[host];
        let second = self.now / SECOND;
        if memory.timer_second != second {
            (memory.timer_second, memory.timer_count) = (second, 0);
        }
        memory.timer_count += 1;
        if memory.timer_count > 20_000 {
            let due = self.hosts[host].node.as_ref().map(Node::next_deadline);
            self.flag("spin", format!("n{host} fires 20000 timers a second, next {due:?}"));
        }
    }

    /// The daemon is told a fact. It may be out of date by now: then the kernel side, which knows
    /// better, announces nothing.
    fn note_told(&mut self, host: usize, event: &KernelEvent) {
        let memory = &mut self.safety.hosts[host];
        let confirmed = &mut memory.confirmed;
        match event {
            KernelEvent::Present { group, ticket } => {
                let group = self.group_index[group];
                // What was confirmed stays so while another shape of the group is on its way.
                confirmed[group] |= memory.ordered[group] == Some(*ticket);
            }
            KernelEvent::Absent { group, .. } | KernelEvent::Failed { group, .. } => {
                confirmed[self.group_index[group]] = false;
            }
            KernelEvent::Claimed { group, hardware, .. } => {
                self.note_claim(host, self.group_index[group], *hardware);
            }
            KernelEvent::Repaired { .. }
            | KernelEvent::Usable { .. }
            | KernelEvent::Attached { .. }
            | KernelEvent::Moved { .. }
            | KernelEvent::Reach(_)
            | KernelEvent::Hardware(_)
            | KernelEvent::Verified { .. }
            | KernelEvent::Neighbours(_)
            | KernelEvent::Connections { .. }
            | KernelEvent::Keepable { .. }
            | KernelEvent::Kept(_)
            | KernelEvent::ConnectionsRemain(_) => {}
        }
    }
}
