//! Restarts in place: the daemon rests, its addresses stay, and another process goes on with its
//! life. What stands between is a file; here it is kept by the host, and is lost with its power.

use std::collections::{BTreeMap, BTreeSet};

use buoy::protocol::{GroupKey, Memory, Misfit, Node};

use crate::cluster::{Cluster, Happening};
use crate::draw::MILLISECOND;
use crate::faults::Ending;
use crate::host::Inbound;
use crate::operators::STOP_WITHIN;
use crate::trace::note;

impl Cluster {
    /// The signal to leave everything to the next process, which starts after `length`.
    pub(crate) fn restart_in_place(&mut self, host: usize, length: u64) {
        let this = &mut self.hosts[host];
        if this.node.is_none() || this.stopping_since.is_some() {
            return;
        }
        this.stopping_since = Some(self.now);
        this.memory = None;
        self.hand_over(host, Inbound::Rest);
        self.schedule(self.now + length, Happening::NextProcess { host });
    }

    /// The process has ended and has left this.
    pub(crate) fn leave_to_next(&mut self, host: usize, memory: Box<Memory>) {
        note!(self, "n{host} rests with {} groups", memory.held.len());
        self.disturb(host, STOP_WITHIN);
        if self.hosts[host].majority {
            self.vouch(host);
        }
        self.hosts[host].end_daemon();
        self.hosts[host].memory = Some(memory);
        self.hosts[host].paused_at = self.now;
    }

    /// The next process starts: it goes on, or begins a new life.
    pub(crate) fn next_process(&mut self, host: usize) {
        if self.hosts[host].node.is_some() || !self.hosts[host].powered {
            // It could not rest: it leaves, and starts when it has.
            let (era, ending) = (self.faults.era, Ending::PowerOn(host));
            self.schedule(self.now + STOP_WITHIN, Happening::End { era, ending });
            return;
        }
        let Some(memory) = self.hosts[host].memory.take() else { return self.start(host) };
        if let Err(misfit) = self.go_on_in_place(host, &memory) {
            note!(self, "n{host} begins a new life: {misfit:?}");
            self.start(host);
        }
    }

    fn go_on_in_place(&mut self, host: usize, memory: &Memory) -> Result<(), Misfit> {
        let configuration = self.configuration(host);
        let this = &self.hosts[host];
        let now = this.clock.read(self.now);
        let is_here = |key: &GroupKey| {
            self.group_index.get(key).is_none_or(|address| this.kernel.present[*address])
        };
        let whole = configuration.groups.iter().filter(|(_, it)| it.addresses.iter().all(is_here));
        let present: BTreeSet<GroupKey> = whole.map(|(group, _)| *group).collect();
        memory.fits(now, &configuration, &present)?;
        let silence = self.now - this.paused_at;
        self.safety.begin_life(host, self.now, self.hosts[host].plan);
        self.safety.note_resumed(host, self.now, silence);
        let this = &mut self.hosts[host];
        this.end_daemon();
        this.kernel.usable = true;
        this.kernel.busy_until = self.now;
        let mut bears = BTreeMap::new();
        for (group, ticket) in memory.tickets() {
            let group = self.group_index[&group];
            this.kernel.acquired.insert(group, ticket);
            let addresses = configuration.groups[&self.groups[group]].addresses.iter();
            let addresses = addresses.filter_map(|key| self.group_index.get(key).copied());
            bears.insert(group, addresses.collect::<BTreeSet<usize>>());
            self.safety.hosts[host].ordered[group] = Some(ticket);
            self.safety.hosts[host].confirmed[group] = true;
        }
        // What is in the kernel and is not held goes, as with any start.
        let kept: BTreeSet<usize> = bears.values().flatten().copied().collect();
        this.kernel.bears = bears;
        for group in 0..self.groups.len() {
            if self.hosts[host].kernel.present[group] && !kept.contains(&group) {
                self.hosts[host].kernel.present[group] = false;
                self.refresh_open(host, group);
            }
        }
        self.follow_mode(host, &configuration);
        let mut node = Node::go_on(now, configuration, memory);
        node.recall_voters(self.hosts[host].disk.clone());
        if let Some(promises) = &memory.promises {
            let _ = node.recall_promises(promises);
        }
        self.hosts[host].node = Some(node);
        // The gate is replaced by one that is open for what is left of the leases.
        self.vouch(host);
        note!(self, "n{host} goes on after {} ms", silence / MILLISECOND);
        self.begin_looking_after(host);
        Ok(())
    }
}
