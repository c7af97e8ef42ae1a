//! Stops and pauses: what a daemon that has stood still may do, and when it may know of it (S5 in
//! docs/invariants.md).

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::safety::{CALM, Safety};

impl Safety {
    /// A stopped daemon goes on.
    pub(crate) fn note_resumed(&mut self, host: usize, now: u64, length: u64) {
        let memory = &mut self.hosts[host];
        (memory.resumed_at, memory.stall, memory.pause) = (now, length, 0);
        memory.fresh.clear();
        memory.clocks.clear();
    }

    /// A stopped machine goes on; its own clock has seen nothing.
    pub(crate) fn note_machine_resumed(&mut self, host: usize, now: u64, length: u64) {
        self.note_resumed(host, now, 0);
        self.hosts[host].pause = length;
    }

    /// A daemon processes a heartbeat: it tells what the sender's clock says.
    pub(crate) fn note_clock(&mut self, host: usize, from: usize, sent_at: u64) {
        let memory = &mut self.hosts[host];
        if sent_at >= memory.resumed_at {
            memory.clocks.insert(from);
        }
    }
}

impl Cluster {
    /// S5: after a long stop, nothing is announced before somebody has answered again, and nothing
    /// that a peer answers for which has been heard.
    pub(crate) fn check_verified(&mut self, host: usize, group: usize) {
        let memory = &self.safety.hosts[host];
        let timing = self.timing_of(host);
        let nanos =
            |length: std::time::Duration| u64::try_from(length.as_nanos()).expect("minutes");
        let (heartbeat, detection) = (nanos(timing.heartbeat), nanos(timing.detection()));
        let since = self.now - memory.resumed_at;
        // A machine that stood still with its clock learns of it from the clocks of the others.
        let runs = |other: &usize| *other != host && self.hosts[*other].is_running();
        // A clock that has stood still itself says nothing of that: what a peer's clock is ahead is forgotten
        // by a millisecond with each heartbeat (seed 80530).
        let witnesses = |other: usize| {
            let it = &self.safety.hosts[other];
            let sunk = (self.now - it.resumed_at) / heartbeat * MILLISECOND;
            memory.clocks.contains(&other) && it.pause <= sunk
        };
        let told = (0..self.hosts.len()).filter(runs).all(witnesses);
        let stop = if told { memory.stall.max(memory.pause) } else { memory.stall };
        // Lateness is counted from the deadline asked for, which is a heartbeat away at most.
        if stop < detection - heartbeat * 3 / 2 + heartbeat {
            return;
        }
        let calm = |other: &usize| {
            *other != host
                && self.hosts[*other].is_running()
                && self.network.connects(*other, host)
                && self.network.connects(host, *other)
                && self.now > self.safety.hosts[*other].disturbed + CALM
        };
        // Of two that take in the same moment neither can know it of the other (seed 83573).
        let known = |other: &usize| {
            let opened = self.safety.opened[&(group, *other)];
            calm(other) && (opened < memory.resumed_at || self.now - opened > heartbeat)
        };
        let reachable = (0..self.hosts.len()).filter(calm).count();
        let tame = self.network.weather.is_tame() && self.options.weather.loss == 0;
        if reachable > 0 && memory.fresh.is_empty() && since < detection {
            let text = format!("n{host} announces g{group} after a stop and has heard nobody");
            self.flag("S5", text);
        } else if tame
            && since < SECOND
            && let Some(other) = self.open[group].iter().copied().find(known)
            && self.safety.hosts[host].disturbed <= self.safety.hosts[host].resumed_at
        {
            self.flag("S5", format!("n{host} announces g{group} after a stop; n{other} has it"));
        }
    }
}
