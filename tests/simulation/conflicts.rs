//! Who else answers for a group: other kernels when they are asked, and hosts outside the cluster.
//!
//! A kernel answers a question for what it is OPEN for, whatever its daemon does, if frames pass
//! both ways; cuts of heartbeats do not concern frames. A conflicting host is on the clients' side of every
//! partition. S12: what a daemon has been told of a conflicting host it does not take, and gives back if it
//! was told just after; but by hand-over, and but for groups that are forced.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use buoy::protocol::{Cause, HARDWARE_MAX, HardwareAddress, KernelEvent};

use crate::cluster::{Cluster, Happening};
use crate::draw::{MICROSECOND, MILLISECOND};
use crate::faults::Ending;
use crate::trace::note;

/// Every conflicting host's.
pub(crate) const CONFLICTING: HardwareAddress = HardwareAddress([2, 0xee, 0, 0, 0, 0]);
/// Told of a conflicting host so long after taking, a daemon gives the group back; a little less than in
/// the core, because the events take their time.
const SETTLING: u64 = 900 * MILLISECOND;
/// Giving back takes no longer, slow kernels included.
const GIVEN_BACK_WITHIN: u64 = 200 * MILLISECOND;

/// The hardware address of a host.
pub(crate) fn hardware(host: usize) -> HardwareAddress {
    HardwareAddress([2, 0, 0, 0, 0, u8::try_from(host).expect("few hosts")])
}

/// What is known of conflicting hosts, here and by the daemons.
#[derive(Debug, Default)]
pub(crate) struct Conflicts {
    /// Groups that one has.
    pub(crate) groups: BTreeSet<usize>,
    /// Rounds of announcements that any host has sent.
    pub(crate) announced: u64,
    /// By host and group: when its daemon was last told of a conflicting host.
    told: BTreeMap<(usize, usize), (u64, Duration)>,
    /// By host and group: when it last took the group, if nobody gave it.
    took: BTreeMap<(usize, usize), u64>,
    /// By host and group: when it must have given it back.
    give_back: BTreeMap<(usize, usize), u64>,
}

impl Conflicts {
    /// A daemon starts and knows nothing of what the one before it was told (seed 65025).
    pub(crate) fn begin_life(&mut self, host: usize) {
        self.told.retain(|(of, _), _| *of != host);
    }
}

impl Cluster {
    /// The kernel thread finds the host's interface.
    pub(crate) fn tell_hardware(&mut self, host: usize) {
        let mut told = [None; HARDWARE_MAX];
        told[0] = Some(hardware(host));
        self.tell_soon(host, KernelEvent::Hardware(told));
    }

    /// The daemon asks who answers for a group.
    pub(crate) fn probe(&mut self, host: usize, group: usize, at: Vec<HardwareAddress>) {
        note!(self, "n{host} asks who has g{group}");
        let arrives = self.now + self.draw.between(20 * MICROSECOND, 200 * MICROSECOND);
        let life = self.hosts[host].life;
        self.schedule(arrives, Happening::Question { host, life, group, at });
    }

    /// The question is on the network: whoever hears it and has the group answers.
    pub(crate) fn answer_question(&mut self, host: usize, group: usize, at: &[HardwareAddress]) {
        for (other, direct) in self.question_reaches(host, group, at) {
            self.claim_to(host, group, (hardware(other), direct));
        }
        if self.conflicts.groups.contains(&group) && self.network.meets_conflict(host) {
            self.claim_to(host, group, (CONFLICTING, false));
        }
    }

    /// A frame that claims a group reaches a host, if it is not lost.
    fn claim_to(&mut self, host: usize, group: usize, (hardware, direct): (HardwareAddress, bool)) {
        if !self.draw.chance(self.network.weather.loss) {
            let bearer = self.hosts[host].kernel.bearer(group).unwrap_or(group);
            let group = self.groups[bearer];
            self.tell_soon(host, KernelEvent::Claimed { group, hardware, direct });
        }
    }

    /// A host has announced a group: others who hold it hear that.
    pub(crate) fn overhear(&mut self, from: usize, group: usize) {
        self.conflicts.announced += 1;
        self.switch.learn(group, from);
        for host in 0..self.hosts.len() {
            let holds = self.hosts[host].kernel.present[group];
            if host != from && holds && self.network.passes_frame(from, host) {
                self.claim_to(host, group, (hardware(from), false));
            }
        }
    }

    /// A host outside the cluster has a group from now on.
    pub(crate) fn conflict_comes(&mut self, group: usize) {
        note!(self, "-- a conflicting host has g{group}");
        self.conflicts.groups.insert(group);
    }

    /// It announces it: clients believe it, and owners hear it.
    pub(crate) fn conflict_speaks(&mut self, group: usize) {
        let nobody = self.hosts.len();
        for client in 0..self.clients.len() {
            self.clients[client].hear_announcement(self.now, group, nobody);
        }
        self.refresh_clients();
        for host in 0..self.hosts.len() {
            if self.hosts[host].kernel.present[group] && self.network.meets_conflict(host) {
                self.claim_to(host, group, (CONFLICTING, false));
            }
        }
    }

    /// It has gone.
    pub(crate) fn conflict_goes(&mut self, group: usize) {
        note!(self, "-- no conflicting host has g{group}");
        self.conflicts.groups.remove(&group);
    }

    /// A fault: a conflicting host comes to some group for so long, and says so or not.
    pub(crate) fn let_conflict_come(&mut self, length: u64) {
        let group = self.draw.index(self.groups.len());
        self.conflict_comes(group);
        if self.draw.bits() & 1 == 0 {
            self.conflict_speaks(group);
        }
        let era = self.faults.era;
        let ending = Ending::ConflictGone(group);
        self.schedule(self.now + length, Happening::End { era, ending });
    }

    /// What a daemon was told of groups that the file it goes by now does not have it may forget
    /// (seed 77374).
    pub(crate) fn forget_claims(&mut self, host: usize) {
        let has = &self.plans[self.safety.hosts[host].plan].groups;
        let groups = &self.groups;
        self.conflicts
            .told
            .retain(|(of, group), _| *of != host || has.contains_key(&groups[*group]));
    }

    /// A daemon is told that somebody claims a group. If its file does not have the group it may
    /// forget that at once, although a later file has it again (seed 11114).
    pub(crate) fn note_claim(&mut self, host: usize, group: usize, hardware: HardwareAddress) {
        let plan = &self.plans[self.safety.hosts[host].plan];
        let known = plan.groups.get(&self.groups[group]);
        if hardware != CONFLICTING
            || known.is_some_and(|group| group.force)
            || self.virtual_routers.are(group)
        {
            return;
        }
        let key = (host, group);
        if known.is_some() {
            let detection = self.timing_of(host).detection();
            self.conflicts.told.insert(key, (self.now, detection));
        }
        let lately = |took: &&u64| self.now - **took < SETTLING;
        if self.conflicts.took.get(&key).filter(lately).is_some() {
            let by = self.now + GIVEN_BACK_WITHIN;
            self.conflicts.give_back.entry(key).or_insert(by);
        }
    }

    /// S12: a daemon that was told of a conflicting host within the detection time does not take. What
    /// its kernel side has already it goes on with, also if it has it in another group now, or if its
    /// lifetime has ended meanwhile (seed 17875): it took it when it took that group.
    pub(crate) fn check_conflict(&mut self, host: usize, group: usize) {
        let key = (host, group);
        let took = &mut self.conflicts.took;
        let had = self.hosts[host].kernel.bearers(group);
        if let Some(before) = had.map(|had| took.get(&(host, had)).copied()).min() {
            before.and_then(|at| took.insert(key, at));
            return;
        }
        took.remove(&key);
        let given = self.hosts[host].node.as_ref().is_some_and(|node| {
            let status = node.status(self.hosts[host].clock.read(self.now));
            let mut groups = status.groups.iter();
            let cause = groups.find(|it| it.group == self.groups[group]).and_then(|it| it.cause);
            matches!(
                cause,
                Some(
                    Cause::Balance(_)
                        | Cause::Checks(_)
                        | Cause::Placement(_)
                        | Cause::Drain(_)
                        | Cause::Operator(_)
                        | Cause::Failback(_)
                        | Cause::HandedOver(_)
                )
            )
        });
        if given {
            return;
        }
        self.conflicts.took.insert(key, self.now);
        let told = self.conflicts.told.get(&key);
        // By the times that it goes by now, or went by then.
        let detection = self.timing_of(host).detection();
        let within = |then: &Duration| detection.min(*then).as_nanos();
        // Its clock may run fast: a detection time is over there before it is here (seed 17280).
        let clock = &self.hosts[host].clock;
        let passed = |told: &u64| u128::from(clock.shown(self.now - told));
        if told.is_some_and(|(told, then)| passed(told) < within(then)) {
            self.flag("S12", format!("n{host} takes g{group}, which a conflicting host has"));
        }
    }

    /// A daemon lets go of a group.
    pub(crate) fn note_given_back(&mut self, host: usize, group: usize) {
        self.conflicts.give_back.remove(&(host, group));
        self.conflicts.took.remove(&(host, group));
    }

    /// S12: what was taken and then found to be a conflicting host's is given back.
    pub(crate) fn check_given_back(&mut self) {
        let overdue = self.conflicts.give_back.iter().filter(|(_, by)| **by < self.now);
        let overdue: Vec<(usize, usize)> = overdue.map(|(key, _)| *key).collect();
        for (host, group) in overdue {
            self.conflicts.give_back.remove(&(host, group));
            let resumed = self.safety.hosts[host].resumed_at + GIVEN_BACK_WITHIN;
            let acts = self.hosts[host].is_running() && self.now > resumed;
            if acts && self.hosts[host].kernel.present[group] {
                self.flag(
                    "S12",
                    format!("n{host} keeps g{group}, which a conflicting host had first"),
                );
            }
        }
    }
}
