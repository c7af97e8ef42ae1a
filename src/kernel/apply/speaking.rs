//! What is said to the neighbourhood, and heard of it, about groups.

use super::super::probe::Tested;
use super::super::scoped::Scoped;
use super::Shell;
use crate::protocol::{GroupKey, HardwareAddress, Instant, KernelEvent};

impl Shell {
    /// New connections get no answer from now on, and those that are here may end.
    pub(super) fn let_finish(&mut self, group: GroupKey) {
        let held = self.reconciler.announceable(group).unwrap_or_default();
        let scoped = held.into_iter().map(|(link, address)| Scoped::at(address, link.index));
        let addresses: Vec<Scoped> = scoped.collect();
        if self.fence.hush(&addresses) {
            self.closing.spare(addresses);
        }
    }

    pub(super) fn announce(&mut self, group: GroupKey) {
        if let Some(addresses) = self.reconciler.announceable(group) {
            self.announcer.announce(&addresses, self.reconciler.host(), &self.counters);
            self.verifier.announced(group);
        } else {
            self.counters.announcements_ignored.add(1);
        }
    }

    pub(super) fn probe(&mut self, group: GroupKey, at: &[HardwareAddress], now: Instant) {
        self.counters.probes.add(1);
        let addresses = self.reconciler.askable(group);
        let host = self.reconciler.host();
        let directed = self.announcer.probe(&addresses, at, host, &self.counters);
        self.claimants.asked(group, directed || at.is_empty(), now);
    }

    pub(super) fn hear_claimants(&mut self) {
        let now = self.now();
        let heard = self.claimants.hear(&self.reconciler, &self.counters, now);
        for ((group, hardware), direct) in heard {
            (self.events)(KernelEvent::Claimed { group, hardware, direct });
        }
    }

    /// Tests the links where no peer is heard.
    pub(super) fn test_links(&mut self) {
        let now = self.now();
        for link in self.deafness.due(self.reconciler.host(), now) {
            self.probes.test_link(link, &self.reconciler, now);
        }
        let deaf = self.deafness.links(self.reconciler.host());
        self.reconciler.set_deaf(deaf);
    }

    /// A test of the host or of one link has ended.
    pub(super) fn tested(&mut self, tested: Option<Tested>) {
        match tested {
            Some(Tested::Host(reach)) => (self.events)(KernelEvent::Reach(reach)),
            Some(Tested::Link(link, reach)) => {
                self.deafness.tested(link, reach, self.reconciler.host());
            }
            None => {}
        }
    }

    /// Links or addresses have changed: routes may have, and where connections are kept.
    pub(super) fn follow_links(&mut self) {
        if !self.reconciler.has_moved() {
            return;
        }
        self.routes.doubt();
        self.routing.doubt();
        self.zones.replace(self.reconciler.zones());
        self.fence.follow_links(self.reconciler.host());
        if self.fence.no_preserving().is_none() {
            let news = self.handing.keepable_news(&self.reconciler, &self.fence);
            news.into_iter().for_each(|event| (self.events)(event));
        }
    }
}
