//! What a node may take: nothing of a live owner, nothing that its file has not, and nothing while it is
//! deaf (S10, S13, H5 in docs/invariants.md).

use std::collections::BTreeSet;

use crate::cluster::Cluster;
use crate::draw::SECOND;

impl Cluster {
    /// The same of a group and of the further addresses that come with it.
    pub(crate) fn check_acquires(&mut self, host: usize, group: usize, further: &BTreeSet<usize>) {
        let has = |address: &usize| self.hosts[host].kernel.present[*address];
        let news: Vec<usize> = further.iter().copied().filter(|it| !has(it)).collect();
        self.check_conflict(host, group);
        // What this daemon's kernel has confirmed is not taken once more when addresses are added to it
        // (seed 88210).
        let kernel = &self.hosts[host].kernel;
        let has = self.safety.hosts[host].confirmed[group]
            && kernel.present[group]
            && !kernel.is_releasing(group);
        for address in news.into_iter().chain((!has).then_some(group)) {
            self.check_acquire(host, address);
        }
    }

    /// S10, S13: nobody takes from a live owner, or what it does not know. H5: nor does a deaf host
    /// that can know that it is. One that has just become deaf cannot tell an owner that it has not
    /// heard for a while from a dead one (seed 6592).
    pub(crate) fn check_acquire(&mut self, host: usize, group: usize) {
        self.safety.acquisitions += 1;
        let plan = &self.plans[self.safety.hosts[host].plan];
        if !plan.has(&self.groups[group]) {
            self.flag("S13", format!("n{host} acquires g{group}, which its file has not"));
        }
        let key = self.groups[group];
        let live = |other: &usize| {
            *other != host
                && self.is_calm(*other)
                && self.now - self.safety.opened[&(group, *other)] > 3 * self.heartbeat()
                && !self.hosts[*other].kernel.is_releasing(group)
                && self.plans[self.safety.hosts[*other].plan].has(&key)
                && self
                    .safety
                    .audible_since(host, *other, self.now)
                    .is_some_and(|since| self.now - since > 3 * SECOND)
        };
        let owner = self.open[group].iter().copied().find(|other| live(other));
        let live_to_others = |other: &usize| {
            *other != host
                && self.is_calm(*other)
                && self.now - self.safety.opened[&(group, *other)] > 3 * self.heartbeat()
        };
        if let (true, Some(owner)) = (self.is_calm(host), owner) {
            self.flag("S10", format!("n{host} takes g{group} from n{owner}, which lives"));
        } else if self.network.is_deaf(host)
            && self.now - self.safety.hosts[host].heard.iter().copied().max().unwrap_or(0)
                >= self.detection() - self.heartbeat()
            && !self.clients.is_empty()
            && let Some(owner) = self.open[group].iter().copied().find(live_to_others)
        {
            self.flag("H5", format!("n{host} is deaf and takes g{group} from n{owner}"));
        }
    }
}
