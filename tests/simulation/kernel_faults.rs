//! Faults of a host's kernel: it refuses or is slow, and addresses vanish from it.

use buoy::protocol::{Failure, KernelEvent};

use crate::cluster::{Cluster, Happening};
use crate::draw::SECOND;
use crate::faults::Ending;

impl Cluster {
    /// Adds fail for one of these reasons, of some groups, for a while.
    pub(crate) fn fail_kernel(&mut self, host: usize, length: u64) {
        let failures = [
            Failure::NoInterface,
            Failure::NotPermitted,
            Failure::ForeignAddress,
            Failure::Duplicate,
            Failure::Refused,
            Failure::Timeout,
        ];
        let failure = self.draw.pick(&failures);
        let mask = self.draw.pick(&[0b1111, 0b0001, 0b1010]);
        self.break_kernel(host, failure, mask);
        self.end_later(host, length, Ending::KernelWell(host));
    }

    /// Every add of these groups (by index modulo 4) fails from now on.
    pub(crate) fn break_kernel(&mut self, host: usize, failure: Failure, mask: u8) {
        self.disturb(host, SECOND);
        self.hosts[host].kernel.failing = Some(failure);
        self.hosts[host].kernel.failing_mask = mask;
    }

    /// The kernel adds again. What it had refused for, an interface or a setting, has changed, and
    /// its thread looks at the links again; if it stands still, when it goes on (seed 30636).
    pub(crate) fn mend_kernel(&mut self, host: usize) {
        self.hosts[host].kernel.failing = None;
        self.hosts[host].kernel.hangs = false;
        if self.hosts[host].is_running() && self.hosts[host].kernel.usable {
            for group in self.groups.clone() {
                self.tell_soon(host, KernelEvent::Usable { group, usable: true });
            }
        } else if self.hosts[host].node.is_some() {
            // What its links are by then is told (seed 21437).
            self.hosts[host].kernel.news = true;
            let life = self.hosts[host].life;
            self.schedule(self.now, Happening::SeeLinks { host, life });
        }
    }

    pub(crate) fn remove_some_address(&mut self, host: usize) {
        let held: Vec<usize> =
            (0..self.groups.len()).filter(|g| self.hosts[host].kernel.present[*g]).collect();
        if !held.is_empty() {
            let group = self.draw.pick(&held);
            self.disturb(host, SECOND / 10);
            self.remove_address(host, group);
        }
    }
}
