//! How everything ends well: what goes wrong is over, and no more is made.

use crate::cluster::Cluster;
use crate::trace::note;

impl Cluster {
    /// Ends every fault and makes no more: all hosts run, everything is connected and fair.
    pub(crate) fn heal(&mut self) {
        note!(self, "-- everything heals");
        self.faults.era += 1;
        self.faults.over = true;
        self.network.heal();
        self.network.weather = crate::network::Weather::fair();
        self.conflicts.groups.clear();
        self.switch.heal();
        let mut last = self.plans[self.plans.len() - 1].clone();
        if !last.absent.is_empty() {
            last.absent.clear();
            self.plans.push(last);
        }
        note!(
            self,
            "plan {} has {}",
            self.plans.len() - 1,
            self.plans[self.plans.len() - 1].outline()
        );
        for host in 0..self.hosts.len() {
            self.resume(host);
            self.resume_machine(host);
            if self.hosts[host].kernel.failing.is_some() {
                self.mend_kernel(host);
            }
            self.hosts[host].kernel.interface = true;
            self.link_changed(host);
            self.power_on(host);
            self.set_profile(host, None);
            let plan = self.plans.len() - 1;
            self.adopt(host, plan);
        }
        self.refresh_clients();
        self.disturb_all(1);
    }
}
