//! What fences a host in: the gate, which closes without its daemon, and the guardian, which says
//! farewell for it. Groups in mode majority have a gate of their own, which is open for as long
//! as the voters say; its time is that of the host's clock, and stands still with it.

use std::time::Duration;

use buoy::protocol::{
    Configuration, Message, Mode, Node, Recollection, Rule, VoterRecord, shortened,
};

use crate::cluster::{Cluster, Happening};
use crate::draw::{MICROSECOND, MILLISECOND};
use crate::host::Inbound;
use crate::trace::note;

/// A kernel may close its gate so much later than it counts (five ticks at HZ=100).
const JIFFIES_LATE: u64 = 50 * MILLISECOND;
/// Farewells of a guardian to each peer.
const FAREWELLS: u32 = 3;

impl Cluster {
    /// After each step the daemon may vouch for itself; a gate that was closed opens.
    pub(crate) fn vouch(&mut self, host: usize) {
        if self.hosts[host].majority {
            // What a process that rests has left open closes by itself.
            if self.hosts[host].node.is_some() || self.hosts[host].memory.is_none() {
                self.follow_grant(host);
            }
            return;
        }
        let Some(lease) = self.hosts[host].node.as_ref().and_then(Node::lease) else { return };
        let was_open = self.is_gate_open(host);
        let lease = u64::try_from(lease.as_nanos()).expect("at most minutes");
        self.hosts[host].lease_until = self.now + lease;
        if !was_open {
            self.refresh_host(host);
        }
    }

    /// The daemon goes by another file: its groups are behind the door of their mode there.
    pub(crate) fn follow_mode(&mut self, host: usize, configuration: &Configuration) {
        let majority = configuration.groups.values().any(|group| group.mode == Mode::Majority);
        if self.hosts[host].majority != majority {
            self.hosts[host].majority = majority;
            self.hosts[host].granted_until = 0;
            self.refresh_host(host);
        }
    }

    /// The gate of the groups in mode majority is open for as long as the daemon said last.
    fn follow_grant(&mut self, host: usize) {
        let was_open = self.is_open(host);
        let this = &self.hosts[host];
        let left = this.node.as_ref().and_then(Node::granted);
        self.hosts[host].granted_until = left.map_or(0, |left| self.now + self.jiffies(host, left));
        if self.is_open(host) != was_open {
            self.refresh_host(host);
        }
        self.plan_closing(host);
    }

    /// How long the kernel takes for what is left of a lease: it counts in jiffies, which a time
    /// daemon slews, and which are late when the processor that drives them is not run.
    fn jiffies(&mut self, host: usize, left: Duration) -> u64 {
        if self.draw.chance(10_000) {
            let most = self.options.slew;
            self.hosts[host].slew = self.draw.pick(&[0, most, most / 2, -most, most, most]);
        }
        let margin = self.options.broken != Some(Rule::SlewMargin);
        let given = if margin { shortened(left) } else { left };
        let given = i64::try_from(given.as_nanos()).expect("at most minutes");
        let run = i128::from(given) * 1_000_000 / i128::from(1_000_000 - self.hosts[host].slew);
        let late = if self.options.slew > 0 { self.draw.between(0, JIFFIES_LATE) } else { 0 };
        u64::try_from(run).expect("it is slowed by a twelfth at most") + late
    }

    /// Schedules the moment at which that gate closes by itself.
    pub(crate) fn plan_closing(&mut self, host: usize) {
        let this = &mut self.hosts[host];
        if !this.closing && this.granted_until > 0 {
            this.closing = true;
            let at = this.granted_until;
            self.schedule(at, Happening::CloseDoor { host });
        }
    }

    /// It closes, unless it has been kept open.
    pub(crate) fn close_door(&mut self, host: usize) {
        self.hosts[host].closing = false;
        if !self.hosts[host].majority {
            return;
        }
        if self.is_open(host) {
            if !self.hosts[host].machine_paused {
                self.plan_closing(host);
            }
        } else {
            self.refresh_host(host);
        }
    }

    /// Whether the kernel of a host lets through what is for its groups.
    pub(crate) fn is_open(&self, host: usize) -> bool {
        if !self.hosts[host].majority {
            return self.is_gate_open(host);
        }
        let this = &self.hosts[host];
        self.now < this.granted_until
    }

    /// What a daemon must remember of lists of voters is written, and synced.
    pub(crate) fn store_voters(&mut self, host: usize, record: VoterRecord) {
        let at = self.now + self.draw.between(100 * MICROSECOND, 20 * MILLISECOND);
        let life = self.hosts[host].life;
        self.schedule(at, Happening::Stored { host, life, record });
    }

    /// It is on the disk; a daemon that has died meanwhile may have left it there or not.
    pub(crate) fn stored_voters(&mut self, host: usize, life: u64, record: VoterRecord) {
        if self.hosts[host].life != life {
            return;
        }
        self.hosts[host].disk = Recollection::Record(record);
        self.hand_over(host, Inbound::Stored);
    }

    /// A process begins with what its voter had promised, if there is a record of it, which is
    /// removed before.
    pub(crate) fn recall_promises(&mut self, host: usize, node: &mut Node) {
        let record = if self.options.broken == Some(Rule::PromisesReadOnce) {
            self.hosts[host].promises.clone()
        } else {
            self.hosts[host].promises.take()
        };
        if let Some(record) = record {
            let fits = node.recall_promises(&record);
            note!(self, "n{host} finds promises that {}fit", if fits { "" } else { "do not " });
        }
    }

    /// S1: in mode majority no two hosts answer for a group, whatever happens; but one whose clock
    /// has stood still may, for what was left of its lease.
    pub(crate) fn check_strict(&mut self, group: usize) {
        if self.options.strict.is_none() {
            return;
        }
        let open: Vec<usize> =
            self.open[group].iter().copied().filter(|host| !self.is_excused(*host)).collect();
        if open.len() > 1 {
            self.flag("S1", format!("g{group} is answered for by {open:?}"));
        }
    }

    /// The clock of a host has stood still so lately that a lease of before may count for it.
    fn is_excused(&self, host: usize) -> bool {
        let lease = u64::try_from(self.options.slowest().lease().as_nanos()).expect("seconds");
        let slack = JIFFIES_LATE + MILLISECOND;
        let memory = &self.safety.hosts[host];
        memory.pause > 0 && self.now <= memory.resumed_at + lease + slack
    }

    /// S12: in mode majority nothing is announced that somebody else has the lease of.
    pub(crate) fn check_leased(&mut self, host: usize, group: usize) {
        if self.options.strict.is_none() || self.is_open(host) || self.is_excused(host) {
            return;
        }
        let other =
            self.open[group].iter().find(|other| **other != host && !self.is_excused(**other));
        if let Some(other) = other {
            let text = format!("n{host} announces g{group}, which n{other} has the lease of");
            self.flag("S12", text);
        }
    }

    /// Whether the kernel of a host lets anything through.
    pub(crate) fn is_gate_open(&self, host: usize) -> bool {
        !self.options.fenced || self.hosts[host].lease_until >= self.now
    }

    /// Gates close by themselves.
    pub(crate) fn close_gates(&mut self) {
        for host in 0..self.hosts.len() {
            if !self.is_gate_open(host) {
                self.refresh_host(host);
            }
        }
    }

    /// The guardian of a daemon that has just died will act.
    pub(crate) fn wake_guardian(&mut self, host: usize, farewell: Message) {
        let at = self.now + self.draw.between(200 * MICROSECOND, 5 * MILLISECOND);
        let life = self.hosts[host].life;
        self.schedule(at, Happening::Farewell { host, life, farewell });
    }

    /// It removes what the daemon left, and tells its peers. A daemon that has started meanwhile
    /// has swept by itself.
    pub(crate) fn say_farewell(&mut self, host: usize, life: u64, farewell: &Message) {
        let this = &self.hosts[host];
        if this.life != life || !this.powered || this.machine_paused {
            return;
        }
        note!(self, "n{host}'s guardian says farewell");
        for group in self.hosts[host].kernel.clear() {
            self.refresh_open(host, group);
        }
        let others: Vec<_> = self.hosts.iter().map(|other| other.id).collect();
        for _ in 0..FAREWELLS {
            for (other, id) in others.iter().enumerate() {
                if other != host {
                    self.send(host, *id, farewell.clone());
                }
            }
        }
    }
}
