//! What goes wrong: each fault begins, disturbs some hosts for a while, and ends by itself.
//!
//! Faults overlap freely. `healing` ends all of them at once, for the liveness phase.

use buoy::protocol::{Attachment, Fitness};

use crate::cluster::{Cluster, Happening};
use crate::draw::{MILLISECOND, SECOND};
use crate::host::Inbound;
use crate::trace::note;

/// Kinds of faults. H numbers are those of docs/invariants.md, A numbers those of docs/faults.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The host dies and comes back (H18).
    Crash,
    /// The daemon dies, its addresses stay, and it comes back (H11, H43).
    DaemonKill,
    /// The daemon is stopped for 50 ms to 5 s (H10).
    Pause,
    /// The machine is stopped with its clocks (H13).
    MachinePause,
    /// Heartbeats are cut one way (H4).
    OneWayCut,
    /// The host receives nothing (H5).
    Deaf,
    /// The host can send nothing (H6).
    Mute,
    /// Heartbeats between two hosts are cut, data is not (H7).
    HeartbeatCut,
    /// Hosts and clients fall into two parts (H8).
    Partition,
    /// Hosts are cut off one by one and joined in another order.
    Swizzle,
    /// Many datagrams get lost (H1, H2).
    LossBurst,
    /// Datagrams take up to a second (H3).
    SlowNetwork,
    /// Clients miss announcements (H33).
    AnnouncementLoss,
    /// The kernel refuses to add addresses (H39).
    KernelFailure,
    /// Somebody removes an address (H42).
    AddressRemoved,
    /// The data link goes down and up (H30, H44, H45).
    LinkFlap,
    /// The interface is deleted and made again (H41).
    InterfaceGone,
    /// An operator drains or undrains a node.
    Drain,
    /// An operator moves a group.
    Move,
    /// A new configuration is rolled out, host by host (H24, H55).
    Rollout,
    /// The daemon is stopped in good order and started again (H54).
    CleanStop,
    /// A host outside the cluster has an address for a while (H36).
    Conflict,
    /// Checks of a host fail for a while, or those of all hosts.
    Checks,
    /// The host receives nothing on the data network; heartbeats have a second path.
    DataDeaf,
    /// The host can send nothing on the data network; heartbeats have a second path.
    DataMute,
    /// The switch answers ARP for hosts, dead ones included, or drops questions (c38).
    Suppression,
    /// The file of a host says other times: its daemon reloads or starts again (A1).
    Profile,
}

impl Kind {
    /// All but conflicting hosts, checks, profiles, switches that answer, and what needs a second path, drawn
    /// apart.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Crash,
        Self::DaemonKill,
        Self::Pause,
        Self::MachinePause,
        Self::OneWayCut,
        Self::Deaf,
        Self::Mute,
        Self::HeartbeatCut,
        Self::Partition,
        Self::Swizzle,
        Self::LossBurst,
        Self::SlowNetwork,
        Self::AnnouncementLoss,
        Self::KernelFailure,
        Self::AddressRemoved,
        Self::LinkFlap,
        Self::InterfaceGone,
        Self::Drain,
        Self::Move,
        Self::Rollout,
        Self::CleanStop,
    ];
}

/// How a fault ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// Power is back and the daemon starts.
    PowerOn(usize),
    /// A stopped daemon goes on.
    Resume(usize),
    /// A stopped machine goes on.
    ResumeMachine(usize),
    /// A one-way cut ends.
    Join(usize, usize),
    /// Deafness ends.
    Undeafen(usize),
    /// Muteness ends.
    Unmute(usize),
    /// The data link carries in this direction again.
    JoinData(usize, bool),
    /// The partition ends.
    Unite,
    /// The weather is as the options say.
    Weather,
    /// The kernel adds addresses again.
    KernelWell(usize),
    /// The cable is back.
    LinkUp(usize),
    /// The interface is back.
    InterfaceBack(usize),
    /// The conflicting host is gone.
    ConflictGone(usize),
    /// The switch carries questions again.
    QuestionsPass,
    /// The checks of a pool pass on a host.
    ChecksPass(usize, buoy::protocol::PoolId),
}

/// Faults of a run.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// How many have been made.
    pub(crate) made: u64,
    /// Endings of another era are void: everything was healed in between.
    pub(crate) era: u64,
    /// No further faults.
    pub(crate) over: bool,
}

impl Cluster {
    /// The next fault is due: makes one of the mix, and schedules the one after it.
    pub(crate) fn next_fault(&mut self) {
        if self.faults.over || self.faults.made >= self.options.fault_limit {
            return;
        }
        let kind = self.draw.pick(&self.options.faults.clone());
        let host = self.draw.index(self.hosts.len());
        self.faults.made += 1;
        note!(self, "-- fault {}: {kind:?} at n{host}", self.faults.made);
        self.make_fault(kind, host);
        let gap = self.draw.between(1, 2 * self.options.fault_gap);
        if self.now + gap < self.options.fault_end {
            self.schedule(self.now + gap, Happening::Fault);
        }
    }

    fn make_fault(&mut self, kind: Kind, host: usize) {
        let other = self.draw.index(self.hosts.len());
        let length = self.fault_length();
        match kind {
            Kind::Crash => self.crash(host, Some(length)),
            Kind::DaemonKill => {
                let guarded = self.options.fenced && self.draw.chance(750_000);
                self.kill_daemon(host, Some(length), guarded);
            }
            Kind::Pause => self.pause(host, length),
            Kind::MachinePause => self.pause_machine(host, length),
            Kind::OneWayCut => self.cut_for(host, other, length),
            Kind::HeartbeatCut => {
                self.cut_for(host, other, length);
                self.cut_for(other, host, length);
            }
            Kind::Deaf => {
                self.deafen(host);
                self.end_later(host, length, Ending::Undeafen(host));
            }
            Kind::Mute => {
                self.mute(host);
                self.end_later(host, length, Ending::Unmute(host));
            }
            Kind::DataDeaf | Kind::DataMute => {
                let sends = kind == Kind::DataMute;
                self.cut_data(host, sends);
                self.end_later(host, length, Ending::JoinData(host, sends));
            }
            Kind::Partition => self.partition_at_random(length),
            Kind::Swizzle => self.swizzle(length),
            Kind::LossBurst | Kind::SlowNetwork | Kind::AnnouncementLoss => {
                self.storm(kind, length);
            }
            Kind::KernelFailure => self.fail_kernel(host, length),
            Kind::AddressRemoved => self.remove_some_address(host),
            Kind::LinkFlap => {
                self.pull_link(host);
                self.end_later(host, length, Ending::LinkUp(host));
            }
            Kind::InterfaceGone => {
                if self.hosts[host].powered && self.hosts[host].kernel.interface {
                    self.remove_interface(host);
                    self.end_later(host, length, Ending::InterfaceBack(host));
                }
            }
            Kind::Drain => self.drain_or_undrain(host, other),
            Kind::Move => self.move_some_group(host, other),
            Kind::Rollout => self.roll_out(),
            Kind::CleanStop => self.stop(host, Some(length)),
            Kind::Profile => self.change_profile(host),
            Kind::Checks => self.fail_checks_at_random(host, length),
            Kind::Conflict => self.let_conflict_come(length),
            Kind::Suppression => self.let_switch_suppress(length),
        }
    }

    fn fault_length(&mut self) -> u64 {
        let most = self.draw.pick(&[100, 400, 1_000, 3_000, 6_000]);
        self.draw.between(50, most.max(100)) * MILLISECOND
    }

    /// Schedules the end of a fault, and counts the host as disturbed until then.
    pub(crate) fn end_later(&mut self, host: usize, length: u64, ending: Ending) {
        self.disturb(host, length);
        let era = self.faults.era;
        self.schedule(self.now + length, Happening::End { era, ending });
    }

    /// Counts a host as disturbed for so long from now.
    pub(crate) fn disturb(&mut self, host: usize, length: u64) {
        let until = &mut self.safety.hosts[host].disturbed;
        *until = (*until).max(self.now + length);
    }

    pub(crate) fn disturb_all(&mut self, length: u64) {
        for host in 0..self.hosts.len() {
            self.disturb(host, length);
        }
    }

    /// A fault ends, unless everything has been healed since it began.
    pub(crate) fn end_fault(&mut self, era: u64, ending: Ending) {
        if era == self.faults.era {
            self.finish(ending);
        }
    }

    fn finish(&mut self, ending: Ending) {
        note!(self, "-- ends: {ending:?}");
        match ending {
            Ending::PowerOn(host) => self.power_on(host),
            Ending::Resume(host) => self.resume(host),
            Ending::ResumeMachine(host) => self.resume_machine(host),
            Ending::Join(from, to) => self.network.join(from, to),
            Ending::Undeafen(host) => {
                self.network.undeafen(host);
                self.refresh_clients();
            }
            Ending::Unmute(host) => {
                self.network.unmute(host);
                self.refresh_clients();
            }
            Ending::JoinData(host, sends) => self.join_data(host, sends),
            Ending::Unite => {
                self.network.unite();
                self.refresh_clients();
            }
            Ending::Weather => self.network.weather = self.options.weather.clone(),
            Ending::KernelWell(host) => self.mend_kernel(host),
            Ending::LinkUp(host) => {
                self.network.link_up(host);
                self.link_changed(host);
            }
            Ending::ChecksPass(host, pool) => self.check(host, pool, Fitness::Fit),
            Ending::ConflictGone(group) => self.conflict_goes(group),
            Ending::QuestionsPass => self.end_suppression(),
            Ending::InterfaceBack(host) => {
                self.hosts[host].kernel.interface = true;
                self.link_changed(host);
            }
        }
    }

    /// The host loses power; it comes back after `length`, if one is given.
    pub(crate) fn crash(&mut self, host: usize, length: Option<u64>) {
        if !self.hosts[host].powered {
            return;
        }
        if self.hosts[host].machine_paused {
            self.resume_machine(host);
        }
        let groups = self.hosts[host].kernel.clear();
        self.hosts[host].end_daemon();
        self.hosts[host].powered = false;
        self.hosts[host].memory = None;
        // Its clock starts again: the record is not of this boot.
        self.hosts[host].promises = None;
        self.hosts[host].granted_until = 0;
        for group in groups {
            self.refresh_open(host, group);
        }
        self.disturb(host, length.unwrap_or(SECOND));
        if let Some(length) = length {
            self.end_later(host, length, Ending::PowerOn(host));
        }
    }

    /// Power comes back with a clock that starts again, and the daemon starts.
    pub(crate) fn power_on(&mut self, host: usize) {
        if !self.hosts[host].powered {
            let offset = self.draw.between(0, 60 * SECOND);
            let ppm = self.hosts[host].clock.ppm;
            let mut clock = crate::clock::Clock::new(offset, ppm);
            clock.stop(0);
            clock.go_on(self.now);
            self.hosts[host].clock = clock;
            self.hosts[host].powered = true;
        }
        self.start(host);
    }

    /// The daemon dies. Its guardian acts, or is dead too: its addresses stay, behind the gate.
    pub(crate) fn kill_daemon(&mut self, host: usize, length: Option<u64>, guarded: bool) {
        let Some(node) = &self.hosts[host].node else { return };
        let farewell = node.farewell();
        self.hosts[host].end_daemon();
        if guarded {
            self.wake_guardian(host, farewell);
        }
        self.disturb(host, length.unwrap_or(SECOND));
        if let Some(length) = length {
            self.end_later(host, length, Ending::PowerOn(host));
        }
    }

    /// SIGSTOP for so long.
    pub(crate) fn pause(&mut self, host: usize, length: u64) {
        if !self.hosts[host].is_running() {
            return;
        }
        self.hosts[host].paused = true;
        self.hosts[host].paused_at = self.now;
        self.end_later(host, length, Ending::Resume(host));
    }

    /// SIGCONT: whatever waited happens now, in an order that the scheduler chooses.
    pub(crate) fn resume(&mut self, host: usize) {
        if !self.hosts[host].paused {
            return;
        }
        self.hosts[host].paused = false;
        let length = self.now - self.hosts[host].paused_at;
        self.safety.note_resumed(host, self.now, length);
        self.go_on(host);
    }

    /// The machine stands still with its clocks for so long; its kernel does not answer.
    pub(crate) fn pause_machine(&mut self, host: usize, length: u64) {
        if !self.hosts[host].powered || self.hosts[host].is_halted() {
            return;
        }
        self.hosts[host].machine_paused = true;
        self.hosts[host].paused_at = self.now;
        self.hosts[host].clock.stop(self.now);
        self.refresh_host(host);
        self.end_later(host, length, Ending::ResumeMachine(host));
    }

    /// The machine goes on; what waited outside arrives now, as if it were fresh.
    pub(crate) fn resume_machine(&mut self, host: usize) {
        if !self.hosts[host].machine_paused {
            return;
        }
        self.hosts[host].machine_paused = false;
        self.hosts[host].clock.go_on(self.now);
        let length = self.now - self.hosts[host].paused_at;
        if self.hosts[host].granted_until > self.hosts[host].paused_at {
            // Its jiffies stood still as well.
            self.hosts[host].granted_until += length;
        }
        self.plan_closing(host);
        self.safety.note_machine_resumed(host, self.now, length);
        self.refresh_host(host);
        let received_at = self.hosts[host].clock.read(self.now);
        while let Some((from, life, sent_at, message)) = self.hosts[host].outside.pop_front() {
            let datagram = Inbound::Datagram { from, life, sent_at, received_at, message };
            self.hosts[host].receive(datagram);
        }
        self.go_on(host);
    }

    fn go_on(&mut self, host: usize) {
        let mut at = self.now;
        for what in std::mem::take(&mut self.hosts[host].deferred) {
            at += self.draw.between(1_000, 100_000);
            self.schedule(at, what);
        }
        self.hosts[host].timer_at = u64::MAX;
        self.hosts[host].timer_generation += 1;
        self.hosts[host].waking = false;
        self.wake_soon(host);
        self.arm_timer(host);
    }

    fn cut_for(&mut self, from: usize, to: usize, length: u64) {
        if from != to {
            self.network.cut(from, to);
            self.disturb(to, length);
            self.end_later(from, length, Ending::Join(from, to));
        }
    }

    /// The host receives nothing from now on.
    pub(crate) fn deafen(&mut self, host: usize) {
        self.disturb(host, SECOND);
        self.network.deafen(host);
        self.refresh_clients();
    }

    /// The host can send nothing from now on.
    pub(crate) fn mute(&mut self, host: usize) {
        self.disturb(host, SECOND);
        self.network.mute(host);
        self.refresh_clients();
    }

    /// The data cable of the host is pulled.
    pub(crate) fn pull_link(&mut self, host: usize) {
        self.disturb(host, SECOND);
        self.network.link_down(host);
        self.link_changed(host);
    }

    /// A host loses its own address in the network of all groups, or has it again.
    pub(crate) fn lose_network(&mut self, host: usize, attachment: Attachment) {
        self.disturb(host, SECOND);
        self.tell_attachment(host, attachment);
    }

    /// Splits hosts and clients: these ends are on the other side.
    pub(crate) fn split(&mut self, hosts: &[usize], clients: &[usize]) {
        self.disturb_all(SECOND);
        self.network.unite();
        for host in hosts {
            self.network.set_side(*host, 1);
        }
        for client in clients {
            self.network.set_side(self.hosts.len() + *client, 1);
        }
        self.refresh_clients();
    }

    fn partition_at_random(&mut self, length: u64) {
        let hosts: Vec<usize> =
            (0..self.hosts.len()).filter(|_| self.draw.bits() & 1 == 0).collect();
        let clients: Vec<usize> =
            (0..self.clients.len()).filter(|_| self.draw.bits() & 1 == 0).collect();
        self.split(&hosts, &clients);
        self.disturb_all(length);
        self.end_later(0, length, Ending::Unite);
    }

    fn swizzle(&mut self, length: u64) {
        for host in 0..self.hosts.len() {
            if self.draw.bits() & 1 == 0 {
                self.deafen(host);
                self.mute(host);
                let until = self.draw.between(length / 4, length);
                self.end_later(host, until, Ending::Undeafen(host));
                self.end_later(host, until, Ending::Unmute(host));
            }
        }
    }

    fn storm(&mut self, kind: Kind, length: u64) {
        if kind == Kind::LossBurst {
            self.network.weather.loss = self.draw.pick(&[100_000, 300_000, 800_000]);
        } else if kind == Kind::SlowNetwork {
            self.network.weather.late = self.draw.pick(&[50_000, 500_000]);
            self.network.weather.late_most = self.draw.pick(&[50, 300, 1_000]) * MILLISECOND;
        } else {
            self.network.weather.announcement_loss = self.draw.pick(&[500_000, 1_000_000]);
        }
        self.disturb_all(length);
        self.end_later(0, length, Ending::Weather);
    }
}
