//! What fences a host in: the gate, which closes without its daemon, and the guardian, which says
//! farewell for it.

use buoy::protocol::{Message, Node};

use crate::cluster::{Cluster, Happening};
use crate::draw::{MICROSECOND, MILLISECOND};
use crate::trace::note;

/// Farewells of a guardian to each peer.
const FAREWELLS: u32 = 3;

impl Cluster {
    /// After each step the daemon may vouch for itself; a gate that was closed opens.
    pub(crate) fn vouch(&mut self, host: usize) {
        let Some(lease) = self.hosts[host].node.as_ref().and_then(Node::lease) else { return };
        let was_open = self.is_gate_open(host);
        let lease = u64::try_from(lease.as_nanos()).expect("at most minutes");
        self.hosts[host].lease_until = self.now + lease;
        if !was_open {
            self.refresh_host(host);
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
