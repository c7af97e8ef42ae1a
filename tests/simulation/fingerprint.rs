//! What of a run counts in its hash: every event that a core is given, every action that it returns,
//! and at the end of a run the status, explanations and plans of every node.
//!
//! Numbers are given out here, for actions and events, and by the order of their variants, for what
//! is inside of them; names do not count. So a rename or a move in the core keeps all hashes, and so
//! does another shape of [`Action`] or [`Event`] with the same content. Messages count by their bytes
//! on the wire. A variant that is added goes to the end of its list, or the hashes are recorded again.

use std::hash::{Hash, Hasher};

use buoy::protocol::{Action, Event, Hypothesis, Memory, mix};
use buoy::wire::encode;

use crate::cluster::Cluster;
use crate::trace::Trace;

/// A running hash that is the same on every machine: [`mix`] over words of 64 bits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fingerprint(u64);

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.write_usize(bytes.len());
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = mix(self.0 ^ number);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(u64::try_from(number).unwrap_or(u64::MAX));
    }
}

impl Trace {
    /// Takes in what a host's core is given.
    pub(crate) fn note_event(&mut self, host: usize, event: &Event) {
        let hash = &mut self.hash;
        host.hash(hash);
        match event {
            Event::Timer => 1.hash(hash),
            // What it says has been counted when it was sent.
            Event::Heard { from, incarnation, received_at, message: _ } => {
                (2, from, incarnation, received_at).hash(hash);
            }
            Event::Sensed { from } => (3, from).hash(hash),
            Event::Kernel(event) => (4, event).hash(hash),
            Event::Ordered { ticket, order } => (5, ticket, order).hash(hash),
            Event::Standing { ticket, change } => (14, ticket, change).hash(hash),
            Event::Fitness(unfit) => (6, unfit).hash(hash),
            Event::GateOpened { group, ticket } => (7, group, ticket).hash(hash),
            Event::Load(measure) => (8, measure).hash(hash),
            Event::Reconfigured(configuration) => (9, configuration.digest).hash(hash),
            Event::VotersRemembered { stored } => (10, stored).hash(hash),
            Event::Outside { group, outside } => (13, group, outside).hash(hash),
            Event::HeardOn { from, path, received_at } => {
                (14, from, path, received_at).hash(hash);
            }
            Event::Retry => 15.hash(hash),
            Event::Stop => 11.hash(hash),
            Event::Rest => 12.hash(hash),
        }
    }

    /// Takes in what a host's core returns.
    pub(crate) fn note_action(&mut self, host: usize, action: &Action) {
        let hash = &mut self.hash;
        host.hash(hash);
        match action {
            Action::Send { to, message } => {
                let mut bytes = Vec::new();
                encode(message, &mut bytes);
                (1, to, bytes).hash(hash);
            }
            Action::Acquire { group, ticket, further } => (2, group, ticket, further).hash(hash),
            Action::Release { group, ticket } => (3, group, ticket).hash(hash),
            Action::Withdraw { group } => (4, group).hash(hash),
            Action::Hand { group, ticket } => (5, group, ticket).hash(hash),
            Action::Forward { group, to } => (6, group, to).hash(hash),
            Action::Announce { group } => (7, group).hash(hash),
            Action::Verify { group, epoch, before } => (8, group, epoch, before).hash(hash),
            Action::Correct { group, epoch } => (9, group, epoch).hash(hash),
            Action::Acquaint { from, hosts } => (10, from, hosts).hash(hash),
            Action::Remember { from, connections } => (11, from, connections).hash(hash),
            Action::WatchConnections(on) => (12, on).hash(hash),
            Action::OpenGate { group, ticket } => (13, group, ticket).hash(hash),
            Action::LetFinish { group } => (14, group).hash(hash),
            Action::Tickle { group } => (15, group).hash(hash),
            Action::TestReach => 16.hash(hash),
            Action::Probe { group, at } => (17, group, at).hash(hash),
            Action::Answer { ticket, outcome } => (18, ticket, outcome).hash(hash),
            Action::Report(report) => (19, report).hash(hash),
            Action::Named { node, name } => (20, node, name).hash(hash),
            Action::RememberDraining(draining) => (21, draining).hash(hash),
            Action::RememberVoters(record) => (22, record).hash(hash),
            Action::Stopped => 23.hash(hash),
            Action::GoOn(memory) => {
                let Memory { me, incarnation, at, held, claims, .. } = &**memory;
                let Memory { peers, fitness, last_token, leases, promises, taken, .. } = &**memory;
                let timing = &memory.timing;
                (24, me, incarnation, at, held, claims, peers, fitness, last_token).hash(hash);
                // What there was not before leaves the hashes of runs without it as they were.
                leases.iter().for_each(|leases| leases.hash(hash));
                promises.iter().for_each(|promises| promises.hash(hash));
                taken.iter().for_each(|taken| taken.hash(hash));
                timing.iter().for_each(|timing| timing.hash(hash));
            }
            Action::DoubtPaths(doubted) => (25, doubted).hash(hash),
            Action::KeepPromises(record) => (26, record).hash(hash),
        }
    }
}

impl Cluster {
    /// A hash of the whole run until now, and of what every node would tell an operator.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hash = self.trace.hash;
        for host in &self.hosts {
            let Some(node) = &host.node else { continue };
            let now = host.clock.read(self.now);
            (node.next_deadline(), node.lease(), node.granted()).hash(&mut hash);
            node.status(now).hash(&mut hash);
            for group in &self.groups {
                node.explain(now, *group).hash(&mut hash);
            }
            let first = self.index.keys().next().copied();
            let without = Hypothesis::Without(first.into_iter().collect());
            node.clone().foresee(now, without).hash(&mut hash);
        }
        hash.finish()
    }
}
