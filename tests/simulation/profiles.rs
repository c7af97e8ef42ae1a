//! Hosts whose files say other times than those of the others (A1 in docs/faults.md): a rollout, or
//! one old file.

use buoy::protocol::Timing;

use crate::cluster::Cluster;
use crate::draw::SECOND;
use crate::host::Inbound;
use crate::trace::note;

/// The profiles.
const PROFILES: [Timing; 3] = [Timing::FAST, Timing::LAN, Timing::VM];

impl Cluster {
    /// The times that a host's file says, or that are in force with profile `auto`.
    pub(crate) fn timing_of(&self, host: usize) -> Timing {
        let this = &self.hosts[host];
        let status = this.node.as_ref().and_then(|it| it.timing_status(this.clock.read(self.now)));
        let configured = this.timing.unwrap_or(self.options.timing);
        status.map_or(configured, |status| status.timing)
    }

    /// The file of a host says these times from now on, or those of all; its daemon reloads.
    pub(crate) fn set_profile(&mut self, host: usize, timing: Option<Timing>) {
        if self.hosts[host].timing == timing {
            return;
        }
        self.hosts[host].timing = timing;
        self.disturb(host, SECOND);
        if self.hosts[host].node.is_some() {
            let configuration = Box::new(self.configuration(host));
            self.hand_over(host, Inbound::Reconfigured(configuration));
        }
    }

    /// A host has profile `auto` from now on, or no longer; its daemon reloads, if it runs.
    pub(crate) fn set_adaptive(&mut self, host: usize, adaptive: bool) {
        self.options.adaptive.retain(|other| *other != host);
        self.options.adaptive.extend(adaptive.then_some(host));
        self.disturb(host, SECOND);
        if self.hosts[host].node.is_some() {
            let configuration = Box::new(self.configuration(host));
            self.hand_over(host, Inbound::Reconfigured(configuration));
        }
    }

    /// The file of some host says other times; its daemon reloads, or dies and starts with them.
    pub(crate) fn change_profile(&mut self, host: usize) {
        let timing = self.draw.pick(&PROFILES);
        note!(self, "n{host} has heartbeats each {:?}", timing.heartbeat);
        if self.draw.chance(500_000) {
            self.set_profile(host, Some(timing));
        } else {
            self.kill_daemon(host, None, false);
            self.hosts[host].timing = Some(timing);
            if self.hosts[host].powered && !self.hosts[host].machine_paused {
                self.start(host);
            }
        }
    }
}
